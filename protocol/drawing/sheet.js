// What is drawn on a camera's picture, and every step that led there: a model without a page.
//
// A state is never changed, each step makes another: `{ shapes: [{ key, kind, of, points, values }], open, next }`.
// `kind` is zone, mask, allowed (`of`: key of its zone) or plane; `open` is the shape that is being drawn.
import { MOST_CORNERS, fit, same } from "./polygon.js";

export const CORNERS_OF_A_PLANE = 4;
const least = (kind) => (kind === "plane" ? CORNERS_OF_A_PLANE : 3);

/** Shapes of the settings of one camera. */
export function shapes_of({ plane, mask = [], zone = [] }) {
  const shapes = [];
  const add = (kind, of, points, values) => shapes.push({ key: shapes.length + 1, kind, of, points, values });
  if (plane) add("plane", null, plane.points, { width_m: plane.width_m, depth_m: plane.depth_m });
  for (const { polygon, ...values } of mask) add("mask", null, polygon, values);
  for (const { polygon, allowed = [], ...values } of zone) {
    add("zone", null, polygon, values);
    const key = shapes.length;
    for (const { polygon: inner, ...more } of allowed) add("allowed", key, inner, more);
  }
  return shapes;
}

/** Settings of one camera, and to each place in them, such as `zone.1.allowed.0`, the key of its shape. */
export function settings_of(shapes) {
  const places = {};
  const settings = { plane: null, mask: [], zone: [] };
  const put = (list, where, { key, points, values }) => {
    places[`${where}.${list.length}`] = key;
    list.push({ ...values, polygon: points });
    return list[list.length - 1];
  };
  for (const shape of shapes) {
    if (shape.kind === "plane") {
      settings.plane = { points: shape.points, ...shape.values };
      places.plane = shape.key;
    } else if (shape.kind === "mask") put(settings.mask, "mask", shape);
    else if (shape.kind === "zone") {
      const zone = put(settings.zone, "zone", shape);
      const held = shapes.filter((one) => one.of === shape.key);
      if (held.length) zone.allowed = [];
      for (const one of held) put(zone.allowed, `zone.${settings.zone.length - 1}.allowed`, one);
    }
  }
  return { settings, places };
}

export class Sheet {
  #past = [];
  #future = [];
  #mark = null; // of a gesture that goes on: its changes are one step

  constructor(shapes = []) {
    this.now = { shapes, open: null, next: Math.max(0, ...shapes.map((one) => one.key)) + 1 };
  }

  get can_undo() { return this.#past.length > 0; }
  get can_redo() { return this.#future.length > 0; }
  shape(key) { return this.now.shapes.find((one) => one.key === key) || null; }

  #step(changes, mark = null) {
    if (mark === null || mark !== this.#mark) this.#past.push(this.now);
    this.#mark = mark;
    this.#future = [];
    this.now = { ...this.now, ...changes };
    return true;
  }

  #change(key, changes, mark) {
    return this.#step({ shapes: this.now.shapes.map((one) => (one.key === key ? { ...one, ...changes } : one)) }, mark);
  }

  /** A gesture has ended: what comes next is another step. */
  settle() { this.#mark = null; }

  undo() {
    if (!this.#past.length) return false;
    this.#future.push(this.now);
    this.now = this.#past.pop();
    this.#mark = null;
    return true;
  }

  redo() {
    if (!this.#future.length) return false;
    this.#past.push(this.now);
    this.now = this.#future.pop();
    this.#mark = null;
    return true;
  }

  /** Begin to draw; what was being drawn is given up. */
  draw(kind, values = {}, of = null) { return this.#step({ open: { kind, of, values, points: [] } }); }

  give_up() { return this.now.open !== null && this.#step({ open: null }); }

  /** The next corner of what is being drawn; the fourth of a plane finishes it. */
  point(at) {
    const { open } = this.now;
    const corner = fit(at);
    if (!open || open.points.length >= MOST_CORNERS || open.points.some((one) => same(one, corner))) return false;
    const points = [...open.points, corner];
    if (open.kind === "plane" && points.length === CORNERS_OF_A_PLANE) return this.#finish({ ...open, points });
    return this.#step({ open: { ...open, points } });
  }

  /** Finish what is being drawn; false where it has too few corners. */
  close() {
    const { open } = this.now;
    return open !== null && open.points.length >= least(open.kind) && this.#finish(open);
  }

  #finish(shape) {
    const kept = shape.kind === "plane" ? this.now.shapes.filter((one) => one.kind !== "plane") : this.now.shapes;
    return this.#step({ shapes: [...kept, { key: this.now.next, ...shape }], open: null, next: this.now.next + 1 });
  }

  /** Put a corner elsewhere; moves of one corner are one step until `settle`. */
  move(key, corner, at) {
    const shape = this.shape(key);
    const to = fit(at);
    if (!shape || !shape.points[corner] || same(shape.points[corner], to)) return false;
    return this.#change(key, { points: shape.points.map((one, n) => (n === corner ? to : one)) }, `${key}/${corner}`);
  }

  /** A new corner on the side that begins at a corner. */
  insert(key, side, at) {
    const shape = this.shape(key);
    if (!shape || shape.kind === "plane" || !shape.points[side] || shape.points.length >= MOST_CORNERS) return false;
    const points = [...shape.points.slice(0, side + 1), fit(at), ...shape.points.slice(side + 1)];
    return this.#change(key, { points }, `${key}/${side + 1}`);
  }

  /** Take a corner away; false for one of the last three, or of a plane. */
  remove(key, corner) {
    const shape = this.shape(key);
    if (!shape || !shape.points[corner] || shape.points.length <= least(shape.kind)) return false;
    return this.#change(key, { points: shape.points.filter((_, n) => n !== corner) }, null);
  }

  /** Take a shape away, and what is allowed in it. */
  drop(key) {
    return this.shape(key) !== null && this.#step({ shapes: this.now.shapes.filter((one) => one.key !== key && one.of !== key) });
  }

  /** Change a value of a shape; undefined takes it out. One field is one step until `settle`. */
  set(key, name, value) {
    const shape = this.shape(key);
    if (!shape || shape.values[name] === value) return false;
    const values = { ...shape.values, [name]: value };
    if (value === undefined) delete values[name];
    return this.#change(key, { values }, `${key}.${name}`);
  }

  /** Have other values in place of all of a shape's: one step. */
  give(key, values) { return this.shape(key) !== null && this.#change(key, { values }, null); }

  /** Have other shapes in place of all: one step. */
  replace(shapes) {
    const next = this.now.next + shapes.length;
    const keys = new Map(shapes.map((one, n) => [one.key, this.now.next + n]));
    return this.#step({ shapes: shapes.map((one) => ({ ...one, key: keys.get(one.key), of: one.of && keys.get(one.of) })), open: null, next });
  }
}

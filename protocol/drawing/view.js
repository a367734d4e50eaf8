// Shows a sheet on its picture in an <svg> and turns pointers, fingers and keys into steps. It knows no words and no page:
// what is to be told goes through `tell(code, values)`, what is around it is told by `changed()`; `render()` begins.
import { apart, contains, fit, middle, sides, snap } from "./polygon.js";

const WIDE = 1000; // units of the picture's width
const TOUCH_PX = 22; // half of a touch target
const MOUSE_PX = 11;
const SNAP_PX = 9;
const STILL_PX = 4; // a finger that moves less has tapped
const CLOSEST = 8;
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const STEP = 0.005;
const FINE = 0.0005;

function element(name, attributes, ...inner) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...inner);
  return made;
}

export class View {
  chosen = null; // { key, corner }: of a shape; corner null: none
  snaps = true;
  edits = () => true; // whether a shape may be changed
  label = () => ""; // what is written at a shape
  extra = () => []; // polygons that show how large something is: `{ name, points }`
  grid = () => []; // of the ground
  #pointers = new Map();
  #gesture = null;
  #hover = null; // where the next corner would be, by mouse or keys
  #frame = 0;

  constructor(svg, sheet, { picture, changed = () => {}, tell = () => {} }) {
    Object.assign(this, { svg, sheet, changed, tell });
    this.high = Math.round(WIDE * (picture ? picture.height / picture.width : 9 / 16));
    this.box = { x: 0, y: 0, w: WIDE, h: this.high };
    this.image = picture?.url ? element("image", { href: picture.url, width: WIDE, height: this.high, preserveAspectRatio: "none" }) : null;
    this.layer = element("g", {});
    svg.replaceChildren(...(this.image ? [this.image] : []), this.layer);
    svg.addEventListener("pointerdown", (event) => this.#down(event));
    svg.addEventListener("pointermove", (event) => this.#move(event));
    svg.addEventListener("pointerup", (event) => this.#up(event, true));
    svg.addEventListener("pointercancel", (event) => this.#up(event, false));
    svg.addEventListener("pointerleave", () => { if (this.#hover && !this.#pointers.size) { this.#hover = null; this.render(); } });
    svg.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    svg.addEventListener("keydown", (event) => this.#key(event));
    svg.addEventListener("keyup", (event) => { if (event.key in STEPS) this.sheet.settle(); });
    addEventListener("resize", () => this.render());
  }

  // where things are

  get scale() { return (this.svg.getBoundingClientRect().width || WIDE) / this.box.w; }
  get size() { return [WIDE * this.scale, this.high * this.scale]; }
  #units([x, y]) { return [x * WIDE, y * this.high]; }

  #share([x, y]) {
    const at = this.svg.getBoundingClientRect();
    return [(this.box.x + (x - at.left) / at.width * this.box.w) / WIDE, (this.box.y + (y - at.top) / at.height * this.box.h) / this.high];
  }

  /** The shape that somebody works at; null for none, or for one that is gone. */
  get shape() { return this.chosen && this.sheet.shape(this.chosen.key); }

  choose(key, corner = null) {
    this.chosen = key === null ? null : { key, corner };
    this.render();
  }

  /** Have another corner of the chosen shape: `by` 1 the next one, -1 the one before. */
  turn(by) {
    if (!this.shape) return;
    const many = this.shape.points.length;
    const { corner } = this.chosen;
    this.choose(this.chosen.key, corner === null ? (by > 0 ? 0 : many - 1) : (corner + by + many) % many);
    this.#tell_corner();
  }

  #tell_corner() {
    const { corner } = this.chosen;
    const [x, y] = this.shape.points[corner];
    this.tell("corner", { number: corner + 1, of: this.shape.points.length, x: Math.round(x * 100), y: Math.round(y * 100) });
  }

  // steps; each says whether there was one

  add_corner() {
    if (!this.shape || !this.edits(this.shape)) return false;
    const side = this.chosen.corner ?? 0;
    const good = this.sheet.insert(this.chosen.key, side, middle(sides(this.shape.points)[side]));
    this.sheet.settle();
    if (good) this.choose(this.chosen.key, side + 1);
    return good;
  }

  remove_corner() {
    if (!this.shape || !this.edits(this.shape) || this.chosen.corner === null) return false;
    const good = this.sheet.remove(this.chosen.key, this.chosen.corner);
    if (good) this.choose(this.chosen.key, Math.min(this.chosen.corner, this.shape.points.length - 1));
    else this.tell("least");
    return good;
  }

  put_corner(at) {
    const { open } = this.sheet.now;
    const next = this.sheet.now.next;
    if (!this.sheet.point(at)) return false;
    if (this.sheet.now.open === null) this.#finished(next);
    else this.tell("put", { number: open.points.length + 1 });
    this.render();
    return true;
  }

  finish() {
    const next = this.sheet.now.next;
    const good = this.sheet.close();
    if (good) this.#finished(next);
    else this.tell("few");
    this.render();
    return good;
  }

  #finished(key) {
    this.#hover = null;
    this.chosen = { key, corner: null };
    this.tell("finished");
  }

  give_up() {
    this.#hover = null;
    this.sheet.give_up();
    this.render();
  }

  again(way) {
    if (!this.sheet[way]()) return;
    if (!this.shape) this.chosen = null;
    else if (this.chosen.corner >= this.shape.points.length) this.chosen.corner = null;
    this.#hover = null;
    this.render();
  }

  // pointers

  #at(event) { return [event.clientX, event.clientY]; }

  #snapped(at, except, event) {
    if (!this.snaps || event?.altKey) return at;
    const others = this.sheet.now.shapes.filter((one) => one.key !== except).map((one) => one.points);
    return snap(at, others, this.size, SNAP_PX);
  }

  #hit(event) {
    const at = this.#share(this.#at(event));
    const reach = event.pointerType === "mouse" ? MOUSE_PX : TOUCH_PX;
    const { open } = this.sheet.now;
    if (open) return open.points.length >= 3 && apart(at, open.points[0], this.size) <= reach ? { closes: true } : { puts: true };
    const near = (points) => points.map((one, n) => [apart(at, one, this.size), n]).sort((a, b) => a[0] - b[0])[0];
    if (this.shape && this.edits(this.shape)) {
      const [away, corner] = near(this.shape.points);
      const [aside, side] = this.shape.kind === "plane" ? [Infinity] : near(sides(this.shape.points).map(middle));
      if (away <= reach && away <= aside) return { key: this.shape.key, corner, from: this.shape.points[corner] };
      if (aside <= reach) return { key: this.shape.key, side, from: middle(sides(this.shape.points)[side]) };
    }
    // what lies within another is drawn, and taken, before it
    const order = ["allowed", "plane", "zone", "mask"];
    const inside = this.sheet.now.shapes.filter((one) => contains(one.points, at));
    inside.sort((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind));
    return { choose: inside.length ? inside[0].key : null };
  }

  #down(event) {
    if (event.button > 0) return;
    this.svg.focus({ preventScroll: true });
    this.svg.setPointerCapture(event.pointerId);
    this.#pointers.set(event.pointerId, this.#at(event));
    if (this.#pointers.size === 1) {
      this.#gesture = { ...this.#hit(event), began: this.#at(event), box: { ...this.box }, moved: false };
    } else {
      this.sheet.settle();
      this.#gesture = { pinch: this.#fingers(), box: { ...this.box } };
    }
    event.preventDefault();
  }

  #fingers() {
    const [a, b] = [...this.#pointers.values()];
    return { middle: middle([a, b]), apart: Math.max(1, Math.hypot(a[0] - b[0], a[1] - b[1])) };
  }

  #move(event) {
    const gesture = this.#gesture;
    if (!this.#pointers.has(event.pointerId)) {
      if (!this.sheet.now.open || event.pointerType !== "mouse") return;
      this.#hover = this.#snapped(this.#share(this.#at(event)), null, event);
      this.#soon();
      return;
    }
    this.#pointers.set(event.pointerId, this.#at(event));
    if (gesture.pinch) {
      if (this.#pointers.size < 2) return;
      const now = this.#fingers();
      this.#look_at(gesture.box, gesture.pinch.apart / now.apart, gesture.pinch.middle, now.middle);
      return;
    }
    const at = this.#at(event);
    if (!gesture.moved && Math.hypot(at[0] - gesture.began[0], at[1] - gesture.began[1]) < STILL_PX) return;
    gesture.moved = true;
    if (gesture.from) this.#drag(gesture, at, event);
    else this.#look_at(gesture.box, 1, gesture.began, at);
  }

  #drag(gesture, at, event) {
    const [now, began] = [this.#share(at), this.#share(gesture.began)];
    const to = this.#snapped([0, 1].map((axis) => gesture.from[axis] + now[axis] - began[axis]), gesture.key, event);
    if (gesture.corner === undefined && this.sheet.insert(gesture.key, gesture.side, to)) gesture.corner = gesture.side + 1;
    this.sheet.move(gesture.key, gesture.corner, to);
    this.chosen = { key: gesture.key, corner: gesture.corner };
    this.#soon();
  }

  #up(event, taps) {
    const gesture = this.#gesture;
    if (!this.#pointers.delete(event.pointerId)) return;
    if (this.#pointers.size) return; // the finger that stays after a pinch does nothing
    this.#gesture = null;
    if (gesture.pinch || !taps || gesture.moved) {
      this.sheet.settle();
      this.render();
    } else if (gesture.closes) this.finish();
    else if (gesture.puts) this.put_corner(this.#snapped(this.#share(this.#at(event)), null, event));
    else if (gesture.side !== undefined) {
      this.chosen.corner = gesture.side;
      this.add_corner();
    } else if (gesture.corner !== undefined) {
      this.choose(gesture.key, gesture.corner);
      this.#tell_corner();
    } else this.choose(gesture.choose);
  }

  // looking closer

  #look_at(box, factor, from, to) {
    const at = this.svg.getBoundingClientRect();
    const w = Math.min(WIDE, Math.max(WIDE / CLOSEST, box.w * factor));
    const h = w * this.high / WIDE;
    // what was under `from` is under `to` now
    const x = box.x + (from[0] - at.left) / at.width * box.w - (to[0] - at.left) / at.width * w;
    const y = box.y + (from[1] - at.top) / at.height * box.h - (to[1] - at.top) / at.height * h;
    this.box = { x: Math.min(WIDE - w, Math.max(0, x)), y: Math.min(this.high - h, Math.max(0, y)), w, h };
    this.#soon();
  }

  /** Look closer by a factor; at the chosen corner, where there is one. */
  zoom(factor, around = null) {
    const at = this.svg.getBoundingClientRect();
    const corner = this.shape?.points[this.chosen.corner];
    const share = corner ? this.#units(corner) : [this.box.x + this.box.w / 2, this.box.y + this.box.h / 2];
    const centre = [at.left + (share[0] - this.box.x) / this.box.w * at.width, at.top + (share[1] - this.box.y) / this.box.h * at.height];
    this.#look_at(this.box, 1 / factor, around || centre, around || (corner ? [at.left + at.width / 2, at.top + at.height / 2] : centre));
  }

  whole() {
    this.box = { x: 0, y: 0, w: WIDE, h: this.high };
    this.render();
  }

  #wheel(event) {
    if (!event.ctrlKey) return; // the page scrolls
    event.preventDefault();
    this.zoom(Math.exp(-event.deltaY / 300), this.#at(event));
  }

  // keys

  #key(event) {
    const { open } = this.sheet.now;
    const step = STEPS[event.key];
    if (event.ctrlKey || event.metaKey) return;
    let done = true;
    if (step) this.#arrow(step.map((one) => one * (event.shiftKey ? FINE : STEP)));
    else if (open && event.key === " ") this.put_corner(this.#hover || [0.5, 0.5]);
    else if (open && event.key === "Enter") this.finish();
    else if (open && event.key === "Backspace") this.again("undo");
    else if (event.key === "Escape" && open) this.give_up();
    else if (event.key === "Escape") this.choose(null);
    else if (event.key === "PageDown") this.turn(1);
    else if (event.key === "PageUp") this.turn(-1);
    else if (event.key === "Delete") this.remove_corner();
    else if (event.key === "Insert") this.add_corner();
    else if (event.key === "+") this.zoom(1.5);
    else if (event.key === "-") this.zoom(1 / 1.5);
    else done = false;
    if (done) event.preventDefault();
  }

  #arrow([dx, dy]) {
    if (this.sheet.now.open) {
      const [x, y] = this.#hover || [0.5, 0.5];
      this.#hover = fit([x + dx, y + dy]);
      this.tell("at", { x: Math.round(this.#hover[0] * 100), y: Math.round(this.#hover[1] * 100) });
    } else if (this.shape && this.edits(this.shape)) {
      const corner = this.chosen.corner ?? 0;
      const [x, y] = this.shape.points[corner];
      this.sheet.move(this.chosen.key, corner, [x + dx, y + dy]);
      this.chosen.corner = corner;
      this.#tell_corner();
    }
    this.render();
  }

  // drawing

  #soon() {
    if (!this.#frame) this.#frame = requestAnimationFrame(() => this.render());
  }

  #corners(points) { return points.map((one) => this.#units(one).map((part) => part.toFixed(2)).join(",")).join(" "); }

  render() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const { x, y, w, h } = this.box;
    this.svg.setAttribute("viewBox", `${x} ${y} ${w} ${h}`);
    const unit = 1 / this.scale;
    const { shapes, open } = this.sheet.now;
    const parts = [];
    for (const { strong, pieces } of this.grid()) {
      const d = pieces.map(([a, b]) => `M${this.#units(a).map((one) => one.toFixed(1))}L${this.#units(b).map((one) => one.toFixed(1))}`).join("");
      parts.push(element("path", { d, class: strong ? "grid strong" : "grid" }));
    }
    for (const kind of ["mask", "zone", "allowed", "plane"]) {
      for (const one of shapes.filter((shape) => shape.kind === kind)) {
        const look = `shape ${kind} ${one.values.kind || ""}${one.key === this.chosen?.key ? " chosen" : ""}`;
        parts.push(element("polygon", { points: this.#corners(one.points), class: `${look} under` }));
        parts.push(element("polygon", { points: this.#corners(one.points), class: look }));
      }
    }
    for (const { name, points } of this.extra()) parts.push(element("polygon", { points: this.#corners(points), class: `extra ${name}` }));
    for (const one of shapes) {
      const text = this.label(one);
      if (!text) continue;
      const [left, top] = this.#units(middle(one.points));
      parts.push(element("text", { x: left, y: top, "font-size": 14 * unit, "stroke-width": 4 * unit, class: "label" }, text));
    }
    if (open) parts.push(...this.#open(open, unit));
    else if (this.shape && this.edits(this.shape)) parts.push(...this.#handles(this.shape, unit));
    this.layer.replaceChildren(...parts);
    this.changed();
  }

  #open({ points }, unit) {
    const way = this.#hover ? [...points, this.#hover] : points;
    return [
      element("polyline", { points: this.#corners(way), class: "open under" }),
      element("polyline", { points: this.#corners(way), class: "open" }),
      ...way.map((one, n) => this.#dot(one, (n === 0 ? 8 : 5) * unit, n === points.length ? "handle next" : "handle")),
    ];
  }

  #handles({ kind, points }, unit) {
    const between = kind === "plane" ? [] : sides(points).map(middle);
    return [
      ...between.map((one) => this.#dot(one, 4 * unit, "handle between")),
      ...points.map((one, n) => this.#dot(one, (n === this.chosen.corner ? 10 : 7) * unit, n === this.chosen.corner ? "handle chosen" : "handle")),
      ...(kind === "plane" ? points.map((one, n) => {
        const [x, y] = this.#units(one);
        return element("text", { x: x + 12 * unit, y: y - 8 * unit, "font-size": 14 * unit, "stroke-width": 4 * unit, class: "label" }, String(n + 1));
      }) : []),
    ];
  }

  #dot(at, r, look) {
    const [cx, cy] = this.#units(at);
    return element("circle", { cx, cy, r, class: look });
  }
}

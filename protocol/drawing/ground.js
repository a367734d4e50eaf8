// The ground plane of a camera, as protocol/plane.py has it: four corners of a rectangle on the street and its two sides.
import { area, fault } from "./polygon.js";

const MIN_HEIGHT = 0.01;
const FARTHEST = 50;
const REACH_M = 60; // the grid goes so far from the rectangle
const STEP_M = 0.5;
const DENSEST_PX = 7; // where lines come nearer to each other than this, there are none; strong ones, twice this
const STRONG = 5; // each fifth line is a strong one

const times = (m, [x, y]) => m.map((row) => row[0] * x + row[1] * y + row[2]);

function solve(rows) {
  const size = rows.length;
  for (let n = 0; n < size; n += 1) {
    let best = n;
    for (let i = n + 1; i < size; i += 1) if (Math.abs(rows[i][n]) > Math.abs(rows[best][n])) best = i;
    [rows[n], rows[best]] = [rows[best], rows[n]];
    for (let i = 0; i < size; i += 1) {
      if (i === n) continue;
      const factor = rows[i][n] / rows[n][n];
      for (let j = n; j <= size; j += 1) rows[i][j] -= factor * rows[n][j];
    }
  }
  return rows.map((row, n) => row[size] / row[n]);
}

function inverse([[a, b, c], [d, e, f], [g, h, i]]) {
  const whole = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);
  return [[e * i - f * h, c * h - b * i, b * f - c * e], [f * g - d * i, a * i - c * g, c * d - a * f],
    [d * h - e * g, b * g - a * h, a * e - b * d]].map((row) => row.map((one) => one / whole));
}

const turn = (a, b, c) => (b[0] - a[0]) * (c[1] - b[1]) - (b[1] - a[1]) * (c[0] - b[0]);
const length = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]);
const height = ([a, b, c]) => Math.abs(turn(a, b, c)) / Math.max(length(a, b), length(b, c), length(c, a), 1e-12);

export class Ground {
  #to_ground;
  #to_picture;

  /** `fault`: why four points are no picture of a rectangle on the ground: `few`, `flat`, `bent`, `far`, or of a polygon. */
  constructor(points, width_m, depth_m) {
    this.fault = Ground.#look(points, width_m, depth_m);
    if (this.fault) return;
    const ground = [[0, 0], [width_m, 0], [width_m, depth_m], [0, depth_m]];
    const rows = ground.flatMap(([x, y], n) => [
      [x, y, 1, 0, 0, 0, -points[n][0] * x, -points[n][0] * y, points[n][0]],
      [0, 0, 0, x, y, 1, -points[n][1] * x, -points[n][1] * y, points[n][1]]]);
    const found = solve(rows);
    const back = inverse([found.slice(0, 3), found.slice(3, 6), [found[6], found[7], 1]]);
    const scale = points.map((one) => times(back, one)[2]).reduce((most, one) => (Math.abs(one) > Math.abs(most) ? one : most));
    this.#to_ground = back.map((row) => row.map((one) => one / scale));
    this.#to_picture = inverse(this.#to_ground);
    if (points.some((one) => this.to_ground(one) === null)) this.fault = "far";
  }

  static #look(points, width_m, depth_m) {
    if (points.length !== 4 || !(width_m > 0) || !(depth_m > 0)) return "few";
    if ([0, 1, 2, 3].some((n) => height(points.filter((_, at) => at !== n)) < MIN_HEIGHT)) return "flat";
    const turns = [0, 1, 2, 3].map((n) => turn(points[n], points[(n + 1) % 4], points[(n + 2) % 4]));
    return fault(points) || (Math.min(...turns) < 0 && Math.max(...turns) > 0 ? "bent" : null);
  }

  /** A picture point on the ground, m; null for what is not on it. */
  to_ground(point) {
    const [x, y, scale] = times(this.#to_ground, point);
    return scale <= 1 / FARTHEST ? null : [x / scale, y / scale];
  }

  /** A ground point in the picture, also outside of it; null for what is behind the camera or too far. */
  to_picture(point) {
    const [x, y, scale] = times(this.#to_picture, point);
    return scale > 0 && scale < FARTHEST ? [x / scale, y / scale] : null;
  }

  /** Area of a polygon of picture coordinates, m²; null where a corner is not on the ground. */
  area_m2(polygon) {
    const corners = polygon.map((one) => this.to_ground(one));
    return corners.includes(null) ? null : area(corners);
  }

  /** A square of so many m² around a picture point, as it lies on the ground; null where it reaches beyond that. */
  square(around, area_m2) {
    const centre = this.to_ground(around);
    if (!centre) return null;
    const half = Math.sqrt(area_m2) / 2;
    const corners = [[-1, -1], [1, -1], [1, 1], [-1, 1]].map(([x, y]) => this.to_picture([centre[0] + x * half, centre[1] + y * half]));
    return corners.includes(null) ? null : corners;
  }

  /** Lines of whole metres, `{ strong, pieces: [[a, b]…] }` in picture coordinates, where their neighbours keep off. */
  grid(size) {
    const seen = [];
    for (let x = 0; x <= 32; x += 1) for (let y = 0; y <= 32; y += 1) seen.push(this.to_ground([x / 32, y / 32]));
    const known = seen.filter(Boolean);
    const low = [0, 1].map((axis) => Math.max(-REACH_M, Math.floor(Math.min(...known.map((one) => one[axis])))));
    const high = [0, 1].map((axis) => Math.min(REACH_M, Math.ceil(Math.max(...known.map((one) => one[axis])))));
    const lines = [];
    for (const axis of [0, 1]) {
      for (let metre = low[axis]; metre <= high[axis]; metre += 1) {
        const strong = metre % STRONG === 0;
        lines.push({ strong, pieces: this.#pieces(axis, metre, low[1 - axis], high[1 - axis], strong, size) });
      }
    }
    return lines.filter((one) => one.pieces.length);
  }

  #pieces(axis, metre, from, to, strong, size) {
    const at = (along, across) => {
      const found = this.to_picture(axis ? [along, across] : [across, along]);
      return found && [found[0] * size[0], found[1] * size[1]];
    };
    const pieces = [];
    let last = null;
    for (let along = from; along <= to; along += STEP_M) {
      const here = at(along, metre);
      const beside = at(along, metre + (strong ? STRONG : 1));
      if (here && last && beside) {
        const step = [here[0] - last[0], here[1] - last[1]];
        const off = [beside[0] - here[0], beside[1] - here[1]];
        const apart_px = Math.abs(step[0] * off[1] - step[1] * off[0]) / Math.max(Math.hypot(...step), 1e-9);
        const near = [here, last].every(([x, y]) => x > -size[0] && x < 2 * size[0] && y > -size[1] && y < 2 * size[1]);
        if (near && apart_px >= DENSEST_PX * (strong ? 2 : 1)) {
          pieces.push([last, here].map(([x, y]) => [x / size[0], y / size[1]]));
        }
      }
      last = here;
    }
    return pieces;
  }
}

// Polygons in picture coordinates, as protocol/geometry.py has them: shares of width and height, origin top left.
// Where lengths matter, `size` is the width and height at which the picture is seen, in pixels.

export const MOST_CORNERS = 64;
const SMALLEST = 1e-6;

/** Four decimals, within the picture: what settings hold. */
export const fit = ([x, y]) => [x, y].map((one) => Math.round(Math.min(1, Math.max(0, one)) * 1e4) / 1e4);
export const same = (a, b) => a[0] === b[0] && a[1] === b[1];
export const sides = (polygon) => polygon.map((corner, n) => [corner, polygon[(n + 1) % polygon.length]]);
export const apart = (a, b, size) => Math.hypot((a[0] - b[0]) * size[0], (a[1] - b[1]) * size[1]);

/** Area as a share of the picture (shoelace formula), or in the units of its corners. */
export function area(polygon) {
  return Math.abs(sides(polygon).reduce((sum, [a, b]) => sum + a[0] * b[1] - a[1] * b[0], 0)) / 2;
}

/** The mean of its corners. */
export const middle = (polygon) => [0, 1].map((axis) => polygon.reduce((sum, one) => sum + one[axis], 0) / polygon.length);

/** Whether a point lies inside (even-odd rule). */
export function contains(polygon, [x, y]) {
  return sides(polygon).reduce((inside, [a, b]) => (
    (a[1] <= y) !== (b[1] <= y) && x < a[0] + (y - a[1]) * (b[0] - a[0]) / (b[1] - a[1]) ? !inside : inside), false);
}

const turn = (a, b, c) => (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);
const between = (a, b, p) => [0, 1].every((axis) => Math.min(a[axis], b[axis]) <= p[axis] && p[axis] <= Math.max(a[axis], b[axis]));

function touch([a, b], [c, d]) {
  const turns = [turn(a, b, c), turn(a, b, d), turn(c, d, a), turn(c, d, b)];
  if (turns[0] * turns[1] < 0 && turns[2] * turns[3] < 0) return true;
  return [[a, b, c], [a, b, d], [c, d, a], [c, d, b]].some(([p, q, r], n) => turns[n] === 0 && between(p, q, r));
}

/** What makes a polygon unusable: `few`, `many`, `same`, `crossing` or `flat`; null for a good one. */
export function fault(polygon) {
  if (polygon.length < 3) return "few";
  if (polygon.length > MOST_CORNERS) return "many";
  if (new Set(polygon.map(String)).size < polygon.length) return "same";
  const all = sides(polygon);
  const crosses = all.some((one, i) => all.some((other, j) => j >= i + 2 && !(i === 0 && j === all.length - 1) && touch(one, other)));
  if (crosses) return "crossing";
  return area(polygon) < SMALLEST ? "flat" : null;
}

function onto(point, [a, b], size) {
  const [dx, dy] = [(b[0] - a[0]) * size[0], (b[1] - a[1]) * size[1]];
  const along = ((point[0] - a[0]) * size[0] * dx + (point[1] - a[1]) * size[1] * dy) / (dx * dx + dy * dy || 1);
  const share = Math.min(1, Math.max(0, along));
  return [a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])];
}

const nearest = (point, places, size) => places.reduce((best, place) => {
  const away = apart(point, place, size);
  return away < best.away ? { place, away } : best;
}, { place: null, away: Infinity });

/** Draw a point to what is within `reach` pixels: a corner of `polygons`, else one of their sides, else the picture's edge. */
export function snap(point, polygons, size, reach) {
  const corner = nearest(point, polygons.flat(), size);
  if (corner.away <= reach) return corner.place;
  const side = nearest(point, polygons.flatMap(sides).map((one) => onto(point, one, size)), size);
  if (side.away <= reach) return side.place;
  return point.map((one, axis) => (one * size[axis] <= reach ? 0 : (1 - one) * size[axis] <= reach ? 1 : one));
}

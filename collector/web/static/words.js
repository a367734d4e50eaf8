// Sentences in the reader's language: the page brings the Chinese, the code has the English.
const known = JSON.parse(document.getElementById("words")?.textContent || "{}");

/** A sentence; `%(name)s` in it is replaced by what `values` has for it. */
export function _(text, values = {}) {
  return (known[text] || text).replace(/%\((\w+)\)[sd]/g, (whole, name) => (name in values ? values[name] : whole));
}

const locale = document.documentElement.lang;
const unit_of = (unit) => new Intl.NumberFormat(locale, { style: "unit", unit, unitDisplay: "short" });
const units = Object.fromEntries(["day", "hour", "minute", "second"].map((unit) => [unit, unit_of(unit)]));
const two = (number) => String(number).padStart(2, "0");

/** A length of time, as `1 h 05 min` is read in this language; `reader.py` writes the same. */
export function span(ms) {
  const seconds = Math.max(0, Math.floor(Math.abs(ms) / 1000));
  const parts = [["day", Math.floor(seconds / 86400)], ["hour", Math.floor(seconds / 3600) % 24],
    ["minute", Math.floor(seconds / 60) % 60], ["second", seconds % 60]];
  const first = Math.min(parts.findIndex((one) => one[1] > 0) + 5 * !seconds, 3);
  return parts.slice(first, first + 2).map(([unit, count]) => units[unit].format(count)).join(" ");
}

/** The time of day of an instant. */
export const clock = (ms) => { const at = new Date(ms); return `${two(at.getHours())}:${two(at.getMinutes())}`; };

// Keeps a page as it is at the center: when a ticket that it shows has changed, its main part is fetched anew.
// `<main data-refresh="12">` names the ticket, `all` stands for any. `data-every="20"`: also each 20 s while it is seen.
import { call } from "./api.js";
import { follow } from "./feed.js";
import { still } from "./still.js";
import { changed } from "./written.js";

const PAUSE_MS = 1500; // a list is read by people: no more often than this
const FOCUSED = "a, button, summary, [tabindex]";
let busy = false;
let again = false;

const filter_of = (main) => main.querySelector(":scope > form[method=get]");

// somebody is writing there: what they have written must not be taken away; a filter stays as it is
const FIELDS = "main input:not([type=hidden]), main textarea, main select";
const writing = () => [...document.querySelectorAll(FIELDS)]
  .some((one) => one.form?.method !== "get" && (one === document.activeElement || changed(one)));

/** Put what came in the place of what is here, around a filter: what is chosen there stays, and a list that is open. */
function put(main, fresh) {
  const [mine, theirs] = [filter_of(main), filter_of(fresh)];
  if (!mine || !theirs) { main.replaceWith(fresh); return fresh; }
  const parts = [...fresh.childNodes];
  for (const one of [...main.childNodes]) if (one !== mine) one.remove();
  mine.before(...parts.slice(0, parts.indexOf(theirs)));
  mine.after(...parts.slice(parts.indexOf(theirs) + 1));
  return main;
}

async function whole() {
  if (writing()) return;
  const text = await call("GET", location.href, undefined, { background: true });
  const fresh = new DOMParser().parseFromString(text, "text/html").querySelector("main");
  const main = document.querySelector("main");
  if (!fresh || writing() || main.querySelector("button:active, a:active") || still(main) === still(fresh)) return;
  const open = [...main.querySelectorAll("details")].map((one) => one.open);
  const at = [...main.querySelectorAll(FOCUSED)].indexOf(document.activeElement);
  const now = put(main, fresh);
  if (at >= 0) now.querySelectorAll(FOCUSED)[at]?.focus({ preventScroll: true });
  now.querySelectorAll("details").forEach((one, index) => { one.open = Boolean(open[index]); });
}

/** Fetch the page's main part anew, soon, and once for a burst of changes. */
export async function refresh() {
  again = true;
  if (busy) return;
  busy = true;
  while (again) {
    again = false;
    // what fails now is tried with the next change
    await whole().catch(() => {});
    await new Promise((done) => { setTimeout(done, PAUSE_MS); });
  }
  busy = false;
}

const every = Number(document.querySelector("main").dataset.every);
if (every) setInterval(() => { if (document.visibilityState === "visible") refresh(); }, every * 1000);

const wanted = document.querySelector("main").dataset.refresh;
follow({
  since: document.querySelector("main").dataset.at || "",
  onChanged(tickets) {
    if (!tickets || (tickets.length && wanted === "all") || tickets.some((one) => String(one.number) === wanted)) refresh();
  },
});

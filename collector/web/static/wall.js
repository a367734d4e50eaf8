// Keeps the wall as it is at the center, for weeks: only parts that say something else are replaced, nothing is kept.
import { call } from "./api.js";
import { follow } from "./feed.js";
import { _ } from "./words.js";

const PAUSE_MS = 5000; // it is looked at from afar: no more often than this
const EVERY_MS = 30000; // what no ticket tells of: deadlines that pass, boxes that fall silent
const STALE_MS = 90000;
const LOST_MS = 5000;

const main = document.querySelector("main");
const made = main.querySelector(".wall").dataset.made;
const stale = document.getElementById("stale");
const clock = document.getElementById("clock");
const form = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", timeZone: clock.dataset.zone });
let good = Date.now(); // when what stands here was last known to be so, by this machine
let ahead = Number(main.querySelector(".wall").dataset.at) - good; // the center's clock, ahead of this machine's
let line = "waiting";
let due = true;
let busy = false;

const write = (one, text) => { if (one.textContent !== text) one.textContent = text; };

/** Fetch what the wall shows now, and put in place what differs. */
export async function update() {
  const text = await call("GET", "/wall/now", undefined, { background: true });
  const fresh = new DOMParser().parseFromString(text, "text/html").querySelector(".wall");
  if (!fresh) return;
  // another release of the pages, or another map: what lies here does not suit it
  if (fresh.dataset.made !== made) { location.reload(); return; }
  for (const part of fresh.querySelectorAll("[data-live]")) {
    const old = main.querySelector(`[data-live="${part.dataset.live}"]`);
    if (old && old.outerHTML !== part.outerHTML) old.replaceWith(part);
  }
  good = Date.now();
  ahead = Number(fresh.dataset.at) - good;
}

async function turn() {
  if (busy || line === "ended" || !due) return;
  busy = true;
  due = false;
  // what fails is tried again with the next change, or by itself
  await update().catch((fault) => { if (fault.status === 401 || fault.status === 403) line = "ended"; });
  tick();
  setTimeout(() => { busy = false; turn(); }, PAUSE_MS);
}

/** The time of day at the center, and whether what stands here is still so. */
function tick() {
  const now = Date.now();
  write(clock, form.format(now + ahead));
  const since = form.format(good + ahead);
  const old = now - good;
  const text = line === "ended" ? _("Signed out at %(time)s: the numbers are of then. Somebody has to sign in here again.", { time: since })
    : old > STALE_MS || (line === "lost" && old > LOST_MS) ? _("No line to the center since %(time)s: the numbers are of then. It goes on by itself.", { time: since })
    : "";
  write(stale.querySelector("span"), text);
  stale.querySelector("a").hidden = line !== "ended";
  stale.hidden = !text;
  main.classList.toggle("is-old", Boolean(text));
}

follow({
  since: main.querySelector(".wall").dataset.since,
  path: "/wall/events",
  stays: true,
  onChanged() { due = true; turn(); },
  onState(state) { line = state; tick(); },
});
setInterval(() => { due = true; turn(); }, EVERY_MS);
setInterval(tick, 1000);
tick();

// Improves a shop's page, which works without: the time left goes on, what has changed is shown by itself, and that there
// is no network is said.
import { span } from "./words.js";

const EVERY_MS = 20_000, AFTER_REFUSED_MS = 60_000;
const offline = document.getElementById("offline");
let ahead_ms = 0;

/** How far the center's clock is ahead of this telephone's. */
function measure() {
  const at = document.querySelector("main").dataset.now;
  if (at) ahead_ms = Number(at) - Date.now();
}

function tick() {
  const time = document.querySelector(".time");
  if (!time) return;
  const left_ms = Number(time.dataset.due) - Date.now() - ahead_ms;
  time.classList.toggle("over", left_ms <= 0);
  time.querySelector("strong").textContent = span(Math.max(0, left_ms));
  const share = Math.min(100, Math.max(0, (100 * left_ms) / Number(time.dataset.whole)));
  time.querySelector(".ring").setAttribute("stroke-dasharray", `${share.toFixed(1)} 100`);
}

/** Fetch the page anew; gives in how many milliseconds to look again, 0: never. */
async function refresh() {
  const main = document.querySelector("main");
  let answer;
  let text;
  try {
    answer = await fetch(location.pathname + location.search, { cache: "no-store", credentials: "omit" });
    text = await answer.text();
  } catch {
    offline.hidden = false;
    return EVERY_MS;
  }
  offline.hidden = true;
  // too many at once, or the center is being started: not the end of the link
  if (!answer.ok && answer.status !== 404) return AFTER_REFUSED_MS;
  const fresh = new DOMParser().parseFromString(text, "text/html").querySelector("main");
  if (!fresh) return AFTER_REFUSED_MS;
  if (fresh.dataset.version !== main.dataset.version) {
    const had_focus = main.contains(document.activeElement);
    main.replaceWith(document.importNode(fresh, true));
    const head = document.querySelector("main h1");
    document.getElementById("news").textContent = head.textContent;
    if (had_focus) head.focus();
  } else {
    main.dataset.now = fresh.dataset.now;
  }
  measure();
  tick();
  return fresh.dataset.version ? EVERY_MS : 0;
}

let timer = 0;
let looking = false;
async function look() {
  clearTimeout(timer);
  if (looking || document.visibilityState !== "visible" || !document.querySelector("main").dataset.version) return;
  looking = true;
  const pause_ms = await refresh().catch(() => EVERY_MS);
  looking = false;
  if (pause_ms) timer = setTimeout(look, pause_ms);
}

measure();
// where something is being written nothing changes by itself
if (document.querySelector("main").dataset.version) {
  tick();
  setInterval(tick, 1000);
  timer = setTimeout(look, EVERY_MS);
  document.addEventListener("visibilitychange", look);
  window.addEventListener("online", look);
}
window.addEventListener("online", () => { offline.hidden = true; });
window.addEventListener("offline", () => { offline.hidden = false; });
offline.hidden = navigator.onLine !== false;
// what was written is not lost to the browser's own page of errors
document.addEventListener("submit", async (event) => {
  if (navigator.onLine !== false) return;
  event.preventDefault();
  // some telephones say so wrongly: whether the center answers counts
  const reached = await fetch(location.href, { cache: "no-store", credentials: "omit" }).then(() => true, () => false);
  offline.hidden = reached;
  if (reached) event.target.submit();
});

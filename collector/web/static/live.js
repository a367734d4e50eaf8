// Keeps the page as it is at the center. A list of tickets gets the rows that have changed; anything else is fetched
// again as a whole, and its main part exchanged.
const light = document.getElementById("live");
const PAUSE_MS = 60; // a burst of messages is one change for the reader
const OVERLAP_MS = 500; // a row's time is taken before it is committed; what takes longer comes with the whole
const WHOLE_MS = 10000; // what is not a row (cameras, counts) is as old as this at most
const ROWS = 200; // of the list, at the center
let busy = false;
let again = false;
let wholeAt = Date.now();

async function get(url) {
  // a page that asks by itself does not keep its session alive; when that has ended, the person signs in again
  const answer = await fetch(url, { cache: "no-store", headers: { "x-background": "1" } });
  if (answer.status === 401) location.reload();
  if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

// somebody is writing there: what they have written must not be taken away
const busyWriting = () => document.activeElement?.matches("main input, main textarea, main select")
  || [...document.querySelectorAll("main input[type=text], main input:not([type]), main textarea")].some((one) => one.value !== one.defaultValue);

async function whole() {
  if (busyWriting()) return;
  wholeAt = Date.now();
  const details = () => [...document.querySelectorAll("details")];
  const open = new Set(details().flatMap((one, index) => (one.open ? [index] : [])));
  const main = (await get(location.href)).querySelector("main");
  if (!main) return;
  document.querySelector("main").replaceWith(main);
  details().forEach((one, index) => { one.open = open.has(index); });
}

// open ones first, then the newest: as the center sorts them
function before(a, b) {
  if (a.className !== b.className) return a.className === "open";
  return Number(a.dataset.number) > Number(b.dataset.number);
}

async function rows(list) {
  const fresh = (await get(`/rows?since=${list.dataset.until - OVERLAP_MS}`)).querySelector("ul.tickets");
  const known = new Map([...list.children].map((row) => [row.dataset.number, row]));
  const shown = Math.max(known.size, ROWS);
  for (const row of fresh.children) {
    const old = known.get(row.dataset.number);
    if (old && old.outerHTML === row.outerHTML) continue;
    old?.remove();
    const next = [...list.children].find((one) => before(row, one));
    list.insertBefore(row.cloneNode(true), next ?? null);
  }
  while (list.children.length > shown) list.lastElementChild.remove();
  list.dataset.until = fresh.dataset.until;
}

async function refresh() {
  const list = document.querySelector("ul.tickets");
  if (list?.children.length && Date.now() - wholeAt < WHOLE_MS) await rows(list);
  else await whole();
}

async function soon() {
  again = true;
  if (busy) return;
  busy = true;
  while (again) {
    again = false;
    // what fails now is tried with the next change
    await refresh().catch(() => {});
    await new Promise((done) => { setTimeout(done, PAUSE_MS); });
  }
  busy = false;
}

function show(on) {
  light.textContent = on ? light.dataset.on : light.dataset.off;
  light.classList.toggle("on", on);
}

let broken = false;
const feed = new EventSource("/events");
feed.addEventListener("open", () => {
  show(true);
  if (broken) { wholeAt = 0; soon(); }
  broken = false;
});
feed.addEventListener("error", () => {
  show(false);
  broken = true;
  // refused, not merely away
  if (feed.readyState === EventSource.CLOSED) soon();
});
feed.addEventListener("changed", soon);

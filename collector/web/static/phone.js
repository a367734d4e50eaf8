// What both pages of tasks have: what is kept on this phone is shown and sent, the page is kept, and kept anew.
import "./outbox.js";
import { call, half } from "./api.js";
import { tick } from "./frame.js";
import { _, span } from "./words.js";

const { outbox } = self;
const main = document.querySelector("main");
export const { person, keptAs: kept_as } = main.dataset;
const steps = JSON.parse(main.dataset.steps);
/** What was done, in words. */
export const name_of = ({ verb }) => (verb === "picture" ? _("Picture") : steps[verb]);
const kept_ms = Number(document.documentElement.dataset.kept || 0);
const BUSY_MS = 1500;
const FIRST_MS = 4000;
const LONGEST_MS = 300000;
const TWICE_MS = 600;

const listeners = [];
/** Hear when something that waits has changed. */
export const on_outbox = (act) => listeners.push(act);

const shown = document.getElementById("outbox");
const done = new Map(); // sent while this page was open
const pictures = new Map(); // addresses of those that wait
let before = []; // what was kept when this was last looked at
const dropped = new Set();
let sending = 0;
let out = false;

function button(text, act) {
  const one = document.createElement("button");
  one.type = "button";
  one.className = "plain";
  one.textContent = text;
  one.addEventListener("click", act);
  return one;
}

function words_of(entry) {
  if (entry.state === "sent") return _("sent");
  if (entry.state === "refused") {
    const zh = document.documentElement.lang.startsWith("zh");
    // what is possible now is said below, in words
    const why = (zh ? entry.detail_zh || half(entry.detail) : entry.detail).replace(/[;；][^;；:：]+[:：][a-z_, ]*\S?$/, "");
    return entry.code === "after" ? _("not sent, as the step before it was refused") : _("refused: %(why)s", { why });
  }
  if (entry.id === sending) return _("being sent…");
  return out ? _("kept on this phone; sign in again, then it is sent") : _("kept on this phone, sent when there is network");
}

function line_of(entry) {
  const line = document.createElement("li");
  line.dataset.state = entry.state;
  if (entry.content) {
    if (!pictures.has(entry.id)) pictures.set(entry.id, URL.createObjectURL(new Blob([entry.content])));
    const image = document.createElement("img");
    Object.assign(image, { src: pictures.get(entry.id), alt: "", width: 56, height: 56 });
    line.append(image);
  }
  const text = document.createElement("p");
  const what = document.createElement("b");
  what.textContent = `#${entry.number} ${name_of(entry)}`;
  const how = document.createElement("span");
  how.textContent = words_of(entry);
  text.append(what, " · ", how);
  line.append(text);
  const acts = document.createElement("p");
  acts.className = "buttons";
  if (entry.state === "refused") {
    const able = Object.keys(steps).filter((verb) => (entry.allowed || []).includes(verb)).map((verb) => steps[verb]);
    if (able.length && entry.code !== "after") text.append(document.createElement("br"), _("Possible now: %(verbs)s", { verbs: able.join(", ") }));
    if (entry.version && (entry.allowed || []).includes(entry.verb)) acts.append(button(_("Do it all the same"), () => act(outbox.again(entry.id, entry.version))));
  }
  if (entry.state === "refused" || (entry.state === "kept" && entry.id !== sending)) acts.append(discard(entry));
  if (acts.children.length) line.append(acts);
  return line;
}

/** What is to be asked is asked by the button itself: gives whether this is the answer, and no double tap. */
export function is_sure(one, question) {
  const { asked } = one.dataset;
  if (asked) return Date.now() - Number(asked) > TWICE_MS;
  one.dataset.asked = Date.now();
  one.dataset.text = one.textContent;
  one.textContent = question;
  return false;
}

const discards = new Map(); // one button for each: lines are made anew, and none forgets that it has asked
function discard({ id }) {
  if (!discards.has(id)) discards.set(id, button(_("Discard"), ({ target }) => {
    if (!is_sure(target, _("Discard it for good?"))) return;
    dropped.add(id);
    act(outbox.remove(id));
  }));
  return discards.get(id);
}

async function act(one) {
  await one;
  await changed();
  send_soon(0);
}

/** One line of all that is kept, where the thumb is: its place is always there, so that nothing moves. */
function sum_up(entries) {
  const many = (state) => entries.filter((one) => one.state === state).length;
  const state = ["refused", "kept", "sent"].find(many) || "";
  const count = many(state);
  const text = { refused: _("Refused: %(count)s, see below", { count }), kept: _("Kept on this phone: %(count)s", { count }),
    sent: _("Sent: %(count)s", { count }), "": "" }[state];
  for (const line of document.querySelectorAll(".sum")) {
    line.dataset.state = state;
    line.firstChild.hidden = !text;
    if (line.textContent !== text) line.firstChild.textContent = text;
  }
}

/** Show what is kept. */
async function changed() {
  const waiting = await outbox.list(person);
  // the worker, or another page, has sent what is gone
  for (const one of before) if (!dropped.has(one.id) && !waiting.some(({ id }) => id === one.id)) done.set(one.id, { ...one, content: undefined, state: "sent" });
  before = waiting;
  const entries = [...done.values(), ...waiting].sort((one, other) => one.id - other.id);
  sum_up(entries);
  shown.hidden = !entries.length;
  shown.querySelector("ul").replaceChildren(...entries.map(line_of));
  const sign_in = shown.querySelector("[data-sign-in]");
  sign_in.hidden = !out;
  for (const one of listeners) one(entries);
}

let timer = 0;
let wait = FIRST_MS;
let running = false;
let asked = false;

function send_soon(ms) {
  clearTimeout(timer);
  timer = setTimeout(() => send().catch(() => {}), ms);
}

async function send() {
  if (running) { asked = true; return; }
  running = true;
  asked = false;
  let how = "away";
  try {
    how = await outbox.send((entry, state) => {
      sending = state === "sending" ? entry.id : 0;
      if (state === "sent") done.set(entry.id, { ...entry, content: undefined, state });
      changed();
    });
  } finally {
    running = false;
    sending = 0;
  }
  out = how === "signed_out";
  await changed();
  if (asked) { send_soon(0); return; }
  if (how === "done") { wait = FIRST_MS; return; }
  if (how === "busy") { send_soon(BUSY_MS); return; }
  send_soon(wait * (0.7 + 0.6 * Math.random()));
  wait = Math.min(LONGEST_MS, wait * 2);
}

async function ask_worker() {
  const worker = await ready();
  if (worker && worker.sync) await worker.sync.register("outbox");
}

/** Keep a step or a picture, and send it as soon as it can be; rejects where this phone keeps nothing. */
export async function keep(entry) {
  await outbox.add({ ...entry, person, made_ms: Date.now() });
  await changed().catch(() => {});
  wait = FIRST_MS;
  send_soon(0);
  ask_worker().catch(() => {});
}

const hurry = () => {
  if (document.visibilityState === "hidden") return;
  wait = FIRST_MS;
  send_soon(0);
};
addEventListener("online", hurry);
addEventListener("pageshow", hurry);
document.addEventListener("visibilitychange", hurry);

// the worker: none in some apps' browsers, and none without TLS
const registered = !navigator.serviceWorker ? Promise.resolve(null)
  : navigator.serviceWorker.register("/sw.js", { scope: "/tasks" }).catch(() => null);
const ready = () => Promise.race([
  registered.then((found) => found && navigator.serviceWorker.ready),
  new Promise((give) => { setTimeout(give, 5000, null); }),
]);

/** Have pages and pictures kept for when there is no network: `[url, version]`; with them goes what they load. */
export async function keep_pages(wanted) {
  if (kept_ms && !navigator.onLine) return;
  const worker = await ready();
  if (!worker || !worker.active) return;
  const loaded = performance.getEntriesByType("resource").map((one) => new URL(one.name).pathname).filter((one) => one.startsWith("/static/"));
  worker.active.postMessage({ name: kept_as, wanted: [...new Set([...loaded, ...main.dataset.scripts.split(" ")])].map((one) => [one, ""]).concat(wanted) });
}
/** Whether a worker has seen this page come, and has kept it. */
export const is_kept = () => Boolean(navigator.serviceWorker && navigator.serviceWorker.controller);

let renewing = null;
let once_more = false;
/**
 * Fetch the page anew and put its living part in place; gives whether it changed. An older answer never comes last.
 * `busy` is asked once more when it has come: what somebody began to write meanwhile is not taken away.
 */
export async function renew(busy = () => false) {
  once_more = true;
  renewing = renewing || (async () => {
    let is_new = false;
    while (once_more) {
      once_more = false;
      is_new = await renew_once(busy) || is_new;
    }
    return is_new;
  })();
  try {
    return await renewing;
  } finally {
    renewing = null;
  }
}

async function renew_once(busy) {
  const text = await call("GET", location.pathname, undefined, { background: true });
  const fresh = new DOMParser().parseFromString(text, "text/html");
  const [part, live] = [fresh.getElementById("live"), document.getElementById("live")];
  if (!part || busy()) return false;
  show_age(0);
  main.dataset.at = fresh.querySelector("main").dataset.at;
  if (part.outerHTML === live.outerHTML) return false;
  live.replaceWith(part);
  document.dispatchEvent(new Event("renewed"));
  tick(part);
  changed().catch(() => {});
  return true;
}

function show_age(at_ms) {
  document.getElementById("age").textContent = at_ms ? _("No network: as it was %(span)s ago.", { span: span(Date.now() - at_ms) }) : "";
}

async function begin() {
  show_age(kept_ms);
  if (kept_ms) setInterval(() => { if (document.getElementById("age").textContent) show_age(kept_ms); }, 30000);
  const csrf = document.querySelector("meta[name=csrf]");
  // what a kept page has of a session may be over
  if (csrf && !kept_ms) await outbox.put_fact({ name: "person", id: person, csrf: csrf.content });
  await changed();
  send_soon(0);
  if (navigator.storage && navigator.storage.persist) navigator.storage.persist().catch(() => {});
}
// where nothing can be kept, forms are sent as they are
begin().catch(() => {});

// The live board: a queue of what waits, one ticket of it large, one key for each decision.
import { call } from "./api.js";
import { follow } from "./feed.js";
import { tick, write } from "./frame.js";
import { _ } from "./words.js";

const GUARD_MS = 300; // a ticket takes keys this long after it was painted: a key pressed twice is not for the next one
const PART = 40; // cards that are fetched at once
const PAUSE_MS = 150; // a burst of changes is fetched once
const AGAIN_MS = 2000;
const SAID_MS = 8000;
const END_MS = 100; // after cards were fetched: whether their end is in view is known then
const TALLY_MS = 50;
const HUSH_MS = 1000; // the timekeeper looks three times a second
const SPREAD_MS = 4000;
const EACH_MS = 15; // twice what a card costs the center, for each page that hears of it
const PICTURES_MS = 5000; // a ticket whose pictures do not come is decided without
const NEAR = 8; // cards before the last one that is here when more are fetched
const FAR = 2; // tickets that are made ready beforehand

const $ = (id) => document.getElementById(id);
const [stage, queue, more, fresh, said, help] = ["stage", "queue", "more", "fresh", "said", "help"].map($);
const box = queue.parentElement;
const title = document.title.replace(/^\(\d+\) /, "");

/** number → {number, version, kind, late, order, card, arrived}; `arrived`: it came while the page was open. */
const entries = new Map();
const ready = new Map(); // number → {version, part}: tickets fetched beforehand
const sending = new Set(); // decided here, not answered yet
let sorted = [];
let kind = "";
let current = 0;
let turn = 0; // counts the tickets that were shown: what was fetched for an earlier one is not put
let back = null; // {number, seen, until}: the judgement that may be taken back
const unanswered = new Set(); // decided while the center was away
let unseen = 0; // the ticket that was to be confirmed without a picture

const before = (a, b) => { for (let at = 0; at < 4; at += 1) if (a.order[at] !== b.order[at]) return a.order[at] - b.order[at]; return 0; };
const matches = (one) => !kind || one.kind === kind || (kind === "late" && one.late);
const shown = () => sorted.filter(matches);
const panel = () => stage.querySelector("form.ask:not([hidden])");
const article = () => stage.querySelector("article");
const stale = () => { const found = stage.querySelector(".stale"); return Boolean(found && !found.hidden); };
const store = (name, value) => { try { if (value === undefined) return localStorage.getItem(name); localStorage.setItem(name, value); } catch { /* kept for this page only */ } return null; };

/** How many of a list are behind the last one that has its card. */
const reach = (list) => list.reduce((far, one, at) => (one.card ? at + 1 : far), 0);

/** How many cards end above a line; they are one below the other. */
function above(cards, line) {
  let [from, to] = [0, cards.length];
  while (from < to) {
    const mid = (from + to) >> 1;
    if (cards[mid].getBoundingClientRect().bottom > line) to = mid;
    else from = mid + 1;
  }
  return from;
}

const cards_shown = () => [...queue.querySelectorAll("li:not([hidden])")];

let steady = false;
/** Change the queue while what is looked at there stays where it is: measured once before and once after all of it. */
function still(change) {
  if (steady) { change(); return; }
  const of = box.getBoundingClientRect();
  const place = (one) => one.getBoundingClientRect();
  const seen = (one) => one?.isConnected && !one.hidden && place(one).bottom > of.top && place(one).top < of.bottom;
  const mine = marked?.parentElement;
  const cards = seen(mine) ? [] : cards_shown();
  const anchor = seen(mine) ? mine : cards[above(cards, of.top)];
  const was = anchor && place(anchor).top;
  steady = true;
  try { change(); } finally { steady = false; }
  if (anchor?.isConnected) box.scrollTop += place(anchor).top - was;
}

let counted = 0;
/** After a change of `entries`: in order at once, counted on the page a moment later, once for many. */
function count() {
  sorted = [...entries.values()].sort(before);
  counted = counted || setTimeout(tally, TALLY_MS);
}

function tally() {
  clearTimeout(counted);
  counted = 0;
  document.title = sorted.length ? `(${sorted.length}) ${title}` : title;
  write($("count"), new Intl.NumberFormat(document.documentElement.lang).format(sorted.length));
  for (const one of document.querySelectorAll(".kinds button")) {
    const many = one.dataset.kind && sorted.filter((entry) => entry.kind === one.dataset.kind || (one.dataset.kind === "late" && entry.late)).length;
    one.hidden = many === 0 && one.dataset.kind !== kind;
    if (one.dataset.kind) write(one.querySelector("span"), String(many));
  }
  more.classList.toggle("is-done", shown().every((one) => one.card));
  show_fresh();
}

function show_fresh() {
  const cards = cards_shown();
  const many = cards.slice(0, above(cards, box.getBoundingClientRect().top + 8)).filter((one) => one.classList.contains("is-new")).length;
  fresh.hidden = many === 0;
  if (many) write(fresh, _("%(count)d new ↑", { count: many }));
}

function parsed(html) {
  const holder = document.createElement("template");
  holder.innerHTML = html.trim();
  return holder.content.firstElementChild;
}

function put_card(entry, card) {
  card.hidden = !matches(entry);
  card.classList.toggle("is-sent", sending.has(entry.number));
  const focused = entry.card?.contains(document.activeElement);
  const next = sorted.slice(sorted.indexOf(entry) + 1).find((one) => one.card);
  entry.card?.remove();
  queue.insertBefore(card, next ? next.card : null); // what it waits for may have changed, and its place
  if (focused) card.firstElementChild.focus({ preventScroll: true });
  entry.card = card;
  card.classList.toggle("is-new", entry.arrived);
  if (entry.number === current) mark(card);
}

let marked = null; // the link of the card that is looked at
function mark(card) {
  if (marked) { marked.removeAttribute("aria-current"); marked.tabIndex = -1; }
  marked = card?.firstElementChild || null;
  if (marked) { marked.setAttribute("aria-current", "true"); marked.tabIndex = 0; }
}

/** One row of what waits, as the center has it; says whether it is new here. */
function take([number, version, of, late, ...order]) {
  const known = entries.get(number);
  const entry = Object.assign(known || { number, card: null, arrived: true }, { version, kind: of, late: Boolean(late), order });
  entries.set(number, entry);
  return !known;
}

/** New alerts are there as soon as the feed has told of them; what they show follows with their cards. */
function announce(tickets) {
  for (const { number, version } of tickets) take([number, version, "review", 0, 0, 0, -Date.now(), -number]);
  count();
  for (const { number } of tickets) {
    const card = $("coming").content.firstElementChild.cloneNode(true);
    card.dataset.number = number;
    card.querySelector("b").append(`#${number}`);
    card.firstElementChild.href = `/tickets/${number}`;
    put_card(entries.get(number), card);
  }
  hear_of(tickets.map((one) => one.number));
}

function gone(numbers) {
  const left = numbers.filter((one) => entries.has(one)).map((one) => entries.get(one));
  if (!left.length) return;
  for (const { number } of left) { entries.delete(number); ready.delete(number); }
  still(() => { for (const { card } of left) if (card) card.remove(); });
  count();
  if (left.some((one) => one.number === current)) aside();
}

// --- the ticket that is looked at

async function part(number) {
  return parsed(await call("GET", `/board/${number}`, undefined, { background: true }));
}

/** Have the next ones here before they are asked for, with their pictures. */
async function prepare() {
  const list = shown().filter((one) => one.number !== current && !sending.has(one.number));
  const first = next_of(list);
  const rest = first ? list.slice(list.indexOf(first), list.indexOf(first) + FAR) : [];
  for (const one of rest) {
    if (ready.get(one.number)?.version === one.version) continue;
    try {
      const found = await part(one.number);
      ready.set(one.number, { version: Number(found.dataset.version), part: found });
      for (const img of found.querySelectorAll(".pairs img")) new Image().src = img.getAttribute("src");
    } catch { return; } // it is fetched when it is shown
  }
  for (const number of ready.keys()) if (ready.size > 12 && !rest.some((one) => one.number === number)) ready.delete(number);
}

let soon = 0;
/** After a change that all open boards hear of at once: not all of them at once. */
function prepare_soon() {
  clearTimeout(soon);
  soon = setTimeout(prepare, SPREAD_MS * Math.random());
}

let last = null; // where the current one stood, once it is gone
/** What is shown next: the first that came meanwhile above, else the one below, else the last. */
function next_of(list) {
  const here = entries.get(current);
  const at = last || here;
  const arrived = list.find((one) => one.arrived && (!at || before(one, at) < 0));
  return arrived || list.find((one) => at && before(one, at) > 0) || list[list.length - 1] || null;
}
function put(found) {
  stage.replaceChildren(found);
  stage.scrollTop = 0;
  tick(stage);
  arm();
}

const armed = () => stage.dataset.armed === "yes";
const disarm = () => { stage.dataset.armed = ""; };

async function arm() {
  disarm();
  const mine = turn;
  const settled = (img) => img.complete || new Promise((done) => { img.onload = img.onerror = done; });
  const limit = new Promise((done) => { setTimeout(done, PICTURES_MS); });
  await Promise.race([limit, Promise.all([...stage.querySelectorAll(".pairs img")].map(settled))]);
  if (mine !== turn) return;
  // after it was painted; a page that is not seen paints nothing, and takes no keys
  requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => { if (mine === turn) stage.dataset.armed = "yes"; }, GUARD_MS)));
}

async function select(number, { focus = false } = {}) {
  const entry = entries.get(number);
  current = number;
  turn += 1;
  disarm();
  const mine = turn;
  if (!entry) {
    mark(null);
    const none = document.createElement("p");
    none.className = "empty";
    none.textContent = _("Nothing waits. New alerts appear here by themselves.");
    stage.replaceChildren(none);
    if (kind && sorted.length) {
      none.textContent = _("None of these waits any more.");
      const all = document.querySelector(".kinds button").cloneNode(true);
      all.removeAttribute("aria-pressed");
      all.addEventListener("click", () => document.querySelector(".kinds button").click());
      stage.append(all);
    }
    return;
  }
  last = { order: entry.order };
  entry.arrived = false;
  if (entry.card) {
    entry.card.classList.remove("is-new");
    mark(entry.card);
    into_view(entry.card);
    if (focus) entry.card.firstElementChild.focus({ preventScroll: true });
  }
  show_fresh();
  const kept = ready.get(number);
  if (kept && kept.version === entry.version) {
    ready.delete(number);
    put(kept.part);
  } else {
    stage.setAttribute("aria-busy", "true");
    for (const one of stage.querySelectorAll("button, input")) one.disabled = true;
    try {
      const found = await part(number);
      if (mine !== turn) return;
      put(found);
    } catch (fault) {
      if (mine === turn) say(fault.detail || String(fault), { bad: true });
    } finally {
      if (mine === turn) stage.removeAttribute("aria-busy");
    }
  }
  fill().catch(() => {});
  prepare();
}

function into_view(card) {
  const [at, of] = [card.getBoundingClientRect(), box.getBoundingClientRect()];
  if (box.scrollHeight <= box.clientHeight) return;
  if (at.top < of.top) box.scrollTop += at.top - of.top - 8;
  else if (at.bottom > of.bottom) box.scrollTop += at.bottom - of.bottom + 8;
}

function next({ focus = true } = {}) {
  const list = shown().filter((one) => one.number !== current && !sending.has(one.number));
  select(next_of(list)?.number || 0, { focus });
}

function move(by) {
  const list = shown().filter((one) => one.card && !sending.has(one.number));
  if (!list.length) return;
  const at = list.findIndex((one) => one.number === current);
  const here = at >= 0 ? at + by : Math.max(0, list.findIndex((one) => last && before(one, last) > 0));
  if (here > list.length - NEAR) fill(true).catch(() => {});
  const found = list[Math.min(list.length - 1, Math.max(0, here))];
  if (found.number !== current || stale()) select(found.number, { focus: true });
}

/** What is looked at was dealt with by somebody else: say it there, take nothing away. */
async function aside() {
  const mine = turn;
  let state = "";
  try { state = (await part(current)).dataset.state; } catch { /* it is said without */ }
  const place = stage.querySelector(".stale");
  if (mine !== turn || !place) return;
  close();
  place.textContent = taken(current, state);
  place.hidden = false;
  for (const one of stage.querySelectorAll("button")) one.disabled = true;
}

const taken = (number, state) => _("#%(number)d: somebody else was quicker. It is now: %(state)s", { number, state });

/** The ticket that is looked at, as it has become. */
async function renew() {
  const [mine, shows] = [turn, article()];
  const found = await part(current);
  const looks = (one) => one.dataset.version + one.dataset.state + one.querySelector(".pairs").innerHTML;
  if (mine !== turn || !shows || looks(found) === looks(shows)) return;
  const changed = found.dataset.version !== shows.dataset.version;
  if (changed && panel()) { await aside(); return; }
  if (panel()) return; // a picture that came is seen with the next look
  turn += 1;
  put(found);
}

// --- decisions

async function act(verb, args = {}, reason = "") {
  if (stale()) { say(stage.querySelector(".stale").textContent); next(); return; }
  const shows = article();
  const number = Number(shows?.dataset.number);
  if (!armed() || number !== current || sending.has(number)) return;
  disarm();
  const done = stage.querySelector(`.deeds [data-verb="${verb}"]`).dataset.done;
  const entry = entries.get(number);
  sending.add(number);
  entry?.card?.classList.add("is-sent");
  next();
  try {
    const answer = await call("POST", `/api/tickets/${number}/${verb}`, { seen: Number(shows.dataset.version), reason, args });
    if (answer.allowed.includes("reconsider")) back = { number, seen: answer.version, until: Date.now() + SAID_MS };
    say(_("#%(number)d %(done)s", { number, done }));
    gone([number]); // if it waits for something else now, the feed brings it back
  } catch (fault) {
    let text = _("#%(number)d was not done: %(detail)s", { number, detail: fault.detail || String(fault) });
    // it may have been done, and its answer lost
    if (fault.status === 0) {
      text = _("#%(number)d: no answer from the center; if it still waits here, decide it again", { number });
      unanswered.add(number);
    }
    if (fault.code === "changed") text = taken(number, await part(number).then((one) => one.dataset.state, () => ""));
    say(text, { bad: true });
  }
  sending.delete(number);
  entries.get(number)?.card?.classList.remove("is-sent");
  want([number]); // shows the next one where there is one again
}

async function take_back() {
  if (!back || back.until < Date.now()) { say(_("There is nothing to take back")); return; }
  const { number, seen } = back;
  back = null;
  try {
    await call("POST", `/api/tickets/${number}/reconsider`, { seen, reason: _("Taken back at the board"), args: {} });
    say(_("#%(number)d waits again", { number }));
    want([number]);
  } catch (fault) {
    say(_("#%(number)d was not done: %(detail)s", { number, detail: fault.detail || String(fault) }), { bad: true });
  }
}

let quiet = 0;
/** One line of what was done; it stays longer where something went wrong. What may be taken back is offered as long. */
function say(text, { bad = false } = {}) {
  clearTimeout(quiet);
  said.hidden = false;
  said.classList.toggle("is-bad", bad);
  said.firstElementChild.textContent = text;
  const undo = back && back.until > Date.now();
  said.lastElementChild.hidden = !undo;
  if (undo) said.querySelector("button span").textContent = `#${back.number}`;
  quiet = setTimeout(() => { said.hidden = true; }, bad ? 2 * SAID_MS : SAID_MS);
}

function open(button) {
  const asks = $(button.getAttribute("aria-controls"));
  const was = panel();
  close();
  if (was === asks) return;
  asks.hidden = false;
  button.setAttribute("aria-expanded", "true");
  (asks.querySelector(".choices button") || asks.querySelector("input")).focus({ preventScroll: true });
}

function close() {
  const found = panel();
  if (!found) return;
  found.hidden = true;
  const button = stage.querySelector(`[aria-controls="${found.id}"]`);
  button.setAttribute("aria-expanded", "false");
  if (!button.disabled) button.focus({ preventScroll: true });
}

/** Whether a picture of the ticket has come. */
const seen = () => [...stage.querySelectorAll(".pairs img")].some((one) => one.complete && one.naturalWidth);

function press(button) {
  if (button.disabled) return;
  if (button.hasAttribute("aria-controls")) { if (armed()) open(button); return; }
  // what a camera reported is judged by its picture
  if (button.dataset.verb === "confirm" && unseen !== current && !seen()) {
    unseen = current;
    say(_("#%(number)d has no picture to judge by. Once more, and it is confirmed without.", { number: current }), { bad: true });
    return;
  }
  act(button.dataset.verb);
}

function choose(button) {
  const form = button.closest("form");
  const { reason, reasonId, of, permit } = button.dataset;
  const own = form.elements.reason.value.trim();
  act(form.dataset.verb, of ? { of: Number(of) } : permit ? { permit } : reasonId ? { reason_id: reasonId } : {}, [reason, own].filter(Boolean).join("；"));
}

stage.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  // the second of a double click lands on what came after the first
  if (!button || event.detail > 1) return;
  if (button.dataset.close !== undefined) close();
  else if (button.dataset.digit) choose(button);
  else if (button.closest(".deeds")) press(button);
});
stage.addEventListener("submit", (event) => {
  event.preventDefault();
  const { verb } = event.target.dataset;
  const { of, permit, reason } = event.target.elements;
  const args = of ? { of: Number(of.value.replace("#", "")) } : permit ? { permit: permit.value.trim() } : {};
  act(verb, args, reason.value.trim());
});
queue.addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  select(Number(link.parentElement.dataset.number), { focus: true });
  if (stage.getBoundingClientRect().top < 0) scrollTo({ top: 0 });
});

document.addEventListener("keydown", (event) => {
  const { target } = event;
  if (event.defaultPrevented || event.isComposing || event.ctrlKey || event.metaKey || event.altKey || help.open) return;
  if (event.key === "Escape") { if (panel()) { event.preventDefault(); close(); } return; }
  if (target.closest("input, textarea, select, [contenteditable]")) return;
  if (event.key === "?") { event.preventDefault(); help.showModal(); return; }
  const asks = panel();
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    if (asks || !(target === document.body || target.closest("#queue, #stage, main"))) return;
    event.preventDefault();
    move(event.key === "ArrowDown" ? 1 : -1);
    return;
  }
  if (event.key === "Enter") {
    if (event.repeat || target.closest("button, summary, a") && !queue.contains(target)) return;
    event.preventDefault();
    if (current) location.href = `/tickets/${current}`;
    return;
  }
  if (!$("letters").checked) return;
  // with an input method on, a key has no letter of its own
  const key = /^Key[A-Z]$/.test(event.code) && !/^[a-z]$/i.test(event.key) ? event.code[3].toLowerCase() : event.key.toLowerCase();
  if ((key === "j" || key === "k") && !asks) { event.preventDefault(); move(key === "j" ? 1 : -1); return; }
  if (event.repeat) return;
  if (key === "z" && !asks) { event.preventDefault(); take_back(); return; }
  const found = asks && /^[1-9]$/.test(key) ? asks.querySelector(`[data-digit="${key}"]`) : stage.querySelector(`.deeds [data-key="${key}"]`);
  if (!found) return;
  event.preventDefault();
  if (found.dataset.digit) choose(found);
  else if (stale()) act(found.dataset.verb);
  // with choices open a decision that asks nothing is a slip
  else if (!asks || found.hasAttribute("aria-controls")) press(found);
  else say(_("Close the choices first (Esc)"));
});

// --- what changes at the center

const wanted = new Set();
let whole = false;
let busy = false;

/** Put cards as the center has them now; `all`: those far down the queue as well, which are else fetched when scrolled to. */
function settle(cards, { all = false } = {}) {
  const came = cards.filter((one) => take(one.row));
  count();
  const far = Math.max(PART, reach(sorted));
  still(() => {
    for (const { row, html } of cards.reverse()) { // the last first: each is put before one that has its place
      const entry = entries.get(row[0]);
      if (!all && !entry.card && sorted.indexOf(entry) > far) continue;
      const card = parsed(html);
      tick(card);
      put_card(entry, card);
    }
  });
  hear_of(came.map((one) => one.row[0]));
}

async function refresh(numbers, options) {
  const { cards } = await call("GET", `/board/cards?${numbers.map((one) => `number=${one}`).join("&")}`, undefined, { background: true });
  const found = new Set(cards.map((one) => one.row[0]));
  gone(numbers.filter((one) => !found.has(one)));
  settle(cards, options);
}

async function reorder() {
  const { rows } = await call("GET", "/board/queue", undefined, { background: true });
  const here = new Set(rows.map((one) => one[0]));
  gone([...entries.keys()].filter((one) => !here.has(one)));
  const came = [];
  for (const row of rows) {
    const known = entries.get(row[0]);
    if (known?.card && known.version !== row[1]) wanted.add(row[0]);
    if (take(row)) came.push(row[0]);
  }
  count();
  hear_of(came);
  await fill();
}

async function sync() {
  if (busy) return;
  busy = true;
  while (whole || wanted.size) {
    const [all, some] = [whole, [...wanted].slice(0, 100)];
    whole = false;
    some.forEach((one) => wanted.delete(one));
    try {
      if (all) await reorder();
      if (some.length) {
        const was = entries.get(current);
        await refresh(some);
        if (was && some.includes(current) && entries.has(current)) await renew();
      }
      go_on();
      if (unanswered.size) come_back();
    } catch {
      // the center is away: what is to be asked is kept
      whole = whole || all;
      some.forEach((one) => wanted.add(one));
      await new Promise((done) => { setTimeout(done, AGAIN_MS); });
    }
    await new Promise((done) => { setTimeout(done, PAUSE_MS); });
  }
  busy = false;
}

/** What was decided while the center was away, and waits still, is decided again. */
function come_back() {
  const open = sorted.find((one) => unanswered.has(one.number));
  unanswered.clear();
  if (!open || open.number === current || panel()) return;
  select(open.number, { focus: true });
  say(_("#%(number)d was not decided: the center did not hear of it", { number: open.number }), { bad: true });
}

/** After a change: show what came to a board that had nothing, else have the next ones ready. */
function go_on() {
  if (!current && sorted.length) next({ focus: false });
  else prepare_soon();
}

function want(numbers) {
  numbers.forEach((one) => wanted.add(one));
  sync();
}

let filling = false;
/** Fetch the cards that are scrolled to. */
let at_end = false; // the end of the cards is in view
async function fill(ahead = false) {
  if (filling) return;
  filling = true;
  let missing = [];
  try {
    const list = shown();
    missing = list.slice(0, Math.max(PART, reach(list) + (ahead ? PART : 0))).filter((one) => !one.card).map((one) => one.number);
    for (let at = 0; at < missing.length; at += PART) {
      await refresh(missing.slice(at, at + PART), { all: true });
    }
  } finally {
    filling = false;
  }
  // who waits at the end sees no change that would have more fetched
  if (missing.length) setTimeout(() => { if (at_end) fill(true).catch(() => {}); }, END_MS);
}

// --- sound, filters, help

let audio = null;
const sound = $("sound");
const loud = () => sound.getAttribute("aria-pressed") === "true";

/** Two soft tones; browsers let a page sound only after somebody touched it. */
function ring() {
  if (!loud() || !audio || audio.state !== "running") return;
  [660, 880].forEach((hertz, at) => {
    const [tone, gain, from] = [audio.createOscillator(), audio.createGain(), audio.currentTime + at * 0.16];
    tone.frequency.value = hertz;
    gain.gain.setValueAtTime(0.0001, from);
    gain.gain.exponentialRampToValueAtTime(0.2, from + 0.02);
    gain.gain.exponentialRampToValueAtTime(0.0001, from + 0.3);
    tone.connect(gain).connect(audio.destination);
    tone.start(from);
    tone.stop(from + 0.32);
  });
}

/** New ones sound once, a moment later: what a pause or a permit covers is known by then. */
function hear_of(numbers) {
  if (numbers.length) setTimeout(() => { if (numbers.some((one) => entries.get(one)?.kind === "review")) ring(); }, HUSH_MS);
}

function set_sound(on) {
  sound.setAttribute("aria-pressed", String(on));
  sound.querySelector("span").textContent = on ? audio ? _("on") : _("on, once you touch the page") : _("off");
  store("board-sound", on ? "on" : "off");
}
const wake = () => {
  if (!loud()) return;
  if (!audio) {
    audio = new (window.AudioContext || window.webkitAudioContext)();
    set_sound(true);
  }
  if (audio.state === "suspended") audio.resume().catch(() => {});
};
sound.addEventListener("click", () => { set_sound(!loud()); wake(); ring(); });
document.addEventListener("pointerdown", wake);
document.addEventListener("keydown", wake);
if (store("board-sound") === "on") set_sound(true);

document.querySelector(".kinds").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  kind = button.dataset.kind;
  for (const one of button.parentElement.children) one.setAttribute("aria-pressed", String(one === button));
  for (const one of entries.values()) if (one.card) one.card.hidden = !matches(one);
  box.scrollTop = 0;
  count();
  fill().catch(() => {});
  if (panel()) return;
  last = null;
  select(shown()[0]?.number || 0);
});
$("keys").addEventListener("click", () => help.showModal());
$("letters").checked = store("board-letters") !== "off";
$("letters").addEventListener("change", (event) => store("board-letters", event.target.checked ? "on" : "off"));
said.lastElementChild.addEventListener("click", take_back);
fresh.addEventListener("click", () => { box.scrollTop = 0; const first = shown().find((one) => one.arrived); if (first) select(first.number, { focus: true }); });
box.addEventListener("scroll", show_fresh, { passive: true });
new IntersectionObserver((seen) => { at_end = seen[seen.length - 1].isIntersecting; if (at_end) fill(true).catch(() => {}); }).observe(more);

for (const row of JSON.parse($("rows").textContent)) { take(row); entries.get(row[0]).arrived = false; }
for (const card of queue.children) entries.get(Number(card.dataset.number)).card = card;
count();
tally();
if (sorted.length) {
  current = sorted[0].number;
  last = { order: sorted[0].order };
  mark(sorted[0].card);
  arm();
}
follow({
  always: true,
  since: document.querySelector("main").dataset.at,
  cards: true,
  onChanged(tickets, pages) {
    if (!tickets) whole = true;
    else {
      const told = tickets.filter((one) => one.card);
      const over = (one) => !one.open || one.card === null;
      const asked = tickets.filter((one) => !over(one) && (!one.card || one.number === current));
      for (const one of asked) wanted.add(one.number);
      still(() => {
        settle(told.map((one) => one.card).filter((one) => !(entries.get(one.row[0])?.version > one.row[1])));
        gone(tickets.filter(over).map((one) => one.number));
        announce(asked.filter((one) => one.state === "pending_review" && !entries.has(one.number)));
      });
      if (told.length) go_on();
    }
    setTimeout(sync, Math.min(SPREAD_MS, pages * EACH_MS) * Math.random());
  },
});
prepare();

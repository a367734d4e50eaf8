// One task: its steps are kept on this phone first, and what may be done next is worked out from them.
import { Refused, call } from "./api.js";
import { follow } from "./feed.js";
import { is_kept, is_sure, keep, keep_pages, on_outbox, person, renew } from "./phone.js";
import { _ } from "./words.js";

const LONGEST_PX = 1600;
const QUALITY = 0.8;
const ENDS = ["feed_back", "solve"]; // wants a picture of how it is now
const LEADS = { accept: "handling", feed_back: "verifying", solve: "verifying", send_back: "registered" };
const live = () => document.getElementById("live");
const number = Number(document.querySelector("main").dataset.number);

/** State and version of the ticket: of the page, or what the center has answered since. */
let answered = null;
const as_known = () => {
  const { state, version } = live().dataset;
  const newer = answered && answered.version > Number(version);
  return newer ? answered : { state, version: Number(version) };
};

let entries = [];
const has_picture = () => Boolean(live().querySelector(".taken")) || entries.some((one) => one.number === number && one.verb === "picture" && one.state !== "refused");

/** Show the steps that are possible after those that wait. */
async function settle() {
  answered = await self.outbox.fact(`ticket/${person}/${number}`).catch(() => null) || null;
  const { by_state, verbs: now } = JSON.parse(live().dataset.steps);
  const known = as_known();
  let { state } = known;
  let verbs = known === answered ? by_state[state] || [] : now;
  for (const { verb } of entries.filter((one) => one.number === number && one.state === "kept" && one.verb !== "picture")) {
    if (LEADS[verb]) {
      state = LEADS[verb];
      verbs = by_state[state] || [];
    } else if (verb !== "remark") verbs = verbs.filter((one) => one !== verb);
  }
  for (const one of live().querySelectorAll("[data-verb]")) one.hidden = !verbs.includes(one.dataset.verb);
  for (const one of live().querySelectorAll("[data-todo]")) one.hidden = one.dataset.todo !== state;
  if (has_picture()) for (const one of live().querySelectorAll(".bar [data-asked]")) calm(one);
}

const is_writing = () => [...live().querySelectorAll("textarea, select")].some((one) => one.value) || live().contains(document.activeElement && document.activeElement.closest("details[open] form, form[data-verb][id]"));
let told = "";
async function fresh() {
  if (!is_writing() && await renew(is_writing).catch(() => false)) keep_pages([[location.pathname, live().dataset.version]]);
  settle();
}
on_outbox((found) => {
  entries = found;
  settle();
  const sent = found.filter((one) => one.state === "sent" && one.number === number).map((one) => one.id).join();
  if (sent !== told) fresh();
  told = sent;
});

/** A picture as it is sent: at most 1600 px, JPEG, without what a camera writes into it; else as it is. */
async function smaller(file) {
  const address = URL.createObjectURL(file);
  try {
    const image = new Image();
    await new Promise((done, fail) => { image.onload = done; image.onerror = fail; image.src = address; });
    const scale = Math.min(1, LONGEST_PX / Math.max(image.naturalWidth, image.naturalHeight));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(image.naturalWidth * scale));
    canvas.height = Math.max(1, Math.round(image.naturalHeight * scale));
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    return await new Promise((done) => { canvas.toBlob(done, "image/jpeg", QUALITY); }) || file;
  } catch (fault) {
    return file;
  } finally {
    URL.revokeObjectURL(address);
  }
}

const content_of = (blob) => new Promise((done, fail) => {
  const reader = new FileReader();
  reader.onload = () => done(reader.result);
  reader.onerror = () => fail(reader.error);
  reader.readAsArrayBuffer(blob);
});

function key() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((one) => one.toString(16).padStart(2, "0")).join("");
}

async function taken({ target: input }) {
  if (!input.files.length) return;
  const file = input.files[0];
  try {
    const content = await content_of(await smaller(file));
    await keep({ number, verb: "picture", key: key(), content, taken_ms: file.lastModified || Date.now() });
    input.value = "";
  } catch (fault) {
    input.form.submit();
  }
}
// at the input itself: the page may be renewed while somebody is at their camera, and the picture still comes
function hear() {
  for (const input of live().querySelectorAll("input[type=file]")) input.onchange = taken;
}
hear();

// the shop's number is fetched for this page alone: it is kept nowhere
let telephone = null;
async function ask_telephone(form) {
  const said = form.querySelector(".fault");
  said.hidden = true;
  try {
    const text = await call("POST", form.getAttribute("action"));
    telephone = new DOMParser().parseFromString(text, "text/html").querySelector("a#telephone");
    if (!telephone) { location.reload(); return; }
    form.replaceWith(telephone);
    telephone.focus();
  } catch (fault) {
    if (!(fault instanceof Refused)) throw fault;
    said.textContent = fault.status ? fault.detail : _("No network: the number is shown once there is one.");
    said.hidden = false;
    said.scrollIntoView({ block: "center" });
  }
}

document.addEventListener("renewed", () => {
  hear();
  const asks = document.querySelector("form#telephone");
  if (telephone && asks) asks.replaceWith(telephone);
});

// what is missing is shown in the middle: at its edge it would lie behind the bar
document.addEventListener("invalid", (event) => {
  const { target } = event;
  const said = target.parentElement.querySelector(".wrong");
  if (!said) return;
  event.preventDefault();
  target.setAttribute("aria-invalid", "true");
  said.hidden = false;
  target.focus({ preventScroll: true });
  target.scrollIntoView({ block: "center" });
}, true);
document.addEventListener("change", ({ target }) => {
  if (target.name !== "choice" || !target.value) return;
  target.removeAttribute("aria-invalid");
  target.parentElement.querySelector(".wrong").hidden = true;
});

function calm(one) {
  one.textContent = one.dataset.text;
  delete one.dataset.asked;
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  const { verb } = form.dataset;
  if (form.id === "telephone") { event.preventDefault(); ask_telephone(form); return; }
  if (!verb) return;
  event.preventDefault();
  const ends = document.querySelector(`.bar [form="${verb}"]`);
  if (ENDS.includes(verb) && !has_picture() && !is_sure(ends, _("No picture taken, send it all the same?"))) return;
  const data = new FormData(form);
  const reason = ["choice", "reason"].map((name) => (data.get(name) || "").trim()).filter(Boolean).join(_("; "));
  try {
    await keep({ number, verb, reason, seen: as_known().version });
    form.reset();
    if (ends && ends.dataset.asked) calm(ends);
    const details = form.closest("details");
    if (details) details.open = false;
  } catch (fault) {
    form.submit();
  }
});

follow({
  since: document.querySelector("main").dataset.at,
  onChanged: (tickets) => { if (!tickets || tickets.some((one) => one.number === number)) fresh(); },
  onState: (state) => { if (state === "live" && document.documentElement.dataset.kept) fresh(); },
});
keep_pages(is_kept() ? [] : [[location.pathname, live().dataset.version]]);

// The page of one ticket: pictures to compare and to enlarge, steps in a dialog, and a page that keeps itself as the
// center has it. Without this script all of it is there as plain links, forms and details.
import { Refused, call } from "./api.js";
import { follow } from "./feed.js";
import { still } from "./still.js";
import { _ } from "./words.js";

const main = document.getElementById("main");
const number = main.dataset.ticket;
const OUTLINES = "cityeye-outlines";
const PAUSE_MS = 1000;

// pictures upon each other

function slide(range) {
  range.closest(".compare").style.setProperty("--at", `${range.value}%`);
  const [left, right] = range.closest(".compare").dataset.pair === "clear" ? ["clear", "at"] : ["at", "after"];
  const name = (part) => range.closest(".compare").querySelector(`[data-part="${part}"] figcaption b`).textContent;
  range.setAttribute("aria-valuetext", `${name(left)} ${range.value} %, ${name(right)} ${100 - range.value} %`);
}

function outlines(root) {
  let wanted = null;
  try { wanted = localStorage.getItem(OUTLINES); } catch { /* a browser that keeps nothing */ }
  for (const one of root.querySelectorAll(".outline-switch")) one.checked = wanted !== "off";
}

document.addEventListener("input", ({ target }) => { if (target.matches(".slide")) slide(target); });
document.addEventListener("change", ({ target }) => {
  if (target.matches(".outline-switch")) {
    try { localStorage.setItem(OUTLINES, target.checked ? "on" : "off"); } catch { /* as above */ }
    outlines(document);
  }
  if (target.matches(".pairs input")) {
    const compare = target.closest(".pairs").previousElementSibling;
    compare.dataset.pair = target.value;
    slide(compare.querySelector(".slide"));
  }
});

// enlarged

const element = (name, values, ...inside) => {
  const made = Object.assign(document.createElement(name), values);
  made.append(...inside);
  return made;
};
const hasDialogs = typeof HTMLDialogElement === "function";
let light = null;
let links = [];
let shown = 0;

function show(index) {
  shown = (index + links.length) % links.length;
  const link = links[shown];
  const image = link.closest("figure").querySelector("img");
  light.querySelector("img").src = link.href;
  light.querySelector("img").alt = image ? image.alt : "";
  light.querySelector("p").textContent = image ? image.alt : "";
  near(false);
}

function near(wanted) {
  light.querySelector(".pane").classList.toggle("is-near", wanted);
  light.querySelector("[data-near]").setAttribute("aria-pressed", String(wanted));
}

function enlarge(link) {
  if (!light) {
    const button = (text, label, act) => {
      const made = element("button", { type: "button", textContent: text, onclick: act });
      made.setAttribute("aria-label", label);
      return made;
    };
    const turn = () => near(!light.querySelector(".pane").classList.contains("is-near"));
    const closer = button("⊕", _("Nearer"), turn);
    closer.dataset.near = "";
    light = element("dialog", { className: "light" },
      element("div", { className: "bar" }, element("p", {}), button("‹", _("Picture before"), () => show(shown - 1)),
        button("›", _("Next picture"), () => show(shown + 1)), closer, button("✕", _("Close"), () => light.close())),
      element("div", { className: "pane", tabIndex: 0 }, element("img", { alt: "", onclick: turn })));
    light.setAttribute("aria-label", _("Picture, enlarged"));
    light.addEventListener("keydown", (event) => {
      const act = { ArrowLeft: () => show(shown - 1), ArrowRight: () => show(shown + 1), "+": () => near(true), "-": () => near(false) }[event.key];
      if (act) { event.preventDefault(); act(); }
    });
    light.addEventListener("close", () => { light.querySelector("img").removeAttribute("src"); });
    document.body.append(light);
  }
  links = [...document.querySelectorAll("[data-zoom]")].filter((one) => one.offsetParent !== null);
  show(Math.max(0, links.indexOf(link)));
  light.showModal();
}

// steps

let ask = null;
let lent = null; // the form in the dialog, and where it belongs

function open(details) {
  if (!ask) {
    ask = element("dialog", { className: "ask" });
    ask.addEventListener("close", () => { lent.home.append(lent.form); lent = null; refresh(); });
    document.body.append(ask);
  }
  lent = { form: details.querySelector("form"), home: details };
  ask.append(lent.form);
  ask.setAttribute("aria-label", details.querySelector("summary").textContent);
  say(lent.form, "");
  ask.showModal();
  const first = lent.form.querySelector("select, textarea, input:not([type=hidden])");
  if (first) first.focus();
}

function say(form, text) {
  const fault = form.querySelector(".fault");
  fault.textContent = text;
  fault.hidden = !text;
}

function why(fault, verb) {
  const words = document.getElementById("whys");
  const name = (text) => `data-${text.replace(/[_.]/g, "-")}`;
  const zh = document.documentElement.lang.startsWith("zh");
  return words.getAttribute(name(`${fault.code}-${verb}`)) || words.getAttribute(name(fault.code))
    || (zh && fault.body && fault.body.detail_zh) || fault.detail;
}

async function take(form) {
  const verb = form.dataset.verb;
  const body = { args: {}, reason: "" };
  for (const one of form.elements) {
    if (!one.name || one.name === "csrf" || !one.value.trim()) continue;
    if (one.name === "reason") body.reason = one.value.trim();
    else if (one.name === "seen") { if (verb !== "remark") body.seen = Number(one.value); }
    else body.args[one.name] = "number" in one.dataset ? Number(one.value) : one.value.trim();
  }
  // a program may leave it out, a person at a page says it: what is learned from it is counted
  if (verb === "false_alarm" && !body.reason && !body.args.reason_id) { say(form, _("Choose why, or write it.")); return; }
  const buttons = form.querySelectorAll("button");
  buttons.forEach((one) => { one.disabled = true; });
  say(form, "");
  try {
    await call("POST", `/api/tickets/${number}/${verb}`, body);
    form.reset();
    if (ask && ask.open) ask.close();
    await refresh();
  } catch (fault) {
    if (!(fault instanceof Refused)) throw fault;
    say(form, why(fault, verb));
    if (fault.code === "changed" || fault.code === "not_now") refresh();
  } finally {
    buttons.forEach((one) => { one.disabled = false; });
  }
}

document.addEventListener("submit", (event) => {
  if (!event.target.dataset.verb) return;
  event.preventDefault();
  take(event.target);
});

async function reveal(button) {
  button.disabled = true;
  try {
    const { phone, other_phone: other } = await call("GET", button.dataset.reveal);
    const dialled = phone || other;
    button.parentElement.querySelector(".mono").replaceWith(element("a", { href: `tel:${dialled}`, className: "mono", textContent: dialled }));
    button.remove();
  } catch (fault) {
    if (!(fault instanceof Refused)) throw fault;
    button.disabled = false;
    button.textContent = fault.detail;
  }
}

document.addEventListener("click", (event) => {
  const on = (which) => event.target.closest(which);
  const summary = on(".act > summary");
  const link = on("[data-zoom]") || (on(".sight") && !on(".slide") && on(".shot").querySelector("[data-zoom]"));
  if (summary && hasDialogs) {
    event.preventDefault();
    open(summary.parentElement);
  } else if (on("[data-close]")) {
    if (ask && ask.open) ask.close();
    else on("details").open = false;
  } else if (link && hasDialogs && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    enlarge(link);
  } else if (on("[data-reveal]")) {
    reveal(on("[data-reveal]"));
  }
});

// as the center has it

const parts = (root) => [...root.querySelectorAll("[data-live]")];
const known = new Map(parts(main).map((one) => [one.dataset.live, still(one)]));

// somebody is writing there: what they have written must not be taken away
const writing = (part) => [...part.querySelectorAll("input:not([type=hidden]):not([type=range]):not([type=checkbox]):not([type=radio]), textarea")]
  .some((one) => one === document.activeElement || one.value !== one.defaultValue);

function put(part, fresh) {
  const open = [...part.querySelectorAll("details")].map((one) => one.open);
  const held = part.contains(document.activeElement) ? [...part.querySelectorAll("a, button, input, summary")].indexOf(document.activeElement) : -1;
  part.replaceWith(fresh);
  fresh.querySelectorAll("details").forEach((one, index) => { one.open = one.open || Boolean(open[index]); });
  outlines(fresh);
  fresh.querySelectorAll(".slide").forEach(slide);
  if (held >= 0) {
    const next = [...fresh.querySelectorAll("a, button, input, summary")];
    (next[held] || next[0] || main).focus({ preventScroll: true });
  }
}

let busy = false;
let again = false;

async function once() {
  const text = await call("GET", location.href, undefined, { background: true });
  const fresh = new DOMParser().parseFromString(text, "text/html");
  const now = parts(fresh);
  const acts = fresh.querySelector(".acts");
  const names = new Set(now.map((one) => one.dataset.live));
  for (const part of parts(main)) if (!names.has(part.dataset.live)) { part.remove(); known.delete(part.dataset.live); }
  let before = null;
  for (const one of now) {
    const name = one.dataset.live;
    const said = still(one);
    const part = main.querySelector(`[data-live="${name}"]`);
    if (!part && before) before.after(one);
    else if (part && said !== known.get(name) && !writing(part)) put(part, one);
    else { before = part; continue; }
    known.set(name, said);
    before = main.querySelector(`[data-live="${name}"]`);
  }
  if (lent && acts && lent.form.dataset.verb !== "remark" && lent.form.elements.seen.value !== acts.dataset.version) {
    say(lent.form, why({ code: "changed", detail: "" }, ""));
  }
}

/** Fetch the page anew, soon, and once for a burst of changes. */
async function refresh() {
  again = true;
  if (busy) return;
  busy = true;
  while (again) {
    again = false;
    // what fails now is tried with the next change
    await once().catch(() => {});
    await new Promise((done) => { setTimeout(done, PAUSE_MS); });
  }
  busy = false;
}

function tick() {
  const now = Date.now();
  for (const ring of document.querySelectorAll(".ring")) {
    const until = Number(ring.dataset.until);
    const left = Math.max(0, Math.min(100, 100 * (until - now) / Math.max(1000, until - Number(ring.dataset.from))));
    ring.querySelector(".rest").setAttribute("stroke-dasharray", `${left.toFixed(1)} 100`);
    ring.classList.toggle("late", until < now);
  }
}

outlines(document);
document.querySelectorAll(".slide").forEach(slide);
tick();
setInterval(() => { if (document.visibilityState === "visible") tick(); }, 1000);
follow({
  since: main.dataset.at || "",
  onChanged(tickets) {
    if (!tickets || tickets.some((one) => String(one.number) === number)) refresh();
  },
});

// The set-up page: its steps, and what the box is asked for each of them.
import { Ground } from "./ground.js";
import { fault as polygon_fault } from "./polygon.js";
import { Sheet, settings_of, shapes_of } from "./sheet.js";
import { View } from "./view.js";
import { _, says, speak, tongue } from "./words.js";

const STEPS = ["network", "claim", "camera", "picture", "zones", "trial", "leave"];
const $ = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const wait = (ms) => new Promise((done) => { setTimeout(done, ms); });
const put = (selector, text) => { $(selector).textContent = text; };
const fill = (selector, rows) => $(selector).replaceChildren(...rows);
const hide = (selector, hidden) => { $(selector).hidden = Boolean(hidden); };
const time = (at_s) => new Date(at_s * 1000).toLocaleTimeString(tongue());

function make(name, text, attributes = {}, ...inner) {
  const made = Object.assign(document.createElement(name), attributes);
  made.append(text || "", ...inner);
  return made;
}

const button = (text, work, attributes = {}) => {
  const made = make("button", text, { type: "button", ...attributes });
  made.addEventListener("click", () => work(made));
  return made;
};

function svg(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

let step = "enter";
let state = null;
let camera = null; // id of the one that is worked at
let chosen = null; // a device that was found
let tested = null; // the camera as it was tested
let view = null;
let seen = {};
let round = 0; // of the looking loop

async function call(path, body) {
  const sent = body && { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  const response = await fetch(`/api/${path}`, sent);
  const values = await response.json();
  if (response.ok) return values;
  if (response.status === 401) go("enter");
  throw new Error({ 401: _("who"), 403: _("wrong"), 429: _("wait", values.text) }[response.status] || says(values.text));
}

async function refresh() {
  state = await call("state");
  put("#box", state.member ? state.member.box : `cityeye-${state.name}`);
  const may = (name) => ["network", "claim"].includes(name) || (state.member && (["camera", "leave"].includes(name) || camera));
  fill("nav", STEPS.map((name, n) => {
    const made = button(name === step ? _(name) : String(n + 1), () => doing(() => go(name)), { disabled: !may(name) });
    made.setAttribute("aria-label", `${n + 1} ${_(name)}`);
    if (name === step) made.setAttribute("aria-current", "step");
    return made;
  }));
}

/** Have the box do something that takes a while. */
async function job(name, body) {
  await call(name, body);
  for (;;) {
    await wait(700);
    const { job: found } = await call("state");
    if (found?.name !== name) throw new Error(_("restarted"));
    if (found.fault) throw new Error(says(found.fault));
    if (found.done) return found.result;
  }
}

/** Do something, and say what goes on and what fails. */
async function doing(work, long = false) {
  hide("#fault", true);
  put("#working", _("working"));
  hide("#working", !long);
  const buttons = long ? all("button:not(:disabled)") : [];
  for (const one of buttons) one.disabled = true;
  try {
    await work();
  } catch (problem) {
    put("#fault", problem instanceof TypeError ? _("silent") : problem.message);
    hide("#fault", false);
    $("#fault").scrollIntoView({ block: "nearest" });
  }
  hide("#working", true);
  for (const one of buttons) one.disabled = false;
}

async function go(to) {
  step = to;
  round += 1;
  for (const one of all("section")) one.hidden = one.id !== to;
  hide("nav", to === "enter");
  scrollTo(0, 0);
  if (to !== "enter") await refresh();
  if (shows[to]) await shows[to]();
}

const SIGNS = { ok: "✓", warn: "!", FAIL: "✗" };
function finding({ zh, ...one }) {
  const { name, says: what, todo, more } = tongue() === "zh" && zh ? zh : one;
  return make("li", "", { className: one.state }, make("b", `${SIGNS[one.state]} ${name}: ${what}`),
    ...(more ? [make("small", more, { lang: "en", className: "dim" })] : []), todo ? `→ ${todo}` : "");
}
const pairs = (list) => list.filter(([, value]) => value).flatMap(([name, value]) => [make("dt", _(name)), make("dd", value)]);

/** How the card's own claim stands. */
const claiming = () => {
  const { claim, fault } = state.claim;
  return claim && !state.member ? [make("li", _(`claim_${claim}`), { className: claim === "refused" ? "FAIL" : "warn" }, fault ? ` ${says(fault)}` : "")] : [];
};

const shows = {
  network() {
    const off_s = Math.round(state.now_s - Date.now() / 1000);
    fill("#network dl", pairs([["name", `cityeye-${state.name}.local`], ["address", state.address.join(", ")],
      ["gateway", state.gateway], ["clock", time(state.now_s)], ["version", state.version]]));
    const bad = ["address", "gateway"].filter((name) => !state[name].length).map((name) => ({ state: "warn", name: _(name), says: _("none") }));
    if (Math.abs(off_s) > 60) bad.push({ state: "warn", name: _("clock"), says: _("off", off_s) });
    const { faults = [] } = state.card;
    const mend = faults.map((one) => make("li", one[tongue()], { className: "FAIL" }));
    fill("#network ul", [...(mend.length ? [make("li", _("mend"), { className: "warn" })] : []), ...mend, ...bad.map(finding), ...claiming()]);
  },

  claim() {
    const { member } = state;
    hide("#claim form", member);
    fill("#claim ul", claiming());
    hide("#claim .ways", !member);
    fill("#claim dl", member ? pairs([["box", member.box], ["site", member.site], ["claim", member.url]]) : []);
  },

  camera() {
    fill("#cameras", state.cameras.map(({ id, zone }) => make("li", "", {},
      make("span", `${id} · ${_("many", zone.length)}`, { className: "wide" }),
      button(_("open"), () => doing(() => { camera = id; return go("picture"); })),
      button(_("remove"), (one) => doing(async () => {
        if (one.textContent === _("sure")) { await call("drop", { camera: id }); camera = null; await go("camera"); } else one.textContent = _("sure");
      }), { className: "plain" }))));
    let n = 1;
    while (state.cameras.some((one) => one.id === `cam-${n}`)) n += 1;
    if (!tested) $("#camera [name=id]").value = `cam-${n}`;
  },

  picture: () => watch(false),

  async zones() {
    await watch(false);
    for (let n = 0; n < 40 && !seen.number; n += 1) await wait(300);
    if (!seen.number) throw new Error(_("nopicture", says(seen.text || seen.state)));
    $("#board").replaceWith($("#board").cloneNode(false));
    const sheet = new Sheet(shapes_of(state.cameras.find((one) => one.id === camera)));
    const picture = { url: `/picture/${seen.number}`, width: seen.width, height: seen.height };
    view = new View($("#board"), sheet, { picture, changed: () => view && show_drawn(), tell: (code) => put("#zones .said", { few: _("few"), finished: _("finished"), put: _("corner") }[code] || "") });
    view.label = ({ values }) => values.id || "";
    view.grid = () => {
      const plane = sheet.now.shapes.find((one) => one.kind === "plane");
      const ground = plane && new Ground(plane.points, plane.values.width_m, plane.values.depth_m);
      return ground && !ground.fault ? ground.grid(view.size) : [];
    };
    view.render();
  },

  async trial() { fill("#reports", []); await watch(true); },
  leave: () => put("#finished", ""),
};

// the live picture

async function watch(test) {
  if (!state.cameras.some((one) => one.id === camera)) camera = state.cameras[0]?.id;
  if (!camera) throw new Error(_("first"));
  await call("watch", { camera, test });
  seen = { state: "starting" };
  look(round);
}

async function look(mine) {
  const figure = $(`#${step} figure`);
  while (mine === round) {
    const now = document.visibilityState === "visible" && await call("look").catch(() => null);
    if (mine !== round || now?.state === "off") return;
    if (now) {
      if (figure && now.number && now.number !== seen.number) await show_picture(figure, now);
      seen = now;
      if (step === "picture") show_aim(now);
      if (step === "trial") show_trial(now);
    }
    await wait(600);
  }
}

async function show_picture(figure, now) {
  const image = make("img", "", { src: `/picture/${now.number}`, alt: _("live") });
  await image.decode().catch(() => {});
  if (!image.naturalWidth) return; // it is gone already
  const drawn = svg("svg", { viewBox: "0 0 1 1", preserveAspectRatio: "none", "aria-hidden": "true" });
  const box = ([x, y, width, height], look) => drawn.append(svg("rect", { x, y, width, height, class: look }));
  for (const { polygon, kind } of now.zones || []) drawn.append(svg("polygon", { points: polygon.join(" "), class: `shape zone ${kind}` }));
  for (const one of now.persons || []) box(one, "person");
  for (const { marks } of now.zones || []) for (const mark of marks) box(mark.box, `mark ${mark.state}`);
  figure.style.aspectRatio = `${now.width} / ${now.height}`;
  figure.replaceChildren(image, drawn);
}

const condition = (now) => (now.state === "live" ? "" : `${_(now.state)} ${says(now.text)}`);

function show_aim(now) {
  put("#picture .said", condition(now) || (now.persons ? _("people", now.persons.length) : _("nodetector")));
  if (now.state !== "live") return;
  const share = now.best ? now.sharp / now.best : 0;
  $("meter").value = share;
  put("#sharp", _("sharp", now.sharp.toFixed(1), Math.round(share * 100)));
  const cell = (px, good) => make("td", `${px} px${good ? "" : ` · ${_("small")}`}`, { className: good ? "" : "bad" });
  fill("tbody", now.sizes.map((one) => make("tr", "", {}, make("td", _(one.row)), cell(one.person_px, one.person_good), cell(one.item_px, one.item_good))));
  const small = now.sizes.some((one) => !one.person_good || !one.item_good);
  const item = [now.item_px, now.item_px, Math.round(now.item_px * 1.65)];
  put("p#sizes", _(small ? "toosmall" : now.sizes.length ? "enough" : "unknown", ...item));
  $("p#sizes").className = small ? "bad" : "";
}

function show_trial({ zones = [], reports, view: sight, ...now }) {
  const stands = zones.flatMap((one) => one.marks).find((one) => ["dwell", "new"].includes(one.state));
  const counts = zones.filter((one) => one.tally).map((one) => one.tally.count);
  const last = reports[reports.length - 1];
  let text = condition(now);
  if (text) ;
  else if (!zones.length) text = _("nozone");
  else if (last) text = _("incident", last.zone, Math.round(last.after_s));
  else if (sight === "learning") text = _("learning");
  else if (sight !== "live") text = _("view", sight);
  else if (stands) text = _("stands", Math.round(stands.elapsed_s), Math.round(stands.limit_s));
  else text = counts.length ? _("count", Math.max(...counts)) : _("put");
  put("#trial .said", text);
  if ($("#reports").children.length === reports.length) return;
  fill("#reports", reports.map((one) => make("li", "", {}, ...one.pictures.map((name) => make("img", "", { src: `/picture/${name}`, alt: _("proof") })),
    `${time(one.at_s)} ${one.zone}: ${_(one.rule)}`)));
}

// drawing

const FIELDS = { frontage: ["id", "shop", "dwell_s"], gathering: ["id", "max_people", "dwell_s"], plane: ["width_m", "depth_m"] };
const DWELL_S = { frontage: 180, gathering: 30 }; // of protocol/settings.py
const TEXTS = ["id", "shop"];

function show_drawn() {
  const { sheet, shape } = view;
  const { open } = sheet.now;
  const [begin, end] = all(".tools span");
  begin.hidden = Boolean(open);
  end.hidden = !open;
  $("[data-do=undo]").disabled = !sheet.can_undo;
  $("[data-do=drop]").disabled = !shape || Boolean(open);
  $("#save").disabled = Boolean(open);
  const form = $("#shape");
  const mine = open ? null : shape;
  if (form.dataset.of === String(mine?.key)) return;
  form.dataset.of = mine?.key;
  fill("#shape", (FIELDS[mine?.values.kind || mine?.kind] || []).map((name) => {
    const text = TEXTS.includes(name);
    const field = make("input", "", { name, type: text ? "text" : "number", step: "any", value: mine.values[name] ?? (name === "dwell_s" ? DWELL_S[mine.values.kind] : "") });
    field.addEventListener("input", () => { sheet.set(mine.key, name, field.value && !text ? Number(field.value) : field.value || undefined); view.render(); });
    return make("label", "", {}, make("span", _(name)), field);
  }));
}

function draw(kind) {
  const { sheet } = view;
  let n = 1;
  const id = () => `${kind === "frontage" ? "front" : "place"}-${n}`;
  while (sheet.now.shapes.some((one) => one.values.id === id())) n += 1;
  if (kind === "plane") sheet.draw(kind, { width_m: 4, depth_m: 4 });
  else if (kind === "mask") sheet.draw(kind);
  else sheet.draw("zone", { id: id(), kind, ...(kind === "gathering" ? { max_people: 10 } : {}) });
  view.choose(null);
  put("#zones .said", _(kind === "plane" ? "four" : "tap"));
}

// forms and buttons

const on = (selector, work, long = false) => {
  const one = $(selector);
  one.addEventListener(one.tagName === "FORM" ? "submit" : "click", (event) => {
    event.preventDefault();
    doing(() => work(Object.fromEntries(one.elements ? new FormData(one) : []), one), long);
  });
};

on("#enter form", async (values, form) => { await call("enter", values); form.reset(); await go("network"); });
on("#claim form", async (values, form) => { await job("claim", values); form.reset(); await go("claim"); }, true);
on("#find", async () => {
  const found = await job("find", {});
  chosen = null;
  fill("#found", found.length ? found.map((one) => make("li", "", {}, button(
    `${one.host}:${one.ports[0] || _("rtsp")} ${one.name}${one.onvif ? " · ONVIF" : ""}`,
    (mine) => {
      chosen = one;
      for (const other of all("#found button")) other.setAttribute("aria-pressed", String(other === mine));
      for (const name of ["source", "substream"]) $(`[name=${name}]`).value = "";
    }, { className: "plain wide" }))) : [_("nobody")]);
}, true);
on("#camera form", async ({ source, substream, id, user, password }) => {
  hide("#use", true);
  fill("#tested", []);
  tested = { id, source, substream: substream || null, user, password };
  if (!source) {
    if (!chosen) throw new Error(_("choose"));
    const { host, ports: [port = 554], service } = chosen;
    const found = await job("streams", { host, port, user, password, service });
    if (found.state === "nothing") throw new Error(_("nopath"));
    tested.source = found.source; // where it is wrong, the test says what is the matter
    tested.substream = found.substream;
  }
  const findings = await job("test", tested);
  fill("#tested", [make("li", tested.source), ...findings.map(finding)]);
  hide("#use", findings.some((one) => one.state === "FAIL"));
  $("#tested").scrollIntoView({ block: "nearest" });
}, true);
on("#use", async () => {
  await call("camera", tested);
  camera = tested.id;
  tested = chosen = null;
  $("#camera form").reset();
  for (const one of ["#tested", "#found"]) fill(one, []);
  hide("#use", true);
  await go("picture");
});
on("#anew", () => call("focus", {}));
on("#save", async () => {
  const { shapes } = view.sheet.now;
  const bad = shapes.find((one) => one.kind !== "plane" && polygon_fault(one.points));
  if (bad) throw new Error(_("crossing", bad.values.id || _(bad.kind)));
  await call("draw", { camera, drawing: settings_of(shapes).settings });
  await go("trial");
});
on("#doctor", async () => fill("#examined", (await job("doctor", {})).map(finding)), true);
on("#finish", async () => {
  await call("finish", {});
  await refresh();
  put("#finished", _("shuts", time(state.until_s)));
});
on("#shape", () => {});
for (const one of all("[data-go]")) one.addEventListener("click", () => doing(() => go(one.dataset.go)));
for (const one of all("[data-draw]")) one.addEventListener("click", () => draw(one.dataset.draw));
for (const one of all("[data-do]")) {
  one.addEventListener("click", () => ({ finish: () => view.finish(), give_up: () => view.give_up(), undo: () => view.again("undo"), drop: () => { view.sheet.drop(view.chosen.key); view.choose(null); } })[one.dataset.do]());
}
on("#language", () => { speak(tongue() === "zh" ? "en" : "zh"); return step === "zones" ? null : go(step); });

speak();
const pin = new URLSearchParams(location.hash.slice(1)).get("pin"); // the QR code on the box says it
if (pin) {
  history.replaceState(null, "", "/");
  $("[name=pin]").value = pin;
}
doing(async () => go((await call("hello")).known ? "network" : "enter"));

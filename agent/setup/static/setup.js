// The set-up page: its steps, and what the box is asked for each of them.
import { Ground } from "./ground.js";
import { fault as polygon_fault } from "./polygon.js";
import { Sheet, settings_of, shapes_of } from "./sheet.js";
import { View } from "./view.js";
import { _, says, speak, tongue } from "./words.js";

const STEPS = ["network", "claim", "camera", "picture", "zones", "trial", "finish"];
const NAMES = { network: "Network", claim: "Center", camera: "Camera", picture: "Focus", zones: "Zones", trial: "Test", finish: "Leave" };
const LOOK_MS = 600;
const JOB_MS = 700;
const SLOW_CLOCK_S = 60;
const $ = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const wait = (ms) => new Promise((done) => { setTimeout(done, ms); });

function make(name, text = "", attributes = {}) {
  const made = Object.assign(document.createElement(name), attributes);
  made.textContent = text;
  return made;
}

function drawn(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

let step = "enter";
let state = null;
let camera = null; // id of the one that is worked at
let chosen = null; // a device that was found, or what is typed by hand
let tested = null; // the camera as it was tested
let view = null;
let seen = { state: "off" };
let round = 0; // of the looking loop

async function call(method, path, body) {
  const response = await fetch(path, method === "POST" ? { method, headers: { "content-type": "application/json" }, body: JSON.stringify(body || {}) } : {});
  const values = await response.json();
  if (response.ok) return values;
  if (response.status === 401) go("enter");
  const problem = { wrong: _("This is not the PIN."), wait: _("Too many tries: wait %s seconds.", values.text), who: _("Enter the PIN of the box.") }[values.code];
  throw Object.assign(new Error(problem || says(values.text)), { code: values.code });
}

const refresh = async () => { state = await call("GET", "/api/state"); $("#box").textContent = state.box || `cityeye-${state.name}`; };

/** Have the box do something that takes a while; returns its result. */
async function job(name, body) {
  await call("POST", `/api/${name}`, body);
  for (;;) {
    await wait(JOB_MS);
    await refresh();
    const found = state.job;
    if (!found || found.name !== name) throw new Error(_("The box has started again; please repeat this."));
    if (!found.done) continue;
    if (found.fault) throw new Error(says(found.fault));
    return found.result;
  }
}

/** Do something, and say what goes on and what fails. */
async function doing(text, work) {
  $("#fault").hidden = true;
  $("#working").textContent = text;
  $("#working").hidden = !text;
  const buttons = all("main button:not(:disabled)");
  for (const one of buttons) one.disabled = true;
  try {
    await work();
  } catch (problem) {
    $("#fault").textContent = problem instanceof TypeError ? _("The box does not answer: is this phone in its network?") : problem.message;
    $("#fault").hidden = false;
    $("#fault").scrollIntoView({ block: "nearest" });
  } finally {
    $("#working").hidden = true;
    for (const one of buttons) one.disabled = false;
    if (view && step === "zones") show_tools();
  }
}

function go(to) {
  step = to;
  round += 1;
  $("#fault").hidden = true;
  for (const one of all("[data-step]")) one.hidden = one.dataset.step !== to;
  $("nav").hidden = to === "enter";
  show_steps();
  scrollTo(0, 0);
  return shows[to]();
}

function show_steps() {
  const at = STEPS.indexOf(step);
  const may = (name) => name === "network" || name === "claim" || (state?.box && (["camera", "finish"].includes(name) || camera));
  $("#steps").replaceChildren(...STEPS.map((name, n) => {
    const row = make("li");
    const button = make("button", String(n + 1), { type: "button", disabled: !may(name) });
    button.setAttribute("aria-label", _(NAMES[name]));
    if (n === at) { button.setAttribute("aria-current", "step"); button.textContent = _(NAMES[name]); row.classList.add("now"); }
    button.addEventListener("click", () => doing("", () => go(name)));
    row.append(button);
    return row;
  }));
}

const finding = (one) => {
  const row = make("li", "", { className: one.state });
  row.append(make("b", `${{ ok: "✓", warn: "!", FAIL: "✗" }[one.state]} ${says(one.name)}: ${says(one.says)}`));
  if (one.todo) row.append(make("span", `→ ${says(one.todo)}`));
  return row;
};
const pairs = (list) => list.filter(([, value]) => value).flatMap(([name, value]) => [make("dt", _(name)), make("dd", value)]);

// the steps

const shows = {
  enter() { $("#enter input").focus(); },

  async network() {
    await refresh();
    const off_s = Math.round(state.now_s - Date.now() / 1000);
    $("#network").replaceChildren(...pairs([
      ["Name", `cityeye-${state.name}.local`], ["Address", state.addresses.map((one) => `${one.address}/${one.prefix} (${one.interface})`).join(", ")],
      ["Gateway", state.gateway], ["Name server", state.name_servers.join(", ")],
      ["Clock", new Date(state.now_s * 1000).toLocaleString(tongue())], ["Software", state.version]]));
    const bad = [];
    if (!state.addresses.length) bad.push({ state: "FAIL", name: _("Address"), says: _("none"), todo: _("check the cable and the DHCP server") });
    if (!state.gateway) bad.push({ state: "warn", name: _("Gateway"), says: _("none"), todo: _("without one the center is only reached in this network") });
    if (Math.abs(off_s) > SLOW_CLOCK_S) bad.push({ state: "warn", name: _("Clock"), says: _("%s s from this phone's", off_s), todo: _("claiming fails with a clock that is far off") });
    $("#network-faults").replaceChildren(...bad.map(finding));
    show_steps();
  },

  async claim() {
    await refresh();
    const has = Boolean(state.box);
    $("#claim").hidden = has;
    for (const one of ["#claimed", "#after-claim"]) $(one).hidden = !has;
    $("#claimed").replaceChildren(...pairs([["Box", state.box], ["Site", state.site], ["Center", state.center]]));
    show_steps();
  },

  async camera() {
    await refresh();
    $("#cameras").replaceChildren(...state.cameras.map((one) => {
      const row = make("li");
      row.append(make("span", `${one.id} · ${_("%s zones", one.zone.length)}`, { className: "wide" }));
      const open = make("button", _("Open"), { type: "button" });
      open.addEventListener("click", () => doing("", () => { camera = one.id; return go("picture"); }));
      const drop = make("button", _("Remove"), { type: "button", className: "plain" });
      drop.addEventListener("click", () => doing("", async () => {
        if (drop.dataset.sure) { await call("POST", "/api/drop", { id: one.id }); if (camera === one.id) camera = null; await shows.camera(); }
        else { drop.dataset.sure = "1"; drop.textContent = _("Really?"); }
      }));
      row.append(open, drop);
      return row;
    }));
    const taken = new Set(state.cameras.map((one) => one.id));
    let n = 1;
    while (taken.has(`cam-${n}`)) n += 1;
    if (!$("#camera").elements.id.value || !tested) $("#camera").elements.id.value = `cam-${n}`;
    show_steps();
  },

  async picture() { await watch(false); },

  async zones() {
    await watch(false);
    for (let n = 0; n < 40 && !seen.number; n += 1) { await wait(300); seen = await call("GET", "/api/look"); }
    if (!seen.number) throw new Error(_("No picture comes: %s", says(seen.text || seen.state)));
    const known = state.cameras.find((one) => one.id === camera);
    const sheet = new Sheet(shapes_of({ plane: known.plane, mask: known.mask, zone: known.zone }));
    $("#board").replaceWith($("#board").cloneNode(false));
    view = new View($("#board"), sheet, { picture: { url: `/picture/${seen.number}`, width: seen.width, height: seen.height }, changed: show_tools, tell });
    view.label = ({ kind, values }) => (kind === "zone" ? values.id : "");
    view.grid = () => {
      const plane = sheet.now.shapes.find((one) => one.kind === "plane");
      const ground = plane && new Ground(plane.points, plane.values.width_m, plane.values.depth_m);
      return ground && !ground.fault ? ground.grid(view.size) : [];
    };
    view.render();
  },

  async trial() { $("#reports").replaceChildren(); await watch(true); },
  async finish() { await refresh(); $("#finished").textContent = ""; show_steps(); },
};

// the live picture

async function watch(test) {
  await refresh();
  if (!state.cameras.some((one) => one.id === camera)) camera = state.cameras[0]?.id || null;
  if (!camera) throw new Error(_("Add a camera first."));
  await call("POST", "/api/watch", { id: camera, test });
  seen = { state: "starting" };
  show_steps();
  look(round);
}

async function look(mine) {
  const figure = $(`[data-step="${step}"] .live`);
  const image = figure && make("img", "", { alt: _("Live picture of %s", camera) });
  while (mine === round) {
    if (document.visibilityState === "visible") {
      const now = await call("GET", "/api/look").catch(() => null);
      if (mine !== round) return;
      if (now) {
        if (now.number && now.number !== seen.number && image) {
          const ready = new Image();
          ready.src = `/picture/${now.number}`;
          await ready.decode().catch(() => {});
          if (ready.naturalWidth) image.src = ready.src;
          figure.style.aspectRatio = `${now.width} / ${now.height}`;
          figure.replaceChildren(image, overlay(now));
        }
        seen = now;
        if (now.state === "off") return;
        if (step === "picture") show_aim(now);
        if (step === "trial") show_trial(now);
      }
    }
    await wait(LOOK_MS);
  }
}

function overlay(now) {
  const svg = drawn("svg", { viewBox: "0 0 1 1", preserveAspectRatio: "none", "aria-hidden": "true" });
  const box = ([x, y, width, height], look) => svg.append(drawn("rect", { x, y, width, height, class: look }));
  for (const zone of now.zones || []) svg.append(drawn("polygon", { points: zone.polygon.map((one) => one.join(",")).join(" "), class: "zone" }));
  for (const one of now.persons || []) box(one, "person");
  for (const zone of now.zones || []) for (const mark of zone.marks) box(mark.box, `mark ${mark.state}`);
  return svg;
}

function condition(now) {
  const text = now.text ? ` (${says(now.text)})` : "";
  if (now.state !== "live") return `${{ starting: _("Waiting for the first picture …"), stalled: _("The camera has stalled"), lost: _("The camera does not answer"), failed: _("It failed") }[now.state] || now.state}${text}`;
  return "";
}

function show_aim(now) {
  const people = now.detector === false ? _("No detector: people are not drawn.") : _("%s people seen", (now.persons || []).length);
  $('[data-step="picture"] [data-said]').textContent = condition(now) || people;
  if (now.state !== "live") return;
  const share = now.best ? now.sharp / now.best : 0;
  $("#sharp").value = share;
  $("#sharp-text").textContent = _("%s: now %s % of the sharpest so far. Turn the lens slowly past the sharpest point, and back.", now.sharp.toFixed(1), Math.round(share * 100));
  const cell = (px, good) => make("td", `${px} px${good ? "" : ` · ${_("too small")}`}`, { className: good ? "good" : "bad" });
  $("#sizes tbody").replaceChildren(...now.sizes.map((one) => {
    const row = make("tr");
    row.append(make("td", _({ near: "Near", middle: "Middle", far: "Far" }[one.row])), cell(one.person_px, one.person_good), cell(one.item_px, one.item_good));
    return row;
  }));
  const small = now.sizes.filter((one) => !one.person_good || !one.item_good);
  const text = $("#sizes-text");
  text.className = small.length ? "bad" : "dim";
  if (!now.sizes.length) text.textContent = _("Not known yet: let somebody walk through the picture, or draw the ground.");
  else if (small.length) text.textContent = _("Too small: go nearer, zoom in, or draw zones only where it is large enough. Needed: person 50 px, 0.5 m wide 40 px (an item 40 × 66).");
  else text.textContent = now.by_plane ? _("Large enough; reckoned from the ground.") : _("Large enough; reckoned from people who were seen.");
}

function show_trial(now) {
  let text = condition(now);
  const marks = (now.zones || []).flatMap((zone) => zone.marks);
  const last = now.reports[now.reports.length - 1];
  const dwelling = marks.find((one) => one.state === "dwell" || one.state === "new");
  if (!text && !now.zones?.length) text = _("No zone is drawn: go back and draw one.");
  else if (!text && last) text = _("✓ Test incident: %s, seen after %s s.", last.zone, Math.round(last.after_s));
  else if (!text && now.view === "learning") text = _("Learning the clear place: keep the zone free …");
  else if (!text && now.view !== "live") text = _("The view is %s", now.view);
  else if (!text && dwelling) text = _("It stands there for %s of %s s …", Math.round(dwelling.elapsed_s), Math.round(dwelling.limit_s));
  else if (!text) {
    const count = now.zones.filter((zone) => zone.tally).map((zone) => zone.tally.count);
    text = count.length ? _("%s people in the zone; with two the test reports a crowd.", Math.max(...count)) : _("Now put a crate or a bag into the zone and step aside.");
  }
  $('[data-step="trial"] [data-said]').textContent = text;
  if ($("#reports").children.length === now.reports.length) return;
  $("#reports").replaceChildren(...now.reports.map((one) => {
    const row = make("li");
    row.append(...one.pictures.map((name) => make("img", "", { src: `/picture/${name}`, alt: _("Picture of the incident") })));
    row.append(make("span", `${new Date(one.at_s * 1000).toLocaleTimeString(tongue())} ${one.zone}: ${_(one.rule === "encroachment" ? "Goods before a shop" : "Too many people")}`));
    return row;
  }));
}

// drawing

function tell(code) {
  $("#drawn").textContent = { few: _("It needs three corners at least."), finished: _("Finished. Set its values, then save."), put: _("Next corner, or Finish.") }[code] || "";
}

function show_tools() {
  const { sheet, shape } = view;
  const { open } = sheet.now;
  for (const one of all(".drawing")) one.hidden = !open;
  for (const one of all(".not-drawing")) one.hidden = Boolean(open);
  $('[data-do="undo"]').disabled = !sheet.can_undo;
  $('[data-do="redo"]').disabled = !sheet.can_redo;
  $('[data-do="drop"]').disabled = !shape || Boolean(open);
  $("#save").disabled = Boolean(open);
  const form = $("#shape");
  const mine = shape && !open ? shape : null;
  form.hidden = !mine || !FIELDS[mine.values.kind || mine.kind];
  if (form.hidden || form.dataset.of === String(mine.key)) return;
  form.dataset.of = mine.key;
  form.replaceChildren(...FIELDS[mine.values.kind || mine.kind].map(([name, text, type]) => {
    const label = make("label");
    const field = make("input", "", { name, value: mine.values[name] ?? (name === "dwell_s" ? { frontage: 180, gathering: 30 }[mine.values.kind] : ""), type, step: "any", min: type === "number" ? "0" : "" });
    if (type === "number") field.inputMode = "decimal";
    field.addEventListener("input", () => {
      sheet.set(mine.key, name, type === "number" ? (field.value === "" ? undefined : Number(field.value)) : field.value || undefined);
      view.render();
    });
    field.addEventListener("change", () => sheet.settle());
    label.append(make("span", _(text)), field);
    return label;
  }));
}

const FIELDS = {
  frontage: [["id", "Name", "text"], ["shop", "Shop's id at the center (optional)", "text"], ["dwell_s", "Reported after, seconds", "number"]],
  gathering: [["id", "Name", "text"], ["max_people", "People that it bears", "number"], ["dwell_s", "Reported after, seconds", "number"]],
  plane: [["width_m", "Metres from corner 1 to 2", "number"], ["depth_m", "Metres from corner 2 to 3", "number"]],
};

function draw(kind) {
  const { sheet } = view;
  const taken = new Set(sheet.now.shapes.map((one) => one.values.id));
  const stem = kind === "frontage" ? "front" : "place";
  let n = 1;
  while (taken.has(`${stem}-${n}`)) n += 1;
  if (kind === "plane") sheet.draw("plane", { width_m: 4, depth_m: 4 });
  else if (kind === "mask") sheet.draw("mask");
  else sheet.draw("zone", { id: `${stem}-${n}`, kind, ...(kind === "gathering" ? { max_people: 10 } : {}) });
  view.choose(null);
  $("#drawn").textContent = kind === "plane" ? _("Tap the four corners of a rectangle on the ground, in order.") : _("Tap its corners in order.");
}

async function save() {
  const bad = view.sheet.now.shapes.find((one) => one.kind !== "plane" && polygon_fault(one.points));
  if (bad) throw new Error(_("%s: its sides cross each other, or it has no area.", bad.values.id || bad.kind));
  await call("POST", "/api/draw", { id: camera, drawing: settings_of(view.sheet.now.shapes).settings });
  await go("trial");
}

const board = {
  finish: () => view.finish(), "give-up": () => view.give_up(), undo: () => view.again("undo"), redo: () => view.again("redo"),
  drop: () => { view.sheet.drop(view.chosen.key); view.choose(null); },
};

// forms and buttons

const values = (form) => Object.fromEntries([...form.elements].filter((one) => one.name).map((one) => [one.name, one.value.trim()]));
const on = (selector, text, work) => $(selector).addEventListener($(selector).tagName === "FORM" ? "submit" : "click", (event) => {
  event.preventDefault();
  doing(text(), work);
});

on("#enter", () => "", async () => { await call("POST", "/api/enter", values($("#enter"))); $("#enter").reset(); await refresh(); await go("network"); });
on("#claim", () => _("Asking the center …"), async () => { await job("claim", values($("#claim"))); $("#claim").reset(); await shows.claim(); });
on("#find", () => _("Looking for cameras; this takes about 10 seconds …"), async () => {
  const found = await job("find");
  chosen = null;
  $("#found").replaceChildren(...(found.length ? found.map((one) => {
    const row = make("li");
    const text = `${one.host}${one.ports.length ? `:${one.ports[0]}` : ""} ${one.name}${one.onvif ? " · ONVIF" : ""}${one.ports.length ? "" : ` · ${_("RTSP is switched off")}`}`;
    const button = make("button", text, { type: "button", className: "plain wide" });
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => {
      chosen = one;
      for (const other of all("#found button")) other.setAttribute("aria-pressed", String(other === button));
      $("#by-hand").open = false;
      for (const name of ["source", "substream"]) $("#camera").elements[name].value = "";
    });
    row.append(button);
    return row;
  }) : [make("li", _("None was found: are they in this network, and switched on?"))]));
});
on("#camera", () => _("Testing the camera; this takes up to half a minute …"), async () => {
  $("#after-test").hidden = true;
  $("#tested").replaceChildren();
  const { source, substream, id, user, password } = values($("#camera"));
  let [main, sub] = [source, substream || null];
  if (!main) {
    if (!chosen) throw new Error(_("Choose a camera that was found, or enter its address."));
    const port = chosen.ports[0] || 554;
    const found = await job("streams", { host: chosen.host, port, user, password });
    if (found.state === "found") [main, sub] = [found.source, found.substream];
    else main = `rtsp://${chosen.host}:${port}/`; // the test says what is the matter
    if (found.state === "nothing") throw new Error(_("It speaks RTSP, at none of the usual paths: enter the address that its manual names."));
  }
  tested = { id, source: main, substream: sub, user, password };
  const findings = await job("test", tested);
  $("#tested").replaceChildren(make("li", main, { className: "dim" }), ...findings.map(finding));
  $("#after-test").hidden = findings.some((one) => one.state === "FAIL");
  $("#tested").scrollIntoView({ block: "nearest" });
});
on("#use", () => "", async () => {
  await call("POST", "/api/camera", tested);
  camera = tested.id;
  tested = chosen = null;
  $("#camera").reset();
  for (const one of ["#tested", "#found"]) $(one).replaceChildren();
  $("#after-test").hidden = true;
  await go("picture");
});
on("#focus", () => "", () => call("POST", "/api/focus"));
on("#save", () => "", save);
on("#again", () => "", () => go("trial"));
on("#doctor", () => _("Checking the box; this takes up to a minute …"), async () => $("#examined").replaceChildren(...(await job("doctor")).map(finding)));
on("#finish", () => "", async () => {
  await call("POST", "/api/finish");
  await refresh();
  $("#finished").textContent = _("Finished. This page shuts at %s; the center, or a file on the boot partition, opens it again.", new Date(state.until_s * 1000).toLocaleTimeString(tongue(), { hour: "2-digit", minute: "2-digit" }));
});
$("#shape").addEventListener("submit", (event) => event.preventDefault());
for (const one of all("[data-go]")) one.addEventListener("click", () => doing("", () => go(one.dataset.go)));
for (const one of all("[data-draw]")) one.addEventListener("click", () => draw(one.dataset.draw));
for (const one of all("[data-do]")) one.addEventListener("click", () => board[one.dataset.do]());
$("#language").addEventListener("click", () => { speak(tongue() === "zh" ? "en" : "zh"); if (step !== "zones") doing("", () => (step === "enter" ? null : go(step))); });

speak();
const pin = new URLSearchParams(location.hash.slice(1)).get("pin"); // the QR code on the box says it
if (pin) { history.replaceState(null, "", "/"); $("#enter input").value = pin; }
// a session that goes on needs no PIN
doing("", async () => go((await call("GET", "/api/hello")).known ? "network" : "enter"));

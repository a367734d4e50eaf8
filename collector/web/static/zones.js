// The page on which zones are drawn: forms and lists around the drawing modules, and what the center and the box say.
import { call } from "./api.js";
import { Ground } from "./ground.js";
import { area, fault } from "./polygon.js";
import { Sheet, settings_of, shapes_of } from "./sheet.js";
import { View } from "./view.js";
import { _, clock, span } from "./words.js";

const LOOK_MS = 3000;
const CRATE_M2 = 0.24; // of 60 × 40 cm
const MIN_AREA = 0.0015; // of protocol/settings.py, as are these
const DWELL_S = { frontage: 180, gathering: 30 };
const OF = { frontage: ["min_area", "min_area_m2"], gathering: ["max_people", "max_density", "loiter_s", "counting"] };
const $ = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const told = JSON.parse($("#told").textContent);
const can = new Set(told.can);
const locale = document.documentElement.lang;
const number = (value, digits = 2) => new Intl.NumberFormat(locale, { maximumFractionDigits: digits }).format(value);
const say = (text) => { $("#said").textContent = text; };
const path = location.pathname;

/** The same text for the same values, in whatever order their names come. */
const key_of = (one) => JSON.stringify(one, (_name, value) => (value && typeof value === "object" && !Array.isArray(value)
  ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))) : value));

function make(name, text = "", attributes = {}) {
  const made = Object.assign(document.createElement(name), attributes);
  made.textContent = text;
  return made;
}

function start() {
  let state = told.state;
  let base = state.newest; // what was drawn upon
  let saved = key_of(base.drawing);
  let other = null; // a version that is in conflict: `{ drawing, title, on_box, by }`
  let faults = [];
  let tried = [];
  let sure = false;
  const sheet = new Sheet(shapes_of(base.drawing));
  const writes = can.has("zones.write");
  const view = new View($("#board"), sheet, { picture: told.picture, changed: () => show(), tell });

  // what is drawn, in words

  const drawing = () => settings_of(sheet.now.shapes);
  const same = () => saved === key_of(drawing().settings);
  const plane = () => sheet.now.shapes.find((one) => one.kind === "plane");
  let last_ground = [null, null];
  function ground() {
    const found = plane();
    if (!found) return null;
    const key = JSON.stringify([found.points, found.values]);
    if (last_ground[0] !== key) last_ground = [key, new Ground(found.points, found.values.width_m, found.values.depth_m)];
    return last_ground[1].fault ? null : last_ground[1];
  }
  const name_of = ({ kind, values }) => ({ zone: values.id || "?", mask: _("Mask"), plane: _("Ground"), allowed: values.what || _("Allowed area") })[kind];
  const shop_name = (id) => told.shops.find((one) => one.id === id)?.name || id;
  const wrong_with = (shape) => {
    if (shape.kind === "plane") {
      const found = new Ground(shape.points, shape.values.width_m, shape.values.depth_m).fault;
      return found && ({
        few: _("Give the two sides in metres."), flat: _("Three of its corners lie nearly on one line, or too close together."),
        bent: _("It bends inward: choose the corners of a real rectangle."), far: _("Its far corners are at the horizon: choose a shorter rectangle."),
      }[found] || _("Its sides cross each other: choose the corners in order."));
    }
    const found = fault(shape.points);
    return found && { same: _("Two corners are the same point."), crossing: _("Its sides cross each other."), flat: _("It has no area.") }[found];
  };

  function tell(code, values) {
    const { open } = sheet.now;
    say(({
      corner: () => _("Corner %(number)s of %(of)s, at %(x)s % across and %(y)s % down", values),
      at: () => _("Cross at %(x)s % across and %(y)s % down", values),
      put: () => _("Corner %(number)s", values),
      least: () => _("It needs the corners that it has."),
      few: () => _("It needs three corners at least."),
      finished: () => _("Finished. Its settings are beside the picture."),
    }[code] || (() => ""))());
    if (code === "put" && open?.kind === "plane") say(_("Corner %(number)s", { number: values.number }));
  }

  view.edits = ({ kind }) => writes && (kind !== "mask" || can.has("boxes.write"));
  view.label = (shape) => (shape.kind === "zone" || shape.kind === "allowed" ? name_of(shape) : "");
  view.grid = () => ($("#grid").checked && ground() ? ground().grid(view.size) : []);
  view.extra = () => {
    const found = other?.shown ? shapes_of(other.drawing).map(({ points }) => ({ name: "other", points })) : [];
    for (const one of tried) {
      const [x, y, w, h] = one.place;
      found.push({ name: "tried", points: [[x, y], [x + w, y], [x + w, y + h], [x, y + h]] });
    }
    const { shape } = view;
    const square = shape?.kind === "zone" && shape.values.kind === "frontage" && example_square(shape);
    return square ? [...found, { name: "example", points: square }] : found;
  };

  function example_square({ points, values }) {
    const centre = [0, 1].map((axis) => (Math.min(...points.map((one) => one[axis])) + Math.max(...points.map((one) => one[axis]))) / 2);
    if (values.min_area_m2 > 0 && ground()) return ground().square(centre, values.min_area_m2);
    const share = values.min_area ?? MIN_AREA;
    if (!(share > 0 && share < 1)) return null;
    const [w, h] = view.size;
    const half = Math.sqrt(share * w * h) / 2;
    return [[-1, -1], [1, -1], [1, 1], [-1, 1]].map(([x, y]) => [centre[0] + x * half / w, centre[1] + y * half / h]);
  }

  function examples(shape) {
    const { values, points } = shape;
    if (shape.kind === "plane") return ground() ? [_("The rectangle has %(area)s m². Lines of the grid: 1 m, strong ones 5 m.", { area: number(values.width_m * values.depth_m) })] : [];
    const said = [];
    const on_ground = ground()?.area_m2(points);
    if (on_ground) said.push(_("The zone has %(area)s m² of ground.", { area: number(on_ground, 1) }));
    else if (ground()) said.push(_("A corner of the zone lies at or above the horizon: it has no area on the ground."));
    else said.push(_("Without the ground it is not known how large the zone is; it takes %(share)s % of the picture.", { share: number(area(points) * 100, 1) }));
    const dwell_s = values.dwell_s ?? DWELL_S[values.kind];
    const at = new Date(2026, 0, 1, 9, 0, 0);
    const then = (seconds) => new Date(at.getTime() + seconds * 1000).toTimeString().slice(0, 8);
    if (values.kind === "frontage") {
      said.push(_("What is put down at 09:00:00 is reported at %(time)s, if it stands there still.", { time: then(dwell_s) }));
      const m2 = values.min_area_m2;
      if (m2 > 0 && ground()) said.push(_("%(area)s m² is a square of %(side)s m, drawn in the picture: about %(crates)s crates of 60 × 40 cm.", { area: number(m2), side: number(Math.sqrt(m2)), crates: number(m2 / CRATE_M2, 1) }));
      else said.push(_("%(share)s % of the picture is drawn in it as a square; without the ground nobody knows how large that is on the street.", { share: number((values.min_area ?? MIN_AREA) * 100) }));
    } else {
      if (values.max_density && on_ground) said.push(_("At %(density)s per m² this place bears %(people)s people.", { density: number(values.max_density), people: Math.floor(values.max_density * on_ground + 1e-6) }));
      said.push(_("Too many from 09:00:00 on are reported at %(time)s, if they are too many still.", { time: then(dwell_s) }));
      if (values.loiter_s) said.push(_("Who came at 09:00:00 is reported at %(time)s, if still there.", { time: then(values.loiter_s) }));
    }
    return said;
  }

  // lists and forms

  const faults_of = (key) => faults.filter((one) => one.key === key);
  let listed = "";
  function list() {
    const shapes = sheet.now.shapes.filter((one) => one.of === null).flatMap((one) => [one, ...sheet.now.shapes.filter((inner) => inner.of === one.key)]);
    const rows = shapes.map((one) => [one.key, one.kind, name_of(one), one.values.kind, one.values.shop, view.chosen?.key === one.key, wrong_with(one) || "", ...faults_of(one.key).map((wrong) => wrong.text)]);
    if (JSON.stringify(rows) === listed) return;
    listed = JSON.stringify(rows);
    const focused = document.activeElement?.dataset?.shape;
    $("#shapes").replaceChildren(...rows.map(([key, kind, name, rule, shop, pressed, ...wrong]) => {
      const row = make("li", "", { className: kind === "allowed" ? "inner" : "" });
      const button = make("button", "", { type: "button", className: "plain" });
      button.dataset.shape = key;
      button.setAttribute("aria-pressed", String(pressed));
      button.append(make("b", name));
      if (kind === "zone") button.append(make("span", [rule === "frontage" ? _("Goods before a shop") : _("Too many people"), shop && shop_name(shop)].filter(Boolean).join(" · "), { className: "dim" }));
      button.append(...new Set(wrong.filter(Boolean).map((text) => make("span", text, { className: "wrong" }))));
      button.addEventListener("click", () => { view.choose(key); $(`[data-form="${kind}"]`).scrollIntoView({ block: "nearest" }); });
      row.append(button);
      return row;
    }));
    if (!rows.length) $("#shapes").append(make("li", _("Nothing yet."), { className: "dim" }));
    if (focused) $(`[data-shape="${focused}"]`)?.focus();
  }

  function form() {
    const { shape } = view;
    for (const one of all("[data-form]")) one.hidden = shape?.kind !== one.dataset.form;
    if (!shape) return;
    const shown = $(`[data-form="${shape.kind}"]`);
    for (const field of all("[name]", shown)) {
      if (field === document.activeElement && field.tagName === "INPUT") continue;
      const value = shape.values[field.name];
      if (field.name === "shop") options(field, value);
      field.value = value === undefined || value === null ? standard(shape, field.name) : field.name === "min_area" ? number_text(value * 100) : value;
      if (shape.kind !== "plane") field.disabled = !view.edits(shape);
    }
    for (const one of all("[data-of]", shown)) one.hidden = one.dataset.of !== shape.values.kind;
    for (const one of all("[data-wrong]", shown)) one.textContent = faults_of(shape.key).filter((wrong) => wrong.field === one.dataset.wrong).map((wrong) => wrong.text).join(" ");
    for (const one of all("[name]", shown)) one.setAttribute("aria-invalid", String(faults_of(shape.key).some((wrong) => wrong.field === one.name)));
    const owner = told.owners[shape.values.id];
    if (shape.kind === "zone") $("[data-owner]", shown).textContent = owner && owner !== shape.values.shop ? _("The register of shops gives this zone to %(shop)s, which counts.", { shop: shop_name(owner) }) : "";
    const example = $("[data-example]", shown);
    if (example) example.replaceChildren(...examples(shape).map((text) => make("li", text)));
  }

  const number_text = (value) => String(Number(value.toFixed(6)));
  const standard = ({ values }, name) => ({ dwell_s: DWELL_S[values.kind], min_area: number_text(MIN_AREA * 100) }[name] ?? "");
  function options(field, value) {
    const known = [["", _("None")], ...told.shops.map((one) => [one.id, `${one.name} (${one.id})`])];
    if (value && !told.shops.some((one) => one.id === value)) known.push([value, value]);
    if (field.options.length !== known.length) field.replaceChildren(...known.map(([id, text]) => make("option", text, { value: id })));
  }

  function typed(field) {
    const { shape } = view;
    if (!shape) return;
    const text = field.value.trim();
    if (field.name === "kind") {
      const kept = { ...shape.values, kind: text };
      for (const name of [...OF.frontage, ...OF.gathering, "dwell_s"]) delete kept[name];
      sheet.give(shape.key, text === "gathering" ? { ...kept, max_people: 10 } : kept);
    } else if (field.inputMode === "decimal") {
      const value = Number(text.replace(",", "."));
      const given = text === "" ? undefined : Number.isFinite(value) ? value : text;
      sheet.set(shape.key, field.name, field.name === "min_area" && typeof given === "number" ? Number((given / 100).toFixed(8)) : given);
    } else sheet.set(shape.key, field.name, text === "" && field.name !== "id" ? undefined : text);
    view.render();
  }

  for (const field of all("[data-form] [name]")) {
    field.addEventListener("input", () => typed(field));
    field.addEventListener("change", () => { sheet.settle(); form(); });
    field.form.addEventListener("submit", (event) => event.preventDefault());
  }

  function show() {
    sure = false; // of what was drawn before
    list();
    form();
    const { open } = sheet.now;
    const usable = (what, good) => all(`[data-do="${what}"]`).forEach((one) => { one.disabled = !good; });
    const { shape } = view;
    const mine = Boolean(shape) && !open && view.edits(shape);
    usable("undo", sheet.can_undo);
    usable("redo", sheet.can_redo);
    usable("save", !open && !same());
    usable("try", !open);
    usable("drop", mine);
    for (const one of ["previous", "next"]) usable(one, mine);
    usable("add-corner", mine && shape.kind !== "plane");
    usable("remove-corner", mine && view.chosen.corner !== null && shape.points.length > 3 && shape.kind !== "plane");
    usable("draw-allowed", !open && zone_of(shape)?.values.kind === "frontage");
    for (const one of all(".drawing")) one.hidden = !open;
    for (const one of all(".not-drawing")) one.hidden = Boolean(open);
  }

  const zone_of = (shape) => (shape?.kind === "allowed" ? sheet.shape(shape.of) : shape?.kind === "zone" ? shape : null);

  function free_name(kind) {
    const taken = new Set(sheet.now.shapes.map((one) => one.values.id));
    const stem = kind === "frontage" ? "front" : "place";
    let n = 1;
    while (taken.has(`${stem}-${n}`)) n += 1;
    return `${stem}-${n}`;
  }

  // buttons

  const drawn = (kind, values, of = null) => {
    sheet.draw(kind, values, of);
    view.choose(null);
    $("#board").focus({ preventScroll: true });
    say(kind === "plane" ? _("Choose the four corners of a rectangle on the ground, in order.") : _("Choose its corners in order; the first one again, or Finish, ends it."));
  };
  const doing = {
    "draw-frontage": () => drawn("zone", { id: free_name("frontage"), kind: "frontage" }),
    "draw-gathering": () => drawn("zone", { id: free_name("gathering"), kind: "gathering", max_people: 10 }),
    "draw-allowed": () => drawn("allowed", {}, zone_of(view.shape).key),
    "draw-mask": () => drawn("mask", {}),
    "draw-plane": () => drawn("plane", { width_m: plane()?.values.width_m ?? 4, depth_m: plane()?.values.depth_m ?? 4 }),
    finish: () => view.finish(),
    "give-up": () => view.give_up(),
    undo: () => view.again("undo"),
    redo: () => view.again("redo"),
    previous: () => view.turn(-1),
    next: () => view.turn(1),
    "add-corner": () => view.add_corner(),
    "remove-corner": () => view.remove_corner(),
    closer: () => view.zoom(1.5),
    farther: () => view.zoom(1 / 1.5),
    whole: () => view.whole(),
    drop: () => { sheet.drop(view.chosen.key); view.choose(null); },
    look: (button) => { other.shown = !other.shown; button.setAttribute("aria-pressed", String(other.shown)); view.render(); },
    theirs, mine, save, try: try_out, picture,
  };
  for (const button of all("[data-do]")) {
    button.addEventListener("click", () => Promise.resolve(doing[button.dataset.do](button)).catch((problem) => say(problem.detail || String(problem))));
  }
  for (const one of ["#grid", "#snap"]) $(one)?.addEventListener("change", () => { view.snaps = $("#snap")?.checked ?? false; view.render(); });
  document.addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.target.matches("input, textarea, select") || !writes) return;
    const key = event.key.toLowerCase();
    if (key !== "z" && key !== "y") return;
    event.preventDefault();
    view.again(key === "y" || event.shiftKey ? "redo" : "undo");
  });
  addEventListener("beforeunload", (event) => { if (writes && !same()) event.preventDefault(); });

  // saving, and what became of it

  function show_faults(found, places = {}) {
    faults = found.map(({ where, text }) => {
      // the longest place that is known: `zone.1.allowed.0.polygon` is that of an allowed area
      const place = Object.keys(places).filter((one) => where === one || where.startsWith(`${one}.`)).sort((a, b) => b.length - a.length)[0];
      return { key: places[place], field: place && where.slice(place.length + 1), text };
    });
    const box = $("#faults");
    box.hidden = !faults.length;
    box.replaceChildren(make("p", _("Not saved. Please look at:")), make("ul"));
    for (const one of faults) {
      const row = make("li");
      const shape = one.key && sheet.shape(one.key);
      if (shape) {
        const button = make("button", `${name_of(shape)}: ${one.text}`, { type: "button", className: "plain" });
        button.addEventListener("click", () => { view.choose(one.key); $(`[data-form="${shape.kind}"] [name="${one.field}"]`)?.focus(); });
        row.append(button);
      } else row.textContent = one.text;
      $("ul", box).append(row);
    }
    view.render();
    if (faults.length) box.scrollIntoView({ block: "nearest" });
  }

  async function send(given, based_on) {
    const { settings, places } = given;
    try {
      take(await call("PUT", path, { drawing: settings, based_on }));
      show_faults([]);
      say(_("Saved; it is on its way to the box."));
      return true;
    } catch (problem) {
      if (problem.body?.faults) show_faults(problem.body.faults, places);
      else if (problem.code === "changed") {
        state = problem.body.state;
        look_around();
        $("#conflict").scrollIntoView({ block: "nearest" });
      } else throw problem;
      return false;
    }
  }

  function take(fresh) {
    state = fresh;
    base = fresh.newest;
    saved = key_of(base.drawing);
    other = null;
    look_around();
    view.render();
  }

  async function save() {
    if (await send(drawing(), base.revision)) $("#board").focus({ preventScroll: true });
  }

  async function theirs() {
    if (!sure && !same()) {
      sure = true;
      say(_("What is drawn here would be lost. Press again to take the other one; undo brings it back."));
      return;
    }
    sure = false;
    const taken = other;
    sheet.replace(shapes_of(taken.drawing));
    view.choose(null);
    if (taken.edit) await send(drawing(), state.newest.revision);
    else take(state);
  }

  async function mine() { await send(drawing(), state.newest.revision); }

  function differences(theirs_, ours) {
    const names = (one) => new Map(one.zone.map((zone) => [zone.id, key_of(zone)]));
    const [there, here] = [names(theirs_), names(ours)];
    const said = [];
    for (const id of new Set([...there.keys(), ...here.keys()])) {
      if (!here.has(id)) said.push(_("Zone %(zone)s is there only in the other one", { zone: id }));
      else if (!there.has(id)) said.push(_("Zone %(zone)s is there only here", { zone: id }));
      else if (there.get(id) !== here.get(id)) said.push(_("Zone %(zone)s is different", { zone: id }));
    }
    if (key_of(theirs_.plane) !== key_of(ours.plane)) said.push(_("The ground is different"));
    if (key_of(theirs_.mask) !== key_of(ours.mask)) said.push(_("The masks are different"));
    return said;
  }

  /** Say how it stands: what the box does with the newest revision, and whether somebody else has drawn meanwhile. */
  function look_around() {
    const { newest, in_force: force, online, conflict } = state;
    const says = {
      wanted: online ? _("on its way to the box") : _("waits: the box is not connected"), pending: _("on trial on the box, for two minutes"),
      applied: _("in force on the box"), rejected: _("refused by the box"), rolled_back: _("taken back by the box"),
    }[newest.state] || newest.state;
    const level = { applied: "good", rejected: "bad", rolled_back: "bad" }[newest.state] || "warn";
    const line = [make("span", _("Revision %(revision)s by %(name)s:", { revision: newest.revision, name: newest.by })), make("span", says, { className: `badge ${level}` })];
    if (force !== null && force !== newest.revision) line.push(make("span", _("on the box: revision %(revision)s", { revision: force }), { className: "dim" }));
    if (conflict || key_of(newest.drawing) !== key_of(base.drawing)) {
      line.push(make("a", newest.on_box || conflict ? _("Edited on the box meanwhile") : _("Changed by %(name)s meanwhile", { name: newest.by }), { href: "#conflict", className: "bad" }));
    }
    line.push(...newest.errors.map((text) => make("small", text, { lang: "en" })));
    const text = line.map((one) => one.textContent).join(" ");
    if ($("#standing").textContent !== text) $("#standing").replaceChildren(...line.flatMap((one, n) => (n ? [" ", one] : [one])));
    const shown = other?.shown || false;
    if (key_of(newest.drawing) !== key_of(base.drawing)) {
      other = { drawing: newest.drawing, on_box: newest.on_box, name: newest.by, edit: false, shown };
    } else if (conflict) other = { drawing: conflict.drawing, on_box: true, edit: true, shown };
    else {
      if (newest.revision !== base.revision) base = newest;
      other = null;
    }
    $("#conflict").hidden = !other;
    if (!other) return;
    $("#conflict-title").textContent = other.on_box ? _("Edited on the box meanwhile") : _("Changed by %(name)s meanwhile", { name: other.name });
    $("#conflict p").textContent = other.edit
      ? _("The box was edited before it had what the center wants. Nothing is lost: choose which one is to be.")
      : _("Nothing is written over: choose which one is to be, or draw on and take yours.");
    const said = differences(other.drawing, drawing().settings);
    if ($("#conflict ul").textContent !== said.join("")) $("#conflict ul").replaceChildren(...said.map((one) => make("li", one)));
    const button = $("[data-do=theirs]");
    if (button) button.textContent = other.on_box ? _("Keep the box's") : _("Take the other one");
  }

  async function look() {
    if (document.visibilityState !== "visible") return;
    const fresh = await call("GET", `${path}/state`, undefined, { background: true }).catch(() => null);
    if (!fresh || fresh.newest.revision < base.revision) return; // an answer that a save has overtaken
    state = fresh;
    look_around();
  }

  // what the box is asked

  async function asked(url, body, most_s) {
    const { command } = await call("POST", url, body);
    for (let waited = 0; waited < most_s; waited += 1) {
      await new Promise((done) => { setTimeout(done, 1000); });
      const found = await call("GET", `${path}/asked/${command}`, undefined, { background: true });
      if (found.state === "ok") return { ...found, command };
      if (!["waiting", "sent", "accepted"].includes(found.state)) throw Object.assign(new Error(found.text), { detail: found.text || found.state });
    }
    throw Object.assign(new Error(), { detail: _("The box has not answered yet; is it connected?") });
  }

  async function busy(what, work) {
    const button = $(`[data-do="${what}"]`);
    button.setAttribute("aria-busy", "true");
    try { await work(); } finally { button.removeAttribute("aria-busy"); }
  }

  async function picture() {
    await busy("picture", async () => {
      say(_("Asked for a picture …"));
      const { command } = await asked(`${path}/picture`, undefined, 90);
      view.image?.setAttribute("href", `/snapshots/${command}/wide/960.jpg`);
      say(_("This is the picture of now."));
      if (!view.image) location.reload();
    });
  }

  async function try_out() {
    const { settings, places } = drawing();
    await busy("try", async () => {
      $("#tried").hidden = false;
      $("#tried div").replaceChildren(make("p", _("The box looks through its last hour …")));
      try {
        show_faults([]);
        const { data, pictures, command } = await asked(`${path}/try`, { drawing: settings }, 150);
        show_tried({ ...data, pictures, command });
      } catch (problem) {
        if (problem.body?.faults) { show_faults(problem.body.faults, places); $("#tried").hidden = true; return; }
        $("#tried div").replaceChildren(make("p", problem.detail, { className: "fault" }));
      }
    });
  }

  function show_tried(found) {
    const box = $("#tried div");
    const at = (text) => new Date(text).getTime();
    tried = found.incidents;
    const said = [found.samples ? _("%(count)s pictures from %(from)s to %(until)s.", { count: found.samples, from: clock(at(found.from_at)), until: clock(at(found.until_at)) }) : _("The box has no pictures of the last hour yet; it takes one every ten seconds.")];
    if (!found.whole) said.push(_("It took too long and was ended there."));
    const unlearned = settings_of(sheet.now.shapes).settings.zone.filter((one) => one.kind === "frontage" && !found.learned.includes(one.id) && !found.untried.includes(one.id)).map((one) => one.id);
    if (unlearned.length) said.push(_("The clear look could not be learned of: %(zones)s.", { zones: unlearned.join(", ") }));
    if (found.untried.length) said.push(_("Not tried, as a picture each ten seconds does not show it: %(zones)s.", { zones: found.untried.join(", ") }));
    if (found.samples) said.push(_("The first minute serves to learn the place: what stood there then is not reported."));
    box.replaceChildren(make("p", found.samples ? _("Would have been reported: %(count)s", { count: found.incidents.length }) : ""), ...said.map((text) => make("p", text, { className: "dim" })));
    const rows = make("ul", "", { className: "plain-list" });
    for (const one of found.incidents) {
      const row = make("li");
      const button = make("button", `${clock(at(one.reported_at))} ${one.zone}`, { type: "button", className: "plain" });
      button.addEventListener("click", () => { tried = [one]; view.render(); });
      const until = one.cleared_at ? span(at(one.cleared_at) - at(one.opened_at)) : _("until the end");
      row.append(button, make("span", [one.rule === "encroachment" ? _("Goods before a shop") : _("Too many people"), until, one.area_m2 ? `${number(one.area_m2)} m²` : "", one.people ? _("%(count)s people", { count: one.people }) : ""].filter(Boolean).join(" · ")));
      if (one.picture && found.pictures.includes(one.picture)) {
        row.prepend(make("img", "", { src: `/snapshots/${found.command}/${one.picture}/320.jpg`, width: 128, height: 72, alt: `${one.zone} ${clock(at(one.reported_at))}` }));
      }
      rows.append(row);
    }
    if (found.incidents.length > 1) {
      const button = make("button", _("Draw all"), { type: "button", className: "quiet" });
      button.addEventListener("click", () => { tried = found.incidents; view.render(); });
      rows.append(make("li"));
      rows.lastChild.append(button);
    }
    box.append(rows);
    view.render();
  }

  look_around();
  view.render();
  setInterval(look, LOOK_MS);
}

if (told.state) start();

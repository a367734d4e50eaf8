// The list of tasks: by time left, or by distance once somebody has asked for that.
import { follow } from "./feed.js";
import { is_kept, keep_pages, name_of, on_outbox, renew } from "./phone.js";
import { _ } from "./words.js";

const MOST_KEPT = 20;
const PAUSE_MS = 3000;
const EARTH_M = 6371000;
let here = null;

/** Metres between two positions of WGS84, by the haversine formula. */
function metres(lon, lat, other_lon, other_lat) {
  const [a, b, c, d] = [lon, lat, other_lon, other_lat].map((one) => (one * Math.PI) / 180);
  const half = Math.sin((d - b) / 2) ** 2 + Math.cos(b) * Math.cos(d) * Math.sin((c - a) / 2) ** 2;
  return 2 * EARTH_M * Math.asin(Math.sqrt(half));
}

const rows = () => [...document.querySelectorAll("#live li[data-number]")];

function order() {
  if (!here) return;
  const far = new Map(rows().map((one) => [one, one.dataset.lon
    ? metres(here.longitude, here.latitude, Number(one.dataset.lon), Number(one.dataset.lat)) : Infinity]));
  const list = document.querySelector("#live ol");
  if (list) list.append(...rows().sort((one, other) => far.get(one) - far.get(other)));
  for (const [one, m] of far) {
    const text = m === Infinity ? "" : m < 1000 ? `${Math.round(m / 10) * 10} m` : `${(m / 1000).toFixed(1)} km`;
    one.querySelector(".far").textContent = text;
  }
}

const ask = document.getElementById("near");
if (navigator.geolocation && self.isSecureContext) {
  ask.disabled = false;
  ask.addEventListener("click", () => {
    ask.disabled = true;
    const say = (text) => { document.getElementById("near-said").textContent = text; };
    navigator.geolocation.getCurrentPosition((found) => {
      here = found.coords;
      ask.disabled = false;
      say(_("Nearest first."));
      order();
    }, () => { ask.disabled = false; say(_("This phone does not say where it is.")); }, { timeout: 15000, maximumAge: 60000 });
  });
}

/** Have the pages of the first tasks on this phone, with their pictures. */
function keep_all(itself) {
  const some = navigator.connection && navigator.connection.saveData ? 5 : MOST_KEPT;
  const wanted = rows().slice(0, some).flatMap((one) => [
    [`/tasks/${one.dataset.number}`, one.dataset.version],
    ...(one.dataset.picture ? [[one.dataset.picture.replace("/160.", "/640."), ""], [one.dataset.picture, ""]] : []),
  ]);
  keep_pages([...(itself ? [["/tasks", document.querySelector("main").dataset.at]] : []), ...wanted]);
}

let busy = false;
let again = false;
async function fresh() {
  again = true;
  if (busy) return;
  busy = true;
  while (again) {
    again = false;
    if (await renew().catch(() => false)) { order(); keep_all(true); }
    await new Promise((done) => { setTimeout(done, PAUSE_MS); });
  }
  busy = false;
}

/** What waits on this phone stands at its task, in place of what is to be done there. */
function mark(entries) {
  for (const row of rows()) {
    const mine = entries.filter((one) => one.number === Number(row.dataset.number) && one.state !== "sent");
    const line = row.querySelector(".waits");
    const names = [...new Set(mine.map(name_of))].join(_("; "));
    line.hidden = !mine.length;
    line.dataset.state = mine.some((one) => one.state === "refused") ? "refused" : "kept";
    line.textContent = line.dataset.state === "refused" ? _("%(steps)s: refused, see below", { steps: names }) : _("%(steps)s: kept on this phone, not sent yet", { steps: names });
    row.querySelector(".todo").hidden = mine.some((one) => one.state === "kept" && !["picture", "remark"].includes(one.verb));
  }
}

let waiting = "";
on_outbox((entries) => {
  mark(entries);
  const now = entries.filter((one) => one.state === "sent").map((one) => one.id).join();
  if (now !== waiting) fresh();
  waiting = now;
});
follow({
  since: document.querySelector("main").dataset.at,
  onChanged: (tickets) => { if (!tickets || tickets.length) fresh(); },
  onState: (state) => { if (state === "live" && document.documentElement.dataset.kept) fresh(); },
});
keep_all(!is_kept());

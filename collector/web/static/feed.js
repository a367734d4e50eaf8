// The live feed: what changed at the center, with nothing missed while this page was away.
import { Refused, call } from "./api.js";
import { _ } from "./words.js";
import { written } from "./written.js";

const SILENT_MS = 32000; // three heartbeats of the center and a little
const FIRST_MS = 1000;
const LONGEST_MS = 20000;

const WORDS = {
  live: () => _("Connected"),
  waiting: () => _("Connecting…"),
  lost: () => _("Cut off, trying again"),
  ended: () => _("Signed out"),
};

/** Show the state of the line at the top of the page. */
function show(state) {
  const line = document.getElementById("line");
  if (!line) return;
  line.hidden = false;
  line.dataset.state = state;
  const text = WORDS[state]();
  if (line.textContent !== text) line.textContent = text;
}

/** Where a session has ended while something is being written: nothing is taken away, and signing in is elsewhere. */
function ask_in(wanted) {
  let bar = document.getElementById("ended");
  if (!wanted) { if (bar) bar.remove(); return; }
  if (!bar) {
    bar = document.createElement("p");
    bar.id = "ended";
    bar.className = "fault";
    bar.setAttribute("role", "alert");
    const link = document.createElement("a");
    Object.assign(link, { href: "/sign-in?go_on=/account&over=1", target: "_blank", rel: "noopener", textContent: _("Sign in again") });
    bar.append(_("Your session has ended; what you write stays here."), " ", link);
  }
  // what lies beneath a dialog cannot be reached
  const home = document.querySelector("dialog[open]") || document.querySelector("main");
  if (bar.parentElement !== home) home.prepend(bar);
}

/**
 * Follow what changes. `onChanged(tickets)` gets `[{number, state, open, version}, …]`, or null where the page has to
 * load all of its own anew; it gets an empty list at each new connection. Its second value is how many pages follow at
 * about this time: what all of them then ask for is better spread. `onState(state)` gets `waiting`, `live`,
 * `lost` or `ended`. `path`: of the feed. `stays`: a page whose session has ended is not loaded anew; it says so itself.
 * `cards`: be told what a board shows of them, as `card`. `always`: while the page is hidden as well. `since` is the `at` that came with the page. Returns a function that ends it.
 */
export function follow({ since = "", path = "/events", stays = false, always = false, cards = false, onChanged = () => {}, onState = () => {} } = {}) {
  let at = since;
  let source = null;
  let heard = Date.now();
  let wait = FIRST_MS;
  let timer = 0;
  let over = false;
  let now = "";
  let pages = 1;

  const state = (next) => {
    if (next === now) return;
    now = next;
    show(next);
    onState(next);
  };

  function close() {
    clearTimeout(timer);
    if (source) source.close();
    source = null;
  }

  function later() {
    close();
    if (over) return;
    timer = setTimeout(open, wait * (0.7 + 0.6 * Math.random()));
    wait = Math.min(LONGEST_MS, wait * 1.8);
  }

  // a browser does not say why a feed was refused
  async function failed() {
    close();
    if (now !== "ended") state("lost");
    try {
      await call("GET", `${path}/now`, undefined, { background: true });
    } catch (fault) {
      if (fault instanceof Refused && (fault.status === 401 || fault.status === 403)) {
        state("ended");
        if (!stays && !written()) { location.reload(); return; }
        if (!stays) ask_in(true);
      }
    }
    later();
  }

  function open() {
    close();
    if (over || (!always && document.visibilityState === "hidden")) return;
    heard = Date.now();
    if (now !== "lost" && now !== "ended") state("waiting");
    const mine = new EventSource(`${path}?since=${encodeURIComponent(at)}${cards ? "&cards=1" : ""}`);
    source = mine;
    const hears = (name, act) => mine.addEventListener(name, (event) => {
      if (mine !== source) return;
      heard = Date.now();
      wait = FIRST_MS;
      state("live");
      ask_in(false);
      if (event.lastEventId) at = event.lastEventId;
      act(event);
    });
    hears("beat", (event) => { pages = JSON.parse(event.data).pages; });
    hears("changed", (event) => onChanged(JSON.parse(event.data).tickets, pages));
    hears("again", () => onChanged(null, pages));
    mine.addEventListener("error", () => { if (mine === source) failed(); });
  }

  // a page's own question had no answer: the line may be as dead, and nobody has said so
  const doubt = () => { if (!over && now === "live") { close(); state("lost"); later(); } };
  // a laptop that slept, a tab that was put aside, a network that came back
  const wake = () => {
    if (over) return;
    // browsers open six lines to a center, over all tabs: who is not looked at gives theirs back, and misses nothing
    if (document.visibilityState === "hidden") { if (!always) close(); return; }
    if (!source || Date.now() - heard > SILENT_MS / 2) { wait = FIRST_MS; open(); }
  };
  const gone = () => { if (!over) { close(); state("lost"); timer = setTimeout(open, LONGEST_MS); } };
  const watch = setInterval(() => {
    if (source && Date.now() - heard > SILENT_MS) { state("lost"); open(); }
  }, 2000);
  document.addEventListener("visibilitychange", wake);
  addEventListener("pageshow", wake);
  addEventListener("online", wake);
  addEventListener("offline", gone);
  addEventListener("away", doubt);
  open();

  return () => {
    over = true;
    close();
    clearInterval(watch);
    document.removeEventListener("visibilitychange", wake);
    removeEventListener("pageshow", wake);
    removeEventListener("online", wake);
    removeEventListener("offline", gone);
    removeEventListener("away", doubt);
  };
}

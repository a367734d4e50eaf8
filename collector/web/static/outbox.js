// What was done on this phone and is not at the center yet: kept in IndexedDB, sent in order, once. A plain script
// without imports, as the service worker loads it by importScripts; pages import it for what it sets.
(() => {
const NAME = "cityeye-outbox";
const HELD_MS = 90000; // longer than a call may take
const CALL_MS = 60000;
let opening = null;

function open() {
  opening = opening || new Promise((done, fail) => {
    const asked = indexedDB.open(NAME, 1);
    asked.onupgradeneeded = () => {
      asked.result.createObjectStore("entries", { keyPath: "id", autoIncrement: true });
      asked.result.createObjectStore("facts", { keyPath: "name" });
    };
    asked.onsuccess = () => done(asked.result);
    asked.onerror = () => fail(asked.error);
  });
  return opening;
}

/** Do something with both stores in one transaction; gives what `act` gave once it is on disk. */
async function within(act) {
  const database = await open();
  return new Promise((done, fail) => {
    const one = database.transaction(["entries", "facts"], "readwrite");
    const entries = one.objectStore("entries");
    const facts = one.objectStore("facts");
    let found;
    one.oncomplete = () => done(found);
    one.onabort = one.onerror = () => fail(one.error || new Error("aborted"));
    const read = (asked, then) => { asked.onsuccess = () => { found = then(asked.result); }; };
    act({ entries, facts, read, give: (value) => { found = value; } });
  });
}

const fact = (name) => within(({ facts, read }) => read(facts.get(name), (one) => one));
const put_fact = (value) => within(({ facts }) => facts.put(value));
const of = (entry) => `ticket/${entry.person}/${entry.number}`;

/** Everything of a person, oldest first. */
const list = (person) => within(({ entries, read }) => read(entries.getAll(), (all) => all.filter((one) => one.person === person)));
const count = () => within(({ entries, read }) => read(entries.count(), (many) => many));
const remove = (id) => within(({ entries }) => entries.delete(id));

/** Keep something; a step that waits already is not kept twice. Gives whether it was. */
const add = (entry) => within(({ entries, give }) => {
  entries.getAll().onsuccess = (event) => {
    const mine = event.target.result.filter((one) => one.person === entry.person && one.number === entry.number && one.state === "kept");
    const steps = mine.filter((one) => one.verb !== "picture");
    const twice = entry.verb !== "picture" && steps.some((one) => one.verb === entry.verb && (one.verb !== "remark" || one.reason === entry.reason));
    give(!twice);
    if (!twice) entries.add({ ...entry, follows: steps.length > 0, state: "kept", tries: 0 });
  };
});

/** What a step was refused for is seen to: send it for the ticket as it is now. */
const again = (id, version) => within(({ entries }) => {
  entries.get(id).onsuccess = (event) => {
    if (event.target.result) entries.put({ ...event.target.result, state: "kept", seen: version, follows: false, tries: 0 });
  };
});

async function fetched(verb, url, body, kind, csrf) {
  const ends = new AbortController();
  const timer = setTimeout(() => ends.abort(), CALL_MS);
  const headers = { accept: "application/json", "x-csrf-token": csrf };
  if (kind) headers["content-type"] = kind;
  try {
    const answer = await fetch(url, { method: verb, headers, body, signal: ends.signal, cache: "no-store", credentials: "same-origin" });
    const found = await answer.json().catch(() => null);
    return { status: answer.status, found, gate: answer.headers.has("x-cityeye-needs") };
  } catch (fault) {
    return { status: 0, found: null, gate: false };
  } finally {
    clearTimeout(timer);
  }
}

/** Whether a step is on the ticket's time line already: its answer was lost on the way. */
async function is_there(entry, csrf) {
  const { status, found } = await fetched("GET", `/api/tickets/${entry.number}`, undefined, "", csrf);
  if (status !== 200 || !found) return { there: false, away: status === 0 || status >= 500, found };
  const mine = (one) => one.kind === entry.verb && one.author === `person:${entry.person}`
    && (entry.verb === "remark" ? one.reason === entry.reason && one.version >= entry.seen : one.version === entry.seen + 1);
  return { there: found.events.some(mine), away: false, found };
}

async function call(entry, csrf) {
  if (entry.verb === "picture") {
    const url = `/api/tickets/${entry.number}/pictures/${entry.key}?taken_ms=${entry.taken_ms}`;
    return fetched("PUT", url, new Blob([entry.content]), "image/jpeg", csrf);
  }
  // a remark brings no version that would tell that it was sent before
  if (entry.verb === "remark" && entry.tries > 1) {
    const { there, away, found } = await is_there(entry, csrf);
    if (away) return { status: 0 };
    if (there) return { status: 200, found };
  }
  const body = entry.verb === "remark" ? { reason: entry.reason } : { seen: entry.seen, reason: entry.reason };
  const answer = await fetched("POST", `/api/tickets/${entry.number}/${entry.verb}`, JSON.stringify(body), "application/json", csrf);
  if (answer.status === 409 && answer.found && answer.found.code === "changed") {
    const { there, away, found } = await is_there(entry, csrf);
    if (away) return { status: 0 };
    if (there) return { status: 200, found: { ...found, version: entry.seen + 1 } };
    if (found) answer.version = found.version;
  }
  return answer;
}

/** It is there: forget it, and let the steps that were waiting behind it go by the ticket as it is after it. */
const sent = (entry, found) => within(({ entries, facts }) => {
  entries.delete(entry.id);
  if (entry.verb === "picture") return;
  facts.put({ name: of(entry), version: found.version, state: found.state });
  entries.getAll().onsuccess = (event) => {
    for (const one of event.target.result) {
      if (one.follows && one.person === entry.person && one.number === entry.number && one.state === "kept") entries.put({ ...one, seen: found.version });
    }
  };
});

/** It is not taken: keep it to be shown, and with it the steps that were to follow. */
const refused = (entry, { found, version }) => within(({ entries }) => {
  const why = { state: "refused", code: found.code, detail: found.detail, detail_zh: found.detail_zh, allowed: found.allowed || [], version };
  entries.put({ ...entry, ...why });
  if (entry.verb === "picture") return;
  entries.getAll().onsuccess = (event) => {
    for (const one of event.target.result) {
      const behind = one.id > entry.id && one.follows && one.person === entry.person && one.number === entry.number;
      if (behind && one.verb !== "picture" && one.verb !== "remark" && one.state === "kept") entries.put({ ...one, ...why, code: "after" });
    }
  };
});

/** The next one to send; `owner`: under a lease, so that no two pages or workers send the same. */
const take = (owner) => within(({ entries, facts, give }) => {
  give({ why: "done" });
  facts.getAll().onsuccess = (event) => {
    const known = Object.fromEntries(event.target.result.map((one) => [one.name, one]));
    const lease = known.lease || { until: 0 };
    if (!known.person) return;
    if (owner && lease.owner !== owner && lease.until > Date.now() && lease.until < Date.now() + 2 * HELD_MS) { give({ why: "busy" }); return; }
    entries.getAll().onsuccess = (inner) => {
      const entry = inner.target.result.find((one) => one.state === "kept" && one.person === known.person.id);
      if (owner) facts.put({ name: "lease", owner, until: entry ? Date.now() + HELD_MS : 0 });
      if (!entry) return;
      entry.tries += 1;
      entries.put(entry);
      give({ entry, csrf: known.person.csrf });
    };
  };
});
const release = (owner) => within(({ facts }) => {
  facts.get("lease").onsuccess = (event) => { if (event.target.result && event.target.result.owner === owner) facts.delete("lease"); };
});

/**
 * Send what waits, oldest first, until there is no more or it does not go on. Gives `done`; `busy`: another one is at
 * it; `away`: no network, or the center is not well; `signed_out`. `tell(entry, how)` hears of each: `sending`, `sent`,
 * `refused`, `kept`.
 */
async function send(tell = () => {}) {
  // a lock ends with its page; where there are none, a lease with its time
  if (!navigator.locks) return send_all(tell, Math.random().toString(36).slice(2));
  return navigator.locks.request(NAME, { ifAvailable: true }, (lock) => (lock ? send_all(tell, "") : "busy"));
}

async function send_all(tell, owner) {
  try {
    for (;;) {
      const { entry, csrf, why } = await take(owner);
      if (!entry) return why;
      tell(entry, "sending");
      const answer = await call(entry, csrf);
      const { status, found } = answer;
      if (status >= 200 && status < 300 && found && (found.version || found.sha256)) {
        await sent(entry, found);
        tell(entry, "sent");
      } else if (status === 401 || (status === 403 && answer.gate)) {
        tell(entry, "kept");
        return "signed_out";
      } else if (status >= 400 && status < 500 && ![408, 425, 429].includes(status) && found && found.code) {
        await refused(entry, answer);
        tell(entry, "refused");
      } else {
        tell(entry, "kept");
        return "away";
      }
    }
  } finally {
    if (owner) await release(owner);
  }
}

/** Forget everything, for whoever signs out. */
const clear = () => within(({ entries, facts }) => { entries.clear(); facts.clear(); });

self.outbox = { open, list, count, add, again, remove, send, clear, fact, put_fact };
})();

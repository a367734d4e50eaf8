// The service worker of the tasks: pages open without network, as they last were, and what waits is sent. Everything
// kept is in one cache, named by release and person; as soon as there is another one it is gone.
const SLOW_MS = 6000;
const OLDEST_MS = 12 * 3600 * 1000; // a session lives no longer
const LEAD = "tasks-";

async function only(name) {
  for (const one of await caches.keys()) if (one.startsWith(LEAD) && one !== name) await caches.delete(one);
}

async function put(name, url, answer, version = "") {
  const headers = new Headers(answer.headers);
  headers.delete("content-encoding");
  headers.delete("content-length");
  headers.set("x-kept", String(Date.now()));
  headers.set("x-version", version);
  const cache = await caches.open(name);
  await cache.put(url, new Response(await answer.blob(), { headers }));
}

/** Fetch what a page wants kept: `[url, version]`; what is there in that version is left as it is. */
async function keep(name, wanted) {
  await only(name);
  const cache = await caches.open(name);
  for (const [url, version] of wanted) {
    const known = await cache.match(url, { ignoreVary: true });
    if (known && known.headers.get("x-version") === version) continue;
    const answer = await fetch(url, { headers: { "x-background": "1" }, redirect: "error", credentials: "same-origin" });
    const own = answer.headers.get("x-kept-as");
    if (own && own !== name) return;
    if (answer.ok) await put(name, url, answer, version);
  }
}

async function kept_page(pathname) {
  const found = await caches.match(pathname, { ignoreVary: true });
  if (!found) return null;
  const at = Number(found.headers.get("x-kept"));
  if (Date.now() - at > OLDEST_MS) { await only(""); return null; }
  const text = (await found.text()).replace("<html ", `<html data-kept="${at}" `);
  return new Response(text, { headers: found.headers });
}

async function page(event) {
  const { request } = event;
  const { pathname } = new URL(request.url);
  const asked = fetch(request);
  const slow = new Promise((done) => { setTimeout(done, SLOW_MS, null); });
  try {
    const answer = await Promise.race([asked, slow]);
    if (!answer) return (await kept_page(pathname)) || await asked;
    // led away: to the sign-in
    if (answer.type === "opaqueredirect" || answer.redirected) await only("");
    const name = answer.headers.get("x-kept-as");
    if (answer.ok && name) {
      const copy = answer.clone();
      event.waitUntil(only(name).then(() => put(name, pathname, copy)));
    }
    return answer.status >= 502 ? (await kept_page(pathname)) || answer : answer;
  } catch (fault) {
    asked.catch(() => {});
    const none = `<!doctype html><meta charset=utf-8><meta name=viewport content='width=device-width'><title>CityEye</title><p>${self.NONE}</p><p><a href=/tasks>/tasks</a></p>`;
    return (await kept_page(pathname)) || new Response(none, { status: 503, headers: { "content-type": "text/html" } });
  }
}

self.addEventListener("install", () => { self.skipWaiting(); });
self.addEventListener("activate", (event) => { event.waitUntil(self.clients.claim()); });
self.addEventListener("message", (event) => {
  const { name, wanted } = event.data;
  if (name) event.waitUntil(keep(name, wanted).catch(() => {}));
});
self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== self.location.origin) return;
  if (request.mode === "navigate") event.respondWith(page(event));
  else if (/^\/(static|evidence)\//.test(url.pathname)) event.respondWith(caches.match(request, { ignoreVary: true }).then((found) => found || fetch(request)));
});
self.addEventListener("sync", (event) => {
  if (event.tag !== "outbox") return;
  // rejected: the browser tries again, later and later
  event.waitUntil(self.outbox.send().then((how) => { if (how !== "done" && !event.lastChance) throw new Error(how); }));
});

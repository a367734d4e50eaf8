// Signing out: what this phone has kept of somebody's tasks is gone with them; what is not sent yet is asked about.
import { _ } from "./words.js";

const MOST_MS = 3000;

async function waiting() {
  await import("./outbox.js");
  return self.outbox.count();
}

async function clear() {
  await self.outbox.clear();
  if (!self.caches) return;
  for (const one of await caches.keys()) if (one.startsWith("tasks-")) await caches.delete(one);
}

const no_longer = (act) => Promise.race([act(), new Promise((done) => { setTimeout(done, MOST_MS, 0); })]).catch(() => 0);

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (form.getAttribute("action") !== "/sign-out" || !self.indexedDB) return;
  event.preventDefault();
  const many = await no_longer(waiting);
  if (many && !form.dataset.asked) {
    form.dataset.asked = "1";
    form.querySelector("button").textContent = _("Not sent yet: %(count)s. Delete and sign out?", { count: many });
    return;
  }
  await no_longer(clear);
  form.submit();
});

// What every page has: the menu of narrow screens, and spans of time that go on.
import "./leaving.js";
import { _, span } from "./words.js";

const button = document.querySelector(".menu-button");
if (button) {
  const menu = document.getElementById("menu");
  const set = (open) => {
    button.setAttribute("aria-expanded", String(open));
    menu.classList.toggle("is-open", open);
  };
  button.addEventListener("click", () => set(button.getAttribute("aria-expanded") !== "true"));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && menu.classList.contains("is-open")) { set(false); button.focus(); }
  });
}

/** A picture that cannot be shown says so in its place. */
function broken(img) {
  if (!img.matches("img[src^='/evidence/']")) return;
  const note = document.createElement("span");
  note.className = "no-picture";
  note.textContent = _("The picture cannot be shown");
  img.parentElement.querySelector("svg")?.remove();
  img.replaceWith(note);
}
document.addEventListener("error", (event) => { if (event.target instanceof HTMLImageElement) broken(event.target); }, true);
// those that failed before this was loaded
for (const img of document.images) if (img.complete && img.currentSrc && !img.naturalWidth) broken(img);

/** Write a text where it is another one: the same again would be laid out again. */
export const write = (one, text) => { if (one.textContent !== text) one.textContent = text; };

/** Write all spans of time anew. */
export function tick(root = document) {
  const now = Date.now();
  for (const one of root.querySelectorAll("time[data-since]")) write(one, span(now - Number(one.dataset.since)));
  for (const one of root.querySelectorAll("time[data-due]")) {
    const left = Number(one.dataset.due) - now;
    one.classList.toggle("late", left < 0);
    write(one, left < 0 ? _("%(span)s overdue", { span: span(left) }) : _("%(span)s left", { span: span(left) }));
  }
}
setInterval(() => { if (document.visibilityState === "visible") tick(); }, 1000);

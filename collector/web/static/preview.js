// A text that is being written, as it will read: the same form is sent while somebody types.
import { call, Refused } from "./api.js";

const WAIT_MS = 350;
for (const form of document.querySelectorAll("form[data-preview]")) {
  let wait = 0;
  let asked = new AbortController();
  const show = async () => {
    asked.abort();
    asked = new AbortController();
    const sent = new Blob([new URLSearchParams(new FormData(form))], { type: "application/x-www-form-urlencoded" });
    try {
      const text = await call("POST", form.action, sent, { signal: asked.signal });
      const fresh = new DOMParser().parseFromString(text, "text/html").getElementById("preview");
      document.getElementById("preview").replaceChildren(...fresh.childNodes);
    } catch (fault) {
      if (fault.name !== "AbortError" && !(fault instanceof Refused)) throw fault;
    }
  };
  form.addEventListener("input", () => { clearTimeout(wait); wait = setTimeout(show, WAIT_MS); });
}

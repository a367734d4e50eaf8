// A form that waits for its person to sign in again, in another tab: it goes with the token of their new session.
const form = document.getElementById("kept");
const faults = [...form.querySelectorAll(".fault")];
const say = (what) => { for (const one of faults) one.hidden = one.dataset.for !== what; };

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  say("");
  const answer = await fetch("/account", { headers: { "x-background": "1" }, cache: "no-store" }).catch(() => null);
  const page = answer && answer.ok ? new DOMParser().parseFromString(await answer.text(), "text/html") : null;
  const token = page && page.querySelector("meta[name=csrf]");
  if (!token || token.dataset.who !== form.dataset.who) { say(token ? "another" : "nobody"); return; }
  form.elements.csrf.value = token.content;
  form.submit();
});

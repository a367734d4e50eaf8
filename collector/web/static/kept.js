// A form that waits for its person to sign in again, in another tab: it goes with the token of the new session.
const form = document.getElementById("kept");
const fault = form.querySelector(".fault");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  fault.hidden = true;
  const answer = await fetch("/account", { headers: { "x-background": "1" }, cache: "no-store" }).catch(() => null);
  const page = answer && answer.ok ? new DOMParser().parseFromString(await answer.text(), "text/html") : null;
  const token = page && page.querySelector("meta[name=csrf]");
  fault.hidden = Boolean(token);
  if (!token) return;
  form.elements.csrf.value = token.content;
  form.submit();
});

// Keeps the page as it is at the center: on every change the page is fetched again and its main part exchanged.
const light = document.getElementById("live");
let pending;

async function refresh() {
  pending = undefined;
  const open = new Set([...document.querySelectorAll("details[open]")].map((one) => [...document.querySelectorAll("details")].indexOf(one)));
  const answer = await fetch(location.href, { cache: "no-store" });
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const main = page.querySelector("main");
  if (main) {
    document.querySelector("main").replaceWith(main);
    document.querySelectorAll("details").forEach((one, index) => { one.open = open.has(index); });
  }
}

function soon() {
  // a burst of messages is one change for the reader
  pending ??= setTimeout(() => refresh().catch(() => {}), 200);
}

function show(on) {
  light.textContent = on ? light.dataset.on : light.dataset.off;
  light.classList.toggle("on", on);
}

let broken = false;
const feed = new EventSource("/events");
feed.addEventListener("open", () => { show(true); if (broken) soon(); broken = false; });
feed.addEventListener("error", () => { show(false); broken = true; });
feed.addEventListener("changed", soon);

/** What a part of a page says, without what is another text each time: times that go on, tokens, what a choice offers. */
export function still(part) {
  const copy = part.cloneNode(true);
  copy.querySelectorAll("time[data-since], time[data-due], input[name=csrf], option, .ring").forEach((one) => one.remove());
  return copy.innerHTML;
}

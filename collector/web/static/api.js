// Calls of the center's API. What is refused comes back as a Refused that says why; nothing is thrown away.
import { _ } from "./words.js";

const LONGEST_MS = 10_000; // a center that lives answers within one; a file on its way has six times as long
const zh = document.documentElement.lang.startsWith("zh");

/** Why a call was not answered with what was asked for. `status` 0: the center could not be reached. */
export class Refused extends Error {
  constructor(status, code, detail, body = null) {
    super(detail);
    this.name = "Refused";
    this.status = status;
    this.code = code;
    this.detail = detail;
    this.body = body;
  }
}

/** Our refusals are `中文 / English`: the half of the reader. */
export function half(text) {
  const found = /^(.*?[\u4e00-\u9fff].*?)\s\/\s(.+)$/s.exec(text);
  if (!found) return text;
  return zh ? found[1] : found[2];
}

/** Have the page's token anew: somebody signed in again, in another tab. Says whether there is one. */
async function renew_token() {
  const answer = await fetch("/account", { headers: { "x-background": "1" }, cache: "no-store" }).catch(() => null);
  if (!answer?.ok) return false;
  const token = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("meta[name=csrf]");
  const mine = document.querySelector("meta[name=csrf]");
  // what this page shows is another person's
  if (token && token.dataset.who !== mine.dataset.who) location.reload();
  if (token?.dataset.who !== mine.dataset.who) return false;
  mine.content = token.content;
  return true;
}

/**
 * Call the center; gives what it answers (JSON, or text), throws Refused.
 * `background`: the page asks by itself, which does not keep a session alive. `signal` ends it. A center that does not
 * answer in time is away, and the window is told so (`away`).
 */
export async function call(verb, url, body = undefined, options = {}) {
  try {
    return await once(verb, url, body, options);
  } catch (fault) {
    if (fault.code === "page_expired" && await renew_token()) return once(verb, url, body, options);
    if (fault.status === 0) dispatchEvent(new Event("away"));
    throw fault;
  }
}

async function once(verb, url, body, { background = false, signal = undefined }) {
  const headers = { accept: "application/json" };
  const csrf = document.querySelector("meta[name=csrf]");
  if (csrf && verb !== "GET") headers["x-csrf-token"] = csrf.content;
  if (background) headers["x-background"] = "1";
  let sent = body;
  if (body !== undefined && !(body instanceof Blob) && !(body instanceof FormData)) {
    headers["content-type"] = "application/json";
    sent = JSON.stringify(body);
  }
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(), LONGEST_MS * (sent === body && body !== undefined ? 6 : 1));
  signal?.addEventListener("abort", () => limit.abort());
  let answer, is_json, found;
  try {
    answer = await fetch(url, { method: verb, headers, body: sent, signal: limit.signal, cache: "no-store", credentials: "same-origin" });
    is_json = (answer.headers.get("content-type") || "").startsWith("application/json");
    found = is_json ? await answer.json() : await answer.text();
  } catch (fault) {
    if (signal?.aborted) throw fault;
    throw new Refused(0, "away", _("The center cannot be reached."));
  } finally {
    clearTimeout(timer);
  }
  if (answer.ok) return found;
  if (answer.status === 401) throw new Refused(401, "signed_out", _("Your session has ended. Sign in again."));
  const said = is_json && found && (zh && found.detail_zh || found.detail);
  const detail = typeof said === "string" ? half(said)
    : _("The center answered %(status)s.", { status: answer.status });
  throw new Refused(answer.status, (found && found.code) || String(answer.status), detail, found);
}

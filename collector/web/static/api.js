// Calls of the center's API. What is refused comes back as a Refused that says why; nothing is thrown away.
import { _ } from "./words.js";

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

/**
 * Call the center; gives what it answers (JSON, or text), throws Refused.
 * `background`: the page asks by itself, which does not keep a session alive. `signal` ends it.
 */
export async function call(verb, url, body = undefined, { background = false, signal = undefined } = {}) {
  const headers = { accept: "application/json" };
  const csrf = document.querySelector("meta[name=csrf]");
  if (csrf && verb !== "GET") headers["x-csrf-token"] = csrf.content;
  if (background) headers["x-background"] = "1";
  let sent = body;
  if (body !== undefined && !(body instanceof Blob) && !(body instanceof FormData)) {
    headers["content-type"] = "application/json";
    sent = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(url, { method: verb, headers, body: sent, signal, cache: "no-store", credentials: "same-origin" });
  } catch (fault) {
    if (fault.name === "AbortError") throw fault;
    throw new Refused(0, "away", _("The center cannot be reached."));
  }
  const is_json = (answer.headers.get("content-type") || "").startsWith("application/json");
  const found = is_json ? await answer.json().catch(() => null) : await answer.text();
  if (answer.ok) return found;
  if (answer.status === 401) throw new Refused(401, "signed_out", _("Your session has ended. Sign in again."));
  const said = is_json && found && (zh && found.detail_zh || found.detail);
  const detail = typeof said === "string" ? half(said)
    : _("The center answered %(status)s.", { status: answer.status });
  throw new Refused(answer.status, (found && found.code) || String(answer.status), detail, found);
}

// Importing a file: it is checked, what is wrong stands there row by row, and only a good one can be taken.
import { call, Refused } from "./api.js";
import { _ } from "./words.js";

const chinese = document.documentElement.lang.startsWith("zh");
const MOST = 200; // rows that are shown; whoever has more starts with these
const made = (tag, text = "", more = {}) => Object.assign(document.createElement(tag), { textContent: text }, more);

function table(found, title) {
  const whole = made("table");
  whole.append(made("caption", title));
  const head = made("tr");
  for (const text of [_("Row"), _("Field"), _("What to do")]) head.append(made("th", text, { scope: "col" }));
  whole.append(head);
  for (const one of found.slice(0, MOST)) {
    const line = made("tr");
    for (const text of [one.row ?? "—", one.column || one.field || "—", chinese ? one.zh : one.en]) line.append(made("td", String(text)));
    whole.append(line);
  }
  return whole;
}

function show(report, into) {
  const good = report.faults.length === 0;
  const counts = _("%(added)s new, %(changed)s changed, %(unchanged)s as they were", report);
  const taken = report.taken ? _("Imported:") : _("The file is good:");
  const says = good ? `${taken} ${counts}` : _("%(count)s things are wrong; nothing was taken.", { count: report.fault_count });
  into.replaceChildren(made("p", says, { className: good ? "done" : "fault" }));
  if (!good) into.append(table(report.faults, _("What is wrong")));
  if (report.warnings.length) into.append(table(report.warnings, _("To look at")));
  return good;
}

for (const form of document.querySelectorAll("form[data-import]")) {
  const [file, into, take] = [form.querySelector("input[type=file]"), form.querySelector(".report"), form.querySelector("button[type=button]")];
  const ask = async (dry) => {
    const buttons = [...form.querySelectorAll("button")];
    buttons.forEach((one) => { one.disabled = true; });
    try {
      const report = await call("POST", `${form.dataset.import}?dry_run=${dry}`, file.files[0]);
      take.hidden = !(show(report, into) && dry);
    } catch (fault) {
      take.hidden = true;
      if (!(fault instanceof Refused)) throw fault;
      if (fault.body && fault.body.faults) show(fault.body, into);
      else into.replaceChildren(made("p", fault.message, { className: "fault" }));
    } finally {
      buttons.forEach((one) => { one.disabled = false; });
    }
  };
  form.addEventListener("submit", (event) => { event.preventDefault(); ask(true); });
  file.addEventListener("change", () => { take.hidden = true; into.replaceChildren(); });
  take.addEventListener("click", () => ask(false));
}

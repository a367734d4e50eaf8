"""A street's policy as a form: its fields with their explanations, read from a policy and written into one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from collector.tickets.calendar import UNITS
from collector.tickets.policy import BUILT_IN, Policy
from collector.web import words
from collector.web.forms import Choices, Entry, Faults
from collector.web.language import N_, Text, Words

Say = Callable[[object], str]
FIRST: Final[Choices] = (
    ("shop", N_("The shop")),
    ("community", N_("The community (grid worker)")),
    ("officer", N_("An officer")),
)
AUDIENCES: Final[Choices] = (*FIRST, ("operator", N_("The operators")), ("room", N_("The command room")))
URGENCIES: Final[Choices] = tuple(words.URGENCIES.items())
CALENDARS: Final[Choices] = (("cn", N_("Public holidays and make-up days")), ("none", N_("Plain weeks")))
SPANS: Final[Choices] = tuple(
    zip(
        UNITS,
        (N_("minutes"), N_("hours"), N_("days"), N_("working minutes"), N_("working hours"), N_("working days")),
        strict=True,
    )
)


@dataclass(frozen=True)
class Item:
    """One field.

    Args:
        path: in the policy, with dots.
        kind: `text`, `number`, `choice`, `lines` (one value on each), `span`, `marks` (any of the choices).
        may_lack: nothing may stand there.
    """

    path: str
    label: Text
    kind: str = "text"
    hint: Text = ""
    choices: Choices = ()
    may_lack: bool = False


@dataclass(frozen=True)
class Table:
    """A list of tables, a row for each; a row without its first field is none."""

    path: str
    label: Text
    hint: Text
    items: tuple[Item, ...]


def _steps(path: str, *, may_lack: bool) -> tuple[Item, ...]:
    names = (
        ("review", N_("Review")),
        ("community", N_("Community calls")),
        ("dispatch", N_("Dispatch")),
        ("accept", N_("Accept")),
        ("handle", N_("Handle")),
        ("verify", N_("Verify")),
        ("rework", N_("Rework")),
        ("appeal", N_("Decide an appeal")),
    )
    return tuple(Item(f"{path}.{name}", text, "span", may_lack=may_lack) for name, text in names)


SECTIONS: Final[tuple[tuple[Text, tuple[Item | Table, ...]], ...]] = (
    (
        N_("Who comes first"),
        (
            Item("first", N_("First told once confirmed"), "choice", "", FIRST),
            *(
                Item(f"rules.{rule}.{name}", Words(f"{zh}：{kind.zh}", f"{en}: {kind.en}"), "choice", "", choices, True)
                for rule, zh, en in (("encroachment", "店外经营", "Encroachment"), ("crowding", "人群聚集", "Crowding"))
                for name, kind, choices in (
                    ("first", Words("先找谁", "first told"), FIRST),
                    ("urgency", Words("紧急程度", "urgency"), URGENCIES),
                )
            ),
            Item("region", N_("District"), "text", N_("Six digits, for case numbers; without it cases have none.")),
            Item("timezone", N_("Time zone")),
        ),
    ),
    (
        N_("The shop's own minutes"),
        (
            Item("shop.minutes", N_("To put it right"), "span", N_("From when the shop was told.")),
            Item(
                "shop.remind_minutes", N_("Reminder"), "number", N_("Minutes before they end; empty: none."), (), True
            ),
            Item(
                "shop.grace_s", N_("Patience"), "number", N_("Seconds after they end, until the community is called.")
            ),
            Item("shop.tell_within", N_("Told within"), "span", N_("Else an operator has to see to it.")),
            Item("shop.notices_a_day", N_("Notices a day"), "number", N_("To one shop at most, of all its tickets.")),
        ),
    ),
    (
        N_("Quiet hours"),
        (
            Item(
                "quiet.hours", N_("Hours"), "lines", N_("Such as 22:00-07:00 or Sa-Su 22:00-09:00, one on each line.")
            ),
            Item("quiet.audiences", N_("Who is not told then"), "marks", "", AUDIENCES),
        ),
    ),
    (
        N_("Working time"),
        (
            Item("work.days", N_("Working days"), "text", N_("Such as Mo-Fr.")),
            Item("work.hours", N_("Hours"), "lines", N_("Such as 08:30-12:00, one on each line.")),
            Item("work.calendar", N_("Calendar"), "choice", "", CALENDARS),
        ),
    ),
    (N_("Deadlines"), _steps("deadlines", may_lack=False)),
    (N_("Deadlines where it is urgent; empty: as above"), _steps("urgent", may_lack=True)),
    (N_("Deadlines where it is very urgent; empty: as above"), _steps("very_urgent", may_lack=True)),
    (
        N_("Repeated offences, unreviewed notices, escalation"),
        (
            Table(
                "offences",
                N_("Repeated offences"),
                N_("From the second, third … confirmed ticket of a shop on."),
                (
                    Item("count", N_("From offence number"), "number"),
                    Item("within_days", N_("within days"), "number"),
                    Item("first", N_("First told"), "choice", "", FIRST, True),
                    Item("shop_minutes", N_("The shop's minutes"), "number", "", (), True),
                    Item("urgency", N_("Urgency"), "choice", "", URGENCIES, True),
                ),
            ),
            Table(
                "unreviewed",
                N_("Told before a person has looked"),
                N_("In these hours; a person still reviews before anything is registered. Empty: never."),
                (
                    Item("hours", N_("Hours"), "lines"),
                    Item("rules", N_("Rules"), "lines"),
                    Item("zones", N_("camera/zone, * for any"), "lines"),
                ),
            ),
            Table(
                "escalation",
                N_("Who hears of what is overdue"),
                N_("So long after the deadline, in order."),
                (
                    Item("after", N_("After the deadline"), "span"),
                    Item("to", N_("Who is told"), "choice", "", AUDIENCES),
                    Item("whom", N_("A person; empty: all of them")),
                ),
            ),
        ),
    ),
)


def _at(values: Any, path: str) -> Any:
    for name in path.split("."):
        values = None if values is None else values.get(name)
    return values


def _put(values: dict[str, Any], path: str, value: Any) -> None:
    *inner, last = path.split(".")
    for name in inner:
        values = values.setdefault(name, {})
    values[last] = value


def _flat(item: Item, name: str, value: Any) -> dict[str, str]:
    """A value as the fields of a form."""
    if item.kind == "span":
        unit, amount = next(iter(value.items())) if value else ("", "")
        return {name: str(amount), f"{name}.unit": unit or "minutes"}
    if item.kind == "lines":
        return {name: "\n".join(value or ())}
    if item.kind == "marks":
        return {f"{name}:{one}": "1" for one in value or ()}
    return {name: "" if value is None else str(value)}


def fields_of(policy: Policy) -> dict[str, str]:
    """A policy as the fields of its form."""
    values = policy.model_dump(mode="json")
    found: dict[str, str] = {}
    for _, items in SECTIONS:
        for item in items:
            if isinstance(item, Table):
                for row, one in enumerate(values[item.path]):
                    for inner in item.items:
                        found |= _flat(inner, f"{item.path}.{row}.{inner.path}", one.get(inner.path))
            else:
                found |= _flat(item, item.path, _at(values, item.path))
    return found


MOST_ROWS: Final = 8
"""Of a table on the form; what a policy has beyond is kept as it is."""


def rows(table: Table, fields: Mapping[str, str]) -> int:
    """How many rows a table shows: those that there are, and an empty one."""
    used = [int(name.split(".")[1]) for name, value in fields.items() if name.startswith(f"{table.path}.") and value]
    first = table.items[0].path
    return min(max((n for n in used if fields.get(f"{table.path}.{n}.{first}")), default=-1) + 2, MOST_ROWS)


def shown(item: Item, name: str, fields: Mapping[str, str], say: Say) -> str:
    """A field as a reader reads it."""
    value = fields.get(name, "")
    if item.kind == "span":
        unit = say(dict(SPANS).get(fields.get(f"{name}.unit", ""), ""))
        return f"{value} {unit}" if value else ""
    if item.kind == "marks":
        return ", ".join(say(text) for one, text in item.choices if fields.get(f"{name}:{one}"))
    if item.kind == "choice":
        return say(dict(item.choices).get(value, value))
    return ", ".join(value.split("\n"))


def changes(before: Mapping[str, str], after: Mapping[str, str], say: Say) -> list[tuple[str, str, str]]:
    """What differs: name of the field, before and after."""
    found = []
    for label, item, name in _all(before, after, say):
        pair = shown(item, name, before, say), shown(item, name, after, say)
        if pair[0] != pair[1]:
            found.append((label, *pair))
    return found


def labels(fields: Mapping[str, str], say: Say) -> dict[str, str]:
    """What each field is called among all, by its name."""
    return {name: label for label, _, name in _all(fields, fields, say)}


def _all(before: Mapping[str, str], after: Mapping[str, str], say: Say) -> Iterator[tuple[str, Item, str]]:
    for title, items in SECTIONS:
        for item in items:
            if isinstance(item, Table):
                for row in range(max(rows(item, before), rows(item, after))):
                    for one in item.items:
                        yield f"{say(item.label)} {row + 1} · {say(one.label)}", one, f"{item.path}.{row}.{one.path}"
            else:
                yield f"{say(title)} · {say(item.label)}", item, item.path


def read(fields: Mapping[str, str], base: Policy) -> tuple[Policy | None, dict[str, list[Text]]]:
    """The policy of a form, over what the form has no fields for; or what is wrong, by field."""
    values = base.model_dump(mode="json")
    faults: dict[str, list[Text]] = {}
    kept: dict[str, list[int]] = {}
    for _, items in SECTIONS:
        for item in items:
            if isinstance(item, Table):
                kept[item.path] = [
                    row for row in range(MOST_ROWS) if fields.get(f"{item.path}.{row}.{item.items[0].path}", "").strip()
                ]
                values[item.path] = [
                    {
                        one.path: value
                        for one in item.items
                        if (value := _value(one, f"{item.path}.{row}.{one.path}", fields, faults)) not in (None, [])
                    }
                    for row in kept[item.path]
                ] + values[item.path][MOST_ROWS:]
            else:
                _put(values, item.path, _value(item, item.path, fields, faults))
    values["rules"] = {name: rule for name, rule in values["rules"].items() if any(rule.values())}
    if faults:
        return None, faults
    try:
        return Policy.model_validate(values), {}
    except ValidationError as fault:
        for one in fault.errors(include_url=False):
            steps = [str(step) for step in one["loc"]]
            if len(steps) > 1 and steps[0] in kept and steps[1].isdecimal():
                steps[1] = str(kept[steps[0]][int(steps[1])])
            faults.setdefault(_named(steps), []).append(_said(one))
        return None, faults


def _value(item: Item, name: str, fields: Mapping[str, str], faults: dict[str, list[Text]]) -> Any:
    text = fields.get(name, "").replace("\r", "").strip()
    if item.kind == "marks":
        return [one for one, _ in item.choices if fields.get(f"{name}:{one}")]
    if item.kind == "lines":
        return [line.strip() for line in text.split("\n") if line.strip()]
    if item.kind in ("number", "span"):
        if not text and item.may_lack:
            return None
        if not text.isdecimal() or len(text) > 7:
            faults.setdefault(name, []).append(Words("应为整数", "expected a whole number"))
            return None
        return int(text) if item.kind == "number" else {fields.get(f"{name}.unit", "minutes"): int(text)}
    return text if text or not item.may_lack else None


def _named(steps: Sequence[str]) -> str:
    """The field that a fault is of: the longest of them that it lies in."""
    names = {item.path for _, items in SECTIONS for item in items if isinstance(item, Item)}
    tables = {item.path for _, items in SECTIONS for item in items if isinstance(item, Table)}
    if len(steps) > 2 and steps[0] in tables:
        return ".".join(steps[:3])
    return next((path for n in range(len(steps), 0, -1) if (path := ".".join(steps[:n])) in names), "")


def _said(fault: Any) -> Words:
    context = fault.get("ctx", {})
    for name, zh, en in (
        ("ge", "至少为", "at least"),
        ("le", "最多为", "at most"),
        ("min_length", "至少要有", "at least"),
    ):
        if name in context:
            return Words(f"{zh} {context[name]}", f"expected {en} {context[name]}")
    text = fault["msg"].removeprefix("Value error, ")
    zh = "时段写法如 22:00-07:00 或 Mo-Fr 08:00-12:00" if text.startswith("expected hours") else f"无法使用（{text}）"
    return Words(zh, text)


_NORMAL: Final = words.URGENCIES["normal"]
_AS_ABOVE: Final = N_("As above (%(value)s)")
_AS_USUAL: Final = N_("As usual (%(value)s)")
DEFAULTS: Final = fields_of(BUILT_IN)


def entries(fields: Mapping[str, str], faults: Faults, say: Say) -> list[tuple[str, list[Any]]]:
    """The form, section by section: entries, and for tables `{label, hint, rows}`."""

    def unset(name: str) -> str:
        if not name.startswith("rules."):
            return say(N_("As for any other ticket"))
        first = name.endswith(".first")
        text, usual = (_AS_ABOVE, dict(FIRST).get(fields.get("first", ""), "")) if first else (_AS_USUAL, _NORMAL)
        return say(text) % {"value": say(usual)}

    def entry(item: Item, name: str, default: str = "") -> Entry:
        blank: Choices = (("", unset(name)),) if item.may_lack else ()
        usual = say(N_("Usual: %(value)s")) % {"value": default} if default else ""
        hint = " ".join(filter(None, (say(item.hint), usual)))
        marked = "\n".join(one for one, _ in item.choices if fields.get(f"{name}:{one}"))
        return Entry(
            name,
            item.label,
            marked if item.kind == "marks" else fields.get(name, ""),
            "area" if item.kind == "lines" else item.kind,
            hint,
            choices=SPANS if item.kind == "span" else (*blank, *item.choices),
            unit=fields.get(f"{name}.unit", "minutes"),
            faults=faults.get(name, ()),
        )

    found = []
    for title, items in SECTIONS:
        section: list[Any] = []
        for item in items:
            if isinstance(item, Table):
                lines = [
                    [entry(one, f"{item.path}.{row}.{one.path}") for one in item.items]
                    for row in range(rows(item, fields))
                ]
                section.append({"label": item.label, "hint": item.hint, "rows": lines})
            else:
                section.append(entry(item, item.path, shown(item, item.path, DEFAULTS, say)))
        found.append((say(title), section))
    return found

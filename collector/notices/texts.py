"""What notices say: templates with named fields, the texts that come with the program, and their length as SMS."""

import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal
from zoneinfo import ZoneInfo

Language = Literal["zh", "en"]
ANY: Final = "*"

FIELDS: Final = {
    "center": "name of the street center",
    "street": "the street's id",
    "ticket": "number of the ticket",
    "ref": "the same with a sign, #7; empty where there is none",
    "rule": "what it is about, such as 店外经营",
    "shop": "name of the shop",
    "place": "box, camera and zone",
    "level": "urgency",
    "since": "when it was first seen, HH:MM",
    "until": "by when, HH:MM, with the date where that is another day; empty where nothing is due",
    "minutes": "how many minutes there are; empty where nothing is due",
    "time": "the same as words: 请在 5 分钟内 / within 5 minutes",
    "link": "address of the shop's own page; empty for others",
    "token": "the last part of that address alone, for templates of SMS providers",
    "contact": "whom a shop may call",
    "objection": "how to object: by the link, by telephone, or both",
    "text": "what an alert says beyond its template",
}
"""All fields that a template may have."""

SAYS_HOW_TO_OBJECT: Final = ("objection", "link", "token")
"""A text for a shop has one of these."""


KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "shop_notice": ("shop",),
    "shop_reminder": ("shop",),
    "alert": ("operator",),
    "unreviewed": ("operator",),
    "undelivered": ("operator",),
    "to_dispatch": ("operator",),
    "unseen": ("operator",),
    "objection": ("operator",),
    "appeal": ("operator",),
    "task": ("officer", "community"),
    "rework": ("officer",),
    "taken_over": ("officer",),
    "overdue": ("operator", "community", "officer", "room"),
    "escalated": ("operator", "community", "officer", "room"),
}
"""What notices are about, and whom they go to, the first as a rule."""


class TemplateError(Exception):
    """A template that cannot be used; one line that names the field."""


@dataclass(frozen=True)
class Text:
    """A rendered notice."""

    subject: str
    body: str


@dataclass(frozen=True)
class Facts:
    """What a notice is about.

    Args:
        now_ms: when it is rendered.
        due_ms: by when; None where nothing is due.
    """

    kind: str
    language: Language
    zone: ZoneInfo
    now_ms: int
    center: str
    street: str = ""
    ticket: int | None = None
    rule: str = ""
    shop: str = ""
    place: str = ""
    level: str = ""
    since_ms: int | None = None
    due_ms: int | None = None
    contact: str = ""
    text: str = ""


RULES: Final = {
    "encroachment": ("店外经营", "goods or furniture outside the shop"),
    "crowding": ("人群聚集", "crowding"),
    "loitering": ("人员徘徊", "loitering"),
}

TEXTS: Final[Mapping[tuple[str, str, str], Text]] = {
    ("shop", "shop_notice", "zh"): Text(
        "门前秩序温馨提示", "{center}提醒您：{since}起，{shop}门前疑有{rule}情况。{time}自行整改。{objection}"
    ),
    ("shop", "shop_notice", "en"): Text(
        "A friendly notice about your shop front",
        "{center}: since {since} the camera sees {rule} at {shop}. Please put it right {time}. {objection}",
    ),
    ("shop", "shop_reminder", "zh"): Text(
        "门前秩序再次提醒", "{center}再次提醒：{shop}门前{rule}情况尚未整改，{time}整改。{objection}"
    ),
    ("shop", "shop_reminder", "en"): Text(
        "Reminder about your shop front",
        "{center}: {rule} at {shop} is still there. Please put it right {time}. {objection}",
    ),
    ("shop", "appeal_upheld", "zh"): Text(
        "您的异议已被采纳",
        "{center}：{shop}，您对工单{ticket}的异议已被采纳，无需再做任何事。说明：{text}。{objection}",
    ),
    ("shop", "appeal_upheld", "en"): Text(
        "Your objection was accepted",
        "{center}: {shop}, your objection to ticket {ticket} was accepted, nothing more is to be done. Why: {text}. "
        "{objection}",
    ),
    ("shop", "appeal_rejected", "zh"): Text(
        "您的异议未被采纳", "{center}：{shop}，您对工单{ticket}的异议经复核未被采纳。原因：{text}。{objection}"
    ),
    ("shop", "appeal_rejected", "en"): Text(
        "Your objection was not accepted",
        "{center}: {shop}, your objection to ticket {ticket} was looked at and not accepted. Why: {text}. {objection}",
    ),
    ("shop", ANY, "zh"): Text("{center}通知", "{center}：{shop}，工单{ticket}。{text}{objection}"),
    ("shop", ANY, "en"): Text("Notice of {center}", "{center}: {shop}, ticket {ticket}. {text} {objection}"),
    (ANY, "task", "zh"): Text(
        "任务 {ref} {rule} {shop} {text}", "【任务】工单{ref} {rule} {shop} {place}，{since}起。{time}处理。{text}"
    ),
    (ANY, "task", "en"): Text(
        "Task {ref} {rule} {shop} {text}",
        "[Task] {ref}: {rule}, {shop} {place}, since {since}. Handle it {time}. {text}",
    ),
    (ANY, "taken_over", "zh"): Text(
        "改派 {ref} {rule} {shop} {text}", "【改派】工单{ref} {rule} {shop} {place} 已由他人承办，您无需再处理。{text}"
    ),
    (ANY, "taken_over", "en"): Text(
        "Taken over {ref} {rule} {shop} {text}",
        "[Taken over] {ref}: {rule}, {shop} {place}; somebody else has it, nothing is left for you to do. {text}",
    ),
    (ANY, "overdue", "zh"): Text(
        "超时 {ref} {rule} {shop} {text}", "【超时】工单{ref} {rule} {shop} {place} 已超过时限{until}。{text}"
    ),
    (ANY, "overdue", "en"): Text(
        "Overdue {ref} {rule} {shop} {text}", "[Overdue] {ref}: {rule}, {shop} {place}; it was due at {until}. {text}"
    ),
    (ANY, "escalated", "zh"): Text(
        "督办 {ref} {rule} {shop} {text}", "【督办】工单{ref} {rule} {shop} {place} 已升级（{level}）。{text}"
    ),
    (ANY, "escalated", "en"): Text(
        "Escalated {ref} {rule} {shop} {text}", "[Escalated] {ref}: {rule}, {shop} {place}, level {level}. {text}"
    ),
    (ANY, "undelivered", "zh"): Text(
        "送达不明 {ref} {shop} {text}", "【送达不明】工单{ref} {rule}：{shop}可能没有收到提醒，请致电或上门告知。{text}"
    ),
    (ANY, "undelivered", "en"): Text(
        "Not surely told {ref} {shop} {text}",
        "[Not surely told] {ref}: {rule}; {shop} may not have got its notice. Please call or go there. {text}",
    ),
    (ANY, "objection", "zh"): Text(
        "商户异议 {ref} {shop}", "【商户异议】工单{ref} {rule} {shop}：工单已不能受理，请查看。{text}"
    ),
    (ANY, "objection", "en"): Text(
        "A shop objects {ref} {shop}",
        "[A shop objects] {ref}: {rule}, {shop}; the ticket is past this, please look. {text}",
    ),
    (ANY, "unreviewed", "zh"): Text(
        "未复核 {ref} {rule} {shop} {text}",
        "【请复核】工单{ref} {rule} {shop} {place} 已按策略先行提醒，请查看图片。{text}",
    ),
    (ANY, "unreviewed", "en"): Text(
        "To be reviewed {ref} {rule} {shop} {text}",
        "[To be reviewed] {ref}: {rule}, {shop} {place}; told by policy already. Please look at the picture. {text}",
    ),
    (ANY, "unseen", "zh"): Text(
        "未能核查 {ref} {rule} {shop} {text}", "【请人工核查】工单{ref} {rule} {shop} {place} 摄像头未能看清。{text}"
    ),
    (ANY, "unseen", "en"): Text(
        "Not seen {ref} {rule} {shop} {text}",
        "[To be checked by a person] {ref}: {rule}, {shop} {place}; the camera could not see. {text}",
    ),
    (ANY, ANY, "zh"): Text("提醒 {ref} {rule} {shop} {text}", "【{center}】{ref} {rule} {shop} {place} {text}"),
    (ANY, ANY, "en"): Text("Notice {ref} {rule} {shop} {text}", "[{center}] {ref} {rule} {shop} {place} {text}"),
}
"""By audience, kind and language; `*` is any. The subject is also the notice's line in a digest."""


def field_names(template: str) -> list[str]:
    """The fields of a template; raises TemplateError for one that is unknown, or for more than a plain name."""
    names = []
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as fault:
        raise TemplateError(
            "字段应写作 {field}，花括号本身写 {{ 或 }} / "
            f"expected {{field}}, and {{{{ or }}}} for a brace itself; got: {fault}"
        ) from None
    for _, name, form, conversion in parts:
        if name is None:
            continue
        if name not in FIELDS:
            raise TemplateError(f"没有字段 {{{name}}} / unknown field {{{name}}}; there are {', '.join(FIELDS)}")
        if form or conversion:
            raise TemplateError(
                f"字段 {{{name}}} 只能写名称 / field {{{name}}}: expected the name alone, got more behind it"
            )
        names.append(name)
    return names


def fill(template: str, values: Mapping[str, str]) -> str:
    """Put values into a template that `field_names` has let through."""
    return template.format_map(values)


def check(audience: str, text: Text) -> None:
    """Whether a text may be used; raises TemplateError."""
    names = [*field_names(text.body), *field_names(text.subject)]
    if audience == "shop" and not set(names) & set(SAYS_HOW_TO_OBJECT):
        raise TemplateError(
            "给商户的提醒必须写明申诉途径，请加入 {objection} 或 {link} / "
            "a notice to a shop always says how to object: put {objection} or {link} into it"
        )


def choose(own: Mapping[tuple[str, str, str], Text], audience: str, kind: str, language: str) -> Text:
    """The text for a notice: the center's own before the one that comes with the program, the nearest first."""
    nearest = [(audience, kind), (ANY, kind), (audience, ANY), (ANY, ANY)]
    if audience == "shop":
        # what is written for officers is not for shops
        nearest = [("shop", kind), ("shop", ANY)]
    for name in nearest:
        for texts in (own, TEXTS):
            found = texts.get((*name, language))
            if found is not None:
                return found
    raise TemplateError(f"expected a text for {audience}, {kind}, {language}; there is none")


def values(facts: Facts, *, link: str = "", token: str = "") -> dict[str, str]:
    """All fields of a notice as text; `link` is the address of the shop's page, `token` its last part."""
    zh = facts.language == "zh"
    minutes = "" if facts.due_ms is None else str(max(1, (facts.due_ms - facts.now_ms) // 60_000))
    time = ("请尽快" if zh else "as soon as you can") if not minutes else _within(int(minutes), zh=zh)
    return {
        "center": facts.center,
        "street": facts.street,
        "ticket": "" if facts.ticket is None else str(facts.ticket),
        "ref": "" if facts.ticket is None else f"#{facts.ticket}",
        "rule": RULES.get(facts.rule, (facts.rule, facts.rule))[0 if zh else 1],
        "shop": facts.shop,
        "place": facts.place,
        "level": facts.level,
        "since": _clock(facts.since_ms, facts),
        "until": _clock(facts.due_ms, facts),
        "minutes": minutes,
        "time": time,
        "link": link,
        "token": token,
        "contact": facts.contact,
        "objection": _objection(link, facts.contact, zh=zh),
        "text": facts.text,
    }


def render(text: Text, found: Mapping[str, str]) -> Text:
    """Fill a text; spaces that empty fields leave are taken out."""
    return Text(_tidy(fill(text.subject, found)), _tidy(fill(text.body, found)))


def _tidy(text: str) -> str:
    return "\n".join(" ".join(line.split()) for line in text.splitlines()).strip()


def _within(minutes: int, *, zh: bool) -> str:
    if minutes < 180:
        return f"请在{minutes}分钟内" if zh else f"within {minutes} minutes"
    hours = minutes // 60
    return f"请在{hours}小时内" if zh else f"within {hours} hours"


def _clock(at_ms: int | None, facts: Facts) -> str:
    if at_ms is None:
        return ""
    at = datetime.fromtimestamp(at_ms / 1000, facts.zone)
    today = datetime.fromtimestamp(facts.now_ms / 1000, facts.zone)
    return f"{at:%H:%M}" if at.date() == today.date() else f"{at:%m-%d %H:%M}"


def _objection(link: str, contact: str, *, zh: bool) -> str:
    if zh:
        ways = [f"查看图片或申诉：{link}"] if link else []
        return "，".join([*ways, f"{'或' if link else '如有异议请'}致电{contact}"] if contact else ways)
    ways = [f"Picture and objection: {link}"] if link else []
    return ", ".join([*ways, f"{'or call' if link else 'To object, call'} {contact}"] if contact else ways)


def sms_parts(text: str) -> tuple[int, int]:
    """Characters and parts of a Chinese SMS: up to 70 in one, else 67 in each, letters and Chinese alike.

    https://help.aliyun.com/zh/sms/product-overview/billing (计费条数); counted in UTF-16, as networks do.
    """
    count = len(text.encode("utf-16-le")) // 2
    return count, 1 if count <= 70 else -(-count // 67)


def audience_of(own: Iterable[tuple[str, str, str]], kind: str, audience: str | None = None) -> str:
    """Whom a kind of notice goes to: as asked, else as a rule; raises TemplateError for what nobody is ever sent.

    `own` are the keys of the center's own texts; a kind that has one is a kind.
    """
    kinds = {name: set(told) for name, told in KINDS.items()}
    for told, name, _ in (*TEXTS, *own):
        if name != ANY:
            kinds.setdefault(name, set()).add(told)
    if kind not in kinds:
        raise TemplateError(f"kind: expected one of {', '.join(kinds)}, got {kind!r:.60}")
    allowed = kinds[kind]
    if audience is None:
        named = [*KINDS.get(kind, ()), *sorted(allowed)]
        return next((one for one in named if one != ANY), "operator")
    # what is written for shops is for them alone; among the center's people a route may send anything to anybody
    if not (allowed & {"shop"} if audience == "shop" else allowed - {"shop"}):
        raise TemplateError(f"audience: {kind} goes to {', '.join(sorted(allowed - {ANY}))}, got {audience!r:.60}")
    return audience

"""The page of what notices say: each text by kind, reader and language, and one tried against an example.

Texts are settings of the center (`[[notices.text]]`), read as it starts: the page shows what to put there.
"""

import json
from collections.abc import Mapping
from typing import Any, Final, get_args
from zoneinfo import ZoneInfo

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from collector.notices import desk as notices_desk
from collector.notices import texts
from collector.notices.settings import Audience, NoticesSection, ShopPagesSection, length_of
from collector.notices.texts import FIELDS, KINDS, TemplateError
from collector.web.forms import Choices, Entry
from collector.web.language import N_, Text, Words
from collector.web.pages import Page, Showing
from collector.web.policy_form import AUDIENCES
from collector.web.rights import Desk, needs
from collector.web.rights import Fields as Sent

NAMES: Final[Mapping[str, Text]] = {
    "shop_notice": N_("Notice to the shop"),
    "shop_reminder": N_("Reminder to the shop"),
    "alert": N_("Alert"),
    "unreviewed": N_("Told before review"),
    "undelivered": N_("Not surely told"),
    "to_dispatch": N_("To be dispatched"),
    "unseen": N_("The camera could not see"),
    "objection": N_("A shop objects"),
    "appeal": N_("Appeal"),
    "task": N_("Task"),
    "rework": N_("Rework"),
    "taken_over": N_("Taken over by somebody else"),
    "overdue": N_("Overdue"),
    "escalated": N_("Escalated"),
}
MEANINGS: Final = {
    "center": "中心名称",
    "street": "街道编号",
    "ticket": "工单号",
    "ref": "带 # 的工单号，没有则为空",
    "rule": "事项，如店外经营",
    "shop": "店铺名称",
    "place": "盒子、摄像头和区域",
    "level": "紧急程度",
    "since": "首次发现时间",
    "until": "截止时间，没有则为空",
    "minutes": "剩余分钟数，没有则为空",
    "time": "文字形式的时限，如“请在5分钟内”",
    "link": "商户专属页面地址，其他人为空",
    "token": "该地址的最后一段，供短信模板使用",
    "contact": "商户可致电的号码",
    "objection": "申诉途径：链接、电话或两者",
    "text": "模板之外的说明",
}
LANGUAGES: Final[Choices] = (("zh", Words("中文", "Chinese")), ("en", Words("英文", "English")))
LONGEST: Final = 2000


def router(desk: Desk, told: tuple[NoticesSection, ShopPagesSection] | None, center: str, zone: ZoneInfo) -> APIRouter:
    """The routes; without settings there are the program's own texts."""
    routes = APIRouter(include_in_schema=False)
    section, shop_pages = told or (NoticesSection(), ShopPagesSection())

    def shown(page: Page, kind: str, audience: str, language: str, typed: texts.Text | None = None) -> HTMLResponse:
        kind = kind if kind in KINDS else next(iter(KINDS))
        language = language if language in ("zh", "en") else page.language
        try:
            to = texts.audience_of(section.texts(), kind, audience if audience in get_args(Audience) else None)
        except TemplateError:
            to = texts.audience_of(section.texts(), kind)
        now = texts.choose(section.texts(), to, kind, language)
        text = typed or now
        facts = notices_desk.sample(kind, language, section, center, zone, desk.now_ms())
        fault, found = "", None
        try:
            texts.check(to, text)
            found = texts.render(text, notices_desk.sample_values(facts, to, shop_pages))
        except TemplateError as wrong:
            fault = str(wrong)
        characters, parts = length_of(found.body) if found else (0, 0)
        return page(
            "texts.html",
            choices=[
                Entry("kind", N_("Kind"), kind, "choice", choices=tuple((one, NAMES[one]) for one in KINDS)),
                Entry("audience", N_("To whom"), to, "choice", choices=AUDIENCES),
                Entry("language", N_("Language"), language, "choice", choices=LANGUAGES),
            ],
            asked={"kind": kind, "audience": to, "language": language},
            subject=Entry("subject", N_("Subject, also its line in a digest"), text.subject),
            body=Entry("body", N_("Text"), text.body, "area", faults=(fault,) if fault else ()),
            own=now in section.texts().values(),
            found=found,
            fault=fault,
            length={"characters": characters, "parts": parts},
            fields=[(name, Words(MEANINGS.get(name, meaning), meaning)) for name, meaning in FIELDS.items()],
            settings="" if typed is None or fault else _toml(kind, to, language, text),
        )

    @routes.get("/templates", dependencies=[needs("notices.read")])
    def show_texts(page: Showing, kind: str = "", audience: str = "", language: str = "") -> HTMLResponse:
        return shown(page, kind, audience, language)

    @routes.post("/templates", dependencies=[needs("notices.read")])
    def try_text(page: Showing, fields: Sent) -> HTMLResponse:
        typed = texts.Text(fields.get("subject", "")[:200], fields.get("body", "").replace("\r", "")[:LONGEST])
        kind, audience, language = (fields.get(name, "") for name in ("kind", "audience", "language"))
        return shown(page, kind, audience, language, typed)

    return routes


def _toml(kind: str, audience: str, language: str, text: texts.Text) -> str:
    values: dict[str, Any] = {"audience": audience, "kind": kind, "language": language, **vars(text)}
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in values.items()]
    return "\n".join(["[[notices.text]]", *lines])

"""Calls about notices."""

from typing import Annotated, Any, Final, Literal, get_args
from zoneinfo import ZoneInfo

from fastapi import APIRouter, HTTPException, Query
from pydantic import BaseModel, ConfigDict, Field

from collector.notices import desk as notices_desk
from collector.notices.settings import Audience, NoticesSection, ShopPagesSection
from collector.notices.texts import TemplateError, audience_of
from collector.store import NoticeRow
from collector.web.plain import Number
from collector.web.rights import Acting, Desk, check, in_streets, needs

MOST_MINUTES: Final = 7 * 24 * 60


class Decision(BaseModel):
    """What a person says of a notice of which nobody knows."""

    model_config = ConfigDict(extra="forbid")

    decision: Literal["told", "again", "failed"]
    reason: str = Field(min_length=1, max_length=500)


def router(
    desk: Desk,
    told: tuple[NoticesSection, ShopPagesSection] | None = None,
    center: str = "CityEye",
    timezone: str = "Asia/Shanghai",
) -> APIRouter:
    """The routes; without the settings there are no channels, and the program's own texts."""
    routes = APIRouter()
    section, shop_pages = told or (NoticesSection(), ShopPagesSection())

    @routes.get("/api/notices", dependencies=[needs("notices.read")])
    def list_notices(
        by: Acting, ticket: Number | None = None, state: str | None = None, limit: int = 200
    ) -> list[dict[str, Any]]:
        own = in_streets(by, "notices.read")
        with desk.store.transaction() as session:
            rows = notices_desk.listed(session, ticket=ticket, state=state, streets=own, limit=limit)
            return [notices_desk.as_json(session, row) for row in rows]

    @routes.get("/api/notices/channels", dependencies=[needs("notices.read")])
    def list_channels() -> list[dict[str, Any]]:
        with desk.store.transaction() as session:
            return notices_desk.channels(session, section)

    @routes.get("/api/notices/preview", dependencies=[needs("notices.read")])
    def preview(
        kind: str = "shop_notice",
        audience: str | None = None,
        language: Literal["zh", "en"] = "zh",
        shop: str = "",
        minutes: Annotated[int, Query(ge=0, le=MOST_MINUTES)] | None = 5,
    ) -> dict[str, Any]:
        if audience is not None and audience not in get_args(Audience):
            raise HTTPException(422, f"audience: expected one of {', '.join(get_args(Audience))}, got {audience!r:.40}")
        facts = notices_desk.sample(
            kind, language, section, center, ZoneInfo(timezone), desk.now_ms(), shop=shop, minutes=minutes
        )
        try:
            to = audience_of(section.texts(), kind, audience)
            return vars(notices_desk.preview(facts, to, section, shop_pages))
        except TemplateError as fault:
            raise HTTPException(422, str(fault)) from None

    @routes.get("/api/notices/{number}", dependencies=[needs("notices.read")])
    def get_notice(by: Acting, number: Number) -> dict[str, Any]:
        with desk.store.transaction() as session:
            row = session.get(NoticeRow, number)
            if row is None:
                raise HTTPException(404, f"there is no notice {number}")
            check(by, "notices.read", row.street)
            return notices_desk.as_json(session, row, whole=True)

    @routes.post("/api/notices/{number}/decide", dependencies=[needs("notices.write")])
    def decide(by: Acting, number: Number, wanted: Decision) -> dict[str, Any]:
        try:
            with desk.store.writing() as session:
                known = session.get(NoticeRow, number)
                if known is not None:
                    check(by, "notices.write", known.street)
                row = notices_desk.decide(session, by, number, wanted.decision, wanted.reason, desk.now_ms())
                found = notices_desk.as_json(session, row, whole=True)
        except notices_desk.DecisionError as fault:
            raise HTTPException(409, str(fault)) from None
        desk.changed()
        return found

    return routes

"""Indicators as JSON, and reports: a page that lists them, and the files."""

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote
from zoneinfo import ZoneInfo

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import HTMLResponse, Response
from sqlalchemy.orm import Session

from collector.indicators import footfall, keeping
from collector.indicators.apart import apart
from collector.indicators.figures import Loaded, Period
from collector.indicators.packs import day_start_ms
from collector.indicators.report import as_pdf, as_workbook, gather, month_of
from collector.papers.typefaces import typeface
from collector.people.actor import Actor
from collector.web import views
from collector.web.pages import Showing
from collector.web.rights import Acting, Desk, check, in_streets, needs

MOST_DAYS: Final = 400
DAYS, MONTHS = 31, 12
"""That the page lists."""
MEDIA: Final = {"pdf": "application/pdf", "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"}
By = Literal["street", "grid", "shop", "camera", "category", "hour", "weekday", "weekday_hour", "day", "week"]
Street = Annotated[str, Query(max_length=63)]


def period_of(session: Session, acting: Actor, first: date, last: date, street: str, zone: ZoneInfo) -> Period:
    """Of what somebody may see; raises HTTPException."""
    if not 0 <= (last - first).days < MOST_DAYS or not 1971 <= first.year <= last.year <= 9000:
        raise HTTPException(
            422,
            f"期间应为 1 至 {MOST_DAYS} 天，收到 {first} 至 {last} / "
            f"expected 1 to {MOST_DAYS} days, got {first} to {last}",
        )
    if street:
        check(acting, "indicators.read", street)
        return Period(first, last, (street,), zone)
    own = in_streets(acting, "indicators.read")
    every = keeping.streets(session)
    return Period(first, last, tuple(every if own is None else sorted(own)), zone)


def router(desk: Desk, center: str, zone: ZoneInfo, face: Path | None = None) -> APIRouter:
    """The routes; `center` is its name, `face` a file with the typeface of PDFs."""
    routes = APIRouter()

    @routes.get("/api/indicators", dependencies=[needs("indicators.read")])
    def show_indicators(
        acting: Acting,
        first: Annotated[date, Query(alias="from")],
        last: Annotated[date, Query(alias="to")],
        by: By | None = None,
        street: Street = "",
    ) -> dict[str, Any]:
        """Indicators of the tickets that appeared on these days, the last one included; see docs/ref/indicators.md."""
        now_ms = desk.now_ms()
        with desk.store.reading() as session:
            period = period_of(session, acting, first, last, street, zone)
            loaded = Loaded(session, period, now_ms)
            parts = {} if by is None else apart(session, loaded, by)
        return {
            "from": first.isoformat(),
            "to": last.isoformat(),
            "timezone": zone.key,
            "streets": list(period.streets),
            "as_of": views.iso(now_ms),
            "all": loaded.whole().json,
            "by": by,
            "parts": [{"key": key, "name": name, **figures.json} for key, (name, figures) in parts.items()],
        }

    @routes.get("/api/footfall", dependencies=[needs("indicators.read")])
    def show_footfall(
        acting: Acting,
        first: Annotated[date, Query(alias="from")],
        last: Annotated[date, Query(alias="to")],
        street: Street = "",
    ) -> dict[str, Any]:
        """Mean and most of the people in each zone on these days, and the mean at each hour of the day."""
        with desk.store.reading() as session:
            period = period_of(session, acting, first, last, street, zone)
            from_ms, until_ms = day_start_ms(first, zone), day_start_ms(last + timedelta(days=1), zone)
            found = footfall.of_period(session, period.streets, from_ms, until_ms, zone)
        return {"from": first.isoformat(), "to": last.isoformat(), "zones": [vars(one) for one in found]}

    @routes.get("/reports", include_in_schema=False, dependencies=[needs("indicators.read")])
    def show_reports(page: Showing, acting: Acting, street: Street = "") -> HTMLResponse:
        today = datetime.fromtimestamp(desk.now_ms() / 1000, zone).date()
        with desk.store.transaction() as session:
            own = in_streets(acting, "indicators.read")
            streets = keeping.streets(session) if own is None else sorted(own)
        months = [today.replace(day=1)]
        while len(months) < MONTHS:
            months.append((months[-1] - timedelta(days=1)).replace(day=1))
        return page(
            "reports.html",
            streets=streets,
            street=street if street in streets else "",
            months=[f"{month:%Y-%m}" for month in months],
            days=[(today - timedelta(days=count)).isoformat() for count in range(DAYS)],
        )

    @routes.get("/reports/{name}.{kind}", include_in_schema=False, dependencies=[needs("indicators.read")])
    def fetch_report(
        page: Showing, acting: Acting, name: str, kind: Literal["pdf", "xlsx"], street: Street = ""
    ) -> Response:
        first, last = _named(name)
        with desk.store.reading() as session:
            period = period_of(session, acting, first, last, street, zone)
            report = gather(session, center, period, desk.now_ms())
        language: Literal["zh", "en"] = "en" if page.reader.language == "en" else "zh"
        content = as_pdf(report, typeface(face), language) if kind == "pdf" else as_workbook(report, language)
        file = f"cityeye-{f'{quote(street)}-' if street else ''}{name}.{kind}"
        headers = {"content-disposition": f'attachment; filename="{file}"', "cache-control": "no-store"}
        return Response(content, media_type=MEDIA[kind], headers=headers)

    return routes


def _named(name: str) -> tuple[date, date]:
    """The days of a report's name, a day or a month; raises HTTPException."""
    try:
        if len(name) == len("2026-10"):
            return month_of(date.fromisoformat(f"{name}-01"))
        day = date.fromisoformat(name) if len(name) == len("2026-10-31") else None
    except (ValueError, OverflowError):
        day = None
    if day is None:
        raise HTTPException(404, "没有这份报告 / there is no such report")
    return day, day

"""Statistics: indicators of any period and part of a center, the tickets behind each number, and both as files."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from collector.indicators import keeping, statistics
from collector.indicators.definitions import BY, REPEAT_DAYS, WEEKDAYS, Count, Share
from collector.indicators.figures import Loaded
from collector.indicators.packs import days
from collector.indicators.statistics import INDICATORS, Choice, Way
from collector.papers.typefaces import typeface
from collector.people.actor import Actor
from collector.store import Ticket
from collector.web import statistics_papers, views
from collector.web import statistics_view as shown
from collector.web.indicators_api import MEDIA, period_of
from collector.web.language import N_
from collector.web.pages import Showing
from collector.web.rights import Acting, Desk, in_streets, needs
from collector.web.ticket_pages import thumbnails

PERIODS: Final = {
    "today": N_("Today"),
    "week": N_("7 days"),
    "month": N_("This month"),
    "quarter": N_("This quarter"),
    "year": N_("This year"),
}
USUAL: Final = "month"
AGAIN: Final = (7, 14, REPEAT_DAYS)
A_PAGE: Final = 50
Key = Annotated[str, Query(max_length=200)]
Day = Annotated[str, Query(max_length=10)]


@dataclass(frozen=True)
class Asked:
    """What an address asks for.

    Args:
        period: one of PERIODS; empty: from `first` to `last`.
        measure: the indicator that is plotted.
        again: days within which something is there again.
    """

    period: str
    first: date
    last: date
    street: str = ""
    category: str = ""
    grid: str = ""
    shop: str = ""
    camera: str = ""
    measure: str = "reported"
    again: int = REPEAT_DAYS

    @property
    def choice(self) -> Choice:
        """Which tickets."""
        return Choice(self.category, self.grid, self.shop, self.camera)

    def query(self, **changes: object) -> str:
        """As short as it goes: what is usual is left out."""
        one = replace(self, **changes)  # type: ignore[arg-type]  # of its own fields
        days = {"period": one.period} if one.period else {"from": one.first, "to": one.last}
        names = ("street", "category", "grid", "shop", "camera", "measure", "again")
        more = {name: getattr(one, name) for name in names}
        usual = {"period": USUAL, "measure": "reported", "again": REPEAT_DAYS}
        return urlencode({name: value for name, value in (days | more).items() if value not in ("", usual.get(name))})

    def address(self, **changes: object) -> str:
        """Of the page."""
        query = self.query(**changes)
        return f"/statistics?{query}" if query else "/statistics"

    def behind(self, measure: str, **narrow: object) -> str:
        """Address of the tickets behind a number, whose days are said: tomorrow it is the same."""
        fixed = {name: narrow.pop(name) for name in ("first", "last", *statistics.SPLITS) if name in narrow}
        query = self.query(period="", measure=measure, again=REPEAT_DAYS, **fixed)
        more = {name: int(value) if value is True else value for name, value in narrow.items() if value is not None}
        return f"/statistics/tickets?{query}{'&' if more else ''}{urlencode(more)}"


def named(period: str, today: date) -> tuple[date, date]:
    """The days of one of PERIODS, up to today."""
    first = {
        "today": today,
        "week": today - timedelta(days=6),
        "month": today.replace(day=1),
        "quarter": today.replace(month=(today.month - 1) // 3 * 3 + 1, day=1),
        "year": today.replace(month=1, day=1),
    }
    return first[period], today


@dataclass(frozen=True)
class Seen:
    """What was read for a page.

    Args:
        found: the tickets that are asked for.
        every: how all of the period are taken apart.
        begin: the day of the first ticket, None: there is none yet.
    """

    loaded: Loaded
    found: Loaded
    every: Mapping[str, Way]
    begin: date | None


def router(desk: Desk, center: str, zone: ZoneInfo, face: Path | None = None) -> APIRouter:
    """The routes; `center` is its name, `face` a file with the typeface of PDFs."""
    routes = APIRouter(include_in_schema=False)

    def asked(
        first: Annotated[Day, Query(alias="from")] = "",
        last: Annotated[Day, Query(alias="to")] = "",
        period: Literal["", "today", "week", "month", "quarter", "year"] = "",
        street: Key = "",
        category: Key = "",
        grid: Key = "",
        shop: Key = "",
        camera: Key = "",
        measure: Key = "",
        again: Literal["", "7", "14", "30"] = "",
    ) -> Asked:
        """Days that are given go before the name of a period whose days they are not; raises HTTPException."""
        today = datetime.fromtimestamp(desk.now_ms() / 1000, zone).date()
        usual = named(period or USUAL, today)
        try:
            given = (
                date.fromisoformat(first or last or str(usual[0])),
                date.fromisoformat(last or first or str(usual[1])),
            )
        except ValueError:
            raise HTTPException(
                422,
                f"日期应为 2026-10-31 这样，收到 {first} 至 {last} / expected days as 2026-10-31, got {first}, {last}",
            ) from None
        name = (period or USUAL) if given == usual and (period or not first + last) else ""
        measure = measure if measure in INDICATORS else "reported"
        return Asked(name, *given, street, category, grid, shop, camera, measure, int(again or REPEAT_DAYS))

    Wish = Annotated[Asked, Depends(asked)]  # noqa: N806 - a type

    def read(session: Session, acting: Actor, wish: Asked, choice: Choice) -> Seen:
        period = period_of(session, acting, wish.first, wish.last, wish.street, zone)
        loaded = Loaded(session, period, desk.now_ms())
        every = statistics.ways(session, loaded)
        begin = statistics.since(session, period, wish.camera)
        return Seen(loaded, statistics.choose(loaded, every, choice), every, begin)

    def view(
        session: Session, seen: Seen, tell: shown.Teller, wish: Asked, names: Mapping[str, Mapping[str, str]]
    ) -> shown.View:
        found, period = seen.found, seen.loaded.period
        whole = found.whole()
        overview = shown.overview(tell, whole, lambda name: wish.address(measure=name))
        people = shown.people(tell, session, seen.loaded, wish.choice)
        fall = {} if people is None else {"footfall": people[0], "strips": people[1]}
        if not whole.counts["reported"] or seen.begin is None:
            return shown.View(overview, **fall)  # type: ignore[arg-type]  # of its own fields
        now_ms = desk.now_ms()
        by, parts = statistics.stretches(period, seen.begin, now_ms)
        only = (wish.measure,)
        ways = {"hour": found.by_hour, "day": found.by_day, "week": found.by_week}
        today = datetime.fromtimestamp(now_ms / 1000, zone).date()
        known = [day for day in days(period.first, period.last) if seen.begin <= day <= today]
        time, plot = shown.over_time(tell, by, parts, ways[by](only))
        return shown.View(
            overview,
            time,
            plot,
            shown.heat(tell, found, known),
            shown.groups(tell, found, seen.every, names, wish.address),
            shown.repeats(tell, found, names, wish.again),
            **fall,  # type: ignore[arg-type]  # of its own fields
        )

    def title(tell: shown.Teller, wish: Asked) -> str:
        first, last = (tell.reader.date(day) for day in (wish.first, wish.last))
        return first if first == last else f"{first} – {last}"

    @routes.get("/statistics", dependencies=[needs("indicators.read")])
    def show_statistics(page: Showing, acting: Acting, request: Request, wish: Wish) -> Response:
        said = request.query_params
        if "from" in said and (said.get("period") or not all(said.values())):  # as the form sends it
            return RedirectResponse(wish.address(), 303)
        own = in_streets(acting, "indicators.read")
        tell = shown.Teller(page.reader, INDICATORS[wish.measure], wish.behind)
        with desk.store.reading() as session:
            seen = read(session, acting, wish, wish.choice)
            names = shown.names_for(session, seen.loaded, seen.every, in_streets(acting, "places.read"))
            found = view(session, seen, tell, wish, names)
            streets = keeping.streets(session) if own is None else sorted(own)
        return page(
            "statistics.html",
            asked=wish,
            title=title(tell, wish),
            view=found,
            name=tell.name,
            means=shown.big(tell.of(tell.one.means)),
            silent="" if isinstance(tell.one, Count) else tell.of(tell.one.silent),
            known={**shown.known(names, seen.every, tell), "street": dict(zip(streets, streets, strict=True))},
            streets=streets,
            begin=seen.begin,
            some=bool(seen.found.whole(()).counts["reported"]),
            as_of_ms=desk.now_ms(),
            periods=PERIODS,
            agains=AGAIN,
            most=shown.MOST_ROWS,
            indicators=INDICATORS,
            levels=shown.LEVELS,
        )

    @routes.get("/statistics.{kind}", dependencies=[needs("indicators.read")])
    def fetch_statistics(page: Showing, acting: Acting, wish: Wish, kind: Literal["pdf", "xlsx"]) -> Response:
        tell = shown.Teller(page.reader, INDICATORS[wish.measure], wish.behind)
        with desk.store.reading() as session:
            seen = read(session, acting, wish, wish.choice)
            names = shown.names_for(session, seen.loaded, seen.every, in_streets(acting, "places.read"))
            found = view(session, seen, tell, wish, names)
        chosen = {by: getattr(wish, by) for by in statistics.SPLITS if getattr(wish, by)}
        facts = {
            tell.say(N_("Period")): f"{title(tell, wish)} ({zone.key})",
            **{tell.of(BY[by]): shown.name_of(tell, names, by, key) for by, key in chosen.items()},
            tell.say(N_("As of")): page.reader.moment(desk.now_ms()),
        }
        if kind == "pdf":
            content = statistics_papers.as_pdf(found, tell, facts, center, typeface(face), desk.now_ms())
        else:
            content = statistics_papers.as_workbook(found, tell, facts)
        file = f"cityeye-statistics-{wish.first}-{wish.last}.{kind}"
        headers = {"content-disposition": f'attachment; filename="{file}"', "cache-control": "no-store"}
        return Response(content, media_type=MEDIA[kind], headers=headers)

    @routes.get("/statistics/tickets", dependencies=[needs("tickets.read")])
    def show_behind(
        page: Showing,
        acting: Acting,
        wish: Wish,
        *,
        whole: bool = False,
        weekday: Annotated[int | None, Query(ge=0, le=6)] = None,
        hour: Annotated[int | None, Query(ge=0, le=23)] = None,
        place: Key = "",
        again: Annotated[int, Query(ge=0, le=REPEAT_DAYS)] = 0,
        skip: Annotated[int, Query(ge=0, le=10**9)] = 0,
    ) -> HTMLResponse:
        """The tickets behind a number: as many as it says."""
        choice = replace(wish.choice, place=place, weekday=weekday, hour=hour, again_days=again)
        with desk.store.reading() as session:
            seen = read(session, acting, wish, choice)
            numbers = seen.found.numbers(INDICATORS[wish.measure], whole=whole)
            names = shown.names_for(session, seen.loaded, seen.every, in_streets(acting, "places.read"))
            some = numbers[skip : skip + A_PAGE]
            rows = _rows(session, acting, some, names["shop"], desk.now_ms())
        one = INDICATORS[wish.measure]
        tell = shown.Teller(page.reader, one, wish.behind)
        narrow = {"whole": whole, "weekday": weekday, "hour": hour, "place": place or None, "again": again or None}
        chosen = [shown.name_of(tell, names, by, getattr(wish, by)) for by in statistics.SPLITS if getattr(wish, by)]
        if place:
            chosen += [shown.name_of(tell, names, "shop", place.rpartition("|")[2])]
        return page(
            "statistics_tickets.html",
            asked=wish,
            title=title(tell, wish),
            name=tell.name,
            is_share=isinstance(one, Share),
            whole=whole,
            weekday=None if weekday is None else tell.of(WEEKDAYS[weekday]),
            hour=hour,
            again=again,
            chosen=chosen,
            count=len(numbers),
            rows=rows,
            newer=wish.behind(wish.measure, **narrow, skip=max(0, skip - A_PAGE)) if skip else None,
            older=wish.behind(wish.measure, **narrow, skip=skip + A_PAGE) if skip + A_PAGE < len(numbers) else None,
        )

    return routes


def _rows(
    session: Session, acting: Actor, numbers: list[int], names: Mapping[str, str], now_ms: int
) -> list[views.RowView]:
    """In their order; what somebody may not see is not among them."""
    own = in_streets(acting, "tickets.read")
    tickets = {one.number: one for one in session.scalars(select(Ticket).where(Ticket.number.in_(numbers)))}
    pictures = thumbnails(session, numbers)
    return [
        views.row_view(one, now_ms, pictures.get(number), names.get(one.shop or "", ""))
        for number in numbers
        for one in (tickets[number],)
        if own is None or one.street in own
    ]

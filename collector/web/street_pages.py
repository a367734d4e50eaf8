"""The page of a street for residents and shops, and the page on which a person of the center allows what they propose.

Nobody signs in for the first one. It has no picture and no shop's name; what people wrote goes through `Nameless` each
time it is shown.
"""

import math
import re
import threading
import time
import uuid
from datetime import datetime
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

from babel.units import format_unit
from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from collector.boxes.limits import RateLimit, looks_of_anybody
from collector.exchange import proposals, reports
from collector.exchange.proposals import LONGEST, LONGEST_ANSWER, STATES, Nameless, ProposalError
from collector.exchange.street import COUNTS, ENDS, MINUTES, SHARES, Street, gather
from collector.indicators import definitions
from collector.people.actor import Actor
from collector.settings import CenterSettings
from collector.store import ProposalRow
from collector.tickets.policy import Span
from collector.web import story
from collector.web.forms import DONE, go
from collector.web.language import N_, Words
from collector.web.pages import Page, Showing
from collector.web.plain import Number
from collector.web.policy_form import SPANS
from collector.web.rights import Acting, Desk, Fields, From, check, in_streets, needs, public
from protocol.hours import DAYS

PER_ADDRESS: Final = 5
"""Proposals and comments of one address in ten minutes."""
SHOWN_AT_ONCE: Final = 50
KEPT_MS: Final = 10_000
"""A street's figures are worked out at most so often, however many look."""
TRAP: Final = "website"
"""A field that people do not see: whoever fills it in is a program, and is thanked."""
TOO_MANY: Final = "提交过于频繁，请十分钟后再试 / too many from here: try again in ten minutes"
TOO_OFTEN: Final = "访问过于频繁，请一分钟后再试 / too many looks from here: come again in a minute"
NO_STREET: Final = "没有这个页面 / there is no such page"
THANKS: Final = N_("Thank you. It is shown once somebody of the center has read it.")
STATE_NAMES: Final = {"waiting": N_("To be read"), "shown": N_("Shown"), "refused": N_("Not shown")}
MODERATION: Final = "/proposals"
_UNITS_S: Final = {"minutes": 60, "hours": 3600, "days": 86_400}
_DAY: Final = re.compile(rf"\b({'|'.join(DAYS)})\b")
_WORDS: Final = {
    one.name: Words(*one.words) for one in (*definitions.COUNTS, *definitions.SHARES, *definitions.MINUTES)
}
_MEANS: Final = {
    one.name: Words(*one.means) for one in (*definitions.COUNTS, *definitions.SHARES, *definitions.MINUTES)
}


def router(desk: Desk, settings: CenterSettings, zone: ZoneInfo) -> APIRouter:
    """The routes."""
    section, contact = settings.street_page, settings.notices.contact
    routes = APIRouter(include_in_schema=False)
    visits, looks = RateLimit(time.monotonic, per_address=PER_ADDRESS), looks_of_anybody(time.monotonic)

    def known() -> list[str]:
        if not section.enabled:
            raise HTTPException(404, NO_STREET)
        with desk.store.transaction() as session:
            return sorted(reports.streets(session))

    @routes.get("/street", dependencies=[public()])
    def show_streets(page: Showing) -> Response:
        streets = known()
        if len(streets) == 1:
            return RedirectResponse(f"/street/{streets[0]}", 303)
        return page("streets.html", streets=streets)

    @routes.get("/street/{street}", dependencies=[public()])
    def show_street(page: Showing, source: From, street: str, done: bool = False) -> HTMLResponse:
        wait_s = looks.wait_s(source.address)
        if wait_s > 0:
            raise HTTPException(429, TOO_OFTEN, {"retry-after": str(math.ceil(wait_s))})
        looks.count(source.address)
        return shown(page, street, done=THANKS if done else "")

    kept: dict[str, tuple[int, Street]] = {}
    working = threading.Lock()

    def known_of(street: str, now_ms: int) -> Street:
        with working:
            at_ms, found = kept.get(street, (0, None))
            if found is None or not 0 <= now_ms - at_ms < KEPT_MS:
                today = datetime.fromtimestamp(now_ms / 1000, zone).date()
                with desk.store.reading() as session:
                    found = gather(session, street, now_ms, today, zone, Nameless(session))
                kept[street] = now_ms, found
            return found

    def shown(page: Page, street: str, *, fault: str = "", status: int = 200, **more: Any) -> HTMLResponse:
        if street not in known():
            raise HTTPException(404, NO_STREET)
        found = known_of(street, desk.now_ms())
        with desk.store.reading() as session:
            nameless = Nameless(session)
            talk = proposals.of_street(session, street, SHOWN_AT_ONCE) if section.proposals else []
            spoken = [(_shown(row, nameless), [_shown(one, nameless) for one in below]) for row, below in talk]
        days = page.reader.locale.days["format"]["abbreviated"]

        def hours(text: str) -> str:
            return _DAY.sub(lambda match: days[DAYS.index(match[1])], text)

        def span(one: Span) -> str:
            unit = _UNITS_S.get(one.unit)
            return (
                f"{one.amount} {page.reader.say(dict(SPANS)[one.unit])}" if unit is None else length(one.amount * unit)
            )

        def length(seconds: float) -> str:
            """In the largest unit of which it is a whole number."""
            units = ("hour", 3600), ("minute", 60), ("second", 1)
            unit, unit_s = next((one for one in units if seconds % one[1] == 0), units[-1])
            return format_unit(seconds / unit_s, f"duration-{unit}", "long", locale=page.reader.locale)

        return page(
            "street.html",
            status,
            street=found,
            policy=found.policy,
            rows=(COUNTS, ENDS),
            shares=SHARES,
            minutes=MINUTES,
            words=_WORDS,
            means=_MEANS,
            contact=contact,
            linked=settings.shop_pages.url is not None,
            hours=hours,
            span=span,
            length=length,
            days=days,
            talk=spoken,
            takes=section.proposals,
            key=uuid.uuid4().hex,
            trap=TRAP,
            most=LONGEST,
            **{"done": "", "given": "", "of": 0, "fault": fault, **more},
        )

    @routes.post("/street/{street}", dependencies=[public()])
    def propose(page: Showing, source: From, fields: Fields, street: str) -> Response:
        of = int(fields["of"]) if re.fullmatch(r"\d{1,9}", fields.get("of", "")) else None
        text, key = fields.get("text", ""), fields.get("key", "")[:64] or uuid.uuid4().hex
        if street not in known() or not section.proposals:
            raise HTTPException(404, NO_STREET)
        if fields.get(TRAP):
            return go(f"/street/{street}", done="1")
        if visits.wait_s(source.address) > 0:
            return shown(page, street, fault=TOO_MANY, status=429, given=text, of=of or 0)
        visits.count(source.address)
        try:
            with desk.store.writing() as session:
                proposals.submit(session, street, text, key, desk.now_ms(), of)
        except ProposalError as fault:
            return shown(page, street, fault=str(fault), status=422, given=text, of=of or 0)
        return go(f"/street/{street}", done="1")

    @routes.get(MODERATION, dependencies=[needs("proposals.moderate")])
    def show_proposals(
        page: Showing, acting: Acting, state: Annotated[str, Query(max_length=10)] = "waiting", done: str = ""
    ) -> HTMLResponse:
        return moderation(page, acting, state if state in STATES else "waiting", done=DONE.get(done, ""))

    def moderation(page: Page, acting: Actor, state: str, fault: str = "", done: str = "") -> HTMLResponse:
        own = in_streets(acting, "proposals.moderate")
        with desk.store.transaction() as session:
            rows = proposals.listed(session, state, own, SHOWN_AT_ONCE)
            nameless = Nameless(session)
            names = story.names(session, [one.decided_by for one in rows if one.decided_by])
            found = [
                {
                    **_shown(one, nameless),
                    "street": one.street,
                    "whole": one.text,
                    "of": None if one.of is None else proposals.find(session, one.of).text,
                    "by": names.get(one.decided_by, ""),
                    "decided_ms": one.decided_ms,
                }
                for one in rows
            ]
            waiting = proposals.count(session, None if own is None else sorted(own))
        return page(
            "proposals.html",
            422 if fault else 200,
            rows=found,
            state=state,
            states=STATE_NAMES,
            waiting=waiting,
            enabled=section.enabled and section.proposals,
            most=LONGEST_ANSWER,
            fault=fault,
            done=done,
        )

    @routes.post("/proposals/{number}", dependencies=[needs("proposals.moderate")])
    def decide(page: Showing, acting: Acting, fields: Fields, number: Number) -> Response:
        state = fields.get("state", "waiting")
        try:
            with desk.store.writing() as session:
                check(acting, "proposals.moderate", proposals.find(session, number).street)
                if "decide" in fields:
                    new = proposals.decide(session, acting, number, fields["decide"], desk.now_ms())
                else:
                    new = proposals.answer(session, acting, number, fields.get("answer", ""), desk.now_ms())
        except ProposalError as fault:
            return moderation(page, acting, state if state in STATES else "waiting", str(fault))
        return go(MODERATION, state=state, done="saved" if new else "same")

    return routes


def _shown(row: ProposalRow, nameless: Nameless) -> dict[str, Any]:
    return {
        "number": row.number,
        "text": nameless(row.text),
        "answer": nameless(row.answer),
        "received_ms": row.received_ms,
    }

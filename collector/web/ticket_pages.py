"""Pages of tickets: the list, and one."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy import Select, or_, select
from sqlalchemy.orm import Session

from collector.evidence import retention
from collector.evidence.uploads import report_key
from collector.people.actor import Actor
from collector.people.rights import may, streets
from collector.store import IncidentRow, PictureRow, ShopRow, Ticket
from collector.tickets import desk as tickets
from collector.tickets.desk import RefusedError
from collector.web import live, steps, story, ticket_facts, views, words
from collector.web.language import Text
from collector.web.pages import Page, Showing
from collector.web.plain import Number
from collector.web.rights import Acting, Desk, Fields, held, in_streets, needs

A_PAGE: Final = 50
LONGEST_NUMBER: Final = 16
"""Digits."""
_NUMBER: Final = re.compile(r"#\d{1,15}", re.ASCII)
Asked = Annotated[str, Query(max_length=60)]


@dataclass(frozen=True)
class Refused:
    """A step of a plain form that was refused, why, and what was filled in."""

    verb: str
    why: Text
    fields: Mapping[str, str]


@dataclass(frozen=True)
class Wanted:
    """What somebody looks for."""

    state: str = ""
    rule: str = ""
    text: str = ""
    source: str = ""

    @property
    def some(self) -> bool:
        """Whether it is not just everything."""
        return bool(self.state or self.rule or self.text or self.source)

    def narrow(self, query: Select[Ticket]) -> Select[Ticket]:
        """The query for these alone."""
        if self.state == "open":
            query = query.where(Ticket.open == 1)
        elif self.state:
            query = query.where(Ticket.state == self.state)
        if self.rule:
            query = query.where(Ticket.rule == self.rule)
        if self.source:
            query = query.where(Ticket.source == self.source)
        text = self.text.strip()
        if not text:
            return query
        if _NUMBER.fullmatch(text):
            return query.where(Ticket.number == int(text[1:]))
        named = select(ShopRow.id).where(ShopRow.name.contains(text, autoescape=True))
        places = (Ticket.shop, Ticket.camera, Ticket.zone, Ticket.box_id, Ticket.case_number)
        found = [column.contains(text, autoescape=True) for column in places]
        if text.isdecimal() and len(text) < LONGEST_NUMBER:
            found.append(Ticket.number == int(text))
        return query.where(or_(*found, Ticket.shop.in_(named)))

    def address(self, **more: int) -> str:
        """Of this list."""
        asked = {name: value for name, value in vars(self).items() if value}
        return f"/tickets?{urlencode({**asked, **more})}"


def thumbnails(session: Session, numbers: list[int]) -> dict[int, str]:
    """The newest close picture of each ticket."""
    rows = session.execute(
        select(IncidentRow.ticket_number, PictureRow.sha256)
        .join(PictureRow, PictureRow.incident == IncidentRow.id)
        .where(IncidentRow.ticket_number.in_(numbers))
        .where(PictureRow.role == "at", PictureRow.view == "close", PictureRow.deleted_ms.is_(None))
        .order_by(IncidentRow.opened_ms, PictureRow.received_ms)
    )
    # the last one counts
    found = {row.ticket_number: row.sha256 for row in rows}
    keys = {report_key(number): number for number in numbers if number not in found}
    own = select(PictureRow.incident, PictureRow.sha256).where(PictureRow.incident.in_(keys))
    taken = session.execute(own.order_by(PictureRow.received_ms.desc())) if keys else ()
    return found | {keys[row.incident]: row.sha256 for row in taken}


def shop_names(session: Session, shops: set[str | None]) -> dict[str, str]:
    """Names of shops by the register."""
    rows = session.execute(select(ShopRow.id, ShopRow.name).where(ShopRow.id.in_(shops - {None})))
    return {row.id: row.name for row in rows}


def router(desk: Desk) -> APIRouter:
    """The routes."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/tickets", dependencies=[needs("tickets.read")])
    def show_tickets(
        page: Showing,
        acting: Acting,
        *,
        state: Asked = "",
        rule: Asked = "",
        text: Asked = "",
        source: Asked = "",
        before: int | None = None,
        after: int | None = None,
    ) -> HTMLResponse:
        asked = Wanted(state, rule, text, source)
        # open ones first would tear pages apart: by number alone, and what is open has its own filter
        query = asked.narrow(select(Ticket)).limit(A_PAGE + 1)
        own = streets(acting, "tickets.read")
        if own is not None:
            query = query.where(Ticket.street.in_(own))
        forward = after is not None
        if forward:
            query = query.where(Ticket.number > after).order_by(Ticket.number)
        else:
            query = query.order_by(Ticket.number.desc())
            query = query if before is None else query.where(Ticket.number < before)
        with desk.store.transaction() as session:
            at = live.now(session)
            found = list(session.scalars(query))
            more = len(found) > A_PAGE
            found = found[:A_PAGE][::-1] if forward else found[:A_PAGE]
            pictures = thumbnails(session, [one.number for one in found])
            names = shop_names(session, {one.shop for one in found})
            now_ms = desk.now_ms()
            rows = [
                views.row_view(one, now_ms, pictures.get(one.number), names.get(one.shop or "", "")) for one in found
            ]
        newer = (more if forward else before is not None) and bool(rows)
        older = (True if forward else more) and bool(rows)
        return page(
            "tickets.html",
            at=at,
            rows=rows,
            asked=asked,
            states=words.STATES,
            rules=words.RULES,
            sources=words.SOURCES,
            newer=asked.address(after=rows[0].number) if newer else None,
            older=asked.address(before=rows[-1].number) if older else None,
        )

    def show(page: Page, acting: Actor, number: int, refused: Refused | None = None) -> HTMLResponse:
        own = in_streets(acting, "tickets.read")
        with desk.store.transaction() as session:
            at = live.now(session)
            ticket = session.get(Ticket, number)
            # one of another street is not there
            if ticket is None or (own is not None and ticket.street not in own):
                raise HTTPException(404, f"没有工单 {number} / there is no ticket {number}")
            now_ms = desk.now_ms()
            shown = views.ticket_view(session, ticket, now_ms)
            return page(
                "ticket.html",
                200 if refused is None else 409,
                at=at,
                now_ms=now_ms,
                ticket=shown,
                ticket_version=ticket.version,
                facts=ticket_facts.facts(session, ticket, now_ms),
                actions=steps.actions(session, ticket, acting, now_ms),
                people=story.names(session, [one.by for incident in shown.incidents for one in incident.pictures]),
                days=story.days(shown.events, page.reader.day),
                held=retention.held(session, number),
                refused=refused,
                whys=steps.WHY,
                can=held(acting, ticket.street),
            )

    @routes.get("/tickets/{number}", dependencies=[needs("tickets.read")])
    def show_ticket(page: Showing, acting: Acting, number: Number) -> HTMLResponse:
        return show(page, acting, number)

    @routes.post("/tickets/{number}/{verb}", dependencies=[needs("tickets.act")])
    def take_step(page: Showing, acting: Acting, number: Number, verb: str, fields: Fields) -> Response:
        """A step by a plain form, for browsers without scripts."""
        seen, reason = fields.get("seen", ""), fields.get("reason", "")
        if verb != "remark" and not (seen.isdecimal() and len(seen) < LONGEST_NUMBER):
            raise HTTPException(400, "表单不完整：缺少 seen / expected `seen`, the version that the page showed")
        if verb == "false_alarm" and not (reason.strip() or fields.get("reason_id")):
            return show(page, acting, number, Refused(verb, steps.NO_REASON, fields))
        try:
            with desk.store.writing() as session:
                ticket = session.get(Ticket, number)
                if ticket is None or not may(acting, "tickets.read", ticket.street):
                    raise HTTPException(404, f"没有工单 {number} / there is no ticket {number}")
                tickets.act(
                    session,
                    acting,
                    number,
                    verb,
                    at_ms=desk.now_ms(),
                    seen=int(seen) if verb != "remark" else None,
                    reason=reason,
                    **steps.read_args(verb, fields),
                )
        except RefusedError as fault:
            return show(page, acting, number, Refused(verb, steps.why(fault, verb), fields))
        desk.changed()
        return RedirectResponse(f"/tickets/{number}", 303)

    return routes

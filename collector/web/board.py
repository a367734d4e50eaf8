"""The live board: what waits for a decision now, one ticket large, and one key for each decision."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Final

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import HTMLResponse, JSONResponse
from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from collector.people.actor import Actor
from collector.people.rights import may, streets
from collector.places import cameras, shops
from collector.store import PermitRow, Ticket, TicketEvent
from collector.tickets import desk as tickets
from collector.tickets import policy
from collector.tickets.machine import State, allowed
from collector.tickets.reasons import load_reasons
from collector.web import live, story, ticket_pages, views, words
from collector.web.language import N_, Text
from collector.web.pages import Pages, Showing
from collector.web.plain import Number
from collector.web.rights import Acting, Desk, needs
from collector.web.waiting import KINDS, Waiting, waiting

FIRST: Final = 40
"""Cards that come with the page; the others as they are scrolled to."""
AT_ONCE: Final = 100
"""Cards that are given in one answer."""
OFFERED: Final = 6
"""Tickets or permits that are offered for a choice: each has a digit."""
DAY_MS: Final = 24 * 3600 * 1000
NO_STORE: Final = {"cache-control": "no-store"}


@dataclass(frozen=True)
class Deed:
    """What is decided at the board.

    Args:
        verb: of the machine of tickets.
        key: that does it, or opens its choices.
        text: on its button.
        done: what was done, when it is.
        asks: what has to be chosen first; empty: nothing.
    """

    verb: str
    key: str
    text: str
    done: str
    asks: str = ""


REVIEW: Final = (
    Deed("confirm", "c", N_("Confirm"), N_("confirmed")),
    Deed("review", "c", N_("Confirm the picture"), N_("picture confirmed")),
    Deed("false_alarm", "f", N_("False alarm"), N_("filed as a false alarm"), "why"),
    Deed("duplicate", "d", N_("Duplicate"), N_("filed as a duplicate"), "of"),
    Deed("exempt", "e", N_("Exempt"), N_("exempt by a permit"), "permit"),
)
DEEDS: Final = {
    "review": REVIEW,
    "held": REVIEW,
    "appeal": (
        Deed("uphold", "u", N_("The objection holds"), N_("withdrawn: the objection holds"), "reason"),
        Deed("reject", "r", N_("The objection does not hold"), N_("objection rejected"), "reason"),
    ),
    "unseen": (
        Deed("close", "x", N_("It is clear: close"), N_("closed"), "reason"),
        Deed("rework", "w", N_("Not done: again"), N_("to be done again"), "reason"),
    ),
}
"""By what a ticket waits for; all others are done at its own page."""
REASONS: Final = 9
"""Reasons that are offered: each has a digit."""


@dataclass(frozen=True)
class Card:
    """One ticket in the queue."""

    waits: Waiting
    row: views.RowView
    due_ms: int | None
    urgency: Text


@dataclass(frozen=True)
class Other:
    """A ticket that this one may be a duplicate of."""

    number: int
    state: Text
    opened_ms: int
    name: str
    thumbnail: str | None


@dataclass(frozen=True)
class Permitted:
    """A permit that may cover it."""

    number: str
    hours: str
    own: bool


@dataclass(frozen=True)
class Stage:
    """The ticket that is looked at.

    Args:
        kind: what it waits for; empty where it does no more.
        camera: its name by the register; empty for none.
        pictures: before and now, each wide and close; None for one that there is not.
        objection: what the shop said.
        assignee: who has it, by name; empty: nobody.
        deeds: that this person may do now.
        acts: whether they may take a step with it, here or at its own page.
    """

    ticket: views.TicketView
    version: int
    kind: str
    camera: str
    incident: views.IncidentView | None
    pictures: tuple[tuple[Text, views.PictureView | None, views.PictureView | None], ...]
    objection: str
    assignee: Text
    deeds: tuple[Deed, ...]
    acts: bool
    others: tuple[Other, ...]
    permits: tuple[Permitted, ...]


def _cards(session: Session, found: Sequence[Waiting], now_ms: int) -> list[Card]:
    numbers = [one.number for one in found]
    rows = {one.number: one for one in session.scalars(select(Ticket).where(Ticket.number.in_(numbers)))}
    pictures = ticket_pages.thumbnails(session, numbers)
    names = ticket_pages.shop_names(session, {one.shop for one in rows.values()})
    made = []
    for one in found:
        row = rows[one.number]
        view = views.row_view(row, now_ms, pictures.get(one.number), names.get(row.shop or "", ""))
        urgency = "" if row.urgency == "normal" else words.words(words.URGENCIES, row.urgency)
        made.append(Card(one, view, row.due_ms, urgency))
    return made


def _stage(session: Session, number: int, who: Actor, now_ms: int) -> Stage | None:
    """A ticket, large; None where there is none at one's streets."""
    row = session.get(Ticket, number)
    if row is None or not may(who, "tickets.read", row.street):
        return None
    waits = waiting(session, now_ms, None, [number])
    kind = waits[0].kind if waits else ""
    view = views.ticket_view(session, row, now_ms)
    able = tickets.able(session, row, who, now_ms)
    deeds = tuple(one for one in DEEDS.get(kind, ()) if one.verb in able)
    verbs = {one.verb for one in deeds}
    # what goes on now, else what came last
    ordered = sorted(view.incidents, key=lambda one: (one.cleared_ms is None, one.opened_ms))
    incident = ordered[-1] if ordered else None
    place = cameras.find(session, row.box_id, row.camera)
    return Stage(
        ticket=view,
        version=row.version,
        kind=kind,
        camera="" if place is None else place.name,
        incident=incident,
        pictures=_pictures(incident, kind),
        objection=_objection(session, number) if row.state == State.APPEALED else "",
        assignee=story.person(session, row.assignee),
        deeds=deeds,
        acts=bool({*able} - {"remark"}) and may(who, "tickets.act", row.street),
        others=_others(session, row) if "duplicate" in verbs else (),
        permits=_permits(session, row, now_ms),
    )


def _pictures(
    incident: views.IncidentView | None, kind: str
) -> tuple[tuple[Text, views.PictureView | None, views.PictureView | None], ...]:
    """Before and now: when it was clear and as it was found, or as it was found and what was done about it."""
    of = {} if incident is None else {(one.role, one.is_wide): one for one in incident.pictures}
    roles = ("clear", "at")
    if kind == "unseen":
        after = next((one for one in ("worker_after", "after") if any(words.ROLES[one] == role for role, _ in of)), "")
        roles = ("at", after) if after else roles
    names = [words.ROLES[one] for one in roles]
    return tuple((name, of.get((name, True)), of.get((name, False))) for name in names)


def _objection(session: Session, number: int) -> str:
    of_ticket = select(TicketEvent.reason).where(TicketEvent.ticket_number == number)
    newest = of_ticket.where(TicketEvent.kind.in_(tickets.APPEALS)).order_by(TicketEvent.id.desc())
    return session.scalar(newest.limit(1)) or ""


def _others(session: Session, ticket: Ticket) -> tuple[Other, ...]:
    """What `duplicate` takes, by the same rule of the same shop or zone: open ones first, then the newest."""
    handled = Ticket.state.in_((State.SELF_CORRECTED, State.CLOSED)) & or_(
        Ticket.outcome.is_(None), Ticket.outcome != "withdrawn"
    )
    here = and_(Ticket.box_id == ticket.box_id, Ticket.camera == ticket.camera, Ticket.zone == ticket.zone)
    query = (
        select(Ticket)
        .where(Ticket.changed_ms >= ticket.opened_ms - DAY_MS, Ticket.number != ticket.number)
        .where(Ticket.street == ticket.street, Ticket.rule == ticket.rule, or_(here, Ticket.shop == ticket.shop))
        .where(or_(Ticket.open == 1, handled))
        .order_by(Ticket.open.desc(), Ticket.number.desc())
    )
    found = list(session.scalars(query.limit(OFFERED)))
    pictures = ticket_pages.thumbnails(session, [one.number for one in found])
    names = ticket_pages.shop_names(session, {one.shop for one in found})
    return tuple(
        Other(
            one.number,
            words.words(words.STATES, one.state),
            one.opened_ms,
            names.get(one.shop or "") or one.shop or one.zone,
            pictures.get(one.number),
        )
        for one in found
    )


def _permits(session: Session, ticket: Ticket, now_ms: int) -> tuple[Permitted, ...]:
    """Those that are good today and may be of this place; those of its shop first."""
    work = policy.current(session, ticket.street).policy.working_time
    today = work.local(now_ms).date().isoformat()
    shop = ticket.shop or shops.owner_of(session, ticket.box_id, ticket.camera, ticket.zone)
    place = f"{ticket.box_id}/{ticket.camera}/{ticket.zone}"
    query = (
        select(PermitRow.number, PermitRow.hours, PermitRow.shop_id)
        .where(PermitRow.street == ticket.street, PermitRow.state == "active")
        .where(PermitRow.from_day <= today, PermitRow.until_day >= today)
        .where(or_(PermitRow.zones == "", PermitRow.zones.contains(place, autoescape=True)))
        .where(PermitRow.shop_id == shop if shop is not None else PermitRow.shop_id.is_(None))
        .order_by(PermitRow.number)
    )
    return tuple(
        Permitted(row.number, row.hours, row.shop_id is not None) for row in session.execute(query.limit(OFFERED))
    )


def _answer(part: Callable[..., str], cards: Sequence[Card]) -> list[dict[str, Any]]:
    return [{"row": one.waits.row, "html": part("board_card.html", card=one, kinds=KINDS)} for one in cards]


def told(pages: Pages, now_ms: Callable[[], int]) -> live.Cards:
    """What the live feed tells boards: as `/board/cards` answers; the feed knows who sees which street."""

    def made(session: Session, numbers: Sequence[int], language: str) -> Mapping[int, Any]:
        at_ms = now_ms()
        found = _cards(session, waiting(session, at_ms, None, numbers), at_ms)
        return {one["row"][0]: one for one in _answer(partial(pages.part, language), found)}

    return made


def verbs_of(who: Actor) -> frozenset[str]:
    """What somebody may ever do at the board, for its list of keys."""
    if not may(who, "tickets.act"):
        return frozenset()
    roles = {one.role for one in who.grants}
    return frozenset(verb for state in State for verb in allowed(state, who.kind, roles))


def router(desk: Desk) -> APIRouter:
    """The routes."""
    routes = APIRouter(include_in_schema=False)
    reasons = load_reasons().reason[:REASONS]

    @routes.get("/", dependencies=[needs("tickets.read")])
    def show_board(page: Showing, acting: Acting) -> HTMLResponse:
        now_ms = desk.now_ms()
        with desk.store.transaction() as session:
            at = live.now(session)
            found = waiting(session, now_ms, streets(acting, "tickets.read"))
            cards = _cards(session, found[:FIRST], now_ms)
            stage = _stage(session, found[0].number, acting, now_ms) if found else None
        rows = [one.row for one in found]
        return page(
            "board.html",
            at=at,
            rows=rows,
            cards=cards,
            stage=stage,
            kinds=KINDS,
            reasons=reasons,
            now_ms=now_ms,
            verbs=verbs_of(acting),
        )

    @routes.get("/board/queue", dependencies=[needs("tickets.read")])
    def show_queue(acting: Acting) -> JSONResponse:
        """All that waits, in its order."""
        with desk.store.transaction() as session:
            found = waiting(session, desk.now_ms(), streets(acting, "tickets.read"))
        return JSONResponse({"rows": [one.row for one in found]}, headers=NO_STORE)

    @routes.get("/board/cards", dependencies=[needs("tickets.read")])
    def show_cards(
        page: Showing, acting: Acting, number: Annotated[list[Number], Query(max_length=AT_ONCE)]
    ) -> JSONResponse:
        """Those of these tickets that wait."""
        now_ms = desk.now_ms()
        with desk.store.transaction() as session:
            found = waiting(session, now_ms, streets(acting, "tickets.read"), number)
            cards = _cards(session, found, now_ms)
        return JSONResponse({"cards": _answer(page.part, cards)}, headers=NO_STORE)

    @routes.get("/board/{number}", dependencies=[needs("tickets.read")])
    def show_stage(page: Showing, acting: Acting, number: Number) -> HTMLResponse:
        now_ms = desk.now_ms()
        with desk.store.transaction() as session:
            stage = _stage(session, number, acting, now_ms)
        if stage is None:
            raise HTTPException(404, f"没有工单 {number} / there is no ticket {number}")
        html = page.part("board_stage.html", stage=stage, kinds=KINDS, reasons=reasons, now_ms=now_ms)
        return HTMLResponse(html, headers=NO_STORE)

    return routes

"""Looking at one ticket: its facts are gathered, the steps that follow are taken, people are told.

All in the caller's transaction, with the ticket held: what is done and that it was done are one.
"""

import json
import logging
from collections.abc import Collection, Sequence
from typing import Any, Final

from pydantic import ValidationError
from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from collector.boxes import orders as boxes
from collector.evidence import ledger
from collector.people.actor import Actor
from collector.store import CommandPicture, CommandRow, IncidentRow, PictureRow, Ticket, TicketEvent, among
from collector.tickets import desk, pauses, policy
from collector.tickets.advance import Decided, Facts, Former, Looked, advance
from collector.tickets.book import GOES_ON
from collector.tickets.machine import AFTER_NOTICE, ENFORCED, FINAL, State
from collector.tickets.policy import Revision
from collector.tickets.seams import UNTOLD, Cover, Office, Place, Told
from protocol.commands import LIFE_S, Verified
from protocol.messages import Incident

log = logging.getLogger(__name__)

MOST_STEPS: Final = 20
"""More than any course of a ticket takes at once; beyond it something goes in a circle."""
VERIFY_LIFE_S: Final = LIFE_S
MOST_PLACES: Final = 64
"""Zones that are asked about at once."""
PREFIX: Final = "v"
HEARS: Final = frozenset({*AFTER_NOTICE, State.SELF_CORRECTED, State.CLOSED})
"""States in which it matters what became of notices to the shop, and of its objection."""
CLOSING: Final = ("correct", "solve", "verify_clear", "close", "withdraw", "uphold")
"""Steps that close a ticket which was confirmed; `reject` takes it back to what it was."""


class CircleError(Exception):
    """Steps that lead to one another without an end: a fault of ours."""


def command_id(ticket: int, version: int, index: int) -> str:
    """Id of a command that asks a box to look; the same question twice is once."""
    return f"{PREFIX}-{ticket}-{version}-{index}"


def ticket_of(command: str) -> int | None:
    """The ticket that a command looks for."""
    parts = command.split("-")
    return int(parts[1]) if len(parts) == 4 and parts[0] == PREFIX and parts[1].isdigit() else None


def attend(
    session: Session, ticket: Ticket, office: Office, now_ms: int, written: Collection[str] | None = None
) -> int:
    """Do what is to be done now with a ticket that is held; says how many steps that were.

    Args:
        session: a transaction that writes.
        ticket: held, see `desk.hold`.
        office: the other rooms.
        now_ms: the center's clock.
        written: SHA-256 of pictures whose files are there, see `pictures_of`; None: none of a verification is kept.
    """
    session.flush()
    for steps in range(MOST_STEPS):
        rules = _rules(session, ticket)
        members = _members(session, ticket)
        asked = _asked(session, ticket)
        facts = _facts(session, ticket, members, asked, office, rules, now_ms)
        plan = advance(facts, rules.policy, now_ms)
        if plan.act is not None:
            for order in plan.orders:
                office.order(session, order, rules.policy, now_ms)
            actor = Actor.camera(ticket.box_id or "") if plan.act.by == "camera" else Actor.policy(ticket.street)
            args = dict(plan.act.args)
            if facts.looked is not None and facts.looked.sight != "waiting":
                args["pictures"] = _keep(session, asked, members, written, now_ms)
            desk.step(session, actor, ticket, plan.act.verb, at_ms=now_ms, **args)
            session.flush()
            continue
        if plan.set_due:
            _set_due(session, ticket, now_ms)
            continue
        if ticket.ordered != ticket.entered:
            ticket.ordered = ticket.entered
            if office.withdraw(session, ticket.number, now_ms, f"now: {ticket.state}"):
                continue  # whether the shop is still going to be told is to be asked again
        for order in plan.orders:
            office.order(session, order, rules.policy, now_ms)
        if plan.orders and _told(session, ticket, office) != facts.told:
            # what may not go out to the shop is known at once, and somebody else is to be told of that
            continue
        if plan.ask:
            _ask(session, ticket, members, now_ms)
        ticket.look_ms = now_ms + 1000 if plan.ask else plan.look_ms
        session.flush()
        return steps
    raise CircleError(f"ticket {ticket.number}: expected steps that end, got {MOST_STEPS} in state {ticket.state}")


def _rules(session: Session, ticket: Ticket) -> Revision:
    """The revision that its step began with; of a step that has not begun, the newest."""
    if ticket.due_entered == ticket.entered and ticket.state not in FINAL:
        return policy.revision(session, ticket.policy)
    return policy.current(session, ticket.street)


def _set_due(session: Session, ticket: Ticket, now_ms: int) -> None:
    """Begin the time for review, which no step does: the inbox opens tickets."""
    rules = policy.current(session, ticket.street)
    ticket.policy, ticket.level = rules.number, 0
    desk.set_due(ticket, rules.policy, ticket.since_ms or now_ms)
    session.add(
        TicketEvent(
            ticket_number=ticket.number,
            kind="due",
            at_ms=now_ms,
            received_ms=now_ms,
            detail=json.dumps({"due_ms": ticket.due_ms, "of": ticket.due_kind}),
            author=str(Actor.policy(ticket.street)),
        )
    )


def _members(session: Session, ticket: Ticket) -> Sequence[IncidentRow]:
    of_ticket = select(IncidentRow).where(IncidentRow.ticket_number == ticket.number).order_by(IncidentRow.opened_ms)
    return session.scalars(of_ticket.execution_options(populate_existing=True)).all()


def _facts(
    session: Session,
    ticket: Ticket,
    members: Sequence[IncidentRow],
    asked: Sequence[CommandRow],
    office: Office,
    rules: Revision,
    now_ms: int,
) -> Facts:
    state = State(ticket.state)
    standing = [one for one in members if one.state in GOES_ON]
    clear = not standing and desk.seen_clear(session, ticket)
    wanting = state in (State.PENDING_REVIEW, State.EXEMPT)
    places = _places(ticket, standing) if standing and wanting else []
    weighed = state in (State.PENDING_REVIEW, State.NOTICED)
    offence = rules.policy.offence(desk.days_before(session, ticket)) if weighed else None
    first = rules.policy.begins_with(ticket.rule, shop=ticket.shop is not None, offence=offence)
    span = rules.policy.shop_span(offence)
    return Facts(
        number=ticket.number,
        state=state,
        rule=ticket.rule,
        street=ticket.street,
        shop=ticket.shop,
        camera=ticket.camera,
        zone=ticket.zone,
        version=ticket.version,
        round=ticket.round,
        entered=ticket.entered,
        due_ms=ticket.due_ms,
        due_entered=ticket.due_entered,
        by_hand=ticket.due_kind == "permit by hand",
        level=ticket.level,
        present=bool(ticket.present),
        late=bool(ticket.late),
        assignee=ticket.assignee,
        reviewed=ticket.reviewer is not None,
        told_ms=ticket.told_ms,
        shop_due_ms=ticket.shop_due_ms,
        paused_until_ms=ticket.paused_until_ms,
        permit=ticket.permit,
        clear_ms=ticket.cleared_ms if clear else None,
        came_after=bool(ticket.news),
        glanced=_glanced(session, ticket, standing),
        closed_ms=ticket.closed_ms,
        first_is_shop=first == "shop",
        shop_minutes=round((span.after(now_ms, rules.policy.working_time) - now_ms) / 60_000),
        told=_told(session, ticket, office),
        told_by_notice=ticket.told_ms is not None and desk.told_by_notice(session, ticket),
        taken_back=state in (*ENFORCED, State.COMMUNITY)
        and ticket.told_ms is None
        and desk.taken_back(session, ticket),
        decided=_decided(session, ticket),
        former=_former(session, ticket),
        cover=_cover(session, places, office, rules, now_ms),
        quiet=pauses.covering(session, places, now_ms) if state == State.PENDING_REVIEW else None,
        ask=ticket.verify is not None and not asked,
        looked=_looked(asked, now_ms) if asked else None,
    )


def _told(session: Session, ticket: Ticket, office: Office) -> Told:
    if ticket.state not in HEARS or ticket.shop_asked_ms is None:
        return UNTOLD
    return office.told(session, ticket.number, ticket.shop_asked_ms)


def _decided(session: Session, ticket: Ticket) -> Decided | None:
    """What became of an objection of this round: whatever step has followed since, the shop hears of it."""
    if ticket.state not in HEARS or ticket.shop is None:
        return None
    row = session.execute(_newest(ticket, ("uphold", "reject", *desk.ANEW)).limit(1)).first()
    if row is None or row.kind in desk.ANEW:
        return None
    return Decided(row.kind, row.reason, json.loads(row.detail)["version"])


def _former(session: Session, ticket: Ticket) -> Former | None:
    """Who had it before the one who has it now."""
    if ticket.state not in (State.DISPATCHED, State.HANDLING):
        return None
    for row in session.execute(_newest(ticket, ("dispatch", "accept", "send_back", *desk.ANEW)).limit(2)):
        who = json.loads(row.before or "{}").get("assignee") if row.kind in ("dispatch", "accept") else None
        if who and who != ticket.assignee:
            return Former(who, json.loads(row.detail)["version"])
    return None


def _newest(ticket: Ticket, kinds: Sequence[str]) -> Select[str, str, str, str | None]:
    """The newest steps of some kinds first."""
    found = select(TicketEvent.kind, TicketEvent.reason, TicketEvent.detail, TicketEvent.before).where(
        TicketEvent.ticket_number == ticket.number, TicketEvent.kind.in_(kinds)
    )
    return found.order_by(TicketEvent.id.desc())


def _glanced(session: Session, ticket: Ticket, standing: Sequence[IncidentRow]) -> bool:
    """Whether a camera's glance closed a ticket although its box goes on to say that something stands there.

    Of an incident that its box does not know any more nothing would ever be said: there the glance is the last word.
    """
    if ticket.state not in (State.SELF_CORRECTED, State.CLOSED) or all(one.state != "open" for one in standing):
        return False
    closed = (
        select(TicketEvent.author)
        .where(TicketEvent.ticket_number == ticket.number, TicketEvent.kind.in_(CLOSING))
        .order_by(TicketEvent.id.desc())
        .limit(1)
    )
    return (session.scalar(closed) or "").startswith("camera")


def _places(ticket: Ticket, standing: Sequence[IncidentRow]) -> list[Place]:
    """Where something stands, each place once."""
    found = {}
    for one in standing:
        data = Incident.model_validate_json(one.data)
        found[one.box_id, data.camera, data.zone] = Place(
            ticket.shop, ticket.street, one.box_id, data.camera, data.zone
        )
    return list(found.values())


def _cover(session: Session, places: Sequence[Place], office: Office, rules: Revision, now_ms: int) -> Cover | None:
    """A permit for all of the places; of several the one that ends first."""
    covers = [office.covering(session, place, now_ms, rules.policy.timezone) for place in places]
    if not covers or any(cover is None for cover in covers):
        return None
    return min((cover for cover in covers if cover is not None), key=lambda cover: cover.until_ms)


# asking boxes to look


def _ask(session: Session, ticket: Ticket, members: Sequence[IncidentRow], now_ms: int) -> None:
    """Ask each box for each zone that the ticket has had; what else stands in the zone counts too."""
    places: dict[tuple[str, str, str], None] = {}
    for one in members:
        data = Incident.model_validate_json(one.data)
        places[one.box_id, data.camera, data.zone] = None
    for index, (box, camera, zone) in enumerate(list(places)[:MOST_PLACES]):
        boxes.ask(
            session,
            box,
            "verify",
            {"camera": camera, "zone": zone},
            command=command_id(ticket.number, ticket.verify or 0, index),
            by=str(Actor.policy(ticket.street)),
            now_ms=now_ms,
            life_s=VERIFY_LIFE_S,
        )


def pictures_of(session: Session, numbers: Collection[int]) -> dict[str, bytes]:
    """Pictures of verifications by SHA-256: to be written before the transaction that names them."""
    asked = select(Ticket).where(Ticket.number.in_(numbers), Ticket.verify.is_not(None))
    ids = {row.id for ticket in session.scalars(asked) for row in _asked(session, ticket)}
    return {one.sha256: one.jpeg for one in among(session, CommandPicture, CommandPicture.command_id, ids)}


def _asked(session: Session, ticket: Ticket) -> Sequence[CommandRow]:
    if ticket.verify is None:
        return []
    ids = [command_id(ticket.number, ticket.verify, index) for index in range(MOST_PLACES)]
    of_ticket = select(CommandRow).where(CommandRow.id.in_(ids)).order_by(CommandRow.id)
    return session.scalars(of_ticket.execution_options(populate_existing=True)).all()


def _looked(asked: Sequence[CommandRow], now_ms: int) -> Looked:
    """What the answers say together: occupied if anything stands anywhere, clear only if all was seen to be."""
    given_up_ms = max(row.expires_ms + boxes.GRACE_MS + boxes.GOES_ON_MS * (row.state == "accepted") for row in asked)
    if any(row.state in boxes.OPEN for row in asked) and now_ms < given_up_ms:
        return Looked("waiting", until_ms=given_up_ms)
    states: set[str] = set()
    texts: list[str] = []
    at_ms: list[int] = []
    for row in asked:
        verified = _verified(row)
        if verified is None:
            states.add("unseen")
            texts.append(f"{row.box_id}: {row.state} {row.code} {row.text}".strip())
            continue
        at_ms.append(round(verified.at.timestamp() * 1000))
        states |= {place.state if place.state in ("clear", "occupied") else "unseen" for place in verified.places}
        if verified.text:
            texts.append(f"{row.box_id}: {verified.text}")
    sight: Any = "occupied" if "occupied" in states else "clear" if states == {"clear"} else "unseen"
    # of several places the one that was seen last says since when all of it is clear
    return Looked(sight, max(at_ms, default=None), text="; ".join(texts))


def _verified(row: CommandRow) -> Verified | None:
    if row.state != "ok":
        return None
    try:
        verified = Verified.model_validate_json(row.data)
    except ValidationError:
        log.warning("command %s: box %s answered something that cannot be read", row.id, row.box_id)
        return None
    return verified if verified.places else None


def _keep(
    session: Session,
    asked: Sequence[CommandRow],
    members: Sequence[IncidentRow],
    written: Collection[str] | None,
    now_ms: int,
) -> list[dict[str, str]]:
    """Put the pictures of a verification beside the others of its incidents, as `after`."""
    kept: list[dict[str, str]] = []
    new: list[PictureRow] = []
    for row in asked:
        args = json.loads(row.args)
        incident = _incident_at(members, row.box_id, args.get("camera"), args.get("zone"))
        of_command = select(CommandPicture).where(CommandPicture.command_id == row.id).order_by(CommandPicture.view)
        for picture in session.scalars(of_command):
            if written is None or incident is None:
                continue
            if picture.sha256 not in written:
                raise OSError(f"incident {incident}: expected its pictures to be written before")
            key = f"{incident}:asked:{picture.view}:{picture.sha256}"
            if session.get(PictureRow, key) is None:
                new.append(
                    PictureRow(
                        id=key,
                        box_id=row.box_id,
                        incident=incident,
                        role="after",
                        view=picture.view,
                        sha256=picture.sha256,
                        bytes=len(picture.jpeg),
                        received_ms=now_ms,
                    )
                )
            kept.append({"role": "after", "view": picture.view, "sha256": picture.sha256, "incident": incident})
    session.add_all(new)
    ledger.append_rows(session, new, now_ms)
    return kept


def _incident_at(members: Sequence[IncidentRow], box: str, camera: str | None, zone: str | None) -> str | None:
    """The newest incident of a place."""
    for one in reversed(members):
        data = Incident.model_validate_json(one.data)
        if (one.box_id, data.camera, data.zone) == (box, camera, zone):
            return one.id
    return None

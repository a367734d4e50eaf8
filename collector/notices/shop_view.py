"""What a shop's page shows: where the matter stands, in a sentence, what the shop may do, and what it has said."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from collector.evidence import seals
from collector.evidence.files import PictureFiles
from collector.notices import seams
from collector.notices.texts import RULES
from collector.people.actor import Actor
from collector.store import IncidentRow, NoticeAnswer, NoticeLink, NoticeRow, PictureRow, Ticket, TicketEvent
from collector.tickets.desk import able
from collector.web.language import N_, Text, Words
from protocol.messages import Incident

log = logging.getLogger(__name__)
PICTURES: Final = 4
VERBS: Final = {"shop_done": N_("I have put it right"), "appeal": N_("I object"), "not_mine": N_("This is not my shop")}
REASONS: Final = (
    N_("We have a permit for it"),
    N_("We are loading or unloading and clear it at once"),
    N_("It is not as the picture shows"),
)
"""To be chosen, for whoever would rather not type; the shop's own words may stand beside or instead."""
ASKED: Final = {
    "encroachment": N_("Please take goods, tables and chairs back inside"),
    "crowding": N_("Please help to spread the crowd in front of your shop and keep the way free"),
}
ASKED_ELSE: Final = N_("Please put the place in order soon")
TO_DO: Final = ("noticed", "community")
"""States in which the shop is asked to do something."""
_HANDLED: Final = ("calm", N_("The case is registered"), N_("Staff will come. You may still object."))
NOW: Final[Mapping[str, tuple[str, str, str]]] = {
    "pending_review": ("wait", N_("Staff are looking at the picture"), N_("You need not do anything now.")),
    "false_alarm": (
        "good",
        N_("It was reviewed and nothing was wrong"),
        N_("You need not do anything. We are sorry for the trouble."),
    ),
    "duplicate": ("calm", N_("Another notice is about the same"), N_("Please go by that one.")),
    "exempt": ("good", N_("A permit covers this"), N_("You need not do anything.")),
    "lapsed": ("good", N_("It is clear again"), N_("You need not do anything more.")),
    "noticed": ("act", "", N_("The camera looks again by itself; you need not go anywhere.")),
    "self_corrected": (
        "good",
        N_("Thank you! It is clear again"),
        N_("The camera has seen it. This matter has ended; you need not do anything more."),
    ),
    "community": ("act", "", N_("Somebody of the community will call on you.")),
    **dict.fromkeys(("registered", "dispatched", "handling", "rework"), _HANDLED),
    "verifying": (
        "wait",
        N_("It is being checked whether the place is clear"),
        N_("You need not do anything now; what comes of it is shown here."),
    ),
    "appealed": (
        "wait",
        N_("Your objection is being looked at"),
        N_("A person looks at it; meanwhile no time runs. What they decide is shown here, and we tell you."),
    ),
    "closed": ("good", N_("This matter has ended"), N_("The case is closed; you need not do anything more.")),
}
"""How it stands, by the ticket's state: tone, headline (empty: what to do), what happens now."""
LOOKING: Final = (
    "wait",
    N_("The camera is looking just now"),
    N_("Please wait a moment; what it sees is shown here by itself."),
)
SEEN: Final = {
    "occupied": N_("The camera looked at %(at)s: something still stands there."),
    "unseen": N_("The camera looked at %(at)s and could not see the place; it goes on looking."),
}
DECIDED: Final = {
    "uphold": N_("Your objection was accepted"),
    "reject": N_("Your objection was looked at and not accepted"),
}
VIEWS: Final = {"close": N_("near view"), "wide": N_("wide view")}
FAULTS: Final = {
    "no_reason": N_("Please choose or write why, then send it again."),
    "unknown": N_("That was not understood; please try again."),
    "enough": N_("We have heard you several times; please call us."),
}
LATE: Final = N_("Noted. The matter is past this; staff will see it.")


@dataclass(frozen=True)
class Picture:
    """One picture of the ticket; `number` is all that the page says of it."""

    number: int
    sha256: str
    view: str
    taken_ms: int
    width: int
    height: int


@dataclass(frozen=True)
class Answered:
    """What the shop has said."""

    at_ms: int
    words: str
    text: str


@dataclass(frozen=True)
class Decision:
    """What became of the shop's objection, and why."""

    at_ms: int
    words: str
    reason: str
    good: bool


@dataclass(frozen=True)
class Time:
    """The time that the shop has; `whole_ms` is all of it, `left_ms` what is left, negative once it is over."""

    due_ms: int
    left_ms: int
    whole_ms: int


@dataclass(frozen=True)
class View:
    """What the page shows.

    Args:
        version: another one where anything on the page is another.
        tone: `act`, `wait`, `good` or `calm`.
        time: None where none runs.
        seen: what the camera saw since the shop said that it is done, and when; None for nothing.
        verbs: what the ticket takes from its shop now.
    """

    number: int
    version: str
    shop: str
    address: str
    place: str
    rule: Text
    tone: str
    head: str
    now: str
    since_ms: int
    time: Time | None
    seen: tuple[str, int] | None
    verbs: tuple[str, ...]
    decision: Decision | None
    pictures: tuple[Picture, ...]
    answers: tuple[Answered, ...]

    @property
    def receipt(self) -> Answered | None:
        """What the shop said last, as long as nobody has decided on it."""
        last = self.answers[-1] if self.answers else None
        return None if last and self.decision and self.decision.at_ms >= last.at_ms else last


def view_of(session: Session, link: NoticeLink, files: PictureFiles, now_ms: int) -> View:
    """What the page of a link shows."""
    ticket = session.get_one(Ticket, link.ticket_number)
    known = seams.shop(session, link.shop)
    address, place = seams.place(session, ticket)
    answers = session.scalars(
        select(NoticeAnswer)
        .where(NoticeAnswer.ticket_number == ticket.number, NoticeAnswer.shop == link.shop)
        .order_by(NoticeAnswer.number)
    ).all()
    pictures = pictures_of(session, link, files)
    asked = ticket.state in TO_DO
    tone, head, now = LOOKING if asked and ticket.verify is not None else NOW[ticket.state]
    decision = None if ticket.state == "appealed" else _decision(session, ticket)
    # nobody objects to what was given up because they did
    over = decision is not None and decision.good and not ticket.open
    verbs = () if over else able(session, ticket, Actor.shop(link.shop), now_ms)
    return View(
        number=ticket.number,
        version=f"{ticket.version}.{len(answers)}.{len(pictures)}",
        shop=known.name if known is not None and known.name else link.shop,
        address=address,
        place=place,
        rule=Words(*RULES.get(ticket.rule, (ticket.rule, ticket.rule))),
        tone=tone,
        head=head or ASKED.get(ticket.rule, ASKED_ELSE),
        now=now,
        since_ms=ticket.opened_ms,
        time=_time(session, ticket, link, now_ms) if asked else None,
        seen=_seen(session, ticket) if asked and ticket.verify is None else None,
        verbs=tuple(verb for verb in VERBS if verb in verbs),
        decision=decision,
        pictures=pictures,
        answers=tuple(Answered(one.at_ms, VERBS[one.verb], one.text) for one in answers),
    )


def fault_of(session: Session, link: NoticeLink, code: str) -> str:
    """The line after a form was not taken as it was meant; empty where that is not true, whatever the address says."""
    verb = code.removesuffix("_late")
    if verb == code or verb not in VERBS:
        return FAULTS.get(code, "")
    late = select(NoticeAnswer.number).where(
        NoticeAnswer.ticket_number == link.ticket_number, NoticeAnswer.verb == verb, NoticeAnswer.code != ""
    )
    return LATE if session.scalar(late.limit(1)) is not None else ""


def _newest(session: Session, ticket: Ticket, *kinds: str) -> TicketEvent | None:
    line = select(TicketEvent).where(TicketEvent.ticket_number == ticket.number, TicketEvent.kind.in_(kinds))
    return session.scalars(line.order_by(TicketEvent.id.desc()).limit(1)).first()


def _decision(session: Session, ticket: Ticket) -> Decision | None:
    line = _newest(session, ticket, *DECIDED)
    return None if line is None else Decision(line.at_ms, DECIDED[line.kind], line.reason, line.kind == "uphold")


def _seen(session: Session, ticket: Ticket) -> tuple[str, int] | None:
    line = _newest(session, ticket, "looked", "shop_done", "told")
    if line is None or line.kind != "looked":
        return None
    text = SEEN.get(json.loads(line.detail or "{}").get("seen", ""))
    return None if text is None else (text, line.at_ms)


def _time(session: Session, ticket: Ticket, link: NoticeLink, now_ms: int) -> Time | None:
    """By when: as the desk reckons, else by what the notice said."""
    notice = session.get_one(NoticeRow, link.notice_number)
    from_ms, due_ms = ticket.told_ms or notice.told_ms or link.created_ms, ticket.shop_due_ms
    if due_ms is None:
        due_ms = notice.due_ms if notice.minutes is None else from_ms + notice.minutes * 60_000
    return None if due_ms is None else Time(due_ms, due_ms - now_ms, max(1, due_ms - from_ms))


def pictures_of(session: Session, link: NoticeLink, files: PictureFiles) -> tuple[Picture, ...]:
    """The masked pictures of this ticket that are here: newest incident first, as found, the near view first.

    None while their storage is away.
    """
    incidents = session.scalars(
        select(IncidentRow)
        .where(IncidentRow.ticket_number == link.ticket_number)
        .order_by(IncidentRow.opened_ms.desc())
    ).all()
    found: list[Picture] = []
    for row in incidents[:PICTURES]:
        data = Incident.model_validate_json(row.data)
        here = set(session.scalars(select(PictureRow.sha256).where(PictureRow.incident == row.id)))
        broken = {name for name, seal in seals.of(session, [row.id]).items() if seal.state == seals.BROKEN}
        shown = [one for one in data.evidence if one.role == "at" and one.masked and one.sha256 in here]
        shown = [one for one in shown if seals.picture_id(row.id, one) not in broken]
        for one in sorted(shown, key=lambda one: one.view != "close"):
            if len(found) == PICTURES:
                continue
            try:
                if not files.has(one.sha256):
                    continue
            except OSError as fault:  # the storage is away: each question may take seconds
                log.warning("pictures of ticket %d: %s", link.ticket_number, fault)
                return ()
            taken_ms = round(one.taken_at.timestamp() * 1000)
            view = VIEWS.get(one.view, one.view)
            found.append(Picture(len(found) + 1, one.sha256, view, taken_ms, one.width, one.height))
    return tuple(found)

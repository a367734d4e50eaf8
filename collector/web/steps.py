"""What somebody may do with a ticket, as buttons; what each asks for; and why a step was refused, for people."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from collector.people import roster
from collector.people.actor import EVERYWHERE, Actor
from collector.people.rights import may
from collector.places import permits
from collector.store import GrantRow, PersonRow, Ticket
from collector.tickets import machine, policy
from collector.tickets.desk import MAX_TEXT, RefusedError, able, bar
from collector.tickets.reasons import load_reasons
from collector.web import words
from collector.web.language import N_, Text, Words

_MIN_MS: Final = 60_000
_LATER_MIN: Final = (15, 30, 60, 2 * 60, 4 * 60, 24 * 60, 3 * 24 * 60, 7 * 24 * 60)
_MOST_NAMED: Final = 50


@dataclass(frozen=True)
class Option:
    """A choice of a field.

    Args:
        at_ms: an instant, written for the reader.
        span_ms: how much later than the present deadline that is.
        group: what it is one of.
    """

    value: str
    text: Text = ""
    at_ms: int | None = None
    span_ms: int | None = None
    group: Text = ""


@dataclass(frozen=True)
class Field:
    """What a step asks for.

    Args:
        name: of the argument; `reason` is the step's own.
        kind: a `choice` has options, a `number` may have some to pick from, `text` is long.
        value: what stands there at first.
    """

    name: str
    text: Text
    kind: Literal["choice", "number", "name", "text"]
    required: bool
    options: tuple[Option, ...] = ()
    value: str = ""
    longest: int = MAX_TEXT

    @property
    def is_number(self) -> bool:
        """Whether a program sends it as a number."""
        return self.kind == "number" or self.name.endswith("_ms")


@dataclass(frozen=True)
class Action:
    """A step that somebody may take now.

    Args:
        front: one of what this state is about; the others stand behind these.
        hint: what it leads to.
        barred: why it cannot be taken yet, where somebody might look for it.
    """

    verb: str
    text: Text
    hint: Text
    front: bool
    look: Literal["main", "plain", "danger"]
    fields: tuple[Field, ...] = ()
    barred: Text | None = None


TEXTS: Final[Mapping[str, tuple[Text, Text]]] = {
    "confirm": (N_("Confirm"), N_("The picture is right: people are told now.")),
    "inspect": (N_("Send somebody to look"), N_("No camera has seen it: they go there and say what they found.")),
    "found": (N_("Looked at on the spot"), N_("What was found there.")),
    "put_right": (N_("Put right in time"), N_("A person has seen it, within the shop's minutes.")),
    "false_alarm": (N_("False alarm"), N_("Nothing was wrong there.")),
    "duplicate": (N_("Duplicate"), N_("Another ticket has it already.")),
    "exempt": (N_("Exempt by permit"), N_("A permit of the register covers it.")),
    "reconsider": (N_("Take the judgement back"), N_("It is reviewed anew.")),
    "review": (N_("Confirm the picture"), N_("The shop was told before anybody had looked.")),
    "told": (N_("The shop was told"), N_("Say how; its minutes begin now.")),
    "pass_on": (N_("To the community"), N_("The shop cannot be told: the community calls.")),
    "solve": (N_("Solved by talking"), N_("Seen clear it is closed; else the camera is asked first.")),
    "register": (N_("Register the case"), N_("It becomes a case with a number.")),
    "dispatch": (N_("Dispatch"), N_("Somebody is sent; they are told.")),
    "send_back": (N_("Give back"), N_("It is not yours: somebody else is sent.")),
    "accept": (N_("Take it on"), N_("It is yours from now on.")),
    "feed_back": (N_("Report as done"), N_("The camera is asked to look.")),
    "close": (N_("Close the case"), N_("Without the camera, with your reason.")),
    "rework": (N_("Not good enough"), N_("It goes back to be done again.")),
    "withdraw": (N_("Withdraw the case"), N_("It is given up; it counts as no offence.")),
    "appeal": (N_("Record an objection"), N_("The shop objects: the clock stops until somebody decides.")),
    "uphold": (N_("Uphold the objection"), N_("The case is withdrawn; the shop hears your reason.")),
    "reject": (N_("Reject the objection"), N_("It goes on where it was; the shop hears your reason.")),
    "extend": (N_("Move the deadline"), N_("Counted from the present one, or from now where that is over.")),
    "urge": (N_("Change the urgency"), N_("Deadlines may become shorter.")),
    "remark": (N_("Add a remark"), N_("It stands in the time line.")),
}
"""By verb: what the button says, and what it leads to."""
FRONT: Final[Mapping[str, tuple[str, ...]]] = {
    "pending_review": ("confirm", "inspect", "found", "false_alarm", "duplicate", "exempt"),
    "noticed": ("review", "put_right", "told", "pass_on"),
    "community": ("review", "solve", "told", "register"),
    "registered": ("dispatch", "told"),
    "dispatched": ("accept", "send_back", "told"),
    "handling": ("feed_back", "send_back", "told"),
    "verifying": ("close", "rework", "told"),
    "rework": ("accept", "dispatch", "told"),
    "appealed": ("uphold", "reject"),
    "false_alarm": ("reconsider",),
    "duplicate": ("reconsider",),
    "exempt": ("reconsider",),
}
"""By state: what it is about; the first is what most do."""
DANGER: Final = ("withdraw", "false_alarm")
EVEN: Final = ("appealed", "verifying")
"""States in which a person judges: no button is to look like the right one."""
ASKS_WHY: Final = (
    *("inspect", "found", "put_right", "false_alarm", "duplicate", "exempt", "told", "solve", "register", "dispatch"),
    *("feed_back", "urge"),
)
"""Where a reason may be given; where the machine needs one it has to be."""
REASONS: Final[Mapping[str, Text]] = {
    "told": N_("How it was told"),
    "remark": N_("Remark"),
    "appeal": N_("What the shop says"),
    "feed_back": N_("What was done"),
    "solve": N_("What was done"),
}
WHY: Final[Mapping[str, Text]] = {
    "changed": N_("Somebody was quicker: the ticket has changed. Look at it again, then decide."),
    "not_now": N_("The ticket is past that by now. Look at it again."),
    "not_yours": N_("This is for others to do."),
    "missing": N_("Something is missing: fill in what is marked as required."),
    "invalid": N_("That cannot be taken: look at what you filled in."),
    "another_open": N_("Another ticket is open for the same place: go on with that one."),
    "unverified": N_("Nobody has looked at the place yet: send somebody, then say what they found."),
    "unreviewed": N_("Nobody has reviewed the picture yet: review it first."),
    "untold": N_("The shop was not told yet: tell it first, or say how it was told."),
    "early": N_("The shop's minutes are not over yet."),
    "full": N_("The case numbers of today are used up."),
    "no_shop": N_("There is no shop that could be told."),
    "busy": N_("The center is busy: try again in a moment."),
    "page_expired": N_("This page is too old: load it again."),
    "invalid.duplicate": N_("Give the number of another ticket of this street that is open or was handled."),
    "invalid.exempt": N_("Give a permit of this street's register that is good today."),
    "invalid.dispatch": N_("Choose somebody else who works at this street."),
    "invalid.extend": N_("Choose a later instant, not before what the shop was told."),
}
"""Why a step was refused, by code, and by code and verb."""


def why(fault: RefusedError, verb: str) -> Text:
    """Why a step was refused, for people."""
    return WHY.get(f"{fault.code}.{verb}") or WHY.get(fault.code) or Words(fault.zh, fault.text)


def read_args(verb: str, fields: Mapping[str, str]) -> dict[str, Any]:
    """What a form gave for a verb; a number that is none stays the text that it is, and is refused by the desk."""
    found: dict[str, Any] = {}
    for name, argument in machine.ARGUMENTS.get(verb, {}).items():
        text = fields.get(name, "").strip()
        is_number = argument.kind in ("number", "instant") and text.isdecimal() and len(text) < 18
        if text:
            found[name] = int(text) if is_number else text
    return found


def actions(session: Session, ticket: Ticket, who: Actor, now_ms: int) -> tuple[Action, ...]:
    """The steps that somebody may take now, those first that the state is about."""
    if not may(who, "tickets.act", ticket.street):
        return ()
    verbs = able(session, ticket, who, now_ms)
    front = FRONT.get(ticket.state, ())
    order = [*(verb for verb in front if verb in verbs), *(verb for verb in verbs if verb not in front)]
    found = []
    for at, verb in enumerate(order):
        text, hint = TEXTS[verb]
        main = at == 0 and verb in front and verb != "send_back" and ticket.state not in EVEN
        look: Literal["main", "plain", "danger"] = "main" if main else "danger" if verb in DANGER else "plain"
        found.append(Action(verb, text, hint, verb in front, look, _fields(session, ticket, verb, now_ms)))
    return (*found, *_barred(session, ticket, who, now_ms, verbs))


def _barred(session: Session, ticket: Ticket, who: Actor, now_ms: int, verbs: Iterable[str]) -> Iterable[Action]:
    """What the state is about and cannot be yet: without a word one would look for it."""
    for verb in machine.allowed(ticket.state, who.kind, who.roles(ticket.street)):
        line = machine.find(ticket.state, verb)
        if verb in ("register", "confirm") and verb not in verbs and line is not None:
            found = bar(session, ticket, line, now_ms)
            if found is not None:
                said = WHY.get(found.code) or Words(found.zh, found.text)
                yield Action(verb, *TEXTS[verb], front=True, look="plain", barred=said)


def _fields(session: Session, ticket: Ticket, verb: str, now_ms: int) -> tuple[Field, ...]:
    line = machine.find(ticket.state, verb)
    needs = () if line is None else line.needs
    made = {
        "false_alarm": _reason,
        "duplicate": _of,
        "exempt": _permit,
        "dispatch": _to,
        "inspect": _to,
        "found": _result,
        "close": _outcome,
        "extend": _due,
        "urge": _urgency,
    }
    found = list(made[verb](session, ticket, now_ms)) if verb in made else []
    if "reason" in needs or verb in ASKS_WHY:
        text = REASONS.get(verb, N_("Reason"))
        found.append(Field("reason", text, "text", "reason" in needs))
    return tuple(found)


NO_REASON: Final = N_("Choose why, or write it.")
"""A program may leave it out; a person at a page says it, as what is learned from it is counted."""


def _reason(_session: Session, _ticket: Ticket, _now_ms: int) -> Iterable[Field]:
    known = (Option(one.id, Words(one.zh, one.en)) for one in load_reasons().reason)
    options = (Option("", N_("Another one, in your own words")), *known)
    yield Field("reason_id", N_("Why"), "choice", required=False, options=options)


def _of(session: Session, ticket: Ticket, _now_ms: int) -> Iterable[Field]:
    near = select(Ticket.number, Ticket.state, Ticket.camera, Ticket.shop).where(
        Ticket.street == ticket.street, Ticket.number != ticket.number, Ticket.open == 1
    )
    rows = session.execute(near.order_by((Ticket.camera == ticket.camera).desc(), Ticket.number.desc()).limit(20))
    named = tuple(Option(str(row.number), words.words(words.STATES, row.state)) for row in rows)
    yield Field("of", N_("Number of the other ticket"), "number", required=True, options=named)


def _permit(session: Session, ticket: Ticket, now_ms: int) -> Iterable[Field]:
    work = policy.current(session, ticket.street).policy.working_time
    today = work.local(now_ms).date()
    good = permits.listed(session, streets=[ticket.street], on=today, state=permits.ACTIVE, limit=_MOST_NAMED)
    good.sort(key=lambda one: one.shop != ticket.shop)
    named = tuple(Option(one.number, Words(*(f"{one.number} · {one.issuer}",) * 2)) for one in good)
    yield Field("permit", N_("Permit"), "choice" if named else "name", required=True, options=named, longest=100)
    midnight_ms = work.instant_ms(today, 24 * 60)
    hours = range(now_ms - now_ms % (60 * _MIN_MS) + 60 * _MIN_MS, midnight_ms, 60 * _MIN_MS)
    until = (Option("", N_("End of the day")), *(Option(str(at_ms), at_ms=at_ms) for at_ms in hours))
    yield Field("until_ms", N_("Until"), "choice", required=False, options=until)


def _to(session: Session, ticket: Ticket, _now_ms: int) -> Iterable[Field]:
    """People who can be sent; a center without people takes any name."""
    rows = session.execute(
        select(PersonRow.id, PersonRow.name, GrantRow.role)
        .join(GrantRow, GrantRow.person_id == PersonRow.id)
        .where(PersonRow.disabled_ms.is_(None), GrantRow.role.in_(machine.FIELD))
        .where(GrantRow.street.in_((ticket.street, EVERYWHERE)))
        .order_by(GrantRow.role.desc(), PersonRow.name, PersonRow.id)
    )
    known: dict[str, Option] = {}
    for row in rows:
        if row.id != ticket.assignee:
            known.setdefault(row.id, Option(row.id, Words(row.name, row.name), group=words.OFFICES[row.role]))
    kind: Literal["choice", "name"] = "name" if roster.is_empty(session) else "choice"
    yield Field("to", N_("Who is sent"), kind, required=True, options=tuple(known.values()), longest=63)


def _outcome(_session: Session, ticket: Ticket, _now_ms: int) -> Iterable[Field]:
    options = tuple(Option(one, words.OUTCOMES[one]) for one in machine.OUTCOMES)
    value = "community" if ticket.state == machine.State.COMMUNITY else "handled"
    yield Field("outcome", N_("How it ended"), "choice", required=False, options=options, value=value)


def _due(_session: Session, ticket: Ticket, now_ms: int) -> Iterable[Field]:
    from_ms = max(now_ms, ticket.due_ms or 0) // _MIN_MS * _MIN_MS
    later = [(minutes * _MIN_MS, from_ms + minutes * _MIN_MS) for minutes in _LATER_MIN]
    options = tuple(Option(str(at_ms), at_ms=at_ms, span_ms=span_ms) for span_ms, at_ms in later)
    yield Field("due_ms", N_("New deadline"), "choice", required=True, options=options)


def _result(_session: Session, _ticket: Ticket, _now_ms: int) -> Iterable[Field]:
    options = tuple(Option(one, words.FINDINGS[one]) for one in machine.FINDINGS)
    yield Field("result", N_("What was found"), "choice", required=True, options=options)


def _urgency(_session: Session, ticket: Ticket, _now_ms: int) -> Iterable[Field]:
    options = tuple(Option(one, words.URGENCIES[one]) for one in machine.URGENCIES)
    yield Field("urgency", N_("Urgency"), "choice", required=True, options=options, value=ticket.urgency)

"""The one door through which tickets change: every step has its author, and leaves a line and a record.

A step writes the ticket's row, a line of its time line with what it was before, and a line of the audit log, in the
caller's transaction, under the lock of the ticket's key. What is refused says why, and what may be done now.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from collector.people import roster
from collector.people.actor import Actor
from collector.people.audit import record
from collector.store import IncidentRow, PermitRow, Ticket, TicketEvent, lock
from collector.tickets import cases, policy
from collector.tickets.book import GOES_ON
from collector.tickets.machine import (
    FIELD,
    FINAL,
    JUDGED,
    OUTCOMES,
    POLICY,
    URGENCIES,
    VERBS,
    State,
    Transition,
    allowed,
    argument_fault,
    find,
    may,
)
from collector.tickets.policy import Policy, Revision

QUIET: Final = ("remark", "escalate", "looked")
"""Steps after which a person who looked before may still act."""
AT_ONCE: Final = 0
"""A `look_ms` that is over by any clock."""
MAX_TEXT: Final = 2000
_DAY_MS: Final = 24 * 3600 * 1000
_WATCHED: Final = (
    *("state", "open", "since_ms", "closed_ms", "back", "reviewer", "policy", "due_ms", "due_kind", "level", "round"),
    *("told_ms", "shop_due_ms", "shop_asked_ms", "urgency", "offences", "assignee", "case_number", "outcome", "permit"),
    *("duplicate_of", "pause", "paused_until_ms", "left_ms", "verify"),
)
"""Columns whose former values a line of the time line keeps."""


class RefusedError(Exception):
    """A step that is not taken.

    Args:
        code: why, for machines.
        text: one line: what was expected, what came.
        allowed: the verbs that this actor may use now.
    """

    def __init__(self, code: str, text: str, allowed: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.code, self.text, self.allowed = code, text, allowed


@dataclass
class Step:
    """A step while it is being taken."""

    session: Session
    ticket: Ticket
    actor: Actor
    line: Transition
    at_ms: int
    reason: str
    args: Mapping[str, Any]
    rules: Revision
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def policy(self) -> Policy:
        """Of the ticket's street, as it is now."""
        return self.rules.policy

    def refuse(self, code: str, text: str) -> RefusedError:
        """What to raise."""
        return refusal(self.ticket, self.actor, code, text)


def refusal(ticket: Ticket, actor: Actor, code: str, text: str) -> RefusedError:
    """A refusal that says what this actor may do now."""
    able = allowed(ticket.state, actor.kind, actor.roles(ticket.street))
    return RefusedError(code, f"ticket {ticket.number}: {text}; allowed now: {', '.join(able) or 'nothing'}", able)


def hold(session: Session, number: int) -> Ticket:
    """A ticket as it is, locked until the transaction ends; raises RefusedError where there is none."""
    key = session.scalar(select(Ticket.key).where(Ticket.number == number))
    if key is None:
        raise RefusedError("unknown", f"expected a ticket of this center, got {number}")
    lock(session, [f"ticket/{key}"])
    ticket = session.get(Ticket, number, populate_existing=True)
    if ticket is None:
        raise RefusedError("unknown", f"expected a ticket of this center, got {number}")
    return ticket


def look(session: Session, number: int, at_ms: int = AT_ONCE) -> None:
    """Have the desk look at a ticket, at once or at an instant; an earlier look that is planned stays."""
    key = session.scalar(select(Ticket.key).where(Ticket.number == number))
    if key is not None:
        lock(session, [f"ticket/{key}"])
        sooner = (Ticket.look_ms.is_(None)) | (Ticket.look_ms > at_ms)
        session.execute(update(Ticket).where(Ticket.number == number, sooner).values(look_ms=at_ms))


def look_at_all(session: Session, tickets: Mapping[int, str]) -> None:
    """Have the desk look at several tickets at once; number to key."""
    lock(session, {f"ticket/{key}" for key in tickets.values()})
    session.execute(update(Ticket).where(Ticket.number.in_(tickets)).values(look_ms=AT_ONCE))


def act(
    session: Session,
    actor: Actor,
    number: int,
    verb: str,
    /,
    *,
    at_ms: int,
    seen: int | None = None,
    reason: str = "",
    **args: Any,
) -> Ticket:
    """Take a step with a ticket; raises RefusedError.

    Args:
        session: a transaction that writes (`Store.writing`).
        actor: who does it.
        number: the ticket's.
        verb: one of the machine's.
        at_ms: now.
        seen: the ticket's version that the actor looked at; another one has changed it since: refused.
        reason: in their words.
        args: what the verb takes.
    """
    ticket = hold(session, number)
    if seen is not None and seen != ticket.version:
        raise refusal(
            ticket, actor, "changed", f"expected version {seen} as you saw it, it is {ticket.version} ({ticket.state})"
        )
    return step(session, actor, ticket, verb, at_ms=at_ms, reason=reason, **args)


def step(
    session: Session, actor: Actor, ticket: Ticket, verb: str, /, *, at_ms: int, reason: str = "", **args: Any
) -> Ticket:
    """Take a step with a ticket that is held; raises RefusedError."""
    line = _permitted(ticket, actor, verb, reason, args)
    rules = policy.current(session, ticket.street)
    one = Step(session, ticket, actor, line, at_ms, reason.strip(), args, rules)
    before = {name: getattr(ticket, name) for name in _WATCHED}
    target = EFFECTS.get(verb, _stay)(one)
    if target is not None and target != ticket.state:
        _enter(one, target)
    changed = {name: value for name, value in before.items() if getattr(ticket, name) != value}
    _write(one, changed)
    return ticket


def _permitted(ticket: Ticket, actor: Actor, verb: str, reason: str, args: Mapping[str, Any]) -> Transition:
    if verb not in VERBS:
        raise refusal(ticket, actor, "unknown_verb", f"expected one of {', '.join(VERBS)}, got {verb!r:.60}")
    line = find(ticket.state, verb)
    if line is None:
        raise refusal(ticket, actor, "not_now", f"{verb} is not possible in state {ticket.state}")
    if not may(line, actor.kind, actor.roles(ticket.street)):
        raise refusal(ticket, actor, "not_yours", f"{verb} is for {', '.join(line.who)} of street {ticket.street}")
    if actor.kind == "shop" and actor.id != ticket.shop:
        raise refusal(ticket, actor, "not_yours", f"it belongs to shop {ticket.shop}, not to {actor.id}")
    for name in line.needs:
        given = reason.strip() if name == "reason" else args.get(name)
        if given in (None, ""):
            raise refusal(ticket, actor, "missing", f"{verb}: expected {name}, got none")
    fault = argument_fault(verb, args) if actor.kind in ("person", "shop") else ""
    if fault:
        raise refusal(ticket, actor, "invalid", fault)
    if len(reason) > MAX_TEXT:
        raise refusal(
            ticket, actor, "invalid", f"expected a reason of at most {MAX_TEXT} characters, got {len(reason)}"
        )
    return line


def _enter(one: Step, target: State) -> None:
    """Begin a state: its deadline, and whether the ticket is open."""
    ticket = one.ticket
    was_open = bool(ticket.open)
    if target not in FINAL and not was_open:
        other = one.session.scalar(
            select(Ticket.number).where(Ticket.key == ticket.key, Ticket.open == 1, Ticket.number != ticket.number)
        )
        if other is not None:
            raise one.refuse("another_open", f"ticket {other} is open for the same place: go on with that one")
    ticket.state, ticket.open, ticket.since_ms = str(target), int(target not in FINAL), one.at_ms
    ticket.closed_ms = one.at_ms if target in FINAL else None
    ticket.entered, ticket.news = ticket.version + 1, 0
    ticket.level, ticket.policy = 0, one.rules.number
    if target != State.PENDING_REVIEW:
        ticket.paused_until_ms = None  # a pause keeps quiet what waits for review, nothing else
    if ticket.acted_ms is None and one.line.verb not in ("hold", "release"):
        ticket.acted_ms = one.at_ms
    set_due(ticket, one.policy, one.at_ms)


def set_due(ticket: Ticket, rules: Policy, from_ms: int) -> None:
    """Set the deadline of a ticket's present state, counted from an instant, or from the end of quiet hours."""
    found = rules.deadline(State(ticket.state), ticket.urgency)
    if ticket.state == State.NOTICED:
        span, from_ms = rules.shop.tell_within, rules.not_before_ms("shop", from_ms)
        ticket.due_ms, ticket.due_kind = span.after(from_ms, rules.working_time), f"tell: {span}"
    elif found is None:
        ticket.due_ms, ticket.due_kind = None, ""
    else:
        name, span = found
        if ticket.state == State.COMMUNITY:
            from_ms = rules.not_before_ms("community", from_ms)
        ticket.due_ms, ticket.due_kind = span.after(from_ms, rules.working_time), f"{name}: {span}"
    ticket.due_entered = ticket.entered


def _write(one: Step, before: Mapping[str, Any]) -> None:
    ticket, verb = one.ticket, one.line.verb
    if verb not in QUIET:
        ticket.version += 1
        if "verify" in one.detail:
            ticket.verify = ticket.version
    ticket.changed_ms = one.at_ms
    # whatever was changed, the desk thinks again
    ticket.look_ms = AT_ONCE
    detail = {"version": ticket.version, "state": ticket.state, **one.detail}
    if "due_ms" in before:
        detail["due_ms"] = ticket.due_ms
    detail.pop("verify", None)
    # a program of theirs did it; the audit log says so by itself
    via = {"via": one.actor.via} if one.actor.via else {}
    one.session.add(
        TicketEvent(
            ticket_number=ticket.number,
            kind=verb,
            at_ms=one.at_ms,
            received_ms=one.at_ms,
            detail=json.dumps({**detail, **via}, ensure_ascii=False),
            author=str(one.actor),
            reason=one.reason,
            before=json.dumps(before, ensure_ascii=False),
        )
    )
    noted = {**detail, "reason": one.reason} if one.reason else detail
    record(one.session, one.actor, f"ticket.{verb}", f"ticket/{ticket.number}", noted, one.at_ms)


# what each verb does besides


Effect = Callable[[Step], State | None]


def _stay(one: Step) -> State | None:
    return one.line.targets[0] if one.line.targets else None


def _confirm(one: Step) -> State:
    ticket = one.ticket
    _reviewed(one)
    _weigh(one)
    first = one.policy.begins_with(ticket.rule, shop=ticket.shop is not None, offence=_offence(one))
    one.detail["first"] = first
    if first == "officer":
        _number(one)
        return State.REGISTERED
    if first == "community":
        return State.COMMUNITY
    ticket.shop_asked_ms = one.at_ms
    return State.NOTICED


def _notify(one: Step) -> State:
    ticket = one.ticket
    if ticket.shop is None:
        raise one.refuse("no_shop", "expected a shop to tell, it has none")
    ticket.reviewer = ticket.reviewed_ms = None
    _weigh(one)
    ticket.shop_asked_ms = one.at_ms
    return State.NOTICED


def _weigh(one: Step) -> None:
    """How urgent it is, and the how manieth."""
    ticket = one.ticket
    offence = _offence(one)
    ticket.offences = len(earlier(one.session, ticket))
    ticket.urgency = one.policy.urgency(ticket.rule, offence)
    ticket.outcome = ticket.back = ticket.permit = None
    ticket.told_ms = ticket.shop_due_ms = ticket.shop_asked_ms = None


def _offence(one: Step) -> policy.Offence | None:
    return one.policy.offence(days_before(one.session, one.ticket))


def days_before(session: Session, ticket: Ticket) -> tuple[float, ...]:
    """How many days before a ticket each earlier offence of its key began."""
    return tuple((ticket.opened_ms - at_ms) / _DAY_MS for at_ms in earlier(session, ticket))


def earlier(session: Session, ticket: Ticket) -> list[int]:
    """When the confirmed tickets of a key before this one began: what was false, exempt or withdrawn is no offence."""
    found = session.execute(
        select(Ticket.opened_ms, Ticket.state, Ticket.outcome).where(
            Ticket.key == ticket.key,
            Ticket.number != ticket.number,
            Ticket.opened_ms < ticket.opened_ms,
            Ticket.opened_ms >= ticket.opened_ms - 366 * _DAY_MS,
            Ticket.state.in_((State.SELF_CORRECTED, State.CLOSED)),
        )
    )
    return [row.opened_ms for row in found if row.outcome != "withdrawn"]


def _reviewed(one: Step) -> None:
    if one.actor.kind != "person":
        raise one.refuse("not_yours", "a picture is reviewed by a named person")
    one.ticket.reviewer, one.ticket.reviewed_ms = str(one.actor), one.at_ms


def _review(one: Step) -> None:
    if one.ticket.reviewer is not None:
        raise one.refuse("not_now", f"it was reviewed already, by {one.ticket.reviewer}")
    _reviewed(one)


def _duplicate(one: Step) -> State:
    of = one.args["of"]
    other = one.session.get(Ticket, of, populate_existing=True) if isinstance(of, int) else None
    if other is None or of == one.ticket.number or other.street != one.ticket.street:
        raise one.refuse("invalid", f"of: expected the number of another ticket of this street, got {of!r}")
    handled = other.state in (State.SELF_CORRECTED, State.CLOSED) and other.outcome != "withdrawn"
    if not other.open and not handled:
        raise one.refuse("invalid", f"of: expected a ticket that is open or was handled, {of} is {other.state}")
    one.ticket.duplicate_of = one.detail["of"] = of
    return State.DUPLICATE


def _exempt(one: Step) -> State:
    ticket = one.ticket
    by_policy = one.actor.kind == POLICY
    until_ms = int(one.args["until_ms"]) if by_policy else _by_hand(one, one.args.get("until_ms"))
    ticket.permit = str(one.args["permit"])[:100]
    _enter(one, State.EXEMPT)
    ticket.due_ms, ticket.due_kind = until_ms, "permit" if by_policy else "permit by hand"
    one.detail |= {"permit": ticket.permit, "until_ms": ticket.due_ms, "permit_id": one.args.get("permit_id")}
    return State.EXEMPT


def _by_hand(one: Step, until_ms: int | None) -> int:
    """Until when a permit is good that a person names: it has to be one, and is for the rest of the day at most."""
    work = one.policy.working_time
    today = work.local(one.at_ms).date()
    row = one.session.scalar(select(PermitRow).where(PermitRow.number == one.args["permit"]))
    good = row is not None and (row.state, row.street) == ("active", one.ticket.street)
    if row is None or not good or not row.from_day <= today.isoformat() <= row.until_day:
        text = f"permit: expected one of {one.ticket.street}'s register, active today, got {one.args['permit']!r}"
        raise one.refuse("invalid", text)
    last_ms = work.instant_ms(today, 24 * 60)
    if until_ms is not None and not one.at_ms < until_ms <= last_ms:
        raise one.refuse("invalid", f"until_ms: expected an instant of today, {last_ms} at the latest, got {until_ms}")
    return last_ms if until_ms is None else until_ms


def _anew(one: Step) -> State:
    """Back to review: another round, in which people are told anew."""
    ticket = one.ticket
    ticket.back = ticket.state if one.line.verb == "reopen" else None
    ticket.round += 1
    ticket.told_ms = ticket.shop_due_ms = ticket.shop_asked_ms = None
    ticket.verify = ticket.left_ms = None
    ticket.duplicate_of = None
    if one.line.verb != "reopen":
        ticket.outcome = None
    return State.PENDING_REVIEW


def _hold(one: Step) -> None:
    one.ticket.pause, one.ticket.paused_until_ms = one.args["pause"], one.args["until_ms"]
    one.detail |= {"pause": one.ticket.pause, "until_ms": one.ticket.paused_until_ms}


def _release(one: Step) -> None:
    # the review's time begins now: nobody could see it before
    one.ticket.paused_until_ms = None
    one.ticket.since_ms, one.ticket.entered = one.at_ms, one.ticket.version + 1
    set_due(one.ticket, one.policy, one.at_ms)


def _told(one: Step) -> None:
    ticket = one.ticket
    if ticket.told_ms is not None:
        raise one.refuse("not_now", "the shop was told already")
    if ticket.shop is None and one.actor.kind == POLICY:
        raise one.refuse("no_shop", "expected a shop that was told, it has none")
    told_ms = int(one.args.get("told_ms", one.at_ms)) if one.actor.kind == POLICY else one.at_ms
    ticket.told_ms, ticket.shop_asked_ms = told_ms, ticket.shop_asked_ms or told_ms
    # by what the step began with: the notice has said it
    rules = policy.revision(one.session, ticket.policy).policy
    span = rules.shop_span(rules.offence(days_before(one.session, ticket)))
    ticket.shop_due_ms = span.after(told_ms, rules.working_time)
    one.detail |= {"told_ms": told_ms, "shop_due_ms": ticket.shop_due_ms}
    if ticket.state == State.NOTICED:
        ticket.due_ms, ticket.due_kind, ticket.level = ticket.shop_due_ms, f"shop: {span}", 0


def _untold(one: Step) -> None:
    """The notice never came after all: what its minutes led to is not to be enforced."""
    ticket = one.ticket
    if ticket.told_ms is None or not told_by_notice(one.session, ticket):
        raise one.refuse("not_now", "no notice says that the shop was told")
    ticket.told_ms = ticket.shop_due_ms = None
    one.detail["how"] = one.args.get("how", "")
    if ticket.state == State.NOTICED:
        set_due(ticket, one.policy, one.at_ms)
        ticket.level = 0


def told_by_notice(session: Session, ticket: Ticket) -> bool:
    """Whether it is a notice, not a person, that says that the shop was told."""
    of_ticket = select(TicketEvent.author).where(TicketEvent.ticket_number == ticket.number, TicketEvent.kind == "told")
    author = session.scalar(of_ticket.order_by(TicketEvent.id.desc()).limit(1))
    return author is not None and author.partition(":")[0] == POLICY


def _time_up(one: Step) -> State:
    if one.ticket.shop_due_ms is None or one.at_ms < one.ticket.shop_due_ms:
        raise one.refuse("early", "the shop's minutes are not over")
    return State.COMMUNITY


def _ask(one: Step) -> None:
    """Have the boxes look."""
    one.detail["verify"] = True


def _shop_done(one: Step) -> None:
    if one.ticket.verify is not None:
        raise one.refuse("not_now", "the camera is being asked already")
    _ask(one)


def _looked(one: Step) -> None:
    one.ticket.verify = None
    one.detail["seen"] = one.args.get("seen", "not_seen")
    _pictures(one)


def _pictures(one: Step) -> None:
    if one.args.get("pictures"):
        one.detail["pictures"] = one.args["pictures"]
    if one.args.get("at_seen_ms"):
        one.detail["seen_ms"] = one.args["at_seen_ms"]


def _correct(one: Step) -> State:
    ticket = one.ticket
    clear_ms = one.args.get("clear_ms")
    if clear_ms is None or (ticket.shop_due_ms is not None and clear_ms > ticket.shop_due_ms):
        raise one.refuse("late", "it was not seen clear within the shop's minutes")
    ticket.verify = None
    one.detail["clear_ms"] = clear_ms
    _pictures(one)
    return State.SELF_CORRECTED


def _solve(one: Step) -> State:
    ticket = one.ticket
    if one.actor.kind == "camera" or seen_clear(one.session, ticket):
        ticket.outcome, ticket.verify = "community", None
        _pictures(one)
        return State.CLOSED
    ticket.outcome = "community"
    _ask(one)
    return State.VERIFYING


def _register(one: Step) -> State:
    ticket = one.ticket
    if ticket.reviewer is None:
        raise one.refuse("unreviewed", "expected a named person who reviewed the picture, nobody has; review it first")
    if ticket.shop_asked_ms is not None and ticket.told_ms is None:
        raise one.refuse("untold", "expected the shop to be told first, it was not; tell it, or say how it was told")
    if ticket.shop_due_ms is not None and one.at_ms < ticket.shop_due_ms:
        raise one.refuse("early", "the shop's minutes are not over")
    _number(one)
    return State.REGISTERED


def _number(one: Step) -> None:
    """A case number, once."""
    ticket = one.ticket
    if ticket.case_number is None and one.policy.region:
        day = one.policy.working_time.local(one.at_ms).date()
        try:
            ticket.case_number = cases.next_number(one.session, one.policy.region, day)
        except cases.CaseError as fault:
            raise one.refuse("full", str(fault)) from None
    one.detail["case_number"] = ticket.case_number


def _dispatch(one: Step) -> State:
    to, street = one.args["to"], one.ticket.street
    if not roster.works_at(one.session, to, FIELD, street):
        text = f"to: expected an active person who is {' or '.join(FIELD)} at {street}, got {to!r}"
        raise one.refuse("invalid", text)
    one.ticket.assignee = one.detail["to"] = to
    return State.DISPATCHED


def _send_back(one: Step) -> State:
    one.ticket.assignee = None
    return State.REGISTERED


def _accept(one: Step) -> State:
    one.ticket.assignee = one.ticket.assignee or one.actor.id
    return State.HANDLING


def _feed_back(one: Step) -> State:
    one.ticket.outcome = "handled"
    _pictures(one)
    _ask(one)
    return State.VERIFYING


def _verify_clear(one: Step) -> State:
    ticket = one.ticket
    ticket.verify = None
    one.detail["outcome"] = ticket.outcome
    _pictures(one)
    return State.CLOSED


def _verify_occupied(one: Step) -> State:
    ticket = one.ticket
    target = State.COMMUNITY if ticket.outcome == "community" else State.REWORK
    ticket.outcome = ticket.verify = None
    _pictures(one)
    return target


def _verify_unseen(one: Step) -> None:
    one.ticket.verify = None
    one.detail["text"] = str(one.args.get("text", ""))[:300]
    _pictures(one)


def _close(one: Step) -> State:
    outcome = one.args.get("outcome") or ("community" if one.ticket.state == State.COMMUNITY else "handled")
    if outcome not in OUTCOMES:
        raise one.refuse("invalid", f"outcome: expected one of {', '.join(OUTCOMES)}, got {outcome!r:.40}")
    return _closed(one, outcome)


def _closed(one: Step, outcome: str) -> State:
    one.ticket.outcome = one.detail["outcome"] = outcome
    one.ticket.verify = None
    return State.CLOSED


def _rework(one: Step) -> State:
    one.ticket.outcome = one.ticket.verify = None
    return State.REWORK


def _appeal(one: Step) -> State:
    ticket = one.ticket
    ticket.back = ticket.state
    ticket.left_ms = None if ticket.due_ms is None else max(0, ticket.due_ms - one.at_ms)
    ticket.verify = None
    one.detail["back"] = ticket.back
    return State.APPEALED


def _reject(one: Step) -> State:
    ticket = one.ticket
    target = State(ticket.back or State.COMMUNITY)
    stopped_ms = ticket.since_ms
    left_ms, kind = ticket.left_ms, ticket.due_kind
    if ticket.shop_due_ms is not None and ticket.shop_due_ms > stopped_ms:
        ticket.shop_due_ms += one.at_ms - stopped_ms
    _enter_again(one, target)
    if left_ms is not None and target not in FINAL:
        ticket.due_ms, ticket.due_kind = one.at_ms + left_ms, kind
    ticket.left_ms = ticket.back = None
    if target == State.VERIFYING:
        _ask(one)
    return target


def _uphold(one: Step) -> State:
    target = _closed(one, "withdrawn")
    _enter_again(one, target)
    return target


def _enter_again(one: Step, target: State) -> None:
    """Leave an appeal. What came to a case that was over joined it, as it was open again: nobody has judged that."""
    ticket = one.ticket
    _enter(one, target)
    if target not in FINAL:
        return
    appeal = (
        select(TicketEvent.before)
        .where(TicketEvent.ticket_number == ticket.number, TicketEvent.kind.in_(("appeal", "not_mine")))
        .order_by(TicketEvent.id.desc())
        .limit(1)
    )
    over_ms = json.loads(one.session.scalar(appeal) or "{}").get("closed_ms")
    if over_ms is None:
        return
    after = select(IncidentRow.id).where(
        IncidentRow.ticket_number == ticket.number, IncidentRow.state.in_(GOES_ON), IncidentRow.opened_ms > over_ms
    )
    ticket.news = int(one.session.scalar(after.limit(1)) is not None)


def _extend(one: Step) -> None:
    ticket = one.ticket
    due_ms = one.args["due_ms"]
    if not isinstance(due_ms, int) or not one.at_ms < due_ms <= one.at_ms + 366 * _DAY_MS:
        raise one.refuse("invalid", f"due_ms: expected an instant within the next 366 days, got {due_ms!r}")
    if ticket.state == State.NOTICED and ticket.told_ms is not None:
        if ticket.shop_due_ms is not None and due_ms < ticket.shop_due_ms:
            expected = f"expected no less than {ticket.shop_due_ms}, which the shop was told, got {due_ms}"
            raise one.refuse("invalid", f"due_ms: {expected}")
        ticket.shop_due_ms = due_ms
    ticket.due_ms, ticket.due_kind, ticket.level = due_ms, "extended", 0


def _urge(one: Step) -> None:
    ticket, urgency = one.ticket, one.args["urgency"]
    if urgency not in URGENCIES:
        raise one.refuse("invalid", f"urgency: expected one of {', '.join(URGENCIES)}, got {urgency!r:.40}")
    ticket.urgency = one.detail["urgency"] = urgency
    if ticket.state != State.NOTICED:
        set_due(ticket, one.policy, ticket.since_ms)
        ticket.level = 0


def _escalate(one: Step) -> None:
    one.ticket.level = one.detail["level"] = int(one.args["level"])
    one.detail |= {"to": one.args.get("to", ""), "whom": one.args.get("whom", "")}


EFFECTS: Final[Mapping[str, Effect]] = {
    "confirm": _confirm,
    "review": _review,
    "notify": _notify,
    "duplicate": _duplicate,
    "exempt": _exempt,
    "reopen": _anew,
    "resume": _anew,
    "reconsider": _anew,
    "hold": _hold,
    "release": _release,
    "told": _told,
    "untold": _untold,
    "time_up": _time_up,
    "shop_done": _shop_done,
    "looked": _looked,
    "correct": _correct,
    "solve": _solve,
    "register": _register,
    "dispatch": _dispatch,
    "send_back": _send_back,
    "accept": _accept,
    "feed_back": _feed_back,
    "verify_clear": _verify_clear,
    "verify_occupied": _verify_occupied,
    "verify_unseen": _verify_unseen,
    "close": _close,
    "rework": _rework,
    "withdraw": lambda one: _closed(one, "withdrawn"),
    "uphold": _uphold,
    "appeal": _appeal,
    "not_mine": _appeal,
    "reject": _reject,
    "extend": _extend,
    "urge": _urge,
    "escalate": _escalate,
}
"""What a verb does, and where it leads; the others just go where the table says."""


def seen_clear(session: Session, ticket: Ticket) -> bool:
    """Whether every place of a ticket was seen clear: one that ended without being seen, or is not seen, was not."""
    rows = session.execute(
        select(IncidentRow.state, IncidentRow.ended_ms).where(IncidentRow.ticket_number == ticket.number)
    ).all()
    since_ms = ticket.acted_ms or 0
    return any(row.state == "cleared" for row in rows) and all(
        row.state == "cleared" or (row.state == "ended" and (row.ended_ms or 0) < since_ms) for row in rows
    )


__all__ = ["JUDGED", "RefusedError", "act", "hold", "look", "step"]

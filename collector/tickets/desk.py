"""The one door through which tickets change: every step has its author, and leaves a line and a record.

A step writes the ticket's row, a line of its time line with what it was before, and a line of the audit log, in the
caller's transaction, under the lock of the ticket's key. What is refused says why, and what may be done now.
"""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from collector.people import roster
from collector.people.actor import Actor
from collector.people.audit import record
from collector.store import IncidentRow, PermitRow, Ticket, TicketEvent, lock
from collector.tickets import cases, facts, policy
from collector.tickets.book import GOES_ON
from collector.tickets.machine import (
    ENFORCED,
    FIELD,
    FINAL,
    JUDGED,
    OUTCOMES,
    POLICY,
    ROOM,
    SEEN,
    URGENCIES,
    VERBS,
    WORDS,
    State,
    Transition,
    allowed,
    argument_fault,
    find,
    good_number,
    may,
)
from collector.tickets.policy import Policy, Revision
from collector.tickets.reasons import load_reasons

QUIET: Final = ("remark", "escalate", "looked")
"""Steps after which a person who looked before may still act."""
AT_ONCE: Final = 0
"""A `look_ms` that is over by any clock."""
APPEALS: Final = ("appeal", "not_mine")
ANEW: Final = ("reopen", "resume", "reconsider")
"""Steps that begin another round."""
OF_ASSIGNEE: Final = ("send_back", "feed_back")
"""Steps of whoever has the ticket, and of the command room for them; of any field person while nobody has it."""
MAX_TEXT: Final = 2000
_DAY_MS: Final = 24 * 3600 * 1000
_WATCHED: Final = (
    *("state", "open", "since_ms", "closed_ms", "back", "reviewer", "policy", "due_ms", "due_kind", "level", "round"),
    *("told_ms", "shop_due_ms", "shop_asked_ms", "urgency", "offences", "assignee", "case_number", "outcome", "permit"),
    *("duplicate_of", "pause", "paused_until_ms", "left_ms", "verify", "found"),
)
"""Columns whose former values a line of the time line keeps."""


class RefusedError(Exception):
    """A step that is not taken.

    Args:
        code: why, for machines.
        text: one line: what was expected, what came.
        zh: the same in Chinese.
        allowed: the verbs that this actor may use now.
    """

    def __init__(self, code: str, text: str, zh: str, allowed: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.code, self.text, self.zh, self.allowed = code, text, zh, allowed


@dataclass(frozen=True)
class Bar:
    """Why a ticket does not take what the table allows in its state: a code, and a line in English and Chinese."""

    code: str
    text: str
    zh: str


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

    def refuse(self, code: str, text: str, zh: str) -> RefusedError:
        """What to raise."""
        return refusal(self.session, self.ticket, self.actor, self.at_ms, Bar(code, text, zh))


def refusal(session: Session, ticket: Ticket, actor: Actor, at_ms: int, bar: Bar) -> RefusedError:
    """A refusal that says what this actor may do now."""
    verbs = able(session, ticket, actor, at_ms)
    now = ", ".join(verbs)
    return RefusedError(
        bar.code,
        f"ticket {ticket.number}: {bar.text}; allowed now: {now or 'nothing'}",
        f"工单 {ticket.number}：{bar.zh}；现在可做：{now or '无'}",
        verbs,
    )


def unknown(number: int) -> RefusedError:
    """There is no such ticket, or none that whoever asks may know of."""
    return RefusedError("unknown", f"expected a ticket of this center, got {number}", f"本中心没有工单 {number}")


def able(session: Session, ticket: Ticket, actor: Actor, at_ms: int) -> tuple[str, ...]:
    """The verbs that an actor may use with a ticket now; whether their arguments are good is seen with them."""
    if actor.kind == "shop" and actor.id != ticket.shop:
        return ()
    verbs = allowed(ticket.state, actor.kind, actor.roles(ticket.street))
    lines = [
        line
        for verb in verbs
        if (line := find(ticket.state, verb)) is not None and not _of_another(ticket, actor, verb)
    ]
    return tuple(line.verb for line in lines if bar(session, ticket, line, at_ms) is None)


def _of_another(ticket: Ticket, actor: Actor, verb: str) -> bool:
    """Whether a step is for somebody else who has the ticket."""
    if verb not in OF_ASSIGNEE or ticket.assignee in (None, actor.id, str(actor)):
        return False
    return not actor.roles(ticket.street) & {*ROOM}


def hold(session: Session, number: int, beside: tuple[int, ...] = ()) -> Ticket:
    """A ticket as it is, locked until the transaction ends; raises RefusedError where there is none.

    Args:
        session: a transaction that writes.
        number: the ticket's.
        beside: others to be locked with it, at once: two that each wait for the other's lock would wait for ever.
    """
    ticket = hold_all(session, (number, *beside)).get(number)
    if ticket is None:
        raise unknown(number)
    return ticket


def hold_all(session: Session, numbers: Collection[int]) -> dict[int, Ticket]:
    """Several tickets as they are, by number, those that there are: locked at once, and before anything else is."""
    these = Ticket.number.in_(numbers)
    lock(session, {f"ticket/{key}" for key in session.scalars(select(Ticket.key).where(these))})
    rows = session.scalars(select(Ticket).where(these).execution_options(populate_existing=True))
    return {ticket.number: ticket for ticket in rows}


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
    of: Any = args.get("of")
    ticket = hold(session, number, (of,) if verb == "duplicate" and good_number(of) else ())
    if seen is not None and seen != ticket.version:
        late = Bar(
            "changed",
            f"expected version {seen} as you saw it, it is {ticket.version} ({ticket.state})",
            f"您看到的是第 {seen} 版，现在是第 {ticket.version} 版（{WORDS[State(ticket.state)][0]}），请刷新后再试",
        )
        raise refusal(session, ticket, actor, at_ms, late)
    return step(session, actor, ticket, verb, at_ms=at_ms, reason=reason, **args)


def step(
    session: Session, actor: Actor, ticket: Ticket, verb: str, /, *, at_ms: int, reason: str = "", **args: Any
) -> Ticket:
    """Take a step with a ticket that is held; raises RefusedError."""
    line = _permitted(session, ticket, actor, verb, at_ms, reason, args)
    rules = policy.current(session, ticket.street)
    one = Step(session, ticket, actor, line, at_ms, reason.strip(), args, rules)
    before = {name: getattr(ticket, name) for name in _WATCHED}
    target = EFFECTS.get(verb, _stay)(one)
    if target is not None and target != ticket.state:
        _enter(one, target)
    changed = {name: value for name, value in before.items() if getattr(ticket, name) != value}
    _write(one, changed)
    return ticket


def _permitted(
    session: Session, ticket: Ticket, actor: Actor, verb: str, at_ms: int, reason: str, args: Mapping[str, Any]
) -> Transition:
    def refuse(code: str, text: str, zh: str) -> RefusedError:
        return refusal(session, ticket, actor, at_ms, Bar(code, text, zh))

    if verb not in VERBS:
        among = ", ".join(VERBS)
        raise refuse(
            "unknown_verb", f"expected one of {among}, got {verb!r:.60}", f"应为 {among} 之一，收到 {verb!r:.60}"
        )
    line = find(ticket.state, verb)
    if line is None:
        name = WORDS[State(ticket.state)][0]
        raise refuse("not_now", f"{verb} is not possible in state {ticket.state}", f"{name}状态下不能 {verb}")
    if not may(line, actor.kind, actor.roles(ticket.street)):
        who = ", ".join(line.who)
        raise refuse(
            "not_yours", f"{verb} is for {who} of street {ticket.street}", f"{verb} 须由 {ticket.street} 的 {who}"
        )
    if actor.kind == "shop" and actor.id != ticket.shop:
        raise refuse("not_yours", f"it belongs to shop {ticket.shop}, not to {actor.id}", "不是该商户的工单")
    if _of_another(ticket, actor, verb):
        raise refuse(
            "not_yours", f"{verb} is for {ticket.assignee}, who has it", f"{verb} 须由承办人 {ticket.assignee}"
        )
    barred = bar(session, ticket, line, at_ms)
    if barred is not None:
        raise refusal(session, ticket, actor, at_ms, barred)
    for name in line.needs:
        given = reason.strip() if name == "reason" else args.get(name)
        if given in (None, ""):
            raise refuse("missing", f"{verb}: expected {name}, got none", f"{verb}：缺少 {name}")
    fault = argument_fault(verb, args) if actor.kind in ("person", "shop") else None
    if fault is not None:
        raise refuse("invalid", *fault)
    if len(reason) > MAX_TEXT:
        raise refuse(
            "invalid",
            f"expected a reason of at most {MAX_TEXT} characters, got {len(reason)}",
            f"reason：最多 {MAX_TEXT} 字，收到 {len(reason)} 字",
        )
    return line


def _enter(one: Step, target: State) -> None:
    """Begin a state: its deadline, and whether the ticket is open."""
    ticket = one.ticket
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
    was = {name: before.get(name, getattr(ticket, name)) for name in ("state", "due_ms", "told_ms")}
    facts.take(
        ticket, verb, one.at_ms, was, {"state": ticket.state, "told_ms": ticket.told_ms}, moved="due_ms" in before
    )
    if ticket.mark:  # else its facts are worked out yet, as a whole
        ticket.mark = facts.mark(ticket)
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
        raise one.refuse("no_shop", "expected a shop to tell, it has none", "没有可告知的商户")
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
    """When the confirmed tickets of a key before this one began: what was false, exempt or withdrawn is no offence.

    Of one that a person reported: those that cameras saw at its shop, too.
    """
    keys = {ticket.key} if ticket.shop is None else {ticket.key, f"{ticket.rule}/shop/{ticket.shop}"}
    found = session.execute(
        select(Ticket.opened_ms, Ticket.state, Ticket.outcome).where(
            Ticket.key.in_(keys),
            Ticket.number != ticket.number,
            Ticket.opened_ms < ticket.opened_ms,
            Ticket.opened_ms >= ticket.opened_ms - 366 * _DAY_MS,
            Ticket.state.in_((State.SELF_CORRECTED, State.CLOSED)),
        )
    )
    return [row.opened_ms for row in found if row.outcome != "withdrawn"]


def _reviewed(one: Step) -> None:
    if one.actor.kind != "person":
        raise one.refuse("not_yours", "a picture is reviewed by a named person", "图片须由具名人员核实")
    one.ticket.reviewer, one.ticket.reviewed_ms = str(one.actor), one.at_ms


def _false_alarm(one: Step) -> State | None:
    given = one.args.get("reason_id")
    if given is not None:
        table = load_reasons()
        reason = table.find(given)
        if reason is None:
            among = ", ".join(known.id for known in table.reason)
            raise one.refuse(
                "invalid",
                f"reason_id: expected one of {among}, got {given!r:.60}",
                f"reason_id：应为 {among} 之一，收到 {given!r:.60}",
            )
        one.detail["reason_id"] = reason.id
        one.reason = one.reason or f"{reason.zh} / {reason.en}"
    return _stay(one)


def _duplicate(one: Step) -> State:
    of = one.args["of"]
    other = one.session.get(Ticket, of, populate_existing=True)
    if other is None or of == one.ticket.number or other.street != one.ticket.street:
        raise one.refuse(
            "invalid",
            f"of: expected the number of another ticket of this street, got {of!r}",
            f"of：应为本街道另一工单的编号，收到 {of!r}",
        )
    handled = other.state in (State.SELF_CORRECTED, State.CLOSED) and other.outcome != "withdrawn"
    if not other.open and not handled:
        raise one.refuse(
            "invalid",
            f"of: expected a ticket that is open or was handled, {of} is {other.state}",
            f"of：应为未结或已处置的工单，{of} 为{WORDS[State(other.state)][0]}",
        )
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
        given = one.args["permit"]
        text = f"permit: expected one of {one.ticket.street}'s register, active today, got {given!r}"
        raise one.refuse("invalid", text, f"permit：应为 {one.ticket.street} 台账中今日有效的备案，收到 {given!r}")
    last_ms = work.instant_ms(today, 24 * 60)
    if until_ms is not None and not one.at_ms < until_ms <= last_ms:
        raise one.refuse(
            "invalid",
            f"until_ms: expected an instant of today, {last_ms} at the latest, got {until_ms}",
            f"until_ms：应在今日之内，最迟 {last_ms}，收到 {until_ms}",
        )
    return last_ms if until_ms is None else until_ms


def _anew(one: Step) -> State:
    """Back to review: another round, in which people are told anew."""
    ticket = one.ticket
    ticket.back = ticket.state if one.line.verb == "reopen" else None
    ticket.round += 1
    ticket.told_ms = ticket.shop_due_ms = ticket.shop_asked_ms = None
    ticket.verify = ticket.left_ms = None
    # whoever had it has nothing to do now, and is not told as if
    ticket.duplicate_of = ticket.assignee = None
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
    if ticket.shop is None and one.actor.kind == POLICY:
        raise one.refuse("no_shop", "expected a shop that was told, it has none", "没有可告知的商户")
    told_ms = int(one.args.get("told_ms", one.at_ms)) if one.actor.kind == POLICY else one.at_ms
    ticket.told_ms, ticket.shop_asked_ms = told_ms, ticket.shop_asked_ms or told_ms
    # by what the step began with: the notice has said it
    rules = policy.revision(one.session, ticket.policy).policy
    span = rules.shop_span(rules.offence(days_before(one.session, ticket)))
    ticket.shop_due_ms = _after_appeals(one, told_ms, span.after(told_ms, rules.working_time))
    one.detail |= {"told_ms": told_ms, "shop_due_ms": ticket.shop_due_ms}
    if ticket.state == State.NOTICED:
        ticket.due_ms, ticket.due_kind, ticket.level = ticket.shop_due_ms, f"shop: {span}", 0


def _after_appeals(one: Step, from_ms: int, due_ms: int) -> int:
    """A deadline of the shop's that runs from an instant, put off by what appeals have stopped of it since."""
    of_ticket = select(TicketEvent.kind, TicketEvent.at_ms).where(TicketEvent.ticket_number == one.ticket.number)
    began_ms = None
    for line in one.session.execute(
        of_ticket.where(TicketEvent.kind.in_((*APPEALS, "reject"))).order_by(TicketEvent.id)
    ):
        if line.kind in APPEALS:
            began_ms = line.at_ms
        elif began_ms is not None and began_ms < due_ms:
            due_ms += max(0, line.at_ms - max(began_ms, from_ms))
    return due_ms


def _untold(one: Step) -> State | None:
    """The notice never came after all: what its minutes led to is not to be enforced."""
    ticket = one.ticket
    ticket.told_ms = ticket.shop_due_ms = None
    one.detail["how"] = one.args.get("how", "")
    if ticket.state == State.NOTICED:
        set_due(ticket, one.policy, one.at_ms)
        ticket.level = 0
    if ticket.state == State.REGISTERED:
        _enter(one, State.COMMUNITY)
        ticket.ordered = ticket.entered  # its next channel tells the shop: it is not taken back
        return State.COMMUNITY
    return _stay(one)


def told_by_notice(session: Session, ticket: Ticket) -> bool:
    """Whether it is a notice, not a person, that says that the shop was told."""
    of_ticket = select(TicketEvent.author).where(TicketEvent.ticket_number == ticket.number, TicketEvent.kind == "told")
    author = session.scalar(of_ticket.order_by(TicketEvent.id.desc()).limit(1))
    return author is not None and author.partition(":")[0] == POLICY


def taken_back(session: Session, ticket: Ticket) -> bool:
    """Whether the shop was taken to have been told in this round, and it turned out that its notice never came."""
    of_ticket = select(TicketEvent.kind).where(TicketEvent.ticket_number == ticket.number)
    newest = of_ticket.where(TicketEvent.kind.in_(("confirm", "notify", "told", "untold")))
    return session.scalar(newest.order_by(TicketEvent.id.desc()).limit(1)) == "untold"


def _ask(one: Step) -> None:
    """Have the boxes look; where none can a person has to."""
    if one.ticket.box_id is not None:
        one.detail["verify"] = True


def _to(one: Step) -> str:
    """Who is sent."""
    to, street = str(one.args["to"]), one.ticket.street
    if not roster.works_at(one.session, to, FIELD, street):
        text = f"to: expected an active person who is {' or '.join(FIELD)} at {street}, got {to!r}"
        raise one.refuse("invalid", text, f"to：应为 {street} 在岗的执法队员或网格员，收到 {to!r}")
    one.detail["to"] = to
    return to


def _inspect(one: Step) -> None:
    one.ticket.assignee, one.ticket.found = _to(one), None


def _found(one: Step) -> None:
    one.ticket.found = one.detail["result"] = one.args["result"]
    one.ticket.assignee = None


def _put_right(one: Step) -> State:
    ticket = one.ticket
    ticket.cleared_ms = one.detail["clear_ms"] = one.at_ms
    return State.SELF_CORRECTED


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
        raise one.refuse("late", "it was not seen clear within the shop's minutes", "时限内未见恢复")
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
            raise one.refuse("full", str(fault), "没有可用的案号：今日已用完，或区划代码不合要求") from None
    one.detail["case_number"] = ticket.case_number


def _dispatch(one: Step) -> State:
    to, ticket = one.args["to"], one.ticket
    if ticket.state in (State.DISPATCHED, State.HANDLING) and to == ticket.assignee:
        raise one.refuse(
            "invalid", f"to: expected somebody else, {to} has it already", f"to：{to} 已是承办人，应为他人"
        )
    ticket.assignee = _to(one)
    if ticket.state == State.DISPATCHED:
        _enter(one, State.DISPATCHED)  # for whom it is new
    return State.DISPATCHED


def _send_back(one: Step) -> State:
    one.ticket.assignee = None
    return State.REGISTERED


def _accept(one: Step) -> State:
    # whoever is nearest takes it on: the ticket names who has it, its time line who had it before
    one.ticket.assignee = one.actor.id
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
        among = ", ".join(OUTCOMES)
        raise one.refuse(
            "invalid",
            f"outcome: expected one of {among}, got {outcome!r:.40}",
            f"outcome：应为 {among} 之一，收到 {outcome!r:.40}",
        )
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
    left_ms, rules, before = ticket.left_ms, ticket.policy, _before_appeal(one)
    if ticket.shop_due_ms is not None and ticket.shop_due_ms > stopped_ms:
        ticket.shop_due_ms += one.at_ms - stopped_ms
    _enter_again(one, target)
    if left_ms is not None and target not in FINAL:
        # the step goes on that had begun: with its own name, and by the policy that it began with
        ticket.due_ms, ticket.due_kind = one.at_ms + left_ms, str(before.get("due_kind", ticket.due_kind))
        ticket.policy = before.get("policy", rules)
    ticket.left_ms = ticket.back = None
    if target == State.VERIFYING:
        _ask(one)
    return target


def _uphold(one: Step) -> State:
    target = _closed(one, "withdrawn")
    _enter_again(one, target)
    return target


def _before_appeal(one: Step) -> dict[str, Any]:
    """What an appeal changed, as it was before."""
    appeal = (
        select(TicketEvent.before)
        .where(TicketEvent.ticket_number == one.ticket.number, TicketEvent.kind.in_(APPEALS))
        .order_by(TicketEvent.id.desc())
        .limit(1)
    )
    found: dict[str, Any] = json.loads(one.session.scalar(appeal) or "{}")
    return found


def _enter_again(one: Step, target: State) -> None:
    """Leave an appeal. What came to a case that was over joined it, as it was open again: nobody has judged that."""
    ticket = one.ticket
    _enter(one, target)
    if target not in FINAL:
        return
    over_ms = _before_appeal(one).get("closed_ms")
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
        raise one.refuse(
            "invalid",
            f"due_ms: expected an instant within the next 366 days, got {due_ms!r}",
            f"due_ms：应在今后 366 天之内，收到 {due_ms!r}",
        )
    if ticket.state == State.NOTICED and ticket.told_ms is not None:
        if ticket.shop_due_ms is not None and due_ms < ticket.shop_due_ms:
            told_ms = ticket.shop_due_ms
            raise one.refuse(
                "invalid",
                f"due_ms: expected no less than {told_ms}, which the shop was told, got {due_ms}",
                f"due_ms：不得早于已告知商户的 {told_ms}，收到 {due_ms}",
            )
        ticket.shop_due_ms = due_ms
    ticket.due_ms, ticket.due_kind, ticket.level = due_ms, "extended", 0


def _urge(one: Step) -> None:
    ticket, urgency = one.ticket, one.args["urgency"]
    if urgency not in URGENCIES:
        among = ", ".join(URGENCIES)
        raise one.refuse(
            "invalid",
            f"urgency: expected one of {among}, got {urgency!r:.40}",
            f"urgency：应为 {among} 之一，收到 {urgency!r:.40}",
        )
    ticket.urgency = one.detail["urgency"] = urgency
    if ticket.state != State.NOTICED:
        set_due(ticket, one.policy, ticket.since_ms)
        ticket.level = 0


def _escalate(one: Step) -> None:
    one.ticket.level = one.detail["level"] = int(one.args["level"])
    one.detail |= {"to": one.args.get("to", ""), "whom": one.args.get("whom", "")}


EFFECTS: Final[Mapping[str, Effect]] = {
    "confirm": _confirm,
    "inspect": _inspect,
    "found": _found,
    "put_right": _put_right,
    "review": _reviewed,
    "notify": _notify,
    "false_alarm": _false_alarm,
    "duplicate": _duplicate,
    "exempt": _exempt,
    "reopen": _anew,
    "resume": _anew,
    "reconsider": _anew,
    "hold": _hold,
    "release": _release,
    "told": _told,
    "untold": _untold,
    "shop_done": _ask,
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


# what a ticket does not take though its state would: of `register` and the like


def bar(session: Session, ticket: Ticket, line: Transition, at_ms: int) -> Bar | None:
    """Why a verb that the table has is not for this very ticket now; None: it is."""
    check = BARS.get(line.verb)
    found = None if check is None else check(session, ticket, at_ms)
    if found is None and not ticket.open and any(state not in FINAL for state in line.targets):
        return _another_open(session, ticket)
    return found


def _another_open(session: Session, ticket: Ticket) -> Bar | None:
    other = session.scalar(
        select(Ticket.number).where(Ticket.key == ticket.key, Ticket.open == 1, Ticket.number != ticket.number)
    )
    if other is None:
        return None
    return Bar(
        "another_open",
        f"ticket {other} is open for the same place: go on with that one",
        f"同一处已有未结工单 {other}，请在该工单上处理",
    )


EARLY: Final = Bar("early", "the shop's minutes are not over", "商户整改时限未到")
UNTOLD: Final = Bar(
    "untold",
    "expected the shop to be told first, it was not; tell it, or say how it was told",
    "须先告知商户：请告知，或说明如何告知",
)
UNREVIEWED: Final = Bar(
    "unreviewed",
    "expected a named person who reviewed the picture, nobody has; review it first",
    "图片尚无人核实，请先核实",
)


UNVERIFIED: Final = Bar(
    "unverified",
    "expected somebody who went there and found that it exists: no camera and nobody of the street has seen it",
    "须先派人到现场核实属实：非摄像头或网格员亲见",
)
SEEN_BY_CAMERA: Final = Bar("not_now", "a camera has seen it, and looks again", "有摄像头查看，无需此步")


def _no_confirm(_session: Session, ticket: Ticket, _at_ms: int) -> Bar | None:
    return None if ticket.source in SEEN or ticket.found == "exists" else UNVERIFIED


def _no_inspect(_session: Session, ticket: Ticket, _at_ms: int) -> Bar | None:
    return SEEN_BY_CAMERA if ticket.box_id is not None else None


def _no_put_right(_session: Session, ticket: Ticket, at_ms: int) -> Bar | None:
    if ticket.box_id is not None:
        return SEEN_BY_CAMERA
    if ticket.told_ms is None:
        return UNTOLD
    late = ticket.shop_due_ms is not None and at_ms > ticket.shop_due_ms
    return Bar("late", "the shop's minutes are over", "商户整改时限已过") if late else None


def _no_review(_session: Session, ticket: Ticket, _at_ms: int) -> Bar | None:
    by = ticket.reviewer
    return None if by is None else Bar("not_now", f"it was reviewed already, by {by}", f"已由 {by} 核实")


def _no_told(session: Session, ticket: Ticket, _at_ms: int) -> Bar | None:
    if ticket.told_ms is not None:
        return Bar("not_now", "the shop was told already", "商户已被告知")
    if ticket.state in ENFORCED and not taken_back(session, ticket):
        return Bar("not_now", "no notice of its shop has turned out not to have come", "没有被证实未送达的提醒")
    return None


def _no_untold(session: Session, ticket: Ticket, _at_ms: int) -> Bar | None:
    if ticket.told_ms is not None and told_by_notice(session, ticket):
        return None
    return Bar("not_now", "no notice says that the shop was told", "商户并非由提醒告知")


def _no_time_up(_session: Session, ticket: Ticket, at_ms: int) -> Bar | None:
    return EARLY if ticket.shop_due_ms is None or at_ms < ticket.shop_due_ms else None


def _no_shop_done(_session: Session, ticket: Ticket, _at_ms: int) -> Bar | None:
    asked = ticket.verify is not None
    return Bar("not_now", "the camera is being asked already", "摄像头正在查看") if asked else None


def _no_register(_session: Session, ticket: Ticket, at_ms: int) -> Bar | None:
    if ticket.reviewer is None:
        return UNREVIEWED
    if ticket.shop_asked_ms is not None and ticket.told_ms is None:
        return UNTOLD
    return EARLY if ticket.shop_due_ms is not None and at_ms < ticket.shop_due_ms else None


BARS: Final[Mapping[str, Callable[[Session, Ticket, int], Bar | None]]] = {
    "confirm": _no_confirm,
    "inspect": _no_inspect,
    "found": _no_inspect,
    "put_right": _no_put_right,
    "review": _no_review,
    "told": _no_told,
    "untold": _no_untold,
    "time_up": _no_time_up,
    "shop_done": _no_shop_done,
    "register": _no_register,
}
"""What a verb waits for beyond the state; asked before a step, and for what is said to be allowed."""


__all__ = ["JUDGED", "RefusedError", "act", "hold", "look", "step"]

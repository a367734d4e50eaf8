"""What must hold after a day, read from what the channels got, the time lines and the audit log against each other."""

import json
from collections import Counter, defaultdict
from datetime import datetime

from sqlalchemy import func, select

from collector.notices.routing import recipient_of
from collector.people.audit import START, digest
from collector.store import AuditRow, Box, CommandRow, IncidentRow, NoticeAttempt, NoticeRow, Ticket, TicketEvent
from collector.tickets.attend import PREFIX
from collector.tickets.machine import FINAL, State
from tests import second_opinion
from tests.collector.tickets.test_life_properties import check_lines
from tests.sim.day import BLIND, BOXES, DAY, END, POLICY, ZONE, Day
from tests.sim.line import Letter

AGAIN = ("reopen", "resume", "reconsider")
"""With these a new round begins, in which people are told anew."""
SENT, UNSURE = ("accepted", "sent", "delivered"), ("unsure",)
ENTERS = {
    ("operator", "alert"): State.PENDING_REVIEW,
    ("community", "task"): State.COMMUNITY,
    ("operator", "to_dispatch"): State.REGISTERED,
    ("officer", "task"): State.DISPATCHED,
    ("officer", "rework"): State.REWORK,
    ("operator", "appeal"): State.APPEALED,
}
"""Who is told as a state begins."""


def faults(day: Day) -> list[str]:
    """Everything that was forgotten, told twice, or done before its time; one line each."""
    found: list[str] = list(day.line.wrong)
    with day.store.transaction() as session:
        tickets = list(session.scalars(select(Ticket).order_by(Ticket.number)))
        lines = defaultdict(list)
        for event in session.scalars(select(TicketEvent).order_by(TicketEvent.id)):
            lines[event.ticket_number].append(event)
        rows = list(session.scalars(select(IncidentRow)))
        found += _chain(list(session.scalars(select(AuditRow).order_by(AuditRow.number))))
        assert session.scalar(select(func.count()).select_from(Box)) == BOXES
        notices = list(session.scalars(select(NoticeRow).order_by(NoticeRow.number)))
        requests = {one.request: one.notice_number for one in session.scalars(select(NoticeAttempt))}
        phones = {one.recipient: recipient_of(session, one).phone for one in notices if one.audience == "shop"}
    members = defaultdict(list)
    for row in rows:
        members[row.ticket_number].append(row)
    if {row.id for row in rows} != set(day.cases):
        found.append(f"incidents: {len(day.cases)} were sent, {len(rows)} are there")
    for ticket in tickets:
        found += [
            f"ticket {ticket.number} ({ticket.state}): {text}" for text in _of_ticket(day, ticket, lines, members)
        ]
        found += [f"ticket {ticket.number}: {text}" for text in _told(day, lines[ticket.number], ticket.number)]
    found += _arrivals(day.line.letters)
    found += _twice(day.line.letters, lines)
    found += _records(day, notices, requests, phones)
    found += _undelivered(notices, lines)
    found += second_opinion.differences(day.store, DAY.date(), END.date(), ZONE, day.now_ms)
    if day.faults:
        found.append(f"{day.faults} looks at tickets failed")
    return found


def _of_ticket(
    day: Day, ticket: Ticket, lines: dict[int, list[TicketEvent]], members: dict[int, list[IncidentRow]]
) -> list[str]:
    found = []
    mine = lines[ticket.number]
    if ticket.open != int(ticket.state not in FINAL):
        found.append(f"open is {ticket.open}")
    if ticket.open:
        late = ticket.due_ms is not None and ticket.due_ms < day.now_ms
        if not (late and ticket.level):
            found.append(f"neither ended nor overdue and escalated: due {ticket.due_ms}, level {ticket.level}")
        if ticket.look_ms is None:
            found.append("open, and nothing will look at it")
    found += _of_lines(ticket, mine)
    if any(event.kind == "correct" for event in mine):
        box, camera, _, _ = BLIND
        unseen = [one for one in members[ticket.number] if one.state == "open" and one.visibility == "not_seen"]
        if unseen and (ticket.box_id, ticket.camera) == (box, camera):
            found.append("corrected by a camera that sees nothing")
    return found


def _of_lines(ticket: Ticket, mine: list[TicketEvent]) -> list[str]:
    """Reads a time line again, as somebody would who checks whether all was done in its time."""
    try:
        check_lines(ticket, mine)
    except AssertionError as fault:
        return [f"a step without its grounds: {fault}"]
    return []


def _told(day: Day, mine: list[TicketEvent], number: int) -> list[str]:
    """Where the time line says by itself that the shop was told, a channel had taken its notice."""
    had = [one.at_s for one in day.line.letters if one.ticket == number and one.kind == "shop_notice" and one.taken]
    told = [event for event in mine if event.kind == "told" and event.author.startswith("policy")]
    return [
        f"told at {event.at_ms}, and no channel had its notice"
        for event in told
        if not any(int(at_s * 1000) <= event.at_ms for at_s in had)
    ]


def _arrivals(letters: list[Letter]) -> list[str]:
    """By when channels got them: quiet hours, and how many a shop got of one day."""
    found = []
    a_day: Counter[tuple[str, object]] = Counter()
    for one in letters:
        at = datetime.fromtimestamp(one.at_s, ZONE)
        if one.audience in POLICY.quiet.audiences and not 7 <= at.hour < 22:
            found.append(f"ticket {one.ticket}: {one.kind} came for the {one.audience} at {at:%H:%M:%S}")
        if one.audience == "shop" and one.read_s is not None:
            a_day[one.to, at.date()] += 1
    most = POLICY.shop.notices_a_day
    return found + [f"{to}: {count} messages on {day}" for (to, day), count in a_day.items() if count > most]


def _twice(letters: list[Letter], lines: dict[int, list[TicketEvent]]) -> list[str]:
    """Nobody got more of a kind than the time line has occasions for it."""
    found = []
    requests = Counter(one.request for one in letters if one.request and one.taken)
    found += [f"told twice by one try: {request}" for request, count in requests.items() if count > 1]
    for (audience, kind, ticket, level), count in Counter(one.key for one in letters if one.read_s is not None).items():
        mine = lines[ticket]
        if kind in ("overdue", "escalated"):
            occasions = sum(
                event.kind == "escalate" and str(json.loads(event.detail)["level"]) == level for event in mine
            )
        elif (audience, kind) in ENTERS:
            occasions = _entered(mine, ENTERS[audience, kind])
        elif audience == "shop":
            occasions = 1 + sum(event.kind in AGAIN for event in mine)
        else:
            occasions = sum("state" in json.loads(event.before or "{}") for event in mine)
        if count > occasions:
            found.append(f"ticket {ticket}: {audience} got {count} of {kind} {level}, for {occasions} occasions")
    return found


def _entered(mine: list[TicketEvent], state: State) -> int:
    """How often a state began; what the inbox opens has no line of it but the one that ends it."""
    steps = sum(
        "state" in json.loads(event.before or "{}") and json.loads(event.detail)["state"] == state for event in mine
    )
    if state != State.PENDING_REVIEW:
        return steps
    return steps + 1 + sum(event.kind in ("lapsed", "filed_late") for event in mine)


def _records(day: Day, notices: list[NoticeRow], requests: dict[str, int], phones: dict[str, str]) -> list[str]:
    """Every notice that was ordered is with a channel as often as the records say: once, or never, or nobody knows."""
    found = []
    by_number = {row.number: row for row in notices}
    got: Counter[int] = Counter()
    groups: dict[tuple[str, str, int, str], list[NoticeRow]] = defaultdict(list)
    for row in notices:
        if row.audience != "shop":
            level = row.level if row.kind in ("overdue", "escalated") else ""
            groups[row.audience, row.kind, row.ticket_number or 0, level].append(row)
        if row.state in ("waiting", "sending", "accepted") and row.next_ms < day.now_ms - 60_000:
            found.append(f"notice {row.number} ({row.kind}, ticket {row.ticket_number}): forgotten in {row.state}")
    for letter in day.line.letters:
        if letter.request and letter.taken:
            row = by_number[requests[letter.request]]
            got[row.number] += 1
            if (row.ticket_number, row.kind, phones[row.recipient]) != (letter.ticket, letter.kind, letter.to):
                found.append(f"notice {row.number} went to {letter.to} for ticket {letter.ticket}, {letter.kind}")
    for row in notices:
        if row.audience == "shop":
            sure, maybe = int(row.state in SENT), int(row.state in SENT or bool(row.doubt) or row.state in UNSURE)
            # one that the network did not deliver goes on over the next channel
            tried = 1 + (got[row.number] > 1 and row.step > 0)
            if not sure <= got[row.number] <= max(maybe, 1 if row.step else 0) * tried:
                found.append(f"notice {row.number} ({row.state} {row.code}): a channel had it {got[row.number]} times")
    taken = Counter(one.key for one in day.line.letters if one.taken and one.audience != "shop")
    for key in groups.keys() | taken.keys():
        rows = groups[key]
        sure = sum(row.state in SENT for row in rows)
        if not sure <= taken[key] <= sure + sum(row.state in UNSURE for row in rows):
            found.append(f"{key}: channels had {taken[key]}, the records say {[row.state for row in rows]}")
    return found


def _undelivered(notices: list[NoticeRow], lines: dict[int, list[TicketEvent]]) -> list[str]:
    """A shop's notice that came to nothing, or of which nobody knows, is told to an operator, or its ticket went on."""
    found = []
    asked = defaultdict(list)
    for row in notices:
        if row.kind == "undelivered":
            asked[row.ticket_number].append(row)
    for row in notices:
        if row.kind != "shop_notice" or row.state not in ("unsure", "failed", "limited", "expired"):
            continue
        ends_ms = row.changed_ms + 60_000
        went_on = any(row.created_ms <= event.at_ms <= ends_ms for event in lines[row.ticket_number] if event.before)
        if not went_on and not any(one.created_ms >= row.created_ms for one in asked[row.ticket_number]):
            found.append(f"notice {row.number} of ticket {row.ticket_number} is {row.state}, and no operator was told")
    return found


def _chain(rows: list[AuditRow]) -> list[str]:
    before = START
    for row in rows:
        if row.before != before or digest(row) != row.hash:
            return [f"audit line {row.number}: the chain is broken"]
        before = row.hash
    return []


def figures(day: Day) -> dict[str, object]:
    """What the day was like."""
    with day.store.transaction() as session:

        def counts(column: object, *where: object) -> dict[str, int]:
            query = select(column, func.count()).where(*where).group_by(column).order_by(column)
            return dict(session.execute(query).all())

        states = counts(Ticket.state)
        outcomes = counts(Ticket.outcome, Ticket.state == State.CLOSED)
        kinds = counts(TicketEvent.kind)
        notices = counts(NoticeRow.state)
        kept_quiet = session.scalar(select(func.count()).where(Ticket.pause.is_not(None)))
        numbered = session.scalar(select(func.count()).where(Ticket.case_number.is_not(None)))
        verified = session.scalar(select(func.count()).where(CommandRow.id.like(f"{PREFIX}-%")))
        repeats = session.scalar(select(func.count()).where(Ticket.repeat_of.is_not(None)))
    letters = day.line.letters
    return {
        "incidents": len(day.cases),
        "tickets": sum(states.values()),
        "states": states,
        "outcomes": outcomes,
        "repeats": repeats,
        "kept_quiet": kept_quiet,
        "case_numbers": numbered,
        "boxes_asked": verified,
        "notices": notices,
        "told": dict(sorted(Counter(f"{one.audience}: {one.kind}" for one in letters if one.taken).items())),
        "answers": dict(sorted(Counter(f"{one.channel}: {one.said}" for one in letters).items())),
        "killed_while_sending": day.died,
        "acts": day.people.acts,
        "refused": dict(sorted(day.people.refused.items())),
        "lines": kinds,
        "looks": day.looks,
        "steps": day.steps,
        "clock_jumps": day.jumps,
    }

"""What a ticket's history comes to, kept on its row with each step, so that indicators read no time lines.

`take` is one step's part of it; taken over all lines of a time line it gives the same again, which is what
`indicators rebuild` does.
"""

import json
from collections.abc import Mapping
from enum import StrEnum
from hashlib import blake2b
from typing import Any, Final, Protocol

from collector.store import Ticket, TicketEvent
from collector.tickets.machine import ENFORCED, State


class Verdict(StrEnum):
    """What was last judged of a ticket."""

    NONE = ""
    CONFIRMED = "confirmed"
    FALSE_ALARM = "false_alarm"
    DUPLICATE = "duplicate"
    EXEMPT = "exempt"
    UNFOUNDED = "unfounded"
    """An objection held."""


VERDICTS: Final = {
    "confirm": Verdict.CONFIRMED,
    "review": Verdict.CONFIRMED,
    "false_alarm": Verdict.FALSE_ALARM,
    "duplicate": Verdict.DUPLICATE,
    "exempt": Verdict.EXEMPT,
    "uphold": Verdict.UNFOUNDED,
    "resume": Verdict.NONE,
    "reconsider": Verdict.NONE,
}
"""By verb; others leave it."""
NOTHING: Final[Mapping[str, Any]] = {
    "verdict": Verdict.NONE,
    "first_told_ms": None,
    "registered_ms": None,
    "fed_back": 0,
    "reworked": 0,
    "overdue": 0,
}
"""The columns, of a ticket to which nothing has happened."""
MARK_BYTES: Final = 5
"""Sums of half a million marks a day still fit into 64 bits."""


class Marked(Protocol):
    """What a mark is made of; all steps change the version, the inbox changes the rest."""

    number: int
    version: int
    opened_ms: int
    cleared_ms: int | None
    late: int
    reopened: int


def mark(ticket: Marked) -> int:
    """A number that changes when anything changes that indicators are made of; never 0, and odd."""
    made = (ticket.number, ticket.version, ticket.opened_ms, ticket.cleared_ms, ticket.late, ticket.reopened)
    return int.from_bytes(blake2b(repr(made).encode(), digest_size=MARK_BYTES).digest()) | 1


def take(ticket: Ticket, verb: str, at_ms: int, was: Mapping[str, Any], now: Mapping[str, Any], *, moved: bool) -> None:
    """Add what a step comes to.

    Args:
        ticket: whose columns change.
        verb: the step.
        at_ms: when.
        was: `state`, `due_ms`, `told_ms` before it.
        now: `state` after it, and of `told`: `told_ms`.
        moved: the deadline is another one.
    """
    ticket.verdict = VERDICTS.get(verb, ticket.verdict)
    state, entered, registered = was["state"], now["state"], ticket.registered_ms is not None
    if verb == "told" and ticket.first_told_ms is None:
        ticket.first_told_ms = now["told_ms"]
    if verb == "untold" and ticket.first_told_ms == was["told_ms"]:
        ticket.first_told_ms = None
    if entered == State.REGISTERED and ticket.registered_ms is None:
        ticket.registered_ms = at_ms
    if verb == "untold" and state == State.REGISTERED:
        ticket.registered_ms = None
    ticket.fed_back += verb == "feed_back"
    ticket.reworked += entered == State.REWORK and verb in ("verify_occupied", "rework")
    over = was["due_ms"] is not None and at_ms > was["due_ms"]
    # one that is moved after it was over was over all the same
    ticket.overdue += registered and state in ENFORCED and over and (moved or entered != state)


def replay(ticket: Ticket, lines: list[TicketEvent]) -> None:
    """Work the columns of a ticket out anew from its time line, in the order in which it was written.

    Where they differ, its mark does: what was packed, or read, with the others is no good any more.
    """
    kept = [getattr(ticket, name) for name in NOTHING]
    for name, value in NOTHING.items():
        setattr(ticket, name, value)
    was: dict[str, Any] = {"state": State.PENDING_REVIEW, "due_ms": None, "told_ms": None}
    for line in lines:
        detail = json.loads(line.detail)
        if line.before is not None:
            before = json.loads(line.before)
            was |= {name: before[name] for name in was if name in before}
            now = {**was, **{name: detail[name] for name in was if name in detail}}
            take(ticket, line.kind, line.at_ms, was, now, moved="due_ms" in before)
            was = now
            if line.kind == "untold":
                was["told_ms"] = None
        elif line.kind == "due":
            was["due_ms"] = detail["due_ms"]
    right = mark(ticket)
    if [getattr(ticket, name) for name in NOTHING] != kept:
        ticket.mark = right + (ticket.mark == right)
    elif ticket.mark != right + 1:
        ticket.mark = right

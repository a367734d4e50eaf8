"""Commands to boxes, as rows: whoever asks adds one, any collector sends it, any collector takes the reply."""

import json
import logging
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from collector.store import Box, CommandPicture, CommandRow
from protocol.commands import BOX_COMMAND, LIFE_S, Command, CommandEvent, Reply, read_arguments
from protocol.instants import from_epoch
from protocol.messages import MessageError, dataschema, source
from protocol.pictures import AnswerHeader
from protocol.topics import Topic

log = logging.getLogger(__name__)

RESEND_MS: Final = 10_000
"""A box that has it already sends the same reply again."""
GRACE_MS: Final = 30_000
"""A command that was begun in its last second may take so long."""
GOES_ON_MS: Final = 180_000
"""What was accepted is done by then: a restart, for one."""
KEEP_PICTURES_MS: Final = 24 * 3600 * 1000
PICTURES_AFTER_MS: Final = 60_000
"""Pictures of a command come with its reply; later ones are not kept."""
LATE_MS: Final = 900_000
"""A box that was cut off sends pictures and reply once it is back, for ten minutes; the reply counts, so they do."""
MAX_VIEWS: Final = 4
"""A box sends `wide` and `close`; it must not fill the database."""
OPEN: Final = ("waiting", "sent", "accepted")
CENTER: Final = "center"
"""Site in the `source` of what the center says."""


class OrderError(Exception):
    """A command that cannot be given; one line that says what was expected, what came and what to do."""


@dataclass(frozen=True)
class Outgoing:
    """A message to a box."""

    key: str | int
    topic: Topic
    payload: bytes
    expiry_s: int | None = None


def ask(
    session: Session,
    box: str,
    verb: str,
    args: dict[str, Any],
    *,
    command: str,
    by: str,
    now_ms: int,
    life_s: float = LIFE_S,
) -> CommandRow:
    """Give a box a command; raises OrderError.

    Args:
        session: a transaction.
        box: its id.
        verb: one of `protocol.commands.VERBS`.
        args: what that takes.
        command: its id, new.
        by: who asks.
        now_ms: milliseconds since the epoch.
        life_s: it is not begun after this long.
    """
    known_box(session, box)
    try:
        read_arguments(verb, args)
    except MessageError as fault:
        raise OrderError(f"指令有误 / {fault}") from None
    row = CommandRow(
        id=command,
        box_id=box,
        verb=verb,
        args=json.dumps(args),
        by=by,
        asked_ms=now_ms,
        expires_ms=now_ms + round(life_s * 1000),
        state="waiting",
        code="",
        text="",
        data="{}",
    )
    session.add(row)
    session.flush()
    log.info("command %s: %s asks box %s for %s", command, by, box, verb)
    return row


def known_box(session: Session, box: str) -> Box:
    """A box; raises OrderError for one that this center does not know."""
    row = session.get(Box, box)
    if row is None:
        known = session.scalars(select(Box.id).order_by(Box.id).limit(10)).all()
        raise OrderError(
            f"本中心没有盒子 {box!r:.80} / "
            f"box: expected one that this center knows ({', '.join(known) or 'none yet'}), got {box!r:.80}"
        )
    return row


def due(session: Session, center: str, now_ms: int) -> list[Outgoing]:
    """What is to be sent now: new commands, and those that nobody has answered for a while."""
    rows = session.execute(
        select(CommandRow, Box.site)
        .join(Box, Box.id == CommandRow.box_id)
        .where(CommandRow.state.in_(("waiting", "sent")), CommandRow.expires_ms > now_ms)
        .order_by(CommandRow.asked_ms)
    ).all()
    return [
        Outgoing(row.id, Topic(site, row.box_id, "command"), _event(row, center).to_json(), _left_s(row, now_ms))
        for row, site in rows
        if row.sent_ms is None or now_ms - row.sent_ms >= RESEND_MS
    ]


def any_open(session: Session) -> bool:
    """Whether a command waits to be sent or answered."""
    return session.scalars(select(CommandRow.id).where(CommandRow.state.in_(OPEN)).limit(1)).first() is not None


def sent(session: Session, command: str, now_ms: int) -> None:
    """Note that a command is on its way."""
    session.execute(
        update(CommandRow)
        .where(CommandRow.id == command, CommandRow.state.in_(("waiting", "sent")))
        .values(state="sent", sent_ms=now_ms)
    )


def overdue(session: Session, now_ms: int) -> int:
    """Give up on what was not answered; says how many."""
    late = update(CommandRow).values(state="timed_out", code="timed_out")
    unheard = session.execute(
        late.where(CommandRow.state == "waiting", CommandRow.expires_ms + GRACE_MS < now_ms).values(
            text="it was never sent: no collector was connected to the broker"
        )
    )
    silent = session.execute(
        late.where(CommandRow.state == "sent", CommandRow.expires_ms + GRACE_MS < now_ms).values(
            text="the box did not answer; is it online?"
        )
    )
    stuck = session.execute(
        late.where(CommandRow.state == "accepted", CommandRow.replied_ms + GOES_ON_MS < now_ms).values(
            text="the box began, and did not say that it was done"
        )
    )
    return sum(int(getattr(one, "rowcount", 0)) for one in (unheard, silent, stuck))


def forget_pictures(session: Session, now_ms: int) -> None:
    """Delete the pictures of commands after a day."""
    session.execute(delete(CommandPicture).where(CommandPicture.received_ms < now_ms - KEEP_PICTURES_MS))


def take_reply(session: Session, box: Box, reply: Reply, received_ms: int) -> None:
    """Take a box's reply; raises MessageError. One that comes again, or after the last one, changes nothing."""
    row = _of_box(session, box, reply.command)
    if row.state not in (*OPEN, "timed_out") or (row.state == "accepted" and reply.outcome == "accepted"):
        return
    row.state, row.code, row.text = reply.outcome, reply.code, reply.text
    row.data, row.replied_ms = json.dumps(reply.data), received_ms
    if row.verb == "secret":
        row.args = json.dumps({"name": json.loads(row.args).get("name")})


def take_picture(session: Session, box: Box, header: AnswerHeader, jpeg: bytes, received_ms: int) -> None:
    """Take a picture that a command asked for; raises MessageError. One too late, or one too many, is not kept."""
    row = _of_box(session, box, header.command)
    until_ms = row.expires_ms + LATE_MS if row.replied_ms is None else row.replied_ms + PICTURES_AFTER_MS
    if row.state not in OPEN and received_ms > until_ms:
        return
    views = select(func.count()).select_from(CommandPicture).where(CommandPicture.command_id == row.id)
    if session.get(CommandPicture, (row.id, header.view)) is None and session.scalars(views).one() < MAX_VIEWS:
        session.add(
            CommandPicture(
                command_id=row.id,
                view=header.view,
                role=header.role,
                sha256=header.sha256,
                jpeg=jpeg,
                received_ms=received_ms,
            )
        )
        session.flush()


def _of_box(session: Session, box: Box, command: str) -> CommandRow:
    row = session.get(CommandRow, command)
    if row is None:
        raise MessageError("unknown_command", f"expected a command of this center, got {command!r}")
    if row.box_id != box.id:
        raise MessageError("wrong_box", f"expected {command} to be answered by box {row.box_id}, got it from {box.id}")
    return row


def _event(row: CommandRow, center: str) -> CommandEvent:
    return CommandEvent(
        id=row.id,
        source=source(CENTER, center),
        type=BOX_COMMAND,
        time=from_epoch(row.asked_ms / 1000),
        dataschema=dataschema("command"),
        data=Command(verb=row.verb, args=json.loads(row.args), expires_at=from_epoch(row.expires_ms / 1000)),
    )


def _left_s(row: CommandRow, now_ms: int) -> int:
    return max(1, -(-(row.expires_ms - now_ms) // 1000))

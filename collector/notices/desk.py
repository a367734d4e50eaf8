"""What people at the center see and do with notices: lists, previews, and deciding where nobody knows."""

from dataclasses import dataclass
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from collector.notices import seams
from collector.notices.messages import ChannelBase, Message
from collector.notices.routing import Reach, named
from collector.notices.secrets import masked
from collector.notices.settings import NoticesSection, ShopPagesSection, length_of
from collector.notices.texts import Facts, choose, render, values
from collector.people.actor import Actor
from collector.people.audit import record
from collector.store import NoticeAnswer, NoticeAttempt, NoticeRow, Ticket, lock
from protocol.instants import from_epoch, rfc3339

SAMPLE_TOKEN: Final = "Ab3dEf6hIj9kLm2nOp5qRs"  # noqa: S105 - it opens nothing
SAMPLE_SINCE_MS: Final = 12 * 60_000
DECISIONS: Final = ("told", "again", "failed")


class DecisionError(Exception):
    """A decision that cannot be taken; one line that says what was expected, what came and what is allowed."""


@dataclass(frozen=True)
class Preview:
    """How a notice reads."""

    subject: str
    body: str
    characters: int
    parts: int
    """Of an SMS."""


def sample(
    kind: str, language: str, notices: NoticesSection, center: str, zone: ZoneInfo, now_ms: int,
    *, shop: str = "", minutes: int | None = 5, rule: str = "encroachment", text: str = "",
) -> Facts:  # fmt: skip
    """Facts to try a template with."""
    zh = language == "zh"
    return Facts(
        kind=kind,
        language="zh" if zh else "en",
        zone=zone,
        now_ms=now_ms,
        center=center,
        street="xiaohe",
        ticket=1024,
        rule=rule,
        shop=shop or ("王记水果店" if zh else "Wang's Fruit"),
        place="xiaohe-0001/cam-1/front",
        level="normal",
        since_ms=now_ms - SAMPLE_SINCE_MS,
        due_ms=None if minutes is None else now_ms + minutes * 60_000,
        contact=notices.contact,
        text=text,
    )


def preview(facts: Facts, audience: str, notices: NoticesSection, pages: ShopPagesSection, sign: str = "") -> Preview:
    """Render a notice with a link that leads nowhere; raises TemplateError."""
    found = sample_values(facts, audience, pages)
    text = render(choose(notices.texts(), audience, facts.kind, facts.language), found)
    characters, parts = length_of(text.body, sign)
    return Preview(text.subject, text.body, characters, parts)


def sample_values(facts: Facts, audience: str, pages: ShopPagesSection) -> dict[str, str]:
    """Fields of a sample, with a link that leads nowhere."""
    has_page = audience == "shop" and pages.url is not None
    return values(facts, link=pages.link(SAMPLE_TOKEN) if has_page else "", token=SAMPLE_TOKEN if has_page else "")


def sample_message(
    channel: ChannelBase, facts: Facts, audience: str, to: str, request: str,
    notices: NoticesSection, pages: ShopPagesSection,
) -> Message:  # fmt: skip
    """A message to try a channel with; raises TemplateError."""
    found = sample_values(facts, audience, pages)
    text = render(choose(notices.texts(), audience, facts.kind, facts.language), found)
    reach = Reach(address=to, device=to if channel.address_kind() == "device" else "")
    return Message(
        request=request,
        audience=audience,
        kind=facts.kind,
        language=facts.language,
        to=reach.address,
        subject=text.subject,
        body=text.body,
        values=found,
        device=reach.device,
    )


def decide(session: Session, actor: Actor, number: int, decision: str, reason: str, now_ms: int) -> NoticeRow:
    """Say what became of a notice of which nobody knows, or that failed; raises DecisionError.

    `told`: its recipient was told, by telephone for instance, now; `again`: send it once more from the first channel;
    `failed`: it did not get there.
    """
    lock(session, ["notices/claim"])
    key = session.scalar(
        select(Ticket.key).join(NoticeRow, NoticeRow.ticket_number == Ticket.number).where(NoticeRow.number == number)
    )
    lock(session, [] if key is None else [f"ticket/{key}"])
    row = session.get(NoticeRow, number, with_for_update=True)
    if row is None:
        raise DecisionError(f"expected a notice, there is none with number {number}")
    if decision not in DECISIONS:
        raise DecisionError(f"expected one of {', '.join(DECISIONS)}, got {decision!r:.40}")
    if row.state not in ("unsure", "failed", "expired"):
        raise DecisionError(
            f"notice {number}: expected one that is unsure, failed or expired, this one is {row.state}; "
            "nothing is to be decided"
        )
    if not reason.strip():
        raise DecisionError("expected a reason, got none")
    before = row.state
    if decision == "told":
        row.state, row.told_ms = "sent", now_ms
    elif decision == "again":
        if row.expires_ms <= now_ms:
            raise DecisionError(f"notice {number}: its time has passed; order a new one, or say told or failed")
        row.state, row.step, row.tries, row.next_ms = "waiting", 0, 0, now_ms
    else:
        row.state, row.doubt = "failed", 0
    row.code, row.reason, row.changed_ms = f"decided_{decision}", reason.strip(), now_ms
    if row.ticket_number is not None and row.audience == "shop":
        seams.look(session, row.ticket_number)
    record(
        session,
        actor,
        "notice.decide",
        f"notice/{number}",
        {"decision": decision, "before": before, "reason": reason},
        now_ms,
    )
    return row


def listed(
    session: Session,
    *,
    ticket: int | None = None,
    state: str | None = None,
    streets: frozenset[str] | None = None,
    limit: int = 200,
) -> list[NoticeRow]:
    """Notices, the newest first; `streets` are those that somebody may see, None: all."""
    query = select(NoticeRow).order_by(NoticeRow.number.desc()).limit(max(1, min(limit, 1000)))
    if ticket is not None:
        query = query.where(NoticeRow.ticket_number == ticket)
    if state is not None:
        query = query.where(NoticeRow.state == state)
    if streets is not None:
        query = query.where(NoticeRow.street.in_(streets))
    return list(session.scalars(query))


def as_json(session: Session, row: NoticeRow, *, whole: bool = False) -> dict[str, Any]:
    """A notice for the API; addresses are masked."""
    found: dict[str, Any] = {
        "number": row.number,
        "key": row.key,
        "ticket": row.ticket_number,
        "kind": row.kind,
        "audience": row.audience,
        "to": named(row),
        "copy_of": row.copy_of,
        "street": row.street,
        "level": row.level,
        "state": row.state,
        "code": row.code,
        "reason": row.reason,
        "created_at": _iso(row.created_ms),
        "not_before": _iso(row.not_before_ms),
        "due_at": _iso(row.due_ms),
        "expires_at": _iso(row.expires_ms),
        "told_at": _iso(row.told_ms),
    }
    if whole:
        attempts = session.scalars(
            select(NoticeAttempt).where(NoticeAttempt.notice_number == row.number).order_by(NoticeAttempt.number)
        )
        found["attempts"] = [
            {
                "channel": one.channel,
                "to": masked(one.address),
                "started_at": _iso(one.started_ms),
                "ended_at": _iso(one.ended_ms),
                "outcome": one.outcome,
                "code": one.code,
                "text": one.text,
                "body": one.body,
            }
            for one in attempts
        ]
        answers = session.scalars(select(NoticeAnswer).where(NoticeAnswer.notice_number == row.number))
        found["answers"] = [
            {"verb": one.verb, "text": one.text, "at": _iso(one.at_ms), "not_taken": one.code} for one in answers
        ]
    return found


def channels(session: Session, notices: NoticesSection) -> list[dict[str, Any]]:
    """The channels, and what became of their last tries."""
    found = []
    for channel in notices.channel:
        last = session.scalars(
            select(NoticeAttempt)
            .where(NoticeAttempt.channel == channel.id, NoticeAttempt.code != "not_sent")
            .order_by(NoticeAttempt.number.desc())
            .limit(1)
        ).first()
        counts = session.execute(
            select(NoticeAttempt.outcome, func.count())
            .where(NoticeAttempt.channel == channel.id, NoticeAttempt.code != "not_sent")
            .group_by(NoticeAttempt.outcome)
        ).all()
        found.append(
            {
                "id": channel.id,
                "type": getattr(channel, "type", ""),
                "needs": channel.address_kind(),
                "last_at": None if last is None else _iso(last.started_ms),
                "last_outcome": None if last is None else last.outcome,
                "last_code": None if last is None else last.code,
                "last_text": None if last is None else last.text,
                "outcomes": {str(outcome): int(count) for outcome, count in counts},
            }
        )
    return found


def _iso(at_ms: int | None) -> str | None:
    return None if at_ms is None else rfc3339(from_epoch(at_ms / 1000))

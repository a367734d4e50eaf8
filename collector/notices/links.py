"""Links to shops' pages: 128 random bits, of which only the hash is kept."""

import hashlib
import re
import secrets
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from collector.store import NoticeLink, NoticeRow, Ticket

TOKEN: Final = re.compile(r"^[A-Za-z0-9_-]{22}$")
KEEP_MS: Final = 30 * 24 * 3600 * 1000
"""Expired ones are forgotten after this."""


def digest(token: str) -> str:
    """What is kept of a token; with so many random bits a slow hash would add nothing."""
    return hashlib.sha256(token.encode()).hexdigest()


def make_link(
    session: Session, row: NoticeRow, attempt: int, ticket: Ticket, language: str, now_ms: int, hours: float
) -> str:
    """Make a link for one message; returns its token, which is nowhere else."""
    token = secrets.token_urlsafe(16)
    session.add(
        NoticeLink(
            token_sha256=digest(token),
            attempt_number=attempt,
            notice_number=row.number,
            ticket_number=ticket.number,
            shop=row.recipient,
            language=language,
            created_ms=now_ms,
            expires_ms=now_ms + round(hours * 3_600_000),
        )
    )
    session.flush()
    return token


def find_link(session: Session, token: str, now_ms: int) -> NoticeLink | None:
    """The link of a token; None for an unknown and for an expired one alike."""
    if not TOKEN.match(token):
        return None
    link = session.scalars(select(NoticeLink).where(NoticeLink.token_sha256 == digest(token))).first()
    return None if link is None or link.expires_ms <= now_ms else link


def forget(session: Session, now_ms: int) -> None:
    """Delete links that expired long ago."""
    session.execute(delete(NoticeLink).where(NoticeLink.expires_ms < now_ms - KEEP_MS))

"""Sessions of people at the pages: a random cookie, of which only the hash is kept."""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from collector.store import PersonRow, SignInRow

Stage = Literal["code", "full"]
CODE_MS: Final = 5 * 60_000
"""Time for the second factor."""
WRONG_CODES: Final = 5
"""After which one begins with the password again."""
SEEN_EVERY_MS: Final = 60_000
"""A session is written to once a minute at most."""
TEXT: Final = 200


@dataclass(frozen=True)
class Ages:
    """How long a session lives.

    Args:
        idle_ms: without a request that a person made.
        absolute_ms: in all.
    """

    idle_ms: int = 60 * 60_000
    absolute_ms: int = 12 * 3_600_000


@dataclass(frozen=True)
class Found:
    """A session that is good."""

    row: SignInRow
    person: PersonRow
    tired: bool
    """Whether it is time to write that it was seen."""


def start(
    session: Session,
    person: str,
    stage: Stage,
    method: str,
    *,
    ages: Ages,
    now_ms: int,
    address: str = "",
    browser: str = "",
) -> str:
    """Begin one under a new id; returns the cookie. What has ended is swept on the way."""
    session.execute(delete(SignInRow).where(SignInRow.expires_ms <= now_ms))
    cookie = secrets.token_urlsafe(32)
    session.add(
        SignInRow(
            id_sha256=kept(cookie),
            person_id=person,
            stage=stage,
            method=method,
            created_ms=now_ms,
            seen_ms=now_ms,
            expires_ms=now_ms + (CODE_MS if stage == "code" else ages.absolute_ms),
            failures=0,
            address=address[:TEXT],
            browser=browser[:TEXT],
        )
    )
    session.flush()
    return cookie


def find(session: Session, cookie: str, ages_of: Callable[[str], Ages], now_ms: int) -> Found | None:
    """The session of a cookie, unless it or its person has ended; how long it lives goes by what the person is now."""
    row = session.get(SignInRow, kept(cookie))
    if row is None or now_ms >= row.expires_ms:
        return None
    ages = ages_of(row.person_id)
    if now_ms - row.seen_ms >= ages.idle_ms or now_ms - row.created_ms >= ages.absolute_ms:
        return None
    # a clock that was set back does not make it live longer than it should
    if row.created_ms - now_ms > ages.idle_ms:
        return None
    person = session.get_one(PersonRow, row.person_id)
    if person.disabled_ms is not None:
        return None
    return Found(row, person, now_ms - row.seen_ms >= SEEN_EVERY_MS)


def seen(session: Session, cookie: str, now_ms: int) -> None:
    """A person made a request."""
    session.execute(update(SignInRow).where(SignInRow.id_sha256 == kept(cookie)).values(seen_ms=now_ms))


def end(session: Session, cookie: str) -> None:
    """End one."""
    session.execute(delete(SignInRow).where(SignInRow.id_sha256 == kept(cookie)))


def end_all(session: Session, person: str, but: str = "") -> int:
    """End all of a person, but not the one of a cookie; returns how many."""
    ended = delete(SignInRow).where(SignInRow.person_id == person, SignInRow.id_sha256 != (kept(but) if but else ""))
    return len(session.scalars(ended.returning(SignInRow.id_sha256)).all())


def of(session: Session, person: str, now_ms: int) -> list[SignInRow]:
    """Those of a person that go on, newest first."""
    query = select(SignInRow).where(
        SignInRow.person_id == person, SignInRow.stage == "full", SignInRow.expires_ms > now_ms
    )
    return list(session.scalars(query.order_by(SignInRow.created_ms.desc())))


def kept(secret: str) -> str:
    """What is kept of a cookie or a token; 256 random bits need no slow hash."""
    return hashlib.sha256(secret.encode()).hexdigest()


def csrf(cookie: str) -> str:
    """What forms of this session bring along: nobody without the cookie can make it, and it does not give it away."""
    return hmac.digest(cookie.encode(), b"csrf", hashlib.sha256).hex()

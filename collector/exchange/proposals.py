"""What residents and shops propose for their street on its public page, the online counterpart of a residents' council.

A proposal, or a comment on one, is shown once a person of the center allowed it. Who wrote it is not asked for: numbers
of telephones, mail addresses and links are taken out before anything is kept.
"""

import hashlib
import re
import unicodedata
from functools import lru_cache
from typing import Final

from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import Session

from collector.people.actor import PUBLIC, SYSTEM, Actor
from collector.people.audit import record
from collector.store import ProposalRow, ShopRow, lock

SHORTEST, LONGEST, LONGEST_ANSWER = 5, 500, 1000
"""Letters of a proposal, and of an answer."""
MOST_WAITING: Final = 200
"""Of a street, that nobody has looked at: what comes beyond that is not taken."""
REFUSED_DAYS: Final = 30
"""That a refused one is kept, for whoever asks why."""
DAY_MS: Final = 86_400_000
HIDDEN: Final = "•••"
WAITING, SHOWN, REFUSED = "waiting", "shown", "refused"
STATES: Final = (WAITING, SHOWN, REFUSED)
_DAY: Final = r"\d{4}-\d{1,2}-\d{1,2}(?!\d)"
_CONTACT: Final = re.compile(
    rf"(?P<day>(?<!\d){_DAY})|https?://\S+|www\.\S+|[\w.+-]+@[\w.-]+\w|\+?\d(?:[ -]?\d){{6,}}[Xx]?"
    r"|(?<=微信)(?:号)?[:： ]*[A-Za-z][\w-]{4,}|(?<=QQ)(?:号)?[:： ]*\d{5,}",
    re.IGNORECASE | re.ASCII,
)


class ProposalError(Exception):
    """A proposal that is not taken; one line in both languages, `zh / en`."""


def cleaned(text: str) -> str:
    """What somebody wrote, without how they are reached; days stay."""
    plain = unicodedata.normalize("NFKC", text).replace("\r", "")
    plain = "".join(one for one in plain if one == "\n" or one.isprintable())
    plain = re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+", " ", plain)).strip()
    return _CONTACT.sub(lambda found: found[0] if found["day"] else HIDDEN, plain)


def submit(session: Session, street: str, text: str, key: str, now_ms: int, of: int | None = None) -> ProposalRow:
    """Take a proposal, or a comment on the one that is shown under number `of`; raises ProposalError."""
    kept = cleaned(text)
    if not SHORTEST <= len(kept) <= LONGEST:
        raise ProposalError(
            f"请写 {SHORTEST} 至 {LONGEST} 字 / expected {SHORTEST} to {LONGEST} letters, got {len(kept)}"
        )
    lock(session, [f"proposals/{street}"])
    known = session.scalars(select(ProposalRow).where(ProposalRow.key == key)).first()
    if known is not None:
        return known
    parent = None if of is None else session.get(ProposalRow, of)
    if of is not None and (parent is None or parent.of is not None or parent.state != SHOWN or parent.street != street):
        raise ProposalError("这条建议已不再展示 / expected a proposal that is shown, it is not any more")
    if count(session, [street]) >= MOST_WAITING:
        raise ProposalError(
            "待审核的建议过多，请过几天再来 / too many wait for somebody to look at them: come again in some days"
        )
    row = ProposalRow(
        street=street, of=of, text=kept, key=key, state=WAITING, answer="", received_ms=now_ms, decided_by=""
    )
    session.add(row)
    session.flush()
    told = {"street": street, "sha256": hashlib.sha256(kept.encode()).hexdigest()}
    record(session, PUBLIC, "proposal.received", f"proposal/{row.number}", told, now_ms)
    return row


def count(session: Session, streets: list[str] | None) -> int:
    """How many of some streets (None: of all) wait for somebody to look at them."""
    query = select(func.count()).select_from(ProposalRow).where(ProposalRow.state == WAITING)
    return session.scalar(query if streets is None else query.where(ProposalRow.street.in_(streets))) or 0


def decide(session: Session, actor: Actor, number: int, state: str, now_ms: int) -> bool:
    """Show a proposal, or refuse it and take it down; whether that is new. Raises ProposalError."""
    if state not in (SHOWN, REFUSED):
        raise ProposalError(f"只能展示或不予展示 / expected {SHOWN} or {REFUSED}, got {state!r:.20}")
    row = find(session, number)
    if row.state == state:
        return False
    row.state, row.decided_ms, row.decided_by = state, now_ms, str(actor)
    record(session, actor, f"proposal.{state}", f"proposal/{number}", {"street": row.street}, now_ms)
    return True


def answer(session: Session, actor: Actor, number: int, text: str, now_ms: int) -> bool:
    """Say what the center makes of a proposal, empty to take that back; whether that is new. Raises ProposalError."""
    row, said = find(session, number), text.replace("\r", "").strip()
    if len(said) > LONGEST_ANSWER:
        raise ProposalError(f"答复最多 {LONGEST_ANSWER} 字 / expected at most {LONGEST_ANSWER} letters")
    if said == row.answer:
        return False
    row.answer, row.decided_ms, row.decided_by = said, now_ms, str(actor)
    record(session, actor, "proposal.answered", f"proposal/{number}", {"street": row.street}, now_ms)
    return True


def find(session: Session, number: int) -> ProposalRow:
    """One of them; raises ProposalError."""
    row = session.get(ProposalRow, number)
    if row is None:
        raise ProposalError(f"没有第 {number} 号建议 / there is no proposal {number}")
    return row


def listed(session: Session, state: str, streets: frozenset[str] | None, limit: int) -> list[ProposalRow]:
    """Those in a state, comments as well; of what waits the oldest first, else the newest."""
    order = ProposalRow.number if state == WAITING else ProposalRow.number.desc()
    query = select(ProposalRow).where(ProposalRow.state == state).order_by(order).limit(limit)
    return list(session.scalars(query if streets is None else query.where(ProposalRow.street.in_(streets))))


def of_street(session: Session, street: str, limit: int) -> list[tuple[ProposalRow, list[ProposalRow]]]:
    """What is shown of a street, the newest first, each with its comments in order."""
    shown = select(ProposalRow).where(ProposalRow.street == street, ProposalRow.state == SHOWN)
    newest = shown.where(ProposalRow.of.is_(None)).order_by(ProposalRow.number.desc()).limit(limit)
    found: dict[int, tuple[ProposalRow, list[ProposalRow]]] = {row.number: (row, []) for row in session.scalars(newest)}
    for row in session.scalars(shown.where(ProposalRow.of.in_(found)).order_by(ProposalRow.number)):
        found[row.of or 0][1].append(row)
    return list(found.values())


def forget(session: Session, keep_days: int, now_ms: int) -> int:
    """Delete those that have served their purpose, with their comments; says how many."""
    last_ms = func.coalesce(ProposalRow.decided_ms, ProposalRow.received_ms)
    old = or_(
        last_ms < now_ms - keep_days * DAY_MS,
        (ProposalRow.state == REFUSED) & (last_ms < now_ms - REFUSED_DAYS * DAY_MS),
    )
    numbers = set(session.scalars(select(ProposalRow.number).where(old)))
    numbers |= set(session.scalars(select(ProposalRow.number).where(ProposalRow.of.in_(numbers))))
    if numbers:
        session.execute(delete(ProposalRow).where(ProposalRow.number.in_(numbers), ProposalRow.of.is_not(None)))
        session.execute(delete(ProposalRow).where(ProposalRow.number.in_(numbers)))
        record(session, SYSTEM, "proposal.deleted", "proposal/*", {"count": len(numbers)}, now_ms)
    return len(numbers)


class Nameless:
    """Takes shops' names and their people's out of texts that everybody reads, however they came in.

    Args:
        session: a transaction.
    """

    def __init__(self, session: Session) -> None:
        people = session.execute(select(ShopRow.name, ShopRow.owner))
        names = {one.strip() for row in people for one in row if len((one or "").strip()) > 1}
        self._names = _any_of(frozenset(names))

    def __call__(self, text: str) -> str:
        """The text without them."""
        return self._names.sub(HIDDEN, text)


@lru_cache(maxsize=4)
def _any_of(names: frozenset[str]) -> re.Pattern[str]:
    """Any of some names, the longest first; a register of thousands takes a while, and seldom changes."""
    longest_first = sorted(names, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)", re.IGNORECASE)

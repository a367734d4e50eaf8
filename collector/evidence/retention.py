"""Retention: pictures are deleted once they have served their purpose, and the log says which, when and why.

A picture is kept for `keep_days` after it came and its ticket ended, one of a false alarm for `false_alarm_days` after
a person said so; longer while its ticket is open (an appeal opens it) or held for the law, or while the picture is
released for training. Its row stays. The row says so first, then the file goes, outside of the transaction: a slow
storage holds up nobody. What is cut short is done by the next run, which finds files whose rows say that they are gone.
"""

import logging
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import BigInteger, Select, case, cast, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from collector.evidence import ledger
from collector.evidence.files import PictureFiles
from collector.evidence.graves import deleted, live, remove
from collector.evidence.previews import preview
from collector.evidence.settings import EvidenceSection
from collector.evidence.uploads import REPORTED
from collector.people import audit
from collector.people.actor import SYSTEM, Actor
from collector.store import AuditRow, HoldRow, IncidentRow, PictureRow, Store, Ticket, TrainingRelease, lock
from collector.store.backup import BackupError, copies, read_copy, take_out
from collector.tickets.machine import State

log = logging.getLogger(__name__)
T = TypeVar("T")

DAY_MS: Final = 86_400_000
BATCH: Final = 200
"""Pictures of one transaction."""
EVERY_S: Final = 86_400.0
SOON_S: Final = 60.0
TRUSTED_DAYS: Final = 7
"""Since the last run: after a longer pause the clock may be wrong, and a person has to say that it is not."""
DELETED: Final = "evidence.deleted"
RETAINED: Final = "evidence.retained"
CARRIED: Final = "evidence.holds_carried"
_SHA256: Final = re.compile("[0-9a-f]{64}")
ACTION: Final = {True: "evidence.held", False: "evidence.hold_lifted"}


class HoldError(Exception):
    """A hold that cannot be set or lifted; one line."""


@dataclass(frozen=True)
class Kept:
    """A picture, and what decides over it; `ticket` is None where its incident never came."""

    id: str
    sha256: str
    received_ms: int
    released_ms: int | None
    ticket: int | None
    key: str | None
    state: str | None
    open: int | None
    ended_ms: int | None
    held: int | None


@dataclass(frozen=True)
class Due:
    """Pictures that are deleted together, and why."""

    ticket: int | None
    pictures: tuple[Kept, ...]
    why: str


def due(one: Kept, periods: EvidenceSection, now_ms: int) -> str:
    """Why a picture is to be deleted; empty: it is kept."""
    released = one.released_ms is not None and one.state == State.FALSE_ALARM
    if one.held or released or one.open:
        return ""
    days, why = periods.keep_days, "没有对应事件 / its incident never came"
    since_ms = one.received_ms
    if one.state == State.FALSE_ALARM:
        days, why, since_ms = periods.false_alarm_days, "误报 / false alarm", one.ended_ms or since_ms
    elif one.ticket is not None:
        why, since_ms = f"工单已办结 / its ticket ended as {one.state}", max(since_ms, one.ended_ms or 0)
    return f"{why}; {days} 天 / days" if now_ms - since_ms >= days * DAY_MS else ""


def plan(session: Session, periods: EvidenceSection, now_ms: int) -> list[Due]:
    """What is to be deleted now."""
    oldest_ms = now_ms - min(periods.keep_days, periods.false_alarm_days) * DAY_MS
    found: dict[tuple[int | None, str], list[Kept]] = {}
    for row in session.execute(_facts().where(PictureRow.received_ms <= oldest_ms).order_by(PictureRow.received_ms)):
        one = Kept(*row)
        why = due(one, periods, now_ms)
        if why:
            found.setdefault((one.ticket, why), []).append(one)
    return [
        Due(ticket, tuple(pictures[at : at + BATCH]), why)
        for (ticket, why), pictures in found.items()
        for at in range(0, len(pictures), BATCH)
    ]


def retain(store: Store, files: PictureFiles, periods: EvidenceSection, now_ms: int, folder: Path) -> int:
    """Delete what is due, here and in copies; says how many pictures. Raises OSError where a file cannot be deleted.

    Args:
        store: the database.
        files: where pictures lie.
        periods: settings.
        now_ms: the center's clock.
        folder: that paths of copies are relative to.
    """
    # first: while the storage is away, nothing is said to be deleted
    strays = _strays(store, files, now_ms - periods.keep_days * DAY_MS)
    remove(store, files, strays)
    with store.transaction() as session:
        wanted = plan(session, periods, now_ms)
    count = sum(_delete(store, files, one, periods, now_ms) for one in wanted)
    sweep(store, files)
    taken, unread = {}, {}
    for place in (one for parent in periods.backups for one in copies((folder / parent).resolve())):
        try:
            copy = read_copy(place)
            with store.transaction() as session:
                gone = deleted(session, copy.manifest.pictures)
            if gone:
                take_out(copy, gone)
                taken[str(place)] = len(gone)
        except (BackupError, OSError) as fault:
            unread[str(place)] = str(fault)
            log.error(  # noqa: TRY400 - no trace wanted
                "retention: a copy is left as it is, with pictures that were deleted here; mend or delete it: %s", fault
            )
    with store.writing() as session:
        detail = {"deleted": count, "strays": len(strays), "copies": taken, "ledger": str(ledger.head(session))}
        audit.record(session, SYSTEM, RETAINED, "evidence/*", detail | ({"unread": unread} if unread else {}), now_ms)
    return count


def sweep(store: Store, files: PictureFiles) -> None:
    """Drop what this machine has made of pictures that are deleted, by whichever collector."""
    preview.cache_clear()
    for part in _parts(files.thumbnails.glob("*/*/*.jpg")):
        with store.transaction() as session:
            here = live(session, {one.stem for one in part})
        for one in part:
            if one.stem not in here:
                one.unlink(missing_ok=True)


def hold(session: Session, actor: Actor, number: int, why: str, now_ms: int, *, on: bool) -> None:
    """Set a legal hold on a ticket, or lift it; raises HoldError."""
    ticket = session.get(Ticket, number)
    if ticket is None:
        raise HoldError(f"没有工单 {number} / there is no ticket {number}")
    if not why.strip():
        raise HoldError("请写明理由 / expected a reason")
    lock(session, [f"ticket/{ticket.key}"])
    row = held(session, number)
    if (row is not None) == on:
        state = "已有保全 / it is held already" if on else "没有保全 / it is not held"
        raise HoldError(f"工单 {number}: {state}")
    if row is None:
        session.add(HoldRow(ticket_number=number, by=str(actor), why=why.strip(), since_ms=now_ms))
    else:
        row.lifted_ms, row.lifted_by = now_ms, str(actor)
    audit.record(session, actor, ACTION[on], f"ticket/{number}", {"reason": why.strip()}, now_ms)


def held(session: Session, number: int) -> HoldRow | None:
    """The hold that a ticket is under."""
    wanted = select(HoldRow).where(HoldRow.ticket_number == number, HoldRow.lifted_ms.is_(None))
    return session.scalars(wanted).first()


class Keeper:
    """The thread that retains once a day.

    Args:
        run: deletes what is due, at an instant in milliseconds.
        store: the database.
        settled: whether the clock can be believed.
        now_ms: the center's clock.
        due: whether anything is to be deleted.
    """

    def __init__(
        self,
        run: Callable[[int], int],
        store: Store,
        settled: Callable[[], bool],
        now_ms: Callable[[], int],
        due: Callable[[Session, int], bool] = lambda _session, _now_ms: False,
    ) -> None:
        self._run, self._store, self._settled, self._now_ms, self._due = run, store, settled, now_ms, due
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="retention", daemon=True)

    def start(self) -> None:
        """Begin, a minute from now."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(10)

    def step(self) -> bool:
        """Retain, if the clock can be believed; whether it did."""
        now_ms = self._now_ms()
        with self._store.transaction() as session:
            last_ms = session.scalar(select(func.max(AuditRow.at_ms)).where(AuditRow.action == RETAINED))
            first = last_ms is None and self._due(session, now_ms)
        if first:
            # of years before an update: whoever runs the center may have to hold some of it
            log.error(
                "retention: it would delete for the first time; see what with `cityeye-collector evidence retain "
                "--dry-run`, set legal holds, then run `cityeye-collector evidence retain` once"
            )
            return False
        away_days = 0 if last_ms is None else (now_ms - last_ms) / DAY_MS
        if not self._settled() or not 0 <= away_days <= TRUSTED_DAYS:
            log.error(
                "retention: the clock is not believed, %.1f days after the last run; nothing was deleted. "
                "If it is right, run: cityeye-collector evidence retain",
                away_days,
            )
            return False
        count = self._run(now_ms)
        log.info("retention: %d pictures had served their purpose and were deleted", count)
        return True

    def _work(self) -> None:
        pause_s = SOON_S
        while not self._stopping.wait(pause_s):
            pause_s = EVERY_S
            try:
                if not self.step():
                    pause_s = EVERY_S / 24
            except (SQLAlchemyError, OSError, BackupError) as fault:
                log.error("retention: it did not come to its end (%s); again in an hour", fault)  # noqa: TRY400 - no trace wanted
                pause_s = EVERY_S / 24
            except Exception:
                log.exception("retention: going on")


def _delete(store: Store, files: PictureFiles, wanted: Due, periods: EvidenceSection, now_ms: int) -> int:
    ids = [one.id for one in wanted.pictures]
    with store.writing() as session:
        names = {f"picture/{one.sha256}" for one in wanted.pictures}
        lock(session, names | {f"ticket/{one.key}" for one in wanted.pictures if one.key is not None})
        # somebody may have set a hold meanwhile
        now = [Kept(*row) for row in session.execute(_facts().where(PictureRow.id.in_(ids)))]
        still = {one.id: why for one in now if (why := due(one, periods, now_ms))}
        if not still:
            return 0
        of = "evidence/*" if wanted.ticket is None else f"ticket/{wanted.ticket}"
        detail = {"pictures": sorted(still), "why": wanted.why}
        line = audit.record(session, SYSTEM, DELETED, of, detail, now_ms)
        for row in session.scalars(select(PictureRow).where(PictureRow.id.in_(still))):
            row.deleted_ms, row.deleted_why, row.deleted_line = now_ms, still[row.id], line.number
        session.flush()
        # the same picture may prove another incident
        gone = list(deleted(session, [one.sha256 for one in now if one.id in still]))
    remove(store, files, gone)
    return len(still)


def _facts() -> "Select[Any]":
    """Columns of `Kept`, of all pictures that are not deleted."""
    on_hold = (
        select(HoldRow.number)
        .where(HoldRow.ticket_number == Ticket.number, HoldRow.lifted_ms.is_(None))
        .limit(1)
        .scalar_subquery()
    )
    released = select(TrainingRelease.at_ms).where(TrainingRelease.sha256 == PictureRow.sha256).scalar_subquery()
    reported = cast(func.substr(PictureRow.incident, len(REPORTED) + 1), BigInteger)
    number = case((PictureRow.incident.like(f"{REPORTED}%"), reported), else_=IncidentRow.ticket_number)
    return (
        select(
            PictureRow.id,
            PictureRow.sha256,
            PictureRow.received_ms,
            released,
            Ticket.number,
            Ticket.key,
            Ticket.state,
            Ticket.open,
            func.coalesce(Ticket.closed_ms, Ticket.changed_ms),
            on_hold,
        )
        .outerjoin(IncidentRow, IncidentRow.id == PictureRow.incident)
        .outerjoin(Ticket, Ticket.number == number)
        .where(PictureRow.deleted_ms.is_(None))
    )


def _strays(store: Store, files: PictureFiles, before_ms: int) -> list[str]:
    """Files that no row has named for long, or that a deletion which was cut short left."""
    found = []
    for part in _parts(one for one in files.names() if _SHA256.fullmatch(one[0])):
        names = [sha256 for sha256, _ in part]
        with store.transaction() as session:
            here = live(session, names)
            known = set(session.scalars(select(PictureRow.sha256).where(PictureRow.sha256.in_(names))))
        old = {sha256 for sha256, at_s in part if at_s * 1000 < before_ms}
        found += sorted((old | known) - here)
    return found


def _parts(items: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(items)
    while part := list(islice(rest, BATCH)):
        yield part

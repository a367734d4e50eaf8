"""The thread that looks at tickets when it is time; each collector has one, and each ticket is looked at by one.

All timers are the column `look_ms`: a restart forgets none. What is due is found by an index, held by the lock of its
key, read again, and looked at only if it is still due, so that two collectors never do the same thing.

The wall clock is watched against the monotonic one: after a jump, nothing fires until the clock has gone on evenly for
a while, as a jump is often corrected by another one.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

from collector.evidence.files import PictureFiles
from collector.evidence.graves import settle
from collector.people.actor import SYSTEM
from collector.people.audit import record
from collector.store import AuditRow, Store, Ticket, is_race, lock
from collector.tickets.attend import attend, pictures_of
from collector.tickets.seams import ALONE, Office

log = logging.getLogger(__name__)

BATCH: Final = 10
"""Tickets of one transaction, some 6 ms each: what a commit costs is shared, and the inbox, which has to wait for it on
SQLite, waits less than a tenth of a second."""
POLL_S: Final = 0.3
BUSY_SHARE: Final = 0.1
"""Of the time, while the inbox has a backlog: its messages go first."""
TRIES: Final = 4
FAULT_MS: Final = 60_000
"""A ticket at which looking failed is looked at again after this long."""
FAULT: Final = "timekeeper: ticket %d cannot be looked at; again in %d s"
JUMP_S: Final = 5.0
SETTLE_S: Final = 60.0


class Watch:
    """Notes jumps of the wall clock.

    Args:
        wall: seconds since the epoch.
        monotonic: seconds that nobody sets.
        jump_s: what is no jump yet; a clock that is slewed moves less between two looks.
        settle_s: how long the clock has to go evenly after a jump.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        jump_s: float = JUMP_S,
        settle_s: float = SETTLE_S,
    ) -> None:
        self._wall, self._monotonic, self._jump_s, self._settle_s = wall, monotonic, jump_s, settle_s
        self._offset_s = wall() - monotonic()
        self._settled_s = float("-inf")

    @property
    def now_ms(self) -> int:
        """The wall clock."""
        return round(self._wall() * 1000)

    @property
    def settled(self) -> bool:
        """Whether the clock can be believed: not while it settles, nor after a jump that nobody has noted yet."""
        moved_s = self._wall() - self._monotonic() - self._offset_s
        return self._monotonic() >= self._settled_s and abs(moved_s) <= self._jump_s

    def unsettle(self) -> None:
        """Begin to wait."""
        self._settled_s = self._monotonic() + self._settle_s

    def jump_s(self) -> float:
        """By how much the clock has jumped since the last call; 0 where it went evenly."""
        offset_s = self._wall() - self._monotonic()
        jump_s, self._offset_s = offset_s - self._offset_s, offset_s
        if abs(jump_s) <= self._jump_s:
            return 0.0
        self.unsettle()
        return jump_s


@dataclass
class Tally:
    """What was done since it began; `faults`: tickets that could not be looked at, batches that came to nothing."""

    looks: int = 0
    steps: int = 0
    faults: int = 0
    jumps: int = 0


class Timekeeper:
    """Looks at what is due.

    Args:
        store: the database.
        office: the other rooms.
        files: where pictures of verifications go.
        changed: told after each commit that changed something.
        watch: the clock.
        busy: whether the inbox has a backlog.
    """

    def __init__(
        self,
        store: Store,
        office: Office = ALONE,
        files: PictureFiles | None = None,
        changed: Callable[[], None] = lambda: None,
        watch: Watch | None = None,
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store, self._office, self._files, self._changed = store, office, files, changed
        self._watch, self._busy = watch or Watch(), busy
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="timekeeper", daemon=True)
        self.tally = Tally()

    def start(self) -> None:
        """Begin; a clock that is behind what was already written is not believed at once."""
        with self._store.transaction() as session:
            newest_ms = session.scalar(select(AuditRow.at_ms).order_by(AuditRow.number.desc()).limit(1)) or 0
        if newest_ms > self._watch.now_ms + JUMP_S * 1000:
            behind_s = (newest_ms - self._watch.now_ms) / 1000
            log.warning("timekeeper: the clock is %.0f s behind what was last written; waiting for it", behind_s)
            self._watch.unsettle()
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(10)

    @property
    def alive(self) -> bool:
        """Whether it works."""
        return self._thread.is_alive()

    def _run(self) -> None:
        pause_s = POLL_S
        while not self._stopping.wait(pause_s):
            looks, began_s = 0, time.monotonic()
            try:
                looks = self.step()
            except SQLAlchemyError as fault:
                self.tally.faults += 1
                log.warning("timekeeper: the database does not answer (%s); trying again", type(fault).__name__)
            except Exception:
                self.tally.faults += 1
                log.exception("timekeeper: going on")
            took_s = time.monotonic() - began_s
            pause_s = POLL_S if looks < BATCH else 0.02
            if looks and self._busy():
                pause_s = max(POLL_S, took_s * (1 / BUSY_SHARE - 1))

    def step(self) -> int:
        """Look at a batch of what is due; says how many that were."""
        jump_s = self._watch.jump_s()
        if jump_s:
            self._note(jump_s)
        if not self._watch.settled:
            return 0
        now_ms = self._watch.now_ms
        for left in reversed(range(TRIES)):
            try:
                looks = self._batch(now_ms)
                break
            except SQLAlchemyError as fault:
                if not left or not is_race(fault):
                    raise
        if looks:
            self._changed()
        return looks

    def _batch(self, now_ms: int) -> int:
        due = select(Ticket.number, Ticket.key).where(Ticket.look_ms <= now_ms).order_by(Ticket.look_ms).limit(BATCH)
        # most of the time there is nothing, and then nobody has to wait for a lock
        with self._store.transaction() as session:
            found = session.execute(due).all()
            if not found:
                return 0
            pictures = pictures_of(session, [one.number for one in found])
        written = self._write(pictures)
        looks = 0
        with self._store.writing() as session:
            lock(session, {f"ticket/{one.key}" for one in found})
            for one in found:
                looks += self._look(session, one.number, now_ms, written)
        if self._files is not None:
            settle(self._store, self._files, {one: pictures[one] for one in written or ()})
        return looks

    def _write(self, pictures: Mapping[str, bytes]) -> set[str] | None:
        """Files first, as a storage may be slow; a ticket whose pictures are not there is looked at later."""
        if self._files is None:
            return None
        written: set[str] = set()
        try:
            for sha256, jpeg in pictures.items():
                self._files.put(sha256, jpeg)
                written.add(sha256)
        except OSError as fault:
            log.error("timekeeper: pictures cannot be written now: %s", fault)  # noqa: TRY400 - no trace wanted
        return written

    def _look(self, session: Session, number: int, now_ms: int, written: Collection[str] | None) -> int:
        ticket = session.get(Ticket, number, populate_existing=True)
        if ticket is None or not _is_due(ticket, now_ms):
            return 0  # another collector was quicker
        try:
            with session.begin_nested():
                self.tally.steps += attend(session, ticket, self._office, now_ms, written)
                if _is_due(ticket, now_ms):
                    # a batch full of such would keep all others from their turn
                    log.error("timekeeper: ticket %d wants to be looked at in the past; later", number)
                    ticket.look_ms = now_ms + FAULT_MS
        except SQLAlchemyError as fault:
            if is_race(fault) and not isinstance(fault, IntegrityError):
                raise
            log.exception(FAULT, number, FAULT_MS // 1000)
            self._put_off(session, number, now_ms)
        except Exception:
            # whatever is wrong with one ticket, the others are looked at
            log.exception(FAULT, number, FAULT_MS // 1000)
            self._put_off(session, number, now_ms)
        self.tally.looks += 1
        return 1

    def _put_off(self, session: Session, number: int, now_ms: int) -> None:
        self.tally.faults += 1
        session.expire_all()
        session.execute(update(Ticket).where(Ticket.number == number).values(look_ms=now_ms + FAULT_MS))

    def _note(self, jump_s: float) -> None:
        self.tally.jumps += 1
        log.warning(
            "timekeeper: the clock jumped by %+.1f s; nothing is due until it has gone evenly for a while", jump_s
        )
        with self._store.writing() as session:
            record(session, SYSTEM, "clock.jump", "clock/center", {"by_s": round(jump_s, 1)}, self._watch.now_ms)


def _is_due(ticket: Ticket, now_ms: int) -> bool:
    return ticket.look_ms is not None and ticket.look_ms <= now_ms

"""The outbox: incidents and what is still to be sent, in one SQLite file.

A message stays until the center says that it has committed it, and its payload for some days longer, so that a center
that was restored from a back-up can have it again. `FULL` synchronisation: what was committed here survives a cut of
the power (4,000 single rows a second on the machine this was written on; a street makes a few an hour).

```
behind ──▶ ready ──▶ stored (the center has it) ──▶ gone (the payload made room, or its days are over)
             │ ▲
             │ └── parked (refused for good; a person may have it tried again)
             └──▶ dropped (a picture that made room unsent) ──▶ gone, once its incident says so
```

Of one incident only the oldest waiting message is `ready`: the line may lose, double and reorder what it likes.
"""

import contextlib
import itertools
import json
import logging
import os
import sqlite3
import threading
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from agent.uplink.schema import MIGRATIONS, READABLE_BY, VERSION
from protocol.messages import Acknowledgement

log = logging.getLogger(__name__)

KEEP_CLOSED: Final = 200
"""Closed incidents that are remembered per camera: a return at the same place names the last one."""
BUDGET_BYTES: Final = 2048 * 1024 * 1024
"""Some 4,000 incidents with six pictures of 80 KB; a box has 16 GB and more."""
WAL_BYTES: Final = 4 * 1024 * 1024
"""The write-ahead log is cut to this after a checkpoint."""
LOG_ROOM_BYTES: Final = 2 * WAL_BYTES
"""Of the budget, for the log: it grows by one transaction beyond a checkpoint."""
RESERVE_BYTES: Final = 2 * WAL_BYTES
"""A file that holds room: where the disk is full, it goes first, or there were not even room to delete pictures."""
ROOM_BYTES: Final = 1024 * 1024
"""Where room must be made, this much more, so that it is not made for each picture."""
UNWRITTEN_BYTES: Final = 32 * 1024 * 1024
"""Pictures kept in memory while the disk is full; the incidents themselves are kept all."""
BACKLOG_TURN: Final = 4
"""Each fourth message is one of the backlog, however many newer ones there are."""
_ROW: Final = "incident, camera, zone, rule, place_id, open, state"
_WAL_HEAD_BYTES: Final = 32
_WAL_FRAME_BYTES: Final = 24
_NO_ROOM: Final = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
"""The second one is what a file system says that finds itself full while it syncs."""
_DAMAGED: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_FAULTS: Final = (sqlite3.DatabaseError, UnicodeDecodeError)
"""The second one where SQLite's own words quote what is damaged."""
_LATER: Final = (*_NO_ROOM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN)


@dataclass(frozen=True)
class Outgoing:
    """One message or picture as it goes over the line; `id` is what the center acknowledges."""

    id: str
    kind: str
    topic: str
    payload: bytes = field(repr=False)
    content_type: str
    properties: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class IncidentRow:
    """An incident as the box remembers it; `state` is the rules' own JSON."""

    incident: str
    camera: str
    zone: str
    rule: str
    place_id: str
    open: bool
    state: str


@dataclass(frozen=True)
class Parked:
    """A message that was refused for good."""

    id: str
    why: str
    made_s: float
    bytes: int


@dataclass(frozen=True)
class Figures:
    """How full the outbox is; `bytes` is what its files take, `dropped` counts pictures of the last days."""

    waiting: int
    oldest_waiting_s: float
    parked: int
    dropped: int
    unwritten: int
    bytes: int
    budget_bytes: int


@dataclass(frozen=True)
class _Entry:
    """What is committed at once."""

    row: IncidentRow
    outgoing: Sequence[Outgoing]
    head: str | None
    told: Collection[str]
    made_s: float

    @property
    def picture_bytes(self) -> int:
        return sum(len(one.payload) for one in self.outgoing if one.kind == "picture")


@dataclass
class Ledger:
    """The end of the seal's chain, held while pictures are sealed behind it."""

    head: str | None
    _commit: Callable[[IncidentRow, Sequence[Outgoing], str | None, Collection[str]], None]

    def commit(
        self, row: IncidentRow, outgoing: Sequence[Outgoing], head: str | None, told: Collection[str] = ()
    ) -> None:
        """Write an incident, what is to be sent of it and the chain's new end, all or nothing.

        Args:
            row: the incident.
            outgoing: its message first, then pictures.
            head: the chain's new end.
            told: dropped pictures that the message says are dropped.
        """
        self._commit(row, outgoing, head, told)


class OutboxError(Exception):
    """An outbox that cannot be used; one line that says what was expected, what came and what to do."""


class OutboxFullError(OutboxError):
    """The disk takes nothing just now, although pictures have made room."""


T = TypeVar("T")


class Outbox:
    """The box's memory on disk; may be used by several threads, and by another process beside the agent.

    Args:
        path: the file; None keeps everything in memory. A damaged file is moved aside and a new one begun.
        now: seconds since the epoch.
        budget_bytes: what the file and its log may take; incidents are kept beyond it, pictures are not.
        owner: False for a second process, which leaves the file as it is: it mends nothing and migrates nothing.
    """

    def __init__(
        self, path: Path | None, now: Callable[[], float], budget_bytes: int = BUDGET_BYTES, *, owner: bool = True
    ) -> None:
        self._path = path
        self._owner = owner
        self._now = now
        self._budget_bytes = budget_bytes
        self._reserve = path.with_name("reserve") if path is not None and owner else None
        self._lock = threading.RLock()
        self._unwritten: list[_Entry] = []
        """What a full disk did not take, oldest first."""
        self._mark = 0
        """What has a number up to this is backlog."""
        self._turn = itertools.count(1)
        self._parked_why = ""
        self.taken_bytes = 0
        """Of incidents and pictures, since it was opened."""
        self.on_commit: Callable[[], None] = lambda: None
        """Called after each commit, for whoever sends."""
        try:
            self._db = self._open()
        except _FAULTS as fault:
            if path is None or not owner or isinstance(fault, sqlite3.OperationalError):
                raise OutboxError(f"{path}: expected an outbox that can be opened, got: {fault}") from None
            self._db = self._begin_anew(path, fault)
        self._hold_reserve()

    def _open(self) -> sqlite3.Connection:
        written = self._owner and self._path is not None and _commits(self._path.with_name(f"{self._path.name}-wal"))
        if self._owner and self._path is not None and self._path.exists() and not self._path.stat().st_size:
            log.error("%s: it is empty, what it held is lost; a new one is begun", self._path)
        db = sqlite3.connect(self._path or ":memory:", isolation_level=None, check_same_thread=False, timeout=10)
        try:
            db.text_factory = lambda text: text.decode("utf-8", "replace")  # a flipped bit is found by the checksum
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
            self._migrate(db, db.execute("PRAGMA user_version").fetchone()[0])
            # payloads are left out: to read them all takes a minute where there are many
            for table in ("incident", "outgoing", "seal"):
                if db.execute(f"PRAGMA quick_check({table})").fetchone()[0] != "ok":
                    raise sqlite3.DatabaseError("quick_check failed")
            if self._owner:
                self._forget_damaged(db)
            if written and db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1] < written:
                log.error("%s-wal: damaged; what was written last before this start may be lost", self._path)
        except (*_FAULTS, sqlite3.Error, OutboxError):
            db.close()
            raise
        return db

    def _forget_damaged(self, db: sqlite3.Connection) -> None:
        """Forget incidents whose row is not what was written: nobody can tell what they were."""
        query = f"SELECT rowid, {_ROW}, checksum FROM incident WHERE checksum IS NOT NULL"  # noqa: S608 - ours
        rows = db.execute(query).fetchall()
        for rowid, *row, checksum in rows:
            if _checksum(*row) != checksum:
                incident, camera, zone, *_ = row
                db.execute("DELETE FROM incident WHERE rowid = ?", (rowid,))
                log.error(
                    "%s: what was known of incident %s (camera %s zone %s) is damaged and forgotten; what stands there"
                    " is found anew, the center's ticket is to be ended by a person",
                    *(self._path, incident, camera, zone),
                )

    def _begin_anew(self, path: Path, fault: Exception) -> sqlite3.Connection:
        """Move a damaged file aside, for a person to look at, and begin a new one."""
        aside = path.with_name(f"{path.name}.damaged-{int(self._now())}")
        log.error("%s: damaged (%s); moved to %s, a new one is begun", path, fault, aside)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        path.rename(aside)
        return self._open()

    def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Look something up; where the file turns out to be damaged, in the new one that is begun."""
        with self._lock:
            try:
                return work(self._db)
            except _FAULTS as fault:
                if not self._set_aside(fault):
                    raise
                return work(self._db)

    def _set_aside(self, fault: Exception) -> bool:
        """Go on with a new file where this one is damaged; says whether that was so.

        What was kept in memory goes into the new one, and what the rules tell from now on. What the old one held and
        the center has not is in the file that was moved aside.
        """
        code = getattr(fault, "sqlite_errorcode", 0) & 0xFF
        damaged = code in _DAMAGED or isinstance(fault, UnicodeDecodeError)
        if not damaged or self._path is None or not self._owner:
            return False
        with contextlib.suppress(sqlite3.Error):
            self._db.close()
        self._db = self._begin_anew(self._path, fault)
        self._mark = 0
        return True

    def _migrate(self, db: sqlite3.Connection, version: int) -> None:
        (reader,) = db.execute("PRAGMA application_id").fetchone()
        if version > VERSION:
            if 0 < reader <= VERSION:
                return
            raise OutboxError(f"{self._path}: expected an outbox of version {VERSION}, got {version}; update the agent")
        if version < VERSION and not self._owner:
            raise OutboxError(f"{self._path}: expected an outbox of version {VERSION}, got {version}; start the agent")
        for number in range(version, VERSION):
            db.executescript(f"BEGIN IMMEDIATE; {MIGRATIONS[number]} PRAGMA user_version = {number + 1}; COMMIT;")
            if version:  # a new one is not news
                log.info("%s: brought from version %d to %d", self._path, number, number + 1)
        if self._owner and reader != READABLE_BY:
            with contextlib.suppress(sqlite3.OperationalError):  # a full disk; at the next start then
                db.execute(f"PRAGMA application_id = {READABLE_BY}")

    # writing

    @contextlib.contextmanager
    def sealing(self) -> Iterator[Ledger]:
        """Hold the chain: only one thread seals at a time."""
        with self._lock:
            row = self._read(lambda db: db.execute("SELECT head FROM seal").fetchone())
            head = self._unwritten[-1].head if self._unwritten else row[0] if row else None
            yield Ledger(head, self._commit)
        self.on_commit()

    def _commit(self, row: IncidentRow, outgoing: Sequence[Outgoing], head: str | None, told: Collection[str]) -> None:
        self._unwritten.append(_Entry(row, tuple(outgoing), head, told, self._now()))
        was = len(self._unwritten)
        try:
            self._write_down()
        except OutboxFullError as fault:
            self._spare_memory()
            if was == 1:
                log.error("%s; kept in memory until there is room, a power cut would lose it", fault)  # noqa: TRY400 - no trace
        except BaseException:
            self._unwritten.pop()
            raise

    def write_down(self) -> bool:
        """Try again to write what is kept in memory only; says whether all is written."""
        with self._lock:
            if not self._unwritten:
                return True
            try:
                self._write_down()
            except OutboxFullError:
                return False
            log.info("outbox: there is room again, what was kept in memory is written")
        self.on_commit()
        return True

    def _write_down(self) -> None:
        while self._unwritten:
            self._write(partial(self._insert, entry=self._unwritten[0]), durable=True)
            self._unwritten.pop(0)

    def _spare_memory(self) -> None:
        """Let the oldest pictures go that are in memory only, beyond what may be kept there."""
        excess = sum(entry.picture_bytes for entry in self._unwritten) - UNWRITTEN_BYTES
        for number, entry in enumerate(self._unwritten):
            if excess <= 0:
                return
            excess -= entry.picture_bytes
            spared = tuple(replace(one, payload=b"") if one.kind == "picture" else one for one in entry.outgoing)
            self._unwritten[number] = replace(entry, outgoing=spared)

    def _insert(self, db: sqlite3.Connection, entry: _Entry) -> None:
        row = entry.row
        self.taken_bytes += len(row.state) + sum(len(one.payload) for one in entry.outgoing)
        db.executemany(
            "UPDATE outgoing SET state = 'gone' WHERE id = ? AND state = 'dropped'", [(one,) for one in entry.told]
        )
        self._keep_to_budget(db, sum(len(one.payload) for one in entry.outgoing))
        values = (row.incident, row.camera, row.zone, row.rule, row.place_id, int(row.open), row.state)
        db.execute(
            f"INSERT INTO incident ({_ROW}, checksum) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (incident)"  # noqa: S608 - ours
            " DO UPDATE SET open = excluded.open, state = excluded.state, checksum = excluded.checksum",
            (*values, _checksum(*values)),
        )
        for one in entry.outgoing:
            picture = one.kind == "picture"
            state = "behind" if not picture else "ready" if one.payload else "dropped"
            properties = json.dumps(one.properties)
            new = db.execute(
                "INSERT INTO outgoing"
                " (id, incident, kind, state, topic, content_type, properties, size, made_s, checksum)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING RETURNING number",
                (
                    one.id,
                    row.incident,
                    one.kind,
                    state,
                    one.topic,
                    one.content_type,
                    properties,
                    len(one.payload),
                    entry.made_s,
                    _checksum(one.id, one.kind, one.topic, one.content_type, properties, one.payload),
                ),
            ).fetchone()
            if new is not None and state != "dropped":
                db.execute("INSERT INTO payload VALUES (?, ?)", (new[0], one.payload))
        _advance(db, [row.incident])
        db.execute("INSERT INTO seal VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET head = excluded.head", (entry.head,))

    def _write(self, work: Callable[[sqlite3.Connection], T], *, durable: bool) -> T:
        """Do it in one transaction; where the file turns out to be damaged, in the new one that is begun."""
        with self._lock:
            try:
                return self._write_in_room(work, durable=durable)
            except _FAULTS as fault:
                if not self._set_aside(fault):
                    raise
                return self._write_in_room(work, durable=durable)

    def _write_in_room(self, work: Callable[[sqlite3.Connection], T], *, durable: bool) -> T:
        """Do it in one transaction; where the disk is full, once more after pictures have made room."""
        try:
            try:
                return self._transact(work, durable=durable)
            except sqlite3.OperationalError as fault:
                if _code(fault) not in _NO_ROOM:
                    raise
            self._make_room()
            return self._transact(work, durable=durable)
        except sqlite3.OperationalError as fault:
            if _code(fault) not in _LATER:
                raise
            raise OutboxFullError(
                f"{self._path}: expected a disk that can be written, got: {fault}; free some"
            ) from None

    def _transact(self, work: Callable[[sqlite3.Connection], T], *, durable: bool) -> T:
        with self._lock:
            db = self._db
            db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            db.execute("BEGIN IMMEDIATE")
            try:
                result = work(db)
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:  # a full disk may have ended it already
                    with contextlib.suppress(sqlite3.Error):
                        db.execute("ROLLBACK")
                raise
            return result

    # room

    def _keep_to_budget(self, db: sqlite3.Connection, more_bytes: int) -> None:
        excess = self._used_bytes() + more_bytes - (self._budget_bytes - LOG_ROOM_BYTES - RESERVE_BYTES)
        if excess > 0:
            _let_pictures_go(db, excess + ROOM_BYTES)

    def _make_room(self) -> None:
        """The disk is full: pictures go, and where there are none, what the center has of incidents.

        From then on the file does not grow, as there would be no room for what the log holds, not even to delete
        anything; until the reserve can be held again.
        """
        with self._lock:
            if self._reserve is not None:
                self._reserve.unlink(missing_ok=True)
            self._begin_log_anew()
            self._let_grow(0)
            freed = self._transact(lambda db: _let_pictures_go(db, ROOM_BYTES), durable=False)
            if freed < ROOM_BYTES:
                freed += self._transact(
                    lambda db: _let_go(db, "stored", "incident", "gone", ROOM_BYTES - freed), durable=False
                )
            self._begin_log_anew()
            if not freed:
                self._let_grow(ROOM_BYTES)

    def _let_grow(self, more_bytes: int) -> None:
        pages, size = (self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
        self._db.execute(f"PRAGMA max_page_count = {pages + more_bytes // size}")

    def _hold_reserve(self) -> None:
        if self._reserve is None or self._reserve.exists():
            return
        try:
            with self._reserve.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, RESERVE_BYTES)
            self._db.execute(f"PRAGMA max_page_count = {2**32 - 2}")
        except OSError:  # there is no such room now; it is tried again
            self._reserve.unlink(missing_ok=True)

    def _begin_log_anew(self) -> None:
        """What is written next overwrites the log that is there, and needs no new room."""
        with contextlib.suppress(sqlite3.OperationalError):
            self._db.execute("PRAGMA wal_checkpoint(RESTART)")

    def _used_bytes(self) -> int:
        pages, size, free = (
            self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size", "freelist_count")
        )
        return int((pages - free) * size)

    # what is known

    def incidents(self, camera: str | None = None, *, open_only: bool = False) -> list[IncidentRow]:
        """Incidents that are remembered, oldest first."""
        with self._lock:
            query = f"SELECT {_ROW} FROM incident ORDER BY rowid"  # noqa: S608 - ours
            rows = self._read(lambda db: db.execute(query).fetchall())
            known = {row[0]: _incident(row) for row in rows}
            known |= {entry.row.incident: entry.row for entry in self._unwritten}
        return [row for row in known.values() if camera in (None, row.camera) and (row.open or not open_only)]

    def incident(self, incident: str) -> IncidentRow | None:
        """One incident; None for one that is not remembered."""
        with self._lock:
            for entry in reversed(self._unwritten):
                if entry.row.incident == incident:
                    return entry.row
            query = f"SELECT {_ROW} FROM incident WHERE incident = ?"  # noqa: S608 - ours
            row = self._read(lambda db: db.execute(query, (incident,)).fetchone())
        return None if row is None else _incident(row)

    def dropped(self, incident: str | None = None) -> list[tuple[str, str]]:
        """Pictures that made room and whose incidents do not say so yet: incident, and the picture's id."""
        query = "SELECT incident, id FROM outgoing WHERE state = 'dropped' AND ? IN ('', incident) ORDER BY number"
        rows = self._read(lambda db: db.execute(query, (incident or "",)).fetchall())
        return [(str(one), str(picture)) for one, picture in rows]

    def figures(self) -> Figures:
        """How full it is."""
        with self._lock:
            counts, oldest, dropped = self._read(_count)
            oldest += [entry.made_s for entry in self._unwritten[:1]]
            unwritten = sum(len(entry.outgoing) for entry in self._unwritten)
        waiting = sum(count for (_, state), count in counts.items() if state != "parked")
        return Figures(
            waiting=waiting + unwritten,
            oldest_waiting_s=round(max(0.0, self._now() - min(oldest)), 1) if oldest else 0.0,
            parked=sum(count for (_, state), count in counts.items() if state == "parked"),
            dropped=dropped,
            unwritten=unwritten,
            bytes=self._file_bytes(),
            budget_bytes=self._budget_bytes,
        )

    def _file_bytes(self) -> int:
        if self._path is None:
            return self._used_bytes()
        sizes = []
        for path in (self._path, self._path.with_name(self._path.name + "-wal"), self._path.with_name("reserve")):
            with contextlib.suppress(FileNotFoundError):
                sizes.append(path.stat().st_size)
        return sum(sizes)

    def newest_s(self) -> float | None:
        """When the newest message was made, by the clock of then."""
        row = self._read(lambda db: db.execute("SELECT max(made_s) FROM outgoing").fetchone())
        return None if row[0] is None else float(row[0])

    # sending

    def begin_backlog(self) -> None:
        """What waits now is backlog: what comes after it is sent before it."""
        with self._lock:
            query = "SELECT coalesce(max(number), 0) FROM outgoing"
            self._mark = self._read(lambda db: db.execute(query).fetchone()[0])

    def due(self, limit: int, max_bytes: int, resting: Collection[str] = ()) -> list[Outgoing]:
        """What may be sent now: of each incident its oldest message, and pictures once there is room beside these.

        New ones come before the backlog, of which each fourth is all the same; within them, the oldest first.

        Args:
            limit: at most so many.
            max_bytes: no more than about this in one go; one message goes, however large.
            resting: ids that are on their way, or not to be sent just now.
        """
        with self._lock:
            chosen: list[tuple[int, str, int]] = []
            for kind in ("incident", "picture"):
                room = limit - len(chosen)
                if room > 0:
                    newer = self._ready(kind, self._mark, 2**62, room, resting)
                    older = self._ready(kind, 0, self._mark, room, resting)
                    chosen += self._share(newer, older, room)
            total = 0
            messages: list[Outgoing] = []
            for number, message, size in chosen:
                if messages and total + size > max_bytes:
                    break
                try:
                    messages.append(self._load(number))
                    total += size
                except (sqlite3.DatabaseError, TypeError, ValueError) as fault:
                    # a bad sector under one message must not hold up the others
                    self.park(message, f"it cannot be read from {self._path}: {fault}")
        return messages

    def _ready(
        self, kind: str, above: int, up_to: int, limit: int, resting: Collection[str]
    ) -> list[tuple[int, str, int]]:
        query = (
            "SELECT number, id, size FROM outgoing"
            " WHERE state = 'ready' AND kind = ? AND number > ? AND number <= ? ORDER BY number"
        )

        def choose(db: sqlite3.Connection) -> list[tuple[int, str, int]]:
            rows = db.execute(query, (kind, above, up_to))
            return list(itertools.islice((row for row in rows if row[1] not in resting), limit))

        return self._read(choose)

    def _share(
        self, newer: list[tuple[int, str, int]], older: list[tuple[int, str, int]], limit: int
    ) -> list[tuple[int, str, int]]:
        shared: list[tuple[int, str, int]] = []
        while (newer or older) and len(shared) < limit:
            backlog = next(self._turn) % BACKLOG_TURN == 0
            first, second = (older, newer) if backlog else (newer, older)
            shared.append((first or second).pop(0))
        return shared

    def _load(self, number: int) -> Outgoing:
        message, kind, topic, content_type, texts, payload, checksum = self._db.execute(
            "SELECT id, kind, topic, content_type, properties, bytes, checksum"
            " FROM outgoing JOIN payload USING (number) WHERE number = ?",
            (number,),
        ).fetchone()
        if checksum not in (None, _checksum(message, kind, topic, content_type, texts, payload)):
            raise ValueError("it is not what was written")
        return Outgoing(
            message, kind, topic, payload, content_type, tuple((key, value) for key, value in json.loads(texts))
        )

    def acknowledge(self, answer: Acknowledgement) -> None:
        """Take the center's word of what is stored, and of what is refused for good."""
        now_s = self._now()

        def take(db: sqlite3.Connection) -> None:
            incidents = []
            for message in answer.stored:
                # the payload stays for some days; a picture that had made room meanwhile is there after all
                incidents += db.execute(
                    "UPDATE outgoing SET stored_s = ?, parked = NULL,"
                    " state = CASE WHEN state = 'dropped' THEN 'gone' ELSE 'stored' END"
                    " WHERE id = ? AND state IN ('ready', 'behind', 'parked', 'dropped') RETURNING incident",
                    (now_s, message),
                ).fetchall()
            _advance(db, {incident for (incident,) in incidents})

        # not durable: an answer that a power cut takes back is asked for again
        if answer.stored:
            self._write(take, durable=False)
        for refusal in answer.refused:
            self.park(refusal.id, f"refused by the center ({refusal.code}): {refusal.text}")

    def park(self, message: str, why: str) -> None:
        """Keep a message that will never be taken, for a person to look at; later ones of its incident go on."""

        def take(db: sqlite3.Connection) -> bool:
            rows = db.execute(
                "UPDATE outgoing SET parked = ?, state = 'parked' WHERE id = ? AND state IN ('ready', 'behind')"
                " RETURNING incident",
                (why, message),
            ).fetchall()
            _advance(db, {incident for (incident,) in rows})
            return bool(rows)

        if self._write(take, durable=False) and why != self._parked_why:
            self._parked_why = why  # one fault may park thousands
            log.error("message %s is parked: %s; see: cityeye-agent outbox", message, why)

    def parked(self) -> list[Parked]:
        """What is parked, oldest first."""
        query = "SELECT id, parked, made_s, size FROM outgoing WHERE state = 'parked' ORDER BY number"
        rows = self._read(lambda db: db.execute(query).fetchall())
        return [Parked(*row) for row in rows]

    def retry(self) -> int:
        """Have everything that is parked tried again; says how much that is."""
        return self._again("state = 'parked'", ())

    def resend(self, since_s: float) -> int:
        """Send again what the center has acknowledged since a time, as it was restored from an older back-up.

        Pictures that have made room since are told as dropped.

        Args:
            since_s: by this box's clock; a little early does no harm, as the center stores by id.
        """

        def mark(db: sqlite3.Connection) -> None:
            db.execute(
                "UPDATE outgoing SET state = 'dropped', stored_s = NULL"
                " WHERE state = 'gone' AND kind = 'picture' AND stored_s >= ?"
                " AND incident IN (SELECT incident FROM incident)",
                (since_s,),
            )

        self._write(mark, durable=True)
        return self._again("state = 'stored' AND stored_s >= ?", (since_s,))

    def _again(self, which: str, values: tuple[float, ...]) -> int:
        def take(db: sqlite3.Connection) -> int:
            rows = db.execute(
                "UPDATE outgoing SET stored_s = NULL, parked = NULL,"  # noqa: S608 - one of the two texts above
                f" state = CASE kind WHEN 'picture' THEN 'ready' ELSE 'behind' END WHERE {which} RETURNING incident",
                values,
            ).fetchall()
            incidents = {incident for (incident,) in rows}
            db.executemany(
                "UPDATE outgoing SET state = 'behind' WHERE incident = ? AND kind = 'incident' AND state = 'ready'",
                [(incident,) for incident in incidents],
            )
            _advance(db, incidents)
            return len(rows)

        count = self._write(take, durable=True)
        self.on_commit()
        return count

    def prune(self, keep_s: float) -> None:
        """Forget what was stored longer ago, and the oldest closed incidents of which nothing waits."""
        before_s = self._now() - keep_s

        def forget(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM outgoing WHERE stored_s < ?", (before_s,))
            db.execute("DELETE FROM outgoing WHERE state = 'gone' AND made_s < ?", (before_s,))
            db.execute(
                "DELETE FROM incident WHERE rowid IN (SELECT rowid FROM"
                " (SELECT rowid, row_number() OVER (PARTITION BY camera ORDER BY rowid DESC) AS place"
                " FROM incident WHERE NOT open) WHERE place > ?)"
                " AND NOT EXISTS (SELECT 1 FROM outgoing WHERE outgoing.incident = incident.incident"
                " AND state IN ('behind', 'ready', 'dropped'))",
                (KEEP_CLOSED,),
            )

        self._write(forget, durable=False)
        self._hold_reserve()

    def close(self) -> None:
        """Close the file."""
        self.write_down()
        with self._lock:
            self._db.close()


def _commits(path: Path) -> int:
    """Up to which of its frames a write-ahead log says that something was committed; 0 for none.

    SQLite ignores what is behind a damaged frame in silence. Frames of the log's last use carry its salts, all those
    behind them are of an earlier use (sqlite.org/fileformat2.html#walformat).
    """
    try:
        log_file = path.read_bytes()
    except OSError:
        return 0
    committed, page_bytes = 0, int.from_bytes(log_file[8:12], "big")
    if not 512 <= page_bytes <= 65536 or page_bytes & (page_bytes - 1):
        return int(len(log_file) > _WAL_HEAD_BYTES)
    salts = log_file[16:24]
    for number, at in enumerate(range(_WAL_HEAD_BYTES, len(log_file), _WAL_FRAME_BYTES + page_bytes), 1):
        if number == 1 and salts != log_file[at + 8 : at + 16]:
            return 1  # the head does not fit what follows
        if salts == log_file[at + 8 : at + 16] and any(log_file[at + 4 : at + 8]):
            committed = number
    return committed


def _checksum(*values: str | int | bytes) -> int:
    """CRC-32 of values, each with its end."""
    total = 0
    for value in values:
        total = zlib.crc32(b"\0", zlib.crc32(value if isinstance(value, bytes) else str(value).encode(), total))
    return total


def _incident(row: Sequence[Any]) -> IncidentRow:
    incident, camera, zone, rule, place_id, is_open, state = row
    return IncidentRow(incident, camera, zone, rule, place_id, bool(is_open), state)


def _count(db: sqlite3.Connection) -> tuple[dict[tuple[str, str], int], list[float], int]:
    """Messages by kind and state, when the oldest that wait were made, and how many pictures were dropped."""
    counts = {
        (kind, state): count
        for kind, state, count in db.execute(
            "SELECT kind, state, count(*) FROM outgoing WHERE state IN ('ready', 'behind', 'parked')"
            " GROUP BY state, kind"
        )
    }
    oldest = [
        row[0]
        for state in ("ready", "behind")
        for kind in ("incident", "picture")
        for row in db.execute(
            "SELECT made_s FROM outgoing WHERE state = ? AND kind = ? ORDER BY number LIMIT 1", (state, kind)
        )
    ]
    dropped = db.execute(
        "SELECT count(*) FROM outgoing WHERE kind = 'picture' AND state IN ('dropped', 'gone') AND stored_s IS NULL"
    ).fetchone()[0]
    return counts, oldest, dropped


def _code(fault: sqlite3.OperationalError) -> int:
    """The primary result code."""
    return fault.sqlite_errorcode & 0xFF


def _advance(db: sqlite3.Connection, incidents: Collection[str]) -> None:
    """Let the oldest waiting message of each incident go."""
    db.executemany(
        "UPDATE outgoing SET state = 'ready' WHERE number = (SELECT min(number) FROM outgoing"
        " WHERE incident = ? AND kind = 'incident' AND state IN ('ready', 'behind')) AND state = 'behind'",
        [(incident,) for incident in incidents],
    )


def _let_pictures_go(db: sqlite3.Connection, enough_bytes: int) -> int:
    """Make room by pictures: first those that the center has; says how many bytes went."""
    freed = 0
    for state, after in (("stored", "gone"), ("parked", "dropped"), ("ready", "dropped")):
        if freed < enough_bytes:
            freed += _let_go(db, state, "picture", after, enough_bytes - freed)
    return freed


def _let_go(db: sqlite3.Connection, state: str, kind: str, after: str, enough_bytes: int) -> int:
    """Throw payloads away, the oldest first, until these are enough bytes."""
    rows = db.execute("SELECT number, size FROM outgoing WHERE state = ? AND kind = ? ORDER BY number", (state, kind))
    freed, numbers = 0, []
    for number, size in rows:
        if freed >= enough_bytes:
            break
        freed += size
        numbers.append((number,))
    db.executemany("DELETE FROM payload WHERE number = ?", numbers)
    db.executemany(f"UPDATE outgoing SET state = '{after}', size = 0 WHERE number = ?", numbers)  # noqa: S608 - ours
    if numbers:
        log.warning("outbox: %d %s messages (%s) made room, %d bytes", len(numbers), kind, state, freed)
    return freed

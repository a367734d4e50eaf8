"""The outbox: incidents and what is still to be sent, in one SQLite file.

A message stays until the center says that it has committed it. `FULL` synchronisation: what was committed here survives
a cut of the power (4,000 single rows a second on the machine this was written on; a street makes a few an hour).
"""

import contextlib
import json
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from protocol.messages import Acknowledgement

log = logging.getLogger(__name__)

RESEND_S: Final = 30.0
"""What stays unanswered is sent again after this long, and a jitter on top."""
KEEP_CLOSED: Final = 200
"""Closed incidents that are remembered per camera: a return at the same place names the last one."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS incident (
    incident TEXT PRIMARY KEY,
    camera TEXT NOT NULL, zone TEXT NOT NULL, rule TEXT NOT NULL, place_id TEXT NOT NULL,
    open INTEGER NOT NULL,
    state TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS outgoing (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    topic TEXT NOT NULL,
    content_type TEXT NOT NULL,
    properties TEXT NOT NULL,
    payload BLOB NOT NULL,
    made_s REAL NOT NULL,
    due_s REAL NOT NULL DEFAULT 0,
    stored_s REAL,
    parked TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS outgoing_due ON outgoing (due_s) WHERE stored_s IS NULL AND parked IS NULL;
CREATE TABLE IF NOT EXISTS seal (one INTEGER PRIMARY KEY CHECK (one = 1), head TEXT) STRICT;
"""
_VERSION: Final = 1


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
class Figures:
    """How full the outbox is."""

    waiting: int
    oldest_waiting_s: float
    parked: int
    bytes: int


@dataclass
class Ledger:
    """The end of the seal's chain, held while pictures are sealed behind it."""

    head: str | None
    _commit: Callable[[IncidentRow, Sequence[Outgoing], str | None], None]

    def commit(self, row: IncidentRow, outgoing: Sequence[Outgoing], head: str | None) -> None:
        """Write an incident, what is to be sent of it and the chain's new end, all or nothing."""
        self._commit(row, outgoing, head)


class OutboxError(Exception):
    """An outbox that cannot be opened; one line that says what was expected, what came and what to do."""


class Outbox:
    """The box's memory on disk; may be used by several threads.

    Args:
        path: the file; None keeps everything in memory. A damaged file is moved aside and a new one begun.
        now: seconds since the epoch.
    """

    def __init__(self, path: Path | None, now: Callable[[], float]) -> None:
        self._path = path
        self._now = now
        self._lock = threading.RLock()
        self.on_commit: Callable[[], None] = lambda: None
        """Called after each commit, for whoever sends."""
        try:
            self._db = self._open()
        except sqlite3.DatabaseError as fault:
            if path is None or isinstance(fault, sqlite3.OperationalError):
                raise OutboxError(f"{path}: expected an outbox that can be opened, got: {fault}") from None
            aside = path.with_name(f"{path.name}.damaged-{int(now())}")
            log.error("%s: damaged (%s); moved to %s, a new one is begun", path, fault, aside)  # noqa: TRY400 - no trace
            for suffix in ("-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            path.rename(aside)
            self._db = self._open()

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path or ":memory:", isolation_level=None, check_same_thread=False, timeout=10)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            self._check_version(db.execute("PRAGMA user_version").fetchone()[0])
            db.executescript(_SCHEMA)
            db.execute(f"PRAGMA user_version = {_VERSION}")
            if db.execute("PRAGMA quick_check").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("quick_check failed")
        except (sqlite3.Error, OutboxError):
            db.close()
            raise
        return db

    def _check_version(self, version: int) -> None:
        if version not in (0, _VERSION):
            raise OutboxError(
                f"{self._path}: expected an outbox of version {_VERSION}, got {version}; update the agent"
            )

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextlib.contextmanager
    def sealing(self) -> Iterator[Ledger]:
        """Hold the chain: only one thread seals at a time."""
        with self._lock:
            row = self._db.execute("SELECT head FROM seal").fetchone()
            yield Ledger(row[0] if row else None, self._commit)
        self.on_commit()

    def _commit(self, row: IncidentRow, outgoing: Sequence[Outgoing], head: str | None) -> None:
        now_s = self._now()
        with self._transaction() as db:
            db.execute(
                "INSERT INTO incident VALUES (?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (incident) DO UPDATE SET open = excluded.open, state = excluded.state",
                (row.incident, row.camera, row.zone, row.rule, row.place_id, int(row.open), row.state),
            )
            db.executemany(
                "INSERT INTO outgoing (id, kind, topic, content_type, properties, payload, made_s)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
                [
                    (one.id, one.kind, one.topic, one.content_type, json.dumps(one.properties), one.payload, now_s)
                    for one in outgoing
                ],
            )
            db.execute("INSERT INTO seal VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET head = excluded.head", (head,))

    def incidents(self, camera: str | None = None, *, open_only: bool = False) -> list[IncidentRow]:
        """Incidents that are remembered, oldest first."""
        query, values = "SELECT * FROM incident WHERE 1", []
        if camera is not None:
            query, values = query + " AND camera = ?", [camera]
        if open_only:
            query += " AND open"
        with self._lock:
            rows = self._db.execute(query + " ORDER BY rowid", values).fetchall()
        names = ("incident", "camera", "zone", "rule", "place_id", "open", "state")
        return [IncidentRow(**dict(zip(names, (*row[:5], bool(row[5]), row[6]), strict=True))) for row in rows]

    def due(self, limit: int, max_bytes: int) -> list[Outgoing]:
        """What should be sent now, oldest first: at most `limit`, and no more than about `max_bytes` in one go."""
        with self._lock:
            sizes = self._db.execute(
                "SELECT number, length(payload) FROM outgoing"
                " WHERE stored_s IS NULL AND parked IS NULL AND due_s <= ? ORDER BY number LIMIT ?",
                (self._now(), limit),
            ).fetchall()
            numbers: list[int] = []
            total = 0
            for number, size in sizes:
                if numbers and total + size > max_bytes:
                    break
                numbers.append(number)
                total += size
            marks = ",".join("?" * len(numbers))
            rows = self._db.execute(
                "SELECT id, kind, topic, payload, content_type, properties FROM outgoing"  # noqa: S608 - only marks
                f" WHERE number IN ({marks}) ORDER BY number",
                numbers,
            ).fetchall()
        return [
            Outgoing(
                message, kind, topic, payload, content_type, tuple((key, value) for key, value in json.loads(texts))
            )
            for message, kind, topic, payload, content_type, texts in rows
        ]

    def sent(self, message: str, again_after_s: float = RESEND_S) -> None:
        """Note that a message is on its way; it is due again after a while unless it is acknowledged."""
        self._set_due(message, again_after_s)

    def forget_sent(self) -> None:
        """Make everything due at once: the connection is new, and what was in flight may be lost."""
        with self._transaction() as db:
            db.execute("UPDATE outgoing SET due_s = 0 WHERE stored_s IS NULL AND parked IS NULL")

    def park(self, message: str, why: str) -> None:
        """Keep a message that will never be taken, for a person to look at."""
        with self._transaction() as db:
            changed = db.execute(
                "UPDATE outgoing SET parked = ? WHERE id = ? AND stored_s IS NULL AND parked IS NULL", (why, message)
            )
            if changed.rowcount:
                log.error("message %s is parked: %s", message, why)

    def acknowledge(self, answer: Acknowledgement) -> None:
        """Take the center's word: stored, refused for good, or later."""
        now_s = self._now()
        with self._transaction() as db:
            # the payload is no longer needed; the id stays for a while, so that a repeated answer finds it
            db.executemany(
                "UPDATE outgoing SET stored_s = ?, payload = x'' WHERE id = ? AND stored_s IS NULL",
                [(now_s, message) for message in answer.stored],
            )
        for refusal in answer.refused:
            self.park(refusal.id, f"refused by the center ({refusal.code}): {refusal.text}")
        for later in answer.later:
            self._set_due(later.id, later.after_s)

    def _set_due(self, message: str, after_s: float) -> None:
        with self._transaction() as db:
            db.execute("UPDATE outgoing SET due_s = ? WHERE id = ?", (self._now() + after_s, message))

    def next_due_s(self) -> float | None:
        """When the next message is due; None where nothing waits."""
        with self._lock:
            row = self._db.execute(
                "SELECT min(due_s) FROM outgoing WHERE stored_s IS NULL AND parked IS NULL"
            ).fetchone()
        return None if row[0] is None else float(row[0])

    def figures(self) -> Figures:
        """How full it is."""
        with self._lock:
            waiting, oldest = self._db.execute(
                "SELECT count(*), min(made_s) FROM outgoing WHERE stored_s IS NULL AND parked IS NULL"
            ).fetchone()
            parked = self._db.execute("SELECT count(*) FROM outgoing WHERE parked IS NOT NULL").fetchone()[0]
            pages, size, free = (
                self._db.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("page_count", "page_size", "freelist_count")
            )
        oldest_s = 0.0 if oldest is None else max(0.0, self._now() - oldest)
        return Figures(waiting, round(oldest_s, 1), parked, (pages - free) * size)

    def parked(self) -> list[tuple[str, str]]:
        """Ids of parked messages, and why."""
        with self._lock:
            rows: list[Any] = self._db.execute(
                "SELECT id, parked FROM outgoing WHERE parked IS NOT NULL ORDER BY number"
            ).fetchall()
        return [(str(message), str(why)) for message, why in rows]

    def prune(self, keep_s: float) -> None:
        """Forget what was stored longer ago, and the oldest closed incidents."""
        with self._transaction() as db:
            db.execute("DELETE FROM outgoing WHERE stored_s < ?", (self._now() - keep_s,))
            db.execute(
                "DELETE FROM incident WHERE rowid IN (SELECT rowid FROM"
                " (SELECT rowid, row_number() OVER (PARTITION BY camera ORDER BY rowid DESC) AS place"
                " FROM incident WHERE NOT open) WHERE place > ?)",
                (KEEP_CLOSED,),
            )

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

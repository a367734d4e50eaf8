"""Commands of the center, one after the other on one thread: each runs once, and never after it expired.

```
 received ─▶ known id? ─yes─▶ the same reply again
                │ no
                ▼
             expired, unknown verb, wrong arguments? ─yes─▶ noted ─▶ expired | refused
                │ no
                ▼
             noted as begun ─▶ carried out ─▶ noted with its reply ─▶ ok | failed | accepted ─▶ (later) ok
```

The id is on the disk before anything is done. An agent that ends in the middle does not begin again: it says so.
"""

import contextlib
import logging
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from protocol.commands import BOX_REPLY, MAX_LIFE_S, MAX_TEXT, Arguments, CommandEvent, Reply, ReplyEvent
from protocol.commands import read_arguments as read
from protocol.instants import from_epoch
from protocol.messages import MAX_JSON_BYTES, MessageError, dataschema, read_event, source
from protocol.pictures import AnswerHeader

log = logging.getLogger(__name__)

MAX_WAITING: Final = 32
TICK_S: Final = 1.0
REMEMBERED: Final = 10_000
"""Ids on the disk, at least; by then a command has expired by far."""
MAX_UNSENT: Final = 8
"""Replies whose pictures wait for the line, each with a few of at most 512 KB."""
LOST: Final = "done, but its pictures were lost before they could be sent; ask again"
TELL_S: Final = 600.0
"""A reply is tried for this long; nobody waits for it any more."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS command (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    verb TEXT NOT NULL,
    begun_s REAL NOT NULL,
    reply TEXT,
    told INTEGER NOT NULL DEFAULT 0
) STRICT;
"""


class CommandError(Exception):
    """A command that could not be carried out; the text goes to the center and holds no secret."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class AnswerPicture:
    """A masked picture that goes with a reply."""

    camera: str
    header: AnswerHeader
    jpeg: bytes = field(repr=False)


@dataclass(frozen=True)
class Answer:
    """What came of a verb.

    Args:
        text: for people.
        data: of the reply.
        pictures: sent before it, and it not without them.
        after: done once the reply is on its way; there is one where it goes on, and the reply says `accepted`.
        later: the same, done beside what else is asked meanwhile; its own answer follows. May raise CommandError.
    """

    text: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    pictures: Sequence[AnswerPicture] = ()
    after: Callable[[], None] | None = None
    later: "Callable[[], Answer] | None" = None


Verb = Callable[[str, Any], Answer]
"""Carries a command out: its id and its arguments. Raises CommandError."""
Publish = Callable[..., bool]
"""`Session.publish`."""


@dataclass(frozen=True)
class Begun:
    """A command that was begun, as the disk has it."""

    id: str
    verb: str
    begun_s: float
    reply: Reply | None


class Journal:
    """Commands that this box has seen, in one SQLite file.

    Args:
        path: the file; None keeps them in memory. A damaged one is moved aside.
    """

    def __init__(self, path: Path | None) -> None:
        self._lock = threading.Lock()
        try:
            self._db = _open(path)
            try:
                self._select("number > ?", 0)
            except (sqlite3.Error, ValueError):
                self._db.close()
                raise
        except (sqlite3.DatabaseError, ValueError) as fault:  # the second one where a reply is not what was written
            if path is None:
                raise
            log.error("%s: damaged (%s); a new one is begun", path, type(fault).__name__)  # noqa: TRY400 - it may quote
            path.replace(path.with_suffix(".damaged"))
            for suffix in ("-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            self._db = _open(path)

    def begin(self, command: str, verb: str, now_s: float) -> bool:
        """Note a command durably; False where its id is known already."""
        with self._lock:
            added = self._db.execute(
                "INSERT INTO command (id, verb, begun_s) VALUES (?, ?, ?) ON CONFLICT (id) DO NOTHING",
                (command, verb, now_s),
            ).rowcount
            self._db.execute("DELETE FROM command WHERE number <= (SELECT max(number) FROM command) - ?", (REMEMBERED,))
        return bool(added)

    def finish(self, reply: Reply) -> None:
        """Keep a command's reply; it is to be told."""
        with self._lock:
            self._db.execute(
                "UPDATE command SET reply = ?, told = 0 WHERE id = ?", (reply.model_dump_json(), reply.command)
            )

    def told(self, command: str) -> None:
        """Note that a reply is on its way."""
        with self._lock:
            self._db.execute("UPDATE command SET told = 1 WHERE id = ?", (command,))

    def get(self, command: str) -> Begun | None:
        """A command that was begun; None for one that is not known."""
        return next(iter(self._select("id = ?", command)), None)

    def untold(self, since_s: float) -> list[Begun]:
        """Those since an instant whose reply is still to be told."""
        return self._select("reply IS NOT NULL AND NOT told AND begun_s >= ?", since_s)

    def unfinished(self) -> list[Begun]:
        """Those without a last reply."""
        return [
            one
            for one in self._select("reply IS NULL OR json_extract(reply, '$.outcome') = ?", "accepted")
            if one.reply is None or one.reply.outcome == "accepted"
        ]

    def _select(self, where: str, value: str | float) -> list[Begun]:
        query = f"SELECT id, verb, begun_s, reply FROM command WHERE {where} ORDER BY number"  # noqa: S608 - ours
        with self._lock:
            rows = self._db.execute(query, (value,)).fetchall()
        return [
            Begun(command, verb, begun_s, None if reply is None else Reply.model_validate_json(reply))
            for command, verb, begun_s, reply in rows
        ]

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()


def _open(path: Path | None) -> sqlite3.Connection:
    db = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False, timeout=10)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.executescript(_SCHEMA)
        if db.execute("PRAGMA quick_check").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("quick_check failed")
    except (sqlite3.Error, UnicodeDecodeError):
        db.close()
        raise
    return db


class Executor:
    """The thread on which the box does what the center asks.

    Args:
        site: the box's site.
        box: its id.
        journal: what was begun.
        verbs: who carries out what.
        publish: sends on one of the box's leaves; False where there is no line.
        now: seconds since the epoch, by the box's clock.
        monotonic: seconds that never jump.
        center_now: seconds since the epoch by the center's clock; None where the box cannot tell. Then a command lives
            from its receipt for as long as it was given.
        tick: called about once a second between commands, on the same thread.
    """

    def __init__(
        self,
        *,
        site: str,
        box: str,
        journal: Journal,
        verbs: Mapping[str, Verb],
        publish: Publish,
        now: Callable[[], float],
        monotonic: Callable[[], float],
        center_now: Callable[[], float | None],
        tick: Callable[[], None] = lambda: None,
    ) -> None:
        self._site, self._box = site, box
        self._journal, self._verbs, self._publish = journal, verbs, publish
        self._now, self._monotonic, self._center_now = now, monotonic, center_now
        self._tick = tick
        self._queue: queue.Queue[Callable[[], None]] = queue.Queue(MAX_WAITING)
        self._newest: deque[Callable[[], None]] = deque(maxlen=1)
        self._unsent: dict[str, tuple[Reply, deque[AnswerPicture]]] = {}
        """Replies that wait for their pictures; the disk holds what is told if the agent ends before these are sent."""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="executor", daemon=True)

    def take(self, payload: bytes) -> None:
        """Queue a command; one for which there is no room comes again."""
        received_s = self._monotonic()
        self.put(lambda: self.carry_out(payload, received_s))

    def put(self, job: Callable[[], None]) -> None:
        """Queue anything that is done on this thread; where there is no room, it is left."""
        try:
            self._queue.put_nowait(job)
        except queue.Full:
            log.warning("executor: %d things wait already; what comes is left", MAX_WAITING)

    def put_newest(self, job: Callable[[], None]) -> None:
        """Have this done on this thread in place of what was put here before and waits still; there is always room."""
        waiting = bool(self._newest)
        self._newest.append(job)
        if not waiting:
            with contextlib.suppress(queue.Full):  # it is busy, and looks here before it goes on
                self._queue.put_nowait(lambda: None)

    def start(self) -> None:
        """Begin; what an earlier run of the agent left is answered first."""
        for left in self._journal.unfinished():
            if left.reply is None or left.verb != "restart":
                reply = Reply(
                    command=left.id,
                    outcome="failed",
                    code="interrupted",
                    text="the agent ended while this was carried out; how far it got is not known",
                )
            else:
                away_s = max(0.0, self._now() - left.begun_s)
                reply = left.reply.model_copy(update={"outcome": "ok", "text": f"done; running after {away_s:.1f} s"})
            self._journal.finish(reply)
        self._thread.start()

    def stop(self) -> None:
        """End after what is being carried out."""
        self._stopping.set()
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(lambda: None)  # wakes it
        if self._thread.is_alive():
            self._thread.join(10)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                job = self._queue.get(timeout=TICK_S)
            except queue.Empty:
                job = self._between
            for one in (*([self._newest.pop()] if self._newest else ()), job):
                try:
                    one()
                except Exception:
                    log.exception("executor: going on")

    def _between(self) -> None:
        untold = self._journal.untold(self._now() - TELL_S)
        for late in self._unsent.keys() - {begun.id for begun in untold}:
            del self._unsent[late]
        for begun in untold:
            if begun.reply is not None:
                self._tell(begun.reply)
        self._tick()

    def carry_out(self, payload: bytes, received_s: float) -> None:
        """Take one command as it came; `received_s` by the monotonic clock."""
        try:
            event = read_event(payload, CommandEvent)
        except MessageError as fault:
            log.warning("command: %s; ignored", fault)
            return
        known = self._journal.get(event.id)
        if known is not None:
            if known.reply is not None:
                self._tell(known.reply)
            return
        verb = event.data.verb
        if not self._journal.begin(event.id, verb, self._now()):
            return
        log.info("command %s: %s", event.id, verb)
        reply, answer = self._judge(event, received_s)
        log.info("command %s: %s: %s %s", event.id, verb, reply.outcome, reply.text)
        if answer.pictures:
            self._unsent[event.id] = reply, deque(answer.pictures)
            while len(self._unsent) > MAX_UNSENT:
                del self._unsent[next(iter(self._unsent))]
            self._journal.finish(Reply(command=event.id, outcome="failed", code="pictures_lost", text=LOST))
        else:
            self._journal.finish(reply)
        self._tell(reply)
        if answer.after is not None:
            answer.after()
        if answer.later is not None:
            threading.Thread(target=self._go_on, args=(event.id, answer.later), name="later", daemon=True).start()

    def _go_on(self, command: str, later: Callable[[], Answer]) -> None:
        reply, _ = self._answer(command, later)
        self._journal.finish(reply)  # told between commands

    def _judge(self, event: CommandEvent, received_s: float) -> tuple[Reply, Answer]:
        command = event.id
        if self._expired(event, received_s):
            text = f"it expired at {event.data.expires_at:%H:%M:%S} UTC before it was begun"
            return Reply(command=command, outcome="expired", code="expired", text=text), Answer()
        try:
            args: Arguments = read(event.data.verb, event.data.args)
        except MessageError as fault:
            return Reply(command=command, outcome="refused", code=fault.code, text=plain(str(fault))), Answer()
        return self._answer(command, lambda: self._verbs[event.data.verb](command, args))

    def _answer(self, command: str, carry_out: Callable[[], Answer]) -> tuple[Reply, Answer]:
        try:
            answer = carry_out()
        except CommandError as fault:
            return Reply(command=command, outcome="failed", code=fault.code, text=plain(str(fault))), Answer()
        except Exception as fault:
            log.exception("command %s", command)
            text = f"an error of the agent ({type(fault).__name__}); its log says more"
            return Reply(command=command, outcome="failed", code="internal", text=text), Answer()
        outcome = "ok" if answer.after is None and answer.later is None else "accepted"
        reply = Reply(command=command, outcome=outcome, text=plain(answer.text), data=dict(answer.data))
        if len(reply.model_dump_json()) > MAX_JSON_BYTES - 2048:  # room for the envelope
            reply = Reply(command=command, outcome="failed", code="too_large", text="the reply is too large")
        return reply, answer

    def _expired(self, event: CommandEvent, received_s: float) -> bool:
        expires_s = event.data.expires_at.timestamp()
        life_s = min(MAX_LIFE_S, expires_s - event.time.timestamp())
        center_s = self._center_now()
        return self._monotonic() - received_s >= life_s or (center_s is not None and center_s >= expires_s)

    def _tell(self, reply: Reply) -> None:
        """Send a reply behind its pictures; what the line does not take now is sent from where it stopped, later."""
        reply, pictures = self._unsent.get(reply.command, (reply, deque[AnswerPicture]()))
        while pictures:
            one = pictures[0]
            if not self._publish("evidence", one.jpeg, camera=one.camera, user=one.header.to_properties()):
                return
            pictures.popleft()
        now_s = self._now()
        event = ReplyEvent(
            id=f"{reply.command}:{reply.outcome}",
            source=source(self._site, self._box),
            type=BOX_REPLY,
            time=from_epoch(now_s),
            dataschema=dataschema("reply"),
            data=reply,
        )
        if self._publish("reply", event.to_json()):
            if self._unsent.pop(reply.command, None) is not None:
                self._journal.finish(reply)
            self._journal.told(reply.command)


def plain(text: str) -> str:
    """Text that the center can store."""
    return text.replace("\x00", " ").encode("utf-8", "replace").decode()[:MAX_TEXT]

"""One reading process as its parent holds it: its pipes, its deadlines, its pictures and their times."""

import contextlib
import os
import signal
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from agent.camera import wire
from agent.camera.events import DRIFT_S, Decoding, Tally
from agent.camera.frame import Frame
from agent.camera.nursery import nursery
from agent.camera.ring import WAITING, Lender, Ring, new_memory
from agent.camera.source import Source

STALL_S: Final = 10.0
"""Nothing came for this long: stalled. A stall must be known within 20 s."""
OPEN_S: Final = 15.0
"""Time to open a camera and decode its first picture."""
NO_PICTURE_S: Final = 30.0
"""Data comes but no picture: as bad as a stall."""
FIRST_DELAY_S: Final = 1.0
MAX_DELAY_S: Final = 60.0
TICK_S: Final = 1.0
TRUSTED_AFTER_S: Final = 30.0
"""A camera that was live for this long gets its whole budget back."""


def delay_s(failures: int) -> float:
    """How long to wait after so many failed tries in a row."""
    return min(MAX_DELAY_S, FIRST_DELAY_S * 2.0 ** (failures - 1))


@dataclass(frozen=True)
class Figures:
    """What was done with a camera since it was first opened, whatever became of its readers.

    Args:
        read: packets.
        decoded: pictures.
        dropped: pictures that were due and nobody looked at, as the box is behind.
    """

    read: int = 0
    decoded: int = 0
    dropped: int = 0

    def plus(self, other: Self) -> Self:
        """Add what another reader did."""
        return replace(
            self,
            read=self.read + other.read,
            decoded=self.decoded + other.decoded,
            dropped=self.dropped + other.dropped,
        )


@dataclass
class StreamClock:
    """Gives pictures their time: the stream's own steps, anchored at arrival, never running back."""

    _anchor_s: float | None = None
    _last_s: float = float("-inf")

    def stamp(self, stream_s: float, arrival_s: float) -> float:
        """Time of a picture, seconds since the epoch."""
        ahead_s = 0.0 if self._anchor_s is None else self._anchor_s + stream_s - arrival_s
        # what seems to be of the future shows that the pictures before it came late
        if self._anchor_s is None or ahead_s > 0 or ahead_s < -DRIFT_S:
            self._anchor_s = arrival_s - stream_s
        time_s = max(self._anchor_s + stream_s, self._last_s + 0.001)
        # a box whose clock was set back by more than a moment takes the new time
        if time_s > arrival_s + DRIFT_S:
            time_s = arrival_s
        self._last_s = time_s
        return time_s


class Child:
    """One reading process, its two pipes and its ring."""

    def __init__(self, source: Source) -> None:
        readable, events = os.pipe()
        orders, writable = os.pipe()
        memory = new_memory()
        try:
            self.pid, self._pidfd = nursery().start(source.to_json(), (events, orders, memory))
            self._ring = Ring(memory)
        except BaseException:
            # a process that has begun ends when its pipes do
            os.close(readable)
            os.close(writable)
            raise
        finally:
            for descriptor in (events, orders, memory):
                os.close(descriptor)
        self._events, self._orders = readable, writable
        self._reader = wire.Reader(readable)
        self._lender = Lender(self._ring, lambda slot: wire.write(writable, wire.FREE, slot=slot))
        self._closing = threading.Lock()
        self._closed = False

    def read(self) -> wire.Record | None:
        """Wait for its next record; None at the end."""
        return self._reader.read()

    def frame(self, record: wire.Record, time_s: float) -> Frame:
        """The picture of a record."""
        values = record.values
        planes = self._lender.lend(values["slot"], values["width"], values["height"])
        return Frame(time_s, values["key"], planes)

    def drop(self, record: wire.Record) -> None:
        """Let a picture go that nobody has looked at."""
        self._lender.drop(record.values["slot"])

    def demand(self, fps: float, for_s: float) -> None:
        """Ask for pictures at least so often, for a while."""
        with self._closing, contextlib.suppress(BrokenPipeError):
            if not self._closed:
                wire.write(self._orders, wire.DEMAND, fps=fps, for_s=for_s)

    def relieve(self, for_s: float) -> None:
        """Let it keep to key frames for a while."""
        with self._closing, contextlib.suppress(BrokenPipeError):
            if not self._closed:
                wire.write(self._orders, wire.RELIEF, for_s=for_s)

    def end(self) -> None:
        """Kill it if it still runs; its last record tells when it is gone."""
        with self._closing, contextlib.suppress(ProcessLookupError):
            if not self._closed:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def close(self) -> None:
        """End it and close its pipe; frames of it may still be looked at. Who reads its events closes those."""
        self.end()
        self._lender.close()
        with self._closing:
            if not self._closed:
                self._closed = True
                for descriptor in (self._pidfd, self._orders):
                    os.close(descriptor)

    def close_events(self) -> None:
        """Nobody reads them any more."""
        os.close(self._events)


class _Pump(threading.Thread):
    """Empties a child's pipe; keeps the newest pictures only."""

    def __init__(self, child: Child, news: threading.Condition) -> None:
        super().__init__(name=f"camera-pump-{child.pid}", daemon=True)
        self._child = child
        self._changed = news
        self._frames: deque[wire.Record] = deque()
        self._last: wire.Record | None = None
        self._alive = False
        self._over = False
        self.replaced = 0
        """Pictures that a newer one came for before anybody looked at them."""
        self.tally = Tally()
        self.decoding = Decoding()
        self.opened: dict[str, Any] = {}
        """What its source turned out to be."""

    def run(self) -> None:
        try:
            self._empty()
        finally:
            # a child that cannot be killed just now may still write: the number must not be somebody else's by then
            self._child.close_events()

    def _empty(self) -> None:
        while True:
            record = self._child.read()
            with self._changed:
                if record is None or record.kind in (wire.FAILED, wire.ENDED, wire.DIED):
                    self._last, self._over = record, True
                elif record.kind == wire.FRAME:
                    if len(self._frames) == WAITING:
                        self._child.drop(self._frames.popleft())
                        self.replaced += 1
                    self._frames.append(record)
                elif record.kind == wire.TALLY:
                    self.tally = Tally(**record.values)
                elif record.kind == wire.DECODING:
                    self.decoding = Decoding(**record.values)
                elif record.kind == wire.OPENED:
                    self.opened = record.values
                self._alive = True
                self._changed.notify_all()
                if self._over:
                    return

    @property
    def fresh(self) -> bool:
        """Whether `take` has anything to tell."""
        return bool(self._frames) or self._alive or self._over

    def take(self) -> tuple[wire.Record | None, bool, bool]:
        """Give the next picture, whether anything came, and whether it is over."""
        with self._changed:
            frame, alive = self._frames.popleft() if self._frames else None, self._alive
            self._alive = False
            return frame, alive, self._over and frame is None

    @property
    def died(self) -> bool:
        """Whether something killed it."""
        return self._last is not None and self._last.kind == wire.DIED

    @property
    def last_words(self) -> str:
        """Why it ended."""
        return last_words(self._last)


class Reading:
    """One reading process under its deadlines, from its start to its end.

    Args:
        source: what it reads.
        now: seconds since the epoch.
        monotonic: seconds, for deadlines.
        news: is notified when something came.
        clock: gives its pictures their times.
    """

    def __init__(
        self,
        source: Source,
        now: Callable[[], float],
        monotonic: Callable[[], float],
        news: threading.Condition,
        clock: StreamClock,
    ) -> None:
        self._source, self._now, self._monotonic, self._clock = source, now, monotonic, clock
        self.child = Child(source)
        self._pump = _Pump(self.child, news)
        self._pump.start()
        self._alive_s = self.picture_s = self._hardware_s = monotonic()
        self.decoding = Decoding()
        """Who decodes."""
        self._over = False
        self._stream_s = 0.0
        self._seen = False

    @property
    def fresh(self) -> bool:
        """Whether there is news."""
        return self._pump.fresh

    @property
    def tally(self) -> Tally:
        """What it says of its source."""
        return self._pump.tally

    @property
    def figures(self) -> Figures:
        """What it did so far."""
        tally = self._pump.tally
        return Figures(tally.read, tally.decoded, tally.skipped + self._pump.replaced)

    @property
    def shape(self) -> float | None:
        """Width to height of the picture as it is displayed; None before it is known."""
        return self._pump.opened.get("shape")

    @property
    def played_s(self) -> float:
        """How far its stream has come, seconds."""
        return self._stream_s + self._monotonic() - self.picture_s

    def take(self) -> Frame | None:
        """The next picture, if one has come."""
        record, alive, self._over = self._pump.take()
        if self._pump.decoding != self.decoding:
            self.decoding, self._hardware_s = self._pump.decoding, self._monotonic()
        if alive:
            self._alive_s = self._monotonic()
        if record is None:
            return None
        self._seen, self.picture_s, self._stream_s = True, self._monotonic(), record.values["t"]
        return self.child.frame(record, self._clock.stamp(self._stream_s, self._now()))

    def fault(self, *, excused: bool = False) -> str:
        """Why it is of no use any more; empty while it is.

        Args:
            excused: it is known why no picture comes.
        """
        now_s = self._monotonic()
        if self._over:
            return self._pump.last_words
        if now_s - self._alive_s > (STALL_S if self._seen else OPEN_S):
            return f"nothing came for {now_s - self._alive_s:.0f} s"
        if not excused and now_s - self.picture_s > max(NO_PICTURE_S, 3 * self._source.sample_s):
            return f"data comes, but no picture for {now_s - self.picture_s:.0f} s"
        return ""

    @property
    def hardware_to_blame(self) -> bool:
        """Whether hardware may have hung it or taken it down, after a fault."""
        # a network that is gone looks like hardware that hangs, but hardly ever as soon as that begins
        guilty = self._pump.died if self._over else self.picture_s - self._hardware_s < TRUSTED_AFTER_S
        return guilty and self.decoding.by_hardware

    def end(self) -> None:
        """End it; frames of it may still be looked at."""
        self.child.end()
        self._pump.join(TICK_S)
        self.child.close()


def last_words(record: wire.Record | None) -> str:
    """Why a process ended, by its last record."""
    if record is not None and record.kind != wire.DIED:
        return str(record.values.get("text", "the stream ended"))
    status = None if record is None else record.values["status"]
    if status is None:
        return "its reader died"
    return f"its reader died (signal {-status})" if status < 0 else f"its reader died (exit status {status})"

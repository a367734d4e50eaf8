"""The parent's side of reading: deadlines, restarts with a budget, and times."""

import contextlib
import logging
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from agent.camera import wire
from agent.camera.errors import CameraError
from agent.camera.events import KEY_WAIT_S, KEYS_EVERY_S, Decoding, Tally
from agent.camera.frame import Frame
from agent.camera.nursery import nursery
from agent.camera.ring import WAITING, Lender, Ring, new_memory
from agent.camera.source import Source

log = logging.getLogger(__name__)

STALL_S: Final = 10.0
"""Nothing came for this long: stalled. A stall must be known within 20 s."""
OPEN_S: Final = 15.0
"""Time to open a camera and decode its first picture."""
NO_PICTURE_S: Final = 30.0
"""Data comes but no picture: as bad as a stall."""
FIRST_DELAY_S: Final = 1.0
MAX_DELAY_S: Final = 60.0
LOST_AFTER: Final = 3
"""Failed tries in a row after which a camera counts as lost."""
TRUSTED_AFTER_S: Final = 30.0
"""A camera that was live for this long gets its whole budget back."""
TICK_S: Final = 1.0
CHECK_S: Final = 18.0
"""FFmpeg's own limits come first, so that its reason is told."""
KEY_LATE_S: Final = 10.0
KEY_SLACK_S: Final = 0.5
KEY_ADVICE: Final = "set the camera's key-frame distance (GOP, I-frame interval) to 2 s, its smart codec off"
EACH_PICTURE_S: Final = 0.1
DRIFT_S: Final = 2.0
"""A stream's clock that is further than this from arrival is set anew."""


@dataclass(frozen=True)
class Condition:
    """How a camera is: `starting`, `live`, `stalled` or `lost`, since when, and why."""

    state: str
    since_s: float
    text: str
    restarts: int


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

    def plus(self, tally: Tally, replaced: int) -> Self:
        """Add what one reader did."""
        return replace(
            self,
            read=self.read + tally.read,
            decoded=self.decoded + tally.decoded,
            dropped=self.dropped + tally.skipped + replaced,
        )


def key_text(tally: Tally) -> str:
    """Say what a camera's key frames cost, and what to do; empty where all is well."""
    if tally.waits_s is not None and tally.waits_s >= KEY_LATE_S:
        return f"no key frame for {tally.waits_s // 10 * 10:.0f} s, and nothing decodes before the first; {KEY_ADVICE}"
    if tally.key_gap_s is not None and tally.key_gap_s > KEYS_EVERY_S + KEY_SLACK_S:
        return (
            f"key frames come every {tally.key_gap_s:.0f} s: all pictures have to be decoded, some 15 times the work; "
            f"{KEY_ADVICE}"
        )
    return ""


@dataclass
class StreamClock:
    """Gives pictures their time: the stream's own steps, anchored at arrival, never running back."""

    _anchor_s: float | None = None
    _last_s: float = float("-inf")

    def stamp(self, stream_s: float, arrival_s: float) -> float:
        """Time of a picture, seconds since the epoch."""
        if self._anchor_s is None or abs(self._anchor_s + stream_s - arrival_s) > DRIFT_S:
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

    def __init__(self, child: Child) -> None:
        super().__init__(name=f"camera-pump-{child.pid}", daemon=True)
        self._child = child
        self._changed = threading.Condition()
        self._frames: deque[wire.Record] = deque()
        self._last: wire.Record | None = None
        self._alive = False
        self._over = False
        self.replaced = 0
        """Pictures that a newer one came for before anybody looked at them."""
        self.tally = Tally()
        self.decoding = Decoding()

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
                self._alive = True
                self._changed.notify_all()
                if self._over:
                    return

    def wait(self, timeout_s: float) -> tuple[wire.Record | None, bool, bool]:
        """Wait for news; returns the next picture, whether anything came, and whether it is over."""
        with self._changed:
            if not self._frames and not self._over and not self._alive:
                self._changed.wait(timeout_s)
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
        return _last_words(self._last)


class LiveCamera:
    """One camera, read for as long as wanted.

    Args:
        now: seconds since the epoch.
        monotonic: seconds, for deadlines.
    """

    def __init__(self, source: Source, now: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._source = source
        self._now = now
        self._monotonic = monotonic
        self._closing = threading.Event()
        self._child: Child | None = None
        self._pump: _Pump | None = None
        self._past = Figures()
        self._clock = StreamClock()
        self._said: set[str] = set()
        self._restarts = 0
        self._failures = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if self._child is not None:
            self._child.close()

    @property
    def child_pid(self) -> int | None:
        """Process that reads the camera right now."""
        return None if self._child is None else self._child.pid

    def close(self) -> None:
        """End the events; may be called from another thread."""
        self._closing.set()
        if self._child is not None:
            self._child.end()

    def demand(self, fps: float, for_s: float) -> None:
        """Ask for pictures at least so often, for a while; the last word counts."""
        if self._child is not None:
            self._child.demand(fps, for_s)

    @property
    def figures(self) -> Figures:
        """What was done so far."""
        if self._pump is None:
            return self._past
        return self._past.plus(self._pump.tally, self._pump.replaced)

    def events(self) -> Iterator[Frame | Condition | None]:
        """Frames, changes of condition, and None at least once a second while there is neither."""
        yield self._condition("starting", "")
        while not self._closing.is_set():
            text = yield from self._read()
            if self._closing.is_set():
                return
            self._failures += 1
            self._restarts += 1
            delay_s = min(MAX_DELAY_S, FIRST_DELAY_S * 2 ** (self._failures - 1))
            state = "lost" if self._failures > LOST_AFTER else "stalled"
            yield self._condition(state, f"{text}; trying again in {delay_s:.0f} s")
            until_s = self._monotonic() + delay_s
            while (left_s := until_s - self._monotonic()) > 0 and not self._closing.wait(min(TICK_S, left_s)):
                yield None

    def _read(self) -> Generator[Frame | Condition | None, None, str]:
        """Read with one child until it ends or stalls; returns why."""
        self._child = child = Child(self._source)
        self._pump = pump = _Pump(child)
        pump.start()
        began_s = alive_s = picture_s = hardware_s = self._monotonic()
        live, said, decoding = False, "", Decoding()
        try:
            while not self._closing.is_set():
                record, alive, over = pump.wait(TICK_S)
                now_s = self._monotonic()
                alive_s = now_s if alive else alive_s
                if pump.decoding != decoding:
                    decoding, hardware_s = pump.decoding, now_s
                    self._say(decoding)
                if over:
                    self._judge(decoding, guilty=pump.died)
                    return pump.last_words
                said_now = key_text(pump.tally)
                if record is not None:
                    picture_s = now_s
                    if not live:
                        live, began_s = True, now_s
                        yield self._condition("live", said_now)
                    elif now_s - began_s >= TRUSTED_AFTER_S:
                        self._failures = 0
                    yield child.frame(record, self._clock.stamp(record.values["t"], self._now()))
                    said = said_now
                    continue
                if said_now != said:
                    said = said_now
                    yield self._condition("live" if live else "starting", said)
                why = ""
                waits = pump.tally.waits_s is not None and pump.tally.waits_s < KEY_WAIT_S
                if now_s - alive_s > (STALL_S if live else OPEN_S):
                    why = f"nothing came for {now_s - alive_s:.0f} s"
                elif not waits and now_s - picture_s > max(NO_PICTURE_S, 3 * self._source.sample_s):
                    why = f"data comes, but no picture for {now_s - picture_s:.0f} s"
                if why:
                    # a network that is gone looks like hardware that hangs, but hardly ever as soon as that begins
                    self._judge(decoding, guilty=picture_s - hardware_s < TRUSTED_AFTER_S)
                    return why
                yield None
        finally:
            child.end()
            pump.join(TICK_S)
            self._past, self._pump = self.figures, None
            child.close()
        return ""

    def _say(self, decoding: Decoding) -> None:
        """Log each word once: hardware comes and goes with what the rules want, and with each reader."""
        text, level = f"where key frames are not enough, {decoding.decoder} decodes", logging.INFO
        if decoding.failed:
            text, level = f"{text}; tried in vain: {decoding.failed}", logging.WARNING
        if (decoding.failed or decoding.by_hardware) and text not in self._said:
            self._said.add(text)
            log.log(level, "camera %s: %s", self._source.camera, text)

    def _judge(self, decoding: Decoding, *, guilty: bool) -> None:
        """Do without hardware that hung or took its process down; it would do so again."""
        if guilty and decoding.by_hardware and not self._closing.is_set():
            self._source = replace(self._source, hardware=False)
            log.warning(
                "camera %s: its reader stopped while %s decoded; software does until the agent is started anew",
                self._source.camera,
                decoding.decoder,
            )

    def _condition(self, state: str, text: str) -> Condition:
        return Condition(state, self._now(), text, self._restarts)


def _last_words(record: wire.Record | None) -> str:
    if record is not None and record.kind != wire.DIED:
        return str(record.values.get("text", "the stream ended"))
    status = None if record is None else record.values["status"]
    if status is None:
        return "its reader died"
    return f"its reader died (signal {-status})" if status < 0 else f"its reader died (exit status {status})"


def replay(source: Source, start_s: float) -> Iterator[Frame]:
    """All samples of a clip, in order; the child waits for the reader. Raises CameraError."""
    child = Child(source)
    try:
        while True:
            record = child.read()
            if record is None or record.kind == wire.DIED:
                raise CameraError(f"{source.address}: expected a clip that can be read, {_last_words(record)}")
            if record.kind == wire.FRAME:
                yield child.frame(record, start_s + record.values["t"])
            elif record.kind == wire.FAILED:
                raise CameraError(record.values["text"])
            elif record.kind == wire.ENDED:
                return
    finally:
        child.close()
        child.close_events()


@dataclass(frozen=True)
class Clip:
    """What is known of a clip before it is read."""

    duration_s: float | None


def probe(path: Path) -> Clip:
    """Look at a clip without decoding it; raises CameraError."""
    # a running agent leaves FFmpeg to its reading processes
    import av  # noqa: PLC0415 - as said
    from av.error import FFmpegError  # noqa: PLC0415 - as said

    from agent.camera.decoding import fault_text  # noqa: PLC0415 - as said

    source = Source("clip", "file", str(path), 1.0, live=False)
    if not path.is_file():
        raise CameraError(f"{path}: expected a video file, found none; check the path")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise CameraError(f"{path}: expected a video stream, found none; is it a sound file?")
            duration = container.duration
    except (FFmpegError, OSError, ValueError) as fault:
        raise CameraError(fault_text(source, fault)) from None
    return Clip(None if duration is None else duration / 1e6)


def check_camera(source: Source) -> str:
    """Open a camera and wait for its first picture; returns what it is. Raises CameraError."""
    # as one who wants each picture: else hardware would not be tried
    _, opened, decoding = _first(replace(source, sample_s=EACH_PICTURE_S))
    if source.kind == "usb":
        return opened
    failed = f" ({decoding.failed})" if decoding.failed else ""
    return f"{opened}; where key frames are not enough: decoded by {decoding.decoder}{failed}"


def first_picture(source: Source) -> Frame:
    """Open a camera and wait for its first picture, whose time is 0. Raises CameraError."""
    return _first(source)[0]


def _first(source: Source) -> tuple[Frame, str, Decoding]:
    child = Child(source)
    timer = threading.Timer(CHECK_S, child.end)
    timer.start()
    opened, decoding = "", Decoding()
    try:
        while (record := child.read()) is not None and record.kind != wire.DIED:
            if record.kind == wire.OPENED:
                values = record.values
                opened = f"{values['width']}x{values['height']}, {values['codec']}, {values['fps']:g} frames a second"
            elif record.kind == wire.DECODING:
                decoding = Decoding(**record.values)
            elif record.kind == wire.FRAME:
                return child.frame(record, 0.0), opened, decoding
            elif record.kind in (wire.FAILED, wire.ENDED):
                raise CameraError(record.values.get("text", "the stream ended before its first picture"))
        why = "is the camera stalled?"
        if decoding.by_hardware:
            why = f"{decoding.decoder} was to decode: set hardware_decoding = false under [box] if it does so again"
        raise CameraError(f"{source.address}: expected a picture within {CHECK_S:.0f} s, none came; {why}")
    finally:
        timer.cancel()
        child.close()
        child.close_events()

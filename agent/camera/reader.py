"""The parent's side of reading: deadlines, restarts with a budget, and times."""

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

import av
import numpy as np
from av.error import FFmpegError

from agent.camera import wire
from agent.camera.decoding import fault_text
from agent.camera.errors import CameraError
from agent.camera.frame import Frame
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
DRIFT_S: Final = 2.0
"""A stream's clock that is further than this from arrival is set anew."""


@dataclass(frozen=True)
class Condition:
    """How a camera is: `starting`, `live`, `stalled` or `lost`, since when, and why."""

    state: str
    since_s: float
    text: str
    restarts: int


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
    """One reading process and its pipe."""

    def __init__(self, source: Source) -> None:
        readable, writable = os.pipe()
        self.pipe: BinaryIO = os.fdopen(readable, "rb")
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "agent.camera.child", str(writable), str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # the libraries' own words may carry an address with its password
                pass_fds=[writable],
                text=True,
            )
        finally:
            os.close(writable)
        assert self._process.stdin is not None  # noqa: S101 - asked for above; it tells the type checker
        try:
            self._process.stdin.write(source.to_json() + "\n")
            self._process.stdin.close()
        except BrokenPipeError:  # it died at once; the pipe's end says so
            pass

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def end(self) -> int:
        """Kill it if it still runs; returns its exit status."""
        if self._process.poll() is None:
            self._process.kill()
        return self._process.wait()

    def close(self) -> None:
        """End it and close the pipe."""
        self.end()
        self.pipe.close()


class _Pump(threading.Thread):
    """Empties a child's pipe; keeps the newest picture only."""

    def __init__(self, child: Child) -> None:
        super().__init__(name=f"camera-pump-{child.pid}", daemon=True)
        self._child = child
        self._changed = threading.Condition()
        self._frame: wire.Record | None = None
        self._last: wire.Record | None = None
        self._alive = False
        self._over = False

    def run(self) -> None:
        while True:
            try:
                record = wire.read(self._child.pipe)
            except (OSError, ValueError):  # the pipe was closed under it, or a killed writer left half a record
                record = None
            with self._changed:
                if record is None or record.kind in (wire.FAILED, wire.ENDED):
                    self._last, self._over = record, True
                elif record.kind == wire.FRAME:
                    self._frame = record
                self._alive = True
                self._changed.notify_all()
                if self._over:
                    return

    def wake(self) -> None:
        """Let a waiting `wait` return."""
        with self._changed:
            self._changed.notify_all()

    def wait(self, timeout_s: float) -> tuple[wire.Record | None, bool, bool]:
        """Wait for news; returns the newest picture, whether anything came, and whether it is over."""
        with self._changed:
            if self._frame is None and not self._over:
                self._changed.wait(timeout_s)
            frame, alive = self._frame, self._alive
            self._frame, self._alive = None, False
            return frame, alive, self._over and frame is None

    @property
    def last_words(self) -> str | None:
        """Why it ended, if it said so."""
        if self._last is None:
            return None
        return str(self._last.values.get("text", "the stream ended"))


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
        self._clock = StreamClock()
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
        pump = _Pump(child)
        pump.start()
        began_s = alive_s = picture_s = self._monotonic()
        live = False
        try:
            while not self._closing.is_set():
                record, alive, over = pump.wait(TICK_S)
                now_s = self._monotonic()
                alive_s = now_s if alive else alive_s
                if over:
                    status = child.end()
                    return pump.last_words or f"its reader died ({_status_text(status)})"
                if record is not None:
                    picture_s = now_s
                    if not live:
                        live, began_s = True, now_s
                        yield self._condition("live", "")
                    elif now_s - began_s >= TRUSTED_AFTER_S:
                        self._failures = 0
                    yield _frame(record, self._clock.stamp(record.values["t"], self._now()))
                    continue
                if now_s - alive_s > (STALL_S if live else OPEN_S):
                    return f"nothing came for {now_s - alive_s:.0f} s"
                if now_s - picture_s > max(NO_PICTURE_S, 3 * self._source.sample_s):
                    return f"data comes, but no picture for {now_s - picture_s:.0f} s"
                yield None
        finally:
            child.end()
            pump.join(TICK_S)
            child.close()
        return ""

    def _condition(self, state: str, text: str) -> Condition:
        return Condition(state, self._now(), text, self._restarts)


def _status_text(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"exit status {status}"


def _frame(record: wire.Record, time_s: float) -> Frame:
    values = record.values
    pixels = np.frombuffer(record.payload, np.uint8)
    return Frame(time_s, values["key"], pixels.reshape(values["height"] * 3 // 2, values["width"]))


def replay(source: Source, start_s: float) -> Iterator[Frame]:
    """All samples of a clip, in order; the child waits for the reader. Raises CameraError."""
    child = Child(source)
    try:
        while (record := wire.read(child.pipe)) is not None:
            if record.kind == wire.FRAME:
                yield _frame(record, start_s + record.values["t"])
            elif record.kind == wire.FAILED:
                raise CameraError(record.values["text"])
            elif record.kind == wire.ENDED:
                return
        status = child.end()
        raise CameraError(
            f"{source.address}: expected a clip that can be read, its reader died ({_status_text(status)})"
        )
    finally:
        child.close()


@dataclass(frozen=True)
class Clip:
    """What is known of a clip before it is read."""

    duration_s: float | None


def probe(path: Path) -> Clip:
    """Look at a clip without decoding it; raises CameraError."""
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
    return first_picture(source)[1]


def first_picture(source: Source) -> tuple[Frame, str]:
    """Open a camera and wait for its first picture; returns it and what the camera is. Raises CameraError.

    Its time is 0.
    """
    child = Child(source)
    timer = threading.Timer(CHECK_S, child.end)
    timer.start()
    opened = ""
    try:
        while (record := wire.read(child.pipe)) is not None:
            if record.kind == wire.OPENED:
                values = record.values
                opened = f"{values['width']}x{values['height']}, {values['codec']}, {values['fps']:g} frames a second"
            elif record.kind == wire.FRAME:
                return _frame(record, 0.0), opened
            elif record.kind in (wire.FAILED, wire.ENDED):
                raise CameraError(record.values.get("text", "the stream ended before its first picture"))
        raise CameraError(
            f"{source.address}: expected a picture within {CHECK_S:.0f} s, none came; is the camera stalled?"
        )
    finally:
        timer.cancel()
        child.close()

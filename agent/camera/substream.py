"""The small stream of a camera, read beside the main one and only while that one's key frames are too few.

To decode all of 640 × 360 costs a tenth of what 1080p does. It fails alone: the main stream is then used as if there
were none, and it is tried again with a back-off.
"""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from agent.camera.frame import Frame
from agent.camera.process import TRUSTED_AFTER_S, Figures, Reading, StreamClock, delay_s
from agent.camera.source import Source

HOLD_S: Final = 10.0
"""It is read for so long after it was last needed: what moves in a street comes and goes."""
LATE_S: Final = 5.0
"""Without a picture for longer than this it is no help."""


class SubStream:
    """Reads a sub-stream for as long as it is needed.

    Args:
        source: the sub-stream.
        now: seconds since the epoch.
        monotonic: seconds, for deadlines.
        news: is notified when something came.
    """

    def __init__(
        self, source: Source, now: Callable[[], float], monotonic: Callable[[], float], news: threading.Condition
    ) -> None:
        self._source, self._now, self._monotonic, self._news = source, now, monotonic, news
        self._reading: Reading | None = None
        self._past = Figures()
        self._needed_s = self._retry_s = self._helped_s = float("-inf")
        self._began_s = 0.0
        self._failures = 0
        self._fps = self._fps_until_s = 0.0
        self._fault = ""
        """Why it failed last; empty where its pictures have come since."""

    @property
    def child_pid(self) -> int | None:
        """Process that reads it right now."""
        return None if self._reading is None else self._reading.child.pid

    @property
    def fresh(self) -> bool:
        """Whether there is news."""
        return self._reading is not None and self._reading.fresh

    @property
    def helps(self) -> bool:
        """Whether its pictures come."""
        late_s = max(LATE_S, 3 * self._source.sample_s)
        return self._reading is not None and self._monotonic() - self._helped_s <= late_s

    @property
    def text(self) -> str:
        """What is wrong with it; empty where nothing is known to be."""
        if not self._fault:
            return ""
        if not self._needed:
            return f"sub-stream: {self._fault}; it is tried again once it is needed"
        again = f"trying again in {delay_s(self._failures):.0f} s" if self._reading is None else "trying again now"
        return f"sub-stream: {self._fault}; the main stream is used in its place, {again}"

    @property
    def _needed(self) -> bool:
        return self._monotonic() - self._needed_s <= HOLD_S

    @property
    def figures(self) -> Figures:
        """What was done so far."""
        return self._past if self._reading is None else self._past.plus(self._reading.figures)

    def demand(self, fps: float, for_s: float) -> None:
        """Ask for pictures at least so often, for a while; it holds as well for a process that starts meanwhile."""
        self._fps, self._fps_until_s = fps, self._monotonic() + for_s
        if self._reading is not None:
            self._reading.child.demand(fps, for_s)

    def step(self, *, short: bool, shape: float | None, played_s: float) -> Frame | None:
        """Start it, go on with it or end it, as is needed; gives its next picture, if one has come.

        Args:
            short: whether the main stream's key frames are too few for what is wanted.
            shape: width to height of the main stream's picture, as which this one is displayed.
            played_s: how far a file that stands in for the main stream has come.
        """
        now_s = self._monotonic()
        if short:
            self._needed_s = now_s
        if self._reading is None:
            if self._needed and now_s >= self._retry_s:
                source = replace(self._source, shape=shape, played_s=played_s)
                try:
                    self._reading = Reading(source, self._now, self._monotonic, self._news, StreamClock())
                except OSError as refused:
                    self._fail(f"it cannot be read: {refused.strerror or refused}", now_s)
                    return None
                self._began_s = now_s
                self.demand(self._fps, max(0.0, self._fps_until_s - now_s))
            return None
        if not self._needed:
            self.rest()
            return None
        frame = self._reading.take()
        if frame is not None:
            self._fault = ""
            if now_s - self._began_s >= TRUSTED_AFTER_S:
                self._failures = 0
            return replace(frame, sub=True)
        if fault := self._reading.fault():
            self._fail(fault, now_s)
        return None

    def used(self) -> None:
        """A picture of it was of use: one that is older than what the main stream has brought is not."""
        self._helped_s = self._monotonic()

    def _fail(self, fault: str, now_s: float) -> None:
        self._failures += 1
        self._retry_s = now_s + delay_s(self._failures)
        self._fault = fault
        self.rest()

    def rest(self) -> None:
        """End it until it is needed again."""
        if self._reading is not None:
            self._reading.end()
            self._past, self._reading = self._past.plus(self._reading.figures), None
            self._helped_s = float("-inf")

"""The parent's side of reading: deadlines, restarts with a budget, and times."""

import logging
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

from agent.camera import wire
from agent.camera.errors import CameraError
from agent.camera.events import DRIFT_S, KEY_WAIT_S, KEYS_EVERY_S, Decoding, Tally
from agent.camera.frame import Frame
from agent.camera.process import TICK_S, TRUSTED_AFTER_S, Child, Figures, Reading, StreamClock, delay_s, last_words
from agent.camera.source import Source
from agent.camera.substream import SubStream

log = logging.getLogger(__name__)

LOST_AFTER: Final = 3
"""Failed tries in a row after which a camera counts as lost."""
CHECK_S: Final = 18.0
"""FFmpeg's own limits come first, so that its reason is told."""
KEY_LATE_S: Final = 10.0
KEY_SLACK_S: Final = 0.5
KEY_ADVICE: Final = "set the camera's key-frame distance (GOP, I-frame interval) to 2 s, its smart codec off"
EACH_PICTURE_S: Final = 0.1
RELIEF_S: Final = 3.0
"""The main stream keeps to its key frames for so long after its last word that the sub-stream is there."""
KEY_PICTURE_S: Final = 10.0
"""The last key frame came so long after the last picture: it has made none."""
STEP_S: Final = 0.001
"""Between two pictures of different streams that have the same time."""


@dataclass(frozen=True)
class Condition:
    """How a camera is: `starting`, `live`, `stalled` or `lost`, since when, and why."""

    state: str
    since_s: float
    text: str
    restarts: int


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


def helped_text(tally: Tally) -> str:
    """Say what a main stream whose sub-stream stands in for it does not bring; empty where that is no matter."""
    gap_s = tally.key_gap_s
    usual_s = KEY_LATE_S if gap_s is None else max(KEY_LATE_S, gap_s + KEY_SLACK_S)
    if tally.keyless_s >= usual_s + TICK_S:
        for_s = (
            f"{tally.keyless_s // 10 * 10:.0f} s" if tally.keyless_s < KEY_WAIT_S else f"more than {KEY_WAIT_S:.0f} s"
        )
        return f"no key frame of the main stream for {for_s}, only the sub-stream is seen; {KEY_ADVICE}"
    if gap_s is not None and gap_s >= KEY_LATE_S:
        return f"key frames come every {gap_s:.0f} s, between them only the sub-stream is seen; {KEY_ADVICE}"
    return ""


@dataclass
class TimeLine:
    """Puts the pictures of a camera's two streams into one order: times never run back."""

    _last_s: float = float("-inf")

    def place(self, frame: Frame) -> Frame | None:
        """Give a picture a time after all before it; None: it is let go, as there are newer ones of its stream."""
        behind_s = self._last_s - frame.time_s
        # the clocks of two streams are no further apart; if they are, the box's clock was set back
        if 0 <= behind_s <= 2 * DRIFT_S:
            if frame.sub:
                return None
            # main pictures are few, and evidence
            frame = replace(frame, time_s=self._last_s + STEP_S)
        self._last_s = frame.time_s
        return frame


class LiveCamera:
    """One camera, read for as long as wanted; where it has a sub-stream, that one helps out.

    Args:
        now: seconds since the epoch.
        monotonic: seconds, for deadlines.
    """

    def __init__(self, source: Source, now: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._source = source
        self._now = now
        self._monotonic = monotonic
        self._closing = threading.Event()
        self._news = threading.Condition()
        self._reading: Reading | None = None
        sub = source.of_sub()
        self._sub = None if sub is None else SubStream(sub, now, monotonic, self._news)
        self._past = Figures()
        self._clock = StreamClock()
        self._line = TimeLine()
        self._said: set[str] = set()
        self._restarts = 0
        self._failures = 0
        self._relieved_s = float("-inf")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        if self._reading is not None:
            self._reading.end()
        if self._sub is not None:
            self._sub.rest()

    @property
    def child_pid(self) -> int | None:
        """Process that reads the camera right now."""
        return None if self._reading is None else self._reading.child.pid

    @property
    def sub_pid(self) -> int | None:
        """Process that reads its sub-stream; None while that is not wanted."""
        return None if self._sub is None else self._sub.child_pid

    def close(self) -> None:
        """End the events; may be called from another thread."""
        self._closing.set()
        reading = self._reading
        if reading is not None:
            reading.child.end()

    def demand(self, fps: float, for_s: float) -> None:
        """Ask for pictures at least so often, for a while; the last word counts."""
        if self._reading is not None:
            self._reading.child.demand(fps, for_s)
        if self._sub is not None:
            self._sub.demand(fps, for_s)

    @property
    def figures(self) -> Figures:
        """What was done so far, with both streams."""
        figures, reading = self._past, self._reading
        if reading is not None:
            figures = figures.plus(reading.figures)
        return figures if self._sub is None else figures.plus(self._sub.figures)

    def events(self) -> Iterator[Frame | Condition | None]:
        """Frames, changes of condition, and None at least once a second while there is neither."""
        yield self._condition("starting", "")
        while not self._closing.is_set():
            text = yield from self._read()
            if self._closing.is_set():
                return
            self._failures += 1
            self._restarts += 1
            pause_s = delay_s(self._failures)
            state = "lost" if self._failures > LOST_AFTER else "stalled"
            yield self._condition(state, f"{text}; trying again in {pause_s:.0f} s")
            until_s = self._monotonic() + pause_s
            while (left_s := until_s - self._monotonic()) > 0 and not self._closing.wait(min(TICK_S, left_s)):
                yield None

    def _read(self) -> Generator[Frame | Condition | None, None, str]:
        """Read with one child until it ends or stalls; returns why."""
        self._reading = reading = Reading(self._source, self._now, self._monotonic, self._news, self._clock)
        began_s = self._monotonic()
        live, said = False, ""
        try:
            while not self._closing.is_set():
                self._wait(reading)
                main = reading.take()
                self._say(reading.decoding)
                frames = self._in_order(main, self._small(reading))
                self._relieve(reading, frames)
                if main is None and (fault := reading.fault(excused=self._excused(reading))):
                    if reading.hardware_to_blame:
                        self._do_without(reading.decoding)
                    return fault
                now_s, text = self._monotonic(), self._text(reading.tally)
                if frames and not live:
                    live, began_s, said = True, now_s, text
                    yield self._condition("live", said)
                elif frames and now_s - began_s >= TRUSTED_AFTER_S:
                    self._failures = 0
                if text != said:
                    said = text
                    yield self._condition("live" if live else "starting", said)
                yield from frames
                if not frames:
                    yield None
        finally:
            reading.end()
            self._past, self._reading = self._past.plus(reading.figures), None
            if self._sub is not None:
                self._sub.rest()
        return ""

    def _wait(self, reading: Reading) -> None:
        with self._news:
            if not reading.fresh and (self._sub is None or not self._sub.fresh):
                self._news.wait(TICK_S)

    def _small(self, reading: Reading) -> Frame | None:
        """Use the sub-stream while more is wanted than the key frames of the main one; gives its next picture."""
        if self._sub is None:
            return None
        return self._sub.step(short=reading.tally.short, shape=reading.shape, played_s=reading.played_s)

    def _relieve(self, reading: Reading, frames: Sequence[Frame]) -> None:
        """Let the main stream keep to its key frames while pictures of the sub-stream are of use."""
        if self._sub is None:
            return
        if any(frame.sub for frame in frames):
            self._sub.used()
        now_s = self._monotonic()
        if self._sub.helps and now_s - self._relieved_s >= TICK_S:
            self._relieved_s = now_s
            reading.child.relieve(RELIEF_S)

    def _in_order(self, *frames: Frame | None) -> list[Frame]:
        came = sorted((frame for frame in frames if frame is not None), key=lambda frame: frame.time_s)
        return [placed for frame in came if (placed := self._line.place(frame)) is not None]

    def _excused(self, reading: Reading) -> bool:
        """Whether no picture of the main stream can be expected before its next key frame."""
        tally, now_s = reading.tally, self._monotonic()
        if tally.waits_s is not None and tally.waits_s < KEY_WAIT_S:
            return True
        # it keeps to key frames; where those come, each is to make a picture
        keyed = tally.waits_s is None and now_s - tally.keyless_s - reading.picture_s > KEY_PICTURE_S
        return now_s - self._relieved_s < KEY_WAIT_S and not keyed

    def _text(self, tally: Tally) -> str:
        if self._sub is None:
            return key_text(tally)
        text = helped_text(tally) if self._sub.helps else key_text(tally)
        return "; ".join(part for part in (text, self._sub.text) if part)

    def _say(self, decoding: Decoding) -> None:
        """Log each word once: hardware comes and goes with what the rules want, and with each reader."""
        text, level = f"where key frames are not enough, {decoding.decoder} decodes", logging.INFO
        if decoding.failed:
            text, level = f"{text}; tried in vain: {decoding.failed}", logging.WARNING
        if (decoding.failed or decoding.by_hardware) and text not in self._said:
            self._said.add(text)
            log.log(level, "camera %s: %s", self._source.camera, text)

    def _do_without(self, decoding: Decoding) -> None:
        """Do without hardware that hung or took its process down; it would do so again."""
        if not self._closing.is_set():
            self._source = replace(self._source, hardware=False)
            log.warning(
                "camera %s: its reader stopped while %s decoded; software does until the agent is started anew",
                self._source.camera,
                decoding.decoder,
            )

    def _condition(self, state: str, text: str) -> Condition:
        return Condition(state, self._now(), text, self._restarts)


def replay(source: Source, start_s: float) -> Iterator[Frame]:
    """All samples of a clip, in order; the child waits for the reader. Raises CameraError."""
    child = Child(source)
    try:
        while True:
            record = child.read()
            if record is None or record.kind == wire.DIED:
                raise CameraError(f"{source.address}: expected a clip that can be read, {last_words(record)}")
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


def first_look(source: Source) -> tuple[Frame, str]:
    """The same with what its stream is: size, codec, pictures a second."""
    frame, opened, _ = _first(source)
    return frame, opened


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
                text = record.values.get("text", "the stream ended before its first picture")
                raise CameraError(text, record.values.get("code", ""))
        why = "is the camera stalled?"
        if decoding.by_hardware:
            why = f"{decoding.decoder} was to decode: set hardware_decoding = false under [box] if it does so again"
        raise CameraError(
            f"{source.address}: expected a picture within {CHECK_S:.0f} s, none came; {why}", "no_picture"
        )
    finally:
        timer.cancel()
        child.close()
        child.close_events()

"""Opening and decoding one source, inside its reading process."""

import errno
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError, HTTPUnauthorizedError
from numpy.typing import NDArray

from agent.camera.errors import CameraError
from agent.camera.frame import join, split
from agent.camera.source import Source
from protocol.geometry import Polygon

MAX_SIDE_PX: Final = 1920
KEYS_EVERY_S: Final = 2.0
"""Key frames alone are enough where they come at least this often: 0.5 CPU-seconds a minute against 8 to 13."""
IO_TIMEOUT_S: Final = 5.0
"""FFmpeg gives up after two or three times this; the parent's deadline is above it."""
ALIVE_EVERY_S: Final = 1.0
DRIFT_S: Final = 2.0
"""A live stream's time that is further than this from arrival is set anew."""
MAX_BAD_PACKETS: Final = 200
"""So many packets in a row that do not decode: the stream is broken."""


@dataclass(frozen=True)
class Opened:
    """The source is open."""

    codec: str
    width: int
    height: int
    fps: float


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture, upright, with square pixels and masks burnt in; `t` is its stream time in seconds from 0."""

    t: float
    key: bool
    planes: NDArray[np.uint8]


Event = Opened | Picture | None
"""None: data came, but no picture is due."""


def look(source: Source, sleep: Callable[[float], None], monotonic: Callable[[], float]) -> Iterator[Event]:
    """Read a source as its settings say; raises CameraError. A live file plays in real time and repeats."""
    if source.kind == "usb":
        yield from _look_usb(source, monotonic)
        return
    grid = Grid(source.sample_s)
    timeline = Timeline()
    if source.kind == "network" or not source.live:
        yield from _look_av(source, grid, timeline, monotonic)
        return
    began_s: float | None = None
    for turn in itertools.count():
        for event in _look_av(source, grid, timeline, monotonic):
            if isinstance(event, Picture):
                began_s = monotonic() if began_s is None else began_s
                wait_s = event.t - (monotonic() - began_s)
                while wait_s > 0:
                    sleep(min(wait_s, ALIVE_EVERY_S))
                    wait_s = event.t - (monotonic() - began_s)
                    if wait_s > 0:
                        yield None
            elif isinstance(event, Opened) and turn > 0:
                continue
            yield event
        timeline.restart()


@dataclass
class Grid:
    """Picks one picture per `sample_s`, without drifting."""

    sample_s: float
    _cell: int | None = None

    def due(self, t: float) -> bool:
        """Say whether a picture of this time is the first in its cell."""
        cell = int(t / self.sample_s + 1e-6)
        if self._cell is not None and cell <= self._cell:
            return False
        self._cell = cell
        return True


@dataclass
class Timeline:
    """Turns time stamps of a stream into seconds from 0 that never run back, whatever the file says."""

    _offset_s: float | None = None
    _last_s: float = -1.0
    _last_stamp_s: float | None = None

    def at(self, stamp_s: float | None, step_s: float, arrival_s: float | None = None) -> float:
        """Time of the next picture.

        Args:
            stamp_s: its time stamp; None, or the same as the one before, where the stream has none worth the name.
            step_s: the usual distance of two pictures, for streams without time stamps.
            arrival_s: seconds since the stream began, by our own clock; a live stream is never far from it.
        """
        stuck = stamp_s is not None and stamp_s == self._last_stamp_s
        self._last_stamp_s = stamp_s
        usable_s = None if stuck else stamp_s
        t = self._by_stamp(usable_s, step_s)
        if arrival_s is not None and (usable_s is None or abs(t - arrival_s) > DRIFT_S):
            t = max(self._last_s, arrival_s)
            self._offset_s = None if usable_s is None else t - usable_s
        self._last_s = t
        return t

    def _by_stamp(self, stamp_s: float | None, step_s: float) -> float:
        if stamp_s is None:
            t = self._last_s + step_s if self._last_s >= 0 else 0.0
        else:
            if self._offset_s is None:
                self._offset_s = max(0.0, self._last_s + step_s) - stamp_s if self._last_s >= 0 else -stamp_s
            t = stamp_s + self._offset_s
            if t < self._last_s:
                self._offset_s += self._last_s + step_s - t
                t = self._last_s + step_s
        return t

    def restart(self) -> None:
        """Go on where the last pass ended."""
        self._offset_s = None


@dataclass
class KeyGaps:
    """Watches how far key frames are apart and says whether they are enough."""

    enough_s: float
    _last_s: float | None = None
    _gaps: list[float] = field(default_factory=list)

    def key(self, t: float) -> None:
        """Note a key frame."""
        if self._last_s is not None:
            self._gaps = [*self._gaps[-2:], t - self._last_s]
        self._last_s = t

    @property
    def enough(self) -> bool:
        """Whether the last three gaps were all short."""
        return len(self._gaps) == 3 and max(self._gaps) <= self.enough_s + 0.05


def _opened(source: Source) -> InputContainer:
    options = {"rtsp_transport": "tcp", "timeout": str(int(IO_TIMEOUT_S * 1e6))} if source.kind == "network" else {}
    if source.kind == "file" and not Path(source.address).is_file():
        raise CameraError(f"{source.address}: expected a video file, found none; check the path")
    try:
        return av.open(source.url, options=options)
    except (FFmpegError, OSError, ValueError) as fault:
        raise CameraError(fault_text(source, fault)) from None


def _look_av(source: Source, grid: Grid, timeline: Timeline, monotonic: Callable[[], float]) -> Iterator[Event]:
    pictures = 0
    with _opened(source) as container:
        if not container.streams.video:
            raise CameraError(f"{source.address}: expected a video stream, found none; is it a sound file?")
        stream = container.streams.video[0]
        stream.thread_type = "SLICE" if source.live else "AUTO"
        fps = float(stream.average_rate or stream.guessed_rate or 25)
        yield Opened(stream.codec_context.name, stream.codec_context.width, stream.codec_context.height, round(fps, 2))
        # who asks for more than a sample a second means it
        gaps = KeyGaps(max(KEYS_EVERY_S, source.sample_s) if source.sample_s >= 1 else source.sample_s)
        burn = Burn(source.masks)
        began_s = told_s = monotonic()
        bad = 0
        try:
            for packet in container.demux(stream):
                if monotonic() - told_s >= ALIVE_EVERY_S:
                    told_s = monotonic()
                    yield None
                if packet.is_keyframe:
                    # a camera's time stamps may stand still
                    if source.kind == "network":
                        gaps.key(monotonic())
                    elif packet.dts is not None:
                        gaps.key(float(packet.dts * packet.time_base))
                    # only at a key frame can decoding be taken up again
                    stream.codec_context.skip_frame = "NONKEY" if gaps.enough else "DEFAULT"
                try:
                    frames = packet.decode()
                except FFmpegError:
                    bad += 1
                    if bad > MAX_BAD_PACKETS:
                        raise CameraError(
                            f"{source.address}: expected a stream that decodes, got {bad} broken packets in a row"
                        ) from None
                    continue
                for frame in frames:
                    bad = 0
                    stamp = frame.pts if frame.pts is not None else frame.dts
                    base = frame.time_base or stream.time_base
                    arrival_s = monotonic() - began_s if source.kind == "network" else None
                    t = timeline.at(None if stamp is None or base is None else float(stamp * base), 1 / fps, arrival_s)
                    if not frame.is_corrupt and grid.due(t):
                        pictures += 1
                        told_s = monotonic()
                        yield Picture(
                            t, bool(frame.key_frame), burn(upright(frame, float(stream.sample_aspect_ratio or 1)))
                        )
        except (FFmpegError, OSError) as fault:
            raise CameraError(fault_text(source, fault)) from None
    if pictures == 0:
        raise CameraError(
            f"{source.address}: expected a video with at least one frame, got none that decodes; "
            "it is empty or was cut off"
        )


def upright(frame: av.VideoFrame, aspect: float) -> NDArray[np.uint8]:
    """I420 as it is meant to be displayed: pixel aspect and rotation applied, even sizes, at most MAX_SIDE_PX."""
    width, height = frame.width * aspect, float(frame.height)
    shrink = min(1.0, MAX_SIDE_PX / max(width, height))
    size = [max(2, round(side * shrink / 2) * 2) for side in (width, height)]
    if abs(aspect - 1) < 0.01 and shrink == 1:  # a ratio such as 16384:16383 is square
        size = [max(2, frame.width // 2 * 2), max(2, frame.height // 2 * 2)]
    planes = np.asarray(frame.reformat(width=size[0], height=size[1], format="yuv420p").to_ndarray(), np.uint8)
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    if turns:
        y, u, v = (np.rot90(plane, turns) for plane in split(planes))
        planes = join(y, u, v)
    return np.ascontiguousarray(planes, np.uint8)


@dataclass
class Burn:
    """Paints the masks of a camera black."""

    masks: tuple[Polygon, ...]

    def __call__(self, planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Burn the masks into an I420 picture, which is changed."""
        for plane, black in zip(split(planes), (16, 128, 128), strict=True):
            height, width = plane.shape
            for polygon in self.masks:
                corners = np.asarray(polygon) * (width, height)
                # a colour of the size of a pixel beyond the edge would show through in the halved planes
                cv2.fillPoly(plane, [np.round(corners).astype(np.int32)], black)
                cv2.polylines(plane, [np.round(corners).astype(np.int32)], isClosed=True, color=black, thickness=2)
        return planes


def fault_text(source: Source, fault: Exception) -> str:
    """Say what is wrong without the library's own text, which may carry the password."""
    if isinstance(fault, HTTPUnauthorizedError):
        return (
            f"{source.address}: expected the camera to accept the credentials, it answered 401 Unauthorized; "
            "check `credentials` and its secret"
        )
    if source.kind == "file":
        return f"{source.address}: expected a video that FFmpeg can read, got something else"
    number = getattr(fault, "errno", None)
    known = {
        errno.ECONNREFUSED: "nothing listens there",
        errno.ETIMEDOUT: "no answer in time",
        errno.EHOSTUNREACH: "no way to that host",
        errno.ENETUNREACH: "no network",
        errno.EIO: "the connection broke",
    }
    why = known.get(number or 0) or getattr(fault, "strerror", None) or type(fault).__name__
    return f"{source.address}: expected a camera that answers, got: {why}; check address, cable and camera"


def _look_usb(source: Source, monotonic: Callable[[], float]) -> Iterator[Event]:
    device = Path(f"/dev/video{source.address}")
    if not device.exists():
        raise CameraError(f"usb:{source.address}: expected a camera at {device}, found none; is it plugged in?")
    capture = cv2.VideoCapture(int(source.address), cv2.CAP_V4L2)
    if not capture.isOpened():
        raise CameraError(f"usb:{source.address}: expected a camera that can be opened; is another program using it?")
    yield from read_capture(capture, source, monotonic)


def read_capture(capture: cv2.VideoCapture, source: Source, monotonic: Callable[[], float]) -> Iterator[Event]:
    """Read an opened OpenCV capture; times are those of arrival, since a USB camera has no clock of its own."""
    size = [int(capture.get(prop)) for prop in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)]
    yield Opened("usb", size[0], size[1], round(capture.get(cv2.CAP_PROP_FPS), 2))
    grid, burn = Grid(source.sample_s), Burn(source.masks)
    began_s = told_s = monotonic()
    while capture.grab():
        now_s = monotonic()
        if grid.due(now_s - began_s):
            good, bgr = capture.retrieve()
            if good:
                height, width = bgr.shape[0] // 2 * 2, bgr.shape[1] // 2 * 2
                planes = np.asarray(cv2.cvtColor(bgr[:height, :width], cv2.COLOR_BGR2YUV_I420), np.uint8)
                told_s = now_s
                yield Picture(now_s - began_s, True, burn(planes))
        elif now_s - told_s >= ALIVE_EVERY_S:
            told_s = now_s
            yield None

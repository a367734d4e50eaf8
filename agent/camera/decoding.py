"""Opening and decoding one source, inside its reading process."""

import contextlib
import errno
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError, HTTPForbiddenError, HTTPNotFoundError, HTTPUnauthorizedError
from numpy.typing import NDArray

from agent.box import memory
from agent.camera import hardware
from agent.camera.errors import CameraError
from agent.camera.events import DRIFT_S, KEY_WAIT_S, KEYS_EVERY_S, SOFTWARE, Decoding, Event, Opened, Picture, Tally
from agent.camera.planes import split
from agent.camera.ring import MAX_SIDE_PX
from agent.camera.source import Source
from protocol.geometry import Polygon

if TYPE_CHECKING:
    import cv2

IO_TIMEOUT_S: Final = 5.0
"""FFmpeg gives up after two or three times this; the parent's deadline is above it."""
ALIVE_EVERY_S: Final = 1.0
NAP_S: Final = 0.25
"""What has come meanwhile is read at once: to wake for each of 25 packets a second costs more than to decode key
frames. The socket holds it."""
CAUGHT_UP_S: Final = 0.005
"""Who had to wait so long for a packet has read all that there was."""
KEYS_LATE_S: Final = 1.0
"""A key frame that is due may come so much later, as packets are read in bursts."""
HELP_S: Final = 6.0
"""So long a camera's sub-stream has to come to help; then the main stream is decoded in full after all."""
MAX_BAD_PACKETS: Final = 200
"""So many packets in a row that do not decode: the stream is broken."""
OFTEN_S: Final = 0.5
"""Key frames do not come more often than this: who wants pictures more often needs all of them."""


class Desk(Protocol):
    """What the reader gets from outside."""

    def monotonic(self) -> float:
        """Seconds, for deadlines."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...

    def room(self, width: int, height: int) -> NDArray[np.uint8] | None:
        """Room for an I420 picture, shape `(height * 3 // 2, width)`; None: there is none, the picture is skipped."""
        ...

    def fps(self) -> float:
        """Pictures a second that a rule wants just now; 0: no more than usual."""
        ...

    def relieved(self) -> bool:
        """Whether key frames are enough just now, as the sub-stream brings the rest."""
        ...


def look(source: Source, desk: Desk) -> Iterator[Event]:
    """Read a source as its settings say; raises CameraError. A live file plays in real time and repeats."""
    if source.kind == "usb":
        yield from _look_usb(source, desk)
        return
    reading = Reading(source, desk)
    yield from reading.once()
    while source.live and source.kind == "file":
        yield from reading.once()


@dataclass
class Grid:
    """Picks one picture per `sample_s`, without drifting."""

    sample_s: float
    _cell: int | None = None

    def due(self, t: float) -> bool:
        """Say whether a picture of this time is the first in its cell."""
        cell = self._of(t, self.sample_s)
        if self._cell is not None and cell <= self._cell:
            return False
        self._cell = cell
        return True

    def change(self, sample_s: float, t: float) -> None:
        """Go on from a time with another distance."""
        if sample_s != self.sample_s:
            self.sample_s = sample_s
            self._cell = None if self._cell is None else self._of(t, sample_s)

    @staticmethod
    def _of(t: float, sample_s: float) -> int:
        return int(t / sample_s + 1e-6)


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

    @property
    def last_s(self) -> float:
        """Time of the last picture; 0 before the first."""
        return max(0.0, self._last_s)

    def restart(self) -> None:
        """Go on where the last pass ended."""
        self._offset_s = None


@dataclass
class KeyGaps:
    """Watches how far key frames are apart and says whether they are enough."""

    _last_s: float | None = None
    _gaps: list[float] = field(default_factory=list)

    def key(self, t: float) -> None:
        """Note a key frame."""
        if self._last_s is not None:
            self._gaps = [*self._gaps[-2:], t - self._last_s]
        self._last_s = t

    def restart(self) -> None:
        """The file is read again from its beginning: how far the next key frame is from the last one says nothing."""
        self._last_s = None

    def enough(self, needed_s: float) -> bool:
        """Whether the last gaps, three at most, were all short enough.

        One is enough to begin with: forty cameras that decode all of three gaps at once keep a box busy for half a
        minute.
        """
        # packets are read in bursts
        return bool(self._gaps) and max(self._gaps) <= needed_s + min(NAP_S, 0.2 * needed_s) + 0.05

    def too_rare(self, needed_s: float) -> bool:
        """Whether it is known that they are not enough, so that to begin with something dearer pays."""
        return not self.enough(needed_s) and (bool(self._gaps) or needed_s < OFTEN_S)

    @property
    def known(self) -> bool:
        """Whether any distance is known."""
        return bool(self._gaps)

    @property
    def longest_s(self) -> float | None:
        """The longest of the last three gaps; None while fewer are known."""
        return max(self._gaps) if len(self._gaps) == 3 else None


def _opened(source: Source) -> InputContainer:
    options = {"rtsp_transport": "tcp", "timeout": str(int(IO_TIMEOUT_S * 1e6))} if source.kind == "network" else {}
    if source.kind == "file" and not Path(source.address).is_file():
        raise CameraError(f"{source.address}: expected a video file, found none; check the path")
    try:
        return av.open(source.url, options=options)
    except (FFmpegError, OSError, ValueError) as fault:
        raise CameraError(fault_text(source, fault), fault_code(fault)) from None


@dataclass
class Reading:
    """Reads one source, a file perhaps more than once.

    Key frames alone are decoded where they come often enough for what is wanted; only at a key frame decoding can be
    taken up again, and there it is decided anew.

    Args:
        ways: hardware to try for a codec, best first.
    """

    source: Source
    desk: Desk
    ways: Callable[[str], tuple[hardware.Way, ...]] = hardware.here
    _grid: Grid = field(init=False)
    _timeline: Timeline = field(default_factory=Timeline, init=False)
    _gaps: KeyGaps = field(default_factory=KeyGaps, init=False)
    _burn: "Burn" = field(init=False)
    _turn: int = field(default=0, init=False)
    _began_s: float = field(default=0.0, init=False)
    _told_s: float = field(default=0.0, init=False)
    _read: int = field(default=0, init=False)
    _decoded: int = field(default=0, init=False)
    _skipped: int = field(default=0, init=False)
    _key_seen: bool = field(default=False, init=False)
    _keyed_s: float = field(default=0.0, init=False)
    """When the last key frame came, by our own clock."""
    _short_since_s: float | None = field(default=None, init=False)
    """Since when key frames are too few for what is wanted."""
    _trials: "Trials" = field(init=False)
    _decoding: Decoding = field(default=Decoding(), init=False)

    def __post_init__(self) -> None:
        self._grid, self._burn = Grid(self.source.sample_s), Burn(self.source.masks)

    @property
    def tally(self) -> Tally:
        """What was done so far."""
        now_s = self.desk.monotonic()
        waits_s = None if self._key_seen else now_s - self._began_s
        short = self._helped and self._short_s(self._enough_s(self.desk.fps())) > 0
        keyless_s = now_s - self._keyed_s
        return Tally(self._read, self._decoded, self._skipped, self._gaps.longest_s, waits_s, short, keyless_s)

    def once(self) -> Iterator[Event]:
        """Read from the beginning to the end; raises CameraError."""
        source, before = self.source, self._decoded
        with _opened(source) as container:
            if not container.streams.video:
                raise CameraError(
                    f"{source.address}: expected a video stream, found none; is it a sound file?", "no_video"
                )
            stream = container.streams.video[0]
            if self._turn == 0:
                self._began_s = self._told_s = self._keyed_s = self.desk.monotonic()
                fps = round(float(stream.average_rate or stream.guessed_rate or 25), 2)
                context = stream.codec_context
                shape = context.width * float(stream.sample_aspect_ratio or 1) / max(1, context.height)
                yield Opened(context.name, context.width, context.height, fps, shape)
                self._trials = Trials(self.ways(context.name) if source.hardware else ())
            joins_s = self._seek(container) if self._turn == 0 and container.duration else None
            self._turn += 1
            self._timeline.restart()
            self._gaps.restart()
            try:
                yield from self._packets(container, stream, joins_s)
            except (FFmpegError, OSError) as fault:
                raise CameraError(fault_text(source, fault), fault_code(fault)) from None
        if self._decoded == before:
            raise CameraError(
                f"{source.address}: expected a video with at least one frame, got none that decodes; "
                "it is empty or was cut off",
                "wrong_codec",
            )

    def _seek(self, container: InputContainer) -> float | None:
        """Go to where a file is to begin; gives the time of what would be played now, where its pictures come later."""
        source, length_s = self.source, (container.duration or 0) / 1e6
        begin_s = source.begin * length_s
        if source.played_s <= 0:
            if begin_s > 0:
                container.seek(int(1e6 * begin_s))
            return None
        at_s = (begin_s + source.played_s) % length_s
        try:
            container.seek(int(1e6 * at_s), backward=False)
        except (FFmpegError, OSError):  # no key frame comes before the end
            container.seek(0)
            return at_s - length_s
        return at_s

    def _packets(self, container: InputContainer, stream: av.VideoStream, joins_s: float | None) -> Iterator[Event]:
        decoder = Decoder(stream, threads=1 if self.source.live else 0, trials=self._trials)
        pace = Pace(self.desk, joins_s) if self.source.live and self.source.kind == "file" else None
        step_s = 1 / float(stream.average_rate or stream.guessed_rate or 25)
        aspect = float(stream.sample_aspect_ratio or 1)
        keys_only, bad = False, 0
        asked_s = self.desk.monotonic()
        for packet in container.demux(stream):
            # pictures that are wanted often are wanted one by one
            nap_s = NAP_S if keys_only else 0.0
            if nap_s and self.source.kind == "network" and self.desk.monotonic() - asked_s > CAUGHT_UP_S:
                self.desk.sleep(nap_s)
            self._read += packet.size > 0
            if pace is not None:
                yield from self._wait(pace, packet, nap_s)
            if self.desk.monotonic() - self._told_s >= ALIVE_EVERY_S:
                yield self._tell()
            if packet.is_keyframe:
                needed_s = self._at_key(packet)
                keys_only = self._gaps.enough(needed_s) or self._is_helped(needed_s)
                decoder.turn(keys_only=keys_only, by_hardware=self._gaps.too_rare(needed_s))
                yield from self._news(decoder)
            elif self._joined_late:
                continue
            elif not keys_only and self._helped and self.desk.relieved():
                keys_only = True
                decoder.turn(keys_only=True, by_hardware=False)
            try:
                frames = decoder.decode(packet)
            except FFmpegError:
                bad += 1
                if bad > MAX_BAD_PACKETS:
                    raise CameraError(
                        f"{self.source.address}: expected a stream that decodes, got {bad} broken packets in a row",
                        "wrong_codec",
                    ) from None
                continue
            yield from self._news(decoder)
            for frame in frames:
                bad = 0
                self._decoded += 1
                stamp = frame.pts if frame.pts is not None else frame.dts
                base = frame.time_base or stream.time_base
                arrival_s = self.desk.monotonic() - self._began_s if self.source.kind == "network" else None
                t = self._timeline.at(None if stamp is None or base is None else float(stamp * base), step_s, arrival_s)
                if not frame.is_corrupt and self._grid.due(t):
                    shape = self.source.shape
                    pixel = aspect if shape is None else shape * frame.height / frame.width
                    planes = upright(frame, pixel, self.desk.room)
                    self._skipped += planes is None
                    if planes is not None:
                        yield Picture(t, bool(frame.key_frame), self._burn(planes))
            asked_s = self.desk.monotonic()

    @property
    def _joined_late(self) -> bool:
        """Whether nothing decodes yet, as a stream was joined between two key frames."""
        waits_s = self.desk.monotonic() - self._began_s
        return self.source.kind == "network" and not self._key_seen and waits_s < KEY_WAIT_S

    def _news(self, decoder: "Decoder") -> Iterator[Event]:
        if decoder.decoding != self._decoding:
            self._decoding = decoder.decoding
            yield self._decoding

    def _at_key(self, packet: "av.Packet[av.VideoStream]") -> float:
        """Note a key frame; says how far apart, in seconds, key frames may be to be enough."""
        self._key_seen, self._keyed_s = True, self.desk.monotonic()
        # a camera's time stamps may stand still
        if self.source.kind == "network":
            self._gaps.key(self.desk.monotonic())
        elif packet.dts is not None and packet.time_base is not None:
            self._gaps.key(float(packet.dts * packet.time_base))
        wanted_fps = self.desk.fps()
        sample_s = min(self.source.sample_s, 1 / wanted_fps) if wanted_fps > 0 else self.source.sample_s
        self._grid.change(sample_s, self._timeline.last_s)
        return self._enough_s(wanted_fps)

    @property
    def _helped(self) -> bool:
        """Whether there is a sub-stream that may bring what key frames do not."""
        return self.source.sub is not None

    def _is_helped(self, needed_s: float) -> bool:
        """Whether the sub-stream brings what key frames do not, or may soon."""
        return self._helped and (self.desk.relieved() or 0 < self._short_s(needed_s) < HELP_S)

    def _enough_s(self, wanted_fps: float) -> float:
        # who asks for more than a sample a second means it
        needed_s = max(KEYS_EVERY_S, self.source.sample_s) if self.source.sample_s >= 1 else self.source.sample_s
        return min(needed_s, 1 / wanted_fps) if wanted_fps > 0 else needed_s

    def _short_s(self, needed_s: float) -> float:
        """For how long key frames have been too few for what is wanted; 0: they are enough."""
        now_s = self.desk.monotonic()
        late = now_s - self._keyed_s > max(KEYS_EVERY_S, needed_s) + KEYS_LATE_S
        if not late and (not self._gaps.known or self._gaps.enough(needed_s)):
            self._short_since_s = None
            return 0.0
        if self._short_since_s is None:
            self._short_since_s = now_s
        return max(1e-3, now_s - self._short_since_s)

    def _wait(self, pace: "Pace", packet: "av.Packet[av.VideoStream]", nap_s: float) -> Iterator[Event]:
        while (left_s := pace.left_s(packet)) > 0:
            self.desk.sleep(min(left_s + nap_s, ALIVE_EVERY_S))
            if left_s > ALIVE_EVERY_S:
                yield self._tell()

    def _tell(self) -> Tally:
        self._told_s = self.desk.monotonic()
        return self.tally


@dataclass
class Trials:
    """Hardware that one reading process may still try; each way gets one chance.

    Args:
        ways: best first.
    """

    ways: tuple[hardware.Way, ...]
    failed: str = field(default="", init=False)
    """Which were tried in vain, and why."""

    def begin(self, known: av.VideoCodecContext) -> hardware.Session | None:
        """Let the best one begin; None: none is left."""
        return hardware.Session(self.ways[0], known) if self.ways else None

    def give_up(self, session: hardware.Session, why: str) -> None:
        """Never try it again."""
        self.failed = "; ".join(filter(None, (self.failed, f"{session.label}: {why}")))
        self.ways = self.ways[1:]


class Decoder:
    """Decodes the packets of one stream: all of them, by hardware where it can, or key frames alone.

    Those are for software: drained at each, hardware gains nothing, and forty sessions that idle take memory.

    Args:
        threads: 0 lets FFmpeg decide, which then hands pictures out later.
        trials: which hardware may be tried.
    """

    def __init__(self, stream: av.VideoStream, threads: int, trials: Trials) -> None:
        self._stream = stream
        self._threads = threads
        self._trials = trials
        self._context = self._new_context()
        self._session: hardware.Session | None = None
        self._keys_only = False
        self._waits = False
        """Hardware failed in the midst: nothing decodes before the next key frame."""
        self._left: list[av.VideoFrame] = []

    @property
    def decoding(self) -> Decoding:
        """Who decodes."""
        return Decoding(SOFTWARE if self._session is None else self._session.label, self._trials.failed)

    def turn(self, *, keys_only: bool, by_hardware: bool) -> None:
        """Say how to go on; with all from a key frame on. Hardware that has begun goes on while all are decoded."""
        session = None
        if not keys_only:
            session = self._session or (self._trials.begin(self._stream.codec_context) if by_hardware else None)
        if session is not self._session or (keys_only and not self._keys_only):
            self._left = self._drained()
            # the old one keeps room for all the pictures that refer to each other, 20 MB at 1080p
            self._context, self._session = self._new_context(), session
            memory.give_back()
        self._keys_only, self._waits = keys_only, False

    def decode(self, packet: "av.Packet[av.VideoStream]") -> list[av.VideoFrame]:
        """Decode a packet; raises FFmpegError where it is broken."""
        left, self._left = self._left, []
        if not self._keys_only:
            return [*left, *self._decoded(packet)]
        if not packet.is_keyframe:
            return left
        # a decoder holds a picture back until it knows that no other comes before it in time: up to two key frames
        frames = [*left, *self._context.decode(packet), *self._drained()]
        # until the next one nothing of what it took is needed: 4 MB for each camera, for 1 ms
        memory.give_back()
        return frames

    def _decoded(self, packet: hardware.Packet) -> list[av.VideoFrame]:
        if self._waits:
            return []
        if self._session is None:
            return self._context.decode(packet)
        try:
            return self._session.decode(packet)
        except hardware.SessionError as fault:
            failed = self._session
            self._trials.give_up(failed, str(fault))
        if not failed.kept:
            self._session, self._waits = None, True
            return []
        self._session = self._trials.begin(self._stream.codec_context)
        frames: list[av.VideoFrame] = []
        for kept in failed.kept:
            with contextlib.suppress(FFmpegError):  # one that is broken costs what it does in software
                frames += self._decoded(kept)
        return frames

    def _new_context(self) -> av.VideoCodecContext:
        known = self._stream.codec_context
        context = av.CodecContext.create(known.name, "r")
        assert isinstance(context, av.VideoCodecContext)  # noqa: S101 - so is that of its stream
        context.extradata = known.extradata
        context.width, context.height = known.width, known.height
        context.thread_type = "SLICE" if self._threads else "AUTO"
        context.thread_count = self._threads
        return context

    def _drained(self) -> list[av.VideoFrame]:
        frames: list[av.VideoFrame] = []
        with contextlib.suppress(FFmpegError):  # what is held back of a broken stream
            frames = self._decoded(None)
        self._context.flush_buffers()
        return frames


@dataclass
class Pace:
    """Lets a file come as a camera would send it.

    Args:
        desk: the clock.
        joins_s: time of what would be played just now; None: of the first packet.
    """

    desk: Desk
    joins_s: float | None = None
    _began_s: float | None = field(default=None, init=False)
    _first_s: float = field(default=0.0, init=False)

    def left_s(self, packet: "av.Packet[av.VideoStream]") -> float:
        """Seconds until a packet is due."""
        if packet.dts is None or packet.time_base is None:
            return 0.0
        stamp_s = float(packet.dts * packet.time_base)
        if self._began_s is None:
            self._began_s = self.desk.monotonic()
            self._first_s = stamp_s if self.joins_s is None else self.joins_s
        return self._began_s + stamp_s - self._first_s - self.desk.monotonic()


Room = Callable[[int, int], NDArray[np.uint8] | None]


def upright(frame: av.VideoFrame, aspect: float, room: Room) -> NDArray[np.uint8] | None:
    """I420 as it is meant to be displayed: pixel aspect and rotation applied, even sizes, at most MAX_SIDE_PX.

    It is written into the room that is given for it; None where there is none.
    """
    width, height = frame.width * aspect, float(frame.height)
    shrink = min(1.0, MAX_SIDE_PX / max(width, height))
    size = [max(2, round(side * shrink / 2) * 2) for side in (width, height)]
    if abs(aspect - 1) < 0.01 and shrink == 1:  # a ratio such as 16384:16383 is square
        size = [max(2, frame.width // 2 * 2), max(2, frame.height // 2 * 2)]
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    across, down = size if turns % 2 == 0 else reversed(size)
    planes = room(across, down)
    if planes is None:
        return None
    # cut only where both sides are odd by one: a picture of the right size and format is taken as it is
    same = frame.format.name == "yuv420p" and [frame.width, frame.height] == size
    fitted = frame if same else frame.reformat(width=size[0], height=size[1], format="yuv420p")
    for into, plane in zip(split(planes), fitted.planes, strict=True):
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
        into[:] = np.rot90(rows, turns) if turns else rows
    return planes


@dataclass
class Burn:
    """Paints the masks of a camera black."""

    masks: tuple[Polygon, ...]

    def __call__(self, planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Burn the masks into an I420 picture, which is changed."""
        if not self.masks:
            return planes
        import cv2  # noqa: PLC0415 - 13 MB in each reading process, of which most do without

        for plane, black in zip(split(planes), (16, 128, 128), strict=True):
            height, width = plane.shape
            for polygon in self.masks:
                corners = np.asarray(polygon) * (width, height)
                # a colour of the size of a pixel beyond the edge would show through in the halved planes
                cv2.fillPoly(plane, [np.round(corners).astype(np.int32)], black)
                cv2.polylines(plane, [np.round(corners).astype(np.int32)], isClosed=True, color=black, thickness=2)
        return planes


def fault_code(fault: Exception) -> str:
    """The same for programs; empty where there is no name for it."""
    if isinstance(fault, HTTPUnauthorizedError | HTTPForbiddenError):
        return "bad_password"
    if isinstance(fault, HTTPNotFoundError):
        return "no_stream"
    return {
        errno.ECONNREFUSED: "nothing_listens",
        errno.ETIMEDOUT: "no_route",
        errno.EHOSTUNREACH: "no_route",
        errno.ENETUNREACH: "no_route",
        errno.EIO: "broken",
    }.get(getattr(fault, "errno", None) or 0, "")


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


def _look_usb(source: Source, desk: Desk) -> Iterator[Event]:
    device = Path(f"/dev/video{source.address}")
    if not device.exists():
        raise CameraError(f"usb:{source.address}: expected a camera at {device}, found none; is it plugged in?")
    import cv2  # noqa: PLC0415 - as above

    cv2.setNumThreads(1)
    capture = cv2.VideoCapture(int(source.address), cv2.CAP_V4L2)
    if not capture.isOpened():
        raise CameraError(f"usb:{source.address}: expected a camera that can be opened; is another program using it?")
    yield from read_capture(capture, source, desk)


def read_capture(capture: "cv2.VideoCapture", source: Source, desk: Desk) -> Iterator[Event]:
    """Read an opened OpenCV capture; times are those of arrival, since a USB camera has no clock of its own."""
    import cv2  # noqa: PLC0415 - as above

    size = [int(capture.get(prop)) for prop in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)]
    yield Opened("usb", size[0], size[1], round(capture.get(cv2.CAP_PROP_FPS), 2))
    grid, burn = Grid(source.sample_s), Burn(source.masks)
    began_s = told_s = desk.monotonic()
    read = decoded = skipped = 0
    while capture.grab():
        read += 1
        now_s = desk.monotonic()
        fps = desk.fps()
        grid.change(min(source.sample_s, 1 / fps) if fps > 0 else source.sample_s, now_s - began_s)
        if grid.due(now_s - began_s):
            good, bgr = capture.retrieve()
            if good:
                decoded += 1
                height, width = bgr.shape[0] // 2 * 2, bgr.shape[1] // 2 * 2
                planes = desk.room(width, height)
                if planes is None:
                    skipped += 1
                    continue
                cv2.cvtColor(bgr[:height, :width], cv2.COLOR_BGR2YUV_I420, dst=planes)
                told_s = now_s
                yield Picture(now_s - began_s, True, burn(planes))
        elif now_s - told_s >= ALIVE_EVERY_S:
            told_s = now_s
            yield Tally(read, decoded, skipped, waits_s=None)

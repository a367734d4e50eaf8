"""Decoding by hardware: the ways that a box may have, and one of them at work until it fails.

Comes in: the name of a codec, what FFmpeg was built with, the device nodes that exist. Goes out: the ways to try, best
first, and a `Session` that decodes packets or says why it cannot.
"""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, TypeAlias

import av
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.error import InvalidDataError

CODECS: Final = ("h264", "hevc")
"""What cameras send, as FFmpeg names it. MJPEG has key frames only, and the rest comes in old clips."""
SILENT_AFTER: Final = 30
"""So many packets without a picture: it does not work. Decoders hold back some twenty at most."""

Packet: TypeAlias = "av.Packet[av.VideoStream] | None"
"""None, and an empty one, ask for all that is still held back."""


@dataclass(frozen=True)
class Way:
    """One way to decode by hardware.

    Args:
        name: as its users know it.
        nodes: one device node must exist whose path this matches.
        suffix: FFmpeg's decoder is the codec's name with this; empty: its own one, which lets a device do the work.
        device: kind of that device, as FFmpeg names it; empty: the decoder needs none.
    """

    name: str
    nodes: str
    suffix: str = ""
    device: str = ""

    def label(self, codec: str) -> str:
        """What people read."""
        return f"{self.name} ({codec}{self.suffix})"

    def open(self, known: av.VideoCodecContext) -> av.VideoCodecContext:
        """Make a decoder like the one that is known of the stream; raises what the driver's libraries throw."""
        accel = HWAccel(self.device, allow_software_fallback=False) if self.device else None
        context = av.CodecContext.create(known.name + self.suffix, "r", hwaccel=accel)
        assert isinstance(context, av.VideoCodecContext)  # noqa: S101 - so is that of its stream
        if accel is not None and not context.is_hwaccel:
            raise SessionError(f"this FFmpeg has none for {known.name}")
        context.extradata = known.extradata
        context.width, context.height = known.width, known.height
        context.thread_count = 1
        return context


WAYS: Final = (
    Way("RKMPP", "/dev/mpp_service", suffix="_rkmpp"),
    # FFmpeg's own parser puts pictures in order as in software; NVIDIA's is for builds without the former
    Way("NVDEC", "/dev/nvidia[0-9]*", device="cuda"),
    Way("NVDEC", "/dev/nvidia[0-9]*", suffix="_cuvid"),
    Way("VAAPI", "/dev/dri/renderD*", device="vaapi"),
    # video0 to video9 are cameras as a rule
    Way("V4L2 M2M", "/dev/video[1-9][0-9]*", suffix="_v4l2m2m"),
)


def choose(codec: str, decoders: Iterable[str], devices: Iterable[str], nodes: Iterable[str]) -> tuple[Way, ...]:
    """Say which ways are worth a try, best first.

    Args:
        codec: FFmpeg's name of it.
        decoders: those that FFmpeg was built with.
        devices: kinds of devices that FFmpeg was built with.
        nodes: paths of device nodes that exist.
    """
    if codec not in CODECS:
        return ()
    decoders, devices, nodes = set(decoders), set(devices), list(nodes)
    return tuple(
        way
        for way in WAYS
        if codec + way.suffix in decoders
        and (not way.device or way.device in devices)
        and any(fnmatchcase(node, way.nodes) for node in nodes)
    )


def here(codec: str) -> tuple[Way, ...]:
    """Say which ways this box has, without opening any."""
    nodes = [str(path) for folder in ("/dev", "/dev/dri") for path in Path(folder).glob("*")]
    return choose(codec, av.codecs_available, hwdevices_available(), nodes)


class SessionError(Exception):
    """Hardware that does not decode; its text says why."""


@dataclass
class Session:
    """A hardware decoder at work on one stream, from a key frame on.

    Until its first picture is out it keeps the packets: another decoder then begins with them, and nothing is lost.

    Args:
        known: what is known of the stream.
    """

    way: Way
    known: av.VideoCodecContext
    kept: list[Packet] = field(default_factory=list, init=False)
    """All packets while no picture has come; none of them after that."""
    _context: av.VideoCodecContext | None = field(default=None, init=False)
    _works: bool = field(default=False, init=False)
    _silent: int = field(default=0, init=False)
    _stamps: list[int] = field(default_factory=list, init=False)

    @property
    def label(self) -> str:
        """What people read."""
        return self.way.label(self.known.name)

    def decode(self, packet: Packet) -> list[av.VideoFrame]:
        """Decode a packet; raises SessionError, and InvalidDataError for a packet that is broken itself."""
        if not self._works:
            self.kept.append(packet)
        self._silent += 1
        try:
            frames = self._decoded(packet)
        except InvalidDataError:
            if self._works and self._silent <= SILENT_AFTER:
                raise
            raise SessionError("it does not take this stream") from None
        except SessionError:
            raise
        except Exception as fault:  # noqa: BLE001 - whatever a driver throws, software goes on
            raise SessionError(getattr(fault, "strerror", None) or type(fault).__name__) from None
        if frames:
            self._works, self._silent = True, 0
            self.kept.clear()
        elif self._silent > SILENT_AFTER or (not self._works and (packet is None or not packet.size)):
            raise SessionError(f"no picture came of {self._silent} packets")
        return [self._stamped(frame) for frame in frames]

    def _decoded(self, packet: Packet) -> list[av.VideoFrame]:
        if self._context is None:
            self._context = self.way.open(self.known)
        if packet is not None and packet.pts is not None:
            heapq.heappush(self._stamps, packet.pts)
            if len(self._stamps) > SILENT_AFTER:  # not each packet makes a picture
                heapq.heappop(self._stamps)
        frames = self._context.decode(packet)
        if frames and not self._works:
            frames[0].reformat(format="yuv420p")  # it may lie where nobody can read it
        return frames

    def _stamped(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Give a picture its time: V4L2 loses that, as PyAV does not tell a decoder its stream's time base."""
        stamp = heapq.heappop(self._stamps) if self._stamps else None
        if frame.pts is None:
            frame.pts = stamp
        return frame

"""A camera looked at the way an installer needs it: what comes over the line, and what to change in the camera.

Its stream is read for some seconds as it comes; only the first picture is decoded. Whoever calls has FFmpeg in the
process: the running agent does not.
"""

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np

from agent.camera import onvif
from agent.camera.errors import CameraError
from agent.camera.source import Source
from agent.findings import Finding

LOOK_S: Final = 12.0
"""Long enough for two key frames of a camera that sends one each 5 s."""
OPEN_S: Final = 6.0
SILENT_S: Final = 4.0
KEY_FRAMES_S: Final = 2.0
LEAST_FPS: Final = 5.0
WIDEST_PX: Final = 2560
NARROWEST_PX: Final = 640
DARK: Final = 24
PLAIN: Final = 6.0
CLOCK_S: Final = 30.0
RTSP_OFF: Final = "switch RTSP on in the camera"
TEN_BITS: Final = ("10le", "10be", "12le", "12be")


@dataclass
class Stream:
    """What came over the line of one stream.

    Args:
        codec: as FFmpeg calls it.
        pixels: format of its pictures.
        times_s: of the packets, on the stream's clock.
        keys_s: of the key frames among them.
        arrived_s: when they came, on this machine's clock.
        keys_came_s: the key frames among those.
        longest_gap_s: for which nothing came.
        luma: mean and deviation of the first picture, grey levels; None where none could be decoded.
        ended: the camera ended the stream.
    """

    codec: str
    profile: str
    pixels: str
    width: int
    height: int
    times_s: list[float] = field(default_factory=list)
    keys_s: list[float] = field(default_factory=list)
    arrived_s: list[float] = field(default_factory=list)
    keys_came_s: list[float] = field(default_factory=list)
    longest_gap_s: float = 0.0
    luma: tuple[float, float] | None = None
    ended: bool = False

    @property
    def fps(self) -> float:
        """Pictures a second."""
        return (len(self.times_s) - 1) / self.seen_s if self.seen_s else 0.0

    @property
    def stands(self) -> bool:
        """Whether the stream's own clock does: then counts when something came."""
        return max(self.times_s) == min(self.times_s)

    @property
    def seen_s(self) -> float:
        """For how long pictures came."""
        times_s = self.arrived_s if self.stands else self.times_s
        return max(times_s, default=0.0) - min(times_s, default=0.0)

    @property
    def key_distance_s(self) -> float | None:
        """The longest time between two key frames; None where fewer than two came."""
        keys_s = self.keys_came_s if self.stands else self.keys_s
        return max((b - a for a, b in pairwise(keys_s)), default=None)


def examine(source: Source, look_s: float = LOOK_S, now: Callable[[], float] = time.time) -> list[Finding]:
    """Look at a camera; of what is wrong, the first finding is the most likely cause."""
    name = f"camera {source.camera}"
    try:
        stream = read_stream(source, look_s)
    except CameraError as fault:
        code, todo = fault.code or "unreadable", _elsewhere(source) if source.kind == "network" else ""
        return [Finding(name, "FAIL", str(fault), todo, "rtsp_off" if RTSP_OFF in todo else code)]
    found = judge(name, stream)
    if source.kind == "network":
        found += _clock(name, source, now)
    return found


def read_stream(source: Source, look_s: float) -> Stream:
    """Read a stream for some seconds; raises CameraError."""
    import av  # noqa: PLC0415 - a running agent leaves FFmpeg to its reading processes
    from av.error import FFmpegError  # noqa: PLC0415 - as said

    from agent.camera.decoding import fault_code, fault_text  # noqa: PLC0415 - as said

    options = {"rtsp_transport": "tcp"} if source.kind == "network" else {}
    address = f"/dev/video{source.address}" if source.kind == "usb" else source.url
    container: Any = None
    stream: Stream | None = None
    began_s = time.monotonic()
    try:
        container = av.open(address, options=options, timeout=(OPEN_S, SILENT_S))
        if not container.streams.video:
            text = f"{source.address}: expected a video stream, found none; is it a camera's address?"
            raise CameraError(text, "no_video")
        video = container.streams.video[0]
        context = video.codec_context
        stream = Stream(context.name, context.profile or "", context.pix_fmt or "", context.width, context.height)
        _follow(container, video, stream, look_s)
    except (FFmpegError, OSError, ValueError) as fault:
        if stream is None:
            late = time.monotonic() - began_s >= OPEN_S
            text = f"{source.address}: no answer within {OPEN_S:.0f} s" if late else fault_text(source, fault)
            raise CameraError(text, "no_route" if late else fault_code(fault)) from None
        stream.longest_gap_s = max(stream.longest_gap_s, SILENT_S)
    finally:
        if container is not None:
            # closing waits for a camera that does not answer
            threading.Thread(target=container.close, daemon=True).start()
    if not stream.times_s:
        text = f"{source.address}: it answers, but sends no picture within {SILENT_S:.0f} s; start it again"
        raise CameraError(text, "no_picture")
    return stream


def _follow(container: Any, video: Any, stream: Stream, look_s: float) -> None:
    from av.error import FFmpegError  # noqa: PLC0415 - as above

    began_s = last_s = time.monotonic()
    for packet in container.demux(video):
        now_s = time.monotonic()
        if packet.size:
            at = packet.dts if packet.dts is not None else packet.pts
            stream.longest_gap_s, last_s = max(stream.longest_gap_s, now_s - last_s), now_s
            if at is not None:
                stream.times_s.append(float(at * packet.time_base))
                stream.arrived_s.append(now_s)
                if packet.is_keyframe:
                    stream.keys_s.append(stream.times_s[-1])
                    stream.keys_came_s.append(now_s)
            if stream.luma is None:
                try:
                    for frame in packet.decode():
                        luma = frame.reformat(format="gray").to_ndarray()
                        stream.luma = float(np.mean(luma)), float(np.std(luma))
                except FFmpegError:
                    pass  # before its first key frame there is nothing to decode
        if now_s - began_s > look_s or (stream.times_s and stream.times_s[-1] - stream.times_s[0] > look_s):
            return
    stream.ended = True


def judge(name: str, stream: Stream) -> list[Finding]:
    """Say what of a stream is as it should be, and what to change in the camera."""
    says = f"{stream.width} × {stream.height}, {stream.codec} {stream.profile}".rstrip()
    found = [Finding(name, "ok", f"{says}, {stream.fps:.1f} pictures a second")]

    def add(state: Any, code: str, what: str, todo: str) -> None:
        found.append(Finding(name, state, what, todo, code))

    if stream.luma is None:
        add("FAIL", "wrong_codec", f"no picture could be decoded of {stream.codec} {stream.profile}", "set it to H.264")
    elif stream.luma[1] < PLAIN:
        dark, todo = stream.luma[0] < DARK, "is there a cap or a film on the lens, or is it night?"
        add("warn", "black" if dark else "plain", f"its picture is {'black' if dark else 'plain'}", todo)
    if stream.pixels.endswith(TEN_BITS):
        add(
            "warn",
            "ten_bits",
            f"its pictures have more than 8 bits ({stream.codec} {stream.profile})",
            "set it to H.264 or to H.265 Main: no box decodes this in hardware",
        )
    elif stream.codec in ("hevc", "av1", "vp9"):
        add(
            "warn",
            "heavy_codec",
            f"{stream.codec} takes twice the processor of H.264",
            "set it to H.264 where the box has many cameras",
        )
    if stream.width > WIDEST_PX:
        add(
            "warn", "too_wide", f"{stream.width} pixels wide", "1920 × 1080 is enough; name a sub-stream for what moves"
        )
    if min(stream.width, stream.height) < NARROWEST_PX / 2 or max(stream.width, stream.height) < NARROWEST_PX:
        add("warn", "too_small", "too small to see goods 5 m away", "take the main stream, 1280 × 720 or more")
    if stream.height > stream.width:
        add(
            "warn",
            "portrait",
            "taller than wide",
            "turn the camera, or its picture (corridor mode), or draw zones as it is",
        )
    if stream.longest_gap_s >= SILENT_S:
        add(
            "FAIL",
            "stalled",
            f"it stalled: nothing came for {stream.longest_gap_s:.0f} s",
            "check cable, power and its load",
        )
    if 0 < stream.fps < LEAST_FPS:
        add(
            "warn",
            "few_pictures",
            f"{stream.fps:.1f} pictures a second",
            "set 10 to 25; fewer than 5 show nobody who passes",
        )
    distance_s, seen_s = stream.key_distance_s, stream.seen_s
    if distance_s is None and seen_s > KEY_FRAMES_S + 1:
        add(
            "warn",
            "rare_keys",
            f"no second key frame within {seen_s:.0f} s",
            "set a key frame (I-frame) each 2 s; no smart codec",
        )
    elif distance_s is not None and distance_s > KEY_FRAMES_S + 0.5:
        add(
            "warn",
            "rare_keys",
            f"a key frame each {distance_s:.1f} s",
            "set a key frame (I-frame) each 2 s, or name a sub-stream",
        )
    return found


def _elsewhere(source: Source) -> str:
    """Where RTSP does not answer: whether the camera is there at all."""
    host, port = _host(source)
    if answers(host, port):
        return ""
    for web in onvif.WEB_PORTS:
        if answers(host, web):
            both = " and ONVIF" if onvif.clock_s(onvif.service_at(host, web)) is not None else ""
            return f"its web page{both} answers at port {web}: {RTSP_OFF}, or correct the port"
    return "nothing answers at that address: check cable, PoE and the address"


def _clock(name: str, source: Source, now: Callable[[], float]) -> list[Finding]:
    """The camera's own clock, which is written into its pictures, where ONVIF tells it."""
    host, _ = _host(source)
    for web in onvif.WEB_PORTS:
        if not answers(host, web):
            continue
        its_s = onvif.clock_s(onvif.service_at(host, web))
        if its_s is not None:
            off_s = its_s - now()
            if abs(off_s) <= CLOCK_S:
                return [Finding(name, "ok", f"its clock is right ({off_s:+.0f} s)")]
            todo = "set its time server to this network's; the time in its picture is evidence"
            return [Finding(name, "warn", f"its clock is off by {off_s:+.0f} s", todo, "camera_clock")]
    return []


def _host(source: Source) -> tuple[str, int]:
    parts = urlsplit(source.address)
    return parts.hostname or "", parts.port or (322 if parts.scheme == "rtsps" else 554)


def answers(host: str, port: int) -> bool:
    """Whether something listens there."""
    try:
        with socket.create_connection((host, port), 2):
            return True
    except OSError:
        return False

"""A video file made of pictures with times of their own; it plays as fast as they were taken."""

import os
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import av
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from agent.camera.errors import FilmError

CODECS: Final = ("libx264", "mpeg4")
"""The first that this FFmpeg can write."""
TICKS: Final = 1000
"""Times are whole milliseconds."""
KEY_EVERY: Final = 10
"""Pictures between two at which a player can jump in: at one a second, ten seconds."""


class Film:
    """Writes an MP4; the file appears when it is whole, and not at all if something fails.

    Args:
        path: the file.
        last_s: how long the last picture is shown.

    Raises:
        FilmError: here, in `add` and at the end, if it cannot be written.
    """

    def __init__(self, path: Path, last_s: float) -> None:
        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._last_ticks = max(1, round(last_s * TICKS))
        self._stream: Any = None
        self._pts = -1
        if path.is_dir():
            raise FilmError(f"{path}: expected a file's name, got a folder; name a file in it")
        try:
            # FFmpeg opens it only when the first picture is there
            self._part.touch()
            self._container = av.open(str(self._part), "w", format="mp4")
        except (FFmpegError, OSError) as fault:
            raise self._error(fault) from None

    def add(self, rgb: NDArray[np.uint8], t_s: float) -> None:
        """Append a picture of shape `(h, w, 3)`, both even and always the same; `t_s` is its time in the film."""
        try:
            if self._stream is None:
                self._stream = self._begin(rgb.shape[1], rgb.shape[0])
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
            self._pts = max(self._pts + 1, round(t_s * TICKS))
            frame.pts, frame.time_base = self._pts, Fraction(1, TICKS)
            self._write(frame)
        except (FFmpegError, OSError) as fault:
            raise self._error(fault) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._stream is not None:
                self._write(None)
            self._container.close()
            if kind is None and self._stream is not None:
                self._part.replace(self._path)
        except (FFmpegError, OSError) as broken:
            if kind is None:
                raise self._error(broken) from None
        finally:
            self._part.unlink(missing_ok=True)

    def _begin(self, width: int, height: int) -> Any:
        codec = next(name for name in CODECS if name in av.codecs_available)
        stream: Any = self._container.add_stream(codec)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, TICKS)
        stream.gop_size, stream.max_b_frames = KEY_EVERY, 0
        stream.options = {"crf": "23", "preset": "veryfast"} if codec == "libx264" else {"qscale": "3"}
        return stream

    def _write(self, frame: av.VideoFrame | None) -> None:
        for packet in self._stream.encode(frame):
            # counts for the last one; the others last until the next
            packet.duration = self._last_ticks
            self._container.mux(packet)

    def _error(self, fault: Exception) -> FilmError:
        number = getattr(fault, "errno", None)
        reason = os.strerror(number) if isinstance(number, int) and number > 0 else type(fault).__name__
        return FilmError(f"{self._path}: expected a video file that can be written: {reason}")

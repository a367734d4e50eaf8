"""Whether a camera's sub-stream shows what its main stream shows: zones are drawn once, in shares of the picture."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.camera.errors import CameraError
from agent.camera.frame import Frame
from agent.camera.reader import LiveCamera
from agent.camera.source import Source

SIZE_PX: Final = (160, 90)
"""Both are brought to it, whatever their pixels' shape: coordinates are shares."""
SHIFT_PX: Final = 3
"""Scalers of cameras cut off a row or two."""
PARTS: Final = tuple(part / 100 for part in range(60, 101, 5))
ALIKE: Final = 0.35
"""Measured on three clips at 4 and 0.5 Mbit/s: 0.79 to 1 where the two are up to 0.4 s apart, other scenes 0.19 at
most."""
BETTER: Final = 0.15
"""A part that fits by so much better than the whole is what is shown: each of 90 % and less is found."""
STEEPEST: Final = 2.0
"""Times the mean; else a few who walk, steep and elsewhere a moment later, count for more than the street."""
PLAIN: Final = 1.0
"""Mean slope, grey levels a pixel, below which nothing is to be compared: night, fog, a cap on the lens."""
SAMPLE_S: Final = 0.2
OVERLAP_S: Final = 1.0
LIMIT_S: Final = 20.0
ADVICE: Final = (
    "set the sub-stream to the same channel and the same aspect ratio in the camera, or take `substream` out"
)

Luma = NDArray[np.uint8]
Slopes = NDArray[np.float32]


def compare_views(source: Source, sub: Source) -> str:
    """Look at both streams at a time; says how they agree. Raises CameraError where they show different views."""
    main, small = _at_a_time((source, sub))
    fault = view_fault(main.luma(main.width), small.luma(small.width))
    if fault is None:
        return "too dark or too plain to be compared with the main stream; try again by day"
    if fault:
        raise CameraError(f"{sub.address}: expected the view of {source.address}, {fault}; {ADVICE}")
    return "the same view"


def view_fault(main: Luma, sub: Luma) -> str | None:
    """Say how the view of a sub-stream differs: empty where it does not, None where that cannot be told.

    Args:
        main: shape `(h, w)`.
        sub: of the same moment, of any other shape.
    """
    a, b = _slopes(main), _slopes(sub)
    if min(float(a.mean()), float(b.mean())) < PLAIN:
        return None
    edge = SHIFT_PX
    whole = _fit(a, np.ascontiguousarray(b[edge:-edge, edge:-edge]))
    smaller = max(_parts(main, sub))
    larger = max(_parts(sub, main))
    best, (wide, tall) = max(smaller, larger)
    if best >= max(ALIKE, whole + BETTER):
        which = "it shows" if smaller >= larger else "the main stream shows"
        of = "the main one" if smaller >= larger else "it"
        return f"{which} about {wide:.0%} of the width and {tall:.0%} of the height of {of}"
    return "" if whole >= ALIKE else f"it shows something else (likeness {max(0.0, whole):.2f} of 1)"


def _parts(whole: Luma, part: Luma) -> Iterator[tuple[float, tuple[float, float]]]:
    """How well a picture fits into another one as a part of it, by its share of width and height."""
    slopes = _slopes(whole)
    for wide, tall in product(PARTS, PARTS):
        size = round(SIZE_PX[0] * wide), round(SIZE_PX[1] * tall)
        if (wide, tall) != (1.0, 1.0):
            yield _fit(slopes, _slopes(part, size)), (wide, tall)


def _slopes(luma: Luma, size: tuple[int, int] = SIZE_PX) -> Slopes:
    """How steep grey levels are, shape `(h, w)`: alike whatever the exposure, the encoder and its sharpening."""
    small = cv2.resize(luma, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    soft = cv2.GaussianBlur(small, (0, 0), 1.0)
    x = cv2.Scharr(soft, cv2.CV_32F, 1, 0, scale=1 / 32)
    y = cv2.Scharr(soft, cv2.CV_32F, 0, 1, scale=1 / 32)
    slopes = cv2.magnitude(x, y)
    return np.asarray(np.minimum(slopes, STEEPEST * float(slopes.mean())), np.float32)


def _fit(slopes: Slopes, part: Slopes) -> float:
    """Normalised cross-correlation at the best place, -1 to 1."""
    return float(cv2.matchTemplate(slopes, part, cv2.TM_CCOEFF_NORMED).max())


def _at_a_time(sources: Sequence[Source], monotonic: Callable[[], float] = time.monotonic) -> list[Frame]:
    """The newest picture of each source, after all have sent some for a while; raises CameraError."""
    newest: dict[int, Frame] = {}
    cameras = [LiveCamera(replace(one, sub=None, sample_s=SAMPLE_S), time.time, monotonic) for one in sources]

    def watch(number: int) -> None:
        for event in cameras[number].events():
            if isinstance(event, Frame):
                newest[number] = event

    # daemons: who presses Ctrl-C twice does not wait for them either
    threads = [threading.Thread(target=watch, args=(number,), daemon=True) for number in range(len(cameras))]
    for thread in threads:
        thread.start()
    try:
        until_s = monotonic() + LIMIT_S
        while len(newest) < len(sources) and monotonic() < until_s:
            time.sleep(SAMPLE_S)
        time.sleep(OVERLAP_S)
    finally:
        for camera in cameras:
            camera.close()
        for thread in threads:
            thread.join()
    if len(newest) < len(sources):
        missing = next(one for number, one in enumerate(sources) if number not in newest)
        raise CameraError(
            f"{missing.address}: expected pictures of both streams at a time, got none of this one; "
            "does the camera allow two connections?"
        )
    return [newest[number] for number in range(len(sources))]

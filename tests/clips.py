"""Clips that the tests render: a pavement with a kerb, somebody who walks by, and a crate that comes and goes."""

from collections.abc import Callable
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np

WIDTH, HEIGHT, FPS = 640, 360, 10
CRATE = (0.5, 0.5, 0.14, 0.2)
APPEARS_S, GONE_S, LENGTH_S = 16, 44, 60


def pavement(seed=1):
    """Slabs with joints, stains and a kerb; shape `(HEIGHT, WIDTH, 3)`, RGB."""
    return _pavement(seed).copy()


@cache
def _pavement(seed):
    rng = np.random.default_rng(seed)
    picture = np.full((HEIGHT, WIDTH), 120, np.float32)
    stains = rng.normal(0, 14, (12, 20)).astype(np.float32)
    picture += cv2.resize(stains, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    picture += cv2.GaussianBlur(rng.normal(0, 20, picture.shape).astype(np.float32), (0, 0), 2)
    picture[::48] -= 25
    picture[:, ::64] -= 25
    picture[:80] += 40
    return np.clip(np.stack([picture + 6, picture, picture - 6], axis=-1), 0, 255).astype(np.uint8)


def crate():
    """A crate of fruit."""
    rng = np.random.default_rng(2)
    height, width = round(CRATE[3] * HEIGHT), round(CRATE[2] * WIDTH)
    thing = np.full((height, width, 3), (96, 62, 30), np.uint8)
    thing[:: height // 5] = (60, 40, 20)
    for _ in range(14):
        centre = (int(rng.integers(4, width - 4)), int(rng.integers(3, height // 3)))
        cv2.circle(thing, centre, 6, (220, 70, 40), -1)
    return thing


def put(picture, thing, x, y):
    height, width = thing.shape[:2]
    left, right = max(0, x), min(picture.shape[1], x + width)
    if right > left:
        picture[y : y + height, left:right] = thing[:, left - x : right - x]


def street_frame(t):
    """The street at a time of the clip, seconds."""
    picture = pavement()
    if APPEARS_S <= t < GONE_S:
        put(picture, crate(), round(CRATE[0] * WIDTH), round(CRATE[1] * HEIGHT))
    walker = np.full((120, 36, 3), (40, 44, 60), np.uint8)
    walker[:26, 8:28] = (200, 160, 140)
    put(picture, walker, round((t * 70) % 900) - 60, 150)
    noisy = np.random.default_rng(round(t * 10)).normal(0, 2, picture.shape)
    noisy += picture
    return np.clip(noisy, 0, 255, out=noisy).astype(np.uint8)


def write(
    path: Path,
    frame: Callable[[float], np.ndarray],
    length_s: float,
    *,
    fps: float = FPS,
    gop: int = 20,
    codec: str = "libx264",
    container: str | None = None,
    threads: int | None = None,
    pixels: str = "yuv420p",
) -> Path:
    """Write a clip; with one thread each picture is one slice."""
    first = frame(0.0)
    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream(codec, rate=Fraction(fps).limit_denominator(1000))
        stream.width, stream.height = first.shape[1], first.shape[0]
        stream.pix_fmt = pixels
        stream.codec_context.gop_size = gop
        if threads is not None:
            stream.codec_context.thread_count = threads
        if codec == "libx264":
            stream.options = {"preset": "ultrafast", "crf": "20", "bf": "0", "sc_threshold": "0"}
        for index in range(round(length_s * fps)):
            picture = av.VideoFrame.from_ndarray(frame(index / fps), format="rgb24")
            for packet in stream.encode(picture):
                output.mux(packet)
        for packet in stream.encode():
            output.mux(packet)
    return path


def street(path: Path) -> Path:
    """The street with its crate."""
    return write(path, street_frame, LENGTH_S, gop=10)

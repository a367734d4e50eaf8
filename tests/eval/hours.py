"""An hour of each clip, looped under changing light, the whole picture a zone: nothing is put down or may be said."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.vision.attention import Attention
from agent.vision.counting import Eye
from tests.eval.scoring import watch

LENGTH_S: Final = 3600.0
SAMPLE_S: Final = 1.0
DWELL_S: Final = 10.0
CLIPS: Final = ("vtest.avi", "pedestrians.mp4")


@cache
def _frames(path: Path) -> tuple[tuple[NDArray[np.uint8], ...], float]:
    """All frames as RGB, and their rate."""
    capture = cv2.VideoCapture(str(path))
    rate_hz = capture.get(cv2.CAP_PROP_FPS)
    frames = []
    while True:
        good, picture = capture.read()
        if not good:
            break
        height, width = picture.shape[:2]
        size = (640, round(640 * height / width / 2) * 2)
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        frames.append(np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2RGB), np.uint8))
    return tuple(frames), rate_hz


def pictures(path: Path, seed: int, sample_s: float = SAMPLE_S) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """Loop a clip for an hour; light: a slow wave, clouds, a shadow that wanders, lamps that go on and off."""
    frames, rate_hz = _frames(path)
    height, width = frames[0].shape[:2]
    rng = np.random.default_rng([seed, 8])
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    clouds = np.cumsum(rng.exponential(60, 200)), rng.uniform(0, 1, 200)
    angle, depth = rng.uniform(-0.8, 0.8), rng.uniform(0.25, 0.5)
    lamp = np.exp(-(((xs - rng.uniform(0, width)) / 200) ** 2) - ((ys - 0.7 * height) / 150) ** 2)
    lamp *= rng.uniform(0.3, 0.6)
    along = xs + np.tan(angle) * ys
    noise = rng.normal(0, 1, (height + 64, width + 64)).astype(np.float32)
    for number in range(int(LENGTH_S / sample_s)):
        t = number * sample_s
        gain = (0.8 + 0.25 * np.sin(t / 400)) * (1 - 0.35 * np.interp(t, *clouds))
        light = np.full((height, width), gain, np.float32)
        edge = (t % 1200) / 1200 * 1.6 * width - 0.3 * width
        light *= 1 - depth / (1 + np.exp(np.clip((np.abs(along - edge) - 60) / 8, -20, 20)))
        if 1500 <= t < 2400:
            light *= 1 + lamp
        dy, dx = rng.integers(0, 64, 2)
        picture = frames[int(t * rate_hz) % len(frames)] * light[..., None]
        picture += 2 * noise[dy : dy + height, dx : dx + width, None]
        yield t, np.clip(picture, 0, 255).astype(np.uint8)


def figures(
    shared: Path,
    detector: Eye | None = None,
    sample_s: float = SAMPLE_S,
    attention: Callable[[], Attention] = Attention,
) -> dict[str, int]:
    """Count the false incidents in an hour of each clip."""
    found = {}
    for name in CLIPS:
        shown = pictures(shared / "videos" / name, 1, sample_s)
        how = {"dwell_s": DWELL_S, "sample_s": sample_s}
        found[name] = len(watch(shown, detector=detector, attention=attention(), **how))
    return found

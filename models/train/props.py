"""Things that stand upright on a street and are nobody, drawn into training pictures to be told from people.

Bollards, cones, signs on poles, tripods, bins, dressmakers' dummies, closed parasols, plants in pots.
"""

from collections.abc import Callable, Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Rgba = NDArray[np.uint8]
Random = np.random.Generator
_SHIFT: Final = 4


def prop(height: int, rng: Random) -> Rgba:
    """Draw something upright, `height` pixels high; shape `(height, w, 4)`, opacity last."""
    tall = 2 * height
    wide = max(12, round(tall * float(np.exp(rng.uniform(np.log(0.2), np.log(0.6))))))
    canvas = np.zeros((tall, wide, 4), np.uint8)
    _DRAWN[int(rng.integers(len(_DRAWN)))](canvas, rng)
    solid = canvas[..., 3:] > 0
    # round things are lighter on one side
    shading = 1 + rng.uniform(-0.35, 0.35) * np.linspace(-1, 1, wide)[None, :, None]
    grain = cv2.GaussianBlur(rng.normal(0, 1, (tall, wide)).astype(np.float32), (0, 0), rng.uniform(0.7, 4))
    lit = canvas[..., :3] * shading + grain[..., None] * rng.uniform(0, 14)
    canvas[..., :3] = np.where(solid, np.clip(lit, 0, 255), 0).astype(np.uint8)
    return np.asarray(cv2.resize(canvas, (max(4, wide // 2), height), interpolation=cv2.INTER_AREA), np.uint8)


def lump(photo: NDArray[np.uint8], height: int, rng: Random) -> Rgba:
    """Cut something upright without a shape of its own, such as a stone, out of a photo; as `prop`."""
    width = max(4, round(height * float(np.exp(rng.uniform(np.log(0.25), np.log(0.8))))))
    side = min(photo.shape[0], photo.shape[1])
    scale = min(1.0, float(np.exp(rng.uniform(np.log(0.15), 0)))) * side / max(height, width)
    wide, high = max(2, int(width * scale)), max(2, int(height * scale))
    x, y = int(rng.integers(photo.shape[1] - wide + 1)), int(rng.integers(photo.shape[0] - high + 1))
    part = np.asarray(cv2.resize(photo[y : y + high, x : x + wide], (width, height), interpolation=cv2.INTER_AREA))
    # an outline around the middle whose distance waves a little; foot and head may be cut straight
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    waves = sum(rng.normal(0, 0.12 / n) * np.cos(n * angles + rng.uniform(0, 2 * np.pi)) for n in range(1, 6))
    power = rng.uniform(1.4, 6)  # from a rhomb by an ellipse to a box
    round_ = (np.abs(np.cos(angles)) ** power + np.abs(np.sin(angles)) ** power) ** (-1 / power) * (0.92 + waves)
    points = np.stack([0.5 + 0.5 * round_ * np.cos(angles), 0.5 + 0.5 * round_ * np.sin(angles)], 1).clip(0, 1)
    solid = np.zeros((height, width), np.uint8)
    cv2.fillPoly(solid, [np.round(points * (width, height) * (1 << _SHIFT)).astype(np.int32)], 255, cv2.LINE_AA, _SHIFT)
    shading = 1 + rng.uniform(-0.4, 0.4) * np.linspace(-1, 1, width)[None, :, None]
    return np.dstack([np.clip(part * shading, 0, 255).astype(np.uint8), solid])


def _colour(rng: Random) -> tuple[int, int, int, int]:
    hue, saturation = int(rng.integers(180)), int(255 * rng.beta(0.8, 1.4))
    bgr = cv2.cvtColor(np.array([[[hue, saturation, int(rng.uniform(20, 245))]]], np.uint8), cv2.COLOR_HSV2RGB)[0, 0]
    return int(bgr[0]), int(bgr[1]), int(bgr[2]), 255


def _fill(canvas: Rgba, points: Sequence[tuple[float, float]], colour: tuple[int, ...]) -> None:
    """Fill a polygon of corners x and y, 0 to 1."""
    height, width = canvas.shape[:2]
    corners = np.round(np.array(points) * (width, height) * (1 << _SHIFT)).astype(np.int32)
    cv2.fillPoly(canvas, [corners], colour, cv2.LINE_AA, _SHIFT)


def _bar(canvas: Rgba, x: float, y0: float, y1: float, half: float, colour: tuple[int, ...]) -> None:
    _fill(canvas, [(x - half, y0), (x + half, y0), (x + half, y1), (x - half, y1)], colour)


def _disc(canvas: Rgba, x: float, y: float, rx: float, ry: float, colour: tuple[int, ...]) -> None:
    height, width = canvas.shape[:2]
    size = (max(1, round(rx * width)), max(1, round(ry * height)))
    cv2.ellipse(canvas, (round(x * width), round(y * height)), size, 0, 0, 360, colour, -1, cv2.LINE_AA)


def _bands(canvas: Rgba, rng: Random, shape: Callable[[float], float], top: float) -> None:
    """Stack bands of two colours; `shape` gives half the width at a height, 0 to 1."""
    colours, count = (_colour(rng), _colour(rng)), int(rng.integers(1, 7))
    for n in range(count):
        y0, y1 = top + (1 - top) * n / count, top + (1 - top) * (n + 1) / count
        a, b = shape(y0), shape(y1)
        _fill(canvas, [(0.5 - a, y0), (0.5 + a, y0), (0.5 + b, y1), (0.5 - b, y1)], colours[n % 2])


def _bollard(canvas: Rgba, rng: Random) -> None:
    half = rng.uniform(0.2, 0.5)
    _bands(canvas, rng, lambda _: half, 0.05)
    _disc(canvas, 0.5, 0.07, half * rng.uniform(0.9, 1.3), rng.uniform(0.05, 0.14), _colour(rng))


def _cone(canvas: Rgba, rng: Random) -> None:
    foot = rng.uniform(0.3, 0.45)
    _bands(canvas, rng, lambda y: 0.05 + (foot - 0.05) * y, 0.0)
    _bar(canvas, 0.5, 0.93, 1.0, 0.5, _colour(rng))


def _sign(canvas: Rgba, rng: Random) -> None:
    _bar(canvas, 0.5, 0.2, 1.0, rng.uniform(0.02, 0.08), _colour(rng))
    plate, ink = _colour(rng), _colour(rng)
    low = rng.uniform(0.25, 0.6)
    if rng.random() < 0.5:
        _disc(canvas, 0.5, low / 2, 0.48, low / 2, plate)
    else:
        _bar(canvas, 0.5, 0.0, low, rng.uniform(0.3, 0.5), plate)
    for y in np.arange(0.25, 0.8, 0.2):
        _bar(canvas, 0.5, low * y, low * (y + 0.1), rng.uniform(0.05, 0.25), ink)


def _tripod(canvas: Rgba, rng: Random) -> None:
    colour, knee = _colour(rng), rng.uniform(0.2, 0.5)
    for foot in (0.05, 0.5, 0.95):
        x = rng.uniform(-0.05, 0.05) + foot
        _fill(canvas, [(0.47, knee), (0.53, knee), (x + 0.03, 1.0), (x - 0.03, 1.0)], colour)
    _bar(canvas, 0.5, 0.1, knee + 0.05, 0.06, colour)
    _bar(canvas, 0.5, 0.0, rng.uniform(0.1, 0.2), rng.uniform(0.1, 0.3), _colour(rng))


def _bin(canvas: Rgba, rng: Random) -> None:
    foot = rng.uniform(0.35, 0.5)
    _bands(canvas, rng, lambda y: 0.48 + (foot - 0.48) * y, 0.12)
    _fill(canvas, [(0.1, 0.12), (0.5, rng.uniform(0.0, 0.1)), (0.9, 0.12)], _colour(rng))


def _dummy(canvas: Rgba, rng: Random) -> None:
    """A dressmaker's dummy: a torso on a stand, without head and legs."""
    dress, waist, hem = _colour(rng), rng.uniform(0.15, 0.28), rng.uniform(0.2, 0.5)
    low = rng.uniform(0.5, 0.85)
    _bar(canvas, 0.5, low, 1.0, 0.03, _colour(rng))
    _disc(canvas, 0.5, 0.97, 0.3, 0.03, _colour(rng))
    half = rng.uniform(0.3, 0.45)
    _fill(
        canvas,
        [
            (0.5 - half, 0.1),
            (0.5 + half, 0.1),
            (0.5 + waist, 0.4),
            (0.5 + hem, low),
            (0.5 - hem, low),
            (0.5 - waist, 0.4),
        ],
        dress,
    )
    _bar(canvas, 0.5, 0.02, 0.12, 0.08, _colour(rng))


def _parasol(canvas: Rgba, rng: Random) -> None:
    _bar(canvas, 0.5, 0.0, 1.0, 0.04, _colour(rng))
    cloth, wide, low = _colour(rng), rng.uniform(0.15, 0.35), rng.uniform(0.55, 0.8)
    _fill(
        canvas,
        [(0.5, 0.02), (0.5 + wide, low), (0.5 + wide / 2, low + 0.05), (0.5 - wide / 2, low + 0.05), (0.5 - wide, low)],
        cloth,
    )
    _bar(canvas, 0.5, 0.94, 1.0, rng.uniform(0.2, 0.4), _colour(rng))


def _plant(canvas: Rgba, rng: Random) -> None:
    low = rng.uniform(0.6, 0.8)
    for _ in range(int(rng.integers(12, 40))):
        green = (int(rng.uniform(10, 90)), int(rng.uniform(50, 160)), int(rng.uniform(10, 80)), 255)
        x, y = rng.normal(0.5, 0.18), rng.uniform(0.08, low)
        _disc(canvas, x, y, rng.uniform(0.05, 0.25), rng.uniform(0.02, 0.08), green)
    _fill(canvas, [(0.2, low), (0.8, low), (0.7, 1.0), (0.3, 1.0)], _colour(rng))


_DRAWN: Final = (_bollard, _cone, _sign, _tripod, _bin, _dummy, _parasol, _plant)

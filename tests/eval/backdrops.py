"""Streets on which scenes are staged: drawn, or the still picture of real footage."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

WIDTH, HEIGHT = 640, 360
HORIZON: Final = 0.32
"""Where the pavement begins, as a share of the height; what stands lower is nearer and larger."""


@dataclass(frozen=True, eq=False)
class Backdrop:
    """A street without anybody on it.

    Args:
        rgb: shape `(HEIGHT, WIDTH, 3)`.
        front: opacity of what stands before everything that is staged (a pole, a bush), shape `(HEIGHT, WIDTH)`.
    """

    name: str
    rgb: Picture
    front: NDArray[np.float32] | None = None


def drawn(rng: np.random.Generator) -> Backdrop:
    """Draw a shopping street: fronts, pavement in perspective, a kerb and a road."""
    horizon = int(HEIGHT * HORIZON)
    tone = rng.uniform(70, 170)
    picture = np.full((HEIGHT, WIDTH, 3), tone, np.float32) + rng.normal(0, 6, 3)
    _paving(picture, horizon, rng)
    _fronts(picture, horizon, rng)
    kerb = int(HEIGHT * rng.uniform(0.8, 1.0))
    if kerb < HEIGHT - 8:
        picture[kerb:] = rng.uniform(55, 90)
        picture[kerb : kerb + 5] = tone + rng.uniform(20, 50)
    coarse = cv2.resize(rng.normal(0, 8, (10, 16)).astype(np.float32), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    grain = cv2.GaussianBlur(rng.normal(0, 18, (HEIGHT, WIDTH)).astype(np.float32), (0, 0), 1.2)
    picture += (coarse + grain)[..., None]
    return Backdrop("drawn", np.clip(picture, 0, 255).astype(np.uint8))


def _paving(picture: NDArray[np.float32], horizon: int, rng: np.random.Generator) -> None:
    dark = float(rng.uniform(12, 40))
    row, step = float(horizon), 5.0
    while row < HEIGHT:
        cv2.line(picture, (0, int(row)), (WIDTH, int(row)), (picture[int(row), 0] - dark).tolist(), 1)
        row, step = row + step, step * 1.22
    vanishing = (int(WIDTH * rng.uniform(0.2, 0.8)), horizon - 60)
    for x in range(-2 * WIDTH, 3 * WIDTH, int(rng.integers(60, 120))):
        clipped = cv2.clipLine((0, horizon, WIDTH, HEIGHT - horizon), vanishing, (x, HEIGHT))
        if clipped[0]:
            cv2.line(picture, clipped[1], clipped[2], (picture[-1, 0] - dark).tolist(), 1)


def _fronts(picture: NDArray[np.float32], horizon: int, rng: np.random.Generator) -> None:
    left = 0
    while left < WIDTH:
        wide = int(rng.integers(70, 190))
        wall = rng.uniform(50, 200, 3)
        cv2.rectangle(picture, (left, 0), (left + wide, horizon), wall.tolist(), -1)
        sign = int(horizon * 0.3)
        cv2.rectangle(picture, (left + 3, 4), (left + wide - 3, sign), rng.uniform(20, 240, 3).tolist(), -1)
        for x in range(left + 12, left + wide - 16, 18):
            cv2.rectangle(picture, (x, 10), (x + 10, sign - 6), rng.uniform(0, 255, 3).tolist(), 2)
        glass = rng.uniform(20, 120, 3)
        cv2.rectangle(picture, (left + 8, sign + 8), (left + wide - 30, horizon - 12), glass.tolist(), -1)
        cv2.rectangle(picture, (left + wide - 26, sign + 8), (left + wide - 8, horizon), (glass * 0.6).tolist(), -1)
        left += wide


def with_front(backdrop: Backdrop, box: tuple[int, int, int, int], rng: np.random.Generator) -> Backdrop:
    """Put something fixed before a part of a place: a post, a bush or a rail. `box` is x y w h in pixels."""
    x, y, w, h = box
    front = np.zeros((HEIGHT, WIDTH), np.float32)
    rgb = backdrop.rgb.copy()
    kind = rng.integers(3)
    if kind == 0:
        wide = max(4, round(w * rng.uniform(0.25, 0.4)))
        at = x + round(rng.uniform(0.1, 0.6) * w)
        front[max(0, y - 2 * h) : y + h + 4, at : at + wide] = 1
    elif kind == 1:
        leaves = cv2.GaussianBlur(rng.normal(0, 1, (HEIGHT, WIDTH)).astype(np.float32), (0, 0), 2)
        low = y + h - round(h * rng.uniform(0.3, 0.45))
        inside = np.zeros((HEIGHT, WIDTH), np.float32)
        inside[low : y + h + 6, max(0, x - w // 2) : x + w + w // 2] = 1
        front = ((leaves > -0.12) & (inside > 0)).astype(np.float32)
    else:
        for rail in (0.25, 0.5, 0.75):
            at = y + round(h * rail)
            front[at : at + max(2, h // 12), max(0, x - 2 * w) : x + 3 * w] = 1
    colour = rng.uniform(20, 120, 3) * (1, 1.1, 1)
    grain = cv2.GaussianBlur(rng.normal(0, 25, (HEIGHT, WIDTH)).astype(np.float32), (0, 0), 1)[..., None]
    rgb = np.where(front[..., None] > 0.5, np.clip(colour + grain, 0, 255), rgb).astype(np.uint8)
    return Backdrop(backdrop.name, rgb, cv2.GaussianBlur(front, (0, 0), 0.5))


def real(shared: Path) -> tuple[Backdrop, ...]:
    """Still pictures of the shared clips, and street photos."""
    found = []
    for clip, frames in (
        ("aboda_video4.avi", range(0, 200, 20)),
        ("vtest.avi", range(0, 790, 40)),
        ("pedestrians.mp4", range(0, 340, 20)),
    ):
        picture = _median(shared / "videos" / clip, frames)
        if picture is not None:
            found.append(Backdrop(clip, _fitted(picture)))
    photos = [shared / "photos" / name for name in ("intersection.jpg", "palace.jpg")]
    for path in [*photos, *sorted((shared / "crowd/images").glob("train_*0.jpg"))[:9]]:
        photo = cv2.imread(str(path))
        if photo is not None:
            found.append(Backdrop(path.name, _fitted(cv2.cvtColor(photo, cv2.COLOR_BGR2RGB))))
    return tuple(found)


def _median(path: Path, numbers: Sequence[int]) -> Picture | None:
    capture = cv2.VideoCapture(str(path))
    taken = []
    for number in range(max(numbers) + 1):
        good, picture = capture.read()
        if not good:
            break
        if number in numbers:
            taken.append(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
    capture.release()
    return np.median(taken, axis=0).astype(np.uint8) if taken else None


def _fitted(picture: Picture) -> Picture:
    """Cut to the proportions of a scene and scale."""
    height, width = picture.shape[:2]
    wanted = round(width * HEIGHT / WIDTH)
    if wanted <= height:
        top = (height - wanted) // 2
        picture = picture[top : top + wanted]
    else:
        wide = round(height * WIDTH / HEIGHT)
        left = (width - wide) // 2
        picture = picture[:, left : left + wide]
    return np.asarray(cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), np.uint8)


Light = Callable[[float], NDArray[np.float32]]
"""Gain of each pixel at an instant, shape `(HEIGHT, WIDTH)` or `(1, 1)`."""


def light(kind: str, rng: np.random.Generator, length_s: float) -> Light:
    """Script the light of a scene: steady, ramp, clouds, a shadow that sweeps, headlights, a lamp that goes on."""
    ys, xs = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    flat = np.ones((1, 1), np.float32)
    if kind == "ramp":
        first, last = rng.uniform(0.65, 1.0), rng.uniform(0.8, 1.35)
        return lambda t: flat * (first + (last - first) * t / length_s)
    if kind == "clouds":
        period_s, depth, phase = rng.uniform(12, 40), rng.uniform(0.15, 0.4), rng.uniform(0, 6)
        return lambda t: flat * (1 - depth * (0.5 + 0.5 * np.tanh(3 * np.sin(6.283 * t / period_s + phase))))
    if kind == "shadow":
        angle, wide, depth = rng.uniform(-0.9, 0.9), rng.uniform(60, 220), rng.uniform(0.3, 0.5)
        speed, soft = WIDTH * rng.uniform(0.6, 1.6) / length_s, rng.uniform(4, 25)
        along = xs + np.tan(angle) * ys

        def shadow(t: float) -> NDArray[np.float32]:
            inside = np.abs(along - (speed * t + 20)) - wide / 2
            return (1 - depth / (1 + np.exp(np.clip(inside / soft, -30, 30)))).astype(np.float32)

        return shadow
    if kind == "headlights":
        every_s, row = rng.uniform(6, 14), HEIGHT * rng.uniform(0.45, 0.8)

        def headlights(t: float) -> NDArray[np.float32]:
            at = (t % every_s) / 3.0
            if at > 1:
                return flat
            x = (at * 1.6 - 0.3) * WIDTH
            return (1 + 1.6 * np.exp(-(((xs - x) / 110) ** 2) - ((ys - row) / 60) ** 2)).astype(np.float32)

        return headlights
    if kind == "lamp":
        at_s, x, gain = rng.uniform(0.35, 0.8) * length_s, rng.uniform(0, WIDTH), rng.uniform(0.3, 0.6)
        pool = np.exp(-(((xs - x) / 220) ** 2) - ((ys - HEIGHT * 0.7) / 160) ** 2)
        return lambda t: (1 + (gain * pool if t >= at_s else 0)) * flat
    return lambda _: flat


LIGHTS: Final = ("steady", "ramp", "clouds", "shadow", "headlights", "lamp")

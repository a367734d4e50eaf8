"""Things and people that staged scenes are made of: RGBA pictures, drawn, or cut out of real photos."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Sprite = NDArray[np.uint8]
"""Shape `(h, w, 4)`: R G B and opacity."""

COCO_THINGS: Final = (1, 3, 13, 24, 25, 28, 56, 58, 60)
"""Bicycle, motorcycle, bench, backpack, umbrella, suitcase, chair, potted plant, dining table."""
PERSON: Final = 0


def thing(rng: np.random.Generator, width: int, height: int) -> Sprite:  # noqa: PLR0912 - a branch for each kind
    """Draw something that a shop may push out."""
    kind = rng.integers(6)
    colour = rng.integers(25, 230, 3)
    sprite = np.zeros((height, width, 4), np.uint8)
    if kind == 0:  # crates with goods
        rows = int(rng.integers(2, 5))
        sprite[:] = (*colour, 255)
        for row in range(rows):
            y = row * height // rows
            sprite[y : y + max(2, height // 20)] = (*(colour * 0.5), 255)
            for _ in range(int(rng.integers(4, 12))):
                centre = (int(rng.integers(2, width - 1)), y + int(rng.integers(2, max(3, height // rows))))
                cv2.circle(sprite, centre, max(2, width // 12), (*map(int, rng.integers(20, 250, 3)), 255), -1)
    elif kind == 1:  # a table with legs
        top = max(4, height // 4)
        cv2.rectangle(sprite, (0, 0), (width - 1, top), (*map(int, colour), 255), -1)
        cv2.rectangle(sprite, (0, top), (width - 1, top + 2), (*map(int, colour * 0.6), 255), -1)
        for x in (width // 12, width - 1 - width // 12):
            cv2.line(sprite, (x, top), (x, height - 1), (*map(int, colour * 0.5), 255), max(2, width // 16))
        cv2.line(sprite, (width // 8, height * 2 // 3), (width - width // 8, height * 2 // 3), (60, 60, 60, 255), 2)
    elif kind == 2:  # a rack of clothes
        cv2.rectangle(sprite, (0, 0), (width - 1, height // 14 + 1), (90, 90, 95, 255), -1)
        at = 0
        while at < width - 2:
            wide = int(rng.integers(max(2, width // 12), max(3, width // 5)))
            low = int(height * rng.uniform(0.6, 0.95))
            cv2.rectangle(sprite, (at, 2), (at + wide, low), (*map(int, rng.integers(20, 240, 3)), 255), -1)
            at += wide + 1
        for x in (1, width - 2):
            cv2.line(sprite, (x, 0), (x, height - 1), (70, 70, 75, 255), 2)
    elif kind == 3:  # a board
        sprite[:] = (*colour, 255)
        cv2.rectangle(sprite, (2, 2), (width - 3, height - 3), (*map(int, 255 - colour), 255), 2)
        for y in range(height // 6, height * 5 // 6, max(4, height // 7)):
            right = int(width * rng.uniform(0.5, 0.85))
            cv2.line(sprite, (width // 6, y), (right, y), (*map(int, 255 - colour), 255), max(1, height // 30))
    elif kind == 4:  # a heap of sacks or boxes
        for _ in range(int(rng.integers(3, 8))):
            w, h = int(width * rng.uniform(0.35, 0.7)), int(height * rng.uniform(0.3, 0.6))
            x, y = int(rng.integers(0, max(1, width - w))), height - h - int(rng.integers(0, max(1, (height - h) // 2)))
            shade = colour * rng.uniform(0.7, 1.1)
            cv2.rectangle(sprite, (x, y), (x + w, y + h), (*map(int, np.clip(shade, 0, 255)), 255), -1)
            cv2.rectangle(sprite, (x, y), (x + w, y + h), (*map(int, colour * 0.5), 255), 1)
    else:  # a bicycle
        radius = max(3, min(width // 4, height // 3))
        for x in (radius, width - 1 - radius):
            cv2.circle(sprite, (x, height - 1 - radius), radius - 1, (30, 30, 32, 255), max(2, radius // 5))
        saddle = (width * 2 // 5, height // 4)
        for end in ((radius, height - 1 - radius), (width // 2, height - 1 - radius), (width * 7 // 10, height // 5)):
            cv2.line(sprite, saddle, end, (*map(int, colour), 255), max(2, width // 22))
        cv2.line(
            sprite, (width * 7 // 10, height // 5), (width - 1 - radius, height - 1 - radius), (80, 80, 80, 255), 2
        )
        cv2.rectangle(sprite, (width // 4, height // 5), (width // 2, height // 4), (20, 20, 20, 255), -1)
    return _shaded(sprite, rng)


def person(rng: np.random.Generator, height: int, stride: float) -> Sprite:
    """Draw somebody; `stride` from -1 to 1 moves the legs."""
    width = max(8, height * 2 // 5)
    sprite = np.zeros((height, width, 4), np.uint8)
    coat, legs = (tuple(map(int, rng.integers(15, 200, 3))) for _ in range(2))
    middle, hip, shoulder = width // 2, height * 11 // 20, height * 3 // 16
    reach = round(stride * width * 0.3)
    thick = max(3, width // 5)
    for way in (-1, 1):
        cv2.line(sprite, (middle + way * width // 12, hip), (middle + way * reach, height - 2), (*legs, 255), thick)
    trunk = (width * 3 // 10, (hip - shoulder) * 5 // 8)
    cv2.ellipse(sprite, (middle, (hip + shoulder) // 2), trunk, 0, 0, 360, (*coat, 255), -1)
    for way in (-1, 1):
        hand = (middle + way * width // 3 - way * reach // 3, hip + height // 40)
        cv2.line(sprite, (middle + way * width // 4, shoulder + height // 20), hand, (*coat, 255), max(2, width // 8))
    cv2.circle(sprite, (middle, height // 10), max(2, height // 12), (190, 150, 125, 255), -1)
    hair = (max(2, height // 12), max(1, height // 20))
    cv2.ellipse(sprite, (middle, height // 13), hair, 0, 180, 360, (30, 25, 22, 255), -1)
    return sprite


def _shaded(sprite: Sprite, rng: np.random.Generator) -> Sprite:
    """Give it light from one side and a little texture."""
    height, width = sprite.shape[:2]
    light = np.linspace(1.15, 0.8, width)[None, :, None] * np.linspace(1.08, 0.85, height)[:, None, None]
    texture = rng.normal(0, 6, (height, width, 1))
    sprite[..., :3] = np.clip(sprite[..., :3] * light + texture, 0, 255)
    return sprite


def faint(sprite: Sprite, ground: NDArray[np.uint8], rng: np.random.Generator, levels: float) -> Sprite:
    """Recolour it so that it differs from the ground under it by `levels` grey levels in the mean."""
    opaque = sprite[..., 3:] > 127
    grey = sprite[..., :3].astype(np.float32).mean(2, keepdims=True)
    inside = grey[opaque]
    shape = (grey - inside.mean()) / max(float(inside.std()), 1.0)
    base = ground.astype(np.float32)
    tone = base[opaque[..., 0]].mean(0)
    side = rng.choice([-1.0, 1.0])
    low, high = 0.0, 40.0
    for _ in range(12):  # the ground's own texture counts as well, so the offset is searched
        middle = (low + high) / 2
        painted = tone + side * middle + 6.0 * np.clip(shape, -2, 2)
        apart = float(np.abs(painted - base).mean(2)[opaque[..., 0]].mean())
        low, high = (middle, high) if apart < levels else (low, middle)
    painted = tone + side * low + 6.0 * np.clip(shape, -2, 2)
    return np.concatenate([np.clip(painted, 0, 255), sprite[..., 3:].astype(np.float32)], axis=2).astype(np.uint8)


@dataclass(frozen=True)
class Cutouts:
    """Real things and real people, cut out of photos."""

    things: tuple[Sprite, ...] = ()
    people: tuple[Sprite, ...] = ()


def cutouts(folders: Sequence[Path], limit: int = 60) -> Cutouts:
    """Cut things out of labelled photos in YOLO format (GrabCut from their boxes).

    Args:
        folders: each with `images/` and `labels/`.
        limit: of things, and of people.
    """
    things: list[Sprite] = []
    people: list[Sprite] = []
    for folder in folders:
        for path in sorted((folder / "labels").glob("*.txt")):
            rows = [line.split() for line in path.read_text().splitlines()]
            if not any(int(row[0]) in COCO_THINGS or int(row[0]) == PERSON for row in rows):
                continue
            photo = cv2.imread(str(folder / "images" / f"{path.stem}.jpg"))
            if photo is None:
                continue
            for row in rows:
                kind = int(row[0])
                into = people if kind == PERSON else things
                if (kind not in COCO_THINGS and kind != PERSON) or len(into) >= limit:
                    continue
                x, y, w, h = (float(part) for part in row[1:5])
                if kind == PERSON and not 1.7 < h * photo.shape[0] / (w * photo.shape[1]) < 3.6:
                    continue
                sprite = _cut(photo, x - w / 2, y - h / 2, w, h)
                if sprite is not None:
                    into.append(sprite)
    return Cutouts(tuple(things), tuple(people))


def _cut(photo: NDArray[np.uint8], x: float, y: float, w: float, h: float) -> Sprite | None:
    height, width = photo.shape[:2]
    left, top, wide, high = round(x * width), round(y * height), round(w * width), round(h * height)
    # what touches the edge of its photo is cut off
    if min(wide, high) < 36 or left < 2 or top < 2 or left + wide > width - 2 or top + high > height - 2:
        return None
    mask = np.zeros((height, width), np.uint8)
    cv2.setRNGSeed(1)
    cv2.grabCut(photo, mask, (left, top, wide, high), np.zeros((1, 65)), np.zeros((1, 65)), 4, cv2.GC_INIT_WITH_RECT)
    inside = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(inside)
    if count < 2:
        return None
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    part = (labels == largest)[top : top + high, left : left + wide]
    if not 0.3 < part.mean() < 0.97 or part.any(0).mean() < 0.8 or part.any(1).mean() < 0.8:
        return None
    opacity = cv2.GaussianBlur(part.astype(np.float32), (0, 0), 0.8) * 255
    colours = cv2.cvtColor(photo, cv2.COLOR_BGR2RGB)[top : top + high, left : left + wide]
    return np.dstack([colours, opacity.astype(np.uint8)])

"""Training pictures: squares cut out of photos at many sizes, in many lights, through many cameras."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from models.train.photos import Boxes, Peopled, Photo
from models.train.props import lump, prop

SIDE: Final = 320
VISIBLE: Final = 0.35
"""A person of whom less lies in the square, or is left uncovered, is neither asked for nor wrong."""
FILLED: Final = 0.8
"""A photo fills at least so much of the square's side."""
LEAST_PX: Final = 6.0
"""Nor is one who is less high."""
Random = np.random.Generator


@dataclass(frozen=True, eq=False)
class Cutout:
    """A person cut out of a photo: colours and opacity, 0 to 1, of one shape."""

    rgb: Photo
    opacity: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Pool:
    """One kind of photos, how often it is drawn, and by how much its photos are scaled."""

    photos: Sequence[Peopled]
    share: float
    scales: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Source:
    """All that training pictures are made from."""

    pools: Sequence[Pool]
    cutouts: Sequence[Cutout] = ()
    things: Sequence[Cutout] = ()
    """Cut out of photos as well, and nobody."""


def view(source: Source, rng: Random) -> Peopled:
    """Make up one training picture, SIDE × SIDE: one square, or a mosaic of four (Bochkovskiy et al., 2020)."""
    four = rng.random() < 0.2
    whole = _mosaic([_square(source, rng) for _ in range(4)], rng) if four else _square(source, rng)
    for _ in range(int(rng.choice([0, 1, 3], p=[0.4, 0.3, 0.3]))):
        whole = _with_prop(whole, source, rng)
    if len(source.cutouts) and rng.random() < 0.3:
        whole = _with_person(whole, source.cutouts[int(rng.integers(len(source.cutouts)))], rng)
    return Peopled(_taken(whole.rgb, rng), whole.boxes, whole.trust, whole.ignored)


def _square(source: Source, rng: Random) -> Peopled:
    shares = np.array([pool.share for pool in source.pools])
    pool = source.pools[int(rng.choice(len(shares), p=shares / shares.sum()))]
    photo = pool.photos[int(rng.integers(len(pool.photos)))]
    scale = math.exp(rng.uniform(*np.log(pool.scales)))
    aspect = math.exp(rng.uniform(-0.15, 0.15))
    height, width = photo.rgb.shape[:2]
    scale = max(scale, FILLED * SIDE / max(height, width))
    fx, fy = scale / aspect, scale * aspect
    x, y = (_offset(side * f, rng) for side, f in ((width, fx), (height, fy)))
    source_rgb = cv2.GaussianBlur(photo.rgb, (0, 0), 0.4 / scale) if scale < 0.8 else photo.rgb
    matrix = np.array([[fx, 0, -x], [0, fy, -y]], np.float32)
    rgb = np.asarray(cv2.warpAffine(source_rgb, matrix, (SIDE, SIDE), borderValue=(114, 114, 114)), np.uint8)
    factors, shift = np.array([fx, fy, fx, fy], np.float32), np.array([x, y, x, y], np.float32)
    square = _clipped(rgb, photo.boxes * factors - shift, photo.trust, photo.ignored * factors - shift)
    return _mirrored(square) if rng.random() < 0.5 else square


def _offset(size: float, rng: Random) -> float:
    return float(rng.uniform(min(0.0, size - SIDE), max(0.0, size - SIDE)))


def _clipped(rgb: Photo, boxes: Boxes, trust: NDArray[np.float32], ignored: Boxes) -> Peopled:
    inside = boxes.clip(0, SIDE)
    sizes = inside[:, 2:] - inside[:, :2]
    share = sizes.prod(1) / np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(1), 1e-6)
    kept = (share >= VISIBLE) & (sizes[:, 1] >= LEAST_PX) & (sizes[:, 0] >= LEAST_PX / 3)
    doubtful = np.concatenate([inside[~kept & (share > 0)], ignored.clip(0, SIDE)])
    return Peopled(rgb, inside[kept].astype(np.float32), trust[kept], _with_area(doubtful))


def _with_area(boxes: Boxes) -> Boxes:
    return boxes[((boxes[:, 2:] - boxes[:, :2]) > 0).all(1)].astype(np.float32)


def _mirrored(square: Peopled) -> Peopled:
    boxes, ignored = (
        (rows * (-1, 1, -1, 1) + (SIDE, 0, SIDE, 0))[:, [2, 1, 0, 3]] for rows in (square.boxes, square.ignored)
    )
    rgb = np.ascontiguousarray(square.rgb[:, ::-1])
    return Peopled(rgb, boxes.astype(np.float32), square.trust, ignored.astype(np.float32))


def _mosaic(squares: Sequence[Peopled], rng: Random) -> Peopled:
    x, y = (int(v) for v in rng.integers(SIDE // 4, 3 * SIDE // 4, 2))
    rgb = np.zeros((SIDE, SIDE, 3), np.uint8)
    parts = []
    for square, (left, top, right, low) in zip(
        squares, ((0, 0, x, y), (x, 0, SIDE, y), (0, y, x, SIDE), (x, y, SIDE, SIDE)), strict=True
    ):
        rgb[top:low, left:right] = square.rgb[top:low, left:right]
        limits = np.array([left, top, left, top]), np.array([right, low, right, low])
        boxes = square.boxes.clip(*limits)
        share = (boxes[:, 2:] - boxes[:, :2]).prod(1) / np.maximum(
            (square.boxes[:, 2:] - square.boxes[:, :2]).prod(1), 1e-6
        )
        kept = (share >= VISIBLE) & (boxes[:, 3] - boxes[:, 1] >= LEAST_PX)
        doubtful = np.concatenate([boxes[~kept & (share > 0)], square.ignored.clip(*limits)])
        parts.append((boxes[kept], square.trust[kept], _with_area(doubtful)))
    boxes, trust, ignored = (np.concatenate([part[n] for part in parts]).astype(np.float32) for n in range(3))
    return Peopled(rgb, boxes, trust, ignored)


def _with_prop(square: Peopled, source: Source, rng: Random) -> Peopled:
    """Put something in that is nobody: drawn, cut out of a photo, or a lump of what a photo without people shows."""
    height, kind = int(math.exp(rng.uniform(math.log(14), math.log(200)))), rng.random()
    ground = _nobody(source, rng)
    if kind < 0.3 and source.things:
        thing = source.things[int(rng.integers(len(source.things)))]
        slim = math.exp(rng.uniform(-0.5, 0.2))
        size = (max(4, round(height * thing.rgb.shape[1] / thing.rgb.shape[0] * slim)), height)
        rgb = np.asarray(cv2.resize(thing.rgb, size, interpolation=cv2.INTER_AREA))
        solid = np.asarray(cv2.resize(thing.opacity, size, interpolation=cv2.INTER_AREA))
        opacity = np.asarray(cv2.GaussianBlur(solid, (0, 0), 0.6), np.float32)[..., None]
    else:
        rgba = prop(height, rng) if kind > 0.65 or ground is None else lump(ground, height, rng)
        rgb, opacity = rgba[..., :3], rgba[..., 3:].astype(np.float32) / np.float32(255)
    lit = np.clip(rgb * (rng.uniform(0.6, 1.4) * rng.uniform(0.85, 1.15, 3)), 0, 255).astype(np.uint8)
    pasted = _pasted(square.rgb, lit, opacity, rng)
    return square if pasted is None else _covered(square, *pasted)


def _nobody(source: Source, rng: Random) -> Photo | None:
    """Some photo without people; None where there is none."""
    empty = [pool for pool in source.pools if not any(len(one.boxes) for one in pool.photos)]
    if not empty:
        return None
    photos = empty[int(rng.integers(len(empty)))].photos
    return photos[int(rng.integers(len(photos)))].rgb


def _with_person(square: Peopled, cutout: Cutout, rng: Random) -> Peopled:
    height = int(math.exp(rng.uniform(math.log(24), math.log(230))))
    scale = height / cutout.rgb.shape[0]
    size = (max(4, round(cutout.rgb.shape[1] * scale)), height)
    rgb, opacity = (
        np.asarray(cv2.resize(one, size, interpolation=cv2.INTER_AREA)) for one in (cutout.rgb, cutout.opacity)
    )
    if rng.random() < 0.5:
        rgb, opacity = rgb[:, ::-1], opacity[:, ::-1]
    lit = np.clip(rgb * (rng.uniform(0.6, 1.4) * rng.uniform(0.75, 1.25, 3)), 0, 255).astype(np.uint8)
    soft = np.asarray(cv2.GaussianBlur(opacity, (0, 0), 0.6), np.float32)[..., None]
    pasted = _pasted(square.rgb, lit, soft, rng)
    if pasted is None:
        return square
    behind = _covered(square, *pasted)
    box = pasted[1][None].clip(0, SIDE)
    return Peopled(
        behind.rgb,
        np.concatenate([behind.boxes, box]).astype(np.float32),
        np.concatenate([behind.trust, [1.0]]).astype(np.float32),
        behind.ignored,
    )


def _pasted(
    under: Photo, rgb: Photo, opacity: NDArray[np.float32], rng: Random
) -> tuple[Photo, NDArray[np.float32]] | None:
    """Paste at a random place; the picture and the box of what was pasted, None where it does not fit."""
    height, width = rgb.shape[:2]
    if height >= SIDE or width >= SIDE:
        return None
    x, y = int(rng.integers(SIDE - width)), int(rng.integers(SIDE - height))
    picture = under.astype(np.float32)
    part = picture[y : y + height, x : x + width]
    part += (rgb - part) * opacity
    return picture.astype(np.uint8), np.array([x, y, x + width, y + height], np.float32)


def _covered(square: Peopled, rgb: Photo, box: NDArray[np.float32]) -> Peopled:
    """Say whom a thing in front hides."""
    shared = (np.minimum(square.boxes[:, 2:], box[2:]) - np.maximum(square.boxes[:, :2], box[:2])).clip(0).prod(1)
    hidden = shared > (1 - VISIBLE) * np.maximum((square.boxes[:, 2:] - square.boxes[:, :2]).prod(1), 1e-6)
    ignored = np.concatenate([square.ignored, square.boxes[hidden]])
    return Peopled(rgb, square.boxes[~hidden], square.trust[~hidden], ignored)


def _taken(rgb: Photo, rng: Random) -> Photo:
    """Light, focus, noise and codec of some camera, night among them."""
    picture = rgb.astype(np.float32)
    if rng.random() < 0.12:
        picture[:] = picture @ np.array([0.4, 0.4, 0.2], np.float32)[:, None]
    else:
        picture *= rng.uniform(0.8, 1.2, 3).astype(np.float32)
    picture = (255 * np.clip(picture / 255, 0, 1) ** rng.uniform(0.6, 1.8)).astype(np.float32)
    picture = picture * np.float32(rng.uniform(0.35, 1.25)) + np.float32(rng.uniform(-15, 20))
    if rng.random() < 0.25:  # a shadow's edge, or a lamp
        fall = np.linspace(-1, 1, SIDE, dtype=np.float32) * rng.uniform(2, 20) + rng.uniform(-8, 8)
        shade = 1 - rng.uniform(0.2, 0.6) / (1 + np.exp(-fall))
        picture *= shade[None, :, None] if rng.random() < 0.5 else shade[:, None, None]
    lens = rng.random()
    if lens < 0.25:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.6)), np.float32)
    elif lens < 0.35:
        picture = np.asarray(cv2.addWeighted(picture, 1.8, cv2.GaussianBlur(picture, (0, 0), 1.5), -0.8, 0), np.float32)
    if rng.random() < 0.35:
        picture += rng.normal(0, rng.uniform(2, 14), (SIDE, SIDE, 1 if rng.random() < 0.5 else 3)).astype(np.float32)
    coded = np.clip(picture, 0, 255).astype(np.uint8)
    if rng.random() < 0.35:
        jpeg = cv2.imencode(".jpg", coded, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(18, 85))])[1]
        coded = np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), np.uint8)
    return coded

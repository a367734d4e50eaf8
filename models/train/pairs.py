"""Pairs of pictures of one place, from single photos: other light, and perhaps another thing.

Every pair is made up from a photo: the place, twice, with things pasted into one of the two or into both, each under a
light of its own. What has changed is known exactly. Pictures are luma, float32, 0 to 255.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Luma = NDArray[np.float32]
Region = NDArray[np.bool_]

SAME: Final = 0
THING: Final = 1
"""Something stands there now that did not, or something else."""
GONE: Final = 2
"""Something stood there in the reference and is away: a ghost."""
IGNORED: Final = 255
VISIBLE_LEVELS: Final = 5.0
"""A thing that differs less from its ground, in grey levels, can not be asked for."""


@dataclass(frozen=True, eq=False)
class Source:
    """What pairs are made from.

    Args:
        grounds: photos to be places, luma.
        cutouts: things, each luma and opacity (0 to 1) of one shape.
    """

    grounds: Sequence[NDArray[np.uint8]]
    cutouts: Sequence[tuple[Luma, Luma]] = ()


@dataclass(frozen=True, eq=False)
class Pair:
    """Shapes `(h, w)`; `truth` holds SAME, THING, GONE or IGNORED."""

    now: Luma
    reference: Luma
    truth: NDArray[np.uint8]


def pair(source: Source, size: tuple[int, int], rng: np.random.Generator) -> Pair:
    """Make up one pair of a size (height, width)."""
    ground = _ground(source, size, rng)
    now, then = ground.copy(), ground.copy()
    truth = np.zeros(size, np.uint8)
    seen_now, seen_then = _light(size, rng), _light(size, rng)
    if rng.random() < 0.25:
        seen_then = seen_now
    if rng.random() < 0.35:
        seen_now, seen_then = _shadow_moved(seen_now, seen_then, rng)
    for _ in range(int(rng.choice([0, 1, 2, 3, 5], p=[0.2, 0.35, 0.25, 0.12, 0.08]))):
        _put(source, ground, now, then, truth, seen_now, seen_then, rng)
    if rng.random() < 0.2:
        _front(source, now, then, truth, rng)
    now, then = now * seen_now, then * seen_then
    if rng.random() < 0.15:  # the thing's own light, or glare
        now = now + _pool(size, rng) * rng.uniform(10, 60)
    if rng.random() < 0.15:  # rain, fog, a dirty lens: a veil takes contrast
        veil = rng.uniform(0.1, 0.5)
        now = now * (1 - veil) + rng.uniform(60, 220) * veil
    now = _moved(now, rng)
    return Pair(_camera(now, rng), _camera(then, rng), truth)


def _ground(source: Source, size: tuple[int, int], rng: np.random.Generator) -> Luma:
    ground = _plain(size, rng) if rng.random() < 0.3 else _crop(source, size, rng, 0.5, 1.6)
    if rng.random() < 0.35:  # weak texture, as pavements have
        ground = (ground - ground.mean()) * rng.uniform(0.05, 0.5) + rng.uniform(50, 200)
    return np.clip(ground, 0, 255).astype(np.float32)


def _plain(size: tuple[int, int], rng: np.random.Generator) -> Luma:
    height, width = size
    ground = np.full(size, rng.uniform(40, 210), np.float32)
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    ground += rng.uniform(-40, 40) * ys / height + rng.uniform(-40, 40) * xs / width
    for sigma in (0.7, 2.0, 8.0):
        noise = cv2.GaussianBlur(rng.normal(0, 1, size).astype(np.float32), (0, 0), sigma)
        ground += np.asarray(noise / max(float(noise.std()), 1e-6) * rng.uniform(0, 5), np.float32)
    if rng.random() < 0.6:  # joints of paving
        dark, step, slant = rng.uniform(5, 40), rng.uniform(6, 40), rng.uniform(-1, 1)
        ground -= dark * (np.mod(ys + slant * xs, step) < 1.2)
        if rng.random() < 0.7:
            ground -= dark * (np.mod(xs - slant * ys, step * rng.uniform(0.8, 2)) < 1.2)
    return ground


def _crop(source: Source, size: tuple[int, int], rng: np.random.Generator, least: float, most: float) -> Luma:
    photo = source.grounds[int(rng.integers(len(source.grounds)))]
    height, width = size
    fit = max(height / photo.shape[0], width / photo.shape[1])
    scale = max(fit, float(rng.uniform(least, most)))
    small = photo
    if scale < 1:
        small = _resized(photo, scale)
    elif scale > 1.02:
        tall, wide = min(photo.shape[0], int(height / scale) + 3), min(photo.shape[1], int(width / scale) + 3)
        y, x = rng.integers(photo.shape[0] - tall + 1), rng.integers(photo.shape[1] - wide + 1)
        small = _resized(photo[y : y + tall, x : x + wide], scale)
    if small.shape[0] < height or small.shape[1] < width:
        small = np.asarray(cv2.resize(small, (max(width, small.shape[1]), max(height, small.shape[0]))), np.uint8)
    y = rng.integers(small.shape[0] - height + 1)
    x = rng.integers(small.shape[1] - width + 1)
    part = small[y : y + height, x : x + width]
    if rng.random() < 0.5:
        part = part[:, ::-1]
    return part.astype(np.float32)


def _resized(photo: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(photo, None, fx=scale, fy=scale, interpolation=method), np.uint8)


def _outline(shape: tuple[int, int], rng: np.random.Generator) -> Luma:
    """Opacity of a made-up thing."""
    height, width = shape
    solid = np.zeros(shape, np.uint8)
    kind = rng.integers(6)
    if kind == 0:
        solid[:] = 1
    elif kind == 1:
        cv2.ellipse(
            solid, (width // 2, height // 2), (max(1, width // 2 - 1), max(1, height // 2 - 1)), 0, 0, 360, 1, -1
        )
    elif kind == 2:
        corners = rng.uniform(0, 1, (int(rng.integers(3, 9)), 2)) * (width - 1, height - 1)
        cv2.fillConvexPoly(solid, cv2.convexHull(corners.astype(np.int32)), 1)
    elif kind == 3:
        angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(6, 14))))
        reach = rng.uniform(0.45, 1, len(angles))
        corners = np.stack([np.cos(angles) * reach * width / 2, np.sin(angles) * reach * height / 2], 1)
        cv2.fillPoly(solid, [(corners + np.array([width, height]) / 2).astype(np.int32)], 1)
    elif kind == 4:  # a top on legs
        solid[: max(2, int(height * rng.uniform(0.15, 0.4)))] = 1
        thick = max(1, width // 14)
        for x in (thick, width - 1 - thick):
            cv2.line(solid, (x, 0), (x, height - 1), 1, thick)
    else:  # something blobby
        blobs = cv2.GaussianBlur(rng.normal(0, 1, shape).astype(np.float32), (0, 0), max(shape) / 6)
        ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
        dome = 1 - ((xs / width - 0.5) ** 2 + (ys / height - 0.5) ** 2) * 4.5
        solid = ((blobs / max(float(blobs.std()), 1e-6) * 0.35 + dome) > 0.15).astype(np.uint8)
    return solid.astype(np.float32)


def _thing(source: Source, shape: tuple[int, int], rng: np.random.Generator) -> tuple[Luma, Luma]:
    if len(source.cutouts) and rng.random() < 0.45:
        luma, opacity = source.cutouts[int(rng.integers(len(source.cutouts)))]
        scale = min(shape[0] / luma.shape[0], shape[1] / luma.shape[1])
        size = (max(5, round(luma.shape[1] * scale)), max(5, round(luma.shape[0] * scale)))
        luma = np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), np.float32)
        opacity = np.asarray(cv2.resize(opacity, size, interpolation=cv2.INTER_AREA), np.float32)
        if rng.random() < 0.5:
            luma, opacity = luma[:, ::-1], opacity[:, ::-1]
        return luma, opacity
    opacity = _outline(shape, rng)
    if rng.random() < 0.35:
        luma = np.full(shape, rng.uniform(10, 245), np.float32)
        luma += np.linspace(-1, 1, shape[1], dtype=np.float32) * rng.uniform(-25, 25)
        luma += cv2.GaussianBlur(rng.normal(0, 1, shape).astype(np.float32), (0, 0), 1) * rng.uniform(0, 12)
    else:
        luma = _crop(source, shape, rng, 0.3, 1.5)
    return luma, opacity


def _put(
    source: Source,
    ground: Luma,
    now: Luma,
    then: Luma,
    truth: NDArray[np.uint8],
    light_now: Luma,
    light_then: Luma,
    rng: np.random.Generator,
) -> None:
    """Put one thing, or two at one place, into the pictures and note it."""
    size = ground.shape
    tall = int(np.exp(rng.uniform(np.log(9), np.log(0.6 * size[0]))))
    wide = int(np.clip(tall * np.exp(rng.uniform(-0.8, 0.8)), 8, size[1] * 0.6))
    where = (int(rng.integers(-tall // 4, size[0] - tall // 2)), int(rng.integers(-wide // 4, size[1] - wide // 2)))
    lot = rng.random()
    faint = rng.uniform(7, 22) if rng.random() < 0.4 else None
    thing = _fainted(*_thing(source, (tall, wide), rng), ground, where, faint, rng)
    touch = rng.uniform(0.15, 0.6) if rng.random() < 0.6 else 0.0
    # as many came as went: else the network would do well to say "came" whenever something differs
    if lot < 0.41:
        covered = _paste(now, *thing, where, touch)
        _note(truth, covered, THING, ground, now, light_now)
    elif lot < 0.82:
        covered = _paste(then, *thing, where, touch)
        _note(truth, covered, GONE, ground, then, light_then)
    elif lot < 0.9:  # exchanged: for a place it is occupied by something new
        _paste(then, *_thing(source, (tall, wide), rng), where, touch)
        covered = _paste(now, *thing, where, touch)
        _note(truth, covered, THING, then, now, light_now)
    else:
        _paste(then, *thing, where, touch)
        _paste(now, *thing, where, touch)
        ys, xs = max(0, where[0]), max(0, where[1])
        part = (slice(ys, max(ys, where[0] + thing[0].shape[0])), slice(xs, max(xs, where[1] + thing[0].shape[1])))
        ground[part] = now[part]


def _fainted(
    luma: Luma, opacity: Luma, ground: Luma, where: tuple[int, int], levels: float | None, rng: np.random.Generator
) -> tuple[Luma, Luma]:
    """Bring a thing's greys near to those of its ground."""
    if levels is None:
        return luma, opacity
    y, x = max(0, where[0]), max(0, where[1])
    under = ground[y : where[0] + luma.shape[0], x : where[1] + luma.shape[1]]
    if under.size == 0:
        return luma, opacity
    shape = (luma - luma.mean()) / max(float(luma.std()), 1.0)
    painted = under.mean() + rng.choice([-1.0, 1.0]) * levels + shape * rng.uniform(0, 10)
    return np.clip(painted, 0, 255).astype(np.float32), opacity


def _paste(picture: Luma, luma: Luma, opacity: Luma, where: tuple[int, int], touch: float) -> Region:
    """Paste with a soft edge and a shadow where it touches the ground; gives what it covers."""
    height, width = picture.shape
    layer, alpha = np.zeros_like(picture), np.zeros_like(picture)
    y0, x0 = max(0, where[0]), max(0, where[1])
    y1, x1 = min(height, where[0] + luma.shape[0]), min(width, where[1] + luma.shape[1])
    if y0 >= y1 or x0 >= x1:
        return np.zeros(picture.shape, np.bool_)
    part = (slice(y0 - where[0], y1 - where[0]), slice(x0 - where[1], x1 - where[1]))
    layer[y0:y1, x0:x1], alpha[y0:y1, x0:x1] = luma[part], opacity[part]
    if touch:
        low, middle = min(height - 1, where[0] + luma.shape[0] - 1), where[1] + luma.shape[1] // 2
        pad = np.zeros_like(picture)
        axes = (max(1, luma.shape[1] // 2), max(1, luma.shape[0] // 12))
        cv2.ellipse(pad, (middle, low), axes, 0, 0, 360, touch, -1)
        picture *= 1 - cv2.GaussianBlur(pad, (0, 0), 1.2)
    soft = cv2.GaussianBlur(alpha, (0, 0), 0.5)
    picture += (layer - picture) * soft
    return np.asarray(alpha > 0.5, np.bool_)


def _note(truth: NDArray[np.uint8], covered: Region, what: int, ground: Luma, picture: Luma, light: Luma) -> None:
    if not covered.any():
        return
    apart = np.abs(picture - ground)[covered] * light[covered]
    truth[covered] = what if float(apart.mean()) >= VISIBLE_LEVELS else IGNORED


def _front(source: Source, now: Luma, then: Luma, truth: NDArray[np.uint8], rng: np.random.Generator) -> None:
    """Put a post or a rail before everything."""
    height, width = now.shape
    x, wide = int(rng.integers(0, width - 8)), int(rng.integers(2, 8))
    part = (slice(0, height), slice(x, x + wide))
    if rng.random() < 0.5:
        y = int(rng.integers(0, height - 8))
        part = (slice(y, y + int(rng.integers(2, 6))), slice(0, width))
    shape = now[part].shape
    luma = _crop(source, shape, rng, 0.3, 1.5) if rng.random() < 0.5 else np.full(shape, rng.uniform(10, 240))
    now[part], then[part], truth[part] = luma, luma, SAME


def _pool(size: tuple[int, int], rng: np.random.Generator) -> Luma:
    ys, xs = np.mgrid[0 : size[0], 0 : size[1]].astype(np.float32)
    x, y = rng.uniform(0, size[1]), rng.uniform(0, size[0])
    wide, tall = rng.uniform(20, 120), rng.uniform(15, 80)
    return np.asarray(np.exp(-(((xs - x) / wide) ** 2) - ((ys - y) / tall) ** 2), np.float32)


def _light(size: tuple[int, int], rng: np.random.Generator) -> Luma:
    """Gain of each pixel: weather, smooth unevenness, lamps, and shadows with any edge."""
    gain = np.full(size, np.exp(rng.normal(-0.1, 0.3)), np.float32)
    if rng.random() < 0.2:  # night
        gain *= rng.uniform(0.2, 0.5)
    if rng.random() < 0.5:
        coarse = rng.normal(0, rng.uniform(0.02, 0.25), (3, 4)).astype(np.float32)
        gain *= np.exp(cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC))
    if rng.random() < 0.25:
        gain *= 1 + rng.uniform(0.2, 1.8) * _pool(size, rng)
    for _ in range(int(rng.choice([0, 1, 2], p=[0.55, 0.3, 0.15]))):
        gain *= 1 - rng.uniform(0.15, 0.6) * _shade(size, rng)
    return gain


def _shadow_moved(now: Luma, then: Luma, rng: np.random.Generator) -> tuple[Luma, Luma]:
    """Cast one shadow into both lights, a few pixels on in the second: the sun has moved.

    The clear look may have followed it in some parts only, where nobody stood, and those end at any rim.
    """
    size = now.shape
    depth, shade = rng.uniform(0.2, 0.6), _shade(size, rng)
    shift = rng.uniform(-9, 9, 2)
    matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
    before = cv2.warpAffine(shade, matrix, size[::-1], borderMode=cv2.BORDER_REPLICATE)
    if rng.random() < 0.6:
        followed = _shade(size, rng)
        before = before + (shade - before) * followed
    return now * (1 - depth * shade), (then * (1 - depth * before)).astype(np.float32)


def _shade(size: tuple[int, int], rng: np.random.Generator) -> Luma:
    height, width = size
    solid = np.zeros(size, np.float32)
    kind = rng.integers(4)
    if kind == 0:  # of a house: a half plane
        ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
        angle = rng.uniform(0, 2 * np.pi)
        at = np.cos(angle) * (xs - rng.uniform(0, width)) + np.sin(angle) * (ys - rng.uniform(0, height))
        solid = (at > 0).astype(np.float32)
    elif kind == 1:  # of a pole
        ends = [tuple(map(int, rng.uniform(0, 1, 2) * (width, height))) for _ in range(2)]
        cv2.line(solid, ends[0], ends[1], 1.0, int(rng.integers(2, 25)))
    elif kind == 2:  # of a tree
        leaves = cv2.GaussianBlur(rng.normal(0, 1, size).astype(np.float32), (0, 0), rng.uniform(2, 9))
        solid = (leaves > leaves.std() * rng.uniform(-0.5, 1)).astype(np.float32)
    else:
        corners = rng.uniform(-0.2, 1.2, (int(rng.integers(3, 6)), 2)) * (width, height)
        cv2.fillConvexPoly(solid, cv2.convexHull(corners.astype(np.int32)), 1.0)
    return np.asarray(cv2.GaussianBlur(solid, (0, 0), float(np.exp(rng.uniform(np.log(0.5), np.log(12))))), np.float32)


def _moved(picture: Luma, rng: np.random.Generator) -> Luma:
    """What is left of a nudge after the pictures were laid over each other."""
    shift = rng.normal(0, 0.25 if rng.random() < 0.7 else 0.8, 2)
    turn = rng.normal(0, 0.002)
    matrix = np.array([[1, -turn, shift[0]], [turn, 1, shift[1]]], np.float32)
    return np.asarray(cv2.warpAffine(picture, matrix, picture.shape[::-1], borderMode=cv2.BORDER_REPLICATE), np.float32)


def _camera(picture: Luma, rng: np.random.Generator) -> Luma:
    """Focus, gamma, noise and codec of a camera, then the softening of the still scene."""
    if rng.random() < 0.25:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.3, 0.9)), np.float32)
    if rng.random() < 0.3:
        picture = 255 * np.power(np.clip(picture, 0, 255) / 255, rng.uniform(0.8, 1.25))
    noisy = picture + rng.normal(0, rng.uniform(0.2, 2.5), picture.shape)
    if rng.random() < 0.3:
        noisy = noisy + cv2.GaussianBlur(rng.normal(0, 1, picture.shape), (0, 0), 1.5) * rng.uniform(0.5, 5)
    coded = np.clip(noisy, 0, 255).round().astype(np.uint8)
    if rng.random() < 0.35:
        jpeg = cv2.imencode(".jpg", coded, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 92))])[1]
        coded = np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_GRAYSCALE), np.uint8)
    return np.asarray(cv2.GaussianBlur(coded.astype(np.float32), (0, 0), 0.8), np.float32)

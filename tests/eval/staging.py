"""Staged scenes: who walks, what is put down, taken or hidden, and the exact truth of it, from a seed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from tests.eval import backdrops, sprites
from tests.eval.backdrops import HEIGHT, HORIZON, WIDTH, Backdrop
from tests.eval.sprites import Cutouts, Sprite

LENGTH_S: Final = 120.0
LEARN_S: Final = 10.0
DWELL_S: Final = 10.0
CLEAR_S: Final = 5.0
MIN_SIDE_PX: Final = 24

Hardness = Literal["plain", "low_contrast", "night", "partly_hidden"]
HARD: Final[tuple[Hardness, ...]] = ("plain", "low_contrast", "night", "partly_hidden")
PLOTS: Final = ("stays", "taken", "exchanged", "shifted", "occluded", "nothing", "ghost", "taken_hidden")
SHAKES: Final = ("firm", "firm", "shake", "nudge")

PixelBox = tuple[int, int, int, int]
Span = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Prop:
    """A thing that stands at a place for a while."""

    sprite: Sprite
    x: int
    y: int
    span: Span


@dataclass(frozen=True, eq=False)
class Walker:
    """Somebody who crosses the picture, and may stop for a while.

    Args:
        frames: the figure in several strides.
        x_px_s: speed, px per second; the sign is the direction.
        stop: where (px) and when somebody stands; None for who walks through.
    """

    frames: tuple[Sprite, ...]
    from_s: float
    x_px_s: float
    foot_px: int
    stop: tuple[int, Span] | None = None
    phase: float = 0.0

    def at(self, t: float) -> tuple[Sprite, float, float] | None:
        """Figure and place (left, top, px) at an instant; None while out of the picture."""
        sprite = self.frames[int((t * 2.3 + self.phase) * len(self.frames)) % len(self.frames)]
        height, width = sprite.shape[:2]
        bob = 1.2 * np.sin(t * 9 + self.phase)
        if self.stop is not None:
            place, (begin_s, end_s) = self.stop
            if begin_s <= t < end_s:
                # people who stand shift their weight
                sway = height / 60 * (np.sin(t * 1.3 + self.phase) + 0.6 * np.sin(t * 3.1 + 2 * self.phase))
                return self.frames[0], place + sway, self.foot_px - height + 0.3 * sway
            along = place + abs(self.x_px_s) * ((t - begin_s) if t < begin_s else (t - end_s)) * np.sign(self.x_px_s)
        else:
            start = -width if self.x_px_s > 0 else WIDTH
            along = start + self.x_px_s * (t - self.from_s)
        if not -width < along < WIDTH:
            return None
        return sprite, float(along), self.foot_px - height + float(bob)


@dataclass(frozen=True)
class Stay:
    """The truth of one place: occupied during a span, and when it could not be seen."""

    box: tuple[float, float, float, float]
    span: Span
    hidden: tuple[Span, ...] = ()
    min_side_px: int = 0


@dataclass(frozen=True, eq=False)
class Scene:
    """One staged scene."""

    seed: int
    hardness: Hardness
    plot: str
    backdrop: Backdrop
    light_kind: str
    shake: str
    length_s: float
    props: tuple[Prop, ...]
    walkers: tuple[Walker, ...]
    stays: tuple[Stay, ...]
    gain: float = 1.0
    noise: float = 2.0
    quality: int = 80
    _light: backdrops.Light = field(repr=False, default=lambda _: np.ones((1, 1), np.float32))

    def hidden_share(self, box: tuple[float, float, float, float], t: float) -> float:
        """Share of a box that people stand or walk before at an instant: the exact truth."""
        return self._share(box, [shown for walker in self.walkers if (shown := walker.at(t)) is not None])

    def occupied_share(self, box: tuple[float, float, float, float], t: float) -> float:
        """Share of a box that things stand in at an instant: the exact truth."""
        there = [(one.sprite, one.x, one.y) for one in self.props if one.span[0] <= t < one.span[1]]
        return self._share(box, there)

    @staticmethod
    def _share(box: tuple[float, float, float, float], shown: Sequence[tuple[Sprite, float, float]]) -> float:
        canvas = np.zeros((HEIGHT, WIDTH, 3), np.float32)
        for sprite, x, y in shown:
            opaque = sprite.copy()
            opaque[..., :3] = 255
            _paste(canvas, opaque, x, y)
        left, top = round(box[0] * WIDTH), round(box[1] * HEIGHT)
        part = canvas[top : round((box[1] + box[3]) * HEIGHT), left : round((box[0] + box[2]) * WIDTH), 0]
        return float((part > 127).mean()) if part.size else 0.0

    def frames(self, sample_s: float) -> Iterator[tuple[float, NDArray[np.uint8]]]:
        """Render it: (seconds, picture of shape `(HEIGHT, WIDTH, 3)`), one per `sample_s`."""
        rng = np.random.default_rng([self.seed, 77])
        bank = rng.normal(0, 1, (HEIGHT + 64, WIDTH + 64)).astype(np.float32)
        base = self.backdrop.rgb.astype(np.float32)
        nudge = rng.uniform(2, 5, 2) * rng.choice([-1, 1], 2)
        for number in range(round(self.length_s / sample_s)):
            t = number * sample_s
            picture = base.copy()
            for prop in self.props:
                if prop.span[0] <= t < prop.span[1]:
                    _shadow(picture, prop.sprite, prop.x, prop.y)
                    _paste(picture, prop.sprite, prop.x, prop.y)
            if self.backdrop.front is not None:
                front = self.backdrop.front[..., None]
                picture = picture * (1 - front) + base * front
            for walker in self.walkers:
                shown = walker.at(t)
                if shown is not None:
                    _paste(picture, *shown)
            picture *= (self.gain * self._light(t))[..., None]
            shift = np.zeros(2)
            if self.shake == "shake":
                shift = rng.normal(0, 0.35, 2)
            elif self.shake == "nudge" and t >= self.length_s * 0.45:
                shift = nudge
            if shift.any():
                matrix = np.float32([[1, 0, shift[0]], [0, 1, shift[1]]])
                picture = cv2.warpAffine(picture, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
            dy, dx = rng.integers(0, 64, 2)
            picture += (self.noise * bank[dy : dy + HEIGHT, dx : dx + WIDTH])[..., None]
            levels = np.clip(picture, 0, 255).astype(np.uint8)
            coded = cv2.imencode(".jpg", levels, [cv2.IMWRITE_JPEG_QUALITY, self.quality])[1]
            yield t, np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)


def _paste(picture: NDArray[np.float32], sprite: Sprite, x: float, y: float) -> None:
    """Put a sprite in; a place between two pixels is honoured."""
    left, top = int(np.floor(x)), int(np.floor(y))
    shift = np.float32([[1, 0, x - left], [0, 1, y - top]])
    height, width = sprite.shape[:2]
    if shift[0, 2] or shift[1, 2]:
        sprite = cv2.warpAffine(sprite, shift, (width + 1, height + 1))
        height, width = height + 1, width + 1
    x0, y0, x1, y1 = max(0, left), max(0, top), min(WIDTH, left + width), min(HEIGHT, top + height)
    if x0 >= x1 or y0 >= y1:
        return
    part = sprite[y0 - top : y1 - top, x0 - left : x1 - left].astype(np.float32)
    opacity = part[..., 3:] / 255
    under = picture[y0:y1, x0:x1]
    under += (part[..., :3] - under) * opacity


def _shadow(picture: NDArray[np.float32], sprite: Sprite, x: int, y: int) -> None:
    """Darken the ground where a thing touches it."""
    height, width = sprite.shape[:2]
    margin = 6
    pad = np.zeros((16 + 2 * margin, width + 2 * margin), np.float32)
    cv2.ellipse(pad, (width // 2 + margin, 8 + margin), (width // 2, 5), 0, 0, 360, 0.4, -1)
    pad = cv2.GaussianBlur(pad, (0, 0), 2.5)
    top, left = y + height - 8 - margin, x - margin
    y0, x0, y1, x1 = max(0, top), max(0, left), min(HEIGHT, top + pad.shape[0]), min(WIDTH, left + pad.shape[1])
    if y0 < y1 and x0 < x1:
        picture[y0:y1, x0:x1] *= (1 - pad[y0 - top : y1 - top, x0 - left : x1 - left])[..., None]


@dataclass(frozen=True)
class Stage:
    """What scenes are made from; empty tuples: everything is drawn."""

    backdrops: tuple[Backdrop, ...] = ()
    cutouts: Cutouts = field(default_factory=Cutouts)

    def scene(self, seed: int) -> Scene:
        """Stage the scene of a seed. Each quarter of the seeds has one hardness; plots, light and shake go round."""
        rng = np.random.default_rng([seed, 4711])
        hardness, plot = HARD[seed % 4], PLOTS[(seed // 4) % len(PLOTS)]
        backdrop = self._backdrop(rng)
        length_s = LENGTH_S
        props, stays = self._props(plot, hardness, backdrop, rng)
        walkers = [self._walker(rng, length_s) for _ in range(int(rng.integers(3, 8)))]
        for stay in stays:
            for begin_s, end_s in stay.hidden:
                walkers += self._crowd_before(stay, (begin_s, end_s), rng)
        if hardness == "partly_hidden" and props:
            first = props[0]
            box = (first.x, first.y, first.sprite.shape[1], first.sprite.shape[0])
            backdrop = backdrops.with_front(backdrop, box, rng)
        light_kind = backdrops.LIGHTS[int(rng.integers(len(backdrops.LIGHTS)))]
        night = hardness == "night"
        gain = float(rng.uniform(0.22, 0.4)) if night else 1.0
        shake = SHAKES[int(rng.integers(len(SHAKES)))]
        return Scene(
            *(seed, hardness, plot, backdrop, light_kind, shake, length_s),
            *(tuple(props), tuple(walkers), tuple(stays)),
            gain=gain,
            noise=float(rng.uniform(4, 7) if night else rng.uniform(1, 3)),
            quality=int(rng.integers(60, 90)),
            _light=backdrops.light(light_kind, rng, length_s),
        )

    def _backdrop(self, rng: np.random.Generator) -> Backdrop:
        if self.backdrops and rng.random() < 0.6:
            return self.backdrops[int(rng.integers(len(self.backdrops)))]
        return backdrops.drawn(rng)

    def _thing(self, rng: np.random.Generator, width: int, height: int) -> Sprite:
        real = self.cutouts.things
        if real and rng.random() < 0.6:
            sprite = real[int(rng.integers(len(real)))]
            scale = min(width / sprite.shape[1], height / sprite.shape[0])
            size = (max(MIN_SIDE_PX, round(sprite.shape[1] * scale)), max(MIN_SIDE_PX, round(sprite.shape[0] * scale)))
            return np.asarray(cv2.resize(sprite, size, interpolation=cv2.INTER_AREA), np.uint8)
        return sprites.thing(rng, width, height)

    def _props(
        self, plot: str, hardness: Hardness, backdrop: Backdrop, rng: np.random.Generator
    ) -> tuple[list[Prop], list[Stay]]:
        if plot == "nothing":
            return [], []
        foot = rng.uniform(0.55, 0.95)
        scale = 0.35 + 0.65 * (foot - HORIZON) / (1 - HORIZON)
        width = max(MIN_SIDE_PX + 2, round(rng.uniform(60, 150) * scale))
        height = max(MIN_SIDE_PX + 2, round(rng.uniform(60, 130) * scale))
        x, y = int(rng.integers(30, WIDTH - 30 - width)), round(foot * HEIGHT) - height

        def made() -> Sprite:
            sprite = self._thing(rng, width, height)
            if hardness == "low_contrast":
                ground = backdrop.rgb[y : y + sprite.shape[0], x : x + sprite.shape[1]]
                return sprites.faint(sprite, ground, rng, rng.uniform(14, 20))
            return sprite

        first = made()
        appears_s = float(rng.uniform(25, 40))
        leaves_s = float(rng.uniform(68, 80))
        if plot == "ghost":  # it stood there from the start and is taken away; what comes later is another matter
            return [Prop(first, x, y, (0.0, appears_s))], []
        props = [Prop(first, x, y, (appears_s, LENGTH_S if plot in ("stays", "occluded") else leaves_s))]
        hidden: tuple[Span, ...] = ()
        if plot == "exchanged":
            props = [Prop(first, x, y, (appears_s, 52.0)), Prop(made(), x, y, (54.0, leaves_s))]
        elif plot == "shifted":
            aside = round(first.shape[1] * 0.3) * int(rng.choice([-1, 1]))
            props = [Prop(first, x, y, (appears_s, 52.0)), Prop(first, x + aside, y, (52.0, leaves_s))]
        elif plot == "occluded":
            hidden = ((60.0, float(rng.uniform(80, 100))),)
        elif plot == "taken_hidden":
            hidden = ((62.0, float(leaves_s + rng.uniform(4, 12))),)
        span = (props[0].span[0], props[-1].span[1])
        left = min(prop.x for prop in props)
        top = min(prop.y for prop in props)
        right = max(prop.x + prop.sprite.shape[1] for prop in props)
        low = max(prop.y + prop.sprite.shape[0] for prop in props)
        box = (left / WIDTH, top / HEIGHT, (right - left) / WIDTH, (low - top) / HEIGHT)
        return props, [Stay(box, span, hidden, min(first.shape[:2]))]

    def _figure(self, rng: np.random.Generator, height: int) -> tuple[Sprite, ...]:
        real = self.cutouts.people
        if real and rng.random() < 0.6:
            sprite = real[int(rng.integers(len(real)))]
            size = (max(6, round(sprite.shape[1] * height / sprite.shape[0])), height)
            still = np.asarray(cv2.resize(sprite, size, interpolation=cv2.INTER_AREA), np.uint8)
            lean = np.float32([[1, 0.05, -0.05 * height / 2], [0, 1, 0]])
            return still, np.asarray(cv2.warpAffine(still, lean, size), np.uint8)
        coat = int(rng.integers(1 << 30))
        strides = (0.0, 0.6, 1.0, 0.5, -0.4, -0.9)
        return tuple(sprites.person(np.random.default_rng(coat), height, stride) for stride in strides)

    def _walker(self, rng: np.random.Generator, length_s: float) -> Walker:
        foot = round(HEIGHT * rng.uniform(0.5, 1.0))
        height = round((0.25 + 0.75 * (foot / HEIGHT - HORIZON) / (1 - HORIZON)) * rng.uniform(150, 190))
        speed = height * rng.uniform(0.5, 0.9) * float(rng.choice([-1, 1]))
        stop = None
        if rng.random() < 0.35:
            begin_s = float(rng.uniform(12, length_s - 30))
            stop = (int(rng.integers(20, WIDTH - 80)), (begin_s, begin_s + float(rng.uniform(5, 25))))
        frames, from_s = self._figure(rng, height), float(rng.uniform(-5, length_s))
        return Walker(frames, from_s, float(speed), foot, stop, float(rng.uniform(0, 6)))

    def _crowd_before(self, stay: Stay, span: Span, rng: np.random.Generator) -> list[Walker]:
        """People who stand before a place, shoulder to shoulder, so that it is hidden."""
        x, y, w, h = stay.box[0] * WIDTH, stay.box[1] * HEIGHT, stay.box[2] * WIDTH, stay.box[3] * HEIGHT
        height = max(round(h * 1.5), 90)
        figures = []
        at = x - height * 0.25
        while at < x + w:
            frames = (sprites.person(np.random.default_rng(int(rng.integers(1 << 30))), height, 0.0),)
            speed = float(rng.choice([-1, 1])) * height * 0.7
            figures.append(Walker(frames, 0.0, speed, round(y + h + 8), (round(at), span), float(rng.uniform(0, 6))))
            at += height * 0.2
        return figures


def seeds(count: int, first: int = 0) -> Sequence[int]:
    """The seeds of a run."""
    return range(first, first + count)

"""Staged days: a street from morning to morning, one sample each 5 s, under everything that is no encroachment.

The sun goes round and its shadows with it, clouds, dusk and street lamps or infrared, rain, headlights, a nudge, people
who pass and who stand for minutes. A few true things are put down as well, so that silence alone is no success. The
pictures are I420 at the still scene's own size, their luma encoded again: a day is 17,280 of them. A camera with
infrared loses its colours from one sample to the next when it is dark, and has them again in the morning.
"""

import math
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from tests.eval import backdrops, sprites, staged
from tests.eval.backdrops import HORIZON
from tests.eval.scoring import Report, fits, watch
from tests.eval.staging import Stay

WIDTH, HEIGHT = 320, 180
DAY_S: Final = 86400.0
START_S: Final = 9 * 3600.0
"""Local time at which a day begins: the place is learned in the morning."""
SAMPLE_S: Final = 5.0
DWELL_S: Final = 180.0
CLEAR_S: Final = 60.0
LEARN_S: Final = 60.0
CONFIDENCE: Final = 0.95
DARK: Final = 0.5
"""Share of the lamps in the light from which a camera sees by infrared."""
COLOURLESS: Final = 3.0
"""Mean chroma of a street below which its camera has no colours to lose."""

Luma = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Figure:
    """Somebody or something in luma with opacity, and where it is when."""

    lumas: tuple[Luma, ...]
    opacities: tuple[Luma, ...]
    times_s: NDArray[np.float64]
    xs: NDArray[np.float64]
    foot: float
    sway: float
    phase: float

    def paint(self, picture: Luma, t: float) -> None:
        """Put it into a picture."""
        if not self.times_s[0] <= t < self.times_s[-1]:
            return
        walking = np.interp(t + 0.5, self.times_s, self.xs) != np.interp(t - 0.5, self.times_s, self.xs)
        n = int(t * 2.3 + self.phase) % len(self.lumas) if walking else 0
        shift = self.sway * (math.sin(t * 0.7 + self.phase) + 0.6 * math.sin(t * 1.9 + 2 * self.phase))
        height = self.lumas[n].shape[0]
        x = float(np.interp(t, self.times_s, self.xs)) + shift
        _paste(picture, self.lumas[n], self.opacities[n], x, self.foot - height)


def _paste(picture: Luma, luma: Luma, opacity: Luma, x: float, y: float) -> None:
    left, top = math.floor(x), math.floor(y)
    height, width = luma.shape
    matrix = np.array([[1, 0, x - left], [0, 1, y - top]], np.float32)
    size = (width + 1, height + 1)
    luma = cv2.warpAffine(luma, matrix, size, borderMode=cv2.BORDER_REPLICATE)
    opacity = cv2.warpAffine(opacity, matrix, size)
    x0, y0, x1, y1 = max(0, left), max(0, top), min(WIDTH, left + width + 1), min(HEIGHT, top + height + 1)
    if x0 < x1 and y0 < y1:
        part = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
        under = picture[y0:y1, x0:x1]
        under += (luma[part] - under) * opacity[part]


@dataclass(frozen=True, eq=False)
class Day:
    """One staged day."""

    seed: int
    visible: Luma
    """The street in daylight, 0 to 255."""
    infrared: Luma | None
    """The same as the camera shows it under infrared; None: it has none, and sees by the street's lamps."""
    chroma: NDArray[np.uint8]
    """The street's colours, shape `(HEIGHT / 2, WIDTH)`: both planes of I420."""
    figures: tuple[Figure, ...]
    props: tuple[tuple[Stay, Luma, Luma], ...]

    @property
    def stays(self) -> tuple[Stay, ...]:
        """What really stood there."""
        return tuple(stay for stay, _, _ in self.props)

    def pictures(self, length_s: float = DAY_S) -> Iterator[tuple[float, NDArray[np.uint8]]]:
        """Render it: (seconds, I420 planes of shape `(3 HEIGHT / 2, WIDTH)`)."""
        rng = np.random.default_rng([self.seed, 5])
        weather = _Weather(self.seed)
        bank = rng.normal(0, 1, (HEIGHT + 64, WIDTH + 64)).astype(np.float32)
        nudge_s, nudge = rng.uniform(0.1, 0.9) * DAY_S, rng.uniform(0.8, 2.5, 2) * rng.choice([-1, 1], 2)
        exposure = 1.0
        for number in range(int(length_s / SAMPLE_S)):
            t = number * SAMPLE_S
            dark = self.infrared is not None and weather.night(t) > DARK
            picture = self.infrared.copy() if self.infrared is not None and dark else self.visible.copy()
            for stay, luma, opacity in self.props:
                if stay.span[0] <= t < stay.span[1]:
                    _paste(picture, luma, opacity, stay.box[0] * WIDTH, stay.box[1] * HEIGHT)
            for figure in self.figures:
                figure.paint(picture, t)
            picture *= weather.light(t)
            rain = weather.rain(t)
            if rain > 0:
                picture = picture * (1 - 0.35 * rain) + 0.35 * rain * 90
            # the camera's own exposure comes to rest within some samples
            exposure += 0.5 * (float(np.clip(105 / max(1.0, picture.mean()), 0.6, 5.0)) - exposure)
            shift = rng.normal(0, 0.12, 2) + (nudge if t >= nudge_s else 0)
            matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
            picture = cv2.warpAffine(picture * exposure, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
            dy, dx = rng.integers(0, 64, 2)
            noise = 0.8 + 1.3 * max(0.0, exposure - 0.8) + 3 * rain
            picture += noise * bank[dy : dy + HEIGHT, dx : dx + WIDTH]
            coded = cv2.imencode(".jpg", np.clip(picture, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 70])[1]
            chroma = np.full_like(self.chroma, 128) if dark else self.chroma
            yield t, np.concatenate([np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), np.uint8), chroma])


class _Weather:
    """Sun, clouds, shadows, lamps, headlights and rain of one day."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng([seed, 6])
        self._rng = rng
        self._ys, self._xs = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
        self._cloud_times = np.cumsum(rng.exponential(240, 800))
        self._clouds = rng.choice([0.0, 0.0, 0.3, 1.0], 800) * rng.uniform(0.6, 1, 800)
        self._angle, self._soft = rng.uniform(-1.0, 1.0), rng.uniform(0.8, 5)
        self._depth = rng.uniform(0.3, 0.55)
        leaves = cv2.GaussianBlur(rng.normal(0, 1, (HEIGHT, 2 * WIDTH)).astype(np.float32), (0, 0), rng.uniform(3, 7))
        self._leaves = 1 / (1 + np.exp(-np.clip(leaves / max(float(leaves.std()), 1e-6) * 4, -20, 20)))
        self._tree = rng.uniform(0, 0.4) if rng.random() < 0.6 else 0.0
        self._lamps = sum(
            rng.uniform(0.6, 1.4)
            * np.exp(
                -(((self._xs - rng.uniform(0, WIDTH)) / rng.uniform(40, 90)) ** 2)
                - ((self._ys - rng.uniform(60, HEIGHT)) / rng.uniform(40, 80)) ** 2
            )
            for _ in range(int(rng.integers(1, 4)))
        )
        self._headlights = np.sort(rng.uniform(0, DAY_S, 400))
        self._rows = rng.uniform(0.45, 0.9, 400) * HEIGHT
        begins = rng.uniform(0, DAY_S, int(rng.integers(0, 3)))
        self._spells = [(begin, begin + rng.uniform(1200, 5400)) for begin in begins]

    def _sun(self, t: float) -> float:
        hour = (START_S + t) / 3600 % 24
        return max(0.0, math.sin(math.pi * (hour - 6) / 12))

    def night(self, t: float) -> float:
        """Share of the lamps in the light: they go on slowly."""
        return float(np.clip((0.06 - self._sun(t)) / 0.04, 0, 1))

    def rain(self, t: float) -> float:
        """0 to 1, rising and ceasing within minutes."""
        return max((float(np.clip(min(t - begin, end - t) / 180, 0, 1)) for begin, end in self._spells), default=0.0)

    def light(self, t: float) -> Luma:
        """Gain of each pixel."""
        sun = self._sun(t)
        night = self.night(t)
        cloudy = max(float(np.interp(t, self._cloud_times, self._clouds)), self.rain(t))
        gain = np.full((HEIGHT, WIDTH), 0.12 + 0.6 * math.sqrt(sun), np.float32)
        direct = 0.55 * sun * (1 - cloudy)
        if direct > 0.01:
            along = self._xs + math.tan(self._angle) * self._ys
            edge = (math.cos(math.pi * (((START_S + t) / 3600 % 24) - 6) / 12) * 0.8 + 0.5) * WIDTH
            shade = 1 / (1 + np.exp(np.clip((along - edge) / self._soft, -20, 20)))
            if self._tree:
                x = int((t / DAY_S * 3 * WIDTH) % WIDTH)
                shade = np.maximum(shade, self._tree / 0.4 * self._leaves[:, x : x + WIDTH])
            gain += direct * (1 - self._depth / 0.55 * shade)
        if night > 0:
            gain += 0.15 * night * self._lamps
            near = np.searchsorted(self._headlights, t)
            for n in range(max(0, near - 3), min(len(self._headlights), near + 1)):
                at = (t - self._headlights[n]) / 12
                if 0 <= at < 1:
                    x = (at * 1.4 - 0.2) * WIDTH
                    gain += 0.8 * np.exp(-(((self._xs - x) / 45) ** 2) - ((self._ys - self._rows[n]) / 25) ** 2)
        return gain


def _luma(sprite: sprites.Sprite, height: int) -> tuple[Luma, Luma]:
    width = max(3, round(sprite.shape[1] * height / sprite.shape[0]))
    small = cv2.resize(sprite, (width, height), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small[..., :3], cv2.COLOR_RGB2GRAY).astype(np.float32), small[..., 3].astype(np.float32) / 255


def _scale(foot: float) -> float:
    return 0.25 + 0.75 * (foot / HEIGHT - HORIZON) / (1 - HORIZON)


def _somebody(rng: np.random.Generator, people: Sequence[sprites.Sprite]) -> Figure:
    foot = HEIGHT * rng.uniform(0.5, 1.0)
    height = max(12, round(_scale(foot) * rng.uniform(75, 95)))
    if people and rng.random() < 0.5:
        sprite = people[int(rng.integers(len(people)))]
        drawn = [_luma(sprite, height)]
    else:
        coat = int(rng.integers(1 << 30))
        strides = [sprites.person(np.random.default_rng(coat), 2 * height, one) for one in (0.0, 0.7, -0.6)]
        drawn = [_luma(stride, height) for stride in strides]
    hour = rng.choice(24, p=_BUSY)
    begin_s = ((hour + rng.random()) * 3600 - START_S) % DAY_S
    speed = height * rng.uniform(0.4, 0.8)
    across_s = (WIDTH + 40) / speed
    way = [-20.0, WIDTH + 20.0] if rng.random() < 0.5 else [WIDTH + 20.0, -20.0]
    if rng.random() < 0.2:
        stands_s, share = float(np.exp(rng.uniform(np.log(20), np.log(600)))), rng.uniform(0.2, 0.8)
        place = way[0] + share * (way[1] - way[0])
        times = np.cumsum([begin_s, share * across_s, stands_s, (1 - share) * across_s])
        xs = np.array([way[0], place, place, way[1]])
    else:
        times, xs = np.array([begin_s, begin_s + across_s]), np.array(way)
    lumas, opacities = zip(*drawn, strict=True)
    return Figure(lumas, opacities, times, xs, foot, height / 60, rng.uniform(0, 6))


_BUSY: Final = np.array([1, 1, 1, 1, 1, 2, 5, 10, 12, 10, 10, 12, 14, 12, 10, 10, 12, 14, 14, 12, 10, 8, 4, 2], float)
_BUSY /= _BUSY.sum()


@cache
def _stage(shared: Path | None) -> tuple[tuple[backdrops.Backdrop, ...], tuple[sprites.Sprite, ...]]:
    stage = staged.stage(shared)
    return stage.backdrops, stage.cutouts.people


def day(seed: int, shared: Path | None) -> Day:
    """Stage the day of a seed."""
    rng = np.random.default_rng([seed, 4])
    streets, people = _stage(shared)
    street = streets[int(rng.integers(len(streets)))] if streets and rng.random() < 0.6 else backdrops.drawn(rng)
    rgb = cv2.resize(street.rgb, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA).astype(np.float32)
    visible = rgb @ np.array([0.299, 0.587, 0.114], np.float32)
    chroma = cv2.cvtColor(rgb.astype(np.uint8), cv2.COLOR_RGB2YUV_I420)[HEIGHT:]
    coloured = 2 * float(np.abs(chroma.astype(np.float32) - 128).mean()) >= COLOURLESS
    infrared = None
    if rng.random() < 0.5 and coloured:
        infrared = np.clip(rgb @ np.array([0.7, -0.1, 0.4], np.float32), 5, 255)
    figures = tuple(_somebody(rng, people) for _ in range(int(rng.integers(500, 1500))))
    props = []
    for _ in range(3):
        foot = HEIGHT * rng.uniform(0.55, 0.95)
        tall = max(14, round(_scale(foot) * rng.uniform(35, 60)))
        wide = max(14, round(tall * rng.uniform(0.8, 1.6)))
        luma, opacity = _luma(sprites.thing(rng, 2 * wide, 2 * tall), tall)
        begin_s = float(rng.uniform(1800, DAY_S - 7200))
        x, y = int(rng.integers(5, WIDTH - luma.shape[1] - 5)), round(foot) - tall
        box = (x / WIDTH, y / HEIGHT, luma.shape[1] / WIDTH, tall / HEIGHT)
        stay = Stay(box, (begin_s, begin_s + float(rng.uniform(900, 3600))))
        if not any(_meets(stay.box, other.box) for other, _, _ in props):
            props.append((stay, luma, opacity))
    return Day(seed, visible, infrared, chroma, figures, tuple(props))


def _meets(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]


def play(seed: int, shared: Path | None, length_s: float = DAY_S) -> tuple[int, int, list[Report]]:
    """Watch one day: things found, things missed, false reports."""
    staged_day = day(seed, shared)
    reports = watch(staged_day.pictures(length_s), dwell_s=DWELL_S, learn_s=LEARN_S, clear_s=CLEAR_S, sample_s=SAMPLE_S)
    found, used = 0, set()
    stays = [stay for stay in staged_day.stays if stay.span[0] + DWELL_S + 60 < length_s]
    for stay in staged_day.stays:
        mine = {n for n, report in enumerate(reports) if fits(stay, report, DWELL_S)}
        used |= mine
        found += bool(mine) and stay in stays
    return found, len(stays) - found, [report for n, report in enumerate(reports) if n not in used]


def upper_bound(events: int, days: float) -> float:
    """Events a day that are not exceeded with a confidence of 95 %, if they come at random (Poisson, exact)."""
    low, high = 0.0, 10.0 + 5 * events
    for _ in range(60):
        mean = (low + high) / 2
        seen = sum(math.exp(-mean) * mean**n / math.factorial(n) for n in range(events + 1))
        low, high = (mean, high) if seen > 1 - CONFIDENCE else (low, mean)
    return low / days


def figures(count: int, shared: Path | None, workers: int, first: int = 0, length_s: float = DAY_S) -> dict[str, float]:
    """Watch several days."""
    _stage(shared)
    with ProcessPoolExecutor(workers) as pool:
        seeds = range(first, first + count)
        played = []
        for seed, one in zip(seeds, pool.map(play, seeds, [shared] * count, [length_s] * count), strict=True):
            found, missed, reports = one
            said = f"day {seed}: {found} found, {missed} missed, {len(reports)} false {reports}"
            print(said, file=sys.stderr, flush=True)
            played.append(one)
    false = sum(len(reports) for _, _, reports in played)
    days = count * length_s / DAY_S
    return {
        "camera_days": round(days, 2),
        "found": sum(found for found, _, _ in played),
        "missed": sum(missed for _, missed, _ in played),
        "false_incidents": false,
        "false_a_day_upper_bound": round(upper_bound(false, days), 3),
    }

"""The still scene: what stands on the street and was not there when the place was clear, whatever it is called.

Method, per sample of luma at 320 px width:

1. The *still* picture is the temporal median of the last seconds; people who pass vanish from it. A pixel is *settled*
   where most of those samples agree with the median.
2. Two pictures are compared by structure, not by brightness: the normalised difference of their gradients in a 7 × 7
   window, and the local log-ratio of brightness after the change of light of the whole picture is taken out
   (`difference`).
3. Each pixel remembers the *look* that differs from the clear reference and since when it has kept it. A pixel is
   clear, occupied (its look is seen) or not seen (something stands in front of it, or it does not settle). A look gives
   way to another only when that one was observed for longer: a passer-by who stops in front of a stall takes nothing
   from its dwell.
4. Items are regions of pixels whose look is as old as a rule asks and that keep still (`StillView.items`): a person who
   stands sways, so that their outline moves by a good part of a pixel between two samples, a thing's does not. Items
   have no identity of their own: a place has.

Ghosts, that is people who stood in the reference and left, are told from items by their outline: it is in the
reference, not in the still picture. Such pixels are learned again.
"""

from collections import deque
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from protocol.geometry import Box, Polygon

Mask = NDArray[np.bool_]
Picture = NDArray[np.float32]

WIDTH_PX: Final = 320
WINDOW_S: Final = 6.0
MIN_SAMPLES: Final = 5
MAX_SAMPLES: Final = 9
SETTLED_SHARE: Final = 0.6
SURE_SHARE: Final = 0.7

STRUCTURE_WINDOW_PX: Final = (7, 7)
RIM_SHARE: Final = 0.1
"""Less than one of the seven rows of a window."""
STRUCTURE_LIMIT: Final = 0.5
"""Between the same gradients (0) and unrelated ones (1)."""
BRIGHTNESS_LIMIT: Final = 0.45
"""Log-ratio; e^0.45 = 1.57. A thing on the pavement is darker or brighter than that, or shows in its gradients."""
GRADIENT_NOISE: Final = 2.0
"""Grey levels per pixel; gradients below it are noise of sensor and codec."""
AGREEMENT: Final = 8.0
"""Grey levels within which a sample agrees with the median."""

FORGET_S: Final = 3.0
"""A look is forgotten once its pixel was seen clear for this long."""
STUBBORN_S: Final = 120.0
"""A look observed for this long gives way to any other that stays as long."""
FOLLOW_S: Final = 120.0
"""Time constant with which the reference follows slow changes of light where the place is clear."""
RESTLESS_PX: Final = 0.15
"""Mean shift of a region's edges between two samples, in pixels at WIDTH_PX, beyond the camera's noise. Measured: a bag
0.00 to 0.03, parked cars 0.02, people who stand for ten seconds and more 0.24 to 6."""
CALM_SHARE: Final = 0.75
"""So many of the steps must be calm: people do stand still for seconds; a passer-by in front of a thing takes one."""
GHOST_RATIO: Final = 1.6
"""Strength of a region's outline in the reference against the still picture. Measured: a bag on a pavement 1.06 to 1.1,
rendered things that were put down 0.27 to 0.45, the same things when they left 2.25 to 3.7."""
CLEAR_SHARE: Final = 0.9
"""So much of a place must be seen clear; the rest may be noise at its edges."""
DISTURBED_SHARE: Final = 0.5
"""A still picture that differs in more of its area than this shows another view, not items."""


class PlaceState(Enum):
    """What can be said of a place right now."""

    CLEAR = "clear"
    OCCUPIED = "occupied"
    NOT_SEEN = "not_seen"


@dataclass(frozen=True)
class StillItem:
    """A region that has kept one look for longer than was asked."""

    box: Box
    area: float
    """Share of the picture."""
    since_s: float


@dataclass(frozen=True)
class Motion:
    """How much moved between the samples of the window."""

    steps: NDArray[np.float32]
    """Shape `(k, h, w)`: grey levels between neighbouring samples, the camera's noise taken off."""
    edges: Picture
    """Shape `(h, w)`: strength of the gradients of the still picture."""

    def shift_px(self, region: Mask) -> float:
        """Mean shift of a region's edges per sample; a change of d grey levels on a slope of g is a shift of d / g."""
        strength = float(self.edges[region].sum())
        shifts = self.steps[:, region].sum(1) / max(strength, 1.0)
        return float(np.quantile(shifts, CALM_SHARE))


@dataclass(frozen=True)
class StillView:
    """What the still scene knows after one sample. Arrays are `(h, w)` at `WIDTH_PX` width."""

    time_s: float
    sure: Mask
    """The reference is known."""
    clear: Mask
    held: Mask
    """A look other than the reference is remembered."""
    seen: Mask
    """The remembered look is seen right now."""
    since_s: NDArray[np.float64]
    """Since when the look was kept; meaningless where not held."""
    clear_since_s: NDArray[np.float64]
    """Since when the place was seen clear; meaningless where not clear."""
    motion: "Motion"
    disturbed: bool

    def learned_share(self, zone: Mask) -> float:
        """Share of a zone whose clear look is known."""
        return float(self.sure[zone].mean()) if zone.any() else 1.0

    def items(self, zone: Mask, min_area: float, min_age_s: float) -> tuple[StillItem, ...]:
        """Find regions in a zone that have kept their look, and still, for at least `min_age_s`.

        Args:
            zone: shape `(h, w)`.
            min_area: smallest region, as a share of the picture.
            min_age_s: 0 for everything that settled.
        """
        age_s = self.time_s - self.since_s
        looks = self.held & self.seen & zone
        height, width = looks.shape
        min_px = max(1, round(min_area * looks.size))
        found = []
        # what is half as old belongs to the same thing: its parts settle one after the other
        for region in _regions(looks & (age_s >= min_age_s / 2), min_px):
            aged = region & (age_s >= min_age_s)
            if int(aged.sum()) < min_px or self.motion.shift_px(aged) > RESTLESS_PX:
                continue
            ys, xs = np.nonzero(region)
            x, y = int(xs.min()), int(ys.min())
            box = (x / width, y / height, (int(xs.max()) + 1 - x) / width, (int(ys.max()) + 1 - y) / height)
            found.append(StillItem(box, float(len(xs)) / looks.size, float(np.median(self.since_s[aged]))))
        return tuple(found)

    def place(self, zone: Mask, box: Box, min_area: float) -> tuple[PlaceState, float]:
        """Say whether a place inside a zone is clear, occupied or not seen, and for clear since when.

        Clear needs nearly all of it to be seen clear; occupied needs half as much of a remembered look as an item.
        """
        inside = zone & _box_mask(box, zone.shape)
        total = int(inside.sum())
        if total == 0 or self.disturbed:
            return PlaceState.NOT_SEEN, self.time_s
        if int((self.held & self.seen & inside).sum()) >= max(1.0, min_area * zone.size / 2):
            return PlaceState.OCCUPIED, self.time_s
        clear = self.clear & inside
        if int(clear.sum()) >= CLEAR_SHARE * total:
            return PlaceState.CLEAR, float(np.quantile(self.clear_since_s[clear], CLEAR_SHARE))
        return PlaceState.NOT_SEEN, self.time_s


def zone_mask(polygon: Polygon, shape: tuple[int, int]) -> Mask:
    """Rasterise a polygon of picture coordinates at `(h, w)`."""
    height, width = shape
    corners = np.round(np.asarray(polygon) * (width, height) * 16).astype(np.int32) - 8
    raster = np.zeros(shape, np.uint8)
    cv2.fillPoly(raster, [corners], 1, shift=4)
    return raster.astype(np.bool_)


def _box_mask(box: Box, shape: tuple[int, ...]) -> Mask:
    height, width = shape
    mask = np.zeros((height, width), np.bool_)
    x, y, w, h = box
    mask[int(y * height) : int(np.ceil((y + h) * height)), int(x * width) : int(np.ceil((x + w) * width))] = True
    return mask


def _regions(mask: Mask, min_px: int) -> list[Mask]:
    """Connected regions after small gaps are closed, without the gaps; largest first."""
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(closed, connectivity=8)
    order = sorted(range(1, count), key=lambda label: -int(stats[label, cv2.CC_STAT_AREA]))
    regions = [(labels == label) & mask for label in order if stats[label, cv2.CC_STAT_AREA] >= min_px]
    return [region for region in regions if int(region.sum()) >= min_px]


def _gradients(picture: Picture) -> tuple[Picture, Picture]:
    """Grey levels per pixel along x and y (Scharr)."""
    x = cv2.Scharr(picture, cv2.CV_32F, 1, 0, scale=1 / 32)
    y = cv2.Scharr(picture, cv2.CV_32F, 0, 1, scale=1 / 32)
    return np.asarray(x, np.float32), np.asarray(y, np.float32)


def _softened(luma: NDArray[np.uint8]) -> Picture:
    """Take the finest noise of sensor and codec away."""
    return np.asarray(cv2.GaussianBlur(luma.astype(np.float32), (0, 0), 0.8), np.float32)


def _first_instant(agrees: NDArray[np.bool_], times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Date the still picture back to the first of two samples in a row that agree with it.

    One alone may be a passer-by of the same grey; too late is fairer to a shop than too early.
    """
    pairs = agrees[:-1] & agrees[1:]
    return np.asarray(np.where(pairs.any(0), times_s[pairs.argmax(0)], times_s[-1]), np.float64)


def _latest_nearby(first_s: NDArray[np.float64], among: Mask) -> NDArray[np.float64]:
    """Date each pixel by the latest one in its window.

    The rim of a region differs because of its neighbours and kept its own grey all the time; other pixels agreed with
    the ground by chance.
    """
    origin_s = float(first_s.min())
    ages = np.where(among, first_s - origin_s, 0).astype(np.float32)
    return np.asarray(cv2.dilate(ages, np.ones(STRUCTURE_WINDOW_PX)), np.float64) + origin_s


def _motion(stack: NDArray[np.float32], still: Picture) -> Motion:
    steps = np.abs(np.diff(stack, axis=0))
    noise = np.median(steps[:, ::3, ::3], axis=(1, 2), keepdims=True)
    return Motion(steps - noise, np.hypot(*_gradients(still)))


def difference(a: Picture, b: Picture) -> Mask:
    """Say where two pictures of the same view show different things, whatever the light.

    The structural part is |∇a - ∇b|² / (|∇a|² + |∇b|²) over a window: 0 for the same structure, 0.13 where the light
    fell to 60 %, 1 where the structures have nothing in common. The other part is for plain things on plain ground.
    """
    (ax, ay), (bx, by) = _gradients(a), _gradients(b)
    apart = cv2.blur((ax - bx) ** 2 + (ay - by) ** 2, STRUCTURE_WINDOW_PX)
    strength = cv2.blur(ax * ax + ay * ay + bx * bx + by * by, STRUCTURE_WINDOW_PX) + 2 * GRADIENT_NOISE**2
    # eight grey levels keep the ratio calm in the dark
    ratio = np.log((cv2.blur(a, (5, 5)) + 8) / (cv2.blur(b, (5, 5)) + 8))
    ratio -= np.median(ratio[::4, ::4])
    return np.asarray((apart / strength > STRUCTURE_LIMIT) | (np.abs(ratio) > BRIGHTNESS_LIMIT), np.bool_)


class StillScene:
    """The memory of one camera's still scene. Times are seconds since the epoch and never run back."""

    def __init__(self, learn_s: float) -> None:
        self._learn_s = learn_s
        self._samples: deque[tuple[float, Picture, Mask]] = deque()
        self._learning: list[Picture] = []
        self._learn_from_s = 0.0
        self._last_s: float | None = None
        self._reference: Picture | None = None

    @property
    def learned(self) -> bool:
        """Whether a reference exists."""
        return self._reference is not None

    def observe(self, luma: NDArray[np.uint8], time_s: float, hidden: tuple[Box, ...] = ()) -> StillView | None:
        """Take one sample; None while the reference is being learned, or too little is known of the present.

        Args:
            luma: shape `(h, WIDTH_PX)`, always the same.
            time_s: of the picture.
            hidden: boxes where something is known to stand in front, such as people that a detector found.
        """
        sample = _softened(luma)
        covered = np.zeros(sample.shape, np.bool_)
        for box in hidden:
            covered |= _box_mask(box, sample.shape)
        if self._reference is not None and self._reference.shape != sample.shape:
            self.reset()
        elapsed_s = 0.0 if self._last_s is None else max(0.0, time_s - self._last_s)
        self._last_s = time_s
        self._samples.append((time_s, sample, covered))
        self._trim(time_s)
        if self._reference is None:
            self._learn(sample, time_s)
            return None
        if len(self._samples) < MIN_SAMPLES:
            return None
        return self._advance(time_s, elapsed_s)

    def looks_clear(self, luma: NDArray[np.uint8]) -> Mask | None:
        """Say where one single picture looks as the clear place does; None while that is not known."""
        if self._reference is None or self._reference.shape != luma.shape:
            return None
        return self._sure & ~difference(_softened(luma), self._reference)

    def distrust(self, boxes: tuple[Box, ...]) -> None:
        """Forget what is clear in some boxes: the reference was learned while something stood there."""
        if self._reference is not None:
            for box in boxes:
                self._sure &= ~_box_mask(box, self._sure.shape)
                self._distrusted |= _box_mask(box, self._sure.shape)

    def reset(self) -> None:
        """Forget everything and learn anew."""
        self._reference = None
        self._samples.clear()
        self._learning.clear()
        self._last_s = None

    def _trim(self, time_s: float) -> None:
        while len(self._samples) > MIN_SAMPLES and time_s - self._samples[0][0] > WINDOW_S:
            self._samples.popleft()

    def _window(self) -> list[tuple[float, Picture, Mask]]:
        """Pick at most MAX_SAMPLES of the samples, evenly, the newest among them."""
        samples = list(self._samples)
        if len(samples) <= MAX_SAMPLES:
            return samples
        picks = np.linspace(len(samples) - 1, 0, MAX_SAMPLES).round().astype(int)[::-1]
        return [samples[pick] for pick in picks]

    def _learn(self, sample: Picture, time_s: float) -> None:
        if not self._learning:
            self._learn_from_s = time_s
        self._learning.append(sample)
        if time_s - self._learn_from_s < self._learn_s or len(self._learning) < MIN_SAMPLES:
            return
        stack = np.stack(self._learning[:: max(1, len(self._learning) // 40)])
        self._reference = np.median(stack, axis=0).astype(np.float32)
        agreeing = (np.abs(stack - self._reference) <= AGREEMENT).mean(0)
        shape = self._reference.shape
        self._sure = np.asarray(agreeing >= SURE_SHARE, np.bool_)
        self._distrusted = np.zeros(shape, np.bool_)
        self._held = np.zeros(shape, np.bool_)
        self._look = self._reference.copy()
        self._since_s = np.zeros(shape, np.float64)
        self._observed_s = np.zeros(shape, np.float32)
        self._other = self._reference.copy()
        self._other_since_s = np.zeros(shape, np.float64)
        self._other_observed_s = np.full(shape, -1, np.float32)
        self._clear_since_s = np.full(shape, np.inf)
        self._unsure_for_s = np.zeros(shape, np.float32)
        self._learning.clear()

    def _advance(self, time_s: float, elapsed_s: float) -> StillView:
        assert self._reference is not None  # noqa: S101 - `observe` has just checked it; this tells the type checker
        window = self._window()
        stack = np.stack([sample for _, sample, _ in window])
        still = np.median(stack, axis=0).astype(np.float32)
        agrees = np.abs(stack - still) <= AGREEMENT
        first = _first_instant(agrees, np.array([when for when, _, _ in window]))
        settled = (agrees.mean(0) >= SETTLED_SHARE) & agrees[-1] & ~window[-1][2]
        motion = _motion(stack, still)
        changed = difference(still, self._reference)
        disturbed = bool(changed.mean() > DISTURBED_SHARE)
        if disturbed:
            nothing = np.zeros(still.shape, np.bool_)
            return self._view(time_s, nothing, nothing, motion, disturbed=True)

        self._learn_unsure(still, settled, elapsed_s)
        clear = settled & ~changed & self._sure
        seen = self._held & settled & ~clear & ~difference(still, self._look)
        # the rim of a thing settles before the thing does, and would be dated before it came
        moving = cv2.blur((changed & ~settled).astype(np.float32), STRUCTURE_WINDOW_PX)
        new = settled & (moving <= RIM_SHARE) & changed & self._sure & ~seen
        self._remember(still, _latest_nearby(first, new), new, elapsed_s)
        self._observed_s[seen] += elapsed_s
        self._other_observed_s[seen] = -1
        self._clear_since_s = np.where(clear, np.minimum(self._clear_since_s, first), np.inf)
        self._held &= ~clear | (time_s - self._clear_since_s < FORGET_S)
        self._lay_ghosts(still, settled, motion)
        follow = clear & ~self._held
        self._reference[follow] += (min(1.0, elapsed_s / FOLLOW_S)) * (still - self._reference)[follow]
        return self._view(time_s, clear, seen & self._held, motion, disturbed=False)

    def _view(self, time_s: float, clear: Mask, seen: Mask, motion: Motion, *, disturbed: bool) -> StillView:
        return StillView(
            time_s,
            sure=self._sure.copy(),
            clear=clear,
            held=self._held.copy(),
            seen=seen,
            since_s=self._since_s.copy(),
            clear_since_s=self._clear_since_s,
            motion=motion,
            disturbed=disturbed,
        )

    def _learn_unsure(self, still: Picture, settled: Mask, elapsed_s: float) -> None:
        """Where people stood while the reference was learned, take the first look that stays for `learn_s`."""
        assert self._reference is not None  # noqa: S101 - as in _advance
        waiting = ~self._sure & ~self._distrusted
        steady = waiting & settled & (np.abs(still - self._reference) <= AGREEMENT)
        moved = waiting & settled & ~steady
        self._reference[moved] = still[moved]
        self._unsure_for_s = np.where(steady, self._unsure_for_s + elapsed_s, 0).astype(np.float32)
        self._sure |= steady & (self._unsure_for_s >= self._learn_s)

    def _remember(self, still: Picture, first_s: NDArray[np.float64], new: Mask, elapsed_s: float) -> None:
        """Note looks that are neither the reference nor the remembered one."""
        fresh = new & ~self._held
        self._look[fresh] = still[fresh]
        self._since_s[fresh] = first_s[fresh]
        self._observed_s[fresh] = 0
        self._held |= fresh
        rival = new & ~fresh
        if not rival.any():
            return
        again = rival & (self._other_observed_s >= 0) & ~difference(still, self._other)
        self._other_observed_s[again] += elapsed_s
        started = rival & ~again
        self._other[started] = still[started]
        self._other_since_s[started] = first_s[started]
        self._other_observed_s[started] = 0
        won = rival & (self._other_observed_s > np.minimum(self._observed_s, STUBBORN_S))
        self._look[won] = self._other[won]
        self._since_s[won] = self._other_since_s[won]
        self._observed_s[won] = self._other_observed_s[won]
        self._other_observed_s[won] = -1

    def _lay_ghosts(self, still: Picture, settled: Mask, motion: Motion) -> None:
        """Learn regions again whose outline is in the reference and not in the still picture."""
        assert self._reference is not None  # noqa: S101 - as in _advance
        if not self._held.any():
            return
        before = np.hypot(*_gradients(self._reference))
        for region in _regions(self._held, min_px=20):
            solid = region.astype(np.uint8)
            ring = (cv2.dilate(solid, np.ones((3, 3), np.uint8)) - cv2.erode(solid, np.ones((9, 9), np.uint8))) > 0
            ring &= settled
            lost = ring.any() and float(before[ring].mean()) > GHOST_RATIO * float(motion.edges[ring].mean())
            # while somebody still moves there, the outline is theirs
            if lost and motion.shift_px(region) <= RESTLESS_PX:
                ghost = region & settled
                self._reference[ghost] = still[ghost]
                self._held &= ~ghost

    def save(self, path: Path) -> None:
        """Write the memory to a file, all at once or not at all."""
        if self._reference is None:
            return
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            np.savez_compressed(
                file,
                reference=self._reference.round().astype(np.uint8),
                look=self._look.round().astype(np.uint8),
                sure=self._sure,
                distrusted=self._distrusted,
                held=self._held,
                since_s=self._since_s,
                observed_s=self._observed_s,
            )
        part.replace(path)

    @classmethod
    def load(cls, path: Path, learn_s: float) -> Self:
        """Read a memory back; raises OSError, ValueError, KeyError or zipfile.BadZipFile for a damaged file."""
        scene = cls(learn_s)
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        reference = arrays["reference"].astype(np.float32)
        shape = reference.shape
        if len(shape) != 2 or any(array.shape != shape for array in arrays.values()):
            raise ValueError(f"{path}: expected pictures of one size, got {[a.shape for a in arrays.values()]}")
        scene._reference = reference
        scene._look = arrays["look"].astype(np.float32)
        scene._sure = arrays["sure"].astype(np.bool_)
        scene._distrusted = arrays["distrusted"].astype(np.bool_)
        scene._held = arrays["held"].astype(np.bool_)
        scene._since_s = arrays["since_s"].astype(np.float64)
        scene._observed_s = arrays["observed_s"].astype(np.float32)
        scene._other = scene._look.copy()
        scene._other_since_s = np.zeros(shape, np.float64)
        scene._other_observed_s = np.full(shape, -1, np.float32)
        scene._clear_since_s = np.full(shape, np.inf)
        scene._unsure_for_s = np.zeros(shape, np.float32)
        return scene

"""The still scene: what stands on the street and was not there when the place was clear, whatever it is called.

Method, per sample of luma at 320 px width:

1. The sample is laid over the reference (`alignment`: nudge and shake) and brought to its exposure.
2. The *still* picture is the temporal median of the last seconds; people who pass vanish from it. A pixel is *settled*
   where most of those samples agree with the median.
3. A network compares the still picture with the clear reference and tells things from light (`change`). Regions where
   something *is away* that stood in the reference are ghosts: they are learned again.
4. Each pixel remembers the *look* that differs from the clear reference and since when it has kept it. A pixel is
   clear, occupied (its look is seen) or not seen (something stands in front of it, or it does not settle). A look gives
   way to another only when that one was observed for longer: a passer-by who stops in front of a stall takes nothing
   from its dwell. A look on which a detector sees a person time and again is a person.
5. Items are regions of pixels whose look is as old as a rule asks and that keep still (`places.StillView.items`): a
   person who stands sways, so that their outline moves by a good part of a pixel between two samples, a thing's does
   not. Items have no identity of their own: a place has.

The clear look follows slow changes of light. What the place looked like in each part of the day is kept as well: when
all of the view looks different at once, as when street lamps or the camera's infrared go on, the kept look that fits is
taken up again, and nothing has to be learned anew.
"""

from collections import deque
from pathlib import Path
from typing import Any, Final, Protocol, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.vision.alignment import Alignment, expose
from agent.vision.change import Change, comparer
from agent.vision.median import median
from agent.vision.places import Luma, Mask, Motion, StillView, box_mask, regions
from agent.vision.signature import EDGES, Signature, agreement, shows
from protocol.geometry import Box

WIDTH_PX: Final = 320
WINDOW_S: Final = 6.0
MIN_SAMPLES: Final = 5
MAX_SAMPLES: Final = 9
SETTLED_SHARE: Final = 0.6
SURE_SHARE: Final = 0.7
AGREEMENT: Final = 8
"""Grey levels within which a sample agrees with the median."""
CHANGED: Final = 0.5
"""Chance from which a cell shows something else."""
SIDE_PX: Final = 15
CELL_PX: Final = 4
ALIKE: Final = 2
"""Grey levels of a cell; the faintest thing that is asked for differs by 5."""
RIM_PX: Final = (7, 7)
BESIDE_PX: Final = (17, 17)
RIM_SHARE: Final = 0.1
"""Less than one of the seven rows of a rim."""
STUBBORN_LEARNING: Final = 4.0
"""What kept its look for so many times `learn_s` is learned, whatever its surroundings do."""
MIN_GHOST_PX: Final = 20
GHOST_RIM_PX: Final = 7
GHOST_S: Final = 20.0
"""A ghost is learned again once the place has kept still without it for this long, in five samples at least."""
LIGHT_PX: Final = 8.0
"""Reach (sigma) within which light is the same, or fades from one to the other."""
SPREAD: Final = 4
EVEN: Final = 4.0
"""Grey levels added before ratios are taken, so that black has one."""
FAR: Final = 0.01
"""Weight of no difference in light: what has no clear surroundings is taken as it is."""
FORGET_S: Final = 3.0
"""A look is forgotten once its pixel was seen clear for this long."""
PASSING_S: Final = 10.0
"""A clear place that is hidden for less than this was passed by."""
GAP_S: Final = 60.0
"""Longer than between any two samples of a camera that is there."""
STUBBORN_S: Final = 120.0
"""A look observed for this long gives way to any other that stays as long."""
FOLLOW_S: Final = 120.0
"""Time constant with which the reference follows slow changes of light where the place is clear."""
FOLLOW_LOOK_S: Final = 20.0
"""The same for the look of an item: it has been seen for seconds only, and is to be known again under other light."""
DISTURBED_SHARE: Final = 0.5
"""A still picture that differs in more of its area than this shows another view, not items."""
PARTS: Final = 8
PART_S: Final = 86400.0 / PARTS
"""Parts of the day whose clear looks are kept, three hours each, 58 KB a look."""
RECALLED: Final = 0.6
"""Agreement of edges from which a kept look is the place as it is now. Measured: 0.8 to 0.97 for one view under any
light, about 0 for another view."""
OTHER_VIEW: Final = 0.2
"""Agreement of edges below which a picture shows another view."""
SIGN_S: Final = 10.0
"""How often the clear look's edges are read anew; it changes slowly."""


class Compares(Protocol):
    """What the scene asks of the network."""

    def compare(self, now: Luma, reference: Luma) -> Change:
        """Compare two pictures of one shape `(h, w)`."""
        ...


class StillScene:
    """The memory of one camera's still scene. Times are seconds since the epoch and never run back."""

    def __init__(self, learn_s: float, network: Compares | None = None) -> None:
        self._learn_s = learn_s
        self._network = comparer() if network is None else network
        self._samples: deque[tuple[float, Luma, Mask]] = deque()
        self._learning: list[Luma] = []
        self._learn_from_s = 0.0
        self._last_s: float | None = None
        self._unlooked_s = 0.0
        self._reference: NDArray[np.float32] | None = None
        self._alignment = Alignment()
        self._album: dict[int, Luma] = {}
        self._part: int | None = None
        self._compared: tuple[Luma, Luma, Change] | None = None
        self._signature: Signature | None = None
        self._signed_s = float("-inf")
        self._still: Luma | None = None
        self._settled: Mask | None = None

    @property
    def learned(self) -> bool:
        """Whether a reference exists."""
        return self._reference is not None

    @property
    def last_s(self) -> float | None:
        """When the place was last looked at, before a restart too; None: never."""
        return self._last_s

    @property
    def reference(self) -> Luma | None:
        """The clear place as it is known, shape `(h, WIDTH_PX)`; None before it is learned."""
        return None if self._reference is None else _rounded(self._reference)

    @property
    def still(self) -> Luma | None:
        """The last still picture, laid over the reference; None where there is none yet."""
        return self._still

    def observe(self, luma: Luma, time_s: float, hidden: tuple[Box, ...] | None = ()) -> StillView | None:
        """Take one sample; None while the reference is being learned, or too little is known of the present.

        Args:
            luma: shape `(h, WIDTH_PX)`, always the same.
            time_s: of the picture.
            hidden: boxes where something is known to stand in front, such as people that a detector found; None: no
                detector looked at this sample.
        """
        sample = _softened(luma)
        covered = np.zeros(sample.shape, np.bool_)
        for box in hidden or ():
            covered |= box_mask(box, sample.shape)
        known = self._reference if self._reference is not None else self._learning[0] if self._learning else sample
        if known.shape != sample.shape:
            self.reset(keep_parts=False)
        if self._last_s is not None and time_s - self._last_s > GAP_S:
            # what was seen before a gap says nothing of the time within it
            self._samples.clear()
        # while nothing was seen, nothing was observed
        elapsed_s = 0.0 if self._last_s is None else min(WINDOW_S, max(0.0, time_s - self._last_s))
        self._last_s = time_s
        if self._reference is None:
            self._learn(sample, time_s)
            return None
        clear_look = _rounded(self._reference)
        self._alignment.follow(sample, clear_look)
        covered |= self._alignment.outside(sample.shape)
        sample = expose(self._alignment.lay(sample), clear_look)
        self._samples.append((time_s, sample, covered))
        while len(self._samples) > MIN_SAMPLES and time_s - self._samples[0][0] > WINDOW_S:
            self._samples.popleft()
        if len(self._samples) < MIN_SAMPLES:
            return None
        # a person may have stood there since the last look as long as at this one
        self._unlooked_s += elapsed_s
        looked_s, self._unlooked_s = (0.0, self._unlooked_s) if hidden is None else (self._unlooked_s, 0.0)
        return self._advance(time_s, elapsed_s, clear_look, looked_s)

    def looks_clear(self, luma: Luma) -> Mask | None:
        """Say where one single picture looks as the clear place does; None while that is not known."""
        if self._reference is None or self._reference.shape != luma.shape:
            return None
        clear_look = _rounded(self._reference)
        sample = expose(self._alignment.lay(_softened(luma)), clear_look)
        return self._sure & (self._network.compare(sample, clear_look).any <= CHANGED)

    def changed_share(self, luma: Luma) -> float:
        """Share of one single picture that shows something else than the clear place; 0 before it is learned."""
        if self._reference is None or self._reference.shape != luma.shape:
            return 0.0
        clear_look = _rounded(self._reference)
        sample = expose(self._alignment.lay(_softened(luma)), clear_look)
        return float((self._network.compare(sample, clear_look).any > CHANGED).mean())

    def distrust(self, boxes: tuple[Box, ...]) -> None:
        """Forget what is clear in some boxes: the reference was learned while something stood there."""
        if self._reference is not None:
            for box in boxes:
                self._sure &= ~box_mask(box, self._sure.shape)
                self._distrusted |= box_mask(box, self._sure.shape)

    def distrust_only(self, boxes: tuple[Box, ...]) -> None:
        """Go on distrusting only what lies in some boxes; the rest may be learned."""
        if self._reference is not None and self._distrusted.any():
            kept = np.zeros(self._distrusted.shape, np.bool_)
            for box in boxes:
                kept |= box_mask(box, kept.shape)
            self._distrusted &= kept

    def approve(self, where: Mask) -> bool:
        """Take what stands still now for the clear look of an area: an operator says so. False: nothing is known yet.

        What is hidden at the moment keeps its look.
        """
        if self._reference is None or self._still is None or self._settled is None:
            return False
        known = where & self._settled
        self._inlay(self._still, known, self._settled & self._sure & ~self._held & ~where)
        self._sure |= known
        self._distrusted &= ~known
        self._held &= ~known
        self._album.clear()
        return True

    def recall(self, luma: Luma) -> bool:
        """Take up the kept look of another part of the day that fits what is seen now; False: none does."""
        sample = Signature(_softened(luma))
        if self._reference is None or shows(sample, Signature(_rounded(self._reference)), RECALLED):
            return False
        looks = {part: look for part, look in self._album.items() if look.shape == luma.shape}
        fitting = [part for part, look in looks.items() if shows(sample, Signature(look), RECALLED)]
        if not fitting:
            return False
        look = self._album.pop(fitting[-1])
        if self._part is not None:
            self._album[self._part] = _rounded(self._reference)
        self._reference, self._signature = look.astype(np.float32), None
        self._alignment = Alignment()
        self._samples.clear()
        return True

    def relearn(self, where: Mask) -> None:
        """Forget what an area looks like when it is clear, and learn it from what stays there for `learn_s`."""
        if self._reference is not None and self._reference.shape == where.shape:
            self._sure &= ~where
            self._distrusted &= ~where
            self._held &= ~where
            self._unsure_for_s[where] = 0
            self._album.clear()

    def reset(self, *, keep_parts: bool = True) -> None:
        """Forget the clear look, and those of other parts of the day unless they are to be kept; learn anew."""
        if not keep_parts:
            self._album.clear()
        self._reference = None
        self._samples.clear()
        self._learning.clear()
        self._last_s = None
        self._still = self._settled = self._compared = None
        self._alignment = Alignment()

    def _window(self) -> list[tuple[float, Luma, Mask]]:
        """Pick an odd number of the samples, at most MAX_SAMPLES, evenly, the newest among them."""
        samples = list(self._samples)
        count = min(MAX_SAMPLES, len(samples) - (len(samples) + 1) % 2)
        picks = np.linspace(len(samples) - 1, len(samples) % 2 == 0 and len(samples) < MAX_SAMPLES, count)
        return [samples[pick] for pick in picks.round().astype(int)[::-1]]

    def _learn(self, sample: Luma, time_s: float) -> None:
        if not self._learning:
            self._learn_from_s = time_s
        self._learning.append(sample if not self._learning else expose(sample, self._learning[0]))
        if time_s - self._learn_from_s < self._learn_s or len(self._learning) < MIN_SAMPLES:
            return
        stack = np.stack(self._learning[:: max(1, len(self._learning) // 40)])
        reference = np.median(stack, axis=0)
        agreeing = (np.abs(stack - reference) <= AGREEMENT).mean(0)
        self._begin(reference.astype(np.float32), np.asarray(agreeing >= SURE_SHARE, np.bool_))
        self._learning.clear()

    def _begin(self, reference: NDArray[np.float32], sure: Mask) -> None:
        shape = reference.shape
        self._reference, self._sure, self._signature = reference, sure, None
        self._distrusted = np.zeros(shape, np.bool_)
        self._held = np.zeros(shape, np.bool_)
        self._look = reference.copy()
        self._since_s = np.zeros(shape, np.float64)
        self._observed_s = np.zeros(shape, np.float32)
        self._other = reference.copy()
        self._other_since_s = np.zeros(shape, np.float64)
        self._other_observed_s = np.full(shape, -1, np.float32)
        self._clear_since_s = np.full(shape, np.inf)
        self._clear_seen_s = np.full(shape, -np.inf)
        self._unsure_for_s = np.zeros(shape, np.float32)
        self._unsure_look = reference.copy()
        self._gone_for_s = np.zeros(shape, np.float32)
        self._watched_s = np.zeros(shape, np.float32)
        self._peopled_s = np.zeros(shape, np.float32)
        self._judged_s = np.zeros(shape, np.float32)
        self._calm_s = np.zeros(shape, np.float32)

    def _advance(self, time_s: float, elapsed_s: float, clear_look: Luma, looked_s: float) -> StillView:
        window = self._window()
        lumas = [sample for _, sample, _ in window]
        still = median(lumas)
        agrees = np.stack([cv2.absdiff(luma, still) <= AGREEMENT for luma in lumas])
        times_s = np.array([when for when, _, _ in window])
        settled = (agrees.sum(0) >= SETTLED_SHARE * len(lumas)) & agrees[-1] & ~window[-1][2]
        self._still, self._settled = still, settled
        motion = Motion(lumas, still)
        changed, gone = _decided(self._compare(still, clear_look))
        if float((changed | gone).mean()) > DISTURBED_SHARE or self._another_view(still, time_s, clear_look):
            nothing = np.zeros(still.shape, np.bool_)
            self._clear_since_s[:] = np.inf
            return self._view(time_s, still, nothing, nothing, disturbed=True)

        self._keep_part(time_s, clear_look)
        # what was watched as a thing and looks as it did, in whatever light, has not gone
        known = gone & self._held & (self._observed_s > GHOST_S)
        if known.any():
            known &= ~self._differs(still, self._look, known)
            changed, gone = changed | known, gone & ~known
        plain = settled & ~changed & ~gone
        self._learn_unsure(still, settled, plain & self._sure, elapsed_s)
        clear = plain & self._sure
        seen = self._held & settled & ~clear & ~gone
        if seen.any():
            seen &= ~self._differs(still, self._look, seen)
        # the rim of a thing settles before the thing does, and would be dated before it came
        moving = cv2.blur((changed & ~settled).astype(np.float32), RIM_PX)
        new = settled & (moving <= RIM_SHARE) & changed & self._sure & ~seen
        if new.any():
            self._remember(still, _latest_nearby(agrees, times_s, new), new, elapsed_s)
        if looked_s > 0:
            self._note_people(window[-1][1], window[-1][2], min(WINDOW_S, looked_s))
        self._observed_s[seen] += elapsed_s
        self._other_observed_s[seen] = -1
        follow = min(1.0, elapsed_s / FOLLOW_LOOK_S)
        self._look[seen] += follow * (still[seen] - self._look[seen])
        self._note_clear(clear, (changed | gone) & settled, agrees, times_s)
        self._held &= ~clear | (time_s - self._clear_since_s < FORGET_S)
        self._lay_ghosts(still, gone & settled, settled, clear, motion, elapsed_s)
        # not beside a thing: its own rim would seep into the clear look, and the thing wane
        beside = cv2.dilate((self._held | changed).astype(np.uint8), np.ones(BESIDE_PX, np.uint8)).astype(np.bool_)
        quiet = clear & ~beside
        reference = self._known_reference
        reference[quiet] += min(1.0, elapsed_s / FOLLOW_S) * (still[quiet] - reference[quiet])
        seen &= self._held
        self._note_calm(seen, motion, elapsed_s)
        return self._view(time_s, still, clear, seen, disturbed=False)

    def _note_calm(self, seen: Mask, motion: Motion, elapsed_s: float) -> None:
        """Count for how long what stands there kept still: a thing does, a person does not."""
        if seen.any():
            judged, calm = motion.keeps_still(seen)
            self._judged_s[judged] += elapsed_s
            self._calm_s[calm] += elapsed_s

    def _forget_life(self, where: Mask) -> None:
        for counter in (self._watched_s, self._peopled_s, self._judged_s, self._calm_s):
            counter[where] = 0

    def _keep_part(self, time_s: float, clear_look: Luma) -> None:
        """Keep the clear look of the part of the day that ends."""
        part = int(time_s // PART_S) % PARTS
        if self._part is not None and part != self._part:
            self._album[self._part] = clear_look
        self._part = part

    def _compare(self, still: Luma, clear_look: Luma) -> Change:
        """Ask the network, unless both pictures are those of the last time: on a quiet street they mostly are."""
        if self._compared is not None:
            known_still, known_look, change = self._compared
            if _alike(still, known_still) and _alike(clear_look, known_look):
                return change
        change = self._network.compare(still, clear_look)
        self._compared = still, clear_look, change
        return change

    def _another_view(self, still: Luma, time_s: float, clear_look: Luma) -> bool:
        """Say whether a picture shows another place: to the network, which looks for things, there may be none."""
        if self._signature is None or time_s - self._signed_s >= SIGN_S:
            self._signature, self._signed_s = Signature(clear_look), time_s
        able = self._signature.structure > EDGES
        if not able.any():
            return False
        return float(np.median(agreement(Signature(still), self._signature)[able])) < OTHER_VIEW

    def _note_people(self, sample: Luma, covered: Mask, elapsed_s: float) -> None:
        """Count for how long a remembered look was watched, and for how long a person was seen on it."""
        watched = self._held & (np.abs(sample - self._look) <= 2 * AGREEMENT)
        self._watched_s[watched] += elapsed_s
        self._peopled_s[watched & covered] += elapsed_s

    @property
    def _known_reference(self) -> NDArray[np.float32]:
        assert self._reference is not None  # noqa: S101 - `observe` has checked it; this tells the type checker
        return self._reference

    def _view(self, time_s: float, still: Luma, clear: Mask, seen: Mask, *, disturbed: bool) -> StillView:
        return StillView(
            time_s,
            sure=self._sure.copy(),
            clear=clear,
            held=self._held.copy(),
            seen=seen,
            since_s=self._since_s.copy(),
            clear_since_s=self._clear_since_s.copy(),
            peopled=np.asarray(self._peopled_s / np.maximum(self._watched_s, 1e-3), np.float32),
            calm=np.asarray(self._calm_s / np.maximum(self._judged_s, 1e-3), np.float32),
            still=still,
            disturbed=disturbed,
        )

    def _differs(self, still: Luma, look: NDArray[np.float32], where: Mask) -> Mask:
        """Say where the still picture differs from a remembered look, which is known only `where`."""
        remembered = still.copy()
        remembered[where] = look[where].round()
        rows, columns = np.flatnonzero(where.any(1)), np.flatnonzero(where.any(0))
        part = (_widened(rows, still.shape[0]), _widened(columns, still.shape[1]))
        differs = np.zeros(still.shape, np.bool_)
        differs[part] = self._network.compare(still[part], remembered[part]).any > CHANGED
        return differs & where

    def _learn_unsure(self, still: Luma, settled: Mask, clear: Mask, elapsed_s: float) -> None:
        """Where people stood while the reference was learned, take the first look that stays for `learn_s`."""
        waiting = ~self._sure & ~self._distrusted
        if not waiting.any():
            return
        steady = waiting & settled & (np.abs(still - self._unsure_look) <= AGREEMENT)
        moved = waiting & settled & ~steady
        self._unsure_look[moved] = still[moved]
        self._inlay(still, waiting & settled, clear)
        self._unsure_for_s = np.where(steady, self._unsure_for_s + elapsed_s, 0).astype(np.float32)
        ready = steady & (self._unsure_for_s >= self._learn_s)
        # not pixel by pixel: parts of somebody who stands are steady by chance, and would be learned one by one
        shares = cv2.blur(ready.astype(np.float32), BESIDE_PX) / np.maximum(
            cv2.blur(waiting.astype(np.float32), BESIDE_PX), 1e-6
        )
        self._sure |= ready & ((shares >= SURE_SHARE) | (self._unsure_for_s >= STUBBORN_LEARNING * self._learn_s))

    def _inlay(self, still: Luma, where: Mask, clear: Mask) -> None:
        """Write a part of the still picture into the clear look, in the light in which its surroundings are known.

        A cloud or a shadow may have come since: laid in as it is, the part would differ from them by a sharp rim, which
        looks like a thing's once the light has gone on. The light is the ratio of both pictures where they are `clear`.
        """
        reference = self._known_reference
        known = clear.astype(np.float32)
        wanted, given = (_spread(known * (picture + EVEN)) + FAR * EVEN for picture in (reference, still))
        light = cv2.resize(wanted / given, still.shape[::-1], interpolation=cv2.INTER_LINEAR)
        lit = (still + EVEN) * light - EVEN
        reference[where] = np.clip(lit[where], 0, 255)

    def _remember(self, still: Luma, first_s: NDArray[np.float64], new: Mask, elapsed_s: float) -> None:
        """Note looks that are neither the reference nor the remembered one."""
        fresh = new & ~self._held
        self._look[fresh] = still[fresh]
        self._since_s[fresh] = first_s[fresh]
        self._observed_s[fresh] = 0
        self._forget_life(fresh)
        self._held |= fresh
        rival = new & ~fresh
        if not rival.any():
            return
        again = rival & (self._other_observed_s >= 0)
        if again.any():
            again &= ~self._differs(still, self._other, again)
        self._other_observed_s[again] += elapsed_s
        started = rival & ~again
        self._other[started] = still[started]
        self._other_since_s[started] = first_s[started]
        self._other_observed_s[started] = 0
        won = rival & (self._other_observed_s > np.minimum(self._observed_s, STUBBORN_S))
        self._look[won] = self._other[won]
        self._since_s[won] = self._other_since_s[won]
        self._observed_s[won] = self._other_observed_s[won]
        self._forget_life(won)
        self._other_observed_s[won] = -1

    def _note_clear(self, clear: Mask, changed: Mask, agrees: NDArray[np.bool_], times_s: NDArray[np.float64]) -> None:
        # somebody who passes hides a place for a moment: when it is seen again as clear as before, it was
        passing_s = max(PASSING_S, 1.5 * float(times_s[-1] - times_s[-2]))
        self._clear_since_s[changed | (times_s[-1] - self._clear_seen_s > passing_s)] = np.inf
        begun = clear & np.isinf(self._clear_since_s)
        if begun.any():
            self._clear_since_s[begun] = _latest_nearby(agrees, times_s, begun)[begun]
        self._clear_seen_s[clear] = times_s[-1]

    def _lay_ghosts(
        self, still: Luma, gone: Mask, settled: Mask, clear: Mask, motion: Motion, elapsed_s: float
    ) -> None:
        """Learn again where something stood in the reference that is away for good."""
        self._gone_for_s[~gone] = 0
        if not gone.any():
            return
        # somebody who stands before a thing hides it as well: they sway, and it begins anew
        judged, calm = motion.keeps_still(gone)
        self._gone_for_s[judged & ~calm] = 0
        self._gone_for_s[calm] += min(elapsed_s, GHOST_S / MIN_SAMPLES)
        for ghost in regions(gone, MIN_GHOST_PX):
            # as a whole: half of a ghost's outline would look like a thing
            if float(np.median(self._gone_for_s[ghost])) < GHOST_S:
                continue
            rim = np.ones((GHOST_RIM_PX, GHOST_RIM_PX), np.uint8)
            thing = self._held & (self._observed_s > STUBBORN_S) & ~ghost
            learned = cv2.dilate(ghost.astype(np.uint8), rim).astype(np.bool_) & settled & ~thing
            self._inlay(still, learned, clear & ~learned)
            self._gone_for_s[learned] = 0
            self._held &= ~learned

    def save(self, path: Path) -> None:
        """Write the memory to a file, all at once or not at all."""
        if self._reference is None:
            return
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            arrays: dict[str, Any] = {
                "reference": _rounded(self._reference),
                "look": _rounded(self._look),
                "sure": self._sure,
                "distrusted": self._distrusted,
                "held": self._held,
                "since_s": self._since_s,
                "observed_s": self._observed_s,
                "last_s": np.array([] if self._last_s is None else [self._last_s]),
            }
            arrays |= {f"part{part}": look for part, look in self._album.items() if look.shape == self._sure.shape}
            np.savez_compressed(file, **arrays)
        part.replace(path)

    def shift(self, step_s: float) -> None:
        """The clock was set by so much: move what goes by it."""
        self._since_s += step_s
        self._last_s = None if self._last_s is None else self._last_s + step_s

    @classmethod
    def load(cls, path: Path, learn_s: float) -> Self:
        """Read a memory back; raises OSError, ValueError, KeyError or zipfile.BadZipFile for a damaged file."""
        scene = cls(learn_s)
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        last_s = arrays.pop("last_s", np.array([]))
        reference = arrays["reference"].astype(np.float32)
        shape = reference.shape
        if len(shape) != 2 or any(array.shape != shape for array in arrays.values()):
            raise ValueError(f"{path}: expected pictures of one size, got {[a.shape for a in arrays.values()]}")
        scene._begin(reference, arrays["sure"].astype(np.bool_))
        scene._look = arrays["look"].astype(np.float32)
        scene._distrusted = arrays["distrusted"].astype(np.bool_)
        scene._held = arrays["held"].astype(np.bool_)
        scene._last_s = float(last_s[0]) if last_s.size else None
        scene._since_s = arrays["since_s"].astype(np.float64)
        scene._observed_s = arrays["observed_s"].astype(np.float32)
        scene._album = {n: arrays[f"part{n}"].astype(np.uint8) for n in range(PARTS) if f"part{n}" in arrays}
        return scene


def _softened(luma: Luma) -> Luma:
    """Take the finest noise of sensor and codec away."""
    return np.asarray(cv2.GaussianBlur(luma, (0, 0), 0.8), np.uint8)


def _spread(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """Blur a picture by LIGHT_PX; a quarter as wide and high, as nothing finer is left in it."""
    size = (max(1, picture.shape[1] // SPREAD), max(1, picture.shape[0] // SPREAD))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(small, (0, 0), LIGHT_PX / SPREAD), np.float32)


def _rounded(picture: NDArray[np.float32]) -> Luma:
    return np.asarray(np.clip(picture + 0.5, 0, 255), np.uint8)


def _alike(a: Luma, b: Luma) -> bool:
    """Say whether no cell of the network differs by more than noise does."""
    cells = (a.shape[1] // CELL_PX, a.shape[0] // CELL_PX)
    return bool(cv2.resize(cv2.absdiff(a, b), cells, interpolation=cv2.INTER_AREA).max() <= ALIKE)


def _decided(change: Change) -> tuple[Mask, Mask]:
    """Say where things stand and where things are away: each spot with its surroundings, and with its region.

    Not each region as a whole: somebody may stand before the place from which something was taken. There the region
    says neither, and the surroundings decide.
    """
    different = change.any > CHANGED
    more = np.where(different, change.thing - change.gone, 0).astype(np.float32)
    around = cv2.blur(more, (SIDE_PX, SIDE_PX)) / np.maximum(
        cv2.blur(different.astype(np.float32), (SIDE_PX, SIDE_PX)), 1e-3
    )
    count, labels = cv2.connectedComponents(different.astype(np.uint8), connectivity=8)
    sizes = np.maximum(np.bincount(labels.ravel(), minlength=count), 1)
    whole = (np.bincount(labels.ravel(), more.ravel(), count) / sizes)[labels]
    thing = around + whole > 0
    return different & thing, different & ~thing


def _first_instant(agrees: NDArray[np.bool_], times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Date the still picture back to the first of two samples in a row that agree with it.

    One alone may be a passer-by of the same grey; too late is fairer to a shop than too early.
    """
    pairs = agrees[:-1] & agrees[1:]
    return np.asarray(np.where(pairs.any(0), times_s[pairs.argmax(0)], times_s[-1]), np.float64)


def _latest_nearby(agrees: NDArray[np.bool_], times_s: NDArray[np.float64], among: Mask) -> NDArray[np.float64]:
    """Date each pixel by the latest one in its neighbourhood.

    The rim of a region differs because of its neighbours and kept its own grey all the time; other pixels agreed with
    the ground by chance.
    """
    ages = np.zeros(among.shape, np.float32)
    ages[among] = _first_instant(agrees[:, among], times_s) - times_s[0]
    return np.asarray(cv2.dilate(ages, np.ones(RIM_PX)) + times_s[0], np.float64)


def _widened(indices: NDArray[np.int64], size: int, margin: int = 16) -> slice:
    return slice(max(0, int(indices[0]) - margin), min(size, int(indices[-1]) + margin + 1))

"""How well a camera sees: moved, covered, defocused, frozen or dark, and what merely passes.

Each sample is compared with the clear place and with the sample before (`signature`). What it shows becomes the
camera's state once it has lasted; until then, and while it lasts, the picture is not trusted: zones are not seen.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.vision.alignment import REACH_PX, Alignment, estimate_shift
from agent.vision.passing import Colour, Flashes, Headlights, Precipitation
from agent.vision.repeats import Repeats
from agent.vision.signature import (
    EDGES,
    Luma,
    Signature,
    Tiles,
    agreement,
    contrast,
    detail,
    likeness,
    sharpness,
    shows,
)
from protocol.geometry import Box

State = Literal["live", "covered", "moved", "defocused", "frozen", "dark"]

CONFIRM_S: Final[dict[State, float]] = {"covered": 6.0, "moved": 4.0, "defocused": 8.0, "frozen": 1.0, "dark": 6.0}
"""What lasts so long is the camera's state: a bus before the lens drives on sooner, autofocus hunts for 2 to 5 s."""
CONFIRM_SAMPLES: Final = 3
CONFIRM_SHARE: Final = 0.75
"""So much of the samples must show it; others may be disturbed."""
RELEASE_S: Final = 2.0
RELEASE_SAMPLES: Final = 3
RELEARN_S: Final = 60.0
"""A camera that stays moved so long shows a new view."""

LOST: Final = 0.4
"""Agreement below which a tile does not show the clear place. Measured: 0.8 to 0.97 by day and night, a view turned by
30 px -0.1 to 0.1."""
LOST_SHARE: Final = 0.35
"""Measured: shadows, headlights and passers-by hide up to 0.22 of the tiles, a cloth over half of the lens 0.48."""
NEARLY_ALL: Final = 0.85
SURE: Final = 0.8
MISLAID: Final = 0.25
"""A view that is laid back over the reference has lost no more tiles than this."""
REGAINED: Final = 0.4
"""Or that it regains so many, where a crowd hides the rest."""
THERE_SHARE: Final = 0.2
"""A view that turned so far that less of the place is left in it is another view."""
CHANCE_SHARE: Final = 0.03
"""With fewer tiles than this surely found, the view is another one."""
MIN_ABLE: Final = 0.08
"""With less than this share of its tiles to be recognised, nothing can be said of a view."""
PLAIN: Final = 0.15
"""A tile with less than this share of its fine detail's energy shows something plain: a hand close to the lens."""
PLAIN_DETAIL: Final = 1.0
"""The same as energy, squared grey levels: cloths and hands 0.01 to 0.1, walls and lorries 10 to 50."""
SAME: Final = 0.5
"""Agreement from which a tile shows what it did a sample ago."""
SAME_LEVEL: Final = 6.0
"""The same for tiles without edges, grey levels."""
CALM_SHARE: Final = 0.6
"""What keeps so much of its tiles from sample to sample stands there; a crowd does not: 0.43 in the densest clip."""
SHARP: Final = 0.45
"""Share of fine detail below which a picture is out of focus: a blur of 1.5 px at 320 px width."""
OWN_SHARP: Final = 0.65
"""The same for the picture's own detail, wherever it lies."""
RELATED: Final = 0.25
"""Likeness of grey levels that a blurred picture keeps, even while a shadow sweeps over it. Cloths: -0.2 to 0.2."""
DIMMED: Final = 0.5
"""The same for a picture that turns dark: it is noise soon."""
FAINT: Final = 0.5
"""A picture that has lost more of its contrast is seen through something, not out of focus."""
STARK: Final = 1.6
"""A blur adds no contrast; something bright before the camera does."""
BLANK: Final = 0.2
"""Energy of fine detail of a plain cloth, squared grey levels: 0.01 to 0.05; of streets by night 1 and more."""
BLANK_SHARE: Final = 0.1

BLACK: Final = 28
"""Grey level that 95 % of a dark picture stay below; 16 is black in video."""
SEEN_IN_THE_DARK: Final = 0.4
"""Median agreement from which even a very dark picture shows the place."""
LIGHT: Final = 42
SUDDEN_SAMPLES: Final = 2
"""A picture that turns from light to black within two samples is covered, or all light failed; dusk takes minutes."""

MOMENT_S: Final = 10.0
"""A clear place that was not seen for less than this was seen clear all the time."""
CHANGED_SHARE: Final = 0.1
"""What stands before the camera changes this share of the view to the network as well. Measured: a lorry over half of
the view 0.16 to 0.51, a shadow over plain ground 0.006."""
PLACE_S: Final = 10.0
PLACE_LEVELS: Final = 2.0
"""The reference follows the light slowly: it is read anew now and then, and at once when it is another one."""
PASSING_S: Final = 30.0
"""Time for which the text goes on telling what has passed."""
MOVED_ADVICE: Final = f"point the camera back, or leave it: the view is learned again after {RELEARN_S:.0f} s"


@dataclass(frozen=True)
class ViewState:
    """How well a camera sees after one sample."""

    state: State
    since_s: float
    text: str
    """What was seen and what to do; also what merely passes. Empty when there is nothing to tell."""
    trusted: bool
    """Whether this sample may be judged. False also while a fault is only suspected."""
    relearn: bool = False
    """The view is another one and stays so: it is to be learned again."""
    grey: bool = False
    """The picture has no colour: the camera sees by infrared, or never has any."""


@dataclass(frozen=True)
class Finding:
    """What one sample shows."""

    state: State = "live"
    text: str = ""
    odd: bool = False
    """Not to be trusted, though no fault: something close passes, a flash."""
    since_s: float | None = None
    """Where it began before this sample."""

    stands: bool = False
    """Something with edges of its own seems to stand before the camera, no cloth."""

    @property
    def good(self) -> bool:
        """Whether the sample may be judged."""
        return self.state == "live" and not self.odd


@dataclass
class Persistence:
    """Turns what single samples show into a state that has lasted."""

    state: State = "live"
    since_s: float = float("-inf")
    text: str = ""
    odd_since_s: float | None = field(default=None, init=False)
    """Since when no sample was good."""
    _recent: deque[tuple[float, Finding]] = field(default_factory=deque, init=False)

    def follow(self, finding: Finding, time_s: float) -> None:
        """Take one sample's finding."""
        if self.since_s == float("-inf"):
            self.since_s = time_s
        self._recent.append((time_s, finding))
        while len(self._recent) > CONFIRM_SAMPLES and time_s - self._recent[1][0] >= max(CONFIRM_S.values()):
            self._recent.popleft()
        if finding.good:
            self.odd_since_s = None
        elif self.odd_since_s is None:
            self.odd_since_s = time_s if finding.since_s is None else finding.since_s
        if finding.state not in ("live", self.state) and self._lasts(finding.state, time_s):
            began_s = time_s if self.odd_since_s is None else self.odd_since_s
            self.state, self.since_s, self.text = finding.state, began_s, finding.text
        elif self.state != "live" and self._over(time_s):
            self.state, self.since_s, self.text = "live", time_s, ""

    @property
    def last_state(self) -> State:
        """What the last sample showed."""
        return self._recent[-1][1].state if self._recent else "live"

    def _lasts(self, state: State, time_s: float) -> bool:
        span = [seen for when, seen in self._recent if time_s - when <= CONFIRM_S[state]]
        if len(span) < CONFIRM_SAMPLES:
            span = [seen for _, seen in self._recent][-CONFIRM_SAMPLES:]
        long_enough = time_s - self._recent[0][0] >= CONFIRM_S[state]
        shown = sum(seen.state == state for seen in span)
        return long_enough and shown >= max(CONFIRM_SAMPLES, CONFIRM_SHARE * len(span))

    def _over(self, time_s: float) -> bool:
        for good, (when, seen) in enumerate(reversed(self._recent), 1):
            if not seen.good:
                return False
            if good >= RELEASE_SAMPLES and time_s - when >= RELEASE_S:
                return True
        return False


@dataclass
class Blindness:
    """Remembers when nothing was seen."""

    _spans: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=500), init=False)
    _open_since_s: float | None = field(default=None, init=False)
    _last_s: float = field(default=0.0, init=False)

    def note(self, time_s: float, blind_since_s: float | None) -> None:
        """Take one sample: since when nothing is seen, or None."""
        if blind_since_s is None and self._open_since_s is not None:
            self._spans.append((self._open_since_s, time_s))
            self._open_since_s = None
        elif blind_since_s is not None and self._open_since_s is None:
            after_s = self._spans[-1][1] if self._spans else blind_since_s
            self._open_since_s = max(blind_since_s, after_s)
        self._last_s = time_s

    def lost(self, since_s: float, until_s: float) -> None:
        """No picture came in between."""
        if self._open_since_s is None:
            self._spans.append((since_s, until_s))

    @property
    def over_since_s(self) -> float:
        """When the last time without sight ended that was no mere moment; minus infinity if there was none."""
        return next((end for begin, end in reversed(self._spans) if end - begin >= MOMENT_S), float("-inf"))

    def since(self, since_s: float) -> float:
        """For how many seconds, from an instant to the last sample, nothing was seen."""
        spans = [*self._spans]
        if self._open_since_s is not None:
            spans.append((self._open_since_s, self._last_s))
        return sum(max(0.0, end_s - max(begin_s, since_s)) for begin_s, end_s in spans)


@dataclass
class ViewHealth:
    """Follows how well one camera sees. Times are seconds since the epoch and never run back."""

    _persistence: Persistence = field(default_factory=Persistence, init=False)
    _blindness: Blindness = field(default_factory=Blindness, init=False)
    _alignment: Alignment = field(default_factory=Alignment, init=False)
    _place: Signature | None = field(default=None, init=False)
    _placed_s: float = field(default=0.0, init=False)
    _agrees: Tiles | None = field(default=None, init=False)
    """How far the last sample agrees with the place."""
    _before: Signature | None = field(default=None, init=False)
    _samples_since_light: int = field(default=SUDDEN_SAMPLES, init=False)
    _repeats: Repeats = field(default_factory=Repeats, init=False)
    _colour: Colour = field(default_factory=Colour, init=False)
    _flashes: Flashes = field(default_factory=Flashes, init=False)
    _headlights: Headlights = field(default_factory=Headlights, init=False)
    _precipitation: Precipitation = field(default_factory=Precipitation, init=False)
    _passed_s: dict[str, float] = field(default_factory=dict, init=False)

    def observe(
        self,
        luma: Luma,
        time_s: float,
        reference: Luma | None,
        *,
        chroma: float | None = None,
        people: Sequence[Box] = (),
        changed_share: Callable[[], float] | None = None,
    ) -> ViewState:
        """Take one sample.

        Args:
            luma: shape `(h, w)`.
            time_s: of the picture.
            reference: the clear place, of the same shape; None before it is learned: then only a frozen, dark or
                blank picture can be told.
            chroma: mean distance of the picture's colours from grey, in levels; None where it is not known.
            people: boxes of people, in picture coordinates: they hide the place and are no fault.
            changed_share: a second opinion, asked for only when something seems to stand before the camera: the share
                of the view in which the still scene's network finds something else.
        """
        now = self._signed(luma, reference, time_s)
        if chroma is not None and self._colour.follow(now, chroma, time_s):
            self._passed_s["day-night switch"] = time_s
        finding = self._find(now, luma, time_s, people, changed_share)
        if self._flashes.follow(now, time_s):
            self._passed_s["lightning"] = time_s
        if self._colour.settling(time_s) and finding.state in ("covered", "moved", "defocused", "live"):
            # the reference is of the other light, or none: what it says of this picture means nothing
            finding = Finding(odd=True)
        elif self._flashes.dazzled:
            finding = Finding(odd=True)
        elif finding.odd and finding.since_s is None:
            self._passed_s["lens being cleaned, or something passes close to it"] = time_s
        self._tell_passing(now, time_s, finding)
        self._before = now
        kept = self._persistence
        kept.follow(finding, time_s)
        trusted = kept.state == "live" and finding.good
        self._blindness.note(time_s, None if trusted else kept.since_s if kept.state != "live" else kept.odd_since_s)
        self._passed_s = {what: when for what, when in self._passed_s.items() if time_s - when <= PASSING_S}
        fault = [f"{kept.state}: {kept.text}"] if kept.state != "live" else []
        return ViewState(
            state=kept.state,
            since_s=kept.since_s,
            text="; ".join([*fault, *sorted(self._passed_s)]),
            trusted=trusted,
            relearn=kept.state == "moved" and self._place is not None and time_s - kept.since_s >= RELEARN_S,
            grey=self._colour.grey,
        )

    def lost(self, since_s: float, until_s: float) -> None:
        """Note that no picture came between two instants: nothing was seen."""
        self._blindness.lost(since_s, until_s)

    def blind_s(self, since_s: float) -> float:
        """For how many seconds since an instant nothing was seen."""
        return self._blindness.since(since_s)

    @property
    def sighted_since_s(self) -> float:
        """When the view was last found again; minus infinity if it never was lost."""
        return self._blindness.over_since_s

    def _signed(self, luma: Luma, reference: Luma | None, time_s: float) -> Signature:
        soft = np.asarray(cv2.GaussianBlur(luma, (0, 0), 0.8), np.uint8)
        if self._before is not None and self._before.luma.shape != luma.shape:
            self._before = None
        if reference is None or reference.shape != luma.shape:
            self._place, self._alignment = None, Alignment()
            return Signature(soft)
        if (
            self._place is None
            or time_s - self._placed_s >= PLACE_S
            or cv2.norm(self._place.luma, reference, cv2.NORM_L1) > PLACE_LEVELS * reference.size
        ):
            self._place, self._placed_s = Signature(reference), time_s
        self._alignment.follow(soft, reference)
        return Signature(self._alignment.lay(soft))

    def _find(
        self,
        now: Signature,
        luma: Luma,
        time_s: float,
        people: Sequence[Box],
        changed_share: Callable[[], float] | None,
    ) -> Finding:
        repetition = self._repeats.follow(luma, time_s)
        top = float(np.percentile(luma[::4, ::4], 95))
        self._samples_since_light = 0 if top > LIGHT else self._samples_since_light + 1
        if top <= BLACK and (self._place is None or not shows(now, self._place, SEEN_IN_THE_DARK)):
            return self._black(now)
        # a lens that is covered may well give one and the same picture: frozen comes last
        self._agrees = None
        found = _blank(now, self._before) if self._place is None else Finding()
        if self._place is not None:
            found = self._compared(now, self._place, people, repeated=repetition is not None)
            if found.stands and changed_share is not None:
                # a plain ground has few edges to go by: a shadow over them looks like a lorry
                found = found if changed_share() >= CHANGED_SHARE else Finding()
        if found.good and repetition is not None:
            if not repetition.frozen:
                return Finding(odd=True, since_s=repetition.since_s)
            return Finding("frozen", "the camera repeats one picture; restart it", since_s=repetition.since_s)
        return found

    def _black(self, now: Signature) -> Finding:
        sudden = self._samples_since_light <= SUDDEN_SAMPLES
        dimmed = self._place is not None and likeness(now, self._place) >= DIMMED
        if (sudden or self._persistence.last_state == "covered") and not dimmed:
            return Finding(
                "covered", "the picture went black at once: cap, cloth or spray on the lens, or all light failed"
            )
        return Finding("dark", "too dark to see; look at the street's light and the camera's infrared lamp")

    def _compared(self, now: Signature, place: Signature, people: Sequence[Box], *, repeated: bool) -> Finding:
        able = (place.structure > EDGES) & ~_tiles_under(people, place.structure.shape)
        if float(able.mean()) < MIN_ABLE:
            return Finding()
        agrees = self._agrees = agreement(now, place)
        lost = able & (agrees < LOST)
        share = float(lost.sum() / able.sum())
        if share >= LOST_SHARE and _turned(now, place, able, share):
            return Finding("moved", f"the view has turned away; {MOVED_ADVICE}")
        if share < NEARLY_ALL and _blurred(now, self._before, place, able):
            return Finding("defocused", "the fine detail of the view is gone; focus or clean the lens")
        if share < LOST_SHARE:
            return Finding()
        found_share = float((agrees[able] >= SURE).mean())
        return self._hidden(now, place, lost, share, found_share, repeated=repeated)

    def _hidden(
        self,
        now: Signature,
        place: Signature,
        lost: NDArray[np.bool_],
        share: float,
        found_share: float,
        *,
        repeated: bool,
    ) -> Finding:
        """Say what hides much of the place."""
        calm = self._before is not None and _calm_share(now, self._before, lost) >= CALM_SHARE
        own = detail(now, self._before if calm and self._before is not None else now)
        plain = float((own < np.minimum(PLAIN * detail(place, place), PLAIN_DETAIL))[lost].mean()) >= 0.5
        # in a frozen picture a crowd keeps still as well
        if not calm or (repeated and not plain):
            return Finding(odd=plain)
        # what a lorry leaves of the view agrees well; in another view some tiles agree a little, by chance
        if not plain and found_share < CHANCE_SHARE:
            return Finding("moved", f"nothing of the learned view is found; {MOVED_ADVICE}")
        by = "cloth, spray, dirt or fog before the lens" if plain else "something stands before the camera"
        return Finding("covered", f"{share:.0%} of the learned view is hidden, free the view: {by}", stands=not plain)

    def _tell_passing(self, now: Signature, time_s: float, finding: Finding) -> None:
        if self._precipitation.follow(now):
            self._passed_s["rain or snow"] = time_s
        if not finding.good or self._agrees is None:
            self._headlights.forget()
        elif self._headlights.follow(now, self._agrees >= LOST):
            self._passed_s["headlights"] = time_s


def _calm_share(now: Signature, before: Signature, among: NDArray[np.bool_]) -> float:
    """Share of some tiles that show what they did a sample ago."""
    same = agreement(now, before) > SAME
    blank = (now.structure < EDGES) & (before.structure < EDGES)
    same |= blank & (np.abs(now.level - before.level) < SAME_LEVEL)
    return float(same[among].mean())


def _blank(now: Signature, before: Signature | None) -> Finding:
    if before is None or float((detail(now, before) > BLANK).mean()) > BLANK_SHARE:
        return Finding()
    return Finding("covered", "the picture is blank: cap, cloth, spray or fog before the lens; free the view")


def _turned(now: Signature, place: Signature, able: NDArray[np.bool_], lost_share: float) -> bool:
    """Say whether the place lies elsewhere in the picture, beyond what alignment follows."""
    shift = estimate_shift(now.luma, place.luma)
    if shift is None or max(map(abs, shift)) <= REACH_PX:
        return False
    laid = Signature(Alignment(offset=shift).lay(now.luma))
    height, width = now.luma.shape
    rows, columns = able.shape
    ys, xs = (np.arange(rows) + 0.5) / rows * height + shift[1], (np.arange(columns) + 0.5) / columns * width + shift[0]
    inside = ((ys >= 0) & (ys < height))[:, None] & ((xs >= 0) & (xs < width))[None, :]
    there = able & inside
    # the peak of a correlation may be chance: the place must be found there
    if float(there.sum()) < THERE_SHARE * float(able.sum()):
        return False
    return float((agreement(laid, place)[there] < LOST).mean()) <= max(MISLAID, lost_share - REGAINED)


def _blurred(now: Signature, before: Signature | None, place: Signature, able: NDArray[np.bool_]) -> bool:
    kept = contrast(now) / max(contrast(place), 1e-3)
    if likeness(now, place) < RELATED or not FAINT <= kept <= STARK:
        return False
    if float(np.quantile(sharpness(now, place)[able], 0.75)) >= SHARP:
        return False
    if before is None:
        return True
    # a view that lies beside the reference loses the likeness of its detail, but not the detail
    spread = float(now.level.std()) / max(float(place.level.std()), 1.0)
    own = detail(now, before)[able] / np.maximum(detail(place, place)[able], 0.05)
    return float(np.sqrt(np.quantile(own, 0.75))) < OWN_SHARP * spread


def _tiles_under(boxes: Sequence[Box], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Tiles of which boxes hide a good part: their middle."""
    rows, columns = shape
    ys, xs = (np.arange(rows) + 0.5) / rows, (np.arange(columns) + 0.5) / columns
    under = np.zeros((rows, columns), np.bool_)
    for x, y, w, h in boxes:
        under |= ((ys >= y) & (ys <= y + h))[:, None] & ((xs >= x) & (xs <= x + w))[None, :]
    return under

"""Which other dwell or area would have spared false alarms without losing what people confirmed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from math import sqrt
from typing import Final, Literal

from collector.learning.replay import Limits, Sample, reported

MIN_FALSE: Final = 10
MIN_CONFIRMED: Final = 20
MIN_DAYS: Final = 5
"""Of which the samples are: one market day is no evidence."""
KEPT: Final = 0.97
"""Share of the confirmed alerts that has to stay, of these samples."""
KEPT_SURELY: Final = 0.85
"""The same at the lower end of its 95 % interval: 22 samples if none is lost, 35 if one is."""
SPARED: Final = 0.2
"""Share of the false alarms that has to go, at the lower end of its 95 % interval."""
DWELL_S: Final = (10.0, 1800.0)
AREA_M2: Final = (0.05, 4.0)
"""Limits of what is suggested, tried and accepted here; beyond them somebody changes the settings by hand."""
MOST_TIMES: Final = 4.0
"""A suggestion is at most so many times the present dwell."""
STEP_S: Final = 30.0
STEP_M2: Final = 0.1
_Z: Final = 1.959964


@dataclass(frozen=True)
class Suggestion:
    """Other limits, and what they would have done to the samples.

    Args:
        what: the setting that is another one.
        spared: false alarms that would not have been reported, of `false`.
        lost: confirmed alerts that would not, of `confirmed`.
    """

    what: Literal["dwell_s", "min_area_m2"]
    limits: Limits
    spared: int
    false: int
    lost: int
    confirmed: int

    @property
    def kept(self) -> tuple[float, float]:
        """95 % interval of the share of confirmed alerts that stay."""
        return wilson(self.confirmed - self.lost, self.confirmed)

    @property
    def holds(self) -> bool:
        """Whether there is enough behind it."""
        return (
            self.confirmed - self.lost >= KEPT * self.confirmed
            and self.kept[0] >= KEPT_SURELY
            and wilson(self.spared, self.false)[0] >= SPARED
        )


def wilson(count: int, of: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson's score interval); all of 0 to 1 where there is nothing."""
    if of == 0:
        return 0.0, 1.0
    share, square = count / of, _Z * _Z / of
    middle = share + square / 2
    off = _Z * sqrt((share * (1 - share) + square / 4) / of)
    return max(0.0, (middle - off) / (1 + square)), min(1.0, (middle + off) / (1 + square))


def suggest(samples: Sequence[Sample], now: Limits, zone: tzinfo = UTC) -> list[Suggestion]:
    """For the dwell and for the area the one that spares most, if any holds; of equal ones the nearest to now.

    Samples that the limits of now would not report any more are left out: what was accepted is not suggested again.
    Days are those of `zone`.
    """
    samples = reported(samples, now)
    days = {datetime.fromtimestamp(one.opened_s, zone).date() for one in samples}
    verdicts = [one.verdict for one in samples]
    if verdicts.count("false") < MIN_FALSE or verdicts.count("confirmed") < MIN_CONFIRMED or len(days) < MIN_DAYS:
        return []
    found = []
    for candidates in (_dwells(now), _areas(samples, now)):
        good = [one for one in (_judge(samples, *candidate) for candidate in candidates) if one.holds]
        if good:
            found.append(max(good, key=lambda one: one.spared))
    return found


def _judge(samples: Sequence[Sample], what: Literal["dwell_s", "min_area_m2"], limits: Limits) -> Suggestion:
    gone = [one.verdict for one in samples if one.reported_s(limits) is None]
    false = sum(one.verdict == "false" for one in samples)
    return Suggestion(what, limits, gone.count("false"), false, gone.count("confirmed"), len(samples) - false)


def _dwells(now: Limits) -> Iterator[tuple[Literal["dwell_s"], Limits]]:
    dwell_s = now.dwell_s // STEP_S * STEP_S + STEP_S
    while dwell_s <= min(MOST_TIMES * now.dwell_s, DWELL_S[1]):
        yield "dwell_s", Limits(dwell_s, now.min_area_m2)
        dwell_s += STEP_S


def _areas(samples: Sequence[Sample], now: Limits) -> Iterator[tuple[Literal["min_area_m2"], Limits]]:
    """None where no area is known: the camera has no plane."""
    if all(part.area_m2 is None for one in samples for held in one.presences for part in held.stretches):
        return
    for step in range(1, round(AREA_M2[1] / STEP_M2) + 1):
        area_m2 = round(step * STEP_M2, 2)
        if now.min_area_m2 is None or area_m2 > now.min_area_m2:
            yield "min_area_m2", Limits(now.dwell_s, area_m2)

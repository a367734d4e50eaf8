"""What a zone would have reported with another dwell and another smallest area: pure functions on past alerts.

As on the box (`agent.rules.frontage`): an alert is reported as soon as something has stood for longer than the dwell
and is not known to be smaller than the limit. Until the first message it is taken to have been as that one says.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal

from protocol.messages import Incident

Verdict = Literal["confirmed", "false"]


@dataclass(frozen=True)
class Limits:
    """Settings of a zone that are tried.

    Args:
        min_area_m2: None: no limit on the ground.
    """

    dwell_s: float
    min_area_m2: float | None = None


@dataclass(frozen=True)
class Stretch:
    """What stood there from an instant on: its area on the ground, None where it is not known."""

    from_s: float
    area_m2: float | None = None


@dataclass(frozen=True)
class Presence:
    """One incident of a zone.

    Args:
        opened_s: first instant of the presence, seconds since the epoch by the box's clock.
        end_s: when it was over, `inf` for not yet.
        stretches: by time, the first from `opened_s` on; at least one.
    """

    opened_s: float
    end_s: float
    stretches: tuple[Stretch, ...]

    def reported_s(self, limits: Limits) -> float | None:
        """When it is reported; None: never."""
        due_s = self.opened_s + limits.dwell_s
        ends = [*(one.from_s for one in self.stretches[1:]), self.end_s]
        for stretch, until_s in zip(self.stretches, ends, strict=True):
            small = None not in (stretch.area_m2, limits.min_area_m2) and stretch.area_m2 < limits.min_area_m2  # type: ignore[operator]  # neither is None
            at_s = max(due_s, stretch.from_s)
            if not small and at_s < min(until_s, self.end_s):
                return at_s
        return None


@dataclass(frozen=True)
class Sample:
    """A ticket with a verdict, and what it was in one zone."""

    ticket: int
    verdict: Verdict
    presences: tuple[Presence, ...]
    reason: str = ""
    """Id of that of a false alarm; empty: in somebody's own words, or none."""

    @property
    def opened_s(self) -> float:
        """When it began."""
        return min(one.opened_s for one in self.presences)

    def reported_s(self, limits: Limits) -> float | None:
        """When it is reported first; None: never."""
        return min((at_s for one in self.presences if (at_s := one.reported_s(limits)) is not None), default=None)


@dataclass(frozen=True)
class Change:
    """What other limits do to one sample: reported later by so much, or `later_s` None for not at all."""

    sample: Sample
    later_s: float | None


def read_presence(messages: Sequence[Incident], verdict: Verdict) -> Presence:
    """An incident from its messages, by `seq`; at least one.

    One that was not seen clear has no known end. That is held against a change: a false alarm then goes on for ever, so
    that nothing is gained, and a confirmed one ends with the last message, so that it may be lost.
    """
    first, last = messages[0], messages[-1]
    opened_s = first.opened_at.timestamp()
    if last.cleared_at is not None:
        end_s = last.cleared_at.timestamp()
    else:
        end_s = inf if verdict == "false" else last.at.timestamp()
    stretches = [Stretch(opened_s, _area(first))]
    for one in messages[1:]:
        if one.items:
            stretches.append(Stretch(max(one.at.timestamp(), stretches[-1].from_s), _area(one)))
    return Presence(opened_s, max(end_s, opened_s), tuple(stretches))


def _area(message: Incident) -> float | None:
    """Of the largest item; None where that of one is not known."""
    areas = [item.area_m2 for item in message.items]
    return None if not areas or None in areas else max(area for area in areas if area is not None)


def reported(samples: Iterable[Sample], limits: Limits) -> list[Sample]:
    """Samples that there still are with these limits."""
    return [one for one in samples if one.reported_s(limits) is not None]


def try_out(samples: Iterable[Sample], now: Limits, other: Limits) -> list[Change]:
    """What other limits do to the samples that there are with those of now: those that change, as they came."""
    changes = []
    for one in samples:
        was_s, is_s = one.reported_s(now), one.reported_s(other)
        if was_s is not None and was_s != is_s:
            changes.append(Change(one, None if is_s is None else is_s - was_s))
    return changes

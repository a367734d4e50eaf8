"""What is known of one zone, put together for pages and programs."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Any

from sqlalchemy.orm import Session

from collector.learning.replay import Change, Limits, Sample, reported, try_out
from collector.learning.suggestions import Suggestion, suggest
from collector.learning.verdicts import Place, Statistics, Tally, Wanted, samples, statistics, wanted_now
from collector.store import Box


@dataclass(frozen=True)
class Outlook:
    """One zone and rule.

    Args:
        wanted: its settings; None: it has none now, and nothing is tried.
        samples: its judged alerts, those as well that these would not report any more.
    """

    place: Place
    statistics: Statistics
    wanted: Wanted | None
    samples: tuple[Sample, ...] = ()
    suggestions: tuple[Suggestion, ...] = ()

    def try_out(self, limits: Limits) -> "Trial | None":
        """What other limits would have done; None where there are no settings."""
        if self.wanted is None:
            return None
        now = self.wanted.limits
        return Trial(limits, len(reported(self.samples, now)), try_out(self.samples, now, limits))


@dataclass(frozen=True)
class Trial:
    """Limits that were tried on so many past alerts, and those of these that change."""

    limits: Limits
    count: int
    changes: list[Change]

    def gone(self, verdict: str) -> list[Change]:
        """Alerts of a verdict that would not have been reported."""
        return [one for one in self.changes if one.sample.verdict == verdict and one.later_s is None]

    @property
    def moved(self) -> list[Change]:
        """Alerts that would have been reported at another time."""
        return [one for one in self.changes if one.later_s is not None]


def look(
    session: Session, place: Place, streets: Collection[str] | None, now_ms: int, zone: tzinfo = UTC
) -> Outlook | None:
    """What is known of a zone; None where there is no such one at these streets (None: at any)."""
    box = session.get(Box, place.box)
    if box is None or (streets is not None and box.site not in streets):
        return None
    found, wanted = statistics(session, None, now_ms, place).get(place), wanted_now(session, place)
    if found is None and wanted is None:
        return None
    known = tuple(samples(session, place, now_ms))
    suggestions = () if wanted is None else tuple(suggest(known, wanted.limits, zone))
    return Outlook(place, found or Statistics(street=box.site), wanted, known, suggestions)


def statistics_json(place: Place, one: Statistics) -> dict[str, Any]:
    """Statistics for programs."""
    return {
        **vars(place),
        "street": one.street,
        **_tally(one),
        "share_interval": one.interval,
        "reasons": dict(one.reasons),
        "weeks": [_tally(week) for week in one.weeks],
    }


def outlook_json(one: Outlook, dwell_s: float | None = None, min_area_m2: float | None = None) -> dict[str, Any]:
    """A zone for programs, with a trial of a dwell where one is given; `later_s` null: not reported at all.

    Without an area it is tried with the wanted one.
    """
    trial = None
    if dwell_s is not None and one.wanted is not None:
        area_m2 = one.wanted.limits.min_area_m2 if min_area_m2 is None else min_area_m2
        trial = one.try_out(Limits(dwell_s, area_m2))
    return {
        **statistics_json(one.place, one.statistics),
        "settings": None if one.wanted is None else {"revision": one.wanted.revision, **vars(one.wanted.limits)},
        "samples": len(one.samples),
        "suggestions": [
            {**vars(each), "limits": vars(each.limits), "kept_interval": each.kept} for each in one.suggestions
        ],
        "trial": None
        if trial is None
        else [
            {"ticket": each.sample.ticket, "verdict": each.sample.verdict, "later_s": each.later_s}
            for each in trial.changes
        ],
    }


def _tally(one: Tally) -> dict[str, Any]:
    return {"alerts": one.alerts, "confirmed": one.confirmed, "false": one.false, "false_share": one.share}

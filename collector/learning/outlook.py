"""What is known of one zone, put together for pages and programs."""

from collections.abc import Collection
from dataclasses import dataclass
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
        samples: that it would report with these.
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
        return Trial(limits, len(self.samples), tuple(try_out(self.samples, self.wanted.limits, limits)))


@dataclass(frozen=True)
class Trial:
    """Limits that were tried on past alerts, and those of the alerts that change."""

    limits: Limits
    samples: int
    changes: tuple[Change, ...]

    def gone(self, verdict: str) -> tuple[Change, ...]:
        """Alerts of a verdict that would not have been reported."""
        return tuple(one for one in self.changes if one.sample.verdict == verdict and one.later_s is None)

    @property
    def moved(self) -> tuple[Change, ...]:
        """Alerts that would have been reported at another time."""
        return tuple(one for one in self.changes if one.later_s is not None)


def look(session: Session, place: Place, streets: Collection[str] | None, now_ms: int) -> Outlook | None:
    """What is known of a zone; None where there is no such one at these streets (None: at any)."""
    box = session.get(Box, place.box)
    if box is None or (streets is not None and box.site not in streets):
        return None
    found = statistics(session, None, now_ms, place).get(place)
    wanted, known = wanted_now(session, place), samples(session, place, now_ms)
    if found is None and wanted is None and not known:
        return None
    numbers = found or Statistics(street=box.site)
    if wanted is None:
        return Outlook(place, numbers, None)
    same = reported(known, wanted.limits)
    return Outlook(place, numbers, wanted, tuple(same), tuple(suggest(same, wanted.limits)))


def statistics_json(place: Place, one: Statistics) -> dict[str, Any]:
    """Statistics for programs."""
    return {
        **vars(place),
        "street": one.street,
        **_tally(one),
        "share_interval": [round(share, 4) for share in one.interval],
        "reasons": dict(one.reasons),
        "weeks": [_tally(week) for week in one.weeks],
    }


def outlook_json(one: Outlook) -> dict[str, Any]:
    """A zone for programs."""
    wanted = one.wanted
    return {
        **statistics_json(one.place, one.statistics),
        "settings": None if wanted is None else {"revision": wanted.revision, **vars(wanted.limits)},
        "samples": len(one.samples),
        "suggestions": [
            {
                "what": each.what,
                **vars(each.limits),
                "false": each.false,
                "false_spared": each.spared,
                "confirmed": each.confirmed,
                "confirmed_lost": each.lost,
                "kept_interval": [round(share, 4) for share in each.kept],
            }
            for each in one.suggestions
        ],
    }


def trial_json(one: Trial) -> dict[str, Any]:
    """A trial for programs; `later_s` null: it would not have been reported."""
    return {
        **vars(one.limits),
        "samples": one.samples,
        "false_spared": len(one.gone("false")),
        "confirmed_lost": len(one.gone("confirmed")),
        "changes": [
            {"ticket": each.sample.ticket, "verdict": each.sample.verdict, "later_s": each.later_s}
            for each in one.changes
        ],
    }


def _tally(one: Tally) -> dict[str, Any]:
    return {"alerts": one.alerts, "confirmed": one.confirmed, "false": one.false, "false_share": one.share}

"""How a reader reads: their language, the center's time zone, and dates, spans and numbers as both have them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date, format_datetime
from babel.numbers import format_decimal, format_percent
from babel.units import format_unit

from collector.web import language as languages

LOCALES: Final = {"zh": Locale("zh", "CN", "Hans"), "en": Locale("en", "GB")}
"""English is Great Britain's: 24 hours, the day before the month."""
FORMS: Final = {
    "moment": {"zh": "y年M月d日 HH:mm:ss", "en": "d MMM y, HH:mm:ss"},
    "minute": {"zh": "y年M月d日 HH:mm", "en": "d MMM y, HH:mm"},
    "of_year": {"zh": "M月d日 HH:mm", "en": "d MMM, HH:mm"},
    "of_day": {"zh": "HH:mm:ss", "en": "HH:mm:ss"},
    "day": {"zh": "y年M月d日", "en": "d MMM y"},
}
_SPANS: Final = (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1))


@dataclass(frozen=True)
class Reader:
    """Writes values for a reader.

    Args:
        language: one of `language.LANGUAGES`.
        zone: of the center.
        now_ms: the center's clock, milliseconds since the epoch.
    """

    language: str
    zone: ZoneInfo
    now_ms: Callable[[], int]

    @property
    def locale(self) -> Locale:
        """Babel's."""
        return LOCALES[self.language]

    def say(self, text: object) -> str:
        """A sentence, a pair of words or a refusal, in this language."""
        return languages.say(text, self.language)

    def moment(self, at_ms: int | None) -> str:
        """Date and time to the second; empty for None."""
        return self._instant(at_ms, "moment")

    def short(self, at_ms: int | None) -> str:
        """As short as can be told from now: the time of today, a day of this year; empty for None."""
        at, now = self._local(at_ms), self._local(self.now_ms())
        if at is None or now is None:
            return self.moment(at_ms)
        if at.date() == now.date():
            return self._instant(at_ms, "of_day")
        return self._instant(at_ms, "of_year" if at.year == now.year else "minute")

    def clock(self, at_ms: int | None) -> str:
        """The time of day, to the second; empty for None."""
        return self._instant(at_ms, "of_day")

    def day(self, at_ms: int | None) -> str:
        """A date; empty for None."""
        return self._instant(at_ms, "day")

    def date(self, day: date | str) -> str:
        """A day of a calendar, also as `2026-05-28`; what is none stays as it is."""
        try:
            found = day if isinstance(day, date) else date.fromisoformat(day)
        except ValueError:
            return str(day)
        return format_date(found, FORMS["day"][self.language], self.locale)

    def span(self, span_ms: float | None) -> str:
        """A length of time in its two largest units, without a sign; empty for None."""
        return "" if span_ms is None else _span(abs(round(span_ms)) // 1000, self.language)

    def since(self, at_ms: int | None) -> str:
        """How long ago an instant was; empty for None."""
        return "" if at_ms is None else self.span(max(0, self.now_ms() - at_ms))

    def number(self, value: float | None) -> str:
        """A number with its separators; empty for None."""
        return "" if value is None else format_decimal(value, locale=self.locale)

    def percent(self, share: float | None) -> str:
        """A share of 1; empty for None."""
        return "" if share is None else format_percent(share, locale=self.locale)

    def iso(self, at_ms: int | None) -> str:
        """For `<time datetime>`; empty for what is in no year that there is."""
        at = self._local(at_ms)
        return "" if at is None else at.isoformat(timespec="seconds")

    def filters(self) -> Mapping[str, Callable[..., Any]]:
        """What templates write values with."""
        names = ("say", "moment", "short", "clock", "day", "date", "span", "since", "number", "percent", "iso")
        return {name: getattr(self, name) for name in names}

    def _local(self, at_ms: int | None) -> datetime | None:
        if at_ms is None:
            return None
        try:
            return datetime.fromtimestamp(at_ms / 1000, self.zone)
        except (OverflowError, ValueError, OSError):
            return None

    def _instant(self, at_ms: int | None, form: str) -> str:
        if at_ms is None:
            return ""
        at = self._local(at_ms)
        # of no year that there is
        return f"{at_ms} ms" if at is None else format_datetime(at, FORMS[form][self.language], self.zone, self.locale)


@lru_cache(4096)
def _span(seconds: int, language: str) -> str:
    parts: list[str] = []
    for unit, length_s in _SPANS:
        count, seconds = divmod(seconds, length_s)
        if count or parts:
            parts.append(_unit(count, unit, language))
        if len(parts) == 2:
            break
    return " ".join(parts) or _unit(0, "second", language)


def _unit(count: int, unit: str, language: str) -> str:
    return format_unit(count, f"duration-{unit}", "short", locale=LOCALES[language])

"""Instants: seconds since the epoch inside the programs, RFC 3339 in UTC with milliseconds on the wire."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, PlainSerializer, WithJsonSchema


def rfc3339(instant: datetime) -> str:
    """Write an instant as `2026-01-01T00:00:00.000Z`."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_epoch(time_s: float) -> datetime:
    """Turn seconds since the epoch into an instant, rounded to the millisecond that the wire carries."""
    return datetime.fromtimestamp(round(time_s, 3), UTC)


def parse_rfc3339(text: str) -> datetime:
    """Read an instant that names its offset; raises ValueError otherwise."""
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"expected an instant with an offset such as 2026-01-01T00:00:00Z, got {text!r}")
    return instant.astimezone(UTC)


def _within_reach(instant: datetime) -> datetime:
    # the first and last days there are cannot be turned into UTC
    if not 1900 <= instant.year <= 9998:
        raise ValueError(f"expected a year from 1900 to 9998, got {instant.year}")
    return instant


Instant = Annotated[
    AwareDatetime,
    AfterValidator(_within_reach),
    PlainSerializer(rfc3339, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""A field that holds an instant; JSON has it in UTC, with milliseconds and `Z`."""

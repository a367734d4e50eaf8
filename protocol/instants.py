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


def _as_written(instant: datetime) -> datetime:
    # the first and last days there are cannot be turned into UTC
    if not 1900 <= instant.year <= 9998:
        raise ValueError(f"expected a year from 1900 to 9998, got {instant.year}")
    # what is finer than the wire carries would make what was read another one than what is written
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


Instant = Annotated[
    AwareDatetime,
    AfterValidator(_as_written),
    PlainSerializer(rfc3339, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""A field that holds an instant; JSON has it in UTC, with milliseconds and `Z`."""

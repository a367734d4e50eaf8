"""Codes of events as municipal systems number them: a table of data, `config/codes/events.toml`.

A code is 2 digits of a class and 2 of an event in it; the full code of 10 has the region's 6 before (GB/T 30428.2, by
two systems that are in use; the standard's text was not to be had).
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from protocol.documents import Section

FOLDER: Final = Path("/etc/cityeye/codes")
BEFORE: Final = Path("/etc/cityeye/codes.toml")
"""Where a center's own table of events lay before there were several tables; still read."""
NAME: Final = "events.toml"
_CODE: Final = r"^\d{4}$"


class Names(Section):
    """What something is called."""

    zh: str = Field(min_length=1, max_length=60)
    en: str = Field(min_length=1, max_length=60)


class Event(Names):
    """A kind of event."""

    code: str = Field(pattern=_CODE, description="class and event, 2 digits each")


class Codes(Section):
    """The whole table."""

    rules: Mapping[str, Annotated[str, Field(pattern=r"^(\d{4})?$")]] = Field(
        description="event code of each rule; empty: none"
    )
    classes: Mapping[Annotated[str, Field(pattern=r"^\d{2}$")], Names]
    event: tuple[Event, ...]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        codes = [event.code for event in self.event]
        twice = {code for code in codes if codes.count(code) > 1}
        if twice:
            raise ValueError(f"expected each code once, {min(twice)} is there twice")
        for code in codes:
            if code[:2] not in self.classes:
                raise ValueError(f"event {code}: expected its class {code[:2]} among [classes]")
        for rule, code in self.rules.items():
            if code and code not in codes:
                raise ValueError(f"rules: {rule}: expected the code of an [[event]], got {code}")
        return self

    def event_of(self, code: str) -> Event | None:
        """The event of a code; None where the table has none."""
        return next((event for event in self.event if event.code == code), None)

    def of_rule(self, rule: str) -> Event | None:
        """The event that a ticket's rule is, of the boxes or a code itself; None where the table has none."""
        return self.event_of(self.rules.get(rule, rule))


@dataclass(frozen=True)
class CaseNumber:
    """The 19 digits of a case: 6 of the region, 8 of the date, 5 in order of the day."""

    region: str
    day: date
    serial: int

    def __str__(self) -> str:
        if not re.fullmatch(r"\d{6}", self.region) or not 1 <= self.serial <= 99_999:
            raise ValueError(
                f"expected a region of 6 digits and a serial from 1 to 99999, got {self.region} and {self.serial}"
            )
        return f"{self.region}{self.day:%Y%m%d}{self.serial:05d}"


def full_code(region: str, code: str) -> str:
    """The 10 digits of an event at a region; raises ValueError."""
    if not re.fullmatch(r"\d{6,12}", region) or not re.fullmatch(_CODE, code):
        raise ValueError(f"expected a region of at least 6 digits and a code of 4, got {region!r} and {code!r}")
    return f"{region[:6]}{code}"


def load_codes(path: Path | None = None) -> Codes:
    """Read the table of this center, else the one that comes with the program; raises SettingsError."""
    own = path or next((one for one in (FOLDER / NAME, BEFORE) if one.exists()), None)
    if own is not None and own.exists():
        return Codes.load(own)
    text = (files("cityeye_config") / "codes" / NAME).read_text("utf-8")
    return Codes.of(tomllib.loads(text), f"cityeye_config/codes/{NAME}")

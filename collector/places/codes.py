"""Codes of events as municipal systems number them: a table of data, `config/codes/events.toml`.

A code is 2 digits of a class and 2 of an event in it; the full code of 10 has the region's 6 before (GB/T 30428.2, by
two systems that are in use; the standard's text was not to be had).
"""

import re
import tomllib
from collections.abc import Mapping
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Final, Self, TypeVar

from pydantic import Field, model_validator

from protocol.documents import Section

FOLDER: Final = Path("/etc/cityeye/codes")
BEFORE: Final = Path("/etc/cityeye/codes.toml")
"""Where a center's own table of events lay before there were several tables; still read."""
NAME: Final = "events.toml"
Table = TypeVar("Table", bound=Section)
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


class Numbering(Section):
    """How cases are numbered."""

    pattern: str = Field(description="with {region}, {day} and {serial}, as Python formats them")
    digits: int = Field(ge=6, le=40, description="that a number has")
    most: int = Field(ge=1, description="cases of a day")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        numbers = {self.number("330105", date(2026, 12, 31), serial) for serial in (1, self.most)}
        if len(numbers) < min(2, self.most):
            raise ValueError("pattern: expected {serial} in it: each case has a number of its own")
        return self

    def number(self, region: str, day: date, serial: int) -> str:
        """Of a case; raises ValueError."""
        try:
            made = self.pattern.format(region=region, day=day, serial=serial)
        except (KeyError, IndexError, ValueError, AttributeError) as fault:
            raise ValueError(f"pattern: expected {{region}}, {{day}} and {{serial}} in it, got: {fault}") from None
        if len(made) != self.digits or not (made.isascii() and made.isdecimal()):
            raise ValueError(f"expected {self.digits} digits, got {made!r:.60} for region {region!r}")
        return made


def full_code(region: str, code: str) -> str:
    """The 10 digits of an event at a region; raises ValueError."""
    if not re.fullmatch(r"\d{6,12}", region) or not re.fullmatch(_CODE, code):
        raise ValueError(f"expected a region of at least 6 digits and a code of 4, got {region!r} and {code!r}")
    return f"{region[:6]}{code}"


def load_codes(path: Path | None = None) -> Codes:
    """Read the table of this center, else the one that comes with the program; raises SettingsError."""
    own = path or (BEFORE if BEFORE.exists() and not (FOLDER / NAME).exists() else None)
    return load_table(NAME, Codes, own)


def load_numbering() -> Numbering:
    """How cases are numbered; raises SettingsError."""
    return load_table("cases.toml", Numbering)


def load_table(name: str, kind: type[Table], path: Path | None = None) -> Table:
    """Read a table of `/etc/cityeye/codes`, else the one that comes with the program; raises SettingsError."""
    own = path or FOLDER / name
    if own.exists():
        return kind.load(own)
    text = (files("cityeye_config") / "codes" / name).read_text("utf-8")
    return kind.of(tomllib.loads(text), f"cityeye_config/codes/{name}")

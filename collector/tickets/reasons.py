"""Why an alert was a false alarm: a table of data, `config/reasons.toml`; a step keeps the id, to be counted."""

import tomllib
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import Field, model_validator

from protocol.documents import Section
from protocol.ids import Slug

OVERRIDE: Final = Path("/etc/cityeye/reasons.toml")
NAME: Final = "reasons.toml"
Suggests = Literal["dwell", "area", "zone", "permit", "model", "none"]


class Reason(Section):
    """One reason."""

    id: Slug
    zh: str = Field(min_length=1, max_length=60)
    en: str = Field(min_length=1, max_length=60)
    suggests: Suggests = Field(default="none", description="what helps against it")
    thing: bool = Field(default=False, description="something stood there that a detector is to find all the same")


class Reasons(Section):
    """The whole table, in the order in which it is offered."""

    reason: tuple[Reason, ...] = Field(min_length=1, max_length=50)

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        ids = [one.id for one in self.reason]
        twice = {one for one in ids if ids.count(one) > 1}
        if twice:
            raise ValueError(f"expected each id once, {min(twice)} is there twice")
        return self

    def find(self, reason: str) -> Reason | None:
        """A reason by its id; None for one that the table has no more, or never had."""
        return next((one for one in self.reason if one.id == reason), None)


@lru_cache
def load_reasons(path: Path = OVERRIDE) -> Reasons:
    """The table of this center, else the one that comes with the program, read once; raises SettingsError."""
    if path.exists():
        return Reasons.load(path)
    return Reasons.of(tomllib.loads((files("cityeye_config") / NAME).read_text("utf-8")), f"cityeye_config/{NAME}")

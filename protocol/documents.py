"""Settings documents: TOML files read into strict models, with faults that a person on a ladder can act on."""

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, ValidationInfo, model_validator
from pydantic_core import ErrorDetails


class SettingsError(Exception):
    """A settings file that cannot be used; its text is one line that names the file, the place and what to do."""


class Section(BaseModel):
    """A table of a settings file: frozen, and refusing keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _name_unknown_keys(cls, values: Any, info: ValidationInfo) -> Any:
        """Refuse them; with a list as context, leave them out and name them there."""
        if not isinstance(values, Mapping):
            return values
        known = list(cls.model_fields)
        for key in values:
            if key not in known:
                if info.context is None:
                    near = difflib.get_close_matches(str(key), known, n=1, cutoff=0)
                    raise ValueError(f"unknown key {key!r}; the nearest known one is {near[0]!r}")
                info.context.append(str(key))
        return {key: value for key, value in values.items() if key in known}

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a TOML file; raises SettingsError."""
        return cls.of(read_toml(path), str(path))

    @classmethod
    def of(cls, values: Mapping[str, Any], where: str) -> Self:
        """Read a table; raises SettingsError, whose text begins with where it came from."""
        try:
            return cls.model_validate(values)
        except ValidationError as fault:
            raise SettingsError(f"{where}: {first_fault(fault, values)}") from None


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file; raises SettingsError."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{path}: expected a settings file, found none; check the path") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as fault:
        raise SettingsError(f"{path}: expected TOML in UTF-8, got: {fault}") from None


def first_fault(error: ValidationError, values: Mapping[str, Any]) -> str:
    """Turn pydantic's first fault into one line: where it is, what was expected and what came.

    Tables in a list are named by their `id`: `camera cam-1, zone crossing: max_people: …`.
    """
    return all_faults(error, values)[0]


def all_faults(error: ValidationError, values: Mapping[str, Any]) -> list[str]:
    """Turn each of pydantic's faults into one line."""
    return [_fault_text(fault, values) for fault in error.errors(include_url=False)]


def _fault_text(fault: ErrorDetails, values: Mapping[str, Any]) -> str:
    where: list[str] = []
    here: Any = values
    for step in fault["loc"]:
        if isinstance(step, int) and isinstance(here, list):
            # a list that is too short lacks this one
            here = here[step] if step < len(here) else None
            name = here.get("id") if isinstance(here, Mapping) else None
            where[-1] = f"{where[-1]} {name or f'number {step + 1}'}"
        elif isinstance(here, Mapping) and step in here:
            here = here[step]
            where.append(str(step))
        elif fault["type"] == "missing":
            where.append(str(step))
        # any other step is the tag of a union, which says nothing to the reader
    text = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "missing":
        text = "expected a value, found none; add this key"
    elif fault["type"] != "value_error":
        text = f"{text}, got {_short(fault['input'])}"
    return f"{', '.join(where[:-1])}: {where[-1]}: {text}".removeprefix(": ") if where else text


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"expected a time zone such as 'Asia/Shanghai', got {name!r}") from None
    return name


TimeZoneName = Annotated[str, AfterValidator(_known_zone)]
"""Name of a time zone that this machine knows."""

"""What is wrong with a change or a file, in words that name row and field."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

MAX_SHOWN: Final = 80
"""Characters of what came that are repeated in a fault."""


class Text(NamedTuple):
    """One text in both languages."""

    zh: str
    en: str

    def __str__(self) -> str:
        return f"{self.zh} / {self.en}"


class BadValueError(ValueError):
    """One value that cannot be taken; raised by the readers of `fields`."""

    def __init__(self, code: str, zh: str, en: str) -> None:
        super().__init__(en)
        self.code = code
        self.text = Text(zh, en)


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Args:
        code: for programs.
        text: what was expected, what came, and what to do.
        row: as the spreadsheet counts, the heading is row 1; None where it is about a whole file or a single change.
        field: its name in English, as in the JSON.
        column: the heading that the file has for it.
    """

    code: str
    text: Text
    row: int | None = None
    field: str | None = None
    column: str | None = None

    @property
    def where(self) -> Text:
        """Row and field."""
        column = self.column if self.column not in (None, self.field) else ""
        name = " ".join(part for part in (column, self.field) if part)
        zh = ["" if self.row is None else f"第 {self.row} 行", name]
        en = ["" if self.row is None else f"row {self.row}", name]
        return Text("，".join(filter(None, zh)), ", ".join(filter(None, en)))

    def __str__(self) -> str:
        where = self.where
        zh, en = (f"{place}: {text}" if place else text for place, text in zip(where, self.text, strict=True))
        return f"{zh} / {en}"

    def as_json(self) -> dict[str, object]:
        """For the API."""
        return {"row": self.row, "field": self.field, "column": self.column, "code": self.code, **self.text._asdict()}


class PlacesError(Exception):
    """A change that is refused, as a whole; `faults` says all that is wrong with it."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults: Sequence[Fault] = tuple(faults)
        more = f" (+{len(self.faults) - 1})" if len(self.faults) > 1 else ""
        super().__init__(f"{self.faults[0]}{more}")

    @classmethod
    def of(cls, code: str, zh: str, en: str, field: str | None = None) -> "PlacesError":
        """One fault."""
        return cls([Fault(code, Text(zh, en), field=field)])

    @property
    def code(self) -> str:
        """Of the first fault."""
        return self.faults[0].code


def shown(value: object) -> str:
    """What came, quoted and not too long; control characters are escaped."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."

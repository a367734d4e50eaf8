"""Workbooks of several sheets, whose numbers are numbers; what people wrote is text and never runs."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import openpyxl
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from openpyxl.styles import Font

Value = str | int | float | None
PERCENT: Final = "0.0%"
_FORBIDDEN: Final = str.maketrans(dict.fromkeys("[]:*?/\\", "-"))


@dataclass(frozen=True)
class Page:
    """One sheet of a workbook.

    Args:
        title: on its tab; shortened to 31 characters.
        head: names of the columns; the row stays in sight.
        rows: texts and numbers, None for an empty cell.
        formats: how numbers of a column are shown, by its index, as `0.0%`.
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[Value]]
    formats: Sequence[tuple[int, str]] = ()


def write_book(pages: Sequence[Page]) -> bytes:
    """Write a workbook (XLSX)."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for page in pages:
        sheet = book.create_sheet(page.title.translate(_FORBIDDEN)[:31])
        formats = dict(page.formats)
        for number, row in enumerate((page.head, *page.rows), 1):
            for column, value in enumerate(row):
                _put(sheet.cell(number, column + 1), value, formats.get(column) if number > 1 else None)
        for cell in sheet[1]:
            cell.font = Font(bold=True)
        sheet.freeze_panes = "A2"
        fit_columns(sheet)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def _put(cell: Any, value: Value, form: str | None) -> None:
    if not isinstance(value, str):
        cell.value = value
        if form is not None:
            cell.number_format = form
        return
    cell.value = ILLEGAL_CHARACTERS_RE.sub(" ", value)
    cell.data_type = "s"  # else what begins with = is a formula


def fit_columns(sheet: Any) -> None:
    """Make a sheet's columns as wide as what stands in them, Chinese being twice as wide as Latin."""
    for column in sheet.columns:
        width = max(len(str(cell.value or "").encode("gb18030", "replace")) for cell in column)
        sheet.column_dimensions[column[0].column_letter].width = min(max(width, 6), 40) + 2

"""Columns of a file, and the fields that they are: one table serves files, JSON, history and command line."""

import difflib
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from collector.places.faults import BadValueError, Fault, PlacesError, Text, shown
from collector.places.sheets import MAX_COLUMNS, Line, Sheet

Values = dict[str, Any]
"""Fields of a record by name; those that a file has no column for are absent."""

_BAD_CELLS: Final = {
    "formula": Text(
        "应为值，现为公式；请复制后“选择性粘贴为数值”", "expected a value, got a formula; paste it as a value"
    ),
    "error": Text("单元格是错误值", "expected a value, the cell holds an error"),
    "digits": Text(
        "数字超过 15 位，表格软件已丢失末尾；请把该列设为“文本”后重新填写",
        "expected text: a spreadsheet keeps only 15 digits of a number; format the column as text and enter it again",
    ),
}


def _same(value: Any) -> str:
    return str(value)


@dataclass(frozen=True)
class Column:
    """One field.

    Args:
        field: its name in JSON, and as an English heading.
        zh: its Chinese heading.
        read: from a text that is not empty; raises BadValueError.
        write: what `read` reads as the same value.
        required: a new record must have it, and it is never emptied.
        empty: what no text means.
        keeps: no text means that it stays as it is.
        others: further headings that are understood.
    """

    field: str
    zh: str
    read: Callable[[str], Any]
    write: Callable[[Any], str] = _same
    required: bool = False
    empty: Any = ""
    keeps: bool = False
    others: tuple[str, ...] = ()

    @property
    def headings(self) -> tuple[str, ...]:
        """All of them, as `heading` writes them."""
        names = (self.field, self.field.replace("_", " "), self.zh, *self.others)
        return tuple(dict.fromkeys(map(heading, names)))

    def of(self, text: str) -> Any:
        """Value of a text; raises BadValueError."""
        text = text.strip()
        if text:
            return self.read(text)
        if self.required:
            raise BadValueError("missing", "不能为空", "expected a value, it is empty")
        return self.empty

    def text(self, value: Any) -> str:
        """Text of a value."""
        return "" if value in (None, "", ()) else self.write(value)


def heading(text: str) -> str:
    """A heading without what people vary: case, width, spaces, underscores, a unit or remark in brackets."""
    plain = unicodedata.normalize("NFKC", text).lower().split("(")[0]
    return "".join(plain.replace("_", " ").replace("*", " ").split())


def values_of(columns: Sequence[Column], given: Mapping[str, object]) -> Values:
    """Read the fields of one record, as JSON or a command line gives them; raises PlacesError."""
    values: Values = {}
    faults = []
    known = {column.field: column for column in columns}
    for name, value in given.items():
        column = known.get(name)
        if column is None:
            faults.append(_unknown(name, list(known), None))
            continue
        try:
            text = _text(value)
            if text.strip() or not column.keeps:
                values[name] = column.of(text)
        except BadValueError as bad:
            faults.append(Fault(bad.code, bad.text, field=name))
    if faults:
        raise PlacesError(faults)
    return values


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return "; ".join(map(_scalar, value))
    return _scalar(value)


def _scalar(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.15f}".rstrip("0").rstrip(".")
    # very long integers cannot even be written
    if isinstance(value, bool) or not isinstance(value, str | int) or (isinstance(value, int) and abs(value) > 10**30):
        raise BadValueError(
            "type",
            f"应为文字、数字或其列表，现为 {type(value).__name__}",
            f"expected text, a number or a list of them, got {type(value).__name__}",
        )
    return str(value)


def texts_of(columns: Sequence[Column], record: object) -> dict[str, str]:
    """Fields of a record as texts, by name."""
    return {column.field: column.text(getattr(record, column.field)) for column in columns}


@dataclass(frozen=True)
class Row:
    """One record of a file, as far as its columns go; `unread` are fields whose cells could not be read."""

    number: int | None
    values: Values
    unread: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Table:
    """The rows of a file, and which headings they stood under (by field)."""

    rows: tuple[Row, ...]
    headings: Mapping[str, str]


def read_table(sheet: Sheet, columns: Sequence[Column], key: Sequence[str], faults: list[Fault]) -> Table:
    """Read a sheet; what is wrong with single cells goes to `faults`; raises PlacesError for its heading."""
    if not sheet.lines:
        raise PlacesError.of("empty", "文件没有内容", "expected a heading and rows, the file is empty")
    head, *lines = sheet.lines
    places = _places(head, columns)
    missing = [column for column in columns if column.field in key and column.field not in places.values()]
    if missing:
        names = ", ".join(f"{column.zh} ({column.field})" for column in missing)
        came = shown([cell for cell in head.cells if cell][:12])
        raise PlacesError(
            [
                Fault(
                    "missing_column",
                    Text(f"表头缺少 {names}；现有 {came}", f"expected a heading with {names}, got {came}"),
                    row=head.number,
                )
            ]
        )
    headings = {field: head.cells[index] for index, field in places.items()}
    by_field = {column.field: column for column in columns}
    return Table(tuple(_row(line, places, by_field, headings, faults) for line in lines), headings)


def _places(head: Line, columns: Sequence[Column]) -> dict[int, str]:
    """Which field each column holds."""
    known = {name: column.field for column in columns for name in column.headings}
    places: dict[int, str] = {}
    faults = []
    for index, cell in enumerate(head.cells):
        if not cell:
            continue
        field = known.get(heading(cell))
        if field is None:
            # a column that is passed over in silence may be the one that matters
            faults.append(
                _unknown(cell, [name for column in columns for name in (column.field, column.zh)], head.number)
            )
        elif field in places.values():
            faults.append(
                Fault(
                    "column_twice",
                    Text("这一列出现了两次", "this column is there twice; remove one"),
                    head.number,
                    field,
                    cell,
                )
            )
        else:
            places[index] = field
    if len(head.cells) > MAX_COLUMNS:
        faults.append(
            Fault("columns", Text(f"最多 {MAX_COLUMNS} 列", f"expected at most {MAX_COLUMNS} columns"), head.number)
        )
    if faults and places:
        raise PlacesError(faults)
    return places


def _unknown(name: str, known: Sequence[str], row: int | None) -> Fault:
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    hint = (f"；是否为 {near[0]}？", f"; is it {near[0]}?") if near else ("；请删去", "; remove it")
    text = Text(f"不认识的列 {shown(name)}{hint[0]}", f"unknown column {shown(name)}{hint[1]}")
    return Fault("unknown_column", text, row, field=name[:80])


def _row(
    line: Line,
    places: Mapping[int, str],
    columns: Mapping[str, Column],
    headings: Mapping[str, str],
    faults: list[Fault],
) -> Row:
    values: Values = {}
    unread = set()
    bad = dict(line.bad)
    beyond = [index for index, cell in enumerate(line.cells) if (cell or index in bad) and index not in places]
    if beyond:
        text = Text(
            f"第 {beyond[0] + 1} 列没有表头却有内容；值里有逗号时要加引号",
            f"expected nothing in column {beyond[0] + 1}, which has no heading; a value with a comma needs quotes",
        )
        faults.append(Fault("cells", text, line.number))
    for index, field in places.items():
        cell = line.cells[index] if index < len(line.cells) else ""
        if index in bad:
            faults.append(Fault(bad[index], _BAD_CELLS[bad[index]], line.number, field, headings[field]))
            unread.add(field)
            continue
        if not cell and columns[field].keeps:
            continue
        try:
            values[field] = columns[field].of(cell)
        except BadValueError as fault:
            faults.append(Fault(fault.code, fault.text, line.number, field, headings[field]))
            unread.add(field)
    return Row(line.number, values, frozenset(unread))

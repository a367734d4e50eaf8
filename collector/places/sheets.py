"""Files of rows, CSV and XLSX: read from bytes that anybody may have sent, written so that no spreadsheet runs them.

Encodings are told apart by what the bytes are (UTF-8 with or without a mark, UTF-16 with one, else GB18030, which holds
GBK and GB2312), the two sorts of files by their first bytes, never by a name. What cannot be read with certainty is
refused.
"""

import csv
import io
import re
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any, Final, Literal

import openpyxl
from openpyxl.cell.read_only import EmptyCell, ReadOnlyCell

from collector.papers.sheet import fit_columns
from collector.places.faults import PlacesError, shown

MAX_BYTES: Final = 8 << 20
MAX_ROWS: Final = 5_000
"""A street has some hundreds of shops; writing this many takes seconds, in which SQLite lets nobody else write."""
MAX_COLUMNS: Final = 64
MAX_UNPACKED_BYTES: Final = 128 << 20
"""Of a workbook; they are zip files, and a small one can hold very much."""
MAX_PARTS: Final = 2_000
MAX_MARKS: Final = 2_000_000
"""Tags of a workbook: a cell has four to eight, and however short it is, each costs memory as it is read."""
MAX_DIGITS: Final = 15
"""Spreadsheets keep no more of a number."""
SEPARATORS: Final = {",": "comma", ";": "semicolon", "\t": "tab"}
WRONG_SEPARATORS: Final = {"，": "全角逗号 full-width comma", "|": "|", "；": "全角分号 full-width semicolon"}
Encoding = Literal["utf-8", "gb18030", "utf-16"]
ENCODINGS: Final[tuple[Encoding, ...]] = ("utf-8", "gb18030", "utf-16")

_ZIP: Final = b"PK\x03\x04"
_OLE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_RUNS: Final = re.compile(r"'*[=+\-@＝＋－＠\t\r\n]")
_QUOTED: Final = re.compile(r"'+[=+\-@＝＋－＠\t\r\n]")
_PLAIN_NUMBER: Final = re.compile(r"-?\d{1,9}(\.\d{1,15})?")


@dataclass(frozen=True)
class Line:
    """One row of a file.

    Args:
        number: as the spreadsheet counts, from 1.
        cells: their text, trimmed.
        bad: what some cells hold that is no text, by index: `formula`, `error`, `digits` (a number that has lost some).
    """

    number: int
    cells: tuple[str, ...]
    bad: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True)
class Sheet:
    """A file that could be read.

    Args:
        how: in which way, for the report: `CSV, UTF-8, comma`.
        lines: all rows that hold something, the heading first.
    """

    how: str
    lines: tuple[Line, ...]


def read_sheet(content: bytes, encoding: str | None = None) -> Sheet:
    """Read a file; raises PlacesError where it cannot be.

    Args:
        content: the whole file.
        encoding: of a CSV, where it is known; else it is found out.
    """
    if len(content) > MAX_BYTES:
        raise PlacesError.of(
            "too_big",
            f"文件最大 {MAX_BYTES >> 20} MB，现为 {len(content) / (1 << 20):.1f} MB；请分成几个文件",
            f"expected a file of at most {MAX_BYTES >> 20} MB, got {len(content) / (1 << 20):.1f} MB; split it",
        )
    if content.startswith(_ZIP):
        return _read_workbook(content)
    if content.startswith(_OLE):
        raise PlacesError.of(
            "old_workbook",
            "这是旧式 .xls 或加了密码的工作簿；请另存为不带密码的 .xlsx 或 CSV UTF-8",
            "expected .xlsx or CSV, got an old .xls or a workbook with a password; save it as .xlsx without one",
        )
    return _read_csv(content, encoding)


def _read_csv(content: bytes, encoding: str | None) -> Sheet:
    text, name = decode(content, encoding)
    separator = _separator(text)
    lines, number = [], 0
    try:
        for number, cells in enumerate(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True), 1):
            if number > MAX_ROWS + 1:
                raise _too_many_rows()
            if any(cells):
                lines.append(Line(number, tuple(map(_unquoted, cells))))
    except csv.Error as fault:
        if "field limit" in str(fault):
            raise PlacesError.of(
                "cell_too_big",
                f"第 {number + 1} 行起有超过 {csv.field_size_limit()} 个字符的单元格；是否少了一个引号？",
                f"expected cells of at most {csv.field_size_limit()} characters, got more from row {number + 1} on; "
                "is a quote missing?",
            ) from None
        raise PlacesError.of(
            "quotes",
            f"第 {number + 1} 行起引号不成对，无法分列（{fault}）；请用表格软件重新导出",
            f"expected quotes in pairs, from row {number + 1} on they are not ({fault}); export it again",
        ) from None
    return Sheet(f"CSV, {name}, {SEPARATORS[separator]}", tuple(lines))


def decode(content: bytes, encoding: str | None = None) -> tuple[str, str]:
    """Find out what encoding a text is in; returns the text and the encoding's name; raises PlacesError."""
    if encoding is not None:
        return _decode_as(content, encoding)
    if content.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        raise _unknown_encoding("UTF-32")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return _decode_as(content, "utf-16")
    if b"\0" in content:
        raise _unknown_encoding("NUL")
    try:
        return content.decode("utf-8-sig"), "UTF-8"
    except UnicodeDecodeError as fault:
        cut = fault.start >= len(content) - 3 and fault.reason == "unexpected end of data"
    text, name = _decode_as(content, "gb18030")
    if cut or not _looks_chinese(text):
        raise _unknown_encoding(f"0x{content[fault_at(content)]:02X} @ {fault_at(content)}")
    return text, name


def fault_at(content: bytes) -> int:
    """Where a text stops being UTF-8."""
    try:
        content.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        return fault.start
    return 0


def _decode_as(content: bytes, encoding: str) -> tuple[str, str]:
    codec = {"utf-8": "utf-8-sig", "utf8": "utf-8-sig", "gbk": "gb18030", "gb2312": "gb18030"}.get(
        encoding.lower(), encoding.lower()
    )
    if codec not in ("utf-8-sig", "gb18030", "utf-16"):
        raise PlacesError.of(
            "encoding",
            f"编码应为 {', '.join(ENCODINGS)} 之一，现为 {encoding}",
            f"expected one of {', '.join(ENCODINGS)}, got {encoding}",
        )
    try:
        text = content.decode(codec)
    except UnicodeDecodeError as fault:
        raise _unknown_encoding(f"{codec}: {fault.reason} @ {fault.start}") from None
    if "\0" in text:
        raise _unknown_encoding("NUL")
    return text, {"utf-8-sig": "UTF-8", "gb18030": "GB18030", "utf-16": "UTF-16"}[codec]


def _looks_chinese(text: str) -> bool:
    """Whether a text decoded as GB18030 was written in it: nearly every pair of bytes means something there.

    What people write is nearly always in GB2312, whose signs were chosen by how often they are used; what Latin-1, Big5
    or Shift-JIS turn into mostly is not.
    """
    foreign = [one for one in text if one > "\x7f"]
    common = sum(_in_gb2312(one) for one in foreign)
    return common >= 0.9 * len(foreign)


def _in_gb2312(sign: str) -> bool:
    try:
        pair = sign.encode("gb2312")
    except UnicodeEncodeError:
        return False
    # Greek, Cyrillic, kana and frames are in it too, and in no list of shops
    return pair[0] in (0xA1, 0xA3) or 0xB0 <= pair[0] <= 0xF7


def _unknown_encoding(what: str) -> PlacesError:
    return PlacesError.of(
        "encoding",
        f"无法确定文字编码（{what}）；请在表格软件中另存为“CSV UTF-8”或 .xlsx，或用 --encoding 指明",
        f"expected UTF-8 or GB18030 (GBK), or UTF-16 with its mark, got neither ({what}); save it as .xlsx",
    )


def _separator(text: str) -> str:
    head = next((line for line in text.splitlines() if line.strip(" \t,;")), "")
    counts = {separator: head.count(separator) for separator in SEPARATORS}
    best = max(counts, key=lambda separator: counts[separator])
    wrong = [name for sign, name in WRONG_SEPARATORS.items() if head.count(sign) > counts[best]]
    if wrong:
        raise PlacesError.of(
            "separator",
            f"列之间应为逗号、分号或制表符，现为 {wrong[0]}",
            f"expected a comma, a semicolon or a tab between columns, got {wrong[0]}",
        )
    return best


def _too_many_rows() -> PlacesError:
    return PlacesError.of(
        "too_many_rows",
        f"最多 {MAX_ROWS} 行；请分成几个文件",
        f"expected at most {MAX_ROWS} rows, got more; split the file",
    )


def _unquoted(cell: str) -> str:
    """Take back the mark that `_harmless` puts before what a spreadsheet would run."""
    cell = cell.strip()
    return cell[1:] if _QUOTED.match(cell) else cell


def _harmless(cell: str) -> str:
    """Mark a text that a spreadsheet would run as a formula (CWE-1236); plain numbers stay as they are."""
    return f"'{cell}" if _RUNS.match(cell) and not _PLAIN_NUMBER.fullmatch(cell) else cell


def write_csv(rows: Iterable[Sequence[str]]) -> bytes:
    """Write a CSV in UTF-8 with its mark, which Excel needs to know it by."""
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator="\r\n").writerows([_harmless(cell) for cell in row] for row in rows)
    return file.getvalue().encode("utf-8-sig")


def write_workbook(rows: Iterable[Sequence[str]], title: str) -> bytes:
    """Write a workbook of one sheet; every cell is text, so that nothing runs and no digit is lost."""
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = title
    for number, row in enumerate(rows, 1):
        for column, value in enumerate(row, 1):
            # of texts that begin like a formula, only those that begin with the mark need one more
            cell = sheet.cell(number, column, f"'{value}" if _QUOTED.match(value) else value)
            cell.data_type = "s"
            cell.number_format = "@"
    sheet.freeze_panes = "A2"
    fit_columns(sheet)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def _read_workbook(content: bytes) -> Sheet:
    try:
        _check_parts(content)
        book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=False, keep_links=False)
        sheets = list(book.worksheets)
        lines = _lines(sheets[0])
        others = [sheet.title for sheet in sheets[1:] if sheet.sheet_state == "visible" and _lines(sheet, 1)]
    except PlacesError:
        raise
    except Exception as fault:  # noqa: BLE001 - what broken or hostile workbooks make openpyxl and its parsers raise
        raise PlacesError.of(
            "workbook",
            f"不是可以读取的 .xlsx 工作簿（{type(fault).__name__}）；请重新另存",
            f"expected a workbook that can be read, got: {type(fault).__name__}: {shown(str(fault))}; save it again",
        ) from None
    if others:
        raise PlacesError.of(
            "sheets",
            f"工作簿应只有一张表，还有：{'、'.join(others[:5])}；请只留要导入的一张",
            f"expected one sheet that holds something, there are also {', '.join(others[:5])}; keep the one to import",
        )
    return Sheet(f"XLSX, {sheets[0].title}", lines)


def _check_parts(content: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(content)) as parts:
        infos = parts.infolist()
        if len(infos) > MAX_PARTS or sum(info.file_size for info in infos) > MAX_UNPACKED_BYTES:
            raise PlacesError.of(
                "too_big",
                f"工作簿解压后最大 {MAX_UNPACKED_BYTES >> 20} MB；请分成几个文件",
                f"expected a workbook of at most {MAX_UNPACKED_BYTES >> 20} MB unpacked; split it",
            )
        marks = 0
        for info in infos:
            with parts.open(info) as part:
                before = b""
                while marks <= MAX_MARKS and (piece := part.read(1 << 20)):
                    # a workbook has none; with one, a few lines of XML can become gigabytes
                    if b"<!DOCTYPE" in before + piece:
                        raise PlacesError.of(
                            "workbook", "工作簿含有不允许的 DOCTYPE", "expected a workbook without a DOCTYPE"
                        )
                    marks += piece.count(b"<")
                    before = piece[-8:]
        if marks > MAX_MARKS:
            raise PlacesError.of(
                "too_big",
                f"工作簿最多 {MAX_MARKS} 个标签，即 {MAX_ROWS} 行 {MAX_COLUMNS} 列；请删去空的行列或分成几个文件",
                f"expected a workbook of at most {MAX_MARKS} tags, as {MAX_ROWS} rows of {MAX_COLUMNS} columns have; "
                "delete empty rows and columns, or split it",
            )


def _lines(sheet: Any, limit: int = MAX_ROWS + 1) -> tuple[Line, ...]:
    sheet.reset_dimensions()  # what a sheet says of its size may be wrong
    lines: list[Line] = []
    for number, row in enumerate(sheet.iter_rows(max_col=MAX_COLUMNS + 1, max_row=MAX_ROWS + 2), 1):
        found = [_cell(cell) for cell in row]
        while found and found[-1] == ("", None):
            found.pop()
        if not found:
            continue
        if number > MAX_ROWS + 1:
            raise _too_many_rows()
        bad = tuple((index, what) for index, (_, what) in enumerate(found) if what is not None)
        lines.append(Line(number, tuple(text for text, _ in found), bad))
        if len(lines) >= limit:
            break
    return tuple(lines)


def _cell(cell: ReadOnlyCell | EmptyCell) -> tuple[str, str | None]:
    """A cell as text, and what is wrong with it."""
    value = cell.value
    if value is None:
        return "", None
    if cell.data_type in ("f", "e"):
        return str(value)[:200], "formula" if cell.data_type == "f" else "error"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _number(value)
    return _text(value), None


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time() else value.isoformat(" ")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, time):
        return f"{value:%H:%M}"
    return str(value).lower() if isinstance(value, bool) else _unquoted(str(value))


def _number(value: float) -> tuple[str, str | None]:
    if value != value or abs(value) >= 1e30:  # noqa: PLR0124 - not a number
        return str(value), "error"
    if value == int(value):
        text = str(int(value))
        return text, "digits" if len(text.lstrip("-")) > MAX_DIGITS else None
    return f"{value:.15g}" if "e" not in f"{value:.15g}" else f"{value:.15f}".rstrip("0"), None

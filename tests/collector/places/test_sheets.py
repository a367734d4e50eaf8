"""Files that people send: what is read, what is refused, and that nothing in them runs."""

import csv
import io
import zipfile
from datetime import date, datetime, time

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.places import sheets
from collector.places.faults import PlacesError
from collector.places.sheets import read_sheet, write_csv, write_workbook

HEAD = "店铺编号,店铺名称,街道,电话\r\n"
ROWS = HEAD + "tea-12,示例茶铺,s,13800000000\r\nnoodle-3,示例面馆（总店）,s,057188001234\r\n"
CELLS = [
    ("店铺编号", "店铺名称", "街道", "电话"),
    ("tea-12", "示例茶铺", "s", "13800000000"),
    ("noodle-3", "示例面馆（总店）", "s", "057188001234"),
]


def cells(content, encoding=None):
    return [line.cells for line in read_sheet(content, encoding).lines]


@pytest.mark.parametrize(
    ("content", "how"),
    [
        (ROWS.encode(), "CSV, UTF-8, comma"),
        (ROWS.encode("utf-8-sig"), "CSV, UTF-8, comma"),
        (ROWS.encode("gbk"), "CSV, GB18030, comma"),
        (ROWS.encode("gb18030"), "CSV, GB18030, comma"),
        (ROWS.encode("utf-16"), "CSV, UTF-16, comma"),
        # Excel's "Unicode text", and its CSV where the comma is the decimal mark
        (ROWS.replace(",", "\t").encode("utf-16"), "CSV, UTF-16, tab"),
        (b"\xfe\xff" + ROWS.encode("utf-16-be"), "CSV, UTF-16, comma"),
        (ROWS.replace(",", ";").encode("utf-8-sig"), "CSV, UTF-8, semicolon"),
        (ROWS.replace("\r\n", "\n").encode(), "CSV, UTF-8, comma"),
        (ROWS.replace("\r\n", "\r").encode(), "CSV, UTF-8, comma"),
        # blank rows are passed over
        (("\r\n\r\n" + ROWS + ",,,\r\n\r\n").encode(), "CSV, UTF-8, comma"),
    ],
)
def test_what_spreadsheets_write_is_read(content, how):
    assert read_sheet(content).how == how
    assert cells(content) == CELLS


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("店鋪編號,店鋪名稱\r\n茶鋪,臺灣茶鋪與麵館營業處\r\n".encode("big5"), "encoding"),
        ("店舗,なまえ\r\nたばこや,おちゃのみせ\r\n".encode("shift-jis"), "encoding"),
        ("id;name\r\ncafe;Café Noël à côté, Straße, Ångström\r\n".encode("latin-1"), "encoding"),
        (ROWS.encode("utf-32"), "encoding"),
        (ROWS.encode("utf-16-le"), "encoding"),  # without its mark
        (ROWS.encode()[:-30] + "铺".encode()[:2], "encoding"),  # cut in the middle of a sign
        (ROWS.encode()[:20] + b"\xff\xfe\xff" + ROWS.encode()[20:], "encoding"),
        (b"\x89PNG\r\n\x1a\n\0\0", "encoding"),
        (ROWS.replace(",", "，").encode(), "separator"),
        (ROWS.replace(",", "|").encode(), "separator"),
        (ROWS.replace("示例茶铺", '"示例茶铺').encode(), "quotes"),
        (ROWS.replace("示例茶铺", '"示例"茶铺').encode(), "quotes"),
        (ROWS.replace("示例茶铺", "示例\0茶铺").encode(), "encoding"),
        (ROWS.encode("utf-16") + b"a", "encoding"),
        (ROWS.encode("gbk").replace("铺".encode("gbk"), b"\x80\xff"), "encoding"),
        ((ROWS + "a," + "x" * 7_000_000).encode(), "cell_too_big"),
        ((ROWS + 'a,"' + "x\n" * 3_500_000).encode(), "cell_too_big"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100), "old_workbook"),
        (b"PK\x03\x04" + bytes(100), "workbook"),
        (bytes(sheets.MAX_BYTES + 1), "too_big"),
        ((HEAD + "a,b,c,d\r\n" * (sheets.MAX_ROWS + 1)).encode(), "too_many_rows"),
    ],
)
def test_what_cannot_be_read_with_certainty_is_refused(content, code):
    with pytest.raises(PlacesError) as refused:
        read_sheet(content)
    assert refused.value.code == code


def test_the_encoding_may_be_told():
    assert cells(ROWS.encode("gbk"), "GBK") == CELLS
    with pytest.raises(PlacesError, match="expected UTF-8 or GB18030"):
        read_sheet(ROWS.encode("gbk"), "utf-8")
    with pytest.raises(PlacesError, match="expected one of utf-8, gb18030, utf-16"):
        read_sheet(ROWS.encode(), "ebcdic")


def workbook(*rows, change=None):
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    if change is not None:
        change(book)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def test_cells_of_a_workbook_become_what_they_show():
    rows = [
        ("id", "phone", "from_day", "hours", "lon", "note"),
        ("tea-12", 13800000000, date(2026, 5, 1), time(18, 0), 120.125, True),
        ("noodle-3", "057188001234", datetime(2026, 5, 1), "18:00-22:00", -0.5, None),  # noqa: DTZ001 - a cell has none
    ]
    lines = read_sheet(workbook(*rows)).lines
    assert lines[1].cells == ("tea-12", "13800000000", "2026-05-01", "18:00", "120.125", "true")
    assert lines[2].cells == ("noodle-3", "057188001234", "2026-05-01", "18:00-22:00", "-0.5")
    assert [line.number for line in lines] == [1, 2, 3]


def test_what_is_no_value_is_marked():
    """A formula, an error, and a number of which a spreadsheet has lost the last digits."""
    line = read_sheet(workbook(("a", "b", "c", "d"), ("=1+1", "#REF!", 33010500001320000001, "x"))).lines[1]
    assert line.bad == ((0, "formula"), (1, "error"), (2, "digits"))


def test_rows_keep_the_numbers_that_the_spreadsheet_shows():
    assert [line.number for line in read_sheet(workbook(("a",), (), (None, None), ("b",))).lines] == [1, 4]
    content = b'a,b\r\n"x\r\ny",1\r\n\r\nz,2\r\n'
    assert [line.number for line in read_sheet(content).lines] == [1, 2, 4]


def second_sheet(book):
    book.create_sheet("more").append(["x"])


def test_a_second_sheet_is_not_passed_over_in_silence():
    with pytest.raises(PlacesError, match="there are also more"):
        read_sheet(workbook(("a",), change=second_sheet))
    empty = workbook(("a",), change=lambda book: book.create_sheet("empty"))
    assert read_sheet(empty).lines[0].cells == ("a",)


def repacked(content, **parts):
    """A workbook with some parts exchanged."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, parts.pop(name.rpartition("/")[2].partition(".")[0], old.read(name)))
    return out.getvalue()


SHEET = b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>%s</sheetData></worksheet>'
BOMB = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'


@pytest.mark.parametrize(
    ("part", "code"),
    [
        (BOMB, "workbook"),
        (BOMB.replace(b"<!D", b"<!--" + b"x" * ((1 << 20) - 30) + b"--><!D"), "workbook"),
        (b"<sheet", "workbook"),
        (SHEET % (b"<row>" + b"<c/>" * sheets.MAX_MARKS + b"</row>"), "too_big"),
        (b" " * (sheets.MAX_UNPACKED_BYTES + 1), "too_big"),
    ],
)
def test_a_hostile_workbook_is_refused(part, code):
    with pytest.raises(PlacesError) as refused:
        read_sheet(repacked(workbook(("a",)), sheet1=part))
    assert refused.value.code == code


def test_a_row_at_the_end_of_the_world_costs_nothing():
    part = (
        b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
        b'<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'
        b"</sheetData></worksheet>"
    )
    assert len(read_sheet(repacked(workbook(("a",)), sheet1=part)).lines) == 1


DANGEROUS = [
    *("=1+1", "+1+1", "-1+1", "@SUM(A1)", "＝1", "\t=1", "'=1", "''@x"),
    *('=HYPERLINK("http://x")', "+8613800000000"),
]


@pytest.mark.parametrize("text", DANGEROUS)
def test_nothing_that_is_written_runs(text):
    cell = next(csv.reader(io.StringIO(write_csv([[text]]).decode("utf-8-sig"))))[0]
    assert cell.startswith("'")
    book = openpyxl.load_workbook(io.BytesIO(write_workbook([[text]], "x")))
    assert book.active["A1"].data_type == "s"
    assert book.active["A1"].number_format == "@"


def test_plain_numbers_are_written_as_they_are():
    assert write_csv([["-120.5", "13800000000"]]).decode("utf-8-sig") == "-120.5,13800000000\r\n"


texts = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff"), max_size=12).map(
    str.strip
)


@settings(deadline=None)
@given(
    st.lists(st.lists(texts | st.sampled_from([one.strip() for one in DANGEROUS]), min_size=3, max_size=3), max_size=4)
)
def test_what_is_written_is_read_as_it_was(rows):
    rows = [["a", "b", "c"], *[row for row in rows if any(row)]]
    for content in (write_csv(rows), write_workbook(rows, "x")):
        found = [(*line.cells, "", "", "")[:3] for line in read_sheet(content).lines]
        assert found == [tuple(row) for row in rows]

"""Workbooks read back: numbers are numbers, and nothing in them runs."""

import io

import openpyxl

from collector.papers.sheet import PERCENT, Page, write_book


def test_numbers_are_numbers_and_texts_never_run():
    content = write_book(
        [
            Page("按店铺/月", ["店铺", "件数", "=率"], [["=1+1", 12, 0.875], ["@x\x01", None, 0.5]], [(2, PERCENT)]),
            Page("x" * 40, ["a"], []),
        ]
    )
    book = openpyxl.load_workbook(io.BytesIO(content))
    first, second = book.worksheets
    assert (first.title, second.title) == ("按店铺-月", "x" * 31)
    got = [[cell.value for cell in row] for row in first]
    assert got == [["店铺", "件数", "=率"], ["=1+1", 12, 0.875], ["@x ", None, 0.5]]
    assert {cell.data_type for row in first for cell in row} <= {"s", "n", "inlineStr"}
    assert first["C2"].number_format == PERCENT
    assert first.freeze_panes == "A2"

"""Papers and workbooks read back: what was put down stands there, page after page, and the bytes do not change."""

import base64
import io
from datetime import UTC, datetime
from pathlib import Path

import openpyxl
import pytest
from PIL import Image
from pypdf import PdfReader

from collector.papers import pdf
from collector.papers.pdf import Paper
from collector.papers.sheet import PERCENT, Page, write_book
from collector.papers.typefaces import NAMED, typeface
from protocol.documents import SettingsError

LATIN = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")
CFF = Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc")
MADE = datetime(2026, 11, 1, 0, 5, tzinfo=UTC)


def paper(face=NAMED, title="月报"):
    return Paper(title=title, center="示例街道", face=typeface(usual=()) if face == NAMED else face, made_at=MADE)


def pages(content):
    return [page.extract_text() for page in PdfReader(io.BytesIO(content)).pages]


def jpeg(width=640, height=360):
    file = io.BytesIO()
    Image.radial_gradient("L").resize((width, height)).save(file, "JPEG")
    return file.getvalue()


def test_what_is_put_down_can_be_read():
    one = paper(title="2026年10月 月报 & <b>")
    one.paragraph("<b>正文</b> & more\n第二行\x00")
    one.pairs({"店铺": "示例茶铺", "State": "registered"})
    one.heading("按店铺")
    (text,) = pages(one.finish())
    for part in ("2026年10月 月报 & <b>", "<b>正文</b> & more", "第二行", "示例茶铺", "registered", "按店铺"):
        assert part in text
    assert "示例街道" in text
    assert "1 / 1" in text


def test_a_long_table_repeats_its_head_on_numbered_pages():
    one = paper()
    one.table(["店铺", "件数"], [[f"店铺{number}", str(number)] for number in range(100)], widths=[3, 1], right=[1])
    found = pages(one.finish())
    assert len(found) > 1
    for number, text in enumerate(found, 1):
        assert text.count("件数") == 1
        assert f"{number} / {len(found)}" in text
    assert all(f"店铺{number}\n" in "\n".join(found) for number in range(100))


def test_a_cell_longer_than_a_page_goes_on_on_the_next():
    one = paper()
    one.table(["字段", "内容"], [["说明", "很长" * 3000]])
    found = pages(one.finish())
    assert sum(text.count("很") for text in found) == 3000
    assert len(found) > 2


def test_a_picture_keeps_its_bytes_and_fits_the_page():
    for width, height in ((1920, 1080), (300, 1900), (8, 8)):
        content = jpeg(width, height)
        one = paper()
        one.picture(content, "照片")
        (page,) = PdfReader(io.BytesIO(one.finish())).pages
        (image,) = page["/Resources"]["/XObject"].values()
        stream = image.get_object()
        assert "/DCTDecode" in str(stream["/Filter"])
        assert (stream["/Width"], stream["/Height"]) == (width, height)
        assert content in one_filter(stream)


def one_filter(stream):
    """What remains of a JPEG's stream when only the text form around it is taken off."""
    raw = stream._data
    return base64.a85decode(raw.removesuffix(b"~>")) if "/ASCII85Decode" in str(stream["/Filter"]) else raw


def test_plots_say_their_numbers_and_names():
    one = paper()
    one.bars("每小时件数", ["8时", "9时"], [3, 12])
    one.lines("比率", ["一", "二", "三"], {"结案率": [0.5, None, 1], "按期结案率": [0.25, 0.5, 0.75]}, form="{:.0%}")
    one.bars("没有", [], [])
    (text,) = pages(one.finish())
    for part in ("每小时件数", "8时", "12", "结案率", "按期结案率", "100%", "没有"):
        assert part in text


def test_no_line_is_drawn_over_a_gap():
    assert pdf._runs([1, 2, None, 3, None, 4, 5]) == [[(0, 1), (1, 2)], [(5, 4), (6, 5)]]
    assert pdf._runs([]) == []


@pytest.mark.parametrize(
    ("highest", "step"), [(0, 1), (1, 0.2), (5, 1), (5.1, 2), (16, 5), (99, 20), (100, 20), (101, 50), (0.93, 0.2)]
)
def test_an_axis_has_at_most_five_round_steps(highest, step):
    assert pdf.round_step(highest) == pytest.approx(step)


def test_the_same_paper_is_the_same_bytes():
    def made():
        one = paper()
        one.table(["a"], [["文字"]])
        one.picture(jpeg())
        one.lines("x", ["1"], {"y": [1]})
        return one.finish()

    assert made() == made()
    assert PdfReader(io.BytesIO(made())).metadata.creation_date == MADE


def test_rows_that_do_not_fit_their_head_are_refused():
    with pytest.raises(ValueError, match="expected 2 cells"):
        paper().table(["a", "b"], [["1"]])
    with pytest.raises(ValueError, match="expected 2 values"):
        paper().bars("x", ["a", "b"], [1])


def test_a_truetype_file_is_embedded_as_a_subset():
    one = paper(face=typeface(LATIN))
    one.paragraph("plain words")
    content = one.finish()
    assert b"/FontFile2" in content
    assert len(content) < LATIN.stat().st_size / 4
    assert "plain words" in pages(content)[0]
    assert typeface(usual=(Path("/nowhere.ttf"), LATIN)) == typeface(LATIN)


@pytest.mark.parametrize("path", [CFF, Path("/nowhere.ttf"), Path(__file__)])
def test_what_cannot_be_embedded_is_refused(path):
    with pytest.raises(SettingsError, match="typeface: expected a file with TrueType outlines"):
        typeface(path)


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

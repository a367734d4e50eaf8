"""A paper as PDF: A4, headings, paragraphs, tables over many pages, pictures, and plots that need no colour."""

import io
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from xml.sax.saxutils import escape

from reportlab.graphics.charts.barcharts import VerticalBarChart
from reportlab.graphics.charts.linecharts import HorizontalLineChart
from reportlab.graphics.shapes import Drawing, Line, PolyLine, String
from reportlab.graphics.widgets.markers import makeMarker
from reportlab.lib.colors import Color, black, white
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import CondPageBreak, Flowable, Image, KeepTogether, Paragraph, SimpleDocTemplate, Spacer, Table

PAGE_WIDTH, PAGE_HEIGHT = A4
MARGIN: Final = 18 * mm
WIDTH: Final = PAGE_WIDTH - 2 * MARGIN
"""Of what is written, in points."""
PICTURE_HEIGHT: Final = 110 * mm
PLOT_HEIGHT: Final = 52 * mm
HEADING_SIZES: Final = (18, 13, 11)
SIZE: Final = 9.5
DASHES: Final = (None, (5, 2), (1, 2), (7, 2, 1, 2))
MARKERS: Final = ("FilledCircle", "Square", "Triangle", "Cross")
"""A line is known by its dashes and its marks, so that it is on a grey print-out too; at most four."""
MAX_LABELS: Final = 16
"""Under an axis; of more, every so-manieth stands there."""

_FRAME: Final = 6
"""What reportlab leaves free within its margins."""
_GREY: Final = Color(0.45, 0.45, 0.45)
_PALE: Final = Color(0.93, 0.93, 0.93)
_CHINESE: Final = re.compile("[\u2e80-\uffef]")
_UNPRINTABLE: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class Paper:
    """What is put down one after the other and becomes a PDF; the same calls give the same bytes.

    Args:
        title: stands on top and in the file's properties.
        center: name of the center, at the head of every page.
        face: a typeface's name, of `typefaces`.
        made_at: stands in the file's properties.
        language: for readers that speak, as `zh-CN`.
        foot: a line at the foot of every page, as what it was made of and when.
    """

    def __init__(
        self, *, title: str, center: str, face: str, made_at: datetime, language: str = "zh-CN", foot: str = ""
    ) -> None:
        self._title, self._center, self._face, self._language, self._foot = title, center, face, language, foot
        self._made_at = f"D:{made_at.astimezone(UTC):%Y%m%d%H%M%S}Z"
        plain = ParagraphStyle("plain", fontName=face, fontSize=SIZE, leading=SIZE * 1.5, wordWrap="CJK")
        self._styles = {
            "plain": plain,
            "right": ParagraphStyle("right", parent=plain, alignment=TA_RIGHT),
            "head": ParagraphStyle("head", parent=plain, fontSize=7, leading=10),
            "head right": ParagraphStyle("head right", parent=plain, fontSize=7, leading=10, alignment=TA_RIGHT),
            "small": ParagraphStyle("small", parent=plain, fontSize=8, leading=11, textColor=_GREY),
            **{
                f"h{level}": ParagraphStyle(
                    f"h{level}", parent=plain, fontSize=size, leading=size * 1.4, spaceBefore=size * 0.6, spaceAfter=4
                )
                for level, size in enumerate(HEADING_SIZES, 1)
            },
        }
        self._story: list[Flowable] = [self._text(title, "h1")]

    def heading(self, text: str, level: int = 2) -> None:
        """Put down a heading, 2 or 3, that does not stay alone at the foot of a page."""
        self._story += [
            CondPageBreak(45 * mm if level == len(HEADING_SIZES) - 1 else 20 * mm),
            self._text(text, f"h{level}"),
        ]

    def paragraph(self, text: str, *, small: bool = False) -> None:
        """Put down text as it is; line ends are kept."""
        self._story += [self._text(text, "small" if small else "plain"), Spacer(0, 4)]

    def pairs(self, rows: Mapping[str, str]) -> None:
        """Put down what belongs to names, two columns."""
        if rows:
            cells = [[self._text(name, "small"), self._text(value)] for name, value in rows.items()]
            self._story += [_table(cells, [WIDTH * 0.25, WIDTH * 0.75]), Spacer(0, 6)]

    def table(
        self,
        head: Sequence[str],
        rows: Sequence[Sequence[str]],
        *,
        widths: Sequence[float] | None = None,
        right: Sequence[int] = (),
    ) -> None:
        """Put down a table; where it goes on on another page, its head is repeated.

        Args:
            head: names of the columns.
            rows: as many cells each.
            widths: of the columns, in proportion; without, all the same.
            right: columns of numbers, from 0.
        """
        parts = list(widths or [1.0] * len(head))
        if not len(parts) == len(head) or any(len(row) != len(head) for row in rows):
            raise ValueError(f"expected {len(head)} cells in every row and as many widths")
        cells = [[self._text(name, "head right" if column in right else "head") for column, name in enumerate(head)]]
        cells += [
            [self._text(cell, "right" if column in right else "plain") for column, cell in enumerate(row)]
            for row in rows
        ]
        self._story += [_table(cells, [WIDTH * part / sum(parts) for part in parts], head=True), Spacer(0, 6)]

    def picture(self, jpeg: bytes, caption: str = "") -> None:
        """Put down a JPEG, its bytes unchanged, as wide as the page allows and at most 110 mm high."""
        image = Image(io.BytesIO(jpeg))
        scale = min(WIDTH / image.imageWidth, PICTURE_HEIGHT / image.imageHeight)
        image.drawWidth, image.drawHeight = image.imageWidth * scale, image.imageHeight * scale
        self._story.append(KeepTogether([image, self._text(caption, "small"), Spacer(0, 6)]))

    def bars(self, title: str, labels: Sequence[str], values: Sequence[float], *, form: str = "{:g}") -> None:
        """Put down bars with their numbers above them; `form` is how a number is written."""
        drawing, chart = self._plot(VerticalBarChart(), labels, [list(values)], form)
        chart.bars[0].fillColor, chart.bars[0].strokeColor = Color(0.6, 0.6, 0.6), black
        if len(values) <= 2 * MAX_LABELS:
            chart.barLabelFormat = form.format
            chart.barLabels.fontName, chart.barLabels.fontSize, chart.barLabels.nudge = self._face, 7, 6
        chart.barWidth, chart.groupSpacing = 10, 4
        self._story.append(KeepTogether([self._text(title, "small"), drawing, Spacer(0, 6)]))

    def lines(
        self, title: str, labels: Sequence[str], series: Mapping[str, Sequence[float | None]], *, form: str = "{:g}"
    ) -> None:
        """Put down one to four lines over the same labels; None leaves a gap."""
        if not 1 <= len(series) <= len(DASHES):
            raise ValueError(f"expected 1 to {len(DASHES)} lines, got {len(series)}")
        drawing, chart = self._plot(HorizontalLineChart(), labels, [list(values) for values in series.values()], form)
        chart.joinedLines = False  # it would lead a line over a gap
        left = chart.x
        for index, (name, values) in enumerate(series.items()):
            chart.lines[index].strokeColor, chart.lines[index].symbol = black, _marker(MARKERS[index])
            for run in _runs(values):
                points = [
                    one
                    for place, value in run
                    for one in (
                        chart.x + (place + 0.5) * chart.width / len(labels),
                        chart.y + value * chart.height / chart.valueAxis.valueMax,
                    )
                ]
                drawing.add(PolyLine(points, strokeWidth=1, strokeDashArray=DASHES[index]))
            drawing.add(Line(left, 5, left + 24, 5, strokeWidth=1, strokeDashArray=DASHES[index]))
            mark = _marker(MARKERS[index])
            mark.x, mark.y = left + 12, 5
            drawing.add(mark)
            drawing.add(String(left + 28, 2, name, fontName=self._face, fontSize=8))
            left += 48 + stringWidth(name, self._face, 8)
        self._story.append(KeepTogether([self._text(title, "small"), drawing, Spacer(0, 6)]))

    def finish(self) -> bytes:
        """The PDF; nothing can be put down afterwards."""
        file = io.BytesIO()
        SimpleDocTemplate(
            file,
            pagesize=A4,
            leftMargin=MARGIN - _FRAME,
            rightMargin=MARGIN - _FRAME,
            topMargin=MARGIN + 4 * mm,
            bottomMargin=MARGIN,
            title=self._title,
            author=self._center,
            lang=self._language,
            invariant=1,
        ).build(self._story, canvasmaker=self._canvas)
        return file.getvalue()

    def _canvas(self, *given: Any, **named: Any) -> Canvas:
        canvas = _Numbered(*given, edges=(self._center, self._title, self._foot), face=self._face, **named)
        canvas.setDateFormatter(lambda *_: self._made_at)
        return canvas

    def _text(self, text: str, style: str = "plain") -> Paragraph:
        marked = escape(_UNPRINTABLE.sub(" ", text)).replace("\n", "<br/>")
        chosen = self._styles[style]
        if not _CHINESE.search(text):
            # between words, not between any two signs
            chosen = ParagraphStyle(f"{style} in words", parent=chosen, wordWrap=None)
        return Paragraph(marked, chosen)

    def _plot(self, chart: Any, labels: Sequence[str], data: list[list[Any]], form: str) -> tuple[Drawing, Any]:
        if any(len(values) != len(labels) for values in data):
            raise ValueError(f"expected {len(labels)} values in every line")
        drawing = Drawing(WIDTH, PLOT_HEIGHT)
        chart.x, chart.y, chart.width, chart.height = 34, 30, WIDTH - 40, PLOT_HEIGHT - 44
        every = max(-(-len(labels) // MAX_LABELS), 1)
        chart.categoryAxis.categoryNames = [name if index % every == 0 else "" for index, name in enumerate(labels)]
        chart.data = data
        highest = max((value for values in data for value in values if value is not None), default=0)
        step = round_step(highest)
        chart.valueAxis.valueMin, chart.valueAxis.valueStep = 0, step
        chart.valueAxis.valueMax = max(math.ceil(highest / step - 1e-9), 1) * step
        chart.valueAxis.labelTextFormat = form.format
        chart.valueAxis.visibleGrid, chart.valueAxis.gridStrokeColor = True, _PALE
        for axis in (chart.categoryAxis, chart.valueAxis):
            axis.labels.fontName, axis.labels.fontSize = self._face, 7
        drawing.add(chart)
        return drawing, chart


class _Numbered(Canvas):  # type: ignore[misc]  # reportlab ships no type information
    """Holds pages back until it is known how many there are."""

    def __init__(self, *given: Any, edges: tuple[str, str, str], face: str, **named: Any) -> None:
        super().__init__(*given, **named)
        self._edges, self._face = edges, face
        self._pages: list[dict[str, Any]] = []

    def showPage(self) -> None:  # noqa: N802 - reportlab's name
        self._pages.append(dict(self.__dict__))
        self._startPage()

    def save(self) -> None:
        center, title, foot = self._edges
        for number, page in enumerate(self._pages, 1):
            self.__dict__.update(page)
            self.setFont(self._face, 8)
            self.setFillColor(_GREY)
            self.drawString(MARGIN, PAGE_HEIGHT - 12 * mm, center)
            self.drawRightString(PAGE_WIDTH - MARGIN, PAGE_HEIGHT - 12 * mm, title if number > 1 else "")
            self.drawString(MARGIN, 10 * mm, foot)
            self.drawRightString(PAGE_WIDTH - MARGIN, 10 * mm, f"{number} / {len(self._pages)}")
            super().showPage()
        super().save()


def round_step(highest: float) -> float:
    """From one line of a grid to the next: 1, 2 or 5 times a power of ten, so that there are at most five."""
    if highest <= 0:
        return 1
    power = 10.0 ** math.floor(math.log10(highest / 5))
    return next(power * part for part in (1, 2, 5, 10) if power * part * 5 >= highest * (1 - 1e-9))


def _runs(values: Sequence[float | None]) -> list[list[tuple[int, float]]]:
    """Values that follow each other without a gap, each with its place; two or more."""
    runs: list[list[tuple[int, float]]] = [[]]
    for place, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append((place, value))
    return [run for run in runs if len(run) > 1]


def _marker(kind: str) -> Any:
    marker = makeMarker(kind)
    marker.size, marker.fillColor, marker.strokeColor = 4, white if kind != "FilledCircle" else black, black
    return marker


def _table(cells: list[list[Paragraph]], widths: list[float], *, head: bool = False) -> Table:
    style: list[tuple[Any, ...]] = [
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LINEBELOW", (0, 0), (-1, -1), 0.3, _GREY),
        ("LEFTPADDING", (0, 0), (-1, -1), 3),
        ("RIGHTPADDING", (0, 0), (-1, -1), 3),
        ("TOPPADDING", (0, 0), (-1, -1), 2),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 3),
    ]
    if head:
        style += [("BACKGROUND", (0, 0), (-1, 0), _PALE), ("LINEABOVE", (0, 0), (-1, 0), 0.6, black)]
    # a cell may be longer than a page
    return Table(cells, colWidths=widths, repeatRows=int(head), splitInRow=1, style=style, hAlign="LEFT")

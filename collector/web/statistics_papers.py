"""Statistics as a workbook and as a paper: the tables that the page shows."""

from collections.abc import Mapping
from datetime import datetime

from collector.papers.pdf import Paper
from collector.papers.sheet import Page, Value, write_book
from collector.web.language import N_
from collector.web.statistics_view import MOST_ROWS, Table, Teller, View

COLUMNS = 9
"""Of a paper; what has more, as the hours of footfall, is in the workbook."""


def as_workbook(view: View, tell: Teller, facts: Mapping[str, str]) -> bytes:
    """A sheet for each table, numbers as numbers."""
    head = [tell.say(N_("Indicator")), tell.name]
    pages = [Page(tell.say(N_("Statistics")), head, [[name, value] for name, value in facts.items()])]
    for table in view.tables:
        notes = any(row.note for row in table.rows)
        rows: list[list[Value]] = [
            [row.name, *(cell.value for cell in row.cells), *([row.note] if notes else [])] for row in table.rows
        ]
        forms = [(column, form) for column, form in enumerate(table.forms, 1) if form]
        pages.append(Page(table.title, [*table.head, *([""] if notes else [])], rows, forms))
    return write_book(pages)


def as_pdf(view: View, tell: Teller, facts: Mapping[str, str], center: str, face: str, now_ms: int) -> bytes:
    """The paper; of long tables the first rows."""
    reader = tell.reader
    paper = Paper(
        title=f"{tell.say(N_('Statistics'))} · {tell.name}",
        center=center,
        face=face,
        made_at=datetime.fromtimestamp(now_ms / 1000, reader.zone),
        language="zh-CN" if reader.language == "zh" else "en",
        foot=f"CityEye · {reader.moment(now_ms)}",
    )
    paper.pairs(facts)
    if view.time is not None:
        values = [None if isinstance(row.cells[0].value, str) else row.cells[0].value for row in view.time.rows]
        form = "{:.0%}" if view.time.forms[0].endswith("%") else "{:g}"
        # a stretch without data leaves a gap, no line at zero
        paper.lines(view.time.title, [row.said for row in view.time.rows], {tell.name: values}, form=form)
    for table in view.tables:
        _table(paper, tell, table)
    return paper.finish()


def _table(paper: Paper, tell: Teller, table: Table) -> None:
    paper.heading(table.title)
    rows = table.rows[:MOST_ROWS] if table.key not in ("time", "heat") else table.rows
    if len(rows) < len(table.rows):
        paper.paragraph(
            tell.say(N_("The first %(count)d; all are in the workbook.")) % {"count": MOST_ROWS}, small=True
        )
    width = min(len(table.head), COLUMNS)
    cells = [
        [f"{row.name} ({row.note})" if row.note else row.name, *(one.text for one in row.cells)][:width] for row in rows
    ]
    paper.table(list(table.head[:width]), cells, widths=[3, *[1] * (width - 1)], right=range(1, width))

"""The papers as files: Markdown from the templates in `texts`, and PDF or a workbook from that Markdown."""

import hashlib
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final, Literal
from xml.sax.saxutils import escape

from jinja2 import Environment, PackageLoader, StrictUndefined
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Frame, KeepInFrame, Paragraph
from sqlalchemy.orm import Session

from collector.law.facts import CameraFact, Facts
from collector.law.filing import Last, changes, digest, to_file
from collector.papers.pdf import Paper
from collector.papers.sheet import Page, write_book
from collector.people.actor import Actor
from collector.people.audit import record
from collector.people.rights import MAY

Name = Literal["sign", "filing", "assessment"]
LANGUAGES: Final = {"zh": "zh-CN", "en": "en"}
MEDIA: Final = {
    "pdf": "application/pdf",
    "md": "text/markdown; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
FORMATS: Final[dict[Name, tuple[str, ...]]] = {
    "sign": ("pdf", "md"),
    "filing": ("pdf", "xlsx", "md"),
    "assessment": ("pdf", "md"),
}
SOME: Final = 12
"""Of a longer list, as many are named."""
NARROWEST: Final = 9
LINE: Final = 160
"""Letters of a column, and about as many of a whole line."""
_MARGIN: Final = 18 * mm
_BAR: Final = "\\|"
_ENDS: Final = re.compile(r"[\r\n]+")


def _some(values: Iterable[object]) -> str:
    found = (
        [f"{name} ({number})" for name, number in values.items()] if isinstance(values, dict) else [*map(str, values)]
    )
    return ", ".join(found[:SOME]) + (" …" if len(found) > SOME else "")


def _text(value: object) -> object:
    """What somebody entered stays on its line, and in its cell."""
    return _ENDS.sub(" ", value).replace("|", _BAR) if isinstance(value, str) else value


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("collector.law", "texts"),
        autoescape=False,  # noqa: S701 - no HTML comes of it
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
        finalize=_text,
    )
    made.filters["some"] = _some
    return made


TEXTS: Final = _environment()


@dataclass(frozen=True)
class Writer:
    """Writes papers of a center as it is.

    Args:
        before: what was filed last.
        face: a typeface's name, of `collector.papers.typefaces`.
    """

    facts: Facts
    before: Last | None
    face: str

    def write(self, name: Name, suffix: str, language: str) -> bytes:
        """A paper's bytes; raises ValueError for a format that it has not."""
        if suffix not in FORMATS[name]:
            raise ValueError(f"{name}: expected {' or '.join(FORMATS[name])}, got {suffix!r:.20}")
        if name == "sign":
            both = [self._markdown("sign.zh.md"), self._markdown("sign.en.md")]
            return "\n\n".join(both).encode() if suffix == "md" else _sign(both, self.face, self.facts.operator)
        text = self._markdown(f"{name}.{language}.md")
        if suffix == "md":
            return text.encode()
        return _book(text) if suffix == "xlsx" else self._pdf(text, language)

    def items(self, name: Literal["gaps", "changes"], language: str) -> list[str]:
        """What is missing, or what changed since the last filing."""
        return [text for kind, text, _ in _blocks(self._markdown(f"{name}.{language}.md")) if kind == "-"]

    def _markdown(self, name: str) -> str:
        return TEXTS.get_template(name).render(self._values)

    @cached_property
    def _values(self) -> dict[str, Any]:
        facts, before, settings = self.facts, self.before, self.facts.settings
        cameras = facts.cameras

        def keys(found: Iterable[CameraFact]) -> list[str]:
            return [one.key for one in found]

        return {
            "facts": facts,
            "settings": settings,
            "law": settings.law,
            "before": before,
            "filed": before and f"{datetime.fromtimestamp(before.at_ms / 1000, facts.at.tzinfo):%Y-%m-%d}",
            "changes": changes(before, facts),
            "made": f"{facts.at:%Y-%m-%d %H:%M}",
            "digest": digest(to_file(facts)),
            "counts": sorted(Counter(one.kind for one in cameras).items()),
            "followed": keys(one for one in cameras if one.followed),
            "masked": sum(bool(one.masks) for one in cameras),
            "lacking": {
                **{
                    name: keys(one for one in cameras if not getattr(one, name))
                    for name in ("position", "note", "kind")
                },
                "masks": keys(one for one in cameras if one.kind and not one.masks),
            },
            "told": {one.audience for one in settings.notices.route},
            "channels": [f"{one.id} ({one.type})" for one in settings.notices.channel],
            "may": MAY,
        }

    def _pdf(self, text: str, language: str) -> bytes:
        (_, title, _), *blocks = _blocks(text)
        center, made = self.facts.operator, self.facts.at
        paper = Paper(title=title, center=center, face=self.face, made_at=made, language=LANGUAGES[language])
        for kind, line, rows in blocks:
            if kind == "##":
                paper.heading(line)
            elif rows:
                paper.table(rows[0], rows[1:], widths=_widths(rows))
            else:
                paper.paragraph(f"• {line}" if kind == "-" else line)
        return paper.finish()


def note_made(session: Session, actor: Actor, name: Name, content: bytes, at_ms: int) -> None:
    """Put a paper on record by its digest: whoever has the file can tell when it was made, and by whom."""
    record(session, actor, "paper.made", f"paper/{name}", {"sha256": hashlib.sha256(content).hexdigest()}, at_ms)


def _blocks(text: str) -> Iterator[tuple[str, str, list[list[str]]]]:
    """Headings, items, paragraphs and tables of the Markdown that the templates give: mark, text, rows."""
    rows: list[list[str]] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("| "):
            rows += [] if line.startswith("| ---") else [_cells(line)]
            continue
        if rows:
            yield "|", "", rows
            rows = []
        mark, _, rest = line.partition(" ")
        if mark in ("#", "##", "-"):
            yield mark, rest.replace(_BAR, "|"), []
        elif line.strip():
            yield "", line.replace(_BAR, "|"), []


def _cells(line: str) -> list[str]:
    return [one.strip().replace("\0", "|") for one in line.replace(_BAR, "\0").split("|")[1:-1]]


def _widths(rows: list[list[str]]) -> list[float]:
    """In proportion to the longest cell of each column, Chinese letters counting twice."""
    longest = [max(len(cell.encode("gb18030", "replace")) for cell in column) for column in zip(*rows, strict=True)]
    return [min(max(one + 3.0, NARROWEST), LINE / len(longest)) for one in longest]


def _book(text: str) -> bytes:
    """A sheet for each part that has a table; the others hold their lines."""
    pages: list[Page] = []
    title = ""
    lines: list[str] = []
    for kind, line, rows in [*_blocks(text), ("##", "", [])]:
        if rows:
            pages.append(Page(title, rows[0], rows[1:]))
            lines = []
        elif kind in ("#", "##"):
            pages += [Page(title, (title,), [(one,) for one in lines])] if lines else []
            title, lines = line, []
        else:
            lines.append(line)
    return write_book(pages)


def _sign(both: list[str], face: str, author: str) -> bytes:
    """Both languages on one A4 page; what is too long is made smaller until it fits."""
    file = io.BytesIO()
    canvas = Canvas(file, pagesize=A4, invariant=1)
    canvas.setAuthor(author)
    width, height = A4[0] - 2 * _MARGIN, A4[1] - 2 * _MARGIN
    middle = _MARGIN + 0.42 * height
    canvas.setLineWidth(3)
    canvas.rect(_MARGIN / 2, _MARGIN / 2, width + _MARGIN, height + _MARGIN)
    canvas.line(_MARGIN, middle, _MARGIN + width, middle)
    for text, size, low, tall in zip(both, (19, 14), (middle, _MARGIN), (0.58 * height, 0.42 * height), strict=True):
        plain = ParagraphStyle(
            "plain", fontName=face, fontSize=size, leading=size * 1.45, wordWrap="CJK", spaceAfter=size / 2
        )
        title = ParagraphStyle(
            "title", parent=plain, fontSize=size * 2, leading=size * 2.6, alignment=1, spaceAfter=size
        )
        story = [Paragraph(escape(line), title if kind == "#" else plain) for kind, line, _ in _blocks(text)]
        # a frame has a padding of 6 points on each side
        whole = KeepInFrame(width - 12, tall - 12, story, mode="shrink")
        Frame(_MARGIN, low, width, tall).addFromList([whole], canvas)
    canvas.save()
    return file.getvalue()

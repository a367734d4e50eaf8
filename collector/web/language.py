"""Languages of the pages: English sentences in the code, their Chinese in the catalogue, and which one a reader wants.

    python -m collector.web.language [--check]

extracts all sentences and brings `locale/zh/LC_MESSAGES/cityeye.po` up to date; what has no Chinese yet is named.
"""

import gettext
import io
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

LANGUAGES: Final = ("zh", "en")
DEFAULT: Final = "zh"
HERE: Final = Path(__file__).parent
PO: Final = HERE / "locale" / "zh" / "LC_MESSAGES" / "cityeye.po"
METHODS: Final = [("templates/**.html", "jinja2"), ("static/**.js", "javascript"), ("**.py", "python")]
SHOP: Final = HERE.parent / "notices"
"""The shops' pages have their own room, and the same catalogue."""
SHOP_METHODS: Final = [("shop/**.html", "jinja2"), ("shop_view.py", "python")]
OPTIONS: Final = {name: {"trimmed": "true", "silent": "false"} for name in ("templates/**.html", "shop/**.html")}
KEYWORDS: Final = {"_": None, "N_": None, "gettext": None, "ngettext": (1, 2)}
HEAD: Final = r"""
msgid ""
msgstr ""
"Content-Type: text/plain; charset=utf-8\n"
"Plural-Forms: nplurals=1; plural=0;\n"

""".lstrip()
_LANGUAGE: Final = re.compile(r"\s*([a-z]{2,3})(?:-[\w-]+)?\s*(?:;\s*q=([\d.]+)\s*)?$", re.IGNORECASE)
_HALVES: Final = re.compile(r"\s/\s")
_CHINESE: Final = re.compile(r"[\u4e00-\u9fff]")


class Words(NamedTuple):
    """A text that its own room has in both languages: what is data, such as states and verbs."""

    zh: str
    en: str


Text = str | Words


def N_(text: str) -> str:  # noqa: N802 - gettext's own name for it
    """Mark a sentence that is translated where it is shown."""
    return text


@cache
def catalogue() -> Catalog:
    """The Chinese sentences."""
    with PO.open("rb") as file:
        return read_po(file, locale="zh", domain="cityeye")


@cache
def translations(language: str) -> gettext.NullTranslations:
    """What gettext translates with; English is as it is written."""
    if language != "zh":
        return gettext.NullTranslations()
    compiled = io.BytesIO()
    write_mo(compiled, catalogue())
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


@cache
def script_words(language: str) -> dict[str, str]:
    """The sentences of the browser's modules that differ from their English."""
    if language != "zh":
        return {}
    scripts = [one for one in catalogue() if any(str(place).endswith(".js") for place, _ in one.locations)]
    return {str(one.id): str(one.string) for one in scripts if isinstance(one.id, str)}


def say(text: object, language: str) -> str:
    """A text in a reader's language: a pair of both, `中文 / English` as our refusals are, or a sentence."""
    if isinstance(text, tuple):
        return str(text[0] if language == "zh" else text[1])
    if not text:
        return ""
    found = str(text)
    halves = _HALVES.split(found, maxsplit=1)
    if len(halves) == 2 and _CHINESE.search(halves[0]) and not _CHINESE.search(halves[1][:20]):
        return halves[0] if language == "zh" else halves[1]
    return translations(language).gettext(found)


def wanted(asked: str | None, kept: str | None, accepts: str) -> str:
    """The language of a reader: what the address asks for, else their choice, else what the browser prefers."""
    for one in (asked, kept):
        if one in LANGUAGES:
            return one
    weighed = [(float(quality or 1), -at, name) for at, (name, quality) in enumerate(_preferred(accepts))]
    return max(weighed)[2] if weighed else DEFAULT


def _preferred(accepts: str) -> Iterator[tuple[str, str | None]]:
    for part in accepts[:200].split(","):
        found = _LANGUAGE.match(part)
        if found is not None and found[1].lower() in LANGUAGES:
            quality = found[2]
            if quality is None or re.fullmatch(r"[01](\.\d{0,3})?", quality):
                yield found[1].lower(), quality


def extracted() -> Catalog:
    """All sentences as they stand in the code."""
    found = Catalog(domain="cityeye", charset="utf-8")
    for folder, methods in ((HERE, METHODS), (SHOP, SHOP_METHODS)):
        rows = extract_from_dir(folder, methods, OPTIONS, KEYWORDS, comment_tags=("L10N:",), strip_comment_tags=True)
        for name, _line, message, comments, _context in sorted(rows, key=lambda row: (row[0], row[1])):
            if message and message != ("", ""):
                # without line numbers: moving a sentence is no change of the catalogue
                place = name if folder == HERE else f"notices/{name}"
                found.add(message, locations=[(place, 0)], auto_comments=comments)
    return found


def _has_all(string: object) -> bool:
    return all(string) and bool(string) if isinstance(string, tuple | list) else bool(string)


def updated() -> tuple[str, list[str]]:
    """The catalogue brought up to date, and the sentences without Chinese."""
    kept = read_po(io.BytesIO(PO.read_bytes()), locale="zh", domain="cityeye") if PO.exists() else Catalog("zh")
    kept.update(extracted(), no_fuzzy_matching=True, update_header_comment=False)
    for one in kept:
        # which sentences go to the browser has to be known; where the others stand a search finds
        one.locations = [place for place in one.locations if str(place[0]).endswith(".js")]
        one.flags.discard("python-format")  # it shows
    out = io.BytesIO()
    write_po(out, kept, width=0, ignore_obsolete=True, include_lineno=False, omit_header=True)
    missing = [str(one.id) for one in kept if one.id and not _has_all(one.string)]
    return HEAD + out.getvalue().decode(), missing


def main(arguments: list[str]) -> int:
    """Bring the catalogue up to date, or say what is not."""
    text, missing = updated()
    if "--check" not in arguments:
        PO.write_text(text, "utf-8")
    elif PO.read_text("utf-8") != text:
        print(f"{PO.name}: expected all sentences of the code and no others; run: make catalog")  # noqa: T201
        return 1
    for one in missing:
        print(f"{PO.name}: expected Chinese for {one!r}, found none")  # noqa: T201
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The typeface of PDF papers.

reportlab embeds TrueType outlines only, as the subset that a paper uses; Debian's Noto CJK has CFF outlines, which it
refuses. Where no TrueType is at hand, the paper names STSong-Light (Adobe-GB1), and whoever opens it has it drawn in a
Chinese typeface of their own.
"""

from functools import lru_cache
from pathlib import Path
from typing import Final

from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.ttfonts import TTFError, TTFont

from protocol.documents import SettingsError

NAMED: Final = "STSong-Light"
"""The one that is named, not embedded."""
USUAL: Final = (
    Path("/usr/share/fonts/truetype/wqy/wqy-microhei.ttc"),
    Path("/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc"),
    Path("/usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf"),
)
"""Of Debian's packages fonts-wqy-microhei, fonts-wqy-zenhei and fonts-droid-fallback."""


def typeface(chosen: Path | None = None, usual: tuple[Path, ...] = USUAL) -> str:
    """The name that reportlab knows the typeface by; raises SettingsError where the chosen one cannot be embedded.

    Args:
        chosen: the file that the settings name.
        usual: files that are taken where they are there.
    """
    if chosen is not None:
        return _embedded(chosen)
    return next((_embedded(path) for path in usual if path.is_file()), None) or _named()


@lru_cache
def _embedded(path: Path) -> str:
    name = f"cityeye-{path.stem}"
    try:
        pdfmetrics.registerFont(TTFont(name, str(path), subfontIndex=0))
    except (TTFError, OSError) as fault:
        raise SettingsError(
            f"[center] typeface: expected a file with TrueType outlines (.ttf, .ttc), got {path}: {fault}; "
            "try fonts-wqy-microhei, or leave it unset"
        ) from None
    return name


@lru_cache
def _named() -> str:
    pdfmetrics.registerFont(UnicodeCIDFont(NAMED))
    return NAMED

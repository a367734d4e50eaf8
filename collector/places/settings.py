"""`[map]` of `center.toml`."""

import re
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from protocol.documents import Section

_HOST: Final = re.compile(r"[a-z0-9.-]+(:\d{1,5})?")
"""Nothing that could end a line of the content policy."""


def _tiles(url: str) -> str:
    parts = urlsplit(url)
    rest = url.removeprefix(f"{parts.scheme}://{parts.netloc}")
    for name in ("{z}", "{x}", "{y}"):
        if rest.count(name) != 1:
            raise ValueError(f"expected https://HOST/{{z}}/{{x}}/{{y}}.png, each of them once, got {url!r}")
    bare = rest.replace("{z}", "").replace("{x}", "").replace("{y}", "")
    if parts.scheme not in ("https", "http") or not _HOST.fullmatch(parts.netloc) or set(bare) & set("{}<>\"' "):
        raise ValueError(f"expected https://HOST/{{z}}/{{x}}/{{y}}.png and nothing else in braces, got {url!r}")
    return url


class MapSection(Section):
    """What lies beneath the points of a map."""

    streets: Path | None = Field(default=None, description="GeoJSON, WGS84, of streets (lines) and blocks (polygons)")
    tiles: Annotated[str, AfterValidator(_tiles)] | None = Field(
        default=None, description="https://HOST/{z}/{x}/{y}.png of a tile server (Web Mercator), as browsers reach it"
    )
    tiles_datum: Literal["wgs84", "gcj02"] = Field(
        default="wgs84", description="gcj02: tiles of Chinese map services; all that is drawn is shifted to fit them"
    )
    tiles_max_zoom: int = Field(default=18, ge=1, le=22, description="the finest that the tile server has")
    attribution: str = Field(default="", max_length=200, description="whose streets or tiles these are; on the map")

    @property
    def tiles_origin(self) -> str:
        """Where tiles come from, as a content policy names it; empty for nowhere."""
        parts = urlsplit(self.tiles or "")
        return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""

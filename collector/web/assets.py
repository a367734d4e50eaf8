"""Scripts, styles and pictures of the pages: read once, sent compressed, kept by browsers for good.

Their address holds a hash over all of them, `/static/HASH/feed.js`, so that a module which imports `./api.js` gets the
one that belongs to it. After an update every address is a new one; an old one is still answered, and not kept.
"""

import gzip
import hashlib
import mimetypes
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response

from collector.web.rights import public

FOR_GOOD: Final = "public, max-age=31536000, immutable"
TEXTS: Final = (".js", ".css", ".svg", ".webmanifest")
KINDS: Final = {".js": "text/javascript", ".css": "text/css", ".webmanifest": "application/manifest+json"}


@dataclass(frozen=True)
class Asset:
    """One file."""

    content: bytes
    packed: bytes | None
    kind: str


class Assets:
    """All files of some folders, or `only` those of these names; of two with one name the later one counts."""

    def __init__(self, *folders: Path, only: Collection[str] | None = None) -> None:
        self._files: dict[str, Asset] = {}
        for folder in folders:
            for path in sorted(folder.rglob("*")):
                name = path.relative_to(folder).as_posix()
                if path.is_file() and (only is None or name in only):
                    self._files[name] = _read(path)
        whole = hashlib.sha256()
        for name, one in sorted(self._files.items()):
            whole.update(name.encode() + b"\0" + hashlib.sha256(one.content).digest())
        self.version: Final = whole.hexdigest()[:12]

    def url(self, name: str) -> str:
        """Address of a file; raises KeyError where there is none, so that a page with a wrong name is not shown."""
        self._files[name]
        return f"/static/{self.version}/{name}"

    def text(self, name: str) -> str:
        """A script that is sent from another address; raises KeyError."""
        return self._files[name].content.decode()

    def answer(self, request: Request, version: str, name: str) -> Response:
        """Send one; raises HTTPException."""
        found = self._files.get(name)
        if found is None:
            raise HTTPException(404, "没有这个文件 / there is no such file")
        headers = {"cache-control": FOR_GOOD if version == self.version else "no-cache"}
        content = found.content
        if found.packed is not None:
            headers["vary"] = "accept-encoding"
            if "gzip" in request.headers.get("accept-encoding", ""):
                content, headers["content-encoding"] = found.packed, "gzip"
        return Response(content, media_type=found.kind, headers=headers)


def _read(path: Path) -> Asset:
    content = path.read_bytes()
    packed = gzip.compress(content, 9, mtime=0) if path.suffix in TEXTS else None
    kind = KINDS.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return Asset(content, packed, kind)


def router(assets: Assets) -> APIRouter:
    """The route."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/static/{version}/{name:path}", dependencies=[public()])
    def send_file(request: Request, version: str, name: str) -> Response:
        return assets.answer(request, version, name)

    return routes

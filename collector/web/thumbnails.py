"""Pictures sized for their place on a page, made once and kept on disk."""

import contextlib
import os
import tempfile
import threading
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse, Response

from collector.evidence.files import PictureFiles
from collector.web import views
from collector.web.rights import Acting, Desk, in_streets, needs

WIDTHS: Final = (160, 320, 640, 960)
QUALITY: Final = 78
_one: Final = threading.Lock()
"""One at a time: pages must not take the processor from the inbox."""


def thumbnail(files: PictureFiles, sha256: str, width: int) -> Path:
    """A JPEG of at most so many pixels on its longer side; raises OSError, or ValueError for what is no picture."""
    path = files.thumbnails / str(width) / sha256[:2] / f"{sha256}.jpg"
    if not path.exists():
        with _one:
            if not path.exists():
                _write(path, smaller(files.read(sha256), width))
    return path


def smaller(jpeg: bytes, width: int) -> bytes:
    """A JPEG of at most so many pixels on its longer side; raises ValueError for what is no picture."""
    # reads an eighth, a quarter or half of the pixels where that is still enough
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), _reading(width))
    if picture is None:
        raise ValueError("expected a picture that can be read")
    height_px, width_px = picture.shape[:2]
    scale = min(1.0, width / max(height_px, width_px))
    size = (max(1, round(width_px * scale)), max(1, round(height_px * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA) if scale < 1 else picture
    encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, QUALITY, cv2.IMWRITE_JPEG_OPTIMIZE, 1])[1]
    return encoded.tobytes()


def _reading(width: int) -> int:
    """Pictures are 1920 wide at most, most of them 1280 or more."""
    return (
        cv2.IMREAD_REDUCED_COLOR_4 if width <= 160 else cv2.IMREAD_REDUCED_COLOR_2 if width <= 320 else cv2.IMREAD_COLOR
    )


def _write(path: Path, jpeg: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    number, name = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(jpeg)
        Path(name).replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def router(desk: Desk) -> APIRouter:
    """The route."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/evidence/{name}/{width:int}.jpg", dependencies=[needs("evidence.read")])
    def show_thumbnail(acting: Acting, name: str, width: int) -> Response:
        own = in_streets(acting, "evidence.read")
        with desk.store.transaction() as session:
            row = views.seen_at(session, name, own)
        if width not in WIDTHS or row is None:
            raise HTTPException(404, "没有这张图片 / there is no such picture")
        try:
            path = thumbnail(desk.files, name, width)
        except (OSError, ValueError):
            raise HTTPException(404, "图片无法读取 / the picture cannot be read") from None
        # what people took shows faces
        kept = "private, max-age=86400, immutable" if row.masked else "no-store"
        headers = {"cache-control": kept, "vary": "cookie"}
        return FileResponse(path, media_type="image/jpeg", headers=headers)

    return routes

"""Picture files."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from protocol.ids import SHA256_PATTERN

_SHA256: Final = re.compile(SHA256_PATTERN)


@dataclass(frozen=True)
class PictureFiles:
    """A folder of pictures, `ab/abcdef….jpg`."""

    root: Path

    def path(self, sha256: str) -> Path:
        """Where a picture lies; raises ValueError for anything but a SHA-256."""
        if not _SHA256.fullmatch(sha256):
            raise ValueError(f"expected a SHA-256 in hexadecimal, got {sha256!r:.80}")
        return self.root / sha256[:2] / f"{sha256}.jpg"

    def put(self, sha256: str, jpeg: bytes) -> None:
        """Write a picture so that it survives a cut of the power; does nothing where it is already here."""
        path = self.path(sha256)
        if path.exists() and path.stat().st_size == len(jpeg):
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            file.write(jpeg)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

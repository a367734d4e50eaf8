"""Picture files."""

import contextlib
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from protocol.ids import SHA256_PATTERN

PART: Final = ".part"
LEFT_S: Final = 3600.0
"""No picture takes longer to write."""
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
        # several collectors may write the same picture at once: each has a file of its own
        number, name = tempfile.mkstemp(suffix=PART, dir=path.parent)
        part = Path(name)
        try:
            with os.fdopen(number, "wb") as file:
                file.write(jpeg)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def sweep(self, now_s: float) -> None:
        """Remove what a collector left half written when it was killed; another one may be writing just now."""
        for part in self.root.glob(f"*/*{PART}"):
            with contextlib.suppress(FileNotFoundError):
                if now_s - part.stat().st_mtime > LEFT_S:
                    part.unlink()

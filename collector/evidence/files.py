"""Picture files: in a folder, or in an object storage that speaks S3."""

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from collector.evidence.settings import EvidenceSection
from collector.notices.secrets import Secrets
from protocol.ids import SHA256_PATTERN

if TYPE_CHECKING:
    from obstore.store import S3Store

PART: Final = ".part"
LEFT_S: Final = 3600.0
"""No picture takes longer to write."""
PATIENCE: Final = timedelta(seconds=10)
"""For one call of an object storage; the box sends again what was not taken."""
_SHA256: Final = re.compile(SHA256_PATTERN)


@dataclass(frozen=True)
class PictureFiles:
    """A folder of pictures, `ab/abcdef….jpg`."""

    root: Path

    def path(self, sha256: str) -> Path:
        """Where a picture lies; raises ValueError for anything but a SHA-256."""
        return self.root / _key(sha256)

    @property
    def thumbnails(self) -> Path:
        """Smaller ones lie there, `WIDTH/ab/abcdef….jpg`."""
        return self.root.with_name("thumbnails")

    def read(self, sha256: str) -> bytes:
        """A picture; raises OSError, FileNotFoundError where there is none."""
        return self.path(sha256).read_bytes()

    def has(self, sha256: str) -> bool:
        """Whether a picture is here."""
        return self.path(sha256).is_file()

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

    def delete(self, sha256: str) -> None:
        """Take a picture away, and the smaller ones made of it; raises OSError."""
        self._remove(sha256)
        for small in self.thumbnails.glob(f"*/{_key(sha256)}"):
            small.unlink(missing_ok=True)

    def names(self) -> Iterator[tuple[str, float]]:
        """SHA-256 of each picture that is here, and when it was written, in seconds since the epoch."""
        for path in self.root.glob("*/*.jpg"):
            with contextlib.suppress(FileNotFoundError):
                yield path.stem, path.stat().st_mtime

    def sweep(self, now_s: float) -> None:
        """Remove what a collector left half written when it was killed; another one may be writing just now."""
        for part in self.root.glob(f"*/*{PART}"):
            with contextlib.suppress(FileNotFoundError):
                if now_s - part.stat().st_mtime > LEFT_S:
                    part.unlink()

    def _remove(self, sha256: str) -> None:
        self.path(sha256).unlink(missing_ok=True)


@dataclass(frozen=True)
class ObjectFiles(PictureFiles):
    """The same in a bucket; `root` names what lies beside it on this disk. All errors are OSError."""

    bucket: "S3Store" = field(compare=False)

    def read(self, sha256: str) -> bytes:
        """A picture."""
        with _told(sha256):
            return bytes(self.bucket.get(_key(sha256)).bytes())

    def has(self, sha256: str) -> bool:
        """Whether a picture is there."""
        try:
            with _told(sha256):
                self.bucket.head(_key(sha256))
        except FileNotFoundError:
            return False
        return True

    def put(self, sha256: str, jpeg: bytes) -> None:
        """Write a picture; one that is there is the same."""
        with _told(sha256):
            self.bucket.put(_key(sha256), jpeg)

    def names(self) -> Iterator[tuple[str, float]]:
        """SHA-256 of each picture that is there, and when it was written."""
        with _told("list"):
            for part in self.bucket.list():
                for one in part:
                    yield Path(one["path"]).stem, one["last_modified"].timestamp()

    def _remove(self, sha256: str) -> None:
        with _told(sha256), contextlib.suppress(FileNotFoundError):
            self.bucket.delete(_key(sha256))


def open_files(section: EvidenceSection, data_dir: Path, folder: Path) -> PictureFiles:
    """Where this center's pictures lie; raises SecretError.

    Args:
        section: settings.
        data_dir: of the center.
        folder: that paths of secrets are relative to.
    """
    root = data_dir / "evidence"
    if section.store is None or section.key_id is None or section.key_secret is None:
        return PictureFiles(root)
    from obstore.store import S3Store  # noqa: PLC0415 - only who has such a storage waits for it

    parts, secrets = urlsplit(section.store), Secrets(folder)
    more: Any = {} if section.endpoint is None else {"endpoint": section.endpoint}
    bucket = S3Store(
        parts.netloc,
        prefix=parts.path.strip("/") or None,
        region=section.region,
        access_key_id=secrets.get(section.key_id),
        secret_access_key=secrets.get(section.key_secret),
        client_options={"timeout": PATIENCE, "allow_http": (section.endpoint or "").startswith("http:")},
        retry_config={"max_retries": 2, "retry_timeout": PATIENCE},
        **more,
    )
    return ObjectFiles(root, bucket)


def _key(sha256: str) -> str:
    if not _SHA256.fullmatch(sha256):
        raise ValueError(f"expected a SHA-256 in hexadecimal, got {sha256!r:.80}")
    return f"{sha256[:2]}/{sha256}.jpg"


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """Errors of the object storage as those of files."""
    from obstore.exceptions import BaseError, NotFoundError  # noqa: PLC0415 - see open_files

    try:
        yield
    except (NotFoundError, FileNotFoundError):
        raise FileNotFoundError(f"{what}: there is none in the object storage") from None
    except BaseError as fault:
        # its text may name the key's id and much of the request
        raise OSError(f"{what}: expected the object storage to do it, got {type(fault).__name__}") from None

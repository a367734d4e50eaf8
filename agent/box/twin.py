"""Small files that a box cannot do without: written whole or not at all, each with a checked copy beside it.

A card's worn cell or a cut of the power may damage any one file; the key that the center knows the box by, its
certificate and its settings then come from the copy, whose first line is the SHA-256 of the rest.
"""

import contextlib
import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

log = logging.getLogger(__name__)

SUFFIX: Final = ".copy"
T = TypeVar("T")


def write_whole(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a file so that a cut of the power leaves the old or the new one; raises OSError."""
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    sync(path.parent)


def sync(folder: Path) -> None:
    """Have a folder's names survive a cut of the power; raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_twice(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a file and its copy; raises OSError.

    The copy goes first, as it is the one that is believed: after a cut in between the new content is in force.
    """
    _write_copy(path, content, mode)
    write_whole(path, content, mode)


def read_twice(path: Path, parse: Callable[[bytes], T]) -> T:
    """Read a file; where it is not what its copy says, it is mended and the log says so.

    A file without a good copy is taken as it is and gets one, once it was parsed. Raises FileNotFoundError where there
    is neither, other OSErrors, and what `parse` raises.
    """
    copy = copy_of(path)
    kept = _read_copy(copy)
    if kept is None:
        own = path.read_bytes()
        value = parse(own)
        with contextlib.suppress(OSError):
            _write_copy(path, own, path.stat().st_mode & 0o777)
        return value
    content: bytes | None = None
    with contextlib.suppress(OSError):
        content = path.read_bytes()
    if content != kept:
        log.error("%s: %s; taken from its copy", path, "missing" if content is None else "damaged")
        with contextlib.suppress(OSError):  # where the disk cannot be written, it is read from the copy each time
            write_whole(path, kept, copy.stat().st_mode & 0o777)
    return parse(kept)


def copy_of(path: Path) -> Path:
    """Where a file's copy lies."""
    return path.with_name(path.name + SUFFIX)


def _write_copy(path: Path, content: bytes, mode: int) -> None:
    write_whole(copy_of(path), _digest(content) + b"\n" + content, mode)


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def _read_copy(path: Path) -> bytes | None:
    try:
        digest, _, content = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    except OSError as fault:
        log.warning("%s: cannot be read: %s", path, fault.strerror)
        return None
    if digest != _digest(content):
        log.warning("%s: damaged; the file itself is taken", path)
        return None
    return content

"""Files that a box gets from its center over HTTPS, in parts: what has come stays, the next try goes on behind it."""

import hashlib
import http.client
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import urlsplit

from agent.box.enrolment import TIMEOUT_S, EnrolmentError, Membership, own_context
from agent.box.twin import sync
from protocol.detectors import PART_BYTES

log = logging.getLogger(__name__)

SPARE_BYTES: Final = 128 << 20
"""Of the disk, left to incidents."""
AGAIN_S: Final = (5.0, 300.0)
"""Between two tries to reach the center, doubling."""
_CHUNK_BYTES: Final = 64 << 10


class FetchError(Exception):
    """A file that cannot be had; `final`: trying again is of no use."""

    def __init__(self, text: str, *, final: bool) -> None:
        super().__init__(text)
        self.final = final


@dataclass(frozen=True)
class Wanted:
    """A file: its path at the center, what it must be, where it goes while it comes and then."""

    url: str
    size: int
    sha256: str
    part: Path
    target: Path


def patiently(state_dir: Path, wanted: Wanted, wait: Callable[[float], bool]) -> None:
    """Get a file, trying again until there is no use in it; raises FetchError. `wait` says whether that is to end."""
    pause_s, most_s = AGAIN_S
    while True:
        try:
            return fetch(state_dir, wanted, lambda: wait(0.0))
        except FetchError as fault:
            if fault.final or wait(pause_s):
                raise
            log.warning("%s: not fetched yet: %s", wanted.target.name, fault)
        pause_s = min(most_s, 2 * pause_s)


def fetch(state_dir: Path, wanted: Wanted, cancelled: Callable[[], bool] = lambda: False) -> None:
    """Get a file, going on where it was broken off; raises FetchError."""
    part, target = wanted.part, wanted.target
    try:
        if target.is_file() and sha256_of(target) == wanted.sha256:
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        begun = part.stat().st_size if part.exists() else 0
        if shutil.disk_usage(state_dir).free < wanted.size - begun + SPARE_BYTES:
            raise FetchError(f"expected {(wanted.size + SPARE_BYTES) >> 20} MB free on the disk", final=True)
        with part.open("ab") as file:
            while file.tell() < wanted.size:
                if cancelled():
                    raise FetchError("it was broken off", final=True)
                _go_on(state_dir, wanted, file)
            file.flush()
            os.fsync(file.fileno())
        if (got := sha256_of(part)) != wanted.sha256:
            part.unlink()
            # what a cut of the power left may be damaged: once more from the beginning
            raise FetchError(f"expected a file of SHA-256 {wanted.sha256[:16]}…, got {got[:16]}…", final=not begun)
        part.replace(target)
        for folder in {target.parent, part.parent}:
            sync(folder)
    except OSError as fault:
        raise FetchError(str(fault) or type(fault).__name__, final=False) from None


def _go_on(state_dir: Path, wanted: Wanted, file: BinaryIO) -> None:
    """Write what comes of the next part; raises FetchError, OSError."""
    at = file.tell()
    last = min(at + PART_BYTES, wanted.size) - 1
    try:
        member = Membership.load(state_dir)
        if member is None:
            raise FetchError("expected an enrolled box: only those fetch from the center", final=True)
        where, context = urlsplit(member.url), own_context(state_dir)
        line = http.client.HTTPSConnection(where.hostname or "", where.port, timeout=TIMEOUT_S, context=context)
        try:
            line.request("GET", wanted.url, headers={"range": f"bytes={at}-{last}"})
            answer = line.getresponse()
            given = answer.getheader("content-range") or ""
            whole = given.rpartition("/")[2] or str(wanted.size)
            if answer.status == HTTPStatus.NOT_FOUND or whole != str(wanted.size):
                there = whole if given else "none"
                raise FetchError(f"expected a file of {wanted.size} bytes, the center has {there}", final=True)
            if answer.status == HTTPStatus.PARTIAL_CONTENT and given.startswith(f"bytes {at}-"):
                while file.tell() <= last and (chunk := answer.read(min(_CHUNK_BYTES, last + 1 - file.tell()))):
                    file.write(chunk)
        except OSError:
            if file.tell() == at:
                raise
        finally:
            line.close()
    except (EnrolmentError, http.client.HTTPException) as fault:
        raise FetchError(f"the center: {fault}", final=False) from None
    if file.tell() == at:
        raise FetchError(f"the center: expected bytes from {at} on, got {answer.status} {given}", final=False)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file; raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Getting a file over HTTP: resumed where it broke off, watched for stalls, and believed only by its checksum."""

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

CHUNK_BYTES: Final = 1 << 16
STALL_S: Final = 20.0
TRIES: Final = 5
MOST_TRIES: Final = 100
FIRST_PAUSE_S: Final = 1.0
MAX_BYTES: Final = 500 * 1024 * 1024
"""What a detector may have at most."""

Progress = Callable[[int, int | None], None]
"""Told the bytes that are here and, where it is known, the bytes that there are."""


class DownloadError(Exception):
    """A file that could not be got; one line that names the address."""


class _BrokenOff(Exception):  # noqa: N818 - no fault yet: it is tried again
    """The connection ended before the file did."""


@dataclass(frozen=True)
class Download:
    """Gets files.

    Args:
        stall_s: a server that sends nothing for this long is given up for this try.
        tries: in a row that bring nothing new.
        pause: waits for seconds.
        progress: is told how far it got.
    """

    stall_s: float = STALL_S
    tries: int = TRIES
    pause: Callable[[float], None] = time.sleep
    progress: Progress = field(default=lambda _here, _all: None)

    def get(self, url: str, path: Path, sha256: str | None, size: int | None = None) -> str:
        """Get a file into `path`, all of it or nothing; gives its SHA-256.

        What a broken connection left lies beside it as `.part` and is gone on with, by the next call as well.

        Args:
            url: http or https.
            path: where to.
            sha256: what it must be; None: whatever comes.
            size: bytes, where it is known; a server that sends more is not listened to.

        Raises:
            DownloadError: it is not there, does not come, or is another file.
        """
        if urlsplit(url).scheme not in ("http", "https"):
            raise DownloadError(f"{_shown(url)}: expected an address that begins with http:// or https://")
        part = path.with_name(f"{path.name}.part")
        failures = 0
        for attempt in range(MOST_TRIES):
            before = _size(part)
            try:
                self._go_on(url, part, size)
                break
            except (_BrokenOff, OSError, http.client.HTTPException) as fault:
                failures = failures + 1 if _size(part) <= before else 1
                if failures >= self.tries or attempt == MOST_TRIES - 1:
                    raise DownloadError(
                        f"{_shown(url)}: {_why(fault)}; tried {attempt + 1} times, {_size(part)} bytes are kept in "
                        f"{part}: try again later, it goes on from there"
                    ) from None
                self.pause(FIRST_PAUSE_S * 2 ** (failures - 1))
        said = hashlib.sha256(part.read_bytes()).hexdigest()
        if sha256 is not None and said != sha256.lower():
            part.unlink()
            raise DownloadError(f"{_shown(url)}: expected a file with SHA-256 {sha256}, got {said}; it was thrown away")
        part.replace(path)
        return said

    def _go_on(self, url: str, part: Path, size: int | None) -> None:
        here = _size(part)
        headers = {"Range": f"bytes={here}-"} if here else {}
        request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the scheme is checked above
        try:
            answer = urllib.request.urlopen(request, timeout=self.stall_s)  # noqa: S310 - as above
        except urllib.error.HTTPError as fault:
            fault.close()
            if fault.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and here:
                part.unlink()  # what is here is no part of what is there
                raise _BrokenOff("the server has another file now") from None
            if fault.code >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
                raise _BrokenOff(f"the server answers {fault.code}") from None
            raise DownloadError(f"{_shown(url)}: the server answers {fault.code} {fault.reason}") from None
        with answer:
            whole = _length(answer, here)
            if answer.status != http.HTTPStatus.PARTIAL_CONTENT:
                here = 0
            limit = min(MAX_BYTES, MAX_BYTES if size is None else size)
            if whole is not None and whole > limit:
                raise DownloadError(f"{_shown(url)}: expected at most {limit} bytes, the server has {whole}")
            with part.open("ab" if here else "wb") as file:
                # what has come, however little: a stall loses nothing
                while chunk := answer.read1(CHUNK_BYTES):
                    here += len(chunk)
                    if here > limit:
                        file.close()
                        part.unlink()
                        raise DownloadError(f"{_shown(url)}: expected at most {limit} bytes, the server sends more")
                    file.write(chunk)
                    self.progress(here, whole)
        if whole is not None and here < whole:
            raise _BrokenOff(f"the connection ended after {here} of {whole} bytes")


def _length(answer: http.client.HTTPResponse, here: int) -> int | None:
    """Bytes of the whole file, as far as the server says."""
    length = answer.headers.get("Content-Length", "")
    if not length.isdigit():
        return None
    if answer.status != http.HTTPStatus.PARTIAL_CONTENT:
        return int(length)
    if not answer.headers.get("Content-Range", "").startswith(f"bytes {here}-"):
        raise _BrokenOff("the server sent another part than was asked for")
    return here + int(length)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _why(fault: Exception) -> str:
    if isinstance(fault, TimeoutError) or isinstance(getattr(fault, "reason", None), TimeoutError):
        return "the server sends nothing any more"
    reason = getattr(fault, "reason", None)
    return str(getattr(reason, "strerror", None) or reason or getattr(fault, "strerror", None) or fault)


def _shown(url: str) -> str:
    """An address without the secrets that it may hold."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"

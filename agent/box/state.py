"""The folder that a box writes to."""

import fcntl
import os
import tempfile
from pathlib import Path
from typing import Self


class StateError(Exception):
    """A state folder that cannot be used; one line that says what was expected, what came and what to do."""


class StateFolder:
    """The state folder, made if need be, held by one agent at a time.

    Args:
        path: the folder.
        exclusive: False only looks whether it could be used.
    """

    def __init__(self, path: Path, *, exclusive: bool = True) -> None:
        self.path = path
        self._exclusive = exclusive
        self._lock: int | None = None

    def __enter__(self) -> Self:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path) as probe:
                probe.write(b"x" * 4096)
            if self._exclusive:
                self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._unlock()
            raise StateError(
                f"{self.path}: expected to be the only agent here, another one runs; stop it first"
            ) from None
        except OSError as fault:
            self._unlock()
            raise StateError(f"{self.path}: expected a folder that can be written, got: {fault.strerror}") from None
        return self

    def __exit__(self, *_: object) -> None:
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

"""Cameras of which the broker may hold a retained state, so that one that is no longer watched can be taken back.

In a file: a camera may go while the line is down, and the agent may end before it is there again.
"""

import json
import logging
import threading
from pathlib import Path
from typing import Final

from agent.box.twin import write_whole
from protocol.ids import is_slug

log = logging.getLogger(__name__)

FILE: Final = "retained.json"


class Retained:
    """Ids of cameras; may be used by several threads.

    Args:
        folder: the state folder; None keeps them in memory.
    """

    def __init__(self, folder: Path | None) -> None:
        self._path = None if folder is None else folder / FILE
        self._lock = threading.Lock()
        self._cameras = _read(self._path)

    def cameras(self) -> set[str]:
        """Those whose state the broker may hold."""
        with self._lock:
            return set(self._cameras)

    def add(self, camera: str) -> None:
        """One whose state is about to be published."""
        with self._lock:
            if camera not in self._cameras:
                self._cameras.add(camera)
                self._write()

    def discard(self, camera: str) -> None:
        """One whose state the broker has forgotten."""
        with self._lock:
            if camera in self._cameras:
                self._cameras.discard(camera)
                self._write()

    def _write(self) -> None:
        if self._path is None:
            return
        try:
            write_whole(self._path, json.dumps(sorted(self._cameras)).encode())
        except OSError as fault:
            log.warning("%s: cannot be written: %s", self._path, fault.strerror)


def _read(path: Path | None) -> set[str]:
    try:
        names = [] if path is None else json.loads(path.read_text("utf-8"))
        return {name for name in names if isinstance(name, str) and is_slug(name)}
    except FileNotFoundError:
        return set()
    except (OSError, ValueError, TypeError) as fault:
        log.warning("%s: damaged (%s); begun anew", path, type(fault).__name__)
        return set()

"""Telling the other collectors on one PostgreSQL that something was committed, so that their pages show it at once."""

import contextlib
import logging
import threading
import uuid
from collections.abc import Callable
from typing import Final

import psycopg
from sqlalchemy import URL

log = logging.getLogger(__name__)

CHANNEL: Final = "cityeye"
GLANCE_S: Final = 1.0
AGAIN_S: Final = 5.0


class Relay:
    """Listens for the others, and tells them.

    Args:
        url: of the database.
        changed: called, from the relay's thread, when another collector has committed something.
    """

    def __init__(self, url: URL, changed: Callable[[], None]) -> None:
        # libpq's form, with the password
        self._address = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._changed = changed
        self._name = uuid.uuid4().hex
        self._ending = threading.Event()
        self._telling: psycopg.Connection | None = None
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self._thread.start()

    def tell(self) -> None:
        """Tell the others; where that fails, their pages show it when they are next loaded."""
        try:
            if self._telling is None or self._telling.closed:
                self._telling = psycopg.connect(self._address, autocommit=True, connect_timeout=5)
            self._telling.execute("SELECT pg_notify(%s, %s)", (CHANNEL, self._name))
        except psycopg.Error as fault:
            log.warning("the other collectors cannot be told: %s", str(fault).strip())

    def close(self) -> None:
        """Stop."""
        self._ending.set()
        self._thread.join(2 * GLANCE_S)
        if self._telling is not None:
            self._telling.close()

    def _run(self) -> None:
        while not self._ending.is_set():
            with contextlib.suppress(psycopg.Error):
                self._listen()
            self._ending.wait(AGAIN_S)

    def _listen(self) -> None:
        with psycopg.connect(self._address, autocommit=True, connect_timeout=5) as line:
            line.execute(f"LISTEN {CHANNEL}")
            # what came while nobody listened
            self._changed()
            while not self._ending.is_set():
                if any(one.payload != self._name for one in line.notifies(timeout=GLANCE_S, stop_after=1)):
                    self._changed()

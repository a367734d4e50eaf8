"""The thread that sends boxes commands, settings, detectors and systems; each collector has one: twice does no harm."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from collector.boxes import orders, rollouts, wanted
from collector.store import Store

log = logging.getLogger(__name__)

POLL_S: Final = 0.5
"""How long a command may lie before it is sent: whoever gives it is another process."""
BUSY_TIDY_S: Final = 5.0
TIDY_S: Final = 60.0


class Dispatch:
    """Sends what waits in the database.

    Args:
        store: the database.
        center: the center's id.
        publish: hands a message to the broker; False where there is no line.
        now: seconds since the epoch.
    """

    def __init__(
        self, store: Store, center: str, publish: Callable[..., bool], now: Callable[[], float] = time.time
    ) -> None:
        self._store, self._center, self._publish, self._now = store, center, publish, now
        self._stopping = threading.Event()
        self._tidied_s = float("-inf")
        self._thread = threading.Thread(target=self._run, name="dispatch", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopping.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._stopping.wait(POLL_S):
            try:
                self.step()
            except SQLAlchemyError as fault:
                log.warning("dispatch: the database does not answer (%s); trying again", type(fault).__name__)
            except Exception:
                log.exception("dispatch: going on")

    def step(self) -> None:
        """Send what is due; it counts as sent once the broker's line has taken it."""
        now_ms = round(self._now() * 1000)
        with self._store.transaction() as session:
            waiting = orders.any_open(session)
            settings = wanted.any_due(session) or rollouts.any_due(session)
            busy = waiting or rollouts.running(session) is not None
        tidy = self._now() - self._tidied_s >= (BUSY_TIDY_S if busy else TIDY_S)
        if not (waiting or settings or tidy):
            return
        with self._store.writing() as session:
            for one in orders.due(session, self._center, now_ms):
                if self._publish(one.topic, one.payload, expiry_s=one.expiry_s):
                    orders.sent(session, str(one.key), now_ms)
            if tidy:
                wanted.forget_unheard(session, now_ms)
                rollouts.step(session, now_ms)
            for one in wanted.due(session, self._center):
                if self._publish(one.topic, one.payload, retain=True):
                    wanted.sent(session, int(one.key), now_ms)
            for row, topic, payload in rollouts.due(session, self._center):
                if self._publish(topic, payload, retain=True):
                    row.due = False
            if tidy:
                self._tidied_s = self._now()
                orders.overdue(session, now_ms)
                orders.forget_pictures(session, now_ms)

"""Telling open pages that something changed."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from typing import Final

HEARTBEAT_S: Final = 15.0
GLANCE_S: Final = 0.5
"""How soon a waiting page notices that the collector is to end."""


class Changes:
    """Counts changes; `tell` is called by the inbox's thread, `feed` is one page's view of it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    def tell(self) -> None:
        """Wake all pages."""
        with self._lock:
            waiting = list(self._waiting)
        for loop, event in waiting:
            # a page that is just closing has closed its loop
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(event.set)

    async def feed(self, stopping: Callable[[], bool]) -> AsyncIterator[str]:
        """Server-sent events for one page."""
        event = asyncio.Event()
        entry = (asyncio.get_running_loop(), event)
        with self._lock:
            self._waiting.add(entry)
        try:
            yield "retry: 2000\n\n"
            quiet_s = 0.0
            while not stopping():
                try:
                    await asyncio.wait_for(event.wait(), GLANCE_S)
                except TimeoutError:
                    quiet_s += GLANCE_S
                    if quiet_s >= HEARTBEAT_S:
                        quiet_s = 0.0
                        yield ": still here\n\n"
                    continue
                event.clear()
                quiet_s = 0.0
                yield "event: changed\ndata: {}\n\n"
        finally:
            with self._lock:
                self._waiting.discard(entry)

"""What a box has before it sees: its state folder, its keys, its outbox and its line to the center.

Nothing here loads what looks at pictures: that takes a small board seconds, and the center hears of the box first.
"""

import base64
import logging
from contextlib import ExitStack, closing
from typing import Self

from agent import VERSION
from agent.box import memory
from agent.box.clock import Clock
from agent.box.diagnostics import LogTail, machine_load
from agent.box.identity import boot_id, load_encryption_key, load_key
from agent.box.state import StateFolder
from agent.settings import BoxConfig
from agent.uplink.outbox import Outbox
from agent.uplink.retained import Retained
from agent.uplink.session import Session
from protocol.messages import BoxHealth, BoxStatus
from protocol.seal import public_key_text


class Line:
    """Inside `with` the state folder is this process's own; where there is a center, the line to it is being made.

    Args:
        config: the box's settings; its cameras do not matter.
        clock: the time.
    """

    session: Session | None = None
    """None where there is no center."""

    def __init__(self, config: BoxConfig, clock: Clock) -> None:
        self._config, self._clock, self._stack = config, clock, ExitStack()
        self.log_tail = LogTail()

    def __enter__(self) -> Self:
        with self._stack:
            self._open()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _open(self) -> None:
        clock, settings = self._clock, self._config.settings
        self.folder = self._stack.enter_context(StateFolder(self._config.state_dir)).path
        logging.getLogger().addHandler(self.log_tail)
        self._stack.callback(logging.getLogger().removeHandler, self.log_tail)
        clock.recall(self.folder)
        memory.spare()
        self.key, self.encryption_key = load_key(self.folder), load_encryption_key(self.folder)
        budget_bytes = settings.box.outbox_mb * 1024 * 1024
        self.outbox = self._stack.enter_context(
            closing(Outbox(self.folder / "outbox.db", now=clock.now, budget_bytes=budget_bytes))
        )
        clock.not_before(self.outbox.newest_s())
        clock.follow()
        if settings.center is None:
            return
        self.retained = Retained(self.folder)
        self.session = Session(
            settings.center,
            self._config.folder,
            settings.box.site,
            settings.box.id,
            self.outbox,
            BoxStatus(
                state="online",
                boot_id=boot_id(),
                version=VERSION,
                public_key=public_key_text(self.key),
                encryption_key=base64.b64encode(self.encryption_key.public_key().public_bytes_raw()).decode(),
            ),
            now=clock.now,
            heard=clock.heard,
            monotonic=clock.monotonic,
            retained=self.retained,
        )
        self.session.greeting = self.health
        self._stack.callback(self.session.stop)
        self.session.start()

    def health(self) -> BoxHealth:
        """How the box is doing, as far as that can be told without cameras."""
        figures, report = self.outbox.figures(), self._clock.report()
        return BoxHealth(
            uptime_s=report.uptime_s,
            waiting_messages=figures.waiting,
            oldest_waiting_s=figures.oldest_waiting_s,
            parked_messages=figures.parked,
            state_bytes=figures.bytes,
            clock=report,
            outbox_budget_bytes=figures.budget_bytes,
            pictures_dropped=figures.dropped,
            unwritten_messages=figures.unwritten,
            refused_connections=None if self.session is None else self.session.refused_connections,
            refused_publishes=None if self.session is None else self.session.refused_publishes,
            machine=machine_load(self._config.state_dir),
        )

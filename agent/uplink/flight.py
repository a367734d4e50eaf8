"""What is on its way to the center, and when what stays unanswered is sent again.

No thread, no network: the session asks what to send, and tells what it hears. Times are monotonic: a box's clock may
jump by a day while a message waits for its answer.
"""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from agent.uplink.outbox import Outbox, Outgoing
from protocol.messages import Acknowledgement

WINDOW: Final = 32
"""Messages in flight; with pictures of 150 KB that is 5 MB."""
WINDOW_BYTES: Final = 4 * 1024 * 1024
RESEND_S: Final = 30.0
"""What stays unanswered is sent again after this long, then twice as long, and so on."""
MAX_RESEND_S: Final = 600.0
MAX_LATER_S: Final = 3600.0
"""A center that asks for more patience is asked again all the same."""
JITTER: Final = 0.3
"""Waits are longer by up to this share of themselves, so that boxes do not keep step."""


@dataclass(frozen=True)
class Sending:
    """The last time a message was sent."""

    at_s: float
    tries: int


class Flight:
    """A bounded window over the outbox; may be used by several threads.

    Args:
        outbox: what is to be sent.
        monotonic: seconds that never jump.
        uniform: a random number between two.
    """

    def __init__(
        self, outbox: Outbox, monotonic: Callable[[], float], uniform: Callable[[float, float], float] = random.uniform
    ) -> None:
        self._outbox, self._monotonic, self._uniform = outbox, monotonic, uniform
        self._lock = threading.Lock()
        self._window = WINDOW
        self._sent: dict[str, Sending] = {}
        self._flying: dict[str, float] = {}
        """Ids in flight, and when they count as lost."""
        self._resting: dict[str, float] = {}
        """Ids that are not to be sent before a time; those in flight among them."""
        self._heard_s = monotonic()

    def connected(self, window: int = WINDOW) -> None:
        """A connection is new: what was in flight may be lost, and what waited for its turn need not any more."""
        with self._lock:
            self._window = max(1, min(WINDOW, window))
            self._sent.clear()
            self._flying.clear()
            self._resting.clear()
            self._heard_s = self._monotonic()
        self._outbox.begin_backlog()

    def launch(self) -> list[Outgoing]:
        """Take what is to be sent now; it counts as sent."""
        with self._lock:
            now_s = self._monotonic()
            self._flying = {one: until_s for one, until_s in self._flying.items() if until_s > now_s}
            self._resting = {one: until_s for one, until_s in self._resting.items() if until_s > now_s}
            room = self._window - len(self._flying)
            if room <= 0:
                return []
            messages = self._outbox.due(room, WINDOW_BYTES, self._resting)
            for one in messages:
                self._take_off(one.id, now_s)
        return messages

    def _take_off(self, message: str, now_s: float) -> None:
        tries = self._sent[message].tries + 1 if message in self._sent else 1
        self._sent[message] = Sending(now_s, tries)
        self._resting[message] = now_s + self._patience_s(tries)
        # a slot is not kept for as long as that: where nobody answers, the next ones are tried as well
        self._flying[message] = min(self._resting[message], now_s + RESEND_S * (1 + JITTER))

    def _patience_s(self, tries: int) -> float:
        wait_s = min(MAX_RESEND_S, RESEND_S * 2.0 ** min(tries - 1, 10))
        return wait_s * self._uniform(1, 1 + JITTER)

    def answered(self, answer: Acknowledgement) -> Sending | None:
        """Take the center's word; returns when a message was sent that it answers and that was sent only once.

        Raises OutboxError where that cannot be written: then it counts as not answered.
        """
        self._outbox.acknowledge(answer)
        with self._lock:
            now_s = self._monotonic()
            once = None
            for message in (*answer.stored, *(one.id for one in answer.refused)):
                sending = self._sent.pop(message, None)
                self._flying.pop(message, None)
                self._resting.pop(message, None)
                if sending is not None and sending.tries == 1:
                    once = sending
            for later in answer.later:
                if self._flying.pop(later.id, None) is not None:
                    wait_s = min(MAX_LATER_S, later.after_s) * self._uniform(1, 1 + JITTER)
                    self._resting[later.id] = now_s + wait_s
            if answer.stored and now_s - self._heard_s > RESEND_S:
                self._hurry(now_s)
            if answer.stored:
                self._heard_s = now_s
        return once

    def _hurry(self, now_s: float) -> None:
        """The center is back after a silence: what waits because nobody answered need not wait any more."""
        for message in self._resting:
            if message not in self._flying:
                self._resting[message] = min(self._resting[message], now_s + self._uniform(0, RESEND_S * JITTER))

    def turned_away(self, message: str) -> None:
        """The broker cannot take a message just now."""
        with self._lock:
            if self._flying.pop(message, None) is not None:
                self._resting[message] = self._monotonic() + self._patience_s(self._sent[message].tries)

    def landed(self, message: str) -> None:
        """A message will not be answered: it was parked."""
        with self._lock:
            for known in (self._sent, self._flying, self._resting):
                known.pop(message, None)

    def wait_s(self) -> float:
        """How long nothing is due, unless something is committed or answered; at most RESEND_S."""
        with self._lock:
            now_s = self._monotonic()
            next_s = min((*self._flying.values(), *self._resting.values()), default=now_s + RESEND_S)
        return max(0.0, min(RESEND_S, next_s - now_s))

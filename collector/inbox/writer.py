"""One thread that commits deliveries in batches and answers the boxes afterwards."""

import logging
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from collector.evidence.files import PictureFiles
from collector.inbox.intake import Delivery, Outcome, claimed_id, take
from collector.store import Store
from protocol import topics
from protocol.messages import Acknowledgement, Postponement
from protocol.topics import Topic

log = logging.getLogger(__name__)

BATCH: Final = 50
"""Below the 200 ids that one acknowledgement may hold."""
MAX_WAITING: Final = 500
"""Deliveries in memory; beyond it the broker has to wait."""
LATER_S: Final = 30.0


@dataclass(frozen=True)
class Answer:
    """An acknowledgement and whom it goes to."""

    topic: Topic
    acknowledgement: Acknowledgement


class Writer:
    """Commits deliveries.

    Args:
        changed: told after each commit that changed something.
        now: seconds since the epoch.
    """

    def __init__(
        self,
        store: Store,
        files: PictureFiles,
        changed: Callable[[], None],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._files = files
        self._changed = changed
        self._now = now
        self._answer: Callable[[Answer], None] = lambda _: None
        self._queue: queue.Queue[Delivery | None] = queue.Queue(MAX_WAITING)
        self._thread = threading.Thread(target=self._run, name="inbox-writer", daemon=True)

    def start(self, answer: Callable[[Answer], None]) -> None:
        """Begin; `answer` sends an acknowledgement and is called after the commit."""
        self._answer = answer
        self._thread.start()

    def stop(self) -> None:
        """Commit what is waiting and end."""
        self._queue.put(None)
        self._thread.join(10)

    @property
    def alive(self) -> bool:
        """Whether it works."""
        return self._thread.is_alive()

    def put(self, delivery: Delivery, timeout_s: float) -> bool:
        """Hand a delivery over; False where the writer is too far behind (the box will send it again)."""
        try:
            self._queue.put(delivery, timeout=timeout_s)
        except queue.Full:
            return False
        return True

    def _run(self) -> None:
        going = True
        while going:
            batch = [self._queue.get()]
            while len(batch) < BATCH and batch[-1] is not None:
                try:
                    batch.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            going = batch[-1] is not None
            deliveries = [delivery for delivery in batch if delivery is not None]
            if deliveries:
                try:
                    for answer in self.commit(deliveries):
                        self._answer(answer)
                    self._changed()
                except Exception:
                    log.exception("inbox: a batch of %d was not taken; the boxes will send it again", len(deliveries))

    def commit(self, deliveries: Sequence[Delivery]) -> list[Answer]:
        """Commit a batch; where that fails, each one alone. Returns what the boxes are to be told."""
        try:
            with self._store.writing() as session:
                outcomes = [take(session, delivery, self._files, self._now_ms()) for delivery in deliveries]
        except (SQLAlchemyError, OSError, ValueError, TypeError, KeyError) as fault:
            log.warning("inbox: a batch of %d failed (%s); taking each alone", len(deliveries), type(fault).__name__)
            return self._answers([(delivery, self._commit_one(delivery)) for delivery in deliveries])
        return self._answers(list(zip(deliveries, outcomes, strict=True)))

    def _commit_one(self, delivery: Delivery) -> Outcome:
        try:
            with self._store.writing() as session:
                return take(session, delivery, self._files, self._now_ms())
        except (SQLAlchemyError, OSError) as fault:
            cause = getattr(fault, "orig", None) or fault
            log.error("inbox: %s cannot be stored now: %s", delivery.topic, cause)  # noqa: TRY400 - no trace wanted
        except Exception:
            log.exception("inbox: %s cannot be stored", delivery.topic)
        message = claimed_id(delivery)
        return Outcome() if message is None else Outcome(later=Postponement(id=message, after_s=LATER_S))

    def _answers(self, outcomes: Sequence[tuple[Delivery, Outcome]]) -> list[Answer]:
        """One acknowledgement per box; a batch is smaller than what one may hold."""
        boxes: dict[Topic, list[Outcome]] = defaultdict(list)
        for delivery, outcome in outcomes:
            if outcome != Outcome():
                topic = topics.parse(delivery.topic)
                boxes[Topic(topic.site, topic.box, "ack")].append(outcome)
        return [
            Answer(
                to,
                Acknowledgement(
                    stored=tuple(one.stored for one in found if one.stored is not None),
                    refused=tuple(one.refused for one in found if one.refused is not None),
                    later=tuple(one.later for one in found if one.later is not None),
                ),
            )
            for to, found in boxes.items()
        ]

    def _now_ms(self) -> int:
        return round(self._now() * 1000)

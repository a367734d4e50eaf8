"""One thread that commits deliveries in batches and answers the boxes afterwards."""

import logging
import queue
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from collector.evidence.files import PictureFiles
from collector.evidence.graves import settle
from collector.inbox.intake import LATE_AFTER_S, LATER_S, Outcome, take
from collector.inbox.meter import Meter
from collector.inbox.quarantine import Complaints
from collector.inbox.reading import Delivery, Reading, claimed_id, read
from collector.store import Store, is_away, is_race
from protocol.instants import from_epoch
from protocol.messages import MAX_ACKNOWLEDGED, Acknowledgement, Postponement
from protocol.topics import Topic

log = logging.getLogger(__name__)

BATCH: Final = 400
"""What a commit costs is shared by more, and no delivery waits much longer for it."""
MAX_WAITING: Final = 800
"""Deliveries in memory; beyond it the broker has to wait."""
TRIES: Final = 4
"""For a transaction that another collector was in the way of."""
PAUSE_S: Final = 0.02
PRESSED: Final = 20
"""A batch of so many within the last second: there is a backlog, and others had better wait."""


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
        late_after_s: what was decided longer ago is late.
        meter: counts what happens.
    """

    def __init__(
        self,
        store: Store,
        files: PictureFiles,
        changed: Callable[[], None],
        now: Callable[[], float] = time.time,
        late_after_s: float = LATE_AFTER_S,
        meter: Meter | None = None,
    ) -> None:
        self._store = store
        self._files = files
        self._changed = changed
        self._now = now
        self._late_after_s = late_after_s
        self._meter = meter or Meter()
        self._complaints = Complaints()
        self._answer: Callable[[Answer], None] = lambda _: None
        self._queue: queue.Queue[tuple[Delivery, float] | None] = queue.Queue(MAX_WAITING)
        self._last = (float("-inf"), 0)
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

    @property
    def waiting(self) -> int:
        """Deliveries that are not committed yet."""
        return self._queue.qsize()

    @property
    def pressed(self) -> bool:
        """Whether a backlog comes in, so that what can wait should."""
        at_s, count = self._last
        return self.waiting > 0 or (count >= PRESSED and time.monotonic() - at_s < 1)

    @property
    def lag_s(self) -> float:
        """How long the oldest delivery has been waiting here."""
        with self._queue.mutex:
            oldest = self._queue.queue[0] if self._queue.queue else None
        return 0.0 if oldest is None else max(0.0, time.monotonic() - oldest[1])

    def put(self, delivery: Delivery, timeout_s: float) -> bool:
        """Hand a delivery over; False where the writer is too far behind (the box will send it again)."""
        try:
            self._queue.put((delivery, time.monotonic()), timeout=timeout_s)
        except queue.Full:
            self._meter.overflow()
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
            deliveries = [entry[0] for entry in batch if entry is not None]
            if deliveries:
                try:
                    for answer in self.commit(deliveries):
                        self._answer(answer)
                    self._last = (time.monotonic(), len(deliveries))
                    self._changed()
                except Exception:
                    log.exception("inbox: a batch of %d was not taken; the boxes will send it again", len(deliveries))

    def commit(self, deliveries: Sequence[Delivery]) -> list[Answer]:
        """Commit a batch; where that fails, each one alone. Returns what the boxes are to be told."""
        began_s = time.monotonic()
        try:
            outcomes = self._transaction(deliveries)
        except Exception as fault:  # noqa: BLE001 - whatever one delivery breaks, the others are taken
            if isinstance(fault, SQLAlchemyError) and is_away(fault):
                log.error("inbox: the database is away: %s", _cause(fault))  # noqa: TRY400 - no trace wanted
                outcomes = [_later(delivery) for delivery in deliveries]
            else:
                log.warning(
                    "inbox: a batch of %d failed (%s); taking each alone", len(deliveries), type(fault).__name__
                )
                outcomes = [self._alone(delivery) for delivery in deliveries]
        now_s = self._now()
        for delivery, outcome in zip(deliveries, outcomes, strict=True):
            if outcome.fault is not None:
                claimed = None if outcome.refused is None else outcome.refused.id
                self._complaints.tell(delivery.topic, claimed, outcome.fault, now_s)
        self._meter.committed(deliveries, outcomes, time.monotonic() - began_s, now_s)
        return _answers(list(zip(deliveries, outcomes, strict=True)), now_s)

    def _transaction(self, deliveries: Sequence[Delivery]) -> list[Outcome]:
        """One transaction; again where another collector was in the way. Files first: a storage may be slow."""
        readings = [read(delivery) for delivery in deliveries]
        pictures: dict[str, bytes] = {}
        try:
            for one in readings:
                if one.header is not None:
                    self._files.put(one.header.sha256, one.delivery.payload)
                    pictures[one.header.sha256] = one.delivery.payload
        except OSError as fault:
            log.error("inbox: pictures cannot be written now: %s", fault)  # noqa: TRY400 - no trace wanted
        outcomes = self._take(readings, pictures)
        settle(self._store, self._files, pictures)
        return outcomes

    def _take(self, readings: Sequence[Reading], written: Collection[str]) -> list[Outcome]:
        for left in reversed(range(TRIES)):
            try:
                with self._store.writing() as session:
                    return take(session, readings, written, self._now_ms(), self._late_after_s)
            except SQLAlchemyError as fault:
                if not left or not is_race(fault):
                    raise
                self._meter.race()
                time.sleep(random.uniform(0, PAUSE_S * (TRIES - left)))  # noqa: S311 - keeps two apart, no secret
        raise AssertionError("the last try returns or raises")

    def _alone(self, delivery: Delivery) -> Outcome:
        try:
            return self._transaction([delivery])[0]
        except (SQLAlchemyError, OSError) as fault:
            log.error("inbox: %s cannot be stored now: %s", delivery.topic, _cause(fault))  # noqa: TRY400 - no trace wanted
        except Exception:
            log.exception("inbox: %s cannot be stored", delivery.topic)
        return _later(delivery)

    def _now_ms(self) -> int:
        return round(self._now() * 1000)


def _later(delivery: Delivery) -> Outcome:
    message_id = claimed_id(delivery)
    return Outcome() if message_id is None else Outcome(later=Postponement(id=message_id, after_s=LATER_S))


def _cause(fault: Exception) -> object:
    return getattr(fault, "orig", None) or fault


def _answers(outcomes: Sequence[tuple[Delivery, Outcome]], now_s: float) -> list[Answer]:
    """One acknowledgement per box, or several where one may not hold all."""
    boxes: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for delivery, outcome in outcomes:
        if outcome.stored is not None or outcome.refused is not None or outcome.later is not None:
            _, _, site, box, _ = delivery.topic.split("/", 4)
            boxes[site, box].append(outcome)
    return [
        Answer(
            Topic(site, box, "ack"),
            Acknowledgement(
                at=from_epoch(now_s),
                stored=tuple(one.stored for one in found if one.stored is not None),
                refused=tuple(one.refused for one in found if one.refused is not None),
                later=tuple(one.later for one in found if one.later is not None),
            ),
        )
        for (site, box), answered in boxes.items()
        for found in _parts(answered)
    ]


def _parts(answered: Sequence[Outcome]) -> Iterator[Sequence[Outcome]]:
    for begin in range(0, len(answered), MAX_ACKNOWLEDGED):
        yield answered[begin : begin + MAX_ACKNOWLEDGED]

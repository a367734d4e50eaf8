"""Figures of the center for Prometheus, read when they are asked for."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError

from collector.store import Box, Refused, Store, Ticket
from collector.tickets.timekeeper import Tally

HEALTH: Final = {
    "waiting_messages": "Messages that the box still keeps for the center",
    "oldest_waiting_s": "Age of the oldest of them",
    "parked_messages": "Messages that were refused for good",
    "state_bytes": "What its outbox takes on the disk",
}
DESK: Final = {
    "looks": "Tickets that the timekeeper looked at",
    "steps": "Steps that were taken by themselves",
    "faults": "Tickets that could not be looked at, and batches that came to nothing",
    "jumps": "Jumps of the clock",
}
"""Counters of the timekeeper, by their names in its tally."""
SIZE: Final = {
    "sqlite": "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
    "postgresql": "SELECT pg_database_size(current_database())",
}


class Figures(Collector):
    """Boxes, quarantine, database and queue.

    Args:
        inbox: whether the broker has let us in, deliveries waiting, seconds that the oldest waits.
        now: seconds since the epoch.
        tally: what this collector's timekeeper did since it began.
    """

    def __init__(
        self,
        store: Store,
        inbox: Callable[[], tuple[bool, int, float]],
        now: Callable[[], float] = time.time,
        tally: Callable[[], Tally] | None = None,
    ) -> None:
        self._store = store
        self._inbox = inbox
        self._now = now
        self._tally = tally

    def collect(self) -> Iterator[Metric]:
        """Read them; without the database only those of the inbox."""
        connected, waiting, lag_s = self._inbox()
        yield _gauge("cityeye_inbox_connected", "Whether the broker has let the center in", connected)
        yield _gauge("cityeye_inbox_queue", "Deliveries that are not committed yet", waiting)
        yield _gauge("cityeye_inbox_oldest_seconds", "How long the oldest of them waits", lag_s)
        if self._tally is not None:
            done = vars(self._tally())
            for name, words in DESK.items():
                yield CounterMetricFamily(f"cityeye_desk_{name}", words, value=done[name])
        try:
            yield from self._database()
        except SQLAlchemyError:
            yield _gauge("cityeye_database_up", "Whether the database answers", 0)
        else:
            yield _gauge("cityeye_database_up", "Whether the database answers", 1)

    def _database(self) -> Iterator[Metric]:
        with self._store.transaction() as session:
            boxes = session.execute(select(Box.id, Box.state, Box.seen_ms, Box.health)).all()
            rows, size = session.execute(select(func.count(), func.sum(func.length(Refused.head)))).one()
            open_tickets = session.scalar(select(func.count()).where(Ticket.open == 1))
            late = (Ticket.open == 1) & (Ticket.due_ms < self._now() * 1000)
            overdue = session.scalar(select(func.count()).where(late))
            # what is to be looked at at once says nothing of since when
            look_ms = session.scalar(select(func.min(Ticket.look_ms)).where(Ticket.look_ms > 0))
            database_bytes = session.scalar(text(SIZE[self._store.engine.dialect.name]))
        yield _gauge("cityeye_tickets_open", "Tickets that are open", open_tickets or 0)
        yield _gauge("cityeye_tickets_overdue", "Open tickets whose step is overdue", overdue or 0)
        behind_s = 0.0 if look_ms is None else max(0.0, self._now() - look_ms / 1000)
        yield _gauge(
            "cityeye_desk_behind_seconds", "How long the ticket waits that the desk should have looked at", behind_s
        )
        yield _gauge("cityeye_quarantine_messages", "Refused deliveries that are kept for a look", rows)
        yield _gauge("cityeye_quarantine_bytes", "What is kept of them", size or 0)
        yield _gauge("cityeye_database_bytes", "Size of the database", database_bytes or 0)
        states = GaugeMetricFamily("cityeye_boxes", "Boxes by state", labels=["state"])
        for state in ("online", "offline", "stopped", "unknown"):
            states.add_metric([state], sum(box.state == state for box in boxes))
        yield states
        seen = GaugeMetricFamily("cityeye_box_silent_seconds", "Since the box was last heard", labels=["box"])
        told = {name: GaugeMetricFamily(f"cityeye_box_{name}", words, labels=["box"]) for name, words in HEALTH.items()}
        offset = GaugeMetricFamily("cityeye_box_clock_offset_s", "Center's clock minus the box's", labels=["box"])
        for box in boxes:
            seen.add_metric([box.id], max(0.0, self._now() - box.seen_ms / 1000))
            health = json.loads(box.health) if box.health else {}
            for name, family in told.items():
                if name in health:
                    family.add_metric([box.id], health[name])
            offset_s = health.get("clock", {}).get("offset_s")
            if offset_s is not None:
                offset.add_metric([box.id], offset_s)
        yield seen
        yield from told.values()
        yield offset


def _gauge(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(name, words, value=float(value))

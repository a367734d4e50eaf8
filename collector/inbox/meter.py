"""Figures of the inbox, for Prometheus."""

from collections import Counter as Tally
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram

from collector.inbox.intake import Outcome
from collector.inbox.reading import Delivery
from protocol import topics

COMMIT_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
LAG_S = (0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5, 15, 60, 300, 1800, 7200, 86_400)
BATCHES = (1, 2, 5, 10, 20, 50, 100, 200)


class Meter:
    """Counts deliveries, by leaf and by what became of them, and how long commits take."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        self._messages = Counter(
            "cityeye_inbox_messages", "Deliveries, by leaf and outcome", ["leaf", "outcome"], registry=registry
        )
        self._refused = Counter("cityeye_inbox_refused", "Refused for good, by code", ["code"], registry=registry)
        self._commit = Histogram(
            "cityeye_inbox_commit_seconds", "Time to commit a batch", buckets=COMMIT_S, registry=registry
        )
        self._batch = Histogram("cityeye_inbox_batch_size", "Deliveries in a batch", buckets=BATCHES, registry=registry)
        self._lag = Histogram(
            "cityeye_inbox_lag_seconds",
            "From an incident's message being decided on the box to its commit",
            buckets=LAG_S,
            registry=registry,
        )
        self._races = Counter(
            "cityeye_inbox_races", "Transactions tried again, as another collector was in the way", registry=registry
        )
        self._overflows = Counter(
            "cityeye_inbox_overflows", "Deliveries left for the box to send again", registry=registry
        )

    def committed(
        self, deliveries: Sequence[Delivery], outcomes: Sequence[Outcome], took_s: float, now_s: float
    ) -> None:
        """Count a batch."""
        self._commit.observe(took_s)
        self._batch.observe(len(deliveries))
        tally = Tally((_leaf(delivery), _word(outcome)) for delivery, outcome in zip(deliveries, outcomes, strict=True))
        for (leaf, word), number in tally.items():
            self._messages.labels(leaf, word).inc(number)
        for outcome in outcomes:
            if outcome.fault is not None:
                self._refused.labels(outcome.fault.code).inc()
            if outcome.at_ms is not None:
                self._lag.observe(max(0.0, now_s - outcome.at_ms / 1000))

    def race(self) -> None:
        """Count a transaction that is tried again."""
        self._races.inc()

    def overflow(self) -> None:
        """Count a delivery that found no room."""
        self._overflows.inc()


def _leaf(delivery: Delivery) -> str:
    parts = delivery.topic.split("/", 5)
    leaf = "/".join(parts[4:6]) if len(parts) > 5 and parts[4] in ("settings", "model") else "".join(parts[4:5])
    return leaf if leaf in topics.BOX_WRITES else "unknown"


def _word(outcome: Outcome) -> str:
    if outcome.fault is not None:
        return "refused"
    if outcome.later is not None:
        return "later"
    return "stored" if outcome.stored is not None else "taken"

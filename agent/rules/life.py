"""The life of an incident: opened → updated … → cleared or ended, keyed by place.

```
            breach seen twice                     seen clear for clear_s
 (nothing) ──────────────────▶ open ─────────────────────────────────────▶ cleared
                               │  ▲  ├─ zone, rule or camera taken away ──▶ ended
                               │  │  └─ an operator says that it is none ─▶ ended
                    not seen ▼  │ seen
                               open, visibility not_seen
```

Only *seen* clear clears. A lost camera, a covered place or a shutdown changes the visibility and nothing else.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, Self

from protocol.geometry import Box, box_intersection
from protocol.messages import Evidence, Item, People

HEARTBEAT_S: Final = 600.0
QUIET_S: Final = 60.0
"""At most one message a minute for changes of items or counts."""
NOT_SEEN_AFTER_S: Final = 10.0
"""A place that is hidden for less than this was passed by, not covered."""
CONFIRMATIONS: Final = 2
"""A breach is opened when this many samples in a row show it."""
REMEMBERED: Final = 500
"""Incidents of a zone that are over, of which a return gets its `place_id`: years of a well-kept shop."""
SAME_PLACE_SHARE: Final = 0.3
COUNT_CHANGE: Final = 0.2

ChangeKind = Literal["opened", "updated", "cleared", "ended"]


def same_place(a: Box, b: Box) -> bool:
    """Say whether two boxes are one place: the smaller one lies in the other by a good part."""
    smaller = min(a[2] * a[3], b[2] * b[3])
    return smaller > 0 and box_intersection(a, b) >= SAME_PLACE_SHARE * smaller


@dataclass(frozen=True)
class Breach:
    """A limit is exceeded at a place, right now and for longer than the limit's time."""

    place: Box
    since_s: float
    items: tuple[Item, ...] = ()
    people: People | None = None


@dataclass(frozen=True)
class Sighting:
    """What is seen at the place of an open incident."""

    state: Literal["clear", "occupied", "not_seen"]
    clear_since_s: float = 0.0
    items: tuple[Item, ...] | None = None
    """What stands there now; None where nothing new is known."""
    people: People | None = None


@dataclass(frozen=True)
class Record:
    """An incident as the box remembers it, across restarts. Times are seconds since the epoch."""

    incident: str
    place_id: str
    previous: str | None
    rule: str
    camera: str
    zone: str
    shop: str | None
    place: Box
    opened_s: float
    dwell_limit_s: float
    seq: int
    sent_s: float
    visibility: Literal["seen", "not_seen"] = "seen"
    hidden_since_s: float | None = None
    cleared_s: float | None = None
    reason: str | None = None
    items: tuple[Item, ...] = ()
    people: People | None = None
    evidence: tuple[Evidence, ...] = ()

    @property
    def open(self) -> bool:
        """Whether it goes on."""
        return self.cleared_s is None and self.reason is None

    def to_json(self) -> str:
        """Write it for the outbox."""
        values = dict(self.__dict__)
        values["items"] = [item.model_dump(mode="json") for item in self.items]
        values["people"] = self.people.model_dump(mode="json") if self.people else None
        values["evidence"] = [entry.model_dump(mode="json") for entry in self.evidence]
        return json.dumps(values)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read it back from the outbox."""
        values = json.loads(text)
        values["place"] = tuple(values["place"])
        values["items"] = tuple(Item.model_validate(item) for item in values["items"])
        values["people"] = People.model_validate(values["people"]) if values["people"] else None
        values["evidence"] = tuple(Evidence.model_validate(entry) for entry in values["evidence"])
        # a newer agent, before it was taken back, may have known more
        return cls(**{name: value for name, value in values.items() if name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class Change:
    """One step of an incident: the record after it, and which pictures are to prove it."""

    kind: ChangeKind
    record: Record
    at_s: float
    roles: tuple[str, ...] = ()


@dataclass
class ZoneLife:
    """The incidents of one zone.

    Args:
        rule: `encroachment` or `crowding`.
        clear_s: how long a place must be seen clear.
        records: what the box remembers of this zone, oldest first, closed ones among them (they give a return its
            `place_id` and `previous`).
        new_id: makes an identifier from a time.
    """

    rule: str
    camera: str
    zone: str
    shop: str | None
    dwell_limit_s: float
    clear_s: float
    new_id: Callable[[float], str]
    records: Sequence[Record] = ()
    _open: list[Record] = field(init=False)
    _closed: list[Record] = field(init=False)
    _pending: list[tuple[Breach, int]] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self._open = [record for record in self.records if record.open]
        self._closed = [record for record in self.records if not record.open][-REMEMBERED:]

    @property
    def open_records(self) -> tuple[Record, ...]:
        """The incidents that go on."""
        return tuple(self._open)

    @property
    def pending(self) -> tuple[Breach, ...]:
        """Breaches that one more sample like the last one opens an incident for."""
        return tuple(breach for breach, _ in self._pending)

    @property
    def closed_records(self) -> tuple[Record, ...]:
        """The incidents that are over, the oldest first."""
        return tuple(self._closed)

    def step(self, at_s: float, breaches: Sequence[Breach], look: Callable[[Record], Sighting]) -> list[Change]:
        """Take what one sample shows.

        Args:
            at_s: the picture's time.
            breaches: limits exceeded now.
            look: says what is seen at an open incident's place.
        """
        changes = []
        for record in list(self._open):
            here = [breach for breach in breaches if same_place(breach.place, record.place)]
            sighting = look(record)
            if here and sighting.state == "occupied":
                items = tuple(item for breach in here for item in breach.items)
                sighting = replace(sighting, items=items, people=here[0].people or sighting.people)
            change = self._advance(record, at_s, sighting)
            if change is not None:
                changes.append(change)
        elsewhere = [breach for breach in breaches if not any(same_place(breach.place, r.place) for r in self._open)]
        changes.extend(self._confirm(at_s, elsewhere))
        return changes

    def hide(self, at_s: float) -> list[Change]:
        """Nothing is seen any more: the camera is lost, or the box shuts down."""
        return [
            self._keep("updated", replace(record, visibility="not_seen", hidden_since_s=at_s), at_s)
            for record in list(self._open)
            if record.visibility == "seen"
        ]

    def withdraw(self, at_s: float) -> list[Change]:
        """A person says that what was reported is none, or that the scene was wrong."""
        return [self._keep("ended", replace(record, reason="withdrawn"), at_s) for record in list(self._open)]

    def beat(self, at_s: float) -> list[Change]:
        """Send what is due although no picture came."""
        return [
            self._keep("updated", record, at_s) for record in list(self._open) if at_s - record.sent_s >= HEARTBEAT_S
        ]

    def attach(self, record: Record) -> None:
        """Keep the evidence that was sealed for a change."""
        for records in (self._open, self._closed):
            for index, known in enumerate(records):
                if known.incident == record.incident:
                    records[index] = record

    def _advance(self, record: Record, at_s: float, sighting: Sighting) -> Change | None:
        if sighting.state == "clear":
            clear_since_s = max(sighting.clear_since_s, record.opened_s)
            if at_s - clear_since_s >= self.clear_s:
                cleared = replace(record, cleared_s=clear_since_s, visibility="seen", hidden_since_s=None)
                return self._keep("cleared", cleared, at_s, ("after",))
            return self._show(replace(record, hidden_since_s=None), at_s, "seen")
        if sighting.state == "not_seen":
            since_s = at_s if record.hidden_since_s is None else record.hidden_since_s
            hidden = replace(record, hidden_since_s=since_s)
            return self._show(hidden, at_s, "not_seen" if at_s - since_s >= NOT_SEEN_AFTER_S else record.visibility)
        items = record.items if sighting.items is None else sighting.items
        leveled = (
            sighting.people is not None and record.people is not None and sighting.people.level != record.people.level
        )
        changed = leveled or (_differ(record, items, sighting.people) and at_s - record.sent_s >= QUIET_S)
        now = replace(record, hidden_since_s=None)
        if changed:
            now = replace(now, items=items, people=sighting.people)
        return self._show(now, at_s, "seen", force=changed)

    def _show(
        self, record: Record, at_s: float, visibility: Literal["seen", "not_seen"], *, force: bool = False
    ) -> Change | None:
        """Send a record if its visibility changes, if something else did, or as a heartbeat."""
        if visibility != record.visibility or force or at_s - record.sent_s >= HEARTBEAT_S:
            return self._keep("updated", replace(record, visibility=visibility), at_s)
        self.attach(record)
        return None

    def _confirm(self, at_s: float, breaches: Sequence[Breach]) -> list[Change]:
        """Count samples in a row that show a breach; open it when they suffice."""
        counted = []
        for breach in breaches:
            before = max((n for known, n in self._pending if same_place(known.place, breach.place)), default=0)
            counted.append((breach, before + 1))
        self._pending = [(breach, count) for breach, count in counted if count < CONFIRMATIONS]
        return [self._begin(breach, at_s) for breach, count in counted if count >= CONFIRMATIONS]

    def _begin(self, breach: Breach, at_s: float) -> Change:
        earlier = next((r for r in reversed(self._closed) if same_place(r.place, breach.place)), None)
        record = Record(
            incident=self.new_id(at_s),
            place_id=earlier.place_id if earlier else self.new_id(at_s),
            previous=earlier.incident if earlier else None,
            rule=self.rule,
            camera=self.camera,
            zone=self.zone,
            shop=self.shop,
            place=breach.place,
            # what stood through an earlier incident's clearing began when that one was clear
            opened_s=max(breach.since_s, earlier.cleared_s or 0.0) if earlier else breach.since_s,
            dwell_limit_s=self.dwell_limit_s,
            seq=0,
            sent_s=at_s,
            items=breach.items,
            people=breach.people,
        )
        self._open.append(record)
        return self._keep("opened", record, at_s, ("clear", "at"))

    def _keep(self, kind: ChangeKind, record: Record, at_s: float, roles: tuple[str, ...] = ()) -> Change:
        record = replace(record, seq=record.seq + 1, sent_s=at_s)
        if record.open:
            self.attach(record)
        else:
            self._open = [known for known in self._open if known.incident != record.incident]
            self._closed = [*self._closed[1 - REMEMBERED :], record]
        return Change(kind, record, at_s, roles)


def end(record: Record, at_s: float, reason: str) -> Change:
    """End an incident whose rule, zone or camera is no more."""
    return Change("ended", replace(record, seq=record.seq + 1, sent_s=at_s, reason=reason), at_s)


def _differ(record: Record, items: tuple[Item, ...], people: People | None) -> bool:
    if people is not None and record.people is not None:
        return abs(people.count - record.people.count) > COUNT_CHANGE * max(1, record.people.count)
    before, now = ([item.kind for item in some] for some in (record.items, items))
    moved = any(not any(same_place(item.box, old.box) for old in record.items) for item in items)
    return before != now or moved


def dwell_s(record: Record, at_s: float) -> float:
    """Elapsed time of an incident: until it was seen clear, or until now."""
    return max(0.0, (record.cleared_s if record.cleared_s is not None else at_s) - record.opened_s)

"""What people judged of a zone's alerts, counted and as samples.

A ticket counts for the place where it began: box, camera, zone and rule. `false`: it is a false alarm. `confirmed`: a
named person reviewed its picture and the case was not given up. All others (lapsed, exempt, duplicate, withdrawn, under
appeal, not reviewed yet) are alerts without a verdict.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.orm import Session

from collector.boxes import wanted
from collector.learning.replay import Limits, Sample, Verdict, read_presence
from collector.learning.suggestions import wilson
from collector.store import IncidentRow, MessageRow, Ticket, TicketEvent, among
from collector.tickets.machine import State
from protocol.messages import Incident, IncidentEvent
from protocol.settings import Camera, FrontageZone, GatheringZone, read_document

DAY_MS: Final = 24 * 3600 * 1000
WEEK_MS: Final = 7 * DAY_MS
WEEKS: Final = 8
SAMPLE_DAYS: Final = 90
MOST_SAMPLES: Final = 500
"""Of one zone, the newest."""
KINDS: Final = {"encroachment": FrontageZone, "crowding": GatheringZone}
"""Rules whose dwell is `dwell_s`, and the zones that have them."""
_UNDECIDED: Final = (State.PENDING_REVIEW, State.DUPLICATE, State.EXEMPT, State.LAPSED, State.APPEALED)


@dataclass(frozen=True, order=True)
class Place:
    """A zone of a camera and one of its rules."""

    box: str
    camera: str
    zone: str
    rule: str

    def __str__(self) -> str:
        return f"{self.box}/{self.camera}/{self.zone}/{self.rule}"

    @property
    def tickets(self) -> ColumnElement[bool]:
        """Condition of its tickets."""
        return and_(
            Ticket.box_id == self.box, Ticket.camera == self.camera, Ticket.zone == self.zone, Ticket.rule == self.rule
        )


@dataclass
class Tally:
    """Alerts and what was judged of them."""

    alerts: int = 0
    confirmed: int = 0
    false: int = 0

    def add(self, verdict: Verdict | Literal[""], count: int) -> None:
        """Count tickets."""
        self.alerts += count
        self.confirmed += count if verdict == "confirmed" else 0
        self.false += count if verdict == "false" else 0

    @property
    def share(self) -> float | None:
        """Of false alarms among what was judged; None: nothing was."""
        judged = self.confirmed + self.false
        return self.false / judged if judged else None


@dataclass
class Statistics(Tally):
    """Of one place in the last weeks.

    Args:
        street: site of its box.
        weeks: of seven days each, counted back from now; the oldest first.
        reasons: how many false alarms had each reason, by its id; empty: somebody's own words, or none.
    """

    street: str = ""
    weeks: list[Tally] = field(default_factory=lambda: [Tally() for _ in range(WEEKS)])
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the share of false alarms."""
        return wilson(self.false, self.confirmed + self.false)


def verdict(state: str, outcome: str | None, *, reviewed: bool) -> Verdict | Literal[""]:
    """What people judged of a ticket; empty: nothing that counts."""
    if state == State.FALSE_ALARM:
        return "false"
    return "confirmed" if reviewed and state not in _UNDECIDED and outcome != "withdrawn" else ""


def statistics(
    session: Session, streets: Collection[str] | None, now_ms: int, only: Place | None = None
) -> dict[Place, Statistics]:
    """Of all places of some streets (None: of all) that had alerts in the last weeks, most false alarms first."""

    def of_window(query: Any) -> Any:
        since_ms = now_ms - WEEKS * WEEK_MS
        # what a person reported is no zone's; what was opened since was changed since: the index is of that
        query = query.where(Ticket.box_id.is_not(None)).where(
            Ticket.changed_ms > since_ms, Ticket.opened_ms > since_ms, Ticket.opened_ms <= now_ms
        )
        if streets is not None:
            query = query.where(Ticket.street.in_(streets))
        return query if only is None else query.where(only.tickets)

    where = (Ticket.box_id, Ticket.camera, Ticket.zone, Ticket.rule)
    found: dict[Place, Statistics] = {}
    alike = (*where, Ticket.street, Ticket.state, Ticket.outcome)
    reviewed = Ticket.reviewer.is_not(None).label("reviewed")
    week = ((now_ms - Ticket.opened_ms) // WEEK_MS).label("week")
    # by their labels: PostgreSQL does not see that two expressions with parameters are the same
    tickets = of_window(select(*alike, reviewed, week, func.count().label("many"))).group_by(*alike, "reviewed", "week")
    for row in session.execute(tickets):
        one = found.setdefault(Place(row.box_id, row.camera, row.zone, row.rule), Statistics(street=row.street))
        judged = verdict(row.state, row.outcome, reviewed=row.reviewed)
        one.add(judged, row.many)
        one.weeks[WEEKS - 1 - row.week].add(judged, row.many)
    judgements = select(Ticket.number, *where, TicketEvent.detail).join(
        TicketEvent, TicketEvent.ticket_number == Ticket.number
    )
    judgements = judgements.where(Ticket.state == State.FALSE_ALARM, TicketEvent.kind == "false_alarm")
    newest = {row.number: row for row in session.execute(of_window(judgements).order_by(TicketEvent.id))}
    for row in newest.values():
        found[Place(row.box_id, row.camera, row.zone, row.rule)].reasons[_reason(row.detail)] += 1
    return dict(sorted(found.items(), key=lambda pair: (-pair[1].false, pair[0])))


def _reason(detail: str) -> str:
    return str(json.loads(detail).get("reason_id") or "")


def reasons(session: Session, numbers: Collection[int]) -> dict[int, str]:
    """Reason id of each of these false alarms; empty: none that is in the table."""
    rows = (one for one in among(session, TicketEvent, TicketEvent.ticket_number, numbers) if one.kind == "false_alarm")
    return {row.ticket_number: _reason(row.detail) for row in sorted(rows, key=lambda one: one.id)}


def samples(session: Session, place: Place, now_ms: int) -> list[Sample]:
    """The newest judged tickets of a place, oldest first, with what their incidents were in this zone."""
    query = select(Ticket.number, Ticket.state, Ticket.outcome, Ticket.reviewer).where(place.tickets)
    query = query.where(Ticket.opened_ms > now_ms - SAMPLE_DAYS * DAY_MS).order_by(Ticket.number.desc())
    judged: dict[int, Verdict] = {}
    for row in session.execute(query):
        found = verdict(row.state, row.outcome, reviewed=row.reviewer is not None)
        if found and len(judged) < MOST_SAMPLES:
            judged[row.number] = found
    known: dict[str, tuple[int, Incident]] = {}
    for one in among(session, IncidentRow, IncidentRow.ticket_number, judged):
        data = Incident.model_validate_json(one.data)
        if (one.box_id, data.camera, data.zone, data.rule) == (place.box, place.camera, place.zone, place.rule):
            known[one.id] = (one.ticket_number, data)
    told = messages(session, known)
    presences: dict[int, list[Any]] = {}
    for incident, (number, newest) in known.items():
        # a message that was deleted says nothing more: the newest state stays
        presences.setdefault(number, []).append(read_presence(told.get(incident, [newest]), judged[number]))
    why = reasons(session, [number for number in presences if judged[number] == "false"])
    return [
        Sample(number, judged[number], tuple(presences[number]), why.get(number, "")) for number in sorted(presences)
    ]


def messages(session: Session, incidents: Iterable[str]) -> dict[str, list[Incident]]:
    """All messages of incidents, by `seq`."""
    found: dict[str, list[Incident]] = {}
    for row in among(session, MessageRow, MessageRow.incident, list(incidents)):
        found.setdefault(row.incident, []).append(IncidentEvent.model_validate_json(row.payload).data)
    return {incident: sorted(of, key=lambda one: one.seq) for incident, of in found.items()}


@dataclass(frozen=True)
class Wanted:
    """What is wanted of a zone now.

    Args:
        revision: of its box's settings.
        ground: whether areas on the ground can be known there.
    """

    revision: int
    limits: Limits
    ground: bool


def wanted_now(session: Session, place: Place) -> Wanted | None:
    """Settings of a zone, as they are wanted; None where its box has none, or no such zone for this rule."""
    row = wanted.newest(session, place.box)
    if row is None or row.revision is None:
        return None
    found = find_zone(read_document(json.loads(row.document)).camera, place)
    if found is None:
        return None
    camera, zone = found
    area_m2 = zone.min_area_m2 if isinstance(zone, FrontageZone) else None
    ground = isinstance(zone, FrontageZone) and camera.plane is not None
    return Wanted(row.revision, Limits(zone.dwell_s, area_m2), ground)


def find_zone(cameras: Iterable[Camera], place: Place) -> tuple[Camera, FrontageZone | GatheringZone] | None:
    """A zone that has a place's rule, with its camera."""
    for camera in cameras:
        for zone in camera.zone if camera.id == place.camera else ():
            if zone.id == place.zone and isinstance(zone, KINDS.get(place.rule, ())):
                return camera, zone
    return None

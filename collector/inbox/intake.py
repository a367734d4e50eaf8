"""What is done with deliveries, inside the caller's transaction."""

import contextlib
import json
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from collector.boxes import orders, rollouts, wanted
from collector.boxes.register import OUT, has_authority
from collector.evidence import ledger, seals
from collector.evidence.uploads import REPORTED
from collector.inbox import clocks, quarantine
from collector.inbox.clocks import milliseconds
from collector.inbox.orphans import find_orphans, remember_list
from collector.inbox.reading import INCIDENT_KINDS, Delivery, Reading, claimed_id
from collector.indicators import footfall
from collector.store import Box, CameraRow, CertificateRow, IncidentRow, MessageRow, PictureRow, Ticket, lock, write
from collector.tickets.attend import ticket_of
from collector.tickets.book import Book, News, ticket_key
from collector.tickets.desk import look
from collector.tickets.records import IncidentRecord
from protocol import topics
from protocol.commands import ReplyEvent
from protocol.desired import MAX_REPORT_BYTES, ReportedEvent
from protocol.detectors import ModelReportedEvent
from protocol.messages import (
    BoxStatus,
    CameraEvent,
    ClockReport,
    Event,
    HealthEvent,
    IncidentEvent,
    MessageError,
    Postponement,
    Refusal,
    StatusEvent,
    read_event,
)
from protocol.pictures import PictureHeader
from protocol.systems import SystemReportedEvent

log = logging.getLogger(__name__)

SEEN_STEP_MS: Final = 10_000
"""That a box was heard is written down this often."""
LATE_AFTER_S: Final = 600.0
LATER_S: Final = 30.0
UNKNOWN_LATER_S: Final = 900.0
UNKNOWN_AGAIN_S: Final = 60.0
"""One message of each batch of a box that is not known asks so soon again: once it is taken, the box sends all others
at once."""


class UnknownBoxError(Exception):
    """A box that writes without being enrolled; it may try again later."""


@dataclass(frozen=True)
class Outcome:
    """What became of a delivery; for the box that sent it. All None: there is nothing to answer.

    Args:
        fault: why it was refused, also where there is nobody to answer.
        at_ms: when a new message of an incident was decided, by the center's clock.
        ticket: that is to be looked at, as a box replied.
    """

    stored: str | None = None
    refused: Refusal | None = None
    later: Postponement | None = None
    fault: MessageError | None = None
    at_ms: int | None = None
    ticket: int | None = None


@dataclass
class Batch:
    """Deliveries taken together, and the rows that they need: read at once, written at once."""

    session: Session
    written: Collection[str]
    received_ms: int
    late_after_s: float
    boxes: dict[str, Box] = field(default_factory=dict)
    heard: set[str] = field(default_factory=set)
    strangers: set[str] = field(default_factory=set)
    known: set[str] = field(default_factory=set)
    owners: dict[str, str] = field(default_factory=dict)
    numbers: set[int] = field(default_factory=set)
    pictures: dict[str, str] = field(default_factory=dict)
    messages: list[dict[str, object]] = field(default_factory=list)
    new_pictures: list[dict[str, object]] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
    told: list[seals.Told] = field(default_factory=list)


def take(
    session: Session,
    readings: Sequence[Reading],
    written: Collection[str],
    received_ms: int,
    late_after_s: float = LATE_AFTER_S,
) -> list[Outcome]:
    """Store deliveries, or refuse them for good. Errors of the database are the caller's.

    `written` are the SHA-256 of pictures whose files are there already; the others have to wait.

    Several collectors may do this at once with the same messages: each first locks the incidents and ticket keys that
    it will write, then reads what is there.
    """
    batch = Batch(session, written, received_ms, late_after_s)
    with session.no_autoflush:
        _lock(session, readings)
        _load(batch, readings)
        book = _book(batch, readings)
        taken = [_take(batch, book, reading) for reading in readings]
        book.close()
        # after the book, which writes what it had read before
        for number in sorted({outcome.ticket for outcome in taken if outcome.ticket is not None}):
            look(session, number)
        _find_orphans(session, readings, received_ms)
        write(session, MessageRow.__table__, batch.messages)
        write(session, PictureRow.__table__, batch.new_pictures)
        refused = [
            (reading, None if outcome.refused is None else outcome.refused.id, outcome.fault)
            for reading, outcome in zip(readings, taken, strict=True)
            if outcome.fault is not None
        ]
        session.flush()
        if refused:
            quarantine.keep(session, refused, received_ms)
        # last: these hold the log
        seals.take(session, batch.told, received_ms)
        items = [("message", one) for one in batch.messages] + [("picture", one) for one in batch.new_pictures]
        ledger.append(session, items, received_ms)
    return taken


def _find_orphans(session: Session, readings: Sequence[Reading], received_ms: int) -> None:
    """After all else is written: what came beside a box's report is no orphan."""
    for reading in readings:
        if reading.topic is not None and reading.topic.leaf == "health":
            box = session.get(Box, reading.topic.box)
            if box is not None and box.listed is not None:
                with contextlib.suppress(MessageError):
                    find_orphans(session, box, read_event(reading.delivery.payload, HealthEvent), received_ms)


def _lock(session: Session, readings: Sequence[Reading]) -> None:
    names = set()
    for reading in readings:
        if reading.topic is None:
            continue
        if reading.event is not None:
            data = reading.event.data
            names |= {f"incident/{data.incident}", f"ticket/{ticket_key(data, reading.topic.box)}"}
        elif reading.header is not None:
            names |= {f"incident/{reading.header.incident}", f"picture/{reading.header.sha256}"}
    replied = _replied(readings)
    if replied:
        names |= {f"ticket/{key}" for key in session.scalars(select(Ticket.key).where(Ticket.number.in_(replied)))}
    lock(session, names)


def _replied(readings: Sequence[Reading]) -> set[int]:
    """Tickets that boxes reply for: their locks are taken with the others, in one order."""
    numbers = set()
    for reading in readings:
        if reading.topic is not None and reading.topic.leaf == "reply":
            with contextlib.suppress(MessageError):
                numbers.add(ticket_of(read_event(reading.delivery.payload, ReplyEvent).data.command))
    return {number for number in numbers if number is not None}


def _load(batch: Batch, readings: Sequence[Reading]) -> None:
    session = batch.session
    boxes = {reading.topic.box for reading in readings if reading.topic is not None}
    events = [reading.event for reading in readings if reading.event is not None]
    headers = [reading.header for reading in readings if reading.header is not None]
    batch.boxes = {box.id: box for box in session.scalars(select(Box).where(Box.id.in_(boxes)))}
    if events:
        ids = {event.id for event in events}
        batch.known = set(session.scalars(select(MessageRow.id).where(MessageRow.id.in_(ids))))
    incidents = {event.data.incident for event in events} | {header.incident for header in headers}
    if incidents:
        of_incidents = select(IncidentRow.id, IncidentRow.box_id, IncidentRow.ticket_number)
        for known, box, number in session.execute(of_incidents.where(IncidentRow.id.in_(incidents))):
            batch.owners[known] = box
            batch.numbers.add(number)
    if headers:
        wanted = select(PictureRow.id, PictureRow.box_id, PictureRow.deleted_ms)
        for row in session.execute(wanted.where(PictureRow.id.in_({one.id for one in headers}))):
            batch.pictures[row.id] = row.box_id or ""
            if row.deleted_ms is not None:
                batch.gone.add(row.id)


def _book(batch: Batch, readings: Sequence[Reading]) -> Book:
    keys, since_ms = set(), batch.received_ms
    for reading in readings:
        if reading.event is not None and reading.topic is not None:
            data = reading.event.data
            keys.add(ticket_key(data, reading.topic.box))
            since_ms = min(since_ms, milliseconds(data.opened_at))
    return Book(batch.session, keys, batch.numbers, since_ms)


def _take_sound(batch: Batch, book: Book, topic: topics.Topic, reading: Reading) -> Outcome:
    about = reading.header if reading.event is None else reading.event.data
    if about is not None and about.incident.startswith(REPORTED):
        raise MessageError("invalid", f"expected an incident's id, got {about.incident:.40}: people report under those")
    if reading.event is not None:
        return _take_incident(batch, book, topic, reading.event, reading.delivery)
    if reading.header is not None:
        return _take_picture(batch, topic, reading.header, reading.delivery)
    if reading.answer is not None:
        box = _box(batch, topic)
        orders.take_picture(batch.session, box, reading.answer, reading.delivery.payload, batch.received_ms)
        return Outcome()
    taker = TAKERS.get(topic.leaf)
    return Outcome() if taker is None else taker(batch.session, topic, reading.delivery, batch.received_ms)


def _take(batch: Batch, book: Book, reading: Reading) -> Outcome:
    topic = reading.topic
    try:
        if reading.fault is not None or topic is None:
            raise reading.fault or MessageError("invalid", "expected a topic of ours")
        return _take_sound(batch, book, topic, reading)
    except MessageError as fault:
        message_id = claimed_id(reading.delivery)
        if message_id is None:
            return Outcome(fault=fault)
        refusal = Refusal(id=message_id, code=fault.code, text=quarantine.clean(str(fault))[:300])
        return Outcome(refused=refusal, fault=fault)
    except UnknownBoxError as fault:
        log.warning("%s", fault)
        message_id = claimed_id(reading.delivery)
        if message_id is None or topic is None:
            return Outcome()
        after_s = UNKNOWN_LATER_S if topic.box in batch.strangers else UNKNOWN_AGAIN_S
        batch.strangers.add(topic.box)
        return Outcome(later=Postponement(id=message_id, after_s=after_s))


def box_of(session: Session, topic: topics.Topic, received_ms: int) -> Box:
    """The box that wrote to a topic; a center without a CA takes up boxes as they come.

    Raises MessageError for one that was put out, UnknownBoxError for one that was never enrolled: after a back-up was
    restored it may be one of ours, so that what it says is not refused for good.
    """
    box = session.get(Box, topic.box)
    if box is not None and box.standing in OUT:
        raise MessageError("revoked", f"box {topic.box} was put out of this center")
    if box.standing == "expected" if box is not None else has_authority(session):
        raise UnknownBoxError(
            f"box {topic.box} at site {topic.site}: it is not enrolled here; if it is one of yours, run "
            f"`cityeye-collector boxes admit {topic.box} --site {topic.site}`"
        )
    if box is None:
        box = Box(
            id=topic.box,
            site=topic.site,
            state="unknown",
            version="",
            boot_id="",
            state_since_ms=received_ms,
            seen_ms=received_ms,
        )
        session.add(box)
        session.flush()
    if box.site != topic.site:
        raise MessageError(
            "wrong_site", f"expected box {topic.box} at site {box.site!r}, it wrote as {topic.site!r}; ids are unique"
        )
    if received_ms - box.seen_ms >= SEEN_STEP_MS:
        box.seen_ms = received_ms
    return box


def _box(batch: Batch, topic: topics.Topic) -> Box:
    box = batch.boxes.get(topic.box)
    if box is None or box.site != topic.site or topic.box not in batch.heard:
        # held by the batch: the session alone would forget it and ask the database again
        box = batch.boxes[topic.box] = box_of(batch.session, topic, batch.received_ms)
        batch.heard.add(topic.box)
    return box


def _take_incident(batch: Batch, book: Book, topic: topics.Topic, event: IncidentEvent, delivery: Delivery) -> Outcome:
    data = event.data
    box = _box(batch, topic)
    row = book.incidents.get(data.incident)
    if row is not None and row.box_id != box.id:
        raise MessageError("wrong_box", f"expected {data.incident} from box {row.box_id}, got it from {box.id}")
    if event.id in batch.known:
        return Outcome(stored=event.id)
    told_ms = milliseconds(data.at)
    by_ms, how = clocks.shift(box, data.clock, told_ms, batch.received_ms, _born_ms(batch.session, box, data.clock))
    batch.known.add(event.id)
    batch.messages.append(
        {
            "id": event.id,
            "box_id": box.id,
            "incident": data.incident,
            "seq": data.seq,
            "type": event.type,
            "at_ms": told_ms + by_ms,
            "received_ms": batch.received_ms,
            "payload": delivery.payload.decode(),
        }
    )
    kind = INCIDENT_KINDS[event.type]
    cleared_ms = None if data.cleared_at is None else milliseconds(data.cleared_at) + by_ms
    news = News(event.id, kind, data, box.id, told_ms + by_ms, cleared_ms, how, batch.received_ms, box.site)
    new = row is None
    if row is None:
        row = IncidentRecord(data.incident, box.id, batch.received_ms)
        batch.owners[row.id] = box.id
    # messages may overtake one another: each is the full state, and the newest one counts
    if data.seq > row.seq:
        row.seq = data.seq
        row.state = "ended" if data.reason is not None else "cleared" if data.cleared_at is not None else "open"
        row.opened_ms = milliseconds(data.opened_at) + by_ms
        row.cleared_ms = cleared_ms
        row.ended_ms = news.at_ms if data.reason is not None else None
        row.clock = how
        row.visibility = data.visibility
        row.data = data.model_dump_json()
    batch.told.append(seals.Told(box, data.incident, data.evidence))
    late_ms = batch.late_after_s * 1000
    if kind == "opened" and data.clock.state != "replay" and batch.received_ms - news.at_ms > late_ms:
        row.late = 1
    if new:
        book.file(row, news)
    book.follow(row, news)
    return Outcome(stored=event.id, at_ms=news.at_ms)


def _take_picture(batch: Batch, topic: topics.Topic, header: PictureHeader, delivery: Delivery) -> Outcome:
    box = _box(batch, topic)
    known = batch.pictures.get(header.id)
    if known is not None and known != box.id:
        raise MessageError("wrong_box", f"expected this picture from box {known}, got it from {box.id}")
    owner = batch.owners.get(header.incident, box.id)
    if owner != box.id:
        raise MessageError("wrong_box", f"expected pictures of {header.incident} from box {owner}")
    if header.id in batch.gone:
        return Outcome(stored=header.id)  # it served its purpose, and does not come back
    # the file first: a row never names a picture that is not there
    if header.sha256 not in batch.written:
        return Outcome(later=Postponement(id=header.id, after_s=LATER_S))
    if known is None:
        batch.pictures[header.id] = box.id
        batch.new_pictures.append(
            {
                "id": header.id,
                "box_id": box.id,
                "incident": header.incident,
                "role": header.role,
                "view": header.view,
                "sha256": header.sha256,
                "bytes": len(delivery.payload),
                "received_ms": batch.received_ms,
            }
        )
    return Outcome(stored=header.id)


def _answer(delivery: Delivery, message_id: str) -> Outcome:
    """Nothing waits for it, but the answer tells the box what time it is; an old one would tell it wrongly."""
    return Outcome() if delivery.retained else Outcome(stored=message_id)


def _take_health(session: Session, topic: topics.Topic, delivery: Delivery, received_ms: int) -> Outcome:
    event = read_event(delivery.payload, HealthEvent)
    box = box_of(session, topic, received_ms)
    box.health, box.health_ms = event.data.model_dump_json(), received_ms
    clocks.learn(box, event.data.clock, received_ms)
    if not delivery.retained:
        footfall.take(session, box.id, event.data.counts, received_ms)
    return _answer(delivery, event.id)


def _take_status(session: Session, topic: topics.Topic, delivery: Delivery, received_ms: int) -> Outcome:
    if not delivery.payload:  # a retained status that was taken back
        return Outcome()
    event = read_event(delivery.payload, StatusEvent)
    box = box_of(session, topic, received_ms)
    status: BoxStatus = event.data
    if status.state != box.state or status.boot_id != box.boot_id:
        box.state_since_ms = received_ms
    box.state, box.version, box.boot_id = status.state, status.version, status.boot_id
    if status.encryption_key is not None:
        if box.encryption_key not in (None, status.encryption_key):
            log.warning("box %s: secrets are sealed to another key than before; was it set up anew?", box.id)
        box.encryption_key = status.encryption_key
    remember_list(box, event)
    if box.public_key is None:
        box.public_key = status.public_key
        if box.public_key is not None:
            seals.settle(session, box, received_ms)
    elif status.public_key not in (None, box.public_key):
        log.warning("box %s: it signs with another key than before; its new pictures will not pass the seal", box.id)
    return _answer(delivery, event.id)


def _take_camera(session: Session, topic: topics.Topic, delivery: Delivery, received_ms: int) -> Outcome:
    if not delivery.payload:  # a retained state that was taken back
        session.execute(delete(CameraRow).where(CameraRow.box_id == topic.box, CameraRow.camera == topic.camera))
        return Outcome()
    event = read_event(delivery.payload, CameraEvent)
    box_of(session, topic, received_ms)
    state = event.data
    row = session.get(CameraRow, (topic.box, state.camera))
    if row is None:
        row = CameraRow(box_id=topic.box, camera=state.camera)
        session.add(row)
    row.state, row.since_ms, row.text, row.restarts = state.state, milliseconds(state.since), state.text, state.restarts
    row.learning, row.unavailable = json.dumps(state.learning_zones), json.dumps(state.unavailable_zones)
    return Outcome()


def _born_ms(session: Session, box: Box, clock: ClockReport) -> int:
    """When a box got its first certificate; asked where its clock is not to be trusted."""
    if clock.state in clocks.TRUSTED:
        return 0
    first = select(func.min(CertificateRow.issued_ms)).where(CertificateRow.name == box.id)
    return session.scalars(first.where(CertificateRow.usage == "box")).one() or 0


def _take_reply(session: Session, topic: topics.Topic, delivery: Delivery, received_ms: int) -> Outcome:
    event = read_event(delivery.payload, ReplyEvent)
    orders.take_reply(session, box_of(session, topic, received_ms), event.data, received_ms)
    return Outcome(ticket=ticket_of(event.data.command))


def _take_reported(session: Session, topic: topics.Topic, delivery: Delivery, received_ms: int) -> Outcome:
    if not delivery.payload:  # a retained report that was taken back
        return Outcome()
    event = read_event(delivery.payload, ReportedEvent, MAX_REPORT_BYTES)
    wanted.take_reported(session, box_of(session, topic, received_ms), event.data, received_ms)
    return Outcome()


def _take_rolled_out(session: Session, topic: topics.Topic, delivery: Delivery, received_ms: int) -> Outcome:
    if delivery.payload:  # else a retained report that was taken back
        model = ModelReportedEvent if topic.leaf == "model/reported" else SystemReportedEvent
        event: Event[Any] = read_event(delivery.payload, model)
        rollouts.take_reported(session, box_of(session, topic, received_ms), event.data, received_ms)
    return Outcome()


Taker = Callable[[Session, topics.Topic, Delivery, int], Outcome]
"""Takes one delivery; the number is when it came, in milliseconds. Raises MessageError to refuse it."""
TAKERS: Final[dict[str, Taker]] = {
    "status": _take_status,
    "health": _take_health,
    "camera": _take_camera,
    "reply": _take_reply,
    "settings/reported": _take_reported,
    "model/reported": _take_rolled_out,
    "system/reported": _take_rolled_out,
}
"""Leaf to what takes it; others are not taken. Incidents and pictures are taken by the batch."""

"""What is done with one delivery, inside the caller's transaction."""

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from collector.boxes import orders, wanted
from collector.evidence.files import PictureFiles
from collector.store import Box, CameraRow, IncidentRow, MessageRow, PictureRow, Refused
from collector.tickets.book import News, follow, ticket_for
from protocol import messages, topics
from protocol.commands import ReplyEvent
from protocol.desired import MAX_REPORT_BYTES, ReportedEvent
from protocol.messages import (
    BoxStatus,
    CameraEvent,
    HealthEvent,
    Incident,
    IncidentEvent,
    MessageError,
    Postponement,
    Refusal,
    StatusEvent,
    read_event,
)
from protocol.pictures import MAX_PICTURE_BYTES, MEDIA_TYPE, is_answer, read_answer_header, read_header

log = logging.getLogger(__name__)

INCIDENT_KINDS: Final = {
    messages.INCIDENT_OPENED: "opened",
    messages.INCIDENT_UPDATED: "updated",
    messages.INCIDENT_CLEARED: "cleared",
    messages.INCIDENT_ENDED: "ended",
}
KEEP_REFUSED: Final = 1000
HEAD_CHARACTERS: Final = 300


@dataclass(frozen=True)
class Delivery:
    """One publish as the broker handed it over."""

    topic: str
    payload: bytes = field(repr=False)
    properties: tuple[tuple[str, str], ...] = ()
    content_type: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a delivery; for the box that sent it. All None: there is nothing to answer."""

    stored: str | None = None
    refused: Refusal | None = None
    later: Postponement | None = None


def take(session: Session, delivery: Delivery, files: PictureFiles, received_ms: int) -> Outcome:
    """Store a delivery, or refuse it for good. Other errors (database, disk) are the caller's."""
    try:
        topic = topics.parse(delivery.topic)
    except ValueError as fault:
        return _refuse(session, delivery, None, MessageError("invalid", str(fault)), received_ms)
    try:
        if topic.leaf == "evidence":
            return _take_picture(session, topic, delivery, files, received_ms)
        taker = TAKERS.get(topic.leaf)
        return Outcome() if taker is None else taker(session, topic, delivery, received_ms)
    except MessageError as fault:
        return _refuse(session, delivery, claimed_id(delivery), fault, received_ms)


def box_of(session: Session, topic: topics.Topic, received_ms: int) -> Box:
    """The box that wrote to a topic; a new one is taken up, as nobody enrols boxes yet."""
    box = session.get(Box, topic.box)
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
    box.seen_ms = max(box.seen_ms, received_ms)
    return box


def _take_incident(session: Session, topic: topics.Topic, delivery: Delivery, received_ms: int) -> Outcome:
    event = read_event(delivery.payload, IncidentEvent)
    data = event.data
    box = box_of(session, topic, received_ms)
    _check(event, data, topic)
    row = session.get(IncidentRow, data.incident)
    if row is not None and row.box_id != box.id:
        raise MessageError("wrong_box", f"expected {data.incident} from box {row.box_id}, got it from {box.id}")
    if session.get(MessageRow, event.id) is not None:
        return Outcome(stored=event.id)
    session.add(
        MessageRow(
            id=event.id,
            box_id=box.id,
            incident=data.incident,
            seq=data.seq,
            type=event.type,
            received_ms=received_ms,
            payload=delivery.payload.decode(),
        )
    )
    news = News(event.id, INCIDENT_KINDS[event.type], data, box.id, _ms(data.at), received_ms)
    if row is None:
        ticket = ticket_for(session, news, _ms(data.opened_at))
        row = IncidentRow(id=data.incident, box_id=box.id, ticket_number=ticket.number, seq=0)
        session.add(row)
        row.ticket = ticket
    # messages may overtake one another: each is the full state, and the newest one counts
    if data.seq > row.seq:
        row.seq = data.seq
        row.state = "ended" if data.reason is not None else "cleared" if data.cleared_at is not None else "open"
        row.opened_ms = _ms(data.opened_at)
        row.cleared_ms = None if data.cleared_at is None else _ms(data.cleared_at)
        row.visibility = data.visibility
        row.data = data.model_dump_json()
        follow(session, row.ticket, row, news)
    return Outcome(stored=event.id)


def _check(event: IncidentEvent, data: Incident, topic: topics.Topic) -> None:
    expected = messages.source(topic.site, topic.box)
    if event.source != expected:
        raise MessageError("wrong_source", f"expected source {expected} on this topic, got {event.source}")
    if data.camera != topic.camera:
        raise MessageError("invalid", f"expected camera {topic.camera} on this topic, got {data.camera}")
    if event.id != f"{data.incident}:{data.seq}":
        raise MessageError("invalid", f"expected id {data.incident}:{data.seq}, got {event.id}")
    if event.type not in INCIDENT_KINDS:
        raise MessageError("unknown_type", f"expected one of {', '.join(INCIDENT_KINDS)}, got {event.type}")


def _take_picture(
    session: Session, topic: topics.Topic, delivery: Delivery, files: PictureFiles, received_ms: int
) -> Outcome:
    header = None if is_answer(delivery.properties) else read_header(delivery.properties)
    box = box_of(session, topic, received_ms)
    size = len(delivery.payload)
    if size > MAX_PICTURE_BYTES:
        raise MessageError("too_large", f"expected a picture of at most {MAX_PICTURE_BYTES} bytes, got {size}")
    if not delivery.payload.startswith(b"\xff\xd8\xff"):
        raise MessageError("invalid", f"expected {MEDIA_TYPE}, got something else")
    if header is None:
        answer = read_answer_header(delivery.properties)
        orders.take_picture(session, box, answer, delivery.payload, received_ms)
        return Outcome()
    if hashlib.sha256(delivery.payload).hexdigest() != header.sha256:
        raise MessageError("wrong_hash", "expected bytes that match their SHA-256; the picture was damaged on its way")
    known = session.get(PictureRow, header.id)
    if known is not None and known.box_id != box.id:
        raise MessageError("wrong_box", f"expected this picture from box {known.box_id}, got it from {box.id}")
    owner = session.get(IncidentRow, header.incident)
    if owner is not None and owner.box_id != box.id:
        raise MessageError("wrong_box", f"expected pictures of {header.incident} from box {owner.box_id}")
    # the file first: a row never names a picture that is not there
    files.put(header.sha256, delivery.payload)
    if known is None:
        session.add(
            PictureRow(
                id=header.id,
                box_id=box.id,
                incident=header.incident,
                role=header.role,
                view=header.view,
                sha256=header.sha256,
                bytes=size,
                received_ms=received_ms,
            )
        )
        session.flush()
    return Outcome(stored=header.id)


def _take_health(session: Session, topic: topics.Topic, delivery: Delivery, received_ms: int) -> Outcome:
    event = read_event(delivery.payload, HealthEvent)
    box_of(session, topic, received_ms).health = event.data.model_dump_json()
    return Outcome()


def _take_status(session: Session, topic: topics.Topic, delivery: Delivery, received_ms: int) -> Outcome:
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
    if box.public_key is None:
        box.public_key = status.public_key
    elif status.public_key not in (None, box.public_key):
        log.warning("box %s: it signs with another key than before; its new pictures will not pass the seal", box.id)
    return Outcome()


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
    row.state, row.since_ms, row.text, row.restarts = state.state, _ms(state.since), state.text, state.restarts
    return Outcome()


def _take_reply(session: Session, topic: topics.Topic, delivery: Delivery, received_ms: int) -> Outcome:
    event = read_event(delivery.payload, ReplyEvent)
    orders.take_reply(session, box_of(session, topic, received_ms), event.data, received_ms)
    return Outcome()


def _take_reported(session: Session, topic: topics.Topic, delivery: Delivery, received_ms: int) -> Outcome:
    if not delivery.payload:  # a retained report that was taken back
        return Outcome()
    event = read_event(delivery.payload, ReportedEvent, MAX_REPORT_BYTES)
    wanted.take_reported(session, box_of(session, topic, received_ms), event.data, received_ms)
    return Outcome()


Taker = Callable[[Session, topics.Topic, Delivery, int], Outcome]
"""Takes one delivery; the number is when it came, in milliseconds. Raises MessageError to refuse it."""
TAKERS: Final[dict[str, Taker]] = {
    "incident": _take_incident,
    "status": _take_status,
    "health": _take_health,
    "camera": _take_camera,
    "reply": _take_reply,
    "settings/reported": _take_reported,
}
"""Leaf to what takes it; others are not taken."""


def claimed_id(delivery: Delivery) -> str | None:
    """The id that a delivery claims, whether or not it can be taken, so that its box can be answered."""
    try:
        if topics.parse(delivery.topic).leaf == "evidence":
            return read_header(delivery.properties).id
        values: Any = json.loads(delivery.payload)
    except (ValueError, RecursionError):
        return None
    claimed = values.get("id") if isinstance(values, dict) else None
    return claimed if isinstance(claimed, str) and 0 < len(claimed) <= 200 else None


def _refuse(
    session: Session, delivery: Delivery, message_id: str | None, fault: MessageError, received_ms: int
) -> Outcome:
    log.warning("topic %s message %s: refused (%s): %s", delivery.topic, message_id, fault.code, fault)
    head = delivery.payload[:HEAD_CHARACTERS].decode("utf-8", "replace").replace("\x00", "�")
    session.add(
        Refused(
            topic=delivery.topic[:300],
            message_id=message_id,
            code=fault.code,
            text=str(fault)[:500],
            received_ms=received_ms,
            head=head,
        )
    )
    session.flush()
    newest = select(Refused.id).order_by(Refused.id.desc()).offset(KEEP_REFUSED).limit(1).scalar_subquery()
    session.execute(delete(Refused).where(Refused.id <= newest))
    if message_id is None:
        return Outcome()
    return Outcome(refused=Refusal(id=message_id, code=fault.code, text=str(fault)[:300]))


def _ms(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)

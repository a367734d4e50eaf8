"""Reading one delivery, without the database: what it says, or why it can never be taken."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Final

from collector.evidence.jpeg import size_of
from protocol import messages, topics
from protocol.messages import IncidentEvent, MessageError, read_event
from protocol.pictures import MAX_PICTURE_BYTES, MAX_PICTURE_PX, MEDIA_TYPE, PictureHeader, read_header
from protocol.topics import Topic

INCIDENT_KINDS: Final = {
    messages.INCIDENT_OPENED: "opened",
    messages.INCIDENT_UPDATED: "updated",
    messages.INCIDENT_CLEARED: "cleared",
    messages.INCIDENT_ENDED: "ended",
}
MAX_ID: Final = 200


@dataclass(frozen=True)
class Delivery:
    """One publish as the broker handed it over.

    Args:
        retained: it was kept by the broker from before this session subscribed.
    """

    topic: str
    payload: bytes = field(repr=False)
    properties: tuple[tuple[str, str], ...] = ()
    content_type: str = ""
    retained: bool = False


@dataclass(frozen=True)
class Reading:
    """A delivery that has been read as far as that goes without the database.

    Args:
        topic: None where it is none of ours.
        event: of an incident's topic.
        header: of a picture's topic.
        fault: why it is refused.
    """

    delivery: Delivery
    topic: Topic | None = None
    event: IncidentEvent | None = None
    header: PictureHeader | None = None
    fault: MessageError | None = None


def read(delivery: Delivery) -> Reading:
    """Read a delivery; leaves other than incidents and pictures are read by what takes them."""
    try:
        topic = topics.parse(delivery.topic)
    except ValueError as fault:
        return Reading(delivery, fault=MessageError("invalid", str(fault)))
    try:
        if topic.leaf == "incident":
            return Reading(delivery, topic, event=_read_incident(topic, delivery))
        if topic.leaf == "evidence":
            return Reading(delivery, topic, header=_read_picture(delivery))
    except MessageError as fault:
        return Reading(delivery, topic, fault=fault)
    return Reading(delivery, topic)


def _read_incident(topic: Topic, delivery: Delivery) -> IncidentEvent:
    event = read_event(delivery.payload, IncidentEvent)
    data = event.data
    expected = messages.source(topic.site, topic.box)
    if event.source != expected:
        raise MessageError("wrong_source", f"expected source {expected} on this topic, got {event.source}")
    if data.camera != topic.camera:
        raise MessageError("invalid", f"expected camera {topic.camera} on this topic, got {data.camera}")
    if event.id != f"{data.incident}:{data.seq}":
        raise MessageError("invalid", f"expected id {data.incident}:{data.seq}, got {event.id}")
    if event.type not in INCIDENT_KINDS:
        raise MessageError("unknown_type", f"expected one of {', '.join(INCIDENT_KINDS)}, got {event.type}")
    return event


def _read_picture(delivery: Delivery) -> PictureHeader:
    header = read_header(delivery.properties)
    size = len(delivery.payload)
    if size > MAX_PICTURE_BYTES:
        raise MessageError("too_large", f"expected a picture of at most {MAX_PICTURE_BYTES} bytes, got {size}")
    if delivery.content_type not in ("", MEDIA_TYPE):
        raise MessageError("invalid", f"expected content type {MEDIA_TYPE}, got {delivery.content_type:.80}")
    try:
        width, height = size_of(delivery.payload)
    except ValueError as fault:
        raise MessageError("invalid", f"expected {MEDIA_TYPE}: {fault}") from None
    if max(width, height) > MAX_PICTURE_PX:
        raise MessageError(
            "too_large", f"expected a picture of at most {MAX_PICTURE_PX} px a side, got {width} x {height}"
        )
    if hashlib.sha256(delivery.payload).hexdigest() != header.sha256:
        raise MessageError("wrong_hash", "expected bytes that match their SHA-256; the picture was damaged on its way")
    return header


def claimed_id(delivery: Delivery) -> str | None:
    """The id that a delivery claims, whether or not it can be taken, so that its box can be answered."""
    try:
        if topics.parse(delivery.topic).leaf == "evidence":
            return read_header(delivery.properties).id
        if len(delivery.payload) > messages.MAX_JSON_BYTES:
            return None
        values: Any = json.loads(delivery.payload)
    except (ValueError, RecursionError):
        return None
    claimed = values.get("id") if isinstance(values, dict) else None
    sound = isinstance(claimed, str) and 0 < len(claimed) <= MAX_ID and claimed.isprintable()
    return claimed if sound else None

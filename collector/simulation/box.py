"""One simulated box: what it makes, and what it has to send until the center has it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from collector import VERSION
from collector.simulation.pictures import entry, picture
from protocol import messages
from protocol.ids import uuid7
from protocol.instants import from_epoch
from protocol.messages import (
    Acknowledgement,
    BoxHealth,
    BoxStatus,
    CameraEvent,
    CameraState,
    ClockReport,
    Event,
    Evidence,
    HealthEvent,
    Incident,
    IncidentEvent,
    Item,
    StatusEvent,
    Value,
)
from protocol.pictures import MEDIA_TYPE, PictureHeader
from protocol.seal import picture_link, public_key_text, seal
from protocol.topics import Topic

RESEND_S: Final = 30.0
JITTER_S: Final = 10.0
WINDOW: Final = 32
"""Messages in flight, as with a real box."""
DWELL_LIMIT_S: Final = 180.0
PLACE: Final = (0.4, 0.5, 0.1, 0.2)
SETTINGS_DIGEST: Final = "0" * 64


@dataclass(frozen=True)
class Parcel:
    """One message or picture as it goes over the line."""

    id: str
    topic: str
    payload: bytes = field(repr=False)
    content_type: str
    properties: tuple[tuple[str, str], ...] = ()


@dataclass
class _Waiting:
    parcel: Parcel
    made_s: float
    due_s: float = 0.0
    sent: bool = False


class SimulatedBox:
    """Makes incidents and keeps each message until the center has committed it.

    Args:
        cameras: how many it has.
        picture_bytes: size of an evidence picture; 0: no pictures.
        chance: gives ids and jitter.
    """

    def __init__(self, site: str, box: str, cameras: int, picture_bytes: int, chance: Random) -> None:
        self.site, self.id = site, box
        self._cameras = [f"cam-{number + 1}" for number in range(cameras)]
        self._picture_bytes = picture_bytes
        self._chance = chance
        self._key = Ed25519PrivateKey.from_private_bytes(chance.randbytes(32))
        self._boot_id = chance.randbytes(8).hex()
        self._head: str | None = None
        self._waiting: dict[str, _Waiting] = {}
        self._made = 0
        self.refused: list[str] = []

    @property
    def waiting(self) -> int:
        """Messages and pictures that the center has not yet said to have."""
        return len(self._waiting)

    def open(self, now_s: float) -> Incident:
        """Begin an incident; its message and pictures are to be sent."""
        incident = uuid7(now_s, self._chance.randbytes(10))
        camera = self._cameras[self._made % len(self._cameras)]
        self._made += 1
        pictures = self._shoot(incident, now_s) if self._picture_bytes else []
        data = Incident(
            incident=incident,
            seq=1,
            place_id=f"place-{self._made}",
            rule="encroachment",
            camera=camera,
            zone=f"front-{self._made}",
            shop=f"{self.id}-{self._made}"[:63],
            opened_at=from_epoch(now_s - DWELL_LIMIT_S),
            at=from_epoch(now_s),
            dwell_s=DWELL_LIMIT_S,
            dwell_limit_s=DWELL_LIMIT_S,
            visibility="seen",
            place=PLACE,
            items=(Item(id="i-1", kind="object", box=PLACE),),
            evidence=tuple(entry for entry, _ in pictures),
            clock=self._clock(now_s),
            settings_digest=SETTINGS_DIGEST,
        )
        self._post(data, "opened", now_s)
        for evidence, content in pictures:
            header = PictureHeader(incident=incident, role=evidence.role, view=evidence.view, sha256=evidence.sha256)
            topic = str(Topic(self.site, self.id, "evidence", camera))
            self._keep(Parcel(header.id, topic, content, MEDIA_TYPE, tuple(header.to_properties())), now_s)
        return data

    def clear(self, data: Incident, now_s: float) -> None:
        """End an incident: the place was seen clear."""
        changes = {"seq": data.seq + 1, "at": from_epoch(now_s), "cleared_at": from_epoch(now_s)}
        elapsed_s = (from_epoch(now_s) - data.opened_at).total_seconds()
        self._post(data.model_copy(update={**changes, "dwell_s": elapsed_s}), "cleared", now_s)

    def due(self, now_s: float) -> list[Parcel]:
        """What should be sent now, oldest first, no more than the window holds; it counts as sent."""
        in_flight = sum(1 for one in self._waiting.values() if one.sent and one.due_s > now_s)
        found: list[Parcel] = []
        for one in self._waiting.values():
            if in_flight + len(found) >= WINDOW:
                break
            if one.due_s <= now_s:
                one.due_s = now_s + RESEND_S + self._chance.uniform(0, JITTER_S)
                one.sent = True
                found.append(one.parcel)
        return found

    def next_due_s(self) -> float | None:
        """When the next message is due; None where nothing waits."""
        return min((one.due_s for one in self._waiting.values()), default=None)

    def reconnected(self) -> None:
        """Make everything due: what was in flight may be lost."""
        for one in self._waiting.values():
            one.due_s, one.sent = 0.0, False

    def acknowledge(self, answer: Acknowledgement, now_s: float) -> list[float]:
        """Take the center's word; returns how long each stored message took from made to committed."""
        took = [now_s - gone.made_s for one in answer.stored if (gone := self._waiting.pop(one, None)) is not None]
        for refusal in answer.refused:
            if self._waiting.pop(refusal.id, None) is not None:
                self.refused.append(f"{refusal.id}: {refusal.code}: {refusal.text}")
        for later in answer.later:
            if later.id in self._waiting:
                self._waiting[later.id].due_s = now_s + later.after_s
        return took

    def refuse(self, message: str, why: str) -> None:
        """Give a message up that the broker does not let pass."""
        if self._waiting.pop(message, None) is not None:
            self.refused.append(f"{message}: {why}")

    def greeting(self, now_s: float) -> list[Parcel]:
        """What is published, retained, after connecting: the box's status and its cameras."""
        cameras = [CameraState(camera=one, state="live", since=from_epoch(now_s)) for one in self._cameras]
        return [
            self.status("online", now_s),
            *(self._event(CameraEvent, "camera", messages.CAMERA_STATE, one, now_s, one.camera) for one in cameras),
        ]

    def status(self, state: Any, now_s: float) -> Parcel:
        """The retained status: online, offline (the last will), stopped."""
        key = public_key_text(self._key)
        data = BoxStatus(state=state, boot_id=self._boot_id, version=VERSION, public_key=key)
        return self._event(StatusEvent, "status", messages.BOX_STATUS, data, now_s)

    def health(self, now_s: float) -> Parcel:
        """How it is doing."""
        oldest_s = min((one.made_s for one in self._waiting.values()), default=now_s)
        data = BoxHealth(
            uptime_s=now_s % 86_400,
            waiting_messages=self.waiting,
            oldest_waiting_s=now_s - oldest_s,
            parked_messages=len(self.refused),
            state_bytes=0,
            clock=self._clock(now_s),
        )
        return self._event(HealthEvent, "health", messages.BOX_HEALTH, data, now_s)

    def _shoot(self, incident: str, now_s: float) -> list[tuple[Evidence, bytes]]:
        content = picture(incident, self._picture_bytes)
        sealed = seal(incident, entry(content, "wide", now_s), self._head, self._key)
        self._head = picture_link(incident, sealed)
        return [(sealed, content)]

    def _clock(self, now_s: float) -> ClockReport:
        return ClockReport(state="synchronised", boot_id=self._boot_id, uptime_s=round(now_s % 86_400, 1))

    def _post(self, data: Incident, kind: str, now_s: float) -> None:
        event = IncidentEvent(
            id=f"{data.incident}:{data.seq}",
            source=messages.source(self.site, self.id),
            type=f"cityeye.incident.{kind}",
            time=data.at,
            dataschema=messages.dataschema("incident"),
            data=data,
        )
        topic = str(Topic(self.site, self.id, "incident", data.camera))
        self._keep(Parcel(event.id, topic, event.to_json(), "application/cloudevents+json"), now_s)

    def _keep(self, parcel: Parcel, now_s: float) -> None:
        self._waiting[parcel.id] = _Waiting(parcel, now_s)

    def _event(
        self, model: type[Event[Any]], leaf: str, kind: str, data: Value, now_s: float, camera: str | None = None
    ) -> Parcel:
        event = model(
            id=f"{self.id}:{leaf}:{int(now_s * 1000)}",
            source=messages.source(self.site, self.id),
            type=kind,
            time=from_epoch(now_s),
            dataschema=messages.dataschema(leaf),
            data=data,
        )
        topic = str(Topic(self.site, self.id, leaf, camera))
        return Parcel(event.id, topic, event.to_json(), "application/cloudevents+json")


def names(count: int, prefix: str = "sim-") -> Iterable[str]:
    """Ids of so many simulated boxes."""
    return (f"{prefix}{number:05d}" for number in range(1, count + 1))

"""Messages of a box, for tests of the collector."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from collector.evidence.jpeg import size_of
from collector.inbox.reading import Delivery
from protocol.ids import uuid7
from protocol.instants import from_epoch
from protocol.messages import (
    BoxStatus,
    ClockReport,
    Event,
    Evidence,
    Incident,
    IncidentEvent,
    Item,
    StatusEvent,
    dataschema,
)
from protocol.pictures import PictureHeader
from protocol.seal import picture_link, public_key_text, seal

START_S = 1_780_000_000.0
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def jpeg(number: int = 0) -> bytes:
    """A small JPEG; another number is another picture."""
    picture = np.random.default_rng(number).integers(0, 255, (90, 160, 3), np.uint8)
    return cv2.imencode(".jpg", picture)[1].tobytes()


@dataclass
class Case:
    """One incident of a box, message by message."""

    number: int = 1
    rule: str = "encroachment"
    shop: str | None = "shop-1"
    box: str = "box-1"
    site: str = "s"
    camera: str = "cam-1"
    zone: str = "front"
    opened_s: float = START_S
    seq: int = 0
    pictures: list[tuple[Evidence, bytes]] = field(default_factory=list)
    head: str | None = None

    @property
    def id(self) -> str:
        return uuid7(START_S, self.number.to_bytes(10))

    def message(self, kind: str, at_s: float, **changes: object) -> Delivery:
        self.seq += 1
        data = Incident.model_validate(
            {
                "incident": self.id,
                "seq": self.seq,
                "place_id": f"place-{self.zone}",
                "rule": self.rule,
                "camera": self.camera,
                "zone": self.zone,
                "shop": self.shop,
                "opened_at": from_epoch(self.opened_s),
                "at": from_epoch(at_s),
                "dwell_s": at_s - self.opened_s,
                "dwell_limit_s": 10,
                "visibility": "seen",
                "place": (0.4, 0.5, 0.1, 0.2),
                "items": (Item(id="i", kind="object", box=(0.4, 0.5, 0.1, 0.2)),),
                "evidence": tuple(entry for entry, _ in self.pictures),
                "clock": ClockReport(state="synchronised", boot_id="b", uptime_s=1),
                "settings_digest": "0" * 64,
                **changes,
            }
        )
        event = IncidentEvent(
            id=f"{self.id}:{self.seq}",
            source=f"/cityeye/{self.site}/{self.box}",
            type=f"cityeye.incident.{kind}",
            time=data.at,
            dataschema=dataschema("incident"),
            data=data,
        )
        return Delivery(f"cityeye/1/{self.site}/{self.box}/incident/{self.camera}", event.to_json())

    def opened(self, at_s: float | None = None) -> Delivery:
        return self.message("opened", self.opened_s + 12 if at_s is None else at_s)

    def updated(self, at_s: float, **changes: object) -> Delivery:
        return self.message("updated", at_s, **changes)

    def cleared(self, cleared_s: float) -> Delivery:
        return self.message("cleared", cleared_s + 5, cleared_at=from_epoch(cleared_s))

    def ended(self, at_s: float, reason: str = "rule_changed") -> Delivery:
        return self.message("ended", at_s, reason=reason)

    def picture(self, role: str = "at", view: str = "wide", number: int = 0, content: bytes | None = None) -> Delivery:
        """Seal a picture; later messages list it."""
        content = jpeg(number) if content is None else content
        width, height = size_of(content)
        record = Evidence(
            role=role,
            view=view,
            sha256=hashlib.sha256(content).hexdigest(),
            bytes=len(content),
            media_type="image/jpeg",
            width=width,
            height=height,
            taken_at=from_epoch(self.opened_s),
            masked=True,
        )
        record = seal(self.id, record, self.head, KEY)
        self.head = picture_link(self.id, record)
        self.pictures.append((record, content))
        header = PictureHeader(incident=self.id, role=role, view=view, sha256=record.sha256)
        topic = f"cityeye/1/{self.site}/{self.box}/evidence/{self.camera}"
        return Delivery(topic, content, tuple(header.to_properties()), "image/jpeg")


def told(
    event: type[Event[Any]], leaf: str, at_s: float, data: object, box: str = "box-1", site: str = "s", name: str = "x"
) -> Delivery:
    """What a box says of itself, on a leaf of its topics; `name` is the message's id."""
    said = event(
        id=name,
        source=f"/cityeye/{site}/{box}",
        type=f"cityeye.box.{leaf}",
        time=from_epoch(at_s),
        dataschema=dataschema(leaf.partition("/")[0]),
        data=data,
    )
    return Delivery(f"cityeye/1/{site}/{box}/{leaf}", said.to_json())


def status(
    state: str = "online", box: str = "box-1", site: str = "s", key: Ed25519PrivateKey = KEY, **more: object
) -> Delivery:
    values = {"state": state, "boot_id": "b", "version": "1", "public_key": public_key_text(key), **more}
    return told(StatusEvent, "status", START_S, BoxStatus.model_validate(values), box, site)

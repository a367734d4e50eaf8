"""Incidents of a box, made through its real reporter, outbox and seal, without a camera."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.evidence.pictures import Picture
from agent.reporter import Reporter
from agent.rules.life import Change, Record
from agent.uplink.outbox import Outbox
from collector.simulation.pictures import entry, picture
from protocol.ids import uuid7
from protocol.messages import ClockReport, IncidentEvent, Item

PLACE = (0.4, 0.5, 0.1, 0.2)
CAMERAS = 4


def incident_id(box: str, number: int) -> str:
    """The same for the same number, so that a box that was killed in between makes no second one."""
    return uuid7(1_780_000_000.0, hashlib.sha256(f"{box}/{number}".encode()).digest()[:10])


@dataclass
class Scribe:
    """Reports what a box's rules would report.

    Args:
        now: seconds since the epoch, as the box believes.
    """

    site: str
    box: str
    outbox: Outbox
    now: Callable[[], float]

    def __post_init__(self) -> None:
        self.key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(self.box.encode()).digest())
        clock = ClockReport(state="synchronised", boot_id="b", uptime_s=1)
        self.last: dict[str, str] = {}
        """What the last report gave the outbox to send: ids, and the SHA-256 of what they stand for."""
        self._reporter = Reporter(
            self.site, self.box, "0" * 64, None, self.key, self.outbox, lambda: clock, self._remember
        )

    def open(self, number: int, views: Sequence[str] = ("wide",), size: int = 8 * 1024) -> Record:
        """Report a new incident with pictures; every fourth is at the place of the one before it."""
        now_s = self.now()
        incident = incident_id(self.box, number)
        item = Item(id="i", kind="object", box=PLACE)
        zone = f"zone-{number - (number % 4 == 3)}"
        record = Record(
            incident=incident,
            place_id=f"place-{zone}",
            previous=None,
            rule="encroachment",
            camera=f"cam-{number // 4 % CAMERAS}",
            zone=zone,
            shop=None,
            place=PLACE,
            opened_s=now_s - 60,
            dwell_limit_s=30,
            seq=1,
            sent_s=now_s,
            items=(item,),
        )
        pictures = [self._shoot(f"{incident} {view}", view, now_s, size) for view in views]
        return self._reporter.report(Change("opened", record, now_s), pictures)

    def clear(self, record: Record) -> Record:
        """Report that a place was seen clear."""
        now_s = self.now()
        cleared = replace(record, seq=record.seq + 1, sent_s=now_s, cleared_s=max(record.opened_s, now_s - 1))
        return self._reporter.report(Change("cleared", cleared, now_s), [])

    def remembered(self) -> dict[str, Record]:
        """What the outbox holds, by incident, after a restart."""
        return {row.incident: Record.from_json(row.state) for row in self.outbox.incidents()}

    def _remember(self, event: IncidentEvent, pictures: Sequence[Picture]) -> None:
        shots = [one.evidence for one in pictures]
        incident = event.data.incident
        self.last = {f"{incident}:{one.role}:{one.view}:{one.sha256}": one.sha256 for one in shots}
        self.last[event.id] = hashlib.sha256(event.to_json()).hexdigest()

    @staticmethod
    def _shoot(name: str, view: str, now_s: float, size: int) -> Picture:
        content = picture(name, size)
        evidence = entry(content, view, now_s)
        return Picture(evidence, content)

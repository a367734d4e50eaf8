"""From a change of an incident to what is sent: pictures sealed, the message written, both committed at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.evidence.pictures import Picture
from agent.rules.life import Change, Record, dwell_s
from agent.uplink.outbox import IncidentRow, Outbox, Outgoing
from protocol import messages
from protocol.instants import from_epoch
from protocol.messages import ClockReport, Evidence, Incident, IncidentEvent, Model
from protocol.pictures import MEDIA_TYPE, PictureHeader
from protocol.seal import picture_link, seal
from protocol.topics import Topic


@dataclass
class Reporter:
    """What all cameras of a box share when they report.

    Args:
        settings_digest: of the settings in force; set anew where the center changes them.
        key: signs the evidence.
        clock: says how far the box's clock can be trusted.
        tell: called after the commit with the message and its pictures.
    """

    site: str
    box: str
    settings_digest: str
    model: Model | None
    key: Ed25519PrivateKey
    outbox: Outbox
    clock: Callable[[], ClockReport]
    tell: Callable[[IncidentEvent, Sequence[Picture]], None]

    def report(self, change: Change, pictures: Sequence[Picture]) -> Record:
        """Seal, write and commit one change; returns the record with its evidence.

        The outbox knows better than the rule which message was the last one and which pictures have made room.
        """
        record = change.record
        with self.outbox.sealing() as ledger:
            known = self.outbox.incident(record.incident)
            if known is not None:
                before = Record.from_json(known.state)
                record = replace(record, seq=before.seq + 1, evidence=before.evidence)
            record, told = self._without_dropped(record)
            head = ledger.head
            sealed = []
            for picture in pictures:
                entry = seal(record.incident, picture.evidence, head, self.key)
                head = picture_link(record.incident, entry)
                sealed.append(replace(picture, evidence=entry))
            record = replace(record, evidence=(*record.evidence, *(picture.evidence for picture in sealed)))
            event = self._event(change, record)
            outgoing = [self._message(event), *(self._picture(record, picture) for picture in sealed)]
            row = IncidentRow(
                incident=record.incident,
                camera=record.camera,
                zone=record.zone,
                rule=record.rule,
                place_id=record.place_id,
                open=record.open,
                state=record.to_json(),
            )
            ledger.commit(row, outgoing, head, told)
        self.tell(event, sealed)
        return record

    def move(self, step_s: float) -> None:
        """The clock was set: move what is remembered of incidents; it is told with their next messages."""
        for row in self.outbox.incidents():
            record = Record.from_json(row.state)
            if not record.open and step_s > 0:
                continue  # it is over, and lies in the past all the same
            times = {name: getattr(record, name) for name in ("opened_s", "sent_s", "hidden_since_s", "cleared_s")}
            moved = replace(record, **{name: at_s + step_s for name, at_s in times.items() if at_s is not None})
            with self.outbox.sealing() as ledger:
                ledger.commit(replace(row, state=moved.to_json()), [], ledger.head)

    def tell_dropped(self, at_s: float) -> None:
        """Say which pictures have made room on the box, with a message of each incident that they were to prove."""
        for incident in dict.fromkeys(incident for incident, _ in self.outbox.dropped()):
            with self.outbox.sealing():  # or its camera could close it meanwhile
                row = self.outbox.incident(incident)
                if row is None:
                    continue
                record = Record.from_json(row.state)
                if record.open:
                    self.report(Change("updated", record, at_s), [])
                else:
                    # it is over, and stays over since when it was
                    self.report(Change("ended" if record.reason else "cleared", record, record.sent_s), [])

    def _without_dropped(self, record: Record) -> tuple[Record, frozenset[str]]:
        """Mark the pictures that have made room; returns their ids as well."""
        dropped = frozenset(picture for _, picture in self.outbox.dropped(record.incident))
        evidence = tuple(
            entry.model_copy(update={"dropped": True}) if _header(record, entry).id in dropped else entry
            for entry in record.evidence
        )
        return replace(record, evidence=evidence), dropped

    def _event(self, change: Change, record: Record) -> IncidentEvent:
        at = from_epoch(change.at_s)
        data = Incident(
            incident=record.incident,
            seq=record.seq,
            previous=record.previous,
            place_id=record.place_id,
            rule=record.rule,
            camera=record.camera,
            zone=record.zone,
            shop=record.shop,
            opened_at=from_epoch(record.opened_s),
            at=at,
            cleared_at=None if record.cleared_s is None else from_epoch(record.cleared_s),
            dwell_s=round(dwell_s(record, change.at_s), 3),
            dwell_limit_s=record.dwell_limit_s,
            visibility=record.visibility,
            reason=record.reason,
            place=record.place,
            items=record.items,
            people=record.people,
            evidence=record.evidence,
            model=self.model,
            clock=self.clock(),
            settings_digest=self.settings_digest,
        )
        return IncidentEvent(
            id=f"{record.incident}:{record.seq}",
            source=messages.source(self.site, self.box),
            type=f"cityeye.incident.{change.kind}",
            time=at,
            dataschema=messages.dataschema("incident"),
            data=data,
        )

    def _message(self, event: IncidentEvent) -> Outgoing:
        topic = Topic(self.site, self.box, "incident", event.data.camera)
        return Outgoing(event.id, "incident", str(topic), event.to_json(), "application/cloudevents+json")

    def _picture(self, record: Record, picture: Picture) -> Outgoing:
        evidence = picture.evidence
        header = _header(record, evidence)
        topic = Topic(self.site, self.box, "evidence", record.camera)
        return Outgoing(header.id, "picture", str(topic), picture.jpeg, MEDIA_TYPE, tuple(header.to_properties()))


def _header(record: Record, evidence: Evidence) -> PictureHeader:
    return PictureHeader(incident=record.incident, role=evidence.role, view=evidence.view, sha256=evidence.sha256)

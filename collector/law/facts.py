"""What the papers tell of, gathered from the settings and the registers as they are now."""

import json
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import BigInteger, case, cast, func, select
from sqlalchemy.orm import Session

from collector.boxes import wanted
from collector.boxes.register import OUT
from collector.evidence.uploads import REPORTED
from collector.people.actor import EVERYWHERE, Role
from collector.places import cameras
from collector.settings import CenterSettings
from collector.store import Box, CameraRow, GrantRow, PersonRow, PictureRow, Ticket
from collector.tickets import policy
from protocol.settings import DocumentError, GatheringZone, read_document

KINDS: Final = {"rtsp": "network", "rtsps": "network", "usb": "usb"}


@dataclass(frozen=True)
class CameraFact:
    """A camera in use, `key` being `box/camera`; empty is what nobody has said.

    Args:
        position: longitude and latitude, WGS84.
        kind: `network`, `usb`, `file`; empty where its settings are not known here.
        masks: areas that are burnt black.
        followed: zones in which people are followed while in view, to see who stays.
    """

    key: str
    street: str
    name: str = ""
    gb28181: str = ""
    position: str = ""
    height_m: str = ""
    note: str = ""
    kind: str = ""
    masks: int = 0
    followed: int = 0


@dataclass(frozen=True)
class Facts:
    """A center as it is.

    Args:
        at: now, in its time zone.
        cameras: of boxes that are not put out, by key.
        people: who may sign in, by role; somebody with two counts in both.
        detectors: models that boxes reported, and how many run each.
        policies: by street.
        unmasked: pictures of people's telephones, in which nobody masked faces.
    """

    settings: CenterSettings
    at: datetime
    cameras: tuple[CameraFact, ...]
    people: Mapping[Role, int]
    detectors: Mapping[str, int]
    boxes: int
    policies: Mapping[str, policy.Policy]
    unmasked: int

    @property
    def operator(self) -> str:
        """The unit that runs it."""
        return self.settings.law.operator or self.settings.center.name

    @property
    def contact(self) -> str:
        """Whom one may ask."""
        return self.settings.law.contact or self.settings.notices.contact

    @property
    def keep_days(self) -> int:
        """How long pictures are kept after their ticket ended."""
        return self.settings.evidence.keep_days


def gather(session: Session, settings: CenterSettings, now_ms: int, streets: Collection[str] | None = None) -> Facts:
    """Look at everything; `streets` limits it to what somebody may see."""
    query = select(Box).where(Box.standing.not_in(OUT)).order_by(Box.id)
    boxes = [box for box in session.scalars(query) if streets is None or box.site in streets]
    sites = {box.site for box in boxes}
    return Facts(
        settings,
        datetime.fromtimestamp(now_ms / 1000, ZoneInfo(settings.center.timezone)),
        _cameras(session, boxes),
        _people(session, streets),
        _detectors(boxes),
        len(boxes),
        {site: policy.current(session, site).policy for site in sorted(sites)},
        _unmasked(session, streets),
    )


def _unmasked(session: Session, streets: Collection[str] | None) -> int:
    """Pictures of people's that are here; one of a report has no box, but a ticket."""
    number = cast(func.substr(PictureRow.incident, len(REPORTED) + 1), BigInteger)
    reported = Ticket.number == case((PictureRow.box_id.is_(None), number))
    query = select(func.count()).select_from(PictureRow).outerjoin(Box).outerjoin(Ticket, reported)
    query = query.where(PictureRow.masked == 0, PictureRow.deleted_ms.is_(None))
    own = query if streets is None else query.where(func.coalesce(Box.site, Ticket.street).in_(streets))
    return session.scalar(own) or 0


def _cameras(session: Session, boxes: Collection[Box]) -> tuple[CameraFact, ...]:
    found: dict[str, CameraFact] = {}
    for box in boxes:
        for camera in session.scalars(select(CameraRow.camera).where(CameraRow.box_id == box.id)):
            found[f"{box.id}/{camera}"] = CameraFact(f"{box.id}/{camera}", box.site)
        found |= {one.key: one for one in _set_up(session, box)}
    known = {box.id for box in boxes}
    for place in cameras.listed(session):
        if place.box in known:
            found[place.key] = replace(
                found.get(place.key, CameraFact(place.key, place.street)),
                name=place.name,
                gb28181=place.gb28181 or "",
                position="" if place.lon is None or place.lat is None else f"{place.lon:.6f}, {place.lat:.6f}",
                height_m="" if place.height_m is None else f"{place.height_m:g}",
                note=place.note,
            )
    return tuple(found[key] for key in sorted(found))


def _set_up(session: Session, box: Box) -> list[CameraFact]:
    row = wanted.newest(session, box.id)
    try:
        document = None if row is None else read_document(json.loads(row.document))
    except DocumentError:
        # of another version: the camera's own word is what is left
        document = None
    return [
        CameraFact(
            f"{box.id}/{one.id}",
            box.site,
            kind=KINDS.get(one.source.partition(":")[0], "file"),
            masks=len(one.mask),
            followed=sum(isinstance(zone, GatheringZone) and zone.loiter_s is not None for zone in one.zone),
        )
        for one in (() if document is None else document.camera)
    ]


def _people(session: Session, streets: Collection[str] | None) -> dict[Role, int]:
    query = select(GrantRow.role, GrantRow.person_id, GrantRow.street).join(PersonRow)
    held = {
        (role, person)
        for role, person, street in session.execute(query.where(PersonRow.disabled_ms.is_(None)))
        if streets is None or street == EVERYWHERE or street in streets
    }
    counts = Counter(role for role, _ in held)
    return {role: counts[role] for role in Role}


def _detectors(boxes: Collection[Box]) -> dict[str, int]:
    models = [json.loads(box.health).get("model") for box in boxes if box.health is not None]
    return dict(sorted(Counter(one["name"] for one in models if one is not None).items()))

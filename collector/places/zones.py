"""What boxes' settings say of zones, as far as the center knows them."""

import json
from collections.abc import Collection
from typing import Final

from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import Session

from collector.places.fields import Zone
from collector.store import Box, SettingsRow
from protocol.geometry import Polygon

MAX_NAMED: Final = 500
"""Values that a question names; of more boxes all are read."""


def sites(session: Session) -> dict[str, str]:
    """Site of every box that is known."""
    return {row.id: row.site for row in session.execute(select(Box.id, Box.site))}


def zone_shops(session: Session, boxes: Collection[str] | None = None) -> dict[Zone, str | None]:
    """Zones of the newest settings of boxes (default: of all), and the shop that each names."""
    newest = select(SettingsRow.box_id, func.max(SettingsRow.revision)).group_by(SettingsRow.box_id)
    query = select(SettingsRow.box_id, SettingsRow.document)
    query = query.where(tuple_(SettingsRow.box_id, SettingsRow.revision).in_(newest))
    if boxes is not None and len(boxes) <= MAX_NAMED:
        query = query.where(SettingsRow.box_id.in_(boxes))
    found: dict[Zone, str | None] = {}
    for box, document in session.execute(query):
        if boxes is not None and box not in boxes:
            continue
        for camera in json.loads(document).get("camera", ()):
            for zone in camera.get("zone", ()):
                found[(box, camera["id"], zone["id"])] = zone.get("shop")
    return found


def outline(session: Session, box: str, camera: str, zone: str, digest: str) -> Polygon:
    """Corners of a zone in picture coordinates, as it was drawn when settings of that digest were in force.

    Where the center never had those, as it is drawn in the newest that it has; empty where it has none of that zone.
    """
    query = select(SettingsRow.document).where(SettingsRow.box_id == box, SettingsRow.revision.is_not(None))
    newest = query.order_by((SettingsRow.digest == digest).desc(), SettingsRow.revision.desc()).limit(1)
    document = json.loads(session.scalar(newest) or "{}")
    for one in document.get("camera", ()):
        for held in one.get("zone", ()) if one["id"] == camera else ():
            if held["id"] == zone:
                return tuple((float(x), float(y)) for x, y in held["polygon"])
    return ()

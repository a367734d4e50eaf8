"""Frontage: nothing may stand in front of a shop for longer than its dwell."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from agent.camera.demand import Demand
from agent.rules.life import Breach, Record, Sighting
from agent.vision.ground import footprint_m2
from agent.vision.naming import PERSON
from agent.vision.places import Mask, PlaceState, StillItem, StillView
from agent.vision.stature import Statures
from protocol.geometry import Box
from protocol.hours import Hours, any_active
from protocol.messages import Item
from protocol.plane import Plane
from protocol.settings import FrontageZone

REST_FPS: Final = 0.1
"""Looks in which nothing is expected: they show whose head is to be hidden in a picture of the place."""
WAITS_FPS: Final = 0.2
LOOKS_IN_DWELL: Final = 10.0
"""Who stands is told from a thing by the share of the looks at it that find a person."""
DEMAND_S: Final = 30.0

Namer = Callable[[Box], tuple[str | None, float | None]]
"""Gives an item's label and score from its box, or two times None."""

KINDS: Final = {
    "bicycle": "parked_bike",
    "motorcycle": "parked_bike",
    "car": "parked_vehicle",
    "truck": "parked_vehicle",
    "bus": "parked_vehicle",
}
"""Two-wheelers and cars are matters of their own, with codes of their own; everything else is an `object`."""


def breaches(
    zone: FrontageZone, raster: Mask, view: StillView, name: Namer, plane: Plane | None = None
) -> list[Breach]:
    """Find what stands in a zone for longer than its dwell.

    Args:
        zone: its settings.
        raster: its polygon, shape `(h, w)` as the view's.
        view: the still scene after this sample.
        name: names an item.
        plane: the camera's ground plane; None: no area on the ground is known.
    """
    if view.disturbed:
        return []
    found = [(item, *name(item.box)) for item in view.items(raster, zone.min_area, zone.dwell_s)]
    return [
        Breach(item.box, item.since_s, (_item(item, zone.id, label, score, area_m2),))
        for item, label, score in found
        if label != PERSON and not _too_small(zone, area_m2 := _ground_m2(item, plane))
    ]


def demand(zone: FrontageZone, at_s: float, statures: Statures, aspect: float, *, waits: bool) -> Demand:
    """Ask for looks of the detector.

    Args:
        zone: its settings.
        at_s: the time.
        statures: how tall people are.
        aspect: width of the picture by its height.
        waits: whether something stands there that may be a thing or a person, and the detector can tell.
    """
    fps = max(WAITS_FPS, LOOKS_IN_DWELL / zone.dwell_s) if waits else REST_FPS
    return Demand(fps, statures.foreground(zone.polygon, aspect), at_s + DEMAND_S)


def sighting(zone: FrontageZone, raster: Mask, view: StillView, record: Record) -> Sighting:
    """Say what is seen at an open incident's place."""
    state, since_s = view.place(raster, record.place, zone.min_area)
    if state is PlaceState.CLEAR:
        return Sighting("clear", clear_since_s=since_s)
    return Sighting("occupied" if state is PlaceState.OCCUPIED else "not_seen")


def active_throughout(hours: Sequence[Hours], local: datetime, span_s: float) -> bool:
    """Say whether a zone was active during the whole span up to a local time, minute by minute.

    What stood there before the hours began is counted from their beginning.
    """
    if not hours:
        return True
    began = local - timedelta(seconds=span_s)
    first_minute = began.replace(second=0, microsecond=0) + timedelta(minutes=1)
    minutes = int((local - first_minute) / timedelta(minutes=1)) + 1
    instants = [began, *(first_minute + timedelta(minutes=n) for n in range(minutes)), local]
    return all(any_active(hours, instant) for instant in instants)


def _ground_m2(item: StillItem, plane: Plane | None) -> float | None:
    area_m2 = None if plane is None else footprint_m2(item.box, item.area, plane)
    return None if area_m2 is None else round(area_m2, 2)


def _too_small(zone: FrontageZone, area_m2: float | None) -> bool:
    """Say whether an item is known to be smaller than the zone's limit on the ground."""
    return zone.min_area_m2 is not None and area_m2 is not None and area_m2 < zone.min_area_m2


def _item(item: StillItem, zone: str, label: str | None, score: float | None, area_m2: float | None) -> Item:
    x, y, w, h = item.box
    return Item(
        # an item has no identity but its place: the id says where in the zone, so that it is stable over messages
        id=f"{zone}-{round((x + w / 2) * 1000):03d}-{round((y + h / 2) * 1000):03d}",
        kind=KINDS.get(label or "", "object"),
        box=item.box,
        label=label,
        score=score,
        area_m2=area_m2,
    )

"""Frontage: nothing may stand in front of a shop for longer than its dwell."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from agent.rules.life import Breach, Record, Sighting
from agent.vision.still import Mask, PlaceState, StillItem, StillView
from protocol.geometry import Box, box_iou
from protocol.hours import Hours, any_active
from protocol.messages import Item
from protocol.settings import FrontageZone

Namer = Callable[[Box], tuple[str | None, float | None]]
"""Gives an item's label and score from its box, or two times None."""


def breaches(zone: FrontageZone, raster: Mask, view: StillView, name: Namer) -> list[Breach]:
    """Find what stands in a zone for longer than its dwell.

    Args:
        zone: its settings.
        raster: its polygon, shape `(h, w)` as the view's.
        view: the still scene after this sample.
        name: names an item.
    """
    if view.disturbed:
        return []
    return [
        Breach(item.box, item.since_s, (_item(item, zone.id, name),))
        for item in view.items(raster, zone.min_area, zone.dwell_s)
    ]


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


def _item(item: StillItem, zone: str, name: Namer) -> Item:
    label, score = name(item.box)
    x, y, w, h = item.box
    return Item(
        # an item has no identity but its place: the id says where in the zone, so that it is stable over messages
        id=f"{zone}-{round((x + w / 2) * 1000):03d}-{round((y + h / 2) * 1000):03d}",
        kind="object",
        box=item.box,
        label=label,
        score=score,
    )


def name_from(boxes: Sequence[Box], labels: Sequence[str], scores: Sequence[float], min_iou: float = 0.3) -> Namer:
    """Name items by the detections that lie over them best; people give no name."""

    def name(box: Box) -> tuple[str | None, float | None]:
        best, label, score = min_iou, None, None
        for candidate, its_label, its_score in zip(boxes, labels, scores, strict=True):
            overlap = box_iou(box, candidate)
            if its_label != "person" and overlap >= best:
                best, label, score = overlap, its_label, round(its_score, 3)
        return label, score

    return name

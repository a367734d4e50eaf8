"""What a camera's runner knows after one frame, as plain values to be shown to people."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.rules import frontage
from agent.rules.gathering import Gathering
from agent.rules.life import Record, Sighting, ZoneLife, dwell_s, same_place
from agent.vision.naming import PERSON
from agent.vision.places import Mask, StillView, regions
from protocol.geometry import Box, Polygon
from protocol.settings import FrontageZone, GatheringZone

CLEARED_SHOWN_S: Final = 15.0
"""An incident that cleared is shown for this long."""

MarkState = Literal["new", "dwell", "incident", "clearing", "cleared", "not_seen"]


@dataclass(frozen=True)
class Mark:
    """A place in a zone, and what is the matter there.

    Args:
        box: in picture coordinates.
        state: `new`: it may still be somebody who stops; `dwell`: it keeps still, its clock runs; `incident`: open and
            seen; `clearing`: open and seen clear, not yet for long enough; `cleared`: was, a moment ago; `not_seen`:
            open, and something stands in front.
        elapsed_s: of the dwell; in state `clearing` of the time seen clear.
        limit_s: what `elapsed_s` runs up to.
        name: what stands there, where that is known.
    """

    box: Box
    state: MarkState
    elapsed_s: float
    limit_s: float
    name: str | None = None


@dataclass(frozen=True)
class Tally:
    """The people of a gathering zone.

    Args:
        count: as the rule has it, smoothed.
        limit: what the zone bears, in words.
        over: whether the limit is exceeded, with the rule's hysteresis.
        over_s: for how long, and of an open incident for how long that one has lasted; 0 where neither is.
        dwell_s: an incident opens after this long.
        incident: whether one is open.
    """

    count: int
    lower_bound: bool
    limit: str
    over: bool
    over_s: float
    dwell_s: float
    incident: bool


@dataclass(frozen=True)
class ZoneLook:
    """One zone right now.

    Args:
        note: why it is not judged as usual, in words; empty where it is.
        marks: what stands there in a frontage zone; who stays for too long in a gathering zone.
        tally: for a gathering zone; None where people cannot be counted.
    """

    id: str
    kind: str
    shop: str | None
    polygon: Polygon
    note: str = ""
    marks: tuple[Mark, ...] = ()
    tally: Tally | None = None

    @property
    def incidents(self) -> int:
        """How many are open."""
        open_marks = sum(mark.state in ("incident", "clearing", "not_seen") for mark in self.marks)
        return open_marks + (self.tally is not None and self.tally.incident)


@dataclass(frozen=True, eq=False)
class StillLook:
    """The still scene, arrays of shape `(h, w)`.

    Args:
        luma: people who pass have vanished from it.
        occupied: something stands there that does not belong to the clear place.
        hidden: neither that nor clear is seen.
    """

    luma: NDArray[np.uint8]
    occupied: NDArray[np.bool_]
    hidden: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Snapshot:
    """All of it.

    Args:
        state: the camera's, one of those that it publishes.
        persons: boxes `(n, 4)` of people, in picture coordinates.
        looked_at: the part of the picture in which they were looked for; None: the whole.
        hidden: boxes `(n, 4)` of those whose heads are to be hidden beside them; None: of nobody.
        ids: shape `(n,)`, of the people's tracks, 0 where there is none.
        still: None until the clear place is learned.
    """

    camera: str
    time_s: float
    state: str
    zones: tuple[ZoneLook, ...]
    persons: NDArray[np.float32]
    ids: NDArray[np.int64]
    still: StillLook | None
    looked_at: Box | None = None
    hidden: NDArray[np.float32] | None = None

    @property
    def heads(self) -> NDArray[np.float32]:
        """Boxes `(n, 4)` of all whose heads are to be hidden."""
        return self.persons if self.hidden is None else np.concatenate([self.persons, self.hidden])

    @property
    def incidents(self) -> int:
        """How many are open."""
        return sum(zone.incidents for zone in self.zones)


def still_look(view: StillView) -> StillLook:
    """Show the still scene."""
    occupied = view.held & view.seen
    return StillLook(view.still, occupied, ~occupied & ~view.clear)


def frontage_marks(
    zone: FrontageZone,
    view: StillView,
    raster: Mask,
    life: ZoneLife,
    name: frontage.Namer,
    sighting: Callable[[Record], Sighting],
) -> tuple[Mark, ...]:
    """Say what is the matter in a frontage zone: its incidents, what may become one, and what just cleared.

    Args:
        zone: its settings.
        view: the still scene after this sample.
        raster: its polygon, shape `(h, w)` as the view's.
        life: its incidents after this sample.
        name: names an item.
        sighting: says what is seen at an open incident's place.
    """
    at_s = view.time_s
    marks: list[Mark] = []
    taken: list[Box] = []
    for record in life.open_records:
        taken.append(record.place)
        seen = sighting(record)
        label = record.items[0].label if record.items else None
        if seen.state == "clear":
            clear_for_s = at_s - max(seen.clear_since_s, record.opened_s)
            marks.append(Mark(record.place, "clearing", clear_for_s, zone.clear_s, label))
        else:
            shown: MarkState = "incident" if record.visibility == "seen" else "not_seen"
            marks.append(Mark(record.place, shown, dwell_s(record, at_s), zone.dwell_s, label))
    items = () if view.disturbed else view.items(raster, zone.min_area, 0.0)
    calm = [(item.box, at_s - item.since_s) for item in items]
    fresh = [] if view.disturbed else _settled(zone, raster, view)
    kinds: tuple[tuple[MarkState, list[tuple[Box, float]]], ...] = (("dwell", calm), ("new", fresh))
    for state, found in kinds:
        for box, age_s in found:
            label, _ = name(box)
            if label != PERSON and not any(same_place(box, place) for place in taken):
                marks.append(Mark(box, state, age_s, zone.dwell_s, label))
                taken.append(box)
    for record in reversed(life.closed_records):
        recent = record.cleared_s is not None and at_s - record.sent_s <= CLEARED_SHOWN_S
        if recent and not any(same_place(record.place, place) for place in taken):
            marks.append(Mark(record.place, "cleared", dwell_s(record, at_s), zone.dwell_s))
            taken.append(record.place)
    return tuple(marks)


def incident_marks(life: ZoneLife, at_s: float, name: str | None) -> tuple[Mark, ...]:
    """Say which incidents of a rule are open and which just cleared, where nothing more is known of their places."""
    marks = []
    for record in (*life.open_records, *life.closed_records):
        if record.open:
            state: MarkState = "incident" if record.visibility == "seen" else "not_seen"
        elif record.cleared_s is not None and at_s - record.sent_s <= CLEARED_SHOWN_S:
            state = "cleared"
        else:
            continue
        marks.append(Mark(record.place, state, dwell_s(record, at_s), record.dwell_limit_s, name))
    return tuple(marks)


def _settled(zone: FrontageZone, raster: Mask, view: StillView) -> list[tuple[Box, float]]:
    """Boxes and ages, s, of all that stands in a zone, whether it keeps still or sways."""
    height, width = raster.shape
    found = []
    for region in regions(view.held & view.seen & raster, max(1, round(zone.min_area * raster.size))):
        x, y, w, h = cv2.boundingRect(region.astype(np.uint8))
        age_s = view.time_s - float(np.median(view.since_s[region]))
        found.append(((x / width, y / height, w / width, h / height), age_s))
    return found


def tally(zone: GatheringZone, crowd: Gathering, life: ZoneLife, at_s: float) -> Tally:
    """Say how many people are in a gathering zone, and what that means."""
    people = crowd.people
    limits = [f"at most {zone.max_people}"] if zone.max_people is not None else []
    if zone.max_density is not None:
        limits.append(f"at most {zone.max_density:g} per m²")
    over_s = 0.0 if crowd.over_since_s is None else at_s - crowd.over_since_s
    if life.open_records:
        over_s = dwell_s(life.open_records[0], at_s)
    return Tally(
        count=people.count,
        lower_bound=people.lower_bound,
        limit=", ".join(limits),
        over=crowd.over_since_s is not None,
        over_s=over_s,
        dwell_s=zone.dwell_s,
        incident=bool(life.open_records),
    )

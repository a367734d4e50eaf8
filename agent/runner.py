"""One camera's frames along their way: vision, rules, evidence, report."""

import contextlib
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import reduce
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from agent.box import orders
from agent.box.orders import Order
from agent.camera.demand import Demand
from agent.camera.frame import Frame
from agent.evidence.masking import Masker
from agent.evidence.memory import RecentShots, Shot
from agent.evidence.pictures import Picture, shoot
from agent.evidence.samples import EVERY_S, Samples
from agent.reporter import Reporter
from agent.rules import frontage
from agent.rules.gathering import NEAR_FPS, Gathering
from agent.rules.life import Breach, Change, Record, Sighting, ZoneLife, same_place
from agent.rules.loitering import TRACKING_FPS, Loitering
from agent.snapshot import Snapshot, ZoneLook, frontage_marks, incident_marks, still_look, tally
from agent.vision.attention import Attention
from agent.vision.condition import RELEARN_S, ViewHealth, ViewState
from agent.vision.counting import Counted, Eye, PeopleCounter, Place
from agent.vision.crowds import CrowdCounter, Density
from agent.vision.detector import Detections
from agent.vision.footfall import Footfall
from agent.vision.naming import PERSON, PERSON_SCORE, Naming
from agent.vision.novelty import Novelty
from agent.vision.people import COUNT_SCORE
from agent.vision.places import CLEAR_SHARE, Luma, Mask, PlaceState, StillView, zone_mask
from agent.vision.still import WIDTH_PX, StillScene
from agent.vision.tracker import Tracked, Tracker
from agent.vision.window import Resizable, window
from protocol.commands import PlaceSeen
from protocol.geometry import Box, box_intersection, polygon_bounds
from protocol.hours import parse_hours
from protocol.ids import uuid7
from protocol.plane import Plane
from protocol.settings import Camera, FrontageZone, GatheringZone, Zone

log = logging.getLogger(__name__)

SAVE_S: Final = 3600.0
"""A scene is 50 to 150 KB, and is written at each change as well: each 10 minutes would be 132 MB a day for twelve."""
GAP_S: Final = 10.0
"""Without a picture for longer than this nothing was seen."""
BACK_S: Final = 5.0
"""By more than this pictures go back in time only where the box's clock was set back."""
STILL_S: Final = 0.45
"""The still scene takes at most 2 samples a second (a little more, as clocks waver): others tell it nothing new."""
QUIET_S: Final = 60.0
"""A scene in which nothing changes is looked at so often all the same."""
MOVING_S: Final = 5.0
MAIN_RARE_S: Final = 5.0
"""Where no main picture has come for longer than this, those of the sub-stream stand in for it in everything."""
MAIN_LOOKED_S: Final = 5.0
"""Among pictures of the sub-stream a main one is looked at so often at least, as it may become evidence."""
MAIN_FRESH_S: Final = 3.0
"""A main picture that is no older shows what was decided on one of the sub-stream."""
WAITING_SHARE: Final = 0.25
"""Of the dwell: who stops for a moment needs no name."""
PLACE_STATES: Final = {PlaceState.CLEAR: "clear", PlaceState.OCCUPIED: "occupied", PlaceState.NOT_SEEN: "not_seen"}
NOBODY: Final[NDArray[np.float32]] = np.zeros((0, 4), np.float32)
LEARNED_SHARE: Final = 0.8
"""A zone is learned once so much of its clear look is known."""
RULES: Final = {"frontage": "encroachment", "gathering": "crowding"}
LOITERING: Final = "loitering"
BUSY: Final = 0.8
"""Looks at one sample take no more of the time to the next one, so that tracks get the pictures that they need."""


def rules_of(zone: Zone) -> tuple[str, ...]:
    """The rules that incidents of a zone may have."""
    loiters = isinstance(zone, GatheringZone) and zone.loiter_s is not None
    return (RULES[zone.kind], LOITERING) if loiters else (RULES[zone.kind],)


@dataclass(frozen=True)
class _Turns:
    """A detector that others use as well: each look waits for its turn."""

    detector: Eye
    attention: Attention
    camera: str
    share: float = 1.0

    def fit(self, width: int, height: int) -> tuple[int, int]:
        return self.detector.fit(width, height)

    def detect(self, rgb: NDArray[np.uint8]) -> Detections:
        with self.attention.turn(self.camera, share=self.share):
            return self.detector.detect(rgb)


@dataclass(frozen=True)
class _CrowdTurns:
    """The counter of crowds, in the same queue."""

    counter: CrowdCounter
    attention: Attention
    camera: str

    def fit(self, width: int, height: int) -> tuple[int, int]:
        return self.counter.fit(width, height)

    def look(self, rgb: NDArray[np.uint8]) -> Density:
        with self.attention.turn(self.camera, usual=False):
            return self.counter.look(rgb)


@dataclass(frozen=True)
class Outlook:
    """What a camera's runner says of itself, beside the reader's condition."""

    learning_zones: tuple[str, ...] = ()
    unavailable_zones: tuple[str, ...] = ()
    state: str = "live"
    """`live`, or what is wrong with the view."""
    text: str = ""


@dataclass
class CameraRunner:
    """The pipeline of one camera; it is driven by frames and never looks at a clock.

    Args:
        learn_s: time to learn the clear place.
        detector: None where there is none: items stay unnamed and crowding is unavailable.
        state_dir: where the still scene is kept; None keeps nothing.
        crowd: the counter of crowds; None: where a detector is full, a count is a lower bound.
        attention: shares the detector out; by default nobody else has it, and time does not matter.
        hour_every_s: distance of the samples that are kept for an hour.
        shown: whether its pictures are shown to somebody: then people are looked for all over them.
    """

    camera: Camera
    timezone: ZoneInfo
    learn_s: float
    detector: Resizable | None
    masker: Masker
    reporter: Reporter
    state_dir: Path | None = None
    randomness: Callable[[int], bytes] = os.urandom
    crowd: CrowdCounter | None = None
    attention: Attention = field(default_factory=Attention)
    hour_every_s: float = EVERY_S
    shown: bool = False
    _novelties: dict[bool, Novelty] = field(init=False)
    """Of the main stream and of the sub-stream: two encoders make different pictures of one scene."""
    _main: Frame | None = field(default=None, init=False)
    """The newest main picture, while pictures of the sub-stream come."""
    _main_s: float = field(default=float("-inf"), init=False)
    _sub_s: float = field(default=float("-inf"), init=False)
    _looked_s: dict[bool, float] = field(
        default_factory=lambda: dict.fromkeys((False, True), float("-inf")), init=False
    )
    """When a main picture and one of the sub-stream were looked at last."""
    _people_of: dict[bool, NDArray[np.float32]] = field(
        default_factory=lambda: dict.fromkeys((False, True), NOBODY), init=False
    )
    """Who was there then, shape `(n, 4)`: a picture in which nothing has changed since shows the same people."""
    _part_of: dict[bool, Box | None] = field(default_factory=lambda: {False: None, True: None}, init=False)
    """Part of the picture that the detector saw then; None: all of it."""
    _moved_s: dict[str, float] = field(default_factory=dict, init=False)
    """When something moved last, in or near each zone."""
    _scene: StillScene = field(init=False)
    _plane: Plane | None = field(init=False)
    _lives: dict[str, ZoneLife] = field(init=False)
    _crowds: dict[str, Gathering] = field(init=False)
    _people: PeopleCounter = field(init=False)
    _loiterers: dict[str, Loitering] = field(init=False)
    _loiter_lives: dict[str, ZoneLife] = field(init=False)
    _tracker: Tracker = field(init=False)
    _tracked: Tracked | None = field(default=None, init=False)
    """Who is who in the last frame, in picture coordinates; None where nobody is tracked."""
    _rasters: dict[str, Mask] = field(default_factory=dict, init=False)
    footfall: Footfall = field(init=False)
    samples: Samples = field(init=False)
    """The last hour in small, to try settings on."""
    _shots: RecentShots = field(default_factory=RecentShots, init=False)
    _view: StillView | None = field(default=None, init=False)
    _naming: Naming = field(default_factory=Naming, init=False)
    _found: Detections | None = field(default=None, init=False)
    _aspect: float = field(default=1.0, init=False)
    """Width of the picture by its height."""
    _counts: dict[bool, Counted | None] = field(default_factory=lambda: dict.fromkeys((False, True), None), init=False)
    """Who was counted in the last main picture and in the last one of the sub-stream."""
    _fresh: bool = field(default=False, init=False)
    """Whether the detector looked at this sample."""
    _alike: bool = field(default=True, init=False)
    """Whether this sample shows everywhere what the one last looked at does."""
    _seen_s: float = field(default=float("-inf"), init=False)
    _stilled_s: float = field(default=float("-inf"), init=False)
    _health: ViewHealth = field(default_factory=ViewHealth, init=False)
    _sight: ViewState | None = field(default=None, init=False)
    _grey: bool = field(default=False, init=False)
    """Whether `_scene` is the place as it looks without colour."""
    _scenes: dict[bool, StillScene] = field(default_factory=dict, init=False)
    """What is known of the place in colour and without, kept while it is not in use."""
    _developed: list[tuple[Box, list[Picture]]] = field(default_factory=list, init=False)
    """Pictures of places when they were clear, for incidents that the next sample may open."""
    _disturbed_since_s: float | None = field(default=None, init=False)
    _saved_s: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        rows = self.reporter.outbox.incidents(self.camera.id)
        records = [Record.from_json(row.state) for row in rows]
        self._lives = {zone.id: self._life(zone, RULES[zone.kind], zone.dwell_s, records) for zone in self.camera.zone}
        self._plane = self.camera.ground()
        self._crowds = {
            zone.id: Gathering(zone, self._plane) for zone in self.camera.zone if isinstance(zone, GatheringZone)
        }
        gatherings = [zone for zone in self.camera.zone if isinstance(zone, GatheringZone)]
        follows = any(zone.loiter_s is not None for zone in gatherings)
        pace_s = min(self.camera.sample_s, 1 / TRACKING_FPS) if follows else self.camera.sample_s
        budget_ms = min(self.camera.compute_ms, BUSY * 1000 * pace_s)
        places = [Place(zone.id, zone.polygon, zone.counting) for zone in gatherings]
        crowd = None if self.crowd is None else _CrowdTurns(self.crowd, self.attention, self.camera.id)
        self._people = PeopleCounter(places, budget_ms, crowd, self._plane)
        self.footfall = Footfall(self.camera.id)
        self._loiterers = {zone.id: Loitering(zone) for zone in gatherings if zone.loiter_s is not None}
        self._loiter_lives = {
            zone.id: self._life(zone, LOITERING, zone.loiter_s, records)
            for zone in gatherings
            if zone.loiter_s is not None
        }
        polygons = [zone.polygon for zone in self.camera.zone]
        self._novelties = {sub: Novelty(polygons) for sub in (False, True)}
        self._tracker = Tracker(sure_score=COUNT_SCORE)
        self._scene = self._load_scene(grey=self._grey)
        self.samples = Samples(self.masker, self.hour_every_s)

    @property
    def outlook(self) -> Outlook:
        """What can be judged right now."""
        learning = tuple(
            zone.id
            for zone in self.camera.zone
            if isinstance(zone, FrontageZone)
            and (self._view is None or self._view.learned_share(self._raster(zone, self._view)) < LEARNED_SHARE)
        )
        unavailable = tuple(self._crowds) if self.detector is None else ()
        texts = []
        if self._sight is not None and self._sight.text:
            texts.append(self._sight.text)
        if self._disturbed_since_s is not None:
            texts.append("more than half of the view differs from the learned one: nothing is judged")
        if unavailable:
            texts.append("crowding unavailable: no detector; set [detector] model")
        state = "live" if self._sight is None else self._sight.state
        if state == "live" and self._disturbed_since_s is not None:
            state = "moved"
        return Outlook(learning, unavailable, state, "; ".join(texts))

    def look(self, frame: Frame) -> None:
        """Take one frame."""
        at_s, self._aspect = frame.time_s, frame.width / frame.height
        if at_s < self._seen_s - BACK_S:
            self._forget_times()
        self._seen_s = at_s
        self._carry_out_orders(at_s)
        keeps = self._keeps(frame)
        luma = frame.luma(WIDTH_PX)
        looked = self._see(frame, luma, keeps=keeps)
        hidden = self._hidden if looked else None
        if keeps and at_s - self._stilled_s >= STILL_S:
            self._observe(frame, luma, hidden)
            self._stilled_s = at_s
        if looked:
            # first of all: those whom only a closer look finds are to be hidden in whatever is kept
            self._count(frame)
            if keeps and self._trusted:
                self._shots.add(frame, self._people_of[frame.sub], everyone=self._knows_everyone)
            if keeps and self._part_of[frame.sub] is None and self._alike:
                self.samples.add(frame, self._people_of[frame.sub])
        changes: list[Change] = []
        for zone in self.camera.zone:
            if isinstance(zone, FrontageZone):
                changes += self._frontage(zone, at_s)
            elif looked:
                # fewer of those who are small are seen in a small picture: it counts where there are too few others
                if keeps or self._counts_fps(zone.id, at_s) > NEAR_FPS:
                    changes += self._gathering(zone, self._counts[frame.sub], at_s)
                changes += self._loitering(zone, at_s)
        shows = any(change.roles for change in changes)
        self._report(changes, self._shot(frame, looked=looked, keeps=keeps) if shows else None)
        self._develop()
        if changes or (self._saved_s is not None and at_s - self._saved_s >= SAVE_S):
            self._save_scene(at_s)

    def _shot(self, frame: Frame, *, looked: bool, keeps: bool) -> Shot:
        """What shows the place as it is now."""
        now = Shot(frame, self._people_last if looked else NOBODY, everyone=looked and self._knows_everyone)
        if not keeps and self._main is not None:
            now = Shot(self._main, self._people_of[False], everyone=False)
        return self._with_everyone(now)

    def _forget_times(self) -> None:
        """The box's clock was set back: what was done last is not in the future."""
        past_s = float("-inf")
        self._stilled_s = self._main_s = self._sub_s = past_s
        self._moved_s.clear()
        self._looked_s = dict.fromkeys((False, True), past_s)
        self._main = self._saved_s = None
        self.samples.forget()

    def demand(self, at_s: float) -> Demand:
        """How often the rules want to see from now on."""
        people = self._people.statures, self._aspect
        demands = []
        for zone in self.camera.zone:
            if isinstance(zone, FrontageZone):
                waits = self._tells_apart and self._view is not None and self._something_waits(zone, self._view)
                demands.append(frontage.demand(zone, at_s, *people, waits=waits))
            else:
                demands.append(self._crowds[zone.id].demand(at_s, *people))
                if zone.id in self._loiterers:
                    moves = at_s - self._moved_s.get(zone.id, float("-inf")) <= MOVING_S
                    demands.append(self._loiterers[zone.id].demand(at_s, *people, moves=moves))
        return reduce(Demand.most, demands) if demands else Demand(frontage.REST_FPS, None, at_s)

    def _keeps(self, frame: Frame) -> bool:
        """Say whether a picture is for the still scene, evidence and the hour: main ones are, where they come."""
        at_s = frame.time_s
        if frame.sub:
            self._sub_s = at_s
            if at_s - self._main_s > MAIN_FRESH_S:
                self._main = None
            return at_s - self._main_s > MAIN_RARE_S
        self._main_s = at_s
        # to keep one takes 3 MB
        self._main = frame if at_s - self._sub_s <= MAIN_RARE_S else None
        return True

    def _counts_fps(self, zone: str, at_s: float) -> float:
        return self._crowds[zone].demand(at_s, self._people.statures, self._aspect).fps

    def _owed(self, frame: Frame) -> bool:
        """Say whether a main picture is looked at out of turn, as all turns go to pictures of the sub-stream."""
        main_s, sub_s = self._looked_s[False], self._looked_s[True]
        wanted_s = [1 / self._counts_fps(zone, frame.time_s) for zone in self._crowds]
        early_s = STILL_S  # key frames do not come on the second
        return not frame.sub and sub_s > main_s and frame.time_s - main_s >= min([MAIN_LOOKED_S, *wanted_s]) - early_s

    def _see(self, frame: Frame, luma: Luma, *, keeps: bool) -> bool:
        """Have the detector look, if it is this camera's turn; says whether it is known who is there now.

        Where nothing has changed since the last look, it would see the same.
        """
        if self.detector is None:
            return True
        at_s = frame.time_s
        novelty = self._novelties[frame.sub]
        changed = novelty.changed(luma) or self._found is None
        moved = [zone.id for zone, near in zip(self.camera.zone, novelty.near, strict=True) if near]
        self._moved_s |= dict.fromkeys(moved, at_s)
        demand = self.demand(at_s)
        # who is shown has to be known everywhere; what stands in front of the still scene as well
        due = keeps and self.samples.due(at_s)
        everywhere = self.shown or due or self._found is None or self._tells_apart
        lacking = changed or (due and novelty.anywhere) or (everywhere and self._part_of[frame.sub] is not None)
        every_s = 1 / demand.fps if lacking else QUIET_S
        asked = self.attention.ask(self.camera.id, every_s, at_s, changed=lacking)
        self._fresh = asked or (lacking and self._owed(frame))
        self._alike = self._fresh or not novelty.anywhere
        if not self._fresh:
            return not changed
        seen = window(self.detector, frame.width, frame.height, None if everywhere else demand.region)
        eye = _Turns(seen.eye, self.attention, self.camera.id, seen.share)
        colours = frame.rgb(seen.size, seen.crop)
        self._found = found = seen.in_picture(eye.detect(colours))
        self._looked_s[frame.sub], self._part_of[frame.sub] = at_s, seen.part
        novelty.looked()
        if self._tells_apart:
            waiting = self._view is not None and any(
                self._something_waits(zone, self._view) for zone in self.camera.zone if isinstance(zone, FrontageZone)
            )
            self._naming.take(colours, at_s, eye, wanted=waiting)
        self._people_of[frame.sub] = found.of("person", min_score=PERSON_SCORE).boxes
        return True

    def _count(self, frame: Frame) -> None:
        """Count people, unless they are those who were counted already."""
        if self.detector is None or self._found is None or not self._crowds or not self._trusted:
            self._counts[frame.sub] = None
        elif self._fresh or self._counts[frame.sub] is None:
            counted = self._people.count(frame, self._found, self._eye(self.detector), self._part)
            self._counts[frame.sub] = counted
            self._people_of[frame.sub] = counted.persons.of("person", min_score=PERSON_SCORE).boxes
        self._track(self._counts[frame.sub], frame)

    @property
    def _knows_everyone(self) -> bool:
        """Whether people were looked for in this very picture, and all over it."""
        return self.detector is None or (self._fresh and self._part is None)

    def _with_everyone(self, shot: Shot) -> Shot:
        """Look for people all over a frame that becomes evidence: who they are must not be seen."""
        if shot.everyone or self.detector is None:
            return shot
        found = self._eye(self.detector).detect(shot.frame.rgb()).of("person", min_score=PERSON_SCORE)
        return replace(shot, persons=np.concatenate([shot.persons, found.boxes]), everyone=True)

    def _eye(self, detector: Eye) -> Eye:
        return _Turns(detector, self.attention, self.camera.id)

    @property
    def _tells_apart(self) -> bool:
        """Whether the detector knows things as well.

        One that knows people only takes for one whatever looks most like one, such as a stack of crates.
        """
        return self._found is not None and len(self._found.names) > 1

    @property
    def _people_last(self) -> NDArray[np.float32]:
        """Who was there at the last look, shape `(n, 4)`."""
        return self._people_of[self._last_sub]

    @property
    def _part(self) -> Box | None:
        """What the detector saw of the picture at the last look; None: all of it."""
        return self._part_of[self._last_sub]

    @property
    def _counted(self) -> Counted | None:
        """Who was counted at the last look."""
        return self._counts[self._last_sub]

    @property
    def _last_sub(self) -> bool:
        """Whether a picture of the sub-stream was looked at last."""
        return self._looked_s[True] > self._looked_s[False]

    @property
    def _hidden(self) -> tuple[Box, ...]:
        """Where somebody stood in front at the last look, and can be told from a thing."""
        if not self._tells_apart:
            return ()
        return tuple((float(x), float(y), float(w), float(h)) for x, y, w, h in self._people_last)

    def snapshot(self, at_s: float) -> Snapshot:
        """Say what is known after the frame of this time; costs something only when asked."""
        outlook, view = self.outlook, self._view
        # the tracker's sources are rows of what was counted, which are people only
        found = self._found if self._counted is None else self._counted.persons
        persons = np.zeros((0, 4), np.float32) if found is None else found.of("person").boxes
        ids = np.zeros(len(persons), np.int64)
        if self._tracked is not None:
            ids[self._tracked.sources] = self._tracked.ids
        return Snapshot(
            camera=self.camera.id,
            time_s=at_s,
            state="learning" if outlook.state == "live" and outlook.learning_zones else outlook.state,
            zones=tuple(self._zone_look(zone, outlook, at_s) for zone in self.camera.zone),
            persons=persons,
            ids=ids,
            still=None if view is None else still_look(view),
            looked_at=self._part,
        )

    def hidden(self, frame: Frame) -> NDArray[np.float32]:
        """Boxes `(n, 4)` of all who are in a frame that was looked at just now and is shown to somebody.

        The rules do without a look at each frame; heads are to be hidden where they are in this one.
        """
        shot = Shot(frame, self._people_last, everyone=self._alike and self._part is None)
        return self._with_everyone(shot).persons

    def _zone_look(self, zone: Zone, outlook: Outlook, at_s: float) -> ZoneLook:
        note = "" if self._active(zone, at_s) else "outside its hours"
        if zone.id in outlook.learning_zones:
            note = "learning the clear place"
        elif zone.id in outlook.unavailable_zones:
            note = "people cannot be counted"
        look = ZoneLook(zone.id, zone.kind, zone.shop, zone.polygon, note)
        life, view = self._lives[zone.id], self._view
        if isinstance(zone, GatheringZone):
            loiter = self._loiter_lives.get(zone.id)
            marks = () if loiter is None else incident_marks(loiter, at_s, "loitering")
            if self._counted is None:
                return replace(look, marks=(*incident_marks(life, at_s, "crowding"), *marks))
            return replace(look, tally=tally(zone, self._crowds[zone.id], life, at_s), marks=marks)
        if view is None:
            return replace(look, marks=incident_marks(life, at_s, None))
        raster = self._raster(zone, view)
        marks = frontage_marks(zone, view, raster, life, self._naming.name, lambda one: self._sighting(zone, view, one))
        return replace(look, marks=marks)

    def pictures(self, frame: Frame, role: str, place: Box | None = None, *, keep: bool = False) -> list[Picture]:
        """Masked pictures of a frame that was looked at just now, for who asked: they prove nothing.

        Args:
            frame: the picture.
            role: `snapshot` or `verify`.
            place: adds a close view of it.
            keep: whether it must be seen even without a face model.
        """
        return shoot(
            frame.rgb(),
            self.masker,
            place=place,
            keep=place if keep else None,
            persons=self._with_everyone(Shot(frame, self._people_last)).persons,
            role=role,
            taken_at_s=frame.time_s,
        )

    def verify(self, frame: Frame, zone: Zone, record: Record | None = None) -> tuple[PlaceSeen, ...]:
        """Say what an incident's place, or a zone with all that stands there, is in a frame looked at just now.

        Args:
            frame: the picture.
            zone: one of the camera's.
            record: an incident there; None: its open ones, what else stands there, and if that is nothing, the whole.
        """
        found = None
        if self.detector is not None:
            eye = self._eye(self.detector)
            found = eye.detect(frame.rgb(self.detector.fit(frame.width, frame.height)))
        if isinstance(zone, FrontageZone):
            persons = NOBODY if found is None else found.of("person", min_score=PERSON_SCORE).boxes
            return self._verify_frontage(zone, persons, record)
        if record is not None and record.rule == LOITERING:
            seen = zone.id in self._loiterers and self._tracked is not None
            state = self._loiterers[zone.id].sighting(record).state if seen else "not_seen"
            return (PlaceSeen(place=record.place, state=state, incident=record.incident),)
        open_records = self._lives[zone.id].open_records
        incident = record.incident if record is not None else open_records[0].incident if open_records else None
        place = polygon_bounds(zone.polygon)
        if self.detector is None or found is None or not self._trusted:
            return (PlaceSeen(place=place, state="not_seen", incident=incident),)
        people = self._people.count(frame, found, self._eye(self.detector)).heads[zone.id]
        state = self._crowds[zone.id].judge(people.count, lower_bound=people.lower_bound)
        return (PlaceSeen(place=place, state=state, incident=incident, count=people.count),)

    def _verify_frontage(
        self, zone: FrontageZone, persons: NDArray[np.float32], record: Record | None
    ) -> tuple[PlaceSeen, ...]:
        view = self._view
        records = self._lives[zone.id].open_records if record is None else (record,)
        blind = view is None or not self._trusted
        raster = None if view is None else self._raster(zone, view)

        def seen(place: Box, incident: str | None = None) -> PlaceSeen:
            if blind or view is None or raster is None:
                return PlaceSeen(place=place, state="not_seen", incident=incident)
            state = view.place(raster, place, zone.min_area)[0]
            # the still scene may not know yet who has just come to stand there
            if state is PlaceState.CLEAR and _covered(place, persons):
                state = PlaceState.NOT_SEEN
            label = self._naming.name(place)[0] if state is PlaceState.OCCUPIED else None
            return PlaceSeen(place=place, state=PLACE_STATES[state], incident=incident, label=label)

        places = [seen(one.place, one.incident) for one in records]
        if record is None and view is not None and raster is not None and not blind and not view.disturbed:
            for item in view.items(raster, zone.min_area, 0.0):
                label = self._naming.name(item.box)[0]
                if label != PERSON and not any(same_place(item.box, one.place) for one in places):
                    places.append(PlaceSeen(place=item.box, state="occupied", label=label))
        return tuple(places) or (seen(polygon_bounds(zone.polygon)),)

    def hide(self, at_s: float) -> None:
        """Note that nothing is seen any more: the camera is lost, or the box shuts down."""
        for life in (*self._lives.values(), *self._loiter_lives.values()):
            self._report(life.hide(at_s), None)

    def beat(self, at_s: float) -> None:
        """Send heartbeats that are due although no frame came."""
        for life in (*self._lives.values(), *self._loiter_lives.values()):
            self._report(life.beat(at_s), None)

    def close(self, at_s: float) -> None:
        """Keep the still scene for the next start."""
        self._save_scene(at_s)

    def _frontage(self, zone: FrontageZone, at_s: float) -> list[Change]:
        life, view = self._lives[zone.id], self._view
        if view is None:
            return life.step(at_s, [], lambda _: Sighting("not_seen"))
        raster = self._raster(zone, view)
        breaches: list[Breach] = []
        if view.learned_share(raster) >= LEARNED_SHARE:
            breaches = frontage.breaches(zone, raster, view, self._naming.name, self._plane)
            breaches = self._dwelt(breaches, zone.dwell_s, at_s)
        if breaches and not self._active(zone, at_s):
            breaches = []

        return life.step(at_s, breaches, lambda record: self._sighting(zone, view, record))

    def _sighting(self, zone: FrontageZone, view: StillView, record: Record) -> Sighting:
        return self._since_sighted(frontage.sighting(zone, self._raster(zone, view), view, record))

    @property
    def _trusted(self) -> bool:
        """Whether the last sample may be judged."""
        return self._sight is None or self._sight.trusted

    def _observe(self, frame: Frame, luma: Luma, hidden: tuple[Box, ...] | None) -> None:
        """Take a sample into the still scene, if the camera sees well."""
        at_s, learned = frame.time_s, self._scene.learned
        # a file tells when the place was last seen before a restart
        last_s = self._stilled_s if np.isfinite(self._stilled_s) else self._scene.last_s
        if last_s is not None and at_s - last_s > max(GAP_S, 3 * self.camera.sample_s):
            self._health.lost(last_s, at_s)
        before = self._sight
        sight = self._sight = self._health.observe(
            luma,
            at_s,
            self._scene.reference,
            chroma=frame.chroma(),
            # a crowd that hides the place stays longer than from one look to the next
            people=self._hidden,
            changed_share=lambda: self._scene.changed_share(luma),
        )
        if sight.state != ("live" if before is None else before.state):
            log.warning("camera %s: %s", self.camera.id, sight.text or f"{sight.state} again")
        if sight.grey != self._grey:
            self._change_scene(at_s, grey=sight.grey)
        elif sight.state in ("moved", "covered") and self._scene.recall(luma):
            log.info("camera %s: the view is as it was at another time of the day", self.camera.id)
        elif sight.relearn:
            self._learn_again()
        elif sight.trusted:
            self._view = self._scene.observe(luma, at_s, hidden)
            if self._scene.learned and not learned:
                self._on_learned(at_s)
            self._scene.distrust_only(self._open_places)
            if self._view is not None:
                self._follow_view(self._view, luma)
        if not sight.trusted and self._view is not None:
            nothing = np.zeros_like(self._view.clear)
            self._view = replace(self._view, time_s=at_s, clear=nothing, seen=nothing, disturbed=True)

    def _change_scene(self, at_s: float, *, grey: bool) -> None:
        """Go on with what is known of the place in colour, or by infrared light."""
        log.info("camera %s: it sees %s now", self.camera.id, "without colour" if grey else "in colour")
        self._save_scene(at_s)
        self._scenes[self._grey] = self._scene
        self._grey = grey
        self._scene = self._scenes.pop(grey) if grey in self._scenes else self._load_scene(grey=grey)
        self._view = self._disturbed_since_s = None

    def _learn_again(self) -> None:
        log.warning("camera %s: the view has changed for %.0f s; learning it again", self.camera.id, RELEARN_S)
        self._scene.reset()
        self._view = self._disturbed_since_s = None
        self._shots.forget()
        self.samples.forget()

    def _dwelt(self, breaches: Sequence[Breach], dwell_s: float, at_s: float) -> list[Breach]:
        """Those that were there for the dwell, without the time in which nothing was seen."""
        return [one for one in breaches if at_s - one.since_s - self._health.blind_s(one.since_s) >= dwell_s]

    def _since_sighted(self, sighting: Sighting) -> Sighting:
        """What was clear before the view was lost has to be seen clear anew."""
        return replace(sighting, clear_since_s=max(sighting.clear_since_s, self._health.sighted_since_s))

    def _life(self, zone: Zone, rule: str, limit_s: float, records: Sequence[Record]) -> ZoneLife:
        return ZoneLife(
            rule=rule,
            camera=self.camera.id,
            zone=zone.id,
            shop=zone.shop,
            dwell_limit_s=limit_s,
            clear_s=zone.clear_s,
            new_id=lambda time_s: uuid7(time_s, self.randomness(10)),
            records=[record for record in records if (record.zone, record.rule) == (zone.id, rule)],
        )

    def _track(self, counted: Counted | None, frame: Frame) -> None:
        """Follow people where a zone asks how long somebody stays."""
        self._tracked = None
        if counted is not None and self._loiterers:
            # heights of the picture: a tracker's unit is the same along x and y, and for both streams
            unit = np.array([frame.width, frame.height, frame.width, frame.height], np.float64) / frame.height
            found = counted.persons
            tracked = self._tracker.step(found.boxes * unit, found.scores.astype(np.float64), frame.time_s)
            self._tracked = Tracked(tracked.boxes / unit, tracked.ids, tracked.sources)

    def _loitering(self, zone: GatheringZone, at_s: float) -> list[Change]:
        if zone.id not in self._loiterers:
            return []
        life, stays = self._loiter_lives[zone.id], self._loiterers[zone.id]
        if self._tracked is None:
            return life.step(at_s, [], lambda _: Sighting("not_seen"))
        breaches = stays.step(at_s, self._tracked.boxes, self._tracked.ids)
        if breaches and not self._active(zone, at_s, zone.loiter_s):
            breaches = []
        return life.step(at_s, breaches, stays.sighting)

    def _gathering(self, zone: GatheringZone, counted: Counted | None, at_s: float) -> list[Change]:
        life, crowd = self._lives[zone.id], self._crowds[zone.id]
        if counted is None:
            return life.step(at_s, [], lambda _: Sighting("not_seen"))
        people = counted.heads[zone.id]
        crowd.count(at_s, people.count, lower_bound=people.lower_bound)
        self.footfall.add(zone.id, people)
        breaches = self._dwelt(crowd.breaches(at_s), zone.dwell_s, at_s)
        if breaches and not self._active(zone, at_s):
            breaches = []
        return life.step(at_s, breaches, lambda _: self._since_sighted(crowd.sighting()))

    def _active(self, zone: Zone, at_s: float, span_s: float | None = None) -> bool:
        hours = [parse_hours(text) for text in zone.active]
        return frontage.active_throughout(hours, datetime.fromtimestamp(at_s, self.timezone), span_s or zone.dwell_s)

    def _something_waits(self, zone: FrontageZone, view: StillView) -> bool:
        """Say whether something has stood in a zone for a while, and it matters soon what it is."""
        aged = view.time_s - view.since_s >= WAITING_SHARE * zone.dwell_s
        return bool((view.held & aged & self._raster(zone, view)).any())

    def _raster(self, zone: Zone, view: StillView) -> Mask:
        raster = self._rasters.get(zone.id)
        if raster is None or raster.shape != view.sure.shape:
            height, width = view.sure.shape
            raster = zone_mask(zone.polygon, (height, width))
            for allowed in zone.allowed if isinstance(zone, FrontageZone) else ():
                raster &= ~zone_mask(allowed.polygon, (height, width))
            self._rasters[zone.id] = raster
        return raster

    def _carry_out_orders(self, at_s: float) -> None:
        """Do what an operator asked for at the box; incidents that came of a wrong scene are withdrawn."""
        view = self._view
        # what is seen through a fault is nobody's clear place: orders wait
        if self.state_dir is None or view is None or view.disturbed or not self._trusted:
            return
        for order in orders.take(self.state_dir, self.camera.id):
            self.carry_out(order, at_s)

    def carry_out(self, order: Order, at_s: float) -> bool:
        """Change the clear scene by order; False where that cannot be done now, and nothing was changed."""
        view = self._view
        if view is None or view.disturbed or not self._trusted:
            return False
        zones = [zone for zone in self.camera.zone if order.zone in (None, zone.id)]
        if not zones:
            log.warning("camera %s: %s: expected a zone, there is no %r", self.camera.id, order.verb, order.zone)
            return False
        where = np.full(view.sure.shape, order.zone is None)
        for zone in zones:
            where |= self._raster(zone, view)
        if order.verb == "approve":
            if not self._scene.approve(where):
                return False
        elif order.zone is None:
            self._scene.reset(keep_parts=False)
            self._forget_scenes()
            self._view = None
        else:
            self._scene.relearn(where)
        if order.zone is not None or order.verb == "approve":
            # what the same looks like in colour, or by infrared light, nobody has seen yet
            self._other_scene().relearn(where)
        for zone in zones:
            if isinstance(zone, FrontageZone):
                self._report(self._lives[zone.id].withdraw(at_s), None)
        log.info("camera %s zone %s: the clear scene: %s, by order", self.camera.id, order.zone or "*", order.verb)
        self._save_scene(at_s)
        return True

    @property
    def _open_places(self) -> tuple[Box, ...]:
        """Where something was reported to stand."""
        return tuple(
            record.place
            for zone in self.camera.zone
            if isinstance(zone, FrontageZone)
            for record in self._lives[zone.id].open_records
        )

    def _on_learned(self, at_s: float) -> None:
        open_places = self._open_places
        self._scene.distrust(open_places)
        for place in open_places:
            log.warning(
                "camera %s: the scene was learned while an incident was open at %s: not seen there",
                self.camera.id,
                place,
            )
        log.info("camera %s: the clear scene is learned", self.camera.id)
        self._save_scene(at_s)

    def _follow_view(self, view: StillView, luma: Luma) -> None:
        """Learn a view again that stays different."""
        if not view.disturbed or self._scene.recall(luma):
            self._disturbed_since_s = None
        elif self._disturbed_since_s is None:
            self._disturbed_since_s = view.time_s
        elif view.time_s - self._disturbed_since_s >= RELEARN_S:
            self._learn_again()

    def _report(self, changes: Sequence[Change], now: Shot | None) -> None:
        for change in changes:
            record = change.record
            pictures: list[Picture] = []
            for role in change.roles:
                if role == "clear":
                    pictures += self._clear_pictures(record)
                elif now is not None:
                    pictures += self._shoot(now, role, record.rule, record.place)
            record = self.reporter.report(change, pictures)
            lives = self._loiter_lives if record.rule == LOITERING else self._lives
            lives[record.zone].attach(record)
            log.info(
                "camera %s zone %s incident %s: %s %s%s",
                record.camera,
                record.zone,
                record.incident,
                record.rule,
                change.kind,
                f" ({record.visibility})" if change.kind == "updated" else "",
            )

    def _shoot(self, shot: Shot, role: str, rule: str, place: Box) -> list[Picture]:
        return shoot(
            shot.frame.rgb(),
            self.masker,
            place=place,
            # a crowd's place is full of faces; without a face model nothing of it is kept sharp
            keep=place if rule == RULES["frontage"] else None,
            persons=shot.persons,
            role=role,
            taken_at_s=shot.frame.time_s,
        )

    def _develop(self) -> None:
        """Make pictures of the clear place before they are wanted: it takes half of what an incident waits for."""
        wanted = [
            breach
            for zone in self.camera.zone
            if isinstance(zone, FrontageZone)
            for breach in self._lives[zone.id].pending
        ]
        self._developed = [(breach.place, self._ready(breach.place, breach.since_s)) for breach in wanted]

    def _clear_pictures(self, record: Record) -> list[Picture]:
        return self._ready(record.place, record.opened_s) if record.rule == RULES["frontage"] else []

    def _ready(self, place: Box, before_s: float) -> list[Picture]:
        for known, pictures in self._developed:
            if same_place(known, place):
                return pictures
        return self._shoot_clear(place, before_s)

    def _shoot_clear(self, place: Box, before_s: float) -> list[Picture]:
        shot = self._shots.clear(before_s, place, lambda frame: self._scene.looks_clear(frame.luma(WIDTH_PX)))
        return [] if shot is None else self._shoot(self._with_everyone(shot), "clear", RULES["frontage"], place)

    def _scene_path(self, *, grey: bool) -> Path | None:
        name = f"{self.camera.id}.grey.npz" if grey else f"{self.camera.id}.npz"
        return None if self.state_dir is None else self.state_dir / "scenes" / name

    def _other_scene(self) -> StillScene:
        """What is known of the place in the light that is not in use."""
        grey = not self._grey
        if grey not in self._scenes:
            self._scenes[grey] = self._load_scene(grey=grey)
        return self._scenes[grey]

    def _forget_scenes(self) -> None:
        """Forget what is kept of the other light as well, in memory and on disk."""
        self._scenes.clear()
        for path in () if self.state_dir is None else (self.state_dir / "scenes").glob(f"{self.camera.id}.*npz"):
            path.unlink(missing_ok=True)

    def _load_scene(self, *, grey: bool) -> StillScene:
        path = self._scene_path(grey=grey)
        if path is not None and path.exists():
            try:
                return StillScene.load(path, self.learn_s)
            except Exception as fault:  # noqa: BLE001 - a damaged archive raises whatever its bytes lead to
                log.warning(
                    "camera %s: %s is damaged (%s); the clear scene is learned again", self.camera.id, path, fault
                )
                with contextlib.suppress(OSError):
                    path.replace(path.with_suffix(".damaged"))
        return StillScene(self.learn_s)

    def _save_scene(self, at_s: float) -> None:
        for grey, scene in ((self._grey, self._scene), *self._scenes.items()):
            path = self._scene_path(grey=grey)
            if path is None:
                return
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                scene.save(path)
            except OSError as fault:
                log.warning("camera %s: the scene cannot be kept in %s: %s", self.camera.id, path, fault.strerror)
        self._saved_s = at_s


def _covered(place: Box, persons: NDArray[np.float32]) -> bool:
    """Say whether one person hides so much of a place that the rest of it does not prove it clear."""
    hidden = (box_intersection(place, (float(x), float(y), float(w), float(h))) for x, y, w, h in persons)
    return max(hidden, default=0.0) > (1 - CLEAR_SHARE) * place[2] * place[3]

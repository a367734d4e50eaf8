"""One camera's frames along their way: vision, rules, evidence, report."""

import logging
import os
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from agent.camera.frame import Frame
from agent.evidence.masking import Masker
from agent.evidence.memory import RecentShots, Shot
from agent.evidence.pictures import Picture, shoot
from agent.reporter import Reporter
from agent.rules import frontage
from agent.rules.gathering import Gathering
from agent.rules.life import Breach, Change, Record, Sighting, ZoneLife
from agent.vision.detector import Detections
from agent.vision.people import count_people
from agent.vision.still import WIDTH_PX, Mask, StillScene, StillView, zone_mask
from protocol.geometry import Box
from protocol.hours import parse_hours
from protocol.ids import uuid7
from protocol.settings import Camera, FrontageZone, GatheringZone, Zone

log = logging.getLogger(__name__)

PERSON_SCORE: Final = 0.4
"""From this score on a person hides what is behind them."""
RELEARN_S: Final = 60.0
"""A view that differs this long is a new view."""
SAVE_S: Final = 600.0
LEARNED_SHARE: Final = 0.8
"""A zone is learned once so much of its clear look is known."""
RULES: Final = {"frontage": "encroachment", "gathering": "crowding"}


class Eye(Protocol):
    """What a runner asks of a detector."""

    def fit(self, width: int, height: int) -> tuple[int, int]:
        """Size at which it wants a picture of this size."""
        ...

    def detect(self, rgb: NDArray[np.uint8]) -> Detections:
        """Find things in a picture of shape `(h, w, 3)`."""
        ...


@dataclass(frozen=True)
class Outlook:
    """What a camera's runner says of itself, beside the reader's condition."""

    learning_zones: tuple[str, ...] = ()
    unavailable_zones: tuple[str, ...] = ()
    disturbed: bool = False
    text: str = ""


@dataclass
class CameraRunner:
    """The pipeline of one camera; it is driven by frames and never looks at a clock.

    Args:
        learn_s: time to learn the clear place.
        detector: None where there is none: items stay unnamed and crowding is unavailable.
        state_dir: where the still scene is kept; None keeps nothing.
    """

    camera: Camera
    timezone: ZoneInfo
    learn_s: float
    detector: Eye | None
    masker: Masker
    reporter: Reporter
    state_dir: Path | None = None
    randomness: Callable[[int], bytes] = os.urandom
    _scene: StillScene = field(init=False)
    _lives: dict[str, ZoneLife] = field(init=False)
    _crowds: dict[str, Gathering] = field(init=False)
    _rasters: dict[str, Mask] = field(default_factory=dict, init=False)
    _shots: RecentShots = field(default_factory=RecentShots, init=False)
    _view: StillView | None = field(default=None, init=False)
    _disturbed_since_s: float | None = field(default=None, init=False)
    _saved_s: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        rows = self.reporter.outbox.incidents(self.camera.id)
        records = [Record.from_json(row.state) for row in rows]
        self._lives = {
            zone.id: ZoneLife(
                rule=RULES[zone.kind],
                camera=self.camera.id,
                zone=zone.id,
                shop=zone.shop,
                dwell_limit_s=zone.dwell_s,
                clear_s=zone.clear_s,
                new_id=lambda time_s: uuid7(time_s, self.randomness(10)),
                records=[record for record in records if record.zone == zone.id],
            )
            for zone in self.camera.zone
        }
        self._crowds = {zone.id: Gathering(zone) for zone in self.camera.zone if isinstance(zone, GatheringZone)}
        self._scene = self._load_scene()

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
        disturbed = self._disturbed_since_s is not None
        if disturbed:
            texts.append(
                "more than half of the view differs from the learned one: camera moved or covered, or other light"
            )
        if unavailable:
            texts.append("crowding unavailable: no detector; set [detector] model")
        return Outlook(learning, unavailable, disturbed, "; ".join(texts))

    def look(self, frame: Frame) -> None:
        """Take one frame."""
        at_s = frame.time_s
        found = None
        if self.detector is not None:
            found = self.detector.detect(frame.rgb(self.detector.fit(frame.width, frame.height)))
        persons = np.zeros((0, 4), np.float32) if found is None else found.of("person", min_score=PERSON_SCORE).boxes
        hidden: tuple[Box, ...] = tuple((float(x), float(y), float(w), float(h)) for x, y, w, h in persons)
        learned = self._scene.learned
        self._view = self._scene.observe(frame.luma(WIDTH_PX), at_s, hidden)
        if self._scene.learned and not learned:
            self._on_learned(at_s)
        if self._view is not None:
            self._follow_view(self._view)
        self._shots.add(Shot(frame, persons))
        changes: list[Change] = []
        for zone in self.camera.zone:
            if isinstance(zone, FrontageZone):
                changes += self._frontage(zone, found, at_s)
            else:
                changes += self._gathering(zone, found, at_s)
        self._report(changes, Shot(frame, persons))
        if changes or (self._saved_s is not None and at_s - self._saved_s >= SAVE_S):
            self._save_scene(at_s)

    def hide(self, at_s: float) -> None:
        """Note that nothing is seen any more: the camera is lost, or the box shuts down."""
        for life in self._lives.values():
            self._report(life.hide(at_s), None)

    def beat(self, at_s: float) -> None:
        """Send heartbeats that are due although no frame came."""
        for life in self._lives.values():
            self._report(life.beat(at_s), None)

    def close(self, at_s: float) -> None:
        """Keep the still scene for the next start."""
        self._save_scene(at_s)

    def _frontage(self, zone: FrontageZone, found: Detections | None, at_s: float) -> list[Change]:
        life, view = self._lives[zone.id], self._view
        if view is None:
            return life.step(at_s, [], lambda _: Sighting("not_seen"))
        raster = self._raster(zone, view)
        breaches: list[Breach] = []
        if view.learned_share(raster) >= LEARNED_SHARE:
            breaches = frontage.breaches(zone, raster, view, _namer(found))
        if breaches and not self._active(zone, at_s):
            breaches = []
        return life.step(at_s, breaches, lambda record: frontage.sighting(zone, raster, view, record))

    def _gathering(self, zone: GatheringZone, found: Detections | None, at_s: float) -> list[Change]:
        life, crowd = self._lives[zone.id], self._crowds[zone.id]
        if found is None:
            return life.step(at_s, [], lambda _: Sighting("not_seen"))
        people = count_people(found, zone.polygon)
        crowd.count(at_s, people.count, lower_bound=people.lower_bound)
        breaches = crowd.breaches(at_s)
        if breaches and not self._active(zone, at_s):
            breaches = []
        return life.step(at_s, breaches, lambda _: crowd.sighting())

    def _active(self, zone: Zone, at_s: float) -> bool:
        hours = [parse_hours(text) for text in zone.active]
        return frontage.active_throughout(hours, datetime.fromtimestamp(at_s, self.timezone), zone.dwell_s)

    def _raster(self, zone: Zone, view: StillView) -> Mask:
        raster = self._rasters.get(zone.id)
        if raster is None or raster.shape != view.sure.shape:
            height, width = view.sure.shape
            raster = self._rasters[zone.id] = zone_mask(zone.polygon, (height, width))
        return raster

    def _on_learned(self, at_s: float) -> None:
        open_places = [
            record.place
            for zone in self.camera.zone
            if isinstance(zone, FrontageZone)
            for record in self._lives[zone.id].open_records
        ]
        self._scene.distrust(tuple(open_places))
        for place in open_places:
            log.warning(
                "camera %s: the scene was learned while an incident was open at %s: not seen there",
                self.camera.id,
                place,
            )
        log.info("camera %s: the clear scene is learned", self.camera.id)
        self._save_scene(at_s)

    def _follow_view(self, view: StillView) -> None:
        """Learn a view again that stays different."""
        if not view.disturbed:
            self._disturbed_since_s = None
        elif self._disturbed_since_s is None:
            self._disturbed_since_s = view.time_s
        elif view.time_s - self._disturbed_since_s >= RELEARN_S:
            log.warning("camera %s: the view has changed for %.0f s; learning it again", self.camera.id, RELEARN_S)
            self._scene.reset()
            self._disturbed_since_s = None
            self._shots.forget()

    def _report(self, changes: Sequence[Change], now: Shot | None) -> None:
        for change in changes:
            record = change.record
            pictures: list[Picture] = []
            for role in change.roles:
                shot = self._clear_shot(record) if role == "clear" else now
                if shot is None:
                    continue
                pictures += shoot(
                    shot.frame.rgb(),
                    self.masker,
                    place=record.place,
                    # a crowd's place is full of faces; without a face model nothing of it is kept sharp
                    keep=record.place if record.rule == RULES["frontage"] else None,
                    persons=shot.persons,
                    role=role,
                    taken_at_s=shot.frame.time_s,
                )
            record = self.reporter.report(change, pictures)
            self._lives[record.zone].attach(record)
            log.info(
                "camera %s zone %s incident %s: %s %s%s",
                record.camera,
                record.zone,
                record.incident,
                record.rule,
                change.kind,
                f" ({record.visibility})" if change.kind == "updated" else "",
            )

    def _clear_shot(self, record: Record) -> Shot | None:
        if record.rule != RULES["frontage"]:
            return None
        return self._shots.clear(
            record.opened_s, record.place, lambda frame: self._scene.looks_clear(frame.luma(WIDTH_PX))
        )

    @property
    def _scene_path(self) -> Path | None:
        return None if self.state_dir is None else self.state_dir / "scenes" / f"{self.camera.id}.npz"

    def _load_scene(self) -> StillScene:
        path = self._scene_path
        if path is not None and path.exists():
            try:
                return StillScene.load(path, self.learn_s)
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as fault:
                log.warning(
                    "camera %s: %s is damaged (%s); the clear scene is learned again", self.camera.id, path, fault
                )
        return StillScene(self.learn_s)

    def _save_scene(self, at_s: float) -> None:
        path = self._scene_path
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._scene.save(path)
        except OSError as fault:
            log.warning("camera %s: the scene cannot be kept in %s: %s", self.camera.id, path, fault.strerror)
        self._saved_s = at_s


def _namer(found: Detections | None) -> frontage.Namer:
    if found is None:
        return lambda _: (None, None)
    boxes = [(float(x), float(y), float(w), float(h)) for x, y, w, h in found.boxes]
    return frontage.name_from(boxes, [found.names[c] for c in found.classes], [float(s) for s in found.scores])

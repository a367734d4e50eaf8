"""One camera watched for the page: its picture with people, aim and focus, and the test by the agent's own rules.

The page has a connection to the camera and a detector of its own, while somebody looks; the agent's are left alone.
"""

import hashlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.camera.frame import Frame
from agent.camera.reader import LiveCamera
from agent.camera.source import Source
from agent.evidence.masking import Masker
from agent.evidence.pictures import Picture, encode
from agent.live import Eyes
from agent.reporter import Reporter
from agent.runner import NOBODY, CameraRunner
from agent.setup.aim import Measure, sharpness
from agent.uplink.outbox import Outbox
from agent.vision.naming import PERSON, PERSON_SCORE
from protocol.messages import ClockReport, IncidentEvent
from protocol.settings import Camera, FrontageZone, GatheringZone

log = logging.getLogger(__name__)

FPS: Final = 2.0
WIDTH_PX: Final = 960
UNWATCHED_S: Final = 20.0
"""Nobody has looked for so long: it ends."""
LEARN_S: Final = 10.0
DWELL_S: Final = 10.0
PEOPLE_DWELL_S: Final = 5.0
CLEAR_S: Final = 5.0
CROWD: Final = 1
"""In the test two people are a crowd."""
KEPT: Final = 4
"""Pictures: the page asks for the one that it was told of last."""
MOST_INCIDENTS: Final = 20


def for_test(camera: Camera) -> Camera:
    """The camera with the rules' times so short that somebody waits for them on a ladder."""
    zones: list[FrontageZone | GatheringZone] = []
    for zone in camera.zone:
        if isinstance(zone, FrontageZone):
            zones.append(zone.model_copy(update={"dwell_s": DWELL_S, "clear_s": CLEAR_S, "active": ()}))
        else:
            short = {"dwell_s": PEOPLE_DWELL_S, "clear_s": CLEAR_S, "active": (), "loiter_s": None}
            zones.append(zone.model_copy(update={**short, "max_people": CROWD, "max_density": None}))
    return camera.model_copy(update={"zone": tuple(zones), "learn_s": LEARN_S, "sample_s": 1 / FPS})


@dataclass(frozen=True)
class Report:
    """An incident of the test."""

    zone: str
    rule: str
    at_s: float
    after_s: float
    pictures: tuple[str, ...]


class Watch(threading.Thread):
    """Watches one camera until nobody looks any more.

    Args:
        camera: with its zones.
        source: where its pictures come from.
        eyes: detector and face model.
        timezone: the box's.
        test: whether the rules run.
        now: seconds since the epoch.
        monotonic: seconds that never jump.
    """

    def __init__(
        self,
        camera: Camera,
        source: Source,
        eyes: Eyes,
        timezone: ZoneInfo,
        *,
        test: bool,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(name=f"watch-{camera.id}", daemon=True)
        self.camera, self.test = for_test(camera) if test else camera, test
        self._source = replace(source, sample_s=1 / FPS)
        self._eyes, self._masker, self._timezone = eyes, Masker(eyes.face_model), timezone
        self._now, self._monotonic = now, monotonic
        self._looked_s = monotonic()
        self._pictures: deque[tuple[int, bytes]] = deque(maxlen=KEPT)
        self._proof: dict[str, bytes] = {}
        self._reports: list[Report] = []
        self._state: dict[str, Any] = {"number": 0, "state": "starting", "text": ""}
        self._best = 0.0
        self._measure = Measure(camera.ground())
        self._closing = threading.Event()
        self._live: LiveCamera | None = None

    # what the page asks

    def look(self) -> dict[str, Any]:
        """What is seen now."""
        self._looked_s = self._monotonic()
        reports = [asdict(one) for one in self._reports]
        return {**self._state, "camera": self.camera.id, "test": self.test, "reports": reports}

    def picture(self, name: str) -> bytes | None:
        """A masked JPEG: that of a number, or of an incident by its hash; None where it is gone."""
        if name in self._proof:
            return self._proof[name]
        return next((jpeg for number, jpeg in tuple(self._pictures) if str(number) == name), None)

    def forget_best(self) -> None:
        """The lens was turned: what was sharpest before does not count."""
        self._best = 0.0

    def close(self) -> None:
        """End it; `join` waits."""
        self._closing.set()
        if self._live is not None:
            self._live.close()

    # what the thread does

    def run(self) -> None:
        """Watch; whatever fails is said on the page."""
        try:
            self._watch()
        except Exception as fault:
            log.exception("set-up: camera %s", self.camera.id)
            self._state = {**self._state, "state": "failed", "text": f"{type(fault).__name__}: {fault}"[:200]}

    def _watch(self) -> None:
        outbox = Outbox(None, now=self._now)
        runner = self._runner(outbox) if self.test else None
        try:
            with LiveCamera(self._source, self._now, self._monotonic) as live:
                self._live = live
                for event in live.events():
                    if self._closing.is_set() or self._monotonic() - self._looked_s > UNWATCHED_S:
                        return
                    if isinstance(event, Frame):
                        live.demand(FPS, 5.0)
                        self._see(event, runner)
                    elif event is not None:
                        self._state = {**self._state, "state": event.state, "text": event.text}
        finally:
            outbox.close()

    def _runner(self, outbox: Outbox) -> CameraRunner:
        reporter = Reporter(
            site="setup",
            box="setup",
            settings_digest="0" * 64,
            model=self._eyes.model,
            key=Ed25519PrivateKey.generate(),
            outbox=outbox,
            clock=lambda: ClockReport(state="replay", boot_id="setup", uptime_s=0.0),
            tell=self._tell,
        )
        eyes = self._eyes
        return CameraRunner(
            self.camera, self._timezone, LEARN_S, eyes.detector, self._masker, reporter, crowd=eyes.crowd, shown=True
        )

    def _tell(self, event: IncidentEvent, pictures: Sequence[Picture]) -> None:
        data = event.data
        if not event.type.endswith("opened") or len(self._reports) >= MOST_INCIDENTS:
            return
        names = []
        for one in pictures:
            if one.evidence.view == "close" or len(pictures) == 1:
                name = hashlib.sha256(one.jpeg).hexdigest()[:16]
                self._proof[name] = one.jpeg
                names.append(name)
        after_s = (data.at - data.opened_at).total_seconds()
        self._reports.append(Report(data.zone, data.rule, data.at.timestamp(), after_s, tuple(names)))

    def _see(self, frame: Frame, runner: CameraRunner | None) -> None:
        persons, detector = NOBODY, self._eyes.detector
        if detector is not None:
            persons = detector.detect(frame.rgb()).of(PERSON, min_score=PERSON_SCORE).boxes
        self._measure.see(persons)
        sharp = sharpness(frame.planes[: frame.height])
        self._best = max(self._best, sharp)
        zones = [zone.polygon for zone in self.camera.zone]
        seen: dict[str, Any] = {
            "state": "live",
            "text": "",
            "at_s": frame.time_s,
            "width": frame.width,
            "height": frame.height,
            "persons": np.round(persons, 4).tolist(),
            "sharp": round(sharp, 2),
            "best": round(self._best, 2),
            "sizes": [asdict(one) for one in self._measure.sizes(zones, frame.width, frame.height)],
            "by_plane": self._measure.plane is not None,
            "detector": detector is not None,
        }
        if runner is not None:
            runner.look(frame)
            snapshot = runner.snapshot(frame.time_s)
            outlook = runner.outlook
            seen["text"], seen["view"] = outlook.text, snapshot.state
            seen["zones"] = [asdict(zone) for zone in snapshot.zones]
        size = (min(WIDTH_PX, frame.width), round(min(WIDTH_PX, frame.width) * frame.height / frame.width))
        jpeg, _ = encode(self._masker.check(self._masker.mask(frame.rgb(size), persons, None)))
        number = self._state["number"] + 1
        self._pictures.append((number, jpeg))
        self._state = {**seen, "number": number}

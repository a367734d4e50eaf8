"""One camera watched for the page: its picture with people, aim and focus, and the test by the agent's own rules.

The page has a connection to the camera and a detector of its own, while somebody looks; the agent's are left alone.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, replace
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
from agent.setup.aim import Measure, item_needs_px, sharpness
from agent.uplink.outbox import Outbox
from agent.vision.naming import PERSON, PERSON_SCORE
from protocol.messages import INCIDENT_OPENED, ClockReport, IncidentEvent
from protocol.settings import MIN_AREA, Camera, FrontageZone

log = logging.getLogger(__name__)

FPS: Final = 2.0
WIDTH_PX: Final = 960
UNWATCHED_S: Final = 20.0
LEARN_S: Final = 10.0
DWELL_S: Final = 10.0
CLEAR_S: Final = 5.0
CROWD: Final = 1
"""In the test two people are a crowd."""
KEPT: Final = 4
"""Pictures: the page asks for the one that it was told of last."""
MOST_REPORTS: Final = 20


def for_test(camera: Camera) -> Camera:
    """The camera with times so short that somebody waits for them on a ladder."""
    short = {"dwell_s": DWELL_S, "clear_s": CLEAR_S, "active": ()}
    crowd = {"max_people": CROWD, "max_density": None, "loiter_s": None}
    zones = [one.model_copy(update=short | (crowd if one.kind == "gathering" else {})) for one in camera.zone]
    return camera.model_copy(update={"zone": tuple(zones), "sample_s": 1 / FPS})


class Watch(threading.Thread):
    """Watches one camera until nobody looks any more; `test`: the rules run."""

    def __init__(self, camera: Camera, source: Source, eyes: Eyes, timezone: ZoneInfo, *, test: bool) -> None:
        super().__init__(name=f"watch-{camera.id}", daemon=True)
        self.camera, self.test = for_test(camera) if test else camera, test
        self._source, self._eyes, self._timezone = replace(source, sample_s=1 / FPS), eyes, timezone
        self._masker, self._measure = Masker(eyes.face_model), Measure(camera.ground())
        self._looked_s = time.monotonic()
        self._pictures: deque[tuple[str, bytes]] = deque(maxlen=KEPT)
        self._proof: dict[str, bytes] = {}
        self._reports: list[dict[str, Any]] = []
        self._state: dict[str, Any] = {"number": 0, "state": "starting", "text": ""}
        self._best = 0.0
        self._closing = threading.Event()
        self._live: LiveCamera | None = None

    def look(self) -> dict[str, Any]:
        """What is seen now."""
        self._looked_s = time.monotonic()
        return {**self._state, "camera": self.camera.id, "test": self.test, "reports": self._reports}

    def picture(self, name: str) -> bytes | None:
        """A masked JPEG by its number, or that of an incident; None where it is gone."""
        return {**self._proof, **dict(tuple(self._pictures))}.get(name)

    def forget_best(self) -> None:
        """What was sharpest so far does not count."""
        self._best = 0.0

    def close(self) -> None:
        """End it; `join` waits."""
        self._closing.set()
        if self._live is not None:
            self._live.close()

    def run(self) -> None:
        """Watch; what fails is said on the page."""
        outbox = Outbox(None, now=time.time)
        try:
            runner = self._runner(outbox) if self.test else None
            with LiveCamera(self._source, time.time, time.monotonic) as live:
                self._live = live
                for event in live.events():
                    if self._closing.is_set() or time.monotonic() - self._looked_s > UNWATCHED_S:
                        return
                    if isinstance(event, Frame):
                        live.demand(FPS, 5.0)
                        self._see(event, runner)
                    elif event is not None and event.state != "live":  # that is said with its first picture
                        self._state = {**self._state, "state": event.state, "text": event.text}
        except Exception as fault:
            log.exception("set-up: camera %s", self.camera.id)
            self._state = {**self._state, "state": "failed", "text": f"{type(fault).__name__}: {fault}"[:200]}
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
        eyes, zone = self._eyes, self._timezone
        return CameraRunner(self.camera, zone, LEARN_S, eyes.detector, self._masker, reporter, crowd=eyes.crowd)

    def _tell(self, event: IncidentEvent, pictures: Sequence[Picture]) -> None:
        if event.type != INCIDENT_OPENED or len(self._reports) >= MOST_REPORTS:
            return
        shown = {one.evidence.sha256[:16]: one.jpeg for one in pictures if one.evidence.view == "close"}
        self._proof |= shown
        data = event.data
        report = {"zone": data.zone, "rule": data.rule, "at_s": data.at.timestamp(), "pictures": list(shown)}
        self._reports = [*self._reports, report | {"after_s": (data.at - data.opened_at).total_seconds()}]

    def _see(self, frame: Frame, runner: CameraRunner | None) -> None:
        persons, detector = NOBODY, self._eyes.detector
        if detector is not None:
            persons = detector.detect(frame.rgb()).of(PERSON, min_score=PERSON_SCORE).boxes
        self._measure.see(persons)
        sharp = sharpness(frame.planes[: frame.height])
        self._best = max(self._best, sharp)
        zones = [zone.polygon for zone in self.camera.zone]
        areas = [zone.min_area for zone in self.camera.zone if isinstance(zone, FrontageZone)] or [MIN_AREA]
        item_px = item_needs_px(frame.width, frame.height, max(areas))
        seen: dict[str, Any] = {
            "number": self._state["number"] + 1,
            "state": "live",
            "text": "",
            "width": frame.width,
            "height": frame.height,
            "persons": None if detector is None else np.round(persons, 4).tolist(),
            "sharp": sharp,
            "best": self._best,
            "sizes": [asdict(one) for one in self._measure.sizes(zones, frame.width, frame.height, item_px)],
            "item_px": item_px,
            "by_plane": self._measure.plane is not None,
        }
        if runner is not None:
            runner.look(frame)
            snapshot = runner.snapshot(frame.time_s)
            seen |= {"text": runner.outlook.text, "view": snapshot.state, "zones": list(map(asdict, snapshot.zones))}
        width = min(WIDTH_PX, frame.width)
        rgb = frame.rgb((width, round(width * frame.height / frame.width)))
        jpeg, _ = encode(self._masker.check(self._masker.mask(rgb, persons, None)))
        self._pictures.append((str(seen["number"]), jpeg))
        self._state = seen

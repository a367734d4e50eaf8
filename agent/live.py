"""The running agent: one thread per camera, one outbox, one session to the center."""

import logging
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final
from zoneinfo import ZoneInfo

from agent import VERSION
from agent.box.clock import Clock
from agent.box.identity import boot_id, load_key
from agent.box.state import StateFolder
from agent.camera.frame import Frame
from agent.camera.reader import Condition, LiveCamera
from agent.camera.source import Source
from agent.evidence.masking import Masker
from agent.reporter import Reporter
from agent.rules.life import Record, end
from agent.runner import CameraRunner, Outlook, rules_of
from agent.settings import BoxConfig
from agent.uplink.outbox import Outbox
from agent.uplink.session import Session
from agent.vision.crowds import CrowdCounter, load_counter
from agent.vision.detector import Detector, DetectorMissingError
from agent.vision.selection import SHIPPED, find_detector, find_face_model, open_detector, shipped_detector
from protocol.instants import from_epoch
from protocol.messages import BoxHealth, BoxStatus, CameraState, Model
from protocol.seal import public_key_text
from protocol.settings import Camera

log = logging.getLogger(__name__)

SHIPS: Final = f"{SHIPPED} is used, which ships with the project and knows people only; see `cityeye-models list`"
LEARN_S: Final = 60.0
HEALTH_S: Final = 60.0
KEEP_ACKNOWLEDGED_S: Final = 7 * 86400.0
RESTART_S: Final = 10.0
"""A camera whose pipeline failed starts again after this long."""


@dataclass(frozen=True)
class Eyes:
    """The detector, the counter of crowds and the face model of a box; each may be absent."""

    detector: Detector | None
    face_model: Path | None
    crowd: CrowdCounter | None = None

    @property
    def model(self) -> Model | None:
        """What messages say of the detector."""
        return None if self.detector is None else Model(name=self.detector.name, sha256=self.detector.sha256)


def open_eyes(config: BoxConfig) -> Eyes:
    """Load the detector; raises DetectorError. Says in one line what is missing and what to do.

    A detector that is named and not at hand is no error: the box does what it can with the one that ships.
    """
    section = config.settings.detector
    path, min_score = None, section.min_score
    try:
        path = find_detector(section.model, config.folder)
        if section.model is None:
            log.info("no detector is named: %s", SHIPS)
    except DetectorMissingError as fault:
        path = shipped_detector()
        min_score = None  # what suits one detector does not suit another
        log.warning("%s; until then %s", fault, SHIPS)
    detector = None
    if path is None:
        log.warning("no detector, as the settings say: encroachment works unnamed, crowding is unavailable")
    else:
        detector = open_detector(path, min_score)
        log.info("detector %s: %s, %dx%d", detector.name, detector.layout, *detector.input_size)
    face_model = find_face_model()
    if face_model is None:
        log.warning(
            "no face model: evidence is pixelated outside the item's place; "
            "put yunet-s-640.onnx into a folder of CITYEYE_MODELS to mask faces only"
        )
    counts = any(zone.kind == "gathering" for camera in config.settings.camera for zone in camera.zone)
    return Eyes(detector, face_model, load_counter() if detector is not None and counts else None)


def end_removed(reporter: Reporter, cameras: Sequence[Camera], at_s: float) -> None:
    """End incidents whose camera or zone is no longer in the settings."""
    zones = {camera.id: {zone.id: rules_of(zone) for zone in camera.zone} for camera in cameras}
    for row in reporter.outbox.incidents(open_only=True):
        if row.camera not in zones:
            reason = "camera_removed"
        elif row.rule not in zones[row.camera].get(row.zone, ()):
            reason = "rule_changed"
        else:
            continue
        log.info("camera %s zone %s incident %s: ended (%s)", row.camera, row.zone, row.incident, reason)
        reporter.report(end(Record.from_json(row.state), at_s, reason), [])


class CameraThread(threading.Thread):
    """Runs one camera; whatever happens to it happens to it alone."""

    def __init__(
        self, source: Source, make_runner: Callable[[], CameraRunner], session: Session | None, clock: Clock
    ) -> None:
        super().__init__(name=f"camera-{source.camera}")
        self._source = source
        self._make_runner = make_runner
        self._session = session
        self._clock = clock
        self._stopping = threading.Event()
        self._live: LiveCamera | None = None
        self._since_s = 0.0
        self._published: tuple[str, Outlook, int, str] | None = None

    def stop(self) -> None:
        """Ask the thread to end; `join` waits for it."""
        self._stopping.set()
        if self._live is not None:
            self._live.close()

    def run(self) -> None:
        """Go on until stopped; a failure of the pipeline is logged and the camera started again."""
        while not self._stopping.is_set():
            try:
                self._watch()
            except Exception:
                log.exception(
                    "camera %s: its pipeline failed; starting it again in %.0f s", self._source.camera, RESTART_S
                )
                self._stopping.wait(RESTART_S)

    def _watch(self) -> None:
        runner = self._make_runner()
        condition = Condition("starting", self._clock.now(), "", 0)
        with LiveCamera(self._source, now=self._clock.now, monotonic=self._clock.monotonic) as live:
            self._live = live
            if self._stopping.is_set():
                return
            for event in live.events():
                if isinstance(event, Frame):
                    runner.look(event)
                elif isinstance(event, Condition):
                    condition = event
                    if event.state in ("stalled", "lost"):
                        log.warning("camera %s: %s: %s", self._source.camera, event.state, event.text)
                        runner.hide(self._clock.now())
                    else:
                        log.info("camera %s: %s", self._source.camera, event.state)
                else:
                    runner.beat(self._clock.now())
                self._publish(condition, runner.outlook)
        now_s = self._clock.now()
        runner.hide(now_s)
        runner.close(now_s)
        self._publish(Condition("off", now_s, "the agent was stopped", 0), Outlook())

    def _publish(self, condition: Condition, outlook: Outlook) -> None:
        state = condition.state
        if state == "live" and outlook.state != "live":
            state = outlook.state
        elif state == "live" and outlook.learning_zones:
            state = "learning"
        text = "; ".join(part for part in (condition.text, outlook.text) if part)
        key = (state, outlook, condition.restarts, text)
        if self._session is None or key == self._published:
            return
        changed = self._published is None or state != self._published[0]
        self._since_s = self._clock.now() if changed else self._since_s
        self._published = key
        self._session.publish_camera(
            CameraState(
                camera=self._source.camera,
                state=state,
                since=from_epoch(self._since_s),
                text=text,
                restarts=condition.restarts,
                learning_zones=outlook.learning_zones,
                unavailable_zones=outlook.unavailable_zones,
            )
        )


def run(config: BoxConfig, clock: Clock) -> None:
    """Run the agent until SIGTERM or SIGINT."""
    settings = config.settings
    with StateFolder(config.state_dir) as folder:
        eyes = open_eyes(config)
        sources = [Source.from_camera(camera, config) for camera in settings.camera]
        key = load_key(folder.path)
        outbox = Outbox(folder.path / "outbox.db", now=clock.now)
        reporter = Reporter(
            site=settings.box.site,
            box=settings.box.id,
            settings_digest=settings.digest(),
            model=eyes.model,
            key=key,
            outbox=outbox,
            clock=clock.report,
            tell=lambda _event, _pictures: None,
        )
        end_removed(reporter, settings.camera, clock.now())
        session = None
        if settings.center is not None:
            status = BoxStatus(state="online", boot_id=boot_id(), version=VERSION, public_key=public_key_text(key))
            session = Session(
                settings.center, config.folder, settings.box.site, settings.box.id, outbox, status, now=clock.now
            )
        threads = [
            CameraThread(source, _maker(camera, config, eyes, reporter, folder.path), session, clock)
            for camera, source in zip(settings.camera, sources, strict=True)
        ]
        stopping = threading.Event()

        def stop(_signal: int, _frame: FrameType | None) -> None:
            stopping.set()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        log.info("box %s at site %s: %d cameras", settings.box.id, settings.box.site, len(threads))
        if session is not None:
            session.start()
        for thread in threads:
            thread.start()
        while not stopping.wait(HEALTH_S):
            outbox.prune(KEEP_ACKNOWLEDGED_S)
            if session is not None:
                session.publish_health(_health(outbox, clock, eyes))
        log.info("stopping")
        for thread in threads:
            thread.stop()
        for thread in threads:
            thread.join(10)
        if session is not None:
            session.stop()
        outbox.close()


def _maker(
    camera: Camera, config: BoxConfig, eyes: Eyes, reporter: Reporter, state_dir: Path
) -> Callable[[], CameraRunner]:
    return lambda: CameraRunner(
        camera=camera,
        timezone=ZoneInfo(config.settings.box.timezone),
        learn_s=LEARN_S if camera.learn_s is None else camera.learn_s,
        detector=eyes.detector,
        masker=Masker(eyes.face_model),
        reporter=reporter,
        state_dir=state_dir,
        crowd=eyes.crowd,
    )


def _health(outbox: Outbox, clock: Clock, eyes: Eyes) -> BoxHealth:
    figures = outbox.figures()
    report = clock.report()
    return BoxHealth(
        uptime_s=report.uptime_s,
        waiting_messages=figures.waiting,
        oldest_waiting_s=figures.oldest_waiting_s,
        parked_messages=figures.parked,
        state_bytes=figures.bytes,
        clock=report,
        model=eyes.model,
    )

"""The running agent: one thread per camera, one outbox, one session to the center."""

import contextlib
import logging
import queue
import signal
import threading
from collections import deque
from collections.abc import Callable, Container, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import median
from types import FrameType
from typing import Any, Final, Self, TypeVar
from zoneinfo import ZoneInfo

import cv2

from agent import VERSION
from agent.box import memory
from agent.box.clock import Clock
from agent.box.detectors import is_whole
from agent.box.door import Door
from agent.box.enrolment import Renewal
from agent.box.load import Load
from agent.box.power import read_power
from agent.box.standing import Board, Standing
from agent.box.writes import Writes
from agent.camera.errors import CameraError
from agent.camera.events import KEYS_EVERY_S
from agent.camera.frame import Frame
from agent.camera.nursery import nursery
from agent.camera.process import Figures
from agent.camera.reader import Condition, LiveCamera, first_look
from agent.camera.source import Source
from agent.evidence.masking import Masker
from agent.evidence.pictures import Picture, shoot
from agent.evidence.samples import EVERY_S, Sample, Samples
from agent.line import Line
from agent.reporter import Reporter
from agent.rollout import Rollout
from agent.rules.life import Record, end
from agent.runner import NOBODY, CameraRunner, Outlook, rules_of
from agent.settings import BoxConfig
from agent.update import Update
from agent.uplink.executor import Executor, Journal
from agent.uplink.outbox import OutboxError
from agent.uplink.session import Session
from agent.verbs import verbs_of
from agent.vision.attention import Attention
from agent.vision.crowds import CrowdCounter, load_counter
from agent.vision.detector import Detector
from agent.vision.errors import DetectorError, DetectorMissingError
from agent.vision.naming import PERSON
from agent.vision.providers import Plan
from agent.vision.selection import SHIPPED, find_detector, find_face_model, open_as, shipped_detector
from agent.vision.still import StillScene
from agent.vision.tuned import cores
from agent.wishes import Wishes
from protocol.documents import SettingsError
from protocol.instants import from_epoch
from protocol.messages import (
    MAX_COUNTS,
    BoxHealth,
    CameraLoad,
    CameraState,
    DetectorLoad,
    IncidentEvent,
    Model,
    ZoneCount,
)
from protocol.settings import Camera, CamerasDocument, Zone
from protocol.supervision import notify

log = logging.getLogger(__name__)

Tell = Callable[[IncidentEvent, Sequence[Picture]], None]
SHIPS: Final = f"{SHIPPED} is used, which ships with the project and knows people only; see `cityeye-models list`"
LEARN_S: Final = 60.0
TEND_S: Final = 5.0
HEALTH_S: Final = 60.0
REMEMBER_S: Final = 600.0
"""Each writes six pages to the card; what the outbox holds tells the time as well."""
KEEP_ACKNOWLEDGED_S: Final = 7 * 86400.0
START_GAP_S: Final = 0.1
START_ALL_S: Final = 2.0
"""Cameras are opened one after the other: files in step would all be decoded at the same moment, for ever."""
HOUR_S: Final = 0.5
"""The hour of samples takes one picture in this time, whatever the number of cameras: each is searched for faces."""
LAGS: Final = 500
RESTART_S: Final = 10.0
"""A camera whose pipeline failed starts again after this long."""
ENDS_S: Final = 0.5
JOIN_S: Final = 10.0
"""A camera's thread ends within a second or two, unless what it waits for does not answer."""
OFF_S: Final = 10.0
"""A measure of the center's time that may be further off does not tell whether a command has expired."""
ASKED_FPS: Final = 2.0
ASKED_S: Final = 5.0
"""Whoever asks waits for a picture, so they come more often for a while."""
ASKED_MAIN_FPS: Final = 1 / KEYS_EVERY_S
"""Where there is a sub-stream, no more than key frames bring: it would be opened, and is no answer."""

T = TypeVar("T")


@dataclass(frozen=True)
class Eyes:
    """The detector, the counter of crowds and the face model of a box; each may be absent."""

    detector: Detector | None
    face_model: Path | None
    crowd: CrowdCounter | None = None
    path: Path | None = None
    """The detector's file."""

    @property
    def model(self) -> Model | None:
        """What messages say of the detector."""
        return None if self.detector is None else Model(name=self.detector.name, sha256=self.detector.sha256)

    def attention(self, cpu_share: float) -> Attention:
        """Who shares the detector out, at the pace of real time."""
        plan = Plan() if self.detector is None else self.detector.plan
        return Attention(cpu_share * cores(), workers=plan.streams, threads=max(1, plan.threads))


def open_eyes(config: BoxConfig, cameras: int = 1, rolled_out: Path | None = None) -> Eyes:
    """Load the detector; raises DetectorError. Says in one line what is missing and what to do.

    A detector that is named and not at hand is no error: the box does what it can with the one that ships.

    Args:
        config: the box's settings.
        cameras: that are watched at a time.
        rolled_out: file of the detector that the center has rolled out here; it goes before one that is named.
    """
    section = config.settings.detector
    path, min_score = rolled_out, None  # what suits one detector does not suit another
    try:
        if path is None:
            path, min_score = find_detector(section.model, config.folder), section.min_score
            if section.model is None:
                log.info("no detector is named: %s", SHIPS)
    except DetectorMissingError as fault:
        path = shipped_detector()
        log.warning("%s; until then %s", fault, SHIPS)
    detector = None
    if path is None:
        log.warning("no detector, as the settings say: encroachment works unnamed, crowding is unavailable")
    else:
        detector = open_as(path, min_score, section.provider, section.precision, cameras)
        log.info("detector %s: %s, %dx%d, %s", detector.name, detector.layout, *detector.input_size, detector.plan)
    face_model = find_face_model()
    if face_model is None:
        log.warning(
            "no face model: evidence is pixelated outside the item's place; "
            "put yunet-s-640.onnx into a folder of CITYEYE_MODELS to mask faces only"
        )
    return Eyes(detector, face_model, open_crowd(detector, config.settings.camera), path)


def open_crowd(detector: Detector | None, cameras: Sequence[Camera]) -> CrowdCounter | None:
    """Load the counter of crowds, where people are counted at all."""
    counts = any(zone.kind == "gathering" for camera in cameras for zone in camera.zone)
    return load_counter(threads=detector.plan.threads) if detector is not None and counts else None


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


@dataclass(frozen=True)
class _Question:
    """What somebody wants to know of a picture.

    Args:
        small: whether one of the sub-stream serves as well.
    """

    ask: Callable[[CameraRunner, Frame], Any]
    small: bool
    answer: "Future[Any]" = field(default_factory=Future)

    def put_to(self, runner: CameraRunner, frame: Frame) -> None:
        """Answer it, unless nobody waits any more."""
        if self.answer.set_running_or_notify_cancel():
            try:
                self.answer.set_result(self.ask(runner, frame))
            except Exception as fault:  # noqa: BLE001 - it is raised again where it was asked
                self.answer.set_exception(fault)


class CameraThread(threading.Thread):
    """Runs one camera; whatever happens to it happens to it alone.

    Args:
        zones: the camera's.
        source: where its pictures come from.
        make_runner: makes its pipeline, anew after a failure.
        session: told of its state.
        clock: the time.
        delay_s: it begins after this long.
        after: threads of this camera that were told to end and have not: it begins once they have.
        show: gets each picture once it was looked at.
    """

    def __init__(
        self,
        zones: Sequence[Zone],
        source: Source,
        make_runner: Callable[[], CameraRunner],
        session: Session | None,
        clock: Clock,
        delay_s: float = 0.0,
        after: Sequence["CameraThread"] = (),
        show: Callable[[str, Frame], None] = lambda _camera, _frame: None,
    ) -> None:
        super().__init__(name=f"camera-{source.camera}")
        self.camera, self.zones = source.camera, zones
        self.failures = 0
        """How often its pipeline failed."""
        self.failure = ""
        """How it did last."""
        self.condition = Condition("starting", clock.now(), "", 0)
        """How its reader is."""
        self._questions: queue.SimpleQueue[_Question] = queue.SimpleQueue()
        self._source = source
        self._make_runner = make_runner
        self._session = session
        self._clock = clock
        self._delay_s = delay_s
        self._after = after
        self._show = show
        self.lags_s: deque[float] = deque(maxlen=LAGS)
        """Age of the last pictures when all was decided on them."""
        self.frame_s: float | None = None
        """Time of the newest picture."""
        self._stopping = threading.Event()
        self._again = threading.Event()
        """Whether a pipeline that failed may begin anew at once."""
        self._live: LiveCamera | None = None
        self._runner: CameraRunner | None = None
        self._since_s = 0.0
        self._published: tuple[str, Outlook, int, str] | None = None

    @property
    def figures(self) -> Figures:
        """What was read of the camera so far."""
        return Figures() if self._live is None else self._live.figures

    @property
    def samples(self) -> Sequence[Sample]:
        """The last hour in small, oldest first."""
        return () if self._runner is None else tuple(self._runner.samples)

    @property
    def hour_bytes(self) -> int:
        """What the hour of samples takes."""
        return 0 if self._runner is None else self._runner.samples.bytes

    @property
    def state(self) -> str:
        """What it last published of itself."""
        if self._published is None:
            return "starting"
        state, _, _, text = self._published
        return f"{state} ({text})" if text else state

    def load(self) -> CameraLoad:
        """How its pictures come."""
        lags_s = list(self.lags_s)
        return CameraLoad(
            camera=self.camera,
            frame_age_s=None if self.frame_s is None else round(max(0.0, self._clock.now() - self.frame_s), 2),
            decided_s=round(max(0.0, median(lags_s)), 2) if lags_s else None,
        )

    def counts(self) -> tuple[ZoneCount, ...]:
        """How many people were counted in its zones since this was last asked."""
        runner = self._runner
        return () if runner is None else runner.footfall.take()

    @property
    def has_sub(self) -> bool:
        """Whether there is a sub-stream as well."""
        return self._source.sub is not None

    def look_by(self, detector: Detector | None) -> None:
        """Use another detector from the next look on; a pipeline that failed begins anew with it."""
        if self._runner is not None:
            self._runner.detector = detector
        self._again.set()

    def ask(self, question: Callable[[CameraRunner, Frame], T], *, small: bool = False) -> "Future[T]":
        """Have a question answered on this thread, with the next picture once that was looked at.

        Args:
            question: gets the runner and the picture.
            small: whether a picture of the sub-stream serves as well; else the main stream's next one is waited for.
        """
        asked = _Question(question, small)
        self._questions.put(asked)
        if self._live is not None:
            self._live.demand(ASKED_MAIN_FPS if self.has_sub else ASKED_FPS, ASKED_S)
        return asked.answer

    def _answer(self, runner: CameraRunner, frame: Frame) -> None:
        asked: list[_Question] = []
        with contextlib.suppress(queue.Empty):
            while True:
                asked.append(self._questions.get_nowait())
        for one in asked:
            if one.small or not frame.sub:
                one.put_to(runner, frame)
            elif not one.answer.cancelled():
                self._questions.put(one)

    def stop(self) -> None:
        """Ask the thread to end; `join` waits for it."""
        self._stopping.set()
        self._again.set()
        if self._live is not None:
            self._live.close()

    def run(self) -> None:
        """Go on until stopped; a failure of the pipeline is logged and the camera started again."""
        self._stopping.wait(self._delay_s)
        self._wait_for_others()
        while not self._stopping.is_set():
            try:
                self._watch()
            except Exception as fault:
                self.failures, self.failure = self.failures + 1, f"{type(fault).__name__}: {fault}"[:200]
                log.exception(
                    "camera %s: its pipeline failed; starting it again in %.0f s", self._source.camera, RESTART_S
                )
                self._again.wait(RESTART_S)
                self._again.clear()

    def _wait_for_others(self) -> None:
        """Two that watch one camera would report its incidents twice."""
        text = "its last pipeline does not end; it begins once that has"
        while not self._stopping.is_set() and any(one.is_alive() for one in self._after):
            self._publish(Condition("starting", self._clock.now(), text, 0), Outlook())
            self._stopping.wait(ENDS_S)
        self._after = ()

    def _watch(self) -> None:
        runner = self._runner = self._make_runner()
        condition = self.condition = Condition("starting", self._clock.now(), "", 0)
        with LiveCamera(self._source, now=self._clock.now, monotonic=self._clock.monotonic) as live:
            self._live = live
            if self._stopping.is_set():
                return
            for event in live.events():
                if isinstance(event, Frame):
                    self.frame_s = event.time_s
                    runner.look(event)
                    self._answer(runner, event)
                    self._show(self.camera, event)
                    self.lags_s.append(self._clock.now() - event.time_s)
                    demand = runner.demand(event.time_s)
                    live.demand(demand.fps, demand.until_s - event.time_s)
                elif isinstance(event, Condition):
                    condition = self.condition = event
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


def _put(executor: Executor, take: Callable[[bytes], None], payload: bytes) -> None:
    executor.put(lambda: take(payload))


def _end(threads: Sequence[CameraThread]) -> tuple[CameraThread, ...]:
    """End threads; returns those that do not."""
    for thread in threads:
        thread.stop()
    for thread in threads:
        thread.join(JOIN_S)
    left = tuple(thread for thread in threads if thread.is_alive())
    for thread in left:
        log.error("camera %s: its thread does not end within %.0f s", thread.camera, JOIN_S)
    return left


class Agent:
    """The agent of one box, from its start to its end; inside `with`.

    Args:
        config: its settings.
        clock: the time.
        tell: hears of each message as it is made.
        source_of: says where a camera's pictures come from.
        on_restart: called when the center wants the agent started again.
        line: one that is open already; default: its own.
    """

    def __init__(
        self,
        config: BoxConfig,
        clock: Clock,
        tell: Tell = lambda _event, _pictures: None,
        source_of: Callable[[Camera, BoxConfig], Source] = Source.from_camera,
        on_restart: Callable[[], None] = lambda: None,
        line: Line | None = None,
    ) -> None:
        self.config, self.clock, self._tell, self._source_of = config, clock, tell, source_of
        self._on_restart = on_restart
        self.door = Door(config.state_dir, clock.now)
        self.restarting = False
        """Whether it is to be started again once it has ended."""
        self.wishes: Wishes | None = None
        """Settings that the center wants; None where there is no center, and `box.toml` is what counts."""
        self.rollout: Rollout | None = None
        """The detector that the center wants; None where there is no center."""
        self.update: Update | None = None
        """The system that the center wants; None where there is no center."""
        self.cameras: list[CameraThread] = []
        self._hours: dict[str, tuple[object, Samples]] = {}
        """What a camera shows, and its hour of samples."""
        self._lingering: tuple[CameraThread, ...] = ()
        """Threads that were told to end and have not."""
        self._line, self._lent = line or Line(config, clock), line is not None
        self._session: Session | None = None
        self._executor: Executor | None = None
        self._load, self._kept_house_s, self._remembered_s = Load(), clock.monotonic(), float("-inf")
        self.examining, self.writes = threading.Lock(), Writes(clock.monotonic)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with self._stack:
            self._open()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _open(self) -> None:
        clock, settings = self.clock, self.config.settings
        line = self._line
        if not self._lent:
            self._stack.enter_context(line)
        self.log_tail, self.outbox, self.encryption_key = line.log_tail, line.outbox, line.encryption_key
        if settings.center is not None:
            self.wishes = self._make_wishes(line.folder)
            self.config = self.config.with_cameras(self.wishes.document)
            self.rollout, self.update = Rollout(self), Update(self)
        cameras = self.config.settings.camera
        sources = [self._source_of(camera, self.config) for camera in cameras]
        self.eyes = Eyes(None, None)
        self.attention = self.eyes.attention(settings.detector.cpu_share)
        self._reporter = Reporter(
            site=settings.box.site,
            box=settings.box.id,
            settings_digest=self.config.settings.digest(),
            model=None,
            key=line.key,
            outbox=line.outbox,
            clock=clock.report,
            tell=self._tell,
        )
        if clock.lost_s:
            self._move(clock.lost_s)
        self._renewal = Renewal(line.folder, VERSION, clock.now, clock.monotonic)
        if line.session is not None and self.wishes is not None:
            self._attend(line, line.session, self.wishes)
        self._stack.callback(self._close)
        nursery().warm()  # it loads while the detector does
        self.eyes = eyes = self._open_eyes()
        self._reporter.model = eyes.model
        self._masker = Masker(eyes.face_model)
        self.attention = eyes.attention(settings.detector.cpu_share)
        end_removed(self._reporter, cameras, clock.now())
        self.cameras = self._threads(cameras, sources)
        log.info("box %s at site %s: %d cameras", settings.box.id, settings.box.site, len(self.cameras))
        for thread in self.cameras:
            thread.start()
        if self._executor is not None:
            self._executor.start()

    def _open_eyes(self) -> Eyes:
        """Load the detector in use; one that was rolled out and cannot be used is taken back."""
        while self.rollout is not None and self.rollout.path is not None:
            try:
                return self._seen_by(self.rollout.path)
            except DetectorError as fault:
                self.rollout.failed(str(fault))
        return self._seen_by(None)

    def _seen_by(self, rolled_out: Path | None) -> Eyes:
        """Load a detector; one that was rolled out is watched."""
        if rolled_out is not None and not is_whole(rolled_out):
            raise DetectorError(f"{rolled_out}: expected the file that was fetched, it is damaged or gone")
        eyes = open_eyes(self.config, len(self.config.settings.camera), rolled_out)
        detector, rollout = eyes.detector, self.rollout
        if rolled_out is None or detector is None or rollout is None:
            return eyes
        return replace(eyes, detector=detector.watched(rollout.crashed))

    def look_by(self, rolled_out: Path | None) -> None:
        """Have all cameras go on with another detector; raises DetectorError."""
        eyes = self._seen_by(rolled_out)
        self.eyes = replace(eyes, crowd=self.eyes.crowd or eyes.crowd)
        self._reporter.model = eyes.model
        for thread in self.cameras:
            thread.look_by(eyes.detector)

    def _make_wishes(self, state_dir: Path) -> Wishes:
        return Wishes(
            site=self.config.settings.box.site,
            box=self.config.settings.box.id,
            folder=state_dir,
            seed=self.config.document,
            check=self._missing,
            apply=self._apply,
            failing=lambda: {thread.camera: thread.failure for thread in self.cameras if thread.failures},
            publish=self.publish,
            connects=lambda: self.connects,
            now=self.clock.now,
            monotonic=self.clock.monotonic,
        )

    def _attend(self, line: Line, session: Session, wishes: Wishes) -> None:
        """Take what the center asks."""
        clock, box = self.clock, self.config.settings.box
        journal = self._stack.enter_context(closing(Journal(line.folder / "commands.db")))
        self._session = session
        self._executor = executor = Executor(
            site=box.site,
            box=box.id,
            journal=journal,
            verbs=verbs_of(self),
            publish=self.publish,
            now=clock.now,
            monotonic=clock.monotonic,
            center_now=self._center_now,
            tick=self._tick,
        )
        handlers = {
            "command": executor.take,
            "settings/desired": lambda payload: executor.put_newest(lambda: wishes.take(payload)),
        }
        for leaf, one in (("model/desired", self.rollout), ("system/desired", self.update)):
            if one is not None:
                handlers[leaf] = partial(_put, executor, one.take)
        session.greeting = self.health
        for camera in line.retained.cameras() - {one.id for one in self.config.settings.camera}:
            session.forget_camera(camera)
        session.attend(handlers)

    @property
    def connects(self) -> int:
        """How often the line was made."""
        return 0 if self._session is None else self._session.connects

    @property
    def reached(self) -> bool:
        """Whether the center itself, and not its broker alone, has answered on the line that there is."""
        return self._session is not None and self._session.connected and self._session.answered

    def publish(self, leaf: str, payload: bytes, **more: Any) -> bool:
        """Send on one of the box's leaves; False where there is no line."""
        return self._session is not None and self._session.publish(leaf, payload, **more)

    def _center_now(self) -> float | None:
        """The center's time: as measured, else by this box's clock where that is right; None where nobody knows."""
        report = self.clock.report()
        if report.offset_s is not None and report.offset_error_s is not None and report.offset_error_s <= OFF_S:
            return self.clock.now() + report.offset_s
        return self.clock.now() if report.state == "synchronised" else None

    def _threads(self, cameras: Sequence[Camera], sources: Sequence[Source]) -> list[CameraThread]:
        # each camera has a thread of its own: more would only get into their way
        cv2.setNumThreads(1 if len(self.config.settings.camera) > 1 else 0)
        delay_s = min(START_GAP_S, START_ALL_S / max(1, len(sources)))
        lingering = self._lingering
        return [
            CameraThread(
                camera.zone,
                source,
                self._maker(camera),
                self._session,
                self.clock,
                number * delay_s,
                [thread for thread in lingering if thread.camera == camera.id],
                self._show,
            )
            for number, (camera, source) in enumerate(zip(cameras, sources, strict=True))
        ]

    def _show(self, camera: str, frame: Frame) -> None:
        if self.rollout is not None:
            self.rollout.offer(camera, frame)

    def _missing(self, document: CamerasDocument) -> list[str]:
        """What this box lacks for a document: a file, a secret."""
        config, found = self.config.with_cameras(document), []
        for camera in document.camera:
            try:
                self._source_of(camera, config)
            except (SettingsError, CameraError) as fault:
                found.append(str(fault))
        return found

    def _apply(self, document: CamerasDocument, renewed: Container[str] = ()) -> list[str]:
        """Watch what a document says; cameras that did not change go on. Returns the ids of those that began anew.

        Args:
            document: cameras, zones and rules.
            renewed: cameras that start again although they did not change.
        """
        config = self.config.with_cameras(document)
        before = {camera.id: camera for camera in self.config.settings.camera}
        wanted = {camera.id: camera for camera in document.camera}
        new = [one for one in document.camera if one != before.get(one.id) or one.id in renewed]
        sources = [self._source_of(camera, config) for camera in new]
        ended = [
            thread
            for thread in self.cameras
            if thread.camera in renewed or wanted.get(thread.camera) != before.get(thread.camera)
        ]
        self._lingering += _end(ended)
        self.config = config
        self._reporter.settings_digest = config.settings.digest()
        end_removed(self._reporter, document.camera, self.clock.now())
        for thread in ended:
            if thread.camera not in wanted:
                self._hours.pop(thread.camera, None)
                if self._session is not None:
                    self._session.forget_camera(thread.camera)
        if self.eyes.crowd is None:
            self.eyes = replace(self.eyes, crowd=open_crowd(self.eyes.detector, document.camera))
        started = self._threads(new, sources)
        self.cameras = [thread for thread in self.cameras if thread not in ended] + started
        for thread in started:
            thread.start()
        return [camera.id for camera in new]

    def _tick(self) -> None:
        """What is done about once a second on the executor's thread, which also puts settings in force."""
        if self.wishes is not None:
            self._take_drawn(self.wishes)
            self.wishes.tick()
        for one in (self.rollout, self.update):
            if one is not None:
                one.tick()
        self._let_go()

    def _take_drawn(self, wishes: Wishes) -> None:
        """Take what was drawn on the set-up page."""
        taken = self.door.take()
        if taken is None:
            return
        document, renewed = taken
        wishes.edit(document)
        for name in renewed:
            self.renew_secret(name)

    def _let_go(self) -> None:
        """Clear up behind threads that have ended at last: what they said then may be of a camera that is gone."""
        ended = [thread for thread in self._lingering if not thread.is_alive()]
        if not ended:
            return
        self._lingering = tuple(thread for thread in self._lingering if thread not in ended)
        cameras = self.config.settings.camera
        end_removed(self._reporter, cameras, self.clock.now())
        for camera in {thread.camera for thread in ended}:
            log.warning("camera %s: its thread has ended at last", camera)
            if self._session is not None and camera not in {one.id for one in cameras}:
                self._session.forget_camera(camera)

    def renew_secret(self, name: str) -> list[str]:
        """Start the cameras again that use a secret; returns their ids. Settings that lacked it are taken after all."""
        self._apply(self.config.document, self._users(name))
        if self.wishes is not None:
            self.wishes.take_again()
        return self._users(name)

    def _users(self, secret: str) -> list[str]:
        return [camera.id for camera in self.config.settings.camera if camera.credentials == secret]

    def restart(self) -> None:
        """End in order, to be started again."""
        self.restarting = True
        self._on_restart()

    def _close(self) -> None:
        if self._executor is not None:
            self._executor.stop()
        for one in (self.rollout, self.update):
            if one is not None:
                one.close()
        _end(self.cameras)
        self.clock.remember(self.config.state_dir)

    @property
    def connected(self) -> bool:
        """Whether there is a line to the center."""
        return self._session is not None and self._session.connected

    @property
    def standing(self) -> Standing:
        """How the box stands, for people before it."""
        box, setup = self.config.settings.box, self.config.settings.setup
        page = self.door.address(setup.port)
        return Standing(
            box=box.id,
            site=box.site,
            connected=None if self._session is None else self.connected,
            cameras={thread.camera: thread.state for thread in self.cameras},
            page=page,
            pin=self.door.plate.pin if page else "",
        )

    @property
    def figures(self) -> Figures:
        """What was read of all cameras so far."""
        figures = [thread.figures for thread in self.cameras]
        return Figures(
            read=sum(one.read for one in figures),
            decoded=sum(one.decoded for one in figures),
            dropped=sum(one.dropped for one in figures),
        )

    def tend(self) -> None:
        """What is done every TEND_S: write what a full disk did not take, fit the detector's budget, keep house."""
        memory.give_back()
        if self.clock.follow():
            # on the thread that ends and begins cameras
            if self._executor is None:
                self._set_clock()
            else:
                self._executor.put(self._set_clock)
        if self.outbox.write_down():
            self._reporter.tell_dropped(self.clock.now())
        busy_share = self._load.busy_share()
        if busy_share is not None:
            # a board that is hot or short of power does less until it is not
            busy_share = 1.0 if read_power().strained else busy_share
            self.attention.fit(busy_share * cores(), cores())
        if self.clock.monotonic() - self._kept_house_s >= HEALTH_S:
            self._kept_house_s = self.clock.monotonic()
            self._keep_house()
        self._renewal.tend()

    def _set_clock(self) -> None:
        """The clock is right for the first time: cameras begin anew, and what they have found is moved with it."""
        self._lingering += _end(self.cameras)
        step_s = self.clock.jump()
        self._move(step_s)
        self._hours.clear()
        try:
            self._apply(self.config.document, {camera.id for camera in self.config.settings.camera})
        except (SettingsError, CameraError) as fault:
            log.warning("the cameras cannot begin anew (%s); the agent is started again", fault)
            self.restart()

    def _move(self, step_s: float) -> None:
        """Move what is kept by the clock: open incidents and what stands in scenes would be older than they are."""
        self._reporter.move(step_s)
        for path in (self.config.state_dir / "scenes").glob("*.npz"):
            with contextlib.suppress(Exception):  # a damaged one is told of when it is loaded
                scene = StillScene.load(path, LEARN_S)
                scene.shift(step_s)
                scene.save(path)

    def _keep_house(self) -> None:
        """Forget what the center has had for long, say how the box is."""
        try:
            self.outbox.prune(KEEP_ACKNOWLEDGED_S)
        except OutboxError as fault:
            log.warning("what the center has is not forgotten: %s", fault)
        if self.clock.monotonic() - self._remembered_s >= REMEMBER_S:
            self._remembered_s = self.clock.monotonic()
            self.clock.remember(self.config.state_dir)
        self.writes.note(self.outbox.taken_bytes)
        if self._session is not None:
            counts = tuple(count for thread in self.cameras for count in thread.counts())
            self._session.publish_health(self.health().model_copy(update={"counts": counts[:MAX_COUNTS]}))

    def _maker(self, camera: Camera) -> Callable[[], CameraRunner]:
        def make() -> CameraRunner:
            runner = CameraRunner(
                camera=camera,
                timezone=ZoneInfo(self.config.settings.box.timezone),
                learn_s=LEARN_S if camera.learn_s is None else camera.learn_s,
                detector=self.eyes.detector,
                masker=self._masker,
                reporter=self._reporter,
                state_dir=self.config.state_dir,
                crowd=self.eyes.crowd,
                attention=self.attention,
                hour_every_s=max(EVERY_S, HOUR_S * len(self.config.settings.camera)),
            )
            self._keep_hour(camera, runner)
            return runner

        return make

    def _keep_hour(self, camera: Camera, runner: CameraRunner) -> None:
        """Go on with a camera's hour of samples where its picture is the same: zones are drawn anew and tried."""
        shows = camera.source, camera.substream, camera.mask
        known = self._hours.get(camera.id)
        if known is not None and known[0] == shows:
            known[1].every_s = runner.samples.every_s
            runner.samples = known[1]
        self._hours[camera.id] = shows, runner.samples

    def look_once(self, camera: Camera) -> tuple[Picture, str]:
        """A masked picture of a camera that is in no settings yet, and what its stream is.

        Raises SettingsError for a missing secret, CameraError where no picture comes.
        """
        frame, stream = first_look(self._source_of(camera, self.config))
        rgb, detector = frame.rgb(), self.eyes.detector
        persons = NOBODY if detector is None else detector.detect(rgb).of(PERSON).boxes
        at_s = self.clock.now()
        (picture,) = shoot(rgb, self._masker, place=None, keep=None, persons=persons, role="snapshot", taken_at_s=at_s)
        return picture, stream

    def health(self) -> BoxHealth:
        """How the box is doing."""
        read, looks = self.figures, self.attention.figures
        detector = DetectorLoad(
            looks=looks.looks,
            stretch=looks.stretch,
            wait_p50_s=looks.wait_p50_s,
            wait_p99_s=looks.wait_p99_s,
            late_s=looks.late_s,
            look_s=looks.look_s,
        )
        seen = {
            "model": self.eyes.model,
            "detector": detector,
            "frames_decoded": read.decoded,
            "frames_dropped": read.dropped,
            "written_bytes": self.writes.bytes,
            "written_limit_bytes": self.writes.limit_bytes,
            "cameras": tuple(thread.load() for thread in self.cameras),
        }
        return self._line.health().model_copy(update=seen)


def run(
    config: BoxConfig, clock: Clock, beside: Callable[[bool], None] = lambda _connected: None, line: Line | None = None
) -> bool:
    """Run the agent until SIGTERM or SIGINT, or until the center wants it started again: then returns True.

    Args:
        config: its settings.
        clock: the time.
        beside: called every TEND_S as well, with whether the agent is connected; does not raise.
        line: one that is open already.
    """
    stopping = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopping.set()

    with Agent(config, clock, on_restart=stopping.set, line=line) as agent:
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        notify("READY=1")
        board = Board(config.settings.setup.run_dir)
        while not stopping.wait(TEND_S):
            agent.tend()
            beside(agent.connected)
            board.post(agent.standing)
            notify("WATCHDOG=1")
        notify("STOPPING=1")
        log.info("stopping")
    nursery().close()
    return agent.restarting

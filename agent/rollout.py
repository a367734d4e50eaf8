"""A detector that the center rolls out: fetched, compared in a shadow run, tried, taken or taken back, reported.

```
 desired ─▶ signed? for this board and detector? ─▶ fetching ─▶ shadow ─▶ trial ─▶ taken
                 └─▶ refused                            └─▶ refused, undecided   └─▶ rolled_back, whenever it fails
```

What is decided is on the disk before it takes effect. Everything but `offer`, `crashed` and the work of `_Job` happens
on the executor's thread.
"""

import contextlib
import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from agent.box import detectors
from agent.box.detectors import FetchError, Standing, file_of
from agent.box.enrolment import EnrolmentError, own_ca
from agent.camera.frame import Frame
from agent.settings import BoxConfig
from agent.shadow import ShadowError, shadow, verdict
from agent.uplink.executor import plain
from agent.vision.detector import DetectorError
from agent.vision.selection import is_pinned
from protocol.detectors import Manifest, ModelDesired, ModelDesiredEvent, ModelReported, ModelReportedEvent, verified
from protocol.instants import from_epoch
from protocol.messages import MessageError, Model, dataschema, read_event, source

log = logging.getLogger(__name__)

LASTS_S: Final = 600.0
"""A detector that has run for so long is taken, and so is a start of the agent that has."""
SHADOW_S: Final = 86_400.0
"""A street shows in a day what it has to show."""
EVERY_S: Final = 4.0
"""Between two pictures of a shadow run: two looks by a process that gives way to all others."""
WIDEST: Final = 960
"""Pixels of a picture there; detectors take less."""
AGAIN_S: Final = (5.0, 300.0)
"""Between two tries to reach the center, doubling."""
GOES_ON: Final = ("fetching", "shadow")


@dataclass(frozen=True)
class InUse:
    """The detector that looks, its file, and the score below which detections are dropped."""

    model: Model
    path: Path
    min_score: float


@dataclass
class Rollout:
    """The box's side of `model/desired` and `model/reported`.

    Args:
        config: the box's settings.
        in_use: the detector that looks; None: there is none.
        use: has another one look, the file of one that was rolled out, or the box's own; raises DetectorError.
        publish: sends on one of the box's leaves; False where there is no line.
        connects: how often the line was made.
        now: seconds since the epoch.
        monotonic: seconds that never jump.
        every_s: between two pictures of a shadow run.
    """

    config: BoxConfig
    in_use: Callable[[], InUse | None]
    use: Callable[[Path | None], None]
    publish: Callable[..., bool]
    connects: Callable[[], int]
    now: Callable[[], float]
    monotonic: Callable[[], float]
    every_s: float = EVERY_S
    standing: Standing = field(init=False)
    _kept: Standing = field(init=False)
    _began_s: float = field(init=False)
    _job: "_Job | None" = field(default=None, init=False)
    _crash: str = field(default="", init=False)
    _reported: object = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.standing = self._kept = detectors.load(self.folder)
        self._began_s = self.monotonic()
        self._keep(self.standing.begun())

    @property
    def folder(self) -> Path:
        """The state folder."""
        return self.config.state_dir

    @property
    def path(self) -> Path | None:
        """File of the detector that was rolled out here; None: the box's own."""
        return None if is_pinned(self.config.settings.detector.model) else file_of(self.folder, self.standing.now)

    def failed(self, why: str) -> None:
        """It cannot be used: go back to what was before."""
        log.error("detector: %s is taken back: %s", self.standing.now, why)
        self._keep(self.standing.reverted(plain(why)))

    def crashed(self, fault: Exception) -> None:
        """Its session failed; from any thread."""
        self._crash = f"it failed on a picture ({type(fault).__name__})"

    def take(self, payload: bytes) -> None:
        """Take what the center wants, as it came."""
        try:
            desired = read_event(payload, ModelDesiredEvent).data
        except MessageError as fault:
            log.warning("detector: %s", fault)
            return
        known = desired.rollout == self.standing.rollout
        if known and (self._job is not None or self.standing.state not in GOES_ON) and desired.signed is not None:
            return
        if desired.signed is None and not (known and self.standing.state in (*GOES_ON, "trial")):
            return
        self._end_job()
        if self.standing.state == "trial":
            self._swap(self.standing.reverted("the center has stopped it", "kept"))
        if desired.signed is None:
            self._tell("kept", "the center has stopped it")
        else:
            self._keep(self.standing.but(rollout=desired.rollout, compared=None))
            self._begin(desired)

    def _begin(self, desired: ModelDesired) -> None:
        assert desired.signed is not None  # noqa: S101 - asked before
        self._tell("fetching")
        present = self.in_use()
        try:
            manifest = verified(desired.signed, own_ca(self.folder))
        except (ValueError, EnrolmentError) as fault:
            self._tell("refused", str(fault))
            return
        if present is None or is_pinned(self.config.settings.detector.model):
            self._tell("refused", "this box's settings say which detector it has; change [detector] model there")
        elif (unfit := manifest.fault(detectors.board(), present.model.name)) is not None:
            self._tell("refused", unfit)
        elif manifest.sha256 in (present.model.sha256, present.path.parent.name):
            self._tell("taken", "it was in use already")
        else:
            self._job = _Job(self, manifest, present)
            self._job.start()

    def tick(self) -> None:
        """Take what a shadow run has found, judge what is in use, and report what is new."""
        crash, self._crash = self._crash, ""
        if crash and self.standing.now is not None:
            self._swap_back(crash)
        if self._job is not None and not self._job.said.empty():
            self._follow(self._job, *self._job.said.get())
        if self.standing.now is not None and self.monotonic() - self._began_s >= LASTS_S:
            state = "taken" if self.standing.state == "trial" else self.standing.state
            self._keep(self.standing.but(starts=0, state=state))
        told = self.connects(), self._report()
        if told != self._reported and self.publish("model/reported", self._event(told[1]), retain=True):
            self._reported = told

    def _follow(self, job: "_Job", state: str, text: str, compared: Any) -> None:
        self._keep(self.standing.but(compared=compared))
        if state == "good":
            self._job = None
            model = Model(name=job.manifest.name, sha256=job.manifest.sha256)
            log.info("detector: %s is on trial: %s", model, compared)
            self._swap(self.standing.but(now=model, before=self.standing.now, starts=1, state="trial", text=""))
            return
        self._tell(state, text)
        if state not in GOES_ON:
            self._end_job()

    def _swap(self, standing: Standing) -> None:
        """Put what a standing says into use, once it is on the disk."""
        self._keep(standing)
        self._began_s = self.monotonic()
        try:
            self.use(self.path)
        except DetectorError as fault:
            self._swap_back(str(fault))
        self._prune()

    def _swap_back(self, why: str) -> None:
        while self.standing.now is not None:
            self.failed(why)
            try:
                self.use(self.path)
                break
            except DetectorError as fault:
                why = str(fault)
        self._prune()

    def offer(self, camera: str, frame: Frame) -> None:
        """Show a shadow run a picture, if there is one that wants it; from a camera's thread."""
        if (job := self._job) is not None:
            job.offer(camera, frame)

    def close(self) -> None:
        """The agent ends in order: this start has not failed."""
        if self._job is not None:
            self._job.ended.set()  # what it has fetched stays
        self._keep(self.standing.but(starts=0))

    def _end_job(self) -> None:
        if self._job is not None:
            self._job.ended.set()
            self._job = None
            self._prune()

    def _prune(self) -> None:
        detectors.prune(self.folder, (self.standing.now, self.standing.before))

    def _tell(self, state: str, text: str = "") -> None:
        log.info("detector: roll-out %s: %s %s", self.standing.rollout, state, text)
        self._keep(self.standing.but(state=state, text=plain(text)))

    def _keep(self, standing: Standing) -> None:
        if standing != self._kept:
            detectors.save(self.folder, standing)
        self.standing = self._kept = standing

    def _report(self) -> ModelReported:
        present, held = self.in_use(), self.standing
        model = None if present is None else present.model
        return ModelReported(
            model=model, rollout=held.rollout, state=held.state, text=held.text, compared=held.compared
        )

    def _event(self, report: ModelReported) -> bytes:
        now_s, box = self.now(), self.config.settings.box
        return ModelReportedEvent(
            id=f"{box.id}:model:{int(now_s * 1000)}",
            source=source(box.site, box.id),
            type="cityeye.model.reported",
            time=from_epoch(now_s),
            dataschema=dataschema("model-reported"),
            data=report,
        ).to_json()


def rolled_out(config: BoxConfig) -> Path | None:
    """File of the detector that the center has rolled out here; None: the box's own is in use."""
    if config.settings.center is None or is_pinned(config.settings.detector.model):
        return None
    return file_of(config.state_dir, detectors.load(config.state_dir).now)


class _Job:
    """Fetching and the shadow run, on a thread of their own; `said` is what it has come to: state, why, figures."""

    def __init__(self, rollout: Rollout, manifest: Manifest, present: InUse) -> None:
        self.manifest, self.said, self.ended = manifest, queue.SimpleQueue[tuple[str, str, Any]](), threading.Event()
        self._rollout, self._present = rollout, present
        self._cameras = max(1, len(rollout.config.settings.camera))
        self._frames: queue.Queue[Frame] = queue.Queue(1)
        self._wanted = False
        self._offered_s: dict[str, float] = {}
        """When each camera's picture was taken last."""

    def start(self) -> None:
        threading.Thread(target=self._run, name="rollout", daemon=True).start()

    def offer(self, camera: str, frame: Frame) -> None:
        """Take a picture where it is wanted and this camera's turn."""
        now_s = self._rollout.monotonic()
        since_s = now_s - self._offered_s.get(camera, float("-inf"))
        if self._wanted and not self._frames.full() and since_s >= self._rollout.every_s * self._cameras:
            self._offered_s[camera] = now_s
            with contextlib.suppress(queue.Full):  # another camera was quicker
                self._frames.put_nowait(frame)

    def _run(self) -> None:
        try:
            path = self._fetch()
            if path is not None:
                self.said.put(("shadow", "", None))
                self._compare(path)
        except (FetchError, ShadowError) as fault:
            self.said.put(("refused", str(fault), None))
        except Exception as fault:
            log.exception("detector: its roll-out failed")
            self.said.put(("refused", f"an error of the agent ({type(fault).__name__}); its log says more", None))

    def _fetch(self) -> Path | None:
        wait_s, most_s = AGAIN_S
        while not self.ended.is_set():
            try:
                return detectors.fetch(self._rollout.folder, self.manifest, self.ended.is_set)
            except FetchError as fault:
                if fault.final:
                    raise
                log.warning("detector: not fetched yet: %s", fault)
            self.ended.wait(wait_s)
            wait_s = min(most_s, 2 * wait_s)
        return None

    def _compare(self, path: Path) -> None:
        rollout, present, section = self._rollout, self._present, self._rollout.config.settings.detector
        until_s = rollout.monotonic() + SHADOW_S
        how = section.provider, section.precision, self._cameras
        with shadow(present.path, present.min_score, path, *how) as run:
            self._wanted = True
            while not self.ended.is_set():
                with contextlib.suppress(queue.Empty):
                    frame = self._frames.get(timeout=1.0)
                    share = min(1.0, WIDEST / max(frame.width, frame.height))
                    run.look(frame.rgb((round(frame.width * share), round(frame.height * share))))
                decided = verdict(run.compared, self.manifest.limits, last=rollout.monotonic() >= until_s)
                if decided is not None:
                    self.said.put((*decided, run.compared))
                    return

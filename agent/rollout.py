"""A detector that the center rolls out: fetched, compared in a shadow run, tried, taken or taken back, reported.

```
 desired ─▶ signed? for this board, this detector? ─no─▶ refused
                │ yes
                ▼
             fetching ─▶ shadow ─▶ refused | undecided
                            │ good
                            ▼
                          trial ─▶ taken        whenever it fails or ends the agent: rolled_back
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
from typing import Final

from agent.box import detectors
from agent.box.detectors import SETTLED, FetchError, Standing, file_of
from agent.box.enrolment import EnrolmentError, own_ca
from agent.camera.frame import Frame
from agent.settings import BoxConfig, DetectorSection
from agent.shadow import Shadow, ShadowError, verdict
from agent.uplink.executor import plain
from agent.vision.detector import DetectorError
from agent.vision.selection import is_pinned
from protocol.detectors import (
    MODEL_REPORTED,
    Compared,
    Manifest,
    ModelDesired,
    ModelDesiredEvent,
    ModelReported,
    ModelReportedEvent,
    verified,
)
from protocol.instants import from_epoch
from protocol.messages import MessageError, Model, dataschema, read_event, source

log = logging.getLogger(__name__)

LASTS_S: Final = 600.0
"""A detector that has run for so long is taken, and a start of the agent that has, is forgotten."""
SHADOW_S: Final = 24 * 3600.0
"""A street shows in a day what it has to show."""
EVERY_S: Final = 4.0
"""Between two pictures of a shadow run: two looks by a process that gives way to all others."""
WIDEST: Final = 960
"""Pixels of a picture there; detectors take less."""
AGAIN_S: Final = (5.0, 300.0)
"""Between two tries to reach the center, doubling."""


@dataclass(frozen=True)
class InUse:
    """The detector in use.

    Args:
        path: its file.
        min_score: detections below it are dropped.
    """

    model: Model
    path: Path
    min_score: float


@dataclass
class Rollout:
    """The box's side of `model/desired` and `model/reported`.

    Args:
        site: the box's site.
        box: its id.
        folder: the state folder.
        section: the settings.
        cameras: how many there are.
        in_use: the detector that looks; None: there is none.
        use: has another one look, the file of one that was rolled out, or the box's own; raises DetectorError.
        publish: sends on one of the box's leaves; False where there is no line.
        connects: how often the line was made.
        now: seconds since the epoch.
        monotonic: seconds that never jump.
        every_s: between two pictures of a shadow run.
    """

    site: str
    box: str
    folder: Path
    section: DetectorSection
    cameras: Callable[[], int]
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
        self._kept = detectors.load(self.folder)
        self.standing = self._kept
        self._began_s = self.monotonic()
        if is_pinned(self.section.model):
            return
        self._keep(self._kept.begun())
        if self.standing.state == "rolled_back":
            log.warning("detector: %s", self.standing.text)

    @property
    def path(self) -> Path | None:
        """File of the detector that was rolled out here; None: the box's own."""
        model = None if is_pinned(self.section.model) else self.standing.now
        return None if model is None else file_of(self.folder, model)

    def failed(self, why: str) -> None:
        """It cannot be used: go back to what was before."""
        log.error("detector: taken back: %s", why)
        self._keep(self.standing.reverted("rolled_back", plain(why)))

    def crashed(self, fault: Exception) -> None:
        """Its session failed; from any thread."""
        self._crash = f"it failed on a picture ({type(fault).__name__})"

    def take(self, payload: bytes) -> None:
        """Take what the center wants, as it came."""
        if not payload:
            return
        try:
            desired = read_event(payload, ModelDesiredEvent).data
        except MessageError as fault:
            log.warning("detector: %s", fault)
            return
        known = desired.rollout == self.standing.rollout
        if desired.action == "take":
            if known and (self._job is not None or self.standing.state in SETTLED | {"trial"}):
                return
            self._end_job()
            self._begin(desired)
        elif known:
            self._give_up(desired.action)

    def _begin(self, desired: ModelDesired) -> None:
        held = self.standing
        if held.state == "trial":  # another one is wanted before this one is known to be good
            held = held.reverted("rolled_back", "")
            self._swap(held)
        self._keep(held.model_copy(update={"rollout": desired.rollout, "compared": None}).told("fetching"))
        present = self.in_use()
        if desired.signed is None:
            self._tell("refused", "expected a signed manifest, got none")
            return
        try:
            manifest = verified(desired.signed, own_ca(self.folder))
        except (ValueError, EnrolmentError) as fault:
            self._tell("refused", str(fault))
            return
        if present is None or is_pinned(self.section.model):
            self._tell("refused", "this box's settings say which detector it has; change [detector] model there")
        elif (unfit := manifest.fault(detectors.board(), present.model.name)) is not None:
            self._tell("refused", unfit)
        elif manifest.sha256 in (present.model.sha256, present.path.parent.name):
            self._tell("taken", "it was in use already")
        else:
            self._job = _Job(self, manifest, present)
            self._job.start()

    def _give_up(self, action: str) -> None:
        """Stop what goes on (`keep`), or go back from what was taken (`back`)."""
        self._end_job()
        if self.standing.state == "trial" or (action == "back" and self.standing.state == "taken"):
            self._swap(self.standing.reverted("back" if action == "back" else "kept", "the center wants it so"))
        elif self.standing.state not in SETTLED:
            self._tell("kept", "the center has stopped it")

    def tick(self) -> None:
        """Take what a shadow run has found, judge what is in use, and report what is new."""
        if self._crash:
            why, self._crash = self._crash, ""
            if self.standing.now is not None:
                self._swap_back(why)
        job = self._job
        while job is not None and (said := job.said()) is not None:
            self._follow(job, *said)
        if self.standing.now is not None and self.monotonic() - self._began_s >= LASTS_S:
            lasting = self.standing.model_copy(update={"starts": 0})
            if lasting.state == "trial":
                log.info("detector: %s is taken", lasting.now)
                lasting = lasting.told("taken")
            self._keep(lasting)
        told = self.connects(), self._report()
        if told != self._reported and self.publish("model/reported", self._event(told[1]), retain=True):
            self._reported = told

    def _follow(self, job: "_Job", state: str, text: str, compared: Compared | None) -> None:
        if state != "good":
            self._tell(state, text, compared)
            if state in SETTLED:
                self._end_job()
            return
        self._job = None
        model = Model(name=job.manifest.name, sha256=job.manifest.sha256)
        log.info("detector: %s was as good in its shadow run (%s); on trial", model.name, compared)
        self._swap(self.standing.told("trial", "", compared).tried(model))

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
            except DetectorError as fault:
                why = str(fault)
            else:
                break
        self._prune()

    def offer(self, camera: str, frame: Frame) -> None:
        """Show a shadow run a picture, if there is one that wants it; from a camera's thread."""
        job = self._job
        if job is not None:
            job.offer(camera, frame)

    def close(self) -> None:
        """The agent ends in order: this start has not failed."""
        if self._job is not None:
            self._job.end()  # what it has fetched stays
        self._keep(self.standing.model_copy(update={"starts": 0}))

    def _end_job(self) -> None:
        if self._job is not None:
            self._job.end()
            self._job = None
            self._prune()

    def _prune(self) -> None:
        kept = (self.standing.now, self.standing.before)
        detectors.prune(self.folder, {one.sha256 for one in kept if one is not None})

    def _tell(self, state: str, text: str = "", compared: Compared | None = None) -> None:
        log.info("detector: roll-out %s: %s %s", self.standing.rollout, state, text)
        self._keep(self.standing.told(state, plain(text), compared))

    def _keep(self, standing: Standing) -> None:
        if standing != self._kept:
            detectors.save(self.folder, standing)
        self.standing = self._kept = standing

    def _report(self) -> ModelReported:
        present, standing = self.in_use(), self.standing
        return ModelReported(
            model=None if present is None else present.model,
            board=detectors.board(),
            rollout=standing.rollout,
            state=standing.state,
            text=standing.text,
            compared=standing.compared,
        )

    def _event(self, report: ModelReported) -> bytes:
        now_s = self.now()
        return ModelReportedEvent(
            id=f"{self.box}:model:{int(now_s * 1000)}",
            source=source(self.site, self.box),
            type=MODEL_REPORTED,
            time=from_epoch(now_s),
            dataschema=dataschema("model-reported"),
            data=report,
        ).to_json()


def rolled_out(config: BoxConfig) -> Path | None:
    """File of the detector that the center has rolled out here; None: the box's own is in use."""
    if config.settings.center is None or is_pinned(config.settings.detector.model):
        return None
    model = detectors.load(config.state_dir).now
    return None if model is None else file_of(config.state_dir, model)


class _Job:
    """Fetching and the shadow run, on a thread of their own."""

    def __init__(self, rollout: Rollout, manifest: Manifest, present: InUse) -> None:
        self.manifest = manifest
        self._rollout, self._present = rollout, present
        self._said: queue.SimpleQueue[tuple[str, str, Compared | None]] = queue.SimpleQueue()
        self._frames: queue.Queue[Frame] = queue.Queue(1)
        self._ended = threading.Event()
        self._wanted = False
        self._offered_s: dict[str, float] = {}
        """When each camera's picture was taken last."""
        self._thread = threading.Thread(target=self._run, name="rollout", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Stop; the thread ends by itself."""
        self._ended.set()

    def said(self) -> tuple[str, str, Compared | None] | None:
        """What it has come to since this was last asked: state, why, figures."""
        try:
            return self._said.get_nowait()
        except queue.Empty:
            return None

    def offer(self, camera: str, frame: Frame) -> None:
        """Take a picture where it is wanted and this camera's turn."""
        if not self._wanted or self._frames.full():
            return
        now_s = self._rollout.monotonic()
        gap_s = self._rollout.every_s * max(1, self._rollout.cameras())
        if now_s - self._offered_s.get(camera, float("-inf")) < gap_s:
            return
        self._offered_s[camera] = now_s
        with contextlib.suppress(queue.Full):  # another camera was quicker
            self._frames.put_nowait(frame)

    def _run(self) -> None:
        try:
            path = self._fetch()
            if path is not None:
                self._said.put(("shadow", "", None))
                self._compare(path)
        except (FetchError, ShadowError) as fault:
            self._said.put(("refused", str(fault), None))
        except Exception as fault:
            log.exception("detector: its roll-out failed")
            self._said.put(("refused", f"an error of the agent ({type(fault).__name__}); its log says more", None))

    def _fetch(self) -> Path | None:
        wait_s, told = AGAIN_S[0], ""
        while not self._ended.is_set():
            try:
                return detectors.fetch(self._rollout.folder, self.manifest, self._ended.is_set)
            except FetchError as fault:
                if fault.final:
                    raise
                if str(fault) != told:
                    log.warning("detector: not fetched yet: %s", fault)
                told = str(fault)
            self._ended.wait(wait_s)
            wait_s = min(AGAIN_S[1], 2 * wait_s)
        return None

    def _compare(self, path: Path) -> None:
        rollout, limits = self._rollout, self.manifest.limits
        present = self._present
        until_s = rollout.monotonic() + SHADOW_S
        with Shadow(present.path, present.min_score, path, rollout.section, rollout.cameras()) as shadow:
            self._wanted = True
            while not self._ended.is_set():
                try:
                    frame = self._frames.get(timeout=1.0)
                except queue.Empty:
                    pass
                else:
                    share = min(1.0, WIDEST / max(frame.width, frame.height))
                    shadow.look(frame.rgb((round(frame.width * share), round(frame.height * share))))
                decided = verdict(shadow.compared, limits, last=rollout.monotonic() >= until_s)
                if decided is not None:
                    self._said.put((*decided, shadow.compared))
                    return

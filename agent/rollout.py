"""A detector that the center rolls out: fetched, compared in a shadow run, tried, taken or taken back, reported.

```
 desired ─▶ signed? for this board and detector? ─▶ fetching ─▶ shadow ─▶ trial ─▶ taken
                 └─▶ refused                            └─▶ refused, undecided   └─▶ rolled_back, whenever it fails
```

What is decided is on the disk before it takes effect. Everything but `offer`, `crashed` and the work of `_Job` happens
on the executor's thread.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from typing import TYPE_CHECKING, Any, Final

from agent.box import detectors
from agent.box.detectors import Standing, file_of
from agent.box.enrolment import EnrolmentError, own_ca
from agent.box.fetch import FetchError, patiently
from agent.shadow import ShadowError, shadow
from agent.uplink.executor import plain
from agent.vision.errors import DetectorError
from agent.vision.selection import is_pinned
from protocol.detectors import Manifest, ModelDesiredEvent, ModelReported, ModelReportedEvent, Signed, verified
from protocol.instants import from_epoch
from protocol.messages import Event, MessageError, Model, Value, dataschema, read_event, source

if TYPE_CHECKING:  # the agent makes it, and it works on that
    from pathlib import Path

    from agent.camera.frame import Frame
    from agent.live import Agent
    from agent.settings import BoxConfig

log = logging.getLogger(__name__)

LASTS_S: Final = 600.0
"""A detector that has run for so long is taken, and so is a start of the agent that has."""
SHADOW_S: Final = 86_400.0
"""A street shows in a day what it has to show."""
EVERY_S: Final = 4.0
"""Between two pictures of a shadow run: two looks by a process that gives way to all others."""
WIDEST: Final = 960
"""Pixels of a picture there; detectors take less."""
GOES_ON: Final = ("fetching", "shadow")
STOPPED: Final = "the center has stopped it"


class Rollout:
    """The box's side of `model/desired` and `model/reported`."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.every_s = EVERY_S
        self._folder = agent.config.state_dir
        self.standing = self._kept = detectors.load(self._folder)
        self._began_s = agent.clock.monotonic()
        self._job: _Job | None = None
        self._crash = ""
        self._reported: object = None
        self._keep(self.standing.begun())

    @property
    def path(self) -> Path | None:
        """File of the detector that was rolled out here; None: the box's own."""
        return None if self._pinned else file_of(self._folder, self.standing.now)

    @property
    def _pinned(self) -> bool:
        return is_pinned(self.agent.config.settings.detector.model)

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
            wanted = read_event(payload, ModelDesiredEvent).data
        except MessageError as fault:
            log.warning("detector: %s", fault)
            return
        known, state = wanted.rollout == self.standing.rollout, self.standing.state
        if wanted.signed is None and not (known and state in (*GOES_ON, "trial")):
            return
        if wanted.signed is not None and known and (self._job is not None or state not in GOES_ON):
            return
        self._end_job()
        if state == "trial":
            self._swap(self.standing.reverted(STOPPED))
        if wanted.signed is None:
            self._tell("kept", STOPPED)
            return
        self._keep(self.standing.but(rollout=wanted.rollout, state="fetching", text=""))
        if refusal := self._begin(wanted.signed):
            self._tell("refused", refusal)

    def _begin(self, signed: Signed) -> str | None:
        """Begin a job, or say why not."""
        model, path = self.agent.eyes.model, self.agent.eyes.path
        try:
            manifest = verified(signed, own_ca(self._folder))
        except (ValueError, EnrolmentError) as fault:
            return str(fault)
        if model is None or path is None or self._pinned:
            return "this box's settings say which detector it has; change [detector] model there"
        if unfit := manifest.fault(detectors.board(), model.name):
            return unfit
        if manifest.sha256 in (model.sha256, path.parent.name):
            self._tell("taken", "it was in use already")
        else:
            self._job = _Job(self, manifest, path)
        return None

    def tick(self) -> None:
        """Take what a shadow run has found, judge what is in use, and report what is new."""
        crash, self._crash = self._crash, ""
        if crash and self.standing.now is not None:
            self._swap_back(crash)
        if self._job is not None and not self._job.said.empty():
            self._follow(self._job, *self._job.said.get())
        if self.standing.now is not None and self.agent.clock.monotonic() - self._began_s >= LASTS_S:
            state = "taken" if self.standing.state == "trial" else self.standing.state
            self._keep(self.standing.but(starts=0, state=state))
        held = self.standing
        report = ModelReported(model=self.agent.eyes.model, rollout=held.rollout, state=held.state, text=held.text)
        told = self.agent.connects, report
        if told != self._reported and say(self.agent, "model", ModelReportedEvent, report):
            self._reported = told

    def _follow(self, job: _Job, state: str, text: str) -> None:
        self._tell(state, text)
        if state == "trial":
            self._job = None
            model = Model(name=job.manifest.name, sha256=job.manifest.sha256)
            self._swap(self.standing.but(now=model, before=self.standing.now, starts=1))
        elif state not in GOES_ON:
            self._end_job()

    def _swap(self, standing: Standing) -> None:
        """Put what a standing says into use, once it is on the disk."""
        self._keep(standing)
        self._began_s = self.agent.clock.monotonic()
        try:
            self.agent.look_by(self.path)
        except DetectorError as fault:
            self._swap_back(str(fault))
        self._prune()

    def _swap_back(self, why: str) -> None:
        while self.standing.now is not None:
            self.failed(why)
            try:
                self.agent.look_by(self.path)
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
        detectors.prune(self._folder, (self.standing.now, self.standing.before))

    def _tell(self, state: str, text: str) -> None:
        log.info("detector: roll-out %s: %s %s", self.standing.rollout, state, text)
        self._keep(self.standing.but(state=state, text=plain(text)))

    def _keep(self, standing: Standing) -> None:
        if standing != self._kept:
            detectors.save(self._folder, standing)
        self.standing = self._kept = standing


def say(agent: Agent, name: str, event: type[Event[Any]], report: Value) -> bool:
    """Report a box's `model` or `system`, retained; False where there is no line."""
    now_s, box = agent.clock.now(), agent.config.settings.box
    payload = event(
        id=f"{box.id}:{name}:{int(now_s * 1000)}",
        source=source(box.site, box.id),
        type=f"cityeye.{name}.reported",
        time=from_epoch(now_s),
        dataschema=dataschema(f"{name}-reported"),
        data=report,
    ).to_json()
    return agent.publish(f"{name}/reported", payload, retain=True)


def rolled_out(config: BoxConfig) -> Path | None:
    """File of the detector that the center has rolled out here; None: the box's own is in use."""
    if config.settings.center is None or is_pinned(config.settings.detector.model):
        return None
    return file_of(config.state_dir, detectors.load(config.state_dir).now)


class _Job:
    """Fetching and the shadow run, on a thread of their own; `said` is what it has come to: state and why."""

    def __init__(self, rollout: Rollout, manifest: Manifest, present: Path) -> None:
        self.manifest, self.said, self.ended = manifest, queue.SimpleQueue[tuple[str, str]](), threading.Event()
        self._rollout, self._present = rollout, present
        self._cameras = max(1, len(rollout.agent.cameras))
        self._frames: queue.Queue[Frame] = queue.Queue(1)
        self._wanted = False
        self._offered_s: dict[str, float] = {}
        """When each camera's picture was taken last."""
        threading.Thread(target=self._run, name="rollout", daemon=True).start()

    def offer(self, camera: str, frame: Frame) -> None:
        """Take a picture where it is wanted and this camera's turn."""
        now_s = self._rollout.agent.clock.monotonic()
        since_s = now_s - self._offered_s.get(camera, float("-inf"))
        if self._wanted and not self._frames.full() and since_s >= self._rollout.every_s * self._cameras:
            self._offered_s[camera] = now_s
            with contextlib.suppress(queue.Full):  # another camera was quicker
                self._frames.put_nowait(frame)

    def _run(self) -> None:
        try:
            wanted = detectors.wanted(self._rollout.agent.config.state_dir, self.manifest)
            patiently(self._rollout.agent.config.state_dir, wanted, self.ended.wait)
            self.said.put(("shadow", ""))
            self._compare(wanted.target)
        except (FetchError, ShadowError) as fault:
            self.said.put(("refused", str(fault)))
        except Exception as fault:
            log.exception("detector: its roll-out failed")
            self.said.put(("refused", f"an error of the agent ({type(fault).__name__}); its log says more"))

    def _compare(self, path: Path) -> None:
        agent, section = self._rollout.agent, self._rollout.agent.config.settings.detector
        assert agent.eyes.detector is not None  # noqa: S101 - it began with one
        until_s = agent.clock.monotonic() + SHADOW_S
        how = section.provider, section.precision, self._cameras
        with shadow(self._present, agent.eyes.detector.min_score, path, *how) as run:
            self._wanted = True
            while not self.ended.is_set():
                with contextlib.suppress(queue.Empty):
                    frame = self._frames.get(timeout=1.0)
                    share = min(1.0, WIDEST / max(frame.width, frame.height))
                    run.look(frame.rgb((round(frame.width * share), round(frame.height * share))))
                decided = run.verdict(self.manifest.limits, last=agent.clock.monotonic() >= until_s)
                if decided is not None:
                    self.said.put(decided)
                    return

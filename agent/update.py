"""A system that the center rolls out: fetched, handed to root, and on trial said to be healthy, or not.

```
 desired ─▶ for this board? ─▶ fetching ─▶ installing ─▶ (the box starts anew) trial ─▶ taken
               └─▶ refused        └─▶ refused   └─▶ refused                      └─▶ rolled_back
```

From `installing` on it is root's word (`agent.box.system`) that is passed on. In the folder `system` lie `SHA.part`,
which is being fetched, and the three files that are for root. Nothing is remembered: what the center wants comes again
with each connection. Everything but the fetching happens on the executor's thread.
"""

from __future__ import annotations

import json
import logging
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from agent.box.fetch import FetchError, Wanted, patiently
from agent.box.identity import boot_id
from agent.box.system import BUNDLE, HEALTHY, WANTED
from agent.box.twin import write_whole
from agent.rollout import STOPPED, say
from agent.uplink.executor import plain
from protocol.messages import MessageError, read_event
from protocol.systems import PATH, Bundle, SystemDesired, SystemDesiredEvent, SystemReported, SystemReportedEvent

if TYPE_CHECKING:  # the agent makes it, and it works on that
    from concurrent.futures import Future

    from agent.live import Agent, CameraThread

log = logging.getLogger(__name__)

SAID: Final = Path("/run/cityeye/system.json")
"""How things stand, as root says; only a box that runs from an image has it."""
GOES_ON: Final = ("fetching", "installing")


class Update:
    """The box's side of `system/desired` and `system/reported`; `said` is the file that root writes."""

    def __init__(self, agent: Agent, said: Path = SAID) -> None:
        self.agent, self._said = agent, said
        self._folder = agent.config.state_dir / "system"
        self._wanted: SystemDesired | None = None
        self._begun = True
        """Whether what is wanted was looked at: root may say later than the center how things stand."""
        self._state: tuple[str, str] | None = None
        """This agent's own word on what is wanted; root's goes before it."""
        self._job: _Job | None = None
        self._looks: dict[CameraThread, Future[Any]] = {}
        self._detected, self._fault = False, ""
        self._reported: object = None

    def take(self, payload: bytes) -> None:
        """Take what the center wants, as it came."""
        try:
            wanted = read_event(payload, SystemDesiredEvent).data
        except MessageError as fault:
            log.warning("system: %s", fault)
            return
        if wanted != self._wanted:
            if self._wanted is None or self._wanted.rollout != wanted.rollout:
                self._state = None
            self.close()
            self._wanted, self._begun = wanted, False

    def tick(self) -> None:
        """Begin what is wanted, look after a trial, and report what is new."""
        try:
            said = json.loads(self._said.read_bytes())
            last = said["last"] or {}
            if not self._begun and self._wanted is not None:
                self._folder.mkdir(mode=0o700, exist_ok=True)
                self._begin(self._wanted, said, last)
                self._begun = True
            if self._job is not None and not self._job.is_alive():
                self._ask(self._job)
            self._report(said, last, self._lacking(last) if said["trial"] else "")
        except (OSError, ValueError, KeyError, TypeError) as fault:
            text = f"{type(fault).__name__}: {fault}"
            if self._said.exists() and text != self._fault:
                self._fault = text
                log.warning("system: trying again: %s", text)

    def close(self) -> None:
        """End the fetching; what has come stays."""
        if self._job is not None:
            self._job.ended.set()
            self._job = None

    def _is_roots(self, last: dict[str, Any]) -> bool:
        """Whether root has had what is wanted."""
        wanted = self._wanted
        if wanted is None or last.get("rollout") != wanted.rollout:
            return False
        return wanted.bundle is None or wanted.bundle.sha256 == last["sha256"]

    def _begin(self, wanted: SystemDesired, said: dict[str, Any], last: dict[str, Any]) -> None:
        bundle = wanted.bundle
        if self._is_roots(last):
            return
        self._drop("" if bundle is None else bundle.sha256)
        if bundle is None:
            if self._state is None or self._state[0] in GOES_ON:
                self._state = "kept", STOPPED
        elif last.get("state") == "taken" and (last["sha256"], last["slot"]) == (bundle.sha256, said["slot"]):
            self._state = "taken", "it was in use already"
        elif bundle.compatible != said["compatible"]:
            self._state = "refused", f"it is for {bundle.compatible}, this box is {said['compatible']}"
        else:
            self._state = "fetching", ""
            self._job = _Job(self.agent.config.state_dir, self._folder, bundle)

    def _drop(self, but: str = "") -> None:
        """Delete what belongs to another bundle; a whole one is looked at before it is used."""
        (self._folder / WANTED).unlink(missing_ok=True)
        for path in (*self._folder.glob("*.part"), *([] if but else [self._folder / BUNDLE])):
            if path.stem != but:
                path.unlink(missing_ok=True)

    def _ask(self, job: _Job) -> None:
        """Have root install what was fetched, or say why it was not."""
        assert self._wanted is not None  # noqa: S101 - for which there is a job
        self._job = None
        if job.fault:
            self._drop()
            self._state = "refused", plain(job.fault)
            return
        live = [one.camera for one in self.agent.cameras if one.condition.state == "live"]
        values = {"rollout": self._wanted.rollout, "version": job.bundle.version, "sha256": job.bundle.sha256}
        write_whole(self._folder / WANTED, json.dumps({**values, "live": live[:256]}).encode())
        self._state = "installing", ""

    def _lacking(self, last: dict[str, Any]) -> str:
        """What this start on trial waits for; says that it is healthy once that is nothing."""
        wanted = self._wanted
        if wanted is not None and wanted.bundle is None and self._is_roots(last):
            return STOPPED
        cameras, live = {one.camera: one for one in self.agent.cameras}, last.get("live", ())
        away = [one for one in live if one not in cameras or cameras[one].condition.state != "live"]
        lacks = [f"pictures of {', '.join(away)}"] if away else []
        if not self._detects([cameras[one] for one in live if one in cameras]):
            lacks.append("the detector")
        if not self.agent.reached:
            lacks.append("an answer of the center")
        if lacks:
            return f"it waits for {' and '.join(lacks)}"
        if not (self._folder / HEALTHY).exists():
            self._folder.mkdir(mode=0o700, exist_ok=True)
            write_whole(self._folder / HEALTHY, boot_id().encode())
        return ""

    def _detects(self, cameras: list[CameraThread]) -> bool:
        """Whether the detector has run on a picture of one of these; where there is none, on an empty one."""
        detector = self.agent.eyes.detector
        if self._detected or detector is None:  # none, as the settings say
            return True
        if not cameras:
            detector.detect(np.zeros((360, 640, 3), np.uint8))
            self._detected = True
        for one in cameras:
            look = self._looks.get(one)
            if look is not None and look.done() and look.exception() is None:
                self._detected = True
            elif look is None or look.done():
                self._looks[one] = one.ask(lambda _runner, frame: detector.detect(frame.rgb()), small=True)
        return self._detected

    def _report(self, said: dict[str, Any], last: dict[str, Any], lacking: str) -> None:
        rollout, state, text = last.get("rollout"), last.get("state", "none"), lacking or last.get("text", "")
        if self._state is not None and self._wanted is not None and not self._is_roots(last):
            rollout, (state, text) = self._wanted.rollout, self._state
        named = {name: said[name] for name in ("version", "slot", "compatible", "trial")}
        report = SystemReported(**named, rollout=rollout, state=state, text=plain(text))
        told = self.agent.connects, report
        if told != self._reported and say(self.agent, "system", SystemReportedEvent, report):
            self._reported = told


class _Job(threading.Thread):
    """Fetches a bundle; once it has ended, `fault` says why there is none."""

    def __init__(self, state_dir: Path, folder: Path, bundle: Bundle) -> None:
        super().__init__(name="update", daemon=True)
        self.bundle, self.fault, self.ended = bundle, "", threading.Event()
        part = folder / f"{bundle.sha256}.part"
        wanted = Wanted(PATH + bundle.sha256, bundle.size, bundle.sha256, part, folder / BUNDLE)
        self._fetch = partial(patiently, state_dir, wanted, self.ended.wait)
        self.start()

    def run(self) -> None:
        """Fetch it."""
        try:
            self._fetch()
        except FetchError as fault:
            self.fault = str(fault)
        except Exception as fault:
            log.exception("system: it could not be fetched")
            self.fault = f"an error of the agent ({type(fault).__name__}); its log says more"

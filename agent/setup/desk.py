"""What the page's calls do: claim the box, find and test cameras, watch one, keep what was drawn, examine the box."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from agent import VERSION, live
from agent.box.document import in_force
from agent.box.door import Door, state_dir_of
from agent.box.enrolment import FOLDER, EnrolmentError, Membership, enrol
from agent.box.network import addresses, gateway
from agent.box.secrets_file import SecretsError, put_secret
from agent.box.standing import read_run
from agent.camera.errors import CameraError
from agent.camera.examination import LOOK_S
from agent.camera.source import Source
from agent.doctor import examine_box, examine_camera
from agent.settings import BoxConfig, load_settings, setup_of
from agent.setup import finding
from agent.setup.watch import Watch
from agent.vision.errors import DetectorError
from protocol.documents import SettingsError, read_toml
from protocol.enrolment import Invitation
from protocol.settings import Camera, CamerasDocument, DocumentError, read_document

log = logging.getLogger(__name__)


class DeskError(Exception):
    """What was asked cannot be done; one line for the page, without any secret."""


FAULTS = (DeskError, EnrolmentError, SettingsError, CameraError, SecretsError, DetectorError, DocumentError)


@dataclass
class Job:
    """Something that takes a while, one at a time."""

    name: str
    done: bool = False
    result: Any = None
    fault: str = ""


@dataclass
class Desk:
    """One box being set up; what cannot be done raises one of FAULTS."""

    settings: Path
    door: Door
    look_s: float = LOOK_S
    finder: Callable[[], list[finding.Found]] = finding.find
    job: Job | None = field(default=None, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _watch: Watch | None = field(default=None, init=False)
    _eyes: live.Eyes | None = field(default=None, init=False)

    def state(self) -> dict[str, Any]:
        """All that the page shows of the box; no secret is among it."""
        member, run_dir = self._member(), setup_of(self.settings).run_dir
        told = read_run(run_dir / "agent" / "standing.json")
        document = CamerasDocument() if member is None else self._document(self._config())
        return {
            "name": self.door.plate.name,
            "until_s": self.door.plate.until_s,
            "version": VERSION,
            "member": None if member is None else member.model_dump(),
            "now_s": time.time(),
            "address": [f"{one.address}/{one.prefix} ({one.interface})" for one in addresses()],
            "gateway": gateway(),
            "card": read_run(run_dir / "card.json"),
            "claim": {name: told.get(name) for name in ("claim", "fault")},
            "cameras": [one.model_dump(mode="json") for one in document.camera],
            "job": None if self.job is None else asdict(self.job),
        }

    def _member(self) -> Membership | None:
        # the file comes last: to read it earlier would mend it while it is being written
        folder = state_dir_of(self.settings)
        return Membership.load(folder) if (folder / FOLDER / "center.json").exists() else None

    def _config(self) -> BoxConfig:
        return in_force(load_settings(self.settings))

    def _document(self, config: BoxConfig) -> CamerasDocument:
        """What was drawn here last, else what the agent watches."""
        waiting = self.door.waiting()
        return config.document if waiting is None else waiting[0]

    def _camera(self, document: CamerasDocument, camera_id: str) -> Camera:
        for camera in document.camera:
            if camera.id == camera_id:
                return camera
        raise DeskError(f"camera {camera_id}: this box has none of that name")

    def start(self, name: str, work: Callable[[], Any]) -> None:
        """Begin a job."""
        with self._lock:
            if self.job is not None and not self.job.done:
                raise DeskError(f"{self.job.name} goes on; wait for it")
            self.job = Job(name)
        threading.Thread(target=self._work, args=(self.job, work), daemon=True).start()

    def _work(self, job: Job, work: Callable[[], Any]) -> None:
        try:
            job.result = work()
        except FAULTS as fault:
            job.fault = str(fault)
        except Exception as fault:
            log.exception("set-up: %s", job.name)
            job.fault = f"{type(fault).__name__}; the log of the box says more"
        finally:
            job.done = True

    def claim(self, label: str) -> None:
        """Make this box one of a center's, by the text of its label."""
        if self._member() is not None:
            raise DeskError("this box is one of a center's already")
        try:
            invitation = Invitation.read(label)
        except ValueError as fault:
            raise DeskError(str(fault)) from None
        member = enrol(state_dir_of(self.settings), invitation, VERSION, read_toml(self.settings)["box"].get("id"))
        log.info("set-up: enrolled: box %s at site %s", member.box, member.site)

    def find(self) -> list[dict[str, Any]]:
        """Devices on the local network that may be cameras."""
        return [asdict(one) for one in self.finder()]

    def streams(self, host: str, port: int, user: str, password: str, service: str) -> dict[str, Any]:
        """The streams of one device, as it tells them, else by the paths of common makers."""
        if service and urlsplit(service).hostname != host:
            raise DeskError(f"expected ONVIF at {host} itself")
        return asdict(finding.find_streams(host, port, user, password, service))

    def test(self, user: str, password: str, **addressed: Any) -> list[dict[str, Any]]:
        """Look at a camera as the doctor does, with the login that was typed, else with the one that the box has."""
        config, camera = self._config(), Camera(**addressed)
        if not user:
            known = {one.id: one.credentials for one in self._document(config).camera}
            camera = camera.model_copy(update={"credentials": known.get(camera.id)})
        source = Source.from_camera(camera, config)
        source = replace(source, user=user, password=password) if user else source
        return [one.values() for one in examine_camera(source, self.look_s)]

    def doctor(self) -> list[dict[str, Any]]:
        """Examine the box."""
        config = self._config()
        found = examine_box(config.with_cameras(self._document(config)), connected=self.door.connected)
        return [one.values() for one in found]

    def camera(self, user: str, password: str, **addressed: Any) -> None:
        """Have the agent watch a camera; one of the same id is replaced, and keeps what is drawn on it."""
        config, camera = self._config(), Camera(**addressed)
        if config.settings.center is None:
            raise DeskError("this box has no center: its cameras stand in box.toml, and are changed there")
        known = {one.id: one for one in self._document(config).camera}
        if user:
            put_secret(config.secrets_file, camera.id, user, password)
            addressed["credentials"] = camera.id
        known[camera.id] = known.get(camera.id, camera).model_copy(update=addressed)
        self.door.hand_over(CamerasDocument(camera=tuple(known.values())), (camera.id,) if user else ())

    def drop(self, camera: str) -> None:
        """Have the agent watch it no more."""
        document = self._document(self._config())
        gone = self._camera(document, camera)
        self.door.hand_over(CamerasDocument(camera=tuple(one for one in document.camera if one != gone)))

    def draw(self, camera: str, drawing: dict[str, Any]) -> None:
        """Have other zones, masks and ground of a camera."""
        document = self._document(self._config())
        changed = self._camera(document, camera).model_dump(mode="json") | drawing
        cameras = [changed if one["id"] == camera else one for one in document.values().get("camera", [])]
        self.door.hand_over(read_document({"camera": cameras}))

    def watch(self, camera: str, *, test: bool) -> None:
        """Watch a camera in place of what was watched."""
        config = self._config()
        known = self._camera(self._document(config), camera)
        source = Source.from_camera(known, config)
        with self._lock:
            eyes = self._eyes or live.open_eyes(config)
            if eyes.crowd is None:
                eyes = replace(eyes, crowd=live.open_crowd(eyes.detector, [known]))
            self._eyes = eyes
            self._end_watch()
            self._watch = Watch(known, source, eyes, ZoneInfo(config.settings.box.timezone), test=test)
            self._watch.start()

    def look(self) -> dict[str, Any]:
        """What the watched camera shows."""
        watch = self._watch
        return {"state": "off"} if watch is None or not watch.is_alive() else watch.look()

    def picture(self, name: str) -> bytes | None:
        """One of its pictures."""
        return None if self._watch is None else self._watch.picture(name)

    def finish(self) -> None:
        """The page shuts half an hour from now."""
        self.door.finish()

    def focus(self) -> None:
        """Begin to compare anew."""
        if self._watch is not None:
            self._watch.forget_best()

    def _end_watch(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch.join(10)
            self._watch = None

    def close(self) -> None:
        """Let go of the camera."""
        with self._lock:
            self._end_watch()

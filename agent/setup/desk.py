"""What the page's calls do: claim the box, find and test cameras, watch one, keep what was drawn, examine the box."""

import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from agent import VERSION, live
from agent.box.document import in_force
from agent.box.door import Door, state_dir_of
from agent.box.enrolment import EnrolmentError, Membership, enrol
from agent.box.secrets_file import SecretsError, put_secret
from agent.camera.errors import CameraError
from agent.camera.examination import LOOK_S, examine
from agent.camera.source import Source
from agent.camera.views import compare_views
from agent.doctor import examine_box
from agent.findings import Finding
from agent.settings import BoxConfig, load_settings
from agent.setup import finding
from agent.setup.network import addresses, gateway, name_servers
from agent.setup.watch import Watch
from agent.vision.detector import DetectorError
from protocol.documents import SettingsError, read_toml
from protocol.enrolment import Invitation
from protocol.settings import Camera, CamerasDocument, DocumentError, read_document

log = logging.getLogger(__name__)

ENDS_S: Final = 10.0


class DeskError(Exception):
    """What was asked cannot be done; one line for the page, without any secret."""

    def __init__(self, text: str, code: str = "refused") -> None:
        super().__init__(text)
        self.code = code


@dataclass
class Job:
    """Something that takes a while, one at a time.

    Args:
        name: of the call.
        result: None until it is done, or where it failed.
        fault: why it failed.
    """

    name: str
    done: bool = False
    result: Any = None
    fault: str = ""


@dataclass
class Desk:
    """One box being set up.

    Args:
        settings: `box.toml`.
        door: of the box.
        now: seconds since the epoch.
        look_s: for how long a camera is looked at when it is tested.
        find: looks for cameras.
        paths: of streams that are tried.
    """

    settings: Path
    door: Door
    now: Callable[[], float] = time.time
    look_s: float = LOOK_S
    find: Callable[[], list[finding.Found]] = finding.find
    paths: tuple[tuple[str, str], ...] = finding.PATHS
    job: Job | None = field(default=None, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _watch: Watch | None = field(default=None, init=False)
    _eyes: live.Eyes | None = field(default=None, init=False)

    # how it stands

    def state(self) -> dict[str, Any]:
        """All that the page shows of the box; no secret is among it."""
        member = self._member()
        plate = self.door.plate
        document = self._document() if member is not None else CamerasDocument()
        return {
            "name": plate.name if plate else "",
            "version": VERSION,
            "box": None if member is None else member.box,
            "site": None if member is None else member.site,
            "center": None if member is None else member.url,
            "now_s": self.now(),
            "host": socket.gethostname(),
            "addresses": [asdict(one) for one in addresses()],
            "gateway": gateway(),
            "name_servers": name_servers(),
            "cameras": [one.model_dump(mode="json") for one in document.camera],
            "waits": self.door.waiting() is not None,
            "until_s": plate.until_s if plate else None,
            "job": None if self.job is None else asdict(self.job),
        }

    def _member(self) -> Membership | None:
        try:
            return Membership.load(state_dir_of(self.settings))
        except (EnrolmentError, SettingsError):
            return None

    def _config(self) -> BoxConfig:
        try:
            return in_force(load_settings(self.settings))
        except SettingsError as fault:
            raise DeskError(str(fault)) from None

    def _document(self) -> CamerasDocument:
        """What was drawn here last, else what the agent watches."""
        waiting = self.door.waiting()
        if waiting is not None:
            return waiting[0]
        try:
            return self._config().document
        except DeskError:
            return CamerasDocument()

    def _camera(self, camera_id: str) -> Camera:
        for camera in self._document().camera:
            if camera.id == camera_id:
                return camera
        raise DeskError(f"camera {camera_id}: this box has none of that name", "unknown")

    # what takes a while

    def start(self, name: str, work: Callable[[], Any]) -> None:
        """Begin a job; raises DeskError while another one goes on."""
        with self._lock:
            if self.job is not None and not self.job.done:
                raise DeskError(f"{self.job.name} goes on; wait for it", "busy")
            job = self.job = Job(name)
        threading.Thread(target=self._work, args=(job, work), name=f"setup-{name}", daemon=True).start()

    def _work(self, job: Job, work: Callable[[], Any]) -> None:
        try:
            job.result = work()
        except (DeskError, EnrolmentError, SettingsError, CameraError, SecretsError) as fault:
            job.fault = str(fault)
        except Exception as fault:
            log.exception("set-up: %s", job.name)
            job.fault = f"{type(fault).__name__}; the log of the box says more"
        finally:
            job.done = True

    def claim(self, label: str) -> dict[str, str]:
        """Make this box one of a center's, by the text of its label."""
        try:
            invitation = Invitation.read(label)
        except ValueError as fault:
            raise DeskError(str(fault)) from None
        box = read_toml(self.settings).get("box", {}).get("id")
        member = enrol(state_dir_of(self.settings), invitation, VERSION, box)
        log.info("set-up: enrolled: box %s at site %s", member.box, member.site)
        return {"box": member.box, "site": member.site}

    def cameras(self) -> list[dict[str, Any]]:
        """Devices on the local network that may be cameras."""
        return [asdict(one) for one in self.find()]

    def streams(self, host: str, port: int, user: str, password: str) -> dict[str, Any]:
        """The streams of one device, by the paths of common makers."""
        return asdict(finding.find_streams(host, port, user, password, self.paths))

    def test_camera(self, camera: Camera, user: str, password: str) -> list[dict[str, Any]]:
        """Look at a camera as the doctor does."""
        source = self._source(camera, user, password)
        found = examine(source, self.look_s)
        sub = source.of_sub()
        if sub is not None and all(one.state != "FAIL" for one in found):
            name = f"sub-stream {camera.id}"
            try:
                found.append(Finding(name, "ok", compare_views(source, sub)))
            except CameraError as fault:
                found.append(Finding(name, "FAIL", str(fault)))
        return [asdict(one) for one in found]

    def _source(self, camera: Camera, user: str, password: str) -> Source:
        """With the login that was typed; without one, with the one that the box has."""
        known = camera.credentials if not user else None
        source = Source.from_camera(camera.model_copy(update={"credentials": known}), self._config())
        return replace(source, user=user, password=password) if user else source

    def doctor(self) -> list[dict[str, Any]]:
        """Examine the box."""
        config = self._config().with_cameras(self._document())
        return [asdict(one) for one in examine_box(config)]

    # cameras and zones

    def keep_camera(self, camera: Camera, user: str, password: str) -> None:
        """Have the agent watch a camera; one of the same id is replaced and keeps what is drawn on it."""
        config, document = self._config(), self._document()
        if config.settings.center is None:
            raise DeskError("this box has no center: its cameras stand in box.toml, and are changed there")
        known = {one.id: one for one in document.camera}
        before = known.get(camera.id)
        kept = before or camera
        secret = camera.id if user else (before.credentials if before else None)
        addressed = {"source": camera.source, "substream": camera.substream, "credentials": secret}
        known[camera.id] = kept.model_copy(update=addressed)
        if user:
            try:
                put_secret(config.secrets_file, camera.id, user, password)
            except SecretsError as fault:
                raise DeskError(str(fault)) from None
        self._hand_over(tuple(known.values()), (camera.id,) if user else ())

    def drop_camera(self, camera_id: str) -> None:
        """Have the agent watch it no more."""
        self._camera(camera_id)
        self._hand_over(tuple(one for one in self._document().camera if one.id != camera_id))

    def draw(self, camera_id: str, drawing: dict[str, Any]) -> None:
        """Have other zones, masks and ground of a camera; raises DeskError with what is wrong with them."""
        changed = self._camera(camera_id).model_dump(mode="json") | drawing
        document = self._document().values()
        cameras = [changed if one["id"] == camera_id else one for one in document["camera"]]
        try:
            made = read_document({**document, "camera": cameras})
        except DocumentError as fault:
            raise DeskError("; ".join(fault.faults)) from None
        self._hand_over(made.camera)

    def _hand_over(self, cameras: tuple[Camera, ...], renewed: tuple[str, ...] = ()) -> None:
        try:
            self.door.hand_over(CamerasDocument(camera=cameras), renewed)
        except OSError as fault:
            raise DeskError(f"it cannot be written: {fault.strerror}") from None

    # the picture

    def watch(self, camera_id: str, *, test: bool) -> None:
        """Begin to watch a camera in place of what was watched."""
        camera, config = self._camera(camera_id), self._config()
        try:
            source = Source.from_camera(camera, config)
            if self._eyes is None:
                self._eyes = live.open_eyes(config)
        except (SettingsError, CameraError, DetectorError) as fault:
            raise DeskError(str(fault)) from None
        eyes = self._eyes
        if eyes.crowd is None:
            self._eyes = eyes = replace(eyes, crowd=live.open_crowd(eyes.detector, [camera]))
        with self._lock:
            self._end_watch()
            self._watch = Watch(camera, source, eyes, ZoneInfo(config.settings.box.timezone), test=test)
            self._watch.start()

    def look(self) -> dict[str, Any]:
        """What the watched camera shows."""
        watch = self._watch
        if watch is None or not watch.is_alive():
            return {"state": "off"}
        return watch.look()

    def picture(self, name: str) -> bytes | None:
        """One of its pictures."""
        return None if self._watch is None else self._watch.picture(name)

    def focus(self) -> None:
        """Begin to compare anew."""
        if self._watch is not None:
            self._watch.forget_best()

    def _end_watch(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch.join(ENDS_S)
            self._watch = None

    def close(self) -> None:
        """Let go of the camera."""
        with self._lock:
            self._end_watch()

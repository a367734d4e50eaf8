"""Whether the set-up page is open, and what agent and page tell each other.

By files in `setup/` of the state folder::

    door.json    the box's name on the local network, its PIN, until when the page is open
    edit.json    cameras and zones drawn on the page, for the agent to take
    lock         held by whoever serves the page

The page is served by a process of its own (`agent.setup`): whatever breaks there, the agent goes on.
"""

import fcntl
import json
import logging
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from agent.box.enrolment import EnrolmentError, Membership
from agent.box.twin import write_whole
from protocol.documents import SettingsError, read_toml
from protocol.settings import CamerasDocument, DocumentError, read_document
from protocol.supervision import notify

log = logging.getLogger(__name__)

OPEN_S: Final = 1800.0
"""After set-up is finished, and after a center or a file opened the page again."""
AGAIN_S: Final = 30.0
"""A page that ended before its time is started again after this long."""
WAIT_S: Final = 1.0
NEVER_S: Final = 0.0
"""It was never open yet."""
PIN_DIGITS: Final = 8
NAME_LETTERS: Final = "abcdefghjkmnpqrstuvwxyz23456789"


@dataclass(frozen=True)
class Plate:
    """How the door stands; `door.json`.

    Args:
        name: `cityeye-NAME.local`.
        pin: on the label of the box.
        until_s: when it shuts, seconds since the epoch; None: set-up is not finished yet; NEVER_S: it has not begun.
        file_s: time of the file by which it was opened last.
    """

    name: str
    pin: str
    until_s: float | None
    file_s: float = 0.0


class Door:
    """The way into set-up.

    Args:
        state_dir: the box's state folder.
        now: seconds since the epoch.
    """

    def __init__(self, state_dir: Path, now: Callable[[], float]) -> None:
        self.folder = state_dir / "setup"
        self._now = now

    @property
    def plate(self) -> Plate | None:
        """How it stands; None where it never was open, or what is written of it is damaged."""
        try:
            return Plate(**json.loads((self.folder / "door.json").read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    @property
    def open(self) -> bool:
        """Whether the page is to be served now. A clock that is set back does not hold it open."""
        plate = self.plate
        return plate is not None and (plate.until_s is None or 0 < plate.until_s - self._now() <= OPEN_S)

    def begin(self) -> Plate:
        """Open it until set-up is finished, if it has not begun; raises OSError."""
        plate = self.named()
        return self._keep(replace(plate, until_s=None)) if plate.until_s == NEVER_S else plate

    def named(self) -> Plate:
        """Name and PIN, made where there are none; opens nothing. Raises OSError."""
        return self.plate or self._keep(Plate(_name(), _pin(), NEVER_S))

    def open_for_a_while(self, file_s: float | None = None) -> Plate:
        """Open it for OPEN_S, or leave it open where set-up is not finished; raises OSError."""
        plate = self.named()
        until_s = None if plate.until_s is None else self._now() + OPEN_S
        return self._keep(replace(plate, until_s=until_s, file_s=plate.file_s if file_s is None else file_s))

    def finish(self) -> None:
        """Set-up is finished: it shuts OPEN_S from now; raises OSError."""
        self._keep(replace(self.named(), until_s=self._now() + OPEN_S))

    def stay(self) -> None:
        """Somebody works there: it stays open for OPEN_S from now; raises OSError."""
        plate = self.plate
        if self.open and plate is not None and plate.until_s is not None:
            self._keep(replace(plate, until_s=self._now() + OPEN_S))

    def hand_over(self, document: CamerasDocument, renewed: tuple[str, ...]) -> None:
        """Leave what was drawn for the agent; raises OSError.

        Args:
            document: cameras and zones.
            renewed: names of secrets that are new.
        """
        waiting = self.waiting()
        renewed = tuple(dict.fromkeys((*(waiting[1] if waiting else ()), *renewed)))
        values = {"document": document.values(), "renewed": renewed}
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(self.folder / "edit.json", json.dumps(values, ensure_ascii=False).encode())

    def waiting(self) -> tuple[CamerasDocument, tuple[str, ...]] | None:
        """What was left and not taken yet."""
        try:
            values: Any = json.loads((self.folder / "edit.json").read_bytes())
            return read_document(values["document"]), tuple(str(name) for name in values["renewed"])
        except (OSError, ValueError, LookupError, TypeError, AttributeError, DocumentError):
            return None

    def taken(self) -> None:
        """Forget what was left."""
        (self.folder / "edit.json").unlink(missing_ok=True)

    def lock(self) -> int | None:
        """Become the one who serves the page; None where another one does. Raises OSError."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    def _keep(self, plate: Plate) -> Plate:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(self.folder / "door.json", json.dumps(asdict(plate)).encode())
        return plate


class Doorman:
    """Has the page served while the door is open, beside the agent; never raises.

    Args:
        door: of this box.
        settings: `box.toml`.
        file: on the boot partition; whoever puts a new one there opens the door.
        monotonic: seconds that never jump.
    """

    def __init__(self, door: Door, settings: Path, file: Path, monotonic: Callable[[], float]) -> None:
        self.door, self._settings, self._file, self._monotonic = door, settings, file, monotonic
        self._child: subprocess.Popen[bytes] | None = None
        self._not_before_s = 0.0

    def tend(self) -> None:
        """Look at the door; start the page where it is open and nobody serves it."""
        try:
            self._look_for_file()
            if self._child is not None and self._child.poll() is not None:
                self._child = None
            if self._child is None and self.door.open and self._monotonic() >= self._not_before_s:
                self._start()
        except Exception:
            log.exception("set-up: the page cannot be served")

    def _look_for_file(self) -> None:
        try:
            file_s = self._file.stat().st_mtime
        except OSError:
            return
        plate = self.door.plate
        if plate is None or plate.file_s != file_s:
            log.info("set-up: opened by %s", self._file)
            self.door.open_for_a_while(file_s)

    def _start(self) -> None:
        self._not_before_s = self._monotonic() + AGAIN_S
        held = self.door.lock()
        if held is None:
            return
        os.close(held)
        command = [sys.executable, "-m", "agent.setup", str(self._settings.resolve())]
        # what it says goes where the agent's log goes
        self._child = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def close(self) -> None:
        """End the page."""
        if self._child is not None:
            self._child.terminate()
            try:
                self._child.wait(5)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
            self._child = None


def wait_for_claim(doorman: Doorman, unclaimed: Callable[[], bool]) -> None:
    """Have the page served until somebody has claimed the box by it."""
    doorman.door.begin()
    log.info("nobody has claimed this box yet: the set-up page is open")
    notify("READY=1")
    while unclaimed():
        doorman.tend()
        notify("WATCHDOG=1")
        time.sleep(WAIT_S)


def nobody_yet(settings: Path) -> bool:
    """Whether these settings leave it to an enrolment who this box is, and there was none; raises SettingsError."""
    box = read_toml(settings).get("box", {})
    if not isinstance(box, dict) or "id" in box:
        return False
    try:
        return Membership.load(state_dir_of(settings)) is None
    except EnrolmentError as fault:
        raise SettingsError(str(fault)) from None


def state_dir_of(settings: Path) -> Path:
    """The state folder of settings that may not be whole yet; raises SettingsError."""
    box = read_toml(settings).get("box", {})
    state = box.get("state_dir", "state") if isinstance(box, dict) else "state"
    return (settings.resolve().parent / str(state)).resolve()


def _name() -> str:
    return "".join(secrets.choice(NAME_LETTERS) for _ in range(6))


def _pin() -> str:
    return f"{secrets.randbelow(10**PIN_DIGITS):0{PIN_DIGITS}}"

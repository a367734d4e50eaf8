"""Whether the set-up page is open, and what it and the agent tell each other by files in `setup/` of the state folder.

`door.json`: the box's name and PIN, and until when; `edit.json`: what was drawn, for the agent; `lock`: of whoever
serves the page, a process of its own (`agent.setup`): whatever breaks there, the agent goes on.
"""

import contextlib
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
from typing import Final

from agent import VERSION
from agent.box.enrolment import FOLDER, EnrolmentError, Membership, RefusedError, enrol
from agent.box.standing import Board, Standing, read_run
from agent.box.twin import write_whole
from protocol.documents import SettingsError, read_toml
from protocol.enrolment import Invitation, plate_of
from protocol.settings import CamerasDocument, read_document
from protocol.supervision import notify

log = logging.getLogger(__name__)

OPEN_S: Final = 1800.0
"""After set-up is finished, and after a center or a file opened the page again."""
AGAIN_S: Final = 30.0
NEVER_S: Final = 0.0
FIRST_CLAIM_S: Final = 1.0
LAST_CLAIM_S: Final = 300.0
"""Between two tries of the card's claim, doubling."""
REFUSED_S: Final = 60.0
"""At least, where a center answered that it will not: it counts failed tries."""
LETTERS: Final = "abcdefghjkmnpqrstuvwxyz23456789"


@dataclass(frozen=True)
class Plate:
    """`door.json`.

    Args:
        name: `cityeye-NAME.local`.
        until_s: when it shuts; None: set-up goes on; NEVER_S: it never began.
        file_s: time of the file that opened it last.
    """

    name: str
    pin: str
    until_s: float | None
    file_s: float = 0.0


class Door:
    """The way into set-up; what writes raises OSError."""

    def __init__(self, state_dir: Path, now: Callable[[], float]) -> None:
        self.folder, self._now = state_dir / "setup", now

    @property
    def plate(self) -> Plate:
        """How it stands; made where there is none, or a damaged one."""
        with contextlib.suppress(FileNotFoundError, ValueError, TypeError):
            values = json.loads((self.folder / "door.json").read_text("utf-8"))
            # a newer agent, before it was taken back, may have known more
            return Plate(**{name: values[name] for name in Plate.__dataclass_fields__ if name in values})
        name = "".join(secrets.choice(LETTERS) for _ in range(6))
        return self._keep(Plate(name, f"{secrets.randbelow(10**8):08}", NEVER_S))

    @property
    def open(self) -> bool:
        """Whether the page is to be served now; a clock that is set back does not hold it open."""
        if not (self.folder / "door.json").exists():
            return False
        until_s = self.plate.until_s
        return until_s is None or 0 < until_s - self._now() <= OPEN_S

    def address(self, port: int) -> str:
        """Of the page; empty while it is shut."""
        return f"https://cityeye-{self.plate.name}.local:{port}/" if self.open else ""

    def engrave(self, name: str, pin: str) -> None:
        """Take what is printed on the label already, where there is no plate yet."""
        if not (self.folder / "door.json").exists():
            self._keep(Plate(name, pin, NEVER_S))

    def begin(self) -> None:
        """Open it until set-up is finished, if that never began."""
        if self.plate.until_s == NEVER_S:
            self._keep(replace(self.plate, until_s=None))

    def finish(self, file_s: float | None = None) -> None:
        """Shut it OPEN_S from now."""
        plate = self.plate
        self._keep(replace(plate, until_s=self._now() + OPEN_S, file_s=plate.file_s if file_s is None else file_s))

    def open_again(self, file_s: float | None = None) -> Plate:
        """Open it for OPEN_S, by a file of this time; leave it open where set-up goes on."""
        if self.plate.until_s is not None:
            self.finish(file_s)
        return self.plate

    def stay(self) -> None:
        """Somebody works there."""
        if self.open:
            self.open_again()

    def hand_over(self, document: CamerasDocument, renewed: tuple[str, ...] = ()) -> None:
        """Leave for the agent what was drawn, and which secrets are new."""
        waiting = self.waiting()
        values = {"document": document.values(), "renewed": [*(waiting[1] if waiting else ()), *renewed]}
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(self.folder / "edit.json", json.dumps(values, ensure_ascii=False).encode())

    def waiting(self) -> tuple[CamerasDocument, tuple[str, ...]] | None:
        """What was left and not taken yet."""
        try:
            values = json.loads((self.folder / "edit.json").read_bytes())
            return read_document(values["document"]), tuple(map(str, values["renewed"]))
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return None

    def taken(self) -> None:
        """Forget what was left."""
        (self.folder / "edit.json").unlink(missing_ok=True)

    @property
    def connected(self) -> bool:
        """Whether the agent beside the page has its line to the broker, which a second one with its name would cut."""
        return (self.folder / "connected").exists()

    def tell(self, *, connected: bool) -> None:
        """Say so to the page."""
        file = self.folder / "connected"
        file.touch() if connected else file.unlink(missing_ok=True)

    def lock(self) -> int | None:
        """Become the one who serves the page: a descriptor; None where another does."""
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
    """Has the page served while the door is open; never raises. A new `file` on the boot partition opens it."""

    def __init__(self, door: Door, settings: Path, file: Path, monotonic: Callable[[], float]) -> None:
        self.door, self._settings, self._file, self._monotonic = door, settings, file, monotonic
        self._page: subprocess.Popen[bytes] | None = None
        self._told: bool | None = None
        self._not_before_s = float("-inf")

    def tend(self, *, connected: bool = False) -> None:
        """Look at file and door; start the page where nobody serves it, and tell it of the agent's line."""
        try:
            self._look_for_file()
            if self._page is not None and self._page.poll() is not None:
                self._page = None
            if self._page is None and self.door.open and self._monotonic() >= self._not_before_s:
                self._not_before_s = self._monotonic() + AGAIN_S
                self._start()
            if self._page is not None and self._told is not connected:
                self.door.tell(connected=connected)
                self._told = connected
        except Exception:
            # whatever breaks there, the agent's own work goes on
            log.exception("set-up: the page cannot be served")

    def _look_for_file(self) -> None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            file_s = self._file.stat().st_mtime
            if self.door.plate.file_s != file_s:
                log.info("set-up: opened by %s", self._file)
                self.door.open_again(file_s)

    def _start(self) -> None:
        held = self.door.lock()
        if held is not None:
            os.close(held)
            command = [sys.executable, "-m", "agent.setup", str(self._settings.resolve())]
            self._page = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def wait_for_claim(self, run_dir: Path, port: int) -> None:
        """Have the page served until the box is claimed: by somebody there, or by the card's claim in `run_dir`."""
        claim = CardClaim(self.door.folder.parent, run_dir, self._monotonic)
        if claim.plate is not None:
            self.door.engrave(*claim.plate)
        self.door.begin()
        log.info("nobody has claimed this box yet: the set-up page is open")
        notify("READY=1")
        state_dir, board = self.door.folder.parent, Board(run_dir)
        # to read more than that it is there would mend it while it is being written
        while not (state_dir / FOLDER / "center.json").exists():
            board.post(replace(claim.standing, page=self.door.address(port), pin=self.door.plate.pin))
            if claim.tend():  # first, so that the page's start does not hold it up
                break
            self.tend()
            notify("WATCHDOG=1")
            time.sleep(1)

    def close(self) -> None:
        """End the page."""
        if self._page is not None:
            self._page.kill()
            self._page.wait()


class CardClaim:
    """Takes the card's claim to the center, again and again, ever more slowly."""

    def __init__(self, state_dir: Path, run_dir: Path, monotonic: Callable[[], float]) -> None:
        self._state_dir, self._monotonic = state_dir, monotonic
        label = read_run(run_dir / "claim.json").get("label")
        self.standing = Standing(claim="trying" if label else "")
        self._invitation = Invitation.read(str(label)) if label else None
        self.plate = plate_of(self._invitation.claim) if self._invitation else None
        self._not_before_s, self._wait_s = float("-inf"), FIRST_CLAIM_S

    def tend(self) -> bool:
        """Try it where it is time to; whether it has succeeded."""
        if self._invitation is None or self._monotonic() < self._not_before_s:
            return False
        try:
            member = enrol(self._state_dir, self._invitation, VERSION)
        except (EnrolmentError, OSError) as fault:  # a full disk too may be mended
            refused = isinstance(fault, RefusedError)
            if self.standing.fault != str(fault):
                log.warning("the card's claim: %s; it is tried again", fault)
            self.standing = Standing(claim="refused" if refused else "silent", fault=str(fault))
            self._not_before_s = self._monotonic() + max(self._wait_s, REFUSED_S * refused)
            self._wait_s = min(2 * self._wait_s, LAST_CLAIM_S)
            return False
        log.info("the card's claim: enrolled: box %s at site %s", member.box, member.site)
        return True


def nobody_yet(settings: Path) -> bool:
    """Whether these settings leave it to a claim who this box is, and there was none; raises SettingsError."""
    box = read_toml(settings).get("box", {})
    try:
        return isinstance(box, dict) and "id" not in box and Membership.load(state_dir_of(settings)) is None
    except EnrolmentError as fault:
        raise SettingsError(str(fault)) from None


def state_dir_of(settings: Path) -> Path:
    """The state folder of settings that may not be whole yet; raises SettingsError."""
    box = read_toml(settings).get("box", {})
    state = box.get("state_dir", "state") if isinstance(box, dict) else "state"
    return (settings.resolve().parent / str(state)).resolve()

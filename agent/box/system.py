"""The box's system in two slots, as root sees it: install what the agent has fetched, try it, keep it or go back.

    install    `wanted.json` names a bundle: RAUC installs it into the other slot, which is tried from the next start on
    confirm    `healthy` names this start: what is on trial is kept
    deadline   still on trial: the slot is given up (the unit then starts the box anew, whatever becomes of this)
    boot       at each start: what became of a trial
    status     how things stand

The agent writes into a folder of its own, so nothing in it is believed: names are opened without following links, and a
bundle is taken out of its reach before it is looked at. What root says lies in `/run/cityeye/system.json`. Only the
standard library: what goes back to the other slot must work when little else does.
"""

import argparse
import contextlib
import fcntl
import hashlib
import json
import logging
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

from agent.box.bootslot import SLOTS, TRIAL
from agent.box.twin import read_twice, sync, write_twice, write_whole

log = logging.getLogger(__name__)

BUNDLE: Final = "bundle.raucb"
WANTED: Final = "wanted.json"
HEALTHY: Final = "healthy"
INSTALL_S: Final = 1800
ASK_S: Final = 120
_WANTED_BYTES: Final = 65536
_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_VERSION: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+~-]{0,63}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")

_ALTERED: Final = "it was altered: its content is not what was signed"
# what RAUC 1.8 says, and what it means to a person
_REASONS: Final = (
    ("Compatible mismatch", "it was made for another board"),
    ("unable to get local issuer certificate", "it is signed by somebody else than this box's maker"),
    ("certificate has expired", "its signature's certificate has expired, or the box's clock is wrong"),
    ("certificate is not yet valid", "the box's clock is wrong: its signature's certificate is not valid yet"),
    ("No space left on device", "there is no room for it"),
    ("too small", "the slot has no room for it"),
    ("ignature", "it was altered or cut short: its signature does not fit"),
    ("verify error", _ALTERED),
    ("corrupt", _ALTERED),
    ("nput/output error", _ALTERED),
)


class RefusalError(Exception):
    """Why something is not installed; one line."""


@dataclass(frozen=True)
class Places:
    """Where things lie on a box."""

    agent: Path = Path("/data/cityeye/system")
    own: Path = Path("/data/system")
    run: Path = Path("/run/cityeye")
    image: Path = Path("/etc/cityeye-image")
    cmdline: Path = Path("/proc/cmdline")
    boot_id: Path = Path("/proc/sys/kernel/random/boot_id")
    bootslot: Path = Path("/usr/lib/cityeye/bootslot")


@dataclass(frozen=True)
class Wanted:
    """What the agent asks for; `live`: cameras that were live when it did."""

    rollout: int
    version: str
    sha256: str
    live: tuple[str, ...]

    @classmethod
    def of(cls, content: bytes) -> "Wanted":
        """Read it; raises RefusalError, which quotes nothing of it: it may be any file of root's."""
        try:
            values = json.loads(content)
            wanted = cls(values["rollout"], values["version"], values["sha256"], tuple(values["live"]))
            good = type(wanted.rollout) is int and 0 < wanted.rollout < 1 << 53 and len(wanted.live) <= 256
            named = ((_VERSION, wanted.version), (_SHA256, wanted.sha256), *((_ID, one) for one in wanted.live))
            if good and all(pattern.fullmatch(text) for pattern, text in named):
                return wanted
        except (ValueError, KeyError, TypeError, RecursionError):
            pass
        raise RefusalError(f"{WANTED}: expected rollout, version, sha256 and live")


@dataclass(frozen=True)
class Last:
    """What became of the last bundle.

    Args:
        state: `installing`, `refused`, `trial`, `taken` or `rolled_back`.
        slot: that it is installed into.
        starts: of the trial that got as far as its services.
        text: for people.
    """

    rollout: int | None
    version: str
    sha256: str
    slot: str
    state: str
    text: str = ""
    live: tuple[str, ...] = ()
    starts: int = 0

    @classmethod
    def of(cls, values: dict[str, Any]) -> "Last":
        """Read it back, as an older or newer version in the other slot has written it; raises TypeError."""
        known = {one.name: values[one.name] for one in fields(cls) if one.name in values}
        return cls(**known | {"live": tuple(known.get("live", ()))})


class System:
    """The box's two slots; `work` holds it, one at a time."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.image = dict(
            line.split("=", 1) for line in places.image.read_text("utf-8").splitlines() if "=" in line
        )  # KEY=value, as a shell reads it
        line = places.cmdline.read_text("utf-8").split()
        self.slot = next((one.removeprefix("rauc.slot=") for one in line if one.startswith("rauc.slot=")), "")
        if self.slot not in SLOTS:
            raise RefusalError(f"expected rauc.slot=a or b on the kernel's command line, got {self.slot or 'none'}")
        self._tried = TRIAL in line
        self.last: Last | None = None
        self.failed: dict[str, int | None] = {}
        """Bundles that were rolled back, by SHA-256: the roll-out that asked for each."""

    @property
    def other(self) -> str:
        """The slot that does not run."""
        return SLOTS[1 - SLOTS.index(self.slot)]

    @property
    def on_trial(self) -> bool:
        """Whether what runs may still be taken back."""
        return self._tried and not (self.places.run / "confirmed").exists()

    @contextlib.contextmanager
    def work(self) -> Iterator[None]:
        """Be the only one, know what was before, and say how things stand after."""
        with (self.places.own / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                values = read_twice(self.places.own / "last.json", json.loads)
                last = values["last"]
                self.last = None if last is None else Last.of(last)
                self.failed = dict(values["failed"])
            except FileNotFoundError:
                pass
            except (OSError, ValueError, KeyError, TypeError) as fault:
                log.error("last.json: damaged (%s): what was before is not known", type(fault).__name__)  # noqa: TRY400 - one line
            try:
                yield
            finally:
                self._publish()

    def _note(self, last: Last) -> None:
        """Keep it, whatever happens to the power, and say it."""
        self.last = last
        if last.state == "rolled_back":
            self.failed = {**self.failed, last.sha256: last.rollout}
        values = {"last": asdict(last), "failed": dict(list(self.failed.items())[-20:])}
        write_twice(self.places.own / "last.json", json.dumps(values).encode())
        self._publish()
        log.info("%s %s: %s %s", last.version, last.sha256[:16], last.state, last.text)

    def _publish(self) -> None:
        values = {
            "slot": self.slot,
            "version": self.image.get("VERSION", ""),
            "compatible": self.image.get("COMPATIBLE", ""),
            "trial": self.on_trial,
            "last": None if self.last is None else asdict(self.last),
        }
        write_whole(self.places.run / "system.json", json.dumps(values).encode(), 0o644)

    # each start

    def boot(self) -> None:
        """Find out what became of a trial, or of an installation that the power was cut in."""
        last = self.last
        if last is None or last.state not in ("trial", "installing"):
            return
        if last.slot == self.slot:
            if self._tried:
                self._note(replace(last, state="trial", starts=last.starts + 1))
            else:  # the power was cut after it was marked good: what is left of the trial's entries goes
                self._ask(self.places.bootslot, "set-state", self.slot, "good")
                self._note(replace(last, state="taken", text=""))
            return
        tries = self._ask(self.places.bootslot, "tries", last.slot).split()
        if tries or last.state == "trial":
            self._ask(self.places.bootslot, "set-state", last.slot, "bad")
            self._note(replace(last, state="rolled_back", text=last.text or _why(last, tries)))
        elif not (self.places.agent / WANTED).exists():
            self._refuse(last, "the power was cut while it was installed, and nobody asks for it any more")

    # install

    def install(self) -> bool:
        """Install what is wanted; True: start the box anew. Raises RefusalError where nothing was asked well."""
        if self.on_trial:
            raise RefusalError("a trial goes on: expected it to be confirmed or rolled back first; it waits until then")
        try:
            wanted = Wanted.of(self._read(WANTED, _WANTED_BYTES))
        except FileNotFoundError:
            return False
        except RefusalError:
            self._forget(WANTED)
            raise
        last = self.last
        if last is not None and (last.rollout, last.sha256) == (wanted.rollout, wanted.sha256) and last.state in _DONE:
            self._forget(WANTED)  # the power was cut before it went
            return False
        now = Last(wanted.rollout, wanted.version, wanted.sha256, self.other, "installing", live=wanted.live)
        self._note(now)
        try:
            path = self._take(wanted)
            self._check(path, wanted)
            self._rauc("install", path, timeout_s=INSTALL_S)
            self._note(replace(now, state="trial"))
        except RefusalError as fault:
            self._refuse(now, str(fault))
        except OSError as fault:
            self._refuse(now, f"{fault.filename or BUNDLE}: {fault.strerror}")
        self._clear()
        self._forget(WANTED)
        return self.last is not None and self.last.state == "trial"

    def _take(self, wanted: Wanted) -> Path:
        """Bring the bundle where the agent can neither name nor write it, then see that it is the one."""
        if wanted.rollout == self.failed.get(wanted.sha256):
            raise RefusalError("it was rolled back before, by this very roll-out; a new roll-out tries it again")
        path = self.places.own / BUNDLE
        # without: from before a cut of the power
        with contextlib.suppress(FileNotFoundError), self._folder() as folder:
            if not stat.S_ISREG(os.stat(BUNDLE, dir_fd=folder, follow_symlinks=False).st_mode):
                raise RefusalError(f"{BUNDLE}: expected a file, not a link or a folder")
            self._clear()
            os.rename(BUNDLE, path, src_dir_fd=folder)
            sync(path.parent)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            raise RefusalError(f"expected {BUNDLE} beside {WANTED}, got none") from None
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
                raise RefusalError(f"{BUNDLE}: expected a file with one name")
            os.fchown(descriptor, os.geteuid(), os.getegid())
            os.fchmod(descriptor, 0o600)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != wanted.sha256:
            size = f"{found.st_size} bytes of SHA-256 {digest[:16]}…"
            raise RefusalError(f"it was altered or cut short: expected SHA-256 {wanted.sha256[:16]}…, got {size}")
        return path

    def _clear(self) -> None:
        """Remove what lies in a bundle's place, a folder too: the agent may swap one in between a look and a rename."""
        path = self.places.own / BUNDLE
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def _check(self, path: Path, wanted: Wanted) -> None:
        """See that the bundle is whose it says; an older one may be wanted, and is tried like any other."""
        try:
            version = json.loads(self._rauc("info", "--output-format=json", path))["version"]
        except (ValueError, KeyError, TypeError):
            raise RefusalError("expected RAUC to know its version") from None
        if version != wanted.version:
            raise RefusalError(f"expected version {wanted.version}, the bundle is {version!s:.64}")

    def _refuse(self, last: Last, text: str) -> None:
        self._note(replace(last, state="refused", text=text))

    # a trial

    def confirm(self) -> None:
        """Keep what is on trial, if the agent says that this start is healthy."""
        try:
            said = self._read(HEALTHY, 64).decode("ascii", "replace").strip()
        except FileNotFoundError:
            return
        if self.on_trial and said == self.places.boot_id.read_text("ascii").strip():
            # through RAUC: a system whose updater does not work is not kept
            self._rauc("status", "mark-good", "booted")
            write_whole(self.places.run / "confirmed", b"", 0o644)
            if self.last is not None and self.last.slot == self.slot:
                self._note(replace(self.last, state="taken", text=""))
        self._forget(HEALTHY)  # what failed until here is tried again

    def deadline(self) -> None:
        """Give up what is on trial; the unit starts the box anew."""
        if self.on_trial:
            if self.last is not None and self.last.slot == self.slot:
                self._note(replace(self.last, text="it was not healthy in time"))
            self._ask(self.places.bootslot, "set-state", self.slot, "bad")

    # others

    def _rauc(self, *arguments: str | Path, timeout_s: float = ASK_S) -> str:
        return self._ask("rauc", *arguments, timeout_s=timeout_s)

    def _ask(self, *command: str | Path, timeout_s: float = ASK_S) -> str:
        """Run a program; raises RefusalError with what it said last and what that means."""
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise RefusalError(f"{command[0]} {command[1]}: expected an end within {timeout_s:.0f} s") from None
        if done.returncode == 0:
            return done.stdout
        said = done.stderr + done.stdout
        log.error("%s: exit %d: %s", " ".join(map(str, command)), done.returncode, said.strip())
        line = next((one for one in said.splitlines() if one.startswith("LastError")), said.strip().rpartition("\n")[2])
        means = next(
            (means for words, means in _REASONS if words in line), f"{Path(command[0]).name.upper()} broke off"
        )
        raise RefusalError(f"{means} ({line.strip()[:300]})")

    # the agent's folder

    @contextlib.contextmanager
    def _folder(self) -> Iterator[int]:
        try:
            descriptor = os.open(self.places.agent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except NotADirectoryError:
            raise RefusalError(f"{self.places.agent}: expected a folder, not a link") from None
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _read(self, name: str, most_bytes: int) -> bytes:
        """Read a small file of the agent's; raises FileNotFoundError and RefusalError."""
        with self._folder() as folder:
            try:
                descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
            except FileNotFoundError:
                raise
            except OSError as fault:
                raise RefusalError(f"{name}: expected a file, not a link ({fault.strerror})") from None
            with os.fdopen(descriptor, "rb") as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise RefusalError(f"{name}: expected a file")
                return file.read(most_bytes)  # whatever it is, nothing of it is quoted

    def _forget(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError), self._folder() as folder:
            os.unlink(name, dir_fd=folder)


_DONE: Final = ("trial", "taken", "rolled_back")


def _why(last: Last, tries: list[str]) -> str:
    """Why a trial is over, as far as the tries tell: its left and used ones, or none where it has no entry."""
    if not tries:
        return "its boot entry was taken away"
    left, done = map(int, tries)
    if left:
        return f"the other slot was started with {left} tries left"
    return (
        f"started {done} times, {last.starts} as far as its services, none healthy: it panicked, hung or lost its power"
    )


def main(arguments: list[str], places: Places | None = None) -> int:
    """Carry out one verb; exit 0 when done (`install`: the box is to be started anew), 1 when not."""
    parser = argparse.ArgumentParser(prog="cityeye-agent system", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("verb", choices=("install", "confirm", "deadline", "boot", "status"))
    verb: str = parser.parse_args(arguments).verb
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    places = places or Places()
    try:
        if verb == "status":
            print((places.run / "system.json").read_text("utf-8"))  # noqa: T201 - what was asked for
            return 0
        system = System(places)
        with system.work():
            done: bool | None = getattr(system, verb)()
    except (RefusalError, OSError) as fault:
        log.error("system %s: %s", verb, fault)  # noqa: TRY400 - one line
        return 1
    return int(done is False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

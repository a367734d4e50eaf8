"""Which slot systemd-boot starts: RAUC's boot loader backend over the entries of the EFI system partition (ESP).

A slot's entry without a counter is good; `+3` in its name gives it so many tries; without an entry it is never started.
systemd-boot 252 starts the newest `version` that has tries left (boot.c, config_entry_compare). Nothing here touches
files or entry of the other slot, and no slot is given up unless the other one is whole and good.

FAT has no journal: what is not synced may be there or not, in any order. So each name is made from a synced file and
synced before the next step relies on it, nothing is renamed over a file that is there, and a kernel is written only
while its slot has no entry. Only the standard library: it must work when little else does.
"""

import argparse
import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SLOTS: Final = ("a", "b")
TRIES: Final = 3
TRIAL: Final = "cityeye.trial"
"""On the kernel's command line of a slot that is tried."""
ENTRIES: Final = Path("loader/entries")
FILES: Final = Path("cityeye")
_DEVICE: Final = Path("/dev/disk/by-partlabel/esp")
_MOUNT: Final = Path("/efi")
_LOCK: Final = Path("/run/cityeye-esp.lock")
_NAME: Final = re.compile(r"cityeye-([ab])(?:\+(\d+)(?:-(\d+))?)?\.conf")


class BootError(Exception):
    """What cannot be done; one line that says what was expected, what came and what to do."""


class Volume:
    """The ESP as a folder. Each method is a step after which the power may be cut; all raise OSError."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: Path, content: Path | bytes) -> None:
        """Make a file that is not there yet."""
        folder = path.parent
        if not (self.root / folder).is_dir():
            (self.root / folder).mkdir(parents=True)
            for made in (folder, *folder.parents):
                self.sync(made)
        with (self.root / path).open("xb") as to:
            if isinstance(content, bytes):
                to.write(content)
            else:
                with content.open("rb") as file:
                    shutil.copyfileobj(file, to, 1 << 20)

    def sync(self, path: Path) -> None:
        """Have a file's content, or a folder's names, survive a cut."""
        descriptor = os.open(self.root / path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, path: Path, to: Path) -> None:
        """Give a file a name that is not there yet."""
        (self.root / path).rename(self.root / to)

    def remove(self, path: Path) -> None:
        """Delete a file, if it is there."""
        (self.root / path).unlink(missing_ok=True)


@dataclass(frozen=True)
class Entry:
    """A slot's entry; `left`: tries, None when it is good."""

    name: str
    slot: str
    left: int | None
    done: int
    version: int


class Loader:
    """What systemd-boot finds on the ESP."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume

    def entries(self) -> list[Entry]:
        """Those whose kernel is there, in the order in which systemd-boot takes them."""
        found = []
        for path in (self._volume.root / ENTRIES).glob("cityeye-*.conf"):
            match = _NAME.fullmatch(path.name)
            lines = dict(line.split(" ", 1) for line in path.read_text("utf-8", "replace").splitlines() if " " in line)
            if match is None or not (self._volume.root / lines.get("linux", "/missing")[1:]).is_file():
                continue
            slot, left, done = match.groups()
            version = int(lines.get("version", "0")) if lines.get("version", "0").isdecimal() else 0
            found.append(Entry(path.name, slot, None if left is None else int(left), int(done or 0), version))
        return sorted(found, key=lambda one: (one.left == 0, -one.version, one.name))

    def primary(self) -> str:
        """Which slot is started next."""
        entries = self.entries()
        if not entries:
            raise BootError("expected an entry that can be started in loader/entries, got none")
        return entries[0].slot

    def is_good(self, slot: str) -> bool:
        """Whether it has an entry for ever, and the files that belong to it."""
        return any(one.slot == slot and one.left is None for one in self.entries()) and self._about(slot) is not None

    def put_kernel(self, slot: str, root: Path) -> None:
        """Copy kernel, initrd and command line from a slot's root; the slot is not started before `set_primary`."""
        self.give_up(slot)
        sources = {"linux": root / "boot/linux", "initrd": root / "boot/initrd"}
        options = (root / "etc/kernel/cmdline").read_text("utf-8").strip()
        about = "\n".join((*map(_sha256, sources.values()), _digest(options), options))
        folder = FILES / slot
        for name in ("about", *sources):
            self._volume.remove(folder / name)
        if (self._volume.root / folder).is_dir():  # their clusters are free on the disk too, before others take them
            self._volume.sync(folder)
        for name, path in sources.items():
            self._volume.write(folder / name, path)
            self._volume.sync(folder / name)
        self._put(folder / "about", about.encode())

    def set_primary(self, slot: str) -> None:
        """Have a slot tried from the next start on; nothing to do where it is the next one anyway."""
        if not any(one.slot == slot and one.left != 0 for one in self.entries()[:1]):
            # the other one's is never touched, so this one's must be newer; it has no entry: give_up has seen to that
            self.give_up(slot)
            self._enter(slot, TRIES)

    def set_good(self, slot: str) -> None:
        """Have a slot started for ever; raises BootError where its files are not whole."""
        if not self.is_good(slot):
            self._enter(slot, None)
        for one in self.entries():
            if one.slot == slot and one.left is not None:
                self._volume.remove(ENTRIES / one.name)
        self._volume.sync(ENTRIES)

    def give_up(self, slot: str) -> None:
        """Take a slot's entries away; raises BootError where the other one is not good."""
        names = [path.name for path in (self._volume.root / ENTRIES).glob(f"cityeye-{slot}*.conf")]
        if not names:
            return
        (other,) = set(SLOTS) - {slot}
        if not self.is_good(other):
            raise BootError(f"slot {slot} stays: expected slot {other} to be good and whole before it is given up")
        for name in names:
            self._volume.remove(ENTRIES / name)
        self._volume.sync(ENTRIES)

    def _enter(self, slot: str, tries: int | None) -> None:
        options = self._about(slot)
        if options is None:
            raise BootError(f"slot {slot}: expected kernel and initrd on the ESP as {FILES / slot / 'about'} says")
        version = max((one.version for one in self.entries()), default=0) + 1
        line = f"root=PARTLABEL=root-{slot} rauc.slot={slot} {options}" + (f" {TRIAL}" if tries else "")
        paths = f"linux /{FILES}/{slot}/linux\ninitrd /{FILES}/{slot}/initrd"
        text = f"title CityEye {slot}\nsort-key cityeye\nversion {version}\n{paths}\noptions {line}\n"
        self._put(ENTRIES / f"cityeye-{slot}{f'+{tries}' if tries else ''}.conf", text.encode())

    def _put(self, path: Path, content: bytes) -> None:
        # systemd-boot passes over names that begin with a dot
        part = path.with_name(f".{path.name}.part")
        self._volume.remove(part)
        self._volume.write(part, content)
        self._volume.sync(part)
        self._volume.rename(part, path)
        self._volume.sync(path.parent)

    def _about(self, slot: str) -> str | None:
        """A slot's command line; None where its files are not what was written."""
        folder = self._volume.root / FILES / slot
        try:
            *digests, options = (folder / "about").read_text("utf-8").splitlines()
            whole = [_sha256(folder / "linux"), _sha256(folder / "initrd"), _digest(options)]
        except (OSError, ValueError):
            return None
        return options if digests == whole else None


@contextlib.contextmanager
def _mounted(*, write: bool) -> Iterator[Path]:
    """Mount the ESP for a moment; the wrapper has given this process a mount namespace of its own."""
    with _LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if write:
            # gives back what a cut has left, and makes both copies of the table the same; says nothing new by its code
            subprocess.run(["fsck.vfat", "-a", _DEVICE], check=False, stdout=sys.stderr, timeout=120)
        options = f"{'rw' if write else 'ro'},nodev,nosuid,noexec,umask=0077"
        subprocess.run(["mount", "-t", "vfat", "-o", options, _DEVICE, _MOUNT], check=True, timeout=120)
        try:
            yield _MOUNT
        finally:
            subprocess.run(["umount", _MOUNT], check=True, timeout=120)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _state(loader: Loader, slot: str) -> str:
    return "good" if any(one.slot == slot and one.left != 0 for one in loader.entries()) else "bad"


def _tries(loader: Loader, slot: str) -> str:
    """What is left and what was used, or nothing where a slot has no entry with a counter."""
    return next((f"{one.left} {one.done}" for one in loader.entries() if one.slot == slot and one.left is not None), "")


def main(arguments: list[str]) -> int:
    """Carry out one call of RAUC's, of the bundle's hook or of the image's builder; 1 where it cannot be done."""
    parser = argparse.ArgumentParser(prog="bootslot", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--esp", type=Path, help="a folder in place of the partition")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("get-primary", "set-primary", "get-state", "set-state", "kernel", "tries"):
        one = verbs.add_parser(verb)
        if verb != "get-primary":
            one.add_argument("slot", choices=SLOTS)
        if verb == "set-state":
            one.add_argument("state", choices=("good", "bad"))
        if verb == "kernel":
            one.add_argument("root", type=Path, help="the root that was installed into the slot")
    asked = parser.parse_args(arguments)
    do: dict[str, Callable[[Loader], str | None]] = {
        "get-primary": lambda loader: loader.primary(),
        "set-primary": lambda loader: loader.set_primary(asked.slot),
        "get-state": lambda loader: _state(loader, asked.slot),
        "set-state": lambda loader: (loader.set_good if asked.state == "good" else loader.give_up)(asked.slot),
        "kernel": lambda loader: loader.put_kernel(asked.slot, asked.root),
        "tries": lambda loader: _tries(loader, asked.slot),
    }
    write = asked.verb in ("set-primary", "set-state", "kernel")
    try:
        with contextlib.nullcontext(asked.esp) if asked.esp else _mounted(write=write) as root:
            said = do[asked.verb](Loader(Volume(root)))
    except (BootError, OSError, subprocess.SubprocessError) as fault:
        print(f"bootslot {asked.verb}: {fault}", file=sys.stderr)  # noqa: T201 - RAUC takes it into its log
        return 1
    if said is not None:
        print(said)  # noqa: T201 - RAUC's protocol
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

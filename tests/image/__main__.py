"""`python -m tests.image`: build an image, give it power, see what becomes of it; exit 1 where it did not hold."""

import argparse
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from deploy.image.build import CACHE, pack
from deploy.image.personalise import offset_of
from deploy.image.update import bundle
from tests.image.center import Center
from tests.image.machine import MODELS, Machine
from tests.image.trial import LOST, Trial
from tests.services import ROOT, free_port, run

FIRST, WHOLE, INIT_EXITS, AGENT_EXITS = "0.0.1", "0.0.2", "0.0.3", "0.0.4"
BROKEN = {INIT_EXITS: "usr/sbin/init", AGENT_EXITS: "opt/cityeye/bin/cityeye-agent"}
"""Versions whose program at this path exits at once."""
UNUSED = ("usr/lib/firmware", *(f"usr/lib/modules/*/kernel/drivers/{name}" for name in ("gpu", "media", "net/w*")))
"""What QEMU's hardware does not need once the initrd is done."""
NEVER_RUN = ("opt/cityeye/lib", "usr/lib/firmware", "usr/lib/modules", "usr/lib/python3*", "usr/lib/udev", "usr/share")
"""What nothing reads where PID 1 dies."""


def update(disk: Path, version: str, without: Sequence[str] = ()) -> Path:
    """An update of the system that is on a raw image, under another version, `without` what lies at these patterns."""
    target = disk.with_name(f"{version}.raucb")
    with tempfile.TemporaryDirectory(dir=disk.parent) as made:
        root = Path(made, "root")
        run("unsquashfs", "-n", "-o", offset_of(disk, "root-a"), "-d", root, disk, timeout_s=900)
        for path in [one for pattern in without for one in root.glob(pattern)]:
            shutil.rmtree(path)
        about = root / "etc/cityeye-image"
        text = about.read_text("utf-8")
        about.write_text(re.sub("(?m)^VERSION=.*$", f"VERSION={version}", text), "utf-8")
        if version in BROKEN:
            program = root / BROKEN[version]
            program.unlink()
            program.write_text("#!/bin/sh\nexit 1\n")
            program.chmod(0o755)
        pack(root, Path(made, "packed"), 0, level=1)
        (compatible,) = re.findall(r"(?m)^COMPATIBLE=(.*)$", text)
        bundle(Path(made, "packed"), target, compatible=compatible, version=version, keys=CACHE / "keys")
    return target


def short(trial: Trial, disk: Path) -> None:
    """A good and a broken update, two cuts; small ones, as most of an update's time goes by size."""
    trial.roll_out(update(disk, WHOLE, UNUSED), WHOLE)
    trial.cut_within(120)
    trial.ends("taken")
    trial.roll_out(update(disk, INIT_EXITS, NEVER_RUN), INIT_EXITS)
    trial.ends("rolled_back")
    trial.cut_within(20)
    trial.incident()


def full(trial: Trial, disk: Path) -> None:
    """A good and two broken updates; 20 cuts: 8 while it works, 6 in starts, 6 in updates."""
    bundles = {version: update(disk, version) for version in (FIRST, WHOLE, INIT_EXITS, AGENT_EXITS)}
    began_s = time.monotonic()
    trial.roll_out(bundles[WHOLE], WHOLE)
    trial.ends("taken")
    update_s = time.monotonic() - began_s
    for version in BROKEN:
        trial.roll_out(bundles[version], version)
        trial.ends("rolled_back")
    for number in range(8):
        trial.incident()
        trial.cut_within(30, heard=number > 5)
        if number <= 5:
            trial.cut_within(60)
    for version in (FIRST, WHOLE, FIRST):
        trial.roll_out(bundles[version], version)
        trial.cut_within(update_s / 2)
        trial.cut_within(update_s / 2)
        trial.ends("taken", "rolled_back")
    trial.incident()
    trial.figures["update_s"] = round(update_s)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.image", description=__doc__)
    parser.add_argument("--board", choices=MODELS, default="amd64", help="another one goes up to its first ticket")
    parser.add_argument("--short", action="store_true", help="one good and one broken update, two cuts")
    parser.add_argument("--image", type=Path, help="one that was built before, without KEYS=; none is built")
    asked = parser.parse_args()
    if not shutil.which(MODELS[asked.board][0].split()[0]):
        sys.exit(f"image-test: apt-get install {MODELS[asked.board][2]}")
    began_s = time.monotonic()
    # whoever ends it has its gigabytes cleared away
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    def say(text: str) -> None:
        print(f"{time.monotonic() - began_s:6.0f} s  {text}", flush=True)

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cityeye-image-", dir=CACHE.parent)))
        if asked.image is None:
            build = ["-m", "deploy.image.build", "--board", asked.board, "--level", "1", "--out", folder]
            subprocess.run([sys.executable, *build], check=True, cwd=ROOT)
        image = asked.image or next(folder.glob("*.img.zst"))
        center = Center(folder, stack)
        box, disk, ssh_port = center.personalised(image), folder / "disk.img", free_port()
        run("cp", "--sparse=always", box, disk)
        machine = Machine(asked.board, box, folder, ssh_port)
        trial = Trial(center, machine, folder, ssh_port, say)
        say(f"power for {image.name}")
        machine.start()
        stack.callback(machine.close)
        try:
            trial.figures["status_uptime_s"] = trial.heard()
            center.give_settings()
            trial.incident()
            trial.figures["ticket_s"] = round(machine.up_s)
            if asked.board == "amd64":
                (short if asked.short else full)(trial, disk)
            trial.close()
        except AssertionError as fault:
            say(f"DOES NOT HOLD: {fault}")
            return 1
    say("  ".join(f"{name} {value}" for name, value in {**trial.figures, "cuts": machine.cuts}.items()))
    lost = sum(trial.figures[name] for name in LOST)
    say("DOES NOT HOLD" if lost else "holds")
    return int(lost > 0)


if __name__ == "__main__":
    sys.exit(main())

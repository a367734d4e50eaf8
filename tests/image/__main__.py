"""`python -m tests.image`: build an image, give it power, see what becomes of it; exit 1 where it did not hold.

`--short`: one good and one broken update, two cuts. Another board than amd64 goes up to its first ticket.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from deploy.image.build import CACHE
from tests.image import updates
from tests.image.center import Center
from tests.image.machine import MODELS, Machine, lacks
from tests.image.trial import LOST, Say, Trial
from tests.services import ROOT, free_port, run

FIRST, WHOLE, INIT_EXITS, AGENT_EXITS = "0.0.1", "0.0.2", "0.0.3", "0.0.4"
Bundle = Callable[[str], Path]


def short(trial: Trial, bundle: Bundle) -> None:
    """Two updates and two cuts."""
    trial.roll_out(bundle(WHOLE), WHOLE)
    trial.cut_within(120)
    trial.ends("taken")
    trial.roll_out(bundle(INIT_EXITS), INIT_EXITS)
    trial.ends("rolled_back")
    trial.incident()
    trial.cut_within(20)
    trial.incident()


def full(trial: Trial, bundle: Bundle) -> None:
    """A good update, two broken ones, 20 cuts: 6 in updates, 6 in starts, 8 while it works."""
    began_s = time.monotonic()
    trial.roll_out(bundle(WHOLE), WHOLE)
    trial.ends("taken")
    update_s = time.monotonic() - began_s
    trial.figures["update_s"] = round(update_s)
    for version in (INIT_EXITS, AGENT_EXITS):
        trial.roll_out(bundle(version), version)
        trial.ends("rolled_back")
    for number in range(8):
        trial.incident()
        trial.cut_within(30)
        if number < 6:  # it has just been given power
            trial.cut_within(60, heard=False)
    for number in range(3):
        version = FIRST if number % 2 == 0 else WHOLE
        trial.roll_out(bundle(version), version)
        trial.cut_within(update_s / 2)
        trial.cut_within(update_s / 2)
        trial.ends("taken", "rolled_back")
    trial.incident()


def story(
    board: str, image: Path, keys: Path, folder: Path, trial_of: Callable[[Trial, Bundle], None], say: Say
) -> int:
    """All of it; returns how many things were lost."""
    with ExitStack() as stack:
        center = Center(folder, stack)
        disk, ssh_port = center.personalised(image), free_port()
        ours = folder / "image.img"
        run("cp", "--sparse=always", disk, ours)
        say(f"a card for {disk.stem} of {image.name}")
        machine = Machine(board, disk, folder, ssh_port)
        stack.callback(machine.close)
        trial = Trial(center, machine, folder, ssh_port, random.Random(), say)
        trial.machine.start()
        trial.figures["status_uptime_s"] = trial.heard()
        center.give_settings()
        trial.incident()
        trial.figures["ticket_s"] = round(machine.up_s)
        say(f"first ticket {machine.up_s:.0f} s after power came")

        def bundle(version: str) -> Path:
            kind = {INIT_EXITS: "init exits", AGENT_EXITS: "agent exits"}.get(version, "whole")
            made = folder / f"{version}.raucb"
            return made if made.exists() else updates.make(ours, keys, folder, version, kind)

        if board == "amd64":
            trial_of(trial, bundle)
        trial.figures |= {"cuts": machine.cuts, "sectors_lost": machine.disk.lost, **trial.close()}
    for name, value in trial.figures.items():
        print(f"{name:16} {value}")
    return int(sum(trial.figures[name] for name in LOST))


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.image", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--board", choices=MODELS, default="amd64")
    parser.add_argument("--short", action="store_true")
    parser.add_argument(
        "--image", type=Path, help="take this one, signed with the keys in .cache/image, and build none"
    )
    asked = parser.parse_args()
    if lacking := lacks(asked.board):
        sys.exit(f"image-test: apt-get install {lacking}")
    began_s = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began_s:6.0f} s  {text}", flush=True)

    with tempfile.TemporaryDirectory(prefix="cityeye-image-", dir=CACHE) as made:
        folder = Path(made)
        image = asked.image
        if image is None:
            build = [
                sys.executable,
                "-m",
                "deploy.image.build",
                "--board",
                asked.board,
                "--level",
                "1",
                "--out",
                folder,
            ]
            subprocess.run(build, check=True, cwd=ROOT)
            (image,) = folder.glob("*.img.zst")
        try:
            lost = story(asked.board, image, CACHE / "keys", folder, short if asked.short else full, say)
        except AssertionError as fault:
            say(f"DOES NOT HOLD: {fault}")
            return 1
    say("DOES NOT HOLD" if lost else "holds")
    return int(lost > 0)


if __name__ == "__main__":
    sys.exit(main())

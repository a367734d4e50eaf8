"""Measure accuracy: `python -m tests.eval`, writes accuracy.json. Parts that are not run keep their figures."""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agent.vision.detector import Detector, load_detector
from agent.vision.selection import shipped_detector
from tests.eval import clip, cost, days, faces, faults, hours, people, ratchet, shipped, sparse, staged, tracking
from tests.eval.staging import seeds

DETECTOR: Final = "yolo26n-640"
SCENES: Final = 320
DAYS: Final = 10
SPARSE_SCENES: Final = 120
TRACKERS: Final = "trackers==2.6.1"


@dataclass(frozen=True)
class Setting:
    """What the parts are measured with.

    Args:
        shared: the folder with real footage and labels; None: what can be rendered is.
        workers: processes at a time.
        scenes: how many are staged, from the seed `first` on.
        days: how many are staged.
        failures: whether scenes that went wrong are listed.
    """

    shared: Path | None
    workers: int
    scenes: int
    first: int
    failures: bool
    days: int

    @property
    def real(self) -> Path:
        """The shared folder, for parts that are nothing without it."""
        if self.shared is None:
            raise SystemExit("expected the shared data in ../shared/data or CITYEYE_SHARED, found none; see --list")
        return self.shared

    def models(self) -> Path:
        """Folder with the detector and the face model: of CITYEYE_MODELS, else unpacked from the shared data."""
        for entry in os.environ.get("CITYEYE_MODELS", "").split(os.pathsep):
            if entry and (Path(entry) / f"{DETECTOR}.onnx").is_file():
                return Path(entry)
        folder = Path(".cache/models")
        subprocess.run([self.real / "unpack", folder], check=True, stdout=subprocess.DEVNULL)
        return folder


Part = Callable[[Setting], Any]


def _detector(setting: Setting) -> Detector:
    return load_detector(setting.models() / f"{DETECTOR}.onnx")


def _staged(setting: Setting) -> object:
    played = staged.play_all(seeds(setting.scenes, setting.first), setting.shared, setting.workers)
    if setting.failures:
        for seed, hardness, what, verdict in played:
            if verdict.missed or verdict.false or verdict.cleared_wrong:
                print(seed, hardness, what, verdict)
    return staged.figures(played)


def _tracking(setting: Setting) -> object:
    return tracking.measure(_trackers_python(), setting.shared)


def _trackers_python() -> Path | None:
    """Make an environment of its own for `trackers`, whose OpenCV must not lie beside ours; None where it fails."""
    folder = Path(".cache/trackers-venv").absolute()
    python = folder / "bin/python"
    ready = [python, "-c", "import trackers, trackers.eval"]
    if python.exists() and subprocess.run(ready, check=False, capture_output=True).returncode == 0:
        return python
    commands = ([sys.executable, "-m", "venv", folder], [python, "-m", "pip", "install", "--quiet", TRACKERS])
    if all(subprocess.run(command, check=False, capture_output=True).returncode == 0 for command in commands):
        return python
    print(f"tracking: {TRACKERS} cannot be installed; our tracker is measured alone", file=sys.stderr)
    return None


PARTS: Final[dict[str, Part]] = {
    "staged": _staged,
    "clip": lambda setting: clip.figures(setting.real),
    "hours": lambda setting: hours.figures(setting.real, _detector(setting)),
    "days": lambda setting: days.figures(setting.days, setting.shared, setting.workers),
    "faults": lambda setting: faults.figures(
        range(faults.FIRST_SEED, faults.FIRST_SEED + 8), setting.shared, setting.workers
    ),
    "cost": lambda _: cost.figures(),
    "people": lambda setting: people.measure(setting.real, setting.models()),
    "shipped": lambda setting: shipped.measure(setting.real, shipped_detector()),
    "tracking": _tracking,
    "sparse": lambda setting: sparse.figures(setting.real, _detector(setting), SPARSE_SCENES, setting.workers),
    "faces": lambda setting: faces.measure(setting.real, setting.models()),
}
"""What `--only` names. Each gives figures that JSON can hold."""


def main() -> None:
    """Run what is asked for, print it and keep it."""
    parser = argparse.ArgumentParser(prog="python -m tests.eval", description=__doc__)
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts, of {', '.join(PARTS)}")
    parser.add_argument("--short", action="store_true", help="measure what CI's ratchet compares, and keep it")
    parser.add_argument("--scenes", type=int, default=SCENES)
    parser.add_argument("--days", type=int, default=DAYS)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--drawn", action="store_true", help="only what is rendered from nothing")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--failures", action="store_true", help="list scenes that went wrong")
    parser.add_argument("--dry", action="store_true", help="print only, keep accuracy.json as it is")
    asked = parser.parse_args()
    if asked.short:
        _keep("short", ratchet.short(), dry=asked.dry)
        return
    shared = Path(os.environ.get("CITYEYE_SHARED", "../shared/data"))
    setting = Setting(
        None if asked.drawn or not shared.is_dir() else shared,
        asked.workers,
        asked.scenes,
        asked.first,
        asked.failures,
        asked.days,
    )
    names = asked.only.split(",")
    if unknown := set(names) - set(PARTS):
        parser.error(f"--only: expected parts of {', '.join(PARTS)}, got {', '.join(sorted(unknown))}")
    # figures of a part of the measure are no ratchet
    dry = asked.dry or setting.shared is None or (asked.scenes, asked.first, asked.days) != (SCENES, 0, DAYS)
    for name in names:
        began_s = time.monotonic()
        figures = PARTS[name](setting)
        print(f"{name}: {time.monotonic() - began_s:.0f} s", file=sys.stderr)
        # at once: a part that fails takes nothing from the ones before it
        _keep("full", {name: figures}, dry=dry)


def _keep(section: str, figures: dict[str, Any], *, dry: bool) -> None:
    print(json.dumps(figures, indent=1))
    if dry:
        print("not kept: only the whole measure is", file=sys.stderr)
    else:
        ratchet.keep(section, figures)


if __name__ == "__main__":
    main()

"""The tracker beside `trackers`' ByteTrack, on the same boxes: TUD-Campus and staged walkers."""

import json
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.vision.tracker import Tracker
from tests.eval.walkers import walk

RATES_HZ: Final = (25.0, 5.0, 3.0)
SEQUENCES: Final = 10
SCRIPT: Final = Path(__file__).with_name("against_trackers.py")
Rows = NDArray[np.float64]


def our_rows(found: Rows, last: int, rate_hz: float) -> list[str]:
    """Track MOT rows (number, -1, x, y, w, h, score)."""
    tracker = Tracker()
    rows = []
    for number in range(1, last + 1):
        now = found[found[:, 0] == number]
        out = tracker.step(now[:, 2:6], now[:, 6], number / rate_hz)
        for (x, y, w, h), identity in zip(out.boxes, out.ids, strict=True):
            rows.append(f"{number},{identity},{x:.2f},{y:.2f},{w:.2f},{h:.2f},1,1,1")
    return rows


def _write(folder: Path, name: str, truth: Rows, found: Rows, rate_hz: float) -> None:
    def lines(rows: Rows) -> str:
        return "\n".join(",".join(f"{value:g}" for value in [*row[:7], 1, 1]) for row in rows) + "\n"

    (folder / f"{name}.gt").write_text(lines(truth))
    (folder / f"{name}.det").write_text(lines(found))
    last = int(max(truth[:, 0].max(), found[:, 0].max()))
    (folder / f"{name}.ours").write_text("\n".join(our_rows(found, last, rate_hz)) + "\n")
    (folder / f"{name}.rate").write_text(f"{rate_hz}\n")


def compare(python: Path, shared: Path | None) -> dict[str, dict[str, list[float]]]:
    """Run both; gives {what: {ours: [MOTA, IDF1], theirs: […]}}, staged sequences as means of their rate.

    Args:
        python: an interpreter that has the package `trackers`.
        shared: the folder with real sequences; None leaves them out.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if shared is not None:
            found = np.loadtxt(shared / "mot/abewley_sort_det/data/train/TUD-Campus/det/det.txt", delimiter=",")[:, :7]
            truth = np.loadtxt(shared / "mot/TUD-Campus/gt.txt", delimiter=",")[:, :7]
            _write(folder, "TUD-Campus", truth, found, 25.0)
        for rate_hz in RATES_HZ:
            for seed in range(SEQUENCES):
                staged = walk(seed, rate_hz)
                _write(folder, f"walkers-{rate_hz:g}fps-{seed}", staged.truth, staged.found, rate_hz)
        done = subprocess.run([python, SCRIPT, folder], check=True, capture_output=True, text=True)
    groups: dict[str, list[dict[str, list[float]]]] = defaultdict(list)
    for what, scores in json.loads(done.stdout.splitlines()[-1]).items():
        groups[what.rsplit("-", 1)[0] if what.startswith("walkers") else what].append(scores)
    return {
        what: {
            who: [round(float(np.mean([one[who][n] for one in all_])), 4) for n in (0, 1)] for who in ("ours", "theirs")
        }
        for what, all_ in groups.items()
    }

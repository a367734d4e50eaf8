"""The tracker beside `trackers`' ByteTrack, on the same boxes: TUD-Campus and staged walkers."""

import json
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Final

import numpy as np

from agent.vision.tracker import Tracker
from tests.eval.mot import Rows, Tracking, score
from tests.eval.walkers import cross, walk

RATES_HZ: Final = (25.0, 5.0, 3.0)
STAGES: Final = {"walkers": walk, "crossers": cross}
SEQUENCES: Final = 10
SCRIPT: Final = Path(__file__).with_name("against_trackers.py")
Figures = dict[str, dict[str, float]]


def track(found: Rows, last: int, rate_hz: float) -> Rows:
    """Track MOT rows (number, -1, x, y, w, h, score) up to picture `last`; gives number, id, x, y, w, h."""
    tracker = Tracker()
    rows = []
    for number in range(1, last + 1):
        now = found[found[:, 0] == number]
        out = tracker.step(now[:, 2:6], now[:, 6], number / rate_hz)
        rows += [(number, identity, *box) for box, identity in zip(out.boxes, out.ids, strict=True)]
    return np.array(rows, np.float64).reshape(-1, 6)


def short(sequences: int = 3) -> Figures:
    """Our tracker alone on staged walkers: what CI can run."""
    figures = {}
    for (name, stage), rate_hz in product(STAGES.items(), RATES_HZ):
        scores = []
        for seed in range(sequences):
            staged = stage(seed, rate_hz)
            last = int(max(staged.truth[:, 0].max(), staged.found[:, 0].max()))
            scores.append(score(staged.truth, track(staged.found, last, rate_hz)))
        figures[f"{name}_{rate_hz:g}fps"] = _mean(scores)
    return figures


def measure(python: Path | None, shared: Path | None) -> dict[str, object]:
    """Score our tracker, and ByteTrack where the package is at hand, and time ours.

    Args:
        python: an interpreter that has the package `trackers`; None: ours alone, by our own ruler.
        shared: the folder with real sequences; None leaves them out.
    """
    speed = {"ms_at_50_people": round(step_ms(50), 3)}
    if python is None:
        return {**short(SEQUENCES), **speed}
    return {**compare(python, shared), **speed}


def compare(python: Path, shared: Path | None) -> dict[str, Figures]:
    """Run both; gives {what: {ours: {mota, idf1}, theirs: …}}, staged sequences as means of their rate."""
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        if shared is not None:
            found = np.loadtxt(shared / "mot/abewley_sort_det/data/train/TUD-Campus/det/det.txt", delimiter=",")[:, :7]
            truth = np.loadtxt(shared / "mot/TUD-Campus/gt.txt", delimiter=",")[:, :7]
            _write(folder, "TUD-Campus", truth, found, 25.0)
        for (name, stage), rate_hz in product(STAGES.items(), RATES_HZ):
            for seed in range(SEQUENCES):
                staged = stage(seed, rate_hz)
                _write(folder, f"{name}_{rate_hz:g}fps-{seed}", staged.truth, staged.found, rate_hz)
        done = subprocess.run([python, SCRIPT, folder], check=True, capture_output=True, text=True)
    groups: dict[str, list[Mapping[str, Sequence[float]]]] = defaultdict(list)
    for what, scores in json.loads(done.stdout.splitlines()[-1]).items():
        groups[what.rsplit("-", 1)[0] if "fps-" in what else what].append(scores)
    return {
        what: {who: _mean([Tracking(*one[who]) for one in some]) for who in ("ours", "theirs")}
        for what, some in groups.items()
    }


def step_ms(people: int, pictures: int = 300) -> float:
    """Median time of one step, for people who walk to and fro, 5 pictures a second."""
    rng = np.random.default_rng(5)
    feet, speeds = rng.uniform(0, 1000, (people, 2)), rng.uniform(-60, 60, (people, 2))
    tracker, spent_s = Tracker(), []
    for number in range(pictures):
        places = np.abs((feet + speeds * number / 5) % 2000 - 1000)
        boxes = np.column_stack(
            [places + rng.normal(0, 2, places.shape), np.full(people, 40.0), np.full(people, 100.0)]
        )
        seen = rng.random(people) > 0.1
        scores = rng.uniform(0.3, 0.95, people)
        began_s = time.perf_counter()
        tracker.step(boxes[seen], scores[seen], number / 5)
        spent_s.append(time.perf_counter() - began_s)
    return statistics.median(spent_s) * 1000


def _mean(scores: Sequence[Tracking]) -> dict[str, float]:
    return {
        "mota": round(float(np.mean([one.mota for one in scores])), 4),
        "idf1": round(float(np.mean([one.idf1 for one in scores])), 4),
    }


def _write(folder: Path, name: str, truth: Rows, found: Rows, rate_hz: float) -> None:
    def lines(rows: Rows) -> str:
        return "\n".join(",".join(f"{value:g}" for value in [*row[:7], 1, 1]) for row in rows) + "\n"

    (folder / f"{name}.gt").write_text(lines(truth))
    (folder / f"{name}.det").write_text(lines(found))
    last = int(max(truth[:, 0].max(), found[:, 0].max()))
    tracks = track(found, last, rate_hz)
    (folder / f"{name}.ours").write_text(lines(np.column_stack([tracks, np.ones(len(tracks))])))
    (folder / f"{name}.rate").write_text(f"{rate_hz}\n")

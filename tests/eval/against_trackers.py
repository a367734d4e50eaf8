"""Score our tracks and ByteTrack of the package `trackers` with one ruler. Runs in a virtual environment of its own.

`python against_trackers.py FOLDER`: the folder holds, for each sequence, `NAME.gt`, `NAME.det`, `NAME.ours` (MOT rows)
and `NAME.rate`. Prints one JSON object: {name: {ours: [MOTA, IDF1], theirs: [MOTA, IDF1]}}. The package brings its own
OpenCV, which must not lie beside the headless one: hence a script apart.
"""

import json
import sys
from pathlib import Path

import numpy as np
import supervision as sv
from trackers import ByteTrackTracker
from trackers.eval import evaluate_mot_sequence


def theirs(found: np.ndarray, last: int, rate_hz: float) -> list[str]:
    tracker = ByteTrackTracker(frame_rate=rate_hz)
    rows = []
    for number in range(1, last + 1):
        now = found[found[:, 0] == number]
        boxes = np.column_stack([now[:, 2:4], now[:, 2:4] + now[:, 4:6]]).reshape(-1, 4)
        out = tracker.update(sv.Detections(xyxy=boxes.astype(np.float32), confidence=now[:, 6].astype(np.float32)))
        for (x1, y1, x2, y2), identity in zip(out.xyxy, out.tracker_id, strict=True):
            if identity >= 0:
                rows.append(f"{number},{identity + 1},{x1:.2f},{y1:.2f},{x2 - x1:.2f},{y2 - y1:.2f},1,1,1")
    return rows


def score(truth: Path, rows: Path) -> list[float]:
    result = evaluate_mot_sequence(truth, rows, metrics=["CLEAR", "Identity"])
    return [round(float(result.CLEAR.MOTA), 4), round(float(result.Identity.IDF1), 4)]


def main() -> None:
    folder = Path(sys.argv[1])
    scores = {}
    for truth in sorted(folder.glob("*.gt")):
        found = np.loadtxt(truth.with_suffix(".det"), delimiter=",", ndmin=2)
        last = int(max(found[:, 0].max(), np.loadtxt(truth, delimiter=",", ndmin=2)[:, 0].max()))
        their = truth.with_suffix(".theirs")
        rate_hz = float(truth.with_suffix(".rate").read_text())
        their.write_text("\n".join(theirs(found, last, rate_hz)) + "\n")
        scores[truth.stem] = {"ours": score(truth, truth.with_suffix(".ours")), "theirs": score(truth, their)}
    print(json.dumps(scores))


if __name__ == "__main__":
    main()

"""People counted: the walkers of vtest.avi through the counting of a zone, and 39 photos of crowds."""

import csv
import json
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.camera.frame import Frame
from agent.vision.counting import PeopleCounter, Place, Way
from agent.vision.crowds import load_counter
from agent.vision.detector import Detector, load_detector
from agent.vision.people import count_heads, count_photo
from tests.eval.faces import crowd_photos, frame_of

WHOLE: Final = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
BUDGET_MS: Final = 400.0
"""The default of `compute_ms`."""
LIMITS: Final = (50, 100, 150)
NEAR: Final = 0.1
"""Photos so near to a limit are left out."""
SURE_LABELS: Final = 140
"""Up to this frame the labels of vtest.avi agree on who is there."""
LOOK_S: Final = 0.052
"""What a look of yolo26n-640 costs on two cores. The budget is kept by this, not by a clock: what is counted must not
depend on what else the machine does while it is measured."""
THREADS: Final = 2
Figures = dict[str, float | int]


def measure(shared: Path, models: Path, detector: str = "yolo26n-640") -> dict[str, Figures]:
    """Measure everything about counting that needs the shared data."""
    eye = load_detector(models / f"{detector}.onnx", min_score=0.25, threads=THREADS)
    photos = list(crowd_photos(shared))
    marks = json.loads((shared / "crowd/heads.json").read_text("utf-8"))
    truth = np.array([len(marks[name]) for name, _ in photos], np.float64)
    counter = load_counter(threads=THREADS)
    spent_ms, heads = [], []
    for _, rgb in photos:
        began_s = time.perf_counter()
        heads.append(count_heads(counter, rgb).count)
        spent_ms.append((time.perf_counter() - began_s) * 1000)
    zones = [_in_zone(frame_of(rgb), eye, "auto") for _, rgb in photos]
    tiles = [count_photo(eye, rgb) for _, rgb in photos]
    return {
        "vtest": walkers(shared, eye),
        "crowd_photos": {**crowd_figures(np.array(heads, np.float64), truth), "ms": round(statistics.median(spent_ms))},
        "crowd_photos_as_zones": crowd_figures(np.array(zones, np.float64), truth),
        "crowd_photos_by_tiles": {
            **crowd_figures(np.array([one.count for one in tiles], np.float64), truth),
            "lower_bound": sum(one.lower_bound for one in tiles),
        },
        "vtest_by_the_counter_of_crowds": walkers(shared, eye, "crowd"),
        "photos_without_people": _invented(shared),
    }


def _counter(way: Way) -> PeopleCounter:
    # read before and after each look
    readings = count()
    return PeopleCounter(
        [Place("square", WHOLE, way)], BUDGET_MS, load_counter(threads=THREADS), timer=lambda: next(readings) * LOOK_S
    )


def _in_zone(frame: Frame, eye: Detector, way: Way) -> int:
    counter = _counter(way)
    found = eye.detect(frame.rgb(eye.fit(frame.width, frame.height)))
    return counter.count(frame, found, eye).heads["square"].count


def walkers(shared: Path, eye: Detector, way: Way = "auto") -> Figures:
    """Mean absolute error on the labelled frames of vtest.avi, the whole picture a zone; one frame a second."""
    with (shared / "mot/PETS09-S2L1_gt_every10/counts.csv").open(newline="") as lines:
        rows = {int(row["frame"]): (int(row["people_flag1"]), int(row["people_all"])) for row in csv.DictReader(lines)}
    counter = _counter(way)
    early, late = [], []
    for number, frame in labelled_frames(shared, rows):
        counted = counter.count(frame, eye.detect(frame.rgb(eye.fit(frame.width, frame.height))), eye)
        said = counted.heads["square"].count
        if number <= SURE_LABELS:
            early.append(abs(said - rows[number][1]))
        else:
            late.append(min(abs(said - one) for one in rows[number]))
    return {"frames": len(rows), "mae_early": _mean(early), "mae_late": _mean(late)}


def labelled_frames(shared: Path, wanted: Mapping[int, object]) -> Iterator[tuple[int, Frame]]:
    """Frames of vtest.avi by their number from 1; 10 come in a second."""
    clip = cv2.VideoCapture(str(shared / "videos/vtest.avi"))
    for number in range(1, max(wanted) + 1):
        bgr = clip.read()[1]
        if number in wanted:
            yield number, frame_of(np.ascontiguousarray(bgr[:, :, ::-1]), number / 10)


def crowd_figures(said: NDArray[np.float64], truth: NDArray[np.float64]) -> Figures:
    """Errors of counts, both of shape `(n,)`, and how well they tell more than a limit from fewer."""
    off = np.abs(said - truth)
    over = {f"over_{limit}": balanced_accuracy(said, truth, limit) for limit in LIMITS}
    return {
        "photos": len(truth),
        "mae": _mean(off.tolist()),
        "median_relative_error": round(float(np.median(off / truth)), 4),
        "bias": _mean((said - truth).tolist()),
        **over,
    }


def balanced_accuracy(said: NDArray[np.float64], truth: NDArray[np.float64], limit: float) -> float:
    """Mean of the shares of photos above and below a limit that are told right; photos near the limit are left out."""
    clear = np.abs(truth - limit) > NEAR * limit
    over, under = truth[clear] > limit, said[clear] > limit
    return round((float(under[over].mean()) + float((~under[~over]).mean())) / 2, 4)


def _invented(shared: Path) -> Figures:
    """What the counter of crowds takes for heads where nobody is: COCO's photos without people."""
    counter, said = load_counter(threads=THREADS), []
    for path in sorted((shared / "coco-val128/images").iterdir()):
        label = shared / "coco-val128/labels" / f"{path.stem}.txt"
        if not label.is_file() or "0" not in {line.split()[0] for line in label.read_text().splitlines() if line}:
            rgb = np.ascontiguousarray(cv2.imread(str(path))[:, :, ::-1])
            said.append(counter.look(rgb).count)
    return {
        "photos": len(said),
        "invented_mean": _mean(said),
        "invented_median": round(statistics.median(said), 2),
        "invented_over_10": sum(heads > 10 for heads in said),
    }


def _mean(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), 3)

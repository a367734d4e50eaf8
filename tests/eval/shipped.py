"""The detector that ships, on what it was never trained on: vtest.avi, 39 photos of crowds, COCO's photos."""

import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.vision.detector import Detector, load_detector
from agent.vision.people import COUNT_SCORE
from models.catalogue import read_model
from models.tools.evaluation import Found, Labelled, evaluate, rank, read_labels
from models.tools.photos import look
from tests.eval.faces import crowd_photos
from tests.eval.people import labelled_frames, walkers

CROWD_SIZE: Final = (640, 480)
TALL_PX: Final = 64.0
TALL_AT: Final = 416
"""People at least TALL_PX high where the photo's longer side has so many pixels."""
THREADS: Final = 2
LEAST: Final = 0.001
Figures = dict[str, float | int]


def measure(shared: Path, path: Path) -> dict[str, Figures]:
    """Measure a detector of people at the default threshold of its file, and over all thresholds.

    Args:
        shared: the folder with real footage and labels.
        path: the detector's file.
    """
    at_default = load_detector(path, threads=THREADS)
    ranked = load_detector(path, LEAST, threads=THREADS)
    return {
        "vtest": _vtest(shared, ranked, at_default.min_score),
        "crowd_photos": _crowds(shared, path),
        "coco": _coco(shared, ranked, at_default.min_score),
        "cost": {"bytes": len(read_model(path)), "ms": _ms(at_default), "own_threshold": at_default.min_score},
        "walkers": walkers(shared, at_default),
    }


def _vtest(shared: Path, eye: Detector, threshold: float) -> Figures:
    """Find the walkers in the labelled frames."""
    rows = np.loadtxt(shared / "mot/PETS09-S2L1_gt_every10/gt.txt", delimiter=",")
    numbers = sorted({int(row[0]) for row in rows})
    pairs = []
    for number, frame in labelled_frames(shared, dict.fromkeys(numbers)):
        # those whom the labels call hard to see are people as well
        shown = rows[rows[:, 0] == number, 2:6]
        rgb = frame.rgb()
        pairs.append((Labelled(shown, np.zeros(len(shown), np.int64)), look(eye, rgb).of([0])))
    return {"frames": len(pairs), **_quality(pairs, threshold)}


def _coco(shared: Path, eye: Detector, threshold: float) -> Figures:
    """Find people in ordinary photos, and nobody in those without."""
    pairs, large = [], []
    for path in sorted((shared / "coco-val128/images").iterdir()):
        rgb = np.ascontiguousarray(cv2.imread(str(path))[:, :, ::-1])
        label = shared / "coco-val128/labels" / f"{path.stem}.txt"
        said = read_labels(label.read_text("utf-8") if label.is_file() else "", rgb.shape[1], rgb.shape[0]).of([0])
        pairs.append((said, look(eye, rgb).of([0])))
        large.append(said.boxes[said.boxes[:, 3] * TALL_AT / max(rgb.shape[:2]) >= TALL_PX])
    peopled = [one for one in pairs if len(one[0].boxes)]
    empty = [found for said, found in pairs if not len(said.boxes)]

    def hit(score: float) -> int:
        return sum(
            int(matched(one, _from(found, score).boxes).sum()) for one, (_, found) in zip(large, pairs, strict=True)
        )

    return {
        "photos": len(pairs),
        "person_ap50": round(evaluate(peopled).map50, 4),
        "tall": sum(len(one) for one in large),
        "tall_found": hit(COUNT_SCORE),
        "tall_found_at_own_threshold": hit(threshold),
        "photos_without_people": len(empty),
        "invented_there": sum(len(_from(found, COUNT_SCORE).boxes) for found in empty),
        "invented_there_at_own_threshold": sum(len(_from(found, threshold).boxes) for found in empty),
    }


def _crowds(shared: Path, path: Path) -> Figures:
    """Count in one look of 640 × 480, from COUNT_SCORE on."""
    marks = json.loads((shared / "crowd/heads.json").read_text("utf-8"))
    eye = load_detector(path, COUNT_SCORE, threads=THREADS, size=CROWD_SIZE)
    off, said = [], []
    for name, rgb in crowd_photos(shared):
        said.append(len(eye.detect(rgb).of("person", COUNT_SCORE)))
        off.append(said[-1] - len(marks[name]))
    return {
        "photos": len(off),
        "mae": round(float(np.abs(off).mean()), 2),
        "bias": round(float(np.mean(off)), 2),
        "fewest": min(said),
        "most": max(said),
    }


def matched(truth: NDArray[np.float64], boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Say which truths a box hits at IoU .5, one box each, the best boxes first."""
    hit = np.zeros(len(truth), np.bool_)
    for box in boxes:
        low, high = np.maximum(truth[:, :2], box[:2]), np.minimum(truth[:, :2] + truth[:, 2:], box[:2] + box[2:])
        shared = np.maximum(high - low, 0).prod(1)
        iou = np.where(hit, 0, shared / np.maximum(truth[:, 2:].prod(1) + box[2:].prod() - shared, 1e-9))
        if len(iou) and iou.max() >= 0.5:
            hit[int(iou.argmax())] = True
    return hit


def _quality(pairs: Sequence[tuple[Labelled, Found]], threshold: float) -> Figures:
    sure = [(truth, _from(found, threshold)) for truth, found in pairs]
    hits = rank(sure)[0].hits[0]
    wanted = sum(len(truth.boxes) for truth, _ in pairs)
    return {
        "person_ap50": round(evaluate(pairs).map50, 4),
        "wanted": wanted,
        "found": int(hits.sum()),
        "false": int((~hits).sum()),
    }


def _from(found: Found, threshold: float) -> Found:
    kept = found.scores >= threshold
    return Found(found.boxes[kept], found.classes[kept], found.scores[kept])


def _ms(eye: Detector, looks: int = 40) -> float:
    """Median time of one look at its default input, the fastest of five rounds."""
    width, height = eye.input_size
    rgb = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    rounds = []
    for _ in range(5):
        spent_s = []
        for _ in range(looks):
            began_s = time.perf_counter()
            eye.detect(rgb)
            spent_s.append(time.perf_counter() - began_s)
        rounds.append(statistics.median(spent_s))
    return round(statistics.median(rounds) * 1000, 1)

"""Label people in pictures by detectors that exist: `python -m models.train.teachers PICTURES OUT --teacher NAME …`.

Each teacher looks at the whole picture and at overlapping tiles of it, enlarged; a box that a tile's inner edge cuts is
dropped; what several looks found is merged by weighted box fusion (Solovyev et al., 2021). Writes a dataset folder in
YOLO format whose rows have a sixth column, the score.
"""

import argparse
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.vision.detector import Detector, load_detector
from agent.vision.selection import find_detector
from models.train.photos import Boxes, Photo, ious, read_photo

GRIDS: Final = ((1, 1), (3, 2), (5, 4))
"""Tiles across and down."""
OVERLAP: Final = 0.25
EDGE_PX: Final = 4
MERGED_IOU: Final = 0.55
LEAST_SCORE: Final = 0.12


def people(rgb: Photo, teachers: Sequence[Detector]) -> tuple[Boxes, NDArray[np.float32]]:
    """Find people: boxes `(n, 4)`, x1 y1 x2 y2 in px, and scores `(n,)`, best first."""
    boxes, scores = [np.zeros((0, 4), np.float32)], [np.zeros(0, np.float32)]
    for teacher in teachers:
        for x0, y0, x1, y1 in _tiles(rgb.shape[1], rgb.shape[0]):
            found = teacher.detect(np.ascontiguousarray(rgb[y0:y1, x0:x1])).of("person", LEAST_SCORE)
            size = np.array([x1 - x0, y1 - y0] * 2, np.float32)
            corners = np.concatenate([found.boxes[:, :2], found.boxes[:, :2] + found.boxes[:, 2:]], 1) * size
            corners += np.array([x0, y0] * 2, np.float32)
            whole = (
                ((corners[:, 0] > x0 + EDGE_PX) | (x0 == 0))
                & ((corners[:, 1] > y0 + EDGE_PX) | (y0 == 0))
                & ((corners[:, 2] < x1 - EDGE_PX) | (x1 == rgb.shape[1]))
                & ((corners[:, 3] < y1 - EDGE_PX) | (y1 == rgb.shape[0]))
            )
            boxes.append(corners[whole])
            scores.append(found.scores[whole])
    return merged(np.concatenate(boxes), np.concatenate(scores))


def merged(boxes: Boxes, scores: NDArray[np.float32]) -> tuple[Boxes, NDArray[np.float32]]:
    """Fuse boxes that overlap: each is the mean of its kind, weighted by score, and scores as the best of them."""
    means: list[NDArray[np.float32]] = []
    members: list[list[int]] = []
    for n in np.argsort(-scores):
        overlaps = ious(boxes[n], np.array(means, np.float32).reshape(-1, 4))
        if len(overlaps) and overlaps.max() >= MERGED_IOU:
            at = int(overlaps.argmax())
            members[at].append(int(n))
            means[at] = np.average(boxes[members[at]], axis=0, weights=scores[members[at]]).astype(np.float32)
        else:
            means.append(boxes[n])
            members.append([int(n)])
    best = np.array([scores[one].max() for one in members], np.float32)
    return np.array(means, np.float32).reshape(-1, 4), best


def _tiles(width: int, height: int) -> Iterator[tuple[int, int, int, int]]:
    for across, down in GRIDS:
        for x0, x1 in _spans(width, across):
            for y0, y1 in _spans(height, down):
                yield x0, y0, x1, y1


def _spans(length: int, count: int) -> list[tuple[int, int]]:
    size = length / (count - (count - 1) * OVERLAP)
    starts = [round(n * size * (1 - OVERLAP)) for n in range(count)]
    return [(start, min(length, round(start + size))) for start in starts]


def pictures(path: Path, every: int) -> Iterator[tuple[str, Photo]]:
    """Give pictures with names: the photos of a folder, or each `every`th frame of a clip."""
    if path.is_dir():
        for one in sorted(path.iterdir()):
            if (rgb := read_photo(one)) is not None:
                yield one.stem, rgb
        return
    clip = cv2.VideoCapture(str(path))
    number = 0
    while (frame := clip.read())[0]:
        if number % every == 0:
            yield f"{path.stem}-{number:05d}", np.asarray(cv2.cvtColor(frame[1], cv2.COLOR_BGR2RGB), np.uint8)
        number += 1
    clip.release()


def main() -> None:
    """Label pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path, nargs="+", help="folders of photos, clips")
    parser.add_argument("--out", type=Path, required=True, help="dataset folder to write")
    parser.add_argument(
        "--teacher", action="append", required=True, help="a detector's name or path; several agree better"
    )
    parser.add_argument("--every", type=int, default=12, help="which frames of a clip")
    asked = parser.parse_args()
    paths = [find_detector(name, Path.cwd()) for name in asked.teacher]
    teachers = [load_detector(path, LEAST_SCORE) for path in paths if path is not None]
    if asked.out.exists():
        shutil.rmtree(asked.out)
    for folder in ("images", "labels"):
        (asked.out / folder).mkdir(parents=True)
    for source in asked.pictures:
        for name, rgb in pictures(source, asked.every):
            boxes, scores = people(rgb, teachers)
            size = np.array([rgb.shape[1], rgb.shape[0]])
            centres, sizes = (boxes[:, :2] + boxes[:, 2:]) / 2 / size, (boxes[:, 2:] - boxes[:, :2]) / size
            rows = [
                f"0 {x:.5f} {y:.5f} {w:.5f} {h:.5f} {score:.3f}"
                for (x, y), (w, h), score in zip(centres, sizes, scores, strict=True)
            ]
            cv2.imwrite(str(asked.out / "images" / f"{name}.jpg"), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
            (asked.out / "labels" / f"{name}.txt").write_text("\n".join([*rows, ""]))
            print(f"{name}: {len(rows)} people", flush=True)


if __name__ == "__main__":
    main()

"""Exporting and training YOLO detectors with ultralytics (AGPL-3.0, extra `models`): never on a box.

Comes in: weights (`.pt`), a dataset. Goes out: ONNX files that were compared with the weights on real photos.

Weights are pickles: opening one runs whatever it says. Only those from a publisher whom one trusts belong here; boxes
get ONNX only.
"""

import contextlib
import io
import json
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

from agent.vision.detector import Detector, load_detector
from agent.vision.layouts import NMS_IOU
from agent.vision.letterbox import Letterbox
from models.tools.card import HeldBack
from models.tools.datasets import Dataset
from models.tools.evaluation import EVALUATION_SCORE, evaluate
from models.tools.photos import Photo, look, read_photo

OPSET: Final = 17
CHECK_SCORES: Final = (0.25, 0.01, 0.001)
"""Boxes are compared from the first one on; where nothing is so sure, as early in a training, from the next."""
NEAR: Final = 1.08
"""A box whose score is so near to the least may be found on one side only."""
MOST_PX: Final = 1.0
OPTIONS: Final = {"YOLO_AUTOINSTALL": "false", "YOLO_OFFLINE": "true"}
"""It installs packages and calls home by itself unless it is told not to."""


class YoloError(Exception):
    """What cannot be exported or trained; one line."""


@dataclass(frozen=True)
class Checked:
    """How an exported file compares with its weights.

    Args:
        photos: on how many.
        boxes: found by both.
        off_px: the largest distance between two edges of one box, px of the input.
        missing: boxes that only one of them found.
    """

    photos: int
    boxes: int
    off_px: float
    missing: int

    @property
    def same(self) -> bool:
        """Whether both find the same."""
        return self.missing == 0 and self.off_px <= MOST_PX


@contextlib.contextmanager
def _ultralytics() -> Iterator[Any]:
    """Give the library, quiet, and with a folder for its settings that is gone afterwards."""
    with TemporaryDirectory() as folder:
        os.environ.update({**OPTIONS, "YOLO_CONFIG_DIR": folder, "YOLO_VERBOSE": "false"})
        try:
            import ultralytics  # noqa: PLC0415 - gigabytes, AGPL-3.0; a box never has it
        except ImportError as fault:
            raise YoloError(f"expected the package ultralytics ({fault}); pip install 'cityeye[models]'") from None
        ultralytics.settings.update({"sync": False})
        logging.getLogger("ultralytics").setLevel(logging.ERROR)
        yield ultralytics


def demo_photos() -> list[Photo]:
    """Real photos that ultralytics brings along."""
    with _ultralytics() as library:
        return [read_photo(path) for path in sorted((Path(library.__file__).parent / "assets").glob("*.jpg"))]


def export(
    weights: Path, size: tuple[int, int], out: Path, photos: Sequence[Photo], *, must_find: bool = True
) -> Checked:
    """Export weights as ONNX, end-to-end where the family has it, and compare both on photos.

    Args:
        weights: `.pt`.
        size: width and height of the input, px, multiples of 32.
        out: where to; nothing is left there if the two do not find the same.
        photos: real ones.
        must_find: whether photos in which neither finds anything are refused, as they prove nothing; after a short
            training they are all there is.

    Raises:
        YoloError: weights that are none, or that answer otherwise once they are exported.
    """
    width, height = size
    if width % 32 or height % 32 or min(size) < 32:
        raise YoloError(f"--imgsz: expected multiples of 32, got {height}x{width}")
    with _ultralytics() as library, TemporaryDirectory() as folder:
        copy = Path(shutil.copyfile(weights, Path(folder) / f"{out.stem}.pt"))
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                model = library.YOLO(str(copy))
                made = Path(model.export(format="onnx", imgsz=[height, width], opset=OPSET, nms=False))
        except Exception as fault:  # noqa: BLE001 - unpickling and exporting may raise anything
            raise YoloError(f"{weights}: expected weights of ultralytics, {_said(fault)}") from None
        for score in CHECK_SCORES:
            checked = compare(library.YOLO(str(copy)), load_detector(made, score), photos)
            if checked.boxes or checked.missing:
                break
        if must_find and not checked.boxes + checked.missing:
            raise YoloError(
                f"{weights}: expected photos that show what it knows, it found nothing in {checked.photos} of them, "
                "before and after; give others with --photos"
            )
        if not checked.same:
            raise YoloError(
                f"{weights}: expected the same boxes from the ONNX file, {checked.missing} of {checked.boxes} are "
                f"missing on one side and edges differ by up to {checked.off_px:.2f} px; nothing was written"
            )
        part = out.with_suffix(".part")
        shutil.copyfile(made, part)
        part.replace(out)
    return checked


def _said(fault: Exception) -> str:
    """What an error of others says, on one line."""
    return f"{type(fault).__name__}: {' '.join(str(fault).split())[:300]}"


def compare(model: Any, detector: Detector, photos: Sequence[Photo]) -> Checked:
    """Look at photos with both; the photos are fitted into the input beforehand, so that only the networks differ."""
    width, height = detector.input_size
    head, told = model.model.model[-1], dict[str, bool]()
    if hasattr(head, "end2end"):  # such a family has two heads, and answers by the other one unless it is told
        head.end2end = detector.layout == "end-to-end"
        told = {"nms": not head.end2end}  # which says the same to newer versions
    boxes, missing, off_px = 0, 0, 0.0
    for photo in photos:
        fitted = Letterbox.fit((photo.shape[1], photo.shape[0]), (width, height), centred=True).paste(photo)
        (said,) = model.predict(
            np.ascontiguousarray(fitted[:, :, ::-1]), imgsz=(height, width), conf=detector.min_score, iou=NMS_IOU,
            verbose=False, device="cpu", **told,
        )  # fmt: skip
        theirs = [
            (tuple(corners), float(score), int(number))
            for corners, score, number in zip(
                said.boxes.xyxy.tolist(), said.boxes.conf.tolist(), said.boxes.cls.tolist(), strict=True
            )
        ]
        found = detector.detect(fitted)
        corners = np.concatenate([found.boxes[:, :2], found.boxes[:, :2] + found.boxes[:, 2:]], 1)
        corners = corners * np.array([width, height, width, height])
        ours = list(zip(map(tuple, corners.tolist()), found.scores.tolist(), found.classes.tolist(), strict=True))
        pairs, alone = match(theirs, ours, NEAR * detector.min_score)
        boxes, missing = boxes + len(pairs), missing + alone
        off_px = max([off_px, *pairs])
    return Checked(len(photos), boxes, off_px, missing)


Box = tuple[tuple[float, ...], float, int]
"""Corners, score, class."""


def match(theirs: Sequence[Box], ours: Sequence[Box], sure: float) -> tuple[list[float], int]:
    """Pair boxes of one class, the nearest first.

    Gives the distances, px, and how many boxes are left alone whose score is `sure` or more.
    """
    left = list(ours)
    pairs, alone = [], 0
    for corners, score, number in theirs:
        rivals = [one for one in left if one[2] == number]
        nearest = min(rivals, key=lambda one: _off_px(one[0], corners), default=None)
        if nearest is not None and _off_px(nearest[0], corners) <= 8 * MOST_PX:
            left.remove(nearest)
            pairs.append(_off_px(nearest[0], corners))
        elif score >= sure:
            alone += 1
    return pairs, alone + sum(one[1] >= sure for one in left)


def _off_px(a: Sequence[float], b: Sequence[float]) -> float:
    return max(abs(x - y) for x, y in zip(a, b, strict=True))


def learn(dataset: Dataset, base: str, epochs: int, size: int, device: str, out: Path, *, fine: bool, seed: int) -> str:
    """Train weights; gives the device that was used.

    Args:
        dataset: to learn from.
        base: a family that ultralytics describes (`yolo26n`), from random weights, or a file of weights.
        epochs: how often all photos are seen.
        size: the longer side of a photo, px.
        device: `auto`, `cpu`, or the number of a GPU.
        out: where the weights go, `.pt`.
        fine: whether only a little is to be learned: with a tenth of the rate, the first layers kept as they are.
        seed: of all that is random.
    """
    with _ultralytics() as library, TemporaryDirectory() as folder:
        used = _device(device)
        described = _describe(dataset, Path(folder))
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                model = library.YOLO(base if base.endswith(".pt") else f"{base}.yaml")
                slow = {"lr0": 0.001, "optimizer": "AdamW", "warmup_epochs": 1, "freeze": 10} if fine else {}
                model.train(
                    data=str(described), epochs=epochs, imgsz=size, device=used, seed=seed, deterministic=True,
                    project=folder, name="run", exist_ok=True, plots=False, verbose=False, val=False, workers=0,
                    amp=used != "cpu", batch=_batch(len(dataset.learned)), **slow,
                )  # fmt: skip
        except Exception as fault:  # noqa: BLE001 - it may raise anything
            raise YoloError(f"{base}: cannot be trained, {_said(fault)}") from None
        shutil.copyfile(Path(folder) / "run/weights/last.pt", out)
    return used


def _device(asked: str) -> str:
    import torch  # noqa: PLC0415 - with ultralytics only

    if asked != "auto":
        return asked
    if torch.cuda.is_available():
        return "0"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _batch(photos: int) -> int:
    return max(1, min(16, photos))


def _describe(dataset: Dataset, folder: Path) -> Path:
    """Write what ultralytics calls a dataset; it looks for labels beside the folder of images by itself."""
    names = [f"  {number}: {json.dumps(name)}" for number, name in sorted(dataset.names.items())]
    for name, paths in (("train", dataset.learned), ("val", dataset.held_back)):
        (folder / f"{name}.txt").write_text("\n".join(str(path.absolute()) for path in paths), "utf-8")
    described = folder / "data.yaml"
    lines = [f"path: {folder}", "train: train.txt", "val: val.txt", "names:", *names]
    described.write_text("\n".join([*lines, ""]), "utf-8")
    return described


def held_back(detector_path: Path, dataset: Dataset) -> HeldBack:
    """Measure an exported detector on what was held back."""
    detector = load_detector(detector_path, EVALUATION_SCORE)
    sure = load_detector(detector_path).min_score
    pairs, invented, empty = [], 0, 0
    for path in dataset.held_back:
        photo = dataset.photo(path)
        found = look(detector, photo.rgb)
        pairs.append((photo.labelled.of(detector.names), found))
        if not len(photo.labelled.classes):
            empty, invented = empty + 1, invented + int((found.scores >= sure).sum())
    return HeldBack(len(pairs), evaluate(pairs), invented, empty)

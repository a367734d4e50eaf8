"""Photos on disk, with labels or without."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.vision.detector import Detector
from models.tools.evaluation import Found, Labelled, read_labels

Photo = NDArray[np.uint8]


class PhotoError(Exception):
    """Photos or labels that cannot be used; one line."""


class NoPhotoError(PhotoError):
    """A file that is no photo; others may be."""


@dataclass(frozen=True, eq=False)
class LabelledPhoto:
    """A photo of shape `(h, w, 3)` and what is in it."""

    path: Path
    rgb: Photo
    labelled: Labelled


def read_photo(path: Path) -> Photo:
    """Read a photo as RGB; raises NoPhotoError."""
    try:
        content = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as fault:
        raise NoPhotoError(f"{path}: expected a photo, it cannot be read ({fault.strerror})") from None
    photo = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    if photo is None:
        raise NoPhotoError(f"{path}: expected a photo such as JPEG or PNG, it is none")
    return np.asarray(cv2.cvtColor(photo, cv2.COLOR_BGR2RGB), np.uint8)


def photos_in(folder: Path) -> list[Path]:
    """Files of a folder, sorted; raises PhotoError where there is none."""
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    if not paths:
        raise PhotoError(f"{folder}: expected photos, found none")
    return paths


def labelled_photo(path: Path, labels: Path) -> LabelledPhoto:
    """Read a photo and its labels.

    A photo without a label file shows nothing of any class, as the format has it.

    Args:
        path: of the photo.
        labels: the folder with `NAME.txt`.

    Raises:
        NoPhotoError: the file is no photo.
        PhotoError: the label file is none.
    """
    rgb = read_photo(path)
    return LabelledPhoto(path, rgb, _labels(labels / f"{path.stem}.txt", rgb))


def _labels(path: Path, rgb: Photo) -> Labelled:
    try:
        text = path.read_text("utf-8", "replace") if path.is_file() else ""
        return read_labels(text, rgb.shape[1], rgb.shape[0])
    except (OSError, ValueError) as fault:
        raise PhotoError(f"{path}: {fault}") from None


def look(detector: Detector, rgb: Photo) -> Found:
    """What a detector finds in a photo, px."""
    said = detector.detect(rgb)
    height, width = rgb.shape[:2]
    boxes = said.boxes.astype(np.float64) * (width, height, width, height)
    return Found(boxes, said.classes, said.scores.astype(np.float64))

"""A dataset folder in YOLO format: `images/` and `labels/`, each perhaps with `train/` and `val/`.

What the classes are called is said by `data.yaml` (`names`) or `classes.txt` (one name a line); else they are COCO's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from models.catalogue import COCO_NAMES
from models.tools.photos import LabelledPhoto, NoPhotoError, PhotoError, labelled_photo

HELD_BACK: Final = 10
"""Where the folder itself holds nothing back, every tenth photo is."""
OTHERS: Final = ("val", "valid", "test")
"""Folders of photos that are held back."""


@dataclass(frozen=True)
class Dataset:
    """Photos and what their classes are called.

    Args:
        folder: of the dataset.
        names: of the classes, by number.
        learned: photos to learn from.
        held_back: photos that nothing is learned from.
    """

    folder: Path
    names: Mapping[int, str]
    learned: Sequence[Path]
    held_back: Sequence[Path]

    def photo(self, path: Path) -> LabelledPhoto:
        """Read one of its photos; raises PhotoError."""
        return labelled_photo(path, self.folder / "labels" / path.relative_to(self.folder / "images").parent)


def read_dataset(folder: Path) -> Dataset:
    """Look what a folder holds, and split it; raises PhotoError."""
    images = folder / "images"
    if not images.is_dir() or not (folder / "labels").is_dir():
        raise PhotoError(f"{folder}: expected a dataset in YOLO format with images/ and labels/, found no such folders")
    paths = sorted(path for path in images.rglob("*") if path.is_file())
    whole = Dataset(folder, _names(folder), paths, [])
    good, used = [], set[int]()
    for path in paths:
        try:
            used.update(whole.photo(path).labelled.classes.tolist())
        except NoPhotoError:
            continue
        good.append(path)
    if unknown := used - set(whole.names):
        raise PhotoError(
            f"{folder}: expected classes 0 to {len(whole.names) - 1}, got {min(unknown)}; name them in classes.txt"
        )
    held_back = [path for path in good if path.relative_to(images).parts[0] in OTHERS] or good[
        HELD_BACK - 1 :: HELD_BACK
    ]
    held_back = held_back or good[-1:]
    left = set(held_back)
    learned = [path for path in good if path not in left]
    if not learned or not used:
        raise PhotoError(f"{folder}: expected two photos or more, some with labels, found {len(good)}")
    return Dataset(folder, whole.names, learned, held_back)


def _names(folder: Path) -> Mapping[int, str]:
    for path in (folder / "data.yaml", folder / "dataset.yaml"):
        if path.is_file():
            return _names_of_yaml(path)
    path = folder / "classes.txt"
    names = path.read_text("utf-8", "replace").splitlines() if path.is_file() else COCO_NAMES
    return dict(enumerate(name.strip() for name in names if name.strip()))


def _names_of_yaml(path: Path) -> Mapping[int, str]:
    try:
        import yaml  # noqa: PLC0415 - comes with ultralytics
    except ImportError:
        raise PhotoError(f"{path}: expected the package PyYAML to read it; name the classes in classes.txt") from None
    try:
        names: Any = yaml.safe_load(path.read_text("utf-8", "replace"))["names"]
        named = dict(enumerate(names)) if isinstance(names, list) else dict(names)
        return {int(number): str(name) for number, name in named.items()}
    except (yaml.YAMLError, KeyError, TypeError, ValueError):
        raise PhotoError(f"{path}: expected `names` of the classes, found none") from None

"""What is known of model files: task, source, licence, checksum, figures. Imports no other package of ours.

Comes in: `models/catalogue.toml`. Goes out: `load_catalogue()`, the class names of COCO, which most detectors use, and
`own_path()`: the small networks that the project trained itself and ships (`own/`, each with its card). They lie there
packed (`NAME.onnx.packed`), to keep the repository small; `read_model()` reads them as any ONNX file.
"""

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from models.catalogue.packed import unpacked

COCO_NAMES: Final = (
    *("person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light"),
    *("fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow"),
    *("elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee"),
    *("skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard"),
    *("tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple"),
    *("sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch"),
    *("potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard"),
    *("cell phone", "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase"),
    *("scissors", "teddy bear", "hair drier", "toothbrush"),
)
"""The 80 classes of COCO (cocodataset.org), in the order of their numbers."""
PACKED: Final = ".packed"


@dataclass(frozen=True)
class Measured:
    """Figures of a detector: the first 128 photos of COCO val2017, recompressed, two Zen 4 cores, ONNX Runtime.

    Args:
        map50_95: mean average precision over IoU .5 to .95.
        person_ap50: average precision of people at IoU .5.
        ms: of one photo.
    """

    map50_95: float
    person_ap50: float
    ms: float


@dataclass(frozen=True)
class Entry:
    """One model file.

    Args:
        task: `detect` or `faces`.
        classes: how many it knows.
        input: width and height, px, or `any`.
        layout: how it answers.
        source: where it comes from, in words.
        url: where its publisher has it as ONNX; empty where that is nowhere.
        size: bytes; None where the file was never at hand.
        sha256: None where the file was never at hand.
        measured: None where it was never at hand, or has no such figures.
    """

    name: str
    task: str
    classes: int
    input: str
    layout: str
    licence: str
    source: str
    url: str = ""
    size: int | None = None
    sha256: str | None = None
    measured: Measured | None = None

    @property
    def verified(self) -> bool:
        """Whether it is known what the file holds."""
        return self.sha256 is not None


def load_catalogue() -> tuple[Entry, ...]:
    """Read the catalogue that ships with the package."""
    values = tomllib.loads(files("models").joinpath("catalogue.toml").read_text("utf-8"))
    return tuple(_entry(entry) for entry in values["model"])


def _entry(values: dict[str, Any]) -> Entry:
    measured = values.pop("measured", None)
    return Entry(**values, measured=Measured(**measured) if measured else None)


def own_path(name: str) -> Path:
    """The file of one of the project's own networks."""
    return Path(str(files(__package__).joinpath("own", f"{name}.onnx{PACKED}")))


def own_model(name: str) -> bytes:
    """Read one of the project's own networks."""
    return read_model(own_path(name))


def read_model(path: Path) -> bytes:
    """Read an ONNX file, one that is packed as well; raises OSError where it cannot be read."""
    content = path.read_bytes()
    try:
        return unpacked(content) if path.suffix == PACKED else content
    except ValueError:
        return content  # whoever loads it says what is wrong


def name_of(path: Path) -> str:
    """What a model's file calls it."""
    return path.name.removesuffix(PACKED).removesuffix(".onnx")

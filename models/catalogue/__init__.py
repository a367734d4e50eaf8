"""What is known of model files: purpose, origin, licence, checksum. Imports no other package of ours.

Comes in: `catalogue.toml`. Goes out: `load_catalogue()`, the class names of COCO, which most detectors use, and
`own_model()`: the small networks that the project trained itself and ships (`own/`, each with its card).
"""

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

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


@dataclass(frozen=True)
class Entry:
    """One model file."""

    name: str
    purpose: str
    """`detector` or `faces`."""
    input: str
    licence: str
    origin: str
    sha256: str
    note: str


def load_catalogue() -> tuple[Entry, ...]:
    """Read the catalogue that ships with the package."""
    values = tomllib.loads(files(__package__).joinpath("catalogue.toml").read_text("utf-8"))
    return tuple(Entry(**entry) for entry in values["model"])


def own_model(name: str) -> bytes:
    """Read one of the project's own networks, an ONNX file."""
    return files(__package__).joinpath("own", f"{name}.onnx").read_bytes()

"""An ONNX detector: a picture in, boxes with scores and classes out."""

import ast
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from agent.vision.layouts import EXPECTED, Layout, recognise
from agent.vision.letterbox import Letterbox
from agent.vision.onnx_file import inspect, refusal
from models.catalogue import COCO_NAMES

MAX_FILE_BYTES: Final = 500 * 1024 * 1024


class DetectorError(Exception):
    """A detector that cannot be used; one line that says what was expected, what came and what to do."""


class DetectorMissingError(DetectorError):
    """A detector that is named and not at hand; the box can do without."""


@dataclass(frozen=True, eq=False)
class Detections:
    """What was found in one picture: parallel arrays, best first.

    Args:
        boxes: shape `(n, 4)`, x y w h in picture coordinates.
        scores: shape `(n,)`, 0 to 1.
        classes: shape `(n,)`, index into `names`.
        names: what the classes are called.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]
    names: Mapping[int, str]

    def __post_init__(self) -> None:
        count = len(self.scores)
        if self.boxes.shape != (count, 4) or self.classes.shape != (count,):
            raise ValueError(
                f"expected {count} boxes and classes, got shapes {self.boxes.shape} and {self.classes.shape}"
            )

    def __len__(self) -> int:
        return len(self.scores)

    def of(self, name: str, min_score: float = 0.0) -> "Detections":
        """Keep one class, from a score on."""
        wanted = [number for number, its_name in self.names.items() if its_name == name]
        kept = np.isin(self.classes, wanted) & (self.scores >= min_score)
        return Detections(self.boxes[kept], self.scores[kept], self.classes[kept], self.names)


@dataclass(frozen=True)
class Detector:
    """A loaded detector; may be used by several threads."""

    name: str
    sha256: str
    names: Mapping[int, str]
    _layout: Layout
    _min_score: float
    _session: Any = field(repr=False)

    @property
    def layout(self) -> str:
        """How it answers."""
        return self._layout.name

    @property
    def input_size(self) -> tuple[int, int]:
        """Width and height of its input, pixels."""
        return self._layout.width, self._layout.height

    def fit(self, width: int, height: int) -> tuple[int, int]:
        """Size to which a picture should be scaled before `detect`, so that it is scaled once."""
        box = Letterbox.fit((width, height), self.input_size, centred=self._layout.centred)
        return box.content_width, box.content_height

    def detect(self, rgb: NDArray[np.uint8]) -> Detections:
        """Find things in a picture of shape `(h, w, 3)`."""
        box = Letterbox.fit((rgb.shape[1], rgb.shape[0]), self.input_size, centred=self._layout.centred)
        output = _run(self._session, self._layout.blob(box.paste(rgb)))
        found = self._layout.read(output, self._min_score)
        return Detections(box.to_picture(found.corners), found.scores, found.classes, self.names)


def _run(session: Any, blob: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(session.run(None, {session.get_inputs()[0].name: blob})[0], np.float32)


def load_detector(path: Path, min_score: float = 0.25, threads: int = 0) -> Detector:
    """Load a detector and try it once; raises DetectorError.

    Args:
        path: the ONNX file; all weights must be inside it.
        min_score: detections below it are dropped.
        threads: of one inference; 0 lets ONNX Runtime decide.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise DetectorError(f"{path}: expected a detector of at most 500 MB, got {path.stat().st_size} bytes")
        content = path.read_bytes()
    except OSError as fault:
        raise DetectorError(
            f"{path}: expected an ONNX file, it cannot be read ({fault.strerror}); check [detector] model"
        ) from None
    if refused := refusal(content):
        raise DetectorError(f"{path}: {refused}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    # spinning threads would burn the cores that the cameras' decoders need
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as fault:  # noqa: BLE001 - ONNX Runtime's own classes share nothing but Exception
        opset = inspect(content).opsets.get("", 0)
        raise DetectorError(
            f"{path}: expected an ONNX detector, ONNX Runtime cannot load it ({type(fault).__name__}, opset {opset}); "
            "get the file again, or export it with opset 17"
        ) from None
    layout = _recognised(path, session)
    meta = session.get_modelmeta().custom_metadata_map
    names = _names(meta, layout)
    return Detector(path.stem, hashlib.sha256(content).hexdigest(), names, layout, min_score, session)


def _recognised(path: Path, session: Any) -> Layout:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type != "tensor(float)":
        got = ", ".join(f"{one.type} {one.shape}" for one in inputs)
        raise DetectorError(f"{path}: expected one input 1×3×H×W of floats, got {got}; export it as a YOLO detector")
    meta = session.get_modelmeta().custom_metadata_map
    task = meta.get("task", "detect")
    if task != "detect":
        raise DetectorError(f"{path}: expected a model for detection, got one for {task!r}; export the detector")
    width, height = _input_size(path, inputs[0].shape, meta)
    try:
        output = _run(session, np.zeros((1, 3, height, width), np.float32))
    except Exception as fault:  # noqa: BLE001 - as above
        raise DetectorError(
            f"{path}: expected a model that runs on 1×3×{height}×{width}, it failed ({type(fault).__name__})"
        ) from None
    layout = recognise(inputs[0].shape, output.shape, (width, height))
    if layout is None:
        got = ", ".join("×".join(map(str, one.shape)) for one in outputs)
        raise DetectorError(f"{path}: expected an output {EXPECTED}, got {got}; this layout is not known")
    return layout


def _input_size(path: Path, shape: list[object], meta: Mapping[str, str]) -> tuple[int, int]:
    sides = [side for side in shape[2:] if isinstance(side, int)]
    if len(sides) < 2:
        try:
            sides = [int(side) for side in ast.literal_eval(meta.get("imgsz", ""))]
        except (ValueError, SyntaxError, TypeError):
            sides = []
    if len(sides) != 2 or not all(32 <= side <= 4096 and side % 32 == 0 for side in sides):
        raise DetectorError(
            f"{path}: expected a fixed input, both sides multiples of 32, got {shape}; export it with a fixed size"
        )
    return sides[1], sides[0]


def _names(meta: Mapping[str, str], layout: Layout) -> dict[int, str]:
    """Names of the classes: from the file, else COCO's where the number fits, else numbers."""
    try:
        names = ast.literal_eval(meta.get("names", ""))
    except (ValueError, SyntaxError):
        names = None
    if isinstance(names, list | tuple):
        names = dict(enumerate(names))
    if isinstance(names, dict) and names:
        return {int(number): str(name) for number, name in names.items()}
    if layout.classes in (None, len(COCO_NAMES)):
        return dict(enumerate(COCO_NAMES))
    return {number: f"class-{number}" for number in range(layout.classes or 0)}

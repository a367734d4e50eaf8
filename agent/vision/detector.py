"""An ONNX detector: a picture in, boxes with scores and classes out."""

import ast
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.vision.errors import DetectorError
from agent.vision.layouts import EXPECTED, Layout, recognise
from agent.vision.letterbox import Letterbox
from agent.vision.onnx_file import inspect, refusal
from agent.vision.providers import Network, Plan, ProviderError, Size, provider_of
from models.catalogue import COCO_NAMES, name_of, read_model

MAX_FILE_BYTES: Final = 500 * 1024 * 1024
RESHAPING: Final = frozenset({"cpu", "cuda"})
"""Providers that take an input of another size as it comes; the others build a network for each."""
MIN_SCORE: Final = 0.25
"""Where the file does not say (`min_score` of its metadata)."""


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
class _Watched:
    """A network with somebody who hears of its failures."""

    network: Network
    on_fault: Callable[[Exception], None]

    @property
    def shape(self) -> Sequence[object]:
        return self.network.shape

    def run(self, blob: NDArray[np.float32]) -> NDArray[np.float32]:
        try:
            return self.network.run(blob)
        except Exception as fault:
            self.on_fault(fault)
            raise


@dataclass(frozen=True)
class Detector:
    """A loaded detector; may be used by several threads."""

    name: str
    sha256: str
    names: Mapping[int, str]
    min_score: float
    """Detections below it are dropped."""
    _layout: Layout
    _network: Network = field(repr=False)
    plan: Plan = field(default_factory=Plan)
    """How it is run."""
    free: bool = False
    """Whether its input may have other sides, multiples of 32."""

    @property
    def layout(self) -> str:
        """How it answers."""
        return self._layout.name

    @property
    def input_size(self) -> tuple[int, int]:
        """Width and height of its input, pixels."""
        return self._layout.width, self._layout.height

    def resized(self, width: int, height: int) -> "Detector | None":
        """The same detector with an input of another size; None where its input is fixed."""
        return replace(self, _layout=replace(self._layout, width=width, height=height)) if self.free else None

    def watched(self, on_fault: Callable[[Exception], None]) -> "Detector":
        """The same detector, which tells when its network fails, and fails all the same."""
        return replace(self, _network=_Watched(self._network, on_fault))

    def fit(self, width: int, height: int) -> tuple[int, int]:
        """Size to which a picture should be scaled before `detect`, so that it is scaled once."""
        box = Letterbox.fit((width, height), self.input_size, centred=self._layout.centred)
        return box.content_width, box.content_height

    def blob(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What its network gets to see of a picture of shape `(h, w, 3)`: shape `(1, 3, height, width)`."""
        return self._layout.blob(self._box(rgb).paste(rgb))

    def _box(self, rgb: NDArray[np.uint8]) -> Letterbox:
        return Letterbox.fit((rgb.shape[1], rgb.shape[0]), self.input_size, centred=self._layout.centred)

    def answer(self, rgb: NDArray[np.uint8]) -> tuple[Layout, NDArray[np.float32]]:
        """What its network says of a picture of shape `(h, w, 3)`, and how that is to be read."""
        return self._layout, self._network.run(self.blob(rgb))

    def detect(self, rgb: NDArray[np.uint8]) -> Detections:
        """Find things in a picture of shape `(h, w, 3)`."""
        layout, output = self.answer(rgb)
        found = layout.read(output, self.min_score)
        return Detections(self._box(rgb).to_picture(found.corners), found.scores, found.classes, self.names)


def load_detector(
    path: Path, min_score: float | None = None, threads: int = 0, *, plan: Plan | None = None, size: Size | None = None
) -> Detector:
    """Load a detector and try it once; raises DetectorError.

    Args:
        path: the ONNX file; all weights must be inside it.
        min_score: detections below it are dropped; None: what the file says, else MIN_SCORE.
        threads: of one inference; 0 lets the runtime decide.
        plan: how it is run; None: by ONNX Runtime on the processor, with `threads`.
        size: width and height of the input where the file leaves them free; None: what the file says.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise DetectorError(f"{path}: expected a detector of at most 500 MB, got {path.stat().st_size} bytes")
        content = read_model(path)
    except OSError as fault:
        raise DetectorError(
            f"{path}: expected an ONNX file, it cannot be read ({fault.strerror}); check [detector] model"
        ) from None
    if refused := refusal(content):
        raise DetectorError(f"{path}: {refused}")
    file = inspect(content)
    wanted = size or _said_size(file.metadata)
    try:
        plan = plan or Plan(threads=threads)
        network = provider_of(plan.provider).open(path, content, plan, wanted)
    except ProviderError as fault:
        raise DetectorError(
            f"{path}: expected an ONNX detector, {fault} (opset {file.opsets.get('', 0)}); "
            "get the file again, or export it with opset 17"
        ) from None
    layout = _recognised(path, network, file.metadata, size)
    names = _names(file.metadata, layout)
    if min_score is None:
        min_score = _said_score(file.metadata)
    free = plan.provider in RESHAPING and not any(isinstance(side, int) for side in network.shape[2:])
    return Detector(name_of(path), hashlib.sha256(content).hexdigest(), names, min_score, layout, network, plan, free)


def _recognised(path: Path, network: Network, meta: Mapping[str, str], asked: Size | None) -> Layout:
    task = meta.get("task", "detect")
    if task != "detect":
        raise DetectorError(f"{path}: expected a model for detection, got one for {task!r}; export the detector")
    width, height = _input_size(path, network.shape, asked, _said_size(meta))
    try:
        output = network.run(np.zeros((1, 3, height, width), np.float32))
    except Exception as fault:  # noqa: BLE001 - each runtime has its own, which share nothing but Exception
        raise DetectorError(
            f"{path}: expected a model that runs on 1×3×{height}×{width}, it failed ({type(fault).__name__})"
        ) from None
    layout = recognise(network.shape, output.shape, (width, height))
    if layout is None:
        got = "×".join(map(str, output.shape))
        raise DetectorError(f"{path}: expected an output {EXPECTED}, got {got}; this layout is not known")
    return layout


def _input_size(path: Path, shape: Sequence[object], asked: Size | None, said: Size | None) -> Size:
    fixed = [side for side in shape[2:] if isinstance(side, int)]
    own = (fixed[1], fixed[0]) if len(fixed) == 2 else None
    size = own or asked or said
    if size is None or not all(32 <= side <= 4096 and side % 32 == 0 for side in size):
        raise DetectorError(
            f"{path}: expected a fixed input, both sides multiples of 32, got {shape}; export it with a fixed size"
        )
    if asked not in (None, size):
        raise DetectorError(f"{path}: expected an input of {asked}, width and height, got one that is fixed at {size}")
    return size


def _said_size(meta: Mapping[str, str]) -> Size | None:
    """What exporters write as `imgsz`: height and width."""
    try:
        height, width = (int(side) for side in ast.literal_eval(meta.get("imgsz", "")))
    except (ValueError, SyntaxError, TypeError):
        return None
    return width, height


def _said_score(meta: Mapping[str, str]) -> float:
    try:
        score = float(meta.get("min_score", MIN_SCORE))
    except ValueError:
        return MIN_SCORE
    return score if 0 < score < 1 else MIN_SCORE


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

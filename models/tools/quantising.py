"""Weights and activations in 8 bits, where that is good enough and faster on this machine.

Comes in: a detector's file, frames to calibrate on, photos to judge by. Goes out: `NAME-int8.onnx`, or why there is
none. Static, QDQ, weights per channel (Jacob et al., 2018). Which parts of the network stay as they were is measured:
each part is quantised alone, and those by which most is lost are left out first.
"""

import logging
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from agent.vision.errors import DetectorError
from models.catalogue import name_of, read_model
from models.tools.evaluation import Labelled
from models.tools.photos import Photo
from models.tools.tuning import INT8, Candidate, Deadline, by_photos, paired

PARTS: Final = 24
"""The network is cut into so many parts, in the order in which it is reckoned."""
LEFT_OUT: Final = (0, 1, 2, 3, 4, 6, 8, 12, 16, 20)
SENSED_BY: Final = 8
"""Frames on which the parts are tried."""
PRODUCTS: Final = ("Conv", "MatMul", "Gemm")
"""What is faster in 8 bits."""
KINDS: Final = (*PRODUCTS, "Add", "Mul", "Sigmoid", "Relu", "Concat", "MaxPool", "Resize")
"""They, and what lies between them, so that numbers need not change their kind."""
MIN_OPSET: Final = 13
"""From which on weights may have a scale for each channel."""
NEW_OPSET: Final = 17


class QuantiseError(Exception):
    """What cannot be quantised; one line."""


@dataclass(frozen=True)
class Result:
    """What came of it.

    Args:
        path: the file; None: it is not kept.
        why: in words.
        points: mAP lost, 0 to 100.
        ms: of one look, in turn with the original; None: it was too bad to be timed.
        default_ms: of the original.
        left_out: parts of PARTS that stay as they were.
    """

    path: Path | None
    why: str
    points: float
    ms: float | None
    default_ms: float | None
    left_out: int


def quantise(
    base: Candidate,
    frames: Sequence[Photo],
    photos: Sequence[tuple[Photo, Labelled | None]],
    most_points: float,
    folder: Path,
    tell: Callable[[str], None],
) -> Result:
    """Quantise a detector; raises QuantiseError.

    Args:
        base: the detector as it is.
        frames: to calibrate on, from the cameras that it will see through.
        photos: to judge by; labels may be None, as for `by_photos`.
        most_points: of mAP that may be lost.
        folder: where the file goes if it is kept.
        tell: takes lines on the way.
    """
    always = Deadline(float("inf"))
    with TemporaryDirectory() as work:
        network = _Network.prepare(base, frames, Path(work))
        detector = base.load()
        telling = [frame for frame in frames if len(detector.detect(frame))] or list(frames)
        sense = by_photos(base, [(frame, None) for frame in telling[:SENSED_BY]], always)
        losses = []
        for number, part in enumerate(network.parts):
            losses.append(_loss(sense, network, base, [one for one in network.nodes if one not in part]))
            tell(f"part {number + 1} of {len(network.parts)} in 8 bits: {losses[-1]:.1f} points lost")
        order = np.argsort(-np.array(losses), kind="stable")
        judge = by_photos(base, photos, always)
        points = float("inf")
        for count in LEFT_OUT:
            if count >= len(network.parts):
                break
            points = _loss(judge, network, base, [one for n in order[:count] for one in network.parts[n]])
            tell(f"{count} of {len(network.parts)} parts left out: mAP falls by {points:.1f} points")
            if points > most_points:
                continue
            default_ms, ms = paired(base, network.candidate(base), always)
            if ms >= default_ms:
                # leaving out more only makes it slower
                return Result(None, "it is no faster on this machine", points, ms, default_ms, count)
            path = folder / f"{name_of(base.path)}{INT8}.onnx"
            part_path = path.with_suffix(".part")
            part_path.write_bytes(network.out.read_bytes())
            part_path.replace(path)
            return Result(path, "faster, and good enough", points, ms, default_ms, count)
    return Result(None, "too much is lost, whatever is left out", points, None, None, len(network.parts))


def _loss(judge: Callable[[Candidate], float], network: "_Network", base: Candidate, left_out: Sequence[str]) -> float:
    network.write(left_out)
    try:
        return judge(network.candidate(base))
    except DetectorError:
        return float("inf")


@dataclass(frozen=True)
class _Network:
    """A network that is ready to be quantised, in a folder of its own."""

    folder: Path
    nodes: Sequence[str]
    parts: Sequence[Sequence[str]]
    blobs: Sequence[NDArray[np.float32]]
    input: str

    @classmethod
    def prepare(cls, base: Candidate, frames: Sequence[Photo], folder: Path) -> "_Network":
        """Fold constants and batch norms, name all nodes, and cut it into parts."""
        onnx = _onnx()
        folded = folder / "folded.onnx"
        try:
            _fold(onnx, base.path, folded)
        except Exception as fault:  # noqa: BLE001 - the converter and the runtime raise whatever they meet
            raise QuantiseError(f"{base.path}: it cannot be prepared ({type(fault).__name__})") from None
        model = onnx.load(folded)
        nodes = [node.name for node in model.graph.node if node.op_type in KINDS]
        if not any(node.op_type in PRODUCTS for node in model.graph.node):
            raise QuantiseError(f"{base.path}: expected convolutions or products of matrices, found none")
        parts = [part.tolist() for part in np.array_split(np.array(nodes, object), min(PARTS, len(nodes)))]
        detector = base.load()
        blobs = [detector.blob(frame) for frame in frames]
        return cls(folder, nodes, parts, blobs, model.graph.input[0].name)

    @property
    def out(self) -> Path:
        """The quantised file."""
        return self.folder / "quantised.onnx"

    def candidate(self, base: Candidate) -> Candidate:
        """The quantised file as it would be run."""
        return Candidate(self.out, base.size, base.plan)

    def write(self, left_out: Sequence[str]) -> None:
        """Quantise all nodes but some."""
        from onnxruntime import quantization  # noqa: PLC0415 - it needs the package onnx, which a box lacks

        # ARM multiplies signed numbers fastest, x86 unsigned by signed ones (ONNX Runtime, "Quantize ONNX models")
        unsigned = platform.machine() in ("x86_64", "AMD64")
        logging.disable(logging.WARNING)  # it recommends, in every call, what `prepare` has done
        try:
            self._quantise(quantization, left_out, unsigned=unsigned)
        except Exception as fault:  # noqa: BLE001 - it raises whatever it meets
            raise QuantiseError(
                f"expected a network that ONNX Runtime can quantise, it cannot ({type(fault).__name__})"
            ) from None
        finally:
            logging.disable(logging.NOTSET)

    def _quantise(self, quantization: Any, left_out: Sequence[str], *, unsigned: bool) -> None:
        quantization.quantize_static(
            self.folder / "folded.onnx",
            self.out,
            _Reader(iter(self.blobs), self.input),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=list(KINDS),
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8 if unsigned else quantization.QuantType.QInt8,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_exclude=list(left_out),
            calibration_cache_path=self.folder / "ranges.json",
        )


def _fold(onnx: Any, path: Path, folded: Path) -> None:
    """Write a network with its constants folded, an opset that is new enough, and a name for each node."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folded)
    options.log_severity_level = 4
    model = onnx.load_from_string(read_model(path))
    if next((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), 0) < MIN_OPSET:
        model = onnx.version_converter.convert_version(model, NEW_OPSET)
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    model = onnx.load(folded)
    used = {node.domain for node in model.graph.node} | {""}
    kept = [one for one in model.opset_import if one.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"node-{number}"
    onnx.save(model, folded)


@dataclass
class _Reader:
    """What the quantiser asks for frames."""

    blobs: Iterator[NDArray[np.float32]]
    name: str

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """Give the next one; None: that was all."""
        blob = next(self.blobs, None)
        return None if blob is None else {self.name: blob}


def _onnx() -> Any:
    try:
        import onnx  # noqa: PLC0415 - 31 MB that a box does without
        import onnx.version_converter  # noqa: PLC0415 - as above
    except ImportError:
        raise QuantiseError("expected the package onnx, found none; pip install 'cityeye[quantise]'") from None
    return onnx

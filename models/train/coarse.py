"""Fewer bits for a trained network: `python -m models.train.coarse FILE OUT.onnx.packed --photos DIR … --times 8`.

Kernels are whole steps already (`files`); here each step becomes larger, and packing needs less for what is left. The
graph stays, and so does the speed. Layer by layer, in the order in which they are reckoned, and by what they get to see
of photos: first a kernel makes up for what the layers before it got wrong, as far as a linear fit can; then its weights
are rounded one after the other, and those that are still to come make up for the error of each (GPTQ: Frantar et al.,
ICLR 2023). Needs the package onnx, not torch.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import onnx
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from agent.vision.runtime import open_on_processor
from models.catalogue import read_model
from models.tools.photos import photos_in, read_photo
from models.train.packing import pack
from models.train.pairs import Source, pair

MOST: Final = 127
SPOTS: Final = 200
"""Places of a layer's input that are looked at, of each photo."""
DAMPING: Final = 0.01
"""Share of the mean square of an input that is added to each: some never differ from zero."""
Blob = NDArray[np.float32]
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Layer:
    """A convolution whose kernel is whole steps: the names of its input, its steps and their size."""

    sees: str
    steps: str
    scale: str
    shape: Mapping[str, Sequence[int]]
    """Attributes of the convolution."""


def coarsen(model: onnx.ModelProto, blobs: Sequence[Blob], times: float) -> None:
    """Make the steps of all kernels larger.

    Args:
        model: is changed.
        blobs: what it is to see, in the shape of its input.
        times: how much larger those of the largest kernel become; the others by the root of their share less, and
            never smaller. A kernel costs bytes by its size and its error by the square of its steps: so the error of
            all is least.
    """
    before = onnx.ModelProto()
    before.CopyFrom(model)
    tensors = {one.name: one for one in model.graph.initializer}
    layers = list(_layers(model))
    largest = max(np.prod(tensors[one.steps].dims) for one in layers)
    for layer in layers:
        scale = numpy_helper.to_array(tensors[layer.scale]).astype(np.float64)
        steps = numpy_helper.to_array(tensors[layer.steps])
        weights = (steps * scale).reshape(len(steps), -1)
        seen, wanted = (_seen(one, layer, blobs) for one in (model, before))
        moments = _damped(seen.T @ seen / len(seen))
        weights = np.linalg.solve(moments, seen.T @ (wanted @ weights.T - seen @ weights.T) / len(seen)).T + weights
        scale *= max(1.0, times * (steps.size / largest) ** 0.5)
        coarse = rounded(weights, scale.reshape(-1), moments).reshape(steps.shape)
        for name, array in ((layer.steps, coarse), (layer.scale, scale.astype(np.float32))):
            tensors[name].CopyFrom(numpy_helper.from_array(array, name))


def rounded(weights: Matrix, scale: Matrix, moments: Matrix) -> NDArray[np.int8]:
    """Give weights as whole steps.

    Args:
        weights: `(out, in)`.
        scale: size of a step for each output, `(out,)`.
        moments: second moments of the inputs, `(in, in)`, positive definite.
    """
    weights = weights.copy()
    steps = np.zeros(weights.shape, np.int8)
    # the strongest inputs first, while there are many others to make up for them
    order = np.argsort(-np.diag(moments))
    upper = np.linalg.cholesky(np.linalg.inv(moments[np.ix_(order, order)])).T
    weights = weights[:, order]
    for number, column in enumerate(order):
        steps[:, column] = np.clip(np.round(weights[:, number] / scale), -MOST, MOST)
        error = (weights[:, number] - steps[:, column] * scale) / upper[number, number]
        weights[:, number:] -= np.outer(error, upper[number, number:])
    return steps


def _layers(model: onnx.ModelProto) -> Iterator[Layer]:
    """Find the convolutions whose kernels `files` wrote in steps: Cast, Mul, Conv."""
    made = {node.output[0]: node for node in model.graph.node}
    held = {one.name for one in model.graph.initializer if one.data_type == onnx.TensorProto.INT8}
    for node in model.graph.node:
        widened = made.get(node.input[1]) if node.op_type == "Conv" else None
        cast = made.get(widened.input[0]) if widened is not None and widened.op_type == "Mul" else None
        if widened is not None and cast is not None and cast.input[0] in held:
            shape = {one.name: helper.get_attribute_value(one) for one in node.attribute}
            yield Layer(node.input[0], cast.input[0], widened.input[1], shape)


def _seen(model: onnx.ModelProto, layer: Layer, blobs: Sequence[Blob]) -> Matrix:
    """What a layer's kernel gets to see at some places of each blob, `(places, in)`."""
    asked = onnx.ModelProto()
    asked.CopyFrom(model)
    del asked.graph.output[:]
    asked.graph.output.append(helper.make_empty_tensor_value_info(layer.sees))
    session = open_on_processor(asked.SerializeToString())
    name = model.graph.input[0].name
    # the same places in both networks
    rngs = map(np.random.default_rng, range(len(blobs)))
    rows = [
        _places(picture, layer.shape, rng)
        for blob, rng in zip(blobs, rngs, strict=True)
        for picture in session.run(None, {name: blob})[0]
    ]
    return np.concatenate(rows).astype(np.float64)


def _places(picture: NDArray[np.float32], shape: Mapping[str, Sequence[int]], rng: np.random.Generator) -> Any:
    (top, left, bottom, right), (down, across) = shape["pads"], shape["dilations"]
    high, wide = ((side - 1) * apart + 1 for side, apart in zip(shape["kernel_shape"], (down, across), strict=True))
    padded = np.pad(picture, ((0, 0), (top, bottom), (left, right)))
    windows = sliding_window_view(padded, (high, wide), (1, 2))
    windows = windows[:, :: shape["strides"][0], :: shape["strides"][1], ::down, ::across]
    rows, columns = windows.shape[1:3]
    at = rng.choice(rows * columns, min(SPOTS, rows * columns), replace=False)
    return windows[:, at // columns, at % columns].transpose(1, 0, 2, 3).reshape(len(at), -1)


def _damped(moments: Matrix) -> Matrix:
    return moments + np.eye(len(moments)) * DAMPING * np.trace(moments) / len(moments)


def _blobs(folders: Sequence[Path], count: int, size: tuple[int, int], *, paired: bool) -> Iterator[Blob]:
    """Photos as the networks get them: RGB, or pairs of lumas that are made up from them (`pairs`)."""
    for folder in folders:
        paths = photos_in(folder)
        photos = [read_photo(path) for path in paths[:: max(1, len(paths) // count)][:count]]
        lumas = [np.asarray(cv2.cvtColor(one, cv2.COLOR_RGB2GRAY), np.uint8) for one in photos]
        source, rng = Source(lumas), np.random.default_rng(1)
        for photo in photos:
            if paired:
                made = pair(source, size[::-1], rng)
                yield np.stack([made.now, made.reference])[None].astype(np.float32)
            else:
                fitted = np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), np.float32)
                yield np.ascontiguousarray(fitted.transpose(2, 0, 1)[None] / np.float32(255))


def main() -> None:
    """Read a file, make it coarser, pack it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="ONNX, as `models.train` writes it, or packed")
    parser.add_argument("out", type=Path)
    parser.add_argument("--photos", type=Path, action="append", required=True, help="folder of photos")
    parser.add_argument("--count", type=int, default=16, help="photos of each folder")
    parser.add_argument("--size", type=int, nargs=2, default=(416, 320), help="width and height, as it is to see them")
    parser.add_argument("--times", type=float, default=8.0, help="how much larger the largest kernel's steps become")
    asked = parser.parse_args()
    model = onnx.load_from_string(read_model(asked.file))
    paired = model.graph.input[0].type.tensor_type.shape.dim[1].dim_value == 2
    coarsen(model, list(_blobs(asked.photos, asked.count, tuple(asked.size), paired=paired)), asked.times)
    onnx.checker.check_model(model)
    content = pack(model.SerializeToString())
    asked.out.write_bytes(content)
    print(f"{asked.out}: {len(content)} bytes; {model.ByteSize()} unpacked")


if __name__ == "__main__":
    main()

"""Writing a trained network as a small ONNX file."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn


def export(
    net: nn.Module, path: Path, example: Tensor, names: tuple[str, str], free: Sequence[int], meta: Mapping[str, str]
) -> None:
    """Write ONNX with weights in few bits, which ONNX Runtime widens once when it loads them: no slower than wide ones.

    Args:
        net: in evaluation mode.
        path: where to.
        example: an input.
        names: of input and output.
        free: dimensions of the input, and of the output, that may have any size.
        meta: metadata of the file.
    """
    axes = {name: {number: f"{name}{number}" for number in free} for name in names}
    torch.onnx.export(
        net, (example,), str(path), input_names=[names[0]], output_names=[names[1]], dynamic_axes=axes,
        opset_version=17, dynamo=False,
    )  # fmt: skip
    model = onnx.load(str(path))
    _narrow(model)
    helper.set_model_props(model, dict(meta))
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def _narrow(model: onnx.ModelProto) -> None:
    """Kernels in 8 bits, with a scale for each channel that comes out; what is left in 16."""
    graph, nodes = model.graph, []
    for weight in list(graph.initializer):
        array = numpy_helper.to_array(weight)
        if array.dtype != np.float32 or array.size < 256:
            continue
        wide = weight.name
        graph.initializer.remove(weight)
        if array.ndim < 2:
            graph.initializer.append(numpy_helper.from_array(array.astype(np.float16), f"{wide}.half"))
            nodes.append(helper.make_node("Cast", [f"{wide}.half"], [wide], to=TensorProto.FLOAT))
            continue
        steps, scale = _steps(array)
        graph.initializer.append(numpy_helper.from_array(steps, f"{wide}.steps"))
        graph.initializer.append(numpy_helper.from_array(scale, f"{wide}.scale"))
        nodes.append(helper.make_node("Cast", [f"{wide}.steps"], [f"{wide}.whole"], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Mul", [f"{wide}.whole", f"{wide}.scale"], [wide]))
    nodes += graph.node
    del graph.node[:]
    graph.node.extend(nodes)


def _steps(array: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """A kernel `(out, …)` as whole steps, and the size of a step for each output, `(out, 1, …)`."""
    largest = np.abs(array).reshape(len(array), -1).max(axis=1)
    scale = np.maximum(largest / 127, 1e-12).astype(np.float32).reshape(-1, *[1] * (array.ndim - 1))
    return np.round(array / scale).astype(np.int8), scale

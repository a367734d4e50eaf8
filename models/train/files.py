"""Writing a trained network as a small ONNX file."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn


def export(
    net: nn.Module, path: Path, example: Tensor, names: tuple[str, str], free: Sequence[int], meta: Mapping[str, str]
) -> None:
    """Write ONNX with 16-bit weights, which ONNX Runtime widens once when it loads them.

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
    _halve(model)
    helper.set_model_props(model, dict(meta))
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def _halve(model: onnx.ModelProto) -> None:
    casts = []
    for weight in model.graph.initializer:
        array = numpy_helper.to_array(weight)
        if array.dtype != np.float32 or array.size < 256:
            continue
        wide = weight.name
        half = numpy_helper.from_array(array.astype(np.float16), f"{wide}.half")
        weight.CopyFrom(half)
        casts.append(helper.make_node("Cast", [half.name], [wide], to=TensorProto.FLOAT))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*casts, *nodes])

"""Small ONNX files for tests: a network that ignores its picture and gives a fixed answer, in any layout."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def fixed(path: Path, answer: np.ndarray, size: int = 64, channels: int = 3, **meta: str) -> Path:
    """Write a network with an input 1×channels×size×size that answers with `answer`."""
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["answer", "nothing"], ["output"]),
    ]
    graph = helper.make_graph(
        nodes,
        "fixed",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, channels, size, size])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, list(answer.shape))],
        [
            numpy_helper.from_array(answer.astype(np.float32), "answer"),
            numpy_helper.from_array(np.float32(0), "zero"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    for key, value in meta.items():
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, path)
    return path


def end_to_end(path: Path, rows: list[tuple[float, ...]], size: int = 64, **meta: str) -> Path:
    """x1 y1 x2 y2 score class, in input pixels."""
    answer = np.zeros((1, 20, 6), np.float32)
    for index, row in enumerate(rows):
        answer[0, index] = row
    return fixed(path, answer, size, **meta)


def anchor_free(path: Path, rows: list[tuple[float, ...]], classes: int = 80, size: int = 64) -> Path:
    """cx cy w h score class, in input pixels."""
    answer = np.zeros((1, 4 + classes, cells(size)), np.float32)
    for index, (*box, score, number) in enumerate(rows):
        answer[0, :4, index] = box
        answer[0, 4 + int(number), index] = score
    return fixed(path, answer, size)


def yolox(path: Path, rows: list[tuple[float, ...]], classes: int = 80, size: int = 64) -> Path:
    """cx cy w h score class, in input pixels; written on the grid of stride 8."""
    answer = np.zeros((1, cells(size), 5 + classes), np.float32)
    side = size // 8
    for cx, cy, w, h, score, number in rows:
        column, row = int(cx // 8), int(cy // 8)
        index = row * side + column
        while answer[0, index, 4]:  # two things in one cell: the next cell says it with another offset
            index += 1
        answer[0, index, :2] = cx / 8 - index % side, cy / 8 - index // side
        answer[0, index, 2:4] = np.log(w / 8), np.log(h / 8)
        answer[0, index, 4] = 1.0
        answer[0, index, 5 + int(number)] = score
    return fixed(path, answer, size)


def cells(size: int) -> int:
    return sum((size // stride) ** 2 for stride in (8, 16, 32))

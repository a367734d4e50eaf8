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
        [numpy_helper.from_array(answer.astype(np.float32), "answer"), numpy_helper.from_array(np.float32(0), "zero")],
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


def bright_squares(path: Path, size: int | None = 64, *, wild: bool = False, seed: int = 1) -> Path:
    """Write a detector of one class, `person`: cells of 8 × 8 pixels that are bright; anchor-free, convolutions only.

    Args:
        path: where to.
        size: of the input; None: its sides are free, and the file says 64.
        wild: with a first layer of which one channel is a thousand times as large as the others: 8 bits lose those.
        seed: of the weights that do not matter.
    """
    rng = np.random.default_rng(seed)
    first = rng.uniform(0.2, 0.4, (8, 3, 1, 1)).astype(np.float32)
    second = np.ones((8, 8, 1, 1), np.float32) / 8
    if wild:
        first[0] *= 3000
        second[:, 0] = 0
    # all grids answer; only the finest one finds anything
    nodes = [
        helper.make_node("Conv", ["images", "first"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "second"], ["c"]),
        helper.make_node("Relu", ["c"], ["d"]),
    ]
    weights = {"first": first, "second": second}
    level = float((first[1:] if wild else first).sum(1).mean()) * (7 / 8 if wild else 1)
    for stride in (8, 16, 32):
        weights[f"look{stride}"] = np.full((1, 8, stride, stride), 1 / (8 * stride * stride), np.float32)
        weights[f"gain{stride}"] = np.float32(40 / level)
        weights[f"limit{stride}"] = np.float32(20 if stride == 8 else 1000)
        nodes += [
            helper.make_node("Conv", ["d", f"look{stride}"], [f"mean{stride}"], strides=[stride, stride]),
            helper.make_node("Mul", [f"mean{stride}", f"gain{stride}"], [f"e{stride}"]),
            helper.make_node("Sub", [f"e{stride}", f"limit{stride}"], [f"f{stride}"]),
            helper.make_node("Sigmoid", [f"f{stride}"], [f"score{stride}"]),
            # a cell's number along each axis, from a sum that runs over ones
            helper.make_node("Mul", [f"score{stride}", "nothing"], [f"zero{stride}"]),
            helper.make_node("Add", [f"zero{stride}", "one"], [f"ones{stride}"]),
            helper.make_node("CumSum", [f"ones{stride}", "three"], [f"column{stride}"]),
            helper.make_node("CumSum", [f"ones{stride}", "two"], [f"row{stride}"]),
            helper.make_node("Sub", [f"column{stride}", "half"], [f"x{stride}"]),
            helper.make_node("Sub", [f"row{stride}", "half"], [f"y{stride}"]),
            helper.make_node(
                "Concat", [f"x{stride}", f"y{stride}", f"ones{stride}", f"ones{stride}"], [f"cells{stride}"], axis=1
            ),
            helper.make_node("Mul", [f"cells{stride}", f"stride{stride}"], [f"boxes{stride}"]),
            helper.make_node("Concat", [f"boxes{stride}", f"score{stride}"], [f"both{stride}"], axis=1),
            helper.make_node("Reshape", [f"both{stride}", "flat"], [f"rows{stride}"]),
        ]
        weights[f"stride{stride}"] = np.float32(stride)
    nodes.append(helper.make_node("Concat", [f"rows{stride}" for stride in (8, 16, 32)], ["output"], axis=2))
    scalars = {"nothing": 0.0, "one": 1.0, "half": 0.5}
    weights |= {name: np.float32(value) for name, value in scalars.items()}
    weights |= {"two": np.int64(2), "three": np.int64(3), "flat": np.array([1, 5, -1], np.int64)}
    sides = [size or "height", size or "width"]
    graph = helper.make_graph(
        nodes,
        "squares",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, *sides])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 5, None])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    for key, value in {"task": "detect", "names": "{0: 'person'}", "imgsz": "[64, 64]"}.items():
        model.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def squares(rng: np.random.Generator, side: int = 64, count: int = 5) -> tuple[np.ndarray, str]:
    """A dark picture with bright squares where `bright_squares` looks for them, and its labels in YOLO format."""
    rgb = rng.integers(0, 60, (side, side, 3)).astype(np.uint8)
    rows = []
    for cell in rng.choice((side // 8) ** 2, count, replace=False):
        y, x = divmod(int(cell), side // 8)
        rgb[8 * y : 8 * y + 8, 8 * x : 8 * x + 8] = 255
        rows.append(f"0 {(x + 0.5) * 8 / side} {(y + 0.5) * 8 / side} {8 / side} {8 / side}")
    return rgb, "\n".join(rows)


def touchy(path: Path, answer: np.ndarray, region: tuple[int, int, int, int], level: float, size: int = 64) -> Path:
    """As `fixed`, but its session fails on a picture that is dark (not black) in a region x0 y0 x1 y1."""
    fixed(path, answer, size)
    model = onnx.load(path)
    x0, y0, x1, y1 = region
    values = {"from": np.array([y0, x0]), "to": np.array([y1, x1]), "axes": np.array([2, 3])}
    values |= {"level": np.float32(level), "black": np.float32(0.01), "lone": np.zeros(1, np.float32)}
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(one), name) for name, one in values.items())
    nodes = [
        helper.make_node("Slice", ["images", "from", "to", "axes"], ["part"]),
        helper.make_node("ReduceMean", ["part"], ["bright"], keepdims=0),
        helper.make_node("Less", ["bright", "level"], ["darker"]),
        helper.make_node("Greater", ["bright", "black"], ["seen"]),
        helper.make_node("And", ["darker", "seen"], ["dark"]),
        helper.make_node("Cast", ["dark"], ["number"], to=TensorProto.INT64),
        helper.make_node("Gather", ["lone", "number"], ["picked"]),  # there is only number 0
        helper.make_node("Add", ["plain", "picked"], ["output"]),
    ]
    model.graph.node[-1].output[0] = "plain"
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def damaged(content: bytes, share: float = 0.5) -> bytes:
    """A network with a share of its weights set to zero, by chance."""
    model = onnx.load_model_from_string(content)
    rng = np.random.default_rng(1)
    for one in model.graph.initializer:
        weights = numpy_helper.to_array(one)
        if weights.dtype == np.float32 and weights.size > 16:
            one.CopyFrom(numpy_helper.from_array(np.where(rng.random(weights.shape) < share, 0, weights), one.name))
    return bytes(model.SerializeToString())

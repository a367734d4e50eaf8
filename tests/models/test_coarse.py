"""A network whose kernels get larger steps says nearly what it said, in fewer bytes."""

import sys

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from agent.vision.runtime import open_on_processor
from models.catalogue import read_model
from models.train import coarse
from models.train.coarse import rounded
from models.train.packing import pack

TIMES = 8.0


def test_the_weights_that_are_still_to_come_make_up_for_each_error():
    rng = np.random.default_rng(1)
    seen = rng.normal(size=(500, 24)) @ rng.normal(size=(24, 24)) + 1
    weights, scale = rng.normal(size=(6, 24)), np.full(6, 0.25)
    nearest = np.round(weights / scale[:, None])

    def error(steps):
        return float(np.square(seen @ (steps * scale[:, None] - weights).T).mean())

    assert error(rounded(weights, scale, seen.T @ seen / len(seen))) < error(nearest) / 2
    # on the grid: nothing to round
    assert (rounded(nearest * scale[:, None], scale, np.eye(24)) == nearest).all()


def network(channels, rng):
    """Two convolutions as `models.train.files` writes them, the second one of 2,304 weights."""
    nodes, weights, before = [], [], "input"
    for number, (wide, came, stride, apart) in enumerate(((16, channels, 2, 1), (16, 16, 1, 2))):
        steps = np.clip(rng.normal(0, 40, (wide, came, 3, 3)), -127, 127).astype(np.int8)
        scale = rng.uniform(0.001, 0.004, (wide, 1, 1, 1)).astype(np.float32)
        name = f"{number}"
        weights += [numpy_helper.from_array(steps, f"{name}.steps"), numpy_helper.from_array(scale, f"{name}.scale")]
        nodes += [
            helper.make_node("Cast", [f"{name}.steps"], [f"{name}.whole"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{name}.whole", f"{name}.scale"], [name]),
            helper.make_node(
                "Conv", [before, name], [f"{name}.out"], kernel_shape=[3, 3],
                pads=[apart] * 4, strides=[stride] * 2, dilations=[apart] * 2,
            ),
            helper.make_node("Relu", [f"{name}.out"], [before := f"{name}.seen"]),
        ]  # fmt: skip
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, many, "h", "w"])
        for name, many in (("input", channels), (before, 16))
    ]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("channels", [3, 2])
def test_a_file_becomes_smaller_and_says_nearly_the_same(tmp_path, monkeypatch, channels):
    rng = np.random.default_rng(2)
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(8):
        photo = cv2.resize(rng.integers(0, 255, (15, 20, 3)).astype(np.uint8), (128, 96))
        cv2.imwrite(str(photos / f"{number}.png"), photo)
    onnx.save(network(channels, rng), tmp_path / "net.onnx")
    given = ["--photos", str(photos), "--size", "96", "64", "--times", str(TIMES)]
    monkeypatch.setattr(sys, "argv", ["coarse", str(tmp_path / "net.onnx"), str(tmp_path / "net.onnx.packed"), *given])
    coarse.main()
    before, after = (read_model(tmp_path / name) for name in ("net.onnx", "net.onnx.packed"))
    assert (tmp_path / "net.onnx.packed").stat().st_size < 0.8 * len(pack(before))

    plain = onnx.load_from_string(before)
    for weight in plain.graph.initializer:
        if weight.name == "1.steps":
            nearest = np.round(numpy_helper.to_array(weight) / TIMES) * TIMES
            weight.CopyFrom(numpy_helper.from_array(nearest.astype(np.int8), weight.name))
    blob = np.asarray(cv2.imread(str(photos / "3.png")), np.float32).transpose(2, 0, 1)[None, :channels]
    blob = blob / 255 if channels == 3 else blob
    wanted, said, rough = (
        open_on_processor(content).run(None, {"input": blob})[0]
        for content in (before, after, plain.SerializeToString())
    )
    assert np.square(said - wanted).mean() < np.square(rough - wanted).mean() / 2

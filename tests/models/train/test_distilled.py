"""A coarse network learns from the fine one: it needs fewer bits, and says more nearly the same. Needs torch."""

import sys

import cv2
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

torch = pytest.importorskip("torch")

from models.catalogue import read_model  # noqa: E402 - what needs torch comes behind the question for it
from models.train import distilled  # noqa: E402
from tests.models.test_coarse import network  # noqa: E402


def test_what_was_only_rounded_learns_to_say_nearly_the_same_in_fewer_bits(tmp_path, monkeypatch):
    rng = np.random.default_rng(2)
    (tmp_path / "photos").mkdir()
    for number in range(8):
        photo = cv2.resize(rng.integers(0, 255, (15, 20, 3)).astype(np.uint8), (128, 96))
        cv2.imwrite(str(tmp_path / f"photos/{number}.png"), photo)
    fine, rounded, out = (tmp_path / name for name in ("net.onnx", "rounded.onnx", "out.onnx.packed"))
    model = network(3, rng)
    helper.set_model_props(model, {"task": "count"})
    onnx.save(model, fine)
    for one in model.graph.initializer:
        times = 12 if one.name.endswith(".scale") else 1 / 12
        array = numpy_helper.to_array(one)
        one.CopyFrom(numpy_helper.from_array(np.round(array * times, 6).astype(array.dtype), one.name))
    onnx.save(model, rounded)
    monkeypatch.setattr(distilled, "CUT", (64, 96))
    monkeypatch.setattr(distilled, "PHOTO", (128, 96))
    given = [fine, rounded, out, "--photos", tmp_path / "photos", "--bits", "3.4", "--minutes", "1"]
    monkeypatch.setattr(sys, "argv", ["distilled", *map(str, given)])
    distilled.main()

    def said(path):
        net = distilled.Net(onnx.load_from_string(read_model(path)), "cpu")
        steps = np.concatenate([net.held[one[0]].numpy().ravel() for one in net.layers.values()])
        shares = np.unique(steps, return_counts=True)[1] / steps.size
        x = torch.from_numpy(np.random.default_rng(3).random((4, 3, 64, 96)).astype(np.float32))
        return net(x, net.weights())[0][0], -(shares * np.log2(shares)).sum()

    (right, _), (before, many), (after, fewer) = map(said, (fine, rounded, out))
    assert fewer < many - 0.1
    assert (after - right).square().mean() < 0.8 * (before - right).square().mean()

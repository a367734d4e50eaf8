"""A coarse network that learns from the fine one: fewer bits, and it says more nearly the same. Needs torch."""

import sys

import cv2
import numpy as np
import onnx
import pytest
from onnx import helper

pytest.importorskip("torch")

from models.catalogue import read_model
from models.train import coarse, distilled
from tests.models.test_coarse import network


def test_fewer_bits_say_more_nearly_the_same_than_the_same_bits_rounded_once(tmp_path, monkeypatch):
    rng = np.random.default_rng(2)
    for number in range(8):
        photo = cv2.resize(rng.integers(0, 255, (15, 20, 3)).astype(np.uint8), (128, 96))
        (tmp_path / "photos").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / f"photos/{number}.png"), photo)
    model = network(3, rng)
    helper.set_model_props(model, {"task": "count"})
    onnx.save(model, tmp_path / "net.onnx")
    monkeypatch.setattr(distilled, "CUT", (64, 96))
    monkeypatch.setattr(distilled, "PHOTO", (128, 96))
    given = ["--photos", str(tmp_path / "photos")]

    def make(module, *arguments):
        monkeypatch.setattr(sys, "argv", ["", *map(str, arguments), *given])
        module.main()

    fine, begun, made, rough = (tmp_path / name for name in ("net.onnx", "a.onnx.xz", "b.onnx.xz", "c.onnx.xz"))
    make(coarse, fine, begun, "--size", "96", "64", "--times", "8")
    make(coarse, fine, rough, "--size", "96", "64", "--times", "18")
    make(distilled, fine, begun, made, "--bits", "3.6", "--minutes", "1.5")

    def said(path):
        net = distilled.Net(onnx.load_from_string(read_model(path)), "cpu")
        x = distilled.torch.from_numpy(np.random.default_rng(3).random((4, 3, 64, 96)).astype(np.float32))
        steps = np.concatenate([net.held[one[0]].numpy().ravel() for one in net.layers.values()])
        shares = np.unique(steps, return_counts=True)[1] / steps.size
        return net(x, net.weights())[0][0], -(shares * np.log2(shares)).sum()

    (right, _), (begun_said, many), (now, fewer), (once, as_many) = (said(one) for one in (fine, begun, made, rough))
    print(many, fewer, as_many, *[float((one - right).square().mean()) for one in (begun_said, now, once)])
    assert fewer < many - 0.4
    assert fewer < as_many + 0.1
    assert (now - right).square().mean() < 0.7 * (once - right).square().mean()

"""Ways to run a network: whichever does it, the answer is the same; what is missing is said in one line."""

import threading

import cv2
import numpy as np
import pytest

from agent.vision.detector import load_detector
from agent.vision.errors import DetectorError
from agent.vision.providers import PROVIDERS, Plan, ProviderError, provider_of
from agent.vision.providers.rknn import Rknn
from tests import networks

HERE = [one for one in PROVIDERS if one.missing() is None]
WAYS = [
    pytest.param(Plan(one.name, precision, threads), id=f"{one.name}-{precision}-{threads}")
    for one in HERE
    for precision in one.precisions
    for threads in (0, 1, 2)
]


@pytest.mark.parametrize("plan", WAYS)
@pytest.mark.parametrize("size", [None, (64, 64), (96, 32)])
def test_each_finds_what_is_there(tmp_path, plan, size):
    path = networks.bright_squares(tmp_path / "net.onnx", None)
    detector = load_detector(path, plan=plan, size=size)
    assert detector.input_size == (size or (64, 64))
    width, height = detector.input_size
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[8:16, 24:32] = 255
    found = detector.detect(rgb)
    assert found.boxes == pytest.approx(np.array([[24 / width, 8 / height, 8 / width, 8 / height]]), abs=0.01)
    assert found.scores == pytest.approx([1.0], abs=0.01)
    assert [found.names[n] for n in found.classes] == ["person"]


@pytest.mark.parametrize("plan", WAYS)
def test_the_real_bothfind_the_same(detectors, shared, plan):
    """A photo of a street, in each layout; reckoned in 16 bits, boxes shift by a pixel or two."""
    rgb = np.ascontiguousarray(cv2.imread(str(shared / "photos/bus.jpg"))[:, :, ::-1])
    for name in ("yolo26n-384x640", "yolo11n-640", "yolox-nano-416"):
        path = detectors / f"{name}.onnx"
        wanted, said = (
            one.detect(rgb).of("person", 0.5) for one in (load_detector(path), load_detector(path, plan=plan))
        )
        assert len(said) == len(wanted) >= 3
        order = [int(np.abs(said.boxes - box).sum(1).argmin()) for box in wanted.boxes]
        assert sorted(order) == list(range(len(order)))
        off = 0.001 if plan.precision == "float32" else 0.02
        assert said.boxes[order] == pytest.approx(wanted.boxes, abs=off)
        assert said.scores[order] == pytest.approx(wanted.scores, abs=off * 3)


@pytest.mark.parametrize("plan", WAYS)
def test_several_threads_may_use_one(tmp_path, plan):
    detector = load_detector(networks.bright_squares(tmp_path / "net.onnx"), plan=plan)
    pictures = [networks.squares(np.random.default_rng(n))[0] for n in range(8)]
    alone = [detector.detect(rgb).boxes.tolist() for rgb in pictures]
    wrong = []

    def work():
        for _ in range(20):
            wrong.extend(n for n, rgb in enumerate(pictures) if detector.detect(rgb).boxes.tolist() != alone[n])

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_what_is_missing_is_said():
    for one in PROVIDERS:
        if one not in HERE:
            with pytest.raises(ProviderError, match=rf"provider {one.name}: .*install"):
                provider_of(one.name)
    with pytest.raises(ProviderError, match="expected a provider of cpu, openvino, cuda, tensorrt, rknn, got 'abacus'"):
        provider_of("abacus")


def test_the_npu_wants_a_file_of_its_own(tmp_path):
    with pytest.raises(ProviderError, match=r"expected net\.rknn beside it, found none; convert it with rknn-toolkit2"):
        Rknn().open(tmp_path / "net.onnx", b"", Plan("rknn"), (64, 64))


@pytest.mark.parametrize("plan", WAYS)
def test_a_size_that_a_file_does_not_take_is_refused(tmp_path, plan):
    path = networks.bright_squares(tmp_path / "net.onnx", 64)
    with pytest.raises(DetectorError, match=r"expected an input of \(96, 64\), .* fixed at"):
        load_detector(path, plan=plan, size=(96, 64))
    with pytest.raises(DetectorError, match="multiples of 32"):
        load_detector(networks.bright_squares(path, None), plan=plan, size=(100, 64))

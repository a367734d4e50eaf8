"""The detector that ships: small, ours, used where none is named, and able to see the walkers of vtest.avi."""

import logging

import cv2
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from agent.live import open_eyes
from agent.settings import load_settings
from agent.vision.detector import load_detector
from agent.vision.people import COUNT_SCORE
from agent.vision.selection import SHIPPED, shipped_detector
from models.catalogue import load_catalogue, own_model
from models.tools.store import check, entry_of
from protocol.geometry import box_iou
from tests import boxes

MOST_BYTES = 3_000_000
MOST_PARAMETERS = 1_200_000


def test_it_is_small_and_what_the_catalogue_says():
    path = shipped_detector()
    content = own_model(SHIPPED)
    assert len(content) <= MOST_BYTES
    weights = onnx.load_from_string(content).graph.initializer
    assert sum(numpy_helper.to_array(one).size for one in weights) <= MOST_PARAMETERS
    said = check(path, entry_of(SHIPPED))
    assert (said.state, said.fault) == ("good", None)
    (entry,) = [one for one in load_catalogue() if one.name == SHIPPED]
    detector = load_detector(path)
    assert entry.input == "{}x{}".format(*detector.input_size)
    assert (entry.layout, entry.classes) == (detector.layout, len(detector.names))
    assert detector.names == {0: "person"}
    assert path.with_name(f"{SHIPPED}.md").read_text("utf-8").startswith("# `street-person.onnx`")


@pytest.mark.parametrize("size", [None, (640, 480), (320, 320), (640, 384)])
def test_it_sees_the_walkers_whatever_the_input(vtest, size):
    detector = load_detector(shipped_detector(), size=size)
    assert COUNT_SCORE <= detector.min_score < 0.9
    clip = cv2.VideoCapture(str(vtest))
    rgb = np.ascontiguousarray(clip.read()[1][:, :, ::-1])
    clip.release()
    found = detector.detect(rgb).of("person")
    # seen with one's own eyes on the first frame
    for person in ((0.33, 0.38, 0.04, 0.15), (0.65, 0.275, 0.04, 0.135), (0.84, 0.42, 0.055, 0.15)):
        assert max(box_iou(tuple(map(float, box)), person) for box in found.boxes) > 0.5
    assert len(found) <= 6


def test_it_finds_nobody_where_there_is_nothing():
    detector = load_detector(shipped_detector())
    rng = np.random.default_rng(1)
    for rgb in (
        np.zeros((240, 320, 3), np.uint8),
        np.full((240, 320, 3), 255, np.uint8),
        rng.integers(0, 255, (240, 320, 3)).astype(np.uint8),
        np.repeat(np.linspace(0, 255, 320).astype(np.uint8)[None, :, None], 240, 0).repeat(3, 2),
    ):
        assert len(detector.detect(rgb)) == 0


def test_the_agent_uses_it_where_none_is_named_and_says_so_once(tmp_path, caplog):
    config = load_settings(boxes.settings(tmp_path, boxes.GATHERING, model=None))
    with caplog.at_level(logging.INFO):
        eyes = open_eyes(config)
    assert eyes.detector is not None
    assert eyes.detector.name == SHIPPED
    assert eyes.crowd is not None
    assert sum("street-person is used, which ships with the project" in line for line in caplog.messages) == 1


def test_what_was_set_for_another_detector_does_not_hold_for_it(tmp_path, monkeypatch):
    monkeypatch.setenv("CITYEYE_MODELS", str(tmp_path))
    path = boxes.settings(tmp_path, boxes.GATHERING, model="yolo26n-640")
    path.write_text(path.read_text("utf-8").replace("[detector]", "[detector]\nmin_score = 0.1"), "utf-8")
    eyes = open_eyes(load_settings(path))
    assert eyes.detector is not None
    assert eyes.detector.min_score == load_detector(shipped_detector()).min_score


def test_none_is_none(tmp_path, caplog):
    eyes = open_eyes(load_settings(boxes.settings(tmp_path, boxes.GATHERING, model="none")))
    assert eyes.detector is None
    assert "no detector, as the settings say" in caplog.text

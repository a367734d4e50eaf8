"""The part of a picture that is looked at: cheaper, at the same size of things, and in the same place."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.camera.frame import Frame
from agent.vision.detector import load_detector
from agent.vision.people import COUNT_SCORE
from agent.vision.selection import shipped_detector
from agent.vision.window import STRIDE, WORTH, window
from protocol.geometry import box_iou
from tests import networks
from tests.eyes import BrightEye, FreeEye

WIDTH, HEIGHT = 1280, 720
WHOLE = (0.0, 0.0, 1.0, 1.0)
side = st.floats(-0.5, 1.2)
extent = st.floats(0.001, 1.5)


def frame(rgb):
    return Frame(0.0, True, cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420))


def look(detector, picture, region=None):
    seen = window(detector, picture.width, picture.height, region)
    return seen, seen.in_picture(seen.eye.detect(picture.rgb(seen.size, seen.crop)))


@pytest.mark.parametrize(
    ("eye", "region", "part", "size", "share"),
    [
        # a fixed input: nothing would be cheaper
        (BrightEye(), (0.0, 0.0, 0.3, 1.0), None, (640, 360), 1.0),
        # a wide picture in a square input: what would stay empty is left out
        (FreeEye(), None, None, (640, 360), 0.6),
        (FreeEye(), WHOLE, None, (640, 360), 0.6),
        (FreeEye(), (-0.2, -0.3, 1.5, 1.6), None, (640, 360), 0.6),
        # rounded up to multiples of 32, which shows more of the picture, around the region
        (FreeEye(), (0.3, 0.4, 0.3, 0.4), (0.3, 136 / 360, 0.3, 160 / 360), (192, 160), 0.075),
        # not beyond the picture's edge
        (FreeEye(), (0.0, 0.0, 0.3, 0.4), (0.0, 0.0, 0.3, 160 / 360), (192, 160), 0.075),
        (FreeEye(), (0.9, 0.9, 0.3, 0.4), (0.9, 1 - 64 / 360, 0.1, 64 / 360), (64, 64), 0.01),
    ],
)
def test_what_is_looked_at(eye, region, part, size, share):
    seen = window(eye, WIDTH, HEIGHT, region)
    assert (seen.size, round(seen.share, 3)) == (size, share)
    assert seen.part == (None if part is None else pytest.approx(part))
    assert (seen.crop is None) == (part is None)


@given(side, side, extent, extent, st.sampled_from([(1280, 720), (1920, 1080), (720, 576), (768, 1366), (64, 64)]))
def test_a_window_shows_its_region_at_the_scale_of_the_whole(x, y, w, h, picture):
    eye = FreeEye()
    width, height = picture
    seen = window(eye, width, height, (x, y, w, h))
    scale = eye.fit(width, height)[0] / width
    if eye.inputs:
        across, down = eye.inputs[-1]
        assert across % STRIDE == down % STRIDE == 0
        assert seen.share == across * down / 640**2 <= WORTH
        assert seen.size[0] <= across
        assert seen.size[1] <= down
    if seen.part is None:
        assert seen.size == eye.fit(width, height)
        return
    left, top, across, down = seen.part
    for begin, length, low, long in ((x, w, left, across), (y, h, top, down)):
        assert low >= 0
        assert low + long <= 1 + 1e-9
        assert low <= max(0.0, min(begin, 1.0)) + 1e-9
        assert low + long >= min(1.0, max(begin + length, 0.0)) - 1e-9
    # 2 pixels of the picture, as it is cut at even ones
    assert seen.size[0] == pytest.approx(across * width * scale, abs=max(1.0, 2 * scale))
    assert seen.size[1] == pytest.approx(down * height * scale, abs=max(1.0, 2 * scale))
    # a frame is cut where the window lies
    shown = Frame(0.0, True, np.zeros((height * 3 // 2, width), np.uint8)).rgb(None, seen.crop)
    assert shown.shape[:2] == (round(down * height), round(across * width))


@pytest.mark.parametrize("region", [None, WHOLE, (0.5, 0.5, 0.5, 0.5), (0.0, 0.5, 0.5, 0.5), (0.5, 0.0, 0.5, 0.4)])
def test_a_network_with_free_sides_finds_the_same_in_the_same_place(tmp_path, region):
    detector = load_detector(networks.bright_squares(tmp_path / "net.onnx", size=None))
    rgb, _ = networks.squares(np.random.default_rng(3), count=30)
    everything = detector.detect(frame(rgb).rgb()).of("person", 0.5)
    seen, found = look(detector, frame(rgb), region)
    found = found.of("person", 0.5)
    left, top, across, down = seen.part or WHOLE
    x, y, w, h = everything.boxes.T
    inside = (x >= left) & (y >= top) & (x + w <= left + across) & (y + h <= top + down)
    wanted = sorted(map(tuple, everything.boxes[inside].round(4).tolist()))
    assert sorted(map(tuple, found.boxes.round(4).tolist())) == wanted
    assert len(wanted) >= 5
    assert (seen.part is None) == (region in (None, WHOLE))


def test_a_network_with_a_fixed_input_looks_at_the_whole(tmp_path):
    detector = load_detector(networks.bright_squares(tmp_path / "net.onnx", size=64))
    assert window(detector, 64, 64, (0.5, 0.5, 0.5, 0.5)).part is None
    assert detector.resized(32, 32) is None


def test_walkers_are_found_in_a_part_as_in_the_whole(vtest):
    """The detector that ships, on a third of the first frame with two walkers, one of them near its edge."""
    clip = cv2.VideoCapture(str(vtest))
    picture = frame(np.ascontiguousarray(clip.read()[1][:, :, ::-1]))
    clip.release()
    detector = load_detector(shipped_detector())
    _, everything = look(detector, picture)
    seen, part = look(detector, picture, (0.6, 0.2, 0.3, 0.4))
    assert seen.share < 0.4
    for person in ((0.65, 0.275, 0.04, 0.135), (0.84, 0.42, 0.055, 0.15)):
        both = [max(one.boxes.tolist(), key=lambda box: box_iou(tuple(box), person)) for one in (everything, part)]
        assert box_iou(*map(tuple, both)) > 0.8
    assert len(part.of("person", COUNT_SCORE)) < len(everything.of("person", COUNT_SCORE))

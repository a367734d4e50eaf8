"""Detectors: each layout on networks with a fixed answer, and on the real ones where they are at hand."""

import numpy as np
import pytest

from agent.camera.reader import replay
from agent.camera.source import Source
from agent.vision.detector import Detections, load_detector
from agent.vision.errors import DetectorError, DetectorMissingError
from agent.vision.letterbox import Letterbox
from agent.vision.people import count_people
from agent.vision.selection import find_detector, find_face_model
from models.train.packing import pack
from protocol.geometry import box_iou
from tests import networks

# cx cy w h in pixels of a 64 × 64 input, score, class: two people side by side, the first of them found twice, and a
# bicycle in the place of the first
ROWS = [
    (20.0, 32.0, 10.0, 24.0, 0.9, 0),
    (21.0, 32.0, 10.0, 24.0, 0.7, 0),
    (40.0, 32.0, 10.0, 24.0, 0.8, 0),
    (20.0, 32.0, 10.0, 24.0, 0.6, 1),
    (10.0, 10.0, 4.0, 4.0, 0.1, 0),
]


def corners(rows):
    return [(cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2, score, number) for cx, cy, w, h, score, number in rows]


def without_double(rows):
    return [row for row in rows if row[4] != 0.7]


@pytest.mark.parametrize("layout", ["end-to-end", "anchor-free", "yolox"])
def test_every_layout_says_the_same(tmp_path, layout):
    path = tmp_path / "net.onnx"
    if layout == "end-to-end":
        networks.end_to_end(path, corners(without_double(ROWS)))
    elif layout == "anchor-free":
        networks.anchor_free(path, ROWS)
    else:
        networks.yolox(path, ROWS)
    detector = load_detector(path)
    assert detector.layout == layout
    assert detector.input_size == (64, 64)
    # a picture twice as wide as high lies in the upper half, or in the middle
    top = 0 if layout == "yolox" else 16
    found = detector.detect(np.zeros((32, 64, 3), np.uint8))
    assert sorted(zip(found.classes.tolist(), np.round(found.scores, 2).tolist(), strict=True)) == [
        (0, pytest.approx(0.8)),
        (0, pytest.approx(0.9)),
        (1, pytest.approx(0.6)),
    ]
    best = found.boxes[int(found.scores.argmax())]
    height = min(44 - top, 32) / 32 - max(0, 20 - top) / 32
    assert best == pytest.approx([15 / 64, max(0, 20 - top) / 32, 10 / 64, height], abs=1e-4)
    assert found.names[0] == "person"
    assert len(found.of("person", 0.85)) == 1


def test_names_come_from_the_file(tmp_path):
    path = networks.end_to_end(tmp_path / "net.onnx", corners(ROWS[:1]), names="{0: 'stall', 1: 'table'}")
    found = load_detector(path).detect(np.zeros((64, 64, 3), np.uint8))
    assert [found.names[number] for number in found.classes] == ["stall"]


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda path: path.write_text("this is no network\n" * 20), "expected an ONNX file, it is no protocol buffer"),
        (lambda path: path.write_bytes(b""), "it holds no ONNX graph"),
        (lambda path: path.mkdir(), "cannot be read"),
        (lambda _: None, "cannot be read"),
        (lambda path: networks.fixed(path, np.zeros((1, 7, 7), np.float32)), "this layout is not known"),
        (lambda path: networks.fixed(path, np.zeros((1, 1000), np.float32)), "this layout is not known"),
        (lambda path: networks.end_to_end(path, [], size=60), "multiples of 32"),
        (lambda path: networks.end_to_end(path, [], task="segment"), "expected a model for detection"),
    ],
)
def test_what_is_no_detector_is_told_in_one_line(tmp_path, make, expected):
    path = tmp_path / "net.onnx"
    make(path)
    with pytest.raises(DetectorError, match=expected) as fault:
        load_detector(path)
    assert str(path) in str(fault.value)
    assert "\n" not in str(fault.value)


def test_a_packed_file_is_the_same_detector(tmp_path):
    plain, packed = networks.bright_squares(tmp_path / "net.onnx"), tmp_path / "net.onnx.packed"
    packed.write_bytes(pack(plain.read_bytes()))
    one, other = load_detector(plain), load_detector(packed)
    assert (one.name, one.sha256) == (other.name, other.sha256)
    packed.write_bytes(packed.read_bytes()[:100])
    with pytest.raises(DetectorError, match="expected an ONNX file"):
        load_detector(packed)


@pytest.mark.parametrize(
    ("picture", "canvas", "centred", "expected"),
    [
        ((1280, 720), (640, 640), True, (640, 360, 0, 140)),
        ((1280, 720), (640, 640), False, (640, 360, 0, 0)),
        ((720, 1280), (640, 384), True, (216, 384, 212, 0)),
        ((640, 384), (640, 384), True, (640, 384, 0, 0)),
        ((3, 3000), (64, 64), True, (1, 64, 31, 0)),
    ],
)
def test_letterbox(picture, canvas, centred, expected):
    box = Letterbox.fit(picture, canvas, centred=centred)
    assert (box.content_width, box.content_height, box.left, box.top) == expected
    inside = np.array([[box.left, box.top, box.left + box.content_width, box.top + box.content_height]], np.float32)
    assert box.to_picture(inside).tolist() == [[0, 0, 1, 1]]
    pasted = box.paste(np.full((picture[1], picture[0], 3), 200, np.uint8))
    assert pasted.shape == (canvas[1], canvas[0], 3)
    assert (pasted == 200).all(2).sum() == box.content_width * box.content_height


def test_detections_must_be_parallel():
    with pytest.raises(ValueError, match="expected 2 boxes"):
        Detections(np.zeros((1, 4), np.float32), np.zeros(2, np.float32), np.zeros(2, np.int64), {})


SQUARE = [(0.2, 0.2), (0.8, 0.2), (0.8, 1.0), (0.2, 1.0)]


@pytest.mark.parametrize(
    ("box", "inside"),
    [
        ((0.4, 0.3, 0.1, 0.4), True),  # wholly inside
        ((0.4, 0.0, 0.1, 0.3), True),  # only the feet
        ((0.4, 0.0, 0.1, 0.15), False),  # above it
        ((0.1, 0.3, 0.15, 0.4), False),  # the box straddles the edge, the feet do not
        ((0.15, 0.3, 0.15, 0.4), True),
        ((0.4, 0.5, 0.1, 0.5), True),  # cut off by the picture's lower edge
    ],
)
def test_people_are_counted_by_their_feet(box, inside):
    found = Detections(np.array([box], np.float32), np.array([0.9], np.float32), np.array([0]), {0: "person"})
    assert count_people(found, SQUARE) == int(inside)


def test_selection_by_name_by_path_and_by_nothing(tmp_path):
    models = tmp_path / "models"
    models.mkdir()
    networks.end_to_end(models / "small.onnx", [])
    environment = {"CITYEYE_MODELS": f"/nowhere:{models}"}
    assert find_detector("none", tmp_path, environment) is None
    assert find_detector(None, tmp_path, environment) == find_detector("street-person", tmp_path, {})
    assert find_detector(None, tmp_path, environment).name == "street-person.onnx.packed"
    assert find_detector("small", tmp_path, environment) == models / "small.onnx"
    assert find_detector("models/small.onnx", tmp_path, {}) == models / "small.onnx"
    with pytest.raises(DetectorMissingError, match="did you mean 'small'"):
        find_detector("smal", tmp_path, environment)
    with pytest.raises(DetectorMissingError, match="CITYEYE_MODELS, which is not set"):
        find_detector("small", tmp_path, {})
    with pytest.raises(DetectorError, match="expected an ONNX file, found none"):
        find_detector("models/other.onnx", tmp_path, {})
    assert find_face_model(environment) is None
    (models / "yunet-s-640.onnx").write_bytes(b"x")
    assert find_face_model(environment) == models / "yunet-s-640.onnx"


def first_frame(path):
    return next(iter(replay(Source("cam-1", "file", str(path), 1.0, live=False), 0.0)))


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("yolo26n-640", "end-to-end"),
        ("yolo26n-384x640", "end-to-end"),
        ("yolo11n-640", "anchor-free"),
        ("yolox-nano-416", "yolox"),
    ],
)
def test_the_real_detectors_find_the_same_people(detectors, vtest, name, layout):
    detector = load_detector(detectors / f"{name}.onnx")
    assert detector.layout == layout
    frame = first_frame(vtest)
    found = detector.detect(frame.rgb(detector.fit(frame.width, frame.height))).of("person", 0.4)
    # seen with one's own eyes on the first frame: one at the left of the lawn, one at the right of the path
    for person in ((0.33, 0.38, 0.04, 0.15), (0.84, 0.42, 0.055, 0.15)):
        assert max(box_iou(tuple(map(float, box)), person) for box in found.boxes) > 0.5
    assert 2 <= len(found) <= 6


def test_no_shared_detector_finds_the_bag(detectors, shared):
    """Why encroachment does not depend on names: if one day a detector does find it, the design may be thought anew."""
    detector = load_detector(detectors / "yolo26n-640.onnx")
    frames = list(replay(Source("cam-1", "file", str(shared / "videos/aboda_video4.avi"), 5.0, live=False), 0.0))
    found = detector.detect(frames[-1].rgb(detector.fit(720, 480)))
    assert not [box for box in found.boxes if box_iou(tuple(map(float, box)), (0.628, 0.758, 0.071, 0.1)) > 0.3]


def test_faces_and_other_models_are_refused_as_detectors(detectors):
    with pytest.raises(DetectorError, match="this layout is not known"):
        load_detector(detectors / "yunet-s-640.onnx")

"""Finding faces: as OpenCV does by the same network, in pictures of any size."""

from itertools import pairwise

import cv2
import numpy as np
import pytest

from agent.evidence.faces import SCORE, SHARED_PX, FaceFinder, FaceModelError, _spans
from models.catalogue import own_model


@pytest.fixture(scope="module")
def model(detectors):
    return detectors / "yunet-s-640.onnx"


@pytest.fixture(scope="module")
def finder(model):
    return FaceFinder.load(model)


@pytest.fixture(scope="module")
def bus(shared):
    return cv2.imread(str(shared / "photos/bus.jpg"))


def in_order(boxes):
    return boxes[np.lexsort(boxes.T)]


def test_it_reads_the_network_as_opencv_does(model, finder, bus):
    canvas = np.ascontiguousarray(cv2.resize(bus, (640, 640)))
    rows = cv2.FaceDetectorYN.create(str(model), "", (640, 640), SCORE).detect(canvas)[1]
    assert len(rows) >= 2
    ours = finder._faces(canvas)
    assert in_order(ours) == pytest.approx(in_order(rows[:, :4]), abs=1.0)


@pytest.mark.parametrize("size", [(200, 150), (640, 640), (1920, 1080), (3200, 1400), (90, 1000)])
@pytest.mark.parametrize("corner", [(0.0, 0.0), (0.37, 0.41), (1.0, 1.0)])
def test_a_face_is_found_wherever_it_is_and_however_large_the_picture(finder, bus, size, corner):
    face = bus[388:500, 220:300]  # a man who looks into the camera
    width, height = size
    face = cv2.resize(face, None, fx=0.8, fy=0.8)
    picture = np.full((height, width, 3), 90, np.uint8)
    left, top = round(corner[0] * (width - face.shape[1])), round(corner[1] * (height - face.shape[0]))
    picture[top : top + face.shape[0], left : left + face.shape[1]] = face
    x, y, w, h = finder.search(picture).T
    hit = (abs(x + w / 2 - left - face.shape[1] / 2) < 30) & (abs(y + h / 2 - top - face.shape[0] / 2) < 45)
    assert hit.any()


def test_parts_are_whole_and_overlap():
    for length in (1, 639, 640, 641, 1080, 1152, 1920, 2048, 5000):
        spans = _spans(length, 640)
        assert spans[0][0] == 0
        assert spans[-1][1] == length
        assert {end - begin for begin, end in spans} == {min(640, length)}
        assert all(before[1] - after[0] >= SHARED_PX - 1 for before, after in pairwise(spans))


def test_what_held_nobody_is_not_searched_again(model):
    finder = FaceFinder.load(model)
    searched = []
    run = finder._session.run

    class Counting:
        def __getattr__(self, name):
            return getattr(finder_session, name)

        def run(self, *given):
            searched.append(1)
            return run(*given)

    finder_session = finder._session
    counting = FaceFinder(Counting(), finder._side_px)
    picture = np.full((360, 640, 3), 120, np.uint8)
    counting.search(picture)
    before = len(searched)
    counting.search(picture)
    assert len(searched) == before
    counting.search(picture + 1)
    assert len(searched) == 2 * before


@pytest.mark.parametrize("content", [b"", b"no model", None, "another network"])
def test_what_is_no_face_model_is_told(tmp_path, content):
    path = tmp_path / "yunet-s-640.onnx"
    if content is not None:
        path.write_bytes(own_model("change") if content == "another network" else content)
    with pytest.raises(FaceModelError, match="expected a YuNet"):
        FaceFinder.load(path)

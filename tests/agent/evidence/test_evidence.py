"""Evidence: nobody can be recognised, and the line's limits are kept."""

import hashlib

import cv2
import numpy as np
import pytest

from agent.camera.frame import Frame
from agent.camera.planes import join
from agent.evidence.masking import BLOCKS_ACROSS_PICTURE, Masker
from agent.evidence.memory import RecentShots
from agent.evidence.pictures import close_box, encode, shoot
from protocol.pictures import MAX_PICTURE_BYTES, MAX_PICTURE_PX
from tests import clips

NOBODY = np.zeros((0, 4), np.float32)
KEEP = (0.25, 0.25, 0.25, 0.5)


def noise(height=360, width=640, seed=3):
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)


def detail(picture):
    """How much fine structure there is."""
    grey = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY)
    return float(np.abs(cv2.Laplacian(grey, cv2.CV_32F)).mean())


def test_without_a_face_model_only_the_place_is_sharp():
    rgb = noise()
    masked = Masker(None).mask(rgb, NOBODY, KEEP)
    assert (masked[90:270, 160:320] == rgb[90:270, 160:320]).all()
    block = 640 // BLOCKS_ACROSS_PICTURE
    outside = masked[280:]
    assert detail(outside) < detail(rgb[280:]) / 10
    assert len(np.unique(outside.reshape(-1, 3), axis=0)) <= (80 // block + 2) * (640 // block + 2)


def test_with_nothing_to_keep_all_is_pixelated():
    assert detail(Masker(None).mask(noise(), NOBODY, None)) < detail(noise()) / 10


def test_heads_of_people_are_hidden_even_inside_the_place():
    rgb = noise()
    person = np.array([[0.3, 0.3, 0.1, 0.4]], np.float32)
    masked = Masker(None).mask(rgb, person, KEEP)
    head, legs = (slice(110, 140), slice(196, 250)), (slice(190, 240), slice(196, 250))
    assert detail(masked[head]) < detail(rgb[head]) / 3
    assert (masked[legs] == rgb[legs]).all()


def test_the_given_picture_is_not_changed():
    rgb = noise()
    before = rgb.copy()
    Masker(None).mask(rgb, np.array([[0.3, 0.3, 0.1, 0.4]], np.float32), None)
    assert (rgb == before).all()


@pytest.mark.parametrize("content", [b"", b"no model", None])
def test_a_broken_face_model_pixelates_instead(tmp_path, content):
    path = tmp_path / "yunet-s-640.onnx"
    if content is not None:
        path.write_bytes(content)
    assert detail(Masker(path).mask(noise(), NOBODY, None)) < detail(noise()) / 10


def test_real_faces_are_masked(detectors, shared):
    """Two men before a bus look into the camera: afterwards the face model finds nobody."""
    model = detectors / "yunet-s-640.onnx"
    rgb = cv2.imread(str(shared / "photos/bus.jpg"))[:, :, ::-1].copy()
    finder = cv2.FaceDetectorYN.create(str(model), "", (rgb.shape[1], rgb.shape[0]), 0.6)

    def faces(picture):
        return finder.detect(np.ascontiguousarray(picture[:, :, ::-1]))[1]

    assert len(faces(rgb)) >= 2
    masked = Masker(model).mask(rgb, NOBODY, None)
    assert faces(masked) is None
    # and most of the picture is as it was
    assert (masked == rgb).all(2).mean() > 0.9


@pytest.mark.parametrize("size", [(360, 640), (1080, 1920), (2400, 3200), (16, 16)])
def test_pictures_keep_to_the_limits(size):
    """Noise is the worst case for JPEG."""
    jpeg, (width, height) = encode(noise(*size))
    assert len(jpeg) <= MAX_PICTURE_BYTES
    assert max(width, height) <= MAX_PICTURE_PX
    assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), 1).shape[:2] == (height, width)


def test_a_role_has_a_wide_and_a_close_view():
    rgb = clips.street_frame(20.0)
    pictures = shoot(rgb, Masker(None), place=clips.CRATE, keep=clips.CRATE, persons=NOBODY, role="at", taken_at_s=5.0)
    assert [(one.evidence.role, one.evidence.view) for one in pictures] == [("at", "wide"), ("at", "close")]
    for one in pictures:
        assert one.evidence.sha256 == hashlib.sha256(one.jpeg).hexdigest()
        assert one.evidence.bytes == len(one.jpeg)
        assert one.evidence.masked
    assert pictures[1].evidence.width < pictures[0].evidence.width


@pytest.mark.parametrize(
    "place", [(0.0, 0.0, 0.01, 0.01), (0.95, 0.95, 0.05, 0.05), (0.0, 0.0, 1.0, 1.0), (0.4, 0.4, 0.3, 0.1)]
)
def test_the_close_view_lies_in_the_picture_and_holds_the_place(place):
    x, y, w, h = close_box(place)
    assert x >= 0
    assert y >= 0
    assert x + w <= 1 + 1e-9
    assert y + h <= 1 + 1e-9
    assert x <= place[0]
    assert y <= place[1]
    assert x + w >= place[0] + place[2] - 1e-9
    assert y + h >= place[1] + place[3] - 1e-9


def frame(time_s, value=0):
    grey = np.full((4, 4), value, np.uint8)
    half = np.full((2, 2), 128, np.uint8)
    return Frame(time_s, True, join(grey, half, half))


def test_frames_of_all_ages_are_remembered_and_few():
    shots = RecentShots()
    for t in range(4000):
        shots.add(frame(float(t)), NOBODY)
        assert len(shots._kept) <= 9
    ages = [3999 - shot.frame.time_s for shot in shots._kept]
    assert min(ages) < 5
    assert max(ages) > 600


def test_the_picture_of_the_clear_place_is_the_newest_that_shows_it():
    shots = RecentShots()
    for t in (0.0, 10.0, 20.0):
        # at 10 s somebody stands before the place
        shots.add(frame(t, 255 if t == 10.0 else 0), NOBODY)

    def clear(one):
        return one.luma(4) < 100

    whole = (0.0, 0.0, 1.0, 1.0)
    assert shots.clear(21.0, whole, clear).frame.time_s == 20.0
    assert shots.clear(15.0, whole, clear).frame.time_s == 0.0
    assert shots.clear(0.0, whole, clear) is None
    assert shots.clear(21.0, whole, lambda _: None) is None


def test_no_face_is_left_in_any_view(detectors, shared):
    """A face model answers differently on a part of a picture and at another size: the views themselves are clean."""
    model = detectors / "yunet-s-640.onnx"
    rgb = cv2.imread(str(shared / "photos/bus.jpg"))[:, :, ::-1].copy()
    finder = cv2.FaceDetectorYN.create(str(model), "", (320, 320), 0.6)
    for place in ((0.0, 0.0, 1.0, 1.0), (0.1, 0.4, 0.3, 0.5), (0.6, 0.4, 0.3, 0.3)):
        for one in shoot(rgb, Masker(model), place=place, keep=place, persons=NOBODY, role="at", taken_at_s=0.0):
            shown = cv2.imdecode(np.frombuffer(one.jpeg, np.uint8), 1)
            size = (shown.shape[1] * 2, shown.shape[0] * 2)
            finder.setInputSize(size)
            assert finder.detect(cv2.resize(shown, size))[1] is None, (place, one.evidence.view)

"""What the shipped detector of people is trained on: marked heads, teachers' boxes, made-up views."""

import cv2
import numpy as np
import pytest

from models.train.photos import INFERRED, Peopled, read_folder, with_heads
from models.train.props import lump, prop
from models.train.teachers import merged, people
from models.train.views import SIDE, Cutout, Pool, Source, view

STREET = np.full((240, 320, 3), 130, np.uint8)


def standing(x, y, height):
    """Somebody's box and head: feet at `y`."""
    width = 0.38 * height
    return (x - width / 2, y - height, x + width / 2, y), (x, y - 0.93 * height)


# height of a body by its feet: 10 px far away, 90 px near
PEOPLE = [
    standing(x, y, 10 + 80 * (y - 60) / 180) for x, y in [(40, 90), (90, 120), (140, 150), (190, 190), (240, 230)]
]


def crowd(seen):
    """All are marked; the first `seen` have a teacher's box."""
    boxes = np.array([box for box, _ in PEOPLE[-seen:]], np.float32).reshape(-1, 4)
    heads = np.array([head for _, head in PEOPLE], np.float32)
    return with_heads(STREET, boxes, heads)


def test_a_head_without_a_box_gets_a_body_as_large_as_people_are_there():
    photo = crowd(seen=4)
    (inferred,) = photo.boxes[photo.trust == np.float32(INFERRED)]
    assert inferred == pytest.approx(PEOPLE[0][0], abs=3)
    assert (photo.trust == 1).sum() == 4


def test_a_box_without_a_head_is_neither_right_nor_wrong():
    boxes = np.array([PEOPLE[-1][0], (10, 100, 30, 160)], np.float32)
    photo = with_heads(STREET, boxes, np.array([PEOPLE[-1][1]], np.float32))
    assert photo.boxes.tolist() == [pytest.approx(PEOPLE[-1][0])]
    assert photo.ignored.tolist() == [[10, 100, 30, 160]]


def test_nobody_is_asked_for_who_is_too_far_away():
    heads = np.array([head for _, head in PEOPLE] + [(100, 50)], np.float32)
    photo = with_heads(STREET, np.array([box for box, _ in PEOPLE], np.float32), heads)
    assert len(photo.boxes) == len(PEOPLE)
    assert len(photo.ignored) == 1


@pytest.mark.parametrize("heads", [0, 1, 5])
def test_a_photo_may_have_no_heads_or_no_boxes(heads):
    marks = np.array([head for _, head in PEOPLE[:heads]], np.float32).reshape(-1, 2)
    photo = with_heads(STREET, np.zeros((0, 4), np.float32), marks)
    assert len(photo.boxes) == len(photo.trust)


def test_boxes_of_several_looks_are_one():
    boxes = np.array([(10, 10, 30, 60), (12, 10, 32, 60), (200, 10, 220, 60)], np.float32)
    found, scores = merged(boxes, np.array([0.9, 0.3, 0.5], np.float32))
    assert found.tolist() == [pytest.approx([10.5, 10, 30.5, 60], abs=0.01), [200, 10, 220, 60]]
    assert scores.tolist() == [pytest.approx(0.9), pytest.approx(0.5)]


class Teacher:
    """Finds whoever is white, in the picture that it is shown."""

    def detect(self, rgb):
        ys, xs = np.nonzero(rgb[..., 0] > 250)
        if not len(xs):
            boxes = np.zeros((0, 4), np.float32)
        else:
            size = np.array([rgb.shape[1], rgb.shape[0]] * 2, np.float32)
            boxes = np.array([[xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1]], np.float32) / size
        return Found(boxes)


class Found:
    def __init__(self, boxes):
        self.boxes, self.scores = boxes, np.full(len(boxes), 0.8, np.float32)

    def of(self, _name, _score):
        return self


def test_what_a_tile_cuts_is_left_to_the_look_that_sees_all_of_it():
    picture = np.zeros((400, 600, 3), np.uint8)
    picture[50:350, 280:330] = 255
    boxes, _ = people(picture, [Teacher()])
    assert boxes.tolist() == [[280, 50, 330, 350]]


@pytest.mark.parametrize("seed", range(12))
def test_a_prop_is_as_high_as_asked_for_and_solid(seed):
    thing = prop(60, np.random.default_rng(seed))
    assert thing.shape[0] == 60
    assert thing.shape[2] == 4
    assert 0.05 < (thing[..., 3] > 127).mean() <= 1


@pytest.mark.parametrize("seed", range(12))
def test_a_lump_is_cut_out_of_the_photo_and_solid(seed):
    made = lump(STREET, 60, np.random.default_rng(seed))
    assert (made.shape[0], made.shape[2]) == (60, 4)
    assert 0.3 < (made[..., 3] > 127).mean() <= 1


@pytest.mark.parametrize("seed", range(40))
def test_a_view_holds_boxes_inside_it_and_changes_no_source(seed):
    photo = crowd(seen=4)
    before = photo.rgb.copy()
    somebody = Cutout(np.full((80, 30, 3), 60, np.uint8), np.ones((80, 30), np.float32))
    empty = Peopled(STREET, *(np.zeros(shape, np.float32) for shape in ((0, 4), 0, (0, 4))))
    source = Source([Pool([photo], 0.7, (0.5, 2.0)), Pool([empty], 0.3, (0.5, 2.0))], [somebody], [somebody])
    made = view(source, np.random.default_rng(seed))
    assert made.rgb.shape == (SIDE, SIDE, 3)
    assert made.rgb.dtype == np.uint8
    assert len(made.boxes) == len(made.trust)
    for boxes in (made.boxes, made.ignored):
        assert boxes.dtype == np.float32
        assert ((boxes >= 0) & (boxes <= SIDE)).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert (photo.rgb == before).all()


def test_a_folder_of_teachers_has_doubts(tmp_path):
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    cv2.imwrite(str(tmp_path / "images/a.jpg"), STREET)
    (tmp_path / "labels/a.txt").write_text("0 .5 .5 .1 .2 .9\n0 .2 .2 .1 .1 .2\n7 .5 .5 .5 .5 .9\n")
    cv2.imwrite(str(tmp_path / "images/b.jpg"), STREET)
    a, b = read_folder(tmp_path)
    assert a.boxes.tolist() == [pytest.approx([144, 96, 176, 144], abs=0.01)]
    assert len(a.ignored) == 1
    assert len(b.boxes) == 0
    assert len(read_folder(tmp_path, unlabelled=False)) == 1

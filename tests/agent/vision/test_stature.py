"""How much of a picture shows the people of a zone."""

import numpy as np
import pytest

from agent.vision.detector import Detections
from agent.vision.stature import PERSON_M, Statures
from protocol.plane import Plane
from tests.pinhole import Pinhole

ASPECT = 16 / 9
ZONE = ((0.3, 0.6), (0.5, 0.6), (0.5, 0.8), (0.3, 0.8))


def people(*boxes):
    count = len(boxes)
    rows = np.array(boxes, np.float32).reshape(-1, 4)
    return Detections(rows, np.full(count, 0.9, np.float32), np.zeros(count, np.int64), {0: "person"})


def standing(x, y, tall):
    """Somebody with feet at a point."""
    return x - 0.02, y - tall, 0.04, tall


def inside(box, room):
    return room[0] <= box[0] and room[1] <= box[1] and all(box[n] + box[n + 2] <= room[n] + room[n + 2] for n in (0, 1))


def test_of_a_zone_in_which_nobody_was_seen_the_whole_picture_matters():
    statures = Statures()
    statures.see(people(*[standing(0.8, 0.9, 0.3)] * 5, *[standing(0.4, 0.7, 0.2)] * 2))
    assert statures.room(ZONE, ASPECT) is None
    assert statures.foreground(ZONE, ASPECT) is None


def test_those_who_were_seen_fit_in_wherever_they_stand_in_the_zone():
    statures = Statures()
    statures.see(people(*[standing(0.4, 0.7, 0.2)] * 5))
    room = statures.room(ZONE, ASPECT)
    corners = [standing(x, y, 0.2) for x, y in ZONE]
    assert all(inside(one, room) for one in corners)
    # and not the whole picture with them
    assert room[2] * room[3] < 0.25
    # who stands before the zone hides it: feet are below it
    before = standing(0.4, 0.95, 0.2)
    assert not inside(before, room)
    assert inside(before, statures.foreground(ZONE, ASPECT))
    assert all(inside(one, statures.foreground(ZONE, ASPECT)) for one in corners)


@pytest.mark.parametrize(
    ("part", "known"),
    [
        (None, True),
        ((0.2, 0.4, 0.5, 0.5), True),
        # cut off at the left, above, at the right, below
        ((0.38, 0.4, 0.5, 0.5), False),
        ((0.2, 0.5, 0.5, 0.4), False),
        ((0.2, 0.4, 0.22, 0.5), False),
        ((0.2, 0.4, 0.5, 0.3), False),
    ],
)
def test_who_is_cut_off_by_the_part_that_was_looked_at_tells_no_height(part, known):
    statures = Statures()
    statures.see(people(*[standing(0.4, 0.7, 0.2)] * 3), part)
    assert (statures.room(ZONE, ASPECT) is not None) == known


def test_with_a_plane_people_fit_in_before_anybody_was_seen():
    camera = Pinhole(height_m=4.0, pitch_deg=15.0)
    corners = [(-2.0, 10.0), (2.0, 10.0), (2.0, 16.0), (-2.0, 16.0)]
    plane = Plane.from_rectangle(clicks := camera.see([(x, y, 0.0) for x, y in corners]).tolist(), 4.0, 6.0)
    zone = tuple(map(tuple, clicks))
    statures = Statures(plane)
    room, foreground = statures.room(zone, ASPECT), statures.foreground(zone, ASPECT)
    for x, y in corners:
        feet, head = camera.see([(x, y, 0.0), (x, y, PERSON_M)])
        assert inside(standing(feet[0], feet[1], feet[1] - head[1]), room)
    # 7 m from the camera, in front of the near edge and still over it
    feet, head = camera.see([(0.0, 7.5, 0.0), (0.0, 7.5, PERSON_M)])
    assert head[1] < max(y for _, y in zone) < feet[1]
    assert inside(standing(feet[0], feet[1], feet[1] - head[1]), foreground)
    assert room[3] < foreground[3]

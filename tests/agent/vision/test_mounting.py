"""What the guide says of lenses and distances, held against what the agent makes of such pictures."""

import numpy as np
import pytest

from agent.vision.ground import footprint_m2
from agent.vision.stature import on_plane
from protocol.settings import FrontageZone
from tests import mounting
from tests.agent.vision.test_ground import plane_of, region


@pytest.mark.parametrize("lens_deg", [deg for deg, _ in mounting.LENSES[1:]])
def test_at_the_distance_of_the_table_the_agent_sees_what_the_guide_says(lens_deg):
    far = mounting.farthest_m(mounting.ITEM, mounting.USUAL_M, lens_deg)
    view = mounting.camera(mounting.USUAL_M, lens_deg, far)
    plane = plane_of(view, (0.0, far))
    # a person: the estimate is as if the camera did not look down
    tall = mounting.shares(view, far, *mounting.PERSON[:2])[1]
    feet = view.see([(0, far, 0)])
    looks_down = np.cos(np.radians(view.pitch_deg))
    assert on_plane(plane, feet, 16 / 9)[0] * looks_down == pytest.approx(tall, rel=0.12)
    # an item is large enough for the default settings; and its ground comes out
    box, area = region(view, (0.5, 0.5, 0.83), (0.0, far))
    assert area > FrontageZone.model_fields["min_area"].default
    assert 0.5 < footprint_m2(box, area, plane) / 0.25 < 2


def test_an_item_where_the_warning_ends_needs_a_smaller_min_area():
    _, _, width, height = mounting.LEAST_ITEM
    assert 0.001 < width * height < FrontageZone.model_fields["min_area"].default


def test_guides_have_the_computed_rows_and_the_drawings_are_those_of_the_code():
    for path in mounting.GUIDES:
        text = path.read_text("utf-8")
        assert all(row in text for rows in mounting.tables().values() for row in rows)
        assert mounting.filled(text) == text, "run: python -m tests.mounting"
    for path, draw in mounting.DRAWINGS.items():
        assert path.read_text("utf-8") == draw(), "run: python -m tests.mounting"

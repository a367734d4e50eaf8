"""What the guide says of lenses and distances, held against what the agent makes of such pictures."""

import numpy as np
import pytest

from agent.setup.aim import item_needs_px
from agent.vision.ground import footprint_m2
from agent.vision.stature import on_plane
from protocol.settings import MIN_AREA
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
    assert area > MIN_AREA
    assert 0.5 < footprint_m2(box, area, plane) / 0.25 < 2


def test_the_set_up_page_calls_enough_what_the_guide_calls_clear():
    (width, height), guides = mounting.PICTURE, [path.read_text("utf-8") for path in mounting.GUIDES]
    assert item_needs_px(width, height) / width == pytest.approx(mounting.ITEM[2], abs=0.001)
    assert item_needs_px(width, height, 0.0007) == round(mounting.LEAST_ITEM[2] * width)
    for text in guides:
        assert f"min_area = {MIN_AREA}" in text
        assert f"{item_needs_px(width, height)} " in text
        assert "min_area" in text
        assert "0.0007" in text


def test_guides_have_the_computed_rows_and_the_drawings_are_those_of_the_code():
    for path in mounting.GUIDES:
        text = path.read_text("utf-8")
        assert all(row in text for rows in mounting.tables().values() for row in rows)
        assert mounting.filled(text) == text, "run: python -m tests.mounting"
    for path, draw in mounting.DRAWINGS.items():
        assert path.read_text("utf-8") == draw(), "run: python -m tests.mounting"

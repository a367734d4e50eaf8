"""Orders that an operator leaves for the running agent."""

import pytest

from agent.box.orders import FOLDER, Order, give, take


def test_orders_are_taken_once_in_order_by_the_camera_that_they_name(tmp_path):
    asked = [Order("reset"), Order("approve", "front"), Order("approve")]
    paths = [give(tmp_path, "cam-1", order, at_s) for at_s, order in enumerate(asked, 5)]
    give(tmp_path, "cam-10", Order("reset"), 0)
    assert take(tmp_path, "cam-1") == asked
    assert not any(path.exists() for path in paths)
    assert take(tmp_path, "cam-1") == []
    assert take(tmp_path, "cam-10") == [Order("reset")]


def test_no_folder_is_no_order(tmp_path):
    assert take(tmp_path, "cam-1") == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"verb": "burn", "zone": null}', '{"verb": "reset"}', '{"verb": []}'])
def test_what_is_no_order_is_thrown_away(tmp_path, text):
    (tmp_path / FOLDER).mkdir()
    path = tmp_path / FOLDER / "cam-1.1.json"
    path.write_text(text)
    assert take(tmp_path, "cam-1") == []
    assert not path.exists()

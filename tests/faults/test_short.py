"""Short forms of what `make faults` measures; its figures depend on the machine, what is lost or doubled does not."""

import pytest

from tests.faults import absence, books, chaos, connections, damage, visible


def faults(figures):
    return {name: figures[name] for name in books.FAULTS if figures[name]}


@pytest.mark.timeout(240)
def test_under_fire_nothing_is_lost_and_nothing_doubled(tmp_path):
    figures = chaos.run(chaos.SHORT, tmp_path)
    assert faults(figures) == {}
    assert (figures["incidents"], figures["parked"]) == (chaos.SHORT.incidents, 0)


@pytest.mark.timeout(240)
def test_two_collectors_one_of_them_killed(tmp_path, postgres):
    figures = chaos.run(chaos.SHORT_TWO_COLLECTORS.on(postgres.create()), tmp_path)
    assert faults(figures) == {}
    assert figures["incidents"] == chaos.SHORT_TWO_COLLECTORS.incidents


@pytest.mark.timeout(240)
def test_a_backlog_is_delivered_in_order_and_what_is_new_does_not_wait_behind_it(tmp_path):
    figures = absence.run(absence.SHORT, tmp_path)
    assert faults(figures) == {}
    assert figures["out_of_order"] == 0
    assert absence.not_behind(figures), figures


@pytest.mark.timeout(240)
def test_each_box_with_a_certificate_is_connected_and_heard(tmp_path):
    figures = connections.run(connections.SHORT, tmp_path)
    assert figures["connected"] == figures["heard_health_of"] == connections.SHORT.boxes
    assert (figures["lost_lines"], figures["refused"]) == (0, 0)
    assert figures["stored"] > 0


@pytest.mark.timeout(120)
def test_each_incident_is_seen_on_the_page(tmp_path):
    pytest.importorskip("playwright")
    figures = visible.run(visible.SHORT, tmp_path)
    assert figures["seen"] == figures["incidents"]


@pytest.mark.timeout(240)
def test_any_one_damaged_file_costs_no_more_than_what_was_in_it(tmp_path):
    figures = damage.run(damage.SHORT, tmp_path)
    assert figures["mended"] > 0

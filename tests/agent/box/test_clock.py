"""The box's clock: what it says, what it remembers, what it learns from the center."""

import time

import pytest

from agent.box import clock as clock_module
from agent.box.clock import SAMPLES, CenterTime, Clock


def test_the_quickest_answer_tells_the_time_best():
    center = CenterTime()
    assert center.offset(0.0, 0.0) is None
    # the center is 100 s ahead of a box whose clock is at 1000 when its monotonic one is at 0
    for asked_s, to_s, back_s in ((10.0, 2.0, 0.2), (20.0, 0.01, 0.03), (30.0, 0.1, 3.0)):
        center.heard(1100.0 + asked_s + to_s, asked_s, asked_s + to_s + back_s)
    offset_s, error_s = center.offset(1040.0, 40.0)
    assert offset_s == pytest.approx(100.0, abs=error_s)
    assert error_s == pytest.approx(0.02, abs=0.002)


def test_a_clock_that_is_set_changes_the_offset_at_once():
    center = CenterTime()
    center.heard(5000.0, 10.0, 10.0)
    assert center.offset(1000.0, 10.0)[0] == pytest.approx(4000.0)
    assert center.offset(5001.0, 11.0)[0] == pytest.approx(0.0)  # somebody has set the box right
    assert center.offset(5002.0 - 86400, 12.0)[0] == pytest.approx(86400.0)


def test_an_old_sample_is_worth_less():
    center = CenterTime()
    center.heard(1000.0, 0.0, 0.002)
    for n in range(3):
        center.heard(11_000.5, 10_000.0 + n, 10_000.01 + n)
    _, error_s = center.offset(10_003.0, 10_003.0)
    assert error_s < 0.01
    for n in range(SAMPLES):
        center.heard(20_000.0, 20_000.0 + n, 20_005.0 + n)
    assert center.offset(0.0, 20_010.0)[1] > 2  # only so many are kept


@pytest.mark.parametrize("answer", [(1000.0, 5.0, 4.0)])
def test_an_answer_before_its_question_is_none(answer):
    center = CenterTime()
    center.heard(*answer)
    assert center.offset(0.0, 0.0) is None


@pytest.fixture
def box(monkeypatch):
    """A box whose wall clock and kernel can be set."""
    values = {"wall": 1_790_000_000.0, "synchronised": False}
    monkeypatch.setattr(time, "time", lambda: values["wall"])
    monkeypatch.setattr(clock_module, "kernel_synchronised", lambda: values["synchronised"])
    return values


def test_a_box_without_a_battery_goes_on_from_where_it_was(box, tmp_path):
    Clock().remember(tmp_path)
    box["wall"] = 12.0  # a power cut: it is 1970
    clock = Clock()
    clock.recall(tmp_path)
    assert clock.now() == pytest.approx(1_790_000_000, abs=5)
    assert clock.report().state == "unsynchronised"
    clock.remember(tmp_path)
    box.update(wall=1_790_000_500.0, synchronised=True)
    assert clock.now() == 1_790_000_500.0


def test_a_time_that_was_wrong_once_does_not_stay(box, tmp_path):
    box["wall"] += 86400
    Clock().remember(tmp_path)
    box["wall"] -= 86400
    clock = Clock()
    clock.recall(tmp_path)
    assert clock.now() > box["wall"] + 86000
    clock.heard(box["wall"], 1.0, 1.1)  # the center knows better
    assert clock.now() == box["wall"]
    clock.recall(tmp_path)
    box["synchronised"] = True  # and so does NTP
    assert clock.now() == box["wall"]


def test_a_clock_that_jumps_is_not_followed_once_it_was_right(box, caplog):
    clock = Clock()
    box["wall"] += 3600
    clock.follow()
    assert clock.now() == pytest.approx(box["wall"], abs=1)  # nobody had set it yet
    box.update(wall=box["wall"] + 5000, synchronised=True)
    assert clock.follow()
    assert clock.now() == pytest.approx(box["wall"] - 5000, abs=1), "all that goes by it is to end first"
    assert clock.jump() == pytest.approx(5000, abs=1)
    assert not clock.follow()
    assert clock.jump() == 0
    assert clock.now() == pytest.approx(box["wall"], abs=1)
    right_s = box["wall"]
    for jump_s in (86400.0, -86400.0, 86400.0):
        box["wall"] = right_s + jump_s
        clock.follow()
        clock.follow()
        assert clock.now() == pytest.approx(right_s, abs=1)
        assert clock.report().state == "unsynchronised"
    assert caplog.text.count("not followed") == 1
    box["wall"] = right_s + 1.5
    clock.follow()
    assert clock.now() == pytest.approx(right_s + 1.5, abs=0.2)
    assert clock.report().state == "synchronised"


@pytest.mark.parametrize(
    ("kept", "wall", "synchronised", "lost_s"),
    [
        ("1000 unsure", 1_790_000_000.0, True, 1_789_999_000.0),  # it never knew better than 1970
        ("1000", 1_790_000_000.0, True, 0.0),  # by a clock that was right
        ("1000 unsure", 1_790_000_000.0, False, 0.0),  # nobody knows better now either
    ],
)
def test_what_was_kept_by_a_clock_that_was_never_right_is_moved_once_it_is(
    box, tmp_path, kept, wall, synchronised, lost_s
):
    (tmp_path / "clock").write_text(kept)
    box.update(wall=wall, synchronised=synchronised)
    clock = Clock()
    clock.recall(tmp_path)
    assert clock.lost_s == lost_s


def test_nothing_is_recalled_from_a_damaged_file(box, tmp_path):
    (tmp_path / "clock").write_bytes(b"\xff\x00")
    clock = Clock()
    clock.recall(tmp_path)
    assert clock.now() == box["wall"]


def test_the_report_says_how_far_off_the_box_is(box):
    clock = Clock()
    assert clock.report().offset_s is None
    clock.heard(box["wall"] + 42, clock.monotonic() - 0.1, clock.monotonic())
    report = clock.report()
    assert report.offset_s == pytest.approx(42, abs=0.2)
    assert report.offset_error_s == pytest.approx(0.05, abs=0.02)

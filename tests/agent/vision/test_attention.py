"""Sharing one detector out, on a clock of its own."""

import threading
import time
from contextlib import nullcontext
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.vision.attention import FULL, LEAST, Attention


class Box:
    """A box whose looks take a known time; cameras have a sample every `sample_s`."""

    def __init__(self, budget, look_s=0.04, sample_s=2.0):
        self.now_s, self.look_s, self.sample_s = 0.0, look_s, sample_s
        self.attention = Attention(budget, timer=lambda: self.now_s)

    def look(self, camera, looks=1, share=1.0):
        for _ in range(looks):
            with self.attention.turn(camera, share=share):
                self.now_s += self.look_s * share

    def play(self, wishes, seconds, looks=None, shares=None):
        """Let cameras ask for a while; says when each was granted a look."""
        granted = {camera: [] for camera in wishes}
        for number in range(round(seconds / self.sample_s)):
            at_s = number * self.sample_s
            for camera, every_s in wishes.items():
                if self.attention.ask(camera, every_s, at_s):
                    granted[camera].append(at_s)
                    self.look(camera, (looks or {}).get(camera, 1), (shares or {}).get(camera, 1.0))
        return granted


def gaps(times_s, after_s=60.0):
    late = [t for t in times_s if t >= after_s]
    return [after - before for before, after in pairwise(late)]


@pytest.mark.parametrize(
    ("every_s", "expected_s"),
    [
        (0.0, 2.0),  # each sample
        (2.0, 2.0),
        (3.0, 4.0),  # no sample in between
        (4.0, 4.0),
        (5.0, 4.0),  # a little early rather than a sample late
        (10.0, 10.0),
    ],
)
def test_each_wish_is_granted_while_the_budget_suffices(every_s, expected_s):
    assert set(gaps(Box(1.0).play({"cam": every_s}, 200)["cam"])) == {expected_s}


def test_a_replay_has_all_the_time():
    box = Box(float("inf"), look_s=100.0)
    assert set(gaps(box.play({"cam": 0.0}, 200)["cam"])) == {2.0}
    assert box.attention.figures.stretch == 1.0


def test_scarcity_stretches_the_intervals_and_nobody_starves():
    """Ten cameras that want a look of .04 s each 2 s need .2 of a core; there is a tenth of that."""
    box = Box(0.02)
    granted = box.play({f"cam-{n}": 2.0 for n in range(10)}, 600)
    for times_s in granted.values():
        assert 16 <= max(gaps(times_s)) <= 24
    figures = box.attention.figures
    assert figures.stretch == pytest.approx(10, rel=0.05)
    assert 14 <= figures.late_s <= 22


def test_cameras_that_want_little_feel_nothing_of_those_that_want_much():
    """One wants seven looks a sample, nine want one every 10 s: only the first one waits."""
    box = Box(0.1)
    quiet = {f"quiet-{n}": 10.0 for n in range(9)}
    granted = box.play({"busy": 2.0, **quiet}, 600, {"busy": 7})
    for camera in quiet:
        assert set(gaps(granted[camera])) == {10.0}
    # .28 s a look, .1 - 9 * .004 a second are left for it
    assert sum(gaps(granted["busy"])) / len(gaps(granted["busy"])) == pytest.approx(0.28 / 0.064, rel=0.25)


@settings(deadline=None)
@given(
    budget=st.floats(0.01, 2.0),
    wishes=st.dictionaries(st.text("abcdefgh", min_size=1, max_size=4), st.floats(0, 60), min_size=1, max_size=12),
)
def test_the_budget_is_kept_and_everyone_is_looked_at(budget, wishes):
    box = Box(budget)
    granted = box.play(wishes, 1200)
    spent = sum(len([t for t in times_s if t >= 200]) for times_s in granted.values()) * box.look_s / 1000
    assert spent <= 1.6 * budget
    fair_s = len(wishes) * box.look_s / budget
    for camera, times_s in granted.items():
        assert max(gaps(times_s, 200), default=0) <= 2 * max(wishes[camera], fair_s) + 4


def test_looks_at_a_part_cost_a_part():
    """Of the same budget, who looks at a quarter of the pixels gets four times as many looks; all of it is used."""
    box = Box(0.01)
    granted = box.play({"whole": 0.0, "part": 0.0}, 2000, shares={"part": 0.25})
    whole_s, part_s = (sum(late) / len(late) for late in (gaps(granted["whole"], 400), gaps(granted["part"], 400)))
    assert whole_s == pytest.approx(0.04 / 0.005, rel=0.15)
    assert part_s == pytest.approx(0.01 / 0.005, rel=0.15)


def test_a_clock_that_is_set_back_stops_nothing():
    attention = Attention(1.0)
    assert attention.ask("cam", 4.0, 1000.0)
    assert not attention.ask("cam", 4.0, 1001.0)
    assert attention.ask("cam", 4.0, 500.0)


def waiting(attention, camera, order):
    """Somebody who waits for a turn by now, and notes when it has come."""

    def look():
        with attention.turn(camera):
            order.append(camera)

    thread = threading.Thread(target=look)
    before = len(attention._line._waiting)
    thread.start()
    while len(attention._line._waiting) == before:
        time.sleep(0.001)
    return thread


def test_only_so_many_look_at_a_time_and_who_was_let_in_first_goes_first():
    attention = Attention(1.0, workers=2)
    for camera in ("a", "b", "early", "late"):
        assert attention.ask(camera, 4.0, 1000.0)
    order = []
    with attention.turn("a"), attention.turn("b"):
        threads = [waiting(attention, "late", order), waiting(attention, "early", order)]
        assert order == []
    for thread in threads:
        thread.join()
    assert order == ["early", "late"]


def test_where_others_wait_nobody_is_let_in_before_the_next_sample():
    attention = Attention(1.0)
    assert attention.ask("a", 4.0, 1000.0)
    with attention.turn("a"):
        thread = waiting(attention, "b", [])
        assert not attention.ask("c", 4.0, 1000.0)
    thread.join()
    assert attention.ask("c", 4.0, 1002.0)


def test_the_budget_makes_room_for_what_else_the_box_does():
    attention = Attention(1.0)
    rest = 1.2
    for _ in range(40):
        attention.fit(min(2.0, rest + attention.left), 2)
    assert rest + attention.left == pytest.approx(2 * FULL, abs=0.02)
    for _ in range(40):  # more than there is
        attention.fit(2.0, 2)
    assert attention.left == pytest.approx(LEAST)
    for _ in range(40):
        attention.fit(0.3, 2)
    assert attention.left == 1.0


def test_without_a_budget_the_load_does_not_matter():
    attention = Attention()
    attention.fit(2.0, 2)
    assert all(attention.ask("a", 1.0, 1000.0 + second) for second in range(5))


def test_a_look_that_fails_gives_its_place_back():
    attention = Attention(1.0)
    with pytest.raises(ValueError, match="broken"), attention.turn("a"):
        raise ValueError("broken")
    with attention.turn("a"), nullcontext():
        pass
    assert attention.figures.looks == 1

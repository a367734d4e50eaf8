"""Who is who from picture to picture."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.vision.tracker import Tracker

PERSON = (40.0, 100.0)


def boxes(*places):
    return np.array([(x, y, *PERSON) for x, y in places]).reshape(-1, 4)


def sure(count, score=0.9):
    return np.full(count, score)


@pytest.mark.parametrize("rate_hz", [25, 5, 3])
def test_somebody_who_walks_keeps_the_id_at_any_rate(rate_hz):
    tracker, ids = Tracker(), set()
    for n in range(8 * rate_hz):
        t = n / rate_hz
        ids |= set(tracker.step(boxes((60 * t, 100)), sure(1), t).ids.tolist())
    assert len(ids) == 1


def test_two_who_cross_keep_their_ids():
    tracker, seen = Tracker(), []
    for n in range(40):
        t = n / 5
        out = tracker.step(boxes((80 * t, 100), (560 - 80 * t, 130)), sure(2), t)
        seen.append(dict(zip(out.sources.tolist(), out.ids.tolist(), strict=True)))
    assert seen[2] == seen[-1]
    assert set(seen[-1].values()) == {1, 2}


def test_a_doubtful_box_keeps_a_track_and_starts_none():
    tracker = Tracker()
    for n in range(3):
        out = tracker.step(boxes((100, 100)), sure(1), n / 5)
    for n in range(3, 12):
        out = tracker.step(boxes((100, 100), (500, 100)), sure(2, 0.3), n / 5)
        assert out.ids.tolist() == [1]


def test_a_box_seen_once_gets_no_id():
    tracker = Tracker()
    assert len(tracker.step(boxes((100, 100)), sure(1), 0.0)) == 0
    assert len(tracker.step(boxes(), sure(0), 0.2)) == 0
    assert len(tracker.step(boxes((100, 100)), sure(1), 0.4)) == 0


def test_who_was_away_too_long_is_somebody_new():
    tracker = Tracker(keep_s=1.0)
    for n in range(3):
        first = tracker.step(boxes((100, 100)), sure(1), n / 5)
    for n in range(3):
        again = tracker.step(boxes((100, 100)), sure(1), 3 + n / 5)
    assert first.ids.tolist() == [1]
    assert again.ids.tolist() == [2]


@pytest.mark.parametrize(
    ("rate_hz", "missed", "kept"),
    [
        (25, 24, True),  # just within keep_s
        (25, 30, False),
        (3, 4, True),  # longer than keep_s, but only a few pictures
        (3, 8, False),
        (0.5, 1, False),  # two looks, four seconds: nobody knows
    ],
)
def test_patience_is_counted_in_time_and_where_pictures_are_rare_in_pictures(rate_hz, missed, kept):
    tracker, ids = Tracker(keep_s=1.0), []
    for n in range(missed + 6):
        there = n < 3 or n >= missed + 3
        out = tracker.step(boxes((100, 100)) if there else boxes(), sure(int(there)), n / rate_hz)
        ids += out.ids.tolist()
    assert (len(set(ids)) == 1) is kept


def test_sources_say_which_detection_a_track_is():
    tracker = Tracker()
    for n in range(3):
        out = tracker.step(boxes((500, 100), (100, 100)), np.array([0.05, 0.9]), n / 5)
    assert out.sources.tolist() == [1]
    assert out.boxes.tolist() == boxes((100, 100)).tolist()


crowds = st.lists(
    st.lists(st.tuples(st.floats(0, 600), st.floats(0, 400), st.floats(0, 1)), max_size=8), min_size=1, max_size=20
)


@given(crowds, st.floats(0.02, 2))
def test_ids_are_unique_in_a_picture_and_never_used_again(pictures, step_s):
    tracker, last_s, highest = Tracker(), {}, 0
    for n, picture in enumerate(pictures):
        out = tracker.step(boxes(*[(x, y) for x, y, _ in picture]), np.array([s for *_, s in picture]), n * step_s)
        ids = out.ids.tolist()
        assert len(set(ids)) == len(ids)
        assert len(set(out.sources.tolist())) == len(ids)
        for identity in ids:
            # an id that comes anew is higher than any before; one that comes back was not away for long
            assert identity in last_s or identity > highest
            assert n * step_s - last_s.get(identity, n * step_s) <= 2 * tracker.keep_s + 1e-9
            last_s[identity] = n * step_s
        highest = max([highest, *ids])

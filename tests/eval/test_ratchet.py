"""What was reached once stays reached."""

import json

import numpy as np
import pytest

from tests.eval import ratchet
from tests.eval.mot import score


@pytest.mark.parametrize("part", sorted(ratchet.SHORT))
def test_the_short_form_is_not_behind(part):
    kept = ratchet.read()["short"][part]
    assert ratchet.behind(kept, ratchet.SHORT[part](), part) == []


@pytest.mark.parametrize(
    ("kept", "now", "lines"),
    [
        ({"recall": 0.9}, {"recall": 0.9}, 0),
        ({"recall": 0.9}, {"recall": 0.95, "more": 1}, 0),
        ({"recall": 0.9}, {"recall": 0.895}, 0),  # rounding of another processor
        ({"recall": 0.9}, {"recall": 0.85}, 1),
        ({"recall": 0.9}, {}, 1),  # not measured any more
        ({"delay_median_s": 2.0}, {"delay_median_s": 1.0}, 0),
        ({"delay_median_s": 2.0}, {"delay_median_s": 2.1}, 1),
        ({"delay_median_s": None}, {"delay_median_s": 2.1}, 0),
        ({"faces_left": 0}, {"faces_left": 1}, 1),
        ({"ms": 10, "ms_at_50_people": 1.0}, {"ms": 90, "ms_at_50_people": 9.0}, 0),  # time is never compared
        ({"a": {"mota": 0.7, "idf1": 0.6}}, {"a": {"mota": 0.6, "idf1": 0.5}}, 2),
        ({"a": {"mota": 0.7}}, {"a": 3}, 1),
    ],
)
def test_what_falls_behind_is_named(kept, now, lines):
    assert len(ratchet.behind(kept, now)) == lines


def test_parts_that_are_not_run_keep_their_figures(tmp_path):
    path = tmp_path / "accuracy.json"
    ratchet.keep("full", {"people": {"mae": 1}, "faces": {"left": 2}}, path)
    ratchet.keep("short", {"tracking": 3}, path)
    ratchet.keep("full", {"faces": {"left": 0}}, path)
    assert json.loads(path.read_text()) == {
        "full": {"people": {"mae": 1}, "faces": {"left": 0}},
        "short": {"tracking": 3},
    }


def rows(*tracks):
    return np.array([(n, i, x, 0, 10, 10) for i, places in tracks for n, x in enumerate(places, 1)], float)


@pytest.mark.parametrize(
    ("said", "mota", "idf1"),
    [
        (rows((7, [0, 1, 2, 3])), 1.0, 1.0),
        (rows((7, [0, 1]), (8, [50, 50])), 1 - 2 / 4 - 2 / 4, 2 * 2 / 8),  # lost, and two false
        (np.concatenate([rows((7, [0, 1])), rows((8, [0, 0, 2, 3]))[2:]]), 1 - 1 / 4, 2 * 2 / 8),  # another name midway
        (rows((7, [3, 4, 5, 6])), 1.0, 1.0),  # overlaps by 7/13
        (rows((7, [5, 6, 7, 8])), 1 - 8 / 4, 0.0),
    ],
)
def test_mota_and_idf1(said, mota, idf1):
    got = score(rows((1, [0, 1, 2, 3])), said)
    assert (got.mota, got.idf1) == (pytest.approx(mota), pytest.approx(idf1))

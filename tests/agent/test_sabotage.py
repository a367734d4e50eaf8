"""What happens to a camera is no incident, and ends none: the whole pipeline on rendered streets."""

from dataclasses import replace
from functools import cache

import pytest

from tests.eval import faults
from tests.eval.staging import DWELL_S, Stage

EMPTY, HELD, LATE, TAKEN = None, (11.0, 84.0), (24.0, 84.0), (11.0, faults.BEGIN_S + 1)


@cache
def street(seed, span):
    """A street on which a thing stands for a span, or never."""
    scene = replace(Stage().scene(seed), length_s=faults.LENGTH_S, walkers=(), stays=())
    props = () if span is None else (replace(scene.props[0], span=span),)
    return [(t, rgb) for t, rgb in replace(scene, props=props).frames(1.0) if t < faults.LENGTH_S]


def reports(name, seed, span):
    return faults.look(faults.struck(name, street(seed, span), seed))[1]


@pytest.mark.parametrize("seed", [0, 4])
@pytest.mark.parametrize("name", ["half_cloth", "lorry", "pan", "blur", "freeze", "infrared"])
def test_a_fault_opens_nothing(name, seed):
    assert reports(name, seed, EMPTY) == []


@pytest.mark.parametrize(("name", "seed"), [("lorry", 0), ("pan", 4), ("cloth", 0), ("freeze", 4)])
def test_an_open_incident_goes_on_through_a_fault(name, seed):
    (report,) = reports(name, seed, HELD)
    assert report.opened_s < faults.BEGIN_S
    assert report.cleared_s is None


def test_time_without_sight_is_no_dwell():
    (report,) = reports("lorry", 0, LATE)
    seen_before_s = faults.BEGIN_S - LATE[0]
    assert report.opened_s >= faults.END_S + DWELL_S - seen_before_s - 3


def test_what_was_taken_behind_a_lorry_clears_once_it_is_seen():
    (report,) = reports("lorry", 0, TAKEN)
    assert report.cleared_s is not None
    assert report.clear_since_s >= faults.END_S - 1

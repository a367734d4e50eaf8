"""The table of states and verbs, as a reader and as the desk see it."""

from pathlib import Path

import pytest

from collector.people.actor import Role
from collector.tickets import desk
from collector.tickets.machine import FINAL, OPEN, TRANSITIONS, VERBS, WORDS, State, allowed, find, main, may, reference

ROLES = [*Role, "policy", "camera", "shop"]
ROOT = Path(__file__).resolve().parents[3]


def test_the_page_is_what_the_code_says():
    assert (ROOT / "docs/ref/tickets.md").read_text("utf-8") == reference()
    assert main([str(ROOT / "docs/ref"), "--check"]) == 0


def test_a_page_that_is_old_is_said(tmp_path, capsys):
    (tmp_path / "tickets.md").write_text("old")
    assert main([str(tmp_path), "--check"]) == 1
    assert "run: python -m collector.tickets.machine" in capsys.readouterr().out
    assert main([str(tmp_path)]) == 0
    assert main([str(tmp_path), "--check"]) == 0


def test_a_verb_means_one_thing_in_a_state():
    pairs = [(state, one.verb) for one in TRANSITIONS for state in one.sources]
    assert len(pairs) == len(set(pairs))
    assert {one.verb for one in TRANSITIONS} == set(VERBS)
    assert set(desk.EFFECTS) <= set(VERBS)
    assert set(WORDS) == set(State)


def reachable(start):
    found, waiting = {start}, [start]
    while waiting:
        state = waiting.pop()
        for one in TRANSITIONS:
            if state in one.sources:
                for target in one.targets:
                    if target not in found:
                        found.add(target)
                        waiting.append(target)
    return found


def test_every_state_is_reached_and_every_open_one_can_end():
    assert reachable(State.PENDING_REVIEW) == set(State)
    for state in OPEN:
        assert reachable(state) & FINAL


@pytest.mark.parametrize("state", OPEN)
def test_a_person_can_bring_every_open_state_nearer_to_its_end(state):
    """Nothing waits for a machine alone: whatever a camera, a carrier or a policy fails to do, a person can go on."""
    persons = [role.value for role in Role]
    leads_on = [one for one in TRANSITIONS if state in one.sources and one.targets and may(one, "person", persons)]
    assert leads_on


def test_enforcement_is_never_the_policys():
    for one in TRANSITIONS:
        if State.REGISTERED in one.targets and one.verb != "send_back":
            assert "policy" not in one.who
            assert "camera" not in one.who


def test_auditors_and_viewers_change_nothing():
    for state in State:
        assert allowed(state, "person", ("auditor", "viewer")) == ()


@pytest.mark.parametrize("role", ROLES)
def test_what_is_allowed_is_what_the_table_says(role):
    kind = role if role in ("policy", "camera", "shop") else "person"
    for state in State:
        verbs = allowed(state, kind, (role,))
        assert verbs == tuple(verb for verb in VERBS if (one := find(state, verb)) and role in one.who)

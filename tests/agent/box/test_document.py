"""The settings' document: revisions on trial, taken back, edited here."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.box import document
from agent.box.document import Standing, Version, answered, begun, confirmed, rejected, rolled_back, tried, wants_trial
from protocol.desired import Desired
from protocol.settings import CamerasDocument


def cameras(*names):
    return CamerasDocument.model_validate({"camera": [{"id": name, "source": "clip.mp4"} for name in names]})


SEED = cameras("cam-1")


def wish(revision, *names, answers=None):
    return Desired(revision=revision, document=cameras(*names).values(), answers=answers)


def test_what_a_box_was_set_up_with_is_its_first_edit():
    standing = begun(SEED, None)
    assert (standing.now, standing.edit, standing.state) == (Version(0, SEED), Version(0, SEED), "applied")
    assert begun(SEED, standing) == standing
    assert answered(standing, wish(1, "cam-1", answers="0" * 64)) == standing
    assert answered(standing, wish(1, "cam-1", answers=SEED.digest())).edit is None


def test_a_changed_box_toml_takes_effect_and_says_what_it_is_based_on():
    standing = confirmed(tried(begun(SEED, None), 4, cameras("cam-1", "cam-2")))
    changed = cameras("cam-1", "cam-9")
    standing = begun(changed, standing)
    assert standing.now == standing.edit == Version(4, changed)
    assert (standing.reported_edit().based_on, standing.reported_edit().digest) == (4, changed.digest())


def test_a_trial_that_does_not_last_two_starts_is_taken_back():
    standing = tried(begun(SEED, None), 1, cameras("cam-2"))
    for starts in (1, 2):
        standing = begun(SEED, standing)
        assert (standing.starts, standing.state, standing.now.revision) == (starts, "pending", 1)
    standing = begun(SEED, standing)
    assert (standing.state, standing.now, standing.wanted) == ("rolled_back", Version(0, SEED), 1)
    assert "2 times" in standing.errors[0]
    assert not wants_trial(standing, wish(1, "cam-2"))
    assert wants_trial(standing, wish(2, "cam-2"))


def test_a_second_trial_goes_back_to_what_was_confirmed():
    standing = tried(tried(begun(SEED, None), 1, cameras("a")), 2, cameras("b"))
    assert rolled_back(standing, "no").now == Version(0, SEED)


def test_a_rejected_revision_leaves_a_trial_alone():
    standing = rejected(tried(begun(SEED, None), 1, cameras("a")), 2, ("no",))
    standing = confirmed(standing)
    assert (standing.now.revision, standing.state, standing.wanted, standing.errors) == (1, "rejected", 2, ("no",))


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("wish"), st.integers(1, 6)),
            st.tuples(st.just("start"), st.sampled_from(["cam-1", "cam-2"])),
            st.tuples(st.sampled_from(["confirm", "fail", "reject"]), st.just(0)),
        ),
        max_size=30,
    )
)
def test_whatever_happens_something_sound_is_in_force(steps):
    """What is gone back to was confirmed or edited here, and the file holds all of it."""
    standing, good = begun(SEED, None), {SEED}
    for what, value in steps:
        if what == "wish" and wants_trial(standing, wish(value, f"rev-{value}")):
            assert value > standing.now.revision
            standing = tried(standing, value, cameras(f"rev-{value}"))
        elif what == "start":
            standing = begun(cameras(value), standing)
            good |= {standing.now.document} if standing.edit == standing.now else set()
        elif what == "confirm" and standing.on_trial:
            standing = confirmed(standing)
            good.add(standing.now.document)
        elif what == "fail" and standing.on_trial:
            failed = standing.now.revision
            standing = rolled_back(standing, "it failed")
            assert not wants_trial(standing, wish(failed, f"rev-{failed}"))
        elif what == "reject":
            standing = rejected(standing, 9, ("no",))
        assert standing.on_trial or standing.now.document in good
        assert Standing.from_json(standing.to_json()) == standing


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"seed": 1}', json.dumps({"now": 3})])
def test_a_damaged_file_is_as_none(tmp_path, text):
    (tmp_path / document.FILE).write_text(text)
    assert document.load(tmp_path) is None


def test_the_file_is_written_whole(tmp_path):
    standing = tried(begun(SEED, None), 1, cameras("cam-2"))
    document.save(tmp_path, standing)
    assert document.load(tmp_path) == standing
    assert sorted(path.name for path in tmp_path.iterdir()) == [document.FILE, f"{document.FILE}.copy"]


def test_an_older_agent_goes_on_with_what_a_newer_one_has_written(tmp_path):
    zone = {"id": "z", "kind": "gathering", "polygon": [[0, 0], [1, 0], [1, 1]], "max_people": 4}
    seed = CamerasDocument.model_validate({"camera": [{"id": "cam-1", "source": "clip.mp4", "zone": [zone]}]})
    standing = confirmed(tried(begun(cameras(), None), 4, seed))
    values = json.loads(standing.to_json()) | {"later": 1}
    now = values["now"]["document"]
    now["later"] = now["camera"][0]["later"] = now["camera"][0]["zone"][0]["later"] = {"a": 1}
    (tmp_path / document.FILE).write_text(json.dumps(values))
    assert document.load(tmp_path) == standing

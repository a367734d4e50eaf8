"""Settings that the center wants, on a box whose cameras are a list and whose clock is set by hand."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import wishes
from agent.box.document import load
from agent.box.twin import write_twice
from agent.wishes import TRIAL_S, Wishes
from protocol.desired import MAX_SETTINGS_BYTES, Desired, DesiredEvent
from protocol.instants import from_epoch
from protocol.messages import dataschema
from protocol.settings import CamerasDocument


def document(*names):
    return CamerasDocument.model_validate({"camera": [{"id": name, "source": "clip.mp4"} for name in names]})


def moved(*names):
    """The same cameras at another source."""
    return {"camera": [{"id": name, "source": "other.mp4"} for name in names]}


def wish(revision, *names, **more):
    data = Desired(revision=revision, document=more.pop("values", document(*names).values()), **more)
    return DesiredEvent(
        id=f"w{revision}",
        source="/cityeye/center/c",
        type="cityeye.settings.desired",
        time=from_epoch(0),
        dataschema=dataschema("settings-desired"),
        data=data,
    ).to_json()


class Box:
    """Cameras named `lost` have no file, `broken` fail in their pipeline, `worse` cannot be started at all."""

    def __init__(self, folder, *seed):
        self.folder, self.seed = folder, document(*(seed or ("cam-1",)))
        self.lacks = ("lost",)
        self.uptime_s, self.online, self.connects = 0.0, True, 1
        self.running, self.reports, self.cameras = [], [], []
        self.start()

    def start(self):
        self.wishes = Wishes(
            site="s",
            box="box-1",
            folder=self.folder,
            seed=self.seed,
            check=lambda wanted: [f"camera {one.id}: no file" for one in wanted.camera if one.id in self.lacks],
            apply=self.apply,
            failing=lambda: {name: "it broke" for name in self.running if name == "broken"},
            publish=self.publish,
            connects=lambda: self.connects,
            now=lambda: 1_780_000_000.0 + self.uptime_s,
            monotonic=lambda: self.uptime_s,
        )
        self.apply(self.wishes.document)

    def apply(self, wanted):
        names = [one.id for one in wanted.camera]
        if "worse" in names:
            raise RuntimeError("no")
        self.running = names
        new = [one.id for one in wanted.camera if one not in self.cameras]
        self.cameras = wanted.camera
        return new

    def publish(self, leaf, payload, *, retain):
        assert (leaf, retain) == ("settings/reported", True)
        if self.online:
            self.reports.append(json.loads(payload)["data"])
        return self.online

    def tick(self, later_s=0.0):
        self.uptime_s += later_s
        self.wishes.tick()

    def told(self):
        self.tick()
        last = self.reports[-1]
        return last["revision"], last["state"], last["wanted"]


@pytest.fixture
def box(tmp_path):
    return Box(tmp_path)


def test_a_revision_is_kept_after_two_minutes(box):
    box.wishes.take(wish(1, "cam-1", "cam-2"))
    assert (box.running, box.told()) == (["cam-1", "cam-2"], (1, "pending", 1))
    box.tick(TRIAL_S - 1)
    assert box.told() == (1, "pending", 1)
    box.tick(1)
    assert box.told() == (1, "applied", 1)
    assert load(box.folder).before is None


@pytest.mark.parametrize("name", ["broken", "worse"])
def test_one_that_cannot_run_is_taken_back_at_once_and_not_tried_again(box, name):
    for _ in range(2):
        box.wishes.take(wish(1, "cam-1", name))
        box.tick()
        assert (box.running, box.told()) == (["cam-1"], (0, "rolled_back", 1))
    assert name in box.reports[-1]["errors"][0] or "RuntimeError: no" in box.reports[-1]["errors"][0]
    box.wishes.take(wish(2, "cam-1", "cam-2"))
    assert box.told() == (2, "pending", 2)


def test_what_failed_before_is_not_the_new_revisions_fault(tmp_path):
    box = Box(tmp_path, "broken")
    box.wishes.take(wish(1, "broken", "cam-2"))
    box.tick(TRIAL_S)
    assert box.told() == (1, "applied", 1)


def test_a_changed_camera_that_failed_before_is_judged_anew(tmp_path):
    box = Box(tmp_path, "broken")
    box.wishes.take(wish(1, values=moved("broken")))
    assert box.told() == (0, "rolled_back", 1)


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (wish(3, "cam-1", "lost"), ["camera lost: no file"]),
        (wish(3, values={"version": 2}), ["expected version 1 of the settings, got 2"]),
        (
            wish(3, values={"camera": [{"id": "A"}, {"id": "b", "sorce": "x"}]}),
            ["camera A: id", "camera A", "b: unknown"],
        ),
        (wish(3, "cam-1").replace(b"settings-desired:1", b"settings-desired:2"), ["expected major version 1"]),
        (wish(3, *(f"cam-{n}" for n in range(4000))), [f"expected at most {MAX_SETTINGS_BYTES} bytes"]),
    ],
)
def test_what_cannot_be_used_is_rejected_with_all_that_is_wrong(box, payload, words):
    box.wishes.take(payload)
    assert (box.running, box.told()) == (["cam-1"], (0, "rejected", 3))
    assert len(box.reports[-1]["errors"]) == len(words)
    for error, word in zip(box.reports[-1]["errors"], words, strict=True):
        assert word in error


@pytest.mark.parametrize("again", ["delivered", "started", "provided"])
def test_what_was_rejected_is_taken_once_the_box_has_what_it_lacked(box, again):
    box.wishes.take(wish(1, "cam-1", "lost"))
    assert box.told() == (0, "rejected", 1)
    box.lacks = ()
    if again == "started":
        box.start()
    if again == "provided":
        box.wishes.take_again()
    else:
        box.wishes.take(wish(1, "cam-1", "lost"))
    assert (box.running, box.told()) == (["cam-1", "lost"], (1, "pending", 1))
    box.wishes.take_again()
    assert box.told() == (1, "pending", 1)


def test_an_older_or_the_same_revision_changes_nothing(box):
    box.wishes.take(wish(5, "cam-2"))
    box.tick(TRIAL_S)
    for revision in (5, 4):
        box.wishes.take(wish(revision, "cam-9"))
    assert (box.running, box.told()) == (["cam-2"], (5, "applied", 5))


def test_a_revision_of_what_runs_already_needs_no_trial(box):
    box.wishes.take(wish(1, "cam-1", answers=document("cam-1").digest()))
    assert box.told() == (1, "applied", 1)
    assert box.reports[-1]["edit"] is None


def test_a_trial_ends_with_a_start_for_which_the_box_lacks_something(box, monkeypatch):
    box.wishes.take(wish(1, "cam-2"))
    monkeypatch.setattr(wishes, "begun", lambda _seed, standing: standing)
    # the file that was there is gone
    text = (box.folder / "settings.json").read_text().replace("cam-2", "lost")
    write_twice(box.folder / "settings.json", text.encode())
    box.start()
    assert (box.running, box.told()) == (["cam-1"], (0, "rolled_back", 1))


def test_it_is_reported_anew_on_each_connection_and_once_on_one(box):
    for _ in range(3):
        box.tick()
    assert len(box.reports) == 1
    box.connects += 1
    box.tick()
    assert len(box.reports) == 2
    box.online = False
    box.wishes.take(wish(1, "cam-2"))
    box.tick()
    box.online = True
    assert box.told() == (1, "pending", 1)


@settings(deadline=None)  # each example syncs two files
@given(
    st.binary(max_size=200)
    | st.dictionaries(
        st.sampled_from(["dataschema", "data", "id"]),
        st.none() | st.text(max_size=5) | st.dictionaries(st.sampled_from(["revision", "document"]), st.integers()),
    ).map(lambda values: json.dumps(values).encode())
)
def test_rubbish_changes_nothing(tmp_path_factory, payload):
    box = Box(tmp_path_factory.mktemp("box"))
    box.wishes.take(payload)
    assert box.running == ["cam-1"]
    assert box.wishes.standing.now.revision == 0

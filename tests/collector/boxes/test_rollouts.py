"""Which boxes get a detector when, and what stops that; and what the listener gives to whom."""

import errno
import random
import shutil
import ssl
from http.client import HTTPSConnection
from types import SimpleNamespace

import pytest

from collector.boxes import register, rollouts, systems
from collector.boxes.register import RegisterError
from collector.people.actor import SYSTEM
from collector.store import Box, open_store
from deploy.image.update import bundle as real_bundle
from protocol.detectors import PART_BYTES, ModelDesiredEvent, ModelReported, verified
from protocol.systems import SystemDesiredEvent, SystemReported
from tests.rollouts import Center, bundle
from tests.services import ROOT, run

NOW = 1_700_000_000_000


@pytest.fixture(scope="module")
def center(tmp_path_factory):
    one = Center(tmp_path_factory.mktemp("center"))
    yield one
    one.close()


class Fleet:
    """Ten boxes that are rows, and what they say."""

    def __init__(self, center, file):
        self.store = open_store(f"sqlite:///{file}")
        with self.store.writing() as session:
            for number in range(10):
                box = register.new_box(f"box-{number}", "east" if number < 4 else "west", NOW)
                box.standing, box.state = "enrolled", "online"
                session.add(box)
            wanted = {"name": "new", "boards": ["*"], "replaces": ["*"]}
            rollouts.add(session, center.authority, SYSTEM, b"a network", wanted, NOW)

    def do(self, what, *args):
        with self.store.writing() as session:
            return what(session, *args)

    def begin(self, steps, streets=None, most=10, name="new"):
        """Begin one; gives its number."""
        return self.do(lambda *args: rollouts.start(*args).number, SYSTEM, name, streets, NOW, steps, most)

    def step(self, now=NOW, what="model"):
        """Let the center go on; gives what goes out: to whom, and whether it is to be taken."""
        with self.store.writing() as session:
            rollouts.step(session, now)
            sent = {}
            for row, topic, payload in rollouts.due(session, "c"):
                assert str(topic) == f"cityeye/1/{session.get_one(Box, row.box_id).site}/{row.box_id}/{what}/desired"
                model = what == "model"
                data = (ModelDesiredEvent if model else SystemDesiredEvent).model_validate_json(payload).data
                sent[row.box_id] = (data.signed if model else data.bundle) is not None
                row.due = False
            return sent

    def say(self, number, box, state, board=None):
        reported = ModelReported(rollout=number, state=state)
        if board is not None:
            had = {"version": "0.1.0", "slot": "a", "compatible": board, "trial": False, "text": f"it is {state}"}
            reported = SystemReported(**had, rollout=number, state=state)
        with self.store.writing() as session:
            rollouts.take_reported(session, session.get_one(Box, box), reported, NOW)

    def look(self, number):
        """Its state, and the boxes of each group with theirs."""
        with self.store.transaction() as session:
            groups = {}
            for one, _ in rollouts.members(session, number):
                groups.setdefault(one.group, {})[one.box_id] = one.state
            row = rollouts.running(session)
            return "running" if row is not None else "ended", list(groups.values())

    def put(self, box, **values):
        with self.store.writing() as session:
            for name, value in values.items():
                setattr(session.get_one(Box, box), name, value)


@pytest.fixture(scope="module")
def fleet(center, tmp_path_factory):
    one = Fleet(center, tmp_path_factory.mktemp("fleet") / "center.db")
    yield one
    one.store.close()


def test_groups_follow_each_other_once_each_box_that_is_there_has_settled(fleet):
    number = fleet.begin([10, 30, 100])
    first, second, last = map(list, fleet.look(number)[1])
    assert [len(one) for one in (first, second, last)] == [1, 2, 7]
    assert fleet.step() == {first[0]: True}
    with pytest.raises(RegisterError, match="goes on"):
        fleet.begin([100])
    # what is of another roll-out changes nothing, and who decides nothing leads to no next group
    fleet.say(number + 1, first[0], "taken")
    for state in ("fetching", "shadow", "trial", "undecided"):
        fleet.say(number, first[0], state)
        assert fleet.step() == {}
    fleet.say(number, first[0], "taken")
    assert set(fleet.step()) == set(second)
    # one is away: it gets it when it comes, and holds up nobody
    fleet.put(second[1], state="offline")
    fleet.say(number, second[0], "taken")
    assert set(fleet.step()) == set(last)
    for box in (*last, second[1]):
        assert (fleet.step(), fleet.look(number)[0]) == ({}, "running")
        fleet.say(number, box, "taken")
    assert (fleet.step(), fleet.look(number)[0]) == ({}, "ended")
    fleet.put(second[1], state="online")


def test_too_many_failures_stop_it_and_nobody_else_gets_it(fleet):
    number = fleet.begin([50, 100], most=25)
    first, last = map(list, fleet.look(number)[1])
    assert fleet.step() == dict.fromkeys(first, True)
    fleet.say(number, first[0], "refused")
    fleet.say(number, first[1], "taken")
    assert (fleet.step(), fleet.look(number)[0]) == ({}, "running")
    # one that had taken it and goes back counts as well; who is still at it is told to leave it
    fleet.say(number, first[1], "rolled_back")
    assert fleet.step() == dict.fromkeys(first[2:], False)
    state, groups = fleet.look(number)
    assert (state, set(groups[1].values())) == ("ended", {"kept"})
    assert list(groups[1]) == last


def test_it_can_be_stopped_by_hand_and_goes_to_the_streets_that_were_named(fleet):
    number = fleet.begin([100], ["east"])
    assert sorted(fleet.step()) == ["box-0", "box-1", "box-2", "box-3"]
    fleet.say(number, "box-0", "taken")
    fleet.do(rollouts.stop, SYSTEM, number, NOW)
    assert fleet.step() == dict.fromkeys(("box-1", "box-2", "box-3"), False)
    with pytest.raises(RegisterError):
        fleet.do(rollouts.stop, SYSTEM, number, NOW)


def test_what_cannot_be_rolled_out_is_refused(fleet, center):
    for arguments, text in (
        (([50],), "end with 100"),
        (([50, 20, 100],), "growing"),
        (([100], None, 101), "growing"),
        (([100], ["north"]), "enrolled boxes"),
    ):
        with pytest.raises(RegisterError, match=text):
            fleet.begin(*arguments)
    for content, name in ((b"", "c"), (b"a network", "c"), (b"c", "new"), (b"c", "a/b")):
        wanted = {"name": name, "boards": ["*"], "replaces": ["*"]}
        with pytest.raises(RegisterError):
            fleet.do(rollouts.add, center.authority, SYSTEM, content, wanted, NOW)


def test_parts_go_to_boxes_of_this_center_only_and_older_detectors_make_room(center, tmp_path):
    content = bytes(range(256)) * 4800
    manifest = verified(center.add(content, "whole"), center.authority.pem)
    box = center.enrol(tmp_path / "state")
    path, size = f"/detectors/{manifest.sha256}", len(content)

    def get(asked="bytes=0-99", where=path, shown=True):
        context = ssl.create_default_context(cadata=center.authority.pem)
        if shown:
            context.load_cert_chain(tmp_path / "state" / "center" / "box.pem")
        line = HTTPSConnection("127.0.0.1", center.port, timeout=10, context=context)
        line.request("GET", where, headers={"range": asked})
        answer = line.getresponse()
        found = answer.status, answer.read(), answer.getheader("content-range")
        line.close()
        return found

    assert get() == (206, content[:100], f"bytes 0-99/{size}")
    assert get(f"bytes={size - 5}-{size + 99}") == (206, content[-5:], f"bytes {size - 5}-{size - 1}/{size}")
    assert len(get("bytes=0-9999999")[1]) == PART_BYTES
    assert [get(one)[0] for one in (f"bytes={size}-{size + 9}", "bytes=9-1", "bytes=-5", "")] == [416] * 4
    assert [get(where=f"/detectors/{one}")[0] for one in ("", "0" * 64, "../ca.key")] == [404] * 3
    assert get(shown=False)[0] == 401
    for number in range(rollouts.KEPT):
        center.add(bytes([number]), f"newer-{number}")
    assert get()[0] == 404
    with center.store.writing() as session:
        register.put_out(session, box, "revoked", NOW)
    assert get()[0] == 403


AMD64, ARM64 = "cityeye-amd64", "cityeye-arm64"


def test_a_system_goes_to_boxes_of_its_board_and_one_that_is_silent_on_trial_holds_up_the_others(fleet, tmp_path):
    systems.add(fleet.store, SYSTEM, bundle(tmp_path / "any"), tmp_path / "systems", NOW)
    name = f"{AMD64} 0.2.0"
    with pytest.raises(RegisterError, match="that it is for"):  # none has said yet what it has
        fleet.begin([100], name=name)
    for box in range(5):
        fleet.say(None, f"box-{box}", "none", ARM64 if box == 4 else AMD64)
    number = fleet.begin([50, 100], name=name)
    first, last = map(list, fleet.look(number)[1])
    assert sorted(first + last) == ["box-0", "box-1", "box-2", "box-3"]
    with pytest.raises(RegisterError, match="goes on"):
        fleet.begin([100])

    def step(hours=0.0):
        return fleet.step(NOW + round(hours * 3600_000), "system")

    assert step() == dict.fromkeys(first, True)
    # what has settled is told that it is over, so that a box that is set up anew does not go back to it
    fleet.say(number, first[0], "taken", AMD64)
    assert step() == {first[0]: False}
    fleet.say(number, first[0], "kept", AMD64)
    for state in ("fetching", "installing", "trial"):
        fleet.say(number, first[1], state, AMD64)
    fleet.put(first[1], state="offline")
    assert (step(1.9), fleet.look(number)[1][0]) == ({}, {first[0]: "taken", first[1]: "trial"})
    # by then it should have come back by itself
    assert step(2.1) == {first[1]: False}
    assert (fleet.look(number)[0], set(fleet.look(number)[1][1].values())) == ("ended", {"kept"})
    fleet.put(first[1], state="online")
    # another board's bundle of the same version is another one
    systems.add(fleet.store, SYSTEM, bundle(tmp_path / "arm", compatible=ARM64), tmp_path / "systems", NOW)
    with fleet.store.writing() as session:
        with pytest.raises(RegisterError, match="--board"):
            systems.named(session, "0.2.0", None)
        assert systems.named(session, "0.2.0", ARM64) == f"{ARM64} 0.2.0"
    number = fleet.begin([100], name=f"{ARM64} 0.2.0")
    assert step() == {"box-4": True}
    for state in ("trial", "rolled_back", "rolled_back"):
        fleet.say(number, "box-4", state, ARM64)
    assert (step(), fleet.look(number)[0]) == ({"box-4": False}, "ended")
    with fleet.store.transaction() as session:
        assert rollouts.members(session, number)[0][0].text == "it is rolled_back; it is trial"


def test_a_real_bundle_is_read_and_what_is_none_is_refused(center, tmp_path, monkeypatch):
    sound = bundle(tmp_path / "sound", version="1.0.0")
    for name, content in (("empty", b""), ("short", sound.read_bytes()[:-20])):
        (tmp_path / name).write_bytes(content)
    bundle(tmp_path / "plain", form="plain")
    bundle(tmp_path / "name", version="0.2 beta")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    for name, text, place, what in (
        ("none", "No such file", None, None),
        ("empty", "cut short or none", None, None),
        ("short", "cut short or none", None, None),
        ("plain", "form verity", None, None),
        ("name", "plain version", None, None),
        ("sound", "No space left", "os.fsync", full),
        ("sound", "MB free, got 1;", "shutil.disk_usage", lambda _: SimpleNamespace(free=1 << 20)),
    ):
        with monkeypatch.context() as patched:
            if place is not None:
                patched.setattr(place, what)
            with pytest.raises(RegisterError, match=text):
                center.add_system(tmp_path / name)
        assert not list(center.systems.glob("*")), name
    if shutil.which("rauc") is None or shutil.which("mksquashfs") is None:
        pytest.skip("needs rauc and mksquashfs")
    run(ROOT / "deploy/image/keys", tmp_path / "keys")
    (tmp_path / "root.img").write_bytes(random.Random(1).randbytes(100_000))
    real_bundle(tmp_path / "root.img", tmp_path / "real", compatible=ARM64, version="1.2.3", keys=tmp_path / "keys")
    one = center.add_system(tmp_path / "real")
    assert (one.version, one.compatible, one.size) == ("1.2.3", ARM64, (tmp_path / "real").stat().st_size)
    # the same again brings a file back that was lost
    systems.file_of(center.systems, one.sha256).unlink()
    assert center.add_system(tmp_path / "real") == one
    assert systems.file_of(center.systems, one.sha256).exists()
    # older ones of its board make room
    for number in range(rollouts.KEPT + 1):
        center.add_system(bundle(tmp_path / "one", b"%d" % number, version=f"0.{number}"))
    with center.store.transaction() as session:
        names = rollouts.stored(session, "system")
    assert len(names) == len(list(center.systems.iterdir())) == rollouts.KEPT + 1
    assert (f"{ARM64} 1.2.3" in names, f"{AMD64} 0.0" in names) == (True, False)

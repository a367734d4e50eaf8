"""Which boxes get a detector when, and what stops that; and what the listener gives to whom."""

import shutil
import ssl
from http.client import HTTPSConnection

import pytest
from sqlalchemy import select

from collector.boxes import register, rollouts
from collector.boxes.register import RegisterError
from collector.store import AuditRow, Box, RolloutBox, open_store
from protocol.detectors import PART_BYTES, Compared, ModelDesiredEvent, ModelReported, verified
from protocol.messages import Model
from protocol.topics import Topic
from tests.rollouts import QUICK, SYSTEM, Center

NOW = 1_700_000_000_000
GOOD, BAD = "taken", "refused"


class Fleet:
    """Boxes that are rows, and what they say."""

    def __init__(self, file):
        self.store = open_store(f"sqlite:///{file}")

    def do(self, what, *args, **more):
        with self.store.writing() as session:
            return what(session, *args, **more)

    def step(self):
        self.do(rollouts.step, NOW)

    def send(self):
        """What goes out, by box."""
        with self.store.writing() as session:
            sent = {}
            for row, topic, payload in rollouts.due(session, "c"):
                assert topic == Topic(session.get_one(Box, row.box_id).site, row.box_id, "model/desired")
                event = ModelDesiredEvent.model_validate_json(payload)
                sent[row.box_id], row.sent_ms = event.data.action, NOW
            return sent

    def say(self, box, state, rollout=1, **more):
        reported = ModelReported(rollout=rollout, state=state, board=("x86_64",), **more)
        with self.store.writing() as session:
            rollouts.take_reported(session, session.get_one(Box, box), reported, NOW)

    def states(self):
        with self.store.transaction() as session:
            row = rollouts.of(session, 1)
            return row.state, row.group, {one.box_id: one.state for one in rollouts.members(session, 1)}

    def groups(self):
        with self.store.transaction() as session:
            groups = {}
            for one in rollouts.members(session, 1):
                groups.setdefault(one.group, []).append(one.box_id)
            return list(groups.values())


@pytest.fixture(scope="module")
def center(tmp_path_factory):
    one = Center(tmp_path_factory.mktemp("center"))
    yield one
    one.close()


@pytest.fixture(scope="module")
def filled(center, tmp_path_factory):
    """A database with ten boxes and a detector."""
    file = tmp_path_factory.mktemp("fleet") / "center.db"
    fleet = Fleet(file)
    with fleet.store.writing() as session:
        for number in range(10):
            box = register.new_box(f"box-{number}", "east" if number < 4 else "west", NOW)
            box.standing, box.state = "enrolled", "online"
            session.add(box)
    wanted = {"name": "new", "boards": ["*"], "replaces": ["*"], "limits": QUICK}
    fleet.do(rollouts.add, center.authority, SYSTEM, b"a network", wanted, NOW)
    fleet.store.close()
    return file


@pytest.fixture
def fleet(filled, tmp_path):
    one = Fleet(shutil.copy(filled, tmp_path))
    yield one
    one.store.close()


def begin(fleet, **more):
    fleet.do(rollouts.start, SYSTEM, "new", NOW, **{"streets": None} | more)


def test_groups_follow_each_other_once_each_box_that_is_there_has_settled(fleet):
    begin(fleet, boxes=["box-7"], steps=[20, 100])
    first, second, last = fleet.groups()
    assert (first, len(second), len(last)) == (["box-7"], 2, 7)
    assert fleet.send() == {"box-7": "take"}
    assert fleet.send() == {}
    for state in ("fetching", "shadow", "trial"):
        fleet.say("box-7", state)
        fleet.step()
        assert fleet.send() == {}
    fleet.say("box-7", GOOD)
    fleet.step()
    assert set(fleet.send()) == set(second)
    # one is away: it gets it when it comes, and holds up nobody
    fleet.do(lambda session: setattr(session.get_one(Box, second[1]), "state", "offline"))
    fleet.say(second[0], GOOD, compared=Compared(pictures=2, finds=9, recall=1.0))
    fleet.step()
    assert set(fleet.send()) == set(last)
    for box in last:
        fleet.say(box, GOOD)
    fleet.step()
    assert fleet.states()[0] == "running"
    fleet.say(second[1], "undecided")
    fleet.step()
    assert fleet.states()[0] == "done"


def test_too_many_refusals_stop_it_and_nobody_else_gets_it(fleet):
    begin(fleet, steps=[50, 100], most=0.25)
    first, last = fleet.groups()
    fleet.send()
    fleet.say(first[0], BAD, text="worse")
    fleet.step()
    assert fleet.states()[0] == "running"
    fleet.say(first[1], GOOD)
    # one that had taken it and goes back counts as well
    fleet.say(first[2], "rolled_back")
    fleet.step()
    state, _, boxes = fleet.states()
    assert (state, {boxes[one] for one in last}) == ("stopped", {"kept"})
    # who is still at it is told to leave it; who has taken it keeps it
    assert fleet.send() == dict.fromkeys(first[3:], "keep")
    with fleet.store.transaction() as session:
        row = session.scalars(select(AuditRow).where(AuditRow.action == "rollout.stopped")).one()
    assert "2 of 5 boxes of group 1" in row.detail


def test_nobody_but_undecided_ones_leads_to_no_next_group(fleet):
    begin(fleet, steps=[10, 100])
    fleet.send()
    fleet.say(fleet.groups()[0][0], "undecided")
    fleet.step()
    assert fleet.states()[:2] == ("running", 1)


def test_it_can_be_stopped_and_sent_back_by_hand(fleet):
    begin(fleet, steps=[100], streets=["east"])
    (boxes,) = fleet.groups()
    assert sorted(boxes) == ["box-0", "box-1", "box-2", "box-3"]
    fleet.send()
    fleet.say("box-0", GOOD, model=Model(name="new", sha256="a" * 64))
    fleet.do(rollouts.stop, SYSTEM, 1, NOW)
    others = [one for one in boxes if one != "box-0"]
    assert fleet.send() == dict.fromkeys(others, "keep")
    for one in others:
        fleet.say(one, "kept")
    fleet.do(rollouts.back, SYSTEM, 1, NOW)
    assert fleet.send() == {"box-0": "back"}
    for act in (rollouts.stop, rollouts.back):
        with pytest.raises(RegisterError):
            fleet.do(act, SYSTEM, 1, NOW)


def test_a_box_that_may_not_have_heard_is_told_again_and_one_that_is_out_is_not_waited_for(fleet):
    begin(fleet, steps=[100])
    fleet.send()
    fleet.say("box-1", GOOD)
    fleet.do(lambda session: register.put_out(session, "box-2", "revoked", NOW) and None)
    fleet.do(lambda session: setattr(session.get_one(RolloutBox, (1, "box-3")), "sent_ms", NOW - 300_000))
    fleet.step()
    assert fleet.send() == {"box-3": "take"}
    assert fleet.states()[2]["box-2"] == "kept"


def test_what_another_box_or_roll_out_says_changes_nothing(fleet):
    begin(fleet, steps=[10, 100])
    first, last = fleet.groups()
    fleet.say(first[0], BAD, rollout=2)
    fleet.say(last[0], BAD)
    assert set(fleet.states()[2].values()) == {"waiting"}


def test_what_cannot_be_rolled_out_is_refused(fleet):
    for more, text in (
        ({"steps": [50]}, "end with 100"),
        ({"steps": [50, 20, 100]}, "growing"),
        ({"most": 1.5}, "from 0 to 1"),
        ({"streets": ["north"]}, "expected enrolled boxes"),
        ({"boxes": ["box-99"]}, "these are not: box-99"),
    ):
        with pytest.raises(RegisterError, match=text):
            begin(fleet, **more)


def test_one_at_a_time_and_none_that_is_gone(fleet):
    begin(fleet)
    with pytest.raises(RegisterError, match="goes on"):
        begin(fleet)
    with pytest.raises(RegisterError, match="stop it first"):
        fleet.do(rollouts.remove, SYSTEM, "new", NOW)
    fleet.do(rollouts.stop, SYSTEM, 1, NOW)
    fleet.do(rollouts.remove, SYSTEM, "new", NOW)
    with pytest.raises(RegisterError, match="a detector of this center .none."):
        begin(fleet)


def test_the_center_signs_with_one_key_and_says_what_a_detector_is_for(center):
    manifests = [verified(center.add(name.encode(), name), center.authority.pem) for name in ("a", "b")]
    assert [(one.name, one.size) for one in manifests] == [("a", 1), ("b", 1)]
    for content, name in ((b"", "c"), (b"a", "c"), (b"c", "a"), (b"c", "a/b")):
        with pytest.raises(RegisterError):
            center.add(content, name)


def test_parts_go_to_boxes_of_this_center_only(center, tmp_path):
    content = bytes(range(256)) * 1200
    manifest = verified(center.add(content, "whole"), center.authority.pem)
    box = center.enrol(tmp_path / "state")
    path = f"/detectors/{manifest.sha256}"

    def get(where=path, asked="bytes=0-99", shown=True):
        context = ssl.create_default_context(cadata=center.authority.pem)
        if shown:
            context.load_cert_chain(tmp_path / "state" / "center" / "box.pem")
        line = HTTPSConnection("127.0.0.1", center.port, timeout=10, context=context)
        line.request("GET", where, headers={"range": asked})
        answer = line.getresponse()
        found = answer.status, answer.read(), answer.getheader("content-range")
        line.close()
        return found

    size = len(content)
    assert get() == (206, content[:100], f"bytes 0-99/{size}")
    assert get(asked=f"bytes={size - 5}-{size + 99}") == (206, content[-5:], f"bytes {size - 5}-{size - 1}/{size}")
    assert len(get(asked="bytes=0-9999999")[1]) == PART_BYTES
    wrong = [(path, f"bytes={size}-{size + 9}"), (path, "bytes=9-1"), (path, "bytes=-5"), (path, "")]
    assert [get(where, asked)[0] for where, asked in wrong] == [416] * 4
    assert [get(f"/detectors/{one}")[0] for one in ("", "0" * 64, "../ca.key")] == [404] * 3
    assert get(shown=False)[0] == 401
    with center.store.writing() as session:
        register.put_out(session, box, "revoked", NOW)
    assert get()[0] == 403

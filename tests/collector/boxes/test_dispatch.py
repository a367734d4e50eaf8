"""Commands and settings at the center, on either database, without a box."""

import hashlib
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from collector.boxes import orders, wanted
from collector.boxes.dispatch import Dispatch
from collector.boxes.orders import OrderError
from collector.boxes.wanted import WantedError
from collector.inbox.intake import Delivery
from collector.store import Box, CameraRow, CommandPicture, CommandRow, Refused, SettingsReport, SettingsRow
from protocol.commands import CommandEvent, Reply, ReplyEvent
from protocol.desired import MAX_SETTINGS_BYTES, DesiredEvent, Edit, Reported, ReportedEvent
from protocol.instants import from_epoch
from protocol.messages import CameraEvent, CameraState, dataschema, read_event
from protocol.pictures import AnswerHeader
from protocol.settings import CamerasDocument
from tests import incidents
from tests.incidents import jpeg

NOW_MS = 1_780_000_100_000


class Line:
    """What a dispatch publishes, on a clock that is set by hand."""

    def __init__(self, desk):
        self.desk, self.now_ms, self.online, self.published = desk, NOW_MS, True, []
        self.dispatch = Dispatch(desk.store, "c", self.publish, lambda: self.now_ms / 1000)

    def publish(self, topic, payload, **more):
        if self.online:
            self.published.append((str(topic), payload, more))
        return self.online

    def step(self, later_ms=0):
        self.now_ms += later_ms
        self.published.clear()
        self.dispatch.step()
        return [topic.rpartition("box-1/")[2] for topic, _, _ in self.published]


@pytest.fixture
def line(desk):
    desk.take(incidents.status())
    desk.take(incidents.status(box="box-2"))
    return Line(desk)


def ask(desk, verb="snapshot", args=None, command="c1", box="box-1"):
    with desk.store.writing() as session:
        args = {"camera": "cam-1"} if args is None else args
        orders.ask(session, box, verb, args, command=command, by="alice", now_ms=NOW_MS)


def row(desk, kind=CommandRow, key="c1"):
    return desk.get(kind, key)


def event(kind, leaf, data, box="box-1"):
    about = {"id": "e", "source": f"/cityeye/s/{box}", "type": "t", "time": from_epoch(NOW_MS / 1000)}
    text = kind(**about, dataschema=dataschema(leaf.replace("/", "-")), data=data).to_json()
    return Delivery(f"cityeye/1/s/{box}/{leaf}", text)


def reply(outcome="ok", command="c1", box="box-1", **more):
    return event(ReplyEvent, "reply", Reply(command=command, outcome=outcome, **more), box)


def reported(box="box-1", **values):
    return event(ReportedEvent, "settings/reported", Reported(digest="0" * 64, **values), box)


def picture(command="c1", number=1, sha256=None, view="wide"):
    data = jpeg(number)
    sha256 = sha256 or hashlib.sha256(data).hexdigest()
    header = AnswerHeader(command=command, role="snapshot", view=view, sha256=sha256)
    return Delivery("cityeye/1/s/box-1/evidence/cam-1", data, tuple(header.to_properties()), "image/jpeg")


def refusals(desk):
    return desk.rows(select(Refused.code).order_by(Refused.id))


def document(*names):
    return CamerasDocument.model_validate({"camera": [{"id": name, "source": "clip.mp4"} for name in names]})


def want(desk, *names, based_on=None):
    return desk.write(wanted.want, "box-1", document(*names), by="alice", now_ms=NOW_MS, based_on=based_on).revision


def history(desk):
    return [(one.revision, one.by, one.state) for one in desk.read(wanted.history, "box-1")]


def test_a_command_is_sent_until_it_is_answered(desk, line):
    ask(desk)
    assert line.step() == ["command"]
    (_, payload, more) = line.published[0]
    sent = read_event(payload, CommandEvent)
    assert (sent.id, sent.data.verb, sent.data.args, more) == ("c1", "snapshot", {"camera": "cam-1"}, {"expiry_s": 60})
    assert line.step(9_000) == []
    assert line.step(1_000) == ["command"]
    desk.take(reply(data={"a": 1}))
    assert line.step(20_000) == []
    done = row(desk)
    assert (done.state, json.loads(done.data), done.by) == ("ok", {"a": 1}, "alice")


def test_without_a_line_it_waits_and_expires_unsent(desk, line):
    line.online = False
    ask(desk)
    line.step()
    assert row(desk).state == "waiting"
    line.online = True
    assert line.step(60_000) == []
    line.step(31_000)
    assert (row(desk).state, row(desk).text.split(":")[0]) == ("timed_out", "it was never sent")


def test_a_silent_box_is_given_up_and_a_late_answer_counts(desk, line):
    ask(desk)
    line.step()
    line.step(89_000)
    assert row(desk).state == "sent"
    line.step(5_000)
    assert (row(desk).state, row(desk).code) == ("timed_out", "timed_out")
    desk.take(reply())
    assert row(desk).state == "ok"


def test_what_was_accepted_is_followed_to_its_end(desk, line):
    ask(desk, "restart", {})
    line.step()
    desk.take(reply("accepted"))
    assert line.step(80_000) == []
    assert row(desk).state == "accepted"
    desk.take(reply("ok", text="again"), reply("accepted"), reply("failed"))
    assert (row(desk).state, row(desk).text) == ("ok", "again")
    ask(desk, "restart", {}, "c2")
    desk.take(reply("accepted", "c2"))
    line.step(181_000)
    assert row(desk, key="c2").state == "timed_out"


def test_a_sealed_secret_is_gone_once_it_was_answered(desk, line):
    ask(desk, "secret", {"name": "cam-1", "sealed": "abcd"})
    assert "abcd" in row(desk).args
    desk.take(reply())
    assert json.loads(row(desk).args) == {"name": "cam-1"}


@pytest.mark.parametrize(
    ("delivery", "code"),
    [
        (reply(command="c9"), "unknown_command"),
        (reply(box="box-2"), "wrong_box"),
        (picture("c9"), "unknown_command"),
        (picture(sha256="0" * 64), "wrong_hash"),
        (Delivery("cityeye/1/s/box-1/reply", b"{}"), "invalid"),
    ],
)
def test_what_answers_nothing_of_this_center_is_refused(desk, line, delivery, code):
    ask(desk)
    desk.take(delivery)
    assert refusals(desk) == [code]
    assert row(desk).state == "waiting"


def test_pictures_of_commands_are_kept_for_a_day(desk, line):
    ask(desk)
    desk.take(picture(), picture(), picture(view="close", number=2))
    kept = desk.rows(select(CommandPicture).order_by(CommandPicture.view))
    assert [(one.view, one.jpeg) for one in kept] == [("close", jpeg(2)), ("wide", jpeg(1))]
    line.step(24 * 3600 * 1000 - 1000)
    assert row(desk, CommandPicture, ("c1", "wide")) is not None
    line.step(3_000)
    line.step(60_000)
    assert row(desk, CommandPicture, ("c1", "wide")) is None


def test_pictures_of_commands_cannot_fill_the_database(desk, line):
    ask(desk)
    desk.take(*(picture(view=view, number=n) for n, view in enumerate(("a", "b", "c", "d", "e"), 1)))
    assert [row(desk, CommandPicture, ("c1", view)) is not None for view in "abcde"] == [True] * 4 + [False]
    ask(desk, command="c2")
    desk.take(reply(command="c2"))
    desk.take(picture("c2"))
    with desk.store.transaction() as session:
        session.get_one(CommandRow, "c2").replied_ms -= 61_000
    desk.take(picture("c2", view="close"))
    assert row(desk, CommandPicture, ("c2", "wide")) is not None
    assert row(desk, CommandPicture, ("c2", "close")) is None
    assert refusals(desk) == []


def test_late_pictures_are_kept_as_their_reply_counts(desk, line):
    ask(desk)
    line.step()
    line.step(500_000)
    assert row(desk).state == "timed_out"
    desk.now_s = (NOW_MS + 500_000) / 1000
    desk.take(picture(), reply())
    assert row(desk).state == "ok"
    assert row(desk, CommandPicture, ("c1", "wide")) is not None


@pytest.mark.parametrize(
    ("box", "verb", "args"),
    [("box-9", "restart", {}), ("box-1", "fly", {}), ("box-1", "snapshot", {}), ("box-1", "restart", {"now": 1})],
)
def test_what_no_box_would_take_is_not_asked(desk, line, box, verb, args):
    with pytest.raises(OrderError):
        ask(desk, verb, args, box=box)
    assert line.step() == []


def test_a_revision_is_published_once_and_its_fate_is_kept(desk, line):
    assert (want(desk, "a"), want(desk, "b")) == (1, 2)
    assert line.step() == ["settings/desired"]
    _, payload, more = line.published[0]
    sent = read_event(payload, DesiredEvent, MAX_SETTINGS_BYTES).data
    assert (sent.revision, sent.document, more) == (2, document("b").values(), {"retain": True})
    assert line.step() == []
    desk.take(reported(revision=0, state="pending", wanted=2))
    assert history(desk)[0] == (2, "alice", "pending")
    desk.take(reported(revision=0, state="rolled_back", wanted=2, errors=("no",)))
    assert history(desk) == [(2, "alice", "rolled_back"), (1, "alice", "wanted")]
    assert line.step(60_000) == []


def test_a_box_that_knows_nothing_of_it_is_told_again(desk, line):
    want(desk, "a")
    line.step()
    desk.writer._now = lambda: NOW_MS / 1000 + 60
    desk.take(reported(revision=0, state="applied"))
    assert line.step() == ["settings/desired"]


def test_a_revision_lost_on_its_way_is_sent_again_while_connected(desk, line):
    want(desk, "a")
    want(desk, "b")
    sent = []
    for second in range(0, 1500, 10):
        sent += [second] * len(line.step(10_000 if second else 0))
    assert sent == [0, 60, 120, 240, 480, 960]
    assert line.step(50_000) == []  # from here on each ten minutes
    assert line.step(60_000) == ["settings/desired"]
    desk.take(reported(revision=0, state="rejected", wanted=2, errors=("no",)))
    assert line.step(3_600_000) == []


def test_a_revision_is_not_sent_again_to_an_absent_box(desk, line):
    want(desk, "a")
    assert line.step() == ["settings/desired"]
    desk.take(incidents.status("offline"))
    assert line.step(120_000) == []
    desk.take(incidents.status())
    assert line.step(120_000) == ["settings/desired"]


def test_an_edit_on_the_newest_is_the_next_and_others_conflict(desk, line):
    def edit(based_on, *names):
        made = document(*names)
        return Edit(based_on=based_on, digest=made.digest(), document=made.values())

    first = reported(revision=0, state="applied", edit=edit(0, "a"))
    desk.take(first, first)
    assert history(desk) == [(1, "box", "applied")]
    assert line.step() == ["settings/desired"]
    assert read_event(line.published[0][1], DesiredEvent).data.answers == document("a").digest()
    want(desk, "b")
    for _ in range(2):
        desk.take(reported(revision=1, state="applied", edit=edit(1, "c")))
    assert history(desk) == [(None, "box", "conflict"), (2, "alice", "wanted"), (1, "box", "applied")]
    line.step()
    last = read_event(line.published[0][1], DesiredEvent).data
    assert (last.revision, last.document, last.answers) == (2, document("b").values(), document("c").digest())


def test_a_box_ahead_of_a_restored_center_gets_what_it_will_take(desk, line):
    desk.take(reported(revision=7, state="applied", wanted=7))
    assert want(desk, "a") == 8


def test_a_box_that_replaces_another_gets_its_settings(desk, line):
    want(desk, "a")
    want(desk, "b")
    line.step()
    desk.write(wanted.inherit, "box-1", "box-2", by="alice", now_ms=NOW_MS)
    desk.write(wanted.inherit, "box-9", "box-2", by="alice", now_ms=NOW_MS)
    line.step()
    ((topic, payload, _),) = line.published
    sent = read_event(payload, DesiredEvent).data
    assert (topic, sent.revision) == ("cityeye/1/s/box-2/settings/desired", 1)
    assert sent.document == document("b").values()


def test_an_edit_of_an_old_revision_is_refused(desk, line):
    want(desk, "a")
    with pytest.raises(WantedError, match="revision 1"):
        want(desk, "b", based_on=0)
    assert want(desk, "b", based_on=1) == 2


def test_settings_that_the_line_does_not_bear_are_refused(desk, line):
    with pytest.raises(WantedError, match="131072 bytes"):
        want(desk, *(f"cam-{number}" for number in range(4000)))


def test_a_camera_that_was_taken_out_is_forgotten(desk, line):
    state = CameraState(camera="cam-1", state="live", since=from_epoch(NOW_MS / 1000))
    live = event(CameraEvent, "camera", state)
    desk.take(replace(live, topic=f"{live.topic}/cam-1"))
    assert row(desk, CameraRow, ("box-1", "cam-1")) is not None
    desk.take(Delivery("cityeye/1/s/box-1/camera/cam-1", b""))
    assert row(desk, CameraRow, ("box-1", "cam-1")) is None


def test_the_key_for_secrets_is_the_newest(desk, line):
    assert row(desk, Box, "box-1").encryption_key is None
    desk.take(incidents.status(encryption_key="k1"), incidents.status(encryption_key="k2"), incidents.status())
    assert row(desk, Box, "box-1").encryption_key == "k2"


@given(st.binary(max_size=300) | st.text(max_size=100).map(lambda text: json.dumps({"data": text}).encode()))
def test_rubbish_is_refused_and_counted(payload):
    for model in (ReplyEvent, ReportedEvent, DesiredEvent, CommandEvent):
        with pytest.raises(ValueError, match=r"."):
            read_event(payload, model)


def test_tables_hold_what_came(desk, line):
    desk.take(reported(revision=3, state="rejected", wanted=4, errors=("a\x01b",)))
    report = row(desk, SettingsReport, "box-1")
    assert (report.revision, json.loads(report.errors)) == (3, ["a\x01b"])
    assert row(desk, SettingsRow, 1) is None


ANSWER = {"command": "c1", "outcome": "ok"}
REPORT = {"revision": 1, "digest": "0" * 64, "state": "applied"}
EDIT = {"based_on": 0, "digest": "0" * 64}
HOSTILE = (
    ANSWER | {"text": "\x00"},
    ANSWER | {"text": "\ud800"},
    ANSWER | {"code": "DROP TABLE"},
    ANSWER | {"command": "c1\x00"},
    ANSWER | {"outcome": "o" * 100},
    ANSWER | {"text": "x" * 2000},
    REPORT | {"revision": 2**70},
    REPORT | {"revision": -1},
    REPORT | {"state": "applied\x00"},
    REPORT | {"errors": ["\ud800"]},
    REPORT | {"errors": ["x"] * 60},
    REPORT | {"edit": EDIT | {"document": {"x": 1}}},
    REPORT | {"edit": EDIT | {"document": {"camera": [{"id": "c", "source": "x", "credentials": "\ud800"}]}}},
)


@pytest.mark.parametrize("data", HOSTILE)
def test_hostile_replies_are_refused_and_the_next_is_taken(desk, line, data):
    ask(desk)
    leaf = "reply" if "command" in data else "settings/reported"
    good = json.loads((reply() if leaf == "reply" else reported(revision=0, state="applied")).payload)
    desk.take(Delivery(f"cityeye/1/s/box-1/{leaf}", json.dumps({**good, "data": data}).encode()))
    assert len(refusals(desk)) == 1
    assert (row(desk).state, history(desk)) == ("waiting", [])
    desk.take(Delivery("cityeye/1/s/box-1/reply", reply().payload))
    assert row(desk).state == "ok"

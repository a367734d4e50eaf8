"""Commands: each runs once, and never after it expired, whatever the line, the clock and the power do."""

import contextlib
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from agent.uplink.executor import MAX_UNSENT, MAX_WAITING, Answer, AnswerPicture, CommandError, Executor, Journal
from protocol.commands import VERBS, Command, CommandEvent, read_arguments
from protocol.instants import from_epoch
from protocol.messages import MessageError, dataschema, read_event
from protocol.pictures import AnswerHeader
from tests.services import wait_for

CENTER_S = 1_780_000_000.0


class PowerCutError(BaseException):
    """The agent ends in the middle; nothing of it catches this."""


class Box:
    """An executor with clocks that are set by hand, and a center that hears its replies."""

    def __init__(self, path=None):
        self.path = path
        self.center_s, self.offset_s = CENTER_S, 0.0
        self.knows_center = True
        self.uptime_s = 100.0
        self.online = True
        self.ran, self.replies, self.topics = [], [], []
        self.then = lambda: Answer("done")
        self.open()

    def open(self):
        self.journal = Journal(self.path)
        self.executor = Executor(
            site="s",
            box="box-1",
            journal=self.journal,
            verbs=dict.fromkeys(VERBS, self.carry_out),
            publish=self.publish,
            now=lambda: self.center_s + self.offset_s,
            monotonic=lambda: self.uptime_s,
            center_now=lambda: self.center_s if self.knows_center else None,
        )

    def carry_out(self, command, _args):
        self.ran.append((command, self.center_s))
        return self.then()

    def publish(self, leaf, payload, **more):
        if self.online:
            self.topics.append((leaf, more))
            if leaf == "reply":
                self.replies.append(json.loads(payload)["data"])
        return self.online

    def take(self, payload, received_s=None):
        self.executor.carry_out(payload, self.uptime_s if received_s is None else received_s)


def command(name="c1", verb="restart", args=None, asked_s=CENTER_S, life_s=60.0):
    return CommandEvent(
        id=name,
        source="/cityeye/center/c",
        type="cityeye.box.command",
        time=from_epoch(asked_s),
        dataschema=dataschema("command"),
        data=Command(verb=verb, args=args or {}, expires_at=from_epoch(asked_s + life_s)),
    ).to_json()


def test_a_repeated_command_gets_the_same_reply_and_does_not_run_again():
    box = Box()
    for _ in range(3):
        box.take(command())
    assert len(box.ran) == 1
    assert [one["text"] for one in box.replies] == ["done"] * 3


@pytest.mark.parametrize(
    ("given_command", "outcome", "code"),
    [
        (command(verb="fly"), "refused", "unknown_verb"),
        (command(verb="snapshot"), "refused", "invalid"),
        (command(verb="snapshot", args={"camera": "cam-1", "zom": 1}), "refused", "invalid"),
        (command(verb="verify", args={"camera": "cam-1"}), "refused", "invalid"),
        (command(verb="verify", args={"camera": "a", "zone": "b", "incident": "i"}), "refused", "invalid"),
        (command(verb="scene", args={"camera": "cam-1", "action": "burn"}), "refused", "invalid"),
        (command(verb="resend", args={"since": "yesterday"}), "refused", "invalid"),
        (command(asked_s=CENTER_S - 60), "expired", "expired"),
        (command(life_s=0), "expired", "expired"),
        (command(life_s=-5), "expired", "expired"),
    ],
)
def test_what_is_not_carried_out_is_answered_and_remembered(given_command, outcome, code):
    box = Box()
    box.take(given_command)
    box.center_s -= 3600  # even where the center's clock were set back
    box.take(given_command)
    assert box.ran == []
    assert [(one["outcome"], one["code"]) for one in box.replies] == [(outcome, code)] * 2


def test_the_clock_of_the_box_does_not_matter():
    box = Box()
    box.offset_s = -86400.0
    box.take(command("c1", asked_s=CENTER_S - 61))
    box.take(command("c2"))
    assert [name for name, _ in box.ran] == ["c2"]


def test_where_the_centers_time_is_not_known_a_command_lives_from_its_receipt():
    box = Box()
    box.knows_center = False
    box.take(command("c1", asked_s=CENTER_S - 7200), received_s=box.uptime_s - 59)
    box.take(command("c2", asked_s=CENTER_S - 7200), received_s=box.uptime_s - 60)
    assert [name for name, _ in box.ran] == ["c1"]


def test_a_failure_is_told_without_the_errors_own_text():
    box = Box()
    box.then = lambda: 1 / 0
    box.take(command("c1"))

    def refuse():
        raise CommandError("not_ready", "ask again\x00 later")

    box.then = refuse
    box.take(command("c2"))
    assert [(one["outcome"], one["code"], one["text"]) for one in box.replies] == [
        ("failed", "internal", "an error of the agent (ZeroDivisionError); its log says more"),
        ("failed", "not_ready", "ask again  later"),
    ]


def test_a_reply_waits_for_the_line(tmp_path):
    box = Box(tmp_path / "commands.db")
    box.online = False
    box.take(command())
    assert box.replies == []
    box.journal.close()
    box.open()
    box.online = True
    box.executor._between()
    box.executor._between()
    assert [one["outcome"] for one in box.replies] == ["ok"]


def with_pictures(*views):
    pictures = [
        AnswerPicture("cam-1", AnswerHeader(command="c1", role="snapshot", view=view, sha256="0" * 64), b"jpeg")
        for view in views
    ]
    return Answer("seen", {"sha256": "0" * 64}, pictures)


def test_a_reply_goes_after_its_pictures_or_not_yet(tmp_path):
    box = Box(tmp_path / "commands.db")
    box.then = lambda: with_pictures("wide", "close")
    publish = box.publish
    room = [1]  # the line breaks after the first picture

    def breaking(*sent, **more):
        room[0] -= 1
        return room[0] >= 0 and publish(*sent, **more)

    box.publish = breaking
    box.journal.close()
    box.open()
    box.take(command())
    box.take(command())  # asked again meanwhile
    assert [leaf for leaf, _ in box.topics] == ["evidence"]
    room[0] = 99
    box.executor._between()
    box.executor._between()
    assert [leaf for leaf, _ in box.topics] == ["evidence", "evidence", "reply"]
    assert [dict(more["user"])["view"] for _, more in box.topics[:2]] == ["wide", "close"]
    box.take(command())
    assert [(one["outcome"], one["data"]) for one in box.replies] == [("ok", {"sha256": "0" * 64})] * 2


def test_a_reply_does_not_name_pictures_that_an_end_of_the_agent_has_lost(tmp_path):
    box = Box(tmp_path / "commands.db")
    box.then = lambda: with_pictures("wide")
    box.online = False
    box.take(command())
    box.journal.close()
    box.open()
    box.online = True
    box.executor.start()
    box.executor.stop()
    box.executor._between()
    assert [(one["outcome"], one["code"], one["data"]) for one in box.replies] == [("failed", "pictures_lost", {})]


def test_replies_that_wait_for_their_pictures_are_few():
    box = Box()
    box.then = lambda: with_pictures("wide")
    box.online = False
    for number in range(MAX_UNSENT + 2):
        box.take(command(f"c{number}"))
    box.online = True
    box.executor._between()
    assert [one["outcome"] for one in box.replies] == ["failed"] * 2 + ["ok"] * MAX_UNSENT
    assert not box.executor._unsent


def test_what_goes_on_is_done_when_the_agent_runs_again(tmp_path):
    box = Box(tmp_path / "commands.db")
    order = []
    box.then = lambda: Answer("going", after=lambda: order.append(len(box.replies)))
    box.take(command())
    assert order == [1]
    box.journal.close()
    box.open()
    box.executor.start()
    box.executor.stop()
    box.executor._between()
    assert [one["outcome"] for one in box.replies] == ["accepted", "ok"]
    assert len(box.ran) == 1


def test_the_queue_is_bounded(caplog):
    box = Box()
    for number in range(MAX_WAITING + 5):
        box.executor.take(command(f"c{number}"))
    assert box.executor._queue.qsize() == MAX_WAITING
    assert "what comes is left" in caplog.text


def test_the_newest_wish_has_a_place_however_much_waits():
    box, done = Box(), []
    for number in range(MAX_WAITING + 5):
        box.executor.take(command(f"c{number}"))
    for number in range(3):
        box.executor.put_newest(lambda number=number: done.append(number))
    box.executor.start()
    wait_for(lambda: done and len(box.ran) == MAX_WAITING, "all is done")
    box.executor.put_newest(lambda: done.append("later"))
    wait_for(lambda: done == [2, "later"], "an idle one is woken", 0.9)
    box.executor.stop()


def test_a_damaged_journal_is_put_aside(tmp_path):
    path = tmp_path / "commands.db"
    path.write_bytes(b"no database" * 100)
    Journal(path).begin("c1", "restart", 0.0)
    assert path.with_suffix(".damaged").exists()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


@given(st.binary(max_size=300) | JSON.map(lambda value: json.dumps(value).encode()))
def test_rubbish_is_no_command(payload):
    box = Box()
    box.take(payload)
    assert (box.ran, box.replies) == ([], [])


@given(
    st.fixed_dictionaries({}, optional={"verb": JSON, "args": JSON, "expires_at": JSON}),
    st.sampled_from(["verb", "args", "expires_at", None]),
)
def test_a_command_with_wrong_parts_runs_nothing(parts, kept):
    values = json.loads(command())
    values["data"] = {**({kept: values["data"][kept]} if kept else {}), **parts}
    box = Box()
    box.take(json.dumps(values).encode())
    try:
        event = read_event(json.dumps(values).encode(), CommandEvent)
        read_arguments(event.data.verb, event.data.args)
    except MessageError:
        assert box.ran == []


@given(st.sampled_from([*VERBS, "fly"]), st.dictionaries(st.text(max_size=12), JSON, max_size=4))
def test_arguments_are_read_or_refused(verb, args):
    """Nothing but MessageError comes out of it."""
    with contextlib.suppress(MessageError):
        assert read_arguments(verb, args).model_fields_set == set(args)


class Hazards(RuleBasedStateMachine):
    """A box, its center, and everything that may happen between them."""

    @initialize()
    def begin(self):
        self.folder = tempfile.TemporaryDirectory()
        self.box = Box(Path(self.folder.name) / "commands.db")
        self.sent = {}
        self.expiries = {}

    @rule(life_s=st.sampled_from([1.0, 60.0, 700.0]))
    def ask(self, life_s):
        name = f"c{len(self.sent)}"
        self.sent[name] = command(name, asked_s=self.box.center_s, life_s=life_s)
        self.expiries[name] = self.box.center_s + life_s

    @rule(number=st.integers(0, 30), queued_s=st.sampled_from([0.0, 5.0, 90.0]))
    def arrive(self, number, queued_s):
        """Any command comes, for the first time or again, and may lie in the queue for a while."""
        if self.sent:
            name = f"c{number % len(self.sent)}"
            received_s = self.box.uptime_s
            self.advance(queued_s)
            self.box.take(self.sent[name], received_s)

    @rule(number=st.integers(0, 30))
    def arrive_and_lose_power(self, number):
        if self.sent:
            self.box.then = lambda: (_ for _ in ()).throw(PowerCutError)
            try:
                self.box.take(self.sent[f"c{number % len(self.sent)}"])
            except PowerCutError:
                self.restart()
            self.box.then = lambda: Answer("done")

    @rule(seconds=st.sampled_from([1.0, 59.0, 61.0]))
    def advance(self, seconds):
        self.box.center_s += seconds
        self.box.uptime_s += seconds

    @rule(offset_s=st.sampled_from([-86400.0, 0.0, 86400.0]))
    def set_the_clock(self, offset_s):
        self.box.offset_s = offset_s

    @rule()
    def lose_the_line(self):
        self.box.online = not self.box.online

    @rule()
    def restart(self):
        self.box.journal.close()
        self.box.uptime_s = 0.0
        self.box.open()
        self.box.executor.start()
        self.box.executor.stop()

    @invariant()
    def each_ran_once_and_in_time(self):
        box = getattr(self, "box", None)
        if box is not None:
            names = [name for name, _ in box.ran]
            assert len(names) == len(set(names))
            assert all(at_s < self.expiries[name] for name, at_s in box.ran)

    def teardown(self):
        if hasattr(self, "folder"):
            self.box.journal.close()
            self.folder.cleanup()


TestHazards = Hazards.TestCase
TestHazards.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)

"""The window in flight, on a simulated clock and over a wire that loses, doubles, reorders and delays."""

import itertools
from typing import ClassVar

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agent.uplink.flight import JITTER, MAX_RESEND_S, RESEND_S, WINDOW, Flight
from agent.uplink.outbox import IncidentRow, Outbox, Outgoing
from protocol.messages import Acknowledgement, Postponement


class Clock:
    def __init__(self):
        self.wall_s = 1_000_000.0
        self.monotonic_s = 50.0

    def wall(self):
        return self.wall_s

    def monotonic(self):
        return self.monotonic_s

    def go(self, seconds):
        self.wall_s += seconds
        self.monotonic_s += seconds


def put(outbox, incident, *names, kind="incident"):
    with outbox.sealing() as ledger:
        messages = [Outgoing(name, kind, "t", name.encode(), "c") for name in names]
        ledger.commit(IncidentRow(incident, "cam-1", "z", "r", "p", True, "{}"), messages, None)


def stored(*names):
    return Acknowledgement(stored=names)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def outbox(clock):
    outbox = Outbox(None, clock.wall)
    yield outbox
    outbox.close()


@pytest.fixture
def flight(outbox, clock):
    flight = Flight(outbox, clock.monotonic, lambda low, _high: low)
    flight.connected()
    return flight


def names(flight):
    return [one.id for one in flight.launch()]


def test_what_stays_unanswered_is_sent_again_more_and_more_rarely(flight, outbox, clock):
    put(outbox, "i", "m")
    sent_s = []
    for _ in range(4000):
        if names(flight):
            sent_s.append(clock.monotonic_s)
        clock.go(1)
    gaps = [b - a for a, b in itertools.pairwise(sent_s)]
    assert gaps == [30, 60, 120, 240, 480, *5 * [600]]


def test_a_clock_that_jumps_holds_nothing_up(flight, outbox, clock):
    put(outbox, "i", "m")
    assert names(flight) == ["m"]
    clock.wall_s -= 86400
    clock.go(RESEND_S)
    assert names(flight) == ["m"]
    clock.wall_s += 2 * 86400
    assert names(flight) == []


def test_silence_does_not_fill_the_window_for_ever(flight, outbox, clock):
    for n in range(3 * WINDOW):
        put(outbox, f"i{n}", f"m{n}")
    seen = set()
    for _ in range(10):
        sent = names(flight)
        assert len(sent) <= WINDOW
        seen.update(sent)
        clock.go(RESEND_S * (1 + JITTER))
    assert len(seen) == 3 * WINDOW


def test_a_center_that_is_back_after_a_silence_gets_what_waited_at_once(flight, outbox, clock):
    for n in range(10):
        put(outbox, f"i{n}", f"m{n}")
    for _ in range(1000):
        names(flight)
        clock.go(1)
    put(outbox, "new", "new")
    assert names(flight) == ["new"]
    flight.answered(stored("new"))
    assert len(names(flight)) == 10


def test_later_means_later_and_a_new_connection_means_now(flight, outbox, clock):
    put(outbox, "i", "m")
    names(flight)
    flight.answered(Acknowledgement(later=(Postponement(id="m", after_s=100),)))
    clock.go(99)
    assert names(flight) == []
    clock.go(1)
    assert names(flight) == ["m"]
    flight.answered(Acknowledgement(later=(Postponement(id="m", after_s=1e9),)))
    clock.go(3600)  # nobody is made to wait for ever
    assert names(flight) == ["m"]
    flight.connected()
    assert names(flight) == ["m"]


def test_the_broker_bounds_the_window(flight, outbox):
    for n in range(10):
        put(outbox, f"i{n}", f"m{n}")
    flight.connected(3)
    assert len(names(flight)) == 3
    flight.answered(stored("m0"))
    assert len(names(flight)) == 1


def test_only_what_was_sent_once_tells_the_time(flight, outbox, clock):
    put(outbox, "i", "m")
    names(flight)
    clock.go(RESEND_S)
    assert names(flight) == ["m"]
    assert flight.answered(stored("m")) is None
    put(outbox, "j", "n")
    names(flight)
    at_s = clock.monotonic_s
    clock.go(1)
    assert flight.answered(stored("n")).at_s == at_s


class Line(RuleBasedStateMachine):
    """A box, a wire and a center: whatever the wire does, all arrives, in order per incident."""

    incidents: ClassVar = st.integers(0, 5)
    which: ClassVar = st.integers(0, 10**6)

    @initialize()
    def begin(self):
        self.clock = Clock()
        self.outbox = Outbox(None, self.clock.wall)
        self.flight = Flight(self.outbox, self.clock.monotonic, lambda low, high: (low + high) / 2)
        self.flight.connected()
        self.made = {}
        self.to_center, self.to_box = [], []
        self.taken = []
        self.flying_until = {}

    @rule(incident=incidents, pictures=st.integers(0, 2))
    def report(self, incident, pictures):
        seq = self.made.get(incident, 0) + 1
        self.made[incident] = seq
        name = f"{incident}:{seq}"
        row = IncidentRow(str(incident), "cam-1", "z", "r", "p", True, "{}")
        messages = [Outgoing(name, "incident", "t", name.encode(), "c")]
        messages += [Outgoing(f"{name}:p{n}", "picture", "t", b"jpeg", "i") for n in range(pictures)]
        with self.outbox.sealing() as ledger:
            ledger.commit(row, messages, None)

    @rule()
    def send(self):
        sent = [one.id for one in self.flight.launch()]
        self.flying_until = {
            name: until_s for name, until_s in self.flying_until.items() if until_s > self.clock.monotonic_s
        }
        for name in sent:
            assert name not in self.flying_until
            self.flying_until[name] = self.clock.monotonic_s + RESEND_S
        assert len(self.flying_until) <= WINDOW
        self.to_center += sent

    @precondition(lambda self: self.to_center)
    @rule(which=which, fate=st.sampled_from(["arrives", "arrives", "arrives", "lost", "doubled"]), later=st.booleans())
    def carry(self, which, fate, later):
        """One message that is on its way, any of them."""
        name = self.to_center.pop(which % len(self.to_center))
        if fate == "lost":
            return
        if fate == "doubled":
            self.to_center.append(name)
        if later and which % 7 == 0:
            self.to_box.append(Acknowledgement(later=(Postponement(id=name, after_s=which % 50),)))
            return
        if name not in self.taken:
            self.taken.append(name)
        self.to_box.append(stored(name))

    @precondition(lambda self: self.to_box)
    @rule(which=which, lost=st.booleans())
    def answer(self, which, lost):
        answer = self.to_box.pop(which % len(self.to_box))
        if not lost:
            self.flight.answered(answer)
            for name in (*answer.stored, *(one.id for one in answer.later)):
                self.flying_until.pop(name, None)

    @rule(seconds=st.floats(0, 2 * RESEND_S))
    def wait(self, seconds):
        self.clock.go(seconds)

    @rule(seconds=st.sampled_from([-86400.0, 86400.0]))
    def set_the_clock(self, seconds):
        self.clock.wall_s += seconds

    @rule(keeps=st.booleans())
    def connect_anew(self, keeps):
        if not keeps:
            self.to_center.clear()
            self.to_box.clear()
        self.flight.connected()
        self.flying_until.clear()

    @invariant()
    def nothing_is_forgotten_before_it_is_stored(self):
        known = {
            one for (one,) in self.outbox._db.execute("SELECT id FROM outgoing WHERE state IN ('ready', 'behind')")
        }
        for incident, last in self.made.items():
            for seq in range(1, last + 1):
                assert f"{incident}:{seq}" in known or f"{incident}:{seq}" in self.taken

    @invariant()
    def each_incident_arrives_in_order(self):
        for incident in self.made:
            own = [name for name in self.taken if name.count(":") == 1 and name.startswith(f"{incident}:")]
            assert own == [f"{incident}:{seq}" for seq in range(1, len(own) + 1)]

    def teardown(self):
        """On a line that works again all arrives, within the longest wait and a message's turn."""
        if not hasattr(self, "outbox"):
            return
        limit_s = self.clock.monotonic_s + 2 * MAX_RESEND_S * (1 + JITTER)
        while self.outbox.figures().waiting:
            for one in self.flight.launch():
                if one.id not in self.taken:
                    self.taken.append(one.id)
                self.flight.answered(stored(one.id))
            self.each_incident_arrives_in_order()
            self.clock.go(1)
            assert self.clock.monotonic_s < limit_s
        self.outbox.close()


TestLine = Line.TestCase
TestLine.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)

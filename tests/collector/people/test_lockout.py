"""Waiting after failures: it grows, it ends, and nobody can be kept out by others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from collector.people import lockout
from collector.people.lockout import FORGET_MS, LIMITS, TooManyError
from collector.store import FailureRow

HERE, THERE = "192.0.2.1", "198.51.100.7"


class Tries:
    def __init__(self, desk):
        self.desk = desk
        self.now_ms = 1_780_000_000_000

    def fail(self, name="wang", address=HERE, device="", times=1):
        for _ in range(times):
            self.desk.write(self.begin, name, address, device)

    def begin(self, session, *who):
        one = lockout.one_try(session, *who)
        lockout.begin(session, one, self.now_ms)
        return one

    def succeed(self, name="wang", address=HERE, device=""):
        with self.desk.store.writing() as session:
            lockout.succeeded(session, self.begin(session, name, address, device))

    def wait_s(self, name="wang", address=HERE, device=""):
        """How long a try would have to wait now; it is not counted."""
        try:
            with self.desk.store.transaction() as session:
                self.begin(session, name, address, device)
                session.rollback()
        except TooManyError as fault:
            return fault.wait_s
        return 0.0

    def guess_on(self, hours, name="wang", address=HERE):
        """Guess as fast as it goes; how many guesses that were."""
        until_ms, guesses = self.now_ms + hours * 3_600_000, 0
        while self.now_ms < until_ms:
            wait_s = self.wait_s(name, address)
            self.now_ms += round(wait_s * 1000) + 1
            self.fail(name, address)
            guesses += 1
        return guesses

    def device(self, name="wang"):
        return self.desk.write(lockout.device_cookie, name)

    def keys(self):
        return self.desk.rows(select(FailureRow.key))


@pytest.fixture
def tries(desk):
    return Tries(desk)


def test_the_delay_begins_doubles_and_ends(tries):
    tries.fail(times=4)
    assert tries.wait_s() == 0
    waits = []
    for _ in range(8):
        tries.fail()
        waits.append(tries.wait_s())
        tries.now_ms += round(waits[-1] * 1000)
        assert tries.wait_s() == 0
    assert waits == [30, 60, 120, 240, 480, 900, 900, 900]


def test_who_waits_not_is_refused_and_not_counted(tries):
    tries.fail(times=5)
    for _ in range(20):
        with pytest.raises(TooManyError, match="try again in 30 seconds"):
            tries.fail()
    tries.now_ms += 30_000
    assert tries.wait_s() == 0


def test_success_forgets_and_so_does_a_day(tries):
    tries.fail(times=4)
    tries.succeed()
    tries.fail(times=4)
    assert tries.wait_s() == 0
    tries.fail()
    assert tries.wait_s() > 0
    tries.now_ms += FORGET_MS + 1
    tries.fail(times=4)
    assert tries.wait_s() == 0


def test_others_do_not_wait(tries):
    tries.fail(times=5)
    assert tries.wait_s("li", HERE) == 0
    assert tries.wait_s("wang", THERE) == 0


def test_a_guesser_gets_few_guesses_and_locks_nobody_out(tries):
    device = tries.device()
    assert tries.guess_on(24) < 110
    # the rightful person, from the guesser's own network: at once with a browser that is known
    assert tries.wait_s(device=device) == 0
    # at once from anywhere else; and after a quarter of an hour from there
    assert tries.wait_s(address=THERE) == 0
    assert tries.wait_s() <= 900


def test_an_office_is_slowed_down_but_never_shut(tries):
    """Somebody in it tries one password on many names."""
    device = tries.device("li")
    for number in range(200):
        tries.now_ms += round(tries.wait_s(f"p{number}") * 1000)
        tries.fail(f"p{number}")
    assert 0 < tries.wait_s("new") <= 300
    assert tries.wait_s("li", device=device) == 0
    assert tries.wait_s("li", THERE) == 0


def test_a_botnet_is_slowed_down_as_well(tries):
    device, guesses = tries.device(), 0
    until_ms = tries.now_ms + 24 * 3_600_000
    number = 0
    while tries.now_ms < until_ms:
        address = f"203.{number // 62_500 % 250}.{number // 250 % 250}.{number % 250}"
        number += 1
        tries.now_ms += round(tries.wait_s(address=address) * 1000)
        tries.fail(address=address)
        guesses += 1
    assert guesses < 230
    assert tries.wait_s(device=device) == 0
    assert tries.wait_s(address=THERE) <= 900


def test_a_device_cookie_is_one_persons_and_not_made_up(tries):
    device = tries.device()
    tries.fail(times=5)
    nonce, _, mac = device.partition(".")
    for other in ("", "x", ".", f"{nonce}.", f"{nonce}x.{mac}", f"{nonce}.{'0' * 64}", tries.device("li"), "é.é"):
        assert tries.wait_s(device=other) > 0
    assert tries.wait_s(device=device) == 0
    tries.fail(device=device, times=5)
    assert tries.wait_s(device=device) == 30


def test_an_admin_can_have_it_forgotten(tries):
    tries.fail(times=5)
    assert tries.desk.write(lockout.forgive, "wang") == 2
    assert tries.wait_s() == 0


def test_the_table_names_nobody_and_is_swept(tries):
    tries.fail("wang.lei@example", "192.0.2.77")
    keys = tries.keys()
    assert len(keys) == 3
    assert not any("wang" in key or "192" in key for key in keys)
    tries.now_ms += FORGET_MS + 1
    tries.fail("li")
    assert not {*tries.keys()} & {key for key in keys if "network" not in key}


def test_a_clock_set_back_keeps_nobody_waiting_longer(tries):
    tries.fail(times=5)
    tries.now_ms -= 365 * 86_400_000
    assert tries.wait_s() == 30


def test_addresses_of_one_ipv6_subscriber_are_one(tries):
    for number in range(5):
        tries.fail(address=f"2001:db8::{number}")
    assert tries.wait_s(address="2001:db8::ffff") > 0
    assert tries.wait_s(address="2001:db8:0:1::1") == 0


@given(st.sampled_from(sorted(LIMITS)), st.integers(0, 10_000))
def test_delays_never_shrink_and_never_pass_the_most(kind, failures):
    limit = LIMITS[kind]
    assert 0 <= limit.delay_s(failures) <= limit.delay_s(failures + 1) <= limit.most_s <= 900

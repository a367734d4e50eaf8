"""How long a box waits before it tries to connect again."""

import errno
import random
import ssl

import pytest

from agent.uplink.backoff import BUSY, BUSY_S, FIRST_S, MAX_S, MOVED, NOT_ALLOWED, SHUT_S, Backoff, failure_text


def high(_low, high):
    return high


def waits(backoff, count):
    return [backoff.next_s() for _ in range(count)]


def test_waits_grow_and_begin_anew_once_the_box_was_let_in():
    backoff = Backoff(high)
    assert waits(backoff, 7) == [3, 6, 12, 24, 48, 60, 60]
    backoff.let_in()
    assert waits(backoff, 2) == [3, 6]


@pytest.mark.parametrize(
    ("codes", "limits"),
    [(NOT_ALLOWED, SHUT_S), (MOVED, SHUT_S), (BUSY, BUSY_S), ({"Unspecified error"}, (FIRST_S, MAX_S))],
)
def test_what_the_broker_says_decides_how_long(codes, limits):
    for code in codes:
        backoff = Backoff(high)
        found = []
        for _ in range(12):
            backoff.refused(code)
            found.append(backoff.next_s())
        assert (found[0], found[-1]) == limits
        backoff.let_in()
        assert backoff.next_s() == FIRST_S


def test_boxes_do_not_come_back_in_step():
    """A broker that 200 boxes lost at once is asked by no more than a tenth of them in any tenth of a second."""
    choose = random.Random(7)
    tries_s = sorted(Backoff(choose.uniform).next_s() for _ in range(200))
    assert max(sum(1 for one in tries_s if at <= one < at + 0.1) for at in tries_s) <= 20
    assert tries_s[0] > 0.4


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "does not answer (Connection refused)"),
        (ssl.SSLError(1, "[SSL: X] tlsv1 alert"), "check ca, cert and key"),
        (None, "does not answer"),
    ],
)
def test_why_no_connection_came_about(fault, words):
    assert words in failure_text(fault)

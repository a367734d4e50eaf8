"""How busy the box is, of what the kernel says."""

import os

import pytest

from agent.box.load import Load


def stat(*cores):
    """What /proc/stat says of cores of this process: user, idle and stolen ticks."""
    ours = sorted(os.sched_getaffinity(0))
    lines = ["cpu  1 2 3 4 5 6 7 8 9 10"]
    for number, (user, idle, stolen) in zip(ours, cores, strict=False):
        lines.append(f"cpu{number} {user} 0 0 {idle} 0 0 0 {stolen} {user} 0")
    return "\n".join([*lines, "cpu99999 500 0 0 0 0 0 0 0 0 0", "intr 12 3"])


def test_the_share_is_that_since_it_was_last_asked():
    said = iter([stat((1000, 1000, 0)), stat((1030, 1070, 0)), stat((1120, 1070, 10)), stat((1120, 1070, 10))])
    load = Load(lambda: next(said))
    assert load.busy_share() is None
    assert load.busy_share() == pytest.approx(0.3)
    assert load.busy_share() == pytest.approx(1.0)
    # no time has passed
    assert load.busy_share() is None


@pytest.mark.parametrize("text", ["", "cpu0 a b", "cpu0"])
def test_what_cannot_be_read_is_not_known(text):
    load = Load(lambda: text)
    assert load.busy_share() is None
    assert load.busy_share() is None


def test_where_there_is_no_such_file_it_is_not_known():
    def read():
        raise FileNotFoundError

    assert Load(read).busy_share() is None


def test_this_machine_tells():
    load = Load()
    load.busy_share()
    sum(range(3_000_000))
    assert 0 < load.busy_share() <= 1

"""Until when the set-up page is open, who opens it again, and who is let in."""

import os

import pytest

from agent.box.door import NEVER_S, OPEN_S, Door, Doorman, nobody_yet
from agent.setup.gate import FIRST_WAIT_S, FREE_TRIES, MOST_SESSIONS, SESSION_S, Gate
from protocol.documents import SettingsError
from protocol.settings import CamerasDocument


@pytest.fixture
def times():
    class Times:
        now_s = 1_000_000.0

        def __call__(self):
            return self.now_s

    return Times()


@pytest.fixture
def door(tmp_path, times):
    return Door(tmp_path / "state", times)


def test_it_is_open_until_set_up_is_finished_and_half_an_hour_more(door, times):
    assert not door.open
    assert door.plate.until_s == NEVER_S, "a label that is printed opens nothing"
    assert not door.open
    door.begin()
    door.open_again()
    times.now_s += 90 * 86_400
    assert door.open, "an installer comes when the box is up"
    door.finish()
    times.now_s += OPEN_S - 1
    door.stay()
    times.now_s += 2
    assert door.open, "somebody works there"
    times.now_s += OPEN_S
    door.stay()
    door.begin()
    assert not door.open, "neither who comes late opens it, nor a start of the agent"
    pin = door.plate.pin
    door.open_again()
    assert door.open
    assert door.plate.pin == pin, "the label stays right"


@pytest.mark.parametrize("jump_s", [-86_400.0, -1.0 - OPEN_S, OPEN_S + 1])
def test_a_clock_that_jumps_does_not_hold_it_open(door, times, jump_s):
    door.finish()
    times.now_s += jump_s
    assert not door.open


@pytest.mark.parametrize("text", ["", "[]", '{"document": 3, "renewed": 1}'])
def test_what_is_damaged_opens_nothing(door, text):
    door.begin()
    for name in ("door.json", "edit.json"):
        (door.folder / name).write_text(text)
    assert not door.open
    assert door.waiting() is None
    assert len(door.plate.pin) == 8


def test_the_agent_takes_the_last_that_was_drawn_and_every_new_secret(door):
    door.hand_over(CamerasDocument(), ("cam-1",))
    door.hand_over(CamerasDocument(), ("cam-2",))
    both = (CamerasDocument(), ("cam-1", "cam-2"))
    assert door.take() == door.waiting() == both, "the page sees it until it is in force"
    door.hand_over(CamerasDocument(), ("cam-3",))
    assert door.take() == (CamerasDocument(), ("cam-3",))
    assert door.take() is None
    assert door.waiting() is None


def test_a_new_file_on_the_boot_partition_opens_it_and_what_fails_stops_nobody(door, tmp_path, times, caplog):
    file = tmp_path / "cityeye-setup"
    doorman = Doorman(door, tmp_path / "box.toml", file, lambda: 0.0)
    doorman.tend()
    assert not door.folder.exists()
    file.touch()
    (door.folder / "lock").mkdir(parents=True)
    doorman.tend()
    assert door.open
    assert "the page cannot be served" in caplog.text
    times.now_s += OPEN_S + 1
    doorman.tend()
    assert not door.open, "the same file counts once"
    os.utime(file, (5, 5))
    doorman.tend()
    assert door.open
    doorman.close()


@pytest.mark.parametrize(
    ("text", "nobody"), [("[box]\n", True), ("", True), ('[box]\nid = "box-1"\n', False), ("box = 3\n", False)]
)
def test_who_a_box_is_may_be_left_to_its_claim(tmp_path, text, nobody):
    path = tmp_path / "box.toml"
    with pytest.raises(SettingsError):
        nobody_yet(path)
    path.write_text(text)
    assert nobody_yet(path) is nobody


def test_the_pin_has_few_tries(times):
    gate = Gate("12345678", times)
    for _ in range(FREE_TRIES):
        assert gate.enter("0") is None
    assert gate.wait_s == FIRST_WAIT_S
    assert gate.enter("12345678") is None, "the right one waits as well"
    tries = 0
    until_s = times.now_s + 30 * 86_400
    while times.now_s < until_s:
        times.now_s += gate.wait_s
        gate.enter("0")
        tries += 1
    assert tries < 1000, "of 100 million, in a month"
    times.now_s += gate.wait_s
    sessions = [gate.enter("12345678") for _ in range(MOST_SESSIONS + 1)]
    assert not gate.wait_s
    assert [gate.knows(one) for one in ("", *sessions)] == [False, False] + [True] * MOST_SESSIONS
    times.now_s += SESSION_S
    assert not gate.knows(sessions[-1])

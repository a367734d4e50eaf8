"""Until when the set-up page is open, and who opens it again."""

import os

import pytest

from agent.box.door import NEVER_S, OPEN_S, Door, Doorman, nobody_yet
from agent.setup.gate import FIRST_WAIT_S, FREE_TRIES, MOST_SESSIONS, SESSION_S, Gate
from protocol.documents import SettingsError
from protocol.settings import CamerasDocument


class Times:
    now_s = 1_000_000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def times():
    return Times()


@pytest.fixture
def door(tmp_path, times):
    return Door(tmp_path / "state", times)


def test_a_box_of_which_nobody_said_anything_is_shut(door):
    assert not door.open
    assert door.named().until_s == NEVER_S
    assert not door.open, "a label that is printed opens nothing"


def test_it_is_open_until_set_up_is_finished_and_half_an_hour_more(door, times):
    begun = door.begin()
    times.now_s += 90 * 86_400
    assert door.open, "an installer comes when the box is up"
    door.finish()
    times.now_s += OPEN_S - 1
    assert door.open
    door.stay()
    times.now_s += 2
    assert door.open, "somebody works there"
    times.now_s += OPEN_S
    assert not door.open
    door.stay()
    assert not door.open, "who comes late does not open it"
    assert door.begin().until_s != begun.until_s, "set-up does not begin again by itself"
    assert not door.open
    again = door.open_for_a_while()
    assert door.open
    assert (again.name, again.pin) == (begun.name, begun.pin), "the label stays right"


@pytest.mark.parametrize("jump_s", [-86_400.0, -1.0 - OPEN_S, OPEN_S + 1])
def test_a_clock_that_jumps_does_not_hold_it_open(door, times, jump_s):
    door.begin()
    door.finish()
    times.now_s += jump_s
    assert not door.open


def test_a_center_does_not_shut_what_is_not_finished(door, times):
    door.begin()
    door.open_for_a_while()
    times.now_s += 2 * OPEN_S
    assert door.open


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": 1}', '{"name":"a","pin":"b","until_s":null,"more":1}'])
def test_what_is_damaged_opens_nothing(door, text):
    door.begin()
    (door.folder / "door.json").write_text(text)
    (door.folder / "edit.json").write_text(text)
    assert not door.open
    assert door.waiting() is None
    assert len(door.begin().pin) == 8


def test_the_agent_takes_the_last_that_was_drawn_and_every_new_secret(door):
    door.hand_over(CamerasDocument(), ("cam-1",))
    door.hand_over(CamerasDocument(), ("cam-2",))
    assert door.waiting() == (CamerasDocument(), ("cam-1", "cam-2"))
    door.taken()
    assert door.waiting() is None


def test_a_file_on_the_boot_partition_opens_it_once(door, tmp_path, times):
    file, started = tmp_path / "cityeye-setup", []
    doorman = Doorman(door, tmp_path / "box.toml", file, lambda: 0.0)
    doorman._start = lambda: started.append(True)
    doorman.tend()
    assert not door.open
    file.touch()
    doorman.tend()
    assert door.open
    assert len(started) == 1
    times.now_s += OPEN_S + 1
    doorman.tend()
    assert not door.open, "the same file counts once"
    os.utime(file, (5, 5))
    doorman.tend()
    assert door.open


def test_a_page_that_cannot_be_served_does_not_stop_the_agent(door, tmp_path, caplog):
    doorman = Doorman(door, tmp_path / "box.toml", tmp_path, lambda: 0.0)
    door.begin()
    door.folder.chmod(0o700)
    (door.folder / "lock").mkdir()
    doorman.tend()
    assert "the page cannot be served" in caplog.text
    doorman.close()


@pytest.mark.parametrize(
    ("text", "nobody"),
    [
        ("version = 1\n[box]\n", True),
        ("version = 1\n", True),
        ('version = 1\n[box]\nid = "box-1"\nsite = "s"\n', False),
        ("version = 1\nbox = 3\n", False),
    ],
)
def test_who_a_box_is_may_be_left_to_its_claim(tmp_path, text, nobody):
    path = tmp_path / "box.toml"
    path.write_text(text)
    assert nobody_yet(path) is nobody
    with pytest.raises(SettingsError):
        nobody_yet(tmp_path / "none.toml")


def test_the_pin_has_few_tries(times):
    gate = Gate("12345678", times)
    for _ in range(FREE_TRIES):
        assert gate.enter("0") is None
    assert gate.wait_s == FIRST_WAIT_S
    assert gate.enter("12345678") is None, "the right one waits as well"
    times.now_s += FIRST_WAIT_S
    assert gate.enter("12345677") is None
    assert gate.wait_s == 2 * FIRST_WAIT_S
    times.now_s += 2 * FIRST_WAIT_S
    session = gate.enter("12345678")
    assert gate.knows(session)
    assert not gate.knows("")
    for _ in range(MOST_SESSIONS):
        gate.enter("12345678")
    assert not gate.knows(session), "the oldest goes"
    last = gate.enter("12345678")
    times.now_s += SESSION_S
    assert not gate.knows(last)


def test_a_guesser_has_a_chance_of_one_in_a_hundred_thousand_in_a_month(times):
    gate, tries = Gate("12345678", times), 0
    until_s = times.now_s + 30 * 86_400
    while times.now_s < until_s:
        gate.enter("0")
        tries += 1
        times.now_s += gate.wait_s
    assert tries < 1000

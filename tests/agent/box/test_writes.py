"""What is written to flash is counted, by the day."""

import os
import subprocess
import sys

import pytest

from agent.box.writes import EACH, IDLE_BYTES, Writes, written_bytes

MB = 1_000_000


def test_what_a_process_and_its_children_give_to_a_disk_is_counted(tmp_path):
    def write(name, mb):
        path = tmp_path / name
        with path.open("wb") as file:
            file.write(os.urandom(mb * MB))
            os.fsync(file.fileno())

    before = written_bytes()
    if before is None:
        pytest.skip("this kernel does not count")
    write("own", 3)
    code = f"import os; f = open({str(tmp_path / 'child')!r}, 'wb'); f.write(os.urandom({5 * MB})); f.flush()"
    child = subprocess.Popen([sys.executable, "-c", f"{code}; print(flush=True); input()"], stdin=-1, stdout=-1)
    child.stdout.readline()
    while_it_lives = written_bytes() - before
    child.communicate(b"\n")
    assert (written_bytes() - before) >= while_it_lives > 0, "those that were waited for still count"
    if while_it_lives < 8 * MB:
        pytest.skip("no disk below the temporary folder")


def test_a_day_that_is_too_much_is_said_once_and_incidents_have_their_share(caplog):
    at = {"s": 0.0, "written": 5 * MB}
    writes = Writes(lambda: at["s"], lambda: at["written"])
    for written, owed, state in ((150, 0, "ok"), (206, 0, "warn"), (300, 0, "warn"), (300, 50, "ok")):
        at.update(s=at["s"] + 3600, written=written * MB)
        writes.note(owed * MB)
        assert writes.finding().state == state, written
    assert caplog.text.count("MB a day are right") == 1
    assert writes.limit_bytes == IDLE_BYTES + EACH * 50 * MB
    at.update(s=at["s"] + 86_400)
    writes.note(50 * MB)
    assert writes.bytes == 0, "a day later it is over"
    assert Writes(lambda: 0.0, lambda: None).finding().state == "ok"

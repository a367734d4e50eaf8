"""What is written to flash is counted, by the day."""

from agent.box.writes import EACH, IDLE_BYTES, Writes, written_bytes

MB = 1_000_000


def test_what_a_process_and_its_children_write_is_counted(tmp_path):
    for pid, written, children in ((1, 5, "2 3"), (2, 7, ""), (3, 9, "")):
        task = tmp_path / f"{pid}/task/{pid}"
        task.mkdir(parents=True)
        (tmp_path / f"{pid}/io").write_text(f"rchar: 1\nwrite_bytes: {written}\n")
        (task / "children").write_text(children)
    assert written_bytes(tmp_path, 1) == 21
    assert written_bytes(tmp_path, 4) is None


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

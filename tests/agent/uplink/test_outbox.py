"""The outbox: what was committed is there after anything; what was not, is not."""

import contextlib
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from agent.box import clock
from agent.uplink.outbox import (
    KEEP_CLOSED,
    LOG_ROOM_BYTES,
    RESERVE_BYTES,
    WAL_BYTES,
    IncidentRow,
    Outbox,
    OutboxError,
    Outgoing,
    Parked,
)
from agent.uplink.schema import MIGRATIONS, VERSION
from protocol.messages import Acknowledgement, Refusal


class Now:
    def __init__(self, time_s=1000.0):
        self.time_s = time_s

    def __call__(self):
        return self.time_s


def row(incident="i1", camera="cam-1", *, is_open=True, state="{}"):
    return IncidentRow(incident, camera, "z", "encroachment", "p", is_open, state)


def message(name, size=10):
    return Outgoing(name, "incident", "cityeye/1/s/b/incident/cam-1", b"x" * size, "application/json", (("a", "b"),))


def commit(outbox, *messages, incident="i1", head="h1", **more):
    with outbox.sealing() as ledger:
        ledger.commit(row(incident, **more), messages, head)


@pytest.fixture
def now():
    return Now()


@pytest.fixture
def outbox(tmp_path, now):
    box = Outbox(tmp_path / "outbox.db", now)
    yield box
    box.close()


def ids(outbox, limit=10, max_bytes=10_000):
    return [one.id for one in outbox.due(limit, max_bytes)]


def picture(name, size=10):
    return Outgoing(name, "picture", "cityeye/1/s/b/evidence/cam-1", b"p" * size, "image/jpeg")


def store(outbox, *names):
    outbox.acknowledge(Acknowledgement(stored=names))


def test_what_is_due_comes_in_order_and_within_limits(outbox):
    for name, size in (("m1", 10), ("m2", 10), ("m3", 500), ("m4", 10)):
        commit(outbox, message(name, size), incident=name)
    assert ids(outbox) == ["m1", "m2", "m3", "m4"]
    assert ids(outbox, limit=2) == ["m1", "m2"]
    assert ids(outbox, max_bytes=100) == ["m1", "m2"]
    assert ids(outbox, max_bytes=1) == ["m1"]  # one goes, however large
    assert outbox.due(1, 100)[0] == message("m1")
    assert [one.id for one in outbox.due(2, 100, resting={"m1"})] == ["m2"]


def test_of_one_incident_a_message_waits_for_the_one_before_it(outbox):
    commit(outbox, message("a1"), picture("pa"), incident="a")
    commit(outbox, message("a2"), incident="a")
    commit(outbox, message("b1"), incident="b")
    commit(outbox, message("a3"), incident="a")
    assert ids(outbox) == ["a1", "b1", "pa"]
    store(outbox, "a1")
    assert ids(outbox) == ["a2", "b1", "pa"]
    outbox.park("a2", "too large")  # one that will never be taken holds nothing up
    assert ids(outbox) == ["b1", "a3", "pa"]
    assert outbox.retry() == 1
    assert ids(outbox) == ["a2", "b1", "pa"]


def test_what_is_new_comes_before_the_backlog_and_does_not_starve_it(outbox):
    for n in range(20):
        commit(outbox, message(f"old-{n}"), picture(f"old-picture-{n}"), incident=f"old-{n}")
    outbox.begin_backlog()
    for n in range(20):
        commit(outbox, message(f"new-{n}"), incident=f"new-{n}")
    first = ids(outbox, limit=8)
    assert [name for name in first if name.startswith("new")] == [f"new-{n}" for n in range(6)]
    assert [name for name in first if name.startswith("old")] == ["old-0", "old-1"]
    assert not any("picture" in name for name in ids(outbox, limit=40))
    assert "picture" in ids(outbox, limit=41)[-1]


def test_the_centers_word_is_final_or_not(outbox, now):
    for n in range(4):
        commit(outbox, message(f"m{n}"), incident=f"i{n}")
    outbox.acknowledge(
        Acknowledgement(stored=("m0", "unknown"), refused=(Refusal(id="m1", code="invalid", text="no such camera"),))
    )
    assert ids(outbox) == ["m2", "m3"]
    assert outbox.parked() == [Parked("m1", "refused by the center (invalid): no such camera", 1000.0, 10)]
    assert outbox.figures().waiting == 2
    assert outbox.figures().parked == 1
    # a second answer changes nothing, and neither does the same message committed once more
    outbox.acknowledge(Acknowledgement(refused=(Refusal(id="m0", code="x", text=""),)))
    commit(outbox, message("m0"), incident="i0")
    assert ids(outbox) == ["m2", "m3"]
    # what was parked, and is stored after all, is stored
    store(outbox, "m1")
    assert outbox.parked() == []


def test_what_the_center_has_can_be_sent_again(outbox, now):
    """A center that was restored from a back-up of 1500 lacks what it has acknowledged since."""
    commit(outbox, message("a1"), picture("pa"), incident="a")
    store(outbox, "a1", "pa")
    now.time_s = 2000.0
    commit(outbox, message("b1"), picture("pb"), incident="b")
    commit(outbox, message("b2"), incident="b")
    commit(outbox, message("c1"), incident="c")
    store(outbox, "b1")
    store(outbox, "b2", "pb")
    assert ids(outbox) == ["c1"]
    assert outbox.resend(1500.0) == 3
    assert ids(outbox) == ["b1", "c1", "pb"]
    assert outbox.due(10, 10_000)[2] == picture("pb")
    store(outbox, "b1", "pb", "c1")
    assert ids(outbox) == ["b2"]
    now.time_s += 100
    outbox.prune(50)  # and after its days it is gone
    assert outbox.resend(0.0) == 0


def test_all_or_nothing(outbox):
    class InterruptedInTheMiddleError(Exception):
        pass

    def messages():
        yield message("m1")
        raise InterruptedInTheMiddleError

    with pytest.raises(InterruptedInTheMiddleError), outbox.sealing() as ledger:
        ledger.commit(row(), messages(), "h2")
    assert ids(outbox) == []
    assert outbox.incidents() == []
    with outbox.sealing() as ledger:
        assert ledger.head is None


def test_incidents_and_the_chain_survive_a_restart(outbox, tmp_path, now):
    commit(outbox, message("m1"), incident="i1", state='{"a": 1}')
    commit(outbox, message("m2"), incident="i2", camera="cam-2", is_open=False, head="h2")
    commit(outbox, picture("m3"), incident="i1", state='{"a": 2}', head="h3")
    outbox.close()
    again = Outbox(tmp_path / "outbox.db", now)
    assert [one.incident for one in again.incidents()] == ["i1", "i2"]
    assert [one.state for one in again.incidents("cam-1")] == ['{"a": 2}']
    assert [one.incident for one in again.incidents(open_only=True)] == ["i1"]
    assert ids(again) == ["m1", "m2", "m3"]
    with again.sealing() as ledger:
        assert ledger.head == "h3"
    again.close()


def test_pruning_forgets_what_is_done_and_nothing_else(outbox, now):
    commit(outbox, message("m1"), message("m2"))
    outbox.acknowledge(Acknowledgement(stored=("m1",)))
    commit(outbox, message("waits"), incident="closed-and-waits", is_open=False)
    for n in range(KEEP_CLOSED + 5):
        commit(outbox, incident=f"closed-{n}", is_open=False)
    now.time_s += 100
    outbox.prune(50)
    assert ids(outbox) == ["m2", "waits"]
    kept = [one.incident for one in outbox.incidents()]
    assert len(kept) == KEEP_CLOSED + 2
    assert kept[:2] == ["i1", "closed-and-waits"]
    assert "closed-0" not in kept


def test_a_damaged_file_is_moved_aside_and_told(tmp_path, now, caplog):
    path = tmp_path / "outbox.db"
    path.write_bytes(b"this is no database" * 100)
    outbox = Outbox(path, now)
    commit(outbox, message("m1"))
    assert ids(outbox) == ["m1"]
    outbox.close()
    assert list(tmp_path.glob("outbox.db.damaged-*"))
    assert "damaged" in caplog.text


def damage(outbox, path):
    """The disk returns rubbish for all pages but the first, while the file is in use."""
    outbox._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    outbox._db.execute("PRAGMA shrink_memory")
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))


@pytest.mark.parametrize(
    "use",
    [
        lambda box: store(box, "m1"),
        lambda box: commit(box, message("m9"), incident="i9"),
        lambda box: box.park("m1", "refused"),
        lambda box: box.prune(10.0),
        lambda box: box.resend(0.0),
        lambda box: box.retry(),
        lambda box: box.due(10, 10_000),
        lambda box: box.figures(),
        lambda box: box.incidents(),
        lambda box: box.incident("i1"),
        lambda box: box.dropped(),
        lambda box: box.parked(),
        lambda box: box.begin_backlog(),
    ],
)
def test_a_file_that_is_damaged_while_it_is_used_is_moved_aside_and_the_box_goes_on(tmp_path, now, caplog, use):
    path = tmp_path / "outbox.db"
    outbox = Outbox(path, now)
    commit(outbox, message("m1"))
    outbox.begin_backlog()
    damage(outbox, path)
    use(outbox)
    assert caplog.text.count("damaged") >= 1
    assert len(list(tmp_path.glob("outbox.db.damaged-*"))) == 1
    commit(outbox, message("m2"), head="h2")
    assert "m2" in ids(outbox)
    store(outbox, "m2")
    outbox.close()
    again = Outbox(path, now)
    assert ids(again) == [name for name in ids(again) if name != "m2"]
    with again.sealing() as ledger:
        assert ledger.head == "h2"
    again.close()


def test_a_second_process_moves_nothing_aside(tmp_path, now):
    path = tmp_path / "outbox.db"
    outbox = Outbox(path, now)
    commit(outbox, message("m1"))
    beside = Outbox(path, now, owner=False)
    damage(outbox, path)
    with pytest.raises(sqlite3.DatabaseError):
        beside.figures()
    assert not list(tmp_path.glob("outbox.db.damaged-*"))
    beside.close()
    outbox.close()


def test_a_message_that_cannot_be_read_any_more_holds_nothing_up(outbox):
    commit(outbox, message("a1"), incident="a")
    commit(outbox, message("a2"), incident="a")
    commit(outbox, message("b1"), incident="b")
    outbox._db.execute("DELETE FROM payload WHERE number = 1")
    assert ids(outbox) == ["b1"]
    assert ids(outbox) == ["a2", "b1"]
    assert [one.id for one in outbox.parked()] == ["a1"]


@pytest.mark.parametrize("readable_by", [VERSION, VERSION + 1, 0])
def test_an_older_agent_goes_on_with_a_newer_outbox_where_that_says_so(tmp_path, now, readable_by):
    path = tmp_path / "outbox.db"
    outbox = Outbox(path, now)
    commit(outbox, message("a1"), incident="a")
    outbox.close()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("ALTER TABLE incident ADD COLUMN more TEXT NOT NULL DEFAULT ''")
        db.execute(f"PRAGMA user_version = {VERSION + 1}")
        db.execute(f"PRAGMA application_id = {readable_by}")
    if readable_by != VERSION:
        with pytest.raises(OutboxError, match="update the agent"):
            Outbox(path, now)
        return
    outbox = Outbox(path, now)
    commit(outbox, message("b1"), incident="b")
    assert ids(outbox) == ["a1", "b1"]
    outbox.close()
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (VERSION + 1,)


def test_an_outbox_of_the_first_version_is_brought_up_in_place(tmp_path, now):
    path = tmp_path / "outbox.db"
    db = sqlite3.connect(path)
    db.executescript(MIGRATIONS[0])
    db.execute("PRAGMA user_version = 1")
    db.execute("INSERT INTO incident VALUES ('i', 'cam-1', 'z', 'encroachment', 'p', 1, '{}')")
    for number, (name, kind, stored, parked) in enumerate(
        (
            ("i:1", "incident", 5.0, None),
            ("i:2", "incident", None, None),
            ("i:at:wide:ab", "picture", None, None),
            ("i:3", "incident", None, None),
            ("j:1", "incident", None, "refused"),
        )
    ):
        db.execute(
            "INSERT INTO outgoing (id, kind, topic, content_type, properties, payload, made_s, stored_s, parked)"
            " VALUES (?, ?, 't', 'c', '[[\"a\", \"b\"]]', ?, 3, ?, ?)",
            (name, kind, b"" if stored else b"payload %d" % number, stored, parked),
        )
    db.execute("INSERT INTO seal VALUES (1, 'h')")
    db.commit()
    db.close()
    with pytest.raises(OutboxError, match="start the agent"):
        Outbox(path, now, owner=False)
    outbox = Outbox(path, now)
    assert ids(outbox) == ["i:2", "i:at:wide:ab"]
    assert outbox.due(9, 999)[1] == Outgoing("i:at:wide:ab", "picture", "t", b"payload 2", "c", (("a", "b"),))
    store(outbox, "i:2")
    assert ids(outbox) == ["i:3", "i:at:wide:ab"]
    assert [one.id for one in outbox.parked()] == ["j:1"]
    assert outbox.incidents()[0].incident == "i"
    with outbox.sealing() as ledger:
        assert ledger.head == "h"
    outbox.close()
    assert sqlite3.connect(path).execute("PRAGMA user_version").fetchone() == (VERSION,)
    Outbox(path, now, owner=False).close()


def size_on_disk(folder):
    names = ("outbox.db", "outbox.db-wal", "reserve")
    return sum((folder / name).stat().st_size for name in names if (folder / name).exists())


def test_beyond_the_budget_pictures_go_and_incidents_never(tmp_path, now):
    budget = LOG_ROOM_BYTES + RESERVE_BYTES + 3 * WAL_BYTES
    outbox = Outbox(tmp_path / "outbox.db", now, budget)
    for n in range(150):
        commit(outbox, message(f"m{n}", 2000), picture(f"p{n}", 150_000), incident=f"i{n}")
        assert size_on_disk(tmp_path) <= budget
        if n == 9:
            store(outbox, *(f"p{k}" for k in range(5, 10)))
    figures = outbox.figures()
    assert figures.bytes == size_on_disk(tmp_path)
    assert figures.budget_bytes == budget
    waiting = {one.id for one in outbox.due(1000, 10**9)}
    dropped = [name for _, name in outbox.dropped()]
    assert {f"m{n}" for n in range(150)} <= waiting
    assert {f"p{n}" for n in range(150)} - waiting == {*dropped, *(f"p{k}" for k in range(5, 10))}
    # the oldest of those that the center has not, in order; those that it has went first and are not missed
    assert dropped == [f"p{n}" for n in range(len(dropped) + 5) if not 5 <= n < 10]
    assert len(dropped) > 50
    assert figures.dropped == len(dropped)
    # what made room is told once the incident says so
    with outbox.sealing() as ledger:
        ledger.commit(row("i0"), [message("m0:2")], "h", told={"p0"})
    assert outbox.dropped("i0") == []
    assert outbox.dropped("i1") == [("i1", "p1")]
    # a budget that incidents alone exceed keeps them all
    for n in range(150, 180):
        commit(outbox, message(f"m{n}", 900_000), incident=f"i{n}")
    assert size_on_disk(tmp_path) > budget
    assert {f"m{n}" for n in range(180)} <= {one.id for one in outbox.due(1000, 10**9)}
    outbox.close()


def test_six_weeks_without_network_or_battery_keep_order_and_budget(tmp_path, monkeypatch):
    ticks = {"s": 0.0, "boot": 0.0}
    monkeypatch.setattr(clock, "kernel_synchronised", lambda: False)
    monkeypatch.setattr(clock.time, "time", lambda: ticks["s"] - ticks["boot"])
    monkeypatch.setattr(clock.time, "monotonic", lambda: ticks["s"])
    budget, made = LOG_ROOM_BYTES + RESERVE_BYTES + 3 * WAL_BYTES, []
    for day in range(42):
        ticks["boot"] = ticks["s"]
        here = clock.Clock()
        here.recall(tmp_path)
        outbox = Outbox(tmp_path / "outbox.db", here.now, budget)
        here.not_before(outbox.newest_s())
        here.follow()
        for hour in range(20):
            ticks["s"] += 3600
            assert not here.follow()
            commit(
                outbox, message(f"m{day}-{hour}", 2000), picture(f"p{day}-{hour}", 50_000), incident=f"i{day}-{hour}"
            )
            made.append(here.now())
            if hour % 7 == 0:
                here.remember(tmp_path)
        assert size_on_disk(tmp_path) <= budget
        waiting = [one.id for one in outbox.due(2000, 10**9) if one.kind == "incident"]
        assert len(waiting) == len(made), "incidents never go"
        outbox.close()
        ticks["s"] += 600
    assert made == sorted(made)
    assert waiting == [f"m{day}-{hour}" for day in range(42) for hour in range(20)]


def test_pictures_that_went_after_they_were_acknowledged_are_told_when_they_are_wanted_again(tmp_path, now):
    outbox = Outbox(tmp_path / "outbox.db", now, LOG_ROOM_BYTES + RESERVE_BYTES + WAL_BYTES)
    for n in range(60):
        commit(outbox, message(f"m{n}"), picture(f"p{n}", 150_000), incident=f"i{n}")
        store(outbox, f"m{n}", f"p{n}")
    assert outbox.dropped() == []
    outbox.resend(0.0)
    gone = [name for _, name in outbox.dropped()]
    assert gone == [f"p{n}" for n in range(len(gone))]
    assert 0 < len(gone) < 60
    assert {one.id for one in outbox.due(200, 10**9)} == {f"m{n}" for n in range(60)} | {
        f"p{n}" for n in range(len(gone), 60)
    }
    outbox.close()


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 32 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "none", folder], check=False).returncode:
        pytest.skip("needs to mount a small disk (root)")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_takes_pictures_from_the_box_and_no_incident(small_disk, now, caplog):
    outbox = Outbox(small_disk / "outbox.db", now)
    for n in range(20):
        commit(outbox, message(f"m{n}", 2000), picture(f"p{n}", 150_000), incident=f"i{n}")
    fill(small_disk)
    for n in range(20, 200):
        commit(outbox, message(f"m{n}", 2000), picture(f"p{n}", 150_000), incident=f"i{n}", head=f"h{n}")
        store(outbox, f"m{n}")
    assert outbox.figures().unwritten == 0
    assert outbox.dropped()
    outbox.close()
    again = Outbox(small_disk / "outbox.db", now)
    assert [one.incident for one in again.incidents()] == [f"i{n}" for n in range(200)]
    assert {f"m{n}" for n in range(20)} <= {one.id for one in again.due(1000, 10**9)}
    again.close()


def fill(folder):
    with (folder / "filling").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)


def test_where_no_picture_can_make_room_incidents_wait_in_memory(small_disk, now, caplog):
    outbox = Outbox(small_disk / "outbox.db", now)
    commit(outbox, message("m-first"), incident="i-first", head="h-first")
    fill(small_disk)
    for n in range(12):
        commit(outbox, message(f"m{n}", 900_000), incident=f"i{n}", head=f"h{n}", state=f'{{"n": {n}}}')
    figures = outbox.figures()
    assert figures.unwritten > 0
    assert figures.waiting == 13
    assert caplog.text.count("kept in memory") == 1
    # whoever asks sees what was committed, and the chain goes on
    assert [one.incident for one in outbox.incidents()] == ["i-first", *(f"i{n}" for n in range(12))]
    assert outbox.incident("i11").state == '{"n": 11}'
    with outbox.sealing() as ledger:
        assert ledger.head == "h11"
    assert not outbox.write_down()
    (small_disk / "filling").unlink()
    assert outbox.write_down()
    assert outbox.figures().unwritten == 0
    assert outbox.figures().waiting == 13
    outbox.close()
    again = Outbox(small_disk / "outbox.db", now)
    assert {one.id for one in again.due(1000, 10**9)} == {"m-first", *(f"m{n}" for n in range(12))}
    again.close()


def test_what_was_committed_survives_sigkill(tmp_path):
    """A process commits and says so, and is killed at an arbitrary moment."""
    script = textwrap.dedent("""
        import sys, time
        from pathlib import Path
        sys.path.insert(0, sys.argv[2])
        from tests.agent.uplink.test_outbox import commit, message
        from agent.uplink.outbox import Outbox
        outbox = Outbox(Path(sys.argv[1]), time.time)
        for n in range(100000):
            commit(outbox, message(f"m{n}", 2000), incident=f"i{n}", head=f"h{n}")
            print(n, flush=True)
    """)
    path = tmp_path / "outbox.db"
    child = subprocess.Popen([sys.executable, "-c", script, path, Path.cwd()], stdout=subprocess.PIPE, text=True)
    for _ in range(57):
        last = int(child.stdout.readline())
    child.send_signal(signal.SIGKILL)
    rest = child.stdout.read().split()
    child.stdout.close()
    child.wait()
    last = max([last, *(int(number) for number in rest)])
    outbox = Outbox(path, Now())
    found = ids(outbox, limit=100_000, max_bytes=10**9)
    assert found[: last + 1] == [f"m{n}" for n in range(last + 1)]
    assert len(found) <= last + 2
    with outbox.sealing() as ledger:
        assert ledger.head == f"h{len(found) - 1}"
    outbox.close()

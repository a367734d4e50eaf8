"""The outbox: what was committed is there after anything; what was not, is not."""

import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from agent.uplink.outbox import KEEP_CLOSED, RESEND_S, IncidentRow, Outbox, OutboxError, Outgoing
from protocol.messages import Acknowledgement, Postponement, Refusal


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


def test_what_is_due_comes_in_order_and_within_limits(outbox):
    commit(outbox, message("m1"), message("m2"), message("m3", 500), message("m4"))
    assert ids(outbox) == ["m1", "m2", "m3", "m4"]
    assert ids(outbox, limit=2) == ["m1", "m2"]
    assert ids(outbox, max_bytes=100) == ["m1", "m2"]
    assert ids(outbox, max_bytes=1) == ["m1"]  # one goes, however large
    assert outbox.due(1, 100)[0] == message("m1")


def test_what_is_unanswered_is_due_again(outbox, now):
    commit(outbox, message("m1"), message("m2"))
    outbox.sent("m1")
    assert ids(outbox) == ["m2"]
    now.time_s += RESEND_S
    assert ids(outbox) == ["m1", "m2"]
    outbox.sent("m1", 500)
    outbox.forget_sent()
    assert ids(outbox) == ["m1", "m2"]


def test_the_centers_word_is_final_or_not(outbox, now):
    commit(outbox, *(message(f"m{n}") for n in range(4)))
    outbox.acknowledge(
        Acknowledgement(
            stored=("m0", "unknown"),
            refused=(Refusal(id="m1", code="invalid", text="no such camera"),),
            later=(Postponement(id="m2", after_s=60),),
        )
    )
    assert ids(outbox) == ["m3"]
    assert outbox.parked() == [("m1", "refused by the center (invalid): no such camera")]
    assert outbox.figures().waiting == 2
    assert outbox.figures().parked == 1
    now.time_s += 60
    assert ids(outbox) == ["m2", "m3"]
    # a second answer changes nothing, and neither does the same message committed once more
    outbox.acknowledge(Acknowledgement(refused=(Refusal(id="m0", code="x", text=""),)))
    commit(outbox, message("m0"))
    assert ids(outbox) == ["m2", "m3"]


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
    commit(outbox, message("m3"), incident="i1", state='{"a": 2}', head="h3")
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
    for n in range(KEEP_CLOSED + 5):
        commit(outbox, incident=f"closed-{n}", is_open=False)
    now.time_s += 100
    outbox.prune(50)
    assert ids(outbox) == ["m2"]
    kept = [one.incident for one in outbox.incidents()]
    assert len(kept) == KEEP_CLOSED + 1
    assert kept[0] == "i1"
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


def test_a_newer_outbox_is_not_touched(tmp_path, now):
    path = tmp_path / "outbox.db"
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 9")
    db.commit()
    db.close()
    with pytest.raises(OutboxError, match="update the agent"):
        Outbox(path, now)


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

"""Two collectors lock several tickets each: on PostgreSQL neither waits for the other for ever."""

import threading
import time

import pytest
from sqlalchemy import event

from collector.indicators import keeping
from collector.learning import acceptance
from collector.tickets import desk as door
from tests import incidents
from tests.collector.tickets.conftest import LI
from tests.incidents import START_S, Case, jpeg

CASES = [Case(number=number, shop=f"shop-{number}") for number in range(1, 9)]
NUMBERS = [case.number for case in CASES]
NOW_MS = round((START_S + 3600) * 1000)
PAUSE_S = 0.05


def look(desk):
    """As the desk does after a change of places: all at once."""
    desk.write(door.look_at_all, {case.number: f"encroachment/shop/{case.shop}" for case in CASES})


def release(desk, numbers=NUMBERS, change=acceptance.release):
    desk.write(change, LI, numbers, "光影", NOW_MS)


def release_backwards(desk):
    release(desk, NUMBERS[::-1])


def take_back(desk):
    release(desk, change=acceptance.take_back)


def take_back_backwards(desk):
    release(desk, NUMBERS[::-1], acceptance.take_back)


def work_out(desk):
    assert sum(count for count, _ in keeping.work_out(desk.store, every=True)) == len(NUMBERS)


@pytest.mark.parametrize("desk", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (release, release_backwards),
        (release, look),
        (take_back, take_back_backwards),
        (work_out, look),
        (work_out, release_backwards),
    ],
)
def test_each_comes_to_its_end(desk, one, other):
    for case in CASES:
        case.pictures, case.head = [], None
    desk.take_any(incidents.status(), *(case.picture("at", content=jpeg(case.number)) for case in CASES))
    desk.take_any(*(case.opened() for case in CASES))
    with desk.store.writing() as session:
        for number in NUMBERS:
            door.act(session, LI, number, "false_alarm", at_ms=NOW_MS - 1)
    if one is take_back:
        release(desk)
    locks, begun, faults = {"one": 0, "other": 0}, threading.Event(), []

    @event.listens_for(desk.store.engine, "after_cursor_execute")
    def pause(_connection, _cursor, statement, *_):
        name = threading.current_thread().name
        if "advisory" in statement and name in locks:
            locks[name] += 1
            if locks["one"] == 2:  # it has one and wants more
                begun.set()
            time.sleep(PAUSE_S)

    def run(what):
        try:
            what(desk)
        except Exception as fault:  # noqa: BLE001 - of a thread, which would keep it to itself
            faults.append(fault)
        finally:
            begun.set()

    threads = [threading.Thread(target=run, args=(what,), name=name) for what, name in ((one, "one"), (other, "other"))]
    threads[0].start()
    begun.wait(20)
    threads[1].start()
    for thread in threads:
        thread.join(30)
    event.remove(desk.store.engine, "after_cursor_execute", pause)
    assert faults == []
    assert all(locks.values())

"""Migrations over a filled database, copies that are whole, and one collector at a time on SQLite."""

import json
import os
import shutil
import threading
import time

import pytest
from sqlalchemy import create_engine, func, make_url, select, text

from collector.commandline import open_data
from collector.evidence.files import PictureFiles
from collector.settings import load_settings
from collector.store import IncidentRow, PictureRow, StoreError, Ticket, alone, open_store
from collector.store.backup import BackupError, back_up, restore, verify
from collector.store.engine import upgrade
from collector.tickets.timekeeper import Timekeeper
from tests.collector.conftest import Desk
from tests.incidents import Case
from tests.services import BIN, run

FILLED = """
INSERT INTO box VALUES ('box-1', 's', NULL, 'online', '1', 'b', 1, 2, NULL);
INSERT INTO ticket VALUES (7, 'k', 'r', 's', 'box-1', 'cam-1', 'front', 'pending_review', 1, 1, 2, 3, NULL, NULL, 0);
INSERT INTO incident VALUES ('i', 'box-1', 7, 'open', 1, 1, NULL, 'seen', '{}');
INSERT INTO message VALUES ('i:1', 'box-1', 'i', 1, 'cityeye.incident.opened', 5, '{}');
INSERT INTO refused (topic, message_id, code, text, received_ms, head) VALUES ('t', NULL, 'invalid', 'x', 1, 'h');
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'a.db'}"
    return request.getfixturevalue("postgres").create()


def test_a_filled_database_of_the_first_version_is_brought_up(url):
    engine = create_engine(url)
    with engine.begin() as connection:
        upgrade(connection, "0001")
        for line in FILLED.strip().splitlines():
            connection.execute(text(line))
    engine.dispose()
    store = open_store(url)
    with store.transaction() as session:
        ticket = session.get(Ticket, 7)
        assert (ticket.late, ticket.incidents[0].clock, ticket.incidents[0].late) == (0, "told", 0)
    store.close()


GROWN = {
    "0002": "UPDATE ticket SET late = 1",
    "0003": "UPDATE box SET standing = 'enrolled'",
    "0004": "INSERT INTO command VALUES ('c', 'box-1', 'verify', '{}', 'li', 1, 2, NULL, 'ok', '', '', '{}', NULL)",
    "0005": "UPDATE ticket SET reopened = 1",
    "0006": "INSERT INTO audit VALUES (1, 1, 'system', 'a', 'b/c', '{}', 'x', 'y')",
    "0007": "INSERT INTO case_serial VALUES ('330105', '2026-03-02', 1)",
    "0008": "INSERT INTO person (id, name, password_once, created_ms) VALUES ('li', 'li', 0, 1)",
    "0009": "INSERT INTO picture VALUES ('p', 'box-1', 'i', 'at', 'wide', 'x', 1, 1)",
    "0010": "INSERT INTO camera VALUES ('box-1', 'cam-1', 'live', 1, '', 0)",
    "0011": "UPDATE box SET health_ms = 1",
}
"""What each version could have written beyond the ones before."""
OVER = """
INSERT INTO ticket (number, key, rule, shop, box_id, camera, zone, state, open, opened_ms, created_ms, changed_ms,
cleared_ms, repeat_of, reopened) VALUES (8, 'k2', 'r', NULL, 'box-1', 'cam-1', 'b', 'lapsed', 0, 1, 2, 3, 2, 7, 0);
INSERT INTO ticket_event (ticket_number, kind, at_ms, received_ms, message_id, detail)
VALUES (8, 'lapsed', 2, 3, NULL, '{}');
"""


@pytest.mark.parametrize(
    "version", ["0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009", "0010", "0011"]
)
def test_a_filled_database_of_every_version_is_brought_up_and_goes_on(url, version, tmp_path):
    engine = create_engine(url)
    with engine.begin() as connection:
        upgrade(connection, "0001")
        for line in (*FILLED.strip().splitlines(), *OVER.strip().split(";\n")):
            connection.execute(text(line.rstrip(";")))
        for step, statement in GROWN.items():
            if step <= version:
                upgrade(connection, step)
                connection.execute(text(statement))
    engine.dispose()
    desk = Desk(tmp_path, url)
    with desk.store.transaction() as session:
        going, over = session.get(Ticket, 7), session.get(Ticket, 8)
        assert (going.street, going.present, going.version, going.look_ms, going.closed_ms) == ("s", 1, 1, 3, None)
        assert (over.street, over.present, over.look_ms, over.closed_ms, over.repeat_of) == ("s", 0, None, 2, 7)
        assert (over.events[0].author, over.events[0].before) == ("camera", None)
    # the desk takes up what was open, and leaves alone what was over
    keeper = Timekeeper(desk.store)
    with desk.store.writing() as session:
        session.execute(text("UPDATE incident SET data = :data"), {"data": incident_data()})
    assert keeper.step() == 1
    with desk.store.transaction() as session:
        going, over = session.get(Ticket, 7), session.get(Ticket, 8)
        assert (going.state, going.due_kind, going.level) == ("pending_review", "review: 5 minutes", 0)
        assert going.due_ms > time.time() * 1000  # nothing is overdue that nobody was asked to do
        assert (over.state, over.due_ms) == ("lapsed", None)
    desk.store.close()


def incident_data():
    return json.dumps(json.loads(Case().opened().payload)["data"])


def test_a_collector_goes_on_with_what_was_there_before(url, tmp_path):
    desk = Desk(tmp_path, url)
    desk.take(Case().opened())
    with desk.store.engine.begin() as connection:
        connection.execute(text("UPDATE incident SET received_ms = NULL"))
    assert desk.take(Case(number=2).opened())[0]
    with desk.store.transaction() as session:
        assert session.scalar(select(func.count()).select_from(Ticket)) == 1
    desk.store.close()


def test_two_collectors_that_start_together_make_the_tables_once(postgres):
    url = postgres.create()
    found = []
    threads = [threading.Thread(target=lambda: found.append(open_store(url))) for _ in range(3)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(found) == 3
    for store in found:
        store.close()


def test_sqlite_has_one_collector(tmp_path):
    with alone(tmp_path), pytest.raises(StoreError, match="expected no other collector"), alone(tmp_path):
        pass
    with alone(tmp_path):
        pass


def filled(desk, number=0):
    case = Case(number=number + 1, shop=f"shop-{number}")
    desk.take(case.picture("at", number=number), case.opened())
    return case


def counts(store):
    with store.transaction() as session:
        return [session.scalar(select(func.count()).select_from(table)) for table in (Ticket, IncidentRow, PictureRow)]


def test_a_copy_made_while_messages_come_is_whole(desk, tmp_path, postgres):
    """Whatever the moment: every row's picture is in it, and it comes back as it was."""
    for number in range(5):
        filled(desk, number)
    stop = threading.Event()

    def go_on():
        number = 5
        while not stop.is_set():
            filled(desk, number)
            number += 1

    working = threading.Thread(target=go_on)
    working.start()
    target = tmp_path / "copy"
    try:
        manifest = back_up(make_url(desk.url), desk.files, target, "2026-01-01T00:00:00.000Z")
    finally:
        stop.set()
        working.join()
    assert verify(target) == manifest
    other = tmp_path / "other"
    other.mkdir()
    new = f"sqlite:///{other / 'center.db'}" if desk.url.startswith("sqlite") else postgres.create()
    files = PictureFiles(other / "evidence")
    restore(target, make_url(new), files, over=False)
    store = open_store(new)
    tickets, cases, pictures = counts(store)
    assert tickets == cases >= 5
    with store.transaction() as session:
        hashes = list(session.scalars(select(PictureRow.sha256)))
    assert pictures == len(hashes) >= 5
    assert all(files.path(one).is_file() for one in hashes)
    store.close()
    # what came after the copy is sent again, and is stored once
    again = Desk(other, new)
    late = Case(number=900, shop="new")
    assert again.take(late.opened(), Case(number=1, shop="shop-0").opened())[0]
    assert counts(again.store)[0] == tickets + 1
    again.store.close()
    with pytest.raises(BackupError, match="expected an empty database"):
        restore(target, make_url(new), files, over=False)
    restore(target, make_url(new), files, over=True)
    store = open_store(new)
    assert counts(store) == [tickets, cases, pictures]
    store.close()


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda copy: next(copy.glob("evidence/*/*")).unlink(), "expected a file of the copy"),
        (lambda copy: (copy / "center.db").write_bytes(b"x"), "damaged"),
        (lambda copy: (copy / "manifest.json").unlink(), "expected a copy made by"),
        (lambda copy: (copy / "manifest.json").write_text('{"version": 9}'), "expected a copy made by"),
    ],
)
def test_a_damaged_copy_is_not_put_back(tmp_path, spoil, expected):
    desk = Desk(tmp_path)
    filled(desk)
    back_up(make_url(desk.url), desk.files, tmp_path / "copy", "x")
    shutil.copytree(tmp_path / "copy", tmp_path / "spoilt")  # pictures of a copy are links
    spoil(tmp_path / "spoilt")
    with pytest.raises(BackupError, match=expected):
        restore(tmp_path / "spoilt", make_url(desk.url), desk.files, over=True)
    assert counts(desk.store) == [1, 1, 1]
    desk.store.close()


def test_a_picture_that_is_missing_is_told(tmp_path):
    desk = Desk(tmp_path)
    case = filled(desk)
    desk.files.path(case.pictures[0][0].sha256).unlink()
    with pytest.raises(BackupError, match="expected this picture, found none"):
        back_up(make_url(desk.url), desk.files, tmp_path / "copy", "x")
    assert not list(tmp_path.glob("copy*"))
    desk.store.close()


def test_what_a_killed_collector_left_is_swept(tmp_path):
    files = PictureFiles(tmp_path)
    (tmp_path / "ab").mkdir()
    old, new = tmp_path / "ab/old.part", tmp_path / "ab/new.part"
    for path, at_s in ((old, 1000.0), (new, 9000.0)):
        path.touch()
        os.utime(path, (at_s, at_s))
    files.sweep(9001.0)
    assert (old.exists(), new.exists()) == (False, True)


def test_the_commands(tmp_path):
    (tmp_path / "data").mkdir()
    desk = Desk(tmp_path / "data")
    filled(desk)
    desk.store.close()
    path = tmp_path / "center.toml"
    path.write_text('version = 1\n[center]\nid = "demo"\n[broker]\nurl = "mqtt://127.0.0.1:1"\n')
    collector = BIN / "cityeye-collector"
    made = run(collector, "backup", tmp_path / "copy", "--settings", path)
    assert made.returncode == 0, made.stderr
    assert run(collector, "backup", tmp_path / "copy", "--settings", path).returncode == 2
    refused = run(collector, "restore", tmp_path / "copy", "--settings", path)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    done = run(collector, "restore", tmp_path / "copy", "--settings", path, "--over")
    assert done.returncode == 0, done.stderr
    assert "resend since=" in done.stdout
    assert json.loads((tmp_path / "data" / "restored.json").read_text())["made_at"] in done.stdout
    with alone(tmp_path / "data"):
        running = run(collector, "restore", tmp_path / "copy", "--settings", path, "--over")
    assert "expected no other collector" in running.stderr


def test_the_folder_of_data_is_closed_to_others(tmp_path):
    """Telephone numbers and hashes of passwords lie there."""
    settings = tmp_path / "center.toml"
    settings.write_text('version = 1\n[center]\nid = "demo"\n[broker]\nurl = "mqtt://127.0.0.1:1"\n')
    open_data(load_settings(settings)).close()
    assert not [path for path in (tmp_path / "data", tmp_path / "data/center.db") if path.stat().st_mode & 0o077]

"""The migrations, copies that are whole, and one collector at a time on SQLite."""

import json
import os
import shutil
import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import func, make_url, select, text

from collector.commandline import open_data
from collector.evidence.files import PictureFiles
from collector.settings import load_settings
from collector.store import Base, IncidentRow, PictureRow, StoreError, Ticket, alone, open_store
from collector.store.backup import BackupError, back_up, restore, verify
from tests.collector.conftest import Desk, at_once
from tests.incidents import Case
from tests.services import BIN, run

SETTINGS = 'version = 1\n[center]\nid = "demo"\n[broker]\nurl = "mqtt://127.0.0.1:1"\n'


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'a.db'}"
    return request.getfixturevalue("postgres").create()


def test_tables_are_the_ones_that_the_migrations_make(url):
    for _ in range(2):
        store = open_store(url)
        with store.engine.connect() as connection:
            assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
        store.close()


@pytest.mark.parametrize(
    ("revision", "expected"),
    [
        ("0018", r"of revision 0019 or newer, got 0018; start the collector of commit \w+ on it once"),
        ("9999", "of this version or an older one.*; update the collector"),
    ],
)
def test_a_database_of_another_version_is_refused(url, revision, expected):
    store = open_store(url)
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :one"), {"one": revision})
    store.close()
    with pytest.raises(StoreError, match=f"^[^\n]*expected a database {expected}[^\n]*$"):
        open_store(url)


def test_a_collector_goes_on_with_what_was_there_before(url, tmp_path):
    desk = Desk(tmp_path, url)
    desk.take(Case().opened())
    with desk.store.engine.begin() as connection:
        connection.execute(text("UPDATE incident SET received_ms = NULL"))
    assert desk.take(Case(number=2).opened())[0]
    assert desk.count(Ticket) == 1
    desk.store.close()


def test_two_collectors_at_once_make_the_tables_once(postgres):
    url = postgres.create()
    for store in at_once(*[lambda: open_store(url)] * 3):
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
    path.write_text(SETTINGS)

    def collector(verb, *words):
        return run(BIN / "cityeye-collector", verb, tmp_path / "copy", "--settings", path, *words)

    made = collector("backup")
    assert made.returncode == 0, made.stderr
    assert collector("backup").returncode == 2
    refused = collector("restore")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    done = collector("restore", "--over")
    assert done.returncode == 0, done.stderr
    assert "resend since=" in done.stdout
    assert json.loads((tmp_path / "data" / "restored.json").read_text())["made_at"] in done.stdout
    with alone(tmp_path / "data"):
        running = collector("restore", "--over")
    assert "expected no other collector" in running.stderr


def test_the_folder_of_data_is_closed_to_others(tmp_path):
    """Telephone numbers and hashes of passwords lie there."""
    settings = tmp_path / "center.toml"
    settings.write_text(SETTINGS)
    open_data(load_settings(settings)).close()
    assert not [path for path in (tmp_path / "data", tmp_path / "data/center.db") if path.stat().st_mode & 0o077]

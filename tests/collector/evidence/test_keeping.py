"""What keepers promise beside other work: holds outlive a restore, old copies, slow storages, several collectors."""

import hashlib
import json
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from sqlalchemy import make_url, select, text, update

from collector.evidence.files import PictureFiles
from collector.evidence.heritage import settle
from collector.evidence.retention import RETAINED
from collector.learning import acceptance
from collector.people.actor import SYSTEM
from collector.people.audit import show
from collector.store import HoldRow, Ticket, TrainingRelease, lock, open_store
from collector.store import backup as copies
from collector.store.backup import BackupError, back_up, restore, verify
from tests.collector.evidence.test_retention import PERIODS, START_MS, faults, fill, hold, later
from tests.incidents import START_S, Case, jpeg
from tests.people import browser, make_pages, make_person, sign_in


def put_back(desk, copy, **how):
    desk.store.close()
    try:
        return restore(copy, make_url(desk.url), desk.files, over=True, **how)[1]
    finally:
        desk.store = desk.writer._store = open_store(desk.url)


TOLD = {"holds_carried": [1, 2], "holds_lost": [], "releases_carried": []}
DIES = """
import os, sys
from pathlib import Path
from sqlalchemy import make_url
from collector.evidence import files, heritage
from collector.store import backup
heritage._take = lambda *_: os._exit(9)
backup.restore(Path(sys.argv[1]), make_url(sys.argv[2]), files.PictureFiles(Path(sys.argv[3])), over=True)
"""


def test_holds_set_and_lifted_since_outlive_a_restore(desk, tmp_path):
    (_, held), (_, lifted) = fill(desk), fill(desk, 2, 2)
    hold(desk, 2, on=True)
    made_at = datetime.fromtimestamp(desk.now_s + 1, UTC).isoformat()
    back_up(make_url(desk.url), desk.files, tmp_path / "copy", made_at)
    hold(desk, 1, on=True)
    hold(desk, 2, on=False)
    assert put_back(desk, tmp_path / "copy") == TOLD
    assert (faults(desk), later(desk)) == ([], 1)
    assert (desk.files.has(held), desk.files.has(lifted)) == (True, False)
    # of a ticket that the copy lacks only with consent, and of a database that cannot be read
    desk.now_s += 60
    fill(desk, 3, 3)
    hold(desk, 3, on=True)
    with pytest.raises(BackupError, match="tickets 3: under legal hold"):
        put_back(desk, tmp_path / "copy")
    assert put_back(desk, tmp_path / "copy", lose_holds=True) == TOLD | {"holds_lost": [3]}
    if not desk.store.shared:
        desk.store.close()
        (tmp_path / "center.db").write_bytes(b"x" * 4096)
        with pytest.raises(BackupError, match="nor can its legal holds"):
            restore(tmp_path / "copy", make_url(desk.url), desk.files, over=True)


@pytest.mark.parametrize("again", [False, True])
def test_a_restore_that_dies_halfway_loses_no_hold_and_no_release(desk, tmp_path, again):
    names = [fill(desk, number, number)[1] for number in (1, 2, 3, 4)]

    def release(*numbers, change=acceptance.release):
        desk.execute(update(Ticket).where(Ticket.number.in_(numbers)).values(state="false_alarm"))
        desk.write(change, SYSTEM, numbers, "训练", START_MS)

    release(2, 3)
    made_at = datetime.fromtimestamp(desk.now_s + 1, UTC).isoformat()
    back_up(make_url(desk.url), desk.files, tmp_path / "copy", made_at)
    hold(desk, 1, on=True)
    release(3, change=acceptance.take_back)
    release(4)
    desk.store.close()
    gone = [sys.executable, "-c", DIES, str(tmp_path / "copy"), desk.url, str(desk.files.root)]
    assert subprocess.run(gone, check=False).returncode == 9
    desk.store = desk.writer._store = open_store(desk.url)
    assert desk.rows(select(HoldRow)) == []  # the copy
    if again:
        put_back(desk, tmp_path / "copy")
    else:
        told = {"holds_carried": [1], "holds_lost": [], "releases_carried": [3, 4]}
        assert (settle(desk.store)[1], settle(desk.store)) == (told, ([], {}))
    with desk.store.transaction() as session:
        assert session.scalars(select(TrainingRelease.ticket).order_by(TrainingRelease.ticket)).all() == [2, 4]
        session.execute(update(Ticket).where(Ticket.number == 4).values(state="false_alarm"))  # as people said since
    assert (later(desk), faults(desk)) == (1, [])
    assert [desk.files.has(one) for one in names] == [True, True, False, True]


def test_a_copy_made_beside_retention_says_what_vanished(desk, tmp_path, monkeypatch):
    (_, gone), (_, held) = fill(desk), fill(desk, 2, 2)
    hold(desk, 2, on=True)
    link = copies._link
    monkeypatch.setattr(copies, "_link", lambda *given: (later(desk), link(*given))[1])
    manifest = back_up(make_url(desk.url), desk.files, tmp_path / "copy", "x")
    assert (manifest.pictures, list(manifest.deleted)) == ((held,), [gone])
    put_back(desk, tmp_path / "copy")
    assert (verify(tmp_path / "copy"), faults(desk)) == (manifest, [])


def test_an_unreadable_copy_is_said_and_holds_up_nothing(desk, tmp_path, caplog):
    _, gone = fill(desk)
    for name in "abc":
        back_up(make_url(desk.url), desk.files, tmp_path / "all" / name, "x")
    (tmp_path / "all/b/manifest.json").write_text("{")
    assert later(desk, periods=PERIODS.model_copy(update={"backups": (tmp_path / "all",)})) == 1
    assert [PictureFiles(tmp_path / "all" / name / "evidence").has(gone) for name in "abc"] == [False, True, False]
    (line,) = desk.read(show, action=RETAINED)
    assert list(json.loads(line.detail)["unread"]) == [str(tmp_path / "all" / "b")]
    assert "all/b" in caplog.text


@dataclass(frozen=True)
class Slow(PictureFiles):
    """A storage that does nothing until it is let."""

    asked: threading.Event = field(default_factory=threading.Event)
    let: threading.Event = field(default_factory=threading.Event)

    def _wait(self):
        self.asked.set()
        assert self.let.wait(60)

    def read(self, sha256):
        self._wait()
        return super().read(sha256)

    def put(self, sha256, content):
        self._wait()
        super().put(sha256, content)


def post(path, **form):
    return lambda _, client: client.post(path, **form).status_code


WORK = {
    "inbox": (lambda desk, _: len(desk.take(Case(number=9, shop="9").picture(number=9))[0]), 1),
    "retention": (lambda desk, _: later(desk), 1),
    "package": (post("/evidence/tickets/1/package", data={"reason": "复核"}), 200),
    "original": (post(f"/evidence/{hashlib.sha256(jpeg()).hexdigest()}/original", data={"reason": "复核"}), 200),
    "picture": (post("/tasks/2/picture", files={"picture": jpeg(4)}), 303),
}


@pytest.mark.parametrize("work", WORK)
def test_while_a_storage_is_slow_others_write(desk, work):
    fill(desk)
    desk.take(Case(number=2, shop=None).opened())
    make_person(desk.store, "li", "operator@s", "grid_worker@s")
    desk.files = desk.writer._files = slow = Slow(desk.files.root)
    client = browser(make_pages(desk))
    sign_in(desk.store, "li", client)
    do, expected = WORK[work]
    done = []
    working = threading.Thread(target=lambda: done.append(do(desk, client)))
    working.start()
    try:
        assert slow.asked.wait(60)
        # it would fail after ten seconds where the other held it
        with desk.store.writing() as session:
            if desk.store.shared:
                session.execute(text("SET LOCAL lock_timeout = 10000"))
            lock(session, ["audit", *session.scalars(select("ticket/" + Ticket.key))])
    finally:
        slow.let.set()
        working.join()
    assert (done, faults(desk)) == ([expected], [])


def test_a_picture_that_comes_while_it_is_deleted_stays(desk):
    _, name = fill(desk)
    again, files = Case(number=2, shop="shop-2"), desk.files
    sent = [again.picture("at", number=0), again.opened(START_S + 70)]

    class Late(PictureFiles):
        def _remove(self, sha256):
            desk.take(*sent)  # by another collector
            super()._remove(sha256)

    desk.files = Late(files.root)
    assert (later(desk), files.has(name), faults(desk)) == (1, True, [])


def test_a_collector_drops_what_it_made_of_deleted_pictures(desk):
    (_, gone), (_, held) = fill(desk), fill(desk, 2, 2)
    hold(desk, 2, on=True)
    later(desk)
    small = [desk.files.thumbnails / "160" / name[:2] / f"{name}.jpg" for name in (gone, held)]
    for one in small:
        one.parent.mkdir(parents=True, exist_ok=True)
        one.touch()
    later(desk)
    assert [one.exists() for one in small] == [False, True]

"""What keepers promise beside other work: holds outlive a restore, copies of old versions, slow storages, several."""

import hashlib
import json
import shutil
import threading
import time
from dataclasses import dataclass, field

import pytest
from sqlalchemy import create_engine, make_url, select, text

from collector.evidence import ledger, retention, store_check
from collector.evidence.files import PictureFiles
from collector.evidence.retention import DAY_MS, retain
from collector.evidence.settings import EvidenceSection
from collector.people.actor import SYSTEM
from collector.store import AuditRow, LedgerRow, Ticket, lock, open_store
from collector.store import backup as copies
from collector.store.backup import BackupError, back_up, restore, verify
from collector.store.engine import upgrade
from collector.web.thumbnails import thumbnail
from tests.collector.conftest import Desk
from tests.collector.test_store import FILLED, GROWN
from tests.incidents import START_S, Case, jpeg, status
from tests.people import browser, make_pages, make_person, sign_in

START_MS = round(START_S * 1000)
PERIODS = EvidenceSection(keep_days=30)


def fill(desk, number=1):
    case = Case(number=number, shop=f"shop-{number}")
    desk.take(status(), case.picture("at", number=number), case.opened(), case.cleared(START_S + 60))
    return case.pictures[0][0].sha256


def later(desk, days=31, periods=PERIODS):
    return retain(desk.store, desk.files, periods, START_MS + days * DAY_MS, desk.folder)


def hold(desk, number, *, on=True):
    with desk.store.writing() as session:
        retention.hold(session, SYSTEM, number, "诉讼", START_MS, on=on)


def faults(desk):
    with desk.store.transaction() as session:
        return list(store_check.check(session, desk.files))


def put_back(desk, copy, **how):
    desk.store.close()
    try:
        return restore(copy, make_url(desk.url), desk.files, over=True, **how)
    finally:
        desk.store = open_store(desk.url)


def test_holds_set_and_lifted_since_the_copy_outlive_its_restore(desk, tmp_path):
    names = [fill(desk, number) for number in (1, 2)]
    hold(desk, 2)
    back_up(make_url(desk.url), desk.files, tmp_path / "copy", "x")
    hold(desk, 1)
    hold(desk, 2, on=False)
    put_back(desk, tmp_path / "copy")
    assert (faults(desk), later(desk), [desk.files.has(one) for one in names]) == ([], 1, [True, False])


def test_a_copy_made_beside_retention_says_what_vanished(desk, tmp_path, monkeypatch):
    gone, held = fill(desk), fill(desk, 2)
    hold(desk, 2)
    link = copies._link
    monkeypatch.setattr(copies, "_link", lambda *given: (later(desk), link(*given))[1])
    manifest = back_up(make_url(desk.url), desk.files, tmp_path / "copy", "x")
    assert (manifest.pictures, list(manifest.deleted)) == ((held,), [gone])
    put_back(desk, tmp_path / "copy")
    assert (verify(tmp_path / "copy"), faults(desk)) == (manifest, [])


def test_a_copy_that_cannot_be_read_is_said_and_holds_up_nothing(desk, tmp_path, caplog):
    gone = fill(desk)
    for name in ("a", "b", "c"):
        back_up(make_url(desk.url), desk.files, tmp_path / "all" / name, "x")
    (tmp_path / "all/b/manifest.json").write_text("{")
    assert later(desk, periods=PERIODS.model_copy(update={"backups": (tmp_path / "all",)})) == 1
    assert [PictureFiles(tmp_path / "all" / name / "evidence").has(gone) for name in "abc"] == [False, True, False]
    with desk.store.transaction() as session:
        line = session.scalars(select(AuditRow).where(AuditRow.action == retention.RETAINED)).one()
    assert [str(tmp_path / "all" / "b")] == list(json.loads(line.detail)["unread"])
    assert "all/b" in caplog.text


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_copy_of_before_there_was_evidence_is_put_back_and_upgraded(kind, tmp_path, request):
    def database(name):
        shared = kind == "postgresql"
        return request.getfixturevalue("postgres").create() if shared else f"sqlite:///{tmp_path / name}.db"

    old, copy, content = database("old"), tmp_path / "copy", jpeg()
    sha256 = hashlib.sha256(content).hexdigest()
    engine = create_engine(old)
    with engine.begin() as connection:
        upgrade(connection, "0001")
        for line in FILLED.strip().splitlines():
            connection.execute(text(line))
        for step, statement in GROWN.items():
            upgrade(connection, step)
            connection.execute(text(statement.replace("'x', 1, 1)", f"'{sha256}', 1, 1)")))
    engine.dispose()
    # as `backup` made it then
    PictureFiles(copy / "evidence").put(sha256, content)
    dump = copy / copies.DATABASES[kind]
    if kind == "sqlite":
        shutil.copyfile(tmp_path / "old.db", dump)
    else:
        copies._run_postgresql("pg_dump", make_url(old), "--format=custom", "--no-owner", f"--file={dump}")
    told = {"version": 1, "made_at": "x", "database": kind, "pictures": [sha256]}
    told["database_sha256"] = hashlib.sha256(dump.read_bytes()).hexdigest()
    (copy / "manifest.json").write_text(json.dumps(told))
    desk = Desk(tmp_path, database("new"))
    hold_of = fill(desk)
    put_back(desk, copy)
    assert (desk.files.has(sha256), desk.files.has(hold_of)) == (True, True)
    with desk.store.transaction() as session:
        assert session.scalars(select(Ticket.number)).all() == [7]
    assert fill(desk, 2)
    desk.store.close()
    restore(copy, make_url(database("empty")), PictureFiles(tmp_path / "empty"), over=False)


@dataclass(frozen=True)
class Slow(PictureFiles):
    """A storage that does nothing until it is let."""

    asked: threading.Event = field(default_factory=threading.Event, compare=False)
    let: threading.Event = field(default_factory=threading.Event, compare=False)

    def _wait(self):
        self.asked.set()
        assert self.let.wait(30)

    def read(self, sha256):
        self._wait()
        return super().read(sha256)

    def put(self, sha256, content):
        self._wait()
        super().put(sha256, content)

    def _remove(self, sha256):
        self._wait()
        super()._remove(sha256)


def post(path, **form):
    return lambda _, client: client.post(path, **form).status_code


SAID = {"source": "hotline", "code": "0507", "street": "s", "address": "示例路", "position": "120, 30.3"}
WORK = {
    "inbox": lambda desk, _: desk.take(Case(number=9, shop="9").picture(number=9))[1:],
    "retention": lambda desk, _: later(desk),
    "package": post("/evidence/tickets/1/package", data={"reason": "复核"}),
    "original": post(f"/evidence/{hashlib.sha256(jpeg(1)).hexdigest()}/original", data={"reason": "复核"}),
    "picture": lambda _, client: (
        client.put(
            "/api/tickets/2/pictures/12345678", content=jpeg(4), headers={"content-type": "image/jpeg"}
        ).status_code
    ),
    "task": post("/tasks/2/picture", files={"picture": jpeg(4)}),
    "report": post("/report", files={"picture": jpeg(4)}, data=SAID),
}
DONE = {"inbox": [[], []], "retention": 1, "package": 200, "original": 200, "picture": 201, "task": 303, "report": 303}


@pytest.mark.parametrize("work", WORK)
def test_while_a_storage_is_slow_others_write(desk, work):
    fill(desk)
    desk.take(Case(number=2, shop=None).opened())
    make_person(desk.store, "li", "operator@s", "grid_worker@s")
    desk.files = slow = Slow(desk.files.root)
    desk.writer._files = slow
    client = browser(make_pages(desk))
    sign_in(desk.store, "li", client)
    done = []
    working = threading.Thread(target=lambda: done.append(WORK[work](desk, client)))
    working.start()
    try:
        assert slow.asked.wait(20)
        began_s = time.monotonic()
        with desk.store.writing() as session:
            if desk.store.shared:
                session.execute(text("SET LOCAL lock_timeout = 3000"))
            lock(session, ["audit", "incident/x", *session.scalars(select("ticket/" + Ticket.key))])
        assert time.monotonic() - began_s < 3
    finally:
        slow.let.set()
        working.join()
    assert done == [tuple(DONE[work]) if work == "inbox" else DONE[work]]
    assert faults(desk) == []


def test_a_picture_that_comes_again_while_it_is_deleted_stays(desk):
    name = fill(desk)
    again = Case(number=2, shop="shop-2")
    sent = [again.picture("at", number=1), again.opened()]
    files = desk.files

    class Late(PictureFiles):
        def _remove(self, sha256):
            super()._remove(sha256)
            desk.take(*sent)  # by another collector
            super()._remove(sha256)

    desk.files = Late(files.root)
    desk.writer._files = files
    assert (later(desk), files.has(name), faults(desk)) == (1, True, [])


def test_each_collector_drops_what_it_made_of_deleted_pictures(desk, tmp_path):
    gone, held = fill(desk), fill(desk, 2)
    hold(desk, 2)
    near, far = desk.files, Elsewhere(tmp_path / "other" / "evidence", desk.files)
    small = [thumbnail(files, name, 160) for files in (near, far) for name in (gone, held)]
    assert later(desk) == 1
    assert [one.exists() for one in small] == [False, True, True, True]
    retain(desk.store, far, PERIODS, START_MS + 31 * DAY_MS, desk.folder)
    assert [one.exists() for one in small] == [False, True, False, True]


class Elsewhere(PictureFiles):
    """Of another collector: one storage for both, a disk of its own."""

    def __init__(self, root, storage):
        super().__init__(root)
        object.__setattr__(self, "read", storage.read)
        object.__setattr__(self, "names", storage.names)


def history(desk, count):
    for number in range(10, 10 + count):
        fill(desk, number)
    with desk.store.engine.begin() as connection:
        connection.execute(text("DELETE FROM ledger"))
        for kind in ("message", "picture"):
            connection.execute(
                text(f"INSERT INTO ledger_history SELECT '{kind}', '', max(received_ms) FROM {kind}")  # noqa: S608 - our own names
            )


def test_the_history_of_an_old_center_is_taken_up_in_parts_and_nobody_waits(desk, monkeypatch):
    monkeypatch.setattr(ledger, "CHUNK", 4)
    history(desk, 3)
    desk.now_s -= 3600  # a clock that goes back
    fill(desk)
    desk.now_s += 7200
    with desk.store.transaction() as session:
        assert (ledger.head(session).number, ledger.waiting(session)) == (0, 12)
    parts = 0
    while take_up(desk):
        parts += 1
        fill(desk, 100 + parts)
        assert faults(desk) == []
    assert parts == 5
    with desk.store.transaction() as session:
        named = [tuple(one[:2]) for row in session.scalars(select(LedgerRow.items)) for one in json.loads(row)]
        assert ledger.waiting(session) == 0
    assert len(named) == len(set(named)) == 3 * 9


def take_up(desk):
    with desk.store.writing() as session:
        return ledger.take_up(session, round(desk.now_s * 1000))

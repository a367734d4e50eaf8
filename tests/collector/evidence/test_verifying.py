"""A changed byte anywhere, and a deleted row, are found and named."""

from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text
from typer.testing import CliRunner

from collector.evidence import ledger, package, uploads
from collector.evidence.commands import evidence_commands
from collector.evidence.graves import written
from collector.evidence.report import Press
from collector.evidence.retention import hold, retain
from collector.evidence.settings import EvidenceSection
from collector.exchange.reports import Report, take
from collector.papers.typefaces import typeface
from collector.people.actor import Actor, Grant, Role
from collector.places.codes import load_codes
from collector.store import PictureRow, Ticket
from collector.tickets import desk as tickets
from tests.collector.conftest import Desk
from tests.collector.evidence.test_retention import faults
from tests.incidents import Case, jpeg, status
from tests.people import make_person

LI = Actor("person", "li", "Li", frozenset({Grant(Role.OPERATOR, "s")}))


STRANGER = """INSERT INTO picture (id, box_id, incident, role, view, sha256, bytes, received_ms)
SELECT 'x', box_id, 'i', role, view, sha256, bytes, 1 FROM picture WHERE role = 'clear'"""


def fill(desk):
    """A ticket with three pictures, reviewed by a person; one whose picture forks the chain; one that was reported."""
    make_person(desk.store, "li", "operator@s")
    case = Case()
    desk.take(status(), case.picture("clear"), case.picture("at", number=1), case.opened())
    fork = Case(number=2, shop=None, head=case.pictures[1][0].prev)
    desk.take(fork.picture(number=2), fork.opened())
    now_ms = round(desk.now_s * 1000)
    taken = uploads.read_upload(jpeg(5), ZoneInfo("UTC"), now_ms)
    with written(desk.store, desk.files, taken.sha256, taken.jpeg), desk.store.writing() as session:
        uploads.keep(session, LI, 1, "12345678", taken, now_ms)
        tickets.act(session, LI, 1, "confirm", at_ms=now_ms, seen=None, reason="看过")
        for on in (True, False):
            hold(session, LI, 1, "诉讼", now_ms, on=on)
        take(session, LI, Report("hotline", "0507", "s", address="示例路", lon=120, lat=30.3), load_codes(), now_ms)
    return case


def pack(desk):
    press = Press("小河街道", ZoneInfo("Asia/Shanghai"), typeface(), desk.folder)
    with desk.store.writing() as session:
        bundle = press.gather(session, LI, session.get(Ticket, 1), "复核", round(desk.now_s * 1000))
    return press.package(bundle, desk.files)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    desk = Desk(tmp_path_factory.mktemp("packed"))
    fill(desk)
    yield pack(desk)
    desk.store.close()


def test_a_package_holds_all_that_proves_a_ticket(packed):
    found, manifest = package.check(packed)
    assert found == []
    got = [(one["role"], one["evidence"], (one["seal"] or {}).get("state")) for one in manifest["pictures"]]
    assert got == [("at", True, "good"), ("clear", True, "good"), ("worker_after", True, None)]
    assert "Li（小河街道，person:li）" in (manifest["reviewed_by"], manifest["made_by"])
    names = set(manifest["files"])
    assert {"report.pdf", "ticket.json", "timeline.json", "access.json"} < names
    assert [sum(name.startswith(of) for name in names) for of in ("pictures/", "messages/")] == [3, 1]
    assert package.check(packed, manifest["public_key"])[0] == []
    assert "another key" in package.check(packed, "AAAA")[0][0]


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_changed_byte_of_a_package_is_found_and_named(packed, data):
    at = data.draw(st.integers(0, len(packed) - 1))
    spoilt = bytearray(packed)
    spoilt[at] ^= data.draw(st.integers(1, 255))
    found, _ = package.check(bytes(spoilt))
    assert found
    # whose content it lies in is named
    _, files, _ = package._open(packed)
    inside = [name for name, content in files.items() if 0 <= at - packed.find(content) < len(content)]
    assert all(any(name in one for one in found) for name in inside), (inside, found)


@given(cut=st.integers(1, 5000), end=st.booleans())
def test_a_package_that_was_cut_or_added_to_is_found(packed, cut, end):
    assert package.check(packed[:-cut] if end else packed[cut:])[0]
    assert package.check(packed + bytes(cut) if end else bytes(cut) + packed)[0]


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE picture SET role = 'after' WHERE role = 'clear'", "its row was changed"),
        ("UPDATE picture SET sha256 = 'x' WHERE role = 'clear'", "its row names no SHA-256"),
        ("DELETE FROM picture WHERE role = 'worker_after'", "its row was deleted"),
        (STRANGER, "put in past this program"),
        ("UPDATE picture SET deleted_ms = 1, deleted_line = 1", "the audit log does not"),
        ("UPDATE message SET payload = payload || ' '", "message"),
        ("DELETE FROM message", "its row was deleted"),
        ("UPDATE incident SET data = replace(data, 'cam-1', 'cam-2')", "is not what its newest message said"),
        ("UPDATE incident SET seq = 2", "is not what its newest message said"),
        ("UPDATE incident SET state = 'ended'", "is not what its newest message said"),
        ("UPDATE incident SET opened_ms = opened_ms + 1", "is not what its newest message said"),
        ("DELETE FROM incident", "its row was deleted"),
        ("UPDATE seal SET state = 'good' WHERE state = 'broken'", "says that it was broken"),
        ("DELETE FROM seal", "its seal was deleted"),
        ("DELETE FROM legal_hold", "its legal holds are not"),
        ("UPDATE legal_hold SET lifted_ms = NULL", "its legal holds are not"),
        ("UPDATE report SET address = 'x'", "its report is not"),
        ("DELETE FROM report", "its report is not"),
        ("UPDATE box SET public_key = NULL", "its seal was good as it came"),
        ("UPDATE ticket_event SET reason = 'x' WHERE kind = 'confirm'", "its time line lacks ticket.confirm"),
        ("DELETE FROM ticket_event WHERE kind = 'picture'", "its time line lacks ticket.picture"),
        ("UPDATE ledger SET at_ms = at_ms + 1 WHERE number = 1", "ledger line 1: it was changed"),
        ("DELETE FROM ledger WHERE number = 2", "ledger line 2: it is missing"),
    ],
)
def test_a_row_that_was_changed_or_deleted_is_named(desk, statement, named):
    fill(desk)
    assert faults(desk) == []
    with desk.store.engine.begin() as connection:
        connection.execute(text(statement))
    found = faults(desk)
    assert any(named in one for one in found), found


def test_what_was_cut_off_the_ledger_shows_in_the_audit_log(desk):
    fill(desk)
    retain(desk.store, desk.files, EvidenceSection(), round(desk.now_s * 1000), desk.folder)
    with desk.store.engine.begin() as connection:
        connection.execute(text("DELETE FROM picture WHERE role = 'worker_after'"))
        connection.execute(text("DELETE FROM ledger WHERE number = (SELECT max(number) FROM ledger)"))
    assert any("missing at the end" in one for one in faults(desk))


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_changed_byte_of_a_picture_is_named(stored, data):
    desk, names = stored
    sha256 = data.draw(st.sampled_from(names))
    path = desk.files.path(sha256)
    content = path.read_bytes()
    spoilt = bytearray(content)
    spoilt[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(spoilt)
    found = faults(desk)
    path.write_bytes(content)
    assert len(found) == 1
    assert sha256 in found[0] or "worker:" in found[0]
    assert "its file was changed" in found[0]


@pytest.mark.parametrize(("kind", "column"), [(kind, one) for kind, of in ledger.COLUMNS.items() for one in of])
def test_any_changed_value_of_a_row_is_named(stored, kind, column):
    desk, _ = stored

    update = text(f"UPDATE {kind} SET {column} = :value WHERE id = :name")  # noqa: S608 - our own names

    def put(value, name):
        with desk.store.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
            connection.execute(update, {"value": value, "name": name})
            connection.commit()

    with desk.store.engine.connect() as connection:
        name, old = connection.exec_driver_sql(f"SELECT id, {column} FROM {kind} ORDER BY id").first()  # noqa: S608 - as above
    new = old[:-1] + chr(ord(old[-1]) ^ 1) if isinstance(old, str) and old else (old or 0) + 1 if old != "" else "x"
    put(new, name)
    found = faults(desk)
    put(old, new if column == "id" else name)
    assert any(f"{kind} {name}: its row was" in one for one in found), found
    assert faults(desk) == []


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    desk = Desk(tmp_path_factory.mktemp("stored"))
    fill(desk)
    names = sorted(desk.rows(select(PictureRow.sha256)))
    yield desk, names
    desk.store.close()


def test_the_commands(tmp_path):
    (tmp_path / "data").mkdir()
    desk = Desk(tmp_path / "data")
    case = fill(desk)
    settings_file = tmp_path / "center.toml"
    settings_file.write_text('version = 1\n[center]\nid = "demo"\n[broker]\nurl = "mqtt://127.0.0.1:1"\n')

    def collector(*given):
        return CliRunner().invoke(evidence_commands, [str(one) for one in given])

    having = ("--settings", settings_file)
    made = collector("package", "1", "-o", tmp_path / "a.zip", "--reason", "复议 复核", *having)
    assert made.exit_code == 0, made.output
    key = collector("key", *having).stdout.strip()
    good = collector("verify", tmp_path / "a.zip", "--key", key)
    assert (good.exit_code, key in good.stdout) == (0, True)
    assert collector("verify", tmp_path / "a.zip", "--key", "AAAA").exit_code == 1
    (tmp_path / "a.zip").write_bytes((tmp_path / "a.zip").read_bytes().replace(b"JFIF", b"JFIX", 1))
    bad = collector("verify", tmp_path / "a.zip")
    assert (bad.exit_code, "pictures/" in bad.stdout) == (1, True)
    assert collector("verify", *having).exit_code == 0
    desk.files.path(case.pictures[0][0].sha256).unlink()
    missing = collector("verify", *having)
    assert (missing.exit_code, "its file is missing" in missing.stdout) == (1, True)
    assert collector("hold", "1", "--reason", "诉讼", *having).exit_code == 0
    assert collector("hold", "1", "--reason", "诉讼", *having).exit_code == 2
    assert collector("release", "1", "--reason", "结案", *having).exit_code == 0
    assert collector("retain", "--dry-run", *having).exit_code == 0
    assert collector("package", "9", "-o", tmp_path / "b.zip", "--reason", "复核", *having).exit_code == 2
    desk.store.close()

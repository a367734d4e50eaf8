"""What is deleted, what is kept, and that what is deleted does not come back."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError
from sqlalchemy import make_url, select, update

from collector.evidence import retention, store_check
from collector.evidence.files import PictureFiles
from collector.evidence.retention import DAY_MS, Keeper, Kept, due, retain
from collector.evidence.settings import EvidenceSection
from collector.learning import acceptance
from collector.people.actor import SYSTEM
from collector.store import AuditRow, PictureRow, Ticket, open_store
from collector.store.backup import back_up, restore, verify
from collector.web.thumbnails import thumbnail
from tests.incidents import START_S, Case, status

PERIODS = EvidenceSection(keep_days=30, false_alarm_days=7)
START_MS = round(START_S * 1000)


def kept(days_ago=0, **more):
    """A picture that came long before its ticket ended, so many days ago."""
    facts = {"ticket": 1, "key": "k", "state": "closed", "open": 0, "held": None, "released_ms": None, **more}
    return Kept(id="p", sha256="x", received_ms=0, ended_ms=(1000 - days_ago) * DAY_MS, **facts)


@pytest.mark.parametrize(
    ("one", "gone"),
    [
        (kept(29.9), False),
        (kept(30), True),
        (kept(30, held=3), False),
        (kept(30, released_ms=1), True),
        (kept(400, open=1, state="appealed"), False),
        (kept(6.9, state="false_alarm"), False),
        (kept(7, state="false_alarm"), True),
        (kept(7, state="false_alarm", held=1), False),
        (kept(7, state="false_alarm", released_ms=1), False),
        (kept(7, state="duplicate"), False),
        (kept(0, ticket=None, key=None, state=None, open=None), True),  # its incident never came
    ],
)
def test_when_a_picture_has_served_its_purpose(one, gone):
    assert bool(due(one, PERIODS, 1000 * DAY_MS)) == gone


@pytest.mark.parametrize(("keep", "false_alarm"), [(29, 7), (0, 7), (30, 0)])
def test_shorter_periods_are_refused(keep, false_alarm):
    with pytest.raises(ValidationError):
        EvidenceSection(keep_days=keep, false_alarm_days=false_alarm)


def fill(desk, number=1, content=0):
    """A ticket that ended by itself."""
    case = Case(number=number, shop=f"shop-{number}")
    desk.take(status(), case.picture("at", number=content), case.opened(), case.cleared(START_S + 60))
    return case, case.pictures[0][0].sha256


def later(desk, days=31, periods=PERIODS):
    return retain(desk.store, desk.files, periods, START_MS + days * DAY_MS, desk.folder)


def faults(desk):
    return desk.read(store_check.check, desk.files)


def hold(desk, number, *, on):
    desk.write(retention.hold, SYSTEM, number, "诉讼", START_MS, on=on)


def test_what_is_deleted_is_gone_and_the_log_says_why_and_a_hold_survives(desk):
    (case, gone), (_, held) = fill(desk), fill(desk, 2, 2)
    small = thumbnail(desk.files, gone, 160)
    hold(desk, 2, on=True)
    assert (later(desk, 29), later(desk), later(desk, 400)) == (0, 1, 0)
    assert (desk.files.has(gone), small.exists(), desk.files.has(held)) == (False, False, True)
    (row,) = desk.rows(select(PictureRow).where(PictureRow.deleted_ms.is_not(None)))
    line = desk.get(AuditRow, row.deleted_line)
    got = (line.action, line.object, json.loads(line.detail)["pictures"])
    assert got == ("evidence.deleted", "ticket/1", [row.id])
    assert "its ticket ended" in row.deleted_why == json.loads(line.detail)["why"]
    # a box that sends it once more is told that it is stored, and no file comes back
    again = Case(shop="shop-1").picture("at")
    assert desk.take(again)[0] == [row.id]
    assert not desk.files.has(gone)
    assert faults(desk) == []
    desk.files.put(gone, case.pictures[0][1])
    assert "its file is there, though it was deleted" in faults(desk)[0]
    hold(desk, 2, on=False)
    assert later(desk) == 1
    assert not desk.files.has(held)


def test_one_picture_of_two_incidents_goes_with_the_last(desk):
    fill(desk)
    _, sha256 = fill(desk, 2)
    hold(desk, 2, on=True)
    assert (later(desk), desk.files.has(sha256), faults(desk)) == (1, True, [])
    hold(desk, 2, on=False)
    assert (later(desk), desk.files.has(sha256), faults(desk)) == (1, False, [])


def test_false_alarms_go_early_unless_released_for_training(desk):
    fill(desk), fill(desk, 2, 2)
    desk.execute(update(Ticket).values(state="false_alarm", closed_ms=START_MS, open=0))
    assert desk.write(acceptance.release, SYSTEM, [2], "训练", START_MS) == 1
    assert (later(desk, 6), later(desk, 8), later(desk, 400)) == (0, 1, 0)
    assert desk.write(acceptance.take_back, SYSTEM, [2], "训练", START_MS) == 1
    assert later(desk, 9) == 1


def test_a_file_that_no_row_names_goes_too(desk):
    desk.files.put("0" * 64, b"x")
    retain(desk.store, desk.files, PERIODS, 4_000_000_000_000, desk.folder)
    assert list(desk.files.names()) == []


def test_what_is_deleted_leaves_copies_and_does_not_come_back_from_one(desk, tmp_path, postgres):
    _, gone = fill(desk)
    url = make_url(desk.url)
    early, listed = tmp_path / "early", tmp_path / "copies" / "one"
    listed.parent.mkdir()
    for target in (early, listed):
        back_up(url, desk.files, target, "2026-01-01T00:00:00.000Z")
    assert later(desk, periods=PERIODS.model_copy(update={"backups": (Path("copies"),)})) == 1
    manifest = verify(listed)
    assert (manifest.pictures, "its ticket ended" in manifest.deleted[gone]) == ((), True)
    assert not PictureFiles(listed / "evidence").has(gone)
    after = back_up(url, desk.files, tmp_path / "late", "x")
    assert (after.pictures, list(after.deleted)) == ((), [gone])
    # a copy that nobody named still holds it: the tombstone wins
    assert PictureFiles(early / "evidence").has(gone)
    desk.store.close()
    restore(early, url, desk.files, over=True)
    desk.store = open_store(desk.url)
    assert (desk.files.has(gone), faults(desk)) == (False, [])
    # nor where the database is new, and only the copy's manifest knows
    other = tmp_path / "other"
    other.mkdir()
    new = f"sqlite:///{other / 'center.db'}" if not desk.store.shared else postgres.create()
    files = PictureFiles(other / "evidence")
    restore(listed, make_url(new), files, over=False)
    store = open_store(new)
    with store.transaction() as session:
        (row,) = session.scalars(select(PictureRow))
        assert (files.has(gone), "its ticket ended" in row.deleted_why) == (False, True)
        assert list(store_check.check(session, files)) == []
    store.close()


@pytest.mark.parametrize(
    ("settled", "days", "runs"), [(True, 1, True), (False, 1, False), (True, 8, False), (True, -1, False)]
)
def test_nothing_is_deleted_by_a_clock_that_may_be_wrong(desk, settled, days, runs):
    asked = []
    keeper = Keeper(asked.append, desk.store, lambda: settled, lambda: START_MS + days * DAY_MS)
    later(desk, 0)
    assert (keeper.step(), len(asked)) == (runs, runs)

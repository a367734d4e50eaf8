"""The comparison of the books finds what it is for."""

import json

import pytest
from sqlalchemy import delete, update

from collector.store import IncidentRow, MessageRow, PictureRow, TicketEvent
from tests import incidents
from tests.collector.conftest import Desk
from tests.faults import books
from tests.incidents import START_S, Case


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path)
    yield desk
    desk.store.close()


@pytest.fixture
def case():
    return Case()


@pytest.fixture
def ledger(desk, case, tmp_path):
    """Of a box whose one incident is at the center as a whole."""
    shot = case.picture()
    desk.take(incidents.status(), shot, case.opened(), case.cleared(START_S + 60))
    picture = dict(shot.properties)
    one = f"{case.id}:{picture['role']}:{picture['view']}:{picture['sha256']}"
    lines = [{"box": "box-1", "incident": case.id, "seq": seq, "pictures": [one]} for seq in (1, 2)]
    path = tmp_path / "ledger"
    path.write_text("\n".join(json.dumps(line) for line in lines))
    return books.Ledger.read([path])


def found(desk, ledger):
    figures = books.compare(ledger, desk.store, desk.files)
    return {name for name in books.FAULTS if figures[name]}


def test_what_is_whole_is_found_whole(desk, ledger):
    assert found(desk, ledger) == set()


@pytest.mark.parametrize(
    ("damage", "names"),
    [
        (delete(MessageRow).where(MessageRow.seq == 2), {"lost_messages"}),
        (delete(PictureRow), {"lost_pictures"}),
        (update(PictureRow).values(sha256="0" * 64, id="x"), {"lost_pictures"}),
        (update(IncidentRow).values(seq=1), {"behind"}),
        (update(IncidentRow).values(state="open"), {"behind"}),
        (update(TicketEvent).values(kind="opened", message_id="m"), {"doubled"}),
    ],
)
def test_damage_to_the_database_is_found(desk, ledger, damage, names):
    with desk.store.transaction() as session:
        session.execute(damage)
    assert found(desk, ledger) == names


def test_a_lost_incident_a_foreign_one_and_a_changed_file_are_found(desk, ledger, case):
    ledger.seqs["never-came"] = 1
    assert found(desk, ledger) == {"lost", "lost_messages"}
    del ledger.seqs["never-came"]
    desk.files.path(case.pictures[0][0].sha256).write_bytes(b"rot")
    assert found(desk, ledger) == {"lost_pictures"}
    desk.take(Case(number=2, shop="shop-2").opened())
    assert found(desk, ledger) == {"lost_pictures", "doubled"}

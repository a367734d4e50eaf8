"""The tables of people come to a filled database of the version before, and its data stays."""

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DatabaseError

from collector.people import audit, roster
from collector.people.actor import SYSTEM, Grant
from collector.store import Box, open_store
from collector.store.engine import upgrade
from tests.people import QUICK

FILLED = (
    "INSERT INTO box (id, site, state, version, boot_id, state_since_ms, seen_ms, standing)"
    " VALUES ('box-1', 's', 'online', '1', 'b', 1, 2, 'enrolled')"
)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_filled_database_gets_people_and_a_log_that_is_only_appended(kind, tmp_path, request):
    url = f"sqlite:///{tmp_path / 'a.db'}" if kind == "sqlite" else request.getfixturevalue("postgres").create()
    engine = create_engine(url)
    with engine.begin() as connection:
        upgrade(connection, "0005")
        connection.execute(text(FILLED))
    engine.dispose()
    store = open_store(url)
    with store.writing() as session:
        assert session.get_one(Box, "box-1").site == "s"
        assert roster.is_empty(session)
        roster.add(session, SYSTEM, "wang", "王", [Grant.read("admin")], now_ms=1, password=QUICK.hash("x" * 12))
    with pytest.raises(DatabaseError, match="lines of the audit log are"), store.engine.begin() as connection:
        connection.execute(text("DELETE FROM audit"))
    store.close()
    store = open_store(url)  # once more, as after a restart
    with store.transaction() as session:
        assert roster.has_admin(session)
        assert audit.verify(session).lines == 1
    store.close()

"""The audit log: only appended, and every break is found."""

import re
from functools import partial

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DatabaseError

from collector.people import audit
from collector.people.actor import SYSTEM, Actor
from collector.people.audit import START, Head
from collector.store import AuditRow
from tests.collector.conftest import Desk, at_once

REPLACED = "INSERT OR REPLACE INTO audit SELECT number, 0, actor, action, object, detail, before, hash FROM audit"
"""SQLite's REPLACE deletes without its trigger, as PostgreSQL's TRUNCATE does without that of rows."""
WANG = Actor("person", "wang", "王", via="token/1")


def fill(desk, count=5):
    for number in range(1, count + 1):
        desk.write(audit.record, WANG, "ticket.confirm", f"ticket/{number}", {"理由": "看过", "n": number}, number)
    return desk.read(audit.head)


def verify(desk, noted=None):
    return desk.read(audit.verify, noted)


def by_force(desk, *statements):
    """As somebody who owns the database can: without its triggers."""
    with desk.store.engine.begin() as connection:
        if desk.store.shared:
            connection.execute(text("SET LOCAL session_replication_role = replica"))
        else:
            for name in ("audit_no_update", "audit_no_delete", "audit_append"):
                connection.execute(text(f"DROP TRIGGER IF EXISTS {name}"))
        for one in statements:
            connection.execute(text(one))


def test_lines_are_numbered_and_chained(desk):
    assert verify(desk) == audit.Verdict(0, Head(0, START))
    head = fill(desk)
    found = verify(desk)
    assert (found.lines, found.head, found.fault) == (5, head, None)
    rows = desk.read(audit.show)
    assert rows[-1].before == START
    assert audit.line_json(rows[0])["detail"] == {"理由": "看过", "n": 5, "via": "token/1"}
    asked = ({}, {"before": 4, "limit": 2}, {"of": "ticket/2"}, {"actor": "person:li"})
    found = [[row.number for row in desk.read(audit.show, **one)] for one in asked]
    assert found == [[5, 4, 3, 2, 1], [3, 2], [2], []]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET actor = 'person:li' WHERE number = 2",
        "UPDATE audit SET number = 9 WHERE number = 5",
        "DELETE FROM audit WHERE number = 5",
        "DELETE FROM audit",
        # numbers have no gaps, and a line names the one before
        "INSERT INTO audit SELECT 7, at_ms, actor, action, object, detail, hash, 'x' FROM audit WHERE number = 5",
        "INSERT INTO audit SELECT 6, at_ms, actor, action, object, detail, 'y', 'x' FROM audit WHERE number = 5",
        REPLACED,
    ],
)
def test_the_database_refuses_all_but_the_next_line(desk, statement):
    if statement == REPLACED and desk.store.shared:
        statement = "TRUNCATE audit"
    head = fill(desk)
    with pytest.raises(DatabaseError, match="lines of the audit log are"), desk.store.engine.begin() as connection:
        connection.execute(text(statement))
    assert verify(desk) == audit.Verdict(5, head)


@pytest.mark.parametrize(
    ("statement", "good", "expected"),
    [
        ("UPDATE audit SET actor = 'person:li' WHERE number = 3", 2, "line 3: .* it was changed"),
        ("UPDATE audit SET detail = '{}' WHERE number = 1", 0, "line 1: .* it was changed"),
        ("UPDATE audit SET at_ms = at_ms + 1 WHERE number = 5", 4, "line 5: .* it was changed"),
        ("UPDATE audit SET hash = 'x' WHERE number = 3", 2, "line 3: .* it was changed"),
        ("DELETE FROM audit WHERE number = 3", 2, "line 3: expected it after line 2, found line 4"),
        ("DELETE FROM audit WHERE number = 1", 0, "line 1: expected it after line 0, found line 2"),
        ("UPDATE audit SET before = hash WHERE number = 4", 3, "line 4: expected the hash of the line before"),
    ],
)
def test_what_was_done_by_force_is_found(desk, statement, good, expected):
    fill(desk)
    by_force(desk, statement)
    found = verify(desk)
    assert found.lines == good
    assert found.fault is not None
    assert re.match(expected, found.fault), found.fault


def test_a_cut_end_and_a_rewritten_chain_show_against_a_noted_head(desk):
    head = fill(desk)
    assert verify(desk, head).fault is None
    fill(desk, 2)
    assert verify(desk, audit.read_head(str(head))).fault is None
    by_force(desk, "DELETE FROM audit WHERE number > 3")
    assert verify(desk).fault is None, "the chain alone does not tell"
    assert "lines 4 to 5 are missing at the end" in verify(desk, head).fault
    with desk.store.writing() as session:
        for number in (4, 5):
            audit.record(session, SYSTEM, "nothing", f"x/{number}", {}, number)
    assert verify(desk).fault is None
    found = verify(desk, head)
    assert found.lines == 4
    assert "lines were rewritten" in found.fault


@pytest.mark.parametrize("given", ["", "5", "5:abc", f"x:{START}", f"5:{START[:-1]}G", f"-1:{START}"])
def test_what_is_no_head_is_said(given):
    with pytest.raises(ValueError, match="expected NUMBER:HASH"):
        audit.read_head(given)


def test_a_long_log_is_read_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(audit, "CHUNK", 3)
    desk = Desk(tmp_path)
    for count in range(1, 8):
        head = fill(desk, 1)
        assert verify(desk, head) == audit.Verdict(count, head)
    by_force(desk, "UPDATE audit SET number = 0 WHERE number = 1")
    assert verify(desk).fault == "line 1: expected it after line 0, found line 0"
    desk.store.close()


def test_a_line_goes_with_what_it_tells_of(desk):
    class HaltedError(Exception):
        pass

    def halt():
        with desk.store.writing() as session:
            audit.record(session, SYSTEM, "a", "b/c", {}, 1)
            raise HaltedError

    with pytest.raises(HaltedError):
        halt()
    assert verify(desk).lines == 0


def test_several_collectors_append_one_after_the_other(desk):
    def append(name):
        for number in range(10):
            desk.write(audit.record, Actor("person", name), "a", f"x/{number}", {}, number)

    at_once(*(partial(append, f"p{n}") for n in range(4)))
    assert verify(desk).lines == 40
    assert {*desk.rows(select(AuditRow.actor))} == {f"person:p{n}" for n in range(4)}

"""The tables of the outbox; each step brings a file to the next version."""

from typing import Final

_FIRST: Final = """
CREATE TABLE IF NOT EXISTS incident (
    incident TEXT PRIMARY KEY,
    camera TEXT NOT NULL, zone TEXT NOT NULL, rule TEXT NOT NULL, place_id TEXT NOT NULL,
    open INTEGER NOT NULL,
    state TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS outgoing (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    topic TEXT NOT NULL,
    content_type TEXT NOT NULL,
    properties TEXT NOT NULL,
    payload BLOB NOT NULL,
    made_s REAL NOT NULL,
    due_s REAL NOT NULL DEFAULT 0,
    stored_s REAL,
    parked TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS outgoing_due ON outgoing (due_s) WHERE stored_s IS NULL AND parked IS NULL;
CREATE TABLE IF NOT EXISTS seal (one INTEGER PRIMARY KEY CHECK (one = 1), head TEXT) STRICT;
"""

_SECOND: Final = """
CREATE TABLE payload (number INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT;
CREATE TRIGGER forgotten AFTER DELETE ON outgoing BEGIN DELETE FROM payload WHERE number = old.number; END;
ALTER TABLE outgoing ADD COLUMN incident TEXT NOT NULL DEFAULT '';
ALTER TABLE outgoing ADD COLUMN size INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outgoing ADD COLUMN state TEXT NOT NULL DEFAULT 'behind'
    CHECK (state IN ('behind', 'ready', 'stored', 'parked', 'dropped', 'gone'));
INSERT INTO payload SELECT number, payload FROM outgoing WHERE stored_s IS NULL;
UPDATE outgoing SET
    incident = substr(id, 1, instr(id || ':', ':') - 1),
    size = length(payload),
    state = CASE WHEN stored_s IS NOT NULL THEN 'gone' WHEN parked IS NOT NULL THEN 'parked'
            WHEN kind = 'picture' THEN 'ready' ELSE 'behind' END;
UPDATE outgoing SET state = 'ready' WHERE number IN
    (SELECT min(number) FROM outgoing WHERE state = 'behind' GROUP BY incident);
DROP INDEX outgoing_due;
ALTER TABLE outgoing DROP COLUMN payload;
ALTER TABLE outgoing DROP COLUMN due_s;
CREATE INDEX outgoing_state ON outgoing (state, kind, number);
CREATE INDEX outgoing_incident ON outgoing (incident, kind, state, number);
"""
"""Payloads in a table of their own: what is asked often is not scattered among pictures any more."""

_THIRD: Final = """
ALTER TABLE incident ADD COLUMN checksum INTEGER;
ALTER TABLE outgoing ADD COLUMN checksum INTEGER;
"""
"""CRC-32 of what a row says, null in rows from before: SQLite does not notice a bit that flips within a value."""

MIGRATIONS: Final = (_FIRST, _SECOND, _THIRD)
VERSION: Final = len(MIGRATIONS)
READABLE_BY: Final = 3
"""The oldest version whose agent can go on with such a file, kept in its `application_id`: a box goes back to an older
system and has newer data. A step that adds tables, or columns with defaults, leaves it as it is."""

"""Tables and migrations.

Comes in: a database URL, of SQLite (one collector) or PostgreSQL (several). Goes out: a `Store` whose `transaction`
gives an SQLAlchemy session, with the newest schema; `lock` keeps collectors from writing the same thing at once.
Instants are milliseconds since the epoch in UTC, columns named `…_ms`.
"""

from collector.store.bulk import rewrite, write
from collector.store.engine import Store, StoreError, alone, is_away, is_race, lock, next_numbers, open_store
from collector.store.life import CaseSerial, PauseRow, PolicyRow
from collector.store.people import AuditRow
from collector.store.tables import (
    Base,
    Box,
    CameraRow,
    CertificateRow,
    Claim,
    CommandPicture,
    CommandRow,
    IncidentRow,
    MessageRow,
    PictureRow,
    Refused,
    Secret,
    SettingsReport,
    SettingsRow,
    Ticket,
    TicketEvent,
)

__all__ = [
    "AuditRow",
    "Base",
    "Box",
    "CameraRow",
    "CaseSerial",
    "CertificateRow",
    "Claim",
    "CommandPicture",
    "CommandRow",
    "IncidentRow",
    "MessageRow",
    "PauseRow",
    "PictureRow",
    "PolicyRow",
    "Refused",
    "Secret",
    "SettingsReport",
    "SettingsRow",
    "Store",
    "StoreError",
    "Ticket",
    "TicketEvent",
    "alone",
    "is_away",
    "is_race",
    "lock",
    "next_numbers",
    "open_store",
    "rewrite",
    "write",
]

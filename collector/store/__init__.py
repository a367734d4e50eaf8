"""Tables and migrations.

Comes in: a database URL, of SQLite (one collector) or PostgreSQL (several). Goes out: a `Store` whose `transaction`
gives an SQLAlchemy session, with the newest schema; `lock` keeps collectors from writing the same thing at once.
Instants are milliseconds since the epoch in UTC, columns named `…_ms`.
"""

from collector.store.engine import Store, StoreError, alone, is_away, is_race, lock, next_numbers, open_store
from collector.store.tables import (
    Base,
    Box,
    CameraRow,
    CertificateRow,
    Claim,
    IncidentRow,
    MessageRow,
    PictureRow,
    Refused,
    Secret,
    Ticket,
    TicketEvent,
)

__all__ = [
    "Base",
    "Box",
    "CameraRow",
    "CertificateRow",
    "Claim",
    "IncidentRow",
    "MessageRow",
    "PictureRow",
    "Refused",
    "Secret",
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
]

"""Tables and migrations.

Comes in: a database URL; SQLite for now, with types and an index that PostgreSQL knows as well. Goes out: a `Store`
whose `transaction` gives an SQLAlchemy session, with the newest schema. Instants are milliseconds since the epoch in
UTC, columns named `…_ms`.
"""

from collector.store.engine import Store, StoreError, open_store
from collector.store.tables import (
    Base,
    Box,
    CameraRow,
    IncidentRow,
    MessageRow,
    PictureRow,
    Refused,
    Ticket,
    TicketEvent,
)

__all__ = [
    "Base",
    "Box",
    "CameraRow",
    "IncidentRow",
    "MessageRow",
    "PictureRow",
    "Refused",
    "Store",
    "StoreError",
    "Ticket",
    "TicketEvent",
    "open_store",
]

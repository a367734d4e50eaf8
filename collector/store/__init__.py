"""Tables and migrations.

Comes in: a database URL, of SQLite (one collector) or PostgreSQL (several). Goes out: a `Store` whose `transaction`
gives an SQLAlchemy session, with the newest schema; `lock` keeps collectors from writing the same thing at once.
Instants are milliseconds since the epoch in UTC, columns named `…_ms`.
"""

from collector.store.bulk import among, rewrite, write
from collector.store.engine import Store, StoreError, alone, is_away, is_race, lock, next_numbers, open_store
from collector.store.evidence import HoldRow, LedgerRow, SealRow
from collector.store.exchange import DeliveryRow, ReportRow, WebhookRow
from collector.store.indicators import FootfallRow, PackedDay
from collector.store.learning import TrainingRelease
from collector.store.life import CaseSerial, PauseRow, PolicyRow
from collector.store.notices import NoticeAnswer, NoticeAttempt, NoticeLink, NoticeRow
from collector.store.people import AuditRow, FailureRow, GrantRow, PersonRow, RecoveryRow, SignInRow, SsoRow, TokenRow
from collector.store.places import CameraPlace, GridCell, PermitRow, PlaceRevision, ShopRow, ShopZone
from collector.store.proposals import ProposalRow
from collector.store.rollouts import ArtefactRow, RolloutBox, RolloutRow
from collector.store.tables import (
    AcceptanceRow,
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
    "AcceptanceRow",
    "ArtefactRow",
    "AuditRow",
    "Base",
    "Box",
    "CameraPlace",
    "CameraRow",
    "CaseSerial",
    "CertificateRow",
    "Claim",
    "CommandPicture",
    "CommandRow",
    "DeliveryRow",
    "FailureRow",
    "FootfallRow",
    "GrantRow",
    "GridCell",
    "HoldRow",
    "IncidentRow",
    "LedgerRow",
    "MessageRow",
    "NoticeAnswer",
    "NoticeAttempt",
    "NoticeLink",
    "NoticeRow",
    "PackedDay",
    "PauseRow",
    "PermitRow",
    "PersonRow",
    "PictureRow",
    "PlaceRevision",
    "PolicyRow",
    "ProposalRow",
    "RecoveryRow",
    "Refused",
    "ReportRow",
    "RolloutBox",
    "RolloutRow",
    "SealRow",
    "Secret",
    "SettingsReport",
    "SettingsRow",
    "ShopRow",
    "ShopZone",
    "SignInRow",
    "SsoRow",
    "Store",
    "StoreError",
    "Ticket",
    "TicketEvent",
    "TokenRow",
    "TrainingRelease",
    "WebhookRow",
    "alone",
    "among",
    "is_away",
    "is_race",
    "lock",
    "next_numbers",
    "open_store",
    "rewrite",
    "write",
]

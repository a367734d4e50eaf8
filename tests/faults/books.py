"""The books of boxes and center compared: what a rule was told is stored, against what the center has."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from collector.evidence.files import PictureFiles
from collector.store import IncidentRow, MessageRow, PictureRow, Store, Ticket, TicketEvent


@dataclass
class Ledger:
    """What all boxes were told is stored: the last `seq` of each incident, and its pictures' ids."""

    seqs: dict[str, int] = field(default_factory=dict)
    pictures: dict[str, set[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, paths: Iterable[Path]) -> "Ledger":
        """Read the ledgers of some processes of boxes."""
        ledger = cls()
        for path in paths:
            for line in path.read_text().splitlines():
                entry = json.loads(line)
                incident = entry["incident"]
                ledger.seqs[incident] = max(ledger.seqs.get(incident, 0), entry["seq"])
                ledger.pictures.setdefault(incident, set()).update(entry["pictures"])
        return ledger


def compare(ledger: Ledger, store: Store, files: PictureFiles) -> dict[str, Any]:
    """Compare; all counts but `incidents`, `messages`, `pictures` and `tickets` ought to be 0."""
    with store.transaction() as session:
        messages = Counter(tuple(row) for row in session.execute(select(MessageRow.incident, MessageRow.seq)))
        incidents = {
            row.id: (row.seq, row.state, row.ticket_number)
            for row in session.execute(
                select(IncidentRow.id, IncidentRow.seq, IncidentRow.state, IncidentRow.ticket_number)
            )
        }
        pictures = Counter(session.scalars(select(PictureRow.id)))
        tickets = set(session.scalars(select(Ticket.number)))
        open_keys = Counter(session.scalars(select(Ticket.key).where(Ticket.open == 1)))
        twice = session.execute(
            select(TicketEvent.kind, TicketEvent.message_id)
            .where(TicketEvent.message_id.is_not(None))
            .group_by(TicketEvent.kind, TicketEvent.message_id)
            .having(func.count() > 1)
        ).all()
    wanted_messages = {(one, seq) for one, last in ledger.seqs.items() for seq in range(1, last + 1)}
    wanted_pictures = {picture for found in ledger.pictures.values() for picture in found}
    return {
        "incidents": len(ledger.seqs),
        "messages": len(wanted_messages),
        "pictures": len(wanted_pictures),
        "tickets": len(tickets),
        "lost": len(set(ledger.seqs) - set(incidents)),
        "lost_messages": len(wanted_messages - set(messages)),
        "lost_pictures": sum(picture not in pictures or not _whole(files, picture) for picture in wanted_pictures),
        "doubled": len(twice)
        + sum(count - 1 for count in (*messages.values(), *pictures.values(), *open_keys.values()))
        + len(set(incidents) - set(ledger.seqs)),
        "behind": sum(
            incidents[one][0] != last or (last > 1 and incidents[one][1] != "cleared")
            for one, last in ledger.seqs.items()
            if one in incidents
        ),
        "without_ticket": sum(number not in tickets for _, _, number in incidents.values()),
    }


FAULTS = ("lost", "lost_messages", "lost_pictures", "doubled", "behind", "without_ticket")


def _whole(files: PictureFiles, picture: str) -> bool:
    sha256 = picture.rpartition(":")[2]
    path = files.path(sha256)
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256

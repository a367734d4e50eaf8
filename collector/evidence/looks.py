"""The access log: who looked at an original, of which unit, why, and at what; lines of the audit log.

公共安全视频图像信息系统管理条例, article 16. Name and unit are written as they were at the time.
"""

from collections.abc import Mapping
from typing import Final

from sqlalchemy.orm import Session

from collector.people import audit
from collector.people.actor import Actor
from collector.store import AuditRow, PersonRow

SHORTEST_REASON: Final = 2
"""Letters: 复核 is a whole one."""
LONGEST_REASON: Final = 300


def read_reason(text: str) -> str:
    """A reason; raises ValueError."""
    reason = " ".join(text.split())
    if len(reason.replace(" ", "")) < SHORTEST_REASON or len(reason) > LONGEST_REASON:
        raise ValueError(
            f"请写明理由，{SHORTEST_REASON} 至 {LONGEST_REASON} 字 / "
            f"expected a reason of {SHORTEST_REASON} to {LONGEST_REASON} characters, got {len(reason)}"
        )
    return reason


def look(
    session: Session, actor: Actor, action: str, of: str, detail: Mapping[str, object], center: str, now_ms: int
) -> AuditRow:
    """Put a look on record, in the caller's transaction, before anything is shown."""
    name, unit = _who(session, str(actor), center)
    return audit.record(session, actor, action, of, {**detail, "name": name or actor.name, "unit": unit}, now_ms)


def person_of(session: Session, who: str, center: str) -> str:
    """Somebody as a paper names them: name, unit, `kind:id`."""
    name, unit = _who(session, who, center)
    return f"{name}（{unit}，{who}）" if name else who


def _who(session: Session, who: str, center: str) -> tuple[str, str]:
    kind, _, name = who.partition(":")
    row = session.get(PersonRow, name) if kind == "person" else None
    return ("", center) if row is None else (row.name, row.unit or center)

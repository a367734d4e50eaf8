"""What is filed with the county's police: the unit, its cameras, how long is stored; and what changed since it was.

The list that was filed last is kept as a revision, like those of shops and cameras, so that changes show, and who filed
it stays on record.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from collector.law.facts import Facts
from collector.people.actor import Actor
from collector.people.audit import record
from collector.store import PlaceRevision, lock

KIND: Final = "filing"
UNIT: Final = ""
"""What stands in the list beside the cameras."""
FIELDS: Final = ("street", "name", "position", "height_m", "kind", "gb28181", "note")
"""Of a camera, what is filed."""
List = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Last:
    """The list that was filed last, by camera; UNIT has the unit and its storage periods."""

    list: List
    at_ms: int
    by: str
    reason: str
    digest: str


def to_file(facts: Facts) -> dict[str, dict[str, str]]:
    """The list as it is now."""
    law = facts.settings.law
    unit = {
        "operator": facts.operator,
        "address": law.address,
        "responsible": law.responsible,
        "contact": facts.contact,
        "video_days": str(law.video_days or ""),
        "keep_days": str(facts.keep_days or ""),
    }
    return {UNIT: unit, **{one.key: {name: getattr(one, name) for name in FIELDS} for one in facts.cameras}}


def _canonical(filed: List) -> str:
    return json.dumps(filed, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def digest(filed: List) -> str:
    """SHA-256 of a list."""
    return hashlib.sha256(_canonical(filed).encode()).hexdigest()


def _newest(session: Session, center: str) -> PlaceRevision | None:
    query = select(PlaceRevision).where(PlaceRevision.kind == KIND, PlaceRevision.of == center)
    return session.scalars(query.order_by(PlaceRevision.revision.desc()).limit(1)).first()


def last(session: Session, center: str, streets: Collection[str] | None = None) -> Last | None:
    """What was filed last; None: nothing yet. `streets` limits it to what somebody may see."""
    row = _newest(session, center)
    if row is None:
        return None
    filed = json.loads(row.document)
    if streets is not None:
        filed = {key: one for key, one in filed.items() if key == UNIT or one["street"] in streets}
    return Last(filed, row.at_ms, row.by_name or row.by, row.reason, row.source)


def note_filed(session: Session, facts: Facts, actor: Actor, reason: str, at_ms: int) -> str:
    """Note that the list as it is now was filed; returns its digest. `reason` has the receipt's number."""
    center, filed = facts.settings.center.id, to_file(facts)
    lock(session, [f"{KIND}/{center}"])
    row = _newest(session, center)
    new = PlaceRevision(
        kind=KIND,
        of=center,
        revision=1 if row is None else row.revision + 1,
        action="filed",
        document=_canonical(filed),
        by=str(actor),
        by_name=actor.name,
        reason=reason,
        source=digest(filed),
        at_ms=at_ms,
    )
    session.add(new)
    detail = {"revision": new.revision, "cameras": len(facts.cameras), "digest": new.source, "reason": reason}
    record(session, actor, "filing.filed", f"{KIND}/{center}", detail, at_ms)
    return new.source


def changes(before: Last | None, facts: Facts) -> list[tuple[str, str, list[str]]]:
    """What is to be filed anew: `added`, `gone` or `changed`, the camera or UNIT, and names of fields that changed."""
    if before is None:
        return []
    old, new = before.list, to_file(facts)
    found: list[tuple[str, str, list[str]]] = [("added", key, []) for key in new if key not in old]
    found += [("gone", key, []) for key in old if key not in new]
    for key in (one for one in new if one in old):
        names = [name for name, text in new[key].items() if old[key].get(name) != text]
        if names:
            found.append(("changed", key, names))
    return found

"""Seals, checked as they come: the box's signature over each picture's record, and its place in the box's chain.

A record comes in its incident's messages, the picture by itself; either may be first. What was found is kept beside
them. A broken seal is a line of the audit log, and its picture never counts as evidence.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from collector.people import audit
from collector.people.actor import Actor
from collector.store import Box, IncidentRow, PictureRow, SealRow, Ticket, among
from protocol.messages import Evidence, Incident
from protocol.pictures import PictureHeader
from protocol.seal import picture_link, seal_fault

GOOD: Final = "good"
BROKEN: Final = "broken"
UNKNOWN: Final = "unknown"
NO_KEY: Final = "the box has not told its key yet"


@dataclass(frozen=True)
class Told:
    """What a box said of its pictures in one message."""

    box: Box
    incident: str
    evidence: Sequence[Evidence]


def picture_id(incident: str, record: Evidence) -> str:
    """Of the row of a picture that a record speaks of."""
    return PictureHeader(incident=incident, role=record.role, view=record.view, sha256=record.sha256).id


def take(session: Session, told: Iterable[Told], now_ms: int) -> None:
    """Check records that are new, and keep what was found."""
    told = [one for one in told if one.evidence]
    known = {row.picture_id: row for row in among(session, SealRow, SealRow.incident, {one.incident for one in told})}
    broken: list[SealRow] = []
    for one in told:
        for record in one.evidence:
            name, link = picture_id(one.incident, record), picture_link(one.incident, record)
            row = known.get(name)
            if row is not None:
                if row.link != link and row.state != BROKEN:
                    row.state, row.why = BROKEN, "the box told it differently before"
                    broken.append(row)
                continue
            state, why = judge(one.incident, record, one.box.public_key)
            row = SealRow(
                picture_id=name,
                box_id=one.box.id,
                incident=one.incident,
                link=link,
                prev=record.prev,
                state=state,
                why=why,
                at_ms=now_ms,
            )
            known[name] = row
            session.add(row)
            if state == BROKEN:
                broken.append(row)
    if told:
        session.flush()
        broken += _forks(session, [row for row in known.values() if row.at_ms == now_ms and row.state != BROKEN])
    _note(session, broken, now_ms)


def settle(session: Session, box: Box, now_ms: int) -> None:
    """A box has told its key: check what waited for it."""
    waiting = session.scalars(select(SealRow).where(SealRow.box_id == box.id, SealRow.state == UNKNOWN)).all()
    records: dict[str, Evidence] = {}
    for row in among(session, IncidentRow, IncidentRow.id, {one.incident for one in waiting}):
        data = Incident.model_validate_json(row.data)
        records |= {picture_id(row.id, one): one for one in data.evidence}
    for one in waiting:
        if one.picture_id in records:
            one.state, one.why = judge(one.incident, records[one.picture_id], box.public_key)
    _note(session, [one for one in waiting if one.state == BROKEN], now_ms)


def judge(incident: str, record: Evidence, key: str | None) -> tuple[str, str]:
    """State of a seal, and why."""
    if key is None:
        return UNKNOWN, NO_KEY
    fault = seal_fault(incident, record, key)
    return (GOOD, "") if fault is None else (BROKEN, fault)


def of(session: Session, incidents: Iterable[str]) -> dict[str, SealRow]:
    """Seals of these incidents, by picture."""
    return {row.picture_id: row for row in among(session, SealRow, SealRow.incident, set(incidents))}


def no_evidence(ticket: Ticket, picture: PictureRow, seal: Any) -> str:
    """Why a picture does not count as evidence; empty: it does (行政处罚法, article 41)."""
    if picture.deleted_ms is not None:
        return "it was deleted"
    if ticket.reviewer is None or not ticket.reviewer.startswith("person:"):
        return "no named person has reviewed it"
    if picture.author:
        return ""  # a person took it, who is named
    if seal is None:
        return "it bears no seal"
    return "" if seal.state == GOOD else f"its seal is {seal.state}: {seal.why}"


def _forks(session: Session, new: Sequence[SealRow]) -> list[SealRow]:
    """Of new ones, those that follow a picture which another one follows already: only one can be true."""
    broken = []
    places = {row.prev for row in new if row.prev is not None}
    followers: dict[tuple[str, str | None], list[SealRow]] = {}
    for row in among(session, SealRow, SealRow.prev, places):
        followers.setdefault((row.box_id, row.prev), []).append(row)
    for row in new:
        others = [one for one in followers.get((row.box_id, row.prev), ()) if one.link != row.link]
        if others:
            row.state, row.why = BROKEN, f"the chain forks: {others[0].picture_id} follows the same picture"
            broken.append(row)
    return broken


def _note(session: Session, broken: Sequence[SealRow], now_ms: int) -> None:
    for row in broken:
        detail = {"picture": row.picture_id, "why": row.why}
        audit.record(session, Actor.camera(row.box_id), "evidence.broken", f"incident/{row.incident}", detail, now_ms)

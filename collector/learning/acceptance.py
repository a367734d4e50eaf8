"""A suggestion, or what somebody tried, becomes settings that a box is to have; and pictures are released."""

import json
from collections.abc import Collection
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from collector.boxes import wanted
from collector.boxes.wanted import WantedError
from collector.learning.replay import Limits
from collector.learning.suggestions import AREA_M2, DWELL_S
from collector.learning.verdicts import Place, find_zone
from collector.people import audit
from collector.people.actor import Actor
from collector.store import IncidentRow, PictureRow, SettingsRow, TrainingRelease
from collector.tickets.desk import MAX_TEXT, RefusedError, hold_all, unknown
from collector.tickets.machine import State
from protocol.settings import DocumentError, FrontageZone, read_document

ACCEPT: Final = "learning.accept"
RELEASE: Final = "learning.release"
TAKEN_BACK: Final = "learning.release_taken_back"
SHOWN: Final = (
    *(PictureRow.role == "at", PictureRow.view == "wide"),
    *(PictureRow.masked == 1, PictureRow.author == "", PictureRow.deleted_ms.is_(None)),
)
"""Conditions of pictures for training: the whole view as it was found, masked on its box."""


def accept(
    session: Session, actor: Actor, place: Place, limits: Limits, *, reason: str, based_on: int, now_ms: int
) -> SettingsRow:
    """Make a zone's dwell and area a new revision that its box is to have; raises RefusedError.

    Args:
        session: a transaction that writes.
        actor: who accepts it.
        place: the zone.
        limits: what it gets.
        reason: why; stands in the audit log.
        based_on: the revision that was looked at.
        now_ms: milliseconds since the epoch.
    """
    why = _why(reason)
    check(limits)
    row = wanted.newest(session, place.box, to_change=True)
    values = {} if row is None else json.loads(row.document)
    found = None if row is None else find_zone(read_document(values).camera, place)
    if row is None or found is None:
        raise RefusedError("unknown", f"expected a zone of newest settings, got {place}", f"现行设置中没有 {place}")
    camera, zone = found
    before = Limits(zone.dwell_s, zone.min_area_m2 if isinstance(zone, FrontageZone) else None)
    if limits == before:
        raise RefusedError("not_now", f"{place}: expected something else than it has already", "与现行设置相同")
    changed = values["camera"][[one["id"] for one in values["camera"]].index(camera.id)]["zone"]
    settings = changed[[one["id"] for one in changed].index(zone.id)]
    settings["dwell_s"] = limits.dwell_s
    settings.pop("min_area_m2", None)
    if limits.min_area_m2 is not None:
        settings["min_area_m2"] = limits.min_area_m2
    try:
        made = wanted.want(session, place.box, read_document(values), by=str(actor), now_ms=now_ms, based_on=based_on)
    except DocumentError as fault:
        raise RefusedError("invalid", fault.faults[0], f"设置无法使用：{fault.faults[0]}") from None
    except WantedError as fault:
        zh = f"盒子 {place.box} 的设置已被他人更改，请重新查看"
        raise RefusedError("changed", str(fault), zh) from None
    told = {
        "before": _json(before),
        "after": _json(limits),
        "revision": made.revision,
        "number": made.number,
        "reason": why,
    }
    audit.record(session, actor, ACCEPT, f"zone/{place}", told, now_ms)
    return made


def check(limits: Limits) -> None:
    """Refuse what is beyond the bounds; raises RefusedError."""
    bounds = (("dwell_s", limits.dwell_s, DWELL_S), ("min_area_m2", limits.min_area_m2, AREA_M2))
    for name, value, (least, most) in bounds:
        if value is not None and not least <= value <= most:
            raise RefusedError(
                "invalid",
                f"{name}: expected {least} to {most}, got {value}; change the settings by hand beyond that",
                f"{name}：应为 {least} 至 {most}，收到 {value}；超出范围请手动修改设置",
            )


def release(session: Session, actor: Actor, numbers: Collection[int], why: str, now_ms: int) -> int:
    """Release the masked pictures of false alarms for training, says how many; raises RefusedError.

    Retention leaves alone what was released, so that it has to be said why.
    """
    reason, count = _why(why), 0
    if not numbers:
        raise RefusedError("missing", "expected false alarms that are marked, found none", "请先勾选误报")
    held = hold_all(session, numbers)
    for number in numbers:
        ticket = held.get(number)
        if ticket is None:
            raise unknown(number)
        if ticket.state != State.FALSE_ALARM:
            text = f"ticket {number}: expected a false alarm, it is {ticket.state}"
            raise RefusedError("not_now", text, f"工单 {number} 不是误报，不能释放其图片")
        of_ticket = select(IncidentRow.id).where(IncidentRow.ticket_number == number)
        query = select(PictureRow.sha256).where(PictureRow.incident.in_(of_ticket), *SHOWN).distinct()
        new = [one for one in session.scalars(query) if session.get(TrainingRelease, one) is None]
        session.add_all(
            TrainingRelease(sha256=one, ticket=number, by=str(actor), at_ms=now_ms, why=reason) for one in new
        )
        count += len(new)
        if new:
            told = {"pictures": sorted(new), "reason": reason}
            audit.record(session, actor, RELEASE, f"ticket/{number}", told, now_ms)
    return count


def take_back(session: Session, actor: Actor, numbers: Collection[int], why: str, now_ms: int) -> int:
    """Release the pictures of tickets no longer, says how many; raises RefusedError."""
    reason, count = _why(why), 0
    for number in hold_all(session, numbers):
        rows = session.scalars(select(TrainingRelease).where(TrainingRelease.ticket == number)).all()
        for row in rows:
            session.delete(row)
        if rows:
            told = {"pictures": sorted(row.sha256 for row in rows), "reason": reason}
            audit.record(session, actor, TAKEN_BACK, f"ticket/{number}", told, now_ms)
        count += len(rows)
    return count


def _why(reason: str) -> str:
    found = " ".join(reason.split())
    if not 2 <= len(found) <= MAX_TEXT:
        raise RefusedError("missing", f"reason: expected 2 to {MAX_TEXT} letters", f"请写明理由，2 至 {MAX_TEXT} 字")
    return found


def _json(limits: Limits) -> dict[str, float | None]:
    return {"dwell_s": limits.dwell_s, "min_area_m2": limits.min_area_m2}

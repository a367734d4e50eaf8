"""Detectors that the center has, and their roll-outs: which boxes get one when, and when that stops by itself.

A roll-out goes to its boxes in groups. The next one begins once each box of the group that is there has settled, and
one of them at least has taken the detector. Each box decides for itself. Where more than a share of a group refuse it
or take it back, the roll-out stops: who has taken it keeps it, until somebody sends them back.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from sqlalchemy import LargeBinary, func, select
from sqlalchemy.orm import Session

from collector.boxes import register
from collector.boxes.authority import OWN_DAYS, Authority, private_pem, write_secret
from collector.boxes.orders import CENTER
from collector.boxes.register import RegisterError
from collector.people import audit
from collector.people.actor import Actor
from collector.store import Box, DetectorReport, DetectorRow, RolloutBox, RolloutRow, lock
from protocol.detectors import (
    MAX_DETECTOR_BYTES,
    MODEL_DESIRED,
    SIGNER,
    Manifest,
    ModelDesired,
    ModelDesiredEvent,
    ModelReported,
    Signed,
    sign,
)
from protocol.instants import from_epoch
from protocol.messages import dataschema, source
from protocol.topics import Topic

FAILED: Final = ("refused", "rolled_back")
SETTLED: Final = (*FAILED, "taken", "undecided", "kept", "back")
STEPS: Final = (10, 50, 100)
"""Percent of the boxes that have been asked when a group has."""
MOST: Final = 0.1
UNHEARD_MS: Final = 300_000
"""A box that is there and says nothing is told again after this long."""
SIGNER_FILE: Final = "detectors.pem"


def signer(session: Session, authority: Authority, now_ms: int) -> tuple[Ed25519PrivateKey, str]:
    """The key that detectors are signed with and its certificate, made where there is none; raises RegisterError."""
    path = authority.folder / SIGNER_FILE
    with suppress(FileNotFoundError):
        try:
            content = path.read_bytes()
            key = load_pem_private_key(content, None)
            certificate = x509.load_pem_x509_certificate(content)
        except ValueError:
            raise RegisterError(f"{path}: expected a key and its certificate; move it away to have one made") from None
        if isinstance(key, Ed25519PrivateKey):
            return key, certificate.public_bytes(Encoding.PEM).decode()
    key = Ed25519PrivateKey.generate()
    issued = authority.issue(key.public_key(), SIGNER, "detectors", now_ms / 1000, OWN_DAYS)
    register.record(session, issued, "detectors", SIGNER, now_ms)
    write_secret(path, private_pem(key) + issued.pem.encode())
    return key, issued.pem


def add(
    session: Session, authority: Authority, actor: Actor, content: bytes, wanted: dict[str, Any], now_ms: int
) -> DetectorRow:
    """Take a detector up and sign it; raises RegisterError.

    Args:
        session: a transaction.
        authority: the center's CA.
        actor: who does.
        content: the ONNX file.
        wanted: further fields of the manifest.
        now_ms: milliseconds since the epoch.
    """
    if not 0 < len(content) <= MAX_DETECTOR_BYTES:
        raise RegisterError(f"expected a file of at most {MAX_DETECTOR_BYTES >> 20} MB, got {len(content)} bytes")
    try:
        manifest = Manifest.model_validate(
            {**wanted, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        )
    except ValueError as fault:  # pydantic's is one
        raise RegisterError(f"expected what a manifest may say: {fault}") from None
    same = select(DetectorRow).where((DetectorRow.sha256 == manifest.sha256) | (DetectorRow.name == manifest.name))
    if (known := session.scalars(same).first()) is not None:
        raise RegisterError(f"expected a new file with a new name; {known.name} is {known.sha256[:16]}… already")
    signed = sign(manifest, *signer(session, authority, now_ms))
    row = DetectorRow(
        sha256=manifest.sha256,
        name=manifest.name,
        signed=signed.model_dump_json(),
        added_ms=now_ms,
        content=content,
    )
    session.add(row)
    session.flush()
    audit.record(session, actor, "detectors.add", f"detector/{row.name}", {"sha256": row.sha256}, now_ms)
    return row


def remove(session: Session, actor: Actor, name: str, now_ms: int) -> None:
    """Delete a detector's file; what was done with it stays on record. Raises RegisterError."""
    row = named(session, name)
    if running(session) is not None:
        raise RegisterError("expected no roll-out that goes on; stop it first")
    row.content = b""
    audit.record(session, actor, "detectors.remove", f"detector/{name}", {}, now_ms)


def manifest_of(row: DetectorRow) -> Manifest:
    """What was signed."""
    return Manifest.model_validate_json(Signed.model_validate_json(row.signed).manifest)


def stored(session: Session) -> Sequence[DetectorRow]:
    """Detectors that can be rolled out, newest first."""
    query = select(DetectorRow).where(func.length(DetectorRow.content) > 0)
    return session.scalars(query.order_by(DetectorRow.added_ms.desc())).all()


def named(session: Session, name: str) -> DetectorRow:
    """A detector that can be rolled out; raises RegisterError."""
    known = stored(session)
    for row in known:
        if row.name == name:
            return row
    names = ", ".join(row.name for row in known) or "none"
    raise RegisterError(f"本中心没有检测模型 {name:.80} / expected a detector of this center ({names}), got {name:.80}")


def part(session: Session, sha256: str, at: int, count: int) -> tuple[bytes, int] | None:
    """A part of a detector's file and the size of the whole; None: there is none."""
    content = func.substr(DetectorRow.content, at + 1, max(0, count), type_=LargeBinary)
    query = select(content, func.length(DetectorRow.content)).where(DetectorRow.sha256 == sha256)
    found = session.execute(query).first()
    return None if found is None or not found[1] else (bytes(found[0]), int(found[1]))


def start(
    session: Session,
    actor: Actor,
    name: str,
    now_ms: int,
    *,
    streets: Collection[str] | None,
    boxes: Collection[str] = (),
    steps: Sequence[int] = STEPS,
    most: float = MOST,
) -> RolloutRow:
    """Begin a roll-out; raises RegisterError.

    Args:
        session: a transaction of `Store.writing`.
        actor: who does.
        name: of the detector.
        now_ms: milliseconds since the epoch.
        streets: whose boxes get it; None: all.
        boxes: the first group, where somebody has chosen it.
        steps: percent of the boxes after each group; the last one is 100.
        most: share of a group that may refuse it or take it back.
    """
    lock(session, ["rollout"])
    if (other := running(session)) is not None:
        raise RegisterError(f"推送 {other.number} 尚未结束 / roll-out {other.number} goes on; stop it first")
    if list(steps) != sorted(set(steps)) or not steps or steps[0] < 1 or steps[-1] != 100 or not 0 <= most <= 1:
        raise RegisterError(
            "分组应为递增的百分比，以 100 结束，阈值 0 至 1 / "
            "expected growing percentages that end with 100, and a share from 0 to 1"
        )
    detector = named(session, name)
    query = select(Box.id).where(Box.standing == "enrolled")
    found = set(session.scalars(query if streets is None else query.where(Box.site.in_(streets))))
    if not found or not found.issuperset(boxes):
        missing = ", ".join(sorted(set(boxes) - found)) or "none"
        raise RegisterError(
            f"没有可推送的盒子（{missing}） / expected enrolled boxes at these streets, these are not: {missing}"
        )
    row = RolloutRow(
        sha256=detector.sha256, state="running", why="", group=1, most=most, by=str(actor), started_ms=now_ms
    )
    session.add(row)
    session.flush()
    groups = _groups(found, boxes, steps)
    for number, group in enumerate(groups, 1):
        for box in group:
            action = "take" if number == 1 else ""
            session.add(
                RolloutBox(number=row.number, box_id=box, group=number, action=action, state="waiting", since_ms=now_ms)
            )
    session.flush()
    told = {"name": name, "boxes": [len(group) for group in groups], "streets": sorted(streets or ("*",))}
    audit.record(session, actor, "rollout.start", f"rollout/{row.number}", told, now_ms)
    return row


def _groups(found: Collection[str], first: Collection[str], steps: Sequence[int]) -> list[list[str]]:
    """Boxes in groups: those that were chosen, then by chance, which is the same each time."""
    rest = sorted(set(found) - set(first), key=lambda box: hashlib.sha256(box.encode()).digest())
    groups, begun = [sorted(first)], 0
    for step in steps:
        end = -(-len(rest) * step // 100)
        groups.append(rest[begun:end])
        begun = end
    return [group for group in groups if group]


def running(session: Session) -> RolloutRow | None:
    """The one that goes on."""
    return session.scalars(select(RolloutRow).where(RolloutRow.state == "running")).first()


def any_running(session: Session) -> bool:
    """Whether one goes on."""
    return session.scalars(select(RolloutRow.number).where(RolloutRow.state == "running")).first() is not None


def members(session: Session, number: int) -> Sequence[RolloutBox]:
    """Boxes of a roll-out, in their groups."""
    query = select(RolloutBox).where(RolloutBox.number == number)
    return session.scalars(query.order_by(RolloutBox.group, RolloutBox.box_id)).all()


def of(session: Session, number: int) -> RolloutRow:
    """A roll-out; raises RegisterError."""
    row = session.get(RolloutRow, number)
    if row is None:
        raise RegisterError(f"没有推送 {number} / expected a roll-out of this center, there is no {number}")
    return row


def stop(session: Session, actor: Actor, number: int, now_ms: int) -> None:
    """No further box takes it, and who has not settled goes on with what it had; raises RegisterError."""
    row = of(session, number)
    if row.state != "running":
        raise RegisterError(f"推送 {number} 已结束 / roll-out {number} has ended already")
    _end(session, row, "stopped", "", now_ms)
    audit.record(session, actor, "rollout.stop", f"rollout/{number}", {}, now_ms)


def back(session: Session, actor: Actor, number: int, now_ms: int) -> None:
    """Who has taken it goes back to what it had before; raises RegisterError."""
    row = of(session, number)
    newer = select(RolloutRow.number).where(RolloutRow.number > number).limit(1)
    if row.state == "back" or session.scalars(newer).first() is not None:
        raise RegisterError(
            f"推送 {number} 已撤回，或之后已有新的推送 / "
            f"roll-out {number} was sent back already, or there is a newer one: roll another detector out"
        )
    _end(session, row, "back", "", now_ms)
    for one in members(session, number):
        if one.state == "taken":
            one.action, one.sent_ms = "back", None
    audit.record(session, actor, "rollout.back", f"rollout/{number}", {}, now_ms)


def _end(session: Session, row: RolloutRow, state: str, why: str, now_ms: int) -> None:
    row.state, row.why, row.ended_ms = state, why, now_ms
    for one in members(session, row.number):
        if one.state in SETTLED:
            continue
        if one.action:
            one.action, one.sent_ms = "keep", None
        else:
            one.state, one.since_ms = "kept", now_ms


def step(session: Session, now_ms: int) -> None:
    """Begin the next group, end what is through, stop what fails too often, tell again who may not have heard."""
    row = running(session)
    if row is None:
        return
    boxes = members(session, row.number)
    gone = set(session.scalars(select(Box.id).where(Box.standing.in_(register.OUT))))
    for one in boxes:
        if one.box_id in gone and one.state not in SETTLED:
            one.state, one.since_ms = "kept", now_ms
    there = set(session.scalars(select(Box.id).where(Box.state == "online", Box.id.in_([one.box_id for one in boxes]))))
    for number in range(1, row.group + 1):
        group = [one for one in boxes if one.group == number]
        failed = [one.box_id for one in group if one.state in FAILED]
        if len(failed) > row.most * len(group):
            why = f"{len(failed)} of {len(group)} boxes of group {number}: {', '.join(failed[:5])}"
            _end(session, row, "stopped", why, now_ms)
            audit.record(session, Actor("system"), "rollout.stopped", f"rollout/{row.number}", {"why": why}, now_ms)
            return
    begun = [one for one in boxes if one.group <= row.group]
    group = [one for one in begun if one.group == row.group]
    through = all(one.state in SETTLED or one.box_id not in there for one in group)
    if through and row.group < max(one.group for one in boxes) and any(one.state == "taken" for one in group):
        row.group += 1
        for one in boxes:
            if one.group == row.group:
                one.action, one.since_ms = "take", now_ms
    elif len(begun) == len(boxes) and all(one.state in SETTLED for one in boxes):
        row.state, row.ended_ms = "done", now_ms
    for one in begun:
        silent = one.state == "waiting" and one.sent_ms is not None and one.sent_ms <= now_ms - UNHEARD_MS
        if silent and one.box_id in there:
            one.sent_ms = None


def any_due(session: Session) -> bool:
    """Whether a box is to be told something."""
    return session.scalars(select(RolloutBox.number).where(*_DUE).limit(1)).first() is not None


_DUE: Final = (RolloutBox.sent_ms.is_(None), RolloutBox.action != "")


def due(session: Session, center: str) -> Iterable[tuple[RolloutBox, Topic, bytes]]:
    """What boxes are to be told."""
    rows = session.execute(
        select(RolloutBox, Box.site, DetectorRow.signed)
        .join(Box, Box.id == RolloutBox.box_id)
        .join(RolloutRow, RolloutRow.number == RolloutBox.number)
        .join(DetectorRow, DetectorRow.sha256 == RolloutRow.sha256)
        .where(*_DUE)
        .order_by(RolloutBox.number)
    ).all()
    for row, site, signed in rows:
        take = row.action == "take"
        event = ModelDesiredEvent(
            id=f"{row.box_id}:model:{row.number}:{row.action}",
            source=source(CENTER, center),
            type=MODEL_DESIRED,
            time=from_epoch(row.since_ms / 1000),
            dataschema=dataschema("model-desired"),
            data=ModelDesired(
                rollout=row.number,
                action=row.action,
                signed=Signed.model_validate_json(signed) if take else None,
            ),
        )
        yield row, Topic(site, row.box_id, "model/desired"), event.to_json()


def take_reported(session: Session, box: Box, reported: ModelReported, received_ms: int) -> None:
    """Take what a box says of its detector."""
    report = session.get(DetectorReport, box.id) or DetectorReport(box_id=box.id)
    report.name = "" if reported.model is None else reported.model.name
    report.sha256 = "" if reported.model is None else reported.model.sha256
    report.board, report.received_ms = ", ".join(reported.board), received_ms
    session.add(report)
    row = None if reported.rollout is None else session.get(RolloutBox, (reported.rollout, box.id))
    if row is None or not row.action:
        return
    if row.state != reported.state:
        row.state, row.since_ms = reported.state, received_ms
    row.text = reported.text
    row.compared = json.dumps(None if reported.compared is None else reported.compared.model_dump())

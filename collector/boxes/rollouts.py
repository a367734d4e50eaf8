"""Detectors and systems go to boxes: which ones get one when, and when that stops by itself. One goes at a time.

A roll-out goes to its boxes in groups. The next one begins once each box of the group that is there has settled, and
one at least has taken it. Each box decides for itself. Where more than a share of a group refuse it or take
it back, the roll-out stops: who has taken it keeps it.
"""

import base64
import hashlib
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from sqlalchemy import LargeBinary, func, select, update
from sqlalchemy.orm import Session

from collector.boxes import register
from collector.boxes.authority import OWN_DAYS, Authority, private_pem, write_secret
from collector.boxes.orders import CENTER
from collector.boxes.register import RegisterError
from collector.people import audit
from collector.people.actor import SYSTEM, Actor
from collector.store import ArtefactRow, Box, RolloutBox, RolloutRow, lock
from protocol.detectors import SIGNER, Manifest, ModelDesired, ModelReported, Signed
from protocol.instants import from_epoch
from protocol.messages import Event, dataschema, source
from protocol.systems import Bundle, SystemDesired, SystemReported
from protocol.topics import Topic

FAILED: Final = ("refused", "rolled_back")
SETTLED: Final = (*FAILED, "taken", "undecided", "kept")
STEPS: Final = (10, 50, 100)
"""Percent of the boxes after each group."""
MOST: Final = 10
"""Percent of a group that may fail."""
KEPT: Final = 5
"""Newest detectors, and systems of a board, whose files stay."""
UNDER_WAY: Final = ("installing", "trial")
"""A box that is silent then is waited for: its new system may be why."""
LOST_MS: Final = 2 * 3600 * 1000
"""One that takes longer has failed; three starts of fifteen minutes and an installation are over by then."""


def _sign(session: Session, authority: Authority, manifest: Manifest, now_ms: int) -> Signed:
    """Sign a manifest, with a key that is made where there is none; raises RegisterError."""
    path = authority.folder / "detectors.pem"
    if not path.exists():
        fresh = Ed25519PrivateKey.generate()
        issued = authority.issue(fresh.public_key(), SIGNER, "detectors", now_ms / 1000, OWN_DAYS)
        register.record(session, issued, "detectors", SIGNER, now_ms)
        write_secret(path, private_pem(fresh) + issued.pem.encode())
    try:
        content, text = path.read_bytes(), manifest.model_dump_json()
        key, certificate = load_pem_private_key(content, None), x509.load_pem_x509_certificate(content)
        assert isinstance(key, Ed25519PrivateKey)  # noqa: S101 - nobody else writes there
    except (OSError, ValueError) as fault:
        raise RegisterError(
            f"{path}：密钥无法读取 / {path}: expected a key and its certificate, got: {fault}"
        ) from None
    return Signed(
        manifest=text,
        signature=base64.b64encode(key.sign(text.encode())).decode(),
        certificate=certificate.public_bytes(Encoding.PEM).decode(),
    )


def add(
    session: Session, authority: Authority, actor: Actor, content: bytes, wanted: dict[str, Any], now_ms: int
) -> Manifest:
    """Take a detector up and sign what `wanted` and its file say of it; raises RegisterError."""
    digest = hashlib.sha256(content).hexdigest()
    try:
        manifest = Manifest.model_validate({**wanted, "size": len(content), "sha256": digest})
    except ValueError as fault:  # pydantic's is one
        raise RegisterError(f"清单有误 / expected what a manifest may say: {fault}") from None
    signed = _sign(session, authority, manifest, now_ms).model_dump_json()
    row = ArtefactRow(
        sha256=digest, kind="detector", name=manifest.name, signed=signed, added_ms=now_ms, content=content
    )
    take_up(session, actor, row)
    return manifest


def take_up(session: Session, actor: Actor, row: ArtefactRow, among: str = "") -> None:
    """Note a new detector or system; of its kind with names that begin so, old ones make room. Raises RegisterError."""
    same = select(ArtefactRow.name).where((ArtefactRow.sha256 == row.sha256) | (ArtefactRow.name == row.name))
    if (known := session.scalars(same).first()) is not None:
        raise RegisterError(f"已有 {known} / expected a new file and a new name, there is {known}")
    session.add(row)
    session.flush()
    alike = ArtefactRow.kind == row.kind, ArtefactRow.name.startswith(among)
    newest = select(ArtefactRow.sha256).where(*alike).order_by(ArtefactRow.added_ms.desc()).limit(KEPT)
    kept = {*session.scalars(newest), *session.scalars(select(RolloutRow.sha256).where(RolloutRow.state == "running"))}
    old = update(ArtefactRow).where(*alike, ArtefactRow.sha256.not_in(kept))
    session.execute(old.values(content=b"").execution_options(synchronize_session=False))
    audit.record(session, actor, f"{row.kind}s.add", f"{row.kind}/{row.name}", {"name": row.name}, row.added_ms)


def stored(session: Session, kind: str = "detector") -> list[str]:
    """Names of detectors or systems that can be rolled out, newest first."""
    query = select(ArtefactRow.name).where(ArtefactRow.kind == kind, func.length(ArtefactRow.content) > 0)
    return list(session.scalars(query.order_by(ArtefactRow.added_ms.desc())))


def part(session: Session, sha256: str, at: int, count: int) -> tuple[bytes, int] | None:
    """A part of a detector's file and the size of the whole; None: there is none."""
    content = func.substr(ArtefactRow.content, at + 1, max(0, count), type_=LargeBinary)
    query = select(content, func.length(ArtefactRow.content))
    query = query.where(ArtefactRow.sha256 == sha256, ArtefactRow.kind == "detector")
    found = session.execute(query).first()
    return None if found is None or not found[1] else (bytes(found[0]), int(found[1]))


def start(
    session: Session,
    actor: Actor,
    name: str,
    streets: Collection[str] | None,
    now_ms: int,
    steps: Sequence[int] = STEPS,
    most: int = MOST,
) -> RolloutRow:
    """Begin a roll-out to the boxes of some streets, None: of all; raises RegisterError.

    A system goes to boxes of its board alone, which have said what they have.
    """
    lock(session, ["rollout"])
    if (other := running(session)) is not None:
        raise RegisterError(f"推送 {other.number} 尚未结束 / roll-out {other.number} goes on; stop it first")
    if list(steps) != sorted(set(steps)) or not 0 < steps[0] <= steps[-1] == 100 or not 0 <= most <= 100:
        raise RegisterError("分组应为递增的百分比，以 100 结束 / expected growing percentages that end with 100")
    artefact = session.scalars(select(ArtefactRow).where(ArtefactRow.name == name)).first()
    if artefact is None or name not in stored(session, artefact.kind):
        raise RegisterError(f"本中心没有 {name:.80} / expected a detector or system of this center, got {name:.80}")
    query = select(Box.id, Box.system).where(Box.standing == "enrolled")
    rows = session.execute(query if streets is None else query.where(Box.site.in_(streets)))
    found = [box for box, system in rows if _fits(artefact, system)]
    if not found:
        raise RegisterError(
            "没有可推送的盒子 / expected enrolled boxes at these streets that it is for, there are none"
        )
    # by chance, and the same each time
    found.sort(key=lambda box: hashlib.sha256(box.encode()).digest())
    row = RolloutRow(
        sha256=artefact.sha256, state="running", group=1, most=most / 100, by=str(actor), started_ms=now_ms
    )
    session.add(row)
    session.flush()
    ends = sorted({-(-len(found) * step // 100) for step in steps})
    for number, (begin, end) in enumerate(zip([0, *ends], ends, strict=False), 1):
        for box in found[begin:end]:
            more = {"group": number, "due": number == 1, "state": "waiting", "since_ms": now_ms}
            session.add(RolloutBox(number=row.number, box_id=box, **more))
    session.flush()
    audit.record(session, actor, "rollout.start", f"rollout/{row.number}", {"name": name, "boxes": len(found)}, now_ms)
    return row


def _fits(artefact: ArtefactRow, system: str | None) -> bool:
    if artefact.kind == "detector":  # boxes decide
        return True
    bundle = Bundle.model_validate_json(artefact.signed)
    return system is not None and SystemReported.model_validate_json(system).compatible == bundle.compatible


def running(session: Session) -> RolloutRow | None:
    """The one that goes on."""
    return session.scalars(select(RolloutRow).where(RolloutRow.state == "running")).first()


def newest(session: Session, kind: str, count: int) -> list[tuple[RolloutRow, str]]:
    """The last roll-outs of detectors or systems, and what went out."""
    query = select(RolloutRow, ArtefactRow.name).join(ArtefactRow, ArtefactRow.sha256 == RolloutRow.sha256)
    query = query.where(ArtefactRow.kind == kind).order_by(RolloutRow.number.desc()).limit(count)
    return [(row, name) for row, name in session.execute(query)]


def members(session: Session, number: int) -> Sequence[tuple[RolloutBox, Box]]:
    """Boxes of a roll-out, in their groups."""
    query = select(RolloutBox, Box).join(Box, Box.id == RolloutBox.box_id).where(RolloutBox.number == number)
    return [(one, box) for one, box in session.execute(query.order_by(RolloutBox.group, Box.id))]


def stop(session: Session, actor: Actor, number: int, now_ms: int, why: str = "") -> None:
    """No further box takes it, and who has not settled goes on with what it has; raises RegisterError."""
    row = session.get(RolloutRow, number)
    if row is None or row.state != "running":
        raise RegisterError(f"推送 {number} 已结束 / expected a roll-out that goes on, {number} does not")
    row.state, row.why = "stopped", why
    for one, _ in members(session, number):
        if one.group > row.group:
            one.state, one.since_ms = "kept", now_ms
        one.due |= one.state not in SETTLED
    audit.record(session, actor, "rollout.stop", f"rollout/{number}", {"why": why} if why else {}, now_ms)


def step(session: Session, now_ms: int) -> None:
    """Begin the next group, end what is through, stop what fails too often."""
    row = running(session)
    if row is None:
        return
    boxes = members(session, row.number)
    under_way = UNDER_WAY if session.get_one(ArtefactRow, row.sha256).kind == "system" else ()
    lost = {one.box_id for one, _ in boxes if one.state in under_way and now_ms - one.since_ms > LOST_MS}
    for number in range(1, row.group + 1):
        states = {one.box_id: one.state for one, _ in boxes if one.group == number}
        failed = [box for box, state in states.items() if state in FAILED or box in lost]
        if len(failed) > row.most * len(states):
            why = f"{len(failed)} of {len(states)} boxes of group {number}: {', '.join(failed[:5])}"
            stop(session, SYSTEM, row.number, now_ms, why)
            return
    group = [(one, box) for one, box in boxes if one.group == row.group]
    through = all(
        one.state in SETTLED or one.box_id in lost or (box.state != "online" and one.state not in under_way)
        for one, box in group
    )
    last = row.group == boxes[-1][0].group
    if last and all(one.state in SETTLED or box.standing in register.OUT for one, box in boxes):
        row.state = "done"
    elif through and not last and any(one.state == "taken" for one, _ in group):
        row.group += 1
        for one, _ in boxes:
            if one.group == row.group:
                one.due, one.since_ms = True, now_ms


def any_due(session: Session) -> bool:
    """Whether a box is to be told something."""
    return session.scalars(select(RolloutBox.number).where(RolloutBox.due).limit(1)).first() is not None


def due(session: Session, center: str) -> Iterator[tuple[RolloutBox, Topic, bytes]]:
    """What boxes are to be told."""
    query = (
        select(RolloutBox, Box.site, RolloutRow.state, ArtefactRow.kind, ArtefactRow.signed)
        .join(Box, Box.id == RolloutBox.box_id)
        .join(RolloutRow, RolloutRow.number == RolloutBox.number)
        .join(ArtefactRow, ArtefactRow.sha256 == RolloutRow.sha256)
    )
    for row, site, state, kind, signed in session.execute(query.where(RolloutBox.due)).all():
        what = "model" if kind == "detector" else "system"
        # a box that is set up anew later is not to go back to a system that it has had
        over = state == "stopped" or (kind == "system" and row.state in SETTLED)
        data: ModelDesired | SystemDesired
        if kind == "detector":
            data = ModelDesired(rollout=row.number, signed=None if over else Signed.model_validate_json(signed))
        else:
            data = SystemDesired(rollout=row.number, bundle=None if over else Bundle.model_validate_json(signed))
        event = Event[Any](
            id=f"{row.box_id}:{what}:{row.number}:{'over' if over else state}",
            source=source(CENTER, center),
            type=f"cityeye.{what}.desired",
            time=from_epoch(row.since_ms / 1000),
            dataschema=dataschema(f"{what}-desired"),
            data=data,
        )
        yield row, Topic(site, row.box_id, f"{what}/desired"), event.to_json()


def take_reported(session: Session, box: Box, reported: ModelReported | SystemReported, received_ms: int) -> None:
    """Take what a box says of its detector or its system."""
    if isinstance(reported, SystemReported):
        box.system = reported.model_dump_json()
    row = None if reported.rollout is None else session.get(RolloutBox, (reported.rollout, box.id))
    if row is None or (row.state in SETTLED and reported.state in (row.state, "kept")):
        return
    waited = f"; {row.text}" if row.state == "trial" and row.text and reported.state == "rolled_back" else ""
    if row.state != reported.state:
        row.state, row.since_ms = reported.state, received_ms
        row.due |= isinstance(reported, SystemReported) and reported.state in SETTLED
    row.text = reported.text + waited

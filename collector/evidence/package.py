"""A package of evidence: all that proves a ticket, in one ZIP that anybody can verify without this center.

`manifest.json` names every other file with its SHA-256; `manifest.sig` is the center's Ed25519 signature over it. The
ZIP is written without compression, always alike, so that `check` can write it again and compare: no byte is free.
"""

import base64
import hashlib
import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from collector.evidence import seals, uploads
from collector.evidence.files import PictureFiles
from collector.evidence.looks import look, person_of
from collector.people import audit
from collector.people.actor import Actor
from collector.store import AuditRow, Box, HoldRow, IncidentRow, MessageRow, PictureRow, ReportRow, Ticket, TicketEvent
from protocol.instants import from_epoch, rfc3339
from protocol.messages import Evidence, Incident
from protocol.seal import public_key_text, seal_fault

MANIFEST: Final = "manifest.json"
SIGNATURE: Final = "manifest.sig"
REPORT: Final = "report.pdf"
VERSION: Final = 1
EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""ZIP's first instant; when things were is in the manifest."""


@dataclass
class Bundle:
    """What goes into a package, before it is signed.

    Args:
        manifest: all that is said of the ticket and its pictures, but its `files`.
        files: name to content.
    """

    manifest: dict[str, Any]
    files: dict[str, bytes]


def gather(session: Session, actor: Actor, ticket: Ticket, reason: str, center: str, now_ms: int) -> Bundle:
    """Collect what belongs to a ticket, but its pictures; that it was done, and why, goes on record before.

    Args:
        session: a transaction that writes.
        actor: whoever asks for it.
        ticket: of which.
        reason: why.
        center: its name.
        now_ms: the center's clock.
    """
    number = ticket.number
    rows = session.scalars(
        select(IncidentRow).where(IncidentRow.ticket_number == number).order_by(IncidentRow.opened_ms, IncidentRow.id)
    ).all()
    incidents = [row.id for row in rows]
    of_these = select(PictureRow).where(PictureRow.incident.in_([*incidents, uploads.report_key(number)]))
    pictures = session.scalars(of_these.order_by(PictureRow.received_ms, PictureRow.id)).all()
    detail = {"reason": reason, "pictures": [one.sha256 for one in pictures if one.deleted_ms is None]}
    look(session, actor, "evidence.package", f"ticket/{number}", detail, center, now_ms)
    records = {
        seals.picture_id(row.id, one): one for row in rows for one in Incident.model_validate_json(row.data).evidence
    }
    known = seals.of(session, incidents)
    keys = {box.id: box.public_key for box in session.scalars(select(Box).where(Box.id.in_({r.box_id for r in rows})))}
    found: dict[str, bytes] = {}
    told = []
    for one in pictures:
        record, seal = records.get(one.id), known.get(one.id)
        why = seals.no_evidence(ticket, one, seal)
        told.append(
            {
                "id": one.id,
                "file": None,
                "incident": one.incident,
                "role": one.role,
                "view": one.view,
                "sha256": one.sha256,
                "masked": bool(one.masked),
                "received_at": _iso(one.received_ms),
                "taken_at": rfc3339(record.taken_at) if record else _iso(one.taken_ms),
                "taken_by": person_of(session, one.author, center) if one.author else f"box {one.box_id}",
                "seal": None if seal is None else {"state": seal.state, "why": seal.why, "link": seal.link},
                "record": None if record is None else record.model_dump(mode="json"),
                "box_key": keys.get(one.box_id or ""),
                "evidence": not why,
                "no_evidence_because": why,
                "deleted": None if one.deleted_ms is None else f"{_iso(one.deleted_ms)} {one.deleted_why}",
            }
        )
    messages = select(MessageRow).where(MessageRow.incident.in_(incidents))
    for message in session.scalars(messages.order_by(MessageRow.incident, MessageRow.seq)):
        found[f"messages/{message.incident}/{message.seq:06}.json"] = message.payload.encode()
    found["ticket.json"] = _json(_columns(ticket) | ({"report": _columns(ticket.report)} if ticket.report else {}))
    events = session.scalars(select(TicketEvent).where(TicketEvent.ticket_number == number).order_by(TicketEvent.id))
    found["timeline.json"] = _json([_event(session, row, center) for row in events])
    found["access.json"] = _json([_line(row) for row in _lines(session, number, pictures, incidents)])
    holds = session.scalars(select(HoldRow).where(HoldRow.ticket_number == number).order_by(HoldRow.number))
    manifest = {
        "version": VERSION,
        "center": center,
        "ticket": number,
        "case_number": ticket.case_number,
        "rule": ticket.rule,
        "shop": ticket.shop,
        "place": _place(ticket),
        "state": ticket.state,
        "opened_at": _iso(ticket.opened_ms),
        "cleared_at": _iso(ticket.cleared_ms),
        "made_at": _iso(now_ms),
        "made_by": person_of(session, str(actor), center),
        "reason": reason,
        "reviewed_by": None if ticket.reviewer is None else person_of(session, ticket.reviewer, center),
        "reviewed_at": _iso(ticket.reviewed_ms),
        "audit_head": str(audit.head(session)),
        "holds": [{"by": one.by, "why": one.why, "since": _iso(one.since_ms)} for one in holds],
        "pictures": told,
    }
    return Bundle(manifest, found)


def put_pictures(bundle: Bundle, files: PictureFiles) -> None:
    """Add the pictures that were not deleted; raises OSError."""
    for one in bundle.manifest["pictures"]:
        why = ""
        try:
            content = None if one["deleted"] is not None else files.read(one["sha256"])
        except FileNotFoundError:
            content, why = None, one["no_evidence_because"] or "its file is missing"
        if content is not None:
            one["file"] = f"pictures/{one['sha256']}.jpg"
            bundle.files[one["file"]] = content
            if hashlib.sha256(content).hexdigest() != one["sha256"]:
                why = "its file was changed"
        if why:
            one["evidence"], one["no_evidence_because"] = False, why


def sign(bundle: Bundle, key: Ed25519PrivateKey) -> bytes:
    """Write the ZIP."""
    listed = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        for name, content in sorted(bundle.files.items())
    }
    manifest = _json({**bundle.manifest, "public_key": public_key_text(key), "files": listed})
    signature = _json({"algorithm": "Ed25519", "signature": base64.b64encode(key.sign(manifest)).decode()})
    return write({**bundle.files, MANIFEST: manifest, SIGNATURE: signature})


def write(files: Mapping[str, bytes]) -> bytes:
    """A ZIP of these files, always the same bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            info = zipfile.ZipInfo(name, EPOCH)
            info.create_system, info.external_attr = 3, 0o644 << 16
            archive.writestr(info, files[name])
    return out.getvalue()


def check(package: bytes, key: str | None = None) -> tuple[list[str], dict[str, Any]]:
    """What is wrong with a package, and its manifest, empty where that cannot be read.

    Args:
        package: the ZIP.
        key: the center's public key in base64, as it was told by another way; None: any key is believed.
    """
    faults, files, damaged = _open(package)
    try:
        manifest = json.loads(files[MANIFEST])
        listed = {str(name): str(one["sha256"]) for name, one in manifest["files"].items()}
        pictures = list(manifest["pictures"])
        faults += _signature(files[MANIFEST], files.get(SIGNATURE, b""), str(manifest["public_key"]), key)
    except (KeyError, ValueError, TypeError, AttributeError):
        return [*faults, f"{MANIFEST}: expected what this program writes; it is missing or was changed"], {}
    for name, sha256 in listed.items():
        if name in damaged:
            continue
        if name not in files:
            faults.append(f"{name}: it is missing")
        elif hashlib.sha256(files[name]).hexdigest() != sha256:
            faults.append(f"{name}: it was changed; its SHA-256 is not the one that was signed")
    faults += [f"{name}: the manifest does not name it" for name in {*files} - {*listed, MANIFEST, SIGNATURE}]
    if not faults:
        try:
            faults += [fault for one in pictures for fault in _seal(one, files)]
        except (KeyError, ValueError, TypeError, AttributeError):
            faults.append(f"{MANIFEST}: expected records of pictures as this program writes them")
        again = write({**files, SIGNATURE: _json(json.loads(files[SIGNATURE]))})
        if again != package:
            at = next((n for n, (a, b) in enumerate(zip(again, package, strict=False)) if a != b), len(again))
            faults.append(f"the ZIP itself: byte {at} was changed, outside of its files' contents")
    return faults, manifest


def _open(package: bytes) -> tuple[list[str], dict[str, bytes], set[str]]:
    """What is wrong, what can be read, and names of what cannot."""
    faults: list[str] = []
    files: dict[str, bytes] = {}
    damaged: set[str] = set()
    try:
        with zipfile.ZipFile(io.BytesIO(package)) as archive:
            for info in archive.infolist():
                if info.filename in files or info.compress_type != zipfile.ZIP_STORED:
                    faults.append(f"{info.filename!r:.200}: it is there twice, or compressed")
                    continue
                try:
                    files[info.filename] = archive.read(info)
                except Exception as fault:  # noqa: BLE001 - a damaged ZIP fails in many ways
                    damaged.add(info.filename)
                    faults.append(f"{info.filename!r:.200}: it was changed ({fault!s:.100})")
    except Exception as fault:  # noqa: BLE001 - see above
        faults.append(f"the ZIP itself: it was changed and cannot be opened ({fault!s:.100})")
    return faults, files, damaged


def _signature(manifest: bytes, signature: bytes, public: str, key: str | None) -> Iterator[str]:
    if key is not None and key.strip() != public:
        yield f"{MANIFEST}: another key signed it ({public}) than the center's that you named"
    try:
        told = json.loads(signature)
        raw = base64.b64decode(told["signature"], validate=True)
        Ed25519PublicKey.from_public_bytes(base64.b64decode(public, validate=True)).verify(raw, manifest)
    except (InvalidSignature, ValueError, KeyError, TypeError):
        yield f"{MANIFEST} or {SIGNATURE}: one of them was changed; the signature does not fit"


def _seal(one: Mapping[str, Any], files: Mapping[str, bytes]) -> Iterator[str]:
    """A picture whose seal was good when it came has to pass it again."""
    seal, content = one["seal"], files.get(one["file"] or "")
    if content is None or seal is None or seal["state"] != seals.GOOD:
        return
    record = Evidence.model_validate(one["record"])
    fault = seal_fault(one["incident"], record, one["box_key"], content)
    if fault is not None:
        yield f"{one['file']}: its box's seal does not pass: {fault}"


def _lines(session: Session, number: int, pictures: Any, incidents: list[str]) -> list[AuditRow]:
    """Lines of the audit log about a ticket and about looks at its originals."""
    named = [f"ticket/{number}", *{f"picture/{one.sha256}" for one in pictures}, *(f"incident/{i}" for i in incidents)]
    wanted = or_(AuditRow.action.startswith("evidence."), AuditRow.object == f"ticket/{number}")
    return list(session.scalars(select(AuditRow).where(AuditRow.object.in_(named), wanted).order_by(AuditRow.number)))


def _line(row: AuditRow) -> dict[str, Any]:
    return {**audit.line_json(row), "at": _iso(row.at_ms), "before": row.before}


def _event(session: Session, row: TicketEvent, center: str) -> dict[str, Any]:
    return {
        "at": _iso(row.at_ms),
        "kind": row.kind,
        "author": row.author,
        "who": person_of(session, row.author, center),
        "reason": row.reason,
        "detail": json.loads(row.detail),
        "message": row.message_id,
    }


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True).encode() + b"\n"


def _columns(row: Ticket | ReportRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__table__.columns.keys()}  # noqa: SIM118 - of a collection


def _place(ticket: Ticket) -> str:
    if ticket.report is not None:
        return ticket.report.address or ticket.report.cell
    return f"{ticket.box_id} / {ticket.camera} / {ticket.zone}"


def _iso(at_ms: int | None) -> str | None:
    return None if at_ms is None else rfc3339(from_epoch(at_ms / 1000))

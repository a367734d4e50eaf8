"""What the database knows of boxes, their claims and their certificates; all inside the caller's transaction."""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from collector.boxes.authority import RESERVED, Issued
from collector.store import Box, CameraRow, CertificateRow, Claim, Secret, lock
from protocol.enrolment import make_claim
from protocol.ids import is_slug

OUT: Final = ("revoked", "replaced")
DIGITS: Final = 4
DAY_MS: Final = 86_400_000


class RegisterError(Exception):
    """What was asked does not fit what is known; one line that says what was expected, what came and what to do."""


@dataclass(frozen=True)
class NewClaim:
    """A new claim: the only time that its code is known."""

    box: str
    site: str
    code: str
    expires_ms: int


def has_authority(session: Session) -> bool:
    """Whether this center enrols boxes; then it takes up no others."""
    return (
        session.scalars(select(CertificateRow.serial).where(CertificateRow.usage == "ca").limit(1)).first() is not None
    )


def add_boxes(
    session: Session,
    site: str,
    prefix: str,
    count: int,
    days: float,
    now_ms: int,
    new_claim: Callable[[], str] = make_claim,
) -> list[NewClaim]:
    """Announce boxes `{prefix}-0001` and on, after the highest number that is known, each with a claim."""
    for text in (site, f"{prefix}-0001"):
        if not is_slug(text):
            raise RegisterError(
                f"应为小写字母、数字和连字符，最多 63 个：{text} / "
                f"expected lower-case letters, digits and hyphens, at most 63, got {text!r}"
            )
    if prefix.startswith(RESERVED):
        raise RegisterError(
            f"{prefix}：以 {RESERVED} 开头的编号留给中心自己，请换一个 / "
            f"--prefix {prefix}: names that begin with {RESERVED} are the center's own; choose another"
        )
    known = session.scalars(select(Box.id).where(Box.id.startswith(f"{prefix}-", autoescape=True)))
    tails = [box.removeprefix(f"{prefix}-") for box in known]
    first = max((int(tail) for tail in tails if tail.isdecimal()), default=0) + 1
    claims = []
    for number in range(first, first + count):
        box = new_box(f"{prefix}-{number:0{DIGITS}d}", site, now_ms)
        session.add(box)
        session.flush()
        claims.append(_claim(session, box, days, now_ms, new_claim))
    return claims


def new_box(box_id: str, site: str, now_ms: int) -> Box:
    """A box that is expected."""
    return Box(
        id=box_id,
        site=site,
        state="unknown",
        version="",
        boot_id="",
        state_since_ms=now_ms,
        seen_ms=now_ms,
        standing="expected",
    )


def renew_claim(session: Session, box_id: str, days: float, now_ms: int) -> NewClaim:
    """A new claim for a box that is known: its certificate has expired, or its disk is new. Older claims end."""
    box = hold_box(session, box_id)
    if box.standing in OUT:
        raise _out(box)
    end_claims(session, box_id, now_ms)
    return _claim(session, box, days, now_ms, make_claim)


def end_claims(session: Session, box_id: str, now_ms: int) -> None:
    """No claim of this box is good any longer."""
    session.execute(update(Claim).where(Claim.box_id == box_id, Claim.expires_ms > now_ms).values(expires_ms=now_ms))


def _claim(session: Session, box: Box, days: float, now_ms: int, new_claim: Callable[[], str]) -> NewClaim:
    claim = NewClaim(box.id, box.site, new_claim(), now_ms + round(days * DAY_MS))
    session.add(
        Claim(
            code_sha256=code_sha256(claim.code),
            box_id=box.id,
            created_ms=now_ms,
            expires_ms=claim.expires_ms,
            attempts=0,
        )
    )
    session.flush()
    return claim


def code_sha256(claim: str) -> str:
    """What is kept of a claim; 85 random bits need no slow hash."""
    return hashlib.sha256(claim.encode()).hexdigest()


def find_box(session: Session, box_id: str) -> Box:
    """A box that is known; raises RegisterError."""
    box = session.get(Box, box_id)
    if box is None:
        raise RegisterError(
            f"本中心没有盒子 {box_id} / box {box_id}: expected a box of this center, found none; see `boxes list`"
        )
    return box


def hold_box(session: Session, *box_ids: str) -> Box:
    """The first of these boxes as it stands now; nobody else changes who they are until the transaction ends.

    Putting a box out, giving it a claim or a certificate: one after the other, or a box that is put out could end with
    a certificate that was being made meanwhile. On SQLite the transaction is one of `Store.writing`.

    Raises RegisterError.
    """
    lock(session, [f"box {box_id}" for box_id in box_ids])
    for box_id in box_ids:
        session.get(Box, box_id, populate_existing=True)
    return find_box(session, box_ids[0])


def record(session: Session, issued: Issued, usage: str, name: str, now_ms: int) -> CertificateRow:
    """Remember a certificate."""
    row = CertificateRow(
        serial=issued.serial,
        usage=usage,
        name=name,
        key_sha256=issued.key_sha256,
        issued_ms=now_ms,
        not_after_ms=issued.not_after_ms,
        pem=issued.pem,
    )
    session.add(row)
    session.flush()
    return row


def newest_certificate(session: Session, usage: str, name: str) -> CertificateRow | None:
    """The one that was issued last and is not revoked."""
    query = select(CertificateRow).where(
        CertificateRow.usage == usage, CertificateRow.name == name, CertificateRow.revoked_ms.is_(None)
    )
    return session.scalars(query.order_by(CertificateRow.issued_ms.desc()).limit(1)).first()


def collectors(session: Session) -> list[str]:
    """Names that the broker knows collectors by."""
    query = select(CertificateRow.name).where(CertificateRow.usage == "collector", CertificateRow.revoked_ms.is_(None))
    return sorted(set(session.scalars(query)))


def put_out(session: Session, box_id: str, standing: str, now_ms: int) -> Box:
    """Revoke a box: its certificates, its claims, and its right to be heard. Twice is once."""
    box = hold_box(session, box_id)
    if box.standing != "replaced":
        box.standing = standing
    if box.state != "offline":
        # its last will is not heard any more
        box.state, box.state_since_ms = "offline", now_ms
    end_claims(session, box_id, now_ms)
    end_certificates(session, box_id, now_ms)
    return box


def end_certificates(session: Session, box_id: str, now_ms: int, but_of: str = "") -> int:
    """Revoke the certificates of a box, but not those of one key (`key_sha256`); says how many."""
    ended = session.execute(
        update(CertificateRow)
        .where(CertificateRow.name == box_id, CertificateRow.usage == "box", CertificateRow.revoked_ms.is_(None))
        .where(CertificateRow.key_sha256 != but_of)
        .values(revoked_ms=now_ms)
    )
    return int(getattr(ended, "rowcount", 0))


def _out(box: Box) -> RegisterError:
    return RegisterError(
        f"盒子 {box.id} 已停用，请登记新盒子 / box {box.id}: it is {box.standing}; announce a new one with `boxes add`"
    )


def replace(session: Session, old_id: str, new_id: str, now_ms: int, move: Sequence["Move"] = ()) -> None:
    """Put a box in another's place: its cameras and settings go over, then the old one is put out.

    Args:
        session: of the database.
        old_id: goes.
        new_id: comes; announced or enrolled at the same site, and without cameras of its own.
        now_ms: when.
        move: further things that belong to a box, each moved by a function of (session, old, new).
    """
    old, new = hold_box(session, old_id, new_id), find_box(session, new_id)
    if old_id == new_id or old.standing == "replaced":
        raise RegisterError(
            f"应为两台盒子，且 {old_id} 尚未被替换 / "
            f"box {old_id}: expected two boxes, the old one not replaced yet (by {old.replaced_by})"
        )
    if new.standing in OUT:
        raise _out(new)
    if new.site != old.site:
        raise RegisterError(
            f"盒子 {new_id} 在 {new.site}，应与旧盒子同在 {old.site} / "
            f"box {new_id}: expected one at site {old.site}, it is at {new.site}"
        )
    if session.scalars(select(CameraRow.camera).where(CameraRow.box_id == new_id).limit(1)).first() is not None:
        raise RegisterError(
            f"盒子 {new_id} 已有摄像头，应为新盒子 / box {new_id}: expected a new box, this one has cameras already"
        )
    session.execute(update(CameraRow).where(CameraRow.box_id == old_id).values(box_id=new_id))
    for one in move:
        one(session, old_id, new_id)
    put_out(session, old_id, "replaced", now_ms)
    old.replaced_by = new_id


Move = Callable[[Session, str, str], None]


def revoked(session: Session, now_ms: int) -> tuple[dict[str, float], set[str]]:
    """Certificates that are revoked: serial to when, in seconds; and those of them that have expired by themselves."""
    rows = session.scalars(select(CertificateRow).where(CertificateRow.revoked_ms.is_not(None))).all()
    serials = {row.serial: row.revoked_ms / 1000 for row in rows if row.revoked_ms is not None}
    return serials, {row.serial for row in rows if row.not_after_ms < now_ms}


def shared_group(session: Session) -> str:
    """Name of the collectors' shared subscription, which no box must know.

    mosquitto grants every subscription and looks at the ACL only when it delivers: a box that joined the group would be
    dealt every n-th message, and that message would be gone until its sender sends it again.
    """
    row = session.get(Secret, "shared_group")
    if row is None:
        try:
            with session.begin_nested():
                row = Secret(name="shared_group", value=secrets.token_hex(16))
                session.add(row)
        except IntegrityError:  # another collector was first
            row = session.get_one(Secret, "shared_group")
    return row.value

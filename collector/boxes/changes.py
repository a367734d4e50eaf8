"""What people do with boxes: each change with its line in the audit log, in the caller's transaction."""

import json
import os
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from sqlalchemy.orm import Session

from collector.boxes import orders, register, wanted
from collector.boxes.orders import OrderError
from collector.boxes.register import NewClaim
from collector.boxes.wanted import WantedError
from collector.people import audit
from collector.people.actor import Actor
from collector.store import AcceptanceRow, CommandRow, SettingsRow, lock
from protocol.commands import Login
from protocol.ids import uuid7
from protocol.sealed import seal_secret
from protocol.settings import Camera, read_document

HARMLESS: Final = ("snapshot", "verify", "restart", "examine")
"""Verbs that leave a box as it was; `boxes.ask` is enough for these."""


LONGEST: Final = 500


def new_command(now_ms: int) -> str:
    """An id for a command."""
    return uuid7(now_ms / 1000, os.urandom(10))


def command(
    session: Session, actor: Actor, box: str, verb: str, args: dict[str, Any], now_ms: int, command_id: str = ""
) -> CommandRow:
    """Have a box do something; raises OrderError.

    Args:
        session: a transaction.
        actor: who asks.
        box: its id.
        verb: one of `protocol.commands.VERBS`.
        args: what that takes.
        now_ms: milliseconds since the epoch.
        command_id: of `new_command`, where a secret was sealed for it.
    """
    by = actor.id if actor.kind == "system" else str(actor)
    row = orders.ask(session, box, verb, args, command=command_id or new_command(now_ms), by=by, now_ms=now_ms)
    # neither a secret nor all that is drawn in settings that are tried
    named = {key: value for key, value in args.items() if key != "sealed" and isinstance(value, str)}
    told = {"command": row.id, **named}
    audit.record(session, actor, f"box.{verb}", f"box/{box}", told, now_ms)
    return row


def sealed_login(session: Session, box: str, command_id: str, name: str, login: Login) -> dict[str, Any]:
    """Arguments of `secret`: user and password of a camera, sealed to the box; raises OrderError, SealedError."""
    key = orders.known_box(session, box).encryption_key
    if key is None:
        raise OrderError(
            f"盒子 {box} 尚未公布加密公钥，请更新其程序 / "
            f"box {box}: expected a key to seal the secret to, it has published none; update its agent"
        )
    return {"name": name, "sealed": seal_secret(login.model_dump_json().encode(), key, box, command_id, name)}


def accept(
    session: Session, actor: Actor, row: CommandRow, failed: int, name: str, note: str, now_ms: int
) -> AcceptanceRow:
    """Accept an installation as the doctor's report in `row` says, of which so many fail; raises OrderError."""
    name, note = name.strip(), note.strip()
    if session.get(AcceptanceRow, row.id) is not None:
        raise OrderError("已经验收 / it was accepted already")
    if not name or max(len(name), len(note)) > LONGEST:
        raise OrderError(f"请填写移交人，最多 {LONGEST} 字 / expected who hands it over, at most {LONGEST} letters")
    if failed and not note:
        raise OrderError("有故障项，请写明为何仍予验收 / something fails: expected why it is accepted all the same")
    accepted = AcceptanceRow(command_id=row.id, at_ms=now_ms, by=str(actor), handed_over_by=name, note=note)
    session.add(accepted)
    audit.record(session, actor, "box.accepted", f"box/{row.box_id}", {"command": row.id, "failed": failed}, now_ms)
    return accepted


def add_camera(session: Session, actor: Actor, box: str, camera: Camera, now_ms: int) -> SettingsRow:
    """Want one more camera of a box, in a new revision of its settings; raises WantedError."""
    lock(session, [f"settings {box}"])
    last = wanted.newest(session, box)
    if last is None:
        raise WantedError(
            f"盒子 {box} 尚未上报设置，请稍后再试 / box {box}: expected settings, it has reported none yet; try later"
        )
    document = read_document(json.loads(last.document))
    if camera.id in [one.id for one in document.camera]:
        raise WantedError(f"盒子 {box} 已有摄像头 {camera.id} / box {box}: it has a camera {camera.id} already")
    more = document.model_copy(update={"camera": (*document.camera, camera)})
    by = actor.id if actor.kind == "system" else str(actor)
    row = wanted.want(session, box, more, by=by, now_ms=now_ms, based_on=last.revision)
    told = {"number": row.number, "revision": row.revision, "digest": row.digest, "camera": camera.id}
    audit.record(session, actor, "box.settings", f"box/{box}", told, now_ms)
    return row


def announce(
    session: Session, actor: Actor, site: str, prefix: str, count: int, days: float, now_ms: int
) -> list[NewClaim]:
    """Expect new boxes, each with a claim code; raises RegisterError."""
    claims = register.add_boxes(session, site, prefix, count, days, now_ms)
    detail = {"site": site, "boxes": [one.box for one in claims]}
    audit.record(session, actor, "boxes.add", f"street/{site}", detail, now_ms)
    return claims


def renew_claim(session: Session, actor: Actor, box: str, days: float, now_ms: int) -> NewClaim:
    """A new claim code for a box that is known; older ones end. Raises RegisterError."""
    claim = register.renew_claim(session, box, days, now_ms)
    audit.record(session, actor, "boxes.renew", f"box/{box}", {}, now_ms)
    return claim


def revoke(session: Session, actor: Actor, box: str, now_ms: int) -> str:
    """Put a box out, says its site; raises RegisterError. The broker has to be told as well: `revocation.Lists`."""
    site = register.put_out(session, box, "revoked", now_ms).site
    audit.record(session, actor, "boxes.revoke", f"box/{box}", {"site": site}, now_ms)
    return site


def replace(session: Session, actor: Actor, old: str, new: str, now_ms: int) -> str:
    """Put a box in another's place, says their site; raises RegisterError, WantedError. Then as with `revoke`."""
    by = actor.id if actor.kind == "system" else str(actor)
    move: Callable[[Session, str, str], None] = partial(wanted.inherit, by=by, now_ms=now_ms)
    register.replace(session, old, new, now_ms, move=[move])
    site = register.find_box(session, old).site
    audit.record(session, actor, "boxes.replace", f"box/{old}", {"by": new, "site": site}, now_ms)
    return site

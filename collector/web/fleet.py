"""What the pages of cameras and boxes show, read from the database."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError
from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from collector.boxes.register import OUT
from collector.store import (
    Box,
    CameraPlace,
    CameraRow,
    CertificateRow,
    Claim,
    CommandPicture,
    CommandRow,
    IncidentRow,
    PictureRow,
    SettingsReport,
    SettingsRow,
    Ticket,
)
from collector.web import ailments, story, words
from collector.web.ailments import BoxFacts, CameraFacts, Found
from collector.web.language import N_, Text
from protocol.messages import BoxHealth

OLD_MS: Final = 10 * 60_000
"""A picture older than this says nothing of now, and looks like it."""
NOT_KNOWN: Final = N_("Not known")
SNAPSHOT: Final = N_("Asked for")
PROOF: Final = N_("From a ticket")
VERBS: Final = {
    "snapshot": N_("Picture now"),
    "probe": N_("Camera tried"),
    "verify": N_("Look now"),
    "scene": N_("Clear place"),
    "secret": N_("Password of a camera"),
    "restart": N_("Start again"),
    "diagnostics": N_("Diagnostics"),
    "resend": N_("Send again"),
    "try": N_("Try settings on the last hour"),
    "setup": N_("Open the set-up page"),
    "examine": N_("Examination"),
}
OUTCOMES: Final = {
    "waiting": N_("Waits to be sent"),
    "sent": N_("Sent, no answer yet"),
    "accepted": N_("Begun"),
    "ok": N_("Done"),
    "failed": N_("Failed"),
    "refused": N_("Refused by the box"),
    "expired": N_("Came too late"),
    "timed_out": N_("No answer"),
}
REVISIONS: Final = {
    "wanted": N_("Wanted, the box has said nothing yet"),
    "pending": N_("On trial"),
    "applied": N_("In force"),
    "rejected": N_("Rejected by the box"),
    "rolled_back": N_("Rolled back by the box"),
    "conflict": N_("Conflict: edited on the box meanwhile"),
}
STANDINGS: Final = {
    "guest": N_("Without a certificate"),
    "expected": N_("Announced"),
    "enrolled": N_("Enrolled"),
    "revoked": N_("Put out"),
    "replaced": N_("Replaced"),
}
_NUMBERS: Final = re.compile(r"\d+")


@dataclass(frozen=True)
class LastPicture:
    """The newest picture that the center has of a camera.

    Args:
        url: without the width and `.jpg`.
        taken_ms: when it was taken, or came.
        kind: how it came here.
        old: whether it says nothing of now any more.
    """

    url: str
    taken_ms: int
    kind: Text
    old: bool


@dataclass(frozen=True)
class CameraCard:
    """A camera, as its box last told.

    Args:
        frame_age_s: of the newest picture that its box is known to have had, by now.
    """

    box: str
    camera: str
    name: str
    state: Text
    level: str
    since_ms: int
    found: tuple[Found, ...]
    restarts: int
    learning: tuple[str, ...]
    frame_age_s: float | None
    decided_s: float | None
    picture: LastPicture | None = None


@dataclass(frozen=True)
class BoxCard:
    """A box and its cameras.

    Args:
        there: whether what it said is true now.
        health_ms: when its last report came.
    """

    id: str
    site: str
    standing: Text
    is_expected: bool
    is_out: bool
    replaced_by: str
    state: Text
    there: bool
    since_ms: int
    seen_ms: int
    version: str
    found: tuple[Found, ...]
    certificate_ms: int | None
    claim_ms: int | None
    health: BoxHealth | None
    health_ms: int | None
    cameras: tuple[CameraCard, ...] = ()

    @property
    def own_level(self) -> str:
        """How bad it is with the box itself."""
        return "" if self.is_out else ailments.level(self.found)

    @property
    def level(self) -> str:
        """With all of its cameras."""
        return min((self.own_level or ailments.GOOD, *(one.level for one in self.cameras)), key=ailments.ORDER.index)


@dataclass(frozen=True)
class Revision:
    """A line of the history of a box's settings."""

    number: int
    revision: int | None
    based_on: int
    state: Text
    level: str
    by: Text
    made_ms: int
    errors: tuple[str, ...]


@dataclass(frozen=True)
class Asked:
    """A command and what became of it."""

    id: str
    verb: Text
    of: str
    by: Text
    asked_ms: int
    state: Text
    level: str
    text: str
    pictures: tuple[str, ...]
    bundle: bool


@dataclass(frozen=True)
class Zones:
    """A camera of the settings that are wanted, and its zones."""

    camera: str
    zones: tuple[str, ...]
    credentials: str = ""


@dataclass(frozen=True)
class BoxPage:
    """All that the page of a box shows."""

    box: BoxCard
    reported: int | None
    reported_ms: int | None
    wanted: int | None
    history: tuple[Revision, ...]
    commands: tuple[Asked, ...]
    zones: Mapping[str, Zones] = field(default_factory=dict)
    successors: tuple[str, ...] = ()
    model: str = ""


def boxes(
    session: Session, now_ms: int, streets: Collection[str] | None, *, only: str | None = None, out: bool = False
) -> list[BoxCard]:
    """Boxes of some streets (None: of all) with their cameras, the worst first, without pictures.

    Args:
        session: a transaction.
        now_ms: the center's clock.
        streets: sites.
        only: this box alone.
        out: those as well that were put out.
    """
    query = select(Box).order_by(Box.site, Box.id)
    if streets is not None:
        query = query.where(Box.site.in_(streets))
    if only is not None:
        query = query.where(Box.id == only)
    if not out:
        query = query.where(Box.standing.not_in(OUT))
    rows = session.scalars(query).all()
    certificates, claims, settings = (
        _certificates(session, only),
        _claims(session, only, now_ms),
        _states(session, only),
    )
    newest = max((_version(one) for one in session.scalars(select(Box.version).distinct())), default=())
    cameras = _rows(session, only)
    names = _names(session, only)
    found = []
    for row in rows:
        health = _health(row.health)
        facts = BoxFacts(
            standing=row.standing,
            state=row.state,
            seen_ms=row.seen_ms,
            health=health,
            certificate_ms=certificates.get(row.id),
            behind=bool(row.version) and _version(row.version) < newest,
            settings=settings.get(row.id, ""),
        )
        wrong = () if row.standing in OUT else ailments.of_box(facts, now_ms)
        there = row.state == "online" and "silent" not in {one.code for one in wrong}
        card = BoxCard(
            id=row.id,
            site=row.site,
            standing=words.words(STANDINGS, row.standing),
            is_expected=row.standing == "expected",
            is_out=row.standing in OUT,
            replaced_by=row.replaced_by or "",
            state=words.words(words.BOXES, row.state),
            there=there,
            since_ms=row.state_since_ms,
            seen_ms=row.seen_ms,
            version=row.version,
            found=wrong,
            certificate_ms=certificates.get(row.id),
            claim_ms=claims.get(row.id),
            health=health,
            health_ms=row.health_ms,
        )
        own = [_camera(one, card, names.get((row.id, one.camera), ""), now_ms) for one in cameras.get(row.id, ())]
        own.sort(key=lambda one: (ailments.ORDER.index(one.level), one.camera))
        found.append(replace(card, cameras=tuple(own)))
    return sorted(found, key=lambda one: (one.site, ailments.ORDER.index(one.level), one.id))


def _camera(row: CameraRow, box: BoxCard, name: str, now_ms: int) -> CameraCard:
    loads = {} if box.health is None else {one.camera: one for one in box.health.cameras}
    load = loads.get(row.camera) if box.there else None
    facts = CameraFacts(
        state=row.state,
        since_ms=row.since_ms,
        text=row.text,
        unavailable=_list(row.unavailable),
        frame_age_s=None if load is None else load.frame_age_s,
        decided_s=None if load is None else load.decided_s,
    )
    wrong = ailments.of_camera(facts, now_ms) if box.there else (Found("away"),)
    told_s = max(0, now_ms - (box.health_ms or now_ms)) / 1000
    return CameraCard(
        box=box.id,
        camera=row.camera,
        name=name,
        # what a camera said before its box went away is no longer true
        state=words.words(words.CAMERAS, row.state) if box.there else NOT_KNOWN,
        level=ailments.level(wrong),
        since_ms=row.since_ms if box.there else box.seen_ms,
        found=wrong,
        restarts=row.restarts,
        learning=_list(row.learning) if box.there else (),
        frame_age_s=None if facts.frame_age_s is None else facts.frame_age_s + told_s,
        decided_s=facts.decided_s,
    )


def with_pictures(
    session: Session, cards: Sequence[BoxCard], now_ms: int, streets: Collection[str] | None
) -> list[BoxCard]:
    """The same with the last picture of each camera, at the streets (None: all) where they may be seen."""
    own = [one for one in cards if streets is None or one.site in streets]
    keys = {(camera.box, camera.camera) for one in own for camera in one.cameras}
    newest = _proofs(session, keys, now_ms)
    for key, picture in _snapshots(session, keys, now_ms).items():
        if key not in newest or newest[key].taken_ms < picture.taken_ms:
            newest[key] = picture
    return [
        replace(
            one, cameras=tuple(replace(camera, picture=newest.get((one.id, camera.camera))) for camera in one.cameras)
        )
        for one in cards
    ]


def _snapshots(session: Session, keys: Collection[tuple[str, str]], now_ms: int) -> dict[tuple[str, str], LastPicture]:
    """Pictures that were asked for, of the last day; later ones count."""
    rows = session.execute(
        select(CommandRow.id, CommandRow.box_id, CommandRow.args, CommandRow.replied_ms, CommandRow.asked_ms)
        .join(CommandPicture, (CommandPicture.command_id == CommandRow.id) & (CommandPicture.view == "wide"))
        .order_by(CommandRow.asked_ms)
    )
    found = {}
    for row in rows:
        key = row.box_id, json.loads(row.args).get("camera", "")
        if key in keys:
            taken_ms = row.replied_ms or row.asked_ms
            found[key] = LastPicture(f"/snapshots/{row.id}/wide", taken_ms, SNAPSHOT, now_ms - taken_ms > OLD_MS)
    return found


def _proofs(session: Session, keys: Collection[tuple[str, str]], now_ms: int) -> dict[tuple[str, str], LastPicture]:
    """The newest wide picture of each camera's newest ticket."""
    of_camera = aliased(Ticket)
    newest = (
        select(func.max(of_camera.number))
        .where(of_camera.box_id == CameraRow.box_id, of_camera.camera == CameraRow.camera)
        .scalar_subquery()
    )
    boxes = {box for box, _ in keys}
    numbers = session.scalars(select(newest).select_from(CameraRow).where(CameraRow.box_id.in_(boxes)))
    rows = session.execute(
        select(IncidentRow.box_id, IncidentRow.data, PictureRow.sha256, PictureRow.received_ms)
        .join(PictureRow, PictureRow.incident == IncidentRow.id)
        .where(IncidentRow.ticket_number.in_({one for one in numbers if one is not None}))
        .where(PictureRow.view == "wide", PictureRow.author == "", PictureRow.deleted_ms.is_(None))
    )
    found: dict[tuple[str, str], LastPicture] = {}
    for row in rows:
        data = json.loads(row.data)
        key, taken_ms = (row.box_id, data["camera"]), _taken_ms(data, row.sha256)
        # one that the incident's newest message does not name is of no known time
        if key in keys and taken_ms is not None and (key not in found or found[key].taken_ms < taken_ms):
            found[key] = LastPicture(f"/evidence/{row.sha256}", taken_ms, PROOF, now_ms - taken_ms > OLD_MS)
    return found


def _taken_ms(data: Mapping[str, Any], sha256: str) -> int | None:
    for one in data["evidence"]:
        if one["sha256"] == sha256:
            return round(datetime.fromisoformat(one["taken_at"]).timestamp() * 1000)
    return None


def box_page(session: Session, card: BoxCard) -> BoxPage:
    """All of one box; `card` with its pictures."""
    rows = session.scalars(
        select(SettingsRow).where(SettingsRow.box_id == card.id).order_by(SettingsRow.number.desc()).limit(10)
    ).all()
    wanted = next((one for one in rows if one.revision is not None), None)
    report = session.get(SettingsReport, card.id)
    model = None if card.health is None else card.health.model
    names = story.names(session, [one.by for one in rows])
    return BoxPage(
        box=card,
        reported=None if report is None else report.revision,
        reported_ms=None if report is None else report.received_ms,
        wanted=None if wanted is None else wanted.revision,
        history=tuple(_revision(one, names[one.by]) for one in rows),
        commands=_commands(session, card.id),
        zones={} if wanted is None else _zones(wanted.document),
        successors=_successors(session, card),
        model="" if model is None else f"{model.name} {model.sha256[:12]}",
    )


def _revision(row: SettingsRow, by: Text) -> Revision:
    bad = row.state in ("rejected", "rolled_back", "conflict")
    return Revision(
        number=row.number,
        revision=row.revision,
        based_on=row.based_on,
        state=words.words(REVISIONS, row.state),
        level="bad" if bad else "good" if row.state == "applied" else "warn",
        by=by,
        made_ms=row.made_ms,
        errors=_list(row.errors),
    )


def _commands(session: Session, box: str) -> tuple[Asked, ...]:
    rows = session.scalars(
        select(CommandRow).where(CommandRow.box_id == box).order_by(CommandRow.asked_ms.desc()).limit(10)
    ).all()
    ids = [one.id for one in rows]
    pictures: dict[str, list[str]] = {}
    views = select(CommandPicture.command_id, CommandPicture.view).where(CommandPicture.command_id.in_(ids))
    for command, view in session.execute(views.order_by(CommandPicture.view.desc())):
        pictures.setdefault(command, []).append(view)
    names = story.names(session, [one.by for one in rows])
    return tuple(_asked(one, tuple(pictures.get(one.id, ())), names[one.by]) for one in rows)


def _asked(row: CommandRow, pictures: tuple[str, ...], by: Text) -> Asked:
    args = json.loads(row.args)
    told = [args.get(name) for name in ("camera", "zone", "incident", "action", "name", "since")]
    told = [one for one in told if isinstance(one, str)]
    level = "good" if row.state == "ok" else "warn" if row.state in ("waiting", "sent", "accepted") else "bad"
    return Asked(
        id=row.id,
        verb=words.words(VERBS, row.verb),
        of=" / ".join(told),
        by=by,
        asked_ms=row.asked_ms,
        state=words.words(OUTCOMES, row.state),
        level=level,
        text=row.text,
        pictures=pictures,
        bundle="bundle" in json.loads(row.data),
    )


def _successors(session: Session, card: BoxCard) -> tuple[str, ...]:
    """Boxes that could take its place."""
    query = select(Box.id).where(Box.site == card.site, Box.id != card.id, Box.standing.not_in(OUT))
    return tuple(session.scalars(query.where(Box.id.not_in(select(CameraRow.box_id))).order_by(Box.id)))


def _zones(document: str) -> dict[str, Zones]:
    found = {}
    for one in json.loads(document).get("camera", ()):
        zones = tuple(zone["id"] for zone in one.get("zone", ()))
        found[one["id"]] = Zones(one["id"], zones, one.get("credentials") or "")
    return found


def _only(query: Any, column: Any, box: str | None) -> Any:
    """A query for one box alone, or for all."""
    return query if box is None else query.where(column == box)


def _certificates(session: Session, box: str | None) -> dict[str, int]:
    query = select(CertificateRow.name, CertificateRow.not_after_ms).order_by(CertificateRow.issued_ms)
    query = query.where(CertificateRow.usage == "box", CertificateRow.revoked_ms.is_(None))
    return dict(session.execute(_only(query, CertificateRow.name, box)).all())


def _claims(session: Session, box: str | None, now_ms: int) -> dict[str, int]:
    """Until when a claim that nobody has used is good."""
    query = select(Claim.box_id, func.max(Claim.expires_ms)).group_by(Claim.box_id)
    query = query.where(Claim.serial.is_(None), Claim.expires_ms > now_ms)
    return dict(session.execute(_only(query, Claim.box_id, box)).all())


def _states(session: Session, box: str | None) -> dict[str, str]:
    """State of the last line of each history: a conflict is over once something newer is wanted."""
    last = _only(select(func.max(SettingsRow.number)).group_by(SettingsRow.box_id), SettingsRow.box_id, box)
    query = select(SettingsRow.box_id, SettingsRow.state).where(SettingsRow.number.in_(last))
    return dict(session.execute(query).all())


def _rows(session: Session, box: str | None) -> dict[str, list[CameraRow]]:
    found: dict[str, list[CameraRow]] = {}
    for row in session.scalars(_only(select(CameraRow), CameraRow.box_id, box)):
        found.setdefault(row.box_id, []).append(row)
    return found


def _names(session: Session, box: str | None) -> dict[tuple[str, str], str]:
    query = select(CameraPlace.box_id, CameraPlace.camera, CameraPlace.name)
    return {(one.box_id, one.camera): one.name for one in session.execute(_only(query, CameraPlace.box_id, box))}


def _health(text: str | None) -> BoxHealth | None:
    """A box's last report; one of an agent that this center does not understand counts as none."""
    try:
        return None if text is None else BoxHealth.model_validate_json(text)
    except ValidationError:
        return None


def _list(text: str) -> tuple[str, ...]:
    found = json.loads(text)
    return tuple(str(one) for one in found) if isinstance(found, list) else ()


def _version(text: str) -> tuple[int, ...]:
    """For comparing; what is no number does not count."""
    return tuple(int(one) for one in _NUMBERS.findall(text)[:4])

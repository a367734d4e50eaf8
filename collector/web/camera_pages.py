"""Adding a camera by its address: its box takes a test picture first, and only then the camera goes into its settings.

User and password go as `secret` does, sealed to the box, and before the try: they are in no settings, no log and on no
page again.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from fastapi import APIRouter, HTTPException
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from collector.boxes import changes, wanted
from collector.boxes.orders import OPEN, OrderError
from collector.boxes.register import OUT
from collector.boxes.wanted import WantedError
from collector.people.actor import Actor
from collector.store import Box, CommandPicture, CommandRow
from collector.web import fleet, words
from collector.web.forms import Entry, go
from collector.web.language import N_
from collector.web.pages import Page, Showing
from collector.web.rights import Acting, Desk, Fields, check, in_streets, needs
from protocol.commands import Login
from protocol.ids import is_slug
from protocol.sealed import SealedError
from protocol.settings import Camera, read_document

ROOT: Final = "/admin/cameras/new"
GOOD_FOR_MS: Final = 3_600_000
"""A test picture says nothing of the camera after so long."""
LONGEST: Final = 500
WHY: Final = {
    "bad_password": N_("The camera does not take this user and password."),
    "nothing_listens": N_("Nothing listens at this address and port."),
    "no_route": N_("There is no way to this address, or no answer in time."),
    "no_stream": N_("The camera has no such stream: look at the path of the address."),
    "broken": N_("The connection broke, or the name of the host is not known."),
    "no_video": N_("There is no video at this address."),
    "wrong_codec": N_("Its video cannot be decoded: set the camera to H.264 or H.265."),
    "no_picture": N_("It answers, but no picture came in time."),
    "unknown_verb": N_("The agent of this box is too old to try a camera: update it."),
    "timed_out": N_("The box did not answer: is it connected?"),
    "expired": N_("The box did not answer: is it connected?"),
    "overridden": N_("The box's own environment has a secret of this name: take it out there, or choose another id."),
    "no_secret": N_("The box has no such secret: enter user and password again."),
}
OTHER: Final = N_("No picture came.")
SECRETIVE: Final = re.compile(r"(pass|pwd|secret|token|auth)\w*=", re.IGNORECASE)
FAULTS: Final = (OrderError, WantedError, SealedError)


class AddressError(ValueError):
    """A field that cannot be taken: its name, and a line in both languages."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


def router(desk: Desk) -> APIRouter:
    """The routes."""
    routes = APIRouter(include_in_schema=False)

    def form(
        page: Page, acting: Actor, given: Mapping[str, str], faults: Mapping[str, str] | None = None
    ) -> HTMLResponse:
        own, wrong = in_streets(acting, "boxes.write"), faults or {}
        with desk.store.transaction() as session:
            known = session.scalars(select(Box).where(Box.standing.not_in((*OUT, "expected"))).order_by(Box.id)).all()
        boxes = [
            (one.id, f"{one.id} · {one.site} · {page.reader.say(words.words(words.BOXES, one.state))}")
            for one in known
            if own is None or one.site in own
        ]
        return page(
            "admin_camera.html",
            422 if wrong else 200,
            boxes=boxes,
            entries=_entries(boxes, given, wrong),
            faults=[wrong[""]] if "" in wrong else [],
        )

    @routes.get(ROOT, dependencies=[needs("boxes.write")])
    def show_form(page: Showing, acting: Acting, box: str = "", camera: str = "", source: str = "") -> HTMLResponse:
        return form(page, acting, {"box": box, "camera": camera, "source": source[:LONGEST]})

    @routes.post(ROOT, dependencies=[needs("boxes.write")])
    def try_camera(page: Showing, acting: Acting, fields: Fields) -> Response:
        box, camera = fields.get("box", ""), fields.get("camera", "").strip()
        # whatever comes back to the page is without them
        shown = {"box": box, "camera": camera, "source": ""}
        try:
            source, login = _address(fields)
            shown["source"] = source
            with desk.store.writing() as session:
                check(acting, "boxes.write", _checked(session, box, camera).site)
                now_ms, args = desk.now_ms(), {"camera": camera, "source": source}
                if login is not None:
                    command = changes.new_command(now_ms)
                    sealed = changes.sealed_login(session, box, command, camera, login)
                    changes.command(session, acting, box, "secret", sealed, now_ms, command)
                    args["credentials"] = camera
                # after it, by the order in which a box gets them
                asked = changes.command(session, acting, box, "probe", args, now_ms + 1).id
        except AddressError as fault:
            return form(page, acting, shown, {fault.field: str(fault)})
        except FAULTS as fault:
            return form(page, acting, shown, {"": str(fault)})
        return go(f"{ROOT}/{asked}")

    def tried(session: Session, acting: Actor, command: str) -> CommandRow:
        """A try at one's streets; another one is not there."""
        row, own = session.get(CommandRow, command), in_streets(acting, "boxes.write")
        if row is None or row.verb != "probe" or (own is not None and session.get_one(Box, row.box_id).site not in own):
            raise HTTPException(404, "没有这次测试 / there is no such try")
        return row

    def outcome(page: Page, acting: Actor, command: str, fault: str = "") -> HTMLResponse:
        now_ms = desk.now_ms()
        with desk.store.transaction() as session:
            row = tried(session, acting, command)
            args = json.loads(row.args)
            picture = session.get(CommandPicture, (row.id, "wide"))
            secret = _secret_before(session, row) if "credentials" in args else None
            known = wanted.newest(session, row.box_id)
            cameras = [] if known is None else read_document(json.loads(known.document)).camera
        # what went wrong with the secret is why the camera refused
        wrong = secret if secret is not None and secret.state not in (*OPEN, "ok") else row
        return page(
            "admin_tried.html",
            422 if fault else 200,
            row=row,
            args=args,
            going=row.state in OPEN,
            state=words.words(fleet.OUTCOMES, row.state),
            why="" if row.state == "ok" or row.state in OPEN else WHY.get(wrong.code, OTHER),
            said=wrong.text,
            picture=picture is not None,
            stream=json.loads(row.data).get("stream", ""),
            saved=args["camera"] in [one.id for one in cameras],
            fresh=now_ms - (row.replied_ms or row.asked_ms) <= GOOD_FOR_MS,
            fault=fault,
        )

    @routes.get(f"{ROOT}/{{command}}", dependencies=[needs("boxes.write")])
    def show_outcome(page: Showing, acting: Acting, command: str) -> HTMLResponse:
        return outcome(page, acting, command)

    @routes.post(f"{ROOT}/{{command}}", dependencies=[needs("boxes.write")])
    def save(page: Showing, acting: Acting, command: str) -> Response:
        try:
            with desk.store.writing() as session:
                row = tried(session, acting, command)
                check(acting, "boxes.write", session.get_one(Box, row.box_id).site)
                changes.add_camera(session, acting, row.box_id, _camera(row, desk.now_ms()), desk.now_ms())
                box = row.box_id
        except WantedError as fault:
            return outcome(page, acting, command, str(fault))
        return go(f"/boxes/{box}")

    return routes


def _address(fields: Mapping[str, str]) -> tuple[str, Login | None]:
    """The address without user and password, and these, also where people pasted all in one; raises AddressError."""
    source, user, password = fields.get("source", "").strip(), fields.get("user", ""), fields.get("password", "")
    expected = "地址应为 rtsp://主机[:端口]/路径 / expected rtsp://HOST[:PORT]/PATH"
    try:
        parts = urlsplit(source)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise AddressError("source", expected) from None
    if parts.username is not None:
        user, password = user or unquote(parts.username), password or unquote(parts.password or "")
        parts = parts._replace(netloc=parts.netloc.rpartition("@")[2])
        source = parts.geturl()
    if parts.scheme not in ("rtsp", "rtsps") or not host or len(source) > LONGEST or not source.isprintable():
        raise AddressError("source", expected)
    if SECRETIVE.search(source):
        raise AddressError(
            "source",
            "地址中含有密码，会存入设置；请换用用户名和密码登录的地址 / "
            "expected an address without a password in it, which would be kept in settings: use user and password",
        )
    if max(len(user), len(password)) > LONGEST:
        raise AddressError("user", f"用户名和密码最多 {LONGEST} 字 / expected at most {LONGEST} letters")
    if password and not user:
        raise AddressError("user", "请填写用户名 / expected a user with the password")
    return source, Login(user=user, password=password) if user else None


def _checked(session: Session, box: str, camera: str) -> Box:
    """The box, where no camera and no secret of one has this id yet; raises AddressError."""
    row, known = session.get(Box, box), wanted.newest(session, box)
    if row is None:
        raise AddressError("box", "请选择盒子 / choose a box")
    if not is_slug(camera):
        raise AddressError("camera", "编号只能用小写字母、数字和 - / expected an id of a-z, 0-9 and -")
    cameras = () if known is None else read_document(json.loads(known.document)).camera
    if camera in {one.id for one in cameras} | {one.credentials for one in cameras}:
        raise AddressError("camera", f"盒子 {box} 已使用此编号 / box {box} uses this id already; choose another")
    return row


def _camera(row: CommandRow, now_ms: int) -> Camera:
    """What was tried, as a camera of settings; raises WantedError where no picture came, or long ago."""
    if row.state != "ok" or now_ms - (row.replied_ms or 0) > GOOD_FOR_MS:
        raise WantedError("请先测试这个摄像头 / try this camera first")
    args = json.loads(row.args)
    return Camera(id=args["camera"], source=args["source"], credentials=args.get("credentials"))


def _secret_before(session: Session, probe: CommandRow) -> CommandRow | None:
    """The order that brought the secret of a try."""
    query = select(CommandRow).where(CommandRow.box_id == probe.box_id, CommandRow.verb == "secret")
    return session.scalars(query.where(CommandRow.asked_ms == probe.asked_ms - 1)).first()


def _entries(boxes: Any, given: Mapping[str, str], wrong: Mapping[str, str]) -> list[Entry]:
    def entry(name: str, label: str, kind: str = "text", hint: str = "", **more: Any) -> Entry:
        faults = [wrong[name]] if name in wrong else []
        return Entry(name, label, given.get(name, ""), kind, hint, faults=faults, **more)

    return [
        entry("box", N_("Box"), "choice", required=True, choices=boxes),
        entry("camera", N_("Id of the camera"), hint=N_("a-z, 0-9 and -, such as north-gate."), required=True),
        entry("source", N_("Address"), hint=N_("rtsp://HOST:554/PATH, as the camera's own page says."), required=True),
        entry("user", N_("User of the camera"), hint=N_("An account for viewing only, used nowhere else.")),
        entry("password", N_("Its password"), "password"),
    ]

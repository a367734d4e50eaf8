"""The page on which a camera's zones, masks and ground plane are drawn, and the calls of its script."""

import json
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, HTTPException
from fastapi.responses import HTMLResponse, JSONResponse
from sqlalchemy import select
from sqlalchemy.orm import Session

from collector.boxes import changes, drawings, wanted
from collector.boxes.drawings import ChangedError, Drawing, DrawingError, SameError
from collector.boxes.orders import OrderError
from collector.boxes.register import OUT
from collector.evidence.jpeg import size_of
from collector.people.actor import Actor
from collector.people.rights import may
from collector.places import shops
from collector.store import Box, CommandPicture, CommandRow, SettingsReport, SettingsRow
from collector.web import fleet, story
from collector.web.pages import Page, Showing
from collector.web.refusals import refusal
from collector.web.rights import Acting, Desk, check, in_streets, needs

AT: Final = "/cameras/{box}/{camera}/zones"
WRITE: Final = "zones.write"
WIDE_PX: Final = 960
MOST_BYTES: Final = 48 * 1024
"""Of a drawing that is tried: a command holds 64 KB."""
NO_SETTINGS: Final = "盒子尚未上报此摄像头的设置 / the box has reported no settings of this camera yet"
CHANGED: Final = "设置已在别处更改，未保存 / it was changed elsewhere meanwhile; nothing was saved"
SAME: Final = "没有改动 / nothing was different"
Drawn = Annotated[dict[str, Any], Body()]


def router(desk: Desk) -> APIRouter:
    """The routes."""
    routes = APIRouter(include_in_schema=False)

    @routes.get(AT, dependencies=[needs("boxes.read")])
    def show_zones(page: Showing, acting: Acting, box: str, camera: str) -> HTMLResponse:
        now_ms = desk.now_ms()
        with desk.store.transaction() as session:
            row = _box(session, acting, box)
            cards = fleet.boxes(session, now_ms, None, only=box, out=True)
            (card,) = fleet.with_pictures(session, cards, now_ms, in_streets(acting, "evidence.read"))
            seen = next((one for one in card.cameras if one.camera == camera), None)
            picture = None if seen is None else seen.picture
            state = _state(session, page, box, camera)
            if seen is None and state is None:
                raise HTTPException(404, f"没有摄像头 {box}/{camera} / there is no camera {box}/{camera}")
            size = None if picture is None else _size(desk, session, picture.url)
            site = row.site
            can = {right for right in (WRITE, "boxes.write", "boxes.ask") if may(acting, right, site)}
            known = _shops(session, site)
            owners = {
                zone["id"]: owner
                for zone in ([] if state is None else state["newest"]["drawing"]["zone"])
                if (owner := shops.owner_of(session, box, camera, zone["id"])) is not None
            }
        if row.standing in OUT:
            can = set()
        told = {
            "state": state,
            "picture": None if picture is None or size is None else
            {"url": f"{picture.url}/{WIDE_PX}.jpg", "width": size[0], "height": size[1], "at_ms": picture.taken_ms},
            "shops": known,
            "owners": owners,
            "can": sorted(can),
        }  # fmt: skip
        name = camera if seen is None else seen.name or camera
        return page("zones.html", box=box, camera=camera, name=name, state=state, told=told, can=can, picture=picture)

    @routes.get(f"{AT}/state", dependencies=[needs("boxes.read")])
    def tell_state(page: Showing, acting: Acting, box: str, camera: str) -> JSONResponse:
        with desk.store.transaction() as session:
            _box(session, acting, box)
            return JSONResponse(_state(session, page, box, camera), headers={"cache-control": "no-store"})

    @routes.put(AT, dependencies=[needs(WRITE)])
    def save_zones(page: Showing, acting: Acting, given: Drawn, box: str, camera: str) -> JSONResponse:
        based_on = given.get("based_on")
        if not isinstance(given.get("drawing"), dict) or not isinstance(based_on, int):
            raise HTTPException(422, "请求有误 / expected drawing and based_on")
        with desk.store.writing() as session:
            row = _box(session, acting, box, WRITE)
            try:
                drawings.save(
                    session,
                    acting,
                    box,
                    camera,
                    given["drawing"],
                    based_on=based_on,
                    shops=[one["id"] for one in _shops(session, row.site)],
                    masks=may(acting, "boxes.write", row.site),
                    now_ms=desk.now_ms(),
                )
            except DrawingError as fault:
                return _faulty(page, fault)
            except ChangedError:
                return refusal(409, CHANGED, code="changed", more={"state": _state(session, page, box, camera)})
            except SameError:
                return refusal(409, SAME, code="same")
            return JSONResponse(_state(session, page, box, camera))

    @routes.post(f"{AT}/try", dependencies=[needs(WRITE)])
    def try_zones(page: Showing, acting: Acting, given: Drawn, box: str, camera: str) -> JSONResponse:
        with desk.store.writing() as session:
            row = _box(session, acting, box, WRITE)
            last = wanted.newest(session, box)
            now = None if last is None else drawings.drawn(last.document, camera)
            if last is None or now is None:
                raise HTTPException(409, NO_SETTINGS)
            drawing: Drawing = given.get("drawing") or {}
            known = {zone.get("shop") for zone in now["zone"]} | {one["id"] for one in _shops(session, row.site)}
            kept = next(one for one in json.loads(last.document)["camera"] if one["id"] == camera)
            try:
                drawings.check({key: kept[key] for key in kept.keys() - set(drawings.PARTS)}, drawing, known)
            except DrawingError as fault:
                return _faulty(page, fault)
            if len(json.dumps(drawing)) > MOST_BYTES:
                raise HTTPException(413, "区域过多，无法一次试算 / too much is drawn there to try it at once")
            return _asked(session, acting, box, "try", {"camera": camera, **drawing}, desk.now_ms())

    @routes.post(f"{AT}/picture", dependencies=[needs("boxes.ask")])
    def ask_picture(acting: Acting, box: str, camera: str) -> JSONResponse:
        with desk.store.writing() as session:
            _box(session, acting, box, "boxes.ask")
            return _asked(session, acting, box, "snapshot", {"camera": camera}, desk.now_ms())

    @routes.get(f"{AT}/asked/{{command}}", dependencies=[needs("boxes.read")])
    def tell_asked(acting: Acting, box: str, camera: str, command: str) -> dict[str, Any]:
        with desk.store.transaction() as session:
            _box(session, acting, box)
            row = session.get(CommandRow, command)
            if row is None or row.box_id != box or json.loads(row.args).get("camera") != camera:
                raise HTTPException(404, "没有这条指令 / there is no such command")
            seen = session.scalars(select(CommandPicture.view).where(CommandPicture.command_id == command)).all()
            answer = {"state": row.state, "code": row.code, "text": row.text, "data": json.loads(row.data)}
            return {**answer, "pictures": sorted(seen)}

    return routes


def _box(session: Session, acting: Actor, box: str, right: str = "boxes.read") -> Box:
    """A box at a street where somebody may see it; another one is not there."""
    row = session.get(Box, box)
    own = in_streets(acting, "boxes.read")
    if row is None or (own is not None and row.site not in own):
        raise HTTPException(404, f"没有盒子 {box} / there is no box {box}")
    check(acting, right, row.site)
    if right != "boxes.read" and row.standing in OUT:
        raise HTTPException(409, f"盒子 {box} 已停用 / box {box} is put out")
    return row


def _state(session: Session, page: Page, box: str, camera: str) -> dict[str, Any] | None:
    """How the drawing stands: what is wanted, what the box says of it, and an edit that is in conflict with it."""
    last = wanted.newest(session, box)
    now = None if last is None else drawings.drawn(last.document, camera)
    if last is None or now is None:
        return None
    report = session.get(SettingsReport, box)
    edit = drawings.conflict(session, box)
    there = None if edit is None else drawings.drawn(edit.document, camera)
    names = story.names(session, [last.by])
    return {
        "newest": {
            **_line(last),
            "by": page.reader.say(("盒子", "the box") if last.by == "box" else names[last.by]),
            "on_box": last.by == "box",
            "state": last.state,
            "errors": json.loads(last.errors),
            "drawing": now,
        },
        "in_force": None if report is None else report.revision,
        "online": session.get_one(Box, box).state == "online",
        "conflict": None if edit is None or there is None or there == now else {**_line(edit), "drawing": there},
    }


def _line(row: SettingsRow) -> dict[str, Any]:
    return {"number": row.number, "revision": row.revision, "based_on": row.based_on, "made_ms": row.made_ms}


def _shops(session: Session, site: str) -> list[dict[str, str]]:
    return [{"id": one.id, "name": one.name} for one in shops.listed(session, streets=[site], state=shops.ACTIVE)]


def _size(desk: Desk, session: Session, url: str) -> tuple[int, int] | None:
    """Width and height of a camera's last picture."""
    kind, name, *_ = url.strip("/").split("/")
    try:
        if kind == "evidence":
            return size_of(desk.files.read(name))
        picture = session.get(CommandPicture, (name, "wide"))
        return None if picture is None else size_of(picture.jpeg)
    except (OSError, ValueError):
        return None


def _asked(session: Session, acting: Actor, box: str, verb: str, args: dict[str, Any], now_ms: int) -> JSONResponse:
    try:
        return JSONResponse({"command": changes.command(session, acting, box, verb, args, now_ms).id}, 202)
    except OrderError as fault:
        return refusal(422, str(fault))


def _faulty(page: Page, fault: DrawingError) -> JSONResponse:
    zh = page.language == "zh"
    faults = [{"where": one.where, "text": one.zh if zh else one.en} for one in fault.faults]
    return refusal(422, "有不能使用的地方 / something in it cannot be used", more={"faults": faults})

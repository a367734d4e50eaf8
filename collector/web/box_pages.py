"""Pages of cameras and boxes, and what people have boxes do from there."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from collector.boxes import changes
from collector.boxes.counter import Counter
from collector.boxes.orders import OrderError
from collector.boxes.register import RegisterError
from collector.boxes.wanted import WantedError
from collector.people import rights
from collector.people.actor import Actor
from collector.store import Box, CameraRow, CertificateRow, CommandPicture, CommandRow
from collector.web import ailments, examination_pages, fleet, thumbnails
from collector.web.fleet import BoxCard
from collector.web.language import N_
from collector.web.pages import Page, Showing
from collector.web.rights import Acting, Desk, Fields, check, in_streets, needs
from protocol.commands import Login
from protocol.sealed import SealedError

Text = Annotated[str, Query(max_length=60)]
LEVELS: Final = {"bad": N_("Out of order"), "warn": N_("To be looked at"), "good": N_("In order")}
MOST_BOXES: Final = 100
"""That are announced at once."""
MOST_LETTERS: Final = 500
FAULTS: Final = (OrderError, RegisterError, WantedError, SealedError)
NOT_CONFIRMED: Final = "请输入盒子编号以确认 / type the box's id to confirm"
NOT_HERE: Final = "本机没有中心的证书机构，请在有 CA 的机器上操作 / the center's CA is not on this machine"


@dataclass(frozen=True)
class Wanted:
    """What somebody looks for."""

    street: str = ""
    level: str = ""
    text: str = ""

    @property
    def some(self) -> bool:
        """Whether it is not just everything."""
        return bool(self.street or self.level or self.text)

    def narrow(self, cards: list[BoxCard]) -> list[BoxCard]:
        """Boxes with the cameras that are wanted; a box is one itself."""
        found = []
        for box in cards:
            kept = tuple(one for one in box.cameras if self._suits(one.level, one.name, box.id, one.camera))
            if self.street in ("", box.site) and (kept or self._suits(box.own_level, box.id)):
                found.append(replace(box, cameras=kept))
        return found

    def _suits(self, level: str, *names: str) -> bool:
        text = self.text.strip().lower()
        return self.level in ("", level) and any(text in one.lower() for one in names)


def router(desk: Desk, counter: Counter | None, connected: Callable[[], bool]) -> APIRouter:
    """The routes.

    Args:
        desk: what all routes work with.
        counter: gives boxes their labels; None where the CA is elsewhere.
        connected: whether this collector has a line to the broker; without one all boxes fall silent.
    """
    routes = APIRouter(include_in_schema=False)

    @routes.get("/cameras", dependencies=[needs("boxes.read")])
    def show_cameras(
        page: Showing, acting: Acting, *, street: Text = "", level: Text = "", text: Text = ""
    ) -> HTMLResponse:
        asked, now_ms = Wanted(street, level, text), desk.now_ms()
        with desk.store.transaction() as session:
            known = fleet.boxes(session, now_ms, in_streets(acting, "boxes.read"))
            shown = fleet.with_pictures(session, asked.narrow(known), now_ms, in_streets(acting, "evidence.read"))
        counts = {one: sum(camera.level == one for box in known for camera in box.cameras) for one in LEVELS}
        sites = list(dict.fromkeys(one.site for one in known))
        return page(
            "cameras.html",
            connected=connected(),
            asked=asked,
            levels=LEVELS,
            counts=counts,
            sites=sites,
            streets=[(site, [one for one in shown if one.site == site]) for site in sites],
            asks={site for site in sites if rights.may(acting, "boxes.ask", site)},
        )

    @routes.get("/boxes", dependencies=[needs("boxes.read")])
    def show_boxes(page: Showing, acting: Acting) -> HTMLResponse:
        return _boxes(page, acting)

    def _boxes(page: Page, acting: Actor, fault: str = "") -> HTMLResponse:
        with desk.store.transaction() as session:
            known = fleet.boxes(session, desk.now_ms(), in_streets(acting, "boxes.read"), out=True)
        return page(
            "boxes.html",
            409 if fault else 200,
            connected=connected(),
            boxes=sorted(known, key=lambda one: (one.is_out, one.site, ailments.ORDER.index(one.level), one.id)),
            counter=counter,
            most=MOST_BOXES,
            writes=in_streets(acting, "boxes.write"),
            fault=fault,
        )

    @routes.get("/boxes/{box}", dependencies=[needs("boxes.read")])
    def show_box(page: Showing, acting: Acting, box: str) -> HTMLResponse:
        return _box(page, acting, box)

    def _box(page: Page, acting: Actor, box: str, fault: str = "") -> HTMLResponse:
        now_ms = desk.now_ms()
        with desk.store.transaction() as session:
            known = fleet.boxes(session, now_ms, in_streets(acting, "boxes.read"), only=box, out=True)
            if not known:
                raise HTTPException(404, f"没有盒子 {box} / there is no box {box}")
            cards = fleet.with_pictures(session, known, now_ms, in_streets(acting, "evidence.read"))
            found = fleet.box_page(session, cards[0])
            examined = examination_pages.of_box(session, box)
            refused = counter is not None and counter.is_refused(_revoked(session, box, now_ms))
        can = {one for one in ("boxes.ask", "boxes.write") if rights.may(acting, one, found.box.site)}
        status = 409 if fault else 200
        shown = {"found": found, "box": found.box, "examined": examined, "can": can, "refused": refused}
        return page("box.html", status, **shown, counter=counter, fault=fault)

    def change(page: Page, acting: Actor, box: str, right: str, do: Callable[[Session, Box], Any]) -> Any:
        """Do something to a box at one's streets; what is refused is said on its page."""
        try:
            with desk.store.writing() as session:
                row = session.get(Box, box)
                own = in_streets(acting, "boxes.read")
                # one of another street is not there
                if row is None or (own is not None and row.site not in own):
                    raise HTTPException(404, f"没有盒子 {box} / there is no box {box}")
                check(acting, right, row.site)
                return do(session, row)
        except FAULTS as fault:
            return _box(page, acting, box, str(fault))

    @routes.post("/boxes/{box}/commands", dependencies=[needs("boxes.ask")])
    def ask(page: Showing, acting: Acting, fields: Fields, box: str) -> Any:
        verb, _, action = fields.get("what", "").partition("-")
        args = {name: fields[name] for name in ("camera", "zone") if fields.get(name)}
        args |= {"action": action} if action else {}

        def do(session: Session, _row: Box) -> Response:
            now_ms = desk.now_ms()
            command = changes.new_command(now_ms)
            if verb == "secret":
                args.update(changes.sealed_login(session, box, command, fields.get("name", ""), _login(fields)))
            changes.command(session, acting, box, verb, args, now_ms, command)
            part = f"#camera-{args['camera']}" if "camera" in args else "#commands"
            return RedirectResponse(f"/boxes/{box}{part}", 303)

        return change(page, acting, box, "boxes.ask" if verb in changes.HARMLESS else "boxes.write", do)

    @routes.post("/boxes", dependencies=[needs("boxes.write")])
    def announce(page: Showing, acting: Acting, fields: Fields) -> Any:
        site, count = fields.get("site", "").strip(), fields.get("count", "")
        check(acting, "boxes.write", site)
        if counter is None:
            return _boxes(page, acting, NOT_HERE)
        if not count.isdecimal() or not 1 <= int(count[:5]) <= MOST_BOXES:
            return _boxes(page, acting, f"数量应为 1 至 {MOST_BOXES} / expected a number from 1 to {MOST_BOXES}")
        try:
            with desk.store.writing() as session:
                prefix = fields.get("prefix", "").strip() or site
                made = changes.announce(session, acting, site, prefix, int(count), counter.days, desk.now_ms())
        except RegisterError as fault:
            return _boxes(page, acting, str(fault))
        return page("labels.html", labels=counter.labels(made))

    @routes.post("/boxes/{box}/label", dependencies=[needs("boxes.write")])
    def make_label(page: Showing, acting: Acting, box: str) -> Any:
        if counter is None:
            return _box(page, acting, box, NOT_HERE)

        def do(session: Session, _row: Box) -> Any:
            return changes.renew_claim(session, acting, box, counter.days, desk.now_ms())

        made = change(page, acting, box, "boxes.write", do)
        return made if isinstance(made, Response) else page("labels.html", labels=counter.labels([made]))

    @routes.post("/boxes/{box}/revoke", dependencies=[needs("boxes.write")])
    def revoke(page: Showing, acting: Acting, fields: Fields, box: str) -> Any:
        return put_out(page, acting, fields, box, lambda session: changes.revoke(session, acting, box, desk.now_ms()))

    @routes.post("/boxes/{box}/replace", dependencies=[needs("boxes.write")])
    def replace_box(page: Showing, acting: Acting, fields: Fields, box: str) -> Any:
        new = fields.get("new", "")
        return put_out(
            page, acting, fields, box, lambda session: changes.replace(session, acting, box, new, desk.now_ms())
        )

    def put_out(page: Page, acting: Actor, fields: Fields, box: str, do: Callable[[Session], str]) -> Any:
        cameras: list[str] = []

        def confirmed(session: Session, _row: Box) -> Any:
            if fields.get("confirm", "").strip() != box:
                raise RegisterError(NOT_CONFIRMED)
            cameras.extend(session.scalars(select(CameraRow.camera).where(CameraRow.box_id == box)))
            return do(session)

        site = change(page, acting, box, "boxes.write", confirmed)
        if isinstance(site, Response):
            return site
        if counter is not None:
            counter.close_line(site, box, cameras)
        return RedirectResponse(f"/boxes/{box}", 303)

    @routes.get("/boxes/{box}/diagnostics/{command}.json.gz", dependencies=[needs("boxes.write")])
    def fetch_diagnostics(acting: Acting, box: str, command: str) -> Response:
        row = _command(desk, acting, "boxes.write", command)
        bundle = json.loads(row.data).get("bundle")
        if row.box_id != box or not isinstance(bundle, str):
            raise HTTPException(404, "没有这份诊断 / there are no such diagnostics")
        headers = {
            "cache-control": "no-store",
            "content-disposition": f'attachment; filename="{box}-{command}.json.gz"',
        }
        return Response(base64.b64decode(bundle), media_type="application/gzip", headers=headers)

    @routes.get("/snapshots/{command}/{view}/{width}.jpg", dependencies=[needs("evidence.read")])
    def show_snapshot(acting: Acting, command: str, view: str, width: int) -> Response:
        row = _command(desk, acting, "evidence.read", command)
        with desk.store.transaction() as session:
            picture = session.get(CommandPicture, (row.id, view))
        if picture is None or width not in thumbnails.WIDTHS:
            raise HTTPException(404, "没有这张图片 / there is no such picture")
        try:
            small = thumbnails.smaller(picture.jpeg, width)
        except ValueError:
            raise HTTPException(404, "图片无法读取 / the picture cannot be read") from None
        # deleted here after a day: no browser keeps it for longer
        headers = {"cache-control": "private, max-age=3600, immutable", "vary": "cookie"}
        return Response(small, media_type="image/jpeg", headers=headers)

    return routes


def _login(fields: Fields) -> Login:
    user, password = fields.get("user", ""), fields.get("password", "")
    if max(len(user), len(password)) > MOST_LETTERS:
        raise OrderError(f"用户名和密码最多 {MOST_LETTERS} 字 / expected at most {MOST_LETTERS} letters")
    return Login(user=user, password=password)


def _command(desk: Desk, acting: Actor, right: str, command: str) -> CommandRow:
    """A command at a street where somebody has this right; another one is not there."""
    own = in_streets(acting, right)
    with desk.store.transaction() as session:
        row = session.get(CommandRow, command)
        if row is None or (own is not None and session.get_one(Box, row.box_id).site not in own):
            raise HTTPException(404, "没有这条指令 / there is no such command")
        return row


def _revoked(session: Session, box: str, now_ms: int) -> list[str]:
    """Certificates of a box that would still be good."""
    query = select(CertificateRow.serial).where(CertificateRow.name == box, CertificateRow.usage == "box")
    return list(
        session.scalars(query.where(CertificateRow.revoked_ms.is_not(None), CertificateRow.not_after_ms > now_ms))
    )

"""Pictures: previews for pages, sealed originals for who gives a reason, and what people take with a telephone."""

import logging
from collections.abc import Mapping
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

from fastapi import APIRouter, HTTPException, Path, Query, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from collector.boxes.authority import AuthorityError
from collector.evidence import retention
from collector.evidence.graves import written
from collector.evidence.looks import look, read_reason
from collector.evidence.previews import preview
from collector.evidence.report import Press
from collector.evidence.uploads import MOST_BYTES, keep, read_upload
from collector.people.actor import Actor
from collector.people.rights import may
from collector.store import PictureRow, Ticket
from collector.tickets.desk import RefusedError
from collector.web import views
from collector.web.plain import Number
from collector.web.refusals import refusal
from collector.web.rights import Acting, Desk, Fields, in_streets, needs

log = logging.getLogger(__name__)
NO_PICTURE: Final = "没有这张图片 / there is no such picture"
NOT_KEPT: Final = "图片暂时无法保存，请稍后再试 / the picture cannot be kept now, try again"
STATUS: Final = {"unknown": 404, "not_yours": 403}
"""HTTP's word for a refusal; the others are 409."""


def router(desk: Desk, press: Press) -> APIRouter:
    """The routes; `press` makes packages."""
    routes = APIRouter(include_in_schema=False)

    def reason_of(fields: Mapping[str, str]) -> str:
        try:
            return read_reason(fields.get("reason", ""))
        except ValueError as fault:
            raise HTTPException(400, str(fault)) from None

    def ticket_of(session: Session, actor: Actor, number: int, right: str) -> Ticket:
        """One at one's own streets; another one is not there."""
        ticket = session.get(Ticket, number)
        if ticket is None or not may(actor, right, ticket.street):
            raise HTTPException(404, f"没有工单 {number} / there is no ticket {number}")
        return ticket

    def seen(session: Session, actor: Actor, name: str, right: str) -> PictureRow:
        """A picture at one's own streets; another one is not there."""
        row = views.seen_at(session, name, in_streets(actor, right))
        if row is None:
            raise HTTPException(404, NO_PICTURE)
        return row

    @routes.get("/evidence/{name}.jpg", dependencies=[needs("evidence.read")])
    def show_picture(acting: Acting, name: str) -> Response:
        with desk.store.transaction() as session:
            masked = seen(session, acting, name, "evidence.read").masked
        kept = "private, max-age=86400, immutable" if masked else "no-store"
        try:
            shown = preview(desk.files, name) if desk.files.has(name) else None
        except OSError as fault:
            log.warning("picture %s: %s", name, fault)
            shown = None
        except ValueError as fault:
            raise HTTPException(415, f"无法显示这张图片 / this picture cannot be shown: {fault}") from None
        if shown is None:
            raise HTTPException(404, NO_PICTURE)
        return Response(shown, media_type="image/jpeg", headers={"cache-control": kept, "vary": "cookie"})

    @routes.post("/evidence/{name}/original", dependencies=[needs("evidence.original")])
    def fetch_original(acting: Acting, name: str, fields: Fields) -> Response:
        """The sealed picture as it left the box; who looks, and why, is on record before it is sent."""
        reason = reason_of(fields)
        with desk.store.transaction() as session:
            seen(session, acting, name, "evidence.original")
        try:
            content = desk.files.read(name)
        except OSError:
            raise HTTPException(404, NO_PICTURE) from None
        with desk.store.writing() as session:
            row = seen(session, acting, name, "evidence.original")
            detail = {"reason": reason, "box": row.box_id, **({} if row.masked else {"masked": False})}
            look(session, acting, "evidence.original", f"picture/{name}", detail, press.center, desk.now_ms())
        return Response(content, media_type="image/jpeg", headers=_file(f"{name}.jpg"))

    @routes.post("/evidence/tickets/{number}/package", dependencies=[needs("evidence.original")])
    def make_package(acting: Acting, number: Number, fields: Fields) -> Response:
        """A signed ZIP with all that proves a ticket; who asked for it is on record before it is made."""
        reason = reason_of(fields)
        try:
            with desk.store.writing() as session:
                ticket = ticket_of(session, acting, number, "evidence.original")
                bundle = press.gather(session, acting, ticket, reason, desk.now_ms())
            content = press.package(bundle, desk.files)
        except (OSError, AuthorityError) as fault:
            log.warning("package of ticket %d: %s", number, fault)
            raise HTTPException(503, "证据材料暂时无法生成，请稍后再试 / it cannot be made now, try again") from None
        return Response(content, media_type="application/zip", headers=_file(f"evidence-{number}.zip"))

    @routes.post("/evidence/tickets/{number}/hold", dependencies=[needs("evidence.hold")])
    def set_hold(acting: Acting, number: Number, fields: Fields) -> Response:
        """Hold a ticket for the law, or lift that (`lift`)."""
        try:
            with desk.store.writing() as session:
                ticket_of(session, acting, number, "evidence.hold")
                on = not fields.get("lift")
                retention.hold(session, acting, number, reason_of(fields), desk.now_ms(), on=on)
        except retention.HoldError as fault:
            raise HTTPException(409, str(fault)) from None
        desk.changed()
        return RedirectResponse(f"/tickets/{number}", 303)

    return routes


def uploads(desk: Desk, zone: ZoneInfo) -> APIRouter:
    """The route of pictures that people take."""
    routes = APIRouter()

    def take(number: Number, key: str, content: bytes, acting: Actor, said_ms: int | None) -> Response:
        try:
            taken = read_upload(content, zone, desk.now_ms(), said_ms)
        except ValueError as fault:
            raise HTTPException(422, f"需要 JPEG 图片 / expected a JPEG: {fault}") from None
        try:
            with written(desk.store, desk.files, taken.sha256, taken.jpeg), desk.store.writing() as session:
                row, new = keep(session, acting, number, key, taken, desk.now_ms())
        except RefusedError as fault:
            return refusal(STATUS.get(fault.code, 409), fault.text, code=fault.code, zh=fault.zh)
        except OSError as fault:
            log.warning("picture to ticket %d: %s", number, fault)
            raise HTTPException(503, NOT_KEPT) from None
        if new:
            desk.changed()
        return JSONResponse(_json(number, row), 201 if new else 200)

    @routes.put("/api/tickets/{number}/pictures/{key}", dependencies=[needs("tickets.act")], status_code=201)
    async def put_picture(
        request: Request,
        acting: Acting,
        number: Number,
        key: Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{8,64}$")],
        taken_ms: Annotated[Number | None, Query(description="when it was taken, where its Exif does not say")] = None,
    ) -> Any:
        """Put a picture (a JPEG as the body) to a ticket; the same key again is the same picture."""
        if request.headers.get("content-type", "").partition(";")[0].strip() != "image/jpeg":
            raise HTTPException(415, "需要 JPEG 图片 / expected a JPEG (image/jpeg)")
        content = bytearray()
        async for part in request.stream():
            content += part
            if len(content) > MOST_BYTES:
                raise HTTPException(413, f"expected a picture of at most {MOST_BYTES} bytes")
        return await run_in_threadpool(take, number, key, bytes(content), acting, taken_ms)

    return routes


def _file(name: str) -> dict[str, str]:
    return {"cache-control": "no-store", "content-disposition": f'attachment; filename="{name}"'}


def _json(number: int, row: PictureRow) -> dict[str, Any]:
    return {"ticket": number, "bytes": row.bytes, "incident": row.incident, **views.picture_json(row)}

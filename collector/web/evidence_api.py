"""Pictures: previews for pages, sealed originals for who gives a reason, and what people take with a telephone."""

from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from collector.evidence.previews import preview
from collector.evidence.uploads import MOST_BYTES, keep, read_upload
from collector.people import audit
from collector.people.actor import Actor
from collector.store import PictureRow
from collector.tickets.desk import RefusedError
from collector.web import views
from collector.web.plain import Number
from collector.web.refusals import refusal
from collector.web.rights import Acting, Desk, form, in_streets, needs

SHORTEST_REASON: Final = 2
"""Letters: 复核 is a whole one."""
LONGEST_REASON: Final = 300
STATUS: Final = {"unknown": 404, "not_yours": 403}
"""HTTP's word for a refusal; the others are 409."""


def router(desk: Desk) -> APIRouter:
    """The routes."""
    routes = APIRouter(include_in_schema=False)

    def seen(session: Session, actor: Actor, name: str, right: str) -> PictureRow:
        """A picture at one's own streets; another one is not there."""
        row = views.seen_at(session, name, in_streets(actor, right))
        if row is None or not desk.files.path(name).is_file():
            raise HTTPException(404, "没有这张图片 / there is no such picture")
        return row

    @routes.get("/evidence/{name}.jpg", dependencies=[needs("evidence.read")])
    def show_picture(acting: Acting, name: str) -> Response:
        with desk.store.transaction() as session:
            masked = seen(session, acting, name, "evidence.read").masked
        kept = "private, max-age=86400, immutable" if masked else "no-store"
        try:
            shown = preview(desk.files, name)
        except ValueError as fault:
            raise HTTPException(415, f"无法显示这张图片 / this picture cannot be shown: {fault}") from None
        return Response(shown, media_type="image/jpeg", headers={"cache-control": kept, "vary": "cookie"})

    @routes.post("/evidence/{name}/original", dependencies=[needs("evidence.original")])
    def fetch_original(acting: Acting, name: str, fields: Annotated[dict[str, str], Depends(form)]) -> Response:
        """The sealed picture as it left the box; who looks, and why, is on record before it is sent."""
        reason = " ".join(fields.get("reason", "").split())
        if len(reason.replace(" ", "")) < SHORTEST_REASON or len(reason) > LONGEST_REASON:
            raise HTTPException(
                400,
                f"请写明理由，{SHORTEST_REASON} 至 {LONGEST_REASON} 字 / "
                f"expected a reason of {SHORTEST_REASON} to {LONGEST_REASON} characters, got {len(reason)}",
            )
        with desk.store.writing() as session:
            row = seen(session, acting, name, "evidence.original")
            detail = {"reason": reason, "box": row.box_id, **({} if row.masked else {"masked": False})}
            audit.record(session, acting, "evidence.original", f"picture/{name}", detail, desk.now_ms())
        headers = {"cache-control": "no-store"}
        return FileResponse(desk.files.path(name), media_type="image/jpeg", headers=headers, filename=f"{name}.jpg")

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
            with desk.store.writing() as session:
                row, new = keep(session, desk.files, acting, number, key, taken, desk.now_ms())
                found = _json(number, row)
        except RefusedError as fault:
            return refusal(STATUS.get(fault.code, 409), fault.text, code=fault.code, zh=fault.zh)
        if new:
            desk.changed()
        return JSONResponse(found, 201 if new else 200)

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


def _json(number: int, row: PictureRow) -> dict[str, Any]:
    return {"ticket": number, "bytes": row.bytes, "incident": row.incident, **views.picture_json(row)}

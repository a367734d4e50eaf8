"""Pictures: previews for pages, and sealed originals for who gives a reason."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, HTTPException
from fastapi.responses import FileResponse, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from collector.evidence.previews import preview
from collector.people import audit
from collector.people.actor import Actor
from collector.store import PictureRow
from collector.web import views
from collector.web.rights import Acting, Desk, form, in_streets, needs

SHORTEST_REASON: Final = 4
LONGEST_REASON: Final = 300


def router(desk: Desk) -> APIRouter:
    """The routes."""
    routes = APIRouter(include_in_schema=False)

    def box_of(session: Session, actor: Actor, name: str, right: str) -> str:
        """The box that a picture is of, at one's own streets; another one is not there."""
        own = in_streets(actor, right)
        query = select(PictureRow.box_id).where(PictureRow.sha256 == name).limit(1)
        if own is not None:
            query = query.where(PictureRow.box_id.in_(views.at_streets(own)))
        box = session.scalars(query).first()
        if box is None or not desk.files.path(name).is_file():
            raise HTTPException(404, "没有这张图片 / there is no such picture")
        return box

    @routes.get("/evidence/{name}.jpg", dependencies=[needs("evidence.read")])
    def show_picture(acting: Acting, name: str) -> Response:
        with desk.store.transaction() as session:
            box_of(session, acting, name, "evidence.read")
        headers = {"cache-control": "private, max-age=86400, immutable", "vary": "cookie"}
        return Response(preview(desk.files, name), media_type="image/jpeg", headers=headers)

    @routes.post("/evidence/{name}/original", dependencies=[needs("evidence.original")])
    def fetch_original(acting: Acting, name: str, fields: Annotated[dict[str, str], Depends(form)]) -> Response:
        """The sealed picture as it left the box; who looks, and why, is on record before it is sent."""
        reason = " ".join(fields.get("reason", "").split())
        if not SHORTEST_REASON <= len(reason) <= LONGEST_REASON:
            raise HTTPException(
                400,
                f"请写明理由，{SHORTEST_REASON} 至 {LONGEST_REASON} 字 / "
                f"expected a reason of {SHORTEST_REASON} to {LONGEST_REASON} characters, got {len(reason)}",
            )
        with desk.store.writing() as session:
            box = box_of(session, acting, name, "evidence.original")
            detail = {"reason": reason, "box": box}
            audit.record(session, acting, "evidence.original", f"picture/{name}", detail, desk.now_ms())
        headers = {"cache-control": "no-store"}
        return FileResponse(desk.files.path(name), media_type="image/jpeg", headers=headers, filename=f"{name}.jpg")

    return routes

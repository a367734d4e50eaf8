"""The routes."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, PackageLoader, select_autoescape
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from sqlalchemy import select, text
from sqlalchemy.exc import SQLAlchemyError
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from collector import VERSION
from collector.evidence.files import PictureFiles
from collector.settings import CenterSection
from collector.store import PictureRow, Store, Ticket
from collector.web import tickets_api, views
from collector.web.live import Changes
from collector.web.rights import Desk

HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


class Headers:
    """Adds the security headers to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                extra = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *extra]
            await send(message)

        await self._app(scope, receive, send_with_headers)


@dataclass(frozen=True)
class Health:
    """What `/healthz` asks."""

    broker_connected: Callable[[], bool]
    inbox_alive: Callable[[], bool]
    lag_s: Callable[[], float] = lambda: 0.0


def make_app(
    center: CenterSection,
    store: Store,
    pictures: PictureFiles,
    changes: Changes,
    health: Health,
    stopping: Callable[[], bool] = lambda: False,
    registry: CollectorRegistry | None = None,
    changed: Callable[[], None] | None = None,
) -> FastAPI:
    """Put the pages together; `changed` is told of what was changed here, without it only the pages of this process."""
    app = FastAPI(title="CityEye", version=VERSION, docs_url=None, redoc_url=None, openapi_url="/api/openapi.json")
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", "[::1]"])
    app.add_middleware(Headers)
    app.mount("/static", StaticFiles(directory=Path(str(files("collector.web") / "static"))), name="static")
    pages = Environment(loader=PackageLoader("collector.web"), autoescape=select_autoescape())
    clock = views.Clock(ZoneInfo(center.timezone))

    def page(template: str, status: int = 200, **values: Any) -> HTMLResponse:
        html = pages.get_template(template).render(center=center, version=VERSION, **values)
        return HTMLResponse(html, status, headers={"cache-control": "no-store"})

    @app.exception_handler(404)
    def not_found(request: Request, fault: HTTPException) -> Response:
        if request.url.path.startswith("/api/"):
            return JSONResponse({"detail": fault.detail}, 404)
        return page("missing.html", 404, detail=fault.detail)

    @app.get("/", include_in_schema=False)
    def show_tickets() -> HTMLResponse:
        with store.transaction() as session:
            until_ms = clock.now_ms
            found = views.rows(session, clock)
            return page("tickets.html", rows=found, until_ms=until_ms, cameras=views.cameras(session, clock))

    @app.get("/rows", include_in_schema=False)
    def show_rows(since: int) -> HTMLResponse:
        with store.transaction() as session:
            until_ms = clock.now_ms
            return page("rows.html", rows=views.rows(session, clock, since), until_ms=until_ms)

    @app.get("/tickets/{number}", include_in_schema=False)
    def show_ticket(number: int) -> HTMLResponse:
        with store.transaction() as session:
            ticket = session.get(Ticket, number)
            if ticket is None:
                raise HTTPException(404, f"没有工单 {number} / there is no ticket {number}")
            return page("ticket.html", ticket=views.ticket_view(session, ticket, clock))

    @app.get("/evidence/{name}.jpg", include_in_schema=False)
    def show_picture(name: str) -> Response:
        with store.transaction() as session:
            known = session.scalars(select(PictureRow.id).where(PictureRow.sha256 == name).limit(1)).first()
        if known is None or not pictures.path(name).is_file():
            raise HTTPException(404, "没有这张图片 / there is no such picture")
        headers = {"cache-control": "private, max-age=31536000, immutable"}
        return FileResponse(pictures.path(name), media_type="image/jpeg", headers=headers)

    @app.get("/events", include_in_schema=False)
    async def follow() -> StreamingResponse:
        return StreamingResponse(
            changes.feed(stopping), media_type="text/event-stream", headers={"cache-control": "no-store"}
        )

    desk = Desk(store, pictures, lambda: clock.now_ms, changed or changes.tell)
    app.include_router(tickets_api.router(desk))

    @app.get("/healthz", include_in_schema=False)
    def healthz() -> JSONResponse:
        state = {"broker": health.broker_connected(), "inbox": health.inbox_alive(), "database": _answers(store)}
        good = all(state.values())
        return JSONResponse({"ok": good, **state, "lag_s": round(health.lag_s(), 3)}, 200 if good else 503)

    @app.get("/metrics", include_in_schema=False)
    def metrics() -> Response:
        found = generate_latest(registry or CollectorRegistry())
        return Response(found, headers={"content-type": CONTENT_TYPE_LATEST, "cache-control": "no-store"})

    return app


def _answers(store: Store) -> bool:
    try:
        with store.transaction() as session:
            session.execute(text("SELECT 1"))
    except SQLAlchemyError:
        return False
    return True

"""The routes."""

import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit
from zoneinfo import ZoneInfo

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, PackageLoader, select_autoescape
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from sqlalchemy import text
from sqlalchemy.exc import DataError, SQLAlchemyError
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException as StarletteError
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from collector import VERSION
from collector.again import RETRY_AFTER, Again
from collector.evidence.files import PictureFiles
from collector.people.passwords import Passwords
from collector.people.sessions import csrf
from collector.people.signing import Caller, Signing
from collector.settings import CenterSection, CenterSettings
from collector.store import Box, Store, Ticket
from collector.web import evidence_api, notices_api, people_api, places_api, sign_in, tickets_api, views
from collector.web.live import Changes
from collector.web.plain import Number, plain
from collector.web.refusals import misread, refusal
from collector.web.rights import (
    BACKGROUND,
    OPEN_ACTOR,
    Asking,
    Desk,
    Gate,
    RefusedError,
    figures,
    held,
    in_streets,
    needs,
    seal,
)

log = logging.getLogger(__name__)

HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    # with no-referrer a browser sends `Origin: null` with our own forms (Fetch standard, "append a request Origin")
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


HSTS: Final = {"strict-transport-security": "max-age=31536000"}
LOOK_AGAIN_S: Final = 10.0
LOCAL_NAMES: Final = ("127.0.0.1", "localhost", "[::1]")


class Headers:
    """Adds the security headers to every answer."""

    def __init__(self, app: ASGIApp, more: Mapping[str, str] | None = None) -> None:
        self._app = app
        self._extra = [(name.encode(), value.encode()) for name, value in {**HEADERS, **(more or {})}.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *self._extra]
            await send(message)

        await self._app(scope, receive, send_with_headers)


@dataclass(frozen=True)
class Health:
    """What `/healthz` asks."""

    broker_connected: Callable[[], bool]
    inbox_alive: Callable[[], bool]
    lag_s: Callable[[], float] = lambda: 0.0
    desk_alive: Callable[[], bool] = lambda: True
    """Whether the timekeeper's thread lives."""
    notices_alive: Callable[[], bool] = lambda: True
    """Whether the sender's thread lives, and the shops' listener where there is one."""


def make_app(
    center: CenterSection,
    store: Store,
    pictures: PictureFiles,
    changes: Changes,
    health: Health,
    stopping: Callable[[], bool] = lambda: False,
    registry: CollectorRegistry | None = None,
    gate: Gate | None = None,
    changed: Callable[[], None] | None = None,
    settings: CenterSettings | None = None,
) -> FastAPI:
    """Put the pages together; raises RuntimeError for a route that does not say which right it needs.

    Args:
        center: settings.
        store: the database.
        pictures: the files.
        changes: told by the inbox.
        health: what `/healthz` asks.
        stopping: whether live feeds have to end.
        registry: of metrics.
        gate: knows who asks; None: pages of this machine, with the usual ages of sessions.
        changed: tells all open pages that something changed, those of other collectors as well.
        settings: of the whole center, for what its notices say and go over.
    """
    clock = views.Clock(ZoneInfo(center.timezone))
    desk = Desk(store, pictures, lambda: clock.now_ms, changed or changes.tell)
    gate = gate or Gate(Signing(store, desk.now_ms, Passwords(), issuer=center.name))
    app = FastAPI(
        title="CityEye",
        version=VERSION,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        dependencies=[Depends(plain)],
    )
    app.state.gate = gate
    app.add_middleware(Again, busy=lambda: refusal(503, "系统繁忙，请稍后再试 / busy, try again", headers=RETRY_AFTER))
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=_hosts(gate.url), www_redirect=False)
    app.add_middleware(Headers, more=HSTS if gate.secure else None)
    app.mount("/static", StaticFiles(directory=Path(str(files("collector.web") / "static"))), name="static")
    pages = Environment(loader=PackageLoader("collector.web"), autoescape=select_autoescape())

    def page(template: str, status: int = 200, caller: Caller | None = None, **values: Any) -> HTMLResponse:
        """A page, as this caller sees it."""
        who = None if caller is None or not caller.cookie else caller
        shown = {
            "center": center,
            "version": VERSION,
            "who": who,
            "csrf": csrf(who.cookie) if who is not None else "",
            "may": frozenset() if caller is None else held(caller.actor),
            "open": caller is not None and caller.actor == OPEN_ACTOR,
        }
        html = pages.get_template(template).render(**shown, **values)
        return HTMLResponse(html, status, headers={"cache-control": "no-store"})

    @app.exception_handler(StarletteError)
    async def fail(request: Request, fault: StarletteError) -> Response:
        if fault.status_code == 404 and not request.url.path.startswith("/api/"):
            return page("missing.html", 404, detail=fault.detail)
        more = await tickets_api.allowed_now(desk, request)
        return refusal(fault.status_code, fault.detail, headers=fault.headers, more=more)

    @app.exception_handler(RequestValidationError)
    async def misunderstand(request: Request, fault: RequestValidationError) -> Response:
        if request.method == "GET" and not request.url.path.startswith("/api/"):
            return page("missing.html", 404, detail="没有这个页面 / there is no such page")
        return misread(fault, await tickets_api.allowed_now(desk, request))

    @app.exception_handler(DataError)
    @app.exception_handler(OverflowError)
    def overflow(request: Request, fault: Exception) -> Response:
        # the last net: a value that its column, or the calendar, does not hold
        log.warning("%s %s: a value out of range (%s)", request.method, request.url.path, type(fault).__name__)
        return refusal(422, "数值超出范围 / expected values within the range of their fields")

    @app.exception_handler(RefusedError)
    async def refuse(request: Request, fault: RefusedError) -> Response:
        return _refusal(request, fault, page, await tickets_api.allowed_now(desk, request))

    @app.get("/", include_in_schema=False, dependencies=[needs("tickets.read")])
    def show_tickets(asking: Asking) -> HTMLResponse:
        own, boxes = in_streets(asking.actor, "tickets.read"), in_streets(asking.actor, "boxes.read")
        with store.transaction() as session:
            until_ms = clock.now_ms
            found = views.rows(session, clock, streets=own)
            cameras = views.cameras(session, clock, boxes)
            return page("tickets.html", caller=asking, rows=found, until_ms=until_ms, cameras=cameras)

    @app.get("/rows", include_in_schema=False, dependencies=[needs("tickets.read")])
    def show_rows(asking: Asking, since: Number) -> HTMLResponse:
        own = in_streets(asking.actor, "tickets.read")
        with store.transaction() as session:
            until_ms = clock.now_ms
            found = views.rows(session, clock, since, streets=own)
            return page("rows.html", caller=asking, rows=found, until_ms=until_ms)

    def seen_ticket(session: Session, asking: Caller, number: int) -> Ticket:
        """A ticket of one's own streets; another one is not there."""
        own = in_streets(asking.actor, "tickets.read")
        ticket = session.get(Ticket, number)
        if ticket is None or (own is not None and session.get_one(Box, ticket.box_id).site not in own):
            raise HTTPException(404, f"没有工单 {number} / there is no ticket {number}")
        return ticket

    @app.get("/tickets/{number}", include_in_schema=False, dependencies=[needs("tickets.read")])
    def show_ticket(asking: Asking, number: Number) -> HTMLResponse:
        with store.transaction() as session:
            ticket = seen_ticket(session, asking, number)
            return page("ticket.html", caller=asking, ticket=views.ticket_view(session, ticket, clock))

    @app.get("/events", include_in_schema=False, dependencies=[needs("tickets.read")])
    async def follow(asking: Asking) -> StreamingResponse:
        feed = _while_signed_in(changes.feed(stopping), gate, asking)
        return StreamingResponse(feed, media_type="text/event-stream", headers={"cache-control": "no-store"})

    @app.get("/api/openapi.json", include_in_schema=False, dependencies=[needs("tickets.read")])
    def describe() -> dict[str, Any]:
        return app.openapi()

    @app.get("/healthz", include_in_schema=False, dependencies=[figures()])
    def healthz() -> JSONResponse:
        state = {
            "broker": health.broker_connected(),
            "inbox": health.inbox_alive(),
            "database": _answers(store),
            "desk": health.desk_alive(),
            "notices": health.notices_alive(),
        }
        good = all(state.values())
        return JSONResponse({"ok": good, **state, "lag_s": round(health.lag_s(), 3)}, 200 if good else 503)

    @app.get("/metrics", include_in_schema=False, dependencies=[figures()])
    def metrics() -> Response:
        found = generate_latest(registry or CollectorRegistry())
        return Response(found, headers={"content-type": CONTENT_TYPE_LATEST, "cache-control": "no-store"})

    app.include_router(tickets_api.router(desk))
    app.include_router(evidence_api.router(desk))
    app.include_router(sign_in.router(desk, gate, clock, page))
    app.include_router(people_api.router(desk, gate.signing))
    app.include_router(places_api.router(desk, center.region, clock.zone))
    told = None if settings is None else (settings.notices, settings.shop_pages)
    app.include_router(notices_api.router(desk, told, center.name, center.timezone))
    seal(app.routes)
    return app


def _hosts(url: str | None) -> list[str]:
    """Names that are answered; a page elsewhere that has its own name point to this machine gets nothing."""
    name = None if url is None else urlsplit(url).hostname
    own = [] if name is None else [f"[{name}]" if ":" in name else name]
    return [*LOCAL_NAMES, *own]


def _refusal(
    request: Request, fault: RefusedError, page: Callable[..., HTMLResponse], more: Mapping[str, Any]
) -> Response:
    """To a program in JSON; a person is led to where they can go on."""
    if "text/html" not in request.headers.get("accept", "") or BACKGROUND in request.headers:
        return refusal(fault.status_code, fault.detail, code=fault.code, headers=fault.headers, more=more)
    if fault.status_code == 401:
        wanted = request.url.path if request.method == "GET" else "/"
        return RedirectResponse(f"/sign-in?go_on={quote(wanted, safe='/')}", 303)
    caller = getattr(request.state, "caller", None)
    if caller is not None and caller.must:
        return RedirectResponse("/account", 303)
    return page("refused.html", fault.status_code, caller=caller, detail=fault.detail)


async def _while_signed_in(feed: AsyncIterator[str], gate: Gate, asking: Caller) -> AsyncIterator[str]:
    """End a feed soon after its session has; a feed does not keep one alive."""
    looked_s = time.monotonic()
    async for piece in feed:
        if asking.cookie and time.monotonic() - looked_s > LOOK_AGAIN_S:
            looked_s = time.monotonic()
            still = partial(gate.signing.caller, asking.cookie, background=True)
            if await run_in_threadpool(still) is None:
                return
        yield piece


def _answers(store: Store) -> bool:
    try:
        with store.transaction() as session:
            session.execute(text("SELECT 1"))
    except SQLAlchemyError:
        return False
    return True

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

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from sqlalchemy import text
from sqlalchemy.exc import DataError, SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException as StarletteError
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from collector import VERSION
from collector.again import RETRY_AFTER, Again
from collector.boxes.counter import Counter
from collector.commandline import now_ms
from collector.evidence.files import PictureFiles
from collector.evidence.report import Press
from collector.exchange.open311 import Open311Error
from collector.exchange.settings import ExchangeSection
from collector.papers import typefaces
from collector.people.passwords import BusyError, Passwords
from collector.people.signing import Caller, Signing
from collector.places.codes import load_codes
from collector.places.settings import MapSection
from collector.settings import BrokerSection, CenterSection, CenterSettings
from collector.store import Store
from collector.web import (
    admin_pages,
    assets,
    audit_pages,
    board,
    box_pages,
    camera_pages,
    documents,
    evidence_api,
    examination_pages,
    exchange_api,
    indicators_api,
    law_pages,
    learning_api,
    learning_pages,
    notices_api,
    open311_pages,
    people_api,
    people_pages,
    places_api,
    policy_pages,
    register_pages,
    report_pages,
    rollout_pages,
    sign_in,
    statistics_pages,
    street_pages,
    task_pages,
    text_pages,
    thumbnails,
    ticket_pages,
    tickets_api,
    token_pages,
    wall_pages,
    webhook_pages,
    zone_pages,
)
from collector.web.kept import kept
from collector.web.live import Changes, Feed, now
from collector.web.pages import Page, Pages, Showing, readers
from collector.web.plain import plain
from collector.web.refusals import misread, refusal
from collector.web.rights import (
    BACKGROUND,
    Asking,
    Desk,
    Gate,
    RefusedError,
    figures,
    identify_again,
    in_streets,
    needs,
    seal,
)

log = logging.getLogger(__name__)

POLICY: Final = "content-security-policy"
HEADERS: Final = {
    POLICY: (
        "default-src 'none'; img-src 'self' blob:; style-src 'self'; script-src 'self'; connect-src 'self'; "
        "manifest-src 'self'; worker-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    # with no-referrer a browser sends `Origin: null` with our own forms (Fetch standard, "append a request Origin")
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


WALL: Final = "/wall"
HSTS: Final = {"strict-transport-security": "max-age=31536000"}
LOOK_AGAIN_S: Final = 10.0
BUSY: Final = "系统繁忙，请稍后再试 / busy, try again"
NO_PAGE: Final = "没有这个页面 / there is no such page"
LOCAL_NAMES: Final = ("127.0.0.1", "localhost", "[::1]")


class Headers:
    """Adds the security headers to every answer; `tiles` is where the map of the wall may have pictures from."""

    def __init__(self, app: ASGIApp, more: Mapping[str, str] | None = None, tiles: str = "") -> None:
        self._app = app
        every = {**HEADERS, **(more or {})}
        policy = every[POLICY].replace("img-src 'self'", f"img-src 'self' {tiles}".rstrip())
        self._extra, self._wall = (
            [(name.encode(), value.encode()) for name, value in one.items()]
            for one in (every, {**every, POLICY: policy})
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        extra = self._wall if scope.get("path") == WALL else self._extra

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *extra]
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

    def works(self) -> bool:
        """Whether the program itself is whole: what a restart would mend, unlike a broker that is away."""
        return self.inbox_alive() and self.desk_alive() and self.notices_alive()


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
    counter: Counter | None = None,
    typeface: Path | None = None,
    *,
    streets: Path | None = None,
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
        counter: gives boxes their labels; None where the CA is elsewhere.
        typeface: file of the one that PDF papers have; None: whatever is there.
        streets: file with those that the map draws.
    """
    zone = ZoneInfo(center.timezone)
    desk = Desk(store, pictures, now_ms, changed or changes.tell)
    gate = gate or Gate(Signing(store, desk.now_ms, Passwords(), issuer=center.name))
    app = FastAPI(
        title="CityEye", version=VERSION, docs_url=None, redoc_url=None, openapi_url=None, dependencies=[Depends(plain)]
    )
    app.state.gate = gate
    files_of_pages = assets.Assets(
        Path(str(files("protocol") / "drawing")), Path(str(files("collector.web") / "static"))
    )
    app.state.pages = Pages(center, gate, files_of_pages, readers(zone, desk.now_ms))
    feed = Feed(store, changes, stopping, board.told(app.state.pages, desk.now_ms))
    documents.use(app)
    app.add_middleware(Again, busy=lambda: refusal(503, BUSY, headers=RETRY_AFTER))
    app.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=6)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=_hosts(gate.url), www_redirect=False)
    lies_beneath = MapSection() if settings is None else settings.map
    app.add_middleware(Headers, more=HSTS if gate.secure else None, tiles=lies_beneath.tiles_origin)

    @app.exception_handler(StarletteError)
    async def fail(request: Request, fault: StarletteError) -> Response:
        if request.url.path.startswith(open311_pages.ROOT):
            return open311_pages.failure(request.url.path, fault.status_code, fault.detail)
        if fault.status_code == 404 and not request.url.path.startswith("/api/"):
            # Starlette's own word is nobody's language
            detail = NO_PAGE if fault.detail == "Not Found" else fault.detail
            return Page(app.state.pages, request)("missing.html", 404, detail=detail)
        more = await tickets_api.allowed_now(desk, request)
        return refusal(fault.status_code, fault.detail, headers=fault.headers, more=more)

    @app.exception_handler(RequestValidationError)
    async def misunderstand(request: Request, fault: RequestValidationError) -> Response:
        if request.method == "GET" and not request.url.path.startswith("/api/"):
            return Page(app.state.pages, request)("missing.html", 404, detail=NO_PAGE)
        return misread(fault, await tickets_api.allowed_now(desk, request))

    @app.exception_handler(Open311Error)
    def refuse_request(request: Request, fault: Open311Error) -> Response:
        return open311_pages.failure(request.url.path, fault.status, fault.text, fault.wait_s)

    @app.exception_handler(BusyError)
    def wait(_request: Request, _fault: BusyError) -> Response:
        return refusal(503, BUSY, headers=RETRY_AFTER)

    @app.exception_handler(DataError)
    @app.exception_handler(OverflowError)
    def overflow(request: Request, fault: Exception) -> Response:
        # the last net: a value that its column, or the calendar, does not hold
        log.warning("%s %s: a value out of range (%s)", request.method, request.url.path, type(fault).__name__)
        return refusal(422, "数值超出范围 / expected values within the range of their fields")

    @app.exception_handler(RefusedError)
    async def refuse(request: Request, fault: RefusedError) -> Response:
        return await _refusal(request, fault, await tickets_api.allowed_now(desk, request))

    @app.get("/events", include_in_schema=False, dependencies=[needs("tickets.read")])
    async def follow(
        request: Request, page: Showing, asking: Asking, since: str = "", cards: bool = False
    ) -> StreamingResponse:
        own = in_streets(asking.actor, "tickets.read")
        return stream(
            request, asking, since, lambda street: own is None or street in own, page.language if cards else ""
        )

    @app.get("/wall/events", include_in_schema=False, dependencies=[needs("wall.read")])
    async def follow_wall(request: Request, asking: Asking, since: str = "") -> StreamingResponse:
        # that something has changed, of no ticket
        return stream(request, asking, since, lambda _street: False)

    def stream(
        request: Request, asking: Caller, since: str, sees: Callable[[str], bool], cards: str = ""
    ) -> StreamingResponse:
        told = feed.follow(request.headers.get("last-event-id") or since, sees, cards)
        # a proxy that keeps what it is to pass on would keep alerts
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        asked = _while_signed_in(told, asking, partial(identify_again, request))
        return StreamingResponse(asked, media_type="text/event-stream", headers=headers)

    @app.get("/wall/events/now", include_in_schema=False, dependencies=[needs("wall.read")])
    @app.get("/events/now", include_in_schema=False, dependencies=[needs("tickets.read")])
    def how_far() -> JSONResponse:
        with store.transaction() as session:
            return JSONResponse({"at": str(now(session))}, headers={"cache-control": "no-store"})

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

    codes = load_codes()
    told = None if settings is None else (settings.notices, settings.shop_pages)
    app.include_router(assets.router(files_of_pages))
    app.include_router(board.router(desk))
    app.include_router(ticket_pages.router(desk))
    app.include_router(box_pages.router(desk, counter, health.broker_connected))
    app.include_router(examination_pages.router(desk))
    app.include_router(zone_pages.router(desk))
    app.include_router(people_pages.router(desk, gate.signing))
    app.include_router(audit_pages.router(desk, zone))
    app.include_router(policy_pages.router(desk, zone))
    app.include_router(law_pages.router(desk, settings or _plain(center), typeface))
    app.include_router(text_pages.router(desk, told, center.name, zone))
    app.include_router(register_pages.router(desk, center.region, zone))
    exchange = ExchangeSection() if settings is None else settings.exchange
    app.include_router(exchange_api.router(desk, gate.signing.vault, codes, center.region, zone))
    app.include_router(open311_pages.router(desk, exchange.open311, codes, center.name))
    app.include_router(report_pages.router(desk, codes, zone))
    whole = settings or _plain(center)
    app.include_router(admin_pages.router(desk, whole))
    app.include_router(camera_pages.router(desk))
    app.include_router(rollout_pages.router(desk))
    networks, proxy = exchange.webhooks.networks, whole.notices.proxy
    app.include_router(webhook_pages.router(desk, gate.signing.vault, center.id, zone, networks, proxy))
    app.include_router(token_pages.router(desk, gate.signing))
    app.include_router(street_pages.router(desk, whole, zone))
    app.include_router(task_pages.router(desk, zone, files_of_pages, center.name))
    app.include_router(thumbnails.router(desk))
    app.include_router(tickets_api.router(desk))
    press = Press(center.name, zone, typefaces.typeface(typeface), pictures.root.parent)
    app.include_router(evidence_api.router(desk, press))
    app.include_router(evidence_api.uploads(desk, zone))
    app.include_router(sign_in.router(desk, gate))
    app.include_router(people_api.router(desk, gate.signing))
    app.include_router(places_api.router(desk, center.region, zone))
    app.include_router(indicators_api.router(desk, center.name, zone, typeface))
    app.include_router(statistics_pages.router(desk, center.name, zone, typeface))
    app.include_router(learning_pages.router(desk, zone))
    app.include_router(wall_pages.router(desk, zone, files_of_pages, lies_beneath, streets, health.broker_connected))
    app.include_router(learning_api.router(desk, zone))
    app.include_router(notices_api.router(desk, told, center.name, center.timezone))
    seal(app.routes)
    return app


def _plain(center: CenterSection) -> CenterSettings:
    """All but the center as it is by itself."""
    return CenterSettings(version=1, center=center, broker=BrokerSection(url="mqtt://127.0.0.1"))


def _hosts(url: str | None) -> list[str]:
    """Names that are answered; a page elsewhere that has its own name point to this machine gets nothing."""
    name = None if url is None else urlsplit(url).hostname
    own = [] if name is None else [f"[{name}]" if ":" in name else name]
    return [*LOCAL_NAMES, *own]


async def _refusal(request: Request, fault: RefusedError, more: Mapping[str, Any]) -> Response:
    """To a program in JSON; a person is led to where they can go on."""
    if "text/html" not in request.headers.get("accept", "") or BACKGROUND in request.headers:
        return refusal(fault.status_code, fault.detail, code=fault.code, headers=fault.headers, more=more)
    held = await kept(request, fault)
    if held is not None:
        return held
    if fault.status_code == 401:
        url = request.url
        wanted = (f"{url.path}?{url.query}" if url.query else url.path) if request.method == "GET" else "/"
        over = "&over=1" if request.app.state.gate.cookie in request.cookies else ""
        return RedirectResponse(f"/sign-in?go_on={quote(wanted, safe='/')}{over}", 303)
    caller = getattr(request.state, "caller", None)
    if caller is not None and caller.must:
        return RedirectResponse("/account", 303)
    return Page(request.app.state.pages, request)(
        "refused.html", fault.status_code, detail=fault.detail, expired=fault.code == "page_expired"
    )


async def _while_signed_in(
    feed: AsyncIterator[str], asking: Caller, again: Callable[[], Caller | None]
) -> AsyncIterator[str]:
    """End a feed soon after its session or its token has; a feed does not keep one alive."""
    looked_s = time.monotonic()
    async for piece in feed:
        if time.monotonic() - looked_s > LOOK_AGAIN_S:
            looked_s = time.monotonic()
            now = await run_in_threadpool(again)
            # streets were worked out when it began: the page begins anew with those that are left
            if now is None or now.actor.grants != asking.actor.grants:
                return
        yield piece


def _answers(store: Store) -> bool:
    try:
        with store.transaction() as session:
            session.execute(text("SELECT 1"))
    except SQLAlchemyError:
        return False
    return True

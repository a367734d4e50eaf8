"""The listener with the shops' own pages: it serves nothing else, and knows nobody but by their link.

Plain HTML that needs no script: it opens in the built-in browsers of chat programs (Chromium 86 and older). Only a POST
changes anything, so that the previews that chat programs fetch do nothing. `shop_view` says what is on the page.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit
from zoneinfo import ZoneInfo

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from collector.again import Again
from collector.evidence.files import PictureFiles
from collector.evidence.previews import WIDEST_PX, preview
from collector.notices import seams, shop_view
from collector.notices.links import find_link
from collector.notices.settings import ShopPagesSection
from collector.notices.shop_view import VERBS
from collector.people.actor import Actor
from collector.store import NoticeAnswer, NoticeLink, Store, Ticket, lock
from collector.tickets.desk import able
from collector.web import language as languages
from collector.web.assets import Assets
from collector.web.reader import Reader

log = logging.getLogger(__name__)

MAX_BODY: Final = 8192
"""500 letters of Chinese are 4,500 bytes in a form."""
MAX_REASON: Final = 500
MAX_ANSWERS: Final = 10
"""For one ticket; more would only fill the database."""
PER_MINUTE: Final = 240
"""Requests of one address: a page is ten, then three a minute, and a carrier's gateway stands for many telephones."""
MISSES: Final = 20
"""Unknown links of one address in ten minutes."""
ADDRESSES: Final = 10_000
SHOWN_PX: Final = 640
"""Of a picture on the page: 40 KB; touching it shows it larger."""
ASSETS: Final = ("tokens.css", "base.css", "icon.svg", "words.js", "shop.css", "shop.js")
"""What a page loads, of the center's own pages and of this one: nothing else of theirs is served here."""
HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-robots-tag": "noindex, nofollow, noarchive",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class _Headers:
    """Adds the headers to every answer; how long a file of the page's style is kept stands as it is."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                extra = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                given = list(message.get("headers", []))
                names = {name.decode().lower() for name, _ in given}
                added = [pair for pair in extra if pair[0] != b"cache-control" or "cache-control" not in names]
                instead = {name.decode() for name, _ in added}
                message["headers"] = [*(pair for pair in given if pair[0].decode().lower() not in instead), *added]
            await send(message)

        await self._app(scope, receive, send_with_headers)


class Visits:
    """Counts requests of the last minute and misses of the last ten, by address.

    Args:
        monotonic: seconds that never jump.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._visits: OrderedDict[str, deque[float]] = OrderedDict()
        self._misses: OrderedDict[str, deque[float]] = OrderedDict()

    def allowed(self, address: str) -> bool:
        """Count a request; whether it is one of those that an address may make."""
        with self._lock:
            misses = _recent(self._misses, address, self._monotonic() - 600)
            visits = _recent(self._visits, address, self._monotonic() - 60)
            if len(misses) >= MISSES or len(visits) >= PER_MINUTE:
                return False
            visits.append(self._monotonic())
            return True

    def missed(self, address: str) -> None:
        """Count a link that there is not."""
        with self._lock:
            _recent(self._misses, address, self._monotonic() - 600).append(self._monotonic())


def _recent(table: OrderedDict[str, deque[float]], address: str, since_s: float) -> deque[float]:
    times = table.setdefault(address, deque())
    table.move_to_end(address)
    while len(table) > ADDRESSES:
        table.popitem(last=False)
    while times and times[0] <= since_s:
        times.popleft()
    return times


@dataclass(frozen=True)
class ShopPages:
    """What the listener works with.

    Args:
        center: the center's name.
        contact: whom a shop may call; or empty.
        zone: the street's time.
        changed: tells the desk's pages that something changed.
    """

    store: Store
    files: PictureFiles
    settings: ShopPagesSection
    center: str
    contact: str
    zone: ZoneInfo
    changed: Callable[[], None] = lambda: None
    now: Callable[[], float] = time.time


class _Site:
    """What the routes share."""

    def __init__(self, pages: ShopPages, visits: Visits | None) -> None:
        self.pages = pages
        self.prefix = urlsplit(pages.settings.url or "").path
        self._visits = visits or Visits()
        folder = Path(__file__).parent / "shop"
        self.assets = Assets(Path(languages.__file__).parent / "static", folder, only=ASSETS)
        self._templates = {name: self._environment(name) for name in languages.LANGUAGES}

    def _environment(self, language: str) -> Environment:
        pages = self.pages
        made = Environment(
            loader=PackageLoader("collector.notices", "shop"),
            autoescape=select_autoescape(),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.i18n"],
        )
        made.policies["ext.i18n.trimmed"] = True
        made.install_gettext_translations(languages.translations(language), newstyle=True)  # type: ignore[attr-defined]  # the extension's
        reader = Reader(language, pages.zone, lambda: self.now_ms)
        made.filters.update(reader.filters())
        made.filters["clock"] = lambda at_ms: _clock(reader, at_ms)
        made.globals.update(
            language=language,
            asset=lambda name: f"{self.prefix}{self.assets.url(name)}",
            center=pages.center,
            contact=pages.contact,
            contact_digits="".join(one for one in pages.contact if one.isdigit() or one == "+"),
            imprint=pages.settings.imprint,
            verbs=VERBS,
            reasons=shop_view.REASONS,
        )
        return made

    @property
    def now_ms(self) -> int:
        return round(self.pages.now() * 1000)

    def page(self, template: str, language: str, status: int = 200, **more: Any) -> HTMLResponse:
        """Show a template."""
        text = self._templates[language].get_template(template).render(now_ms=self.now_ms, **more)
        return HTMLResponse(text, status)

    def language(self, request: Request, link: NoticeLink | None = None) -> str:
        """What is asked for, else that of the message, else of the browser; a message is in Chinese by default."""
        written = None if link is None or link.language == languages.DEFAULT else link.language
        accepts = request.headers.get("accept-language", "")
        return languages.wanted(request.query_params.get("lang"), written, accepts)

    def gone(self, request: Request) -> HTMLResponse:
        """There is no such link, and never was, or not any more: all look alike."""
        if request.url.path.startswith("/s/"):
            self._visits.missed(self._address(request))
        return self.page("gone.html", self.language(request), 404)

    def busy(self, request: Request) -> HTMLResponse | None:
        """Refuse whoever asks too often."""
        if self._visits.allowed(self._address(request)):
            return None
        return HTMLResponse("请稍后再试 / please try again later", 429, headers={"retry-after": "60"})

    def _address(self, request: Request) -> str:
        if self.pages.settings.behind_proxy:
            named = request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
            if named:
                return named[:64]
        return request.client.host if request.client else "unknown"


def _clock(reader: Reader, at_ms: int) -> str:
    """The time of day, of another day with its date."""
    text = reader.short(at_ms)
    return text[: len("HH:mm")] if reader.day(at_ms) == reader.day(reader.now_ms()) else text


def _away() -> Response:
    return HTMLResponse("系统繁忙，请稍后再试 / please try again later", 503, headers={"retry-after": "60"})


def make_pages(pages: ShopPages, visits: Visits | None = None) -> FastAPI:
    """Put the listener's app together."""
    app = FastAPI(title="CityEye", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.add_middleware(Again, busy=_away)
    app.add_middleware(_Headers)
    site = _Site(pages, visits)

    @app.exception_handler(HTTPException)
    @app.exception_handler(RequestValidationError)
    def other(request: Request, _fault: Exception) -> Response:
        # whatever there is not looks like a link that there is not
        return site.busy(request) or site.gone(request)

    @app.get("/static/{version}/{name}")
    def send_file(request: Request, version: str, name: str) -> Response:
        return site.busy(request) or site.assets.answer(request, version, name)

    @app.get("/robots.txt")
    def robots() -> Response:
        return Response("User-agent: *\nDisallow: /\n", media_type="text/plain")

    @app.get("/favicon.ico")
    def icon() -> Response:
        return Response(status_code=204)

    @app.get("/s/{token}")
    def show(request: Request, token: str, said: str = "", ask: str = "") -> Response:
        refused = site.busy(request)
        if refused is not None:
            return refused
        with pages.store.transaction() as session:
            link = find_link(session, token, site.now_ms)
            if link is None:
                return site.gone(request)
            view = shop_view.view_of(session, link, pages.files, site.now_ms)
            fault = shop_view.fault_of(session, link, said)
            language = site.language(request, link)
        shown: dict[str, Any] = {"view": view, "base": f"{site.prefix}/s/{token}", "fault": fault}
        if ask in view.verbs:
            return site.page("ask.html", language, ask=ask, **shown)
        return site.page("shop.html", language, **shown)

    @app.get("/s/{token}/{number}.jpg")
    def picture(request: Request, token: str, number: int, large: bool = False) -> Response:
        refused = site.busy(request)
        if refused is not None:
            return refused
        with pages.store.transaction() as session:
            link = find_link(session, token, site.now_ms)
            found = () if link is None else shop_view.pictures_of(session, link, pages.files)
        if not 1 <= number <= len(found):
            return site.gone(request)
        try:
            shown = preview(pages.files, found[number - 1].sha256, WIDEST_PX if large else SHOWN_PX)
            return Response(shown, media_type="image/jpeg")
        except (OSError, ValueError):
            return site.gone(request)

    @app.post("/s/{token}")
    async def answer(request: Request, token: str, lang: str = "") -> Response:
        refused = site.busy(request)
        if refused is not None:
            return refused
        # browsers say so where another site's page sends the form; without a referrer, Origin is "null" anyway
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return HTMLResponse("请从短信中的链接打开 / please open the link of the message", 403)
        verb, reason = await _form(request)
        code = await asyncio.to_thread(take_answer, pages, token, verb, reason)
        if code is None:
            return site.gone(request)
        pages.changed()
        # what was taken stands on the page by itself
        query = {} if code in VERBS else {"said": code}
        query |= {"ask": verb} if code == "no_reason" else {}
        query |= {"lang": lang} if lang in languages.LANGUAGES else {}
        more = f"?{urlencode(query)}" if query else ""
        return RedirectResponse(f"{site.prefix}/s/{token}{more}", 303)

    return app


async def _form(request: Request) -> tuple[str, str]:
    """Verb and reason of a form; empty where it is too long, or none."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY:
            return "", ""
    try:
        form = parse_qs(body.decode("utf-8", "replace"), max_num_fields=8)
    except ValueError:
        return "", ""
    # those that were chosen, and the shop's own words
    reason = "；".join(one for one in form.get("reason", ()) if one.strip())
    printable = "".join(one if one.isprintable() else " " for one in reason)
    return form.get("verb", [""])[0], " ".join(printable.split())[:MAX_REASON]


def take_answer(pages: ShopPages, token: str, verb: str, reason: str) -> str | None:
    """Write down what a shop says, and tell the desk; returns what to show, None for no such link.

    It is kept even where the desk does not take it: nobody's objection is lost.
    """
    now_ms = round(pages.now() * 1000)
    with pages.store.writing() as session:
        link = find_link(session, token, now_ms)
        if link is None:
            return None
        if verb not in VERBS:
            return "unknown"
        if verb == "appeal" and not reason:
            return "no_reason"
        lock(session, [f"ticket/{_key(session, link)}"])
        said = session.scalars(
            select(NoticeAnswer).where(NoticeAnswer.ticket_number == link.ticket_number).order_by(NoticeAnswer.number)
        ).all()
        ticket = session.get_one(Ticket, link.ticket_number, populate_existing=True)
        taken = any(one.verb == verb and one.text == reason and one.code == "" for one in said)
        if taken and verb not in able(session, ticket, Actor.shop(link.shop), now_ms):
            # pressed twice, or loaded again; where the desk takes it anew, it is said anew
            return verb
        if len(said) >= MAX_ANSWERS:
            return "enough"
        code = ""
        try:
            with session.begin_nested():
                seams.say(session, link.shop, ticket, verb, reason, now_ms)
        except seams.NotTakenError as fault:
            code = fault.code
            seams.keep(session, link.shop, ticket, verb, reason, code, now_ms)
        session.add(
            NoticeAnswer(
                notice_number=link.notice_number,
                ticket_number=link.ticket_number,
                shop=link.shop,
                verb=verb,
                text=reason,
                at_ms=now_ms,
                code=code,
            )
        )
    log.info("shop %s says %s for ticket %d%s", link.shop, verb, link.ticket_number, f": {code}" if code else "")
    return f"{verb}_late" if code else verb


def _key(session: Session, link: NoticeLink) -> str:
    return session.scalars(select(Ticket.key).where(Ticket.number == link.ticket_number)).one()


class Listener:
    """Serves the pages on a thread and a loop of its own."""

    def __init__(self, pages: ShopPages, folder: Path) -> None:
        host, _, port = (pages.settings.listen or "").rpartition(":")
        cert, key = pages.settings.cert, pages.settings.key
        self._server = uvicorn.Server(
            uvicorn.Config(
                make_pages(pages),
                host=host.strip("[]"),
                port=int(port),
                ssl_certfile=None if cert is None else str(folder / cert),
                ssl_keyfile=None if key is None else str(folder / key),
                log_config=None,
                # addresses of requests hold the links
                access_log=False,
                lifespan="off",
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=10,
                limit_concurrency=200,
                timeout_graceful_shutdown=2,
            )
        )
        self._thread = threading.Thread(target=self._run, name="shop-pages", daemon=True)

    def _run(self) -> None:
        # uvicorn ends the program where it cannot listen; this is only one part of it
        with contextlib.suppress(SystemExit):
            self._server.run()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it listens; it does not where its port is taken."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """End."""
        self._server.should_exit = True
        self._thread.join(5)

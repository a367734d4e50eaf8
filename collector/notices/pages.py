"""The listener with the shops' own pages: it serves nothing else, and knows nobody but by their link.

Plain HTML without scripts: it opens in the built-in browsers of chat programs (Chromium 86 and older). Only a POST
changes anything, so that the previews that chat programs fetch do nothing.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from collector.again import Again
from collector.evidence.files import PictureFiles
from collector.evidence.previews import preview
from collector.notices import seams
from collector.notices.links import find_link
from collector.notices.settings import ShopPagesSection
from collector.notices.texts import RULES
from collector.people.actor import Actor
from collector.store import (
    IncidentRow,
    NoticeAnswer,
    NoticeLink,
    NoticeRow,
    PictureRow,
    Store,
    Ticket,
    TicketEvent,
    lock,
)
from collector.tickets.desk import able
from protocol.messages import Incident

log = logging.getLogger(__name__)

MAX_BODY: Final = 8192
"""500 letters of Chinese are 4,500 bytes in a form."""
MAX_REASON: Final = 500
MAX_ANSWERS: Final = 10
"""For one ticket; more would only fill the database."""
PICTURES: Final = 4
PER_MINUTE: Final = 240
"""Requests of one address: a page with its pictures is six, and a carrier's gateway stands for many telephones."""
MISSES: Final = 20
"""Unknown links of one address in ten minutes."""
ADDRESSES: Final = 10_000
VERBS: Final = {
    "shop_done": ("我已整改", "I have put it right"),
    "appeal": ("我有异议", "I object"),
    "not_mine": ("这不是我的店", "This is not my shop"),
}
TODO: Final = {
    "encroachment": (
        "请把门前的货物、桌椅等收回店内。整改后摄像头会自动复核，无需到场，也无需再做其他事情。",
        "Please take goods, tables and chairs back inside. The camera looks again by itself; that is all.",
    ),
    "crowding": (
        "请协助疏导门前人群，保持通行。",
        "Please help to spread the crowd in front of your shop and keep the way free.",
    ),
}
_HANDLED: Final = (
    "已立案，由工作人员到场处置。您仍可提出异议。",
    "The case is registered and staff will come. You may still object.",
)
NOW: Final[dict[str, tuple[str, str]]] = {
    "pending_review": (
        "工作人员正在核实图片，您暂时无需做任何事。",
        "Staff review the picture; you need not do anything now.",
    ),
    "false_alarm": (
        "经核实并无问题，您无需做任何事。",
        "It was reviewed and nothing was wrong; you need not do anything.",
    ),
    "duplicate": ("已并入另一工单，以另一条提醒为准。", "Another notice is about the same; please go by that one."),
    "exempt": ("此处有备案，您无需做任何事。", "A permit covers this; you need not do anything."),
    "lapsed": ("现场已恢复，您无需再做任何事。", "It is clear again; you need not do anything more."),
    "noticed": ("请在时限内整改。", "Please put it right in time."),
    "self_corrected": ("摄像头已看到恢复，谢谢！", "The camera saw that it is clear again. Thank you!"),
    "community": ("社区工作人员将与您联系。", "Somebody of the community will call on you."),
    **dict.fromkeys(("registered", "dispatched", "handling", "rework"), _HANDLED),
    "verifying": ("正在核查现场是否已恢复。", "It is being checked whether the place is clear."),
    "appealed": ("您的异议由工作人员复核，期间时限停止计算。", "Staff look at your objection; meanwhile no time runs."),
    "closed": ("已结案，您无需再做任何事。", "The case is closed; you need not do anything more."),
}
"""What happens now, by the ticket's state."""
LOOKING: Final = ("摄像头正在查看现场，请稍候。", "The camera is looking just now; please wait a moment.")
DECIDED: Final = {
    "uphold": ("您的异议已被采纳", "Your objection was accepted"),
    "reject": ("您的异议经复核未被采纳", "Your objection was looked at and not accepted"),
}
TODO_ELSE: Final = ("请尽快恢复门前秩序。", "Please put the place in order soon.")
HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; img-src 'self'; style-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-robots-tag": "noindex, nofollow, noarchive",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class _Headers:
    """Adds the headers to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                extra = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                kept = [pair for pair in message.get("headers", []) if pair[0].decode().lower() not in HEADERS]
                message["headers"] = [*kept, *extra]
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
class Picture:
    """One picture of the ticket; `number` is all that the page says of it."""

    number: int
    sha256: str
    caption: str
    width: int
    height: int


@dataclass(frozen=True)
class Answered:
    """What the shop has said."""

    at: str
    words: str
    text: str


@dataclass(frozen=True)
class Decision:
    """What became of the shop's objection, and why."""

    at: str
    words: str
    reason: str
    good: bool


@dataclass(frozen=True)
class View:
    """What the page shows."""

    ticket: int
    shop: str
    rule: str
    todo: str
    since: str
    until: str
    left: str
    open: bool
    appealed: bool
    """A person looks at an objection; meanwhile no time runs."""
    state: str
    now: str
    """What happens now."""
    verbs: tuple[str, ...]
    """What the ticket takes from its shop now."""
    decision: Decision | None
    pictures: tuple[Picture, ...]
    answers: tuple[Answered, ...]


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
        self._templates = Environment(
            loader=PackageLoader("collector.notices", "shop"), autoescape=select_autoescape(), undefined=StrictUndefined
        )

    @property
    def now_ms(self) -> int:
        return round(self.pages.now() * 1000)

    def page(self, template: str, language: str, status: int = 200, **more: Any) -> HTMLResponse:
        pages = self.pages
        text = self._templates.get_template(template).render(
            language=language,
            t=lambda zh, en: zh if language == "zh" else en,
            center=pages.center,
            contact=pages.contact,
            contact_digits="".join(one for one in pages.contact if one.isdigit() or one == "+"),
            imprint=pages.settings.imprint,
            style=f"{self.prefix}/style.css",
            **more,
        )
        return HTMLResponse(text, status)

    def gone(self, request: Request) -> HTMLResponse:
        """There is no such link, and never was, or not any more: all look alike."""
        if request.url.path.startswith("/s/"):
            self._visits.missed(self._address(request))
        return self.page("gone.html", "zh", 404)

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


def _away() -> Response:
    return HTMLResponse("系统繁忙，请稍后再试 / please try again later", 503, headers={"retry-after": "60"})


def make_pages(pages: ShopPages, visits: Visits | None = None) -> FastAPI:
    """Put the listener's app together."""
    app = FastAPI(title="CityEye", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.add_middleware(Again, busy=_away)
    app.add_middleware(_Headers)
    site = _Site(pages, visits)
    style = (files("collector.notices") / "shop" / "style.css").read_bytes()

    @app.exception_handler(HTTPException)
    @app.exception_handler(RequestValidationError)
    def other(request: Request, _fault: Exception) -> Response:
        # whatever there is not looks like a link that there is not
        return site.busy(request) or site.gone(request)

    @app.get("/style.css")
    def show_style() -> Response:
        return Response(style, media_type="text/css")

    @app.get("/robots.txt")
    def robots() -> Response:
        return Response("User-agent: *\nDisallow: /\n", media_type="text/plain")

    @app.get("/favicon.ico")
    def icon() -> Response:
        return Response(status_code=204)

    @app.get("/s/{token}")
    def show(request: Request, token: str, lang: str = "", said: str = "", ask: str = "") -> Response:
        refused = site.busy(request)
        if refused is not None:
            return refused
        with pages.store.transaction() as session:
            link = find_link(session, token, site.now_ms)
            if link is None:
                return site.gone(request)
            language = lang if lang in seams.LANGUAGES else link.language
            view = view_of(session, pages, link, language)
            words = _said(session, link, said, language)
        return site.page("shop.html", language, view=view, base=f"{site.prefix}/s/{token}", said=words, ask=ask)

    @app.get("/s/{token}/{number}.jpg")
    def picture(request: Request, token: str, number: int) -> Response:
        refused = site.busy(request)
        if refused is not None:
            return refused
        with pages.store.transaction() as session:
            link = find_link(session, token, site.now_ms)
            found = [] if link is None else pictures_of(session, pages, link, "zh")
        if not 1 <= number <= len(found):
            return site.gone(request)
        try:
            return Response(preview(pages.files, found[number - 1].sha256), media_type="image/jpeg")
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
        language = f"&lang={lang}" if lang in seams.LANGUAGES else ""
        more = f"&ask={verb}" if code == "no_reason" else ""
        return RedirectResponse(f"{site.prefix}/s/{token}?said={code}{language}{more}", 303)

    return app


async def _form(request: Request) -> tuple[str, str]:
    """Verb and reason of a form; empty where it is too long, or none."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY:
            return "", ""
    try:
        form = parse_qs(body.decode("utf-8", "replace"), max_num_fields=5)
    except ValueError:
        return "", ""
    printable = "".join(one if one.isprintable() else " " for one in form.get("reason", [""])[0])
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
        if any(one.verb == verb and one.text == reason and one.code == "" for one in said):
            # pressed twice, or loaded again
            return verb
        if len(said) >= MAX_ANSWERS:
            return "enough"
        ticket = session.get_one(Ticket, link.ticket_number)
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


@dataclass(frozen=True)
class _Words:
    good: bool
    text: str


def _said(session: Session, link: NoticeLink, code: str, language: str) -> _Words | None:
    """The line after a form was sent; shown only where it is true, whatever the address says."""
    verb = code.removesuffix("_late")
    texts = {
        "no_reason": (False, "请写明理由后再提交。", "Please say why, then send it again."),
        "unknown": (False, "未能识别，请重试。", "That was not understood; please try again."),
        "enough": (False, "您的意见我们已多次收到，请致电联系。", "We have heard you several times; please call."),
        "shop_done": (True, "已收到，摄像头将复核。谢谢！", "Noted; the camera will look again. Thank you!"),
        "appeal": (True, "您的异议已收到，由工作人员复核。", "Your objection is here; a person will look at it."),
        "not_mine": (True, "已收到，由工作人员核实。", "Noted; a person will check it."),
    }
    if verb not in texts:
        return None
    if verb in VERBS:
        known = select(func.count()).where(NoticeAnswer.ticket_number == link.ticket_number, NoticeAnswer.verb == verb)
        if not session.scalar(known):
            return None
    good, zh, en = texts[verb]
    if code.endswith("_late"):
        good, zh, en = (
            True,
            "已记录。本工单目前无需此操作，工作人员会看到。",
            "Noted. The matter is past this; staff will see it.",
        )
    return _Words(good, zh if language == "zh" else en)


def view_of(session: Session, pages: ShopPages, link: NoticeLink, language: str) -> View:
    """What the page of a link shows."""
    zh = language == "zh"
    ticket = session.get_one(Ticket, link.ticket_number)
    now_ms = round(pages.now() * 1000)
    due_ms = _due_ms(session, ticket, link)
    appealed = ticket.state == "appealed"
    left_ms = 0 if due_ms is None or appealed or not ticket.open else due_ms - now_ms
    known = seams.shop(session, link.shop)
    answers = session.scalars(
        select(NoticeAnswer)
        .where(NoticeAnswer.ticket_number == ticket.number, NoticeAnswer.shop == link.shop)
        .order_by(NoticeAnswer.number)
    )
    index = 0 if zh else 1
    verbs = able(session, ticket, Actor.shop(link.shop), now_ms)
    looking = ticket.state in ("noticed", "community") and ticket.verify is not None
    return View(
        ticket=ticket.number,
        shop=known.name if known is not None and known.name else link.shop,
        rule=RULES.get(ticket.rule, (ticket.rule, ticket.rule))[index],
        todo=TODO.get(ticket.rule, TODO_ELSE)[index],
        since=_clock(ticket.opened_ms, pages.zone),
        until="" if due_ms is None else _clock(due_ms, pages.zone),
        left=_left(left_ms, zh=zh),
        open=bool(ticket.open),
        appealed=appealed,
        state=ticket.state,
        now=(LOOKING if looking else NOW[ticket.state])[index],
        verbs=tuple(verb for verb in VERBS if verb in verbs),
        decision=None if appealed else _decision(session, ticket, pages.zone, index),
        pictures=tuple(pictures_of(session, pages, link, language)),
        answers=tuple(Answered(_clock(one.at_ms, pages.zone), VERBS[one.verb][index], one.text) for one in answers),
    )


def _decision(session: Session, ticket: Ticket, zone: ZoneInfo, index: int) -> Decision | None:
    decided = select(TicketEvent).where(TicketEvent.ticket_number == ticket.number, TicketEvent.kind.in_(DECIDED))
    line = session.scalars(decided.order_by(TicketEvent.id.desc()).limit(1)).first()
    if line is None:
        return None
    return Decision(_clock(line.at_ms, zone), DECIDED[line.kind][index], line.reason, line.kind == "uphold")


def _due_ms(session: Session, ticket: Ticket, link: NoticeLink) -> int | None:
    """By when: as the desk reckons, else by what the notice said."""
    shop_due_ms: int | None = getattr(ticket, "shop_due_ms", None)
    if shop_due_ms is not None:
        return shop_due_ms
    notice = session.get_one(NoticeRow, link.notice_number)
    if notice.minutes is not None:
        return (notice.told_ms or link.created_ms) + notice.minutes * 60_000
    return notice.due_ms


def pictures_of(session: Session, pages: ShopPages, link: NoticeLink, language: str) -> list[Picture]:
    """The masked pictures of this ticket that are here: newest incident first, as found, the near view first."""
    incidents = session.scalars(
        select(IncidentRow)
        .where(IncidentRow.ticket_number == link.ticket_number)
        .order_by(IncidentRow.opened_ms.desc())
    ).all()
    found: list[Picture] = []
    for row in incidents[:PICTURES]:
        data = Incident.model_validate_json(row.data)
        here = set(session.scalars(select(PictureRow.sha256).where(PictureRow.incident == row.id)))
        shown = [one for one in data.evidence if one.role == "at" and one.masked and one.sha256 in here]
        for one in sorted(shown, key=lambda one: one.view != "close"):
            if len(found) == PICTURES or not pages.files.path(one.sha256).is_file():
                continue
            views = {"close": ("近景", "near view"), "wide": ("全景", "wide view")}
            view = views.get(one.view, (one.view, one.view))[0 if language == "zh" else 1]
            at = _clock(round(one.taken_at.timestamp() * 1000), pages.zone)
            found.append(Picture(len(found) + 1, one.sha256, f"{view} {at}", one.width, one.height))
    return found


def _clock(at_ms: int, zone: ZoneInfo) -> str:
    return datetime.fromtimestamp(at_ms / 1000, zone).strftime("%m-%d %H:%M")


def _left(left_ms: int, *, zh: bool) -> str:
    if left_ms <= 0:
        return ""
    minutes = max(1, left_ms // 60_000)
    hours = minutes // 60
    if hours:
        return f"{hours} 小时 {minutes % 60} 分钟" if zh else f"{hours} h {minutes % 60} min"
    return f"{minutes} 分钟" if zh else f"{minutes} min"


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

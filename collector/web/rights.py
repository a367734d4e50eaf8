"""Who asks, and whether they may: each route says which right it needs.

    @router.post("/api/shops", dependencies=[needs("places.write")])
    def add_shop(actor: Actor = Depends(actor)) -> …:
        check(actor, "places.write", street)   # where it is about one street

A browser shows a session's cookie, a program an API token. A change by cookie must come from a page of this center
(`Sec-Fetch-Site`, else `Origin`) and bring what only such a page can know (`x-csrf-token`, or `csrf` in a form; an
upload brings the header, which a script takes from `<meta name="csrf">`): the first alone would do in today's
browsers, the second still holds where a proxy or an old browser drops those headers. A token goes in a header that no
other page can set, so it needs neither.
"""

import ipaddress
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hmac import compare_digest
from typing import Annotated, Any, Final
from urllib.parse import parse_qsl

from fastapi import Depends, HTTPException, Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection
from starlette.routing import Mount

from collector.evidence.files import PictureFiles
from collector.people import rights, roster, sessions
from collector.people.actor import EVERYWHERE, Actor, Grant
from collector.people.rights import OWN, PUBLIC
from collector.people.signing import Caller, Signing, Source
from collector.people.sso import Provider
from collector.settings import is_loopback
from collector.store import Store
from collector.web import multipart

SAFE: Final = ("GET", "HEAD", "OPTIONS")
FORM: Final = "application/x-www-form-urlencoded"
MAX_FORM_BYTES: Final = 16_384
MAX_FIELDS: Final = 250
"""A street's policy has some 150."""
_MASKED_BYTES: Final = 64
CSRF: Final = "x-csrf-token"
BACKGROUND: Final = "x-background"
"""Set by pages that ask by themselves: it does not keep a session alive."""
OPEN_ACTOR: Final = Actor("system", "loopback", "本机 this machine")
"""Whoever reaches the loopback address of a center without people."""
NEARER: Final = {CSRF: "page_expired", "origin": "other_site"}
"""Codes of refusals of requests that may be nobody's own."""
CLOSED: Final = frozenset({"people.write"})
"""What even an open center keeps to its command line: otherwise whoever comes first would be its admin."""

WHOLE: Final = frozenset({"audit.read", "law.write"})
"""What is good only with a role at all streets."""


@dataclass(frozen=True)
class Desk:
    """What the routes of all parts work with.

    Args:
        now_ms: the center's clock.
        changed: tells open pages that something changed.
    """

    store: Store
    files: PictureFiles
    now_ms: Callable[[], int]
    changed: Callable[[], None]


class Gate:
    """Knows who asks.

    Args:
        signing: checks cookies and tokens.
        url: https://HOST that people use; None: pages are for this machine, over HTTP, and as long as there are no
            people they are open.
        proxied: a proxy stands in front, on this machine perhaps: loopback is then no sign of being here.
        provider: of single sign-on.
    """

    def __init__(
        self, signing: Signing, url: str | None = None, *, proxied: bool = False, provider: Provider | None = None
    ) -> None:
        self.signing = signing
        self.url = url
        self.proxied = proxied
        self.provider = provider
        self._people = False

    @property
    def secure(self) -> bool:
        """Whether browsers come over TLS."""
        return self.url is not None

    @property
    def cookie(self) -> str:
        """Name of the session's cookie; with `__Host-` no other host of the domain can set it (RFC 6265bis)."""
        return "__Host-cityeye" if self.secure else "cityeye"

    @property
    def device_cookie(self) -> str:
        """Name of the cookie that marks a browser which has signed in before."""
        return f"{self.cookie}-device"

    @property
    def sso_cookie(self) -> str:
        """Name of the cookie of a sign-in elsewhere that has begun."""
        return f"{self.cookie}-sso"

    def is_open(self) -> bool:
        """Whether pages are open to all that reach them: on loopback, until there are people."""
        if self.url is not None or self._people:
            return False
        with self.signing.store.transaction() as session:
            # they never go away again
            self._people = not roster.is_empty(session)
        return not self._people

    def is_here(self, request: HTTPConnection) -> bool:
        """Whether somebody asks from this machine."""
        return not self.proxied and request.client is not None and is_loopback(request.client.host)


class RefusedError(HTTPException):
    """Not signed in (401), or without the right (403); `needs` says what was missing."""

    def __init__(self, status: int, text: str, needs: str = "") -> None:
        headers = {"x-cityeye-needs": needs} if needs else {}
        self.code = NEARER.get(needs, "")
        if status == 401:
            headers["www-authenticate"] = "Bearer"
        super().__init__(status, text, headers)


def needs(right: str) -> Any:
    """A dependency that lets only those in who have this right at some street."""
    if right not in rights.MAY and right != OWN:
        raise ValueError(f"expected a right of collector.people.rights, got {right!r}")

    async def check(request: Request) -> None:
        """Refuse who has not."""
        caller = await _caller(request)
        if right == OWN:
            if not caller.cookie:
                raise RefusedError(403, "此操作须在页面登录后进行 / expected a session of a page, no token", OWN)
            return
        if caller.must:
            raise RefusedError(
                403, f"请先完成账号设置 / finish your account first ({caller.must}): see /account", right
            )
        if right in CLOSED and caller.actor == OPEN_ACTOR:
            text = "请先用 cityeye-collector init 设立管理员 / make the first admin with `cityeye-collector init`"
            raise RefusedError(403, text, right)
        if not rights.may(caller.actor, right):
            raise RefusedError(
                403, f"无此权限：{right} / expected the right {right}, which none of your roles has", right
            )

    check.right = right  # type: ignore[attr-defined]  # read by the table of calls and roles
    return Depends(check)


def figures() -> Any:
    """A dependency for what watches the center: this machine may, others need `figures.read`."""
    asked = needs("figures.read").dependency

    async def check(request: Request) -> None:
        """Let this machine pass."""
        if not _gate(request).is_here(request):
            await asked(request)

    check.right = "figures.read"  # type: ignore[attr-defined]
    return Depends(check)


def public() -> Any:
    """A dependency for what everybody may call; a change must come from a page of this center all the same."""

    def check(request: Request) -> None:
        """Refuse what another site's page sends."""
        if request.method not in SAFE:
            same_origin(request, strict=True)

    check.right = PUBLIC  # type: ignore[attr-defined]
    return Depends(check)


def programs() -> Any:
    """A dependency for what anybody's program may call, with a key in it or none.

    Cookies count for nothing there, so that it does not matter whose page sends it.
    """

    def check() -> None:
        """Let everybody pass."""

    check.right = PUBLIC  # type: ignore[attr-defined]
    return Depends(check)


async def actor(request: Request) -> Actor:
    """Who asks."""
    return (await _caller(request)).actor


async def caller(request: Request) -> Caller:
    """Who asks, and by which session."""
    return await _caller(request)


def source(request: Request) -> Source:
    """Where a request comes from."""
    host = request.client.host if request.client is not None else ""
    device = request.cookies.get(_gate(request).device_cookie, "")
    return Source(_address(host), request.headers.get("user-agent", ""), device)


async def form(request: Request) -> dict[str, str]:
    """The fields of a small form."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != FORM:
        raise HTTPException(415, f"expected a form ({FORM})")
    if not request.headers.get("content-length", "0").isdecimal():
        raise HTTPException(411, "expected a form with its length")
    if int(request.headers.get("content-length", "0")) > MAX_FORM_BYTES:
        raise HTTPException(413, f"expected a form of at most {MAX_FORM_BYTES} bytes")
    body = await request.body()
    if len(body) > MAX_FORM_BYTES:
        raise HTTPException(413, f"expected a form of at most {MAX_FORM_BYTES} bytes")
    try:
        found = dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS))
    except ValueError:
        raise HTTPException(400, "expected a form in UTF-8") from None
    if any("\x00" in text for pair in found.items() for text in pair):
        raise HTTPException(400, "expected a form without NUL")
    return found


Acting = Annotated[Actor, Depends(actor)]
Asking = Annotated[Caller, Depends(caller)]
From = Annotated[Source, Depends(source)]
Fields = Annotated[dict[str, str], Depends(form)]


def check(actor: Actor, right: str, street: str) -> None:
    """Refuse who has not this right at this street."""
    if not rights.may(actor, right, street):
        raise RefusedError(403, f"此街道无此权限：{right} / expected the right {right} at {street}")


def _gate(request: HTTPConnection) -> Gate:
    gate: Gate = request.app.state.gate
    return gate


async def _caller(request: Request) -> Caller:
    """Who asks, once for each request; raises RefusedError."""
    known: Caller | None = getattr(request.state, "caller", None)
    if known is not None:
        return known
    found = await run_in_threadpool(_identify, _gate(request), request)
    if found.cookie and request.method not in SAFE:
        await _check_csrf(request, found)
    request.state.caller = found
    return found


def identify_again(request: Request) -> Caller | None:
    """Who asks, read anew while an answer goes on; None: nobody any longer. It keeps no session alive."""
    try:
        return _identify(_gate(request), request, background=True)
    except RefusedError:
        return None


def _identify(gate: Gate, request: Request, *, background: bool = False) -> Caller:
    given = request.headers.get("authorization")
    if given is not None:
        scheme, _, text = given.partition(" ")
        found = gate.signing.bearer(text.strip()) if scheme.lower() == "bearer" else None
        if found is None:
            raise RefusedError(401, "令牌无效或已过期 / expected a token that is good, this one is not")
        return found
    cookie = request.cookies.get(gate.cookie, "")
    asks_itself = background or BACKGROUND in request.headers
    found = gate.signing.caller(cookie, background=asks_itself) if cookie else None
    if found is not None:
        return found
    if gate.is_open():
        if request.method not in SAFE:
            same_origin(request, strict=False)
        return Caller(OPEN_ACTOR)
    raise RefusedError(401, "请先登录 / sign in first")


async def _check_csrf(request: Request, caller: Caller) -> None:
    same_origin(request, strict=True)
    given = request.headers.get(CSRF, "")
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if not given and kind == FORM:
        given = (await form(request)).get("csrf", "")
    elif not given and kind == multipart.KIND:
        given = (await multipart.fields(request)).get("csrf", b"").decode("ascii", "replace")
    if not compare_digest(_unmasked(given).encode(), sessions.csrf(caller.cookie).encode()):
        raise RefusedError(
            403, "页面已过期，请刷新后重试 / expected the token of this session; load the page again", CSRF
        )


def csrf_of(caller: Caller) -> str:
    """What a page's forms and scripts bring along: another text on each page, as pages are sent compressed (BREACH).

    Behind the token stands whose page it is: a form outlives its session, and is sent again by nobody else.
    """
    token = bytes.fromhex(sessions.csrf(caller.cookie))
    mask = secrets.token_bytes(len(token))
    return (mask + _mixed(mask, token) + caller.actor.id.encode()).hex()


def writer_of(csrf: str) -> str:
    """Who had the page that a token came with; empty where it does not say. It proves nothing."""
    try:
        return bytes.fromhex(csrf)[_MASKED_BYTES:].decode()
    except ValueError:
        return ""


def _unmasked(given: str) -> str:
    """The token in what `csrf_of` gave; a program may send it as it is."""
    try:
        both = bytes.fromhex(given)
    except ValueError:
        return ""
    half = _MASKED_BYTES // 2
    return _mixed(both[:half], both[half:_MASKED_BYTES]).hex() if len(both) >= _MASKED_BYTES else given


def _mixed(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def same_origin(request: Request, *, strict: bool) -> None:
    """Refuse what another site's page sends; `strict`: also what does not say where it is from."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if site is not None:
        good = site == "same-origin"
    elif origin is not None:
        gate = _gate(request)
        own = gate.url or f"{request.url.scheme}://{request.headers.get('host', '')}"
        good = origin == own
    else:
        good = not strict
    if not good:
        raise RefusedError(403, "请求来自其他网站 / expected a request of a page of this center", "origin")


def _address(host: str) -> str:
    """An IP address; what a proxy wrote may be none."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return "0.0.0.0"  # noqa: S104 - of nobody
    return host


@dataclass(frozen=True)
class Call:
    """A call of the application, and the rights that it needs; none: its route does not say."""

    method: str
    path: str
    rights: tuple[str, ...]


def calls(routes: Any, prefix: str = "") -> Iterator[Call]:
    """All calls of an application, in order."""
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:  # FastAPI keeps a router that was taken in as one
            yield from calls(inner.routes, prefix + route.include_context.prefix)
        elif isinstance(route, Mount):
            yield Call("GET", f"{prefix}{route.path}/…", (PUBLIC,))
        else:
            found = [_right(one) for one in getattr(getattr(route, "dependant", None), "dependencies", ())]
            said = tuple(one for one in found if one is not None)
            for method in sorted((getattr(route, "methods", None) or {"GET"}) - {"HEAD"}):
                yield Call(method, prefix + route.path, said)


def _right(dependency: Any) -> str | None:
    right = getattr(dependency.call, "right", None)
    return right if isinstance(right, str) else None


def seal(routes: Any) -> None:
    """Refuse to start with a route that does not say which right it needs."""
    silent = [f"{one.method} {one.path}" for one in calls(routes) if not one.rights]
    if silent:
        raise RuntimeError(f"expected `needs(…)` on every route, found none on {', '.join(silent)}")


def held(actor: Actor, street: str | None = None) -> frozenset[str]:
    """Rights that somebody has at a street, or at some, those to what is no street's at all: for what a page shows."""
    wide = dict.fromkeys(WHOLE, EVERYWHERE)
    return frozenset(right for right in rights.MAY if rights.may(actor, right, wide.get(right, street)))


def in_streets(actor: Actor, right: str) -> frozenset[str] | None:
    """Streets to whose rows somebody is limited; None: they see all."""
    return rights.streets(actor, right)


def as_json(grants: frozenset[Grant]) -> list[dict[str, str]]:
    """Roles for programs."""
    return [{"role": one.role, "street": one.street} for one in sorted(grants, key=str)]

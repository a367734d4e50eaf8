"""The calls of the set-up page; what speaks HTTP around them is `server`.

Files are open to all, `POST /api/enter` takes the PIN, everything else wants the session's cookie. What changes
something is JSON from this very page: no form of another one can send it.
"""

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints, ValidationError

import protocol
from agent.setup.desk import FAULTS, Desk
from agent.setup.finding import SERVICE
from agent.setup.gate import SESSION_S, Gate
from protocol.commands import Arguments
from protocol.ids import Slug
from protocol.settings import without_password

log = logging.getLogger(__name__)

COOKIE: Final = "__Host-setup"
MAX_BODY_BYTES: Final = 64 * 1024
TYPES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
Rtsp = Annotated[str, StringConstraints(max_length=500, pattern=r"^rtsps?://[^\s/]+"), AfterValidator(without_password)]


@dataclass(frozen=True)
class Answer:
    """What goes back."""

    status: int
    body: bytes
    media_type: str = "application/json"
    cookie: str = ""


class EnterBody(Arguments):
    """The PIN on the box."""

    pin: str = Field(max_length=64)


class ClaimBody(Arguments):
    """What the center's label says."""

    label: str = Field(max_length=1000)


class Login(Arguments):
    """User and password of a camera."""

    user: str = Field(default="", max_length=200)
    password: str = Field(default="", max_length=200)


class StreamsBody(Login):
    """A device whose streams are looked for."""

    host: str = Field(pattern=r"^\d{1,3}(\.\d{1,3}){3}$")
    port: int = Field(ge=1, le=65535)
    service: str = Field(default="", pattern=rf"^({SERVICE.pattern})?$")


class CameraBody(Login):
    """A camera as it is to be."""

    id: Slug
    source: Rtsp
    substream: Rtsp | None = None


class OfBody(Arguments):
    """A camera of the box."""

    camera: Slug


class WatchBody(OfBody):
    """`test`: the rules run."""

    test: bool = False


class DrawBody(OfBody):
    """What is drawn on a camera's picture; the settings check it."""

    drawing: dict[str, Any]


QUICK: Final[dict[str, type[Arguments]]] = {
    "camera": CameraBody,
    "drop": OfBody,
    "watch": WatchBody,
    "focus": Arguments,
    "draw": DrawBody,
    "finish": Arguments,
}
SLOW: Final[dict[str, type[Arguments]]] = {
    "claim": ClaimBody,
    "find": Arguments,
    "streams": StreamsBody,
    "test": CameraBody,
    "doctor": Arguments,
}
"""Those take a while; methods of the desk, as all of them are."""
CALLS: Final = QUICK | SLOW


@dataclass
class Pages:
    """The set-up page of one box, `host`: its name."""

    desk: Desk
    gate: Gate
    host: str
    _files: dict[str, Answer] = field(init=False)

    def __post_init__(self) -> None:
        folders = (Path(__file__).parent / "static", Path(protocol.__file__).parent / "drawing")
        paths = [path for folder in folders for path in folder.iterdir() if path.suffix in TYPES]
        self._files = {f"/{path.name}": Answer(200, path.read_bytes(), TYPES[path.suffix]) for path in paths}
        self._files["/"] = self._files["/index.html"]

    def answer(self, target: str, headers: Mapping[str, str], body: bytes | None = None) -> Answer:
        """Answer a GET, or a POST where there is a body; never raises."""
        try:
            # a name that is not this box's: a page elsewhere has its own name lead here (DNS rebinding)
            if not self._is_own(headers.get("host", "")):
                return told(421, "this is not the box's name")
            path = urlsplit(target).path
            return self._get(path, headers) if body is None else self._post(path, headers, body)
        except ValidationError as fault:
            # never the input: it may be a password
            first = fault.errors(include_url=False, include_input=False)[0]
            return told(422, f"{'.'.join(map(str, first['loc']))}: {first['msg']}"[:300])
        except FAULTS as fault:
            return told(409, str(fault))
        except Exception:
            # whatever breaks in one call, the page goes on
            log.exception("set-up: a call failed")
            return told(500, "it failed; the log of the box says more")

    def _is_own(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
            return name in (self.host, "localhost") or bool(ip_address(name))
        except ValueError:
            return False

    def _get(self, path: str, headers: Mapping[str, str]) -> Answer:
        if path in self._files:
            return self._files[path]
        known = self._knows(headers)
        if path == "/api/hello":
            return good({"known": known})
        if not known:
            return told(401, "expected the PIN first")
        if path in ("/api/state", "/api/look"):
            return good(self.desk.state() if path == "/api/state" else self.desk.look())
        found = re.fullmatch(r"/picture/([0-9a-f]{1,16})", path)
        jpeg = self.desk.picture(found[1]) if found else None
        return told(404, "there is none") if jpeg is None else Answer(200, jpeg, "image/jpeg")

    def _post(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        own = headers.get("origin", f"https://{headers['host']}") == f"https://{headers['host']}"
        if not own or headers.get("content-type") != "application/json":
            return told(403, "expected JSON from the set-up page itself")
        try:
            values = json.loads(body)
        except (ValueError, RecursionError):
            return told(400, "expected JSON")
        if path == "/api/enter":
            return self._enter(EnterBody.model_validate(values).pin)
        if not self._knows(headers):
            return told(401, "expected the PIN first")
        name = path.removeprefix("/api/")
        if name not in CALLS:
            return told(404, "there is no such call")
        work = partial(getattr(self.desk, name), **CALLS[name].model_validate(values).model_dump())
        if name in SLOW:
            self.desk.start(name, work)
        else:
            work()
        self.desk.door.stay()
        return good({})

    def _enter(self, pin: str) -> Answer:
        session = self.gate.enter(re.sub(r"[\s-]", "", pin))
        if session is None:
            wait_s = round(self.gate.wait_s)
            return told(429, str(wait_s)) if wait_s else told(403, "this is not the PIN")
        kept = f"{COOKIE}={session}; Path=/; Max-Age={SESSION_S:.0f}; Secure; HttpOnly; SameSite=Strict"
        return Answer(200, b"{}", cookie=kept)

    def _knows(self, headers: Mapping[str, str]) -> bool:
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and self.gate.knows(cookie.value)


def good(values: Any) -> Answer:
    """A call that went well."""
    return Answer(200, json.dumps(values, ensure_ascii=False).encode())


def told(status: int, text: str) -> Answer:
    """One that did not."""
    return Answer(status, json.dumps({"text": text}).encode())

"""The calls of the set-up page, from plain values to plain values; what speaks HTTP around them is `server`.

Files are open to all, `POST /api/enter` takes the PIN, everything else wants the session's cookie. What changes
something is JSON from this very page: no form of another one can send it.
"""

import json
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

import protocol
from agent.box.door import Door
from agent.setup.desk import Desk, DeskError
from agent.setup.gate import SESSION_S, Gate
from protocol.ids import Slug
from protocol.settings import Camera, without_password

log = logging.getLogger(__name__)

COOKIE: Final = "__Host-setup"
MAX_BODY_BYTES: Final = 64 * 1024
TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
RtspUrl = Annotated[
    str, StringConstraints(max_length=500, pattern=r"^rtsps?://[^\s/@]+"), AfterValidator(without_password)
]


@dataclass(frozen=True)
class Answer:
    """What goes back."""

    status: int
    body: bytes
    media_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


class Body(BaseModel):
    """What a call takes; anything else is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Nothing(Body):
    """No arguments."""


class EnterBody(Body):
    """The PIN."""

    pin: str = Field(max_length=64)


class ClaimBody(Body):
    """What the center's label says."""

    label: str = Field(max_length=1000)


class Login(Body):
    """User and password of a camera."""

    user: str = Field(default="", max_length=200)
    password: str = Field(default="", max_length=200)


class StreamsBody(Login):
    """A device whose streams are looked for."""

    host: str = Field(pattern=r"^\d{1,3}(\.\d{1,3}){3}$")
    port: int = Field(ge=1, le=65535)


class CameraBody(Login):
    """A camera as it is to be."""

    id: Slug
    source: RtspUrl
    substream: RtspUrl | None = None

    def camera(self) -> Camera:
        """As the settings have it."""
        return Camera(id=self.id, source=self.source, substream=self.substream)


class OfBody(Body):
    """One camera of the box."""

    id: Slug


class WatchBody(OfBody):
    """Which camera is watched, and whether the rules run."""

    test: bool = False


class DrawBody(OfBody):
    """What is drawn on its picture."""

    drawing: "Drawing"


class Drawing(Body):
    """As the settings have it; they check it."""

    plane: dict[str, Any] | None = None
    mask: list[dict[str, Any]] = []
    zone: list[dict[str, Any]] = []


DrawBody.model_rebuild()


@dataclass
class Pages:
    """The set-up page of one box.

    Args:
        desk: does what is asked.
        gate: knows the PIN.
        door: stays open while somebody works.
        host: `cityeye-NAME.local`.
    """

    desk: Desk
    gate: Gate
    door: Door
    host: str
    _files: dict[str, Answer] = field(init=False)

    def __post_init__(self) -> None:
        folders = (Path(__file__).parent / "static", Path(protocol.__file__).parent / "drawing")
        self._files = {
            f"/{path.name}": Answer(200, path.read_bytes(), TYPES[path.suffix])
            for folder in folders
            for path in sorted(folder.iterdir())
            if path.suffix in TYPES
        }
        self._files["/"] = self._files["/index.html"]

    def get(self, target: str, headers: Mapping[str, str]) -> Answer:
        """Answer a GET; never raises."""
        return self._guarded(headers, lambda: self._get(urlsplit(target).path, headers))

    def post(self, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer a POST; never raises."""
        return self._guarded(headers, lambda: self._post(target, headers, body))

    def _guarded(self, headers: Mapping[str, str], work: Callable[[], Answer]) -> Answer:
        try:
            # a name that is not this box's: a page elsewhere has its name lead here (DNS rebinding)
            return work() if self._is_own(headers.get("host", "")) else told(421, "another_host", "not this box's name")
        except DeskError as fault:
            return told(409, fault.code, str(fault))
        except ValidationError as fault:
            # never the input: it may be a password
            first = fault.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            return told(422, "invalid", f"{where}: {first['msg']}".replace("Value error, ", "")[:300])
        except Exception:
            log.exception("set-up: a call failed")
            return told(500, "failed", "the log of the box says more")

    def _is_own(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in (self.host, "localhost"):
            return True
        try:
            ip_address(name)
        except ValueError:
            return False
        return True

    def _get(self, path: str, headers: Mapping[str, str]) -> Answer:
        if path in self._files:
            return self._files[path]
        if path == "/api/hello":
            return good({"known": self._knows(headers)})
        if not self._knows(headers):
            return told(401, "who", "expected the PIN first")
        return self._shown(path)

    def _shown(self, path: str) -> Answer:
        if path == "/api/state":
            return good(self.desk.state())
        if path == "/api/look":
            return good(self.desk.look())
        if found := re.fullmatch(r"/picture/([0-9a-f]{1,16})", path):
            jpeg = self.desk.picture(found[1])
            return told(404, "gone", "this picture is gone") if jpeg is None else Answer(200, jpeg, "image/jpeg")
        return told(404, "unknown", "there is no such page")

    def _post(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        origin = headers.get("origin")
        if headers.get("content-type", "").partition(";")[0].strip() != "application/json" or (
            origin is not None and origin != f"https://{headers.get('host', '')}"
        ):
            return told(403, "foreign", "expected JSON from the set-up page itself")
        try:
            values = json.loads(body)
        except (ValueError, RecursionError):
            return told(400, "invalid", "expected JSON")
        if path == "/api/enter":
            return self._enter(EnterBody.model_validate(values))
        if not self._knows(headers):
            return told(401, "who", "expected the PIN first")
        call = self._calls.get(path)
        if call is None:
            return told(404, "unknown", "there is no such call")
        model, work = call
        self.door.stay()
        work(model.model_validate(values))
        return good({})

    @property
    def _calls(self) -> dict[str, tuple[type[Body], Callable[[Any], None]]]:
        desk = self.desk
        return {
            "/api/claim": (ClaimBody, lambda one: desk.start("claim", lambda: desk.claim(one.label))),
            "/api/find": (Nothing, lambda _: desk.start("find", desk.cameras)),
            "/api/streams": (
                StreamsBody,
                lambda one: desk.start("streams", lambda: desk.streams(one.host, one.port, one.user, one.password)),
            ),
            "/api/test": (
                CameraBody,
                lambda one: desk.start("test", lambda: desk.test_camera(one.camera(), one.user, one.password)),
            ),
            "/api/doctor": (Nothing, lambda _: desk.start("doctor", desk.doctor)),
            "/api/camera": (CameraBody, lambda one: desk.keep_camera(one.camera(), one.user, one.password)),
            "/api/drop": (OfBody, lambda one: desk.drop_camera(one.id)),
            "/api/watch": (WatchBody, lambda one: desk.watch(one.id, test=one.test)),
            "/api/focus": (Nothing, lambda _: desk.focus()),
            "/api/draw": (DrawBody, lambda one: desk.draw(one.id, one.drawing.model_dump())),
            "/api/finish": (Nothing, lambda _: self.door.finish()),
        }

    def _enter(self, body: EnterBody) -> Answer:
        session = self.gate.enter(body.pin.replace(" ", "").replace("-", ""))
        if session is None:
            wait_s = round(self.gate.wait_s)
            return told(429, "wait", str(wait_s)) if wait_s else told(403, "wrong", "this is not the PIN")
        kept = f"{COOKIE}={session}; Path=/; Max-Age={SESSION_S:.0f}; Secure; HttpOnly; SameSite=Strict"
        return Answer(200, b"{}", headers=(("Set-Cookie", kept),))

    def _knows(self, headers: Mapping[str, str]) -> bool:
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and self.gate.knows(cookie.value)


def good(values: Any) -> Answer:
    """A call that went well."""
    return Answer(200, json.dumps(values, ensure_ascii=False).encode())


def told(status: int, code: str, text: str) -> Answer:
    """One that did not."""
    return Answer(status, json.dumps({"code": code, "text": text}, ensure_ascii=False).encode())

"""Any service that takes an HTTP call: SMS gateways, voice calls, loudspeakers."""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal, Self
from urllib.parse import quote, urlsplit

from pydantic import AfterValidator, Field, model_validator

from collector.notices.channels.answers import at
from collector.notices.http import Answer, Line, by_status, call
from collector.notices.messages import ChannelBase, Message, Needs, Tools
from collector.notices.outcomes import Report, short
from collector.notices.secrets import SecretName
from collector.notices.texts import FIELDS
from protocol.documents import Section

_FIELD: Final = re.compile(r"\{([a-z_.]+)\}")
"""Templates of requests are full of braces, so that only known names in them are fields."""
OWN: Final = ("to", "subject", "body", "request", "kind", "audience", "language", "device")
MEDIA: Final = {
    "json": "application/json; charset=utf-8",
    "form": "application/x-www-form-urlencoded",
    "text": "text/plain; charset=utf-8",
}


def _url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("expected http://HOST/… or https://HOST/…")
    if parts.username is not None:
        raise ValueError("expected no user and password in it; use headers with {secret.NAME}")
    return url


class Condition(Section):
    """One place in an answer and the values that mean this."""

    path: str = Field(description="such as data.0.code; empty: the whole answer as text")
    equals: tuple[str, ...] = Field(min_length=1)

    def holds(self, found: Any, text: str) -> bool:
        """Whether an answer has one of the values there."""
        value = text.strip() if not self.path else at(found, self.path)
        if isinstance(value, bool):
            value = str(value).lower()
        return value is not None and str(value) in self.equals


class HttpChannel(ChannelBase):
    """A configurable call; fields in braces, and `{secret.NAME}` for secrets, may stand in url, headers and body."""

    type: Literal["http"]
    address: Literal["phone", "email", "none"] = Field(default="phone", description="what {to} is")
    url: Annotated[str, AfterValidator(_url)]
    method: Literal["GET", "POST", "PUT"] = "POST"
    headers: dict[str, str] = Field(default_factory=dict)
    format: Literal["json", "form", "text"] = Field(default="json", description="of the body; fields are escaped so")
    body: str = Field(default="", max_length=20_000)
    secrets: dict[str, SecretName] = Field(
        default_factory=dict, description="NAME = file:… or env:…, used as {secret.NAME}"
    )
    user: str = Field(default="", description="for basic authentication, with `password`")
    password: SecretName | None = None
    success: Condition | None = Field(default=None, description="what an accepted message looks like; unset: any 2xx")
    later: Condition | None = Field(default=None, description="what means: refused for now")
    id_path: str = Field(default="", description="where the answer names the message's id")
    text_path: str = Field(default="", description="where the answer says why")

    @model_validator(mode="after")
    def _known_fields(self) -> Self:
        for where, text in (("url", self.url), ("body", self.body), *self.headers.items()):
            for name in _FIELD.findall(text):
                prefix, _, secret = name.partition(".")
                good = secret in self.secrets if prefix == "secret" else name in (*OWN, *FIELDS)
                if not good:
                    raise ValueError(
                        f"{where}: unknown field {{{name}}}; there are {', '.join((*OWN, *FIELDS))} "
                        "and {secret.NAME} for each NAME in secrets"
                    )
        if self.format == "json" and self.body:
            try:
                json.loads(_FIELD.sub("0", self.body))
            except ValueError as fault:
                raise ValueError(f"body: expected JSON once fields are filled in, got: {fault}") from None
        return self

    def address_kind(self) -> Needs:
        """What it wants as an address."""
        return self.address

    def secret_names(self) -> Sequence[str]:
        """Names of its secrets."""
        return [*self.secrets.values(), *([] if self.password is None else [self.password])]

    def send(self, message: Message, tools: Tools) -> Report:
        """Make the call and read the answer by the conditions."""
        found = {**message.values, **_own(message)}
        found |= {f"secret.{name}": tools.secrets.get(where) for name, where in self.secrets.items()}
        headers = {name: _fill(text, found, "header") for name, text in self.headers.items()}
        body = _fill(self.body, found, self.format).encode() if self.method != "GET" else b""
        if body and "content-type" not in {name.lower() for name in headers}:
            headers["content-type"] = MEDIA[self.format]
        if self.password is not None:
            pair = base64.b64encode(f"{self.user}:{tools.secrets.get(self.password)}".encode()).decode()
            tools.secrets.hide(pair)
            headers["authorization"] = f"Basic {pair}"
        line = Line(self.timeout_s, tools.line.proxy, tools.line.ca)
        return self._read(call(line, self.method, _fill(self.url, found, "url"), headers, body))

    def _read(self, answer: Answer | Report) -> Report:
        if isinstance(answer, Report):
            return answer
        text = answer.body.decode("utf-8", "replace")
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        by_itself = by_status(answer)
        if self.later is not None and self.later.holds(found, text):
            return Report("later", f"http_{answer.status}", self._why(found, text), after_s=answer.after_s)
        return by_itself or self._judge(answer.status, found, text)

    def _judge(self, status: int, found: Any, text: str) -> Report:
        """Read the body of a 2xx."""
        if self.success is None or self.success.holds(found, text):
            return Report("accepted", self._code(found, text) or f"http_{status}", provider=self._id(found))
        if self.success.path and (found is None or at(found, self.success.path) is None):
            # neither the word that means success nor any other: what came is not the service's own answer
            return Report("unsure", "no_word", f"expected {self.success.path} in the answer, got {short(text[:120])}")
        return Report("refused", self._code(found, text), self._why(found, text))

    def _code(self, found: Any, text: str) -> str:
        if self.success is None:
            return ""
        if not self.success.path:
            return short(text)[:60]
        return short(at(found, self.success.path))[:60]

    def _id(self, found: Any) -> str:
        value = at(found, self.id_path) if self.id_path else None
        return "" if value is None else str(value)[:200]

    def _why(self, found: Any, text: str) -> str:
        value = at(found, self.text_path) if self.text_path else None
        return short(text if value is None else value)


class Loudspeaker(HttpChannel):
    """A loudspeaker in the street: the same call, its device found by the place."""

    needs: ClassVar[Needs] = "device"

    type: Literal["loudspeaker"]  # type: ignore[assignment]  # the union is told apart by it
    address: Literal["none"] = "none"
    devices: dict[str, str] = Field(
        min_length=1, description="BOX/CAMERA/ZONE, BOX/CAMERA, BOX or * = the id of its loudspeaker, used as {device}"
    )

    def address_kind(self) -> Needs:
        """The device is found by the place."""
        return "device"

    def device_at(self, place: str) -> str | None:
        """The loudspeaker of a place `box/camera/zone`, the nearest name first."""
        parts = place.split("/")
        names = ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]
        return next((self.devices[name] for name in [*names, "*"] if name in self.devices), None)


def _own(message: Message) -> dict[str, str]:
    return {
        "to": message.to,
        "subject": message.subject,
        "body": message.body,
        "request": message.request,
        "kind": message.kind,
        "audience": message.audience,
        "language": message.language,
        "device": message.device,
    }


def _fill(template: str, found: Mapping[str, str], form: str) -> str:
    def one(match: re.Match[str]) -> str:
        name = match[1]
        value = found[name]
        if form == "json":
            return json.dumps(value, ensure_ascii=False)[1:-1]
        if form in ("form", "url"):
            return quote(value, safe="")
        # a header is one line of latin-1
        return value if form == "text" else quote(value, safe=" !#$%&'*+-.^_`|~:/?=;,\"()[]{}<>@\\")

    return _FIELD.sub(one, template)

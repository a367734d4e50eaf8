"""Settings of notices: `[notices]` with its channels, routes and texts, and `[shop_pages]`."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from collector.notices.addresses import read_address
from collector.notices.channels import AnyChannel
from collector.notices.channels.robots import DingTalk, Feishu, WeCom
from collector.notices.texts import ANY, Language, TemplateError, Text, check, sms_parts
from protocol.documents import Section
from protocol.ids import Slug

Audience = Literal["shop", "community", "officer", "operator", "room"]


def _page_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"expected https://HOST or https://HOST/PATH, as telephones reach it, got {url!r}")
    return url.rstrip("/")


def _listen(listen: str) -> str:
    host, colon, port = listen.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"expected HOST:PORT such as 0.0.0.0:8090, got {listen!r}")
    return listen


def _proxy(proxy: str) -> str:
    host, _, port = proxy.rpartition(":")
    if not host or "/" in proxy or "@" in proxy or not port.isdecimal():
        raise ValueError("expected HOST:PORT of an HTTP proxy that asks for no password")
    return proxy


class RouteSection(Section):
    """Who is told over what."""

    audience: Audience
    kinds: tuple[str, ...] = Field(
        default=(ANY,), min_length=1, description="such as shop_notice, task, overdue; * is all"
    )
    streets: tuple[str, ...] = Field(default=(ANY,), min_length=1)
    channels: tuple[Slug, ...] = Field(min_length=1, description="ids, in the order in which they are tried")
    to: tuple[Annotated[str, AfterValidator(read_address)], ...] = Field(
        default=(),
        description="telephone numbers and mail addresses: all of them are told, where the order names nobody who has "
        "one; never for shops",
    )

    def fits(self, audience: str, kind: str, street: str) -> int:
        """How closely it fits: 0 not at all; a named street counts more than a named kind."""
        if self.audience != audience:
            return 0
        kinds, streets = set(self.kinds), set(self.streets)
        if not ({kind, ANY} & kinds and {street, ANY} & streets):
            return 0
        return 1 + (kind in kinds) + 2 * (street in streets)


class TextSection(Section):
    """A text of the center's own."""

    audience: Audience | Literal["*"] = ANY
    kind: str = ANY
    language: Language = "zh"
    subject: str = Field(default="{center}", max_length=200)
    body: str = Field(min_length=1, max_length=2000)

    @model_validator(mode="after")
    def _sound(self) -> Self:
        try:
            check(self.audience, Text(self.subject, self.body))
        except TemplateError as fault:
            raise ValueError(f"text {self.audience}/{self.kind}/{self.language}: {fault}") from None
        return self


class NoticesSection(Section):
    """How people are told."""

    channel: tuple[AnyChannel, ...] = ()
    route: tuple[RouteSection, ...] = ()
    text: tuple[TextSection, ...] = ()
    contact: str = Field(default="", max_length=60, description="whom a shop may call to object, such as 0571-88888888")
    shop_per_day: int = Field(default=6, ge=1, le=50, description="messages to one shop, whatever its policy says")
    language: Language = Field(default="zh", description="for all but shops, which have their own")
    proxy: Annotated[str, AfterValidator(_proxy)] | None = Field(default=None, description="HOST:PORT for HTTP calls")
    ca: Path | None = Field(
        default=None, description="certificates that HTTP calls and mail trust; unset: the system's"
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        twice = [one for one, count in Counter(one.id for one in self.channel).items() if count > 1]
        if twice:
            raise ValueError(f"channel {twice[0]}: expected ids that differ, got this one twice")
        by_id = {one.id: one for one in self.channel}
        for route in self.route:
            for name in route.channels:
                if name not in by_id:
                    raise ValueError(
                        f"route {route.audience}: expected a channel that there is ({', '.join(by_id) or 'none yet'}), "
                        f"got {name!r}"
                    )
                if route.audience == "shop" and isinstance(by_id[name], DingTalk | WeCom | Feishu):
                    raise ValueError(f"route shop: {name} writes to a group, not to a shop; use SMS, voice or mail")
        return self

    def texts(self) -> dict[tuple[str, str, str], Text]:
        """The center's own texts by audience, kind and language."""
        return {(one.audience, one.kind, one.language): Text(one.subject, one.body) for one in self.text}

    def untold(self) -> tuple[list[str], list[str]]:
        """Audiences that have no route, and those that have none for some kinds or streets."""
        routed = {one.audience for one in self.route}
        names = get_args(Audience)
        partly = [name for name in names if name in routed and self.chain(name, "", "") is None]
        return [name for name in names if name not in routed], partly

    def chain(self, audience: str, kind: str, street: str) -> RouteSection | None:
        """The route that fits best; of several alike the first."""
        best = max(self.route, key=lambda one: one.fits(audience, kind, street), default=None)
        return best if best is not None and best.fits(audience, kind, street) else None


class ShopPagesSection(Section):
    """The listener with the shops' own pages; it serves nothing else."""

    listen: Annotated[str, AfterValidator(_listen)] | None = Field(
        default=None, description="HOST:PORT; unset: shops have no pages"
    )
    url: Annotated[str, AfterValidator(_page_url)] | None = Field(
        default=None, description="https://HOST of the same, as telephones reach it; short, it stands in SMS"
    )
    cert: Path | None = Field(default=None, description="unset: something in front of it does TLS")
    key: Path | None = None
    behind_proxy: bool = Field(default=False, description="take the visitor's address from the last X-Forwarded-For")
    link_hours: float = Field(default=72, gt=0, le=24 * 90, description="that a link is good for")
    imprint: str = Field(default="", max_length=200, description="who runs this, at the foot of the page")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.listen is None) != (self.url is None):
            raise ValueError("expected listen and url, or neither")
        if (self.cert is None) != (self.key is None):
            raise ValueError("cert, key: expected both or neither")
        return self

    def link(self, token: str) -> str:
        """The address of a shop's page."""
        return f"{self.url}/s/{token}"


def objectable(notices: NoticesSection, pages: ShopPagesSection) -> str | None:
    """Why a notice to a shop could not say how to object; None where it can."""
    if any(one.audience == "shop" for one in notices.route) and pages.url is None and not notices.contact:
        return "expected [shop_pages] with url, or [notices] contact: a notice to a shop always says how to object"
    return None


def length_of(body: str, sign: str = "") -> tuple[int, int]:
    """Characters and parts of a text as SMS, with its 【sign】."""
    return sms_parts(f"【{sign}】{body}" if sign else body)

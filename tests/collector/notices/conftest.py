"""Channels with a local service, and a sender that works step by step."""

import datetime as dt
import ipaddress
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import TypeAdapter
from sqlalchemy import select

from collector.boxes.authority import private_pem
from collector.notices import seams
from collector.notices.channels import AnyChannel
from collector.notices.http import Line
from collector.notices.messages import Message, Tools
from collector.notices.orders import NoticeOrder, order, told
from collector.notices.seams import Recipient
from collector.notices.secrets import Secrets
from collector.notices.sender import Sender
from collector.notices.settings import NoticesSection, ShopPagesSection
from collector.notices.texts import FIELDS
from collector.store import NoticeAttempt, NoticeRow, PolicyRow
from collector.tickets.policy import DEFAULT, Policy, Quiet
from tests.collector.notices.servers import Say, Service
from tests.incidents import START_S, Case

ZONE = ZoneInfo("Asia/Shanghai")
SHOP = Recipient("王记水果店", "138 0000-1234", "wang@example.org", "zh")
PAGES = ShopPagesSection(listen="127.0.0.1:8090", url="https://t.example.cn")


@pytest.fixture
def service():
    with Service() as service:
        yield service


@pytest.fixture
def tools(tmp_path):
    for name, value in (("key", "LTAI-key-value"), ("secret", "s3cret-value"), ("other", "0ther-value")):
        (tmp_path / name).write_text(f"{value}\n")
    return Tools(Secrets(tmp_path), Line(1.0), lambda: START_S, tmp_path, random.Random(1))


def channel(kind, **settings):
    return TypeAdapter(AnyChannel).validate_python({"id": kind.replace("_", "-"), "type": kind, **settings})


def message(to="13800001234", **changes):
    values = {name: f"<{name}>" for name in NAMES} | {"token": "tok", "link": "https://t.example.cn/s/tok"}
    told = {"audience": "shop", "kind": "shop_notice", "language": "zh", "subject": "提醒", "body": '请"整改"\n门前'}
    values |= {"minutes": "5", "shop": "王记"}
    return Message(**{"request": "0123456789abcdef" * 2, "to": to, "values": values, **told, **changes})


NAMES = tuple(FIELDS)


@dataclass
class Office:
    """A store with one ticket of `shop-1`, channels, and a sender whose clock is ours."""

    desk: Any
    folder: Path
    notices: NoticesSection
    now_s: float = START_S + 100
    looked: list[int] = field(default_factory=list)
    pages: ShopPagesSection = PAGES
    tick_s: float = 0.0

    def sender(self, **more):
        tools = Tools(Secrets(self.folder), Line(1.0), lambda: self.now_s, self.folder, random.Random(1))
        parts = (self.desk.store, self.notices, self.pages, tools, "小河街道", ZONE)
        chance, now = random.Random(1), lambda: self.now_s
        return Sender(*parts, now=now, random=chance, monotonic=now, **more)

    @property
    def now_ms(self):
        return round(self.now_s * 1000)

    def order(self, key="1/shop_notice", *, limits=None, **changes):
        given = {"ticket": 1, "kind": "shop_notice", "audience": "shop", "to": "shop-1", "street": "s", "due_ms": None}
        given |= {"level": "normal", "not_before_ms": self.now_ms, "minutes": 5, **changes}
        return self.desk.write(order, NoticeOrder(key=key, **given), now_ms=self.now_ms, limits=limits)

    def told(self, ticket=1):
        return self.desk.read(told, ticket)

    def notice(self, key="1/shop_notice"):
        return self.desk.one(select(NoticeRow).where(NoticeRow.key == key))

    def attempts(self):
        return self.desk.rows(select(NoticeAttempt).order_by(NoticeAttempt.number))


@pytest.fixture
def shops(monkeypatch):
    """The register of shops; `shop-1` is in it."""
    known = {"shop-1": SHOP}
    monkeypatch.setattr(seams, "shop", lambda _session, shop: known.get(shop))
    monkeypatch.setattr(seams, "doubt", lambda _session, _ticket: None)
    return known


@pytest.fixture
def looks(monkeypatch):
    """Tickets that the desk was asked to look at."""
    looked: list[int] = []
    monkeypatch.setattr(seams, "look", lambda _session, ticket: looked.append(ticket))
    return looked


def awake(store):
    """No quiet hours: the tests' time is before dawn."""
    with store.writing() as session:
        document = Policy(quiet=Quiet(hours=())).model_dump_json()
        session.add(PolicyRow(street=DEFAULT, revision=1, document=document, author="tests", made_ms=0, reason=""))


def sms(service, name="sms", **more):
    """Settings of a gateway that answers `{"code": 0, "id": …}`."""
    body = '{"to": "{to}", "text": "{body}", "request": "{request}"}'
    says = {"success": {"path": "code", "equals": ["0"]}, "later": {"path": "code", "equals": ["7"]}}
    return {
        "id": name,
        "type": "http",
        "url": f"{service.url}/{name}",
        "body": body,
        "retry_s": 10,
        "timeout_s": 1,
        "text_path": "why",
        **says,
        **more,
    }


@pytest.fixture
def office(desk, tmp_path, service, shops, looks):
    """One SMS channel for shops."""
    return opened(desk, tmp_path, service, looked=looks)


def opened(desk, folder, service, **more):
    """With a ticket of `shop-1`, at no quiet hour."""
    service.say(Say({"code": 0}))
    desk.take(Case(shop="shop-1").opened())
    awake(desk.store)
    return Office(desk, folder, section(sms(service)), **more)


def section(*channels, routes=None, **more):
    ids = [one["id"] for one in channels]
    return NoticesSection.model_validate(
        {"channel": list(channels), "route": routes or [{"audience": "shop", "channels": ids}], **more}
    )


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A self-signed certificate of 127.0.0.1 with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    built = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    built = built.serial_number(1).not_valid_before(now - dt.timedelta(1)).not_valid_after(now + dt.timedelta(1))
    built = built.add_extension(names, critical=False)
    built = built.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    path = tmp_path_factory.mktemp("tls") / "pair.pem"
    path.write_bytes(private_pem(key) + built.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    return path

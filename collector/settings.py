"""Settings of the center: `center.toml`."""

import ipaddress
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from collector.evidence.settings import EvidenceSection
from collector.exchange.settings import ExchangeSection, StreetPageSection
from collector.indicators.settings import ReportsSection
from collector.law.settings import LawSection
from collector.notices.settings import NoticesSection, ShopPagesSection, objectable
from collector.people.actor import Grant
from collector.places.settings import MapSection
from protocol.broker import BrokerLine
from protocol.documents import Section, SettingsError, TimeZoneName
from protocol.enrolment import read_url
from protocol.ids import Slug


def _address(listen: str) -> str:
    _, colon, port = listen.rpartition(":")
    if not colon or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"expected HOST:PORT such as 127.0.0.1:8080, got {listen!r}")
    return listen


def _mqtts(url: str) -> str:
    line = BrokerLine(url=url, ca=Path("ca.crt"))
    if not line.url.startswith("mqtts:"):
        raise ValueError(f"expected mqtts://HOST[:PORT], got {url!r}: a box's certificate is of no use without TLS")
    return url


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _networks(given: tuple[str, ...]) -> tuple[str, ...]:
    for one in given:
        try:
            ipaddress.ip_network(one)
        except ValueError:
            raise ValueError(f"expected addresses or networks such as 127.0.0.1 or 10.0.0.0/24, got {one!r}") from None
    return given


def _issuer(url: str) -> str:
    parts = urlsplit(url)
    plain = parts.scheme == "http" and is_loopback(parts.hostname or "")
    if not (parts.scheme == "https" or plain) or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ValueError(f"expected https://HOST[/PATH] as the server calls itself, got {url!r}")
    return url


def _roles(given: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    for grants in given.values():
        for one in grants:
            Grant.read(one)
    return given


POSTGRESQL: Final = "postgresql+psycopg"


def _known_database(url: str) -> str:
    scheme = url.partition("://")[0]
    if not url.startswith(("sqlite:///", f"{POSTGRESQL}://")):
        raise ValueError(f"expected sqlite:///PATH or {POSTGRESQL}://USER@HOST/DATABASE, got {scheme}://…")
    try:
        password = make_url(url).password
    except (ArgumentError, ValueError):
        raise ValueError(f"expected {POSTGRESQL}://USER@HOST:PORT/DATABASE, got {scheme}://… with a mistake") from None
    if password is not None:
        raise ValueError("expected no password in it; put it alone into a file and name that in database_password_file")
    return url


class CenterSection(Section):
    """The center itself."""

    id: Slug
    name: str = Field(default="CityEye", max_length=100, description="shown on the pages")
    region: str = Field(
        default="", max_length=12, pattern=r"^\d*$", description="region code of the street, for tickets"
    )
    timezone: TimeZoneName = "Asia/Shanghai"
    data_dir: Path = Path("data")
    database_url: Annotated[str, AfterValidator(_known_database)] | None = Field(
        default=None, description="sqlite:///PATH or postgresql+psycopg://USER@HOST/DATABASE; unset: SQLite in data_dir"
    )
    database_password_file: Path | None = Field(
        default=None, description="a file with the password alone; unset: what libpq finds (peer, PGPASSFILE)"
    )
    listen: Annotated[str, AfterValidator(_address)] = "127.0.0.1:8080"
    instance: Slug | None = Field(
        default=None, description="this collector among several of one center; unset: the name of the machine"
    )
    late_after_s: float = Field(
        default=600, gt=0, description="an incident that arrives longer after it was decided counts as late"
    )
    typeface: Path | None = Field(
        default=None, description="TrueType file with Chinese for PDF papers; unset: one of Debian's, else named only"
    )
    banner: str = Field(default="", max_length=300, description="a line shown at the top of every page")


class BrokerSection(BrokerLine):
    """Where the MQTT v5 broker is."""

    shared: bool = Field(
        default=False, description="several collectors share the messages of one broker; needs PostgreSQL"
    )


class EnrolmentSection(Section):
    """The center's CA and how boxes come to it."""

    ca: Path = Field(default=Path("ca"), description="folder of the CA, made by `init`; closed to all but one user")
    broker_files: Path = Field(default=Path("broker"), description="folder with what mosquitto reads")
    broker_reload: tuple[str, ...] = Field(
        default=(),
        description="command that makes the broker read its CRL and ACL again; empty: something watches the files",
    )
    listen: Annotated[str, AfterValidator(_address)] | None = Field(
        default=None, description="HOST:PORT that boxes enrol at, over HTTPS; unset: they cannot"
    )
    url: Annotated[str, AfterValidator(read_url)] | None = Field(
        default=None, description="https://HOST:PORT of the same, as boxes reach it; stands on labels"
    )
    broker_url: Annotated[str, AfterValidator(_mqtts)] | None = Field(
        default=None, description="mqtts://HOST:PORT of the broker, as boxes reach it"
    )
    claim_days: float = Field(default=30, gt=0, le=365, description="that a claim code is good for")
    certificate_days: float = Field(default=365, ge=1, le=3650, description="that a box's certificate is good for")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.listen is not None and (self.url is None or self.broker_url is None):
            raise ValueError("expected url and broker_url beside listen: boxes must be told where to go")
        return self


class PagesSection(Section):
    """How pages are reached from other machines."""

    url: Annotated[str, AfterValidator(read_url)] | None = Field(
        default=None, description="https://HOST[:PORT] that people use; unset: from this machine alone"
    )
    certificate: Path | None = Field(default=None, description="PEM of the certificate and its chain")
    key: Path | None = Field(default=None, description="PEM of its key")
    proxies: Annotated[tuple[str, ...], AfterValidator(_networks)] = Field(
        default=(), description="proxies that do TLS in front; their X-Forwarded-For and -Proto are believed"
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("expected certificate and key, both or none")
        secure = self.certificate is not None or bool(self.proxies)
        if secure and self.url is None:
            raise ValueError('expected url = "https://HOST" with them: the name that people use')
        if self.url is not None and not secure:
            raise ValueError("url: expected certificate and key with it, or proxies that do TLS in front")
        return self


class PeopleSection(Section):
    """Signing in."""

    idle_min: float = Field(default=60, ge=1, le=1440, description="a session ends after this long without a request")
    absolute_h: float = Field(default=12, ge=0.25, le=168, description="a session ends after this long in any case")
    screen_days: float = Field(default=90, ge=1, le=400, description="that a display on a wall stays signed in")
    second_factor: Literal["admins", "all", "optional"] = Field(
        default="admins", description="who has to have a second factor; `optional`: nobody has to"
    )


class SsoSection(Section):
    """Signing in at another server, by OpenID Connect."""

    issuer: Annotated[str, AfterValidator(_issuer)]
    client_id: str = Field(min_length=1)
    client_secret_file: Path | None = Field(default=None, description="a file with the secret alone; unset: PKCE only")
    ca: Path | None = Field(default=None, description="PEM of a CA of one's own for that server")
    name: str = Field(default="统一认证 Single sign-on", max_length=60, description="on the button")
    scopes: tuple[str, ...] = ("openid", "profile")
    person_claim: str = Field(default="preferred_username", description="the claim that gives the sign-in name")
    name_claim: str = Field(default="name", description="the claim that gives the name that is shown")
    roles_claim: str = Field(default="", description="the claim that gives roles, dots go deeper; empty: none does")
    roles: Annotated[dict[str, tuple[str, ...]], AfterValidator(_roles)] = Field(
        default={}, description='value of that claim → roles here, as "operator@street"'
    )
    create: bool = Field(default=False, description="take up who comes with a role and is not known here")
    acr: str = Field(default="", description="how people must have signed in there (acr); empty: any way")


class CenterSettings(Section):
    """The whole of `center.toml`."""

    version: Literal[1]
    center: CenterSection
    broker: BrokerSection
    enrolment: EnrolmentSection = EnrolmentSection()
    notices: NoticesSection = NoticesSection()
    shop_pages: ShopPagesSection = ShopPagesSection()
    pages: PagesSection = PagesSection()
    people: PeopleSection = PeopleSection()
    reports: ReportsSection = ReportsSection()
    law: LawSection = LawSection()
    sso: SsoSection | None = None
    evidence: EvidenceSection = EvidenceSection()
    exchange: ExchangeSection = ExchangeSection()
    street_page: StreetPageSection = StreetPageSection()
    map: MapSection = MapSection()

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.pages.url is None and not is_loopback(host_and_port(self.center.listen)[0]):
            raise ValueError(
                "center.listen: expected a loopback address such as 127.0.0.1:8080, or [pages] url with a certificate "
                f"or a proxy, got {self.center.listen!r}; see docs/guide/people.md"
            )
        url = self.center.database_url
        if self.broker.shared and (url is None or not url.startswith(POSTGRESQL)):
            raise ValueError(
                f'broker.shared: expected database_url = "{POSTGRESQL}://…" with it; SQLite has one writer'
            )
        fault = objectable(self.notices, self.shop_pages)
        if fault is not None:
            raise ValueError(fault)
        return self


@dataclass(frozen=True)
class CenterConfig:
    """Settings together with the folder that their paths are relative to."""

    settings: CenterSettings
    folder: Path

    def path(self, relative: Path) -> Path:
        """Resolve a path of the settings file."""
        return (self.folder / relative).resolve()

    @property
    def data_dir(self) -> Path:
        """Folder that the collector writes to."""
        return self.path(self.settings.center.data_dir)

    @property
    def client_id(self) -> str:
        """For the broker: the same after a restart, another one for each of several collectors."""
        client = f"cityeye-center-{self.settings.center.id}"
        if not self.settings.broker.shared:
            return client
        return f"{client}-{self.settings.center.instance or socket.gethostname().lower()}"

    @property
    def database_url(self) -> URL:
        """SQLAlchemy's URL of the database, with its password; raises SettingsError where that cannot be read."""
        text = self.settings.center.database_url
        if text is None:
            return URL.create("sqlite", database=str(self.data_dir / "center.db"))
        url = make_url(text)
        if url.drivername == "sqlite":
            return url.set(database=str(self.path(Path(url.database or ""))))
        password_file = self.settings.center.database_password_file
        if password_file is None:
            return url
        try:
            return url.set(password=self.path(password_file).read_text("utf-8").strip())
        except (OSError, UnicodeDecodeError) as fault:
            raise SettingsError(
                f"{password_file}: expected a file with the database's password, got: {fault}; "
                "check [center] database_password_file"
            ) from None

    @property
    def typeface(self) -> Path | None:
        """File of the typeface of PDF papers."""
        chosen = self.settings.center.typeface
        return None if chosen is None else self.path(chosen)

    @property
    def streets(self) -> Path | None:
        """File with the streets that the map draws."""
        chosen = self.settings.map.streets
        return None if chosen is None else self.path(chosen)

    @property
    def listen(self) -> tuple[str, int]:
        """Host and port of the pages."""
        return host_and_port(self.settings.center.listen)


def host_and_port(listen: str) -> tuple[str, int]:
    """Take HOST:PORT apart."""
    host, _, port = listen.rpartition(":")
    return host.strip("[]"), int(port)


def load_settings(path: Path) -> CenterConfig:
    """Read `center.toml`; raises SettingsError with one line that says what to do."""
    return CenterConfig(CenterSettings.load(path), path.resolve().parent)

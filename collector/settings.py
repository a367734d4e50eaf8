"""Settings of the center: `center.toml`."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from protocol.broker import BrokerLine
from protocol.documents import Section, SettingsError, TimeZoneName
from protocol.ids import Slug


def _loopback(listen: str) -> str:
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"expected HOST:PORT such as 127.0.0.1:8080, got {listen!r}")
    name = host.strip("[]")
    try:
        good = name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        good = False
    if not good:
        raise ValueError(
            f"expected a loopback address such as 127.0.0.1:8080 until pages ask who you are, got {listen!r}"
        )
    return listen


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
    listen: Annotated[str, AfterValidator(_loopback)] = "127.0.0.1:8080"
    banner: str = Field(default="", max_length=300, description="a line shown at the top of every page")


class BrokerSection(BrokerLine):
    """Where the MQTT v5 broker is."""


class CenterSettings(Section):
    """The whole of `center.toml`."""

    version: Literal[1]
    center: CenterSection
    broker: BrokerSection


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
    def listen(self) -> tuple[str, int]:
        """Host and port of the pages."""
        host, _, port = self.settings.center.listen.rpartition(":")
        return host.strip("[]"), int(port)


def load_settings(path: Path) -> CenterConfig:
    """Read `center.toml`; raises SettingsError with one line that says what to do."""
    return CenterConfig(CenterSettings.load(path), path.resolve().parent)

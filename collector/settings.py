"""Settings of the center: `center.toml`."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from protocol.broker import BrokerLine
from protocol.documents import Section, TimeZoneName
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


def _known_database(url: str) -> str:
    if not url.startswith("sqlite:///"):
        scheme = url.partition("://")[0]
        raise ValueError(f"expected sqlite:///PATH (other databases are not supported yet), got {scheme}://…")
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
        default=None, description="unset: SQLite in data_dir"
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
    def database_url(self) -> str:
        """SQLAlchemy's URL of the database."""
        url = self.settings.center.database_url
        if url is None:
            return f"sqlite:///{self.data_dir / 'center.db'}"
        return f"sqlite:///{self.path(Path(url.removeprefix('sqlite:///')))}"

    @property
    def listen(self) -> tuple[str, int]:
        """Host and port of the pages."""
        host, _, port = self.settings.center.listen.rpartition(":")
        return host.strip("[]"), int(port)


def load_settings(path: Path) -> CenterConfig:
    """Read `center.toml`; raises SettingsError with one line that says what to do."""
    return CenterConfig(CenterSettings.load(path), path.resolve().parent)

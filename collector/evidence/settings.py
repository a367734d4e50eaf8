"""`[evidence]` of `center.toml`: how long pictures are kept, and where."""

from pathlib import Path
from typing import Annotated, Final, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from collector.notices.secrets import SecretName
from protocol.documents import Section

LEAST_DAYS: Final = 30
"""公共安全视频图像信息系统管理条例, article 17."""
LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


def _bucket(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.netloc or parts.username or parts.query or parts.fragment:
        raise ValueError(f"expected s3://BUCKET[/PREFIX], got {url!r:.100}")
    return url


def _endpoint(url: str) -> str:
    parts = urlsplit(url)
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)):
        raise ValueError(f"expected https://HOST[:PORT] (http on loopback only), got {url!r:.100}")
    return url


class EvidenceSection(Section):
    """Pictures that prove something."""

    keep_days: int = Field(
        default=90, ge=LEAST_DAYS, le=36500, description="that pictures are kept after they came and their ticket ended"
    )
    false_alarm_days: int = Field(
        default=7, ge=1, le=36500, description="that those of a false alarm are kept after a person said so"
    )
    backups: tuple[Path, ...] = Field(
        default=(), description="folders in which copies lie: what is deleted here is deleted there"
    )
    store: Annotated[str, AfterValidator(_bucket)] | None = Field(
        default=None, description="s3://BUCKET[/PREFIX] for pictures; unset: data_dir"
    )
    endpoint: Annotated[str, AfterValidator(_endpoint)] | None = Field(
        default=None, description="of the object storage; unset: Amazon's"
    )
    region: str = "us-east-1"
    key_id: SecretName | None = None
    key_secret: SecretName | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.store is not None and (self.key_id is None or self.key_secret is None):
            raise ValueError("expected key_id and key_secret with store: names of secrets, file:PATH or env:NAME")
        return self

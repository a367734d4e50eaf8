"""What a channel is handed, and what it works with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random, SystemRandom
from typing import ClassVar, Literal

from pydantic import Field

from collector.notices.http import Line
from collector.notices.outcomes import Outcome, Report
from collector.notices.secrets import Secrets
from protocol.documents import Section
from protocol.ids import Slug

Needs = Literal["phone", "email", "device", "none"]


@dataclass(frozen=True)
class Message:
    """One notice on its way over one channel.

    Args:
        request: id of this try, new for each; channels that can pass it on do.
        to: the address that the channel `needs`; empty for `none`.
        values: all fields of the notice.
        device: `box/camera/zone`, for loudspeakers.
    """

    request: str
    audience: str
    kind: str
    language: str
    to: str
    subject: str
    body: str
    values: Mapping[str, str]
    device: str = ""


@dataclass(frozen=True)
class Asked:
    """A message whose delivery report is asked for."""

    provider: str
    to: str
    sent_ms: int


@dataclass(frozen=True)
class Tools:
    """What channels work with.

    Args:
        line: how requests go out.
        now: seconds since the epoch.
        folder: that the paths of the settings are relative to.
    """

    secrets: Secrets
    line: Line
    now: Callable[[], float]
    folder: Path
    random: Random = field(default_factory=SystemRandom)


class ChannelBase(Section):
    """What all channels have; each has a `type` of its own and says how it sends."""

    needs: ClassVar[Needs] = "none"
    """Which address of the recipient it wants."""
    reports: ClassVar[bool] = False
    """Whether it can be asked for delivery reports."""
    digest: ClassVar[tuple[int, int] | None] = None
    """Where several notices may go as one message: how many at most, and in how many bytes."""
    own_texts: ClassVar[bool] = False
    """Whether the text lies with the provider, and only its variables are sent."""

    id: Slug
    per_minute: int | None = Field(default=None, ge=1, description="messages; more wait, or go as a digest")
    tries: int = Field(default=4, ge=1, le=20, description="where it is refused for now, or cannot be reached")
    retry_s: float = Field(default=10, gt=0, description="before the second try; doubles, each up to 30 % longer")
    when_unsure: Literal["person", "next"] = Field(
        default="person",
        description="where nobody knows whether it went out: a person decides, or the next channel is tried, "
        "at the risk that somebody is told twice",
    )
    told: Literal["accepted", "delivered"] | None = Field(
        default=None,
        description="what counts as told; unset: delivered where the channel has delivery reports, else accepted",
    )
    report_s: float = Field(default=300, gt=0, description="wait for a delivery report; then it is unsure")
    timeout_s: float = Field(default=10, gt=0, le=60, description="for one request, from its beginning to its end")

    def send(self, message: Message, tools: Tools) -> Report:
        """Send it once; raises SecretError, and nothing else for what a network or a server may do."""
        raise NotImplementedError

    def shown(self, message: Message) -> str:
        """What it sends, for the record."""
        return message.body

    def report(self, asked: Asked, tools: Tools) -> Report | None:
        """Ask for a delivery report: `delivered`, `undelivered`, or None where there is none yet."""
        raise NotImplementedError

    def secret_names(self) -> Sequence[str]:
        """Names of its secrets, for `check`."""
        found = [getattr(self, name) for name in type(self).model_fields]
        return [value for value in found if isinstance(value, str) and value.startswith(("file:", "env:"))]

    @property
    def digests(self) -> bool:
        """Whether several notices may go as one message."""
        return self.digest is not None

    def address_kind(self) -> Needs:
        """Which address of the recipient it wants."""
        return self.needs

    @property
    def told_by(self) -> Outcome:
        """The outcome after which its recipient counts as told."""
        return self.told or ("delivered" if self.reports else "accepted")

"""Systems that a center rolls out: what a box is told (`system/desired`), and what it says (`system/reported`).

A bundle goes over HTTPS, in parts. A box's updater alone says whether its signature is good: a center hands on what the
maker of its boxes has made, and nothing else.
"""

from typing import Annotated, Final

from pydantic import Field, StringConstraints

from protocol.commands import PlainText
from protocol.ids import Sha256
from protocol.messages import Event, Value

PATH: Final = "/systems/"
Version = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+~-]{0,63}$")]


class Bundle(Value):
    """A signed system."""

    version: Version
    compatible: Version
    sha256: Sha256
    size: int = Field(gt=0, le=4 << 30)


class SystemDesired(Value):
    """What the center wants of a box's system; without a bundle: the roll-out is over for it."""

    rollout: int = Field(ge=1, lt=2**53)
    bundle: Bundle | None = None


class SystemDesiredEvent(Event[SystemDesired]):
    """`cityeye.system.desired`."""


class SystemReported(Value):
    """What a box says: the system that runs, and what became of a roll-out.

    States are none, fetching, installing, trial, and when it is settled taken, refused, rolled_back, kept.
    """

    version: PlainText
    slot: PlainText
    compatible: PlainText
    trial: bool = Field(description="whether it may still be taken back")
    rollout: int | None = Field(default=None, ge=1, lt=2**53)
    state: str = Field(pattern=r"^[a-z_]{1,32}$")
    text: PlainText = ""


class SystemReportedEvent(Event[SystemReported]):
    """`cityeye.system.reported`."""

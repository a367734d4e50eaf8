"""Settings of a box as the center wants them, and as the box has them: `settings/desired`, `settings/reported`.

Both are retained. The center counts revisions; the box applies one that is newer than what it has, tries it for two
minutes, and says what became of it. What is edited on the box is reported with the revision that it is based on, until
the center names its digest in `answers`: it has become the next revision, or a conflict that a person looks at.
"""

from typing import Any, Final

from pydantic import Field

from protocol.commands import PlainText
from protocol.ids import Sha256
from protocol.messages import Event, Value

SETTINGS_DESIRED: Final = "cityeye.settings.desired"
SETTINGS_REPORTED: Final = "cityeye.settings.reported"
MAX_SETTINGS_BYTES: Final = 128 * 1024
MAX_REPORT_BYTES: Final = 192 * 1024
"""A report may hold a document, an edit on the box, and what was wrong with another."""
MAX_ERRORS: Final = 50


class Desired(Value):
    """What the center wants."""

    revision: int = Field(ge=1, le=2**53)
    document: dict[str, Any] = Field(description="cameras, zones and rules: the tables [[camera]] of box.toml")
    answers: Sha256 | None = Field(default=None, description="digest of the box's last edit that the center has taken")


class DesiredEvent(Event[Desired]):
    """`cityeye.settings.desired`."""


class Edit(Value):
    """An edit on the box that the center has not answered yet; the first one is what the box was set up with."""

    based_on: int = Field(ge=0, le=2**53, description="revision that was edited; 0: none")
    digest: Sha256
    document: dict[str, Any]


class Reported(Value):
    """What the box has."""

    revision: int = Field(ge=0, le=2**53, description="in force; 0: what the box was set up with")
    digest: Sha256 = Field(description="SHA-256 of the document in force")
    state: str = Field(pattern=r"^[a-z_]{1,32}$", description="applied, pending, rejected or rolled_back")
    wanted: int | None = Field(default=None, description="the revision that `state` and `errors` are about")
    errors: tuple[PlainText, ...] = Field(default=(), max_length=MAX_ERRORS)
    edit: Edit | None = None


class ReportedEvent(Event[Reported]):
    """`cityeye.settings.reported`."""

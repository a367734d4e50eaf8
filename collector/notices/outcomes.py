"""What became of one try to send, said as it was."""

from dataclasses import dataclass
from typing import Final, Literal

Outcome = Literal["accepted", "delivered", "refused", "later", "unsure", "unreachable", "undelivered"]
"""`accepted` by whoever carries it on; `delivered` to the telephone; `refused` for good; `later`: refused for now;
`unsure`: the request went out and nobody knows what became of it; `unreachable`: it never went out; `undelivered`:
accepted, and the report says that it never came."""

REACHED: Final = ("accepted", "delivered", "unsure", "sending")
"""Outcomes after which somebody may have read it; `sending` is a try that has not ended."""

MAX_TEXT: Final = 300


@dataclass(frozen=True)
class Report:
    """The outcome of one try.

    Args:
        code: of whoever answered, or ours where nobody did.
        text: one line for a person; without secrets and without the recipient's address.
        provider: the carrier's own id of the message, with which it can be asked for a delivery report.
        after_s: not to be tried again before, where the answer said so.
    """

    outcome: Outcome
    code: str = ""
    text: str = ""
    provider: str = ""
    after_s: float = 0.0


def short(text: object) -> str:
    """One line of somebody else's words."""
    line = " ".join(str(text).split())
    return line if len(line) <= MAX_TEXT else f"{line[: MAX_TEXT - 1]}…"

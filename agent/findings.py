"""What an examination says, a line each."""

from dataclasses import dataclass
from typing import Literal

FindingState = Literal["ok", "warn", "FAIL"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Args:
        name: of what.
        state: `warn`: it works, and may not for long, or not well.
        says: what was found.
        todo: what a person does about it; empty where that is said already, or nothing is to be done.
        code: which kind it is, for programs; of a camera's faults the one that `probe` gives.
    """

    name: str
    state: FindingState
    says: str
    todo: str = ""
    code: str = ""

    def line(self) -> str:
        """As it is printed."""
        return f"{self.state:5} {self.name}: {self.says}" + (f" → {self.todo}" if self.todo else "")

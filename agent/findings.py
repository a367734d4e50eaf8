"""What an examination says, a line each."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from protocol.examinations import Chinese
from protocol.examinations import chinese as in_chinese

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

    @property
    def chinese(self) -> Chinese:
        """The same in Chinese."""
        return in_chinese(self.name, self.says, self.todo, self.code)

    def line(self, *, chinese: bool = False) -> str:
        """As it is printed."""
        if chinese:
            name, says, todo, more = self.chinese
            says += f"（{more}）" if more else ""
        else:
            name, says, todo = self.name, self.says, self.todo
        return f"{self.state:5} {name}: {says}" + (f" → {todo}" if todo else "")

    def values(self) -> dict[str, Any]:
        """As JSON, for a page in both languages."""
        return {**asdict(self), "zh": self.chinese._asdict()}

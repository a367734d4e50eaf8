"""The light on the box: as many blinks as the code of its trouble, a pause, and again; steady where there is none."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

SHORT_S: Final = 0.25
PAUSE_S: Final = 1.5
FIRST: Final = ("ACT", "led0", "user", "usr", "status", "sys", "work", "led", "scrolllock")
"""Parts of names under /sys/class/leds, the best first: a board's own light, else the keyboard's of a PC."""


class Light:
    """One light; a machine that has none, or does not let it be set, goes without. The kernel's own use comes back."""

    def __init__(self, folder: Path | None, sleep: Callable[[float], None] = time.sleep) -> None:
        self._folder, self._sleep = folder, sleep
        self._trigger = "none"
        if folder is not None:
            with contextlib.suppress(OSError, IndexError):
                self._trigger = (folder / "trigger").read_text("ascii").split("[")[1].split("]")[0]

    @classmethod
    def find(cls, leds: Path = Path("/sys/class/leds")) -> "Light":
        """The best of a machine's lights."""
        with contextlib.suppress(OSError):
            for part in FIRST:
                for path in sorted(leds.iterdir()):
                    if part.lower() in path.name.lower():
                        return cls(path)
        return cls(None)

    def show(self, code: int) -> None:
        """Blink once through; without a code, as long as that takes, leave it to the kernel."""
        if code:
            self._put("trigger", "none")
        for _ in range(code):
            self._put("brightness", "1")
            self._sleep(SHORT_S)
            self._put("brightness", "0")
            self._sleep(SHORT_S)
        self._sleep(PAUSE_S)

    def rest(self) -> None:
        """Give it back; steady where the kernel has no use of its own for it."""
        self._put("trigger", self._trigger)
        if self._trigger == "none":
            self._put("brightness", "1")

    def _put(self, name: str, value: str) -> None:
        if self._folder is not None:
            with contextlib.suppress(OSError):
                (self._folder / name).write_text(value, "ascii")

"""Whether the board has enough voltage and keeps cool enough, as the kernel tells it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

SYS: Final = Path("/sys")
THROTTLED: Final = "devices/platform/soc/soc:firmware/get_throttled"
"""Raspberry Pi; bit 0: under-voltage now, 1 and 2: slowed down now, 16: under-voltage since the start."""
ALARMS: Final = "class/hwmon/hwmon*/in0_lcrit_alarm"
"""Raspberry Pi with the kernel's own driver, and others that measure their supply."""
HOT_C: Final = 80.0
"""Most boards slow themselves down from here on."""


@dataclass(frozen=True)
class Power:
    """What the board says of itself.

    Args:
        known: it says anything of its voltage.
        low: the voltage is too low now.
        was_low: it was since the start.
        slowed: the processor is slowed down now.
        temperature_c: of the hottest sensor; None where there is none.
    """

    known: bool = False
    low: bool = False
    was_low: bool = False
    slowed: bool = False
    temperature_c: float | None = None

    @property
    def strained(self) -> bool:
        """Whether the box should do less for a while."""
        return self.low or self.slowed or (self.temperature_c is not None and self.temperature_c >= HOT_C)


def read_power(sys: Path = SYS) -> Power:
    """Ask the kernel; takes well below a millisecond."""
    alarms = [read_text(path) for path in sys.glob(ALARMS)]
    text = read_text(sys / THROTTLED)
    try:
        bits = int(text or "0", 16)
    except ValueError:
        bits = 0
    return Power(
        known=bool(alarms or text),
        low="1" in alarms or bool(bits & 1),
        was_low=bool(bits & 1 << 16),
        slowed=bool(bits & 6),
        temperature_c=max(temperatures(sys / "class/thermal").values(), default=None),
    )


def temperatures(folder: Path) -> dict[str, float]:
    """Degrees Celsius by sensor."""
    found = {}
    for path in sorted(folder.glob("thermal_zone*/temp")):
        try:
            found[path.parent.name] = int(path.read_text("ascii")) / 1000
        except (OSError, ValueError):
            continue  # a sensor that sleeps
    return found


def read_text(path: Path) -> str:
    """The text of one of the kernel's files, empty where there is none."""
    try:
        return path.read_text("ascii").strip()
    except (OSError, ValueError):
        return ""

"""The ratchet: figures that were reached are committed, and what falls behind them fails.

`accuracy.json` has two sections: `full`, what `make eval` measures on everything, and `short`, what CI measures again
on data rendered from nothing and compares.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from tests.eval import staged, tracking

RESULT: Final = Path(__file__).with_name("accuracy.json")
SLACK: Final = 0.01
"""Other processors round differently."""
ONE_SCENE: Final = 0.05
"""The short form has two dozen things to find: rounding may turn one of them."""
PROMPT_S: Final = 3.0
LATE_S: Final = 10.0
"""What must hold for the median and the 95th percentile of the delay."""
LOWER_IS_BETTER: Final = ("delay", "mae", "error", "false", "left", "incidents", "invented", "cleared_while_hidden")
NOT_COMPARED: Final = ("scenes", "cases", "photos", "pictures", "frames", "ms", "bias")

SHORT: Final[dict[str, Callable[[], Any]]] = {"tracking": tracking.short, "staged": staged.short}
"""Parts of the short form; each must run in a minute, from nothing."""


def short() -> dict[str, Any]:
    """Measure the short form."""
    return {name: measure() for name, measure in SHORT.items()}


def read(path: Path = RESULT) -> dict[str, Any]:
    """The figures that were kept."""
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


def keep(section: str, figures: Mapping[str, Any], path: Path = RESULT) -> None:
    """Write figures; parts that are not among them stay."""
    kept = read(path)
    kept[section] = {**kept.get(section, {}), **figures}
    path.write_text(_text(kept) + "\n", "utf-8")


def _text(value: object, margin: str = "\n ") -> str:
    """As JSON; figures that belong together on one line."""
    if not (isinstance(value, Mapping) and any(isinstance(one, Mapping) for one in value.values())):
        return json.dumps(value, sort_keys=True)
    lines = (f"{margin}{json.dumps(name)}: {_text(one, margin + ' ')}" for name, one in sorted(value.items()))
    return f"{{{','.join(lines)}{margin[:-1]}}}"


def behind(kept: object, now: object, name: str = "") -> list[str]:
    """Say which figures fell behind what was kept, one line each.

    A figure that is kept and not measured any more is behind as well; a new one is not.
    """
    if isinstance(kept, Mapping):
        if not isinstance(now, Mapping):
            return [f"{name}: expected figures, got {now!r}"]
        return [line for key in kept for line in behind(kept[key], now.get(key), f"{name}.{key}".strip("."))]
    what = name.rsplit(".", 1)[-1]
    if any(what == word or what.startswith(f"{word}_") for word in NOT_COMPARED) or kept is None:
        return []
    if not isinstance(now, int | float) or not isinstance(kept, int | float):
        return [f"{name}: expected about {kept}, got {now!r}"]
    worse = now - kept if any(word in what for word in LOWER_IS_BETTER) else kept - now
    slack = ONE_SCENE if name.startswith("staged.") and kept else SLACK
    if "delay" in what and slack == ONE_SCENE:
        # one scene more among the late ones moves the 95th percentile by seconds
        limit_s = PROMPT_S if "median" in what else LATE_S
        return [] if now <= limit_s else [f"{name}: expected at most {limit_s}, got {now}"]
    return [f"{name}: expected {kept} or better, got {now}"] if worse > slack * max(1.0, abs(kept)) else []

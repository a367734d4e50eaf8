"""Settings of a box for tests."""

from pathlib import Path
from typing import Any

WHOLE = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]
FRONTAGE = {"id": "front", "kind": "frontage", "shop": "shop-1", "polygon": WHOLE, "dwell_s": 10.0}
GATHERING = {"id": "square", "kind": "gathering", "polygon": WHOLE, "dwell_s": 3.0, "max_people": 4}


def settings(
    folder: Path,
    *zones: dict[str, Any],
    source: str = "clip.mp4",
    camera: dict[str, Any] | None = None,
    model: str | None = "none",
    center: str | None = None,
    name: str = "box.toml",
    site: str = "s",
) -> Path:
    """Write `box.toml` with one camera; without a detector unless one is named, None: with the one that ships."""
    lines = ["version = 1", "[box]", 'id = "box-1"', f'site = "{site}"']
    if center is not None:
        lines += ["[center]", f'url = "{center}"']
    if model is not None:
        lines += ["[detector]", f'model = "{model}"']
    lines += ["[[camera]]", *_table({"id": "cam-1", "source": source, **(camera or {})})]
    for zone in zones:
        lines += ["[[camera.zone]]", *_table(zone)]
    path = folder / name
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def _table(values: dict[str, Any]) -> list[str]:
    return [f"{key} = {_value(value)}" for key, value in values.items()]


def _value(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    return str(value).lower() if isinstance(value, bool) else str(value)

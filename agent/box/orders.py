"""Orders of an operator on the box to the running agent: files in the state folder, taken by the camera that they name.

They wait where no agent runs, and are carried out when it starts.
"""

import json
import logging
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

log = logging.getLogger(__name__)

Verb = Literal["approve", "reset"]
FOLDER: Final = "orders"


@dataclass(frozen=True)
class Order:
    """What is to be done with a camera's clear scene.

    Args:
        verb: `approve` takes what is seen now for the clear look, `reset` learns it again.
        zone: None for the whole camera.
    """

    verb: Verb
    zone: str | None = None


def give(state_dir: Path, camera: str, order: Order, at_s: float) -> Path:
    """Leave an order; the file is gone once it was taken."""
    folder = state_dir / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{camera}.{round(at_s * 1000):015d}.{secrets.token_hex(4)}.json"
    part = path.with_suffix(".part")
    part.write_text(json.dumps({"verb": order.verb, "zone": order.zone}), "utf-8")
    part.replace(path)
    return path


def take(state_dir: Path, camera: str) -> list[Order]:
    """Take all orders to a camera, oldest first; what is no order is thrown away."""
    try:
        names = sorted(name for name in os.listdir(state_dir / FOLDER) if _is_for(name, camera))  # noqa: PTH208 - each sample asks, and pathlib makes an object a file
    except OSError:
        return []
    orders = []
    for name in names:
        path = state_dir / FOLDER / name
        if not os.access(path.parent, os.W_OK):
            log.warning("%s: the order cannot be taken: the folder belongs to somebody else; run: chown", path.parent)
            return []
        try:
            values = json.loads(path.read_text("utf-8"))
            if values["verb"] in get_args(Verb) and isinstance(values["zone"], str | None):
                orders.append(Order(values["verb"], values["zone"]))
        except (OSError, ValueError, KeyError, TypeError):
            pass
        path.unlink(missing_ok=True)
    return orders


def _is_for(name: str, camera: str) -> bool:
    # an id has no dot
    return name.endswith(".json") and name.partition(".")[0] == camera

"""How the box stands, for people before it: what the agent leaves in `/run` for the console and the light.

Codes of the light are in the order in which they are mended: what is wrong with the card may be the cause of the rest.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from agent.box.network import addresses, gateway
from agent.box.twin import write_whole

log = logging.getLogger(__name__)

TROUBLES: Final = {
    1: "the card has faults|配置卡有错误",
    2: "no network|没有网络",
    3: "the center is not reached|连不上中心",
    4: "the center refuses the claim|中心拒绝认领",
    5: "no camera is live|没有一台摄像头有画面",
}
"""Its code, and what it is: English|Chinese."""


@dataclass(frozen=True)
class Standing:
    """What the agent knows.

    Args:
        box: its id; empty: nobody has claimed it.
        claim: of the card's claim: `trying`, `silent` or `refused`; empty: there is none to be tried.
        fault: why it was not taken.
        connected: to the center; None: it has none.
        cameras: their states.
        page: address of the set-up page; empty: it is shut.
        pin: of it; for whoever stands before the box.
    """

    box: str = ""
    site: str = ""
    claim: str = ""
    fault: str = ""
    connected: bool | None = None
    cameras: Mapping[str, str] = field(default_factory=dict)
    page: str = ""
    pin: str = ""


class Board:
    """Where it is put up, when it changes; a box without an image has no folder for it."""

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / "agent" / "standing.json"
        self._told: Standing | None = None

    def post(self, standing: Standing) -> None:
        """Put it up; never raises."""
        if standing == self._told or not self._path.parent.is_dir():
            return
        self._told = standing
        try:
            write_whole(self._path, json.dumps(asdict(standing), ensure_ascii=False).encode())
            self._path.chmod(0o640)  # the console is of the agent's group
        except OSError as fault:
            log.warning("the console is not told: %s", fault)


def read_run(path: Path) -> dict[str, Any]:
    """A file of `/run/cityeye`; empty where there is none, or it is damaged."""
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


@dataclass(frozen=True)
class Sight:
    """All that is shown: what the card says, what the agent says, and what the kernel says of the network."""

    card: Mapping[str, Any]
    standing: Standing | None
    addresses: tuple[str, ...] = ()
    gateway: str = ""

    @classmethod
    def take(cls, run_dir: Path) -> "Sight":
        """As it is now."""
        values = read_run(run_dir / "agent" / "standing.json")
        known = {name: value for name, value in values.items() if name in Standing.__dataclass_fields__}
        networks = tuple(f"{one.address}/{one.prefix} {one.interface}" for one in addresses())
        return cls(read_run(run_dir / "card.json"), Standing(**known) if known else None, networks, gateway())

    @property
    def trouble(self) -> int:
        """The first of the TROUBLES; 0: none."""
        standing = self.standing or Standing()
        wrong = {
            1: bool(self.card.get("faults")),
            2: not self.gateway and not any(not one.startswith("169.254.") for one in self.addresses),
            3: standing.connected is False or standing.claim == "silent",
            4: standing.claim == "refused",
            5: bool(standing.cameras) and "live" not in standing.cameras.values(),
        }
        return next((code for code, so in wrong.items() if so), 0)

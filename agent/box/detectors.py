"""Detectors that the center has rolled out, on this box's disk, and how they came there.

In the state folder::

    detectors.json            which one is in use, which was before, how often the agent began with it; with its copy
    detectors/SHA/NAME.onnx   those two, and one that is being tried; no others
    detectors/SHA.part        one that is being fetched
"""

import logging
import platform
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from agent.box.fetch import Wanted, sha256_of
from agent.box.twin import read_twice, write_twice
from agent.vision.tuned import processor
from protocol.detectors import PATH, Manifest
from protocol.messages import Model

log = logging.getLogger(__name__)

FILE: Final = "detectors.json"
FOLDER: Final = "detectors"
STARTS: Final = 3
"""Of the agent with a detector; if none of them lasts, it is taken back at the next one."""
_BOARD: Final = Path("/proc/device-tree/model")


class Standing(BaseModel):
    """How the detectors stand.

    Args:
        now: in use; None: the box's own, as its settings say.
        before: what is gone back to.
        starts: of the agent with `now`, of which none has lasted yet.
        rollout: of the center, that `state` and `text` are about.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    now: Model | None = None
    before: Model | None = None
    starts: int = 0
    rollout: int | None = None
    state: str = "own"
    text: str = ""

    def but(self, **other: Any) -> "Standing":
        """The same with other values."""
        return self.model_copy(update=other)

    def reverted(self, text: str) -> "Standing":
        """Go back to what was before."""
        return self.but(now=self.before, before=None, starts=0, state="rolled_back", text=text)

    def begun(self) -> "Standing":
        """At a start of the agent: count it, and go back where none has lasted."""
        if self.now is None:
            return self
        if self.starts >= STARTS:
            return self.reverted(f"the agent began {self.starts} times with it and did not last")
        return self.but(starts=self.starts + 1)


def load(state_dir: Path) -> Standing:
    """Read the standing; where it is damaged, the box's own detector is used and the center's tried anew."""
    path = state_dir / FILE
    try:
        return read_twice(path, Standing.model_validate_json)
    except FileNotFoundError:
        return Standing()
    except (OSError, ValidationError) as fault:
        log.error("%s: damaged (%s); the box's own detector is used", path, type(fault).__name__)  # noqa: TRY400 - no trace
        return Standing()


def save(state_dir: Path, standing: Standing) -> None:
    """Write it so that it survives a cut of the power; raises OSError."""
    write_twice(state_dir / FILE, standing.model_dump_json(indent=1).encode())


def file_of(state_dir: Path, model: Model | None) -> Path | None:
    """Where a detector's file lies; None: the box's own is meant."""
    return None if model is None else state_dir / FOLDER / model.sha256 / f"{model.name}.onnx"


def is_whole(path: Path) -> bool:
    """Whether a detector's file is still what was fetched."""
    return path.is_file() and sha256_of(path) == path.parent.name


def prune(state_dir: Path, keep: Collection[Model | None]) -> None:
    """Delete what belongs to none of these."""
    kept = {one.sha256 for one in keep if one is not None}
    for path in (state_dir / FOLDER).glob("*"):
        if path.name.partition(".")[0] not in kept:
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def board() -> tuple[str, ...]:
    """What the processor and the board are called."""
    model = _BOARD.read_text("utf-8", "replace").strip("\x00\n") if _BOARD.exists() else ""
    return tuple(name for name in (platform.machine(), processor(), model) if name)


def wanted(state_dir: Path, manifest: Manifest) -> Wanted:
    """What is fetched of a detector."""
    path = state_dir / FOLDER / manifest.sha256 / f"{manifest.name}.onnx"
    part = state_dir / FOLDER / f"{manifest.sha256}.part"
    return Wanted(PATH + manifest.sha256, manifest.size, manifest.sha256, part, path)

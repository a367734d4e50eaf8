"""Detectors that the center has rolled out, on this box's disk, and how they came there.

In the state folder::

    detectors.json            which one is in use, which was before, how often the agent began with it; with its copy
    detectors/SHA/NAME.onnx   those two, and one that is being tried; no others
    detectors/SHA.part        one that is being fetched
"""

import hashlib
import http.client
import logging
import os
import platform
import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, ValidationError

from agent.box.enrolment import TIMEOUT_S, EnrolmentError, Membership, own_context
from agent.box.twin import read_twice, sync, write_twice
from agent.vision.tuned import processor
from protocol.detectors import PART_BYTES, PATH, Compared, Manifest
from protocol.messages import Model

log = logging.getLogger(__name__)

FILE: Final = "detectors.json"
FOLDER: Final = "detectors"
STARTS: Final = 3
"""Of the agent with a detector; if none of them lasts, it is taken back at the next one."""
SPARE_BYTES: Final = 128 * 1024 * 1024
"""Of the disk, left to incidents."""
SETTLED: Final = frozenset({"own", "taken", "refused", "undecided", "rolled_back", "kept", "back"})
"""States in which nothing goes on."""
_BOARD: Final = Path("/proc/device-tree/model")


class FetchError(Exception):
    """A detector that cannot be had; `final`: trying again is of no use."""

    def __init__(self, text: str, *, final: bool) -> None:
        super().__init__(text)
        self.final = final


class Standing(BaseModel):
    """How the detectors stand.

    Args:
        now: in use; None: the box's own, as its settings say.
        before: what is gone back to; None: the box's own.
        starts: of the agent with `now`, of which none has lasted yet.
        rollout: of the center, that `state` is about.
        text: why it is so.
        compared: what its shadow run has found.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    now: Model | None = None
    before: Model | None = None
    starts: int = 0
    rollout: int | None = None
    state: str = "own"
    text: str = ""
    compared: Compared | None = None

    def told(self, state: str, text: str = "", compared: Compared | None = None) -> "Standing":
        """With another state of the roll-out."""
        return self.model_copy(update={"state": state, "text": text, "compared": compared or self.compared})

    def tried(self, model: Model) -> "Standing":
        """Put one into use, on trial."""
        return self.told("trial").model_copy(update={"now": model, "before": self.now, "starts": 1})

    def reverted(self, state: str, text: str) -> "Standing":
        """Go back to what was before."""
        return self.told(state, text).model_copy(update={"now": self.before, "before": None, "starts": 0})

    def begun(self) -> "Standing":
        """At a start of the agent: count it, and go back where none has lasted."""
        if self.now is None:
            return self
        if self.starts >= STARTS:
            return self.reverted("rolled_back", f"the agent began {self.starts} times with it and did not last")
        return self.model_copy(update={"starts": self.starts + 1})


def load(state_dir: Path) -> Standing:
    """Read the standing; where it is damaged, the box's own detector is used, and the center's is tried anew."""
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


def file_of(state_dir: Path, model: Model) -> Path:
    """Where a detector's file lies."""
    return state_dir / FOLDER / model.sha256 / f"{model.name}.onnx"


def is_whole(path: Path) -> bool:
    """Whether a detector's file is still what was fetched."""
    return path.is_file() and _sha256(path) == path.parent.name


def prune(state_dir: Path, keep: Collection[str]) -> None:
    """Delete what belongs to none of these SHA-256."""
    for path in (state_dir / FOLDER).glob("*"):
        if path.name.partition(".")[0] not in keep:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def board() -> tuple[str, ...]:
    """What the processor and the board are called."""
    names = [platform.machine(), processor()]
    if _BOARD.exists():
        names.append(_BOARD.read_text("utf-8", "replace").strip("\x00\n"))
    return tuple(name for name in names if name)


def fetch(state_dir: Path, manifest: Manifest, cancelled: Callable[[], bool]) -> Path:
    """Get a file from the center, going on where it was broken off; gives its path. Raises FetchError."""
    model = Model(name=manifest.name, sha256=manifest.sha256)
    path = file_of(state_dir, model)
    if is_whole(path):
        return path
    part = state_dir / FOLDER / f"{manifest.sha256}.part"
    try:
        part.parent.mkdir(exist_ok=True)
        begun = part.stat().st_size if part.exists() else 0
        left = manifest.size - begun
        if shutil.disk_usage(state_dir).free < left + SPARE_BYTES:
            raise FetchError(f"expected {(left + SPARE_BYTES) / 1e6:.0f} MB free on the disk", final=True)
        with part.open("ab") as file:
            while (at := file.tell()) < manifest.size:
                if cancelled():
                    raise FetchError("it was broken off", final=True)
                file.write(_part(state_dir, manifest, at))
                file.flush()
            os.fsync(file.fileno())
        if (got := _sha256(part)) != manifest.sha256 or part.stat().st_size != manifest.size:
            part.unlink()
            # what a cut of the power left may be damaged: once more from the beginning
            raise FetchError(f"expected a file of SHA-256 {manifest.sha256[:16]}…, got {got[:16]}…", final=not begun)
        path.parent.mkdir(exist_ok=True)
        part.replace(path)
        sync(path.parent)
        sync(path.parent.parent)
    except OSError as fault:
        raise FetchError(f"the disk: {fault.strerror}", final=False) from None
    return path


def _part(state_dir: Path, manifest: Manifest, at: int) -> bytes:
    """One part of the file, from a byte on."""
    last = min(at + PART_BYTES, manifest.size) - 1
    line: http.client.HTTPSConnection | None = None
    try:
        member = Membership.load(state_dir)
        if member is None:
            raise FetchError("expected an enrolled box: only those may fetch detectors", final=True)
        parts = urlsplit(member.url)
        line = http.client.HTTPSConnection(
            parts.hostname or "", parts.port or 443, timeout=TIMEOUT_S, context=own_context(state_dir)
        )
        line.request("GET", f"{PATH}{manifest.sha256}", headers={"range": f"bytes={at}-{last}"})
        answer = line.getresponse()
        content = answer.read(PART_BYTES + 1)
        whole = (answer.getheader("content-range") or "").rpartition("/")[2]
    except EnrolmentError as fault:
        raise FetchError(str(fault), final=False) from None
    except (OSError, http.client.HTTPException) as fault:
        raise FetchError(f"the center: {str(fault) or type(fault).__name__}", final=False) from None
    finally:
        if line is not None:
            line.close()
    if answer.status == http.HTTPStatus.NOT_FOUND:
        raise FetchError("the center has this file no more", final=True)
    if answer.status != http.HTTPStatus.PARTIAL_CONTENT:
        raise FetchError(f"the center: expected a part of the file, got status {answer.status}", final=False)
    if whole != str(manifest.size):
        raise FetchError(
            f"expected a file of {manifest.size} bytes, the center's has {whole}: it is cut short", final=True
        )
    if not 0 < len(content) <= last + 1 - at:
        raise FetchError("the center: a part came cut short", final=False)
    return content


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

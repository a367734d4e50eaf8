"""What `cityeye-models tune` found to be fastest on this machine, read again by the agent.

Comes in: `NAME.tuned.json` in a folder of model files. Goes out: a `Tuned`, or why it does not hold here.
"""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from agent.vision.providers import PROVIDERS, Plan, Size

SUFFIX: Final = ".tuned.json"
MOST_THREADS: Final = 1024
_PROCESSOR: Final = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Tuned:
    """A choice.

    Args:
        model_sha256: of the file that was tuned; another file of that name is not meant.
        machine: what it was tuned on, `machine()`.
        file: name of the file to run, beside the notice; it may be another one of the same family.
        file_sha256: of that file.
        size: width and height of its input, px.
        plan: how to run it.
        library: version of the provider's library.
        ms: of one look, as measured.
        default_ms: of one look without tuning.
    """

    model_sha256: str
    machine: str
    file: str
    file_sha256: str
    size: Size
    plan: Plan
    library: str
    ms: float
    default_ms: float

    def fault(self, model_sha256: str) -> str | None:
        """Say why it does not hold for a file here; None: it does."""
        if model_sha256 != self.model_sha256:
            return "another file of this name was tuned"
        if self.machine != machine():
            return f"it was tuned on {self.machine}, this is {machine()}"
        provider = next((one for one in PROVIDERS if one.name == self.plan.provider), None)
        if provider is None or provider.missing() is not None:
            return f"provider {self.plan.provider} is not at hand"
        if provider.version != self.library:
            return f"it was tuned with {self.library}, here is {provider.version}"
        return None

    def write(self, path: Path) -> None:
        """Keep it, all at once or not at all."""
        part = path.with_suffix(".part")
        part.write_text(json.dumps(asdict(self), indent=1) + "\n", "utf-8")
        part.replace(path)


_READER: Final = TypeAdapter(Tuned)


def read_tuned(path: Path) -> Tuned:
    """Read a choice; raises ValueError for what is none, OSError where there is no file."""
    try:
        tuned = _READER.validate_json(path.read_bytes())
    except ValidationError:
        raise ValueError(f"{path}: expected what `cityeye-models tune` writes, it is something else") from None
    if not 0 <= tuned.plan.threads <= MOST_THREADS:
        raise ValueError(f"{path}: expected 0 to {MOST_THREADS} threads, got {tuned.plan.threads}")
    if Path(tuned.file).name != tuned.file:
        raise ValueError(f"{path}: expected a file beside it, got {tuned.file}")
    return tuned


def find_tuned(name: str, folders: Sequence[Path]) -> Path | None:
    """Find the choice for a model's name."""
    return next((path for folder in folders if (path := folder / f"{name}{SUFFIX}").is_file()), None)


def cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> str:
    """Name what decides about speed: the processor and the cores that this process may use."""
    return f"{processor() or platform.machine()}, {cores()} cores"


def processor() -> str:
    """What the kernel calls the processor; empty where it does not say."""
    try:
        lines = _PROCESSOR.read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    # ARM kernels name no model; their boards do
    for key in ("model name", "Hardware", "CPU part"):
        for line in lines:
            if line.startswith(key):
                return line.partition(":")[2].strip()
    return ""

"""Running targets in processes of their own, so that a crash is seen as one."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.services import ROOT

MAX_GROWTH_BYTES = 4 * 1024 * 1024
"""Of the memory while what was found is fed again and again; caches fill before."""
REPLAY_SHARE = 0.2


@dataclass(frozen=True)
class Found:
    """What fuzzing one decoder gave; `fault` is empty where it bore everything."""

    name: str
    inputs: int
    grown: int
    fault: str


def figures(found: Sequence[Found]) -> dict[str, Any]:
    """Sum up for the table."""
    return {
        "decoders": len(found),
        "inputs": sum(one.inputs for one in found),
        "crashes": sum(bool(one.fault) for one in found),
        "grown_kib": max(one.grown for one in found) // 1024,
    }


def run(names: Sequence[str], folder: Path, seconds: int) -> list[Found]:
    """Fuzz each decoder for so long, two at a time; then replay what was found for a fifth of it."""
    folder = folder.resolve()
    with ThreadPoolExecutor(2) as pool:
        halves = list(pool.map(lambda half: _half(half, folder, seconds), filter(None, (names[::2], names[1::2]))))
    found = {one.name: one for half in halves for one in half}
    return [found[name] for name in names]


def _half(names: Sequence[str], folder: Path, seconds: int) -> list[Found]:
    _child("fuzz", folder, seconds, names)
    sound = [name for name in names if not _found(name, folder, replayed=False).fault]
    if sound:
        _child("replay", folder, seconds * REPLAY_SHARE, sound)
    return [_found(name, folder, replayed=name in sound) for name in names]


def _child(what: str, folder: Path, seconds: float, names: Sequence[str]) -> None:
    memory = Path("/dev/shm")
    # libFuzzer leaves without tidying up; and this is no test of the disk
    with tempfile.TemporaryDirectory(prefix="cityeye-fuzz-", dir=memory if memory.is_dir() else None) as scratch:
        subprocess.run(
            [sys.executable, "-m", "tests.fuzz.child", what, str(folder), str(seconds), *names],
            check=True,
            cwd=ROOT,
            timeout=(seconds * 2 + 60) * len(names),
            env={**os.environ, "TMPDIR": scratch},
        )


def _found(name: str, folder: Path, *, replayed: bool) -> Found:
    said = (folder / f"{name}.fuzz").read_text("utf-8", "replace")
    done = re.search(r"stat::number_of_executed_units: +(\d+)", said)
    inputs = int(done[1]) if done else 0
    at = said.find("Uncaught Python exception")
    if at >= 0 or done is None or "ERROR: libFuzzer" in said:
        return Found(name, inputs, 0, said[at:][:1500] if at >= 0 else said[-1500:] or "it said nothing")
    if not replayed:
        return Found(name, inputs, 0, "")
    growth = int((folder / f"{name}.replay").read_text().rpartition(" ")[2])
    fault = f"memory grew by {growth} bytes" if growth > MAX_GROWTH_BYTES else ""
    return Found(name, inputs, growth, fault)

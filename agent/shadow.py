"""A detector beside the one in use, on the same live pictures, in a process of its own.

What it does there harms nobody: it may end that process, stop it, or fill its memory, and is refused for it. The parent
is `Shadow`, the child `python -m agent.shadow`: a line of JSON with what to load, then picture after picture (a line
with height and width, then the bytes), each answered by a line of JSON. Pictures are not kept.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from agent.box import memory
from agent.vision.agreement import agree
from agent.vision.detector import Detector, DetectorError
from agent.vision.selection import open_as
from protocol.detectors import Compared, Limits

LOAD_S: Final = 300.0
"""Some providers build a network for the board first."""
ANSWER_S: Final = 30.0
FIRST_TO_GO: Final = "1000"
"""Where the box runs out of memory, the kernel ends this process before any other."""


class ShadowError(Exception):
    """The new detector cannot be used; the text says why."""


@dataclass
class Shadow:
    """What two detectors have found so far, by a child that looks."""

    child: "subprocess.Popen[bytes]"
    _said: list[list[float]] = field(default_factory=list)

    def look(self, rgb: NDArray[np.uint8]) -> None:
        """Have both look at a picture of shape `(h, w, 3)`; raises ShadowError."""
        height, width = rgb.shape[:2]
        self._said.append(self.exchange(f"{height} {width}\n".encode() + rgb.tobytes(), ANSWER_S))

    @property
    def compared(self) -> Compared:
        """What it has come to."""
        if not self._said:
            return Compared()
        finds, shared, others, confirmed, ms, present_ms, memory_mb = zip(*self._said, strict=True)
        return Compared(
            pictures=len(self._said),
            finds=int(sum(finds)),
            recall=round(sum(shared) / max(1, sum(finds)), 3),
            precision=round(sum(confirmed) / max(1, sum(others)), 3),
            ms=round(median(ms), 1),
            present_ms=round(median(present_ms), 1),
            memory_mb=round(max(memory_mb), 1),
        )

    def exchange(self, message: bytes, wait_s: float) -> Any:
        """Send, and read the answer; one that does not come in time ends the child."""
        child, line = self.child, b""
        assert child.stdin is not None  # noqa: S101 - it was asked for
        assert child.stdout is not None  # noqa: S101 - as well
        timer = threading.Timer(wait_s, child.kill)
        timer.start()
        try:
            child.stdin.write(message)
            child.stdin.flush()
            line = child.stdout.readline()
        except OSError:
            pass  # it has ended: its status says how
        late = not timer.is_alive()
        timer.cancel()
        if not line.endswith(b"\n"):
            status = child.wait()
            how = f"gave no answer within {wait_s:g} s" if late else f"ended its process (status {status})"
            raise ShadowError(f"it {how}")
        said = json.loads(line)
        if isinstance(said, str):
            raise ShadowError(said)
        return said


@contextmanager
def shadow(present: Path, min_score: float, other: Path, *how: Any) -> Iterator[Shadow]:
    """Have a child look by two detectors; raises ShadowError where the new one cannot be loaded.

    Args:
        present: file of the detector in use.
        min_score: that it is used with; the other has its own.
        other: file of the new one.
        how: both are run: provider, precision and number of cameras, as for `open_as`.
    """
    command = [sys.executable, "-m", "agent.shadow"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        found = Shadow(child)
        found.exchange(json.dumps([str(present), min_score, str(other), *how]).encode() + b"\n", LOAD_S)
        yield found
    finally:
        child.kill()
        child.communicate()


def verdict(compared: Compared, limits: Limits, *, last: bool) -> tuple[str, str] | None:
    """`good`, `refused` or `undecided`, and why; None: more pictures are needed, if these were not the last."""
    seen = f"{compared.finds} finds of the present detector in {compared.pictures} pictures"
    if compared.pictures < limits.pictures or compared.finds < limits.finds:
        wanted = f"expected {limits.finds} in {limits.pictures}"
        return ("undecided", f"{wanted} to compare by, a day has shown {seen}") if last else None
    slowest = limits.slower * compared.present_ms
    faults = [
        text
        for bad, text in (
            (compared.recall < limits.recall, f"of {seen} it has {compared.recall:.0%}, not {limits.recall:.0%}"),
            (
                compared.precision < limits.precision,
                f"of its own finds the present one has {compared.precision:.0%}, not {limits.precision:.0%}",
            ),
            (compared.ms > slowest, f"a look takes {compared.ms:.0f} ms, expected at most {slowest:.0f}"),
            (
                compared.memory_mb > limits.memory_mb,
                f"it takes {compared.memory_mb:.0f} MB more, expected at most {limits.memory_mb}",
            ),
        )
        if bad
    ]
    return ("refused", "; ".join(faults)) if faults else ("good", "")


def _resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def _serve(stdin: IO[bytes]) -> Iterator[Any]:
    """Be the child: what is yielded is said, and a text ends it."""
    present_path, min_score, other_path, *how = json.loads(stdin.readline())
    try:
        present = open_as(Path(present_path), min_score, *how)
        before_mb = _resident_mb()
        other = open_as(Path(other_path), None, *how)
    except DetectorError as fault:
        yield str(fault)
        return
    yield []
    turn = (other, present)
    while line := stdin.readline():
        height, width = map(int, line.split())
        rgb = np.frombuffer(stdin.read(height * width * 3), np.uint8).reshape(height, width, 3)
        turn = turn[::-1]  # what else the box does meets both
        try:
            looks = {detector.sha256: _timed(detector, rgb) for detector in turn}
        except Exception as fault:  # noqa: BLE001 - runtimes share nothing but Exception
            yield f"it failed on a picture ({type(fault).__name__})"
            return
        (found, ms), (seen, present_ms) = looks[other.sha256], looks[present.sha256]
        yield [*agree(seen, found), ms, present_ms, _resident_mb() - before_mb]


def _timed(detector: Detector, rgb: NDArray[np.uint8]) -> tuple[Any, float]:
    began_s = time.perf_counter()
    return detector.detect(rgb), 1000 * (time.perf_counter() - began_s)


if __name__ == "__main__":
    os.nice(19)
    Path("/proc/self/oom_score_adj").write_text(FIRST_TO_GO)
    memory.spare()
    for said in _serve(sys.stdin.buffer):
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()

"""A detector beside the one in use, on the same live pictures, in a process of its own.

What it does there harms nobody: it may end that process, stop it, or fill its memory, and is refused for it. The parent
is `Shadow`, the child `python -m agent.shadow`: a line of JSON with what to load, then picture after picture (a line
with height and width, then the bytes), each answered by a line of JSON. Pictures are not kept.

They are compared by what they are sure of: the other one must have found it as well, with whatever score. So one that
sees more, and says so with low scores, is not held for worse. Only classes that both know count.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from agent.box import memory
from agent.vision.detector import Detections, Detector
from agent.vision.errors import DetectorError
from agent.vision.selection import open_as
from protocol.detectors import Limits

LOAD_S: Final = 300.0
"""Some providers build a network for the board first."""
ANSWER_S: Final = 30.0
SURE: Final = 0.5
OVERLAP: Final = 0.5
"""Intersection over union of a find and its partner."""


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

    def exchange(self, message: bytes, wait_s: float) -> Any:
        """Send, and read the answer; one that does not come in time ends the child."""
        child, line = self.child, b""
        assert child.stdin is not None  # noqa: S101 - it was asked for
        assert child.stdout is not None  # noqa: S101 - as well
        timer = threading.Timer(wait_s, child.kill)
        timer.start()
        with suppress(OSError):  # it has ended: its status says how
            child.stdin.write(message)
            child.stdin.flush()
            line = child.stdout.readline()
        late = not timer.is_alive()
        timer.cancel()
        if not line.endswith(b"\n"):
            how = f"gave no answer within {wait_s:g} s" if late else f"ended its process (status {child.wait()})"
            raise ShadowError(f"it {how}")
        said = json.loads(line)
        if isinstance(said, str):
            raise ShadowError(said)
        return said

    def verdict(self, limits: Limits, *, last: bool = False) -> tuple[str, str] | None:
        """`trial`, `refused` or `undecided`, and why; None: more pictures are needed, and these were not the `last`."""
        columns = zip(*self._said, strict=True) if self._said else [(0.0,)] * 7
        finds, shared, others, confirmed, ms, present_ms, memory_mb = columns
        recall, precision = sum(shared) / max(1, sum(finds)), sum(confirmed) / max(1, sum(others))
        text = (
            f"it has {recall:.1%} of {sum(finds):.0f} finds in {len(self._said)} pictures, {precision:.1%} of its own "
            f"are confirmed; {median(ms):.0f} ms a look (now {median(present_ms):.0f}), {max(memory_mb):+.0f} MB"
        )
        if len(self._said) < limits.pictures or sum(finds) < limits.finds:
            return ("undecided", f"too little to compare by: {text}") if last else None
        good = (
            recall >= limits.recall
            and precision >= limits.precision
            and median(ms) <= limits.slower * median(present_ms)
            and max(memory_mb) <= limits.memory_mb
        )
        return ("trial", text) if good else ("refused", f"{text}; limits: {limits}")


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


def _timed(detector: Detector, rgb: NDArray[np.uint8]) -> tuple[Detections, float]:
    began_s = time.perf_counter()
    return detector.detect(rgb), 1000 * (time.perf_counter() - began_s)


def agree(present: Detections, other: Detections) -> list[int]:
    """Count sure finds of the present detector, those of them that the other has; and the other way round."""
    counts = [0, 0, 0, 0]
    for name in set(present.names.values()) & set(other.names.values()):
        one, two = present.of(name), other.of(name)
        finds, others = one.of(name, SURE), two.of(name, SURE)
        for place, count in enumerate((len(finds), _found(finds, two), len(others), _found(others, one))):
            counts[place] += count
    return counts


def _found(sure: Detections, among: Detections) -> int:
    """How many have a partner of their own, best first."""
    a, b, count = sure.boxes, among.boxes, 0
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, :2] + a[:, None, 2:], b[None, :, :2] + b[None, :, 2:])
    inside = np.clip(high - low, 0, None).prod(axis=2)
    overlaps = inside / np.maximum(a[:, 2:].prod(axis=1)[:, None] + b[:, 2:].prod(axis=1)[None] - inside, 1e-12)
    for row in overlaps if len(b) else ():
        best = row.argmax()
        if row[best] >= OVERLAP:
            overlaps[:, best] = 0
            count += 1
    return count


if __name__ == "__main__":
    os.nice(19)
    # where the box runs out of memory, the kernel ends this process before any other
    Path("/proc/self/oom_score_adj").write_text("1000")
    memory.spare()
    for said in _serve(sys.stdin.buffer):
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()

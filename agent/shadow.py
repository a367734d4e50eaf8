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
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import IO, Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from agent.box import memory
from agent.settings import DetectorSection
from agent.vision.agreement import Agreement, agree
from agent.vision.detector import Detector, DetectorError
from agent.vision.selection import open_as
from protocol.detectors import Compared, Limits

LOAD_S: Final = 300.0
"""Some providers build a network for the board first."""
ANSWER_S: Final = 30.0
NICE: Final = 19
FIRST_TO_GO: Final = "1000"
"""Where the box runs out of memory, the kernel ends this process before any other."""
MB: Final = 1024 * 1024


class ShadowError(Exception):
    """The new detector cannot be used; the text says why."""


@dataclass
class Shadow:
    """The child and what it has said so far; inside `with`.

    Args:
        present: file of the detector in use.
        min_score: that it is used with; what suits one detector does not suit another.
        other: file of the new one.
        section: how both are run.
        cameras: that a detector serves here.
    """

    present: Path
    min_score: float
    other: Path
    section: DetectorSection
    cameras: int
    agreement: Agreement = field(default=Agreement(), init=False)
    _times_ms: list[tuple[float, float]] = field(default_factory=list, init=False)
    _memory_mb: float = field(default=0.0, init=False)
    _child: "subprocess.Popen[bytes]" = field(init=False)

    def __enter__(self) -> Self:
        job = {
            "present": str(self.present),
            "min_score": self.min_score,
            "other": str(self.other),
            "provider": self.section.provider,
            "precision": self.section.precision,
            "cameras": self.cameras,
        }
        self._child = subprocess.Popen(
            [sys.executable, "-m", "agent.shadow"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        try:
            self._exchange(json.dumps(job).encode() + b"\n", LOAD_S)
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """End the child."""
        self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                pipe.close()

    def look(self, rgb: NDArray[np.uint8]) -> None:
        """Have both look at a picture of shape `(h, w, 3)`; raises ShadowError."""
        height, width = rgb.shape[:2]
        said = self._exchange(f"{height} {width}\n".encode() + rgb.tobytes(), ANSWER_S)
        self.agreement += Agreement(**said["agreement"])
        self._times_ms.append((said["present_ms"], said["ms"]))
        self._memory_mb = max(self._memory_mb, said["memory_mb"])

    @property
    def compared(self) -> Compared:
        """What it has come to."""
        presents, others = zip(*self._times_ms, strict=True) if self._times_ms else ((), ())
        return Compared(
            pictures=len(self._times_ms),
            finds=self.agreement.finds,
            recall=_rounded(self.agreement.recall, 3),
            precision=_rounded(self.agreement.precision, 3),
            ms=_rounded(median(others), 1) if others else None,
            present_ms=_rounded(median(presents), 1) if presents else None,
            memory_mb=round(self._memory_mb, 1),
        )

    def _exchange(self, message: bytes, wait_s: float) -> dict[str, Any]:
        """Send, and read the answer; one that does not come in time ends the child."""
        child, late = self._child, threading.Event()
        assert child.stdin is not None  # noqa: S101 - it was asked for
        assert child.stdout is not None  # noqa: S101 - as well

        def give_up() -> None:
            late.set()
            child.kill()

        timer = threading.Timer(wait_s, give_up)
        timer.start()
        line = b""
        try:
            child.stdin.write(message)
            child.stdin.flush()
            line = child.stdout.readline()
        except OSError:
            pass  # it has ended: its status says how
        finally:
            timer.cancel()
        if late.is_set():
            raise ShadowError(f"it gave no answer within {wait_s:.0f} s")
        if not line.endswith(b"\n"):
            status = child.wait()
            raise ShadowError(f"it ended its process ({f'signal {-status}' if status < 0 else f'status {status}'})")
        said: dict[str, Any] = json.loads(line)
        if "fault" in said:
            raise ShadowError(said["fault"])
        return said


def verdict(compared: Compared, limits: Limits, *, last: bool) -> tuple[str, str] | None:
    """`good`, `refused` or `undecided`, and why; None: more pictures are needed.

    Args:
        compared: what was found so far.
        limits: what is allowed.
        last: whether there will be no more pictures.
    """
    enough = compared.pictures >= limits.pictures and compared.finds >= limits.finds
    if not enough:
        text = f"{compared.pictures} pictures with {compared.finds} finds of the present detector"
        wanted = f"expected {limits.pictures} with {limits.finds} to compare by"
        return ("undecided", f"{wanted}, a day has shown {text}") if last else None
    faults = []
    for name, share, least in (
        ("finds of the present detector that it has", compared.recall, limits.recall),
        ("finds of its own that the present one has", compared.precision, limits.precision),
    ):
        if (share or 0.0) < least:
            faults.append(f"{name}: expected {least:.0%} at least, got {share or 0.0:.0%}")
    if compared.ms is not None and compared.present_ms and compared.ms > limits.slower * compared.present_ms:
        faults.append(
            f"time of a look: expected at most {limits.slower:g} × {compared.present_ms:.0f} ms, got {compared.ms:.0f}"
        )
    if (compared.memory_mb or 0.0) > limits.memory_mb:
        faults.append(f"memory: expected at most {limits.memory_mb} MB more, got {compared.memory_mb:.0f}")
    return ("refused", "; ".join(faults)) if faults else ("good", "")


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def resident_bytes() -> int:
    """Memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def serve(stdin: IO[bytes], say: Callable[[dict[str, Any]], None]) -> None:
    """Be the child."""
    job = json.loads(stdin.readline())
    how = job["provider"], job["precision"], int(job["cameras"])
    try:
        present = open_as(Path(job["present"]), job["min_score"], *how)
        before = resident_bytes()
        other = open_as(Path(job["other"]), None, *how)
    except DetectorError as fault:
        say({"fault": str(fault)})
        return
    say({})
    number = 0
    while line := stdin.readline():
        height, width = map(int, line.split())
        rgb = np.frombuffer(stdin.read(height * width * 3), np.uint8).reshape(height, width, 3)
        # by turns first: what else the box does meets both
        order = (present, other) if number % 2 else (other, present)
        number += 1
        looks: dict[int, tuple[Any, float]] = {}
        for detector in order:
            try:
                looks[id(detector)] = _timed(detector, rgb)
            except Exception as fault:  # noqa: BLE001 - runtimes share nothing but Exception
                whose = "it" if detector is other else "the present detector"
                say({"fault": f"{whose} failed on a picture ({type(fault).__name__})"})
                return
        found, ms = looks[id(other)]
        present_found, present_ms = looks[id(present)]
        say(
            {
                "agreement": asdict(agree(present_found, found)),
                "ms": ms,
                "present_ms": present_ms,
                "memory_mb": (resident_bytes() - before) / MB,
            }
        )


def _timed(detector: Detector, rgb: NDArray[np.uint8]) -> tuple[Any, float]:
    began_s = time.perf_counter()
    found = detector.detect(rgb)
    return found, 1000 * (time.perf_counter() - began_s)


def main() -> None:
    """Run the child, as kind to the box as can be."""
    os.nice(NICE)
    Path("/proc/self/oom_score_adj").write_text(FIRST_TO_GO)
    memory.spare()

    def say(values: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(values) + "\n")
        sys.stdout.flush()

    serve(sys.stdin.buffer, say)


if __name__ == "__main__":
    main()

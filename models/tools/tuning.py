"""Finding the fastest way to run a detector on this machine that is still good enough.

Comes in: a detector's file, and labelled photos where there are any. Goes out: trials, and the `Tuned` that the agent
reads. Tried are its providers, precisions and threads, smaller inputs where the file leaves them free, and the other
files of its family in the same folder (`yolo26n-640`, `yolo26n-384x640`, `yolo26n-640-int8`).
"""

import os
import re
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from agent.vision.detector import Detector, load_detector
from agent.vision.errors import DetectorError
from agent.vision.providers import PROVIDERS, Plan, Provider, Size
from agent.vision.tuned import Tuned, machine
from models.catalogue import name_of
from models.tools.evaluation import EVALUATION_SCORE, Labelled, evaluate
from models.tools.photos import Photo, PhotoError, look
from models.tools.store import sha256_of

SMALLER: Final = (0.85, 0.7, 0.55)
"""Inputs that are tried where a file leaves its size free, as shares of its own."""
SIDE: Final = 32
TRIAL_S: Final = 1.5
"""Time for one trial."""
LEAST_LOOKS: Final = 5
CLOSE: Final = 3
"""So many of the fastest are tried with other numbers of threads."""
PAIRS_S: Final = 15.0
PAIRS: Final = 60
JUDGED: Final = 8
"""Candidates whose judging the time has to suffice for."""
OVERHEAD: Final = 2.0
"""Time of a look at a photo, which is fitted into the input and judged, by that at noise of its very size."""
INT8: Final = "-int8"
_FAMILY: Final = re.compile(rf"^(?P<name>.+?)-\d{{2,4}}(x\d{{2,4}})?({INT8})?$")
"""A name ends with the input's size; one figure is a version."""


@dataclass(frozen=True)
class Candidate:
    """One way: a file, the size of its input, and how it is run."""

    path: Path
    size: Size
    plan: Plan

    def load(self, min_score: float | None = None) -> Detector:
        """Load it; raises DetectorError."""
        return load_detector(self.path, min_score, plan=self.plan, size=self.size)

    def reckons_as(self, other: "Candidate") -> bool:
        """Whether it answers the same: the same file with the same input in the same numbers."""
        mine, its = ((one.path, one.size, one.plan.precision) for one in (self, other))
        return mine == its

    def __str__(self) -> str:
        threads = f", {self.plan.threads} threads" if self.plan.threads else ""
        width, height = self.size
        return f"{name_of(self.path)} {width}x{height}, {self.plan.provider} {self.plan.precision}{threads}"


@dataclass(frozen=True)
class Trial:
    """What came of one: `ms` of a look."""

    candidate: Candidate
    ms: float


Judge = Callable[[Candidate], float]
"""Says by how many points of mAP (0 to 100) a candidate is worse than the default; inf: not to be used."""


@dataclass(frozen=True)
class Deadline:
    """What is left of the time."""

    at_s: float
    now: Callable[[], float] = time.monotonic

    def left_s(self) -> float:
        """Seconds until the end."""
        return self.at_s - self.now()


def default(path: Path) -> Candidate:
    """How it runs without tuning; raises DetectorError."""
    return Candidate(path, load_detector(path).input_size, Plan())


def family(path: Path, *folders: Path) -> list[Path]:
    """Files of one family in its folder, and in others, itself first."""
    name = _family(path)
    files = {one for folder in (path.parent, *folders) for one in folder.glob("*.onnx")} - {path}
    own = f"{name_of(path)}{INT8}"
    return [path, *sorted(one for one in files if one.stem == own or (name and _family(one) == name))]


def _family(path: Path) -> str:
    said = _FAMILY.match(name_of(path))
    return "" if said is None else said["name"]


def usable() -> tuple[list[Provider], list[str]]:
    """Providers that can run here, and a line for each that cannot."""
    can = [one for one in PROVIDERS if one.missing() is None]
    return can, [f"{one.name}: skipped, {one.missing()}" for one in PROVIDERS if one not in can]


def candidates(base: Candidate, providers: Sequence[Provider], *folders: Path) -> Iterator[Candidate]:
    """All ways but for their threads, the default first."""
    for path in family(base.path, *folders):
        for size in _sizes(path):
            for provider in providers:
                for precision in provider.precisions:
                    yield Candidate(path, size, Plan(provider.name, precision))


def _sizes(path: Path) -> list[Size]:
    """Sizes of input that a file takes, its own first; none for a file that is no detector."""
    try:
        width, height = load_detector(path).input_size
    except DetectorError:
        return []
    free = [(width, height)]
    for share in SMALLER:
        size = (max(1, round(width * share / SIDE)) * SIDE, max(1, round(height * share / SIDE)) * SIDE)
        try:
            load_detector(path, size=size)
        except DetectorError:
            break  # it is fixed
        free.append(size)
    return list(dict.fromkeys(free))


def thread_counts(cores: int | None = None) -> list[int]:
    """Numbers of threads that are worth a trial: 1, 2, 4, … and all cores."""
    cores = cores or len(os.sched_getaffinity(0))
    return sorted({cores, *(2**power for power in range(8) if 2**power <= cores)})


def try_out(candidate: Candidate, clock: Deadline) -> Trial:
    """Time one; raises DetectorError."""
    detector = candidate.load()
    photo = _noise(candidate.size)
    detector.detect(photo)
    spent_s: list[float] = []
    end_s = clock.now() + min(TRIAL_S, max(clock.left_s(), 0))
    while len(spent_s) < LEAST_LOOKS or clock.now() < end_s:
        spent_s.append(_look_s(detector, photo))
    return Trial(candidate, statistics.median(spent_s) * 1000)


def _look_s(detector: Detector, photo: Photo) -> float:
    began_s = time.perf_counter()
    detector.detect(photo)
    return time.perf_counter() - began_s


def _noise(size: Size) -> Photo:
    return np.random.default_rng(1).integers(0, 255, (size[1], size[0], 3), np.uint8)


def trials(base: Candidate, clock: Deadline, tell: Callable[[str], None], *folders: Path) -> list[Trial]:
    """Try all ways, then the fastest with other numbers of threads; gives them, the fastest first."""
    providers, skipped = usable()
    for line in skipped:
        tell(line)
    done: list[Trial] = []

    def attempt(candidate: Candidate) -> None:
        if clock.left_s() <= 0:
            return
        try:
            done.append(try_out(candidate, clock))
        except DetectorError as fault:
            tell(f"{candidate}: skipped, {fault}")
        else:
            tell(f"{candidate}: {done[-1].ms:.1f} ms")

    for candidate in candidates(base, providers, *folders):
        attempt(candidate)
    ranked = sorted(done, key=lambda one: one.ms)
    # the fastest, and the fastest of those whose answers are the default's
    alike = [one for one in ranked if one.candidate.reckons_as(base)]
    for fast in dict.fromkeys([*ranked[:CLOSE], *alike[:CLOSE]]):
        for threads in thread_counts():
            attempt(replace(fast.candidate, plan=replace(fast.candidate.plan, threads=threads)))
    return sorted(done, key=lambda one: one.ms)


def by_photos(base: Candidate, photos: Sequence[tuple[Photo, Labelled | None]], clock: Deadline) -> Judge:
    """Judge by mean average precision on photos.

    Args:
        base: the default.
        photos: what is in them; None: what the default finds there at the threshold of its file is held to be right.
        clock: when the judging has to end; a candidate that is not judged by then is not used.
    """
    sure, detector = base.load().min_score, base.load(EVALUATION_SCORE)
    found = [look(detector, rgb) for rgb, _ in photos]
    truth = []
    for (_, labelled), said in zip(photos, found, strict=True):
        kept = said.scores >= sure
        seen = Labelled(said.boxes[kept], said.classes[kept])
        truth.append(seen if labelled is None else labelled.of(detector.names))
    if not any(len(one.boxes) for one in truth):
        raise PhotoError("expected photos that show what the detector knows, nothing is labelled or found in them")
    best = evaluate(list(zip(truth, found, strict=True))).map50_95

    def loss(candidate: Candidate) -> float:
        detector = candidate.load(EVALUATION_SCORE)
        said = []
        for rgb, _ in photos:
            if clock.left_s() <= 0:
                return float("inf")
            said.append(look(detector, rgb))
        return 100 * (best - evaluate(list(zip(truth, said, strict=True))).map50_95)

    return loss


def without_photos(base: Candidate) -> Judge:
    """Judge without photos: what reckons the same in the same numbers answers the same, others are not used."""

    def loss(candidate: Candidate) -> float:
        return 0.0 if candidate.reckons_as(base) else float("inf")

    return loss


def paired(base: Candidate, other: Candidate, clock: Deadline) -> tuple[float, float]:
    """Time two in turn, so that what else the machine does meets both; medians in ms."""
    detectors = [base.load(), other.load()]
    photos = [_noise(base.size), _noise(other.size)]
    spent_s: list[list[float]] = [[], []]
    end_s = clock.now() + min(PAIRS_S, max(clock.left_s(), 0))
    for number in range(2 * PAIRS):
        if number >= 2 * LEAST_LOOKS and clock.now() > end_s:
            break
        # who comes first changes: the second finds warm caches
        for n in (0, 1) if number % 2 else (1, 0):
            spent_s[n].append(_look_s(detectors[n], photos[n]))
    first, second = (statistics.median(times) * 1000 for times in spent_s)
    return first, second


@dataclass(frozen=True)
class Choice:
    """What is used, and milliseconds of one look: its own and the default's, in turn."""

    candidate: Candidate
    ms: float
    default_ms: float


def choose(
    base: Candidate,
    ranked: Sequence[Trial],
    judge: Judge,
    most_points: float,
    clock: Deadline,
    tell: Callable[[str], None],
) -> Choice:
    """Take the fastest that is good enough and, in a paired run, faster than the default; else the default."""
    for trial in ranked:
        if trial.candidate == base or clock.left_s() <= 0:
            break
        points = judge(trial.candidate)
        if points > most_points:
            why = "it could not be judged" if points == float("inf") else f"mAP falls by {points:.1f} points"
            tell(f"{trial.candidate}: not used, {why}")
            continue
        if clock.left_s() <= 0:
            break
        before_ms, after_ms = paired(base, trial.candidate, clock)
        if after_ms < before_ms:
            return Choice(trial.candidate, after_ms, before_ms)
        tell(f"{trial.candidate}: not used, {after_ms:.1f} ms beside {before_ms:.1f} ms of the default")
    alone_ms = next((trial.ms for trial in ranked if trial.candidate == base), 0.0)
    return Choice(base, alone_ms, alone_ms)


def notice(base: Candidate, choice: Choice) -> Tuned:
    """What the agent reads."""
    chosen = choice.candidate
    provider = next(one for one in PROVIDERS if one.name == chosen.plan.provider)
    return Tuned(
        model_sha256=sha256_of(base.path),
        machine=machine(),
        file=chosen.path.name,
        file_sha256=sha256_of(chosen.path),
        size=chosen.size,
        plan=chosen.plan,
        library=provider.version,
        ms=round(choice.ms, 2),
        default_ms=round(choice.default_ms, 2),
    )

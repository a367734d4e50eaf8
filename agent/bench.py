"""How many cameras this box bears: clips that play as cameras do, through the agent as it is.

Comes in: clips, and how many cameras they are to be. Goes out: figures of the whole process tree. Nothing is taken from
the box's own memory, and nothing is sent.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from agent.box.clock import Clock
from agent.camera.errors import CameraError
from agent.camera.source import Source
from agent.evidence.pictures import Picture
from agent.live import TEND_S, Agent
from agent.settings import BoxConfig, BoxSection, BoxSettings, DetectorSection
from agent.vision.tuned import cores
from protocol.messages import IncidentEvent
from protocol.settings import Camera, FrontageZone, GatheringZone

LEARN_S: Final = 20.0
SETTLE_S: Final = 30.0
"""Before anything is measured: the clear place is learned by then."""
DWELL_S: Final = 30.0
ZONES: Final = (
    FrontageZone(
        id="front", kind="frontage", polygon=((0.0, 0.35), (1.0, 0.35), (1.0, 1.0), (0.0, 1.0)), dwell_s=DWELL_S
    ),
    GatheringZone(
        id="square",
        kind="gathering",
        polygon=((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)),
        dwell_s=DWELL_S,
        max_people=60,
    ),
)
"""Both rules, each over most of the picture: no camera asks for more."""
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
GONE: Final = (FileNotFoundError, ProcessLookupError)
"""What Linux says of a process that has ended before its file was opened, and before it was read."""


@dataclass(frozen=True)
class Bench:
    """What is to be measured.

    Args:
        clips: videos; camera n plays the n-th of them, over and over.
        cameras: how many.
        minutes: measured, after SETTLE_S.
        detector: which one, and how it is run.
        folder: what a detector's path is relative to.
        like: a camera whose zones and rates each of them gets; None: ZONES.
    """

    clips: Sequence[Path]
    cameras: int
    minutes: float
    detector: DetectorSection
    folder: Path
    like: Camera | None = None

    def config(self, state_dir: Path) -> BoxConfig:
        """Settings of a box with these cameras."""
        like = self.like or Camera(id="cam", source="-", learn_s=LEARN_S, zone=ZONES)
        cameras = tuple(
            like.model_copy(
                update={
                    "id": f"cam-{number + 1}",
                    "source": str(self.clips[number % len(self.clips)].resolve()),
                    "credentials": None,
                    "substream": None,
                    "learn_s": LEARN_S,
                }
            )
            for number in range(self.cameras)
        )
        box = BoxSection(id="bench", site="bench", state_dir=state_dir)
        return BoxConfig(BoxSettings(version=1, box=box, detector=self.detector, camera=cameras), self.folder)

    def source(self, camera: Camera, config: BoxConfig) -> Source:
        """Each camera begins elsewhere in its clip: real ones do not see the same at the same time."""
        source = Source.from_camera(camera, config)
        number = [one.id for one in config.settings.camera].index(camera.id)
        return replace(source, begin=number / self.cameras)

    def run(self) -> dict[str, Any]:
        """Measure; raises what the agent raises when it starts, and CameraError for a clip that cannot be played."""
        delays_s: list[float] = []
        clock = Clock()

        def tell(event: IncidentEvent, _pictures: Sequence[Picture]) -> None:
            if event.type.endswith(".opened"):
                decided_s = clock.now() - event.data.opened_at.timestamp()
                delays_s.append(decided_s - event.data.dwell_limit_s)

        with (
            TemporaryDirectory(prefix="cityeye-bench-") as folder,
            Agent(self.config(Path(folder)), clock, tell, self.source) as agent,
        ):
            while agent.attention.figures.looks == 0 and agent.eyes.detector is not None:
                _expect_pictures(agent)
                clock.sleep(0.01)
            start_s = clock.now() - _started_s(clock)
            until_s = clock.monotonic() + SETTLE_S
            while clock.monotonic() < until_s:
                _spend(agent, clock, min(TEND_S, until_s - clock.monotonic()))
                _expect_pictures(agent)
            agent.attention.forget_figures()
            for thread in agent.cameras:
                thread.lags_s.clear()
            before, cpu_s, began_s = agent.figures, tree_cpu_s(), clock.monotonic()
            looks, peak_bytes = agent.attention.figures.looks, 0
            while clock.monotonic() - began_s < 60 * self.minutes:
                _spend(agent, clock, min(TEND_S, 60 * self.minutes))
                peak_bytes = max(peak_bytes, tree_pss_bytes())
            spent_s, cpu_s = clock.monotonic() - began_s, tree_cpu_s() - cpu_s
            after, figures = agent.figures, agent.attention.figures
            lags_s = sorted(lag for thread in agent.cameras for lag in thread.lags_s)
            detector = agent.eyes.detector
        camera_s = self.cameras * spent_s
        return {
            "cameras": self.cameras,
            "minutes": round(spent_s / 60, 2),
            "detector": None if detector is None else detector.name,
            "provider": None if detector is None else detector.plan.provider,
            "precision": None if detector is None else detector.plan.precision,
            "threads": None if detector is None else detector.plan.threads,
            "at_a_time": None if detector is None else detector.plan.streams,
            "cpu_s_per_camera_minute": round(60 * cpu_s / camera_s, 3),
            "cores_busy": round(cpu_s / spent_s, 3),
            "cores": cores(),
            "packets_per_camera_s": round((after.read - before.read) / camera_s, 2),
            "decoded_per_camera_s": round((after.decoded - before.decoded) / camera_s, 3),
            "detections_per_camera_s": round((figures.looks - looks) / camera_s, 3),
            "dropped": after.dropped - before.dropped,
            "inference_wait_p50_s": figures.wait_p50_s,
            "inference_wait_p99_s": figures.wait_p99_s,
            "stretch": figures.stretch,
            "late_s": figures.late_s,
            "lag_p50_s": _quantile(lags_s, 0.5),
            "lag_p99_s": _quantile(lags_s, 0.99),
            "decisions": len(delays_s),
            "decision_delay_p50_s": _quantile(sorted(delays_s), 0.5),
            "decision_delay_max_s": _quantile(sorted(delays_s), 1.0),
            "peak_pss_mb": round(peak_bytes / 1e6),
            "start_s": round(start_s, 2),
        }


def _expect_pictures(agent: Agent) -> None:
    """Raise CameraError for a camera that has failed before it brought anything, or whose pipeline has."""
    for thread in agent.cameras:
        if thread.failures:
            raise CameraError(f"camera {thread.camera}: expected its clip to be looked at, got {thread.failure}")
        if thread.condition.state in ("stalled", "lost") and thread.figures.decoded == 0:
            raise CameraError(thread.condition.text.partition("; trying again")[0])


def _spend(agent: Agent, clock: Clock, seconds: float) -> None:
    """Let time go by, as the agent's own command does."""
    until_s = clock.monotonic() + seconds
    while (left_s := until_s - clock.monotonic()) > 0:
        clock.sleep(min(TEND_S, left_s))
        agent.tend()


def _quantile(ordered: Sequence[float], share: float) -> float | None:
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2) if ordered else None


def tree(pid: int) -> list[int]:
    """A process and all that came of it."""
    children = [int(child) for task in _tasks(pid) for child in _read(task / "children").split()]
    return [pid, *(one for child in children for one in tree(child))]


def tree_cpu_s(pid: int | None = None) -> float:
    """Processor time of a process tree, those that have ended included."""
    ticks = 0
    for one in tree(pid or os.getpid()):
        fields = _stat(one)
        # user and system time; those of ended children were added to their parent's
        ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS_PER_S


def tree_pss_bytes(pid: int | None = None) -> int:
    """Proportional set size of a process tree: what it takes of the memory, shared pages counted once."""
    total_kb = 0
    for one in tree(pid or os.getpid()):
        for line in _read(Path(f"/proc/{one}/smaps_rollup")).splitlines():
            if line.startswith("Pss:"):
                total_kb += int(line.split()[1])
    return total_kb * 1024


def _started_s(clock: Clock) -> float:
    """When this process began, seconds since the epoch."""
    uptime_s = float(Path("/proc/uptime").read_text().split()[0])
    return clock.now() - uptime_s + int(_stat(os.getpid())[19]) / TICKS_PER_S


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third on (proc(5)); the name before may hold anything. Ended: none."""
    return _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()


def _tasks(pid: int) -> Iterator[Path]:
    try:
        yield from Path(f"/proc/{pid}/task").iterdir()
    except GONE:
        return


def _read(path: Path) -> str:
    """What a file of a process says; empty where that has ended meanwhile, as readers do."""
    try:
        return path.read_text()
    except GONE:
        return ""

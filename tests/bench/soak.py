"""Memory, file handles and processes over time: `python -m tests.bench.soak`.

`real`: the agent with clips that play in real time. `fast`: the pipelines of some cameras on a clock of their own, a
day in minutes. Prints a line of JSON now and then, and at the end how the second quarter of them compares to the last
one. What is kept on purpose for an hour is counted apart: it fills up first.
"""

import argparse
import gc
import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from agent.bench import ZONES, Bench, tree, tree_pss_bytes
from agent.box import memory
from agent.box.clock import Clock
from agent.camera.frame import Frame
from agent.camera.reader import replay
from agent.camera.source import Source
from agent.evidence.masking import Masker
from agent.live import TEND_S, Agent
from agent.settings import DetectorSection
from agent.uplink.outbox import Outbox
from agent.vision.detector import load_detector
from agent.vision.selection import find_face_model, shipped_detector
from protocol.settings import Camera
from tests.runners import EPOCH_S, runner

DAY_S = 86400.0


def figures(passed_s: float, hour_bytes: int) -> dict[str, float]:
    """What this process and its children hold."""
    gc.collect()
    memory.give_back()
    pids = tree(os.getpid())
    return {
        "passed_s": round(passed_s),
        "pss_mb": round(tree_pss_bytes() / 1e6, 1),
        "hour_mb": round(hour_bytes / 1e6, 1),
        "handles": sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids),
        "processes": len(pids),
    }


def real(clips: list[Path], cameras: int, minutes: float) -> Iterator[dict[str, float]]:
    """The agent as it is."""
    bench = Bench(clips, cameras, minutes, DetectorSection(), Path())
    clock = Clock()
    with TemporaryDirectory() as folder, Agent(bench.config(Path(folder)), clock, source_of=bench.source) as agent:
        began_s = told_s = clock.monotonic()
        while (now_s := clock.monotonic()) - began_s < 60 * minutes:
            clock.sleep(TEND_S)
            agent.tend()
            if now_s - told_s >= 60:
                told_s = now_s
                yield figures(now_s - began_s, sum(thread.hour_bytes for thread in agent.cameras))


def fast(clips: list[Path], cameras: int, hours: float, sample_s: float) -> Iterator[dict[str, float]]:
    """Pipelines of cameras whose pictures are those of the clips, `sample_s` apart on a clock of their own."""
    detector = load_detector(shipped_detector(), threads=1)
    with TemporaryDirectory() as folder:
        outbox = Outbox(Path(folder) / "outbox.db", now=time.time)
        watched = []
        for number in range(cameras):
            clip = clips[number % len(clips)]
            camera = Camera(id=f"cam-{number}", source=str(clip), sample_s=sample_s, compute_ms=60, zone=ZONES)
            pipeline = runner(camera, detector=detector, outbox=outbox, state_dir=Path(folder))
            pipeline.masker = pipeline.samples.masker = Masker(find_face_model())
            pictures = list(replay(replace(Source.of_clip(clip, camera), sample_s=2.0), EPOCH_S))
            watched.append((pipeline, cycle(pictures)))
        for step in range(round(3600 * hours / sample_s)):
            at_s = step * sample_s
            for pipeline, pictures in watched:
                picture: Frame = next(pictures)
                pipeline.look(replace(picture, time_s=EPOCH_S + at_s))
            if step and step % round(1800 / sample_s) == 0:
                yield figures(at_s, sum(pipeline.samples.bytes for pipeline, _ in watched))


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.soak", description=__doc__)
    parser.add_argument("way", choices=("real", "fast"))
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--cameras", type=int, default=12)
    parser.add_argument("--minutes", type=float, default=60.0, help="of real time")
    parser.add_argument("--hours", type=float, default=24.0, help="on the fast clock")
    parser.add_argument("--sample-s", type=float, default=10.0, help="on the fast clock")
    asked = parser.parse_args()
    lines = (
        real(asked.clips, asked.cameras, asked.minutes)
        if asked.way == "real"
        else fast(asked.clips, asked.cameras, asked.hours, asked.sample_s)
    )
    told = []
    for line in lines:
        print(json.dumps(line), flush=True)
        told.append(line)
    quarter = max(1, len(told) // 4)
    for name in ("pss_mb", "hour_mb", "handles", "processes"):
        # the first ones, in which all is loaded and learned, say nothing
        first = median(one[name] for one in told[quarter : 2 * quarter])
        last = median(one[name] for one in told[-quarter:])
        print(f"{name}: {first:g} in the second quarter, {last:g} in the last")


if __name__ == "__main__":
    main()

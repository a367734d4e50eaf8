"""Measure speed: `python -m tests.bench`, writes the tables and the plot of docs/design/speed.md.

All in one run on one machine, one after the other: what somebody would use instead, then the agent with several numbers
of cameras. Absolute times are this machine's; what counts is how they compare.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.bench import footage, speed_page
from tests.bench.environments import SUPERVISION, ULTRALYTICS, Environment

CACHE: Final = Path(".cache")
PAGE: Final = Path("docs/design/speed.md")
RIVAL_S: Final = 60.0
MODEL: Final = "yolo26n-384x640"
PROVIDERS: Final = ("cpu", "openvino")
CAMERAS: Final = (1, 2, 12, 40)
DECIDING_MINUTES: Final = 5.0
"""Of the run with the most cameras: crates come and go each 150 s, and a handful of decisions is wanted."""
FAIR: Final = "busy, the same budget for each"
FAIR_CAMERAS: Final = (2, 40)
FAIR_SHARE: Final = 0.004
"""Of the cores, for each camera: less than forty of them get when they are left to themselves."""
TURN: Final = ("pedestrians-crate", *("vtest", "pedestrians") * 2, "vtest-crate", *("pedestrians", "vtest") * 2)
"""Every fifth camera sees a crate come and go in each 150 s, which is a hundred times as often as on a street."""
Figures = dict[str, Any]


@dataclass(frozen=True)
class Rival:
    """What somebody would use instead.

    Args:
        model: file in the folder of models, without its ending.
        rates: detections a second.
        needs: a program that it needs.
    """

    tool: str
    environment: Environment
    model: str
    rates: tuple[float, ...]
    needs: str = "python3"


RIVALS: Final = (
    Rival("supervision", SUPERVISION, "yolo26n-640", (25.0, 5.0)),
    Rival("ultralytics", ULTRALYTICS, "yolo26n-640", (25.0, 5.0)),
    Rival("frigate-like", SUPERVISION, "yolox-nano-416", (5.0,), needs="ffmpeg"),
)


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--cameras", default=",".join(map(str, CAMERAS)), help="numbers of cameras")
    parser.add_argument("--providers", default=",".join(PROVIDERS))
    parser.add_argument("--minutes", type=float, default=2.0, help="measured, of each run")
    parser.add_argument("--dry", action="store_true", help="print only, keep the page as it is")
    asked = parser.parse_args()
    shared = Path(os.environ.get("CITYEYE_SHARED", "../shared/data"))
    vtest = next(path for path in (CACHE / "vtest.avi", shared / "videos/vtest.avi") if path.is_file())
    clips = footage.make(CACHE / "bench", shared / "videos", vtest)
    models = CACHE / "models"
    subprocess.run([shared / "unpack", models], check=True, stdout=subprocess.DEVNULL)
    environment = {**os.environ, "CITYEYE_MODELS": str(models.resolve())}

    rivals = _rivals(clips["pedestrians"], models)
    turn = [clips[name] for name in TURN if name in clips]
    ours: list[Figures] = []
    for provider in asked.providers.split(","):
        numbers = list(map(int, asked.cameras.split(",")))
        for one in numbers:
            minutes = max(asked.minutes, DECIDING_MINUTES) if one == max(numbers) > 1 else asked.minutes
            ours.append(_ours(turn, one, minutes, provider, environment) | {"clips": "busy"})
        ours.append(_ours([clips[footage.QUIET]], 2, asked.minutes, provider, environment) | {"clips": "quiet"})
        for number in FAIR_CAMERAS:
            share = str(FAIR_SHARE * number)
            fair = _ours(turn, number, asked.minutes, provider, environment, "--cpu-share", share)
            ours.append(fair | {"clips": FAIR})
        starved = _ours(turn, 12, asked.minutes, provider, environment, "--cpu-share", "0.05")
        ours.append(starved | {"clips": "busy, a tenth of cpu_share"})
    measured = {"machine": f"{_processor()}, {len(os.sched_getaffinity(0))} cores", "rivals": rivals, "ours": ours}
    print(json.dumps(measured, indent=1))
    if not asked.dry:
        speed_page.write(PAGE, measured)


def _ours(
    clips: Sequence[Path], cameras: int, minutes: float, provider: str, environment: dict[str, str], *more: str
) -> Figures:
    command = [Path(sys.executable).parent / "cityeye-agent", "bench", "--cameras", str(cameras)]
    command += ["--minutes", str(minutes), "--model", MODEL, "--provider", provider, *more, *clips]
    print(f"agent: {cameras} cameras, {provider} {' '.join(more)}", file=sys.stderr)
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    figures: Figures = json.loads(done.stdout)
    return figures


def _rivals(clip: Path, models: Path) -> list[Figures]:
    found = []
    for rival in RIVALS:
        python = rival.environment.python(CACHE)
        if python is None or shutil.which(rival.needs) is None:
            print(f"{rival.tool} cannot be installed here and is left out", file=sys.stderr)
            continue
        for rate in rival.rates:
            print(f"{rival.tool}: {rate:g} a second", file=sys.stderr)
            script, model = Path(__file__).with_name("rivals.py"), models / f"{rival.model}.onnx"
            command = [python, script, rival.tool, clip, model, str(rate), str(RIVAL_S)]
            done = subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE, text=True)
            found.append(json.loads(done.stdout.splitlines()[-1]))
    return found


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    main()

"""The figures of staged scenes: recall, precision, delay and clearing."""

import os
import pickle
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np

from tests.eval import backdrops, sprites
from tests.eval.scoring import Verdict, judge, watch
from tests.eval.staging import HARD, Hardness, Stage

SAMPLE_S: Final = 1.0
SHORT_SCENES: Final = 32
Figures = dict[str, float | int | None]


@cache
def stage(shared: Path | None) -> Stage:
    """What scenes are made from; None: everything is drawn. Cutting out takes a minute and is kept in `.cache`."""
    if shared is None:
        return Stage()
    kept = Path(".cache/cutouts.pkl")
    if kept.exists():
        found = pickle.loads(kept.read_bytes())  # noqa: S301 - our own file, written below
    else:
        found = sprites.cutouts([shared / "coco-val128"])
        kept.parent.mkdir(exist_ok=True)
        part = kept.with_suffix(f".{os.getpid()}")
        part.write_bytes(pickle.dumps(found))
        part.replace(kept)
    return Stage(backdrops.real(shared), found)


def play(seed: int, shared: Path | None, sample_s: float = SAMPLE_S) -> tuple[Hardness, str, Verdict]:
    """Stage one scene, watch it and judge."""
    scene = stage(shared).scene(seed)
    reports = watch(scene.frames(sample_s), sample_s=sample_s)
    return scene.hardness, f"{scene.plot} {scene.light_kind} {scene.shake}", judge(scene, reports)


def play_all(
    seeds: Sequence[int], shared: Path | None, workers: int, sample_s: float = SAMPLE_S
) -> list[tuple[int, Hardness, str, Verdict]]:
    """Play many scenes, in parallel."""
    stage(shared)
    if workers <= 1:
        return [(seed, *play(seed, shared, sample_s)) for seed in seeds]
    with ProcessPoolExecutor(workers) as pool:
        played = pool.map(play, seeds, [shared] * len(seeds), [sample_s] * len(seeds), chunksize=4)
        return [(seed, *one) for seed, one in zip(seeds, played, strict=True)]


def short() -> Figures:
    """CI's form: scenes that are rendered from nothing, all hardnesses and plots among them."""
    played = play_all(range(SHORT_SCENES), None, min(2, os.cpu_count() or 1))
    return figures(played)["all"]


def figures(played: Iterable[tuple[int, Hardness, str, Verdict]]) -> dict[str, Figures]:
    """Sum up: one entry for all, one for each hardness."""
    groups: dict[str, list[Verdict]] = defaultdict(list)
    for _, hardness, _, verdict in played:
        groups["all"].append(verdict)
        groups[hardness].append(verdict)
    return {name: _sum(groups[name]) for name in ("all", *HARD) if groups[name]}


def _sum(verdicts: Sequence[Verdict]) -> Figures:
    found, missed = sum(v.found for v in verdicts), sum(v.missed for v in verdicts)
    false = sum(v.false for v in verdicts)
    right, wrong = sum(v.cleared_right for v in verdicts), sum(v.cleared_wrong for v in verdicts)
    delays = [delay for v in verdicts for delay in v.delays_s]

    def share(part: int, whole: int) -> float | None:
        return round(part / whole, 4) if whole else None

    return {
        "scenes": len(verdicts),
        "recall": share(found, found + missed),
        "precision": share(found, found + false),
        "delay_median_s": round(float(np.median(delays)), 2) if delays else None,
        "delay_p95_s": round(float(np.quantile(delays, 0.95)), 2) if delays else None,
        "cleared_right": share(right, right + wrong),
        "cleared_while_hidden": sum(v.cleared_while_hidden for v in verdicts),
    }

"""Staged sabotage and faults: what happens to a camera between two instants, and how much of it is recognised."""

import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.runner import CameraRunner
from agent.vision.condition import State
from tests.eval import backdrops, staged
from tests.eval.backdrops import HEIGHT, WIDTH
from tests.eval.scoring import Report, watch
from tests.eval.staging import Scene

Picture = NDArray[np.uint8]
Paint = Callable[[Picture, float], Picture]
"""Paints what happened to the camera over a picture, seconds after it began."""

BEGIN_S: Final = 30.0
END_S: Final = 62.0
LENGTH_S: Final = 84.0
FIRST_SEED: Final = 5000
"""Thresholds were chosen on seeds below."""
RECOGNISED_S: Final = 15.0
"""A fault must be told so soon after it began."""
RECOVERED_S: Final = 10.0


@dataclass(frozen=True)
class Fault:
    """Something that happens to a camera.

    Args:
        state: what the camera's state must become; `live` for what merely passes.
        text: what the text must tell.
        make: from random numbers, and another street that the camera may be turned to.
        lasts_s: how long it lasts.
        comes_s: from its beginning until it is there.
    """

    state: State
    text: str
    make: Callable[[np.random.Generator, Picture], Paint]
    lasts_s: float = END_S - BEGIN_S
    comes_s: float = 0.0


def _coded(picture: NDArray[np.float32], rng: np.random.Generator, noise: float = 1.5) -> Picture:
    """Add what sensor and codec add."""
    noisy = picture + rng.normal(0, noise, picture.shape[:2])[..., None]
    coded = cv2.imencode(".jpg", np.clip(noisy, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)


def _veil(mask: NDArray[np.float32], what: NDArray[np.float32], rng: np.random.Generator) -> Paint:
    return lambda rgb, _: _coded(rgb * (1 - mask[..., None]) + what * mask[..., None], rng)


def _soft_cloth(rng: np.random.Generator) -> NDArray[np.float32]:
    folds = cv2.resize(rng.normal(0, 12, (5, 7)).astype(np.float32), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return np.asarray(rng.uniform(25, 190, 3) + folds[..., None], np.float32)


def cloth(rng: np.random.Generator, _: Picture) -> Paint:
    """Cover all of the lens."""
    return _veil(np.ones((HEIGHT, WIDTH), np.float32), _soft_cloth(rng), rng)


def half_cloth(rng: np.random.Generator, _: Picture) -> Paint:
    """Cover half of the lens and a little more, from one side."""
    share, mask = rng.uniform(0.5, 0.7), np.zeros((HEIGHT, WIDTH), np.float32)
    side = rng.integers(3)
    if side == 0:
        mask[:, : int(WIDTH * share)] = 1
    elif side == 1:
        mask[:, int(WIDTH * (1 - share)) :] = 1
    else:
        mask[int(HEIGHT * (1 - share)) :] = 1
    return _veil(cv2.GaussianBlur(mask, (0, 0), 9), _soft_cloth(rng), rng)


def spray(rng: np.random.Generator, _: Picture) -> Paint:
    """Spray paint onto the lens: nearly opaque, soft, with thin places."""
    blots = cv2.resize(rng.uniform(0.86, 1.0, (6, 9)).astype(np.float32), (WIDTH, HEIGHT))
    colour = rng.uniform(10, 230, 3).astype(np.float32)

    def paint(rgb: Picture, _: float) -> Picture:
        behind = cv2.GaussianBlur(rgb.astype(np.float32), (0, 0), 14)
        return _coded(behind * (1 - blots[..., None]) + colour * blots[..., None], rng)

    return paint


def cap(rng: np.random.Generator, _: Picture) -> Paint:
    """Put a black cap on."""
    return lambda rgb, _: _coded(np.full(rgb.shape, 2, np.float32), rng, 1.0)


def lorry(rng: np.random.Generator, _: Picture) -> Paint:
    """Park a lorry before the lens: panels, letters, a gap around it."""
    side = np.full((HEIGHT, WIDTH, 3), rng.integers(60, 220, 3), np.uint8)
    for x in range(0, WIDTH, int(rng.integers(40, 90))):
        cv2.line(side, (x, 0), (x, HEIGHT), (side[0, 0] * 0.7).tolist(), 2)
    cv2.putText(side, "LOGISTICS", (60, 220), cv2.FONT_HERSHEY_SIMPLEX, 3, rng.uniform(0, 255, 3).tolist(), 12)
    panels = side + cv2.GaussianBlur(rng.normal(0, 14, (HEIGHT, WIDTH)).astype(np.float32), (0, 0), 1.5)[..., None]
    mask = np.zeros((HEIGHT, WIDTH), np.float32)
    left, right = rng.uniform(0, 0.15), rng.uniform(0.75, 0.9)
    mask[int(HEIGHT * rng.uniform(0.05, 0.15)) :, int(left * WIDTH) : int(right * WIDTH)] = 1

    def paint(rgb: Picture, t: float) -> Picture:
        drive = round(max(0.0, 1 - t / 3) * WIDTH)  # it arrives from the right
        here = np.roll(mask, drive, 1)
        here[:, :drive] = 0
        return _coded(rgb * (1 - here[..., None]) + np.roll(panels, drive, 1) * here[..., None], rng)

    return paint


def pan(rng: np.random.Generator, _: Picture) -> Paint:
    """Push the camera aside."""
    far = rng.uniform(32, 140) * rng.choice([-1, 1])
    matrix = np.float32([[1, 0, far], [0, 1, rng.uniform(-40, 40)]])
    return lambda rgb, _: _coded(
        cv2.warpAffine(rgb, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT).astype(np.float32), rng
    )


def roll(rng: np.random.Generator, _: Picture) -> Paint:
    """Turn the camera about its axis."""
    matrix = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), rng.uniform(9, 40) * rng.choice([-1, 1]), 1.15)
    return lambda rgb, _: _coded(
        cv2.warpAffine(rgb, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT).astype(np.float32), rng
    )


def turn(rng: np.random.Generator, other: Picture) -> Paint:
    """Turn the camera to another street."""
    return lambda _rgb, _t: _coded(other.astype(np.float32), rng)


def blur(rng: np.random.Generator, _: Picture) -> Paint:
    """Lose focus."""
    sigma_px = rng.uniform(4, 14)
    return lambda rgb, _: _coded(cv2.GaussianBlur(rgb.astype(np.float32), (0, 0), sigma_px), rng)


def freeze(_rng: np.random.Generator, _: Picture) -> Paint:
    """Send one picture again and again."""
    kept: list[Picture] = []

    def paint(rgb: Picture, _: float) -> Picture:
        kept[:] = kept or [rgb]
        return kept[0]

    return paint


def darken(rng: np.random.Generator, _: Picture) -> Paint:
    """Let all light go within a quarter of a minute, to nothing."""
    return lambda rgb, t: _coded(rgb.astype(np.float32) * np.exp(-t / 4), rng, 1.0)


def infrared(rng: np.random.Generator, _: Picture) -> Paint:
    """Swing the infrared filter away: colour is gone, cloth and leaves turn bright, a lamp lights the middle."""
    ys, xs = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    lamp = 0.55 + 0.7 * np.exp(-(((xs - WIDTH / 2) / 260) ** 2) - ((ys - HEIGHT * 0.6) / 160) ** 2)
    mix = rng.dirichlet([2, 1, 1])

    def paint(rgb: Picture, _: float) -> Picture:
        grey = (rgb.astype(np.float32) @ mix.astype(np.float32)) * lamp
        return _coded(np.repeat(grey[..., None], 3, 2).astype(np.float32), rng, 3.0)

    return paint


def wipe(rng: np.random.Generator, _: Picture) -> Paint:
    """Wipe the lens with a cloth for some seconds."""
    colour, phase = rng.uniform(60, 200, 3), rng.uniform(0, 6)
    ys, xs = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)

    def paint(rgb: Picture, t: float) -> Picture:
        x, y = WIDTH * (0.5 + 0.3 * np.sin(2.1 * t + phase)), HEIGHT * (0.5 + 0.25 * np.sin(3.3 * t))
        hand = 1 / (1 + np.exp(np.clip((np.hypot((xs - x) / 1.3, ys - y) - 190) / 12, -30, 30)))
        shade = colour * (1 + 0.25 * np.sin(5 * t))
        return _coded(rgb * (1 - hand[..., None]) + shade * hand[..., None], rng)

    return paint


def snow(rng: np.random.Generator, _: Picture) -> Paint:
    """Let it snow."""
    flakes = int(rng.integers(250, 700))

    def paint(rgb: Picture, _: float) -> Picture:
        picture = rgb.copy()
        for _flake in range(flakes):
            at = (int(rng.integers(WIDTH)), int(rng.integers(HEIGHT)))
            radius = int(rng.integers(1, 4))
            fall = (at[0] + int(rng.integers(-3, 4)), at[1] + int(rng.integers(0, 8)))
            cv2.line(picture, at, fall, (235, 235, 240), radius)
        return _coded(picture.astype(np.float32), rng)

    return paint


def lightning(rng: np.random.Generator, _: Picture) -> Paint:
    """Flash for a sample or two, three times."""
    strikes = [0.0, float(rng.integers(6, 10)), float(rng.integers(14, 20))]
    gain = rng.uniform(1.8, 3.0)

    def paint(rgb: Picture, t: float) -> Picture:
        lit = any(0 <= t - strike < 1 for strike in strikes)
        return _coded(rgb.astype(np.float32) * gain + 20, rng) if lit else rgb

    return paint


FAULTS: Final[dict[str, Fault]] = {
    "cloth": Fault("covered", "", cloth),
    "half_cloth": Fault("covered", "", half_cloth),
    "spray": Fault("covered", "", spray),
    "cap": Fault("covered", "", cap),
    "lorry": Fault("covered", "", lorry, comes_s=3.0),
    "pan": Fault("moved", "", pan),
    "roll": Fault("moved", "", roll),
    "turn": Fault("moved", "", turn),
    "blur": Fault("defocused", "", blur),
    "freeze": Fault("frozen", "", freeze),
    "darken": Fault("dark", "", darken, comes_s=12.0),
    "infrared": Fault("live", "day-night switch", infrared),
    "wipe": Fault("live", "lens being cleaned", wipe, 8.0),
    "snow": Fault("live", "rain or snow", snow),
    "lightning": Fault("live", "lightning", lightning),
}


def struck(name: str, pictures: Sequence[tuple[float, Picture]], seed: int) -> list[tuple[float, Picture]]:
    """Let a fault happen to pictures of a street."""
    fault = FAULTS[name]
    rng = np.random.default_rng([seed, sorted(FAULTS).index(name)])
    paint = fault.make(rng, backdrops.drawn(np.random.default_rng([seed, 31])).rgb)
    return [(t, paint(rgb, t - BEGIN_S) if BEGIN_S <= t < BEGIN_S + fault.lasts_s else rgb) for t, rgb in pictures]


@dataclass(frozen=True)
class Glance:
    """What the camera said of itself at an instant."""

    t: float
    state: str
    text: str
    trusted: bool


def look(pictures: Sequence[tuple[float, Picture]]) -> tuple[list[Glance], list[Report]]:
    """Run the camera's pipeline and note what it says of itself, and its incidents."""
    glances: list[Glance] = []

    def note(t: float, runner: CameraRunner) -> None:
        outlook = runner.outlook
        sight = runner._sight
        glances.append(Glance(t, outlook.state, outlook.text, sight is None or sight.trusted))

    return glances, watch(pictures, notice=note)


@dataclass(frozen=True)
class Outcome:
    """How one fault went.

    Args:
        delay_s: from when it was there until it was told; None: it was not.
        wrong: states that were told and are another fault's.
        recovered: whether the camera was live again soon after it was over.
        incidents: opened while, or because, it happened.
        cleared: an incident that was open cleared although its place was never clear.
    """

    fault: str
    delay_s: float | None
    wrong: tuple[str, ...]
    recovered: bool
    incidents: int
    cleared: int


def judge(name: str, glances: Sequence[Glance], incidents: int, cleared: int) -> Outcome:
    """Compare what the camera said of itself with what happened."""
    fault = FAULTS[name]
    end_s = BEGIN_S + fault.lasts_s
    told = [
        max(0.0, glance.t - BEGIN_S - fault.comes_s)
        for glance in glances
        if BEGIN_S <= glance.t <= end_s + RECOVERED_S and glance.state == fault.state and fault.text in glance.text
    ]
    wrong = {glance.state for glance in glances} - {"live", fault.state}
    after = [glance.state for glance in glances if glance.t >= end_s + RECOVERED_S]
    delay_s = min(told) if told and min(told) <= RECOGNISED_S else None
    return Outcome(name, delay_s, tuple(sorted(wrong)), set(after) <= {"live"}, incidents, cleared)


@dataclass(frozen=True)
class Calm:
    """How an ordinary scene went: wrong states and texts, and samples that were not trusted."""

    states: tuple[str, ...]
    texts: tuple[str, ...]
    blind: int
    samples: int


def _pictures(scene: Scene) -> list[tuple[float, Picture]]:
    return [(t, rgb) for t, rgb in scene.frames(1.0) if t < LENGTH_S]


def play(seed: int, shared: Path | None) -> tuple[list[Outcome], list[Calm]]:
    """Stage one street; let each fault happen to it, once empty and once with a thing that stands there."""
    stage = staged.stage(shared)
    scene = replace(stage.scene(seed), length_s=LENGTH_S)
    empty = replace(scene, props=(), stays=())
    pictures = _pictures(empty)
    outcomes = []
    for name in FAULTS:
        glances, reports = look(struck(name, pictures, seed))
        outcomes.append(judge(name, glances, len(reports), 0))
    if scene.props:
        # opened before the fault begins, and there to the end
        held = replace(scene, props=(replace(scene.props[0], span=(11.0, LENGTH_S)),), stays=())
        pictures = _pictures(held)
        open_before = [report for report in look(pictures)[1] if report.opened_s < BEGIN_S]
        for name in FAULTS if open_before else ():
            glances, reports = look(struck(name, pictures, seed))
            cleared = sum(report.cleared_s is not None for report in reports)
            outcomes.append(judge(name, glances, max(0, len(reports) - len(open_before)), cleared))
    rng = np.random.default_rng([seed, 8])
    crowd = tuple(stage._walker(rng, LENGTH_S) for _ in range(30))
    ordinary = [look(_pictures(one))[0] for one in (scene, replace(scene, walkers=crowd))]
    return outcomes, [_calm(scene, glances) for glances in ordinary]


def _calm(scene: Scene, glances: Sequence[Glance]) -> Calm:
    lit = {"headlights"} if scene.light_kind in ("headlights", "lamp", "clouds", "shadow") else set()
    texts = {text for glance in glances for text in glance.text.split("; ") if text} - lit
    return Calm(
        tuple(sorted({glance.state for glance in glances} - {"live"})),
        tuple(sorted(texts)),
        sum(not glance.trusted for glance in glances),
        len(glances),
    )


def figures(seeds: Sequence[int], shared: Path | None = None, workers: int = 1) -> dict[str, dict[str, float | None]]:
    """Measure: for each fault the share recognised and more; for ordinary scenes the share with a false word."""
    with ProcessPoolExecutor(workers) as pool:
        played = list(pool.map(play, seeds, [shared] * len(seeds)))
    outcomes = [outcome for some, _ in played for outcome in some]
    calm = [one for _, some in played for one in some]
    found: dict[str, dict[str, float | None]] = {}
    for name in FAULTS:
        mine = [outcome for outcome in outcomes if outcome.fault == name]
        delays = [outcome.delay_s for outcome in mine if outcome.delay_s is not None]
        found[name] = {
            "cases": len(mine),
            "recognised": round(len(delays) / len(mine), 3),
            "delay_median_s": float(np.median(delays)) if delays else None,
            "other_state_told": round(sum(bool(outcome.wrong) for outcome in mine) / len(mine), 3),
            "recovered": round(sum(outcome.recovered for outcome in mine) / len(mine), 3),
            "incidents": sum(outcome.incidents for outcome in mine),
            "cleared": sum(outcome.cleared for outcome in mine),
        }
    found["ordinary"] = {
        "cases": len(calm),
        "false_state": round(sum(bool(one.states) for one in calm) / len(calm), 3),
        "false_text": round(sum(bool(one.texts) for one in calm) / len(calm), 3),
        "blind_share": round(sum(one.blind for one in calm) / sum(one.samples for one in calm), 4),
    }
    return found


def main() -> None:
    """Measure and print: `python -m tests.eval.faults [SEEDS]`."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    shared = Path(os.environ.get("CITYEYE_SHARED", "../shared/data"))
    for name, values in figures(
        range(FIRST_SEED, FIRST_SEED + count), shared if shared.is_dir() else None, os.cpu_count() or 1
    ).items():
        print(name, values)


if __name__ == "__main__":
    main()

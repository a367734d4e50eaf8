"""Staged walkers: boxes of people with exact ids, and what a poor detector would make of them."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

LENGTH_S: Final = 40.0
FRAME: Final = (1280, 720)
DROPPED: Final = 0.3
JITTER: Final = 0.04
"""Standard deviation of each edge, as a share of the box's height."""
FALSE_PER_PICTURE: Final = 0.3


@dataclass(frozen=True, eq=False)
class Walk:
    """One sequence at one rate. Rows are picture number (from 1), id, x, y, w, h, score, in px."""

    truth: NDArray[np.float64]
    found: NDArray[np.float64]
    rate_hz: float


def walk(seed: int, rate_hz: float) -> Walk:
    """Stage one sequence: people cross, turn, stop and leave; a tenth of their boxes is doubtful, 30 % are missing."""
    rng = np.random.default_rng([seed, 99])
    people = [_person(rng) for _ in range(int(rng.integers(6, 16)))]
    noise = np.random.default_rng([seed, round(rate_hz * 10)])
    truth, found = [], []
    for number in range(1, round(LENGTH_S * rate_hz) + 1):
        t = (number - 1) / rate_hz
        for identity, path in enumerate(people, 1):
            box = _box(path, t)
            if box is None:
                continue
            truth.append((number, identity, *box, 1.0))
            if noise.random() < DROPPED:
                continue
            x, y, w, h = box
            edges = np.array([x, y, x + w, y + h]) + noise.normal(0, JITTER * h, 4)
            score = noise.uniform(0.15, 0.5) if noise.random() < 0.1 else noise.uniform(0.6, 0.95)
            found.append((number, -1, edges[0], edges[1], edges[2] - edges[0], edges[3] - edges[1], score))
        for _ in range(noise.poisson(FALSE_PER_PICTURE)):
            h = noise.uniform(60, 200)
            x, y = noise.uniform(0, FRAME[0]), noise.uniform(0, FRAME[1])
            found.append((number, -1, x, y, 0.4 * h, h, noise.uniform(0.1, 0.7)))
    return Walk(np.array(truth), np.array(found), rate_hz)


def cross(seed: int, rate_hz: float) -> Walk:
    """Stage a crowded place: 40 people cross it straight on, a fifth of them stand; jitter of 3 px, 30 % are missing.

    Where `walk` asks for turns, this asks that neighbours are not mixed up.
    """
    rng = np.random.default_rng([seed, 7])
    count, length_s = 40, LENGTH_S / 2
    start_s, stay_s = rng.uniform(0, length_s / 2, count), rng.uniform(6, length_s, count)
    feet, speed = rng.uniform((0, 200), (FRAME[0], 700), (count, 2)), rng.normal(0, 70, (count, 2))
    speed[rng.random(count) < 0.2] = 0
    heights = rng.uniform(70, 180, count)
    noise = np.random.default_rng([seed, round(rate_hz)])
    truth, found = [], []
    for number in range(1, round(length_s * rate_hz) + 1):
        t = (number - 1) / rate_hz
        places = feet + speed * (t - start_s)[:, None]
        there = (start_s <= t) & (t <= start_s + stay_s) & ((places >= 0) & (places <= FRAME)).all(1)
        for who in np.flatnonzero(there):
            (x, y), h = places[who], heights[who]
            box = np.array([x - 0.2 * h, y - h, 0.4 * h, h])
            truth.append((number, who + 1, *box, 1.0))
            if noise.random() >= DROPPED:
                found.append((number, -1, *(box + noise.normal(0, 3, 4)), noise.uniform(0.5, 0.95)))
    return Walk(np.array(truth), np.array(found), rate_hz)


Path = NDArray[np.float64]
"""Rows of time, feet x, feet y, in s and px."""


def _person(rng: np.random.Generator) -> Path:
    t = float(rng.uniform(0, LENGTH_S * 0.6))
    at = np.array([rng.choice([-40.0, FRAME[0] + 40.0]), rng.uniform(300, 720)])
    rows = [(t, *at)]
    for _ in range(int(rng.integers(2, 6))):
        goal = np.array([rng.uniform(-60, FRAME[0] + 60), rng.uniform(280, 720)])
        speed = _height(at[1]) * rng.uniform(0.5, 1.0)
        t += max(0.5, float(np.hypot(*(goal - at)) / speed))
        at = goal
        rows.append((t, *at))
        if rng.random() < 0.3:
            t += float(rng.uniform(1, 6))
            rows.append((t, *at))
    return np.array(rows)


def _height(feet_y: float) -> float:
    return 60 + 160 * (feet_y - 280) / 440


def _box(path: Path, t: float) -> tuple[float, float, float, float] | None:
    if not path[0, 0] <= t <= path[-1, 0]:
        return None
    x, y = (float(np.interp(t, path[:, 0], path[:, column])) for column in (1, 2))
    if not 0 <= x <= FRAME[0]:
        return None
    h = _height(y)
    return x - 0.2 * h, y - h, 0.4 * h, h

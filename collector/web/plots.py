"""Plots as numbers for a template: where each bar, tick and label lies. Drawn as SVG by `plots.html`.

Across in percent of the width and upwards in pixels, so that a plot fills any width while its letters keep their size.
What stands along it is thinned out here, for a wide and for a narrow screen, so that no two labels meet.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from collector.papers.pdf import round_step

HEIGHT: Final = 150.0
"""From the base to the highest grid line, pixels."""
WIDE, NARROW = 560, 250
"""Pixels across that a plot has at least, on a wide screen (from 48 rem) and on the narrowest."""
LETTER, APART = 7.0, 6.0
"""Pixels of a letter of a label at the most, twice as many if it is Chinese, and between two labels."""


@dataclass(frozen=True)
class Bar:
    """One value.

    Args:
        title: what it is, in full.
        value: None: there is none.
        label: the value in short.
        link: to what is behind it.
        mark: a second value, as a line across.
        part: it is of a stretch that is not whole.
        lacks: there are no data of it.
    """

    title: str
    value: float | None = None
    label: str = ""
    link: str | None = None
    mark: float | None = None
    part: bool = False
    lacks: bool = False


@dataclass(frozen=True)
class Label:
    """A text along the base or above a bar.

    Args:
        at: percent of the width, its middle.
        up: pixels above the base.
        first: these are put before others.
        wide: on wide screens alone.
    """

    text: str
    at: float
    up: float = 0
    first: bool = False
    wide: bool = False


@dataclass(frozen=True)
class Placed:
    """A bar, and where it is: left edge and width in percent, heights in pixels."""

    bar: Bar
    x: float
    width: float
    high: float
    mark: float | None


@dataclass(frozen=True)
class Plot:
    """All of it.

    Args:
        lines: of the grid, heights and what they say.
        gaps: stretches without data, left edge and width.
    """

    bars: tuple[Placed, ...]
    ticks: tuple[Label, ...]
    values: tuple[Label, ...]
    lines: tuple[tuple[float, float], ...]
    gaps: tuple[tuple[float, float], ...]


def plot(
    bars: Sequence[Bar], ticks: Iterable[tuple[int, str, bool]], *, top: float | None = None, least: float = 0
) -> Plot:
    """Put bars side by side.

    Args:
        bars: from left to right.
        ticks: index of a bar, what stands under it, and whether it goes before others.
        top: highest value of the scale; None: as the values need it.
        least: from one line of the grid to the next, as 1 of what is counted.
    """
    pitch = 100 / max(len(bars), 1)
    highest = top or max((one for bar in bars for one in (bar.value, bar.mark) if one is not None), default=0)
    step = max(round_step(highest), least)
    scale = HEIGHT / (max(math.ceil(highest / step - 1e-9), 1) * step)
    placed = tuple(
        Placed(
            bar,
            round((index + 0.1) * pitch, 3),
            round(0.8 * pitch, 3),
            round((bar.value or 0) * scale, 1),
            None if bar.mark is None else round(bar.mark * scale, 1),
        )
        for index, bar in enumerate(bars)
    )
    best = max((one.bar.value or 0 for one in placed), default=0)
    above = [
        Label(
            one.bar.label, round((index + 0.5) * pitch, 3), max(one.high, one.mark or 0), (one.bar.value or 0) == best
        )
        for index, one in enumerate(placed)
        if one.bar.label
    ]
    under = [Label(text, round((index + 0.5) * pitch, 3), first=first) for index, text, first in ticks]
    values, highest_alone = thin(above), thin([one for one in above if one.first])
    if len(values) < len(above):  # not some by chance: all, or the highest alone
        values = highest_alone
    elif any(one.wide for one in values):
        narrow = {one.at for one in highest_alone if not one.wide}
        values = tuple(replace(one, wide=one.at not in narrow) for one in values)
    grid = [(level * step * scale, level * step) for level in range(1, round(HEIGHT / (step * scale)) + 1)]
    return Plot(placed, thin(under), values, tuple(grid), _gaps(bars, pitch))


def width_px(text: str) -> float:
    """How wide a label may be."""
    return sum(2 * LETTER if ord(one) > 0x2E7F else LETTER for one in text)


def thin(labels: Sequence[Label]) -> tuple[Label, ...]:
    """Those that do not meet each other, in their order; `wide` where that needs a wide screen."""
    narrow = _fitting(_each(labels, NARROW), NARROW, [])
    every = _fitting(_each(labels, WIDE), WIDE, narrow)
    return tuple(replace(one, wide=one not in narrow) for one in labels if one in every)


def _each(labels: Sequence[Label], across_px: float) -> list[Label]:
    """Those that go first, and of the others each, each second, fourth or eighth, so that they stand in even steps."""
    pitch = (labels[-1].at - labels[0].at) / (len(labels) - 1) * across_px / 100 if len(labels) > 1 else across_px
    widest = max((width_px(one.text) for one in labels if not one.first), default=0)
    step = 1
    while step * pitch < widest + APART:
        step *= 2
    found = [one for index, one in enumerate(labels) if one.first or index % step == 0]
    return sorted(found, key=lambda one: (not one.first, one.at))


def _fitting(labels: Iterable[Label], across_px: float, there: Sequence[Label]) -> list[Label]:
    found = list(there)
    for one in labels:
        if one not in found and all(
            abs(one.at - other.at) * across_px / 100 >= (width_px(one.text) + width_px(other.text)) / 2 + APART
            for other in found
        ):
            found.append(one)
    return found


def _gaps(bars: Sequence[Bar], pitch: float) -> tuple[tuple[float, float], ...]:
    """Bars without data that follow each other, as one."""
    found: list[list[int]] = []
    for index, bar in enumerate(bars):
        if bar.lacks and found and found[-1][1] == index:
            found[-1][1] = index + 1
        elif bar.lacks:
            found.append([index, index + 1])
    return tuple((round(begin * pitch, 3), round((end - begin) * pitch, 3)) for begin, end in found)

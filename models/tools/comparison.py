"""Whether one detector is better than another on the same photos, or whether these photos cannot tell.

A paired bootstrap (Efron and Tibshirani, 1993): the photos are drawn again with replacement, many times, the same for
both, and the difference of both mean average precisions is taken each time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.tools.evaluation import Found, Labelled, Ranking, rank

RESAMPLES: Final = 400
CONFIDENCE: Final = 0.95


@dataclass(frozen=True)
class Comparison:
    """Mean average precisions of A and B over IoU .5 to .95, and what lies between them.

    Args:
        a: of the first.
        b: of the second.
        low: lower end of the interval that holds `b - a` with a confidence of 95 %.
        high: its upper end.
    """

    a: float
    b: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """`A`, `B`, or `no difference`."""
        if self.low > 0:
            return "B"
        return "A" if self.high < 0 else "no difference"


def compare(
    labelled: Sequence[Labelled], a: Sequence[Found], b: Sequence[Found], resamples: int = RESAMPLES, seed: int = 1
) -> Comparison:
    """Compare what two detectors found in the same photos."""
    rankings = [rank(list(zip(labelled, found, strict=True))) for found in (a, b)]
    rng = np.random.default_rng(seed)
    count = len(labelled)
    differences = []
    for _ in range(resamples):
        weights = np.bincount(rng.integers(0, count, count), minlength=count).astype(np.float64)
        first, second = (_mean(one, weights) for one in rankings)
        differences.append(second - first)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(differences, [tail, 1 - tail])
    first, second = (_mean(one, None) for one in rankings)
    return Comparison(first, second, float(low), float(high))


def _mean(rankings: Mapping[int, Ranking], weights: NDArray[np.float64] | None) -> float:
    found = [one for ranking in rankings.values() if (one := ranking.precisions(weights)) is not None]
    return float(np.mean(found)) if found else 0.0

"""A frozen picture: the camera goes on sending, and sends the same."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

import cv2

from agent.vision.signature import Luma

UNCHANGED: Final = 0.001
"""Share of pixels that may differ in an unchanged picture: a clock that the camera writes into it."""
LIVELY: Final = 0.05
"""Share of pixels that noise or coding changes; one person changes less. Measured on three clips: 0.13 and more."""
PAIRS: Final = 60
MIN_PAIRS: Final = 30
NOISY: Final = 0.9
CLEAN: Final = 0.2
FREEZE_S: Final = 10.0
FREEZE_PAIRS: Final = 5
SUSPECT_PAIRS: Final = 3
CLEAN_FREEZE_S: Final = 60.0
"""A clean codec repeats a picture while nothing happens, for one group of pictures: up to 20 s with `smart` ones."""
USUAL_RUNS: Final = 4.0


@dataclass(frozen=True)
class Repetition:
    """A picture that is repeated by a camera that does not do so."""

    since_s: float
    frozen: bool
    """False while it is only suspected."""


@dataclass
class Repeats:
    """Follows how often one camera repeats its picture.

    Only a camera that has shown noise can freeze: a rendered clip without any repeats pictures by nature. One whose
    pictures nearly always differ is frozen after FREEZE_S; one that repeats some after CLEAN_FREEZE_S, and after
    USUAL_RUNS times the longest repetition that ended by itself.
    """

    _before: Luma | None = field(default=None, init=False)
    _before_s: float = field(default=0.0, init=False)
    _lively: deque[bool] = field(default_factory=lambda: deque(maxlen=PAIRS), init=False)
    """Of the pairs before this run."""
    _run_since_s: float = field(default=0.0, init=False)
    _run_pairs: int = field(default=0, init=False)
    _longest_s: float = field(default=0.0, init=False)

    def follow(self, luma: Luma, time_s: float) -> Repetition | None:
        """Take one sample as it came, shape `(h, w)`; None while the picture is alive."""
        before, self._before = self._before, luma
        since_s, self._before_s = self._before_s, time_s
        if before is None or before.shape != luma.shape:
            self._run_pairs = 0
            return None
        changed = cv2.countNonZero(cv2.absdiff(luma, before)) / luma.size
        if changed > UNCHANGED:
            self._end_run(since_s)
            self._lively.append(changed >= LIVELY)
            return None
        if self._run_pairs == 0:
            self._run_since_s = since_s
        self._run_pairs += 1
        return self._judge(time_s - self._run_since_s)

    def _end_run(self, at_s: float) -> None:
        if self._run_pairs:
            self._longest_s = max(self._longest_s, at_s - self._run_since_s)
            # a repetition that ended counts as pairs that were not lively
            self._lively.extend([False] * min(self._run_pairs, PAIRS // 4))
        self._run_pairs = 0

    def _judge(self, run_s: float) -> Repetition | None:
        if len(self._lively) < MIN_PAIRS:
            return None
        lively = sum(self._lively) / len(self._lively)
        if lively >= NOISY:
            if run_s >= FREEZE_S and self._run_pairs >= FREEZE_PAIRS:
                return Repetition(self._run_since_s, frozen=True)
            return Repetition(self._run_since_s, frozen=False) if self._run_pairs >= SUSPECT_PAIRS else None
        if lively >= CLEAN and run_s >= max(CLEAN_FREEZE_S, USUAL_RUNS * self._longest_s):
            return Repetition(self._run_since_s, frozen=self._run_pairs >= FREEZE_PAIRS)
        return None

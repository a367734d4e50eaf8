"""Speed of the tracker, as a ratio within one run; absolute times are printed, never asserted."""

import statistics
import time

import cv2
import numpy as np

from tests.eval.tracking import step_ms


def test_tracking_fifty_people_costs_little(capsys):
    """One step against the yardstick of one blur of a 320 × 180 picture, 0.1 ms where this was written."""
    picture = np.random.default_rng(1).normal(128, 40, (180, 320)).astype(np.float32)
    spent_s = []
    for _ in range(300):
        began_s = time.perf_counter()
        cv2.GaussianBlur(picture, (0, 0), 2.0)
        spent_s.append(time.perf_counter() - began_s)
    yardstick_ms, ten_ms, fifty_ms = statistics.median(spent_s) * 1000, step_ms(10), step_ms(50)
    with capsys.disabled():
        # reported, never asserted
        print(
            f"\ntracker: {fifty_ms:.2f} ms at 50 people, {ten_ms:.2f} at 10, {fifty_ms / yardstick_ms:.1f} yardsticks"
        )
    assert fifty_ms < 20 * yardstick_ms
    # arrays, not loops: five times the people cost far less than five times the time
    assert fifty_ms < 3.5 * ten_ms

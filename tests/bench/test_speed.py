"""Speed, as ratios within one run; absolute times are printed, never asserted."""

import statistics
import time

import cv2
import numpy as np

from agent.vision.still import WIDTH_PX, StillScene
from tests import clips


def median_s(job, turns=5):
    spent = []
    for _ in range(turns):
        began = time.perf_counter()
        job()
        spent.append(time.perf_counter() - began)
    return statistics.median(spent)


def test_the_still_scene_costs_little(capsys):
    """One sample against the yardstick of 100 blurs of the same picture (10 ms where this was written)."""
    lumas = [
        cv2.resize(cv2.cvtColor(clips.street_frame(t / 2), cv2.COLOR_RGB2GRAY), (WIDTH_PX, 180)) for t in range(40)
    ]
    scene = StillScene(5.0)
    for number, luma in enumerate(lumas):
        scene.observe(luma, number / 2)
    clock = iter(np.arange(20.0, 1e6, 0.5))
    picture = lumas[0].astype(np.float32)
    sample_s = median_s(lambda: [scene.observe(luma, float(next(clock))) for luma in lumas]) / len(lumas)
    yardstick_s = median_s(lambda: [cv2.GaussianBlur(picture, (0, 0), 2.0) for _ in range(100)])
    with capsys.disabled():
        # reported, never asserted
        print(f"\nstill scene: {sample_s * 1000:.1f} ms a sample, {sample_s / yardstick_s:.2f} of the yardstick")
    assert sample_s < 2.5 * yardstick_s


def test_replay_is_many_times_faster_than_the_clip(street, tmp_path, capsys):
    from tests import boxes  # noqa: PLC0415 - for this test
    from tests.services import BIN, run  # noqa: PLC0415 - for this test

    settings = boxes.settings(tmp_path, boxes.FRONTAGE)
    spent_s = median_s(lambda: run(BIN / "cityeye-agent", "replay", street, "--settings", settings), 3)
    with capsys.disabled():
        # reported, never asserted
        print(f"\nreplay without a detector: {clips.LENGTH_S / spent_s:.0f} times real time")
    assert spent_s < clips.LENGTH_S / 3

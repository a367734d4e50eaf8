"""What the still-scene path costs: from a 1280 × 720 picture to the view, one sample, one core."""

import statistics
import time

import cv2
import numpy as np

from agent.camera.frame import Frame
from agent.vision.condition import ViewHealth
from agent.vision.still import WIDTH_PX, StillScene
from tests.eval.staged import stage

SAMPLES = 100
LEARN_S = 10.0


def figures() -> dict[str, float]:
    """Median milliseconds over a staged scene with things and walkers: luma, health of the view, still scene, items."""
    scene, health, spent_s = StillScene(LEARN_S), ViewHealth(), []
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        for t, rgb in stage(None).scene(4).frames(1.0):
            large = cv2.resize(rgb, (1280, 720))
            frame = Frame(t, key=True, planes=np.asarray(cv2.cvtColor(large, cv2.COLOR_RGB2YUV_I420), np.uint8))
            began_s = time.perf_counter()
            luma = frame.luma(WIDTH_PX)
            health.observe(luma, t, scene.reference, chroma=frame.chroma())
            view = scene.observe(luma, t)
            if view is not None:
                view.items(np.ones(luma.shape, np.bool_), 0.0015, 10.0)
                spent_s.append(time.perf_counter() - began_s)
    finally:
        cv2.setNumThreads(threads)
    return {"ms": round(statistics.median(spent_s) * 1000, 1)}

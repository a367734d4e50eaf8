"""`aboda_video4.avi`: a man sets a bag down beside a street cabinet and leaves. One incident, in time, at the bag."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.vision.counting import Eye
from protocol.geometry import box_iou
from tests.eval.scoring import watch

BAG: Final = (452 / 720, 364 / 480, 51 / 720, 48 / 480)
"""Where it lies, of `videos/events.json`."""
SAMPLE_S: Final = 1.0


def pictures(path: Path) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """One picture each second, RGB."""
    capture = cv2.VideoCapture(str(path))
    rate_hz, number, due_s = capture.get(cv2.CAP_PROP_FPS), 0, 0.0
    while True:
        good, picture = capture.read()
        if not good:
            return
        if number / rate_hz >= due_s:
            yield number / rate_hz, np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)
            due_s += SAMPLE_S
        number += 1


def figures(shared: Path, detector: Eye | None = None) -> dict[str, float | int | None]:
    """Watch it with a dwell of 10 s."""
    reports = watch(pictures(shared / "videos/aboda_video4.avi"), dwell_s=10.0, sample_s=SAMPLE_S, detector=detector)
    first = reports[0] if reports else None
    return {
        "found": len(reports),
        "decided_s": None if first is None else round(first.opened_s, 1),
        "iou": None if first is None else round(box_iou(first.place, BAG), 3),
    }

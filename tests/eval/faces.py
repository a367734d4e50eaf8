"""Faces left in evidence: crowded photos go the way of evidence, then a face model looks at what came out."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.camera.frame import Frame
from agent.evidence.masking import Masker
from agent.evidence.pictures import Picture, shoot
from agent.runner import PERSON_SCORE
from agent.vision.detector import load_detector
from protocol.geometry import Box

SURE: Final = 0.6
TIMES: Final = 2
"""Pictures are searched at so many times their size."""
WHOLE: Final[Box] = (0.0, 0.0, 1.0, 1.0)
STALL: Final[Box] = (0.35, 0.5, 0.3, 0.3)


def frame_of(rgb: NDArray[np.uint8], time_s: float = 0.0) -> Frame:
    """Make the frame that a camera would hand out of a photo of shape `(h, w, 3)`; odd sides lose a pixel."""
    height, width = rgb.shape[0] // 2 * 2, rgb.shape[1] // 2 * 2
    planes = cv2.cvtColor(np.ascontiguousarray(rgb[:height, :width]), cv2.COLOR_RGB2YUV_I420)
    return Frame(time_s, True, np.asarray(planes, np.uint8))


def crowd_photos(shared: Path) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Names and colours of the 39 photos that are for tests."""
    for path in sorted((shared / "crowd/images").glob("test_*")):
        yield path.name, np.ascontiguousarray(cv2.imread(str(path))[:, :, ::-1])


def faces(picture: NDArray[np.uint8], finder: cv2.FaceDetectorYN) -> list[float]:
    """Scores of the faces that are found in a BGR picture, at TIMES its size."""
    size = (picture.shape[1] * TIMES, picture.shape[0] * TIMES)
    finder.setInputSize(size)
    rows = finder.detect(cv2.resize(picture, size))[1]
    return [] if rows is None else [float(row[-1]) for row in rows]


def measure(shared: Path, models: Path, detector: str = "yolo26n-640") -> dict[str, float | int]:
    """Take evidence of two incidents in each photo: a crowd that fills it, and a stall in its middle."""
    eye = load_detector(models / f"{detector}.onnx")
    masker = Masker(models / "yunet-s-640.onnx")
    finder = cv2.FaceDetectorYN.create(str(models / "yunet-s-640.onnx"), "", (320, 320), SURE)
    before = pictures = left = 0
    kept: list[float] = []
    for _, rgb in crowd_photos(shared):
        frame = frame_of(rgb)
        persons = eye.detect(frame.rgb(eye.fit(frame.width, frame.height))).of("person", PERSON_SCORE).boxes
        before += len(faces(np.ascontiguousarray(frame.rgb()[:, :, ::-1]), finder))
        for place, keep in ((WHOLE, None), (STALL, STALL)):
            for one in _evidence(frame, masker, place, keep, persons):
                shown = cv2.imdecode(np.frombuffer(one.jpeg, np.uint8), cv2.IMREAD_COLOR)
                pictures += 1
                left += len(faces(shown, finder))
                if one.evidence.view == "wide":
                    kept.append(_unchanged(frame.rgb()[:, :, ::-1], shown))
    return {
        "photos": pictures // 4,
        "pictures": pictures,
        "faces_before": before,
        "faces_left": left,
        "share_of_picture_unchanged": round(float(np.mean(kept)), 3),
    }


def _evidence(
    frame: Frame, masker: Masker, place: Box, keep: Box | None, persons: NDArray[np.float32]
) -> list[Picture]:
    return shoot(frame.rgb(), masker, place=place, keep=keep, persons=persons, role="at", taken_at_s=frame.time_s)


def _unchanged(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> float:
    """Share of a picture whose 8 × 8 blocks are as sharp as before: masking is to hide faces, not the street."""
    if before.shape != after.shape:
        before = np.asarray(cv2.resize(before, after.shape[1::-1], interpolation=cv2.INTER_AREA), np.uint8)
    apart = np.abs(before.astype(np.float32) - after).mean(2)
    return float((cv2.resize(apart, None, fx=1 / 8, fy=1 / 8, interpolation=cv2.INTER_AREA) < 8).mean())

"""A detector for tests: finds bright upright things, so that a test says where people are by painting them."""

import cv2
import numpy as np

from agent.vision.detector import Detections

NAMES = {0: "person"}
BRIGHT = 160


class BrightEye:
    """Finds what is at least `least_px` high in an input of 640 × 640, and no more than `full` of it."""

    names = NAMES

    def __init__(self, least_px=20, full=10_000):
        self.least_px, self.full = least_px, full

    input_size = (640, 640)

    def resized(self, _width, _height):
        return None

    def fit(self, width, height):
        scale = 640 / max(width, height)
        return round(width * scale), round(height * scale)

    def detect(self, rgb):
        stats = cv2.connectedComponentsWithStats((rgb.min(2) > BRIGHT).astype(np.uint8))[2][1:]
        height, width = rgb.shape[:2]
        rows = [row[:4] / (width, height, width, height) for row in stats if row[3] >= self.least_px][: self.full]
        count = len(rows)
        boxes = np.array(rows, np.float32).reshape(-1, 4)
        return Detections(boxes, np.full(count, 0.9, np.float32), np.zeros(count, np.int64), self.names)


class FreeEye(BrightEye):
    """One whose input has free sides; remembers the pictures it was shown, and the inputs it was given."""

    def __init__(self, names=NAMES):
        super().__init__()
        self.names, self.seen, self.inputs = names, [], []

    def resized(self, width, height):
        self.inputs.append((width, height))
        return self

    def detect(self, rgb):
        self.seen.append(rgb.shape[1::-1])
        return super().detect(rgb)

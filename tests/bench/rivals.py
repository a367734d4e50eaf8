"""What somebody would use instead, on one clip as fast as it goes; prints JSON. Run by an environment of its own.

`python rivals.py {supervision|ultralytics} CLIP MODEL DETECTIONS_PER_S SECONDS`. It uses nothing of ours.
"""

import json
import os
import sys
import time

import cv2
import numpy as np


def frames(clip: str, per_s: float, seconds: float):
    """Every frame is decoded, as these tools do; those that are looked at are handed out."""
    capture = cv2.VideoCapture(clip)
    fps = capture.get(cv2.CAP_PROP_FPS)
    every = max(1, round(fps / per_s))
    for number in range(round(seconds * fps)):
        if not capture.grab():
            capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
            capture.grab()
        if number % every == 0:
            yield capture.retrieve()[1]


def with_supervision(clip: str, model: str, per_s: float, seconds: float) -> int:
    """supervision and trackers over ONNX Runtime: letterbox, network, boxes, ByteTrack, two zones."""
    import onnxruntime  # noqa: PLC0415 - each tool has an environment of its own
    import supervision as sv  # noqa: PLC0415 - as above
    from trackers import ByteTrackTracker  # noqa: PLC0415 - as above

    options = onnxruntime.SessionOptions()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    height, width = session.get_inputs()[0].shape[2:]
    tracker = ByteTrackTracker(frame_rate=per_s)
    zones, looks = None, 0
    for bgr in frames(clip, per_s, seconds):
        tall, wide = bgr.shape[:2]
        if zones is None:
            lower = np.array([[0, 0.35 * tall], [wide, 0.35 * tall], [wide, tall], [0, tall]], int)
            zones = [
                sv.PolygonZone(polygon=lower),
                sv.PolygonZone(polygon=np.array([[0, 0], [wide, 0], [wide, tall], [0, tall]])),
            ]
        scale = min(width / wide, height / tall)
        size = (round(wide * scale), round(tall * scale))
        left, top = (width - size[0]) // 2, (height - size[1]) // 2
        canvas = np.full((height, width, 3), 114, np.uint8)
        canvas[top : top + size[1], left : left + size[0]] = cv2.resize(bgr, size)
        blob = np.ascontiguousarray(canvas[:, :, ::-1].transpose(2, 0, 1)[None], np.float32) / 255
        rows = session.run(None, {name: blob})[0][0]
        rows = rows[rows[:, 4] >= 0.25]
        found = sv.Detections(
            xyxy=(rows[:, :4] - [left, top, left, top]) / scale, confidence=rows[:, 4], class_id=rows[:, 5].astype(int)
        )
        tracked = tracker.update(found)
        for zone in zones:
            zone.trigger(tracked)
        looks += 1
    return looks


def with_ultralytics(clip: str, model: str, per_s: float, seconds: float) -> int:
    """`track` of ultralytics on pictures of the clip."""
    from ultralytics import YOLO  # noqa: PLC0415 - as above

    yolo, looks = YOLO(model, task="detect"), 0
    for bgr in frames(clip, per_s, seconds):
        yolo.track(bgr, persist=True, verbose=False)
        looks += 1
    return looks


def main() -> None:
    """Run one of them; the first seconds, in which libraries load, are not counted."""
    tool, clip, model, per_s, seconds = sys.argv[1:]
    job = {"supervision": with_supervision, "ultralytics": with_ultralytics}[tool]
    job(clip, model, float(per_s), 1.0)
    before, began_s = os.times(), time.monotonic()
    looks = job(clip, model, float(per_s), float(seconds))
    after = os.times()
    cpu_s = sum(after[:4]) - sum(before[:4])
    print(
        json.dumps(
            {
                "tool": tool,
                "detections_per_camera_s": round(looks / float(seconds), 2),
                "cpu_s_per_camera_minute": round(60 * cpu_s / float(seconds), 1),
                "wall_s": round(time.monotonic() - began_s, 1),
            }
        )
    )


if __name__ == "__main__":
    main()

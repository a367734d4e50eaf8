"""What somebody would use instead, on one clip as fast as it goes; prints JSON. Run by an environment of its own.

`python rivals.py {supervision|ultralytics|frigate-like} CLIP MODEL DETECTIONS_PER_S SECONDS`. It uses nothing of ours.
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


def with_frigates_way(clip: str, model: str, per_s: float, seconds: float) -> int:
    """An imitation of Frigate's way: FFmpeg decodes to 720p, motion is looked for, and squares around it are inferred.

    After its documentation: motion in a picture 100 pixels high against a running average, regions of at least
    320 x 320 around what moved and around what is tracked, several of them for a busy picture.
    """
    import subprocess  # noqa: PLC0415 - as above

    import onnxruntime  # noqa: PLC0415 - as above
    import supervision as sv  # noqa: PLC0415 - as above
    from trackers import ByteTrackTracker  # noqa: PLC0415 - as above

    wide, tall = 1280, 720
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    side = session.get_inputs()[0].shape[2]
    tracker = ByteTrackTracker(frame_rate=per_s)
    wanted = ["-vf", f"fps={per_s:g},scale={wide}:{tall}", "-pix_fmt", "yuv420p", "-f", "rawvideo", "-"]
    read = ["ffmpeg", "-v", "error", "-stream_loop", "-1", "-i", clip, "-t", f"{seconds:g}", *wanted]
    average, looks, known = None, 0, np.zeros((0, 4))
    with subprocess.Popen(read, stdout=subprocess.PIPE) as ffmpeg:
        size = wide * tall * 3 // 2
        while len(packed := ffmpeg.stdout.read(size)) == size:
            planes = np.frombuffer(packed, np.uint8).reshape(tall * 3 // 2, wide)
            small = cv2.GaussianBlur(cv2.resize(planes[:tall], (178, 100)), (3, 3), 0).astype(np.float32)
            average = small if average is None else average
            moved = cv2.dilate((cv2.absdiff(small, average) > 30).astype(np.uint8), None, iterations=2)
            cv2.accumulateWeighted(small, average, 0.2)
            contours, _ = cv2.findContours(moved, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
            boxes = [cv2.boundingRect(one) for one in contours if cv2.contourArea(one) > 10]
            boxes = [np.array([x, y, x + w, y + h]) * (wide / 178) for x, y, w, h in boxes]
            found = [np.zeros((0, 5))]
            for left, top, edge in squares([*boxes, *known], wide, tall):
                bgr = cv2.cvtColor(planes, cv2.COLOR_YUV2BGR_I420)[top : top + edge, left : left + edge]
                here = yolox(session, cv2.resize(bgr, (side, side)))
                found.append(here * (edge / side, edge / side, edge / side, edge / side, 1) + (left, top, left, top, 0))
            looks += len(found) > 1
            rows = np.concatenate(found)
            kept = sv.Detections(xyxy=rows[:, :4], confidence=rows[:, 4], class_id=np.zeros(len(rows), int))
            known = tracker.update(kept.with_nms(0.5)).xyxy
    return looks


def squares(boxes, wide: int, tall: int):
    """Squares of at least 320 pixels that cover all boxes, each put where it covers most of those that are left."""
    left_over, regions = list(boxes), []
    while left_over:
        x1, y1, x2, y2 = max(left_over, key=lambda box: (box[2] - box[0]) * (box[3] - box[1]))
        edge = int(min(tall, max(320, 1.35 * max(x2 - x1, y2 - y1))))
        places = [
            (int(np.clip(left, 0, wide - edge)), int(np.clip(top, 0, tall - edge)))
            for left in (x1 - 10, (x1 + x2 - edge) / 2, x2 + 10 - edge)
            for top in (y1 - 10, (y1 + y2 - edge) / 2, y2 + 10 - edge)
        ]
        inside = [[covers(place, edge, box) for box in left_over] for place in places]
        best = max(range(len(places)), key=lambda number: sum(inside[number]))
        regions.append((*places[best], edge))
        largest = (x1, y1, x2, y2)
        left_over = [
            box for box, is_in in zip(left_over, inside[best], strict=True) if not is_in and tuple(box) != largest
        ]
    return regions


def covers(place, edge: int, box) -> bool:
    """Whether most of a box lies in a square."""
    x1, y1, x2, y2 = box
    across = min(x2, place[0] + edge) - max(x1, place[0])
    down = min(y2, place[1] + edge) - max(y1, place[1])
    return across >= 0.8 * (x2 - x1) and down >= 0.8 * (y2 - y1)


def yolox(session, bgr):
    """People in a picture of the network's size: rows x1 y1 x2 y2 score."""
    blob = np.ascontiguousarray(bgr.transpose(2, 0, 1)[None], np.float32)
    rows = session.run(None, {session.get_inputs()[0].name: blob})[0][0]
    cells, strides = [], []
    for stride in (8, 16, 32):
        count = bgr.shape[0] // stride
        down, across = np.mgrid[:count, :count]
        cells.append(np.stack([across.ravel(), down.ravel()], 1))
        strides.append(np.full((count * count, 1), stride))
    step = np.concatenate(strides)
    middle, sides = (rows[:, :2] + np.concatenate(cells)) * step, np.exp(rows[:, 2:4]) * step
    scores = rows[:, 4] * rows[:, 5]
    found = np.concatenate([middle - sides / 2, middle + sides / 2, scores[:, None]], 1)
    return found[scores > 0.25]


def main() -> None:
    """Run one of them; the first seconds, in which libraries load, are not counted."""
    tool, clip, model, per_s, seconds = sys.argv[1:]
    jobs = {"supervision": with_supervision, "ultralytics": with_ultralytics, "frigate-like": with_frigates_way}
    job = jobs[tool]
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

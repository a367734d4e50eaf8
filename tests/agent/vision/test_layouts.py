"""Each layout beside a reference that does it step by step, on random answers and on what real detectors answer."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.vision.detector import load_detector
from agent.vision.layouts import NMS_IOU, STRIDES, Layout, recognise
from agent.vision.selection import shipped_detector
from models.catalogue import load_catalogue
from tests import networks

SIZES = [(64, 64), (96, 64), (64, 160)]


def reference(layout, output, min_score):
    """Every layout from its description in the module, one box after the other: corners, score, class."""
    if layout.name == "end-to-end":
        return [(tuple(row[:4]), row[4], int(row[5])) for row in output[0].tolist() if row[4] >= min_score]
    boxes = []
    for number in range(output.shape[2 if layout.name == "anchor-free" else 1]):
        if layout.name == "anchor-free":
            values = output[0, :, number].tolist()
            cx, cy, w, h = values[:4]
            scores = values[4:]
        else:
            values = output[0, number].tolist()
            column, row, stride = cell(layout, number)
            cx, cy = (values[0] + column) * stride, (values[1] + row) * stride
            w, h = math.exp(values[2]) * stride, math.exp(values[3]) * stride
            scores = [values[4] * score for score in values[5:]]
        best = max(range(len(scores)), key=scores.__getitem__)
        if scores[best] >= min_score:
            boxes.append(((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2), scores[best], best))
    kept = []
    for box in sorted(boxes, key=lambda one: -one[1]):
        if all(other[2] != box[2] or iou(other[0], box[0]) <= NMS_IOU for other in kept):
            kept.append(box)
    return kept


def cell(layout, number):
    """Column, row and stride of a cell: the finest grid first, row by row."""
    for stride in STRIDES:
        across, down = layout.width // stride, layout.height // stride
        if number < across * down:
            return number % across, number // across, stride
        number -= across * down
    raise AssertionError


def iou(a, b):
    shared = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union if union > 0 else 0.0


def same(found, wanted, off_px):
    said = sorted(zip(found.classes.tolist(), found.scores.tolist(), found.corners.tolist(), strict=True))
    true = sorted((number, score, list(corners)) for corners, score, number in wanted)
    assert [one[0] for one in said] == [one[0] for one in true]
    assert [one[1] for one in said] == pytest.approx([one[1] for one in true], abs=1e-5)
    for mine, theirs in zip(said, true, strict=True):
        assert mine[2] == pytest.approx(theirs[2], abs=off_px)


@settings(deadline=None, max_examples=60)
@given(
    name=st.sampled_from(["end-to-end", "anchor-free", "yolox"]),
    size=st.sampled_from(SIZES),
    classes=st.integers(1, 5),
    min_score=st.sampled_from([0.05, 0.25, 0.6]),
    seed=st.integers(0, 2**32 - 1),
)
def test_random_answers_are_read_as_the_reference_reads_them(name, size, classes, min_score, seed):
    rng = np.random.default_rng(seed)
    width, height = size
    cells = sum((width // stride) * (height // stride) for stride in STRIDES)
    # scores all differ: of two that are equal either may be left
    if name == "end-to-end":
        rows = rng.uniform(0, width, (20, 6))
        rows[:, 2:4] += rows[:, :2]
        rows[:, 4], rows[:, 5] = rng.permutation(20) / 20, rng.integers(0, classes, 20)
        output = rows[None]
    else:
        scores = (rng.permutation(cells * classes) / (cells * classes)).reshape(cells, classes) ** 4
        if name == "anchor-free":
            output = np.concatenate([rng.uniform(8, width, (cells, 4)), scores], 1).T[None]
        else:
            output = np.concatenate([rng.normal(0, 1, (cells, 4)), rng.uniform(0, 1, (cells, 1)), scores], 1)[None]
    layout = recognise((1, 3, height, width), output.shape, size)
    assert layout == Layout(name, width, height, None if name == "end-to-end" else classes)
    output = output.astype(np.float32)
    same(layout.read(output, min_score), reference(layout, output, min_score), 1e-3)


@pytest.mark.parametrize("photo", ["bus", "intersection", "palace"])
def test_real_answers_are_read_as_the_reference_reads_them(detectors, shared, photo):
    rgb = np.ascontiguousarray(cv2.imread(str(shared / f"photos/{photo}.jpg"))[:, :, ::-1])
    names = ("yolo26n-640", "yolo26n-384x640", "yolo11n-640", "yolox-nano-416")
    for path in (shipped_detector(), *(detectors / f"{name}.onnx" for name in names)):
        layout, output = load_detector(path).answer(rgb)
        # so low that everybody says something of each photo
        wanted = reference(layout, output, 0.005)
        assert wanted
        same(layout.read(output, 0.005), wanted, 0.01)


@pytest.mark.parametrize("classes", [1, 3, 80])
@pytest.mark.parametrize("name", ["end-to-end", "anchor-free", "yolox"])
def test_a_family_that_nobody_knew_works_by_its_shapes(tmp_path, name, classes):
    """Names of files and metadata decide nothing: a detector of another house with a known layout is one."""
    rows = [(20.0, 32.0, 10.0, 24.0, 0.9, classes - 1)]
    path = tmp_path / "nova-vision-7.onnx"
    if name == "end-to-end":
        networks.end_to_end(path, [(15.0, 20.0, 25.0, 44.0, 0.9, classes - 1)])
    elif name == "anchor-free":
        networks.anchor_free(path, rows, classes)
    else:
        networks.yolox(path, rows, classes)
    detector = load_detector(path)
    found = detector.detect(np.zeros((64, 64, 3), np.uint8))
    assert (detector.layout, found.classes.tolist()) == (name, [classes - 1])
    assert found.boxes[0] == pytest.approx([15 / 64, 20 / 64, 10 / 64, 24 / 64], abs=1e-4)


def test_every_layout_of_the_catalogue_is_one_of_these():
    layouts = {entry.layout for entry in load_catalogue() if entry.task == "detect"}
    assert layouts == {"end-to-end", "anchor-free", "yolox"}

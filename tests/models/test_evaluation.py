"""Average precision, beside COCO's own code."""

import contextlib
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from models.tools.comparison import compare
from models.tools.evaluation import Found, Labelled, evaluate, rank, read_labels


def photos(seed, count=12):
    """Labels, and detections that are shifted, doubled, missing or of another class."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        n = int(rng.integers(0, 8))
        truth = np.column_stack([rng.uniform(0, 300, (n, 2)), rng.uniform(10, 150, (n, 2))])
        classes = rng.integers(0, 3, n)
        chosen = rng.integers(0, max(n, 1), 2 * n)
        noise = rng.normal(0, 0.12, (2 * n, 4)) * truth[chosen][:, [2, 3, 2, 3]] if n else np.zeros((0, 4))
        boxes = (truth[chosen] if n else np.zeros((0, 4))) + noise
        boxes[:, 2:] = np.maximum(boxes[:, 2:], 2)
        theirs = np.where(rng.random(2 * n) < 0.1, rng.integers(0, 3, 2 * n), classes[chosen] if n else 0)
        yield Labelled(truth, classes), Found(boxes, theirs.astype(np.int64), rng.random(2 * n).round(2))


def by_coco(pairs):
    images, labels, found = [], [], []
    for number, (truth, said) in enumerate(pairs, 1):
        images.append({"id": number, "width": 500, "height": 500})
        for box, kind in zip(truth.boxes.tolist(), truth.classes.tolist(), strict=True):
            labels.append(
                {"id": len(labels) + 1, "image_id": number, "category_id": kind, "bbox": box, "iscrowd": 0}
                | {"area": box[2] * box[3]}
            )
        for box, kind, score in zip(said.boxes.tolist(), said.classes.tolist(), said.scores.tolist(), strict=True):
            found.append({"image_id": number, "category_id": kind, "bbox": box, "score": score})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {"images": images, "annotations": labels, "categories": [{"id": n, "name": n} for n in range(3)]}
        coco.createIndex()
        job = COCOeval(coco, coco.loadRes(found), "bbox")
        job.evaluate()
        job.accumulate()
        job.summarize()
    return job.stats


@pytest.mark.parametrize("seed", range(5))
def test_it_agrees_with_coco(seed):
    pairs = list(photos(seed))
    ours = evaluate(pairs)
    theirs = by_coco(pairs)
    assert (ours.map50_95, ours.map50) == pytest.approx(theirs[:2], abs=1e-6)
    sizes = [ours.sizes.get(name, -1) for name in ("small", "medium", "large")]
    assert sizes == pytest.approx(theirs[3:6], abs=1e-6)


def test_perfect_and_empty():
    truth = read_labels("0 0.5 0.5 0.2 0.4\n\n2 0.1 0.1 0.1 0.1\n", 200, 100)
    assert truth.boxes[0].tolist() == [80, 30, 40, 40]
    perfect = evaluate([(truth, Found(truth.boxes, truth.classes, np.ones(2)))])
    assert (perfect.map50_95, perfect.ap50) == (pytest.approx(1), {0: pytest.approx(1), 2: pytest.approx(1)})
    nothing = Found(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0))
    assert evaluate([(truth, nothing)]).map50 == 0
    assert evaluate([(Labelled(np.zeros((0, 4)), np.zeros(0, np.int64)), nothing)]).ap50 == {}


def worse(found, share):
    """The same detections, of which a share is lost."""
    rng = np.random.default_rng(7)
    for said in found:
        kept = rng.random(len(said.scores)) >= share
        yield Found(said.boxes[kept], said.classes[kept], said.scores[kept])


@pytest.mark.parametrize(("share", "verdict"), [(0.0, "no difference"), (0.02, "no difference"), (0.6, "A")])
def test_noise_is_not_taken_for_progress(share, verdict):
    pairs = list(photos(3, count=60))
    labelled, found = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    result = compare(labelled, found, list(worse(found, share)), resamples=200)
    assert result.verdict == verdict
    assert result.low <= result.b - result.a <= result.high
    assert result.a == pytest.approx(evaluate(pairs).map50_95)
    if share == 0:
        assert (result.low, result.high) == (0, 0)
    turned = compare(labelled, list(worse(found, share)), found, resamples=200)
    assert (turned.low, turned.high) == (pytest.approx(-result.high), pytest.approx(-result.low))


def test_photos_counted_twice_are_photos_shown_twice():
    pairs = list(photos(4, count=6))
    doubled = [*pairs, pairs[0], pairs[3]]
    weights = np.array([2.0, 1, 1, 2, 1, 1])
    weighted = [r.precisions(weights)[0] for r in rank(pairs).values() if r.precisions(weights) is not None]
    assert np.mean(weighted) == pytest.approx(evaluate(doubled).map50, abs=0.02)  # equal scores may change places

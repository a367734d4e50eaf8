"""Which cells answer for which person, and how far off their answers are.

Task-aligned assignment (Feng et al., "TOOD", 2021): a cell answers for the box whose score and overlap it already gets
best, ten cells a box; what a cell should score is how well it overlaps. Boxes by complete IoU (Zheng et al., 2020).
"""

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from models.train.detector import Answer

CELLS_A_BOX: Final = 10
OVERLAP_POWER: Final = 6.0
LEAST_PX: Final = 12.0
"""A smaller box may be answered for by cells around it: else it holds the middle of none."""
BOX_WEIGHT: Final = 4.0


@dataclass(frozen=True)
class Truth:
    """Of one picture.

    Args:
        boxes: shape `(n, 4)`, x1 y1 x2 y2, px.
        trust: shape `(n,)`: 1 for a box that was seen, less for one that was inferred from a head.
        ignored: shape `(m, 4)`: whoever is found there is neither right nor wrong.
    """

    boxes: Tensor
    trust: Tensor
    ignored: Tensor


def loss(said: Answer, truths: list[Truth], middles: Tensor) -> Tensor:
    """Mean over a batch.

    Args:
        said: of all pictures.
        truths: one for each.
        middles: of the cells, shape `(c, 2)`.
    """
    wanted = torch.zeros_like(said.logits)
    counted = torch.ones_like(said.logits)
    placed, count = said.logits.new_zeros(()), said.logits.new_zeros(())
    for n, truth in enumerate(truths):
        if len(truth.ignored):
            inside = _inside(middles, truth.ignored, 0.0).any(1)
            counted[n][inside] = 0
        if not len(truth.boxes):
            continue
        cells, owners, targets = assign(said.logits[n], said.corners[n], truth.boxes, middles)
        wanted[n][cells] = targets
        counted[n][cells] = 1
        weights = targets * truth.trust[owners]
        off = 1 - complete_iou(said.corners[n][cells], truth.boxes[owners])
        placed = placed + (off * weights).sum()
        count = count + targets.sum()
    scored = functional.binary_cross_entropy_with_logits(said.logits, wanted, reduction="none") * counted
    return (scored.sum() + BOX_WEIGHT * placed) / count.clamp_min(len(truths))


@torch.no_grad()
def assign(logits: Tensor, corners: Tensor, boxes: Tensor, middles: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Choose cells: their numbers, the boxes that they answer for, and the scores that they should give."""
    overlap = _iou(boxes, corners) * _inside(middles, boxes, LEAST_PX).T
    fit = torch.sigmoid(logits)[None] * overlap.pow(OVERLAP_POWER) + 1e-9 * overlap
    best, chosen = fit.topk(min(CELLS_A_BOX, fit.shape[1]), 1)
    taken = torch.zeros_like(fit, dtype=torch.bool).scatter_(1, chosen, best > 0)
    # a cell that two boxes want goes to the one that it overlaps more
    owners = torch.where(taken, overlap, -1).argmax(0)
    cells = taken.any(0).nonzero()[:, 0]
    owners = owners[cells]
    mine = fit * taken
    scale = (overlap * taken).amax(1) / mine.amax(1).clamp_min(1e-12)
    return cells, owners, (mine[owners, cells] * scale[owners]).clamp(0, 1)


def complete_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU less the distance of the middles and the difference of the shapes; row by row, shape `(n,)`."""
    iou = _areas_iou(a, b)
    near = torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])
    apart = (a[:, :2] + a[:, 2:] - b[:, :2] - b[:, 2:]).pow(2).sum(1) / 4
    sizes_a, sizes_b = (one[:, 2:] - one[:, :2] for one in (a, b))
    angle = torch.atan(sizes_b[:, 0] / sizes_b[:, 1].clamp_min(1e-6)) - torch.atan(
        sizes_a[:, 0] / sizes_a[:, 1].clamp_min(1e-6)
    )
    shape = 4 / math.pi**2 * angle.pow(2)
    with torch.no_grad():
        share = shape / (1 - iou + shape).clamp_min(1e-6)
    return iou - apart / near.pow(2).sum(1).clamp_min(1e-6) - share * shape


def _inside(middles: Tensor, boxes: Tensor, least_px: float) -> Tensor:
    """Say which cells' middles lie in which boxes, shape `(c, n)`."""
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]).clamp_min(least_px) / 2
    return ((middles[:, None] - centre[None]).abs() < half[None]).all(2)


def _areas_iou(a: Tensor, b: Tensor) -> Tensor:
    shared = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp_min(0).prod(-1)
    both = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - shared
    return shared / both.clamp_min(1e-6)


def _iou(a: Tensor, b: Tensor) -> Tensor:
    """Each with each, shape `(n, m)`."""
    return _areas_iou(a[:, None], b[None])

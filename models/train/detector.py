"""The network of the project's own detector: a single-stage, anchor-free detector of one class on three grids.

A backbone of cross-stage partial blocks (Wang et al., "CSPNet", 2019), a path down and up again between the grids of 8,
16 and 32 pixels (Liu et al., "PANet", 2018), and for each cell a score and the distances to the four sides of the box
that the cell's middle lies in (Tian et al., "FCOS", 2019).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.train.layers import conv, doubled

STRIDES: Final = (8, 16, 32)
WIDTHS: Final = (16, 32, 64, 96, 128)
NECK: Final = 64
PRIOR: Final = 0.01
"""Chance of a person in a cell before anything is learned (Lin et al., "Focal loss", 2017)."""


class Partial(nn.Module):
    """A cross-stage partial block: half of the channels pass, half go through residual convolutions."""

    def __init__(self, before: int, after: int, depth: int) -> None:
        super().__init__()
        half = after // 2
        self.passed, self.worked = conv(before, half, 1), conv(before, half, 1)
        self.body = nn.ModuleList(nn.Sequential(conv(half, half), conv(half, half)) for _ in range(depth))
        self.joined = conv(2 * half, after, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Give features of the same grid."""
        worked = self.worked(x)
        for layer in self.body:
            worked = worked + layer(worked)
        return self.joined(torch.cat([self.passed(x), worked], 1))


@dataclass(frozen=True)
class Answer:
    """What the network says of each cell, the finest grid first; n pictures, c cells.

    Args:
        logits: shape `(n, c)`, of a person in the cell.
        corners: shape `(n, c, 4)`, x1 y1 x2 y2 of its box, px.
    """

    logits: Tensor
    corners: Tensor


class PersonNet(nn.Module):
    """Photos in, shape `(n, 3, h, w)`, RGB, 0 to 1, sides multiples of 32."""

    def __init__(self, widths: Sequence[int] = WIDTHS, neck: int = NECK) -> None:
        super().__init__()
        a, b, c, d, e = widths
        self.stem = nn.Sequential(conv(3, a, 3, 2), conv(a, b, 3, 2), Partial(b, b, 1))
        self.s8 = nn.Sequential(conv(b, c, 3, 2), Partial(c, c, 2))
        self.s16 = nn.Sequential(conv(c, d, 3, 2), Partial(d, d, 2))
        self.s32 = nn.Sequential(conv(d, e, 3, 2), Partial(e, e, 2))
        self.sides = nn.ModuleList(conv(width, neck, 1) for width in (c, d, e))
        self.down16, self.down8 = Partial(2 * neck, neck, 1), Partial(2 * neck, neck, 1)
        self.to16, self.to32 = conv(neck, neck, 3, 2), conv(neck, neck, 3, 2)
        self.up16, self.up32 = Partial(2 * neck, neck, 1), Partial(2 * neck, neck, 1)
        self.scoring = nn.ModuleList(conv(neck, neck) for _ in STRIDES)
        self.placing = nn.ModuleList(conv(neck, neck) for _ in STRIDES)
        self.score = nn.ModuleList(nn.Conv2d(neck, 1, 1) for _ in STRIDES)
        self.place = nn.ModuleList(nn.Conv2d(neck, 4, 1) for _ in STRIDES)
        for score, place in zip(self.score, self.place, strict=True):
            nn.init.constant_(score.bias, -torch.log(torch.tensor((1 - PRIOR) / PRIOR)).item())
            nn.init.constant_(place.bias, 1.0)

    def forward(self, photos: Tensor) -> Answer:
        """Say what is in each cell."""
        s8 = self.s8(self.stem((photos - 0.45) / 0.25))
        s16 = self.s16(s8)
        p8, p16, p32 = (side(x) for side, x in zip(self.sides, (s8, s16, self.s32(s16)), strict=True))
        p16 = self.down16(torch.cat([p16, doubled(p32)], 1))
        p8 = self.down8(torch.cat([p8, doubled(p16)], 1))
        n16 = self.up16(torch.cat([p16, self.to16(p8)], 1))
        n32 = self.up32(torch.cat([p32, self.to32(n16)], 1))
        logits, corners = [], []
        for n, features in enumerate((p8, n16, n32)):
            logits.append(self.score[n](self.scoring[n](features)).flatten(1))
            sides = functional.softplus(self.place[n](self.placing[n](features)).float()) * STRIDES[n]
            middles = cell_middles(features.shape[2], features.shape[3], STRIDES[n]).to(photos.device)
            sides = sides.flatten(2).transpose(1, 2)
            corners.append(torch.cat([middles - sides[..., :2], middles + sides[..., 2:]], 2))
        return Answer(torch.cat(logits, 1).float(), torch.cat(corners, 1))


class Exported(nn.Module):
    """What is exported, in the layout of YOLOv8: shape `(1, 5, c)`, rows cx cy w h score.

    Args:
        net: the network.
        shift: what is added to its logits, so that a score means what it means to the agent.
    """

    def __init__(self, net: PersonNet, shift: float = 0.0) -> None:
        super().__init__()
        self.net = net
        self.shift = shift

    def forward(self, photos: Tensor) -> Tensor:
        """Give boxes and scores."""
        said = self.net(photos)
        first, second = said.corners[..., :2], said.corners[..., 2:]
        rows = torch.cat([(first + second) / 2, second - first, torch.sigmoid(said.logits + self.shift)[..., None]], 2)
        return rows.transpose(1, 2)


def cell_middles(rows: int, columns: int, stride: int) -> Tensor:
    """Middles of a grid's cells, shape `(rows × columns, 2)`, x and y in px."""
    ys, xs = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return (torch.stack([xs, ys], -1).reshape(-1, 2) + 0.5) * stride


def grid_middles(height: int, width: int) -> Tensor:
    """Middles of all cells of a picture, shape `(c, 2)`."""
    return torch.cat([cell_middles(height // stride, width // stride, stride) for stride in STRIDES])

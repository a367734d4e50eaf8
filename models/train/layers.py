"""What the networks have in common: layers, and the mean of their last weights."""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

KEEP: Final = 0.998
"""Share of the mean weights that a step leaves; less at the beginning."""


def conv(before: int, after: int, kernel: int = 3, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """Convolution, normalisation, ReLU; the size stays but for the stride."""
    return nn.Sequential(
        nn.Conv2d(before, after, kernel, stride, dilation * (kernel // 2), dilation=dilation, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )


class Residual(nn.Module):
    """Two convolutions whose result is added to what came in."""

    def __init__(self, width: int, dilation: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(width, width, 3, 1, dilation), nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Give the sum, rectified."""
        return functional.relu(x + self.body(x))


def doubled(x: Tensor) -> Tensor:
    """Bring features to the next finer grid."""
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")


@torch.no_grad()
def follow(mean: nn.Module, net: nn.Module, step: int) -> None:
    """Let the mean weights follow those of a step."""
    keep = min(KEEP, (1 + step) / (10 + step))
    for ours, new in zip(mean.state_dict().values(), net.state_dict().values(), strict=True):
        if ours.is_floating_point():
            ours.lerp_(new, 1 - keep)
        else:
            ours.copy_(new)

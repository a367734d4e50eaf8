"""Layers that the networks are built of."""

from torch import Tensor, nn
from torch.nn import functional


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

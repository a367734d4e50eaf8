"""Train the counter of crowds: `python -m models.train.heads CROWD NEGATIVES OUT.onnx`.

A convolutional network says for each cell of 8 × 8 pixels how many heads it holds. It learns from photos in which every
head is marked with a point, by the Bayesian loss (Ma et al., "Bayesian Loss for Crowd Count Estimation with Point
Supervision", ICCV 2019): each head must find one count around it, whatever the shape of the density.
"""

import argparse
import copy
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from models.train.files import export
from models.train.layers import Residual, conv, follow

CROP: Final = 320
CELL: Final = 8
BATCH: Final = 12
SPREAD_PX: Final = 8.0
BACKGROUND: Final = 0.15
"""Distance from the nearest head at which background begins, as a share of the crop (Ma et al.)."""
EMPTY_SHARE: Final = 0.12
WIDTH_PX: Final = 768

Photo = NDArray[np.uint8]
Points = NDArray[np.float32]
Counts = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Marked:
    """A photo, RGB, and its heads, shape `(n, 2)`, x and y in px."""

    rgb: Photo
    heads: Points


class HeadsNet(nn.Module):
    """Photos in, shape `(n, 3, h, w)`, 0 to 1, sides multiples of 16; out: heads per cell, `(n, 1, h / 8, w / 8)`."""

    def __init__(self, widths: Sequence[int] = (16, 32, 64, 96)) -> None:
        super().__init__()
        a, b, c, d = widths
        self.stem = nn.Sequential(conv(3, a, 3, 2), conv(a, b, 3, 2), Residual(b))
        self.s8 = nn.Sequential(conv(b, c, 3, 2), Residual(c), Residual(c))
        self.s16 = nn.Sequential(conv(c, d, 3, 2), Residual(d), Residual(d, 2), Residual(d, 3))
        self.up = conv(d, c, 1)
        self.fuse = nn.Sequential(conv(2 * c, c), Residual(c))
        self.head = nn.Conv2d(c, 1, 1)
        nn.init.constant_(self.head.bias, -3.0)

    def forward(self, photos: Tensor) -> Tensor:
        """Give heads per cell."""
        s8 = self.s8(self.stem((photos - 0.45) / 0.25))
        up = functional.interpolate(self.up(self.s16(s8)), scale_factor=2.0, mode="nearest")
        return functional.softplus(self.head(self.fuse(torch.cat([s8, up], 1))))


def crop(photos: Sequence[Marked], empty: Sequence[Photo], rng: np.random.Generator) -> tuple[Photo, Points]:
    """Cut a square of CROP pixels out of a photo, at a random scale and light, with the heads in it."""
    if len(empty) and rng.random() < EMPTY_SHARE:
        rgb, heads = empty[int(rng.integers(len(empty)))], np.zeros((0, 2), np.float32)
    else:
        chosen = photos[int(rng.integers(len(photos)))]
        rgb, heads = chosen.rgb, chosen.heads
    scale, aspect = math.exp(rng.uniform(math.log(0.6), math.log(2.0))), math.exp(rng.uniform(-0.1, 0.1))
    height, width = rgb.shape[:2]
    x = rng.uniform(0, max(0.0, width - CROP / scale * aspect) + 1e-6)
    y = rng.uniform(0, max(0.0, height - CROP / scale / aspect) + 1e-6)
    factors = np.array([scale / aspect, scale * aspect], np.float32)
    matrix = np.array([[factors[0], 0, -x * factors[0]], [0, factors[1], -y * factors[1]]], np.float32)
    source = cv2.GaussianBlur(rgb, (0, 0), 0.35 / scale) if scale < 1 else rgb
    part = cv2.warpAffine(source, matrix, (CROP, CROP), flags=cv2.INTER_LINEAR, borderValue=(114, 114, 114))
    inside = heads * factors + matrix[:, 2]
    inside = inside[((inside >= 0) & (inside < CROP)).all(1)]
    if rng.random() < 0.5:
        part, inside = part[:, ::-1], inside * np.array([-1, 1]) + np.array([CROP - 1, 0])
    return _taken(np.ascontiguousarray(part), rng), inside.astype(np.float32)


def _taken(rgb: NDArray[np.generic], rng: np.random.Generator) -> Photo:
    """Light, focus, noise and codec of some camera."""
    picture = rgb.astype(np.float32)
    if rng.random() < 0.15:
        picture[:] = picture.mean(2, keepdims=True)
    else:
        picture *= rng.uniform(0.85, 1.15, 3).astype(np.float32)
    picture = (255 * np.clip(picture / 255, 0, 1) ** rng.uniform(0.6, 1.7)).astype(np.float32)
    picture = picture * np.float32(rng.uniform(0.5, 1.2)) + np.float32(rng.uniform(-15, 15))
    lens = rng.random()
    if lens < 0.15:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.5, 1.3)), np.float32)
    elif lens < 0.3:
        picture = np.asarray(cv2.addWeighted(picture, 1.8, cv2.GaussianBlur(picture, (0, 0), 1.5), -0.8, 0), np.float32)
    if rng.random() < 0.4:
        picture = picture + rng.normal(0, rng.uniform(2, 12), picture.shape).astype(np.float32)
    coded = np.clip(picture, 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        jpeg = cv2.imencode(".jpg", coded, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 80))])[1]
        coded = np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), np.uint8)
    return coded


_MIDDLES = (torch.arange(CROP // CELL) + 0.5) * CELL
_GRID_X, _GRID_Y = _MIDDLES.repeat(CROP // CELL)[None], _MIDDLES.repeat_interleave(CROP // CELL)[None]


def bayesian_loss(density: Tensor, heads: Points) -> Tensor:
    """Distance of each head's expected count from one, and of the background's from none, over the cells of a crop."""
    flat = density.reshape(1, -1)
    if not len(heads):
        return flat.sum()
    points = torch.from_numpy(heads)
    squared = (points[:, :1] - _GRID_X) ** 2 + (points[:, 1:] - _GRID_Y) ** 2
    nearest = squared.min(0, keepdim=True).values.clamp_min(1e-3).sqrt()
    background = (BACKGROUND * CROP - nearest) ** 2
    chances = torch.softmax(-torch.cat([squared, background]) / (2 * SPREAD_PX**2), 0)
    expected = (chances * flat).sum(1)
    return (1 - expected[:-1]).abs().sum() + expected[-1].abs()


def train(photos: Sequence[Marked], held: Sequence[Marked], empty: Sequence[Photo], minutes: float) -> HeadsNet:
    """Train for a time and give the mean of the last weights."""
    torch.manual_seed(1)
    rng = np.random.default_rng(1)
    net = HeadsNet().to(memory_format=torch.channels_last)
    mean = copy.deepcopy(net)
    optimiser = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=1e-4)
    began = shown = time.monotonic()
    step = 0
    while (done := (time.monotonic() - began) / 60 / minutes) < 1:
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * min(1.0, (step + 1) / 200) * (0.5 + 0.5 * math.cos(math.pi * done)) + 1e-5
        crops = [crop(photos, empty, rng) for _ in range(BATCH)]
        blob = torch.from_numpy(np.stack([rgb for rgb, _ in crops])).permute(0, 3, 1, 2).float() / 255
        net.train()
        with torch.autocast("cpu", torch.bfloat16):
            density = net(blob.contiguous(memory_format=torch.channels_last))
        value = sum(bayesian_loss(density[n].float(), heads) for n, (_, heads) in enumerate(crops)) / BATCH
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 20.0)
        optimiser.step()
        step += 1
        follow(mean, net, step)
        if held and time.monotonic() - shown > 240:
            shown = time.monotonic()
            print(f"{step * BATCH} crops, {done:.0%}: {quality(mean, held, WIDTH_PX)}", flush=True)
    return mean


@torch.no_grad()
def said(net: HeadsNet, photos: Sequence[Marked], width: int) -> Counts:
    """Counts at a width, shape `(n,)`."""
    net.eval()
    counts = []
    for photo in photos:
        height = round(photo.rgb.shape[0] * width / photo.rgb.shape[1] / 16) * 16
        method = cv2.INTER_AREA if width < photo.rgb.shape[1] else cv2.INTER_LINEAR
        fitted = cv2.resize(photo.rgb, (width, height), interpolation=method)
        counts.append(float(net(torch.from_numpy(fitted).permute(2, 0, 1)[None].float() / 255).sum()))
    return np.array(counts)


def quality(net: HeadsNet, photos: Sequence[Marked], width: int, gain: float = 1.0) -> str:
    """Errors on photos that were not trained on."""
    wanted = np.array([len(photo.heads) for photo in photos])
    off = np.abs(gain * said(net, photos, width) - wanted)
    return f"mean absolute error {off.mean():.1f}, median relative {np.median(off / wanted):.1%}"


def fitted_gain(counts: Counts, wanted: Counts) -> float:
    """The factor at which the mean relative error is least.

    The loss is absolute and many heads are far away, so that the network says too few: 3 % on the photos held back.
    """
    gains = np.arange(0.9, 1.1001, 0.005)
    errors = [float(np.mean(np.abs(gain * counts - wanted) / wanted)) for gain in gains]
    return round(float(gains[int(np.argmin(errors))]), 3)


def main() -> None:
    """Train and export; every tenth photo is held back to choose the size of the input by."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("crowd", type=Path, help="folder with heads.json and images/")
    parser.add_argument("negatives", type=Path, help="dataset folder in YOLO format; photos without people are used")
    parser.add_argument("out", type=Path)
    parser.add_argument("--prefix", default="train", help="which photos of heads.json")
    parser.add_argument("--minutes", type=float, default=90)
    parser.add_argument("--threads", type=int, default=0)
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    marks = json.loads((asked.crowd / "heads.json").read_text("utf-8"))
    photos = [
        Marked(_read(asked.crowd / "images" / name), np.array(marks[name], np.float32).reshape(-1, 2))
        for name in sorted(marks)
        if name.startswith(asked.prefix)
    ]
    empty = [
        _read(path)
        for path in sorted((asked.negatives / "images").iterdir())
        if "0" not in _classes(asked.negatives / "labels" / f"{path.stem}.txt")
    ]
    held = photos[::10]
    net = train([photo for n, photo in enumerate(photos) if n % 10], held, empty, asked.minutes).eval()
    torch.save(net.state_dict(), asked.out.with_suffix(".pt"))
    for width in (576, 768, 1024):
        print(width, quality(net, held, width))
    gain = fitted_gain(said(net, held, WIDTH_PX), np.array([float(len(photo.heads)) for photo in held]))
    print("gain", gain, quality(net, held, WIDTH_PX, gain))
    meta = {"task": "count", "width": str(WIDTH_PX), "gain": str(gain)}
    export(net, asked.out, torch.zeros(1, 3, CROP, CROP), ("photo", "heads"), (2, 3), meta)


def _read(path: Path) -> Photo:
    photo = cv2.imread(str(path))
    if photo is None:
        raise SystemExit(f"{path}: expected a photo, it cannot be read")
    return np.asarray(cv2.cvtColor(photo, cv2.COLOR_BGR2RGB), np.uint8)


def _classes(labels: Path) -> set[str]:
    return {line.split()[0] for line in labels.read_text().splitlines() if line} if labels.exists() else set()


if __name__ == "__main__":
    main()

"""Train the network that tells things from light: `python -m models.train.change PHOTOS OUT.onnx`.

A small U-shaped convolutional network looks at two pictures of one place and says for each cell of 4 × 4 pixels: the
same, a thing stands there now, or a thing stood there in the reference (a ghost). It never saw a street of ours: pairs
are made up from photos (`pairs`).
"""

import argparse
import copy
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, IterableDataset

from models.train.cutouts import opacity
from models.train.files import export
from models.train.layers import Residual, conv, doubled, follow
from models.train.pairs import IGNORED, Luma, Source, pair

CROP: Final = (128, 192)
BATCH: Final = 16
STRIDE: Final = 4
RATE: Final = 3e-3
"""Of learning, at the beginning; a third of it where weights are gone on from."""


class ChangeNet(nn.Module):
    """Two lumas in, shape `(n, 2, h, w)`, 0 to 255, sides multiples of 16; out: scores of 3 classes at a quarter."""

    def __init__(self, widths: Sequence[int] = (16, 32, 48, 64)) -> None:
        super().__init__()
        a, b, c, d = widths
        # each picture is looked at by itself first: which of the two shows the thing is seen in each alone
        self.each = nn.Sequential(conv(1, a, 3, 2), conv(a, b, 3, 2), conv(b, b))
        self.both = nn.Sequential(conv(3 * b, b, 1), conv(b, b))
        self.s8 = nn.Sequential(conv(b, c, 3, 2), Residual(c), Residual(c, 2))
        self.s16 = nn.Sequential(conv(c, d, 3, 2), Residual(d), Residual(d, 2))
        self.from16, self.from8 = conv(d, c, 1), conv(c, b, 1)
        self.mix8, self.mix4 = conv(c, c), conv(b, b)
        self.head = nn.Conv2d(b, 3, 1)

    def forward(self, lumas: Tensor) -> Tensor:
        """Give scores."""
        # light multiplies: in logarithms it adds, and the mean of each picture takes most of it away
        x = torch.log(lumas + 8.0)
        x = (x - x.mean((2, 3), keepdim=True)) * 2.0
        now, then = self.each(x[:, :1]), self.each(x[:, 1:])
        s4 = self.both(torch.cat([now, then, (now - then).abs()], 1))
        s8 = self.s8(s4)
        up = self.mix8(s8 + doubled(self.from16(self.s16(s8))))
        up = self.mix4(s4 + doubled(self.from8(up)))
        scores: Tensor = self.head(up)
        return scores


class Probabilities(nn.Module):
    """What is exported: probabilities instead of scores."""

    def __init__(self, net: ChangeNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, lumas: Tensor) -> Tensor:
        """Give chances, 0 to 1."""
        return torch.softmax(self.net(lumas), 1)


@dataclass
class Batches(IterableDataset[tuple[Tensor, Tensor]]):
    """Endless batches of pairs and truths."""

    source: Source
    rng: np.random.Generator

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Make them up, one after the other."""
        while True:
            pairs = [pair(self.source, CROP, self.rng) for _ in range(BATCH)]
            lumas = torch.from_numpy(np.stack([np.stack([one.now, one.reference]) for one in pairs]))
            truths = torch.from_numpy(np.stack([_coarse(one.truth) for one in pairs]).astype(np.int64))
            yield lumas, truths


def _coarse(truth: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Say of each cell what at least half of it is; what has a lesser part of a thing is not asked for."""
    height, width = truth.shape
    cells = truth.reshape(height // STRIDE, STRIDE, width // STRIDE, STRIDE).transpose(0, 2, 1, 3)
    flat = cells.reshape(height // STRIDE, width // STRIDE, -1)
    shares = np.stack([(flat == number).mean(2) for number in range(3)])
    coarse = shares.argmax(0).astype(np.uint8)
    coarse[(shares[1:].max(0) < 0.5) & (shares[0] < 0.75)] = IGNORED
    return coarse


def loss(scores: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy, and the overlap of each class (Dice), for things are small."""
    entropy = functional.cross_entropy(
        scores, truth, weight=torch.tensor([1.0, 2.0, 2.0]), ignore_index=IGNORED, reduction="mean"
    )
    known = (truth != IGNORED).float()
    chances = torch.softmax(scores, 1) * known[:, None]
    dice = scores.new_zeros(())
    for number in (1, 2):
        wanted = (truth == number).float()
        shared = (chances[:, number] * wanted).sum((1, 2))
        sizes = chances[:, number].sum((1, 2)) + wanted.sum((1, 2))
        dice = dice + (1 - (2 * shared + 8) / (sizes + 8)).mean()
    return entropy + 0.5 * dice


def train(source: Source, minutes: float, seed: int, begin: Path | None = None) -> ChangeNet:
    """Train for a time and give the mean of the last weights; `begin`: weights of an earlier training to go on from."""
    torch.manual_seed(seed)
    net = ChangeNet().to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's own stubs lack it
    rate = RATE
    if begin is not None:
        net.load_state_dict(torch.load(begin, weights_only=True))
        rate = RATE / 3
    mean = copy.deepcopy(net)
    optimiser = torch.optim.AdamW(net.parameters(), rate, weight_decay=1e-4)
    began, shown = time.monotonic(), time.monotonic()
    # made up in a process beside: it takes as long as the step itself
    made_up = DataLoader(
        Batches(source, np.random.default_rng(seed)), batch_size=None, num_workers=1, prefetch_factor=8
    )
    for step, (lumas, truth) in enumerate(made_up):
        done = (time.monotonic() - began) / 60 / minutes
        if done >= 1:
            break
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 200) * (0.5 + 0.5 * math.cos(math.pi * done)) + 1e-5
        net.train()
        with torch.autocast("cpu", torch.bfloat16):
            scores = net(lumas)
        value = loss(scores.float(), truth)
        optimiser.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]  # torch's own stubs lack it
        nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimiser.step()
        follow(mean, net, step)
        if time.monotonic() - shown > 60:
            shown = time.monotonic()
            print(f"{step * BATCH} pairs, {done:.0%}: {quality(mean, source)}", flush=True)
    return mean


@torch.no_grad()
def quality(net: ChangeNet, source: Source, count: int = 12) -> str:
    """Intersection over union of both classes, on pairs that were not trained on."""
    net.eval()
    rng = np.random.default_rng(987654321)
    sums = np.zeros((2, 2))
    for _, (lumas, truth) in zip(range(count), Batches(source, rng), strict=False):
        said = net(lumas).argmax(1)
        known = truth != IGNORED
        for number in (1, 2):
            a, b = (said == number) & known, truth == number
            sums[number - 1] += ((a & b).sum().item(), (a | b).sum().item())
    thing, gone = sums[:, 0] / sums[:, 1]
    return f"IoU thing {thing:.3f}, gone {gone:.3f}"


def load_source(folder: Path) -> Source:
    """Read a dataset folder in YOLO format: photos are places, labelled things are cut out of them."""
    grounds: list[NDArray[np.uint8]] = []
    cutouts: list[tuple[Luma, Luma]] = []
    for path in sorted((folder / "images").iterdir()):
        photo = cv2.imread(str(path))
        if photo is None:
            continue
        luma = cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY)
        grounds.append(np.asarray(luma, np.uint8))
        labels = folder / "labels" / f"{path.stem}.txt"
        rows = labels.read_text().splitlines() if labels.exists() else []
        for row in rows[:8]:
            cut = _cut(
                np.asarray(photo, np.uint8), np.asarray(luma, np.float32), [float(part) for part in row.split()[1:5]]
            )
            if cut is not None:
                cutouts.append(cut)
    return Source(grounds, cutouts)


def _cut(photo: NDArray[np.uint8], luma: Luma, box: Sequence[float]) -> tuple[Luma, Luma] | None:
    height, width = luma.shape
    x, y, w, h = box
    left, top = round((x - w / 2) * width), round((y - h / 2) * height)
    wide, high = round(w * width), round(h * height)
    if min(wide, high) < 30 or left < 1 or top < 1 or left + wide >= width or top + high >= height:
        return None
    part = (slice(top, top + high), slice(left, left + wide))
    solid = opacity(photo, (left, top, wide, high))
    if not 0.2 < float(solid.mean()) < 0.98:
        return None
    return luma[part], solid


def main() -> None:
    """Train and export."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, help="dataset folder in YOLO format: images/ and labels/")
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--begin", type=Path, help="weights of an earlier training, .pt, to go on from")
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    source = load_source(asked.photos)
    print(f"{len(source.grounds)} photos, {len(source.cutouts)} things cut out", flush=True)
    net = train(source, asked.minutes, asked.seed, asked.begin)
    torch.save(net.state_dict(), asked.out.with_suffix(".pt"))
    example = torch.zeros(1, 2, *CROP)
    export(Probabilities(net).eval(), asked.out, example, ("lumas", "chances"), (0, 2, 3), {"task": "change"})


if __name__ == "__main__":
    main()

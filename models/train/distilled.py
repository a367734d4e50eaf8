"""Still fewer bits: `python -m models.train.distilled FILE COARSE OUT.onnx.packed --photos DIR … --bits 5 --minutes 8`.

What `coarse` rounded once learns here to say what the fine network says, rounded at each look: about photos in ever
other cuts and light, without labels. How large the steps of each channel are is learned as well (LSQ: Esser et al.,
ICLR 2020), under a budget of bits for each weight: layers that bear it get larger ones. The graph stays, and so does
the speed. Needs the extra `models` and a GPU, or patience.
"""

import argparse
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, IterableDataset

from models.catalogue import read_model
from models.tools.photos import photos_in, read_photo
from models.train.change import load_source
from models.train.coarse import MOST
from models.train.packing import pack
from models.train.pairs import Source, pair

BATCH: Final = 16
CUT: Final = (320, 416)
PAIR: Final = (192, 320)
"""Height and width of a look, and of a pair."""
PHOTO: Final = (576, 432)
"""Width and height of photos that are cut."""
RATES: Final = (0.01, 2e-3, 3e-4)
"""Of weights, in steps; of the logarithm of a step; of what is added."""
STRICT: Final = 30.0
"""Weight of the square of the bits above the budget."""
DESCENT: Final = 0.4
"""Share of the time in which the budget falls to what is wanted."""
MANTISSA: Final = 12
"""Bits that remain of what is not whole steps."""
Tensors = Mapping[str, Tensor]
Answer = tuple[Sequence[Tensor], Sequence[Tensor]]
"""What the last convolutions say, and what all do."""
OPERATIONS: Final[dict[str, Callable[[Sequence[Tensor], Mapping[str, Any]], Tensor]]] = {
    "Relu": lambda given, _: functional.relu(given[0]),
    "Add": lambda given, _: given[0] + given[1],
    "Sub": lambda given, _: given[0] - given[1],
    "Mul": lambda given, _: given[0] * given[1],
    "Div": lambda given, _: given[0] / given[1],
    "Log": lambda given, _: given[0].log(),
    "Abs": lambda given, _: given[0].abs(),
    "Concat": lambda given, shape: torch.cat(list(given), shape["axis"]),
    "Resize": lambda given, _: functional.interpolate(given[0], scale_factor=2.0, mode="nearest"),
    "ReduceMean": lambda given, shape: given[0].mean(shape["axes"], keepdim=True),
    "Slice": lambda given, _: given[0][:, int(given[1]) : int(given[2])],
    "Conv": lambda given, shape: functional.conv2d(
        *given, stride=shape["strides"], padding=shape["pads"][:2], dilation=shape["dilations"]
    ),
}
"""What our networks consist of up to their last convolutions."""


class Net:
    """An ONNX file of ours in torch, as far as its last convolutions."""

    def __init__(self, model: onnx.ModelProto, device: str) -> None:
        graph = model.graph
        self.task = {one.key: one.value for one in model.metadata_props}["task"]
        self._input = graph.input[0].name
        self._same = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Identity"}
        arrays = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant":
                arrays[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        # what Slice is told stays here: to ask the device for it would wait for it
        self.held = {
            name: torch.tensor(array, device="cpu" if array.dtype == np.int64 else device)
            for name, array in arrays.items()
        }
        made = {node.output[0]: node for node in graph.node}
        self.ends: list[str] = []
        self.layers: dict[str, tuple[str, str]] = {}
        """Kernels that are whole steps: the names of these and of their size."""
        nodes: list[tuple[onnx.NodeProto, dict[str, Any]]] = []
        leads: set[str] = set()
        for node in reversed(graph.node):
            name, convolves = node.output[0], node.op_type == "Conv"
            if name not in leads and convolves:
                self.ends.insert(0, name)
            elif name not in leads:
                continue
            leads.update(node.input)
            nodes.insert(0, (node, {one.name: helper.get_attribute_value(one) for one in node.attribute}))
            kernel = made.get(self._known(node.input[1])) if convolves else None
            if kernel is not None and kernel.op_type == "Mul":
                self.layers[kernel.output[0]] = (made[kernel.input[0]].input[0], kernel.input[1])
        skipped = {*self.layers, *self.held, *self._same}
        self._nodes = [one for one in nodes if one[0].output[0] not in skipped and one[0].op_type != "Cast"]
        self.added = sorted(
            {self._known(name) for node, _ in nodes if node.op_type == "Conv" for name in node.input[2:]}
        )
        shifted = [made[node.input[0]].input[1] for node in graph.node if node.op_type == "Sigmoid"]
        self.shift = self.held[shifted[0]] if shifted else 0.0
        """What the file adds to its scores."""

    def _known(self, name: str) -> str:
        return self._same.get(name, name)

    def weights(self) -> dict[str, Tensor]:
        """Kernels, and what is added."""
        kernels = {name: self.held[steps].float() * self.held[scale] for name, (steps, scale) in self.layers.items()}
        return kernels | {name: self.held[name] for name in self.added}

    def __call__(self, x: Tensor, weights: Tensors) -> Answer:
        """Look at a batch with such weights."""
        values, said = {**self.held, **weights, self._input: x}, []
        for node, shape in self._nodes:
            given = [values[self._known(name)] for name in node.input if name]
            values[node.output[0]] = OPERATIONS[node.op_type](given, shape)
            if node.op_type == "Conv":
                said.append(values[node.output[0]])
        return [values[name] for name in self.ends], said


def train(fine: Net, coarse: Net, looks: Iterator[Tensor], bits: float, minutes: float) -> dict[str, Tensor]:
    """Give tensors of the file by name: steps, their sizes and what is added.

    Args:
        fine: what is learned from.
        coarse: what is begun with.
        looks: endless batches.
        bits: for each weight, by the entropy of a normal distribution.
        minutes: how long.
    """
    wanted = fine.weights()
    weights = {name: coarse.held[steps].float().requires_grad_() for name, (steps, _) in coarse.layers.items()}
    scales = {name: coarse.held[scale] for name, (_, scale) in coarse.layers.items()}
    larger = {name: torch.zeros_like(scale).requires_grad_() for name, scale in scales.items()}
    added = {name: coarse.held[name].clone().requires_grad_() for name in coarse.added}
    groups = [list(one.values()) for one in (weights, larger, added)]
    optimiser = torch.optim.Adam([{"params": one} for one in groups], betas=(0.9, 0.99))
    began_s, first = time.monotonic(), 0.0
    while (done := (time.monotonic() - began_s) / 60 / minutes) < 1:
        slope = min(1.0, done * 20) * (0.5 + 0.5 * math.cos(math.pi * done)) + 0.002
        for group, rate in zip(optimiser.param_groups, RATES, strict=True):
            group["lr"] = rate * slope
        x = next(looks)
        with torch.no_grad():
            right = fine(x, wanted)
        rounded, spent = {}, x.new_zeros(())
        for name, weight in weights.items():
            steps = (weight * torch.exp(-larger[name])).clamp(-MOST, MOST)
            whole = steps + (steps.round() - steps).detach()
            rounded[name] = scales[name] * torch.exp(larger[name]) * whole
            variance = steps.square().mean() + 1 / 12
            spent = spent + steps.numel() * 0.5 * torch.log2(2 * math.pi * math.e * variance)
        spent = spent / sum(one.numel() for one in weights.values())
        first = first or float(spent.detach())
        budget = first + (bits - first) * min(1.0, done / DESCENT)
        value = apart(fine, coarse(x, rounded | added), right) + STRICT * functional.relu(spent - budget).square()
        optimiser.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]  # torch's own stubs lack it
        optimiser.step()
    tensors: dict[str, Tensor] = {name: _short(one.detach()) for name, one in added.items()}
    for name, (steps_name, scale_name) in coarse.layers.items():
        scale = _short((scales[name] * torch.exp(larger[name])).detach())
        steps = (weights[name].detach() * scales[name] / scale).round().clamp(-MOST, MOST)
        tensors |= {steps_name: steps.to(torch.int8), scale_name: scale}
    return tensors


def apart(net: Net, said: Answer, right: Answer) -> Tensor:
    """How far two networks are apart in what they say, and in each layer."""
    within = [((a - b).square().mean() / (b.var() + 1e-6)) for a, b in zip(said[1], right[1], strict=True)]
    measure = {"detect": _boxes, "count": _heads, "change": _chances}[net.task]
    return measure(net, said[0], right[0]) + torch.stack(within).mean()


def _boxes(net: Net, said: Sequence[Tensor], right: Sequence[Tensor]) -> Tensor:
    """Scores, and the four edges where somebody is, for each grid."""
    off = said[0].new_zeros(())
    for score, place, true_score, true_place in zip(said[::2], said[1::2], right[::2], right[1::2], strict=True):
        chance, many = torch.sigmoid(true_score + net.shift), len(score) * 16
        entropies = [
            functional.binary_cross_entropy_with_logits(one + net.shift, chance, reduction="sum")
            for one in (score, true_score)
        ]
        edges, true_edges = functional.softplus(place), functional.softplus(true_place)
        off = off + (entropies[0] - entropies[1]) / many
        off = off + (chance * (edges - true_edges).abs() / (true_edges + 0.5)).sum() / (4 * many)
    return off


def _heads(_: Net, said: Sequence[Tensor], right: Sequence[Tensor]) -> Tensor:
    """Heads in each cell, in 8 × 8 of them, and in the whole picture."""
    heads, true = functional.softplus(said[0]), functional.softplus(right[0])
    off, whole = (heads - true), true.sum((1, 2, 3))
    parts = functional.avg_pool2d(off, 8, ceil_mode=True) * 64
    near = (0.3 * off.abs().sum() + 0.7 * parts.abs().sum()) / (whole.sum() + 1)
    return near + (off.sum((1, 2, 3)).abs() / (whole + 5)).mean()


def _chances(_: Net, said: Sequence[Tensor], right: Sequence[Tensor]) -> Tensor:
    chances, true = said[0].log_softmax(1), right[0].log_softmax(1)
    return 20 * (true.exp() * (true - chances)).sum(1).mean()


def _short(values: Tensor) -> Tensor:
    mantissas, exponents = torch.frexp(values)
    return torch.ldexp((mantissas * 2**MANTISSA).round() / 2**MANTISSA, exponents)


def views(photos: Tensor) -> Iterator[Tensor]:
    """Endless batches of cuts of photos `(n, 3, h, w)` of 8 bits, in changed light."""
    size, device = (BATCH, 3, *CUT), photos.device

    def chance(least: float, most: float) -> Tensor:
        return torch.empty(BATCH, 1, 1, 1, device=device).uniform_(least, most)

    while True:
        chosen = photos[torch.randint(len(photos), (BATCH,), device=device)].float() / 255
        seen = torch.exp(chance(math.log(0.45), math.log(1.15))).reshape(-1)
        way = torch.zeros(BATCH, 2, 3, device=device)
        way[:, 0, 0] = seen * torch.where(chance(-1, 1).reshape(-1) < 0, -1, 1)
        way[:, 1, 1] = seen
        way[:, :, 2] = (torch.rand(BATCH, 2, device=device) * 2 - 1) * (1 - seen).clamp(min=0)[:, None]
        grid = functional.affine_grid(way, list(size), align_corners=False)
        cut = functional.grid_sample(chosen, grid, padding_mode="reflection", align_corners=False)
        lit = cut.clamp(1e-4, 1) ** torch.exp(chance(-0.5, 0.5)) * chance(0.6, 1.15) + chance(-0.06, 0.06)
        lit = lit * (1 + 0.04 * torch.randn(BATCH, 3, 1, 1, device=device))
        yield (lit + torch.randn(size, device=device) * chance(0, 0.03)).clamp(0, 1)


@dataclass
class Pairs(IterableDataset[Tensor]):
    """Endless batches of pairs."""

    source: Source

    def __iter__(self) -> Iterator[Tensor]:
        """Make them up, one after the other."""
        rng = np.random.default_rng(torch.initial_seed() % 2**32)
        while True:
            pairs = [pair(self.source, PAIR, rng) for _ in range(BATCH)]
            yield torch.from_numpy(np.stack([np.stack([one.now, one.reference]) for one in pairs]))


def main() -> None:
    """Read both files, train, pack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="the fine network")
    parser.add_argument("coarse", type=Path, help="what `models.train.coarse` made of it")
    parser.add_argument("out", type=Path)
    parser.add_argument("--photos", type=Path, action="append", required=True, help="folder; `change`: in YOLO format")
    parser.add_argument("--bits", type=float, default=5.0, help="for each weight")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--workers", type=int, default=8, help="processes that make up pairs")
    asked = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(1)
    model = onnx.load_from_string(read_model(asked.coarse))
    fine, coarse = Net(onnx.load_from_string(read_model(asked.file)), device), Net(model, device)
    if fine.task == "change":
        made_up = DataLoader(Pairs(load_source(asked.photos[0])), batch_size=None, num_workers=asked.workers)
        looks: Iterator[Tensor] = (one.to(device) for one in made_up)
    else:
        photos = [cv2.resize(read_photo(path), PHOTO) for folder in asked.photos for path in photos_in(folder)]
        looks = views(torch.from_numpy(np.stack(photos).transpose(0, 3, 1, 2).copy()).to(device))
    tensors = train(fine, coarse, looks, asked.bits, asked.minutes)
    for one in model.graph.initializer:
        if one.name in tensors:
            one.CopyFrom(numpy_helper.from_array(tensors[one.name].cpu().numpy(), one.name))
    onnx.checker.check_model(model)
    content = pack(model.SerializeToString())
    asked.out.write_bytes(content)
    print(f"{asked.out}: {len(content)} bytes; {model.ByteSize()} unpacked")


if __name__ == "__main__":
    main()

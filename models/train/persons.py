"""Train the shipped detector of people: `python -m models.train.persons --crowd DIR --labelled DIR … --out FILE.onnx`.

From random weights, for a given time, resumable: a checkpoint beside the output is taken up again. Every fourteenth
photo is held back; its average precision is written to the curve, `FILE.csv`.
"""

import argparse
import copy
import csv
import ctypes
import hashlib
import itertools
import math
import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from agent.vision.layouts import Found as Raw
from agent.vision.layouts import suppress
from agent.vision.letterbox import Letterbox
from agent.vision.people import COUNT_SCORE
from models.tools.evaluation import Found, Labelled, evaluate
from models.tools.photos import Photo, labelled_photo, photos_in
from models.train.assignment import Truth, loss
from models.train.cutouts import opacity
from models.train.detector import Exported, PersonNet, grid_middles
from models.train.files import export
from models.train.layers import follow
from models.train.photos import Peopled, ious, read_crowd, read_folder
from models.train.views import SIDE, Cutout, Pool, Source, view

BATCH: Final = 16
RATE: Final = 2.5e-3
HELD: Final = 14
SAVE_S: Final = 120.0
CURVE_S: Final = 300.0
HIT: Final = 0.4
FEW: Final = 10
PRECISION: Final = 0.9
"""The file's own threshold: nine of ten boxes are people, where there are fewer than FEW."""
WIDTH, HEIGHT = 416, 320
"""The input that is exported."""


@dataclass
class Batches(IterableDataset[tuple[Tensor, list[Truth]]]):
    """Endless batches: pictures `(BATCH, 3, SIDE, SIDE)`, 8 bits, and who is in them."""

    source: Source
    seed: int

    def __iter__(self) -> Iterator[tuple[Tensor, list[Truth]]]:
        """Make them up, one after the other."""
        # outlives nobody: a worker whose parent was killed would go on for ever
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        cv2.setNumThreads(1)
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        while True:
            views = [view(self.source, rng) for _ in range(BATCH)]
            photos = torch.from_numpy(np.stack([one.rgb for one in views])).permute(0, 3, 1, 2)
            truths = [
                Truth(torch.from_numpy(one.boxes), torch.from_numpy(one.trust), torch.from_numpy(one.ignored))
                for one in views
            ]
            yield photos, truths


class CheckpointError(Exception):
    """A checkpoint that does not belong to a training; one line."""


@dataclass
class Run:
    """The state of a training, as it is kept in a checkpoint."""

    net: PersonNet
    mean: PersonNet
    optimiser: torch.optim.Optimizer
    data: str = ""
    """What it learns from, as a checksum: a checkpoint belongs to it."""
    step: int = 0
    spent_s: float = 0.0
    curve: list[tuple[float, int, float]] = field(default_factory=list)
    """Minutes, pictures, average precision of the held-back photos."""

    @classmethod
    def begin(cls, seed: int) -> "Run":
        """Start from random weights."""
        torch.manual_seed(seed)
        net = PersonNet().to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's own stubs lack it
        plain = [p for p in net.parameters() if p.ndim < 2]
        heavy = [p for p in net.parameters() if p.ndim >= 2]
        groups = [{"params": heavy, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0.0}]
        return cls(net, copy.deepcopy(net), torch.optim.AdamW(groups, RATE))

    def save(self, path: Path) -> None:
        """Keep it, all at once or not at all."""
        part = path.with_suffix(".part")
        parts: dict[str, Any] = {name: getattr(self, name).state_dict() for name in ("net", "mean", "optimiser")}
        torch.save({**parts, "data": self.data, "step": self.step, "spent_s": self.spent_s, "curve": self.curve}, part)
        part.replace(path)

    def go_on_from(self, path: Path) -> None:
        """Take the weights of another training, as they were in the mean."""
        kept = torch.load(path, weights_only=True)
        for net in (self.net, self.mean):
            net.load_state_dict(kept["mean"])

    def resume(self, path: Path) -> None:
        """Take it up again; raises CheckpointError for one of something else."""
        try:
            kept = torch.load(path, weights_only=True)
            said = kept["data"]
        except Exception:  # noqa: BLE001 - anything may lie there under this name
            raise CheckpointError(f"{path}: expected a checkpoint of this training, it is something else") from None
        if said != self.data:
            raise CheckpointError(f"{path}: it learned from other photos, or with another seed; take another --out")
        for name in ("net", "mean", "optimiser"):
            getattr(self, name).load_state_dict(kept[name])
        self.step, self.spent_s, self.curve = kept["step"], kept["spent_s"], [tuple(row) for row in kept["curve"]]


def train(run: Run, source: Source, held: Sequence[Peopled], plan: "Plan", checkpoint: Path) -> None:
    """Train for a time, that of earlier sittings counted."""
    # another seed after each start: the same pictures would come again
    batches = Batches(source, plan.seed + run.step)
    # spawned: OpenCV's threads do not survive a fork, and the worker would wait for them for ever
    made_up = DataLoader(batches, batch_size=None, num_workers=1, prefetch_factor=6, multiprocessing_context="spawn")
    middles = grid_middles(SIDE, SIDE)
    last_s = time.monotonic()
    saved_s, curved_s = last_s, last_s
    for photos, truths in made_up:
        now_s = time.monotonic()
        run.spent_s, last_s = run.spent_s + now_s - last_s, now_s
        done = run.spent_s / 60 / plan.minutes
        if done >= 1:
            break
        for group in run.optimiser.param_groups:
            group["lr"] = plan.rate * min(1.0, (run.step + 1) / 300) * (0.5 + 0.5 * math.cos(math.pi * done)) + 1e-5
        step(run, photos, truths, middles)
        if now_s - saved_s > SAVE_S:
            saved_s = now_s
            run.save(checkpoint)
        if now_s - curved_s > CURVE_S:
            curved_s = now_s
            run.curve.append((round(run.spent_s / 60, 1), run.step * BATCH, round(precision(run.mean, held), 4)))
            print("{:.0f} min, {} pictures: AP50 {:.3f}".format(*run.curve[-1]), flush=True)
    run.save(checkpoint)


def step(run: Run, photos: Tensor, truths: list[Truth], middles: Tensor) -> float:
    """Learn from one batch; gives its loss."""
    run.net.train()
    blob = (photos.float() / 255).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        said = run.net(blob)
    value = loss(said, truths, middles)
    run.optimiser.zero_grad(set_to_none=True)
    value.backward()  # type: ignore[no-untyped-call]  # torch's own stubs lack it
    nn.utils.clip_grad_norm_(run.net.parameters(), 10.0)
    run.optimiser.step()
    run.step += 1
    follow(run.mean, run.net, run.step)
    return float(value.detach())


@torch.no_grad()
def look(net: PersonNet, photo: Peopled, size: tuple[int, int], least: float = 0.01) -> Raw:
    """Find people in a photo that is fitted into an input of a width and height: corners in px of the photo."""
    net.eval()
    height, width = photo.rgb.shape[:2]
    box = Letterbox.fit((width, height), size, centred=True)
    said = net(torch.from_numpy(box.paste(photo.rgb)).permute(2, 0, 1)[None].float() / 255)
    scores = torch.sigmoid(said.logits[0])
    kept = scores > least
    found = suppress(Raw(said.corners[0][kept].numpy(), scores[kept].numpy(), np.zeros(int(kept.sum()), np.int64)))
    places = box.to_picture(found.corners) * np.array([width, height, width, height], np.float32)
    return Raw(np.concatenate([places[:, :2], places[:, :2] + places[:, 2:]], 1), found.scores, found.classes)


def precision(net: PersonNet, photos: Sequence[Peopled]) -> float:
    """Average precision at IoU .5 on photos that were not trained on; boxes that were inferred are not asked for."""
    pairs: list[tuple[Labelled, Found]] = []
    for photo in photos:
        found = look(net, photo, (WIDTH, HEIGHT))
        truth, places = (_sized(one) for one in (photo.boxes[photo.trust == 1], found.corners))
        labelled = Labelled(truth, np.zeros(len(truth), np.int64))
        pairs.append((labelled, Found(places, found.classes, found.scores.astype(np.float64))))
    return evaluate(pairs).map50


def _sized(corners: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1).astype(np.float64)


def calibration(net: PersonNet, photos: Sequence[Peopled]) -> float:
    """What to add to the logits, so that from COUNT_SCORE on there are as many boxes as people.

    Asked of photos that were not trained on, at their own size.
    """
    scores: list[float] = []
    people = 0
    for photo in photos:
        height, width = (max(1, round(side / 32)) * 32 for side in photo.rgb.shape[:2])
        scores += look(net, photo, (width, height), 1e-4).scores.tolist()
        people += len(photo.boxes)
    ranked = sorted(scores, reverse=True)
    if not people or len(ranked) < people:
        return 0.0
    level = ranked[people - 1]
    return math.log(COUNT_SCORE / (1 - COUNT_SCORE)) - math.log(level / (1 - level))


def threshold(net: PersonNet, photos: Sequence[Peopled], shift: float) -> float:
    """Calibrated score from which PRECISION of the boxes are people, where there are few of them.

    One threshold for all is a compromise: where people are many, boxes that are right score less. A detector counts
    where they are few; for crowds there is a counter. Asked of parts of photos that were not trained on.
    """
    said: list[tuple[float, bool]] = []
    for part in (one for photo in photos for one in parts(photo) if len(one.boxes) < FEW):
        found, left = look(net, part, (WIDTH, HEIGHT), 0.05), list(range(len(part.boxes)))
        for corners, score in zip(found.corners, found.scores, strict=True):
            overlap = ious(corners, part.boxes[left])
            if left and overlap.max() >= HIT:
                left.pop(int(overlap.argmax()))
                said.append((float(score), True))
            elif not _holds(part.ignored, (corners[:2] + corners[2:]) / 2):
                said.append((float(score), False))
    said.sort(reverse=True)
    rights = np.cumsum([right for _, right in said])
    good = np.flatnonzero(rights >= PRECISION * np.arange(1, len(said) + 1))
    if not len(good):
        return COUNT_SCORE
    level = said[int(good[-1])][0]
    return round(1 / (1 + math.exp(-shift) * (1 - level) / level), 2)


def parts(photo: Peopled) -> Iterator[Peopled]:
    """Cut a photo into overlapping parts of several sizes; who is cut stays with what is left."""
    height, width = photo.rgb.shape[:2]
    for share in (1.0, 0.6, 0.4):
        w, h = int(width * share), int(height * share)
        for x, y in itertools.product({0, (width - w) // 2, width - w}, {0, (height - h) // 2, height - h}):
            shift, limit = np.array([x, y, x, y], np.float32), np.array([w, h, w, h], np.float32)
            boxes, ignored = ((one - shift).clip(0, limit) for one in (photo.boxes, photo.ignored))
            kept = (boxes[:, 2:] > boxes[:, :2]).all(1)
            yield Peopled(
                np.ascontiguousarray(photo.rgb[y : y + h, x : x + w]), boxes[kept], photo.trust[kept], ignored
            )


def _holds(boxes: NDArray[np.float32], point: NDArray[np.float32]) -> bool:
    return bool(((boxes[:, :2] < point) & (boxes[:, 2:] > point)).all(1).any())


def cut_out(photos: Sequence[Peopled]) -> list[Cutout]:
    """Cut people out of photos, those who stand free, are large enough, and keep head and feet in the cutting."""
    found = []
    for photo in photos:
        for n, box in enumerate(photo.boxes):
            others = np.delete(photo.boxes, n, 0)
            shared = (np.minimum(others[:, 2:], box[2:]) - np.maximum(others[:, :2], box[:2])).clip(0).prod(1)
            if photo.trust[n] < 1 or (shared > 0.1 * (box[2:] - box[:2]).prod()).any():
                continue
            cutout = _cut(photo.rgb, box, least_px=60)
            # one who lost the head or the feet is a dress on a stand
            rows = np.flatnonzero(cutout.opacity.any(1)) if cutout is not None else np.zeros(0)
            if cutout is not None and rows[-1] - rows[0] >= 0.94 * len(cutout.opacity):
                found.append(cutout)
    return found


def cut_out_things(folders: Sequence[Path]) -> list[Cutout]:
    """Cut everything labelled out of dataset folders that is not a person and lies on none."""
    found = []
    for folder in folders:
        for path in photos_in(folder / "images"):
            photo = labelled_photo(path, folder / "labels")
            corners = np.concatenate(
                [photo.labelled.boxes[:, :2], photo.labelled.boxes[:, :2] + photo.labelled.boxes[:, 2:]], 1
            )
            people = corners[photo.labelled.classes == 0]
            for box in corners[photo.labelled.classes != 0]:
                apart = (np.minimum(people[:, 2:], box[2:]) - np.maximum(people[:, :2], box[:2])).min(1) <= 0
                cutout = _cut(photo.rgb, box.astype(np.float32), least_px=30) if apart.all() else None
                if cutout is not None:
                    found.append(cutout)
    return found


def _cut(rgb: Photo, box: NDArray[np.float32], least_px: int) -> Cutout | None:
    """Cut out what a box holds; None for what is too small, at the photo's edge, or does not come off its ground."""
    x0, y0, x1, y1 = (round(float(v)) for v in box)
    limit = np.array([rgb.shape[1], rgb.shape[0]] * 2)
    if y1 - y0 < least_px or x1 - x0 < least_px / 3 or x0 < 1 or y0 < 1 or x1 >= limit[0] or y1 >= limit[1]:
        return None
    # what is around it tells the ground; the whole photo would only cost time
    around = np.array([x0 - (x1 - x0), y0 - (y1 - y0) // 2, 2 * x1 - x0, y1 + (y1 - y0) // 2])
    left, top, right, low = around.clip(0, limit).tolist()
    part = np.ascontiguousarray(rgb[top:low, left:right])
    solid = _largest(opacity(part, (x0 - left, y0 - top, x1 - x0, y1 - y0)))
    return Cutout(rgb[y0:y1, x0:x1], solid) if 0.25 < float(solid.mean()) < 0.9 else None


def _largest(solid: NDArray[np.float32]) -> NDArray[np.float32]:
    """Keep the largest piece that hangs together."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(solid.astype(np.uint8))
    areas = stats[1:, cv2.CC_STAT_AREA]
    return (labels == 1 + int(areas.argmax())).astype(np.float32) if len(areas) else solid


def pools(crowds: Sequence[Peopled], labelled: Sequence[Peopled], frames: Sequence[Peopled]) -> list[Pool]:
    """Mix the kinds of photos: crowds for small people, photos with few for large ones, and photos with nobody."""
    peopled, empty = [one for one in labelled if len(one.boxes)], [one for one in labelled if not len(one.boxes)]
    kinds = (
        Pool(crowds, 0.48, (0.45, 2.2)),
        Pool(peopled, 0.26, (0.3, 1.6)),
        Pool(frames, 0.14, (0.35, 2.0)),
        Pool(empty, 0.12, (0.4, 1.6)),
    )
    return [pool for pool in kinds if len(pool.photos)]


def main() -> None:
    """Train and export."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crowd", type=Path, help="folder with heads.json, images/ and persons/")
    parser.add_argument("--prefix", default="train", help="which photos of heads.json")
    parser.add_argument("--labelled", type=Path, action="append", default=[], help="dataset folder in YOLO format")
    parser.add_argument("--frames", type=Path, action="append", default=[], help="the same, labelled by teachers")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=110)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--begin", type=Path, help="checkpoint of another training whose weights to go on from")
    parser.add_argument("--rate", type=float, default=RATE)
    asked = parser.parse_args()
    crowds = read_crowd(asked.crowd, asked.prefix) if asked.crowd else []
    labelled = [photo for folder in asked.labelled for photo in read_folder(folder)]
    frames = [photo for folder in asked.frames for photo in read_folder(folder)]
    held = [*crowds[::HELD], *labelled[::HELD]]
    crowds, labelled = ([one for n, one in enumerate(photos) if n % HELD] for photos in (crowds, labelled))
    plan = Plan(asked.minutes, asked.seed, asked.rate, asked.begin, asked.threads)
    learn(Photos(crowds, labelled, frames, held, cut_out_things(asked.labelled)), asked.out, plan)


@dataclass(frozen=True)
class Photos:
    """What is learned from, by kind, and what is held back."""

    crowds: Sequence[Peopled]
    labelled: Sequence[Peopled]
    frames: Sequence[Peopled]
    held: Sequence[Peopled]
    things: Sequence[Cutout] = ()

    def checksum(self, seed: int) -> str:
        """Of all of it."""
        digest = hashlib.sha256(str(seed).encode())
        for kind in (self.crowds, self.labelled, self.frames, self.held):
            for one in kind:
                digest.update(str(one.rgb.shape).encode() + one.rgb[::16, ::16].tobytes() + one.boxes.tobytes())
            digest.update(b"|")
        return digest.hexdigest()


@dataclass(frozen=True)
class Plan:
    """How it is learned.

    Args:
        minutes: for how long, earlier sittings counted.
        seed: of all that is random.
        rate: of learning, at its highest.
        begin: a checkpoint of another training whose weights are gone on from; None: random weights.
        threads: of torch; 0 lets it decide.
    """

    minutes: float
    seed: int = 1
    rate: float = RATE
    begin: Path | None = None
    threads: int = 0


def learn(photos: Photos, out: Path, plan: Plan) -> list[tuple[float, int, float]]:
    """Train, or go on from the checkpoint beside `out`, and export; gives the curve."""
    if plan.threads:
        torch.set_num_threads(plan.threads)
    cutouts = cut_out([*photos.labelled, *photos.crowds, *photos.frames[::4]])
    source = Source(pools(photos.crowds, photos.labelled, photos.frames), cutouts, photos.things)
    print(
        f"{len(photos.crowds)} crowds, {len(photos.labelled)} labelled photos, {len(photos.frames)} frames, "
        f"{len(cutouts)} people and {len(photos.things)} things cut out, {len(photos.held)} held back, "
        f"process {os.getpid()}",
        flush=True,
    )
    run = Run.begin(plan.seed)
    if plan.begin:
        run.go_on_from(plan.begin)
    print(f"{sum(p.numel() for p in run.net.parameters())} parameters", flush=True)
    run.data = photos.checksum(plan.seed)
    checkpoint = out.with_suffix(".checkpoint.pt")
    if checkpoint.exists():
        run.resume(checkpoint)
        print(f"taken up after {run.spent_s / 60:.0f} min, {run.step * BATCH} pictures", flush=True)
    train(run, source, photos.held, plan, checkpoint)
    with out.with_suffix(".csv").open("w", newline="") as file:
        csv.writer(file).writerows([("minutes", "pictures", "ap50_held_back"), *run.curve])
    shift = calibration(run.mean, photos.held)
    own = threshold(run.mean, photos.held, shift)
    print(f"calibrated by {shift:+.3f}, own threshold {own}", flush=True)
    write(run.mean, out, shift, own)
    return run.curve


def write(net: PersonNet, path: Path, shift: float = 0.0, min_score: float = COUNT_SCORE) -> None:
    """Write the ONNX file, with its calibration and its own threshold."""
    meta = {
        "task": "detect",
        "names": "{0: 'person'}",
        "stride": "32",
        "imgsz": f"[{HEIGHT}, {WIDTH}]",
        "min_score": f"{min_score:g}",
    }
    example = torch.zeros(1, 3, HEIGHT, WIDTH)
    export(Exported(net, shift).eval(), path, example, ("images", "boxes"), (2, 3), meta)


if __name__ == "__main__":
    main()

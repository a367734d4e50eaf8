"""Renders the demo's clip: a copy of a real one with a stack of crates staged in it, which later goes away.

The copy is at most 1280 pixels wide, 12.5 frames a second and 80 s long (a shorter clip is repeated). The crates stand
where the least moves on the lower half of the picture. Beside it lies a JSON with the truth of the staging.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

VERSION = 3
APPEARS_S, GONE_S, LENGTH_S = 16.0, 45.0, 80.0
MAX_FPS, MAX_WIDTH = 12.5, 1280
SIZE = (0.085, 0.15)
CAPTION = "CityEye demo: the crates are staged"


@dataclass(frozen=True)
class Staged:
    """A rendered clip and what is true of it."""

    path: Path
    box: tuple[float, float, float, float]
    appears_s: float
    gone_s: float
    length_s: float


def stage(video: Path, folder: Path, progress: Callable[[float], None]) -> Staged:
    """Render the copy, or find it already rendered; `progress` gets the share that is done."""
    facts = video.stat()
    name = f"{video.resolve()}:{facts.st_size}:{facts.st_mtime_ns}:{VERSION}"
    target = folder / f"staged-{hashlib.sha256(name.encode()).hexdigest()[:12]}.mp4"
    truth = target.with_suffix(".json")
    if target.exists() and truth.exists():
        values = json.loads(truth.read_text("utf-8"))
        return Staged(target, tuple(values["box"]), values["appears_s"], values["gone_s"], values["length_s"])
    folder.mkdir(parents=True, exist_ok=True)
    box = calm_place(video)
    part = target.with_suffix(".part.mp4")
    _render(video, part, box, progress)
    part.replace(target)
    staged = Staged(target, box, APPEARS_S, GONE_S, LENGTH_S)
    truth.write_text(json.dumps({**asdict(staged), "path": target.name, "source": video.name}, indent=1), "utf-8")
    return staged


def calm_place(video: Path) -> tuple[float, float, float, float]:
    """Find a box on the lower half where the least moves, over samples of the whole clip."""
    samples = []
    for index, picture in enumerate(_pictures(video)):
        if index % 12 == 0:
            small = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (160, 90), interpolation=cv2.INTER_AREA)
            samples.append(small.astype(np.float32))
        if len(samples) == 80:
            break
    stack = np.stack(samples)
    moving = (np.abs(stack - np.median(stack, axis=0)) > 12).mean(0)
    width, height = round(SIZE[0] * 160 * 1.5), round(SIZE[1] * 90 * 1.5)
    cost = cv2.blur(moving.astype(np.float32), (width, height))
    # the middle of the lower half, so that the crates stand on the ground and wholly inside
    centre_ys, centre_xs = slice(round(0.5 * 90), round(0.8 * 90)), slice(round(0.2 * 160), round(0.8 * 160))
    best = np.unravel_index(int(np.argmin(cost[centre_ys, centre_xs])), cost[centre_ys, centre_xs].shape)
    y, x = (best[0] + centre_ys.start) / 90, (best[1] + centre_xs.start) / 160
    return float(x - SIZE[0] / 2), float(y - SIZE[1] / 2), SIZE[0], SIZE[1]


def _pictures(video: Path) -> Iterator[NDArray[np.uint8]]:
    with av.open(str(video)) as container:
        for frame in container.decode(video=0):
            scale = min(1.0, MAX_WIDTH / frame.width)
            size = [round(side * scale / 2) * 2 for side in (frame.width, frame.height)]
            yield frame.to_ndarray(format="rgb24", width=size[0], height=size[1])


def _repeated(video: Path, step: int) -> Iterator[NDArray[np.uint8]]:
    while True:
        empty = True
        for index, picture in enumerate(_pictures(video)):
            if index % step == 0:
                empty = False
                yield picture
        if empty:
            raise SystemExit(f"{video}: expected a video with at least one frame, got none")


def _render(
    video: Path, target: Path, box: tuple[float, float, float, float], progress: Callable[[float], None]
) -> None:
    with av.open(str(video)) as container:
        rate = float(container.streams.video[0].average_rate or 25)
    step = max(1, round(rate / MAX_FPS))
    fps = rate / step
    total = round(LENGTH_S * fps)
    thing: NDArray[np.uint8] | None = None
    with av.open(str(target), "w") as output:
        stream: Any = output.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "23", "preset": "veryfast", "g": str(round(2 * fps))}
        for index, picture in enumerate(_repeated(video, step)):
            if index >= total:
                break
            height, width = picture.shape[:2]
            if thing is None:
                stream.width, stream.height = width, height
                thing = crates(round(box[2] * width), round(box[3] * height))
            shown = picture.copy()
            if APPEARS_S <= index / fps < GONE_S:
                place(shown, thing, round(box[0] * width), round(box[1] * height))
            caption(shown)
            for packet in stream.encode(av.VideoFrame.from_ndarray(shown, format="rgb24")):
                output.mux(packet)
            if index % 25 == 0:
                progress(index / total)
        for packet in stream.encode():
            output.mux(packet)
    progress(1.0)


def crates(width: int, height: int) -> NDArray[np.uint8]:
    """Two crates of goods on top of one another, shape `(height, width, 3)`, drawn here."""
    rng = np.random.default_rng(12)
    picture = np.full((height, width, 3), (122, 86, 52), np.uint8)
    for top in (0, height // 2):
        bottom = top + height // 2 - 1
        cv2.rectangle(picture, (0, top), (width - 1, bottom), (150, 108, 66), -1)
        for slat in range(3):
            y = top + (slat + 1) * (bottom - top) // 4
            cv2.line(picture, (0, y), (width - 1, y), (84, 56, 32), max(1, height // 50))
        for _ in range(10):
            centre = (int(rng.integers(3, max(4, width - 3))), top + int(rng.integers(2, max(3, height // 8))))
            colour = [(214, 62, 40), (232, 164, 40), (92, 158, 60)][int(rng.integers(3))]
            cv2.circle(picture, centre, max(2, width // 11), colour, -1)
        cv2.rectangle(picture, (0, top), (width - 1, bottom), (58, 38, 22), max(1, width // 40))
    return picture


def place(picture: NDArray[np.uint8], thing: NDArray[np.uint8], x: int, y: int) -> None:
    """Put a thing into a picture, with a soft shadow before it."""
    height, width = thing.shape[:2]
    shadow = np.zeros(picture.shape[:2], np.float32)
    cv2.ellipse(shadow, (x + width // 2, y + height), (round(width * 0.62), max(2, height // 9)), 0, 0, 360, 0.45, -1)
    shadow = cv2.GaussianBlur(shadow, (0, 0), max(1.0, width / 24))
    picture[:] = (picture * (1 - shadow[..., None])).astype(np.uint8)
    picture[y : y + height, x : x + width] = thing


def caption(picture: NDArray[np.uint8]) -> None:
    """Say on every frame that it is staged."""
    scale = picture.shape[1] / 1400
    (width, height), _ = cv2.getTextSize(CAPTION, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    cv2.rectangle(picture, (0, 0), (width + 12, height + 12), (0, 0, 0), -1)
    cv2.putText(picture, CAPTION, (6, height + 5), cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 1, cv2.LINE_AA)

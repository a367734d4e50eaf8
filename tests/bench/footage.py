"""Clips to measure speed with: 1080p25, 4 Mbit/s, a key frame every 2 s, as street cameras send them.

Made from `pedestrians.mp4` (shared data) and Debian's `vtest.avi`, repeated, with a crate that stands there for a while
so that there is something to decide; and a quiet street: the empty place of `vtest.avi` with a sensor's noise.
"""

import itertools
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from tests import clips

WIDTH, HEIGHT, FPS = 1920, 1080, 25
BITS_PER_S: Final = 4_000_000
GOP: Final = 50
LENGTH_S: Final = 150
APPEARS_S, GONE_S = 60, 110
CRATE_SIDE: Final = 0.08
PLACES: Final = {"pedestrians": (0.06, 0.6), "vtest": (0.72, 0.72)}
"""Left upper corner of the crate, where few people walk."""
QUIET: Final = "quiet"
NOISE: Final = 1.5
"""Grey levels (sigma) that a camera's own denoising leaves."""

Rgb = NDArray[np.uint8]


def make(folder: Path, videos: Path, vtest: Path) -> dict[str, Path]:
    """Write the clips that are not there yet; gives their paths by name."""
    folder.mkdir(parents=True, exist_ok=True)
    sources: dict[str, Callable[[], Iterator[Rgb]]] = {
        "vtest": lambda: _repeated(vtest, 10),
        "vtest-crate": lambda: _with_crate(_repeated(vtest, 10), PLACES["vtest"]),
        QUIET: lambda: _quiet(vtest),
    }
    if (concourse := videos / "pedestrians.mp4").is_file():
        sources["pedestrians"] = lambda: _repeated(concourse, 25)
        sources["pedestrians-crate"] = lambda: _with_crate(_repeated(concourse, 25), PLACES["pedestrians"])
    paths = {name: folder / f"{name}-1080p25.mp4" for name in sorted(sources)}
    for name, path in paths.items():
        if not path.is_file():
            part = path.with_suffix(".part.mp4")
            write(part, itertools.islice(sources[name](), LENGTH_S * FPS), steady=name != QUIET)
            part.replace(path)
    return paths


def write(path: Path, pictures: Iterator[Rgb], codec: str = "libx264", gop: int = GOP, *, steady: bool = True) -> Path:
    """Encode pictures of shape `(HEIGHT, WIDTH, 3)`.

    Args:
        path: the file.
        pictures: FPS of them a second.
        codec: `libx264` or `libx265`.
        gop: pictures from one key frame to the next.
        steady: at BITS_PER_S all the time; else as many bits as the pictures need, and no more than that.
    """
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=Fraction(FPS))
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        if steady:
            stream.bit_rate = BITS_PER_S
        stream.codec_context.gop_size = gop
        stream.options = {
            "preset": "veryfast",
            "maxrate": str(BITS_PER_S),
            "bufsize": str(2 * BITS_PER_S),
            "sc_threshold": "0",
            "bf": "2",
            **({} if steady else {"crf": "25"}),
        }
        if codec == "libx264":
            stream.options |= {"profile": "high"}
        for rgb in pictures:
            for packet in stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")):
                output.mux(packet)
        for packet in stream.encode():
            output.mux(packet)
    return path


def _repeated(clip: Path, fps: int) -> Iterator[Rgb]:
    """The pictures of a clip at FPS, as wide as ours, cut to our height, over and over."""
    count = 0
    while True:
        with av.open(str(clip)) as container:
            for frame in container.decode(video=0):
                rgb = frame.to_ndarray(format="rgb24")
                tall = round(rgb.shape[0] * WIDTH / rgb.shape[1])
                rgb = cv2.resize(rgb, (WIDTH, tall), interpolation=cv2.INTER_CUBIC)
                top = (tall - HEIGHT) // 2
                yielded = (count + 1) * FPS // fps - count * FPS // fps
                count += 1
                for _ in range(yielded):
                    yield np.ascontiguousarray(rgb[top : top + HEIGHT])


def _with_crate(pictures: Iterator[Rgb], place: tuple[float, float]) -> Iterator[Rgb]:
    side = round(CRATE_SIDE * WIDTH)
    crate = cv2.resize(clips.crate(), (side, side), interpolation=cv2.INTER_CUBIC)
    for number, rgb in enumerate(pictures):
        shown = rgb.copy()
        if APPEARS_S <= number / FPS < GONE_S:
            clips.put(shown, crate, round(place[0] * WIDTH), round(place[1] * HEIGHT))
        yield shown


def _quiet(clip: Path) -> Iterator[Rgb]:
    empty = np.median(np.stack(list(itertools.islice(_repeated(clip, FPS), 0, 780, 39))), axis=0)
    rng = np.random.default_rng(3)
    # a few noises, in random turns: making one takes longer than encoding it
    noises = [rng.normal(0, NOISE, empty.shape).astype(np.float32) for _ in range(12)]
    while True:
        yield np.clip(empty + noises[int(rng.integers(len(noises)))], 0, 255).astype(np.uint8)

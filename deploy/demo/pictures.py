"""Makes the README's pictures again: frames of overlays of Debian's vtest.avi, the crates staged as in the demo.

    python deploy/demo/pictures.py VIDEO

Writes docs/pictures/overlay-*.webp; CITYEYE_MODELS must hold yolo26n-640 and yunet-s-640.
"""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import cv2
import numpy as np
from clip import stage
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent.parent
WIDTH_PX = 640
MAX_BYTES = 12_000

BOX = """
version = 1
[box]
id = "box-1"
site = "demo"
[detector]
model = "yolo26n-640"
[[camera]]
id = "high-street"
source = "clip"
"""
FRONTAGE = """
sample_s = 0.5
[[camera.zone]]
id = "front"
kind = "frontage"
shop = "greengrocer"
polygon = [[0.02, 0.52], [0.4, 0.52], [0.985, 0.8], [0.985, 0.98], [0.02, 0.98]]
dwell_s = 10.0
"""
GATHERING = """
sample_s = 0.2
[[camera.zone]]
id = "junction"
kind = "gathering"
polygon = [[0.01, 0.36], [0.62, 0.4], [0.8, 0.28], [0.99, 0.36], [0.99, 0.97], [0.75, 0.8], [0.4, 0.53], [0.01, 0.46]]
max_people = 5
dwell_s = 5.0
# so that they are told apart, and their ways are drawn
loiter_s = 3600.0
"""


@dataclass(frozen=True)
class Wanted:
    """One picture: the frame of an overlay at a time of its clip."""

    name: str
    zones: str
    at_s: float


ENCROACHMENT = Wanted("overlay-encroachment", FRONTAGE, 31.0)
CROWDING = Wanted("overlay-crowding", GATHERING, 31.0)


def frame_at(film: Path, at_s: float) -> NDArray[np.uint8]:
    """The last frame that does not come after a time, shape `(h, w, 3)`, BGR."""
    found = None
    with av.open(str(film)) as container:
        for frame in container.decode(video=0):
            if found is not None and frame.time is not None and frame.time > at_s:
                break
            found = frame
    if found is None:
        raise SystemExit(f"{film}: expected a film with pictures, found none")
    return found.to_ndarray(format="bgr24")


def webp(picture: NDArray[np.uint8]) -> bytes:
    """The best WebP that keeps to MAX_BYTES."""
    height, width = picture.shape[:2]
    small = cv2.resize(picture, (WIDTH_PX, round(height * WIDTH_PX / width)), interpolation=cv2.INTER_AREA)
    for quality in range(92, 25, -3):
        _, buffer = cv2.imencode(".webp", small, [cv2.IMWRITE_WEBP_QUALITY, quality])
        if buffer.nbytes <= MAX_BYTES:
            break
    return buffer.tobytes()


def make(wanted: Wanted, video: Path, folder: Path) -> None:
    """Replay a clip with its overlay, and keep one frame."""
    settings, film = folder / f"{wanted.name}.toml", folder / f"{wanted.name}.mp4"
    settings.write_text(BOX + wanted.zones, "utf-8")
    command = [Path(sys.executable).parent / "cityeye-agent", "replay", video, "--settings", settings]
    subprocess.run([*command, "--overlay", film, "--out", folder / "messages.jsonl"], check=True)
    target = ROOT / "docs" / "pictures" / f"{wanted.name}.webp"
    target.write_bytes(webp(frame_at(film, wanted.at_s)))
    print(f"{target.relative_to(ROOT)}: {target.stat().st_size} bytes")


def main() -> None:
    """Make both."""
    video = Path(sys.argv[1])
    with TemporaryDirectory(prefix="cityeye-pictures-") as scratch:
        make(ENCROACHMENT, stage(video, ROOT / ".cache", lambda _: None).path, Path(scratch))
        make(CROWDING, video, Path(scratch))


if __name__ == "__main__":
    main()

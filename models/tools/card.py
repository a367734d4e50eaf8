"""The card of a detector: what it is, what it was made from, how good it is, and what nobody has looked at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.vision.detector import Detector
from models.tools.evaluation import Quality

UNKNOWN: Final = (
    "**Where it fails** nobody has looked at: photos of other streets, seasons and cameras than those above. "
    "Look at what it finds on yours, and write here what you see."
)

MOST_NAMES: Final = 12


@dataclass(frozen=True)
class Origin:
    """Where a detector comes from.

    Args:
        how: one sentence.
        licence: of the weights, in words.
        data: one row for each set of photos: name, photos, labelled boxes.
        settings: what decides about the result, such as seed, epochs and versions.
    """

    how: str
    licence: str
    data: Sequence[tuple[str, int, int]] = ()
    settings: Mapping[str, object] | None = None


@dataclass(frozen=True)
class HeldBack:
    """How good it is on photos that it did not learn from.

    Args:
        photos: how many.
        quality: of all classes.
        invented: boxes from the threshold on in photos that show nothing.
        empty: photos that show nothing.
    """

    photos: int
    quality: Quality
    invented: int
    empty: int


def write_card(path: Path, detector: Detector, origin: Origin, held_back: HeldBack | None) -> None:
    """Write the card of a detector beside it."""
    width, height = detector.input_size
    names = [detector.names[number] for number in sorted(detector.names)]
    some = ", ".join(names[:MOST_NAMES]) + (f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else "")
    lines = [
        f"# `{detector.name}.onnx`",
        "",
        origin.how,
        "",
        "| | |",
        "| --- | --- |",
        f"| classes | {some} |",
        f"| input | {width} × {height} pixels |",
        f"| answers as | {detector.layout} |",
        f"| own threshold | {detector.min_score:g} |",
        f"| licence | {origin.licence} |",
        f"| SHA-256 | `{detector.sha256}` |",
        *(f"| {key} | {value} |" for key, value in (origin.settings or {}).items()),
    ]
    if origin.data:
        lines += ["", "**What it learned from.**", "", "| photos of | photos | labelled boxes |", "| --- | --- | --- |"]
        lines += [f"| {name} | {photos} | {boxes} |" for name, photos, boxes in origin.data]
    lines += ["", *_quality(detector, held_back)]
    path.write_text("\n".join([*lines, ""]), "utf-8")


def _quality(detector: Detector, held_back: HeldBack | None) -> list[str]:
    if held_back is None:
        return ["**How good it is** was not measured: `cityeye-models evaluate` does, on labelled photos."]
    quality = held_back.quality
    sizes = ", ".join(f"{name} {value:.3f}" for name, value in quality.sizes.items())
    rows = [f"| {detector.names.get(number, number)} | {value:.3f} |" for number, value in sorted(quality.ap50.items())]
    return [
        f"**How good it is.** On {held_back.photos} photos that were held back: mAP50-95 {quality.map50_95:.3f}"
        + (f" ({sizes})" if sizes else "")
        + f", mAP50 {quality.map50:.3f}; {held_back.invented} boxes in {held_back.empty} photos that show nothing.",
        "",
        "| class | AP50 |",
        "| --- | --- |",
        *rows,
        "",
        UNKNOWN,
    ]

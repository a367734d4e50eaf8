"""Commands that fit a detector to this machine: `tune`, `quantise`."""

import json
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import cv2
import numpy as np
import typer

from agent.vision.selection import shipped_detector
from agent.vision.tuned import SUFFIX
from models.catalogue import name_of
from models.commands.common import JsonOption, fail, one_line, path_of
from models.tools import quantising, store, tuning
from models.tools.evaluation import Labelled
from models.tools.photos import NoPhotoError, Photo, PhotoError, labelled_photo, photos_in, read_photo

MOST_PHOTOS: Final = 200
MOST_PX: Final = 960
MOST_FRAMES: Final = 48
"""To calibrate on; their extremes are what counts."""

ModelArgument = Annotated[str, typer.Argument(help="a detector's name or path")]
LabelsOption = Annotated[
    Path | None,
    typer.Option(
        help="folder of their labels, YOLO format; without: what the detector finds as it is, is held to be right",
        exists=True,
        file_okay=False,
    ),
]
PointsOption = Annotated[float, typer.Option(min=0, help="by so many points of mAP (0 to 100) it may be worse")]
FolderOption = Annotated[Path | None, typer.Option(help="folder; the model's own, or the first of CITYEYE_MODELS")]


def tune(
    model: ModelArgument,
    images: Annotated[
        Path | None, typer.Option(help="folder of photos from your cameras, to judge by", exists=True, file_okay=False)
    ] = None,
    labels: LabelsOption = None,
    points: PointsOption = 1.0,
    minutes: Annotated[float, typer.Option(min=0.1, max=5, help="it ends after so long")] = 5.0,
    to: FolderOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the fastest way to run a detector on this machine, for the agent to use.

    Without photos only what cannot change its answers is tried in earnest: providers and threads.
    """
    end_s = time.monotonic() + 60 * minutes
    trying = tuning.Deadline(time.monotonic() + 60 * minutes * 0.5)
    judging, pairing = tuning.Deadline(end_s - 2 * tuning.PAIRS_S), tuning.Deadline(end_s - tuning.PAIRS_S)

    tell = partial(typer.echo, err=as_json)
    with one_line():
        path = path_of(model).resolve()
        folder = _folder(path, to)
        base = tuning.default(path)
        photos = [] if images is None else _photos(images, labels, MOST_PHOTOS)
        ranked = tuning.trials(base, trying, tell, folder)
        judge = tuning.without_photos(base)
        if photos:
            photos = _affordable(photos, ranked, base, judging)
            tell(f"judged by {len(photos)} photos" + ("" if labels else ", as the detector sees them untuned"))
            judge = tuning.by_photos(base, photos, judging)
        choice = tuning.choose(base, ranked, judge, points, pairing, tell)
        chosen = choice.candidate
        if chosen.path.parent != folder and chosen.path != path:
            fail(f"--to {folder}: expected the folder of {chosen.path}, which is the fastest")
        tuned = tuning.notice(base, choice)
        notice = folder / f"{name_of(path)}{SUFFIX}"
        tuned.write(notice)
    if as_json:
        typer.echo(json.dumps({"notice": str(notice), **asdict(tuned)}))
        return
    verdict = "is the fastest" if chosen == base else f"instead of {choice.default_ms:.1f} ms"
    typer.echo(f"{chosen}: {choice.ms:.1f} ms {verdict}\n{notice}: the agent reads it when it starts")


def quantise(
    model: ModelArgument,
    images: Annotated[Path, typer.Option(help="folder of photos, to judge by", exists=True, file_okay=False)],
    labels: LabelsOption = None,
    frames: Annotated[
        Path | None,
        typer.Option(
            help="folder of photos from your own cameras, to calibrate on; without: those of --images",
            exists=True,
            file_okay=False,
        ),
    ] = None,
    points: PointsOption = 1.0,
    to: FolderOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a detector with 8-bit numbers, NAME-int8, where that is good enough and faster on this machine.

    `tune` then tries it beside the others of its family.
    """
    tell = partial(typer.echo, err=as_json)
    with one_line():
        path = path_of(model).resolve()
        folder = _folder(path, to)
        base = tuning.default(path)
        calibrating = [rgb for rgb, _ in _photos(frames or images, None, MOST_FRAMES)]
        judging = _photos(images, labels, MOST_PHOTOS)
        result = quantising.quantise(base, calibrating, judging, points, folder, tell)
    if as_json:
        typer.echo(json.dumps({**asdict(result), "path": None if result.path is None else str(result.path)}))
        return
    measured = f"mAP {-result.points:+.1f} points"
    if result.ms is not None:
        measured += f", {result.ms:.1f} ms beside {result.default_ms:.1f} ms"
    typer.echo(f"{result.path or 'not kept'}: {result.why} ({measured})")


def _folder(path: Path, to: Path | None) -> Path:
    """Where what belongs to a model goes: never into the package."""
    return store.folder_for(to).resolve() if to or path == shipped_detector() else path.parent.resolve()


def _photos(images: Path, labels: Path | None, most: int) -> list[tuple[Photo, Labelled | None]]:
    """Read photos, at most so many, taken evenly from the whole."""
    paths = photos_in(images)
    photos: list[tuple[Photo, Labelled | None]] = []
    for path in paths[:: max(1, -(-len(paths) // most))]:
        try:
            if labels is None:
                photos.append((_small(read_photo(path))[0], None))
            else:
                photo = labelled_photo(path, labels)
                rgb, scale = _small(photo.rgb)
                photos.append((rgb, Labelled(photo.labelled.boxes * scale, photo.labelled.classes)))
        except NoPhotoError as fault:
            typer.echo(f"cityeye-models: {fault}", err=True)
    if not photos:
        raise PhotoError(f"{images}: expected photos, found none")
    return photos


def _small(rgb: Photo) -> tuple[Photo, float]:
    """Reduce a photo to what a box has memory for: two hundred of 4K would be 5 GB. Gives by how much, too."""
    scale = min(1.0, MOST_PX / max(rgb.shape[:2]))
    if scale == 1:
        return rgb, scale
    return np.asarray(cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8), scale


def _affordable(
    photos: list[tuple[Photo, Labelled | None]],
    ranked: list[tuning.Trial],
    base: tuning.Candidate,
    clock: tuning.Deadline,
) -> list[tuple[Photo, Labelled | None]]:
    """As many photos as leave time to judge several candidates beside the default."""
    base_ms = max((trial.ms for trial in ranked if trial.candidate == base), default=100.0)
    count = int(clock.left_s() / tuning.JUDGED / (base_ms / 1000 * tuning.OVERHEAD))
    return photos[:: max(1, -(-len(photos) // max(1, count)))]

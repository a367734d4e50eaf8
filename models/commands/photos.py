"""Commands that look at photos: counting, measuring, comparing."""

import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from agent.vision.crowds import OWN, CrowdCounter, is_counter, load_counter
from agent.vision.detector import Detector, load_detector
from agent.vision.errors import DetectorError
from agent.vision.naming import PERSON
from agent.vision.people import COUNT_SCORE, Headcount, count_heads, count_photo
from models.commands.common import EXIT_FAILED, ImagesOption, JsonOption, LabelsOption, fail, one_line, path_of
from models.tools.comparison import RESAMPLES, compare
from models.tools.evaluation import EVALUATION_SCORE, Found, Labelled, evaluate
from models.tools.photos import NoPhotoError, Photo, PhotoError, labelled_photo, look, photos_in, read_photo


def _open(model: str, min_score: float) -> Detector | CrowdCounter:
    if model == OWN:
        return load_counter()
    path = path_of(model)
    return load_counter(path) if is_counter(path) else load_detector(path, min_score)


def count(
    images: Annotated[list[Path], typer.Argument(help="photos")],
    model: Annotated[str, typer.Option(help=f"a detector, or {OWN!r}: the project's own counter of crowds")],
    as_json: JsonOption = False,
) -> None:
    """Count the people in photos."""
    with one_line():
        loaded = _open(model, 0.05)
    unread = 0
    for path in images:
        try:
            rgb = read_photo(path)
        except PhotoError as fault:
            unread += 1
            typer.echo(f"cityeye-models: {fault}", err=True)
            continue
        began_s = time.perf_counter()
        people = _count(loaded, rgb)
        spent_ms = round((time.perf_counter() - began_s) * 1000, 1)
        if as_json:
            values = {"file": str(path), "count": people.count, "lower_bound": people.lower_bound, "ms": spent_ms}
            typer.echo(json.dumps(values))
        else:
            typer.echo(f"{path}: {'at least ' if people.lower_bound else ''}{people.count} ({spent_ms} ms)")
    if unread:
        raise typer.Exit(EXIT_FAILED)


def _count(loaded: Detector | CrowdCounter, rgb: Photo) -> Headcount:
    return count_heads(loaded, rgb) if isinstance(loaded, CrowdCounter) else count_photo(loaded, rgb)


def _open_detector(model: str) -> Detector:
    loaded = _open(model, EVALUATION_SCORE)
    if not isinstance(loaded, Detector):
        raise DetectorError(f"{model}: expected a detector, got a counter of crowds; use `count`")
    return loaded


def _look(
    detectors: Sequence[Detector], images: Path, labels: Path
) -> tuple[list[Labelled], list[list[Found]], list[float]]:
    """Look at all photos: what is in them, what each detector finds, and the median milliseconds that each takes."""
    labelled: list[Labelled] = []
    found: list[list[Found]] = [[] for _ in detectors]
    spent_s: list[list[float]] = [[] for _ in detectors]
    for path in photos_in(images):
        try:
            photo = labelled_photo(path, labels)
        except NoPhotoError as fault:
            typer.echo(f"cityeye-models: {fault}", err=True)
            continue
        labelled.append(photo.labelled)
        for number, detector in enumerate(detectors):
            began_s = time.perf_counter()
            said = look(detector, photo.rgb)
            spent_s[number].append(time.perf_counter() - began_s)
            found[number].append(said)
    if not labelled:
        raise PhotoError(f"{images}: expected photos, found none")
    return labelled, found, [round(statistics.median(times) * 1000, 1) for times in spent_s]


def evaluate_model(
    model: Annotated[str, typer.Argument(help="a detector's name or path")],
    images: ImagesOption,
    labels: LabelsOption,
    as_json: JsonOption = False,
) -> None:
    """Measure a detector on labelled photos: mean average precision as COCO defines it, and how well it counts people.

    Classes that it does not know are not asked for.
    """
    with one_line():
        loaded = _open_detector(model)
        labelled, (found,), (spent_ms,) = _look([loaded], images, labels)
    quality = evaluate([(one.of(loaded.names), said) for one, said in zip(labelled, found, strict=True)])
    names = {number: loaded.names.get(number, f"class-{number}") for number in quality.ap50}
    precisions = {names[number]: round(quality.ap50[number], 4) for number in sorted(quality.ap50)}
    sizes = {name: round(value, 4) for name, value in quality.sizes.items()}
    errors = _count_errors(labelled, found, loaded)
    values = {
        "model": loaded.name,
        "images": len(labelled),
        "mAP50-95": round(quality.map50_95, 4),
        "mAP50": round(quality.map50, 4),
        "sizes": sizes,
        "AP50": precisions,
        "count": None if errors is None else {"mae": errors[0], "bias": errors[1]},
        "ms": spent_ms,
    }
    if as_json:
        typer.echo(json.dumps(values))
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("class")
    table.add_column("AP50", justify="right")
    for name, value in sorted(precisions.items(), key=lambda row: -row[1]):
        table.add_row(name, f"{value:.3f}")
    Console().print(table)
    typer.echo(
        f"{loaded.name} on {len(labelled)} photos: mAP50-95 {quality.map50_95:.3f} "
        f"({', '.join(f'{name} {value:.3f}' for name, value in sizes.items())}), mAP50 {quality.map50:.3f}, "
        f"{spent_ms} ms a photo"
        + ("" if errors is None else f"; people miscounted by {errors[0]:.2f} a photo, {errors[1]:+.2f} in the mean")
    )


def _count_errors(
    labelled: Sequence[Labelled], found: Sequence[Found], detector: Detector
) -> tuple[float, float] | None:
    """Mean absolute error and bias of the count of people in one look; None for a detector that knows no people."""
    persons = [number for number, name in detector.names.items() if name == PERSON]
    if not persons:
        return None
    off = [
        int((np.isin(said.classes, persons) & (said.scores >= COUNT_SCORE)).sum())
        - int(np.isin(one.classes, persons).sum())
        for one, said in zip(labelled, found, strict=True)
    ]
    return round(float(np.abs(off).mean()), 3), round(float(np.mean(off)), 3)


def compare_models(
    a: Annotated[str, typer.Argument(help="a detector's name or path")],
    b: Annotated[str, typer.Argument(help="another one")],
    images: ImagesOption,
    labels: LabelsOption,
    resamples: Annotated[int, typer.Option(min=100, help="how often the photos are drawn again")] = RESAMPLES,
    as_json: JsonOption = False,
) -> None:
    """Say whether one of two detectors is better, or whether these photos cannot tell: a paired bootstrap.

    Asked for are the classes that both know.
    """
    with one_line():
        detectors = [_open_detector(model) for model in (a, b)]
        shared = dict(detectors[0].names.items() & detectors[1].names.items())
        if not shared:
            fail(f"{a} and {b}: expected some classes with the same number and name, got none; use `evaluate` on each")
        labelled, found, spent_ms = _look(detectors, images, labels)
    found_a, found_b = ([one.of(shared) for one in every] for every in found)
    result = compare([one.of(shared) for one in labelled], found_a, found_b, resamples)
    values = {
        "a": {"model": detectors[0].name, "mAP50-95": round(result.a, 4), "ms": spent_ms[0]},
        "b": {"model": detectors[1].name, "mAP50-95": round(result.b, 4), "ms": spent_ms[1]},
        "images": len(labelled),
        "classes": len(shared),
        "difference": round(result.b - result.a, 4),
        "interval95": [round(result.low, 4), round(result.high, 4)],
        "better": result.verdict,
    }
    if as_json:
        typer.echo(json.dumps(values))
        return
    better = {"A": f"{detectors[0].name} is better", "B": f"{detectors[1].name} is better"}.get(
        result.verdict, "no difference that these photos can tell"
    )
    typer.echo(
        f"A {detectors[0].name}: mAP50-95 {result.a:.3f}, {spent_ms[0]} ms\n"
        f"B {detectors[1].name}: mAP50-95 {result.b:.3f}, {spent_ms[1]} ms\n"
        f"B - A on {len(labelled)} photos: {result.b - result.a:+.3f} "
        f"(95 %: {result.low:+.3f} to {result.high:+.3f}): {better}"
    )

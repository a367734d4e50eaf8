"""The command line of the models: `cityeye-models list | count | evaluate`."""

import hashlib
import json
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from agent.vision.crowds import OWN, CrowdCounter, is_counter, load_counter
from agent.vision.detector import Detector, DetectorError, load_detector
from agent.vision.people import Headcount, count_heads, count_photo
from agent.vision.selection import VARIABLE, find_detector, model_folders
from models.catalogue import Entry, load_catalogue
from models.tools.evaluation import Found, Labelled, evaluate, read_labels

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def _common() -> None:
    """Model files: which there are, and which licence each has."""


def _found(entry: Entry) -> Path | None:
    return next(
        (path for folder in model_folders() if (path := folder / f"{entry.name}.onnx").is_file()),
        None,
    )


def _state(entry: Entry) -> str:
    path = _found(entry)
    if path is None:
        return "not here"
    good = hashlib.sha256(path.read_bytes()).hexdigest() == entry.sha256
    return f"here: {path}" if good else f"another file of this name: {path}"


@app.command("list")
def list_models() -> None:
    """List the models of the catalogue and those in the folders of CITYEYE_MODELS."""
    entries = load_catalogue()
    table = Table(box=None, pad_edge=False)
    for heading in ("name", "for", "input", "licence", "here?"):
        table.add_column(heading, overflow="fold")
    for entry in entries:
        table.add_row(entry.name, entry.purpose, entry.input, entry.licence, _state(entry))
    known = {entry.name for entry in entries}
    for folder in model_folders():
        for path in sorted(folder.glob("*.onnx")):
            if path.stem not in known:
                table.add_row(path.stem, "?", "?", "unknown", f"here: {path}")
    console = Console()
    # a pipe gets whole lines
    Console(width=console.width if console.is_terminal else 240).print(table)
    if not model_folders():
        typer.echo(f"\n{VARIABLE} is not set: set it to the folder (or folders) that hold .onnx files.")


EXIT_FAILED = 1
EXIT_UNUSABLE = 2
EVALUATION_SCORE = 0.001
"""Precision is averaged over all recalls, so that doubtful boxes count as well."""
JsonOption = Annotated[bool, typer.Option("--json", help="one JSON object per line")]


@contextmanager
def _one_line() -> Iterator[None]:
    """Turn an error that a person can mend into one line and exit 2."""
    try:
        yield
    except DetectorError as fault:
        typer.echo(f"cityeye-models: {fault}", err=True)
        raise typer.Exit(EXIT_UNUSABLE) from None


def _read(path: Path) -> NDArray[np.uint8] | None:
    """Read a photo as RGB; None, and a line, where it is none."""
    try:
        content = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as fault:
        typer.echo(f"cityeye-models: {path}: expected a photo, it cannot be read ({fault.strerror})", err=True)
        return None
    photo = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    if photo is None:
        typer.echo(f"cityeye-models: {path}: expected a photo such as JPEG or PNG, it is none", err=True)
        return None
    return np.asarray(cv2.cvtColor(photo, cv2.COLOR_BGR2RGB), np.uint8)


def _open(model: str, min_score: float) -> Detector | CrowdCounter:
    if model == OWN:
        return load_counter()
    path = find_detector(model, Path.cwd())
    if path is None:
        raise DetectorError("expected a model's name or path, got nothing")
    return load_counter(path) if is_counter(path) else load_detector(path, min_score)


@app.command()
def count(
    images: Annotated[list[Path], typer.Argument(help="photos")],
    model: Annotated[str, typer.Option(help=f"a detector, or {OWN!r}: the project's own counter of crowds")],
    as_json: JsonOption = False,
) -> None:
    """Count the people in photos."""
    with _one_line():
        loaded = _open(model, 0.05)
    unread = 0
    for path in images:
        rgb = _read(path)
        if rgb is None:
            unread += 1
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


def _count(loaded: Detector | CrowdCounter, rgb: NDArray[np.uint8]) -> Headcount:
    return count_heads(loaded, rgb) if isinstance(loaded, CrowdCounter) else count_photo(loaded, rgb)


@app.command("evaluate")
def evaluate_model(
    model: Annotated[str, typer.Argument(help="a detector's name or path")],
    images: Annotated[Path, typer.Option(help="folder of photos", exists=True, file_okay=False)],
    labels: Annotated[Path, typer.Option(help="folder of labels, YOLO format", exists=True, file_okay=False)],
    as_json: JsonOption = False,
) -> None:
    """Measure a detector on labelled photos: mean average precision as COCO defines it."""
    with _one_line():
        loaded = _open(model, EVALUATION_SCORE)
        if not isinstance(loaded, Detector):
            raise DetectorError(f"{model}: expected a detector, got a counter of crowds; use `count`")
    pairs: list[tuple[Labelled, Found]] = []
    spent_s: list[float] = []
    for path in sorted(images.iterdir()):
        label = labels / f"{path.stem}.txt"
        if not path.is_file() or (rgb := _read(path)) is None:
            continue
        height, width = rgb.shape[:2]
        began_s = time.perf_counter()
        found = loaded.detect(rgb)
        spent_s.append(time.perf_counter() - began_s)
        # a photo without a label file shows nothing of any class, as the format has it
        try:
            truth = read_labels(label.read_text("utf-8", "replace") if label.is_file() else "", width, height)
        except (OSError, ValueError) as fault:
            typer.echo(f"cityeye-models: {label}: {fault}", err=True)
            raise typer.Exit(EXIT_UNUSABLE) from None
        boxes = found.boxes.astype(np.float64) * (width, height, width, height)
        pairs.append((truth, Found(boxes, found.classes, found.scores.astype(np.float64))))
    if not pairs:
        typer.echo(f"cityeye-models: {images}: expected photos, found none", err=True)
        raise typer.Exit(EXIT_UNUSABLE)
    quality = evaluate(pairs)
    names = {number: loaded.names.get(number, f"class-{number}") for number in quality.ap50}
    precisions = {names[number]: round(quality.ap50[number], 4) for number in sorted(quality.ap50)}
    values = {
        "model": loaded.name,
        "images": len(pairs),
        "mAP50-95": round(quality.map50_95, 4),
        "mAP50": round(quality.map50, 4),
        "AP50": precisions,
        "ms": round(statistics.median(spent_s) * 1000, 1),
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
        f"{loaded.name} on {len(pairs)} photos: mAP50-95 {quality.map50_95:.3f}, mAP50 {quality.map50:.3f}, "
        f"{values['ms']} ms a photo"
    )


def main() -> None:
    """Entry point."""
    app()

"""The command line of the models: `cityeye-models list | info | verify | pull | import | count | evaluate | …`."""

import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, NoReturn

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import DownloadColumn, Progress
from rich.table import Table

from agent.vision.crowds import OWN, CrowdCounter, is_counter, load_counter
from agent.vision.detector import Detector, DetectorError, load_detector
from agent.vision.onnx_file import inspect
from agent.vision.people import Headcount, count_heads, count_photo
from agent.vision.selection import VARIABLE, find_detector, model_folders
from models.catalogue import Entry, load_catalogue
from models.tools import store
from models.tools.comparison import RESAMPLES, compare
from models.tools.download import Download
from models.tools.evaluation import Found, Labelled, evaluate, read_labels
from models.tools.store import StoreError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def _common() -> None:
    """Model files: which there are, and which licence each has."""


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
    except (DetectorError, StoreError) as fault:
        _fail(str(fault))
    except OSError as fault:
        _fail(f"{fault.filename}: {fault.strerror}")


def _fail(line: str) -> NoReturn:
    typer.echo(f"cityeye-models: {line}", err=True)
    raise typer.Exit(EXIT_UNUSABLE) from None


@app.command("list")
def list_models() -> None:
    """List the models of the catalogue and those in the folders of CITYEYE_MODELS."""
    entries = load_catalogue()
    table = Table(box=None, pad_edge=False)
    for heading in ("name", "for", "input", "licence", "mAP50-95", "ms", "here?"):
        table.add_column(heading, overflow="fold")
    for entry in entries:
        figures = ("", "") if entry.measured is None else (f"{entry.measured.map50_95:.3f}", f"{entry.measured.ms:g}")
        table.add_row(entry.name, entry.task, entry.input, entry.licence, *figures, _state(entry))
    known = {entry.name for entry in entries}
    for name in store.names_here():
        if name not in known:
            table.add_row(name, "?", "?", "unknown", "", "", f"here: {store.find(name)}")
    console = Console()
    # a pipe gets whole lines
    Console(width=console.width if console.is_terminal else 240).print(table)
    if not model_folders():
        typer.echo(f"\n{VARIABLE} is not set: set it to the folder (or folders) that hold .onnx files.")


def _state(entry: Entry) -> str:
    path = store.find(entry.name)
    if path is None:
        return "not here" if entry.verified else "not here, unverified"
    if not entry.verified:
        return f"here, unverified: {path}"
    return f"here: {path}" if store.sha256_of(path) == entry.sha256 else f"another file of this name: {path}"


@app.command()
def info(
    name: Annotated[str, typer.Argument(help="a model's name, or a path to an .onnx file")],
    as_json: JsonOption = False,
) -> None:
    """Say what is known of a model: from the catalogue, and from the file where it is here."""
    path = Path(name) if name.endswith(".onnx") else store.find(name)
    entry = store.entry_of(name)
    if entry is None and (path is None or not path.is_file()):
        _fail(f"{name}: expected a name of the catalogue or an .onnx file, got neither; see `cityeye-models list`")
    values: dict[str, Any] = {} if entry is None else {key: value for key, value in asdict(entry).items() if value}
    values["state"] = "in the catalogue" if entry is not None and entry.verified else "unverified"
    if path is not None and path.is_file():
        values["file"] = str(path)
        try:
            said = inspect(path.read_bytes())
        except ValueError as fault:
            values["fault"] = str(fault)
        else:
            values |= {
                "sha256_of_file": store.sha256_of(path),
                "opset": said.opsets.get("", 0),
                "made_by": said.producer,
            }
            values |= {f"metadata_{key}": value[:200] for key, value in said.metadata.items()}
            if found := store.loading_fault(path, None if entry is None else entry.task):
                values["fault"] = found
    if as_json:
        typer.echo(json.dumps(values))
        return
    for key, value in values.items():
        typer.echo(f"{key}: {', '.join(f'{k} {v}' for k, v in value.items()) if isinstance(value, dict) else value}")


@app.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(help="which models; all that are here if none is named")] = None,
) -> None:
    """Check the files that are here: checksums, and that each loads. Exit 1 where one is not what it should be."""
    wrong = 0
    for name in names or store.names_here():
        path = store.find(name)
        if path is None:
            wrong += 1
            typer.echo(f"{name}: not here")
            continue
        result = store.check(path, store.entry_of(name))
        wrong += result.state == "other" or result.fault is not None
        words = {"good": "as the catalogue has it", "other": "NOT the catalogue's file of this name"}
        typer.echo(f"{name}: {words.get(result.state, f'not in the catalogue, SHA-256 {result.sha256}')}")
        if result.fault is not None:
            typer.echo(f"{name}: {result.fault}")
    if wrong:
        raise typer.Exit(EXIT_FAILED)


@app.command()
def pull(
    name: Annotated[str, typer.Argument(help="a name of the catalogue")],
    mirror: Annotated[
        str | None,
        typer.Option(envvar=store.MIRROR, help="address of a folder with NAME.onnx; it is tried first"),
    ] = None,
    sha256: Annotated[str | None, typer.Option(help="checksum to expect of a file that nobody verified")] = None,
    accept: Annotated[str | None, typer.Option(help="licence that you accept, such as AGPL-3.0")] = None,
    to: Annotated[Path | None, typer.Option(help="folder; the first of CITYEYE_MODELS where none is given")] = None,
) -> None:
    """Get a model: what is here already, else from a mirror, else from its publisher. ONNX only; checked before use."""
    with _one_line():
        entry = store.entry_of(name)
        if entry is None:
            raise StoreError(f"{name}: expected a name of the catalogue; see `cityeye-models list`, or `import` a file")
        folder = store.folder_for(to)
        here = folder / f"{name}.onnx"
        if here.is_file() and store.check(here, entry).state == "good":
            typer.echo(f"{here}: here already, as the catalogue has it")
            return
        typer.echo(f"{name}: {entry.source}. Licence: {entry.licence}")
        _licence(folder, entry, accept)
        with Progress(*Progress.get_default_columns(), DownloadColumn(), transient=True) as bar:
            task = bar.add_task(name, total=entry.size)
            download = Download(progress=lambda got, whole: bar.update(task, completed=got, total=whole or entry.size))
            path = store.pull(entry, folder, sha256, store.sources(entry, mirror), download)
        typer.echo(f"{path}: {path.stat().st_size} bytes, SHA-256 {store.sha256_of(path)}")


def _licence(folder: Path, entry: Entry, accept: str | None) -> None:
    if store.accepted(folder, entry.licence):
        return
    if accept != entry.licence:
        question = f"Weights under {entry.licence} bind what is built with them. Do you accept {entry.licence}?"
        if not (sys.stdin.isatty() and typer.confirm(question)):
            raise StoreError(f"{entry.name}: its licence must be accepted once: --accept {entry.licence}")
    store.accept(folder, entry.licence)


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(help="an .onnx file", exists=True, dir_okay=False)],
    name: Annotated[str | None, typer.Option(help="what to call it; the file's own name where none is given")] = None,
    sha256: Annotated[str | None, typer.Option(help="checksum to expect")] = None,
    to: Annotated[Path | None, typer.Option(help="folder; the first of CITYEYE_MODELS where none is given")] = None,
) -> None:
    """Take in a model file of your own, after it was checked."""
    with _one_line():
        path, entry = store.bring_in(file, name or file.stem, store.folder_for(to), sha256)
        known = f"the catalogue's {entry.name}, licence {entry.licence}" if entry else "not in the catalogue"
        typer.echo(f"{path}: {known}")


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


ImagesOption = Annotated[Path, typer.Option(help="folder of photos", exists=True, file_okay=False)]
LabelsOption = Annotated[Path, typer.Option(help="folder of labels, YOLO format", exists=True, file_okay=False)]


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
    for path in sorted(images.iterdir()):
        if not path.is_file() or (rgb := _read(path)) is None:
            continue
        height, width = rgb.shape[:2]
        label = labels / f"{path.stem}.txt"
        # a photo without a label file shows nothing of any class, as the format has it
        try:
            labelled.append(read_labels(label.read_text("utf-8", "replace") if label.is_file() else "", width, height))
        except (OSError, ValueError) as fault:
            _fail(f"{label}: {fault}")
        for number, detector in enumerate(detectors):
            began_s = time.perf_counter()
            said = detector.detect(rgb)
            spent_s[number].append(time.perf_counter() - began_s)
            boxes = said.boxes.astype(np.float64) * (width, height, width, height)
            found[number].append(Found(boxes, said.classes, said.scores.astype(np.float64)))
    if not labelled:
        _fail(f"{images}: expected photos, found none")
    return labelled, found, [round(statistics.median(times) * 1000, 1) for times in spent_s]


@app.command("evaluate")
def evaluate_model(
    model: Annotated[str, typer.Argument(help="a detector's name or path")],
    images: ImagesOption,
    labels: LabelsOption,
    as_json: JsonOption = False,
) -> None:
    """Measure a detector on labelled photos: mean average precision as COCO defines it."""
    with _one_line():
        loaded = _open_detector(model)
    labelled, (found,), (spent_ms,) = _look([loaded], images, labels)
    quality = evaluate(list(zip(labelled, found, strict=True)))
    names = {number: loaded.names.get(number, f"class-{number}") for number in quality.ap50}
    precisions = {names[number]: round(quality.ap50[number], 4) for number in sorted(quality.ap50)}
    sizes = {name: round(value, 4) for name, value in quality.sizes.items()}
    values = {
        "model": loaded.name,
        "images": len(labelled),
        "mAP50-95": round(quality.map50_95, 4),
        "mAP50": round(quality.map50, 4),
        "sizes": sizes,
        "AP50": precisions,
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
    )


@app.command("compare")
def compare_models(
    a: Annotated[str, typer.Argument(help="a detector's name or path")],
    b: Annotated[str, typer.Argument(help="another one")],
    images: ImagesOption,
    labels: LabelsOption,
    resamples: Annotated[int, typer.Option(min=100, help="how often the photos are drawn again")] = RESAMPLES,
    as_json: JsonOption = False,
) -> None:
    """Say whether one of two detectors is better, or whether these photos cannot tell: a paired bootstrap."""
    with _one_line():
        detectors = [_open_detector(model) for model in (a, b)]
    names = [{number: detector.names.get(number) for number in range(len(detector.names))} for detector in detectors]
    if names[0] != names[1]:
        _fail(f"{a} and {b}: expected the same classes in the same order, they differ; use `evaluate` on each")
    labelled, (found_a, found_b), spent_ms = _look(detectors, images, labels)
    result = compare(labelled, found_a, found_b, resamples)
    values = {
        "a": {"model": detectors[0].name, "mAP50-95": round(result.a, 4), "ms": spent_ms[0]},
        "b": {"model": detectors[1].name, "mAP50-95": round(result.b, 4), "ms": spent_ms[1]},
        "images": len(labelled),
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


def main() -> None:
    """Entry point."""
    app()

"""Commands that make detectors: `export`, `train`, `finetune`. They need the extra `models`, and never run on a box."""

import re
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Final

import typer

from agent.vision.detector import load_detector
from models.commands.common import fail, one_line
from models.tools import yolo
from models.tools.card import HeldBack, Origin, write_card
from models.tools.datasets import Dataset, read_dataset
from models.tools.photos import NoPhotoError, Photo, photos_in, read_photo

OWN: Final = "street-person"
"""The project's own network, which learns people only, from random weights; no code or weights of anyone else's."""
AGPL: Final = "AGPL-3.0, as ultralytics and the weights that it began with"
CHECKED_BY: Final = 32
DatasetArgument = Annotated[
    Path, typer.Argument(help="folder with images/ and labels/, YOLO format", exists=True, file_okay=False)
]
OutOption = Annotated[Path, typer.Option(help="NAME.onnx to write; NAME.md, its card, comes beside it")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, or a GPU's number")]
SeedOption = Annotated[int, typer.Option(help="of all that is random")]
_SIZE: Final = re.compile(r"^(\d+)(?:x(\d+))?$")


def export(
    weights: Annotated[Path, typer.Argument(help="a .pt file from a publisher you trust", exists=True, dir_okay=False)],
    imgsz: Annotated[str, typer.Option(help="height × width of the input, such as 384x640, or one side")] = "640",
    out: Annotated[Path | None, typer.Option(help="NAME.onnx to write; after the weights and the size without")] = None,
    photos: Annotated[
        Path | None,
        typer.Option(help="folder of photos to check on; those of ultralytics without", exists=True, file_okay=False),
    ] = None,
) -> None:
    """Write weights of ultralytics as ONNX, and check on photos that both find the same boxes to a pixel."""
    size = _size(imgsz)
    path = out or weights.with_name(f"{weights.stem}-{imgsz}.onnx")
    with one_line():
        _check_out(path)
        checked = yolo.export(weights, size, path, _photos(photos))
        how = (
            f"Exported from `{weights.name}`, and compared with it on {checked.photos} photos: {checked.boxes} boxes, "
            f"edges at most {checked.off_px:.2f} px apart."
        )
        write_card(path.with_suffix(".md"), load_detector(path), Origin(how, AGPL, settings=_versions()), None)
    detector = load_detector(path)
    typer.echo(
        f"{path}: {detector.layout}, {size[0]}x{size[1]}; {checked.boxes} boxes in {checked.photos} photos as from the "
        f"weights, edges at most {checked.off_px:.2f} px apart"
    )


def train(
    dataset: DatasetArgument,
    out: OutOption,
    family: Annotated[
        str, typer.Option(help=f"{OWN}: the project's own network, people only; or ultralytics' such as yolo26n")
    ] = OWN,
    imgsz: Annotated[str, typer.Option(help="height × width of the input; the own network's is fixed")] = "640",
    epochs: Annotated[int, typer.Option(min=1, help="how often all photos are seen (ultralytics)")] = 100,
    minutes: Annotated[float, typer.Option(min=0.1, help="how long it learns (own network)")] = 110.0,
    device: DeviceOption = "auto",
    seed: SeedOption = 1,
) -> None:
    """Train a detector from random weights on a dataset folder."""
    with one_line():
        _check_out(out)
        read = read_dataset(dataset)
        if family == OWN:
            _train_own(read, out, minutes, device, seed)
        else:
            how = f"`{family}` of ultralytics, trained from random weights."
            _train(read, family, out, _size(imgsz), epochs, device, seed, how, fine=False)


def finetune(
    weights: Annotated[Path, typer.Argument(help="a .pt file from a publisher you trust", exists=True, dir_okay=False)],
    dataset: DatasetArgument,
    out: OutOption,
    imgsz: Annotated[str, typer.Option(help="height × width of the input")] = "640",
    epochs: Annotated[int, typer.Option(min=1, help="how often all photos are seen")] = 30,
    device: DeviceOption = "auto",
    seed: SeedOption = 1,
) -> None:
    """Go on training weights on a dataset folder, such as one of your own streets."""
    with one_line():
        _check_out(out, weights)
        how = f"`{weights.name}`, trained on."
        _train(read_dataset(dataset), str(weights), out, _size(imgsz), epochs, device, seed, how, fine=True)


def _check_out(out: Path, weights: Path | None = None) -> None:
    """Say at once what would only fail after hours, or write over somebody's weights."""
    if out.suffix != ".onnx":
        fail(f"--out {out}: expected a name that ends with .onnx")
    if not out.absolute().parent.is_dir():
        fail(f"--out {out}: expected a folder {out.absolute().parent}, found none")
    if weights is not None and out.with_suffix(".pt").absolute() == weights.absolute():
        fail(f"--out {out}: expected another name, as {weights} would be written over")


def _train(
    dataset: Dataset,
    base: str,
    out: Path,
    size: tuple[int, int],
    epochs: int,
    device: str,
    seed: int,
    how: str,
    *,
    fine: bool,
) -> None:
    kept = out.with_suffix(".pt")
    typer.echo(f"{len(dataset.learned)} photos to learn from, {len(dataset.held_back)} held back")
    used = yolo.learn(dataset, base, epochs, max(size), device, kept, fine=fine, seed=seed)
    photos = [dataset.photo(path).rgb for path in dataset.held_back[:CHECKED_BY]]
    checked = yolo.export(kept, size, out, photos, must_find=False)
    settings = {"epochs": epochs, "seed": seed, "device": used, **_versions()}
    how += f" The ONNX file finds what the weights find: {checked.boxes} boxes, at most {checked.off_px:.2f} px apart."
    _finish(dataset, out, Origin(how, AGPL, _data(dataset), settings))
    typer.echo(f"{kept}: the weights, to go on from; never onto a box")


def _train_own(dataset: Dataset, out: Path, minutes: float, device: str, seed: int) -> None:
    if dataset.names.get(0) != "person":
        fail(f"{dataset.folder}: expected class 0 to be person, as the own network learns people only")
    if device not in ("auto", "cpu"):
        fail(f"--device {device}: expected auto or cpu; the own network is trained on the processor")
    try:
        from models.train import persons  # noqa: PLC0415 - torch is no part of a box
        from models.train.photos import peopled  # noqa: PLC0415 - as above
    except ImportError as fault:
        fail(f"expected the package {fault.name}; pip install 'cityeye[models]'")
    learned, held = ([peopled(dataset.photo(path)) for path in paths] for paths in (dataset.learned, dataset.held_back))
    try:
        curve = persons.learn(persons.Photos([], learned, [], held), out, persons.Plan(minutes, seed))
    except persons.CheckpointError as fault:
        fail(str(fault))
    seen = {"pictures": curve[-1][1]} if curve else {}
    settings = {"minutes": minutes, "seed": seed, **seen, **_versions()}
    how = "The project's own network for people (`models/train/detector.py`), trained from random weights."
    licence = "yours: of the code Apache-2.0, of the weights what the photos allow"
    _finish(dataset, out, Origin(how, licence, _data(dataset), settings))


def _finish(dataset: Dataset, out: Path, origin: Origin) -> None:
    measured: HeldBack = yolo.held_back(out, dataset)
    card = out.with_suffix(".md")
    write_card(card, load_detector(out), origin, measured)
    typer.echo(f"{out}: mAP50-95 {measured.quality.map50_95:.3f} on {measured.photos} photos that were held back")
    typer.echo(f"{card}: its card")


def _data(dataset: Dataset) -> list[tuple[str, int, int]]:
    boxes = sum(len(dataset.photo(path).labelled.classes) for path in dataset.learned)
    return [(dataset.folder.resolve().name, len(dataset.learned), boxes)]


def _photos(folder: Path | None) -> list[Photo]:
    if folder is None:
        return yolo.demo_photos()
    photos = []
    for path in photos_in(folder)[:CHECKED_BY]:
        try:
            photos.append(read_photo(path))
        except NoPhotoError as fault:
            typer.echo(f"cityeye-models: {fault}", err=True)
    if not photos:
        fail(f"{folder}: expected photos, found none")
    return photos


def _size(text: str) -> tuple[int, int]:
    """Width and height of `HEIGHTxWIDTH`, as ultralytics writes it, or of one side."""
    said = _SIZE.match(text)
    if said is None:
        fail(f"--imgsz: expected a side such as 640, or height and width such as 384x640, got {text!r}")
    height = int(said[1])
    width = int(said[2] or height)
    if height % 32 or width % 32 or not height or not width:
        fail(f"--imgsz: expected multiples of 32, got {text}")
    return width, height


def _versions() -> dict[str, object]:
    found = {}
    for package in ("ultralytics", "torch", "onnxruntime"):
        try:
            found[package] = version(package)
        except ModuleNotFoundError:
            continue
    return dict(found)

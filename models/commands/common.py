"""What all commands have in common."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from agent.vision.errors import DetectorError
from agent.vision.selection import find_detector
from models.tools.photos import PhotoError
from models.tools.quantising import QuantiseError
from models.tools.store import StoreError
from models.tools.yolo import YoloError

EXIT_FAILED: Final = 1
EXIT_UNUSABLE: Final = 2
JsonOption = Annotated[bool, typer.Option("--json", help="one JSON object per line")]
ImagesOption = Annotated[Path, typer.Option(help="folder of photos", exists=True, file_okay=False)]
LabelsOption = Annotated[Path, typer.Option(help="folder of labels, YOLO format", exists=True, file_okay=False)]


@contextmanager
def one_line() -> Iterator[None]:
    """Turn an error that a person can mend into one line and exit 2."""
    try:
        yield
    except (DetectorError, StoreError, PhotoError, QuantiseError, YoloError) as fault:
        fail(str(fault))
    except OSError as fault:
        fail(f"{fault.filename}: {fault.strerror}")


def fail(line: str) -> NoReturn:
    """Say what is wrong and exit 2."""
    typer.echo(f"cityeye-models: {line}", err=True)
    raise typer.Exit(EXIT_UNUSABLE) from None


def path_of(model: str) -> Path:
    """Where a detector's file is; raises DetectorError."""
    path = find_detector(model, Path.cwd())
    if path is None:
        raise DetectorError(f"{model}: expected a model's name or path")
    return path

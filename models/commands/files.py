"""Commands about the files themselves: which there are, what they are, and how they come in."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import DownloadColumn, Progress
from rich.table import Table

from agent.vision.onnx_file import inspect
from agent.vision.selection import SHIPPED, VARIABLE, model_folders, shipped_detector
from models.catalogue import Entry, load_catalogue, read_model
from models.commands.common import EXIT_FAILED, JsonOption, fail, one_line
from models.tools import store
from models.tools.download import Download
from models.tools.store import StoreError


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


def info(
    name: Annotated[str, typer.Argument(help="a model's name, or a path to an .onnx file")], as_json: JsonOption = False
) -> None:
    """Say what is known of a model: from the catalogue, and from the file where it is here."""
    path = Path(name) if name.endswith(".onnx") else store.find(name)
    entry = store.entry_of(name)
    if entry is None and (path is None or not path.is_file()):
        fail(f"{name}: expected a name of the catalogue or an .onnx file, got neither; see `cityeye-models list`")
    values: dict[str, Any] = {} if entry is None else {key: value for key, value in asdict(entry).items() if value}
    values["state"] = "in the catalogue" if entry is not None and entry.verified else "unverified"
    if path is not None and path.is_file():
        values["file"] = str(path)
        try:
            said = inspect(read_model(path))
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


def pull(
    name: Annotated[str, typer.Argument(help="a name of the catalogue")],
    mirror: Annotated[
        str | None, typer.Option(envvar=store.MIRROR, help="address of a folder with NAME.onnx; it is tried first")
    ] = None,
    sha256: Annotated[str | None, typer.Option(help="checksum to expect of a file that nobody verified")] = None,
    accept: Annotated[str | None, typer.Option(help="licence that you accept, such as AGPL-3.0")] = None,
    to: Annotated[Path | None, typer.Option(help="folder; the first of CITYEYE_MODELS where none is given")] = None,
) -> None:
    """Get a model: what is here already, else from a mirror, else from its publisher. ONNX only; checked before use."""
    with one_line():
        entry = store.entry_of(name)
        if entry is None:
            raise StoreError(f"{name}: expected a name of the catalogue; see `cityeye-models list`, or `import` a file")
        if name == SHIPPED:
            typer.echo(f"{shipped_detector()}: ships with the project; nothing to get")
            return
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


def import_file(
    file: Annotated[Path, typer.Argument(help="an .onnx file", exists=True, dir_okay=False)],
    name: Annotated[str | None, typer.Option(help="what to call it; the file's own name where none is given")] = None,
    sha256: Annotated[str | None, typer.Option(help="checksum to expect")] = None,
    to: Annotated[Path | None, typer.Option(help="folder; the first of CITYEYE_MODELS where none is given")] = None,
) -> None:
    """Take in a model file of your own, after it was checked."""
    with one_line():
        path, entry = store.bring_in(file, name or file.stem, store.folder_for(to), sha256)
        known = f"the catalogue's {entry.name}, licence {entry.licence}" if entry else "not in the catalogue"
        typer.echo(f"{path}: {known}")

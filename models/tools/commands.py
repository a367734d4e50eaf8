"""The command line of the models: `cityeye-models list`."""

import hashlib
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from agent.vision.selection import VARIABLE, model_folders
from models.catalogue import Entry, load_catalogue

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


def main() -> None:
    """Entry point."""
    app()

"""`cityeye-collector detectors add`: what is rolled out from the page of detectors."""

from pathlib import Path
from typing import Annotated

import typer

from collector.boxes import rollouts
from collector.boxes.authority import Authority
from collector.boxes.register import RegisterError
from collector.commandline import SettingsOption, now_ms, one_line, open_data, system
from collector.settings import load_settings
from protocol.detectors import Limits

detectors = typer.Typer(no_args_is_help=True, help="Detectors for the boxes of this center.")
LIMITS = ", ".join(f"{name} {one.default:g} ({one.description})" for name, one in Limits.model_fields.items())


@detectors.callback()
def _group() -> None:
    """Detectors for the boxes of this center."""


@detectors.command()
def add(
    file: Annotated[Path, typer.Argument(help="an ONNX file with all weights inside", show_default=False)],
    settings: SettingsOption,
    boards: Annotated[list[str], typer.Option("--board", help="processors or boards that it is for: x86_64, *Pi 5*")],
    replaces: Annotated[list[str] | None, typer.Option(help="detectors whose place it may take; default: any")] = None,
    limits: Annotated[list[str] | None, typer.Option("--limit", help=f"NAME=NUMBER, of {LIMITS}")] = None,
) -> None:
    """Take a detector up and sign it, where the center's CA is; its name is the file's."""
    with one_line():
        config = load_settings(settings)
        authority = Authority.open(config.path(config.settings.enrolment.ca))
        try:
            content = file.read_bytes()
        except OSError as fault:
            raise RegisterError(f"{file}: expected an ONNX file, got: {fault.strerror}") from None
        given = dict(one.partition("=")[::2] for one in limits or ())
        if unknown := given.keys() - Limits.model_fields.keys():
            raise RegisterError(f"--limit: expected one of {', '.join(Limits.model_fields)}, got {unknown}")
        wanted = {"name": file.stem, "boards": boards, "replaces": replaces or ["*"], "limits": given}
        store = open_data(config)
        with store.writing() as session:
            one = rollouts.add(session, authority, system(), content, wanted, now_ms())
        store.close()
        typer.echo(f"detector {one.name}: SHA-256 {one.sha256}, signed; the page of detectors rolls it out")

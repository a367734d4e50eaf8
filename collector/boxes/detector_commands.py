"""`cityeye-collector detectors …`: taking detectors up, and rolling them out."""

from pathlib import Path
from typing import Annotated

import typer

from collector.boxes import rollouts
from collector.boxes.authority import Authority
from collector.boxes.register import RegisterError
from collector.commandline import SettingsOption, now_ms, one_line, open_data, system
from collector.settings import load_settings
from protocol.detectors import Limits

detectors = typer.Typer(no_args_is_help=True, help="Detectors of this center, and their way to the boxes.")
LIMITS = ", ".join(f"{name} {one.default:g} ({one.description})" for name, one in Limits.model_fields.items())


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
        typer.echo(f"detector {one.name}: SHA-256 {one.sha256}, signed; roll it out with `detectors start {one.name}`")


@detectors.command()
def start(
    name: Annotated[str, typer.Argument(help="a detector's name", show_default=False)],
    settings: SettingsOption,
    streets: Annotated[list[str] | None, typer.Option("--street", help="whose boxes get it; default: all")] = None,
    steps: Annotated[list[int] | None, typer.Option("--step", help="percent of the boxes after a group")] = None,
    most: Annotated[int, typer.Option(help="percent of a group that may refuse it")] = rollouts.MOST,
) -> None:
    """Begin a roll-out, one at a time; the page of detectors shows how far it is."""
    with one_line():
        store = open_data(load_settings(settings))
        with store.writing() as session:
            row = rollouts.start(session, system(), name, streets, now_ms(), steps or rollouts.STEPS, most)
            typer.echo(f"roll-out {row.number}: begun")
        store.close()


@detectors.command()
def stop(
    number: Annotated[int, typer.Argument(help="a roll-out's number", show_default=False)], settings: SettingsOption
) -> None:
    """No further box takes it; who has taken it keeps it."""
    with one_line():
        store = open_data(load_settings(settings))
        with store.writing() as session:
            rollouts.stop(session, system(), number, now_ms())
        store.close()

"""`cityeye-collector`: a command loads its own room, not all of them, which takes seconds."""

import sys
from collections.abc import Iterable
from importlib import import_module
from typing import Annotated, Final

import typer

from collector import VERSION

COMMANDS: Final = {
    "backup": "store.commands:backup",
    "restore": "store.commands:restore",
    "init": "boxes.commands:init",
    "command": "boxes.desk_commands:command",
    "report": "indicators.commands:report",
    "papers": "law.commands:papers",
    "serve": "commands:serve",
    "check": "commands:check",
    "simulate": "simulation.commands:simulate",
    "boxes": "boxes.commands:boxes",
    "broker": "boxes.commands:broker",
    "settings": "boxes.desk_commands:settings_commands",
    "notices": "notices.commands:app",
    "people": "people.commands:people",
    "tokens": "people.commands:api_tokens",
    "audit": "people.commands:audit_log",
    "shops": "places.commands:shop_commands",
    "permits": "places.commands:permit_commands",
    "grid": "places.commands:grid_commands",
    "cameras": "places.commands:camera_commands",
    "policies": "tickets.commands:policies",
    "evidence": "evidence.commands:evidence_commands",
    "webhooks": "exchange.commands:hooks",
    "export": "exchange.commands:exports",
    "indicators": "indicators.commands:indicators",
    "learning": "learning.commands:learning",
    "dataset": "learning.commands:datasets",
}
"""Of each word, in the order of `--help`: the module of this package that has it, and its name there."""


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"cityeye-collector {VERSION}")
        raise typer.Exit


def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which version it is.")
    ] = False,
) -> None:
    """CityEye at the street center."""


def command_line(words: Iterable[str] = COMMANDS) -> typer.Typer:
    """The command line, or these words of it."""
    app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
    app.callback()(_common)
    for word in words:
        module, _, name = COMMANDS[word].partition(":")
        found = getattr(import_module(f"collector.{module}"), name)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=word)
        else:
            app.command(word)(found)
    return app


def main() -> None:
    """Entry point."""
    # anything else than a word: the list of all
    asked = [word for word in sys.argv[1:2] if word in COMMANDS]
    command_line(asked or COMMANDS)()

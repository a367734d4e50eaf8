"""`cityeye-agent run`: the box's start. Nothing here loads what sees, or another command, before the line is open."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from agent import VERSION
from agent.box.clock import Clock
from agent.box.door import Door, Doorman, nobody_yet, state_dir_of
from agent.box.enrolment import EnrolmentError
from agent.box.state import StateError
from agent.camera.errors import CameraError, FilmError
from agent.line import Line
from agent.settings import load_settings, setup_of
from agent.uplink.outbox import OutboxError
from agent.vision.errors import DetectorError
from protocol.broker import BrokerError
from protocol.documents import SettingsError

EXIT_FAILED = 1
EXIT_UNUSABLE = 2

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="CityEye on the box beside the camera.",
)
SettingsOption = Annotated[Path, typer.Option("--settings", help="box.toml", show_default=False)]


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"cityeye-agent {VERSION}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which version it is.")
    ] = False,
) -> None:
    """CityEye on the box beside the camera."""


@contextlib.contextmanager
def one_line() -> Iterator[None]:
    """Turn an error that a person can mend into one line and exit 2."""
    try:
        yield
    except (
        SettingsError,
        DetectorError,
        CameraError,
        StateError,
        BrokerError,
        OutboxError,
        FilmError,
        EnrolmentError,
    ) as fault:
        typer.echo(f"cityeye-agent: {fault}", err=True)
        raise typer.Exit(EXIT_UNUSABLE) from None


def log_to_stderr(level: int) -> None:
    """What the agent says, of this level and above."""
    logging.basicConfig(level=level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", force=True)


@app.command()
def run(settings: SettingsOption) -> None:
    """Watch the cameras and report to the center until stopped."""
    with one_line(), _doorman(settings) as doorman:
        log_to_stderr(logging.INFO)
        if nobody_yet(settings):
            section = setup_of(settings)
            doorman.wait_for_claim(section.run_dir, section.port)
        config, clock = load_settings(settings), Clock()
        with Line(config, clock) as line:
            # loaded while the center hears of the box
            from agent import live  # noqa: PLC0415 - as said

            again = live.run(config, clock, lambda connected: doorman.tend(connected=connected), line)
    if again:
        # the same process goes on as a new one, whoever watches over it
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - itself, with its own arguments


@contextlib.contextmanager
def _doorman(settings: Path) -> Iterator[Doorman]:
    clock = Clock()
    file = settings.resolve().parent / setup_of(settings).open_file
    doorman = Doorman(Door(state_dir_of(settings), clock.now), settings, file, clock.monotonic)
    try:
        yield doorman
    finally:
        doorman.close()


def main() -> None:
    """Entry point of `cityeye-agent`; a closed pipe or Ctrl-C ends it quietly."""
    if sys.argv[1:2] != ["run"]:
        from agent import commands  # noqa: F401, PLC0415 - they add themselves; a start does without what sees

    try:
        app()
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(EXIT_FAILED)

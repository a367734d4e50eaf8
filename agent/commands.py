"""The command line of the box: `cityeye-agent run | check | replay`."""

import contextlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from agent import VERSION, live
from agent.box.clock import Clock
from agent.box.state import StateError, StateFolder
from agent.camera.errors import CameraError
from agent.camera.reader import check_camera
from agent.camera.reader import probe as probe_clip
from agent.camera.source import Source
from agent.replay import Replay, pick_camera
from agent.settings import BoxConfig, load_settings
from agent.uplink.outbox import OutboxError
from agent.vision.detector import DetectorError
from agent.vision.selection import find_detector
from protocol.broker import BrokerError, probe
from protocol.documents import SettingsError
from protocol.instants import parse_rfc3339
from protocol.messages import IncidentEvent

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
def _one_line() -> Iterator[None]:
    """Turn an error that a person can mend into one line and exit 2."""
    try:
        yield
    except (SettingsError, DetectorError, CameraError, StateError, BrokerError, OutboxError) as fault:
        typer.echo(f"cityeye-agent: {fault}", err=True)
        raise typer.Exit(EXIT_UNUSABLE) from None


def _log_to_stderr(level: int) -> None:
    logging.basicConfig(level=level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", force=True)


@app.command()
def run(settings: SettingsOption) -> None:
    """Watch the cameras and report to the center until stopped."""
    with _one_line():
        config = load_settings(settings)
        _log_to_stderr(logging.INFO)
        live.run(config, Clock())


@app.command()
def check(settings: SettingsOption) -> None:
    """Validate the settings, open each camera, load the detector, connect to the center: one line each."""
    with _one_line():
        config = load_settings(settings)
    typer.echo(f"ok    settings {settings}: box {config.settings.box.id}, {len(config.settings.camera)} cameras")
    good = [_check_state(config), _check_detector(config)]
    good += [_check_camera(config, camera.id) for camera in config.settings.camera]
    good += [_check_center(config)]
    if not all(good):
        raise typer.Exit(EXIT_FAILED)


def _line(name: str, outcome: str, *, good: bool) -> bool:
    typer.echo(f"{'ok   ' if good else 'FAIL '} {name}: {outcome}")
    return good


def _check_state(config: BoxConfig) -> bool:
    try:
        with StateFolder(config.state_dir, exclusive=False) as folder:
            return _line("state", str(folder.path), good=True)
    except StateError as fault:
        return _line("state", str(fault), good=False)


def _check_detector(config: BoxConfig) -> bool:
    try:
        find_detector(config.settings.detector.model, config.folder)  # here, one that is named must be at hand
        eyes = live.open_eyes(config)
    except DetectorError as fault:
        return _line("detector", str(fault), good=False)
    faces = "faces masked by " + eyes.face_model.name if eyes.face_model else "no face model: evidence is pixelated"
    if eyes.detector is None:
        return _line("detector", f"none: encroachment works unnamed, crowding is unavailable; {faces}", good=True)
    width, height = eyes.detector.input_size
    return _line("detector", f"{eyes.detector.name}, {eyes.detector.layout}, {width}x{height}; {faces}", good=True)


def _check_camera(config: BoxConfig, camera_id: str) -> bool:
    try:
        source = Source.from_camera(pick_camera(config, camera_id), config)
        return _line(f"camera {camera_id}", check_camera(source), good=True)
    except (CameraError, SettingsError) as fault:
        return _line(f"camera {camera_id}", str(fault), good=False)


def _check_center(config: BoxConfig) -> bool:
    center = config.settings.center
    if center is None:
        return _line("center", "none in the settings: incidents stay on the box", good=True)
    try:
        return _line("center", probe(center, config.folder, f"{config.settings.box.id}-check"), good=True)
    except BrokerError as fault:
        return _line("center", str(fault), good=False)


@app.command()
def replay(
    video: Annotated[Path, typer.Argument(help="a recorded clip")],
    settings: SettingsOption,
    camera: Annotated[
        str | None, typer.Option(help="whose zones are used; needed where the settings have several")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="messages, one per line; default: standard output")] = None,
    evidence: Annotated[Path | None, typer.Option(help="folder for pictures, {sha256}.jpg")] = None,
    state: Annotated[
        Path | None, typer.Option(help="folder with the box's memory; default: none is used or left")
    ] = None,
    start: Annotated[str, typer.Option(help="time of the first frame, RFC 3339")] = "2026-01-01T00:00:00Z",
) -> None:
    """Run a recorded clip through the same pipeline, on the clip's own clock, as fast as it goes."""
    console = Console(stderr=True)
    with _one_line():
        config = load_settings(settings)
        try:
            start_s = parse_rfc3339(start).timestamp()
        except ValueError:
            raise SettingsError(f"--start: expected an instant such as 2026-01-01T00:00:00Z, got {start!r}") from None
        chosen = pick_camera(config, camera)
        clip = probe_clip(video)
        _log_to_stderr(logging.WARNING)
        job = Replay(video, chosen, config, live.open_eyes(config), start_s, evidence, state)
        with contextlib.ExitStack() as stack:
            try:
                lines = sys.stdout if out is None else stack.enter_context(out.open("w", encoding="utf-8"))
            except OSError as fault:
                raise SettingsError(f"--out {out}: expected a file that can be written: {fault.strerror}") from None
            bar = stack.enter_context(
                Progress(
                    TextColumn("{task.description}"),
                    BarColumn(),
                    TextColumn("{task.percentage:3.0f} %"),
                    TimeRemainingColumn(),
                    console=console,
                    disable=not console.is_terminal,
                )
            )
            task = bar.add_task(video.name, total=clip.duration_s)

            def write(event: IncidentEvent) -> None:
                lines.write(event.to_json().decode() + "\n")
                lines.flush()

            job.run(write, lambda done_s: bar.update(task, completed=done_s))
            bar.update(task, completed=clip.duration_s)


def main() -> None:
    """Entry point; a closed pipe or Ctrl-C ends it quietly."""
    try:
        app()
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(EXIT_FAILED)

"""`cityeye-collector detectors …`: taking detectors up, and rolling them out."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer
from sqlalchemy.orm import Session

from collector.boxes import rollouts
from collector.boxes.authority import Authority
from collector.boxes.register import RegisterError
from collector.boxes.rollouts import MOST, STEPS
from collector.commandline import SettingsOption, now_ms, one_line, open_data, system
from collector.settings import load_settings
from collector.store import Box, DetectorReport, RolloutRow
from protocol.detectors import Limits

detectors = typer.Typer(no_args_is_help=True, help="Detectors of this center, and their way to the boxes.")
NameArgument = Annotated[str, typer.Argument(help="a detector's name", show_default=False)]
NumberArgument = Annotated[int, typer.Argument(help="a roll-out's number", show_default=False)]
USUAL: Final = Limits()


@contextlib.contextmanager
def _session(settings: Path) -> Iterator[Session]:
    with one_line():
        store = open_data(load_settings(settings))
        try:
            with store.writing() as session:
                yield session
        finally:
            store.close()


@detectors.command()
def add(
    file: Annotated[Path, typer.Argument(help="an ONNX file with all weights inside", show_default=False)],
    settings: SettingsOption,
    boards: Annotated[
        list[str], typer.Option("--board", help="pattern of processors or boards that it is for, such as x86_64")
    ],
    name: Annotated[str | None, typer.Option(help="what it is called; default: the file's name")] = None,
    replaces: Annotated[
        list[str] | None, typer.Option("--replaces", help="pattern of detectors whose place it may take; default: any")
    ] = None,
    recall: Annotated[float, typer.Option(help="share of the present one's sure finds that it must have")] = 0.7,
    precision: Annotated[float, typer.Option(help="share of its sure finds that the present one must have")] = 0.7,
    slower: Annotated[float, typer.Option(help="times the present one's time that a look may take")] = 1.5,
    memory_mb: Annotated[int, typer.Option(help="memory that it may take beside the present one")] = USUAL.memory_mb,
    pictures: Annotated[int, typer.Option(help="pictures that are compared at least")] = USUAL.pictures,
    finds: Annotated[int, typer.Option(help="finds in them to compare by, at least")] = USUAL.finds,
) -> None:
    """Take a detector up and sign it, where the center's CA is; boxes get it once it is rolled out."""
    with one_line():
        config = load_settings(settings)
        authority = Authority.open(config.path(config.settings.enrolment.ca))
        try:
            content = file.read_bytes()
        except OSError as fault:
            raise RegisterError(f"{file}: expected an ONNX file, got: {fault.strerror}") from None
        wanted = {
            "name": name or file.stem,
            "boards": boards,
            "replaces": replaces or ["*"],
            "limits": {
                "recall": recall,
                "precision": precision,
                "slower": slower,
                "memory_mb": memory_mb,
                "pictures": pictures,
                "finds": finds,
            },
        }
        store = open_data(config)
        with store.writing() as session:
            row = rollouts.add(session, authority, system(), content, wanted, now_ms())
            typer.echo(f"detector {row.name}: SHA-256 {row.sha256}, signed; roll it out with `detectors start`")
        store.close()


@detectors.command("list")
def list_(settings: SettingsOption) -> None:
    """Detectors that can be rolled out, and which box runs what."""
    with _session(settings) as session:
        for row in rollouts.stored(session):
            one = rollouts.manifest_of(row)
            typer.echo(f"{one.name}\t{one.size / 1e6:.1f} MB\t{one.sha256[:16]}\tfor {', '.join(one.boards)}")
        for report in session.query(DetectorReport).order_by(DetectorReport.box_id):
            typer.echo(f"box {report.box_id}\t{report.name or 'none'}\t{report.sha256[:16]}\t{report.board}")


@detectors.command()
def remove(name: NameArgument, settings: SettingsOption) -> None:
    """Delete a detector's file here; boxes that have it keep it."""
    with _session(settings) as session:
        rollouts.remove(session, system(), name, now_ms())


@detectors.command()
def start(
    name: NameArgument,
    settings: SettingsOption,
    streets: Annotated[list[str] | None, typer.Option("--street", help="whose boxes get it; default: all")] = None,
    boxes: Annotated[list[str] | None, typer.Option("--first", help="a box of the first group")] = None,
    steps: Annotated[str, typer.Option(help="percent of the boxes after each group")] = ",".join(map(str, STEPS)),
    most: Annotated[float, typer.Option(min=0, max=100, help="percent of a group that may fail")] = 100 * MOST,
) -> None:
    """Begin a roll-out; one goes on at a time."""
    with _session(settings) as session:
        if not all(one.strip().isdecimal() for one in steps.split(",")):
            raise RegisterError(f"--steps: expected percentages such as 10,50,100, got {steps!r:.80}")
        row = rollouts.start(
            session,
            system(),
            name,
            now_ms(),
            streets=streets,
            boxes=boxes or (),
            steps=[int(one) for one in steps.split(",")],
            most=most / 100,
        )
        _tell(session, row)


@detectors.command()
def show(number: NumberArgument, settings: SettingsOption) -> None:
    """What each box has made of it."""
    with _session(settings) as session:
        _tell(session, rollouts.of(session, number))


@detectors.command()
def stop(number: NumberArgument, settings: SettingsOption) -> None:
    """No further box takes it; who has taken it keeps it."""
    with _session(settings) as session:
        rollouts.stop(session, system(), number, now_ms())


@detectors.command()
def back(number: NumberArgument, settings: SettingsOption) -> None:
    """Have all boxes go back to what they had before."""
    with _session(settings) as session:
        rollouts.back(session, system(), number, now_ms())


def _tell(session: Session, row: RolloutRow) -> None:
    typer.echo(f"roll-out {row.number}: {row.state}{': ' * bool(row.why)}{row.why}")
    for one in rollouts.members(session, row.number):
        state = session.get_one(Box, one.box_id).state
        compared = json.loads(one.compared)
        shown = "" if compared is None else " " + json.dumps(compared)
        text = "".join(letter if letter.isprintable() else "?" for letter in one.text)
        typer.echo(f"group {one.group}\t{one.box_id} ({state})\t{one.state}\t{text}{shown}")

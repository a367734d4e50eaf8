"""`cityeye-collector simulate`: boxes without cameras, over the real protocol."""

import json
import random
import resource
import signal
import time
from pathlib import Path
from types import FrameType
from typing import Annotated, Final

import typer
from pydantic import ValidationError

from collector.simulation.box import SimulatedBox, names
from collector.simulation.fleet import Fleet, Work
from protocol.broker import BrokerError, BrokerLine
from protocol.documents import first_fault

EXIT_UNUSABLE: Final = 2
SAY_S: Final = 5.0
ROOM_FILES: Final = 100


def simulate(  # noqa: PLR0917 - each one is an option
    boxes: Annotated[int, typer.Option(min=1, help="How many boxes.")] = 10,
    incidents: Annotated[int | None, typer.Option(min=0, help="How many in all; then it ends.")] = None,
    rate: Annotated[float, typer.Option(min=0, help="Incidents that begin each second, over all boxes.")] = 1.0,
    url: Annotated[str, typer.Option(help="The broker.")] = "mqtt://127.0.0.1:1883",
    ca: Annotated[Path | None, typer.Option(help="The CA's certificate, beside an mqtts:// url.")] = None,
    certificates: Annotated[
        Path | None, typer.Option(help="Folder with BOX.crt and BOX.key of each box; its boxes are the ones used.")
    ] = None,
    site: Annotated[str, typer.Option(help="Site of all boxes.")] = "sim",
    prefix: Annotated[str, typer.Option(help="How the ids of boxes begin, where there are no certificates.")] = "sim-",
    cameras: Annotated[int, typer.Option(min=1, help="Cameras of each box.")] = 1,
    pictures_kb: Annotated[int, typer.Option(min=0, max=500, help="Size of a picture; 0: none.")] = 8,
    clear_s: Annotated[float, typer.Option(min=0, help="Until a place is seen clear, about.")] = 60.0,
    health_s: Annotated[float, typer.Option(min=0.1, help="Between two health messages of a box.")] = 30.0,
    seconds: Annotated[float | None, typer.Option(min=0, help="End after so long, whatever is done.")] = None,
    seed: Annotated[int, typer.Option(help="Makes the same boxes again.")] = 1,
) -> None:
    """Let simulated boxes send incidents over the real protocol, until all are taken or it is stopped.

    Says every few seconds how far it is, and at the end one line of JSON.
    """
    chance = random.Random(seed)  # noqa: S311 - boxes that are no boxes need no secrets
    try:
        ids = list(names(boxes, prefix)) if certificates is None else _with_certificates(certificates, boxes)
        lines = {one: _line(url, ca, certificates, one) for one in ids}
        _allow_files(len(ids) + ROOM_FILES)
        made = [SimulatedBox(site, one, cameras, pictures_kb * 1024, chance) for one in ids]
        work = Work(incidents, rate, clear_s, health_s)
        fleet = Fleet(made, lines, Path.cwd(), work, chance, _Once())
    except BrokerError as fault:
        typer.echo(f"cityeye-collector: {fault}", err=True)
        raise typer.Exit(EXIT_UNUSABLE) from None
    _run(fleet, seconds, len(ids))


class _Once:
    """Says the first fault of a kind each while, not 5,000 of them."""

    def __init__(self) -> None:
        self._next_s = 0.0

    def __call__(self, text: str) -> None:
        if time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + SAY_S
            typer.echo(text, err=True)


def _run(fleet: Fleet, seconds: float | None, boxes: int) -> None:
    began_s = time.monotonic()
    stopping = False
    next_s = began_s + SAY_S

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    def going() -> bool:
        nonlocal next_s
        now_s = time.monotonic()
        if now_s >= next_s:
            next_s = now_s + SAY_S
            tally = fleet.tally
            typer.echo(
                f"{tally.connected} of {boxes} boxes connected, {tally.opened} incidents, {tally.stored} messages and "
                f"pictures taken, {fleet.waiting} waiting"
            )
        return not (stopping or fleet.done or (seconds is not None and now_s - began_s > seconds))

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    # incidents of boxes that are not in yet would only tell how long connecting takes
    fleet.run(going, lambda: fleet.tally.most_connected == boxes)
    tally = fleet.tally
    figures = {
        "boxes": boxes,
        "seconds": round(time.monotonic() - began_s, 1),
        "connected": tally.most_connected,
        "opened": tally.opened,
        "cleared": tally.cleared,
        "stored": tally.stored,
        "waiting": fleet.waiting,
        "refused": len(fleet.refused),
        "health": tally.health,
        "lost_lines": tally.lost_lines,
        "stored_after_p50_s": tally.took(0.5),
        "stored_after_p99_s": tally.took(0.99),
    }
    typer.echo(json.dumps(figures))
    for text in fleet.refused[:5]:
        typer.echo(f"refused: {text}", err=True)


def _with_certificates(folder: Path, boxes: int) -> list[str]:
    found = sorted(path.stem for path in folder.glob("*.crt") if path.with_suffix(".key").is_file())
    if len(found) < boxes:
        raise BrokerError(f"{folder}: expected BOX.crt and BOX.key of {boxes} boxes, found {len(found)}")
    return found[:boxes]


def _line(url: str, ca: Path | None, certificates: Path | None, box: str) -> BrokerLine:
    pair = (None, None) if certificates is None else (certificates / f"{box}.crt", certificates / f"{box}.key")
    values = {"url": url, "ca": ca, "cert": pair[0], "key": pair[1]}
    try:
        return BrokerLine.model_validate(values)
    except ValidationError as fault:
        raise BrokerError(f"--url, --ca, --certificates: {first_fault(fault, values)}") from None


def _allow_files(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            raise BrokerError(f"expected to be allowed {wanted} open files, got {hard}; raise it: ulimit -Hn {wanted}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

"""`cityeye-collector learning … | dataset …`: what verdicts say of zones, and pictures to train a detector on."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from collector.commandline import EXIT_FAILED, SettingsOption, now_ms, one_line, open_data, system
from collector.evidence.files import PictureFiles
from collector.learning import acceptance, dataset
from collector.learning.dataset import DatasetError
from collector.learning.outlook import look, outlook_json, statistics_json, trial_json
from collector.learning.replay import Limits
from collector.learning.verdicts import Place, statistics
from collector.people import audit
from collector.settings import CenterConfig, load_settings
from collector.store import Store
from collector.tickets.desk import RefusedError
from collector.tickets.reasons import load_reasons
from protocol.documents import SettingsError

learning = typer.Typer(no_args_is_help=True, help="What verdicts say of zones, and other settings tried on them.")
datasets = typer.Typer(no_args_is_help=True, help="Pictures with labels, to train a detector on.")
PlaceArgument = Annotated[str, typer.Argument(help="BOX/CAMERA/ZONE/RULE", show_default=False)]
DwellOption = Annotated[float | None, typer.Option("--dwell-s", help="seconds; default: as it is")]
AreaOption = Annotated[float | None, typer.Option("--min-area-m2", help="smallest item; 0: none; default: as it is")]
ReasonOption = Annotated[str, typer.Option("--reason", help="why; stands in the audit log")]
StreetOption = Annotated[list[str] | None, typer.Option("--street", help="a site, may be repeated; default: all")]
JsonOption = Annotated[bool, typer.Option("--json", help="print JSON")]


@contextlib.contextmanager
def _center(settings: Path) -> Iterator[tuple[CenterConfig, Store]]:
    with one_line():
        config = load_settings(settings)
        store = open_data(config)
        try:
            yield config, store
        except (RefusedError, DatasetError) as fault:
            raise SettingsError(str(fault)) from None
        finally:
            store.close()


def _place(text: str) -> Place:
    parts = text.split("/")
    if len(parts) != 4 or not all(parts):
        raise SettingsError(f"expected BOX/CAMERA/ZONE/RULE as `learning zones` lists them, got {text!r:.200}")
    return Place(*parts)


def _limits(now: Limits, dwell_s: float | None, min_area_m2: float | None) -> Limits:
    area_m2 = now.min_area_m2 if min_area_m2 is None else min_area_m2 or None
    return Limits(now.dwell_s if dwell_s is None else dwell_s, area_m2)


@learning.command()
def zones(settings: SettingsOption, street: StreetOption = None, as_json: JsonOption = False) -> None:
    """List zones with their alerts of the last eight weeks, most false alarms first."""
    with _center(settings) as (_, store), store.transaction() as session:
        found = statistics(session, street or None, now_ms())
    for place, one in found.items():
        if as_json:
            typer.echo(json.dumps(statistics_json(place, one), ensure_ascii=False))
        else:
            share = "" if one.share is None else f", {one.share:.0%} false"
            typer.echo(f"{place}: {one.alerts} alerts, {one.confirmed} confirmed, {one.false} false{share}")


@learning.command()
def zone(
    place: PlaceArgument, settings: SettingsOption, dwell_s: DwellOption = None, min_area_m2: AreaOption = None
) -> None:
    """Print a zone as JSON: statistics, suggestions, and what other limits would have done to its past alerts."""
    with _center(settings) as (_, store), store.transaction() as session:
        found = look(session, _place(place), None, now_ms())
        if found is None:
            raise SettingsError(f"expected a zone with alerts or settings, found none of {place}")
    said = outlook_json(found)
    if found.wanted is not None and (dwell_s is not None or min_area_m2 is not None):
        trial = found.try_out(_limits(found.wanted.limits, dwell_s, min_area_m2))
        said["trial"] = None if trial is None else trial_json(trial)
    typer.echo(json.dumps(said, ensure_ascii=False, indent=1))


@learning.command()
def accept(
    place: PlaceArgument,
    settings: SettingsOption,
    reason: ReasonOption,
    dwell_s: DwellOption = None,
    min_area_m2: AreaOption = None,
) -> None:
    """Give a zone another dwell or smallest area: a revision of its box's settings, as any other."""
    with _center(settings) as (_, store), store.writing() as session:
        where = _place(place)
        found = look(session, where, None, now_ms())
        if found is None or found.wanted is None:
            raise SettingsError(f"expected a zone of a box's settings, found none of {place}")
        limits, seen = _limits(found.wanted.limits, dwell_s, min_area_m2), found.wanted.revision
        row = acceptance.accept(session, system(), where, limits, reason=reason, based_on=seen, now_ms=now_ms())
        typer.echo(f"box {where.box}: revision {row.revision} is wanted")


@learning.command()
def release(
    tickets: Annotated[list[int], typer.Argument(help="numbers of false alarms")],
    settings: SettingsOption,
    reason: ReasonOption,
) -> None:
    """Release the masked pictures of false alarms for training: retention leaves them alone."""
    with _center(settings) as (_, store), store.writing() as session:
        count = sum(acceptance.release(session, system(), one, reason, now_ms()) for one in tickets)
        typer.echo(f"{count} pictures released")


@datasets.command()
def export(
    out: Annotated[Path, typer.Option("--out", "-o", help="a folder that is new or empty, or NAME.zip")],
    settings: SettingsOption,
    street: StreetOption = None,
) -> None:
    """Write what people judged as a dataset in YOLO format that `cityeye-models finetune` takes."""
    with _center(settings) as (config, store):
        with store.transaction() as session:
            shots, left_out = dataset.collect(session, load_reasons(), street or None)
        files = PictureFiles(config.data_dir / "evidence")
        with dataset.sink_at(out) as sink:
            report = dataset.export(shots, left_out, files, sink)
        written = sum(report.written.values())
        with store.writing() as session:
            told = {"pictures": written, "streets": street or ["*"], "out": out.name}
            audit.record(session, system(), "dataset.export", f"dataset/{out.name}", told, now_ms())
    for (part, light, has), count in sorted(report.written.items()):
        typer.echo(f"{part} {light}: {count} {'with boxes' if has else 'without'}")
    for why, count in sorted(report.left_out.items()):
        typer.echo(f"left out: {count}, {why}", err=True)
    typer.echo(f"{out}: {written} pictures, classes {', '.join(report.names)}")
    if "changed on disk" in report.left_out:
        raise typer.Exit(EXIT_FAILED)

"""`cityeye-collector learning … | dataset …`: what verdicts say of zones, and pictures to train a detector on."""

import hashlib
import json
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from collector.commandline import SettingsOption, now_ms, open_center, open_pictures, system
from collector.evidence.looks import read_reason
from collector.learning import dataset
from collector.learning.dataset import DatasetError
from collector.learning.outlook import look, outlook_json, statistics_json
from collector.learning.verdicts import Place, statistics
from collector.people import audit
from collector.tickets.reasons import load_reasons
from protocol.documents import SettingsError

learning = typer.Typer(no_args_is_help=True, help="What verdicts say of zones, and other settings tried on them.")
datasets = typer.Typer(no_args_is_help=True, help="Pictures with labels, to train a detector on.")
StreetOption = Annotated[list[str] | None, typer.Option("--street", help="a site, may be repeated; default: all")]


@learning.command()
def zones(
    settings: SettingsOption,
    street: StreetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON, one line each")] = False,
) -> None:
    """List zones with their alerts of the last eight weeks, most false alarms first."""
    with open_center(settings, DatasetError, ValueError) as (_, store), store.transaction() as session:
        found = statistics(session, street or None, now_ms())
    for place, one in found.items():
        share = "" if one.share is None else f", {one.share:.0%} false"
        text = f"{place}: {one.alerts} alerts, {one.confirmed} confirmed, {one.false} false{share}"
        typer.echo(json.dumps(statistics_json(place, one), ensure_ascii=False) if as_json else text)


@learning.command()
def zone(
    place: Annotated[str, typer.Argument(help="BOX/CAMERA/ZONE/RULE, as `zones` lists them", show_default=False)],
    settings: SettingsOption,
    dwell_s: Annotated[float | None, typer.Option("--dwell-s", help="to be tried on its past alerts")] = None,
    min_area_m2: Annotated[
        float | None, typer.Option("--min-area-m2", help="likewise, with a dwell; default: the wanted one")
    ] = None,
) -> None:
    """Print a zone as JSON: statistics, settings, suggestions, and what other limits would have done."""
    parts = place.split("/")
    with open_center(settings, DatasetError, ValueError) as (config, store), store.transaction() as session:
        days = ZoneInfo(config.settings.center.timezone)
        found = look(session, Place(*parts), None, now_ms(), days) if len(parts) == 4 else None
        if found is None:
            raise SettingsError(f"expected BOX/CAMERA/ZONE/RULE as `learning zones` lists them, got {place!r:.200}")
    typer.echo(json.dumps(outlook_json(found, dwell_s, min_area_m2), ensure_ascii=False, indent=1))


@datasets.command()
def export(
    out: Annotated[Path, typer.Option("--out", "-o", help="a folder that is new or empty, or NAME.zip")],
    settings: SettingsOption,
    reason: Annotated[str, typer.Option(help="why; stands in the record", show_default=False)],
    street: StreetOption = None,
) -> None:
    """Write what people judged as a dataset in YOLO format that `cityeye-models finetune` takes."""
    with open_center(settings, DatasetError, ValueError) as (config, store):
        why = read_reason(reason)
        with store.transaction() as session:
            shots, left_out = dataset.collect(session, load_reasons(), street or None)
        with store.writing() as session:
            digest = hashlib.sha256("".join(sorted(f"{one.sha256}\n" for one in shots)).encode()).hexdigest()
            told = {"pictures": len(shots), "sha256": digest, "streets": street or ["*"], "reason": why}
            audit.record(session, system(), "dataset.export", f"dataset/{out.name}", told, now_ms())
        with dataset.sink_at(out) as sink:
            report = dataset.export(shots, left_out, open_pictures(config), sink)
    for (part, light, has), count in sorted(report.written.items()):
        typer.echo(f"{part} {light}: {count} {'with boxes' if has else 'without'}")
    for why, count in sorted(report.left_out.items()):
        typer.echo(f"left out: {count}, {why}", err=True)


@datasets.callback()
def _datasets() -> None:
    pass

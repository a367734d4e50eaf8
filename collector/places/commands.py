"""`cityeye-collector shops | permits | grid | cameras …`."""

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

import typer

from collector.commandline import EXIT_FAILED, EXIT_UNUSABLE, JsonOption, SettingsOption, now_ms, open_center, system
from collector.people.audit import record
from collector.places import cameras, grid, permits, shops, standing
from collector.places.cameras import CAMERAS
from collector.places.columns import Column
from collector.places.coordinates import map_url
from collector.places.faults import Fault, PlacesError
from collector.places.history import Author, history
from collector.places.permits import PERMITS
from collector.places.register import Around, Kind, Report, change, export_rows, import_file
from collector.places.sheets import MAX_BYTES, write_csv, write_workbook
from collector.places.shops import SHOPS
from collector.settings import CenterConfig
from collector.store import Store
from protocol.documents import SettingsError

SHOWN: Final = 50
"""Faults that are printed; `--json` has a thousand."""

shop_commands = typer.Typer(no_args_is_help=True, help="The register of shops.")
permit_commands = typer.Typer(no_args_is_help=True, help="Permits: dated exceptions.")
grid_commands = typer.Typer(no_args_is_help=True, help="The municipal unit grid.")
camera_commands = typer.Typer(no_args_is_help=True, help="Where cameras are.")

FileArgument = Annotated[Path, typer.Argument(help="CSV or XLSX", show_default=False)]
DryOption = Annotated[bool, typer.Option("--dry-run", help="only say what would become of it")]
EncodingOption = Annotated[str | None, typer.Option(help="of a CSV: utf-8, gb18030 or utf-16; default: found out")]
ReasonOption = Annotated[str, typer.Option(help="why, for the history")]
SetOption = Annotated[list[str], typer.Option("--set", help="FIELD=TEXT, any number of times", show_default=False)]
SeenOption = Annotated[int | None, typer.Option(help="refuse if there is a newer revision than this")]
StreetOption = Annotated[str | None, typer.Option(help="only this street")]
HeadingOption = Annotated[bool, typer.Option("--english", help="English headings")]


@contextlib.contextmanager
def _open(settings: Path) -> Iterator[tuple[CenterConfig, Store]]:
    with open_center(settings) as opened:
        try:
            yield opened
        except PlacesError as fault:
            for one in fault.faults:
                typer.echo(str(one), err=True)
            raise typer.Exit(EXIT_UNUSABLE) from None


def _author(reason: str = "") -> Author:
    return Author(system(), now_ms(), reason)


def _around(config: CenterConfig, author: Author) -> Around:
    return Around(config.settings.center.region, author.at_ms)


def _content(file: Path, limit: int) -> bytes:
    try:
        with file.open("rb") as opened:
            # a byte more than is taken is enough to refuse it
            return opened.read(limit + 1)
    except OSError as fault:
        raise SettingsError(f"{file}: expected a file that can be read, got: {fault.strerror}") from None


def _tell(report: Report, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(report.as_json(), ensure_ascii=False))
    else:
        _tell_faults("", report.faults)
        _tell_faults("注意 note: ", report.warnings)
        done = "试运行 dry run" if report.dry_run else "已导入 imported" if report.good else "未导入 nothing imported"
        typer.echo(
            f"{done}: {report.how or '—'}; {report.rows} 行 rows, 新增 added {report.added}, "
            f"更改 changed {report.changed}, 未变 unchanged {report.unchanged}, "
            f"错误 faults {len(report.faults)}, 注意 notes {len(report.warnings)}"
        )
    if not report.good:
        raise typer.Exit(EXIT_FAILED)


def _tell_faults(prefix: str, faults: Sequence[Fault]) -> None:
    for one in faults[:SHOWN]:
        typer.echo(f"{prefix}{one}", err=True)
    if len(faults) > SHOWN:
        typer.echo(f"{prefix}… +{len(faults) - SHOWN}", err=True)


def _set(kind: Kind[Any], key: dict[str, object], given: Sequence[str], settings: Path, **how: Any) -> None:
    values = dict(key)
    for one in given:
        name, sign, text = one.partition("=")
        if not sign:
            raise typer.BadParameter(f"expected FIELD=TEXT, got {one!r}; fields: {', '.join(_fields(kind.columns))}")
        values[name.strip()] = text
    with _open(settings) as (config, store):
        author = _author(str(how.pop("reason", "")))
        with store.writing() as session:
            found, warnings = change(session, kind, values, author, _around(config, author), **how)
        _tell_faults("注意 note: ", warnings)
    typer.echo(f"{kind.name} {found.key}: revision {found.revision}")


def _only(street: str | None) -> list[str] | None:
    return None if street is None else [street]


def _fields(columns: Sequence[Column]) -> list[str]:
    return [column.field for column in columns]


def _show(records: Sequence[Any], kind: Kind[Any], names: Sequence[str], as_json: bool) -> None:
    by_name = {column.field: column for column in kind.columns}
    if as_json:
        rows = [
            {name: column.text(getattr(one, name)) for name, column in by_name.items()} | {"revision": one.revision}
            for one in records
        ]
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    for one in records:
        typer.echo("\t".join(by_name[name].text(getattr(one, name)) or "-" for name in names))


Listed = Callable[..., Sequence[Any]]
"""Records of a kind; takes `streets`."""


def _add_files(commands: typer.Typer, kind: Kind[Any], listed: Listed, plural: str) -> None:
    @commands.command(
        "import", help=f"Take a list of {plural}, all of it or nothing; exits with 0 if it was taken, 1 if not."
    )
    def import_(
        file: FileArgument,
        settings: SettingsOption,
        *,
        dry_run: DryOption = False,
        encoding: EncodingOption = None,
        as_json: JsonOption = False,
    ) -> None:
        with _open(settings) as (config, store):
            author = _author(file.name)
            content = _content(file, MAX_BYTES)
            with store.writing() as session:
                around = _around(config, author)
                report = import_file(session, kind, content, author, around, dry_run=dry_run, encoding=encoding)
            _tell(report, as_json)

    @commands.command(help=f"Write all {plural}, so that `import` takes them as they are.")
    def export(
        file: Annotated[Path, typer.Argument(help="NAME.xlsx or NAME.csv", show_default=False)],
        settings: SettingsOption,
        *,
        street: StreetOption = None,
        english: HeadingOption = False,
    ) -> None:
        with _open(settings) as (_, store):
            with store.transaction() as session:
                rows = export_rows(kind, listed(session, streets=_only(street)), chinese=not english)
            content = write_workbook(rows, kind.zh) if file.suffix.lower() == ".xlsx" else write_csv(rows)
            with store.writing() as session:
                detail = {"rows": len(rows) - 1}
                record(session, system(), f"{kind.name}.exported", f"{kind.name}/*", detail, now_ms())
            try:
                file.write_bytes(content)
            except OSError as fault:
                raise SettingsError(f"{file}: expected a file that can be written, got: {fault.strerror}") from None
            typer.echo(f"{file}: {len(rows) - 1}")


def _add_changes(commands: typer.Typer, kind: Kind[Any], example: str) -> None:
    """Of a kind whose key is one field."""
    (key,) = kind.key
    which = Annotated[str, typer.Argument(help=f"a {kind.name}'s {key}", metavar=key.upper(), show_default=False)]

    @commands.command(help=f"Enter a {kind.name}: `{kind.name}s add {example}`.")
    def add(of: which, settings: SettingsOption, given: SetOption, *, reason: ReasonOption = "") -> None:
        _set(kind, {key: of}, given, settings, new=True, reason=reason)

    @commands.command(help=f"Change fields of a {kind.name}; what it was before stays in its history.")
    def change(
        of: which, settings: SettingsOption, given: SetOption, *, reason: ReasonOption = "", seen: SeenOption = None
    ) -> None:
        _set(kind, {key: of}, given, settings, new=False, reason=reason, seen=seen)

    @commands.command("history", help=f"Who changed what of a {kind.name}, when and why, newest first.")
    def history_(of: which, settings: SettingsOption, *, as_json: JsonOption = False) -> None:
        with _open(settings) as (_, store), store.transaction() as session:
            found = history(session, kind.name, of)
        if not found:
            typer.echo(f"{kind.name} {of}: 没有记录 / nothing is known of it", err=True)
            raise typer.Exit(EXIT_FAILED)
        if as_json:
            typer.echo(json.dumps(found, ensure_ascii=False))
            return
        for one in found:
            reason = f" ({one['reason']})" if one["reason"] else ""
            typer.echo(f"{one['revision']}: {one['action']} {one['at']} {one['by']}{reason}")
            for name, (before, after) in one["changed"].items():
                typer.echo(f"   {name}: {before or '-'} -> {after or '-'}")


_add_files(shop_commands, SHOPS, shops.listed, "shops")
_add_files(permit_commands, PERMITS, permits.listed, "permits")
_add_files(camera_commands, CAMERAS, cameras.listed, "cameras")
_add_changes(shop_commands, SHOPS, "tea-12 --set name=… --set street=… --set zones=box-0001/cam-1/front")
_add_changes(permit_commands, PERMITS, "7 --set issuer=… --set shop=… --set from_day=… --set until_day=… --set hours=…")

ShopArgument = Annotated[str, typer.Argument(help="a shop's id", show_default=False)]


@shop_commands.command("list")
def list_shops(
    settings: SettingsOption,
    *,
    street: StreetOption = None,
    closed: Annotated[bool, typer.Option("--closed", help="closed ones as well")] = False,
    as_json: JsonOption = False,
) -> None:
    """List shops."""
    with _open(settings) as (_, store), store.transaction() as session:
        found = shops.listed(session, streets=_only(street), state=None if closed else shops.ACTIVE)
    _show(found, SHOPS, ("id", "state", "street", "name", "address", "owner", "phone", "zones"), as_json)


@shop_commands.command("close")
def close_shop(shop: ShopArgument, settings: SettingsOption, *, reason: ReasonOption = "") -> None:
    """Say that a shop is there no more; its zones are free for another."""
    _set(SHOPS, {"id": shop}, [f"state={shops.CLOSED}"], settings, new=False, reason=reason)


@shop_commands.command("forget")
def forget_shop(shop: ShopArgument, settings: SettingsOption, *, reason: ReasonOption = "") -> None:
    """Delete names and numbers of a closed shop's people, from its history too."""
    with _open(settings) as (config, store):
        author = _author(reason)
        with store.writing() as session:
            found = shops.forget(session, shop, author, _around(config, author))
    typer.echo(f"shop {found.id}: revision {found.revision}")


@shop_commands.command("check")
def check_shops(settings: SettingsOption, *, as_json: JsonOption = False) -> None:
    """List zones of which the register and the boxes' settings do not say the same; exits with 1 if there are any."""
    with _open(settings) as (_, store), store.transaction() as session:
        found = standing.disagreements(session)
    if as_json:
        typer.echo(json.dumps([vars(one) for one in found], ensure_ascii=False))
    else:
        for one in found:
            said = f"settings: {one.settings or '-'}\tregister: {one.register or '-'}"
            typer.echo(f"{one.street}\t{one.zone}\t{one.code}\t{said}")
    if found:
        raise typer.Exit(EXIT_FAILED)


@permit_commands.command("withdraw")
def withdraw_permit(
    permit: Annotated[str, typer.Argument(help="a permit's number", show_default=False)],
    settings: SettingsOption,
    *,
    reason: ReasonOption = "",
) -> None:
    """Withdraw a permit from now on, for good."""
    _set(PERMITS, {"number": permit}, [f"state={permits.WITHDRAWN}"], settings, new=False, reason=reason)


@permit_commands.command("list")
def list_permits(
    settings: SettingsOption,
    *,
    street: StreetOption = None,
    shop: Annotated[str | None, typer.Option(help="only this shop's")] = None,
    everything: Annotated[bool, typer.Option("--all", help="those that are over or withdrawn as well")] = False,
    as_json: JsonOption = False,
) -> None:
    """List permits that are good today."""
    with _open(settings) as (config, store), store.transaction() as session:
        today = datetime.now(ZoneInfo(config.settings.center.timezone)).date()
        state, on = (None, None) if everything else (permits.ACTIVE, today)
        found = permits.listed(session, streets=_only(street), shop=shop, on=on, state=state)
    names = ("number", "state", "issuer", "shop", "zones", "from_day", "until_day", "weekdays", "hours", "excluded")
    _show(found, PERMITS, names, as_json)


@grid_commands.command("import")
def import_grid_(
    file: Annotated[Path, typer.Argument(help="GeoJSON, WGS84", show_default=False)],
    settings: SettingsOption,
    *,
    replace_all: Annotated[bool, typer.Option("--replace", help="cells that are not in it are retired")] = False,
    code: Annotated[str | None, typer.Option(help="the property that holds the code")] = None,
    dry_run: DryOption = False,
    as_json: JsonOption = False,
) -> None:
    """Take cells of the unit grid, all or none; exits with 0 if they were taken, 1 if not."""
    with _open(settings) as (config, store):
        author = _author(file.name)
        content = _content(file, grid.MAX_BYTES)
        with store.writing() as session:
            report = grid.import_grid(
                session,
                content,
                author,
                _around(config, author),
                replace_all=replace_all,
                code_name=code,
                dry_run=dry_run,
            )
        _tell(report, as_json)


@grid_commands.command("list")
def list_grid(
    settings: SettingsOption,
    *,
    as_geojson: Annotated[bool, typer.Option("--geojson", help="print what `import` takes")] = False,
) -> None:
    """List cells: code, name, area in m²."""
    with _open(settings) as (_, store), store.transaction() as session:
        rows = grid.listed(session)
        if as_geojson:
            features = [grid.feature(row) for row in rows]
            typer.echo(json.dumps({"type": "FeatureCollection", "features": features}, ensure_ascii=False))
            return
        for row in rows:
            typer.echo(f"{row.code}\t{row.name or '-'}\t{row.area_m2:.0f}")


@grid_commands.command("where", context_settings={"ignore_unknown_options": True})
def where(
    lon: Annotated[float, typer.Argument(help="degrees east, WGS84", show_default=False)],
    lat: Annotated[float, typer.Argument(help="degrees north, WGS84", show_default=False)],
    settings: SettingsOption,
) -> None:
    """Say which cell a position is in, and where a Chinese map shows it; exits with 1 outside all cells."""
    with _open(settings) as (_, store), store.transaction() as session:
        rows = list(grid.cells_at(session, lon, lat))
    for row in rows:
        typer.echo(f"{row.code}\t{row.name or '-'}")
    typer.echo(map_url(lon, lat, rows[0].code if rows else "?"), err=True)
    if not rows:
        typer.echo("不在任何单元网格内 / in no cell", err=True)
        raise typer.Exit(EXIT_FAILED)


@camera_commands.command("set", context_settings={"ignore_unknown_options": True})
def set_camera(
    box: Annotated[str, typer.Argument(help="a box's id", show_default=False)],
    camera: Annotated[str, typer.Argument(help="a camera's id", show_default=False)],
    settings: SettingsOption,
    given: SetOption,
    *,
    reason: ReasonOption = "",
    seen: SeenOption = None,
) -> None:
    """Say where a camera is: `cameras set box-0001 cam-1 --set lon=120.13 --set lat=30.31 --set gb28181=3301…`."""
    _set(CAMERAS, {"box": box, "camera": camera}, given, settings, reason=reason, seen=seen)


@camera_commands.command("list")
def list_cameras(settings: SettingsOption, *, street: StreetOption = None, as_json: JsonOption = False) -> None:
    """List cameras, each with its cell of the unit grid."""
    with _open(settings) as (_, store), store.transaction() as session:
        found = cameras.listed(session, streets=_only(street))
        cells = [cameras.cell_of(session, one) or "" for one in found]
    if as_json:
        _show(found, CAMERAS, (), as_json=True)
        return
    for one, cell in zip(found, cells, strict=True):
        place = "-" if one.lon is None else f"{one.lon} {one.lat}"
        typer.echo("\t".join((one.key, one.gb28181 or "-", place, cell or "-", one.name or "-")))

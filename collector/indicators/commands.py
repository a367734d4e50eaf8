"""`cityeye-collector indicators [show | rebuild]` and `cityeye-collector report`."""

from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo

import typer
from rich.console import Console
from rich.table import Table

from collector.commandline import EXIT_UNUSABLE, SettingsOption, now_ms, one_line, open_center, open_data
from collector.indicators import keeping
from collector.indicators.apart import NONE, apart
from collector.indicators.definitions import BY, COUNTS, MINUTES, SHARES
from collector.indicators.figures import Figures, Loaded, Period
from collector.indicators.report import as_pdf, as_workbook, gather, month_of
from collector.papers.typefaces import typeface
from collector.settings import load_settings

indicators = typer.Typer(no_args_is_help=True, help="Indicators of tickets.")
WIDE: Final = 200
DayOption = Annotated[str, typer.Option("--day", help="2026-10-31", show_default=False)]
MonthOption = Annotated[str, typer.Option("--month", help="2026-10", show_default=False)]
StreetOption = Annotated[list[str] | None, typer.Option("--street", help="several may be given; without: all")]


def _days(day: str, month: str, today: date) -> tuple[date, date]:
    if day and month:
        raise typer.BadParameter("expected --day or --month, got both")
    try:
        if day:
            return date.fromisoformat(day), date.fromisoformat(day)
        return month_of(date.fromisoformat(f"{month}-01") if month else today)
    except ValueError:
        asked = day or month
        raise typer.BadParameter(
            f"expected a day such as 2026-10-31 or a month such as 2026-10, got {asked!r}"
        ) from None


@indicators.command()
def show(
    settings: SettingsOption, day: DayOption = "", month: MonthOption = "", by: str = "", street: StreetOption = None
) -> None:
    """Show the indicators of a day or a month (without: this one), taken apart `--by` shop, hour, …."""
    if by and by not in BY:
        raise typer.BadParameter(f"expected one of {', '.join(BY)}, got {by!r}", param_hint="--by")
    with open_center(settings) as (config, store), store.reading() as session:
        zone = ZoneInfo(config.settings.center.timezone)
        first, last = _days(day, month, datetime.now(zone).date())
        loaded = Loaded(session, Period(first, last, tuple(street or keeping.streets(session)), zone), now_ms())
        found = {"": ("", loaded.whole())} if not by else apart(session, loaded, by)
    table = Table(title=f"{first} – {last}")
    table.add_column("")
    names = [name or "（无）" if key == NONE and by else name for key, (name, _) in found.items()]
    for name in names:
        table.add_column(name, justify="right")
    for indicator in (*COUNTS, *SHARES, *MINUTES):
        cells = (_cell(figures, indicator.name) for _, figures in found.values())
        table.add_row(f"{indicator.words[0]} {indicator.words[1]}", *cells)
    Console(width=max(WIDE, 60 + 20 * len(found))).print(table)


def _cell(figures: Figures, name: str) -> str:
    if name in figures.counts:
        return str(figures.counts[name])
    if name in figures.shares:
        part = figures.shares[name]
        return "–" if part.value is None else f"{part.value:.1%} ({part.part}/{part.whole})"
    spread = figures.minutes[name]
    if spread.median is None or spread.p90 is None:
        return "–"
    return f"{spread.median:.1f} / {spread.p90:.1f} min ({spread.tickets})"


@indicators.command()
def rebuild(settings: SettingsOption) -> None:
    """Work out anew, from all time lines, what indicators are made of, and pack all days anew."""
    with open_center(settings) as (config, store):
        done = changed = 0
        for count, differed in keeping.work_out(store, every=True):
            done, changed = done + count, changed + differed
        zone = ZoneInfo(config.settings.center.timezone)
        packed = keeping.pack(store, zone, datetime.now(zone).date(), every=True)
    typer.echo(f"{done} tickets, of {changed} something else was kept; {packed} days packed")


def report(
    settings: SettingsOption,
    output: Annotated[Path, typer.Option("-o", "--output", help="a .pdf or .xlsx")],
    day: DayOption = "",
    month: MonthOption = "",
    street: StreetOption = None,
    language: str = "",
) -> None:
    """Write the report of a day or a month (without: this one)."""
    kind = output.suffix.lower()
    if kind not in (".pdf", ".xlsx"):
        raise typer.BadParameter(f"expected a name that ends in .pdf or .xlsx, got {output.name}", param_hint="-o")
    if language not in ("", "zh", "en"):
        raise typer.BadParameter(f"expected zh or en, got {language!r}", param_hint="--language")
    with one_line():
        config = load_settings(settings)
        center = config.settings.center
        face = typeface(config.typeface)
        store, zone = open_data(config), ZoneInfo(center.timezone)
    first, last = _days(day, month, datetime.now(zone).date())
    with store.reading() as session:
        period = Period(first, last, tuple(street or keeping.streets(session)), zone)
        found = gather(session, center.name, period, now_ms())
    store.close()
    said: Literal["zh", "en"] = "en" if (language or config.settings.reports.language) == "en" else "zh"
    try:
        output.write_bytes(as_pdf(found, face, said) if kind == ".pdf" else as_workbook(found, said))
    except OSError as fault:
        typer.echo(f"cityeye-collector: {output}: expected a file that can be written, got: {fault.strerror}", err=True)
        raise typer.Exit(EXIT_UNUSABLE) from None
    typer.echo(f"{output}: {first} – {last}, {found.whole.counts['reported']} tickets")

"""What statistics show, as tables of cells: the page, the workbook and the paper are made from the same."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any, Final

from babel.dates import format_skeleton
from sqlalchemy.orm import Session

from collector.indicators import footfall, statistics
from collector.indicators.definitions import BY, COUNTS, MINUTES, SHARES, WEEKDAYS, Count, Minutes, Share
from collector.indicators.figures import Figures, Loaded
from collector.indicators.packs import day_start_ms
from collector.indicators.statistics import INDICATORS, NONE, SPLITS, Choice, Stretch, Way
from collector.places import shops
from collector.web import words
from collector.web.language import N_, Words
from collector.web.plots import Bar, Plot, plot
from collector.web.reader import Reader

MOST_ROWS: Final = 50
"""Of a group on the page and in the paper; the workbook has all."""
LEVELS: Final = 4
HOURS: Final = 24
HEADS: Final = {
    Count: (N_("Tickets"),),
    Share: (N_("Share"), N_("Tickets"), N_("of")),
    Minutes: (N_("Median, min"), N_("90th percentile, min"), N_("Tickets")),
}
FORMS: Final = {Count: ("0",), Share: ("0.0%", "0", "0"), Minutes: ("0.0", "0.0", "0")}
LACKS: Final = {
    "before": N_("no data: before the first ticket"),
    "after": N_("yet to come"),
    "never": N_("the clock leaves this hour out"),
}
Indicator = Count | Share | Minutes
Link = Callable[..., str]
"""Address of the list of tickets behind a number: which indicator, whether its whole, and what is narrowed."""


@dataclass(frozen=True)
class Cell:
    """A number.

    Args:
        value: as the workbook has it; None: there is none.
        text: as it is read.
        link: to the tickets behind it.
        level: of a heat map, 0 is nothing, up to LEVELS.
        lacks: there are no data of it.
        title: of how many tickets it is, where that stands nowhere else.
    """

    value: float | str | None
    text: str
    link: str | None = None
    level: int = 0
    lacks: bool = False
    title: str = ""


@dataclass(frozen=True)
class Row:
    """Numbers of one thing.

    Args:
        note: what is to be known of it.
        link: leads to what its name says.
        bar: percent of the longest.
    """

    name: str
    cells: tuple[Cell, ...]
    note: str = ""
    link: str | None = None
    bar: float | None = None
    said: str = ""


@dataclass(frozen=True)
class Table:
    """Rows under one head.

    Args:
        forms: of the columns in a workbook.
        key: which table it is.
    """

    key: str
    title: str
    head: tuple[str, ...]
    rows: tuple[Row, ...]
    forms: tuple[str, ...]


@dataclass(frozen=True)
class View:
    """All that is shown.

    Args:
        overview: of counts, shares and minutes.
        time: None where nothing was.
    """

    overview: tuple[Table, ...]
    time: Table | None = None
    plot: Plot | None = None
    heat: Table | None = None
    groups: tuple[Table, ...] = ()
    repeats: Table | None = None
    footfall: Table | None = None
    strips: tuple[Plot, ...] = ()

    @property
    def tables(self) -> list[Table]:
        """In their order."""
        more = (self.time, self.heat, *self.groups, self.repeats, self.footfall)
        return [*self.overview, *(one for one in more if one is not None)]


@dataclass(frozen=True)
class Teller:
    """Writes numbers for a reader, each with its way to the tickets behind it."""

    reader: Reader
    one: Indicator
    link: Link

    def say(self, text: object) -> str:
        """In the reader's language."""
        return self.reader.say(text)

    def of(self, pair: tuple[str, str]) -> str:
        """One of two."""
        return self.say(Words(*pair))

    @property
    def name(self) -> str:
        """Of the indicator."""
        return big(self.of(self.one.words))

    def cells(self, figures: Figures, one: Indicator | None = None, /, **narrow: object) -> tuple[Cell, ...]:
        """What an indicator comes to; its first cell is the one that is plotted."""
        one = one or self.one
        if isinstance(one, Count):
            return (self._count(figures.counts[one.name], self.link(one.name, **narrow)),)
        if isinstance(one, Share):
            part = figures.shares[one.name]
            whole = self.link(one.name, whole=True, **narrow)
            counts = self._count(part.part, self.link(one.name, **narrow)), self._count(part.whole, whole)
            return (Cell(part.value, self.percent(part.value), whole if part.whole else None), *counts)
        spread, link = figures.minutes[one.name], self.link(one.name, **narrow)
        linked = link if spread.tickets else None
        times = (Cell(value, self.minutes(value), linked) for value in (spread.median, spread.p90))
        return (*times, self._count(spread.tickets, link))

    def _count(self, count: int, link: str) -> Cell:
        return Cell(count, self.reader.number(count), link if count else None)

    def percent(self, share: float | None) -> str:
        """To a tenth, as in reports."""
        return "–" if share is None else f"{share:.1%}"

    def minutes(self, value: float | None) -> str:
        """To a tenth."""
        return "–" if value is None else f"{value:,.1f}"

    def short(self, cell: Cell) -> str:
        """Above a bar, or in a cell of the heat map."""
        if cell.value is None or isinstance(cell.value, str):
            return ""
        if isinstance(self.one, Share):
            return f"{cell.value:.0%}"
        return cell.text if isinstance(self.one, Count) or cell.value < 10 else f"{cell.value:.0f}"

    def day(self, day: date, *, year: bool = False) -> str:
        """As short as it goes."""
        return str(format_skeleton("yMMMd" if year else "MMMd", day, locale=self.reader.locale))

    def table(self, key: str, title: str, first: str, rows: Iterable[Row]) -> Table:
        """Of the indicator's numbers."""
        kind = type(self.one)
        return Table(key, title, (first, *map(self.say, HEADS[kind])), tuple(rows), FORMS[kind])


def overview(tell: Teller, whole: Figures, address: Callable[[str], str]) -> tuple[Table, ...]:
    """All indicators; the name of each leads to its plots."""
    found = []
    for title, every in ((N_("Counts"), COUNTS), (N_("Shares"), SHARES), (N_("Minutes from appearance"), MINUTES)):
        kind = type(every[0])
        rows = [
            Row(big(tell.of(one.words)), tell.cells(whole, one), link=address(one.name), said=one.name) for one in every
        ]
        head = (tell.say(N_("Indicator")), *map(tell.say, HEADS[kind]))
        found.append(Table(kind.__name__.lower(), tell.say(title), head, tuple(rows), FORMS[kind]))
    return tuple(found)


def over_time(tell: Teller, by: str, parts: Sequence[Stretch], found: Mapping[str, Figures]) -> tuple[Table, Plot]:
    """The table of hours, days or weeks, and its plot."""
    rows, bars, ticks = [], [], []
    many_years = parts[0].first.year != parts[-1].last.year
    for index, part in enumerate(parts):
        narrow: dict[str, Any] = {"first": part.first, "last": part.last, "hour": part.hour}
        cells = tell.cells(found[part.key], **narrow)
        note = "" if part.whole else tell.say(N_("not whole"))
        if part.lacks:
            cells, note = tuple(Cell(None, "–") for _ in cells), tell.say(LACKS[part.lacks])
        name = f"{part.hour:02}:00" if part.hour is not None else tell.day(part.first, year=many_years)
        if by == "week" and part.last != part.first:
            name = f"{name} – {tell.day(part.last, year=many_years)}"
        rows.append(Row(name, cells, note, said=name.partition(" – ")[0]))
        said = f"{name}: {cells[0].text}" + (
            f" ({cells[1].text} / {cells[2].text})" if isinstance(tell.one, Share) else ""
        )
        value, mark = cells[0].value, cells[1].value if isinstance(tell.one, Minutes) else None
        bars.append(
            Bar(
                f"{said} · {note}" if note else said,
                value if not isinstance(value, str) else None,
                tell.short(cells[0]),
                cells[0].link,
                mark if not isinstance(mark, str) else None,
                part=not part.whole,
                lacks=bool(part.lacks),
            )
        )
        ticks += _tick(tell, by, index, part, parts[index - 1] if index else None)
    title = {"hour": N_("By hour of appearance"), "day": N_("Day by day"), "week": N_("Week by week")}[by]
    first = {"hour": N_("Hour"), "day": N_("Day"), "week": N_("Week")}[by]
    table = tell.table("time", tell.say(title), tell.say(first), rows)
    top, least = (1, 0) if isinstance(tell.one, Share) else (None, 1 if isinstance(tell.one, Count) else 0)
    return table, plot(bars, ticks, top=top, least=least)


def _tick(tell: Teller, by: str, index: int, part: Stretch, before: Stretch | None) -> list[tuple[int, str, bool]]:
    """What stands under a bar: hours, days with the month where one begins, or months."""
    if part.hour is not None:
        return [(index, f"{part.hour}", part.hour % 6 == 0)]
    begins = before is None or before.last.month != part.last.month
    if by == "day":
        return [(index, tell.day(part.first) if begins else str(part.first.day), begins)]
    if not begins:
        return []
    new = before is not None and before.last.year != part.last.year  # the year stands where it begins
    return [(index, str(format_skeleton("y" if new else "MMM", part.last, locale=tell.reader.locale)), new)]


def heat(tell: Teller, loaded: Loaded, seen: Sequence[date]) -> Table:
    """Hours down, days of the week across, and both sums; `seen`: the days of which there are data."""
    only, is_share = (tell.one.name,), isinstance(tell.one, Share)
    cells, by_hour, by_weekday = loaded.by_weekday_hour(only), loaded.by_hour(only), loaded.by_weekday(only)
    there = {day.weekday() for day in seen}
    every = {key: tell.cells(one, weekday=int(key[0]) - 1, hour=int(key[2:])) for key, one in cells.items()}
    first = {
        key: replace(several[0], title=" / ".join(one.text for one in several[1:][-2 if is_share else -1 :]))
        for key, several in every.items()
    }
    most = max((cell.value for cell in first.values() if isinstance(cell.value, int | float)), default=0)

    def shown(cell: Cell, day: int) -> Cell:
        if day not in there:
            return Cell(None, "", lacks=True)
        value = cell.value if isinstance(cell.value, int | float) else 0
        level = 0 if not value or not most else min(LEVELS, 1 + int(value / most * LEVELS - 1e-9))
        return replace(cell, text=short(cell), level=level)

    def short(cell: Cell) -> str:
        """Without its unit, for which a phone has no room."""
        return tell.short(cell).rstrip("%")

    rows = []
    for hour in range(HOURS):
        own = [shown(first[f"{day + 1}-{hour:02}"], day) for day in range(7)]
        sum_of = tell.cells(by_hour[f"{hour:02}"], hour=hour)[0]
        rows.append(Row(f"{hour:02}", (*own, Cell(sum_of.value, short(sum_of), sum_of.link))))
    sums = [tell.cells(by_weekday[str(day + 1)], weekday=day)[0] for day in range(7)]
    sums = [Cell(one.value, short(one), one.link, lacks=day not in there) for day, one in enumerate(sums)]
    whole = tell.cells(loaded.whole(only))[0]
    rows.append(Row(tell.say(N_("All")), (*sums, Cell(whole.value, short(whole), whole.link))))
    days = [tell.of(one) if tell.reader.language == "zh" else one[1][:3] for one in WEEKDAYS]
    head = (tell.say(N_("Hour")), *days, tell.say(N_("All")))
    unit = tell.say(HEADS[type(tell.one)][0]) if isinstance(tell.one, Minutes) else "%"
    title = tell.say(N_("By weekday and hour of appearance"))
    title = title if isinstance(tell.one, Count) else f"{title} · {unit}"
    return Table("heat", title, head, tuple(rows), (FORMS[type(tell.one)][0],) * 8)


def groups(
    tell: Teller, loaded: Loaded, every: Mapping[str, Way], names: Mapping[str, Mapping[str, str]], address: Link
) -> tuple[Table, ...]:
    """By street, category, cell, shop and camera, those with the most first; what is one alone is left out."""
    found = []
    for by in SPLITS:
        parts = loaded.by_spot(every[by].keys, (tell.one.name,))
        if (by == "street" and len(parts) < 2) or parts.keys() <= {NONE}:
            continue
        drawn = {key: tell.cells(one, **{by: key}) for key, one in parts.items()}
        # of shares and minutes those of many tickets first: of few they say little
        order = sorted(drawn, key=lambda key: (-_weight(drawn[key]), key))
        values = [cells[0].value for cells in drawn.values() if isinstance(cells[0].value, int | float)]
        most = 1 if isinstance(tell.one, Share) else max(values, default=0)
        rows = [
            Row(
                name_of(tell, names, by, key),
                drawn[key],
                link=address(**{by: key}),
                bar=round(100 * float(drawn[key][0].value or 0) / most, 2) if most else 0,
                said=key,
            )
            for key in order
        ]
        found.append(
            tell.table(by, tell.say(N_("By %(what)s")) % {"what": tell.of(BY[by])}, big(tell.of(BY[by])), rows)
        )
    return tuple(found)


def _weight(cells: Sequence[Cell]) -> float:
    value = cells[-1].value
    return value if isinstance(value, int | float) else 0


def big(text: str) -> str:
    """With a capital letter."""
    return text[:1].upper() + text[1:]


def name_of(tell: Teller, names: Mapping[str, Mapping[str, str]], by: str, key: str) -> str:
    """What a group is called."""
    if key == NONE:
        return tell.say(N_("none"))
    return tell.say(words.rule(key)) if by == "category" else names[by].get(key, key)


def names_for(
    session: Session, loaded: Loaded, every: Mapping[str, Way], own: frozenset[str] | None
) -> dict[str, Mapping[str, str]]:
    """Names by key; shops' only of the streets where somebody may read the register (None: all)."""
    known = shops.find_all(session, {spot.shop for spot in loaded.spots if spot.shop is not None})
    told = {one.id: one.name for one in known.values() if own is None or one.street in own}
    return {by: told if by == "shop" else way.names for by, way in every.items()}


def repeats(tell: Teller, loaded: Loaded, names: Mapping[str, Mapping[str, str]], within_days: int) -> Table:
    """Shops, and places without one, where something was there again."""
    rows = []
    for one in statistics.repeats(loaded, within_days):
        spot = loaded.spots[one.index]
        name = names["shop"].get(spot.shop, spot.shop) if spot.shop else spot.key
        links = {"place": one.place}
        again = Cell(one.again, tell.reader.number(one.again), tell.link("reported", again=within_days, **links))
        cases = Cell(one.cases, tell.reader.number(one.cases), tell.link("confirmed", **links))
        rows.append(Row(f"{name} · {tell.say(words.rule(spot.rule))}", (again, cases)))
    title = tell.say(N_("Again within %(days)d days")) % {"days": within_days}
    head = (tell.say(N_("Shop or place")), tell.say(N_("Again")), big(tell.of(INDICATORS["confirmed"].words)))
    return Table("repeats", title, head, tuple(rows), ("0", "0"))


def people(tell: Teller, session: Session, loaded: Loaded, choice: Choice) -> tuple[Table, tuple[Plot, ...]] | None:
    """Footfall by zone, and each zone's day; None where shops, cells or categories are asked for, which it has not."""
    if choice.shop or choice.grid or choice.category:
        return None
    period = loaded.period
    from_ms = day_start_ms(period.first, period.zone)
    until_ms = day_start_ms(period.last + timedelta(days=1), period.zone)
    zones = footfall.of_period(session, period.streets, from_ms, until_ms, period.zone)
    zones = [one for one in zones if choice.camera in ("", f"{one.box}/{one.camera}")]
    if not zones:
        return None
    rows, strips = [], []
    top = max((mean for one in zones for mean in one.hours if mean is not None), default=0)
    for one in zones:
        busiest = max((mean, -hour) for hour, mean in enumerate(one.hours) if mean is not None)
        rows.append(
            Row(
                f"{one.box}/{one.camera}/{one.zone}",
                (
                    Cell(one.mean, tell.minutes(one.mean)),
                    Cell(one.most, f"{'≥ ' if one.lower_bound else ''}{tell.reader.number(one.most)}"),
                    Cell(f"{-busiest[1]:02}:00", f"{-busiest[1]:02}:00"),
                    *(Cell(mean, tell.minutes(mean)) for mean in one.hours),
                ),
            )
        )
        bars = [
            Bar(f"{hour:02}:00: {tell.minutes(mean)}", mean, lacks=mean is None) for hour, mean in enumerate(one.hours)
        ]
        strips.append(plot(bars, [(hour, str(hour), True) for hour in (0, 6, 12, 18)], top=top or 1))
    head = (N_("Zone"), N_("Mean"), N_("Most"), N_("Busiest hour"))
    hours = tuple(f"{hour:02}" for hour in range(HOURS))
    forms = ("0.0", "0", "", *("0.0",) * HOURS)
    return Table("footfall", tell.say(N_("Footfall")), (*map(tell.say, head), *hours), tuple(rows), forms), tuple(
        strips
    )


def known(names: Mapping[str, Mapping[str, str]], every: Mapping[str, Way], tell: Teller) -> dict[str, dict[str, str]]:
    """What can be chosen of each: key and name, by name."""
    found = {}
    for by in SPLITS:
        named = {key: name_of(tell, names, by, key) for key in dict.fromkeys(every[by].keys)}
        found[by] = dict(sorted(named.items(), key=lambda one: (one[0] == NONE, one[1])))
    return found


def indicator(name: str) -> Indicator:
    """By its name; the first where there is none of it."""
    return INDICATORS.get(name, COUNTS[0])

"""Reports of a day or a month, as PDF and as a workbook."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final, Literal

from sqlalchemy.orm import Session

from collector.indicators import footfall
from collector.indicators.apart import NONE, apart
from collector.indicators.definitions import BY, COUNTS, MINUTES, SHARES
from collector.indicators.figures import Figures, Loaded, Part, Period
from collector.indicators.footfall import ZoneFall
from collector.indicators.packs import day_start_ms
from collector.papers.pdf import Paper
from collector.papers.sheet import PERCENT, Page, Value, write_book

Language = Literal["zh", "en"]
MOST: Final = 20
"""Shops and cameras in a PDF, those with the most confirmed first; a workbook has all."""
APART: Final = ("street", "category", "grid", "shop", "camera")
SHOWN: Final = ("reported", "confirmed", "valid_rate", "self_corrected_rate", "soft_rate", "registered", "in_time_rate")
SHOWN_MINUTES: Final = ("to_notice", "to_clear")
WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "day": ("指标日报", "Indicators of the day"),
    "month": ("指标月报", "Indicators of the month"),
    "days": ("指标", "Indicators"),
    "period": ("期间", "Period"),
    "streets": ("街道", "Streets"),
    "as_of": ("截至", "As of"),
    "overview": ("总览", "Overview"),
    "indicator": ("指标", "Indicator"),
    "value": ("数值", "Value"),
    "of": ("件数", "Tickets"),
    "formula": ("计算方法", "Formula"),
    "silent": ("不说明什么", "What it does not say"),
    "median": ("中位数（分）", "Median (min)"),
    "p90": ("第 90 百分位（分）", "90th percentile (min)"),
    "hours": ("各时段出现的件数", "Tickets by hour of appearance"),
    "days_plot": ("每日件数", "Tickets by day"),
    "rates_plot": ("每日比率", "Shares by day"),
    "by": ("按{0}", "By {0}"),
    "most": ("有效件最多的 {0} 个；其余见工作簿", "the {0} with the most confirmed; all are in the workbook"),
    "none": ("（无）", "(none)"),
    "footfall": ("人流", "Footfall"),
    "footfall_says": (
        "各区域人数的平均值与最大值，每 15 分钟一个值；是同时在场的人数，不是经过的人数；带 ≥ 的为下限。",
        (
            "Mean and most of people in a zone, a value each quarter of an hour: of those present at one time, "
            "not of those who pass; with ≥ it is a lower bound."
        ),
    ),
    "zone": ("区域", "Zone"),
    "mean": ("平均", "Mean"),
    "peak": ("最多", "Most"),
    "busiest": ("最忙时段", "Busiest hour"),
    "says": ("指标说明", "What the indicators are"),
    "changes": (
        "工单按出现时刻计入本期，按截至时刻所知统计；未办结的工单办结之后，数字会变化。",
        (
            "A ticket counts in the period in which it appeared, with what was known at the time above; "
            "figures change as what is open ends."
        ),
    ),
}


@dataclass(frozen=True)
class Report:
    """All that a report says.

    Args:
        kind: `day`, `month`, or `days` for any others.
        parts: by what it is taken apart, name and figures by key.
    """

    kind: Literal["day", "month", "days"]
    center: str
    period: Period
    now_ms: int
    whole: Figures
    parts: Mapping[str, Mapping[str, tuple[str, Figures]]]
    footfall: Sequence[ZoneFall]


def gather(session: Session, center: str, period: Period, now_ms: int) -> Report:
    """Read a report (`Store.reading`)."""
    loaded = Loaded(session, period, now_ms)
    first, last = period.first, period.last
    whole_month = first.day == 1 and (last + timedelta(days=1)).day == 1 and (last - first).days < 31
    until_ms = day_start_ms(last + timedelta(days=1), period.zone)
    return Report(
        "day" if first == last else "month" if whole_month else "days",
        center,
        period,
        now_ms,
        loaded.whole(),
        {by: apart(session, loaded, by) for by in (*APART, "hour", "day")},
        footfall.of_period(session, period.streets, day_start_ms(first, period.zone), until_ms, period.zone),
    )


class _Telling:
    """A report in one language."""

    def __init__(self, report: Report, language: Language) -> None:
        self.report, self._at = report, 0 if language == "zh" else 1

    def word(self, name: str, *values: object) -> str:
        return self.of(WORDS[name]).format(*values)

    def of(self, words: tuple[str, str]) -> str:
        return words[self._at]

    @property
    def period(self) -> str:
        first, last = self.report.period.first, self.report.period.last
        match self.report.kind:
            case "day":
                return first.isoformat()
            case "month":
                return f"{first:%Y-%m}"
        return f"{first.isoformat()} – {last.isoformat()}"

    @property
    def title(self) -> str:
        return f"{self.word(self.report.kind)} {self.period}"

    @property
    def facts(self) -> dict[str, str]:
        period = self.report.period
        at = datetime.fromtimestamp(self.report.now_ms / 1000, period.zone)
        return {
            self.word("period"): f"{period.first.isoformat()} – {period.last.isoformat()} ({period.zone.key})",
            self.word("streets"): ", ".join(period.streets) or self.word("none"),
            self.word("as_of"): f"{at:%Y-%m-%d %H:%M}",
        }

    def name(self, name: str) -> str:
        return name or self.word("none")

    def falls(self, one: ZoneFall) -> tuple[str, str]:
        """Where it is, and its fullest hour."""
        busiest = max((mean, -hour) for hour, mean in enumerate(one.hours) if mean is not None)
        return f"{one.box}/{one.camera}/{one.zone}", f"{-busiest[1]:02}:00"


def _percent(part: Part) -> str:
    return "–" if part.value is None else "100%" if part.value == 1 else f"{part.value:.1%}"


def _minutes(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def as_pdf(report: Report, face: str, language: Language = "zh") -> bytes:
    """The paper for leaders."""
    tell = _Telling(report, language)
    made_at = datetime.fromtimestamp(report.now_ms / 1000, report.period.zone)
    foot = f"CityEye · {tell.word('as_of')} {made_at:%Y-%m-%d %H:%M}"
    paper = Paper(
        title=tell.title,
        center=report.center,
        face=face,
        made_at=made_at,
        language="zh-CN" if language == "zh" else "en",
        foot=foot,
    )
    paper.pairs(tell.facts)
    paper.paragraph(tell.word("changes"), small=True)
    _overview(paper, tell)
    hours = report.parts["hour"]
    paper.bars(tell.word("hours"), list(hours), [one.counts["reported"] for _, one in hours.values()])
    if len(report.parts["day"]) > 1:
        _days(paper, tell)
    for by in APART:
        _part(paper, tell, by)
    _footfall(paper, tell)
    paper.heading(tell.word("says"))
    for said in (*SHARES, *MINUTES):
        paper.heading(tell.of(said.words), 3)
        paper.paragraph(f"{tell.of(said.means)}\n{tell.word('silent')}: {tell.of(said.silent)}")
    return paper.finish()


def _overview(paper: Paper, tell: _Telling) -> None:
    whole = tell.report.whole
    paper.heading(tell.word("overview"))
    paper.table(
        [tell.word("indicator"), tell.word("value"), tell.word("of"), tell.word("formula")],
        [
            [tell.of(one.words), _percent(part), f"{part.part} / {part.whole}", tell.of(one.means)]
            for one in SHARES
            for part in (whole.shares[one.name],)
        ],
        widths=[2.2, 1, 1.2, 5],
        right=[1, 2],
    )
    paper.table(
        [tell.word("indicator"), tell.word("median"), tell.word("p90"), tell.word("of")],
        [
            [tell.of(one.words), _minutes(spread.median), _minutes(spread.p90), str(spread.tickets)]
            for one in MINUTES
            for spread in (whole.minutes[one.name],)
        ],
        widths=[3, 2, 2, 1],
        right=[1, 2, 3],
    )
    paper.table(
        [tell.word("indicator"), tell.word("of"), tell.word("formula")],
        [[tell.of(one.words), str(whole.counts[one.name]), tell.of(one.means)] for one in COUNTS],
        widths=[2.2, 1, 6.2],
        right=[1],
    )


def _days(paper: Paper, tell: _Telling) -> None:
    found = tell.report.parts["day"]
    labels = [day[5:] for day in found]
    counts = [one for one in COUNTS if one.name in ("reported", "confirmed")]
    paper.lines(
        tell.word("days_plot"),
        labels,
        {tell.of(one.words): [figures.counts[one.name] for _, figures in found.values()] for one in counts},
    )
    shares = [one for one in SHARES if one.name in ("valid_rate", "soft_rate", "in_time_rate")]
    paper.lines(
        tell.word("rates_plot"),
        labels,
        {tell.of(one.words): [figures.shares[one.name].value for _, figures in found.values()] for one in shares},
        form="{:.0%}",
    )


def _part(paper: Paper, tell: _Telling, by: str) -> None:
    found = sorted(tell.report.parts[by].values(), key=lambda one: (-one[1].counts["confirmed"], one[0]))
    if by == "street" and len(found) < 2:
        return
    paper.heading(tell.word("by", tell.of(BY[by])))
    if len(found) > MOST:
        paper.paragraph(tell.word("most", MOST), small=True)
    named = {one.name: tell.of(one.words) for one in (*COUNTS, *SHARES, *MINUTES)}
    rows = []
    for name, figures in found[:MOST]:
        cells = [tell.name(name)]
        cells += [str(figures.counts[one]) if one in figures.counts else _percent(figures.shares[one]) for one in SHOWN]
        cells += [_minutes(figures.minutes[one].median) for one in SHOWN_MINUTES]
        rows.append(cells)
    head = [tell.of(BY[by]), *(named[one] for one in (*SHOWN, *SHOWN_MINUTES))]
    paper.table(head, rows, widths=[2.2, *[1.25] * (len(head) - 1)], right=range(1, len(head)))


def _footfall(paper: Paper, tell: _Telling) -> None:
    if not tell.report.footfall:
        return
    paper.heading(tell.word("footfall"))
    paper.paragraph(tell.word("footfall_says"), small=True)
    rows = []
    for one in tell.report.footfall:
        place, busiest = tell.falls(one)
        rows.append([place, f"{one.mean:.1f}", f"{'≥ ' if one.lower_bound else ''}{one.most}", busiest])
    head = [tell.word(name) for name in ("zone", "mean", "peak", "busiest")]
    paper.table(head, rows, widths=[4, 1, 1, 1.4], right=[1, 2, 3])


def as_workbook(report: Report, language: Language = "zh") -> bytes:
    """Everything, for those who go on with it."""
    tell = _Telling(report, language)
    whole, head = report.whole, [tell.word(name) for name in ("indicator", "value", "of", "formula", "silent")]
    rows: list[list[Value]] = [[name, value, None, None, None] for name, value in tell.facts.items()]
    for share in SHARES:
        part = whole.shares[share.name]
        said = [f"{part.part} / {part.whole}", tell.of(share.means), tell.of(share.silent)]
        rows.append([tell.of(share.words), _percent(part), *said])
    for spread in MINUTES:
        values = whole.minutes[spread.name]
        for name, value in (("median", values.median), ("p90", values.p90)):
            said = [str(values.tickets), tell.of(spread.means), tell.of(spread.silent)]
            rows.append([f"{tell.of(spread.words)} {tell.word(name)}", value, *said])
    rows += [[tell.of(one.words), whole.counts[one.name], None, tell.of(one.means), None] for one in COUNTS]
    pages = [Page(tell.word("overview"), head, rows)]
    pages += [_sheet(tell, by, found) for by, found in report.parts.items()]
    if report.footfall:
        pages.append(_footfall_sheet(tell))
    return write_book(pages)


def _sheet(tell: _Telling, by: str, found: Mapping[str, tuple[str, Figures]]) -> Page:
    head = [tell.of(BY[by]), *(tell.of(one.words) for one in (*COUNTS, *SHARES))]
    for minutes in MINUTES:
        head += [f"{tell.of(minutes.words)} {tell.word(name)}" for name in ("median", "p90")]
    rows: list[list[Value]] = []
    for key, (name, figures) in found.items():
        row: list[Value] = [name if key != NONE else tell.word("none"), *figures.counts.values()]
        row += [part.value for part in figures.shares.values()]
        for spread in figures.minutes.values():
            row += [spread.median, spread.p90]
        rows.append(row)
    shares = range(1 + len(COUNTS), 1 + len(COUNTS) + len(SHARES))
    spans = range(shares.stop, shares.stop + 2 * len(MINUTES))
    formats = [*((column, PERCENT) for column in shares), *((column, "0.0") for column in spans)]
    return Page(tell.word("by", tell.of(BY[by])), head, rows, formats)


def _footfall_sheet(tell: _Telling) -> Page:
    head = [tell.word(name) for name in ("zone", "mean", "peak", "busiest")] + [f"{hour:02}:00" for hour in range(24)]
    rows: list[list[Value]] = []
    for one in tell.report.footfall:
        place, busiest = tell.falls(one)
        rows.append([place, one.mean, one.most, busiest, *one.hours])
    return Page(tell.word("footfall"), head, rows)


def month_of(day: date) -> tuple[date, date]:
    """The first and the last day of a day's month."""
    first = day.replace(day=1)
    return first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)

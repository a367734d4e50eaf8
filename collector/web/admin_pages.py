"""Pages for whoever runs the center: its tables of codes, what it keeps for how long."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from sqlalchemy import select
from sqlalchemy.orm import Session

from collector.boxes.orders import KEEP_PICTURES_MS
from collector.evidence.retention import RETAINED, plan
from collector.exchange import municipal, webhooks
from collector.exchange.municipal import Municipal
from collector.exchange.proposals import REFUSED_DAYS
from collector.notices import links
from collector.people import lockout
from collector.places import codes
from collector.places.codes import Codes, Numbering
from collector.settings import CenterSettings
from collector.store import AuditRow, HoldRow, Ticket
from collector.tickets import calendar, reasons
from collector.tickets.reasons import Reasons
from collector.web import story
from collector.web.language import N_, Text
from collector.web.navigation import PLACES
from collector.web.pages import Showing
from collector.web.rights import Acting, Desk, in_streets, needs
from protocol.documents import Section, SettingsError

DAY_MS: Final = 86_400_000
NO_FILE: Final = Path("/nonexistent/none.toml")
"""Where a loader of tables finds no own one, and takes the program's."""
RUNS: Final = 10
"""Of retention, that the page shows."""
MOST_HOLDS: Final = 200


@dataclass(frozen=True)
class Table:
    """A table of data that comes with the program, and that a file of the center's machine goes before.

    Args:
        name: of its file.
        own: where that is looked for.
        check: reads a text of it, raises SettingsError, and gives heading and rows.
        waits: whether a changed file counts only once the center was started again.
    """

    name: str
    what: Text
    own: Path
    check: Callable[[Path | None], tuple[Sequence[Text], Sequence[Sequence[Any]]]]
    waits: bool


def _section(kind: type[Section], shipped: str, own: Path | None) -> Any:
    if own is not None:
        return kind.load(own)
    return codes.load_table(shipped, kind, NO_FILE)


def _events(own: Path | None) -> tuple[Sequence[Text], Sequence[Sequence[Any]]]:
    found: Codes = _section(Codes, codes.NAME, own)
    rules = {code: rule for rule, code in found.rules.items()}
    rows = [(one.code, one.zh, one.en, found.classes[one.code[:2]].zh, rules.get(one.code, "")) for one in found.event]
    return (N_("Code"), N_("Chinese"), N_("English"), N_("Class"), N_("Rule of the boxes")), rows


def _cases(own: Path | None) -> tuple[Sequence[Text], Sequence[Sequence[Any]]]:
    found: Numbering = _section(Numbering, "cases.toml", own)
    return (N_("Pattern"), N_("Digits"), N_("Most of a day")), [(found.pattern, found.digits, found.most)]


def _municipal(own: Path | None) -> tuple[Sequence[Text], Sequence[Sequence[Any]]]:
    found: Municipal = _section(Municipal, municipal.NAME, own)
    heads = (N_("As the platform calls it"), N_("Chinese"), N_("What it is here"), N_("Its words for ours"))
    return heads, [
        (one.name, one.zh, one.fact, ", ".join(f"{ours} → {theirs}" for ours, theirs in one.values.items()))
        for one in found.field
    ]


def _reasons(own: Path | None) -> tuple[Sequence[Text], Sequence[Sequence[Any]]]:
    found = reasons.load_reasons(NO_FILE) if own is None else Reasons.load(own)
    heads = (N_("Id"), N_("Chinese"), N_("English"), N_("What helps"))
    return heads, [(one.id, one.zh, one.en, one.suggests) for one in found.reason]


def _calendar(own: Path | None) -> tuple[Sequence[Text], Sequence[Sequence[Any]]]:
    file = own or files("cityeye_config") / "calendar-cn.toml"
    found = calendar.read_calendar(file.read_text("utf-8"), str(file))
    return (N_("Year"), N_("Days off"), N_("Weekend days that are worked")), [
        (year, sum(day.year == year for day in found.off), sum(day.year == year for day in found.worked))
        for year in sorted(found.years, reverse=True)
    ]


TABLES: Final = (
    Table(codes.NAME, N_("Events and their codes"), codes.FOLDER / codes.NAME, _events, waits=True),
    Table("cases.toml", N_("Numbers of cases"), codes.FOLDER / "cases.toml", _cases, waits=True),
    Table(municipal.NAME, N_("The municipal platform's names"), codes.FOLDER / municipal.NAME, _municipal, waits=False),
    Table(reasons.NAME, N_("Reasons of false alarms"), reasons.OVERRIDE, _reasons, waits=True),
    Table("calendar-cn.toml", N_("Holidays and make-up days"), calendar.OVERRIDE, _calendar, waits=True),
)


def router(desk: Desk, settings: CenterSettings) -> APIRouter:
    """The routes."""
    routes = APIRouter(include_in_schema=False)
    started_ms = desk.now_ms()

    @routes.get("/admin", dependencies=[needs("center.read")])
    def show_overview(page: Showing) -> HTMLResponse:
        return page("admin.html", within=[one for one in PLACES if one.within])

    @routes.get("/admin/codes", dependencies=[needs("center.read")])
    def show_codes(page: Showing) -> HTMLResponse:
        return page("admin_codes.html", tables=[_in_force(one, started_ms) for one in TABLES])

    @routes.get("/admin/retention", dependencies=[needs("center.read")])
    def show_retention(page: Showing, acting: Acting) -> HTMLResponse:
        own, now_ms = in_streets(acting, "center.read"), desk.now_ms()
        with desk.store.reading() as session:
            # what is due is worked out for all streets together
            due = _due(session, settings, now_ms) if own is None else None
            holds = _holds(session, own)
            runs = _runs(session) if own is None else None
        return page("admin_retention.html", periods=_periods(settings), due=due, holds=holds, runs=runs)

    return routes


def _in_force(table: Table, started_ms: int) -> dict[str, Any]:
    """A table as the file on the disk has it, and whether that is what counts."""
    own = next((one for one in (table.own, *_BEFORE.get(table.name, ())) if one.is_file()), None)
    changed_ms = None if own is None else round(own.stat().st_mtime * 1000)
    fault, read = "", None
    try:
        read = table.check(own)
    except (SettingsError, OSError, UnicodeDecodeError) as wrong:
        fault = str(wrong)
    heads, rows = read or ((), ())
    return {
        "name": table.name,
        "what": table.what,
        "own": own,
        "where": table.own,
        "changed_ms": changed_ms,
        "waits": table.waits and changed_ms is not None and changed_ms > started_ms,
        "fault": fault,
        "heads": heads,
        "rows": rows,
    }


_BEFORE: Final = {codes.NAME: (codes.BEFORE,)}


def _periods(settings: CenterSettings) -> list[tuple[Text, float, Text]]:
    """What is kept, for how many milliseconds, and which setting says so; empty: the program does."""
    evidence = settings.evidence
    return [
        (N_("Pictures, after they came and their ticket ended"), evidence.keep_days * DAY_MS, "[evidence] keep_days"),
        (N_("Pictures of false alarms"), evidence.false_alarm_days * DAY_MS, "[evidence] false_alarm_days"),
        (N_("Pictures that boxes were asked for"), KEEP_PICTURES_MS, ""),
        (N_("Counts of people"), settings.reports.footfall_days * DAY_MS, "[reports] footfall_days"),
        (N_("Links of notices, once they have ended"), links.KEEP_MS, ""),
        (N_("What was sent to webhooks"), webhooks.KEPT_MS, ""),
        (N_("Failed sign-ins, as hashes"), lockout.FORGET_MS, ""),
        (N_("Proposals on the public page"), settings.street_page.keep_days * DAY_MS, "[street_page] keep_days"),
        (N_("Proposals that were not shown"), REFUSED_DAYS * DAY_MS, ""),
    ]


def _due(session: Session, settings: CenterSettings, now_ms: int) -> dict[str, int]:
    """Pictures that the next run would delete, by why."""
    found: dict[str, int] = {}
    for one in plan(session, settings.evidence, now_ms):
        found[one.why] = found.get(one.why, 0) + len(one.pictures)
    return found


def _holds(session: Session, streets: frozenset[str] | None) -> list[dict[str, Any]]:
    query = select(HoldRow, Ticket.street).join(Ticket, Ticket.number == HoldRow.ticket_number)
    query = query.where(HoldRow.lifted_ms.is_(None)).order_by(HoldRow.since_ms.desc()).limit(MOST_HOLDS)
    rows = session.execute(query if streets is None else query.where(Ticket.street.in_(streets))).all()
    names = story.names(session, [row.by for row, _ in rows])
    return [
        {"ticket": row.ticket_number, "street": street, "by": names[row.by], "why": row.why, "since_ms": row.since_ms}
        for row, street in rows
    ]


def _runs(session: Session) -> list[dict[str, Any]]:
    rows = select(AuditRow).where(AuditRow.action == RETAINED).order_by(AuditRow.number.desc()).limit(RUNS)
    return [{"at_ms": row.at_ms, **json.loads(row.detail)} for row in session.scalars(rows)]

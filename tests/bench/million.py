"""A million tickets and their history in the database, and how long the pages and figures then take.

    python -m tests.bench.million [--tickets 1000000] [--postgresql] [--folder DIR]

Fills a database with tickets of a year (two streets, 300 shops, 120 cameras; each ticket with some ten lines of its
time line, its incident and two pictures; no messages as they came), then calls the real routes of the real application
and prints percentiles of their time as JSON: as seen on the clock, and what this process computed of it.
"""

import argparse
import itertools
import json
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import date, datetime, timedelta
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

from fastapi.testclient import TestClient
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from collector.evidence.files import PictureFiles
from collector.indicators import keeping
from collector.settings import CenterSection
from collector.store import (
    Box,
    CameraRow,
    IncidentRow,
    PictureRow,
    ShopRow,
    Store,
    Ticket,
    TicketEvent,
    open_store,
    write,
)
from collector.tickets.facts import mark
from collector.tickets.records import TicketRecord
from collector.web.app import Health, make_app
from collector.web.live import Changes
from collector.web.serving import settle_memory
from tests.incidents import Case
from tests.services import Postgres

ZONE = ZoneInfo("Asia/Shanghai")
NOW = datetime(2026, 11, 1, 12, 0, tzinfo=ZONE)
DAYS = 365
BOXES, CAMERAS, SHOPS = 10, 12, 300
AT_ONCE = 5_000
CALLS = 60
LIMIT_MS = 200.0
COURSES = (
    # what a ticket ends as, how often of a hundred, and its steps with the minutes that each takes
    ("self_corrected", 38, (("confirm", 3, "noticed"), ("told", 1, "noticed"), ("correct", 4, "self_corrected"))),
    (
        "closed",
        22,
        (("confirm", 3, "noticed"), ("told", 1, "noticed"), ("time_up", 7, "community"), ("solve", 8, "closed")),
    ),
    (
        "closed",
        12,
        (
            *(("confirm", 3, "noticed"), ("told", 1, "noticed"), ("time_up", 7, "community")),
            *(("register", 12, "registered"), ("dispatch", 15, "dispatched"), ("accept", 10, "handling")),
            *(("feed_back", 60, "verifying"), ("verify_clear", 1, "closed")),
        ),
    ),
    ("false_alarm", 15, (("false_alarm", 3, "false_alarm"),)),
    ("lapsed", 10, ()),
    ("exempt", 3, (("exempt", 1, "exempt"),)),
)
POLICY, PERSON = "policy:s-1", "person:li"
DATA = json.loads(Case().opened().payload)["data"]
BASE = 50_000
TABLES = tuple(one.__table__ for one in (Ticket, IncidentRow, TicketEvent, PictureRow))
OF_PERSONS = ("confirm", "register", "dispatch", "false_alarm")


def fill(store: Store, tickets: int, chance: Random) -> None:
    """Write tickets of a year; the last of the first BASE are open, at most one of each shop.

    What is beyond BASE is copies of these, shifted by minutes, which the database makes by itself.
    """
    with store.writing() as session:
        _around(session)
    base = min(tickets, BASE)
    begin_ms = round((NOW - timedelta(days=DAYS)).timestamp() * 1000)
    step = DAYS * 86_400_000 / base
    for start in range(1, base + 1, AT_ONCE):
        made: list[list[dict[str, object]]] = [[] for _ in TABLES]
        for number in range(start, min(start + AT_ONCE, base + 1)):
            opened_ms = begin_ms + round((number - 1 + chance.random()) * step)
            goes_on = number > base - _open(base)
            for kept, more in zip(made, _ticket(number, opened_ms, chance, goes_on=goes_on), strict=True):
                kept.extend(more)
        with store.writing() as session:
            for table, rows in zip(TABLES, made, strict=True):
                write(session, table, rows)
    if tickets > base:
        _multiply(store, base, tickets // base)


def _around(session: Session) -> None:
    for box in range(BOXES):
        session.add(Box(id=f"box-{box}", site=_street(box), state_since_ms=0, seen_ms=0, state="online"))
    session.flush()
    for box, camera in itertools.product(range(BOXES), range(CAMERAS)):
        session.add(CameraRow(box_id=f"box-{box}", camera=f"cam-{camera}", state="live", since_ms=0))
    empty = {one.name: 0 if "INT" in str(one.type) else "" for one in ShopRow.__table__.c if not one.nullable}
    for shop in range(SHOPS):
        named = {"id": f"shop-{shop}", "street": _street(shop % BOXES), "name": f"示例店铺 {shop}"}
        session.add(ShopRow(**{**empty, **named, "state": "active"}))


def _multiply(store: Store, base: int, times: int) -> None:
    """Copy what is closed of the first tickets; indices are made afterwards, which is much quicker."""
    closed = base - _open(base)
    of_incident = f"SELECT id FROM incident WHERE ticket_number <= {closed}"  # noqa: S608 - a number of ours
    copied = ("number", "ticket_number", "ticket_number")
    which = [*(f"{name} <= {closed}" for name in copied), f"incident IN ({of_incident})"]
    copies = ", ".join(f"({copy})" for copy in range(1, times))
    with store.transaction() as session:
        connection = session.connection()
        # no foreign keys: without its index, each row would look through all of another table for those that name it
        if store.shared:
            connection.execute(text("SET LOCAL session_replication_role = replica"))
        else:
            for setting in ("foreign_keys = OFF", "cache_size = -1000000"):
                connection.exec_driver_sql(f"PRAGMA {setting}")
        indices = [index for table in TABLES for index in table.indexes]
        for index in indices:
            index.drop(connection)
        # pictures first: they are found by incidents, of which there are no copies yet
        for table, rows in reversed(list(zip(TABLES, which, strict=True))):
            values = {one.name: _shifted(one.name, base) for one in table.c if one is not TicketEvent.__table__.c.id}
            names = ", ".join(f'"{name}"' for name in values)
            made = f"SELECT {', '.join(values.values())} FROM {table.name} CROSS JOIN c WHERE {rows}"  # noqa: S608 - names of ours
            connection.execute(text(f"WITH c(k) AS (VALUES {copies}) INSERT INTO {table.name} ({names}) {made}"))
        for index in indices:
            index.create(connection)
    store.engine.dispose()  # the next connection keeps its foreign keys


def _shifted(name: str, base: int) -> str:
    """A column of the copy `k`."""
    if name.endswith("_ms"):
        return f"{name} + k * 420000"
    if name in ("number", "ticket_number", "repeat_of"):
        return f"{name} + k * {base}"
    if name in ("id", "incident", "case_number"):
        return f"{name} || '-' || CAST(k AS TEXT)"
    return f"mark * (2 * k + 1) % {1 << 40}" if name == "mark" else f'"{name}"'


def _open(base: int) -> int:
    return min(SHOPS, base // 50)


def _street(box: int) -> str:
    return f"s-{box % 2 + 1}"


def _ticket(number: int, opened_ms: int, chance: Random, *, goes_on: bool) -> tuple[list[dict[str, object]], ...]:
    """The rows of one ticket: itself, its incident, its time line, its pictures."""
    state, _, steps = chance.choices(COURSES, [weight for _, weight, _ in COURSES])[0]
    shop = number % SHOPS if goes_on else chance.randrange(SHOPS)
    box, camera = shop % BOXES, f"cam-{shop // BOXES % CAMERAS}"
    if goes_on:
        steps = steps[: chance.randrange(len(steps))] if state in ("self_corrected", "closed") else ()
        state = steps[-1][2] if steps else "pending_review"
    line: list[dict[str, object]] = []

    def tell(kind: str, at: int, detail: object, author: str = "camera", before: str | None = None) -> None:
        texts = {"kind": kind, "message_id": None, "author": author, "reason": "", "before": before}
        line.append({"ticket_number": number, "at_ms": at, "received_ms": at, "detail": json.dumps(detail), **texts})

    at_ms, version, now = opened_ms + 180_000, 1, "pending_review"
    when: dict[str, int] = {}
    incident = f"incident-{number}"
    tell("appeared", opened_ms, {"incident": incident})
    for update in range(5):
        tell("incident_updated" if update else "opened", at_ms + update * 600_000, {"incident": incident})
    for verb, minutes, after in steps:
        at_ms += round(minutes * 60_000 * (0.5 + chance.random()))
        version += 1
        when[verb] = at_ms
        detail = {"version": version, "state": after, "due_ms": at_ms + 600_000, "told_ms": at_ms}
        tell(verb, at_ms, detail, PERSON if verb in OF_PERSONS else POLICY, json.dumps({"state": now}))
        now = after
    cleared_ms = None if goes_on else at_ms
    if not goes_on:
        tell("incident_cleared", at_ms, {"incident": incident})
    handled, registered = "feed_back" in when, "register" in when
    place = {"box_id": f"box-{box}", "opened_ms": opened_ms, "cleared_ms": cleared_ms}
    record = TicketRecord(
        **{"key": f"encroachment/shop/shop-{shop}", "rule": "encroachment", "shop": f"shop-{shop}", **place},
        camera=camera,
        zone="front",
        street=_street(box),
        state=state,
        number=number,
        open=int(goes_on),
        present=int(goes_on),
        created_ms=opened_ms + 181_000,
        changed_ms=at_ms,
        version=version,
        entered=version,
        since_ms=at_ms,
        acted_ms=at_ms,
        closed_ms=cleared_ms,
        repeat_of=None if number <= SHOPS or chance.random() < 0.5 else number - SHOPS,
        look_ms=at_ms + 600_000 if goes_on else None,
    )
    record.mark = mark(record)
    ticket = {
        **vars(record),
        "reviewer": PERSON if "confirm" in when else None,
        "due_ms": at_ms + 600_000 if goes_on else None,
        "due_kind": "review: 5 min" if goes_on else "",
        "outcome": None if state != "closed" else "handled" if handled else "community",
        "case_number": f"330105{number:013d}" if registered else None,
        "verdict": "confirmed" if "confirm" in when else state if state in ("false_alarm", "exempt") else "",
        "told_ms": when.get("told"),
        "first_told_ms": when.get("told"),
        "registered_ms": when.get("register"),
        "fed_back": int(handled),
        "reworked": int(handled and chance.random() < 0.1),
        "overdue": int(registered and chance.random() < 0.05),
    }
    seen = {
        "id": incident,
        "ticket_number": number,
        "seq": 3,
        "state": "open" if goes_on else "cleared",
        **place,
        "received_ms": opened_ms,
        "ended_ms": None,
        "late": 0,
        "clock": "told",
        "visibility": "seen",
        "data": json.dumps({**DATA, "incident": incident, "shop": f"shop-{shop}", "camera": camera}),
    }
    pictures = [
        {
            "id": f"{incident}:at:{view}",
            "box_id": f"box-{box}",
            "incident": incident,
            "role": "at",
            "view": view,
            "sha256": f"{number:063x}{end}",
            "bytes": 150_000,
            "received_ms": opened_ms,
            "author": "",
            "masked": 1,
        }
        for end, view in enumerate(("wide", "close"))
    ]
    return [ticket], [seen], line, pictures  # type: ignore[return-value]  # mappings of texts and numbers


def measure(
    store: Store, folder: Path, tickets: int, chance: Random, calls: int = CALLS
) -> dict[str, dict[str, float]]:
    """Call each route some times; milliseconds."""
    app = make_app(CenterSection(id="demo"), store, PictureFiles(folder), Changes(), Health(lambda: True, lambda: True))
    newest = NOW.date()

    base = min(tickets, BASE)

    def number() -> int:
        """Of a ticket; those that are open have no copies."""
        return chance.randrange(tickets // base) * base + chance.randrange(1, base - _open(base) + 1)

    def month() -> str:
        first = (newest.replace(day=1) - timedelta(days=1 + 30 * chance.randrange(11))).replace(day=1)
        last = (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
        return f"from={first}&to={last}"

    this_month = f"from={date(newest.year, newest.month - 1, newest.day + 1)}&to={newest}"
    routes = {
        "the board": lambda: "/",
        "its queue": lambda: "/board/queue",
        "open tickets": lambda: "/tickets?state=open",
        "all tickets": lambda: "/tickets",
        "a later page": lambda: f"/tickets?before={chance.randrange(100, tickets)}",
        "tickets in a rare state": lambda: "/tickets?state=registered",
        "a ticket": lambda: f"/tickets/{number()}",
        "a ticket as JSON": lambda: f"/api/tickets/{number()}",
        "a month's indicators": lambda: f"/api/indicators?{month()}",
        "the last 31 days', today included": lambda: f"/api/indicators?{this_month}",
        "a month's by shop": lambda: f"/api/indicators?{month()}&by=shop",
        "a month's by hour": lambda: f"/api/indicators?{month()}&by=hour",
    }
    found = {}
    with TestClient(app, base_url="http://127.0.0.1") as client:
        for name, address in routes.items():
            took, computed = [], []
            for _ in range(calls):
                path = address()
                began_s, cpu_s = time.perf_counter(), time.process_time()
                answer = client.get(path)
                took.append((time.perf_counter() - began_s) * 1000)
                computed.append((time.process_time() - cpu_s) * 1000)
                if answer.status_code != 200:
                    raise AssertionError(f"{path}: expected 200, got {answer.status_code}: {answer.text[:200]}")
            found[name] = {
                **{f"p{at}_ms": _percentile(took, at) for at in (50, 95)},
                **{f"computed_p{at}_ms": _percentile(computed, at) for at in (50, 95)},
            }
    return found


def _percentile(values: list[float], percent: int) -> float:
    return round(sorted(values)[-(-len(values) * percent // 100) - 1], 1)


def run(url: str, folder: Path, tickets: int, calls: int = CALLS) -> dict[str, object]:
    """Fill, pack and measure."""
    store = open_store(url)
    began_s = time.monotonic()
    with store.transaction() as session:
        known = session.scalar(select(func.count()).select_from(Ticket))
    if not known:
        fill(store, tickets, Random(1))
        with store.writing() as session:
            session.execute(text("ANALYZE"))
    filled_s = time.monotonic() - began_s
    began_s = time.monotonic()
    days = keeping.pack(store, ZONE, NOW.date())
    packed_s = time.monotonic() - began_s
    routes = measure(store, folder, tickets, Random(2), calls)
    with store.transaction() as session:
        size = (
            "pg_database_size(current_database())"
            if store.shared
            else "(SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size())"
        )
        mb = session.scalar(text(f"SELECT {size}")) >> 20
    store.close()
    return {
        "tickets": tickets,
        "database": "postgresql" if store.shared else "sqlite",
        "megabytes": mb,
        "filled_s": round(filled_s),
        "days_packed": days,
        "packed_s": round(packed_s),
        "routes": routes,
    }


def main() -> int:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--tickets", type=int, default=1_000_000)
    arguments.add_argument("--postgresql", action="store_true")
    arguments.add_argument("--folder", type=Path, help="where SQLite's is left, and found filled the next time")
    given = arguments.parse_args()
    settle_memory()  # as `serve` does
    with ExitStack() as stack:
        folder = given.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = f"sqlite:///{folder / 'center.db'}"
        if given.postgresql:
            url = stack.enter_context(Postgres()).create()
        found = run(url, folder, given.tickets)
    print(json.dumps(found, indent=1, ensure_ascii=False))
    slow = {name: one["p95_ms"] for name, one in found["routes"].items() if one["p95_ms"] > LIMIT_MS}  # type: ignore[attr-defined]  # see measure
    for name, took in slow.items():
        print(f"SLOW {name}: expected {LIMIT_MS:.0f} ms at the 95th percentile, took {took:.0f}", file=sys.stderr)
    return int(bool(slow))


if __name__ == "__main__":
    sys.exit(main())

"""The page of the audit log, and the same as a file."""

import json
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, Response
from pydantic import BeforeValidator
from sqlalchemy import select

from collector.people import audit
from collector.people.actor import EVERYWHERE
from collector.places.sheets import write_csv
from collector.store import AuditRow, PersonRow
from collector.web import words
from collector.web.audit_words import ACTIONS, NAMES, value
from collector.web.language import N_
from collector.web.pages import Showing
from collector.web.plain import Number
from collector.web.reader import Reader
from collector.web.rights import Acting, Desk, check, needs
from protocol.instants import from_epoch, rfc3339

A_PAGE: Final = 100
A_FILE: Final = 20_000
"""Lines; whoever needs more asks for shorter times, or the command line."""
HEADING: Final = ("number", "at", "actor", "action", "object", "detail", "before", "hash")
KINDS: Final = {
    "ticket.": N_("Tickets"),
    "evidence.": N_("Evidence"),
    "evidence.original": N_("Originals fetched"),
    "person.": N_("People"),
    "token.": N_("API tokens"),
    "sign_in.": N_("Signing in"),
    "shop.": N_("Shops"),
    "permit.": N_("Permits"),
    "policy.": N_("Policies"),
    "pause.": N_("Pauses"),
    "notice.": N_("Notices"),
    "box": N_("Boxes"),
}
Asked = Annotated[str, Query(max_length=100)]
Day = Annotated[date | None, BeforeValidator(lambda given: given or None)]
"""A form sends an empty field as well."""


def router(desk: Desk, zone: ZoneInfo) -> APIRouter:
    """The routes."""
    routes = APIRouter(include_in_schema=False)

    def limits(by: str, of: str, action: str, first: date | None, last: date | None) -> dict[str, Any]:
        """What `audit.show` looks for; a plain name is a person's."""
        by, of = by.strip(), of.strip()
        return {
            "actor": (by if ":" in by or by in ("system", "policy") else f"person:{by}") if by else None,
            "of": of or None,
            "action": action or None,
            "from_ms": None if first is None else _midnight_ms(first, zone),
            "until_ms": None if last is None or last == date.max else _midnight_ms(last + timedelta(days=1), zone),
        }

    @routes.get("/audit", dependencies=[needs("audit.read")])
    def show_audit(
        page: Showing,
        acting: Acting,
        *,
        by: Asked = "",
        of: Asked = "",
        action: Asked = "",
        first: Day = None,
        last: Day = None,
        before: Number | None = None,
        verify: bool = False,
    ) -> HTMLResponse:
        check(acting, "audit.read", EVERYWHERE)
        wanted = limits(by, of, action, first, last)
        with desk.store.transaction() as session:
            rows = audit.show(session, before=before, limit=A_PAGE + 1, **wanted)
            head = audit.head(session)
            people = {row.id: row.name for row in session.execute(select(PersonRow.id, PersonRow.name))}
            verdict = audit.verify(session) if verify else None
            newest = session.get(AuditRow, verdict.head.number) if verdict is not None else None
            until_ms = None if newest is None else newest.at_ms
        asked = {"by": by, "of": of, "action": action, "first": first or "", "last": last or ""}
        given = {name: value for name, value in asked.items() if value}
        more = len(rows) > A_PAGE
        return page(
            "audit.html",
            lines=[_line(row, people, page.reader) for row in rows[:A_PAGE]],
            asked=asked,
            kinds=KINDS,
            people=people,
            head=head,
            verdict=verdict,
            verified_ms=until_ms,
            some=bool(given),
            here_asked=urlencode(given),
            after=f"/audit?{urlencode({**given, 'before': rows[A_PAGE - 1].number})}" if more else None,
            newest=f"/audit?{urlencode(given)}" if before is not None else None,
        )

    @routes.get("/audit/export.csv", dependencies=[needs("audit.read")])
    def export(
        acting: Acting, *, by: Asked = "", of: Asked = "", action: Asked = "", first: Day = None, last: Day = None
    ) -> Response:
        check(acting, "audit.read", EVERYWHERE)
        with desk.store.writing() as session:
            rows = audit.show(session, limit=A_FILE, **limits(by, of, action, first, last))
            lines = [_texts(row) for row in rows]
            audit.record(session, acting, "audit.exported", "audit/*", {"rows": len(lines)}, desk.now_ms())
        headers = {"content-disposition": 'attachment; filename="audit.csv"', "cache-control": "no-store"}
        return Response(write_csv([HEADING, *lines]), media_type="text/csv; charset=utf-8", headers=headers)

    return routes


def _midnight_ms(day: date, zone: ZoneInfo) -> int:
    return round(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp() * 1000)


def _texts(row: AuditRow) -> list[str]:
    at = rfc3339(from_epoch(row.at_ms / 1000))
    return [str(row.number), at, row.actor, row.action, row.object, row.detail, row.before, row.hash]


def _line(row: AuditRow, people: Mapping[str, str], reader: Reader) -> dict[str, Any]:
    kind, _, who = row.actor.partition(":")
    detail: Mapping[str, Any] = json.loads(row.detail)
    return {
        "number": row.number,
        "at_ms": row.at_ms,
        "actor": row.actor,
        "name": people.get(who, "") if kind == "person" else "",
        "action": row.action,
        "text": words.words(ACTIONS, row.action),
        "object": row.object,
        "detail": [
            (words.words(NAMES, name), value(name, given, reader))
            for name, given in detail.items()
            if given not in ("", None, [], {})
        ],
    }

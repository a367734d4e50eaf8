"""Open311 GeoReport v2: services, requests, and their documents in XML and JSON.

Names, formats and limits are the specification's (https://wiki.open311.org/GeoReport_v2). Services are the events of
the table of codes. Whoever shows no key sees what people reported: what it is, where to some hundred metres, and how
far it is; no words of anybody, no picture, no shop. A key shows what its owner may see.
"""

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from collector.exchange.reports import rule_of
from collector.places.codes import Codes
from collector.places.standing import spot, standing
from collector.store import ReportRow, Ticket
from collector.tickets.machine import WORDS, State
from protocol.instants import from_epoch

Format = Literal["xml", "json"]
MOST: Final = 1000
SPAN: Final = timedelta(days=90)
ROUGH: Final = 3
"""Decimals of a position that everybody may see: a hundred metres, no door."""
KINDS: Final = {"xml": "text/xml; charset=utf-8", "json": "application/json; charset=utf-8"}
_UNFIT: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 has no way to write."""
Record = Mapping[str, Any]


class Open311Error(Exception):
    """A request that is refused: an HTTP status, and a line for people; `wait_s`: how long to wait with the next."""

    def __init__(self, status: int, text: str, wait_s: float | None = None) -> None:
        super().__init__(text)
        self.status, self.text, self.wait_s = status, text, wait_s


@dataclass(frozen=True)
class Wanted:
    """Which requests somebody asks for.

    Args:
        ids: these alone; empty: those that the others say.
        codes: of events; empty: all.
        states: `open`, `closed`; empty: both.
        street: empty: all.
    """

    from_ms: int
    until_ms: int
    ids: tuple[int, ...] = ()
    codes: tuple[str, ...] = ()
    states: frozenset[str] = frozenset()
    street: str = ""


def read_wanted(query: Mapping[str, str], street: str, now: datetime) -> Wanted:
    """Read the arguments of a search; raises Open311Error."""
    ids = tuple(_number(one) for one in _split(query.get("service_request_id", "")))
    states = frozenset(_split(query.get("status", "")))
    if states - {"open", "closed"}:
        raise Open311Error(400, "status: expected open, closed, or both")
    begin, end = (_instant(query.get(name, ""), name) for name in ("start_date", "end_date"))
    if begin is not None and end is not None and not timedelta() <= end - begin <= SPAN:
        raise Open311Error(400, f"start_date, end_date: expected a span of at most {SPAN.days} days")
    try:
        until = end or (now if begin is None else min(now, begin + SPAN))
        since = begin or until - SPAN
        span = _ms(since), _ms(until)
    except (OverflowError, ValueError):
        raise Open311Error(400, "start_date, end_date: expected instants of this age") from None
    return Wanted(*span, ids, _split(query.get("service_code", "")), states, street)


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def _split(text: str) -> tuple[str, ...]:
    return tuple(one.strip() for one in text.split(",") if one.strip())


def _number(text: str) -> int:
    """A request's id; of what is none there is no request."""
    return int(text) if re.fullmatch(r"[0-9]{1,15}", text) else 0


def _instant(text: str, name: str) -> datetime | None:
    if not text:
        return None
    try:
        # a + that nobody has escaped comes as a blank
        found = datetime.fromisoformat(text.strip().replace(" ", "+"))
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Open311Error(400, f"{name}: expected an instant such as 2026-03-02T10:00:00+08:00") from None


def services(codes: Codes) -> list[Record]:
    """What may be reported."""
    return [
        {
            "service_code": one.code,
            "service_name": one.zh,
            "description": one.en,
            "metadata": False,
            "type": "realtime",
            "keywords": one.en,
            "group": codes.classes[one.code[:2]].zh,
        }
        for one in codes.event
    ]


def requests(
    session: Session, wanted: Wanted, codes: Codes, agency: str, streets: frozenset[str] | None, *, public: bool
) -> list[Record]:
    """The requests that are asked for, the newest first.

    Args:
        session: a transaction.
        wanted: which.
        codes: of this center.
        agency: whoever is responsible.
        streets: that whoever asks may see; None: all.
        public: they have shown no key.
    """
    query = select(Ticket).order_by(Ticket.number.desc()).limit(MOST)
    if public:
        query = query.join(ReportRow, ReportRow.ticket_number == Ticket.number)
    if streets is not None:
        query = query.where(Ticket.street.in_(streets))
    if wanted.street:
        query = query.where(Ticket.street == wanted.street)
    query = query.where(Ticket.number.in_(wanted.ids)) if wanted.ids else _narrow(query, wanted, codes)
    return [_request(session, one, codes, agency, public=public) for one in session.scalars(query)]


def _narrow(query: Select[Ticket], wanted: Wanted, codes: Codes) -> Select[Ticket]:
    query = query.where(Ticket.created_ms >= wanted.from_ms, Ticket.created_ms <= wanted.until_ms)
    if wanted.codes:
        query = query.where(Ticket.rule.in_([rule_of(codes, code) for code in wanted.codes]))
    if len(wanted.states) == 1:
        query = query.where(Ticket.open == int("open" in wanted.states))
    return query


def _request(session: Session, ticket: Ticket, codes: Codes, agency: str, *, public: bool) -> Record:
    event = codes.of_rule(ticket.rule)
    whose = standing(session, ticket.shop, ticket.box_id, ticket.camera, ticket.zone)
    where = spot(session, whose.shop or whose.tell, ticket.box_id, ticket.camera, ticket.report)
    lon, lat = where.lon, where.lat
    if public and lon is not None and lat is not None:
        lon, lat = round(lon, ROUGH), round(lat, ROUGH)
    report = ticket.report
    address = report.address if report is not None and report.address else whose.shop.address if whose.shop else ""
    shown = not public
    due_ms = ticket.due_ms if shown and ticket.open else None
    return {
        "service_request_id": str(ticket.number),
        "status": "open" if ticket.open else "closed",
        "status_notes": WORDS[State(ticket.state)][0],
        "service_name": ticket.rule if event is None else event.zh,
        "service_code": ticket.rule if event is None else event.code,
        "description": report.description if report is not None and shown else None,
        "agency_responsible": agency,
        "service_notice": None,
        "requested_datetime": w3(ticket.created_ms),
        "updated_datetime": w3(ticket.changed_ms if ticket.open else ticket.closed_ms or ticket.changed_ms),
        "expected_datetime": None if due_ms is None else w3(due_ms),
        "address": address or None if shown else None,
        "address_id": where.cell,
        "zipcode": None,
        "lat": lat,
        "long": lon,
        "media_url": None,
    }


def w3(at_ms: int) -> str:
    """An instant as the specification wants it."""
    return from_epoch(at_ms // 1000).strftime("%Y-%m-%dT%H:%M:%SZ")


# documents


def listed(form: Format, root: str, item: str, records: Sequence[Record]) -> bytes:
    """A list as a document: `<root><item>…` or an array."""
    if form == "json":
        return _json(records)
    top = ET.Element(root)
    for one in records:
        _fill(ET.SubElement(top, item), one)
    return _xml(top)


def definition(form: Format, code: str) -> bytes:
    """What a service asks for besides: nothing."""
    if form == "json":
        return _json({"service_code": code, "attributes": []})
    top = ET.Element("service_definition")
    _fill(top, {"service_code": code, "attributes": None})
    return _xml(top)


def failure(form: Format, status: int, text: str) -> bytes:
    """A refusal."""
    return listed(form, "errors", "error", [{"code": status, "description": text}])


def _fill(element: ET.Element, record: Record) -> None:
    for name, value in record.items():
        text = None if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        ET.SubElement(element, name).text = None if text is None else _UNFIT.sub("\ufffd", text)


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def _xml(top: ET.Element) -> bytes:
    text = ET.tostring(top, "unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}'.encode()

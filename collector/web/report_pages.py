"""Reporting something that no camera saw: a call for programs, and a form for the room and for workers."""

import contextlib
import hashlib
import logging
import uuid
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from collector.evidence.graves import written
from collector.evidence.uploads import Upload, keep, read_upload
from collector.exchange.reports import LONGEST, REPORTED, Report, ReportError, sources_of, streets, take
from collector.people.actor import Actor
from collector.people.rights import may
from collector.places.codes import Codes
from collector.store import Ticket
from collector.tickets.desk import MAX_TEXT, RefusedError, able
from collector.web import multipart, views, words
from collector.web.documents import TICKET
from collector.web.evidence_api import NOT_KEPT
from collector.web.language import Text, Words
from collector.web.pages import Page, Showing
from collector.web.refusals import refusal
from collector.web.rights import Acting, Desk, in_streets, needs
from protocol.instants import Instant

log = logging.getLogger(__name__)
FORM: Final = "form-"
"""Begins what stands for a number where a form had none."""
FIELDS: Final = ("source", "code", "street", "shop", "address", "position", "description", "reference", "key")


class ReportRequest(BaseModel):
    """Something that a person reports; it needs a place: a shop, an address, a position or a cell."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = Field(description=f"one of {', '.join(REPORTED)}; who works in the street reports as `grid`")
    code: str = Field(pattern=r"^\d{4}$", description="of the event, see `GET /api/codes`", examples=["0504"])
    street: str = Field(default="", max_length=63, description="empty: the shop's, or the only one that there is")
    description: str = Field(default="", max_length=MAX_TEXT)
    shop: str | None = Field(default=None, max_length=63, description="id by the register")
    address: str = Field(default="", max_length=LONGEST)
    lon: float | None = Field(default=None, ge=-180, le=180, description="degrees, WGS84")
    lat: float | None = Field(default=None, ge=-90, le=90)
    cell: str = Field(default="", max_length=20, description="of the unit grid; empty: that of the position")
    reference: Annotated[str, Field(min_length=1, max_length=LONGEST)] | None = Field(
        default=None, description="its number where it came from: the same again is the same ticket"
    )
    seen_at: Instant | None = Field(default=None, description="when it was seen; now where it is left out")


def router(desk: Desk, codes: Codes, zone: ZoneInfo) -> APIRouter:
    """The routes."""
    routes = APIRouter()

    def make(acting: Actor, report: Report, taken: Upload | None = None, key: str = "") -> tuple[Ticket, bool]:
        """The ticket and its picture, or neither; raises OSError."""
        file = contextlib.nullcontext() if taken is None else written(desk.store, desk.files, taken.sha256, taken.jpeg)
        with file, desk.store.writing() as session:
            ticket, new = take(session, acting, report, codes, desk.now_ms())
            if not may(acting, "reports.write", ticket.street):
                raise ReportError("street", f"expected one of yours, got {ticket.street}", "不在你的街道")
            added = taken is not None and keep(session, acting, ticket.number, key, taken, desk.now_ms())[1]
        if new or added:
            desk.changed()
        return ticket, new

    @routes.get("/api/codes", dependencies=[needs("tickets.read")])
    def list_codes() -> list[dict[str, str]]:
        """The events that this center knows, by their municipal codes."""
        return [{"code": one.code, "zh": one.zh, "en": one.en} for one in codes.event]

    @routes.post("/api/reports", dependencies=[needs("reports.write")], status_code=201, responses=TICKET)
    def report(request: ReportRequest, acting: Acting) -> Any:
        """Report something that no camera saw: 201 with its new ticket, 200 where it was reported before."""
        values = request.model_dump(exclude={"seen_at"})
        seen_ms = None if request.seen_at is None else round(request.seen_at.timestamp() * 1000)
        try:
            ticket, new = make(acting, Report(**values, seen_ms=seen_ms))
        except ReportError as fault:
            return refusal(422, fault.text, zh=fault.zh)
        with desk.store.transaction() as session:
            row = session.get_one(Ticket, ticket.number)
            more = {"allowed": list(able(session, row, acting, desk.now_ms()))}
            return JSONResponse(views.ticket_json(session, row) | more, 201 if new else 200)

    def form(page: Page, acting: Actor, given: dict[str, str], fault: Text = "") -> HTMLResponse:
        own = in_streets(acting, "reports.write")
        with desk.store.transaction() as session:
            known = sorted(streets(session) if own is None else own)
        sources = [one for one in REPORTED if any(one in sources_of(acting, street) for street in known or [""])]
        return page(
            "report.html",
            422 if fault else 200,
            given=dict.fromkeys(FIELDS, "")
            | (given or {"key": f"{FORM}{uuid.uuid4()}", "code": codes.rules.get("encroachment", "")}),
            fault=fault,
            streets=known,
            sources={one: words.SOURCES[one] for one in sources},
            codes=[(one.code, Words(one.zh, one.en)) for one in codes.event],
        )

    @routes.get("/report", dependencies=[needs("reports.write")], include_in_schema=False)
    def show(page: Showing, acting: Acting) -> HTMLResponse:
        return form(page, acting, {})

    @routes.post("/report", dependencies=[needs("reports.write")], include_in_schema=False)
    async def send(page: Showing, acting: Acting, request: Request) -> Response:
        sent = await multipart.fields(request)
        return await run_in_threadpool(entered, page, acting, sent)

    def entered(page: Page, acting: Actor, sent: dict[str, bytes]) -> Response:
        try:
            given = {name: sent.get(name, b"").decode().strip() for name in FIELDS}
        except ValueError:
            raise HTTPException(400, "表单须为 UTF-8 / expected a form in UTF-8") from None
        picture = sent.get("picture", b"")
        try:
            lon, lat = _position(given["position"])
            report = Report(
                given["source"],
                given["code"],
                given["street"],
                given["description"],
                given["shop"] or None,
                given["address"],
                lon,
                lat,
                # a form that is sent twice is one report
                reference=given["reference"] or given["key"] or None,
            )
            taken = read_upload(picture, zone, desk.now_ms()) if picture else None
            ticket, _ = make(acting, report, taken, hashlib.sha256(picture).hexdigest()[:32])
        except (ReportError, RefusedError) as fault:
            return form(page, acting, given, Words(fault.zh, fault.text))
        except ValueError as fault:
            return form(page, acting, given, Words(f"图片须为 JPEG：{fault}", f"picture: expected a JPEG: {fault}"))
        except OSError as fault:
            log.warning("picture of a report: %s", fault)
            raise HTTPException(503, NOT_KEPT) from None
        return RedirectResponse(f"/tickets/{ticket.number}", 303)

    return routes


def _position(text: str) -> tuple[float | None, float | None]:
    """Longitude and latitude as they stand in a form, `120.14, 30.31`; raises ReportError."""
    if not text:
        return None, None
    try:
        lon, lat = (float(one) for one in text.replace("，", ",").split(","))
    except ValueError:
        raise ReportError("position", "expected longitude, latitude", "应为“经度, 纬度”") from None
    return lon, lat

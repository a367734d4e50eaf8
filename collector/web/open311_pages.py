"""Open311 GeoReport v2 over HTTP: `/open311/v2`. What it says is in `collector.exchange.open311`."""

import math
import time
from collections.abc import Mapping
from typing import Final, cast, get_args

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from collector.boxes.limits import RateLimit, looks_of_anybody
from collector.exchange import open311, reports
from collector.exchange.open311 import Format, Open311Error
from collector.exchange.reports import Report, ReportError
from collector.exchange.settings import Open311Section
from collector.people import rights as table
from collector.people.actor import PUBLIC, Actor
from collector.places.codes import Codes
from collector.web import rights
from collector.web.rights import Desk, programs
from protocol.instants import from_epoch

NOT_ALLOWED: Final = Open311Error(403, "api_key: expected one whose owner may report at this street")
ROOT: Final = "/open311/v2"


def failure(path: str, status: int, text: str, wait_s: float | None = None) -> Response:
    """A refusal as the specification has it: 404, 403, 429, and 400 for all others that are the caller's."""
    form: Format = "json" if path.endswith(".json") else "xml"
    code = status if status in (403, 404, 429) or status >= 500 else 400
    content = open311.failure(form, code, text)
    headers = None if wait_s is None else {"retry-after": str(math.ceil(wait_s))}
    return Response(content, code, headers=headers, media_type=open311.KINDS[form])


def router(desk: Desk, section: Open311Section, codes: Codes, agency: str) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix=ROOT, include_in_schema=False)
    visits = RateLimit(time.monotonic)
    looks = looks_of_anybody(time.monotonic)

    def read(given: str) -> Format:
        if not section.enabled:
            raise Open311Error(404, "Open311 is not in use at this center")
        if given not in get_args(Format):
            raise Open311Error(404, f"expected .xml or .json, got .{given:.20}")
        return cast("Format", given)

    def street(given: str) -> str:
        """Of a jurisdiction; empty: all."""
        if not given:
            return ""
        found = section.jurisdictions.get(given)
        if found is None and not section.jurisdictions:
            with desk.store.transaction() as session:
                found = given if given in reports.streets(session) else None
        if found is None:
            raise Open311Error(404, "jurisdiction_id: expected one of this center")
        return found

    def who(request: Request, key: str) -> Actor:
        """Whose key it is, as `api_key` or as an API token in a header; PUBLIC: none came."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        given = key or (token.strip() if scheme.lower() == "bearer" else "")
        if not given:
            return PUBLIC
        found = request.app.state.gate.signing.bearer(given)
        if found is None or found.must:
            raise Open311Error(403, "api_key: expected an API token of this center that is good, this one is not")
        return cast("Actor", found.actor)

    def answer(form: Format, content: bytes, status: int = 200) -> Response:
        return Response(content, status, media_type=open311.KINDS[form], headers={"cache-control": "no-store"})

    @routes.get("/services.{form}", dependencies=[programs()])
    def list_services(request: Request, form: str, jurisdiction_id: str = "") -> Response:
        known = read(form)
        _count(request, looks)
        street(jurisdiction_id)
        return answer(known, open311.listed(known, "services", "service", open311.services(codes)))

    @routes.get("/services/{code}.{form}", dependencies=[programs()])
    def define_service(request: Request, code: str, form: str, jurisdiction_id: str = "") -> Response:
        known = read(form)
        _count(request, looks)
        street(jurisdiction_id)
        if codes.event_of(code) is None:
            raise Open311Error(404, "service_code: expected one of the services, got another")
        return answer(known, open311.definition(known, code))

    def find(request: Request, query: Mapping[str, str]) -> list[open311.Record]:
        asking = who(request, request.query_params.get("api_key", ""))
        public = asking == PUBLIC
        if public:
            _count(request, looks)
        elif not table.may(asking, "tickets.read"):
            raise Open311Error(403, "api_key: expected one whose owner may see tickets")
        now = from_epoch(desk.now_ms() / 1000)
        wanted = open311.read_wanted(query, street(request.query_params.get("jurisdiction_id", "")), now)
        own = None if public else table.streets(asking, "tickets.read")
        with desk.store.transaction() as session:
            return open311.requests(session, wanted, codes, agency, own, public=public)

    def find_one(request: Request, number: str, name: str) -> list[open311.Record]:
        found = find(request, {"service_request_id": number})
        if len(found) != 1:
            raise Open311Error(404, f"{name}: expected one of this center")
        return found

    @routes.get("/requests.{form}", dependencies=[programs()])
    def list_requests(request: Request, form: str) -> Response:
        known = read(form)
        found = find(request, request.query_params)
        return answer(known, open311.listed(known, "service_requests", "request", found))

    @routes.get("/requests/{number}.{form}", dependencies=[programs()])
    def get_request(request: Request, number: str, form: str) -> Response:
        known = read(form)
        found = find_one(request, number, "service_request_id")
        return answer(known, open311.listed(known, "service_requests", "request", found))

    @routes.get("/tokens/{token}.{form}", dependencies=[programs()])
    def get_token(request: Request, token: str, form: str) -> Response:
        """Nothing here is done in batches: a request's id is its own token."""
        known = read(form)
        find_one(request, token, "token")
        records = [{"service_request_id": token, "token": token}]
        return answer(known, open311.listed(known, "service_requests", "request", records))

    @routes.post("/requests.{form}", dependencies=[programs()])
    async def post_request(request: Request, form: str) -> Response:
        known = read(form)
        return await run_in_threadpool(take, request, known, await rights.form(request))

    def take(request: Request, form: Format, fields: dict[str, str]) -> Response:
        asking = who(request, fields.get("api_key", ""))
        if asking == PUBLIC:
            _let_in(request, section, visits)
        elif not table.may(asking, "reports.write"):
            raise NOT_ALLOWED
        report = _report(fields, street(fields.get("jurisdiction_id", "")))
        try:
            with desk.store.writing() as session:
                ticket, _ = reports.take(session, asking, report, codes, desk.now_ms())
                _check(asking, ticket.street)
        except ReportError as fault:
            status = 404 if fault.field in ("code", "street") else 400
            raise Open311Error(status, _named(fault)) from None
        desk.changed()
        notice = "现场核实后处理。/ Somebody looks at the place first."
        made = {"service_request_id": str(ticket.number), "service_notice": notice, "account_id": None}
        return answer(form, open311.listed(form, "service_requests", "request", [made]), 201)

    return routes


def _check(actor: Actor, street: str) -> None:
    if actor != PUBLIC and not table.may(actor, "reports.write", street):
        raise NOT_ALLOWED


def _let_in(request: Request, section: Open311Section, visits: RateLimit) -> None:
    """Let somebody report who has shown no key; raises Open311Error."""
    if not section.anonymous:
        raise Open311Error(403, "api_key: expected an API token of this center, got none")
    _count(request, visits)


def _count(request: Request, visits: RateLimit) -> None:
    """One more of an address; raises Open311Error where it has had all of its own."""
    address = rights.source(request).address
    wait_s = visits.wait_s(address)
    if wait_s > 0:
        raise Open311Error(429, f"too many requests from here: try again in {math.ceil(wait_s)} s", wait_s)
    visits.count(address)


def _report(fields: Mapping[str, str], street: str) -> Report:
    """What came as a report; names, addresses and telephone numbers of people are not taken."""
    at = {}
    for name in ("lat", "long"):
        text = fields.get(name, "").strip()
        try:
            at[name] = float(text) if text else None
        except ValueError:
            raise Open311Error(400, f"{name}: expected degrees") from None
    return Report(
        source="public",
        code=fields.get("service_code", ""),
        street=street,
        description=fields.get("description", ""),
        address=fields.get("address_string", ""),
        lon=at["long"],
        lat=at["lat"],
        cell=fields.get("address_id", ""),
    )


_NAMES: Final = {"code": "service_code", "street": "jurisdiction_id", "address": "address_string", "lon": "long"}


def _named(fault: ReportError) -> str:
    """In the specification's names."""
    return f"{_NAMES.get(fault.field, fault.field)}{fault.text.removeprefix(fault.field)}"

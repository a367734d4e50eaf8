"""Shops, permits, grid and cameras for programs and pages.

A file is sent as the body of a POST, as it is: `curl --data-binary @shops.xlsx …/api/shops/import?dry_run=true`. Errors
are `{"detail": text, "faults": [{row, field, column, code, zh, en}]}`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Body, Depends, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from collector.people.actor import EVERYWHERE, Actor
from collector.people.audit import record
from collector.people.rights import may
from collector.places import cameras, grid, permits, shops, standing
from collector.places.cameras import CAMERAS
from collector.places.columns import texts_of
from collector.places.coordinates import to_gcj02
from collector.places.faults import PlacesError
from collector.places.history import Author, history
from collector.places.permits import PERMITS
from collector.places.register import Around, Kind, Report, change, export_rows, import_file
from collector.places.sheets import MAX_BYTES, write_csv, write_workbook
from collector.places.shops import SHOPS
from collector.store import Ticket
from collector.web.plain import Number
from collector.web.refusals import refusal
from collector.web.rights import Desk, actor, in_streets, needs
from protocol.ids import Slug, is_slug

_STATUS: Final = {"unknown": 404, "exists": 409, "changed": 409, "withdrawn": 409, "not_allowed": 403, "too_big": 413}
_XLSX: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_EXAMPLE: Final = {"id": "tea-12", "name": "示例茶铺", "street": "xiaohe", "phone": "13800000000"}
MAX_REASON: Final = 500
Who = Annotated[Actor, Depends(actor)]
Fields = Annotated[
    dict[str, Any], Body(examples=[_EXAMPLE], description="fields by name, as texts or lists; `seen` and `reason` too")
]
Limit = Annotated[int, Query(ge=1, le=1000)]


@dataclass(frozen=True)
class Places:
    """What the routes share.

    Args:
        region: of the center.
        zone: whose days and hours permits mean.
    """

    desk: Desk
    region: str
    zone: ZoneInfo

    def author(self, who: Actor, reason: object = "") -> Author:
        """Who does it, now."""
        text = str(reason or "")[:MAX_REASON]
        return Author(who, self.desk.now_ms(), "".join(one if one.isprintable() else " " for one in text))

    def around(self, who: Actor, right: str) -> Around:
        """What checks are told."""
        return Around(self.region, self.desk.now_ms(), lambda street: may(who, right, street))

    def put(self, kind: Kind[Any], who: Actor, given: Mapping[str, Any], *, new: bool | None) -> Any:
        """Add or change one record."""
        right = "permits.write" if kind is PERMITS else "places.write"
        values = dict(given)
        seen, reason = values.pop("seen", None), values.pop("reason", "")
        if seen is not None and (not isinstance(seen, int) or isinstance(seen, bool)):
            raise HTTPException(422, "seen: expected the number of a revision")
        try:
            with self.desk.store.writing() as session:
                author, around = self.author(who, reason), self.around(who, right)
                found, warnings = change(session, kind, values, author, around, new=new, seen=seen)
                answer = {**_fields(kind, found), "warnings": [one.as_json() for one in warnings]}
        except PlacesError as fault:
            return _refusal(fault)
        self.desk.changed()
        return answer

    async def take(self, request: Request, limit: int, work: Callable[[Session, bytes], Report]) -> JSONResponse:
        """Import the body."""
        content = await _body(request, limit)

        def inside() -> Report:
            with self.desk.store.writing() as session:
                return work(session, content)

        report = await run_in_threadpool(inside)
        if report.good and not report.dry_run:
            self.desk.changed()
        if report.good:
            return JSONResponse(report.as_json())
        return _refusal(PlacesError(report.faults), report.as_json())

    def send(self, kind: Kind[Any], records: Sequence[Any], who: Actor, suffix: str, *, english: bool) -> Response:
        """Export, which the audit log tells of: names and numbers of people leave the center."""
        rows = export_rows(kind, records, chinese=not english)
        with self.desk.store.writing() as session:
            detail = {"rows": len(rows) - 1}
            record(session, who, f"{kind.name}.exported", f"{kind.name}/*", detail, self.desk.now_ms())
        content = write_workbook(rows, kind.zh) if suffix == "xlsx" else write_csv(rows)
        headers = {"content-disposition": f'attachment; filename="{kind.name}s.{suffix}"', "cache-control": "no-store"}
        return Response(content, media_type=_XLSX if suffix == "xlsx" else "text/csv; charset=utf-8", headers=headers)


def router(desk: Desk, region: str = "", zone: ZoneInfo | None = None) -> APIRouter:
    """All routes of places."""
    routes = APIRouter()
    places = Places(desk, region, zone or ZoneInfo("Asia/Shanghai"))
    _add_files(routes, places, "shops", SHOPS, "places.write", shops.listed)
    _add_files(routes, places, "permits", PERMITS, "permits.write", permits.listed)
    _add_files(routes, places, "cameras", CAMERAS, "places.write", cameras.listed)
    _add_shops(routes, places)
    _add_permits(routes, places)
    _add_cameras(routes, places)
    _add_grid(routes, places)
    _add_tickets(routes, places)
    return routes


def _add_files(
    routes: APIRouter, places: Places, name: str, kind: Kind[Any], right: str, everything: Callable[..., Sequence[Any]]
) -> None:
    @routes.post(f"/api/{name}/import", dependencies=[needs(right)], name=f"import_{name}")
    async def import_(
        request: Request, who: Who, *, dry_run: bool = False, encoding: str | None = None
    ) -> JSONResponse:
        def work(session: Session, content: bytes) -> Report:
            author, around = places.author(who), places.around(who, right)
            return import_file(session, kind, content, author, around, dry_run=dry_run, encoding=encoding)

        return await places.take(request, MAX_BYTES, work)

    @routes.get(f"/api/{name}/export.{{suffix}}", dependencies=[needs(right)], name=f"export_{name}")
    def export(suffix: str, who: Who, *, english: bool = False) -> Response:
        if suffix not in ("csv", "xlsx"):
            raise HTTPException(404, "expected export.csv or export.xlsx")
        with places.desk.store.transaction() as session:
            records = everything(session, streets=in_streets(who, right))
        return places.send(kind, records, who, suffix, english=english)


def _add_shops(routes: APIRouter, places: Places) -> None:
    store, now_ms = places.desk.store, places.desk.now_ms

    @routes.get("/api/shops", dependencies=[needs("places.read")])
    def list_shops(
        who: Who,
        street: Slug | None = None,
        state: Slug | None = None,
        after: str = Query("", pattern=r"^[a-z0-9-]*$"),
        limit: Limit = 200,
    ) -> list[dict[str, Any]]:
        with store.transaction() as session:
            seen = _streets(who, street)
            return [_masked(one) for one in shops.listed(session, streets=seen, state=state, after=after, limit=limit)]

    @routes.get("/api/shops/check", dependencies=[needs("places.read")])
    def check_shops(who: Who) -> list[dict[str, Any]]:
        with store.transaction() as session:
            found = standing.disagreements(session)
        return [dict(vars(one)) for one in found if may(who, "places.read", one.street)]

    @routes.get("/api/shops/{shop}", dependencies=[needs("places.read")])
    def get_shop(shop: str, who: Who) -> dict[str, Any]:
        with store.writing() as session:
            found = _shop(session, shop, who, "places.read")
            numbers = [one.number for one in permits.listed(session, shop=shop)]
            # names and numbers of people: who looked is on record
            record(session, who, "shop.looked_at", f"shop/{shop}", {}, now_ms())
        return {**_fields(SHOPS, found), "permits": numbers}

    @routes.get("/api/shops/{shop}/history", dependencies=[needs("places.write")])
    def get_shop_history(shop: str, who: Who) -> list[dict[str, Any]]:
        with store.writing() as session:
            _shop(session, shop, who, "places.write")
            found = history(session, "shop", shop)
            record(session, who, "shop.looked_at", f"shop/{shop}", {"history": True}, now_ms())
        return found

    @routes.post("/api/shops", dependencies=[needs("places.write")], status_code=201)
    def add_shop(given: Fields, who: Who) -> Any:
        return places.put(SHOPS, who, given, new=True)

    @routes.patch("/api/shops/{shop}", dependencies=[needs("places.write")])
    def change_shop(shop: str, given: Fields, who: Who) -> Any:
        return places.put(SHOPS, who, {**given, "id": shop}, new=False)

    @routes.post("/api/shops/{shop}/forget", dependencies=[needs("places.write")])
    def forget_shop(shop: str, who: Who) -> Any:
        try:
            with store.writing() as session:
                return _fields(
                    SHOPS, shops.forget(session, shop, places.author(who), places.around(who, "places.write"))
                )
        except PlacesError as fault:
            return _refusal(fault)


def _shop(session: Session, shop: str, who: Actor, right: str) -> shops.Shop:
    found = shops.find(session, shop) if is_slug(shop) else None
    if found is None or not may(who, right, found.street):
        raise HTTPException(404, f"没有登记店铺 {shop} / there is no shop {shop}")
    return found


def _add_permits(routes: APIRouter, places: Places) -> None:
    store = places.desk.store

    @routes.get("/api/permits", dependencies=[needs("places.read")])
    def list_permits(
        who: Who,
        street: Slug | None = None,
        shop: Slug | None = None,
        on: date | None = None,
        state: Slug | None = None,
        after: Number = 0,
        limit: Limit = 200,
    ) -> list[dict[str, Any]]:
        with store.transaction() as session:
            seen = _streets(who, street)
            found = permits.listed(session, streets=seen, shop=shop, on=on, state=state, after=after, limit=limit)
        return [{"permit_id": one.id, **_fields(PERMITS, one), "withdrawn_ms": one.withdrawn_ms} for one in found]

    @routes.post("/api/permits", dependencies=[needs("permits.write")], status_code=201)
    def add_permit(given: Fields, who: Who) -> Any:
        return places.put(PERMITS, who, given, new=True)

    # a permit's number may hold a slash, so it is no part of the path
    @routes.patch("/api/permits", dependencies=[needs("permits.write")])
    def change_permit(given: Fields, who: Who) -> Any:
        return places.put(PERMITS, who, given, new=False)

    @routes.post("/api/permits/withdraw", dependencies=[needs("permits.write")])
    def withdraw_permit(given: Fields, who: Who) -> Any:
        return places.put(PERMITS, who, {**given, "state": permits.WITHDRAWN}, new=False)

    @routes.get("/api/permits/history", dependencies=[needs("places.read")])
    def get_permit_history(number: str, who: Who) -> list[dict[str, Any]]:
        with store.transaction() as session:
            found = permits.find(session, number) if number.isprintable() else None
            if found is None or not may(who, "places.read", found.street):
                raise HTTPException(404, f"没有备案 {number} / there is no permit {number}")
            return history(session, "permit", number)

    @routes.get("/api/permits/covering", dependencies=[needs("places.read")])
    def get_cover(
        who: Who,
        street: Slug,
        box: Slug,
        camera: Slug,
        zone: Slug,
        shop: Slug | None = None,
        at: datetime | None = None,
    ) -> dict[str, Any] | None:
        if not may(who, "places.read", street):
            raise HTTPException(403, f"您无权查看街道 {street} / you may not look at street {street}")
        if at is not None and (at.tzinfo is None or not 1990 <= at.year <= 2200):
            raise HTTPException(422, "at: expected an instant with an offset such as 2026-01-01T00:00:00Z")
        at_ms = places.desk.now_ms() if at is None else round(at.timestamp() * 1000)
        with store.transaction() as session:
            cover = permits.covering(session, shop, street, box, camera, zone, at_ms, places.zone)
        return None if cover is None else dict(vars(cover))


def _add_cameras(routes: APIRouter, places: Places) -> None:
    @routes.get("/api/cameras/places", dependencies=[needs("places.read")])
    def list_cameras(who: Who, street: Slug | None = None) -> list[dict[str, Any]]:
        with places.desk.store.transaction() as session:
            found = cameras.listed(session, streets=_streets(who, street))
            return [{**_fields(CAMERAS, one), "in_cell": cameras.cell_of(session, one)} for one in found]

    @routes.put("/api/cameras/{box}/{camera}/place", dependencies=[needs("places.write")])
    def set_camera(box: str, camera: str, given: Fields, who: Who) -> Any:
        return places.put(CAMERAS, who, {**given, "box": box, "camera": camera}, new=None)


def _add_grid(routes: APIRouter, places: Places) -> None:
    store = places.desk.store

    @routes.post("/api/grid/import", dependencies=[needs("places.write")])
    async def import_grid(
        request: Request, who: Who, *, dry_run: bool = False, replace: bool = False, code: str | None = None
    ) -> JSONResponse:
        if not may(who, "places.write", EVERYWHERE):
            raise HTTPException(
                403, "网格属于全中心，需要 * 的角色 / the grid is the whole center's: it needs a role at *"
            )

        def work(session: Session, content: bytes) -> Report:
            author, around = places.author(who), places.around(who, "places.write")
            return grid.import_grid(
                session, content, author, around, replace_all=replace, code_name=code, dry_run=dry_run
            )

        return await places.take(request, grid.MAX_BYTES, work)

    @routes.get("/api/grid", dependencies=[needs("places.read")])
    def get_grid() -> dict[str, Any]:
        with store.transaction() as session:
            return {"type": "FeatureCollection", "features": [grid.feature(row) for row in grid.listed(session)]}

    @routes.get("/api/grid/at", dependencies=[needs("places.read")])
    def get_cell(
        lon: Annotated[float, Query(ge=-180, le=180, allow_inf_nan=False)],
        lat: Annotated[float, Query(ge=-90, le=90, allow_inf_nan=False)],
    ) -> dict[str, Any]:
        with store.transaction() as session:
            cells = [{"code": row.code, "name": row.name} for row in grid.cells_at(session, lon, lat)]
        return {"cells": cells, "gcj02": to_gcj02(lon, lat)}


def _add_tickets(routes: APIRouter, places: Places) -> None:
    @routes.get("/api/tickets/{number}/place", dependencies=[needs("tickets.read")])
    def get_place(number: Number, who: Who) -> dict[str, Any]:
        """What the register knows of a ticket's shop, whom one may tell, and where it is."""
        with places.desk.store.transaction() as session:
            ticket = session.get(Ticket, number)
            if ticket is None or not may(who, "tickets.read", ticket.street):
                raise HTTPException(404, f"没有工单 {number} / there is no ticket {number}")
            whose = standing.standing(session, ticket.shop, ticket.box_id, ticket.camera, ticket.zone)
            where = standing.spot(session, whose.shop or whose.tell, ticket.box_id, ticket.camera, ticket.report)
        return {"standing": whose.as_json(), "spot": dict(vars(where))}


def _streets(who: Actor, street: str | None) -> frozenset[str] | None:
    """Streets whose rows somebody sees, of the one that is asked for."""
    seen = in_streets(who, "places.read")
    if street is None:
        return seen
    return frozenset({street}) if seen is None or street in seen else frozenset()


async def _body(request: Request, limit: int) -> bytes:
    """The body, no longer than it may be."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise HTTPException(413, f"文件最大 {limit >> 20} MB / expected a file of at most {limit >> 20} MB")
        parts.append(part)
    return b"".join(parts)


def _refusal(fault: PlacesError, report: Mapping[str, Any] | None = None) -> JSONResponse:
    """What is wrong with a change, or with a file that a report is of."""
    more = report or {"faults": [one.as_json() for one in fault.faults]}
    return refusal(_STATUS.get(fault.code, 422), str(fault), code=fault.code, zh=fault.faults[0].text.zh, more=more)


def _fields(kind: Kind[Any], found: Any) -> dict[str, Any]:
    return {**texts_of(kind.columns, found), "revision": found.revision}


def _masked(shop: shops.Shop) -> dict[str, Any]:
    """A shop in a list: without what tells of a person, but whether it can be told something."""
    values = {name: text for name, text in _fields(SHOPS, shop).items() if name not in shops.PERSONAL}
    return {**values, "can_be_told": bool(shop.phone or shop.other_phone or shop.email)}

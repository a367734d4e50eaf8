"""Pages of shops and permits: a list, a form for each with its history, and files that come and go."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import ColumnElement, and_, case, or_, select
from sqlalchemy.orm import Session

from collector.people.actor import Actor
from collector.people.audit import record
from collector.people.rights import may
from collector.places import fields as readers
from collector.places import permits, shops
from collector.places.columns import Column, texts_of
from collector.places.faults import PlacesError
from collector.places.history import history
from collector.places.permits import PERMITS
from collector.places.register import Change, Findings, Kind, change
from collector.places.shops import SHOPS
from collector.places.zones import sites, zone_shops
from collector.store import PermitRow, ShopRow
from collector.web import forms
from collector.web.forms import DONE, Choices, Entry, Faults, go
from collector.web.language import N_, Text, Words
from collector.web.pages import Page, Showing
from collector.web.places_api import Places
from collector.web.rights import Acting, Desk, Fields, in_streets, needs

A_PAGE: Final = 100
STATUS: Final = {"unknown": 404, "exists": 409, "changed": 409, "not_allowed": 403}
MOST_OFFERED: Final = 500
"""Shops and zones; beyond these one types."""
SOON_DAYS: Final = 14
ENGLISH: Final = {
    "id": "Id",
    "name": "Name",
    "email": "E-mail",
    "lon": "Longitude",
    "lat": "Latitude",
    "zones": "Zones",
    "from_day": "First day",
    "until_day": "Last day",
    "excluded": "Days excepted",
    "business": "Business",
}
HINTS: Final = {
    "id": N_("Lower-case letters, digits and hyphens, such as shop-12; it is never changed."),
    "street": N_("A street is here once it has a box."),
    "phone": N_("A mobile number, or one with its area code. Notices go there."),
    "lon": N_("Degrees, WGS84, of its door."),
    "zones": N_("box/camera/zone, one on each line."),
    "number": N_("As it is printed on the approval; it is never changed."),
    "shop": N_("Empty: it is for whoever stands in its zones or its area."),
    "area": N_("Corners as longitude and latitude, with commas between corners; empty: everywhere."),
    "weekdays": N_("Such as Mo-Fr,Su or daily; empty: every day."),
    "hours": N_("Such as 18:00-22:00, or 18:00-02:00 past midnight; several with a comma."),
    "excluded": N_("Days on which it does not count, such as 2026-10-01..2026-10-07."),
}
AREAS: Final = ("zones", "area")
NUMBERS: Final = ("lon", "lat")
CHOICES: Final[Mapping[str, Choices]] = {
    "language": (("zh", Words("中文", "Chinese")), ("en", Words("英文", "English"))),
    "state": (("active", N_("Open for business")), ("closed", N_("Closed down"))),
}
STEPS: Final = {
    "added": N_("Added"),
    "changed": N_("Changed"),
    "closed": N_("Closed down"),
    "reopened": N_("Open again"),
    "withdrawn": Words("撤销", "Withdrawn"),
    "forgotten": N_("Its people were forgotten"),
}
STANDINGS: Final[Mapping[str, tuple[Text, str]]] = {
    "withdrawn": (Words("已撤销", "Withdrawn"), ""),
    "over": (N_("Over"), ""),
    "later": (N_("To come"), ""),
    "good": (Words("有效", "In force"), "good"),
}
"""What a permit is today, and how that looks."""
Asked = Annotated[str, Query(max_length=60)]
At = Annotated[int, Query(ge=1, le=10_000)]


def _shop_is(state: str, _today: str) -> list[ColumnElement[bool]]:
    return [ShopRow.state == state] if state in ("active", "closed") else []


def _permit_is(state: str, today: str) -> list[ColumnElement[bool]]:
    good = and_(PermitRow.state == permits.ACTIVE, PermitRow.until_day >= today)
    return {"good": [good], "over": [~good]}.get(state, [])


def _permit_order(today: str) -> list[Any]:
    # what ends soon comes first, and what has ended last
    good = and_(PermitRow.state == permits.ACTIVE, PermitRow.until_day >= today)
    return [case((good, 0), else_=1), PermitRow.until_day, PermitRow.id]


@dataclass(frozen=True)
class Register:
    """One of the two.

    Args:
        path: of its list; records are below it.
        right: that changes it.
        sees: who sees what it was before.
        hidden: fields that have another way than the form.
        searched: columns; none that tells of a person, as not everybody may look for that.
        states: to choose from in the list, the first by itself.
    """

    kind: Kind[Any]
    path: str
    title: str
    right: str
    sees: str
    row: Any
    hidden: tuple[str, ...]
    searched: tuple[Any, ...]
    states: Choices
    limit: Callable[[str, str], list[ColumnElement[bool]]]
    order: Callable[[str], list[Any]]

    @property
    def key(self) -> str:
        """The field that a record is found by."""
        return self.kind.key[0]

    def find(self, session: Session, who: Actor, key: str, right: str) -> Any:
        """A record that somebody may see; one of another street is not there."""
        found = self.kind.find(session, [key]).get(key) if key.isprintable() else None
        if found is None or not may(who, right, found.street):
            raise HTTPException(404, f"没有登记 {key} / there is no {key}")
        return found


REGISTERS: Final = (
    Register(
        kind=SHOPS,
        path="/shops",
        title=N_("Shops"),
        right="places.write",
        sees="places.write",
        row=ShopRow,
        hidden=(),
        searched=(ShopRow.id, ShopRow.name, ShopRow.address, ShopRow.business, ShopRow.zones),
        states=(("active", N_("Open for business")), ("closed", N_("Closed down")), ("all", N_("All"))),
        limit=_shop_is,
        order=lambda _today: [ShopRow.id],
    ),
    Register(
        kind=PERMITS,
        path="/permits",
        title=N_("Permits"),
        right="permits.write",
        sees="places.read",
        row=PermitRow,
        hidden=("state",),
        searched=(PermitRow.number, PermitRow.issuer, PermitRow.business, PermitRow.shop_id, PermitRow.zones),
        states=(("good", N_("In force or to come")), ("over", N_("Over")), ("all", N_("All"))),
        limit=_permit_is,
        order=_permit_order,
    ),
)


def label(column: Column) -> Words:
    """Name of a field."""
    return Words(column.zh, ENGLISH.get(column.field) or column.field.replace("_", " ").capitalize())


def router(desk: Desk, region: str, zone: ZoneInfo) -> APIRouter:
    """The routes."""
    routes = APIRouter(include_in_schema=False)
    for one in REGISTERS:
        _add(routes, one, Places(desk, region, zone))
    _add_ends(routes, Places(desk, region, zone))
    return routes


def _add(routes: APIRouter, register: Register, places: Places) -> None:
    desk, kind = places.desk, register.kind

    @routes.get(register.path, dependencies=[needs("places.read")])
    def show_list(
        page: Showing, acting: Acting, *, text: Asked = "", street: Asked = "", state: Asked = "", at: At = 1
    ) -> HTMLResponse:
        today = datetime.fromtimestamp(desk.now_ms() / 1000, places.zone).date()
        state = state or register.states[0][0]
        query = select(register.row).where(*register.limit(state, today.isoformat()))
        query = query.order_by(*register.order(today.isoformat())).limit(A_PAGE + 1).offset((at - 1) * A_PAGE)
        own = in_streets(acting, "places.read")
        if own is not None:
            query = query.where(register.row.street.in_(own))
        if street:
            query = query.where(register.row.street == street)
        if text.strip():
            query = query.where(or_(*(one.contains(text.strip(), autoescape=True) for one in register.searched)))
        with desk.store.transaction() as session:
            rows = list(session.scalars(query))
            known = forms.streets(session, acting, "places.read")
            view = _shops(rows) if kind is SHOPS else _permits(session, rows, today, page)
        asked = {"text": text, "street": street, "state": state}
        turned = [f"{register.path}?{urlencode({**asked, 'at': n})}" for n in (at - 1, at + 1)]
        return page(
            "shops.html" if kind is SHOPS else "permits.html",
            register=register,
            rows=view[:A_PAGE],
            asked=asked,
            streets=known,
            some=bool(text or street or at > 1),
            before=turned[0] if at > 1 else None,
            after=turned[1] if len(rows) > A_PAGE else None,
        )

    def form(
        page: Page, who: Actor, values: Mapping[str, str], found: Any, faults: Faults, status: int = 200, **more: Any
    ) -> HTMLResponse:
        """The form of a record, or of a new one."""
        with desk.store.transaction() as session:
            known = _known(session, who, register.right)
            own = permits.listed(session, shop=found.id) if found and kind is SHOPS else []
        return page(
            "record.html",
            status,
            register=register,
            found=found,
            entries=list(_entries(register, values, found, known, faults)),
            faults=faults.get("", ()),
            permits=[one.number for one in own],
            permits_write=found is not None and may(who, "permits.write", found.street),
            gone=STANDINGS["withdrawn"][0] if found and found.state == permits.WITHDRAWN else "",
            writes=may(who, register.right, found.street) if found else True,
            **{"done": "", "seen": "", "steps": (), "warnings": (), **more},
        )

    @routes.get(f"{register.path}/new", dependencies=[needs(register.right)])
    def show_new(page: Showing, acting: Acting, shop: Asked = "") -> HTMLResponse:
        return form(page, acting, {"shop": shop}, None, {})

    @routes.get(f"{register.path}/record", dependencies=[needs("places.read")])
    def show_record(page: Showing, acting: Acting, key: str, done: str = "") -> HTMLResponse:
        with desk.store.writing() as session:
            found = register.find(session, acting, key, "places.read")
            findings = Findings()
            kind.check(session, [Change(None, found, found)], places.around(acting, "places.read"), findings)
            named = {column.field: label(column) for column in kind.columns}
            steps = history(session, kind.name, key) if may(acting, register.sees, found.street) else []
            if kind is SHOPS:
                # names and numbers of people: who looked is on record
                detail = {"history": True} if steps else {}
                record(session, acting, "shop.looked_at", f"shop/{key}", detail, desk.now_ms())
        return form(
            page,
            acting,
            texts_of(kind.columns, found),
            found,
            {},
            done=DONE.get(done, ""),
            warnings=[(named.get(one.field or "", ""), one.text) for one in (*findings.faults, *findings.warnings)],
            steps=[_step(one, named) for one in steps],
        )

    @routes.post(f"{register.path}/record", dependencies=[needs(register.right)])
    def take(page: Showing, acting: Acting, fields: Fields) -> Response:
        names = [column.field for column in kind.columns if column.field not in register.hidden]
        given = {name: fields[name] for name in names if name in fields}
        if "zones" in given:
            given["zones"] = _with_marked(given["zones"], fields)
        seen = fields.get("seen", "")
        new = not seen
        try:
            with desk.store.writing() as session:
                author, around = places.author(acting, fields.get("reason")), places.around(acting, register.right)
                revision = int(seen) if seen.isdecimal() and len(seen) < 10 else None
                found, _ = change(session, kind, given, author, around, new=new, seen=revision)
        except PlacesError as fault:
            with desk.store.transaction() as session:
                old = None if new else register.find(session, acting, given.get(register.key, ""), "places.read")
            # of the one that was looked at: what another changed meanwhile is not written over by saving again
            return form(page, acting, given, old, _by_field(fault, names), STATUS.get(fault.code, 422), seen=seen)
        desk.changed()
        done = "added" if new else ("same" if found.revision == revision else "saved")
        return go(f"{register.path}/record", key=found.key, done=done)


def _add_ends(routes: APIRouter, places: Places) -> None:
    """What a record's life ends with: a permit is withdrawn, the people of a closed shop are forgotten."""
    desk = places.desk

    def ended(page: Page, path: str, key: str, work: Callable[[Session], Any]) -> Response:
        try:
            with desk.store.writing() as session:
                work(session)
        except PlacesError as fault:
            return page("refused.html", STATUS.get(fault.code, 409), detail=str(fault))
        desk.changed()
        return go(path, key=key, done="saved")

    @routes.post("/permits/withdraw", dependencies=[needs("permits.write")])
    def withdraw(page: Showing, acting: Acting, fields: Fields) -> Response:
        number = fields.get("key", "")
        author, around = places.author(acting, fields.get("reason")), places.around(acting, "permits.write")
        return ended(page, "/permits/record", number, lambda session: permits.withdraw(session, number, author, around))

    @routes.post("/shops/forget", dependencies=[needs("places.write")])
    def forget(page: Showing, acting: Acting, fields: Fields) -> Response:
        shop = fields.get("key", "")
        author, around = places.author(acting), places.around(acting, "places.write")
        return ended(page, "/shops/record", shop, lambda session: shops.forget(session, shop, author, around))


@dataclass(frozen=True)
class Known:
    """What a form offers, of the streets where somebody may change a register."""

    streets: Sequence[str]
    shops: Choices
    zones: Choices


def _known(session: Session, who: Actor, right: str) -> Known:
    own = in_streets(who, right)
    streets = sorted({*forms.streets(session, who, right), *(own or ())})
    shops = select(ShopRow.id, ShopRow.name).where(ShopRow.state == "active").order_by(ShopRow.id)
    if own is not None:
        shops = shops.where(ShopRow.street.in_(own))
    at = sites(session)
    zones = [one for one in zone_shops(session) if own is None or at.get(one[0]) in own]
    zones.sort(key=lambda one: (one[:2], len(one[2]), one[2]))  # front-9, front-10
    offered = ["/".join(one) for one in zones[:MOST_OFFERED]]
    named = tuple((row.id, Words(row.name, row.name)) for row in session.execute(shops.limit(MOST_OFFERED)))
    return Known(streets, named, tuple((one, Words(one, one)) for one in offered))


def _with_marked(typed: str, fields: Mapping[str, str]) -> str:
    """Zones that were typed, and those that were chosen."""
    lines = [line.strip() for line in typed.splitlines() if line.strip()]
    chosen = [name.partition(":")[2] for name in fields if name.startswith("zones:")]
    return "\n".join([*lines, *(one for one in chosen if one not in lines)])


def _entries(register: Register, values: Mapping[str, str], found: Any, known: Known, faults: Faults) -> list[Entry]:
    entries = []
    for column in register.kind.columns:
        name = column.field
        # a key is chosen once, and a new shop is open
        if name in register.hidden or (name == "state" and found is None):
            continue
        kind = "choice" if name in CHOICES else "area" if name in AREAS else "date" if name.endswith("_day") else "text"
        value = values.get(name, "")
        choices = CHOICES.get(name, known.zones if name == "zones" else ())
        if name == "street" and known.streets:
            # one that has no box, or is another's, stays what it is
            first = () if len(known.streets) == 1 and not value else (value,)
            kind, choices = "choice", [(one, Words(one, one)) for one in dict.fromkeys((*first, *known.streets))]
        entries.append(
            Entry(
                name,
                label(column),
                value.replace("; ", "\n") if name == "zones" else value,
                "key" if name == register.key and found is not None else "number" if name in NUMBERS else kind,
                HINTS.get(name, ""),
                column.required,
                choices,
                known.shops if name == "shop" else (),
                faults.get(name, ()),
            )
        )
    return entries


def _by_field(fault: PlacesError, names: Sequence[str]) -> dict[str, list[Text]]:
    found: dict[str, list[Text]] = {}
    for one in fault.faults:
        at = one.field if one.field is not None and one.field in names else ""
        found.setdefault(at, []).append(Words(*one.text))
    return found


def _step(one: Mapping[str, Any], named: Mapping[str, Words]) -> dict[str, Any]:
    """A line of the history."""
    return {
        "at_ms": round(datetime.fromisoformat(one["at"]).timestamp() * 1000),
        "text": STEPS.get(one["action"], one["action"]),
        "by": one["by_name"] or one["by"],
        "reason": one["reason"],
        "file": bool(one["source"]),
        "changed": [(named.get(name, name), *pair) for name, pair in one["changed"].items()],
    }


def _shops(rows: Sequence[ShopRow]) -> list[dict[str, Any]]:
    """Shops in a list: without what tells of a person, but whether they can be told something."""
    return [
        {
            "key": row.id,
            "name": row.name,
            "street": row.street,
            "address": row.address,
            "business": row.business,
            "zones": len(readers.zones(row.zones)),
            "told": bool(row.phone or row.other_phone or row.email),
            "active": row.state == shops.ACTIVE,
        }
        for row in rows
    ]


def _permits(session: Session, rows: Sequence[PermitRow], today: date, page: Page) -> list[dict[str, Any]]:
    """Permits in a list."""
    known = shops.find_all(session, {row.shop_id for row in rows if row.shop_id})
    names = page.reader.locale.days["stand-alone"]["abbreviated"]

    def days(text: str) -> str:
        found = readers.weekdays(text)
        return "" if len(found) == 7 else " ".join(names[day] for day in found)

    return [
        {
            "key": row.number,
            "issuer": row.issuer,
            "shop": known[row.shop_id].name if row.shop_id in known else row.shop_id or "",
            "zones": len(readers.zones(row.zones)),
            "area": bool(row.area),
            "from_day": row.from_day,
            "until_day": row.until_day,
            "days": days(row.weekdays),
            "hours": row.hours,
            "state": (state := _standing(row, today.isoformat())),
            "standing": STANDINGS[state],
            "left": (date.fromisoformat(row.until_day) - today).days + 1,
            "soon": SOON_DAYS,
        }
        for row in rows
    ]


def _standing(row: PermitRow, today: str) -> str:
    if row.state == permits.WITHDRAWN:
        return "withdrawn"
    if row.until_day < today:
        return "over"
    return "later" if row.from_day > today else "good"

"""Whose place a ticket is about, and whom one may tell: what the box said against what the register says.

The box's settings decide the ticket: its key names the shop that stood in them when the incident was made, and no later
edit of the register moves it to another. The register decides who is told, and only where the two do not contradict
each other: a notice to the wrong shop is worse than one that waits for a person.

| the box says | the register has for the zone | told by itself | warning |
| --- | --- | --- | --- |
| A, active | A, or nothing | A | |
| A, active | B | nobody | `contradiction` |
| A, not in the register | nothing | nobody | `unregistered` |
| A, not in the register | B | nobody | `contradiction` |
| A, closed | nothing | nobody | `closed` |
| A, closed | B | nobody | `contradiction` |
| no shop | B | nobody: the ticket has no shop, so that the community goes first | `from_register` |
| no shop | nothing | nobody | |
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from collector.places import cameras, grid, shops
from collector.places.coordinates import map_url
from collector.places.faults import Text
from collector.places.fields import Position
from collector.places.shops import Shop
from collector.places.zones import sites, zone_shops
from collector.store import ReportRow, ShopZone, Ticket, among


@dataclass(frozen=True)
class Standing:
    """Who stands behind a ticket's place.

    Args:
        said: shop of the ticket, as the box said.
        shop: the same in the register; None where it has none of that id, or the box said none.
        registered: whose the zone is by the register.
        tell: who may be told without a person deciding; None: a person has to. Where the box said none it is whose
            place it is by the register: shown, and nothing is sent, as only a ticket with a shop has a shop's minutes.
        code: of the warning; empty for none.
        warning: it, for people.
    """

    said: str | None
    shop: Shop | None
    registered: str | None
    tell: Shop | None
    code: str = ""
    warning: Text | None = None

    def as_json(self) -> dict[str, Any]:
        """For the API; without what tells of a person."""
        return {
            "shop": self.said,
            "name": None if self.shop is None else self.shop.name,
            "registered": self.registered,
            "tell": None if self.tell is None else self.tell.id,
            "code": self.code,
            "warning": None if self.warning is None else self.warning._asdict(),
        }


def standing(session: Session, shop: str | None, box: str | None, camera: str, zone: str) -> Standing:
    """Who stands behind a place.

    Args:
        session: a transaction.
        shop: of the ticket; None where the box named none.
        box: of the ticket; None: no camera has seen it.
        camera: of the ticket.
        zone: of the ticket.
    """
    registered = None if box is None else shops.owner_of(session, box, camera, zone)
    if shop is None:
        found = None if registered is None else shops.find(session, registered)
        if found is None:
            return Standing(None, None, None, None)
        text = Text(
            f"盒子没有说是哪家店；登记为 {found.name}（{found.id}）",
            f"the box names no shop; by the register it is {found.name} ({found.id})",
        )
        return Standing(None, None, registered, found, "from_register", text)
    found = shops.find(session, shop)
    if registered is not None and registered != shop:
        text = Text(
            f"盒子说是店铺 {shop}，台账把这个区域归于 {registered}；请核对后再提醒",
            f"the box says shop {shop}, the register gives this zone to {registered}; find out before anybody is told",
        )
        return Standing(shop, found, registered, None, "contradiction", text)
    if found is None:
        text = Text(f"店铺 {shop} 不在台账中，无法提醒", f"shop {shop} is not in the register: it cannot be told")
        return Standing(shop, None, None, None, "unregistered", text)
    if not found.active:
        text = Text(f"店铺 {shop} 已停业", f"shop {shop} is closed")
        return Standing(shop, found, None, None, "closed", text)
    return Standing(shop, found, registered, found)


@dataclass(frozen=True)
class Spot:
    """Where a ticket is, for maps and for the municipal platform; None for what nobody has entered.

    Args:
        lon: degrees, WGS84: of the shop's door, else of the camera; `lat` likewise.
        cell: of the unit grid.
        gb28181: of the camera.
        map_url: opens a Chinese map there, hence in GCJ-02.
    """

    lon: float | None = None
    lat: float | None = None
    cell: str | None = None
    gb28181: str | None = None
    map_url: str | None = None


def spot(session: Session, shop: Shop | None, box: str | None, camera: str, report: ReportRow | None = None) -> Spot:
    """Where a ticket is."""
    if report is not None and (shop is None or shop.lon is None or report.lon is not None):
        at = None if report.lon is None or report.lat is None else map_url(report.lon, report.lat, report.address)
        return Spot(report.lon, report.lat, report.cell or None, map_url=at)
    place = None if box is None else cameras.find(session, box, camera)
    gb28181 = None if place is None else place.gb28181
    cell = None if place is None else cameras.cell_of(session, place)
    lon, lat = (None, None) if place is None else (place.lon, place.lat)
    name = camera if place is None else place.name or camera
    if shop is not None and shop.lon is not None and shop.lat is not None:
        lon, lat, name = shop.lon, shop.lat, shop.name
        cell = grid.cell_at(session, lon, lat) or cell
    if lon is None or lat is None:
        return Spot(cell=cell, gb28181=gb28181)
    return Spot(lon, lat, cell, gb28181, map_url(lon, lat, name))


def positions(session: Session, tickets: Iterable[Ticket]) -> dict[int, Position]:
    """Where many tickets are, by number, as `spot` has each; without those whose place nobody has entered."""
    every = list(tickets)
    owners = {(row.box_id, row.camera, row.zone): row.shop_id for row in session.scalars(select(ShopZone))}
    of = {one.number: one.shop or owners.get((one.box_id or "", one.camera, one.zone)) for one in every}
    doors = shops.find_all(session, {shop for shop in of.values() if shop is not None})
    places = cameras.find_all(session, {f"{one.box_id}/{one.camera}" for one in every if one.box_id is not None})
    reports = {row.ticket_number: row for row in among(session, ReportRow, ReportRow.ticket_number, set(of))}
    found = {}
    for one in every:
        door, report = doors.get(of[one.number] or ""), reports.get(one.number)
        at_door = door is not None and door.lon is not None
        if report is not None and (report.lon is not None or not at_door):
            where: Any = report
        else:
            where = door if at_door else places.get(f"{one.box_id}/{one.camera}")
        if where is not None and where.lon is not None and where.lat is not None:
            found[one.number] = (where.lon, where.lat)
    return found


@dataclass(frozen=True)
class Disagreement:
    """A zone of which a box's settings and the register do not say the same.

    Args:
        zone: `box/camera/zone`.
        settings: the shop that the settings name.
        register: the shop that the register has.
        code: as of `Standing`; `zone_unknown` where the settings have no such zone.
    """

    street: str
    zone: str
    settings: str | None
    register: str | None
    code: str


def disagreements(session: Session) -> list[Disagreement]:
    """All of them, by zone; a box of which no settings are known says nothing."""
    settings = zone_shops(session)
    known = sites(session)
    found = []
    for (box, camera, zone), shop in settings.items():
        one = standing(session, shop, box, camera, zone)
        if one.code:
            found.append(Disagreement(known[box], f"{box}/{camera}/{zone}", shop, one.registered, one.code))
    heard = {box for box, _, _ in settings}
    for held in shops.listed(session, state=shops.ACTIVE):
        missing = [zone for zone in held.zones if zone[0] in heard and zone not in settings]
        found += [Disagreement(held.street, "/".join(zone), None, held.id, "zone_unknown") for zone in missing]
    return sorted(found, key=lambda one: one.zone)

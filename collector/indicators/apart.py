"""Figures taken apart: by what, and what each part is called. Places are those of today's register."""

from collections.abc import Callable, Mapping
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from collector.indicators.definitions import WEEKDAYS
from collector.indicators.figures import Figures, Loaded
from collector.indicators.packs import Spot
from collector.places import cameras, grid, shops
from collector.places.codes import Codes, load_codes
from collector.store import CameraPlace, ReportRow, Ticket

NONE: Final = ""
"""Of a part: no shop, no cell, no code."""


def apart(session: Session, loaded: Loaded, by: str) -> dict[str, tuple[str, Figures]]:
    """By key: what it is called, and its figures; raises KeyError for what there is no taking apart by."""
    if by == "hour":
        return {key: (f"{key}:00", one) for key, one in loaded.by_hour().items()}
    if by in ("day", "week"):
        return {key: (key, one) for key, one in (loaded.by_day() if by == "day" else loaded.by_week()).items()}
    if by == "weekday":
        return {key: (_weekday(key), one) for key, one in loaded.by_weekday().items()}
    if by == "weekday_hour":
        return {key: (f"{_weekday(key[0])} {key[2:]}:00", one) for key, one in loaded.by_weekday_hour().items()}
    key, name = split(session, loaded, by)
    found = loaded.by_spot([key(spot) for spot in loaded.spots])
    return {one: (name.get(one, one), figures) for one, figures in sorted(found.items())}


Split = tuple[Callable[[Spot], str], Mapping[str, str]]


def split(session: Session, loaded: Loaded, by: str) -> Split:
    """The key of each spot, and what some of them are called; raises KeyError for what spots are not taken apart by."""
    ways = {"street": _street, "shop": _shop, "camera": _camera, "category": _category, "grid": _grid}
    return ways[by](session, loaded)


def _weekday(key: str) -> str:
    return " ".join(WEEKDAYS[int(key) - 1])


def _street(_session: Session, _loaded: Loaded) -> Split:
    return lambda spot: spot.street, {}


def _shop(session: Session, loaded: Loaded) -> Split:
    known = shops.find_all(session, {spot.shop for spot in loaded.spots if spot.shop is not None})
    return lambda spot: spot.shop or NONE, {one.id: one.name for one in known.values()}


def _camera(session: Session, _loaded: Loaded) -> Split:
    rows = session.execute(select(CameraPlace.box_id, CameraPlace.camera, CameraPlace.name))
    return lambda spot: f"{spot.box}/{spot.camera}" if spot.box else NONE, {
        f"{row.box_id}/{row.camera}": row.name for row in rows if row.name
    }


def _category(_session: Session, _loaded: Loaded) -> Split:
    codes: Codes = load_codes()
    events = {event.code: f"{event.code} {event.zh} {event.en}" for event in codes.event}
    return lambda spot: codes.rules.get(spot.rule) or spot.rule, events


def _grid(session: Session, loaded: Loaded) -> Split:
    cell_at = grid.lookup(session)
    known = shops.find_all(session, {spot.shop for spot in loaded.spots if spot.shop is not None})
    places = {(one.box, one.camera): one for one in cameras.listed(session)}
    said = select(Ticket.key, ReportRow.cell).join(ReportRow, ReportRow.ticket_number == Ticket.number)
    reported = {row.key: row.cell for row in session.execute(said)}

    def cell(spot: Spot) -> str:
        """As `places.standing.spot` has it: of the shop's door, else of the camera; else as somebody reported it."""
        shop, place = known.get(spot.shop or ""), places.get((spot.box, spot.camera))
        found = None
        if shop is not None and shop.lon is not None and shop.lat is not None:
            found = cell_at(shop.lon, shop.lat)
        if found is None and place is not None:
            found = place.cell or None
            if found is None and place.lon is not None and place.lat is not None:
                found = cell_at(place.lon, place.lat)
        return found or reported.get(spot.key) or NONE

    return cell, {}

"""The wall (驾驶舱): a page for a big screen that nobody touches. `wall.js` keeps it as it is at the center."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from babel.dates import format_date
from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from collector.people.signing import Caller
from collector.places import grid
from collector.places.settings import MapSection
from collector.places.streets import Streets
from collector.web import wall
from collector.web.assets import Assets
from collector.web.live import now
from collector.web.pages import Page, Showing
from collector.web.rights import Asking, Desk, held, in_streets, needs
from collector.web.wall_map import View, ground

WARNS_MS: Final = 7 * 86_400_000
"""So long before a screen's session ends it says so."""


def router(
    desk: Desk, zone: ZoneInfo, assets: Assets, of: MapSection, file: Path | None, connected: Callable[[], bool]
) -> APIRouter:
    """The routes.

    Args:
        desk: what all routes work with.
        zone: of the center.
        assets: whose version is that of the page.
        of: what lies beneath the map.
        file: with the streets.
        connected: whether this collector has a line to the broker.
    """
    routes = APIRouter(include_in_schema=False)
    streets_file = Streets(file)

    def shown(page: Page, asking: Caller, *, whole: bool) -> dict[str, Any]:
        """What the page shows; `whole`: with what lies beneath the map."""
        now_ms = desk.now_ms()
        state, lines = streets_file.now()
        with desk.store.reading() as session:
            streets = wall.streets_of(session, in_streets(asking.actor, "wall.read"))
            view = wall.view_now(session, streets, lines, of.tiles_datum)
            found = wall.wall_now(session, streets, view, now_ms, zone)
            values: dict[str, Any] = {
                "wall": found,
                "weekday": format_date(found.day, "EEEE", page.reader.locale),
                "whole": whole,
                "since": str(now(session)),
                "names": wall.MARKS,
                "connected": connected(),
                "has_map": view is not None,
                # of a new release, or of another map: the page loads itself anew
                "made": _digest(assets.version, state, view, wall.cells_changed_ms(session)),
                "ends_ms": _warning(asking, now_ms),
            }
            if whole:
                named = [(one.name, at) for one, at in wall.eyes(session, streets)]
                beneath = None if view is None else ground(view, lines, grid.listed(session), named, of)
                values |= {"ground": beneath, "attribution": of.attribution, "zone": zone.key}
        return values

    @routes.get("/wall", dependencies=[needs("wall.read")])
    def show_wall(page: Showing, asking: Asking) -> HTMLResponse:
        return page("wall.html", **shown(page, asking, whole=True))

    @routes.get("/wall/now", dependencies=[needs("wall.read")])
    def show_now(page: Showing, asking: Asking) -> HTMLResponse:
        part = page.part("wall_parts.html", may=held(asking.actor), **shown(page, asking, whole=False))
        return HTMLResponse(part, headers={"cache-control": "no-store"})

    return routes


def _digest(version: str, state: int, view: View | None, cells_ms: int) -> str:
    return hashlib.sha256(f"{version} {state} {view} {cells_ms}".encode()).hexdigest()[:12]


def _warning(asking: Caller, now_ms: int) -> int | None:
    """When a session ends, where that is soon; one of a shift always does."""
    screen = bool(asking.actor.grants) and all(one.role == "screen" for one in asking.actor.grants)
    return asking.ends_ms if screen and asking.ends_ms is not None and asking.ends_ms - now_ms < WARNS_MS else None

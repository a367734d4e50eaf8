"""What verdicts say of zones, over HTTP as JSON."""

from datetime import tzinfo
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query

from collector.learning.outlook import Outlook, look, outlook_json, statistics_json
from collector.learning.suggestions import AREA_M2, DWELL_S
from collector.learning.verdicts import Place, statistics
from collector.people.actor import Actor
from collector.tickets.reasons import load_reasons
from collector.web.rights import Acting, Desk, in_streets, needs


def find(desk: Desk, who: Actor, place: Place, days: tzinfo) -> Outlook:
    """A zone at one's own streets; another one is not there."""
    with desk.store.transaction() as session:
        found = look(session, place, in_streets(who, "learning.read"), desk.now_ms(), days)
    if found is None:
        raise HTTPException(404, "没有这个区域 / there is no such zone")
    return found


def router(desk: Desk, days: tzinfo) -> APIRouter:
    """The routes; `days` are those of this time zone."""
    routes = APIRouter(prefix="/api/learning")

    @routes.get("/reasons", dependencies=[needs("tickets.read")])
    def list_reasons() -> list[dict[str, Any]]:
        """Reasons of false alarms: `reason_id` of the step `false_alarm`."""
        return [one.model_dump() for one in load_reasons().reason]

    @routes.get("/zones", dependencies=[needs("learning.read")])
    def list_zones(acting: Acting) -> list[dict[str, Any]]:
        """Alerts and verdicts of the last eight weeks by zone and rule, most false alarms first."""
        with desk.store.transaction() as session:
            found = statistics(session, in_streets(acting, "learning.read"), desk.now_ms())
        return [statistics_json(place, one) for place, one in found.items()]

    @routes.get("/zones/{box}/{camera}/{zone}/{rule}", dependencies=[needs("learning.read")])
    def get_zone(
        acting: Acting,
        box: str,
        camera: str,
        zone: str,
        rule: str,
        dwell_s: Annotated[float | None, Query(ge=DWELL_S[0], le=DWELL_S[1])] = None,
        min_area_m2: Annotated[float | None, Query(ge=AREA_M2[0], le=AREA_M2[1])] = None,
    ) -> dict[str, Any]:
        """One zone: statistics, settings, suggestions; with a dwell, what these limits would have done."""
        return outlook_json(find(desk, acting, Place(box, camera, zone, rule), days), dwell_s, min_area_m2)

    return routes

"""What verdicts say of zones, over HTTP as JSON."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from collector.learning import acceptance
from collector.learning.outlook import Outlook, look, outlook_json, statistics_json, trial_json
from collector.learning.replay import Limits
from collector.learning.suggestions import AREA_M2, DWELL_S
from collector.learning.verdicts import Place, statistics
from collector.people.actor import Actor
from collector.store import Box, Ticket
from collector.tickets.desk import MAX_TEXT, RefusedError, unknown
from collector.tickets.reasons import load_reasons
from collector.web.plain import Number
from collector.web.refusals import refusal
from collector.web.rights import Acting, Desk, check, in_streets, needs

STATUS: Final = {"unknown": 404, "missing": 422, "invalid": 422}
NO_ZONE: Final = "没有这个区域 / there is no such zone"
Dwell = Annotated[float, Field(ge=DWELL_S[0], le=DWELL_S[1])]
Area = Annotated[float, Field(ge=AREA_M2[0], le=AREA_M2[1])]


class AcceptRequest(BaseModel):
    """Settings that a zone is to have."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dwell_s: Dwell
    min_area_m2: Area | None = Field(default=None, description="null: no limit on the ground")
    based_on: Number = Field(description="the revision of the box's settings that you looked at")
    reason: str = Field(min_length=2, max_length=MAX_TEXT)


class ReleaseRequest(BaseModel):
    """Why pictures are released for training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reason: str = Field(min_length=2, max_length=MAX_TEXT)


def find(desk: Desk, who: Actor, place: Place) -> Outlook:
    """A zone at one's own streets; another one is not there."""
    with desk.store.transaction() as session:
        found = look(session, place, in_streets(who, "learning.read"), desk.now_ms())
    if found is None:
        raise HTTPException(404, NO_ZONE)
    return found


def take(desk: Desk, who: Actor, place: Place, limits: Limits, reason: str, based_on: int) -> dict[str, Any]:
    """Accept settings for a zone at one's own streets; raises RefusedError."""
    with desk.store.writing() as session:
        box, own = session.get(Box, place.box), in_streets(who, "learning.read")
        if box is None or (own is not None and box.site not in own):
            raise HTTPException(404, NO_ZONE)
        check(who, "learning.accept", box.site)
        row = acceptance.accept(session, who, place, limits, reason=reason, based_on=based_on, now_ms=desk.now_ms())
        return {"box": place.box, "revision": row.revision, "state": row.state}


def let_go(desk: Desk, who: Actor, numbers: list[int], reason: str) -> int:
    """Release pictures of false alarms at one's own streets, all or none; raises RefusedError."""
    with desk.store.writing() as session:
        own, count = in_streets(who, "learning.accept"), 0
        for number in numbers:
            ticket = session.get(Ticket, number)
            if ticket is None or (own is not None and ticket.street not in own):
                raise unknown(number)
            count += acceptance.release(session, who, number, reason, desk.now_ms())
        return count


def _refused(fault: RefusedError) -> JSONResponse:
    return refusal(STATUS.get(fault.code, 409), fault.text, code=fault.code, zh=fault.zh)


def router(desk: Desk) -> APIRouter:
    """The routes."""
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
    def get_zone(acting: Acting, box: str, camera: str, zone: str, rule: str) -> dict[str, Any]:
        """One zone: statistics, settings, suggestions."""
        return outlook_json(find(desk, acting, Place(box, camera, zone, rule)))

    @routes.get("/zones/{box}/{camera}/{zone}/{rule}/try", dependencies=[needs("learning.read")])
    def try_limits(
        acting: Acting,
        box: str,
        camera: str,
        zone: str,
        rule: str,
        dwell_s: Annotated[Dwell, Query()],
        min_area_m2: Annotated[Area | None, Query()] = None,
    ) -> Any:
        """What other limits would have done to past alerts."""
        trial = find(desk, acting, Place(box, camera, zone, rule)).try_out(Limits(dwell_s, min_area_m2))
        if trial is None:
            raise HTTPException(404, NO_ZONE)
        return trial_json(trial)

    @routes.post("/zones/{box}/{camera}/{zone}/{rule}/accept", dependencies=[needs("learning.accept")])
    def accept(acting: Acting, box: str, camera: str, zone: str, rule: str, request: AcceptRequest) -> Any:
        """Make limits of a zone a new revision of its box's settings."""
        limits = Limits(request.dwell_s, request.min_area_m2)
        try:
            return take(desk, acting, Place(box, camera, zone, rule), limits, request.reason, request.based_on)
        except RefusedError as fault:
            return _refused(fault)

    @routes.post("/releases/{number}", dependencies=[needs("learning.accept")])
    def release(acting: Acting, number: Number, request: ReleaseRequest) -> Any:
        """Release the masked pictures of a false alarm for training."""
        try:
            return {"ticket": number, "pictures": let_go(desk, acting, [number], request.reason)}
        except RefusedError as fault:
            return _refused(fault)

    return routes

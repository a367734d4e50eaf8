"""Tickets, policies, pauses and the calendar over HTTP, as JSON."""

import re
from collections.abc import Iterable
from datetime import date, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Depends, HTTPException, Query
from fastapi import Request as HttpRequest
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Select, select
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from collector.people.actor import Actor
from collector.people.rights import may, streets
from collector.store import PauseRow, PolicyRow, Ticket
from collector.tickets import desk as tickets
from collector.tickets import machine, pauses, policy
from collector.tickets.desk import MAX_TEXT, Bar, RefusedError, able, unknown
from collector.tickets.desk import refusal as refused
from collector.tickets.policy import PolicyError
from collector.web import rights, views
from collector.web.documents import TICKET, TICKETS
from collector.web.plain import Number
from collector.web.refusals import refusal
from collector.web.rights import Asking, Desk, actor, needs
from protocol.instants import Instant

MOST: Final = 1000
MOST_DAYS: Final = 800
STATUS: Final = {"unknown": 404, "not_yours": 403, "missing": 422, "invalid": 422, "unknown_verb": 422}
"""HTTP's word for a refusal; the others are 409: the ticket is not as it was thought to be."""
OURS: Final = frozenset({"at_ms", "seen", "reason"})
"""Of a step, not of its verb."""
STEP: Final = re.compile(r"/api/tickets/(\d{1,15})/[^/]+")
Who = Annotated[Actor, Depends(actor)]


class Request(BaseModel):
    """A body that says all it means."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class StepRequest(Request):
    """A step with a ticket."""

    seen: Number | None = Field(
        default=None,
        description=(
            "the ticket's `version` that you looked at: if somebody was quicker, you are told (`changed`). Whoever is "
            "signed in at a page has to say it, but for a `remark`; only a program with a token may leave it out, and "
            "then acts upon whatever the ticket has become"
        ),
    )
    reason: str = Field(default="", max_length=MAX_TEXT)
    args: dict[str, Any] = Field(default={}, description="what the verb takes, see docs/ref/tickets.md")


class PolicyRequest(Request):
    """A new revision of a street's policy."""

    policy: dict[str, Any]
    reason: str = Field(default="", max_length=MAX_TEXT)
    based_on: Number | None = Field(default=None, description="the revision that you looked at")


class PauseRequest(Request):
    """A camera, or one of its zones, that is to be quiet."""

    box: str
    camera: str
    zone: str | None = None
    until: Instant
    reason: str = Field(min_length=1, max_length=MAX_TEXT)


def _refused(fault: RefusedError) -> JSONResponse:
    status = STATUS.get(fault.code, 409)
    return refusal(status, fault.text, code=fault.code, zh=fault.zh, more={"allowed": list(fault.allowed)})


async def allowed_now(desk: Desk, request: HttpRequest) -> dict[str, list[str]]:
    """What whoever asks may do with the ticket of a step that never came to its desk; nothing for other calls."""
    found = STEP.fullmatch(request.url.path)
    if found is None or request.method != "POST":
        return {}
    try:
        who = await actor(request)
    except rights.RefusedError:
        return {}  # nobody knows who asks

    def read() -> list[str]:
        with desk.store.transaction() as session:
            ticket = session.get(Ticket, int(found[1]))
            if ticket is None or not may(who, "tickets.read", ticket.street):
                return []
            return list(able(session, ticket, who, desk.now_ms()))

    return {"allowed": await run_in_threadpool(read)}


def router(desk: Desk) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/api")
    _tickets(routes, desk)
    _policies(routes, desk)
    _pauses(routes, desk)
    return routes


def _tickets(routes: APIRouter, desk: Desk) -> None:
    @routes.get("/tickets", dependencies=[needs("tickets.read")], responses=TICKETS)
    def list_tickets(
        who: Who,
        *,
        open: bool | None = None,  # noqa: A002 - the query's name
        state: Annotated[list[machine.State] | None, Query()] = None,
        street: str | None = None,
        rule: str | None = None,
        source: str | None = None,
        shop: str | None = None,
        box: str | None = None,
        assignee: str | None = None,
        overdue: bool | None = None,
        paused: bool | None = None,
        before: Annotated[Number | None, Query(description="only numbers below this one: the next page")] = None,
        limit: int = 200,
    ) -> list[dict[str, Any]]:
        newest = select(Ticket).order_by(Ticket.number.desc()).limit(max(1, min(limit, MOST)))
        query = _of_streets(newest, who)
        for column, value in (
            (Ticket.street, street),
            (Ticket.rule, rule),
            (Ticket.source, source),
            (Ticket.shop, shop),
            (Ticket.box_id, box),
            (Ticket.assignee, assignee),
        ):
            if value is not None:
                query = query.where(column == value)
        if open is not None:
            query = query.where(Ticket.open == int(open))
        if state:
            query = query.where(Ticket.state.in_(state))
        if overdue is not None:
            late = (Ticket.open == 1) & (Ticket.due_ms < desk.now_ms())
            query = query.where(late if overdue else ~late | Ticket.due_ms.is_(None))
        if paused is not None:
            query = query.where(Ticket.paused_until_ms.is_not(None) if paused else Ticket.paused_until_ms.is_(None))
        if before is not None:
            query = query.where(Ticket.number < before)
        with desk.store.transaction() as session:
            return [_json(session, one, who, desk) for one in session.scalars(query)]

    @routes.get("/tickets/{number}", dependencies=[needs("tickets.read")], responses=TICKET)
    def get_ticket(number: Number, who: Who) -> dict[str, Any]:
        with desk.store.transaction() as session:
            ticket = session.get(Ticket, number)
            if ticket is None or not may(who, "tickets.read", ticket.street):
                raise HTTPException(404, f"there is no ticket {number}")
            return _json(session, ticket, who, desk)

    @routes.post("/tickets/{number}/{verb}", dependencies=[needs("tickets.act")], responses=TICKET)
    def take_step(number: Number, verb: str, request: StepRequest, who: Who, asking: Asking) -> Any:
        try:
            with desk.store.writing() as session:
                ticket = session.get(Ticket, number)
                if ticket is None or not may(who, "tickets.read", ticket.street):
                    raise unknown(number)
                fault = _misuse(verb, request, by_page=bool(asking.cookie))
                if fault is not None:
                    raise refused(session, ticket, who, desk.now_ms(), fault)
                ticket = tickets.act(
                    session,
                    who,
                    number,
                    verb,
                    at_ms=desk.now_ms(),
                    seen=request.seen,
                    reason=request.reason,
                    **request.args,
                )
                session.flush()
                session.expire(ticket, ["events"])
                found = _json(session, ticket, who, desk)
        except RefusedError as fault:
            return _refused(fault)
        desk.changed()
        return found


def _of_streets(query: Select[Any], who: Actor) -> Select[Any]:
    granted = streets(who, "tickets.read")
    return query if granted is None else query.where(Ticket.street.in_(granted))


def _misuse(verb: str, request: StepRequest, *, by_page: bool) -> Bar | None:
    """What is wrong with a step before it is looked at what it is."""
    named = ", ".join(sorted(set(request.args) & OURS))
    if named:
        return Bar(
            "invalid", f"args: expected what the verb takes, got {named}", f"args：应为该动作的参数，收到 {named}"
        )
    if by_page and request.seen is None and verb not in tickets.QUIET:
        return Bar(
            "missing",
            "seen: expected the version that you looked at, got none; somebody may have been quicker",
            "seen：缺少您所看到的版本号，他人可能已先处理",
        )
    return None


def _json(session: Session, ticket: Ticket, who: Actor, desk: Desk) -> dict[str, Any]:
    return views.ticket_json(session, ticket) | {"allowed": list(able(session, ticket, who, desk.now_ms()))}


def _policies(routes: APIRouter, desk: Desk) -> None:
    @routes.get("/policies", dependencies=[needs("policies.read")])
    def list_policies(who: Who) -> list[dict[str, Any]]:
        with desk.store.transaction() as session:
            newest: dict[str, PolicyRow] = {}
            for row in session.scalars(select(PolicyRow).order_by(PolicyRow.number)):
                newest[row.street] = row
            return [
                _revision(row)
                for row in newest.values()
                if row.street == policy.DEFAULT or may(who, "policies.read", row.street)
            ]

    @routes.get("/policies/{street}", dependencies=[needs("policies.read")])
    def get_policy(street: str, who: Who) -> dict[str, Any]:
        """The policy that a street has now, its revisions, and what in it may not be meant."""
        if street != policy.DEFAULT and not may(who, "policies.read", street):
            raise HTTPException(404, f"there is no street {street}")
        with desk.store.transaction() as session:
            found = policy.current(session, street)
            today = found.policy.working_time.local(desk.now_ms()).date()
            return {
                "street": street,
                "policy": found.policy.model_dump(mode="json"),
                "revisions": [_revision(row) for row in policy.history(session, street)],
                "notes": policy.warnings(found.policy, today),
            }

    @routes.put("/policies/{street}", dependencies=[needs("policies.write")])
    def put_policy(street: str, request: PolicyRequest, who: Who) -> Any:
        # the policy of all streets is for those who have the right at all of them
        if not may(who, "policies.write", street):
            return refusal(403, f"您无权更改街道 {street} 的策略 / expected policies.write at {street}")
        try:
            one = policy.read_policy(request.policy, "policy")
            with desk.store.writing() as session:
                known = policy.history(session, street)
                newest = known[0].revision if known else None
                if request.based_on is not None and request.based_on != newest:
                    text = f"expected revision {request.based_on} as you saw it, the newest is {newest}"
                    return refusal(409, text, code="changed")
                row = policy.put(session, street, one, who, desk.now_ms(), request.reason)
                return _revision(row)
        except PolicyError as fault:
            return refusal(422, str(fault))

    @routes.post("/policies/check", dependencies=[needs("policies.read")])
    def check_policy(values: Annotated[dict[str, Any], Body()]) -> Any:
        try:
            one = policy.read_policy(values, "policy")
        except PolicyError as fault:
            return refusal(422, str(fault))
        return {"notes": policy.warnings(one, one.working_time.local(desk.now_ms()).date())}

    @routes.get("/calendar", dependencies=[needs("policies.read")])
    def calendar(
        who: Who, street: str = policy.DEFAULT, first: date | None = None, last: date | None = None
    ) -> dict[str, Any]:
        """Which days a street works."""
        if street != policy.DEFAULT and not may(who, "policies.read", street):
            raise HTTPException(404, f"there is no street {street}")
        with desk.store.transaction() as session:
            work = policy.current(session, street).policy.working_time
        begin = first or work.local(desk.now_ms()).date()
        end = last or begin + min(timedelta(days=30), date.max - begin)
        if not 0 <= (end - begin).days <= MOST_DAYS:
            raise HTTPException(422, f"expected first to last of at most {MOST_DAYS} days, got {begin} to {end}")
        days = [begin + timedelta(days=n) for n in range((end - begin).days + 1)]
        return {
            "unknown_years": work.calendar.unknown_years(begin, end) if work.calendar.years else [],
            "days": [
                {
                    "day": day.isoformat(),
                    "worked": work.calendar.is_worked(day, work.weekdays),
                    "holiday": work.calendar.off.get(day),
                    "make_up": day in work.calendar.worked,
                }
                for day in days
            ],
        }


def _revision(row: PolicyRow) -> dict[str, Any]:
    return {
        "street": row.street,
        "number": row.number,
        "revision": row.revision,
        "author": row.author,
        "made_at": views.iso(row.made_ms),
        "reason": row.reason,
    }


def _pauses(routes: APIRouter, desk: Desk) -> None:
    @routes.get("/pauses", dependencies=[needs("tickets.read")])
    def list_pauses(who: Who, *, ended: bool = False) -> list[dict[str, Any]]:
        with desk.store.transaction() as session:
            found: Iterable[tuple[PauseRow, int]] = pauses.listed(session, desk.now_ms(), ended=ended)
            return [_pause(row, count) for row, count in found if may(who, "tickets.read", row.street)]

    @routes.post("/pauses", dependencies=[needs("pauses.write")])
    def begin_pause(request: PauseRequest, who: Who) -> Any:
        try:
            with desk.store.writing() as session:
                row = pauses.begin(
                    session,
                    who,
                    request.box,
                    request.camera,
                    request.zone,
                    until_ms=round(request.until.timestamp() * 1000),
                    reason=request.reason,
                    at_ms=desk.now_ms(),
                )
                found = _pause(row, 0)
        except RefusedError as fault:
            return _refused(fault)
        return found

    @routes.post("/pauses/{number}/end", dependencies=[needs("pauses.write")])
    def end_pause(number: Number, who: Who) -> Any:
        try:
            with desk.store.writing() as session:
                row = pauses.end(session, who, number, at_ms=desk.now_ms())
                found = _pause(row, 0)
        except RefusedError as fault:
            return _refused(fault)
        desk.changed()
        return found


def _pause(row: PauseRow, count: int) -> dict[str, Any]:
    return {
        "number": row.number,
        "street": row.street,
        "box": row.box_id,
        "camera": row.camera,
        "zone": row.zone,
        "from": views.iso(row.from_ms),
        "until": views.iso(row.until_ms),
        "reason": row.reason,
        "author": row.author,
        "ended_by": row.ended_by,
        "tickets": count,
    }

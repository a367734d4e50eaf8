"""Pages for whoever is out in the street: their tasks, and one of them.

Forms here work without a script. The scripts keep pages and what was done on the telephone, and send it later where
there is no network: `docs/design/pages.md`.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from sqlalchemy import ColumnElement, Select, and_, false, or_, select, true
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from collector.evidence.graves import written
from collector.evidence.uploads import ROLE, keep, of_report, read_upload
from collector.people.actor import EVERYWHERE, Actor, Role
from collector.people.audit import record
from collector.people.rights import may
from collector.places.coordinates import baidu_url
from collector.places.standing import Spot, spot, standing
from collector.store import IncidentRow, PictureRow, Ticket, TicketEvent
from collector.tickets import desk as tickets
from collector.tickets.desk import RefusedError, able, unknown
from collector.tickets.machine import FIELD, State, allowed
from collector.web import language, live, multipart, steps, story, words
from collector.web.assets import Assets
from collector.web.language import N_, Text
from collector.web.pages import Page, Showing
from collector.web.plain import Number
from collector.web.rights import Acting, Desk, Fields, needs, public
from collector.web.ticket_pages import shop_names, thumbnails
from collector.web.views import place_of

MOST: Final = 100
"""Tasks of a list; nobody has more for a day."""
GOING: Final = (State.DISPATCHED, State.HANDLING, State.REWORK)
STEPS: Final[dict[str, str]] = {
    "found": N_("Say what you found"),
    "accept": N_("Accept"),
    "told": N_("I told the shop"),
    "solve": N_("Put right"),
    "feed_back": N_("Feed back: done"),
    "send_back": N_("Give back"),
    "remark": N_("Leave a note"),
}
"""The machine's verbs that these pages offer."""
TODO: Final[dict[str, str]] = {
    State.PENDING_REVIEW: N_("Somebody reported this: go there, take a picture, say what you found."),
    State.COMMUNITY: N_("Talk to the shop. When it is put right, say so here."),
    State.REGISTERED: N_("Given back. Nothing to do here for now."),
    State.DISPATCHED: N_("Accept it, then go there."),
    State.HANDLING: N_("Have it put right, take a picture, feed back."),
    State.REWORK: N_("Not put right yet: accept it and go there again."),
    State.VERIFYING: N_("Done. The camera is checking."),
}
RESULTS: Final = (
    N_("Put right by the shop"),
    N_("Put right together on the spot"),
    N_("Goods removed"),
    N_("Nothing there any more"),
)
HINDRANCES: Final = (
    N_("Not our area"),
    N_("Place not found"),
    N_("Another department is needed"),
    N_("Refused by the shop"),
    N_("Other, see below"),
)
NOT_KEPT: Final = N_("No network, and this page is not on this phone yet.")
MANIFEST: Final = "application/manifest+json"


@dataclass(frozen=True)
class Row:
    """A task of the list."""

    number: int
    version: int
    rule: Text
    state: str
    state_text: Text
    todo: Text
    shop: str
    place: str
    due_ms: int | None
    spot: Spot
    watched: bool
    description: str
    """What somebody reported; empty where a camera has seen it."""
    thumbnail: str | None


@dataclass(frozen=True)
class Task:
    """One task: its row, and what is done with it."""

    row: Row
    verbs: tuple[str, ...]
    by_state: dict[str, tuple[str, ...]]
    """The same for each state that the telephone may bring it to while there is no network."""
    phone: str
    """Of the shop; shown to who asks for it."""
    baidu: str
    wide: str | None
    taken: tuple[str, ...]
    with_other: Text
    said: tuple[int, str] | None
    """What somebody else last had to say, and when."""


def router(desk: Desk, zone: ZoneInfo, assets: Assets, center: str) -> APIRouter:
    """The routes."""
    routes = APIRouter(include_in_schema=False)

    def kept(actor: Actor, answer: HTMLResponse) -> HTMLResponse:
        answer.headers["x-kept-as"] = _kept_as(assets, actor)
        return answer

    @routes.get("/tasks", dependencies=[needs("tasks.work")])
    def show_tasks(page: Showing, acting: Acting) -> HTMLResponse:
        with desk.store.transaction() as session:
            at = live.now(session)
            rows = rows_of(session, acting)
        more: dict[str, Any] = {"task": None, "rows": rows, "most": MOST, "at": at, "now_ms": desk.now_ms()}
        return kept(acting, page("tasks.html", **more, **_frame(assets, acting)))

    def one(
        page: Page, acting: Actor, number: int, status: int = 200, fault: str = "", *, calls: bool = False
    ) -> HTMLResponse:
        """One task; `calls`: with the shop's number, for this answer alone."""
        with desk.store.transaction() as session:
            at = live.now(session)
            found = session.get(Ticket, number)
            if found is None or not may(acting, "tasks.work", found.street):
                raise HTTPException(404, f"没有工单 {number} / there is no ticket {number}")
            task = task_of(session, acting, found, desk.now_ms())
        if calls and task.phone:
            with desk.store.writing() as session:
                # a number of a person: who looked is on record
                record(session, acting, "shop.looked_at", f"ticket/{number}", {}, desk.now_ms())
        telephone = task.phone.replace(" ", "") if calls else ""
        more: dict[str, Any] = {
            "task": task,
            "telephone": telephone,
            "at": at,
            "now_ms": desk.now_ms(),
            "fault": fault,
            "todo": TODO,
        }
        more |= {"findings": words.FINDINGS, "results": RESULTS, "hindrances": HINDRANCES}
        shown = page("task.html", status, **more, **_frame(assets, acting))
        # a number stays on no telephone
        return shown if calls else kept(acting, shown)

    @routes.get("/tasks/{number}", dependencies=[needs("tasks.work")])
    def show_task(page: Showing, acting: Acting, number: Number) -> HTMLResponse:
        return one(page, acting, number)

    @routes.post("/tasks/{number}/telephone", dependencies=[needs("tasks.work")])
    def show_telephone(page: Showing, acting: Acting, number: Number) -> HTMLResponse:
        return one(page, acting, number, calls=True)

    @routes.post("/tasks/{number}/picture", dependencies=[needs("tasks.work")])
    async def add_picture(page: Showing, acting: Acting, number: Number, request: Request) -> Response:
        sent = await multipart.fields(request)
        return await run_in_threadpool(_add, page, acting, number, sent.get("picture", b""))

    def _add(page: Page, acting: Actor, number: int, content: bytes) -> Response:
        try:
            taken = read_upload(content, zone, desk.now_ms())
            with written(desk.store, desk.files, taken.sha256, taken.jpeg), desk.store.writing() as session:
                # a form that is sent twice brings the same picture
                key = hashlib.sha256(content).hexdigest()[:32]
                keep(session, acting, number, key, taken, desk.now_ms())
        except RefusedError as fault:
            return one(page, acting, number, 409, _pair(fault))
        except ValueError as fault:
            return one(page, acting, number, 422, f"需要 JPEG 图片 / expected a JPEG: {fault}")
        desk.changed()
        return RedirectResponse(f"/tasks/{number}", 303)

    @routes.post("/tasks/{number}/{verb}", dependencies=[needs("tasks.work")])
    def take_step(page: Showing, acting: Acting, number: Number, verb: str, fields: Fields) -> Response:
        if verb not in STEPS:
            raise HTTPException(404, "没有这个操作 / there is no such step here")
        seen = fields.get("seen", "")
        reason = _joined(page, fields)
        try:
            with desk.store.writing() as session:
                ticket = session.get(Ticket, number)
                if ticket is None or not may(acting, "tasks.work", ticket.street):
                    raise unknown(number)
                looked_at = None if verb == "remark" else int(seen) if seen.isdecimal() and len(seen) < 10 else -1
                args = steps.read_args(verb, fields)
                tickets.act(session, acting, number, verb, at_ms=desk.now_ms(), seen=looked_at, reason=reason, **args)
        except RefusedError as fault:
            return one(page, acting, number, 409, _pair(fault))
        desk.changed()
        return RedirectResponse(f"/tasks/{number}", 303)

    @routes.get("/manifest.webmanifest", dependencies=[public()])
    def describe(page: Showing) -> JSONResponse:
        """What a telephone needs to put the tasks among its apps."""
        icons = [
            {"src": assets.url(f"icon-{size}.png"), "sizes": f"{size}x{size}", "type": "image/png", "purpose": purpose}
            for size in (192, 512)
            for purpose in ("any", "maskable")
        ]
        colours = {"background_color": "#f3f5f7", "theme_color": "#0a6560"}
        name = {"name": f"{center} {page.reader.say('My tasks')}", "short_name": page.reader.say("My tasks")}
        lang = {"lang": {"zh": "zh-CN", "en": "en"}[page.language]}
        where = {"id": "/tasks", "start_url": "/tasks", "scope": "/", "display": "standalone"}
        headers = {"cache-control": "no-cache"}
        return JSONResponse({**name, **lang, **where, **colours, "icons": icons}, headers=headers, media_type=MANIFEST)

    @routes.get("/sw.js", dependencies=[public()])
    def work() -> Response:
        """The service worker, another one with each release, as its first line names this one's."""
        none = json.dumps(" / ".join(language.say(NOT_KEPT, one) for one in language.LANGUAGES))
        text = f'self.NONE = {none};\nimportScripts("{assets.url("outbox.js")}");\n{assets.text("worker.js")}'
        return Response(text, media_type="text/javascript", headers={"cache-control": "no-cache"})

    return routes


def _kept_as(assets: Assets, actor: Actor) -> str:
    """Where a telephone keeps these pages: one place for each release and person, and never two."""
    return f"tasks-{assets.version}-{quote(actor.id, safe='')}"


def _frame(assets: Assets, actor: Actor) -> dict[str, Any]:
    return {"person": actor.id, "kept_as": _kept_as(assets, actor), "steps": STEPS}


def _pair(fault: RefusedError) -> str:
    return f"{fault.zh} / {fault.text}"


def _joined(page: Page, fields: dict[str, str]) -> str:
    parts = (fields.get("choice", "").strip(), fields.get("reason", "").strip())
    return ("；" if page.language == "zh" else "; ").join(filter(None, parts))


def _at(actor: Actor, roles: tuple[str, ...]) -> ColumnElement[bool]:
    """Tickets at streets where somebody has one of these roles."""
    streets = {one.street for one in actor.grants if one.role in roles}
    return true() if EVERYWHERE in streets else Ticket.street.in_(streets) if streets else false()


def wanted(actor: Actor) -> Select[Ticket]:
    """The tasks of somebody: what was given to them, and what waits for anybody of their role at their streets."""
    theirs = and_(Ticket.state.in_((*GOING, State.VERIFYING)), Ticket.assignee.in_((actor.id, str(actor))))
    free = and_(Ticket.state.in_(GOING), Ticket.assignee.is_(None))
    look = and_(Ticket.state == State.PENDING_REVIEW, Ticket.assignee.in_((actor.id, str(actor))))
    talk = and_(Ticket.state == State.COMMUNITY, _at(actor, (Role.GRID_WORKER,)))
    return select(Ticket).where(Ticket.open == 1, _at(actor, FIELD), or_(theirs, free, look, talk))


def rows_of(session: Session, actor: Actor) -> list[Row]:
    """Those with the least time left first; what the camera is checking last."""
    due = (Ticket.state == State.VERIFYING, Ticket.due_ms.is_(None), Ticket.due_ms, Ticket.number)
    found = session.scalars(wanted(actor).order_by(*due).limit(MOST)).all()
    pictures = thumbnails(session, [one.number for one in found])
    names = shop_names(session, {one.shop for one in found})
    return [_row(session, one, names.get(one.shop or "", ""), pictures.get(one.number)) for one in found]


def _row(session: Session, ticket: Ticket, shop_name: str, thumbnail: str | None) -> Row:
    whose = standing(session, ticket.shop, ticket.box_id, ticket.camera, ticket.zone)
    return Row(
        number=ticket.number,
        version=ticket.version,
        rule=words.rule(ticket.rule),
        state=ticket.state,
        state_text=words.words(words.STATES, ticket.state),
        todo=TODO.get(ticket.state, N_("Nothing to do here for now.")),
        shop=shop_name or ticket.shop or "",
        place=_address(whose.shop or whose.tell) or _place(ticket),
        due_ms=ticket.due_ms if ticket.open and ticket.state != State.VERIFYING else None,
        spot=spot(session, whose.shop or whose.tell, ticket.box_id, ticket.camera, ticket.report),
        watched=ticket.report is None,
        description="" if ticket.report is None else ticket.report.description,
        thumbnail=thumbnail,
    )


def _place(ticket: Ticket) -> str:
    return f"{ticket.camera} / {ticket.zone}" if ticket.report is None else place_of(ticket)


def _address(shop: Any) -> str:
    return "" if shop is None else str(shop.address)


def task_of(session: Session, actor: Actor, ticket: Ticket, now_ms: int) -> Task:
    """One task as somebody sees it; of what is another's they may do nothing here."""
    whose = standing(session, ticket.shop, ticket.box_id, ticket.camera, ticket.zone)
    shop = whose.shop or whose.tell
    row = _row(
        session, ticket, "" if shop is None else shop.name, thumbnails(session, [ticket.number]).get(ticket.number)
    )
    other = ticket.assignee not in (None, actor.id, str(actor))
    verbs = () if other else tuple(verb for verb in able(session, ticket, actor, now_ms) if verb in STEPS)
    roles = actor.roles(ticket.street)
    by_state = {
        str(state): tuple(verb for verb in allowed(state, actor.kind, roles) if verb in STEPS) for state in TODO
    }
    phone = (
        shop is not None
        and shop.active
        and not other
        and may(actor, "tickets.act", ticket.street)
        and (shop.phone or shop.other_phone)
    )
    where = row.spot
    baidu = "" if where.lon is None or where.lat is None else baidu_url(where.lon, where.lat, row.shop or row.place)
    wide, taken = _pictures(session, ticket.number)
    taken += tuple(one.sha256 for one in of_report(session, ticket) if one.role == ROLE)
    named = story.person(session, ticket.assignee) if other else ""
    return Task(row, verbs, by_state, phone or "", baidu, wide, taken, named, _said(session, ticket, actor))


def _pictures(session: Session, number: int) -> tuple[str | None, tuple[str, ...]]:
    """The newest wide picture as found, and those that people took."""
    rows = session.execute(
        select(PictureRow.sha256, PictureRow.role, PictureRow.view)
        .join(IncidentRow, PictureRow.incident == IncidentRow.id)
        .where(
            IncidentRow.ticket_number == number,
            PictureRow.role.in_(("at", "worker_after")),
            PictureRow.deleted_ms.is_(None),
        )
        .order_by(PictureRow.received_ms)
    ).all()
    wide = [one.sha256 for one in rows if one.role == "at" and one.view == "wide"]
    return (wide[-1] if wide else None), tuple(one.sha256 for one in rows if one.role == "worker_after")


def _said(session: Session, ticket: Ticket, actor: Actor) -> tuple[int, str] | None:
    of_others = select(TicketEvent.at_ms, TicketEvent.reason).where(
        TicketEvent.ticket_number == ticket.number,
        TicketEvent.reason != "",
        TicketEvent.author != str(actor),
        TicketEvent.author.like("person:%"),
    )
    found = session.execute(of_others.order_by(TicketEvent.id.desc()).limit(1)).first()
    return None if found is None else (found.at_ms, found.reason)

"""The page of what a box's doctor found, to be printed, and where an installation is accepted by it."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter, HTTPException
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from collector.boxes import changes
from collector.boxes.orders import OrderError
from collector.people import rights
from collector.people.actor import Actor
from collector.store import AcceptanceRow, Box, CommandRow
from collector.web import story
from collector.web.language import N_, Text, Words
from collector.web.pages import Page, Showing
from collector.web.rights import Acting, Desk, Fields, check, in_streets, needs
from protocol.commands import Examined, Found
from protocol.examinations import chinese

SHOWN: Final = 10
LEVELS: Final = {"FAIL": "bad", "warn": "warn", "ok": "good"}
STATES: Final = {"FAIL": N_("Fails"), "warn": N_("To be mended"), "ok": N_("In order")}


@dataclass(frozen=True)
class Line:
    """A finding; `says`: the doctor's own words, where the Chinese only names the kind."""

    level: str
    state: Text
    name: Text
    what: Text
    todo: Text
    says: str


@dataclass(frozen=True)
class Examination:
    """The doctor's answer to a command, who asked for it and who accepted the installation by it."""

    row: CommandRow
    accepted: AcceptanceRow | None
    report: Examined
    names: Mapping[str, Text]

    @property
    def badge(self) -> tuple[Text, str]:
        """The worst of its findings, and how bad that is."""
        states = {one.state for one in self.report.findings} | {"ok"}
        worst = next(one for one in LEVELS if one in states)
        return STATES[worst], LEVELS[worst]

    @property
    def lines(self) -> list[Line]:
        """What was found, what is wrong first."""
        return [_line(one) for state in LEVELS for one in self.report.findings if one.state == state]


def of_box(session: Session, box: str, command: str | None = None) -> list[Examination]:
    """The newest reports of a box, the newest first; or one."""
    query = select(CommandRow, AcceptanceRow).outerjoin(AcceptanceRow).order_by(CommandRow.asked_ms.desc())
    query = query.where(CommandRow.box_id == box, CommandRow.verb == "examine", CommandRow.state == "ok")
    rows = session.execute(query if command is None else query.where(CommandRow.id == command)).fetchmany(SHOWN)
    names = story.names(session, [one.by for pair in rows for one in pair if one is not None])
    found = []
    for row, accepted in rows:
        with contextlib.suppress(ValidationError):  # of an agent that this center does not understand
            found.append(Examination(row, accepted, Examined.model_validate_json(row.data), names))
    return found


def router(desk: Desk) -> APIRouter:
    """The routes."""
    routes = APIRouter(include_in_schema=False)

    def find(session: Session, acting: Actor, box: str, command: str) -> tuple[Box, Examination]:
        owner, own = session.get(Box, box), in_streets(acting, "boxes.read")
        if owner is None or (own is not None and owner.site not in own) or not (found := of_box(session, box, command)):
            raise HTTPException(404, "没有这份检查 / there is no such examination")
        return owner, found[0]

    @routes.get("/boxes/{box}/examinations/{command}", dependencies=[needs("boxes.read")])
    def show(page: Showing, acting: Acting, box: str, command: str) -> HTMLResponse:
        return _page(page, acting, box, command)

    def _page(page: Page, acting: Actor, box: str, command: str, fault: str = "") -> HTMLResponse:
        with desk.store.transaction() as session:
            owner, found = find(session, acting, box, command)
            may = rights.may(acting, "boxes.accept", owner.site)
            return page("examination.html", 409 if fault else 200, box=owner, found=found, accepts=may, fault=fault)

    @routes.post("/boxes/{box}/examinations/{command}", dependencies=[needs("boxes.accept")])
    def accept(page: Showing, acting: Acting, fields: Fields, box: str, command: str) -> Any:
        try:
            with desk.store.writing() as session:
                owner, found = find(session, acting, box, command)
                check(acting, "boxes.accept", owner.site)
                failed = sum(one.state == "FAIL" for one in found.report.findings)
                name, note = fields.get("name", ""), fields.get("note", "")
                changes.accept(session, acting, found.row, failed, name, note, desk.now_ms())
        except OrderError as fault:
            return _page(page, acting, box, command, str(fault))
        return RedirectResponse(f"/boxes/{box}/examinations/{command}", 303)

    return routes


def _line(found: Found) -> Line:
    zh = chinese(found.name, found.says, found.todo, found.code)
    state = found.state
    name, what, todo = Words(zh.name, found.name), Words(zh.says, found.says), Words(zh.todo, found.todo)
    return Line(LEVELS[state], STATES[state], name, what, todo, zh.more)

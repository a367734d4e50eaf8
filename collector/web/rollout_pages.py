"""The page of detectors: which box runs what, what is being rolled out, and how far that is."""

import json
from collections.abc import Collection
from typing import Any, Final

from fastapi import APIRouter, HTTPException
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from collector.boxes import rollouts
from collector.boxes.register import RegisterError
from collector.boxes.rollouts import FAILED, MOST, STEPS
from collector.people.actor import Actor
from collector.people.rights import may
from collector.store import Box, DetectorRow, RolloutBox, RolloutRow
from collector.web import fleet, forms, story
from collector.web.forms import DONE, Entry, go
from collector.web.language import N_
from collector.web.pages import Page, Showing
from collector.web.rights import Acting, Desk, Fields, in_streets, needs

ROOT: Final = "/admin/detectors"
SHOWN: Final = 10
STATES: Final = {
    "running": (N_("Goes on"), "warn"),
    "done": (N_("Through"), "good"),
    "stopped": (N_("Stopped"), "bad"),
    "back": (N_("Sent back"), ""),
    "waiting": (N_("Waits"), ""),
    "fetching": (N_("Fetches it"), "warn"),
    "shadow": (N_("Compares"), "warn"),
    "trial": (N_("Tries it"), "warn"),
    "taken": (N_("Taken"), "good"),
    "refused": (N_("Refused"), "bad"),
    "rolled_back": (N_("Taken back by itself"), "bad"),
    "undecided": (N_("Too little to compare"), ""),
    "kept": (N_("Left as it was"), ""),
}
NO_SHARE: Final = "分组和阈值应为百分比 / expected percentages, such as 10,50,100 and 10"
NOT_YOURS: Final = "只能推送到您负责的街道 / expected a roll-out at your own streets only"


def router(desk: Desk) -> APIRouter:
    """The routes."""
    routes = APIRouter(include_in_schema=False)

    def overview(page: Page, acting: Actor, fault: str = "", given: Any = None, done: str = "") -> HTMLResponse:
        own = in_streets(acting, "boxes.read")
        with desk.store.transaction() as session:
            boxes = fleet.boxes(session, desk.now_ms(), own)
            sites = {one.id: one.site for one in boxes}
            rows = session.execute(
                select(RolloutRow, DetectorRow.name)
                .join(DetectorRow, DetectorRow.sha256 == RolloutRow.sha256)
                .order_by(RolloutRow.number.desc())
                .limit(SHOWN)
            ).all()
            names = story.names(session, [row.by for row, _ in rows])
            shown = [
                {"row": row, "name": name, "by": names[row.by], **_groups(session, row, sites, acting)}
                for row, name in rows
            ]
            writes = forms.streets(session, acting, "boxes.write")
            entries = _entries(session, writes, given or {}, wide=in_streets(acting, "boxes.write") is None)
        boxes.sort(key=lambda one: (one.site, one.id))
        counts: dict[tuple[str, str], int] = {}
        for one in boxes:
            if one.health is not None and one.health.model is not None:
                key = one.health.model.name, one.health.model.sha256
                counts[key] = counts.get(key, 0) + 1
        return page(
            "admin_detectors.html",
            422 if fault else 200,
            boxes=boxes,
            counts=sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])),
            # one of other people's streets is not there
            rollouts=[one for one in shown if one["groups"]],
            states=STATES,
            entries=entries,
            fault=fault,
            done=done,
        )

    @routes.get(ROOT, dependencies=[needs("boxes.read")])
    def show_detectors(page: Showing, acting: Acting, done: str = "") -> HTMLResponse:
        return overview(page, acting, done=DONE.get(done, ""))

    @routes.post(ROOT, dependencies=[needs("boxes.write")])
    def start(page: Showing, acting: Acting, fields: Fields) -> Response:
        street, now_ms = fields.get("street", ""), desk.now_ms()
        own = in_streets(acting, "boxes.write")
        steps, most = fields.get("steps", "").replace("，", ",").split(","), fields.get("most", "")
        if not all(one.strip().isdecimal() and len(one) < 9 for one in (*steps, most)):
            return overview(page, acting, NO_SHARE, fields)
        if own is not None and street not in own:
            return overview(page, acting, NOT_YOURS, fields)
        try:
            with desk.store.writing() as session:
                rollouts.start(
                    session,
                    acting,
                    fields.get("name", ""),
                    now_ms,
                    streets=[street] if street else None,
                    boxes=fields.get("first", "").replace(",", " ").split(),
                    steps=[int(one) for one in steps],
                    most=int(most) / 100,
                )
        except RegisterError as fault:
            return overview(page, acting, str(fault), fields)
        return go(ROOT, done="added")

    @routes.post(f"{ROOT}/{{number}}", dependencies=[needs("boxes.write")])
    def end(page: Showing, acting: Acting, fields: Fields, number: int) -> Response:
        act = {"stop": rollouts.stop, "back": rollouts.back}.get(fields.get("what", ""))
        if act is None:
            raise HTTPException(422, "what: expected stop or back")
        with desk.store.transaction() as session:
            sites = _sites(session, number)
        if not _may(acting, sites):
            return overview(page, acting, NOT_YOURS)
        try:
            with desk.store.writing() as session:
                act(session, acting, number, desk.now_ms())
        except RegisterError as fault:
            return overview(page, acting, str(fault))
        return go(ROOT, done="ended")

    return routes


def _sites(session: Session, number: int) -> set[str]:
    query = select(Box.site).join(RolloutBox, RolloutBox.box_id == Box.id).where(RolloutBox.number == number)
    return set(session.scalars(query))


def _may(acting: Actor, sites: Collection[str]) -> bool:
    return all(may(acting, "boxes.write", site) for site in sites)


def _groups(session: Session, row: RolloutRow, sites: dict[str, str], acting: Actor) -> dict[str, Any]:
    """Its groups, as far as somebody sees their boxes, and whether they may end it."""
    groups: dict[int, list[tuple[RolloutBox, Any]]] = {}
    for one in rollouts.members(session, row.number):
        if one.box_id in sites:
            groups.setdefault(one.group, []).append((one, json.loads(one.compared)))
    counted = {}
    for number, members in groups.items():
        counts: dict[str, int] = {}
        for one, _ in members:
            counts[one.state] = counts.get(one.state, 0) + 1
        failed = sum(counts.get(state, 0) for state in FAILED)
        counted[number] = {"members": members, "counts": counts, "failed": failed}
    ends = _may(acting, _sites(session, row.number))
    newest = session.scalars(select(RolloutRow.number).order_by(RolloutRow.number.desc()).limit(1)).first()
    return {"groups": counted, "ends": ends, "goes_back": ends and row.number == newest and row.state != "back"}


def _entries(session: Session, streets: list[str], given: Any, *, wide: bool) -> list[Entry]:
    stored = [(one.name, one.name) for one in rollouts.stored(session)]
    if not stored or not streets:
        return []
    every = [("", N_("All streets"))] if wide else []
    steps = ",".join(map(str, STEPS))
    return [
        Entry("name", N_("Detector"), given.get("name", ""), "choice", required=True, choices=stored),
        Entry(
            "street",
            N_("Street"),
            given.get("street", ""),
            "choice",
            choices=[*every, *((one, one) for one in streets)],
        ),
        Entry(
            "first",
            N_("Boxes that get it first"),
            given.get("first", ""),
            hint=N_("Their ids. Empty: chosen by chance, the same each time."),
        ),
        Entry(
            "steps",
            N_("Percent of the boxes after each group"),
            given.get("steps", steps),
            required=True,
            hint=N_("The next group begins once each box of the one before has settled."),
        ),
        Entry(
            "most",
            N_("Percent of a group that may refuse it"),
            given.get("most", f"{100 * MOST:.0f}"),
            "number",
            required=True,
            hint=N_("With more, the roll-out stops by itself."),
        ),
    ]

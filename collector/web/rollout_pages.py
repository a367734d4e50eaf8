"""The page of detectors: which box runs what, what is being rolled out, and how far that is."""

from collections import Counter
from typing import Any, Final

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from collector.boxes import rollouts
from collector.boxes.register import RegisterError
from collector.people.actor import Actor
from collector.people.rights import may
from collector.store import DetectorRow, RolloutRow
from collector.web import fleet, story
from collector.web.forms import DONE, go
from collector.web.language import N_
from collector.web.pages import Page, Showing
from collector.web.rights import Acting, Desk, Fields, in_streets, needs

ROOT: Final = "/admin/detectors"
SHOWN: Final = 10
STATES: Final = {
    "running": (N_("Goes on"), "warn"),
    "done": (N_("Through"), "good"),
    "stopped": (N_("Stopped"), "bad"),
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
NOT_YOURS: Final = "它还涉及其他街道 / it is at other people's streets as well"


def router(desk: Desk) -> APIRouter:
    """The routes."""
    routes = APIRouter(include_in_schema=False)

    def overview(page: Page, acting: Actor, fault: str = "", done: str = "") -> HTMLResponse:
        with desk.store.transaction() as session:
            boxes = fleet.boxes(session, desk.now_ms(), in_streets(acting, "boxes.read"))
            shown, stored = _rollouts(session, acting), rollouts.stored(session)
        boxes.sort(key=lambda one: (one.site, one.id))
        models = [one.health.model for one in boxes if one.health is not None and one.health.model is not None]
        counts = Counter((one.name, one.sha256) for one in models)
        return page(
            "admin_detectors.html",
            422 if fault else 200,
            boxes=boxes,
            counts=sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])),
            rollouts=shown,
            stored=stored,
            states=STATES,
            usual={"steps": ",".join(map(str, rollouts.STEPS)), "most": rollouts.MOST},
            fault=fault,
            done=DONE.get(done, ""),
        )

    @routes.get(ROOT, dependencies=[needs("boxes.read")])
    def show_detectors(page: Showing, acting: Acting, done: str = "") -> HTMLResponse:
        return overview(page, acting, done=done)

    @routes.post(ROOT, dependencies=[needs("boxes.write")])
    def change(page: Showing, acting: Acting, fields: Fields) -> Response:
        now_ms, own = desk.now_ms(), in_streets(acting, "boxes.write")
        try:
            with desk.store.writing() as session:
                if number := fields.get("stop"):
                    _stop(session, acting, int(number), now_ms)
                else:
                    steps = [int(one) for one in fields.get("steps", "").replace("，", ",").split(",")]
                    rollouts.start(session, acting, fields.get("name", ""), own, now_ms, steps, int(fields["most"]))
        except RegisterError as fault:
            return overview(page, acting, str(fault))
        except (ValueError, KeyError):
            return overview(page, acting, "分组和比例应为整数 / expected whole numbers, such as 10,50,100 and 10")
        return go(ROOT, done="ended" if number else "added")

    return routes


def _stop(session: Session, acting: Actor, number: int, now_ms: int) -> None:
    if not all(may(acting, "boxes.write", box.site) for _, box in rollouts.members(session, number)):
        raise RegisterError(NOT_YOURS)
    rollouts.stop(session, acting, number, now_ms)


def _rollouts(session: Session, acting: Actor) -> list[dict[str, Any]]:
    """The last ones, as far as somebody sees their boxes."""
    query = select(RolloutRow, DetectorRow.name).join(DetectorRow, DetectorRow.sha256 == RolloutRow.sha256)
    rows = session.execute(query.order_by(RolloutRow.number.desc()).limit(SHOWN)).all()
    names = story.names(session, [row.by for row, _ in rows])
    found = []
    for row, name in rows:
        groups: dict[int, list[Any]] = {}
        for one, box in rollouts.members(session, row.number):
            if may(acting, "boxes.read", box.site):
                groups.setdefault(one.group, []).append(one)
        counts = {number: Counter(one.state for one in group) for number, group in groups.items()}
        if groups:
            found.append({"row": row, "name": name, "by": names[row.by], "groups": groups, "counts": counts})
    return found

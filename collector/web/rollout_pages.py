"""The pages of detectors and of systems: which box runs what, what is being rolled out, and how far that is."""

from collections import Counter
from collections.abc import Callable, Collection
from typing import Any, Final

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from collector.boxes import rollouts
from collector.boxes.register import OUT, RegisterError
from collector.people.actor import Actor
from collector.people.rights import may
from collector.store import Box
from collector.web import fleet, story
from collector.web.forms import DONE, go
from collector.web.language import N_
from collector.web.pages import Page, Showing
from collector.web.rights import Acting, Desk, Fields, in_streets, needs
from protocol.systems import SystemReported

ROOTS: Final = {"/admin/detectors": "detector", "/admin/systems": "system"}
SHOWN: Final = 10
STATES: Final = {
    "running": (N_("Goes on"), "warn"),
    "done": (N_("Through"), "good"),
    "stopped": (N_("Stopped"), "bad"),
    "waiting": (N_("Waits"), ""),
    "fetching": (N_("Fetches it"), "warn"),
    "shadow": (N_("Compares"), "warn"),
    "installing": (N_("Installs it"), "warn"),
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

    def overview(page: Page, acting: Actor, kind: str, fault: str = "", done: str = "") -> HTMLResponse:
        own = in_streets(acting, "boxes.read")
        with desk.store.transaction() as session:
            shown, stored = _rollouts(session, acting, kind), rollouts.stored(session, kind)
            have = _detectors(session, desk.now_ms(), own) if kind == "detector" else _systems(session, own)
        return page(
            "admin_rollouts.html",
            422 if fault else 200,
            kind=kind,
            rollouts=shown,
            stored=stored,
            states=STATES,
            usual={"steps": ",".join(map(str, rollouts.STEPS)), "most": rollouts.MOST},
            fault=fault,
            done=DONE.get(done, ""),
            **have,
        )

    for root, kind in ROOTS.items():
        _add(routes, desk, root, kind, overview)
    return routes


def _add(routes: APIRouter, desk: Desk, root: str, kind: str, overview: Callable[..., HTMLResponse]) -> None:
    @routes.get(root, dependencies=[needs("boxes.read")])
    def show(page: Showing, acting: Acting, done: str = "") -> HTMLResponse:
        return overview(page, acting, kind, done=done)

    @routes.post(root, dependencies=[needs("boxes.write")])
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
            return overview(page, acting, kind, str(fault))
        except (ValueError, KeyError):
            return overview(page, acting, kind, "分组和比例应为整数 / expected whole numbers, such as 10,50,100 and 10")
        return go(root, done="ended" if number else "added")


def _detectors(session: Session, now_ms: int, streets: Collection[str] | None) -> dict[str, Any]:
    boxes = sorted(fleet.boxes(session, now_ms, streets), key=lambda one: (one.site, one.id))
    models = [one.health.model for one in boxes if one.health is not None and one.health.model is not None]
    counts = Counter((one.name, one.sha256) for one in models)
    return {"boxes": boxes, "counts": sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))}


def _systems(session: Session, streets: Collection[str] | None) -> dict[str, Any]:
    query = select(Box).where(Box.system.is_not(None), Box.standing.not_in(OUT)).order_by(Box.site, Box.id)
    rows = session.scalars(query if streets is None else query.where(Box.site.in_(streets)))
    return {"boxes": [(one, SystemReported.model_validate_json(one.system or "")) for one in rows]}


def _stop(session: Session, acting: Actor, number: int, now_ms: int) -> None:
    if not all(may(acting, "boxes.write", box.site) for _, box in rollouts.members(session, number)):
        raise RegisterError(NOT_YOURS)
    rollouts.stop(session, acting, number, now_ms)


def _rollouts(session: Session, acting: Actor, kind: str) -> list[dict[str, Any]]:
    """The last ones, as far as somebody sees their boxes."""
    rows = rollouts.newest(session, kind, SHOWN)
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

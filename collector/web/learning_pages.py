"""Pages of what verdicts say of zones: where alerts are false and why, and other settings tried on past alerts."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import tzinfo
from math import isfinite
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from collector.learning import acceptance
from collector.learning.outlook import Outlook
from collector.learning.replay import Limits
from collector.learning.suggestions import MIN_CONFIRMED, MIN_DAYS, MIN_FALSE
from collector.learning.verdicts import Place, statistics
from collector.people.actor import Actor
from collector.people.rights import may
from collector.places import cameras
from collector.store import IncidentRow, PictureRow, TrainingRelease
from collector.tickets.desk import RefusedError
from collector.tickets.reasons import load_reasons
from collector.web import learning_api, ticket_pages, words
from collector.web.forms import go
from collector.web.language import N_, Text, Words
from collector.web.pages import Page, Showing
from collector.web.rights import Acting, Desk, Fields, check, in_streets, needs

MOST_ZONES: Final = 200
MOST_SHOWN: Final = 60
"""Alerts of one kind with their pictures."""
MOST_OFFERED: Final = 24
"""False alarms that are offered for release at once."""
MARK: Final = "ticket:"
Typed = Annotated[str, Query(max_length=20)]
HELPS: Final[Mapping[str, Text]] = {
    "dwell": N_("a longer dwell"),
    "area": N_("a larger smallest item"),
    "zone": N_("drawing the zone anew, or an allowed area in it"),
    "permit": N_("a permit, or an allowed area in the zone"),
    "model": N_("training the detector on these pictures"),
    "none": "",
}
DONE: Final = {
    "accepted": N_("It is wanted now; the box's page says whether the box has taken it."),
    "released": N_("Released for training."),
}


def router(desk: Desk, days: tzinfo) -> APIRouter:
    """The routes; `days` are those of this time zone."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/learning", dependencies=[needs("learning.read")])
    def show_zones(page: Showing, acting: Acting) -> HTMLResponse:
        with desk.store.transaction() as session:
            found = statistics(session, in_streets(acting, "learning.read"), desk.now_ms())
            names = _cameras(session, found)
        zones = list(found.items())[:MOST_ZONES]
        whole = sum((one.reasons for one in found.values()), Counter[str]())
        return page(
            "learning.html",
            zones=zones,
            names=names,
            reasons=_reasons(whole),
            most=max((week.alerts for _, one in zones for week in one.weeks), default=0),
            enough=(MIN_FALSE, MIN_CONFIRMED),
            rules=words.RULES,
        )

    def show(
        page: Page, who: Actor, place: Place, typed: Mapping[str, str], fault: Text = "", done: Text = ""
    ) -> HTMLResponse:
        found = learning_api.find(desk, who, place, days)
        trial = None
        if "dwell_s" in typed and not fault:
            try:
                trial = found.try_out(_limits(typed))
            except RefusedError as refused:
                fault = Words(refused.zh, refused.text)
        with desk.store.transaction() as session:
            shown = _false(session, found)
            changed = [] if trial is None else [one.sample.ticket for one in trial.changes]
            return page(
                "learning_zone.html",
                422 if fault else 200,
                place=place,
                name=_cameras(session, [place]).get((place.box, place.camera), ""),
                rule=words.words(words.RULES, place.rule),
                found=found,
                reasons=_reasons(found.statistics.reasons),
                most=max(week.alerts for week in found.statistics.weeks),
                needs=(MIN_FALSE, MIN_CONFIRMED, MIN_DAYS),
                trial=trial,
                shown=MOST_SHOWN,
                pictures=ticket_pages.thumbnails(session, [*changed, *shown]),
                releasable=shown,
                accepts=may(who, "learning.accept", found.statistics.street),
                fault=fault,
                done=done,
            )

    @routes.get("/learning/{box}/{camera}/{zone}/{rule}", dependencies=[needs("learning.read")])
    def show_zone(
        page: Showing,
        acting: Acting,
        box: str,
        camera: str,
        zone: str,
        rule: str,
        *,
        dwell_s: Typed = "",
        min_area_m2: Typed = "",
        done: Typed = "",
    ) -> HTMLResponse:
        typed = {"dwell_s": dwell_s, "min_area_m2": min_area_m2} if dwell_s else {}
        return show(page, acting, Place(box, camera, zone, rule), typed, done=DONE.get(done, ""))

    def change(page: Page, who: Actor, place: Place, fields: Mapping[str, str], done: str, do: Any) -> Response:
        """Do something to a zone at one's streets; what is refused is said on its page."""
        check(who, "learning.accept", learning_api.find(desk, who, place, days).statistics.street)
        try:
            with desk.store.writing() as session:
                do(session, fields.get("reason", ""))
        except RefusedError as fault:
            return show(page, who, place, fields, Words(fault.zh, fault.text))
        return go(f"/learning/{place}", done=done)

    @routes.post("/learning/{box}/{camera}/{zone}/{rule}/accept", dependencies=[needs("learning.accept")])
    def accept(page: Showing, acting: Acting, fields: Fields, box: str, camera: str, zone: str, rule: str) -> Response:
        place, seen = Place(box, camera, zone, rule), fields.get("based_on", "")
        based_on = int(seen) if seen.isdecimal() and len(seen) < 16 else 0

        def do(session: Session, why: str) -> None:
            limits = _limits(fields)
            acceptance.accept(session, acting, place, limits, reason=why, based_on=based_on, now_ms=desk.now_ms())

        return change(page, acting, place, fields, "accepted", do)

    @routes.post("/learning/{box}/{camera}/{zone}/{rule}/release", dependencies=[needs("learning.accept")])
    def release(page: Showing, acting: Acting, fields: Fields, box: str, camera: str, zone: str, rule: str) -> Response:
        place = Place(box, camera, zone, rule)
        known = {f"{MARK}{one.ticket}": one.ticket for one in learning_api.find(desk, acting, place, days).samples}
        marked = [known[name] for name in fields if name in known]

        def do(session: Session, why: str) -> None:
            if not acceptance.release(session, acting, marked, why, desk.now_ms()):
                text = "expected pictures that may be released, found none"
                raise RefusedError("not_now", text, "没有可释放的图片")

        return change(page, acting, place, {"reason": fields.get("reason", "")}, "released", do)

    return routes


def _limits(fields: Mapping[str, str]) -> Limits:
    """What a form gave; raises RefusedError."""
    dwell_s, area = (_number(fields.get(name, ""), name) for name in ("dwell_s", "min_area_m2"))
    if dwell_s is None:
        raise RefusedError("missing", "dwell_s: expected seconds, got none", "请填写停留时限（秒）")
    limits = Limits(dwell_s, area)
    acceptance.check(limits)
    return limits


def _number(text: str, name: str) -> float | None:
    if not text.strip():
        return None
    try:
        found = float(text)
    except ValueError:
        found = float("nan")
    if not isfinite(found):
        raise RefusedError("invalid", f"{name}: expected a number, got {text!r:.40}", f"应为数字，收到 {text!r:.40}")
    return found


def _reasons(counted: Mapping[str, int]) -> list[dict[str, Any]]:
    """Reasons by how often they were given, with what helps."""
    table = load_reasons()
    found = []
    for reason, count in sorted(counted.items(), key=lambda pair: (-pair[1], pair[0])):
        known = table.find(reason)
        text: Text = reason or N_("In somebody's own words, or without")
        if known is not None:
            text = Words(known.zh, known.en)
        found.append({"text": text, "count": count, "helps": "" if known is None else HELPS[known.suggests]})
    return found


def _cameras(session: Session, places: Iterable[Place]) -> dict[tuple[str, str], str]:
    """Names of cameras by the register."""
    wanted = {(one.box, one.camera) for one in places}
    found = {pair: cameras.find(session, *pair) for pair in wanted}
    return {pair: one.name for pair, one in found.items() if one is not None}


def _false(session: Session, found: Outlook) -> list[int]:
    """False alarms whose pictures may be released as what a detector is not to find, newest first."""
    table = load_reasons()

    def is_thing(reason: str) -> bool:
        known = table.find(reason)
        return known is not None and known.thing

    false = [one.ticket for one in found.samples if one.verdict == "false" and not is_thing(one.reason)]
    new = PictureRow.sha256.not_in(select(TrainingRelease.sha256))
    query = select(IncidentRow.ticket_number).join(PictureRow, PictureRow.incident == IncidentRow.id)
    there = set(session.scalars(query.where(IncidentRow.ticket_number.in_(false), new, *acceptance.SHOWN)))
    return [number for number in reversed(false) if number in there][:MOST_OFFERED]

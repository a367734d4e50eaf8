"""Pages of what a street wants: its policy, what is paused there, and which days are worked."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Any, Final
from zoneinfo import ZoneInfo

from fastapi import APIRouter, HTTPException
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from collector.people.actor import Actor
from collector.people.rights import may
from collector.places.zones import sites, zone_shops
from collector.store import CameraRow, PauseRow, PersonRow, PolicyRow
from collector.tickets import pauses, policy
from collector.tickets.calendar import Calendar, chinese_calendar
from collector.tickets.desk import RefusedError
from collector.tickets.policy import DEFAULT, Policy, PolicyError
from collector.web import forms, policy_form
from collector.web.forms import DONE, Entry, Faults, go
from collector.web.language import N_, Text, Words
from collector.web.pages import Page, Showing
from collector.web.plain import MOST
from collector.web.rights import Acting, Desk, Fields, in_streets, needs

AHEAD: Final = timedelta(days=366)
LABELS: Final = {"place": N_("Camera or zone"), "until": N_("Paused until"), "reason": N_("Because")}
HINTS: Final = {"place": N_("box/camera, or box/camera/zone for one zone alone.")}


def router(desk: Desk, zone: ZoneInfo) -> APIRouter:
    """The routes."""
    routes = APIRouter(include_in_schema=False)

    def overview(
        page: Page, who: Actor, given: Mapping[str, str], faults: Faults, status: int = 200, done: str = ""
    ) -> HTMLResponse:
        now_ms = desk.now_ms()
        with desk.store.transaction() as session:
            streets = forms.streets(session, who, "policies.read")
            newest = _newest(session)
            names = _names(session)
            going = [
                _pause(row, count, names, writes=may(who, "pauses.write", row.street))
                for row, count in pauses.listed(session, now_ms)
                if may(who, "tickets.read", row.street)
            ]
            known = _places(session, who)
        today = datetime.fromtimestamp(now_ms / 1000, zone).date()
        calendar = chinese_calendar()
        return page(
            "policies.html",
            status,
            streets=[(one, newest.get(one)) for one in (DEFAULT, *streets)],
            own=newest,
            names=names,
            pauses=going,
            entries=[
                Entry(
                    name,
                    label,
                    given.get(name, ""),
                    "datetime-local" if name == "until" else "text",
                    HINTS.get(name, ""),
                    required=True,
                    listed=[(one, "") for one in known] if name == "place" else (),
                    faults=faults.get(name, ()),
                )
                for name, label in LABELS.items()
            ],
            faults=faults.get("", ()),
            days=_days(calendar, today),
            unknown=calendar.unknown_years(today, today + AHEAD),
            done=done,
        )

    @routes.get("/policies", dependencies=[needs("policies.read")])
    def show_policies(page: Showing, acting: Acting, done: str = "") -> HTMLResponse:
        return overview(page, acting, {}, {}, done=DONE.get(done, ""))

    @routes.post("/policies/pauses", dependencies=[needs("pauses.write")])
    def begin_pause(page: Showing, acting: Acting, fields: Fields) -> Response:
        faults: dict[str, list[Any]] = {}
        parts = fields.get("place", "").strip().split("/")
        if len(parts) not in (2, 3) or not all(parts):
            faults["place"] = [Words("应为 盒子/摄像头 或 盒子/摄像头/区域", "expected box/camera or box/camera/zone")]
        until_ms = _instant_ms(fields.get("until", ""), zone)
        if until_ms is None:
            faults["until"] = [Words("应为日期和时间", "expected a day and a time")]
        if faults or until_ms is None:
            return overview(page, acting, fields, faults, 422)
        try:
            with desk.store.writing() as session:
                pauses.begin(
                    session,
                    acting,
                    parts[0],
                    parts[1],
                    parts[2] if len(parts) == 3 else None,
                    until_ms=until_ms,
                    reason=fields.get("reason", "")[:500],
                    at_ms=desk.now_ms(),
                )
        except RefusedError as fault:
            name = {"box": "place", "until": "until", "reason": "reason"}.get(fault.text.partition(":")[0], "")
            return overview(page, acting, fields, {name: [Words(fault.zh, fault.text)]}, 422)
        desk.changed()
        return go("/policies", done="added")

    @routes.post("/policies/pauses/end", dependencies=[needs("pauses.write")])
    def end_pause(page: Showing, acting: Acting, fields: Fields) -> Response:
        number = fields.get("number", "")
        if not number.isdecimal() or len(number) > len(str(MOST)) or int(number) > MOST:
            raise HTTPException(404, "没有这个暂停 / there is no such pause")
        try:
            with desk.store.writing() as session:
                pauses.end(session, acting, int(number), at_ms=desk.now_ms())
        except RefusedError as fault:
            return overview(page, acting, {}, {"": [Words(fault.zh, fault.text)]}, 409)
        desk.changed()
        return go("/policies", done="ended")

    def form(
        page: Page,
        who: Actor,
        street: str,
        fields: Mapping[str, str] | None,
        faults: Faults,
        status: int = 200,
        done: Text = "",
    ) -> HTMLResponse:
        """The form of a street's policy; `fields`: as they were sent, None: as it is."""
        if street != DEFAULT and not may(who, "policies.read", street):
            raise HTTPException(404, f"没有街道 {street} / there is no street {street}")
        with desk.store.transaction() as session:
            now = policy.current(session, street).policy
            steps = policy.history(session, street)
            names = _names(session)
        given = policy_form.fields_of(now) if fields is None else fields
        today = now.working_time.local(desk.now_ms()).date()
        return page(
            "policy.html",
            status,
            street=street,
            sections=policy_form.entries(given, faults, page.reader.say),
            wrong=faults,
            labels=policy_form.labels(given, page.reader.say),
            notes=policy.warnings(now, today),
            steps=[(row, names.get(row.author.partition(":")[2], row.author)) for row in steps],
            # what was begun on an older one stays so, and is refused when it is saved
            seen=(fields or {}).get("seen") or (steps[0].revision if steps else 0),
            writes=may(who, "policies.write", street),
            own=bool(steps),
            done=done,
        )

    @routes.get("/policies/street", dependencies=[needs("policies.read")])
    def show_policy(page: Showing, acting: Acting, street: str = DEFAULT, done: str = "") -> HTMLResponse:
        return form(page, acting, street, None, {}, done=DONE.get(done, ""))

    @routes.post("/policies/street", dependencies=[needs("policies.write")])
    def take(page: Showing, acting: Acting, fields: Fields) -> Response:
        street = fields.get("street", "")
        if not may(acting, "policies.write", street):
            raise HTTPException(403, f"您无权更改街道 {street} 的策略 / expected policies.write at {street}")
        with desk.store.transaction() as session:
            now = policy.current(session, street).policy
            known = street == DEFAULT or street in forms.streets(session, acting, "policies.write")
        if not known:
            raise HTTPException(404, f"没有街道 {street} / there is no street {street}")
        wanted, faults = policy_form.read(fields, now)
        if wanted is None:
            return form(page, acting, street, fields, faults, 422)
        new = policy_form.fields_of(wanted)
        step = fields.get("step", "")
        if step == "edit":
            return form(page, acting, street, {**new, "seen": fields.get("seen", "")}, {})
        if step != "save":
            changes = policy_form.changes(policy_form.fields_of(now), new, page.reader.say)
            today = wanted.working_time.local(desk.now_ms()).date()
            notes, seen = policy.warnings(wanted, today), fields.get("seen", "")
            return page("policy_sure.html", street=street, changes=changes, fields=new, notes=notes, seen=seen)
        try:
            _save(street, wanted, acting, fields)
        except PolicyError as fault:
            return form(page, acting, street, new, {"": [str(fault)]}, 409)
        return go("/policies/street", street=street, done="saved")

    def _save(street: str, wanted: Policy, who: Actor, fields: Mapping[str, str]) -> PolicyRow:
        with desk.store.writing() as session:
            steps = policy.history(session, street)
            newest = steps[0].revision if steps else 0
            if fields.get("seen", "") != str(newest):
                raise PolicyError(
                    f"策略已被他人改为第 {newest} 版，请核对后再保存 / "
                    f"somebody else has made revision {newest} meanwhile: look again before you save"
                )
            return policy.put(session, street, wanted, who, desk.now_ms(), fields.get("reason", "")[:500])

    return routes


def _newest(session: Session) -> dict[str, PolicyRow]:
    """The newest revision of each street that has its own."""
    rows = session.scalars(select(PolicyRow).order_by(PolicyRow.number))
    return {row.street: row for row in rows}


def _names(session: Session) -> dict[str, str]:
    return {row.id: row.name for row in session.execute(select(PersonRow.id, PersonRow.name))}


def _places(session: Session, who: Actor) -> list[str]:
    """Cameras and zones that somebody may pause."""
    own, known = in_streets(who, "pauses.write"), sites(session)
    zones = ["/".join(one) for one in zone_shops(session)]
    cameras = [f"{row.box_id}/{row.camera}" for row in session.execute(select(CameraRow.box_id, CameraRow.camera))]
    return sorted(one for one in {*zones, *cameras} if own is None or known.get(one.partition("/")[0], "") in own)


def _pause(row: PauseRow, count: int, names: Mapping[str, str], *, writes: bool) -> dict[str, Any]:
    return {
        "number": row.number,
        "place": "/".join(filter(None, (row.box_id, row.camera, row.zone))),
        "street": row.street,
        "from_ms": row.from_ms,
        "until_ms": row.until_ms,
        "reason": row.reason,
        "by": names.get(row.author.partition(":")[2], row.author),
        "count": count,
        "writes": writes,
    }


def _instant_ms(text: str, zone: ZoneInfo) -> int | None:
    """What a field for day and time holds, at the street."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    if not 2000 < at.year < 2200:
        return None
    return round((at if at.tzinfo else at.replace(tzinfo=zone)).timestamp() * 1000)


def _days(calendar: Calendar, today: date) -> list[dict[str, Any]]:
    """Holidays to come, and the weekend days that are worked for them, by day."""
    ahead = [day for day in sorted({*calendar.off, *calendar.worked}) if today <= day <= today + AHEAD]
    runs: Sequence[list[date]] = [
        [day for _, day in run]
        for _, run in groupby(enumerate(ahead), lambda pair: (pair[1].toordinal() - pair[0], calendar.off.get(pair[1])))
    ]
    return [{"first": run[0], "last": run[-1], "name": calendar.off.get(run[0], "")} for run in runs]

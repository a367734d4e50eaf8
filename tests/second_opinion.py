"""Indicators worked out a second time, from time lines and incidents alone, one ticket after the other.

`Story` and `numbers` share no code with `collector.indicators` nor with what the desk keeps on tickets: where both say
the same, both are right or somebody had the same wrong idea twice.
"""

import itertools
import json
import math
import tomllib
from collections import defaultdict
from datetime import datetime, timedelta

from sqlalchemy import select

from collector.indicators.apart import apart
from collector.indicators.figures import Loaded, Period
from collector.indicators.keeping import work_out
from collector.store import CameraPlace, GridCell, IncidentRow, ReportRow, ShopRow, Ticket, TicketEvent
from tests.services import ROOT

FINAL = ("false_alarm", "duplicate", "exempt", "lapsed", "self_corrected", "closed")
STREET_WORK = ("registered", "dispatched", "handling", "verifying", "rework")
JUDGEMENTS = {
    "confirm": "confirmed",
    "review": "confirmed",
    "false_alarm": "false",
    "duplicate": "duplicate",
    "exempt": "exempt",
    "uphold": "unfounded",
    "resume": "",
    "reconsider": "",
}


class Story:
    """One ticket, as its time line and its incidents tell it."""

    def __init__(self, ticket, lines, incidents, now_ms):  # noqa: PLR0912 - one branch for each thing that happens
        self.place = (ticket.street, ticket.rule, ticket.shop or ticket.key)
        self.shop, self.street, self.rule = ticket.shop, ticket.street, ticket.rule
        self.camera = f"{ticket.box_id}/{ticket.camera}" if ticket.box_id else ""
        self.opened_ms = min((one.opened_ms for one in incidents), default=ticket.opened_ms)
        present = any(one.state in ("open", "orphaned") for one in incidents)
        clear = [one.cleared_ms for one in incidents if one.cleared_ms is not None]
        self.cleared_ms = max(clear) if clear and not present else None
        self.late = bool(incidents) and all(one.late for one in incidents)
        self.judgement, self.state, self.outcome, self.closed_ms = "", "pending_review", None, None
        self.told_ms = self.registered_ms = None
        self.fed_back = self.reworked = self.repeat = False
        self.overdue = False
        back, due_ms, last_told_ms = "lapsed", None, None
        for line in lines:
            detail = json.loads(line.detail)
            if line.kind == "due":
                due_ms = detail["due_ms"]
            if line.kind in ("lapsed", "filed_late") and not present:
                self.state, self.closed_ms = back, line.at_ms
            if line.before is None:
                continue
            state = detail["state"]
            if (
                self.registered_ms is not None
                and self.state in STREET_WORK
                and due_ms is not None
                and line.at_ms > due_ms
            ):
                self.overdue |= state != self.state or "due_ms" in detail
            due_ms = detail.get("due_ms", due_ms)
            self.judgement = JUDGEMENTS.get(line.kind, self.judgement)
            match line.kind:
                case "told":
                    last_told_ms = detail["told_ms"]
                    self.told_ms = last_told_ms if self.told_ms is None else self.told_ms
                case "untold":
                    self.told_ms = None if self.told_ms == last_told_ms else self.told_ms
                    if self.state == "registered":
                        self.registered_ms = None
                case "put_right":  # where no camera looks
                    self.cleared_ms = detail["clear_ms"]
                case "feed_back":
                    self.fed_back, self.outcome = True, "handled"
                case "solve":
                    self.outcome = "community"
                case "confirm" | "notify" | "reconsider" | "resume":
                    self.outcome = None
                case "verify_occupied" | "rework":
                    self.reworked |= state == "rework"
                    self.outcome = None
            self.outcome = detail.get("outcome", self.outcome)
            if state == "registered" and self.registered_ms is None:
                self.registered_ms = line.at_ms
            if state != self.state:
                back = self.state if line.kind == "reopen" else "lapsed"
                self.closed_ms = line.at_ms if state in FINAL else None
            self.state = state
        self.over_now = (
            self.registered_ms is not None
            and self.state in STREET_WORK
            and due_ms is not None
            and due_ms // 1000 * 1000 < now_ms
        )
        self.withdrawn = self.state == "closed" and self.outcome == "withdrawn"
        self.ended = self.state in FINAL and not self.withdrawn


def numbers(stories):
    """All indicators of some tickets, in the form of the API."""
    case = [one for one in stories if one.judgement == "confirmed"]
    ended = [one for one in case if one.ended]
    registered = [one for one in case if one.registered_ms is not None]
    standing = [one for one in registered if not one.withdrawn]
    closed = [one for one in registered if one.ended]
    unjudged = [one for one in stories if one.judgement == ""]
    corrected = [one for one in ended if one.state == "self_corrected"]
    soft = [one for one in ended if one.state == "self_corrected" or one.outcome == "community"]
    handled = [one for one in case if one.fed_back]
    over = [one for one in standing if one.overdue or one.over_now]

    def judged(what):
        return [one for one in stories if one.judgement == what]

    def share(part, whole):
        return {"part": len(part), "whole": len(whole), "value": len(part) / len(whole) if whole else None}

    def spread(values):
        values = sorted(max(0, until_ms - from_ms) // 1000 / 60 for from_ms, until_ms in values if until_ms is not None)
        median, p90 = (values[math.ceil(len(values) * p / 100) - 1] if values else None for p in (50, 90))
        return {"tickets": len(values), "median": median, "p90": p90}

    return {
        "counts": {
            "reported": len(stories),
            "confirmed": len(case),
            "false_alarm": len(judged("false")),
            "unfounded": len(judged("unfounded")),
            "duplicate": len(judged("duplicate")),
            "exempt": len(judged("exempt")),
            "lapsed": sum(one.state == "lapsed" for one in unjudged),
            "pending": sum(one.state == "pending_review" for one in unjudged),
            "unreviewed": sum(one.state not in ("lapsed", "pending_review") and not one.withdrawn for one in unjudged),
            "withdrawn_unreviewed": sum(one.withdrawn for one in unjudged),
            "self_corrected": len(corrected),
            "registered": len(registered),
            "closed": len(closed),
            "withdrawn": sum(one.withdrawn for one in case),
            "overdue": len(over),
            "reopened": sum(one.reopened for one in stories),
            "late": sum(one.late for one in stories),
        },
        "shares": {
            "valid_rate": share(case, case + judged("false") + judged("unfounded")),
            "self_corrected_rate": share(corrected, ended),
            "soft_rate": share([one for one in soft if one.registered_ms is None], ended),
            "registered_rate": share(registered, case),
            "closed_rate": share(closed, standing),
            "in_time_rate": share(
                [one for one in closed if one not in over], [one for one in standing if one.ended or one in over]
            ),
            "rework_rate": share([one for one in handled if one.reworked], handled),
            "repeat_rate": share([one for one in case if one.repeat], case),
        },
        "minutes": {
            "to_notice": spread([(one.opened_ms, one.told_ms) for one in case]),
            "to_clear": spread([(one.opened_ms, one.cleared_ms) for one in case]),
            "to_close": spread([(one.opened_ms, one.closed_ms) for one in ended]),
        },
    }


def stories(session, now_ms):
    """Every ticket of the center."""
    lines, incidents = defaultdict(list), defaultdict(list)
    for line in session.scalars(select(TicketEvent).order_by(TicketEvent.id)):
        lines[line.ticket_number].append(line)
    for row in session.scalars(select(IncidentRow)):
        incidents[row.ticket_number].append(row)
    found = []
    for ticket in session.scalars(select(Ticket)):
        one = Story(ticket, lines[ticket.number], incidents[ticket.number], now_ms)
        one.reopened = _returned(incidents[ticket.number])
        one.cell, one.category = _cell(session, ticket), _category(ticket.rule)
        found.append(one)
    earlier = defaultdict(list)
    for one in sorted((one for one in found if one.judgement == "confirmed"), key=lambda one: one.opened_ms):
        seconds = one.opened_ms // 1000
        one.repeat = any(seconds - before <= 30 * 86_400 for before in earlier[one.place])
        earlier[one.place].append(seconds)
    return found


def _returned(rows):
    """Whether all was clear at one moment, and something came after it."""

    def end_ms(one):
        goes_on = one.state in ("open", "orphaned")
        return math.inf if goes_on else one.cleared_ms or one.ended_ms or one.opened_ms

    for one in rows:
        before = [end_ms(other) for other in rows if other.opened_ms < one.opened_ms]
        if before and max(before) < one.opened_ms:
            return True
    return False


def _cell(session, ticket):
    """Of the shop's door, else of the camera as the register has it, else as somebody reported it."""
    shop = session.get(ShopRow, ticket.shop) if ticket.shop else None
    place = session.get(CameraPlace, (ticket.box_id, ticket.camera)) if ticket.box_id else None
    report = session.get(ReportRow, ticket.number)
    found = (
        *([_at(session, shop)] if shop else []),
        *([place.cell, _at(session, place)] if place else []),
        *([report.cell] if report else []),
    )
    return next((one for one in found if one), "")


def _at(session, place):
    """The first cell of a position: a line from it to the east crosses the cell's edges an odd number of times.

    Or it is on an edge itself, and so in all cells that meet there.
    """
    cells = session.scalars(select(GridCell).where(GridCell.state == "active").order_by(GridCell.code))
    for cell in () if place.lon is None else cells:
        crossed, on = 0, False
        for ring in json.loads(cell.rings):
            for (x1, y1), (x2, y2) in itertools.pairwise(ring):
                beside = (x2 - x1) * (place.lat - y1) - (y2 - y1) * (place.lon - x1)
                on |= beside == 0 and (x1 - place.lon) * (x2 - place.lon) <= 0 >= (y1 - place.lat) * (y2 - place.lat)
                if (y1 > place.lat) != (y2 > place.lat):
                    crossed += place.lon < x1 + (place.lat - y1) / (y2 - y1) * (x2 - x1)
        if on or crossed % 2:
            return cell.code
    return ""


def _category(rule):
    codes = tomllib.loads((ROOT / "config" / "codes" / "events.toml").read_text("utf-8"))
    return codes["rules"].get(rule) or rule


def differences(store, first, last, zone, now_ms):
    """What the center says of these days and a second opinion does not, one line each; as a whole and by each group."""

    def local(one):
        return datetime.fromtimestamp(one.opened_ms / 1000, zone)

    with store.reading() as session:
        second = [one for one in stories(session, now_ms) if first <= local(one).date() <= last]
        streets = tuple({one.street for one in second})
        loaded = Loaded(session, Period(first, last, streets, zone), now_ms)
        parts = {
            by: {key: figures for key, (_, figures) in apart(session, loaded, by).items()}
            for by in ("grid", "category")
        }
    spots = loaded.spots
    pairs = {
        "all": ({"": loaded.whole()}, lambda _: ""),
        "street": (loaded.by_spot([one.street for one in spots]), lambda one: one.street),
        "shop": (loaded.by_spot([one.shop or "" for one in spots]), lambda one: one.shop or ""),
        "camera": (
            loaded.by_spot([f"{one.box}/{one.camera}" if one.box else "" for one in spots]),
            lambda one: one.camera,
        ),
        "rule": (loaded.by_spot([one.rule for one in spots]), lambda one: one.rule),
        "grid": (parts["grid"], lambda one: one.cell),
        "category": (parts["category"], lambda one: one.category),
        "hour": (loaded.by_hour(), lambda one: f"{local(one).hour:02}"),
        "day": (loaded.by_day(), lambda one: local(one).date().isoformat()),
        "week": (loaded.by_week(), lambda one: f"{local(one) - timedelta(days=local(one).weekday()):%F}"),
        "weekday": (loaded.by_weekday(), lambda one: str(local(one).isoweekday())),
        "weekday_hour": (loaded.by_weekday_hour(), lambda one: f"{local(one):%u-%H}"),
    }
    changed = sum(differed for _, differed in work_out(store, every=True))
    found = [f"{changed} tickets keep other facts than their time lines tell"] if changed else []
    for group, (said, by) in pairs.items():
        members = defaultdict(list)
        for one in second:
            members[by(one)].append(one)
        for name in {*said, *members}:
            ours, theirs = said[name].json if name in said else numbers([]), numbers(members[name])
            found += [
                f"{group} {name} {indicator}: {value} here, {theirs[kind][indicator]} by the second opinion"
                for kind, values in ours.items()
                for indicator, value in values.items()
                if value != theirs[kind][indicator]
            ]
    return found

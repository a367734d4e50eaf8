"""What a street wants: who confirms, how long each step may take, when nobody is told, and who hears of it when late.

A policy is one document per street (the site of its boxes); `*` is for all that have none of their own. Each change
is a new revision with its author; a ticket names the revision that its present step began with.
"""

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache
from typing import Annotated, Any, Final, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, ValidationError, model_serializer, model_validator
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from collector.people.actor import Actor
from collector.people.audit import record
from collector.store import PolicyRow, lock
from collector.tickets import calendar
from collector.tickets.calendar import PLAIN, UNITS, Unit, WorkingTime, chinese_calendar
from collector.tickets.machine import OPEN, State
from protocol.documents import Section, SettingsError, TimeZoneName, first_fault
from protocol.hours import Hours, any_active, parse_hours

DEFAULT: Final = "*"
Urgency = Literal["normal", "urgent", "very_urgent"]
First = Literal["shop", "community", "officer"]
Audience = Literal["shop", "community", "officer", "operator", "room"]
MAX_BYTES: Final = 64 * 1024


class PolicyError(SettingsError):
    """A policy that cannot be taken; one line."""


def _hours(text: str) -> str:
    parse_hours(text)
    return text


def _working_days(text: str) -> str:
    if parse_hours(f"{text} 00:00-24:00").days:
        return text
    raise ValueError(f"expected days such as Mo-Fr, got {text!r}")


def _clock_range(text: str) -> str:
    if " " in text.strip() or parse_hours(text).ranges[0][1] > 24 * 60:
        raise ValueError(f"expected times of one day such as '08:30-12:00', got {text!r}")
    return text


HoursText = Annotated[str, AfterValidator(_hours)]
RangeText = Annotated[str, AfterValidator(_clock_range)]
DaysText = Annotated[str, AfterValidator(_working_days)]


class Span(Section):
    """An amount of time: one of `minutes`, `hours`, `days`, `work_minutes`, `work_hours`, `work_days`."""

    minutes: int | None = Field(default=None, ge=0, le=60 * 24 * 366)
    hours: int | None = Field(default=None, ge=0, le=24 * 366)
    days: int | None = Field(default=None, ge=0, le=366)
    work_minutes: int | None = Field(default=None, ge=0, le=60 * 24 * 366)
    work_hours: int | None = Field(default=None, ge=0, le=24 * 366)
    work_days: int | None = Field(default=None, ge=1, le=366)

    @model_validator(mode="after")
    def _one(self) -> Self:
        named = [unit for unit in UNITS if getattr(self, unit) is not None]
        if len(named) != 1:
            raise ValueError(f"expected one of {', '.join(UNITS)}, got {', '.join(named) or 'none'}")
        return self

    @model_serializer
    def _short(self) -> dict[str, int]:
        return {self.unit: self.amount}

    @property
    def unit(self) -> Unit:
        """Which of them is given."""
        return next(unit for unit in UNITS if getattr(self, unit) is not None)

    @property
    def amount(self) -> int:
        """How many."""
        return int(getattr(self, self.unit))

    def after(self, from_ms: int, work: WorkingTime) -> int:
        """When this span after an instant is over."""
        return calendar.Span(self.amount, self.unit).after(from_ms, work)

    def __str__(self) -> str:
        return f"{self.amount} {self.unit}"


def _minutes(amount: int) -> Span:
    return Span(minutes=amount)


class Work(Section):
    """When the street works; what `work_…` deadlines count."""

    days: DaysText = "Mo-Fr"
    hours: tuple[RangeText, ...] = Field(default=("08:30-12:00", "13:30-17:30"), min_length=1)
    calendar: Literal["cn", "none"] = Field(default="cn", description="public holidays and make-up working days")

    @model_validator(mode="after")
    def _apart(self) -> Self:
        ranges = self.ranges
        for (_, end), (begin, _) in itertools.pairwise(ranges):
            if begin < end:
                raise ValueError(f"expected hours in order and apart, got {', '.join(self.hours)}")
        return self

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """Minutes since midnight."""
        return tuple(pair for text in self.hours for pair in parse_hours(text).ranges)


class Unreviewed(Section):
    """Where and when a shop is told before a person has looked."""

    hours: tuple[HoursText, ...] = Field(min_length=1, description="opening-hours syntax, in the street's time")
    rules: tuple[str, ...] = Field(default=("encroachment",), description="names; * stands for anything")
    zones: tuple[str, ...] = Field(default=("*",), description="camera/zone; * stands for anything")


class Shop(Section):
    """The shop's own minutes."""

    minutes: Span = Field(default_factory=lambda: _minutes(5), description="from being told until it must be clear")
    remind_minutes: int | None = Field(default=2, ge=1, description="before they end; null: no reminder")
    grace_s: int = Field(
        default=90, ge=0, le=3600, description="after they end, until the community is called: a box says clear later"
    )
    tell_within: Span = Field(default_factory=lambda: _minutes(10), description="else an operator has to see to it")
    notices_a_day: int = Field(default=6, ge=0, description="to one shop, all of its tickets together")


class Quiet(Section):
    """When nobody outside the command room is told; what is due then waits until the end."""

    hours: tuple[HoursText, ...] = ("22:00-07:00",)
    audiences: tuple[Audience, ...] = ("shop", "community")


class Level(Section):
    """One step of an escalation chain."""

    after: Span = Field(default_factory=lambda: _minutes(0), description="the deadline")
    to: Audience = "operator"
    whom: str = Field(default="", max_length=100, description="a person or an address; empty: all of the audience")


class Deadlines(Section):
    """How long each step may take."""

    review: Span = Field(default_factory=lambda: _minutes(5))
    community: Span = Field(default_factory=lambda: _minutes(10))
    dispatch: Span = Field(default_factory=lambda: Span(work_hours=1))
    accept: Span = Field(default_factory=lambda: Span(work_hours=1))
    handle: Span = Field(default_factory=lambda: Span(work_hours=4))
    verify: Span = Field(default_factory=lambda: _minutes(10))
    rework: Span = Field(default_factory=lambda: Span(work_hours=2))
    appeal: Span = Field(default_factory=lambda: Span(work_days=3))


class Hurry(Section):
    """Deadlines that differ where it is urgent; those that are not named stay."""

    review: Span | None = None
    community: Span | None = None
    dispatch: Span | None = None
    accept: Span | None = None
    handle: Span | None = None
    verify: Span | None = None
    rework: Span | None = None
    appeal: Span | None = None


class Rule(Section):
    """What is different for one rule."""

    first: First | None = Field(default=None, description="who is told first once it is confirmed")
    urgency: Urgency | None = None


class Offence(Section):
    """What a second or third offence changes."""

    count: int = Field(ge=2, le=100, description="2: from the second one on")
    within_days: int = Field(ge=1, le=366)
    first: First | None = None
    shop_minutes: int | None = Field(default=None, ge=1)
    urgency: Urgency | None = None


_STEP: Final[Mapping[State, str]] = {
    State.PENDING_REVIEW: "review",
    State.COMMUNITY: "community",
    State.REGISTERED: "dispatch",
    State.DISPATCHED: "accept",
    State.HANDLING: "handle",
    State.VERIFYING: "verify",
    State.REWORK: "rework",
    State.APPEALED: "appeal",
}
ESCALATION: Final = (
    Level(to="operator"),
    Level(after=Span(minutes=30), to="room"),
    Level(after=Span(work_days=1), to="room", whom="leader"),
)


class Policy(Section):
    """The whole of a street's policy."""

    version: Literal[1] = 1
    timezone: TimeZoneName = "Asia/Shanghai"
    region: str = Field(default="", pattern=r"^(\d{6})?$", description="six digits, for case numbers")
    work: Work = Work()
    unreviewed: tuple[Unreviewed, ...] = ()
    shop: Shop = Shop()
    quiet: Quiet = Quiet()
    deadlines: Deadlines = Deadlines()
    urgent: Hurry = Field(default=Hurry(handle=Span(work_hours=2)), description="deadlines where it is urgent")
    very_urgent: Hurry = Field(default=Hurry(dispatch=Span(minutes=10), accept=Span(minutes=10), handle=Span(hours=1)))
    first: First = "shop"
    rules: dict[str, Rule] = Field(default={"crowding": Rule(first="officer", urgency="urgent")})
    offences: tuple[Offence, ...] = (
        Offence(count=2, within_days=30, shop_minutes=3),
        Offence(count=3, within_days=30, first="community", urgency="urgent"),
    )
    escalation: tuple[Level, ...] = Field(default=ESCALATION, min_length=1, description="who hears of what is overdue")
    escalations: dict[str, tuple[Level, ...]] = Field(default={}, description="the same for single states")

    @model_validator(mode="after")
    def _sound(self) -> Self:
        for state in self.escalations:
            if state not in OPEN:
                raise ValueError(f"escalations: expected one of {', '.join(OPEN)}, got {state!r}")
            if not self.escalations[state]:
                raise ValueError(f"escalations.{state}: expected at least one level, got none")
        if self.quiet.hours and self.always_quiet:
            raise ValueError("quiet.hours: expected an hour of the week in which one may be told, got none")
        return self

    @cached_property
    def zone(self) -> ZoneInfo:
        """The street's time zone."""
        return ZoneInfo(self.timezone)

    @cached_property
    def working_time(self) -> WorkingTime:
        """When the street works, with its calendar."""
        days = parse_hours(f"{self.work.days} 00:00-24:00").days
        return WorkingTime(
            self.zone, days, self.work.ranges, chinese_calendar() if self.work.calendar == "cn" else PLAIN
        )

    @cached_property
    def quiet_hours(self) -> tuple[Hours, ...]:
        """Parsed."""
        return tuple(parse_hours(text) for text in self.quiet.hours)

    @property
    def always_quiet(self) -> bool:
        """Whether there is no time at which one may be told."""
        now_ms = 1_767_225_600_000
        loud = calendar.next_edge_ms(self.quiet_hours, now_ms, self.zone, inside=False)
        return loud is None and calendar.is_within(self.quiet_hours, self.working_time.local(now_ms))

    def not_before_ms(self, audience: str, at_ms: int) -> int:
        """When somebody may be told at the earliest: now, or when the quiet hours are over."""
        if audience not in self.quiet.audiences or not self.quiet_hours:
            return at_ms
        if not any_active(self.quiet_hours, self.working_time.local(at_ms)):
            return at_ms
        return calendar.next_edge_ms(self.quiet_hours, at_ms, self.zone, inside=False) or at_ms

    def unreviewed_now(self, rule: str, camera: str, zone: str, at_ms: int) -> bool:
        """Whether a shop may be told now although nobody has looked."""
        local = self.working_time.local(at_ms)
        return any(
            any(parse_hours(text).active(local) for text in one.hours) for one in self._unreviewed(rule, camera, zone)
        )

    def unreviewed_from_ms(self, rule: str, camera: str, zone: str, at_ms: int) -> int | None:
        """When that begins next."""
        edges = [
            calendar.next_edge_ms(tuple(parse_hours(text) for text in one.hours), at_ms, self.zone, inside=True)
            for one in self._unreviewed(rule, camera, zone)
        ]
        return min((edge for edge in edges if edge is not None), default=None)

    def _unreviewed(self, rule: str, camera: str, zone: str) -> list[Unreviewed]:
        place = f"{camera}/{zone}"
        return [
            one
            for one in self.unreviewed
            if any(fnmatchcase(rule, name) for name in one.rules)
            and any(fnmatchcase(place, name) for name in one.zones)
        ]

    def offence(self, earlier_days: tuple[float, ...]) -> Offence | None:
        """What applies to one who was confirmed this many days ago, each time; the highest count wins."""
        found = [one for one in self.offences if sum(days <= one.within_days for days in earlier_days) + 1 >= one.count]
        return max(found, key=lambda one: one.count, default=None)

    def begins_with(self, rule: str, *, shop: bool, offence: Offence | None) -> First:
        """Who is told first; without a shop that is not the shop."""
        first = (offence and offence.first) or (self.rules.get(rule) or Rule()).first or self.first
        return "community" if first == "shop" and not shop else first

    def urgency(self, rule: str, offence: Offence | None) -> Urgency:
        """How urgent a ticket is as it is confirmed."""
        return (offence and offence.urgency) or (self.rules.get(rule) or Rule()).urgency or "normal"

    def shop_span(self, offence: Offence | None) -> Span:
        """The shop's minutes."""
        return self.shop.minutes if offence is None or offence.shop_minutes is None else _minutes(offence.shop_minutes)

    def deadline(self, state: State, urgency: str) -> tuple[str, Span] | None:
        """Name and length of a step's deadline; None where there is none, or where it is the shop's."""
        name = _STEP.get(state)
        if name is None:
            return None
        hurry = {"urgent": self.urgent, "very_urgent": self.very_urgent}.get(urgency)
        span = (hurry and getattr(hurry, name)) or getattr(self.deadlines, name)
        return name, span

    def chain(self, state: str) -> tuple[Level, ...]:
        """Who hears of a step that is overdue, in order."""
        return self.escalations.get(state) or self.escalation


BUILT_IN: Final = Policy()


@dataclass(frozen=True)
class Revision:
    """A policy, and which one it is; number None: the built-in one."""

    number: int | None
    policy: Policy


@lru_cache(maxsize=256)
def _parsed(document: str) -> Policy:
    return Policy.model_validate_json(document)


def read_policy(values: Mapping[str, Any], where: str) -> Policy:
    """Read a policy; raises PolicyError."""
    try:
        return Policy.model_validate(values)
    except ValidationError as fault:
        raise PolicyError(f"{where}: {first_fault(fault, values)}") from None


def current(session: Session, street: str) -> Revision:
    """The policy that a street has now: its own, or that of all, or the built-in one."""
    rows = select(PolicyRow).where(PolicyRow.street.in_((street, DEFAULT))).order_by(PolicyRow.number.desc())
    newest: dict[str, PolicyRow] = {}
    for row in session.scalars(rows):
        newest.setdefault(row.street, row)
    found = newest.get(street) or newest.get(DEFAULT)
    return Revision(None, BUILT_IN) if found is None else Revision(found.number, _parsed(found.document))


def revision(session: Session, number: int | None) -> Revision:
    """The one that a ticket names."""
    if number is None:
        return Revision(None, BUILT_IN)
    return Revision(number, _parsed(session.get_one(PolicyRow, number).document))


def put(session: Session, street: str, policy: Policy, author: Actor, at_ms: int, reason: str = "") -> PolicyRow:
    """Make a policy a street's newest revision; one that changes nothing makes none. Raises PolicyError."""
    document = policy.model_dump_json()
    if len(document) > MAX_BYTES:
        raise PolicyError(f"policy: expected at most {MAX_BYTES} bytes of JSON, got {len(document)}")
    lock(session, [f"policy/{street}"])
    of_street = select(PolicyRow).where(PolicyRow.street == street).order_by(PolicyRow.number.desc()).limit(1)
    last = session.scalars(of_street).first()
    if last is not None and last.document == document:
        return last
    newest = session.scalar(select(func.max(PolicyRow.revision)).where(PolicyRow.street == street)) or 0
    row = PolicyRow(
        street=street, revision=newest + 1, document=document, author=str(author), made_ms=at_ms, reason=reason
    )
    session.add(row)
    session.flush()
    before = None if last is None else last.revision
    record(session, author, "policy.set", f"policy/{street}", {"revision": row.revision, "before": before}, at_ms)
    return row


def begin(session: Session, author: Actor, region: str, timezone: str, at_ms: int) -> None:
    """Give a center that has no policy the built-in one, with its region and time zone."""
    if session.scalar(select(PolicyRow.number).limit(1)) is None:
        six = region[:6] if len(region) >= 6 else ""
        put(session, DEFAULT, Policy(region=six, timezone=timezone), author, at_ms, "as the center began")


def history(session: Session, street: str) -> list[PolicyRow]:
    """All revisions of a street, newest first."""
    of_street = select(PolicyRow).where(PolicyRow.street == street).order_by(PolicyRow.revision.desc())
    return list(session.scalars(of_street))


def differs(before: Policy, after: Policy) -> dict[str, tuple[Any, Any]]:
    """The top fields in which two policies differ."""
    one, other = (json.loads(policy.model_dump_json()) for policy in (before, after))
    return {name: (one[name], other[name]) for name in one if one[name] != other[name]}


def warnings(policy: Policy, today: date) -> list[str]:
    """What is allowed and may not be meant; lines for people."""
    found = []
    if not policy.region:
        found.append(
            "没有填行政区划，案卷将没有编号；请填六位数字 / "
            "region: none is set, so that cases get no number; put the six digits of the district there"
        )
    if policy.work.calendar == "cn":
        unknown = policy.working_time.calendar.unknown_years(today, today + timedelta(days=90))
        found += [
            f"没有 {year} 年的节假日安排，按普通周计算；"
            "请系统管理员在中心服务器的 /etc/cityeye/calendar-cn.toml 中补充 / "
            f"work.calendar: no holidays are known for {year}, it counts as plain weeks; "
            "whoever runs the center's machine adds them to its /etc/cityeye/calendar-cn.toml"
            for year in unknown
        ]
    for one in policy.unreviewed:
        for text in one.hours:
            if text in policy.quiet.hours and "shop" in policy.quiet.audiences:
                found.append(
                    f"未审先提醒的时段 {text} 是免打扰时段，届时不会提醒 / "
                    f"unreviewed.hours {text}: nobody is told then, as these are quiet.hours"
                )
    return found

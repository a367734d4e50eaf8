"""The thread that sends notices; each collector has one, and no two send the same.

A try is written down as `sending` and committed before anything leaves. Whoever dies in between leaves a row of which
nobody knows whether it went out: it becomes `unsure`, and is not sent again by itself.
"""

import logging
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from random import Random, SystemRandom
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from collector.notices import orders, seams
from collector.notices.links import forget, make_link
from collector.notices.messages import Asked, ChannelBase, Message, Tools
from collector.notices.outcomes import REACHED, Report, short
from collector.notices.routing import Reach, address_for, listed, named, recipient_of, suiting
from collector.notices.secrets import SecretError, masked
from collector.notices.settings import NoticesSection, ShopPagesSection
from collector.notices.texts import Facts, choose, render, values
from collector.store import IncidentRow, NoticeAttempt, NoticeLink, NoticeRow, Store, Ticket, is_race, lock
from collector.tickets import policy

log = logging.getLogger(__name__)

POLL_S: Final = 0.5
WORKERS: Final = 16
AT_ONCE: Final = 8
"""Requests over one channel; a slow one leaves room for the others."""
CLAIM: Final = 100
"""Notices that are looked at in one transaction."""
LEASE_MS: Final = 180_000
"""No request takes as long (its own limit is a minute): whoever wrote such a row is gone."""
MARGIN_S: Final = 10.0
JITTER: Final = 0.3
MAX_WAIT_S: Final = 3600.0
PUT_OFF_MS: Final = 500
"""Where a channel takes no more just now."""
REPORT_FIRST_MS: Final = 10_000
REPORT_LAST_MS: Final = 24 * 3600 * 1000
"""Reports that come later than a day are not asked for."""
TIDY_S: Final = 3600.0
WITH_TICKET: Final = ("task", "overdue", "escalated")
"""Kinds that are pointless once their ticket has ended; all of a shop's are as well."""


@dataclass(frozen=True)
class Job:
    """A message that was claimed, and the rows that go with it."""

    channel: ChannelBase
    message: Message
    attempts: tuple[int, ...]
    claimed_s: float
    """By a clock that never jumps."""


@dataclass(frozen=True)
class _Fate:
    """How a notice ends without being sent."""

    state: str
    code: str = ""
    reason: str = ""


@dataclass
class _Claims:
    """What one step has claimed so far; batches are of channels that may send several notices as one message."""

    jobs: list[Job] = field(default_factory=list)
    batches: dict[str, list[tuple[NoticeRow, Reach]]] = field(default_factory=dict)
    quiet: dict[tuple[str, str], int] = field(default_factory=dict)
    """When an audience of a street may be told at the earliest."""


class Sender:
    """Sends what is due.

    Args:
        center: the center's name, as it stands in texts.
        zone: the center's time.
        changed: tells open pages that something changed.
        now: seconds since the epoch.
        random: for jitter; tokens come from `secrets`.
        settled: whether the clock can be believed; while it cannot, nothing is due.
    """

    def __init__(
        self,
        store: Store,
        notices: NoticesSection,
        pages: ShopPagesSection,
        tools: Tools,
        center: str,
        zone: ZoneInfo,
        changed: Callable[[], None] = lambda: None,
        now: Callable[[], float] = time.time,
        random: Random | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        settled: Callable[[], bool] = lambda: True,
    ) -> None:
        self._store, self._notices, self._pages, self._tools = store, notices, pages, tools
        self._center, self._zone, self._changed, self._now = center, zone, changed, now
        self._random, self._monotonic, self._settled = random or SystemRandom(), monotonic, settled
        self._channels = {one.id: one for one in notices.channel}
        self._busy: Counter[str] = Counter()
        self._flying: set[int] = set()
        self._guard = threading.Lock()
        self._tidied_s = float("-inf")
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(WORKERS, "notices")
        self._thread = threading.Thread(target=self._run, name="notices", daemon=True)

    def start(self) -> None:
        """Begin; on SQLite there is no other collector, so that what was being sent is nobody's now."""
        if not self._store.shared:
            self._give_up(0)
        self._thread.start()

    def stop(self) -> None:
        """End: what is just being sent is sent to its end, what was only claimed goes back."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(10)
        self._pool.shutdown(wait=True)

    @property
    def alive(self) -> bool:
        """Whether it works."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.wait(POLL_S):
            try:
                self.step()
            except SQLAlchemyError as fault:
                log.warning("notices: the database does not answer (%s); trying again", type(fault).__name__)
            except Exception:
                # the last frame of the thread: one notice that trips it must not end the telling of all others
                log.exception("notices: going on")

    @property
    def now_ms(self) -> int:
        """The center's clock."""
        return round(self._now() * 1000)

    def step(self, *, wait: bool = False) -> int:
        """Claim what is due and have it sent; says how many messages.

        Args:
            wait: until they are sent, as tests do.
        """
        if not self._settled():
            return 0
        if self._any(NoticeRow.state == "sending", NoticeRow.next_ms <= self.now_ms):
            self._give_up(self.now_ms)
        jobs = self.claim() if self._any(NoticeRow.state == "waiting", NoticeRow.next_ms <= self.now_ms) else []
        groups: dict[str, list[Job]] = {}
        for job in jobs:
            # a group reads its messages in order, and a slow robot keeps one worker busy, not all
            groups.setdefault(job.channel.id if job.channel.digests else job.message.request, []).append(job)
        work = [self._pool.submit(self._send_all, group) for group in groups.values()]
        asked = self._due_reports()
        if self._monotonic() - self._tidied_s >= TIDY_S:
            self._tidied_s = self._monotonic()
            with self._store.writing() as session:
                forget(session, self.now_ms)
        work += [self._pool.submit(self._ask, one) for one in asked]
        if wait:
            for one in work:
                one.result()
        return len(jobs)

    def _any(self, *conditions: ColumnElement[bool]) -> bool:
        with self._store.transaction() as session:
            return session.scalar(select(NoticeRow.number).where(*conditions).limit(1)) is not None

    # claiming

    def claim(self) -> list[Job]:
        """Take what is due; once this returns, it is committed that it is being sent."""
        now_ms = self.now_ms
        with self._store.writing() as session:
            # one collector claims at a time: quotas of channels and shops are counted here
            lock(session, ["notices/claim"])
            due = _held(session, NoticeRow.state == "waiting", NoticeRow.next_ms <= now_ms)
            claims = _Claims()
            room = self._room(session, now_ms)
            for row in due:
                self._consider(session, row, claims, room, now_ms)
            for name, batch in claims.batches.items():
                self._batch(session, name, batch, claims, room, now_ms)
        with self._guard:
            self._busy.update(job.channel.id for job in claims.jobs)
            self._flying.update(number for job in claims.jobs for number in job.attempts)
        return claims.jobs

    def _room(self, session: Session, now_ms: int) -> dict[str, int]:
        """Messages that each channel may take now."""
        room = {}
        for name, channel in self._channels.items():
            free = channel.per_minute or CLAIM if channel.digests else AT_ONCE - self._busy[name]
            if channel.per_minute is not None:
                recent = session.scalar(
                    select(func.count(func.distinct(NoticeAttempt.request))).where(
                        NoticeAttempt.channel == name,
                        NoticeAttempt.started_ms > now_ms - 60_000,
                        NoticeAttempt.code != "not_sent",
                    )
                )
                free = min(free, channel.per_minute - (recent or 0))
            room[name] = max(0, free)
        return room

    def _consider(self, session: Session, row: NoticeRow, claims: _Claims, room: dict[str, int], now_ms: int) -> None:
        """Claim one notice, put it off, or end it."""
        ticket = _ticket(session, row)
        fate = self._fate(session, row, ticket, now_ms)
        begins_ms = now_ms if fate is not None else _begins_ms(session, row, claims, now_ms)
        if begins_ms > now_ms:
            # tried again, or left over from the day: the order's own hour says nothing of now
            row.next_ms = min(begins_ms, row.expires_ms)
            return
        if fate is None and self._is_full(row, room):
            # others are not to wait behind it
            row.next_ms = now_ms + PUT_OFF_MS
            return
        found = None if fate is not None else self._reach(session, row, ticket, now_ms)
        if fate is None and found is None:
            fate = _Fate("failed", row.code or "no_channel", row.reason or "no channel is left")
        elif found is not None and row.audience == "shop" and self._has_enough(session, row, now_ms):
            fate = _Fate("failed", "per_day", "this shop had as many messages as one may get a day")
        if fate is not None or found is None:
            self._end(session, row, fate or _Fate("failed"), now_ms)
            return
        channel, reach = found
        if room[channel.id] <= 0:
            row.next_ms = now_ms + PUT_OFF_MS
        elif channel.digests:
            claims.batches.setdefault(channel.id, []).append((row, reach))
        else:
            room[channel.id] -= 1
            self._claim_group(session, channel, [(row, reach)], claims, now_ms)

    def _is_full(self, row: NoticeRow, room: dict[str, int]) -> bool:
        """Whether its channel takes no more just now; asked before anything that costs time."""
        route = self._notices.chain(row.audience, row.kind, row.street)
        return route is not None and row.step < len(route.channels) and room[route.channels[row.step]] <= 0

    def _fate(self, session: Session, row: NoticeRow, ticket: Ticket | None, now_ms: int) -> _Fate | None:
        """What ends a notice before any channel is asked."""
        of_ticket = row.kind not in orders.LASTING and (row.audience == "shop" or row.kind in WITH_TICKET)
        if ticket is not None and not ticket.open and of_ticket:
            return _Fate("withdrawn", "ticket_ended", "its ticket ended before it was sent")
        if row.expires_ms <= now_ms:
            return _Fate("expired", "expired", "its time has passed")
        # the register may have changed since it was ordered
        doubt = seams.doubt(session, ticket) if row.audience == "shop" and ticket is not None else None
        if doubt is not None:
            return _Fate("failed", *doubt)
        if self._notices.chain(row.audience, row.kind, row.street) is None:
            return _Fate("failed", "no_route", f"no route for {row.audience}, {row.kind}, {row.street}")
        return None

    def _reach(
        self, session: Session, row: NoticeRow, ticket: Ticket | None, now_ms: int
    ) -> tuple[ChannelBase, Reach] | None:
        """The next channel of the chain that has an address of the recipient."""
        route = self._notices.chain(row.audience, row.kind, row.street)
        recipient = recipient_of(session, row)
        while route is not None and row.step < len(route.channels):
            channel, *later = [self._channels[name] for name in route.channels[row.step :]]
            if row.copy_of is not None and channel.address_kind() in ("none", "device"):
                # the notice that it is a copy of goes there itself
                row.step += 1
                continue
            reach = address_for(channel, recipient, ticket)
            if reach is not None:
                return channel, reach
            found = listed(session, row, channel, later, recipient, route)
            if found:
                self._copy(session, row, found[1:], now_ms)
                return channel, Reach(suiting(channel, found[0]), name=recipient.name, language=recipient.language)
            self._skip(session, row, channel, now_ms)
        return None

    def _copy(self, session: Session, row: NoticeRow, addresses: Sequence[str], now_ms: int) -> None:
        """Order the same for each of these: everybody whom a route lists is told, tried again and recorded alone."""
        before = session.scalar(select(func.count()).where(NoticeRow.copy_of == row.number)) or 0
        same = ("ticket_number", "kind", "audience", "street", "level", "text", "minutes", "due_ms", "not_before_ms")
        for number, address in enumerate(addresses, before + 1):
            copy = NoticeRow(**{name: getattr(row, name) for name in (*same, "expires_ms", "day")})
            copy.key, copy.copy_of, copy.recipient = f"{row.key}/to/{number}", row.number, address
            copy.state, copy.created_ms, copy.changed_ms, copy.next_ms = "waiting", row.created_ms, now_ms, now_ms
            session.add(copy)
        session.flush()

    def _batch(
        self,
        session: Session,
        name: str,
        batch: list[tuple[NoticeRow, Reach]],
        claims: _Claims,
        room: dict[str, int],
        now_ms: int,
    ) -> None:
        """Send one by one what there is room for; where there is more, so many digests as take all of it."""
        channel = self._channels[name]
        left, most = room[name], 1 if channel.digest is None else channel.digest[0]
        beyond = len(batch) - left
        digests = 0 if beyond <= 0 or most == 1 else min(left, -(-beyond // (most - 1)))
        singles = left - digests
        groups = [[one] for one in batch[:singles]]
        groups += [batch[start : start + most] for start in range(singles, singles + digests * most, most)]
        for group in groups:
            if group:
                self._claim_group(session, channel, group, claims, now_ms)

    def _claim_group(
        self, session: Session, channel: ChannelBase, group: list[tuple[NoticeRow, Reach]], claims: _Claims, now_ms: int
    ) -> None:
        """Write down that these are being sent as one message."""
        request = secrets.token_hex(16)
        messages, numbers = [], []
        for row, reach in group:
            attempt = self._attempt(session, row, channel, reach, request, now_ms)
            message = self._message(session, row, reach, attempt, now_ms)
            attempt.body = _shown(channel, message)
            messages.append(message)
            numbers.append(attempt.number)
        claims.jobs.append(Job(channel, _together(channel, messages), tuple(numbers), self._monotonic()))

    def _has_enough(self, session: Session, row: NoticeRow, now_ms: int) -> bool:
        """Whether this shop may have got all the messages since midnight that one may get a day."""
        midnight = datetime.fromtimestamp(now_ms / 1000, self._zone).replace(hour=0, minute=0, second=0, microsecond=0)
        reached = session.scalar(
            select(func.count())
            .select_from(NoticeAttempt)
            .join(NoticeRow, NoticeRow.number == NoticeAttempt.notice_number)
            .where(NoticeRow.audience == "shop", NoticeRow.recipient == row.recipient)
            .where(NoticeAttempt.outcome.in_(REACHED), NoticeAttempt.started_ms >= midnight.timestamp() * 1000)
        )
        return (reached or 0) >= self._notices.shop_per_day

    def _skip(self, session: Session, row: NoticeRow, channel: ChannelBase, now_ms: int) -> None:
        """Pass over a channel that has no address for this recipient, on record."""
        reason = f"no {channel.address_kind()} of {row.audience} {named(row) or '(nobody named)'}"
        session.add(
            NoticeAttempt(
                notice_number=row.number,
                request=secrets.token_hex(16),
                channel=channel.id,
                address="",
                body="",
                started_ms=now_ms,
                ended_ms=now_ms,
                outcome="refused",
                code="not_sent",
                text=reason,
                provider="",
            )
        )
        row.step, row.tries, row.code, row.reason = row.step + 1, 0, "no_address", reason

    def _attempt(
        self, session: Session, row: NoticeRow, channel: ChannelBase, reach: Reach, request: str, now_ms: int
    ) -> NoticeAttempt:
        attempt = NoticeAttempt(
            notice_number=row.number,
            request=request,
            channel=channel.id,
            address=reach.address if channel.reports else masked(reach.address),
            body="",
            started_ms=now_ms,
            outcome="sending",
            code="",
            text="",
            provider="",
        )
        session.add(attempt)
        session.flush()
        row.state, row.attempt, row.tries = "sending", attempt.number, row.tries + 1
        row.next_ms, row.changed_ms = now_ms + LEASE_MS, now_ms
        return attempt

    def _message(self, session: Session, row: NoticeRow, reach: Reach, attempt: NoticeAttempt, now_ms: int) -> Message:
        ticket = _ticket(session, row)
        language = reach.language or self._notices.language
        token = ""
        if row.audience == "shop" and ticket is not None and self._pages.url is not None:
            token = make_link(session, row, attempt.number, ticket, language, now_ms, self._pages.link_hours)
        facts = facts_of(session, row, ticket, reach, language, self._zone, self._center, self._notices, now_ms)
        link = self._pages.link(token) if token else ""
        found = values(facts, link=link, token=token)
        text = render(choose(self._notices.texts(), row.audience, row.kind, language), found)
        return Message(
            request=attempt.request,
            audience=row.audience,
            kind=row.kind,
            language=language,
            to=reach.address,
            subject=text.subject,
            body=text.body,
            values=found,
            device=reach.device,
        )

    # sending

    def _send_all(self, jobs: list[Job]) -> None:
        for job in jobs:
            self._send(job)

    def _send(self, job: Job) -> None:
        channel = job.channel
        try:
            if self._stopping.is_set():
                report = Report("unreachable", "stopping", "the collector ended before it was sent")
            elif self._monotonic() - job.claimed_s > LEASE_MS / 1000 - channel.timeout_s - MARGIN_S:
                # another collector may take it for lost any moment now
                report = Report("unreachable", "late", "it waited too long behind others")
            else:
                report = channel.send(job.message, self._tools)
        except SecretError as fault:
            # nothing has left yet: secrets are read first
            report = Report("unreachable", "secret", str(fault))
        except Exception as fault:
            # a channel's own mistake or a library's: whatever it was, the try is settled, else it looks like a death of
            # the collector until its lease ends; nobody knows whether it had left
            log.exception("notices: channel %s failed on its own", channel.id)
            report = Report("unsure", "fault", type(fault).__name__)
        report = self._clean(report, job.message.to, job.message.values["token"])
        log.log(
            logging.INFO if report.outcome == "accepted" else logging.WARNING,
            "notice %s over %s to %s: %s %s %s",
            job.message.request,
            channel.id,
            masked(job.message.to) or "the group",
            report.outcome,
            report.code,
            report.text,
        )
        try:
            self._insist(lambda: self.settle(job, report))
        finally:
            with self._guard:
                self._busy[channel.id] -= 1
                self._flying.difference_update(job.attempts)

    def _insist(self, write: Callable[[], None]) -> None:
        """Write down what happened, however often the database is busy; in the end the lease makes it unsure."""
        wait_s = 0.2
        while True:
            try:
                write()
            except SQLAlchemyError as fault:
                if self._stopping.is_set() or wait_s > 60:
                    log.warning("notices: an outcome could not be written: %s", type(fault).__name__)
                    return
                if not is_race(fault):
                    self._stopping.wait(wait_s)
                wait_s *= 2
            else:
                self._changed()
                return

    def _clean(self, report: Report, to: str, token: str = "") -> Report:
        """A report as it may be kept: some services repeat in their answer what they were sent."""
        text, code = self._tools.secrets.clean(report.text), self._tools.secrets.clean(report.code)
        for shown, hidden in ((to, masked(to)), (token, "…")):
            if shown:
                text, code = text.replace(shown, hidden), code.replace(shown, hidden)
        return Report(report.outcome, short(code), short(text), report.provider, report.after_s)

    def settle(self, job: Job, report: Report) -> None:
        """Write down what became of a message."""
        now_ms = self.now_ms
        with self._store.writing() as session:
            named = select(NoticeAttempt.notice_number).where(NoticeAttempt.number.in_(job.attempts))
            rows = {row.number: row for row in _held(session, NoticeRow.number.in_(named))}
            for number in job.attempts:
                attempt = session.get_one(NoticeAttempt, number)
                if attempt.outcome not in ("sending", "unsure"):
                    continue
                attempt.outcome, attempt.code, attempt.text = report.outcome, report.code, report.text
                attempt.provider, attempt.ended_ms = report.provider, now_ms
                if report.outcome == "accepted" and job.channel.reports and report.provider:
                    attempt.report_ms = now_ms + REPORT_FIRST_MS
                else:
                    attempt.address = masked(attempt.address)
                if report.outcome in ("unreachable", "refused", "later"):
                    # nobody has this link
                    session.execute(delete(NoticeLink).where(NoticeLink.attempt_number == number))
                row = rows[attempt.notice_number]
                if row.attempt == number and row.state in ("sending", "unsure"):
                    self._apply(session, row, job.channel, report, now_ms)

    def _apply(self, session: Session, row: NoticeRow, channel: ChannelBase, report: Report, now_ms: int) -> None:
        row.code, row.reason, row.changed_ms = report.code, report.text, now_ms
        if report.outcome == "accepted":
            if channel.told_by == "accepted":
                row.state, row.told_ms = "sent", now_ms
            else:
                row.state, row.next_ms = "accepted", now_ms + round(channel.report_s * 1000)
        elif report.outcome == "delivered":
            row.state, row.told_ms = "delivered", row.told_ms or now_ms
        elif report.outcome in ("later", "unreachable") and row.tries < channel.tries:
            wait_s = min(MAX_WAIT_S, channel.retry_s * 2 ** (row.tries - 1))
            wait_s = max(report.after_s, wait_s) * (1 + JITTER * self._random.random())
            row.state, row.next_ms = "waiting", now_ms + round(wait_s * 1000)
        elif report.outcome == "unsure":
            row.doubt = 1
            if channel.when_unsure == "next":
                self._next(row, now_ms)
            else:
                row.state = "unsure"
        else:
            self._next(row, now_ms)
        self._tell(session, row)

    def _next(self, row: NoticeRow, now_ms: int) -> None:
        """Go on with the next channel; where none is left, the next claim ends it."""
        row.state, row.step, row.tries, row.next_ms = "waiting", row.step + 1, 0, now_ms

    def _end(self, session: Session, row: NoticeRow, fate: _Fate, now_ms: int) -> None:
        # one that may have reached somebody has not failed
        state = "unsure" if row.doubt and fate.state in ("failed", "expired") else fate.state
        row.state, row.code, row.reason, row.changed_ms = state, fate.code, fate.reason, now_ms
        if state in ("failed", "unsure", "expired"):
            log.warning(
                "notice %d (%s to %s %s): %s: %s", row.number, row.kind, row.audience, named(row), state, fate.reason
            )
        self._tell(session, row)

    def _tell(self, session: Session, row: NoticeRow) -> None:
        if row.ticket_number is not None and row.audience == "shop":
            seams.look(session, row.ticket_number)

    def _give_up(self, before_ms: int) -> None:
        """Say of what was being sent by somebody who is gone that nobody knows; 0: all of it."""
        now_ms = self.now_ms
        with self._store.writing() as session:
            lock(session, ["notices/claim"])
            old = [NoticeRow.next_ms <= before_ms] if before_ms else []
            for row in _held(session, NoticeRow.state == "sending", *old):
                if row.attempt in self._flying:
                    # our own, which is alive: only the clock has jumped
                    continue
                attempt = session.get_one(NoticeAttempt, row.attempt)
                channel = self._channels.get(attempt.channel)
                report = Report("unsure", "interrupted", "the collector ended while it was being sent")
                attempt.outcome, attempt.code, attempt.text = report.outcome, report.code, report.text
                attempt.ended_ms = now_ms
                attempt.address = masked(attempt.address)
                self._apply(session, row, channel or ChannelBase(id=attempt.channel), report, now_ms)

    # delivery reports

    def _due_reports(self) -> list[int]:
        """Take the reports to ask for now; asking twice does no harm."""
        now_ms = self.now_ms
        with self._store.transaction() as session:
            waiting = session.scalar(select(NoticeAttempt.number).where(NoticeAttempt.report_ms <= now_ms).limit(1))
            overdue = session.scalar(
                select(NoticeRow.number).where(NoticeRow.state == "accepted", NoticeRow.next_ms <= now_ms).limit(1)
            )
        if waiting is None and overdue is None:
            return []
        with self._store.writing() as session:
            lock(session, ["notices/claim"])
            for row in _held(session, NoticeRow.state == "accepted", NoticeRow.next_ms <= now_ms):
                row.doubt = 1
                self._end(session, row, _Fate("unsure", "no_report", "no delivery report came in time"), now_ms)
            query = select(NoticeAttempt).where(NoticeAttempt.report_ms <= now_ms).limit(20)
            rows = session.scalars(query).all()
            for attempt in rows:
                age_ms = now_ms - (attempt.ended_ms or now_ms)
                attempt.report_ms = now_ms + max(REPORT_FIRST_MS, age_ms // 2)
                if age_ms > REPORT_LAST_MS or attempt.channel not in self._channels:
                    attempt.report_ms, attempt.address = None, masked(attempt.address)
            return [attempt.number for attempt in rows if attempt.report_ms is not None]

    def _ask(self, number: int) -> None:
        with self._store.transaction() as session:
            attempt = session.get_one(NoticeAttempt, number)
        channel = self._channels[attempt.channel]
        try:
            report = channel.report(Asked(attempt.provider, attempt.address, attempt.started_ms), self._tools)
        except SecretError:
            report = None
        except Exception:
            # as in `_send`; a report is asked for again later
            log.exception("notices: channel %s failed on its own", channel.id)
            report = None
        if report is not None:
            found = self._clean(report, attempt.address)
            self._insist(lambda: self._take_report(number, found))

    def _take_report(self, number: int, report: Report) -> None:
        now_ms = self.now_ms
        with self._store.writing() as session:
            of_attempt = select(NoticeAttempt.notice_number).where(NoticeAttempt.number == number)
            (row,) = _held(session, NoticeRow.number.in_(of_attempt))
            attempt = session.get_one(NoticeAttempt, number)
            if attempt.report_ms is None:
                return
            attempt.report_ms, attempt.address = None, masked(attempt.address)
            attempt.outcome, attempt.code, attempt.text = report.outcome, report.code, report.text
            if report.outcome == "delivered":
                # one that waits for its next channel needs it no more
                if row.state in ("accepted", "unsure", "sent", "failed", "waiting"):
                    row.state, row.told_ms = "delivered", row.told_ms or now_ms
                    row.code, row.reason, row.changed_ms = report.code, report.text, now_ms
                    self._tell(session, row)
            elif row.attempt == number and row.state in ("accepted", "unsure", "sent"):
                row.code, row.reason, row.changed_ms, row.told_ms = report.code, report.text, now_ms, None
                row.doubt = 0
                self._next(row, now_ms)
                self._tell(session, row)


def _held(session: Session, *conditions: ColumnElement[bool]) -> Sequence[NoticeRow]:
    """Notices, at most `CLAIM`, with their tickets locked first: the desk locks them in this order as well."""
    chosen = select(NoticeRow.number, Ticket.key).outerjoin(Ticket, Ticket.number == NoticeRow.ticket_number)
    chosen = chosen.where(*conditions).order_by(NoticeRow.next_ms, NoticeRow.number).limit(CLAIM)
    found = session.execute(chosen).all()
    lock(session, {f"ticket/{row.key}" for row in found if row.key is not None})
    numbers = [row.number for row in found]
    # what changed while this waited does not count any more
    rows = select(NoticeRow).where(NoticeRow.number.in_(numbers), *conditions).with_for_update()
    return session.scalars(rows.order_by(NoticeRow.next_ms, NoticeRow.number)).all()


def _ticket(session: Session, row: NoticeRow) -> Ticket | None:
    return None if row.ticket_number is None else session.get(Ticket, row.ticket_number)


def _begins_ms(session: Session, row: NoticeRow, claims: _Claims, now_ms: int) -> int:
    """When the street's quiet hours let this audience be told: now, or at their end."""
    asked = (row.street, row.audience)
    if asked not in claims.quiet:
        claims.quiet[asked] = policy.current(session, row.street).policy.not_before_ms(row.audience, now_ms)
    return claims.quiet[asked]


def _shown(channel: ChannelBase, message: Message) -> str:
    """What is sent, as it may be kept: the link in it belongs to the shop alone."""
    text, token = channel.shown(message), message.values["token"]
    return text.replace(token, "…") if token else text


def facts_of(
    session: Session,
    row: NoticeRow,
    ticket: Ticket | None,
    reach: Reach,
    language: str,
    zone: ZoneInfo,
    center: str,
    notices: NoticesSection,
    now_ms: int,
) -> Facts:
    """What a notice says."""
    due_ms = row.due_ms if row.minutes is None else now_ms + row.minutes * 60_000
    shop = reach.name if row.audience == "shop" else ""
    if ticket is not None and not shop and ticket.shop:
        known = seams.shop(session, ticket.shop)
        shop = ticket.shop if known is None or not known.name else known.name
    return Facts(
        kind=row.kind,
        language="en" if language == "en" else "zh",
        zone=zone,
        now_ms=now_ms,
        center=center,
        street=row.street,
        ticket=row.ticket_number,
        rule="" if ticket is None else ticket.rule,
        shop=shop or (row.recipient if row.audience == "shop" else ""),
        place="" if ticket is None else f"{ticket.box_id}/{ticket.camera}/{ticket.zone}",
        level=row.level,
        since_ms=None if ticket is None else _since(session, ticket),
        due_ms=due_ms,
        contact=notices.contact,
        text=row.text,
    )


def _since(session: Session, ticket: Ticket) -> int:
    """When what stands there now appeared: after a return that is its newest incident."""
    newest = session.scalar(
        select(func.max(IncidentRow.opened_ms)).where(
            IncidentRow.ticket_number == ticket.number, IncidentRow.state.in_(("open", "orphaned"))
        )
    )
    return newest or ticket.opened_ms


def _together(channel: ChannelBase, messages: list[Message]) -> Message:
    """One message of several notices: their texts where they fit, else their subjects, each its fair share."""
    first = messages[0]
    if len(messages) == 1 or channel.digest is None:
        return first
    zh = first.language == "zh"
    head = f"{len(messages)} 条提醒合并：" if zh else f"{len(messages)} notices in one:"
    # room for a keyword, the head, and the numbers before the lines
    room = channel.digest[1] - 200 - 6 * len(messages)
    lines = [one.body for one in messages]
    if sum(len(line.encode()) for line in lines) > room:
        share = room // len(messages)
        lines = [one.subject.encode()[:share].decode("utf-8", "ignore") for one in messages]
    return replace(
        first,
        kind="digest",
        subject=head,
        body="\n".join([head, *(f"{number}. {line}" for number, line in enumerate(lines, 1))]),
    )

"""Telling open pages what changed: worked out once for each change, told to all, and again to who was away.

A page is told `{"at": "E-P", "tickets": […]}`. `at` is how far the reader then is: the number of the newest line of
any time line, which the database counts and all collectors share, and when the newest picture came. Where a page was
away (a restart, a laptop asleep) it names the last that it had, and is told what has changed since.

A board is told the cards of these tickets as well (`"card"`; null: it waits no more), made once for each language: two
hundred boards that ask for one each would wait for the last of them.
"""

import asyncio
import contextlib
import json
import logging
import re
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from collector.store import IncidentRow, PictureRow, Store, Ticket, TicketEvent

log = logging.getLogger(__name__)

HEARTBEAT_S: Final = 10.0
"""A page that hears nothing for three of these knows that it is cut off."""
GLANCE_S: Final = 0.5
"""How soon the feed notices that the collector is to end."""
LOOK_S: Final = 5.0
"""What was written without a word (by a command line, by a collector whose word was lost) is found this late."""
PAUSE_S: Final = 0.1
"""A burst of messages is one change for the reader."""
MOST: Final = 500
"""Tickets that a page is told of at once; for more it loads itself anew."""
LINES: Final = 20_000
"""Lines and pictures that are looked through for them."""
CARDS: Final = 60
"""Tickets whose cards are told; of more a board asks for those that it shows. One takes some .4 ms, for all boards."""
BEHIND: Final = 64
"""Changes that wait for a page which does not read."""
SLACK_MS: Final = 30_000
"""A picture's time is taken before it is committed, and clocks of collectors differ."""
SLACK_LINES: Final = 2000
"""On PostgreSQL a number may be given before, and committed after, a later one."""
_CURSOR: Final = re.compile(r"(\d{1,18})-(\d{1,18})")


@dataclass(frozen=True)
class Cursor:
    """How far a reader is.

    Args:
        line: number of the newest line of a time line.
        picture_ms: when the newest picture came.
    """

    line: int
    picture_ms: int

    @classmethod
    def read(cls, text: str) -> "Cursor | None":
        """Read what `str` wrote; None for anything else."""
        found = _CURSOR.fullmatch(text)
        return None if found is None else cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.line}-{self.picture_ms}"


def now(session: Session) -> Cursor:
    """How far a page is that is loaded now."""
    return Cursor(
        session.scalar(select(func.max(TicketEvent.id))) or 0,
        session.scalar(select(func.max(PictureRow.received_ms))) or 0,
    )


class Changes:
    """A word from any thread that something changed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._woken: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    def tell(self) -> None:
        """Wake all feeds."""
        with self._lock:
            woken = list(self._woken)
        for loop, event in woken:
            # a feed that is just closing has closed its loop
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(event.set)

    @contextlib.contextmanager
    def woken(self, event: asyncio.Event) -> Iterator[None]:
        """Have an event of the running loop set at each word."""
        entry = (asyncio.get_running_loop(), event)
        with self._lock:
            self._woken.add(entry)
        try:
            yield
        finally:
            with self._lock:
                self._woken.discard(entry)


Cards = Callable[[Session, Sequence[int], str], Mapping[int, Any]]
"""What a board shows of these tickets in a language, those that wait only."""


@dataclass(frozen=True)
class News:
    """What has changed: a line for each ticket, by its street; None: more than can be told.

    Args:
        cards: of these tickets by language, where they were made.
    """

    at: Cursor
    tickets: tuple[tuple[str, dict[str, Any]], ...] | None
    cards: Mapping[str, Mapping[int, Any]] = field(default_factory=dict)

    def text(self, sees: Callable[[str], bool], cards: str = "") -> str:
        """As a server-sent event, with the tickets of one's own streets; `cards`: a language, for a board."""
        if self.tickets is None:
            return f"id: {self.at}\nevent: again\ndata: {{}}\n\n"
        shown = [one for street, one in self.tickets if sees(street)]
        if cards in self.cards:
            made = self.cards[cards]
            shown = [{**one, "card": made.get(one["number"])} for one in shown]
        data = json.dumps({"at": str(self.at), "tickets": shown}, separators=(",", ":"))
        return f"id: {self.at}\nevent: changed\ndata: {data}\n\n"


class Feed:
    """What all open pages of this collector are told.

    Args:
        store: the database.
        changes: say when to look.
        stopping: whether feeds have to end.
        cards: makes those of boards.
    """

    def __init__(
        self,
        store: Store,
        changes: Changes,
        stopping: Callable[[], bool],
        cards: Cards = lambda _session, _numbers, _language: {},
    ) -> None:
        self._store, self._changes, self._stopping, self._cards = store, changes, stopping, cards
        self._at: Cursor | None = None
        self._told: deque[int | str] = deque(maxlen=4 * SLACK_LINES)
        self._readers: dict[asyncio.Queue[News | None], str] = {}
        self._working: asyncio.Task[None] | None = None

    async def follow(self, since: str, sees: Callable[[str], bool], cards: str = "") -> AsyncIterator[str]:
        """Server-sent events for one page.

        Args:
            since: how far the page is; empty: as far as possible.
            sees: whether it may be told of a street's tickets.
            cards: the language of a board; empty for other pages.
        """
        queue: asyncio.Queue[News | None] = asyncio.Queue(BEHIND)
        yield "retry: 2000\n\n"
        if self._stopping():
            return
        self._readers[queue] = cards
        try:
            yield await self._greeting(since, sees)
            while True:
                try:
                    news = await asyncio.wait_for(queue.get(), HEARTBEAT_S)
                except TimeoutError:
                    yield f'event: beat\ndata: {{"pages":{len(self._readers)}}}\n\n'
                    continue
                if news is None:
                    return
                yield news.text(sees, cards)
        finally:
            self._readers.pop(queue, None)

    async def _greeting(self, since: str, sees: Callable[[str], bool]) -> str:
        """What a page has missed; what comes meanwhile waits in its queue."""
        if self._at is None:
            self._at = await run_in_threadpool(self._now)
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())
        if not since:
            return News(self._at, ()).text(sees)
        cursor = Cursor.read(since)
        missed = News(self._at, None) if cursor is None else await run_in_threadpool(self._since, cursor)
        return missed.text(sees)

    async def _work(self) -> None:
        """Look at each word, and now and then without one, as long as somebody reads."""
        word = asyncio.Event()
        with self._changes.woken(word):
            quiet_s = 0.0
            while self._readers and not self._stopping():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(word.wait(), GLANCE_S)
                quiet_s += GLANCE_S
                if not word.is_set() and quiet_s < LOOK_S:
                    continue
                quiet_s = 0.0
                word.clear()
                try:
                    news = await run_in_threadpool(self._look, set(self._readers.values()) - {""})
                except SQLAlchemyError as fault:
                    log.warning("the live feed cannot read the database: %s", str(fault).partition("\n")[0])
                    continue
                if news is not None:
                    self._tell(news)
                await asyncio.sleep(PAUSE_S)
        for queue in self._readers:
            _put(queue, None)

    def _tell(self, news: News) -> None:
        for queue in self._readers:
            # a page that does not read is let go: it comes back, and says how far it was
            if not _put(queue, news):
                while not queue.empty():
                    queue.get_nowait()
                _put(queue, None)

    def _now(self) -> Cursor:
        with self._store.transaction() as session:
            return now(session)

    def _look(self, languages: Collection[str]) -> News | None:
        """What was committed since the last look, with cards in these languages; None for nothing."""
        since = self._at or Cursor(0, 0)
        with self._store.transaction() as session:
            at = now(session)
            lines, pictures = self._rows(session, since)
            known = set(self._told)
            fresh_lines = [row for row in lines if row.id not in known]
            fresh_pictures = [row for row in pictures if row.id not in known]
            self._told.extend([*(row.id for row in fresh_lines), *(row.id for row in fresh_pictures)])
            self._at = Cursor(max(at.line, since.line), max(at.picture_ms, since.picture_ms))
            if not fresh_lines and not fresh_pictures:
                return None
            news = News(self._at, _tickets(session, fresh_lines, fresh_pictures))
            numbers = [one["number"] for _, one in news.tickets or ()]
            if not 0 < len(numbers) <= CARDS:
                return news
            return replace(news, cards={one: self._cards(session, numbers, one) for one in languages})

    def _since(self, since: Cursor) -> News:
        """All that changed after a cursor."""
        with self._store.transaction() as session:
            at = now(session)
            if since.line > at.line + SLACK_LINES:
                return News(at, None)  # of another database
            return News(at, _tickets(session, *self._rows(session, since)))

    def _rows(self, session: Session, since: Cursor) -> tuple[list[Any], list[Any]]:
        """Lines and pictures after a cursor, and those just before that may have been committed later."""
        slack = SLACK_LINES if self._store.shared else 0
        lines = select(TicketEvent.id, TicketEvent.ticket_number).where(TicketEvent.id > since.line - slack)
        pictures = select(PictureRow.id, PictureRow.incident).where(
            PictureRow.received_ms > since.picture_ms - SLACK_MS
        )
        return list(session.execute(lines.limit(LINES))), list(session.execute(pictures.limit(LINES)))


def _put(queue: "asyncio.Queue[News | None]", news: News | None) -> bool:
    try:
        queue.put_nowait(news)
    except asyncio.QueueFull:
        return False
    return True


def _tickets(
    session: Session, lines: Sequence[Any], pictures: Sequence[Any]
) -> tuple[tuple[str, dict[str, Any]], ...] | None:
    """The tickets that lines and pictures belong to; None for more than can be told."""
    if len(lines) >= LINES or len(pictures) >= LINES:
        return None
    numbers = {row.ticket_number for row in lines}
    incidents = {row.incident for row in pictures}
    if incidents:
        # one whose message has not come yet has no ticket, and is told with it
        numbers |= set(session.scalars(select(IncidentRow.ticket_number).where(IncidentRow.id.in_(incidents))))
    if len(numbers) > MOST:
        return None
    query = select(Ticket.number, Ticket.street, Ticket.state, Ticket.open, Ticket.version).where(
        Ticket.number.in_(numbers)
    )
    return tuple(
        (row.street, {"number": row.number, "state": row.state, "open": bool(row.open), "version": row.version})
        for row in session.execute(query.order_by(Ticket.number))
    )

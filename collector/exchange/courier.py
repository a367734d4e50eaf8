"""The thread that brings events to webhooks: each receiver in its turn, none held up by another.

One thread looks at the outbox; what is due goes to a pool, one receiver at a time in one of its threads. Before a
delivery is tried it is put off by more than a try can take, in a transaction of its own: whoever dies while they try
has it tried again, and of several collectors one does. So it comes at least once, and a receiver knows it by its id.
"""

import logging
import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Final

from sqlalchemy import and_, delete, select, update
from sqlalchemy.exc import SQLAlchemyError

from collector.exchange import webhooks
from collector.exchange.webhooks import KEPT_MS, STOPPED, Message
from collector.notices.http import Answer, Line, call
from collector.notices.outcomes import Report
from collector.people.vault import Vault, VaultError
from collector.places.codes import Codes
from collector.store import DeliveryRow, Store, Ticket, TicketEvent, WebhookRow

log = logging.getLogger(__name__)

POLL_S: Final = 1.0
TIMEOUT_S: Final = 10.0
"""Of a try, from its connection to the last byte of the answer."""
WAITS_S: Final = (5, 60, 300, 1800, 2 * 3600, 5 * 3600, 8 * 3600, 10 * 3600)
"""Between tries: about a day and a bit in all, then it is parked."""
JITTER: Final = 0.2
BATCH: Final = 20
"""Deliveries of one receiver in one go; after one that fails the others wait."""
LEASE_MS: Final = round((BATCH * TIMEOUT_S + 60) * 1000)
"""More than a batch takes of which each try takes all its time."""
POOL: Final = 16
GONE: Final = 410
LATER: Final = (408, 410, 429)
"""Of 4xx, those that say something of the receiver; the others are about one message."""
EMBEDDING: Final = tuple(ip_network(one) for one in ("64:ff9b::/96", "2002::/16", "::/96"))
"""Addresses that hold an IPv4 address, perhaps a private one, to which a gateway leads (NAT64, 6to4, compatible)."""
SWEEP_MS: Final = 3_600_000


@dataclass(frozen=True)
class Due:
    """A delivery that is to be tried now."""

    event: int
    tries: int
    message: Message


@dataclass(frozen=True)
class Batch:
    """What one receiver is to get now."""

    webhook: str
    url: str
    secret: str
    due: Sequence[Due]


class Courier:
    """Brings them.

    Args:
        store: the database.
        vault: opens secrets.
        center: its id.
        codes: of events.
        networks: private ones in which receivers may be.
        proxy: HOST:PORT through which calls go; it then decides where to.
        now_ms: the center's clock.
        chance: for the jitter.
        timeout_s: of a try.
    """

    def __init__(
        self,
        store: Store,
        vault: Vault,
        center: str,
        codes: Codes,
        networks: Sequence[str],
        now_ms: Callable[[], int],
        *,
        proxy: str | None = None,
        chance: random.Random | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._store, self._vault, self._center, self._codes, self._now_ms = store, vault, center, codes, now_ms
        self._chance = chance or random.Random()  # noqa: S311 - so that receivers are not all called at once
        self._line = line_to(networks, proxy, timeout_s)
        self._busy: dict[str, Future[None]] = {}
        self._swept_ms = 0
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(POOL, "courier")
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, after the tries that have begun."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(10)
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self) -> None:
        while not self._stopping.wait(POLL_S):
            try:
                self.step()
            except SQLAlchemyError as fault:
                log.warning("webhooks: the database does not answer (%s); trying again", type(fault).__name__)
            except Exception:
                log.exception("webhooks: going on")

    def step(self) -> int:
        """Send to each receiver that is not being called what is due; says to how many."""
        self._busy = {one: doing for one, doing in self._busy.items() if not doing.done()}
        now_ms = self._now_ms()
        if now_ms - self._swept_ms >= SWEEP_MS:
            self._sweep(now_ms)
        waits = and_(DeliveryRow.state == "waiting", DeliveryRow.due_ms <= now_ms)
        with self._store.transaction() as session:
            found = session.scalars(select(DeliveryRow.webhook_id).where(waits).distinct()).all()
        wanted = [one for one in found if one not in self._busy]
        for one in wanted:
            self._busy[one] = self._pool.submit(self._serve, one)
        return len(wanted)

    def settle(self) -> None:
        """Wait until nobody is being called."""
        for doing in list(self._busy.values()):
            doing.result()

    def _sweep(self, now_ms: int) -> None:
        self._swept_ms = now_ms
        old = and_(DeliveryRow.state != "waiting", DeliveryRow.done_ms < now_ms - KEPT_MS)
        with self._store.writing() as session:
            session.execute(delete(DeliveryRow).where(old))

    def _serve(self, webhook: str) -> None:
        try:
            batch = self._claim(webhook)
            for at, one in enumerate(batch.due if batch is not None else ()):
                if batch is None or self._stopping.is_set():
                    self._give_back(webhook, batch.due[at:] if batch else (), WAITS_S[0])
                    return
                wait_s = self._try(batch, one)
                if wait_s:
                    self._give_back(webhook, batch.due[at + 1 :], wait_s)
                    return
        except VaultError as fault:
            log.error("webhook %s: %s", webhook, fault)  # noqa: TRY400 - it says what to do
        except Exception:
            log.exception("webhook %s: going on", webhook)

    def _claim(self, webhook: str) -> Batch | None:
        now_ms = self._now_ms()
        of = and_(DeliveryRow.webhook_id == webhook, DeliveryRow.state == "waiting", DeliveryRow.due_ms <= now_ms)
        with self._store.writing() as session:
            row = session.get(WebhookRow, webhook)
            if row is None or not row.active:
                session.execute(update(DeliveryRow).where(of).values(state="parked", done_ms=now_ms, said=STOPPED))
                return None
            # new ones first: what a receiver does not take holds up nothing else
            ordered = select(DeliveryRow.event_id).where(of).order_by(DeliveryRow.tries, DeliveryRow.event_id)
            due = update(DeliveryRow).where(of, DeliveryRow.event_id.in_(session.scalars(ordered.limit(BATCH)).all()))
            # by the condition once more: of two collectors the second one finds nothing
            claimed = session.execute(
                due.values(due_ms=now_ms + LEASE_MS).returning(DeliveryRow.event_id, DeliveryRow.tries)
            ).all()
            tries = {one.event_id: one.tries for one in claimed}
            lines = select(TicketEvent, Ticket).join(Ticket, Ticket.number == TicketEvent.ticket_number)
            found = session.execute(lines.where(TicketEvent.id.in_(tries))).all()
            made = [Due(line.id, tries[line.id], self._message(line, ticket)) for line, ticket in found]
            made.sort(key=lambda one: (one.tries, one.event))
            return Batch(row.id, row.url, self._vault.open(webhooks.owner(row.id), row.secret), made)

    def _message(self, line: TicketEvent, ticket: Ticket) -> Message:
        event = self._codes.of_rule(ticket.rule)
        return webhooks.message(self._center, line, ticket, None if event is None else event.code)

    def _try(self, batch: Batch, due: Due) -> float:
        """One delivery; how many seconds the others wait after it: 0 where it came, or was refused by itself."""
        headers = due.message.headers(batch.secret, self._now_ms() // 1000)
        answer = call(self._line, "POST", batch.url, headers, due.message.body)
        good, said = taken(answer)
        now_ms = self._now_ms()
        values: dict[str, object] = {"state": "sent", "done_ms": now_ms, "tries": due.tries + 1, "said": said[:300]}
        after_s = answer.after_s if isinstance(answer, Answer) else 0.0
        if not good:
            values |= self._later(after_s, due.tries, now_ms)
            log.warning("webhook %s: %s did not take %s: %s", batch.webhook, _host(batch.url), due.message.id, said)
        of = and_(DeliveryRow.webhook_id == batch.webhook, DeliveryRow.event_id == due.event)
        with self._store.writing() as session:
            session.execute(update(DeliveryRow).where(of).values(**values))
            if isinstance(answer, Answer) and answer.status == GONE:
                gone = {"active": 0, "stopped": "410: the receiver is gone; replay wakes it"}
                session.execute(update(WebhookRow).where(WebhookRow.id == batch.webhook).values(**gone))
        refused = isinstance(answer, Answer) and 400 <= answer.status < 500 and answer.status not in LATER
        return 0.0 if good or refused else max(WAITS_S[0], min(after_s, WAITS_S[-1]))

    def _later(self, after_s: float, tries: int, now_ms: int) -> dict[str, object]:
        if tries >= len(WAITS_S):
            return {"state": "parked", "done_ms": now_ms}
        wait_s = max(WAITS_S[tries], min(after_s, WAITS_S[-1])) * (1 + JITTER * self._chance.random())
        return {"state": "waiting", "done_ms": None, "due_ms": now_ms + round(wait_s * 1000)}

    def _give_back(self, webhook: str, due: Sequence[Due], wait_s: float) -> None:
        """Those behind one that failed wait, but not for its next try, which may be hours away."""
        if not due:
            return
        events = [one.event for one in due]
        of = and_(DeliveryRow.webhook_id == webhook, DeliveryRow.state == "waiting", DeliveryRow.event_id.in_(events))
        with self._store.writing() as session:
            session.execute(update(DeliveryRow).where(of).values(due_ms=self._now_ms() + round(wait_s * 1000)))


def line_to(networks: Sequence[str], proxy: str | None, timeout_s: float = TIMEOUT_S) -> Line:
    """How receivers are called: in the internet, and in private networks that are named."""
    private = [ip_network(one) for one in networks]

    def allowed(address: str) -> bool:
        found = ip_address(address)
        found = getattr(found, "ipv4_mapped", None) or found
        embeds = any(found in network for network in EMBEDDING)
        return (found.is_global and not embeds) or any(found in network for network in private)

    return Line(timeout_s, proxy, peer=None if proxy else allowed)


def taken(answer: Answer | Report) -> tuple[bool, str]:
    """Whether a receiver took a message, and how that try ended."""
    if not isinstance(answer, Answer):
        return False, f"{answer.code}: {answer.text}"
    if 300 <= answer.status < 400:
        return False, f"{answer.status}: it points elsewhere, which is not followed"
    return 200 <= answer.status < 300, f"{answer.status}"


def _host(url: str) -> str:
    return url.partition("://")[2].partition("/")[0]

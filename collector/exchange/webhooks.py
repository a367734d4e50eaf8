"""Webhooks: which programs are told of what, and what they are told.

A subscription has an address, the kinds of events and the street that it wants, and a secret. What happens to a ticket
is a line of its time line; a trigger of the database puts it into the outbox of each subscription in the same
transaction, whoever wrote it (see the migration). Bodies are CloudEvents, signed as Standard Webhooks say. They
hold no words of people and no names: whoever may know more asks the API.
"""

import base64
import hashlib
import hmac
import ipaddress
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.orm import Session

from collector.people.actor import Actor
from collector.people.audit import record
from collector.people.vault import Vault
from collector.store import DeliveryRow, Ticket, TicketEvent, WebhookRow
from collector.tickets.machine import VERBS
from protocol.ids import is_slug
from protocol.instants import from_epoch, rfc3339

KINDS: Final = (
    *VERBS,
    *("appeared", "opened", "reopened", "reported", "picture", "said", "due", "filed_late", "lapsed"),
    *("incident_joined", "incident_updated", "incident_cleared", "incident_ended", "incident_orphaned"),
)
"""Of events; a subscription that names none gets all but `incident_updated`, `due` and `looked`."""
MOST: Final = 50
"""Subscriptions of a center."""
LONGEST_URL: Final = 500
KEPT_MS: Final = 30 * 86_400_000
"""What was sent, or parked, can be replayed for this long; then its line leaves the outbox."""
STOPPED: Final = "stopped"
"""Said of what was parked as its subscription is not active."""
PAUSED: Final = "paused by a person"
_MARK: Final = "whsec_"
"""Of a secret, as Standard Webhooks have it."""
_DETAIL: Final = ("version", "due_ms", "shop_due_ms", "outcome", "level", "urgency", "result", "of", "case_number")
"""Of a line, what a receiver may know: facts of the ticket, no words and nobody's name."""


class WebhookError(Exception):
    """A subscription that cannot be; one line in both languages, `zh / en`."""


@dataclass(frozen=True)
class NewWebhook:
    """The only time that a secret is shown."""

    id: str
    secret: str


@dataclass(frozen=True)
class Message:
    """What is sent: the same however often, so that a receiver knows it again by its id."""

    id: str
    body: bytes

    def headers(self, secret: str, at_s: int) -> dict[str, str]:
        """With its signature, as Standard Webhooks have it."""
        return {
            "content-type": "application/cloudevents+json; charset=utf-8",
            "webhook-id": self.id,
            "webhook-timestamp": str(at_s),
            "webhook-signature": f"v1,{sign(secret, self.id, at_s, self.body)}",
        }


def sign(secret: str, message_id: str, at_s: int, body: bytes) -> str:
    """HMAC-SHA256 of `id.timestamp.body` in base64."""
    key = base64.b64decode(secret.removeprefix(_MARK))
    mac = hmac.new(key, f"{message_id}.{at_s}.".encode() + body, hashlib.sha256)
    return base64.b64encode(mac.digest()).decode()


def add(
    session: Session, actor: Actor, vault: Vault, url: str, kinds: Sequence[str], street: str, now_ms: int
) -> NewWebhook:
    """Subscribe; raises WebhookError, VaultError."""
    check_url(url)
    strange = sorted(set(kinds) - set(KINDS))
    if strange:
        raise WebhookError(f"没有这种事件：{strange[0]:.60} / kinds: expected some of {', '.join(KINDS)}")
    if street and not is_slug(street):
        raise WebhookError(f"街道编号有误 / street: expected the id of a street, got {street!r:.80}")
    if len(session.scalars(select(WebhookRow.id)).all()) >= MOST:
        raise WebhookError(f"最多 {MOST} 个订阅 / expected at most {MOST} subscriptions; remove one first")
    made = NewWebhook(secrets.token_hex(6), _new_secret())
    session.add(
        WebhookRow(
            id=made.id,
            url=url,
            street=street,
            kinds=",".join(dict.fromkeys(kinds)),
            secret=vault.seal(owner(made.id), made.secret),
            active=1,
            created_ms=now_ms,
        )
    )
    detail = {"host": urlsplit(url).hostname, "kinds": list(kinds), "street": street}
    record(session, actor, "webhook.add", f"webhook/{made.id}", detail, now_ms)
    session.flush()
    return made


def _new_secret() -> str:
    return _MARK + base64.b64encode(secrets.token_bytes(32)).decode()


def check_url(url: str) -> None:
    """Refuse an address that is no receiver's; raises WebhookError. Where its name points to is seen at each call."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host, parts = "", urlsplit("")
    plain = parts.scheme == "http" and _is_address(host)
    good = host and url.isascii() and url.isprintable() and " " not in url and len(url) <= LONGEST_URL
    if not good or not (parts.scheme == "https" or plain) or parts.username or parts.password or parts.fragment:
        raise WebhookError(
            "地址应为 https://主机/路径（专网内可为 http://IP地址） / url: expected https://HOST/PATH, or http:// and "
            "an IP address of a private network, without a user or a fragment"
        )


def _is_address(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return False


def find(session: Session, webhook_id: str) -> WebhookRow:
    """A subscription; raises WebhookError."""
    row = session.get(WebhookRow, webhook_id)
    if row is None:
        raise WebhookError(f"没有这个订阅 / expected a subscription of this center, got {webhook_id!r:.40}")
    return row


def remove(session: Session, actor: Actor, webhook_id: str, now_ms: int) -> None:
    """End a subscription, with what waits for it; raises WebhookError."""
    row = find(session, webhook_id)
    session.execute(delete(DeliveryRow).where(DeliveryRow.webhook_id == row.id))
    session.delete(row)
    record(session, actor, "webhook.remove", f"webhook/{webhook_id}", {}, now_ms)


def pause(session: Session, actor: Actor, webhook_id: str, now_ms: int) -> bool:
    """Send a receiver nothing until `resume`; what waits is parked. Whether that is new; raises WebhookError."""
    row = find(session, webhook_id)
    if not row.active:
        return False
    row.active, row.stopped = 0, PAUSED
    record(session, actor, "webhook.pause", f"webhook/{row.id}", {}, now_ms)
    return True


def resume(session: Session, actor: Actor, webhook_id: str, now_ms: int) -> bool:
    """Go on after a pause, with what was parked by it; what happened meanwhile takes `replay`. Raises WebhookError."""
    row = find(session, webhook_id)
    if row.active:
        return False
    row.active, row.stopped = 1, ""
    parked = (DeliveryRow.webhook_id == row.id) & (DeliveryRow.state == "parked") & (DeliveryRow.said == STOPPED)
    session.execute(update(DeliveryRow).where(parked).values(state="waiting", due_ms=now_ms, done_ms=None))
    record(session, actor, "webhook.resume", f"webhook/{row.id}", {}, now_ms)
    return True


def rotate(session: Session, actor: Actor, vault: Vault, webhook_id: str, now_ms: int) -> NewWebhook:
    """Give a subscription another secret, good from now on; raises WebhookError, VaultError."""
    row, made = find(session, webhook_id), NewWebhook(webhook_id, _new_secret())
    row.secret = vault.seal(owner(row.id), made.secret)
    record(session, actor, "webhook.rotate", f"webhook/{row.id}", {}, now_ms)
    return made


def trial(center: str, webhook_id: str, now_ms: int) -> Message:
    """What is sent to try a receiver: of no ticket, and of a type that no other message has."""
    number = f"test_{now_ms}-{secrets.token_hex(4)}"
    body = {
        "specversion": "1.0",
        "id": number,
        "source": f"/center/{center}",
        "type": "cityeye.webhook.test",
        "subject": f"webhook/{webhook_id}",
        "time": rfc3339(from_epoch(now_ms / 1000)),
        "datacontenttype": "application/json",
        "data": {},
    }
    return Message(number, json.dumps(body).encode())


def tried(session: Session, actor: Actor, webhook_id: str, said: str, now_ms: int) -> None:
    """Note that somebody tried a receiver, and how that ended."""
    record(session, actor, "webhook.test", f"webhook/{webhook_id}", {"said": said[:200]}, now_ms)


def deliveries(session: Session, webhook_id: str, limit: int) -> list[tuple[DeliveryRow, TicketEvent]]:
    """The last ones, newest first, each with the line that it tells of."""
    query = select(DeliveryRow, TicketEvent).join(TicketEvent, TicketEvent.id == DeliveryRow.event_id)
    newest = query.where(DeliveryRow.webhook_id == webhook_id).order_by(DeliveryRow.event_id.desc()).limit(limit)
    return [(row[0], row[1]) for row in session.execute(newest)]


def replay(
    session: Session, actor: Actor, webhook_id: str, now_ms: int, *, from_ms: int | None = None, message: str = ""
) -> int:
    """Send again what happened from an instant on, or one message by its id; says how many. Raises WebhookError.

    It is what happened, whether it was sent, parked, or came before the subscription; and wakes one that was stopped.
    """
    row = find(session, webhook_id)
    query = select(TicketEvent.id)
    if row.street:
        query = query.join(Ticket, Ticket.number == TicketEvent.ticket_number).where(Ticket.street == row.street)
    if message:
        number = event_of(message)
        query = query.where(TicketEvent.id == number)
    elif from_ms is not None and from_ms >= now_ms - KEPT_MS:
        query = query.where(TicketEvent.received_ms >= from_ms)
        kinds = row.kinds.split(",") if row.kinds else [one for one in KINDS if one not in QUIET]
        query = query.where(TicketEvent.kind.in_(kinds))
    else:
        raise WebhookError(
            "须给出 30 天内的时刻或消息编号 / expected an instant of the last 30 days, or a message's id"
        )
    ids = session.scalars(query.order_by(TicketEvent.id)).all()
    if not ids:
        raise WebhookError("没有可重发的事件 / expected something that happened, found nothing to send again")
    rows = [{"webhook": row.id, "event": one} for one in ids]
    again = (
        "INSERT INTO webhook_delivery (webhook_id, event_id, state, tries, due_ms, said) "
        "VALUES (:webhook, :event, 'waiting', 0, 0, '') ON CONFLICT (webhook_id, event_id) "
        "DO UPDATE SET state = 'waiting', tries = 0, due_ms = 0"
    )
    session.execute(text(again), rows)
    row.active, row.stopped = 1, ""
    record(session, actor, "webhook.replay", f"webhook/{row.id}", {"count": len(ids)}, now_ms)
    return len(ids)


QUIET: Final = ("incident_updated", "due", "looked")
"""As the trigger has them."""


def owner(webhook_id: str) -> str:
    """Whose a secret is, for the vault."""
    return f"webhook/{webhook_id}"


def message_id(event: TicketEvent) -> str:
    """Of a line; the same for all receivers and tries. With its instant: a restored center counts its lines anew."""
    return f"evt_{event.id}-{event.at_ms}"


def event_of(message: str) -> int:
    """The line of a message; 0 for what is none."""
    number = message.removeprefix("evt_").partition("-")[0]
    return int(number) if number.isdecimal() and number.isascii() and len(number) < 16 else 0


def message(center: str, event: TicketEvent, ticket: Ticket, code: str | None) -> Message:
    """What a receiver is told of a line: what it says itself, and what of its ticket never changes."""
    detail = json.loads(event.detail)
    data: dict[str, Any] = {
        "ticket": ticket.number,
        "kind": event.kind,
        "street": ticket.street,
        "rule": ticket.rule,
        "code": code,
        "source": ticket.source,
        "shop": ticket.shop,
        "box": ticket.box_id,
        "camera": ticket.camera,
        "zone": ticket.zone,
        "created_at": rfc3339(from_epoch(ticket.created_ms / 1000)),
        "author": event.author.partition(":")[0],
        "state": detail.get("state"),
        **{name: detail[name] for name in _DETAIL if name in detail},
    }
    body = {
        "specversion": "1.0",
        "id": message_id(event),
        "source": f"/center/{center}",
        "type": f"cityeye.ticket.{event.kind}",
        "subject": f"ticket/{ticket.number}",
        "time": rfc3339(from_epoch(event.at_ms / 1000)),
        "datacontenttype": "application/json",
        "data": data,
    }
    return Message(message_id(event), json.dumps(body, ensure_ascii=False).encode())


def backlog(session: Session, webhook_id: str) -> tuple[int, int]:
    """How many messages wait for a receiver, and how many are parked."""
    counted = select(DeliveryRow.state, func.count()).where(DeliveryRow.webhook_id == webhook_id)
    found = {row[0]: row[1] for row in session.execute(counted.group_by(DeliveryRow.state))}
    return found.get("waiting", 0), found.get("parked", 0)


def as_json(row: WebhookRow, waiting: int = 0, parked: int = 0) -> dict[str, Any]:
    """A subscription for programs, without its secret."""
    return {
        "id": row.id,
        "url": row.url,
        "street": row.street or None,
        "kinds": row.kinds.split(",") if row.kinds else [],
        "active": bool(row.active),
        "stopped": row.stopped or None,
        "created_at": rfc3339(from_epoch(row.created_ms / 1000)),
        "waiting": waiting,
        "parked": parked,
    }

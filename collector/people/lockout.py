"""How long somebody who failed to sign in has to wait.

A delay that grows with the failures, never a lock for good; and counted so that somebody who guesses cannot keep the
rightful person out: a browser that has signed in before shows a device cookie and is counted by that alone (OWASP:
"slow down online guessing attacks with device cookies"). All others are counted by name and network, by network, and by
name over all networks. A try is counted before the password is looked at, so that many at once count as many.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from collector.boxes.limits import network_of
from collector.store import FailureRow, Secret, lock

FORGET_MS: Final = 24 * 3_600_000
"""After a day without a failure all are forgotten."""


@dataclass(frozen=True)
class Limit:
    """So many failures are free; after that the delay begins, doubles with each, and ends at the most."""

    free: int
    first_s: float
    most_s: float

    def delay_s(self, failures: int) -> float:
        """To wait after so many failures."""
        over = failures - self.free
        return 0.0 if over < 0 else min(self.most_s, self.first_s * 2.0 ** min(over, 30))


LIMITS: Final = {
    # a browser that this person has signed in with before
    "device": Limit(5, 30, 900),
    # one name from one network: a guess of somebody's password
    "pair": Limit(5, 30, 900),
    # many names from one network: a list of passwords tried; an office shares one, so it stays bearable
    "network": Limit(30, 10, 300),
    # one name from everywhere: a botnet
    "account": Limit(100, 1, 900),
}
SHARE: Final = 10
"""Failures that one network adds to those of a name over all networks."""


class TooManyError(Exception):
    """Failed too often; to be tried again later."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(
            f"尝试次数过多，请 {wait_s:.0f} 秒后再试 / too many failed tries: try again in {wait_s:.0f} seconds"
        )
        self.wait_s = wait_s


@dataclass(frozen=True)
class Try:
    """One try: what it is counted by."""

    keys: tuple[str, ...]


def one_try(session: Session, name: str, address: str, device: str) -> Try:
    """Who tries, from where; `device` is their browser's cookie, if any."""
    nonce = _nonce(session, name, device)
    if nonce is not None:
        return Try((f"device/{_short(name)}/{_short(nonce)}",))
    subscriber = network_of(address)
    pair = f"pair/{_short(name)}/{_short(subscriber)}"
    return Try((pair, f"network/{_short(subscriber)}", f"account/{_short(name)}"))


def begin(session: Session, one: Try, now_ms: int) -> bool:
    """Count a try as failed until `succeeded` says otherwise; raises TooManyError where one has to wait.

    Returns whether the next one will have to wait.
    """
    lock(session, [f"sign-in/{key}" for key in one.keys])
    session.execute(delete(FailureRow).where(FailureRow.last_ms < now_ms - FORGET_MS))
    rows = [session.get(FailureRow, key) for key in one.keys]
    waits = [_left_ms(row, now_ms) for row in rows if row is not None]
    if max(waits, default=0) > 0:
        raise TooManyError(max(waits) / 1000)
    delayed = False
    pair = rows[0]
    for key, known in zip(one.keys, rows, strict=True):
        if _kind(key) == "account" and pair is not None and pair.count > SHARE:
            continue  # one network alone does not make a name slow for all others
        row = known or FailureRow(key=key, count=0, last_ms=now_ms)
        row.count += 1
        row.last_ms = now_ms
        session.add(row)
        delayed = delayed or _left_ms(row, now_ms) > 0
    session.flush()
    return delayed


def succeeded(session: Session, one: Try) -> None:
    """It was no failure: this name from here is as new, and the network has one failure less."""
    session.execute(delete(FailureRow).where(FailureRow.key.in_([key for key in one.keys if _kind(key) != "network"])))
    _one_less(session, [key for key in one.keys if _kind(key) == "network"])


def passed(session: Session, one: Try) -> None:
    """The first of two steps was right: this try was no failure, those before stay."""
    _one_less(session, one.keys)


def _one_less(session: Session, keys: Sequence[str]) -> None:
    less = update(FailureRow).where(FailureRow.key.in_(keys), FailureRow.count > 0)
    session.execute(less.values(count=FailureRow.count - 1))


def forgive(session: Session, name: str) -> int:
    """Forget all failures of a name; returns how many counts there were."""
    rows = 0
    for kind in ("device", "pair", "account"):
        match = FailureRow.key.startswith(f"{kind}/{_short(name)}")
        rows += len(session.scalars(delete(FailureRow).where(match).returning(FailureRow.key)).all())
    return rows


def device_cookie(session: Session, name: str, nonce: str | None = None) -> str:
    """What a browser is given once this person has signed in with it: it says nothing, and it cannot be made up."""
    nonce = nonce or secrets.token_urlsafe(16)
    return f"{nonce}.{_mac(_key(session), name, nonce)}"


def _nonce(session: Session, name: str, cookie: str) -> str | None:
    nonce, dot, mac = cookie.partition(".")
    if not dot or not cookie.isascii():
        return None
    return nonce if hmac.compare_digest(mac, _mac(_key(session), name, nonce)) else None


def _mac(key: str, name: str, nonce: str) -> str:
    return hmac.digest(key.encode(), f"{name}\0{nonce}".encode(), hashlib.sha256).hex()


def _key(session: Session) -> str:
    row = session.get(Secret, "device_key")
    if row is None:
        try:
            with session.begin_nested():
                row = Secret(name="device_key", value=secrets.token_hex(32))
                session.add(row)
        except IntegrityError:  # another collector was first
            row = session.get_one(Secret, "device_key")
    return row.value


def _left_ms(row: FailureRow, now_ms: int) -> float:
    # a clock that was set back keeps nobody waiting longer than the delay itself
    delay_ms = LIMITS[_kind(row.key)].delay_s(row.count) * 1000
    return min(delay_ms, row.last_ms + delay_ms - now_ms)


def _kind(key: str) -> str:
    return key.partition("/")[0]


def _short(text: str) -> str:
    """No names and addresses in this table; 96 bits of a hash tell them apart."""
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def kinds(keys: Sequence[str]) -> str:
    """For the log."""
    return ", ".join(_kind(key) for key in keys)

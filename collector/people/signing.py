"""Signing in: password, second factor, sessions.

Each step is a short transaction; a password is hashed between two, so that nobody waits for the database meanwhile.
"""

import base64
import hashlib
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Literal

from sqlalchemy import delete, or_, update
from sqlalchemy.orm import Session

from collector.people import audit, lockout, passwords, roster, sessions, tokens, totp
from collector.people.actor import Actor, Role
from collector.people.lockout import Try
from collector.people.passwords import Passwords
from collector.people.roster import PeopleError
from collector.people.sessions import Ages
from collector.people.vault import Vault, VaultError
from collector.store import PersonRow, RecoveryRow, SignInRow, Store, lock

log = logging.getLogger(__name__)

SecondFactor = Literal["admins", "all", "optional"]
Must = Literal["", "password", "totp"]
DEFAULT_AGES: Final = Ages()
SCREEN_AGES: Final = Ages(90 * 86_400_000, 90 * 86_400_000)
CODES: Final = 10
CODE_BYTES: Final = 5
"""40 random bits, and tries are limited."""
WRONG: Final = "登录名或密码不对 / the sign-in name or the password is wrong"
WRONG_CODE: Final = "验证码不对或已用过 / the code is wrong, or was used before"


class WrongError(Exception):
    """Not who they say they are; says no more than that."""


@dataclass(frozen=True)
class Source:
    """Where a try comes from.

    Args:
        address: of the network.
        browser: as it calls itself.
        device: its device cookie, empty for none.
    """

    address: str
    browser: str = ""
    device: str = ""


@dataclass(frozen=True)
class SignedIn:
    """What the browser is given.

    Args:
        cookie: of the session.
        device: cookie by which failures of this browser are counted apart; empty until the second factor.
        stage: `code` where the second factor is still to come.
        kept_s: how long a browser keeps the cookie beyond its end, as a screen's does that loses its power.
    """

    cookie: str
    stage: sessions.Stage
    device: str = ""
    kept_s: int | None = None


@dataclass(frozen=True)
class Caller:
    """Who makes a request.

    Args:
        actor: with the roles that count.
        cookie: of the session; empty for a token.
        must: what has to be done before anything else is let through.
        session: the session's row id, to mark it in a list.
        ends_ms: when it ends at the latest; None for a token.
    """

    actor: Actor
    cookie: str = ""
    must: Must = ""
    session: str = ""
    ends_ms: int | None = None


@dataclass(frozen=True)
class Signing:
    """Checks who somebody is.

    Args:
        store: the database.
        now_ms: the center's clock.
        passwords: makes and checks hashes.
        ages: of sessions.
        second_factor: who has to have one.
        issuer: as authenticator apps name this center.
        vault: seals second factors; the default one is for trying out.
        screen_ages: of sessions of who is nothing but a screen.
    """

    store: Store
    now_ms: Callable[[], int]
    passwords: Passwords
    ages: Ages = DEFAULT_AGES
    second_factor: SecondFactor = "admins"
    issuer: str = "CityEye"
    vault: Vault = field(default_factory=Vault)
    screen_ages: Ages = SCREEN_AGES

    def password(self, name: str, password: str, source: Source) -> SignedIn:
        """The first step; raises WrongError, TooManyError, BusyError."""
        now_ms = self.now_ms()
        name = name.strip().lower()[:80]
        with self.store.writing() as session:
            one = lockout.one_try(session, name, source.address, source.device)
            delayed = lockout.begin(session, one, now_ms)
            row = session.get(PersonRow, name)
            kept = None if row is None or row.disabled_ms is not None or _over(row, now_ms) else row.password
        if not self.passwords.fits(kept, password):
            self._failed(name, one, source, delayed=delayed)
            raise WrongError(WRONG)
        anew = self.passwords.hash(password) if kept is not None and self.passwords.outdated(kept) else None
        with self.store.writing() as session:
            row = session.get_one(PersonRow, name)
            if row.password != kept or row.disabled_ms is not None:
                raise WrongError(WRONG)
            if anew is not None:
                row.password = anew
            if row.totp is not None:
                lockout.passed(session, one)
                cookie = self._start(session, name, "code", "password", source)
                return SignedIn(cookie, "code")
            return self._in(session, row, one, "password", source)

    def code(self, cookie: str, typed: str, source: Source) -> SignedIn:
        """The second step, with a code of the app or a recovery code; raises WrongError, TooManyError."""
        now_ms = self.now_ms()
        with self.store.writing() as session:
            found = sessions.find(session, cookie, partial(self._ages, session), now_ms)
            if found is None or found.row.stage != "code":
                raise WrongError("请重新登录 / begin again with your password")
            name = found.person.id
            one = lockout.one_try(session, name, source.address, source.device)
            delayed = lockout.begin(session, one, now_ms)
            secret = self._opened(found.person.id, found.person.totp)
            method = _second(session, found.person, secret, typed, now_ms)
            if method is not None:
                sessions.end(session, cookie)
                return self._in(session, found.person, one, method, source)
            found.row.failures += 1
            if found.row.failures >= sessions.WRONG_CODES:
                sessions.end(session, cookie)
        self._failed(name, one, source, delayed=delayed)
        raise WrongError(WRONG_CODE)

    def elsewhere(self, session: Session, row: PersonRow, source: Source) -> SignedIn:
        """Somebody whom another server has let in; in the caller's transaction."""
        return self._in(session, row, None, "sso", source)

    def _in(self, session: Session, row: PersonRow, one: Try | None, method: str, source: Source) -> SignedIn:
        if one is not None:
            lockout.succeeded(session, one)
        cookie = self._start(session, row.id, "full", method, source)
        device = lockout.device_cookie(session, row.id)
        actor = Actor("person", row.id, row.name)
        detail = {"method": method, "address": source.address}
        audit.record(session, actor, "sign_in", f"person/{row.id}", detail, self.now_ms())
        ages = self._ages(session, row.id)
        return SignedIn(cookie, "full", device, ages.absolute_ms // 1000 if ages is self.screen_ages else None)

    def _start(self, session: Session, person: str, stage: sessions.Stage, method: str, source: Source) -> str:
        return sessions.start(
            session,
            person,
            stage,
            method,
            ages=self._ages(session, person),
            now_ms=self.now_ms(),
            address=source.address,
            browser=source.browser,
        )

    def _ages(self, session: Session, person: str) -> Ages:
        """Of sessions of somebody: a screen's are long, as long as it is nothing else."""
        roles = {one.role for one in roster.grants(session, person)}
        return self.screen_ages if roles == {Role.SCREEN} else self.ages

    def _failed(self, name: str, one: Try, source: Source, *, delayed: bool) -> None:
        log.warning("sign-in from %s failed", source.address)
        if not delayed:
            return
        # one line for each new delay: who guesses fills the log no faster than the delays let them
        with self.store.writing() as session:
            known = session.get(PersonRow, name) is not None
            detail = {"address": source.address, "counted_by": one.keys[0].partition("/")[0]}
            of = f"person/{name}" if known else "person/?"
            audit.record(session, Actor("system", "sign-in"), "sign_in.delayed", of, detail, self.now_ms())

    def caller(self, cookie: str, *, background: bool = False) -> Caller | None:
        """Who a session is of; a request that the page made by itself does not keep it alive."""
        now_ms = self.now_ms()
        with self.store.transaction() as session:
            found = sessions.find(session, cookie, partial(self._ages, session), now_ms)
            if found is None or found.row.stage != "full":
                return None
            actor = roster.as_actor(session, found.person)
            must = self._must(found.person, found.row, actor)
            caller = Caller(actor, cookie, must, found.row.id_sha256, found.row.expires_ms)
        if found.tired and not background:
            with self.store.writing() as session:
                sessions.seen(session, cookie, now_ms)
        return caller

    def bearer(self, text: str) -> Caller | None:
        """Who a token speaks for."""
        now_ms = self.now_ms()
        with self.store.transaction() as session:
            found = tokens.read(session, text, now_ms)
        if found is None:
            return None
        if found.waits:
            return Caller(found.actor, must="password")
        if found.tired:
            with self.store.writing() as session:
                tokens.used(session, found.row.id, now_ms)
        return Caller(found.actor)

    def _must(self, row: PersonRow, session: SignInRow, actor: Actor) -> Must:
        if session.method == "sso":
            return ""  # that server asks for what it wants
        if row.password_once:
            return "password"
        wanted = self.second_factor == "all" or (
            self.second_factor == "admins" and any(one.role is Role.ADMIN for one in actor.grants)
        )
        return "totp" if wanted and row.totp is None else ""

    def sign_out(self, caller: Caller) -> None:
        """End this session."""
        with self.store.writing() as session:
            sessions.end(session, caller.cookie)
            audit.record(session, caller.actor, "sign_out", f"person/{caller.actor.id}", {}, self.now_ms())

    def end(self, cookie: str) -> None:
        """A browser has a new session: the one that it showed before ends."""
        with self.store.writing() as session:
            sessions.end(session, cookie)

    def end_others(self, caller: Caller) -> int:
        """End one's own other sessions; returns how many."""
        with self.store.writing() as session:
            ended = sessions.end_all(session, caller.actor.id, but=caller.cookie)
            of = f"person/{caller.actor.id}"
            audit.record(session, caller.actor, "person.sessions_end", of, {"ended": ended}, self.now_ms())
            return ended

    def check_own(self, caller: Caller, password: str, source: Source) -> None:
        """Ask for one's own password again before something that matters; raises as `password` does."""
        now_ms = self.now_ms()
        name = caller.actor.id
        with self.store.writing() as session:
            kept = roster.find(session, name).password
            if kept is None:
                return  # they sign in elsewhere
            one = lockout.one_try(session, name, source.address, source.device)
            delayed = lockout.begin(session, one, now_ms)
        if not self.passwords.fits(kept, password):
            self._failed(name, one, source, delayed=delayed)
            raise WrongError("当前密码不对 / the present password is wrong")
        with self.store.writing() as session:
            lockout.passed(session, one)

    def change_password(self, caller: Caller, old: str, new: str, source: Source) -> None:
        """Set one's own password; raises WrongError, PasswordError, TooManyError, BusyError."""
        self.check_own(caller, old, source)
        passwords.check_new(new, caller.actor.id, caller.actor.name)
        if new == old:
            raise passwords.PasswordError("新密码须与旧密码不同 / expected another password than the present one")
        kept = self.passwords.hash(new)
        with self.store.writing() as session:
            roster.change_password(session, caller.actor, kept, self.now_ms(), caller.cookie)

    def _opened(self, person: str, kept: str | None) -> str | None:
        """A secret of somebody's second factor; None also where the key is lost: recovery codes need none."""
        try:
            return None if kept is None else self.vault.open(person, kept)
        except VaultError as fault:
            log.error("sign-in: %s", fault)  # noqa: TRY400 - it says what to do, a trace says nothing more
            return None

    def ask_totp(self, caller: Caller) -> str:
        """A secret to put into an app; it counts once a code of it came back. Asked again, it is the same.

        Raises PeopleError where the key of second factors cannot be used.
        """
        with self.store.writing() as session:
            lock(session, ["people"])
            row = roster.find(session, caller.actor.id)
            secret = self._opened(row.id, row.totp_asked)
            if secret is None:
                secret = totp.new_secret()
                try:
                    row.totp_asked = self.vault.seal(row.id, secret)
                except VaultError as fault:
                    log.error("second factor: %s", fault)  # noqa: TRY400 - it says what to do, a trace says nothing more
                    raise PeopleError(
                        "无法保存两步验证，请联系管理员 / "
                        "the key of second factors cannot be used; whoever runs this center finds why in its log"
                    ) from None
            return secret

    def confirm_totp(self, caller: Caller, typed: str) -> list[str]:
        """Take the app that gives this code as second factor; returns new recovery codes. Raises WrongError."""
        now_ms = self.now_ms()
        with self.store.writing() as session:
            lock(session, ["people"])
            row = roster.find(session, caller.actor.id)
            asked = self._opened(row.id, row.totp_asked)
            step = None if asked is None else totp.matching_step(asked, typed, now_ms)
            if step is None:
                raise WrongError(WRONG_CODE)
            row.totp, row.totp_asked, row.totp_step = row.totp_asked, None, step
            made = _recovery(session, row.id)
            ended = sessions.end_all(session, row.id, but=caller.cookie)
            audit.record(session, caller.actor, "person.totp", f"person/{row.id}", {"sessions_ended": ended}, now_ms)
            return made

    def drop_totp(self, caller: Caller) -> None:
        """Go without a second factor; raises PeopleError where one has to have it."""
        with self.store.writing() as session:
            lock(session, ["people"])
            row = roster.find(session, caller.actor.id)
            row.totp = row.totp_asked = row.totp_step = None
            session.execute(delete(RecoveryRow).where(RecoveryRow.person_id == row.id))
            audit.record(session, caller.actor, "person.totp_drop", f"person/{row.id}", {}, self.now_ms())

    def new_recovery(self, caller: Caller) -> list[str]:
        """New recovery codes in place of the old ones."""
        with self.store.writing() as session:
            if roster.find(session, caller.actor.id).totp is None:
                raise PeopleError("请先设置两步验证 / expected a second factor first")
            made = _recovery(session, caller.actor.id)
            audit.record(session, caller.actor, "person.recovery", f"person/{caller.actor.id}", {}, self.now_ms())
            return made


def _over(row: PersonRow, now_ms: int) -> bool:
    """Whether a password that somebody else made has ended."""
    return bool(row.password_once) and now_ms - (row.password_ms or 0) >= roster.ONCE_MS


def _second(session: Session, row: PersonRow, secret: str | None, typed: str, now_ms: int) -> str | None:
    """By what the second factor is proven, if it is; used up in the same statement that looks at it."""
    if row.totp is None:
        return None
    step = None if secret is None else totp.matching_step(secret, typed, now_ms)
    if step is not None:
        used = (
            update(PersonRow)
            .where(PersonRow.id == row.id, or_(PersonRow.totp_step.is_(None), PersonRow.totp_step < step))
            .values(totp_step=step)
            .returning(PersonRow.id)
        )
        return "totp" if session.scalars(used).first() else None
    spent = delete(RecoveryRow).where(
        RecoveryRow.person_id == row.id, RecoveryRow.code_sha256 == _recovery_hash(row.id, typed)
    )
    return "recovery" if session.scalars(spent.returning(RecoveryRow.person_id)).first() else None


def _recovery(session: Session, person: str) -> list[str]:
    session.execute(delete(RecoveryRow).where(RecoveryRow.person_id == person))
    made = []
    for _ in range(CODES):
        text = base64.b32encode(secrets.token_bytes(CODE_BYTES)).decode().lower()
        made.append(f"{text[:4]}-{text[4:]}")
        session.add(RecoveryRow(person_id=person, code_sha256=_recovery_hash(person, text)))
    session.flush()
    return made


def _recovery_hash(person: str, typed: str) -> str:
    """Of a code as it may be typed: with or without hyphens, in capitals."""
    text = "".join(one for one in typed.lower() if one.isalnum())
    return hashlib.sha256(f"{person}\0{text}".encode()).hexdigest()

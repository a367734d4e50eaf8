"""The people of a center and their roles; each change in the caller's transaction, with its line in the audit log."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from collector.people import audit, lockout, sessions
from collector.people.actor import EVERYWHERE, Actor, Grant, Role
from collector.people.rights import may, streets
from collector.places import fields
from collector.places.faults import BadValueError
from collector.store import GrantRow, PersonRow, RecoveryRow, TokenRow, lock

ONCE_MS: Final = 3 * 86_400_000
"""That a password which somebody else made is good for."""
NAME: Final = 100
BY_SSO: Final = "sso"
_ID: Final = re.compile(r"[a-z0-9][a-z0-9._@-]{0,62}")


class PeopleError(Exception):
    """What was asked cannot be; one line that says what was expected, what came and what to do."""


class NotAllowedError(PeopleError):
    """This actor may not do that to this person."""


def read_id(text: str) -> str:
    """A name to sign in with; raises PeopleError."""
    if not _ID.fullmatch(text):
        raise PeopleError(
            "登录名只能用小写字母、数字和 . _ @ -，最多 63 个字符 / "
            f"expected a sign-in name of a-z, 0-9 and . _ @ -, at most 63 characters, got {text!r:.100}"
        )
    return text


def read_name(text: str) -> str:
    """A person's name as it is shown; raises PeopleError."""
    name = unicodedata.normalize("NFC", text).strip()
    if not 0 < len(name) <= NAME or not name.isprintable():
        raise PeopleError(
            f"姓名应为 1 到 {NAME} 个可见字符 / "
            f"expected a name of at most {NAME} printable characters, got {text!r:.120}"
        )
    return name


def read_unit(text: str) -> str:
    """Whose somebody is, empty for the center's own; raises PeopleError."""
    return read_name(text) if text.strip() else ""


def read_phone(text: str) -> str:
    """A telephone number as it is dialled, empty for none; raises PeopleError."""
    return _contact("phone", text, fields.phone)


def read_mail(text: str) -> str:
    """An address of e-mail, empty for none; raises PeopleError."""
    return _contact("mail", text, fields.email)


def _contact(name: str, text: str, read: Callable[[str], str]) -> str:
    try:
        return read(text.strip()) if text.strip() else ""
    except BadValueError as fault:
        raise PeopleError(f"{fault.text.zh} / {name}: {fault.text.en}") from None


def read_grant(text: str) -> Grant:
    """`role` or `role@street`; raises PeopleError."""
    try:
        return Grant.read(text)
    except ValueError as fault:
        raise PeopleError(f"角色或街道有误 / {fault}") from None


def find(session: Session, person: str) -> PersonRow:
    """A person; raises PeopleError."""
    row = session.get(PersonRow, person)
    if row is None:
        raise PeopleError(
            f"本中心没有人员 {person!r:.80} / "
            f"expected a person of this center, found no {person!r:.80}; see `people list`"
        )
    return row


def everybody(session: Session) -> list[PersonRow]:
    """All people."""
    return list(session.scalars(select(PersonRow).order_by(PersonRow.id)))


def is_empty(session: Session) -> bool:
    """Whether there are no people yet."""
    return session.scalars(select(PersonRow.id).limit(1)).first() is None


def has_admin(session: Session) -> bool:
    """Whether somebody can still give roles to everybody."""
    return bool(_admins(session))


def grants(session: Session, person: str) -> frozenset[Grant]:
    """The roles of a person."""
    rows = session.execute(select(GrantRow.role, GrantRow.street).where(GrantRow.person_id == person))
    return frozenset(Grant(Role(row.role), row.street) for row in rows)


def works_at(session: Session, person: str, roles: Iterable[str], street: str) -> bool:
    """Whether somebody is active and has one of some roles at a street.

    In a center without people (a demo, a trial on the loopback address) any plain name will do that is no address: with
    a letter and without an @, so that nothing is sent to a number or a mailbox that somebody just typed.
    """
    if is_empty(session):
        return _ID.fullmatch(person) is not None and "@" not in person and any(sign.isalpha() for sign in person)
    row = session.get(PersonRow, person)
    if row is None or row.disabled_ms is not None:
        return False
    wanted = frozenset(roles)
    return any(one.role in wanted and one.street in (EVERYWHERE, street) for one in grants(session, person))


def as_actor(session: Session, row: PersonRow) -> Actor:
    """A person who acts by themselves."""
    return Actor("person", row.id, row.name, grants(session, row.id))


def add(
    session: Session,
    actor: Actor,
    person: str,
    name: str,
    given: Iterable[Grant],
    *,
    now_ms: int,
    password: str | None = None,
    once: bool = False,
    sso: tuple[str, str] | None = None,
    phone: str = "",
    mail: str = "",
) -> PersonRow:
    """Take up a person.

    Args:
        session: a transaction that writes.
        actor: who does it; may give only roles at streets where they administer people.
        person: what they sign in with.
        name: as it is shown.
        given: their roles.
        now_ms: when.
        password: hash of one; None: they cannot sign in with one.
        once: somebody else knows that password.
        sso: issuer and subject, for who signs in elsewhere.
        phone: where they are told of their tasks, like `mail`; empty for none.
        mail: their address.
    """
    lock(session, ["people"])
    read_id(person)
    if session.get(PersonRow, person) is not None:
        raise PeopleError(
            f"登录名 {person} 已有人使用，且不会再次分配 / "
            f"person {person}: expected a new sign-in name, somebody has it; names are never used again"
        )
    wanted = sorted(set(given), key=str)
    for grant in wanted:
        _may_give(actor, grant)
    row = PersonRow(id=person, name=read_name(name), created_ms=now_ms, password_once=0)
    row.phone, row.mail = read_phone(phone), read_mail(mail)
    _set_password(row, password, once=once, now_ms=now_ms)
    if sso is not None:
        row.sso_issuer, row.sso_subject = sso
    session.add(row)
    session.flush()
    for grant in wanted:
        session.add(_grant_row(person, grant, actor, now_ms))
    detail = {"name": row.name, "grants": _texts(wanted), "sso": sso is not None}
    audit.record(session, actor, "person.add", f"person/{person}", detail, now_ms)
    return row


def change(
    session: Session,
    actor: Actor,
    person: str,
    now_ms: int,
    *,
    name: str | None = None,
    unit: str | None = None,
    phone: str | None = None,
    mail: str | None = None,
) -> bool:
    """Change how somebody is named and reached; None leaves it, empty takes an address away. Whether that is new."""
    lock(session, ["people"])
    row = check_may_change(session, actor, person)
    wanted = {
        "name": None if name is None else read_name(name),
        "unit": None if unit is None else read_unit(unit),
        "phone": None if phone is None else read_phone(phone),
        "mail": None if mail is None else read_mail(mail),
    }
    new = {key: value for key, value in wanted.items() if value is not None and value != getattr(row, key)}
    for key, value in new.items():
        setattr(row, key, value)
    if new:
        # lines of the log are for ever, a telephone number is not
        shown = {key: value for key, value in new.items() if key in ("name", "unit")}
        detail = {"changed": sorted(new), **shown}
        audit.record(session, actor, "person.change", f"person/{person}", detail, now_ms)
    return bool(new)


def give(session: Session, actor: Actor, person: str, grant: Grant, now_ms: int) -> bool:
    """Give a role; whether it is new."""
    lock(session, ["people"])
    find(session, person)
    _may_give(actor, grant)
    if session.get(GrantRow, (person, grant.role, grant.street)) is not None:
        return False
    session.add(_grant_row(person, grant, actor, now_ms))
    audit.record(session, actor, "person.grant", f"person/{person}", {"grant": str(grant)}, now_ms)
    return True


def take(session: Session, actor: Actor, person: str, grant: Grant, now_ms: int) -> bool:
    """Take a role; whether they had it."""
    lock(session, ["people"])
    find(session, person)
    _may_give(actor, grant)
    row = session.get(GrantRow, (person, grant.role, grant.street))
    if row is None:
        return False
    _keep_an_admin(session, person, grant)
    session.delete(row)
    audit.record(session, actor, "person.revoke", f"person/{person}", {"grant": str(grant)}, now_ms)
    return True


def disable(session: Session, actor: Actor, person: str, now_ms: int) -> bool:
    """Let somebody in no more: their sessions and tokens end now. Whether that is new."""
    lock(session, ["people"])
    row = check_may_change(session, actor, person)
    if row.disabled_ms is not None:
        return False
    _keep_an_admin(session, person)
    row.disabled_ms = now_ms
    ended = _end_everything(session, person, now_ms)
    audit.record(session, actor, "person.disable", f"person/{person}", ended, now_ms)
    return True


def enable(session: Session, actor: Actor, person: str, now_ms: int) -> bool:
    """Let somebody in again; whether that is new."""
    lock(session, ["people"])
    row = check_may_change(session, actor, person)
    if row.disabled_ms is None:
        return False
    row.disabled_ms = None
    audit.record(session, actor, "person.enable", f"person/{person}", {}, now_ms)
    return True


def reset_password(session: Session, actor: Actor, person: str, password: str, now_ms: int) -> None:
    """Set a password (its hash) that somebody else knows: it is good once, and sessions and tokens end."""
    lock(session, ["people"])
    row = check_may_change(session, actor, person)
    _set_password(row, password, once=True, now_ms=now_ms)
    lockout.forgive(session, person)
    ended = _end_everything(session, person, now_ms)
    audit.record(session, actor, "person.password_reset", f"person/{person}", ended, now_ms)


def change_password(session: Session, actor: Actor, password: str, now_ms: int, cookie: str) -> None:
    """Set one's own password (its hash); other sessions end."""
    row = find(session, actor.id)
    _set_password(row, password, once=False, now_ms=now_ms)
    ended = sessions.end_all(session, row.id, but=cookie)
    audit.record(session, actor, "person.password", f"person/{row.id}", {"sessions_ended": ended}, now_ms)


def reset_totp(session: Session, actor: Actor, person: str, now_ms: int) -> bool:
    """Take somebody's second factor away, who lost it; whether they had one."""
    lock(session, ["people"])
    row = check_may_change(session, actor, person)
    if row.totp is None and row.totp_asked is None:
        return False
    row.totp = row.totp_asked = row.totp_step = None
    session.execute(delete(RecoveryRow).where(RecoveryRow.person_id == person))
    ended = sessions.end_all(session, person)
    audit.record(session, actor, "person.totp_reset", f"person/{person}", {"sessions_ended": ended}, now_ms)
    return True


def end_sessions(session: Session, actor: Actor, person: str, now_ms: int) -> int:
    """Sign somebody out everywhere; how many sessions ended."""
    check_may_change(session, actor, person)
    ended = sessions.end_all(session, person)
    audit.record(session, actor, "person.sessions_end", f"person/{person}", {"sessions_ended": ended}, now_ms)
    return ended


def link_sso(session: Session, actor: Actor, person: str, issuer: str, subject: str, now_ms: int) -> None:
    """Let somebody who is known here sign in elsewhere."""
    lock(session, ["people"])
    row = check_may_change(session, actor, person)
    taken = session.scalars(
        select(PersonRow.id).where(PersonRow.sso_issuer == issuer, PersonRow.sso_subject == subject)
    ).first()
    if taken not in (None, person):
        raise PeopleError(f"此身份已属于 {taken} / subject {subject!r:.80}: it is linked to person {taken} already")
    row.sso_issuer, row.sso_subject = issuer, subject
    audit.record(session, actor, "person.link", f"person/{person}", {"issuer": issuer, "subject": subject}, now_ms)


def unlock(session: Session, actor: Actor, person: str, now_ms: int) -> int:
    """Forget that somebody failed to sign in."""
    check_may_change(session, actor, person)
    counts = lockout.forgive(session, person)
    audit.record(session, actor, "person.unlock", f"person/{person}", {"counts": counts}, now_ms)
    return counts


def set_sso_grants(session: Session, actor: Actor, person: str, wanted: frozenset[Grant], now_ms: int) -> None:
    """Make the roles that come from elsewhere what a sign-in there says; those given by hand stay."""
    rows = session.scalars(select(GrantRow).where(GrantRow.person_id == person)).all()
    held = {Grant(Role(row.role), row.street): row for row in rows}
    gone = [grant for grant, row in held.items() if row.by == BY_SSO and grant not in wanted]
    new = sorted(wanted - set(held), key=str)
    for grant in gone:
        session.delete(held[grant])
    for grant in new:
        row = _grant_row(person, grant, actor, now_ms)
        row.by = BY_SSO
        session.add(row)
    if gone or new:
        detail = {"given": _texts(new), "taken": _texts(gone)}
        audit.record(session, actor, "person.sso_grants", f"person/{person}", detail, now_ms)


def person_json(session: Session, row: PersonRow) -> dict[str, Any]:
    """One person for programs; nothing secret, but addresses, which are not for everybody who may see people."""
    return {
        "id": row.id,
        "name": row.name,
        "unit": row.unit,
        "phone": row.phone,
        "mail": row.mail,
        "grants": [{"role": one.role, "street": one.street, "by": one.by} for one in _grant_rows(session, row.id)],
        "password": row.password is not None,
        "password_once": bool(row.password_once),
        "second_factor": row.totp is not None,
        "sso": row.sso_subject is not None,
        "created_ms": row.created_ms,
        "disabled_ms": row.disabled_ms,
    }


def _grant_rows(session: Session, person: str) -> Sequence[GrantRow]:
    query = select(GrantRow).where(GrantRow.person_id == person).order_by(GrantRow.role, GrantRow.street)
    return session.scalars(query).all()


def _set_password(row: PersonRow, password: str | None, *, once: bool, now_ms: int) -> None:
    row.password = password
    row.password_ms = None if password is None else now_ms
    row.password_once = int(once and password is not None)


def _grant_row(person: str, grant: Grant, actor: Actor, now_ms: int) -> GrantRow:
    return GrantRow(person_id=person, role=grant.role, street=grant.street, by=str(actor), at_ms=now_ms)


def _end_everything(session: Session, person: str, now_ms: int) -> dict[str, int]:
    revoked = (
        update(TokenRow)
        .where(TokenRow.person_id == person, TokenRow.revoked_ms.is_(None))
        .values(revoked_ms=now_ms)
        .returning(TokenRow.id)
    )
    tokens = len(session.scalars(revoked).all())
    return {"sessions_ended": sessions.end_all(session, person), "tokens_revoked": tokens}


def _may_give(actor: Actor, grant: Grant) -> None:
    """Only what lies within one's own streets; a role everywhere only by who administers everywhere."""
    own = streets(actor, "people.write")
    if own is not None and grant.street not in own:
        mine = ", ".join(sorted(own)) or "none"
        raise NotAllowedError(
            f"{grant}：不在您管理的街道（{mine}） / {grant}: expected a street that you administer ({mine})"
        )


def check_may_change(session: Session, actor: Actor, person: str) -> PersonRow:
    """Who resets a sign-in can sign in as that person: so it takes the right to people at all of their streets."""
    row = find(session, person)
    if not may(actor, "people.write"):
        raise NotAllowedError(f"您不能管理人员 / person {person}: expected somebody who administers people")
    for grant in grants(session, person):
        if not may(actor, "people.write", grant.street):
            raise NotAllowedError(
                f"{person} 另有角色 {grant}，不全在您管理的街道 / "
                f"person {person}: has {grant}; expected somebody with roles at your own streets only"
            )
    return row


def _admins(session: Session) -> set[str]:
    query = (
        select(GrantRow.person_id)
        .join(PersonRow, PersonRow.id == GrantRow.person_id)
        .where(GrantRow.role == Role.ADMIN, GrantRow.street == EVERYWHERE, PersonRow.disabled_ms.is_(None))
    )
    return set(session.scalars(query))


def _keep_an_admin(session: Session, person: str, grant: Grant | None = None) -> None:
    if grant is not None and grant != Grant(Role.ADMIN):
        return
    if _admins(session) == {person}:
        raise PeopleError(
            f"{person} 是最后一名全中心管理员，请先让他人担任 / "
            f"person {person}: is the last who administers everywhere; give admin to somebody else before"
        )


def _texts(found: Iterable[Grant]) -> list[str]:
    return [str(grant) for grant in found]

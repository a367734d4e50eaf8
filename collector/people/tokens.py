"""API tokens: what a program signs in with, as `Authorization: Bearer cet_ID_SECRET`.

The name of the token is in it, so that a lost one can be found and revoked; of the secret only a hash is kept.
"""

import json
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from collector.people import audit, roster
from collector.people.actor import Actor, Grant, Role
from collector.people.roster import PeopleError
from collector.people.sessions import SEEN_EVERY_MS, kept
from collector.store import PersonRow, TokenRow

LONGEST_DAYS: Final = 400
DAY_MS: Final = 86_400_000
_SHAPE: Final = re.compile(r"cet_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
"""Recognisable, so that scanners for leaked secrets find one in a repository."""


@dataclass(frozen=True)
class NewToken:
    """The only time that a token is known."""

    id: str
    text: str
    expires_ms: int


@dataclass(frozen=True)
class Bearer:
    """Who a token speaks for."""

    actor: Actor
    row: TokenRow
    tired: bool
    waits: bool
    """For its owner's own password: until then somebody else may have made it in their name."""


def make(
    session: Session, actor: Actor, owner: str, name: str, wanted: Iterable[Grant], days: float, now_ms: int
) -> NewToken:
    """Make a token of a person with some of their roles, at least one; raises PeopleError."""
    row = roster.find(session, owner)
    if row.disabled_ms is not None:
        raise PeopleError(f"{owner} 已停用 / person {owner}: is disabled")
    if not 0 < days <= LONGEST_DAYS:
        raise PeopleError(
            f"有效期最多 {LONGEST_DAYS} 天 / expected a token for at most {LONGEST_DAYS} days, got {days:g}"
        )
    held = roster.grants(session, owner)
    given = frozenset(wanted)
    if not given:
        raise PeopleError(f"请选择角色 / expected at least one role for a token of {owner}, got none")
    for grant in given:
        if not within(grant, held):
            raise PeopleError(f"{owner} 没有角色 {grant} / {grant}: expected a role that {owner} has")
    token_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    token = NewToken(token_id, f"cet_{token_id}_{secret}", now_ms + round(days * DAY_MS))
    session.add(
        TokenRow(
            id=token_id,
            person_id=owner,
            name=roster.read_name(name),
            secret_sha256=kept(secret),
            grants=json.dumps(sorted([grant.role, grant.street] for grant in given)),
            created_ms=now_ms,
            expires_ms=token.expires_ms,
        )
    )
    detail = {"owner": owner, "name": name, "grants": sorted(map(str, given)), "days": days}
    audit.record(session, actor, "token.add", f"token/{token_id}", detail, now_ms)
    return token


def make_for_program(
    session: Session, actor: Actor, program: str, name: str, grant: Grant, days: float, now_ms: int
) -> NewToken:
    """Make a token of a program, which is made where it is not there, with the role; raises PeopleError.

    A program is who has neither a password nor single sign-on: so nobody acts in the name of a person by it.
    """
    row = session.get(PersonRow, program)
    if row is None:
        row = roster.add(session, actor, program, name, [], now_ms=now_ms)
    if row.password is not None or row.sso_subject is not None:
        raise PeopleError(
            "只能为程序账号代建令牌；有密码或统一认证的人员在“我的账号”自建 / "
            f"{program}: expected a program, without password and single sign-on; people make their own tokens"
        )
    roster.check_may_change(session, actor, program)
    roster.give(session, actor, program, grant, now_ms)
    session.flush()
    return make(session, actor, program, name, [grant], days, now_ms)


def read(session: Session, text: str, now_ms: int) -> Bearer | None:
    """Who a token speaks for, with the roles that it and its owner both have; None: nobody."""
    match = _SHAPE.fullmatch(text)
    if match is None:
        return None
    row = session.scalars(select(TokenRow).where(TokenRow.secret_sha256 == kept(match[2]))).first()
    if row is None or row.id != match[1] or row.revoked_ms is not None or now_ms >= row.expires_ms:
        return None
    person = session.get_one(PersonRow, row.person_id)
    if person.disabled_ms is not None:
        return None
    both = common(grants_of(row), roster.grants(session, person.id))
    actor = Actor("person", person.id, person.name, both, via=f"token/{row.id}")
    tired = row.used_ms is None or now_ms - row.used_ms >= SEEN_EVERY_MS
    return Bearer(actor, row, tired, waits=bool(person.password_once))


def used(session: Session, token_id: str, now_ms: int) -> None:
    """A program made a request."""
    session.execute(update(TokenRow).where(TokenRow.id == token_id).values(used_ms=now_ms))


def revoke(session: Session, actor: Actor, token_id: str, now_ms: int) -> bool:
    """End a token: one's own, or of somebody whom one may change. Whether that is new."""
    row = session.get(TokenRow, token_id)
    if row is None:
        raise PeopleError(
            f"本中心没有这个令牌 / expected a token of this center, found no {token_id!r:.40}; see `tokens list`"
        )
    if row.person_id != actor.id:
        roster.check_may_change(session, actor, row.person_id)
    if row.revoked_ms is not None:
        return False
    row.revoked_ms = now_ms
    audit.record(session, actor, "token.revoke", f"token/{token_id}", {"owner": row.person_id}, now_ms)
    return True


def listed(session: Session, owner: str | None = None) -> list[TokenRow]:
    """All tokens, or those of one person, newest first."""
    query = select(TokenRow).order_by(TokenRow.created_ms.desc(), TokenRow.id)
    return list(session.scalars(query if owner is None else query.where(TokenRow.person_id == owner)))


def grants_of(row: TokenRow) -> frozenset[Grant]:
    """What it was made with."""
    return frozenset(Grant(Role(role), street) for role, street in json.loads(row.grants))


def within(grant: Grant, held: frozenset[Grant]) -> bool:
    """Whether somebody with these roles has this one."""
    return grant in held or Grant(grant.role) in held


def common(one: frozenset[Grant], other: frozenset[Grant]) -> frozenset[Grant]:
    """What both have: a role everywhere and one at a street have the street in common."""
    return frozenset(grant for grant in one if within(grant, other)) | frozenset(
        grant for grant in other if within(grant, one)
    )


def token_json(row: TokenRow) -> dict[str, Any]:
    """One token for programs, without its secret."""
    return {
        "id": row.id,
        "owner": row.person_id,
        "name": row.name,
        "grants": [{"role": role, "street": street} for role, street in json.loads(row.grants)],
        "created_ms": row.created_ms,
        "expires_ms": row.expires_ms,
        "used_ms": row.used_ms,
        "revoked_ms": row.revoked_ms,
    }

"""People, tokens and the audit log as JSON."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Query
from pydantic import BaseModel, ConfigDict, Field

from collector.notices.secrets import masked
from collector.people import audit, passwords, roster, tokens
from collector.people.actor import EVERYWHERE, Actor, Grant
from collector.people.rights import OWN, may
from collector.people.roster import NotAllowedError, PeopleError
from collector.people.signing import Signing
from collector.store import PersonRow, TokenRow
from collector.web.plain import Number
from collector.web.rights import Acting, Asking, Desk, as_json, check, held, in_streets, needs


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class GrantBody(_Body):
    """A role at a street."""

    role: str
    street: str = EVERYWHERE

    def grant(self) -> Grant:
        """The same, checked; raises PeopleError."""
        return roster.read_grant(f"{self.role}@{self.street}")


class PersonBody(_Body):
    """Somebody new."""

    id: str
    name: str
    grants: list[GrantBody] = Field(default=[], max_length=50)
    password: bool = True
    """Make a password for them that is good once; without it they sign in elsewhere, or have tokens alone."""
    phone: str = ""
    mail: str = ""


class ChangeBody(_Body):
    """How somebody is named and reached; what is not named stays, an empty address is taken away."""

    name: str | None = None
    unit: str | None = None
    phone: str | None = None
    mail: str | None = None


class TokenBody(_Body):
    """A new token of one's own, with some of one's roles, or with all that one has now."""

    name: str
    days: float = Field(default=90, gt=0, le=tokens.LONGEST_DAYS)
    grants: list[GrantBody] = Field(default=[], max_length=50)
    all_roles: bool = False


Change = Literal["disable", "enable", "password", "totp-reset", "unlock"]


def near(actor: Actor, person: dict[str, Any]) -> bool:
    """Whether somebody has a role at one's own streets, at all of them, or at none yet."""
    own = in_streets(actor, "people.read")
    streets = {grant["street"] for grant in person["grants"]}
    return own is None or not streets or bool(streets & (own | {EVERYWHERE}))


def known(session: Any, acting: Actor, person: str) -> PersonRow:
    """A person; one who is not there is not found, nor one elsewhere: nobody learns of other streets."""
    row = session.get(PersonRow, person)
    if row is None or not near(acting, roster.person_json(session, row)):
        raise HTTPException(404, f"没有此人 {person!r:.80} / there is no person {person!r:.80}")
    found: PersonRow = row
    return found


def shown(acting: Actor, row: PersonRow, session: Any) -> dict[str, Any]:
    """A person as this actor may see them: addresses in full for who may change them."""
    found = roster.person_json(session, row)
    try:
        roster.check_may_change(session, acting, row.id)
    except NotAllowedError:
        found |= {"phone": masked(row.phone), "mail": masked(row.mail)}
    return found


def router(desk: Desk, signing: Signing) -> APIRouter:
    """The routes."""
    routes = APIRouter()

    def refused(fault: PeopleError) -> HTTPException:
        return HTTPException(403 if isinstance(fault, NotAllowedError) else 400, str(fault))

    @routes.get("/api/me", dependencies=[needs(OWN)])
    def me(asking: Asking) -> dict[str, Any]:
        """Who one is, with roles and rights."""
        who = asking.actor
        with desk.store.transaction() as session:
            row = roster.find(session, who.id)
        return {
            "id": who.id,
            "name": who.name,
            "phone": row.phone,
            "mail": row.mail,
            "grants": as_json(who.grants),
            "rights": sorted(held(who)),
            "must": asking.must,
        }

    @routes.get("/api/people", dependencies=[needs("people.read")])
    def list_people(acting: Acting) -> list[dict[str, Any]]:
        """Everybody with a role at one's own streets, or with none yet."""
        with desk.store.transaction() as session:
            found = [shown(acting, row, session) for row in roster.everybody(session)]
        return [one for one in found if near(acting, one)]

    @routes.post("/api/people", dependencies=[needs("people.write")], status_code=201)
    def add_person(acting: Acting, body: PersonBody) -> dict[str, Any]:
        """Take up somebody; their password is told this once."""
        word = passwords.make() if body.password else None
        kept = None if word is None else signing.passwords.hash(word)
        try:
            with desk.store.writing() as session:
                given = [one.grant() for one in body.grants]
                row = roster.add(
                    session,
                    acting,
                    body.id,
                    body.name,
                    given,
                    now_ms=desk.now_ms(),
                    password=kept,
                    once=True,
                    phone=body.phone,
                    mail=body.mail,
                )
                found = roster.person_json(session, row)
        except PeopleError as fault:
            raise refused(fault) from None
        return found | {"password_once": word}

    @routes.get("/api/people/{person}", dependencies=[needs("people.read")])
    def get_person(acting: Acting, person: str) -> dict[str, Any]:
        """One person."""
        with desk.store.transaction() as session:
            return shown(acting, known(session, acting, person), session)

    @routes.patch("/api/people/{person}", dependencies=[needs("people.write")])
    def change_fields(acting: Acting, person: str, body: ChangeBody) -> dict[str, Any]:
        """Change how somebody is named and reached."""
        try:
            with desk.store.writing() as session:
                row = known(session, acting, person)
                roster.change(session, acting, person, desk.now_ms(), **body.model_dump())
                return roster.person_json(session, row)
        except PeopleError as fault:
            raise refused(fault) from None

    @routes.post("/api/people/{person}/grants", dependencies=[needs("people.write")])
    def give(acting: Acting, person: str, body: GrantBody) -> dict[str, Any]:
        """Give a role."""
        return change_grant(acting, person, body, give=True)

    @routes.delete("/api/people/{person}/grants/{role}/{street}", dependencies=[needs("people.write")])
    def take(acting: Acting, person: str, role: str, street: str) -> dict[str, Any]:
        """Take a role."""
        return change_grant(acting, person, GrantBody(role=role, street=street), give=False)

    def change_grant(acting: Actor, person: str, body: GrantBody, *, give: bool) -> dict[str, Any]:
        try:
            with desk.store.writing() as session:
                row = known(session, acting, person)
                (roster.give if give else roster.take)(session, acting, person, body.grant(), desk.now_ms())
                session.flush()
                return shown(acting, row, session)
        except PeopleError as fault:
            raise refused(fault) from None

    @routes.post("/api/people/{person}/{change}", dependencies=[needs("people.write")])
    def change_person(acting: Acting, person: str, change: Change) -> dict[str, Any]:
        """Disable, enable, give a new password, take the second factor away, forget failures."""
        word = passwords.make() if change == "password" else None
        kept = "" if word is None else signing.passwords.hash(word)
        try:
            with desk.store.writing() as session:
                row = known(session, acting, person)
                now_ms = desk.now_ms()
                if change == "password":
                    roster.reset_password(session, acting, person, kept, now_ms)
                else:
                    act = {
                        "disable": roster.disable,
                        "enable": roster.enable,
                        "totp-reset": roster.reset_totp,
                        "unlock": roster.unlock,
                    }[change]
                    act(session, acting, person, now_ms)
                session.flush()
                found = roster.person_json(session, row)
        except PeopleError as fault:
            raise refused(fault) from None
        return found if word is None else found | {"password_once": word}

    @routes.get("/api/tokens", dependencies=[needs(OWN)])
    def list_tokens(acting: Acting, everybody: bool = False) -> list[dict[str, Any]]:
        """One's own tokens, or, with `people.read`, those of everybody whom one sees."""
        if everybody and not may(acting, "people.read"):
            raise HTTPException(403, "expected the right people.read to see the tokens of others")
        with desk.store.transaction() as session:
            if not everybody:
                return [tokens.token_json(row) for row in tokens.listed(session, acting.id)]
            seen = {row.id for row in roster.everybody(session) if near(acting, roster.person_json(session, row))}
            return [tokens.token_json(row) for row in tokens.listed(session) if row.person_id in seen | {acting.id}]

    @routes.post("/api/tokens", dependencies=[needs(OWN)], status_code=201)
    def make_token(asking: Asking, body: TokenBody) -> dict[str, Any]:
        """A new token of one's own, told this once; a token makes none."""
        if asking.must:
            raise HTTPException(403, f"finish your account first ({asking.must})")
        try:
            with desk.store.writing() as session:
                who = asking.actor
                given = {one.grant() for one in body.grants} | (set(who.grants) if body.all_roles else set())
                made = tokens.make(session, who, who.id, body.name, given, body.days, desk.now_ms())
                return {"id": made.id, "token": made.text, "expires_ms": made.expires_ms}
        except PeopleError as fault:
            raise refused(fault) from None

    @routes.delete("/api/tokens/{token}", dependencies=[needs(OWN)])
    def revoke_token(acting: Acting, token: str) -> dict[str, Any]:
        """End a token, one's own or of somebody whom one administers."""
        try:
            with desk.store.writing() as session:
                row = session.get(TokenRow, token)
                whose = None if row is None else roster.find(session, row.person_id)
                if whose is None or (whose.id != acting.id and not near(acting, roster.person_json(session, whose))):
                    raise HTTPException(404, "没有这个令牌 / there is no such token")
                tokens.revoke(session, acting, token, desk.now_ms())
                session.flush()
                return tokens.token_json(session.get_one(TokenRow, token))
        except PeopleError as fault:
            raise refused(fault) from None

    @routes.get("/api/audit", dependencies=[needs("audit.read")])
    def show_audit(
        acting: Acting,
        before: Number | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        of: str | None = None,
        by: str | None = None,
    ) -> dict[str, Any]:
        """Newest lines first, and the head that can be noted elsewhere; for who audits all streets."""
        check(acting, "audit.read", EVERYWHERE)
        with desk.store.transaction() as session:
            lines = audit.show(session, before=before, limit=limit, of=of, actor=by)
            return {"head": str(audit.head(session)), "lines": [audit.line_json(row) for row in lines]}

    @routes.get("/api/audit/verify", dependencies=[needs("audit.read")])
    def verify_audit(acting: Acting, noted: str | None = None) -> dict[str, Any]:
        """Whether the chain is whole, and whether a head that was noted is still in it."""
        check(acting, "audit.read", EVERYWHERE)
        try:
            wanted = None if noted is None else audit.read_head(noted)
        except ValueError as fault:
            raise HTTPException(400, str(fault)) from None
        with desk.store.transaction() as session:
            found = audit.verify(session, wanted)
        return {"good": found.fault is None, "lines": found.lines, "head": str(found.head), "fault": found.fault}

    return routes

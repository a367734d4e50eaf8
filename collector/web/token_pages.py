"""The page of all API tokens: whose they are, when they were last used; an end to each, and a new one for a program."""

import re
from typing import Any, Final

from fastapi import APIRouter, HTTPException
from fastapi.responses import HTMLResponse, Response

from collector.people import roster, tokens
from collector.people.actor import EVERYWHERE, Actor
from collector.people.rights import may
from collector.people.roster import NotAllowedError, PeopleError
from collector.people.signing import Signing
from collector.store import PersonRow, TokenRow
from collector.web import forms, words
from collector.web.forms import DONE, Choices, Entry, go
from collector.web.language import N_
from collector.web.pages import Page, Showing
from collector.web.people_api import near
from collector.web.rights import Acting, Asking, Desk, Fields, From, in_streets, needs
from collector.web.sign_in import Failed

ROOT: Final = "/admin/tokens"
DAYS: Final = 90


def router(desk: Desk, signing: Signing) -> APIRouter:
    """The routes."""
    routes = APIRouter(include_in_schema=False)

    def shown(page: Page, acting: Actor, status: int = 200, **more: Any) -> HTMLResponse:
        now_ms = desk.now_ms()
        with desk.store.transaction() as session:
            people = {row.id: row for row in roster.everybody(session)}
            seen = {one for one, row in people.items() if near(acting, roster.person_json(session, row))}
            rows = [_row(one, people[one.person_id], now_ms) for one in tokens.listed(session) if one.person_id in seen]
            own, me = forms.streets(session, acting, "people.write"), people.get(acting.id)
        given = more.pop("given", {})
        wide: Choices = [(EVERYWHERE, N_("All streets"))] if in_streets(acting, "people.write") is None else []
        return page(
            "admin_tokens.html",
            status,
            rows=sorted(rows, key=lambda one: not one["good"]),
            writes=may(acting, "people.write"),
            password=me is not None and me.password is not None,
            entries=_entries([*((one, one) for one in own), *wide], given),
            **{"fault": "", "done": "", "made": "", **more},
        )

    @routes.get(ROOT, dependencies=[needs("people.read")])
    def show_tokens(page: Showing, acting: Acting, done: str = "") -> HTMLResponse:
        return shown(page, acting, done=DONE.get(done, ""))

    @routes.post(f"{ROOT}/revoke", dependencies=[needs("people.write")])
    def revoke(page: Showing, acting: Acting, fields: Fields) -> Response:
        try:
            with desk.store.writing() as session:
                row = session.get(TokenRow, fields.get("token", ""))
                whose = None if row is None else session.get_one(PersonRow, row.person_id)
                if row is None or whose is None or not near(acting, roster.person_json(session, whose)):
                    raise HTTPException(404, "没有这个令牌 / there is no such token")
                new = tokens.revoke(session, acting, row.id, desk.now_ms())
        except PeopleError as fault:
            return shown(page, acting, 403 if isinstance(fault, NotAllowedError) else 422, fault=str(fault))
        return go(ROOT, done="ended" if new else "same")

    @routes.post(ROOT, dependencies=[needs("people.write")])
    def make(page: Showing, asking: Asking, fields: Fields, source: From) -> Response:
        acting = asking.actor
        if not asking.cookie:
            raise HTTPException(403, "expected a session of a page: a token makes none")
        try:
            signing.check_own(asking, fields.get("password", ""), source)
            grant = roster.read_grant(f"{fields.get('role', '')}@{fields.get('street', '')}")
            days, name = _days(fields.get("days", "")), fields.get("token", "")
            with desk.store.writing() as session:
                program, now_ms = fields.get("program", "").strip(), desk.now_ms()
                made = tokens.make_for_program(session, acting, program, name, grant, days, now_ms)
        except Failed as fault:
            status = 403 if isinstance(fault, NotAllowedError) else 422
            return shown(page, acting, status, fault=str(fault), given=fields)
        return shown(page, acting, made=made.text)

    return routes


def _days(text: str) -> float:
    if not re.fullmatch(r"\d{1,4}", text, re.ASCII):
        raise PeopleError("天数应为数字 / expected a number of days")
    return float(text)


def _row(row: TokenRow, owner: PersonRow, now_ms: int) -> dict[str, Any]:
    return {
        **tokens.token_json(row),
        "grants": words.offices(tokens.grants_of(row)),
        "owner_name": owner.name,
        "program": owner.password is None and owner.sso_subject is None,
        "good": row.revoked_ms is None and row.expires_ms > now_ms and owner.disabled_ms is None,
    }


def _entries(streets: Choices, given: Any) -> list[Entry]:
    return [
        Entry(
            "program",
            N_("The program's name here"),
            given.get("program", ""),
            hint=N_("Such as svc-platform; one that is not there yet is made, without a password."),
            required=True,
        ),
        Entry("token", N_("What it is for"), given.get("token", ""), required=True),
        Entry("role", N_("Role"), given.get("role", ""), "choice", choices=tuple(words.OFFICES.items())),
        Entry("street", N_("Street"), given.get("street", ""), "choice", choices=streets),
        Entry("days", N_("Good for so many days"), given.get("days", str(DAYS)), "number", required=True),
    ]

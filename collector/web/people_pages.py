"""Pages of people: who is there with which roles, and what an admin does for them."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any, Final

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import HTMLResponse, Response
from sqlalchemy.orm import Session

from collector.people import passwords, roster, sessions, tokens
from collector.people.actor import EVERYWHERE, Actor
from collector.people.rights import may
from collector.people.roster import NotAllowedError, PeopleError
from collector.people.signing import Signing
from collector.store import PersonRow, TokenRow, lock
from collector.web import forms, words
from collector.web.forms import DONE, Choices, Entry, Faults, go
from collector.web.language import N_
from collector.web.pages import Page, Showing
from collector.web.people_api import known, near, shown
from collector.web.rights import Acting, Desk, Fields, in_streets, needs

Asked = Annotated[str, Query(max_length=60)]
READS: Final[Mapping[str, Callable[[str], str]]] = {
    "id": roster.read_id,
    "name": roster.read_name,
    "unit": roster.read_unit,
    "phone": roster.read_phone,
    "mail": roster.read_mail,
}
LABELS: Final = {
    "id": N_("Sign-in name"),
    "name": N_("Name"),
    "unit": N_("Unit"),
    "phone": N_("Phone"),
    "mail": N_("E-mail"),
    "role": N_("Role"),
    "street": N_("Street"),
    "password": N_("Signs in"),
}
HINTS: Final = {
    "unit": N_("Whose they are; stands in the record when they look at originals."),
    "id": N_("a-z, 0-9 and . _ @ -; it is never changed and never given to anybody else."),
    "phone": N_("Tasks are sent there; empty for none."),
}
NONE_YET: Final = ("", N_("Choose …"))
ONCE: Final = (
    "此页打开后已设过新密码，只显示一次；如未记下请重新生成 / "
    "a password was set since this page was opened, and shown once; make another if nobody noted it"
)
NEW: Final = tuple(name for name in LABELS if name != "unit")
"""Fields of somebody new."""
WAYS: Final[Choices] = (
    ("once", N_("With a password that is good once")),
    ("", N_("Elsewhere (single sign-on), or not at all")),
)
CHANGES: Final[Mapping[str, Callable[[Session, Actor, str, int], object]]] = {
    "disable": roster.disable,
    "enable": roster.enable,
    "totp-reset": roster.reset_totp,
    "unlock": roster.unlock,
    "sessions": roster.end_sessions,
}


def router(desk: Desk, signing: Signing) -> APIRouter:
    """The routes."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/people", dependencies=[needs("people.read")])
    def show_people(
        page: Showing, acting: Acting, *, text: Asked = "", street: Asked = "", state: Asked = ""
    ) -> HTMLResponse:
        with desk.store.transaction() as session:
            everybody = [shown(acting, row, session) for row in roster.everybody(session)]
            rows = [_row(one) for one in everybody if near(acting, one)]
            streets = forms.streets(session, acting, "people.read")
        wanted = text.strip().lower()
        rows = [
            one
            for one in rows
            if (not wanted or wanted in one["id"] or wanted in one["name"].lower())
            and (not street or {street, EVERYWHERE} & {at for _, _, at in one["roles"]})
            and (not state or state in {role for role, _, _ in one["roles"]})
        ]
        states: Choices = (("", N_("All")), *words.OFFICES.items())
        asked = {"text": text, "street": street, "state": state}
        return page(
            "people.html", rows=rows, asked=asked, streets=streets, states=states, writes=may(acting, "people.write")
        )

    def grants(session: Session, who: Actor) -> tuple[Choices, Choices]:
        """Roles, and the streets at which somebody may give them."""
        own = in_streets(who, "people.write")
        streets: list[tuple[str, Any]] = [(one, one) for one in forms.streets(session, who, "people.write")]
        known_too = sorted((own or set()) - {one for one, _ in streets})
        wide = [(EVERYWHERE, N_("All streets"))] if own is None else []
        return tuple(words.OFFICES.items()), (*streets, *((one, one) for one in known_too), *wide)

    def new_page(page: Page, who: Actor, values: Mapping[str, str], faults: Faults, status: int = 200) -> HTMLResponse:
        with desk.store.transaction() as session:
            roles, streets = grants(session, who)
        choices: Mapping[str, Choices] = {"role": (("", N_("None yet")), *roles), "street": streets, "password": WAYS}
        return page(
            "person_new.html", status, entries=_entries(NEW, values, faults, choices), faults=faults.get("", ())
        )

    @routes.get("/people/new", dependencies=[needs("people.write")])
    def show_new(page: Showing, acting: Acting) -> HTMLResponse:
        return new_page(page, acting, {"password": "once"}, {})

    @routes.post("/people/new", dependencies=[needs("people.write")])
    def add(page: Showing, acting: Acting, fields: Fields) -> Response:
        faults = _faults(fields, READS)
        if faults:
            return new_page(page, acting, fields, faults, 422)
        word = passwords.make() if fields.get("password") == "once" else None
        kept = None if word is None else signing.passwords.hash(word)
        try:
            given = [roster.read_grant(f"{fields['role']}@{fields.get('street', '')}")] if fields.get("role") else []
            with desk.store.writing() as session:
                row = roster.add(
                    session,
                    acting,
                    fields.get("id", ""),
                    fields.get("name", ""),
                    given,
                    now_ms=desk.now_ms(),
                    password=kept,
                    once=True,
                    phone=fields.get("phone", ""),
                    mail=fields.get("mail", ""),
                )
                person = row.id
        except PeopleError as fault:
            at = "street" if isinstance(fault, NotAllowedError) else "id"
            return new_page(page, acting, fields, {at: [str(fault)]}, 422)
        return person_page(page, acting, person, word=word) if word else go("/people/person", id=person, done="added")

    def person_page(
        page: Page, who: Actor, person: str, faults: Faults | None = None, status: int = 200, **more: Any
    ) -> HTMLResponse:
        """One person, with what this actor may do for them; `word`: the password that was made for them."""
        faults = faults or {}
        now_ms = desk.now_ms()
        with desk.store.transaction() as session:
            row = known(session, who, person)
            found = shown(who, row, session)
            values = found | more.pop("values", {})
            roles, streets = grants(session, who)
            return page(
                "person.html",
                status,
                person=_row(found),
                entries=_entries(("name", "unit", "phone", "mail"), values, faults),
                writes=_may_change(session, who, row),
                gives=may(who, "people.write"),
                password_ms=row.password_ms or 0,
                given=[
                    replace(one, required=True)
                    for one in _entries(("role", "street"), {}, {}, {"role": (NONE_YET, *roles), "street": streets})
                ],
                own=in_streets(who, "people.write"),
                faults=faults.get("", ()),
                sessions=len(sessions.of(session, person, now_ms)),
                tokens=[
                    {**tokens.token_json(one), "grants": words.offices(tokens.grants_of(one))}
                    for one in tokens.listed(session, person)
                    if one.revoked_ms is None and one.expires_ms > now_ms
                ],
                **{"done": "", "word": "", **more},
            )

    @routes.get("/people/person", dependencies=[needs("people.read")])
    def show_person(page: Showing, acting: Acting, id: str, done: str = "") -> HTMLResponse:  # noqa: A002 - its name in the address
        return person_page(page, acting, id, done=DONE.get(done, ""))

    def does(page: Page, who: Actor, fields: Mapping[str, str], work: Callable[[Session, str], object]) -> Response:
        """A change of somebody."""
        person = fields.get("person", "")
        try:
            with desk.store.writing() as session:
                known(session, who, person)
                new = work(session, person)
        except PeopleError as fault:
            status = 403 if isinstance(fault, NotAllowedError) else 422
            return person_page(page, who, person, {"": [str(fault)]}, status)
        return go("/people/person", id=person, done="same" if new is False else "saved")

    @routes.post("/people/person", dependencies=[needs("people.write")])
    def change(page: Showing, acting: Acting, fields: Fields) -> Response:
        given: dict[str, str] = {name: fields[name] for name in ("name", "unit", "phone", "mail") if name in fields}
        faults = _faults(given, READS)
        if faults:
            return person_page(page, acting, fields.get("person", ""), faults, 422, values=given)
        return does(
            page, acting, fields, lambda session, person: roster.change(session, acting, person, desk.now_ms(), **given)
        )

    @routes.post("/people/roles", dependencies=[needs("people.write")])
    def change_roles(page: Showing, acting: Acting, fields: Fields) -> Response:
        act = roster.take if fields.get("take") else roster.give

        def work(session: Session, person: str) -> bool:
            grant = roster.read_grant(f"{fields.get('role', '')}@{fields.get('street', '')}")
            return act(session, acting, person, grant, desk.now_ms())

        return does(page, acting, fields, work)

    @routes.post("/people/do", dependencies=[needs("people.write")])
    def do(page: Showing, acting: Acting, fields: Fields) -> Response:
        act = CHANGES.get(fields.get("change", ""))
        if act is None:
            raise HTTPException(422, f"change: expected one of {', '.join(CHANGES)}")
        return does(page, acting, fields, lambda session, person: act(session, acting, person, desk.now_ms()))

    @routes.post("/people/password", dependencies=[needs("people.write")])
    def give_password(page: Showing, acting: Acting, fields: Fields) -> Response:
        word = passwords.make()
        kept = signing.passwords.hash(word)

        def work(session: Session, person: str) -> None:
            lock(session, ["people"])
            # a form that is sent again, as by F5, makes no second one
            if fields.get("seen") != str(known(session, acting, person).password_ms or 0):
                raise PeopleError(ONCE)
            roster.reset_password(session, acting, person, kept, desk.now_ms())

        done = does(page, acting, fields, work)
        return person_page(page, acting, fields.get("person", ""), word=word) if done.status_code == 303 else done

    @routes.post("/people/tokens/revoke", dependencies=[needs("people.write")])
    def revoke(page: Showing, acting: Acting, fields: Fields) -> Response:
        def work(session: Session, person: str) -> bool:
            row = session.get(TokenRow, fields.get("token", ""))
            if row is None or row.person_id != person:
                raise PeopleError(f"没有这个令牌 / there is no such token of {person}")
            return tokens.revoke(session, acting, row.id, desk.now_ms())

        return does(page, acting, fields, work)

    return routes


def _entries(
    names: Any, values: Mapping[str, Any], faults: Faults, choices: Mapping[str, Choices] | None = None
) -> list[Entry]:
    known = choices or {}
    return [
        Entry(
            name,
            LABELS[name],
            values.get(name, ""),
            "choice" if name in known else "text",
            HINTS.get(name, ""),
            required=name in ("id", "name"),
            choices=known.get(name, ()),
            faults=faults.get(name, ()),
        )
        for name in names
    ]


def _faults(fields: Mapping[str, str], reads: Mapping[str, Callable[[str], str]]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for name, read in reads.items():
        if name in fields:
            try:
                read(fields[name])
            except PeopleError as fault:
                found[name] = [str(fault)]
    return found


def _may_change(session: Session, who: Actor, row: PersonRow) -> bool:
    try:
        roster.check_may_change(session, who, row.id)
    except NotAllowedError:
        return False
    return True


def _row(one: Mapping[str, Any]) -> dict[str, Any]:
    roles = [(grant["role"], grant["street"], grant["by"]) for grant in one["grants"]]
    return {**one, "roles": [(role, words.words(words.OFFICES, role), street) for role, street, _ in roles]}

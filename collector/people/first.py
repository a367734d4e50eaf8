"""The first admin of a center, made by `cityeye-collector init`."""

import sys
from dataclasses import dataclass
from pathlib import Path

import typer

from collector.people import passwords, roster
from collector.people.actor import SYSTEM, Grant, Role
from collector.people.passwords import PasswordError, Passwords
from collector.people.roster import PeopleError
from collector.store import Store


@dataclass(frozen=True)
class Wanted:
    """Who it will be; without a password one is made that is good once."""

    person: str
    name: str
    password: str | None


def ask(store: Store, person: str | None, name: str | None, file: Path | None) -> Wanted | None:
    """Who the first admin will be: as given, else asked for at a terminal, else None. Raises PeopleError."""
    with store.transaction() as session:
        if not roster.is_empty(session):
            if person is None:
                return None
            raise PeopleError(f"--admin {person}: this center has people already; use `people add`")
    asked = person is None and sys.stdin.isatty()
    if person is None and not asked:
        return None
    person = roster.read_id(person or str(typer.prompt("第一位管理员的登录名 sign-in name of the first admin")))
    if asked and name is None:
        name = str(typer.prompt("姓名 name", default=person))
    name = roster.read_name(name or person)
    password = None if file is None else read_password(file)
    if asked and file is None:
        text = "密码（留空则生成一次性密码）password, empty for one that is made"
        password = str(typer.prompt(text, default="", show_default=False, hide_input=True, confirmation_prompt=True))
    if not password:
        return Wanted(person, name, None)
    try:
        passwords.check_new(password, person, name)
    except PasswordError as fault:
        raise PeopleError(f"password of {person}: {fault}") from None
    return Wanted(person, name, password)


def read_password(file: Path) -> str:
    """A password that stands in a file alone; raises PeopleError."""
    try:
        return file.read_text("utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as fault:
        raise PeopleError(f"{file}: expected a file with a password alone, got: {fault}") from None


def make(store: Store, wanted: Wanted, now_ms: int) -> str | None:
    """Make them; returns the password that was made, if one was."""
    made = passwords.make() if wanted.password is None else None
    kept = Passwords().hash(made or wanted.password or "")
    with store.writing() as session:
        roster.add(
            session,
            SYSTEM,
            wanted.person,
            wanted.name,
            [Grant(Role.ADMIN)],
            now_ms=now_ms,
            password=kept,
            once=made is not None,
        )
    return made


def told(wanted: Wanted | None, made: str | None, settings: str) -> str:
    """What `init` says of it."""
    if wanted is None:
        return f"admin           none yet: cityeye-collector people add ID --admin --settings {settings}"
    if made is None:
        return f"admin           {wanted.person}"
    return f"admin           {wanted.person}, password {made} (once, within 3 days)"

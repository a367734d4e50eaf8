"""`cityeye-collector people … | tokens … | audit …`."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.orm import Session

from collector.commandline import EXIT_FAILED, JsonOption, SettingsOption, now_ms, open_center, system
from collector.people import audit, first, passwords, roster, tokens
from collector.people.actor import Grant, Role
from collector.people.passwords import PasswordError, Passwords
from collector.people.roster import PeopleError
from collector.people.vault import KEY_FILE, Vault, VaultError
from collector.settings import CenterConfig
from protocol.instants import from_epoch, rfc3339

people = typer.Typer(no_args_is_help=True, help="Who may sign in, and with which roles at which streets.")
api_tokens = typer.Typer(no_args_is_help=True, help="What programs sign in with.")
audit_log = typer.Typer(no_args_is_help=True, help="Who changed or looked at what.")

PersonArgument = Annotated[str, typer.Argument(help="a person's sign-in name", show_default=False)]
GrantArgument = Annotated[
    str, typer.Argument(help=f"ROLE or ROLE@STREET; roles: {', '.join(Role)}", show_default=False, metavar="ROLE")
]
PhoneOption = Annotated[str | None, typer.Option(help="where they are told of their tasks")]
MailOption = Annotated[str | None, typer.Option(help="the same by e-mail")]


@contextlib.contextmanager
def _writing(settings: Path) -> Iterator[Session]:
    with open_center(settings) as (_, store), store.writing() as session:
        yield session


@people.command()
def add(
    person: PersonArgument,
    settings: SettingsOption,
    *,
    name: Annotated[str | None, typer.Option(help="as it is shown; default: the sign-in name")] = None,
    grant: Annotated[list[str] | None, typer.Option(help="ROLE or ROLE@STREET; several are good")] = None,
    admin: Annotated[bool, typer.Option("--admin", help="the same as --grant admin")] = False,
    password_file: Annotated[Path | None, typer.Option(help="a file with their first password alone")] = None,
    sso: Annotated[str | None, typer.Option(help="they sign in elsewhere, as this subject; no password")] = None,
    program: Annotated[bool, typer.Option("--program", help="no person: has tokens alone, no password")] = False,
    phone: PhoneOption = "",
    mail: MailOption = "",
) -> None:
    """Take up somebody; without a file a password is made and shown this once. It must be changed at the first use."""
    with open_center(settings) as (config, store):
        given = [roster.read_grant(text) for text in grant or ()] + [Grant(Role.ADMIN)] * admin
        without = program or sso is not None
        word = None if without else _first_password(password_file, person, name or person)
        kept = None if word is None else Passwords().hash(word)
        link = None if sso is None else (_issuer(config), sso)
        with store.writing() as session:
            roster.add(
                session,
                system(),
                person,
                name or person,
                given,
                now_ms=now_ms(),
                password=kept,
                once=True,
                sso=link,
                phone=phone or "",
                mail=mail or "",
            )
    shown = f"\tpassword {word} (once, within 3 days)" if word is not None and password_file is None else ""
    typer.echo(f"{person}\t{', '.join(map(str, given)) or 'no roles yet'}{shown}")


@people.command()
def change(
    person: PersonArgument,
    settings: SettingsOption,
    *,
    name: Annotated[str | None, typer.Option(help="as it is shown")] = None,
    unit: Annotated[str | None, typer.Option(help="whose they are: a squad, a firm; empty: the center's")] = None,
    phone: PhoneOption = None,
    mail: MailOption = None,
) -> None:
    """Change how somebody is named, and where they are told of their tasks; an empty address takes it away."""
    with _writing(settings) as session:
        new = roster.change(session, system(), person, now_ms(), name=name, unit=unit, phone=phone, mail=mail)
    typer.echo(f"{person}: {'changed' if new else 'is so already'}")


def _first_password(file: Path | None, *names: str) -> str:
    if file is None:
        return passwords.make()
    word = first.read_password(file)
    try:
        passwords.check_new(word, *names)
    except PasswordError as fault:
        raise PeopleError(f"{file}: {fault}") from None
    return word


def _issuer(config: CenterConfig) -> str:
    if config.settings.sso is None:
        raise PeopleError("expected [sso] in the settings: people sign in elsewhere only where that is set up")
    return config.settings.sso.issuer


@people.command("list")
def list_people(settings: SettingsOption, as_json: JsonOption = False) -> None:
    """Everybody: name, roles, how they sign in."""
    with open_center(settings) as (_, store), store.transaction() as session:
        found = [roster.person_json(session, row) for row in roster.everybody(session)]
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    for one in found:
        roles = ", ".join(f"{grant['role']}@{grant['street']}" for grant in one["grants"]) or "-"
        marks = [word for word, there in _marks(one) if there]
        typer.echo(f"{one['id']}\t{one['name']}\t{roles}\t{', '.join(marks) or '-'}")


def _marks(one: dict[str, object]) -> list[tuple[str, bool]]:
    return [
        ("disabled", one["disabled_ms"] is not None),
        ("first password", bool(one["password_once"])),
        ("second factor", bool(one["second_factor"])),
        ("sso", bool(one["sso"])),
        ("phone", bool(one["phone"])),
        ("mail", bool(one["mail"])),
    ]


@people.command()
def grant(person: PersonArgument, role: GrantArgument, settings: SettingsOption) -> None:
    """Give a role."""
    with _writing(settings) as session:
        new = roster.give(session, system(), person, roster.read_grant(role), now_ms())
    typer.echo(f"{person}: {'has' if new else 'had already'} {role}")


@people.command()
def revoke(person: PersonArgument, role: GrantArgument, settings: SettingsOption) -> None:
    """Take a role."""
    with _writing(settings) as session:
        had = roster.take(session, system(), person, roster.read_grant(role), now_ms())
    typer.echo(f"{person}: {'has no longer' if had else 'did not have'} {role}")


@people.command()
def disable(person: PersonArgument, settings: SettingsOption) -> None:
    """Let somebody in no more; their sessions and tokens end now."""
    with _writing(settings) as session:
        roster.disable(session, system(), person, now_ms())
    typer.echo(f"{person}: disabled")


@people.command()
def enable(person: PersonArgument, settings: SettingsOption) -> None:
    """Let somebody in again."""
    with _writing(settings) as session:
        roster.enable(session, system(), person, now_ms())
    typer.echo(f"{person}: enabled")


@people.command()
def password(
    person: PersonArgument,
    settings: SettingsOption,
    password_file: Annotated[Path | None, typer.Option(help="a file with the new password alone")] = None,
) -> None:
    """Give somebody a new password, good once; their sessions and tokens end, their failures are forgotten."""
    with open_center(settings) as (_, store):
        word = _first_password(password_file, person)
        kept = Passwords().hash(word)
        with store.writing() as session:
            roster.reset_password(session, system(), person, kept, now_ms())
    typer.echo(f"{person}: password {'as in the file' if password_file else word} (once, within 3 days)")


@people.command("totp-reset")
def totp_reset(person: PersonArgument, settings: SettingsOption) -> None:
    """Take the second factor of somebody away who has lost it."""
    with _writing(settings) as session:
        had = roster.reset_totp(session, system(), person, now_ms())
    typer.echo(f"{person}: {'has no second factor any more' if had else 'had no second factor'}")


@people.command()
def rekey(settings: SettingsOption) -> None:
    """Seal all second factors with a new key; copies of the database from before need the old file."""
    with open_center(settings) as (config, store):
        vault = Vault(config.data_dir / KEY_FILE)
        try:
            with store.transaction() as session:
                vault.check(session)  # with a key that is lost there is nothing to begin with
            vault.add_key()
            with store.writing() as session:
                count = vault.rotate(session)
                audit.record(session, system(), "people.rekey", "store/center", {"sealed": count}, now_ms())
            vault.drop_old_keys()
        except VaultError as fault:
            raise PeopleError(str(fault)) from None
    typer.echo(f"{count} second factors are sealed with a new key: {config.data_dir / KEY_FILE}")


@people.command()
def unlock(person: PersonArgument, settings: SettingsOption) -> None:
    """Forget that somebody failed to sign in."""
    with _writing(settings) as session:
        roster.unlock(session, system(), person, now_ms())
    typer.echo(f"{person}: may try again")


@people.command()
def link(
    person: PersonArgument,
    subject: Annotated[str, typer.Argument(help="`sub` of the other server", show_default=False)],
    settings: SettingsOption,
) -> None:
    """Let somebody who is known here sign in at the server of [sso]."""
    with open_center(settings) as (config, store), store.writing() as session:
        roster.link_sso(session, system(), person, _issuer(config), subject, now_ms())
    typer.echo(f"{person}: signs in elsewhere as {subject}")


@api_tokens.command("add")
def add_token(
    person: PersonArgument,
    name: Annotated[str, typer.Argument(help="what it is for", show_default=False)],
    settings: SettingsOption,
    *,
    grant: Annotated[list[str] | None, typer.Option(help="ROLE or ROLE@STREET; several are good")] = None,
    all_roles: Annotated[bool, typer.Option("--all-roles", help="all that they have now, in place of --grant")] = False,
    days: Annotated[float, typer.Option(min=0.01, max=tokens.LONGEST_DAYS, help="that it is good for")] = 90,
) -> None:
    """Make a token of somebody; it is shown this once."""
    with _writing(settings) as session:
        if all_roles == bool(grant):
            raise PeopleError("expected --grant ROLE, or --all-roles; a token has no role by itself")
        given = roster.grants(session, person) if all_roles else [roster.read_grant(text) for text in grant or ()]
        made = tokens.make(session, system(), person, name, given, days, now_ms())
        waits = bool(roster.find(session, person).password_once)
    typer.echo(made.text)
    if waits:
        typer.echo(f"{person} has a first password: the token works once they have chosen their own", err=True)


@api_tokens.command("list")
def list_tokens(settings: SettingsOption, as_json: JsonOption = False) -> None:
    """All tokens, newest first."""
    with open_center(settings) as (_, store), store.transaction() as session:
        rows = tokens.listed(session)
    if as_json:
        typer.echo(json.dumps([tokens.token_json(row) for row in rows], ensure_ascii=False))
        return
    for row in rows:
        grants = ", ".join(sorted(map(str, tokens.grants_of(row))))
        state = "revoked" if row.revoked_ms is not None else f"until {_iso(row.expires_ms)}"
        used = "never used" if row.used_ms is None else f"used {_iso(row.used_ms)}"
        typer.echo(f"{row.id}\t{row.person_id}\t{row.name}\t{grants}\t{state}\t{used}")


@api_tokens.command("revoke")
def revoke_token(
    token: Annotated[str, typer.Argument(help="its id, as `list` shows it", show_default=False)],
    settings: SettingsOption,
) -> None:
    """End a token."""
    with _writing(settings) as session:
        new = tokens.revoke(session, system(), token, now_ms())
    typer.echo(f"{token}: {'revoked' if new else 'was revoked already'}")


@audit_log.command()
def verify(
    settings: SettingsOption,
    noted: Annotated[str | None, typer.Option(help="NUMBER:HASH that `audit head` printed before")] = None,
) -> None:
    """Check the whole chain, and that a head which was noted is still in it; exits with 1 where it breaks."""
    with open_center(settings) as (_, store):
        try:
            head = None if noted is None else audit.read_head(noted)
        except ValueError as fault:
            raise PeopleError(f"--noted: {fault}") from None
        with store.transaction() as session:
            found = audit.verify(session, head)
    if found.fault is not None:
        typer.echo(f"FAIL  {found.fault}; {found.lines} lines before are good")
        raise typer.Exit(EXIT_FAILED)
    typer.echo(f"ok    {found.lines} lines, head {found.head}")


@audit_log.command("head")
def show_head(settings: SettingsOption) -> None:
    """Print NUMBER:HASH of the newest line, to be noted where nobody of this center can change it."""
    with open_center(settings) as (_, store), store.transaction() as session:
        typer.echo(str(audit.head(session)))


@audit_log.command()
def show(
    settings: SettingsOption,
    *,
    last: Annotated[int, typer.Option(min=1, max=100_000, help="so many lines")] = 50,
    of: Annotated[str | None, typer.Option(help="of one thing, such as person/wang or ticket/7")] = None,
    by: Annotated[str | None, typer.Option(help="of one author, such as person:wang")] = None,
    as_json: JsonOption = False,
) -> None:
    """Print lines, the newest last."""
    with open_center(settings) as (_, store), store.transaction() as session:
        lines = [audit.line_json(row) for row in audit.show(session, limit=last, of=of, actor=by)][::-1]
    for line in lines:
        if as_json:
            typer.echo(json.dumps(line, ensure_ascii=False))
            continue
        detail = json.dumps(line["detail"], ensure_ascii=False)
        typer.echo(
            f"{line['number']}\t{_iso(line['at_ms'])}\t{line['actor']}\t{line['action']}\t{line['object']}\t{detail}"
        )


def _iso(at_ms: int) -> str:
    return rfc3339(from_epoch(at_ms / 1000))

"""`cityeye-collector policies …`: what the streets want, shown, checked and changed."""

import json
import time
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from sqlalchemy import select
from sqlalchemy.orm import Session

from collector.commandline import JsonOption, SettingsOption, one_line, open_center, who
from collector.people.actor import Actor
from collector.store import Box, GrantRow
from collector.tickets import policy
from collector.tickets.policy import DEFAULT, Policy, PolicyError
from protocol.documents import read_toml
from protocol.instants import from_epoch, rfc3339

policies = typer.Typer(no_args_is_help=True, help="What each street wants: who confirms, minutes, hours, escalation.")
StreetOption = Annotated[str, typer.Option("--street", help="a site; * is for all that have no policy of their own")]
FileArgument = Annotated[Path, typer.Argument(help="TOML or JSON", show_default=False)]
SHOWN: Final = 20


def read_file(path: Path) -> Policy:
    """Read a policy from a file; raises PolicyError or SettingsError."""
    if path.suffix == ".json":
        try:
            values: Any = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as fault:
            raise PolicyError(f"{path}: expected JSON in UTF-8, got: {fault}") from None
        if not isinstance(values, dict):
            raise PolicyError(f"{path}: expected an object, got {type(values).__name__}")
    else:
        values = read_toml(path)
    return policy.read_policy(values, str(path))


def _warn(one: Policy) -> None:
    for line in policy.warnings(one, datetime.now(one.zone).date()):
        typer.echo(f"note  {line}", err=True)


def _known(session: Session) -> set[str]:
    """Streets that a box or somebody's role names."""
    return {DEFAULT, *session.scalars(select(Box.site)), *session.scalars(select(GrantRow.street))}


@policies.command()
def show(
    settings: SettingsOption,
    street: StreetOption = DEFAULT,
    *,
    history: Annotated[bool, typer.Option(help="list the revisions instead")] = False,
    as_json: JsonOption = False,
) -> None:
    """Print the policy that a street has now, as JSON, or its revisions."""
    with open_center(settings) as (_, store), store.transaction() as session:
        if history:
            rows = policy.history(session, street)[:SHOWN]
            lines = [
                {
                    "revision": row.revision,
                    "at": rfc3339(from_epoch(row.made_ms / 1000)),
                    "author": row.author,
                    "reason": row.reason,
                }
                for row in rows
            ]
            for line in lines:
                typer.echo(json.dumps(line, ensure_ascii=False) if as_json else "  ".join(map(str, line.values())))
            return
        found = policy.current(session, street)
    typer.echo(found.policy.model_dump_json(indent=None if as_json else 2))
    if found.number is None:
        typer.echo("note  it is the built-in one: nothing was set", err=True)
    _warn(found.policy)


@policies.command("set")
def set_policy(
    file: FileArgument,
    settings: SettingsOption,
    street: StreetOption = DEFAULT,
    reason: Annotated[str, typer.Option(help="why; stands in the record")] = "",
) -> None:
    """Make a file a street's newest policy; steps that have begun keep the deadlines that they have."""
    with one_line():
        one = read_file(file)
    with open_center(settings) as (_, store), store.writing() as session:
        before = policy.current(session, street).policy
        row = policy.put(session, street, one, Actor("system", who()), round(time.time() * 1000), reason)
        revision, known = row.revision, _known(session)
    for name, (old, new) in policy.differs(before, one).items():
        typer.echo(f"{name}: {json.dumps(old, ensure_ascii=False)} -> {json.dumps(new, ensure_ascii=False)}")
    typer.echo(f"street {street}: revision {revision}")
    if street not in known:
        there_are = f"there are {', '.join(sorted(known - {DEFAULT}))}" if known - {DEFAULT} else "there are none yet"
        typer.echo(f"note  no box and nobody's role names street {street}; {there_are}", err=True)
    _warn(one)


@policies.command()
def check(file: FileArgument) -> None:
    """Say whether a file is a policy, and what in it may not be meant."""
    with one_line():
        one = read_file(file)
    typer.echo(f"ok    {file}")
    _warn(one)

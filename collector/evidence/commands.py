"""`cityeye-collector evidence …`: packages, verifying, retention, legal holds, release for training."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from sqlalchemy.orm import Session

from collector.commandline import EXIT_FAILED, SettingsOption, now_ms, open_center, open_pictures, system
from collector.evidence import package as packages
from collector.evidence import retention, store_check
from collector.evidence.looks import read_reason
from collector.evidence.report import Press
from collector.evidence.signing import open_key
from collector.learning import acceptance
from collector.papers.typefaces import typeface
from collector.people import audit
from collector.people.roster import PeopleError
from collector.settings import CenterConfig
from collector.store import Store, Ticket
from collector.store.backup import BackupError
from collector.tickets.desk import RefusedError
from protocol.seal import public_key_text

evidence_commands = typer.Typer(no_args_is_help=True, help="Proof: packages, verifying, keeping and deleting pictures.")
TicketArgument = Annotated[int, typer.Argument(help="its number", show_default=False)]
ReasonOption = Annotated[str, typer.Option(help="why; stands in the record", show_default=False)]
MOST_SHOWN = 50
"""Faults; the rest is counted."""


def _store(settings: Path) -> contextlib.AbstractContextManager[tuple[CenterConfig, Store]]:
    return open_center(settings, OSError, BackupError, retention.HoldError, ValueError)


def _press(config: CenterConfig) -> Press:
    """What this center makes packages with."""
    center = config.settings.center
    return Press(center.name, ZoneInfo(center.timezone), typeface(config.typeface), config.data_dir)


def _ticket(session: Session, number: int) -> Ticket:
    found = session.get(Ticket, number)
    if found is None:
        raise PeopleError(f"ticket {number}: expected one of this center, there is none")
    return found


@evidence_commands.command()
def package(
    ticket: TicketArgument,
    settings: SettingsOption,
    reason: ReasonOption,
    out: Annotated[Path, typer.Option("-o", "--out", help="a new file", show_default=False)],
) -> None:
    """Write a signed ZIP with all that proves a ticket: originals, messages, time line, who looked, and a PDF."""
    with _store(settings) as (config, store):
        if out.exists():
            raise PeopleError(f"{out}: expected a file that is not there yet")
        files, why = open_pictures(config), read_reason(reason)
        press = _press(config)
        with store.writing() as session:
            bundle = press.gather(session, system(), _ticket(session, ticket), why, now_ms())
        found = press.package(bundle, files)
        out.write_bytes(found)
    typer.echo(f"{out}: {len(found)} bytes, ticket {ticket}")


@evidence_commands.command()
def verify(
    file: Annotated[Path | None, typer.Argument(help="a package; without: the whole store", show_default=False)] = None,
    settings: Annotated[Path | None, typer.Option("--settings", help="center.toml, for the store")] = None,
    key: Annotated[str | None, typer.Option(help="the center's public key, as `evidence key` prints it")] = None,
    noted: Annotated[str | None, typer.Option(help="NUMBER:HASH that `audit head` printed before")] = None,
) -> None:
    """Check a package, offline, or every picture, row and log of the store; names what is wrong and exits with 1."""
    if file is not None:
        try:
            faults, manifest = packages.check(file.read_bytes(), key)
        except OSError as fault:
            typer.echo(f"cityeye-collector: {file}: expected a package, got: {fault.strerror}", err=True)
            raise typer.Exit(2) from None
        by = f"ticket {manifest.get('ticket')} of {manifest.get('center')}, signed by {manifest.get('public_key')}"
        said = f"{by}; {'the key that you named' if key else 'compare that key with the one of the center'}"
        _tell(iter(faults), said)
        return
    if settings is None:
        typer.echo("cityeye-collector: expected a package, or --settings for the store", err=True)
        raise typer.Exit(2)
    with _store(settings) as (config, store), store.reading() as session:
        head = None if noted is None else audit.read_head(noted)
        good = f"{store_check.COVERED}; audit log at {audit.head(session)}\n      not compared: {store_check.OPEN}"
        _tell(store_check.check(session, open_pictures(config), head), good)


@evidence_commands.command()
def key(settings: SettingsOption) -> None:
    """Print the center's public key, to be given to whoever verifies packages."""
    with _store(settings) as (config, _):
        typer.echo(public_key_text(open_key(config.data_dir)))


@evidence_commands.command()
def hold(ticket: TicketArgument, settings: SettingsOption, reason: ReasonOption) -> None:
    """Hold a ticket's pictures for the law: nothing of it is deleted until `release`."""
    with _store(settings) as (_, store), store.writing() as session:
        retention.hold(session, system(), ticket, reason, now_ms(), on=True)
    typer.echo(f"ticket {ticket}: held")


@evidence_commands.command()
def release(ticket: TicketArgument, settings: SettingsOption, reason: ReasonOption) -> None:
    """Lift a legal hold."""
    with _store(settings) as (_, store), store.writing() as session:
        retention.hold(session, system(), ticket, reason, now_ms(), on=False)
    typer.echo(f"ticket {ticket}: no longer held")


@evidence_commands.command()
def training(
    ticket: TicketArgument,
    settings: SettingsOption,
    reason: ReasonOption,
    *,
    back: Annotated[bool, typer.Option("--back", help="take it back")] = False,
) -> None:
    """Release a false alarm's masked pictures for training: they are kept for it beyond their days."""
    with _store(settings) as (_, store), store.writing() as session:
        _ticket(session, ticket)
        try:
            change = acceptance.take_back if back else acceptance.release
            count = change(session, system(), [ticket], reason, now_ms())
        except RefusedError as fault:
            raise PeopleError(str(fault)) from None
    typer.echo(f"ticket {ticket}: {count} pictures")


@evidence_commands.command()
def retain(
    settings: SettingsOption, *, dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what")] = False
) -> None:
    """Delete pictures that have served their purpose, here and in copies; the running collector does it once a day."""
    with _store(settings) as (config, store):
        periods, at_ms = config.settings.evidence, now_ms()
        if dry_run:
            with store.transaction() as session:
                for one in retention.plan(session, periods, at_ms):
                    of = "no ticket" if one.ticket is None else f"ticket {one.ticket}"
                    typer.echo(f"{of}\t{len(one.pictures)} pictures\t{one.why}")
            return
        count = retention.retain(store, open_pictures(config), periods, at_ms, config.folder)
    typer.echo(f"{count} pictures deleted")


def _tell(faults: Iterator[str], good: str) -> None:
    count = 0
    for count, fault in enumerate(faults, 1):
        if count <= MOST_SHOWN:
            typer.echo(f"FAIL  {fault}")
    if count:
        typer.echo(f"{count} faults")
        raise typer.Exit(EXIT_FAILED)
    typer.echo(f"ok    {good}")

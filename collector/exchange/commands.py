"""`cityeye-collector webhooks …` and `export …`: what goes to other systems."""

import json
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from sqlalchemy import select

from collector.commandline import SettingsOption, now_ms, open_center, system
from collector.exchange import municipal, webhooks
from collector.exchange.webhooks import WebhookError
from collector.people.audit import record
from collector.people.vault import KEY_FILE, Vault, VaultError
from collector.places.codes import load_codes
from collector.store import Store, WebhookRow
from protocol.documents import SettingsError

hooks = typer.Typer(no_args_is_help=True, help="Programs elsewhere that are told of tickets.")
exports = typer.Typer(no_args_is_help=True, help="Files for other systems.")
IdArgument = Annotated[str, typer.Argument(help="of `webhooks list`", show_default=False)]


@exports.callback()
def _exports() -> None:
    """Files for other systems."""


@hooks.command()
def add(
    url: Annotated[str, typer.Argument(help="https://HOST/PATH", show_default=False)],
    settings: SettingsOption,
    *,
    kind: Annotated[list[str] | None, typer.Option("--kind", help="of events; default: all changes")] = None,
    street: Annotated[str, typer.Option(help="only of this street")] = "",
) -> None:
    """Subscribe a receiver; prints its secret, once."""
    with open_center(settings, WebhookError, VaultError) as (config, store), store.writing() as session:
        vault = Vault(config.data_dir / KEY_FILE)
        made = webhooks.add(session, system(), vault, url, kind or [], street, now_ms())
    typer.echo(f"{made.id}\nsecret: {made.secret}")


@hooks.command("list")
def show(settings: SettingsOption) -> None:
    """Print all subscriptions, one JSON object a line."""
    with open_center(settings, WebhookError, VaultError) as (_, store), store.transaction() as session:
        for row in session.scalars(select(WebhookRow).order_by(WebhookRow.created_ms)):
            typer.echo(json.dumps(webhooks.as_json(row, *webhooks.backlog(session, row.id)), ensure_ascii=False))


@hooks.command()
def remove(webhook: IdArgument, settings: SettingsOption) -> None:
    """End a subscription, with what waits for it."""
    with open_center(settings, WebhookError, VaultError) as (_, store), store.writing() as session:
        webhooks.remove(session, system(), webhook, now_ms())


@hooks.command()
def replay(
    webhook: IdArgument,
    settings: SettingsOption,
    *,
    since: Annotated[str, typer.Option("--from", help="RFC 3339 instant of the last 30 days")] = "",
    message: Annotated[str, typer.Option(help="one message by its webhook-id")] = "",
) -> None:
    """Send again what happened."""
    with open_center(settings, WebhookError, VaultError) as (config, store):
        try:
            at = datetime.fromisoformat(since) if since else None
        except ValueError:
            raise SettingsError(f"--from: expected an instant such as 2026-03-02T10:00+08:00, got {since!r}") from None
        if at is not None and at.tzinfo is None:
            at = at.replace(tzinfo=ZoneInfo(config.settings.center.timezone))
        from_ms = None if at is None else round(at.timestamp() * 1000)
        with store.writing() as session:
            count = webhooks.replay(session, system(), webhook, now_ms(), from_ms=from_ms, message=message)
    typer.echo(f"{count} to be sent again")


@exports.command("municipal")
def export_municipal(
    settings: SettingsOption,
    out: Annotated[Path, typer.Option("-o", "--out", help="NAME.csv, NAME.xlsx or NAME.json")],
    *,
    first: Annotated[datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="day")] = None,
    last: Annotated[datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="day, included")] = None,
    street: Annotated[str, typer.Option(help="only of this street")] = "",
    everything: Annotated[bool, typer.Option("--all", help="what was never registered, too")] = False,
) -> None:
    """Write cases in the field names of the municipal platform (`config/codes/municipal.toml`)."""
    with open_center(settings, WebhookError, VaultError) as (config, store):
        center, suffix = config.settings.center, out.suffix.lower().removeprefix(".")
        if suffix not in municipal.SUFFIXES:
            raise SettingsError(f"{out}: expected NAME.csv, NAME.xlsx or NAME.json")
        zone = ZoneInfo(center.timezone)
        end = last.date() if last is not None else datetime.now(zone).date()
        begin = first.date() if first is not None else end - timedelta(days=30)
        content, count = _cases(store, center.region, zone, begin, end, suffix, street, everything=everything)
        try:
            out.write_bytes(content)
        except OSError as fault:
            raise SettingsError(f"{out}: expected a file that can be written, got: {fault.strerror}") from None
    typer.echo(f"{out}: {count}")


def _cases(
    store: Store, region: str, zone: ZoneInfo, begin: date, end: date, suffix: str, street: str, *, everything: bool
) -> tuple[bytes, int]:
    table, codes = municipal.load_municipal(), load_codes()
    only = frozenset({street}) if street else None
    with store.transaction() as session:
        rows = list(municipal.cases(session, begin, end, table, codes, region, zone, only, everything=everything))
    with store.writing() as session:
        detail = {"rows": len(rows), "from": begin.isoformat(), "to": end.isoformat()}
        record(session, system(), "cases.exported", "ticket/*", detail, now_ms())
    return municipal.written(rows, table, suffix), len(rows)

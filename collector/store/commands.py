"""`cityeye-collector backup | restore`."""

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer
from sqlalchemy import URL

from collector.commandline import EXIT_UNUSABLE, SettingsOption, now_ms, open_pictures, system
from collector.people import audit
from collector.settings import load_settings
from collector.store.backup import BackupError, back_up
from collector.store.backup import restore as put_back
from collector.store.engine import StoreError, alone, open_store
from protocol.documents import SettingsError
from protocol.instants import from_epoch, rfc3339

RESTORED: Final = "restored.json"


@contextlib.contextmanager
def _one_line() -> Iterator[None]:
    try:
        yield
    except (SettingsError, StoreError, BackupError) as fault:
        typer.echo(f"cityeye-collector: {fault}", err=True)
        raise typer.Exit(EXIT_UNUSABLE) from None


def _record(url: URL, action: str, detail: dict[str, object]) -> None:
    """A copy gives everything away, and one that is put back takes lines of the audit log away: both are on record."""
    store = open_store(url)
    with store.writing() as session:
        audit.record(session, system(), action, "store/center", detail, now_ms())
    store.close()


def backup(folder: Annotated[Path, typer.Argument(help="a new folder")], settings: SettingsOption) -> None:
    """Copy database and pictures into a new folder, while the collector runs."""
    with _one_line():
        config = load_settings(settings)
        began_at = rfc3339(from_epoch(time.time()))
        manifest = back_up(config.database_url, open_pictures(config), folder, began_at)
        _record(config.database_url, "store.backup", {"folder": str(folder), "pictures": len(manifest.pictures)})
    typer.echo(f"{folder}: {manifest.database} as of {manifest.made_at}, {len(manifest.pictures)} pictures")


def restore(
    folder: Annotated[Path, typer.Argument(help="made by backup")],
    settings: SettingsOption,
    over: Annotated[bool, typer.Option("--over", help="replace a database that holds something")] = False,
    lose_holds: Annotated[
        bool, typer.Option("--lose-holds", help="although legal holds set since cannot be handed on")
    ] = False,
) -> None:
    """Verify a copy and put it back; the collector must be stopped."""
    with _one_line():
        config = load_settings(settings)
        url = config.database_url
        config.data_dir.mkdir(parents=True, exist_ok=True)
        with alone(config.data_dir) if url.get_backend_name() == "sqlite" else contextlib.nullcontext():
            manifest, told = put_back(folder, url, open_pictures(config), over=over, lose_holds=lose_holds)
            _record(url, "store.restore", {"folder": str(folder), "made_at": manifest.made_at, **told})
        # boxes keep for 7 days what was acknowledged
        note = {"restored_at": rfc3339(from_epoch(time.time())), "made_at": manifest.made_at}
        (config.data_dir / RESTORED).write_text(json.dumps(note) + "\n", "utf-8")
    typer.echo(f"{folder}: restored as of {manifest.made_at}, {len(manifest.pictures)} pictures")
    for name, numbers in told.items():
        if numbers:
            typer.echo(f"{name.replace('_', ' ')}: tickets {', '.join(map(str, numbers))}")
    typer.echo(
        f"now start the collector and have the boxes send again what came since: resend since={manifest.made_at}"
    )

"""The command line of the center: `cityeye-collector serve | check`."""

import contextlib
import logging
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
import uvicorn

from collector import VERSION
from collector.evidence.files import PictureFiles
from collector.inbox.session import InboxSession
from collector.inbox.writer import Writer
from collector.settings import CenterConfig, load_settings
from collector.simulation.commands import simulate
from collector.store import Store, StoreError, open_store
from collector.web.app import Health, make_app
from collector.web.live import Changes
from protocol.broker import BrokerError, probe
from protocol.documents import SettingsError

EXIT_FAILED = 1
EXIT_UNUSABLE = 2

log = logging.getLogger(__name__)
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
SettingsOption = Annotated[Path, typer.Option("--settings", help="center.toml", show_default=False)]


class ListenError(Exception):
    """The port cannot be had."""


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"cityeye-collector {VERSION}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which version it is.")
    ] = False,
) -> None:
    """CityEye at the street center."""


@contextlib.contextmanager
def _one_line() -> Iterator[None]:
    try:
        yield
    except (SettingsError, StoreError, BrokerError, ListenError) as fault:
        typer.echo(f"cityeye-collector: {fault}", err=True)
        raise typer.Exit(EXIT_UNUSABLE) from None


def _listen(config: CenterConfig) -> socket.socket:
    host, port = config.listen
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as fault:
        raise ListenError(
            f"{host}:{port}: expected a free port, got: {fault.strerror}; "
            "stop what listens there, or set another [center] listen"
        ) from None


def _open_data(config: CenterConfig) -> Store:
    try:
        config.data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise StoreError(
            f"{config.data_dir}: expected a folder that can be written, got: {fault.strerror}; check [center] data_dir"
        ) from None
    return open_store(config.database_url)


class _Server(uvicorn.Server):
    """Ends quietly and with status 0; uvicorn's own handlers end the process by the signal once more."""

    def capture_signals(self) -> contextlib.AbstractContextManager[None]:  # type: ignore[override]  # it is a generator there
        return contextlib.nullcontext()


@app.command()
def serve(settings: SettingsOption) -> None:
    """Read the broker, keep tickets, and show pages, until stopped."""
    with _one_line():
        config = load_settings(settings)
        logging.basicConfig(
            level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", force=True
        )
        logging.getLogger("alembic").setLevel(logging.WARNING)
        with _listen(config) as listening:
            store = _open_data(config)
            _serve(config, store, listening)


def _serve(config: CenterConfig, store: Store, listening: socket.socket) -> None:
    center = config.settings.center
    changes = Changes()
    files = PictureFiles(config.data_dir / "evidence")
    writer = Writer(store, files, changes.tell)
    session = InboxSession(config.settings.broker, config.folder, center.id, writer.put)
    ending = threading.Event()
    health = Health(lambda: session.connected, lambda: writer.alive)
    pages = make_app(center, store, files, changes, health, ending.is_set)
    settings = uvicorn.Config(
        pages, log_config=None, access_log=False, lifespan="off", server_header=False, timeout_graceful_shutdown=2
    )
    server = _Server(settings)

    def end(_signal: int, _frame: FrameType | None) -> None:
        # the live feeds first: the server waits for them
        ending.set()
        server.should_exit = True

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    writer.start(session.answer)
    session.start()
    host, port = config.listen
    log.info("center %s: pages at http://%s:%d/", center.id, f"[{host}]" if ":" in host else host, port)
    try:
        server.run(sockets=[listening])
    finally:
        session.stop()
        writer.stop()
        store.close()
        log.info("stopped")


@app.command()
def check(settings: SettingsOption) -> None:
    """Validate the settings, open the database, try the broker and the port: one line each."""
    with _one_line():
        config = load_settings(settings)
    typer.echo(f"ok    settings {settings}: center {config.settings.center.id}")
    good = True
    for name, part in (("database", _check_database), ("broker", _check_broker), ("pages", _check_listen)):
        try:
            typer.echo(f"ok    {name}: {part(config)}")
        except (StoreError, BrokerError, ListenError) as fault:
            typer.echo(f"FAIL  {name}: {fault}")
            good = False
    if not good:
        raise typer.Exit(EXIT_FAILED)


def _check_database(config: CenterConfig) -> str:
    store = _open_data(config)
    url = str(store.engine.url)
    store.close()
    return url


def _check_broker(config: CenterConfig) -> str:
    return probe(config.settings.broker, config.folder, f"cityeye-center-{config.settings.center.id}-check")


def _check_listen(config: CenterConfig) -> str:
    with _listen(config):
        return f"{config.settings.center.listen} is free"


app.command()(simulate)


def main() -> None:
    """Entry point."""
    app()

"""The command line of the center: `cityeye-collector serve | check | command | settings`."""

import contextlib
import logging
import signal
import socket
import sys
import threading
from types import FrameType
from typing import Annotated

import typer
import uvicorn

from collector import VERSION
from collector.boxes.desk_commands import command, settings_commands
from collector.boxes.dispatch import Dispatch
from collector.commandline import EXIT_FAILED, ListenError, SettingsOption, one_line, open_data
from collector.evidence.files import PictureFiles
from collector.inbox.session import InboxSession
from collector.inbox.writer import Writer
from collector.settings import CenterConfig, load_settings
from collector.store import Store, StoreError
from collector.web.app import Health, make_app
from collector.web.live import Changes
from protocol.broker import BrokerError, probe

log = logging.getLogger(__name__)
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command()(command)
app.add_typer(settings_commands, name="settings")


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


def _listen(config: CenterConfig) -> socket.socket:
    host, port = config.listen
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as fault:
        raise ListenError(
            f"{host}:{port}: expected a free port, got: {fault.strerror}; "
            "stop what listens there, or set another [center] listen"
        ) from None


class _Server(uvicorn.Server):
    """Ends quietly and with status 0; uvicorn's own handlers end the process by the signal once more."""

    def capture_signals(self) -> contextlib.AbstractContextManager[None]:  # type: ignore[override]  # it is a generator there
        return contextlib.nullcontext()


@app.command()
def serve(settings: SettingsOption) -> None:
    """Read the broker, keep tickets, and show pages, until stopped."""
    with one_line():
        config = load_settings(settings)
        logging.basicConfig(
            level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", force=True
        )
        logging.getLogger("alembic").setLevel(logging.WARNING)
        with _listen(config) as listening:
            store = open_data(config)
            _serve(config, store, listening)


def _serve(config: CenterConfig, store: Store, listening: socket.socket) -> None:
    center = config.settings.center
    changes = Changes()
    files = PictureFiles(config.data_dir / "evidence")
    writer = Writer(store, files, changes.tell)
    session = InboxSession(config.settings.broker, config.folder, center.id, writer.put)
    dispatch = Dispatch(store, center.id, session.publish)
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
    dispatch.start()
    host, port = config.listen
    log.info("center %s: pages at http://%s:%d/", center.id, f"[{host}]" if ":" in host else host, port)
    try:
        server.run(sockets=[listening])
    finally:
        dispatch.stop()
        session.stop()
        writer.stop()
        store.close()
        log.info("stopped")


@app.command()
def check(settings: SettingsOption) -> None:
    """Validate the settings, open the database, try the broker and the port: one line each."""
    with one_line():
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
    store = open_data(config)
    url = str(store.engine.url)
    store.close()
    return url


def _check_broker(config: CenterConfig) -> str:
    return probe(config.settings.broker, config.folder, f"cityeye-center-{config.settings.center.id}-check")


def _check_listen(config: CenterConfig) -> str:
    with _listen(config):
        return f"{config.settings.center.listen} is free"


def main() -> None:
    """Entry point."""
    app()

"""What runs the center: `cityeye-collector serve` and `check`; `start` has the whole command line."""

import contextlib
import logging
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import typer
from prometheus_client import CollectorRegistry

from collector.boxes.authority import AuthorityError
from collector.boxes.commands import certificates, open_counter, open_door
from collector.boxes.dispatch import Dispatch
from collector.boxes.register import shared_group
from collector.commandline import EXIT_FAILED, ListenError, SettingsOption, one_line, open_data, open_pictures
from collector.evidence.files import PictureFiles
from collector.evidence.retention import Keeper, plan, retain
from collector.exchange.courier import Courier
from collector.exchange.onvif import Publisher
from collector.exchange.proposals import forget as forget_proposals
from collector.figures import Figures
from collector.inbox.meter import Meter
from collector.inbox.session import InboxSession
from collector.inbox.writer import Writer
from collector.indicators.clerk import Clerk
from collector.notices.secrets import SecretError
from collector.notices.service import Notices, open_notices, tools_of
from collector.office import make_office
from collector.papers.typefaces import typeface
from collector.people import audit
from collector.people.actor import SYSTEM
from collector.people.vault import KEY_FILE, Vault
from collector.places.codes import load_codes
from collector.settings import CenterConfig, load_settings
from collector.store import Store, StoreError, alone
from collector.tickets import policy
from collector.tickets.timekeeper import Timekeeper, Watch
from collector.web import serving
from collector.web.app import Health, make_app
from collector.web.live import Changes
from collector.web.rights import Gate
from protocol.broker import BrokerError, probe
from protocol.documents import SettingsError

if TYPE_CHECKING:
    from collector.store.relay import Relay

log = logging.getLogger(__name__)


def _listen(config: CenterConfig) -> socket.socket:
    host, port = config.listen
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as fault:
        raise ListenError(
            f"{host}:{port}: expected a free port, got: {fault.strerror}; "
            "stop what listens there, or set another [center] listen"
        ) from None


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
            serving.check_people(config, store)
            _open_vault(config, store)
            with contextlib.nullcontext() if store.shared else alone(config.data_dir):
                _serve(config, store, listening)


def _open_vault(config: CenterConfig, store: Store) -> None:
    """Without the key tickets go on all the same: only who has a second factor cannot sign in by it."""
    try:
        serving.check_vault(config, store)
    except SettingsError as fault:
        log.error("%s", fault)  # noqa: TRY400 - it says what to do, a trace says nothing more


def _relay(config: CenterConfig, store: Store, changes: Changes) -> "Relay | None":
    if not store.shared:
        return None
    from collector.store.relay import Relay  # noqa: PLC0415 - its library comes with the extra `postgres` only

    return Relay(config.database_url, changes.tell)


def _timekeeper(
    config: CenterConfig, store: Store, files: PictureFiles, changed: Callable[[], None], writer: Writer, watch: Watch
) -> Timekeeper:
    center = config.settings.center
    with store.writing() as database:
        policy.begin(database, SYSTEM, center.region, center.timezone, round(time.time() * 1000))
    return Timekeeper(store, make_office(), files, changed, watch, lambda: writer.pressed)


def _serve(config: CenterConfig, store: Store, listening: socket.socket) -> None:
    center = config.settings.center
    changes = Changes()
    files = open_pictures(config)
    files.sweep(time.time())
    registry = CollectorRegistry()
    relay = _relay(config, store, changes)

    def changed() -> None:
        changes.tell()
        if relay is not None:
            relay.tell()

    writer = Writer(store, files, changed, late_after_s=center.late_after_s, meter=Meter(registry))
    with store.transaction() as database:
        group = shared_group(database) if config.settings.broker.shared else None
    session = InboxSession(config.settings.broker, config.folder, config.client_id, writer.put, group)
    dispatch = Dispatch(store, center.id, session.publish)
    watch = Watch()
    timekeeper = _timekeeper(config, store, files, changed, writer, watch)
    registry.register(
        Figures(store, lambda: (session.connected, writer.waiting, writer.lag_s), tally=lambda: timekeeper.tally)
    )
    notices = _notices(config, store, files, changed, watch)
    ending = threading.Event()
    health = Health(
        lambda: session.connected,
        lambda: writer.alive,
        lambda: writer.lag_s,
        desk_alive=lambda: timekeeper.alive,
        notices_alive=lambda: notices.alive,
    )
    gate = serving.make_gate(config, store)
    counter = open_counter(config, store)
    pages = make_app(
        center,
        store,
        files,
        changes,
        health,
        ending.is_set,
        registry,
        gate,
        changed,
        config.settings,
        counter,
        config.typeface,
        streets=config.streets,
    )
    server = serving.make_server(pages, config, health.works)

    def end(_signal: int, _frame: FrameType | None) -> None:
        # the live feeds first: the server waits for them
        ending.set()
        server.should_exit = True

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    door = open_door(config, store)
    others = _others(config, store, files, watch)
    writer.start(session.answer)
    for part in (session, dispatch, timekeeper, *others):
        part.start()
    if door is not None:
        door.start()
        log.info("center %s: boxes enrol at %s", center.id, config.settings.enrolment.url)
    _announce(config, store, gate)
    try:
        with notices:
            server.run(sockets=[listening])
    finally:
        for ending_part in (*others, timekeeper, dispatch, door, session, writer):
            if ending_part is not None:
                ending_part.stop()
        if relay is not None:
            relay.close()
        store.close()
        log.info("stopped")


def _others(
    config: CenterConfig, store: Store, files: PictureFiles, watch: Watch
) -> list[Clerk | Courier | Keeper | Publisher]:
    """What works by itself beside the desk: reports, deleting what has served its purpose, telling other systems."""
    settings = config.settings
    vault, networks = Vault(config.data_dir / KEY_FILE), settings.exchange.webhooks.networks
    proxy = settings.notices.proxy
    found: list[Clerk | Courier | Keeper | Publisher] = [
        _clerk(config, store, watch),
        Keeper(
            partial(_retain, config, store, files),
            store,
            lambda: watch.settled,
            lambda: watch.now_ms,
            lambda session, now_ms: bool(plan(session, settings.evidence, now_ms)),
        ),
        Courier(store, vault, settings.center.id, load_codes(), networks, lambda: watch.now_ms, proxy=proxy),
    ]
    onvif = settings.exchange.onvif
    if onvif.enabled and onvif.broker is not None:
        found.append(Publisher(store, onvif.broker, config.folder, f"{config.client_id}-onvif", onvif.prefix))
    return found


def _retain(config: CenterConfig, store: Store, files: PictureFiles, now_ms: int) -> int:
    """Delete what has served its purpose; says how many pictures."""
    with store.writing() as session:
        forget_proposals(session, config.settings.street_page.keep_days, now_ms)
    return retain(store, files, config.settings.evidence, now_ms, config.folder)


def _clerk(config: CenterConfig, store: Store, watch: Watch) -> Clerk:
    settings, center = config.settings.reports, config.settings.center
    folder = None if settings.folder is None else config.path(settings.folder)
    face = typeface(config.typeface)  # one that cannot be used is said as the center starts
    zone = ZoneInfo(center.timezone)
    return Clerk(store, settings, folder, center.name, zone, lambda: face, time.time, lambda: watch.settled)


def _notices(
    config: CenterConfig, store: Store, files: PictureFiles, changed: Callable[[], None], watch: Watch
) -> Notices:
    settings, zone, name = config.settings, ZoneInfo(config.settings.center.timezone), config.settings.center.name
    return open_notices(
        settings.notices,
        settings.shop_pages,
        config.folder,
        store,
        files,
        name,
        zone,
        changed,
        # one watch for both: what the timekeeper does not believe sends no notice either
        settled=lambda: watch.settled,
    )


def _announce(config: CenterConfig, store: Store, gate: Gate) -> None:
    center = config.settings.center.id
    log.info("center %s: pages at %s/", center, serving.address(config))
    if gate.is_open():
        log.warning("center %s: no people yet: pages are open on this machine's loopback address", center)
    with store.transaction() as database:
        # the journal is kept elsewhere than the database: `audit verify --noted` compares
        log.info("center %s: audit log at %s", center, audit.head(database))


def check(settings: SettingsOption) -> None:
    """Validate the settings, open the database, try the broker and the port: one line each."""
    with one_line():
        config = load_settings(settings)
    typer.echo(f"ok    settings {settings}: center {config.settings.center.id}")
    good = True
    parts = (
        ("database", _check_database),
        ("certificates", certificates),
        ("broker", _check_broker),
        ("notices", _check_notices),
        ("pages", _check_pages),
    )
    for name, part in parts:
        try:
            found = part(config)
            if found is not None:
                typer.echo(f"ok    {name}: {found}")
        except (StoreError, BrokerError, ListenError, AuthorityError, SettingsError, SecretError) as fault:
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
    return probe(config.settings.broker, config.folder, f"{config.client_id}-check")


def _check_notices(config: CenterConfig) -> str:
    section = config.settings.notices
    secrets = tools_of(section, config.folder).secrets
    for channel in section.channel:
        for name in channel.secret_names():
            secrets.get(name)
    nobody, partly = section.untold()
    parts = [
        f"{len(section.channel)} channels" + ("; try each with `notices test`" if section.channel else ""),
        f"no route, and so never told: {', '.join(nobody)}" if nobody else "",
        f"told of some kinds or at some streets only: {', '.join(partly)}" if partly else "",
    ]
    return "; ".join(part for part in parts if part)


def _check_pages(config: CenterConfig) -> str:
    store = open_data(config)
    try:
        people = serving.check_people(config, store)
        serving.check_vault(config, store)
        serving.make_gate(config, store)
    finally:
        store.close()
    serving.certificate(config)
    listen = config.settings.center.listen
    try:
        with _listen(config):
            return f"{listen} is free; people: {people}"
    except ListenError:
        if not serving.answers(config):
            raise
        return f"a center answers at {listen}; people: {people}"

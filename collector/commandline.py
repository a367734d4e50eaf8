"""What the commands of the center share."""

import contextlib
import os
import pwd
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer

from collector.boxes.authority import AuthorityError
from collector.boxes.register import RegisterError
from collector.evidence import heritage
from collector.evidence.files import PictureFiles, open_files
from collector.notices.secrets import SecretError
from collector.people.actor import Actor
from collector.people.roster import PeopleError
from collector.settings import CenterConfig, load_settings
from collector.store import Store, StoreError, open_store
from protocol.broker import BrokerError
from protocol.documents import SettingsError

EXIT_FAILED: Final = 1
EXIT_UNUSABLE: Final = 2
SettingsOption = Annotated[Path, typer.Option("--settings", help="center.toml", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="print JSON")]


class ListenError(Exception):
    """The port cannot be had."""


@contextlib.contextmanager
def one_line() -> Iterator[None]:
    """Turn an error that a person can mend into one line and exit 2."""
    try:
        yield
    except (SettingsError, StoreError, BrokerError, ListenError, AuthorityError, RegisterError, PeopleError) as fault:
        typer.echo(f"cityeye-collector: {fault}", err=True)
        raise typer.Exit(EXIT_UNUSABLE) from None


def open_data(config: CenterConfig) -> Store:
    """Open the database, in a folder that is made if need be; raises StoreError."""
    try:
        # telephone numbers and hashes of passwords lie there
        config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as fault:
        raise StoreError(
            f"{config.data_dir}: expected a folder that can be written, got: {fault.strerror}; check [center] data_dir"
        ) from None
    store = open_store(config.database_url)
    heritage.settle(store)
    return store


@contextlib.contextmanager
def open_center(settings: Path, *faults: type[Exception]) -> Iterator[tuple[CenterConfig, Store]]:
    """What a command works with, closed after it; these faults of its room are said in one line, as others are."""
    with one_line():
        config = load_settings(settings)
        store = open_data(config)
        try:
            yield config, store
        except faults as fault:
            raise SettingsError(str(fault)) from None
        finally:
            store.close()


def open_pictures(config: CenterConfig) -> PictureFiles:
    """Where pictures lie, as the settings say; raises SettingsError."""
    try:
        return open_files(config.settings.evidence, config.data_dir, config.folder)
    except SecretError as fault:
        raise SettingsError(f"[evidence] {fault}") from None


def who() -> str:
    """Who asks: the user of the system, and whose rights they borrowed."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    borrower = os.environ.get("SUDO_USER")
    return f"{borrower} as {name}" if borrower else name


def system() -> Actor:
    """The author of what is done at the command line: whoever may read the database's password is the system here."""
    return Actor("system", who(), who())


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return round(time.time() * 1000)

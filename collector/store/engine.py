"""Opening the database and bringing it to the newest schema."""

import contextlib
import fcntl
import hashlib
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import URL, Connection, Engine, create_engine, event, func, make_url, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session

from collector.store.tables import Ticket

RACES: Final = ("40001", "40P01")
"""PostgreSQL's states for a transaction that another one got in the way of: serialisation failure, deadlock."""
OLDEST: Final = "0019"
"""The first revision that the migrations of today begin with."""


class StoreError(Exception):
    """A database that cannot be used; one line that says what was expected, what came and what to do."""


@dataclass(frozen=True)
class Store:
    """The database."""

    engine: Engine
    turn: threading.Lock = field(default_factory=threading.Lock, compare=False, repr=False)

    @property
    def shared(self) -> bool:
        """Whether several collectors may write at once; not with SQLite."""
        return self.engine.dialect.name == "postgresql"

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session that is committed at the end, or rolled back as a whole."""
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    @contextlib.contextmanager
    def reading(self) -> Iterator[Session]:
        """A transaction in which all questions see the same moment."""
        with self.transaction() as session:
            if self.shared:
                session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            else:
                session.connection().exec_driver_sql("BEGIN")
            yield session

    @contextlib.contextmanager
    def writing(self) -> Iterator[Session]:
        """A transaction that will write: on SQLite it waits for its turn before it reads anything.

        SQLite itself lets a waiter sleep for up to 100 ms between two tries; here the next one goes on at once.
        """
        if self.shared:
            with self.transaction() as session:
                yield session
            return
        with self.turn, self.transaction() as session:
            session.connection().exec_driver_sql("BEGIN IMMEDIATE")
            yield session

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Be the only collector that works in a folder; raises StoreError where another one is."""
    with (folder / "collector.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StoreError(
                f"{folder}: expected no other collector on this SQLite database, one is running; "
                "stop it, or use PostgreSQL for several"
            ) from None
        yield


def lock(session: Session, names: Iterable[str]) -> None:
    """Hold these names until the transaction ends, so that other collectors wait; SQLite has one writer anyway.

    Taken in one order, so that two transactions that each lock once cannot wait for each other.
    """
    if session.get_bind().dialect.name != "postgresql":
        return
    numbers = sorted(
        {int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), signed=True) for name in names}
    )
    if numbers:
        # the numbers are in order, and unnest keeps it
        session.execute(
            text("SELECT pg_advisory_xact_lock(n) FROM unnest(CAST(:numbers AS bigint[])) AS n"), {"numbers": numbers}
        )


def next_numbers(session: Session, count: int) -> list[int]:
    """Numbers for so many new tickets, given beforehand so that their rows can be written at once."""
    if not count:
        return []
    if session.get_bind().dialect.name == "postgresql":
        numbers = text("SELECT nextval(pg_get_serial_sequence('ticket', 'number')) FROM generate_series(1, :count)")
        return list(session.scalars(numbers, {"count": count}))
    # the one writer of SQLite
    last = session.scalar(select(func.max(Ticket.number))) or 0
    return list(range(last + 1, last + 1 + count))


def is_race(fault: SQLAlchemyError) -> bool:
    """Whether a transaction failed only because another one was quicker, so that it is worth trying again."""
    if isinstance(fault, IntegrityError):
        return True
    return isinstance(fault, DBAPIError) and getattr(fault.orig, "sqlstate", None) in RACES


def is_away(fault: SQLAlchemyError) -> bool:
    """Whether the database cannot be reached at all."""
    return isinstance(fault, OperationalError) and (fault.connection_invalidated or fault.statement is None)


def open_store(url: str | URL) -> Store:
    """Open a database, making or upgrading its tables; raises StoreError."""
    try:
        engine = create_engine(url, pool_pre_ping=True, **_engine_options(url))
    except ModuleNotFoundError as fault:
        raise StoreError(
            f"expected the package {fault.name} for this database; run: pip install 'cityeye[postgres]'"
        ) from None
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        _begin_sqlite(engine.url.database)
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                # collectors that start together: one makes the tables, the others wait and find them
                connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('cityeye schema'))"))
            else:
                # a table that is copied to be changed is gone for a moment, with rows elsewhere that name its own
                connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
            found = MigrationContext.configure(connection).get_current_revision()
            if found is not None and found < OLDEST:
                raise StoreError(
                    f"{engine.url}: expected a database of revision {OLDEST} or newer, got {found}; start the "
                    "collector of commit c28d575 on it once, which brings it there"
                )
            upgrade(connection)
    except CommandError as fault:
        raise StoreError(
            f"{engine.url}: expected a database of this version or an older one, got: {fault}; update the collector"
        ) from None
    except SQLAlchemyError as fault:
        cause = getattr(fault, "orig", None) or fault
        raise StoreError(
            f"{engine.url}: expected a database that can be opened, got: {cause}".replace("\n", " ")
        ) from None
    finally:
        engine.dispose()  # the next connection keeps foreign keys again
    return Store(engine)


def _engine_options(url: str | URL) -> dict[str, Any]:
    if make_url(url).get_backend_name() != "postgresql":
        return {}
    return {"connect_args": {"connect_timeout": 5}}


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Bring the tables to a revision, inside the caller's transaction."""
    config = Config()
    config.set_main_option("script_location", str(files("collector.store") / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _begin_sqlite(path: str | None) -> None:
    """A new file is its owner's alone, though a broker may have to pass the folder; its journals take its mode."""
    if path and path != ":memory:":
        with contextlib.suppress(OSError):  # opening it says what is wrong
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    # pages read while the inbox writes; what was acknowledged survives a cut of the power
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA busy_timeout = 10000")

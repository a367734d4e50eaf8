"""Opening the database and bringing it to the newest schema."""

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session


class StoreError(Exception):
    """A database that cannot be used; one line that says what was expected, what came and what to do."""


@dataclass(frozen=True)
class Store:
    """The database."""

    engine: Engine

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session that is committed at the end, or rolled back as a whole."""
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def open_store(url: str) -> Store:
    """Open a database, making or upgrading its tables; raises StoreError."""
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
    config = Config()
    config.set_main_option("script_location", str(files("collector.store") / "migrations"))
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except CommandError as fault:
        raise StoreError(
            f"{engine.url}: expected a database of this version or an older one, got: {fault}; update the collector"
        ) from None
    except SQLAlchemyError as fault:
        cause = getattr(fault, "orig", None) or fault
        raise StoreError(
            f"{engine.url}: expected a database that can be opened, got: {cause}".replace("\n", " ")
        ) from None
    return Store(engine)


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    # pages read while the inbox writes; what was acknowledged survives a cut of the power
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA busy_timeout = 10000")

"""Writing many rows at once, without objects that the session watches."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, bindparam, insert, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

Row = Mapping[str, Any]


def write(session: Session, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows that all have the same columns, inside the session's transaction; raises SQLAlchemy's errors."""
    if not rows:
        return
    connection = session.connection()
    if connection.dialect.name == "postgresql":
        _copy(connection, table, rows)
    else:
        connection.execute(insert(table), list(rows))


def rewrite(session: Session, table: Table, rows: Sequence[Row], key: str) -> None:
    """Update rows that all have the same columns, in their order; `key` names the one that says which row it is."""
    if not rows:
        return
    names = [name for name in rows[0] if name != key]
    # SQLAlchemy keeps the plain names for itself
    statement = update(table).where(table.c[key] == bindparam("which"))
    statement = statement.values({name: bindparam(f"b_{name}") for name in names})
    values = [{"which": row[key], **{f"b_{name}": row[name] for name in names}} for row in rows]
    session.connection().execute(statement, values)


def _copy(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    # half the work of inserts, for us and for the server
    quote = connection.dialect.identifier_preparer.quote
    statement = f"COPY {quote(table.name)} ({', '.join(map(quote, rows[0]))}) FROM STDIN"
    driver: Any = connection.connection.driver_connection
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(tuple(row.values()))
    except connection.dialect.loaded_dbapi.Error as fault:
        raise DBAPIError.instance(statement, None, fault, connection.dialect.loaded_dbapi.Error) from fault

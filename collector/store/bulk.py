"""Writing many rows at once, without objects that the session watches, and reading as many."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Table, bindparam, insert, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

Row = Mapping[str, Any]
T = TypeVar("T")
NAMED: Final = 200
"""Values that one question names; databases take no more than some thousands, and a key may have three."""


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


def among(session: Session, rows: type[T], column: Any, values: Collection[Any]) -> Iterator[T]:
    """All rows of which a column (or a `tuple_` of several) has one of these values, however many there are."""
    wanted = sorted(values)
    for start in range(0, len(wanted), NAMED):
        yield from session.scalars(select(rows).where(column.in_(wanted[start : start + NAMED])))


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

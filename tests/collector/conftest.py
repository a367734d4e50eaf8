"""A collector without its broker."""

import functools
import re
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import func, select

from collector.evidence.files import PictureFiles
from collector.inbox.writer import Writer
from collector.store import Base, open_store
from tests.incidents import START_S

AT = re.compile(rb'"at":"([0-9T:.Z-]+)"')


@functools.cache
def empty_database():
    """SQLite's file with the tables; writing it is quicker than making them."""
    with tempfile.TemporaryDirectory() as folder:
        open_store(f"sqlite:///{folder}/center.db").close()
        return Path(folder, "center.db").read_bytes()


class Desk:
    """Store, pictures and writer; deliveries are committed at once."""

    def __init__(self, folder, url=None):
        self.folder = folder
        self.url = url or f"sqlite:///{folder / 'center.db'}"
        if url is None and not (file := folder / "center.db").exists():
            file.write_bytes(empty_database())
        self.store = open_store(self.url)
        self.files = PictureFiles(folder / "evidence")
        self.changes = 0
        self.now_s = START_S + 100
        self.writer = Writer(self.store, self.files, self.change, lambda: self.now_s)

    def change(self):
        self.changes += 1

    def write(self, what, *args, **options):
        """Call it with a session that writes, and what else it wants."""
        with self.store.writing() as session:
            return what(session, *args, **options)

    def read(self, what, *args, **options):
        """The same, with one that reads; what comes bit by bit comes as a list, before the session ends."""
        with self.store.transaction() as session:
            found = what(session, *args, **options)
            return list(found) if isinstance(found, Iterator) else found

    def execute(self, statement):
        self.write(lambda session: session.execute(statement))

    def rows(self, query):
        return self.read(lambda session: list(session.scalars(query)))

    def one(self, query):
        (row,) = self.rows(query)
        return row

    def scalar(self, query):
        return self.read(lambda session: session.scalar(query))

    def count(self, table, *where):
        return self.scalar(select(func.count()).select_from(table).where(*where))

    def get(self, table, key):
        return self.read(lambda session: session.get(table, key))

    def take_any(self, *deliveries):
        """Commit what several boxes sent."""
        return self.writer.commit(deliveries)

    def take(self, *deliveries):
        """Commit; returns what one box is told: stored, refused codes, later."""
        # nothing arrives before it was decided
        told = [found[1].decode() for one in deliveries if (found := AT.search(one.payload))]
        self.now_s = max([self.now_s, *(datetime.fromisoformat(at).timestamp() + 1 for at in told)])
        answers = self.take_any(*deliveries)
        assert len(answers) <= 1
        if not answers:
            return [], [], []
        word = answers[0].acknowledgement
        return list(word.stored), [one.code for one in word.refused], [one.id for one in word.later]


def at_once(*calls):
    """What each of some calls gives that begin together, each in a thread of its own."""
    gate = threading.Barrier(len(calls))

    def begin(call):
        gate.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(begin, calls))


@pytest.fixture(scope="session")
def template(postgres):
    """Name of a database of PostgreSQL that has the tables; copying it is quicker than making them."""
    url = postgres.create()
    open_store(url).close()
    return url.rpartition("/")[2]


@pytest.fixture(scope="session")
def emptied(postgres, template):
    """URL of a database of PostgreSQL that is emptied after each test: quicker than a new one each time."""
    return postgres.create(template)


@pytest.fixture(params=["sqlite", "postgresql"])
def desk(request, tmp_path):
    """A desk on either database."""
    url = request.getfixturevalue("emptied") if request.param == "postgresql" else None
    desk = Desk(tmp_path, url)
    yield desk
    if url is not None:
        names = ", ".join(Base.metadata.tables)
        with desk.store.engine.begin() as connection:
            # a session that a test has left open is named, and not waited for without an end
            connection.exec_driver_sql("SET LOCAL lock_timeout = '20s'")
            # the audit log refuses to be emptied
            connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
            connection.exec_driver_sql(f"TRUNCATE {names} RESTART IDENTITY CASCADE")
    desk.store.close()

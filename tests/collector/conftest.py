"""A collector without its broker."""

import pytest

from collector.evidence.files import PictureFiles
from collector.inbox.writer import Writer
from collector.store import open_store


class Desk:
    """Store, pictures and writer; deliveries are committed at once."""

    def __init__(self, folder, url=None):
        self.folder = folder
        self.url = url or f"sqlite:///{folder / 'center.db'}"
        self.store = open_store(self.url)
        self.files = PictureFiles(folder / "evidence")
        self.changes = 0
        self.writer = Writer(self.store, self.files, self.change, lambda: 1_780_000_100.0)

    def change(self):
        self.changes += 1

    def take(self, *deliveries):
        """Commit; returns what one box is told: stored, refused codes, later."""
        answers = self.writer.commit(deliveries)
        assert len(answers) <= 1
        if not answers:
            return [], [], []
        word = answers[0].acknowledgement
        return list(word.stored), [one.code for one in word.refused], [one.id for one in word.later]


@pytest.fixture(scope="session")
def template(postgres):
    """Name of a database of PostgreSQL that has the tables; copying it is quicker than making them."""
    url = postgres.create()
    open_store(url).close()
    return url.rpartition("/")[2]


@pytest.fixture(params=["sqlite", "postgresql"])
def desk(request, tmp_path):
    """A desk on either database."""
    url = None
    if request.param == "postgresql":
        template = request.getfixturevalue("template")
        url = request.getfixturevalue("postgres").create(template)
    desk = Desk(tmp_path, url)
    yield desk
    desk.store.close()

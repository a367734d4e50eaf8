"""A collector without its broker."""

import pytest

from collector.evidence.files import PictureFiles
from collector.inbox.writer import Writer
from collector.store import open_store


class Desk:
    """Store, pictures and writer; deliveries are committed at once."""

    def __init__(self, folder):
        self.folder = folder
        self.store = open_store(f"sqlite:///{folder / 'center.db'}")
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


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path)
    yield desk
    desk.store.close()

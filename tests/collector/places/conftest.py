"""A store for what is looked at and rolled back."""

import pytest

from collector.store import open_store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = open_store(f"sqlite:///{tmp_path_factory.mktemp('places') / 'a.db'}")
    yield store
    store.close()

"""Tables of places: made by the migration as the classes say, over a database that holds something."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect, text

from collector.places import shops
from collector.store import Base, open_store
from collector.store.engine import upgrade
from tests.places import AROUND, AUTHOR, SHOP

TABLES = {"shop", "shop_zone", "permit", "grid_cell", "camera_place", "place_revision"}


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'a.db'}"
    return request.getfixturevalue("postgres").create()


def test_places_come_to_a_database_that_holds_boxes(url):
    engine = create_engine(url)
    with engine.begin() as connection:
        upgrade(connection, "0007")
        assert not TABLES & set(inspect(connection).get_table_names())
        connection.execute(
            text(
                "INSERT INTO box (id, site, state, version, boot_id, state_since_ms, seen_ms, standing) "
                "VALUES ('box-1', 's', 'online', '1', 'b', 1, 2, 'enrolled')"
            )
        )
    engine.dispose()
    store = open_store(url)
    with store.writing() as session:
        _, warnings = shops.add(session, SHOP, AUTHOR, AROUND)
        assert [one.code for one in warnings] == ["zone_unknown"]  # the box is known, its settings are not
    with store.engine.connect() as connection:
        options = {"include_name": lambda name, kind, _: kind != "table" or name in TABLES}
        context = MigrationContext.configure(connection, opts=options)
        found = [one for one in compare_metadata(context, Base.metadata) if _of_places(one)]
        assert found == []
    store.close()


def _of_places(difference):
    """Other tables are left out of what the database is looked at for, so they seem to be missing."""
    name, what = difference[0], difference[1] if len(difference) > 1 else None
    table = what.name if name in ("add_table", "remove_table") else getattr(getattr(what, "table", None), "name", None)
    return table is None or table in TABLES

"""A center that boxes can be claimed at."""

import time

import pytest

from collector.boxes.door import Door
from collector.boxes.enrolment import Desk
from tests.fleet import Fleet


@pytest.fixture(scope="session")
def fleet(tmp_path_factory):
    fleet = Fleet(tmp_path_factory.mktemp("fleet"))
    desk = Desk(fleet.store, fleet.authority, fleet.line.url, 365, time.time)
    door = Door(("127.0.0.1", fleet.door_port), desk, fleet.authority.pem, fleet.folder / "ca")
    door.start()
    with fleet.mosquitto():
        yield fleet
    door.stop()
    fleet.store.close()

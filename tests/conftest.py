"""What tests share: footage and detectors where they are at hand, brokers, a center."""

import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests import clips, services

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("CITYEYE_SHARED", ROOT.parent / "shared" / "data"))
CACHE = ROOT / ".cache"
SLOW = {
    *("orders", "kill", "short", "fuzz", "powercut", "substream", "reader", "live", "scene", "replay", "tuning"),
    *("day", "end_to_end", "zones_end_to_end", "browser", "street_and_admin"),
}
"""Files of few tests that take long, up to four minutes."""


def pytest_configure(config: pytest.Config) -> None:
    # the same examples on each run: a change is judged by what it changes
    settings.register_profile("repeatable", derandomize=True)
    settings.load_profile("repeatable")
    # tests choose their detectors themselves
    os.environ.pop("CITYEYE_MODELS", None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # with several workers, nothing long is left for the end, when all but one would wait
    tests = Counter(item.path for item in items)
    items.sort(key=lambda item: (item.path.stem.removeprefix("test_") not in SLOW, -tests[item.path]))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real footage; tests that need it are skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("needs the shared data (CITYEYE_SHARED)")
    return SHARED


@pytest.fixture(scope="session")
def detectors(shared: Path) -> Path:
    """The folder with the shared detectors, unpacked."""
    folder = CACHE / "models"
    subprocess.run([shared / "unpack", folder], check=True, stdout=subprocess.DEVNULL)
    return folder


@pytest.fixture(scope="session")
def vtest() -> Path:
    """Debian's sample footage."""
    for path in (CACHE / "vtest.avi", SHARED / "videos" / "vtest.avi"):
        if path.is_file():
            return path
    pytest.skip("needs Debian's vtest.avi (deploy/setup.sh clip)")


@pytest.fixture(scope="session")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rendered street: a crate stands there from 16 s to 44 s of 60 s."""
    return clips.street(tmp_path_factory.mktemp("clips") / "street.mp4")


@pytest.fixture(scope="session")
def postgres() -> Iterator[services.Postgres]:
    """A real PostgreSQL; each test makes a database of its own."""
    with services.Postgres() as postgres:
        yield postgres


@pytest.fixture(params=["iotcore", "mosquitto"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[services.Broker]:
    """A real broker on a free port; each test that takes it runs against both."""
    with services.Broker(request.param, tmp_path / "broker") as broker:
        yield broker

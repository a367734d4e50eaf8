"""A cut of the power, at every moment of a short life of an outbox; the long form is `make faults`."""

import shutil

import pytest

from tests.faults import powercut


@pytest.fixture(scope="module")
def steps(tmp_path_factory):
    if shutil.which("strace") is None:
        pytest.skip("needs strace (deploy/setup.sh tools)")
    return powercut.record(tmp_path_factory.mktemp("trace"), 12)


def test_nothing_that_a_rule_was_told_is_stored_is_lost(steps):
    figures = powercut.check_every_prefix(steps, variants=1, stride=4)
    assert figures["promises"] == 12
    assert figures["reopened"] > 300


@pytest.mark.parametrize("file", ["outbox.db-wal", "outbox.db"])
def test_a_disk_that_does_not_sync_is_noticed(steps, file):
    lying = [step for step in steps if not (step.call == "sync" and step.name == file)]
    with pytest.raises(AssertionError, match="power cut after step"):
        powercut.check_every_prefix(lying, variants=1, stride=2)

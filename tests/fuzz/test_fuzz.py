"""Every decoder, for a moment; the long form is `make fuzz`."""

import importlib.util

import pytest

from tests.fuzz.running import run
from tests.fuzz.targets import BROKEN, TARGETS

pytestmark = pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="needs atheris (extra dev)")


def test_each_decoder_bears_what_others_write_and_a_broken_one_is_noticed(tmp_path):
    found = {one.name: one for one in run([*TARGETS, *BROKEN], tmp_path, 1)}
    assert {name: one.fault for name, one in found.items() if one.fault and name in TARGETS} == {}
    assert all(found[name].inputs > len(target.seeds()) for name, target in TARGETS.items())
    assert "ZeroDivisionError" in found["crashing"].fault
    assert "memory grew" in found["leaking"].fault

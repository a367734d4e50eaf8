"""What tuning found is used where it holds, and only there; anything else is told once and run as usual."""

import contextlib
import json
import logging
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.vision.providers import Plan, provider_of
from agent.vision.selection import open_detector
from agent.vision.tuned import Tuned, find_tuned, machine, read_tuned
from models.tools.store import sha256_of
from tests import networks


@pytest.fixture
def folder(tmp_path):
    networks.bright_squares(tmp_path / "net.onnx", None)
    networks.bright_squares(tmp_path / "net-int8.onnx", None, seed=2)
    return tmp_path


def tuned_for(folder, **changes):
    digest = sha256_of(folder / "net.onnx")
    library = provider_of("cpu").version
    choice = Tuned(digest, machine(), "net.onnx", digest, (96, 64), Plan("cpu", "float32", 1), library, 1.0, 2.0)
    return replace(choice, **changes)


def test_a_choice_that_holds_is_used(folder, caplog):
    tuned_for(folder).write(folder / "net.tuned.json")
    detector = open_detector(folder / "net.onnx", environment={})
    assert detector.input_size == (96, 64)
    assert detector.detect(np.zeros((64, 96, 3), np.uint8)).boxes.shape == (0, 4)
    assert not caplog.records


def test_another_file_of_the_family_may_be_the_choice(folder):
    tuned_for(folder, file="net-int8.onnx", file_sha256=sha256_of(folder / "net-int8.onnx")).write(
        folder / "net.tuned.json"
    )
    assert open_detector(folder / "net.onnx", environment={}).sha256 == sha256_of(folder / "net-int8.onnx")


def test_the_choice_for_the_shipped_detector_lies_in_a_folder_of_models(folder):
    (folder / "package").mkdir()
    (folder / "net.onnx").rename(folder / "package/net.onnx")
    tuned = replace(tuned_for(folder / "package"), machine=machine())
    tuned.write(folder / "net.tuned.json")
    assert open_detector(folder / "package/net.onnx", environment={"CITYEYE_MODELS": str(folder)}).input_size == (
        96,
        64,
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"machine": "an abacus, 3 rows"}, "it was tuned on an abacus, 3 rows, this is"),
        ({"model_sha256": "0" * 64}, "another file of this name was tuned"),
        ({"library": "onnxruntime 0.1"}, "it was tuned with onnxruntime 0.1, here is"),
        ({"plan": Plan("rknn")}, "provider rknn is not at hand"),
        ({"plan": Plan("abacus")}, "provider abacus is not at hand"),
        ({"file": "gone.onnx", "file_sha256": "1" * 64}, "cannot be read"),
        ({"file": "net-int8.onnx", "file_sha256": "1" * 64}, "net-int8.onnx is another file now"),
        ({"file": "../net.onnx"}, "expected a file beside it"),
        ({"size": (100, 60)}, "multiples of 32"),
        ({"plan": Plan(threads=10**12)}, "expected 0 to 1024 threads"),
    ],
)
def test_one_that_does_not_hold_is_told_and_not_used(folder, caplog, changes, expected):
    tuned_for(folder, **changes).write(folder / "net.tuned.json")
    with caplog.at_level(logging.WARNING):
        detector = open_detector(folder / "net.onnx", environment={})
    assert (detector.input_size, detector.sha256) == ((64, 64), sha256_of(folder / "net.onnx"))
    (line,) = caplog.messages
    assert line.startswith("detector net runs untuned: ")
    assert expected in line
    assert line.endswith("run `cityeye-models tune` again")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(data=st.data())
def test_anything_else_is_refused_with_a_line(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("tuned") / "net.tuned.json"
    values = asdict(Tuned("0", "m", "net.onnx", "0", (64, 64), Plan(), "cpu", 1.0, 2.0))
    for key in data.draw(st.sets(st.sampled_from(sorted(values)), min_size=1)):
        values[key] = data.draw(JSON)
    path.write_text(data.draw(st.sampled_from([json.dumps(values), "", "{", "[]", "\x00"])))
    with contextlib.suppress(ValueError):  # any other error fails
        tuned = read_tuned(path)
        assert tuned.fault("0")


def test_it_is_found_by_name(folder):
    tuned_for(folder).write(folder / "net.tuned.json")
    assert find_tuned("net", [folder / "nowhere", folder]) == folder / "net.tuned.json"
    assert find_tuned("other", [folder]) is None
    assert read_tuned(folder / "net.tuned.json") == tuned_for(folder)

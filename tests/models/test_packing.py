"""What is packed comes out as it was, whatever the kernels; what is damaged is said to be."""

import lzma

import numpy as np
import onnx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from models.catalogue.packed import LANES, unpacked
from models.train.packing import pack

SHAPES = ((1, 1, 1, 1), (LANES, 2, 1, 1), (5, 3, 3, 3), (2, 3, 1, 5), (7,), (3, 4))


def file_of(shapes, spread, seed=1):
    rng = np.random.default_rng(seed)
    kernels = [np.clip(rng.normal(0, spread, shape).cumsum(-1), -128, 127).astype(np.int8) for shape in shapes]
    wide = [rng.normal(size=3).astype(np.float32)]
    weights = [numpy_helper.from_array(array, f"{number}") for number, array in enumerate([*kernels, *wide, *kernels])]
    return helper.make_model(helper.make_graph([], "net", [], [], weights)).SerializeToString()


@given(st.lists(st.sampled_from(SHAPES), max_size=4), st.sampled_from((0, 0.3, 9, 40, 1000)), st.integers(0, 9))
@example([], 0, 1)
@example(SHAPES, 1000, 1)
@settings(max_examples=20, deadline=None)
def test_the_same_file_comes_out(shapes, spread, seed):
    content = file_of(shapes, spread, seed)
    assert unpacked(pack(content)) == content


def test_steps_that_follow_from_each_other_take_few_bytes():
    rng = np.random.default_rng(1)
    smooth = np.round(rng.normal(0, 30, (48, 48, 1, 1)) + rng.normal(0, 1, (48, 48, 3, 3))).clip(-127, 127)
    model = onnx.load_from_string(file_of([], 0))
    model.graph.initializer.append(numpy_helper.from_array(smooth.astype(np.int8), "smooth"))
    content = model.SerializeToString()
    assert len(pack(content)) < 0.9 * len(lzma.compress(content))


def test_what_is_damaged_is_refused():
    packed = pack(file_of([(40, 30, 3, 3)], 9))
    for place in (0, 40, len(packed) - 2000):
        with pytest.raises(ValueError, match=r"\w"):
            unpacked(packed[:place] + bytes([packed[place] ^ 4]) + packed[place + 1 :])
    for content in (b"", b"what is this?" * 9, packed[:-1], packed[:-2000], packed[:200]):
        with pytest.raises(ValueError, match=r"\w"):
            unpacked(content)

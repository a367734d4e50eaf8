"""What an ONNX file says of itself, beside what the onnx library reads; and files that are refused before they load."""

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from agent.vision.crowds import is_counter, load_counter
from agent.vision.detector import load_detector
from agent.vision.errors import DetectorError
from agent.vision.onnx_file import inspect, refusal
from models.catalogue import own_model
from tests import networks

CHANGE = own_model("change")


def with_branch(node):
    """A network whose node stands in the branch of an If."""
    branch = helper.make_graph([node], "branch", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])])
    choice = helper.make_node("If", ["condition"], ["output"], then_branch=branch, else_branch=branch)
    return whole([choice], [])


def whole(nodes, weights, functions=()):
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 20, 6])],
        weights,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("street.custom", 1)]
    return helper.make_model(graph, opset_imports=opsets, functions=list(functions))


def outside(location="../../etc/weights.bin"):
    weight = numpy_helper.from_array(np.zeros((1, 20, 6), np.float32), "answer")
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    return weight


CUSTOM = helper.make_node("Steal", ["images"], ["output"], domain="street.custom")
CONSTANT = helper.make_node("Constant", [], ["y"], value=outside("beside.bin"))
IDENTITY = helper.make_node("Identity", ["answer"], ["output"])
FUNCTION = helper.make_function(
    "street.custom", "Steal", ["x"], ["y"], [helper.make_node("Identity", ["x"], ["y"])], [helper.make_opsetid("", 17)]
)


def test_it_reads_what_the_library_reads(tmp_path):
    path = networks.fixed(tmp_path / "net.onnx", np.zeros((1, 20, 6), np.float32), names="{0: 'stall'}", task="detect")
    for content in (path.read_bytes(), CHANGE, own_model("crowd")):
        said, model = inspect(content), onnx.load_from_string(content)
        assert said.ir_version == model.ir_version
        assert said.opsets == {entry.domain: entry.version for entry in model.opset_import}
        assert said.metadata == {entry.key: entry.value for entry in model.metadata_props}
        assert said.producer == model.producer_name
        assert (said.foreign, said.external) == ((), ())
        assert refusal(content) is None


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (whole([IDENTITY], [outside()]), r"all weights inside the file, some lie in ../../etc/weights.bin"),
        (with_branch(CONSTANT), "some lie in beside.bin"),
        (whole([CUSTOM], []), "got street.custom::Steal"),
        (with_branch(helper.make_node("Steal", [], ["y"], domain="street.custom")), "got street.custom::Steal"),
    ],
)
def test_what_would_open_other_files_or_load_code_is_refused(tmp_path, model, expected):
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    for load in (load_detector, load_counter):
        with pytest.raises(DetectorError, match=expected) as fault:
            load(path)
        assert str(fault.value).startswith(f"{path}: expected")
    assert not is_counter(path)


def test_what_a_model_defines_itself_is_not_foreign():
    assert inspect(whole([CUSTOM], [], [FUNCTION]).SerializeToString()).foreign == ()


def test_an_opset_that_the_runtime_does_not_know_is_told(tmp_path):
    path = networks.fixed(tmp_path / "net.onnx", np.zeros((1, 20, 6), np.float32))
    model = onnx.load(path)
    model.opset_import[0].version = 99
    path.write_bytes(model.SerializeToString())
    with pytest.raises(DetectorError, match="opset 99"):
        load_detector(path)


def field(number, content):
    """A field of a protocol buffer that holds bytes."""
    length, size = b"", len(content)
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def test_graphs_without_end_are_no_stack_overflow():
    graph = b""
    for _ in range(2000):
        graph = field(1, field(5, field(6, graph)))  # a graph in an attribute of a node of a graph
    head = whole([IDENTITY], [])
    head.ClearField("graph")
    assert "more than 32 deep" in refusal(head.SerializeToString() + field(7, graph))


@given(cut=st.integers(0, 200_000))
def test_a_file_that_is_cut_short_is_refused(cut):
    assert refusal(CHANGE[: cut % len(CHANGE)]) is not None


@given(st.data())
def test_damaged_bytes_are_refused_or_read_and_never_crash(data):
    content = bytearray(CHANGE[:20_000])
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    refusal(bytes(content))
    refusal(data.draw(st.binary(max_size=300)))

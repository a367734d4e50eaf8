"""What an ONNX file says of itself, read without running anything of it.

ONNX is a protocol buffer (onnx.proto3 of github.com/onnx/onnx); only the fields that decide whether a file may be
loaded are read. A file from elsewhere must not make the runtime open other files or load code: weights that lie outside
the file and operators that are not ONNX's own are found here, before the runtime sees anything.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

OWN_DOMAINS: Final = ("", "ai.onnx", "ai.onnx.ml")
RUNTIME_DOMAINS: Final = ("com.microsoft",)
"""Operators that ONNX Runtime brings along; its quantiser writes them."""
MAX_DEPTH: Final = 32
"""Graphs within graphs; real ones have two."""

_VARINT, _BYTES = 0, 2
_FIXED: Final = {1: 8, 5: 4}
"""Bytes of the wire types that have a fixed length."""
_MAX_SHIFT: Final = 63
_EXTERNAL: Final = 1
# numbers of the fields in onnx.proto3
_MODEL_IR, _MODEL_PRODUCER, _MODEL_GRAPH, _MODEL_OPSET, _MODEL_META, _MODEL_FUNCTIONS = 1, 2, 7, 8, 14, 25
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE = 1, 5, 15
_NODE_TYPE, _NODE_ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS, _ATTRIBUTE_SPARSES = (5, 10), (6, 11), (22, 23)
_TENSOR_EXTERNAL, _TENSOR_LOCATION = 13, 14
_FUNCTION_NAME, _FUNCTION_NODE, _FUNCTION_DOMAIN = 1, 7, 10
_SPARSE_TENSORS: Final = (1, 2)


@dataclass(frozen=True)
class OnnxFile:
    """What was read.

    Args:
        ir_version: of the format.
        producer: what wrote the file; empty where it does not say.
        opsets: version by domain; the empty domain is ONNX's own.
        foreign: operators that neither ONNX nor ONNX Runtime has, each as `domain::name`, sorted.
        external: where weights lie that are not in the file, sorted; `?` for a place that is not named.
        metadata: what exporters add.
    """

    ir_version: int
    producer: str
    opsets: Mapping[str, int]
    foreign: tuple[str, ...]
    external: tuple[str, ...]
    metadata: Mapping[str, str]


@dataclass
class _Found:
    opsets: dict[str, int]
    metadata: dict[str, str]
    foreign: set[str]
    external: set[str]


def inspect(content: bytes) -> OnnxFile:
    """Read an ONNX file; raises ValueError, with what is wrong, for one that is damaged or none."""
    found = _Found({}, {}, set(), set())
    ir_version, producer, graphs = 0, "", 0
    defined: set[str] = set()
    for number, value in _fields(memoryview(content)):
        if isinstance(value, int):
            if number == _MODEL_IR:
                ir_version = value
        elif number == _MODEL_PRODUCER:
            producer = _text(value)
        elif number == _MODEL_GRAPH:
            graphs += 1
            _read_graph(value, found, 0)
        elif number == _MODEL_OPSET:
            domain, version = _pair(value)
            found.opsets[_text(domain)] = version if isinstance(version, int) else 0
        elif number == _MODEL_META:
            key, text = _pair(value)
            found.metadata[_text(key)] = _text(text)
        elif number == _MODEL_FUNCTIONS:
            defined.add(_read_function(value, found))
    if graphs != 1 or not ir_version or not found.opsets:
        raise ValueError("it holds no ONNX graph")
    foreign, external = (tuple(sorted(names)) for names in (found.foreign - defined, found.external))
    return OnnxFile(ir_version, producer, found.opsets, foreign, external, found.metadata)


def refusal(content: bytes) -> str | None:
    """Say what is expected of a file and what came instead, and what to do; None: it may be loaded."""
    try:
        file = inspect(content)
    except ValueError as fault:
        return f"expected an ONNX file, {fault}; get the file again"
    if file.external:
        return f"expected all weights inside the file, some lie in {', '.join(file.external)}; export it as one file"
    if file.foreign:
        some = ", ".join(file.foreign[:3])
        return f"expected operators of ONNX only, got {some}; export it without operators of its own"
    return None


def _read_function(function: memoryview, found: _Found) -> str:
    """Read what a model defines itself; gives its name."""
    name = domain = ""
    for number, part in _parts(function, {_FUNCTION_NAME, _FUNCTION_NODE, _FUNCTION_DOMAIN}):
        if number == _FUNCTION_NAME:
            name = _text(part)
        elif number == _FUNCTION_DOMAIN:
            domain = _text(part)
        else:
            _read_node(part, found, 0)
    return f"{domain}::{name}"


def _read_graph(graph: memoryview, found: _Found, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ValueError(f"its graphs lie more than {MAX_DEPTH} deep in each other")
    for number, part in _parts(graph, {_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE}):
        if number == _GRAPH_NODE:
            _read_node(part, found, depth)
        elif number == _GRAPH_INITIALIZER:
            _read_tensor(part, found)
        else:
            _read_sparse(part, found)


def _read_node(node: memoryview, found: _Found, depth: int) -> None:
    name = domain = ""
    for number, part in _parts(node, {_NODE_TYPE, _NODE_ATTRIBUTE, _NODE_DOMAIN}):
        if number == _NODE_TYPE:
            name = _text(part)
        elif number == _NODE_DOMAIN:
            domain = _text(part)
        else:
            _read_attribute(part, found, depth)
    if domain not in (*OWN_DOMAINS, *RUNTIME_DOMAINS):
        found.foreign.add(f"{domain}::{name}")


def _read_attribute(attribute: memoryview, found: _Found, depth: int) -> None:
    for number, part in _parts(attribute, {*_ATTRIBUTE_TENSORS, *_ATTRIBUTE_GRAPHS, *_ATTRIBUTE_SPARSES}):
        if number in _ATTRIBUTE_TENSORS:
            _read_tensor(part, found)
        elif number in _ATTRIBUTE_GRAPHS:
            _read_graph(part, found, depth + 1)
        else:
            _read_sparse(part, found)


def _read_sparse(sparse: memoryview, found: _Found) -> None:
    for _, tensor in _parts(sparse, _SPARSE_TENSORS):
        _read_tensor(tensor, found)


def _read_tensor(tensor: memoryview, found: _Found) -> None:
    places: dict[str, str] = {}
    outside = False
    for number, value in _fields(tensor):
        if isinstance(value, int):
            outside |= number == _TENSOR_LOCATION and value == _EXTERNAL
        elif number == _TENSOR_EXTERNAL:
            outside = True
            key, place = _pair(value)
            places[_text(key)] = _text(place)
    if outside:
        found.external.add(places.get("location", "?"))


def _pair(message: memoryview) -> tuple[memoryview, memoryview | int]:
    """Read a message of two fields, of which the first is a text."""
    first: memoryview = memoryview(b"")
    second: memoryview | int = memoryview(b"")
    for number, value in _fields(message):
        if number == 1 and not isinstance(value, int):
            first = value
        elif number == 2:
            second = value
    return first, second


def _text(value: memoryview | int) -> str:
    return str(value) if isinstance(value, int) else bytes(value).decode("utf-8", "replace")


def _parts(message: memoryview, wanted: Collection[int]) -> Iterator[tuple[int, memoryview]]:
    """Give the fields of some numbers that hold bytes: texts and messages."""
    for number, value in _fields(message):
        if number in wanted and not isinstance(value, int):
            yield number, value


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Give the fields of a message: numbers, and whole numbers or bytes (protobuf.dev, "Encoding")."""
    at, end = 0, len(message)
    while at < end:
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire == _BYTES:
            length, at = _varint(message, at)
        elif wire in _FIXED:
            length = _FIXED[wire]
        else:
            raise ValueError("it is no protocol buffer")
        if number == 0 or at + length > end:
            raise ValueError("it is cut short or damaged")
        yield number, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(message) or shift > _MAX_SHIFT:
            raise ValueError("it is cut short or damaged")
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at

"""What a reading process writes into its pipe: records of a kind, a few named values, and bytes."""

import json
import struct
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

OPENED: Final = b"O"
"""The source is open; values: codec, width, height, fps."""
FRAME: Final = b"F"
"""A picture; values: t (stream time, seconds, from 0), key, width, height; bytes: I420."""
ALIVE: Final = b"A"
"""Data comes, although no picture is due; at most one a second."""
FAILED: Final = b"E"
"""The end, with a text that holds no secret."""
ENDED: Final = b"Z"
"""The source has no more."""

_HEAD = struct.Struct("<cII")


@dataclass(frozen=True)
class Record:
    """One record."""

    kind: bytes
    values: dict[str, Any]
    payload: bytes = b""


def write(pipe: BinaryIO, kind: bytes, payload: bytes | memoryview = b"", **values: object) -> None:
    """Write one record; blocks while the reader is behind."""
    text = json.dumps(values).encode()
    pipe.write(_HEAD.pack(kind, len(text), len(payload)) + text)
    pipe.write(payload)
    pipe.flush()


def read(pipe: BinaryIO) -> Record | None:
    """Read one record; None at the end, also at one in the middle of a record (the writer was killed)."""
    head = pipe.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    kind, text_bytes, payload_bytes = _HEAD.unpack(head)
    text = pipe.read(text_bytes)
    payload = pipe.read(payload_bytes)
    if len(text) < text_bytes or len(payload) < payload_bytes:
        return None
    return Record(kind, json.loads(text), payload)

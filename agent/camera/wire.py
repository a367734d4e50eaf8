"""What a reading process and its parent tell each other, each through a pipe of its own.

A record is written with one system call and is no longer than what a pipe takes whole (`PIPE_BUF`): records of two
writers do not mix, and a killed writer leaves no half one. Pictures do not travel here, only their place in the `ring`.
"""

import json
import os
import select
import struct
from dataclasses import dataclass, field
from typing import Any, Final

OPENED: Final = b"O"
"""The source is open; values: codec, width, height, fps."""
DECODING: Final = b"C"
"""Another decoder is at work; values: decoder, failed."""
FRAME: Final = b"F"
"""A picture; values: slot, t (stream time, seconds, from 0), key, width, height."""
TALLY: Final = b"T"
"""Data comes; at least one a second. Values: what `decoding.Tally` holds."""
FAILED: Final = b"E"
"""The end, with a text that holds no secret."""
ENDED: Final = b"Z"
"""The source has no more."""
DIED: Final = b"D"
"""The process is gone, whatever it was doing; values: status, as `os.waitstatus_to_exitcode` gives it."""
FREE: Final = b"f"
"""To the child: a slot of the ring is free again; values: slot."""
DEMAND: Final = b"d"
"""To the child: pictures are wanted more often for a while; values: fps, for_s."""

RELIEF: Final = b"r"
"""To the child: key frames are enough for a while, as somebody else brings the rest; values: for_s."""

MAX_BYTES: Final = select.PIPE_BUF
MAX_TEXT: Final = 1000
_HEAD = struct.Struct("<cH")


@dataclass(frozen=True)
class Record:
    """One record."""

    kind: bytes
    values: dict[str, Any]


def write(descriptor: int, kind: bytes, **values: object) -> None:
    """Write one record; blocks while the pipe is full. Raises BrokenPipeError where nobody reads."""
    if isinstance(text := values.get("text"), str):
        values["text"] = text[:MAX_TEXT]
    content = json.dumps(values, ensure_ascii=False).encode()
    packed = _HEAD.pack(kind, len(content)) + content
    if len(packed) > MAX_BYTES:
        raise ValueError(f"expected a record of at most {MAX_BYTES} bytes, got {len(packed)}")
    os.write(descriptor, packed)


@dataclass
class Reader:
    """Takes records out of a pipe; None at its end."""

    descriptor: int
    _rest: bytes = field(default=b"", init=False)

    def read(self) -> Record | None:
        """Wait for one record."""
        while (record := self._whole()) is None:
            more = os.read(self.descriptor, 65536)
            if not more:
                return None
            self._rest += more
        return record

    def ready(self) -> bool:
        """Say whether `read` would return at once."""
        if self._complete():
            return True
        return bool(select.select([self.descriptor], [], [], 0)[0])

    def _complete(self) -> bool:
        return len(self._rest) >= _HEAD.size and len(self._rest) >= _HEAD.size + _HEAD.unpack_from(self._rest)[1]

    def _whole(self) -> Record | None:
        if not self._complete():
            return None
        kind, length = _HEAD.unpack_from(self._rest)
        content = self._rest[_HEAD.size : _HEAD.size + length]
        self._rest = self._rest[_HEAD.size + length :]
        return Record(kind, json.loads(content))

"""A disk with a cache that a cut of the power empties: NBD over a unix socket, for QEMU.

What is written stays in the cache until the guest flushes, or asks for that write to be on the platter (FUA), or the
cache is full: then the oldest sectors go. A cut keeps a random share of what is in the cache, sector by sector.
"""

import contextlib
import os
import random
import socket
import struct
import threading
from pathlib import Path

SECTOR = 512
CACHE_SECTORS = (64 << 20) // SECTOR
_OPTION, _REQUEST = struct.Struct(">8sII"), struct.Struct(">IHHQQI")
_GO, _UNSUPPORTED = 7, 0x80000001
_FEATURES = 1 | 4 | 8
"""Of the protocol: has flags, flush, FUA."""


class Disk:
    """A file as a disk. One guest at a time; `cut` is called when there is none.

    Args:
        path: the platter.
        door: the socket that it is served at.
    """

    def __init__(self, path: Path, door: Path) -> None:
        self.path = path
        self.flushes = self.lost = 0
        """How often the cache was flushed; sectors lost in cuts."""
        self._size = path.stat().st_size
        self._platter = os.open(path, os.O_RDWR)
        self._cache: dict[int, bytes] = {}
        """Sectors by number, the oldest first."""
        self._idle = threading.Event()
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(door))
        self._server.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def cut(self, chance: random.Random) -> int:
        """The power goes; returns how many sectors went with it."""
        assert self._idle.wait(30), "expected the guest to have let go of its disk"
        share = chance.choice((0.0, 0.5, chance.random()))
        kept = {number: data for number, data in self._cache.items() if chance.random() < share}
        lost = len(self._cache) - len(kept)
        self._put(kept)
        self._cache.clear()
        self.lost += lost
        return lost

    def settle(self) -> None:
        """The guest has ended in order, or the disk is taken out: all of it is on the platter."""
        assert self._idle.wait(30), "expected the guest to have let go of its disk"
        self._put(self._cache)
        self._cache.clear()

    def close(self) -> None:
        """Serve nobody any more."""
        self._server.close()
        os.close(self._platter)

    def _put(self, sectors: dict[int, bytes]) -> None:
        run, start = bytearray(), 0
        for number in sorted(sectors):
            if number != start + len(run) // SECTOR or len(run) >= 1 << 20:
                os.pwrite(self._platter, run, start * SECTOR)
                run, start = bytearray(), number
            run += sectors[number]
        os.pwrite(self._platter, run, start * SECTOR)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                line, _ = self._server.accept()
                self._idle.clear()
                with line, contextlib.suppress(ConnectionError):  # the guest is gone
                    if self._greet(line):
                        self._work(line)
                self._idle.set()

    def _greet(self, line: socket.socket) -> bool:
        line.sendall(b"NBDMAGICIHAVEOPT" + struct.pack(">H", 1))
        _take(line, 4)
        while True:
            _, option, length = _OPTION.unpack(_take(line, _OPTION.size))
            _take(line, length)
            reply = struct.pack(">QI", 0x3E889045565A9, option)
            if option != _GO:
                line.sendall(reply + struct.pack(">II", _UNSUPPORTED, 0))
                continue
            about = struct.pack(">HQH", 0, self._size, _FEATURES)
            line.sendall(reply + struct.pack(">II", 3, len(about)) + about + reply + struct.pack(">II", 1, 0))
            return True

    def _work(self, line: socket.socket) -> None:
        while True:
            _, flags, kind, cookie, at, length = _REQUEST.unpack(_take(line, _REQUEST.size))
            answer = struct.pack(">IIQ", 0x67446698, 0, cookie)
            match kind:
                case 0:
                    line.sendall(answer + self._read(at, length))
                case 1:
                    self._write(at, _take(line, length), through=bool(flags & 1))
                    line.sendall(answer)
                case 3:
                    self.flushes += 1
                    self._put(self._cache)
                    self._cache.clear()
                    line.sendall(answer)
                case _:
                    return

    def _read(self, at: int, length: int) -> bytes | bytearray:
        data = os.pread(self._platter, length, at)
        if not self._cache:
            return data
        found = bytearray(data)
        first = at // SECTOR
        for number in range(first, first + length // SECTOR):
            if number in self._cache:
                found[(number - first) * SECTOR : (number - first + 1) * SECTOR] = self._cache[number]
        return found

    def _write(self, at: int, data: bytes, *, through: bool) -> None:
        first = at // SECTOR
        sectors = {first + n: data[n * SECTOR : (n + 1) * SECTOR] for n in range(len(data) // SECTOR)}
        for number in sectors:  # what is written again is young again
            self._cache.pop(number, None)
        if through:
            self._put(sectors)
            return
        self._cache |= sectors
        old = [number for number, _ in zip(self._cache, range(len(self._cache) - CACHE_SECTORS), strict=False)]
        self._put({number: self._cache.pop(number) for number in old})


def _take(line: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        part = line.recv(min(count - len(data), 1 << 20))
        if not part:
            raise ConnectionResetError
        data += part
    return bytes(data)

"""A disk with a cache that a cut of the power empties: NBD over a unix socket, for QEMU.

What is written stays in the cache until the guest flushes, or asks for that write to be on the platter (FUA), or the
cache is full: then the oldest sectors go. A cut keeps a random share of the cache, sector by sector.
"""

import os
import random
import socket
import struct
import threading
from pathlib import Path
from typing import BinaryIO

SECTOR = 512
CACHE_SECTORS = (64 << 20) // SECTOR
_GO, _UNSUPPORTED, _FLUSH_AND_FUA = 7, 0x80000001, 1 | 4 | 8


class Disk:
    """A file as a disk, of one guest at a time; `door`: the socket that it is served at."""

    def __init__(self, path: Path, door: Path) -> None:
        self.path = path
        self._platter = os.open(path, os.O_RDWR)
        self._cache: dict[int, bytes] = {}
        """Sectors by number, the oldest first."""
        self._idle = threading.Event()
        self._idle.set()
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(door))
        self._server.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def cut(self, chance: random.Random) -> int:
        """The power went, and with it so many sectors."""
        assert self._idle.wait(30), "expected the guest to have let go of its disk"
        share = chance.choice((0.0, 0.5, chance.random()))
        kept = {number: data for number, data in self._cache.items() if chance.random() < share}
        lost = len(self._cache) - len(kept)
        self._cache = kept
        self.flush()
        return lost

    def flush(self) -> None:
        """Put all of the cache on the platter."""
        self._put(self._cache)
        self._cache.clear()

    def _put(self, sectors: dict[int, bytes]) -> None:
        run, start = bytearray(), 0
        for number in sorted(sectors):
            if number * SECTOR != start + len(run) or len(run) >= 1 << 20:
                os.pwrite(self._platter, run, start)
                run, start = bytearray(), number * SECTOR
            run += sectors[number]
        os.pwrite(self._platter, run, start)

    def _serve(self) -> None:
        while True:
            line, _ = self._server.accept()
            self._idle.clear()
            with line, line.makefile("rb") as heard:
                try:
                    self._greet(line, heard)
                    self._work(line, heard)
                except (OSError, struct.error):  # the guest is gone
                    pass
            self._idle.set()

    def _greet(self, line: socket.socket, heard: BinaryIO) -> None:
        line.sendall(b"NBDMAGICIHAVEOPT" + struct.pack(">H", 1))
        heard.read(4)
        option = 0
        while option != _GO:
            option, length = struct.unpack(">8xII", heard.read(16))
            heard.read(length)
            reply = struct.pack(">QI", 0x3E889045565A9, option)
            if option != _GO:
                line.sendall(reply + struct.pack(">II", _UNSUPPORTED, 0))
        size = os.fstat(self._platter).st_size
        line.sendall(reply + struct.pack(">IIHQH", 3, 12, 0, size, _FLUSH_AND_FUA) + reply + struct.pack(">II", 1, 0))

    def _work(self, line: socket.socket, heard: BinaryIO) -> None:
        while True:
            flags, kind, cookie, at, length = struct.unpack(">4xHHQQI", heard.read(28))
            answer = struct.pack(">IIQ", 0x67446698, 0, cookie)
            match kind:
                case 0:
                    answer += self._read(at, length)
                case 1:
                    self._write(at // SECTOR, heard.read(length), through=bool(flags & 1))
                case 3:
                    self.flush()
                case _:
                    return
            line.sendall(answer)

    def _read(self, at: int, length: int) -> bytes:
        found = bytearray(os.pread(self._platter, length, at))
        for start in range(0, length, SECTOR) if self._cache else ():
            if (data := self._cache.get((at + start) // SECTOR)) is not None:
                found[start : start + SECTOR] = data
        return bytes(found)

    def _write(self, first: int, data: bytes, *, through: bool) -> None:
        sectors = {first + n: data[n * SECTOR : (n + 1) * SECTOR] for n in range(len(data) // SECTOR)}
        for number in sectors:  # what is written again is young again
            self._cache.pop(number, None)
        if through:
            self._put(sectors)
            return
        self._cache |= sectors
        old = [number for number, _ in zip(self._cache, range(len(self._cache) - CACHE_SECTORS), strict=False)]
        self._put({number: self._cache.pop(number) for number in old})

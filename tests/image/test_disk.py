"""The disk of the emulated box: what a guest was told is safe survives a cut, what is in its cache need not."""

import random
import socket
import struct

import pytest

from tests.image.disk import CACHE_SECTORS, SECTOR, Disk

READ, WRITE, FLUSH = 0, 1, 3


class Guest:
    """A client of NBD, as far as the disk knows it."""

    def __init__(self, door):
        self.line = socket.socket(socket.AF_UNIX)
        self.line.connect(str(door))
        assert self.take(18)[:8] == b"NBDMAGIC"
        self.line.sendall(struct.pack(">I8sII", 1, b"IHAVEOPT", 8, 0))
        assert self.take(20)[12:16] == struct.pack(">I", 0x80000001)
        self.line.sendall(struct.pack(">8sIIIH", b"IHAVEOPT", 7, 6, 0, 0))
        self.size, self.features = struct.unpack(">22xQH20x", self.take(52))

    def take(self, count):
        return self.line.recv(count, socket.MSG_WAITALL)

    def ask(self, kind, at=0, length=0, data=b"", flags=0):
        self.line.sendall(struct.pack(">IHHQQI", 0x25609513, flags, kind, 7, at, length or len(data)) + data)
        assert self.take(16) == struct.pack(">IIQ", 0x67446698, 0, 7)
        return self.take(length) if length else b""

    def write(self, number, sign, flags=0):
        self.ask(WRITE, number * SECTOR, data=sign * SECTOR, flags=flags)

    def read(self, number, count=1):
        return self.ask(READ, number * SECTOR, count * SECTOR)[::SECTOR]


@pytest.fixture
def disk(tmp_path):
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(2 * CACHE_SECTORS * SECTOR))
    disk = Disk(path, tmp_path / "door")
    yield disk
    disk.close()


def test_a_cut_takes_what_was_not_flushed_and_nothing_else(disk, tmp_path):
    guest = Guest(tmp_path / "door")
    assert guest.size == disk.path.stat().st_size
    guest.write(0, b"a")
    guest.ask(FLUSH)
    guest.write(1, b"b", flags=1)
    for number in range(2, 102):
        guest.write(number, b"c")
    guest.write(0, b"d")
    assert guest.read(0, 4) == b"dbcc"
    guest.line.close()
    lost = disk.cut(random.Random(3))
    assert 0 < lost < 101
    guest = Guest(tmp_path / "door")
    found = guest.read(0, 102)
    assert found[0] in b"ad"
    assert found[1] == ord("b")
    assert found.count(b"c") + found.count(b"d") == 101 - lost
    guest.line.close()


def test_a_full_cache_gives_its_oldest_to_the_platter(disk, tmp_path):
    guest = Guest(tmp_path / "door")
    guest.write(0, b"a")
    for at in range(CACHE_SECTORS // 1024):
        guest.ask(WRITE, (1 + at * 1024) * SECTOR, data=b"b" * 1024 * SECTOR)
    guest.line.close()

    class Nothing(random.Random):
        def choice(self, _shares):
            return 0.0

    assert disk.cut(Nothing()) == CACHE_SECTORS
    assert disk.path.read_bytes()[: 2 * SECTOR : SECTOR] == b"a\0"

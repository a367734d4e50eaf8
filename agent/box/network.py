"""The networks that this box is in, as the kernel tells them."""

import contextlib
import fcntl
import socket
import struct
from array import array
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path
from typing import Final

SIOCGIFCONF, SIOCGIFNETMASK = 0x8912, 0x891B
IFREQ: Final = 40
"""Bytes of a `struct ifreq` where pointers have 64 bits."""
MOST: Final = 64
WIDEST: Final = 22
"""Bits of the prefix; of a larger network the 256 addresses around the box's own are searched."""


@dataclass(frozen=True)
class Address:
    """One IPv4 address of this box."""

    interface: str
    address: str
    prefix: int

    @property
    def searched(self) -> IPv4Network:
        """The addresses among which its cameras may be."""
        return IPv4Interface(f"{self.address}/{self.prefix if self.prefix >= WIDEST else 24}").network


def addresses() -> list[Address]:
    """All of them, link-local ones last; without loopback."""
    room, found = array("B", bytes(IFREQ * MOST)), []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        asked = struct.pack("iP", len(room), room.buffer_info()[0])
        size, _ = struct.unpack("iP", fcntl.ioctl(line, SIOCGIFCONF, asked))
        for at in range(0, size, IFREQ):
            request = bytes(room[at : at + IFREQ])
            name, own = request[:16].split(b"\0")[0].decode("ascii", "replace"), request[20:24]
            with contextlib.suppress(OSError):  # it is gone
                mask = fcntl.ioctl(line, SIOCGIFNETMASK, request)[20:24]
                if own[0] != 127:
                    found.append(Address(name, socket.inet_ntoa(own), int.from_bytes(mask).bit_count()))
    return sorted(found, key=lambda one: one.address.startswith("169.254."))


def gateway() -> str:
    """The default route's; empty: there is none."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/net/route").read_text("ascii").splitlines()[1:]:
            if line.split()[1] == "00000000":
                return socket.inet_ntoa(int(line.split()[2], 16).to_bytes(4, "little"))
    return ""

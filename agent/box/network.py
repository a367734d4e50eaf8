"""The networks that this box is in, as the kernel tells them."""

import contextlib
import fcntl
import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path
from typing import Final

SIOCGIFADDR, SIOCGIFNETMASK = 0x8915, 0x891B
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
    """Of all interfaces that have one; without loopback."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            with contextlib.suppress(OSError):
                own = fcntl.ioctl(line, SIOCGIFADDR, request)[20:24]
                mask = fcntl.ioctl(line, SIOCGIFNETMASK, request)[20:24]
                if own[0] != 127:
                    found.append(Address(name, socket.inet_ntoa(own), int.from_bytes(mask).bit_count()))
    return found


def gateway() -> str:
    """The default route's; empty: there is none."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/net/route").read_text("ascii").splitlines()[1:]:
            if line.split()[1] == "00000000":
                return socket.inet_ntoa(int(line.split()[2], 16).to_bytes(4, "little"))
    return ""

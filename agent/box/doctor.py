"""What can be known of this machine that an installer should mend before going down the ladder.

Each part looks at files of the kernel or at the network and returns findings; folders are handed in, so that a test
shows it another machine.
"""

import json
import os
import shutil
import socket
import ssl
import struct
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.box.clock import kernel_synchronised
from agent.box.diagnostics import memory_kib
from agent.box.enrolment import FOLDER, Lifetime, Membership, center_time
from agent.box.power import Power, read_power, read_text
from agent.findings import Finding, FindingState
from protocol.broker import BrokerLine

WARM_C, TOO_HOT_C = 75.0, 85.0
LEAST_FREE_BYTES: Final = 512 * 1024 * 1024
LEAST_MEMORY_BYTES: Final = 900 * 1024 * 1024
WORN: Final = 8
"""Of eleven steps of `life_time` (JEDEC eMMC 5.1, EXT_CSD 268): 70 to 80 % used."""
WORN_PERCENT: Final = 80
LEAST_MTU: Final = 1280
"""Less is no network for IPv6 (RFC 8200), and TLS of common servers does not come through."""
CLOCK_S: Final = 5.0
EXPIRES_S: Final = 30 * 86400.0
BROKER_EXPIRES_S: Final = 14 * 86400.0
Tell = Callable[[Sequence[str]], str]
"""Runs a command and gives what it writes."""


@dataclass(frozen=True)
class Roots:
    """Where the kernel shows the machine."""

    sys: Path = Path("/sys")
    proc: Path = Path("/proc")


def examine_machine(
    state_dir: Path, outbox_bytes: int, roots: Roots = Roots(), tell: Tell = lambda command: told(command)[1]
) -> list[Finding]:
    """Power, temperature, memory, disk."""
    power = read_power(roots.sys)
    found = [*_power(power), *_temperature(power.temperature_c), *_memory(roots)]
    return [*found, *_disk(state_dir, outbox_bytes), *_wear(roots, tell)]


def _power(power: Power) -> list[Finding]:
    todo = "take the power supply that the board's maker names, and a shorter or thicker cable"
    if power.low:
        return [Finding("power", "FAIL", "the voltage is too low now", todo, "undervoltage")]
    if power.was_low:
        return [Finding("power", "warn", "the voltage was too low since the start", todo, "undervoltage_was")]
    if power.slowed:
        return [Finding("power", "warn", "the processor is slowed down", "see the temperature", "slowed")]
    return [Finding("power", "ok", "the voltage is right" if power.known else "this machine does not tell its voltage")]


def _temperature(hottest: float | None) -> list[Finding]:
    if hottest is None:
        return [Finding("temperature", "ok", "this machine does not tell it")]
    todo = "shade it from the sun, leave air around it, clean its fan"
    state: FindingState = "FAIL" if hottest >= TOO_HOT_C else "warn" if hottest >= WARM_C else "ok"
    return [Finding("temperature", state, f"{hottest:.0f} °C", *(() if state == "ok" else (todo, "hot")))]


def _memory(roots: Roots) -> list[Finding]:
    total = memory_kib(roots.proc / "meminfo").get("MemTotal", 0) * 1024
    small = 0 < total < LEAST_MEMORY_BYTES
    says = f"{total / 1e9:.1f} GB"
    if small:
        return [Finding("memory", "warn", says, "take a board with 1 GB or more, or few cameras", "little_memory")]
    return [Finding("memory", "ok", says)] if total else []


def _disk(state_dir: Path, outbox_bytes: int) -> list[Finding]:
    found = []
    room = shutil.disk_usage(state_dir)
    need = outbox_bytes + LEAST_FREE_BYTES
    used = sum(path.stat().st_size for path in state_dir.glob("outbox.db*"))
    little = room.free + used < need
    todo = f"free some, or set outbox_mb to {max(64, (room.free + used - LEAST_FREE_BYTES) >> 20)} or less"
    says = f"{room.free / 1e9:.1f} of {room.total / 1e9:.1f} GB free at {state_dir}"
    found.append(Finding("disk", "warn", says, todo, "little_room") if little else Finding("disk", "ok", says))
    if not os.access(state_dir, os.W_OK) or os.statvfs(state_dir).f_flag & os.ST_RDONLY:
        todo = "look at the kernel's log: a worn card becomes read-only; take another one"
        found.append(Finding("disk", "FAIL", f"{state_dir} cannot be written", todo, "read_only"))
    return found


def _wear(roots: Roots, tell: Tell) -> list[Finding]:
    found = []
    for device in sorted(roots.sys.glob("block/mmcblk*/device")):
        name = device.parent.name
        worn = max((int(part, 16) for part in read_text(device / "life_time").split()), default=0)
        if worn:
            says = f"{name}: {(worn - 1) * 10} to {worn * 10} % of its life used" if worn < 11 else f"{name}: worn out"
            found.append(_life(says, worn=worn >= WORN))
    for errors in sorted(roots.sys.glob("fs/ext4/*/errors_count")):
        count = read_text(errors)
        if count not in ("", "0"):
            says = f"{errors.parent.name}: {count} errors of the file system"
            todo = "check it at the next start: fsck; take another card if they come back"
            found.append(Finding("disk", "warn", says, todo, "fs_errors"))
    for device in sorted([*roots.sys.glob("block/sd*"), *roots.sys.glob("block/nvme*")]):
        found += _smart(device.name, tell(("smartctl", "-j", "-H", "-A", f"/dev/{device.name}")))
    return found


def _life(says: str, *, worn: bool) -> Finding:
    todo = "take another card or board before it becomes read-only"
    return Finding("disk", "warn", says, todo, "worn") if worn else Finding("disk", "ok", says)


def _smart(name: str, text: str) -> list[Finding]:
    """What a disk says of itself, as smartctl writes it; nothing where that is not there or may not ask."""
    try:
        told = json.loads(text)
        good = told.get("smart_status", {}).get("passed")
        used = told.get("nvme_smart_health_information_log", {}).get("percentage_used")
    except (ValueError, TypeError, KeyError, AttributeError):
        return []
    if good is False:
        todo = "save what is on it and take another disk now"
        return [Finding("disk", "FAIL", f"{name}: it says that it fails (SMART)", todo, "smart")]
    if used is not None:
        return [_life(f"{name}: {used} % of its life used", worn=used >= WORN_PERCENT)]
    return []


def told(command: Sequence[str]) -> tuple[bool, str]:
    """Whether a program of the system went well, and what it wrote; nothing where it is not there."""
    program = shutil.which(command[0], path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if program is None:
        return False, ""
    try:
        done = subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return False, ""
    return done.returncode == 0, done.stdout


def examine_clock(state_dir: Path, now: Callable[[], float] = time.time) -> list[Finding]:
    """Whether somebody keeps the clock right, and how far it is from the center's."""
    found = [Finding("clock", "ok", "kept right by NTP")]
    if not kernel_synchronised():
        todo = "timedatectl set-ntp true, with a time server of this network"
        found = [Finding("clock", "warn", "nobody keeps it right", todo, "no_ntp")]
    member = Membership.load(state_dir)
    if member is None:
        return found
    theirs_s = center_time(state_dir, member)
    if theirs_s is None:
        return found
    off_s = now() - theirs_s
    good = abs(off_s) <= CLOCK_S
    says = f"{off_s:+.0f} s from the center's"
    if good:
        return [*found, Finding("clock", "ok", says)]
    return [
        *found,
        Finding("clock", "FAIL", says, "set it by hand once (timedatectl set-time), then by NTP", "clock_off"),
    ]


def examine_certificate(state_dir: Path, now: Callable[[], float] = time.time) -> list[Finding]:
    """How long the box's certificate is good."""
    if Membership.load(state_dir) is None:
        return []
    try:
        life = Lifetime.of(state_dir / FOLDER / "box.pem")
    except (OSError, ValueError):
        return [Finding("certificate", "FAIL", "it cannot be read", "enrol this box anew", "cert_unreadable")]
    if now() < life.begins_s:
        return [Finding("certificate", "FAIL", "it is not good yet", "the box's clock is behind: set it", "cert_early")]
    left_s = life.ends_s - now()
    if left_s <= 0:
        todo = "ask the center for a new label and enrol this box anew"
        return [Finding("certificate", "FAIL", "it is over", todo, "cert_over")]
    says = f"good for {left_s / 86400:.0f} days"
    if left_s < EXPIRES_S:
        return [Finding("certificate", "warn", says, "it renews itself once the center is reached", "cert_soon")]
    return [Finding("certificate", "ok", says)]


def examine_way(host: str, port: int) -> list[Finding]:
    """Name, route, MTU and the port of the center's broker, in the order in which one needs the other."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    except OSError:
        todo = "check the name server of this network (/etc/resolv.conf)"
        return [Finding("DNS", "FAIL", f"{host} has no address", todo, "no_name")]
    found = [Finding("DNS", "ok", f"{host} has the address {address[0]}")]
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as line:
            line.connect(address)
            own = line.getsockname()[0]
            mtu = line.getsockopt(socket.IPPROTO_IPV6, 24) if family == socket.AF_INET6 else _mtu(line)
    except OSError as fault:
        todo = "check cable, VLAN and gateway: ip route"
        return [*found, Finding("route", "FAIL", f"there is no way to {address[0]} ({fault.strerror})", todo, "no_way")]
    found.append(Finding("route", "ok", f"from {own}"))
    todo = "TLS will hang: set the MTU of the modem or tunnel to 1400"
    small = Finding("MTU", "warn", f"{mtu} bytes", todo, "small_mtu")
    found.append(small if mtu < LEAST_MTU else Finding("MTU", "ok", f"{mtu} bytes"))
    try:
        with socket.create_connection((host, port), 5):
            return found
    except OSError as fault:
        why = fault.strerror or "no answer within 5 s"
        todo = f"does the broker run? does a firewall let TCP {port} through?"
        return [*found, Finding("port", "FAIL", f"{host}:{port}: {why}", todo, "no_broker")]


def examine_tls(line: BrokerLine, folder: Path, now: Callable[[], float] = time.time) -> list[Finding]:
    """Whether the broker is the one that this box trusts, and for how long its certificate is good."""
    host, port = line.address
    try:
        context = line.tls(folder)
        if context is None:
            return []
        with (
            socket.create_connection((host, port), 5) as plain,
            context.wrap_socket(plain, server_hostname=host) as tls,
        ):
            ends_s = ssl.cert_time_to_seconds(str((tls.getpeercert() or {})["notAfter"]))
            says = f"{tls.version()}; the broker's certificate is good for {(ends_s - now()) / 86400:.0f} days"
    except (OSError, ValueError, KeyError) as fault:
        why = getattr(fault, "verify_message", "") or getattr(fault, "reason", "") or type(fault).__name__
        todo = "is the box's clock right? is this the center's broker? else enrol this box anew"
        return [Finding("TLS", "FAIL", f"{host}:{port}: {why}", todo, "tls")]
    if ends_s - now() < BROKER_EXPIRES_S:
        return [Finding("TLS", "warn", says, "have the center renew it: cityeye-collector init --renew", "tls_soon")]
    return [Finding("TLS", "ok", says)]


def _mtu(line: socket.socket) -> int:
    """Of the way to where a socket is connected (IP_MTU, ip(7))."""
    value: int = struct.unpack("i", line.getsockopt(socket.IPPROTO_IP, 14, 4))[0]
    return value


def fix(secrets_file: Path, euid: int, run: Callable[[Sequence[str]], bool]) -> list[Finding]:
    """Mend what needs no decision: a secrets file that others can read, a clock that nobody keeps right.

    Args:
        secrets_file: beside the settings; may be absent.
        euid: who does it.
        run: carries a command out; says whether it went well.
    """
    found = []
    if secrets_file.exists() and secrets_file.stat().st_mode & 0o077:
        try:
            secrets_file.chmod(0o600)
            found.append(Finding("secrets", "ok", f"{secrets_file} is readable by its owner only now"))
        except OSError as fault:
            todo = f"chmod 600 {secrets_file}"
            found.append(
                Finding("secrets", "FAIL", f"others can read {secrets_file} ({fault.strerror})", todo, "open_secrets")
            )
    if not kernel_synchronised() and euid == 0 and run(("timedatectl", "set-ntp", "true")):
        found.append(Finding("clock", "ok", "NTP is switched on now; it takes a minute"))
    return found

"""What root makes of the card at each start: network, time, logins; and what it leaves for the agent and for people.

Everything lies in `/run` and is gone with the power, so that the card alone decides::

    NetworkManager/system-connections/cityeye-*.nmconnection    cable, VLAN, Wi-Fi, modem
    systemd/timesyncd.conf.d/cityeye.conf                       time servers
    cityeye/localtime, cityeye/country                          time zone (a link), country of the radio
    cityeye/ssh/authorized_keys                                 with it, sshd starts
    cityeye/card.json, cityeye/claim.json                       how it reads, for all; the claim, for the agent alone
"""

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from uuid import NAMESPACE_DNS, uuid5

from agent.box.twin import write_whole
from protocol.card import Card, Fault, Words, read_card

NAMES: Final = ("cityeye.toml", "cityeye.toml.txt")
"""Windows hides what Notepad adds."""
ZONES: Final = Path("/usr/share/zoneinfo")
ZONE: Final = "Asia/Shanghai"
FOREVER_S: Final = 2**31 - 1
"""NetworkManager would give an interface up, and its link-local address with it, where no DHCP server answers."""
Sections = dict[str, dict[str, object]]


def read_card_of(folder: Path) -> tuple[Card, tuple[Fault, ...], bool]:
    """The card of a boot partition, its faults, and whether there is one; none is no fault, no partition is one."""
    came = Words("空的分区", "nothing")
    try:
        for name in NAMES:
            if (folder / name).exists():
                return *read_card((folder / name).read_bytes()), True
        if any(folder.iterdir()):
            return Card(), (), False
    except OSError as fault:
        came = Words(str(fault.strerror), str(fault.strerror))
    expected, todo = (
        Words("可读的 CITYEYE 分区", "the partition CITYEYE"),
        Words("请在电脑上修复它，或重新烧录", "repair it on a laptop, or flash it"),
    )
    return Card(), (Fault("", None, expected, came, todo),), False


def apply(folder: Path, run: Path) -> tuple[Fault, ...]:
    """Carry out the card of a boot partition; returns its faults. Raises OSError where `run` cannot be written."""
    card, faults, present = read_card_of(folder)
    own = run / "cityeye"
    (own / "agent").mkdir(mode=0o775, parents=True, exist_ok=True)
    (own / "agent").chmod(0o775)  # the agent's group, whatever the mask is
    connections = run / "NetworkManager" / "system-connections"
    keys, servers = own / "ssh/authorized_keys", run / "systemd/timesyncd.conf.d/cityeye.conf"
    for path in (*connections.glob("cityeye-*"), own / "country", own / "claim.json", keys, servers):
        path.unlink(missing_ok=True)
    for name, sections in connections_of(card).items():
        _write(connections / f"cityeye-{name}.nmconnection", keyfile(sections), 0o600)
    if card.time.servers:
        _write(servers, f"[Time]\nNTP={' '.join(card.time.servers)}\n")
    link = own / "localtime.new"
    link.unlink(missing_ok=True)
    link.symlink_to(ZONES / (card.time.zone or ZONE))
    link.replace(own / "localtime")
    if card.wifi is not None:
        _write(own / "country", f"{card.wifi.country}\n")
    if card.ssh.keys:
        _write(keys, "".join(f"{key}\n" for key in card.ssh.keys))
    if card.invitation is not None:
        _write(own / "claim.json", json.dumps({"label": str(card.invitation)}), 0o640)
    told = {"present": present, "site": card.box.site, "zone": card.time.zone}
    _write(own / "card.json", json.dumps(told | {"faults": [one.values() for one in faults]}, ensure_ascii=False))
    return faults


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    write_whole(path, text.encode(), mode)
    path.chmod(mode)


def connections_of(card: Card) -> dict[str, Sections]:
    """What NetworkManager is told, by name: any cable by DHCP in any case, and before it what the card says."""
    network, made = card.network, dict[str, Sections]()
    mtu: dict[str, object] = {"mtu": network.mtu} if network.mtu else {}
    made["any"] = _connection("any", "ethernet", {"ethernet": mtu}, multi_connect=3)
    configured = _ip(card)
    if network.vlan:
        # without the VLAN's tag it can be reached as well, where the tag is what is wrong
        made["cable"] = _connection(
            "cable", "ethernet", {"ethernet": mtu, "ipv4": {"method": "link-local"}}, priority=20
        )
        vlan = {"id": network.vlan, "parent": made["cable"]["connection"]["uuid"], "flags": 1}
        more: Sections = {"vlan": vlan, "ethernet": mtu, "ipv4": configured}
        made["vlan"] = _connection("vlan", "vlan", more, interface_name=f"vlan{network.vlan}", priority=20)
    elif network.address or network.dns:
        made["cable"] = _connection("cable", "ethernet", {"ethernet": mtu, "ipv4": configured}, priority=20)
    if card.wifi is not None:
        # as bytes: a name may hold signs that the file gives a meaning to
        name = "".join(f"{byte};" for byte in card.wifi.ssid.encode("utf-8", "replace"))
        radio: Sections = {"wifi": {"ssid": name, "mode": "infrastructure"}}
        if card.wifi.password is not None:
            radio["wifi-security"] = {"key-mgmt": "wpa-psk", "psk": card.wifi.password}
        made["wifi"] = _connection("wifi", "wifi", radio)
    if card.modem is not None:
        modem = card.modem
        values = {"apn": modem.apn, "pin": modem.pin, "username": modem.user, "password": modem.password}
        gsm: dict[str, object] = {name: value for name, value in values.items() if value}
        made["modem"] = _connection("modem", "gsm", {"gsm": gsm, "ipv4": {"method": "auto"}})
    return made


def _connection(name: str, kind: str, sections: Sections, priority: int = 0, **more: object) -> Sections:
    head = {"id": f"cityeye-{name}", "uuid": uuid5(NAMESPACE_DNS, f"{name}.cityeye"), "type": kind}
    head |= {"autoconnect-priority": priority, "autoconnect-retries": 0}
    head |= {key.replace("_", "-"): value for key, value in more.items()}
    defaults: Sections = {"ipv4": _auto(), "ipv6": {"method": "auto", "addr-gen-mode": 0}}
    return {"connection": head, **defaults, **sections}


def _auto() -> dict[str, object]:
    return {"method": "auto", "link-local": 3, "dhcp-timeout": FOREVER_S}


def _ip(card: Card) -> dict[str, object]:
    network = card.network
    values = _auto()
    if network.address:
        gateway = f",{network.gateway}" if network.gateway else ""
        values = {"method": "manual", "link-local": 3, "address1": f"{network.address}{gateway}"}
    if network.dns:
        values |= {"dns": "".join(f"{one};" for one in network.dns), "ignore-auto-dns": "true"}
    return values


def keyfile(sections: Mapping[str, Mapping[str, Any]]) -> str:
    """As GLib's key files are written; texts have one line."""
    parts = []
    for name, values in sections.items():
        # at both ends it would be taken away
        escaped = {key: re.sub(r"^ | $", r"\\s", str(value).replace("\\", "\\\\")) for key, value in values.items()}
        parts += [f"[{name}]", *(f"{key}={value}" for key, value in escaped.items()), ""]
    return "\n".join(parts)


if __name__ == "__main__":  # at each start; the command line would load everything that sees
    for one in apply(Path("/boot/cityeye"), Path("/run")):
        sys.stderr.write(f"{one.text('en')}\n")

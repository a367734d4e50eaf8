"""What mosquitto reads: its configuration, its ACL and the list of revoked certificates.

They are made from `protocol.topics`, so that broker and boxes cannot disagree on who writes what. All lie in one folder
that the broker may read::

    mosquitto.conf  acl  ca.crt  crl.pem  server.pem (0640: the broker's group reads its key)
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from protocol.broker import MAX_PACKET_BYTES
from protocol.topics import BOX_READS, BOX_WRITES, PER_CAMERA, ROOT

DEPLOYED: Final = Path("/var/lib/cityeye-center/broker")
"""Where the example in `deploy/broker/` has its files."""
CHECK_USER: Final = "cityeye-check"
"""Who `broker check` is besides its boxes; also the site of these. It may do nothing anywhere else."""


@dataclass(frozen=True)
class Listener:
    """Where and how mosquitto runs.

    Args:
        port: that boxes connect to.
        address: that it binds; empty: all.
        folder: with the files, as the broker sees it.
        state: folder for what it keeps over a restart.
        user: that it becomes after its start as root.
    """

    folder: Path
    port: int = 8883
    address: str = ""
    state: Path = Path("/var/lib/mosquitto")
    user: str = "mosquitto"


def configuration(where: Listener) -> str:
    """Write `mosquitto.conf`, whole: Debian's own is replaced by it."""
    return f"""\
# Written by `cityeye-collector broker config`; do not edit.
per_listener_settings false
user {where.user}
log_dest stderr
log_type error
log_type warning
log_type notice
connection_messages true

listener {where.port}{f" {where.address}" if where.address else ""}
protocol mqtt
cafile {where.folder / "ca.crt"}
certfile {where.folder / "server.pem"}
keyfile {where.folder / "server.pem"}
tls_version tlsv1.2
# read again on SIGHUP
crlfile {where.folder / "crl.pem"}
# a certificate says who somebody is: its CN is the user and the client id, whatever the client says
allow_anonymous false
require_certificate true
use_identity_as_username true
use_username_as_clientid true
max_connections 20000
max_qos 1
acl_file {where.folder / "acl"}

# what the protocol allows, and 4 KiB
max_packet_size {MAX_PACKET_BYTES + 4096}
max_keepalive 300
# the collector may be away for a while; what does not fit here, the boxes send again
max_inflight_messages 100
max_queued_messages 100000
max_queued_bytes 536870912
queue_qos0_messages false
persistent_client_expiration 7d

persistence true
persistence_location {where.state}/
autosave_interval 300
"""


def acl(collectors: Sequence[str]) -> str:
    """Write the ACL: each box its own leaves and no others, collectors all of them.

    `%u` is the CN. The site is not proven here: the collector compares it with its register.
    """
    lines = ["# Written by `cityeye-collector broker config`; do not edit. %u is the CN of the certificate."]
    lines += ["", "# boxes"]
    lines += [f"pattern write {ROOT}/+/%u/{_tail(leaf)}" for leaf in BOX_WRITES]
    lines += [f"pattern read {ROOT}/+/%u/{leaf}" for leaf in BOX_READS]
    for name in collectors:
        lines += ["", f"user {name}", *_center("+")]
    lines += ["", "# `cityeye-collector broker check`", f"user {CHECK_USER}", *_center(CHECK_USER)]
    return "\n".join(lines) + "\n"


def _center(site: str) -> list[str]:
    return [
        *(f"topic read {ROOT}/{site}/+/{_tail(leaf)}" for leaf in BOX_WRITES),
        *(f"topic write {ROOT}/{site}/+/{leaf}" for leaf in BOX_READS),
    ]


def _tail(leaf: str) -> str:
    return f"{leaf}/+" if leaf in PER_CAMERA else leaf


def main() -> None:
    """Write the example: `python -m collector.boxes.broker_files deploy/broker`."""
    folder = Path(sys.argv[1])
    (folder / "mosquitto.conf").write_text(configuration(Listener(DEPLOYED)), "utf-8")
    (folder / "acl").write_text(acl(["cityeye-center-CENTER"]), "utf-8")


if __name__ == "__main__":
    main()

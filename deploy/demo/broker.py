"""The demo's broker, in the foreground: `python broker.py PORT FOLDER`. iotcore is rumqttd in a wheel."""

import logging
import sys
from pathlib import Path

from iotcore import IotCoreBroker

# rumqttd by itself would listen with MQTT 3.1.1 and refuse packets of 2 KB
CONFIG = """\
id = 0

[router]
id = 0
max_connections = 100
max_outgoing_packet_count = 200
max_segment_size = 16777216
max_segment_count = 10

[v5.1]
name = "v5"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1

[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = 1048576
max_inflight_count = 100
dynamic_filters = true
"""


def main() -> None:
    """Listen on loopback until killed."""
    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    # rumqttd logs every packet as an error
    logging.basicConfig(level=logging.CRITICAL)
    path = folder / "broker.toml"
    path.write_text(CONFIG.format(port=port), "utf-8")
    IotCoreBroker(config_path=str(path)).run_forever()


if __name__ == "__main__":
    main()

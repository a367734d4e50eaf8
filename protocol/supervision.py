"""What a program tells systemd, which started it: that it is ready, and that it is alive (sd_notify(3)).

Where nobody asked, nothing is said: `NOTIFY_SOCKET` is not set then.
"""

import os
import socket


def notify(state: str) -> None:
    """Say one or more `NAME=VALUE` lines, such as `READY=1`; whoever does not listen is not waited for."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    # an address that begins with @ is one without a file
    path = f"\0{address[1:]}" if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
            line.setblocking(False)
            line.sendto(state.encode(), path)
    except OSError:
        return  # it is told again, or the watchdog ends what cannot be heard

"""Serves the set-up page while the door is open."""

import logging
import os
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from agent.box.door import Door, state_dir_of
from agent.settings import setup_of
from agent.setup.certificate import certificate, label
from agent.setup.desk import Desk
from agent.setup.gate import Gate
from agent.setup.mdns import Responder
from agent.setup.pages import Pages
from agent.setup.server import Server

log = logging.getLogger(__name__)

LOOK_S: Final = 1.0


def serve(settings: Path, tell: Callable[[str], None] = log.info, *, parent: int | None = None) -> bool:
    """Serve until the door shuts or the parent is gone; False where another process serves it already.

    Raises SettingsError, OSError.

    Args:
        settings: `box.toml`.
        tell: hears where the page is.
        parent: process without which it ends.
    """
    section = setup_of(settings)
    door = Door(state_dir_of(settings), time.time)
    held = door.lock()
    if held is None:
        return False
    plate = door.named()
    host = f"cityeye-{plate.name}.local"
    path, fingerprint = certificate(door.folder, host)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    desk = Desk(settings, door)
    responder = Responder(host)
    try:
        with Server(
            (section.address, section.port), context, Pages(desk, Gate(plate.pin, time.monotonic), door, host)
        ) as server:
            threading.Thread(target=server.serve_forever, name="setup", daemon=True).start()
            responder.start()
            port = server.server_address[1]
            tell(f"set-up: https://{host}:{port}/, certificate sha256:{fingerprint}")
            while door.open and parent in (None, os.getppid()):
                time.sleep(LOOK_S)
            server.shutdown()
    finally:
        responder.close()
        desk.close()
        os.close(held)
    tell("set-up: the page is shut")
    return True


def label_of(settings: Path) -> str:
    """What the label on the box says, as a QR code and to be typed; raises SettingsError, OSError."""
    door = Door(state_dir_of(settings), time.time)
    plate = door.named()
    _, fingerprint = certificate(door.folder, f"cityeye-{plate.name}.local")
    text = label(plate, setup_of(settings).port, fingerprint)
    return (
        f"{text}\nhttps://cityeye-{plate.name}.local:{setup_of(settings).port}\nPIN {plate.pin}\nsha256 {fingerprint}"
    )

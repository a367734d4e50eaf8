"""Serves the set-up page while the door is open."""

import logging
import os
import ssl
import threading
import time
from pathlib import Path

from agent.box.door import Door, state_dir_of
from agent.settings import setup_of
from agent.setup.certificate import certificate
from agent.setup.desk import Desk
from agent.setup.gate import Gate
from agent.setup.mdns import Responder
from agent.setup.pages import Pages
from agent.setup.server import Server

log = logging.getLogger(__name__)


def serve(settings: Path, parent: int | None = None) -> bool:
    """Serve until the door shuts or the parent is gone; False: another one does. Raises SettingsError, OSError."""
    section = setup_of(settings)
    door = Door(state_dir_of(settings), time.time)
    held = door.lock()
    if held is None:
        return False
    host = f"cityeye-{door.plate.name}.local"
    path, fingerprint = certificate(door.folder, host)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    desk = Desk(settings, door)
    pages = Pages(desk, Gate(door.plate.pin, time.monotonic), host)
    responder = Responder(host.removesuffix(".local"))
    try:
        with Server((section.address, section.port), context, pages) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            responder.start()
            log.info("set-up: https://%s:%d/, certificate sha256:%s", host, section.port, fingerprint)
            while door.open and parent in (None, os.getppid()):
                time.sleep(1)
            server.shutdown()
    finally:
        responder.close()
        desk.close()
        os.close(held)
    log.info("set-up: the page is shut")
    return True


def label_of(settings: Path) -> str:
    """What belongs on the box's label: the QR code's text, the same to be typed; raises SettingsError, OSError."""
    door = Door(state_dir_of(settings), time.time)
    plate = door.plate
    host = f"cityeye-{plate.name}.local"
    _, fingerprint = certificate(door.folder, host)
    address = f"https://{host}:{setup_of(settings).port}/"
    # what follows # stays in the telephone
    return f"{address}#pin={plate.pin}\n{address}\nPIN {plate.pin}\nsha256 {fingerprint}"

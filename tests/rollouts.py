"""A center that has detectors for its boxes: database, CA and the listener that they fetch from, without a broker."""

import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import update

from agent.box.enrolment import enrol
from collector.boxes import labels, register, rollouts
from collector.boxes.authority import Authority, private_pem, write_secret
from collector.boxes.door import Door
from collector.boxes.enrolment import Desk
from collector.people.actor import Actor
from collector.store import DetectorRow, open_store
from protocol.detectors import ModelDesired, ModelDesiredEvent, Signed
from protocol.enrolment import Invitation
from protocol.instants import from_epoch
from protocol.messages import dataschema
from tests.services import free_port

SYSTEM = Actor("system")
QUICK = {"pictures": 2, "finds": 2, "slower": 100, "memory_mb": 500}
"""Limits that a shadow run is soon through with."""


class Center:
    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self.store = open_store(f"sqlite:///{folder / 'center.db'}")
        self.authority = Authority.create(folder / "ca", "xiaohe", time.time())
        key = ec.generate_private_key(ec.SECP256R1())
        issued = self.authority.issue(key.public_key(), "cityeye-server", "server", time.time(), 9, ["127.0.0.1"])
        write_secret(folder / "ca" / "server.pem", private_pem(key) + issued.pem.encode())
        (folder / "ca" / "ca.crt").write_text(self.authority.pem)
        self.folder, self.port = folder, free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.desk = Desk(self.store, self.authority, "mqtts://127.0.0.1:1", 365, time.time)
        self.open()

    def open(self):
        self.door = Door(("127.0.0.1", self.port), self.desk, self.authority.pem, self.folder / "ca")
        self.door.start()

    def enrol(self, state: Path) -> str:
        """Make a state folder one of a box of this center; gives its id."""
        with self.store.transaction() as session:
            (claim,) = register.add_boxes(session, "s", "box", 1, 9, round(time.time() * 1000))
        label = labels.invitation(claim, self.url, self.authority.fingerprint)
        return enrol(state, Invitation.read(str(label)), "1").box

    def add(self, content: bytes, name="new", boards=("*",), replaces=("*",), **limits) -> Signed:
        wanted = {"name": name, "boards": boards, "replaces": replaces, "limits": QUICK | limits}
        with self.store.writing() as session:
            row = rollouts.add(session, self.authority, SYSTEM, content, wanted, round(time.time() * 1000))
            return Signed.model_validate_json(row.signed)

    def cut_short(self, name: str, content: bytes) -> None:
        with self.store.writing() as session:
            session.execute(update(DetectorRow).where(DetectorRow.name == name).values(content=content))

    def close(self):
        self.door.stop()
        self.store.close()


def desired(rollout: int, signed: Signed | None = None, action: str = "take") -> bytes:
    """What the center tells a box."""
    return ModelDesiredEvent(
        id=f"r{rollout}{action}",
        source="/cityeye/center/c",
        type="cityeye.model.desired",
        time=from_epoch(0),
        dataschema=dataschema("model-desired"),
        data=ModelDesired(rollout=rollout, action=action, signed=signed),
    ).to_json()

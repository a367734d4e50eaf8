"""A center that has detectors for its boxes: database, CA and the listener that they fetch from, without a broker."""

import time

from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import select

from agent.box.enrolment import enrol
from collector.boxes import labels, register, rollouts, systems
from collector.boxes.authority import Authority, private_pem, write_secret
from collector.boxes.door import Door
from collector.boxes.enrolment import Desk
from collector.people.actor import SYSTEM
from collector.store import ArtefactRow, open_store
from protocol.detectors import ModelDesired, ModelDesiredEvent, Signed
from protocol.enrolment import Invitation
from protocol.instants import from_epoch
from protocol.messages import dataschema
from protocol.systems import SystemDesired, SystemDesiredEvent
from tests.services import free_port


class Center:
    def __init__(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        self.store = open_store(f"sqlite:///{folder / 'center.db'}")
        self.authority = Authority.create(folder / "ca", "xiaohe", time.time())
        key = ec.generate_private_key(ec.SECP256R1())
        issued = self.authority.issue(key.public_key(), "cityeye-server", "server", time.time(), 9, ["127.0.0.1"])
        write_secret(folder / "ca" / "server.pem", private_pem(key) + issued.pem.encode())
        self.port = free_port()
        self.systems = folder / "systems"
        desk = Desk(self.store, self.authority, "mqtts://127.0.0.1:1", 365, time.time, None, self.systems)
        self.door = Door(("127.0.0.1", self.port), desk, self.authority.pem, folder / "ca")
        self.door.start()

    def enrol(self, state):
        """Make a state folder one of a box of this center; gives its id."""
        with self.store.transaction() as session:
            (claim,) = register.add_boxes(session, "s", "box", 1, 9, round(time.time() * 1000))
        label = labels.invitation(claim, f"https://127.0.0.1:{self.port}", self.authority.fingerprint)
        return enrol(state, Invitation.read(str(label)), "1").box

    def add(self, content, name="new", boards=("*",), replaces=("*",)):
        """Sign a detector, with limits that a shadow run is soon through with."""
        limits = {"pictures": 2, "finds": 2, "slower": 100, "memory_mb": 500}
        wanted = {"name": name, "boards": boards, "replaces": replaces, "limits": limits}
        with self.store.writing() as session:
            rollouts.add(session, self.authority, SYSTEM, content, wanted, round(time.time() * 1000))
            return Signed.model_validate_json(self.row(session, name).signed)

    def add_system(self, path):
        return systems.add(self.store, SYSTEM, path, self.systems, round(time.time() * 1000))

    def row(self, session, name):
        return session.scalars(select(ArtefactRow).where(ArtefactRow.name == name)).one()

    def close(self):
        self.door.stop()
        self.store.close()


def bundle(path, content=b"a root", version="0.2.0", compatible="cityeye-amd64", form="verity"):
    """A file that says what a bundle says, with a signature that no box takes."""
    manifest = f"[update]\ncompatible={compatible}\nversion={version}\n\n[bundle]\nformat={form}\nverity-size=4096\n"
    cms = b"\x30\x82" + manifest.encode() + b"certificates"
    path.write_bytes(content + cms + len(cms).to_bytes(8))
    return path


def _desired(event, name, data):
    head = {"source": "/cityeye/center/c", "time": from_epoch(0), "dataschema": dataschema(f"{name}-desired")}
    return event(id=f"r{data.rollout}", type=f"cityeye.{name}.desired", data=data, **head).to_json()


def desired(rollout, signed=None):
    """What the center tells a box of its detector."""
    return _desired(ModelDesiredEvent, "model", ModelDesired(rollout=rollout, signed=signed))


def desired_system(rollout, wanted=None):
    """What the center tells a box of its system."""
    return _desired(SystemDesiredEvent, "system", SystemDesired(rollout=rollout, bundle=wanted))

"""Any one file of a box's state folder truncated, emptied or with flipped bits: the agent starts, says what it lost,
and loses no incident that was not in that file.

Once, a real agent makes the folder: with scenes, settings, keys, a certificate, and incidents that wait for a center
that is not there. Each trial damages one file of a copy of it and starts the agent.
"""

import datetime as dt
import logging
import random
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from agent.box.clock import Clock
from agent.box.identity import load_encryption_key, load_key
from agent.box.twin import write_twice
from agent.live import Agent
from agent.settings import load_settings
from tests import boxes, clips
from tests.faults.scribe import Scribe
from tests.services import BIN
from tests.services import run as run_command

BOX, SITE = "box-1", "s"
BROKER = "mqtts://127.0.0.1:1"
"""Nothing listens there."""
INCIDENTS = 40
QUIET = ("lock", "reserve", ".part", "-shm", "retained.json", "clock")
"""Nothing is lost with these: they hold no more than room, or what the agent knows again at once."""


@dataclass(frozen=True)
class Form:
    """How many trials, from which seed."""

    trials: int
    seed: int = 1


FULL, SHORT = Form(500), Form(24, seed=2)


@dataclass(frozen=True)
class _Known:
    """What a box has in its state folder."""

    key: bytes
    encryption_key: bytes
    cameras: tuple[str, ...]
    incidents: frozenset[str]
    waiting: frozenset[str]


def run(form: Form, folder: Path) -> dict[str, Any]:
    """Make the folder, damage it so often; raises AssertionError where something does not hold."""
    home = folder / "home"
    _make(home)
    chance = random.Random(form.seed)
    whole = _start(home, _Ears())
    files = sorted(path.relative_to(home) for path in (home / "state").rglob("*") if path.is_file())
    figures = {"trials": form.trials, "files": len(files), "lost_incidents": 0, "begun_anew": 0, "mended": 0}
    for number in range(form.trials):
        trial = folder / "trial"
        shutil.rmtree(trial, ignore_errors=True)
        shutil.copytree(home, trial)
        victim = files[number % len(files)]
        how = _damage(trial / victim, chance)
        ears = _Ears()
        at = f"trial {number}, {victim} {how}"
        try:
            found = _start(trial, ears)
        except Exception as fault:
            raise AssertionError(f"{at}: the agent does not start: {type(fault).__name__}: {fault}") from fault
        assert (found.key, found.encryption_key) == (whole.key, whole.encryption_key), f"{at}: another key"
        assert found.cameras == whole.cameras, f"{at}: it watches {found.cameras}"
        lost = whole.incidents - found.incidents | whole.waiting - found.waiting
        in_the_outbox = victim.name.startswith("outbox.db")
        assert not lost or in_the_outbox, f"{at}: {len(lost)} incidents or messages lost that were in another file"
        if lost:
            assert ears.named("outbox.db"), f"{at}: {len(lost)} lost and nothing said"
        figures["lost_incidents"] += len(whole.incidents - found.incidents)
        figures["begun_anew"] += bool(lost)
        figures["mended"] += ears.named("taken from its copy")
    return figures


def _start(home: Path, ears: "_Ears") -> _Known:
    """Start the agent, have it write an incident and read all that waits, and end it."""
    root = logging.getLogger()
    root.addHandler(ears)
    try:
        config = load_settings(home / "box.toml")
        with Agent(config, Clock()) as agent:
            assert agent.outbox is not None
            known = _Known(
                load_key(config.state_dir).private_bytes_raw(),
                load_encryption_key(config.state_dir).private_bytes_raw(),
                tuple(thread.camera for thread in agent.cameras),
                frozenset(row.incident for row in agent.outbox.incidents(open_only=False)),
                frozenset(one.id for one in agent.outbox.due(10**6, 10**12)),
            )
            made = Scribe(SITE, "another", agent.outbox, time.time).open(0)
            assert made.incident in {row.incident for row in agent.outbox.incidents(open_only=False)}
        return known
    finally:
        root.removeHandler(ears)


class _Ears(logging.Handler):
    """What the agent says at WARNING and above."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.said.append(record.getMessage())

    def named(self, text: str) -> bool:
        """Whether something was said about it."""
        return any(text in line for line in self.said)


def _damage(path: Path, chance: random.Random) -> str:
    content = bytearray(path.read_bytes())
    how = chance.choice(("emptied", "truncated", "flipped", "flipped"))
    if how == "emptied" or not content:
        path.write_bytes(b"")
        return "emptied"
    if how == "truncated":
        left = chance.randrange(len(content))
        path.write_bytes(content[:left])
        return f"truncated to {left} of {len(content)} bytes"
    places = [chance.randrange(len(content) * 8) for _ in range(chance.choice((1, 2, 8, 200)))]
    for place in places:
        content[place // 8] ^= 1 << place % 8
    path.write_bytes(content)
    return f"with {len(places)} flipped bits of {len(content)} bytes, the first at byte {places[0] // 8}"


def _make(home: Path) -> None:
    home.mkdir(parents=True)
    clip = clips.write(home / "clip.mp4", clips.street_frame, 34)
    boxes.settings(home, boxes.FRONTAGE, source=str(clip), camera={"learn_s": 5.0})
    state = home / "state"
    _enrol(state / "center")
    run_command(BIN / "cityeye-agent", "replay", clip, "--settings", home / "box.toml", "--state", state)
    with Agent(load_settings(home / "box.toml"), Clock()) as agent:
        assert agent.outbox is not None
        scribe = Scribe(SITE, BOX, agent.outbox, time.time)
        for number in range(INCIDENTS):
            record = scribe.open(number, ("wide", "close"))
            if number % 2:
                scribe.clear(record)
        shutil.copytree(state, home / "running")
    # as a cut of the power leaves it, with the outbox's log
    shutil.rmtree(state)
    (home / "running").rename(state)
    assert list((state / "scenes").glob("*.npz")), "expected that the agent learned a scene"


def _enrol(folder: Path) -> None:
    """What an enrolment leaves, of a center that nobody runs."""
    folder.mkdir(parents=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, BOX)])
    now = dt.datetime.now(dt.UTC)
    built = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    built = built.serial_number(1).not_valid_before(now - dt.timedelta(1)).not_valid_after(now + dt.timedelta(300))
    pem = built.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_twice(folder / "ca.crt", pem)
    write_twice(folder / "box.pem", private + pem)
    member = f'{{"box": "{BOX}", "site": "{SITE}", "url": "https://127.0.0.1:1", "broker_url": "{BROKER}"}}'
    write_twice(folder / "center.json", member.encode())

"""What is around the box: a real center, a camera, and the list of codes that its card is made of."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sqlalchemy import select

from collector.store import Box, IncidentRow, SettingsRow
from tests import boxes, clips
from tests.cameras import RtspCamera
from tests.fleet import COLLECTOR, Fleet
from tests.image.machine import HOST
from tests.services import ROOT, Process, answers, run, wait_for

BOX = "xiaohe-0001"
CLEAR_S, LOOP_S = 45, 240
"""Whoever connects to the camera sees the clip from its start: so long nothing, then a crate.

A box that is emulated on a busy host may need half a minute for one look of its detector, and needs several of them.
"""
ZONE = {**boxes.FRONTAGE, "polygon": [[0.4, 0.4], [0.75, 0.4], [0.75, 0.85], [0.4, 0.85]], "dwell_s": 8, "clear_s": 5}


def pavement_with_crate(t: float) -> Any:
    """What the camera shows."""
    picture = clips.pavement()
    if t >= CLEAR_S:
        clips.put(picture, clips.crate(), 320, 180)
    return picture


class Center:
    """Broker, collector and camera on loopback; `ssh` is a key that the box lets in."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self.ssh = folder, folder / "ssh"
        self.fleet = Fleet(folder / "center", HOST)
        stack.callback(self.fleet.store.close)
        stack.enter_context(self.fleet.mosquitto())
        serve = [COLLECTOR, "serve", "--settings", self.fleet.settings]
        stack.enter_context(Process(serve, folder / "collector.log"))
        wait_for(lambda: answers(self.fleet.page_port), "the center's pages are there", 120)
        self.camera = stack.enter_context(RtspCamera(folder, frame=pavement_with_crate, seconds=LOOP_S, anew=True))
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.ssh)

    def personalised(self, image: Path) -> Path:
        """The disk of a box, as an installer makes it."""
        codes, defaults, out = (self.folder / name for name in ("codes.csv", "site.toml", "out"))
        self.fleet.command("boxes", "add", "--site", "xiaohe", "--csv", codes)
        defaults.write_text(f'[ssh]\nkeys = ["{self.ssh.with_suffix(".pub").read_text().strip()}"]\n')
        done = run(ROOT / "deploy/image/personalise", image, codes, "--defaults", defaults, "--out", out, timeout_s=900)
        assert done.returncode == 0, done.stderr
        return out / f"{BOX}.img"

    def give_settings(self) -> None:
        """Have the box watch the camera; returns once it does."""
        # its own, which are none, come first
        wait_for(lambda: self._column(SettingsRow.number), "the box says what its settings are", 300)
        source = self.camera.url.replace("127.0.0.1", HOST)
        document = boxes.settings(self.folder, ZONE, source=source, camera={"learn_s": 12}, name="cameras.toml")
        text = document.read_text()
        document.write_text(text[text.index("[[camera]]") :])
        self.fleet.command("settings", "set", BOX, document)

    def box(self) -> Box:
        """As it is known."""
        with self.fleet.store.transaction() as session:
            row = session.get_one(Box, BOX)
            session.expunge(row)
            return row

    def incidents(self) -> set[str]:
        """Ids of all that came."""
        return self._column(IncidentRow.id)

    def _column(self, column: Any) -> set[Any]:
        with self.fleet.store.transaction() as session:
            return set(session.scalars(select(column)))

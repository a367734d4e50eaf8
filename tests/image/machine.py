"""A box's hardware in QEMU: firmware, a disk, a network card that leads to this host's loopback and to nothing else."""

import contextlib
import os
import random
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.image.disk import Disk

HOST = "10.0.2.2"
"""This host's loopback, as the box sees it."""
ROOM_BYTES = 8 << 30
MEMORY_MB = 1536


@dataclass(frozen=True)
class Model:
    """A processor, and the firmware that starts it; `deb`: where that comes from."""

    qemu: tuple[str, ...]
    code: Path
    variables: Path
    deb: str


MODELS = {
    "amd64": Model(
        ("qemu-system-x86_64", "-machine", "q35", "-cpu", "max"),
        Path("/usr/share/OVMF/OVMF_CODE_4M.fd"),
        Path("/usr/share/OVMF/OVMF_VARS_4M.fd"),
        "qemu-system-x86 ovmf",
    ),
    "arm64": Model(
        ("qemu-system-aarch64", "-machine", "virt", "-cpu", "max,pauth-impdef=on"),
        Path("/usr/share/AAVMF/AAVMF_CODE.fd"),
        Path("/usr/share/AAVMF/AAVMF_VARS.fd"),
        "qemu-system-arm qemu-efi-aarch64",
    ),
}


class Machine:
    """One box; its disk is a copy of the image, larger.

    Args:
        board: of MODELS.
        image: the raw disk, which becomes the box's.
        folder: for all that it leaves.
        ssh_port: of this host, that leads to the box's.
    """

    def __init__(self, board: str, image: Path, folder: Path, ssh_port: int) -> None:
        self.model = MODELS[board]
        self.serial = folder / "serial.log"
        os.truncate(image, ROOM_BYTES)
        self.disk = Disk(image, folder / "disk.socket")
        shutil.copy(self.model.variables, folder / "variables")
        self._folder = folder
        self._ssh_port = ssh_port
        self._process: subprocess.Popen[bytes] | None = None
        self.started_s = 0.0
        self.starts = self.cuts = 0

    def start(self) -> None:
        """Give it power."""
        flash = "if=pflash,format=raw,unit={},file={}"
        link = f"user,id=net,hostfwd=tcp:127.0.0.1:{self._ssh_port}-:22"
        command = [
            *(*self.model.qemu, "-accel", "tcg,thread=multi", "-smp", "2", "-m", str(MEMORY_MB)),
            *("-nodefaults", "-display", "none", "-serial", f"file:{self.serial}.{self.starts}"),
            *("-drive", flash.format(0, self.model.code) + ",readonly=on"),
            *("-drive", flash.format(1, self._folder / "variables")),
            *("-blockdev", f"nbd,node-name=disk,server.type=unix,server.path={self._folder / 'disk.socket'}"),
            *("-device", "virtio-blk-pci,drive=disk,bootindex=0"),
            *("-netdev", link, "-device", "virtio-net-pci,netdev=net,romfile="),
            *("-device", "virtio-rng-pci"),
        ]
        with (self._folder / "qemu.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.started_s = time.time()
        self.starts += 1

    @property
    def up_s(self) -> float:
        """Since it was given power."""
        return time.time() - self.started_s

    def cut(self, chance: random.Random | None) -> int:
        """Take the power away; returns how many written sectors went with it. None: the disk's cache survives."""
        if self._process is None:
            return 0
        assert self._process.poll() is None, f"QEMU ended by itself: {(self._folder / 'qemu.log').read_text()[-500:]}"
        self._process.kill()
        self._process.wait()
        self._process = None
        if chance is None:
            self.disk.settle()
            return 0
        self.cuts += 1
        return self.disk.cut(chance)

    def ended(self, timeout_s: float) -> bool:
        """Whether it switches itself off within a time."""
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
            self._process = None
            self.disk.settle()
            return True
        return False

    def console(self) -> str:
        """What came over the serial line since the power came, without its steering signs."""
        path = Path(f"{self.serial}.{self.starts - 1}")
        text = path.read_text("utf-8", "replace") if path.exists() else ""
        return re.sub(r"\x1b\[[0-9;?=]*[A-Za-z]", "", text)

    def close(self) -> None:
        """Take it away."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        with contextlib.suppress(OSError):
            self.disk.close()


def lacks(board: str) -> str:
    """Debian packages that this host lacks for it; empty: none."""
    model = MODELS[board]
    good = shutil.which(model.qemu[0]) and model.code.exists() and model.variables.exists()
    return "" if good else model.deb


def read_data(disk: Path, offset: int, name: str, to: Path) -> bool:
    """Copy a file out of a partition of a disk that nobody uses; False where there is none."""
    to.unlink(missing_ok=True)
    command = ["debugfs", "-R", f"dump {name} {to}", f"{disk}?offset={offset}"]
    subprocess.run(command, capture_output=True, check=False)
    return to.exists() and to.stat().st_size > 0

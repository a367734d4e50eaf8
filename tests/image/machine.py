"""A box's hardware in QEMU: firmware, a disk, a network that leads to this host's loopback."""

import os
import random
import re
import shutil
import subprocess
import time
from pathlib import Path

from tests.image.disk import Disk

HOST = "10.0.2.2"
"""This host's loopback, as the box sees it."""
ROOM_BYTES = 8 << 30
FIRMWARE = Path("/usr/share")
MODELS = {
    "amd64": ("qemu-system-x86_64 -machine q35 -cpu max", "OVMF/OVMF_{}_4M.fd", "qemu-system-x86 ovmf"),
    "arm64": ("qemu-system-aarch64 -machine virt -cpu max", "AAVMF/AAVMF_{}.fd", "qemu-system-arm qemu-efi-aarch64"),
}
"""Of each board: the command, its firmware, and Debian's packages with both."""
COMMAND = (
    "{qemu} -accel tcg,thread=multi -smp 2 -m 1536 -nodefaults -display none -serial file:{folder}/serial.{starts}"
    " -drive if=pflash,format=raw,unit=0,readonly=on,file={code} -drive if=pflash,format=raw,unit=1,file={folder}/vars"
    " -blockdev nbd,node-name=disk,server.type=unix,server.path={folder}/disk"
    " -device virtio-blk-pci,drive=disk,bootindex=0 -device virtio-rng-pci"
    " -netdev user,id=net,hostfwd=tcp:127.0.0.1:{ssh_port}-:22 -device virtio-net-pci,netdev=net,romfile="
)


class Machine:
    """One box: `image` becomes its disk, and grows; `ssh_port` of this host leads to its own."""

    def __init__(self, board: str, image: Path, folder: Path, ssh_port: int) -> None:
        os.truncate(image, ROOM_BYTES)
        self.disk = Disk(image, folder / "disk")
        self.starts = self.cuts = 0
        self._qemu, firmware, _ = MODELS[board]
        self._code = FIRMWARE / firmware.format("CODE")
        shutil.copy(FIRMWARE / firmware.format("VARS"), folder / "vars")
        self._folder, self._ssh_port = folder, ssh_port
        self._started_s = 0.0

    def start(self) -> None:
        """Give it power."""
        self.starts += 1
        names = {"folder": self._folder, "starts": self.starts, "ssh_port": self._ssh_port}
        command = COMMAND.format(qemu=self._qemu, code=self._code, **names)
        with (self._folder / "qemu.log").open("ab") as log:
            self.process = subprocess.Popen(command.split(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._started_s = time.monotonic()

    @property
    def up_s(self) -> float:
        """Since it was given power."""
        return time.monotonic() - self._started_s

    def cut(self, chance: random.Random) -> int:
        """Take the power away; returns how many written sectors went with it."""
        assert self.process.poll() is None, f"QEMU ended: {(self._folder / 'qemu.log').read_text()[-500:]}"
        self.close()
        self.cuts += 1
        return self.disk.cut(chance)

    def close(self) -> None:
        """End QEMU."""
        self.process.kill()
        self.process.wait()

    def console(self) -> str:
        """What came over the serial line since the power came, without its steering signs."""
        text = (self._folder / f"serial.{self.starts}").read_text("utf-8", "replace")
        return re.sub(r"\x1b\[[0-9;?=]*[A-Za-z]", "", text)

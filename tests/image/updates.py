"""Updates of an image: the same system under another version, whole or broken on purpose."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from deploy.image.build import pack
from deploy.image.personalise import offset_of
from deploy.image.update import bundle

EXITS = "#!/bin/sh\nexit 1\n"


def _whole(_root: Path) -> None:
    pass


def _agent_exits(root: Path) -> None:
    (root / "opt/cityeye/bin/cityeye-agent").write_text(EXITS)


def _init_exits(root: Path) -> None:
    init = root / "usr/sbin/init"
    init.unlink()
    init.write_text(EXITS)
    init.chmod(0o755)


KINDS: dict[str, Callable[[Path], None]] = {"whole": _whole, "init exits": _init_exits, "agent exits": _agent_exits}


def make(disk: Path, keys: Path, out: Path, version: str, kind: str) -> Path:
    """An update to a version, of KINDS, for the board that a raw image is made for; returns its file."""
    root, target = out / "root", out / f"{version}.raucb"
    shutil.rmtree(root, ignore_errors=True)
    command = ["unsquashfs", "-quiet", "-no-progress", "-offset", str(offset_of(disk, "root-a")), "-d", root, disk]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    about = root / "etc/cityeye-image"
    text = about.read_text("utf-8")
    about.write_text(re.sub("(?m)^VERSION=.*$", f"VERSION={version}", text), "utf-8")
    KINDS[kind](root)
    pack(root, out / "root.squashfs", 0, level=1)
    (compatible,) = re.findall(r"(?m)^COMPATIBLE=(.*)$", text)
    bundle(out / "root.squashfs", target, compatible=compatible, version=version, keys=keys)
    shutil.rmtree(root)
    (out / "root.squashfs").unlink()
    return target

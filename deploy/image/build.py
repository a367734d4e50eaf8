"""Makes the image of a box's disk: `make image`. Run as root from the repository: python -m deploy.image.build.

Debian's packages become a base (kept in .cache/image, for it depends on them alone), on which the agent's wheels, units
and the overlay are laid; that is packed as a squashfs, and genimage puts the partitions around it.
"""

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path

from deploy.bundle.build import (
    MACHINES,
    RELEASES,
    ROOT,
    BuildError,
    Debian,
    debian_packages,
    detectors,
    digest,
    pip_target,
    run,
    wheels,
)
from deploy.image.boards import BOARDS, Board
from deploy.image.update import bundle

HERE = Path(__file__).resolve().parent
CACHE = (ROOT / ".cache" / "image").resolve()
OVERLAY = HERE / "root"
EARLY = ("etc/initramfs-tools/conf.d/cityeye", "usr/share/initramfs-tools/hooks/cityeye")
"""Of the overlay, what Debian's packages must see while they are installed."""
BASE_EPOCH = 1735689600
"""Time of the base, which no commit changes: only lengths of passwords' ages and the initrd hold it."""
SLOT_MB, ESP_MB, CARD_MB, DATA_MB = 700, 256, 64, 64
DATA_UUID = "c17e0000-0c17-4e00-8000-0000000000da"
FIXED = {"TZ": "UTC", "LC_ALL": "C.UTF-8"}
STARTED = ("NetworkManager.service", "ModemManager.service", "systemd-timesyncd.service")
MASKED = (
    # a box without a network goes on all the same; nobody logs in at a screen
    *("NetworkManager-wait-online.service", "getty@.service", "getty-static.service"),
    # seconds of the start that nothing here has a use for
    *("systemd-binfmt.service", "proc-sys-fs-binfmt_misc.automount", "systemd-update-utmp.service"),
    *("systemd-update-utmp-runlevel.service", "sys-fs-fuse-connections.mount", "dev-hugepages.mount"),
    *("sys-kernel-debug.mount", "sys-kernel-tracing.mount", "sys-kernel-config.mount"),
    *("systemd-journal-flush.service", "systemd-random-seed.service", "systemd-hostnamed.service"),
    *("NetworkManager-dispatcher.service", "systemd-modules-load.service", "dev-mqueue.mount"),
    *("systemd-ask-password-console.path", "systemd-ask-password-wall.path"),
    *(f"modprobe@{module}.service" for module in ("configfs", "dm_mod", "drm", "loop")),
)
SCRIPT = """\
#!/opt/cityeye/bin/python3
import sys
from {module} import main
sys.exit(main())
"""
TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "genimage": "genimage",
    "mcopy": "mtools",
    "mkfs.vfat": "dosfstools",
    "mke2fs": "e2fsprogs",
    "mksquashfs": "squashfs-tools",
    "zstd": "zstd",
    "rauc": "rauc",
    "openssl": "openssl",
}


@dataclass(frozen=True)
class Source:
    """What is built: a commit, and its time in s."""

    version: str
    commit: str
    epoch: int

    @classmethod
    def of_checkout(cls, version: str) -> "Source":
        """Of this repository."""
        commit, epoch = run("git", "-C", ROOT, "log", "-1", "--format=%H %ct").split()
        changed = run("git", "-C", ROOT, "status", "--porcelain", "--untracked-files=no")
        return cls(version, commit + ("-changed" if changed else ""), int(epoch))


def base(work: Path, board: Board) -> Path:
    """The tar of Debian's packages, from the cache where it was made of the same ones."""
    index = (work / "debs" / "Packages").read_bytes()
    early = b"".join((OVERLAY / name).read_bytes() for name in EARLY)
    # what this file asks of mmdebstrap belongs to it as well
    key = digest(b"\0".join([index, early, (HERE / "base.sh").read_bytes(), repr(board.all_packages).encode()]))[:16]
    made = CACHE / f"base-{board.name}-{key}.tar"
    if made.exists():
        return made
    for old in CACHE.glob(f"base-{board.name}-*.tar"):
        old.unlink()
    seen = work / "early"
    for name in EARLY:
        (seen / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(OVERLAY / name, seen / name)
    run(
        *("mmdebstrap", "--mode=root", "--variant=essential", "--format=tar", f"--architectures={board.arch}"),
        "--setup-hook=/usr/share/mmdebstrap/hooks/merged-usr/setup00.sh $1",
        f"--include={','.join(board.all_packages)}",
        *("--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-include=/usr/share/doc/*/copyright"),
        *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("man", "locale", "info", "lintian")),
        f"--essential-hook=sync-in {seen} /",
        f"--customize-hook={HERE / 'base.sh'} $1",
        # a flat repository has no codename
        *("", made.with_suffix(".new"), f"deb [trusted=yes] copy:{work / 'debs'} ./"),
        env={**FIXED, "SOURCE_DATE_EPOCH": str(BASE_EPOCH)},
    )
    made.with_suffix(".new").rename(made)
    return made


def programs(root: Path, work: Path, debian: Debian, machine: str) -> None:
    """Lay a virtual environment for /opt/cityeye down, without running anything of the box's processor."""
    home = root / "opt/cityeye"
    packages = home / "lib" / f"python{debian.python}" / "site-packages"
    (home / "bin").mkdir()
    for name in ("python", "python3", f"python{debian.python}"):
        (home / "bin" / name).symlink_to("/usr/bin/python3")
    (home / "pyvenv.cfg").write_text(
        f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {debian.python}\n"
    )
    run(
        *(sys.executable, "-m", "pip", "--isolated", "install", "--quiet", "--no-index", "--no-cache-dir", "--no-deps"),
        *("--no-compile", "--root-user-action", "ignore", "--require-hashes", "--find-links", work / "wheels"),
        *("-r", work / "requirements.txt", "--target", packages, *pip_target(debian, machine)),
    )
    # written for the machine that builds
    shutil.rmtree(packages / "bin", ignore_errors=True)
    for command in ("agent", "models"):
        script = home / "bin" / f"cityeye-{command}"
        script.write_text(SCRIPT.format(module="agent.start" if command == "agent" else "models.commands"))
        script.chmod(0o755)
    for unused in [*packages.glob("**/tests/"), *packages.glob("numpy/**/include/")]:
        shutil.rmtree(unused, ignore_errors=True)
    for unused in packages.glob("**/*.pyi"):
        unused.unlink()
    shared = home / "share/doc/cityeye"
    shared.mkdir(parents=True)
    for path in ("docs/guide/box.md", "config/box.example.toml", "LICENSE"):
        shutil.copy(ROOT / path, shared)


def compile_all(root: Path, debian: Debian) -> None:
    """Compile all Python, so that no box does at each start; the same bytes wherever and whenever it is done."""
    if f"{sys.version_info.major}.{sys.version_info.minor}" != debian.python:
        raise BuildError(f"expected to run in Python {debian.python}, as the box has, got {sys.version.split()[0]}")
    run(
        *(sys.executable, "-I", "-S", "-m", "compileall", "-qq", "-j", "1", "--invalidation-mode", "unchecked-hash"),
        *("-s", root, root / "usr/lib/python3", root / f"usr/lib/python{debian.python}", root / "opt/cityeye/lib"),
        env={"PYTHONHASHSEED": "0"},
    )


def overlay(root: Path, board: Board, source: Source, keys: Path) -> None:
    """Lay units and the overlay over the root, say who it is and whose updates it takes, and settle what starts."""
    units = root / "usr/lib/systemd/system"
    for unit in sorted((ROOT / "deploy/units").glob("cityeye-*.*")):
        if unit.suffix in (".service", ".path", ".timer", ".socket") and unit.stem != "cityeye-collector":
            shutil.copy(unit, units)
    for path in sorted(OVERLAY.rglob("*")):
        to = root / path.relative_to(OVERLAY)
        if path.is_symlink():
            to.unlink(missing_ok=True)
            to.symlink_to(path.readlink())
        elif path.is_dir():
            to.mkdir(exist_ok=True)
        else:
            content = path.read_bytes()
            if path.is_relative_to(OVERLAY / "etc"):
                words = {"COMPATIBLE": board.compatible, "BOARD": board.name, "CONSOLE": board.console}
                for word, value in words.items():
                    content = content.replace(f"@{word}@".encode(), value.encode())
            to.write_bytes(content)
            to.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)
    for place in ("boot/cityeye", "efi", "data", "etc/cityeye"):
        (root / place).mkdir(exist_ok=True)
    (root / "etc/cityeye-image").write_text(
        f"VERSION={source.version}\nBOARD={board.name}\nCOMPATIBLE={board.compatible}\nCOMMIT={source.commit}\n"
    )
    shutil.copyfile(keys / "ca.pem", root / "etc/rauc/keyring.pem")
    for wanted in [*(root / "etc/systemd/system").glob("*.wants/*")]:  # what Debian thinks should start
        wanted.unlink()
    ours = sorted(path.name for path in units.glob("cityeye-*.*") if "[Install]" in path.read_text("utf-8"))
    run("systemctl", f"--root={root}", "--quiet", "enable", *STARTED, *ours)
    run("systemctl", f"--root={root}", "--quiet", "mask", *MASKED)
    run("systemctl", f"--root={root}", "--quiet", "set-default", "multi-user.target")


def pack(root: Path, target: Path, epoch: int, level: int) -> None:
    """Make the squashfs of a root: times are the commit's, owners as in the root.

    Without fragments: a box would unpack a block of a dozen small files for one, and a start reads a thousand.
    """
    run(
        *("mksquashfs", root, target, "-noappend", "-quiet", "-no-progress"),
        *("-comp", "zstd", "-Xcompression-level", str(level)),
        *("-b", "128K", "-all-time", str(epoch), "-mkfs-time", str(epoch), "-no-exports", "-no-fragments"),
    )
    if target.stat().st_size > SLOT_MB << 20:
        raise BuildError(
            f"expected a root of at most {SLOT_MB} MiB, got {target.stat().st_size >> 20}; leave something out"
        )


def boot_files(root: Path, work: Path, board: Board) -> None:
    """Lay out what the two FAT partitions hold: esp/ and cityeye/."""
    esp, card = work / "esp", work / "cityeye"
    (esp / "EFI/BOOT").mkdir(parents=True)
    (esp / "loader/entries").mkdir(parents=True)
    loader = next((work / "loader").glob("usr/lib/systemd/boot/efi/systemd-boot*.efi"))
    shutil.copy(loader, esp / "EFI/BOOT" / f"BOOT{board.efi.upper()}.EFI")
    (esp / "loader/loader.conf").write_text("timeout 0\neditor no\n")
    for words in (("kernel", "a", root), ("set-state", "a", "good")):
        run(sys.executable, "-m", "agent.box.bootslot", "--esp", esp, *words)
    for pattern in board.firmware:
        found = [*(work / "loader").glob(pattern), *root.glob(pattern)]
        if not found:
            raise BuildError(f"BOARD={board.name}: expected {pattern} in {', '.join(board.boot)} or in the root")
        for path in found:
            shutil.copy(path, esp)
    for name, content in board.settings:
        (esp / name).write_text(content)
    shutil.copytree(HERE / "card", card)


def fat(folder: Path, target: Path, label: str, size_mb: int, serial: str, fixed: dict[str, str]) -> None:
    """Make a FAT file system of a folder; entries in the order of their names, times as mtools is told."""
    with target.open("wb") as made:
        made.truncate(size_mb << 20)
    run("mkfs.vfat", "-F", "32", "--invariant", "-n", label, "-i", serial, target)
    for path in sorted(folder.rglob("*")):
        to = f"::/{path.relative_to(folder)}"
        run(*(("mmd", "-i", target, to) if path.is_dir() else ("mcopy", "-i", target, path, to)), env=fixed)


def disk(work: Path, epoch: int, target: Path) -> None:
    """Put the partitions into one file."""
    fixed = {**FIXED, "SOURCE_DATE_EPOCH": str(epoch), "E2FSPROGS_FAKE_TIME": str(epoch)}
    fat(work / "esp", work / "esp.vfat", "ESP", ESP_MB, "c17e0001", fixed)
    fat(work / "cityeye", work / "cityeye.vfat", "CITYEYE", CARD_MB, "c17e0002", fixed)
    # blocks and inodes as for a large disk: it grows
    run(
        *("mke2fs", "-q", "-t", "ext4", "-L", "data", "-b", "4096", "-i", "16384", "-m", "1", "-J", "size=16"),
        *("-U", DATA_UUID, "-E", f"hash_seed={DATA_UUID},root_owner=0:0", work / "data.ext4", f"{DATA_MB}M"),
        env=fixed,
    )
    config, made = work / "genimage.cfg", work / "made"
    config.write_text((HERE / "genimage.cfg").read_text("utf-8").replace("@SLOT@", f"{SLOT_MB}M"), "utf-8")
    (work / "none").mkdir()
    run(
        *("genimage", "--config", config, "--inputpath", work, "--outputpath", made, "--tmppath", work / "tmp"),
        *("--rootpath", work / "none"),
        env=fixed,
    )
    run("zstd", "-q", "-f", "-T0", "-9", made / "disk.img", "-o", target)


def manifest(work: Path) -> str:
    """What it is made of: kind, name, version and SHA-256 of each package, a line each."""
    index = (work / "debs/Packages").read_text("utf-8")
    debs = re.findall(r"(?ms)^Package: (\S+)$.*?^Version: (\S+)$.*?^SHA256: (\w+)$", index)
    required = re.findall(r"(?m)^(\S+)==(\S+) --hash=sha256:(\w+)$", (work / "requirements.txt").read_text())
    lines = [f"deb {' '.join(deb)}" for deb in debs]
    # the project's own wheel is of the commit
    lines += [f"wheel {' '.join(wheel)}" for wheel in required if wheel[0] != "cityeye"]
    return "".join(f"{line}\n" for line in sorted(lines))


def look(board: Board) -> None:
    """Whether this machine can build it; raises BuildError."""
    if board.missing:
        raise BuildError(f"BOARD={board.name} cannot be built: {board.missing}")
    if os.geteuid():
        raise BuildError("expected root: files of the image belong to it")
    if absent := sorted({package for tool, package in TOOLS.items() if shutil.which(tool) is None}):
        raise BuildError(f"apt-get install {' '.join(absent)}")
    if (
        board.arch != run("dpkg", "--print-architecture").strip()
        and not Path(f"/proc/sys/fs/binfmt_misc/qemu-{MACHINES[board.arch]}").exists()
    ):
        raise BuildError(
            f"programs of {board.arch} do not run here: apt-get install qemu-user-static arch-test; "
            "mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc; update-binfmts --enable"
        )


def build(
    board: Board, source: Source, insisted: str | None, models: list[str], keys: Path, level: int, out: Path
) -> tuple[Path, Path]:
    """Make the image and the update; returns their files."""
    debian, machine = RELEASES["12"], MACHINES[board.arch]
    with tempfile.TemporaryDirectory(prefix="work.", dir=CACHE) as made:
        work, root = Path(made), Path(made, "root")
        names = ["?essential", *board.boot, *board.all_packages]
        debian_packages(work, names, debian.codename, board.arch, components="main non-free-firmware", kept=CACHE)
        (work / "requirements.txt").write_text(
            wheels(work, ["agent"], debian, machine, source.version, pinned=True), "utf-8"
        )
        listed = manifest(work)
        if insisted is not None and listed != insisted:
            differing = sorted({*listed.splitlines()} ^ {*insisted.splitlines()})
            raise BuildError(f"the packages are not those of the manifest: {'; '.join(differing)[:600]}")
        root.mkdir()
        run("tar", "-xpf", base(work, board), "--numeric-owner", "--xattrs", "--xattrs-include=*", "-C", root)
        shutil.rmtree(root / "etc/apt")  # it names the folder in which this is built
        (work / "loader").mkdir()
        for name in board.boot:
            (package,) = (work / "debs").glob(f"{name}_*.deb")
            run("dpkg-deb", "-x", package, work / "loader")
        programs(root, work, debian, machine)
        (root / "opt/cityeye/models").mkdir()
        if models:
            detectors(root / "opt/cityeye", models)
        overlay(root, board, source, keys)
        compile_all(root, debian)
        pack(root, work / "root.squashfs", source.epoch, level)
        boot_files(root, work, board)
        out.mkdir(parents=True, exist_ok=True)
        name = f"cityeye-{board.name}-{source.version}"
        (out / f"{name}.manifest").write_text(listed, "utf-8")
        update, target = out / f"{name}.raucb", out / f"{name}.img.zst"
        bundle(work / "root.squashfs", update, compatible=board.compatible, version=source.version, keys=keys)
        disk(work, source.epoch, target)
    for made_file in (target, update):
        with made_file.open("rb") as content:
            total = hashlib.file_digest(content, "sha256").hexdigest()
        made_file.with_name(f"{made_file.name}.sha256").write_text(f"{total}  {made_file.name}\n", "utf-8")
    return target, update


def main() -> None:
    """Make an image; says where it is and how large."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--board", choices=BOARDS, default="amd64")
    parser.add_argument("--detectors", nargs="*", default=[], help="by name, beside the one that ships")
    parser.add_argument("--manifest", type=Path, help="of an earlier image: insist on the same packages")
    parser.add_argument(
        "--keys", type=Path, help="ca.pem, signing.pem, signing.key; default: test keys of this machine"
    )
    parser.add_argument("--level", type=int, default=15, help="of compression; 1 is a minute quicker and 60 MB larger")
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg", "utf-8")
    parser.add_argument("--version", default=setup["metadata"]["version"])
    asked = parser.parse_args()
    CACHE.mkdir(parents=True, exist_ok=True)
    try:
        look(BOARDS[asked.board])
        with (CACHE / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            insisted = asked.manifest.read_text("utf-8") if asked.manifest else None
            keys = asked.keys or CACHE / "keys"
            if not asked.keys:
                subprocess.run([HERE / "keys", keys], check=True)  # it says loudly what they are
            source = Source.of_checkout(asked.version)
            files = build(BOARDS[asked.board], source, insisted, asked.detectors, keys, asked.level, asked.out)
    except (BuildError, OSError, subprocess.CalledProcessError) as fault:
        sys.exit(f"image: {fault}")
    for path in files:
        print(f"{path}: {path.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()

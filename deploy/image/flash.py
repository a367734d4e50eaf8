"""Writes an image to a card or disk, and reads back what it wrote: `deploy/image/flash IMAGE[.zst] /dev/sdX`.

Refuses what would hurt: a damaged image, a disk in use, a partition, one that is too small.
"""

import argparse
import contextlib
import errno
import hashlib
import mmap
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

CHUNK = 4 << 20
Tell = Callable[[int], None]


class FlashError(Exception):
    """What is wrong and what to do, in Chinese and English."""

    def __init__(self, subject: object, zh: str, en: str) -> None:
        super().__init__(f"{subject}：{zh}\n{subject}: {en}")


@dataclass(frozen=True)
class Device:
    """A disk as the kernel shows it."""

    path: Path
    size: int
    words: str


def check_image(image: Path, tell: Tell = lambda _: None) -> None:
    """Compare an image with the checksum beside it; raises FlashError."""
    beside = image.with_name(f"{image.name}.sha256")
    try:
        wanted = beside.read_text("ascii").split()[0].lower()
    except (OSError, ValueError, IndexError):
        zh = "应有校验文件，没有找到；请连同镜像一起复制"
        raise FlashError(beside, zh, "expected the checksum, found none; copy it too") from None
    digest = hashlib.sha256()
    with image.open("rb") as file:
        while block := file.read(CHUNK):
            digest.update(block)
            tell(len(block))
    if digest.hexdigest() != wanted:
        raise FlashError(image, "镜像已损坏（校验不符）；请重新复制", "damaged, its checksum is another; copy it again")


def size_of(image: Path) -> int | None:
    """Bytes that it takes on a device; None where the compressed file does not say."""
    if image.suffix != ".zst":
        return image.stat().st_size
    listed = subprocess.run(["zstd", "-lv", image], capture_output=True, text=True, check=False)
    if listed.returncode:
        raise FlashError(image, "不是 zstd 文件，请重新复制", "expected a zstd file; copy it again")
    found = re.search(r"Decompressed Size:.*\((\d+) B\)", listed.stdout)
    return int(found[1]) if found else None


@contextlib.contextmanager
def opened(image: Path) -> Iterator[BinaryIO]:
    """Its bytes, unpacked; raises FlashError where they end too early."""
    if image.suffix != ".zst":
        with image.open("rb") as file:
            yield file
        return
    with subprocess.Popen(["zstd", "-dcq", image], stdout=subprocess.PIPE) as unpacking:
        assert unpacking.stdout is not None  # noqa: S101 - it is a pipe
        yield unpacking.stdout
        if unpacking.wait():
            raise FlashError(image, "解压失败", "cannot be unpacked; copy it again")


def look(path: Path, sys_dir: Path = Path("/sys")) -> Device:
    """See what a device is, and refuse it where it is not to be written; raises FlashError.

    A regular file serves as well: for a machine of the mind.
    """
    try:
        # the kernel lets nobody have a disk alone of which a part is mounted, swapped to, or under LVM, RAID or ZFS
        os.close(os.open(path, os.O_WRONLY | os.O_EXCL))
    except OSError as fault:
        if fault.errno == errno.EBUSY:
            zh, en = (
                "正在使用：本机的系统盘不能写入；其他盘请先卸载（umount）",
                "in use: this machine's own, or to be unmounted",
            )
        else:
            zh, en = f"打不开（{fault.strerror}）；请核对名称（lsblk）", f"{fault.strerror}; see lsblk"
        raise FlashError(path, zh, en) from None
    status = path.stat()
    if stat.S_ISREG(status.st_mode):
        return Device(path, status.st_size, "file")
    if not stat.S_ISBLK(status.st_mode):
        raise FlashError(path, "不是磁盘；请核对名称（lsblk）", "expected a disk such as /dev/sdb; see lsblk")
    block = (sys_dir / f"dev/block/{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}").resolve()
    if (block / "partition").exists():
        raise FlashError(
            path, f"这是一个分区，应为整盘 {block.parent.name}", f"a partition of {block.parent.name}; take it whole"
        )
    size = int((block / "size").read_text("ascii")) * 512
    told = [block / "device" / name for name in ("vendor", "model", "name", "serial")]
    words = [one.read_text("ascii", "replace").strip() for one in told if one.exists()]
    return Device(path, size, " ".join(words) or "?")


def write(image: Path, device: Device, tell: Tell = lambda _: None) -> tuple[int, str]:
    """Write it; returns its bytes and their SHA-256. Raises FlashError."""
    digest, written = hashlib.sha256(), 0
    exclusive = os.O_EXCL if device.words != "file" else 0
    try:
        with opened(image) as source, os.fdopen(os.open(device.path, os.O_WRONLY | exclusive), "wb", 0) as target:
            while block := source.read(CHUNK):
                left = memoryview(block)
                while left:
                    left = left[target.write(left) :]
                digest.update(block)
                written += len(block)
                tell(len(block))
            os.fsync(target.fileno())
    except OSError as fault:
        zh = f"写入 {written} 字节后失败（{fault.strerror}）；请换一张卡或读卡器"
        en = f"failed after {written} bytes: {fault.strerror}; take another card or reader"
        raise FlashError(device.path, zh, en) from None
    return written, digest.hexdigest()


def compare(device: Device, length: int, sha256: str, tell: Tell = lambda _: None) -> None:
    """Read it back from the device, not from memory; raises FlashError."""
    digest = hashlib.sha256()
    with mmap.mmap(-1, CHUNK) as buffer, _uncached(device.path) as line:
        while length:
            got = min(os.readv(line, [buffer]), length)
            if not got:
                break
            digest.update(memoryview(buffer)[:got])
            length -= got
            tell(got)
    if digest.hexdigest() != sha256:
        zh = "读回的内容与写入的不同；这张卡或读卡器坏了，请更换"
        raise FlashError(device.path, zh, "what is read back is not what was written; take another card or reader")


@contextlib.contextmanager
def _uncached(path: Path) -> Iterator[int]:
    try:
        line = os.open(path, os.O_RDONLY | os.O_DIRECT)
    except OSError:  # a file in memory
        line = os.open(path, os.O_RDONLY)
    try:
        yield line
    finally:
        os.close(line)


def flash(image: Path, path: Path, *, sure: bool = False) -> None:
    """All of it, with a bar; asks for the device's name unless `sure`. Raises FlashError."""
    device, size = look(path), size_of(image)
    if size is not None and device.size < size:
        gb = f"{size / 1e9:.1f} GB"
        raise FlashError(path, f"太小，需要 {gb}", f"{device.size / 1e9:.1f} GB, expected {gb} or more")
    name = f"{path}: {device.size / 1e9:.1f} GB, {device.words}"
    if not sure:
        print(f"{name}\n全部内容将被清除。All that is on it will be lost.")
        if input(f"请输入 {path.name} 继续 / type {path.name} to go on: ").strip() != path.name:
            raise FlashError(path, "已取消，没有写入", "given up, nothing was written")
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with Progress(*columns) as bar:

        def begin(words: str, total: int | None) -> Tell:
            task = bar.add_task(words, total=total)
            return lambda done: bar.advance(task, done)

        check_image(image, begin("校验 checksum", image.stat().st_size))
        length, sha256 = write(image, device, begin("写入 write   ", size))
        compare(device, length, sha256, begin("读回 compare ", length))
    print(f"完成 done: {name}")


@contextlib.contextmanager
def said() -> Iterator[None]:
    """Turn what went wrong into what people read."""
    try:
        yield
    except (KeyboardInterrupt, EOFError):
        sys.exit("中断 interrupted: 卡未写完 it is not whole")
    except (FlashError, OSError) as fault:
        sys.exit(str(fault))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", type=Path, help="镜像 the image, .img or .img.zst")
    parser.add_argument("device", type=Path, help="整盘 the whole disk: /dev/sdX, /dev/mmcblkN")
    parser.add_argument("--yes", action="store_true", help="不再询问 do not ask for the device's name")
    given = parser.parse_args()
    with said():
        flash(given.image, given.device, sure=given.yes)

"""Flashing by the dozen: cards of a list, images that differ in their boot partition only, disks that are refused."""

import csv
import hashlib
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from collector.boxes import labels
from collector.boxes.register import NewClaim
from protocol.card import read_card
from protocol.enrolment import make_claim
from tests.services import ROOT

sys.path.insert(0, str(ROOT / "deploy/image"))
import flash
import personalise
from flash import FlashError

CONFIG = """
image disk.img {
    hdimage { partition-table-type = "gpt" align = 1M disk-uuid = "c17e0000-0c17-4e00-8000-000000000000" }
    partition esp { image = "esp" align = 1M }
    partition cityeye { image = "cityeye.vfat" align = 1M }
    partition root-a { image = "root" align = 1M }
}
image cityeye.vfat { vfat { label = "CITYEYE" file README.txt { image = "esp" } } size = 4M }
"""
SITE = """
[network]
dns = ["10.1.0.1"]
vlan = 12
[wifi]
ssid = "咖啡（二楼）"
password = "12345678"
[time]
servers = ["10.1.0.1"]
"""
FINGERPRINT = "1e" * 32


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    if not all(map(shutil.which, ("genimage", "mcopy", "zstd"))):
        pytest.skip("needs genimage, mtools and zstd")
    folder = tmp_path_factory.mktemp("image")
    (folder / "in").mkdir()
    (folder / "in/esp").write_bytes(os.urandom(1000))
    (folder / "in/root").write_bytes(os.urandom(300_000))
    (folder / "genimage.cfg").write_text(CONFIG)
    parts = {"input": "in", "output": "out", "tmp": "tmp", "root": "in"}
    paths = [f"--{name}path={folder / part}" for name, part in parts.items()]
    subprocess.run(["genimage", "--config", folder / "genimage.cfg", *paths], check=True, capture_output=True)
    path = folder / "out/disk.img"
    subprocess.run(["zstd", "-q", path], check=True)
    for one in (path, path.with_suffix(".img.zst")):
        one.with_name(f"{one.name}.sha256").write_text(f"{hashlib.sha256(one.read_bytes()).hexdigest()}  {one.name}\n")
    return path


def codes(folder, count, **columns):
    claims = [NewClaim(f"xiaohe-{n:04}", "xiaohe", make_claim(), 1_800_000_000_000) for n in range(1, count + 1)]
    rows = list(csv.DictReader(io.StringIO(labels.as_csv(claims, "https://center.example:8884", FINGERPRINT))))
    more = [{name: value(n) for name, value in columns.items()} for n in range(1, count + 1)]
    text = io.StringIO()
    writer = csv.DictWriter(text, [*rows[0], *columns])
    writer.writeheader()
    writer.writerows({**row, **one} for row, one in zip(rows, more, strict=True))
    (folder / "codes.csv").write_text(text.getvalue(), "utf-8-sig")
    (folder / "site.toml").write_text(SITE, "utf-8")
    return claims, personalise.read_list(folder / "codes.csv", folder / "site.toml")


def tried(*arguments, answer=""):
    command = [ROOT / "deploy/image" / arguments[0], *arguments[1:]]
    return subprocess.run(command, input=answer, capture_output=True, text=True, check=False, timeout=60)


def test_a_hundred_copies_differ_in_their_boot_partition_only(tmp_path, image):
    claims, boxes = codes(tmp_path, 100, address=lambda n: f"10.1.2.{n}/16", gateway=lambda _: "10.1.0.1")
    made = list(personalise.copies(image.with_suffix(".img.zst"), boxes, tmp_path / "out"))
    begin, size, plain = personalise.offset_of(image), 4 << 20, image.read_bytes()
    inner = set()
    for n, (claim, path) in enumerate(zip(claims, made, strict=True), 1):
        content = path.read_bytes()
        assert content[:begin] == plain[:begin]
        assert content[begin + size :] == plain[begin + size :]
        inner.add(content[begin : begin + size])
        command = ["mtype", "-i", f"{path}@@{begin}", "::cityeye.toml"]
        card, faults = read_card(subprocess.run(command, check=True, capture_output=True).stdout)
        assert not faults
        assert (card.invitation.claim, card.invitation.box, card.box.site) == (claim.code, claim.box, "xiaohe")
        assert (card.network.address, card.network.vlan, card.wifi.ssid) == (f"10.1.2.{n}/16", 12, "咖啡（二楼）")
    assert len(inner) == 100
    page = (tmp_path / "out/labels.html").read_text()
    assert page.count("<article>") == page.count("设置页 set-up PIN ") == 100
    assert (made[0].stat().st_mode | (tmp_path / "out/labels.html").stat().st_mode) & 0o077 == 0
    flash.check_image(made[6])
    (again,) = personalise.copies(image, boxes[6:7], tmp_path / "again")
    assert again.read_bytes() == made[6].read_bytes(), "the same list makes the same bytes"


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("gateway", "10.9.0.1", "codes.csv:3, xiaohe-0002: [network] gateway: expected"),
        ("time.zone", "Asia/Peking", "[time] zone"),
        ("adress", "10.1.2.3/24", "unknown column ['adress']"),
        ("box", "xiaohe-0001", "'xiaohe-0001'"),
        ("claim", "7K3M9P-QW2E4R-T6Y8Z0", "[claim] code"),
    ],
)
def test_a_list_with_a_mistake_makes_nothing_at_all(tmp_path, column, value, said):
    codes(tmp_path, 3, address=lambda n: f"10.1.2.{n}/16")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "codes.csv").read_text("utf-8-sig"))))
    rows[1][column] = value
    with (tmp_path / "codes.csv").open("w", encoding="gb18030") as file:
        writer = csv.DictWriter(file, [*rows[0], *({column} - rows[0].keys())], delimiter=";")
        writer.writeheader()
        writer.writerows(rows)
    with pytest.raises(FlashError, match="没有写入任何内容") as fault:
        personalise.read_list(tmp_path / "codes.csv", tmp_path / "site.toml")
    assert said in str(fault.value)
    assert rows[1]["claim"] not in str(fault.value)


def test_a_box_of_the_list_is_flashed_and_gets_its_card(tmp_path, image):
    codes(tmp_path, 3)
    disk = tmp_path / "disk"
    disk.write_bytes(os.urandom(image.stat().st_size + 1_000_000))
    arguments = ["personalise", image.with_suffix(".img.zst"), tmp_path / "codes.csv"]
    arguments += ["--box", "xiaohe-0002", "--onto", disk]
    assert "given up" in tried(*arguments, answer="sdx\n").stderr
    done = tried(*arguments, answer="disk\n")
    assert done.returncode == 0, done.stderr
    place = f"{disk}@@{personalise.offset_of(disk)}"
    read = subprocess.run(["mtype", "-i", place, "::cityeye.toml"], check=True, capture_output=True).stdout
    assert read_card(read)[0].claim.box == "xiaohe-0002"


@pytest.mark.parametrize("packed", [False, True])
def test_what_is_damaged_on_its_way_is_found(tmp_path, image, packed):
    disk, copy = tmp_path / "disk", tmp_path / ("i.img.zst" if packed else "i.img")
    shutil.copy(image.with_suffix(".img.zst") if packed else image, copy)
    disk.write_bytes(bytes(image.stat().st_size))
    assert "expected the checksum" in tried("flash", copy, disk, "--yes").stderr
    copy.with_name(f"{copy.name}.sha256").write_text(f"{'0' * 64}  x")
    assert "damaged" in tried("flash", copy, disk, "--yes").stderr
    assert not any(disk.read_bytes()), "nothing was written"
    device = flash.look(disk)
    length, sha256 = flash.write(copy, device)
    flash.compare(device, length, sha256)
    with disk.open("r+b") as file:
        file.seek(length - 1)
        file.write(bytes([image.read_bytes()[-1] ^ 1]))
    with pytest.raises(FlashError, match="what is read back is not what was written"):
        flash.compare(device, length, sha256)
    with disk.open("r+b") as file:
        file.truncate(length - 512)
    assert "expected 0.0 GB or more" in tried("flash", image, disk, "--yes").stderr


@pytest.fixture
def loop(tmp_path):
    """A disk of loop devices with a file system on it; its path."""
    file = tmp_path / "loop"
    file.write_bytes(bytes(16 << 20))
    subprocess.run(["mke2fs", "-q", file], check=True)
    done = subprocess.run(["losetup", "--find", "--show", file], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("needs loop devices")
    yield Path(done.stdout.strip())
    subprocess.run(["losetup", "-d", done.stdout.strip()], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_disk_is_written_and_one_in_use_is_not(tmp_path, image, loop):
    place = tmp_path / "mounted"
    place.mkdir()
    subprocess.run(["mount", loop, place], check=True)
    try:
        done = tried("flash", image, loop, "--yes")
        assert "in use" in done.stderr
        assert "请先卸载" in done.stderr
    finally:
        subprocess.run(["umount", place], check=True)
    done = tried("flash", image.with_suffix(".img.zst"), loop, "--yes")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "loop").read_bytes()[: image.stat().st_size] == image.read_bytes()


@pytest.mark.parametrize("partition", [True, False])
def test_a_partition_is_refused(tmp_path, loop, partition):
    """The kernel's files pretended: a loop device has no partitions here."""
    block, number = tmp_path / "devices/sdz/sdz1", loop.stat().st_rdev
    files = {"size": "62521344", "device/model": "STORAGE DEVICE\n", "device/serial": "42"}
    for name, text in (files | ({"partition": "1"} if partition else {})).items():
        (block / name).parent.mkdir(parents=True, exist_ok=True)
        (block / name).write_text(text)
    (tmp_path / "sys/dev/block").mkdir(parents=True)
    (tmp_path / f"sys/dev/block/{os.major(number)}:{os.minor(number)}").symlink_to(block)
    if partition:
        with pytest.raises(FlashError, match="a partition of sdz; take it whole"):
            flash.look(loop, tmp_path / "sys")
    else:
        device = flash.look(loop, tmp_path / "sys")
        assert (device.size, device.words) == (32_010_928_128, "STORAGE DEVICE 42")


def test_what_is_no_disk_is_refused(tmp_path):
    for path, said in ((tmp_path / "none", "see lsblk"), (Path("/dev/null"), "expected a disk")):
        assert said in tried("flash", tmp_path, path).stderr

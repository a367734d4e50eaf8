"""A copy of the image for each box of a list, with its card in the boot partition; or straight onto a card.

    deploy/image/personalise IMAGE CODES.csv --defaults site.toml --out DIR
    deploy/image/personalise IMAGE CODES.csv --defaults site.toml --box xiaohe-0007 --onto /dev/sdX

CODES.csv is what `cityeye-collector boxes add --csv` writes. Columns may be added for what differs from box to box:
address, gateway, dns, vlan, mtu, or SECTION.KEY of the card. What is the same for all stands in `--defaults`, written
as a card. All cards are checked as a box reads them before anything is written.
"""

import argparse
import csv
import datetime as dt
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from flash import CHUNK, FlashError, check_image, flash, opened, said

from collector.boxes.labels import as_page
from collector.boxes.register import NewClaim
from protocol.card import SECTIONS, Card, decoded, read_card
from protocol.enrolment import Invitation

PARTITION = "cityeye"
FILE = "cityeye.toml"
EPOCH = "1767225600"
"""Of the files, so that the same list makes the same bytes."""
SECRET = 0o600
"""Whoever reads a claim code can be that box."""
OWN = {"box": "claim.box", "site": "box.site", "claim": "claim.code", "ca": "claim.ca", "url": "claim.url"}
OWN |= dict.fromkeys(("expires", "label"), "")
"""Columns of the collector's own: where they stand on the card, if they do."""


@dataclass(frozen=True)
class Personal:
    """One box of the list, and its card."""

    claim: NewClaim
    invitation: Invitation
    card: bytes


def read_list(path: Path, defaults: Path | None) -> list[Personal]:
    """Every box of a list with its card; raises FlashError with all that is wrong."""
    shared, faults = Card(), list[str]()
    try:
        if defaults is not None:
            shared, wrong = read_card(defaults.read_bytes())
            faults += [f"{defaults}: {one.text(language)}" for one in wrong for language in ("zh", "en")]
        lines = decoded(path.read_bytes()).splitlines()
    except (OSError, ValueError) as fault:
        raise FlashError(path, f"打不开：{fault}", f"cannot be read: {fault}") from None
    made = dict[str, Personal]()
    head = lines[0] if lines else ""
    for number, row in enumerate(csv.DictReader(lines, delimiter=max(",;\t", key=head.count)), 2):
        values = {str(key).strip().lower(): str(value or "").strip() for key, value in row.items()}
        box = values.get("box", "")
        where = f"{path}:{number}, {box}"
        unknown = [name for name in values if name not in OWN and _place(name) is None]
        if unknown or box in made:
            faults.append(f"{where}: 未知的列 unknown column {unknown}; 或 box 重复 or a box twice: {box!r}")
            continue
        text = _card(values, shared.model_dump(mode="json", exclude_none=True, exclude_unset=True))
        card, wrong = read_card(text)
        # lines are of the list, not of the card that is made of it
        faults += [f"{where}: {replace(one, line=None).text(language)}" for one in wrong for language in ("zh", "en")]
        if card.invitation is not None and card.invitation.box:
            claim = NewClaim(box, values.get("site", ""), card.invitation.claim, _day_ms(values.get("expires", "")))
            made[box] = Personal(claim, card.invitation, text)
        elif not wrong:
            faults.append(f"{where}: 缺少 box、url、claim 或 ca；lacks one of these")
    if len({(one.invitation.url, one.invitation.fingerprint) for one in made.values()}) > 1:
        faults.append(f"{path}: 不止一个中心 of more than one center")
    if faults or not made:
        said = "\n".join(faults) or f"{path}: 没有盒子 no boxes"
        raise FlashError(path, f"没有写入任何内容\n{said}", "nothing was written")
    return [*made.values()]


def _day_ms(text: str) -> int:
    try:
        return int(dt.datetime.fromisoformat(f"{text}T00:00Z").timestamp() * 1000)
    except ValueError:  # a spreadsheet writes dates in its own way; it is only printed
        return 0


def _place(column: str) -> tuple[str, str] | None:
    section, dot, key = OWN.get(column, column).rpartition(".")
    section = section if dot else "network"
    return (section, key) if section in SECTIONS and key in SECTIONS[section].model_fields else None


def _card(values: Mapping[str, str], shared: Mapping[str, Mapping[str, Any]]) -> bytes:
    tables: dict[str, dict[str, Any]] = {name: dict(table) for name, table in shared.items()}
    for column, value in values.items():
        place = _place(column)
        if place is not None and value:
            number = place[1] in ("vlan", "mtu") and value.isdigit()
            tables.setdefault(place[0], {})[place[1]] = int(value) if number else value
    lines = ["# 本盒子的设置；修改后重新通电。 This box's settings; start it again after a change.", ""]
    for name, table in tables.items():
        lines += [f"[{name}]", *(f"{key} = {_text(value)}" for key, value in table.items()), ""]
    return "\r\n".join(lines).encode()


def _text(value: Any) -> str:
    # JSON is TOML, but for DEL; a certificate's ends of lines are escaped in it
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def offset_of(disk: Path, label: str = PARTITION) -> int:
    """Where a partition of a GPT begins, in bytes; raises FlashError."""
    with disk.open("rb") as file:
        file.seek(512)
        header = file.read(92)
        start, count, size = (int.from_bytes(header[at : at + n], "little") for at, n in ((72, 8), (80, 4), (84, 4)))
        file.seek(512 * start)
        table = file.read(min(count, 256) * size) if header[:8] == b"EFI PART" and size >= 128 else b""
    for at in range(0, len(table), size or 1):
        if table[at + 56 : at + 128].decode("utf-16-le", "replace").rstrip("\0") == label:
            return 512 * int.from_bytes(table[at + 32 : at + 40], "little")
    raise FlashError(disk, f"没有名为 {label} 的分区，不是 CityEye 镜像", f"no partition {label}: no image of CityEye")


def put(disk: Path, card: bytes) -> None:
    """Write a card into the boot partition and read it back; raises FlashError."""
    place = f"{disk}@@{offset_of(disk)}"
    environment = {**os.environ, "SOURCE_DATE_EPOCH": EPOCH, "MTOOLS_SKIP_CHECK": "1", "TZ": "UTC"}
    for command in (["mcopy", "-o", "-i", place, "-", f"::{FILE}"], ["mtype", "-i", place, f"::{FILE}"]):
        done = subprocess.run(command, input=card, capture_output=True, check=False, env=environment)
        if done.returncode or (command[0] == "mtype" and done.stdout != card):
            said = done.stderr.decode("utf-8", "replace").strip()
            raise FlashError(disk, f"{FILE} 写入失败（{said}）", f"{FILE} cannot be written: {said}")


def copies(image: Path, boxes: Sequence[Personal], out: Path) -> Iterator[Path]:
    """A copy for each; holes stay holes, and blocks are shared where the file system can."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as folder:
        raw = image
        if image.suffix == ".zst":
            raw = Path(folder, "image")
            with opened(image) as source, raw.open("wb") as target:
                while block := source.read(CHUNK):
                    target.seek(len(block), os.SEEK_CUR) if not any(block) else target.write(block)
                target.truncate()
        for one in boxes:
            path = out / f"{one.claim.box}.img"
            subprocess.run(["cp", "--reflink=auto", "--sparse=always", raw, path], check=True)
            path.chmod(SECRET)
            put(path, one.card)
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            path.with_name(f"{path.name}.sha256").write_text(f"{digest}  {path.name}\n", "ascii")
            yield path
    url, fingerprint = boxes[0].invitation.url, boxes[0].invitation.fingerprint
    labels = out / "labels.html"
    labels.touch()
    labels.chmod(SECRET)
    labels.write_text(as_page([one.claim for one in boxes], url, fingerprint, flashed=True), "utf-8")


def main() -> None:
    """The command line; raises FlashError."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path, help="镜像 the image, .img or .img.zst")
    parser.add_argument("codes", type=Path, help="认领码表 the list of codes, .csv")
    parser.add_argument("--defaults", type=Path, help="各盒子相同的设置 what is the same for all, written as a card")
    parser.add_argument("--out", type=Path, help="存放镜像和标签的目录 where copies and labels come")
    parser.add_argument("--box", help="只做这一台 this one only")
    parser.add_argument("--onto", type=Path, help="直接写入这个盘 write it onto this disk")
    parser.add_argument("--yes", action="store_true", help="不再询问 do not ask for the device's name")
    given = parser.parse_args()
    if (given.out is None) == (given.onto is None) or (given.onto and not given.box):
        parser.error("--out DIR，或 --box BOX --onto /dev/sdX")
    boxes = [one for one in read_list(given.codes, given.defaults) if given.box in (None, one.claim.box)]
    if not boxes:
        raise FlashError(given.codes, f"没有 {given.box}", f"no box {given.box}")
    if given.onto:
        flash(given.image, given.onto, sure=given.yes)
        put(given.onto, boxes[0].card)
        print(f"{given.onto}: {boxes[0].claim.box}")
        return
    check_image(given.image)
    for number, path in enumerate(copies(given.image, boxes, given.out), 1):
        print(f"{number}/{len(boxes)} {path}")
    print(f"标签 labels: {given.out}/labels.html")


if __name__ == "__main__":
    with said():
        main()

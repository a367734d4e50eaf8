"""A dataset in YOLO format from what people judged: what a detector is to find on our own streets, and what not.

Pictures are the wide, masked originals as they left their box: of tickets that a named person confirmed, with the items
that stood there as boxes, and of false alarms that were released for training, with no boxes. The same database gives
the same bytes. A picture in which something stands that nobody judged is left out, and counted.
"""

import hashlib
import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil, inf
from pathlib import Path
from typing import Final, Literal

import cv2
import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from collector.evidence.files import PictureFiles
from collector.learning.acceptance import SHOWN
from collector.learning.replay import Verdict
from collector.learning.verdicts import messages, reasons, verdict
from collector.store import Box, IncidentRow, PictureRow, Ticket, TrainingRelease
from collector.tickets.reasons import Reasons
from protocol.messages import Incident, Item

UNNAMED: Final = "item"
"""Class of what no detector has named; its number is 0."""
VAL: Final = 0.2
"""Share of the cameras that are held back; of two or more at least one."""
DARK_LUMA: Final = 60
"""Median of the picture; what is darker was taken at night."""
GREY_SATURATION: Final = 8
"""Mean; a picture with less colour was taken by infrared light."""
Light = Literal["day", "night"]
Place = tuple[str, str]
"""Box and camera; of boxes that were replaced the newest."""
DECIMALS: Final = 6


class DatasetError(Exception):
    """A dataset that cannot be made; one line."""


@dataclass(frozen=True)
class Shot:
    """A picture of the dataset; `boxes` with their class, in picture coordinates from the top left corner."""

    place: Place
    ticket: int
    sha256: str
    boxes: tuple[tuple[str, tuple[float, float, float, float]], ...]

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.place[0]}-{self.place[1]}-{self.ticket}-{self.sha256[:12]}"


@dataclass(frozen=True)
class _Held:
    """An incident and what was judged of it."""

    id: str
    ticket: int
    verdict: Verdict | Literal[""]
    opened_s: float
    end_s: float
    data: Incident


Sink = Callable[[str, bytes], object]
"""Where files go: name and content."""


@dataclass(frozen=True)
class Report:
    """What was written: pictures by (part, light, has boxes), and how many were left out by why."""

    written: Counter[tuple[str, str, bool]]
    left_out: Counter[str]
    names: Sequence[str]


def collect(session: Session, table: Reasons, streets: Collection[str] | None) -> tuple[list[Shot], Counter[str]]:
    """All pictures that may be used, in order, and how many may not, by why."""
    query = select(Box.id, Box.site, Box.replaced_by).order_by(Box.id)
    boxes = {row.id: row for row in session.execute(query)}
    released = set(session.scalars(select(TrainingRelease.sha256)))
    found: dict[str, Shot] = {}
    left_out: Counter[str] = Counter()
    for box, row in boxes.items():
        if streets is not None and row.site not in streets:
            continue
        newest = box
        while (after := boxes[newest].replaced_by) in boxes:
            newest = after
        for shot, why in _of_box(session, table, box, newest, released):
            if shot is None:
                left_out[why] += 1
            else:
                found.setdefault(shot.sha256, shot)
    return sorted(found.values(), key=lambda one: (one.place, one.ticket, one.sha256)), left_out


def _of_box(
    session: Session, table: Reasons, box: str, newest: str, released: Collection[str]
) -> Iterator[tuple[Shot | None, str]]:
    held = _held(session, box)
    judged = {one.id: one for one in held if one.verdict}
    pictures: dict[str, set[str]] = {}
    for incident, sha256 in session.execute(
        select(PictureRow.incident, PictureRow.sha256).where(PictureRow.box_id == box, *SHOWN)
    ):
        if incident in judged and (judged[incident].verdict == "confirmed" or sha256 in released):
            pictures.setdefault(incident, set()).add(sha256)
    told = messages(session, judged)
    why = reasons(session, {one.ticket for one in held if one.verdict == "false"})
    things = {
        one.id
        for one in held
        if one.verdict == "false" and (reason := table.find(why.get(one.ticket, ""))) and reason.thing
    }
    for incident, names in sorted(pictures.items()):
        one = judged[incident]
        taken = {each.sha256: each.taken_at.timestamp() for each in one.data.evidence if each.sha256 in names}
        if not taken:
            yield None, "not known to its incident"
            continue
        # the first one is what was judged
        sha256 = min(taken, key=lambda name: (taken[name], name))
        beside = [other for other in held if other.data.camera == one.data.camera and other.data.items]
        there = [other for other in beside if other is one or other.opened_s <= taken[sha256] < other.end_s]
        right = [other for other in there if other.verdict == "confirmed"]
        items = [item for other in right for item in _items(told.get(other.id) or [other.data], taken[sha256])]
        boxes = tuple(sorted({(_label(item), item.box) for item in items}))
        if one not in there or bool(boxes) != (one.verdict == "confirmed"):
            yield None, "boxes and verdict do not agree"
        elif any(other.id in things for other in there):
            yield None, "false alarm of a thing"
        elif not all(other.verdict for other in there):
            yield None, "something beside it was not judged"
        else:
            yield Shot((newest, one.data.camera), one.ticket, sha256, boxes), ""


def _held(session: Session, box: str) -> list[_Held]:
    query = (
        select(IncidentRow.id, IncidentRow.data, Ticket.number, Ticket.state, Ticket.outcome, Ticket.reviewer)
        .join(Ticket, Ticket.number == IncidentRow.ticket_number)
        .where(IncidentRow.box_id == box)
        .order_by(IncidentRow.id)
    )
    found = []
    for row in session.execute(query):
        data = Incident.model_validate_json(row.data)
        over = data.cleared_at or (data.at if data.reason else None)
        end_s = inf if over is None else over.timestamp()
        judged = verdict(row.state, row.outcome, reviewed=row.reviewer is not None)
        found.append(_Held(row.id, row.number, judged, data.opened_at.timestamp(), end_s, data))
    return found


def _items(told: Sequence[Incident], at_s: float) -> tuple[Item, ...]:
    """What stood there at an instant: by the last message until then, before the first by that one."""
    until = [one for one in told if one.at.timestamp() <= at_s]
    return (until[-1] if until else told[0]).items


def _label(item: Item) -> str:
    return " ".join((item.label or "").split())[:60] or UNNAMED


def held_back(places: Iterable[Place]) -> set[Place]:
    """Cameras of `val`: by a hash of their name, so that one that is added moves no other from part to part."""

    def weight(place: Place) -> float:
        return int.from_bytes(hashlib.sha256("/".join(place).encode()).digest()[:8], "big") / 2**64

    ranked = sorted(set(places), key=weight)
    if len(ranked) < 2:
        return set()
    count = sum(weight(one) < VAL for one in ranked)
    return set(ranked[: min(max(1, count), len(ranked) - 1, ceil(len(ranked) / 2))])


def light_of(jpeg: bytes) -> Light:
    """Day or night, by what a detector sees of it; raises ValueError for what is no picture."""
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_REDUCED_COLOR_8)
    if picture is None:
        raise ValueError("expected a picture that can be read")
    luma = float(np.median(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)))
    saturation = float(cv2.cvtColor(picture, cv2.COLOR_BGR2HSV)[..., 1].mean())
    return "night" if luma < DARK_LUMA or saturation < GREY_SATURATION else "day"


def export(shots: Sequence[Shot], left_out: Counter[str], files: PictureFiles, sink: Sink) -> Report:
    """Write a dataset; what is gone from disk, or is not what its name says, is left out. Raises DatasetError."""
    left_out = Counter(left_out)
    val = held_back(one.place for one in shots)
    named = sorted({label for one in shots for label, _ in one.boxes} - {UNNAMED})
    numbers = {label: number for number, label in enumerate([UNNAMED, *named])}
    written: Counter[tuple[str, str, bool]] = Counter()
    for shot in shots:
        try:
            jpeg = files.read(shot.sha256)
            light = light_of(jpeg)
        except (FileNotFoundError, ValueError):
            left_out["gone from disk"] += 1
            continue
        except OSError as fault:
            raise DatasetError(f"expected pictures that can be read, got: {fault}; is their storage there?") from None
        if hashlib.sha256(jpeg).hexdigest() != shot.sha256:
            left_out["changed on disk"] += 1
            continue
        part = "val" if shot.place in val else "train"
        sink(f"images/{part}/{light}/{shot.name}.jpg", jpeg)
        sink(f"labels/{part}/{light}/{shot.name}.txt", _lines(shot, numbers).encode())
        written[part, light, bool(shot.boxes)] += 1
    if not any(has for _, _, has in written):
        raise DatasetError(
            f"expected pictures with a person's verdict, found none that can be used; left out: {dict(left_out)}"
        )
    report = Report(written, left_out, list(numbers))
    yaml = "".join(f'  {number}: "{_plain(name)}"\n' for name, number in numbers.items())
    sink("data.yaml", f"train: images/train\nval: images/{'val' if val else 'train'}\nnames:\n{yaml}".encode())
    sink("classes.txt", "".join(f"{name}\n" for name in numbers).encode())
    sink("README.md", _readme(report).encode())
    return report


def _plain(name: str) -> str:
    return name.replace("\\", "").replace('"', "'")


def _lines(shot: Shot, numbers: Mapping[str, int]) -> str:
    lines = []
    for label, (x, y, w, h) in shot.boxes:
        width, height = min(w, 1 - x), min(h, 1 - y)
        shares = (x + width / 2, y + height / 2, width, height)
        lines.append(" ".join([str(numbers[label]), *(f"{share:.{DECIMALS}f}" for share in shares)]) + "\n")
    return "".join(lines)


def _readme(report: Report) -> str:
    rows = [
        f"| {part} | {light} | {report.written[part, light, True]} | {report.written[part, light, False]} |"
        for part in ("train", "val")
        for light in ("day", "night")
    ]
    out = [f"- {why}: {count}" for why, count in sorted(report.left_out.items())] or ["- none"]
    return README.format(rows="\n".join(rows), out="\n".join(out))


README: Final = """\
# Pictures of this street's center, for training a detector / 本中心图片，仅供训练检测模型

| part | light | with boxes | without (false alarms) |
| --- | --- | --- | --- |
{rows}

Left out / 未采用:
{out}

- **Labels** are what boxes reported and a person confirmed, not all that can be seen: people, cars and goods where \
nothing was reported have no box. A detector that learns from this alone forgets them. Class 0, `item`, is what no \
detector has named.
- **Parts**: a camera is in `train` or in `val`, never in both. **Light** is judged by the picture (dark, or grey as \
by infrared light), not by the clock.
- **Use**: `cityeye-models finetune WEIGHTS.pt THIS_FOLDER --out NAME.onnx`. What comes of it is under the licence of \
the weights that it began with (ultralytics: AGPL-3.0) and under what follows.

## 权利与使用限制 / Rights
图片来自公共安全视频，人脸等已在盒子上遮挡后才写出；自动遮挡可能有遗漏。仅限为本街道改进检测模型，不得公开、提供给他人或用于识别\
任何人；训练完成即删除；发现未遮挡的人脸、车牌，请立即删除该图片并告知中心。未授予任何其他许可。

Taken for public safety and masked on the box; a machine's masks may miss somebody. Only to improve this street's \
detectors: not to be published, passed on, or used to identify anyone (PIPL 26; video regulation of 2025, 19 and 22). \
Delete it when training is done; delete and report at once a picture in which a face or plate can be read. No other \
licence is granted.
"""


@contextmanager
def sink_at(out: Path) -> Iterator[Sink]:
    """A folder that is new or empty, or NAME.zip; raises DatasetError."""
    part = out.with_name(f"{out.name}.part")
    try:
        if out.suffix == ".zip":
            with zipfile.ZipFile(part, "w") as archive:
                # with an instant of its own, two of the same would not be the same
                yield lambda name, content: archive.writestr(zipfile.ZipInfo(name), content)
            part.replace(out)
        else:
            if out.exists() and any(out.iterdir()):
                raise DatasetError(f"{out}: expected a folder that is new or empty")
            yield lambda name, content: _write(out / name, content)
    except OSError as fault:
        raise DatasetError(f"{out}: expected a place that can be written, got: {fault.strerror}") from None
    finally:
        part.unlink(missing_ok=True)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)

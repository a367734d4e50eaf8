"""What is drawn on a camera's picture: its zones, masks and ground plane, as one part of its box's settings.

A drawing is checked with words at each of its places and becomes a revision of its box's settings. What was changed
elsewhere since it was begun, on the box or here, is never written over: whoever saves says which revision they saw.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from collector.boxes import wanted
from collector.people import audit
from collector.people.actor import Actor
from collector.store import SettingsRow
from protocol.geometry import polygon_area
from protocol.settings import Camera, DocumentError, FrontageZone, GroundRectangle, Mask, Zone, read_document

PARTS: Final = ("plane", "mask", "zone")
MOST_SHAPES: Final = 64
"""Of masks, and of zones, of one camera."""
Drawing = dict[str, Any]
"""JSON's values of `plane` (or null), `mask` and `zone` of a camera."""

_ZONE: Final[TypeAdapter[Zone]] = TypeAdapter(Zone)
_PLANE: Final = TypeAdapter(GroundRectangle)
_MASK: Final = TypeAdapter(Mask)
_SLUG: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_SAID: Final = (
    ("at least 3 corners", "至少需要 3 个角点，请围着区域画"),
    ("at most 64 corners", "角点最多 64 个，请画得简单些"),
    ("coordinates between 0 and 1", "角点超出了画面"),
    ("are the same point", "有两个角点重合，请删除一个"),
    ("cross each other", "边线相互交叉，请让角点依次围成区域"),
    ("has no area", "面积为零：角点在一条直线上"),
    ("lie on one line or too close", "地面四点中有三点几乎在一条直线上或靠得太近，请选看上去更大的矩形"),
    ("at the horizon", "远处的角点太靠近地平线，请选短一些的矩形"),
    ("above the horizon", "有角点在地平线之上，不是地面；请画低一些，或更正地面四点"),
    ("bends inward", "地面四点应围成凸四边形，请依次点矩形的四个角"),
    ("4 corners of a rectangle", "地面需要恰好四个角点"),
    ("the ground plane of the camera", "按平方米计算需要先设地面四点；请先设地面，或清空此项"),
    ("max_people or max_density", "请填写人数上限或密度上限"),
    ("greater than", "数值太小"),
    ("less than", "数值太大"),
    ("number", "请填写数字"),
    ("integer", "请填写整数"),
    ("at most 80", "最多 80 字"),
)
"""What the settings' own rules say, by a part of it, and the Chinese."""


@dataclass(frozen=True)
class Fault:
    """What is wrong with a drawing.

    Args:
        where: such as `zone.1.polygon`, `zone.0.id`, `plane`; empty: with the whole.
        en: a sentence; `zh` likewise.
    """

    where: str
    en: str
    zh: str


class DrawingError(Exception):
    """A drawing that no box could use, with all that is wrong with it."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("; ".join(f"{one.where}: {one.en}" for one in faults))
        self.faults = faults


class ChangedError(Exception):
    """What was drawn was changed elsewhere since; nothing was written."""


class SameError(Exception):
    """Nothing was different."""


def drawn(document: str | Mapping[str, Any], camera: str) -> Drawing | None:
    """What settings have drawn for a camera; None where they have no such camera."""
    values = json.loads(document) if isinstance(document, str) else document
    for one in values.get("camera", ()):
        if one["id"] == camera:
            return {"plane": one.get("plane"), "mask": one.get("mask", []), "zone": one.get("zone", [])}
    return None


def conflict(session: Session, box: str) -> SettingsRow | None:
    """An edit on the box that nobody has answered: it was made upon an older revision, and nothing is newer."""
    row = session.scalars(
        select(SettingsRow).where(SettingsRow.box_id == box).order_by(SettingsRow.number.desc()).limit(1)
    ).first()
    return row if row is not None and row.state == "conflict" else None


def save(
    session: Session, actor: Actor, box: str, camera: str, drawing: Drawing, *, based_on: int, shops: Collection[str],
    masks: bool, now_ms: int,
) -> SettingsRow:  # fmt: skip
    """Make a drawing the next revision that a box is to have; raises DrawingError, ChangedError, SameError.

    Args:
        session: a transaction that writes.
        actor: who drew.
        box: a box whose settings are known.
        camera: one of its cameras.
        drawing: all that is drawn there.
        based_on: the revision that was drawn upon. One that is not the newest serves where this camera's drawing has
            not changed since.
        shops: ids that zones may be given, besides those that they have.
        masks: whether masks may be changed.
        now_ms: milliseconds since the epoch.
    """
    last = wanted.newest(session, box, to_change=True)
    document = {} if last is None else json.loads(last.document)
    now = drawn(document, camera)
    if last is None or now is None:
        raise ChangedError
    if based_on != last.revision:
        seen = session.scalars(
            select(SettingsRow).where(SettingsRow.box_id == box, SettingsRow.revision == based_on)
        ).first()
        if seen is None or drawn(seen.document, camera) != now:
            raise ChangedError
    of_camera = next(one for one in document["camera"] if one["id"] == camera)
    kept = {key: value for key, value in of_camera.items() if key not in PARTS}
    known = {zone.get("shop") for zone in now["zone"]} | set(shops)
    faults = list(_faults(kept, drawing, known))
    if faults:
        raise DrawingError(*faults)
    made = Camera.model_validate({**kept, **drawing})
    document["camera"][document["camera"].index(of_camera)] = made.model_dump(mode="json", exclude_defaults=True)
    try:
        checked = read_document(document)
    except DocumentError as fault:
        raise DrawingError(_whole(fault.faults[0])) from None
    then = drawn(checked.values(), camera) or {}
    if not masks and then["mask"] != now["mask"]:
        raise DrawingError(Fault("mask", "masks are changed by who may change boxes", "遮挡区域须由管理员修改"))
    if then == now and conflict(session, box) is None:
        raise SameError
    try:
        row = wanted.want(session, box, checked, by=str(actor), now_ms=now_ms)
    except wanted.WantedError as fault:
        raise DrawingError(_whole(str(fault))) from None
    told = {
        "camera": camera,
        "revision": row.revision,
        "number": row.number,
        "based_on": based_on,
        "shapes": [part for part in PARTS if then[part] != now[part]],
        "zones": _changed_zones(now, then),
    }
    audit.record(session, actor, "zones.drawn", f"box/{box}", told, now_ms)
    return row


def check(kept: Mapping[str, Any], drawing: Drawing, shops: Collection[str | None]) -> None:
    """Raise DrawingError where a box could not use a drawing.

    Args:
        kept: the rest of the camera's settings.
        drawing: what is drawn.
        shops: ids that its zones may have.
    """
    faults = list(_faults(kept, drawing, shops))
    if faults:
        raise DrawingError(*faults)


def _are_tables(zones: Any) -> TypeGuard[list[dict[str, Any]]]:
    return isinstance(zones, list) and all(isinstance(one, dict) for one in zones)


def _changed_zones(now: Drawing, then: Drawing) -> list[str]:
    before, after = ({one["id"]: one for one in held["zone"]} for held in (now, then))
    return sorted(one for one in before | after if before.get(one) != after.get(one))


def _faults(kept: Mapping[str, Any], drawing: Drawing, shops: Collection[str | None]) -> Iterator[Fault]:
    plane, masks, zones = (drawing.get(part) for part in PARTS)
    if set(drawing) != set(PARTS) or not isinstance(masks, list) or not _are_tables(zones):
        yield _whole("expected plane, mask and zone")
        return
    if max(len(masks), len(zones)) > MOST_SHAPES:
        yield Fault("", f"expected at most {MOST_SHAPES} zones and masks each", f"区域和遮挡各最多 {MOST_SHAPES} 个")
        return
    parts = [] if plane is None else list(_of(_PLANE, plane, "plane"))
    for number, one in enumerate(masks):
        parts += _of(_MASK, one, f"mask.{number}")
    yield from parts
    names: set[str] = set()
    sound = not parts
    for number, one in enumerate(zones):
        where = f"zone.{number}"
        found = list(_of(_ZONE, one, where))
        name = str(one.get("id", ""))
        if _SLUG.fullmatch(name) is None:
            found = [fault for fault in found if fault.where != f"{where}.id"]
            found.append(
                Fault(f"{where}.id", "expected small letters, digits and hyphens", "只能用小写字母、数字和连字符")
            )
        elif name in names:
            found.append(Fault(f"{where}.id", f"{name} is another zone's name", f"名称 {name} 已被占用"))
        names.add(name)
        if not found:
            found = list(_sense(_ZONE.validate_python(one), where, shops))
        sound = sound and not found
        yield from found
    if sound:
        try:
            Camera.model_validate({**kept, **drawing})
        except ValidationError as fault:
            yield from _of_camera(fault, zones)


def _sense(zone: Zone, where: str, shops: Collection[str | None]) -> Iterator[Fault]:
    """What is no fault of form, and would never report as it is meant."""
    if zone.shop is not None and zone.shop not in shops:
        yield Fault(f"{where}.shop", f"the register has no shop {zone.shop} here", f"本街道没有店铺 {zone.shop}")
    if isinstance(zone, FrontageZone) and polygon_area(zone.polygon) < zone.min_area:
        en = "the zone is smaller than the smallest thing that it reports; draw it larger"
        yield Fault(f"{where}.polygon", en, "区域比它要报告的最小物品还小，请画大些")


def _of(model: TypeAdapter[Any], value: Any, where: str) -> Iterator[Fault]:
    try:
        model.validate_python(value)
    except ValidationError as fault:
        for one in fault.errors(include_url=False, include_input=False):
            # a zone's place begins with its kind
            place = [str(part) for part in one["loc"] if part not in ("frontage", "gathering")]
            yield _fault(".".join([where, *place]), one["msg"])


def _of_camera(fault: ValidationError, zones: list[dict[str, Any]]) -> Iterator[Fault]:
    """What only shows in the whole of a camera: `zone front: min_area_m2: …`."""
    for one in fault.errors(include_url=False, include_input=False):
        text = one["msg"].removeprefix("Value error, ")
        found = re.match(r"zone ([a-z0-9-]+): (\w+): (.*)", text, re.DOTALL)
        numbers = [n for n, zone in enumerate(zones) if found is not None and zone.get("id") == found[1]]
        if found is not None and numbers:
            yield _fault(f"zone.{numbers[0]}.{found[2]}", found[3])
        else:
            yield _fault(".".join(map(str, one["loc"])), text)


def _fault(where: str, text: str) -> Fault:
    en = text.removeprefix("Value error, ").removeprefix("points: ")
    return Fault(where, en, next((zh for part, zh in _SAID if part in en), f"无法使用：{en}"))


def _whole(text: str) -> Fault:
    return _fault("", text)

"""Where cameras are, and what the video platform calls them (GB/T 28181), so that tickets join it."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from collector.places import fields, grid
from collector.places.columns import Column
from collector.places.history import Author
from collector.places.register import Around, Change, Findings, Kind
from collector.places.zones import sites, zone_shops
from collector.store import CameraPlace, among, write


@dataclass(frozen=True)
class Camera:
    """Where a camera is.

    Args:
        street: site of its box.
        gb28181: 20 digits; None where the platform does not know it.
        lon: degrees, WGS84; `lat` likewise.
        height_m: above the ground.
        cell: of the unit grid, where it is given; else it is looked up by where the camera is.
    """

    box: str = ""
    camera: str = ""
    street: str = ""
    name: str = ""
    gb28181: str | None = None
    lon: float | None = None
    lat: float | None = None
    height_m: float | None = None
    cell: str = ""
    note: str = ""
    revision: int = 0

    @property
    def key(self) -> str:
        """`box/camera`."""
        return f"{self.box}/{self.camera}"


COLUMNS: Final = (
    Column("box", "盒子编号", fields.slug, required=True, others=("盒子", "box id")),
    Column("camera", "摄像头编号", fields.slug, required=True, others=("摄像头", "camera id")),
    Column("street", "街道", fields.slug, others=("街道编号", "site")),
    Column("name", "名称", fields.text, others=("点位名称", "摄像头名称")),
    Column("gb28181", "国标编号", fields.gb28181, empty=None, others=("国标编码", "gb id", "gb/t 28181", "device id")),
    Column("lon", "经度", fields.longitude, fields.number_text, empty=None, others=("longitude", "lng")),
    Column("lat", "纬度", fields.latitude, fields.number_text, empty=None, others=("latitude",)),
    Column(
        "height_m",
        "高度",
        lambda text: fields.number(text, 0, 500, "m"),
        fields.number_text,
        empty=None,
        others=("安装高度", "height"),
    ),
    Column("cell", "单元网格", fields.cell_code, others=("网格编码", "单元网格编码", "grid", "grid cell")),
    Column("note", "备注", fields.text, others=("说明", "remark")),
)


def find(session: Session, box: str, camera: str) -> Camera | None:
    """Where a camera is; None where nobody has said so."""
    row = session.get(CameraPlace, (box, camera))
    return None if row is None else _camera(row)


def find_all(session: Session, keys: Collection[str]) -> dict[str, Camera]:
    """Cameras by `box/camera`."""
    place = tuple_(CameraPlace.box_id, CameraPlace.camera)
    rows = among(session, CameraPlace, place, [tuple(key.split("/")) for key in keys])
    return {camera.key: camera for camera in map(_camera, rows)}


def listed(session: Session, *, streets: Collection[str] | None = None) -> list[Camera]:
    """All cameras whose place is known."""
    query = select(CameraPlace).order_by(CameraPlace.box_id, CameraPlace.camera)
    if streets is not None:
        query = query.where(CameraPlace.street.in_(streets))
    return [_camera(row) for row in session.scalars(query)]


def cell_of(session: Session, camera: Camera) -> str | None:
    """Code of the unit-grid cell that a camera is in."""
    if camera.cell or camera.lon is None or camera.lat is None:
        return camera.cell or None
    return grid.cell_at(session, camera.lon, camera.lat)


def _camera(row: CameraPlace) -> Camera:
    values = {name: getattr(row, name) for name in Camera.__dataclass_fields__ if name != "box"}
    return Camera(box=row.box_id, **values)


def _whole(session: Session, changes: Sequence[Change[Camera]]) -> list[Change[Camera]]:
    """The street is the box's."""
    known = sites(session)
    return [
        replace(one, after=one.after if one.after.street else replace(one.after, street=known.get(one.after.box, "")))
        for one in changes
    ]


def _check(session: Session, changes: Sequence[Change[Camera]], around: Around, findings: Findings) -> None:
    known = sites(session)
    settings = {(box, camera) for box, camera, _ in zone_shops(session, {one.after.box for one in changes})}
    ids = [one.after.gb28181 for one in changes if one.after.gb28181 is not None]
    twice = {one for one, count in Counter(ids).items() if count > 1}
    touched = {one.after.key for one in changes}
    rows = among(session, CameraPlace, CameraPlace.gb28181, ids)
    held = {row.gb28181: f"{row.box_id}/{row.camera}" for row in rows}
    for one in changes:
        place = one.after
        if place.gb28181 in twice or held.get(place.gb28181, place.key) not in (place.key, *touched):
            other = held.get(place.gb28181, "")
            findings.fault(
                one,
                "gb28181",
                "gb28181_twice",
                f"国标编号 {place.gb28181} 已用于 {other or '另一行'}",
                f"id {place.gb28181} is {other or 'in another row'} already",
            )
        if place.gb28181 and around.region and not place.gb28181.startswith(around.region[:6]):
            findings.warn(
                one,
                "gb28181",
                "region",
                f"前 6 位 {place.gb28181[:6]} 不是本中心的区划 {around.region[:6]}",
                f"its first 6 digits are not this center's region {around.region[:6]}",
            )
        _check_place(session, one, findings)
        site = known.get(place.box)
        if site is None:
            findings.warn(one, "box", "box", f"还没有盒子 {place.box}", f"box {place.box} is not known yet")
            if not place.street:
                findings.fault(
                    one,
                    "street",
                    "missing",
                    "盒子还不知道，街道不能为空",
                    "expected a street: the box, which would tell it, is not known yet",
                )
        elif site != place.street:
            findings.fault(
                one,
                "street",
                "street",
                f"盒子 {place.box} 属于街道 {site}",
                f"box {place.box} is of street {site}, not {place.street}",
            )
        elif settings and (place.box, place.camera) not in settings:
            findings.warn(
                one,
                "camera",
                "camera",
                f"盒子的设置里没有摄像头 {place.camera}（或没有区域）",
                f"the settings of the box have no camera {place.camera} with zones",
            )


def _check_place(session: Session, one: Change[Camera], findings: Findings) -> None:
    place = one.after
    if place.lon is None or place.lat is None:
        if place.lon is not place.lat:
            missing = "lon" if place.lon is None else "lat"
            findings.fault(
                one,
                missing,
                "position",
                "经度、纬度要么都填，要么都不填",
                "expected longitude and latitude, both or neither",
            )
        return
    found = grid.cell_at(session, place.lon, place.lat)
    if place.cell and found is not None and found != place.cell:
        findings.warn(
            one,
            "cell",
            "cell",
            f"按坐标在网格 {found}，填的是 {place.cell}",
            f"by its position it is in cell {found}, not {place.cell}",
        )
    elif not place.cell and found is None and grid.any_cells(session):
        findings.warn(one, "lon", "outside", "坐标不在任何单元网格内", "its position is in no cell of the unit grid")


def _save(session: Session, changes: Sequence[Change[Camera]], author: Author) -> None:
    # ids may change places: all of them are free before they are given
    for one in changes:
        row = session.get(CameraPlace, (one.after.box, one.after.camera))
        if row is not None:
            session.delete(row)
    session.flush()
    rows = []
    for one in changes:
        values = dict(vars(one.after))
        rows.append({"box_id": values.pop("box"), **values, "changed_ms": author.at_ms})
    write(session, CameraPlace.__table__, rows)
    session.expire_all()


CAMERAS: Final = Kind(
    name="camera",
    zh="摄像头",
    columns=COLUMNS,
    key=("box", "camera"),
    new=Camera(),
    find=find_all,
    whole=_whole,
    check=_check,
    save=_save,
    action=lambda before, _after: "added" if before is None else "changed",
)

"""The register of shops.

A shop's id is the one that boxes' settings name at its frontage zones. The register says whose a zone is, too: where it
and the settings contradict each other, see `standing`.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import delete, select, tuple_
from sqlalchemy.orm import Session

from collector.places import fields, register
from collector.places.columns import Column, texts_of
from collector.places.effects import concerned, look_again
from collector.places.faults import Fault, PlacesError
from collector.places.fields import Zone
from collector.places.history import Author, Step, emptied, keep
from collector.places.register import Around, Change, Findings, Kind
from collector.places.zones import sites, zone_shops
from collector.store import PlaceRevision, ShopRow, ShopZone, among, lock, rewrite, write

ACTIVE: Final = "active"
CLOSED: Final = "closed"
_STATES: Final = {ACTIVE: ("在营", "营业", "正常", "open"), CLOSED: ("停业", "关闭", "歇业", "注销")}
_LANGUAGES: Final = {"zh": ("中文", "汉语", "chinese", "zh-cn"), "en": ("英文", "英语", "english")}
PERSONAL: Final = ("owner", "phone", "other_phone", "email")
"""Fields that tell of a person; `forget` empties them, in the history as well."""


@dataclass(frozen=True)
class Shop:
    """A shop.

    Args:
        id: a slug.
        street: site of its boxes.
        phone: as it is dialled in the country; empty where none is known, like all other texts.
        language: of what it is sent, `zh` or `en`.
        lon: of its door, degrees, WGS84; `lat` likewise.
        zones: its frontage.
        revision: how often it was changed, from 1.
    """

    id: str = ""
    name: str = ""
    street: str = ""
    address: str = ""
    business: str = ""
    owner: str = ""
    phone: str = ""
    other_phone: str = ""
    email: str = ""
    language: str = "zh"
    lon: float | None = None
    lat: float | None = None
    zones: tuple[Zone, ...] = ()
    note: str = ""
    state: str = ACTIVE
    revision: int = 0

    @property
    def key(self) -> str:
        """Its id."""
        return self.id

    @property
    def active(self) -> bool:
        """Whether it is there."""
        return self.state == ACTIVE


COLUMNS: Final = (
    Column("id", "店铺编号", fields.slug, required=True, others=("编号", "shop", "shop id")),
    Column("name", "店铺名称", fields.text, required=True, others=("名称", "店名", "招牌名称", "shop name")),
    Column("street", "街道", fields.slug, required=True, others=("街道编号", "site")),
    Column("address", "地址", fields.text, others=("门牌", "经营地址")),
    Column("business", "业态", fields.text, others=("经营范围", "行业", "business type")),
    Column("owner", "负责人", fields.text, others=("店主", "经营者", "联系人", "owner name")),
    Column("phone", "电话", fields.phone, others=("手机", "联系电话", "手机号", "telephone", "mobile")),
    Column("other_phone", "备用电话", fields.phone, others=("电话2", "phone2")),
    Column("email", "邮箱", fields.email, others=("电子邮箱", "e-mail", "mail")),
    Column("language", "语言", lambda text: fields.choice(text, _LANGUAGES), str, empty="zh"),
    Column("lon", "经度", fields.longitude, fields.number_text, empty=None, others=("longitude", "lng")),
    Column("lat", "纬度", fields.latitude, fields.number_text, empty=None, others=("latitude",)),
    Column("zones", "店前区", fields.zones, fields.zones_text, empty=(), others=("区域", "zone")),
    Column("note", "备注", fields.text, others=("说明", "remark")),
    Column(
        "state", "状态", lambda text: fields.choice(text, _STATES), str, empty=ACTIVE, keeps=True, others=("status",)
    ),
)


def find(session: Session, shop_id: str) -> Shop | None:
    """A shop by its id, closed ones as well."""
    return find_all(session, [shop_id]).get(shop_id)


def find_all(session: Session, ids: Collection[str]) -> dict[str, Shop]:
    """Shops by their ids."""
    return {row.id: _shop(row) for row in among(session, ShopRow, ShopRow.id, ids)}


def listed(
    session: Session,
    *,
    streets: Collection[str] | None = None,
    state: str | None = None,
    after: str = "",
    limit: int | None = None,
) -> list[Shop]:
    """Shops in the order of their ids."""
    query = select(ShopRow).where(ShopRow.id > after).order_by(ShopRow.id).limit(limit)
    if streets is not None:
        query = query.where(ShopRow.street.in_(streets))
    if state is not None:
        query = query.where(ShopRow.state == state)
    return [_shop(row) for row in session.scalars(query)]


def owner_of(session: Session, box: str, camera: str, zone: str) -> str | None:
    """Id of the active shop that the register has for a zone."""
    row = session.get(ShopZone, (box, camera, zone))
    return None if row is None else row.shop_id


def close(session: Session, shop_id: str, author: Author, around: Around, *, seen: int | None = None) -> Shop:
    """Say that a shop is there no more; its zones are free for another. Raises PlacesError."""
    return register.change(session, SHOPS, {"id": shop_id, "state": CLOSED}, author, around, new=False, seen=seen)[0]


def forget(session: Session, shop_id: str, author: Author, around: Around) -> Shop:
    """Delete what the register holds of a closed shop's people, from its history too; that it was done stays on record.

    Personal data are kept no longer than they serve their purpose (PIPL art. 19); raises PlacesError.
    """
    lock(session, [register.LOCK])
    before = find(session, shop_id)
    if before is None:
        raise register.unknown(SHOPS, shop_id)
    if before.active:
        raise PlacesError.of("active", f"店铺 {shop_id} 仍在营；请先停业", f"shop {shop_id} is active; close it first")
    if not around.allows(before.street):
        raise PlacesError.of(
            "not_allowed", f"您无权更改街道 {before.street}", f"you may not change street {before.street}"
        )
    after = replace(before, owner="", phone="", other_phone="", email="", revision=before.revision + 1)
    _save(session, [Change(None, before, after)], author)
    texts = texts_of(COLUMNS, after)
    for row in session.scalars(select(PlaceRevision).where(PlaceRevision.kind == "shop", PlaceRevision.of == shop_id)):
        row.document = emptied(row.document, PERSONAL)
    keep(session, "shop", [Step(shop_id, after.revision, "forgotten", texts, texts)], author)
    return after


def _shop(row: ShopRow) -> Shop:
    values = {name: getattr(row, name) for name in Shop.__dataclass_fields__ if name != "zones"}
    return Shop(**values, zones=fields.zones(row.zones))


def _whole(session: Session, changes: Sequence[Change[Shop]]) -> list[Change[Shop]]:
    del session
    return list(changes)


def _check(session: Session, changes: Sequence[Change[Shop]], around: Around, findings: Findings) -> None:
    del around
    _check_zones(session, changes, findings)
    known = sites(session)
    boxes = {zone[0] for one in changes for zone in one.after.zones}
    settings = zone_shops(session, boxes & known.keys())
    for one in changes:
        shop = one.after
        if (shop.lon is None) != (shop.lat is None):
            findings.fault(
                one,
                "lat" if shop.lat is None else "lon",
                "position",
                "经度、纬度要么都填，要么都不填",
                "expected longitude and latitude, both or neither",
            )
        if not shop.active:
            continue
        if not (shop.phone or shop.other_phone or shop.email):
            findings.warn(
                one,
                "phone",
                "no_contact",
                "没有电话或邮箱，无法提醒",
                "neither telephone nor e-mail: it cannot be told anything",
                by=("other_phone", "email"),
            )
        if shop.street not in known.values():
            findings.warn(
                one, "street", "street", f"街道 {shop.street} 还没有盒子", f"street {shop.street} has no box yet"
            )
        for zone in shop.zones:
            _check_zone(one, zone, known, settings, findings)


def _check_zone(
    one: Change[Shop], zone: Zone, known: dict[str, str], settings: dict[Zone, str | None], findings: Findings
) -> None:
    name, shop = "/".join(zone), one.after
    site = known.get(zone[0])
    if site is None:
        findings.warn(one, "zones", "box", f"还没有盒子 {zone[0]}", f"box {zone[0]} is not known yet")
    elif site != shop.street:
        findings.fault(
            one,
            "zones",
            "zone_street",
            f"区域 {name} 的盒子属于街道 {site}，店铺属于 {shop.street}",
            f"zone {name} is of a box of street {site}, the shop of {shop.street}",
            by=("street",),
        )
    elif zone not in settings:
        findings.warn(
            one, "zones", "zone_unknown", f"盒子的设置里没有区域 {name}", f"the settings of the box have no zone {name}"
        )
    elif settings[zone] != shop.id:
        said = settings[zone] or "—"
        findings.warn(
            one,
            "zones",
            "contradiction",
            f"盒子的设置把区域 {name} 归于 {said}，与此不符；两边一致之前不会自动提醒",
            f"the settings of the box give zone {name} to {said}; nobody is told by itself until both agree",
        )


def _check_zones(session: Session, changes: Sequence[Change[Shop]], findings: Findings) -> None:
    """A zone is one active shop's, when all is done: two shops may exchange theirs in one file."""
    of: dict[Zone, list[Change[Shop]]] = defaultdict(list)
    for one in changes:
        if one.after.active and "zones" not in one.unread:
            for zone in one.after.zones:
                of[zone].append(one)
    for zone, several in of.items():
        for one in several[1:]:
            other = several[0].after.id
            findings.fault(
                one,
                "zones",
                "zone_taken",
                f"区域 {'/'.join(zone)} 已归 {other}",
                f"zone {'/'.join(zone)} is shop {other}'s; a zone has one shop",
            )
    touched = {one.after.id for one in changes}
    for zone, shop_id in _holders(session, list(of)).items():
        if shop_id not in touched:
            for one in of[zone]:
                findings.fault(
                    one,
                    "zones",
                    "zone_taken",
                    f"区域 {'/'.join(zone)} 已归 {shop_id}",
                    f"zone {'/'.join(zone)} is shop {shop_id}'s; a zone has one shop",
                )


def _holders(session: Session, wanted: Sequence[Zone]) -> dict[Zone, str]:
    place = tuple_(ShopZone.box_id, ShopZone.camera, ShopZone.zone)
    rows = among(session, ShopZone, place, wanted)
    return {(row.box_id, row.camera, row.zone): row.shop_id for row in rows}


def _save(session: Session, changes: Sequence[Change[Shop]], author: Author) -> None:
    rows = [_row(one.after, author.at_ms) for one in changes]
    new = {one.after.id for one in changes if one.before is None}
    known = [one.after.id for one in changes if one.before is not None]
    for start in range(0, len(known), 500):
        session.execute(delete(ShopZone).where(ShopZone.shop_id.in_(known[start : start + 500])))
    write(session, ShopRow.__table__, [row for row in rows if row["id"] in new])
    rewrite(session, ShopRow.__table__, [row for row in rows if row["id"] not in new], "id")
    held = [
        {"box_id": box, "camera": camera, "zone": zone, "shop_id": one.after.id}
        for one in changes
        if one.after.active
        for box, camera, zone in one.after.zones
    ]
    write(session, ShopZone.__table__, held)
    session.expire_all()
    zones = {zone for one in changes for shop in (one.before, one.after) if shop for zone in shop.zones}
    look_again(session, concerned(session, {one.after.id for one in changes}, zones))


def _row(shop: Shop, at_ms: int) -> dict[str, object]:
    return {**vars(shop), "zones": fields.zones_text(shop.zones), "changed_ms": at_ms}


def _action(before: Shop | None, after: Shop) -> str:
    if before is None:
        return "added"
    if before.state != after.state:
        return "reopened" if after.active else "closed"
    return "changed"


SHOPS: Final = Kind(
    name="shop",
    zh="店铺",
    columns=COLUMNS,
    key=("id",),
    new=Shop(),
    find=find_all,
    whole=_whole,
    check=_check,
    save=_save,
    action=_action,
)


def add(session: Session, values: dict[str, object], author: Author, around: Around) -> tuple[Shop, Sequence[Fault]]:
    """Register a shop; raises PlacesError. Returns it, and warnings."""
    return register.change(session, SHOPS, values, author, around, new=True)

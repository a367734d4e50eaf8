"""Permits: dated exceptions with an area, hours and an issuer. What one covers is exempt, and names it.

A permit is for a shop, for zones of cameras, for an area on the map, or for what they have in common. It covers from
the start of its hours to their end (see `windows`), but nothing from the moment on that it is withdrawn, and nothing of
a shop that is closed.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import Select, or_, select
from sqlalchemy.orm import Session

from collector.places import cameras, fields, register, shops
from collector.places.columns import Column
from collector.places.effects import concerned, look_again
from collector.places.faults import BadValueError, Fault
from collector.places.fields import Position, Times, Zone
from collector.places.history import Author
from collector.places.register import Around, Change, Findings, Kind
from collector.places.shapes import covers, polygon_of
from collector.places.windows import Schedule
from collector.places.zones import sites
from collector.store import PermitRow, among, rewrite, write
from collector.tickets.seams import Cover

ACTIVE: Final = "active"
WITHDRAWN: Final = "withdrawn"
_STATES: Final = {ACTIVE: ("有效", "valid"), WITHDRAWN: ("撤销", "撤回", "已撤销", "revoked")}
MAX_DAYS: Final = 3660
"""A permit lasts ten years at most; one without an end would be a switch."""


@dataclass(frozen=True)
class Permit:
    """An approved exception.

    Args:
        number: of the approval, as it is printed there.
        street: site of the boxes that it concerns.
        shop: the shop that it is for; None: whoever stands in its zones or its area.
        zones: of cameras; empty: all.
        area: corners, WGS84; empty: everywhere. A place is where its shop's door is, else where its camera is.
        from_day: first day on which its hours begin; `until_day` is the last.
        hours: minutes since midnight.
        excluded: days on which they do not begin.
        withdrawn_ms: since when it counts no more.
        id: given by the center.
    """

    number: str = ""
    issuer: str = ""
    business: str = ""
    street: str = ""
    shop: str | None = None
    zones: tuple[Zone, ...] = ()
    area: tuple[Position, ...] = ()
    from_day: date = date.min
    until_day: date = date.min
    weekdays: tuple[int, ...] = tuple(range(7))
    hours: Times = ((0, fields.DAY_MIN),)
    excluded: tuple[date, ...] = ()
    note: str = ""
    state: str = ACTIVE
    withdrawn_ms: int | None = None
    id: int = 0
    revision: int = 0

    @property
    def key(self) -> str:
        """Its number."""
        return self.number

    @property
    def schedule(self) -> Schedule:
        """When it covers."""
        return Schedule(self.from_day, self.until_day, frozenset(self.weekdays), self.hours, frozenset(self.excluded))


COLUMNS: Final = (
    Column(
        "number",
        "备案编号",
        fields.text,
        required=True,
        others=("许可编号", "批文号", "编号", "permit", "permit number"),
    ),
    Column("issuer", "审批单位", fields.text, required=True, others=("签发单位", "发证机关", "备案单位")),
    Column("business", "业态", fields.text, others=("经营类型", "外摆类型", "business type")),
    Column("street", "街道", fields.slug, others=("街道编号", "site")),
    Column("shop", "店铺编号", fields.slug, empty=None, others=("店铺", "shop id")),
    Column("zones", "区域", fields.zones, fields.zones_text, empty=(), others=("店前区", "zone")),
    Column("area", "范围", fields.polygon, fields.polygon_text, empty=(), others=("polygon",)),
    Column(
        "from_day",
        "开始日期",
        fields.day,
        date.isoformat,
        required=True,
        others=("起始日期", "开始", "from", "from date", "start"),
    ),
    Column(
        "until_day",
        "结束日期",
        fields.day,
        date.isoformat,
        required=True,
        others=("截止日期", "结束", "until", "until date", "end"),
    ),
    Column("weekdays", "星期", fields.weekdays, fields.weekdays_text, empty=tuple(range(7)), others=("星期几", "days")),
    Column("hours", "时段", fields.times, fields.times_text, required=True, others=("时间", "time", "times")),
    Column("excluded", "除外日期", fields.days, fields.days_text, empty=(), others=("excluded dates", "不含日期")),
    Column("note", "备注", fields.text, others=("说明", "remark")),
    Column(
        "state", "状态", lambda text: fields.choice(text, _STATES), str, empty=ACTIVE, keeps=True, others=("status",)
    ),
)


def find(session: Session, number: str) -> Permit | None:
    """A permit by its number."""
    return find_all(session, [number]).get(number)


def find_all(session: Session, numbers: Collection[str]) -> dict[str, Permit]:
    """Permits by their numbers."""
    return {row.number: _permit(row) for row in among(session, PermitRow, PermitRow.number, numbers)}


def listed(
    session: Session,
    *,
    streets: Collection[str] | None = None,
    shop: str | None = None,
    on: date | None = None,
    state: str | None = None,
    after: int = 0,
    limit: int | None = None,
) -> list[Permit]:
    """Permits as they were entered; `on`: those whose days include this one."""
    query = select(PermitRow).where(PermitRow.id > after).order_by(PermitRow.id).limit(limit)
    if streets is not None:
        query = query.where(PermitRow.street.in_(streets))
    if shop is not None:
        query = query.where(PermitRow.shop_id == shop)
    if state is not None:
        query = query.where(PermitRow.state == state)
    if on is not None:
        query = query.where(PermitRow.from_day <= on.isoformat(), PermitRow.until_day >= on.isoformat())
    return [_permit(row) for row in session.scalars(query)]


def covering(
    session: Session, shop: str | None, street: str, box: str, camera: str, zone: str, at_ms: int, tz: ZoneInfo
) -> Cover | None:
    """The permit that covers a place at an instant; of several the one that covers it longest.

    Args:
        session: a transaction.
        shop: of the ticket; None: the one that the register has for the zone.
        street: site of the box.
        box: where it stands.
        camera: likewise.
        zone: likewise.
        at_ms: milliseconds since the epoch.
        tz: the street's.
    """
    shop = shop or shops.owner_of(session, box, camera, zone)
    known = None if shop is None else shops.find(session, shop)
    if known is not None and not known.active:
        known = shop = None
    today = datetime.fromtimestamp(at_ms / 1000, tz).date()
    near = [(today + timedelta(days=n)).isoformat() for n in (-1, 1)]
    query = _for(shop).where(PermitRow.street == street, PermitRow.until_day >= near[0], PermitRow.from_day <= near[1])
    query = query.where(or_(PermitRow.withdrawn_ms.is_(None), PermitRow.withdrawn_ms > at_ms))
    best: Cover | None = None
    for row in session.scalars(query):
        permit = _permit(row)
        if permit.zones and (box, camera, zone) not in permit.zones:
            continue
        until_ms = permit.schedule.covers_until(at_ms, tz)
        if until_ms is None or (permit.area and not _in_area(session, permit, known, box, camera)):
            continue
        if permit.withdrawn_ms is not None:
            until_ms = min(until_ms, permit.withdrawn_ms)
        if best is None or until_ms > best.until_ms:
            best = Cover(permit.id, permit.number, until_ms)
    return best


def _for(shop: str | None) -> Select[Any]:
    mine = PermitRow.shop_id.is_(None) if shop is None else or_(PermitRow.shop_id.is_(None), PermitRow.shop_id == shop)
    return select(PermitRow).where(mine).order_by(PermitRow.id)


def _in_area(session: Session, permit: Permit, shop: shops.Shop | None, box: str, camera: str) -> bool:
    """Whether a place lies in a permit's area; one of which nobody knows where it is does not."""
    if shop is not None and shop.lon is not None and shop.lat is not None:
        return covers(_area(permit.area), shop.lon, shop.lat)
    place = cameras.find(session, box, camera)
    if place is None or place.lon is None or place.lat is None:
        return False
    return covers(_area(permit.area), place.lon, place.lat)


@lru_cache(maxsize=256)
def _area(corners: tuple[Position, ...]) -> Any:
    return polygon_of([corners])


def withdraw(session: Session, number: str, author: Author, around: Around, *, seen: int | None = None) -> Permit:
    """Withdraw a permit from now on, for good; tickets that it made exempt are looked at again. Raises PlacesError."""
    given = {"number": number, "state": WITHDRAWN}
    return register.change(session, PERMITS, given, author, around, new=False, seen=seen)[0]


def add(session: Session, values: dict[str, object], author: Author, around: Around) -> tuple[Permit, Sequence[Fault]]:
    """Enter a permit; raises PlacesError. Returns it, and warnings."""
    return register.change(session, PERMITS, values, author, around, new=True)


def _permit(row: PermitRow) -> Permit:
    return Permit(
        number=row.number,
        issuer=row.issuer,
        business=row.business,
        street=row.street,
        shop=row.shop_id,
        zones=fields.zones(row.zones),
        area=fields.polygon(row.area) if row.area else (),
        from_day=date.fromisoformat(row.from_day),
        until_day=date.fromisoformat(row.until_day),
        weekdays=fields.weekdays(row.weekdays),
        hours=fields.times(row.hours),
        excluded=fields.days(row.excluded),
        note=row.note,
        state=row.state,
        withdrawn_ms=row.withdrawn_ms,
        id=row.id,
        revision=row.revision,
    )


def _whole(session: Session, changes: Sequence[Change[Permit]]) -> list[Change[Permit]]:
    """The street is the shop's, or that of the zones' boxes, where none is given."""
    wanted = [one for one in changes if not one.after.street]
    if not wanted:
        return list(changes)
    known = shops.find_all(session, {one.after.shop for one in wanted if one.after.shop})
    boxes = sites(session)

    def street(permit: Permit) -> str:
        if permit.shop in known:
            return known[permit.shop].street
        return next((boxes[zone[0]] for zone in permit.zones if zone[0] in boxes), "")

    return [
        replace(one, after=one.after if one.after.street else replace(one.after, street=street(one.after)))
        for one in changes
    ]


def _check(session: Session, changes: Sequence[Change[Permit]], around: Around, findings: Findings) -> None:
    known = shops.find_all(session, {one.after.shop for one in changes if one.after.shop})
    boxes = sites(session)
    for one in changes:
        permit = one.after
        if one.before is not None and one.before.state == WITHDRAWN and one.before != permit:
            findings.fault(
                one,
                "state",
                "withdrawn",
                f"备案 {permit.number} 已撤销，不能再改；请用新编号",
                f"permit {permit.number} is withdrawn for good; enter a new one",
            )
        if not (permit.shop or permit.zones or permit.area):
            findings.fault(
                one,
                "shop",
                "nowhere",
                "至少要有店铺、区域或范围之一",
                "expected a shop, zones or an area, got none of them",
                by=("zones", "area"),
            )
        if not permit.street and (permit.shop is None or permit.shop in known):
            findings.fault(
                one,
                "street",
                "missing",
                "不能为空：店铺和盒子都还不知道街道",
                "expected a street: neither shop nor box tells it",
                by=("shop", "zones"),
            )
        _check_days(one, findings)
        _check_shop(one, known, findings)
        if permit.area:
            try:
                polygon_of([permit.area])
            except BadValueError as bad:
                findings.fault(one, "area", bad.code, *bad.text)
        for zone in permit.zones:
            site = boxes.get(zone[0])
            if site is None:
                findings.warn(one, "zones", "box", f"还没有盒子 {zone[0]}", f"box {zone[0]} is not known yet")
            elif site != permit.street:
                findings.fault(
                    one,
                    "zones",
                    "zone_street",
                    f"盒子 {zone[0]} 属于街道 {site}",
                    f"box {zone[0]} is of street {site}, not {permit.street}",
                    by=("street", "shop"),
                )
        if permit.until_day < datetime.fromtimestamp(around.now_ms / 1000, ZoneInfo("UTC")).date() - timedelta(days=1):
            findings.warn(one, "until_day", "past", f"已于 {permit.until_day} 到期", f"it ended on {permit.until_day}")


def _check_days(one: Change[Permit], findings: Findings) -> None:
    permit = one.after
    if permit.until_day < permit.from_day:
        findings.fault(
            one,
            "until_day",
            "ends_before_start",
            f"结束日期 {permit.until_day} 早于开始日期 {permit.from_day}",
            f"expected an end on or after {permit.from_day}, got {permit.until_day}",
            by=("from_day",),
        )
    elif (permit.until_day - permit.from_day).days > MAX_DAYS:
        findings.fault(
            one, "until_day", "too_long", "备案最长十年", "expected a permit of at most ten years", by=("from_day",)
        )
    elif next(permit.schedule.days(), None) is None:
        findings.fault(
            one,
            "weekdays",
            "never",
            "这些日期里没有一天符合星期和除外日期，备案从不生效",
            "no day between its dates is one of its weekdays and not excluded: it would never cover anything",
            by=("from_day", "until_day", "hours", "excluded"),
        )


def _check_shop(one: Change[Permit], known: dict[str, shops.Shop], findings: Findings) -> None:
    permit = one.after
    shop = known.get(permit.shop or "")
    if permit.shop is None:
        return
    if shop is None:
        findings.fault(
            one,
            "shop",
            "unknown_shop",
            f"没有登记店铺 {permit.shop}；请先登记",
            f"shop {permit.shop} is not in the register; register it first",
        )
    elif permit.street and shop.street != permit.street:
        findings.fault(
            one,
            "street",
            "shop_street",
            f"店铺 {shop.id} 属于街道 {shop.street}",
            f"shop {shop.id} is of street {shop.street}, not {permit.street}",
            by=("shop",),
        )
    elif not shop.active and permit.state == ACTIVE:
        findings.warn(
            one,
            "shop",
            "closed",
            f"店铺 {shop.id} 已停业，备案不生效",
            f"shop {shop.id} is closed: the permit covers nothing",
        )
    elif permit.area and shop.lon is None:
        findings.warn(
            one,
            "area",
            "no_position",
            f"店铺 {shop.id} 没有坐标，按摄像头位置判断",
            f"shop {shop.id} has no position: the camera's counts",
        )


def _save(session: Session, changes: Sequence[Change[Permit]], author: Author) -> None:
    rows = [_row(one.after, author.at_ms) for one in changes]
    write(session, PermitRow.__table__, [row for row, one in zip(rows, changes, strict=True) if one.before is None])
    rewrite(session, PermitRow.__table__, [row for row, one in zip(rows, changes, strict=True) if one.before], "number")
    session.expire_all()
    permits = [permit for one in changes for permit in (one.before, one.after) if permit is not None]
    look_again(session, _touched(session, permits))


def _touched(session: Session, permits: Sequence[Permit]) -> dict[int, str]:
    """Tickets that permits may concern."""
    of = shops.find_all(session, {permit.shop for permit in permits if permit.shop})
    zones = {zone for shop in of.values() for zone in shop.zones}
    zones |= {zone for permit in permits for zone in permit.zones}
    streets = {permit.street for permit in permits if not permit.shop and not permit.zones}
    boxes = [box for box, site in sites(session).items() if site in streets]
    return concerned(session, of.keys(), zones, boxes)


def _row(permit: Permit, at_ms: int) -> dict[str, object]:
    withdrawn = permit.state == WITHDRAWN
    return {
        "number": permit.number,
        "revision": permit.revision,
        "issuer": permit.issuer,
        "business": permit.business,
        "street": permit.street,
        "shop_id": permit.shop,
        "zones": fields.zones_text(permit.zones),
        "area": fields.polygon_text(permit.area),
        "from_day": permit.from_day.isoformat(),
        "until_day": permit.until_day.isoformat(),
        "weekdays": fields.weekdays_text(permit.weekdays),
        "hours": fields.times_text(permit.hours),
        "excluded": fields.days_text(permit.excluded),
        "note": permit.note,
        "state": permit.state,
        "withdrawn_ms": (permit.withdrawn_ms or at_ms) if withdrawn else None,
        "changed_ms": at_ms,
    }


def _action(before: Permit | None, after: Permit) -> str:
    if before is None:
        return "added"
    return "withdrawn" if before.state != after.state else "changed"


PERMITS: Final = Kind(
    name="permit",
    zh="备案",
    columns=COLUMNS,
    key=("number",),
    new=Permit(),
    find=find_all,
    whole=_whole,
    check=_check,
    save=_save,
    action=_action,
)

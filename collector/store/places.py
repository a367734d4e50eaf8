"""Tables of shops, permits, grid cells and of where cameras are."""

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from collector.store.tables import Base, Key, Serial, Small


class ShopRow(Base):
    """A shop, as its newest revision says."""

    __tablename__ = "shop"

    id: Mapped[Key]
    """As boxes' settings name it."""
    revision: Mapped[Small]
    name: Mapped[str]
    street: Mapped[str] = mapped_column(index=True)
    """Site of its boxes; policies and rights go by it."""
    address: Mapped[str]
    business: Mapped[str]
    owner: Mapped[str]
    phone: Mapped[str]
    other_phone: Mapped[str]
    email: Mapped[str]
    language: Mapped[str]
    """`zh` or `en`: of its notices."""
    lon: Mapped[float | None]
    """Of its door, WGS84; `lat` likewise."""
    lat: Mapped[float | None]
    zones: Mapped[str]
    """`box/camera/zone; …`; a closed shop keeps them, but they are no longer its own."""
    note: Mapped[str]
    state: Mapped[str]
    """`active` or `closed`."""
    changed_ms: Mapped[int]


class ShopZone(Base):
    """Whose frontage a zone is; a zone belongs to one shop at most, and to none that is closed."""

    __tablename__ = "shop_zone"

    box_id: Mapped[Key]
    """No foreign key: a list of shops may be there before its boxes."""
    camera: Mapped[Key]
    zone: Mapped[Key]
    shop_id: Mapped[str] = mapped_column(ForeignKey("shop.id"), index=True)


class PermitRow(Base):
    """An approved exception, as its newest revision says."""

    __tablename__ = "permit"
    __table_args__ = (Index("ix_permit_days", "until_day", "from_day"),)

    id: Mapped[Serial]
    number: Mapped[str] = mapped_column(unique=True)
    """Of the approval, as it is printed there."""
    revision: Mapped[Small]
    issuer: Mapped[str]
    business: Mapped[str]
    street: Mapped[str] = mapped_column(index=True)
    shop_id: Mapped[str | None] = mapped_column(ForeignKey("shop.id"), index=True)
    zones: Mapped[str]
    area: Mapped[str]
    """`longitude latitude, …`, WGS84."""
    from_day: Mapped[str]
    """ISO dates, both inclusive: of the days on which its hours begin."""
    until_day: Mapped[str]
    weekdays: Mapped[str]
    hours: Mapped[str]
    excluded: Mapped[str]
    note: Mapped[str]
    state: Mapped[str]
    """`active` or `withdrawn`."""
    withdrawn_ms: Mapped[int | None]
    changed_ms: Mapped[int]


class GridCell(Base):
    """A cell of the municipal unit grid."""

    __tablename__ = "grid_cell"
    __table_args__ = (Index("ix_grid_cell_box", "state", "west", "east"),)

    code: Mapped[Key]
    revision: Mapped[Small]
    name: Mapped[str]
    rings: Mapped[str]
    """Coordinates of a GeoJSON polygon, WGS84: the outer ring, then holes."""
    west: Mapped[float]
    south: Mapped[float]
    east: Mapped[float]
    north: Mapped[float]
    area_m2: Mapped[float]
    state: Mapped[str]
    """`active` or `retired`."""
    changed_ms: Mapped[int]


class CameraPlace(Base):
    """Where a camera is, and what the video platform calls it."""

    __tablename__ = "camera_place"

    box_id: Mapped[Key]
    camera: Mapped[Key]
    revision: Mapped[Small]
    street: Mapped[str] = mapped_column(index=True)
    name: Mapped[str]
    gb28181: Mapped[str | None] = mapped_column(unique=True)
    lon: Mapped[float | None]
    lat: Mapped[float | None]
    height_m: Mapped[float | None]
    """Above the ground."""
    cell: Mapped[str]
    """Of the unit grid, where it was given; else it is looked up."""
    note: Mapped[str]
    changed_ms: Mapped[int]


class PlaceRevision(Base):
    """What a shop, permit, cell or camera was at some time, one more for each change.

    Never changed, but that `forget` takes people out of those of a closed shop.
    """

    __tablename__ = "place_revision"

    kind: Mapped[Key]
    """`shop`, `permit`, `cell` or `camera`."""
    of: Mapped[Key]
    """Its id, number, code, or `box/camera`."""
    revision: Mapped[Small] = mapped_column(primary_key=True)
    """From 1, without gaps."""
    action: Mapped[str]
    """`added`, `changed`, `closed`, `reopened`, `withdrawn`, `retired`, `forgotten`."""
    document: Mapped[str]
    """All fields as they are since then, as texts, JSON."""
    by: Mapped[str]
    """Who did it, `kind:id`."""
    by_name: Mapped[str]
    reason: Mapped[str]
    source: Mapped[str]
    """SHA-256 of the file that it came with; empty for a single change."""
    at_ms: Mapped[int] = mapped_column(index=True)

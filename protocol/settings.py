"""Cameras, zones and rules: the one document that a box and the center both edit.

Picture coordinates are shares of the whole displayed picture, 0 to 1, origin top left.
"""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from protocol.documents import Section
from protocol.geometry import Point, polygon_fault
from protocol.hours import parse_hours
from protocol.ids import Slug


def _sound_polygon(polygon: tuple[Point, ...]) -> tuple[Point, ...]:
    fault = polygon_fault(polygon)
    if fault is not None:
        raise ValueError(fault)
    return polygon


def _sound_hours(text: str) -> str:
    parse_hours(text)
    return text


def _without_password(source: str) -> str:
    if "://" in source:
        parts = urlsplit(source)
        if parts.password is not None or parts.username is not None:
            raise ValueError(
                "expected a URL without user and password, got one with them; "
                "take them out, set `credentials` and give them in CITYEYE_CREDENTIALS_… or the secrets file"
            )
    return source


PolygonSetting = Annotated[tuple[Point, ...], AfterValidator(_sound_polygon)]
HoursSetting = Annotated[str, AfterValidator(_sound_hours)]


class Mask(Section):
    """An area that is burnt black before anything is inferred or written."""

    polygon: PolygonSetting


class ZoneBase(Section):
    """What every zone has."""

    id: Slug
    polygon: PolygonSetting
    clear_s: float = Field(default=60, ge=0, le=86400, description="seen clear for this long before an incident clears")
    active: tuple[HoursSetting, ...] = Field(default=(), description="hours in the box's time zone; empty: always")


class FrontageZone(ZoneBase):
    """The pavement in front of a shop, where nothing may stand for long."""

    kind: Literal["frontage"]
    shop: Slug | None = None
    dwell_s: float = Field(
        default=180, gt=0, le=86400, description="something stands for longer than this: an incident"
    )
    min_area: float = Field(default=0.002, gt=0, lt=1, description="smallest item, as a share of the picture")


class GatheringZone(ZoneBase):
    """A place that bears a limited number of people."""

    kind: Literal["gathering"]
    shop: Slug | None = None
    dwell_s: float = Field(default=30, gt=0, le=86400, description="over the limit for longer than this: an incident")
    max_people: int = Field(ge=1, le=100_000, description="more people than this are too many")


Zone = Annotated[FrontageZone | GatheringZone, Field(discriminator="kind")]


def _distinct_zones(zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
    ids = [zone.id for zone in zones]
    for zone_id in ids:
        if ids.count(zone_id) > 1:
            raise ValueError(f"two zones of this camera have the id {zone_id!r}; give each its own")
    return zones


class Camera(Section):
    """One camera with its masks and zones."""

    id: Slug
    source: Annotated[str, AfterValidator(_without_password)] = Field(
        min_length=1, description="rtsp://… or rtsps://…, a file's path, or usb:N"
    )
    credentials: Slug | None = Field(default=None, description="name of a secret; never the secret itself")
    sample_s: float = Field(default=1.0, ge=0.1, le=60, description="time between two samples that are looked at")
    learn_s: float | None = Field(
        default=None, ge=2, le=3600, description="time to learn the clear place; unset: 60 live, 10 in a replay"
    )
    mask: tuple[Mask, ...] = ()
    zone: Annotated[tuple[Zone, ...], AfterValidator(_distinct_zones)] = ()

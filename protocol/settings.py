"""Cameras, zones and rules: the one document that a box and the center both edit.

Picture coordinates are shares of the whole displayed picture, 0 to 1, origin top left.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationError, model_validator

from protocol.documents import Section, all_faults
from protocol.geometry import Point, polygon_fault
from protocol.hours import parse_hours
from protocol.ids import Slug

if TYPE_CHECKING:
    from protocol.plane import Plane

MIN_AREA: Final = 0.0015
"""Smallest item that is reported, as a share of the picture; the set-up page's aim help goes by it as well."""


def _sound_polygon(polygon: tuple[Point, ...]) -> tuple[Point, ...]:
    fault = polygon_fault(polygon)
    if fault is not None:
        raise ValueError(fault)
    return polygon


def _sound_hours(text: str) -> str:
    parse_hours(text)
    return text


def without_password(source: str) -> str:
    """An address as it is; raises ValueError for one with a user or a password in it, and does not quote it."""
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


class GroundRectangle(Section):
    """Four points on the ground that are the corners of a rectangle, and its sides: they give the ground plane.

    The points are shares of the picture's width and height; the plane takes care of pictures that are not square.
    """

    points: tuple[Point, ...] = Field(description="4 corners in the picture, in order around the rectangle")
    width_m: float = Field(gt=0, le=1000, description="length of the side from the first to the second corner")
    depth_m: float = Field(gt=0, le=1000, description="length of the side from the second to the third corner")

    @model_validator(mode="after")
    def _gives_a_plane(self) -> Self:
        try:
            self.plane()
        except ValueError as fault:
            raise ValueError(f"points: {fault}") from None
        return self

    def plane(self) -> "Plane":
        """Compute the ground plane."""
        # NumPy: a box without one says that it is there before it loads that
        from protocol.plane import Plane  # noqa: PLC0415 - as said

        return Plane.from_rectangle(self.points, self.width_m, self.depth_m)


class Allowed(Section):
    """An area of a zone in which something is allowed to stand."""

    polygon: PolygonSetting
    what: str = Field(default="", max_length=80, description="for people: a bench, a post box")


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
    min_area: float = Field(default=MIN_AREA, gt=0, lt=1, description="smallest item, as a share of the picture")
    min_area_m2: float | None = Field(
        default=None, gt=0, le=10_000, description="smallest item on the ground; needs the camera's `plane`"
    )
    allowed: tuple[Allowed, ...] = Field(default=(), description="areas where something is allowed to stand")


class GatheringZone(ZoneBase):
    """A place that bears a limited number of people."""

    kind: Literal["gathering"]
    shop: Slug | None = None
    dwell_s: float = Field(default=30, gt=0, le=86400, description="over the limit for longer than this: an incident")
    max_people: int | None = Field(
        default=None, ge=1, le=100_000, description="more people than this are too many; this or `max_density`"
    )
    max_density: float | None = Field(
        default=None, gt=0, le=10, description="more people per m² than this are too many; needs the camera's `plane`"
    )
    loiter_s: float | None = Field(
        default=None,
        gt=0,
        le=86400,
        description="who stays longer is loitering; looked at 5 times a second while anybody is there",
    )
    counting: Literal["auto", "detector", "tiles", "crowd"] = Field(
        default="auto",
        description="how people are counted: by one look of the detector, by tiles, by the counter of crowds; "
        "auto: by what the zone's geometry and the budget ask for",
    )

    @model_validator(mode="after")
    def _has_a_limit(self) -> Self:
        if self.max_people is None and self.max_density is None:
            raise ValueError("expected max_people or max_density, found neither; add the one that this place bears")
        return self


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
    source: Annotated[str, AfterValidator(without_password)] = Field(
        min_length=1, description="rtsp://… or rtsps://…, a file's path, or usb:N"
    )
    substream: Annotated[str, Field(min_length=1), AfterValidator(without_password)] | None = Field(
        default=None,
        description="the camera's small second stream, rtsp://… or rtsps://… or a file's path; it shows the same view",
    )
    credentials: Slug | None = Field(default=None, description="name of a secret; never the secret itself")
    sample_s: float = Field(default=1.0, ge=0.1, le=60, description="time between two samples that are looked at")
    learn_s: float | None = Field(
        default=None, ge=2, le=3600, description="time to learn the clear place; unset: 60 live, 10 in a replay"
    )
    compute_ms: int = Field(
        default=400, ge=1, le=60_000, description="time that the detector may take for one sample, where tiles help"
    )
    plane: GroundRectangle | None = Field(default=None, description="absent: no area, density or distance is known")
    mask: tuple[Mask, ...] = ()
    zone: Annotated[tuple[Zone, ...], AfterValidator(_distinct_zones)] = ()

    def ground(self) -> "Plane | None":
        """Compute the ground plane; None where none is set."""
        return None if self.plane is None else self.plane.plane()

    @model_validator(mode="after")
    def _substream_fits(self) -> Self:
        if self.substream is not None and "usb" in (self.source.partition(":")[0], self.substream.partition(":")[0]):
            raise ValueError(
                "substream: expected a network camera's second stream (rtsp://…) or a file, got usb; take it out"
            )
        return self

    @model_validator(mode="after")
    def _zones_have_what_they_need(self) -> Self:
        for zone in self.zone:
            fault = self._zone_fault(zone)
            if fault is not None:
                raise ValueError(f"zone {zone.id}: {fault}")
        return self

    def _zone_fault(self, zone: Zone) -> str | None:
        if isinstance(zone, FrontageZone):
            on_ground = None if zone.min_area_m2 is None else "min_area_m2"
        else:
            on_ground = None if zone.max_density is None else "max_density"
        if on_ground is None:
            return None
        ground = self.ground()
        if ground is None:
            return (
                f"{on_ground}: expected the ground plane of the camera, [camera.plane] with points, width_m and "
                f"depth_m, found none; add it or take {on_ground} out"
            )
        try:
            ground.area_m2(zone.polygon)
        except ValueError as fault:
            return f"{on_ground}: {fault}"
        return None


def _distinct_cameras(cameras: tuple[Camera, ...]) -> tuple[Camera, ...]:
    ids = [camera.id for camera in cameras]
    for camera_id in ids:
        if ids.count(camera_id) > 1:
            raise ValueError(f"two cameras have the id {camera_id!r}; give each its own")
    return cameras


Cameras = Annotated[tuple[Camera, ...], AfterValidator(_distinct_cameras)]


class CamerasDocument(Section):
    """Cameras, zones and rules: the document that has revisions."""

    version: Literal[1] = 1
    camera: Cameras = ()

    def values(self) -> dict[str, Any]:
        """Write it as JSON's values, without what is by default: an older box knows no newer default."""
        return {"version": self.version, **self.model_dump(mode="json", exclude_defaults=True)}

    def digest(self) -> str:
        """SHA-256 of its canonical JSON."""
        text = json.dumps(self.values(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


class DocumentError(ValueError):
    """A document that cannot be used; `faults` has a line for each thing that is wrong with it."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


def read_document(values: Mapping[str, Any], unknown: list[str] | None = None) -> CamerasDocument:
    """Read a document; raises DocumentError. Keys that are not known are left out and added to `unknown`, if given."""
    version = values.get("version", 1)
    if version != 1:
        raise DocumentError([f"expected version 1 of the settings, got {version!r:.80}; update the box's agent first"])
    try:
        return CamerasDocument.model_validate(values, context=unknown)
    except ValidationError as fault:
        raise DocumentError(all_faults(fault, values)) from None

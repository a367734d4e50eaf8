"""Messages on the wire: CloudEvents 1.0 in JSON, and the collector's acknowledgement.

Readers ignore fields that they do not know and keep values of open lists (`rule`, `kind`, `role`, `view`, `level`);
they refuse an unknown major version, which `dataschema` carries.
"""

import contextlib
import json
import re
from typing import Annotated, Any, Final, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, ValidationError

from protocol.ids import Sha256, Slug
from protocol.instants import Instant

MAJOR: Final = 1
MAX_JSON_BYTES: Final = 64 * 1024
MAX_ACKNOWLEDGED: Final = 200
MAX_NUMBER: Final = 2**31 - 1
"""Of what is counted; a database's integer."""
MAX_SPAN_S: Final = 1e10
"""Three hundred years."""

INCIDENT_OPENED: Final = "cityeye.incident.opened"
INCIDENT_UPDATED: Final = "cityeye.incident.updated"
INCIDENT_CLEARED: Final = "cityeye.incident.cleared"
INCIDENT_ENDED: Final = "cityeye.incident.ended"
BOX_STATUS: Final = "cityeye.box.status"
BOX_HEALTH: Final = "cityeye.box.health"
CAMERA_STATE: Final = "cityeye.camera.state"

_DATASCHEMA = re.compile(r"^urn:cityeye:schema:([a-z-]+):(\d+)$")


class MessageError(ValueError):
    """A message that cannot be read; `code` is for machines, the text says what was expected and what came."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Value(BaseModel):
    """A part of a message: frozen, and tolerant of fields that a later minor version added.

    Numbers are finite: JSON has no other ones, and what was read must be fit to be written.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


def _four_decimals(box: tuple[float, float, float, float]) -> list[float]:
    return [round(number, 4) for number in box]


Share = Annotated[float, Field(ge=0, le=1)]
PlaceBox = Annotated[tuple[Share, Share, Share, Share], PlainSerializer(_four_decimals, return_type=list[float])]
"""Box `[x, y, w, h]` in picture coordinates, four decimals."""


class Item(Value):
    """Something that stands in a zone and was not there when the place was clear."""

    id: str
    kind: str
    box: PlaceBox
    label: str | None = None
    score: float | None = None
    area_m2: float | None = None


class People(Value):
    """How many people are in a zone."""

    count: int = Field(ge=0)
    lower_bound: bool = Field(description="true where the counter is saturated and more may be there")
    density: float | None = Field(
        default=None, description="people per square metre of ground, where the plane is known"
    )
    over: bool | None = Field(default=None, description="whether the zone's limit is exceeded; null: not said")
    level: str = Field(
        description="A to F (Fruin's levels of a standing crowd) where the plane is known, else over or within"
    )


class Evidence(Value):
    """One sealed picture that proves an incident. The picture travels on its own; this is its place in the chain."""

    role: str = Field(description="clear, at, after or worker_after")
    view: str = Field(description="wide or close")
    sha256: Sha256
    bytes: int = Field(ge=0)
    media_type: str
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    taken_at: Instant
    masked: bool
    dropped: bool = Field(default=False, description="the picture had to make room on the box and will not come")
    prev: Sha256 | None = Field(default=None, description="link of the picture sealed before this one on the same box")
    signature: str | None = Field(default=None, description="Ed25519 by the box over this picture's link, base64")


class Model(Value):
    """The detector that was in use."""

    name: str
    sha256: Sha256


class ClockReport(Value):
    """How far the box's clock can be trusted."""

    state: str = Field(description="synchronised, unsynchronised, unknown or replay")
    offset_s: float | None = Field(
        default=None,
        ge=-MAX_SPAN_S,
        le=MAX_SPAN_S,
        description="the center's clock minus the box's, measured from its answers; null: not known",
    )
    offset_error_s: float | None = Field(default=None, description="how far `offset_s` may be off, either way")
    boot_id: str
    uptime_s: float = Field(ge=0, le=MAX_SPAN_S, description="since the boot, when this was written; never jumps")


class Incident(Value):
    """The full state of one incident, as of one change."""

    incident: str
    seq: int = Field(ge=1, le=MAX_NUMBER)
    previous: str | None = Field(default=None, description="the last incident at the same place")
    place_id: str
    rule: str
    camera: Slug
    zone: Slug
    shop: Slug | None = None
    opened_at: Instant = Field(description="first instant of the presence")
    at: Instant = Field(description="when this message's change was decided")
    cleared_at: Instant | None = Field(default=None, description="first instant that the place was seen clear")
    dwell_s: float = Field(description="(cleared_at or at) - opened_at")
    dwell_limit_s: float = Field(description="the setting")
    visibility: Literal["seen", "not_seen"]
    reason: str | None = Field(default=None, description="why it ended: rule_changed, camera_removed, withdrawn")
    place: PlaceBox
    items: tuple[Item, ...] = ()
    people: People | None = None
    evidence: tuple[Evidence, ...] = ()
    model: Model | None = None
    clock: ClockReport
    settings_digest: Sha256


class OpenIncident(Value):
    """An incident that goes on, as the box knows it."""

    incident: str
    seq: int = Field(ge=1, le=MAX_NUMBER, description="of its last message")


MAX_OPEN_INCIDENTS: Final = 500
"""More of them are not listed: a message holds at most 64 KB, and a list with gaps would make orphans of the rest."""


MAX_COUNTS: Final = 200
"""Zones of one box in which people are counted; with more a message would be too long."""


class BoxStatus(Value):
    """Retained; the last will says `offline`."""

    state: Literal["online", "offline", "stopped"]
    boot_id: str
    version: str
    public_key: str | None = Field(default=None, description="Ed25519 key of the evidence seal, base64")
    encryption_key: str | None = Field(default=None, description="X25519 key that secrets are sealed to, base64")
    open_incidents: tuple[OpenIncident, ...] | None = Field(
        default=None,
        max_length=MAX_OPEN_INCIDENTS,
        description="all incidents that go on as the box connects; null: not said",
    )


class DetectorLoad(Value):
    """What a box's detector has to do."""

    looks: int = Field(description="since the agent started")
    stretch: float = Field(description="largest factor by which looks are further apart than wanted; 1: none are")
    wait_p50_s: float
    wait_p99_s: float = Field(description="waiting time before a look")
    late_s: float = Field(description="the longest time by which a wanted look came late, of the last ones")
    look_s: float | None = Field(default=None, description="one look at a whole picture, half of the last ones")


class MachineLoad(Value):
    """How the machine is that a box runs on; null: it does not say."""

    temperature_c: float | None = Field(default=None, description="the hottest of its sensors")
    undervoltage: bool | None = Field(default=None, description="whether its supply gives too little just now")
    load: float | None = Field(default=None, description="tasks that run or wait to, mean of a minute")
    cores: int | None = None
    memory_bytes: int | None = None
    memory_free_bytes: int | None = Field(default=None, description="that programs could have")
    disk_bytes: int | None = Field(default=None, description="of the disk that the state folder is on")
    disk_free_bytes: int | None = None


class CameraLoad(Value):
    """How a camera's pictures come."""

    camera: Slug
    frame_age_s: float | None = Field(default=None, description="age of the newest picture; null: none has come")
    decided_s: float | None = Field(
        default=None, description="age of a picture when all was decided on it, half of the last ones"
    )


class ZoneCount(Value):
    """How many people were counted in a zone since the last such message."""

    camera: Slug
    zone: Slug
    looks: int = Field(ge=1, le=MAX_NUMBER, description="counts that the mean is of")
    mean: float = Field(ge=0, le=MAX_NUMBER)
    most: int = Field(ge=0, le=MAX_NUMBER)
    lower_bound: bool = Field(default=False, description="true where the counter was full and more may have been there")


class BoxHealth(Value):
    """How a box is doing; may be dropped on the way."""

    uptime_s: float
    waiting_messages: int
    oldest_waiting_s: float = Field(ge=0, le=MAX_SPAN_S)
    parked_messages: int
    state_bytes: int = Field(description="what the outbox takes on the disk")
    clock: ClockReport
    model: Model | None = None
    detector: DetectorLoad | None = None
    frames_decoded: int | None = None
    frames_dropped: int | None = Field(default=None, description="due, and nobody looked at them: the box is behind")
    outbox_budget_bytes: int | None = Field(default=None, description="what the outbox may take")
    pictures_dropped: int | None = Field(
        default=None, description="that had to make room before the center had them, of the last 7 days"
    )
    unwritten_messages: int | None = Field(default=None, description="kept in memory only, as the disk is full")
    refused_connections: int | None = Field(
        default=None, description="since the agent started, by the broker or for a certificate"
    )
    refused_publishes: int | None = Field(
        default=None,
        description="since the agent started, replies, reports and states by the broker; incidents would be parked",
    )
    machine: MachineLoad | None = None
    written_bytes: int | None = Field(
        default=None, description="that the agent gave to disks within the last 24 h, or since its start"
    )
    written_limit_bytes: int | None = Field(default=None, description="what is right for a day with these incidents")
    cameras: tuple[CameraLoad, ...] = Field(default=(), max_length=200)
    counts: tuple[ZoneCount, ...] = Field(default=(), max_length=MAX_COUNTS)


class CameraState(Value):
    """Retained, one per camera."""

    camera: Slug
    state: str = Field(
        description="starting, learning, live, stalled, lost, covered, moved, defocused, frozen, dark or off"
    )
    since: Instant
    text: str = ""
    restarts: int = Field(default=0, ge=0, le=MAX_NUMBER)
    learning_zones: tuple[Slug, ...] = Field(default=(), description="zones whose clear look is not known yet")
    unavailable_zones: tuple[Slug, ...] = Field(default=(), description="zones that cannot be judged; text says why")


Data = TypeVar("Data", bound=Value)


class Event(Value, Generic[Data]):
    """A CloudEvents 1.0 envelope."""

    specversion: Literal["1.0"] = "1.0"
    id: str = Field(min_length=1, max_length=200)
    source: str = Field(pattern=r"^/cityeye/[a-z0-9-]+/[a-z0-9-]+$")
    type: str
    time: Instant
    datacontenttype: Literal["application/json"] = "application/json"
    dataschema: str
    data: Data

    def to_json(self) -> bytes:
        """Write the message for the wire, compact."""
        return self.model_dump_json().encode()


class IncidentEvent(Event[Incident]):
    """`cityeye.incident.opened|updated|cleared|ended`; its id is `{incident}:{seq}`."""


class StatusEvent(Event[BoxStatus]):
    """`cityeye.box.status`."""


class HealthEvent(Event[BoxHealth]):
    """`cityeye.box.health`."""


class CameraEvent(Event[CameraState]):
    """`cityeye.camera.state`."""


SCHEMAS: Final[dict[str, type[Event[Any]]]] = {
    "incident": IncidentEvent,
    "status": StatusEvent,
    "health": HealthEvent,
    "camera": CameraEvent,
}
"""Name of a schema (as in `dataschema`) to its message."""


class Refusal(Value):
    """A message that will never be stored."""

    id: str
    code: str
    text: str


class Postponement(Value):
    """A message that the center cannot store just now."""

    id: str
    after_s: float = Field(ge=0)


class Acknowledgement(Value):
    """What the collector did with the messages of one box, sent after its commit and not retained.

    An id is a message's `id`, or a picture's `{incident}:{role}:{view}:{sha256}`. At most 200 ids in all. Ids of
    `status` and `health` may be answered as `stored` as well: nothing waits for them, but they tell the box the time.
    """

    at: Instant | None = Field(default=None, description="the center's clock as it answered")
    stored: tuple[str, ...] = ()
    refused: tuple[Refusal, ...] = ()
    later: tuple[Postponement, ...] = ()


def dataschema(name: str) -> str:
    """Write the `dataschema` of a message of this version."""
    return f"urn:cityeye:schema:{name}:{MAJOR}"


def source(site: str, box: str) -> str:
    """Write the `source` of a box's messages."""
    return f"/cityeye/{site}/{box}"


EventModel = TypeVar("EventModel", bound=Event[Any])


def read_event(payload: bytes, model: type[EventModel], max_bytes: int = MAX_JSON_BYTES) -> EventModel:
    """Read a message; raises MessageError (`too_large`, `not_json`, `unknown_major`, `invalid`)."""
    if len(payload) <= max_bytes:
        # nearly all are sound, and this is much the quickest way to find out
        with contextlib.suppress(ValueError):
            event = model.model_validate_json(payload)
            match = _DATASCHEMA.match(event.dataschema)
            if match is not None and int(match[2]) == MAJOR and b"\\u0000" not in payload:
                return event
    values = _read_object(payload, max_bytes)
    schema = values.get("dataschema")
    match = _DATASCHEMA.match(schema) if isinstance(schema, str) else None
    if match is None:
        raise MessageError("invalid", f"expected a dataschema such as {dataschema('incident')}, got {schema!r:.80}")
    if int(match[2]) != MAJOR:
        raise MessageError(
            "unknown_major", f"expected major version {MAJOR} of the protocol, got {match[2]}; update the older side"
        )
    if not _is_text(values):
        raise MessageError("invalid", "expected text, got NUL or half a character of two")
    return _validated(model, values)


def _is_text(value: Any) -> bool:
    """Whether all text in it can be stored; as deep as the JSON was, which its reader bounds."""
    if isinstance(value, str):
        return "\x00" not in value and not any("\ud800" <= one <= "\udfff" for one in value)
    if isinstance(value, dict):
        return all(_is_text(key) and _is_text(one) for key, one in value.items())
    return not isinstance(value, list) or all(map(_is_text, value))


def read_acknowledgement(payload: bytes) -> Acknowledgement:
    """Read an acknowledgement; raises MessageError."""
    return _validated(Acknowledgement, _read_object(payload))


AnyModel = TypeVar("AnyModel", bound=BaseModel)


def _validated(model: type[AnyModel], values: dict[str, Any]) -> AnyModel:
    try:
        return model.model_validate(values)
    except ValidationError as fault:
        first = fault.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise MessageError("invalid", f"{model.__name__} {where}: {first['msg']}") from None


def _read_object(payload: bytes, max_bytes: int = MAX_JSON_BYTES) -> dict[str, Any]:
    if len(payload) > max_bytes:
        raise MessageError("too_large", f"expected at most {max_bytes} bytes, got {len(payload)}")
    try:
        values = json.loads(payload)
    except (ValueError, RecursionError) as fault:
        raise MessageError("not_json", f"expected JSON, got: {fault!s:.120}") from None
    if not isinstance(values, dict):
        raise MessageError("not_json", f"expected a JSON object, got {type(values).__name__}")
    return values

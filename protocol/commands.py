"""Commands to a box and its replies.

A command goes to the box's leaf `command`, not retained, and expires. It is sent again until a reply comes, so a box
remembers the ids that it has seen: each runs once, and a repeated one gets the same reply. Verbs are an open list: what
a box does not know, it refuses with `unknown_verb`. Arguments are not: one that is not known is refused, since the box
would do something else than what was asked (`scene` without its `zone` is for the whole camera).
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from protocol.ids import Slug
from protocol.instants import Instant
from protocol.messages import Event, MessageError, PlaceBox, Value
from protocol.settings import GroundRectangle, Mask, Zone, without_password

BOX_COMMAND: Final = "cityeye.box.command"
BOX_REPLY: Final = "cityeye.box.reply"
LIFE_S: Final = 60.0
"""A command that did not begin within this time does not begin."""
MAX_LIFE_S: Final = 600.0
MAX_TEXT: Final = 1000

CommandId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,64}$")]


def _for_a_database(text: str) -> str:
    if "\x00" in text or any("\ud800" <= one <= "\udfff" for one in text):
        raise ValueError("expected text without NUL and lone surrogates, which no database takes")
    return text


PlainText = Annotated[str, StringConstraints(max_length=MAX_TEXT), AfterValidator(_for_a_database)]


class Arguments(BaseModel):
    """Arguments of a verb; unknown ones are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SnapshotArguments(Arguments):
    """`snapshot`: a masked picture of a camera as it is now."""

    camera: Slug


class ProbeArguments(Arguments):
    """`probe`: a masked picture of an address that is in no settings yet, once; nothing is kept of it on the box."""

    camera: Slug = Field(description="what it is to be called")
    source: Annotated[
        str, StringConstraints(max_length=500, pattern=r"^rtsps?://[^\s/]+"), AfterValidator(without_password)
    ] = Field(description="rtsp://… or rtsps://…, without user and password")
    credentials: Slug | None = Field(default=None, description="name of a secret of the box, see `secret`")


class VerifyArguments(Arguments):
    """`verify`: look now, and say of each place: clear, occupied or not seen. An incident, or a camera and a zone."""

    incident: str | None = Field(default=None, min_length=1, max_length=64)
    camera: Slug | None = None
    zone: Slug | None = None

    @model_validator(mode="after")
    def _names_one_thing(self) -> Self:
        by_place = self.camera is not None and self.zone is not None
        if (self.incident is None) != by_place or (self.camera is None) != (self.zone is None):
            raise ValueError("expected either incident, or camera and zone")
        return self


class SceneArguments(Arguments):
    """`scene`: approve what stands there now as the clear look, or reset and learn it again."""

    camera: Slug
    zone: Slug | None = Field(default=None, description="absent: the whole camera")
    action: str = Field(pattern=r"^(approve|reset)$")


class SecretArguments(Arguments):
    """`secret`: user and password of a camera, sealed to the box's `encryption_key` (`protocol.sealed`)."""

    name: Slug = Field(description="what a camera's `credentials` names")
    sealed: str = Field(min_length=1, max_length=4096, description="base64")


class Login(Arguments):
    """What a sealed secret holds, in JSON."""

    user: str = Field(max_length=500)
    password: str = Field(max_length=500)


class RestartArguments(Arguments):
    """`restart`: end in order and start again. `accepted` at once, `ok` when it runs again."""


class DiagnosticsArguments(Arguments):
    """`diagnostics`: what is known of the box, without secrets: gzipped JSON in base64 as `bundle` of the reply."""


class ResendArguments(Arguments):
    """`resend`: send again what the center has acknowledged since an instant (its database came from a back-up)."""

    since: Instant


class TryArguments(Arguments):
    """`try`: what other zones would have reported of the last hour; nothing changes, and nobody is told of it."""

    camera: Slug
    plane: GroundRectangle | None = None
    mask: tuple[Mask, ...] = ()
    zone: tuple[Zone, ...] = ()


class ExamineArguments(Arguments):
    """`examine`: what the doctor says of machine, network, center, detector and cameras. `accepted`, then `ok`."""


class SetupArguments(Arguments):
    """`setup`: open the set-up page on the box's own network for 30 minutes; its PIN is on the box."""


VERBS: Final[Mapping[str, type[Arguments]]] = {
    "snapshot": SnapshotArguments,
    "probe": ProbeArguments,
    "verify": VerifyArguments,
    "scene": SceneArguments,
    "secret": SecretArguments,
    "restart": RestartArguments,
    "diagnostics": DiagnosticsArguments,
    "resend": ResendArguments,
    "try": TryArguments,
    "examine": ExamineArguments,
    "setup": SetupArguments,
}


class Command(Value):
    """What a box is to do. The event's `id` is the command's, its `time` when it was asked for."""

    verb: str = Field(pattern=r"^[a-z_]{1,32}$")
    args: dict[str, Any] = Field(default_factory=dict)
    expires_at: Instant = Field(description="by the center's clock; not begun until then, it is not begun at all")


class CommandEvent(Event[Command]):
    """`cityeye.box.command`."""

    id: CommandId


class Reply(Value):
    """What became of a command."""

    command: CommandId
    outcome: str = Field(
        pattern=r"^[a-z_]{1,32}$",
        description="ok, failed, refused or expired; accepted: it goes on, and another reply follows",
    )
    code: str = Field(default="", pattern=r"^[a-z_]{0,32}$", description="why, for machines")
    text: PlainText = Field(default="", description="for people")
    data: dict[str, Any] = Field(default_factory=dict)


class ReplyEvent(Event[Reply]):
    """`cityeye.box.reply`."""


class PlaceSeen(Value):
    """One place of a `verify`, as it is now."""

    place: PlaceBox
    state: str = Field(description="clear, occupied or not_seen")
    incident: str | None = None
    label: str | None = Field(default=None, description="what stands there, where it has a name")
    count: int | None = Field(default=None, description="people, in a gathering zone")


class Verified(Value):
    """`data` of the reply to `verify`."""

    camera: Slug
    zone: Slug
    at: Instant = Field(description="picture time; where no picture came: when that was given up")
    places: tuple[PlaceSeen, ...]
    text: str = Field(default="", description="why a place is not seen, where that is known")


class TriedIncident(Value):
    """One that there would have been."""

    zone: Slug
    rule: str
    opened_at: Instant = Field(description="first instant of the presence")
    reported_at: Instant = Field(description="when it would have been reported")
    cleared_at: Instant | None = Field(default=None, description="absent: it went on until the last sample")
    place: PlaceBox
    area_m2: float | None = Field(default=None, description="of the largest item, where the ground is known")
    people: int | None = Field(default=None, description="at most, in a gathering zone")
    picture: str | None = Field(default=None, description="view of the picture that goes with the reply")


class Tried(Value):
    """`data` of the reply to `try`."""

    camera: Slug
    samples: int = Field(ge=0, description="pictures that were looked at")
    from_at: Instant | None = Field(default=None, description="time of the first one")
    until_at: Instant | None = Field(default=None, description="time of the last one")
    whole: bool = Field(description="false: it took too long, and ended at `until_at`")
    learned: tuple[Slug, ...] = Field(default=(), description="zones whose clear look could be learned")
    untried: tuple[Slug, ...] = Field(default=(), description="zones whose limits such rare samples do not show")
    incidents: tuple[TriedIncident, ...] = Field(default=(), max_length=100)


FindingText = Annotated[str, StringConstraints(max_length=500), AfterValidator(_for_a_database)]


class Found(Value):
    """One thing that the doctor looked at."""

    name: FindingText
    state: str = Field(pattern=r"^(ok|warn|FAIL)$", description="warn: it works, and may not for long, or not well")
    says: FindingText
    todo: FindingText = Field(default="", description="what a person does about it")
    code: str = Field(default="", pattern=r"^[a-z_]{0,32}$", description="of what is not ok: why, for machines")


class Examined(Value):
    """`data` of the last reply to `examine`."""

    at: Instant = Field(description="by the box's clock")
    version: str = Field(max_length=100, description="of the agent")
    findings: tuple[Found, ...] = Field(max_length=400)


def read_arguments(verb: str, args: Mapping[str, Any]) -> Arguments:
    """Read a verb's arguments; raises MessageError (`unknown_verb`, `invalid`)."""
    model = VERBS.get(verb)
    if model is None:
        raise MessageError("unknown_verb", f"expected one of {', '.join(VERBS)}, got {verb!r}")
    try:
        return model.model_validate(args)
    except ValidationError as fault:
        # never the input: it may be a secret
        first = fault.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        text = f"{verb}: {where}: {first['msg']}" if where else f"{verb}: {first['msg']}"
        raise MessageError("invalid", text.replace("Value error, ", "")[:MAX_TEXT]) from None

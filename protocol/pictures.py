"""Evidence pictures on the wire: the JPEG is the payload, what it shows stands in the MQTT user properties."""

from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from protocol.commands import CommandId
from protocol.ids import Sha256
from protocol.messages import MessageError

MAX_PICTURE_BYTES: Final = 512 * 1024
MAX_PICTURE_PX: Final = 1920
MEDIA_TYPE: Final = "image/jpeg"


class _Header(BaseModel):
    """What every picture has."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    role: str = Field(min_length=1, max_length=32, pattern=r"^[a-z_]+$")
    view: str = Field(min_length=1, max_length=32, pattern=r"^[a-z_]+$")
    sha256: Sha256

    def to_properties(self) -> list[tuple[str, str]]:
        """Write the MQTT user properties."""
        return list(self.model_dump().items())


class PictureHeader(_Header):
    """What a picture proves, and where it belongs."""

    incident: str = Field(min_length=1, max_length=64)

    @property
    def id(self) -> str:
        """The id under which the picture is acknowledged; the same picture sent twice has the same id."""
        return f"{self.incident}:{self.role}:{self.view}:{self.sha256}"


class AnswerHeader(_Header):
    """A picture that a command asked for; it proves nothing and is kept for a day."""

    command: CommandId


def is_answer(properties: Iterable[tuple[str, str]]) -> bool:
    """Say whether a picture answers a command, by its user properties."""
    return any(name == "command" for name, _ in properties)


def read_header(properties: Mapping[str, str] | Iterable[tuple[str, str]]) -> PictureHeader:
    """Read the user properties of a picture that proves an incident; raises MessageError (`invalid`)."""
    return _read(PictureHeader, properties)


def read_answer_header(properties: Mapping[str, str] | Iterable[tuple[str, str]]) -> AnswerHeader:
    """Read the user properties of a picture that answers a command; raises MessageError (`invalid`)."""
    return _read(AnswerHeader, properties)


Header = TypeVar("Header", bound=_Header)


def _read(model: type[Header], properties: Mapping[str, str] | Iterable[tuple[str, str]]) -> Header:
    try:
        return model.model_validate(dict(properties))
    except ValidationError as fault:
        first = fault.errors(include_url=False)[0]
        name = ".".join(map(str, first["loc"]))
        raise MessageError("invalid", f"picture: user property {name!r}: {first['msg']}") from None

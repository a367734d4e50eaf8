"""Evidence pictures on the wire: the JPEG is the payload, what it shows stands in the MQTT user properties."""

from collections.abc import Iterable, Mapping
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from protocol.ids import Sha256
from protocol.messages import MessageError

MAX_PICTURE_BYTES: Final = 512 * 1024
MAX_PICTURE_PX: Final = 1920
MEDIA_TYPE: Final = "image/jpeg"


class PictureHeader(BaseModel):
    """What a picture proves, and where it belongs."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    incident: str = Field(min_length=1, max_length=64)
    role: str = Field(min_length=1, max_length=32, pattern=r"^[a-z_]+$")
    view: str = Field(min_length=1, max_length=32, pattern=r"^[a-z_]+$")
    sha256: Sha256

    @property
    def id(self) -> str:
        """The id under which the picture is acknowledged; the same picture sent twice has the same id."""
        return f"{self.incident}:{self.role}:{self.view}:{self.sha256}"

    def to_properties(self) -> list[tuple[str, str]]:
        """Write the MQTT user properties."""
        return list(self.model_dump().items())


def read_header(properties: Mapping[str, str] | Iterable[tuple[str, str]]) -> PictureHeader:
    """Read the user properties of a picture; raises MessageError (`invalid`)."""
    try:
        return PictureHeader.model_validate(dict(properties))
    except ValidationError as fault:
        first = fault.errors(include_url=False)[0]
        name = ".".join(map(str, first["loc"]))
        raise MessageError("invalid", f"picture: user property {name!r}: {first['msg']}") from None

"""What is to be read, with everything that the reading process needs to know."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self
from urllib.parse import quote, urlsplit

from agent.camera.errors import CameraError

if TYPE_CHECKING:  # a reading process gets a source that is made already, and does without what checks settings
    from agent.settings import BoxConfig
    from protocol.geometry import Point
    from protocol.settings import Camera

Kind = Literal["network", "file", "usb"]


@dataclass(frozen=True)
class Source:
    """One camera or clip.

    Args:
        camera: its id, for messages.
        address: a URL, a file's path, or the number of a USB camera.
        masks: polygons in picture coordinates that are burnt black.
        begin: where a live file begins, as a share of its length.
        hardware: whether hardware may decode it; replays are the same on each machine, and do without.
        sub: URL or path of the camera's second, smaller stream.
        shape: width to height as which the picture is displayed, whatever its pixels say; None: as they say.
        played_s: what of a live file is over already: it is joined at its next key frame, as a camera is.
        live: at the pace of real time (a file then repeats), newest frame first; else as fast as it is read.
    """

    camera: str
    kind: Kind
    address: str
    sample_s: float
    masks: tuple[tuple[Point, ...], ...] = ()
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    live: bool = True
    begin: float = 0.0
    hardware: bool = False
    sub: str | None = None
    shape: float | None = None
    played_s: float = 0.0

    @classmethod
    def from_camera(cls, camera: Camera, config: BoxConfig) -> Self:
        """Resolve a camera of the settings; raises SettingsError for a missing secret, CameraError for its address."""
        credentials = config.credentials(camera)
        kind, address = _address(camera.id, "source", camera.source, config)
        sub = None if camera.substream is None else _address(camera.id, "substream", camera.substream, config)[1]
        return cls(
            camera=camera.id,
            kind=kind,
            address=address,
            sample_s=camera.sample_s,
            masks=tuple(mask.polygon for mask in camera.mask),
            user=credentials.user if credentials else None,
            password=credentials.password if credentials else None,
            hardware=config.settings.box.hardware_decoding,
            sub=sub,
        )

    @classmethod
    def of_clip(cls, path: Path, camera: Camera) -> Self:
        """Read a recorded clip as if it came from a camera, as fast as possible."""
        masks = tuple(mask.polygon for mask in camera.mask)
        return cls(camera.id, "file", str(path), camera.sample_s, masks, live=False)

    def of_sub(self) -> Self | None:
        """The sub-stream as a source of its own; None where there is none. It is too small for hardware to pay."""
        if self.sub is None:
            return None
        kind: Kind = "network" if "://" in self.sub else "file"
        return replace(self, kind=kind, address=self.sub, sub=None, hardware=False)

    @property
    def url(self) -> str:
        """The address with its credentials, for FFmpeg alone."""
        if self.kind != "network" or self.user is None:
            return self.address
        parts = urlsplit(self.address)
        login = f"{quote(self.user, safe='')}:{quote(self.password or '', safe='')}"
        return parts._replace(netloc=f"{login}@{parts.netloc}").geturl()

    def to_json(self) -> str:
        """Write it for the reading process; holds the password: only ever sent through a pipe."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read it in the reading process."""
        source = cls(**json.loads(text))
        return replace(source, masks=tuple(tuple((x, y) for x, y in mask) for mask in source.masks))


def _address(camera: str, setting: str, value: str, config: BoxConfig) -> tuple[Kind, str]:
    scheme, separator, rest = value.partition(":")
    if scheme == "usb":
        if not rest.isdigit():
            raise CameraError(f"camera {camera}: {setting}: expected usb:N with a number, got {value!r}")
        return "usb", rest
    if separator and rest.startswith("//"):
        if scheme not in ("rtsp", "rtsps"):
            raise CameraError(
                f"camera {camera}: {setting}: expected rtsp://…, rtsps://…, usb:N or a file, got {scheme}://…"
            )
        return "network", value
    path = config.path(value)
    if not path.is_file():
        raise CameraError(f"camera {camera}: {setting}: {path}: expected a video file, found none; check the path")
    return "file", str(path)

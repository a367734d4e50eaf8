"""Settings of a box: `box.toml`, and the secrets that must not stand in it."""

import hashlib
import json
import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import Field

from agent.box.enrolment import EnrolmentError, fill_in
from agent.box.standing import read_run
from protocol.broker import BrokerLine
from protocol.documents import Section, SettingsError, TimeZoneName, read_toml
from protocol.ids import Slug
from protocol.settings import Camera, Cameras, CamerasDocument


class BoxSection(Section):
    """Who this box is."""

    id: Slug
    site: Slug
    state_dir: Path = Path("state")
    timezone: TimeZoneName = "Asia/Shanghai"
    hardware_decoding: bool = Field(
        default=True, description="let hardware decode where all frames are needed and it can; false: never"
    )
    outbox_mb: int = Field(
        default=2048,
        ge=32,
        le=1_000_000,
        description="disk for what waits for the center and what is kept for 7 days; beyond it the oldest pictures go",
    )
    secrets: Path = Field(default=Path("secrets.toml"), description="readable by its owner only; may be absent")


class CenterSection(BrokerLine):
    """Where the center's broker is."""


class DetectorSection(Section):
    """Which detector is used; where none is named, the one that ships, which knows people only."""

    model: str | None = Field(
        default=None,
        description="a name in CITYEYE_MODELS or the catalogue, or a path to an .onnx file; none: without a detector, "
        "encroachment works unnamed and crowding is unavailable",
    )
    min_score: float | None = Field(
        default=None, gt=0, lt=1, description="detections below it are dropped; what the file says, else 0.25"
    )
    provider: Literal["cpu", "openvino", "cuda", "tensorrt", "rknn"] | None = Field(
        default=None, description="what runs it; absent: what `cityeye-models tune` chose, else cpu (ONNX Runtime)"
    )
    precision: Literal["float32", "float16", "bfloat16"] | None = Field(
        default=None, description="in which numbers `provider` reckons; absent: bfloat16 by openvino where it can"
    )
    cpu_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="share of all cores that the detector may take at most; with less, cameras are looked at rarely",
    )


class SetupSection(Section):
    """The set-up page, where and by what it is opened again."""

    address: str = Field(default="0.0.0.0", description="where it listens")  # noqa: S104 - telephones are on any of its networks
    port: int = Field(default=8443, ge=1, le=65535)
    open_file: Path = Field(
        default=Path("/boot/firmware/cityeye-setup"),
        description="on the boot partition: a new file of this name opens the page for 30 minutes",
    )
    run_dir: Path = Field(
        default=Path("/run/cityeye"), description="what root made of the boot partition's card; may be absent"
    )


class BoxSettings(Section):
    """The whole of `box.toml`."""

    version: Literal[1]
    box: BoxSection
    center: CenterSection | None = Field(default=None, description="absent: incidents stay in the box's outbox")
    detector: DetectorSection = DetectorSection()
    setup: SetupSection = SetupSection()
    camera: Cameras = ()

    def digest(self) -> str:
        """SHA-256 of the canonical JSON of the effective settings; no secret is among them."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


SECRET_VARIABLES: Final = "CITYEYE_CREDENTIALS_"  # noqa: S105 - the name, not the secret


def secret_variable(name: str) -> str:
    """Name of the environment variable that a secret may stand in, as user:password; it goes before the file."""
    return SECRET_VARIABLES + name.upper().replace("-", "_")


@dataclass(frozen=True)
class Credentials:
    """User and password of a camera; never shown."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class BoxConfig:
    """Settings together with the folder that their paths are relative to."""

    settings: BoxSettings
    folder: Path

    def path(self, relative: Path | str) -> Path:
        """Resolve a path of the settings file."""
        return (self.folder / relative).resolve()

    @property
    def state_dir(self) -> Path:
        """Folder that the box writes to."""
        return self.path(self.settings.box.state_dir)

    @property
    def document(self) -> CamerasDocument:
        """Cameras, zones and rules: what the center edits as well."""
        return CamerasDocument(camera=self.settings.camera)

    def with_cameras(self, document: CamerasDocument) -> Self:
        """The same box with other cameras."""
        return replace(self, settings=self.settings.model_copy(update={"camera": document.camera}))

    @property
    def secrets_file(self) -> Path:
        """File with user and password of cameras."""
        return self.path(self.settings.box.secrets)

    def credentials(self, camera: Camera, environment: Mapping[str, str] = os.environ) -> Credentials | None:
        """Look a camera's secret up; raises SettingsError where it is named but not to be had."""
        if camera.credentials is None:
            return None
        variable = secret_variable(camera.credentials)
        if variable in environment:
            user, colon, password = environment[variable].partition(":")
            if not colon:
                raise SettingsError(f"camera {camera.id}: {variable}: expected user:password; there is no colon")
            return Credentials(user, password)
        return self._from_secrets_file(camera.id, camera.credentials, variable)

    def _from_secrets_file(self, camera: str, name: str, variable: str) -> Credentials:
        path = self.secrets_file
        missing = SettingsError(
            f"camera {camera}: credentials {name!r}: expected {variable}=user:password in the environment, or "
            f"[{name}] with user and password in {path} (mode 0600); found neither"
        )
        try:
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                raise SettingsError(f"{path}: expected a file that only its owner can read; run: chmod 600 {path}")
            table = tomllib.loads(path.read_text("utf-8")).get(name)
        except FileNotFoundError:
            raise missing from None
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
            # the parser's own text may quote a secret
            raise SettingsError(f"{path}: expected TOML with a table per secret; it cannot be read as that") from None
        if not isinstance(table, dict) or not {"user", "password"} <= table.keys():
            raise missing
        return Credentials(str(table["user"]), str(table["password"]))


def setup_of(path: Path) -> SetupSection:
    """`[setup]` of settings that may not be whole yet; raises SettingsError."""
    return SetupSection.of(read_toml(path).get("setup", {}), f"{path}: setup")


def load_settings(path: Path) -> BoxConfig:
    """Read `box.toml`; raises SettingsError with one line that says what to do."""
    folder = path.resolve().parent
    try:
        values = fill_in(read_toml(path), folder)
    except EnrolmentError as fault:
        raise SettingsError(f"{path}: {fault}") from None
    zone = read_run(setup_of(path).run_dir / "card.json").get("zone")
    if zone and isinstance(values.get("box"), dict):
        values["box"] = {"timezone": zone} | values["box"]
    return BoxConfig(BoxSettings.of(values, str(path)), folder)


def pick_camera(config: BoxConfig, camera_id: str | None) -> Camera:
    """Choose the camera whose zones a clip is replayed with; raises SettingsError."""
    cameras = config.settings.camera
    names = ", ".join(camera.id for camera in cameras)
    if not cameras:
        raise SettingsError("expected at least one [[camera]] in the settings, found none; add the one to replay")
    if camera_id is None:
        if len(cameras) > 1:
            raise SettingsError(f"expected --camera with one of {names}; the settings have {len(cameras)} cameras")
        return cameras[0]
    for camera in cameras:
        if camera.id == camera_id:
            return camera
    raise SettingsError(f"--camera: expected one of {names}, got {camera_id!r}")

"""Which model files are used, and how they are run; the one place where that is decided.

A path in the settings, else one that the center has rolled out, else a name in the settings, else the detector that
ships. What `cityeye-models tune` found for it is used where it holds.
"""

import difflib
import hashlib
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from agent.vision.detector import Detector, load_detector
from agent.vision.errors import DetectorError, DetectorMissingError
from agent.vision.providers import Plan, Precision, ProviderError, provider_of
from agent.vision.tuned import cores, find_tuned, read_tuned
from models.catalogue import load_catalogue, name_of, own_path, read_model

log = logging.getLogger(__name__)

VARIABLE: Final = "CITYEYE_MODELS"
FACES: Final = "faces"
SHIPPED: Final = "street-person"
"""The project's own detector, which knows people only."""
NONE: Final = "none"
"""What the settings say where no detector is wanted."""


def model_folders(environment: Mapping[str, str] = os.environ) -> list[Path]:
    """Folders that hold model files, in the order of CITYEYE_MODELS."""
    return [Path(entry).expanduser() for entry in environment.get(VARIABLE, "").split(os.pathsep) if entry]


def shipped_detector() -> Path:
    """The file of the project's own detector."""
    return own_path(SHIPPED)


def is_pinned(setting: str | None) -> bool:
    """Whether the settings leave no choice: they name a file, or want no detector."""
    return setting is not None and (setting == NONE or setting.endswith(".onnx") or "/" in setting)


def find_detector(setting: str | None, folder: Path, environment: Mapping[str, str] = os.environ) -> Path | None:
    """Find the detector that the settings name, the shipped one where they name none; None where none is wanted.

    Args:
        setting: a path to an .onnx file, or a name, or NONE.
        folder: what a relative path is relative to.
        environment: where CITYEYE_MODELS is looked up.

    Raises:
        DetectorError: a path that leads nowhere.
        DetectorMissingError: a name for which no folder holds a file.
    """
    if setting == NONE:
        return None
    if setting is None:
        return shipped_detector()
    if is_pinned(setting):
        path = (folder / Path(setting).expanduser()).resolve()
        if not path.is_file():
            raise DetectorError(f"{path}: expected an ONNX file, found none; check [detector] model")
        return path
    folders = model_folders(environment)
    for candidate in folders:
        path = candidate / f"{setting}.onnx"
        if path.is_file():
            return path
    if setting == SHIPPED:
        return shipped_detector()
    here = sorted(path.stem for candidate in folders if candidate.is_dir() for path in candidate.glob("*.onnx"))
    faces = {entry.name for entry in load_catalogue() if entry.task == FACES}
    known = [name for name in [*here, SHIPPED] if name not in faces]
    near = difflib.get_close_matches(setting, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; set {VARIABLE} to the folder that holds it"
    where = ", ".join(map(str, folders)) or f"{VARIABLE}, which is not set"
    raise DetectorMissingError(f"detector {setting!r}: expected {setting}.onnx in {where}, found none{hint}")


def plan_by_hand(provider: str, precision: Precision | None) -> Plan:
    """Run a detector by a provider that somebody chose; raises DetectorError where it is not at hand.

    Where no precision is named and the processor has instructions for bfloat16, OpenVINO reckons in it: yolo26n then is
    within 0.4 points of mAP of what it is in 32 bits, at 60 % of the time.
    """
    try:
        precisions = provider_of(provider).precisions
    except ProviderError as fault:
        raise DetectorError(f"[detector] provider: {fault}") from None
    if precision is None:
        precision = "bfloat16" if provider == "openvino" and "bfloat16" in precisions else "float32"
    if precision not in precisions:
        raise DetectorError(
            f"[detector] precision: expected one of {', '.join(precisions)}, which {provider} has here, got {precision}"
        )
    return Plan(provider, precision)


def open_detector(
    path: Path,
    min_score: float | None = None,
    environment: Mapping[str, str] = os.environ,
    *,
    by_hand: Plan | None = None,
    cameras: int = 1,
) -> Detector:
    """Load a detector, run as `cityeye-models tune` found best where that holds; raises DetectorError.

    Args:
        path: the ONNX file.
        min_score: detections below it are dropped; None: what the file says.
        environment: where CITYEYE_MODELS is looked up.
        by_hand: the provider and the precision that somebody chose instead.
        cameras: that it has to serve; threads are fitted to them and to the cores.
    """
    notice = find_tuned(name_of(path), [path.parent, *model_folders(environment)]) if by_hand is None else None
    plan = (by_hand or Plan()).fitted(cores(), cameras)
    if notice is None:
        return load_detector(path, min_score, plan=plan)
    try:
        return _tuned(path, notice, min_score, cameras)
    except (ValueError, OSError, DetectorError) as fault:
        log.warning("detector %s runs untuned: %s; run `cityeye-models tune` again", name_of(path), fault)
        return load_detector(path, min_score, plan=plan)


def open_as(
    path: Path, min_score: float | None, provider: str | None, precision: Precision | None, cameras: int
) -> Detector:
    """Load a detector as the settings say, `provider` and `precision` where they name one; raises DetectorError."""
    by_hand = None if provider is None else plan_by_hand(provider, precision)
    return open_detector(path, min_score, by_hand=by_hand, cameras=cameras)


def _tuned(path: Path, notice: Path, min_score: float | None, cameras: int) -> Detector:
    tuned = read_tuned(notice)
    if fault := tuned.fault(hashlib.sha256(read_model(path)).hexdigest()):
        raise ValueError(f"{notice}: {fault}")
    file = path if tuned.file_sha256 == tuned.model_sha256 else notice.parent / tuned.file
    detector = load_detector(file, min_score, plan=tuned.plan.fitted(cores(), cameras), size=tuned.size)
    if detector.sha256 != tuned.file_sha256:
        raise ValueError(f"{notice}: {tuned.file} is another file now")
    return detector


def find_face_model(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Find the face model by which evidence is masked."""
    names = [entry.name for entry in load_catalogue() if entry.task == FACES]
    for folder in model_folders(environment):
        for name in names:
            if (folder / f"{name}.onnx").is_file():
                return folder / f"{name}.onnx"
    return None

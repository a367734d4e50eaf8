"""Which model files are used; the one place where that is decided."""

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from agent.vision.detector import DetectorError, DetectorMissingError
from models.catalogue import load_catalogue

VARIABLE: Final = "CITYEYE_MODELS"
FACES: Final = "faces"


def model_folders(environment: Mapping[str, str] = os.environ) -> list[Path]:
    """Folders that hold model files, in the order of CITYEYE_MODELS."""
    return [Path(entry).expanduser() for entry in environment.get(VARIABLE, "").split(os.pathsep) if entry]


def find_detector(setting: str | None, folder: Path, environment: Mapping[str, str] = os.environ) -> Path | None:
    """Find the detector that the settings name; None where they name none.

    Args:
        setting: a path to an .onnx file, or a name.
        folder: what a relative path is relative to.
        environment: where CITYEYE_MODELS is looked up.

    Raises:
        DetectorError: a path that leads nowhere.
        DetectorMissingError: a name for which no folder holds a file.
    """
    if setting is None:
        return None
    if setting.endswith(".onnx") or "/" in setting:
        path = (folder / Path(setting).expanduser()).resolve()
        if not path.is_file():
            raise DetectorError(f"{path}: expected an ONNX file, found none; check [detector] model")
        return path
    folders = model_folders(environment)
    for candidate in folders:
        path = candidate / f"{setting}.onnx"
        if path.is_file():
            return path
    here = sorted(path.stem for candidate in folders if candidate.is_dir() for path in candidate.glob("*.onnx"))
    faces = {entry.name for entry in load_catalogue() if entry.task == FACES}
    known = [name for name in here if name not in faces]
    near = difflib.get_close_matches(setting, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; set {VARIABLE} to the folder that holds it"
    where = ", ".join(map(str, folders)) or f"{VARIABLE}, which is not set"
    raise DetectorMissingError(f"detector {setting!r}: expected {setting}.onnx in {where}, found none{hint}")


def find_face_model(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Find the face model by which evidence is masked."""
    names = [entry.name for entry in load_catalogue() if entry.task == FACES]
    for folder in model_folders(environment):
        for name in names:
            if (folder / f"{name}.onnx").is_file():
                return folder / f"{name}.onnx"
    return None

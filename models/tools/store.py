"""The folders of model files: what is there, whether it is what the catalogue says, and how files get in.

A file is first got or copied beside its place, then checked: its checksum, that it is ONNX which opens nothing else and
runs no foreign code, and that it loads as what it is said to be. Only then it takes its name.
"""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from agent.vision.crowds import is_counter, load_counter
from agent.vision.detector import load_detector
from agent.vision.errors import DetectorError
from agent.vision.onnx_file import refusal
from agent.vision.selection import FACES, SHIPPED, VARIABLE, model_folders, shipped_detector
from models.catalogue import Entry, load_catalogue, read_model
from models.tools.download import Download, DownloadError

MIRROR: Final = "CITYEYE_MIRROR"
ASKS: Final = ("AGPL-3.0",)
"""Licences that somebody must accept before weights come in."""
ACCEPTED: Final = "licences-accepted.txt"


class StoreError(Exception):
    """What cannot be had or must not come in; one line."""


@dataclass(frozen=True)
class Check:
    """What a file is: `good`, `other` than the catalogue's of that name, or `unknown` to the catalogue."""

    state: Literal["good", "other", "unknown"]
    sha256: str
    fault: str | None = None
    """Why it cannot be loaded; None: it can."""


def entry_of(name: str) -> Entry | None:
    """Find a name in the catalogue."""
    return next((entry for entry in load_catalogue() if entry.name == name), None)


def find(name: str) -> Path | None:
    """Find a model by its name in the folders of CITYEYE_MODELS, and the one that ships wherever it is."""
    path = next((path for folder in model_folders() if (path := folder / f"{name}.onnx").is_file()), None)
    return shipped_detector() if path is None and name == SHIPPED else path


def names_here() -> list[str]:
    """Names of all files in the folders, each once, and of the one that ships."""
    return sorted({SHIPPED, *(path.stem for folder in model_folders() for path in folder.glob("*.onnx"))})


def sha256_of(path: Path) -> str:
    """Checksum of a file, of one that is packed unpacked."""
    return hashlib.sha256(read_model(path)).hexdigest()


def check(path: Path, entry: Entry | None) -> Check:
    """Compare a file with its entry, and try whether it loads."""
    said = sha256_of(path)
    state: Literal["good", "other", "unknown"] = "unknown"
    if entry is not None and entry.sha256 is not None:
        state = "good" if said == entry.sha256 else "other"
    return Check(state, said, loading_fault(path, None if entry is None else entry.task))


def loading_fault(path: Path, task: str | None) -> str | None:
    """Say why a file cannot be used; None: it can."""
    if task == FACES:
        return refusal(path.read_bytes())  # OpenCV reads the rest, when the agent starts
    try:
        if is_counter(path):
            load_counter(path)
        else:
            load_detector(path)
    except DetectorError as fault:
        return str(fault).removeprefix(f"{path}: ")
    return None


def folder_for(asked: Path | None) -> Path:
    """Where files come in: the folder that was asked for, else the first one of CITYEYE_MODELS."""
    folders = [asked] if asked is not None else model_folders()
    if not folders:
        raise StoreError(f"expected a folder for model files: set {VARIABLE} or give --to")
    folders[0].mkdir(parents=True, exist_ok=True)
    return folders[0]


def accepted(folder: Path, licence: str) -> bool:
    """Say whether a licence was accepted for a folder."""
    noted = folder / ACCEPTED
    return licence not in ASKS or (noted.exists() and licence in noted.read_text("utf-8").split())


def accept(folder: Path, licence: str) -> None:
    """Note that it was."""
    with (folder / ACCEPTED).open("a", encoding="utf-8") as file:
        file.write(f"{licence}\n")


def sources(entry: Entry, mirror: str | None) -> list[str]:
    """Addresses to try, in order: a mirror, the publisher."""
    addresses = [f"{mirror.rstrip('/')}/{entry.name}.onnx"] if mirror else []
    return [*addresses, entry.url] if entry.url else addresses


def pull(entry: Entry, folder: Path, sha256: str | None, addresses: Sequence[str], download: Download) -> Path:
    """Get a file of the catalogue into a folder; raises StoreError."""
    wanted = entry.sha256 or sha256
    if wanted is None:
        raise StoreError(f"{entry.name}: it was never verified here; give the checksum that you expect: --sha256")
    if sha256 is not None and sha256.lower() != wanted:
        raise StoreError(f"{entry.name}: expected SHA-256 {wanted} as the catalogue has it, got --sha256 {sha256}")
    if not addresses:
        raise StoreError(f"{entry.name}: no address is known; give --mirror, set {MIRROR}, or `import` a file")
    come = folder / f".{entry.name}.incoming"
    faults = []
    for address in addresses:
        try:
            download.get(address, come, wanted, entry.size)
            return _take_in(come, entry.name, folder, entry.task)
        except DownloadError as fault:
            faults.append(str(fault))
    raise StoreError(f"{entry.name}: {'; '.join(faults)}")


def bring_in(path: Path, name: str, folder: Path, sha256: str | None) -> tuple[Path, Entry | None]:
    """Copy a file into a folder under a name; gives its place, and its entry where the catalogue knows its content."""
    said = sha256_of(path)
    if sha256 is not None and said != sha256.lower():
        raise StoreError(f"{path}: expected SHA-256 {sha256}, got {said}")
    known = next((entry for entry in load_catalogue() if entry.sha256 == said), None)
    named = entry_of(name)
    if named is not None and named.sha256 not in (None, said):
        raise StoreError(f"{path}: {name} is another file in the catalogue; give it another name: --name")
    come = folder / f".{name}.incoming"
    shutil.copyfile(path, come)
    return _take_in(come, name, folder, known.task if known else None), known


def _take_in(come: Path, name: str, folder: Path, task: str | None) -> Path:
    if fault := loading_fault(come, task):
        come.unlink()
        raise StoreError(f"{name}: {fault}")
    path = folder / f"{name}.onnx"
    come.replace(path)
    return path

"""Systems that the center has for its boxes: signed bundles, as files `SHA.raucb` of one folder.

What a bundle is stands in the manifest that was signed with it. Whether the signature is good, each box says: the
center has no key to tell by, and one that makes bundles is nowhere near it.
"""

import hashlib
import os
import re
import shutil
from pathlib import Path
from typing import BinaryIO, Final

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from collector.boxes import rollouts
from collector.boxes.register import RegisterError
from collector.people.actor import Actor
from collector.store import ArtefactRow, Store
from protocol.systems import Bundle

FOLDER: Final = "systems"
"""In the data directory."""
SPARE_BYTES: Final = 1 << 30
"""Of the disk, left to what boxes send."""
_MEGABYTE: Final = 1 << 20
_MANIFEST: Final = re.compile(
    rb"\[update\]\ncompatible=([^\n]+)\nversion=([^\n]+)\n(?:[^\n]+\n)*\n\[bundle\]\nformat=verity\n"
)
"""As RAUC writes it, within a signature that holds what it signs; a box takes no other form."""


def add(store: Store, actor: Actor, path: Path, folder: Path, now_ms: int) -> Bundle:
    """Take a bundle up; raises RegisterError."""
    part = folder / f"{os.getpid()}.part"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.open("rb") as file:
            bundle = _read(file)
            needs, free = bundle.size + SPARE_BYTES >> 20, shutil.disk_usage(folder).free >> 20
            if free < needs:
                raise RegisterError(
                    f"{folder}：空间不足 / {folder}: expected {needs} MB free, got {free}; delete something"
                )
            digest = hashlib.sha256()
            with part.open("wb") as copy:
                while chunk := file.read(_MEGABYTE):
                    digest.update(chunk)
                    copy.write(chunk)
                copy.flush()
                os.fsync(copy.fileno())
        bundle = bundle.model_copy(update={"sha256": digest.hexdigest()})
        with store.writing() as session:
            _take_up(session, actor, bundle, now_ms)
            part.replace(file_of(folder, bundle.sha256))
            query = select(ArtefactRow.sha256).where(ArtefactRow.kind == "system", ArtefactRow.content != b"")
            kept = {file_of(folder, sha256) for sha256 in session.scalars(query)}
            for old in set(folder.glob("*.raucb")) - kept:
                old.unlink(missing_ok=True)
    except (OSError, ValueError) as fault:
        raise RegisterError(f"{path}：无法收下 / {path}: it cannot be taken up: {fault}") from None
    finally:
        part.unlink(missing_ok=True)
    return bundle


def file_of(folder: Path, sha256: str) -> Path:
    """Where a bundle lies."""
    return folder / f"{sha256}.raucb"


def part(session: Session, folder: Path, sha256: str, at: int, count: int) -> tuple[bytes, int] | None:
    """A part of a bundle and the size of the whole; None: there is none. Raises FileNotFoundError: not here."""
    row = session.get(ArtefactRow, sha256)
    if row is None or row.kind != "system" or not row.content:
        return None
    with file_of(folder, sha256).open("rb") as file:
        file.seek(at)
        return file.read(max(0, count)), os.fstat(file.fileno()).st_size


def named(session: Session, version: str, board: str | None) -> str:
    """The name of the one bundle of a version, of a board where there are several; raises RegisterError."""
    stored = rollouts.stored(session, "system")
    found = [name for name in stored if name.endswith(f" {version}") and board in (None, name.partition(" ")[0])]
    if len(found) != 1:
        there, hint = ", ".join(found or stored) or "none", "; name one with --board" if found else ""
        raise RegisterError(
            f"找不到唯一的系统 {version} / expected one system of version {version}, there is {there}{hint}"
        )
    return found[0]


def _read(file: BinaryIO) -> Bundle:
    """What a bundle says of itself, without its SHA-256; raises ValueError."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 8))
    length = int.from_bytes(file.read(8))
    if not 0 < length <= min(_MEGABYTE, size - 8):
        raise ValueError("expected a bundle (.raucb); it is cut short or none")
    file.seek(size - 8 - length)
    found = _MANIFEST.search(file.read(length))
    if found is None:
        raise ValueError("expected a signed manifest of form verity, as `make image` makes; it is cut short or another")
    file.seek(0)
    compatible, version = (one.decode("utf-8", "replace") for one in found.groups())
    try:
        return Bundle(version=version, compatible=compatible, sha256="0" * 64, size=size)
    except ValidationError:
        raise ValueError(f"expected a plain version and board, got {version!r} for {compatible!r}") from None


def _take_up(session: Session, actor: Actor, bundle: Bundle, now_ms: int) -> None:
    """Note a bundle; one that is known comes back, where its file was lost or has made room."""
    content = file_of(Path(FOLDER), bundle.sha256).as_posix().encode()
    known = session.get(ArtefactRow, bundle.sha256)
    if known is not None:
        known.content = content
        return
    name, signed = f"{bundle.compatible} {bundle.version}", bundle.model_dump_json()
    row = ArtefactRow(sha256=bundle.sha256, kind="system", name=name, signed=signed, added_ms=now_ms, content=content)
    rollouts.take_up(session, actor, row, f"{bundle.compatible} ")

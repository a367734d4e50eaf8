"""A copy of the center that is whole: database and pictures, taken while the collector runs.

First the database as of one moment, then the pictures that it names: a picture is written before its row, and lies
under its SHA-256, so that no row of the copy names a picture that is not in it. `manifest.json` names every file.
"""

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, inspect, select

from collector.evidence.files import PictureFiles
from collector.store.engine import StoreError, open_store
from collector.store.tables import PictureRow

MANIFEST: Final = "manifest.json"
DATABASES: Final = {"sqlite": "center.db", "postgresql": "center.dump"}
VERSION: Final = 1


class BackupError(Exception):
    """A copy that cannot be made or used; one line that says what was expected, what came and what to do."""


@dataclass(frozen=True)
class Manifest:
    """What a copy holds.

    Args:
        made_at: RFC 3339; boxes have to send again what came after it.
        database: `sqlite` or `postgresql`.
        pictures: their SHA-256.
    """

    made_at: str
    database: str
    database_sha256: str
    pictures: tuple[str, ...]


def back_up(url: URL, evidence: PictureFiles, target: Path, made_at: str) -> Manifest:
    """Make a copy in a new folder; raises BackupError. `made_at` is the time before it began."""
    if target.exists():
        raise BackupError(f"{target}: expected a folder that is not there yet, found one")
    part = target.with_name(f"{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(mode=0o700, parents=True)
        kind = url.get_backend_name()
        database = part / DATABASES[kind]
        if kind == "sqlite":
            names = _copy_sqlite(Path(url.database or ""), database)
        else:
            _run_postgresql("pg_dump", url, "--format=custom", "--no-owner", f"--file={database}")
            # asked afterwards: what was stored meanwhile is copied as well, and does no harm
            names = _pictures(url)
        copy = PictureFiles(part / "evidence")
        for sha256 in names:
            _link(evidence.path(sha256), copy.path(sha256))
        manifest = Manifest(made_at, kind, _sha256(database), tuple(names))
        text = json.dumps({"version": VERSION, **manifest.__dict__}, indent=1)
        (part / MANIFEST).write_text(text + "\n", "utf-8")
        for path in (database, part / MANIFEST, part):
            _sync(path)
        part.rename(target)
    except OSError as fault:
        raise BackupError(f"{target}: expected a place to write to, got: {fault}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return manifest


def verify(source: Path) -> Manifest:
    """Read a copy and compare every file with its SHA-256; raises BackupError."""
    manifest = _read_manifest(source)
    files = PictureFiles(source / "evidence")
    wanted = [(source / DATABASES[manifest.database], manifest.database_sha256)]
    wanted += [(files.path(sha256), sha256) for sha256 in manifest.pictures]
    for path, sha256 in wanted:
        try:
            found = _sha256(path)
        except OSError as fault:
            raise BackupError(f"{path}: expected a file of the copy, got: {fault.strerror}") from None
        if found != sha256:
            raise BackupError(f"{path}: expected SHA-256 {sha256}, got {found}; the copy is damaged")
    return manifest


def restore(source: Path, url: URL, evidence: PictureFiles, *, over: bool) -> Manifest:
    """Put a copy back, after it was verified; raises BackupError. No collector may be running.

    Args:
        source: the copy.
        url: of the database, of the same kind as the copied one.
        evidence: where the pictures go; those that are there stay.
        over: replace a database that holds something.
    """
    manifest = verify(source)
    kind = url.get_backend_name()
    if manifest.database != kind:
        raise BackupError(f"{source}: expected a copy of {kind}, got one of {manifest.database}; set database_url")
    if not over and _holds_something(url):
        raise BackupError(f"{url}: expected an empty database, found one in use; say --over to replace it")
    try:
        # the pictures first: a row never names one that is not there
        copy = PictureFiles(source / "evidence")
        for sha256 in manifest.pictures:
            evidence.put(sha256, copy.path(sha256).read_bytes())
        if kind == "sqlite":
            _put_sqlite(source / DATABASES[kind], Path(url.database or ""))
        else:
            dump = str(source / DATABASES[kind])
            _run_postgresql("pg_restore", url, "--clean", "--if-exists", "--no-owner", "--single-transaction", dump)
    except OSError as fault:
        raise BackupError(f"{evidence.root.parent}: expected a place to write to, got: {fault}") from None
    open_store(url).close()
    return manifest


def _copy_sqlite(path: Path, target: Path) -> list[str]:
    if not path.is_file():
        raise BackupError(f"{path}: expected the center's database, found none")
    try:
        with sqlite3.connect(path, timeout=30) as live, sqlite3.connect(target) as copy:
            live.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file
            (state,) = copy.execute("PRAGMA quick_check").fetchone()
            if state != "ok":
                raise BackupError(f"{path}: expected a sound database, got: {state}")
            names = [sha256 for (sha256,) in copy.execute("SELECT DISTINCT sha256 FROM picture ORDER BY sha256")]
    except sqlite3.Error as fault:
        raise BackupError(f"{path}: expected a database that can be read, got: {fault}") from None
    live.close()
    copy.close()
    return names


def _put_sqlite(copy: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    shutil.copyfile(copy, part)
    _sync(part)
    for left in ("-wal", "-shm"):
        path.with_name(path.name + left).unlink(missing_ok=True)
    part.replace(path)
    _sync(path.parent)


def _pictures(url: URL) -> list[str]:
    store = open_store(url)
    with store.transaction() as session:
        names = list(session.scalars(select(PictureRow.sha256).distinct().order_by(PictureRow.sha256)))
    store.close()
    return names


def _holds_something(url: URL) -> bool:
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        return False
    try:
        store = open_store(url)
    except StoreError:
        return True
    with store.engine.connect() as connection:
        tables = inspect(connection).get_table_names()
        found = any(
            connection.exec_driver_sql(f"SELECT 1 FROM {name} LIMIT 1").first()  # noqa: S608 - names of our own tables
            for name in tables
            if name != "alembic_version"
        )
    store.close()
    return found


def _run_postgresql(program: str, url: URL, *options: str) -> None:
    found = shutil.which(program)
    if found is None:
        raise BackupError(f"expected {program}, found none; run: apt install postgresql-client")
    plain = url.set(drivername="postgresql", password=None).render_as_string()
    # the password goes where other users cannot read it, which the command line is not
    environment = {**os.environ, **({} if url.password is None else {"PGPASSWORD": str(url.password)})}
    done = subprocess.run(
        [found, f"--dbname={plain}", *options], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BackupError(f"{plain}: {program} failed: {done.stderr.strip().splitlines()[-1:]}")


def _read_manifest(source: Path) -> Manifest:
    try:
        values: dict[str, Any] = json.loads((source / MANIFEST).read_text("utf-8"))
        version, kind = values["version"], values["database"]
        manifest = Manifest(str(values["made_at"]), kind, str(values["database_sha256"]), tuple(values["pictures"]))
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise BackupError(f"{source}: expected a copy made by `backup`, got: {fault!s:.200}") from None
    if version != VERSION or kind not in DATABASES:
        raise BackupError(f"{source}: expected a copy of version {VERSION}, got version {version} of {kind}")
    return manifest


def _link(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, target)  # takes no room; picture files are never written to again
    except FileNotFoundError:
        raise BackupError(f"{path}: expected this picture, found none, though the database names it") from None
    except OSError:
        shutil.copyfile(path, target)
        _sync(target)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)

"""A copy of the center that is whole: database and pictures, taken while the collector runs.

First the database as of one moment, then the pictures that it names: a picture is written before its row, and lies
under its SHA-256, so that no row of the copy names a picture that is not in it, but for those that retention deletes
meanwhile. `manifest.json` names every file, and
each picture that retention has deleted, with the reason: also of copies that were made before (`take_out`).
"""

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import URL, inspect, select, text

from collector.evidence.files import PictureFiles
from collector.store.engine import StoreError, open_store
from collector.store.tables import Base, PictureRow
from protocol.instants import from_epoch, rfc3339

if TYPE_CHECKING:
    from collector.evidence.heritage import Heritage

MANIFEST: Final = "manifest.json"
PART: Final = ".part"
DATABASES: Final = {"sqlite": "center.db", "postgresql": "center.dump"}
VERSION: Final = 1
FUNCTIONS: Final = ("audit_refuse", "audit_append", "webhook_outbox")
"""Of triggers in PostgreSQL."""
OWE: Final = "CREATE TABLE heritage (document TEXT NOT NULL)"
"""Loaded with a copy: a crash leaves the old database, or one that says what it is owed; see `evidence.heritage`."""
NAMES: Final = "SELECT DISTINCT sha256 FROM picture WHERE deleted_ms IS NULL ORDER BY sha256"


class BackupError(Exception):
    """A copy that cannot be made or used; one line that says what was expected, what came and what to do."""


@dataclass(frozen=True)
class Manifest:
    """What a copy holds.

    Args:
        made_at: RFC 3339; boxes have to send again what came after it.
        database: `sqlite` or `postgresql`.
        pictures: their SHA-256.
        deleted: SHA-256 of those that are not in it any longer, or never were: when, and why.
    """

    made_at: str
    database: str
    database_sha256: str
    pictures: tuple[str, ...]
    deleted: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Copy:
    """A copy that was found."""

    folder: Path
    manifest: Manifest


def back_up(url: URL, evidence: PictureFiles, target: Path, made_at: str) -> Manifest:
    """Make a copy in a new folder; raises BackupError. `made_at` is the time before it began."""
    if target.exists():
        raise BackupError(f"{target}: expected a folder that is not there yet, found one")
    part = target.with_name(f"{target.name}{PART}")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(mode=0o700, parents=True)
        kind = url.get_backend_name()
        database = part / DATABASES[kind]
        if kind == "sqlite":
            names = _copy_sqlite(Path(url.database or ""), database)
        else:
            _run_postgresql(
                "pg_dump", url, "--format=custom", "--no-owner", "--exclude-table=heritage", f"--file={database}"
            )
            # asked afterwards: what was stored meanwhile is copied as well, and does no harm
            names = _pictures(url)
        copy = PictureFiles(part / "evidence")
        vanished = {sha256 for sha256 in names if not _link(evidence, copy, sha256)}
        kept = tuple(sha256 for sha256 in names if sha256 not in vanished)
        manifest = Manifest(made_at, kind, _sha256(database), kept, _deleted(url, kept))
        lawless = sorted(vanished - manifest.deleted.keys())
        if lawless:
            path = evidence.path(lawless[0])
            raise BackupError(f"{path}: expected this picture, found none, though the database names it")
        _write_manifest(part, manifest)
        for path in (database, part):
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


def copies(folder: Path) -> list[Path]:
    """Folders of copies in a folder, or the one that it is; none that is just being made."""
    found = (folder, *sorted(folder.glob("*/")))
    return [one for one in found if one.suffix != PART and (one / MANIFEST).is_file()]


def read_copy(folder: Path) -> Copy:
    """A copy, as its manifest says; raises BackupError."""
    return Copy(folder, _read_manifest(folder))


def take_out(copy: Copy, gone: Mapping[str, tuple[int, str]]) -> None:
    """Delete pictures from a copy, by SHA-256: when they were deleted at the center, and why; raises OSError."""
    files = PictureFiles(copy.folder / "evidence")
    for sha256 in gone:
        files.delete(sha256)
    left = tuple(one for one in copy.manifest.pictures if one not in gone)
    told = {**copy.manifest.deleted, **{one: _told(*gone[one]) for one in gone}}
    _write_manifest(copy.folder, replace(copy.manifest, pictures=left, deleted=told))


def _told(at_ms: int, why: str) -> str:
    return f"{rfc3339(from_epoch(at_ms / 1000))} {why}"


def restore(
    source: Path, url: URL, evidence: PictureFiles, *, over: bool, lose_holds: bool = False
) -> tuple[Manifest, dict[str, list[int]]]:
    """Put a copy back, after it was verified; raises BackupError. No collector may be running.

    Says also tickets whose legal holds or releases for training were carried over, or lost as the copy lacks them.

    Args:
        source: the copy.
        url: of the database, of the same kind as the copied one.
        evidence: where the pictures go; those that are there stay.
        over: replace a database that holds something; what was deleted there stays deleted, what is held stays held.
        lose_holds: although legal holds cannot be handed on: of tickets that the copy lacks, or as nobody knows them.
    """
    from collector.evidence import heritage  # noqa: PLC0415 - retention takes pictures out of copies by this module

    manifest = verify(source)
    kind = url.get_backend_name()
    if manifest.database != kind:
        raise BackupError(f"{source}: expected a copy of {kind}, got one of {manifest.database}; set database_url")
    if not over and _holds_something(url):
        raise BackupError(f"{url}: expected an empty database, found one in use; say --over to replace it")
    past = heritage.read(url)
    if not lose_holds:
        _refuse_loss(past, url, manifest.made_at)
    owed = (past or heritage.Heritage()).document(manifest.deleted)
    try:
        # the pictures first: a row never names one that is not there
        copy = PictureFiles(source / "evidence")
        for sha256 in manifest.pictures:
            evidence.put(sha256, copy.read(sha256))
        if kind == "sqlite":
            _put_sqlite(source / DATABASES[kind], Path(url.database or ""), owed)
        else:
            _put_postgresql(source / DATABASES[kind], url, evidence.root.parent, owed)
    except OSError as fault:
        raise BackupError(f"{evidence.root.parent}: expected a place to write to, got: {fault}") from None
    store = open_store(url)
    try:
        gone, told = heritage.settle(store)
        for sha256 in gone:
            evidence.delete(sha256)
    except OSError as fault:
        raise BackupError(f"{evidence.root}: expected to delete what was deleted before, got: {fault}") from None
    finally:
        store.close()
    return manifest, told


def _refuse_loss(past: "Heritage | None", url: URL, made_at: str) -> None:
    if past is None:
        raise BackupError(f"{url}: it cannot be read, nor can its legal holds; say --lose-holds to go on without them")
    try:
        since_ms = datetime.fromisoformat(made_at).timestamp() * 1000
    except ValueError:
        return  # no copy of `backup`; what it lacks is told afterwards
    held = past.held_since(since_ms)
    if held:
        raise BackupError(
            f"tickets {', '.join(map(str, held))}: under legal hold, and not in a copy of {made_at}; make a package of "
            "each with `evidence package`, then say --lose-holds"
        )


def _deleted(url: URL, names: Sequence[str]) -> dict[str, str]:
    store, here = open_store(url), set(names)
    with store.transaction() as session:
        query = select(PictureRow.sha256, PictureRow.deleted_ms, PictureRow.deleted_why)
        rows = session.execute(query.where(PictureRow.deleted_ms.is_not(None)).order_by(PictureRow.deleted_ms))
        found = {row.sha256: _told(row.deleted_ms, row.deleted_why) for row in rows if row.sha256 not in here}
        here.update(session.scalars(text(NAMES)))
    store.close()
    return {sha256: told for sha256, told in found.items() if sha256 not in here}


def _write_manifest(folder: Path, manifest: Manifest) -> None:
    part = folder / f"{MANIFEST}.part"
    part.write_text(json.dumps({"version": VERSION, **vars(manifest)}, indent=1, ensure_ascii=False) + "\n", "utf-8")
    _sync(part)
    part.replace(folder / MANIFEST)


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
            names = [sha256 for (sha256,) in copy.execute(NAMES)]
    except sqlite3.Error as fault:
        raise BackupError(f"{path}: expected a database that can be read, got: {fault}") from None
    live.close()
    copy.close()
    return names


def _put_sqlite(copy: Path, path: Path, owed: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    shutil.copyfile(copy, part)
    part.chmod(0o600)
    with contextlib.closing(sqlite3.connect(part)) as database, database:
        database.execute("DROP TABLE IF EXISTS heritage")
        database.execute(OWE)
        database.execute("INSERT INTO heritage VALUES (?)", (owed,))
    _sync(part)
    for left in ("-wal", "-shm"):
        path.with_name(path.name + left).unlink(missing_ok=True)
    part.replace(path)
    _sync(path.parent)


def _put_postgresql(dump: Path, url: URL, folder: Path, owed: str) -> None:
    """All or nothing; tables that the copy's version did not have yet go as well, as the upgrade makes them anew."""
    tables = ", ".join([*Base.metadata.tables, "alembic_version", "heritage"])
    drop = f"DROP TABLE IF EXISTS {tables} CASCADE; DROP FUNCTION IF EXISTS {', '.join(FUNCTIONS)}"
    with tempfile.TemporaryDirectory(dir=folder) as beside:
        script = f"{beside}/center.sql"
        _run_postgresql("pg_restore", None, "--no-owner", f"--file={script}", str(dump))
        # before the copy, which looks for tables in no schema
        quoted, note = owed.replace("'", "''"), Path(beside, "owed.sql")
        note.write_text(f"{OWE}; INSERT INTO heritage VALUES ('{quoted}');\n", "utf-8")  # noqa: S608 - quoted
        strict = ("--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--single-transaction")
        _run_postgresql("psql", url, *strict, f"--command={drop}", f"--file={note}", f"--file={script}")


def _pictures(url: URL) -> list[str]:
    store = open_store(url)
    with store.transaction() as session:
        names = list(session.scalars(text(NAMES)))
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


def _run_postgresql(program: str, url: URL | None, *options: str) -> None:
    """Run one of its programs on a database; None: on none."""
    found = shutil.which(program)
    if found is None:
        raise BackupError(f"expected {program}, found none; run: apt install postgresql-client")
    environment, where = {**os.environ}, []
    if url is not None:
        where = [f"--dbname={url.set(drivername='postgresql', password=None).render_as_string()}"]
        # the password goes where other users cannot read it, which the command line is not
        environment |= {} if url.password is None else {"PGPASSWORD": str(url.password)}
    done = subprocess.run([found, *where, *options], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BackupError(f"{' '.join([program, *where])}: it failed: {done.stderr.strip().splitlines()[-1:]}")


def _read_manifest(source: Path) -> Manifest:
    try:
        values: dict[str, Any] = json.loads((source / MANIFEST).read_text("utf-8"))
        version, kind = values["version"], values["database"]
        manifest = Manifest(
            str(values["made_at"]),
            kind,
            str(values["database_sha256"]),
            tuple(values["pictures"]),
            dict(values.get("deleted", {})),
        )
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise BackupError(f"{source}: expected a copy made by `backup`, got: {fault!s:.200}") from None
    if version != VERSION or kind not in DATABASES:
        raise BackupError(f"{source}: expected a copy of version {VERSION}, got version {version} of {kind}")
    return manifest


def _link(evidence: PictureFiles, copy: PictureFiles, sha256: str) -> bool:
    """Put a picture into a copy; False where there is none."""
    path, target = evidence.path(sha256), copy.path(sha256)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, target)  # takes no room; picture files are never written to again
    except OSError:
        try:
            copy.put(sha256, evidence.read(sha256))
        except FileNotFoundError:
            return False
    return True


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)

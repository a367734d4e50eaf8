"""Which pictures are deleted for good, and taking files away: outside of transactions, as a storage may be slow.

Whoever writes a row first writes the file, and once more in its transaction where all rows there were are deleted
(`buried`); whoever deletes a file looks afterwards whether there is a new row. So one of the two sees the other.
"""

import contextlib
from collections.abc import Collection, Iterable, Iterator, Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from collector.evidence.files import PictureFiles
from collector.store import PictureRow, Store, among, lock


def deleted(session: Session, names: Sequence[str]) -> dict[str, tuple[int, str]]:
    """Of these SHA-256 those that are deleted for good: when, and why."""
    found: dict[str, list[PictureRow]] = {}
    for row in among(session, PictureRow, PictureRow.sha256, set(names)):
        found.setdefault(row.sha256, []).append(row)
    return {
        sha256: max((one.deleted_ms or 0, one.deleted_why) for one in rows)
        for sha256, rows in found.items()
        if all(one.deleted_ms is not None for one in rows)
    }


def buried(session: Session, names: Collection[str]) -> set[str]:
    """Of these SHA-256 those of which all rows are deleted."""
    every = select(PictureRow.sha256).where(PictureRow.sha256.in_(names)).group_by(PictureRow.sha256)
    return set(session.scalars(every.having(func.count() == func.count(PictureRow.deleted_ms))))


def live(session: Session, names: Collection[str]) -> set[str]:
    """Of these SHA-256 those that some row needs."""
    here = select(PictureRow.sha256).where(PictureRow.sha256.in_(names))
    return set(session.scalars(here.where(PictureRow.deleted_ms.is_(None))))


def remove(store: Store, files: PictureFiles, names: Iterable[str]) -> None:
    """Delete files that no row needs; raises OSError."""
    for sha256 in names:
        with contextlib.suppress(FileNotFoundError):
            jpeg = files.read(sha256)
            files.delete(sha256)
            with store.writing() as session:
                lock(session, [f"picture/{sha256}"])
                back = live(session, [sha256])
            if back:
                files.put(sha256, jpeg)


@contextlib.contextmanager
def written(store: Store, files: PictureFiles, sha256: str, jpeg: bytes) -> Iterator[None]:
    """A picture's file is there before a transaction that names it, and goes again where that is refused."""
    files.put(sha256, jpeg)
    try:
        yield
    except Exception:
        with store.transaction() as session:
            stray = {sha256} - live(session, [sha256])
        remove(store, files, stray)
        raise

"""Which pictures are deleted for good, and writing and deleting files outside of transactions: a storage may be slow.

Whoever names a picture writes its file before, and looks after the commit whether it is still there (`settle`);
whoever deletes a file looks afterwards whether a row needs it (`remove`). So one of the two sees the other.
"""

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from collector.evidence.files import PictureFiles
from collector.store import PictureRow, Store, among


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
            with store.transaction() as session:
                back = live(session, [sha256])
            if back:
                files.put(sha256, jpeg)


def settle(store: Store, files: PictureFiles, pictures: Mapping[str, bytes]) -> None:
    """After the transaction that was to name them: what a row needs is there, what none needs goes. Raises OSError."""
    if pictures:
        with store.transaction() as session:
            here = live(session, [*pictures])
        remove(store, files, pictures.keys() - here)
        for sha256 in here:
            if not files.has(sha256):
                files.put(sha256, pictures[sha256])


@contextlib.contextmanager
def written(store: Store, files: PictureFiles, sha256: str, jpeg: bytes) -> Iterator[None]:
    """Around a transaction that names a picture; raises OSError."""
    files.put(sha256, jpeg)
    try:
        yield
    finally:
        settle(store, files, {sha256: jpeg})

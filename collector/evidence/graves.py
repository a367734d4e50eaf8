"""Which pictures are deleted for good: a file goes only when no row needs it any longer."""

from collections.abc import Collection, Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from collector.store import PictureRow, among


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
    """Of these SHA-256 those of which all rows are deleted: a file that was just written may be gone again."""
    every = select(PictureRow.sha256).where(PictureRow.sha256.in_(names)).group_by(PictureRow.sha256)
    return set(session.scalars(every.having(func.count() == func.count(PictureRow.deleted_ms))))


def live(session: Session, names: Collection[str]) -> set[str]:
    """Of these SHA-256 those that some row needs."""
    here = select(PictureRow.sha256).where(PictureRow.sha256.in_(names))
    return set(session.scalars(here.where(PictureRow.deleted_ms.is_(None))))

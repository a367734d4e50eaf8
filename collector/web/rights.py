"""Who asks, and whether they may: each route says which right it needs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastapi import Depends

from collector.evidence.files import PictureFiles
from collector.people.actor import SYSTEM, Actor
from collector.store import Store


@dataclass(frozen=True)
class Desk:
    """What the routes of all parts work with.

    Args:
        now_ms: the center's clock.
        changed: tells open pages that something changed.
    """

    store: Store
    files: PictureFiles
    now_ms: Callable[[], int]
    changed: Callable[[], None]


def needs(right: str) -> Any:
    """A dependency that lets only those in who have this right somewhere."""

    def check() -> None:
        """Until there are people, all who reach the loopback address may."""

    check.right = right  # type: ignore[attr-defined]  # read by the table of calls and roles
    return Depends(check)


def actor() -> Actor:
    """Who asks."""
    return SYSTEM

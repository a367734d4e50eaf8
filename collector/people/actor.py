"""Who does something."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal, Self

from protocol.ids import is_slug

EVERYWHERE: Final = "*"


class Role(StrEnum):
    """What a person is at a street."""

    ADMIN = "admin"
    OPERATOR = "operator"
    GRID_WORKER = "grid_worker"
    OFFICER = "officer"
    AUDITOR = "auditor"
    VIEWER = "viewer"
    SCREEN = "screen"
    """A display on a wall, where visitors see it; no person."""


@dataclass(frozen=True)
class Grant:
    """A role at one street; `*` is all of them."""

    role: Role
    street: str = EVERYWHERE

    @classmethod
    def read(cls, text: str) -> Self:
        """`role`, or `role@street`; raises ValueError."""
        role, at, street = text.partition("@")
        if role not in {*Role}:
            raise ValueError(f"expected a role, one of {', '.join(Role)}, got {role!r:.80}")
        if at and street != EVERYWHERE and not is_slug(street):
            raise ValueError(f"expected a street (the site of its boxes) or *, got {street!r:.80}")
        return cls(Role(role), street if at else EVERYWHERE)

    def __str__(self) -> str:
        return f"{self.role}@{self.street}"


@dataclass(frozen=True)
class Actor:
    """The author of a change.

    Args:
        kind: only a `person` has grants; the others are the system's own hands.
        id: of the person, the shop, the box; empty for the system.
        name: as it stands in time lines.
        grants: roles by street.
        via: `token/ID` where it is no person at a page but a program of theirs.
    """

    kind: Literal["person", "policy", "camera", "shop", "public", "system"]
    id: str = ""
    name: str = ""
    grants: frozenset[Grant] = frozenset()
    via: str = field(default="", compare=False)

    @classmethod
    def policy(cls, street: str) -> Self:
        """A street's policy, acting by itself."""
        return cls("policy", street)

    @classmethod
    def camera(cls, box: str) -> Self:
        """What a box saw."""
        return cls("camera", box)

    @classmethod
    def shop(cls, shop: str) -> Self:
        """A shopkeeper, by the link of a notice."""
        return cls("shop", shop)

    def roles(self, street: str) -> frozenset[Role]:
        """The roles that this actor has at a street."""
        return frozenset(grant.role for grant in self.grants if grant.street in (EVERYWHERE, street))

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}" if self.id else self.kind


SYSTEM: Final = Actor("system")
PUBLIC: Final = Actor("public")
"""Somebody of whom nothing is known."""

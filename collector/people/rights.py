"""Which role may do what, as far as tickets ask; the whole table takes this file's place."""

from typing import Final

from collector.people.actor import EVERYWHERE, Actor, Role

ALL: Final = frozenset(Role)
ROOM: Final = frozenset({Role.ADMIN, Role.OPERATOR})
MAY: Final = {
    "tickets.read": ALL,
    "tickets.act": ROOM | {Role.GRID_WORKER, Role.OFFICER},
    "policies.read": ALL,
    "policies.write": frozenset({Role.ADMIN}),
    "pauses.write": ROOM,
}


def may(actor: Actor, right: str, street: str | None = None) -> bool:
    """Whether this actor has a right at a street; without one: at any."""
    found = streets(actor, right)
    if found is None:
        return True
    return bool(found) if street is None else street in found


def streets(actor: Actor, right: str) -> frozenset[str] | None:
    """The streets where this actor has a right; None: all of them."""
    if actor.kind == "system":
        return None
    found = frozenset(grant.street for grant in actor.grants if grant.role in MAY[right])
    return None if EVERYWHERE in found else found

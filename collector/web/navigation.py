"""The pages that the navigation leads to, in its order. A page that is added is a line here, and is on every page."""

from dataclasses import dataclass
from typing import Final

from collector.people.actor import Actor
from collector.people.rights import OWN, may
from collector.tickets.machine import ROOM
from collector.web.language import N_


@dataclass(frozen=True)
class Place:
    """A page of the navigation.

    Args:
        path: of the page; what lies below it belongs to it.
        right: who sees it; OWN: everybody who is signed in.
        text: its name, in English.
        within: who administers finds it at `ADMIN`, so that the rest fits a line; for all others it is here.
    """

    path: str
    right: str
    text: str
    within: bool = False


ADMIN: Final = "/admin"


PLACES: Final = (
    Place("/", "tickets.read", N_("Board")),
    Place("/tasks", "tasks.work", N_("My tasks")),
    Place("/tickets", "tickets.read", N_("Tickets")),
    Place("/report", "reports.write", N_("New report")),
    Place("/cameras", "boxes.read", N_("Cameras")),
    Place("/boxes", "boxes.read", N_("Boxes")),
    Place("/shops", "places.read", N_("Shops")),
    Place("/permits", "places.read", N_("Permits")),
    Place("/statistics", "indicators.read", N_("Statistics")),
    Place("/proposals", "proposals.moderate", N_("Proposals")),
    Place("/wall", "wall.read", N_("Wall")),
    Place("/policies", "policies.read", N_("Policies")),
    Place("/learning", "learning.read", N_("Learning from verdicts")),
    Place("/templates", "notices.read", N_("Texts"), within=True),
    Place("/people", "people.read", N_("People"), within=True),
    Place("/papers", "law.read", N_("Papers"), within=True),
    Place("/audit", "audit.read", N_("Audit log"), within=True),
    Place(ADMIN, "center.read", N_("Administration")),
    Place("/account", OWN, N_("My account")),
)


def home(actor: Actor) -> str:
    """Where somebody begins: a screen at the wall; the board if they decide, else their tasks if they have any."""
    if may(actor, "wall.read") and not may(actor, "tickets.read"):
        return "/wall"
    decides = any(one.role in ROOM for one in actor.grants)
    return "/tasks" if may(actor, "tasks.work") and not decides else "/"


def shown(path: str, may: frozenset[str], own: bool) -> list[tuple[Place, bool]]:
    """The pages that somebody with these rights may see, and whether it is the one that they are at."""
    found = [one for one in PLACES if one.right in may or (one.right == OWN and own)]
    inside = [one for one in found if path == one.path or (one.path != "/" and path.startswith(f"{one.path}/"))]
    here = max(inside, key=lambda one: len(one.path), default=None)
    admin = next((one for one in found if one.path == ADMIN), None)
    if admin is not None:
        here = admin if here is not None and here.within else here
        found = [one for one in found if not one.within]
    return [(one, one is here) for one in found]

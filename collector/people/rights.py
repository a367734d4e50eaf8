"""Which role may do what: one table."""

from typing import Final

from collector.people.actor import EVERYWHERE, Actor, Role

TABLE: Final = """
right              admin operator grid_worker officer auditor viewer  what it is good for
tickets.read       x     x        x           x       x       x       see tickets and their time lines
tickets.act        x     x        x           x       -       -       take a step; the machine of tickets says more
reports.write      x     x        x           x       -       -       report what no camera saw
proposals.moderate x     x        -           -       -       -       show, refuse and answer proposals of residents
tickets.export     x     x        -           -       x       -       fetch cases in the municipal platform's names
webhooks.write     x     -        -           -       -       -       have programs elsewhere told of tickets
tasks.work         -     -        x           x       -       -       see one's own tasks on a phone, and do them
evidence.read      x     x        x           x       x       x       see pictures as previews
evidence.original  -     x        -           x       x       -       fetch a sealed picture, with a reason
evidence.hold      x     x        -           x       -       -       hold pictures for the law, and lift that
places.read        x     x        x           x       x       x       see shops, permits, grid cells, cameras
places.write       x     x        -           -       -       -       change shops, grid cells, cameras
permits.write      x     x        -           -       -       -       grant and end permits
policies.read      x     x        x           x       x       x       see a street's policy
policies.write     x     -        -           -       -       -       change a street's policy
pauses.write       x     x        -           -       -       -       pause a zone or a camera
people.read        x     -        -           -       x       -       see people, their roles and tokens
people.write       x     -        -           -       -       -       add people, give and take roles, reset sign-ins
notices.read       x     x        -           x       x       -       see notices; they hold numbers of telephones
notices.write      x     x        -           -       -       -       change channels and templates, send again
law.read           x     x        -           -       x       -       see and make the papers that the law asks for
law.write          x     x        -           -       -       -       note a filing; takes the role at all streets
audit.read         x     -        -           -       x       -       read the audit log; takes the role at all streets
center.read        x     -        -           -       x       -       see tables of codes, how long what is kept, holds
boxes.read         x     x        x           x       x       x       see boxes, cameras and their states
boxes.ask          x     x        -           -       -       -       ask a camera for a picture, a box to start again
boxes.accept       x     x        -           -       -       -       accept an installation as its doctor found it
boxes.write        x     -        -           -       -       -       change boxes and their settings
zones.write        x     x        -           -       -       -       draw zones and ground planes, and try them
indicators.read    x     x        x           x       x       x       see indicators and reports of a street
wall.read          x     x        x           x       x       x       see the wall: numbers and places, nobody's name
learning.read      x     x        -           -       x       -       see what verdicts say of zones, and suggestions
learning.accept    x     x        -           -       -       -       change a zone's dwell or area, release pictures
figures.read       x     -        -           -       x       x       `/metrics` and `/healthz` from another machine
"""
"""An x: this role has this right at the streets that it was granted for."""

ON_A_SCREEN: Final = frozenset({"wall.read"})
"""All that the role `screen` may. It has no column, so that no right comes to it by a slip."""
OWN: Final = "account.own"
"""The right to one's own account; everybody who is signed in at a page has it, and no token."""
PUBLIC: Final = "public"
"""What everybody may call: signing in, and what the pages look like."""


def _read() -> tuple[dict[str, frozenset[Role]], dict[str, str]]:
    head, *lines = TABLE.strip().splitlines()
    roles = [Role(name) for name in head.split()[1:7]]
    may, meaning = {}, {}
    for line in lines:
        right, *marks, text = line.split(maxsplit=7)
        screen = frozenset({Role.SCREEN} if right in ON_A_SCREEN else ())
        may[right] = screen | frozenset(role for role, mark in zip(roles, marks, strict=True) if mark == "x")
        meaning[right] = text
    return may, meaning


MAY, MEANING = _read()


def may(actor: Actor, right: str, street: str | None = None) -> bool:
    """Whether this actor has a right at a street; without one: at any.

    The system's own hands may do everything, what acts for others (a policy, a camera, a shop) nothing by a right.
    """
    found = streets(actor, right)
    if found is None:
        return True
    return bool(found) if street is None else street in found


def streets(actor: Actor, right: str) -> frozenset[str] | None:
    """The streets where this actor has a right; None: all of them. Raises KeyError for an unknown right."""
    roles = MAY[right]
    if actor.kind == "system":
        return None
    found = frozenset(grant.street for grant in actor.grants if grant.role in roles)
    return None if EVERYWHERE in found else found

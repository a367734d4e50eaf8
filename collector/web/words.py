"""Texts of values: sentences that the catalogue translates, and pairs where another room has both languages."""

from collections.abc import Mapping
from typing import Final

from collector.tickets import machine
from collector.web.language import N_, Text, Words

RULES: Final = {
    "encroachment": N_("Encroachment"),
    "crowding": N_("Crowding"),
    "loitering": N_("Loitering"),
}
STATES: Final = {str(state): Words(zh, en[0].upper() + en[1:]) for state, (zh, en) in machine.WORDS.items()}
URGENCIES: Final = {
    "normal": N_("Normal"),
    "urgent": N_("Urgent"),
    "very_urgent": N_("Very urgent"),
}
OUTCOMES: Final = {
    "community": N_("Solved by the community"),
    "handled": N_("Handled by officers"),
    "withdrawn": N_("Withdrawn"),
    "moved_on": N_("Moved on"),
    "other": N_("Otherwise"),
}
SIGHTS: Final = {
    "clear": N_("Seen clear"),
    "occupied": N_("Still occupied"),
    "unseen": N_("Not seen"),
}
DUE: Final = N_("Due")
SHOP_DUE: Final = N_("The shop's time ends")
EVENTS: Final[Mapping[str, Text]] = {
    **{one.verb: Words(*one.words) for one in machine.TRANSITIONS},
    "picture": N_("A picture was added"),
    "said": N_("The shop said this when the ticket took it no more"),
    "due": N_("Time for review"),
    "appeared": N_("First seen"),
    "opened": N_("Ticket opened"),
    "reopened": N_("Re-opened: back within 30 minutes"),
    "incident_joined": N_("Another incident joined"),
    "incident_updated": N_("Incident updated"),
    "incident_cleared": N_("Seen clear by the camera"),
    "incident_ended": N_("Incident ended"),
    "incident_orphaned": N_("Its box no longer knows this incident: a person has to look"),
    "filed_late": N_("Late: already over when it arrived, filed only"),
    "lapsed": N_("Clear before anyone reviewed it: the ticket lapsed"),
}
ROLES: Final = {
    "clear": N_("Before, clear"),
    "at": N_("As found"),
    "after": N_("After, clear again"),
    "worker_after": N_("After, taken by a person"),
}
OFFICES: Final = {
    "admin": N_("Admin"),
    "operator": N_("Operator"),
    "grid_worker": N_("Grid worker"),
    "officer": N_("Officer"),
    "auditor": N_("Auditor"),
    "viewer": N_("Viewer"),
}
VIEWS: Final = {"wide": N_("Wide view"), "close": N_("Close-up")}
CAMERAS: Final = {
    "starting": N_("Starting"),
    "learning": N_("Learning"),
    "live": N_("Live"),
    "stalled": N_("Stalled"),
    "lost": N_("Lost"),
    "covered": N_("Covered"),
    "moved": N_("Moved"),
    "defocused": N_("Blurred"),
    "frozen": N_("Frozen"),
    "dark": N_("Too dark"),
    "off": N_("Off"),
}
BOXES: Final = {
    "online": N_("Online"),
    "offline": N_("Offline"),
    "stopped": N_("Stopped"),
    "unknown": N_("Unknown"),
}
CLOCKS: Final = {
    "offset": N_("Time corrected by the box's clock offset"),
    "uptime": N_("The box's clock was wrong: time worked out from its uptime"),
    "received": N_("The box's clock was wrong: time of receipt"),
}
REASONS: Final = {
    "rule_changed": N_("The rule was changed"),
    "camera_removed": N_("The camera was removed"),
    "withdrawn": N_("Withdrawn by its box"),
}
SEAL_GOOD: Final = N_("Seal verified")
SEAL_UNKNOWN: Final = N_("Seal not verified")
SEAL_NONE: Final = N_("Not masked, no seal")
SEAL_BROKEN: Final = N_("Seal broken")


def words(table: Mapping[str, str] | Mapping[str, Words] | Mapping[str, Text], value: str) -> Text:
    """Text of a value; lists are open, so that an unknown one is shown as it is."""
    return table.get(value, value)

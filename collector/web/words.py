"""Texts of values: sentences that the catalogue translates, and pairs where another room has both languages."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Final

from collector.people.actor import EVERYWHERE
from collector.places.codes import Codes, load_codes
from collector.tickets import machine
from collector.web.language import LANGUAGES, N_, Text, Words, say

RULES: Final = {"encroachment": N_("Encroachment"), "crowding": N_("Crowding"), "loitering": N_("Loitering")}
SOURCES: Final = {
    "video": N_("Camera"),
    "hotline": N_("Hotline 12345"),
    "grid": N_("Grid worker"),
    "shop": N_("Shop"),
    "public": N_("The public"),
}
FINDINGS: Final = {
    "exists": N_("It is there"),
    "not_exist": N_("Nothing is there"),
    "unable": N_("It could not be found out"),
}
STATES: Final = {str(state): Words(zh, en[0].upper() + en[1:]) for state, (zh, en) in machine.WORDS.items()}
URGENCIES: Final = {"normal": N_("Normal"), "urgent": N_("Urgent"), "very_urgent": N_("Very urgent")}
OUTCOMES: Final = {
    "community": N_("Solved by the community"),
    "handled": N_("Handled by officers"),
    "withdrawn": N_("Withdrawn"),
    "moved_on": N_("Moved on"),
    "other": N_("Otherwise"),
}
SIGHTS: Final = {"clear": N_("Seen clear"), "occupied": N_("Still occupied"), "unseen": N_("Not seen")}
EVENTS: Final[Mapping[str, Text]] = {
    # steps, as what happened; the machine has what they mean
    "confirm": N_("Confirmed"),
    "inspect": N_("Somebody was sent to look"),
    "found": N_("Looked at on the spot"),
    "put_right": N_("Put right within the shop's time, a person saw it"),
    "review": N_("Confirmed afterwards"),
    "notify": N_("The shop is being told before review, as the policy allows"),
    "false_alarm": N_("Judged to be a false alarm"),
    "duplicate": N_("Judged to be a duplicate"),
    "exempt": N_("Exempt by a permit"),
    "resume": N_("The permit's hours are over and it still stands"),
    "hold": N_("Kept quiet: a pause began"),
    "release": N_("The pause is over and it still stands"),
    "lapse": N_("Clear before review"),
    "reopen": N_("Back within 30 minutes of being clear"),
    "reconsider": N_("The judgement was taken back"),
    "told": N_("The shop was told"),
    "untold": N_("The notice never came: the shop was not told"),
    "correct": N_("Put right within the shop's time"),
    "time_up": N_("The shop's time is up and it still stands"),
    "pass_on": N_("Passed on to the community"),
    "shop_done": N_("The shop said that it is done"),
    "looked": N_("The camera looked"),
    "solve": N_("Solved by talking"),
    "register": N_("Registered as a case"),
    "dispatch": N_("Dispatched"),
    "send_back": N_("Sent back"),
    "accept": N_("Taken on"),
    "feed_back": N_("Reported as done"),
    "verify_clear": N_("The camera saw it clear"),
    "verify_occupied": N_("The camera saw it still there"),
    "verify_unseen": N_("The camera could not see: a person decides"),
    "close": N_("Closed by a person"),
    "rework": N_("Not good enough: to be done again"),
    "withdraw": N_("The case was withdrawn"),
    "appeal": N_("The shop objected: the clock stopped"),
    "not_mine": N_("The shop said that this is not theirs"),
    "uphold": N_("The objection was upheld"),
    "reject": N_("The objection was rejected"),
    "extend": N_("The deadline was moved"),
    "urge": N_("The urgency was changed"),
    "escalate": N_("Overdue: passed up"),
    "remark": N_("Remark"),
    # what boxes, shops and the inbox told
    "reported": N_("Reported"),
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
AUTHORS: Final = {
    "camera": N_("Camera"),
    "policy": N_("By the policy, by itself"),
    "shop": N_("Shop"),
    "public": N_("The public"),
    "system": N_("The system"),
}
"""Who has no name of their own."""
AFTERWARDS: Final = {
    "pending_review": N_("Then the shop, the community or an officer is told, as the policy says."),
    "noticed": N_("If it still stands then, the community calls."),
    "community": N_("If it still stands then, it is registered as a case."),
    "registered": N_("Then somebody is sent."),
    "dispatched": N_("Then they take it on."),
    "handling": N_("Then they report it done, and the camera looks."),
    "verifying": N_("Seen clear it is closed, else it is done again."),
    "rework": N_("Then it is taken on once more."),
    "appealed": N_("The other deadlines stand still until somebody decides."),
}
"""What follows the present step, by state."""
NOT_TOLD_YET: Final = N_("The shop has to be told by then; after that its minutes begin.")
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
    "screen": N_("Screen on a wall"),
}
ALL_STREETS: Final = N_("all streets")
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
BOXES: Final = {"online": N_("Online"), "offline": N_("Offline"), "stopped": N_("Stopped"), "unknown": N_("Unknown")}
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
SEAL_ASKED: Final = N_("Taken when the box was asked to look, not sealed")
SEAL_BROKEN: Final = N_("Seal broken")


def rule(value: str) -> Text:
    """What a ticket is about: a rule of the boxes, or an event by its code."""
    event = None if value in RULES else _codes().event_of(value)
    return words(RULES, value) if event is None else Words(event.zh, event.en)


@cache
def _codes() -> Codes:
    return load_codes()


def words(table: Mapping[str, str] | Mapping[str, Words] | Mapping[str, Text], value: str) -> Text:
    """Text of a value; lists are open, so that an unknown one is shown as it is."""
    return table.get(value, value)


def office(grant: object) -> Words:
    """A role at a street, `role@street`, in words."""
    role, _, street = str(grant).partition("@")
    at = ALL_STREETS if street == EVERYWHERE else street
    return Words(*(f"{say(OFFICES.get(role, role), one)} · {say(at, one)}" for one in LANGUAGES))


def offices(grants: Iterable[object]) -> Words:
    """Several, in one line."""
    found = [office(one) for one in sorted(map(str, grants))]
    return Words("、".join(one.zh for one in found), ", ".join(one.en for one in found))

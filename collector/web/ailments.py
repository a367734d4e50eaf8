"""Why a camera or a box is red, and what to do: one table, and what of it holds, worked out from what a box has told.

What a box said before its line was lost is not held against it: it may have changed.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from collector.web.language import N_
from protocol.messages import BoxHealth

GOOD, WARN, BAD = "good", "warn", "bad"
ORDER: Final = (BAD, WARN, GOOD)
MINUTE_MS: Final = 60_000
DAY_MS: Final = 86_400_000
SILENT_MS: Final = 5 * MINUTE_MS
"""Health comes each minute."""
STARTS_MS: Final = 5 * MINUTE_MS
LEARNS_MS: Final = 120 * MINUTE_MS
OLD_FRAME_S: Final = 120.0
"""`sample_s` may be a minute."""
LATE_S: Final = 10.0
STRETCH: Final = 3.0
WAITING_S: Final = 600.0
"""What waits longer is late at the center, see `[center] late_after_s`."""
FULL_SHARE: Final = 0.9
CLOCK_S: Final = 5.0
WRONG_CLOCK_S: Final = 300.0
HOT_C: Final = 80.0
"""Small boards slow themselves down from here on (Raspberry Pi: "80 to 85 °C")."""
FREE_SHARE: Final = 0.05
CERTIFICATE_MS: Final = 30 * DAY_MS
"""A box renews its certificate when a third of its life is left: one that comes so close cannot."""


class Ailment(NamedTuple):
    """A line of the table."""

    level: str
    why: str
    todo: str


@dataclass(frozen=True)
class Found:
    """What is wrong.

    Args:
        code: a key of TABLE.
        said: what the box says of it, in its own words.
    """

    code: str
    said: str = ""

    @property
    def level(self) -> str:
        """How bad it is."""
        return TABLE[self.code].level

    @property
    def why(self) -> str:
        """What it is."""
        return TABLE[self.code].why

    @property
    def todo(self) -> str:
        """What to do."""
        return TABLE[self.code].todo


@dataclass(frozen=True)
class BoxFacts:
    """What is known of a box.

    Args:
        standing: `guest`, `expected`, `enrolled`.
        state: `online`, `offline`, `stopped`, `unknown`.
        seen_ms: when it was last heard.
        health: its last report; None: none came, or it cannot be read.
        certificate_ms: when its certificate ends; None: it has none.
        behind: whether another box runs a newer version.
        settings: state of its newest settings; `conflict` where an edit made there waits for a person.
    """

    standing: str
    state: str
    seen_ms: int
    health: BoxHealth | None = None
    certificate_ms: int | None = None
    behind: bool = False
    settings: str = ""


@dataclass(frozen=True)
class CameraFacts:
    """What is known of a camera, whose box is there.

    Args:
        state: what it last said.
        since_ms: since when.
        text: what it says of it.
        unavailable: zones that cannot be judged.
        frame_age_s: of its newest picture, when the box last reported.
        decided_s: age of a picture when all is decided on it.
    """

    state: str
    since_ms: int
    text: str = ""
    unavailable: tuple[str, ...] = ()
    frame_age_s: float | None = None
    decided_s: float | None = None


TABLE: Final = {
    # boxes: who they are, and whether they are there
    "expected": Ailment(
        WARN,
        N_("It was announced and has not come yet."),
        N_("Scan its label on the box. Label lost or expired: make a new one on its page."),
    ),
    "offline": Ailment(
        BAD,
        N_("The line to the box is lost."),
        N_("Check power, router and cable there. Incidents are kept on the box and come once it is back."),
    ),
    "stopped": Ailment(
        BAD,
        N_("Its agent was stopped."),
        N_("If nobody is working on it, start the box again, or its service cityeye-agent."),
    ),
    "unknown": Ailment(BAD, N_("It has a certificate and was never heard."), N_("Start its agent and run its check.")),
    "silent": Ailment(
        BAD,
        N_("It is connected and has said nothing for minutes."),
        N_("Start it again from its page. If it stays silent, have somebody restart it on site."),
    ),
    "certificate_over": Ailment(
        BAD,
        N_("Its certificate has ended: the broker lets it in no more."),
        N_("Make a new label on its page and scan it on the box."),
    ),
    "certificate": Ailment(
        WARN,
        N_("Its certificate ends soon and was not renewed."),
        N_("See that the box reaches the enrolment address of the center and that its clock is right."),
    ),
    "settings_conflict": Ailment(
        WARN,
        N_("Its settings were edited on the box and at the center at once."),
        N_("Compare the two on its page and set the one that is to be in force."),
    ),
    "settings_refused": Ailment(
        WARN,
        N_("The box did not keep the settings that are wanted."),
        N_("Read its reason under settings, mend them and send them again."),
    ),
    # how they are
    "disk_full": Ailment(
        BAD,
        N_("Its disk is full: messages are kept in memory only."),
        N_("Do not switch it off. Make room on its disk, or have it exchanged."),
    ),
    "disk": Ailment(WARN, N_("Its disk is nearly full."), N_("Make room on its disk before it is full.")),
    "outbox_full": Ailment(
        BAD,
        N_("What waits on the box has nearly used up its room: the oldest pictures go first."),
        N_("Mend its line to the center. A line that is too slow needs smaller pictures or another way."),
    ),
    "outbox": Ailment(
        WARN,
        N_("Messages have been waiting on the box for more than 10 minutes."),
        N_("The line is too slow or breaks: check signal and router. Several boxes at once: look at the center."),
    ),
    "dropped": Ailment(
        WARN,
        N_("Pictures had to make room on the box before the center had them."),
        N_("Look at its line of the last days: it was away for long."),
    ),
    "parked": Ailment(
        WARN,
        N_("The center has refused messages of this box for good."),
        N_("Tell whoever runs the center: the reasons are in its table of refused messages."),
    ),
    "refused": Ailment(
        WARN,
        N_("The broker refuses what it publishes."),
        N_("Tell whoever runs the center: run the broker's check there."),
    ),
    "clock_wrong": Ailment(
        BAD,
        N_("Its clock is wrong by minutes: active hours are judged at the wrong time."),
        N_("Set its clock and its time server. Times of tickets are corrected here."),
    ),
    "clock": Ailment(
        WARN, N_("Its clock is off by some seconds."), N_("Check its time server. Times of tickets are corrected here.")
    ),
    "writes": Ailment(
        WARN,
        N_("It writes more to its card than is right for what it sees: that wears the card out."),
        N_("Fetch its diagnostics and tell whoever maintains the agent."),
    ),
    "hot": Ailment(
        BAD, N_("It is too hot and slows itself down."), N_("Give it shade and air, clean its fan and its vents.")
    ),
    "undervoltage": Ailment(
        BAD,
        N_("Its supply gives too little voltage: it slows down and may stop."),
        N_("Give it the power supply that the board's maker names, and a shorter or thicker cable."),
    ),
    "memory": Ailment(
        WARN, N_("Its memory is nearly used up."), N_("Start it again. If that does not last, give it fewer cameras.")
    ),
    "busy": Ailment(
        WARN,
        N_("It has too much to do: looks come more rarely than wanted."),
        N_("Move a camera to another box, or give it a smaller model."),
    ),
    "behind": Ailment(WARN, N_("Other boxes run a newer version."), N_("Have it updated.")),
    # cameras
    "away": Ailment(BAD, N_("Its box is not there."), N_("See its box.")),
    "off": Ailment(
        WARN, N_("It is switched off in the settings, or its agent was stopped."), N_("Nothing, if that is meant.")
    ),
    "starting": Ailment(
        BAD, N_("It does not start."), N_("Check its address and password in the settings, then start the box again.")
    ),
    "learning": Ailment(
        WARN,
        N_("It has been learning the clear place for more than two hours."),
        N_("Learn again when the place is clear, or approve what stands there."),
    ),
    "stalled": Ailment(
        BAD,
        N_("No pictures come any more."),
        N_("The box tries again by itself. If it lasts: check the camera's network and power."),
    ),
    "lost": Ailment(
        BAD,
        N_("The camera cannot be reached."),
        N_("Check its power and cable, whether its address has changed, and its password."),
    ),
    "covered": Ailment(
        BAD, N_("Something covers the lens."), N_("Look at the last picture; have leaves, dirt or tape removed.")
    ),
    "moved": Ailment(
        BAD,
        N_("The camera looks elsewhere than when its zones were drawn."),
        N_("Turn it back. If it is to stay so: draw its zones anew and have it learn again."),
    ),
    "defocused": Ailment(BAD, N_("Its picture is blurred."), N_("Clean the lens and focus it again.")),
    "frozen": Ailment(BAD, N_("Its picture stands still."), N_("Restart the camera, on its own page or by its power.")),
    "dark": Ailment(
        BAD,
        N_("It is too dark to judge anything."),
        N_("At night: is the street light on? By day: check its lens, its night mode and its exposure."),
    ),
    "unavailable": Ailment(
        WARN,
        N_("Some of its zones cannot be judged."),
        N_("The box says why. Without a detector: name one in its settings and start it again."),
    ),
    "odd": Ailment(BAD, N_("It is in a state that this center does not know."), N_("Update the center.")),
    "old_frame": Ailment(
        BAD,
        N_("Its newest picture is more than two minutes old."),
        N_("Ask for a picture now. If none comes, start the box again."),
    ),
    "late": Ailment(
        WARN,
        N_("It decides more than 10 seconds late."),
        N_("The box has too much to do: move a camera to another one."),
    ),
}
VIEWS: Final = ("stalled", "lost", "covered", "moved", "defocused", "frozen", "dark", "off")
"""States that are an ailment of the same name."""


def of_box(box: BoxFacts, now_ms: int) -> tuple[Found, ...]:
    """What is wrong with a box, the worst first."""
    if box.standing == "expected":
        return (Found("expected"),)
    found = [*_certificate(box, now_ms), *_settings(box)]
    if box.state == "online":
        silent = now_ms - box.seen_ms > SILENT_MS
        found += [Found("silent")] if silent else [] if box.health is None else _health(box.health)
    else:
        found.append(Found(box.state if box.state in ("offline", "stopped") else "unknown"))
    if box.behind:
        found.append(Found("behind"))
    return worst_first(found)


def of_camera(camera: CameraFacts, now_ms: int) -> tuple[Found, ...]:
    """What is wrong with a camera whose box is there, the worst first."""
    return worst_first(list(_camera(camera, now_ms)))


def worst_first(found: list[Found]) -> tuple[Found, ...]:
    """In order of how bad they are."""
    return tuple(sorted(found, key=lambda one: ORDER.index(one.level)))


def level(found: tuple[Found, ...]) -> str:
    """How bad all of it is."""
    return min((one.level for one in found), key=ORDER.index, default=GOOD)


def _certificate(box: BoxFacts, now_ms: int) -> list[Found]:
    if box.certificate_ms is None or box.certificate_ms - now_ms > CERTIFICATE_MS:
        return []
    return [Found("certificate_over" if box.certificate_ms <= now_ms else "certificate")]


def _settings(box: BoxFacts) -> list[Found]:
    if box.settings == "conflict":
        return [Found("settings_conflict")]
    return [Found("settings_refused")] if box.settings in ("rejected", "rolled_back") else []


def _health(health: BoxHealth) -> Iterator[Found]:
    if health.unwritten_messages:
        yield Found("disk_full")
    if (health.written_bytes or 0) > (health.written_limit_bytes or math.inf):
        yield Found("writes")
    if health.outbox_budget_bytes and health.state_bytes > FULL_SHARE * health.outbox_budget_bytes:
        yield Found("outbox_full")
    elif health.waiting_messages and health.oldest_waiting_s > WAITING_S:
        yield Found("outbox")
    if health.pictures_dropped:
        yield Found("dropped")
    if health.parked_messages:
        yield Found("parked")
    if health.refused_publishes:
        yield Found("refused")
    # an offset is worth no more than its error says
    off_s = max(0.0, abs(health.clock.offset_s or 0.0) - (health.clock.offset_error_s or 0.0))
    if off_s > CLOCK_S:
        yield Found("clock_wrong" if off_s > WRONG_CLOCK_S else "clock")
    if health.detector is not None and health.detector.stretch > STRETCH:
        yield Found("busy")
    yield from _machine(health)


def _machine(health: BoxHealth) -> Iterator[Found]:
    machine = health.machine
    if machine is None:
        return
    if machine.temperature_c is not None and machine.temperature_c >= HOT_C:
        yield Found("hot")
    if machine.undervoltage:
        yield Found("undervoltage")
    if _scarce(machine.disk_free_bytes, machine.disk_bytes) and not health.unwritten_messages:
        yield Found("disk")
    if _scarce(machine.memory_free_bytes, machine.memory_bytes):
        yield Found("memory")


def _scarce(free: int | None, whole: int | None) -> bool:
    return free is not None and whole is not None and free < FREE_SHARE * whole


def _camera(camera: CameraFacts, now_ms: int) -> Iterator[Found]:
    lasts_ms = now_ms - camera.since_ms
    if camera.state in VIEWS:
        yield Found(camera.state, camera.text)
    elif camera.state == "starting":
        if lasts_ms > STARTS_MS:
            yield Found("starting", camera.text)
    elif camera.state not in ("live", "learning"):
        yield Found("odd", camera.state)
    else:
        if camera.state == "learning" and lasts_ms > LEARNS_MS:
            yield Found("learning", camera.text)
        if camera.frame_age_s is not None and camera.frame_age_s > OLD_FRAME_S:
            yield Found("old_frame")
        elif camera.decided_s is not None and camera.decided_s > LATE_S:
            yield Found("late")
    if camera.unavailable:
        yield Found("unavailable", ", ".join(camera.unavailable))

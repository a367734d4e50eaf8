"""Why a camera or a box is red: each line of the table, and what is just not enough for it."""

from dataclasses import replace

import pytest

from collector.web import ailments
from collector.web.ailments import BAD, GOOD, TABLE, WARN, BoxFacts, CameraFacts
from protocol.messages import BoxHealth, ClockReport, DetectorLoad, MachineLoad

NOW_MS = 1_780_000_000_000
DAY_MS = 86_400_000
HEALTH = BoxHealth(
    uptime_s=1,
    waiting_messages=0,
    oldest_waiting_s=0,
    parked_messages=0,
    state_bytes=0,
    outbox_budget_bytes=100,
    clock=ClockReport(state="synchronised", offset_s=0, boot_id="b", uptime_s=1),
)
BOX = BoxFacts("enrolled", "online", NOW_MS - 60_000, HEALTH, NOW_MS + 200 * DAY_MS)
CAMERA = CameraFacts("live", NOW_MS - DAY_MS, frame_age_s=1, decided_s=1)


def says(**values):
    return {"health": HEALTH.model_copy(update=values)}


def clock(offset_s, error_s=None):
    return says(clock=HEALTH.clock.model_copy(update={"offset_s": offset_s, "offset_error_s": error_s}))


def machine(**values):
    return says(machine=MachineLoad(**values))


def stretch(times):
    return says(detector=DetectorLoad(looks=1, stretch=times, wait_p50_s=0, wait_p99_s=0, late_s=0))


BOXES = [
    ({}, []),
    ({"health": None}, []),  # an agent that says nothing of itself is still there
    ({"standing": "guest", "certificate_ms": None}, []),  # a center without a CA
    ({"standing": "expected", "state": "unknown"}, ["expected"]),
    ({"state": "offline"}, ["offline"]),
    ({"state": "offline", **machine(temperature_c=95)}, ["offline"]),  # it may have cooled down since
    ({"state": "stopped"}, ["stopped"]),
    ({"state": "unknown"}, ["unknown"]),
    ({"seen_ms": NOW_MS - 5 * 60_000}, []),
    ({"seen_ms": NOW_MS - 6 * 60_000}, ["silent"]),
    ({"certificate_ms": NOW_MS + 31 * DAY_MS}, []),
    ({"certificate_ms": NOW_MS + 29 * DAY_MS}, ["certificate"]),
    ({"certificate_ms": NOW_MS, "state": "offline"}, ["certificate_over", "offline"]),
    ({"settings": "applied"}, []),
    ({"settings": "pending"}, []),
    ({"settings": "conflict"}, ["settings_conflict"]),
    ({"settings": "rejected"}, ["settings_refused"]),
    ({"settings": "rolled_back"}, ["settings_refused"]),
    ({"behind": True}, ["behind"]),
    (says(written_bytes=5, written_limit_bytes=5), []),
    (says(written_bytes=6, written_limit_bytes=5), ["writes"]),
    (says(unwritten_messages=3, machine=MachineLoad(disk_bytes=100, disk_free_bytes=0)), ["disk_full"]),
    (machine(disk_bytes=100, disk_free_bytes=4), ["disk"]),
    (machine(disk_bytes=100, disk_free_bytes=5), []),
    (machine(memory_bytes=100, memory_free_bytes=4), ["memory"]),
    (machine(memory_free_bytes=4), []),  # of what, it does not say
    (machine(temperature_c=79.9), []),
    (machine(temperature_c=80), ["hot"]),
    (machine(undervoltage=False), []),
    (machine(undervoltage=True), ["undervoltage"]),
    (says(state_bytes=90), []),
    (says(state_bytes=91, waiting_messages=9, oldest_waiting_s=9_000), ["outbox_full"]),
    (says(waiting_messages=9, oldest_waiting_s=601), ["outbox"]),
    (says(waiting_messages=900, oldest_waiting_s=600), []),
    (says(pictures_dropped=1), ["dropped"]),
    (says(parked_messages=1), ["parked"]),
    (says(refused_publishes=1), ["refused"]),
    (clock(None), []),
    (clock(5.0), []),
    (clock(-5.1), ["clock"]),
    (clock(8.0, 4.0), []),  # it may be right
    (clock(-301.0), ["clock_wrong"]),
    (stretch(3.0), []),
    (stretch(3.1), ["busy"]),
    (says(parked_messages=1, machine=MachineLoad(temperature_c=90)), ["hot", "parked"]),  # the worst first
]
CAMERAS = [
    ({}, []),
    ({"frame_age_s": None, "decided_s": None}, []),
    ({"state": "starting", "since_ms": NOW_MS - 5 * 60_000}, []),
    ({"state": "starting"}, ["starting"]),
    ({"state": "learning", "since_ms": NOW_MS - 110 * 60_000}, []),
    ({"state": "learning"}, ["learning"]),
    *(({"state": state, "frame_age_s": 999}, [state]) for state in ailments.VIEWS),
    ({"state": "upside_down"}, ["odd"]),
    ({"unavailable": ("square",)}, ["unavailable"]),
    ({"state": "moved", "unavailable": ("square",)}, ["moved", "unavailable"]),
    ({"frame_age_s": 120}, []),
    ({"frame_age_s": 121, "decided_s": 130}, ["old_frame"]),
    ({"decided_s": 10}, []),
    ({"decided_s": 10.1}, ["late"]),
]


@pytest.mark.parametrize(("changes", "expected"), BOXES)
def test_a_box_has_what_it_tells_and_nothing_else(changes, expected):
    assert [one.code for one in ailments.of_box(replace(BOX, **changes), NOW_MS)] == expected


@pytest.mark.parametrize(("changes", "expected"), CAMERAS)
def test_a_camera_has_what_it_tells_and_nothing_else(changes, expected):
    assert [one.code for one in ailments.of_camera(replace(CAMERA, **changes), NOW_MS)] == expected


def test_each_line_of_the_table_is_tried():
    tried = {code for _, codes in (*BOXES, *CAMERAS) for code in codes}
    assert tried == TABLE.keys() - {"away"}  # that is said of cameras whose box has another one


def test_what_is_worst_counts():
    found = ailments.of_camera(replace(CAMERA, state="moved", unavailable=("a",), text="by 12 %"), NOW_MS)
    assert [ailments.level(found), ailments.level(found[1:]), ailments.level(())] == [BAD, WARN, GOOD]
    assert found[0].said == "by 12 %"

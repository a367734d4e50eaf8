"""The running agent against a real broker, as the center sees it."""

import json
import time

import pytest

from agent.box import clock
from agent.box.clock import Clock
from agent.box.load import Load
from agent.box.power import Power
from agent.live import Agent
from agent.settings import load_settings
from protocol.messages import ClockReport
from tests import boxes, clips
from tests.agent.uplink.test_session import center
from tests.cameras import RtspCamera
from tests.services import BIN, Broker, Process, run, stopped, wait_for

AGENT = BIN / "cityeye-agent"


def states(listening, camera):
    return [json.loads(one.payload)["data"]["state"] for one in listening.on(f"camera/{camera}")]


def incidents(listening):
    return [json.loads(one.payload) for one in listening.on("incident")]


def test_a_stalled_camera_shows_at_the_center_and_others_go_on(tmp_path, street):
    with (
        RtspCamera(tmp_path / "camera") as camera,
        Broker("iotcore", tmp_path / "broker") as broker,
        center(broker.port) as listening,
    ):
        settings = boxes.settings(
            tmp_path, boxes.FRONTAGE, source=camera.url, camera={"learn_s": 4.0, "sample_s": 0.5}, center=broker.url
        )
        text = settings.read_text()
        settings.write_text(text + f'[[camera]]\nid = "cam-2"\nsource = "{street}"\nlearn_s = 4.0\n')
        with Process([AGENT, "run", "--settings", settings], tmp_path / "log") as agent:
            wait_for(lambda: states(listening, "cam-1")[-1:] == ["live"], "it has learned", 60)
            with stopped(camera):
                began_s = time.monotonic()
                wait_for(lambda: states(listening, "cam-1")[-1:] == ["stalled"], "it is told", 20)
                assert time.monotonic() - began_s < 20
                last = json.loads(listening.on("camera/cam-1")[-1].payload)["data"]
                assert "trying again in" in last["text"]
                assert states(listening, "cam-2")[-1] == "live"
            wait_for(lambda: states(listening, "cam-1")[-1:] == ["live"], "it is back", 40)
            assert json.loads(listening.on("camera/cam-1")[-1].payload)["data"]["restarts"] >= 1
            assert agent.stop() == 0
        wait_for(lambda: states(listening, "cam-1")[-1] == "off", "a good-bye")
        assert listening.states()[-1] == "stopped"


def test_a_clock_that_is_set_right_for_the_first_time_makes_nothing_older(tmp_path, street, monkeypatch):
    wall = {"ahead_s": 1000.0 - time.monotonic(), "right": False}
    monkeypatch.setattr(clock, "kernel_synchronised", lambda: wall["right"])
    monkeypatch.setattr(clock.time, "time", lambda: time.monotonic() + wall["ahead_s"])
    zone = {**boxes.FRONTAGE, "dwell_s": 3.0}
    settings = boxes.settings(tmp_path, zone, source=str(street), camera={"learn_s": 5.0, "sample_s": 0.5})
    told = []
    with Agent(load_settings(settings), clock.Clock(), tell=lambda event, _: told.append(event)) as agent:
        wait_for(lambda: told, "the crate is found", 90)
        agent.tend()
        assert told[0].data.opened_at.year == 1970
        wall.update(ahead_s=1_790_000_000.0 - time.monotonic(), right=True)
        agent.tend()
        wait_for(lambda: told[-1].data.visibility == "seen" and len(told) > 1, "it is seen again", 60)
    here = told[-1].data
    assert [one.data.opened_at.year for one in told] == [1970] * 2 + [2026] * (len(told) - 2)
    assert {one.data.incident for one in told} == {here.incident}
    assert here.dwell_s < 300


def test_an_incident_of_a_zone_that_is_gone_is_ended(tmp_path, street):
    """The crate still stands when the settings change: the box says why the incident ends."""
    first = clips.write(tmp_path / "first.mp4", clips.street_frame, 34)
    settings = boxes.settings(tmp_path, boxes.FRONTAGE, source=str(street))
    run(AGENT, "replay", first, "--settings", settings, "--state", tmp_path / "state")
    with Broker("iotcore", tmp_path / "broker") as broker, center(broker.port) as listening:
        changed = boxes.settings(tmp_path, {**boxes.FRONTAGE, "id": "other"}, source=str(street), center=broker.url)
        with Process([AGENT, "run", "--settings", changed], tmp_path / "log"):
            (event,) = wait_for(lambda: incidents(listening), "it is told")
        assert event["type"] == "cityeye.incident.ended"
        assert (event["data"]["reason"], event["data"]["seq"]) == ("rule_changed", 2)
        assert event["data"]["zone"] == "front"


def test_a_shutdown_and_a_lost_camera_end_nothing(tmp_path, street):
    with Broker("iotcore", tmp_path / "broker") as broker, center(broker.port) as listening:
        zone = {**boxes.FRONTAGE, "dwell_s": 3.0}
        settings = boxes.settings(
            tmp_path, zone, source=str(street), camera={"learn_s": 5.0, "sample_s": 0.5}, center=broker.url
        )
        with Process([AGENT, "run", "--settings", settings], tmp_path / "log") as agent:
            wait_for(lambda: incidents(listening), "the crate is found", 40)
            agent.stop()
        last = incidents(listening)[-1]
        assert last["type"] == "cityeye.incident.updated"
        assert last["data"]["visibility"] == "not_seen"
        assert last["data"]["cleared_at"] is None


@pytest.mark.parametrize(
    ("state", "offset_s", "error_s", "expected"),
    [
        ("synchronised", None, None, 1000.0),
        ("synchronised", 3.0, 0.1, 1003.0),
        ("unsynchronised", -500.0, 0.5, 500.0),
        # nobody knows: a command then lives from its receipt
        ("unsynchronised", None, None, None),
        ("unknown", 3.0, 60.0, None),
    ],
)
def test_the_centers_time_is_what_was_measured(tmp_path, state, offset_s, error_s, expected):
    class FixedClock(Clock):
        def now(self):
            return 1000.0

        def report(self):
            return ClockReport(state=state, offset_s=offset_s, offset_error_s=error_s, boot_id="b", uptime_s=1.0)

    agent = Agent(load_settings(boxes.settings(tmp_path, boxes.FRONTAGE)), FixedClock())
    assert agent._center_now() == expected


def test_a_box_tells_of_its_machine_and_how_old_its_pictures_are(tmp_path, street):
    settings = load_settings(boxes.settings(tmp_path, boxes.FRONTAGE, source=str(street)))
    with Agent(settings, Clock()) as agent:
        wait_for(lambda: agent.health().cameras[0].decided_s is not None, "something is decided", 60)
        health = agent.health()
    (camera,) = health.cameras
    assert camera.camera == "cam-1"
    assert 0 <= camera.frame_age_s < 30
    assert 0 <= camera.decided_s < 30
    assert health.machine.cores >= 1
    assert 0 < health.machine.disk_free_bytes <= health.machine.disk_bytes
    assert 0 < health.machine.memory_free_bytes <= health.machine.memory_bytes


@pytest.mark.parametrize(
    ("power", "less"),
    [(Power(), False), (Power(temperature_c=79.0), False), (Power(temperature_c=81.0), True), (Power(low=True), True)],
)
def test_a_board_that_is_hot_or_short_of_power_does_less(tmp_path, street, monkeypatch, power, less):
    monkeypatch.setattr("agent.live.read_power", lambda: power)
    monkeypatch.setattr(Load, "busy_share", lambda _self: 0.1)
    with Agent(load_settings(boxes.settings(tmp_path, boxes.FRONTAGE, source=str(street))), Clock()) as agent:
        for _ in range(20):
            agent.tend()
        assert (agent.attention.left < agent.attention.budget) == less

"""Replaying clips with the real command."""

import hashlib
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.live import Eyes
from agent.replay import Replay
from agent.settings import load_settings
from protocol.geometry import box_iou
from protocol.messages import IncidentEvent, read_event
from protocol.seal import picture_link, public_key_text, seal_fault
from tests import boxes, clips
from tests.services import BIN, run

BAG = (452 / 720, 364 / 480, 51 / 720, 48 / 480)


def replay(video, settings, *more, **environment):
    done = run(BIN / "cityeye-agent", "replay", video, "--settings", settings, *more, **environment)
    assert done.returncode == 0, done.stderr
    return [read_event(line.encode(), IncidentEvent) for line in done.stdout.splitlines()], done


def kinds(events):
    return [event.type.removeprefix("cityeye.incident.") for event in events]


def seconds(instant):
    return instant.timestamp() - 1767225600  # 2026-01-01T00:00:00Z


def test_a_crate_comes_and_goes(street, tmp_path):
    """The whole life of an incident on a rendered street, with its pictures and their seal."""
    folder = tmp_path / "evidence"
    settings = boxes.settings(tmp_path, {**boxes.FRONTAGE, "clear_s": 5.0})
    events, done = replay(street, settings, "--evidence", folder, "--state", tmp_path / "state")
    assert kinds(events) == ["opened", "cleared"]
    opened, cleared = (event.data for event in events)
    assert clips.APPEARS_S <= seconds(opened.opened_at) <= clips.APPEARS_S + 3
    assert clips.APPEARS_S + 10 <= seconds(opened.at) <= clips.APPEARS_S + 16
    assert clips.GONE_S - 1 <= seconds(cleared.cleared_at) <= clips.GONE_S + 4
    assert cleared.dwell_s == pytest.approx(seconds(cleared.cleared_at) - seconds(opened.opened_at), abs=0.01)
    assert box_iou(opened.place, clips.CRATE) > 0.6
    assert (opened.seq, cleared.seq) == (1, 2)
    assert (opened.incident, opened.place_id, opened.shop) == (cleared.incident, cleared.place_id, "shop-1")
    assert [(one.role, one.view) for one in cleared.evidence] == [
        (role, view) for role in ("clear", "at", "after") for view in ("wide", "close")
    ]
    assert cleared.evidence[:4] == opened.evidence
    key = Ed25519PrivateKey.from_private_bytes((tmp_path / "state" / "seal.key").read_bytes())
    prev = None
    for one in cleared.evidence:
        jpeg = (folder / f"{one.sha256}.jpg").read_bytes()
        assert hashlib.sha256(jpeg).hexdigest() == one.sha256
        assert one.prev == prev
        assert seal_fault(cleared.incident, one, public_key_text(key), jpeg) is None
        prev = picture_link(cleared.incident, one)
    assert len(list(folder.iterdir())) == len({one.sha256 for one in cleared.evidence})
    assert "crowding is unavailable" in done.stderr


def test_an_incident_goes_on_after_a_restart(street, tmp_path):
    """The crate stands when the box goes down; later the place is seen clear: one incident, `seq` without gaps."""
    settings = boxes.settings(tmp_path, {**boxes.FRONTAGE, "clear_s": 5.0})
    state = tmp_path / "state"
    first = clips.write(tmp_path / "first.mp4", clips.street_frame, 34)
    second = clips.write(tmp_path / "second.mp4", lambda t: clips.street_frame(t + 34), 24)
    before, _ = replay(first, settings, "--state", state)
    after, _ = replay(second, settings, "--state", state, "--start", "2026-01-01T00:01:00Z")
    assert kinds(before + after) == ["opened", "cleared"]
    assert before[0].data.incident == after[0].data.incident
    assert [event.data.seq for event in before + after] == [1, 2]
    # what returns is a new incident at the same place
    again, _ = replay(street, settings, "--state", state, "--start", "2026-01-01T01:00:00Z")
    assert kinds(again) == ["opened", "cleared"]
    assert again[0].data.previous == before[0].data.incident
    assert again[0].data.place_id == before[0].data.place_id


def test_without_state_nothing_is_left_and_runs_are_alike(street, tmp_path):
    settings = boxes.settings(tmp_path, boxes.FRONTAGE)
    files = sorted(tmp_path.iterdir())
    first, _ = replay(street, settings)
    second, _ = replay(street, settings, "--start", "2026-05-05T00:00:00+08:00")
    assert sorted(tmp_path.iterdir()) == files
    assert kinds(first) == kinds(second)
    assert first[0].data.place == second[0].data.place
    assert second[0].time.isoformat() == "2026-05-04T16:00:" + first[0].time.isoformat()[17:]


def test_out_takes_the_messages_and_standard_output_nothing(street, tmp_path):
    settings = boxes.settings(tmp_path, boxes.FRONTAGE)
    done = run(BIN / "cityeye-agent", "replay", street, "--settings", settings, "--out", tmp_path / "out.jsonl")
    assert done.stdout == ""
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["type"] == "cityeye.incident.opened"


def test_outside_the_hours_nothing_is_reported(street, tmp_path):
    settings = boxes.settings(tmp_path, {**boxes.FRONTAGE, "active": ["Mo-Su 06:00-22:00"]})
    # the default start is 08:00 in Shanghai
    assert kinds(replay(street, settings)[0])[0] == "opened"
    assert replay(street, settings, "--start", "2026-01-01T16:00:00Z")[0] == []


def test_a_mask_hides_what_stands_behind_it(street, tmp_path):
    settings = boxes.settings(tmp_path, boxes.FRONTAGE)
    text = settings.read_text()
    mask = "[[camera.mask]]\npolygon = [[0.4, 0.4], [0.75, 0.4], [0.75, 0.8], [0.4, 0.8]]\n"
    settings.write_text(text + mask)
    assert replay(street, settings)[0] == []


@pytest.mark.parametrize("sample_s", [1.0, 0.5])
@pytest.mark.parametrize("model", [None, "yolo26n-640"])
def test_the_bag_on_the_pavement(shared, detectors, tmp_path, model, sample_s):
    """A man sets a bag down (13.4 s), stays beside it and leaves (20 s); it stays to the end."""
    settings = boxes.settings(tmp_path, boxes.FRONTAGE, model=model, camera={"sample_s": sample_s})
    video = shared / "videos/aboda_video4.avi"
    folder = tmp_path / "evidence"
    events, _ = replay(video, settings, "--evidence", folder, CITYEYE_MODELS=str(detectors))
    assert kinds(events) == ["opened"]
    assert 23 <= seconds(events[0].data.at) <= 35
    assert box_iou(events[0].data.place, BAG) >= 0.3
    assert [one.role for one in events[0].data.evidence] == ["clear", "clear", "at", "at"]


@pytest.mark.parametrize(
    ("model", "sample_s"), [("none", 1.0), (None, 1.0), (None, 0.5), ("yolo26n-640", 1.0), ("yolo26n-640", 0.5)]
)
def test_walkers_are_no_encroachment(vtest, request, tmp_path, model, sample_s):
    settings = boxes.settings(tmp_path, boxes.FRONTAGE, model=model, camera={"sample_s": sample_s})
    folder = request.getfixturevalue("detectors") if model == "yolo26n-640" else ""
    assert replay(vtest, settings, CITYEYE_MODELS=str(folder))[0] == []


def test_a_group_that_stands_is_no_encroachment(shared, detectors, tmp_path):
    settings = boxes.settings(tmp_path, {**boxes.FRONTAGE, "dwell_s": 5.0}, model="yolo26n-640")
    video = shared / "videos/pedestrians.mp4"
    assert replay(video, settings, CITYEYE_MODELS=str(detectors))[0] == []


def test_crowding_by_the_limit(vtest, detectors, tmp_path):
    wide = {**boxes.GATHERING, "id": "wide", "max_people": 40}
    settings = boxes.settings(tmp_path, boxes.GATHERING, wide, model="yolo26n-640")
    events, _ = replay(vtest, settings, CITYEYE_MODELS=str(detectors))
    assert {(event.data.zone, event.data.rule) for event in events} == {("square", "crowding")}
    assert events[0].data.people.count > boxes.GATHERING["max_people"]
    assert events[0].data.people.level == "over"
    assert events[0].data.model.name == "yolo26n-640"


def test_where_stays_are_measured_a_replay_looks_five_times_a_second(street, tmp_path):
    """Nobody passes on there what the rule asks for."""
    settings = boxes.settings(tmp_path, {**boxes.GATHERING, "loiter_s": 20.0})
    config = load_settings(settings)
    job = Replay(street, config.settings.camera[0], config, Eyes(None, None), 1000.0, None, None)
    assert job.run(lambda _: None, lambda _: None) == 5 * clips.LENGTH_S

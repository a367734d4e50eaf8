"""The clear scene under an operator's hand: `cityeye-agent scene approve | reset`, and areas where things may stand."""

import contextlib
import itertools
import json
import shutil

import numpy as np
import pytest

from agent.box import orders
from agent.evidence import pictures
from agent.uplink.outbox import Outbox, OutboxError
from protocol.settings import Camera, FrontageZone
from tests import boxes, clips
from tests.runners import frame, runner
from tests.services import BIN, Process, run, wait_for

AGENT = BIN / "cityeye-agent"


def events(done):
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def kinds(done):
    return [event["type"].removeprefix("cityeye.incident.") for event in events(done)]


@pytest.fixture(scope="module")
def went_down(tmp_path_factory):
    """A box that went down while the crate stood and was reported, and what its camera shows afterwards."""
    folder = tmp_path_factory.mktemp("went_down")
    settings = boxes.settings(folder, {**boxes.FRONTAGE, "clear_s": 3.0})
    clip = clips.write(folder / "first.mp4", clips.street_frame, 34)
    assert kinds(run(AGENT, "replay", clip, "--settings", settings, "--state", folder / "state")) == ["opened"]
    # the crate stands for a while and is taken away
    clips.write(folder / "after.mp4", lambda t: clips.street_frame(t + 24), 36)
    return folder


@pytest.fixture
def left_standing(went_down, tmp_path):
    """Such a box; its settings."""
    shutil.copytree(went_down, tmp_path, dirs_exist_ok=True)
    return boxes.settings(tmp_path, {**boxes.FRONTAGE, "clear_s": 3.0}, source=str(tmp_path / "after.mp4"))


@pytest.mark.parametrize("zone", [[], ["front"]])
@pytest.mark.parametrize("verb", ["approve", "reset"])
def test_an_order_waits_for_the_agent_and_withdraws_what_was_reported(left_standing, tmp_path, verb, zone):
    done = run(AGENT, "scene", verb, "cam-1", *zone, "--settings", left_standing)
    assert (done.returncode, done.stdout) == (
        0,
        f"camera cam-1: {verb}: no agent runs here; it is done when one starts\n",
    )
    more = ["--settings", left_standing, "--state", tmp_path / "state", "--start", "2026-01-01T00:05:00Z"]
    after = events(run(AGENT, "replay", tmp_path / "after.mp4", *more))
    assert [event["type"] for event in after] == ["cityeye.incident.ended"]
    assert after[0]["data"]["reason"] == "withdrawn"


def test_without_an_order_it_clears_when_it_is_seen_clear(left_standing, tmp_path):
    more = ["--settings", left_standing, "--state", tmp_path / "state", "--start", "2026-01-01T00:05:00Z"]
    assert kinds(run(AGENT, "replay", tmp_path / "after.mp4", *more)) == ["cleared"]


def test_a_running_agent_takes_an_order_at_once(tmp_path, street):
    settings = boxes.settings(
        tmp_path, {**boxes.FRONTAGE, "dwell_s": 3.0}, source=str(street), camera={"learn_s": 4.0, "sample_s": 0.5}
    )
    with Process([AGENT, "run", "--settings", settings], tmp_path / "log") as agent:

        def opened():
            outbox = tmp_path / "state" / "outbox.db"
            # the agent may be making it just now
            with contextlib.suppress(OutboxError), contextlib.closing(Outbox(outbox, lambda: 0.0, owner=False)) as box:
                return box.incidents("cam-1")

        wait_for(opened, "the crate is reported", 60)
        done = run(AGENT, "scene", "approve", "cam-1", "front", "--settings", settings)
        assert (done.returncode, done.stdout) == (0, "camera cam-1: approve: done\n")
        assert "the clear scene: approve, by order" in (tmp_path / "log").read_text()
        assert agent.stop() == 0
    (row,) = Outbox(tmp_path / "state" / "outbox.db", now=lambda: 0.0).incidents("cam-1")
    assert json.loads(row.state)["reason"] == "withdrawn"


@pytest.mark.parametrize(
    ("words", "expected"),
    [(["cam-2"], "expected one of cam-1, got 'cam-2'"), (["cam-1", "back"], "zone: expected one of front, got 'back'")],
)
def test_an_order_to_nobody_gets_one_line(tmp_path, words, expected):
    settings = boxes.settings(tmp_path, boxes.FRONTAGE)
    done = run(AGENT, "scene", "approve", *words, "--settings", settings)
    assert done.returncode == 2
    assert expected in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("corners", "reported"),
    [
        ([[0.45, 0.45], [0.7, 0.45], [0.7, 0.75], [0.45, 0.75]], []),
        ([[0.0, 0.5], [0.3, 0.5], [0.3, 0.9], [0.0, 0.9]], ["opened"]),
    ],
)
def test_where_something_is_allowed_nothing_is_reported(street, tmp_path, corners, reported):
    settings = boxes.settings(tmp_path, boxes.FRONTAGE)
    text = settings.read_text()
    settings.write_text(f'{text}[[camera.zone.allowed]]\npolygon = {corners}\nwhat = "a bench"\n')
    assert kinds(run(AGENT, "replay", street, "--settings", settings))[:1] == reported


@pytest.mark.parametrize("gap_s", [30.0, 3600.0])
def test_what_was_clear_before_the_pictures_failed_is_not_clear_since(gap_s):
    """The crate is taken; 3 s later the stream fails; when it is back, the crate is there again."""
    zone = FrontageZone(id="front", kind="frontage", polygon=boxes.WHOLE, dwell_s=8.0, clear_s=20.0)
    said = []
    watching = runner(Camera(id="cam-1", source="x", zone=(zone,)), tell=said.append)
    for t in range(52):
        watching.look(frame(clips.street_frame(t), float(t)))
    for t in range(16, 40):
        watching.look(frame(clips.street_frame(t), 52 + gap_s + t))
    assert [event.type.rsplit(".", 1)[1] for event in said if not event.type.endswith("updated")] == ["opened"]


def test_a_damaged_scene_is_put_aside_and_learned_again(tmp_path):
    camera = Camera(id="cam-1", source="x", zone=(FrontageZone(id="front", kind="frontage", polygon=boxes.WHOLE),))
    path = tmp_path / "scenes" / "cam-1.npz"
    path.parent.mkdir()
    good = runner(camera, state_dir=tmp_path)
    for t in range(16):
        good.look(frame(clips.street_frame(t), float(t)))
    good.close(16.0)
    content = path.read_bytes()
    rng = np.random.default_rng(3)
    for _ in range(20):
        damaged = bytearray(content)
        for _ in range(3):
            damaged[int(rng.integers(len(damaged)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(damaged))
        runner(camera, state_dir=tmp_path)
    assert not path.exists() or path.read_bytes() == bytes(damaged)


def test_an_order_for_a_zone_that_is_gone_touches_nothing(tmp_path, caplog):
    zone = FrontageZone(id="front", kind="frontage", polygon=boxes.WHOLE, dwell_s=8.0)
    said = []
    camera = Camera(id="cam-1", source="x", zone=(zone,))
    watching = runner(camera, state_dir=tmp_path, tell=said.append)
    for t in range(34):
        watching.look(frame(clips.street_frame(t), float(t)))
    orders.give(tmp_path, "cam-1", orders.Order("approve", "back"), 0.0)
    for t in range(34, 38):
        watching.look(frame(clips.street_frame(t), float(t)))
    assert [event.type.rsplit(".", 1)[1] for event in said] == ["opened"]
    assert "there is no 'back'" in caplog.text


def test_an_order_for_one_zone_is_for_the_infrared_look_as_well(tmp_path):
    zone = FrontageZone(id="front", kind="frontage", polygon=boxes.WHOLE, dwell_s=8.0)
    watching = runner(Camera(id="cam-1", source="x", zone=(zone,)), state_dir=tmp_path, learn_s=20.0)
    seconds = itertools.count()

    def look(samples, *, grey):
        for t in itertools.islice(seconds, samples):
            picture = clips.street_frame(0)
            if grey:
                picture = np.repeat(picture.mean(2, keepdims=True), 3, 2).astype(np.uint8)
            watching.look(frame(picture, float(t)))
        return watching.outlook.learning_zones

    assert look(40, grey=False) == ()
    assert look(40, grey=True) == ()
    # what is known already is there at once when the light goes back
    assert look(18, grey=False) == ()
    assert look(18, grey=True) == ()
    orders.give(tmp_path, "cam-1", orders.Order("approve", "front"), 0.0)
    assert look(8, grey=True) == ()
    # what was approved by infrared light looks otherwise in colour, and is learned there
    assert look(18, grey=False) == ("front",)
    assert look(30, grey=False) == ()


@pytest.mark.parametrize(("down_s", "opened"), [(8.0, True), (3600.0, False)])
def test_the_time_in_which_the_box_was_down_is_no_dwell(tmp_path, down_s, opened):
    zone = FrontageZone(id="front", kind="frontage", polygon=boxes.WHOLE, dwell_s=30.0)
    camera = Camera(id="cam-1", source="x", zone=(zone,))
    before = runner(camera, state_dir=tmp_path)
    for t in range(30):
        before.look(frame(clips.street_frame(t), float(t)))
    before.close(30.0)
    said = []
    after = runner(camera, state_dir=tmp_path, tell=said.append)
    for t in range(12):
        after.look(frame(clips.street_frame(26), 30 + down_s + t))
    assert bool(said) == opened
    for t in range(12, 24):
        after.look(frame(clips.street_frame(26), 30 + down_s + t))
    assert said


def test_the_picture_of_the_clear_place_is_there_before_it_is_decided(monkeypatch):
    """It takes as long as the other one, and an incident waits for it."""
    at_s, shot, told = [0.0], [], []

    def shoot(*arguments, **named):
        shot.append((at_s[0], named["role"]))
        return pictures.shoot(*arguments, **named)

    monkeypatch.setattr("agent.runner.shoot", shoot)
    camera = Camera(id="cam-1", source="-", zone=[FrontageZone(**boxes.FRONTAGE)])
    pipeline = runner(camera, told.append)
    for second in range(34):
        at_s[0] = float(second)
        pipeline.look(frame(clips.street_frame(second), second))
    (opened,) = told
    (decided_s,) = [when for when, role in shot if role == "at"]
    assert [when for when, role in shot if role == "clear"] == [decided_s - 1]
    assert [(one.role, one.view) for one in opened.data.evidence] == [
        ("clear", "wide"),
        ("clear", "close"),
        ("at", "wide"),
        ("at", "close"),
    ]

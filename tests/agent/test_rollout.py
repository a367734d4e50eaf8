"""A detector that a center rolls out, on a box whose clock is set by hand: real TLS, networks and shadow runs."""

import http.client
import json
import time
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from agent.box import detectors
from agent.box.clock import Clock
from agent.box.detectors import STARTS
from agent.box.fetch import FetchError, fetch
from agent.live import Agent, Eyes
from agent.rollout import LASTS_S, SHADOW_S, Rollout, rolled_out
from agent.settings import load_settings
from agent.shadow import Shadow, ShadowError, shadow
from agent.vision.detector import load_detector
from agent.vision.errors import DetectorError
from models.catalogue import own_model
from protocol.detectors import PART_BYTES, Limits, Manifest
from tests import boxes, clips, networks, rollouts
from tests.agent.test_live import incidents
from tests.agent.uplink.test_session import center as listening_center
from tests.rollouts import desired
from tests.runners import frame
from tests.services import Broker, wait_for


@pytest.fixture(scope="module")
def center(tmp_path_factory):
    one = rollouts.Center(tmp_path_factory.mktemp("center"))
    yield one
    one.close()


class Box:
    """A box with one camera, shown squares; it stands in for the agent."""

    connects = 1

    def __init__(self, center, folder):
        self.center, self.folder = center, folder
        self.own = networks.bright_squares(folder / "own.onnx", seed=99)
        self.config = load_settings(boxes.settings(folder, model=None, center="mqtt://127.0.0.1:1"))
        self.state = self.config.state_dir
        center.enrol(self.state)
        self.reports, self.now_s, self.made, self.cameras = [], 0.0, 0, [None]
        self.clock = SimpleNamespace(now=time.time, monotonic=lambda: self.now_s)
        self.start()

    def start(self):
        self.rollout = Rollout(self)
        self.rollout.every_s = 0.0
        self.look_by(self.rollout.path)

    def look_by(self, path):
        if path is not None and not detectors.is_whole(path):
            raise DetectorError("it is damaged")
        self.eyes = Eyes(load_detector(path or self.own), None, path=path or self.own)

    def publish(self, _leaf, payload, *, retain):
        self.reports.append(json.loads(payload)["data"])
        return retain

    def content(self):
        """A detector of its own; they differ in what they do not use."""
        self.made += 1
        return networks.bright_squares(self.folder / "new.onnx", seed=self.made + hash(self.folder) % 9999).read_bytes()

    def tell(self, rollout, signed, until=("shadow", "fetching"), show=True):
        """Tell it, and show it pictures until it is through."""
        self.rollout.take(desired(rollout, signed))
        rng = np.random.default_rng(1)

        def through():
            self.rollout.tick()
            if show:
                self.rollout.offer("cam-1", frame(networks.squares(rng)[0], 0.0))
            return self.rollout.standing.state not in until

        wait_for(through, "it is through", 30)
        return self.rollout.standing

    def files(self):
        return sorted(path.name for path in (self.state / "detectors").glob("*/*"))

    def lasts(self):
        self.now_s += LASTS_S
        self.rollout.tick()
        return self.rollout.standing.state


@pytest.fixture
def box(center, tmp_path):
    one = Box(center, tmp_path)
    yield one
    one.rollout.close()


def test_one_that_is_as_good_is_tried_then_taken_and_survives_a_restart(center, box):
    signed = center.add(box.content(), "good")
    standing = box.tell(1, signed)
    assert (standing.state, "it has 100.0% of" in standing.text) == ("trial", True)
    assert box.lasts() == "taken"
    assert box.reports[-1]["model"]["name"] == "good"
    box.rollout.close()
    box.start()
    assert (box.eyes.model.name, box.files()) == ("good", ["good.onnx"])
    # retained, it comes again
    assert box.tell(1, signed).state == "taken"
    # one whose session fails later goes back, to what was before
    assert box.tell(2, center.add(box.content(), "second")).state == "trial"
    assert (box.lasts(), box.files()) == ("taken", ["good.onnx", "second.onnx"])
    box.rollout.crashed(RuntimeError("no"))
    box.rollout.tick()
    assert (box.rollout.standing.state, box.eyes.model.name) == ("rolled_back", "good")


def test_half_of_its_weights_zeroed_is_refused(center, box):
    standing = box.tell(1, center.add(networks.damaged(box.content()), "worse"))
    assert standing.state == "refused"
    assert "it has 0.0% of" in standing.text
    assert (box.eyes.path, box.files()) == (box.own, [])
    assert box.reports[-1]["state"] == "refused"


def test_the_detector_that_ships_with_half_of_its_weights_zeroed_is_refused_on_a_real_street(tmp_path, vtest):
    good, worse = tmp_path / "good.onnx", tmp_path / "worse.onnx"
    good.write_bytes(own_model("street-person"))
    worse.write_bytes(networks.damaged(good.read_bytes()))
    clip, pictures = cv2.VideoCapture(str(vtest)), []
    for number in range(0, 800, 200):
        clip.set(cv2.CAP_PROP_POS_FRAMES, number)
        pictures.append(cv2.cvtColor(clip.read()[1], cv2.COLOR_BGR2RGB))
    with shadow(good, load_detector(good).min_score, worse, None, None, 1) as run:
        for rgb in pictures:
            run.look(rgb)
    assert run.verdict(Limits(pictures=4, finds=10, slower=9))[0] == "refused"


def test_what_is_not_for_this_box_is_refused_before_anything_is_fetched(center, box, tmp_path):
    raw = box.content()
    good = center.add(raw, "odd")
    foreign = rollouts.Center(tmp_path / "foreign")
    pem = (box.state / "center" / "box.pem").read_text()
    cases = [
        (foreign.add(raw, "odd"), "does not match"),
        (good.model_copy(update={"manifest": good.manifest.replace('"*"', '"?"')}), "does not match"),
        (good.model_copy(update={"certificate": pem[pem.index("-----BEGIN CERT") :]}), "another one's"),
        (center.add(box.content(), "b", boards=("riscv64", "*Pi 7*")), "it is for riscv64"),
        (center.add(box.content(), "r", replaces=("street-*",)), "this box has own"),
    ]
    foreign.close()
    for number, (signed, text) in enumerate(cases, 1):
        standing = box.tell(number, signed, show=False)
        assert (standing.state, text in standing.text) == ("refused", True), standing
    assert not (box.state / "detectors").exists()


def test_a_file_that_is_cut_short_or_another_one_at_the_center_is_refused(center, box):
    raw = box.content()
    signed = center.add(raw, "short")
    for number, wrong, text in ((1, raw[:-1], "the center has"), (2, bytes(len(raw)), "expected a file of SHA-256")):
        with center.store.writing() as session:
            center.row(session, "short").content = wrong
        standing = box.tell(number, signed)
        assert (standing.state, text in standing.text) == ("refused", True), standing
    assert list((box.state / "detectors").iterdir()) == []


def test_a_download_that_is_broken_off_goes_on_where_it_was(center, box, monkeypatch):
    raw = bytes(np.random.default_rng(1).integers(0, 255, 3 * PART_BYTES + 10, np.uint8))
    manifest = Manifest.model_validate_json(center.add(raw, "large").manifest)
    wanted = detectors.wanted(box.state, manifest)
    asked, real, real_read = [], http.client.HTTPSConnection.request, http.client.HTTPResponse.read

    def request(self, verb, path, headers):
        asked.append(int(headers["range"].removeprefix("bytes=").partition("-")[0]) / PART_BYTES)
        if len(asked) == 4:
            raise ConnectionResetError("it broke")
        return real(self, verb, path, headers=headers)

    def read(self, amt):
        if self.length == PART_BYTES // 2 and len(asked) == 2:  # what came of the part stays
            raise ConnectionResetError("it broke")
        return real_read(self, amt)

    def fails():
        with pytest.raises(FetchError) as caught:
            fetch(box.state, wanted)
        return not caught.value.final

    monkeypatch.setattr(http.client.HTTPSConnection, "request", request)
    monkeypatch.setattr(http.client.HTTPResponse, "read", read)
    assert fails()
    fetch(box.state, wanted)
    path = wanted.target
    assert (path.read_bytes(), asked) == (raw, [0, 1, 1.5, 2.5, 2.5])
    # what a cut of the power has left is not believed
    path.unlink()
    (path.parent.parent / f"{manifest.sha256}.part").write_bytes(bytes(PART_BYTES))
    assert fails()
    fetch(box.state, wanted)
    assert path.read_bytes() == raw


def test_an_agent_that_does_not_last_with_it_or_finds_it_damaged_goes_back(center, box):
    """Nothing ends in order here: each start finds what the one before has left on the disk."""
    box.tell(1, center.add(box.content(), "killer"))
    for _ in range(STARTS - 1):
        box.start()
        assert box.eyes.model.name == "killer"
    (box.state / "detectors.json").write_bytes(b"worn")
    box.start()
    assert box.eyes.path == box.own
    box.rollout.tick()
    assert (box.reports[-1]["state"], box.reports[-1]["model"]["name"]) == ("rolled_back", "own")
    assert f"began {STARTS} times" in box.reports[-1]["text"]
    box.tell(2, center.add(box.content(), "worn"))
    box.rollout.path.write_bytes(b"worn")
    with pytest.raises(DetectorError):
        box.start()


def test_what_the_center_stops_ends_and_an_empty_street_decides_nothing(center, box):
    signed = center.add(box.content(), "idle")
    box.tell(1, signed, until=("fetching",), show=False)
    assert box.tell(1, None, show=False).state == "kept"
    box.tell(2, signed, until=("fetching",), show=False)
    box.now_s += SHADOW_S
    standing = box.tell(2, signed, show=False)
    assert (standing.state, "too little to compare by" in standing.text) == ("undecided", True)
    assert box.tell(3, signed).state == "trial"
    assert (box.tell(3, None).state, box.eyes.path) == ("kept", box.own)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, "trial"),
        ({"pictures": 3}, None),
        ({"finds": 21}, None),
        ({"recall": 0.91}, "refused"),
        ({"precision": 0.81}, "refused"),
        ({"slower": 1.4}, "refused"),
        ({"memory_mb": 8}, "refused"),
    ],
)
def test_each_limit_counts(limits, expected):
    run = Shadow(None, [[10, 9, 5, 4, 15, 10, 9], [10, 9, 5, 4, 15, 10, 7]])
    found = run.verdict(Limits(**{"pictures": 2, "finds": 20, **limits}))
    assert (found and found[0]) == expected


ANSWER = np.zeros((1, 20, 6), np.float32)
ANSWER[0, 0] = (8, 8, 24, 40, 0.9, 0)


def compare(own, other, signal):
    with shadow(own, 0.25, other, None, None, 1) as run:
        if signal:
            run.child.send_signal(signal)
        run.look(np.full((64, 64, 3), 60, np.uint8))


def test_a_shadow_run_bears_what_ends_its_process_or_never_answers(tmp_path, monkeypatch):
    own = networks.bright_squares(tmp_path / "own.onnx")
    touchy = networks.touchy(tmp_path / "touchy.onnx", ANSWER, (0, 0, 64, 64), 0.5)
    for other, signal, text in (
        (touchy, None, "it failed on a picture"),
        (tmp_path / "none.onnx", None, "cannot be read"),
        (touchy, 9, "ended its process"),
        (touchy, 19, "no answer within"),
    ):
        monkeypatch.setattr("agent.shadow.ANSWER_S", 0.3 if signal == 19 else 30.0)
        with pytest.raises(ShadowError, match=text):
            compare(own, other, signal)


def test_one_that_fails_on_the_street_is_rolled_back_and_the_incident_comes(center, tmp_path, monkeypatch):
    """It passes its shadow run before the crate stands there, and its session fails on the first picture with it."""
    monkeypatch.setenv("CITYEYE_MODELS", str(tmp_path))
    networks.fixed(tmp_path / "own.onnx", ANSWER)
    # the letterbox puts 640 × 360 into the rows 14 to 50 of 64
    new = networks.touchy(tmp_path / "new.onnx", ANSWER, (33, 33, 40, 38), 0.35)
    clip = clips.write(tmp_path / "clip.mp4", lambda t: clips.street_frame(t + 9), 18)
    signed = center.add(new.read_bytes(), "touchy")
    with Broker("iotcore", tmp_path / "broker") as broker, listening_center(broker.port) as listening:

        def said(name):
            return [json.loads(one.payload)["data"][name] for one in listening.on("model/reported")]

        camera = {"learn_s": 4.0, "sample_s": 0.5}
        zone = {**boxes.FRONTAGE, "dwell_s": 3.0}
        toml = boxes.settings(tmp_path, zone, source=str(clip), camera=camera, model="own", center=broker.url)
        config = load_settings(toml)
        center.enrol(config.state_dir)
        with Agent(config, Clock()) as agent:
            agent.rollout.every_s = 0.2
            listening.client.publish("cityeye/1/s/box-1/model/desired", desired(7, signed), 1, retain=True)
            wait_for(lambda: "trial" in said("state"), "it is tried")
            wait_for(lambda: said("state")[-1] == "rolled_back", "it is taken back", 30)
            (event,) = wait_for(lambda: incidents(listening), "the crate is told all the same", 30)
        assert "failed on a picture" in said("text")[-1]
        assert [one["name"] for one in said("model")][-1] == event["data"]["model"]["name"] == "own"
        assert (event["type"], rolled_out(config)) == ("cityeye.incident.opened", None)

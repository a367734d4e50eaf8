"""A detector that a center rolls out, on a box whose clock is set by hand: real TLS, networks and shadow runs."""

import http.client
import json
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from agent.box import detectors
from agent.box.clock import Clock
from agent.box.detectors import PART_BYTES, STARTS, FetchError, file_of
from agent.box.twin import copy_of
from agent.live import Agent
from agent.rollout import LASTS_S, SHADOW_S, InUse, Rollout, rolled_out
from agent.settings import DetectorSection, load_settings
from agent.shadow import Shadow, ShadowError, verdict
from agent.vision.detector import DetectorError, load_detector
from models.catalogue import own_model
from protocol.detectors import Compared, Limits, Manifest
from protocol.messages import Model
from tests import boxes, clips, networks, rollouts
from tests.agent.test_live import incidents
from tests.agent.uplink.test_session import center as listening_center
from tests.rollouts import desired
from tests.runners import frame
from tests.services import Broker, wait_for

PERSON = [(8.0, 8.0, 24.0, 40.0, 0.9, 0.0)]


@pytest.fixture(scope="module")
def center(tmp_path_factory):
    one = rollouts.Center(tmp_path_factory.mktemp("center"))
    yield one
    one.close()


def content(folder, name, seed):
    """A detector of its own; they differ in what they do not use."""
    return networks.bright_squares(folder / f"{name}.onnx", seed=seed).read_bytes()


class Box:
    """A box with one camera; what it is told and shown is the test's, what it does is its own."""

    def __init__(self, center, folder):
        self.state = folder / "state"
        self.state.mkdir(exist_ok=True)
        self.id = center.enrol(self.state)
        self.own = networks.bright_squares(folder / "own.onnx", seed=99)
        self.reports, self.now_s = [], 0.0
        self.start()

    def start(self):
        self.rollout = Rollout(
            site="s",
            box=self.id,
            folder=self.state,
            section=DetectorSection(),
            cameras=lambda: 1,
            in_use=lambda: self.in_use,
            use=self.use,
            publish=self.publish,
            connects=lambda: 1,
            now=time.time,
            monotonic=lambda: self.now_s,
            every_s=0.0,
        )
        self.use(self.rollout.path)

    def use(self, path):
        if path is not None and not detectors.is_whole(path):
            raise DetectorError("it is damaged")
        loaded = load_detector(path or self.own)
        self.in_use = InUse(Model(name=loaded.name, sha256=loaded.sha256), path or self.own, loaded.min_score)

    def publish(self, _leaf, payload, *, retain):
        assert retain
        self.reports.append(json.loads(payload)["data"])
        return True

    def settle(self, rollout, signed, action="take", until=("shadow", "fetching"), show=True):
        """Tell it, and show it pictures until it is through."""
        self.rollout.take(desired(rollout, signed, action))
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


@pytest.fixture
def box(center, tmp_path):
    one = Box(center, tmp_path)
    yield one
    one.rollout.close()


def test_one_that_is_as_good_is_tried_then_taken_and_survives_a_restart(center, box, tmp_path):
    signed = center.add(content(tmp_path, "good", 2), "good")
    standing = box.settle(1, signed)
    assert (standing.state, standing.compared.recall, standing.compared.precision) == ("trial", 1.0, 1.0)
    assert box.in_use.model.name == "good"
    box.now_s += LASTS_S
    box.rollout.tick()
    assert (box.reports[-1]["state"], box.reports[-1]["model"]["name"]) == ("taken", "good")
    box.rollout.close()
    box.start()
    assert (box.in_use.model.name, box.files()) == ("good", ["good.onnx"])
    # retained, it comes again; then another one is wanted, and taken back by hand
    box.settle(1, signed)
    assert box.rollout.standing.state == "taken"
    second = center.add(content(tmp_path, "second", 3), "second")
    assert box.settle(2, second).state == "trial"
    assert box.files() == ["good.onnx", "second.onnx"]
    box.now_s += LASTS_S
    box.rollout.tick()
    assert box.settle(2, None, "back").state == "back"
    assert box.in_use.model.name == "good"


def test_half_of_its_weights_zeroed_is_refused(center, box, tmp_path):
    signed = center.add(networks.damaged(content(tmp_path, "worse", 4)), "worse")
    standing = box.settle(1, signed)
    assert standing.state == "refused"
    assert "finds of the present detector that it has: expected 70% at least, got 0%" in standing.text
    assert (box.in_use.path, box.files()) == (box.own, [])
    assert box.reports[-1]["compared"]["recall"] == 0


def test_the_detector_that_ships_with_half_of_its_weights_zeroed_is_refused_on_a_real_street(tmp_path, vtest):
    good, worse = tmp_path / "good.onnx", tmp_path / "worse.onnx"
    good.write_bytes(own_model("street-person"))
    worse.write_bytes(networks.damaged(good.read_bytes()))
    pictures = list(clips_of(vtest))
    for other, expected in ((good, "good"), (worse, "refused")):
        with Shadow(good, load_detector(good).min_score, other, DetectorSection(), 1) as shadow:
            for rgb in pictures:
                shadow.look(rgb)
            found = verdict(shadow.compared, Limits(pictures=4, finds=10, slower=5), last=False)
        assert found[0] == expected, (other, shadow.compared)


def clips_of(path):
    clip = cv2.VideoCapture(str(path))
    for number in range(0, 800, 200):
        clip.set(cv2.CAP_PROP_POS_FRAMES, number)
        yield cv2.cvtColor(clip.read()[1], cv2.COLOR_BGR2RGB)


def test_what_is_not_for_this_box_is_refused_before_anything_is_fetched(center, box, tmp_path):
    raw = content(tmp_path, "odd", 5)
    good = center.add(raw, "odd")
    foreign = rollouts.Center(tmp_path / "foreign")
    cases = [
        (None, "got none"),
        (foreign.add(raw, "odd"), "does not match"),
        (good.model_copy(update={"manifest": good.manifest.replace('"*"', '"?"')}), "does not match"),
        (good.model_copy(update={"certificate": box_certificate(box)}), "another one's"),
        (center.add(content(tmp_path, "b", 6), "b", boards=("riscv64", "*Pi 7*")), "expected a box of riscv64"),
        (center.add(content(tmp_path, "r", 7), "r", replaces=("street-*",)), "this one has own"),
    ]
    foreign.close()
    for number, (signed, text) in enumerate(cases, 1):
        standing = box.settle(number, signed, show=False)
        assert standing.state == "refused", text
        assert text in standing.text
    assert not (box.state / "detectors").exists()
    box.rollout.section = DetectorSection(model="none")
    assert "settings say which detector" in box.settle(9, good, show=False).text


def box_certificate(box):
    return (
        "-----BEGIN CERTIFICATE-----"
        + (box.state / "center" / "box.pem").read_text().split("-----BEGIN CERTIFICATE-----")[1]
    )


def test_a_file_that_is_cut_short_or_another_one_at_the_center_is_refused(center, box, tmp_path):
    raw = content(tmp_path, "short", 8)
    signed = center.add(raw, "short")
    for number, wrong, text in ((1, raw[:-1], "it is cut short"), (2, bytes(len(raw)), "expected a file of SHA-256")):
        center.cut_short("short", wrong)
        standing = box.settle(number, signed)
        assert (standing.state, text in standing.text) == ("refused", True), standing.text
    assert list((box.state / "detectors").iterdir()) == []


def test_a_download_that_is_broken_off_goes_on_where_it_was(center, box, monkeypatch):
    raw = bytes(np.random.default_rng(1).integers(0, 255, 3 * PART_BYTES + 10, np.uint8))
    signed = center.add(raw, "large")
    manifest = Manifest.model_validate_json(signed.manifest)
    asked = []
    real = http.client.HTTPSConnection.request

    def request(self, verb, path, headers):
        asked.append(headers["range"])
        if len(asked) == 3:
            raise ConnectionResetError("it broke")
        return real(self, verb, path, headers=headers)

    monkeypatch.setattr(http.client.HTTPSConnection, "request", request)
    with pytest.raises(FetchError, match="it broke") as caught:
        detectors.fetch(box.state, manifest, lambda: False)
    assert not caught.value.final
    path = detectors.fetch(box.state, manifest, lambda: False)
    assert path.read_bytes() == raw
    assert [one.split("=")[1].split("-")[0] for one in asked] == [str(n * PART_BYTES) for n in (0, 1, 2, 2, 3)]
    # what a cut of the power has left is not believed
    path.rename(path.parent.parent / f"{manifest.sha256}.part")
    (path.parent.parent / f"{manifest.sha256}.part").write_bytes(bytes(PART_BYTES))
    with pytest.raises(FetchError) as caught:
        detectors.fetch(box.state, manifest, lambda: False)
    assert not caught.value.final
    assert detectors.fetch(box.state, manifest, lambda: False).read_bytes() == raw


def test_an_agent_that_does_not_last_with_it_goes_back(center, box, tmp_path):
    """Nothing ends in order here: each start finds what the one before has left on the disk."""
    box.settle(1, center.add(content(tmp_path, "killer", 9), "killer"))
    for _ in range(STARTS - 1):
        box.start()
        assert box.in_use.model.name == "killer"
    copy_of(box.state / "detectors.json").write_bytes(b"worn")
    box.start()
    assert box.in_use.path == box.own
    box.rollout.tick()
    assert (box.reports[-1]["state"], box.reports[-1]["model"]["name"]) == ("rolled_back", "own")
    assert f"began {STARTS} times" in box.reports[-1]["text"]


def test_one_that_was_taken_goes_back_as_well_when_its_session_fails(center, box, tmp_path):
    box.settle(1, center.add(content(tmp_path, "late", 10), "late"))
    box.now_s += LASTS_S
    box.rollout.tick()
    box.rollout.crashed(RuntimeError("no"))
    box.rollout.tick()
    assert (box.rollout.standing.state, box.in_use.path) == ("rolled_back", box.own)


def test_what_the_center_stops_ends_and_an_empty_street_decides_nothing(center, box, tmp_path):
    signed = center.add(content(tmp_path, "idle", 11), "idle")
    box.settle(1, signed, until=("fetching",), show=False)
    assert box.settle(1, None, "keep", show=False).state == "kept"
    box.rollout.take(desired(2, signed))
    wait_for(lambda: box.rollout.tick() or box.rollout.standing.state == "shadow", "it compares")
    box.now_s += SHADOW_S
    standing = box.settle(2, signed, show=False)
    assert standing.state == "undecided"
    assert "a day has shown 0 pictures" in standing.text


GOOD = {
    "pictures": 120,
    "finds": 100,
    "recall": 0.9,
    "precision": 0.9,
    "ms": 20.0,
    "present_ms": 15.0,
    "memory_mb": 9.0,
}


@pytest.mark.parametrize(
    ("given", "last", "expected"),
    [
        ({}, False, "good"),
        ({"pictures": 119}, False, None),
        ({"finds": 99}, False, None),
        ({"finds": 99}, True, "undecided"),
        ({"recall": 0.69}, False, "refused"),
        ({"precision": 0.69}, False, "refused"),
        # it has found nothing that it is sure of
        ({"precision": None}, False, "refused"),
        ({"ms": 23.0}, False, "refused"),
        ({"memory_mb": 65.0}, False, "refused"),
        ({"memory_mb": -5.0}, False, "good"),
    ],
)
def test_each_limit_counts(given, last, expected):
    found = verdict(Compared(**GOOD | given), Limits(), last=last)
    assert (found and found[0]) == expected


def compare(own, other, how):
    with Shadow(own, 0.25, other, DetectorSection(), 1) as shadow:
        if how in ("kill", "stop"):
            shadow._child.send_signal({"kill": 9, "stop": 19}[how])
        shadow.look(np.full((64, 64, 3), 60, np.uint8))


def test_a_shadow_run_bears_what_ends_its_process_or_never_answers(tmp_path, monkeypatch):
    own = networks.bright_squares(tmp_path / "own.onnx")
    touchy = networks.touchy(tmp_path / "touchy.onnx", np.zeros((1, 20, 6)), (0, 0, 64, 64), 0.5)
    for other, how, text in (
        (touchy, "look", "it failed on a picture"),
        (tmp_path / "none.onnx", "", "cannot be read"),
        (own, "kill", "ended its process .signal 9"),
        (own, "stop", "no answer within"),
    ):
        monkeypatch.setattr("agent.shadow.ANSWER_S", 0.3 if how == "stop" else 30.0)
        with pytest.raises(ShadowError, match=text):
            compare(own, other, how)


def test_one_that_fails_on_the_street_is_rolled_back_and_the_incident_comes(center, tmp_path):
    """It passes its shadow run before the crate stands there, and its session fails on the first picture with it."""
    answer = np.zeros((1, 20, 6), np.float32)
    answer[0, 0] = PERSON[0]
    own = networks.fixed(tmp_path / "own.onnx", answer)
    # the letterbox puts 640 × 360 into the rows 14 to 50 of 64
    new = networks.touchy(tmp_path / "new.onnx", answer, (33, 33, 40, 38), 0.35)
    (tmp_path / "folder").mkdir()
    own.rename(tmp_path / "folder" / "own.onnx")
    clip = clips.write(tmp_path / "clip.mp4", lambda t: clips.street_frame(t + 4), 30)
    signed = center.add(new.read_bytes(), "touchy", pictures=2, finds=2)
    with Broker("iotcore", tmp_path / "broker") as broker, listening_center(broker.port) as listening:
        path = boxes.settings(
            tmp_path,
            {**boxes.FRONTAGE, "dwell_s": 3.0},
            source=str(clip),
            camera={"learn_s": 4.0, "sample_s": 0.5},
            model="own",
            center=broker.url,
        )
        config = load_settings(path)
        center.enrol(config.state_dir)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CITYEYE_MODELS", str(tmp_path / "folder"))
            with Agent(config, Clock()) as agent:
                agent.rollout.every_s = 0.2
                listening.client.publish("cityeye/1/s/box-1/model/desired", desired(7, signed), 1, retain=True)
                wait_for(lambda: "touchy" in models(listening), "it is tried")
                wait_for(lambda: said(listening)[-1]["state"] == "rolled_back", "it is taken back", 30)
                (event,) = wait_for(lambda: incidents(listening), "the crate is told all the same", 30)
        assert "failed on a picture" in said(listening)[-1]["text"]
        assert event["type"] == "cityeye.incident.opened"
        assert (models(listening)[-1], event["data"]["model"]["name"]) == ("own", "own")
        assert rolled_out(config) is None


def said(listening):
    return [json.loads(one.payload)["data"] for one in listening.on("model/reported")]


def models(listening):
    return [one["model"]["name"] for one in said(listening)]


def test_a_file_that_is_damaged_on_the_disk_is_not_used(center, box, tmp_path):
    box.settle(1, center.add(content(tmp_path, "worn", 12), "worn"))
    file_of(box.state, box.rollout.standing.now).write_bytes(b"worn")
    assert Path(box.rollout.path).name == "worn.onnx"
    with pytest.raises(DetectorError):
        box.start()

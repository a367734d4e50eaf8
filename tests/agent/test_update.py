"""A system that a center rolls out, as the agent does it: real HTTPS and files; root's word is what the test writes."""

import json
from concurrent.futures import Future
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from agent.box.clock import Clock
from agent.box.identity import boot_id
from agent.box.system import Wanted
from agent.live import Agent
from agent.settings import load_settings
from agent.update import STOPPED, Update
from agent.vision.detector import load_detector
from protocol.detectors import PART_BYTES
from tests import boxes, clips, networks
from tests.agent import test_rollout
from tests.agent.uplink.test_session import center as listening_center
from tests.rollouts import Center, bundle, desired_system
from tests.services import Broker, wait_for


@pytest.fixture(scope="module")
def center(tmp_path_factory):
    one = Center(tmp_path_factory.mktemp("center"))
    yield one
    one.close()


class Camera:
    def __init__(self, name, state):
        self.camera, self.condition, self.asked = name, SimpleNamespace(state=state), []

    def ask(self, question, *, small):
        assert small
        self.asked.append((question, Future()))
        return self.asked[-1][1]

    def show(self, rgb):
        while self.asked:
            question, answer = self.asked.pop()
            try:
                answer.set_result(question(None, SimpleNamespace(rgb=lambda: rgb)))
            except Exception as fault:  # noqa: BLE001 - as the thread does
                answer.set_exception(fault)


class Box(test_rollout.Box):
    reached = True

    def __init__(self, center, folder):
        self.said = folder / "system.json"
        super().__init__(center, folder)
        self.folder, self.eyes = self.state / "system", SimpleNamespace(detector=None)
        self.cameras = [Camera("gate", "live"), Camera("yard", "lost")]

    def start(self):
        self.update = Update(self, self.said)

    def root(self, wanted=None, state="", rollout=1, slot="a", **more):
        last = None
        if wanted is not None:
            last = {"rollout": rollout, "version": wanted.version, "sha256": wanted.sha256, "slot": "b", "state": state}
        said = {"slot": slot, "version": "0.1.0", "compatible": "cityeye-amd64", "trial": state == "trial"}
        self.said.write_text(json.dumps({**said, "last": last and {"text": "", "live": [], **last, **more}}))

    def tick(self):
        """Roll-out, state and text as they are told then."""
        self.update.tick()
        return tuple(self.reports[-1][name] for name in ("rollout", "state", "text")) if self.reports else ()

    def tell(self, rollout, wanted=None):
        """Tell it, and let it go on until it has settled or asks root."""
        self.update.take(desired_system(rollout, wanted))
        wait_for(lambda: self.tick()[1] not in ("fetching", "none"), "it is through", 30)
        return self.tick()

    def files(self):
        return sorted(path.name for path in self.folder.iterdir())


@pytest.fixture
def box(center, tmp_path):
    one = Box(center, tmp_path)
    yield one
    one.update.close()


def test_a_bundle_is_fetched_asked_for_tried_and_said_to_be_healthy(center, box, tmp_path):
    wanted = center.add_system(bundle(tmp_path / "b", bytes(3 * PART_BYTES)))
    box.update.take(desired_system(1, wanted))
    assert box.tick() == ()  # root has said nothing yet
    box.root()
    assert box.tell(1, wanted) == (1, "installing", "")
    assert (box.folder / "bundle.raucb").read_bytes() == (tmp_path / "b").read_bytes()
    assert Wanted.of((box.folder / "wanted.json").read_bytes()) == Wanted(1, "0.2.0", wanted.sha256, ("gate",))
    # started again before root took it, it asks no second time
    box.start()
    assert (box.tell(1, wanted)[1], box.files()) == ("installing", ["bundle.raucb", "wanted.json"])
    for name in box.files():
        (box.folder / name).unlink()
    # the other slot; nothing of what must be there is
    box.root(wanted, "trial", slot="b", live=["gate", "shed"])
    box.eyes.detector = load_detector(networks.bright_squares(tmp_path / "own.onnx"))
    box.cameras, box.reached = [Camera("gate", "starting")], False
    box.start()
    assert box.tell(1, wanted)[2] == "it waits for pictures of gate, shed and the detector and an answer of the center"
    box.cameras[0].condition.state = "live"
    box.cameras.append(Camera("shed", "live"))
    assert box.tick()[2] == "it waits for the detector and an answer of the center"
    box.cameras[0].show(None)  # a look that fails is none
    box.tick()
    box.cameras[1].show(networks.squares(np.random.default_rng(1))[0])
    assert box.tick()[2] == "it waits for an answer of the center"
    assert not (box.folder / "healthy").exists()
    box.reached = True
    assert box.tick() == (1, "trial", "")
    assert (box.folder / "healthy").read_text() == boot_id()
    box.root(wanted, "taken", slot="b")
    assert box.tick() == (1, "taken", "")
    # retained, it comes again; over, it stays what it is; in use, it is not fetched for another roll-out
    assert box.tell(1)[1] == "taken"
    assert box.tell(2, wanted) == (2, "taken", "it was in use already")
    assert box.tell(2)[1] == "taken"


def test_a_trial_that_the_center_stops_is_never_healthy(center, box, tmp_path):
    wanted = center.add_system(bundle(tmp_path / "b", b"stopped", "0.2.2"))
    box.update.take(desired_system(1, None))
    box.root(wanted, "trial")
    assert (box.tick(), (box.folder / "healthy").exists()) == ((1, "trial", STOPPED), False)
    box.root(wanted, "rolled_back", text="it was not healthy in time")
    box.start()
    assert box.tell(1, wanted) == (1, "rolled_back", "it was not healthy in time")
    # the same bundle by another roll-out is another try
    assert box.tell(2, wanted)[1] == "installing"


def test_what_is_not_for_this_box_or_not_to_be_had_is_refused_and_a_stop_ends_it(center, box, tmp_path):
    box.root()
    arm = center.add_system(bundle(tmp_path / "arm", compatible="cityeye-arm64"))
    assert box.tell(1, arm) == (1, "refused", "it is for cityeye-arm64, this box is cityeye-amd64")
    gone = arm.model_copy(update={"compatible": "cityeye-amd64", "sha256": "0" * 64})
    assert "the center has none" in box.tell(2, gone)[2]
    sound = center.add_system(bundle(tmp_path / "b", b"sound", version="0.3.0"))
    center.systems.joinpath(f"{sound.sha256}.raucb").write_bytes(bytes(sound.size))
    assert "expected a file of SHA-256" in box.tell(3, sound)[2]
    assert box.tell(4, sound.model_copy(update={"size": 4 << 30}))[1] == "refused"
    assert box.files() == []
    # the file is not on that machine: later
    center.systems.joinpath(f"{sound.sha256}.raucb").unlink()
    box.update.take(desired_system(5, sound))
    assert (box.tick()[1], box.tell(5)) == ("fetching", (5, "kept", STOPPED))


def test_a_real_agent_on_trial_is_healthy_once_its_camera_is_live_and_the_center_has_answered(tmp_path, monkeypatch):
    monkeypatch.setenv("CITYEYE_MODELS", str(tmp_path))
    networks.bright_squares(tmp_path / "own.onnx")
    clip = clips.write(tmp_path / "clip.mp4", clips.street_frame, 30)
    last = {"rollout": 1, "sha256": "0" * 64, "slot": "b", "state": "trial", "text": "", "live": ["cam-1"]}
    said = {"slot": "b", "version": "0.2.0", "compatible": "cityeye-amd64", "trial": True, "last": last}
    (tmp_path / "system.json").write_text(json.dumps(said))
    monkeypatch.setattr("agent.live.Update", partial(Update, said=tmp_path / "system.json"))
    with Broker("iotcore", tmp_path / "broker") as broker, listening_center(broker.port) as center:
        toml = boxes.settings(tmp_path, boxes.FRONTAGE, source=str(clip), model="own", center=broker.url)

        def text():
            told = center.on("system/reported")
            return json.loads(told[-1].payload)["data"]["text"] if told else None

        with Agent(load_settings(toml), Clock()) as agent:
            wait_for(lambda: text() == "it waits for an answer of the center", "all but that", 30)
            path = agent.config.state_dir / "system" / "healthy"
            assert not path.exists()
            center.answer(stored=[json.loads(center.on("status")[-1].payload)["id"]])
            wait_for(lambda: text() == "", "it is told", 10)
            assert path.read_text() == boot_id()

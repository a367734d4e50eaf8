"""Cameras whose settings change while their thread does not end; and questions that are answered in the last moment."""

import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate
from types import SimpleNamespace

import pytest

from agent import live, verbs
from agent.box.clock import Clock
from agent.live import Agent, CameraThread, Eyes
from agent.settings import load_settings
from agent.uplink.executor import CommandError
from agent.uplink.outbox import Outbox
from tests import boxes
from tests.services import wait_for


class Line:
    """What a session is told."""

    def __init__(self):
        self.states, self.forgotten = [], []

    def publish_camera(self, state):
        self.states.append(state)

    def forget_camera(self, camera):
        self.forgotten.append(camera)


@pytest.fixture
def agent(tmp_path, monkeypatch):
    """One whose first camera thread hears nothing until `released`."""
    monkeypatch.setattr(live, "JOIN_S", 0.2, raising=False)
    settings = load_settings(boxes.settings(tmp_path, boxes.FRONTAGE))
    agent = Agent(settings, Clock(), source_of=lambda camera, _config: SimpleNamespace(camera=camera.id))
    agent._reporter = SimpleNamespace(settings_digest="", outbox=Outbox(None, time.time))
    agent._session, agent.eyes = Line(), Eyes(None, None)
    agent.watching, agent.released = [], threading.Event()

    def watch(thread):
        agent.watching.append(thread)
        (agent.released if thread is agent.watching[0] else thread._stopping).wait(20)

    monkeypatch.setattr(CameraThread, "_watch", watch)
    agent.cameras = agent._threads(settings.settings.camera, [SimpleNamespace(camera="cam-1")])
    for thread in agent.cameras:
        thread.start()
    wait_for(lambda: agent.watching, "it watches")
    yield agent
    agent.released.set()
    for thread in (*agent.cameras, *agent.watching):
        thread.stop()
        thread.join(5)
    agent._reporter.outbox.close()


def changed(agent, *learn_s):
    document = agent.config.document
    cameras = tuple(document.camera[0].model_copy(update={"learn_s": one}) for one in learn_s)
    return document.model_copy(update={"camera": cameras})


def test_a_thread_that_does_not_end_is_told_and_not_doubled(agent, caplog):
    first = changed(agent, 5.0)
    assert agent._apply(first) == ["cam-1"]
    assert agent._apply(changed(agent, 6.0)) == ["cam-1"]
    assert "camera cam-1: its thread does not end" in caplog.text
    wait_for(lambda: agent._session.states, "it is told")
    assert (agent._session.states[-1].state, agent._session.states[-1].text.split(";")[0]) == (
        "starting",
        "its last pipeline does not end",
    )
    time.sleep(0.3)
    assert len(agent.watching) == 1
    agent._let_go()
    assert agent._lingering
    agent.released.set()
    wait_for(lambda: len(agent.watching) == 2, "the newest one goes on")
    assert agent.watching[1] is agent.cameras[0]
    agent._let_go()
    assert not agent._lingering
    assert agent._session.forgotten == []


def test_what_a_camera_that_is_gone_says_in_its_end_is_taken_back(agent):
    agent._apply(changed(agent))
    assert (agent.cameras, agent._session.forgotten) == ([], ["cam-1"])
    agent.released.set()
    agent.watching[0].join(5)
    agent._let_go()
    assert agent._session.forgotten == ["cam-1"] * 2


class Asked:
    """A camera of which a question is answered late."""

    camera, state = "cam-1", "live"

    def __init__(self, *, begun):
        self.future, self.begun = Future(), begun

    def ask(self, _question, **_kinds):
        if self.begun:
            self.future.set_running_or_notify_cancel()
        return self.future


def test_what_a_camera_has_begun_is_waited_for_as_it_cannot_be_taken_back(monkeypatch):
    monkeypatch.setattr(verbs, "PICTURE_S", 0.05)
    waiting = Asked(begun=False)
    with pytest.raises(TooLate):
        verbs._asked(waiting, None)
    assert waiting.future.cancelled()
    begun = Asked(begun=True)
    threading.Timer(0.3, begun.future.set_result, ("done",)).start()
    assert verbs._asked(begun, None) == "done"
    monkeypatch.setattr(verbs, "ANSWER_S", 0.05, raising=False)
    with pytest.raises(CommandError, match="may still be done"):
        verbs._asked(Asked(begun=True), None)

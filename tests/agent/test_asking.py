"""Who asks a camera gets an answer of its main stream, whatever its sub-stream brings meanwhile."""

import threading
from concurrent.futures import TimeoutError as TooLate
from types import SimpleNamespace

import numpy as np
import pytest

from agent import verbs
from agent.box.clock import Clock
from agent.camera.demand import Demand
from agent.camera.frame import Frame
from agent.camera.source import Source
from agent.live import CameraThread
from agent.runner import Outlook
from agent.uplink.executor import CommandError
from protocol.commands import SnapshotArguments, VerifyArguments
from protocol.settings import FrontageZone
from tests.boxes import WHOLE

FRONT = FrontageZone(id="front", kind="frontage", polygon=tuple(map(tuple, WHOLE)), dwell_s=3.0)
PLANES = np.zeros((3, 2), np.uint8)


class Streams:
    """A camera whose pictures come when the test says so."""

    def __init__(self, *_, **__):
        self.came, self.fps, self._left = threading.Semaphore(0), [], []
        self.looked = threading.Semaphore(0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def give(self, *, sub):
        """Let a picture come, and wait until all that is to be done with it is done."""
        self._left.append(Frame(float(len(self._left)), key=True, planes=PLANES, sub=sub))
        self.came.release()
        assert self.looked.acquire(timeout=5)

    def events(self):
        number = 0
        while self.came.acquire():
            if number == len(self._left):
                return
            yield self._left[number]
            number += 1
            self.looked.release()

    def demand(self, fps, _for_s):
        self.fps.append(fps)

    def close(self):
        self.came.release()


class Runner:
    """Does nothing."""

    outlook = Outlook()

    def demand(self, at_s):
        return Demand(0.0, None, at_s)

    def look(self, _frame):
        pass

    hide = beat = close = look


@pytest.fixture
def camera(monkeypatch):
    """A thread with two streams, and what they bring."""
    streams = Streams()
    monkeypatch.setattr("agent.live.LiveCamera", lambda *_, **__: streams)
    source = Source("cam-1", "network", "rtsp://10.0.0.5/1", 1.0, sub="rtsp://10.0.0.5/2")
    thread = CameraThread((FRONT,), source, Runner, None, Clock())
    thread.start()
    streams.give(sub=False)
    yield thread, streams
    thread.stop()
    thread.join(5)


def test_the_next_main_picture_is_what_is_looked_at(camera):
    thread, streams = camera
    asked = thread.ask(lambda _, frame: (frame.sub, frame.time_s))
    for _ in range(3):
        streams.give(sub=True)
    assert not asked.done()
    streams.give(sub=False)
    assert asked.result(5) == (False, 4.0)


def test_no_sub_stream_is_opened_for_it(camera):
    thread, streams = camera
    streams.fps.clear()
    thread.ask(lambda *_: None)
    # key frames each 2 s are enough for that
    assert streams.fps == [0.5]


def test_what_any_picture_answers_waits_for_none_of_the_main_stream(camera):
    thread, streams = camera
    asked = thread.ask(lambda _, frame: frame.sub, small=True)
    streams.give(sub=True)
    assert asked.result(5) is True


def test_a_question_that_nobody_waits_for_is_forgotten(camera):
    thread, streams = camera
    asked, answered = thread.ask(lambda *_: answered.append(1)), []
    streams.give(sub=True)
    asked.cancel()
    streams.give(sub=True)
    assert thread._questions.empty()
    streams.give(sub=False)
    assert answered == []


def test_a_main_stream_that_brings_none_in_time_is_named(camera, monkeypatch):
    thread, streams = camera
    monkeypatch.setattr(verbs, "PICTURE_S", 0.3)
    agent = SimpleNamespace(cameras=[thread], clock=Clock())
    asking = [
        threading.Thread(target=streams.give, kwargs={"sub": True}),
        threading.Thread(target=streams.give, kwargs={"sub": True}),
    ]
    for one in asking:
        one.start()
    with pytest.raises(CommandError, match="no picture of its main stream came within 0 s; it is starting"):
        verbs._snapshot(agent, "c", SnapshotArguments(camera="cam-1"))
    answer = verbs._verify(agent, "c", VerifyArguments(camera="cam-1", zone="front"))
    assert answer.data["places"][0]["state"] == "not_seen"
    assert "no picture of its main stream came" in answer.data["text"]
    with pytest.raises(TooLate):
        verbs._asked(thread, lambda *_: None)
    for one in asking:
        one.join()

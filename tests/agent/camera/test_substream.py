"""The sub-stream: read while the main stream's key frames are too few, and never missed when it is gone."""

import os
import signal
import subprocess
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from agent.camera import process, wire
from agent.camera.events import Tally
from agent.camera.frame import Frame
from agent.camera.nursery import nursery
from agent.camera.process import StreamClock
from agent.camera.reader import Condition, LiveCamera, TimeLine, helped_text
from agent.camera.source import Source
from agent.camera.substream import HOLD_S, SubStream
from tests import clips
from tests.cameras import RtspCamera
from tests.services import stopped

LENGTH_S = 20


def small(t):
    """The street as a D1 sub-stream shows it: half as wide, and of another shape."""
    return cv2.resize(clips.street_frame(t), (320, 240), interpolation=cv2.INTER_AREA)


@pytest.fixture(scope="module")
def streams(tmp_path_factory):
    """Main streams with a key frame a second and with distant ones, and a sub-stream."""
    folder = tmp_path_factory.mktemp("streams")
    return {
        "main": clips.write(folder / "main.mp4", clips.street_frame, LENGTH_S, gop=10),
        "rare": clips.write(folder / "rare.mp4", clips.street_frame, LENGTH_S, gop=80),
        "sub": clips.write(folder / "sub.mp4", small, LENGTH_S, gop=10),
    }


def watch(source, until_s, *, demand=lambda _t: 0.0, each=lambda _camera, _t: None):
    """Read a camera for so long; gives its frames with their arrival, its conditions and its figures."""
    frames, conditions = [], []
    with LiveCamera(source, time.time, time.monotonic) as camera:
        began_s = time.monotonic()
        for event in camera.events():
            t = time.monotonic() - began_s
            if t > until_s:
                camera.close()
            if isinstance(event, Frame):
                frames.append((t, event))
                if demand(t) > 0:
                    camera.demand(demand(t), 2.0)
            elif isinstance(event, Condition):
                conditions.append(event)
            each(camera, t)
        return frames, conditions, camera.figures


def source(main, sub, **more):
    return Source("cam-1", "file", str(main), 1.0, sub=str(sub), **more)


def of_sub(frames, from_s, to_s):
    return [frame for t, frame in frames if from_s < t < to_s and frame.sub]


def test_it_is_read_only_while_more_is_asked_for(streams, monkeypatch):
    monkeypatch.setattr("agent.camera.substream.HOLD_S", 2.0)
    pids = []
    frames, _, figures = watch(
        source(streams["main"], streams["sub"]),
        20,
        demand=lambda t: 5.0 * (4 < t < 10),
        each=lambda camera, t: pids.append((t, camera.sub_pid)),
    )
    assert not of_sub(frames, 0, 4)
    assert len(of_sub(frames, 7.5, 10.5)) == pytest.approx(15, abs=4)
    assert not of_sub(frames, 17, 20)
    assert pids[-1][1] is None
    main = [frame for _, frame in frames if not frame.sub]
    assert all(frame.key for frame in main[5:])
    assert len([t for t, frame in frames if 7.5 < t < 10.5 and not frame.sub]) == pytest.approx(3, abs=1)
    times_s = [frame.time_s for _, frame in frames]
    assert all(before < after for before, after in pairwise(times_s))
    # 20 key frames, and some 80 small pictures: all 200 large ones would have been decoded for 6 s at least
    assert figures.decoded < 160


def test_its_pictures_show_what_the_main_ones_show_and_have_their_shape(streams):
    """A file that stands in for a sub-stream plays along with its main one; zones fit both."""
    frames, _, _ = watch(source(streams["main"], streams["sub"]), 12, demand=lambda _: 5.0)
    sub = [frame for _, frame in frames if frame.sub]
    assert len(sub) > 15
    start_s = frames[0][1].time_s
    for frame in sub[5::4]:
        assert (frame.width, frame.height) == (426, 240)
        shown = clips.street_frame(frame.time_s - start_s)
        apart = np.abs(frame.rgb((160, 90)).astype(int) - cv2.resize(shown, (160, 90), interpolation=cv2.INTER_AREA))
        # the walker is 36 px wide and takes 70 px a second
        assert apart.mean() < 6


def test_distant_key_frames_are_made_up_for(streams):
    frames, conditions, figures = watch(source(streams["rare"], streams["sub"]), 19)
    late = [frame for t, frame in frames if t > 9]
    assert sum(frame.sub for frame in late) >= 7
    assert all(frame.key for frame in late if not frame.sub)
    assert not [one.text for one in conditions if "all pictures have to be decoded" in one.text]
    assert figures.decoded < 160


def test_a_main_stream_without_key_frames_is_told_while_the_other_one_helps(streams, tmp_path):
    """One that has none between 0 and 20 s."""
    none = clips.write(tmp_path / "none.mp4", clips.street_frame, LENGTH_S, gop=1000)
    frames, conditions, _ = watch(source(none, streams["sub"]), 16)
    assert len(of_sub(frames, 10, 16)) >= 4
    assert conditions[-1].state == "live"
    assert conditions[-1].text.startswith("no key frame of the main stream for 10 s, only the sub-stream is seen; set")


@pytest.mark.parametrize(
    ("tally", "expected"),
    [
        (Tally(keyless_s=3.0), ""),
        (Tally(keyless_s=8.0, key_gap_s=8.0), ""),
        (Tally(keyless_s=34.0), "no key frame of the main stream for 30 s"),
        (Tally(keyless_s=34.0, waits_s=34.0), "no key frame of the main stream for 30 s"),
        (Tally(keyless_s=34.0, key_gap_s=60.0), "key frames come every 60 s, between them only the sub-stream is seen"),
        (Tally(keyless_s=5000.0, key_gap_s=60.0), "no key frame of the main stream for more than 90 s"),
    ],
)
def test_what_a_main_stream_that_is_helped_does_not_bring(tally, expected):
    text = helped_text(tally)
    assert text.startswith(expected)
    assert bool(text) is bool(expected)


class Blind:
    """A nursery whose main stream has key frames of which no picture comes; the sub-stream is a real one."""

    def __init__(self):
        self._over, self._started = threading.Event(), []

    def start(self, text, descriptors):
        if Source.from_json(text).sub is None:
            return nursery().start(text, descriptors)
        events = os.dup(descriptors[0])
        child = subprocess.Popen(["sleep", "60"])
        thread = threading.Thread(target=self._tell, args=(events,))
        self._started.append((child, thread))
        thread.start()
        return child.pid, os.pidfd_open(child.pid)

    def _tell(self, events):
        with suppress(BrokenPipeError):
            while not self._over.wait(0.1):
                wire.write(events, wire.TALLY, read=50, short=True, waits_s=None, keyless_s=1.0)
        os.close(events)

    def close(self):
        self._over.set()
        for child, thread in self._started:
            child.kill()
            child.wait()
            thread.join()


def test_a_main_stream_whose_key_frames_make_no_picture_is_told_although_the_other_one_helps(streams, monkeypatch):
    """On a clock that goes three times as fast."""
    began_s, blind, told, small = time.monotonic(), Blind(), [], 0
    monkeypatch.setattr(process, "nursery", lambda: blind)
    try:
        often = replace(source(streams["main"], streams["sub"]), sample_s=0.2)
        with LiveCamera(often, time.time, lambda: 3 * time.monotonic()) as camera:
            for event in camera.events():
                small += isinstance(event, Frame) and event.sub
                if isinstance(event, Condition):
                    told.append(event)
                if time.monotonic() - began_s > 20 or told[-1].state == "stalled":
                    camera.close()
    finally:
        blind.close()
    assert small > 10
    assert told[-1].state == "stalled"
    assert "data comes, but no picture for 3" in told[-1].text


def test_pictures_that_come_too_late_to_be_used_are_no_help(streams, monkeypatch):
    """Those of the sub-stream are all behind: the main stream is decoded as if there were none."""
    place = TimeLine.place
    monkeypatch.setattr(TimeLine, "place", lambda line, frame: None if frame.sub else place(line, frame))
    frames, _, _ = watch(source(streams["main"], streams["sub"]), 16, demand=lambda _: 5.0)
    assert len([t for t, _ in frames if 12 < t < 15]) == pytest.approx(15, abs=4)


def test_what_is_said_of_a_failure_is_true_when_it_is_read():
    now = SimpleNamespace(skipped_s=0.0)

    def monotonic():
        return time.monotonic() + now.skipped_s

    def until(text, *, short=True):
        limit_s = time.monotonic() + 10
        while time.monotonic() < limit_s and text not in sub.text:
            sub.step(short=short, shape=None, played_s=0.0)
            time.sleep(0.01)
        assert text in sub.text

    gone = Source("cam-1", "network", "rtsp://127.0.0.1:9/x", 1.0)
    sub = SubStream(gone, time.time, monotonic, threading.Condition())
    assert sub.text == ""
    until("check address, cable and camera; the main stream is used in its place, trying again in 1 s")
    until("the main stream is used in its place, trying again now")
    until("the main stream is used in its place, trying again in 2 s")
    now.skipped_s = HOLD_S + 1
    until("nothing listens there; check address, cable and camera; it is tried again once it is needed", short=False)
    assert "the main stream" not in sub.text
    sub.rest()


def test_a_sub_stream_that_is_not_there_is_told_and_the_main_one_used(streams):
    frames, conditions, _ = watch(
        source(streams["main"], "rtsp://127.0.0.1:9/x", user="admin", password="geheim-77"), 16, demand=lambda _: 5.0
    )
    assert {one.state for one in conditions} == {"starting", "live"}
    assert "sub-stream: rtsp://127.0.0.1:9/x: expected a camera that answers" in conditions[-1].text
    assert "the main stream is used in its place, trying again " in conditions[-1].text
    assert "geheim-77" not in repr(conditions)
    assert len([t for t, _ in frames if 12 < t < 15]) == pytest.approx(15, abs=4)


def test_one_that_dies_is_started_again(streams):
    killed = []

    def kill(camera, t):
        if t > 5 and camera.sub_pid is not None and not killed:
            killed.append(t)
            os.kill(camera.sub_pid, signal.SIGKILL)

    frames, conditions, _ = watch(source(streams["main"], streams["sub"]), 14, demand=lambda _: 5.0, each=kill)
    assert killed
    assert [one.state for one in conditions if one.state != "live"] == ["starting"]
    assert any("signal 9" in one.text for one in conditions)
    assert conditions[-1].text == ""
    assert len(of_sub(frames, 10, 13)) == pytest.approx(15, abs=4)


def test_one_that_hangs_never_makes_the_camera_lost(tmp_path, streams):
    with RtspCamera(tmp_path) as server, ExitStack() as stack:
        hung = []

        def hang(_camera, t):
            if t > 14 and not hung:
                hung.append(stack.enter_context(stopped(server)))

        frames, conditions, _ = watch(source(streams["main"], server.url), 35, demand=lambda _: 5.0, each=hang)
    assert len(of_sub(frames, 10, 13.5)) == pytest.approx(17, abs=5)
    # FFmpeg hands out what it held back when it gives up
    assert len(of_sub(frames, 16, 40)) <= 1
    assert len([t for t, _ in frames if 30 < t < 34]) == pytest.approx(20, abs=6)
    assert {one.state for one in conditions} == {"starting", "live"}
    assert any(one.text.startswith("sub-stream: ") for one in conditions)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([("main", 10.0), ("sub", 10.2), ("main", 12.0)], [10.0, 10.2, 12.0]),
        ([("sub", 10.0), ("main", 9.7), ("sub", 10.2)], [10.0, 10.001, 10.2]),  # main ones are few: none is lost
        ([("main", 10.0), ("sub", 9.9), ("sub", 10.1)], [10.0, 10.1]),
        ([("main", 10.0), ("sub", 10.0)], [10.0]),
        ([("main", 100.0), ("sub", 40.0), ("main", 41.0)], [100.0, 40.0, 41.0]),  # the box's clock was set back
    ],
)
def test_both_streams_make_one_line(times, expected):
    line, planes = TimeLine(), np.zeros((3, 2), np.uint8)
    placed = [line.place(Frame(time_s, key=True, planes=planes, sub=of == "sub")) for of, time_s in times]
    assert [frame.time_s for frame in placed if frame is not None] == pytest.approx(expected)


def test_a_first_picture_that_came_late_puts_nothing_into_the_future():
    clock = StreamClock()
    stamps = [clock.stamp(t, arrival) for t, arrival in [(0.0, 101.5), (1.0, 101.6), (2.0, 102.1), (3.0, 103.0)]]
    assert all(stamp <= arrival + 0.01 for stamp, arrival in zip(stamps, [101.5, 101.6, 102.1, 103.0], strict=True))
    assert stamps == sorted(stamps)

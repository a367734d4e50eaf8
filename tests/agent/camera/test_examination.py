"""Cameras that are wrong in each way, and what the doctor says of them."""

import threading
import time

import av
import numpy as np
import pytest

from agent.camera.examination import Stream, examine, judge
from agent.camera.source import Source
from tests.cameras import RtspCamera, onvif
from tests.services import free_port, stopped

GOOD = {
    "codec": "h264",
    "profile": "High",
    "pixels": "yuv420p",
    "width": 1920,
    "height": 1080,
    "times_s": [number / 25 for number in range(250)],
    "keys_s": [0.0, 2.0, 4.0, 6.0, 8.0],
    "luma": (110.0, 40.0),
}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, []),
        ({"codec": "hevc", "profile": "Main"}, ["twice the processor"]),
        ({"codec": "hevc", "profile": "Main 10", "pixels": "yuv420p10le"}, ["more than 8 bits"]),
        ({"codec": "unknown", "luma": None}, ["no picture could be decoded"]),
        ({"luma": (3.0, 1.0)}, ["is black"]),
        ({"luma": (140.0, 2.0)}, ["is plain"]),
        ({"width": 3840, "height": 2160}, ["3840 pixels wide"]),
        ({"width": 352, "height": 288}, ["too small"]),
        ({"width": 1080, "height": 1920}, ["taller than wide"]),
        ({"times_s": [float(number) for number in range(12)], "keys_s": [0.0, 1.0]}, ["1.0 pictures a second"]),
        ({"times_s": [0.0] * 12, "arrived_s": list(range(12)), "keys_came_s": [0, 2]}, ["1.0 pictures a second"]),
        (
            {"times_s": [0.0] * 60, "arrived_s": [n / 10 for n in range(60)], "keys_came_s": [0]},
            ["no second key frame"],
        ),
        ({"keys_s": [0.0, 5.0]}, ["a key frame each 5.0 s"]),
        ({"keys_s": [0.0]}, ["no second key frame"]),
        ({"longest_gap_s": 4.5}, ["it stalled"]),
    ],
)
def test_what_is_wrong_with_a_stream_is_named(change, says):
    first, *rest = judge("camera cam-1", Stream(**{**GOOD, **change}))
    assert first.state == "ok"
    assert len(rest) == len(says)
    for finding, text in zip(rest, says, strict=True):
        assert text in finding.says
        assert finding.todo


def encode(path, codec, size=(640, 360), fps=25, pixels="yuv420p", seconds=4):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps, width=size[0], height=size[1], pix_fmt=pixels)
        stream.gop_size = max(1, fps)
        rng = np.random.default_rng(1)
        picture = rng.integers(60, 200, (size[1] // 8, size[0] // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
        for _ in range(seconds * fps):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("made", "says"),
    [
        ({"codec": "libx264", "size": (1280, 720)}, []),
        ({"codec": "libx264", "size": (720, 1280), "seconds": 2}, ["taller than wide"]),
        ({"codec": "libx264", "size": (1280, 720), "fps": 1, "seconds": 5}, ["1.0 pictures a second"]),
        ({"codec": "libx265", "size": (1280, 720), "pixels": "yuv420p10le", "seconds": 2}, ["more than 8 bits"]),
    ],
)
def test_real_streams_are_judged_by_what_comes(tmp_path, made, says):
    path = tmp_path / "clip.mkv"
    encode(path, **made)
    first, *rest = examine(Source("cam-1", "file", str(path), 1.0))
    assert f"{made['size'][0]} × {made['size'][1]}" in first.says
    assert [text for text, finding in zip(says, rest, strict=True) if text in finding.says] == says


def network(url, user=None, password=None):
    return Source("cam-1", "network", url, 1.0, user=user, password=password)


def test_a_wrong_password_is_named_and_never_shown(tmp_path):
    with RtspCamera(tmp_path / "camera", "admin", "right-1") as camera:
        (finding,) = examine(network(camera.url, "admin", "wrong-1"), 2)
        assert finding.state == "FAIL"
        assert "401" in finding.says
        assert "wrong-1" not in finding.line()
        assert examine(network(camera.url, "admin", "right-1"), 3)[0].state == "ok"


def test_a_camera_that_stalls_is_named(tmp_path):
    with RtspCamera(tmp_path / "camera") as camera:
        held = []

        def hold():
            time.sleep(2)
            held.append(True)
            with stopped(camera):
                time.sleep(14)

        thread = threading.Thread(target=hold)
        thread.start()
        found = examine(network(camera.url), 10)
        thread.join()
    assert held
    assert any("it stalled" in finding.says or "sends no picture" in finding.says for finding in found)


def test_a_camera_with_its_page_but_without_rtsp(monkeypatch):
    with onvif(monkeypatch) as port:
        (finding,) = examine(network(f"rtsp://127.0.0.1:{free_port()}/1"), 2)
    assert finding.state == "FAIL"
    assert f"and ONVIF answers at port {port}: switch RTSP on" in finding.todo


def test_nothing_is_there(monkeypatch):
    monkeypatch.setattr("agent.camera.onvif.WEB_PORTS", (free_port(),))
    (finding,) = examine(network(f"rtsp://127.0.0.1:{free_port()}/1"), 2)
    assert "check cable, PoE and the address" in finding.todo


@pytest.mark.parametrize(("off_s", "state"), [(0, "ok"), (-7200, "warn")])
def test_a_camera_whose_clock_is_off(tmp_path, monkeypatch, off_s, state):
    with onvif(monkeypatch, off_s=off_s), RtspCamera(tmp_path / "camera") as camera:
        finding = examine(network(camera.url), 2)[-1]
    assert finding.state == state
    assert "its clock is" in finding.says

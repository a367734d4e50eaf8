"""The set-up page before cameras that are wrong in each way: it names that, and nothing else, in both languages."""

import contextlib
import re
import threading
import time

import numpy as np
import pytest

from tests import clips
from tests.cameras import RtspCamera, onvif
from tests.phone import page
from tests.services import free_port, stopped

LOGIN = ("admin", "right-1")
LOOK_S = 4.0


def upright(t):
    return np.ascontiguousarray(np.rot90(clips.street_frame(t)))


def four_k(t):
    return clips.street_frame(t).repeat(6, 0).repeat(6, 1)


def other(t):
    return np.ascontiguousarray(clips.street_frame(t)[::-1, ::-1])


def undecodable(folder):
    """Has the parameters of H.264, and slices that hold nothing of it."""
    path = folder / "street.h264"
    head, *units = re.split(b"(?=\x00\x00\x01)", path.read_bytes())
    path.write_bytes(head + b"".join(one if one[3] & 31 in (7, 8, 9) else one[:4] + bytes([255]) * 60 for one in units))


CAMERAS = [
    ("right", {}, set()),
    ("bad password", {"user": LOGIN[0], "password": "other-1"}, {"bad_password"}),
    ("H.265", {"codec": "h265", "seconds": 3}, {"heavy_codec"}),
    ("H.265 main10", {"codec": "h265", "pixels": "yuv420p10le", "seconds": 3}, {"ten_bits"}),
    ("1 fps", {"fps": 1, "gop": 2}, {"few_pictures"}),
    ("rare key frames", {"gop": 400, "seconds": 30}, {"rare_keys"}),
    ("4K", {"frame": four_k, "seconds": 1}, {"too_wide"}),
    ("portrait", {"frame": upright}, {"portrait"}),
    ("small", {"frame": lambda t: clips.street_frame(t)[::2, ::2], "seconds": 3}, {"too_small"}),
    ("black", {"frame": lambda t: clips.street_frame(t) // 60, "seconds": 3}, {"black"}),
]


@pytest.fixture
def box(tmp_path, monkeypatch):
    monkeypatch.setattr("agent.camera.onvif.WEB_PORTS", (free_port(),))
    path = tmp_path / "box.toml"
    path.write_text('version = 1\n[box]\nid = "box-1"\nsite = "s"\n')
    with page(path, look_s=LOOK_S, finder=list) as phone:
        phone.post("/api/enter", pin=phone.pin)
        yield phone


def codes(box, source, substream=None, user=LOGIN[0], password=LOGIN[1]):
    """Which faults the page names; each line is Chinese as well, and says what to do."""
    found = box.job("test", id="cam-1", source=source, substream=substream, user=user, password=password)
    for one in found:
        zh = one["zh"]
        assert re.search("[一-鿿]", zh["says"]), one
        assert one["state"] == "ok" or re.search("[一-鿿]", zh["todo"]), one
        assert one["state"] == "ok" or one["todo"] or one["code"] in ("bad_password", "no_stream", "other_view"), one
        assert "right-1" not in str(one)
    return {one["code"] for one in found if one["state"] != "ok"}


@pytest.mark.parametrize(("name", "made", "named"), CAMERAS, ids=[name for name, _, _ in CAMERAS])
def test_what_is_wrong_with_a_camera_is_named_on_the_page(box, tmp_path, name, made, named):
    box.desk.look_s += 4 * (name == "rare key frames")
    with RtspCamera(tmp_path / "camera", **{"user": LOGIN[0], "password": LOGIN[1]} | made) as camera:
        assert codes(box, camera.url) == named


def test_what_is_wrong_around_a_stream_is_named_on_the_page(box, tmp_path, monkeypatch):
    nowhere = f"rtsp://127.0.0.1:{free_port()}/1"
    assert codes(box, nowhere) == {"nothing_listens"}
    with onvif(monkeypatch):
        assert codes(box, nowhere) == {"rtsp_off"}
    with contextlib.ExitStack() as stack:
        camera, sub = (
            stack.enter_context(RtspCamera(tmp_path / str(frame.__name__), *LOGIN, frame))
            for frame in (clips.street_frame, other)
        )
        assert codes(box, f"{camera.url}-gone") == {"no_stream"}
        assert codes(box, camera.url, sub.url) == {"other_view"}
        assert codes(box, camera.url, camera.url) == set()
        with onvif(monkeypatch, off_s=-7200):
            assert codes(box, camera.url) == {"camera_clock"}


def test_a_camera_that_stalls_is_named_on_the_page(box, tmp_path):
    def hold(camera):
        time.sleep(2)
        with stopped(camera):
            time.sleep(10)

    with RtspCamera(tmp_path / "camera", *LOGIN) as camera:
        thread = threading.Thread(target=hold, args=(camera,))
        thread.start()
        assert codes(box, camera.url) <= {"stalled", "no_picture"} != set()
        thread.join()


def test_a_stream_of_which_no_picture_can_be_decoded_is_named_on_the_page(box, tmp_path, monkeypatch):
    write = clips.write

    def spoilt(path, *args, **options):
        write(path, *args, **options)
        undecodable(path.parent)
        return path

    monkeypatch.setattr(clips, "write", spoilt)
    with RtspCamera(tmp_path / "camera", *LOGIN, seconds=3) as camera:
        assert "wrong_codec" in codes(box, camera.url)

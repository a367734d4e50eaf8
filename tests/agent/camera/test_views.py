"""Whether two streams show one view."""

import threading
import time
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from agent.camera import views
from agent.camera.errors import CameraError
from agent.camera.source import Source
from agent.camera.views import compare_views, view_fault
from tests import clips


def grey(t=3.0):
    return cv2.cvtColor(clips.street_frame(t), cv2.COLOR_RGB2GRAY)


def small(luma, size=(320, 180)):
    return cv2.resize(luma, size, interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize(
    ("main", "sub", "expected"),
    [
        (grey(), small(grey()), ""),
        (grey(), small(grey(3.4)), ""),  # the two are never of exactly the same moment
        (grey(), small(grey(), (352, 288)), ""),  # D1 pixels are not square: shares are what counts
        (grey(), np.clip(small(grey()) * 0.6 + 30, 0, 255).astype(np.uint8), ""),
        (grey(), small(grey()[:, 80:560]), "it shows about 75% of the width and 100% of the height of the main"),
        (grey()[:, 80:560], small(grey()), "the main stream shows about 75% of the width"),
        (grey(), small(cv2.cvtColor(clips.pavement(9), cv2.COLOR_RGB2GRAY))[::-1, ::-1], "something else"),
        (grey(), np.full((180, 320), 16, np.uint8), None),
    ],
)
def test_what_a_sub_stream_shows(main, sub, expected):
    fault = view_fault(main, sub)
    assert fault == expected if not expected else expected in fault


def test_streams_are_compared_at_the_same_moment(tmp_path):
    """A crate that comes and goes and a walker are no difference."""
    main = clips.write(tmp_path / "main.mp4", clips.street_frame, 12, gop=40)
    sub = clips.write(tmp_path / "sub.mp4", lambda t: small(clips.street_frame(t)), 12, gop=10)
    other = clips.write(tmp_path / "other.mp4", lambda t: small(clips.street_frame(t)[:, 160:480]), 12, gop=10)
    source = Source("cam-1", "file", str(main), 1.0, sub=str(sub))
    assert compare_views(source, source.of_sub()) == "the same view"
    with pytest.raises(CameraError, match="set the sub-stream to the same channel") as fault:
        compare_views(source, Source("cam-1", "file", str(other), 1.0))
    assert "50% of the width" in str(fault.value) or "60% of the width" in str(fault.value)


def test_ctrl_c_while_they_are_compared_leaves_nothing_running(street, monkeypatch):
    def interrupted(_seconds):
        raise KeyboardInterrupt

    before = set(threading.enumerate())
    monkeypatch.setattr(views, "time", SimpleNamespace(time=time.time, sleep=interrupted))
    source = Source("cam-1", "file", str(street), 1.0, sub=str(street))
    with pytest.raises(KeyboardInterrupt):
        compare_views(source, source.of_sub())
    assert set(threading.enumerate()) <= before

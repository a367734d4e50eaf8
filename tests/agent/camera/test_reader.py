"""Reading clips and cameras through the real reading process."""

import json
import os
import signal
import time
import wave
from dataclasses import replace

import av
import cv2
import numpy as np
import pytest

from agent.camera import wire
from agent.camera.decoding import Grid, KeyGaps, Timeline, read_capture
from agent.camera.errors import CameraError
from agent.camera.events import Picture, Tally
from agent.camera.frame import Frame, pack
from agent.camera.nursery import nursery
from agent.camera.reader import Condition, LiveCamera, StreamClock, check_camera, key_text, probe, replay
from agent.camera.source import Source
from tests import clips
from tests.cameras import FakeDesk, RtspCamera
from tests.services import stopped


def clip(path, sample_s=1.0, **more):
    return Source("cam-1", "file", str(path), sample_s, live=False, **more)


@pytest.mark.parametrize(
    ("sample_s", "count", "jitter_s"),
    [(1.0, 60, 0.01), (0.5, 120, 0.01), (2.5, 24, 0.51)],  # the last takes the key frames, one a second
)
def test_a_clip_gives_one_picture_per_sample(street, sample_s, count, jitter_s):
    frames = list(replay(clip(street, sample_s), 1000.0))
    assert len(frames) == count
    assert frames[0].time_s == 1000.0
    steps = np.diff([frame.time_s for frame in frames])
    assert np.allclose(steps, sample_s, atol=jitter_s)
    assert (frames[0].width, frames[0].height) == (clips.WIDTH, clips.HEIGHT)


def test_key_frames_are_enough_where_they_come_often(street):
    """Key frames come every second; once that is known, nothing else is decoded."""
    frames = list(replay(clip(street, 1.0), 0.0))
    assert all(frame.key for frame in frames[5:])


def test_the_picture_is_what_was_written(street):
    frame = next(iter(replay(clip(street), 0.0)))
    rgb = frame.rgb()
    assert rgb.shape == (clips.HEIGHT, clips.WIDTH, 3)
    assert np.abs(rgb.astype(int) - clips.street_frame(0.0)).mean() < 6
    assert frame.rgb((320, 180)).shape == (180, 320, 3)
    assert frame.rgb((101, 55)).shape == (55, 101, 3)
    assert frame.rgb(crop=(0.5, 0.5, 0.25, 0.25)).shape == (90, 160, 3)
    assert frame.luma(320).shape == (180, 320)


def test_masks_are_burnt_in_before_anything_leaves_the_process(street):
    masked = clip(street, masks=(((0.0, 0.0), (0.3, 0.0), (0.3, 0.4), (0.0, 0.4)),))
    rgb = next(iter(replay(masked, 0.0))).rgb()
    assert rgb[: int(0.4 * clips.HEIGHT), : int(0.3 * clips.WIDTH)].max() < 12
    assert rgb[200:, 300:].mean() > 60


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_streams_without_key_frames_are_decoded(tmp_path, codec):
    path = clips.write(tmp_path / "rare.avi", clips.street_frame, 20, gop=1000, codec=codec)
    frames = list(replay(clip(path), 0.0))
    assert len(frames) == 20
    assert frames[-1].time_s == pytest.approx(19, abs=0.2)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("missing.mp4", None, "expected a video file, found none"),
        ("text.mp4", b"no video at all\n" * 40, "expected a video that FFmpeg can read"),
        ("empty.mp4", b"", "expected a video that FFmpeg can read"),
        ("sound.wav", "sound", "expected a video stream, found none"),
        ("cut.mp4", "cut", "expected a video"),
    ],
)
def test_what_is_no_clip_is_told_in_one_line(street, tmp_path, name, content, expected):
    path = tmp_path / name
    if content == "cut":
        path.write_bytes(street.read_bytes()[:3000])
    elif content == "sound":
        with wave.open(str(path), "wb") as sound:
            sound.setparams((1, 2, 8000, 1000, "NONE", ""))
            sound.writeframes(bytes(2000))
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(CameraError, match=expected) as fault:
        list(replay(clip(path), 0.0))
    assert str(path) in str(fault.value)
    assert "\n" not in str(fault.value)


def test_a_video_without_frames_is_told(tmp_path):
    path = clips.write(tmp_path / "none.avi", lambda _: clips.pavement(), 0.2, codec="mpeg4")
    content = bytearray(path.read_bytes())
    start = content.index(b"movi") + 4
    content[start + 8 : content.rindex(b"idx1")] = bytes(content.rindex(b"idx1") - start - 8)
    path.write_bytes(content)
    with pytest.raises(CameraError, match="none that decodes"):
        list(replay(clip(path), 0.0))


def test_probe_knows_the_length(street):
    assert probe(street).duration_s == pytest.approx(60, abs=0.2)


def test_a_live_file_plays_in_real_time_and_repeats(tmp_path):
    path = clips.write(tmp_path / "short.mp4", clips.street_frame, 2)
    seen = []
    with LiveCamera(replace(clip(path, 0.5), live=True), time.time, time.monotonic) as camera:
        began_s = time.monotonic()
        for event in camera.events():
            if isinstance(event, Frame):
                seen.append((time.monotonic() - began_s, event.time_s))
            if len(seen) == 7:
                camera.close()
    arrivals, times = np.array(seen).T
    assert np.allclose(np.diff(times), 0.5, atol=0.12)
    assert np.allclose(np.diff(arrivals)[1:], 0.5, atol=0.3)


def test_the_reading_process_dies_and_is_replaced(street):
    """Whatever kills it (a crash in a codec), the camera goes on."""
    conditions, frames, killed = [], 0, False
    with LiveCamera(replace(clip(street, 0.2), live=True), time.time, time.monotonic) as camera:
        for event in camera.events():
            if isinstance(event, Condition):
                conditions.append(event)
            elif isinstance(event, Frame):
                frames += 1
                if frames == 3 and not killed:
                    os.kill(camera.child_pid, signal.SIGKILL)
                    killed = True
                if frames == 8:
                    camera.close()
    assert [one.state for one in conditions] == ["starting", "live", "stalled", "live"]
    assert "signal 9" in conditions[2].text
    assert conditions[3].restarts == 1


def test_a_dead_address_has_a_budget_and_is_lost():
    """Tries come 1, 2, 4 … 60 s apart; here the clock is ours, so that nobody waits."""
    source = Source("cam-1", "network", "rtsp://127.0.0.1:9/x", 1.0, user="admin", password="geheim-77")
    conditions = []
    skipped = [0.0]

    def monotonic():
        skipped[0] += 0.4
        return time.monotonic() + skipped[0]

    with LiveCamera(source, time.time, monotonic) as camera:
        for event in camera.events():
            if isinstance(event, Condition):
                conditions.append(event)
                if len(conditions) == 6:
                    camera.close()
    assert [one.state for one in conditions] == ["starting", "stalled", "stalled", "stalled", "lost", "lost"]
    assert [one.text.rpartition("again in ")[2] for one in conditions[1:]] == ["1 s", "2 s", "4 s", "8 s", "16 s"]
    assert "geheim-77" not in repr(conditions) + repr(source)


def test_a_camera_is_read_over_rtsp_with_its_password(tmp_path):
    with RtspCamera(tmp_path, "admin", "p@ss:w/rd") as server:
        good = Source("cam-1", "network", server.url, 1.0, user="admin", password="p@ss:w/rd")
        assert check_camera(good).startswith("640x360, h264")
        with pytest.raises(CameraError, match="401") as fault:
            check_camera(replace(good, password="wrong-secret"))
        assert "secret" not in str(fault.value).replace("its secret", "")


def test_a_stalled_camera_is_noticed_within_20_s_and_others_go_on(tmp_path, street):
    with RtspCamera(tmp_path) as server:
        source = Source("cam-1", "network", server.url, 0.5)
        other = LiveCamera(replace(clip(street, 0.5), live=True), time.time, time.monotonic)
        with LiveCamera(source, time.time, time.monotonic) as camera, other:
            events, others = camera.events(), other.events()
            states, counted = [], 0

            def until(state, limit_s):
                nonlocal counted
                began_s = time.monotonic()
                while time.monotonic() - began_s < limit_s:
                    event = next(events)
                    counted += isinstance(next(others), Frame)
                    if isinstance(event, Condition):
                        states.append(event)
                        if event.state == state:
                            return time.monotonic() - began_s
                raise AssertionError(f"not {state} within {limit_s} s: {states}")

            until("live", 15)
            with stopped(server):
                before = counted
                assert until("stalled", 20) < 20
                assert counted - before > 10
            until("live", 40)
            assert states[-1].restarts >= 1


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([(0.0, 100.0), (1.0, 101.0)], [100.0, 101.0]),
        ([(0.0, 100.0), (1.0, 101.4)], [100.0, 101.0]),  # arrival jitters, the stream does not
        ([(0.0, 100.0), (1.0, 110.0)], [100.0, 110.0]),  # the stream was held up: arrival counts
        ([(50.0, 100.0), (3.0, 101.0)], [100.0, 101.0]),  # its clock was set anew
        ([(0.0, 100.0), (1.0, 40.0)], [100.0, 40.0]),  # the box's own clock was set back
    ],
)
def test_stream_clock(steps, expected):
    clock = StreamClock()
    assert [clock.stamp(t, arrival) for t, arrival in steps] == pytest.approx(expected, abs=0.01)


def test_grid_does_not_drift():
    grid = Grid(0.5)
    picked = [t for t in np.arange(0, 10, 1 / 29.97) if grid.due(float(t))]
    assert len(picked) == 20
    assert max(abs(t - 0.5 * n) for n, t in enumerate(picked)) < 0.04


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        ([5.0, 5.1, 5.2], [0.0, 0.1, 0.2]),
        ([None, None, None], [0.0, 0.1, 0.2]),
        ([5.0, 5.1, 1.0, 1.1], [0.0, 0.1, 0.2, 0.3]),  # runs back in the middle
        ([5.0, 5.0, 5.0, 5.0], [0.0, 0.1, 0.2, 0.3]),  # stands still
    ],
)
def test_timeline(stamps, expected):
    timeline = Timeline()
    assert [timeline.at(stamp, 0.1) for stamp in stamps] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("stamps", "arrivals", "expected"),
    [
        ([0.0, 1.0, 2.0], [0.0, 1.3, 2.0], [0.0, 1.0, 2.0]),  # arrival jitters
        ([0.0, 0.0, 0.0], [0.0, 5.0, 9.0], [0.0, 5.0, 9.0]),  # stamps stand still, pictures come slowly
        ([0.0, 40.0, 41.0], [0.0, 1.0, 2.0], [0.0, 1.0, 2.0]),  # a leap in the stream
        ([0.0, 9.0, 10.0, 11.0], [0.0, 0.1, 0.2, 0.3], [0.0, 0.1, 1.1, 2.1]),  # a burst, at first within bounds
    ],
)
def test_a_live_stream_stays_near_its_arrival(stamps, arrivals, expected):
    timeline = Timeline()
    times = [timeline.at(stamp, 0.1, arrival) for stamp, arrival in zip(stamps, arrivals, strict=True)]
    assert times == pytest.approx(expected)


def test_a_camera_whose_time_stamps_stand_still_is_sampled_all_the_same(tmp_path):
    """So does the server of these tests."""
    with RtspCamera(tmp_path) as server:
        seen = []
        with LiveCamera(Source("cam-1", "network", server.url, 0.5), time.time, time.monotonic) as camera:
            for event in camera.events():
                if isinstance(event, Frame):
                    seen.append(event.time_s)
                if len(seen) == 12:
                    camera.close()
        assert seen[-1] - seen[-6] == pytest.approx(2.5, abs=0.8)


@pytest.mark.parametrize(
    ("keys", "enough"),
    [([0], False), ([0, 2], True), ([0, 2, 4, 6], True), ([0, 2, 4, 12], False), ([0, 2, 12, 14, 16, 18], True)],
)
def test_key_gaps(keys, enough):
    gaps = KeyGaps()
    for t in keys:
        gaps.key(float(t))
    assert gaps.enough(2.0) is enough


def test_the_gap_from_the_end_of_a_file_to_its_beginning_is_none():
    gaps = KeyGaps()
    for _ in range(5):
        gaps.restart()
        gaps.key(0.0)
    assert not gaps.enough(2.0)


def test_a_usb_camera_that_is_not_there_is_told():
    with pytest.raises(CameraError, match="is it plugged in"):
        check_camera(Source("cam-1", "usb", "77", 1.0))


def test_what_opencv_captures_becomes_pictures(street):
    """The way of a USB camera, from an opened capture on."""
    ticks = iter(np.arange(0, 100, 0.1))
    desk = FakeDesk(lambda: float(next(ticks)))
    pictures = [
        event for event in read_capture(cv2.VideoCapture(str(street)), clip(street), desk) if isinstance(event, Picture)
    ]
    assert len(pictures) == pytest.approx(60, abs=2)
    frame = Frame(0.0, True, pictures[0].planes)
    assert np.abs(frame.rgb().astype(int) - clips.street_frame(0.0)).mean() < 8


def test_records_of_several_writers_do_not_mix(tmp_path):
    """The nursery writes a child's last record, whatever the child was doing when it was killed."""
    readable, writable = os.pipe()
    try:
        reader = wire.Reader(readable)
        assert not reader.ready()
        for number in range(3):
            wire.write(writable, wire.FRAME, slot=number, text="ä" * 5000)
        wire.write(writable, wire.DIED, status=-9)
        assert reader.ready()
        records = [reader.read() for _ in range(4)]
        assert [one.kind for one in records] == [wire.FRAME] * 3 + [wire.DIED]
        assert records[0].values["text"] == "ä" * wire.MAX_TEXT
        with pytest.raises(ValueError, match="expected a record of at most 4096 bytes"):
            wire.write(writable, wire.OPENED, codec="x" * 5000)
    finally:
        os.close(writable)
    assert reader.read() is None
    os.close(readable)


def test_the_password_travels_in_the_pipe_only():
    source = Source("cam-1", "network", "rtsp://10.0.0.5/a", 1.0, user="us er", password="p@:/")
    assert source.url == "rtsp://us%20er:p%40%3A%2F@10.0.0.5/a"
    assert Source.from_json(source.to_json()) == source
    assert "p@:/" not in repr(source)
    assert json.loads(source.to_json())["password"] == "p@:/"


def coded(path, codec, gop, *, seconds=16, b_frames=2):
    """A clip of the street whose encoder reorders pictures, as most cameras' do not and some do."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = clips.WIDTH, clips.HEIGHT, "yuv420p"
        stream.codec_context.gop_size = gop
        stream.options = {"preset": "ultrafast", "bf": str(b_frames), "sc_threshold": "0"}
        if codec == "libx265":
            stream.options |= {"x265-params": f"log-level=none:keyint={gop}:min-keyint={gop}:bframes={b_frames}"}
        for index in range(seconds * 10):
            for packet in stream.encode(av.VideoFrame.from_ndarray(clips.street_frame(index / 10), format="rgb24")):
                output.mux(packet)
        for packet in stream.encode():
            output.mux(packet)
    return path


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_key_frames_are_handed_out_at_once_although_pictures_are_reordered(tmp_path, codec):
    """A decoder that is fed key frames alone holds each back for two more: pictures would be 2 s old here."""
    path = coded(tmp_path / "reordered.mp4", codec, gop=10)
    frames = list(replay(clip(path), 0.0))
    assert [round(frame.time_s) for frame in frames] == list(range(16))
    assert all(frame.key for frame in frames[5:])
    for frame in frames:
        assert np.abs(frame.rgb().astype(int) - clips.street_frame(frame.time_s)).mean() < 8
    arrivals, times = [], []
    with LiveCamera(replace(clip(path), live=True), time.time, time.monotonic) as camera:
        for event in camera.events():
            if isinstance(event, Frame):
                arrivals.append(time.time())
                times.append(event.time_s)
            if len(times) == 10:
                camera.close()
    assert np.max(np.array(arrivals) - times) < 0.5
    # the way to key frames alone costs no picture and no time
    assert np.allclose(np.diff(times), 1.0, atol=0.3)


def test_more_is_decoded_only_while_somebody_asks_for_it(tmp_path):
    path = coded(tmp_path / "keys.mp4", "libx264", gop=10, seconds=30)
    seen = []
    with LiveCamera(replace(clip(path), live=True), time.time, time.monotonic) as camera:
        began_s = time.monotonic()
        for event in camera.events():
            now_s = time.monotonic() - began_s
            if isinstance(event, Frame):
                seen.append(now_s)
                if 6 < now_s < 8:
                    camera.demand(5.0, 4.0)
            if now_s > 18:
                camera.close()
        figures = camera.figures
    usual = [t for t in seen if 3 < t < 6]
    asked = [t for t in seen if 9 < t < 11]
    after = [t for t in seen if t > 15]
    assert (len(usual), len(asked), len(after)) == pytest.approx((3, 10, 3), abs=1.5)
    assert figures.read > 150
    assert figures.decoded < 0.7 * figures.read
    assert figures.dropped == 0


def test_distant_key_frames_are_decoded_in_full_and_told(tmp_path):
    path = coded(tmp_path / "smart.mp4", "libx264", gop=50, seconds=40, b_frames=0)
    # the text comes once three distances are known; nobody waits for that here
    text = key_text(Tally(key_gap_s=12.0))
    assert "every 12 s" in text
    assert "smart codec off" in text
    assert key_text(Tally(key_gap_s=2.0)) == ""
    assert "no key frame for 60 s" in key_text(Tally(waits_s=64.0))
    assert key_text(Tally(waits_s=3.0)) == ""
    frames = list(replay(clip(path), 0.0))
    assert len(frames) == 40


def test_a_nursery_that_was_killed_is_replaced(street):
    seen = []
    with LiveCamera(replace(clip(street, 0.2), live=True), time.time, time.monotonic) as camera:
        for event in camera.events():
            if isinstance(event, Frame):
                seen.append(event.time_s)
                if len(seen) == 3:
                    nursery()._process.kill()
            if len(seen) == 8:
                camera.close()
        assert camera._restarts == 1


def test_a_kept_picture_is_small_and_alike(street):
    frame = next(iter(replay(clip(street), 5.0)))
    packed = pack(frame)
    assert packed.time_s == 5.0
    assert len(packed.jpeg) < frame.planes.nbytes / 3
    assert np.abs(packed.rgb().astype(int) - frame.rgb()).mean() < 3
    assert np.abs(packed.luma(320).astype(int) - frame.luma(320)).mean() < 4

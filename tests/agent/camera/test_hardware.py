"""Decoding by hardware: what is chosen, and that pictures come whatever it does."""

import gc
import os
import subprocess
import time
import weakref
from dataclasses import dataclass, replace

import av
import numpy as np
import pytest
from av.codec.hwaccel import hwdevices_available
from av.error import ExternalError, InvalidDataError

from agent.camera import process, reader, wire
from agent.camera.decoding import Reading
from agent.camera.events import SOFTWARE, Decoding, Opened, Picture
from agent.camera.hardware import Way, choose, here
from agent.camera.reader import Condition, LiveCamera, check_camera
from agent.camera.source import Source
from agent.settings import load_settings, pick_camera
from tests import clips
from tests.cameras import FakeDesk

FPS = clips.FPS
GOP = 20
LENGTH_S = 8
WHEEL = ("h264", "hevc", "h264_cuvid", "hevc_cuvid", "h264_v4l2m2m", "hevc_v4l2m2m")


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    return clips.write(tmp_path_factory.mktemp("hardware") / "street.mp4", clips.street_frame, LENGTH_S, gop=GOP)


@pytest.mark.parametrize(
    ("codec", "decoders", "devices", "nodes", "expected"),
    [
        ("h264", WHEEL, ["cuda"], [], []),  # nothing is there
        ("h264", WHEEL, ["cuda", "drm"], ["/dev/nvidia0"], ["NVDEC (h264)", "NVDEC (h264_cuvid)"]),
        ("hevc", WHEEL, ["cuda", "drm"], ["/dev/nvidia0"], ["NVDEC (hevc)", "NVDEC (hevc_cuvid)"]),
        ("h264", ["h264", "h264_cuvid"], [], ["/dev/nvidia12"], ["NVDEC (h264_cuvid)"]),  # a build without devices
        ("h264", WHEEL, ["cuda"], ["/dev/nvidiactl", "/dev/nvidia-uvm"], []),  # a driver without a card
        ("h264", WHEEL, ["cuda", "drm"], ["/dev/dri/renderD128"], []),  # the wheel has no VAAPI
        ("h264", WHEEL, ["vaapi"], ["/dev/dri/card0", "/dev/dri/renderD129"], ["VAAPI (h264)"]),
        ("h264", WHEEL, ["vaapi"], ["/dev/dri/card0"], []),  # a card that only shows pictures
        ("h264", [*WHEEL, "h264_rkmpp"], [], ["/dev/mpp_service"], ["RKMPP (h264_rkmpp)"]),
        ("hevc", [*WHEEL, "h264_rkmpp"], [], ["/dev/mpp_service"], []),  # FFmpeg has it for the other codec only
        ("h264", WHEEL, [], ["/dev/video10", "/dev/video11"], ["V4L2 M2M (h264_v4l2m2m)"]),
        ("h264", WHEEL, [], ["/dev/video0", "/dev/video1"], []),  # a USB camera
        (
            "h264",
            [*WHEEL, "h264_rkmpp"],
            ["vaapi"],
            ["/dev/video10", "/dev/dri/renderD128", "/dev/mpp_service"],
            ["RKMPP (h264_rkmpp)", "VAAPI (h264)", "V4L2 M2M (h264_v4l2m2m)"],  # the board's own one first
        ),
        ("mjpeg", [*WHEEL, "mjpeg", "mjpeg_cuvid"], ["cuda"], ["/dev/nvidia0"], []),
        ("libdav1d", [*WHEEL, "av1_cuvid"], ["cuda"], ["/dev/nvidia0"], []),
    ],
)
def test_what_is_worth_a_try(codec, decoders, devices, nodes, expected):
    assert [way.label(codec) for way in choose(codec, decoders, devices, nodes)] == expected


def test_a_box_is_asked_for_its_own_facts():
    """Whatever this machine has; the nodes of each way that it names are there."""
    for way in here("h264"):
        assert way in choose("h264", av.codecs_available, hwdevices_available(), [way.nodes.replace("[0-9]*", "0")])
    assert here("mjpeg") == ()


@dataclass(frozen=True)
class Played:
    """What one reading gave."""

    told: list
    pictures: list

    @property
    def times(self):
        return [round(picture.t, 3) for picture in self.pictures]


def read(path, *ways, sample_s=0.1, desk=None, **more):
    source = Source("cam-1", "file", str(path), sample_s, live=False, hardware=True, **more)
    events = list(Reading(source, desk or FakeDesk(), lambda _codec: ways).once())
    told = [(one.decoder, one.failed) for one in events if isinstance(one, Decoding)]
    return Played(told, [one for one in events if isinstance(one, Picture)])


def same(one, other, within=0):
    assert one.times == other.times
    for ours, theirs in zip(one.pictures, other.pictures, strict=True):
        assert np.abs(ours.planes.astype(int) - theirs.planes).max() <= within


@dataclass(frozen=True)
class Bent(Way):
    """FFmpeg's software decoder in the place of hardware, with what hardware may do.

    Args:
        bend: gets the decoder's pictures for each packet, and the packet's number from 0.
    """

    bend: object = staticmethod(lambda frames, _number: frames)

    def open(self, known):
        return BentContext(super().open(known), self.bend)


class BentContext:
    """Stands in for the decoder of a driver."""

    def __init__(self, context, bend):
        self._context, self._bend, self._number = context, bend, -1

    def decode(self, packet):
        self._number += 1
        return self._bend(self._context.decode(packet), self._number)


def bent(bend):
    return Bent("Chip", "/dev/chip", bend=bend)


# the ways of the wheel that find no device here: at opening, at the first packet, for want of it in this FFmpeg
@pytest.mark.parametrize(
    "way",
    [
        Way("NVDEC", "", suffix="_cuvid"),
        Way("NVDEC", "", device="cuda"),
        Way("V4L2 M2M", "", suffix="_v4l2m2m"),
        Way("QSV", "", suffix="_qsv"),
        Way("VAAPI", "", device="vaapi"),
        Way("RKMPP", "", suffix="_rkmpp"),
    ],
    ids=lambda way: way.label("h264"),
)
def test_hardware_that_is_not_there_costs_no_picture(street, way):
    if any((one.device, one.suffix) == (way.device, way.suffix) for one in here("h264")):
        pytest.skip("this machine has it")
    played = read(street, way)
    assert [decoder for decoder, _ in played.told] == [way.label("h264"), SOFTWARE]
    assert played.told[1][1].startswith(way.label("h264") + ": ")
    assert len(played.pictures) == LENGTH_S * FPS
    same(played, read(street))


def test_each_way_gets_one_try_and_nothing_is_lost_between_them(street):
    absent, silent, good = Way("RKMPP", "", suffix="_rkmpp"), bent(lambda _frames, _number: []), bent(lambda f, _: f)
    played = read(street, absent, silent, good)
    label = good.label("h264")
    assert [decoder for decoder, _ in played.told] == ["RKMPP (h264_rkmpp)", label, label]
    assert f"{label}: no picture came of 31 packets" in played.told[2][1]
    same(played, read(street))


def breaks_at(number, fault):
    def bend(frames, at):
        if at == number:
            raise fault
        return frames

    return bend


DRIVER = ExternalError(-542398533, "Generic error in an external library")


def test_hardware_that_fails_in_the_midst_costs_pictures_up_to_the_next_key_frame(street):
    whole, fails_at = read(street), 2 * GOP + 5
    played = read(street, bent(breaks_at(fails_at, DRIVER)))
    assert played.told[1] == (SOFTWARE, "Chip (h264): Generic error in an external library")
    assert played.times == whole.times[:fails_at] + whole.times[3 * GOP :]


def test_it_is_not_tried_again_by_that_reading_process(street):
    source = Source("cam-1", "file", str(street), 0.1, live=False, hardware=True)
    reading = Reading(source, FakeDesk(), lambda _codec: (bent(breaks_at(3, DRIVER)),))
    passes = [list(reading.once()) for _ in range(3)]
    told = [one.decoder for events in passes for one in events if isinstance(one, Decoding)]
    assert told == ["Chip (h264)", SOFTWARE]
    counts = [sum(isinstance(one, Picture) for one in events) for events in passes]
    assert counts == [LENGTH_S * FPS - (GOP - 3), LENGTH_S * FPS, LENGTH_S * FPS]


def test_a_broken_packet_is_not_the_fault_of_hardware(street):
    """A camera's stream loses some; software drops them as well."""
    played = read(street, bent(breaks_at(30, InvalidDataError(-1094995529, "Invalid data"))))
    assert played.told == [("Chip (h264)", "")]
    assert len(played.pictures) == LENGTH_S * FPS - 1


def test_hardware_that_falls_silent_is_given_up(street):
    played = read(street, bent(lambda frames, number: frames if number < 10 else []))
    assert played.told[-1] == (SOFTWARE, "Chip (h264): no picture came of 31 packets")
    whole = read(street).times
    assert played.times == whole[:10] + whole[3 * GOP :]


def nv12(frames, _number):
    made = []
    for frame in frames:
        other = frame.reformat(format="nv12")
        other.pts, other.time_base = frame.pts, frame.time_base
        made.append(other)
    return made


@pytest.mark.parametrize(
    ("width", "height", "pix_fmt"),
    [(640, 360, "yuv420p"), (640, 360, "yuvj420p"), (642, 362, "yuv420p"), (2560, 1440, "yuv420p")],
)
def test_nv12_becomes_the_same_i420_masks_and_all(tmp_path, width, height, pix_fmt):
    """Full range, sizes that no chip's rows are aligned to, and what is made smaller."""
    path = tmp_path / "sizes.mp4"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.options = {"preset": "ultrafast", "bf": "0"}
        picture = clips.street_frame(20.0)
        for _ in range(4):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(width, height, pix_fmt)
            for packet in stream.encode(frame):
                output.mux(packet)
        for packet in stream.encode():
            output.mux(packet)
    masks = (((0.0, 0.0), (0.3, 0.0), (0.3, 0.4), (0.0, 0.4)),)
    seen = []

    def bend(frames, number):
        made = nv12(frames, number)
        seen.extend(frame.format.name for frame in made)
        return made

    played = read(path, bent(bend), masks=masks)
    assert seen == ["nv12"] * 4
    assert played.told == [("Chip (h264)", "")]
    # scaling NV12 and I420 rounds differently
    same(played, read(path, masks=masks), within=0 if width < 1920 else 2)


def test_pictures_in_memory_that_cannot_be_read_are_left_to_software(street):
    class Unreadable:
        """A picture in the memory of a device."""

        def reformat(self, **_):
            raise av.error.ArgumentError(22, "Invalid argument")

    played = read(street, bent(lambda frames, _number: [Unreadable() for _ in frames]))
    assert played.told[1] == (SOFTWARE, "Chip (h264): Invalid argument")
    same(played, read(street))


def test_pictures_that_lost_their_time_get_that_of_their_packets(tmp_path):
    """With pictures that are reordered, and hardware that holds some back."""
    path = clips.write(tmp_path / "mpeg.avi", clips.street_frame, LENGTH_S, codec="libx264")
    held = []

    def bend(frames, _number):
        for frame in frames:
            frame.pts = None
        held.extend(frames)
        return [held.pop(0)] if len(held) > 5 else []

    played, whole = read(path, bent(bend)), read(path)
    assert played.told == [("Chip (h264)", "")]
    assert played.times == whole.times[: len(played.times)]
    assert len(played.times) == len(whole.times) - 5


class Wanting(FakeDesk):
    """A rule wants five pictures a second for a while."""

    def __init__(self, first, last):
        super().__init__()
        self._first, self._last, self._keys = first, last, -1

    def fps(self):
        self._keys += 1  # it is asked at each key frame
        return 5.0 if self._first <= self._keys < self._last else 0.0


def test_hardware_is_at_work_only_while_all_pictures_are_needed(tmp_path):
    """Key frames alone are for software, and a session that idles would hold memory of the device."""
    path = clips.write(tmp_path / "keys.mp4", clips.street_frame, 20, gop=10)
    opened = []

    @dataclass(frozen=True)
    class Counted(Bent):
        def open(self, known):
            context = super().open(known)
            opened.append(weakref.ref(context))
            return context

    way = Counted("Chip", "/dev/chip")
    usual = read(path, way, sample_s=1.0)
    assert (usual.told, opened) == ([], [])
    played = read(path, way, sample_s=1.0, desk=Wanting(8, 12))
    assert played.told == [("Chip (h264)", ""), (SOFTWARE, "")]
    assert len(opened) == 1
    gc.collect()
    assert opened[0]() is None
    assert played.times == [*range(8), *(round(0.2 * step, 1) for step in range(40, 60)), *range(12, 20)]
    whole = read(path)
    wanted = [whole.pictures[whole.times.index(t)] for t in played.times]
    same(played, Played([], wanted))


def test_a_demand_that_is_over_before_anything_came_loses_no_sample(tmp_path):
    """Hardware that takes in all of the time of a demand, and gives nothing."""
    path = clips.write(tmp_path / "keys.mp4", clips.street_frame, 20, gop=10)
    silent = bent(lambda _frames, _number: [])
    played = read(path, silent, sample_s=1.0, desk=Wanting(8, 10))
    assert [decoder for decoder, _ in played.told] == ["Chip (h264)", SOFTWARE]
    assert played.times == [float(second) for second in range(20)]
    same(played, read(path, sample_s=1.0))


def test_without_leave_no_hardware_is_asked_for(street):
    def ways(_codec):
        raise AssertionError("nobody may ask")

    events = list(Reading(Source("cam-1", "file", str(street), 0.1, live=False), FakeDesk(), ways).once())
    assert isinstance(events[0], Opened)


@pytest.mark.parametrize(("line", "allowed"), [("", True), ("hardware_decoding = false", False)])
def test_it_can_be_turned_off(tmp_path, street, line, allowed):
    path = tmp_path / "box.toml"
    path.write_text(
        f'version = 1\n[box]\nid = "box-1"\nsite = "s"\n{line}\n[[camera]]\nid = "cam-1"\nsource = "{street}"\n'
    )
    config = load_settings(path)
    camera = pick_camera(config, None)
    assert Source.from_camera(camera, config).hardware is allowed
    # a replay is the same on each machine
    assert not Source.of_clip(street, camera).hardware


def test_check_names_the_decoder(street):
    source = Source("cam-1", "file", str(street), 1.0)
    assert check_camera(source) == (
        "640x360, h264, 10 frames a second; where key frames are not enough: decoded by software"
    )


class Scripted:
    """A nursery whose reading processes write what a script says, and sleep."""

    def __init__(self, *scripts):
        self.scripts, self.sources, self._processes = list(scripts), [], []

    def start(self, source, descriptors):
        self.sources.append(Source.from_json(source))
        for kind, values in self.scripts.pop(0):
            wire.write(descriptors[0], kind, **values)
        process = subprocess.Popen(["sleep", "60"], pass_fds=[descriptors[0]])
        self._processes.append(process)
        return process.pid, os.pidfd_open(process.pid)

    def close(self):
        for one in self._processes:
            one.kill()
            one.wait()


CHIP = (wire.DECODING, {"decoder": "Chip (h264)", "failed": ""})
SOFT = (wire.DECODING, {"decoder": SOFTWARE, "failed": ""})
ALIVE = (wire.TALLY, {"read": 1})
PICTURE = (wire.FRAME, {"slot": 0, "t": 0.0, "key": True, "width": 64, "height": 36})
CRASH = (wire.DIED, {"status": -11})
BROKE = (wire.FAILED, {"text": "the connection broke"})


@pytest.mark.parametrize(
    ("script", "trusted"),
    [
        ([CHIP, CRASH], False),  # a driver takes its process down
        ([CHIP, PICTURE, CRASH], False),
        ([CHIP], False),  # it hangs at once
        ([ALIVE, PICTURE, CHIP], False),  # it hangs when a rule wants more
        ([ALIVE, PICTURE], True),  # the network hangs
        ([PICTURE, CRASH], True),  # something else
        ([CHIP, PICTURE, SOFT, CRASH], True),  # it was over with hardware by then
        ([CHIP, PICTURE, BROKE], True),  # the camera was switched off
    ],
)
def test_hardware_that_hangs_or_crashes_is_not_used_again(monkeypatch, script, trusted):
    """Its process cannot tell: the next one is sent off without leave to use it."""
    nursery = Scripted(script, [BROKE])
    monkeypatch.setattr(process, "nursery", lambda: nursery)
    skipped = [0.0]

    def monotonic():
        skipped[0] += 1.0
        return time.monotonic() + skipped[0]

    source = Source("cam-1", "network", "rtsp://10.0.0.5/a", 1.0, hardware=True)
    try:
        with LiveCamera(source, time.time, monotonic) as camera:
            for event in camera.events():
                if isinstance(event, Condition) and event.restarts == 2:
                    camera.close()
    finally:
        nursery.close()
    assert nursery.sources == [source, replace(source, hardware=trusted)]


def test_hardware_is_told_once(monkeypatch, caplog):
    failed = (wire.DECODING, {"decoder": SOFTWARE, "failed": "Chip (h264): no memory"})
    nursery = Scripted([CHIP, failed, BROKE], [CHIP, failed, BROKE], [BROKE])
    monkeypatch.setattr(process, "nursery", lambda: nursery)
    caplog.set_level("INFO", reader.__name__)
    try:
        source = Source("cam-1", "network", "rtsp://10.0.0.5/a", 1.0, hardware=True)
        with LiveCamera(source, time.time, time.monotonic) as camera:
            for event in camera.events():
                if isinstance(event, Condition) and event.restarts == 2:
                    camera.close()
    finally:
        nursery.close()
    warnings = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert warnings == [
        "camera cam-1: where key frames are not enough, software decodes; tried in vain: Chip (h264): no memory"
    ]

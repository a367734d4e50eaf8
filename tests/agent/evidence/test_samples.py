"""The hour of samples: one per ten seconds, small, masked, bounded; and good enough to try settings on."""

import numpy as np
import pytest

from agent.evidence.masking import Masker
from agent.evidence.samples import KEPT_S, MAX_BYTES, Samples
from agent.rules import frontage
from agent.vision.places import zone_mask
from agent.vision.still import StillScene
from protocol.geometry import box_iou
from protocol.settings import Camera, FrontageZone
from tests import clips
from tests.agent.evidence.test_evidence import NOBODY, detail, noise
from tests.runners import EPOCH_S, frame, runner

WHOLE = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))


@pytest.mark.parametrize(
    ("sample_s", "kept", "apart_s"),
    [
        (0.2, 3, 10.0),
        (1.0, 11, 10.0),
        # a rate that is no divisor of ten seconds
        (7.0, 10, 14.0),
        # fewer than one per ten seconds come
        (60.0, 10, 60.0),
    ],
)
def test_one_sample_per_ten_seconds_of_picture_time(sample_s, kept, apart_s):
    samples = Samples(Masker(None))
    picture = clips.street_frame(0)
    for n in range(round(kept * apart_s / sample_s - apart_s / sample_s) + 1):
        samples.add(frame(picture, n * sample_s), NOBODY)
    times_s = [one.time_s - EPOCH_S for one in samples]
    assert times_s == pytest.approx([n * apart_s for n in range(kept)], abs=sample_s)


def test_an_hour_is_kept_and_no_more():
    samples = Samples(Masker(None))
    picture = frame(np.full((36, 64, 3), 90, np.uint8), 0)
    for n in range(500):
        samples.add(type(picture)(EPOCH_S + 10.0 * n, True, picture.planes), NOBODY)
    times_s = [one.time_s for one in samples]
    assert times_s[-1] == EPOCH_S + 4990
    assert times_s[-1] - times_s[0] == KEPT_S
    assert len(samples) == len(times_s) == 361
    assert samples.bytes == sum(len(one.jpeg) for one in samples)


def test_pictures_that_are_hard_to_press_shorten_the_hour_and_not_the_memory(detectors):
    """Noise at full sharpness, which nothing pixelates as a face model is there: the worst case for JPEG."""
    samples = Samples(Masker(detectors / "yunet-s-640.onnx"))
    for n in range(160):
        samples.add(frame(noise(320, 320, seed=n), 10.0 * n), NOBODY)
        assert samples.bytes <= MAX_BYTES
    assert len(samples) < 160
    assert [one.time_s for one in samples][-1] == EPOCH_S + 1590


def test_samples_are_small_and_masked(detectors):
    person = np.array([[0.3, 0.3, 0.2, 0.6]], np.float32)
    samples = Samples(Masker(detectors / "yunet-s-640.onnx"))
    samples.add(frame(np.kron(noise(180, 320), np.ones((4, 4, 1), np.uint8)), 0.0), person)
    (sample,) = samples
    rgb = sample.rgb()
    assert rgb.shape == (180, 320, 3)
    assert sample.luma().shape == (180, 320)
    head, legs = (slice(56, 78), slice(98, 158)), (slice(100, 160), slice(98, 158))
    assert detail(rgb[head]) < detail(rgb[legs]) / 3
    assert (sample.persons == person).all()


def test_without_a_face_model_all_is_pixelated():
    samples = Samples(Masker(None))
    samples.add(frame(noise(), 0.0), NOBODY)
    (sample,) = samples
    assert detail(sample.rgb()) < detail(noise(180, 320)) / 5


def test_another_view_begins_another_hour():
    samples = Samples(Masker(None))
    samples.add(frame(noise(), 0.0), NOBODY)
    samples.forget()
    assert (len(samples), samples.bytes) == (0, 0)
    samples.add(frame(noise(), 1.0), NOBODY)
    assert len(samples) == 1


def test_a_zone_tried_on_the_samples_finds_what_the_live_run_found():
    """A crate stands there for eight minutes. The live run watched the whole picture; later a smaller zone is tried."""

    def street(t):
        picture = clips.street_frame(t % 12)
        if 200 <= t < 680:
            x, y, _, _ = clips.CRATE
            clips.put(picture, clips.crate(), round(x * clips.WIDTH), round(y * clips.HEIGHT))
        return picture

    told = []
    zone = FrontageZone(id="front", kind="frontage", polygon=WHOLE, dwell_s=120, clear_s=4)
    watching = runner(Camera(id="cam-1", source="x", zone=(zone,)), told.append, learn_s=60)
    for t in range(0, 800, 2):
        watching.look(frame(street(t), float(t)))
    assert [event.type.rpartition(".")[2] for event in told] == ["opened", "cleared"]

    smaller = zone.model_copy(update={"polygon": ((0.4, 0.4), (0.8, 0.4), (0.8, 0.8), (0.4, 0.8)), "dwell_s": 200})
    scene, found = StillScene(learn_s=60), {}
    for sample in watching.samples:
        people = tuple(tuple(map(float, box)) for box in sample.persons)
        view = scene.observe(sample.luma(), sample.time_s, people)
        if view is not None:
            raster = zone_mask(smaller.polygon, view.sure.shape)
            for breach in frontage.breaches(smaller, raster, view, lambda _: (None, None)):
                found.setdefault("first", (sample.time_s, breach))
                found["last"] = (sample.time_s, breach)
    (at_s, first), (until_s, _) = found["first"], found["last"]
    assert box_iou(first.place, told[0].data.place) > 0.5
    # somebody who walks by again and again hides it from a window of five samples at times
    assert 400 <= at_s - EPOCH_S <= 480
    assert 600 <= until_s - EPOCH_S <= 720

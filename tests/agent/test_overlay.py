"""The overlay: a video that plays as the clip did, with everything where it belongs, and nobody's face."""

import sys
from zoneinfo import ZoneInfo

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.camera.errors import FilmError
from agent.drawing import GREEN, GREY, ORANGE, SKY, VERMILLION, WHITE, YELLOW, Labels, shorten, text_width
from agent.evidence.masking import Masker
from agent.film import Film
from agent.overlay import HEADER_PX, PANEL_PX, Overlay, clock
from agent.snapshot import Mark, Snapshot, StillLook, Tally, ZoneLook
from agent.uplink.outbox import Outbox
from protocol.settings import Camera, FrontageZone
from tests import boxes, clips
from tests.agent.evidence.test_evidence import detail, noise
from tests.runners import EPOCH_S, frame, runner
from tests.services import BIN, run

AGENT = BIN / "cityeye-agent"
NOBODY = np.zeros((0, 4), np.float32)
ZONE = ZoneLook("front", "frontage", "shop-1", ((0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.1, 0.9)))
GREY_PICTURE = np.full((360, 640, 3), 128, np.uint8)
"""At twice the size it fills the overlay's picture."""


def overlay(masker=None):
    return Overlay(masker or Masker(None), ZoneInfo("UTC"), EPOCH_S)


def snapshot(*zones, persons=NOBODY, ids=None, state="live", still=None, t=25.0, looked_at=None, hidden=None):
    ids = np.zeros(len(persons), np.int64) if ids is None else np.array(ids)
    return Snapshot("cam-1", EPOCH_S + t, state, zones, persons, ids, still, looked_at, hidden)


def draw(*zones, rgb=GREY_PICTURE, **what):
    return overlay().draw(frame(rgb, 25.0), snapshot(*zones, **what))


def picture(canvas):
    return canvas[HEADER_PX:, :-PANEL_PX]


def has(part, colour, tolerance=12):
    """How many pixels are of a colour."""
    return int((np.abs(part.astype(int) - colour).max(axis=2) <= tolerance).sum())


def films(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        pictures = [(float(one.time), one.to_ndarray(format="rgb24")) for one in container.decode(stream)]
        return pictures, container.duration / 1e6, stream.codec_context.name


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (9.99, "0:09"), (75, "1:15"), (3600, "1:00:00"), (-1, "0:00"), (86399, "23:59:59")],
)
def test_times_are_written_as_people_write_them(seconds, text):
    assert clock(seconds) == text


def test_the_film_shows_the_whole_life_of_an_incident_at_real_speed(street, tmp_path):
    settings = boxes.settings(tmp_path, {**boxes.FRONTAGE, "clear_s": 5.0})
    done = run(AGENT, "replay", street, "--settings", settings, "--overlay", tmp_path / "out.mp4")
    assert done.returncode == 0, done.stderr
    pictures, duration_s, codec = films(tmp_path / "out.mp4")
    assert codec in ("h264", "mpeg4")
    times_s = [t for t, _ in pictures]
    # the clip has a key frame per second, and is read at one sample per second
    assert times_s == pytest.approx(list(range(60)), abs=0.101)
    assert duration_s == pytest.approx(60, abs=0.2)
    assert {one.shape for _, one in pictures} == {(HEADER_PX + 720, 1280 + PANEL_PX, 3)}
    x, y, w, h = (np.array(clips.CRATE) * (1280, 720, 1280, 720)).round().astype(int)
    around = (slice(y - 40, y + h + 40), slice(x - 40, x + w + 40))
    while_open = picture(pictures[35][1])[around]
    assert has(while_open, VERMILLION, 40) > 500
    for seconds in (5, 14):
        assert has(picture(pictures[seconds][1])[around], VERMILLION, 40) == 0
    # after it was seen clear, for a while
    assert max(has(picture(pictures[seconds][1])[around], GREEN, 40) for seconds in range(50, 56)) > 500
    assert list(tmp_path.glob("*.part")) == []


def test_a_clip_without_any_zone_gets_its_film_too(street, tmp_path):
    settings = boxes.settings(tmp_path, camera={"sample_s": 3.0})
    done = run(AGENT, "replay", street, "--settings", settings, "--overlay", tmp_path / "out.mp4")
    assert (done.returncode, done.stdout) == (0, "")
    pictures, duration_s, _ = films(tmp_path / "out.mp4")
    assert [round(t) for t, _ in pictures] == list(range(0, 60, 3))
    assert duration_s == pytest.approx(60, abs=0.3)


@pytest.mark.parametrize(
    ("overlay_path", "expected"),
    [
        ("/nowhere/x.mp4", "/nowhere/x.mp4: expected a video file that can be written: No such file"),
        ("{folder}", "expected a file's name, got a folder"),
        ("{clip}", "expected another file than the clip itself"),
    ],
)
def test_a_film_that_cannot_be_written_is_told_in_one_line(tmp_path, overlay_path, expected):
    clip = clips.write(tmp_path / "clip.mp4", clips.street_frame, 3)
    before = clip.read_bytes()
    path = overlay_path.format(folder=tmp_path, clip=clip)
    done = run(AGENT, "replay", clip, "--settings", boxes.settings(tmp_path, boxes.FRONTAGE), "--overlay", path)
    assert (done.returncode, done.stdout) == (2, "")
    assert expected in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert clip.read_bytes() == before
    assert list(tmp_path.glob("*.part")) == []


FILLED = """
import resource
from agent.camera import process
make = process.new_memory
def limited():
    memory = make()  # which counts as a file
    resource.setrlimit(resource.RLIMIT_FSIZE, (102400, 102400))
    return memory
process.new_memory = limited
from agent.start import main
main()
"""


def test_a_disk_that_fills_up_leaves_one_line_and_no_half_film(street, tmp_path):
    """Files cannot grow beyond 100 KB, which stands for a full disk."""
    settings = boxes.settings(tmp_path, boxes.FRONTAGE)
    target = tmp_path / "out.mp4"
    target.write_bytes(b"an older film")
    done = run(sys.executable, "-c", FILLED, "replay", street, "--settings", settings, "--overlay", target)
    assert done.returncode == 2
    assert f"{target}: expected a video file that can be written: File too large" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert target.read_bytes() == b"an older film"
    assert list(tmp_path.glob("*.part")) == []


def test_what_fails_midway_leaves_the_older_film_alone(tmp_path):
    target = tmp_path / "out.mp4"
    target.write_bytes(b"an older film")
    with pytest.raises(ZeroDivisionError), Film(target, last_s=1.0) as film:
        film.add(GREY_PICTURE, 1 / 0)
    assert target.read_bytes() == b"an older film"
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_pictures_keep_their_times(tmp_path):
    times_s = [0.0, 1.0, 1.0, 3.5, 10.25]
    with Film(tmp_path / "out.mp4", last_s=2.0) as film:
        for n, t in enumerate(times_s):
            film.add(np.full((64, 64, 3), 40 * n, np.uint8), t)
    pictures, duration_s, _ = films(tmp_path / "out.mp4")
    # two pictures of one instant stay in order
    assert [t for t, _ in pictures] == pytest.approx([0.0, 1.0, 1.001, 3.5, 10.25], abs=1e-6)
    assert duration_s == pytest.approx(12.25, abs=0.01)
    assert [one.mean() for _, one in pictures] == pytest.approx([0, 40, 80, 120, 160], abs=4)


@pytest.mark.parametrize("size", [(16, 16), (2, 640), (640, 2), (1080, 1920), (1920, 1080), (242, 322)])
def test_pictures_of_any_size_become_a_film(tmp_path, size):
    """Height and width; a frame's are always even."""
    zone = ZoneLook("a" * 63, "frontage", "b" * 63, ZONE.polygon, marks=(Mark((0, 0, 1, 1), "dwell", 5, 10, "c" * 80),))
    crowd = ZoneLook("crowd", "gathering", None, ZONE.polygon, tally=Tally(5, True, "at most 4", True, 2, 3, False))
    rgb = np.full((*size, 3), 90, np.uint8)
    persons = np.array([[0.2, 0.2, 0.1, 0.4], [-0.1, 0.9, 0.5, 0.5]], np.float32)
    still = StillLook(np.zeros((90, 320), np.uint8), np.ones((90, 320), np.bool_), np.ones((90, 320), np.bool_))
    painter = overlay()
    with Film(tmp_path / "out.mp4", last_s=1.0) as film:
        for t in range(3):
            now = snapshot(zone, crowd, *[ZONE] * 30, persons=persons, ids=[7, 0], still=still, t=float(t))
            film.add(painter.draw(frame(rgb, float(t)), now), float(t))
    pictures, _, _ = films(tmp_path / "out.mp4")
    assert len(pictures) == 3
    height, width = pictures[0][1].shape[:2]
    assert height >= HEADER_PX + 480
    assert PANEL_PX + 2 <= width <= PANEL_PX + 1280


@pytest.mark.parametrize(
    ("state", "colour", "word_is_dark"),
    [
        ("new", YELLOW, True),
        ("dwell", ORANGE, True),
        ("incident", VERMILLION, False),
        ("clearing", GREEN, False),
        ("cleared", GREEN, False),
        ("not_seen", GREY, True),
    ],
)
def test_each_state_has_its_colour_around_the_place_and_beneath_its_word(state, colour, word_is_dark):
    zone = ZoneLook(**{**ZONE.__dict__, "marks": (Mark((0.4, 0.5, 0.1, 0.2), state, 7, 10),)})
    drawn = picture(draw(zone))
    # the place is 512 to 640 across and 360 to 504 down; its label stands above it
    assert has(drawn[356:364, 512:640], colour) > 100
    label = drawn[338:358, 514:560]
    assert has(label, colour) > label.shape[0] * label.shape[1] / 3
    assert has(label, (0, 0, 0) if word_is_dark else WHITE, 60) > 30
    # nothing of it elsewhere
    assert has(drawn[520:640, 200:1100], colour, 0) == 0
    assert has(picture(draw(ZONE))[340:510, 500:660], colour) == 0


def test_the_bar_of_a_dwell_fills_up():
    def filled(elapsed_s):
        zone = ZoneLook(**{**ZONE.__dict__, "marks": (Mark((0.25, 0.5, 0.5, 0.2), "dwell", elapsed_s, 100),)})
        return has(picture(draw(zone))[499:502, 330:950], ORANGE)

    shares = [filled(elapsed_s) for elapsed_s in (0, 25, 50, 75, 100)]
    assert shares == sorted(shares)
    assert shares[0] < 50
    assert shares[2] == pytest.approx(shares[4] / 2, rel=0.1)


def test_a_zone_is_outlined_and_named():
    drawn = picture(draw(ZONE))
    # left edge at 128, right edge at 1152, of 72 to 648
    for column in (128, 1152):
        assert has(drawn[100:600, column - 2 : column + 3], WHITE) > 800
    assert has(drawn[48:72, 130:200], WHITE) > 600
    assert has(drawn[100:600, 200:1100], WHITE) == 0


def test_the_header_tells_open_incidents_and_the_state():
    quiet = draw(ZONE)[:HEADER_PX]
    assert has(quiet, VERMILLION) == 0
    assert has(quiet, GREEN) > 500
    zone = ZoneLook(**{**ZONE.__dict__, "marks": (Mark((0.4, 0.5, 0.1, 0.2), "not_seen", 7, 10),)})
    assert has(draw(zone)[:HEADER_PX], VERMILLION) > 1000
    assert has(draw(ZONE, state="learning")[:HEADER_PX], SKY) > 500
    assert has(draw(ZONE, state="covered")[:HEADER_PX], YELLOW) > 500


@pytest.mark.parametrize(
    ("over", "incident", "colour"), [(False, False, SKY), (True, False, ORANGE), (True, True, VERMILLION)]
)
def test_people_whose_feet_are_counted_have_a_full_dot(over, incident, colour):
    """One stands in the zone with their feet, one only with their head."""
    tally = Tally(1, False, "at most 4", over, 2.0, 3.0, incident)
    zone = ZoneLook("square", "gathering", None, ((0.0, 0.5), (1.0, 0.5), (1.0, 1.0), (0.0, 1.0)), tally=tally)
    persons = np.array([[0.2, 0.4, 0.1, 0.4], [0.7, 0.1, 0.1, 0.3]], np.float32)
    drawn = picture(draw(zone, persons=persons))
    # feet at (320, 576) and (960, 288)
    assert has(drawn[572:581, 316:325], SKY) > 60
    assert has(drawn[284:293, 956:965], SKY) == 0
    assert has(drawn[362:700, 0:4], colour) > 300


def test_tracks_leave_a_trail_and_a_number():
    painter = overlay()
    zone = ZoneLook("square", "gathering", None, ZONE.polygon, tally=Tally(1, False, "at most 4", False, 0, 3, False))
    for t in range(4):
        person = np.array([[0.2 + 0.1 * t, 0.3, 0.05, 0.3]], np.float32)
        canvas = painter.draw(frame(GREY_PICTURE, float(t)), snapshot(zone, persons=person, ids=[12], t=float(t)))
    # feet went along y = 432 from x = 288 to 672
    assert has(picture(canvas)[428:437, 300:600], SKY) > 400
    # six seconds later somebody else is there, and the trail is gone
    other = snapshot(zone, persons=np.array([[0.8, 0.3, 0.05, 0.3]], np.float32), ids=[13], t=9.0)
    assert has(picture(painter.draw(frame(GREY_PICTURE, 9.0), other))[428:437, 300:600], SKY) == 0


def test_the_still_scene_shows_what_stands_there():
    luma = np.full((180, 320), 90, np.uint8)
    occupied = np.zeros((180, 320), np.bool_)
    occupied[60:120, 100:200] = True
    panel = draw(ZONE, still=StillLook(luma, occupied, np.zeros_like(occupied)))[HEADER_PX:, -PANEL_PX:]
    tinted = (90 * 0.55 + np.array(ORANGE) * 0.45).round()
    assert has(panel, tinted, 6) > 0.8 * 60 * 100
    panel = draw(ZONE, still=StillLook(luma, np.zeros_like(occupied), np.zeros_like(occupied)))[HEADER_PX:, -PANEL_PX:]
    assert has(panel, tinted, 6) == 0


def test_without_a_face_model_only_the_place_that_matters_is_sharp():
    zone = ZoneLook(**{**ZONE.__dict__, "marks": (Mark((0.4, 0.5, 0.2, 0.3), "incident", 7, 10),)})
    rgb = noise()
    person = np.array([[0.45, 0.55, 0.1, 0.24]], np.float32)
    drawn = picture(overlay().draw(frame(rgb, 25.0), snapshot(zone, persons=person)))
    item, head, street = drawn[480:560, 710:760], drawn[402:436, 580:700], drawn[580:640, 200:1100]
    assert detail(item) > 5 * detail(street)
    assert detail(head) < detail(item) / 2
    # and a place with people stays hidden whatever happens there
    crowd = ZoneLook("square", "gathering", None, ZONE.polygon, marks=zone.marks)
    drawn = picture(overlay().draw(frame(rgb, 25.0), snapshot(crowd)))
    assert detail(drawn[480:560, 710:760]) < detail(item) / 5


@pytest.mark.parametrize("which", ["persons", "hidden"])
def test_heads_are_hidden_in_the_picture_and_on_the_still_scene(detectors, vtest, which):
    """Real walkers with a real face model; heads from boxes, as the detector gives them."""
    with av.open(str(vtest)) as container:
        rgb = next(container.decode(video=0)).to_ndarray(format="rgb24")
    height, width = rgb.shape[:2]
    masker = Masker(detectors / "yunet-s-640.onnx")
    luma = cv2.resize(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), (320, round(height * 320 / width)))
    nothing = np.zeros(luma.shape, np.bool_)
    still = StillLook(luma, nothing, nothing)
    persons = np.array([[0.4, 0.3, 0.2, 0.4]], np.float32)
    free = overlay(masker).draw(frame(rgb, 25.0), snapshot(still=still))
    drawn = overlay(masker).draw(frame(rgb, 25.0), snapshot(still=still, **{which: persons}))
    # the picture is 960 × 720: the head is 384 to 576 across, 216 to 288 down
    head = (slice(220, 284), slice(390, 570))
    assert detail(picture(drawn)[head]) < detail(picture(free)[head]) / 2
    # on the still scene, 332 wide, it is a third of that
    inset = (slice(HEADER_PX + 42 + 78, HEADER_PX + 42 + 96), slice(960 + 14 + 138, 960 + 14 + 195))
    assert detail(drawn[inset]) < detail(free[inset]) * 0.8
    # who has just left may still be on the still scene
    painter = overlay(masker)
    painter.draw(frame(rgb, 23.0), snapshot(still=still, t=23.0, **{which: persons}))
    later = painter.draw(frame(rgb, 25.0), snapshot(still=still))
    assert (later[inset] == drawn[inset]).all()
    assert (picture(later) == picture(free)).all()


def test_where_nobody_looked_for_people_nothing_is_sharp(detectors, vtest):
    with av.open(str(vtest)) as container:
        rgb = next(container.decode(video=0)).to_ndarray(format="rgb24")
    masker = Masker(detectors / "yunet-s-640.onnx")
    luma = cv2.resize(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), (320, 240))
    still = StillLook(luma, *[np.zeros(luma.shape, np.bool_)] * 2)
    everywhere = overlay(masker).draw(frame(rgb, 25.0), snapshot(still=still))
    part = overlay(masker).draw(frame(rgb, 25.0), snapshot(still=still, looked_at=(0.25, 0.0, 0.25, 1.0)))
    # the picture is 960 × 720
    looked_at, right, left = slice(246, 474), slice(484, 960), slice(0, 236)
    assert (picture(part)[:, looked_at] == picture(everywhere)[:, looked_at]).all()
    for elsewhere in (left, right):
        assert detail(picture(part)[:, elsewhere]) < detail(picture(everywhere)[:, elsewhere]) / 2
    inset = (slice(HEADER_PX + 42, HEADER_PX + 240), slice(960 + 14 + 170, 960 + 14 + 320))
    assert detail(part[inset]) < detail(everywhere[inset]) / 2


def test_an_item_goes_through_its_states_in_order():
    """A crate comes, stays and goes, before a camera that sees two pictures a second."""
    zone = FrontageZone(id="front", kind="frontage", polygon=ZONE.polygon, dwell_s=10.0, clear_s=5.0)
    watching = runner(Camera(id="cam-1", source="x", sample_s=0.5, zone=(zone,)))
    seen = []
    for n in range(130):
        t = n / 2
        watching.look(frame(clips.street_frame(t), t))
        now = watching.snapshot(EPOCH_S + t)
        assert (now.state == "learning") == (now.still is None)
        for mark in now.zones[0].marks:
            if not seen or seen[-1][0] != mark.state:
                seen.append((mark.state, t, mark.elapsed_s))
    # whether it is shown as new first depends on what else moves there
    order = [state for state, _, _ in seen if state not in ("not_seen", "new")]
    assert [state for n, state in enumerate(order) if n == 0 or state != order[n - 1]] == [
        "dwell",
        "incident",
        "clearing",
        "cleared",
    ]
    first = {state: (t, elapsed_s) for state, t, elapsed_s in reversed(seen)}
    assert clips.APPEARS_S <= first["dwell"][0] <= clips.APPEARS_S + 7
    assert first["dwell"][1] < 10 <= first["incident"][1]
    assert first["clearing"][0] > clips.GONE_S
    # it stood for 28 s
    assert first["cleared"][1] == pytest.approx(clips.GONE_S - clips.APPEARS_S, abs=4)
    assert watching.snapshot(EPOCH_S + 64.5).incidents == 0


def test_an_open_incident_is_told_while_the_scene_is_learned_again():
    """The box was restarted: it remembers the incident and not the scene."""
    zone = FrontageZone(id="front", kind="frontage", polygon=ZONE.polygon, dwell_s=10.0, clear_s=5.0)
    camera = Camera(id="cam-1", source="x", zone=(zone,))
    outbox = Outbox(None, now=lambda: EPOCH_S)
    before = runner(camera, outbox=outbox)
    for t in range(36):
        before.look(frame(clips.street_frame(t), float(t)))
    after = runner(camera, outbox=outbox)
    after.look(frame(clips.street_frame(36), 36.0))
    now = after.snapshot(EPOCH_S + 36)
    assert (now.state, now.incidents) == ("learning", 1)
    (mark,) = now.zones[0].marks
    assert mark.state == "incident"
    assert mark.elapsed_s == pytest.approx(36 - clips.APPEARS_S, abs=3)


@given(
    st.lists(
        st.tuples(st.integers(0, 900), st.integers(0, 650), st.integers(4, 300), st.integers(4, 300)),
        min_size=1,
        max_size=3,
    )
)
def test_labels_do_not_cover_one_another(anchors):
    ground = np.zeros((720, 1280, 3), np.uint8)
    labels = Labels(ground, 18)
    areas = [labels.set("dwell 0:07 / 0:10", (x, y, x + w, y + h), ORANGE) for x, y, w, h in anchors]
    for n, (left, top, right, bottom) in enumerate(areas):
        assert 0 <= left < right <= 1280
        assert 0 <= top < bottom <= 720
        for other in areas[:n]:
            assert left >= other[2] or right <= other[0] or top >= other[3] or bottom <= other[1]


@given(st.text(max_size=40), st.integers(30, 400))
def test_texts_are_cut_to_their_room(text, width):
    assert text_width(shorten(text, width, 16), 16) <= width


def test_a_film_whose_folder_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(FilmError, match="File name too long"):
        Film(tmp_path / ("x" * 255), last_s=1.0)

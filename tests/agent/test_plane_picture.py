import cv2
import numpy as np
import pytest

from agent import plane_picture
from agent.camera.errors import CameraError
from agent.plane_picture import WIDTH_PX, draw, picture_of, write_picture, zone_text
from agent.settings import load_settings
from protocol.documents import SettingsError
from protocol.settings import Camera
from tests import boxes, clips
from tests.pinhole import Pinhole
from tests.services import BIN, run

CAMERA = Pinhole(height_m=5, pitch_deg=14, focal=0.8)
"""Its horizon is a level line in the upper part of the picture."""
CORNERS = ((-2.0, 15.0), (2.0, 15.0), (2.0, 9.0), (-2.0, 9.0))
SIZE = (1280, 720)
LOW = [[0.0, 0.5], [1.0, 0.5], [1.0, 1.0], [0.0, 1.0]]


def seen(street):
    """Pixels of street points `(n, 2)`."""
    return CAMERA.see(np.column_stack([street, np.zeros(len(street))])) * SIZE


def rectangle():
    points = (seen(np.array(CORNERS)) / SIZE).round(4).tolist()
    return {"points": points, "width_m": 4, "depth_m": 6}


def camera(*zones, **values):
    return Camera.model_validate({"id": "cam-1", "source": "clip.mp4", "plane": rectangle(), "zone": zones, **values})


@pytest.fixture(scope="module")
def drawn():
    """The check picture of a black street, so that all that shines was drawn."""
    return draw(np.zeros((SIZE[1], SIZE[0], 3), np.uint8), camera()).max(axis=2)


def brightness(drawn, street):
    """Brightest pixel within 2 of each street point."""
    around = cv2.dilate(drawn, np.ones((5, 5), np.uint8))
    x, y = seen(street).round().astype(int).T
    return around[y, x]


# between the rectangle's corners at (-2, 15) and (2, 9) and to its right, where no label stands
LINES = np.array([(-1.0, 10.5), (1.0, 11.5), (0.5, 11.0), (-0.5, 12.0), (-1.5, 10.0), (3.0, 10.5)])
GAPS = np.array([(-0.5, 10.5), (0.5, 11.5), (1.5, 10.5), (-1.5, 11.5), (3.5, 10.5)])


def test_there_is_a_line_at_each_metre_of_the_street(drawn):
    assert (brightness(drawn, LINES) > 100).all()


def test_there_is_none_between_the_metres(drawn):
    assert (brightness(drawn, GAPS) == 0).all()


def test_above_the_horizon_nothing_is_drawn_but_its_label(drawn):
    horizon = round(float(CAMERA.see(np.array([[0.0, 1e7, 0.0]]))[0, 1] * SIZE[1]))
    assert (drawn[horizon - 1 : horizon + 2].max(axis=0) > 150).all()
    above = drawn[: horizon - 4]
    assert above[:, WIDTH_PX // 2 + 120 :].max() == 0
    assert above[:, : WIDTH_PX // 2 - 10].max() == 0


def test_near_the_horizon_the_grid_fades_instead_of_filling_the_picture(drawn):
    y = round(float(CAMERA.see(np.array([[0.0, 120.0, 0.0]]))[0, 1] * SIZE[1]))
    assert (drawn[y : y + 2] > 100).mean() < 0.5


@pytest.mark.parametrize("size", [(320, 180), (1920, 1080), (720, 720)])
def test_pictures_of_all_sizes_are_shown_alike(size):
    rgb = np.full((size[1], size[0], 3), 90, np.uint8)
    picture = draw(rgb, camera({**boxes.FRONTAGE, "polygon": LOW}))
    assert picture.shape == (round(WIDTH_PX * size[1] / size[0]), WIDTH_PX, 3)
    assert (rgb == 90).all()


@pytest.mark.parametrize(
    ("zone", "text"),
    [
        # half of the rectangle: 4 × 3 m
        ({**boxes.FRONTAGE, "polygon": "near half"}, "12.0 m²"),
        ({**boxes.FRONTAGE, "polygon": boxes.WHOLE}, "reaches above the horizon, no area"),
        ({**boxes.GATHERING, "polygon": "near half", "max_density": 0.5}, "12.0 m², at 0.5 per m² that bears 6 people"),
        ({**boxes.GATHERING, "polygon": "near half"}, "12.0 m²"),
    ],
)
def test_a_zone_has_its_area(zone, text):
    near_half = (seen(np.array([(-2, 12), (2, 12), (2, 9), (-2, 9)])) / SIZE).tolist()
    polygon = near_half if zone["polygon"] == "near half" else zone["polygon"]
    chosen = camera({**zone, "polygon": polygon})
    assert zone_text(chosen.zone[0], chosen.ground()) == text


def test_a_camera_without_a_plane_has_no_picture():
    with pytest.raises(SettingsError, match=r"camera cam-1: expected \[camera.plane\]"):
        plane_picture.ground_of(camera(plane=None))


def test_masks_are_burnt_into_an_image(tmp_path):
    path = tmp_path / "street.png"
    write_picture(np.full((90, 160, 3), 200, np.uint8), path)
    masked = camera(mask=[{"polygon": [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]}])
    rgb = picture_of(masked, load_settings(boxes.settings(tmp_path)), path)
    assert rgb[:, :75].max() == 0
    assert (rgb[:, 85:] == 200).all()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("gone.png", None, "can be read: No such file"),
        ("text.png", b"no picture", "cannot be read as one"),
        ("empty.jpg", b"", "cannot be read as one"),
        ("gone.mp4", None, "expected an image or a video, found none"),
        ("text.mp4", b"no clip", "expected a video"),
    ],
)
def test_what_is_no_picture_is_told_in_one_line(tmp_path, name, content, words):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CameraError, match=words) as fault:
        picture_of(camera(), load_settings(boxes.settings(tmp_path)), tmp_path / name)
    assert "\n" not in str(fault.value)


def settings(folder, source):
    zones = ({**boxes.FRONTAGE, "polygon": LOW}, {**boxes.GATHERING, "id": "all"})
    path = boxes.settings(folder, *zones, source=str(source))
    points = rectangle()["points"]
    plane = f"[camera.plane]\npoints = {points}\nwidth_m = 4\ndepth_m = 6\n"
    path.write_text(path.read_text("utf-8").replace("[[camera.zone]]", f"{plane}[[camera.zone]]", 1), "utf-8")
    return path


def test_the_command_asks_the_camera_and_writes_the_picture(street, tmp_path):
    done = run(BIN / "cityeye-agent", "plane", "--settings", settings(tmp_path, street), "--out", tmp_path / "p.png")
    assert done.returncode == 0, done.stderr
    assert "zone all: reaches above the horizon, no area" in done.stdout
    assert cv2.imread(str(tmp_path / "p.png")).shape == (720, WIDTH_PX, 3)


def test_the_command_takes_an_image(tmp_path):
    write_picture(clips.street_frame(0), tmp_path / "street.jpg")
    command = [BIN / "cityeye-agent", "plane", "--settings", settings(tmp_path, "gone.mp4")]
    done = run(*command, "--picture", tmp_path / "street.jpg", "--out", tmp_path / "p.jpg")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "p.jpg").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "plane.gif"], "ends in .png"),
        (["--out", "/none/plane.png"], "No such file"),
        (["--camera", "cam-9"], "expected one of cam-1, got 'cam-9'"),
        (["--picture", "gone.png"], "gone.png"),
    ],
)
def test_the_command_says_in_one_line_what_is_wrong(tmp_path, arguments, words):
    write_picture(clips.street_frame(0), tmp_path / "street.jpg")
    command = [BIN / "cityeye-agent", "plane", "--settings", settings(tmp_path, "gone.mp4")]
    done = run(*command, "--picture", tmp_path / "street.jpg", *arguments)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert words in done.stderr

import pytest
from pydantic import ValidationError

from protocol.documents import Section, SettingsError, first_fault
from protocol.settings import Camera
from protocol.topics import BOX_READS, BOX_WRITES, PER_CAMERA, Topic, all_boxes, parse

ZONE = {"id": "z", "kind": "gathering", "polygon": [[0, 0], [1, 0], [1, 1]], "max_people": 3}
CAMERA = {"id": "cam-1", "source": "rtsp://10.0.0.5/stream1", "zone": [ZONE]}
LOW = [[0, 0.6], [1, 0.6], [1, 1]]
SHOP = {"id": "shop-front", "kind": "frontage", "polygon": LOW, "min_area_m2": 0.5}
# its sides meet at 0.2: the horizon
PLANE = {"points": [[0.3, 0.5], [0.6, 0.5], [0.8, 0.9], [0.1, 0.9]], "width_m": 4, "depth_m": 6}


def zone(**changes):
    return CAMERA | {"zone": [ZONE | changes]}


def plane(**changes):
    return CAMERA | {"plane": PLANE | changes}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (zone(polygon=[[0, 0], [1, 1]]), ["zone z", "polygon", "at least 3 corners, got 2"]),
        (zone(polygon=[[0, 0], [1, 1], [1, 0], [0, 1]]), ["zone z", "polygon", "cross"]),
        (zone(polygon=[[0, 0], [2, 0], [1, 1]]), ["polygon", "between 0 and 1", "[2.0, 0.0]"]),
        # a corner of one number only; the list lacks the place that the fault names
        (zone(polygon=[[0, 0], [1], [1, 1]]), ["zone z", "polygon number 2 number 2", "expected a value, found none"]),
        (zone(max_peple=4), ["zone z", "unknown key 'max_peple'", "'max_people'"]),
        (zone(max_people=0), ["zone z", "max_people", "greater than or equal to 1", "got 0"]),
        (zone(kind="frontal"), ["zone z", "frontage", "gathering", "frontal"]),
        (zone(id="Zone 1"), ["zone Zone 1", "id", "got 'Zone 1'"]),
        (zone(active=["noon"]), ["active", "expected hours such as", "'noon'"]),
        (CAMERA | {"source": "rtsp://me:hunter2@10.0.0.5/"}, ["source", "without user and password"]),
        ({"id": "cam-1"}, ["source", "expected a value, found none"]),
        (CAMERA | {"sample_s": "often"}, ["sample_s", "got 'often'"]),
        (CAMERA | {"zone": [ZONE, ZONE]}, ["zone", "two zones", "'z'"]),
        (CAMERA | {"sauce": "x"}, ["unknown key 'sauce'", "'source'"]),
        (zone(max_people=None), ["zone z", "expected max_people or max_density, found neither"]),
        (zone(counting="heads"), ["zone z", "counting", "'crowd'", "got 'heads'"]),
        (zone(max_density=2), ["zone z", "max_density", "[camera.plane]", "found none"]),
        (CAMERA | {"zone": [SHOP]}, ["zone shop-front", "min_area_m2", "[camera.plane]", "found none"]),
        # the zone reaches up to the top of the picture, which is above the plane's horizon
        (zone(max_density=2) | {"plane": PLANE}, ["zone z", "max_density", "horizon", "[0, 0]"]),
        (
            CAMERA | {"plane": PLANE, "zone": [SHOP | {"polygon": [[0, 0.1], [1, 0.6], [1, 1]]}]},
            ["zone shop-front", "min_area_m2", "horizon", "[0, 0.1]"],
        ),
        (CAMERA | {"substream": "rtsp://me:hunter2@10.0.0.5/"}, ["substream", "without user and password"]),
        (CAMERA | {"substream": ""}, ["substream", "at least 1"]),
        (CAMERA | {"substream": "usb:1"}, ["substream", "expected a network camera's second stream", "usb"]),
        (CAMERA | {"source": "usb:0", "substream": "rtsp://10.0.0.5/2"}, ["substream", "got usb; take it out"]),
        (plane(points=PLANE["points"][:3]), ["plane", "points", "4 corners", "got 3"]),
        (plane(points=[[0.1, 0.5], [0.2, 0.5], [0.3, 0.5], [0.2, 0.9]]), ["plane", "points 1, 2 and 3", "one line"]),
        (plane(width_m=0), ["plane", "width_m", "greater than 0", "got 0"]),
        (plane(length_m=3), ["plane", "unknown key 'length_m'"]),
        ({**CAMERA, "zone": [{**SHOP, "allowed": [{"polygon": LOW[:2]}]}]}, ["zone shop-front", "allowed", "got 2"]),
        (CAMERA | {"compute_ms": 0}, ["compute_ms", "greater than or equal to 1", "got 0"]),
    ],
)
def test_a_fault_names_its_place_and_what_to_do(values, words):
    with pytest.raises(ValidationError) as fault:
        Camera.model_validate(values)
    line = first_fault(fault.value, values)
    assert "\n" not in line
    assert "hunter2" not in line
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    "values",
    [
        CAMERA,
        plane(),
        # a plane alone asks nothing of a zone that reaches above the horizon
        zone(polygon=[[0, 0], [1, 0], [1, 1]]) | {"plane": PLANE},
        zone(polygon=LOW, max_density=2) | {"plane": PLANE},
        zone(polygon=LOW, max_density=2, max_people=None) | {"plane": PLANE},
        zone(loiter_s=60),
        CAMERA | {"substream": "rtsp://10.0.0.5/stream2"},
        CAMERA | {"plane": PLANE, "zone": [SHOP | {"allowed": [{"polygon": LOW, "what": "a bench"}]}]},
    ],
)
def test_settings_that_fit_together_are_taken_and_come_back(values):
    camera = Camera.model_validate(values)
    assert Camera.model_validate_json(camera.model_dump_json()) == camera


def test_the_sides_belong_to_the_corners():
    ground = Camera.model_validate(plane()).ground()
    assert ground.distance_m((0.3, 0.5), (0.6, 0.5)) == pytest.approx(4)
    assert ground.distance_m((0.6, 0.5), (0.8, 0.9)) == pytest.approx(6)
    assert Camera.model_validate(CAMERA).ground() is None


class Small(Section):
    number: int = 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "expected a settings file, found none"),
        (b"number = ", "expected TOML in UTF-8"),
        (b"\xff\xfe", "expected TOML in UTF-8"),
        (b"numbr = 2", "unknown key 'numbr'; the nearest known one is 'number'"),
    ],
)
def test_a_settings_file_that_cannot_be_used_gives_one_line(tmp_path, text, words):
    path = tmp_path / "small.toml"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(SettingsError, match=words) as fault:
        Small.load(path)
    assert str(path) in str(fault.value)


@pytest.mark.parametrize("leaf", [*BOX_WRITES, *BOX_READS])
def test_topics_are_taken_apart_as_they_were_put_together(leaf):
    topic = Topic("xiaohe", "box-1", leaf, "cam-1" if leaf in PER_CAMERA else None)
    assert parse(str(topic)) == topic


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "cityeye/2/a/b/status",
        "cityeye/1/a/b",
        "cityeye/1/a/b/incident",
        "cityeye/1/a/b/nothing",
        "x/cityeye/1/a/b/ack",
    ],
)
def test_a_foreign_topic_is_refused(topic):
    with pytest.raises(ValueError, match="expected"):
        parse(topic)


def test_the_center_subscribes_per_leaf():
    assert all_boxes("incident") == "cityeye/1/+/+/incident/+"
    assert all_boxes("status") == "cityeye/1/+/+/status"

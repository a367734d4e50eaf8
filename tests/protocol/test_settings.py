import pytest
from pydantic import ValidationError

from protocol.documents import Section, SettingsError, first_fault
from protocol.settings import Camera
from protocol.topics import BOX_READS, BOX_WRITES, PER_CAMERA, Topic, all_boxes, parse

ZONE = {"id": "z", "kind": "gathering", "polygon": [[0, 0], [1, 0], [1, 1]], "max_people": 3}
CAMERA = {"id": "cam-1", "source": "rtsp://10.0.0.5/stream1", "zone": [ZONE]}


def zone(**changes):
    return CAMERA | {"zone": [ZONE | changes]}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (zone(polygon=[[0, 0], [1, 1]]), ["zone z", "polygon", "at least 3 corners, got 2"]),
        (zone(polygon=[[0, 0], [1, 1], [1, 0], [0, 1]]), ["zone z", "polygon", "cross"]),
        (zone(polygon=[[0, 0], [2, 0], [1, 1]]), ["polygon", "between 0 and 1", "[2.0, 0.0]"]),
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

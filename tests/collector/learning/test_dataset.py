"""A dataset is read back by the tool that trains on it: right boxes, empty ones, cameras apart, the same bytes."""

import hashlib
import json
import zipfile
from collections import Counter

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from collector.learning import acceptance, dataset
from collector.learning.dataset import DatasetError, held_back, light_of
from collector.people.audit import show
from collector.start import command_line
from collector.tickets.reasons import load_reasons
from models.tools.datasets import read_dataset
from tests import scenes
from tests.collector.conftest import Desk
from tests.collector.learning.conftest import LI, Zone


def photo(number, light=1.0):
    return scenes.jpeg(np.asarray(scenes.street(number) * light, np.uint8))


def write(zone, out, streets=None):
    shots, left_out = zone.desk.read(dataset.collect, load_reasons(), streets)
    with dataset.sink_at(out) as sink:
        return dataset.export(shots, left_out, zone.desk.files, sink)


@pytest.fixture
def street(zone):
    """Two cameras; of the false alarms two are released, of which one was of a thing."""
    for at in range(4):
        zone.alert("confirm", days_ago=20 - at, picture=photo(at), camera=f"cam-{at % 2}", area_m2=1.0)
    zone.alert("false_alarm", days_ago=9, picture=photo(5), camera="cam-1", reason_id="light")
    zone.alert("false_alarm", days_ago=8, picture=photo(6), camera="cam-1", reason_id="plant")
    zone.alert("false_alarm", days_ago=7, picture=photo(7), camera="cam-1", reason_id="light")
    zone.alert("confirm", days_ago=6, picture=photo(8, 0.2), camera="cam-1")
    zone.alert("", days_ago=5, picture=photo(9), camera="cam-0")
    zone.alert("confirm", days_ago=4, picture=photo(10), camera="cam-0", stood_s=None)
    zone.alert("", days_ago=4.01, camera="cam-0", zone="side", stood_s=None)
    zone.desk.write(acceptance.release, LI, [5, 6], "反例", zone.now_ms)
    return zone


def test_an_export_is_read_back(street, tmp_path):
    report = write(street, tmp_path / "set")
    assert report.left_out == Counter({"false alarm of a thing": 1, "something beside it was not judged": 1})
    read = read_dataset(tmp_path / "set")
    assert read.names == {0: "item"}
    cameras = [{path.name.split("-")[3] for path in paths} for paths in (read.learned, read.held_back)]
    assert sorted(map(sorted, cameras)) == [["0"], ["1"]]
    found = {}
    for path in (*read.learned, *read.held_back):
        shown = read.photo(path)
        found[int(path.name.split("-")[4])] = path.parent.name, shown.labelled.boxes.tolist()
    box = [pytest.approx([0.4 * 1280, 0.5 * 720, 0.1 * 1280, 0.2 * 720], abs=0.01)]
    day = dict.fromkeys((1, 2, 3, 4), ("day", box))
    assert found == {**day, 5: ("day", []), 8: ("night", box)}
    assert sum(report.written.values()) == 6
    assert "仅限为本街道改进检测模型" in (tmp_path / "set" / "README.md").read_text("utf-8")
    with pytest.raises(DatasetError, match="new or empty"):
        write(street, tmp_path / "set")


def test_the_same_database_gives_the_same_bytes_without_what_was_changed(street, tmp_path):
    one, other = tmp_path / "one.zip", tmp_path / "other.zip"
    write(street, one)
    write(street, other)
    assert one.read_bytes() == other.read_bytes()
    names = zipfile.ZipFile(one).namelist()
    assert {"data.yaml", "classes.txt", "README.md"} < set(names)
    with pytest.raises(DatasetError, match="found none"):
        write(street, tmp_path / "none", {"elsewhere"})
    kept = sorted(street.desk.files.root.glob("*/*.jpg"))
    for path in kept:
        path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(DatasetError, match="changed on disk"):
        write(street, tmp_path / "none")
    assert not (tmp_path / "none.part").exists()
    kept[0].unlink()
    kept[0].mkdir()  # what cannot be read is not gone
    with pytest.raises(DatasetError, match="storage"):
        write(street, tmp_path / "none")


def test_an_export_is_on_record_before_anything_is_written(tmp_path):
    (tmp_path / "data").mkdir()
    zone = Zone(Desk(tmp_path / "data"))
    zone.alert("confirm", picture=photo(1))
    settings = tmp_path / "center.toml"
    settings.write_text('version = 1\n[center]\nid = "demo"\n[broker]\nurl = "mqtt://127.0.0.1:1883"\n')
    words = ["dataset", "export", "-o", str(tmp_path), "--settings", str(settings)]  # a folder that is not empty
    for more in ([], ["--reason", " "], ["--reason", "夜间漏检"]):
        assert CliRunner().invoke(command_line(), words + more).exit_code == 2
    (line,) = zone.desk.read(show, action="dataset.export")
    (shot,), _ = zone.desk.read(dataset.collect, load_reasons(), None)
    digest = hashlib.sha256(f"{shot.sha256}\n".encode()).hexdigest()
    assert json.loads(line.detail) == {"pictures": 1, "sha256": digest, "streets": ["*"], "reason": "夜间漏检"}
    zone.desk.store.close()


def test_cameras_keep_their_part_when_others_are_added():
    places = [("box", f"cam-{number}") for number in range(200)]
    before = held_back(places[:100])
    assert before == held_back(places) & set(places[:100])
    assert 10 <= len(before) <= 30
    assert [len(held_back(places[:count])) for count in (0, 1, 2)] == [0, 0, 1]


def test_infrared_is_night_however_bright():
    grey = cv2.cvtColor(scenes.street(0), cv2.COLOR_BGR2GRAY)
    got = [light_of(scenes.jpeg(one)) for one in (scenes.street(0), scenes.street(0) // 5, grey)]
    assert got == ["day", "night", "night"]

"""Where cameras are, and their ids on the video platform."""

import io

import openpyxl
import pytest

from collector.places import cameras, fields, grid, register
from collector.places.cameras import CAMERAS
from collector.places.faults import BadValueError, PlacesError
from collector.places.register import export_rows, import_file
from collector.places.sheets import write_csv, write_workbook
from collector.places.shops import SHOPS, add
from collector.places.standing import spot
from tests.places import AROUND, AUTHOR, SHOP, box, collection, square

GB = "33010500001320000001"
CELL = "330105001001001"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (GB, None),
        ("33010500001310000001", None),
        ("3301 0500 0013 2000 0001", None),
        (GB.translate({ord(str(n)): chr(0xFF10 + n) for n in range(10)}), None),
        ("3301050000132000001", "gb28181"),
        (GB + "1", "gb28181"),
        ("3301050000132000000A", "gb28181"),
        ("33010500001180000001", "gb28181_type"),
        ("33010500001190000001", "gb28181_type"),
        ("33010500009990000001", "gb28181_type"),
    ],
)
def test_an_id_is_that_of_a_camera(text, code):
    if code is None:
        assert len(fields.gb28181(text)) == 20
        return
    with pytest.raises(BadValueError) as bad:
        fields.gb28181(text)
    assert bad.value.code == code


def put(desk, camera="cam-1", **values):
    return desk.write(register.change, CAMERAS, {"box": "box-1", "camera": camera, **values}, AUTHOR, AROUND)


def test_a_camera_has_its_boxs_street_and_its_places_cell(desk):
    desk.write(box, zones={("cam-1", "front"): "tea-12"})
    desk.write(grid.import_grid, collection(square(CELL, 120.130, 30.310)), AUTHOR, AROUND)
    place, warnings = put(desk, lon="120.1305", lat="30.3105", gb28181=GB, height_m="4.5")
    assert (place.street, place.revision, warnings) == ("s", 1, [])
    assert desk.read(cameras.find, "box-1", "cam-1") == place
    assert desk.read(cameras.find, "box-1", "cam-2") is None
    assert desk.read(cameras.cell_of, place) == CELL
    assert [one.code for one in put(desk, cell="330105001001009")[1]] == ["cell"]
    assert [one.code for one in put(desk, cell="", lon="121")[1]] == ["outside"]
    assert [one.code for one in put(desk, "cam-9", gb28181="11010500001320000001")[1]] == ["region", "camera"]


def test_an_id_is_one_camera_and_may_change_places(desk):
    desk.write(box)
    put(desk, gb28181=GB)
    with pytest.raises(PlacesError, match=f"{GB} is box-1/cam-1 already"):
        put(desk, "cam-2", gb28181=GB)
    other = GB[:-1] + "2"
    put(desk, "cam-2", gb28181=other)
    head = ["盒子", "摄像头", "国标编号"]
    with desk.store.writing() as session:
        content = write_csv([head, ["box-1", "cam-1", other], ["box-1", "cam-2", GB]])
        assert import_file(session, CAMERAS, content, AUTHOR, AROUND).changed == 2
        twice = write_csv(
            [head, ["box-1", "cam-3", "33010500001320000009"], ["box-1", "cam-4", "33010500001320000009"]]
        )
        report = import_file(session, CAMERAS, twice, AUTHOR, AROUND)
        assert [(one.row, one.code) for one in report.faults] == [(2, "gb28181_twice"), (3, "gb28181_twice")]
        assert cameras.find(session, "box-1", "cam-2").gb28181 == GB


def test_an_id_turned_into_a_number_is_refused(desk):
    book = openpyxl.Workbook()
    book.active.append(["box", "camera", "street", "gb28181"])
    book.active.append(["box-1", "cam-1", "s", int(GB)])
    file = io.BytesIO()
    book.save(file)
    report = desk.write(import_file, CAMERAS, file.getvalue(), AUTHOR, AROUND)
    assert [(one.row, one.field, one.code) for one in report.faults] == [(2, "gb28181", "digits")]


@pytest.mark.parametrize(
    ("values", "field", "code"),
    [
        ({"lon": "120"}, "lat", "position"),
        ({"lat": "30"}, "lon", "position"),
        ({"height_m": "-1"}, "height_m", "number"),
        ({"cell": "12"}, "cell", "cell_code"),
        ({"street": "other"}, "street", "street"),
        ({"box": "box-9"}, "street", "missing"),
    ],
)
def test_what_is_wrong_with_a_camera_is_named(desk, values, field, code):
    desk.write(box)
    with pytest.raises(PlacesError) as refused:
        put(desk, **values)
    assert [(one.field, one.code) for one in refused.value.faults] == [(field, code)]


@pytest.mark.parametrize("write", [write_csv, lambda rows: write_workbook(rows, "摄像头")])
def test_what_is_exported_is_imported_as_it_was(desk, write):
    put(desk, street="s", lon="120.1305", lat="30.3105", gb28181=GB, height_m="4.5", cell=CELL)
    put(desk, "cam-2", street="s", name="-后门")
    content = write(export_rows(CAMERAS, desk.write(cameras.listed), chinese=False))
    report = desk.write(import_file, CAMERAS, content, AUTHOR, AROUND)
    assert ([str(one) for one in report.faults], report.unchanged) == ([], 2)


def test_a_ticket_is_where_the_door_is_or_else_the_camera(desk):
    desk.write(grid.import_grid, collection(square(CELL, 120.130, 30.310)), AUTHOR, AROUND)
    shop, _ = desk.write(add, SHOP, AUTHOR, AROUND)
    assert desk.write(spot, shop, "box-1", "cam-1").lon is None
    put(desk, street="s", lon="120.1305", lat="30.3105", gb28181=GB)
    with desk.store.writing() as session:
        found = spot(session, shop, "box-1", "cam-1")
        assert (found.lon, found.cell, found.gb28181) == (120.1305, CELL, GB)
        assert found.map_url.startswith("https://uri.amap.com/marker?position=120.135")  # GCJ-02
        door, _ = register.change(session, SHOPS, {"id": "tea-12", "lon": "120.2", "lat": "30.2"}, AUTHOR, AROUND)
        assert spot(session, door, "box-1", "cam-1").lon == 120.2

"""The map of the wall: what is drawn where, names, marks, tiles, and the settings of it."""

import json
import re

import pytest
from pydantic import ValidationError

from collector.places.faults import PlacesError
from collector.places.mercator import metres, tile_at
from collector.places.settings import MapSection
from collector.places.streets import Streets, read_streets
from collector.web.wall_map import HEIGHT, WIDTH, Mark, gathered, ground, on_sheet, tiles, view_of

HERE = (120.15, 30.28)
TILES = "https://tiles.example/{z}/{x}/{y}.png"


def feature(kind, coordinates, name="示例路"):
    return {"type": "Feature", "properties": {"name": name}, "geometry": {"type": kind, "coordinates": coordinates}}


def geojson(*features):
    return json.dumps({"type": "FeatureCollection", "features": features}).encode()


STREET = feature("LineString", [[120.14, 30.28], [120.15, 30.2801], [120.16, 30.28]])
BLOCK = feature("Polygon", [[[120.149, 30.279], [120.15, 30.279], [120.15, 30.28], [120.149, 30.279]]], "河")


def test_all_points_are_on_the_sheet_and_one_alone_is_not_magnified():
    alone = view_of([HERE], "wgs84")
    assert alone.at(*HERE) == (pytest.approx(WIDTH / 2, abs=0.01), pytest.approx(HEIGHT / 2, abs=0.01))
    # 300 m wide: a thousandth of a degree of longitude is 96 m there
    assert alone.at(120.151, 30.28)[0] - WIDTH / 2 == pytest.approx(WIDTH * 96.2 / 300, rel=0.01)
    points = [HERE, (120.16, 30.281), (120.151, 30.29)]
    view = view_of(points, "wgs84")
    assert all(0 < x < WIDTH and 0 < y < HEIGHT for x, y in (view.at(*one) for one in points))
    north, south = view.at(120.15, 30.285), view.at(120.15, 30.28)
    assert north[1] < south[1]
    assert view_of([], "wgs84") is None
    assert on_sheet(view, "late", (121, 30)) is None


def test_on_chinese_tiles_all_is_shifted_alike():
    plain, shifted = view_of([HERE], "wgs84"), view_of([HERE], "gcj02")
    other = (120.151, 30.2805)
    assert shifted.at(*other) == pytest.approx(plain.at(*other), abs=1)
    # in Hangzhou some 450 m to the east
    assert (shifted.west - plain.west) * metres(30.28) == pytest.approx(450, abs=60)


def test_streets_are_cut_off_and_named_along_their_way():
    streets = read_streets(geojson(STREET, BLOCK, feature("Point", [120, 30])))
    found = ground(view_of([HERE], "wgs84"), streets, [], [("菜场口", HERE)], MapSection())
    corners = [float(one) for one in re.findall(r"-?[\d.]+", found.streets)]
    assert min(corners) >= -40
    assert max(corners) <= WIDTH + 40
    assert found.areas.endswith("Z")
    assert {(one.text, one.is_street) for one in found.labels} == {("示例路", True), ("菜场口", False)}


def test_names_do_not_lie_on_each_other():
    names = [(f"第{number}号路口摄像头", (120.15 + number / 1e5, 30.28)) for number in range(9)]
    found = ground(view_of([HERE], "wgs84"), [], [], names, MapSection())
    assert 0 < len(found.labels) < 4


@pytest.mark.parametrize(
    "content",
    [
        b"{}",
        b"\xff",
        geojson(feature("LineString", [[120.1, 30.2]])),
        geojson(feature("LineString", [["a", 30.2], [1, 2]])),
        geojson(feature("LineString", [[500_000, 3_300_000], [500_010, 3_300_010]])),
        geojson(feature("Polygon", [])),
        geojson(feature("LineString", None)),
    ],
)
def test_what_is_no_map_is_refused_and_the_wall_goes_on(tmp_path, content, caplog):
    with pytest.raises(PlacesError):
        read_streets(content)
    file = tmp_path / "streets.geojson"
    file.write_bytes(content)
    streets = Streets(file)
    assert streets.now()[1] == streets.now()[1] == ()
    assert caplog.text.count("cannot be drawn") == 1
    file.write_bytes(geojson(STREET) + b" " * 99)
    assert [one.name for one in Streets(file).now()[1]] == ["示例路"]


def test_tiles_cover_the_sheet_and_are_the_servers_own():
    view = view_of([HERE, (120.16, 30.29)], "wgs84")
    found = list(tiles(view, MapSection(tiles=TILES)))
    assert 9 <= len(found) <= 64
    assert min(one.x for one in found) <= 0
    assert max(one.x + one.width for one in found) >= 100
    assert max(one.y + one.height for one in found) >= 100
    zoom, x, y = (int(part) for part in re.findall(r"\d+", found[0].url))
    x_here, y_here = tile_at(*HERE, zoom)
    one = next(tile for tile in found if tile.url == f"https://tiles.example/{zoom}/{x_here}/{y_here}.png")
    at = on_sheet(view, "camera", HERE)
    assert one.x <= at.x <= one.x + one.width
    assert one.y <= at.y <= one.y + one.height
    assert x <= x_here
    assert y <= y_here
    assert {one.url.split("/")[3] for one in tiles(view, MapSection(tiles=TILES, tiles_max_zoom=3))} == {"3"}


def test_tickets_near_each_other_count_as_the_most_pressing():
    marks = [Mark("under_way", 10, 10), Mark("late", 11, 10), Mark("review", 10, 11), Mark("review", 60, 10)]
    assert gathered(marks) == gathered(marks[::-1])
    assert [(one.kind, one.count) for one in gathered(marks)] == [("late", 3), ("review", 1)]


@pytest.mark.parametrize(
    "url",
    [
        "https://tiles.example/{z}/{x}.png",
        "https://tiles.example/{z}/{x}/{y}/{y}.png",
        "https://{s}.tiles.example/{z}/{x}/{y}.png",
        "https://tiles.example; script-src */{z}/{x}/{y}.png",
        "https://user@tiles.example/{z}/{x}/{y}.png",
        "javascript:{z}{x}{y}",
        "https://tiles.example/{z}/{x}/{y}.png?k={key}",
    ],
)
def test_an_ambiguous_tile_server_is_refused(url):
    with pytest.raises(ValidationError, match="expected https"):
        MapSection(tiles=url)
    assert MapSection(tiles="http://10.0.0.9:8080/t?z={z}&x={x}&y={y}").tiles_origin == "http://10.0.0.9:8080"

"""WGS84 and GCJ-02, there and back; Web Mercator against values that others have published."""

from math import cos, hypot, radians
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.places.coordinates import map_url, to_gcj02, to_wgs84
from collector.places.mercator import MOST_LAT, ROUND_M, metres, tile_at, to_square

M_PER_DEGREE = 111_195


@pytest.mark.parametrize(
    ("wgs84", "gcj02"),
    [
        # the published pairs of eviltransform's tests: Shanghai, Shenzhen, Beijing
        ((121.5272106, 31.1774276), (121.531541859215, 31.17530398364597)),
        ((113.912316, 22.543847), (113.9171764808363, 22.540796131694766)),
        ((116.377817, 39.911954), (116.38404722455657, 39.91334545536069)),
        # outside of China nothing is shifted: Tokyo, Denver, Rio de Janeiro
        ((139.767125, 35.681236), (139.767125, 35.681236)),
        ((-104.9903, 39.7392), (-104.9903, 39.7392)),
        ((-43.1729, -22.9068), (-43.1729, -22.9068)),
    ],
)
def test_positions_are_those_that_others_publish(wgs84, gcj02):
    assert to_gcj02(*wgs84) == pytest.approx(gcj02, abs=1e-6)
    assert to_wgs84(*gcj02) == pytest.approx(wgs84, abs=1e-6)


@given(st.floats(73, 136), st.floats(4, 54))
def test_there_and_back_is_the_same_place_to_a_millimetre(lon, lat):
    east, north = to_wgs84(*to_gcj02(lon, lat))
    assert hypot((east - lon) * cos(radians(lat)), north - lat) * M_PER_DEGREE < 0.001


@given(st.floats(73, 136), st.floats(18, 54))
def test_the_shift_inside_china_is_some_hundred_metres(lon, lat):
    east, north = to_gcj02(lon, lat)
    assert 20 < hypot((east - lon) * cos(radians(lat)), north - lat) * M_PER_DEGREE < 1500


def test_a_map_is_opened_with_gcj02_and_says_so():
    query = parse_qs(urlsplit(map_url(120.135, 30.315, "茶铺 & Co")).query)
    lon, lat = map(float, query["position"][0].split(","))
    assert (lon, lat) == pytest.approx(to_gcj02(120.135, 30.315), abs=1e-6)
    assert query["coordinate"] == ["gaode"]
    assert query["name"] == ["茶铺 & Co"]


@pytest.mark.parametrize(
    ("lon", "lat", "east_m", "north_m"),
    [
        (0, 0, 0, 0),
        # IOGP Guidance Note 373-7-2, the example of method 1024
        (-100.33333333333333, 24.381786944444444, -11169055.58, 2800000.00),
        (180, MOST_LAT, ROUND_M / 2, ROUND_M / 2),
        # the pole is beyond the square
        (180, 90, ROUND_M / 2, ROUND_M / 2),
    ],
)
def test_positions_are_where_the_standard_has_them(lon, lat, east_m, north_m):
    x, y = to_square(lon, lat)
    assert ((x - 0.5) * ROUND_M, (0.5 - y) * ROUND_M) == pytest.approx((east_m, north_m), abs=0.01)


@pytest.mark.parametrize(
    ("lon", "lat", "zoom", "tile"),
    [
        (2.35, 48.85, 12, (2074, 1409)),  # Paris, as OpenStreetMap serves it
        (-87.65, 41.85, 3, (2, 2)),  # Chicago, the example of Google's maps
        (120.15, 30.28, 0, (0, 0)),
        (180, -90, 2, (3, 3)),  # the last tile, not one beyond
    ],
)
def test_tiles_have_the_numbers_of_tile_servers(lon, lat, zoom, tile):
    assert tile_at(lon, lat, zoom) == tile


def test_the_world_is_as_wide_as_its_parallel():
    assert metres(0) == pytest.approx(40_075_016.69, abs=0.01)
    assert metres(60) == pytest.approx(metres(0) / 2)

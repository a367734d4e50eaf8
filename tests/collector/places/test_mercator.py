"""Web Mercator against values that others have published."""

import pytest

from collector.places.mercator import MOST_LAT, ROUND_M, metres, tile_at, to_square


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
def test_tiles_have_the_numbers_that_tile_servers_give_them(lon, lat, zoom, tile):
    assert tile_at(lon, lat, zoom) == tile


def test_the_world_is_as_wide_as_its_parallel():
    assert metres(0) == pytest.approx(40_075_016.69, abs=0.01)
    assert metres(60) == pytest.approx(metres(0) / 2)

"""WGS84 and GCJ-02: everything here is kept and exchanged in WGS84; GCJ-02 is made only to open a Chinese map.

GCJ-02 shifts a position inside China by some hundred metres. Its formula was never published; this is the widely used
reconstruction (github.com/googollee/eviltransform, MIT, `transform.go`), on the ellipsoid of Krasovsky 1940. Outside
the rectangle that it calls China, both are the same.
"""

from math import cos, pi, radians, sin, sqrt
from typing import Final
from urllib.parse import urlencode

A_M: Final = 6378245.0
"""Semi-major axis of Krasovsky's ellipsoid."""
E2: Final = 0.00669342162296594323
"""Square of its first eccentricity."""
WEST, EAST, SOUTH, NORTH = 72.004, 137.8347, 0.8293, 55.8271


def in_china(lon: float, lat: float) -> bool:
    """Whether the formula shifts this position; a rectangle that reaches beyond the borders."""
    return WEST <= lon <= EAST and SOUTH <= lat <= NORTH


def to_gcj02(lon: float, lat: float) -> tuple[float, float]:
    """Turn degrees of WGS84 into GCJ-02."""
    if not in_china(lon, lat):
        return lon, lat
    x, y = lon - 105.0, lat - 35.0
    root = sqrt(abs(x))
    waves = 20.0 * sin(6.0 * x * pi) + 20.0 * sin(2.0 * x * pi)
    north = -100.0 + 2.0 * x + 3.0 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * root
    north += (waves + 20.0 * sin(y * pi) + 40.0 * sin(y / 3.0 * pi)) * 2.0 / 3.0
    north += (160.0 * sin(y / 12.0 * pi) + 320.0 * sin(y / 30.0 * pi)) * 2.0 / 3.0
    east = 300.0 + x + 2.0 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * root
    east += (waves + 20.0 * sin(x * pi) + 40.0 * sin(x / 3.0 * pi)) * 2.0 / 3.0
    east += (150.0 * sin(x / 12.0 * pi) + 300.0 * sin(x / 30.0 * pi)) * 2.0 / 3.0
    magic = 1 - E2 * sin(radians(lat)) ** 2
    d_lat = north * 180.0 / ((A_M * (1 - E2)) / (magic * sqrt(magic)) * pi)
    d_lon = east * 180.0 / (A_M / sqrt(magic) * cos(radians(lat)) * pi)
    return lon + d_lon, lat + d_lat


def to_wgs84(lon: float, lat: float) -> tuple[float, float]:
    """Turn degrees of GCJ-02 into WGS84, to better than a millimetre; the formula has no inverse, so by iteration."""
    wgs = lon, lat
    for _ in range(10):
        again = to_gcj02(*wgs)
        d_lon, d_lat = lon - again[0], lat - again[1]
        wgs = wgs[0] + d_lon, wgs[1] + d_lat
        if abs(d_lon) < 1e-10 and abs(d_lat) < 1e-10:
            break
    return wgs


def map_url(lon: float, lat: float, name: str) -> str:
    """A link that opens Amap (高德) at a WGS84 position; its URI API takes GCJ-02 (`coordinate=gaode`)."""
    east, north = to_gcj02(lon, lat)
    query = {"position": f"{east:.6f},{north:.6f}", "name": name, "coordinate": "gaode"}
    return f"https://uri.amap.com/marker?{urlencode(query)}"


def baidu_url(lon: float, lat: float, name: str) -> str:
    """The same for Baidu's map, which turns GCJ-02 into its own by itself (`coord_type=gcj02`)."""
    east, north = to_gcj02(lon, lat)
    query = {"location": f"{north:.6f},{east:.6f}", "title": name, "content": name, "coord_type": "gcj02"}
    return f"https://api.map.baidu.com/marker?{urlencode({**query, 'output': 'html', 'src': 'cityeye'})}"

"""Looking closer in tiles: nobody twice, nobody cut in halves."""

import numpy as np
import pytest

from agent.vision.detector import Detections
from agent.vision.people import count_photo
from agent.vision.tiles import Tile, detect_tiled, grid, merge, merged, tiling

NAMES = {0: "person"}


class Chessmen:
    """Finds bright rectangles, as a detector would that sees only what is larger than `least_px` of its input."""

    def __init__(self, least_share):
        self.least_share = least_share

    def detect(self, rgb):
        import cv2  # noqa: PLC0415 - for this class

        _, _, stats, _ = cv2.connectedComponentsWithStats((rgb[..., 0] > 127).astype(np.uint8))
        height, width = rgb.shape[:2]
        rows = [s[:4] / (width, height, width, height) for s in stats[1:] if s[3] >= self.least_share * height]
        count = len(rows)
        found = np.array(rows, np.float32).reshape(-1, 4)
        return Detections(found, np.full(count, 0.9, np.float32), np.zeros(count, np.int64), NAMES)


def square(people, height=28):
    picture = np.zeros((480, 640, 3), np.uint8)
    for x, y in people:
        picture[y : y + height, x : x + height // 2] = 255
    return picture


PEOPLE = [(20, 20), (310, 50), (313, 225), (500, 230), (100, 400), (600, 440), (5, 236)]


@pytest.mark.parametrize("people", [PEOPLE, PEOPLE[:1], []])
def test_everybody_is_counted_once_where_one_pass_sees_nobody(people):
    detector, picture = Chessmen(0.09), square(people)
    assert len(detector.detect(picture)) == 0
    assert count_photo(detector, picture).count == len(people)


def test_who_is_larger_than_a_tile_is_found_whole():
    picture = square([(250, 40)], height=400)
    looks = detect_tiled(Chessmen(0.05), picture, (*grid(640, 480, 1, 1), *grid(640, 480, 2, 2)))
    found = merged(looks, (640, 480))
    assert len(found) == 1
    assert np.allclose(found.boxes[0], [250 / 640, 40 / 480, 200 / 640, 400 / 480])


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 2), (3, 4)])
def test_tiles_cover_the_picture_and_overlap(rows, columns):
    seen = np.zeros((480, 640), int)
    tiles = grid(640, 480, rows, columns)
    for tile in tiles:
        seen[tile.y : tile.y + tile.height, tile.x : tile.x + tile.width] += 1
    assert len(tiles) == rows * columns
    assert seen.min() == 1
    assert rows * columns == 1 or seen.max() > 1


def test_a_crowded_quarter_makes_the_count_a_lower_bound():
    packed = [(20 + 30 * n, 40 + 50 * row) for n in range(7) for row in range(2)]
    assert count_photo(Chessmen(0.01), square(packed)).lower_bound
    assert not count_photo(Chessmen(0.01), square(PEOPLE)).lower_bound


def test_boxes_of_different_classes_do_not_merge():
    pair = np.array([[10, 10, 50, 100], [12, 12, 50, 100]], np.float32)
    assert len(merge(pair, np.array([0.9, 0.8], np.float32), np.array([0, 0]))) == 1
    assert len(merge(pair, np.array([0.9, 0.8], np.float32), np.array([0, 1]))) == 2


def fit(width, height):
    """A detector's input of 640 × 640."""
    scale = 640 / max(width, height)
    return round(width * scale), round(height * scale)


WHOLE = Tile(0, 0, 1280, 720)


@pytest.mark.parametrize(
    ("region", "wanted", "affordable", "tiles", "zoom"),
    [
        (WHOLE, 0.5, 9, 2, 0.89),  # as the whole picture is seen: the fewest that are worth it
        (WHOLE, 1.2, 9, 6, 1.3),  # 2 × 3
        (WHOLE, 1.2, 5, 2, 0.89),  # not affordable: those that enlarge most, and 2 × 2 enlarge no more
        (WHOLE, 1.2, 1, 0, None),  # one tile is the look that was taken anyway
        (WHOLE, 1.2, 0, 0, None),
        (WHOLE, 1.2, -3, 0, None),
        (WHOLE, 50.0, 99, 12, 1.7),  # there is an end to it
        (Tile(100, 50, 320, 200), 1.5, 9, 1, 2.0),  # a small zone is one tile
        (Tile(100, 50, 100, 100), 50.0, 9, 1, 6.4),  # and enlarging it further shows nothing more
    ],
)
def test_as_few_tiles_as_enlarge_enough(region, wanted, affordable, tiles, zoom):
    got = tiling(region, fit, 0.5, wanted, affordable)
    assert len(got) == tiles
    for tile in got:
        assert region.x <= tile.x
        assert region.y <= tile.y
        assert tile.x + tile.width <= region.x + region.width
        assert tile.y + tile.height <= region.y + region.height
        assert fit(tile.width, tile.height)[0] / tile.width == pytest.approx(zoom, abs=0.01)

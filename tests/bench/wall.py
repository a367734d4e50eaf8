"""How soon the wall can be read: `python -m tests.bench.wall [--tickets 20000] [--times 9]` prints one line of JSON.

A real center with a year's tickets on two streets, 120 cameras on the map and 200 streets beneath it, and Chromium as a
screen of 1920 by 1080. All numbers and marks are in the page's HTML, so its first paint can be read; the largest one is
given beside it. First in a browser that was never there, then in one that has the scripts and styles.
"""

import argparse
import json
import os
import tempfile
from datetime import datetime
from pathlib import Path
from random import Random
from statistics import median

from sqlalchemy import select

from collector.indicators import keeping
from collector.store import Box, CameraPlace, CameraRow
from tests import browser
from tests.bench import million
from tests.collector.conftest import Desk
from tests.people import make_person

WEST, SOUTH, STEP = 120.14, 30.27, 0.0004
PAINT = """() => {
  const first = (type) => {
    const seen = new PerformanceObserver(() => {});
    seen.observe({ type, buffered: true });
    return seen.takeRecords().filter((one) => one.name !== "first-paint").pop().startTime;
  };
  const [{ responseStart }] = performance.getEntriesByType("navigation");
  return [first("paint"), first("largest-contentful-paint"), responseStart];
}"""


def streets(many=100):
    """GeoJSON of so many streets each way, none of them straight."""
    east = [[(WEST + STEP * x, SOUTH + STEP * (y + x % 3 / 8)) for x in range(many)] for y in range(many)]
    features = [
        {
            "type": "Feature",
            "properties": {"name": f"示例路 {at}"},
            "geometry": {"type": "LineString", "coordinates": line},
        }
        for at, line in enumerate([*east, *zip(*east, strict=True)], 1)
    ]
    return json.dumps({"type": "FeatureCollection", "features": features})


def filled(desk, tickets):
    """A year up to now, packed as each night does, and a screen."""
    million.NOW = datetime.now(million.ZONE)
    million.fill(desk.store, tickets, Random(1))
    with desk.store.writing() as session:
        for number, (camera, site) in enumerate(
            session.execute(select(CameraRow, Box.site).join(Box, Box.id == CameraRow.box_id)).all()
        ):
            where = {"lon": WEST + STEP * 8 * (number % 12), "lat": SOUTH + STEP * 9 * (number // 12), "height_m": 4.5}
            texts = {"street": site, "name": f"摄像头 {number}", "cell": "", "note": ""}
            key = {"box_id": camera.box_id, "camera": camera.camera}
            session.add(CameraPlace(**key, revision=1, changed_ms=0, **texts, **where))
    keeping.pack(desk.store, million.ZONE, million.NOW.date())
    make_person(desk.store, "wall", "screen@*")


def run(tickets, times):
    """Figures; milliseconds from the request on, the middle one and the worst."""
    with tempfile.TemporaryDirectory() as scratch, browser.chromium() as chromium:
        folder = Path(scratch) / "data"
        folder.mkdir()
        (folder.parent / "streets.geojson").write_text(streets(), "utf-8")
        desk = Desk(folder)
        filled(desk, tickets)
        seen = {"never_there": [], "again": []}
        with browser.Center(desk, more='[map]\nstreets = "streets.geojson"\n') as center:
            for _ in range(times):
                with browser.Tab(chromium, center, "wall", size=(1920, 1080)) as tab:
                    for took in seen.values():
                        page = tab.open("/wall")
                        page.wait_for_timeout(1000)
                        took.append(page.evaluate(PAINT))
        desk.store.close()
    figures = {
        way: {
            name: [round(median(values)), round(max(values))]
            for name, values in zip(("first_paint_ms", "largest_ms", "server_ms"), zip(*took, strict=True), strict=True)
        }
        for way, took in seen.items()
    }
    return {"tickets": tickets, "times": times, **figures, "load": round(os.getloadavg()[0], 1)}


def main():
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tickets", type=int, default=20_000)
    parser.add_argument("--times", type=int, default=9)
    given = parser.parse_args()
    print(json.dumps(run(given.tickets, given.times)))


if __name__ == "__main__":
    main()

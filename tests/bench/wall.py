"""How soon the wall can be read, `python -m tests.bench.wall`: first paint in ms, the middle and the worst.

All numbers and marks are in its HTML. First in a browser that was never there, then in one that has its files.
"""

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

TICKETS, TIMES = 20_000, 9
PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"


def filled(desk):
    """A year up to now, 120 cameras on the map, a screen."""
    million.NOW = datetime.now(million.ZONE)
    million.fill(desk.store, TICKETS, Random(1))
    with desk.store.writing() as session:
        rows = select(CameraRow, Box.site).join(Box, Box.id == CameraRow.box_id)
        for number, (one, site) in enumerate(session.execute(rows).all()):
            where = {"lon": 120.14 + number % 12 / 300, "lat": 30.27 + number // 12 / 300, "height_m": 4.5}
            texts = {"street": site, "name": f"摄像头 {number}", "cell": "", "note": ""}
            session.add(CameraPlace(box_id=one.box_id, camera=one.camera, revision=1, changed_ms=0, **texts, **where))
    keeping.pack(desk.store, million.ZONE, million.NOW.date())
    make_person(desk.store, "wall", "screen@*")


def main():
    """Print the figures."""
    seen = {"never_there": [], "again": []}
    with tempfile.TemporaryDirectory() as scratch, browser.chromium() as chromium:
        (Path(scratch) / "data").mkdir()
        desk = Desk(Path(scratch) / "data")
        filled(desk)
        with browser.Center(desk) as center:
            for _ in range(TIMES):
                with browser.Tab(chromium, center, "wall", size=(1920, 1080)) as tab:
                    for took in seen.values():
                        page = tab.open("/wall")
                        page.wait_for_timeout(1000)
                        took.append(round(page.evaluate(PAINT)))
        desk.store.close()
    figures = {way: [median(took), max(took)] for way, took in seen.items()}
    print(json.dumps({"tickets": TICKETS, **figures, "load": round(os.getloadavg()[0], 1)}))


if __name__ == "__main__":
    main()

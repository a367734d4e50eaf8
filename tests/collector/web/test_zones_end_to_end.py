"""A zone is drawn in the browser and changes what a real box reports: real agent, broker and collector."""

import json

import pytest
from sqlalchemy import select

from collector.store import IncidentRow, SettingsRow
from tests import boxes, browser, clips, town
from tests.browser import click, shows
from tests.collector.conftest import Desk
from tests.services import BIN, Broker, Process, wait_for

BESIDE = [[0.02, 0.3], [0.3, 0.3], [0.3, 0.9], [0.02, 0.9]]
CORNERS = [(0.45, 0.4), (0.7, 0.4), (0.7, 0.8), (0.45, 0.8)]
CAMERA = {"id": "market", "sample_s": 0.5, "learn_s": 3}
WAIT_MS = 90_000


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A crate stands there from 6 s to 22 s of 26 s."""
    path = tmp_path_factory.mktemp("clip") / "crate.mp4"
    return clips.write(path, lambda t: clips.street_frame(20 if 6 <= t < 22 else 2), 26, fps=4, gop=2)


def test_a_zone_drawn_at_the_center_makes_a_real_box_report(chromium, clip, tmp_path):
    (tmp_path / "data").mkdir()
    desk = Desk(tmp_path / "data")
    town.Town(desk).people()
    beside = {**boxes.FRONTAGE, "id": "beside", "shop": None, "polygon": BESIDE, "dwell_s": 4, "clear_s": 3}
    del beside["shop"]
    with (
        Broker("mosquitto", tmp_path / "broker") as broker,
        browser.Center(desk, broker.url) as center,
        browser.Tab(chromium, center, "zhao") as tab,
    ):
        settings = boxes.settings(
            tmp_path, beside, source=str(clip), camera=CAMERA, center=broker.url, model="none", site=town.STREET
        )
        with Process([BIN / "cityeye-agent", "run", "--settings", settings], tmp_path / "agent.log"):

            def rows(kind):
                with desk.store.transaction() as session:
                    return session.scalars(select(kind)).all()

            wait_for(lambda: rows(SettingsRow), "the box tells of its settings", 60)
            page = tab.open("/cameras/box-1/market/zones")
            shows(page, "已在盒子上生效")
            click(page, "立即抓拍")
            page.locator("#board image").wait_for(state="attached", timeout=WAIT_MS)
            board = page.locator("#board")
            click(page, "店前区")
            box = board.bounding_box()
            for x, y in (*CORNERS, CORNERS[0]):
                page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
            form = page.locator("[data-form=zone]")
            form.locator("[name=id]").fill("crate")
            form.locator("[name=dwell_s]").fill("4")
            assert rows(IncidentRow) == []
            click(page, "保存并下发")
            page.get_by_text("盒子试运行中").wait_for(timeout=WAIT_MS)
            found = wait_for(lambda: rows(IncidentRow), "the box reports the crate", 90)
            assert {json.loads(one.data)["zone"] for one in found} == {"crate"}
            # its samples are there still, although the zones were drawn anew
            click(page, "用最近一小时试算")
            page.get_by_text("张图。").first.wait_for(timeout=WAIT_MS)
            shows(page, "未试算（每十秒一张图看不出）：beside, crate")
            tab.check(axe=False)
    desk.store.close()

"""From goods on a pavement to a ticket that its shop put right: real agent, broker and collector, seen in the browser.

The agent watches a rendered clip at its own pace: a crate stands there from 16 s to 44 s, see `tests/clips.py`.
"""

import contextlib
import json
import os
import re

import pytest
from sqlalchemy import select

from collector.places import shops
from collector.places.history import Author
from collector.places.register import Around
from collector.store import MessageRow, Ticket
from protocol.instants import parse_rfc3339
from tests import boxes, browser, places, town
from tests.browser import press, shows
from tests.collector.conftest import Desk
from tests.collector.notices.conftest import awake
from tests.collector.notices.servers import Say, Service
from tests.faults.visible import WATCH
from tests.people import now_ms
from tests.services import BIN, Broker, Process, free_port, wait_for

MOST_S = 3.0
"""From the box's decision to its card; on a machine that does nothing else it is below 1 s."""
WAIT_MS = 90_000
TELLING = """\
[[notices.channel]]
id = "sms"
type = "http"
url = "{sms}/send"
body = '{{"to": "{{to}}", "text": "{{body}}"}}'
success = {{ path = "code", equals = ["0"] }}
[[notices.route]]
audience = "shop"
channels = ["sms"]
[shop_pages]
listen = "127.0.0.1:{port}"
url = "http://127.0.0.1:{port}"
"""
CAMERA = {"id": "market", "sample_s": 0.5, "learn_s": 8}
FRONT = {**boxes.FRONTAGE, "shop": "tea-12", "dwell_s": 4, "clear_s": 3}


@pytest.fixture
def center(tmp_path):
    """A center with an SMS service and its broker; one of its boxes is to be switched on."""
    (tmp_path / "data").mkdir()
    desk = Desk(tmp_path / "data")
    town.Town(desk).people()
    author = Author(town.person("operator"), now_ms())
    values = {**places.SHOP, "street": town.STREET, "zones": "box-1/market/front"}
    desk.write(places.box, "box-1", town.STREET)
    desk.write(shops.add, values, author, Around("330105", author.at_ms))
    awake(desk.store)
    with (
        Service(Say({"code": 0})) as sms,
        Broker("mosquitto", tmp_path / "broker") as broker,
        browser.Center(desk, broker.url, TELLING.format(sms=sms.url, port=free_port())) as center,
    ):
        yield center, broker, sms
    desk.store.close()


@pytest.fixture
def tab(chromium, center):
    """Opens pages of it; they are closed at the end."""
    with contextlib.ExitStack() as stack:
        yield lambda *args, **more: stack.enter_context(browser.Tab(chromium, center[0], *args, **more))


def of_ticket(center, number=1):
    """When the box decided that it is an incident, seconds; and the verb and author of each step."""
    with center.desk.store.transaction() as session:
        payload = session.scalars(select(MessageRow.payload).where(MessageRow.seq == 1)).one()
        steps = [(one.kind, one.author) for one in session.get_one(Ticket, number).events]
    return parse_rfc3339(json.loads(payload)["data"]["at"]).timestamp(), steps


def test_an_incident_is_seen_confirmed_told_to_its_shop_and_put_right(center, tab, street, tmp_path):
    center, broker, sms = center
    wanted = {"camera": CAMERA, "center": broker.url, "model": None, "site": town.STREET}
    settings = boxes.settings(tmp_path, FRONT, source=str(street), **wanted)
    board, ticket = tab("li"), tab("chen", size=browser.PHONE)
    shop = tab(size=browser.NARROW)
    page = board.open("/")
    shows(page, "实时")
    shows(page, "没有等待处理的事件")
    page.evaluate(WATCH)
    with Process([BIN / "cityeye-agent", "run", "--settings", settings], tmp_path / "agent.log"):
        # it appears by itself, and soon
        page.locator("#queue [data-number='1']").wait_for(timeout=WAIT_MS)
        took_s = page.evaluate("window.seen[1]") / 1000 - of_ticket(center)[0]
        print(f"on the board {took_s:.2f} s after the box decided, load {os.getloadavg()[0]:.1f}")
        assert took_s < MOST_S
        page.locator("#stage [data-number='1'] .shot img").nth(3).wait_for()
        assert page.title().startswith("(1) ")
        # confirmed by a key
        page.locator("#stage[data-armed=yes]").wait_for()
        press(page, "c")
        page.locator("#said p", has_text="#1 已确认").wait_for()
        shows(page, "没有等待处理的事件")
        # the shop opens the link of its notice
        sent = wait_for(lambda: sms.got, "the shop is told")[0].json
        assert sent["to"] == "13800000000"
        link = re.search(r"http://\S+/s/[\w-]{22}", sent["text"])[0]
        shop.page.goto(link)
        shop.page.get_by_role("heading", name="请把门前的货物、桌椅等收回店内").wait_for()
        assert places.SHOP["name"] in shop.page.locator(".where").inner_text()
        assert shop.page.locator("main img").first.evaluate("(one) => one.complete && one.naturalWidth") > 0
        ticket.open("/tickets/1").locator("#step", has_text="已提醒商户").wait_for()
        # the crate goes away; each page shows that by itself
        ticket.page.locator("#step", has_text="自行整改").wait_for(timeout=WAIT_MS)
        ticket.page.locator(".wide [data-part=after] img").wait_for()
    # the clip begins again: who watches it no more sees no second crate
    shop.page.get_by_role("heading", name="谢谢！门前已恢复").wait_for()
    board.open("/tickets").locator(".badge", has_text="自行整改").wait_for()
    steps = of_ticket(center)[1]
    assert [one for one in steps if one[0] in ("confirm", "told", "correct")] == [
        ("confirm", "person:li"),
        ("told", f"policy:{town.STREET}"),
        ("correct", "camera:box-1"),
    ]
    assert len(sms.got) == 1
    for one in (board, ticket, shop):
        one.check()

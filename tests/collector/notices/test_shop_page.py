"""The shop's page in a browser: the real desk, a notice sent for real, its link opened on a small telephone."""

import random
import re
import time
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import delete

from collector.notices.http import Line
from collector.notices.links import digest
from collector.notices.messages import Tools
from collector.notices.orders import NoticeOrder, order
from collector.notices.pages import Listener, ShopPages, take_answer
from collector.notices.secrets import Secrets
from collector.notices.sender import Sender
from collector.notices.settings import ShopPagesSection
from collector.people.actor import Actor
from collector.store import NoticeLink
from collector.tickets import desk as door
from collector.tickets.timekeeper import Timekeeper, Watch
from tests import browser, town
from tests.browser import click, shows
from tests.collector.conftest import Desk
from tests.collector.notices.conftest import awake, section, sms
from tests.collector.notices.servers import Say, Service
from tests.services import answers, free_port, wait_for

ZONE = ZoneInfo("Asia/Shanghai")
TOLD = (("operator", "confirm", 3), ("operator", "told", 2))
LATE = (("operator", "confirm", 20), ("operator", "told", 19))
APPEAL = ("shop", "appeal", 0, {"reason": "货物正在装车，马上收走，不是占道经营" * 3})
WHY = {"reason": "备案自 6 月 1 日起，提醒发出时尚未生效"}
STATES = {
    "act": TOLD,
    "late": LATE,
    "looking": (*TOLD, ("shop", "shop_done", 0)),
    "still": (*TOLD, ("shop", "shop_done", 0), ("camera", "looked", 0, {"seen": "occupied"})),
    "pending": (*TOLD, APPEAL),
    "upheld": (*TOLD, APPEAL, ("operator", "uphold", -1, WHY)),
    "rejected": (*TOLD, APPEAL, ("operator", "reject", -1, WHY)),
    "not-mine": (*TOLD, ("shop", "not_mine", 0)),
    "registered": (*LATE, ("operator", "pass_on", 5, {"reason": "店主不在"}), ("operator", "register", 4)),
}
HEADS = {
    "act": "请把门前的货物、桌椅等收回店内",
    "late": "请把门前的货物、桌椅等收回店内",
    "looking": "摄像头正在查看现场",
    "still": "请把门前的货物、桌椅等收回店内",
    "pending": "您的异议正在复核",
    "upheld": "本次提醒已结束",
    "rejected": "请把门前的货物、桌椅等收回店内",
    "not-mine": "您的异议正在复核",
    "registered": "已立案",
}
MOST_BYTES = 60_000
"""Of a page on the wire, without pictures."""
WEIGHT = browser.WEIGHT.replace("\\/evidence\\/", "\\.jpg")


class Street:
    """A filled desk, an SMS service, and the listener of the shops' pages."""

    def __init__(self, folder, service):
        self.desk, self.service = Desk(folder), service
        self.town = town.Town(self.desk).people().places()
        awake(self.desk.store)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        pages = ShopPagesSection(listen=f"127.0.0.1:{port}", url=self.url, imprint="小河街道办事处")
        tools = Tools(Secrets(folder), Line(1.0), time.time, folder, random.Random(1))
        notices = section(sms(service))
        self.sender = Sender(self.desk.store, notices, pages, tools, "小河街道", ZONE, random=random.Random(1))
        self.shown = ShopPages(self.desk.store, self.desk.files, pages, "小河街道", "0571-88 99", ZONE)
        self.listener = Listener(self.shown, folder)
        self.listener.start()
        wait_for(lambda: answers(port), "it listens")

    def told(self, shop, steps):
        """A shop's case, and the path of the link in its SMS."""
        self.town.now_s = time.time()
        case = self.town.appears(shop, 25)
        for step in steps[:2]:
            number = self.town.act(*step)
        now_ms = round(time.time() * 1000)
        wanted = NoticeOrder(
            key=f"{number}/test", ticket=number, kind="shop_notice", audience="shop", to=f"shop-{shop}",
            street=town.STREET, due_ms=None, level=0, not_before_ms=now_ms, minutes=5,
        )  # fmt: skip
        self.desk.write(order, wanted, now_ms=now_ms)
        self.sender.step(wait=True)
        path = re.search(r"/s/[\w-]{22}", self.service.got[-1].json["text"])[0]
        for role, verb, minutes_ago, *more in steps[2:]:
            if role == "shop":
                assert take_answer(self.shown, path[3:], verb, more[0]["reason"] if more else "") == verb
            elif verb == "looked":
                at_ms = now_ms - round(minutes_ago * 60_000)
                with self.desk.store.writing() as session:
                    camera = Actor.camera("xiaohe-1")
                    door.step(session, camera, door.hold(session, number), verb, at_ms=at_ms, **more[0])
            else:
                self.town.act(role, verb, minutes_ago, **(more[0] if more else {}))
        return case, path


@pytest.fixture(scope="module")
def chromium():
    with browser.chromium() as found:
        yield found


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    with Service() as service:
        service.say(Say({"code": 0}))
        made = Street(tmp_path_factory.mktemp("shop"), service)
        yield made
        made.listener.stop()
        made.desk.store.close()


@pytest.fixture(scope="module")
def links(street):
    """A link in each state."""
    return {name: street.told(shop + 9, steps)[1] for shop, (name, steps) in enumerate(STATES.items())}


@pytest.mark.parametrize(("language", "theme"), [("zh", "light"), ("en", "dark"), ("zh", "dark"), ("en", "light")])
def test_each_state_has_no_fault_on_a_small_telephone(chromium, street, links, language, theme):
    asks = [f"{links['act']}?ask={verb}" for verb in ("shop_done", "appeal", "not_mine")]
    ways = [*links.items(), *zip(("done?", "appeal?", "not-mine?"), asks, strict=True), ("gone", "/s/" + "A" * 22)]
    with browser.Tab(chromium, street, size=browser.NARROW, language=language, theme=theme) as tab:
        for name, path in ways:
            page = tab.open(path)
            tab.faults = [one for one in tab.faults if name != "gone" or "404" not in one]
            tab.check()
            assert page.evaluate(WEIGHT) < MOST_BYTES
            assert page.evaluate("document.documentElement.lang") == {"zh": "zh-CN", "en": "en"}[language]
            if language == "zh" and name in HEADS:
                assert page.locator("h1").inner_text() == HEADS[name], name


def test_from_the_link_to_done_and_seen_clear(chromium, street):
    case, path = street.told(1, TOLD)
    with browser.Tab(chromium, street, size=browser.NARROW) as tab:
        page = tab.open(path)
        assert page.locator("main img").first.evaluate("(one) => one.complete && one.naturalWidth") == 512
        before = page.locator("[role=timer]").inner_text()
        page.wait_for_function("(was) => document.querySelector('[role=timer]').textContent !== was", arg=before)
        page.get_by_role("link", name="我已整改").click()
        click(page, "是的，已整改好")
        page.get_by_role("heading", name="摄像头正在查看现场").wait_for()
        assert re.search(r"已收到（\d\d:\d\d）：我已整改", page.locator(".receipt").inner_text())
        assert page.get_by_role("link", name="我已整改").count() == 0
        tab.check()
        # the camera sees it clear: the page shows that by itself
        street.town.clears(case, 0)
        Timekeeper(street.desk.store, watch=Watch(time.time, time.monotonic)).step()
        page.evaluate("dispatchEvent(new Event('online'))")
        page.get_by_role("heading", name="谢谢！门前已恢复").wait_for()
        assert page.locator("#news").inner_text() == "谢谢！门前已恢复"
        # and the link ends while the page is open
        street.desk.execute(delete(NoticeLink).where(NoticeLink.token_sha256 == digest(path[3:])))
        page.evaluate("dispatchEvent(new Event('online'))")
        page.get_by_role("heading", name="链接已失效").wait_for()
        assert page.get_by_role("link", name="致电 0571-88 99").get_attribute("href") == "tel:05718899"


def test_an_objection_without_a_script(chromium, street):
    _, path = street.told(2, TOLD)
    with browser.Tab(chromium, street, java_script_enabled=False) as tab:
        page = tab.open(path)
        assert re.fullmatch(r"请在 \d\d:\d\d 前整改", page.locator(".left").last.inner_text())
        page.get_by_role("link", name="我有异议").click()
        click(page, "提交异议")
        shows(page, "请勾选或写明理由")
        page.get_by_label("正在装卸货物").check()
        page.get_by_label("也可以自己写").fill("十分钟就好")
        click(page, "提交异议")
        page.get_by_role("heading", name="您的异议正在复核").wait_for()
        assert page.locator(".receipt q").inner_text() == "正在装卸货物，马上收走；十分钟就好"


def test_without_a_network_what_was_written_stays(chromium, street):
    _, path = street.told(3, TOLD)
    with browser.Tab(chromium, street, size=browser.NARROW) as tab:
        page = tab.open(path + "?ask=appeal")
        page.get_by_label("也可以自己写").fill("已有备案")
        tab.context.set_offline(True)
        page.locator("#offline").wait_for()
        click(page, "提交异议")
        assert page.get_by_label("也可以自己写").input_value() == "已有备案"
        tab.context.set_offline(False)
        page.locator("#offline").wait_for(state="hidden")
        # a browser that says wrongly that there is none
        page.evaluate("Object.defineProperty(navigator, 'onLine', { value: false })")
        click(page, "提交异议")
        page.get_by_role("heading", name="您的异议正在复核").wait_for()

"""The live board: decided by keyboard, safe against slips, live, and nothing missed when the center was away."""

import json
import os
import re

import pytest

from collector.store import Ticket
from tests import browser, town
from tests.collector.conftest import Desk
from tests.incidents import Case

MANY = 500


@pytest.fixture
def fresh(tmp_path):
    """A running center whose alerts a test may use up, and the town that it shows."""
    (tmp_path / "data").mkdir()
    desk = Desk(tmp_path / "data")
    street = town.Town(desk).people().places()
    street.waiting()
    with browser.Center(desk) as center:
        yield center, street
    desk.store.close()


def look(center, number):
    """State, assignee of the judgement, and what was written on the newest line."""
    with center.desk.store.transaction() as session:
        ticket = session.get_one(Ticket, number)
        return ticket.state, ticket.duplicate_of or ticket.permit, ticket.events[-1].reason


def armed(page):
    """Wait until the ticket that is shown takes keys."""
    page.locator("#stage[data-armed=yes]").wait_for()


def said(page, text):
    page.locator("#said p", has_text=text).wait_for()


def counts(page, many):
    """The title says how many wait, a moment after the queue has changed."""
    page.wait_for_function("many => document.title.startsWith(`(${many}) `)", arg=many, timeout=5000)


def cards(page):
    return page.evaluate("[...document.querySelectorAll('#queue li')].map((one) => Number(one.dataset.number))")


def on_stage(page):
    return int(page.locator("#stage article").get_attribute("data-number"))


def test_an_operator_decides_by_keyboard_alone(chromium, fresh):
    center, _ = fresh
    with browser.Tab(chromium, center, "li") as tab:
        page = tab.open("/")
        page.get_by_text("实时").wait_for()
        counts(page, 8)
        assert cards(page) == list(range(1, 9))
        assert page.locator("#stage .shot img").count() == 4
        armed(page)
        # pressed twice: the second is not for the next one
        page.keyboard.press("c")
        page.keyboard.press("c")
        said(page, "#1 已确认")
        assert on_stage(page) == 2
        assert look(center, 2)[0] == "pending_review"
        armed(page)
        page.keyboard.press("f")
        page.keyboard.press("3")
        said(page, "#2 已按误报处理")
        assert look(center, 2) == ("false_alarm", None, "光影或反光")
        armed(page)
        # #5 is of the same camera as #3
        page.keyboard.press("d")
        page.keyboard.press("1")
        said(page, "#3 已按重复处理")
        state, of, _ = look(center, 3)
        assert (state, of % 2) == ("duplicate", 1)
        armed(page)
        page.keyboard.press("e")
        page.get_by_label("理由").last.fill("外摆时段内")
        page.locator(".ask:not([hidden]) [data-permit]").click()
        said(page, "#4 已按备案豁免")
        assert look(center, 4) == ("exempt", "外摆-7", "外摆时段内")
        page.keyboard.press("z")
        said(page, "#4 已撤回")
        page.locator("#queue [data-number='4']").wait_for()
        assert look(center, 4)[0] == "pending_review"
        counts(page, 5)
        page.keyboard.press("k")
        page.locator("#stage [data-number='4']").wait_for()
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile(r"/tickets/4$"))
        tab.check(axe=False)


def test_keys_do_nothing_while_somebody_writes_or_has_switched_them_off(chromium, fresh):
    center, _ = fresh
    with browser.Tab(chromium, center, "li") as tab:
        page = tab.open("/")
        armed(page)
        page.keyboard.press("f")
        page.get_by_label("其他说明").click()
        page.keyboard.type("cde 12")
        page.keyboard.press("Escape")
        # with choices open, what asks nothing is a slip
        page.keyboard.press("f")
        page.keyboard.press("c")
        said(page, "请先关闭选项")
        page.keyboard.press("Escape")
        page.keyboard.press("?")
        page.get_by_label("启用字母和数字键").uncheck()
        page.get_by_role("button", name="返回看板").click()
        page.keyboard.press("c")
        page.wait_for_timeout(300)
        assert on_stage(page) == 1
        assert {look(center, number)[0] for number in range(1, 9)} == {"pending_review"}
        page.keyboard.press("ArrowDown")
        page.locator("#stage [data-number='2']").wait_for()
        tab.check()


def test_who_acted_first_is_said_and_the_next_one_is_shown(chromium, fresh):
    center, street = fresh
    with browser.Tab(chromium, center, "li") as tab:
        page = tab.open("/")
        armed(page)
        # written without a word to the feed: found by the step
        street.act("admin", "confirm", number=1)
        page.keyboard.press("f")
        page.keyboard.press("1")
        said(page, "#1：他人已先处理，现为：已提醒商户")
        assert on_stage(page) == 2
        page.locator("#queue [data-number='1']").wait_for(state="detached")
        assert look(center, 1)[0] == "noticed"
        # told by the feed: what is looked at stays, and takes no decision
        street.act("admin", "false_alarm", number=2, reason="行人")
        page.locator("#stage .stale", has_text="现为：误报").wait_for(timeout=10_000)
        assert on_stage(page) == 2
        page.keyboard.press("c")
        said(page, "#2：他人已先处理")
        assert on_stage(page) == 3
        assert look(center, 3)[0] == "pending_review"
        tab.faults = [one for one in tab.faults if "409" not in one]
        tab.check(axe=False)


def test_a_new_alert_comes_by_itself_and_moves_nothing(chromium, fresh):
    center, street = fresh
    with browser.Tab(chromium, center, "li", size=(1280, 640)) as tab:
        page = tab.open("/")
        armed(page)
        page.evaluate("document.querySelector('.queue').scrollTop = 120")
        for _ in range(4):
            page.keyboard.press("j")
        page.locator("#stage [data-number='5']").wait_for()
        before = page.evaluate("document.activeElement.getBoundingClientRect().top")
        street.appears(20, 0)
        page.locator("#queue [data-number='9']").wait_for(timeout=10_000, state="attached")
        assert cards(page) == [9, *range(1, 9)]
        counts(page, 9)
        assert on_stage(page) == 5
        assert abs(page.evaluate("document.activeElement.getBoundingClientRect().top") - before) <= 1
        page.get_by_role("button", name="1 条新告警").wait_for()
        # what came meanwhile is next
        armed(page)
        page.keyboard.press("c")
        said(page, "#5 已确认")
        assert on_stage(page) == 9
        tab.check()


def test_nothing_is_missed_or_shown_twice_when_the_center_was_away(chromium, fresh):
    center, street = fresh
    with browser.Tab(chromium, center, "li") as tab:
        page = tab.open("/")
        page.get_by_text("实时").wait_for()
        armed(page)
        center.process.stop()
        page.get_by_text("已断线，正在重连").wait_for()
        street.appears(20, 0)
        street.act("admin", "confirm", number=7)
        page.keyboard.press("c")
        said(page, "#1：未收到中心答复")
        assert on_stage(page) == 2
        center.process.start()
        page.get_by_text("实时").wait_for(timeout=40_000)
        page.locator("#queue [data-number='9']").wait_for(timeout=10_000)
        page.locator("#queue [data-number='7']").wait_for(state="detached")
        # a laptop that slept: the line is dead, and nobody has said so
        tab.context.set_offline(True)
        street.appears(21, 0)
        street.act("admin", "false_alarm", number=8, reason="行人")
        page.wait_for_timeout(6000)
        tab.context.set_offline(False)
        page.locator("#queue [data-number='10']").wait_for(timeout=40_000)
        page.locator("#queue [data-number='8']").wait_for(state="detached")
        assert cards(page) == [10, 9, 1, 2, 3, 4, 5, 6]
        counts(page, 8)
        assert look(center, 1)[0] == "pending_review"


@pytest.mark.parametrize("role", ["viewer", "auditor", "officer", "grid_worker"])
def test_who_may_not_decide_is_offered_no_decision(chromium, filled, role):
    with browser.Tab(chromium, filled, town.PEOPLE[role][0]) as tab:
        page = tab.open("/")
        armed(page)
        assert page.locator("#stage [data-verb]").count() == 0
        page.keyboard.press("c")
        tab.check(axe=False)
        assert look(filled, on_stage(page))[0] == "pending_review"


def test_five_hundred_alerts_are_small_on_the_wire_and_all_can_be_reached(chromium, tmp_path):
    (tmp_path / "data").mkdir()
    desk = Desk(tmp_path / "data")
    street = town.Town(desk).people().places()
    for at in range(MANY):
        opened_s = street.now_s - 1000 - at
        case = Case(number=at + 1, shop=f"shop-{at + 1}", box="xiaohe-1", site=town.STREET, opened_s=opened_s)
        picture = case.picture("at", "close", at)
        street.at_s = opened_s + 200
        desk.take_any(picture, case.message("opened", street.at_s, shop=case.shop))
    with browser.Center(desk) as center, browser.Tab(chromium, center, "li") as tab:
        tab.open("/")  # the collector's own first answer
        page = tab.open("/")
        page.get_by_text("实时").wait_for()
        tab.check()
        assert page.locator("#queue li").count() < 100
        paint = page.evaluate(
            "new Promise((done) => new PerformanceObserver((list) => done(list.getEntries().pop().startTime))"
            ".observe({ type: 'largest-contentful-paint', buffered: true }))"
        )
        first = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        figures = {
            "alerts": MANY,
            "first_paint_ms": round(first),
            "largest_paint_ms": round(paint),
            "bytes": page.evaluate(browser.WEIGHT),
            "load": os.getloadavg()[0],
        }
        print(json.dumps(figures))
        for _ in range(MANY):
            page.evaluate("document.querySelector('.queue').scrollTop = 1e9")
            if page.locator("#more").is_hidden():
                break
            page.wait_for_timeout(50)
        assert cards(page) == list(range(1, MANY + 1))
        tab.check(axe=False)
    desk.store.close()

"""The live board: decided by keyboard, safe against slips, live, and nothing missed when the center was away."""

import json
import os
import re
import time

import pytest

from collector.store import Ticket
from collector.tickets import pauses
from tests import browser, town
from tests.browser import click, press, shows
from tests.collector.web.conftest import running
from tests.incidents import Case
from tests.people import now_ms
from tests.services import stopped

MANY = 500


@pytest.fixture
def fresh(tmp_path):
    """A running center whose alerts a test may use up, and the town that it shows."""
    with running(tmp_path, lambda desk: town.Town(desk).people().places().waiting()) as center:
        yield center, center.made


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


def decide(page, done, *keys):
    """Press keys once the ticket takes them, and wait for what is said of it."""
    armed(page)
    press(page, *keys)
    said(page, done)


def card(page, number):
    return page.locator(f"#queue [data-number='{number}']")


def counts(page, many):
    """The title says how many wait, a moment after the queue has changed."""
    page.wait_for_function("many => document.title.startsWith(`(${many}) `)", arg=many, timeout=5000)


def cards(page):
    return page.evaluate("[...document.querySelectorAll('#queue li')].map((one) => Number(one.dataset.number))")


def on_stage(page):
    return int(page.locator("#stage article").get_attribute("data-number"))


def again_of(street, number):
    """A ticket of the same shop and zone as another, handled an hour before it."""
    with street.desk.store.writing() as session:
        one = session.get_one(Ticket, number)
        values = {column.key: getattr(one, column.key) for column in Ticket.__table__.columns}
        before_ms = one.opened_ms - 3_600_000
        values |= {"number": 9, "state": "self_corrected", "open": 0, "opened_ms": before_ms}
        session.add(Ticket(**values))


def test_an_operator_decides_by_keyboard_alone(visit, fresh):
    center, street = fresh
    again_of(street, 3)
    tab, page = visit(center, "/")
    shows(page, "实时")
    counts(page, 8)
    assert cards(page) == list(range(1, 9))
    assert page.locator("#stage .shot img").count() == 4
    armed(page)
    # pressed twice: the second is not for the next one
    press(page, "c", "c")
    said(page, "#1 已确认")
    assert on_stage(page) == 2
    assert look(center, 2)[0] == "pending_review"
    decide(page, "#2 已按误报处理", "f", "3")
    assert look(center, 2) == ("false_alarm", None, "光影或反光")
    with center.desk.store.transaction() as session:
        assert json.loads(session.get_one(Ticket, 2).events[-1].detail)["reason_id"] == "light"
    armed(page)
    # of the same shop as #9, and of nobody else on its camera
    press(page, "d")
    assert page.locator(".ask:not([hidden]) .choices button").count() == 1
    press(page, "1")
    said(page, "#3 已按重复处理")
    assert look(center, 3)[:2] == ("duplicate", 9)
    armed(page)
    press(page, "e")
    page.get_by_label("理由").last.fill("外摆时段内")
    page.locator(".ask:not([hidden]) [data-permit]").click()
    said(page, "#4 已按备案豁免")
    assert look(center, 4) == ("exempt", "外摆-7", "外摆时段内")
    press(page, "z")
    said(page, "#4 已撤回")
    card(page, 4).wait_for()
    assert look(center, 4)[0] == "pending_review"
    counts(page, 5)
    press(page, "k")
    page.locator("#stage [data-number='4']").wait_for()
    press(page, "Enter")
    page.wait_for_url(re.compile(r"/tickets/4$"))
    tab.check(axe=False)


def test_a_judgement_is_taken_back_after_the_next_one(visit, fresh):
    center, _ = fresh
    tab, page = visit(center, "/")
    decide(page, "没有可撤回的操作", "z")
    press(page, "f", "2")
    said(page, "#1 已按误报处理")
    decide(page, "#2 已确认", "c")
    page.get_by_role("button", name="撤回 #1").wait_for()
    press(page, "z")
    said(page, "#1 已撤回")
    assert look(center, 1)[0] == "pending_review"
    assert look(center, 2)[0] == "noticed"
    tab.check(axe=False)


def test_what_shows_no_picture_takes_two_keys_to_confirm(visit, fresh):
    center, _ = fresh
    _, page = visit(center, None)
    page.route("**/evidence/*/*.jpg", lambda route: route.fulfill(status=404))
    page.goto(f"{center.url}/")
    page.locator("#stage .no-picture", has_text="图片无法显示").first.wait_for()
    armed(page)
    assert page.locator("#stage .shot svg").count() == 0
    press(page, "c")
    said(page, "#1 没有可核实的图片")
    assert look(center, 1)[0] == "pending_review"
    decide(page, "#1 已确认", "c")


def test_a_center_that_does_not_answer_is_said_to_be_away(visit, fresh):
    center, _ = fresh
    _, page = visit(center, "/")
    shows(page, "实时")
    armed(page)
    with stopped(center.process):
        press(page, "c")
        page.locator("#said p", has_text="#1：未收到中心答复").wait_for(timeout=20_000)
        page.get_by_text("已断线，正在重连").wait_for(timeout=1000)
    page.get_by_text("实时").wait_for(timeout=40_000)
    # the center may have heard of it all the same; if not, it is shown again
    page.locator("#queue [data-number='1'] a[aria-current]").or_(
        page.locator("#said p", has_text="#1 ")
    ).first.wait_for()


def test_who_signed_in_again_elsewhere_goes_on(visit, fresh):
    center, _ = fresh
    tab, page = visit(center, "/")
    armed(page)
    tab.context.add_cookies([{**center.cookie("li"), "url": center.url}])
    press(page, "c")
    said(page, "#1 已确认")
    assert look(center, 1)[0] == "noticed"


def test_keys_do_nothing_while_somebody_writes_or_switched_off(visit, fresh):
    center, _ = fresh
    tab, page = visit(center, "/")
    armed(page)
    press(page, "f")
    page.get_by_label("其他说明").click()
    page.keyboard.type("cde 12")
    press(page, "Escape")
    # with choices open, what asks nothing is a slip
    press(page, "f", "c")
    said(page, "请先关闭选项")
    press(page, "Escape", "?")
    page.get_by_label("启用字母和数字键").uncheck()
    click(page, "返回看板")
    press(page, "c")
    page.wait_for_timeout(300)
    assert on_stage(page) == 1
    assert {look(center, number)[0] for number in range(1, 9)} == {"pending_review"}
    press(page, "ArrowDown")
    page.locator("#stage [data-number='2']").wait_for()
    tab.check()


def test_who_acted_first_is_said_and_the_next_is_shown(visit, fresh):
    center, street = fresh
    tab, page = visit(center, "/")
    armed(page)
    # written without a word to the feed: found by the step
    street.act("admin", "confirm", number=1)
    press(page, "f", "1")
    said(page, "#1：他人已先处理，现为：已提醒商户")
    assert on_stage(page) == 2
    card(page, 1).wait_for(state="detached")
    assert look(center, 1)[0] == "noticed"
    # told by the feed: what is looked at stays, and takes no decision
    street.act("admin", "false_alarm", number=2, reason="行人")
    page.locator("#stage .stale", has_text="现为：误报").wait_for(timeout=10_000)
    assert on_stage(page) == 2
    press(page, "c")
    said(page, "#2：他人已先处理")
    assert on_stage(page) == 3
    assert look(center, 3)[0] == "pending_review"
    tab.forgive("409")
    tab.check(axe=False)


def test_a_new_alert_comes_by_itself_and_moves_nothing(visit, fresh):
    center, street = fresh
    tab, page = visit(center, "/", size=(1280, 640))
    armed(page)
    page.evaluate("document.querySelector('.queue').scrollTop = 120")
    for _ in range(4):
        press(page, "j")
    page.locator("#stage [data-number='5']").wait_for()
    before = page.evaluate("document.activeElement.getBoundingClientRect().top")
    street.appears(20, 0)
    card(page, 9).wait_for(timeout=10_000, state="attached")
    assert cards(page) == [9, *range(1, 9)]
    counts(page, 9)
    assert on_stage(page) == 5
    assert abs(page.evaluate("document.activeElement.getBoundingClientRect().top") - before) <= 1
    page.get_by_role("button", name="1 条新告警").wait_for()
    # what came meanwhile is next
    decide(page, "#5 已确认", "c")
    assert on_stage(page) == 9
    tab.check()


def test_nothing_is_missed_or_doubled_when_the_center_was_away(visit, fresh):
    center, street = fresh
    tab, page = visit(center, "/")
    shows(page, "实时")
    armed(page)
    center.process.stop()
    shows(page, "已断线，正在重连")
    street.appears(20, 0)
    street.act("admin", "confirm", number=7)
    press(page, "c")
    said(page, "#1：未收到中心答复")
    assert on_stage(page) == 2
    center.process.start()
    page.get_by_text("实时").wait_for(timeout=40_000)
    card(page, 9).wait_for(timeout=10_000)
    card(page, 7).wait_for(state="detached")
    # a laptop that slept: the line is dead, and nobody has said so
    tab.context.set_offline(True)
    street.appears(21, 0)
    street.act("admin", "false_alarm", number=8, reason="行人")
    page.wait_for_timeout(6000)
    tab.context.set_offline(False)
    card(page, 10).wait_for(timeout=40_000)
    card(page, 8).wait_for(state="detached")
    assert cards(page) == [10, 9, 1, 2, 3, 4, 5, 6]
    counts(page, 8)
    assert look(center, 1)[0] == "pending_review"


def test_who_decides_the_last_one_is_not_shown_it_again(visit, fresh):
    center, street = fresh
    for number in range(2, 9):
        street.act("admin", "false_alarm", number=number, reason="行人")
    tab, page = visit(center, "/")
    shows(page, "实时")
    armed(page)
    asked = []
    # the queue hears of it after the answer
    page.route("**/board/cards*", lambda route: asked.append(route))  # noqa: PLW0108 - Playwright marks its own
    press(page, "c")
    said(page, "#1 已确认")
    shows(page, "没有等待处理的事件")
    page.wait_for_timeout(500)
    assert page.locator("#stage article").count() == 0
    asked[0].continue_()
    page.locator("#queue li").wait_for(state="detached")
    assert page.locator("#stage article").count() == 0
    tab.check()


UNSEEN = (
    ("operator", "confirm", 28, {}),
    ("operator", "told", 27, {}),
    ("operator", "pass_on", 20, {"reason": "店主不在"}),
    ("operator", "register", 15, {}),
    ("operator", "dispatch", 14, {"to": "chen"}),
    ("officer", "accept", 13, {}),
    ("officer", "feed_back", 5, {}),
    ("camera", "verify_unseen", 4, {}),
)
# what the ticket waits for, its key, what is said, and what becomes of it
DECIDED = [
    ("申诉", "u", "申诉成立，已撤销", "closed"),
    ("申诉", "r", "已驳回申诉", "noticed"),
    ("摄像头看不清", "x", "已结案", "closed"),
    ("摄像头看不清", "w", "已退回返工", "rework"),
]


def test_objections_and_unseen_places_are_decided_by_keyboard(visit, fresh):
    center, street = fresh
    for number in (1, 2):
        street.act("operator", "confirm", number=number)
        street.act("operator", "told", number=number)
        street.act("shop", "appeal", number=number, reason="货物正在装车")
    for shop in (20, 21):
        street.appears(shop, 30)
        for role, verb, minutes_ago, more in UNSEEN:
            street.act(role, verb, minutes_ago, **more)
    tab, page = visit(center, "/")
    for number, (kind, key, done, state) in zip((1, 2, 9, 10), DECIDED, strict=True):
        page.locator(f"#queue [data-number='{number}'] a").click()
        page.locator(f"#stage [data-number='{number}']").wait_for()
        armed(page)
        assert page.locator("#stage .marks").inner_text().startswith(kind)
        assert page.get_by_text("商户申诉： 货物正在装车").count() == (number < 3)
        # a key of what it does not wait for does nothing
        for other in "curxw".replace(key, ""):
            if page.locator(f"#stage [data-key={other}]").count() == 0:
                press(page, other)
        press(page, key, "Enter")
        assert page.locator("#stage form.ask:not([hidden])").count() == 1, "a reason is asked for"
        page.keyboard.type("已看现场图片")
        if number == 1:
            tab.check()
        press(page, "Enter")
        said(page, f"#{number} {done}")
        card(page, number).wait_for(state="detached")
        assert look(center, number)[0] == state
    tab.check(axe=False)


PAUSED = {"reason": "市集日", "box": "xiaohe-1", "camera": town.CAMERAS[0], "zone": None}
TONES = """window.tones = 0;
window.AudioContext = class {
  constructor() { this.state = "suspended"; this.currentTime = 0; this.destination = {}; }
  resume() { this.state = "running"; return Promise.resolve(); }
  createOscillator() { window.tones += 1; return { frequency: {}, connect: (to) => to, start() {}, stop() {} }; }
  createGain() {
    return { gain: { setValueAtTime() {}, exponentialRampToValueAtTime() {} }, connect: (to) => to };
  }
};"""


def test_what_a_pause_holds_waits_last_and_may_be_decided(visit, fresh):
    center, street = fresh
    tab, page = visit(center, "/")
    armed(page)
    pause(street)
    # on the market's camera: 1, 3, 5 and 7
    page.locator("#queue [data-number='7']", has_text="暂停中").wait_for(timeout=10_000)
    page.wait_for_function("() => document.querySelectorAll('#queue .marks')[7].textContent.includes('暂停中')")
    assert cards(page) == [2, 4, 6, 8, 1, 3, 5, 7]
    assert on_stage(page) == 1
    page.locator("#stage", has_text="暂停至").wait_for()
    decide(page, "#1 已确认", "c")
    assert look(center, 1)[0] == "noticed"
    page.locator(".kinds button", has_text="暂停中").click()
    assert page.locator("#queue li:visible").count() == 3
    tab.check()


def pause(street):
    at_ms = now_ms()
    until_ms = at_ms + 3_600_000
    street.desk.write(pauses.begin, town.person("operator"), **PAUSED, until_ms=until_ms, at_ms=at_ms)


def test_a_new_alert_sounds_where_that_is_wanted(chromium, fresh):
    center, street = fresh
    with browser.Tab(chromium, center, "li") as tab:
        tab.context.add_init_script(TONES)
        page = tab.open("/")
        shows(page, "实时")

        def comes(shop):
            number = street.appears(shop, 0).number
            found = card(page, number)
            found.wait_for(timeout=10_000)
            return found

        comes(20)
        page.wait_for_timeout(1200)  # it would sound a second after its card came
        assert page.evaluate("window.tones") == 0
        button = page.get_by_role("button", name="提示音")
        button.click()
        assert page.evaluate("window.tones") == 2, "it lets itself be heard"
        comes(21)
        page.wait_for_function("() => window.tones === 4")
        # kept after a reload, where somebody has to touch the page first
        page.reload()
        assert button.get_attribute("aria-pressed") == "true"
        press(page, "j")
        pause(street)
        comes(23).get_by_text("暂停中").wait_for(timeout=10_000)
        comes(24)
        page.wait_for_function("() => window.tones === 2")
        page.wait_for_timeout(1200)
        assert page.evaluate("window.tones") == 2, "what a pause holds is not heard"
        button.click()
        comes(22)
        page.wait_for_timeout(1200)
        assert page.evaluate("window.tones") == 2
        assert not tab.faults


@pytest.mark.parametrize("role", ["viewer", "auditor", "officer", "grid_worker"])
def test_who_may_not_decide_is_offered_no_decision(visit, filled, role):
    tab, page = visit(filled, "/", town.PEOPLE[role][0])
    armed(page)
    assert page.locator("#stage [data-verb]").count() == 0
    press(page, "c")
    tab.check(axe=False)
    assert look(filled, on_stage(page))[0] == "pending_review"
    assert page.locator(".deeds a").inner_text().startswith("查看工单")
    keys = page.locator("#help kbd").all_text_contents()
    assert not {"C", "F", "D", "E", "U", "R", "X", "W", "Z"} & {*keys}
    assert "J" in keys


def crowd(desk):
    street = town.Town(desk).people().places()
    for at in range(MANY):
        opened_s = street.now_s - 1000 - at
        case = Case(number=at + 1, shop=f"shop-{at + 1}", box="xiaohe-1", site=town.STREET, opened_s=opened_s)
        picture = case.picture("at", "close", at)
        street.at_s = opened_s + 200
        desk.take_any(picture, case.message("opened", street.at_s, shop=case.shop))


def test_five_hundred_alerts_are_small_and_all_reached(chromium, tmp_path):
    with running(tmp_path, crowd) as center, browser.Tab(chromium, center, "li") as tab:
        tab.open("/")  # the collector's own first answer
        page = tab.open("/")
        shows(page, "实时")
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
        for _ in range(60):
            press(page, "j")
            page.wait_for_timeout(20)
        page.wait_for_function("() => Number(document.querySelector('#stage article')?.dataset.number) > 45")
        until_s = time.monotonic() + 60
        while len(cards(page)) < MANY and time.monotonic() < until_s:
            page.evaluate("document.querySelector('.queue').scrollTop = 1e9")
            page.wait_for_timeout(50)
        page.locator("#more").wait_for(state="hidden")
        assert cards(page) == list(range(1, MANY + 1))
        # seen or not, and whatever it says, a card is as high as all others: nothing jumps
        page.evaluate("document.querySelector('#queue li:last-child .marks').append('很长'.repeat(99))")
        heights = "[...new Set([...document.querySelectorAll('#queue li')].map((one) => one.offsetHeight))]"
        assert len(page.evaluate(heights)) == 1
        tab.check(axe=False)

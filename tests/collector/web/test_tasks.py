"""The pages of tasks on a phone: with a network, without one, and without a script."""

import json
import re
import time
from functools import partial

import cv2
import numpy as np
import pytest
from sqlalchemy import select

from collector.people import audit
from collector.store import PictureRow, Ticket, TicketEvent
from collector.tickets import desk as door
from collector.web.multipart import parse
from tests import browser, town
from tests.browser import click, shows
from tests.collector.web.test_uploads import photo
from tests.people import now_ms
from tests.services import Proxy, wait_for

WAITING = iter((15, 16, 17, 18, 19, 21, 22))
"""Tickets that nobody has judged: a test takes one each."""
TWICE_MS = 700
"""A second tap sooner is a double tap."""
KEPT = "已存本机，有网络时自动上传"


def act(center, role, verb, number, minutes_ago=0, **args):
    with center.desk.store.writing() as session:
        at_ms = now_ms() - minutes_ago * 60_000
        door.act(session, town.person(role), number, verb, at_ms=at_ms, **args)


@pytest.fixture
def dispatched(filled):
    """Number of a ticket that the officer was given just now; the first is to be given yet."""
    number = next(WAITING)
    act(filled, "operator", "confirm", number, 90)
    act(filled, "operator", "told", number, 89)
    act(filled, "operator", "pass_on", number, 80, reason="无法联系")
    act(filled, "operator", "register", number, 70)
    act(filled, "operator", "dispatch", number, to="chen")
    return number


def steps(center, number):
    """What the officer did, in order."""
    with center.desk.store.transaction() as session:
        mine = select(TicketEvent.kind).where(TicketEvent.ticket_number == number, TicketEvent.author == "person:chen")
        return session.get_one(Ticket, number).state, list(session.scalars(mine.order_by(TicketEvent.id)))


def waits_for(center, number, state, *kinds):
    wait_for(lambda: steps(center, number) == (state, list(kinds)), f"{number} is {state} after {kinds}", 30)


@pytest.fixture
def phone(visit):
    return partial(visit, person="chen", size=browser.NARROW)


def offers(page, name):
    """Wait until it has this button."""
    page.get_by_role("button", name=name).wait_for()


def finish(page):
    """Say how it ended, as one has to."""
    page.locator("#feed_back select").select_option("商户自行整改")
    click(page, "处置完毕")


class Wire:
    """A center as a phone reaches it, or does not; a browser's own switch does not reach its service worker."""

    def __init__(self, center):
        self.center, self.desk, self.cookie = center, center.desk, center.cookie
        self.port = int(center.url.rpartition(":")[2])
        self.proxy = Proxy(self.port)
        self.url = f"http://127.0.0.1:{self.proxy.port}"

    def set(self, tab, *, there):
        self.proxy._to = self.port if there else 1
        self.proxy.cut()
        tab.context.set_offline(not there)


@pytest.fixture
def wire(filled):
    found = Wire(filled)
    with found.proxy:
        yield found


def shoot(page, tmp_path, number=1):
    path = tmp_path / "shot.jpg"
    path.write_bytes(photo(number, size=(1500, 2000)))
    page.locator("input[type=file]").set_input_files(path)


def ready(page):
    """Wait until the worker has kept the list and the first tasks."""
    kept = """async () => { const all = []; for (const name of await caches.keys())
      for (const one of await (await caches.open(name)).keys()) all.push(new URL(one.url).pathname); return all }"""
    end = time.monotonic() + 20
    while not {"/tasks"} < set(found := page.evaluate(kept)) or not [one for one in found if "/tasks/" in one]:
        assert time.monotonic() < end, found
        page.wait_for_timeout(100)
    page.wait_for_timeout(1500)


def test_a_task_appears_is_accepted_photographed_and_done(phone, filled, tmp_path):
    tab, page = phone(filled, "/tasks")
    assert page.locator("li[data-number]").count() == 4
    times = page.locator("li[data-number] time.left").evaluate_all("all => all.map((one) => Number(one.dataset.due))")
    assert times == sorted(times)
    tab.check()
    act(filled, "operator", "dispatch", 7, to="chen")
    page.get_by_role("link", name="#7 ").click()
    assert "uri.amap.com" in page.get_by_role("link", name="导航").get_attribute("href")
    click(page, "接单")
    done = page.get_by_role("button", name="处置完毕")
    done.wait_for()
    shoot(page, tmp_path)
    page.locator(".taken img").wait_for()
    page.get_by_label("补充说明").first.fill("已清走")
    page.locator("#feed_back select").select_option("商户自行整改")
    done.click()
    shows(page, "已反馈，摄像头核查中。")
    tab.check()
    waits_for(filled, 7, "verifying", "accept", "picture", "feed_back")
    with filled.desk.store.transaction() as session:
        row = session.scalars(select(PictureRow).where(PictureRow.id.like("worker:7:%"))).one()
        # upright, as its Exif says, and smaller
        assert (row.width, row.height) == (1200, 1600)
        assert abs(row.taken_ms - now_ms()) < 120_000
        said = select(TicketEvent.reason).where(TicketEvent.ticket_number == 7, TicketEvent.kind == "feed_back")
        assert session.scalar(said) == "商户自行整改；已清走"


def test_without_network_all_is_kept_and_sent_once(phone, wire, tmp_path, dispatched):
    tab, page = phone(wire, "/tasks")
    ready(page)
    wire.set(tab, there=False)
    page.get_by_role("link", name=f"#{dispatched} ").click()
    page.get_by_text("无网络，显示的是").wait_for(timeout=3000)
    page.locator(".close img").wait_for()
    assert page.evaluate("document.querySelector('.close img').naturalWidth") > 0
    # two taps
    page.evaluate("for (let n = 0; n < 2; n += 1) document.querySelector('form[data-verb=accept]').requestSubmit()")
    offers(page, "处置完毕")
    shoot(page, tmp_path, 2)
    page.locator("#outbox img").wait_for()
    page.reload()
    page.get_by_text(KEPT).nth(1).wait_for()
    shows(page, "2 项已存本机")
    finish(page)
    shows(page, "已反馈，摄像头核查中。")
    shows(page, "3 项已存本机")
    assert steps(wire, dispatched) == ("dispatched", [])
    wire.set(tab, there=True)
    waits_for(wire, dispatched, "verifying", "accept", "picture", "feed_back")
    page.locator("#outbox [data-state=kept]").first.wait_for(state="detached")
    page.reload()
    page.wait_for_timeout(1500)
    assert page.locator("#outbox").is_hidden()
    assert steps(wire, dispatched) == ("verifying", ["accept", "picture", "feed_back"])


def test_a_task_is_done_by_who_says_how_and_taps_twice_without_a_picture(phone, wire):
    tab, page = phone(wire, "/tasks")
    ready(page)
    page.goto(f"{wire.url}/tasks/9")
    click(page, "处置完毕")
    page.get_by_text("请先选择。").first.wait_for()
    choice = page.locator("#feed_back select")
    assert choice.evaluate("(one) => one === document.activeElement")
    bar = page.locator(".bar").bounding_box()["y"]
    assert 0 < choice.bounding_box()["y"] < bar - 40
    act(wire, "operator", "remark", 9, reason="尽快")
    page.wait_for_timeout(1500)
    assert page.get_by_text("请先选择。").first.is_visible()
    tab.check()
    wire.set(tab, there=False)
    choice.select_option("物品已清理")
    page.locator(".bar button[form=feed_back]").dblclick()
    offers(page, "未拍照，仍然提交？")
    assert page.locator("#outbox li[data-state=kept]").count() == 0
    page.wait_for_timeout(TWICE_MS)
    click(page, "未拍照，仍然提交？")
    shows(page, "1 项已存本机")
    page.get_by_role("link", name="我的任务").click()
    row = page.locator("li[data-number='9']")
    shows(row, "处置完毕：已存本机，待上传")
    assert row.locator(".todo").is_hidden()


def looks(center, number):
    """How often it is on record that the officer looked at the number of a task's shop."""
    found = center.desk.read(audit.show, of=f"ticket/{number}", actor="person:chen")
    return len([one for one in found if one.action == "shop.looked_at"])


def test_a_shops_number_is_on_record_if_asked_for_and_on_no_phone(phone, wire):
    kept = """async () => { let all = ""; for (const name of await caches.keys()) { const one = await caches.open(name);
      for (const key of await one.keys())
        if (/tasks/.test(key.url)) all += await (await one.match(key)).text(); } return all }"""
    tab, page = phone(wire, "/tasks")
    ready(page)
    page.goto(f"{wire.url}/tasks/11")
    wire.set(tab, there=False)
    click(page, "商户电话")
    said = page.get_by_text("无网络，联网后才能查看号码。")
    said.wait_for()
    assert said.bounding_box()["y"] < page.locator(".bar").bounding_box()["y"] - 40
    assert looks(wire, 11) == 0
    wire.set(tab, there=True)
    click(page, "商户电话")
    link = page.get_by_role("link", name="致电 13800000000")
    link.wait_for()
    assert link.get_attribute("href") == "tel:13800000000"
    act(wire, "operator", "urge", 11, reason="急", urgency="urgent")
    page.wait_for_timeout(1500)
    assert link.count() == 1
    text = page.evaluate(kept)
    assert "#11 " in text
    assert "13800000000" not in text.replace(" ", "")
    assert looks(wire, 11) == 1


def test_where_to_go_and_whom_to_call_is_on_the_first_screen(visit, filled):
    _, page = visit(filled, "/tasks/9", "chen", size=(320, 568))
    page.locator("#line[data-state]").wait_for()
    page.evaluate("document.getElementById('line').textContent = '已断线，正在重连'")
    assert page.locator("header").bounding_box()["height"] <= 56
    bar = page.locator(".bar").bounding_box()["y"]
    shown = [page.get_by_text("示例路"), page.get_by_role("link", name="导航")]
    for one in (*shown, page.get_by_role("button", name="商户电话")):
        box = one.bounding_box()
        assert box["y"] + box["height"] < bar
        assert box["height"] < 50


def test_a_step_whose_answer_was_lost_is_not_taken_twice(phone, filled, dispatched):
    tab, page = phone(filled, f"/tasks/{dispatched}")
    page.evaluate("() => { SyncManager.prototype.register = () => { throw new Error('there is none'); } }")
    lost = []

    def lose(route):
        lost.append(route.fetch().status)
        route.abort("connectionreset")

    tab.context.route(f"**/api/tickets/{dispatched}/accept", lose, times=1)
    click(page, "接单")
    page.get_by_text("已上传", exact=True).wait_for(timeout=20_000)
    assert lost == [200]
    assert steps(filled, dispatched) == ("handling", ["accept"])


def test_the_worker_sends_when_the_page_is_gone(phone, wire, dispatched):
    tab, page = phone(wire, "/tasks")
    ready(page)
    known = []
    session = tab.context.new_cdp_session(page)
    session.on("ServiceWorker.workerRegistrationUpdated", lambda found: known.extend(found["registrations"]))
    session.send("ServiceWorker.enable")
    wire.set(tab, there=False)
    tab.open(f"/tasks/{dispatched}")
    click(page, "接单")
    shows(page, KEPT)
    page.goto("about:blank")
    wire.set(tab, there=True)
    event = {"origin": wire.url, "registrationId": known[0]["registrationId"], "tag": "outbox", "lastChance": False}
    session.send("ServiceWorker.dispatchSyncEvent", event)
    waits_for(wire, dispatched, "handling", "accept")


def test_what_others_changed_is_shown_and_may_be_done_all_the_same(phone, wire, dispatched):
    tab, page = phone(wire, f"/tasks/{dispatched}")
    page.wait_for_timeout(500)
    wire.set(tab, there=False)
    click(page, "接单")
    offers(page, "处置完毕")
    finish(page)
    page.wait_for_timeout(TWICE_MS)
    click(page, "未拍照，仍然提交？")
    page.locator("#outbox li").nth(1).wait_for()
    act(wire, "operator", "urge", dispatched, reason="急", urgency="urgent")
    wire.set(tab, there=True)
    page.get_by_text("未上传：前一步未被受理").wait_for(timeout=20_000)
    line = page.locator("#outbox [data-state=refused]").first.inner_text()
    assert "请刷新后再试\n现在可以：接单, 退回, 备注" in line
    assert steps(wire, dispatched) == ("dispatched", [])
    page.get_by_role("button", name="仍然提交").first.click()
    waits_for(wire, dispatched, "handling", "accept")
    page.get_by_role("button", name="删除").dblclick()
    page.wait_for_timeout(TWICE_MS)
    click(page, "确定删除？")
    page.locator("#outbox [data-state=refused]").wait_for(state="detached")


def test_signing_out_leaves_nothing_on_the_phone(phone, wire, dispatched):
    tab, page = phone(wire, "/tasks")
    ready(page)
    wire.set(tab, there=False)
    tab.open(f"/tasks/{dispatched}")
    click(page, "接单")
    shows(page, KEPT)
    click(page, "菜单")
    click(page, "退出")
    offers(page, "有 1 项尚未上传，删除并退出？")
    wire.set(tab, there=True)
    waits_for(wire, dispatched, "handling", "accept")
    click(page, "删除并退出")
    page.get_by_label("登录名").wait_for()
    assert page.evaluate("caches.keys()") == []
    page.evaluate("import(document.querySelector('script[src*=frame]').src.replace('frame', 'outbox'))")
    assert page.evaluate("outbox.count()") == 0
    wire.set(tab, there=False)
    tab.open("/tasks")
    shows(page, "本页尚未存到手机")
    wire.set(tab, there=True)
    tab.context.add_cookies([wire.cookie("wang")])
    tab.open("/tasks")
    assert page.locator("main").get_attribute("data-person") == "wang"
    assert page.get_by_text(f"#{dispatched} ").count() == 0


def test_another_person_or_release_drops_what_was_kept(phone, filled):
    tab, page = phone(filled, "/tasks")
    ready(page)
    page.evaluate("caches.open('tasks-older-chen').then((one) => one.put('/tasks/1', new Response('old')))")
    tab.context.clear_cookies()
    tab.context.add_cookies([filled.cookie("wang")])
    page.goto(f"{filled.url}/tasks")
    end = time.monotonic() + 10
    while not (names := page.evaluate("caches.keys()")) or not all(one.endswith("-wang") for one in names):
        assert time.monotonic() < end, names
        page.wait_for_timeout(100)
    assert len(names) == 1


def test_by_distance_only_once_somebody_asks(phone, filled):
    _, page = phone(filled, "/tasks")
    page.evaluate(
        "() => { window.asked = 0; navigator.geolocation.getCurrentPosition = (good) => { window.asked += 1;"
        " good({ coords: { longitude: 120.151, latitude: 30.28 } }); } }"
    )
    page.wait_for_timeout(300)
    assert page.evaluate("window.asked") == 0
    click(page, "按距离")
    far = page.locator(".far").all_inner_texts()
    assert far[0] == "0 m"
    assert far[-1] == "100 m"


def test_without_a_script_the_forms_do(phone, filled, tmp_path):
    _, page = phone(filled, "/tasks/8", java_script_enabled=False)
    click(page, "接单")
    shoot(page, tmp_path, 3)
    click(page, "上传照片")
    page.locator(".taken img").wait_for()
    click(page, "商户电话")
    assert page.get_by_role("link", name="致电").get_attribute("href") == "tel:13800000000"
    finish(page)
    shows(page, "已反馈，摄像头核查中。")
    assert steps(filled, 8) == ("verifying", ["accept", "picture", "feed_back"])


@pytest.mark.parametrize(
    "missing",
    [
        # an app's browser that keeps nothing: forms are sent as they are
        "Object.defineProperty(window, 'indexedDB', { value: undefined });",
        # an old one: a lease instead of a lock, the file as it is, no worker
        "const all = Navigator.prototype; delete all.locks; delete all.serviceWorker; Image = 0",
    ],
)
def test_with_less_of_a_browser_it_goes_as_well(phone, filled, tmp_path, dispatched, missing):
    tab, _ = phone(filled, None)
    tab.context.add_init_script(missing)
    page = tab.open(f"/tasks/{dispatched}")
    click(page, "接单")
    offers(page, "处置完毕")
    shoot(page, tmp_path, dispatched)
    page.locator(".taken img").wait_for()
    finish(page)
    waits_for(filled, dispatched, "verifying", "accept", "picture", "feed_back")
    assert tab.faults == []


def test_each_role_sees_its_own_and_no_more(phone, visit, filled):
    tab, page = phone(filled, "/tasks", person="wang")
    assert page.locator("li[data-number]").evaluate_all("all => all.map((one) => one.dataset.number)") == ["6"]
    tab.open("/tasks/6")
    assert page.get_by_role("button", name="商户电话").count() == 1
    tab.open("/tasks/9")
    shows(page, "此任务由 陈刚 承办")
    assert page.get_by_role("button", name="商户电话").count() == 0
    assert page.locator("button:visible", has_text=re.compile("接单|处置完毕|退回")).count() == 0
    tab.check()
    _, page = visit(filled, "/tickets")
    assert page.get_by_role("link", name="我的任务").count() == 0
    assert page.goto(f"{filled.url}/tasks").status == 403


def test_a_phone_may_put_it_among_its_apps(phone, filled):
    tab, page = phone(filled, "/tasks")
    found = page.request.get(filled.url + page.locator("link[rel=manifest]").get_attribute("href"))
    manifest = found.json()
    assert (manifest["name"], manifest["start_url"]) == ("小河街道 我的任务", "/tasks")
    for icon in manifest["icons"]:
        picture = page.request.get(filled.url + icon["src"]).body()
        shape = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR).shape
        assert icon["sizes"] == f"{shape[1]}x{shape[0]}"
    session = tab.context.new_cdp_session(page)
    faults = session.send("Page.getInstallabilityErrors")["installabilityErrors"]
    assert [one["errorId"] for one in faults if one["errorId"] != "in-incognito"] == [], json.dumps(faults)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n', {"a": b"1"}),
        # a file, whose content has what looks like an end
        (
            b'--x\r\ncontent-disposition: form-data; name="p"; filename="a.jpg"\r\n\r\n\xff\xd8\r\n\r\n--\r\n\r\n--x--',
            {"p": b"\xff\xd8\r\n\r\n--\r\n"},
        ),
        (b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--", {"": b"1"}),
        # cut off
        (b'--x\r\nContent-Disposition: form-data; name="a"', {}),
        (b"", {}),
    ],
)
def test_a_form_with_a_file_is_taken_apart(body, expected):
    assert parse("multipart/form-data; boundary=x", body) == expected
    assert parse("multipart/form-data", body) == {}

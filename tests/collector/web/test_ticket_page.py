"""The page of a ticket: what each role may do in each state, pictures to compare, and a page that keeps itself."""

import re
import time

import pytest
from sqlalchemy import select

from collector.people import roster, sessions
from collector.people.actor import SYSTEM, Grant
from collector.store import IncidentRow, PictureRow, Ticket
from collector.tickets import desk as door
from collector.tickets import machine
from collector.web import steps, story, views, words
from tests import browser as browsers
from tests import scenes, town
from tests.browser import click, press, shows
from tests.collector.conftest import Desk
from tests.people import browser, make_pages, sign_in

VERBS = re.compile(r'<form[^>]* data-verb="(\w+)"')
WIDE, CLOSE = ".wide .compare", ".close .compare"


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    """A street with a ticket in each state, and its pages without a browser."""
    desk = Desk(tmp_path_factory.mktemp("center"))
    made = town.fill(desk, pictures=False)
    yield made, make_pages(desk, url=None)
    desk.store.close()


def client_of(street, role):
    return signed_in(street, town.PEOPLE[role][0])


def signed_in(street, person):
    made, app = street
    client = browser(app)
    sign_in(made.desk.store, person, client)
    return client


def numbers(street, state):
    return street[0].desk.rows(select(Ticket.number).where(Ticket.state == state).order_by(Ticket.number))


@pytest.mark.parametrize("role", town.PEOPLE)
def test_each_role_is_offered_what_it_may_do(street, role):
    client, seen = client_of(street, role), set()
    with street[0].desk.store.transaction() as session:
        who = roster.as_actor(session, roster.find(session, town.PEOPLE[role][0]))
        tickets = list(session.scalars(select(Ticket)))
        may = {one.number: set(door.able(session, one, who, round(time.time() * 1000))) for one in tickets}
    for ticket in tickets:
        page = client.get(f"/tickets/{ticket.number}")
        assert page.status_code == 200
        assert set(VERBS.findall(page.text)) == may[ticket.number], (ticket.state, role)
        seen.add(ticket.state)
    assert seen == set(machine.State)


def test_what_is_offered_may_be_done_at_its_street(street):
    with street[0].desk.store.writing() as session:
        grants = [Grant.read("viewer@xiaohe"), Grant.read("operator@other")]
        roster.add(session, SYSTEM, "fu", "付青", grants, now_ms=0)
    for client, may in ((client_of(street, "operator"), True), (signed_in(street, "fu"), False)):
        assert ("data-reveal" in client.get(f"/tickets/{numbers(street, 'noticed')[0]}").text) == may
        assert ("/permits/new?shop=" in client.get("/shops/record?key=shop-4").text) == may


def test_only_what_cannot_wait_is_red(street):
    seen = set()
    for one in street[0].desk.rows(select(Ticket)):
        for by_ms in (-1, 1):
            late = by_ms > 0 and one.due_ms is not None
            wanted = "bad" if late or one.urgency != "normal" else "calm"
            look = views.row_view(one, (one.due_ms or 0) + by_ms).look
            assert look == (wanted if one.open else "good"), one.number
            seen.add(look)
    assert seen == {"bad", "calm", "good"}


def test_every_verb_has_its_words():
    by_people = {one.verb for one in machine.TRANSITIONS if any(who in machine.FIELD + machine.ROOM for who in one.who)}
    assert by_people <= steps.TEXTS.keys()
    assert set(machine.VERBS) <= words.EVENTS.keys()
    assert {verb for front in steps.FRONT.values() for verb in front} <= steps.TEXTS.keys()
    assert {str(one) for one in machine.OPEN} == words.AFTERWARDS.keys()


def test_without_a_script_a_form_takes_a_step_or_says_why_not(street):
    number, other = numbers(street, "pending_review")[:2]
    client = client_of(street, "operator")
    stale = {"seen": "9", "reason": "行人遮挡", "csrf": client.headers["x-csrf-token"]}
    answer = client.post(f"/tickets/{number}/false_alarm", data=stale)
    assert answer.status_code == 409
    assert "工单刚被他人更改" in answer.text
    assert ">行人遮挡</textarea>" in answer.text, "what was written is not lost"
    answer = client.post(f"/tickets/{number}/false_alarm", data={"seen": "1", "reason": " ", "reason_id": ""})
    assert "请选择或填写理由" in answer.text
    english = client.post(f"/tickets/{number}/duplicate?lang=en", data={"seen": "1", "of": str(number)})
    assert "Give the number of another ticket" in english.text
    assert client.post(f"/tickets/{number}/exempt", data={"seen": "1", "permit": "x"}).status_code == 409
    assert client.post(f"/tickets/{number}/confirm", data={"reason": "x"}).status_code == 400
    assert client.post("/tickets/999/confirm", data={"seen": "1"}).status_code == 404
    done = client.post(f"/tickets/{number}/duplicate", data={"seen": "1", "of": str(other)}, follow_redirects=False)
    assert (done.status_code, done.headers["location"]) == (303, f"/tickets/{number}")
    page = client.get(f"/tickets/{number}?lang=zh").text
    assert f'同工单 <a href="/tickets/{other}">' in page
    assert f'<a href="/tickets/{number}">' in client.get(f"/tickets/{other}").text
    remark = client.post(f"/tickets/{number}/remark", data={"reason": "<b>看过</b>"}, follow_redirects=False)
    assert remark.status_code == 303, "a remark goes whatever the ticket has become"
    assert "&lt;b&gt;看过" in client.get(f"/tickets/{number}").text
    assert client_of(street, "viewer").post(f"/tickets/{number}/remark", data={"reason": "x"}).status_code == 403


def test_facts_show_their_values_and_people_their_names(street):
    client = client_of(street, "operator")
    (exempt,) = numbers(street, "exempt")
    page = client.get(f"/tickets/{exempt}?lang=en").text
    assert re.search(r"<dt>Exempt by permit</dt><dd>外摆-7 · until <time", page)
    assert re.search(r"<dt>Urgency</dt><dd>Normal</dd>", page)
    (handling,) = numbers(street, "handling")
    page = client.get(f"/tickets/{handling}?lang=zh").text
    assert "派给 陈刚" in page
    assert "陈刚</dd>" in page
    assert "<dt>承办</dt><dd>陈刚</dd>" in client.get(f"/board/{handling}?lang=zh").text
    assert "person:" not in page
    assert ("138****0000" in page, "13800000000" in page, 'data-reveal="/api/shops/' in page) == (True, False, True)
    assert "data-reveal" not in client_of(street, "viewer").get(f"/tickets/{handling}").text
    (appealed,) = numbers(street, "appealed")
    page = client.get(f"/tickets/{appealed}").text
    assert "by-shop" in page
    assert "货物正在装车" in page


def test_what_cannot_be_done_yet_says_why(street):
    number = numbers(street, "community")[0]
    with street[0].desk.store.writing() as session:
        session.get_one(Ticket, number).reviewer = None
    page = client_of(street, "operator").get(f"/tickets/{number}").text
    assert "图片尚无人核实，请先核实" in page
    assert "补做图片核实" in page
    assert 'data-verb="register"' not in page


def test_an_asked_picture_is_its_after_and_earlier_incidents_fold(street):
    made, _ = street
    (number,) = numbers(street, "verifying")
    with made.desk.store.writing() as session:
        first = session.scalars(select(IncidentRow).where(IncidentRow.ticket_number == number)).one()
        asked = PictureRow(id=f"{first.id}:asked:wide:{'a' * 64}", incident=first.id, box_id=first.box_id, role="after")
        asked.view, asked.sha256, asked.bytes, asked.received_ms = "wide", "a" * 64, 1, first.opened_ms
        session.add(asked)
        shop = int(session.get_one(Ticket, number).shop.removeprefix("shop-"))
    made.appears(shop, 0.1)
    page = client_of(street, "operator").get(f"/tickets/{number}").text
    newest, earlier = page.split('<details class="earlier">')
    assert ("a" * 64 in newest, "a" * 64 in earlier) == (False, True)
    assert "应中心要求拍摄，无签名" in earlier


def test_updates_fold_and_days_are_the_readers():
    def event(at_ms, kind):
        return story.EventView(at_ms, kind, kind, (), "camera", "", "", "")

    lines = [event(1, "opened"), *(event(at, story.UPDATE) for at in (2, 3, 4)), event(10, story.UPDATE)]
    found = story.days(lines, lambda at_ms: "today" if at_ms < 10 else "tomorrow")
    assert [[len(one) for one in day.entries] for day in found] == [[1, 3], [1]]


def at(page, which):
    return page.evaluate(f"getComputedStyle(document.querySelector('{which}')).getPropertyValue('--at').trim()")


def test_pictures_are_compared_and_enlarged(visit, filled):
    tab, page = visit(filled, "/tickets/3")
    assert page.locator(WIDE).get_attribute("data-pair") == "after"
    page.locator(f"{WIDE} .slide").focus()
    press(page, "ArrowRight")
    assert at(page, WIDE) == "51%"
    press(page, "End")
    assert "恢复后 0 %" in page.locator(f"{WIDE} .slide").get_attribute("aria-valuetext")
    frame = page.locator(WIDE).bounding_box()
    page.mouse.click(frame["x"] + frame["width"] / 4, frame["y"] + 200)
    assert at(page, WIDE) == "25%"
    page.locator(".wide + .close, .wide").first.get_by_label("之前｜发现时").check()
    assert page.locator(WIDE).get_attribute("data-pair") == "clear"
    page.get_by_label("显示区域与物品轮廓").uncheck()
    page.reload()
    assert not page.locator(f"{WIDE} [data-part=at] .outlines").is_visible()
    page.get_by_label("显示区域与物品轮廓").check()
    assert page.locator(f"{WIDE} [data-part=at] polygon.zone").count() == 1
    page.locator(f"{WIDE} [data-part=at] .zoom").focus()
    press(page, "Enter")
    light = page.locator("dialog.light")
    first = light.locator("img").get_attribute("src")
    press(page, "ArrowRight")
    assert light.locator("img").get_attribute("src") != first
    press(page, "+")
    assert light.get_by_role("button", name="放大").get_attribute("aria-pressed") == "true"
    tab.check()
    press(page, "Escape")
    assert page.evaluate("document.activeElement.matches('.zoom')")
    tab.check()


def test_a_finger_moves_the_divider(visit, filled):
    tab, page = visit(filled, "/tickets/3", size=browsers.PHONE)
    frame = page.locator(WIDE).bounding_box()
    page.touchscreen.tap(frame["x"] + frame["width"] * 3 / 4, frame["y"] + 90)
    page.wait_for_timeout(100)
    assert at(page, WIDE) == "75%"
    tab.check()


def test_a_step_asks_what_it_needs_and_the_page_follows(visit, filled):
    tab, page = visit(filled, "/tickets/16")
    page.locator("summary", has_text="误报").click()
    dialog = page.locator("dialog.ask")
    dialog.get_by_label("理由").fill("只是影子")
    tab.check()
    click(dialog, "误报")
    page.get_by_role("heading", name="误报").wait_for()
    story_of = page.locator(".story")
    shows(story_of, "只是影子")
    assert "李敏" in story_of.inner_text()
    verbs = page.locator(".acts form").evaluate_all("all => all.map(one => one.dataset.verb)")
    assert verbs == ["reconsider", "remark"]
    click(page, "显示号码")
    page.locator("a[href='tel:13800000000']").wait_for()
    tab.check()


def test_who_comes_second_is_told_and_their_words_stay(visit, filled):
    made = town.Town(filled.desk)
    tab, page = visit(filled, "/tickets/17", language="en")
    shows(page, "Connected")
    page.locator("summary", has_text="Duplicate").click()
    dialog = page.locator("dialog.ask")
    dialog.get_by_label("Number of the other ticket").fill("99")
    click(dialog, "Duplicate")
    shows(dialog, "Give the number of another ticket of this street")
    page.evaluate("document.querySelector('[data-live=pictures]').dataset.mark = '1'")
    made.act("admin", "confirm", number=17)
    shows(dialog, "Somebody was quicker")
    page.get_by_role("heading", name="The shop is told").wait_for()
    assert dialog.get_by_label("Number of the other ticket").input_value() == "99"
    click(dialog, "Duplicate")
    shows(dialog, "Somebody was quicker")
    click(dialog, "Not now")
    assert page.locator("summary", has_text="To the community").is_visible()
    assert page.locator("[data-mark]").count() == 1, "pictures that are the same stay"
    tab.forgive("/api/tickets/17/duplicate")
    tab.forgive("console")
    tab.check()


def test_a_filter_holds_no_list_back_and_stays_as_it_is(visit, filled):
    tab, page = visit(filled, "/tickets")
    page.locator("#line[data-state=live]").wait_for()
    page.locator("[name=text]").fill("茶")
    page.locator("[name=state]").select_option("open")
    page.locator("[name=state]").focus()
    town.Town(filled.desk).act("admin", "confirm", number=19)
    page.locator(".tickets li", has_text="#19").get_by_text("已提醒商户").wait_for(timeout=10_000)
    assert page.locator("[name=state]:focus").input_value() == "open"
    assert page.locator("[name=text]").input_value() == "茶"
    tab.check(axe=False)


def test_what_is_being_written_outlives_its_session(visit, filled):
    tab, page = visit(filled, "/tickets/20", size=(360, 640))
    page.locator("#line[data-state=live]").wait_for()
    page.locator("details.rest > summary").click()
    page.locator("summary", has_text="添加备注").click()
    dialog = page.locator("dialog.ask")
    dialog.locator("textarea").fill("雨很大，稍后再看")
    filled.desk.write(sessions.end, page.context.cookies()[0]["value"])
    page.evaluate("dispatchEvent(new Event('offline')); dispatchEvent(new Event('online'))")
    shows(dialog, "登录已过期，已填写的内容会保留。")
    assert dialog.get_by_role("link", name="重新登录").get_attribute("target") == "_blank"
    tab.forgive("401")
    tab.check()
    # in another tab
    tab.context.add_cookies([filled.cookie("li")])
    page.evaluate("dispatchEvent(new Event('online'))")
    dialog.get_by_text("登录已过期").wait_for(state="detached")
    dialog.locator(".buttons button:not([data-close])").click()
    shows(page.locator("[data-live]"), "雨很大，稍后再看")


def test_a_persons_picture_stands_beside_the_cameras(visit, filled):
    with filled.desk.store.writing() as session:
        incident = session.scalars(select(IncidentRow).where(IncidentRow.ticket_number == 3)).one()
        sha256 = session.scalars(select(PictureRow.sha256).where(PictureRow.incident == incident.id)).first()
        taken = {"role": "worker_after", "view": "close", "sha256": sha256, "author": "person:chen", "masked": 0}
        size = {"bytes": 1, "width": scenes.WIDTH, "height": scenes.HEIGHT, "taken_ms": 1_780_000_000_000}
        key = {"id": "taken", "incident": incident.id, "box_id": incident.box_id, "received_ms": 1_780_000_000_000}
        session.add(PictureRow(**key, **taken, **size))
    tab, page = visit(filled, "/tickets/3")
    shown = page.locator(".beside .shot")
    assert shown.evaluate_all("all => all.map(one => one.dataset.part)") == ["after", "worker_after"]
    assert "陈刚" in shown.last.inner_text()
    assert "未打码" in shown.last.inner_text()
    tab.check()


def test_without_scripts_pictures_and_forms_work(visit, filled):
    _, page = visit(filled, "/tickets/18", java_script_enabled=False)
    boxes = [page.locator(f"{WIDE} [data-part={part}]").bounding_box() for part in ("clear", "at")]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    assert not page.locator(f"{WIDE} .slide").is_visible()
    page.locator("summary", has_text="备案豁免").click()
    page.locator("form[data-verb=exempt] select[name=permit]").select_option("外摆-7")
    page.locator("form[data-verb=exempt] button").first.click()
    page.get_by_role("heading", name="备案豁免", exact=True).wait_for()
    assert page.locator(".permit").inner_text().startswith("备案 外摆-7")


def test_it_prints_on_one_page(visit, filled):
    _, page = visit(filled, "/tickets/12")
    page.wait_for_timeout(500)
    page.emulate_media(media="print")
    boxes = [page.locator(f"{WIDE} [data-part={part}]").bounding_box() for part in ("clear", "at")]
    assert boxes[0]["x"] < boxes[1]["x"]
    assert page.locator(".signatures").is_visible()
    assert not page.locator(".acts").is_visible()
    pdf = page.pdf(format="A4")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) == 1


def test_an_overdue_step_says_so_in_words(visit, filled):
    with filled.desk.store.writing() as session:
        session.get_one(Ticket, 9).due_ms = round(town.Town(filled.desk).now_s * 1000) - 120_000
    tab, page = visit(filled, "/tickets/9", "chen")
    assert "超期" in page.locator(".step .big").inner_text()
    assert page.locator(".ring.late").count() == 1
    assert page.evaluate("document.querySelector('.acts .act:first-child').textContent").strip().startswith("反馈")
    tab.check()


def test_actors_without_a_name_are_called_what_they_are(street):
    made, _ = street
    found = made.desk.read(story.names, ["person:li", "person:gone", "policy:xiaohe", "camera", "shop:shop-1", None])
    assert {key: value if isinstance(value, str) else value.zh for key, value in found.items()} == {
        "person:li": "李敏",
        "person:gone": "gone",
        "policy:xiaohe": words.AUTHORS["policy"],
        "camera": words.AUTHORS["camera"],
        "shop:shop-1": town.SHOPS[0],
    }

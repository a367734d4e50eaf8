"""The shop's page: for those who have its link, and for nobody else."""

import hashlib
import json
import re
import urllib.error
import urllib.request
from functools import partial

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from collector.evidence.previews import preview
from collector.notices import seams
from collector.notices.links import digest
from collector.notices.orders import withdraw
from collector.notices.pages import MAX_ANSWERS, MISSES, PER_MINUTE, Listener, ShopPages, Visits, make_pages
from collector.notices.seams import NotTakenError
from collector.notices.settings import ShopPagesSection
from collector.people.actor import Actor, Grant, Role
from collector.store import NoticeAnswer, NoticeLink, NoticeRow, Ticket, TicketEvent
from collector.tickets import desk as tickets
from collector.tickets.timekeeper import Timekeeper, Watch
from tests.collector.conftest import at_once
from tests.collector.notices.conftest import PAGES, ZONE
from tests.incidents import START_S, Case
from tests.services import answers, free_port, wait_for

LI = Actor("person", "li", "李", frozenset({Grant(Role.OPERATOR)}))
BUTTONS = {"shop_done": "我已整改", "appeal": "我有异议", "not_mine": "这不是我的店"}


class Site:
    """The pages of an office, and the token of a notice that was sent."""

    def __init__(self, office, service, pages=PAGES):
        self.office, self.now_s = office, 0.0
        self.shown = ShopPages(
            office.desk.store, office.desk.files, pages, "小河街道", "0571-88 99", ZONE, now=lambda: office.now_s
        )
        pages = make_pages(self.shown, Visits(lambda: self.now_s))
        self.client = TestClient(pages, base_url="https://t.example.cn", follow_redirects=False)
        office.desk.write(tickets.act, LI, 1, "confirm", at_ms=office.now_ms)
        office.order()
        office.sender().step(wait=True)
        self.token = re.search(r"/s/([\w-]{22})", service.got[-1].json["text"])[1]

    def get(self, rest="", **more):
        return self.client.get(f"/s/{self.token}{rest}", **more)

    def post(self, verb, reason="", **more):
        return self.client.post(f"/s/{self.token}", data={"verb": verb, "reason": reason}, **more)


@pytest.fixture
def case(office):
    """The office's ticket has pictures."""
    case = Case(shop="shop-1", seq=1)
    pictures = [case.picture("clear"), case.picture("at", "wide", 1), case.picture("at", "close", 2)]
    office.desk.take(*pictures, case.updated(START_S + 20))
    return case


@pytest.fixture
def site(office, service, case):
    return Site(office, service)


def test_the_page_says_what_it_is_about_and_what_to_do(site):
    page = site.get()
    assert page.status_code == 200
    text = page.text
    for words in (*BUTTONS.values(), "王记水果店", "店外经营", "还有", "5分钟", "0571-88 99", "tel:05718899"):
        assert words in text, words
    assert text.count('<img src="/s/') == 2  # the near view and the wide one as found; not the clear one
    english = site.get("?lang=en").text
    for words in ("I have put it right", "I object", "This is not my shop", "Time left"):
        assert words in english
    assert 'content="60"' in text  # without a script
    assert 'lang="zh-CN"' in text
    assert 'lang="en"' in english


def test_it_speaks_the_shops_language_first(office, service, shops, case):
    shops["shop-1"] = seams.Recipient("Wang's", "13800001234", "", "en")
    site = Site(office, service)
    assert "Time left" in site.get(headers={"accept-language": "zh-CN"}).text
    assert "还有" in site.get("?lang=zh").text


def test_else_the_browsers_and_chinese_first(site):
    assert "Time left" in site.get(headers={"accept-language": "en-GB,en;q=0.9"}).text
    assert "还有" in site.get(headers={"accept-language": "de"}).text
    assert "not valid" in site.client.get("/s/x", headers={"accept-language": "en"}).text


def test_pictures_are_those_of_the_ticket_and_no_others(site, office, case):
    other = Case(number=9, shop="shop-9", zone="other")
    office.desk.take(other.picture("at", number=7), other.opened())
    contents = [site.get(f"/{number}.jpg") for number in (1, 2)]
    assert [one.status_code for one in contents] == [200, 200]
    by_view = {record.view: content for record, content in case.pictures if record.role == "at"}
    names = [hashlib.sha256(by_view[view]).hexdigest() for view in ("close", "wide")]
    assert [one.content for one in contents] == [preview(office.desk.files, name, 640) for name in names]
    assert site.get("/1.jpg?large=1").content == preview(office.desk.files, names[0])
    assert not {one.content for one in contents} & set(by_view.values()), "no original without a name and a reason"
    clear = next(record for record, _ in case.pictures if record.role == "clear").sha256
    for name in ("0.jpg", "3.jpg", "-1.jpg", f"{other.pictures[0][0].sha256}.jpg", f"{clear}.jpg", "x.jpg", "1.png"):
        assert site.get(f"/{name}").status_code == 404
    assert site.client.get(f"/evidence/{clear}.jpg").status_code == 404


def test_an_unmasked_picture_is_never_shown(office, service):
    case = Case(shop="shop-1", seq=1)
    shot = case.picture("at", "wide", 1)
    case.pictures = [(record.model_copy(update={"masked": False}), content) for record, content in case.pictures]
    office.desk.take(shot, case.updated(START_S + 20))
    assert '<img src="/s/' not in Site(office, service).get().text


def test_nothing_else_is_served(site):
    for path in ("", "s", "s/", "api/tickets", "healthz", "metrics", "docs", "openapi.json", "tickets/1"):
        assert site.client.get(f"/{path}").status_code == 404, path
    for _ in range(MISSES + 1):
        assert site.client.get("/favicon.ico").status_code == 204  # browsers ask by themselves
        assert site.client.get("/apple-touch-icon.png").status_code == 404
    assert site.get().status_code == 200
    assert site.client.get("/robots.txt").text == "User-agent: *\nDisallow: /\n"
    for name in ("style.css", "x/feed.js", "x/api.js", "x/shop.html", "x/pages.py"):
        assert site.client.get(f"/static/{name}").status_code == 404, name


@pytest.mark.parametrize(("path", "status"), [("/s/{token}", 200), ("/s/x", 404), ("/", 404), ("/static/x/x", 404)])
def test_every_answer_has_its_headers(site, path, status):
    found = site.client.get(path.format(token=site.token))
    assert found.status_code == status
    assert found.headers["referrer-policy"] == "no-referrer"
    assert "noindex" in found.headers["x-robots-tag"]
    assert found.headers["cache-control"] == "no-store"
    policy = found.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


def test_files_of_its_style_are_kept_and_nothing_else(site):
    (path,) = re.findall(r'href="(/static/\w+/shop.css)"', site.get().text)
    found = site.client.get(path)
    assert found.headers["content-type"].startswith("text/css")
    assert "immutable" in found.headers["cache-control"]
    assert found.headers["referrer-policy"] == "no-referrer"
    assert site.get("/1.jpg").headers["cache-control"] == "no-store"


def test_only_the_hash_is_kept_and_expired_looks_like_unknown(site, office):
    (link,) = office.desk.rows(select(NoticeLink))
    assert link.token_sha256 == digest(site.token)
    assert (link.ticket_number, link.shop) == (1, "shop-1")
    unknown = site.client.get("/s/AAAAAAAAAAAAAAAAAAAAAA")
    office.now_s = link.expires_ms / 1000 - 1
    assert site.get().status_code == 200
    office.now_s += 2
    gone = site.get()
    assert (gone.status_code, gone.text) == (unknown.status_code, unknown.text) == (404, unknown.text)
    for answer in (gone, unknown):
        answer.headers.pop("date", None)
    assert gone.headers == unknown.headers
    assert site.get("/1.jpg").text == gone.text
    assert site.post("shop_done").text == gone.text
    assert said(office) == []


def said(office):
    return [
        (one.verb, one.text, one.code) for one in office.desk.rows(select(NoticeAnswer).order_by(NoticeAnswer.number))
    ]


@pytest.mark.parametrize(("verb", "reason"), [("shop_done", ""), ("appeal", "有外摆备案"), ("not_mine", "")])
def test_what_the_shop_says_is_taken(site, office, verb, reason):
    found = site.post(verb, reason)
    assert (found.status_code, found.headers["location"]) == (303, f"/s/{site.token}")
    assert said(office) == [(verb, reason, "")]
    page = site.client.get(found.headers["location"]).text
    assert re.search(rf"已收到（\d\d:\d\d）：{BUTTONS[verb]}", page)
    assert office.desk.count(TicketEvent, TicketEvent.kind == verb) == 1
    # pressed twice, or loaded again
    site.post(verb, reason)
    assert len(said(office)) == 1


def test_done_said_again_after_goods_were_seen_has_it_looked_at_again(site, office):
    site.post("shop_done")
    with office.desk.store.writing() as session:
        held = tickets.hold(session, 1)
        tickets.step(session, Actor.camera("box-1"), held, "looked", at_ms=office.now_ms, seen="occupied")
    site.post("shop_done")
    site.post("shop_done")  # pressed twice
    assert said(office) == [("shop_done", "", "")] * 2
    ticket = office.desk.get(Ticket, 1)
    assert ticket.verify == ticket.version


def test_looking_changes_nothing_as_for_chat_previews(site, office):
    for query in ("", "?verb=shop_done", "?said=shop_done", "?verb=appeal&reason=x", "?said=appeal_late"):
        page = site.get(query)
        assert page.status_code == 200
        assert "已收到" not in page.text  # it is not said where it is not so
        assert "已记录" not in page.text
    for method in ("HEAD", "OPTIONS", "PUT", "DELETE"):
        site.client.request(method, f"/s/{site.token}")
    assert said(office) == []


def test_an_objection_wants_a_reason(site, office):
    found = site.post("appeal", "  ")
    assert "ask=appeal" in found.headers["location"]
    page = site.client.get(found.headers["location"]).text
    assert "请勾选或写明理由" in page
    assert 'value="appeal"' in page
    assert 'content="60"' not in page  # nothing is fetched anew where somebody writes
    assert said(office) == []


@pytest.mark.parametrize("verb", ["", "close", "register", "confirm", "<b>"])
def test_no_other_step_can_be_taken(site, office, verb):
    assert site.post(verb, "x").headers["location"].endswith("said=unknown")
    assert said(office) == []


def test_what_the_desk_does_not_take_is_kept(site, office, monkeypatch):
    def refuse(*_):
        raise NotTakenError("too_late", "registered already")

    monkeypatch.setattr(seams, "say", refuse)
    found = site.post("appeal", "不是我的货")
    assert found.headers["location"].endswith("said=appeal_late")
    assert said(office) == [("appeal", "不是我的货", "too_late")]
    # and somebody sees it, however the ticket goes on
    office.desk.write(withdraw, 1, office.now_ms, "now: closed")
    line = office.desk.one(select(TicketEvent).where(TicketEvent.kind == "said"))
    order = office.desk.one(select(NoticeRow).where(NoticeRow.audience == "operator"))
    assert (line.author, line.reason, json.loads(line.detail)["not_taken"]) == ("shop:shop-1", "不是我的货", "too_late")
    assert (order.kind, order.state, order.text) == ("objection", "waiting", "不是我的货")
    assert "工作人员会看到" in site.client.get(found.headers["location"]).text


def test_a_form_of_another_site_is_refused(site, office):
    assert site.post("shop_done", headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert said(office) == []
    assert site.post("shop_done", headers={"sec-fetch-site": "same-origin", "origin": "null"}).status_code == 303


@pytest.mark.parametrize("body", [b"\xff\xfe=%ff&verb", b"a=1&" * 50, b"verb=appeal&reason=" + b"x" * 9000, b"", b"{}"])
def test_forms_that_are_none(site, office, body):
    found = site.client.post(f"/s/{site.token}", content=body)
    assert found.status_code == 303
    assert said(office) == []


def test_what_is_written_is_text(site, office):
    site.post("appeal", '<script>alert(1)</script>\x00\r\n{{ 7*7 }} "长"' + "x" * 900)
    page = site.get().text
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "{{ 7*7 }}" in page
    assert len(said(office)[0][1]) == 500


def test_nobody_fills_the_database(site, office):
    for number in range(MAX_ANSWERS + 5):
        site.post("appeal", f"理由{number}")
    assert len(said(office)) == MAX_ANSWERS


def test_guessing_and_flooding_end(site):
    for number in range(MISSES):
        assert site.client.get(f"/s/{number:022d}").status_code == 404
    assert site.get().status_code == 429  # nobody guesses 128 bits; this keeps it from costing anything
    site.now_s += 601
    for _ in range(PER_MINUTE):
        assert site.get("/1.jpg").status_code == 200
    found = site.get()
    assert (found.status_code, found.headers["retry-after"]) == (429, "60")
    site.now_s += 61
    assert site.get().status_code == 200


def test_behind_a_proxy_its_word_for_the_address_counts(office, service, case):
    site = Site(office, service, PAGES.model_copy(update={"behind_proxy": True}))
    for number in range(MISSES + 3):
        forged = {"x-forwarded-for": f"6.6.6.{number}, 10.0.0.9"}
        last = site.client.get(f"/s/{number:022d}", headers=forged)
    assert last.status_code == 429
    assert site.get(headers={"x-forwarded-for": "10.0.0.8"}).status_code == 200


def test_a_path_in_front_is_kept(office, service, case):
    site = Site(office, service, PAGES.model_copy(update={"url": "https://t.example.cn/dp"}))
    text = site.get().text
    assert f'action="/dp/s/{site.token}?lang=zh"' in site.get("?ask=shop_done").text
    assert re.search(r'href="/dp/static/\w+/shop.css"', text)
    assert site.post("shop_done").headers["location"].startswith(f"/dp/s/{site.token}")


def test_the_time_left_runs_out(site, office):
    office.now_s += 240
    assert "1分钟" in site.get().text
    office.now_s += 120
    text = site.get().text
    assert 'class="time over"' in text
    assert "我已整改" in text
    office.desk.take(cleared(START_S + 400))
    Timekeeper(office.desk.store, watch=Watch(lambda: office.now_s, lambda: office.now_s)).step()
    text = site.get().text
    assert "本次提醒已结束" in text
    assert "我已整改" not in text
    assert "我有异议" in text  # also afterwards


def cleared(at_s):
    return Case(shop="shop-1", seq=2).cleared(at_s)


def test_two_that_press_at_once_are_one(site, office):
    at_once(*[partial(site.post, "shop_done")] * 4)
    assert len(said(office)) == 1


def test_the_listener_is_its_own(office, service, case, tmp_path):
    port = free_port()
    section = ShopPagesSection(listen=f"127.0.0.1:{port}", url=f"http://127.0.0.1:{port}")
    site = Site(office, service, section)
    listener = Listener(site.shown, tmp_path)
    listener.start()
    try:
        wait_for(lambda: answers(port), "it listens")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/s/{site.token}") as page:
            assert "王记水果店" in page.read().decode()
            assert "server" not in page.headers
    finally:
        listener.stop()
    assert not answers(port)


def buttons(text):
    return {verb for verb, words in BUTTONS.items() if f"?ask={verb}&" in text and words in text}


@pytest.mark.parametrize(
    ("steps", "shown", "now", "english"),
    [
        ((), {"shop_done", "appeal", "not_mine"}, "收回店内", "back inside"),
        ((("shop_done", ""),), {"appeal", "not_mine"}, "摄像头正在查看现场", "The camera is looking just now"),
        ((("appeal", "有备案"),), set(), "期间时限停止计算", "meanwhile no time runs"),
        ((("withdraw", ""),), {"appeal", "not_mine"}, "已结案", "The case is closed"),
        ((("false_alarm", ""),), set(), "经核实并无问题", "nothing was wrong"),
        ((("appeal", "有备案"), ("reject", "")), {"shop_done", "appeal", "not_mine"}, "收回店内", "back inside"),
    ],
)
def test_the_page_offers_what_the_ticket_takes(site, office, steps, shown, now, english):
    for verb, reason in steps:
        if verb in BUTTONS:
            site.post(verb, reason)
        else:
            office.desk.write(tickets.act, LI, 1, verb, at_ms=office.now_ms, reason="staff say so")
    text = site.get().text
    assert buttons(text) == shown
    assert now in text
    assert english in site.get("?lang=en").text
    assert "0571-88 99" in text  # by telephone always


@pytest.mark.parametrize(
    ("verb", "words", "english"),
    [
        ("reject", "您的异议经复核未被采纳", "looked at and not accepted"),
        ("uphold", "您的异议已被采纳", "Your objection was accepted"),
    ],
)
def test_the_page_says_what_became_of_an_objection_and_why(site, office, verb, words, english):
    site.post("appeal", "有备案")
    assert words not in site.get().text
    office.desk.write(tickets.act, LI, 1, verb, at_ms=office.now_ms, reason="备案<昨天>到期")
    text, other = site.get().text, site.get("?lang=en").text
    assert words in text
    assert english in other
    assert "备案&lt;昨天&gt;到期" in text
    assert "备案&lt;昨天&gt;到期" in other

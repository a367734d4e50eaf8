"""The registers of shops and permits, in a browser: each page's main job, and what each role may see of it."""

import time
from datetime import UTC, datetime, timedelta

from collector.people import audit, sessions
from collector.places import shops
from tests import browser, town
from tests.browser import click, shows

ROWS = "店铺编号,店铺名称,街道,电话\nshop-90,新店,xiaohe,138 0000 0001\nshop-91,{name},xiaohe,{phone}\n"


def field(page, name):
    return page.locator(f"#in-{name}")


def test_a_shop_is_found_changed_and_its_history_says_so(visit, filled):
    tab, page = visit(filled, "/shops")
    page.get_by_role("searchbox").fill("样板花店")
    click(page, "查询")
    assert page.locator("tbody tr").count() == 1
    # not everybody may look for people: their numbers find nothing
    page.goto(f"{filled.url}/shops?text=13800000000")
    shows(page, "没有符合条件的店铺")
    page.goto(f"{filled.url}/shops/record?key=shop-13")
    field(page, "phone").fill("12345")
    field(page, "business").fill("鲜花")
    with page.expect_response(lambda one: one.request.method == "POST") as answer:
        click(page, "保存")
    assert answer.value.status == 422
    assert "应为手机号" in page.locator("#wrong-phone-1").inner_text()
    page.wait_for_load_state("load")
    tab.faults.clear()
    assert page.locator("[role=alert] a").inner_text() == "电话"
    assert field(page, "business").input_value() == "鲜花"  # what was typed is still there
    tab.check()
    field(page, "phone").fill("138-0000-0002")
    page.get_by_label("更改原因").fill("店主换号")
    click(page, "保存")
    shows(page, "已保存。")
    assert field(page, "phone").input_value() == "13800000002"
    newest = page.locator(".timeline li").first
    assert "店主换号" in newest.inner_text()
    assert "13800000002" in newest.inner_text()
    tab.check()
    # two who change the same: the second one is told, and overwrites nothing
    other = tab.context.new_page()
    for one in (page, other):
        one.goto(f"{filled.url}/shops/record?key=shop-13")
    for one, text in ((page, "甲"), (other, "乙")):
        field(one, "note").fill(text)
        click(one, "保存")
    assert "已被他人改为" in other.locator("[role=alert]").inner_text()
    assert filled.desk.read(shops.find, "shop-13").note == "甲"
    assert filled.desk.read(audit.show, of="shop/shop-13")[-1].action == "shop.added"


def test_a_form_outlives_its_session(visit, filled):
    tab, page = visit(filled, "/shops/record?key=shop-14", size=(360, 640))
    field(page, "note").fill("一条长备注")
    filled.desk.write(sessions.end, page.context.cookies()[0]["value"])
    click(page, "保存")
    shows(page, "登录已过期。已填写的内容保留在此")
    click(page, "再次提交")
    shows(page, "您尚未登录。")
    tab.forgive("401")
    tab.check()
    # in another tab, first somebody else
    tab.context.add_cookies([filled.cookie(town.PEOPLE["admin"][0])])
    click(page, "再次提交")
    shows(page, "当前登录的是其他人")
    tab.context.add_cookies([filled.cookie("li")])
    click(page, "再次提交")
    shows(page, "已保存。")
    assert field(page, "note").input_value() == "一条长备注"
    # whoever signs in again before a form is sent has only its token to renew
    field(page, "note").fill("另一条")
    tab.context.add_cookies([filled.cookie("li")])
    click(page, "保存")
    shows(page, "该页面打开后您重新登录过")
    click(page, "再次提交")
    shows(page, "已保存。")
    assert field(page, "note").input_value() == "另一条"


def test_a_file_is_taken_only_when_every_row_is_good(visit, filled):
    tab, page = visit(filled, "/shops", language="en")
    page.get_by_text("Files: import and export").click()

    def check(text):
        page.locator("input[type=file]").set_input_files(
            {"name": "shops.csv", "mimeType": "text/csv", "buffer": text.encode()}
        )
        with page.expect_response(lambda one: "/import" in one.url):
            click(page, "Check the file")
        page.locator(".report > p").wait_for()

    check(ROWS.format(name="", phone="99"))
    rows = [line.inner_text().split("\t") for line in page.locator(".report tr").all()[1:]]
    assert [row[:2] for row in rows] == [["3", "店铺名称"], ["3", "电话"]]
    assert "expected a mobile number" in rows[1][2]
    assert not page.get_by_role("button", name="Import it").is_visible()
    tab.faults.clear()  # the center answers 422
    check(ROWS.format(name="花房", phone="13800000003"))
    tab.check()
    click(page, "Import it")
    shows(page, "Imported: 2 new")
    with page.expect_download() as fetched:
        page.get_by_role("link", name="Export as CSV").click()
    assert "花房" in fetched.value.path().read_text("utf-8-sig")


def test_permits_that_end_soon_come_first_and_one_is_withdrawn(visit, filled):
    today = datetime.fromtimestamp(time.time(), UTC).date()
    tab, page = visit(filled, "/permits/new?shop=shop-5", size=browser.NARROW)
    # streets, shops and zones are chosen, not known by heart
    assert field(page, "street").evaluate("one => [one.tagName, one.value]") == ["SELECT", town.STREET]
    assert page.locator("#list-shop option[value=shop-5]").text_content() == town.SHOPS[4]
    page.get_by_label("xiaohe-1/north-gate/front-2", exact=True).check()
    field(page, "number").fill("外摆/8")
    field(page, "issuer").fill("示例区城管局")
    field(page, "hours").fill("18:00-02:00")
    field(page, "from_day").fill(f"{today}")
    field(page, "until_day").fill(f"{today - timedelta(days=1)}")
    click(page, "保存")
    assert "早于开始日期" in page.locator("#wrong-until_day-1").inner_text()
    assert page.get_by_label("xiaohe-1/north-gate/front-2", exact=True).is_checked()
    tab.faults.clear()
    field(page, "until_day").fill(f"{today + timedelta(days=5)}")
    click(page, "保存")
    shows(page, "已登记。")
    page = tab.open("/permits")
    first = page.locator("tbody tr").first
    assert "外摆/8" in first.inner_text()
    assert "示例花店" in first.inner_text()
    assert page.locator("tbody .badge").first.inner_text() in ("剩 6 天", "剩 7 天", "剩 5 天")
    tab.check()
    first.get_by_role("link").click()
    page.get_by_text("撤销此备案").click()
    page.get_by_label("理由").fill("占用盲道")
    click(page, "确认撤销")
    page.get_by_text("已撤销").first.wait_for()
    assert page.get_by_role("button", name="保存").count() == 0
    tab.check()
    page = tab.open("/permits")
    assert "外摆/8" not in page.locator("main").inner_text()


def test_who_may_only_look_sees_no_forms(chromium, filled):
    with browser.Tab(chromium, filled, "wu") as tab:
        for path in ("/shops", "/permits", "/shops/record?key=shop-4", "/permits/record?key=外摆-7"):
            page = tab.open(path)
            assert page.locator("main form:not([role=search])").count() == 0, path
            assert page.locator("main a[href*=export], main a[href$=new]").count() == 0, path
            tab.check(axe=False)
        assert "已登记" not in page.locator("main").inner_text()
        page.goto(f"{filled.url}/shops/new")
        page.get_by_role("heading", name="无此权限").wait_for()
        assert page.goto(f"{filled.url}/shops/record?key=nobody").status == 404

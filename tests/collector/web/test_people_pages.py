"""The pages of people and of the audit log, in a browser: what an admin does for somebody, and what is kept of it."""

from sqlalchemy import text

from collector.people import roster, sessions, tokens
from collector.people.actor import SYSTEM, Grant
from tests import browser
from tests.browser import click, shows
from tests.people import now_ms


def test_somebody_is_taken_up_given_roles_and_locked_out(visit, filled):
    store = filled.desk.store
    tab, page = visit(filled, "/people/new", "zhao")
    page.get_by_label("登录名").fill("Lin Yi")
    page.get_by_label("姓名").fill("林一")
    page.get_by_label("电话").fill("123")
    click(page, "添加")
    assert "小写字母" in page.locator("#wrong-id-1").inner_text()
    assert "应为手机号" in page.locator("#wrong-phone-1").inner_text()
    tab.faults.clear()  # of the center's 422
    tab.check()
    page.get_by_label("登录名").fill("lin")
    page.get_by_label("电话").fill("138 0000 0009")
    page.get_by_label("角色").select_option("grid_worker")
    click(page, "添加")
    word = page.locator("code.word").inner_text()
    tab.check()
    page = tab.open("/people/person?id=lin")
    assert word not in page.content()  # shown once
    click(page, "授予角色")
    assert page.get_by_label("角色").input_value() == ""  # none stands there before somebody chose it
    page.get_by_label("角色").select_option("officer")
    click(page, "授予角色")
    page.locator("b", has_text="执法队员").wait_for()
    with store.writing() as session:
        key = tokens.make(session, SYSTEM, "lin", "大屏", [Grant.read("officer@xiaohe")], 9, now_ms()).text
        sessions.start(session, "lin", "full", "password", ages=sessions.Ages(), now_ms=now_ms(), address="test")
    page.reload()
    assert "执法队员 · xiaohe · " in page.locator("main").inner_text()
    click(page, "结束全部登录")
    shows(page, "当前登录 0 处")
    click(page, "吊销")
    shows(page, "没有令牌")
    with store.transaction() as session:
        assert tokens.read(session, key, now_ms()) is None
    page.get_by_text("停用账号").click()
    tab.check()
    click(page, "停用 林一")
    click(page, "恢复账号")
    shows(page, "停用账号")
    tab.check()
    # the last admin cannot lock themselves out, and is told why in their language
    page = tab.open("/people/person?id=zhao")
    page.get_by_text("停用账号").click()
    click(page, "停用 赵宁")
    assert "最后一名全中心管理员" in page.locator("[role=alert]").inner_text()


def test_f5_makes_no_password_anew(visit, filled):
    def kept():
        return filled.desk.read(roster.find, "wu").password

    _, page = visit(filled, "/people/person?id=wu", "zhao")
    page.get_by_text("重置密码").click()
    click(page, "生成新密码")
    page.locator("code.word").wait_for()
    made = kept()
    page.reload()
    assert "已设过新密码" in page.locator("[role=alert]").inner_text()
    assert page.locator("code.word").count() == 0
    assert kept() == made
    page.get_by_text("重置密码").click()
    click(page, "生成新密码")
    page.locator("code.word").wait_for()
    assert kept() != made


def test_an_admin_of_a_street_gives_only_what_is_theirs(visit, filled):
    filled.desk.write(roster.add, SYSTEM, "he", "何平", [Grant.read("admin@xiaohe")], now_ms=now_ms())
    filled.desk.write(roster.add, SYSTEM, "far", "远方", [Grant.read("viewer@other")], now_ms=now_ms())
    tab, page = visit(filled, "/people", "he", language="en")
    assert "远方" not in page.locator("main").inner_text()
    assert page.locator("nav a[href='/audit']").count() == 0  # it is of all streets
    page.goto(f"{filled.url}/people/person?id=zhao")
    assert page.get_by_role("button", name="Lock them out").count() == 0
    assert page.get_by_role("button", name="Take it away").count() == 0
    assert page.locator("#in-street option").all_inner_texts() == ["xiaohe"]
    tab.check()
    assert page.goto(f"{filled.url}/people/person?id=far").status == 404
    assert page.goto(f"{filled.url}/audit").status == 403


def test_who_only_reads_people_sees_no_buttons(chromium, filled):
    with browser.Tab(chromium, filled, "sun") as tab:
        for path in ("/people", "/people/person?id=chen"):
            page = tab.open(path)
            assert page.locator("main button:not([role=search] button)").count() == 0
            tab.check(axe=False)


def test_the_log_is_searched_verified_and_said_to_be_broken(visit, filled):
    store = filled.desk.store
    tab, page = visit(filled, "/audit", "zhao")
    page.get_by_label("操作人").fill("li")
    page.locator("select[name=action]").select_option("ticket.")
    click(page, "查询")
    lines = page.locator("tbody tr")
    assert lines.count() > 10
    assert all("person:li" in one and "ticket/" in one for one in lines.all_inner_texts())
    with page.expect_download() as fetched:
        page.get_by_role("link", name="导出 CSV").click()
    rows = fetched.value.path().read_text("utf-8-sig").splitlines()
    assert len(rows) == lines.count() + 1
    page = tab.open("/audit?first=2020-01-01&last=2020-01-02")
    shows(page, "没有符合条件的记录")
    click(page, "核验日志链")
    shows(page, "已核验")
    tab.check()
    with store.engine.begin() as connection:  # past the program, as somebody with the file could
        guards = connection.execute(text("SELECT name FROM sqlite_master WHERE tbl_name='audit' AND type='trigger'"))
        for (name,) in guards.all():
            connection.execute(text(f"DROP TRIGGER {name}"))
        connection.execute(text("UPDATE audit SET detail='{}' WHERE number=7"))
    page.reload()
    shows(page, "日志链在第 6 条之后断裂")
    tab.check()

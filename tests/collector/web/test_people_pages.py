"""The pages of people and of the audit log, in a browser: what an admin does for somebody, and what is kept of it."""

from sqlalchemy import text

from collector.people import roster, sessions, tokens
from collector.people.actor import SYSTEM, Grant
from tests import browser
from tests.people import now_ms


def test_somebody_is_taken_up_given_roles_locked_out_and_let_in_again(chromium, filled):
    store = filled.desk.store
    with browser.Tab(chromium, filled, "zhao") as tab:
        page = tab.open("/people/new")
        page.get_by_label("登录名").fill("Lin Yi")
        page.get_by_label("姓名").fill("林一")
        page.get_by_label("电话").fill("123")
        page.get_by_role("button", name="添加").click()
        assert "小写字母" in page.locator("#wrong-id-1").inner_text()
        assert "应为手机号" in page.locator("#wrong-phone-1").inner_text()
        tab.faults.clear()  # of the center's 422
        tab.check()
        page.get_by_label("登录名").fill("lin")
        page.get_by_label("电话").fill("138 0000 0009")
        page.get_by_label("角色").select_option("grid_worker")
        page.get_by_role("button", name="添加").click()
        word = page.locator("code.word").inner_text()
        tab.check()
        page = tab.open("/people/person?id=lin")
        assert word not in page.content()  # shown once
        page.get_by_role("button", name="授予角色").click()
        assert page.get_by_label("角色").input_value() == ""  # none stands there before somebody chose it
        page.get_by_label("角色").select_option("officer")
        page.get_by_role("button", name="授予角色").click()
        page.locator("b", has_text="执法队员").wait_for()
        with store.writing() as session:
            key = tokens.make(session, SYSTEM, "lin", "大屏", [Grant.read("officer@xiaohe")], 9, now_ms()).text
            sessions.start(session, "lin", "full", "password", ages=sessions.Ages(), now_ms=now_ms(), address="test")
        page.reload()
        assert "执法队员 · xiaohe · " in page.locator("main").inner_text()
        page.get_by_role("button", name="结束全部登录").click()
        page.get_by_text("当前登录 0 处").wait_for()
        page.get_by_role("button", name="吊销").click()
        page.get_by_text("没有令牌").wait_for()
        with store.transaction() as session:
            assert tokens.read(session, key, now_ms()) is None
        page.get_by_text("停用账号").click()
        tab.check()
        page.get_by_role("button", name="停用 林一").click()
        page.get_by_role("button", name="恢复账号").click()
        page.get_by_text("停用账号").wait_for()
        tab.check()
        # the last admin cannot lock themselves out, and is told why in their language
        page = tab.open("/people/person?id=zhao")
        page.get_by_text("停用账号").click()
        page.get_by_role("button", name="停用 赵宁").click()
        assert "最后一名全中心管理员" in page.locator("[role=alert]").inner_text()


def test_a_password_that_is_asked_for_again_by_f5_is_not_made_anew(chromium, filled):
    def kept():
        with filled.desk.store.transaction() as session:
            return roster.find(session, "wu").password

    with browser.Tab(chromium, filled, "zhao") as tab:
        page = tab.open("/people/person?id=wu")
        page.get_by_text("重置密码").click()
        page.get_by_role("button", name="生成新密码").click()
        page.locator("code.word").wait_for()
        made = kept()
        page.reload()
        assert "已设过新密码" in page.locator("[role=alert]").inner_text()
        assert page.locator("code.word").count() == 0
        assert kept() == made
        page.get_by_text("重置密码").click()
        page.get_by_role("button", name="生成新密码").click()
        page.locator("code.word").wait_for()
        assert kept() != made


def test_an_admin_of_a_street_gives_only_what_is_theirs(chromium, filled):
    with filled.desk.store.writing() as session:
        roster.add(session, SYSTEM, "he", "何平", [Grant.read("admin@xiaohe")], now_ms=now_ms())
        roster.add(session, SYSTEM, "far", "远方", [Grant.read("viewer@other")], now_ms=now_ms())
    with browser.Tab(chromium, filled, "he", language="en") as tab:
        page = tab.open("/people")
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


def test_the_log_is_searched_verified_and_told_to_be_broken(chromium, filled):
    store = filled.desk.store
    with browser.Tab(chromium, filled, "zhao") as tab:
        page = tab.open("/audit")
        page.get_by_label("操作人").fill("li")
        page.locator("select[name=action]").select_option("ticket.")
        page.get_by_role("button", name="查询").click()
        lines = page.locator("tbody tr")
        assert lines.count() > 10
        assert all("person:li" in one and "ticket/" in one for one in lines.all_inner_texts())
        with page.expect_download() as fetched:
            page.get_by_role("link", name="导出 CSV").click()
        rows = fetched.value.path().read_text("utf-8-sig").splitlines()
        assert len(rows) == lines.count() + 1
        page = tab.open("/audit?first=2020-01-01&last=2020-01-02")
        page.get_by_text("没有符合条件的记录").wait_for()
        page.get_by_role("button", name="核验日志链").click()
        page.get_by_text("已核验").wait_for()
        tab.check()
        with store.engine.begin() as connection:  # past the program, as somebody with the file could
            guards = connection.execute(
                text("SELECT name FROM sqlite_master WHERE tbl_name='audit' AND type='trigger'")
            )
            for (name,) in guards.all():
                connection.execute(text(f"DROP TRIGGER {name}"))
            connection.execute(text("UPDATE audit SET detail='{}' WHERE number=7"))
        page.reload()
        page.get_by_text("日志链在第 6 条之后断裂").wait_for()
        tab.check()

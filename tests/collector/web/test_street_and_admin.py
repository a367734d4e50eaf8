"""The public page and administration in a browser: what a resident, the room and an admin come for."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlalchemy import select

from collector.boxes import wanted
from collector.store import Box, CommandPicture, CommandRow
from tests import browser, scenes, town
from tests.browser import click, shows
from tests.collector.web.conftest import running
from tests.collector.web.gallery import STREET_PAGE
from tests.people import now_ms


@pytest.fixture(scope="module")
def center(tmp_path_factory):
    with running(tmp_path_factory.mktemp("center"), more=STREET_PAGE) as found:
        yield found


def test_a_resident_proposes_the_room_answers_and_all_read_it(chromium, center):
    with browser.Tab(chromium, center, size=browser.NARROW) as street, browser.Tab(chromium, center, "li") as room:
        page = street.open("/street")
        page.get_by_label("您的建议").fill("示例茶铺门口请允许晚上摆两张桌子，电话 13800000000")
        click(page, "提交建议")
        shows(page, "感谢您的建议")
        assert "两张桌子" not in page.locator("main").inner_text()
        street.check()
        desk = room.open("/proposals")
        assert "13800000000" not in desk.content()
        click(desk, "予以展示")
        desk.get_by_role("link", name="已展示").click()
        desk.get_by_label("中心答复").fill("下周商议")
        click(desk, "保存")
        room.check()
        page = street.open("/street")
        shown = page.locator("#proposals").inner_text()
        assert "•••门口请允许晚上摆两张桌子" in shown
        assert "下周商议" in shown
        street.check()


def test_an_admin_adds_a_camera_and_gives_programs_what_they_need(visit, center):
    store = center.desk.store
    with store.writing() as session:
        key = X25519PrivateKey.generate().public_key().public_bytes_raw()
        session.get_one(Box, "xiaohe-1").encryption_key = base64.b64encode(key).decode()
        before = wanted.newest(session, "xiaohe-1").revision
    tab, page = visit(center, "/admin", "zhao")
    page.locator("main").get_by_role("link", name="添加摄像头").click()
    page.get_by_label("盒子").select_option("xiaohe-1")
    page.get_by_label("摄像头编号").fill("gate")
    page.get_by_label("地址").fill("rtsp://viewer:geheim-7@10.0.0.5:554/main")
    click(page, "拍一张测试图")
    shows(page, "盒子正在测试")
    assert "geheim" not in page.content()
    with store.writing() as session:
        row = session.scalars(select(CommandRow).where(CommandRow.verb == "probe")).one()
        row.state, row.data, row.replied_ms = "ok", '{"stream": "1920x1080, h264"}', now_ms()
        jpeg = {"role": "snapshot", "sha256": "0" * 64, "jpeg": scenes.jpeg(scenes.street(3)), "received_ms": now_ms()}
        session.add(CommandPicture(command_id=row.id, view="wide", **jpeg))
    # it looks again by itself
    page.get_by_role("img", name="摄像头测试图").wait_for()
    tab.check()
    click(page, "保存摄像头")
    page.wait_for_url("**/boxes/xiaohe-1")
    with store.transaction() as session:
        assert wanted.newest(session, "xiaohe-1").revision == before + 1
    page = tab.open("/admin/webhooks")
    page.get_by_text("新建推送").click()
    page.get_by_label("接收地址").fill("https://platform.example.cn/hook")
    click(page, "添加")
    assert page.locator("code.word").inner_text().startswith("whsec_")
    tab.check()
    page = tab.open("/admin/tokens")
    page.get_by_text("为程序新建令牌").click()
    for label, text in (("程序账号", "svc-hall"), ("用途", "大厅"), ("您的密码", town.PASSWORD)):
        page.get_by_label(label).fill(text)
    click(page, "生成")
    assert page.locator("code.word").inner_text().startswith("cet_")
    click(page, "吊销 大厅")
    shows(page, "已吊销")
    tab.check()

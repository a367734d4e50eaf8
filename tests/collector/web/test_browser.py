"""Signing in as a browser does it: its own rules for cookies, forms, origins and content are part of it."""

import base64
import hashlib
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from collector.people import audit, sessions, totp
from tests import incidents
from tests.browser import click, shows
from tests.collector.conftest import Desk
from tests.incidents import Case
from tests.people import PASSWORD, make_person, now_ms
from tests.services import BIN, Process, free_port


@pytest.fixture
def center(tmp_path):
    """A running center with one ticket and one admin who has a first password."""
    (tmp_path / "data").mkdir()
    desk = Desk(tmp_path / "data")
    case = Case()
    desk.take(incidents.status(), case.picture("at", "close"), case.opened())
    make_person(desk.store, "wang", "admin", "officer", password=PASSWORD, once=True)
    port = free_port()
    path = tmp_path / "center.toml"
    path.write_text(
        f'version = 1\n[center]\nid = "demo"\nname = "小河街道"\nlisten = "127.0.0.1:{port}"\n'
        '[broker]\nurl = "mqtt://127.0.0.1:1"\n'
    )
    with Process([BIN / "cityeye-collector", "serve", "--settings", path], tmp_path / "log", port):
        yield desk, f"http://127.0.0.1:{port}", case
    desk.store.close()


def code_after(secret, step):
    """The next code that is good: none is twice."""
    return totp.code(base64.b32decode(secret), max(totp.step_at(now_ms()), step + 1))


def test_from_the_first_password_to_an_original(chromium, center):
    desk, url, case = center
    faults = []
    with chromium.new_context(viewport={"width": 390, "height": 844}, locale="zh-CN") as context:
        page = context.new_page()
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda fault: faults.append(str(fault)))
        page.goto(f"{url}/tickets/1")
        page.get_by_label("登录名").fill("wang")
        page.get_by_label("密码").fill(PASSWORD)
        click(page, "登录")
        shows(page, "请先修改密码")
        page.get_by_label("当前密码").fill(PASSWORD)
        page.get_by_label("新密码").fill("another horse battery")
        click(page, "修改密码")
        shows(page, "您的角色须启用两步验证")
        page.get_by_label("当前密码").last.fill("another horse battery")
        click(page, "开始设置")
        page.locator(".qr svg").wait_for()
        secret = page.locator("code.mono").inner_text().replace(" ", "")
        shot = cv2.imdecode(np.frombuffer(page.locator(".qr svg").screenshot(), np.uint8), cv2.IMREAD_COLOR)
        assert cv2.QRCodeDetector().detectAndDecode(shot)[0] == totp.link(secret, "小河街道", "wang")
        step = totp.step_at(now_ms())
        page.get_by_label("验证码").fill(totp.code(base64.b32decode(secret), step))
        click(page, "启用")
        shows(page, "请保存恢复码")
        assert len(re.findall(r"[a-z2-7]{4}-[a-z2-7]{4}", page.locator(".codes").inner_text())) == 10
        click(page, "菜单")
        click(page, "退出", exact=True)
        page.get_by_label("登录名").wait_for()

        page.goto(f"{url}/tickets/1")
        page.get_by_label("登录名").fill("wang")
        page.get_by_label("密码").fill("another horse battery")
        click(page, "登录")
        page.get_by_label("验证器上的 6 位数字").fill(code_after(secret, step))
        click(page, "继续")
        page.get_by_role("heading", name="#1 店外经营").wait_for()
        shows(page, "实时")
        page.get_by_text("签名、原图与技术细节").click()
        page.get_by_text("下载原图").click()
        page.locator(".tech").get_by_label("理由").fill("核对申诉")
        with page.expect_download() as fetched:
            click(page, "下载")
        content = Path(fetched.value.path()).read_bytes()
        assert hashlib.sha256(content).hexdigest() == case.pictures[0][0].sha256
        for path in ("/tickets/1", "/tickets", "/account"):
            page.goto(url + path)
            # a phone's width is enough
            assert page.evaluate("document.documentElement.scrollWidth") == 390, path
        assert page.evaluate("document.cookie") == ""
    # the browser says that signing out has cleared what it kept
    assert [fault for fault in faults if "Clear-Site-Data" not in fault] == []
    assert desk.read(audit.verify).fault is None
    last = desk.read(audit.show, limit=1)[0]
    assert (last.actor, last.action) == ("person:wang", "evidence.original")


def test_a_page_without_its_session_leads_to_the_sign_in(chromium, center):
    desk, url, _ = center
    make_person(desk.store, "li", "viewer", password=PASSWORD)
    with chromium.new_context(locale="zh-CN") as context:
        page = context.new_page()
        page.goto(url)
        page.get_by_label("登录名").fill("li")
        page.get_by_label("密码").fill(PASSWORD)
        click(page, "登录")
        shows(page, "实时")
        cookie = next(one["value"] for one in page.context.cookies() if one["name"] == "cityeye")
        desk.write(sessions.end, cookie)
        # the feed looks again within its heartbeat, the page then asks, and hears that it is nobody's
        page.wait_for_url(re.compile(r"/sign-in\?go_on=/"), timeout=60_000)

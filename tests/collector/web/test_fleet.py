"""Cameras and boxes: what their pages say, who may do what there, and the main jobs in a browser."""

import gzip
import hashlib
import json
import time
from base64 import b64encode

import cv2
import numpy as np
import pytest

from collector.boxes import register
from collector.boxes.authority import Authority
from collector.boxes.counter import Counter
from collector.inbox.reading import Delivery
from collector.people import audit
from collector.store import Box, CameraRow, CommandRow, SettingsRow
from collector.web import fleet
from protocol.commands import Reply, ReplyEvent
from protocol.enrolment import Invitation
from protocol.instants import from_epoch
from protocol.messages import dataschema
from protocol.pictures import AnswerHeader
from tests import incidents, scenes, town
from tests.browser import click, shows
from tests.collector.conftest import Desk
from tests.collector.web.conftest import running
from tests.incidents import Case
from tests.people import browser as client_of
from tests.people import make_pages, make_person, sign_in

SITE = town.STREET
NEW_URL = "https://center.example:8884"


def answered(box, camera, command, jpeg):
    """Picture and reply of a box."""
    header = AnswerHeader(command=command, role="snapshot", view="wide", sha256=hashlib.sha256(jpeg).hexdigest())
    shot = Delivery(f"cityeye/1/{SITE}/{box}/evidence/{camera}", jpeg, tuple(header.to_properties()), "image/jpeg")
    return shot, reply(box, command)


def reply(box, command, **more):
    told = ReplyEvent(
        id=command,
        source=f"/cityeye/{SITE}/{box}",
        type="cityeye.box.reply",
        time=from_epoch(time.time()),
        dataschema=dataschema("reply"),
        data=Reply(command=command, outcome="ok", **more),
    )
    return Delivery(f"cityeye/1/{SITE}/{box}/reply", told.to_json())


class Lists:
    """What the broker refuses, as its files would say."""

    def __init__(self):
        self.refused, self.evicted = {}, []

    def listed(self):
        return self.refused

    def in_force(self):
        return 0.0

    def evict(self, *told):
        self.evicted.append(told)


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    """A desk with the town's boxes, a box of another street, and its pages with a CA."""
    desk = Desk(tmp_path_factory.mktemp("center"))
    town.Town(desk, pictures=False).people().places().fleet()
    desk.take_any(incidents.status(box="far-1", site="far"), incidents.status(box="far-2", site="far"))
    desk.take_any(town.camera("xiaohe-1", "yard", "live", time.time()))
    make_person(desk.store, "boss", f"admin@{SITE}")
    desk.lists = Lists()
    yield desk, make_pages(desk, counter=Counter(NEW_URL, "ab" * 32, 30, desk.lists))
    desk.store.close()


def client(street, person):
    desk, app = street
    found = client_of(app)
    sign_in(desk.store, person, found)
    return found


def post(found, path, **fields):
    return found.post(path, data=fields, headers={"accept": "text/html"})


def rows(desk, kind=CommandRow, **by):
    with desk.store.transaction() as session:
        return session.query(kind).filter_by(**by).all()


def cards(desk, now_ms=None):
    with desk.store.transaction() as session:
        found = fleet.boxes(session, now_ms or round(time.time() * 1000), None)
        return {one.id: one for one in fleet.with_pictures(session, found, now_ms or desk.now_s * 1000, None)}


def test_what_a_box_said_is_not_shown_as_now_once_its_line_is_lost(street):
    desk, _ = street
    found = cards(desk)
    # what was .8 s old when it was told of is older by now
    found = cards(desk, found["xiaohe-3"].health_ms + 50_000)
    school = next(one for one in found["xiaohe-3"].cameras if one.camera == "school")
    assert (school.state, school.level, school.frame_age_s, school.decided_s) == ("Live", "good", 50.8, 0.9)
    assert [one.code for one in found["xiaohe-3"].found] == ["hot", "outbox"]
    assert [one.camera for one in found["xiaohe-3"].cameras] == ["corner", "school", "yard"]
    (bridge,) = found["xiaohe-2"].cameras
    assert (bridge.state, [one.code for one in bridge.found]) == ("Not known", ["away"])
    # six minutes on without a word it is no better than one whose line is lost
    later = cards(desk, round((time.time() + 360) * 1000))
    assert {one.state for one in later["xiaohe-3"].cameras} == {"Not known"}
    assert [one.frame_age_s for one in later["xiaohe-3"].cameras] == [None] * 3


def test_the_newest_picture_is_shown_with_its_age(desk):
    now_s = desk.now_s = time.time()
    case = Case(box="xiaohe-3", site=SITE, camera="school", opened_s=now_s - 900)
    desk.take(incidents.status(box="xiaohe-3", site=SITE), town.camera("xiaohe-3", "school", "live", now_s))
    desk.take(case.picture("at", "wide", 1), case.picture("at", "close", 2), case.opened())
    shown = cards(desk)["xiaohe-3"].cameras[0].picture
    assert (shown.url, shown.kind, shown.old) == (f"/evidence/{case.pictures[0][0].sha256}", fleet.PROOF, True)
    assert shown.taken_ms == pytest.approx((now_s - 900) * 1000, abs=1)
    with desk.store.writing() as session:
        session.add(
            CommandRow(
                id="c", box_id="xiaohe-3", verb="snapshot", args='{"camera": "school"}', by="li",
                asked_ms=round(now_s * 1000) - 5000, expires_ms=round(now_s * 1000) + 60_000, state="sent",
            )
        )  # fmt: skip
    desk.take_any(*answered("xiaohe-3", "school", "c", incidents.jpeg(3)))
    shown = cards(desk)["xiaohe-3"].cameras[0].picture
    assert (shown.url, shown.kind, shown.old) == ("/snapshots/c/wide", fleet.SNAPSHOT, False)


def test_each_role_sees_its_own_street_and_what_it_may_do_there(street):
    assert "连接已断开" not in client(street, "li").get("/cameras").text
    for role, (person, _) in town.PEOPLE.items():
        found = client(street, person)
        cameras, page = found.get("/cameras").text, found.get("/boxes/xiaohe-3").text
        assert "xiaohe-3" in cameras
        assert ("far-1" in cameras) == (role == "admin"), role
        assert found.get("/boxes/far-1").status_code == (200 if role == "admin" else 404)
        assert ('value="snapshot"' in page, 'value="restart"' in page) == (role in ("admin", "operator"),) * 2
        assert all((text in page) == (role == "admin") for text in ("scene-reset", "diagnostics", "/revoke", "/label"))
        asked = post(found, "/boxes/xiaohe-3/commands", what="snapshot", camera="school").status_code
        assert asked == (303 if role in ("admin", "operator") else 403), role
        done = post(found, "/boxes/xiaohe-3/commands", what="scene-reset", camera="school").status_code
        assert done == (303 if role == "admin" else 403), role
        assert found.get("/snapshots/c-1/wide/320.jpg").status_code == 200
    far = client(street, "boss")
    assert post(far, "/boxes/far-1/revoke", confirm="far-1").status_code == 404
    assert post(far, "/boxes", site="far", count="1").status_code == 403
    assert rows(street[0], Box, id="far-1")[0].standing == "guest"
    make_person(street[0].store, "other", "operator@far")
    other = client(street, "other")
    assert other.get("/snapshots/c-1/wide/320.jpg").status_code == 404
    assert post(other, "/boxes/xiaohe-3/commands", what="restart").status_code == 404
    # a width that no page asks for would be work for nothing
    assert client(street, "li").get("/snapshots/c-1/wide/321.jpg").status_code == 404


def test_a_command_is_on_record_and_one_that_cannot_be_given_is_explained(street):
    desk, _ = street
    found = client(street, "zhao")
    assert post(found, "/boxes/xiaohe-3/commands", what="scene-approve", camera="yard", zone="front").status_code == 303
    row = max(rows(desk, verb="scene"), key=lambda one: one.asked_ms)
    assert (row.by, json.loads(row.args)) == ("person:zhao", {"camera": "yard", "zone": "front", "action": "approve"})
    with desk.store.transaction() as session:
        line = audit.show(session, limit=1)[0]
    assert (line.actor, line.action, line.object) == ("person:zhao", "box.scene", "box/xiaohe-3")
    for fields, said in (
        ({"what": "dance"}, "指令有误"),
        ({"what": "scene-reset"}, "指令有误"),
        ({"what": "secret", "name": "gate", "user": "u", "password": "p"}, "尚未公布加密公钥"),
        ({"what": "secret", "name": "gate", "user": "u" * 501}, "最多 500 字"),
    ):
        refused = post(found, "/boxes/xiaohe-3/commands", **fields)
        assert refused.status_code == 409
        assert said in refused.text
    bundle = b64encode(gzip.compress(b"{}", mtime=0)).decode()
    with desk.store.writing() as session:
        session.get_one(CommandRow, row.id).data = json.dumps({"bundle": bundle})
    assert found.get(f"/boxes/xiaohe-3/diagnostics/{row.id}.json.gz").content == gzip.compress(b"{}", mtime=0)
    assert found.get(f"/boxes/xiaohe-1/diagnostics/{row.id}.json.gz").status_code == 404


def test_a_box_is_exchanged_and_put_out_by_who_types_its_name(street):
    desk, _ = street
    found = client(street, "boss")
    assert "请输入盒子编号以确认" in post(found, "/boxes/xiaohe-1/replace", new="new-0001", confirm="xiaohe").text
    assert "应与旧盒子同在" in post(found, "/boxes/xiaohe-1/replace", new="far-2", confirm="xiaohe-1").text
    assert post(found, "/boxes/xiaohe-1/replace", new="new-0001", confirm=" xiaohe-1 ").status_code == 303
    assert {one.camera for one in rows(desk, CameraRow, box_id="new-0001")} == {"market", "north-gate", "yard"}
    assert rows(desk, SettingsRow, box_id="new-0001")[0].by == "person:boss"
    assert post(found, "/boxes/xiaohe-2/revoke", confirm="").status_code == 409
    assert post(found, "/boxes/xiaohe-2/revoke", confirm="xiaohe-2").status_code == 303
    assert [rows(desk, Box, id=one)[0].standing for one in ("xiaohe-1", "xiaohe-2")] == ["replaced", "revoked"]
    deadline = time.monotonic() + 5
    while len(desk.lists.evicted) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert (SITE, "xiaohe-2", ["bridge"]) in desk.lists.evicted
    assert "xiaohe-2" not in found.get("/cameras").text
    page = found.get("/boxes/xiaohe-2").text
    assert "不再接收" in page
    assert "/commands" not in page  # nobody asks it for anything any more


def test_where_the_ca_is_elsewhere_nobody_is_given_a_label(street):
    desk, _ = street
    found = client_of(make_pages(desk))
    sign_in(desk.store, "boss", found)
    assert "CA" in post(found, "/boxes", site=SITE, count="1").text
    assert post(found, "/boxes/new-0001/label").status_code == 409
    assert not rows(desk, Box, id=f"{SITE}-0001")


@pytest.fixture(scope="module")
def center(tmp_path_factory):
    """A running center with the town's boxes and a CA."""

    def prepare(desk):
        town.Town(desk).people().places().fleet()
        Authority.create(desk.folder.parent / "ca", "demo", time.time())

    with running(tmp_path_factory.mktemp("center"), prepare, more=f'[enrolment]\nurl = "{NEW_URL}"\n') as found:
        yield found


def examined(desk, command, *findings):
    """A box's doctor answers."""
    with desk.store.writing() as session:
        asked = {"id": command, "box_id": "xiaohe-3", "verb": "examine", "args": "{}", "by": "person:li"}
        if session.get(CommandRow, command) is None:
            session.add(CommandRow(**asked, asked_ms=1, expires_ms=2, state="accepted"))
    data = {"at": "2026-05-01T00:00:00Z", "version": "1", "findings": findings}
    desk.take_any(reply("xiaohe-3", command, data=data))


HOT = {"name": "temperature", "state": "FAIL", "says": "91 °C", "todo": "shade it", "code": "hot"}
FINE = {"name": "camera yard", "state": "ok", "says": "1920 × 1080, h264, 25 pictures a second"}


def test_what_the_doctor_found_is_the_record_of_an_installation(street):
    desk, _ = street
    examined(desk, "e-0", {"name": "no finding"})
    examined(desk, "e-1", HOT, FINE)
    examined(desk, "e-1", FINE)  # again
    path = "/boxes/xiaohe-3/examinations/e-1"
    found = client(street, "li")
    for wrong in ("/boxes/xiaohe-1/examinations/e-1", "/boxes/xiaohe-3/examinations/e-0"):
        assert found.get(wrong).status_code == 404
    page = found.get(path).text
    assert all(
        text in page for text in ("温度过高", "遮阳", "91 °C", "摄像头 yard", "1920 × 1080, h264，每秒 25 帧", "故障")
    )
    assert "温度过高" in found.get("/boxes/xiaohe-3").text
    assert "shade it" in found.get(path, headers={"accept-language": "en"}).text
    assert "请填写移交人" in post(found, path, name=" ", note="x").text
    assert "有故障项" in post(found, path, name="老周").text
    assert post(client(street, town.PEOPLE["viewer"][0]), path, name="x", note="x").status_code == 403
    assert post(found, path, name="老周", note="明天装遮阳板").status_code == 303
    assert "已经验收" in post(found, path, name="another", note="x").text
    page = found.get(path).text
    assert all(text in page for text in ("老周", "明天装遮阳板", "验收人"))
    assert 'name="note"' not in page
    with desk.store.transaction() as session:
        assert audit.show(session, limit=1)[0].action == "box.accepted"


def test_an_operator_finds_what_is_red_and_asks_for_a_picture(visit, center):
    tab, page = visit(center, "/cameras")
    shows(page, "中心与消息服务器的连接已断开")  # there is no broker
    page.get_by_role("link", name="2 故障").click()
    assert page.locator(".cameras > li").count() == 2
    shows(page, "镜头朝向已偏离画区域时的位置。")
    shows(page, "请转回原位。")
    tab.check()
    click(page.locator("li", has_text="corner"), "立即抓拍")
    page.wait_for_url("**/boxes/xiaohe-3#camera-corner")
    shows(page.locator(".commands"), "等待下发")
    row = max(rows(center.desk, verb="snapshot"), key=lambda one: one.asked_ms)
    center.desk.now_s = time.time()
    center.desk.writer._now = time.time
    center.desk.take_any(*answered("xiaohe-3", "corner", row.id, scenes.jpeg(scenes.street(1))))
    # the page is not loaded again by anybody
    page.locator("#camera-corner img").wait_for(timeout=15_000)
    assert "距今" in page.locator("#camera-corner figcaption").inner_text()
    tab.check()
    page.locator(".commands").get_by_text("已完成").first.wait_for()


def test_what_stops_a_box_or_withdraws_incidents_takes_a_second_step(visit, center):
    tab, page = visit(center, "/boxes/xiaohe-3", "zhao")
    many = len(rows(center.desk, verb="restart"))
    page.locator("#camera-yard").get_by_text("空场画面与密码").click()
    for text, sure in (
        ("重新启动", "重新启动 xiaohe-3"),
        ("重新学习", "撤回并重新学习"),
        ("现状即为空场", "撤回并设为空场"),
    ):
        button = page.get_by_role("button", name=sure).locator("visible=true")
        assert button.count() == 0
        page.locator("summary:visible", has_text=text).click()
        button.wait_for()
    tab.check()
    click(page, "重新启动 xiaohe-3")
    page.wait_for_url("**#commands")
    assert len(rows(center.desk, verb="restart")) == many + 1


def test_an_admin_announces_boxes_and_their_labels_can_be_scanned(visit, center):
    tab, page = visit(center, "/boxes", "zhao")
    page.get_by_label("街道", exact=True).fill(SITE)
    page.get_by_label("数量").fill("2")
    click(page, "制作标签")
    shows(page, "请立即打印")
    tab.check()
    assert page.locator("article").count() == 2
    shot = cv2.imdecode(np.frombuffer(page.locator("article svg").first.screenshot(), np.uint8), cv2.IMREAD_COLOR)
    read = Invitation.read(cv2.QRCodeDetector().detectAndDecode(cv2.resize(shot, None, fx=3, fy=3))[0])
    authority = Authority.open(center.desk.folder.parent / "ca")
    assert (read.url, read.box) == (NEW_URL, f"{SITE}-0004")  # after the highest number that is known
    assert authority.fingerprint.startswith(read.fingerprint)
    page.emulate_media(media="print")
    assert not page.locator(".top").is_visible()
    assert not page.get_by_text("请立即打印").is_visible()
    assert page.locator("article").first.is_visible()
    page.emulate_media(media="screen")
    page.goto(f"{center.url}/boxes/{SITE}-0004")
    click(page, "制作新标签")
    page.locator("article .claim").wait_for()
    renewed = page.locator("article .claim").inner_text()
    page.goto(f"{center.url}/boxes/{SITE}-0005")
    page.get_by_text("注销盒子", exact=True).first.click()
    page.locator("form[action$=revoke]").get_by_label("请输入").fill(f"{SITE}-0005")
    click(page, "注销盒子")
    shows(page, "中心不再接收它的任何消息。")
    tab.check()
    with center.desk.store.transaction() as session:
        now_ms = round(time.time() * 1000)
        good = {one.code_sha256: one.expires_ms > now_ms for one in session.query(register.Claim)}
        assert good[register.code_sha256(renewed)]
        assert not good[register.code_sha256(read.claim)]
        assert session.get(Box, f"{SITE}-0005").standing == "revoked"

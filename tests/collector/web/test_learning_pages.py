"""What verdicts say of zones: an operator tries a suggestion on past alerts and accepts it, end to end."""

import json
import re
import time

import pytest

from collector.boxes import wanted
from collector.store import AuditRow, TrainingRelease
from tests import browser, people, scenes
from tests.browser import click, shows
from tests.collector.learning.conftest import Zone, market
from tests.collector.web.conftest import running

ZONE = "box-1/cam-1/front/encroachment"


@pytest.fixture(scope="module")
def center(tmp_path_factory):
    """A center with a zone about which something is suggested, an operator, an auditor and somebody from elsewhere."""

    def prepare(desk):
        market(Zone(desk, time.time()), scenes.jpeg(scenes.occupied(0)))
        roles = {"li": "operator@s", "sun": "auditor@s", "wu": "viewer@s", "far": "operator@elsewhere"}
        for name, role in roles.items():
            people.make_person(desk.store, name, role)

    with running(tmp_path_factory.mktemp("center"), prepare) as center:
        yield center


def test_a_suggestion_is_tried_accepted_and_wanted_of_the_box(visit, center):
    tab, page = visit(center, "/learning")
    shows(page, "样本已足够")
    tab.check()
    page.get_by_role("link", name="cam-1 · front").click()
    shows(page, "可减少 12 条误报中的 12 条，漏掉 24 条属实告警中的 0 条")
    tab.check()
    page.locator(".suggestion a").click()
    shows(page, "在 36 条已核实的告警中，12 条误报和 0 条属实告警将不再上报，24 条上报时间改变")
    assert page.locator("#trial .samples").first.locator("img").count() == 12
    tab.check()
    page.locator("#trial").get_by_label("原因").fill("过路商贩停留不足三分半")
    click(page, "采纳")
    shows(page.get_by_role("status"), "已下发为期望设置")
    tab.check()
    page = tab.open("/boxes/box-1")
    shows(page, "已下发，盒子尚未回复")
    with center.desk.store.writing() as session:
        row = wanted.newest(session, "box-1")
        assert (row.revision, row.by, row.state) == (2, "person:li", "wanted")
        assert json.loads(row.document)["camera"][0]["zone"][0]["dwell_s"] == 210
        detail = json.loads(session.query(AuditRow).filter_by(action="learning.accept").one().detail)
        assert detail["reason"] == "过路商贩停留不足三分半"
    page = tab.open(f"/learning/{ZONE}")
    shows(page, "暂无建议")
    page = tab.open(f"/learning/{ZONE}?dwell_s=99999")
    shows(page.get_by_role("alert"), re.compile("dwell_s：应为 10.0 至 1800.0"))


def test_false_alarms_are_released_with_a_reason(visit, center):
    tab, page = visit(center, f"/learning/{ZONE}", size=browser.NARROW, language="en", theme="dark")
    tab.check()
    page.get_by_text("Release false alarms for training").click()
    assert page.get_by_role("checkbox").count() == 12
    for at in (0, 1):
        page.get_by_role("checkbox").nth(at).check()
    page.get_by_label("Why").fill("nobody can be recognised")
    click(page, "Release for training")
    shows(page.get_by_role("status"), "Released for training.")
    tab.check()
    with center.desk.store.transaction() as session:
        # the two show the same, byte for byte: one picture
        assert {row.why for row in session.query(TrainingRelease)} == {"nobody can be recognised"}


def test_only_what_has_a_picture_is_offered_and_released(desk):
    zone = Zone(desk, time.time())
    for picture in (None, scenes.jpeg(scenes.occupied(0))):
        zone.alert("false_alarm", picture=picture)
    people.make_person(desk.store, "li", "operator@s")
    client = people.browser(people.make_pages(desk))
    people.sign_in(desk.store, "li", client)
    for left in (["2"], []):
        assert re.findall('name="ticket:(.)"', client.get(f"/learning/{ZONE}").text) == left
        told = client.post(f"/learning/{ZONE}/release", data={"ticket:1": "1", "reason": "反例"})
        assert (told.status_code, "没有可释放的图片" in told.text) == (422, True)
        client.post(f"/learning/{ZONE}/release", data={"ticket:2": "1", "reason": "反例"})


@pytest.mark.parametrize(
    ("person", "read", "change"), [("li", 200, 422), ("sun", 200, 403), ("wu", 403, 403), ("far", 404, 404)]
)
def test_each_role_sees_and_does_what_it_may(center, person, read, change):
    client = people.browser(people.make_pages(center.desk))
    people.sign_in(center.desk.store, person, client)
    shown = client.get(f"/learning/{ZONE}?dwell_s=300")
    assert shown.status_code == read
    assert ("/accept" in shown.text) is (person == "li")
    answer = client.get(f"/api/learning/zones/{ZONE}?dwell_s=300")
    assert answer.status_code == read
    if read == 200:
        assert len(answer.json()["trial"]) >= 24
        assert client.get("/api/learning/zones").json()[0]["false"] == 12
    assert client.post(f"/learning/{ZONE}/accept", data={"dwell_s": "300", "reason": "x"}).status_code == change
    assert client.get(f"/api/learning/zones/{ZONE}?dwell_s=1").status_code in (422, 403)

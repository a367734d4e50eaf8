"""Pages of policies, pauses and texts, in a browser; and a policy's form, which loses nothing of a policy."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from collector.tickets import policy
from collector.tickets.policy import BUILT_IN, Policy
from collector.web.policy_form import changes, fields_of, read
from tests import browser
from tests.browser import click, shows

OTHER = Policy.model_validate(
    {
        "region": "330105",
        "unreviewed": [{"hours": ["Mo-Su 19:00-22:00", "12:00-13:00"], "zones": ["cam-1/*"]}],
        "shop": {"remind_minutes": None, "minutes": {"minutes": 7}},
        "quiet": {"hours": [], "audiences": ["officer"]},
        "rules": {"loitering": {"urgency": "urgent"}, "encroachment": {"first": "community"}},
        "escalations": {"handling": [{"to": "room"}]},
    }
)


@pytest.mark.parametrize("one", [BUILT_IN, OTHER])
def test_a_form_gives_back_the_policy_that_it_was_made_of(one):
    assert read(fields_of(one), one) == (one, {})


@pytest.mark.parametrize(
    ("typed", "wrong"),
    [
        ({"shop.minutes": "five"}, {"shop.minutes": "whole number"}),
        ({"shop.grace_s": "99999"}, {"shop.grace_s": "at most 3600"}),
        ({"quiet.hours": "25:00-3"}, {"quiet.hours": "expected hours"}),
        ({"region": "33"}, {"region": "match pattern"}),
        # rows are named as they stand in the form, whatever rows before them are empty
        ({"offences.0.count": "", "offences.1.count": "1"}, {"offences.1.count": "at least 2"}),
        ({"deadlines.review": "", "first": "nobody"}, {"deadlines.review": "whole number"}),
        ({"escalation.0.after": "", "escalation.1.after": "", "escalation.2.after": ""}, {"": "at least 1"}),
    ],
)
def test_what_is_wrong_is_said_at_its_field(typed, wrong):
    found, faults = read({**fields_of(BUILT_IN), **typed}, BUILT_IN)
    assert found is None
    assert faults.keys() == wrong.keys()
    for name, text in wrong.items():
        assert text in faults[name][0].en


def test_a_policy_is_changed_after_what_changes_was_shown(visit, filled):
    tab, page = visit(filled, "/policies/street?street=xiaohe", "zhao", size=browser.NARROW)
    field = page.locator("[name='shop.minutes']")
    field.fill("sieben")
    click(page, "查看改动")
    assert "· 自纠时限：应为整数" in page.locator("[role=alert]").inner_text()
    assert page.locator("[id='in-rules.encroachment.first'] option").first.inner_text() == "同上（商户）"
    tab.faults.clear()
    field.fill("7")
    click(page, "查看改动")
    rows = page.locator("tbody tr")
    assert rows.count() == 1
    assert "5 分钟" in rows.inner_text()
    assert "7 分钟" in rows.inner_text()
    tab.check()
    click(page, "继续修改")
    assert field.input_value() == "7"
    click(page, "查看改动")
    page.get_by_label("更改原因").fill("试行")
    before = filled.desk.read(policy.current, "xiaohe").policy
    click(page, "保存")
    shows(page, "已保存。")
    assert "试行" in page.locator(".timeline").inner_text()
    after = filled.desk.read(policy.current, "xiaohe").policy
    assert changes(fields_of(before), fields_of(after), str) == [
        ("The shop's own minutes · To put it right", "5 minutes", "7 minutes")
    ]
    tab.check()
    tab, page = visit(filled, "/policies/street?street=xiaohe")
    assert page.get_by_role("button", name="查看改动").count() == 0
    assert page.locator("[name='shop.minutes']").is_disabled()
    tab.check()


def test_a_zone_is_paused_with_a_reason_and_let_go(visit, filled):
    until = datetime.now(ZoneInfo("Asia/Shanghai")) + timedelta(hours=2)
    tab, page = visit(filled, "/policies")
    page.get_by_text("暂停摄像头或区域").click()
    page.locator("#in-place").fill("xiaohe-9/market")
    page.locator("#in-until").fill(f"{until:%Y-%m-%dT%H:%M}")
    page.locator("#in-reason").fill("道路施工")
    click(page, "暂停", exact=True)
    assert "应为您可暂停的设备" in page.locator("#wrong-place-1").inner_text()
    tab.faults.clear()
    page.locator("#in-place").fill("xiaohe-1/market/front-1")
    click(page, "暂停", exact=True)
    shows(page, "道路施工")
    text = page.locator("form.row").inner_text()
    assert f"{until:%H:%M}" in text
    assert "李敏" in text
    tab.check()
    _, page = visit(filled, "/policies", "wu")
    assert page.locator("main button").count() == 0
    _, page = visit(filled, "/policies")
    click(page, "结束暂停")
    shows(page, "没有暂停。")


def test_a_text_is_tried_as_typed_and_unknown_fields_named(visit, filled):
    tab, page = visit(filled, "/templates")
    assert "王记水果店" in page.locator("#preview").inner_text()
    page.get_by_label("正文").fill("{shop}您好：请{time}收回。{objektion}")
    page.get_by_text("没有字段 {objektion}").first.wait_for()
    page.get_by_label("正文").fill("{shop}您好：请收回。")
    page.get_by_text("必须写明申诉途径").first.wait_for()
    page.get_by_label("正文").fill("{shop}您好：{time}收回。{objection}")
    page.locator("#preview pre").wait_for()
    assert "王记水果店您好：请在5分钟内收回。" in page.locator("#preview .message").inner_text()
    assert 'body = "{shop}您好' in page.locator("#preview pre").inner_text()
    tab.check()
    # without a script the button does the same
    click(page, "试写")
    assert "王记水果店您好" in page.locator("#preview .message").inner_text()
    _, page = visit(filled, "/", "wu")
    assert page.locator("nav a[href='/templates']").count() == 0

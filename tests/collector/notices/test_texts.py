"""What notices say, and what is refused of templates."""

import inspect
import re
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.notices.texts import (
    FIELDS,
    KINDS,
    TEXTS,
    Facts,
    TemplateError,
    Text,
    audience_of,
    check,
    choose,
    field_names,
    render,
    sms_parts,
    values,
)
from collector.tickets import advance

ZONE = ZoneInfo("Asia/Shanghai")
NOON_MS = 1_780_027_200_000
"""2026-05-29 12:00 in Shanghai."""


def facts(**changes):
    times = {"zone": ZONE, "now_ms": NOON_MS, "since_ms": NOON_MS - 600_000, "due_ms": NOON_MS + 300_000}
    where = {"center": "小河街道", "shop": "王记水果店", "contact": "0571-1234"}
    what = {"kind": "shop_notice", "language": "zh", "ticket": 7, "rule": "encroachment"}
    return Facts(**{**times, **where, **what, **changes})


def test_a_notice_reads_as_it_is_meant():
    found = values(facts(), link="https://t.cn/s/x", token="x")
    text = render(choose({}, "shop", "shop_notice", "zh"), found)
    assert text.body == (
        "小河街道提醒您：11:50起，王记水果店门前疑有店外经营情况。请在5分钟内自行整改。"
        "查看图片或申诉：https://t.cn/s/x，或致电0571-1234"
    )
    found = values(facts(language="en"), link="https://t.cn/s/x", token="x")
    text = render(choose({}, "shop", "shop_notice", "en"), found)
    assert "within 5 minutes" in text.body
    assert "https://t.cn/s/x, or call 0571-1234" in text.body


@pytest.mark.parametrize(
    ("changes", "link", "expected"),
    [
        ({}, "", "如有异议请致电0571-1234"),  # no page: the telephone
        ({"contact": ""}, "L", "查看图片或申诉：L"),
        ({"due_ms": None}, "L", "请尽快自行整改"),
        ({"due_ms": NOON_MS + 30_000}, "L", "请在1分钟内"),
        ({"due_ms": NOON_MS + 4 * 3_600_000}, "L", "请在4小时内"),
        ({"since_ms": NOON_MS - 86_400_000}, "L", "05-28 12:00起"),  # another day is named
    ],
)
def test_what_is_missing_is_left_out(changes, link, expected):
    text = render(choose({}, "shop", "shop_notice", "zh"), values(facts(**changes), link=link))
    assert expected in text.body


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{shopname}", "unknown field {shopname}; there are center, street"),
        ("{shop.name}", "unknown field {shop.name}"),  # no attribute can be reached
        ("{shop[0]}", "unknown field {shop[0]}"),
        ("{0}", "unknown field {0}"),
        ("{}", "unknown field {}"),
        ("{shop!r}", "field {shop}: expected the name alone"),
        ("{shop:>10}", "field {shop}: expected the name alone"),
        ("{shop", "expected {field}"),
        ("shop}", "expected {field}"),
        ("{__class__}", "unknown field {__class__}"),
    ],
)
def test_an_unknown_field_is_named(template, words):
    with pytest.raises(TemplateError) as fault:
        field_names(template)
    assert words in str(fault.value)


def test_a_text_for_a_shop_always_says_how_to_object():
    with pytest.raises(TemplateError, match="says how to object"):
        check("shop", Text("x", "{shop}请整改"))
    check("shop", Text("x", "{shop}请整改 {link}"))
    check("officer", Text("x", "{shop}"))
    for (audience, _, _), text in TEXTS.items():
        check(audience, text)


def test_the_nearest_text_is_chosen_and_officers_texts_stay_theirs():
    own = {("*", "*", "zh"): Text("", "any"), ("officer", "task", "zh"): Text("", "own")}
    assert choose(own, "officer", "task", "zh").body == "own"
    assert choose(own, "officer", "new_kind", "zh").body == "any"
    assert choose(own, "shop", "new_kind", "zh") == TEXTS["shop", "*", "zh"]
    assert choose({}, "room", "overdue", "en") == TEXTS["*", "overdue", "en"]


@pytest.mark.parametrize(
    ("kind", "asked", "expected"),
    [
        ("shop_notice", None, "shop"),
        ("task", None, "officer"),
        ("task", "community", "community"),
        ("alert", "room", "room"),  # a route may send it to anybody of the center
        ("new_kind", None, "community"),
        ("new_kind", "officer", "officer"),
        ("task", "shop", None),
        ("shop_reminder", "officer", None),
        ("new_kind", "shop", None),
        ("odd_kind", None, None),
    ],
)
def test_a_kind_goes_to_whom_it_is_meant_for(kind, asked, expected):
    own = [("community", "new_kind", "zh"), ("*", "task", "zh"), ("shop", "*", "zh")]
    if expected is None:
        with pytest.raises(TemplateError, match="kind: expected one of" if kind == "odd_kind" else "audience: "):
            audience_of(own, kind, asked)
    else:
        assert audience_of(own, kind, asked) == expected


def test_every_kind_that_the_desk_orders_is_known():
    ordered = {(kind, audience) for kind, audience in advance._TASKS.values()}
    ordered |= set(re.findall(r'order\("(\w+)", "(\w+)"', inspect.getsource(advance)))
    assert len(ordered) > 8
    assert {kind for kind, audience in ordered if audience not in KINDS[kind]} == set()


@given(st.dictionaries(st.sampled_from(sorted(FIELDS)), st.text(max_size=30)), st.sampled_from(sorted(TEXTS)))
def test_whatever_stands_in_a_field_is_text(given_values, which):
    """Braces and format strings in a shop's name are only letters."""
    found = dict.fromkeys(FIELDS, "") | given_values
    text = render(TEXTS[which], found)
    plain = TEXTS[which].body
    for name in FIELDS:
        plain = plain.replace(f"{{{name}}}", f"\0{name}\0")
    expected = "".join(found.get(part, part) for part in plain.split("\0"))
    assert "".join(text.body.split()) == "".join(expected.split())


@pytest.mark.parametrize(("count", "parts"), [(0, 1), (70, 1), (71, 2), (134, 2), (135, 3), (201, 3), (202, 4)])
def test_length_in_sms(count, parts):
    assert sms_parts("整" * count) == (count, parts)
    assert sms_parts("😀") == (2, 1)  # two units of UTF-16

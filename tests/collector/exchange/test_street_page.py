"""The public page of a street: what everybody may know, what residents propose, and who allows it."""

import html
import json
import re
from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from collector.boxes import limits
from collector.exchange import proposals
from collector.exchange.proposals import HIDDEN, ProposalError, cleaned
from collector.exchange.settings import StreetPageSection
from collector.exchange.street import COUNTS
from collector.indicators import definitions
from collector.people import roster
from collector.people.actor import SYSTEM, Grant
from collector.store import AuditRow, PersonRow, PictureRow, ProposalRow, ShopRow
from collector.web import street_pages
from tests import town
from tests.people import browser, center_settings, make_pages, now_ms, sign_in

STREET = town.STREET
PAGE = f"/street/{STREET}"
HERE = {"sec-fetch-site": "same-origin"}
LONG = 400 * 86_400_000


def settings(**more):
    return center_settings(street_page=StreetPageSection(enabled=True, **more))


@pytest.fixture
def filled(desk):
    town.fill(desk)
    return desk


def pages(desk, address="127.0.0.1", **more):
    return browser(make_pages(desk, settings=settings(**more)), address=address)


def send(client, text, **more):
    return client.post(PAGE, data={"text": text, "key": text, **more}, headers=HERE)


def rows(desk):
    return [(one.state, one.text) for one in desk.rows(select(ProposalRow).order_by(ProposalRow.number))]


def test_it_is_off_by_default_and_then_takes_nothing(desk):
    town.Town(desk).people().places()
    client = browser(make_pages(desk))
    assert [client.get(path).status_code for path in ("/street", PAGE)] == [404, 404]
    assert send(client, "多放几个垃圾桶").status_code == 404
    assert rows(desk) == []


def test_no_shops_name_and_no_picture_is_anywhere_on_it(filled):
    with filled.store.writing() as session:
        names = list(session.scalars(select(ShopRow.name)))
        pictures = list(session.scalars(select(PictureRow.sha256)))
        people = list(session.scalars(select(PersonRow.name)))
        who = town.person("operator")
        for name in names:
            row = proposals.submit(session, STREET, f"{name} 门口太挤了", f"k{name}", now_ms())
            proposals.decide(session, who, row.number, "shown", now_ms())
            proposals.answer(session, who, row.number, f"已与{name}沟通", now_ms())
    assert len(names) > 20
    assert len(pictures) > 20
    client = pages(filled)
    for language in ("zh", "en"):
        text = html.unescape(client.get(f"{PAGE}?lang={language}").text)
        assert text.count(HIDDEN) == 2 * len(names)
        assert [one for one in (*names, *people, "张三", "138 0000 0000", "示例路", "shop-") if one in text] == []
        assert [one for one in pictures if one in text] == []
        sources = re.findall(r'(?:src|href|action)="([^"]+)"', text)
        assert {one.split("/")[1].split("?")[0] for one in sources if one.startswith("/")} <= {"", "static", "street"}
        assert [one for one in sources if re.search(r"evidence|snapshots|\.jpg|\.webp", one)] == []


@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_number_is_that_of_the_indicator_behind_it(filled, language):
    client = pages(filled)
    text = client.get(f"{PAGE}?lang={language}").text
    sign_in(filled.store, "zhao", client)
    today = datetime.now(ZoneInfo("Asia/Shanghai")).date()
    first = today.replace(day=1)
    query = {"from": first.isoformat(), "to": _end(first).isoformat(), "street": STREET}
    told = client.get("/api/indicators", params=query).json()["all"]
    shown = {}
    for name, value in re.findall(r'<td data-name="(\w+)">([^<]*)</td>', text):
        shown.setdefault(name, value)  # this month's stands first
    counts = {name: shown[name] for name in told["counts"] if name in shown}
    assert counts == {name: str(told["counts"][name]) for name in counts}
    assert sum(int(counts[name]) for name in (*COUNTS[1:], "pending")) == int(counts["reported"]) > 5
    for name, one in told["shares"].items():
        if name in shown:
            assert shown[name] == ("—" if one["value"] is None else f"{round(one['value'] * 100)}%")
    for name, one in told["minutes"].items():
        if name in shown:
            assert shown[name] == ("—" if one["median"] is None else f"{round(one['median'], 1):g}")
    words = {one.name: one.words[language == "en"] for one in definitions.COUNTS}
    assert all(words[name] in text for name in counts)


def _end(first):
    return date(first.year + first.month // 12, first.month % 12 + 1, 1) - date.resolution


def test_a_proposal_is_seen_once_allowed_and_all_is_on_record(filled):
    resident, room = pages(filled), pages(filled)
    sign_in(filled.store, "li", room)
    assert send(resident, "晚上八点后请允许摆两张桌子").headers["location"] == f"{PAGE}?done=1"
    assert send(resident, "晚上八点后请允许摆两张桌子").status_code == 303  # the same form again
    assert rows(filled) == [("waiting", "晚上八点后请允许摆两张桌子")]
    assert "两张桌子" not in resident.get(PAGE).text
    assert "两张桌子" in room.get("/proposals").text
    assert room.post("/proposals/1", data={"decide": "shown"}).status_code == 303
    assert "两张桌子" in resident.get(PAGE).text
    send(resident, "同意，九点前收走就行", of="1")
    assert "九点前" not in resident.get(PAGE).text
    room.post("/proposals/2", data={"decide": "shown"})
    room.post("/proposals/1", data={"answer": "下周商议"})
    text = resident.get(PAGE).text
    assert text.index("两张桌子") < text.index("下周商议") < text.index("九点前")
    room.post("/proposals/1", data={"decide": "refused"})
    text = resident.get(PAGE).text
    assert "两张桌子" not in text
    assert "九点前" not in text
    assert send(resident, "再说一句话", of="1").status_code == 422
    with filled.store.transaction() as session:
        lines = session.scalars(
            select(AuditRow).where(AuditRow.action.like("proposal.%")).order_by(AuditRow.number)
        ).all()
        found = [(one.action.partition(".")[2], one.actor) for one in lines]
        assert all("桌子" not in one.detail for one in lines)
    li = "person:li"
    allowed = [("received", "public"), ("shown", li)]
    assert found == [*allowed, *allowed, ("answered", li), ("refused", li)]


def test_only_the_room_of_that_street_allows_proposals(filled):
    with filled.store.writing() as session:
        roster.add(session, SYSTEM, "far", "远", [Grant.read("operator@elsewhere")], now_ms=now_ms())
    client = pages(filled)
    send(client, "请多放几个垃圾桶")
    for person in ("wang", "chen", "sun", "wu", "far"):
        sign_in(filled.store, person, client)
        assert "垃圾桶" not in client.get("/proposals").text
        assert client.post("/proposals/1", data={"decide": "shown"}).status_code == 403
    assert rows(filled) == [("waiting", "请多放几个垃圾桶")]


def test_one_address_sends_five_in_ten_minutes_and_others_go_on(filled):
    app = make_pages(filled, settings=settings())
    near, far = browser(app), browser(app, address="10.0.0.9")
    states = [send(near, f"第{one}条建议内容").status_code for one in range(6)]
    assert states == [303] * 5 + [429]
    assert send(far, "另一处的建议").status_code == 303
    assert len(rows(filled)) == 6


def test_one_address_does_not_keep_the_center_busy(filled, monkeypatch):
    monkeypatch.setattr(limits, "LOOKS", 3)
    app = make_pages(filled, settings=settings())
    near, far = browser(app), browser(app, address="10.0.0.9")
    answers = [near.get(PAGE) for _ in range(4)]
    assert [one.status_code for one in answers] == [200] * 3 + [429]
    assert 0 < int(answers[-1].headers["retry-after"]) <= 60
    assert far.get(PAGE).status_code == 200


def test_figures_are_worked_out_once_in_ten_seconds(filled, monkeypatch):
    made, real, start_ms, later = [], street_pages.gather, now_ms(), [0]
    monkeypatch.setattr("collector.web.app.now_ms", lambda: start_ms + later[0])
    monkeypatch.setattr(street_pages, "gather", lambda *given: (made.append(given[2] - start_ms), real(*given))[1])
    client = pages(filled)
    for later[0] in (0, 9_999, 10_000, -1):
        assert client.get(PAGE).status_code == 200
    assert made == [0, 10_000, -1]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"text": "短"}, 422),
        ({"text": "长" * 501}, 422),
        ({"text": "x" * 20_000}, 413),
        ({"text": "买药请点这里呀", "website": "http://x"}, 303),  # the trap thanks, and keeps nothing
        ({"text": "评论一条没有的", "of": "77"}, 422),
    ],
)
def test_what_is_not_a_proposal_is_not_kept(filled, fields, status):
    client = pages(filled)
    assert client.post(PAGE, data=fields, headers=HERE).status_code == status
    assert client.post(PAGE, data={"text": "从别处来的表单"}).status_code == 403  # of another site
    assert rows(filled) == []


def test_no_more_wait_than_somebody_can_read(filled, monkeypatch):
    monkeypatch.setattr(proposals, "MOST_WAITING", 2)
    with filled.store.writing() as session:
        for one in range(2):
            proposals.submit(session, STREET, "请多放垃圾桶", str(one), 0)
        with pytest.raises(ProposalError, match="too many wait"):
            proposals.submit(session, STREET, "请多放垃圾桶", "2", 0)


def test_proposals_that_served_their_purpose_are_deleted(filled):
    with filled.store.writing() as session:
        who = town.person("operator")
        for one, (state, decided_ms) in enumerate([("shown", 0), ("refused", LONG - 31 * 86_400_000), ("shown", LONG)]):
            row = proposals.submit(session, STREET, "请多放垃圾桶", str(one), 0)
            proposals.decide(session, who, row.number, state, decided_ms)
        late = proposals.submit(session, STREET, "评论第一条建议", "c", LONG, of=1)
        assert late.number == 4
        assert proposals.forget(session, 365, LONG) == 3
        assert session.scalars(select(ProposalRow.number)).all() == [3]
        line = session.scalars(select(AuditRow).where(AuditRow.action == "proposal.deleted")).one()
        assert json.loads(line.detail) == {"count": 3}
        assert proposals.forget(session, 365, LONG) == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("电话 138 0000 0000 找我", f"电话 {HIDDEN} 找我"),
        ("１３８００００００００", HIDDEN),
        ("请在 2026-11-26 前答复", "请在 2026-11-26 前答复"),
        ("8:00-22:00 之间，12345 热线", "8:00-22:00 之间,12345 热线"),
        ("写信到 a.b@c.example.cn 谢谢", f"写信到 {HIDDEN} 谢谢"),
        ("看 https://x.example/?a=1 吧", f"看 {HIDDEN} 吧"),
        ("加微信号：abc_12345 详谈", f"加微信{HIDDEN} 详谈"),
        ("身份证 11010119900101123X", f"身份证 {HIDDEN}"),
        ("一\r\n\n\n\n二\u202e三", "一\n\n二三"),
    ],
)
def test_how_somebody_is_reached_is_taken_out_first(text, expected):
    assert cleaned(text) == expected


@given(st.text(max_size=80))
def test_nothing_is_left_of_a_number_in_any_surroundings(text):
    kept = cleaned(f"{text} 13800000000 {text}")
    assert "13800000000" not in kept
    assert cleaned(kept) == kept

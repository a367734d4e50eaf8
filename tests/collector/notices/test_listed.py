"""Whom a notice to the center's own people reaches: their own address, else everybody whom the route lists."""

import pytest
from sqlalchemy import select

from collector.notices import desk
from collector.people import roster
from collector.people.actor import SYSTEM
from collector.store import NoticeRow
from tests.collector.notices.conftest import section, sms
from tests.collector.notices.servers import Say
from tests.people import make_person

DUTY = ["13900000001", "139 0000 0002", "duty@example.org"]


def mail(service, name="mail", **more):
    return sms(service, name, address="email", **more)


@pytest.fixture
def people(office):
    """`li` has a telephone, `wang` nothing, `zhang` has gone."""
    for person, phone in (("li", "13800001111"), ("wang", ""), ("zhang", "13800003333")):
        make_person(office.desk.store, person, "officer@s")
        office.desk.write(roster.change, SYSTEM, person, 1, phone=phone)
    office.desk.write(roster.disable, SYSTEM, "zhang", 1)


def told(office, service, to, channels, duty=DUTY, steps=3, **more):
    """Order a task and send it; addresses by channel, in their order."""
    route = {"audience": "officer", "channels": [one["id"] for one in channels], "to": duty}
    office.notices = section(*channels, routes=[route])
    sender = office.sender(**more)
    office.order(key="t", kind="task", audience="officer", to=to, minutes=None)
    for _ in range(steps):
        sender.step(wait=True)
        office.now_s += 1
    sender.stop()
    return [(got.path.strip("/"), got.json["to"]) for got in service.got]


def states(office):
    rows = office.desk.rows(select(NoticeRow).where(NoticeRow.key.like("t%")).order_by(NoticeRow.number))
    return [(row.key, row.state, row.recipient) for row in rows]


ALL = [("sms", "13900000001"), ("sms", "13900000002"), ("mail", "duty@example.org")]


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ("li", [("sms", "13800001111")]),
        ("person:li", [("sms", "13800001111")]),
        ("wang", ALL),  # has no address
        ("zhang", ALL),  # works here no more: their telephone is nobody's business
        ("", ALL),
        ("13811112222", [("sms", "13811112222")]),
    ],
)
@pytest.mark.parametrize("first", ["sms", "mail"])
def test_their_own_address_or_all_that_the_route_lists(office, service, people, to, expected, first):
    channels = sorted([sms(service), mail(service)], key=lambda one: one["id"] != first)
    assert sorted(told(office, service, to, channels)) == sorted(expected)
    assert {state for _, state, _ in states(office)} == {"sent"}


def test_each_of_a_list_is_tried_alone_and_nobody_told_twice(office, service, people):
    service.say(Say({"code": 7}), Say({"code": 0}))
    found = told(office, service, "wang", [sms(service, retry_s=1)], DUTY[:2], steps=6)
    assert sorted(found) == sorted([*ALL[:2], found[-1]])
    assert [(key, state) for key, state, _ in states(office)] == [("t", "sent"), ("t/to/1", "sent")]


def test_the_list_stands_in_for_who_is_refused_by_every_channel(office, service, people):
    service.say(Say({"code": 3}), Say({"code": 0}))
    first, *rest = told(office, service, "li", [sms(service), mail(service)])
    assert (first, sorted(rest)) == (("sms", "13800001111"), sorted(ALL))


def test_a_group_is_told_once_where_the_first_is_not_reached(office, service, people):
    service.say(Say({"code": 3}))
    # its step is passed by what goes to one of the list alone
    group = sms(service, "group", address="none", body='{"to": "group", "text": "{body}"}')
    found = told(office, service, "wang", [sms(service), group], DUTY[:2])
    assert found.count(("group", "group")) == 1
    assert states(office)[1][1] == "failed"


def test_copies_hold_no_address_where_it_is_read(office, service, people):
    told(office, service, "wang", [sms(service)], DUTY[:2])
    copy = office.desk.one(select(NoticeRow).where(NoticeRow.copy_of.is_not(None)))
    assert office.desk.read(desk.as_json, copy)["to"] == "139****0002"
    assert "0002" not in copy.key


def test_a_list_that_grows_meanwhile_tells_the_new_ones_too(office, service, people):
    service.say(Say({"code": 7}), Say({"code": 7}), Say({"code": 0}))
    told(office, service, "", [sms(service, retry_s=600)], DUTY[:2], steps=2)
    office.now_s += 1300
    route = {"audience": "officer", "channels": ["sms"], "to": [*DUTY[:2], "13900000003"]}
    office.notices = section(sms(service), routes=[route])
    sender = office.sender()
    for _ in range(3):
        sender.step(wait=True)
        office.now_s += 1
    sender.stop()
    assert [state for _, state, _ in states(office)] == ["sent"] * 3

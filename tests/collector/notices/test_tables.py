"""The desk and the sender do not block each other for ever."""

from functools import partial

import pytest
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from collector.notices import seams
from collector.notices.orders import Limits, NoticeOrder, order, withdraw
from collector.store import NoticeRow, Ticket, lock
from tests.collector.conftest import Desk, at_once
from tests.collector.notices.conftest import Office, awake, section, sms
from tests.collector.notices.servers import Say
from tests.incidents import Case


@pytest.mark.parametrize("rounds", [25])
def test_the_desk_and_two_senders_on_the_same_tickets(
    postgres, template, tmp_path, service, shops, monkeypatch, rounds
):
    """Both lock a ticket before its notices: no deadlock, and nothing goes out that was taken back before."""

    def look(session, number):
        lock(session, [f"ticket/{session.scalar(select(Ticket.key).where(Ticket.number == number))}"])

    monkeypatch.setattr(seams, "look", look)
    url = postgres.create(template)
    service.say(Say({"code": 0}), Say({"code": 7}), Say({"code": 0}))
    desks = [Desk(tmp_path, url) for _ in range(4)]
    desks[0].take(*[Case(number=number, shop=f"shop-{number}").opened() for number in range(1, 6)])
    shops.update({f"shop-{number}": shops["shop-1"] for number in range(1, 6)})
    offices = [Office(one, tmp_path, section(sms(service, retry_s=1), shop_per_day=50)) for one in desks]
    awake(desks[0].store)
    faults = []

    def desk_work(office, name):
        for turn in range(rounds):
            ticket = turn % 5 + 1
            try:
                with office.desk.store.writing() as session:
                    look(session, ticket)
                    wanted = NoticeOrder(
                        f"{name}/{turn}", ticket, "shop_notice", "shop", f"shop-{ticket}", "s", None, 0, office.now_ms
                    )
                    order(session, wanted, now_ms=office.now_ms, limits=Limits(999, 999))
                    if turn % 3 == 0:
                        withdraw(session, ticket, office.now_ms, "test")
            except SQLAlchemyError as fault:
                faults.append(fault)

    def send_work(office, _name):
        sender = office.sender()
        for _ in range(rounds * 2):
            try:
                sender.step(wait=True)
            except SQLAlchemyError as fault:
                faults.append(fault)
            office.now_s += 1
        sender.stop()

    work = [desk_work, desk_work, send_work, send_work]
    at_once(*(partial(one, office, at) for at, (one, office) in enumerate(zip(work, offices, strict=True))))
    assert faults == []
    sent = desks[0].count(NoticeRow, NoticeRow.state == "sent")
    accepted = len({got.json["request"] for got in service.got}) - 1  # one was refused for now
    for one in desks:
        one.store.close()
    assert sent == accepted

"""Whatever happens in whatever order: nothing is sent twice by itself, beyond the limits, or said that is not so."""

from collections import Counter
from datetime import datetime
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from collector.notices import seams
from collector.notices.channels.callback import HttpChannel
from collector.notices.orders import Limits, NoticeOrder, order, withdraw
from collector.notices.outcomes import Report
from collector.store import NoticeAttempt, NoticeRow, Ticket, lock
from tests.collector.conftest import Desk, at_once
from tests.collector.notices.conftest import SHOP, ZONE, Office, awake, section, sms
from tests.collector.notices.servers import Say
from tests.incidents import Case

OUTCOMES = ("accepted", "refused", "later", "unsure", "unreachable")
MAY_HAVE_REACHED = ("accepted", "unsure", "crash_before", "crash_after")
"""Nobody can tell the two crashes apart."""
MOVES = st.one_of(
    st.tuples(st.just("order"), st.integers(0, 7)),
    st.tuples(st.just("pass"), st.sampled_from([1, 11, 60, 200, 3600, 50_000])),
    st.tuples(st.just("send"), st.lists(st.sampled_from(OUTCOMES), min_size=8, max_size=8)),
    st.tuples(st.just("crash"), st.sampled_from(["crash_before", "crash_after"])),
    st.tuples(st.just("end_ticket"), st.just(0)),
)
CHANNELS = [
    {"id": name, "type": "http", "url": "http://127.0.0.1:9/", "tries": 2, "when_unsure": "person"}
    for name in ("a", "b")
]


@settings(max_examples=80, deadline=None)
@given(moves=st.lists(MOVES, max_size=25), when_unsure=st.sampled_from(["person", "next"]), per_day=st.integers(1, 4))
def test_any_sequence_keeps_the_promises(tmp_path_factory, moves, when_unsure, per_day):
    folder = tmp_path_factory.mktemp("office")
    desk = Desk(folder)
    case = Case(shop="shop-1")
    desk.take(case.opened())
    awake(desk.store)
    channels = [{**one, "when_unsure": when_unsure} for one in CHANNELS]
    office = Office(desk, folder, section(*channels, contact="0571", shop_per_day=per_day))
    left = []  # (request, outcome) of what may have left
    answers: list[str] = []

    def send(self, message, tools):
        outcome = answers.pop(0) if answers else "accepted"
        left.append((message.request, outcome, office.now_s))
        return Report(outcome, outcome)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HttpChannel, "send", send)
        patch.setattr(seams, "shop", lambda *_: SHOP)
        patch.setattr(seams, "doubt", lambda *_: None)
        patch.setattr(seams, "look", lambda *_: None)
        sender = office.sender()
        for move, value in moves:
            if move == "order":
                office.order(key=str(value), limits=Limits(99, 99))
            elif move == "pass":
                office.now_s += value
            elif move == "send":
                answers[:] = value
                sender.step(wait=True)
            elif move == "crash":
                jobs = sender.claim()
                left.extend((job.message.request, value, office.now_s) for job in jobs)
                sender.stop()
                sender = office.sender()
                sender._give_up(0)
            elif case.seq == 1:
                desk.take(case.cleared(case.opened_s + 50))
        sender.stop()
    rows = {row.number: row for row in desk.rows(select(NoticeRow))}
    notice_of = {one.request: one.notice_number for one in desk.rows(select(NoticeAttempt))}
    desk.store.close()
    # a message has its row, and leaves once
    assert len({request for request, _, _ in left}) == len(left)
    reached = Counter(notice_of[request] for request, outcome, _ in left if outcome in MAY_HAVE_REACHED)
    accepted = {notice_of[request] for request, outcome, _ in left if outcome == "accepted"}
    for number, row in rows.items():
        if when_unsure == "person":
            assert reached[number] <= 1
        assert (row.told_ms is not None) == (number in accepted)
        if number in accepted:
            assert row.state == "sent"
        elif reached[number]:
            assert row.state in (("unsure",) if when_unsure == "person" else ("unsure", "waiting", "withdrawn"))
        else:
            assert row.state in ("waiting", "failed", "expired", "withdrawn")
    days = Counter(
        datetime.fromtimestamp(at_s, ZONE).date() for _, outcome, at_s in left if outcome in MAY_HAVE_REACHED
    )
    assert max(days.values(), default=0) <= per_day


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

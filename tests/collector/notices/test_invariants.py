"""Whatever happens in whatever order: nothing is sent twice by itself, beyond the limits, or said that is not so."""

from collections import Counter
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from collector.notices import seams
from collector.notices.channels.callback import HttpChannel
from collector.notices.orders import Limits
from collector.notices.outcomes import Report
from collector.store import NoticeAttempt, NoticeRow
from tests.collector.conftest import Desk
from tests.collector.notices.conftest import SHOP, ZONE, Office, awake, section
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

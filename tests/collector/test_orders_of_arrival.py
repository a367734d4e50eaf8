"""Whatever the wire and the collectors do with the messages, the database ends up the same."""

import json
from functools import partial

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from collector.inbox.writer import Writer
from collector.store import IncidentRow, MessageRow, PictureRow, Ticket, TicketEvent, open_store
from tests.collector.conftest import Desk, at_once
from tests.incidents import START_S, Case

HOUR_S = 3600.0


def story():
    """Messages and pictures of seven incidents of three shops and a square."""
    sent = []
    first = Case(number=1, shop="shop-1")
    sent += [first.picture("clear", number=1), first.picture("at", number=2), first.opened()]
    sent += [first.updated(START_S + 60, visibility="not_seen"), first.cleared(START_S + 90)]
    # back within 30 minutes: the same ticket, opened again; over
    second = Case(number=2, shop="shop-1", opened_s=START_S + 600)
    sent += [second.opened(), second.cleared(START_S + 700)]
    # three hours later: another ticket, which goes on
    third = Case(number=3, shop="shop-1", opened_s=START_S + 3 * HOUR_S)
    sent += [third.opened(), third.updated(START_S + 3 * HOUR_S + 60)]
    # one shop seen by two boxes at once
    for number, box in ((4, "box-1"), (5, "box-2")):
        case = Case(number=number, shop="shop-2", box=box, opened_s=START_S + number)
        sent += [case.opened(), case.ended(START_S + 100 + number)]
    alone = Case(number=6, rule="crowding", shop=None, zone="square", box="box-2")
    sent += [alone.opened(), alone.picture("at", number=3), alone.updated(START_S + 80)]
    other = Case(number=7, shop="shop-3")
    sent += [other.opened(), other.cleared(START_S + 50)]
    return sent


STORY = story()


def state(store):
    """All that must not depend on the order: tickets by what is in them, as numbers are given as they come."""
    with store.transaction() as session:
        incidents = list(session.scalars(select(IncidentRow).order_by(IncidentRow.id)))
        tickets = {ticket.number: ticket for ticket in session.scalars(select(Ticket))}
        holds = {number: sorted(one.id for one in incidents if one.ticket_number == number) for number in tickets}
        told = ("incident_updated", "incident_cleared", "incident_ended")
        lines = session.scalars(select(TicketEvent).where(TicketEvent.kind.in_(told)))
        return {
            "incidents": [
                (
                    *(one.id, one.seq, one.state, one.opened_ms, one.cleared_ms),
                    *(one.ended_ms, one.visibility, one.late, one.data),
                )
                for one in incidents
            ],
            "tickets": sorted(
                (
                    *(one.key, one.state, one.open, one.opened_ms, one.cleared_ms or 0, one.reopened, one.late),
                    holds[one.number],
                    [] if one.repeat_of is None else holds[one.repeat_of],
                )
                for one in tickets.values()
            ),
            "messages": sorted(session.execute(select(MessageRow.id, MessageRow.payload)).all()),
            "pictures": sorted(session.scalars(select(PictureRow.id))),
            "lines": sorted((one.message_id, one.kind, one.at_ms, json.loads(one.detail)["incident"]) for one in lines),
        }


def expected(folder):
    desk = Desk(folder)
    desk.now_s = START_S + 4 * HOUR_S
    for one in STORY:
        desk.take_any(one)
    found = state(desk.store)
    desk.store.close()
    return found


@pytest.fixture(scope="module")
def in_order(tmp_path_factory):
    found = expected(tmp_path_factory.mktemp("in-order"))
    assert [len(found[name]) for name in ("incidents", "tickets", "messages", "pictures")] == [7, 5, 15, 3]
    first = found["incidents"][0]
    assert (*first[1:3], first[6]) == (3, "cleared", "seen")  # the newest message counts
    return found


arrivals = st.tuples(
    st.permutations(range(len(STORY))),
    st.lists(st.integers(0, len(STORY) - 1), max_size=8),  # come again
    st.lists(st.integers(1, 6), min_size=len(STORY) + 8, max_size=len(STORY) + 8),  # sizes of batches
    st.randoms(use_true_random=False),
)


def batches(arrival):
    order, again, sizes, random = arrival
    queue = [STORY[index] for index in order]
    for index in again:
        queue.insert(random.randrange(len(queue) + 1), STORY[index])
    while queue:
        size = sizes.pop(0) if sizes else 6
        yield queue[:size]
        queue = queue[size:]


@settings(
    max_examples=40,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(arrival=arrivals)
# the second case cleared; then, in one batch, the third and the first, which turns out to be of the second's
@example(arrival=([6, 7, 2, 4, 3, 5, 8, 0, 1, *range(9, len(STORY))], [], [1, 2], None))
def test_any_order_repetition_and_batches_end_alike(tmp_path_factory, in_order, arrival):
    desk = Desk(tmp_path_factory.mktemp("desk"))
    desk.now_s = START_S + 4 * HOUR_S
    for batch in batches(arrival):
        desk.take_any(*batch)
    found = state(desk.store)
    desk.store.close()
    assert found == in_order


@settings(
    max_examples=8,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(arrival=arrivals)
def test_two_collectors_at_once_end_alike(tmp_path_factory, postgres, template, in_order, arrival):
    """Both get everything, each in its own order, at the same time."""
    desk = Desk(tmp_path_factory.mktemp("desk"), postgres.create(template))
    second = Writer(open_store(desk.url), desk.files, desk.change, lambda: START_S + 4 * HOUR_S)
    desk.now_s = START_S + 4 * HOUR_S
    parts = list(batches(arrival))

    def work(writer, mine):
        return [one for batch in mine for answer in writer.commit(batch) for one in answer.acknowledgement.later]

    unanswered = at_once(partial(work, second, parts[::-1]), partial(work, desk.writer, parts))
    found = state(desk.store)
    desk.store.close()
    second._store.close()
    assert found == in_order
    assert unanswered == [[], []]

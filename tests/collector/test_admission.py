"""A box that the center does not know, as after a restored back-up, keeps what it has until it is taken up."""

import json

import pytest
from sqlalchemy import update

from agent.uplink.flight import Flight
from agent.uplink.outbox import IncidentRow, Outbox, Outgoing
from collector.boxes.register import new_box
from collector.store import Box
from tests.incidents import START_S, Case


@pytest.mark.parametrize("waiting", [1, 200])
def test_what_waits_comes_soon_after_the_box_is_taken_up(desk, waiting):
    def admit(standing):
        desk.execute(update(Box).values(standing=standing))

    desk.write(lambda session: session.add(new_box("box-1", "s", START_S * 1000)))
    outbox, now = Outbox(None, lambda: START_S), [0.0]
    flight = Flight(outbox, lambda: now[0], lambda _low, high: high)
    cases = [Case(number=n + 1, zone=f"z{n}").opened() for n in range(waiting)]
    deliveries = {json.loads(one.payload)["id"]: one for one in cases}
    with outbox.sealing() as ledger:
        for name, one in deliveries.items():
            message = Outgoing(name, "incident", one.topic, one.payload, "c")
            ledger.commit(IncidentRow(name, "cam-1", "z", "r", "p", True, "{}"), [message], None)
    sent = 0

    def go(until_s):
        nonlocal sent
        while now[0] < until_s and outbox.figures().waiting:
            going = [deliveries[one.id] for one in flight.launch()]
            sent += len(going)
            for answer in desk.take_any(*going) if going else ():
                flight.answered(answer.acknowledgement)
            now[0] += 1

    flight.connected()
    go(1800)
    assert outbox.figures().waiting == waiting, "nothing is refused for good"
    assert sent <= 3 * waiting + 1800 / 60, "nor asked for again and again"
    admit("enrolled")
    go(1900)
    assert not outbox.figures().waiting
    outbox.close()

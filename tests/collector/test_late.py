"""What comes late, what its box has forgotten, and what a wrong clock wrote."""

import json

import pytest
from sqlalchemy import select

from collector.store import Box, CertificateRow, FootfallRow, IncidentRow, MessageRow, Ticket
from protocol.messages import BoxHealth, BoxStatus, ClockReport, HealthEvent, OpenIncident, StatusEvent, ZoneCount
from tests.incidents import START_S, Case, told

HOUR_S = 3600.0
LOST = ClockReport(state="unsynchronised", boot_id="b", uptime_s=100.0)


def the(desk, table):
    return desk.one(select(table))


def kinds(desk, number=1):
    with desk.store.transaction() as session:
        return [(event.kind, json.loads(event.detail)) for event in session.get(Ticket, number).events]


@pytest.mark.parametrize(("away_s", "late"), [(60, 0), (590, 0), (700, 1), (24 * HOUR_S, 1)])
def test_late_and_still_open_waits_for_a_person(desk, away_s, late):
    desk.now_s = START_S + 12 + away_s
    desk.take(Case().opened())
    ticket = the(desk, Ticket)
    assert (ticket.state, ticket.open, ticket.late) == ("pending_review", 1, late)
    assert ticket.created_ms == round(desk.now_s * 1000)  # from which a shop's minutes count
    assert the(desk, IncidentRow).received_ms == ticket.created_ms


def test_late_and_already_over_is_filed(desk):
    desk.now_s = START_S + 24 * HOUR_S
    case = Case()
    desk.take(case.opened())
    desk.take(case.cleared(START_S + 100))
    ticket = the(desk, Ticket)
    got = (ticket.state, ticket.open, ticket.late, ticket.cleared_ms)
    assert got == ("lapsed", 0, 1, round((START_S + 100) * 1000))
    assert kinds(desk)[-1][0] == "filed_late"


def test_a_ticket_that_has_something_new_is_not_late(desk):
    desk.now_s = START_S + 1000
    desk.take(Case().opened())
    desk.take(Case(number=2, opened_s=START_S + 980).opened())
    assert the(desk, Ticket).late == 0


def test_an_old_case_that_comes_late_leaves_the_open_one_alone(desk):
    """The line was away; what is new comes first, then the backlog."""
    new, old = Case(number=1, opened_s=START_S + 20 * HOUR_S), Case(number=2)
    desk.take(new.opened())
    desk.take(old.opened())
    desk.take(old.cleared(START_S + 300))
    first, second = desk.rows(select(Ticket).order_by(Ticket.number))
    assert (first.open, first.opened_ms, first.reopened) == (1, round((START_S + 20 * HOUR_S) * 1000), 0)
    assert (second.state, second.late, second.repeat_of, first.repeat_of) == ("lapsed", 1, None, second.number)


def connected(*cases, at_s, said=True):
    listed = tuple(OpenIncident(incident=case.id, seq=case.seq) for case in cases) if said else None
    data = BoxStatus(state="online", boot_id="b", version="1", open_incidents=listed)
    return told(StatusEvent, "status", at_s, data)


def health(at_s, waiting_s=0.0, boot="b", counts=()):
    data = BoxHealth(
        uptime_s=1,
        waiting_messages=int(waiting_s > 0),
        oldest_waiting_s=waiting_s,
        parked_messages=0,
        state_bytes=0,
        clock=ClockReport(state="synchronised", boot_id=boot, uptime_s=1),
        counts=counts,
    )
    return told(HealthEvent, "health", at_s, data)


def test_what_a_box_counted_is_kept_by_quarters(desk):
    for second, most in ((10, 3), (70, 7), (900, 1)):
        desk.now_s = START_S // 900 * 900 + second
        desk.take(health(desk.now_s, counts=(ZoneCount(camera="cam-1", zone="square", looks=5, mean=2, most=most),)))
    rows = desk.rows(select(FootfallRow).order_by(FootfallRow.from_ms))
    got = [(row.box_id, row.zone, row.looks, row.most) for row in rows]
    assert got == [("box-1", "square", 10, 7), ("box-1", "square", 5, 1)]


def states(desk):
    return [row.state for row in desk.rows(select(IncidentRow).order_by(IncidentRow.id))]


def test_what_a_box_no_longer_knows_is_orphaned_and_stays_open(desk):
    known, forgotten = Case(number=1), Case(number=2, shop="shop-2")
    desk.take(known.opened(), forgotten.opened())
    desk.take(connected(known, at_s=START_S + 50))
    assert states(desk) == ["open", "open"]  # messages of before may still be on their way
    desk.take(health(START_S + 60))
    desk.take(connected(known, at_s=START_S + 50), health(START_S + 90))  # another collector was told as well
    assert states(desk) == ["open", "orphaned"]
    assert [kind for kind, _ in kinds(desk, 2)] == ["appeared", "opened", "incident_orphaned"]
    assert desk.get(Ticket, 2).open == 1
    # it was wrong after all: the next message takes it back
    desk.take(forgotten.updated(START_S + 100))
    assert states(desk) == ["open", "open"]


@pytest.mark.parametrize(
    "steps",
    [
        lambda _: [connected(at_s=START_S + 5), health(START_S + 60)],  # decided after the list was made
        lambda _: [connected(at_s=START_S + 50), health(START_S + 60, waiting_s=30)],  # something may be on its way
        lambda case: [connected(at_s=START_S + 50), case.cleared(START_S + 30), health(START_S + 60)],
        lambda _: [connected(at_s=START_S + 50), health(START_S + 60, boot="another")],
        lambda _: [connected(at_s=START_S + 50, said=False), health(START_S + 60)],
        lambda case: [connected(case, at_s=START_S + 50), health(START_S + 60)],
    ],
)
def test_nothing_in_flight_is_orphaned(desk, steps):
    case = Case()
    desk.take(case.opened())
    for step in steps(case):
        desk.take(step)
    assert states(desk)[0] in ("open", "cleared")


@pytest.mark.parametrize(
    ("box_s", "clock", "opened_s", "how"),
    [
        # its clock is right, or nobody knows better
        (START_S, ClockReport(state="synchronised", boot_id="b", uptime_s=1), START_S, "told"),
        (START_S, LOST, START_S, "told"),
        # a day behind, and it has measured that
        (START_S - 86_400, LOST.model_copy(update={"offset_s": 86_400.0}), START_S, "offset"),
        # synchronised: the network's time is better than ours
        (START_S, ClockReport(state="synchronised", offset_s=500, boot_id="b", uptime_s=1), START_S, "told"),
        # no battery: 1970, and the center knows nothing but when it came
        (1000.0, LOST, START_S + 88, "received"),
        # in the future
        (START_S + 86_400, LOST, START_S + 88, "received"),
        # an offset that leads nowhere
        (START_S, LOST.model_copy(update={"offset_s": 1e9}), START_S, "told"),
    ],
)
def test_nothing_is_misdated_by_a_wrong_clock(desk, box_s, clock, opened_s, how):
    case = Case(opened_s=box_s)
    desk.writer._now = lambda: START_S + 100
    payload = case.message("opened", box_s + 12, clock=clock)
    assert desk.take(payload)[0] == [f"{case.id}:1"]
    row, message = the(desk, IncidentRow), the(desk, MessageRow)
    assert (row.opened_ms, row.clock) == (round(opened_s * 1000), how)
    assert message.payload.encode() == payload.payload  # as it came
    assert message.at_ms == row.opened_ms + 12_000
    assert ("clock" in kinds(desk)[0][1]) == (how != "told")


def test_a_year_that_looks_right_and_is_not_is_known_by_the_uptime_or_the_certificate(desk):
    """Without a battery many boards begin when their system was made: here in 2023."""
    desk.writer._now = lambda: START_S + HOUR_S
    desk.take(health(START_S + HOUR_S))
    issued = {"usage": "box", "name": "box-1", "issued_ms": 1_700_000_000_000, "not_after_ms": 2**50}
    with desk.store.writing() as session:
        session.add(CertificateRow(serial="1", key_sha256="", pem="", **issued))
    for number, boot, how in ((1, "b", "uptime"), (2, "earlier", "received")):
        case = Case(number=number, zone=boot, opened_s=1_680_000_000.0)
        desk.take(case.message("opened", 1_680_000_012.0, clock=LOST.model_copy(update={"boot_id": boot})))
        row = desk.get(IncidentRow, case.id)
        assert row.clock == how
        assert row.opened_ms > START_S * 1000


def test_uptime_dates_what_waited_through_a_wrong_clock(desk):
    """Decided 20 s after the start with a clock of 1970, delivered an hour later."""
    desk.writer._now = lambda: START_S + HOUR_S
    now = health(START_S + HOUR_S)
    desk.take(now)  # clock: uptime 1 s just now, so that the box started at START + 1 h - 1 s
    start_s = START_S + HOUR_S - 1
    desk.writer._now = lambda: START_S + 2 * HOUR_S
    case = Case(opened_s=100.0)
    desk.take(case.message("opened", 112.0, clock=LOST.model_copy(update={"uptime_s": 20.0})))
    row = the(desk, IncidentRow)
    assert row.clock == "uptime"
    assert the(desk, MessageRow).at_ms == round((start_s + 20) * 1000)
    assert row.late == 1
    assert the(desk, Box).clock_boot == "b"

"""What happens by itself: the shop's minutes, quiet hours, permits, pauses, verification, escalation, clocks."""

import hashlib
import json

import pytest
from sqlalchemy import select, update

from collector.boxes.orders import GRACE_MS
from collector.store import AuditRow, CommandRow, IncidentRow, PauseRow, PictureRow, Ticket, open_store
from collector.tickets import pauses
from collector.tickets.desk import RefusedError
from collector.tickets.seams import Cover, Told
from collector.tickets.timekeeper import FAULT_MS, SETTLE_S
from protocol.commands import Reply
from protocol.instants import from_epoch
from protocol.pictures import AnswerHeader
from tests.collector.conftest import at_once
from tests.collector.tickets.conftest import CHEN, LI, SHOP, WANG, Street, at
from tests.incidents import Case, Delivery, jpeg

# the shop's minutes


@pytest.mark.parametrize(
    ("cleared_after_s", "message_after_s", "state"),
    [
        (60, 120, "self_corrected"),
        (299, 360, "self_corrected"),  # within its minutes; the message comes after them, within the grace
        (300, 360, "self_corrected"),  # to the second
        (301, 361, "noticed"),  # too late: the community follows when the grace is over
        (200, 460, "self_corrected"),  # the ticket had gone on to the community; the shop was in time all the same
        (400, 460, "closed"),  # in the community's minutes: solved without enforcement
    ],
)
def test_what_counts_is_when_the_place_was_seen_clear(street, cleared_after_s, message_after_s, state):
    case = street.noticed()
    told_s = street.ticket().told_ms / 1000
    street.wait((told_s + message_after_s - street.true_s) / 60)
    street.clears(case, seconds_ago=street.true_s - (told_s + cleared_after_s))
    assert street.state() == state
    street.wait(1)
    assert street.state() == ("closed" if state == "noticed" else state)
    if state == "closed":
        assert street.ticket().outcome == "community"


def test_the_shops_minutes_count_from_when_it_was_told(street):
    street.confirmed()
    street.wait(8)
    assert (street.state(), street.ticket().shop_due_ms) == ("noticed", None)
    street.tell()
    ticket = street.ticket()
    assert ticket.shop_due_ms - ticket.told_ms == 300_000
    street.wait(3.5)
    assert street.kinds("shop") == ["shop_notice", "shop_reminder"]
    street.wait(3.1)
    assert street.state() == "community"


@pytest.mark.parametrize("how", ["unsure", "failed"])
def test_a_shop_that_could_not_be_told_is_an_operators_task_and_never_enforced(street, how):
    street.confirmed()
    street.tell(how)
    assert "undelivered" in street.kinds("operator")
    street.wait(60)
    ticket = street.ticket()
    assert (ticket.state, ticket.level, ticket.told_ms) == ("noticed", 2, None)
    assert street.act(LI, "told", reason="by telephone").shop_due_ms is not None
    street.wait(7)
    assert street.state() == "community"


@pytest.mark.parametrize("how", ["failed", "unsure", "waiting"])
@pytest.mark.parametrize("minutes", [1, 30])
def test_a_notice_that_never_came_takes_the_minutes_back(street, how, minutes):
    street.noticed()
    street.tell("sent")
    street.wait(minutes)
    state = street.state()
    assert state == ("noticed" if minutes == 1 else "community")
    street.tell(how)
    ticket = street.ticket()
    assert (ticket.state, ticket.told_ms, ticket.shop_due_ms) == (state, None, None)
    assert ("undelivered" in street.kinds("operator")) == (how != "waiting")
    street.wait(30)
    assert street.state() == state
    if state == "community":
        with pytest.raises(RefusedError) as refused:
            street.act(LI, "register")
        assert refused.value.code == "untold"
    street.tell("sent")  # over the next channel: the minutes begin anew
    assert street.ticket().told_ms == street.now_ms
    assert street.steps().count("untold") == 1


def test_what_a_person_told_the_shop_no_report_takes_back(street):
    street.confirmed()
    street.act(LI, "told", reason="by telephone")
    told_ms = street.ticket().told_ms
    street.tell("failed")
    assert street.ticket().told_ms == told_ms
    assert "untold" not in street.steps()


def test_clear_before_anyone_reviewed_lapses(street):
    case = street.appears()
    street.clears(case)
    assert (street.state(), street.ticket().look_ms) == ("lapsed", None)
    assert street.kinds("shop") == []


@pytest.mark.parametrize("reason", ["camera_removed", "rule_changed", "withdrawn", None])
def test_an_unseen_end_or_a_lost_camera_corrects_nobody(street, reason):
    case, now_s = street.noticed(), street.now_s
    street.desk.take_any(case.ended(now_s, reason) if reason else case.updated(now_s, visibility="not_seen"))
    street.wait(1)
    assert street.state() == "noticed"
    street.wait(7)
    assert (street.state(), street.ticket().present) == ("community", reason is None)  # a person goes and looks


def test_one_place_of_two_that_is_clear_corrects_nobody(street):
    first = street.noticed()
    second = street.appears(zone="side")
    street.clears(first, 0)
    assert street.state() == "noticed"
    street.clears(second, 0)
    assert street.state() == "self_corrected"


def test_a_clear_place_closes_nothing_registered(street):
    case = street.registered()
    street.clears(case)
    street.wait(30)
    assert street.state() == "registered"


# back again


@pytest.mark.parametrize(("minutes", "tickets"), [(10, 1), (29, 1), (31, 2)])
def test_back_within_30_minutes_is_a_new_round_of_the_ticket(street, minutes, tickets):
    case = street.noticed()
    street.clears(case, 0)
    assert street.state() == "self_corrected"
    street.wait(minutes - 0.1)
    again = Case(number=900, opened_s=street.now_s + 6)
    street.true_s += 6
    street.desk.take_any(again.opened(street.now_s))
    street.wait()
    assert street.state(tickets) == "pending_review"
    assert street.ticket(tickets).repeat_of == (None if tickets == 1 else 1)
    if tickets == 1:
        assert street.ticket().round == 2
        street.word = Told()
        street.act(LI, "confirm")
        assert street.kinds("shop").count("shop_notice") == 2  # told anew, once


def test_a_return_gone_before_review_leaves_the_ticket(street):
    case = street.noticed()
    street.clears(case, 0)
    street.wait(10)
    again = street.appears()
    assert street.state() == "pending_review"
    street.clears(again, 0)
    assert (street.state(), street.ticket().open) == ("self_corrected", 0)


def test_what_comes_while_it_is_handled_joins_it(street):
    case = street.registered()
    street.clears(case)
    street.wait(180)
    street.appears()
    assert (street.state(), street.ticket().present) == ("registered", 1)


# quiet hours


@pytest.mark.parametrize(
    ("begins", "morning"),
    [
        ("2026-03-02 22:30:00", "2026-03-03 07:00:00"),
        ("2026-03-02 23:59:59", "2026-03-03 07:00:00"),
        ("2026-12-31 23:59:00", "2027-01-01 07:00:00"),
        ("2024-02-28 23:00:00", "2024-02-29 07:00:00"),
    ],
)
def test_nobody_outside_is_told_at_night(desk, begins, morning):
    street = Street(desk, begins)
    case = street.confirmed()
    ((notice, _),) = [one for one in street.orders.values() if one[0].kind == "shop_notice"]
    assert notice.not_before_ms == round(at(morning) * 1000)
    alert = next(iter(street.orders.values()))[0]
    assert (alert.kind, alert.not_before_ms < notice.not_before_ms) == ("alert", True)
    street.word = Told("waiting")
    street.wait(until=morning)
    assert street.state() == "noticed"
    street.tell()
    street.wait(2)
    street.clears(case, 0)
    assert street.state() == "self_corrected"


def test_told_unreviewed_only_as_the_policy_says(desk):
    street = Street(desk, "2026-03-02 18:58:00")
    street.policy(unreviewed=[{"hours": ["19:00-22:00"], "zones": ["cam-1/front"]}])
    street.appears()
    street.appears(shop="shop-2", zone="side")
    assert (street.state(1), street.state(2)) == ("pending_review", "pending_review")
    street.wait(2.1)
    assert (street.state(1), street.state(2)) == ("noticed", "pending_review")


# permits


def permit(until, **where):
    def cover(place, at_ms):
        matches = all(getattr(place, name) == value for name, value in where.items())
        return Cover(1, "外摆 2026-7", round(at(until) * 1000)) if matches and at_ms < at(until) * 1000 else None

    return cover


@pytest.mark.parametrize(
    ("begins", "until"),
    [
        ("2026-03-02 20:00:00", "2026-03-02 22:00:00"),
        ("2026-03-02 23:30:00", "2026-03-03 00:00:00"),
        ("2026-12-31 23:30:00", "2027-01-01 00:30:00"),
        ("2024-02-28 23:30:00", "2024-02-29 02:00:00"),
    ],
)
def test_a_permit_exempts_until_its_hours_end(desk, begins, until):
    street = Street(desk, begins)
    street.cover = permit(until)
    street.appears()
    ticket = street.ticket()
    assert (ticket.state, ticket.open, ticket.permit) == ("exempt", 0, "外摆 2026-7")
    assert street.kinds() == []
    street.wait((at(until) - street.true_s) / 60 - 0.1)
    assert street.state() == "exempt"
    street.wait(0.3)
    assert (street.state(), street.kinds()) == ("pending_review", ["alert"])


def test_what_is_gone_before_the_permit_ends_is_over(desk):
    street = Street(desk, "2026-03-02 20:00:00")
    street.cover = permit("2026-03-02 22:00:00")
    case = street.appears()
    street.clears(case)
    street.wait(200)
    assert (street.state(), street.ticket().look_ms) == ("exempt", None)


def test_a_permit_for_one_zone_does_not_cover_another(desk):
    street = Street(desk, "2026-03-02 20:00:00")
    street.cover = permit("2026-03-02 22:00:00", zone="front")
    street.appears()
    assert street.state() == "exempt"
    street.appears(zone="side")
    assert street.state() == "pending_review"


def test_a_permit_that_a_person_names_is_good_for_the_day(street):
    street.permit("on paper 12")
    street.appears()
    ticket = street.act(LI, "exempt", permit="on paper 12")
    assert (ticket.state, ticket.permit) == ("exempt", "on paper 12")
    street.wait(until="2026-03-02 23:59:58")
    assert street.state() == "exempt"
    street.wait(0.2)
    assert street.state() == "pending_review"


# pauses


def pause(street, minutes, zone="front", reason="branches"):
    given = {"until_ms": street.now_ms + minutes * 60_000, "reason": reason, "at_ms": street.now_ms}
    row = street.desk.write(pauses.begin, LI, "box-1", "cam-1", zone, **given)
    street.wait()
    return row


def test_a_paused_zone_is_kept_quiet_counted_and_comes_up(street):
    street.appears(shop="shop-9")
    pause(street, 60)
    street.appears()
    gone = street.appears(shop="shop-2")
    street.appears(shop="shop-3", zone="side")
    assert street.ticket(1).paused_until_ms is not None  # it waited for review as the pause began
    assert street.kinds() == ["alert", "alert"]  # of the first, before, and of the other zone
    street.clears(gone)
    assert street.state(3) == "lapsed"
    ((row, count),) = street.desk.read(pauses.listed, street.now_ms)
    assert (count, row.reason) == (3, "branches")
    street.wait(50)
    assert street.ticket(2).level == 0  # nothing is overdue that nobody could see
    street.wait(11)
    ticket = street.ticket(2)
    assert (ticket.state, ticket.paused_until_ms, ticket.pause) == ("pending_review", None, row.number)
    assert ticket.due_ms > street.now_ms
    assert street.kinds().count("alert") == 4


def test_a_pause_that_is_ended_lets_up_what_it_held(street):
    row = pause(street, 600, zone=None)
    street.appears()
    assert street.kinds() == []
    street.desk.write(pauses.end, LI, row.number, at_ms=street.now_ms)
    street.wait()
    assert street.kinds() == ["alert"]
    assert street.desk.get(PauseRow, row.number).ended_by == "person:li"
    got = [one.action for one in street.desk.rows(select(AuditRow))]
    assert got == ["pause.begin", "ticket.hold", "pause.end", "ticket.release"]


def test_what_was_confirmed_while_quiet_goes_on(street):
    pause(street, 60)
    street.confirmed()
    assert street.ticket().paused_until_ms is None
    assert "shop_notice" in street.kinds("shop")
    street.tell()
    street.wait(7)
    assert street.state() == "community"
    street.wait(24 * 60)
    assert (street.ticket().level, street.ticket().look_ms > street.now_ms) == (2, True)


def test_a_full_batch_due_in_the_past_stops_nobody(street, monkeypatch):
    monkeypatch.setattr("collector.tickets.timekeeper.BATCH", 1)
    pause(street, 60)
    street.appears()
    street.confirmed(shop="shop-2")
    # as it was left before an upgrade
    street.desk.execute(update(Ticket).where(Ticket.number == 1).values(paused_until_ms=street.now_ms - 1, look_ms=0))
    street.desk.execute(update(Ticket).where(Ticket.number == 2).values(look_ms=1))
    assert [street.keeper.step() for _ in range(3)] == [1, 1, 0]


def test_a_look_that_is_not_ahead_is_put_off(street, monkeypatch):
    street.appears()

    def past(_session, ticket, *_args):
        ticket.look_ms = 0
        return 0

    monkeypatch.setattr("collector.tickets.timekeeper.attend", past)
    street.desk.execute(update(Ticket).values(look_ms=0))
    assert [street.keeper.step() for _ in range(2)] == [1, 0]
    assert street.ticket().look_ms == street.now_ms + FAULT_MS


@pytest.mark.parametrize(
    ("change", "code"),
    [({"reason": " "}, "missing"), ({"minutes": -1}, "invalid"), ({"minutes": 60 * 24 * 91}, "invalid")],
)
def test_a_pause_needs_an_end_and_a_reason(street, change, code):
    with pytest.raises(RefusedError) as fault:
        pause(street, **({"minutes": 5} | change))
    assert fault.value.code == code


# verification


@pytest.mark.parametrize(
    ("answer", "state"), [("clear", "closed"), ("occupied", "rework"), ("not_seen", "verifying"), ("odd", "verifying")]
)
def test_the_box_is_asked_and_its_answer_decides(street, answer, state):
    street.handled()
    (row,) = street.asked()
    assert (row.verb, json.loads(row.args)) == ("verify", {"camera": "cam-1", "zone": "front"})
    street.reply(answer)
    assert street.state() == state
    if state == "verifying":
        assert "unseen" in street.kinds("operator")
        assert street.act(LI, "close", reason="picture of the officer").outcome == "handled"
    if state == "rework":
        assert "rework" in street.kinds("officer")
        street.act(CHEN, "accept")
        street.act(CHEN, "feed_back")
        street.reply("clear")
        assert street.state() == "closed"


def test_a_box_that_does_not_answer_leaves_it_to_a_person(street):
    street.handled()
    street.wait((60_000 + GRACE_MS) / 60_000 - 0.1)
    assert "verify_unseen" not in street.steps()
    street.wait(0.2)
    assert street.steps()[-1] == "verify_unseen"
    assert "unseen" in street.kinds("operator")
    # an answer that comes after all changes nothing by itself
    (row,) = street.asked()
    street.desk.take_any(street.envelope("box-1", Reply(command=row.id, outcome="ok", data={})))
    street.wait(1)
    assert street.state() == "verifying"


def test_all_places_of_a_ticket_are_asked_about(street):
    street.handled()
    street.act(LI, "rework", reason="the other side too")
    street.appears(zone="side")
    street.act(CHEN, "accept")
    street.desk.execute(update(CommandRow).values(state="timed_out"))
    street.act(CHEN, "feed_back")
    assert len(street.asked()) == 2
    street.reply("clear", "occupied")
    assert street.state() == "rework"


def test_the_picture_of_a_verification_is_kept_with_the_others(street):
    case = street.handled()
    (row,) = street.asked()
    content = jpeg(7)
    header = AnswerHeader(
        command=row.id, role="verify", view="wide", taken_at=from_epoch(street.now_s), sha256=sha256(content)
    )
    topic = "cityeye/1/s/box-1/evidence/cam-1"
    picture = Delivery(topic, content, tuple(header.to_properties()), "image/jpeg")
    street.reply("clear", pictures=(picture,))
    (kept,) = street.desk.rows(select(PictureRow))
    assert (kept.incident, kept.role, kept.sha256) == (case.id, "after", sha256(content))
    assert street.desk.files.path(kept.sha256).read_bytes() == content
    (detail,) = [detail for kind, detail in street.lines() if kind == "verify_clear"]
    assert detail["pictures"][0]["sha256"] == kept.sha256


def sha256(content):
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("answer", "state"), [("clear", "self_corrected"), ("occupied", "noticed"), ("not_seen", "noticed")]
)
def test_a_shop_that_says_done_has_the_camera_look(street, answer, state):
    street.noticed()
    street.act(SHOP, "shop_done")
    with pytest.raises(RefusedError):
        street.act(SHOP, "shop_done")  # once at a time
    street.reply(answer)
    assert street.state() == state
    if state == "noticed":
        assert street.lines()[-1][1]["seen"] == ("occupied" if answer == "occupied" else "unseen")
        street.wait(7)
        assert street.state() == "community"


@pytest.mark.parametrize(("answer", "state"), [("clear", "closed"), ("occupied", "community")])
def test_what_the_community_solved_is_verified_too(street, answer, state):
    street.noticed()
    street.wait(7)
    assert street.act(WANG, "solve").state == "verifying"
    street.reply(answer)
    ticket = street.ticket()
    assert (ticket.state, ticket.outcome) == (state, "community" if state == "closed" else None)


@pytest.mark.parametrize("course", ["shop_done", "solve", "feed_back"])
def test_what_hid_from_the_glance_of_a_camera_comes_up_again(street, course):
    if course == "feed_back":
        case = street.handled()
    else:
        case = street.noticed()
        if course == "solve":
            street.wait(7)
        street.act(SHOP if course == "shop_done" else WANG, course)
    street.reply("clear")
    closed = street.state()
    assert (closed in ("self_corrected", "closed"), street.ticket().present) == (True, 1)
    street.wait(2)
    street.desk.take_any(case.updated(street.now_s))
    street.wait(0.5)
    assert street.state() == closed
    street.wait(1)
    assert (street.state(), street.ticket().round, street.ticket().news) == ("pending_review", 2, 0)
    street.clears(case)  # it was true after all
    assert street.state() == closed


@pytest.mark.parametrize("how", ["cleared", "orphaned", "closed by a person"])
def test_a_glance_stands_where_nothing_speaks_against_it(street, how):
    case = street.handled()
    if how == "closed by a person":
        street.reply("not_seen")
        street.act(LI, "close", reason="picture of the officer")
    else:
        street.reply("clear")
    if how == "cleared":
        street.clears(case)
    elif how == "orphaned":
        street.desk.execute(update(IncidentRow).values(state="orphaned"))
    street.wait(300)
    assert (street.state(), street.ticket().look_ms) == ("closed", None)


def test_a_reply_with_news_of_its_ticket_is_looked_at_at_once(street):
    case = street.handled()
    street.true_s += 1
    (row,) = street.asked()
    reply = street.seen(row, "occupied")
    street.keeper.step()
    assert street.ticket().look_ms > street.now_ms
    street.desk.take_any(reply, case.updated(street.now_s))
    street.keeper.step()
    assert street.state() == "rework"


# overdue


def test_what_is_overdue_is_escalated_level_by_level(street):
    street.appears()
    street.wait(4.9)
    assert street.kinds() == ["alert"]
    street.wait(0.2)
    assert street.kinds() == ["alert", "overdue"]
    street.wait(30)
    assert street.kinds() == ["alert", "overdue", "escalated"]
    street.wait(until="2026-03-03 17:30:30")
    assert street.kinds() == ["alert", "overdue", "escalated", "escalated"]
    street.wait(3 * 24 * 60)
    assert (len(street.orders), street.ticket().level) == (4, 3)
    assert street.steps() == ["escalate"] * 3


def test_the_boss_acts_although_it_was_escalated_meanwhile(street):
    street.appears()
    seen = street.ticket().version
    street.wait(6)
    assert street.act(LI, "confirm", seen=seen).state == "noticed"


def test_nobody_hears_any_more_of_what_has_gone_on(street):
    street.confirmed()
    assert street.withdrawn == [(1, "now: pending_review"), (1, "now: noticed")]


# restarts and clocks


def test_a_restart_loses_no_timer_and_tells_nobody_again(street):
    street.noticed()
    told = dict(street.orders)
    street.desk.store.close()
    street.true_s += 20 * 60  # away over the shop's deadline and beyond the community's
    street.desk.store = open_store(street.desk.url)
    street.restart()
    street.wait()
    assert street.state() == "community"
    assert set(told) <= set(street.orders)
    street.wait(11)
    assert street.ticket().level == 1


@pytest.mark.parametrize("by_s", [3600.0, -3600.0, 86_400.0, -86_400.0])
def test_nothing_fires_on_a_jump_that_is_corrected(street, by_s):
    street.noticed()
    street.wrong_s = by_s
    street.keeper.step()
    street.true_s += SETTLE_S - 1
    assert street.keeper.step() == 0
    street.wrong_s = 0.0
    assert street.keeper.step() == 0
    street.true_s += SETTLE_S + 1
    street.wait()
    assert street.steps() == ["confirm", "told"]
    assert street.keeper.tally.jumps == 2
    jumps = [json.loads(row.detail)["by_s"] for row in street.desk.rows(select(AuditRow)) if row.action == "clock.jump"]
    assert jumps == [by_s, -by_s]


def test_a_jump_that_stays_is_believed_after_a_while(street):
    street.noticed()
    street.wrong_s = 3600.0
    street.keeper.step()
    street.true_s += SETTLE_S + 1
    street.wait()
    assert street.state() == "community"


def test_a_clock_set_back_for_good_forgets_nothing(street):
    street.noticed()
    street.wrong_s = -1800.0
    street.keeper.step()
    street.true_s += SETTLE_S + 1
    street.wait(20)
    assert street.state() == "noticed"
    street.wait(20)
    assert street.state() == "community"
    assert street.kinds("shop") == ["shop_notice", "shop_reminder"]


def test_a_clock_behind_what_was_written_is_not_believed(street):
    street.policy()
    street.wrong_s = -7200.0
    street.restart()
    street.keeper._thread.run = lambda: None  # it is stepped by hand here
    street.appears()
    street.keeper._thread = type("Nobody", (), {"start": lambda _: None})()
    street.keeper.start()
    assert street.keeper.step() == 0
    assert not street.keeper._watch.settled


def test_a_ticket_that_breaks_holds_up_no_other(street):
    def cover(place, _at_ms):
        if place.shop == "shop-1":
            raise RuntimeError("a register that is broken")

    street.cover = cover
    street.desk.take_any(Case(number=1, opened_s=street.now_s - 180).opened(street.now_s))
    street.desk.take_any(Case(number=2, shop="shop-2", opened_s=street.now_s - 180).opened(street.now_s))
    street.keeper.step()
    assert street.keeper.tally.faults == 1
    assert [order.ticket for order, _ in street.orders.values()] == [2]
    street.cover = lambda _place, _at_ms: None
    street.true_s += FAULT_MS / 1000 + 1
    street.wait()
    assert {order.ticket for order, _ in street.orders.values()} == {1, 2}


def test_two_collectors_look_at_each_ticket_once(street):
    for number in range(1, 31):
        case = Case(number=number, shop=f"shop-{number}", opened_s=street.now_s - 180)
        street.desk.take_any(case.opened(street.now_s))
    other = Street.__new__(Street)
    other.__dict__.update(street.__dict__)
    other.desk = type("Desk", (), {"store": open_store(street.desk.url), "files": street.desk.files})()
    other.restart()
    at_once(*(lambda one=one: [one.keeper.step() for _ in range(3)] for one in (street, other)))
    other.desk.store.close()
    assert street.keeper.tally.looks + other.keeper.tally.looks == 30
    assert len(street.orders) == 30
    assert all(look_ms > street.now_ms for look_ms in street.desk.rows(select(Ticket.look_ms)))


def test_deadlines_over_night_count_from_the_morning(desk):
    street = Street(desk, "2026-03-02 22:30:00")
    street.confirmed()
    assert street.ticket().due_ms == round(at("2026-03-03 07:10:00") * 1000)
    street.act(LI, "pass_on", reason="no telephone")
    assert street.ticket().due_ms == round(at("2026-03-03 07:10:00") * 1000)
    street.wait(until="2026-03-03 07:09:00")
    assert street.ticket().level == 0
    street.wait(2)
    assert street.ticket().level == 1

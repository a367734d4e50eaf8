"""Sending: nothing lost, nothing twice, each outcome as it was."""

import logging
from datetime import datetime
from functools import partial
from itertools import pairwise

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from collector.notices import desk as notices_desk
from collector.notices import seams
from collector.notices.orders import Limits
from collector.notices.outcomes import Report
from collector.notices.seams import Recipient
from collector.people.actor import SYSTEM
from collector.store import AuditRow, NoticeAttempt, NoticeLink, NoticeRow, open_store
from collector.tickets import policy
from collector.tickets.policy import Policy, Quiet
from collector.tickets.timekeeper import SETTLE_S, Watch
from tests.collector.conftest import Desk, at_once
from tests.collector.notices.conftest import PAGES, ZONE, Office, awake, opened, section, sms
from tests.collector.notices.servers import Say, Service
from tests.incidents import START_S, Case

OK = Say({"code": 0})


def run(office, seconds=4000, sender=None, step_s=5.0):
    """Let time pass, step by step."""
    sender = sender or office.sender()
    until_s = office.now_s + seconds
    while office.now_s < until_s:
        sender.step(wait=True)
        office.now_s += step_s
    sender.stop()


def test_a_shop_is_told_once(office, service, looks):
    office.order()
    sender = office.sender()
    assert sender.step(wait=True) == 1
    assert sender.step(wait=True) == 0
    assert len(service.got) == 1
    sent = service.got[0].json
    assert sent["to"] == "13800001234"
    assert "王记水果店" in sent["text"]
    assert "https://t.example.cn/s/" in sent["text"]
    found = office.told()
    assert (found.state, found.at_ms, found.count) == ("sent", office.now_ms, 1)
    assert looks == [1]
    (attempt,) = office.attempts()
    assert (attempt.outcome, attempt.address) == ("accepted", "138****1234")
    assert "https://t.example.cn/s/…" in attempt.body
    sender.stop()


CASES = [
    # the service's answers in order, and what it ends as; the last answer holds on
    ([OK], "sent", 1),
    ([Say({"code": 7}), OK], "sent", 2),
    ([Say(b"", 500), Say(b"", 429, {"retry-after": "60"}), OK], "sent", 3),
    ([Say({"code": 7})], "failed", 4),  # it gives up after four tries
    ([Say({"code": 3, "why": "空号"})], "failed", 1),  # a bad number is not tried again
    ([Say(how="cut")], "unsure", 1),
    ([Say({"code": 0, "x": "y" * 80}, how="half")], "unsure", 1),  # it may have said yes
    ([Say(how="hang", wait_s=1.5)], "unsure", 1),
    ([Say({"code": 7}), Say(how="cut")], "unsure", 2),
    ([Say(b"<html>portal")], "unsure", 1),
    ([Say(b"", 302, {"location": "http://x/"})], "failed", 1),
]


@pytest.mark.parametrize(("says", "state", "requests"), CASES)
def test_each_outcome_is_reported_as_what_it_was(office, service, looks, says, state, requests):
    service.say(*says)
    office.order()
    run(office, 600)
    assert (office.told().state, len(service.got)) == (state, requests)
    assert looks
    requested = [got.json["request"] for got in service.got]
    assert len(set(requested)) == len(requested)


def test_the_waits_between_tries_grow_and_are_spread(office, service):
    service.say(Say({"code": 7}))
    office.order()
    run(office, 200, step_s=0.5)
    starts = [attempt.started_ms for attempt in office.attempts()]
    gaps_s = [(later - earlier) / 1000 for earlier, later in pairwise(starts)]
    for gap_s, base_s in zip(gaps_s, (10, 20, 40), strict=True):
        assert base_s <= gap_s <= base_s * 1.3 + 0.5


def test_a_server_that_says_when_is_obeyed(office, service):
    service.say(Say(b"", 429, {"retry-after": "120"}), OK)
    office.order()
    run(office, 300, step_s=1)
    first, second = office.attempts()
    assert second.started_ms - first.started_ms >= 120_000


def test_what_never_left_is_tried_again_without_a_doubt(office, service):
    office.notices = section(sms(service, url="http://127.0.0.1:9/x", tries=2))
    office.order()
    run(office, 100)
    assert office.told().state == "failed"
    assert [one.outcome for one in office.attempts()] == ["unreachable"] * 2
    assert office.told().count == 0


@pytest.mark.parametrize(
    ("when_unsure", "first", "second", "state", "counts"),
    [
        ("person", Say(how="cut"), OK, "unsure", (1, 0)),  # a person decides; the second channel is not used
        ("next", Say(how="cut"), OK, "sent", (1, 1)),
        ("next", Say(how="cut"), Say({"code": 3}), "unsure", (1, 1)),  # not failed: there was a doubt
        ("person", Say({"code": 3}), OK, "sent", (1, 1)),  # refused for good: the next one, at once
        ("person", Say({"code": 7}), OK, "sent", (4, 1)),
    ],
)
def test_a_chain_of_channels(office, service, when_unsure, first, second, state, counts):
    with Service(second) as voice:
        office.notices = section(sms(service, when_unsure=when_unsure), sms(voice, "voice"))
        service.say(first)
        office.order()
        run(office, 600)
        assert (office.told().state, (len(service.got), len(voice.got))) == (state, counts)


def test_nobody_is_reached_without_an_address(office, shops, service):
    shops["shop-1"] = Recipient("王记", "", "", "zh")
    office.order()
    run(office, 10)
    assert (office.told().state, office.notice().code, service.got) == ("failed", "no_address", [])
    shops.clear()
    office.order(key="2")
    run(office, 10)
    assert office.notice("2").state == "failed"


@pytest.mark.parametrize(
    ("changes", "state", "code"),
    [
        ({"expires_ms": round(START_S * 1000) + 90_000}, "expired", "expired"),
        ({"audience": "officer", "kind": "task", "to": "1"}, "failed", "no_route"),
    ],
)
def test_what_is_not_sent_says_why(office, service, changes, state, code):
    office.order(**changes)
    run(office, 10)
    assert (office.notice().state, office.notice().code, service.got) == (state, code, [])


QUIET = Policy(quiet=Quiet(hours=("22:00-07:00",)))


def street_time(text):
    return datetime.fromisoformat(text).replace(tzinfo=ZONE).timestamp()


@pytest.mark.parametrize("case", ["retry", "next channel", "backlog", "again", "expires"])
def test_nothing_goes_out_in_quiet_hours_whatever_it_waited_for(office, service, case):
    office.now_s = street_time("2026-05-29 21:59:30")
    office.desk.write(policy.put, "s", QUIET, SYSTEM, 1)
    with Service(OK) as voice:
        office.notices = section(sms(service, retry_s=600), sms(voice, "voice"))
        more = {"expires_ms": office.now_ms + 3600_000} if case == "expires" else {}
        office.order(**more)
        if case == "retry":
            service.say(Say({"code": 7}), OK)
        elif case == "next channel":
            service.say(Say({"code": 7}))
            office.notices = section(sms(service, retry_s=20, tries=3), sms(voice, "voice"))
        elif case == "again":
            service.say(Say(how="cut"), OK)
            run(office, 5)
            office.now_s += 60
            office.desk.write(notices_desk.decide, SYSTEM, 1, "again", "x", office.now_ms)
        else:
            office.now_s += 60
        run(office, street_time("2026-05-30 06:59:00") - office.now_s, step_s=20)
        in_the_night = [one for one in office.attempts() if one.started_ms >= street_time("2026-05-29 22:00:00") * 1000]
        assert in_the_night == []
        run(office, 200, step_s=20)
        assert office.notice().state == ("expired" if case == "expires" else "sent")


def test_a_clock_that_is_wrong_for_a_moment_sends_nothing(office, service):
    """Past the morning for some seconds, and back: the night's notices stay."""
    true_s = [0.0]
    watch = Watch(lambda: office.now_s, lambda: true_s[0])
    office.order(not_before_ms=office.now_ms + 3600_000)
    sender = office.sender(settled=lambda: watch.settled)
    office.now_s += 7200
    assert sender.step(wait=True) == 0  # nobody has noted the jump yet
    watch.jump_s()
    assert sender.step(wait=True) == 0
    office.now_s -= 7200
    watch.jump_s()
    true_s[0] += SETTLE_S + 1
    office.now_s += SETTLE_S + 1
    assert watch.settled
    assert sender.step(wait=True) == 0
    assert (office.told().state, service.got) == ("waiting", [])
    office.now_s += 3600
    true_s[0] += 3600
    assert sender.step(wait=True) == 1
    sender.stop()


def test_a_notice_whose_ticket_has_ended_is_not_sent(office, service):
    office.order(not_before_ms=office.now_ms + 60_000)
    office.desk.take(cleared())
    run(office, 100)
    assert (office.notice().state, service.got) == ("withdrawn", [])
    assert office.told().state == "none"


def test_a_shop_that_no_longer_has_the_place_is_not_told(office, service, monkeypatch):
    office.order(not_before_ms=office.now_ms + 60_000)
    monkeypatch.setattr(seams, "doubt", lambda _session, _ticket: ("contradiction", "the register says shop-2"))
    run(office, 100)
    assert (office.told().state, service.got) == ("failed", [])
    assert (office.notice().code, office.notice().reason) == ("contradiction", "the register says shop-2")


def test_no_address_is_in_a_log_or_kept_in_full(office, service, caplog):
    routes = [{"audience": "officer", "channels": ["mail", "sms"]}]
    mail = {"id": "mail", "type": "email", "host": "127.0.0.1", "sender": "a@example.org"}
    office.notices = section(mail, sms(service), routes=routes)
    service.say(Say({"code": 3, "why": "no"}))
    office.order(audience="officer", kind="task", to="13912345678")
    with caplog.at_level(logging.DEBUG):
        run(office, 20)
    assert office.notice().state == "failed"
    assert "13912345678" not in caplog.text
    assert "13912345678" not in "".join(one.text + one.address for one in office.attempts()) + office.notice().reason


def cleared():
    return Case(shop="shop-1", seq=1).cleared(START_S + 60)


def test_a_retry_that_would_come_too_late_is_not_made(office, service):
    service.say(Say({"code": 7}), OK)
    office.order(expires_ms=office.now_ms + 5_000)
    run(office, 60)
    assert (office.notice().state, len(service.got)) == ("expired", 1)


def test_no_shop_gets_more_a_day_than_it_may(office, service):
    """Each notice over two channels, each of which loses the answer: the messages count, not the notices."""
    with Service(Say(how="cut")) as voice:
        channels = (sms(service, when_unsure="next"), sms(voice, "voice", when_unsure="next"))
        office.notices = section(*channels, shop_per_day=3)
        service.say(Say(how="cut"))
        for number in range(4):
            office.order(key=str(number), limits=Limits(9, 9))
        run(office, 100)
        assert len(service.got) + len(voice.got) == 3
        states = [office.notice(str(number)).state for number in range(4)]
        assert states.count("unsure") >= 2
        assert set(states) <= {"unsure", "failed"}
        # the next day counts anew
        office.now_s += 86_400
        service.say(OK)
        office.order(key="next", limits=Limits(9, 9))
        run(office, 20)
        assert office.notice("next").state == "sent"


class Crash(BaseException):
    """The power goes."""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_around_the_request_is_unsure_and_never_repeated(office, service, when, looks):
    """`sending` is committed before anything leaves; whether it left is what nobody knows."""
    office.order()
    first = office.sender()
    jobs = first.claim()
    assert office.notice().state == "sending"
    if when == "after":
        jobs[0].channel.send(jobs[0].message, first._tools)
    first._pool.shutdown()
    sent = len(service.got)
    assert sent == (when == "after")
    # another one starts; on PostgreSQL it must wait: the first might be alive
    second = office.sender()
    run(office, 120, second)
    if office.desk.store.shared:
        assert office.notice().state == "sending"
    office.now_s += 120
    third = office.sender()
    run(office, 30, third)
    assert (office.told().state, len(service.got)) == ("unsure", sent)
    assert office.notice().code == "interrupted"
    assert looks == [1]


def test_on_sqlite_a_start_finds_what_was_being_sent(tmp_path, service, shops, looks):
    office = opened(Desk(tmp_path), tmp_path, service)
    office.order()
    office.sender().claim()
    again = office.sender()
    again.start()
    again.stop()
    assert office.told().state == "unsure"
    office.desk.store.close()


def test_an_answer_after_it_was_given_up_counts(office, service):
    """A collector that was held for minutes: its own word is better than none."""
    office.order()
    slow = office.sender()
    (job,) = slow.claim()
    office.now_s += 200
    run(office, 10)
    assert office.told().state == "unsure"
    slow.settle(job, Report("accepted", "0"))
    assert office.told().state == "sent"
    slow.stop()


def test_what_waited_too_long_behind_others_is_not_sent(office, service):
    office.order()
    slow = office.sender()
    (job,) = slow.claim()
    office.now_s += 175
    slow._send(job)
    assert service.got == []
    assert (office.notice().state, office.attempts()[0].code) == ("waiting", "late")
    slow.stop()


def test_a_jumping_clock_does_not_take_what_is_being_sent(office, service):
    office.order()
    sender = office.sender()
    sender.claim()
    office.now_s += 3600
    sender.step(wait=True)
    assert office.notice().state == "sending"
    sender.stop()


def test_two_collectors_at_once_send_each_notice_once(postgres, template, tmp_path, service, shops, looks):
    url = postgres.create(template)
    desk = Desk(tmp_path, url)
    service.say(OK)
    desk.take(*[Case(number=number, shop=f"shop-{number}").opened() for number in range(1, 41)])
    awake(desk.store)
    shops.update({f"shop-{number}": Recipient("", f"1380000{number:04d}", "") for number in range(1, 41)})
    office = Office(desk, tmp_path, section(sms(service)))
    for number in range(1, 41):
        office.order(key=str(number), ticket=number, to=f"shop-{number}")
    others = [Desk(tmp_path, url) for _ in range(3)]
    offices = [Office(one, tmp_path, office.notices) for one in others]
    senders = [one.sender() for one in offices]

    def work(its, sender):
        for _ in range(25):
            sender.step(wait=True)
            its.now_s += 1

    at_once(*(partial(work, *pair) for pair in zip(offices, senders, strict=True)))
    for sender in senders:
        sender.stop()
    numbers = [got.json["to"] for got in service.got]
    assert len(numbers) == len(set(numbers)) == 40
    assert desk.count(NoticeRow, NoticeRow.state == "sent") == 40
    for one in (desk, *others):
        one.store.close()


def room(service, office, tmp_path, **more):
    (tmp_path / "hook").write_text(f"{service.url}/hook?key=k3y-value&access_token=k3y-value")
    robot = {"id": "robot", "type": "wecom", "webhook": "file:hook", **more}
    office.notices = section(robot, routes=[{"audience": "room", "channels": ["robot"]}])
    service.say(Say({"errcode": 0, "errmsg": "ok"}))


def test_a_robot_gets_eighteen_a_minute_and_a_digest(office, service, tmp_path):
    room(service, office, tmp_path)
    for number in range(40):
        office.order(key=str(number), audience="room", kind="alert", to="", text=f"报警{number}")
    sender = office.sender()
    assert sender.step(wait=True) == 18
    texts = [got.json["text"]["content"] for got in service.got]
    assert len(texts) == 18
    assert [text.count("报警") for text in texts] == [1] * 16 + [20, 4]
    assert texts[-2].startswith("20 条提醒合并：")
    assert max(len(text.encode()) for text in texts) <= 2048
    # the minute is full
    office.order(key="40", audience="room", kind="alert", to="", text="报警40")
    assert sender.step(wait=True) == 0
    assert office.notice("40").state == "waiting"
    office.now_s += 61
    assert sender.step(wait=True) == 1
    sender.stop()
    texts = "\n".join(got.json["text"]["content"] for got in service.got)
    for number in range(41):
        assert texts.count(f"报警{number}\n") + texts.endswith(f"报警{number}") == 1
        assert office.notice(str(number)).state == "sent"


def test_a_flood_stays_within_the_minute_and_whole(office, service, tmp_path):
    room(service, office, tmp_path)
    sender = office.sender()
    for second in range(70):
        for number in range(3):
            office.order(key=f"{second}/{number}", audience="room", kind="alert", to="", text=f"<{second}.{number}>")
        sender.step(wait=True)
        office.now_s += 1
    for _ in range(65):
        sender.step(wait=True)
        office.now_s += 1
    sender.stop()
    starts = sorted({(one.request, one.started_ms) for one in office.attempts()}, key=lambda pair: pair[1])
    times = [at_ms for _, at_ms in starts]
    for first, last in zip(times, times[18:], strict=False):
        assert last - first >= 60_000
    assert set(office.desk.rows(select(NoticeRow.state))) == {"sent"}
    texts = "".join(got.json["text"]["content"] for got in service.got)
    assert all(f"<{second}.{number}>" in texts for second in range(70) for number in range(3))


def test_a_robot_closed_for_ten_minutes_gets_all_of_it_later(office, service, tmp_path):
    room(service, office, tmp_path, type="dingtalk")
    service.say(Say({"errcode": 130101, "errmsg": "send too fast"}), Say({"errcode": 0, "errmsg": "ok"}))
    office.order(audience="room", kind="alert", to="")
    run(office, 590)
    assert (office.notice().state, len(service.got)) == ("waiting", 1)
    run(office, 300)
    assert (office.notice().state, len(service.got)) == ("sent", 2)


def test_a_quota_that_is_full_holds_up_nobody_else(office, service):
    """A hundred wait for a slow channel; one for another comes through."""
    with Service(OK) as other:
        routes = [
            {"audience": "shop", "channels": ["slow"]},
            {"audience": "officer", "channels": ["other"], "to": ["13900000000"]},
        ]
        channels = (sms(service, "slow", per_minute=1), sms(other, "other"))
        office.notices = section(*channels, routes=routes, shop_per_day=50)
        for number in range(110):
            office.order(key=str(number), limits=Limits(999, 999))
        office.order(key="x", audience="officer", kind="task", to="")
        run(office, 5, step_s=0.5)
        assert office.notice("x").state == "sent"
        assert len(service.got) == 1


def reporting(service, office, **more):
    (office.folder / "key").write_text("LTAI-key")
    (office.folder / "secret").write_text("s3cret-value")
    template = [{"code": "SMS_1", "variable": [{"name": "token", "value": "{token}"}]}]
    account = {"key_id": "file:key", "key_secret": "file:secret", "sign": "小河街道", "template": template}
    cloud = {"id": "ali", "type": "aliyun_sms", "url": service.url, "timeout_s": 1}
    office.notices = section(cloud | account | more)


def detail(status, code="X"):
    return Say({"Code": "OK", "SmsSendDetailDTOs": {"SmsSendDetailDTO": [{"SendStatus": status, "ErrCode": code}]}})


ACCEPTED = Say({"Code": "OK", "BizId": "b1"})


@pytest.mark.parametrize(
    ("reports", "more", "seconds", "state"),
    [
        ([detail(3)], {}, 60, "delivered"),
        ([detail(1), detail(1), detail(3)], {}, 200, "delivered"),
        ([detail(2)], {}, 60, "failed"),  # accepted, and never delivered
        ([detail(1)], {}, 400, "unsure"),  # no word within five minutes
        ([Say(b"", 500), detail(3)], {}, 100, "delivered"),
        ([detail(1)], {"told": "accepted"}, 60, "sent"),
        ([detail(2)], {"told": "accepted"}, 60, "failed"),  # taken back: it never came
    ],
)
def test_a_delivery_report_decides(office, service, looks, reports, more, seconds, state):
    reporting(service, office, **more)
    service.say(ACCEPTED, *reports)
    office.order()
    sender = office.sender()
    sender.step(wait=True)
    assert office.told().state == ("sent" if more else "waiting")
    run(office, seconds, sender)
    assert office.told().state == state
    assert looks
    sends = [got for got in service.got if got.headers["x-acs-action"] == "SendSms"]
    assert len(sends) == 1
    (attempt,) = office.attempts()
    if state in ("delivered", "failed"):
        assert "****" in attempt.address  # in full only as long as it is asked for


def test_a_report_that_comes_late_still_counts(office, service):
    reporting(service, office)
    service.say(ACCEPTED, detail(1))
    office.order()
    run(office, 400)
    assert office.told().state == "unsure"
    service.say(detail(3))
    run(office, 1000)
    found = office.told()
    assert found.state == "delivered"
    assert found.at_ms > START_S * 1000 + 400_000


@pytest.mark.parametrize(("decision", "state"), [("told", "sent"), ("again", "sent"), ("failed", "failed")])
def test_a_person_decides_where_nobody_knows(office, service, looks, decision, state):
    service.say(Say(how="cut"), OK)
    office.order()
    run(office, 60)
    office.desk.write(notices_desk.decide, SYSTEM, 1, decision, "致电确认", office.now_ms)
    run(office, 60)
    assert office.told().state == state
    assert len(service.got) == (2 if decision == "again" else 1)
    assert office.desk.rows(select(AuditRow.action)) == ["notice.decide"]
    assert len(looks) >= 2


def test_only_what_is_open_can_be_decided(office, service):
    office.order()
    for number, decision, reason, words in (
        (9, "told", "x", "there is none with number 9"),
        (1, "told", "x", "this one is waiting"),
        (1, "maybe", "x", "expected one of told, again, failed"),
    ):
        with pytest.raises(notices_desk.DecisionError, match=words), office.desk.store.writing() as session:
            notices_desk.decide(session, SYSTEM, number, decision, reason, 0)


def echo(got):
    """Some gateways repeat all that they were sent."""
    return Say({"code": 5, "why": f"13800001234 s3cret-value {got.json['text'][-60:]}"})


def test_a_link_is_in_no_log_and_in_no_table(office, service, caplog):
    caplog.set_level(logging.DEBUG)
    (office.folder / "secret").write_text("s3cret-value")
    office.notices = section(
        sms(service, secrets={"k": "file:secret"}, headers={"x-key": "{secret.k}"}, text_path="why")
    )
    service.say(Say({"code": 5, "why": "bad number 13800001234 with key s3cret-value"}))
    service.before = lambda got: service.says.__setitem__(0, echo(got))
    office.order()
    run(office, 30)
    token = service.got[0].json["text"].partition("/s/")[2][:22]
    assert len(token) == 22
    tables = [str(vars(row)) for table in (NoticeRow, NoticeAttempt) for row in office.desk.rows(select(table))]
    assert office.desk.count(NoticeLink) == 0  # it was refused: nobody has this link
    everything = "\n".join([caplog.text, *tables])
    for secret in (token, "s3cret-value", "13800001234"):
        assert secret not in everything


def test_each_message_has_its_own_link(office, service):
    service.say(Say({"code": 7}), OK)
    office.order()
    run(office, 60)
    first, second = [got.json["text"].partition("/s/")[2][:22] for got in service.got]
    assert first != second
    assert office.desk.count(NoticeLink) == 1


def test_a_broken_channel_is_unsure_and_others_go_on(office, service, monkeypatch):
    def broken(self, message, tools):
        raise ValueError("our own fault")

    monkeypatch.setattr(type(office.notices.channel[0]), "send", broken)
    office.order()
    run(office, 20)
    assert (office.told().state, office.attempts()[0].code) == ("unsure", "fault")


def test_without_pages_a_notice_names_the_telephone(office, service):
    office.pages = PAGES.model_copy(update={"listen": None, "url": None})
    office.notices = section(sms(service), contact="0571-8888")
    office.order()
    run(office, 10)
    assert "如有异议请致电0571-8888" in service.got[0].json["text"]


def test_a_store_that_comes_back_goes_on(postgres, template, tmp_path, service, shops, looks):
    """The database goes away as an answer comes: it is written once it is back."""
    desk = Desk(tmp_path, postgres.create(template))
    office = opened(desk, tmp_path, service)
    office.order()
    sender = office.sender()
    settle, faults = sender.settle, []

    def failing(job, report):
        if len(faults) < 2:
            faults.append(1)
            raise OperationalError("x", {}, Exception("gone"))
        settle(job, report)

    sender.settle = failing
    sender.step(wait=True)
    assert (office.told().state, len(faults), len(service.got)) == ("sent", 2, 1)
    sender.stop()
    desk.store.close()
    open_store(desk.url).close()


def test_what_was_claimed_and_not_begun_goes_back(office, service):
    office.order()
    sender = office.sender()
    (job,) = sender.claim()
    sender.stop()
    sender._send(job)
    assert service.got == []
    assert (office.notice().state, office.attempts()[0].code) == ("waiting", "stopping")
    run(office, 30)
    assert office.told().state == "sent"

"""Webhooks against real receivers: one that takes, fails, hangs, answers twice, points elsewhere, comes back."""

import base64
import hashlib
import hmac
import json
import random
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from sqlalchemy import select

from collector.exchange import webhooks
from collector.exchange.courier import BATCH, LEASE_MS, TIMEOUT_S, WAITS_S, Courier
from collector.exchange.reports import Report, take
from collector.exchange.webhooks import WebhookError
from collector.people.actor import SYSTEM
from collector.people.vault import Vault
from collector.places.codes import load_codes
from collector.store import DeliveryRow, Ticket, TicketEvent, WebhookRow
from tests.collector.tickets.conftest import LI
from tests.people import bearer, browser, make_pages, make_person

CODES = load_codes()
HOME = ("127.0.0.0/8",)


class Receiver(ThreadingHTTPServer):
    """Takes what comes; `answer` says how it answers: a status, or a function of the handler."""

    daemon_threads = True

    def __init__(self, answer=200):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer, self.came, self.headers = answer, [], {}
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/hook"

    @property
    def ids(self):
        return [headers["webhook-id"] for headers, _ in self.came]

    @property
    def kinds(self):
        return [json.loads(body)["data"]["kind"] for _, body in self.came]


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.came.append((dict(self.headers), body))
        answer = self.server.answer
        if callable(answer):
            answer = answer(self)
        if answer is None:
            return
        self.send_response(answer)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Post:
    """A street, its courier, and receivers that have subscribed."""

    def __init__(self, street, **options):
        self.street, self.desk, self.vault, self.receivers = street, street.desk, Vault(), []
        self.options = {"networks": HOME, "timeout_s": 1.0, "chance": random.Random(1)} | options
        self.restart()

    def restart(self):
        store, now_ms = self.desk.store, lambda: self.street.now_ms
        self.courier = Courier(store, self.vault, "demo", CODES, now_ms=now_ms, **self.options)

    def subscribe(self, answer=200, *kinds, url=None, at=""):
        receiver = Receiver(answer)
        self.receivers.append(receiver)
        wanted = (url or receiver.url, kinds, at, self.street.now_ms)
        made = self.desk.write(webhooks.add, SYSTEM, self.vault, *wanted)
        receiver.id, receiver.secret = made.id, made.secret
        return receiver

    def go(self, minutes=0.0):
        """Let the courier do all that is due, after so many minutes."""
        self.street.true_s += minutes * 60
        while self.courier.step():
            self.courier.settle()

    def report(self, address="示例路 1 号"):
        said = Report("grid", "0504", "s", "老板说不搬 13800000000", address=address)
        self.desk.write(take, LI, said, CODES, self.street.now_ms)

    def row(self, receiver):
        return self.rows(receiver)[0]

    def rows(self, receiver):
        query = select(DeliveryRow).where(DeliveryRow.webhook_id == receiver.id).order_by(DeliveryRow.event_id)
        return self.desk.rows(query)


@pytest.fixture
def post(street):
    found = Post(street)
    yield found
    found.courier.stop()
    for one in found.receivers:
        one.shutdown()
        one.server_close()


def test_ticket_events_come_signed_as_cloud_events_without_peoples_words(post):
    receiver = post.subscribe()
    post.report()
    post.street.act(LI, "confirm", reason="张三 was there")
    post.go()
    assert receiver.kinds == ["reported", "confirm"]
    for headers, body in receiver.came:
        # checked as a receiver would, from what Standard Webhooks say
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        key = base64.b64decode(receiver.secret.removeprefix("whsec_"))
        expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == f"v1,{expected}"
        assert abs(int(headers["webhook-timestamp"]) - post.street.now_s) < 5
        event = json.loads(body)
        assert (event["specversion"], event["id"], event["subject"]) == ("1.0", headers["webhook-id"], "ticket/1")
        assert event["data"]["code"] == "0504"
        for secret in ("13800000000", "张三", "示例路", "李", "person:li"):
            assert secret not in body.decode()
    assert {one.state for one in post.rows(receiver)} == {"sent"}


def test_each_gets_what_it_subscribed_to_and_nobody_what_was_rolled_back(post):
    everything, some, elsewhere = post.subscribe(), post.subscribe(200, "reported"), post.subscribe(at="other")
    post.report()
    with post.desk.store.writing() as session:
        take(session, LI, Report("grid", "0504", "s", address="1"), CODES, post.street.now_ms)
        session.rollback()
    case = post.street.appears()
    post.desk.take_any(case.updated(post.street.now_s))
    post.go()
    assert set(everything.kinds) >= {"reported", "opened"}
    assert "incident_updated" not in everything.kinds  # what changes nothing only where it is named
    assert some.kinds == ["reported"]
    assert elsewhere.came == []


def test_a_failing_receiver_is_tried_for_a_day_then_parked_and_replayed(post):
    receiver = post.subscribe(500)
    begin_s = post.street.true_s
    post.report()
    gaps = []
    for wait_s in (0, *WAITS_S):
        post.go(wait_s * 1.3 / 60)
        gaps.append(post.row(receiver).due_ms / 1000 - post.street.now_s)
    assert len(receiver.came) == len(WAITS_S) + 1
    assert len(set(receiver.ids)) == 1
    assert len({body for _, body in receiver.came}) == 1
    for gap_s, wait_s in zip(gaps, WAITS_S, strict=False):
        assert wait_s <= gap_s + 1 <= wait_s * 1.21 + 2
    assert 20 * 3600 < post.street.true_s - begin_s < 40 * 3600
    assert post.row(receiver).state == "parked"
    assert post.row(receiver).said.startswith("500")
    post.go(24 * 60)
    assert len(receiver.came) == len(WAITS_S) + 1
    receiver.answer = 204
    again = {"message": receiver.ids[0]}
    assert post.desk.write(webhooks.replay, SYSTEM, receiver.id, post.street.now_ms, **again) == 1
    post.go()
    assert post.row(receiver).state == "sent"


def test_a_receiver_that_hangs_holds_up_no_other(post):
    silent = threading.Event()
    hanging = [post.subscribe(lambda _: silent.wait(20) and None) for _ in range(3)]
    drip = lambda handler: [handler.wfile.write(b"H") or time.sleep(0.2) for _ in range(40)] and None  # noqa: E731
    dripping = post.subscribe(drip)
    good = post.subscribe()
    post.report()
    began_s = time.monotonic()
    post.courier.step()
    while post.row(good).state != "sent":
        time.sleep(0.02)
    assert time.monotonic() - began_s < 0.9, "the good one waited for those that hang"
    post.courier.settle()
    assert time.monotonic() - began_s < 5
    silent.set()
    for one in (*hanging, dripping):
        assert post.row(one).state == "waiting"
        assert post.row(one).tries == 1


def test_a_receiver_that_took_it_and_failed_gets_it_again_by_the_same_id(post):
    """It answers twice, as it were: once it keeps the message and breaks off, once it answers."""
    receiver = post.subscribe(lambda handler: None if len(handler.server.came) == 1 else 200)
    post.report()
    post.go()
    post.go(1)
    assert len(receiver.came) == 2
    assert len(set(receiver.ids)) == 1
    post.go(60 * 24)
    assert len(receiver.came) == 2


def test_an_answer_that_comes_twice_counts_once(post):
    def twice(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n" * 2)

    receiver = post.subscribe(twice)
    post.report()
    post.go()
    assert [one.state for one in post.rows(receiver)] == ["sent"]


def test_what_a_dying_collector_tried_is_tried_again(post):
    receiver = post.subscribe()
    post.report()
    post.courier._try = lambda *_: (_ for _ in ()).throw(RuntimeError("killed"))
    post.go()
    assert receiver.came == []
    post.restart()
    post.go()
    assert receiver.came == []  # another one may still be at it
    post.go(LEASE_MS / 60_000)
    assert len(receiver.came) == 1


def test_a_batch_is_claimed_for_longer_than_it_can_take():
    assert LEASE_MS > BATCH * TIMEOUT_S * 1000


@pytest.mark.parametrize(("status", "at_once"), [(422, 3), (500, 0), (429, 0)])
def test_what_a_receiver_refuses_holds_up_nothing_else(post, status, at_once):
    receiver = post.subscribe(lambda handler: status if handler.server.ids[0] == handler.server.ids[-1] else 200)
    for _ in range(4):
        post.report()
    post.go()
    assert [one.state for one in post.rows(receiver)].count("sent") == at_once
    post.go(0.1)
    assert [one.state for one in post.rows(receiver)] == ["waiting", "sent", "sent", "sent"]
    assert [webhooks.event_of(one) for one in receiver.ids] == [1, 2, 3, 4, 1], "new ones go first"


def test_a_host_that_is_no_name_is_a_failed_try(post):
    receiver = post.subscribe(url=f"https://{'a' * 64}.cn/")
    post.report()
    post.go()
    assert [(one.tries, one.said.partition(":")[0]) for one in post.rows(receiver)] == [(1, "no_connection")]


@pytest.mark.parametrize("address", ["64:ff9b::a00:1", "2002:a00:1::1", "::10.0.0.1", "::ffff:10.0.0.1", "10.0.0.1"])
def test_addresses_that_hold_another_one_are_not_called(post, address):
    assert not post.courier._line.peer(address)
    assert post.courier._line.peer("2400:3200::1")


def test_a_restored_center_uses_no_id_twice(post):
    post.report()
    with post.desk.store.transaction() as session:
        line, ticket = session.get_one(TicketEvent, 1), session.get_one(Ticket, 1)
        first = webhooks.message("demo", line, ticket, None)
        line.at_ms += 1
        assert webhooks.message("demo", line, ticket, None).id != first.id
        session.rollback()
    assert [webhooks.event_of(one) for one in (first.id, "evt_1", "evt_-5")] == [1, 1, 0]


def test_two_collectors_send_each_message_once(post):
    if not post.desk.store.shared:
        pytest.skip("SQLite has one collector")
    receiver = post.subscribe()
    for _ in range(30):
        post.report()
    other = Post(post.street)
    other.vault = post.vault
    other.restart()
    for _ in range(6):
        post.courier.step()
        other.courier.step()
        post.courier.settle()
        other.courier.settle()
    other.courier.stop()
    assert Counter(Counter(receiver.ids).values()) == {1: 30}


def test_no_redirect_is_followed_and_410_ends_a_subscription(post):
    elsewhere = post.subscribe(200, "picture")
    receiver = post.subscribe(307)
    receiver.headers = {"location": elsewhere.url}
    gone = post.subscribe(410)
    post.report()
    post.go()
    assert elsewhere.came == []
    assert post.row(receiver).said.startswith("307")
    assert post.desk.get(WebhookRow, gone.id).active == 0
    post.report()
    post.go(60)
    assert len(gone.came) == 1


def test_a_receiver_says_how_long_to_wait(post):
    receiver = post.subscribe(429)
    receiver.headers = {"retry-after": "1200"}
    post.report()
    post.go()
    assert post.row(receiver).due_ms / 1000 - post.street.now_s > 1190


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/", "https://localhost:{port}/", "http://[::1]:{port}/"])
def test_an_address_in_no_named_network_is_told_nothing(street, url):
    post = Post(street, networks=())
    receiver = post.subscribe(url="https://example.invalid/")
    with street.desk.store.writing() as session:
        session.get_one(WebhookRow, receiver.id).url = url.format(port=receiver.server_port)
    post.report()
    post.go()
    assert receiver.came == []
    assert post.row(receiver).said.partition(":")[0] in ("address", "no_connection")  # nobody may listen at ::1
    post.courier.stop()


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://example.cn/", "http://example.cn/", "https://", "https://li:pw@example.cn/", "https://a b/"),
        *("https://example.cn/#x", "file:///etc/passwd", "https://example.cn:port/", "http://8.8.8.8/", "x" * 600),
        *("https://[::1/", "https://例子.cn/"),
    ],
)
def test_what_is_no_address_of_a_receiver_is_refused(url):
    with pytest.raises(WebhookError, match="expected https"):
        webhooks.check_url(url)


def test_the_past_is_replayed_from_an_instant_and_old_lines_go(post):
    post.report()
    receiver = post.subscribe(200, "reported")
    from_ms = post.street.now_ms - 60_000
    with post.desk.store.writing() as session:
        assert webhooks.replay(session, SYSTEM, receiver.id, post.street.now_ms, from_ms=from_ms) == 1
        with pytest.raises(WebhookError, match="30 days"):
            webhooks.replay(session, SYSTEM, receiver.id, post.street.now_ms, from_ms=1)
        with pytest.raises(WebhookError, match="nothing"):
            webhooks.replay(session, SYSTEM, receiver.id, post.street.now_ms, message="evt_999")
    post.go()
    assert receiver.kinds == ["reported"]
    post.go(31 * 24 * 60)
    assert post.desk.count(DeliveryRow) == 0
    assert post.desk.count(TicketEvent) > 0


def test_secrets_are_sealed_and_rotate_with_the_vault(post):
    receiver = post.subscribe()
    with post.desk.store.writing() as session:
        kept = session.get_one(WebhookRow, receiver.id).secret
        assert receiver.secret not in kept
        post.vault.add_key()
        assert post.vault.rotate(session) == 1
    post.vault.drop_old_keys()
    post.report()
    post.go()
    assert len(receiver.came) == 1


def test_programs_subscribe_each_to_their_own_streets(post):
    desk = post.desk
    app = make_pages(desk)
    for person, role in (("root", "admin"), ("boss", "admin@s"), ("li", "operator@s")):
        make_person(desk.store, person, role)
    client = browser(app)
    root, boss = (bearer(desk.store, one) for one in ("root", "boss"))
    wanted = {"url": "https://platform.example.cn/x", "kinds": ["confirm"]}
    assert client.post("/api/webhooks", json=wanted, headers=bearer(desk.store, "li")).status_code == 403
    assert client.post("/api/webhooks", json=wanted, headers=boss).status_code == 403
    made = client.post("/api/webhooks", json=wanted | {"street": "s"}, headers=boss)
    assert made.status_code == 201, made.text
    assert made.json()["secret"].startswith("whsec_")
    client.post("/api/webhooks", json=wanted, headers=root)
    (own,) = client.get("/api/webhooks", headers=boss).json()
    assert "secret" not in own
    assert len(client.get("/api/webhooks", headers=root).json()) == 2
    other = next(one["id"] for one in client.get("/api/webhooks", headers=root).json() if one["street"] is None)
    assert client.delete(f"/api/webhooks/{other}", headers=boss).status_code == 404
    assert client.post(f"/api/webhooks/{own['id']}/replay", json={}, headers=boss).status_code == 422
    assert client.delete(f"/api/webhooks/{own['id']}", headers=boss).json() == {"removed": True}

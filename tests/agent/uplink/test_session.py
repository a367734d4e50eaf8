"""The session against real brokers."""

import json
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from agent.settings import CenterSection
from agent.uplink.flight import WINDOW
from agent.uplink.outbox import IncidentRow, Outbox, Outgoing
from agent.uplink.retained import Retained
from agent.uplink.session import Sent, Session
from protocol.broker import BrokerError, BrokerLine, mqtt_client, probe
from protocol.instants import from_epoch, rfc3339
from protocol.messages import BoxStatus, CameraState
from tests import services
from tests.services import wait_for

TOPIC = "cityeye/1/s/box-1/incident/cam-1"
STATUS = BoxStatus(state="online", boot_id="b", version="1", public_key="k")


class Center:
    """A client that listens to everything and may answer."""

    def __init__(self, port):
        self.messages = []
        self.answering = True
        self.ahead_s = 0.0
        self.pace_s = 0.0
        self._got = threading.Event()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="center", protocol=mqtt.MQTTv5)
        self.client.on_connect = lambda client, *_: client.subscribe("cityeye/#", qos=1)
        self.client.on_subscribe = lambda *_: self._got.set()
        self.client.on_message = self._take
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert self._got.wait(10)

    def _take(self, _client, _data, message):
        time.sleep(self.pace_s)
        self.messages.append(message)
        if self.answering and "/incident/" in message.topic:
            text = message.payload.decode()
            self.answer(
                stored=[json.loads(text)["id"] if text.startswith("{") else text],
                at=rfc3339(from_epoch(time.time() + self.ahead_s)),
            )

    def answer(self, **answer):
        self.client.publish("cityeye/1/s/box-1/ack", json.dumps(answer), qos=1)

    def on(self, leaf):
        return [one for one in self.messages if f"/box-1/{leaf}" in one.topic]

    def states(self):
        return [json.loads(one.payload)["data"]["state"] for one in self.on("status")]

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


@contextmanager
def center(port):
    listening = Center(port)
    try:
        yield listening
    finally:
        listening.close()


@pytest.fixture
def outbox(tmp_path):
    box = Outbox(tmp_path / "outbox.db", time.time)
    yield box
    box.close()


def put(outbox, *names):
    for name in names:
        row = IncidentRow(name[:20], "cam-1", "z", "encroachment", "p", True, '{"seq": 1}')
        message = Outgoing(name, "incident", TOPIC, name.encode(), "application/json")
        with outbox.sealing() as ledger:
            ledger.commit(row, [message], None)


@contextmanager
def session(broker, outbox, **more):
    one = Session(CenterSection(url=broker.url), Path(), "s", "box-1", outbox, STATUS, time.time, **more)
    one.start()
    try:
        yield one
    finally:
        one.stop()


def test_messages_go_out_and_leave_the_outbox_when_the_center_has_them(broker, outbox):
    with center(broker.port) as listening, session(broker, outbox):
        put(outbox, *(f"m{n}" for n in range(3 * WINDOW)))
        wait_for(lambda: outbox.figures().waiting == 0, "all are stored")
        assert sorted(one.payload.decode() for one in listening.on("incident")) == sorted(
            f"m{n}" for n in range(3 * WINDOW)
        )


def test_a_brokers_acknowledgement_is_not_delivery(broker, outbox):
    """The broker takes a message; as the center does not answer, it is sent again after its time."""
    ahead = [0.0]
    with center(broker.port) as listening, session(broker, outbox, monotonic=lambda: time.monotonic() + ahead[0]):
        listening.answering = False
        put(outbox, "m1")
        wait_for(lambda: len(listening.on("incident")) == 1, "it came once")
        assert outbox.figures().waiting == 1
        ahead[0] = 60.0
        listening.answering = True
        put(outbox, "m2")  # wakes the sender
        wait_for(lambda: outbox.figures().waiting == 0, "both are stored")
        assert [one.payload.decode() for one in listening.on("incident")].count("m1") == 2


def test_what_the_center_refuses_is_parked(broker, outbox):
    with center(broker.port) as listening, session(broker, outbox):
        listening.answering = False
        put(outbox, "m1")
        wait_for(lambda: listening.on("incident"), "it came")
        listening.answer(refused=[{"id": "m1", "code": "invalid", "text": "no"}])
        wait_for(outbox.parked, "it is parked")
        assert outbox.figures().waiting == 0


def test_garbage_on_the_ack_topic_is_ignored(broker, outbox, caplog):
    with center(broker.port) as listening, session(broker, outbox):
        put(outbox, "m0")
        wait_for(lambda: outbox.figures().waiting == 0, "it listens")
        for garbage in (b"", b"\xff\xfe", b"[]", b'{"stored": 3}', b"x" * 100_000):
            listening.client.publish("cityeye/1/s/box-1/ack", garbage, qos=1)
        put(outbox, "m1")
        wait_for(lambda: outbox.figures().waiting == 0, "it goes on")
    assert "ignored" in caplog.text


def test_other_leaves_are_handed_over_and_answered(broker, outbox, caplog):
    taken = []
    handlers = {"command": taken.append, "settings/desired": lambda payload: taken.append(json.loads(payload))}
    with center(broker.port) as listening, session(broker, outbox, handlers=handlers) as line:
        wait_for(lambda: listening.states() == ["online"], "online")
        listening.client.publish("cityeye/1/s/box-1/settings/desired", b"no json", qos=1)
        listening.client.publish("cityeye/1/s/box-1/settings/desired", b"[1]", qos=1)
        wait_for(lambda: taken == [[1]], "a handler that fails stops nothing")
        listening.client.publish("cityeye/1/s/box-1/command", b"c", qos=1)
        wait_for(lambda: taken == [[1], b"c"], "commands")
        assert line.publish("settings/reported", b"r", retain=True)
        wait_for(lambda: [one.payload for one in listening.on("settings/reported")] == [b"r"], "reported")
    assert "no json" in caplog.text
    assert not line.publish("reply", b"late")


def test_what_comes_in_before_the_agent_is_loaded_waits_for_it(broker, outbox):
    taken = []
    with center(broker.port) as listening, session(broker, outbox) as line:
        wait_for(lambda: listening.states() == ["online"], "online")
        for payload in (b"1", b"2"):
            listening.client.publish("cityeye/1/s/box-1/command", payload, qos=1)
        wait_for(lambda: len(line._early) == 2, "both are here")
        line.attend({"command": taken.append})
        assert taken == [b"1", b"2"]
        listening.client.publish("cityeye/1/s/box-1/command", b"3", qos=1)
        wait_for(lambda: taken == [b"1", b"2", b"3"], "what comes later")


def test_the_broker_dies_and_comes_back(broker, outbox):
    with session(broker, outbox) as line:
        wait_for(lambda: line.connected, "connected")
        broker.kill()
        wait_for(lambda: not line.connected, "noticed")
        put(outbox, "m1")
        broker.start()
        with center(broker.port):
            wait_for(lambda: outbox.figures().waiting == 0, "it came through", 40)


def test_status_is_retained_and_the_last_will_speaks(broker, outbox, tmp_path):
    with center(broker.port) as listening:
        with session(broker, outbox) as line:
            wait_for(lambda: listening.states() == ["online"], "online")
            line.publish_camera(CameraState(camera="cam-1", state="live", since=from_epoch(5)))
            wait_for(lambda: listening.on("camera"), "the camera's state")
        wait_for(lambda: listening.states()[-1] == "stopped", "a good-bye")
        with session(broker, outbox) as line:
            wait_for(lambda: line.connected, "connected")
            # the line is cut without a word
            line._client.socket().shutdown(2)
            wait_for(lambda: "offline" in listening.states(), "the last will", 40)
    with center(broker.port) as late:
        wait_for(lambda: late.on("camera") and late.states(), "both are retained")
        assert all(one.retain for one in late.on("camera"))


def test_a_broker_that_forbids_a_topic_parks_its_messages(tmp_path, outbox):
    """With MQTT 3.1.1 this would be acknowledged as if it were fine."""
    acl = "topic readwrite cityeye/1/s/box-1/status\ntopic readwrite cityeye/1/s/box-1/ack\n"
    with services.Broker("mosquitto", tmp_path / "broker", acl) as broker, session(broker, outbox):
        put(outbox, "m1")
        wait_for(outbox.parked, "it is parked")
        assert "allowed to write" in outbox.parked()[0].why


def test_what_the_broker_refuses_beside_incidents_is_told_and_counted(tmp_path, outbox, caplog):
    acl = "topic readwrite cityeye/1/s/box-1/status\ntopic readwrite cityeye/1/s/box-1/ack\n"
    told = "the broker refuses this box's {}: Not authorized"
    with services.Broker("mosquitto", tmp_path / "broker", acl) as broker, session(broker, outbox) as line:
        for number, leaf in enumerate(("reply", "settings/reported"), 1):
            wait_for(lambda leaf=leaf: line.publish(leaf, b"r"), "connected; mosquitto breaks the line each time")
            wait_for(lambda number=number: line.refused_publishes == number, "it is refused")
            assert caplog.text.count(told.format(leaf)) == 1
    acl = acl.replace("/status", "/other")
    with services.Broker("mosquitto", tmp_path / "other", acl) as broker, session(broker, outbox):
        wait_for(lambda: told.format("status") in caplog.text, "it is refused")
    assert outbox.parked() == []


def test_what_was_on_its_way_when_the_line_broke_goes_out_on_the_next(broker, outbox):
    """Pictures of a command are in no outbox, and their reply comes after them."""
    with services.Proxy(broker.port) as proxy, center(broker.port) as listening, session(proxy, outbox) as line:
        wait_for(lambda: listening.states() == ["online"], "online")
        proxy.swallowing = True
        assert line.publish("evidence", b"jpeg", camera="cam-1", user=[("command", "c1")])
        assert line.publish("reply", b"r")
        time.sleep(0.3)
        proxy.swallowing = False
        proxy.cut()
        wait_for(lambda: listening.on("reply"), "the reply")
        came = [one.payload for one in listening.messages if "/evidence/" in one.topic or one.topic.endswith("/reply")]
        assert came == [b"jpeg", b"r"]


def camera_state(camera):
    return CameraState(camera=camera, state="live", since=from_epoch(5))


def told_retained(broker):
    """Of which cameras the broker holds a state."""
    with center(broker.port) as late:
        wait_for(late.states, "what is retained")
        time.sleep(0.2)
        return {one.topic.rpartition("/")[2] for one in late.on("camera") if one.payload}


def test_a_camera_that_went_while_the_line_was_down_is_taken_back(broker, outbox, tmp_path):
    retained = Retained(tmp_path)
    with services.Proxy(broker.port) as proxy:
        with session(proxy, outbox, retained=retained) as line:
            wait_for(lambda: line.connected, "connected")
            for name in ("cam-1", "cam-2", "cam-3", "cam-4"):
                line.publish_camera(camera_state(name))
            line.forget_camera("cam-4")
            wait_for(lambda: retained.cameras() == {"cam-1", "cam-2", "cam-3"}, "the broker says so")
            proxy.cut()
            wait_for(lambda: not line.connected, "noticed")
            line.forget_camera("cam-1")
            line.forget_camera("cam-2")
            line.publish_camera(camera_state("cam-2"))  # it is there again
            wait_for(lambda: retained.cameras() == {"cam-2", "cam-3"}, "the broker says so")
            assert told_retained(broker) == {"cam-2", "cam-3"}
        # one that went while the agent was not running
        with session(proxy, outbox, retained=Retained(tmp_path)) as line:
            line.forget_camera("cam-3")
            wait_for(lambda: Retained(tmp_path).cameras() == {"cam-2"}, "the broker says so")
            assert told_retained(broker) == {"cam-2"}


def test_a_damaged_list_of_cameras_is_begun_anew(tmp_path):
    for text in ("{", "3", '["cam-1", "#", 4]'):
        (tmp_path / "retained.json").write_text(text)
        assert Retained(tmp_path).cameras() == ({"cam-1"} if "cam" in text else set())


def mosquitto(tmp_path, more):
    return services.Broker("mosquitto", tmp_path / "broker", more=more)


@pytest.mark.parametrize(
    ("limit", "why"),
    [
        ("message_size_limit 2000\nmax_queued_messages 1000\n", "Packet too large"),  # told when it is too late
        ("max_packet_size 3000\n", "takes at most 3000 bytes"),  # told beforehand: it is not even tried
    ],
)
def test_what_is_too_large_for_the_broker_is_parked_and_holds_nothing_up(tmp_path, outbox, limit, why):
    with mosquitto(tmp_path, limit) as broker, center(broker.port), session(broker, outbox) as line:
        wait_for(lambda: line.connected, "connected")
        put(outbox, "m1", "x" * 5000, "m2")
        wait_for(lambda: outbox.figures().waiting == 0, "the others are stored")
        assert [one.id for one in outbox.parked()] == ["x" * 5000]
        assert why in outbox.parked()[0].why
        assert line.connected
        assert line.refused_connections == 0


def test_a_broker_that_grants_little_gets_no_more(tmp_path, outbox):
    with (
        mosquitto(tmp_path, "max_inflight_messages 2\n") as broker,
        center(broker.port) as listening,
        session(broker, outbox),
    ):
        listening.answering = False
        put(outbox, *(f"m{n}" for n in range(WINDOW)))
        wait_for(lambda: len(listening.on("incident")) == 2, "two come")
        time.sleep(0.5)
        came = [one.payload.decode() for one in listening.on("incident")]
        assert len(came) == 2
        listening.answering = True
        listening.answer(stored=came)
        wait_for(lambda: outbox.figures().waiting == 0, "and one after the other all")


def test_a_broker_that_refuses_the_box_is_named_and_asked_rarely(tmp_path, outbox, caplog):
    with mosquitto(tmp_path, "allow_anonymous false\n") as broker, session(broker, outbox) as line:
        wait_for(lambda: line.refused_connections, "it is refused")
        assert not line.connected
        assert "Not authorized; is this box enrolled" in caplog.text
        time.sleep(3)
        assert line.refused_connections == 1


def test_a_broker_that_closes_the_line_unanswered_is_asked_rarely(outbox, caplog):
    """As one does that does not take the box's certificate: TLS 1.3 tells the client after its handshake."""
    with services.Proxy(services.free_port()) as proxy, session(proxy, outbox) as line:
        wait_for(lambda: line.refused_connections, "it is refused")
        assert not line.connected
        assert "closed the line before it answered" in caplog.text
        time.sleep(1)
        assert proxy.accepted == 1


def test_a_broker_that_is_busy_gets_the_message_again(broker, outbox, caplog):
    """mosquitto has no quota to exceed: the code is handed in as the network would."""
    ahead = [0.0]
    with (
        center(broker.port) as listening,
        session(broker, outbox, monotonic=lambda: time.monotonic() + ahead[0]) as line,
    ):
        listening.answering = False
        put(outbox, "m1")
        wait_for(lambda: listening.on("incident"), "it came")
        line._by_mid[999] = Sent("incident", "m1")
        line._on_publish(None, None, 999, ReasonCode(PacketTypes.PUBACK, "Quota exceeded"), None)
        assert outbox.parked() == []
        assert "Quota exceeded" in caplog.text
        listening.answering = True
        ahead[0] = 60.0
        put(outbox, "m2")
        wait_for(lambda: outbox.figures().waiting == 0, "it was sent again")


def test_a_line_that_swallows_everything_is_noticed(broker, outbox):
    with services.Proxy(broker.port) as proxy, center(broker.port) as listening:
        with session(proxy, outbox, keepalive_s=2) as line:
            wait_for(lambda: listening.states() == ["online"], "online")
            proxy.swallowing = True
            put(outbox, "m1")
            began_s = time.monotonic()
            wait_for(lambda: not line.connected, "it is noticed", 10)
            assert time.monotonic() - began_s < 2 * 2 + 1.5
            proxy.swallowing = False
            wait_for(lambda: outbox.figures().waiting == 0, "it came through", 30)
        wait_for(lambda: listening.states()[-1] == "stopped", "a good-bye")


def test_a_line_that_is_cut_over_and_over_loses_nothing_and_keeps_the_order(broker, outbox):
    with services.Proxy(broker.port) as proxy, center(broker.port) as listening, session(proxy, outbox) as line:
        listening.pace_s = 0.005
        for seq in range(15):
            for incident in range(20):
                name = f"i{incident}:{seq}"
                row = IncidentRow(f"i{incident}", "cam-1", "z", "r", "p", True, '{"seq": 1}')
                with outbox.sealing() as ledger:
                    ledger.commit(row, [Outgoing(name, "incident", TOPIC, name.encode(), "c")], None)
            if seq % 5 == 4:
                wait_for(lambda: line.connected, "connected")
                time.sleep(0.1)
                proxy.cut()
                wait_for(lambda: not line.connected, "noticed")
        wait_for(lambda: outbox.figures().waiting == 0, "all is stored", 60)
        assert proxy.accepted == 4
        first = dict.fromkeys(one.payload.decode() for one in listening.on("incident"))
        for incident in range(20):
            own = [name for name in first if name.startswith(f"i{incident}:")]
            assert own == [f"i{incident}:{seq}" for seq in range(15)]


def test_a_backlog_does_not_keep_what_is_new_waiting(broker, outbox):
    """400 incidents of an outage, a center that takes 20 ms for each, and one that opens now."""
    put(outbox, *(f"old-{n}" for n in range(400)))
    with center(broker.port) as listening:
        listening.pace_s = 0.02
        with session(broker, outbox) as line:
            wait_for(lambda: len(listening.on("incident")) >= 40, "the backlog flows")
            put(outbox, "new")
            wait_for(lambda: outbox.figures().waiting == 0, "all is stored", 40)
            assert line.connected
        order = [one.payload.decode() for one in listening.on("incident")]
        assert order.index("new") < 150


def test_on_connecting_the_box_says_what_goes_on(broker, outbox):
    with outbox.sealing() as ledger:
        ledger.commit(IncidentRow("i-open", "cam-1", "z", "r", "p", True, '{"seq": 7}'), [], None)
        ledger.commit(IncidentRow("i-over", "cam-1", "z", "r", "p", False, '{"seq": 3}'), [], None)
    with center(broker.port) as listening:
        with session(broker, outbox):
            wait_for(lambda: listening.on("status"), "online")
            said = json.loads(listening.on("status")[0].payload)["data"]
            assert said["open_incidents"] == [{"incident": "i-open", "seq": 7}]
            assert said["boot_id"] == "b"
        wait_for(lambda: listening.states()[-1] == "stopped", "a good-bye")
        assert json.loads(listening.on("status")[-1].payload)["data"]["open_incidents"] is None
        with outbox.sealing() as ledger:
            for n in range(500):
                ledger.commit(IncidentRow(f"i{n}", "cam-1", "z", "r", "p", True, '{"seq": 1}'), [], None)
        with session(broker, outbox):
            wait_for(lambda: len(listening.states()) == 3, "online again")
            # a list with gaps would make orphans of the rest
            assert json.loads(listening.on("status")[-1].payload)["data"]["open_incidents"] is None


def test_answers_tell_the_centers_time(broker, outbox):
    heard = []
    with center(broker.port) as listening:
        listening.ahead_s = 3600.0
        with session(broker, outbox, heard=lambda *times: heard.append(times)):
            put(outbox, "m1")
            wait_for(lambda: heard, "the center's time")
    center_s, asked_s, heard_s = heard[0]
    assert asked_s < heard_s < asked_s + 10
    assert center_s - time.time() == pytest.approx(3600, abs=30)


def test_a_probe_leaves_what_waits_in_the_session_of_its_name(broker, tmp_path):
    line, came, there = BrokerLine(url=broker.url), [], threading.Event()
    about = Properties(PacketTypes.CONNECT)
    about.SessionExpiryInterval = 60

    @contextmanager
    def signed_in(name):
        client = mqtt_client(line, tmp_path, name)
        client.on_message = lambda _client, _data, message: came.append(message.payload)
        client.on_subscribe = lambda *_: there.set()
        client.connect("127.0.0.1", broker.port, clean_start=False, properties=about)
        client.loop_start()
        try:
            yield client
        finally:
            client.disconnect()
            client.loop_stop()

    with signed_in("known") as client:
        client.subscribe("waiting", qos=1)
        assert there.wait(10)
    with signed_in("other") as client:
        client.publish("waiting", b"waits", qos=1).wait_for_publish(10)
    assert "answers" in probe(line, tmp_path, "known")
    with signed_in("known"):
        wait_for(lambda: came, "what waited comes")


def test_probe_says_what_is_wrong(broker, tmp_path):
    assert "answers" in probe(BrokerLine(url=broker.url), tmp_path, "x-check")
    with pytest.raises(BrokerError, match="is it running"):
        probe(BrokerLine(url=f"mqtt://127.0.0.1:{services.free_port()}"), tmp_path, "x-check")
    with pytest.raises(BrokerError, match="certificates that can be read"):
        probe(BrokerLine(url="mqtts://127.0.0.1:1", ca="none.crt"), tmp_path, "x-check")

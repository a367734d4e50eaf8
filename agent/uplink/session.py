"""The one MQTT v5 session of a box.

The network is paho's thread; one thread of ours sends. What is sent and when is decided by `flight`, how long to wait
for a connection by `backoff`; here is what the broker says and what is said to it.

paho calls back while it holds its own locks, so nothing here calls paho while it holds ours.
"""

import json
import logging
import ssl
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from agent.uplink.backoff import Backoff, failure_text, refusal_text
from agent.uplink.flight import RESEND_S, WINDOW, Flight
from agent.uplink.outbox import Outbox, OutboxError, Outgoing
from agent.uplink.retained import Retained
from protocol import messages
from protocol.broker import KEEPALIVE_S, MAX_PACKET_BYTES, BrokerLine, mqtt_client
from protocol.instants import from_epoch
from protocol.messages import (
    MAX_OPEN_INCIDENTS,
    BoxHealth,
    BoxStatus,
    CameraEvent,
    CameraState,
    Event,
    HealthEvent,
    MessageError,
    OpenIncident,
    StatusEvent,
    Value,
)
from protocol.topics import Topic, parse

log = logging.getLogger(__name__)

UNANSWERED: Final = 16
"""Publishes that the broker has not taken yet; mosquitto grants 20 (its `max_inflight_messages`)."""
HEADER_BYTES: Final = 1024
"""More than a packet of ours has beside its payload."""
STATES: Final = ("status", "camera")
"""What is published anew on each connection, as it is by then."""
LEAVES: Final = ("ack", "command", "settings/desired", "model/desired", "system/desired")
"""What the center says."""
MAX_EARLY: Final = 64
LINGER_S: Final = 1.5
PAUSE_S: Final = 5.0
STEADY_S: Final = 30.0
"""A connection that broke sooner did not hold: the next try waits longer."""
FOR_GOOD: Final = frozenset({"Not authorized", "Topic name invalid", "Packet too large", "Payload format invalid"})
"""Refusals that another try would meet again; after all others the message is tried again, later."""


@dataclass(frozen=True)
class Sent:
    """A publish that the broker has not answered yet.

    Args:
        leaf: below the box.
        message: its id in the outbox; None for what is not from there.
        taken_back: the camera whose retained state this takes back.
    """

    leaf: str
    message: str | None = None
    taken_back: str | None = None

    @property
    def sent_again(self) -> bool:
        """Whether it goes out again by itself on the next connection."""
        return self.message is not None or self.leaf in STATES


def _logged(callback: Callable[..., None]) -> Callable[..., None]:
    """What goes wrong in it must not end paho's thread, which keeps the line."""

    def guarded(*values: Any) -> None:
        try:
            callback(*values)
        except Exception:
            log.exception("uplink: %s", callback.__name__)

    return guarded


class Session:
    """Keeps one connection to the center's broker and sends what the outbox holds.

    Args:
        center: where the broker is.
        folder: what the paths of certificates are relative to.
        site: the box's site.
        box: the box's id.
        outbox: what is to be sent.
        status: what the retained status says while the box is connected.
        now: seconds since the epoch.
        handlers: leaf to who takes what comes in on it, other than `ack`; called in paho's thread, so it only queues.
            What comes in before there is one waits, until somebody does `attend`.
        heard: hears the center's time: its clock as it answered, and when, by `monotonic`, it was asked and heard.
        monotonic: seconds that never jump.
        retained: cameras whose state the broker may hold.
        keepalive_s: a line that is cut in silence is noticed within twice this.
    """

    answered = False
    """Whether the center has acknowledged something on the line that there is."""

    def __init__(
        self,
        center: BrokerLine,
        folder: Path,
        site: str,
        box: str,
        outbox: Outbox,
        status: BoxStatus,
        now: Callable[[], float],
        handlers: Mapping[str, Callable[[bytes], None]] | None = None,
        heard: Callable[[float, float, float], None] = lambda _at_s, _asked_s, _heard_s: None,
        monotonic: Callable[[], float] = time.monotonic,
        retained: Retained | None = None,
        keepalive_s: int = KEEPALIVE_S,
    ) -> None:
        self.greeting: Callable[[], BoxHealth] | None = None
        """How the box is, told first on each connection: it tells the center the time of what waits."""
        self._handlers = {"ack": self._take_acknowledgement, **(handlers or {})}
        self._early: deque[tuple[str, bytes]] = deque(maxlen=MAX_EARLY)
        """What came in before anybody attended to it; with the handlers under a lock of their own."""
        self._attending = threading.Lock()
        self._address = center.address
        self._site, self._box = site, box
        self._outbox = outbox
        self._status = status
        self._now, self._monotonic, self._heard = now, monotonic, heard
        self._keepalive_s = keepalive_s
        self._flight = Flight(outbox, monotonic)
        self._backoff = Backoff()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._connected = threading.Event()
        self._lock = threading.Lock()
        self._by_mid: dict[int, Sent] = {}
        self._early_refusals: dict[int, ReasonCode] = {}
        """Refusals that came before `publish` had returned its number."""
        self._asked_s: dict[str, float] = {}
        """When the last status and health were sent, whose answer would tell the center's time."""
        self._cameras: dict[str, CameraState] = {}
        self._retained = retained or Retained(None)
        self._gone: set[str] = set()
        """Cameras whose retained state is to be taken back, until the broker has said that it is."""
        self._refused: set[tuple[str, str]] = set()
        """Leaves that the broker does not take, and why, as told on this connection."""
        self._told = ""
        self.connects = 0
        """How often the broker has let the box in."""
        self._answered = False
        """Whether the broker said yes or no to the try to connect that goes on."""
        self._since_s = 0.0
        self._packet_bytes = MAX_PACKET_BYTES
        self.refused_connections = 0
        """By the broker or for a certificate, since the start."""
        self.refused_publishes = 0
        """That are not of the outbox, where they would be parked; since the start."""
        self._thread = threading.Thread(target=self._send_for_ever, name="uplink", daemon=True)
        self._client = self._with_callbacks(mqtt_client(center, folder, box))

    def _with_callbacks(self, client: mqtt.Client) -> mqtt.Client:
        client.on_pre_connect = _logged(self._on_pre_connect)
        client.on_connect = _logged(self._on_connect)
        client.on_disconnect = _logged(self._on_disconnect)
        client.on_connect_fail = _logged(self._on_connect_fail)
        client.on_publish = _logged(self._on_publish)
        client.on_message = self._on_message
        gone = self._status.model_copy(update={"state": "offline"})
        _, payload = self._event(StatusEvent, "status", messages.BOX_STATUS, gone)
        client.will_set(str(self._topic("status")), payload, 1, True)
        client.max_inflight_messages_set(UNANSWERED)
        return client

    @property
    def connected(self) -> bool:
        """Whether the broker has let the box in."""
        return self._connected.is_set()

    def start(self) -> None:
        """Connect in the background, and again whenever the connection is lost."""
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho gives no types
        properties.MaximumPacketSize = MAX_PACKET_BYTES
        self._outbox.on_commit = self._wake.set
        host, port = self._address
        self._client.connect_async(
            host, port, keepalive=self._keepalive_s, clean_start=mqtt.MQTT_CLEAN_START_FIRST_ONLY, properties=properties
        )
        self._client.loop_start()
        self._thread.start()

    def attend(self, handlers: Mapping[str, Callable[[bytes], None]]) -> None:
        """Give leaves to who takes what comes in on them, and has come in so far."""
        with self._attending:
            self._handlers |= handlers
            early = [self._early.popleft() for _ in range(len(self._early))]
            for leaf, payload in early:
                self._take(leaf, payload)

    def stop(self) -> None:
        """Say good-bye and disconnect; what the center does not take within a moment stays in the outbox."""
        until_s = time.monotonic() + LINGER_S
        while self.connected and self._outbox.figures().waiting and time.monotonic() < until_s:
            self._wake.set()
            time.sleep(0.05)
        self._stopping.set()
        self._wake.set()
        self._thread.join(5)
        if self.connected:
            stopped = self._status.model_copy(update={"state": "stopped"})
            _, payload = self._event(StatusEvent, "status", messages.BOX_STATUS, stopped)
            self._hand_over(Sent("status"), self._topic("status"), payload, retain=True).wait_for_publish(2)
        self._client.disconnect()
        self._client.loop_stop()

    def publish_camera(self, state: CameraState) -> None:
        """Publish a camera's state, retained; the newest is published again after a reconnect."""
        with self._lock:
            self._cameras[state.camera] = state
            self._gone.discard(state.camera)
            self._retained.add(state.camera)
        if self.connected:
            self._publish_camera(state)

    def forget_camera(self, camera: str) -> None:
        """Take a camera's retained state back, now or on the next connection: it is no longer in the settings."""
        with self._lock:
            self._cameras.pop(camera, None)
            self._gone.add(camera)
        if self.connected:
            self._take_back(camera)

    def publish_health(self, health: BoxHealth) -> None:
        """Publish how the box is doing, once; lost where there is no connection."""
        name, payload = self._event(HealthEvent, "health", messages.BOX_HEALTH, health)
        self._asked_s = {name: self._monotonic()}
        self.publish("health", payload, qos=0)

    def publish(
        self,
        leaf: str,
        payload: bytes,
        *,
        retain: bool = False,
        qos: int = 1,
        camera: str | None = None,
        user: Sequence[tuple[str, str]] = (),
    ) -> bool:
        """Publish on one of the box's own leaves; False where there is no connection, and nothing is kept.

        Args:
            leaf: below the box.
            payload: as it goes out.
            retain: whether the broker keeps it.
            qos: as MQTT has it.
            camera: ends the topic, where the leaf is one per camera.
            user: MQTT user properties.
        """
        if not self.connected:
            return False
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho gives no types
        if user:
            properties.UserProperty = list(user)
        sent = self._hand_over(Sent(leaf), self._topic(leaf, camera), payload, qos, properties, retain=retain)
        return sent.rc == mqtt.MQTT_ERR_SUCCESS

    def _hand_over(
        self,
        sent: Sent,
        topic: Topic | str,
        payload: bytes,
        qos: int = 1,
        properties: Properties | None = None,
        *,
        retain: bool = False,
    ) -> mqtt.MQTTMessageInfo:
        """Give paho something to publish, and know what it was when the broker answers."""
        given = self._client.publish(str(topic), payload, qos, retain, properties)
        if qos == 0:  # never answered
            return given
        with self._lock:
            refusal = self._early_refusals.pop(given.mid, None)
            if refusal is None:
                self._by_mid[given.mid] = sent
        if refusal is not None:
            self._answered_by_broker(sent, refusal)
        return given

    def _topic(self, leaf: str, camera: str | None = None) -> Topic:
        return Topic(self._site, self._box, leaf, camera)

    def _event(self, model: type[Event[Any]], name: str, kind: str, data: Value) -> tuple[str, bytes]:
        """Write an event; returns its id and its bytes."""
        now_s = self._now()
        event = model(
            id=f"{self._box}:{name}:{int(now_s * 1000)}",
            source=messages.source(self._site, self._box),
            type=kind,
            time=from_epoch(now_s),
            dataschema=messages.dataschema(name),
            data=data,
        )
        return event.id, event.to_json()

    def _publish_camera(self, state: CameraState) -> None:
        _, payload = self._event(CameraEvent, "camera", messages.CAMERA_STATE, state)
        self._hand_over(Sent("camera"), self._topic("camera", state.camera), payload, retain=True)

    def _take_back(self, camera: str) -> None:
        self._hand_over(Sent("camera", taken_back=camera), self._topic("camera", camera), b"", retain=True)

    # paho's thread

    def _on_pre_connect(self, _client: mqtt.Client, _data: Any) -> None:
        self._answered = False

    def _on_connect(self, client: mqtt.Client, _data: Any, _flags: Any, code: ReasonCode, properties: Any) -> None:
        host, port = self._address
        self._answered = True
        if code.is_failure:
            self.refused_connections += 1
            self._backoff.refused(str(code))
            text = refusal_text(code, getattr(properties, "ServerReference", None))
            self._tell(f"the broker at {host}:{port} refuses this box: {text}")
            return
        self._told, self.answered = "", False
        self._since_s = self._monotonic()
        log.info("connected to %s:%d", host, port)
        self._packet_bytes = getattr(properties, "MaximumPacketSize", MAX_PACKET_BYTES)
        # paho would send again what it has sent; what the outbox and this session hold they send themselves
        left = client.drop_out_messages()
        with self._lock:
            cameras, gone = list(self._cameras.values()), list(self._gone)
            known = dict(self._by_mid)
            self._by_mid.clear()
            self._early_refusals.clear()
            self._refused.clear()
        client.subscribe([(str(self._topic(leaf)), SubscribeOptions(qos=1)) for leaf in LEAVES])
        name, payload = self._event(StatusEvent, "status", messages.BOX_STATUS, self._here())
        self._asked_s = {name: self._monotonic()}
        self._hand_over(Sent("status"), self._topic("status"), payload, retain=True)
        if self.greeting is not None:
            _, payload = self._event(HealthEvent, "health", messages.BOX_HEALTH, self.greeting())
            # not kept by a broker whose center is away: what comes is fresh
            self._hand_over(Sent("health"), self._topic("health"), payload, 0)
        for state in cameras:
            self._publish_camera(state)
        for camera in gone:
            self._take_back(camera)
        self.connects += 1
        for one in left:
            sent = known.get(one.mid) or Sent(parse(one.topic).leaf)
            if not sent.sent_again:
                self._hand_over(sent, one.topic, bytes(one.payload), one.qos, one.properties, retain=one.retain)
        self._flight.connected(getattr(properties, "ReceiveMaximum", WINDOW))
        self._connected.set()
        self._wake.set()

    def _here(self) -> BoxStatus:
        """The status with what goes on; where that is too much or cannot be read, it is not said."""
        try:
            rows = self._outbox.incidents(open_only=True)
            if len(rows) > MAX_OPEN_INCIDENTS:
                return self._status
            listed = tuple(OpenIncident(incident=row.incident, seq=json.loads(row.state)["seq"]) for row in rows)
        except Exception:
            log.exception("the box's open incidents are not told")
            return self._status
        return self._status.model_copy(update={"open_incidents": listed})

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, code: ReasonCode, _properties: Any) -> None:
        was_connected = self.connected
        self._connected.clear()
        host, port = self._address
        if was_connected and self._monotonic() - self._since_s > STEADY_S:
            self._backoff.let_in()
        elif was_connected:
            self._backoff.refused("")
        if not self._answered and not self._stopping.is_set():
            self.refused_connections += 1
            self._backoff.refused("Server unavailable")
            self._tell(
                f"{host}:{port} closed the line before it answered ({code}); does it take this box's certificate?"
            )
        elif was_connected and not self._stopping.is_set():
            self._tell(f"the line to {host}:{port} broke ({code}); trying again")
        self._wait_before_next()

    def _on_connect_fail(self, _client: Any, _data: Any) -> None:
        fault = sys.exc_info()[1]  # paho calls from where it caught it
        if isinstance(fault, ssl.SSLError):
            self.refused_connections += 1
            self._backoff.refused("Server unavailable")
        self._tell(f"{self._address[0]}:{self._address[1]} {failure_text(fault)}")
        self._wait_before_next()

    def _wait_before_next(self) -> None:
        delay_s = self._backoff.next_s()
        self._client.reconnect_delay_set(delay_s, delay_s)  # type: ignore[arg-type]  # it takes fractions as well

    def _tell(self, text: str) -> None:
        """Say a thing once, not with every try."""
        if text != self._told:
            self._told = text
            log.warning("center: %s", text)

    def _on_publish(self, _client: Any, _data: Any, mid: int, code: ReasonCode, _properties: Any) -> None:
        with self._lock:
            sent = self._by_mid.pop(mid, None)
            if sent is None and code.is_failure:
                self._early_refusals[mid] = code
        if sent is not None:
            self._answered_by_broker(sent, code)

    def _answered_by_broker(self, sent: Sent, code: ReasonCode) -> None:
        if code.is_failure and sent.message is not None:
            self._refused_by_broker(sent.message, code)
        elif code.is_failure:
            self.refused_publishes += 1
            refusal = sent.leaf, str(code)
            if refusal not in self._refused:
                self._refused.add(refusal)
                log.error("the broker refuses this box's %s: %s; is this box allowed to write its topics?", *refusal)
        elif sent.taken_back is not None:
            with self._lock:
                if sent.taken_back in self._gone:
                    self._gone.discard(sent.taken_back)
                    self._retained.discard(sent.taken_back)

    def _refused_by_broker(self, message: str, code: ReasonCode) -> None:
        if str(code) in FOR_GOOD:
            self._park(message, f"refused by the broker: {code}; is this box allowed to write its topics?")
        else:
            self._tell(f"the broker does not take messages just now: {code}; trying again later")
            self._flight.turned_away(message)

    def _park(self, message: str, why: str) -> None:
        self._outbox.park(message, why)
        self._flight.landed(message)
        self._wake.set()

    def _on_message(self, _client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
        try:
            leaf = parse(message.topic).leaf
        except MessageError as fault:
            log.warning("topic %s: %s; ignored", message.topic, fault)
            return
        with self._attending:
            self._take(leaf, bytes(message.payload))

    def _take(self, leaf: str, payload: bytes) -> None:
        if leaf not in self._handlers:
            self._early.append((leaf, payload))
            return
        try:
            self._handlers[leaf](payload)
        except MessageError as fault:
            log.warning("%s: %s; ignored", leaf, fault)
        except OutboxError as fault:
            self._tell(f"an answer is not noted, and will be asked for again: {fault}")
        except Exception:
            log.exception("%s: %r", leaf, payload[:200])

    def _take_acknowledgement(self, payload: bytes) -> None:
        heard_s = self._monotonic()
        answer = messages.read_acknowledgement(payload)
        self.answered = self.answered or bool(answer.stored)
        sending = self._flight.answered(answer)
        answered = (*answer.stored, *(one.id for one in answer.refused), *(one.id for one in answer.later))
        asked_s = next((self._asked_s[one] for one in answer.stored if one in self._asked_s), None)
        if sending is not None:
            asked_s = sending.at_s
        if answer.at is not None and asked_s is not None:
            self._heard(answer.at.timestamp(), asked_s, heard_s)
        with self._lock:
            for mid in [mid for mid, sent in self._by_mid.items() if sent.message in answered]:
                del self._by_mid[mid]
        self._wake.set()

    # our thread

    def _send_for_ever(self) -> None:
        while not self._stopping.is_set():
            try:
                self._wake.wait(self._flight.wait_s() if self.connected else RESEND_S)
                self._wake.clear()
                while self.connected and not self._stopping.is_set() and (ready := self._flight.launch()):
                    for one in ready:
                        self._send(one)
            except Exception:
                log.exception("uplink: going on in %.0f s", PAUSE_S)
                self._stopping.wait(PAUSE_S)

    def _send(self, one: Outgoing) -> None:
        if len(one.payload) + HEADER_BYTES > self._packet_bytes:
            self._park(one.id, f"too large: the broker takes at most {self._packet_bytes} bytes at a time")
            return
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho gives no types
        properties.ContentType = one.content_type
        if one.properties:
            properties.UserProperty = list(one.properties)
        self._hand_over(Sent(one.kind, one.id), one.topic, one.payload, properties=properties)

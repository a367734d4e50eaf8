"""The one MQTT v5 session of a box.

The network is paho's thread; one thread of ours decides what to send. `_window` holds what is in flight: a message
leaves it when the center acknowledges it, when it is refused, or when its time to be sent again comes.

paho calls back while it holds its own locks, so nothing here calls paho while it holds ours.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from agent.uplink.outbox import RESEND_S, Outbox, Outgoing
from protocol import messages
from protocol.broker import KEEPALIVE_S, MAX_PACKET_BYTES, BrokerLine, mqtt_client
from protocol.instants import from_epoch
from protocol.messages import (
    BoxHealth,
    BoxStatus,
    CameraEvent,
    CameraState,
    Event,
    HealthEvent,
    MessageError,
    StatusEvent,
    Value,
)
from protocol.topics import Topic, parse

log = logging.getLogger(__name__)

WINDOW: Final = 32
"""Messages in flight; with pictures of 150 KB that is 5 MB."""
WINDOW_BYTES: Final = 4 * 1024 * 1024
MAX_DELAY_S: Final = 60
JITTER_S: Final = 10.0
LINGER_S: Final = 1.5


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
    """

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
    ) -> None:
        self._handlers = {"ack": self._take_acknowledgement, **(handlers or {})}
        self._address = center.address
        self._site, self._box = site, box
        self._outbox = outbox
        self._status = status
        self._now = now
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._connected = threading.Event()
        self._lock = threading.Lock()
        self._window: dict[str, float] = {}
        """Ids in flight, and when they count as lost."""
        self._by_mid: dict[int, str] = {}
        self._early_refusals: dict[int, ReasonCode] = {}
        """Refusals that came before `publish` had returned its number."""
        self._cameras: dict[str, CameraState] = {}
        self._told = ""
        self.connects = 0
        """How often the broker has let the box in."""
        self._thread = threading.Thread(target=self._send_for_ever, name="uplink", daemon=True)
        client = mqtt_client(center, folder, box)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_connect_fail = self._on_connect_fail
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        client.reconnect_delay_set(1, MAX_DELAY_S)
        client.will_set(
            str(self._topic("status")), self._event(StatusEvent, "status", messages.BOX_STATUS, self._gone()), 1, True
        )
        client.max_inflight_messages_set(WINDOW)
        self._client = client

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
            host, port, keepalive=KEEPALIVE_S, clean_start=mqtt.MQTT_CLEAN_START_FIRST_ONLY, properties=properties
        )
        self._client.loop_start()
        self._thread.start()

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
            payload = self._event(StatusEvent, "status", messages.BOX_STATUS, stopped)
            self._client.publish(str(self._topic("status")), payload, qos=1, retain=True).wait_for_publish(2)
        self._client.disconnect()
        self._client.loop_stop()

    def publish_camera(self, state: CameraState) -> None:
        """Publish a camera's state, retained; the newest is published again after a reconnect."""
        with self._lock:
            self._cameras[state.camera] = state
        if self.connected:
            self._publish_camera(state)

    def forget_camera(self, camera: str) -> None:
        """Take a camera's retained state back: it is no longer in the settings."""
        with self._lock:
            self._cameras.pop(camera, None)
        self.publish("camera", b"", retain=True, camera=camera)

    def publish_health(self, health: BoxHealth) -> None:
        """Publish how the box is doing, once; lost where there is no connection."""
        self.publish("health", self._event(HealthEvent, "health", messages.BOX_HEALTH, health), qos=0)

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
        sent = self._client.publish(str(self._topic(leaf, camera)), payload, qos, retain, properties)
        return sent.rc == mqtt.MQTT_ERR_SUCCESS

    def _topic(self, leaf: str, camera: str | None = None) -> Topic:
        return Topic(self._site, self._box, leaf, camera)

    def _gone(self) -> BoxStatus:
        return self._status.model_copy(update={"state": "offline"})

    def _event(self, model: type[Event[Any]], name: str, kind: str, data: Value) -> bytes:
        now_s = self._now()
        event = model(
            id=f"{self._box}:{name}:{int(now_s * 1000)}",
            source=messages.source(self._site, self._box),
            type=kind,
            time=from_epoch(now_s),
            dataschema=messages.dataschema(name),
            data=data,
        )
        return event.to_json()

    def _publish_camera(self, state: CameraState) -> None:
        payload = self._event(CameraEvent, "camera", messages.CAMERA_STATE, state)
        self._client.publish(str(self._topic("camera", state.camera)), payload, qos=1, retain=True)

    # paho's thread

    def _on_connect(self, client: mqtt.Client, _data: Any, _flags: Any, code: ReasonCode, _properties: Any) -> None:
        host, port = self._address
        if code.is_failure:
            self._tell(f"the broker at {host}:{port} refuses this box: {code}; check cert and key")
            return
        self._told = ""
        log.info("connected to %s:%d", host, port)
        client.subscribe([(str(self._topic(leaf)), SubscribeOptions(qos=1)) for leaf in self._handlers])
        payload = self._event(StatusEvent, "status", messages.BOX_STATUS, self._status)
        client.publish(str(self._topic("status")), payload, qos=1, retain=True)
        with self._lock:
            cameras = list(self._cameras.values())
            self._window.clear()
            self._by_mid.clear()
            self._early_refusals.clear()
        for state in cameras:
            self._publish_camera(state)
        self._outbox.forget_sent()
        self.connects += 1
        self._connected.set()
        self._wake.set()

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, code: ReasonCode, _properties: Any) -> None:
        self._connected.clear()
        if not self._stopping.is_set():
            self._tell(f"the line to {self._address[0]}:{self._address[1]} broke ({code}); trying again")

    def _on_connect_fail(self, _client: Any, _data: Any) -> None:
        self._tell(f"{self._address[0]}:{self._address[1]} does not answer; what happens is kept, trying again")

    def _tell(self, text: str) -> None:
        """Say a thing once, not with every try."""
        if text != self._told:
            self._told = text
            log.warning("center: %s", text)

    def _on_publish(self, _client: Any, _data: Any, mid: int, code: ReasonCode, _properties: Any) -> None:
        with self._lock:
            message = self._by_mid.pop(mid, None)
            if message is None and code.is_failure:
                self._early_refusals[mid] = code
        if message is not None and code.is_failure:
            self._refused_by_broker(message, code)

    def _refused_by_broker(self, message: str, code: ReasonCode) -> None:
        self._drop(message)
        self._outbox.park(message, f"refused by the broker: {code}; is this box allowed to write its topics?")

    def _on_message(self, _client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
        try:
            self._handlers[parse(message.topic).leaf](bytes(message.payload))
        except MessageError as fault:
            log.warning("topic %s: %s; ignored", message.topic, fault)
        except Exception:
            log.exception("topic %s: %r", message.topic, message.payload[:200])

    def _take_acknowledgement(self, payload: bytes) -> None:
        answer = messages.read_acknowledgement(payload)
        self._outbox.acknowledge(answer)
        for one in (*answer.stored, *(r.id for r in answer.refused), *(p.id for p in answer.later)):
            self._drop(one)
        self._wake.set()

    def _drop(self, message: str) -> None:
        with self._lock:
            self._window.pop(message, None)
            for mid in [mid for mid, known in self._by_mid.items() if known == message]:
                del self._by_mid[mid]

    # our thread

    def _send_for_ever(self) -> None:
        while not self._stopping.is_set():
            try:
                self._wake.wait(self._idle_s())
                self._wake.clear()
                if self.connected and not self._stopping.is_set():
                    self._send_due()
            except Exception:
                log.exception("uplink: going on in 5 s")
                self._stopping.wait(5)

    def _idle_s(self) -> float:
        """Until something is due; what is in the window wakes this thread when it is acknowledged."""
        due_s = self._outbox.next_due_s()
        return RESEND_S if due_s is None else min(RESEND_S, max(1.0, due_s - self._now()))

    def _send_due(self) -> None:
        now_s = self._now()
        with self._lock:
            self._window = {one: until_s for one, until_s in self._window.items() if until_s > now_s}
            room = WINDOW - len(self._window)
        if room == 0:
            return
        for one in self._outbox.due(room, WINDOW_BYTES):
            if self._stopping.is_set() or not self.connected:
                return
            self._send(one)

    def _send(self, one: Outgoing) -> None:
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho gives no types
        properties.ContentType = one.content_type
        if one.properties:
            properties.UserProperty = list(one.properties)
        again_s = RESEND_S + random.uniform(0, JITTER_S)  # noqa: S311 - spreads load, no secret
        self._outbox.sent(one.id, again_s)
        with self._lock:
            self._window[one.id] = self._now() + again_s
        sent = self._client.publish(one.topic, one.payload, qos=1, properties=properties)
        with self._lock:
            refusal = self._early_refusals.pop(sent.mid, None)
            if refusal is None:
                self._by_mid[sent.mid] = one.id
        if refusal is not None:
            self._refused_by_broker(one.id, refusal)

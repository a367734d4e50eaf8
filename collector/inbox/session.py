"""The collector's MQTT v5 session: subscribed to all boxes, answering each on its own topic."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from collector.boxes.broker_files import CHECK_USER
from collector.inbox.reading import Delivery
from collector.inbox.writer import Answer
from protocol import topics
from protocol.broker import KEEPALIVE_S, MAX_PACKET_BYTES, SESSION_EXPIRY_S, BrokerLine, mqtt_client
from protocol.topics import Topic

log = logging.getLogger(__name__)

LEAVES: Final = (
    "incident",
    "evidence",
    "status",
    "health",
    "camera",
    "reply",
    "settings/reported",
    "model/reported",
    "system/reported",
)
SHARED_LEAVES: Final = ("incident", "evidence", "reply")
"""Never retained: a shared subscription is given no retained messages, and those all collectors may have."""
SHARED_EXPIRY_S: Final = 60
"""One of several that stays away longer loses its share to the others."""
MAX_DELAY_S: Final = 30
PATIENCE_S: Final = 5.0
"""While the writer is behind, paho's thread waits this long; the broker then waits for us."""


class InboxSession:
    """Keeps one connection to the broker.

    Args:
        broker: where it is.
        folder: what the paths of certificates are relative to.
        client_id: the same after a restart, and nobody else's.
        group: of the collectors that share what comes, None for a single one.
        put: takes a delivery within so many seconds, or says that it cannot.
    """

    def __init__(
        self,
        broker: BrokerLine,
        folder: Path,
        client_id: str,
        put: Callable[[Delivery, float], bool],
        group: str | None = None,
    ) -> None:
        self._broker = broker
        self._put = put
        self._group = group
        self._connected = threading.Event()
        self._stopping = False
        self._told = ""
        self._client = client = mqtt_client(broker, folder, client_id)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_connect_fail = self._on_connect_fail
        client.on_message = self._on_message
        client.reconnect_delay_set(1, MAX_DELAY_S)

    @property
    def connected(self) -> bool:
        """Whether the broker has let the center in."""
        return self._connected.is_set()

    def start(self) -> None:
        """Connect in the background, and again whenever the connection is lost."""
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho gives no types
        properties.SessionExpiryInterval = SESSION_EXPIRY_S if self._group is None else SHARED_EXPIRY_S
        properties.MaximumPacketSize = MAX_PACKET_BYTES
        host, port = self._broker.address
        self._client.connect_async(host, port, keepalive=KEEPALIVE_S, clean_start=False, properties=properties)
        self._client.loop_start()

    def stop(self) -> None:
        """Disconnect; the broker goes on queueing."""
        self._stopping = True
        self._client.disconnect()
        self._client.loop_stop()

    def answer(self, answer: Answer) -> None:
        """Send a box its acknowledgement; one that is lost is asked for again by what the box sends again."""
        self.publish(answer.topic, answer.acknowledgement.model_dump_json().encode())

    def publish(self, topic: Topic, payload: bytes, *, retain: bool = False, expiry_s: int | None = None) -> bool:
        """Hand a message to the broker at QoS 1; False where there is no line. From any thread.

        Args:
            topic: where to.
            payload: as it goes out.
            retain: whether the broker keeps it.
            expiry_s: the broker does not deliver it after this long.
        """
        if not self.connected:
            return False
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho gives no types
        if expiry_s is not None:
            properties.MessageExpiryInterval = expiry_s
        sent = self._client.publish(str(topic), payload, qos=1, retain=retain, properties=properties)
        return sent.rc == mqtt.MQTT_ERR_SUCCESS

    def _on_connect(self, client: mqtt.Client, _data: Any, _flags: Any, code: ReasonCode, _properties: Any) -> None:
        host, port = self._broker.address
        if code.is_failure:
            self._tell(f"the broker at {host}:{port} refuses the center: {code}; check cert and key")
            return
        self._told = ""
        log.info("connected to the broker at %s:%d", host, port)
        client.subscribe([(self._filter(leaf), SubscribeOptions(qos=1)) for leaf in LEAVES])
        self._connected.set()

    def _filter(self, leaf: str) -> str:
        name = topics.all_boxes(leaf)
        if self._group is None or leaf not in SHARED_LEAVES:
            return name
        # a group for each leaf: iotcore loses messages where one group has several filters
        return f"$share/{self._group}-{leaf}/{name}"

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, code: ReasonCode, _properties: Any) -> None:
        self._connected.clear()
        if not self._stopping:
            self._tell(f"the line to the broker broke ({code}); trying again")

    def _on_connect_fail(self, _client: Any, _data: Any) -> None:
        host, port = self._broker.address
        self._tell(f"the broker at {host}:{port} does not answer; trying again")

    def _tell(self, text: str) -> None:
        if text != self._told:
            self._told = text
            log.warning("%s", text)

    def _on_message(self, _client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
        try:
            properties = tuple(getattr(message.properties, "UserProperty", ()))
            content_type = getattr(message.properties, "ContentType", "")
            payload = bytes(message.payload)
            if message.topic.startswith(f"{topics.ROOT}/{CHECK_USER}/"):
                return  # nobody's: `broker check` tries what it may
            delivery = Delivery(message.topic, payload, properties, content_type, bool(message.retain))
        except Exception:
            log.exception("inbox: a publish that cannot be read")
            return
        if not self._put(delivery, PATIENCE_S):
            log.warning("inbox: too far behind; %s is left for the box to send again", message.topic)

"""MQTT to anything: a topic, and the notice as JSON."""

import json
import re
import threading
from typing import Any, Final, Literal, Self

import paho.mqtt.client as mqtt
from paho.mqtt.reasoncodes import ReasonCode
from pydantic import Field, model_validator

from collector.notices.messages import ChannelBase, Message, Tools
from collector.notices.outcomes import Report, short
from protocol.broker import BrokerError, BrokerLine, mqtt_client

_FIELD: Final = re.compile(r"\{([a-z]+)\}")
_NAMES: Final = ("street", "kind", "audience", "ticket", "level")
_TAKEN: Final = 128
"""MQTT 5: reason codes from here on are refusals."""
_BUSY: Final = (0x83, 0x88, 0x89, 0x93, 0x97, 0x9F)
"""Unspecified by its implementation, unavailable, busy, receive maximum, quota, connection rate: later."""


class MqttChannel(ChannelBase):
    """A message on a topic; accepted once the broker has acknowledged it (which is no delivery)."""

    type: Literal["mqtt"]
    broker: BrokerLine
    topic: str = Field(pattern=r"^[^#+$]+$", max_length=300, description="with {street}, {kind}, {audience}, {ticket}")
    qos: Literal[1, 2] = 1
    retain: bool = False

    @model_validator(mode="after")
    def _known(self) -> Self:
        for name in _FIELD.findall(self.topic):
            if name not in _NAMES:
                raise ValueError(f"topic: unknown field {{{name}}}; there are {', '.join(_NAMES)}")
        return self

    def send(self, message: Message, tools: Tools) -> Report:
        """Connect, publish, wait for the broker's word."""
        words = {**message.values, "kind": message.kind, "audience": message.audience}
        topic = _FIELD.sub(lambda found: re.sub(r"[#+/\s]", "-", words[found[1]]) or "none", self.topic)
        content = {
            "id": message.request,
            "kind": message.kind,
            "audience": message.audience,
            "language": message.language,
            "subject": message.subject,
            "text": message.body,
            **{name: message.values[name] for name in ("street", "ticket", "rule", "shop", "place", "level", "until")},
        }
        return self._publish(topic, json.dumps(content, ensure_ascii=False).encode(), message, tools)

    def _publish(self, topic: str, payload: bytes, message: Message, tools: Tools) -> Report:
        try:
            client = mqtt_client(self.broker, tools.folder, f"cityeye-notice-{message.request[:12]}")
        except BrokerError as fault:
            return Report("unreachable", "certificates", short(fault))
        connected, done = threading.Event(), threading.Event()
        codes: dict[str, ReasonCode] = {}

        def on_connect(_c: Any, _d: Any, _f: Any, code: ReasonCode, _p: Any) -> None:
            codes["connect"] = code
            connected.set()

        def on_publish(_c: Any, _d: Any, _mid: int, code: ReasonCode, _p: Any) -> None:
            codes["publish"] = code
            done.set()

        def on_disconnect(*_: Any) -> None:
            # paho would connect again and publish again: whoever waits here is told that nobody knows
            done.set()

        client.on_connect, client.on_publish, client.on_disconnect = on_connect, on_publish, on_disconnect
        host, port = self.broker.address
        client.connect_timeout = self.timeout_s
        try:
            client.connect(host, port, keepalive=60)
        except (OSError, ValueError) as fault:
            return Report("unreachable", "no_connection", f"{host}:{port}: {short(fault)}")
        client.loop_start()
        try:
            return self._exchange(client, topic, payload, connected, done, codes)
        finally:
            client.disconnect()
            client.loop_stop()

    def _exchange(
        self,
        client: mqtt.Client,
        topic: str,
        payload: bytes,
        connected: threading.Event,
        done: threading.Event,
        codes: dict[str, ReasonCode],
    ) -> Report:
        where = "{}:{}".format(*self.broker.address)
        if not connected.wait(self.timeout_s):
            return Report("unreachable", "timeout", f"{where}: no MQTT broker answered")
        if codes["connect"].is_failure:
            return Report("unreachable", str(codes["connect"].value), f"{where}: {codes['connect']}")
        sent = client.publish(topic, payload, self.qos, self.retain)
        code = codes.get("publish") if done.wait(self.timeout_s) else None
        if code is None:
            return Report("unsure", "timeout", f"{where}: published ({mqtt.error_string(sent.rc)}), not acknowledged")
        if code.value < _TAKEN:
            return Report("accepted", str(code.value), str(code))
        return Report("later" if code.value in _BUSY else "refused", str(code.value), str(code))

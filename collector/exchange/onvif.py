"""What cameras see as ONVIF events at a broker: JSON as the Core specification has it ("onvif-ej").

    PREFIX/onvif-ej/RuleEngine/cityeye:ShopEncroachment/&1/BOX.CAMERA/SITE/ZONE

A zone's breach is a property: its topic is retained for as long as anything goes on there, and cleared by an empty
payload. What is published follows from the database and from what the broker holds, which it tells as one subscribes:
whatever was missed while nobody was there is put right then.
"""

import json
import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import paho.mqtt.client as mqtt
from paho.mqtt.subscribeoptions import SubscribeOptions
from pydantic import ValidationError
from sqlalchemy import select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from collector.places import cameras
from collector.store import Box, IncidentRow, Store
from protocol.broker import KEEPALIVE_S, BrokerLine, mqtt_client
from protocol.instants import rfc3339
from protocol.messages import Incident

log = logging.getLogger(__name__)

POLL_S: Final = 2.0
SETTLE_S: Final = 2.0
"""After subscribing, until the broker has told what it holds."""
TOPICS: Final = {
    "encroachment": "RuleEngine/cityeye:ShopEncroachment",
    "crowding": "RuleEngine/CountAggregation/OccupancyCounter",
    "loitering": "RuleEngine/LoiteringDetector/ObjectIsLoitering",
}
"""By rule; ONVIF has no topic for goods on a pavement, so that one is ours (Core, "vendor topics")."""
OTHER: Final = "RuleEngine/cityeye:Incident"
_GOING: Final = text("incident.state IN ('open', 'orphaned')")
"""As the index has it: the database uses that only for the very words."""


def events(session: Session, prefix: str) -> dict[str, bytes]:
    """All properties that are true now: topic to payload."""
    zones: dict[tuple[str, str, str, str], list[Incident]] = {}
    for row in session.scalars(select(IncidentRow).where(_GOING).order_by(IncidentRow.opened_ms)):
        try:
            data = Incident.model_validate_json(row.data)
        except ValidationError:
            continue
        zones.setdefault((row.box_id, data.camera, data.zone, data.rule), []).append(data)
    return dict(_event(session, prefix, place, found) for place, found in zones.items())


def _event(session: Session, prefix: str, place: tuple[str, str, str, str], found: list[Incident]) -> tuple[str, bytes]:
    box, camera, zone, rule = place
    box_row, known = session.get(Box, box), cameras.find(session, box, camera)
    # the number that the video platform has for it, where it has one
    video = known.gb28181 if known is not None and known.gb28181 else f"{box}.{camera}"
    source = {"VideoSource": video, "AnalyticsConfiguration": "" if box_row is None else box_row.site, "Rule": zone}
    newest = max(found, key=lambda one: one.at)
    topic = f"{prefix}/onvif-ej/{TOPICS.get(rule, OTHER)}/&1/{'/'.join(source.values())}"
    data: dict[str, Any] = {"State": True, "Since": rfc3339(found[0].opened_at), "ObjectId": _ids(found)}
    if newest.people is not None:
        data["Count"] = newest.people.count
    if rule not in TOPICS:
        data["cityeye:Rule"] = rule
    event = {"UtcTime": rfc3339(newest.at), "Source": source, "Data": data}
    return topic, json.dumps(event, ensure_ascii=False).encode()


def _ids(found: list[Incident]) -> str:
    return " ".join(one.incident for one in found)


class Publisher:
    """Keeps the properties at a broker as they are.

    Args:
        store: the database.
        broker: where; with a name of its own, as the broker throws off who comes with another one's.
        folder: what the paths of certificates are relative to.
        client_id: of this collector's publisher.
        prefix: ONVIF's TopicPrefix.
    """

    def __init__(self, store: Store, broker: BrokerLine, folder: Path, client_id: str, prefix: str) -> None:
        self._store, self._broker, self._prefix = store, broker, prefix
        self._there: dict[str, bytes] = {}
        self._ready, self._stopping, self._lock = threading.Event(), threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._run, name="onvif", daemon=True)
        self._client = client = mqtt_client(broker, folder, client_id)
        client.on_connect, client.on_message, client.on_disconnect = self._on_connect, self._on_message, self._on_gone
        client.reconnect_delay_set(1, 30)

    def start(self) -> None:
        """Begin; the line comes and goes by itself."""
        host, port = self._broker.address
        self._client.connect_async(host, port, keepalive=KEEPALIVE_S, clean_start=True)
        self._client.loop_start()
        self._thread.start()

    def stop(self) -> None:
        """End; what is retained stays, as it goes on."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(10)
        self._client.disconnect()
        self._client.loop_stop()

    def step(self) -> int:
        """Publish what has changed; says how much."""
        with self._store.transaction() as session:
            wanted: Mapping[str, bytes] = events(session, self._prefix)
        with self._lock:
            changed = {topic: payload for topic, payload in wanted.items() if self._there.get(topic) != payload}
            changed |= dict.fromkeys(self._there.keys() - wanted.keys(), b"")
            for topic, payload in changed.items():
                if self._client.publish(topic, payload, qos=1, retain=True).rc != mqtt.MQTT_ERR_SUCCESS:
                    return 0  # the line is gone: all is compared anew when it is back
            self._there = dict(wanted)
        return len(changed)

    def _run(self) -> None:
        while not self._stopping.wait(POLL_S):
            if not self._ready.is_set():
                continue
            try:
                self.step()
            except SQLAlchemyError as fault:
                log.warning("onvif: the database does not answer (%s); trying again", type(fault).__name__)
            except Exception:
                log.exception("onvif: going on")

    def _on_connect(self, client: mqtt.Client, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
        if code.is_failure:
            log.error("onvif: the broker refused the connection: %s; check [exchange.onvif] broker", code)
            return
        with self._lock:
            self._there = {}
        client.subscribe(f"{self._prefix}/onvif-ej/#", options=SubscribeOptions(qos=1, noLocal=True))
        timer = threading.Timer(SETTLE_S, self._ready.set)
        timer.daemon = True
        timer.start()

    def _on_message(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        if message.retain and message.payload:
            with self._lock:
                self._there[message.topic] = bytes(message.payload)

    def _on_gone(self, *_: Any) -> None:
        self._ready.clear()

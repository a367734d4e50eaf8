"""Incidents as ONVIF property events at a real broker."""

import json
import time
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from collector.exchange.onvif import Publisher
from collector.exchange.settings import OnvifSection
from protocol.broker import BrokerLine
from protocol.messages import People
from tests.services import Broker, wait_for

SHOP = "demo/onvif-ej/RuleEngine/cityeye:ShopEncroachment/&1/box-1.cam-1/s/front"
CROWD = "demo/onvif-ej/RuleEngine/CountAggregation/OccupancyCounter/&1/box-1.cam-1/s/square"


def retained(broker):
    """What somebody is told who subscribes now: topic to event."""
    found = {}
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.on_message = lambda _c, _d, message: message.retain and found.update({message.topic: message.payload})
    client.connect("127.0.0.1", broker.port)
    client.subscribe("demo/onvif-ej/#", qos=1)
    end_s = time.monotonic() + 1.0
    while time.monotonic() < end_s:
        client.loop(0.05)
    client.disconnect()
    return {topic: json.loads(payload) for topic, payload in found.items()}


@pytest.fixture
def broker(tmp_path):
    with Broker("iotcore", tmp_path / "broker") as running:
        yield running


def publisher(street, broker):
    made = Publisher(street.desk.store, BrokerLine(url=broker.url), Path(), "center-onvif", "demo")
    made.start()
    wait_for(made._ready.is_set, "the broker has told what it holds")
    return made


@pytest.mark.parametrize("desk", ["sqlite"], indirect=True)
def test_a_breach_is_a_property_while_it_goes_on_also_after_a_restart(street, broker):
    case = street.appears()
    crowd = street.appears(rule="crowding", shop=None, zone="square")
    people = People(count=31, lower_bound=False, level="over")
    street.desk.take_any(crowd.updated(street.now_s, people=people))
    made = publisher(street, broker)
    wait_for(lambda: len(retained(broker)) == 2, "both are there")
    found = retained(broker)
    event = found[SHOP]
    assert list(event) == ["UtcTime", "Source", "Data"]
    assert event["Source"] == {"VideoSource": "box-1.cam-1", "AnalyticsConfiguration": "s", "Rule": "front"}
    assert (event["Data"]["State"], event["Data"]["ObjectId"]) == (True, case.id)
    assert event["UtcTime"].endswith("Z")
    assert found[CROWD]["Data"]["Count"] == 31
    street.clears(case)
    wait_for(lambda: set(retained(broker)) == {CROWD}, "what is clear is no property any more")
    made.stop()
    # what ended while nobody was there
    street.clears(crowd)
    assert set(retained(broker)) == {CROWD}
    made = publisher(street, broker)
    wait_for(lambda: retained(broker) == {}, "it is taken back")
    assert made.step() == 0
    made.stop()


def test_it_has_a_broker_and_a_prefix_without_wildcards():
    with pytest.raises(ValueError, match="expected broker"):
        OnvifSection(enabled=True)
    for prefix in ("", "a/#", "+", "/a", "a/"):
        with pytest.raises(ValueError, match="prefix"):
            OnvifSection(prefix=prefix)

"""How many incidents one collector commits, beside what the broker passes to a subscriber that does nothing.

    python -m tests.bench.inbox [--incidents 6000] [--rounds 3] [--without postgresql]

One broker (mosquitto) and one publisher for all, in turn, in one run: (1) a subscriber in a process of its own that
only counts, (2) `cityeye-collector serve` on SQLite, (3) the same on PostgreSQL with its usual durability. An incident
counts once its acknowledgement is back: message, incident, ticket and time line are committed by then. Each incident
is one of a shop of its own, so that each makes a ticket. Prints JSON; figures are medians over the rounds.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from tests.incidents import Case
from tests.services import BIN, Broker, Postgres, Process, free_port, wait_for

BOXES = 20
PATIENCE_S = 300.0
COUNTING = """
import sys, time
import paho.mqtt.client as mqtt
port, expected, seen, began = int(sys.argv[1]), int(sys.argv[2]), 0, 0.0
def on_message(client, _data, _message):
    global seen, began
    began = began or time.monotonic()
    seen += 1
    if seen == expected:
        print(time.monotonic() - began, flush=True)
        client.disconnect()
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
client.on_message = on_message
client.on_subscribe = lambda *_: print("ready", flush=True)
client.on_connect = lambda client, *_: client.subscribe("cityeye/1/+/+/incident/+", 1)
client.connect("127.0.0.1", port)
client.loop_forever()
"""


def made(count: int, first: int) -> list[tuple[str, bytes]]:
    """Opened incidents, topic and message, each of another shop."""
    cases = [
        Case(number=first + n, shop=f"shop-{first + n}", box=f"box-{n % BOXES}", opened_s=time.time() - 60)
        for n in range(count)
    ]
    return [(one.topic, one.payload) for case in cases for one in [case.opened()]]


class Publisher:
    """Publishes as quickly as the broker takes it, and counts what is acknowledged."""

    def __init__(self, port: int) -> None:
        self.done = threading.Event()
        self.expected = 0
        self.acknowledged: set[str] = set()
        self.sent: dict[str, tuple[str, bytes]] = {}
        self.postponed = 0
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self.client.max_inflight_messages_set(200)
        self.client.on_message = self._on_message
        self.client.connect("127.0.0.1", port)
        self.client.subscribe("cityeye/1/+/+/ack", 1)
        self.client.loop_start()

    def _on_message(self, _client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
        answer = json.loads(message.payload)
        self.acknowledged.update(answer.get("stored", ()))
        for one in answer.get("later", ()):  # as a box does; it waits, a measurement does not
            self.postponed += 1
            self.client.publish(*self.sent[one["id"]], qos=1)
        if len(self.acknowledged) >= self.expected:
            self.done.set()

    def send(self, messages: list[tuple[str, bytes]]) -> None:
        self.sent = {json.loads(payload)["id"]: (topic, payload) for topic, payload in messages}
        for topic, payload in messages:
            self.client.publish(topic, payload, qos=1)

    def committed_per_s(self, messages: list[tuple[str, bytes]]) -> float:
        """Publish, and wait until all are acknowledged."""
        self.acknowledged, self.expected = set(), len(messages)
        self.done.clear()
        began_s = time.monotonic()
        self.send(messages)
        if not self.done.wait(PATIENCE_S):
            taken = f"{len(self.acknowledged)} of {self.expected} are acknowledged"
            raise AssertionError(f"{taken}, {self.postponed} were put off")
        return len(messages) / (time.monotonic() - began_s)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def passed_per_s(broker: Broker, publisher: Publisher, messages: list[tuple[str, bytes]]) -> float:
    """What the broker passes to a subscriber that only counts."""
    command = [sys.executable, "-c", COUNTING, str(broker.port), str(len(messages))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as counting:
        assert counting.stdout is not None
        counting.stdout.readline()
        publisher.send(messages)
        return (len(messages) - 1) / float(counting.stdout.readline())


@contextmanager
def collector(folder: Path, broker: Broker, url: str | None) -> Iterator[Process]:
    """A collector on its own."""
    folder.mkdir()
    port = free_port()
    database = "" if url is None else f'database_url = "{url}"\n'
    text = (
        f'version = 1\n[center]\nid = "bench"\nlisten = "127.0.0.1:{port}"\n{database}[broker]\nurl = "{broker.url}"\n'
    )
    (folder / "center.toml").write_text(text)
    command = [BIN / "cityeye-collector", "serve", "--settings", folder / "center.toml"]
    with Process(command, folder / "log", port) as process:
        wait_for(lambda: "connected to the broker" in process.text(), "the collector is connected")
        yield process
        process.stop()


def measure(incidents: int, rounds: int, *, postgresql: bool) -> dict[str, Any]:
    """Measure all in turn, round by round."""
    found: dict[str, list[float]] = {}
    first = 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Broker("mosquitto", folder / "broker") as broker:
            publisher = Publisher(broker.port)

            def round_of(what: str, rate: Callable[[list[tuple[str, bytes]]], float]) -> None:
                nonlocal first
                messages = made(incidents, first)
                first += incidents
                found.setdefault(what, []).append(rate(messages))

            def on(database: str, url: str | None, number: int) -> None:
                with collector(folder / f"{database}{number}", broker, url):
                    round_of(database, publisher.committed_per_s)

            for number in range(rounds):
                round_of("idle_subscriber", lambda messages: passed_per_s(broker, publisher, messages))
                on("sqlite", None, number)
                if postgresql:
                    with Postgres(durable=True) as postgres:
                        on("postgresql", postgres.create(), number)
            publisher.close()
    medians = {what: statistics.median(rates) for what, rates in found.items()}
    idle = medians["idle_subscriber"]
    return {
        "incidents": incidents,
        "message_bytes": len(made(1, 1)[0][1]),
        "per_s": {what: round(rate) for what, rate in medians.items()},
        "ratio": {what: round(rate / idle, 3) for what, rate in medians.items() if what != "idle_subscriber"},
        "rounds": {what: [round(rate) for rate in rates] for what, rates in found.items()},
    }


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--incidents", type=int, default=6000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without", choices=["postgresql"])
    options = parser.parse_args()
    found = measure(options.incidents, options.rounds, postgresql=options.without != "postgresql")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
